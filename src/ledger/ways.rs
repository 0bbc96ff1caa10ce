//! Who may go where, by which rule: for all users, not for one. What `permit` would say, rule by rule.
//!
//! What this module does **not** guard against: an answer is no permit. It was true when it was looked up, and a large one
//! is looked up in pieces, between which others may change something.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ledger, State};
use crate::grant::GrantState;
use crate::model::{
    AccountName, ChannelClass, Destination, GrantId, GroupName, LockId, Presence, RuleId, TargetName, Timestamp,
    UserName,
};
use crate::policy::{Givers, GrantNeed, Rule};

/// So many users are looked at before others may change something; see `offers`.
const USERS_AT_ONCE: usize = 256;

/// Which ways are meant; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WayQuery {
    /// Only of users of this group.
    pub group: Option<GroupName>,
    /// Only to this target.
    pub target: Option<TargetName>,
    /// Only to targets with these labels.
    pub labels: BTreeMap<String, String>,
    /// Only to this account.
    pub account: Option<AccountName>,
    /// Only those that need no grant.
    pub standing: bool,
    /// Those of suspended users, too.
    pub suspended: bool,
}

/// A way of one user to one account on one target, by one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The user.
    pub user: UserName,
    /// Whether the user may do nothing at present.
    pub suspended: bool,
    /// Where to.
    pub destination: Destination,
    /// The lock that keeps the user from there now, whatever the rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockId>,
    /// The rule.
    pub rule: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// What the rule opens.
    pub channels: BTreeSet<ChannelClass>,
    /// Whether it does so without a grant.
    pub standing: bool,
    /// What the user must do at the login, with a security key.
    pub key: Presence,
    /// The grants by which it does so now, or will; the one that ends first is first.
    pub grants: Vec<WayGrant>,
    /// Whether a grant that an operator gives would open it.
    pub operators: bool,
    /// How the user may ask for a grant; `None` where only an operator gives one, or none is needed.
    pub request: Option<WayRequest>,
    /// Whether the user may take a grant where nobody can approve one.
    #[serde(default)]
    pub break_glass: bool,
    /// Whether the rule has conditions: hours, networks, a second factor, a text to agree to, or another who watches.
    #[serde(default)]
    pub conditioned: bool,
    /// Whether the target has a pinned host key; without one nobody gets there.
    pub ready: bool,
    /// Whether the account is among those that are known there, or none is known.
    pub known: bool,
}

/// A grant that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayGrant {
    /// Its id.
    pub grant: GrantId,
    /// `active` or `scheduled`.
    pub state: GrantState,
    /// The first moment at which it holds.
    pub from: Timestamp,
    /// The first moment at which it no longer holds.
    pub until: Timestamp,
    /// What it opens of the rule's channels.
    pub channels: BTreeSet<ChannelClass>,
    /// Whether as many sessions have begun on it as may.
    pub spent: bool,
    /// By what its user must have proven who they are; `None`: by anything.
    pub bound_key: Option<String>,
    /// The lock under which nothing goes on by it: one on the place, unless that leaves broken glasses alone, or on itself.
    pub locked: Option<LockId>,
}

/// How a user may ask for a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayRequest {
    /// Such as `2 of dba-leads`.
    pub approvers: String,
    /// The longest grant.
    #[serde(rename = "max_seconds", with = "seconds")]
    pub max: Duration,
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(span.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

/// Ways, by rule, target and user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// As many as were asked for.
    pub list: Vec<Way>,
    /// How many there are.
    pub total: u64,
}

/// Whom a rule is for, and which targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// By name, with the accounts that the rule opens to them.
    pub users: Vec<Holder>,
    /// By name.
    pub targets: Vec<TargetName>,
}

/// A user whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The user.
    pub user: UserName,
    /// Whether the user may do nothing at present.
    pub suspended: bool,
    /// The accounts.
    pub accounts: BTreeSet<AccountName>,
}

