//! Paths and hosts that rules name, and what words may lead there.
//!
//! An allowed path is compared as it stands, so it must be absolute and without `..`. Where a rule forbids, whatever may be
//! that path is taken for it: a word that only the target knows, a pattern for file names that could fit, a relative path
//! where nobody knows the directory.
//!
//! What this module does **not** guard against: a second name of a file. Links on the target are not seen.

use crate::gate::directory::Directory;
use crate::gate::shell::word::{Dynamic, Part, Word};
use crate::pattern::part_matches;

/// Stands for any run of characters in a word that has a pattern for file names. No line has it: control characters are
/// refused; and were it in one, it would only be compared more carefully.
const ANY: char = '\u{1}';

/// A path, in which each `*` stands for anything within one part, and `**` for any number of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    parts: Vec<String>,
}

/// What may stand where a path is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// These parts, from the root.
    Absolute(Vec<String>),
    /// These parts, from a directory that may be any.
    Relative(Vec<String>),
    /// Nobody knows.
    Anywhere,
}

/// Whether a path stands for what is in it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// For itself alone.
    No,
    /// For what a rule names in so many words, should it be a directory: `/etc/ssl` for `/etc/ssl/private/**`, and not for
    /// `/**/*.key`, which may lie below everything.
    Named,
    /// For all that may be in it.
    All,
}

/// Where relative paths of a line begin, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Start {
    /// The directories in which the line's programs may run; besides, there is the account's home.
    pub(super) directories: Vec<Vec<String>>,
    /// The account's home, as far as its name tells.
    pub(super) home: Vec<String>,
    /// Whether it may be any other, too.
    pub(super) anywhere: bool,
    /// The directory in which the whole line starts, if that is not the home.
    pub(super) elsewhere: Option<Directory>,
}

