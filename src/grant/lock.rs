//! Locks: what nobody may reach for now, whatever rules and grants say. Pure.
//!
//! What this module does **not** guard against: a lock is between a user and a destination. What a session has started
//! on a target and left there runs on, and what was on its way to the target when a session was frozen gets there. Two
//! operators are two uids, or users who are two humans as far as the bastion was told (`user set --person`): one human
//! with a uid and a name counts as two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    AccountName, Destination, GrantId, GroupName, InvalidName, LockId, TargetName, Timestamp, UserName,
};

/// Who has said that a lock shall be lifted has said so for so long.
const SAID_FOR: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a label's key, and of its value.
const LABEL_BYTES_MAX: usize = 128;

/// What a lock is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everybody, everywhere.
    Everything,
    /// A user, by whatever name the human is known.
    User(UserName),
    /// The users of a group.
    Group(GroupName),
    /// A target.
    Target(TargetName),
    /// An account of this name, on every target.
    Account(AccountName),
    /// One account on one target.
    Destination(Destination),
    /// A grant: sessions on it, and on no other.
    Grant(GrantId),
    /// The targets that have this label with this value.
    Label {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
}

impl Scope {
    /// Reads what `Display` writes: `everything`, `user:alice`, `group:dba`, `target:db1`, `account:root`,
    /// `account:root@db1`, `grant:g-7k2mq4x9`, `label:env=prod`.
    ///
    /// # Errors
    /// `InvalidName` says what is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let bad = InvalidName {
            kind: "scope of a lock",
            why: "write everything, user:, group:, target:, account:, grant: or label:",
        };
        if text == "everything" {
            return Ok(Self::Everything);
        }
        let (kind, name) = text.split_once(':').ok_or_else(|| bad.clone())?;
        match kind {
            "user" => UserName::parse(name).map(Self::User),
            "group" => GroupName::parse(name).map(Self::Group),
            "target" => TargetName::parse(name).map(Self::Target),
            "grant" => GrantId::parse(name).map(Self::Grant),
            "account" if name.contains('@') => Destination::parse(name).map(Self::Destination),
            "account" => AccountName::parse(name).map(Self::Account),
            "label" => {
                let why = "write KEY=VALUE, each of at most 128 bytes, without control characters";
                let fits = |text: &str| {
                    !text.is_empty() && text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control)
                };
                let parts = name.split_once('=').filter(|(key, value)| fits(key) && fits(value));
                let (key, value) = parts.ok_or(InvalidName { kind: "label", why })?;
                Ok(Self::Label { key: key.to_owned(), value: value.to_owned() })
            }
            _ => Err(bad),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::User(user) => write!(f, "user:{user}"),
            Self::Group(group) => write!(f, "group:{group}"),
            Self::Target(target) => write!(f, "target:{target}"),
            Self::Grant(grant) => write!(f, "grant:{grant}"),
            Self::Account(account) => write!(f, "account:{account}"),
            Self::Destination(destination) => write!(f, "account:{destination}"),
            Self::Label { key, value } => write!(f, "label:{key}={value}"),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// What becomes of live sessions under a lock; new ones are refused. The stricter is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockEffect {
    /// They end.
    End,
    /// They stand still until the lock is lifted, or end by something else.
    Freeze,
}

impl fmt::Display for LockEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::End => "end",
            Self::Freeze => "freeze",
        })
    }
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// What it is on.
    pub scope: Scope,
    /// What becomes of live sessions.
    pub effect: LockEffect,
    /// Why, for operators and the log.
    pub reason: String,
    /// Who set it.
    pub by: String,
    /// When.
    pub created: Timestamp,
    /// The first moment at which it holds no more; `None`: until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// How many people it takes to lift it.
    pub lifters: u8,
    /// Whether it leaves those alone who have broken a glass: who must look after an attack.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_glass: bool,
    /// Who has said that it shall be lifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Lifter>,
    /// Who has said so, where that is not yet known to be on record: it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Lifter>,
}