impl Ledger {
    /// Who may go where, at most `most` of them, and how many there are. Time is linear in rules by users, and in what
    /// is given: not for a thread that carries sessions.
    pub fn ways(&self, query: &WayQuery, most: usize, now: Timestamp) -> Ways {
        let policy = self.policy();
        let mut ways = Ways::default();
        for rule in policy.rules().filter(|rule| !query.standing || rule.grant.need == GrantNeed::NotRequired) {
            let Covered { users, targets } = self.covered(rule, query, now);
            let accounts: usize = users.iter().map(|holder| holder.accounts.len()).sum();
            let count = u64::try_from(accounts.saturating_mul(targets.len())).unwrap_or(u64::MAX);
            ways.total = ways.total.saturating_add(count);
            for (target, users) in
                targets.iter().flat_map(|target| users.chunks(USERS_AT_ONCE).map(move |users| (target, users)))
            {
                if ways.list.len() >= most {
                    break;
                }
                let state = self.state();
                ways.list.extend(users.iter().flat_map(|holder| state.ways_of(rule, holder, target, now)));
            }
        }
        ways.list.truncate(most);
        ways
    }

    /// Whom this rule is for, and which targets, of those that are meant.
    pub fn covered(&self, rule: &Rule, query: &WayQuery, now: Timestamp) -> Covered {
        let state = self.state();
        let targets = state.targets.values().map(|(_, target)| target).filter(|target| {
            query.target.as_ref().is_none_or(|name| *name == target.name)
                && query.labels.iter().all(|(key, value)| target.labels.get(key) == Some(value))
                && rule.is_at(&target.name, &target.labels)
        });
        let targets: Vec<TargetName> = targets.map(|target| target.name.clone()).collect();
        if targets.is_empty() && query.target.is_some() {
            return Covered::default();
        }
        let users = state.users.values().map(|(_, user)| user).filter(|user| {
            (query.suspended || !user.is_suspended(now))
                && query.group.as_ref().is_none_or(|group| user.groups.contains(group))
                && rule.is_for(&user.name, &user.groups)
        });
        let holder = |user: &super::User| {
            let mut accounts = rule.accounts_of(&user.name);
            accounts.retain(|account| query.account.as_ref().is_none_or(|wanted| wanted == account));
            let suspended = user.is_suspended(now);
            (!accounts.is_empty()).then(|| Holder { user: user.name.clone(), suspended, accounts })
        };
        Covered { users: users.filter_map(holder).collect(), targets }
    }
}

impl State {
    fn ways_of(&self, rule: &Rule, holder: &Holder, target: &TargetName, now: Timestamp) -> Vec<Way> {
        // They may be gone since they were found.
        let (Some((_, user)), Some((_, target))) = (self.users.get(&holder.user), self.targets.get(target)) else {
            return Vec::new();
        };
        let standing = rule.grant.need == GrantNeed::NotRequired;
        let policy = self.policy();
        let way = |account: &AccountName| {
            let destination = Destination { account: account.clone(), target: target.name.clone() };
            let open = |class: &ChannelClass| {
                let asked = (*class).into();
                policy.forbidden_by(&super::question(user, target, &destination, Some(&asked))).is_none()
            };
            let channels: BTreeSet<ChannelClass> = rule.channels.iter().copied().filter(open).collect();
            if channels.is_empty() {
                return None;
            }
            let grants = if standing { Vec::new() } else { self.way_grants(rule, (user, target), &destination, now) };
            let request = rule.grant.request.as_ref().filter(|_| !standing);
            let locked = self.lock_on(user, target, account, None, now).map(|lock| lock.id.clone());
            Some(Way {
                user: user.name.clone(),
                suspended: user.is_suspended(now),
                destination,
                locked,
                rule: rule.id.clone(),
                file: rule.file.clone(),
                line: rule.line,
                channels,
                standing,
                key: rule.key,
                grants,
                operators: !standing && rule.grant.givers == Givers::Everyone,
                break_glass: rule.glass.is_some(),
                conditioned: rule.is_conditioned(),
                request: request
                    .map(|request| WayRequest { approvers: request.approvers.to_string(), max: request.max }),
                ready: target.is_ready(),
                known: target.accounts.is_empty() || target.accounts.contains(account),
            })
        };
        holder.accounts.iter().filter_map(way).collect()
    }

