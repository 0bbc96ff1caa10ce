//! Whether a deny or an approve rule is meant: in doubt it is.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::args;
use super::paths::{Below, Place, Start, host_of};
use super::{CommandRule, base_name};
use crate::gate::directory::Directory;
use crate::gate::effects::{Effect, EffectKind};
use crate::gate::invocation::{Invocation, Reading};
use crate::gate::shell::tree::Assignment;
use crate::gate::shell::word::{Part, Word};
use crate::gate::verdict::Asker;

/// Programs that can run in another directory, or start another there: the letters and the long names of the options for it.
const CHANGE_DIRECTORY: [(&str, &str, &[&str]); 19] = [
    ("bsdtar", "C", &["cd", "directory"]),
    ("bwrap", "", &["chdir"]),
    ("chpst", "/", &[]),
    ("chroot", "", &[]),
    ("cpio", "D", &["directory"]),
    ("env", "C", &["chdir"]),
    ("git", "C", &["git-dir", "work-tree"]),
    ("gtar", "C", &["directory"]),
    ("make", "C", &["directory"]),
    ("ninja", "C", &[]),
    ("nsenter", "rwW", &["root", "wd", "wdns"]),
    ("runuser", "l-", &["login"]),
    ("start-stop-daemon", "dr", &["chdir", "chroot"]),
    ("su", "l-", &["login"]),
    ("sudo", "DRi", &["chdir", "chroot", "login"]),
    ("systemd-nspawn", "D", &["chdir", "directory"]),
    ("systemd-run", "dp", &["property", "same-dir", "working-directory"]),
    ("tar", "C", &["cd", "directory"]),
    ("unshare", "Rw", &["root", "wd"]),
];
/// Those whose first word may be options without a minus sign: `tar xCf DIR FILE`.
const BARE_OPTIONS: [&str; 3] = ["bsdtar", "gtar", "tar"];
/// Variables that say where `cd` leads.
const DIRECTORY_VARIABLES: [&str; 4] = ["CDPATH", "HOME", "OLDPWD", "PWD"];

/// A line that changes to more directories than this is not followed.
const DIRECTORIES_MAX: usize = 8;

/// Programs that look at the names, sizes and times of what is in a directory, not into its files.
const LISTING: [&str; 29] = [
    "[",
    "[[",
    "cd",
    "df",
    "dir",
    "du",
    "file",
    "find",
    "fuser",
    "getfacl",
    "getfattr",
    "locate",
    "ls",
    "lsattr",
    "lsof",
    "mountpoint",
    "namei",
    "ncdu",
    "pushd",
    "readlink",
    "realpath",
    "stat",
    "sync",
    "test",
    "tree",
    "umount",
    "vdir",
    "lsblk",
    "findmnt",
];
/// Programs that read all that is in a directory.
const READ_ALL: [&str; 13] =
    ["7z", "7za", "ack", "ag", "borg", "bsdtar", "gtar", "mksquashfs", "restic", "rg", "rgrep", "rsync", "tar"];
/// Programs that do so by an option with one of these letters; `diff -N` shows what only one of two directories has.
const READ_ALL_BY: [(&str, &str); 10] = [
    ("colordiff", "rN"),
    ("cp", "rRa"),
    ("diff", "rN"),
    ("egrep", "rRd"),
    ("fgrep", "rRd"),
    ("grep", "rRd"),
    ("scp", "r"),
    ("zfgrep", "rRd"),
    ("zgrep", "rRd"),
    ("zip", "r"),
];
/// The long names of those options.
const READ_ALL_LONG: [&str; 6] =
    ["archive", "dereference-recursive", "directories", "new-file", "recursive", "unidirectional-new-file"];
/// Those that then search the directory in which they run, if none is named.
const SEARCH: [&str; 7] = ["ack", "ag", "egrep", "fgrep", "grep", "rg", "rgrep"];

/// Whether the word is, or may be, an option with one of the letters, or one of the long names, perhaps cut short.
fn may_tell(word: &Word, letters: &str, long: &[&str]) -> bool {
    match word.parts.as_slice() {
        [] => false,
        [Part::Literal(text)] => match text.strip_prefix("--") {
            Some("") => false,
            Some(name) => {
                let name = name.split('=').next().unwrap_or(name);
                long.iter().any(|long| long.starts_with(name))
            }
            None => text.starts_with('-') && text.chars().any(|c| letters.contains(c)),
        },
        [Part::Literal(text), ..] => text.starts_with('-'),
        [Part::Glob(_) | Part::Dynamic(_), ..] => true,
    }
}

