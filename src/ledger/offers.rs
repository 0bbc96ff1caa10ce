//! Where one user may go, with a grant or without: what a menu shows.
//!
//! Only destinations that rules for this user name are in it, so nobody learns from it what else exists.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Bound;

use super::{Ledger, State, Target};
use crate::grant::{Access, Asker, Grant, GrantState, access};
use crate::model::{AccountName, ChannelClass, Destination, TargetName, Timestamp, UserName, join};
use crate::policy::{Givers, Opened, Reach, Rule};

/// So many targets are looked at before others may change something. A change waits for that, and whoever asks for a
/// permit waits for the change.
const TARGETS_AT_ONCE: usize = 256;

/// A destination, and what the user has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Where to.
    pub destination: Destination,
    /// By what right: to a shell, or if no rule opens one there, to anything.
    pub access: Access,
    /// Whether the target has a pinned host key; without one nobody gets there.
    pub ready: bool,
    /// What may be opened now.
    pub open: BTreeSet<ChannelClass>,
    /// What may be opened with a grant that the user does not hold now.
    pub with_grant: BTreeSet<ChannelClass>,
    /// Whether the user may ask for a grant there.
    pub may_ask: bool,
    /// Whether a grant that an operator gives opens anything there.
    pub operators_may: bool,
    /// What may be opened by a login with a security key, its touch or its PIN, and not by this one.
    pub with_key: BTreeSet<ChannelClass>,
}

/// Where a user may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// By target, then by account.
    pub list: Vec<Offer>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

