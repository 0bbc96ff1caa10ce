//! What a command line and a greeting settle of how the list is written (rsync's options.c and compat.c).

use std::borrow::Cow;

use super::wire::{Cursor, Lost, Stop, lost};
use crate::model::transfer::{Transfer, Way};

/// What the options say of the list's form.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) way: Way,
    /// `-o`, `-g`: entries have owners, groups.
    pub(super) owners: bool,
    pub(super) groups: bool,
    /// No names of owners and groups come.
    pub(super) numeric: bool,
    pub(super) devices: bool,
    pub(super) specials: bool,
    pub(super) links: bool,
    /// `-c`: each file's checksum stands in the list.
    pub(super) sums: bool,
    /// `-U`, `-N`: when files were read last, and made.
    pub(super) read_times: bool,
    pub(super) birth_times: bool,
    /// Not `-n`: what is asked for is sent.
    pub(super) transfers: bool,
    /// Whoever writes is told filters, before the list.
    pub(super) rules: bool,
    checksum: Option<Checksums>,
    compression: Compression,
    level: Option<i32>,
}

/// How long checksums are, in bytes.
#[derive(Debug, Clone, Copy)]
struct Checksums {
    of_sent: usize,
    of_listed: usize,
}

#[derive(Debug, Clone, Copy)]
enum Compression {
    Off,
    Agreed,
    Chosen(Codec),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    None,
    /// `zlib` and `zlibx`, which a level of 0 switches off.
    Zlib,
    Other,
}

/// Letters that change nothing of the list's form.
const PLAIN_LETTERS: &str = "vqbudkKOJLWHtpErCIRxSy";

/// Long options that change nothing of it.
const PLAIN: &[&str] = &[
    "server",
    "sender",
    "append",
    "block-size",
    "bwlimit",
    "compress-threads",
    "copy-unsafe-links",
    "debug",
    "delay-updates",
    "delete-missing-args",
    "existing",
    "force",
    "force-change",
    "fsync",
    "from0",
    "fuzzy",
    "ignore-errors",
    "ignore-existing",
    "ignore-missing-args",
    "inc-recursive",
    "info",
    "inplace",
    "list-only",
    "log-format",
    "max-alloc",
    "max-delete",
    "max-size",
    "min-size",
    "mkpath",
    "modify-window",
    "msgs2stderr",
    "munge-links",
    "checksum-seed",
    "no-W",
    "no-i-r",
    "no-implied-dirs",
    "no-inc-recursive",
    "no-msgs2stderr",
    "no-r",
    "no-relative",
    "no-whole-file",
    "omit-dir-times",
    "omit-link-times",
    "one-file-system",
    "open-noatime",
    "partial",
    "preallocate",
    "safe-links",
    "size-only",
    "skip-compress",
    "stats",
    "suffix",
    "super",
    "no-super",
    "timeout",
    "use-qsort",
];

impl Terms {
    /// Reads the options in their order.
    pub(super) fn of(transfer: &Transfer) -> Result<Self, Lost> {
        let mut terms = Self {
            way: transfer.way(),
            owners: false,
            groups: false,
            numeric: false,
            devices: false,
            specials: false,
            links: false,
            sums: false,
            read_times: false,
            birth_times: false,
            transfers: true,
            rules: false,
            checksum: None,
            compression: Compression::Off,
            level: None,
        };
        let mut compress = Compress::default();
        for word in transfer.options().iter().filter(|word| *word != ".") {
            let read = match (word.strip_prefix("--"), word.strip_prefix('-')) {
                (Some(long), _) => terms.long(long, &mut compress).ok_or_else(|| word.clone()),
                (None, Some(letters)) => terms.letters(letters, &mut compress),
                (None, None) => Err(word.clone()),
            };
            read.map_err(|option| Lost(Cow::Owned(format!("its form with the option {option} is not known here"))))?;
        }
        terms.level = compress.level;
        terms.compression = compress.settled();
        Ok(terms)
    }

