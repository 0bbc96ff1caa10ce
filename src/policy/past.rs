//! Rehearsal: what a policy set would have said of what is on record, and where that differs from what was said.
//!
//! What this module does **not** know: which groups and labels there were then, which second factors and consents. It takes
//! the groups and labels of today, and for the rest the best.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::{Circumstances, Decision, GrantNeed, PolicySet, Question, decide};
use crate::gate::verdict::{Asker, CommandMode, Governed, Outcome, Ticket, judge};
use crate::model::{
    AccountName, Asked, ChannelClass, Destination, GroupName, Presence, SessionId, TargetName, Timestamp, UserName,
};

/// Of what differs so many kinds are told apart; more are only counted.
const KINDS_MAX: usize = 10_000;
/// So many sessions are named for each.
const SESSIONS_MAX: usize = 3;
/// Of a command line so many characters are kept.
const LINE_CHARS_MAX: usize = 300;

/// Who is in which groups, and which labels targets have.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The groups of each user.
    pub groups: BTreeMap<UserName, BTreeSet<GroupName>>,
    /// The labels of each target.
    pub labels: BTreeMap<TargetName, BTreeMap<String, String>>,
}

/// Something that was decided once.
#[derive(Debug, Clone, Copy)]
pub struct Past<'p> {
    /// Who asked.
    pub user: &'p UserName,
    /// Where.
    pub destination: &'p Destination,
    /// When.
    pub at: Timestamp,
    /// Where the user came from.
    pub source: Option<IpAddr>,
    /// The session.
    pub session: &'p SessionId,
    /// Whether the session rested on a grant.
    pub granted: bool,
    /// What was asked.
    pub asked: PastAsked<'p>,
    /// What was said.
    pub then: Said,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub enum PastAsked<'p> {
    /// A channel.
    Channel(ChannelClass),
    /// A command line.
    Command(&'p str),
}

/// What was said, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// Allowed as it stands.
    Allowed,
    /// Allowed with a grant.
    WithGrant,
    /// Allowed once somebody says yes.
    WithApproval,
    /// Refused.
    Refused,
}

/// What differs, of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What was said.
    pub then: Said,
    /// What would be said.
    pub now: Said,
    /// Whose.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// The channel, or the command line.
    pub what: String,
    /// What would decide.
    pub by: String,
    /// How often.
    pub times: u64,
    /// The last time.
    pub last: Timestamp,
    /// Some of the sessions, the first ones.
    pub sessions: Vec<(SessionId, Timestamp)>,
}

/// What a rehearsal has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// How much was rehearsed.
    pub decisions: u64,
    /// Of it command lines.
    pub commands: u64,
    /// How much would be said as it was.
    pub same: u64,
    /// How much of it is by users or on targets that there are no longer.
    pub unknown: u64,
    /// How much differs in so many ways that it is not listed.
    pub unlisted: u64,
    /// What differs.
    pub differences: Vec<Difference>,
}

type Kind = (Said, Said, UserName, Destination, String);

/// A rehearsal that goes on.
#[derive(Debug)]
pub struct Rehearsal<'s> {
    set: &'s PolicySet,
    known: &'s Known,
    found: Rehearsed,
    kinds: BTreeMap<Kind, Difference>,
}

impl<'s> Rehearsal<'s> {
    /// Begins one of this set.
    pub fn of(set: &'s PolicySet, known: &'s Known) -> Self {
        Self { set, known, found: Rehearsed::default(), kinds: BTreeMap::new() }
    }

    /// Asks the set what was asked then.
    pub fn take(&mut self, past: &Past<'_>) {
        count(&mut self.found.decisions);
        if let PastAsked::Command(_) = past.asked {
            count(&mut self.found.commands);
        }
        let groups = self.known.groups.get(past.user);
        let labels = self.known.labels.get(&past.destination.target);
        let (Some(groups), Some(labels)) = (groups, labels) else { return count(&mut self.found.unknown) };
        let (now, by) = self.say(past, groups, labels);
        if now == past.then {
            return count(&mut self.found.same);
        }
        let what = match past.asked {
            PastAsked::Channel(class) => class.to_string(),
            PastAsked::Command(line) => line.chars().take(LINE_CHARS_MAX).collect(),
        };
        let kind = (past.then, now, past.user.clone(), past.destination.clone(), what);
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= KINDS_MAX {
            return count(&mut self.found.unlisted);
        }
        let (then, user, destination, what) = (kind.0, kind.2.clone(), kind.3.clone(), kind.4.clone());
        let new =
            || Difference { then, now, user, destination, what, by, times: 0, last: past.at, sessions: Vec::new() };
        let difference = self.kinds.entry(kind).or_insert_with(new);
        count(&mut difference.times);
        difference.last = difference.last.max(past.at);
        if difference.sessions.len() < SESSIONS_MAX {
            difference.sessions.push((past.session.clone(), past.at));
        }
    }