/// What is read of a directory that is named.
fn reads_below(invocation: &Invocation) -> Below {
    let Some(name) = invocation.argv.first().and_then(Word::likely) else { return Below::Named };
    let name = base_name(&name);
    let words = invocation.argv.get(1..).unwrap_or_default();
    let told = || {
        let letters = READ_ALL_BY.iter().find(|(own, _)| *own == name);
        letters.is_some_and(|(_, letters)| words.iter().any(|word| may_tell(word, letters, &READ_ALL_LONG)))
    };
    if LISTING.contains(&name) {
        Below::No
    } else if READ_ALL.contains(&name) || told() {
        Below::All
    } else {
        Below::Named
    }
}

/// Whether it searches the directory in which it runs, for it may be that it names no other: `grep -r x`.
pub(super) fn reads_where_it_runs(invocation: &Invocation) -> bool {
    let searches =
        invocation.argv.first().and_then(Word::likely).is_some_and(|name| SEARCH.contains(&base_name(&name)));
    if !searches || reads_below(invocation) != Below::All {
        return false;
    }
    let words = invocation.argv.get(1..).unwrap_or_default();
    let lists = words.iter().filter(|word| may_tell(word, "f", &["file", "exclude-from", "ignore-file"])).count();
    let redirected = |word: &Word| invocation.redirections.iter().any(|each| each.word.at == word.at);
    let reads = invocation.effects.iter().filter(|effect| effect.kind == EffectKind::Read);
    reads.filter(|effect| effect.on.as_ref().is_some_and(|word| !redirected(word))).count() <= lists
}

/// Whether it looks at the directory in which it runs, for it names no file: `ls`, `du -s`.
pub(super) fn looks_where_it_runs(invocation: &Invocation) -> bool {
    let Some(name) = invocation.argv.first().and_then(Word::likely) else { return true };
    let name = base_name(&name);
    let looks = LISTING.contains(&name) || READ_ALL.contains(&name) || SEARCH.contains(&name);
    let named = |effect: &Effect| effect.kind == EffectKind::Read && effect.on.is_some();
    looks && !invocation.effects.iter().any(named)
}

/// Where the relative paths of a line begin.
pub(super) fn start_of(reading: &Reading, asker: &Asker<'_>, directory: Option<&Directory>) -> Start {
    let account = asker.account.as_str();
    let home = if account == "root" { vec!["root".to_owned()] } else { vec!["home".to_owned(), account.to_owned()] };
    let directories = directory.iter().map(|directory| directory.parts().to_vec()).collect();
    let mut start = Start { home, directories, elsewhere: directory.cloned(), ..Start::default() };
    for invocation in &reading.invocations {
        let set = |assignment: &Assignment| DIRECTORY_VARIABLES.contains(&assignment.name.as_str());
        start.anywhere |= invocation.assignments.iter().any(set);
        let Some(name) = invocation.argv.first().and_then(Word::literal) else { continue };
        let words = invocation.argv.get(1..).unwrap_or_default();
        match base_name(&name) {
            "cd" | "chdir" | "pushd" | "popd" => match change_of(words, &start.home) {
                Some(path) if start.directories.len() < DIRECTORIES_MAX => start.directories.push(path),
                Some(_) => start.many = true,
                None => start.anywhere = true,
            },
            base => start.anywhere |= words.is_empty() && may_be_directory(&name) || runs_elsewhere(base, words),
        }
    }
    start
}

/// Where a change of directory leads; none where the words alone do not say. With two words zsh and ksh put one for the other
/// in the path of the directory that they leave.
fn change_of(words: &[Word], home: &[String]) -> Option<Vec<String>> {
    let option = |word: &&Word| word.literal().is_some_and(|text| text.len() > 1 && text.starts_with('-'));
    let mut places = words.iter().filter(|word| !option(word));
    match (places.next().map(|word| Place::of(word, home)), places.next()) {
        (Some(Place::Absolute(path)), None) => Some(path.into_iter().map(Cow::into_owned).collect()),
        (Some(Place::Absolute(_) | Place::Unfolded(..) | Place::Relative(_) | Place::Anywhere) | None, _) => None,
    }
}

/// Whether it names no program but a directory, to which fish and zsh change then.
fn may_be_directory(name: &str) -> bool {
    name.contains('/') || name.chars().all(|c| c == '.')
}

