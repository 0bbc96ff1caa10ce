//! The rules of a set by whom they are for: a decision looks at those that may be about the user, not at all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Names, PolicySet, Rule};
use crate::model::{AccountName, GroupName, TargetName, UserName};

/// Places of rules in their set.
///
/// INVARIANT: each list is in the order of the rules, and a rule stands under everything that its `who` names.
#[derive(Debug, Default)]
pub(super) struct Index {
    every: Vec<usize>,
    users: BTreeMap<UserName, Vec<usize>>,
    groups: BTreeMap<GroupName, Vec<usize>>,
}

impl Index {
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            match &rule.who.users {
                Names::Every => index.every.push(at),
                Names::These(users) => {
                    users.iter().for_each(|user| index.users.entry(user.clone()).or_default().push(at));
                }
            }
            rule.who.groups.iter().for_each(|group| index.groups.entry(group.clone()).or_default().push(at));
        }
        index
    }

    fn about(&self, user: &UserName, groups: &BTreeSet<GroupName>) -> Vec<usize> {
        let named = self.users.get(user).into_iter().flatten();
        let grouped = groups.iter().filter_map(|group| self.groups.get(group)).flatten();
        let mut found: Vec<usize> = self.every.iter().chain(named).chain(grouped).copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl PolicySet {
    /// The rules whose `who` names this user, or one of these groups, by file name and then in file order.
    pub fn rules_about(&self, user: &UserName, groups: &BTreeSet<GroupName>) -> impl Iterator<Item = &Rule> {
        self.0.index.about(user, groups).into_iter().filter_map(|at| self.0.rules.get(at))
    }
}

impl Rule {
    /// Whether the rule is for this user, wherever.
    pub fn is_for(&self, user: &UserName, groups: &BTreeSet<GroupName>) -> bool {
        self.who.covers(user, groups)
    }

    /// Whether the rule is for this target, whoever comes.
    pub fn is_at(&self, target: &TargetName, labels: &BTreeMap<String, String>) -> bool {
        self.place.covers(target, labels)
    }

    /// The accounts that the rule opens to this user, if it is for them.
    pub fn accounts_of(&self, user: &UserName) -> BTreeSet<AccountName> {
        let own = self.accounts.own.then(|| AccountName::parse(user.as_str()).ok()).flatten();
        self.accounts.named.iter().cloned().chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    #[test]
    fn the_index_finds_the_rules_that_are_for_a_user_and_no_others_in_their_order() {
        let whos = [
            "users = [\"alice\"]",
            "groups = [\"dba\"]",
            "users = [\"*\"]",
            "users = [\"bob\", \"alice\"], groups = [\"dba\", \"web\"]",
            "groups = [\"web\"]",
        ];
        let rule = |(at, who): (usize, &&str)| {
            format!(
                "[[rule]]\nid = \"r{at}\"\nwho = {{ {who} }}\nwhere = {{ targets = [\"db1\"] }}\naccounts = [\"root\"]\n\
                 channels = [\"shell\"]\n"
            )
        };
        let text = format!("schema = 1\n{}", whos.iter().enumerate().map(rule).collect::<String>());
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text }]).unwrap();
        let mut seen = BTreeSet::new();
        for user in ["alice", "bob", "eve"] {
            for groups in [vec![], vec!["dba"], vec!["web"], vec!["dba", "web", "other"]] {
                let user = UserName::parse(user).unwrap();
                let groups = groups.into_iter().map(|group| GroupName::parse(group).unwrap()).collect();
                let ids = |rule: &Rule| rule.id.to_string();
                let found: Vec<String> = set.rules_about(&user, &groups).map(ids).collect();
                let wanted: Vec<String> = set.rules().filter(|rule| rule.who.covers(&user, &groups)).map(ids).collect();
                assert_eq!(found, wanted, "{user} {groups:?}");
                seen.insert(found);
            }
        }
        assert!(seen.len() > 5, "{seen:?}");
    }
}
