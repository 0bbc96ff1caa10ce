//! The options that rsync gives to the rsync at the other end (`server_options()` in its options.c): an allow-list of
//! those that name no other file, program, socket or address, and that do not turn reading into writing.

use super::{Rsync, Tool, Transfer, Way};

/// Short options without a value. Not `s`, with which the options come later and unseen; nor `e`, `B`, `@`, which have a
/// value and are read by themselves; nor `f`, `M` and `T`, which name files and options.
const LETTERS: &str = "vqbunldkKmOJLWHogDtUNpEAXrcCIRxSzy";

/// Long options without a value.
const FLAGS: &[&str] = &[
    "append",
    "copy-unsafe-links",
    "delay-updates",
    "delete",
    "delete-after",
    "delete-before",
    "delete-delay",
    "delete-during",
    "delete-excluded",
    "delete-missing-args",
    "existing",
    "fake-super",
    "force",
    "force-change",
    "fsync",
    "from0",
    "fuzzy",
    "ignore-errors",
    "ignore-existing",
    "ignore-missing-args",
    "inc-recursive",
    "inplace",
    "list-only",
    "mkpath",
    "msgs2stderr",
    "munge-links",
    "new-compress",
    "no-W",
    "no-i-r",
    "no-implied-dirs",
    "no-inc-recursive",
    "no-msgs2stderr",
    "no-r",
    "no-relative",
    "no-whole-file",
    "numeric-ids",
    "old-compress",
    "omit-dir-times",
    "omit-link-times",
    "one-file-system",
    "open-noatime",
    "partial",
    "preallocate",
    "safe-links",
    "size-only",
    "specials",
    "no-specials",
    "stats",
    "super",
    "no-super",
    "use-qsort",
];

/// Which characters a value may have.
type Characters = fn(char) -> bool;

/// Long options with a value.
const VALUES: &[(&str, Characters)] = &[
    ("block-size", is_digit),
    ("bwlimit", is_number),
    ("checksum-choice", is_name),
    ("checksum-seed", is_number),
    ("compress-choice", is_name),
    ("compress-level", is_number),
    ("compress-threads", is_digit),
    ("debug", is_name),
    // Whom files belong to, by name and number.
    ("groupmap", is_owner),
    ("iconv", is_name),
    ("info", is_name),
    ("max-alloc", is_number),
    ("max-delete", is_number),
    ("max-size", is_number),
    ("min-size", is_number),
    ("modify-window", is_number),
    ("skip-compress", is_suffix),
    ("suffix", is_suffix),
    ("timeout", is_digit),
    ("usermap", is_owner),
];

/// What `--log-format` may be: what rsync itself asks for. It is shown, and names no file.
const LOG_FORMATS: &[&str] = &["%i", "%i%I", "%o", "X"];

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_number(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+')
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ',' | '.')
}

fn is_owner(c: char) -> bool {
    is_name(c) || matches!(c, '*' | ':' | '@' | '+')
}

fn is_suffix(c: char) -> bool {
    !matches!(c, '/' | '\\')
}

/// The words behind the program.
pub(super) fn parse(program: &str, words: &[String]) -> Option<Transfer> {
    let (server, mut rest) = words.split_first()?;
    if server != "--server" {
        return None;
    }
    let mut options = vec![server.clone()];
    let way = match rest.split_first() {
        Some((word, after)) if word == "--sender" => {
            options.push(word.clone());
            rest = after;
            Way::FromTarget
        }
        Some(_) | None => Way::ToTarget,
    };
    let mut rsync = Rsync::default();
    loop {
        let (word, after) = rest.split_first()?;
        rest = after;
        options.push(word.clone());
        // Behind it there are only paths (start_server() in rsync's main.c).
        if word == "." {
            break;
        }
        rsync.take(word)?;
    }
    // Options are found behind paths too, so that none may look like one.
    let are_paths = rest.iter().all(|path| !path.is_empty() && !path.starts_with('-'));
    if rest.is_empty() || !are_paths || (way == Way::ToTarget && rest.len() > 1) {
        return None;
    }
    Some(Transfer { program: program.to_owned(), tool: Tool::Rsync(rsync), way, options, paths: rest.to_vec() })
}

impl Rsync {
    /// Takes an option that is on the lists.
    fn take(&mut self, word: &str) -> Option<()> {
        if let Some(long) = word.strip_prefix("--") {
            let known = match long.split_once('=') {
                None => FLAGS.contains(&long),
                Some(("log-format", value)) => LOG_FORMATS.contains(&value),
                Some((name, value)) => {
                    let allowed = VALUES.iter().find(|(known, _)| *known == name);
                    allowed.is_some_and(|(_, allowed)| !value.is_empty() && value.chars().all(*allowed))
                }
            };
            return known.then(|| self.long.push(long.to_owned()));
        }
        let short = word.strip_prefix('-').filter(|short| !short.is_empty())?;
        if let Some(value) = short.strip_prefix(['B', '@']) {
            return (!value.is_empty() && value.chars().all(is_number)).then_some(());
        }
        let (letters, capabilities) =
            short.split_once('e').map_or((short, None), |(letters, rest)| (letters, Some(rest)));
        let known = letters.chars().all(|c| LETTERS.contains(c)) && capabilities.is_none_or(are_capabilities);
        known.then(|| self.letters.push_str(letters))
    }
}

/// What a client says of itself in `-e`, in place of the remote shell that this option is otherwise: the version before
/// a release, a dot, and letters.
fn are_capabilities(text: &str) -> bool {
    let Some((version, letters)) = text.split_once('.') else { return false };
    let letters = letters.trim_start_matches(is_digit);
    version.chars().all(is_digit) && letters.chars().all(|c| c.is_ascii_alphabetic())
}