    /// Reads a bundle of letters; fails with what is not known.
    fn letters(&mut self, word: &str, compress: &mut Compress) -> Result<(), String> {
        if word.starts_with(['B', '@']) {
            return Ok(());
        }
        let (letters, capabilities) = word.split_once('e').unwrap_or((word, ""));
        // A client of before a release: flags would be written in yet another way (setup_protocol()).
        if capabilities.contains('V') {
            return Err(format!("-e{capabilities}"));
        }
        for letter in letters.chars() {
            match letter {
                'o' => self.owners = true,
                'g' => self.groups = true,
                'D' => (self.devices, self.specials) = (true, true),
                'l' => self.links = true,
                'c' => self.sums = true,
                'U' => self.read_times = true,
                'N' => self.birth_times = true,
                'n' => self.transfers = false,
                'm' => self.rules = true,
                'z' => compress.asked = compress.asked.saturating_add(1),
                letter if PLAIN_LETTERS.contains(letter) => {}
                // Access lists and attributes come in forms of their own.
                letter => return Err(format!("-{letter}")),
            }
        }
        Ok(())
    }

    fn long(&mut self, word: &str, compress: &mut Compress) -> Option<()> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("usermap", Some(_)) => self.owners = true,
            ("groupmap", Some(_)) => self.groups = true,
            ("numeric-ids", None) => self.numeric = true,
            ("specials", None) => self.specials = true,
            ("no-specials", None) => self.specials = false,
            (
                "delete" | "delete-before" | "delete-during" | "delete-delay" | "delete-after" | "delete-excluded",
                None,
            ) => self.rules = true,
            ("checksum-choice", Some(choice)) => self.checksum = chosen_checksum(choice)?,
            ("compress-choice", Some(choice)) => compress.choice = Some(choice.to_ascii_lowercase()),
            ("new-compress", None) => compress.choice = Some(String::from("zlibx")),
            ("old-compress", None) => compress.choice = Some(String::from("zlib")),
            ("compress-level", Some(level)) => {
                // Other forms than plain ones mean other numbers to C.
                let plain = level.parse().ok().filter(|number: &i32| number.to_string() == level);
                compress.level = Some(plain.filter(|level| level.unsigned_abs() < 1_000_000)?);
            }
            (name, _) if PLAIN.contains(&name) => {}
            _ => return None,
        }
        if let Some(choice) = &compress.choice {
            (choice == "auto" || codec(choice.as_bytes()).is_some()).then_some(())?;
        }
        Some(())
    }
}

/// What is said of compression.
#[derive(Default)]
struct Compress {
    asked: u8,
    choice: Option<String>,
    level: Option<i32>,
}

impl Compress {
    /// As parse_arguments() in options.c has it.
    fn settled(&self) -> Compression {
        let twice = (self.asked > 1).then_some("zlibx");
        let chosen = self.choice.as_deref().or(twice).and_then(|choice| codec(choice.as_bytes()));
        match chosen {
            // None is no choice, and a level asks for one.
            Some(Codec::None) | None if self.level.is_some() => Compression::Agreed,
            Some(Codec::None) => Compression::Off,
            Some(codec) => Compression::Chosen(codec),
            None if self.asked > 0 => Compression::Agreed,
            None => Compression::Off,
        }
    }
}

fn codec(name: &[u8]) -> Option<Codec> {
    match name.to_ascii_lowercase().as_slice() {
        b"zlib" | b"zlibx" => Some(Codec::Zlib),
        b"zstd" | b"lz4" => Some(Codec::Other),
        b"none" => Some(Codec::None),
        _ => None,
    }
}

/// What a checksum is called, and how long it is (csum_len_for_type() in checksum.c).
fn checksum(name: &[u8]) -> Option<(&'static str, usize)> {
    match name.to_ascii_lowercase().as_slice() {
        b"xxh128" => Some(("xxh128", 16)),
        b"xxh3" => Some(("xxh3", 8)),
        b"xxh64" | b"xxhash" => Some(("xxh64", 8)),
        b"md5" => Some(("md5", 16)),
        b"md4" => Some(("md4", 16)),
        b"sha1" => Some(("sha1", 20)),
        b"none" => Some(("none", 1)),
        _ => None,
    }
}

/// `None` if it is not known; `Some(None)` if it is left to the greeting.
fn chosen_checksum(choice: &str) -> Option<Option<Checksums>> {
    let choice = choice.to_ascii_lowercase();
    if matches!(choice.as_str(), "auto" | "auto,auto") {
        return Some(None);
    }
    let bytes = |name: &str| if name == "auto" { Some(16) } else { checksum(name.as_bytes()).map(|(_, bytes)| bytes) };
    let (of_sent, of_listed) = choice.split_once(',').unwrap_or((&choice, &choice));
    Some(Some(Checksums { of_sent: bytes(of_sent)?, of_listed: bytes(of_listed)? }))
}

