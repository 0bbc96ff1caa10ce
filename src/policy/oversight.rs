//! What a rule wants of those who watch its sessions.

use crate::document::{Fault, Faults, Node};

/// A rule's `four_eyes` and `watch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oversight {
    /// `four_eyes`: sessions go on only while another human watches them; what becomes of them when nobody does any more.
    pub four_eyes: Option<OnLeave>,
    /// `watch = { shown = true }`: the user is told who watches, and when nobody does any more.
    pub shown: bool,
}

/// What becomes of a session for four eyes when its last watcher leaves. The stricter is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnLeave {
    /// It stands still until somebody watches again: `four_eyes = true`.
    Pause,
    /// It ends.
    End,
}

const ON_LEAVE: &[(&str, OnLeave)] = &[("pause", OnLeave::Pause), ("end", OnLeave::End)];

impl Oversight {
    /// The stricter of the two, point by point; whoever must be watched is told by whom.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self { four_eyes: self.four_eyes.max(other.four_eyes), shown: self.shown || other.shown }
    }

    /// Reads both keys of a rule, where they are.
    pub(super) fn read(four_eyes: Option<Node<'_>>, watch: Option<Node<'_>>, faults: &mut Faults) -> Option<Self> {
        let four_eyes = four_eyes.map_or(Some(None), |node| read_four_eyes(&node, faults));
        let shown = watch.map_or(Some(false), |node| read_watch(&node, faults));
        Some(Self { four_eyes: four_eyes?, shown: shown? })
    }
}

/// `true`, `false`, or `{ on_leave = "end" }`.
fn read_four_eyes(node: &Node<'_>, faults: &mut Faults) -> Option<Option<OnLeave>> {
    if let Ok(wanted) = node.boolean() {
        return Some(wanted.then_some(OnLeave::Pause));
    }
    let table =
        node.table().map_err(|_| node.fault("is neither true or false, nor { on_leave = \"pause\" or \"end\" }"));
    let mut table = faults.keep(table)?;
    let on_leave = table.need("on_leave", faults).and_then(|node| faults.keep(node.word(ON_LEAVE)));
    table.finish(&[], faults);
    on_leave.map(Some)
}

fn read_watch(node: &Node<'_>, faults: &mut Faults) -> Option<bool> {
    let mut table = faults.keep(node.table())?;
    let shown = table.need("shown", faults).map(|node| node.boolean());
    table.finish(&[], faults);
    shown.and_then(|shown: Result<bool, Fault>| faults.keep(shown))
}

#[cfg(test)]
mod tests {
    use super::super::{PolicyFile, PolicySet};
    use super::*;

    fn read(more: &str) -> Result<Oversight, String> {
        let text = format!(
            "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = [\"shell\"]\n{more}\n"
        );
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]);
        let set = set.map_err(|faults| faults.iter().map(ToString::to_string).collect::<String>())?;
        Ok(set.rules().next().unwrap().oversight)
    }

    #[test]
    fn a_rule_says_whether_its_sessions_are_watched_and_whether_that_is_told() {
        assert_eq!(read(""), Ok(Oversight::default()));
        assert_eq!(read("four_eyes = true"), Ok(Oversight { four_eyes: Some(OnLeave::Pause), shown: false }));
        for (word, on_leave) in ON_LEAVE {
            let read = read(&format!("four_eyes = {{ on_leave = \"{word}\" }}"));
            assert_eq!(read, Ok(Oversight { four_eyes: Some(*on_leave), shown: false }));
        }
        assert_eq!(read("four_eyes = false"), Ok(Oversight::default()));
        assert_eq!(read("watch = { shown = true }"), Ok(Oversight { four_eyes: None, shown: true }));
        for (odd, why) in [
            ("four_eyes = 2", "true or false"),
            ("four_eyes = {}", "on_leave"),
            ("four_eyes = { on_leave = \"sleep\" }", "pause, end"),
            ("watch = { shown = \"yes\" }", "true or false"),
            ("watch = {}", "shown"),
            ("watch = { shown = true, by = \"bob\" }", "by"),
        ] {
            let told = read(odd).unwrap_err();
            assert!(told.contains(why), "{odd}: {told}");
        }
    }

    #[test]
    fn of_several_rules_the_stricter_holds() {
        let of = |four_eyes, shown| Oversight { four_eyes, shown };
        let (pause, end) = (Some(OnLeave::Pause), Some(OnLeave::End));
        assert_eq!(of(pause, false).strictest(of(None, true)), of(pause, true));
        assert_eq!(of(pause, true).strictest(of(end, false)), of(end, true));
        assert_eq!(of(end, false).strictest(of(None, false)), of(end, false));
        assert_eq!(Oversight::default().strictest(Oversight::default()), Oversight::default());
    }
}
