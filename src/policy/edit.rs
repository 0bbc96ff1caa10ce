//! Changes of policy files that can be made exactly: a user is taken out of a rule's `who.users`, and nothing else is
//! touched, neither comments nor the order. What cannot be done so is said, not guessed. Pure: texts in, texts out.

use std::ops::Range;

use crate::document::{Document, Faults, Node};
use crate::model::{RuleId, UserName};

/// Why a user cannot be taken out of a rule by leaving out a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotExact {
    /// The file has no such rule, or is not TOML.
    NoRule,
    /// The rule does not name the user.
    NotNamed,
    /// The rule names nobody else: an empty list is none.
    Alone,
    /// The list is written in a way in which a name cannot be left out without touching more.
    Tangled,
}

/// The file's text without the user in the rule's `who.users`.
///
/// # Errors
/// `NotExact`: the change is for a person to make.
pub fn without_user(text: &str, rule: &RuleId, user: &UserName) -> Result<String, NotExact> {
    let before = users_of(text, rule)?;
    let at = before.iter().position(|(name, _)| name == user.as_str()).ok_or(NotExact::NotNamed)?;
    if before.len() < 2 {
        return Err(NotExact::Alone);
    }
    let own = before.get(at).map(|(_, span)| span.clone()).ok_or(NotExact::NotNamed)?;
    let earlier = at.checked_sub(1).and_then(|at| before.get(at)).map(|(_, span)| span.clone());
    let cut = cut(text, own, earlier).ok_or(NotExact::Tangled)?;
    let (head, tail) = (text.get(..cut.start), text.get(cut.end..));
    let (Some(head), Some(tail)) = (head, tail) else { return Err(NotExact::Tangled) };
    let after = format!("{head}{tail}");
    // Read again: what it says now is what it said, without that name.
    let names = |all: &[(String, Range<usize>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let wanted: Vec<String> =
        names(&before).into_iter().enumerate().filter(|(n, _)| *n != at).map(|(_, n)| n).collect();
    match users_of(&after, rule) {
        Ok(left) if names(&left) == wanted => Ok(after),
        Ok(_) | Err(_) => Err(NotExact::Tangled),
    }
}

/// The names in a rule's `who.users`, and where each stands, with its quotes.
fn users_of(text: &str, rule: &RuleId) -> Result<Vec<(String, Range<usize>)>, NotExact> {
    let mut faults = Faults::default();
    let document = Document::parse("", text, &mut faults).ok_or(NotExact::NoRule)?;
    let mut root = document.root();
    let rules = root.take("rule").and_then(|node| node.list().ok()).ok_or(NotExact::NoRule)?;
    let is_meant = |node: &Node<'_>| {
        let id = node.table().ok().and_then(|mut table| table.take("id"));
        id.is_some_and(|id| id.as_str() == Some(rule.as_str()))
    };
    let meant = rules.iter().find(|node| is_meant(node)).ok_or(NotExact::NoRule)?;
    let who = meant.table().ok().and_then(|mut table| table.take("who")).ok_or(NotExact::NotNamed)?;
    let users = who.table().ok().and_then(|mut table| table.take("users")).ok_or(NotExact::NotNamed)?;
    let items = users.list().map_err(|_| NotExact::NotNamed)?;
    items
        .iter()
        .map(|item| Some((item.as_str()?.to_owned(), item.span())))
        .collect::<Option<_>>()
        .ok_or(NotExact::Tangled)
}

/// What goes with an item of a list: the comma behind it, or before it where it is the last, and its line, with the comment
/// behind it, where it has one of its own.
fn cut(text: &str, item: Range<usize>, earlier: Option<Range<usize>>) -> Option<Range<usize>> {
    let blank = |text: &str| text.len().saturating_sub(text.trim_start_matches([' ', '\t']).len());
    let line_start = text.get(..item.start)?.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let begins_line = text.get(line_start..item.start)?.trim().is_empty();
    let mut end = item.end.saturating_add(blank(text.get(item.end..)?));
    if text.get(end..)?.starts_with(',') {
        end = end.saturating_add(1);
        end = end.saturating_add(blank(text.get(end..)?));
        let rest = text.get(end..)?;
        let comment = if rest.starts_with('#') { rest.find('\n')? } else { 0 };
        let line_over = rest.get(comment..)?.starts_with('\n');
        return match (begins_line, line_over) {
            (true, true) => Some(line_start..end.saturating_add(comment).saturating_add(1)),
            // A comment behind several names is not of one of them.
            (_, _) if comment > 0 => None,
            // The last of its line: the blanks before it would be left at the end.
            (false, true) => {
                let kept = text.get(..item.start)?.trim_end_matches([' ', '\t']).len();
                Some(kept..end)
            }
            (_, false) => Some(item.start..end),
        };
    }
    // The last, without a comma: the one before it goes.
    let earlier = earlier?;
    let between = text.get(earlier.end..item.start)?;
    (!between.contains('#')).then_some(earlier.end..item.end)
}

/// Lines around a change that a diff shows.
const CONTEXT: usize = 3;
/// Beyond so many pairs of lines what differs is shown as one piece.
const PAIRS_MAX: usize = 4_000_000;

/// What a line is in a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Same,
    Gone,
    New,
}

