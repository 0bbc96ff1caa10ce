//! `[[audit]]` rules: who may fetch recordings and watch sessions, and of which targets.
//!
//! They allow a hand-out, no more: a recording is sealed, and only the auditors that it was sealed for can open it,
//! whatever a rule says. What keeps an auditor of one target from reading another's recordings for good is
//! `recording.auditors` of the rule that opened the session.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Names, Place, PolicySet, Who};
use crate::model::{GroupName, RuleId, TargetName, UserName};

/// One `[[audit]]` rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRule {
    /// Its id, unique among all rules of all files.
    pub id: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// The bastion users it is for.
    pub who: Who,
    /// The targets whose recordings and sessions it is about.
    pub place: Place,
    /// What it allows.
    pub rights: BTreeSet<AuditRight>,
}

/// What an auditor may do over SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditRight {
    /// Fetch a sealed recording with its proofs, and find it in a list.
    Get,
    /// See what a live session shows, and find it in a list.
    Watch,
    /// Let a live session stand still, and go on.
    Freeze,
    /// Say a line on a live session's terminals.
    Message,
    /// End a live session.
    Kill,
    /// Lift locks, alone or as one of two.
    Lift,
}

impl AuditRight {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Get, Self::Watch, Self::Freeze, Self::Message, Self::Kill, Self::Lift];
}

impl fmt::Display for AuditRight {
    /// As `rights` names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Watch => "watch",
            Self::Freeze => "freeze",
            Self::Message => "message",
            Self::Kill => "kill",
            Self::Lift => "lift",
        })
    }
}

/// May this user do this with what was recorded on this target?
#[derive(Debug, Clone, Copy)]
pub struct AuditQuestion<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The user's groups, now.
    pub groups: &'a BTreeSet<GroupName>,
    /// The target.
    pub target: &'a TargetName,
    /// The target's labels, now; none if it is no longer registered.
    pub labels: &'a BTreeMap<String, String>,
    /// What they want.
    pub right: AuditRight,
}

/// The first rule by file name and file order that allows it; without one it is refused.
pub fn decide_audit<'s>(set: &'s PolicySet, question: &AuditQuestion<'_>) -> Option<&'s AuditRule> {
    among(set.audit_rules(), question)
}

/// Whether any rule gives this user this right, wherever.
pub fn audits_somewhere(set: &PolicySet, user: &UserName, groups: &BTreeSet<GroupName>, right: AuditRight) -> bool {
    set.audit_rules().any(|rule| rule.rights.contains(&right) && rule.who.covers(user, groups))
}

/// Whether any rule gives this user this right on every target there is.
pub fn audits_everywhere(set: &PolicySet, user: &UserName, groups: &BTreeSet<GroupName>, right: AuditRight) -> bool {
    let every = |place: &Place| place.targets == Some(Names::Every) && place.labels.is_empty();
    let mut rules = set.audit_rules();
    rules.any(|rule| rule.rights.contains(&right) && rule.who.covers(user, groups) && every(&rule.place))
}

pub(super) fn among<'r>(
    mut rules: impl Iterator<Item = &'r AuditRule>,
    question: &AuditQuestion<'_>,
) -> Option<&'r AuditRule> {
    rules.find(|rule| {
        rule.rights.contains(&question.right)
            && rule.who.covers(question.user, question.groups)
            && rule.place.covers(question.target, question.labels)
    })
}
