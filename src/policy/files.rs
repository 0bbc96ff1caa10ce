//! Which files SFTP may reach: a rule's `sftp`.
//!
//! What this module does **not** guard against: it compares names. Whoever asks gives paths without links in them; a second
//! name of the same file (a hard link, a mount) is another path here.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Fault, Faults, Node};
use crate::model::{ChannelClass, Extent, FileAction, FileAsked, FilePath, join};
use crate::pattern::part_matches;

/// A rule's `sftp`: for each action the paths at which it may be done. What is not named is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule(BTreeMap<FileAction, Vec<PathPattern>>);

impl FileRule {
    /// Whether this may be done, as far as `extent` asks.
    pub(super) fn covers(&self, asked: &FileAsked) -> bool {
        let parts = asked.path.parts();
        let any = |covers: fn(&PathPattern, &[&[u8]]) -> bool| {
            self.0.get(&asked.action).is_some_and(|paths| paths.iter().any(|path| covers(path, &parts)))
        };
        match asked.extent {
            Extent::Itself => any(PathPattern::covers),
            Extent::Whole => any(PathPattern::covers) && any(PathPattern::covers_all_below),
            Extent::Part => any(PathPattern::may_cover_part),
        }
    }

    /// Reads a rule's `sftp`.
    pub(super) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let mut read = Some(BTreeMap::new());
        for action in FileAction::ALL {
            let Some(node) = table.take(action.word()) else { continue };
            let paths = read_paths(&node, faults);
            read = read.zip(paths).map(|(mut all, paths)| {
                all.insert(action, paths);
                all
            });
        }
        table.finish(&[], faults);
        let read = read?;
        if read.is_empty() {
            faults.push(
                node.fault("names no path").hint("write read = [...], list = [...] and so on, or leave `sftp` out"),
            );
            return None;
        }
        Some(Self(read))
    }

    /// An action without its class opens nothing, and a class without an action neither: either is a slip.
    pub(super) fn refuse_odd(
        &self,
        channels: &BTreeSet<ChannelClass>,
        fault: &dyn Fn(&str, String) -> Fault,
        faults: &mut Faults,
    ) {
        for action in self.0.keys() {
            if action.classes().iter().all(|class| !channels.contains(class)) {
                let classes = join(action.classes());
                faults.push(
                    fault(&format!("rule.sftp.{action}"), format!("has no effect: `channels` does not have {classes}"))
                        .hint("add it to channels, or remove this"),
                );
            }
        }
        for class in channels.iter().filter(|class| class.is_sftp()) {
            // Listing alone opens nothing that `sftp-write` is for.
            let own = |action: &FileAction| action.classes().first() == Some(class);
            if !self.0.keys().any(own) {
                let actions: Vec<FileAction> = FileAction::ALL.into_iter().filter(own).collect();
                faults.push(
                    fault("rule.sftp", format!("`channels` has {class}, and no path is named for it"))
                        .hint(format!("name paths for one of {}, or remove {class}", join(&actions))),
                );
            }
        }
    }
}

fn read_paths(node: &Node<'_>, faults: &mut Faults) -> Option<Vec<PathPattern>> {
    let items = faults.keep(node.filled_list())?;
    // Two steps, so that a first bad one does not hide the second.
    let read: Vec<Option<PathPattern>> = items.iter().map(|item| faults.keep(PathPattern::read(item))).collect();
    read.into_iter().collect()
}

/// A path, in which each `*` stands for anything within one part, and `**` as the last part for everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathPattern {
    parts: Vec<String>,
    /// Everything below, and not what is there itself: who may remove all in a directory may not remove it.
    below: bool,
}

impl PathPattern {
    fn read(node: &Node<'_>) -> Result<Self, Fault> {
        let text = node.filled_string()?;
        Self::parse(text).map_err(|why| {
            node.fault(format!("{text:?} is not a path"))
                .hint(format!("{why}; such as /srv/in/*.csv, or /srv/in/** for everything below /srv/in"))
        })
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        FilePath::parse(text.as_bytes()).map_err(|invalid| invalid.why)?;
        if text.chars().any(|c| c.is_control() || c == '\u{fffd}') {
            return Err("a path in a rule has no control characters");
        }
        let mut parts: Vec<String> = text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let below = parts.pop_if(|last| last == "**").is_some();
        if parts.iter().any(|part| part.contains("**")) {
            return Err("`**` is the last part, alone");
        }
        Ok(Self { parts, below })
    }

    /// Whether the first parts of both are alike, as far as both go.
    fn agrees(&self, path: &[&[u8]]) -> bool {
        self.parts.iter().zip(path).all(|(wanted, part)| part_matches(wanted.as_bytes(), part))
    }