    fn way_grants(
        &self,
        rule: &Rule,
        (user, target): (&super::User, &super::Target),
        there: &Destination,
        now: Timestamp,
    ) -> Vec<WayGrant> {
        let unended = self.unended(&user.name, there, now).filter(|grant| grant.is_for(&rule.id, rule.grant.givers));
        let shown = |grant: &crate::grant::Grant| {
            let state = grant.state(now);
            let live = match state {
                GrantState::Active | GrantState::Scheduled => true,
                GrantState::Ended | GrantState::Revoked => false,
            };
            let channels: BTreeSet<_> =
                rule.channels.iter().copied().filter(|class| grant.opens(Some(*class))).collect();
            (live && !channels.is_empty()).then(|| WayGrant {
                grant: grant.id.clone(),
                state,
                from: grant.from,
                until: grant.until,
                channels,
                spent: grant.is_spent(),
                bound_key: grant.bound_key.clone(),
                locked: self.lock_on(user, target, &there.account, Some(&grant.id), now).map(|lock| lock.id.clone()),
            })
        };
        unended.filter_map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::AuditEvent;
    use crate::db::Db;
    use crate::grant::{Asker, Denial, Grant, Lock, LockEffect, Revoked, Scope};
    use crate::ledger::{Target, User};
    use crate::policy::{PolicyFile, PolicySet};

    const USERS: [&str; 4] = ["alice", "bob", "carol", "eve"];
    const ACCOUNTS: [&str; 4] = ["root", "postgres", "alice", "bob"];
    const TARGETS: [&str; 3] = ["db1", "db2", "web1"];
    const CLASSES: [&str; 4] = ["shell", "exec", "sftp-read", "local-forward"];

    /// Numbers that look random and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 40).unwrap() % most
        }

        fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
            of[self.below(of.len())]
        }

        fn some(&mut self, of: &[&str]) -> String {
            let picked: BTreeSet<&str> = (0..=self.below(2)).map(|_| self.one(of)).collect();
            picked.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        }
    }

    fn rules(dice: &mut Dice) -> String {
        let rule = |number: usize, dice: &mut Dice| {
            let who = match dice.below(4) {
                0 => "users = [\"*\"]".to_owned(),
                1 => format!("users = [{}]", dice.some(&USERS)),
                2 => "groups = [\"dba\"]".to_owned(),
                _ => format!("users = [{}], groups = [\"web\"]", dice.some(&USERS)),
            };
            let place = match dice.below(3) {
                0 => "targets = [\"*\"]".to_owned(),
                1 => format!("targets = [{}]", dice.some(&TARGETS)),
                _ => "labels = { env = \"prod\" }".to_owned(),
            };
            let accounts = dice.some(&["root", "postgres", "$user"]);
            let grant = dice.one(&[
                "required = false",
                "required = true",
                "approvers = { group = \"leads\" }",
                "approvers = { group = \"leads\" }, operators = false",
            ]);
            let key = dice.one(&["", "", "key = { touch = true }\n", "key = { pin = true }\n"]);
            format!(
                "[[rule]]\nid = \"r{number}\"\nwho = {{ {who} }}\nwhere = {{ {place} }}\naccounts = [{accounts}]\n\
                 channels = [{}]\ngrant = {{ {grant} }}\n{key}",
                dice.some(&CLASSES[..3])
            )
        };
        let rules: Vec<String> = (0..2 + dice.below(5)).map(|number| rule(number, dice)).collect();
        format!("schema = 1\n{}", rules.concat())
    }

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn ledger(dice: &mut Dice) -> Ledger {
        let file = PolicyFile { path: "a.toml".into(), text: rules(dice) };
        let text = file.text.clone();
        let policy = PolicySet::parse(&[file]).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        let ledger = Ledger::open(&Db::in_memory().unwrap(), policy).unwrap();
        for name in USERS {
            let until = (dice.below(4) == 0).then(|| time(i64::try_from(dice.below(120)).unwrap()));
            let groups = ["dba", "web"].into_iter().filter(|_| dice.below(2) == 0);
            ledger
                .add_user(User {
                    name: UserName::parse(name).unwrap(),
                    groups: groups.map(|group| GroupName::parse(group).unwrap()).collect(),
                    keys: Vec::new(),
                    suspended_at: (dice.below(5) == 0).then(|| time(1)),
                    from: BTreeSet::new(),
                    password_since: None,
                    person: None,
                    until,
                })
                .unwrap();
        }
        for name in TARGETS {
            let env = dice.one(&["prod", "test"]).to_owned();
            ledger
                .add_target(Target {
                    name: TargetName::parse(name).unwrap(),
                    address: "10.0.0.5:22".to_owned(),
                    labels: BTreeMap::from([("env".to_owned(), env)]),
                    host_keys: Vec::new(),
                    accounts: BTreeSet::new(),
                    insecure_algorithms: false,
                    desktop: None,
                })
                .unwrap();
        }
        for number in 0..25 {
            let (from, span) = (dice.below(120), 1 + dice.below(100));
            let grant = Grant {
                id: GrantId::parse(&format!("g-{number}")).unwrap(),
                user: UserName::parse(dice.one(&USERS)).unwrap(),
                destination: Destination::parse(&format!("{}@{}", dice.one(&ACCOUNTS), dice.one(&TARGETS))).unwrap(),
                from: time(i64::try_from(from).unwrap()),
                until: time(i64::try_from(from + span).unwrap()),
                reason: String::from("CHG-1"),
                created_by: String::from("uid 0"),
                created: time(0),
                revoked: None,
                request: None,
                rule: (dice.below(2) == 0).then(|| RuleId::parse(&format!("r{}", dice.below(6))).unwrap()),
                channels: (dice.below(2) == 0).then(|| BTreeSet::from([ChannelClass::Shell])),
                sessions: None,
                begun: 0,
                bound_key: (dice.below(4) == 0).then(|| "k".to_owned()),
            };
            let id = grant.id.clone();
            ledger.add_grant(grant).unwrap();
            if dice.below(5) == 0 {
                // One that is over by now cannot be revoked, and need not be.
                let _ = ledger.revoke_grant(&id, Revoked { by: "uid 0".into(), at: time(60), reason: None });
            }
        }
        for number in 0..dice.below(3) {
            let scope = [
                "user:alice",
                "group:web",
                "target:db2",
                "account:root@db1",
                "label:env=test",
                "everything",
                "grant:g-1",
            ];
            let scope = Scope::parse(dice.one(&scope)).unwrap();
            let expires = (dice.below(2) == 0).then(|| time(i64::try_from(dice.below(120)).unwrap()));
            let effect = if dice.below(2) == 0 { LockEffect::End } else { LockEffect::Freeze };
            let lock = Lock {
                id: LockId::parse(&format!("k-{number}")).unwrap(),
                scope,
                effect,
                reason: String::from("an attack"),
                by: String::from("uid 0"),
                created: time(0),
                expires,
                lifters: 1,
                keeps_glass: false,
                said: Vec::new(),
                pending: None,
            };
            ledger.add_lock(lock, &AuditEvent::NodeStop).unwrap();
        }
        ledger
    }

    /// What the ways of a user to a destination open at such a login.
    fn opened(ways: &[Way], presence: Presence, key: &str) -> BTreeSet<ChannelClass> {
        let ways = ways.iter().filter(|way| !way.suspended && presence.covers(way.key));
        let holds = |grant: &&WayGrant| {
            grant.locked.is_none()
                && grant.state == GrantState::Active
                && grant.bound_key.as_ref().is_none_or(|bound| bound == key)
        };
        ways.flat_map(|way| {
            let standing = way.channels.iter().filter(|_| way.standing && way.locked.is_none());
            standing.chain(way.grants.iter().filter(holds).flat_map(|grant| &grant.channels)).copied()
        })
        .collect()
    }

    // Whatever an answer says is what a permit for the same gives: by everybody, everywhere, for everything.
    #[test]
    fn an_answer_says_what_a_permit_says() {
        let now = time(60);
        let (mut yes, mut by_grant, mut locked) = (0, 0, 0);
        for seed in 0..300 {
            let mut dice = Dice(seed);
            let ledger = ledger(&mut dice);
            let all = ledger.ways(&WayQuery { suspended: true, ..WayQuery::default() }, usize::MAX, now);
            assert_eq!(u64::try_from(all.list.len()).unwrap(), all.total);
            for (user, target, account) in USERS.iter().flat_map(|user| {
                TARGETS.iter().flat_map(move |target| ACCOUNTS.iter().map(move |account| (user, target, account)))
            }) {
                let user = UserName::parse(user).unwrap();
                let there = Destination::parse(&format!("{account}@{target}")).unwrap();
                let own = all.list.iter().filter(|way| way.user == user && way.destination == there);
                let own: Vec<Way> = own.cloned().collect();
                for (presence, key) in [(Presence::NONE, "k"), (Presence::FULL, "k"), (Presence::FULL, "other")] {
                    let said = opened(&own, presence, key);
                    for class in ChannelClass::ALL {
                        let permit = ledger.permit(Asker { presence, ..Asker::plain(&user, key) }, &there, class, now);
                        assert_eq!(
                            said.contains(&class),
                            permit.is_ok(),
                            "seed {seed}: {user} {there} {class}: {own:?}"
                        );
                        yes += usize::from(permit.is_ok());
                        locked += usize::from(matches!(permit, Err(Denial::Locked { .. })));
                        by_grant += usize::from(permit.is_ok_and(|permit| permit.grant().is_some()));
                    }
                }
            }
        }
        assert!(yes > 1000 && by_grant > 100 && locked > 1000, "{yes} {by_grant} {locked}");
    }

    #[test]
    fn a_question_narrows_the_answer_and_a_cut_one_says_how_many_there_are() {
        let now = time(60);
        for seed in 0..30 {
            let ledger = ledger(&mut Dice(seed));
            let all = ledger.ways(&WayQuery { suspended: true, ..WayQuery::default() }, usize::MAX, now);
            type Keeps = fn(&Ledger, &Way) -> bool;
            let queries: [(WayQuery, Keeps); 5] = [
                (WayQuery { standing: true, suspended: true, ..WayQuery::default() }, |_, way| way.standing),
                (WayQuery::default(), |_, way| !way.suspended),
                (
                    WayQuery { target: TargetName::parse("db1").ok(), suspended: true, ..WayQuery::default() },
                    |_, way| way.destination.target.as_str() == "db1",
                ),
                (
                    WayQuery { group: GroupName::parse("dba").ok(), suspended: true, ..WayQuery::default() },
                    |ledger, way| {
                        ledger
                            .user(&way.user)
                            .is_some_and(|user| user.groups.contains(&GroupName::parse("dba").unwrap()))
                    },
                ),
                (
                    WayQuery {
                        labels: BTreeMap::from([("env".to_owned(), "prod".to_owned())]),
                        account: AccountName::parse("root").ok(),
                        suspended: true,
                        ..WayQuery::default()
                    },
                    |ledger, way| {
                        let target = ledger.target(&way.destination.target).unwrap();
                        way.destination.account.as_str() == "root" && target.labels["env"] == "prod"
                    },
                ),
            ];
            for (query, keeps) in queries {
                let wanted: Vec<Way> = all.list.iter().filter(|way| keeps(&ledger, way)).cloned().collect();
                assert_eq!(ledger.ways(&query, usize::MAX, now).list, wanted, "seed {seed}: {query:?}");
                let cut = ledger.ways(&query, 2, now);
                assert_eq!((cut.list.len(), cut.total), (wanted.len().min(2), u64::try_from(wanted.len()).unwrap()));
            }
        }
    }
}
