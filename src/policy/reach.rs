//! What the rules let one user reach, for lists: the destinations that rules for this user name, and no others.
//!
//! What this module does **not** guard against: a list is no permit. Whoever goes to a destination is judged anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{GrantNeed, PolicySet, Rule};
use crate::model::{AccountName, ChannelClass, GroupName, TargetName, UserName};

/// The rules that are about one user.
#[derive(Debug)]
pub struct Reach<'s> {
    rules: Vec<&'s Rule>,
    own: Option<AccountName>,
}

/// What rules open of one account on one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Open as it stands.
    pub standing: BTreeSet<ChannelClass>,
    /// Open while a grant holds, and not without.
    pub on_grant: BTreeSet<ChannelClass>,
}

impl<'s> Reach<'s> {
    /// The rules of `set` that are about this user, of these groups.
    pub fn of(set: &'s PolicySet, user: &UserName, groups: &BTreeSet<GroupName>) -> Self {
        let rules = set.rules().filter(|rule| rule.who.covers(user, groups)).collect();
        Self { rules, own: AccountName::parse(user.as_str()).ok() }
    }

    /// Whether no rule is about the user.
    pub fn is_nowhere(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules open on a target with these labels, by account.
    pub fn at(&self, target: &TargetName, labels: &BTreeMap<String, String>) -> BTreeMap<AccountName, Opened> {
        let mut accounts: BTreeMap<AccountName, Opened> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.place.covers(target, labels)) {
            let own = self.own.iter().filter(|_| rule.accounts.own);
            for account in rule.accounts.named.iter().chain(own) {
                let opened = accounts.entry(account.clone()).or_default();
                let channels = match rule.grant {
                    GrantNeed::NotRequired => &mut opened.standing,
                    GrantNeed::Required => &mut opened.on_grant,
                };
                channels.extend(&rule.channels);
            }
        }
        for Opened { standing, on_grant } in accounts.values_mut() {
            on_grant.retain(|class| !standing.contains(class));
        }
        accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Decision, PolicyFile, Question, decide};

    const RULES: &str = r#"
schema = 1
[[rule]]
id = "standing"
who = { groups = ["dba"] }
where = { labels = { env = "test" } }
accounts = ["root", "$user"]
channels = ["sftp-read"]
grant = { required = false }
[[rule]]
id = "granted"
who = { users = ["alice"] }
where = { targets = ["db1"] }
accounts = ["root", "postgres"]
channels = ["shell", "exec", "sftp-read"]
[[rule]]
id = "others"
who = { users = ["bob"] }
where = { targets = ["*"] }
accounts = ["oracle"]
channels = ["shell"]
"#;

    // Whatever a list says is what a question to the same rules gives.
    #[test]
    fn a_list_says_what_a_decision_says() {
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text: RULES.into() }]).unwrap();
        let test = BTreeMap::from([(String::from("env"), String::from("test"))]);
        let mut seen = 0;
        for (user, groups) in [("alice", vec!["dba"]), ("alice", vec![]), ("bob", vec!["dba"]), ("eve", vec![])] {
            let user = UserName::parse(user).unwrap();
            let groups = groups.into_iter().map(|group| GroupName::parse(group).unwrap()).collect();
            let reach = Reach::of(&set, &user, &groups);
            assert_eq!(reach.is_nowhere(), user.as_str() == "eve");
            for (target, labels) in [("db1", &test), ("db2", &test), ("db1", &BTreeMap::new())] {
                let target = TargetName::parse(target).unwrap();
                let listed = reach.at(&target, labels);
                for account in ["root", "postgres", "oracle", "alice", "bob", "eve"] {
                    let account = AccountName::parse(account).unwrap();
                    for class in ChannelClass::ALL {
                        let (user, groups, target, account) = (&user, &groups, &target, &account);
                        let asked = class.into();
                        let question = Question {
                            user,
                            groups,
                            target,
                            labels,
                            account,
                            asked: Some(&asked),
                            presence: crate::model::Presence::FULL,
                        };
                        let none = Opened::default();
                        let Opened { standing, on_grant } = listed.get(account).unwrap_or(&none);
                        let said = (standing.contains(&class), on_grant.contains(&class));
                        let decided = match decide(&set, &question) {
                            Decision::Allow(_) => (true, false),
                            Decision::NeedsGrant(_) => (false, true),
                            Decision::Deny(_) => (false, false),
                        };
                        assert_eq!(said, decided, "{user} {account}@{target} {class}");
                        seen += usize::from(said.0 || said.1);
                    }
                }
            }
        }
        assert!(seen > 10, "{seen}");
    }
}