    fn covers(&self, path: &[&[u8]]) -> bool {
        let deep = if self.below { path.len() > self.parts.len() } else { path.len() == self.parts.len() };
        deep && self.agrees(path)
    }

    fn covers_all_below(&self, path: &[&[u8]]) -> bool {
        self.below && path.len() >= self.parts.len() && self.agrees(path)
    }

    fn may_cover_part(&self, path: &[&[u8]]) -> bool {
        (self.below || path.len() <= self.parts.len()) && self.agrees(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(patterns: &[&str]) -> FileRule {
        let patterns = patterns.iter().map(|pattern| PathPattern::parse(pattern).unwrap()).collect();
        FileRule(BTreeMap::from([(FileAction::Read, patterns)]))
    }

    fn covers(patterns: &[&str], path: &str, extent: Extent) -> bool {
        let path = FilePath::parse(path.as_bytes()).unwrap();
        rule(patterns).covers(&FileAsked { action: FileAction::Read, path, extent })
    }

    #[test]
    fn a_pattern_covers_what_it_names_and_two_stars_what_is_below() {
        for (pattern, path) in [
            ("/srv/a", "/srv/a"),
            ("/srv/*", "/srv/a"),
            ("/srv/*.csv", "/srv/.csv"),
            ("/srv/a*b*c", "/srv/aXbYc"),
            ("/home/*/in/*", "/home/eve/in/x"),
            ("/srv/**", "/srv/a"),
            ("/srv/**", "/srv/a/b/c"),
            ("/home/*/in/**", "/home/eve/in/x/y"),
            ("/**", "/etc"),
            ("/", "/"),
            ("/srv/[a]?", "/srv/[a]?"),
        ] {
            assert!(covers(&[pattern], path, Extent::Itself), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/srv/a", "/srv/ab"),
            ("/srv/a", "/srv/a/b"),
            ("/srv/a", "/srv"),
            ("/srv/*", "/srv/a/b"),
            ("/srv/*", "/srv"),
            ("/srv/a*a", "/srv/a"),
            ("/srv/**", "/srv"),
            ("/srv/**", "/srvx/a"),
            ("/srv/**", "/"),
            ("/home/*/in/**", "/home/eve/out/x"),
            ("/**", "/"),
            ("/srv/[a]", "/srv/a"),
            ("/srv/?", "/srv/a"),
            ("/SRV/a", "/srv/a"),
        ] {
            assert!(!covers(&[pattern], path, Extent::Itself), "{pattern} {path}");
        }
        let other =
            FileAsked { action: FileAction::Write, path: FilePath::parse(b"/srv/a").unwrap(), extent: Extent::Itself };
        assert!(!rule(&["/srv/a"]).covers(&other), "what is not named is covered");
    }

    #[test]
    fn a_whole_tree_is_covered_only_with_all_that_can_be_in_it() {
        for (patterns, path) in [
            (&["/srv/**"][..], "/srv/a"),
            (&["/srv", "/srv/**"], "/srv"),
            (&["/*/in/**"], "/srv/in/x"),
            (&["/**"], "/srv"),
        ] {
            assert!(covers(patterns, path, Extent::Whole), "{patterns:?} {path}");
        }
        for (patterns, path) in
            [(&["/srv/**"][..], "/srv"), (&["/srv/*"], "/srv/a"), (&["/srv/a"], "/srv/a"), (&["/srv/a/b/**"], "/srv/a")]
        {
            assert!(!covers(patterns, path, Extent::Whole), "{patterns:?} {path}");
        }
    }

    #[test]
    fn a_place_has_a_part_in_a_rule_if_anything_there_or_below_is_named() {
        for (pattern, path) in [
            ("/srv/in/**", "/"),
            ("/srv/in/**", "/srv"),
            ("/srv/in/**", "/srv/in"),
            ("/srv/in/*", "/srv/in/a"),
            ("/*/in", "/x"),
        ] {
            assert!(covers(&[pattern], path, Extent::Part), "{pattern} {path}");
        }
        for (pattern, path) in [("/srv/in/**", "/srv/out"), ("/srv/in/*", "/srv/in/a/b"), ("/srv/in", "/srv/in/a")] {
            assert!(!covers(&[pattern], path, Extent::Part), "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_path_is_no_pattern() {
        for bad in
            ["", "srv", "/srv/", "/srv//a", "/srv/../a", "/srv/./a", "/**/a", "/srv/a**", "/srv/***", "/a\n", "~/a"]
        {
            assert!(PathPattern::parse(bad).is_err(), "{bad:?}");
        }
    }
}
