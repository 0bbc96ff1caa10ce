//! What the rules let one user reach, for lists: the destinations that rules for this user name, and no others.
//!
//! What this module does **not** guard against: a list is no permit. Whoever goes to a destination is judged anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{Circumstances, Givers, GrantNeed, PolicySet, Question, Rule};
use crate::model::{AccountName, ChannelClass, GroupName, Presence, RuleId, TargetName, UserName};

/// The rules that are about one user.
#[derive(Debug)]
pub struct Reach<'s> {
    rules: Vec<&'s Rule>,
    presence: Presence,
    own: Option<AccountName>,
    set: &'s PolicySet,
    user: UserName,
    groups: BTreeSet<GroupName>,
}

/// What rules open of one account on one target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Open as it stands.
    pub standing: BTreeSet<ChannelClass>,
    /// Open by a grant that holds now.
    pub granted: BTreeSet<ChannelClass>,
    /// Open while a grant holds, and none does.
    pub on_grant: BTreeSet<ChannelClass>,
    /// Open to those who show more at the login than this user has: a security key, its touch, its PIN.
    pub on_key: BTreeSet<ChannelClass>,
    /// Open to those while a grant holds, and none does.
    pub on_both: BTreeSet<ChannelClass>,
    /// The rules that need a grant, and of whom.
    pub rules: BTreeSet<(RuleId, Givers)>,
    /// Whether one of them lets the user ask for it.
    pub may_ask: bool,
}

impl<'s> Reach<'s> {
    /// The rules of `set` that are about this user, of these groups, who logged in like this.
    pub fn of(set: &'s PolicySet, user: &UserName, groups: &BTreeSet<GroupName>, presence: Presence) -> Self {
        let rules = set.rules().filter(|rule| rule.who.covers(user, groups)).collect();
        let own = AccountName::parse(user.as_str()).ok();
        Self { rules, presence, own, set, user: user.clone(), groups: groups.clone() }
    }

    /// Whether no rule is about the user.
    pub fn is_nowhere(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules open on a target with these labels, by account. `held` says whether a grant holds now by which this
    /// rule opens this channel of this account.
    pub fn at(
        &self,
        target: &TargetName,
        labels: &BTreeMap<String, String>,
        held: &dyn Fn(&AccountName, &Rule, ChannelClass) -> bool,
    ) -> BTreeMap<AccountName, Opened> {
        let mut accounts: BTreeMap<AccountName, Opened> = BTreeMap::new();
        for rule in self.rules.iter().filter(|rule| rule.place.covers(target, labels)) {
            let own = self.own.iter().filter(|_| rule.accounts.own);
            for account in rule.accounts.named.iter().chain(own) {
                let opened = accounts.entry(account.clone()).or_default();
                if rule.grant.need == GrantNeed::Required {
                    opened.rules.insert((rule.id.clone(), rule.grant.givers));
                    opened.may_ask |= rule.grant.request.is_some();
                }
                for class in &rule.channels.iter().copied().collect::<Vec<_>>() {
                    if self.is_closed(target, labels, account, *class) {
                        continue;
                    }
                    let need = rule.grant.need == GrantNeed::Required;
                    let missing = need && !held(account, rule, *class);
                    let classes = match (self.presence.covers(rule.key), need, missing) {
                        (true, false, _) => &mut opened.standing,
                        (true, true, false) => &mut opened.granted,
                        (true, true, true) => &mut opened.on_grant,
                        (false, _, false) => &mut opened.on_key,
                        (false, _, true) => &mut opened.on_both,
                    };
                    classes.insert(*class);
                }
            }
        }
        for Opened { standing, granted, on_grant, on_key, on_both, .. } in accounts.values_mut() {
            granted.retain(|class| !standing.contains(class));
            let open = |class: &ChannelClass| standing.contains(class) || granted.contains(class);
            on_grant.retain(|class| !open(class));
            on_key.retain(|class| !open(class) && !on_grant.contains(class));
            on_both.retain(|class| !open(class) && !on_grant.contains(class) && !on_key.contains(class));
        }
        accounts.retain(|_, opened| {
            let Opened { standing, granted, on_grant, on_key, on_both, .. } = opened;
            [standing, granted, on_grant, on_key, on_both].iter().any(|classes| !classes.is_empty())
        });
        accounts
    }

    fn is_closed(
        &self,
        target: &TargetName,
        labels: &BTreeMap<String, String>,
        account: &AccountName,
        class: ChannelClass,
    ) -> bool {
        if self.set.denials().next().is_none() {
            return false;
        }
        let asked = class.into();
        let (user, groups, circumstances) = (&self.user, &self.groups, Circumstances::BEST);
        let question = Question {
            user,
            groups,
            target,
            labels,
            account,
            asked: Some(&asked),
            presence: self.presence,
            circumstances,
        };
        self.set.forbidden_by(&question).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Decision, PolicyFile, decide};

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
[[rule]]
id = "closed"
effect = "deny"
who = { groups = ["dba"] }
where = { targets = ["db2"] }
channels = ["sftp-read"]
reason = "not from there"
[[rule]]
id = "touched"
who = { groups = ["dba"] }
where = { targets = ["db1"] }
accounts = ["oracle"]
channels = ["exec"]
key = { touch = true }
grant = { required = false }
"#;

    // Whatever a list says is what a question to the same rules gives.
    #[test]
    fn a_list_says_what_a_decision_says() {
        let set = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text: RULES.into() }]).unwrap();
        let test = BTreeMap::from([(String::from("env"), String::from("test"))]);
        let (mut seen, mut keyed) = (0, 0);
        for (user, groups) in [("alice", vec!["dba"]), ("alice", vec![]), ("bob", vec!["dba"]), ("eve", vec![])] {
            let user = UserName::parse(user).unwrap();
            let groups = groups.into_iter().map(|group| GroupName::parse(group).unwrap()).collect();
            assert_eq!(
                Reach::of(&set, &user, &groups, Presence::NONE).is_nowhere(),
                user.as_str() == "eve" && groups.is_empty()
            );
            let places = [("db1", &test), ("db2", &test), ("db1", &BTreeMap::new())];
            for (presence, (target, labels)) in
                [Presence::NONE, Presence::FULL].into_iter().flat_map(|presence| places.map(|place| (presence, place)))
            {
                let reach = Reach::of(&set, &user, &groups, presence);
                let target = TargetName::parse(target).unwrap();
                let listed = reach.at(&target, labels, &|_, _, _| false);
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
                            presence,
                            circumstances: Circumstances::BEST,
                        };
                        let none = Opened::default();
                        let Opened { standing, on_grant, on_key, on_both, .. } = listed.get(account).unwrap_or(&none);
                        let with_key = on_key.contains(&class) || on_both.contains(&class);
                        let said = (standing.contains(&class), on_grant.contains(&class), with_key);
                        let with_key = Question { presence: Presence::FULL, ..question };
                        let decided = match (decide(&set, &question), decide(&set, &with_key)) {
                            (Decision::Allow(_), _) => (true, false, false),
                            (Decision::NeedsGrant(_), _) => (false, true, false),
                            (Decision::Deny(_), Decision::Deny(_)) => (false, false, false),
                            (Decision::Deny(_), _) => (false, false, true),
                        };
                        assert_eq!(said, decided, "{user} {account}@{target} {class}");
                        seen += usize::from(said.0 || said.1 || said.2);
                        keyed += usize::from(said.2);
                    }
                }
            }
        }
        assert!(seen > 10 && keyed > 0, "{seen} {keyed}");
    }
}