/// What both sides have agreed on.
#[derive(Debug, Clone)]
pub(super) struct Pact {
    pub(super) protocol: i32,
    /// The list comes folder by folder, between the files.
    pub(super) incremental: bool,
    /// The flags of an entry are one number of any length.
    pub(super) wide_flags: bool,
    /// The names of owner and group 0 are told too.
    pub(super) names_of_zero: bool,
    /// A list's end may tell of errors.
    pub(super) errors_at_end: bool,
    pub(super) compressed: bool,
    pub(super) sent_sum_bytes: usize,
    pub(super) listed_sum_bytes: usize,
}

const INC_RECURSE: i32 = 1;
const SAFE_FLIST: i32 = 1 << 3;
const VARINT_FLIST_FLAGS: i32 = 1 << 7;
const ID0_NAMES: i32 = 1 << 8;
/// Any other may be of a form that is not known here.
const KNOWN_FLAGS: i32 = (1 << 9) - 1;

/// `MAX_NSTR_STRLEN`: lists of names are shorter.
const NAMES_BYTES_END: usize = 256;

/// Reads what both sides say first; gives how much of each it was (setup_protocol() in compat.c).
pub(super) fn agree(terms: &Terms, user: &[u8], target: &[u8]) -> Result<(Pact, usize, usize), Stop> {
    let (mut from_user, mut from_target) = (Cursor::new(user), Cursor::new(target));
    let (theirs, ours) = (from_target.int()?, from_user.int()?);
    let protocol = theirs.min(ours);
    // Beyond 40 (`MAX_PROTOCOL_VERSION`) it is no version but other words, which rsync does not take either.
    if theirs.max(ours) > 40 {
        return Err(lost("a greeting that is none"));
    }
    if !(30..=32).contains(&protocol) {
        return Err(Stop::Lost(Lost(Cow::Owned(format!("protocol {protocol}")))));
    }
    let flags = from_target.varint()?;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(lost("flags that are not known"));
    }
    let names = flags & VARINT_FLIST_FLAGS != 0;
    let checksums = match terms.checksum {
        Some(chosen) => chosen,
        None => {
            let bytes = if names { agreed(&mut from_user, &mut from_target, checksum)?.1 } else { 16 };
            Checksums { of_sent: bytes, of_listed: bytes }
        }
    };
    let codec = match terms.compression {
        Compression::Off => Codec::None,
        Compression::Chosen(codec) => codec,
        Compression::Agreed if names => {
            let named = |name: &[u8]| codec(name).map(|codec| (name.to_ascii_lowercase(), codec));
            agreed(&mut from_user, &mut from_target, named)?.1
        }
        Compression::Agreed => Codec::Zlib,
    };
    // The seed of checksums.
    from_target.int()?;
    let pact = Pact {
        protocol,
        incremental: flags & INC_RECURSE != 0,
        wide_flags: names,
        names_of_zero: flags & ID0_NAMES != 0,
        errors_at_end: flags & SAFE_FLIST != 0 || protocol >= 31,
        compressed: codec == Codec::Other || (codec == Codec::Zlib && terms.level != Some(0)),
        sent_sum_bytes: checksums.of_sent,
        listed_sum_bytes: checksums.of_listed,
    };
    let read = |all: &[u8], rest: &[u8]| all.len().saturating_sub(rest.len());
    Ok((pact, read(user, from_user.rest()), read(target, from_target.rest())))
}

/// The first name of the user's that the target knows too, of what `known` knows.
fn agreed<Name: PartialEq, Meaning>(
    user: &mut Cursor<'_>,
    target: &mut Cursor<'_>,
    known: impl Fn(&[u8]) -> Option<(Name, Meaning)>,
) -> Result<(Name, Meaning), Stop> {
    let (wanted, offered) = (user.vstring(NAMES_BYTES_END)?, target.vstring(NAMES_BYTES_END)?);
    let offered: Vec<Name> = offered.split(|byte| *byte == b' ').filter_map(&known).map(|(name, _)| name).collect();
    let mut wanted = wanted.split(|byte| *byte == b' ');
    wanted
        .find_map(|word| known(word).filter(|(name, _)| offered.contains(name)))
        .ok_or(lost("no way of compression or checksum that both know"))
}