/// Somebody who wants a lock lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifter {
    /// Who, as it stands on record.
    pub by: String,
    /// The human, as far as the bastion knows: two of the same are one.
    pub person: String,
    /// When.
    pub at: Timestamp,
}

/// Where somebody is, or wants to go.
#[derive(Debug, Clone, Copy)]
pub struct Reached<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The name by which the human is known.
    pub person: &'a UserName,
    /// The user's groups, now.
    pub groups: &'a BTreeSet<GroupName>,
    /// The target.
    pub target: &'a TargetName,
    /// Its labels, now.
    pub labels: &'a BTreeMap<String, String>,
    /// The account.
    pub account: &'a AccountName,
    /// The grant on which they are there, or would be.
    pub grant: Option<&'a GrantId>,
    /// Whether that is of a broken glass.
    pub by_glass: bool,
}

/// What comes of one more who wants a lock lifted.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifting {
    /// It is lifted.
    Lifted,
    /// It stays until so many others say so, too.
    Waits(u8, Box<Lock>),
}

impl Lock {
    /// Whether it holds at this time.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it is on whoever is there.
    pub fn covers(&self, reached: &Reached<'_>) -> bool {
        if self.keeps_glass && reached.by_glass {
            return false;
        }
        match &self.scope {
            Scope::Everything => true,
            Scope::Grant(grant) => reached.grant == Some(grant),
            Scope::User(user) => user == reached.user || user == reached.person,
            Scope::Group(group) => reached.groups.contains(group),
            Scope::Target(target) => target == reached.target,
            Scope::Account(account) => account == reached.account,
            Scope::Destination(Destination { account, target }) => {
                account == reached.account && target == reached.target
            }
            Scope::Label { key, value } => reached.labels.get(key) == Some(value),
        }
    }

    /// The lock with what `lifter` says counted; each human counts once, for a day.
    pub fn said_by(&self, lifter: &Lifter) -> Lifting {
        let fresh = |said: &&Lifter| said.person != lifter.person && said.at.until(lifter.at) < SAID_FOR;
        let mut said: Vec<Lifter> = self.said.iter().filter(fresh).cloned().collect();
        said.push(lifter.clone());
        let missing = usize::from(self.lifters).saturating_sub(said.len());
        match u8::try_from(missing).unwrap_or(u8::MAX) {
            0 => Lifting::Lifted,
            missing => Lifting::Waits(missing, Box::new(Self { said, pending: None, ..self.clone() })),
        }
    }
}

