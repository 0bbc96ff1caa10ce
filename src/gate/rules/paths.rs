//! Paths and hosts that rules name, and what words may lead there.
//!
//! An allowed path is compared as it stands, so it must be absolute and without `..`. Where a rule forbids, whatever may be
//! that path is taken for it: a word that only the target knows, a pattern for file names that could fit, a relative path
//! where nobody knows the directory.
//!
//! What this module does **not** guard against: a second name of a file. Links on the target are not seen.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::gate::directory::Directory;
use crate::gate::shell::word::{Dynamic, Part, Word};
use crate::pattern::{matches_with, part_matches};

/// Stands for any run of characters in a word that has a pattern for file names. No line has it: control characters are
/// refused; and were it in one, it would only be compared more carefully.
const ANY: char = '\u{1}';
/// No system call takes a longer path (`PATH_MAX`), and none is worth the time to look at it.
const PATH_BYTES_MAX: usize = 4096;
/// And a path of more parts than this is nobody's: it may lead anywhere.
const PATH_PARTS_MAX: usize = 64;

/// A path, in which each `*` stands for anything within one part, and `**` for any number of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    parts: Vec<String>,
}

/// What may stand where a path is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place<'w> {
    /// These parts, from the root.
    Absolute(Vec<Cow<'w, str>>),
    /// These parts, from the root, with `..` taken away as names tell; and what stands behind the last `..`, for links may
    /// lead elsewhere.
    Unfolded(Vec<Cow<'w, str>>, Vec<Cow<'w, str>>),
    /// These parts, from a directory that may be any.
    Relative(Vec<Cow<'w, str>>),
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
    /// Whether there are more of them than are looked at one by one: then nobody knows where a relative path leads.
    pub(super) many: bool,
    /// The directory in which the whole line starts, if that is not the home.
    pub(super) elsewhere: Option<Directory>,
}

impl Start {
    /// The directory in which each program of the line starts that its shell starts; none where that is the home, or the
    /// line may change it.
    pub(super) fn known(&self) -> Option<&[String]> {
        let unchanged = !self.anywhere && !self.many && self.directories.len() == 1;
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
    pub(super) fn covers<P: AsRef<str>>(&self, path: &[P]) -> bool {
        walk(&self.parts, path, &|wanted, part| part_matches(wanted.as_bytes(), part.as_bytes()))
    }

    /// Whether a path may be one of those that it names, or what it names lies below it.
    fn may_fit(&self, path: &[Cow<'_, str>], below: Below) -> bool {
        walk(&self.parts, path, &may_match) || lies_below(&self.parts, path, below)
    }

    /// Whether a path from some directory may be one of those that it names, or lead to one.
    fn ends_like(&self, path: &[Cow<'_, str>], below: Below) -> bool {
        (0..self.parts.len()).any(|from| {
            let tail = self.parts.get(from..).unwrap_or_default();
            walk(tail, path, &may_match) || lies_below(tail, path, below)
        })
    }
}

/// The paths that a rule names for one kind of effect.
///
/// A rule that guards secrets has dozens that may lie anywhere, and a line has thousands of parts of paths: so those of the
/// forms `/**/NAME` and `/**/NAME/**` are looked up by name, all at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paths {
    all: Vec<PathPattern>,
    /// The names of `/**/NAME`.
    ends: HashSet<String>,
    /// Those of them that have a `*`.
    patterned_ends: Vec<String>,
    /// The names of `/**/NAME/**`.
    directories: HashSet<String>,
    /// The others, by their place in `all`.
    others: Vec<usize>,
}

impl Paths {
    pub(super) fn of(all: Vec<PathPattern>) -> Self {
        let mut paths = Self::default();
        for (at, pattern) in all.iter().enumerate() {
            let parts: Vec<&str> = pattern.parts.iter().map(String::as_str).collect();
            match parts.as_slice() {
                ["**", "**", ..] => paths.others.push(at),
                ["**", name] if name.contains('*') => paths.patterned_ends.push((*name).to_owned()),
                ["**", name] => drop(paths.ends.insert((*name).to_owned())),
                ["**", name, "**"] if !name.contains('*') => drop(paths.directories.insert((*name).to_owned())),
                _ => paths.others.push(at),
            }
        }
        Self { all, ..paths }
    }

    /// Each of them, as the rule names them.
    pub fn iter(&self) -> impl Iterator<Item = &PathPattern> {
        self.all.iter()
    }

    /// Whether one of them is for every path there is.
    pub fn is_every(&self) -> bool {
        self.all.iter().any(PathPattern::is_every)
    }

    /// Whether the path is one of those that they name.
    pub(super) fn cover<P: AsRef<str>>(&self, path: &[P]) -> bool {
        self.all.iter().any(|pattern| pattern.covers(path))
    }

    /// Whether something that may stand there is, or may be, one of those that they name.
    pub(super) fn may_be(&self, place: &Place<'_>, start: &Start, below: Below) -> bool {
        if self.all.is_empty() {
            return false;
        }
        match place {
            Place::Anywhere => true,
            Place::Absolute(path) => self.may_fit(path, below) || self.by_process(path, below),
            // What lies above a link is not above its name.
            Place::Unfolded(path, behind) => {
                self.may_fit(path, below) || self.by_process(path, below) || self.end_like(behind, below)
            }
            Place::Relative(_) if start.many => true,
            Place::Relative(path) => {
                let from = |directory: &Vec<String>| {
                    let whole = joined(directory, path.iter().map(|part| Cow::Borrowed(&**part)));
                    self.may_fit(&whole, below) || self.by_process(&whole, below)
                };
                let climbed = path.iter().rposition(|part| part == "..");
                let behind = climbed.map(|last| path.get(last.saturating_add(1)..).unwrap_or_default());
                from(&start.home)
                    || start.directories.iter().any(from)
                    || (start.anywhere && self.end_like(path, below))
                    || behind.is_some_and(|behind| self.end_like(behind, below))
            }
        }
    }

    fn may_fit(&self, path: &[Cow<'_, str>], below: Below) -> bool {
        self.may_be_named(path, below) || self.others().any(|pattern| pattern.may_fit(path, below))
    }

    fn others(&self) -> impl Iterator<Item = &PathPattern> {
        self.others.iter().filter_map(|at| self.all.get(*at))
    }

    /// Whether the path may be one of `/**/NAME` and `/**/NAME/**`. All may lie below a directory.
    fn may_be_named(&self, path: &[Cow<'_, str>], below: Below) -> bool {
        let any = self.all.len() > self.others.len();
        if any && below == Below::All {
            return true;
        }
        let Some((last, directories)) = path.split_last() else { return false };
        may_be_one(&self.ends, last)
            || self.patterned_ends.iter().any(|wanted| may_match(wanted, last))
            || (!self.directories.is_empty() && directories.iter().any(|part| may_be_one(&self.directories, part)))
    }

    /// Whether a way through a process, `/proc/1/root` or `/proc/self/cwd`, may lead to what they name.
    fn by_process(&self, path: &[Cow<'_, str>], below: Below) -> bool {
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
        // A way through another is nobody's habit.
        (is("root", part) && (self.may_fit(rest, below) || rest.first().is_some_and(|part| is("proc", part))))
            || (is("cwd", part) && self.end_like(rest, below))
            || is("fd", part)
            || is("map_files", part)
    }

    /// Whether a path from some directory may be one of those that they name, or lead to one.
    fn end_like(&self, path: &[Cow<'_, str>], below: Below) -> bool {
        let up = path.iter().take_while(|part| *part == "..").count();
        let rest = path.get(up..).unwrap_or_default();
        // Of what ends in `**`, the directory may be the one in which that begins.
        rest.is_empty()
            || self.all.iter().any(|pattern| pattern.parts.last().is_some_and(|part| part == "**"))
            || self.may_be_named(rest, below)
            || self.others().any(|pattern| pattern.ends_like(rest, below))
    }
}

/// Whether a part may become one of these names.
fn may_be_one(names: &HashSet<String>, part: &str) -> bool {
    if part.contains(ANY) { names.iter().any(|name| may_match(name, part)) } else { names.contains(part) }
}

/// Whether what a pattern names may lie below this path.
fn lies_below(parts: &[String], path: &[Cow<'_, str>], below: Below) -> bool {
    if below == Below::No {
        return false;
    }
    for (at, part) in path.iter().enumerate() {
        match parts.get(at) {
            Some(wanted) if wanted == "**" => return below == Below::All,
            Some(wanted) if below == Below::Named && wanted.contains('*') => return false,
            Some(wanted) if may_match(wanted, part) => {}
            Some(_) | None => return false,
        }
    }
    path.len() < parts.len() && (below == Below::All || parts.first().is_some_and(|part| part != "**"))
}

/// Compares part by part; `**` stands for any number of parts, at the end for one at least.
fn walk<P: AsRef<str>>(wanted: &[String], path: &[P], agrees: &dyn Fn(&str, &str) -> bool) -> bool {
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
        } else if want.zip(path.get(on)).is_some_and(|(want, part)| agrees(want, part.as_ref())) {
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
    let any = u8::try_from(ANY).unwrap_or_default();
    matches_with(any, part.as_bytes(), wanted.as_bytes())
}

/// A path from a directory, with `..` taken away as far as names tell.
fn joined<'p>(directory: &'p [String], path: impl Iterator<Item = Cow<'p, str>>) -> Vec<Cow<'p, str>> {
    let mut whole: Vec<Cow<'p, str>> = directory.iter().map(|part| Cow::Borrowed(part.as_str())).collect();
    for part in path {
        if part == ".." { drop(whole.pop()) } else { whole.push(part) }
    }
    whole
}

impl<'w> Place<'w> {
    /// What a word leads to.
    pub(super) fn of(word: &'w Word, home: &[String]) -> Self {
        let mut text = Cow::Borrowed("");
        for (at, part) in word.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) if text.is_empty() => text = Cow::Borrowed(literal),
                Part::Literal(literal) => text.to_mut().push_str(literal),
                Part::Glob(_) => text.to_mut().push(ANY),
                Part::Dynamic(Dynamic::Home(name)) if at == 0 && name == "~" => {
                    text = Cow::Owned(format!("/{}", home.join("/")));
                }
                Part::Dynamic(_) => return Self::Anywhere,
            }
        }
        if text.len() > PATH_BYTES_MAX {
            return Self::Anywhere;
        }
        let absolute = text.starts_with('/');
        let parts: Vec<Cow<'w, str>> = parts_of(text).into_iter().filter(|part| part != ".").collect();
        if parts.len() > PATH_PARTS_MAX {
            return Self::Anywhere;
        }
        if !absolute {
            return Self::Relative(parts);
        }
        match parts.iter().rposition(|part| part == "..") {
            None => Self::Absolute(parts),
            Some(last) => {
                let behind = parts.get(last.saturating_add(1)..).unwrap_or_default().to_vec();
                Self::Unfolded(joined(&[], parts.into_iter()), behind)
            }
        }
    }
}

/// The parts of an allowed path: absolute, without `.` and `..`. With `globs`, patterns for file names may be in it, but not
/// at the beginning of a part behind a dot: `.*` is `..`, too.
///
/// # Errors
/// Why it is none.
pub(super) fn plain_path(word: &Word, globs: bool) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let mut text = Cow::Borrowed("");
    for part in &word.parts {
        match part {
            Part::Literal(literal) if text.is_empty() => text = Cow::Borrowed(literal),
            Part::Literal(literal) => text.to_mut().push_str(literal),
            Part::Glob(_) if globs => text.to_mut().push(ANY),
            Part::Glob(_) => return Err("has a pattern for file names, and the rule has no `globs = true`"),
            Part::Dynamic(_) => return Err("is known only on the target"),
        }
    }
    if !text.starts_with('/') {
        return Err("is not a full path");
    }
    if text.len() > PATH_BYTES_MAX {
        return Err("is longer than any path");
    }
    let parts = parts_of(text);
    if parts.iter().any(|part| matches!(&**part, "." | "..") || (part.starts_with('.') && part.contains(ANY))) {
        return Err("has a `.` or `..` in it");
    }
    Ok(parts)
}

/// The same, where a relative path begins in this directory.
///
/// # Errors
/// Why it is none.
pub(super) fn plain_path_in<'w>(
    word: &'w Word,
    globs: bool,
    directory: Option<&[String]>,
) -> Result<Vec<Cow<'w, str>>, &'static str> {
    let (Some(directory), Some(text)) = (directory, word.literal()) else { return plain_path(word, globs) };
    if text.is_empty() || text.starts_with('/') {
        return plain_path(word, globs);
    }
    if text.len() > PATH_BYTES_MAX {
        return Err("is longer than any path");
    }
    let own = text.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<Cow<'w, str>> =
        directory.iter().map(String::as_str).chain(own).map(|part| Cow::Owned(part.to_owned())).collect();
    if parts.iter().any(|part| part == "..") { Err("has a `..` in it") } else { Ok(parts) }
}

/// The parts of a path that are not empty.
fn parts_of(path: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    match path {
        Cow::Borrowed(path) => path.split('/').filter(|part| !part.is_empty()).map(Cow::Borrowed).collect(),
        Cow::Owned(path) => {
            path.split('/').filter(|part| !part.is_empty()).map(|part| Cow::Owned(part.to_owned())).collect()
        }
    }
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
        Paths::of(vec![PathPattern::parse(pattern).unwrap()]).may_be(
            &Place::of(&word(text), &start.home),
            start,
            Below::All,
        )
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