impl Start {
    /// The directory in which each program of the line starts that its shell starts; none where that is the home, or the
    /// line may change it.
    pub(super) fn known(&self) -> Option<&[String]> {
        let unchanged = !self.anywhere && self.directories.len() == 1;
        self.elsewhere.as_ref().filter(|_| unchanged).map(Directory::parts)
    }
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path begins with /");
        }
        if text.chars().any(char::is_control) {
            return Err("a path in a rule has no control characters");
        }
        let parts: Vec<String> = text.split('/').skip(1).map(str::to_owned).collect();
        if text != "/" && parts.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
            return Err("a path has no `.`, `..` or empty part, and no `/` at its end");
        }
        if parts.iter().any(|part| part.contains("**") && part != "**") {
            return Err("`**` is a part of its own");
        }
        Ok(Self { text: text.to_owned(), parts: parts.into_iter().filter(|part| !part.is_empty()).collect() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is for every path there is.
    pub fn is_every(&self) -> bool {
        self.text == "/**"
    }

    /// Whether the path is one of those that it names. Only `**` at the end stands for one part at least: who may remove all
    /// in a directory may not remove it.
    pub(super) fn covers(&self, path: &[String]) -> bool {
        walk(&self.parts, path, &|wanted, part| part_matches(wanted.as_bytes(), part.as_bytes()))
    }

    /// Whether something that may stand there is, or may be, one of those that it names.
    pub(super) fn may_be(&self, place: &Place, start: &Start, below: Below) -> bool {
        let fits = |path: &[String]| walk(&self.parts, path, &may_match) || self.lies_below(path, below);
        match place {
            Place::Anywhere => true,
            Place::Absolute(path) => fits(path) || self.by_process(path, below),
            Place::Relative(path) => {
                let from = |directory: &Vec<String>| fits(&joined(directory, path));
                let climbs = path.first().is_some_and(|part| part == "..");
                from(&start.home)
                    || start.directories.iter().any(from)
                    || ((start.anywhere || climbs) && self.ends_like(path))
            }
        }
    }

    /// Whether a way through a process, `/proc/1/root` or `/proc/self/cwd`, may lead to what it names.
    fn by_process(&self, path: &[String], below: Below) -> bool {
        if !path.first().is_some_and(|part| may_match("proc", part)) {
            return false;
        }
        let is = |link: &str, part: &str| may_match(link, part);
        let link = path
            .iter()
            .enumerate()
            .skip(2)
            .find(|(_, part)| ["root", "cwd", "fd", "map_files"].iter().any(|link| is(link, part)));
        let Some((at, part)) = link else { return false };
        let rest = path.get(at.saturating_add(1)..).unwrap_or_default();
        if rest.is_empty() && below == Below::No {
            return false;
        }
        // What a process has open, and where it runs, nobody knows.
        (is("root", part) && (walk(&self.parts, rest, &may_match) || self.lies_below(rest, below)))
            || (is("cwd", part) && self.ends_like(rest))
            || is("fd", part)
            || is("map_files", part)
    }

    /// Whether what it names may lie below this path.
    fn lies_below(&self, path: &[String], below: Below) -> bool {
        if below == Below::No {
            return false;
        }
        for (at, part) in path.iter().enumerate() {
            match self.parts.get(at) {
                Some(wanted) if wanted == "**" => return below == Below::All,
                Some(wanted) if below == Below::Named && wanted.contains('*') => return false,
                Some(wanted) if may_match(wanted, part) => {}
                Some(_) | None => return false,
            }
        }
        path.len() < self.parts.len() && (below == Below::All || self.parts.first().is_some_and(|part| part != "**"))
    }

    /// Whether a path from some directory may be one of those that it names.
    fn ends_like(&self, path: &[String]) -> bool {
        let rest: Vec<String> = path.iter().skip_while(|part| *part == "..").cloned().collect();
        if rest.is_empty() {
            return true;
        }
        (0..=self.parts.len()).any(|from| {
            let tail = self.parts.get(from..).unwrap_or_default();
            !tail.is_empty() && walk(tail, &rest, &may_match)
        })
    }
}

/// Compares part by part; `**` stands for any number of parts, at the end for one at least.
fn walk(wanted: &[String], path: &[String], agrees: &dyn Fn(&str, &str) -> bool) -> bool {
    let (mut at, mut on) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while on < path.len() {
        let want = wanted.get(at);
        if want.is_some_and(|want| want == "**") {
            if at.saturating_add(1) == wanted.len() {
                return true;
            }
            last = Some((at, on));
            at = at.saturating_add(1);
        } else if want.zip(path.get(on)).is_some_and(|(want, part)| agrees(want, part)) {
            (at, on) = (at.saturating_add(1), on.saturating_add(1));
        } else if let Some((star, from)) = last {
            (at, on) = (star.saturating_add(1), from.saturating_add(1));
            last = Some((star, on));
        } else {
            return false;
        }
    }
    at == wanted.len()
}

/// Whether a part with patterns in it may become one that a rule's part names.
fn may_match(wanted: &str, part: &str) -> bool {
    if !part.contains(ANY) {
        return part_matches(wanted.as_bytes(), part.as_bytes());
    }
    if wanted.contains('*') {
        let (head, own_head) = (wanted.split('*').next().unwrap_or(""), part.split(ANY).next().unwrap_or(""));
        let (tail, own_tail) = (wanted.rsplit('*').next().unwrap_or(""), part.rsplit(ANY).next().unwrap_or(""));
        return (head.starts_with(own_head) || own_head.starts_with(head))
            && (tail.ends_with(own_tail) || own_tail.ends_with(tail));
    }
    let pattern: String = part.chars().map(|c| if c == ANY { '*' } else { c }).collect();
    part_matches(pattern.as_bytes(), wanted.as_bytes())
}

/// A path from a directory, with `..` taken away as far as names tell.
fn joined(directory: &[String], path: &[String]) -> Vec<String> {
    let mut whole = directory.to_vec();
    for part in path {
        if part == ".." { drop(whole.pop()) } else { whole.push(part.clone()) }
    }
    whole
}

impl Place {
    /// What a word leads to.
    pub(super) fn of(word: &Word, home: &[String]) -> Self {
        let mut text = String::new();
        for (at, part) in word.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Glob(_) => text.push(ANY),
                Part::Dynamic(Dynamic::Home(name)) if at == 0 && name == "~" => {
                    text.push('/');
                    text.push_str(&home.join("/"));
                }
                Part::Dynamic(_) => return Self::Anywhere,
            }
        }
        let absolute = text.starts_with('/');
        let parts: Vec<String> = text.split('/').filter(|part| !matches!(*part, "" | ".")).map(str::to_owned).collect();
        if absolute { Self::Absolute(joined(&[], &parts)) } else { Self::Relative(parts) }
    }
}