    fn say(&self, past: &Past<'_>, groups: &BTreeSet<GroupName>, labels: &BTreeMap<String, String>) -> (Said, String) {
        let class = match past.asked {
            PastAsked::Channel(class) => class,
            PastAsked::Command(_) => ChannelClass::Exec,
        };
        let (Destination { account, target, .. }, asked) = (past.destination, Asked::from(class));
        let circumstances = Circumstances { now: Some(past.at), source: past.source, ..Circumstances::BEST };
        let question = Question {
            user: past.user,
            groups,
            target,
            labels,
            account,
            asked: Some(&asked),
            presence: Presence::FULL,
            circumstances,
        };
        let by_access = match decide(self.set, &question) {
            Decision::Allow(allowed) => (Said::Allowed, allowed.rule.to_string()),
            Decision::NeedsGrant(allowed) if past.granted => (Said::Allowed, allowed.rule.to_string()),
            Decision::NeedsGrant(allowed) => (Said::WithGrant, allowed.rule.to_string()),
            Decision::Deny(reason) => (Said::Refused, reason.to_string()),
        };
        match past.asked {
            PastAsked::Command(line) if by_access.0 == Said::Allowed => self.judge(past, line, &question, account),
            PastAsked::Command(_) | PastAsked::Channel(_) => by_access,
        }
    }

    fn judge(&self, past: &Past<'_>, line: &str, question: &Question<'_>, account: &AccountName) -> (Said, String) {
        let here = self.set.rules_about(question.user, question.groups);
        let rules = here.filter(|rule| rule.covers(question) && rule.opens(question.asked));
        let in_force = rules.filter(|rule| past.granted || rule.grant.need == GrantNeed::NotRequired);
        let governed: Vec<Governed> = in_force.map(|rule| self.set.governs(rule)).collect();
        let asker = Asker {
            user: question.user,
            groups: question.groups,
            target: question.target,
            labels: question.labels,
            account,
            // The log does not have it.
            ticket: Ticket::Unknown,
            at: past.at,
        };
        let judgement = judge(line, &governed, self.set.effects(), &asker);
        let by = match (&judgement.set, judgement.mode) {
            (Some(set), CommandMode::Menu | CommandMode::Strict | CommandMode::Guard | CommandMode::Observe) => {
                format!("{set}: {}", judgement.by)
            }
            (None, _) => judgement.by.to_string(),
        };
        let said = match judgement.outcome {
            Outcome::Allow => Said::Allowed,
            Outcome::Approve => Said::WithApproval,
            Outcome::Deny => Said::Refused,
        };
        (said, by)
    }

    /// What was found so far, together with what `other` has of the same set.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let (own, more) = (&mut self.found, other.found);
        for (own, more) in [
            (&mut own.decisions, more.decisions),
            (&mut own.commands, more.commands),
            (&mut own.same, more.same),
            (&mut own.unknown, more.unknown),
            (&mut own.unlisted, more.unlisted),
        ] {
            *own = own.saturating_add(more);
        }
        for (kind, more) in other.kinds {
            let room = self.kinds.len() < KINDS_MAX;
            match self.kinds.get_mut(&kind) {
                Some(own) => {
                    own.times = own.times.saturating_add(more.times);
                    own.last = own.last.max(more.last);
                    own.sessions.extend(more.sessions);
                    own.sessions.truncate(SESSIONS_MAX);
                }
                None if room => drop(self.kinds.insert(kind, more)),
                None => self.found.unlisted = self.found.unlisted.saturating_add(more.times),
            }
        }
        self
    }

    /// What was found: what would be refused first, then the most frequent first.
    pub fn end(self) -> Rehearsed {
        let mut found = self.found;
        found.differences = self.kinds.into_values().collect();
        found.differences.sort_by_key(|one| Reverse((one.now, one.times)));
        found
    }
}

fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}

#[cfg(test)]
mod tests;