impl Mark {
    fn sign(self) -> char {
        match self {
            Self::Same => ' ',
            Self::Gone => '-',
            Self::New => '+',
        }
    }
}

/// A unified diff of a file, as `patch -p1` and `git apply` take it; empty if nothing differs.
pub fn unified(file: &str, before: &str, after: &str) -> String {
    if before == after {
        return String::new();
    }
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let marked = marked(&old, &new);
    let changed: Vec<usize> =
        marked.iter().enumerate().filter(|(_, (mark, _))| *mark != Mark::Same).map(|(at, _)| at).collect();
    let mut text = format!("--- a/{file}\n+++ b/{file}\n");
    let mut from = 0;
    while let Some(first) = changed.get(from) {
        let mut to = from;
        while let (Some(this), Some(next)) = (changed.get(to), changed.get(to.saturating_add(1))) {
            if next.saturating_sub(*this) > CONTEXT.saturating_mul(2).saturating_add(1) {
                break;
            }
            to = to.saturating_add(1);
        }
        let last = changed.get(to).copied().unwrap_or(*first);
        let begin = first.saturating_sub(CONTEXT);
        let end = last.saturating_add(CONTEXT).saturating_add(1).min(marked.len());
        text.push_str(&hunk(&marked, begin..end));
        from = to.saturating_add(1);
    }
    text
}