impl Offer {
    /// What the user has there, in words.
    pub fn state(&self, now: Timestamp) -> Cow<'static, str> {
        match self.access {
            _ if !self.ready => "not set up".into(),
            Access::Open => "open".into(),
            Access::Granted { until } => format!("granted until {}", until.clock_time_from(now)).into(),
            Access::Begins { from } => format!("granted from {}", from.clock_time_from(now)).into(),
            Access::NeedsGrant if self.may_ask => "on request".into(),
            Access::NeedsGrant => "needs a grant".into(),
            Access::NeedsKey => "needs a security key".into(),
        }
    }

    /// Whether a shell may be opened now.
    pub fn has_shell(&self) -> bool {
        self.open.contains(&ChannelClass::Shell)
    }

    /// What may be opened, in words: now, or else with a grant.
    pub fn channels(&self) -> String {
        let parts = [(&self.open, ""), (&self.with_grant, "with a grant "), (&self.with_key, "with a security key ")];
        let parts: Vec<_> = parts.into_iter().filter(|(classes, _)| !classes.is_empty()).collect();
        match parts.as_slice() {
            // The state says it already.
            [(classes, _)] => join(*classes),
            several => {
                several.iter().map(|(classes, by)| format!("{by}{}", join(*classes))).collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// `held` is what grants give of a channel, or of any.
    fn new(
        destination: Destination,
        opened: Opened,
        held: impl Fn(Option<ChannelClass>) -> Access,
        ready: bool,
    ) -> Self {
        let Opened { standing, granted, on_grant, on_key: with_key, on_both, may_ask, rules } = opened;
        let operators_may = rules.iter().any(|(_, givers)| *givers == Givers::Everyone);
        let open: BTreeSet<ChannelClass> = standing.union(&granted).copied().collect();
        // Who would not be let in anyway is not told what is missing at the login.
        let with_grant: BTreeSet<ChannelClass> = on_grant.union(&on_both).copied().collect();
        let by = |class: Option<ChannelClass>| {
            let is_in =
                |classes: &BTreeSet<ChannelClass>| class.map_or(!classes.is_empty(), |class| classes.contains(&class));
            if is_in(&standing) {
                Some(Access::Open)
            } else if is_in(&open) || is_in(&with_grant) {
                Some(held(class))
            } else {
                is_in(&with_key).then_some(Access::NeedsKey)
            }
        };
        let access = by(Some(ChannelClass::Shell)).or_else(|| by(None)).unwrap_or(Access::NeedsGrant);
        Self { destination, access, ready, open, with_grant, may_ask, operators_may, with_key }
    }
}

impl Ledger {
    /// Where this user may go at `now`, with a grant or without; nowhere if they are suspended or unknown. At most
    /// `most` destinations.
    ///
    /// Where a target's accounts are known, others are left out, though a rule may name them. Time is linear in the
    /// targets: for thousands of them, not for a thread that carries sessions.
    pub fn offers(&self, asker: Asker<'_>, now: Timestamp, most: usize) -> Offers {
        let Asker { user, presence, key, .. } = asker;
        let mut offers = Offers::default();
        let (policy, stored) = {
            let state = self.state();
            let stored = state.users.get(user).filter(|(_, user)| !user.is_suspended(now));
            let Some((_, stored)) = stored else { return offers };
            (state.policy(), stored.clone())
        };
        let reach = Reach::of(&policy, user, &stored.groups, presence);
        let mut next: Bound<TargetName> = Bound::Unbounded;
        while !reach.is_nowhere() {
            let state = self.state();
            let mut last = None;
            for (name, (_, target)) in state.targets.range((next, Bound::Unbounded)).take(TARGETS_AT_ONCE) {
                last = Some(name.clone());
                offers.list.extend(state.offers_at(&reach, user, key, target, now));
            }
            if offers.list.len() > most {
                offers.more = true;
                offers.list.truncate(most);
                break;
            }
            let Some(last) = last else { break };
            next = Bound::Excluded(last);
        }
        offers
    }

    /// What this user would be offered there; `None` if no list shows them the destination.
    pub fn offer(&self, asker: Asker<'_>, destination: &Destination, now: Timestamp) -> Option<Offer> {
        let Asker { user, presence, key, .. } = asker;
        let state = self.state();
        let (_, stored) = state.users.get(user).filter(|(_, user)| !user.is_suspended(now))?;
        let (_, target) = state.targets.get(&destination.target)?;
        let policy = state.policy();
        let reach = Reach::of(&policy, user, &stored.groups, presence);
        state.offers_at(&reach, user, key, target, now).find(|offer| offer.destination == *destination)
    }
}

impl State {
    fn offers_at(
        &self,
        reach: &Reach<'_>,
        user: &UserName,
        key: &str,
        target: &Target,
        now: Timestamp,
    ) -> impl Iterator<Item = Offer> {
        let grants = |account: &AccountName| {
            let place = (user.clone(), Destination { account: account.clone(), target: target.name.clone() });
            let ids = self.by_place.get(&place).into_iter().flatten();
            ids.filter_map(|id| self.grants.get(id)).map(|(_, grant)| grant).filter(|grant| grant.is_for_key(key))
        };
        let held = |account: &AccountName, rule: &Rule, class: ChannelClass| {
            let active = |grant: &&Grant| grant.state(now) == GrantState::Active;
            let is_for = |grant: &Grant| grant.is_for(&rule.id, rule.grant.givers);
            grants(account).filter(active).any(|grant| is_for(grant) && grant.opens(Some(class)))
        };
        let known = |account: &_| target.accounts.is_empty() || target.accounts.contains(account);
        let accounts = reach.at(&target.name, &target.labels, &held).into_iter();
        let offers: Vec<Offer> = accounts
            .filter(|(account, _)| known(account))
            .map(|(account, opened)| {
                let destination = Destination { account: account.clone(), target: target.name.clone() };
                let rules = opened.rules.clone();
                let by_grants = |class: Option<ChannelClass>| {
                    let is_for = |grant: &Grant| rules.iter().any(|(rule, givers)| grant.is_for(rule, *givers));
                    let here = |grant: &&Grant| is_for(grant) && grant.opens(class);
                    access(grants(&account).filter(here), now)
                };
                Offer::new(destination, opened, by_grants, target.is_ready())
            })
            .collect();
        offers.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::db::Db;
    use crate::ledger::User;
    use crate::model::{GrantId, Presence};
    use crate::policy::{PolicyFile, PolicySet};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a";
    const RULES: &str = r#"
schema = 1
[[rule]]
id = "read"
who = { users = ["alice"] }
where = { labels = { env = "test" } }
accounts = ["root"]
channels = ["sftp-read"]
grant = { required = false }
[[rule]]
id = "work"
who = { users = ["alice"] }
where = { labels = { env = "test" } }
accounts = ["root", "postgres"]
channels = ["shell", "exec"]
[[rule]]
id = "bobs"
who = { users = ["bob"] }
where = { targets = ["*"] }
accounts = ["root"]
channels = ["shell"]
grant = { required = false }
"#;

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    fn target(name: &str, env: &str) -> Target {
        Target {
            name: TargetName::parse(name).unwrap(),
            address: "10.0.0.5:22".to_owned(),
            labels: BTreeMap::from([(String::from("env"), env.to_owned())]),
            host_keys: vec![KEY.to_owned()],
            accounts: BTreeSet::new(),
            insecure_algorithms: false,
            desktop: None,
        }
    }

    fn ledger() -> Ledger {
        ledger_by(PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text: RULES.into() }]).unwrap())
    }

    fn ledger_by(policy: PolicySet) -> Ledger {
        let ledger = Ledger::open(&Db::in_memory().unwrap(), policy).unwrap();
        for name in ["alice", "bob", "eve"] {
            let (groups, keys) = (BTreeSet::new(), Vec::new());
            ledger
                .add_user(User {
                    name: user(name),
                    groups,
                    keys,
                    suspended_at: None,
                    from: BTreeSet::new(),
                    password_since: None,
                    person: None,
                    until: None,
                })
                .unwrap();
        }
        ledger
    }

    fn grant(id: &str, destination: &str, from: i64) -> Grant {
        Grant {
            id: GrantId::parse(id).unwrap(),
            user: user("alice"),
            destination: Destination::parse(destination).unwrap(),
            from: time(from),
            until: time(120_000),
            reason: String::from("CHG-1"),
            created_by: String::from("uid 0"),
            created: time(0),
            revoked: None,
            request: None,
            rule: None,
            channels: None,
            sessions: None,
            begun: 0,
            bound_key: None,
        }
    }

    fn asker(user: &UserName) -> Asker<'_> {
        Asker::plain(user, "k")
    }

    fn told(offers: &Offers) -> Vec<(String, String, String)> {
        let one = |offer: &Offer| (offer.destination.to_string(), offer.state(time(5)).into_owned(), offer.channels());
        offers.list.iter().map(one).collect()
    }

    fn row(destination: &str, state: &str, channels: &str) -> (String, String, String) {
        (destination.to_owned(), state.to_owned(), channels.to_owned())
    }

    #[test]
    fn a_user_is_offered_what_rules_for_them_name_and_nothing_else() {
        let ledger = ledger();
        ledger.add_target(target("db1", "test")).unwrap();
        ledger.add_target(target("secret", "prod")).unwrap();
        let shown = |name| told(&ledger.offers(asker(&user(name)), time(5), 100));
        let mixed = "sftp-read; with a grant shell, exec";
        assert_eq!(
            shown("alice"),
            [row("postgres@db1", "needs a grant", "shell, exec"), row("root@db1", "needs a grant", mixed)]
        );
        assert_eq!(shown("bob"), [row("root@db1", "open", "shell"), row("root@secret", "open", "shell")]);
        assert_eq!((shown("eve"), shown("nobody")), (vec![], vec![]));
        // What a list does not show does not exist, whoever asks for it by name.
        for hidden in ["root@secret", "oracle@db1", "root@none"] {
            assert_eq!(
                ledger.offer(asker(&user("alice")), &Destination::parse(hidden).unwrap(), time(5)),
                None,
                "{hidden}"
            );
        }
        let mut suspended = ledger.user(&user("alice")).unwrap();
        suspended.suspended_at = Some(time(1));
        ledger.set_user(suspended).unwrap();
        assert_eq!(shown("alice"), []);
        assert_eq!(ledger.offer(asker(&user("alice")), &Destination::parse("root@db1").unwrap(), time(5)), None);
    }

    #[test]
    fn an_offer_shows_the_grant_and_what_is_missing() {
        let ledger = ledger();
        ledger.add_target(target("db1", "test")).unwrap();
        let bare = Target { host_keys: Vec::new(), ..target("db2", "test") };
        ledger.add_target(Target { accounts: BTreeSet::from([AccountName::parse("root").unwrap()]), ..bare }).unwrap();
        for (id, destination, from) in [("g-1", "root@db1", 0), ("g-2", "postgres@db1", 60_000)] {
            ledger.add_grant(grant(id, destination, from)).unwrap();
        }
        let (from, until) = (time(60_000).clock_time(), time(120_000).clock_time());
        assert_eq!(
            told(&ledger.offers(asker(&user("alice")), time(5), 100)),
            [
                row("postgres@db1", &format!("granted from {from}"), "shell, exec"),
                row("root@db1", &format!("granted until {until}"), "shell, exec, sftp-read"),
                // Its other account is not there, and nobody gets to it without a pinned key.
                row("root@db2", "not set up", "sftp-read; with a grant shell, exec"),
            ]
        );
        let tomorrow = time(5).plus(Duration::from_secs(2 * 86_400));
        let [_, root, _] = ledger.offers(asker(&user("alice")), time(5), 100).list.try_into().unwrap();
        assert_eq!(root.state(tomorrow), format!("granted until 1970-01-01 {until}"));
    }

    #[test]
    fn what_only_a_security_key_opens_is_shown_as_that_to_whoever_came_without() {
        let text = RULES.replace("id = \"work\"", "id = \"work\"\nkey = { touch = true }");
        let policy = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text }]).unwrap();
        let ledger = ledger_by(policy);
        ledger.add_target(target("db1", "test")).unwrap();
        let alice = user("alice");
        let shown = |presence| {
            let offers = ledger.offers(Asker { presence, ..asker(&alice) }, time(5), 100);
            let [_, root]: [Offer; 2] = offers.list.try_into().unwrap();
            (root.state(time(5)).into_owned(), root.channels())
        };
        let pair = |state: &str, channels: &str| (state.to_owned(), channels.to_owned());
        for presence in [Presence::NONE, Presence::FULL] {
            assert_eq!(shown(presence), pair("needs a grant", "sftp-read; with a grant shell, exec"));
        }
        ledger.add_grant(grant("g-1", "root@db1", 0)).unwrap();
        assert_eq!(shown(Presence::NONE), pair("needs a security key", "sftp-read; with a security key shell, exec"));
        let until = time(120_000).clock_time();
        assert_eq!(shown(Presence::FULL), pair(&format!("granted until {until}"), "shell, exec, sftp-read"));
    }

    #[test]
    fn thousands_of_targets_are_listed_once_each_and_no_more_than_asked_for() {
        let ledger = ledger();
        for number in 0..1000 {
            ledger.add_target(target(&format!("db{number}"), "test")).unwrap();
        }
        let offers = ledger.offers(asker(&user("bob")), time(5), 5000);
        let names: BTreeSet<_> = offers.list.iter().map(|offer| offer.destination.clone()).collect();
        assert_eq!((offers.list.len(), names.len(), offers.more), (1000, 1000, false));
        assert!(offers.list.is_sorted_by_key(|offer| offer.destination.target.clone()));
        let some = ledger.offers(asker(&user("alice")), time(5), 700);
        assert_eq!((some.list.len(), some.more), (700, true));
    }
}