/// The parts of an allowed path: absolute, without `.` and `..`. With `globs`, patterns for file names may be in it, but not
/// at the beginning of a part behind a dot: `.*` is `..`, too.
///
/// # Errors
/// Why it is none.
pub(super) fn plain_path(word: &Word, globs: bool) -> Result<Vec<String>, &'static str> {
    let mut text = String::new();
    for part in &word.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Glob(_) if globs => text.push(ANY),
            Part::Glob(_) => return Err("has a pattern for file names, and the rule has no `globs = true`"),
            Part::Dynamic(_) => return Err("is known only on the target"),
        }
    }
    if !text.starts_with('/') {
        return Err("is not a full path");
    }
    let parts: Vec<String> = text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if parts.iter().any(|part| part == "." || part == ".." || (part.starts_with('.') && part.contains(ANY))) {
        return Err("has a `.` or `..` in it");
    }
    Ok(parts)
}

/// The same, where a relative path begins in this directory.
///
/// # Errors
/// Why it is none.
pub(super) fn plain_path_in(
    word: &Word,
    globs: bool,
    directory: Option<&[String]>,
) -> Result<Vec<String>, &'static str> {
    let (Some(directory), Some(text)) = (directory, word.literal()) else { return plain_path(word, globs) };
    if text.is_empty() || text.starts_with('/') {
        return plain_path(word, globs);
    }
    let own = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<String> = directory.iter().cloned().chain(own.map(str::to_owned)).collect();
    if parts.iter().any(|part| part == "..") { Err("has a `..` in it") } else { Ok(parts) }
}

/// Hosts by name or address; `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern(String);

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '*');
        if text.is_empty() || !text.chars().all(good) {
            return Err("write a name or an address, `*` for anything in it: db*.example.org");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// As it was written, in small letters.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn covers(&self, host: &str) -> bool {
        part_matches(self.0.as_bytes(), host.as_bytes())
    }
}