fn hunk(marked: &[(Mark, &str)], range: Range<usize>) -> String {
    let count = |lines: &[(Mark, &str)], without: Mark| lines.iter().filter(|(mark, _)| *mark != without).count();
    let (before, lines) = (marked.get(..range.start).unwrap_or_default(), marked.get(range).unwrap_or_default());
    // A side without a line stands behind the line before it.
    let side = |without: Mark| {
        let (start, length) = (count(before, without), count(lines, without));
        let start = if length == 0 { start } else { start.saturating_add(1) };
        format!("{start},{length}")
    };
    let mut text = format!("@@ -{} +{} @@\n", side(Mark::New), side(Mark::Gone));
    for (mark, line) in lines {
        text.push(mark.sign());
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
    text
}

/// Each line of both, marked: the longest common lines stay.
fn marked<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Mark, &'t str)> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let rest = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(old, new)| old == new).count();
    let middle = |lines: &[&'t str]| lines.get(..lines.len().saturating_sub(tail)).unwrap_or_default().to_vec();
    let (from, to) = (middle(rest.0), middle(rest.1));
    let same = |lines: &[&'t str]| lines.iter().map(|line| (Mark::Same, *line)).collect::<Vec<_>>();
    let mut all = same(old.get(..head).unwrap_or_default());
    if from.len().saturating_mul(to.len()) > PAIRS_MAX {
        all.extend(from.iter().map(|line| (Mark::Gone, *line)));
        all.extend(to.iter().map(|line| (Mark::New, *line)));
    } else {
        all.extend(between(&from, &to));
    }
    all.extend(same(rest.0.get(rest.0.len().saturating_sub(tail)..).unwrap_or_default()));
    all
}

fn between<'t>(old: &[&'t str], new: &[&'t str]) -> Vec<(Mark, &'t str)> {
    // `common[i][j]`: how many lines `old[i..]` and `new[j..]` have in common, in order.
    let width = new.len().saturating_add(1);
    let mut common = vec![0_u32; old.len().saturating_add(1).saturating_mul(width)];
    let at = |i: usize, j: usize| i.saturating_mul(width).saturating_add(j);
    let of = |common: &[u32], i: usize, j: usize| common.get(at(i, j)).copied().unwrap_or(0);
    for (i, own) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let best = if own == other {
                of(&common, i.saturating_add(1), j.saturating_add(1)).saturating_add(1)
            } else {
                of(&common, i.saturating_add(1), j).max(of(&common, i, j.saturating_add(1)))
            };
            if let Some(place) = common.get_mut(at(i, j)) {
                *place = best;
            }
        }
    }
    let (mut i, mut j, mut all) = (0_usize, 0_usize, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(own), Some(other)) if own == other => {
                all.push((Mark::Same, *own));
                (i, j) = (i.saturating_add(1), j.saturating_add(1));
            }
            (Some(own), other)
                if other.is_none() || of(&common, i.saturating_add(1), j) >= of(&common, i, j.saturating_add(1)) =>
            {
                all.push((Mark::Gone, *own));
                i = i.saturating_add(1);
            }
            (_, Some(other)) => {
                all.push((Mark::New, *other));
                j = j.saturating_add(1);
            }
            (_, None) => return all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "schema = 1 # kept\n[[rule]]\nid = \"a\"\nwho = { users = [\"alice\", \"bob\",\"carol\"], groups = [\"x\"] }\n\n[[rule]]\nid = \"b\"\n\
                        [rule.who]\nusers = [\n  \"alice\", # on call\n  \"bob\",\n  # of the night\n  \"carol\"\n]\n\
                        [[rule]]\nid = \"c\"\nwho = { users = [\"alice\"] }\n[[rule]]\nid = \"d\"\nwho = { groups = [\"x\"] }\n";

    fn without(rule: &str, user: &str) -> Result<String, NotExact> {
        without_user(FILE, &RuleId::parse(rule).unwrap(), &UserName::parse(user).unwrap())
    }

    #[test]
    fn a_name_is_left_out_and_nothing_else_is_touched() {
        for (rule, user, from, to) in [
            ("a", "alice", "[\"alice\", \"bob\",\"carol\"]", "[\"bob\",\"carol\"]"),
            ("a", "bob", "\"alice\", \"bob\",\"carol\"", "\"alice\", \"carol\""),
            ("a", "carol", "\"bob\",\"carol\"]", "\"bob\"]"),
            ("b", "alice", "  \"alice\", # on call\n", ""),
            ("b", "bob", "  \"bob\",\n", ""),
        ] {
            assert_eq!(without(rule, user).unwrap(), FILE.replacen(from, to, 1), "{rule} {user}");
        }
    }

    #[test]
    fn what_is_not_exact_is_not_done() {
        assert_eq!(without("b", "carol"), Err(NotExact::Tangled));
        assert_eq!(without("c", "alice"), Err(NotExact::Alone));
        assert_eq!(without("a", "dave"), Err(NotExact::NotNamed));
        assert_eq!(without("d", "alice"), Err(NotExact::NotNamed));
        assert_eq!(without("e", "alice"), Err(NotExact::NoRule));
        let two = "[[rule]]\nid = \"a\"\nwho = { users = [\n  \"x\", \"alice\", # both\n] }\n";
        let (rule, alice) = (RuleId::parse("a").unwrap(), UserName::parse("alice").unwrap());
        assert_eq!(without_user(two, &rule, &alice), Err(NotExact::Tangled));
        assert_eq!(without_user("users = [", &rule, &alice), Err(NotExact::NoRule));
    }

    #[test]
    fn a_diff_is_one_that_patch_takes() {
        let after = without("a", "bob")
            .and_then(|text| without_user(&text, &RuleId::parse("b").unwrap(), &UserName::parse("bob").unwrap()));
        let diff = unified("policies/access/x.toml", FILE, &after.unwrap());
        let expected = "--- a/policies/access/x.toml\n+++ b/policies/access/x.toml\n@@ -1,14 +1,13 @@\n schema = 1 # kept\n [[rule]]\n \
                        id = \"a\"\n-who = { users = [\"alice\", \"bob\",\"carol\"], groups = [\"x\"] }\n\
                        +who = { users = [\"alice\", \"carol\"], groups = [\"x\"] }\n \n [[rule]]\n id = \"b\"\n [rule.who]\n users = [\n   \
                        \"alice\", # on call\n-  \"bob\",\n   # of the night\n   \"carol\"\n ]\n";
        assert_eq!(diff, expected);
        assert_eq!(unified("x", FILE, FILE), "");
        // Far apart: two hunks, each where it stands.
        let old: String = (0..40).map(|n| format!("{n}\n")).collect();
        let new = old.replacen("3\n", "", 1).replacen("30\n", "thirty\n", 1);
        let heads: Vec<String> =
            unified("x", &old, &new).lines().filter(|l| l.starts_with("@@")).map(str::to_owned).collect();
        assert_eq!(heads, ["@@ -1,7 +1,6 @@", "@@ -28,7 +27,7 @@"]);
    }
}
