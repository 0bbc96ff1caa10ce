//! What a rule wants of those who watch its sessions.

use super::document::{Fault, Faults, Node};

/// A rule's `four_eyes` and `watch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oversight {
    /// `four_eyes = true`: sessions go on only while another human watches them.
    pub four_eyes: bool,
    /// `watch = { shown = true }`: the user is told who watches, and when nobody does any more.
    pub shown: bool,
}

impl Oversight {
    /// The stricter of the two, point by point; whoever must be watched is told by whom.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self { four_eyes: self.four_eyes || other.four_eyes, shown: self.shown || other.shown }
    }

    /// Reads both keys of a rule, where they are.
    pub(super) fn read(four_eyes: Option<Node<'_>>, watch: Option<Node<'_>>, faults: &mut Faults) -> Option<Self> {
        let four_eyes = four_eyes.map_or(Some(false), |node| faults.keep(node.boolean()));
        let shown = watch.map_or(Some(false), |node| read_watch(&node, faults));
        Some(Self { four_eyes: four_eyes?, shown: shown? })
    }
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
        assert_eq!(read("four_eyes = true"), Ok(Oversight { four_eyes: true, shown: false }));
        assert_eq!(read("watch = { shown = true }"), Ok(Oversight { four_eyes: false, shown: true }));
        for (odd, why) in [
            ("four_eyes = 2", "true or false"),
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
        let (eyes, shown) = (Oversight { four_eyes: true, shown: false }, Oversight { four_eyes: false, shown: true });
        assert_eq!(eyes.strictest(shown), Oversight { four_eyes: true, shown: true });
        assert_eq!(Oversight::default().strictest(Oversight::default()), Oversight::default());
    }
}
