//! Who says yes, and how many of them it takes: of grants, of break-glass, of single commands.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::{Faults, Node, Table, names};
use crate::model::{GroupName, Presence, UserName};

/// More approvals than this are never given.
const COUNT_MAX: u8 = 8;
const SPAN_MIN: Duration = Duration::from_secs(1);
/// A second factor that may be older is none.
const MFA_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Who approves requests, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Approvers by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users: BTreeSet<UserName>,
    /// Groups whose members approve.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<GroupName>,
    /// How many distinct people it takes.
    pub count: u8,
    /// Whether each of them must stand for another of the groups.
    pub distinct_groups: bool,
    /// What an approver must have done at the login, with a security key.
    pub key: Presence,
    /// How many seconds ago at most an approver must have proven themselves by a second factor; `None`: that is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_seconds: Option<u64>,
}

impl Approvers {
    /// Whether a user with these groups is one.
    pub fn include(&self, user: &UserName, groups: &BTreeSet<GroupName>) -> bool {
        self.users.contains(user) || !self.groups.is_disjoint(groups)
    }

    pub(crate) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let read = Self::take(&mut table, faults);
        table.finish(&[], faults);
        read
    }

    /// Takes what is about approvers out of a table that may say more.
    pub(crate) fn take(table: &mut Table<'_>, faults: &mut Faults) -> Option<Self> {
        let users = table.take("users").map_or(Some(BTreeSet::new()), |node| names(&node, UserName::parse, faults));
        let groups = table.take("groups").map_or(Some(BTreeSet::new()), |node| names(&node, GroupName::parse, faults));
        let group = table.take("group").map_or(Some(None), |node| faults.keep(node.name(GroupName::parse)).map(Some));
        let count = table.read("count", 1, faults, |node| node.integer_in(1..=COUNT_MAX));
        let distinct_groups = table.read("distinct_groups", false, faults, Node::boolean);
        let key = table.take("key").map_or(Some(Presence::NONE), |node| read_key(&node, faults));
        let mfa = table.take("mfa").map_or(Some(None), |node| read_mfa(&node, faults).map(Some));
        let (users, mut groups) = (users?, groups?);
        groups.extend(group?);
        if users.is_empty() && groups.is_empty() {
            faults.push(table.fault("names nobody").hint("write group, groups or users"));
            return None;
        }
        if distinct_groups && groups.len() < usize::from(count) {
            faults.push(
                table.fault(format!("{count} approvers of distinct groups, and there are {} groups", groups.len())),
            );
            return None;
        }
        if groups.is_empty() && users.len() < usize::from(count) {
            faults.push(table.fault(format!("it takes {count} of {} users", users.len())));
            return None;
        }
        let mfa_seconds = mfa?.map(|within| within.as_secs());
        Some(Self { users, groups, count, distinct_groups, key: key?, mfa_seconds })
    }
}

impl fmt::Display for Approvers {
    /// Such as `2 of dba-leads, security`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.groups.iter().map(GroupName::as_str).chain(self.users.iter().map(UserName::as_str));
        let names: Vec<&str> = names.collect();
        write!(f, "{} of {}", self.count, names.join(", "))?;
        if self.distinct_groups { f.write_str(" (each of another group)") } else { Ok(()) }
    }
}

/// `key = { touch = true, pin = true }`: in a rule what the login must be, in a test what it is.
pub(crate) fn read_key(node: &Node<'_>, faults: &mut Faults) -> Option<Presence> {
    let mut table = faults.keep(node.table())?;
    let mut word = |key| table.take(key).map_or(Some(false), |node| faults.keep(node.boolean()));
    let (touch, pin) = (word("touch"), word("pin"));
    table.finish(&[], faults);
    let key = Presence { touch: touch?, pin: pin? };
    if key == Presence::NONE {
        faults.push(node.fault("demands nothing").hint("write touch = true, pin = true or both, or leave `key` out"));
        return None;
    }
    Some(key)
}

/// `mfa = { within = "15m" }`: how long ago a second factor may have been shown.
pub(crate) fn read_mfa(node: &Node<'_>, faults: &mut Faults) -> Option<Duration> {
    let mut table = faults.keep(node.table())?;
    let within = table.need("within", faults).and_then(|node| faults.keep(node.duration_in(SPAN_MIN..=MFA_MAX)));
    table.finish(&[], faults);
    within
}