/// The lock that decides what becomes of whoever is there: the strictest of those that hold.
pub fn strictest<'l>(locks: impl Iterator<Item = &'l Lock>, reached: &Reached<'_>, now: Timestamp) -> Option<&'l Lock> {
    locks.filter(|lock| lock.holds(now) && lock.covers(reached)).min_by_key(|lock| lock.effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn lock(scope: &str) -> Lock {
        Lock {
            id: LockId::parse("k-1").unwrap(),
            scope: Scope::parse(scope).unwrap(),
            effect: LockEffect::End,
            reason: String::from("why"),
            by: String::from("uid 0"),
            created: at(0),
            expires: None,
            lifters: 2,
            keeps_glass: false,
            said: Vec::new(),
            pending: None,
        }
    }

    fn covers(scope: &str) -> bool {
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let reached = Reached {
            user: &UserName::parse("alice2").unwrap(),
            person: &UserName::parse("alice").unwrap(),
            groups: &BTreeSet::from([GroupName::parse("dba").unwrap()]),
            target: &TargetName::parse("db1").unwrap(),
            labels: &labels,
            account: &AccountName::parse("root").unwrap(),
            grant: Some(&GrantId::parse("g-1").unwrap()),
            by_glass: false,
        };
        lock(scope).covers(&reached)
    }

    #[test]
    fn a_lock_is_on_what_it_names_and_on_nothing_else() {
        let on = "everything user:alice user:alice2 group:dba target:db1 account:root account:root@db1 grant:g-1 label:env=prod";
        for scope in on.split(' ') {
            assert!(covers(scope), "{scope}");
        }
        let off = "user:bob group:web target:db2 account:postgres account:root@db2 account:web@db1 grant:g-2 label:env=test label:tier=prod";
        for scope in off.split(' ') {
            assert!(!covers(scope), "{scope}");
        }
    }

    #[test]
    fn c14_a_lock_may_leave_broken_glasses_alone() {
        let labels = BTreeMap::new();
        let (user, groups) = (UserName::parse("alice").unwrap(), BTreeSet::new());
        let (target, account) = (TargetName::parse("db1").unwrap(), AccountName::parse("root").unwrap());
        let grant = GrantId::parse("g-1").unwrap();
        let covers = |keeps_glass, by_glass| {
            let reached = Reached {
                user: &user,
                person: &user,
                groups: &groups,
                target: &target,
                labels: &labels,
                account: &account,
                grant: Some(&grant),
                by_glass,
            };
            Lock { keeps_glass, ..lock("everything") }.covers(&reached)
        };
        assert!(covers(false, false) && covers(false, true) && covers(true, false) && !covers(true, true));
    }

    #[test]
    fn a_scope_reads_as_it_is_written() {
        for text in
            ["everything", "user:a", "group:g", "target:t", "account:A", "account:a@t", "grant:g-1", "label:a=b=c"]
        {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "all", "user", "user:", "user:*", "label:env", "label:=x", "label:x=", "label:a=\u{1b}", "x:y"]
        {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lock_holds_until_before_its_last_moment() {
        let short = Lock { expires: Some(at(10)), ..lock("everything") };
        assert!(short.holds(at(9)) && !short.holds(at(10)));
        assert!(lock("everything").holds(at(i64::from(i32::MAX))));
    }

    fn lifter(person: &str, seconds: i64) -> Lifter {
        Lifter { by: format!("{person} by a key"), person: person.to_owned(), at: at(seconds) }
    }

    #[track_caller]
    fn waits(lifting: Lifting) -> Lock {
        match lifting {
            Lifting::Waits(1, lock) => *lock,
            other @ (Lifting::Waits(..) | Lifting::Lifted) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lock_for_two_is_lifted_by_two_humans() {
        let once = waits(lock("everything").said_by(&lifter("bob", 1)));
        let twice = waits(once.said_by(&lifter("bob", 2)));
        assert_eq!(twice.said.len(), 1);
        assert_eq!(twice.said_by(&lifter("carol", 3)), Lifting::Lifted);
        let one = Lock { lifters: 1, ..lock("everything") };
        assert_eq!(one.said_by(&lifter("bob", 1)), Lifting::Lifted);
    }

    #[test]
    fn what_somebody_said_yesterday_does_not_lift_a_lock() {
        let day = 24 * 3600;
        let once = waits(lock("everything").said_by(&lifter("bob", 0)));
        let late = waits(once.said_by(&lifter("carol", day)));
        assert_eq!(late.said, [lifter("carol", day)]);
        assert_eq!(once.said_by(&lifter("carol", day - 1)), Lifting::Lifted);
    }

    #[test]
    fn what_is_not_known_to_be_on_record_does_not_count() {
        let pending = Lock { pending: Some(lifter("bob", 0)), ..lock("everything") };
        waits(pending.said_by(&lifter("carol", 1)));
    }

    #[test]
    fn of_several_locks_the_one_that_ends_sessions_counts() {
        let freezing = Lock { effect: LockEffect::Freeze, ..lock("everything") };
        let ending = Lock { expires: Some(at(10)), ..lock("account:root") };
        let labels = BTreeMap::new();
        let (user, groups) = (UserName::parse("alice").unwrap(), BTreeSet::new());
        let (target, account) = (TargetName::parse("db1").unwrap(), AccountName::parse("root").unwrap());
        let reached = Reached {
            user: &user,
            person: &user,
            groups: &groups,
            target: &target,
            labels: &labels,
            account: &account,
            grant: None,
            by_glass: false,
        };
        let effect = |now| strictest([&freezing, &ending].into_iter(), &reached, at(now)).map(|lock| lock.effect);
        assert_eq!((effect(9), effect(10)), (Some(LockEffect::End), Some(LockEffect::Freeze)));
    }
}