/// Whether a program runs, or starts another, in a directory that its options name, or may name.
fn runs_elsewhere(name: &str, words: &[Word]) -> bool {
    if name == "find" {
        return words.iter().any(|word| word.likely().is_none_or(|text| matches!(&*text, "-execdir" | "-okdir")));
    }
    let Some((_, letters, long)) = CHANGE_DIRECTORY.iter().find(|(own, ..)| *own == name) else { return false };
    let bare = BARE_OPTIONS.contains(&name)
        && words.first().is_some_and(|word| word.likely().is_none_or(|text| text.chars().any(|c| letters.contains(c))));
    bare || name == "chroot" || words.iter().any(|word| may_tell(word, letters, long))
}

/// A command of which rules ask whether they are meant. What all of them ask is worked out once, for there may be hundreds
/// of rules, and thousands of words.
pub(super) struct Doubted<'i> {
    invocation: &'i Invocation,
    start: &'i Start,
    /// The program, as bash reads it.
    name: Option<String>,
    /// What is read of a directory that is named, and whether the one in which it runs is searched.
    reads: OnceCell<(Below, bool)>,
    /// Where each effect falls, as far as that is a path.
    places: OnceCell<Vec<Place<'i>>>,
}

impl<'i> Doubted<'i> {
    pub(super) fn of(invocation: &'i Invocation, start: &'i Start) -> Self {
        let name = invocation.argv.first().and_then(Word::likely);
        Self { invocation, start, name, reads: OnceCell::new(), places: OnceCell::new() }
    }

    /// The program's name without its directory; empty if nobody knows it.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().map_or("", base_name)
    }

    fn reads(&self) -> (Below, bool) {
        *self.reads.get_or_init(|| (reads_below(self.invocation), reads_where_it_runs(self.invocation)))
    }

    /// The place of the effect that stands there.
    fn place(&self, at: usize) -> Option<&Place<'i>> {
        let of = |effect: &'i Effect| match (&effect.on, effect.kind) {
            (Some(word), _) => Place::of(word, &self.start.home),
            // What writes, nobody knows where, writes where it runs.
            (None, EffectKind::Write) => Place::Relative(Vec::new()),
            (None, _) => Place::Anywhere,
        };
        self.places.get_or_init(|| self.invocation.effects.iter().map(of).collect()).get(at)
    }
}

impl CommandRule {
    /// Whether it may be about this command. Whether it holds for the asker is not asked here.
    pub(super) fn may_mean(&self, command: &Doubted<'_>) -> bool {
        self.may_mean_program(command) && self.may_mean_effects(command)
    }

    fn may_mean_program(&self, command: &Doubted<'_>) -> bool {
        let words = command.invocation.argv.get(1..).unwrap_or_default();
        if !self.programs.is_empty() {
            // What bash makes of a disguise counts, too.
            if command.name.is_none() {
                return false;
            }
            // One program has many paths: /bin is often /usr/bin.
            let name = command.name();
            if !self.programs.iter().any(|program| base_name(program) == name) {
                return false;
            }
            // Where a yes is wanted options only say what the rule covers.
            let wanted = self.flags.as_ref().filter(|_| self.approval.is_none());
            if wanted.and_then(|flags| flags.get(name)).is_some_and(|flags| !args::may_give(flags, words)) {
                return false;
            }
        }
        self.args.as_ref().is_none_or(|args| args::may_have(args, words))
    }

    /// Whether one of its effects is there, if it names any.
    fn may_mean_effects(&self, command: &Doubted<'_>) -> bool {
        if self.effects.is_empty() && self.paths.is_empty() && self.hosts.is_empty() {
            return true;
        }
        let here = self.paths.get(&EffectKind::Read).is_some_and(|patterns| {
            let (below, here) = command.reads();
            here && patterns.may_be(&Place::Relative(Vec::new()), command.start, below)
        });
        let meant = |(at, effect): (usize, &Effect)| {
            self.effects.contains(&effect.kind) || self.may_fall_on(at, effect, command)
        };
        here || command.invocation.effects.iter().enumerate().any(meant)
    }

    fn may_fall_on(&self, at: usize, effect: &Effect, command: &Doubted<'_>) -> bool {
        if effect.kind == EffectKind::NetOut && !self.hosts.is_empty() {
            let host = effect.on.as_ref().and_then(Word::literal).and_then(|text| host_of(&text));
            return host.is_none_or(|host| self.hosts.iter().any(|pattern| pattern.covers(&host)));
        }
        let Some(patterns) = self.paths.get(&effect.kind) else { return false };
        // What is changed is changed with all that is in it.
        let below = if effect.kind == EffectKind::Read { command.reads().0 } else { Below::All };
        command.place(at).is_none_or(|place| patterns.may_be(place, command.start, below))
    }
}