/// The machine in a word such as `db1`, `root@db1:/srv`, `https://db1:8080/x` or `[fd00::1]:22`.
pub(super) fn host_of(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None if rest.matches(':').count() > 1 => rest,
        None => rest.split(':').next().unwrap_or(rest),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && !host.starts_with('-') && host.chars().all(good)).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        let parts = text.split_inclusive(['*', '$']).flat_map(|piece| {
            let (literal, end) = piece.split_at(piece.len() - usize::from(piece.ends_with(['*', '$'])));
            let last = match end {
                "*" => Some(Part::Glob("*".into())),
                "$" => Some(Part::Dynamic(Dynamic::Parameter { name: "x".into(), words: Vec::new() })),
                _ => None,
            };
            (!literal.is_empty()).then(|| Part::Literal(literal.into())).into_iter().chain(last)
        });
        Word { parts: parts.collect(), at: 0..text.len() }
    }

    fn path(text: &str) -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn covers(pattern: &str, text: &str) -> bool {
        plain_path(&word(text), true).is_ok_and(|path| PathPattern::parse(pattern).unwrap().covers(&path))
    }

    #[test]
    fn an_allowed_path_is_one_that_the_rule_names_as_it_stands() {
        for (pattern, text) in [
            ("/var/log/**", "/var/log/a"),
            ("/var/log/**", "/var/log/a/b"),
            ("/var/log/*.log", "/var/log/x.log"),
            ("/var/log/*.log", "/var/log/x*.log"),
            ("/**/.ssh/**", "/root/.ssh/id"),
            ("/**/.ssh/**", "/.ssh/id"),
            ("/a/**/b", "/a/b"),
            ("/a/**/b/*", "/a/x/b/y/b/z"),
            ("/**", "/etc"),
        ] {
            assert!(covers(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/var/log/**", "/var/log"),
            ("/var/log/**", "/var/log/../x"),
            ("/var/log/**", "/var/log/.*/x"),
            ("/var/log/**", "var/log/x"),
            ("/var/log/**", "/var/log$"),
            ("/var/log/*.log", "/var/log/x*"),
            ("/var/log/*.log", "/var/log/a/x.log"),
            ("/a/**/b", "/a/b/c"),
            ("/srv/*", "/*/x"),
        ] {
            assert!(!covers(pattern, text), "{pattern} {text}");
        }
    }

    fn may_be(pattern: &str, text: &str, start: &Start) -> bool {
        PathPattern::parse(pattern).unwrap().may_be(&Place::of(&word(text), &start.home), start, Below::All)
    }

    #[test]
    fn a_forbidden_path_is_whatever_may_be_it() {
        let home = Start { home: path("/home/ana"), ..Start::default() };
        for (pattern, text) in [
            ("/etc/shadow", "/etc/shadow"),
            ("/etc/shadow", "/etc/./x/../shadow"),
            ("/etc/shadow", "/e*/shadow"),
            ("/etc/shadow", "/etc/s*"),
            ("/etc/shadow", "$"),
            ("/etc/shadow", "../../etc/shadow"),
            ("/etc/shadow", "../../../etc/shadow"),
            ("/etc/shadow", "/etc"),
            ("/etc/shadow", "/"),
            ("/etc/**", "/*/passwd"),
            ("/home/*/.ssh/**", ".ssh/id_rsa"),
            ("/**/.ssh/**", ".ssh/id_rsa"),
            ("/**", "x"),
            ("/etc/sh*", "/etc/*w"),
            ("/etc/shadow", "/proc/self/root/etc/shadow"),
            ("/etc/shadow", "/proc/1/task/1/root/etc/shadow"),
            ("/home/*/notes", "/proc/self/cwd/notes"),
            ("/etc/shadow", "/proc/self/fd/3"),
        ] {
            assert!(may_be(pattern, text, &home), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/etc/shadow", "/etc/shadows"),
            ("/etc/shadow", "/etc/p*"),
            ("/etc/shadow", "notes"),
            ("/etc/**", "notes"),
            ("/etc/shadow", "/usr/*/shadow"),
            ("/etc/*.key", "/etc/*.log"),
            ("/etc/a*", "/etc/b*"),
            ("/etc/shadow", "/proc/cpuinfo"),
            ("/etc/shadow", "/proc/self/root/etc/hosts"),
        ] {
            assert!(!may_be(pattern, text, &home), "{pattern} {text}");
        }
        let there = Start { directories: vec![path("/etc")], ..home.clone() };
        assert!(may_be("/etc/shadow", "shadow", &there) && !may_be("/etc/shadow", "shadow", &home));
        let somewhere = Start { anywhere: true, ..home };
        assert!(may_be("/etc/shadow", "shadow", &somewhere) && !may_be("/etc/shadow", "shadows", &somewhere));
    }

    #[test]
    fn a_host_is_found_in_what_names_it() {
        for (text, host) in [
            ("db1", "db1"),
            ("root@DB1:/srv", "db1"),
            ("https://u:p@db1.example:8080/x?y", "db1.example"),
            ("[fd00::1]:22", "fd00::1"),
            ("fd00::1", "fd00::1"),
        ] {
            assert_eq!(host_of(text).as_deref(), Some(host), "{text}");
        }
        for text in ["", "-oProxyCommand=x", "a b", "$(x)", "@"] {
            assert_eq!(host_of(text), None, "{text}");
        }
    }
}
