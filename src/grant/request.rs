//! An access request, from asking to the grant. Pure: who asks, who reviews and the time come in as arguments.
//!
//! ```text
//! pending -> granted                       enough approvals
//! pending -> approved -> granted           the same, where the requester begins the grant
//! pending -> denied | cancelled | expired | superseded
//! approved -> cancelled | expired | superseded
//! ```
//! A request never changes what it asks for: whoever wants something else cancels it and asks anew. So an approval is of
//! what its reviewer read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Glass, Grant};
use crate::model::{ChannelClass, Destination, GrantId, GroupName, Presence, RequestId, RuleId, Timestamp, UserName};
use crate::policy::{Approvers, PolicyHash};

/// A request that so many people have reviewed takes no more reviews.
pub const REVIEWS_MAX: usize = 10;

/// What a user asks for, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// Its id.
    pub id: RequestId,
    /// How often it has changed, from 1.
    pub version: u32,
    /// Who asks, and whom the grant is for.
    pub requester: UserName,
    /// The human who that is.
    pub person: UserName,
    /// Where to.
    pub destination: Destination,
    /// What may be opened there.
    pub channels: BTreeSet<ChannelClass>,
    /// The rule that says who approves; the grant opens what this rule opens.
    pub rule: RuleId,
    /// The policy set in force when it was asked.
    pub policy: PolicyHash,
    /// A grant of one's own that shall last longer; `None` for a grant of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<GrantId>,
    /// What it is for.
    pub reason: String,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// What the ticket system has said of it, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_said: Option<TicketSaid>,
    /// The operator who entered it in the requester's name, if it was not the requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entered: Option<Entered>,
    /// From when on; `None`: from the approval on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// For how many seconds; of an extension how many more.
    pub seconds: u64,
    /// When it was asked.
    pub asked: Timestamp,
    /// The first moment at which nobody may approve it any more.
    pub pending_until: Timestamp,
    /// How many seconds its requester has to begin, once it is approved; `None`: it begins by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_seconds: Option<u64>,
    /// How many sessions may begin on the grant; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u32>,
    /// By what the requester proved who they are, if the grant is for that only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_key: Option<String>,
    /// Whether it was approved beforehand: by a window of the rule's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preapproved: bool,
    /// What is owed, if nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glass: Option<Glass>,
    /// What it takes.
    pub quorum: Quorum,
    /// What was said of it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Review>,
    /// Why it came to nothing, where nobody has said so in a review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How it stands; see `AccessRequest::state` for how it stands now.
    pub stored: RequestState,
}

/// That a ticket system knows a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketSaid {
    /// Who was asked: a host, with its port if the URL names one.
    pub host: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// When.
    pub at: Timestamp,
}

/// Who entered a request in another's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entered {
    /// As the system tells it, such as `uid 0`.
    pub by: String,
    /// The bastion user whom they say they are: nobody who is that human decides on it.
    pub user: UserName,
    /// The human who that is.
    pub person: UserName,
}

/// Who may review a request, fixed when it was asked, and how many approvals it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// As the rule had it.
    pub approvers: Approvers,
    /// Those who were among them then, but the requester. Whoever joined later does not count, nor who has left.
    pub reviewers: BTreeSet<UserName>,
}

/// What one approver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who.
    pub by: UserName,
    /// The human who that is.
    pub person: UserName,
    /// What.
    pub verdict: Verdict,
    /// For at most so many seconds; `None`: as asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// For these channels at most; `None`: as asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// In their words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// By what they proved who they are; empty of those that older versions kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// From where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// How many seconds before it they had proven themselves by a second factor; `None`: they had not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_seconds: Option<u64>,
}

/// An approver as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The human who that is.
    pub person: UserName,
    /// Their groups.
    pub groups: BTreeSet<GroupName>,
}

/// What an approval brings about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Nothing yet: its requester begins.
    Waits,
    /// A grant.
    Begins(Box<Grant>),
    /// A grant lasts longer.
    Lengthens {
        /// Which.
        grant: GrantId,
        /// By how much.
        by: Duration,
    },
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No; one is enough.
    Deny,
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RequestState {
    /// It waits for approvals.
    Pending,
    /// It has them, and waits for its requester to begin.
    Approved {
        /// The first moment at which it is too late.
        begin_by: Timestamp,
    },
    /// There is a grant.
    Granted {
        /// Which; of an extension, the one that lasts longer now.
        grant: GrantId,
    },
    /// An approver said no.
    Denied,
    /// Its requester, or an operator, took it back.
    Cancelled,
    /// Nobody decided, or began, in time.
    Expired,
    /// The rules, the users or the grant that it was asked under are not what they were.
    Superseded,
}

impl AccessRequest {
    /// The request once the wall clock was set back by `step`, to `after`; `None` if nothing changes. Nobody has longer to
    /// approve, to begin or to review for it.
    pub fn set_back(&self, step: Duration, after: Timestamp) -> Option<Self> {
        let mut request = self.clone();
        let due = request.glass.as_mut().filter(|glass| glass.judged.is_none()).map(|glass| &mut glass.due);
        let limit = match &mut request.stored {
            RequestState::Pending => Some(&mut request.pending_until),
            RequestState::Approved { begin_by } => Some(begin_by),
            RequestState::Granted { .. }
            | RequestState::Denied
            | RequestState::Cancelled
            | RequestState::Expired
            | RequestState::Superseded => None,
        };
        let mut changed = false;
        for time in due.into_iter().chain(limit).filter(|time| **time > after) {
            *time = time.minus(step);
            changed = true;
        }
        changed.then_some(request)
    }
}

impl RequestState {
    /// In one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved { .. } => "approved",
            Self::Granted { .. } => "granted",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more can become of it.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Pending | Self::Approved { .. } => false,
            Self::Granted { .. } | Self::Denied | Self::Cancelled | Self::Expired | Self::Superseded => true,
        }
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Who reviews, as they are now.
#[derive(Debug, Clone, Copy)]
pub struct Reviewer<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The human who that is.
    pub person: &'a UserName,
    /// Their groups.
    pub groups: &'a BTreeSet<GroupName>,
    /// What they did at the login.
    pub presence: Presence,
    /// By what they proved who they are.
    pub key: &'a str,
    /// From where.
    pub source: &'a str,
    /// How long ago they proved themselves by a second factor; `None`: they have not.
    pub mfa: Option<Duration>,
}

impl Reviewer<'_> {
    /// Whether they have proven themselves as these approvers must.
    ///
    /// # Errors
    /// `NeedsKey`, `NeedsMfa`.
    pub fn is_sure(&self, approvers: &Approvers) -> Result<(), ReviewError> {
        if !self.presence.covers(approvers.key) {
            return Err(ReviewError::NeedsKey(approvers.key));
        }
        match approvers.mfa_seconds.map(Duration::from_secs) {
            Some(within) if self.mfa.is_none_or(|ago| ago > within) => Err(ReviewError::NeedsMfa(within)),
            Some(_) | None => Ok(()),
        }
    }
}

/// What an approver wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Yes or no.
    pub verdict: Verdict,
    /// For at most so long.
    pub span: Option<Duration>,
    /// For these channels at most.
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// In their words.
    pub note: String,
}

/// Why a review does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewError {
    /// The request is decided, or too old.
    NotPending(RequestState),
    /// The requester, or the same human by another name.
    Self_,
    /// Who entered it for another, or the same human by another name.
    Entered,
    /// Not one of those who may.
    NotAReviewer,
    /// The same human has said it already.
    Again,
    /// It wants a login with a security key.
    NeedsKey(Presence),
    /// It wants a second factor, at most so long ago.
    NeedsMfa(Duration),
    /// An approver may take away from what is asked, and not add.
    Widens(&'static str),
    /// Too many have.
    TooMany,
}

impl fmt::Display for ReviewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPending(state) => write!(f, "the request is {state}: it takes no more reviews"),
            Self::Self_ => f.write_str("nobody approves or denies what they ask for themselves, by whatever name"),
            Self::Entered => {
                f.write_str("nobody approves or denies what they have entered for another, by whatever name")
            }
            Self::NotAReviewer => f.write_str("you are not one of those who decide this request"),
            Self::Again => f.write_str("you have approved it already; others must, too"),
            Self::NeedsKey(key) => {
                let how = if key.pin { "with its PIN" } else { "that you touch" };
                write!(f, "to review it, log in with a security key {how}")
            }
            Self::NeedsMfa(within) => write!(
                f,
                "to review it, prove yourself anew: `ssh -t USER@BASTION mfa`, then within {} minutes",
                within.as_secs().div_ceil(60)
            ),
            Self::Widens(what) => write!(f, "an approver may only narrow what is asked: {what} is more than that"),
            Self::TooMany => f.write_str("too many have reviewed it: let it be cancelled and asked anew"),
        }
    }
}

impl std::error::Error for ReviewError {}

impl AccessRequest {
    /// How it stands at `now`: what was not decided or begun in time has expired, whether or not that is stored.
    pub fn state(&self, now: Timestamp) -> RequestState {
        match &self.stored {
            RequestState::Pending if now >= self.pending_until => RequestState::Expired,
            RequestState::Approved { begin_by } if now >= *begin_by => RequestState::Expired,
            RequestState::Pending
            | RequestState::Approved { .. }
            | RequestState::Granted { .. }
            | RequestState::Denied
            | RequestState::Cancelled
            | RequestState::Expired
            | RequestState::Superseded => self.stored.clone(),
        }
    }

    /// The next version, in this state.
    #[must_use]
    pub fn to(&self, state: RequestState) -> Self {
        Self { version: self.version.saturating_add(1), stored: state, ..self.clone() }
    }

    /// What is granted: as asked, narrowed by each approval.
    pub fn narrowed(&self) -> (Duration, BTreeSet<ChannelClass>) {
        let yes = || self.reviews.iter().filter(|review| review.verdict == Verdict::Approve);
        let seconds = yes().filter_map(|review| review.seconds).chain([self.seconds]).min().unwrap_or(self.seconds);
        let mut channels = self.channels.clone();
        for allowed in yes().filter_map(|review| review.channels.as_ref()) {
            channels.retain(|class| allowed.contains(class));
        }
        (Duration::from_secs(seconds), channels)
    }

    /// The request after this review.
    ///
    /// # Errors
    /// `ReviewError`: nothing changed.
    pub fn review(&self, reviewer: &Reviewer<'_>, opinion: Opinion, now: Timestamp) -> Result<Self, ReviewError> {
        let state = self.state(now);
        if state != RequestState::Pending {
            return Err(ReviewError::NotPending(state));
        }
        let Reviewer { user, person, groups, key, source, mfa, .. } = *reviewer;
        if *user == self.requester || *person == self.person {
            return Err(ReviewError::Self_);
        }
        if self.entered.as_ref().is_some_and(|entered| *user == entered.user || *person == entered.person) {
            return Err(ReviewError::Entered);
        }
        if !self.quorum.reviewers.contains(user) || !self.quorum.approvers.include(user, groups) {
            return Err(ReviewError::NotAReviewer);
        }
        reviewer.is_sure(&self.quorum.approvers)?;
        if opinion.verdict == Verdict::Approve && self.reviews.iter().any(|review| review.person == *person) {
            return Err(ReviewError::Again);
        }
        if self.reviews.len() >= REVIEWS_MAX {
            return Err(ReviewError::TooMany);
        }
        let (span, channels) = self.narrowed();
        if opinion.span.is_some_and(|wanted| wanted > span) {
            return Err(ReviewError::Widens("the time"));
        }
        if opinion.channels.as_ref().is_some_and(|wanted| wanted.is_empty() || !wanted.is_subset(&channels)) {
            return Err(ReviewError::Widens("the channels"));
        }
        let mut next = self.to(match opinion.verdict {
            Verdict::Approve => RequestState::Pending,
            Verdict::Deny => RequestState::Denied,
        });
        next.reviews.push(Review {
            by: user.clone(),
            person: person.clone(),
            verdict: opinion.verdict,
            seconds: opinion.span.map(|span| span.as_secs()),
            channels: opinion.channels,
            note: opinion.note,
            at: now,
            key: key.to_owned(),
            source: source.to_owned(),
            mfa_seconds: mfa.map(|ago| ago.as_secs()),
        });
        Ok(next)
    }

    /// Whether its approvals are enough. `stands` gives a user as they are now, and `None` of one who may not approve any
    /// more: what such a one said does not count. Two who are one human, then or now, count once; the requester, or who entered it
    /// for them, by whatever name not at all.
    pub fn is_approved(&self, stands: impl Fn(&UserName) -> Option<Standing>) -> bool {
        let approvers = &self.quorum.approvers;
        let mut people: Vec<(BTreeSet<UserName>, BTreeSet<GroupName>)> = Vec::new();
        for review in self.reviews.iter().filter(|review| review.verdict == Verdict::Approve) {
            let Some(now) = stands(&review.by).filter(|now| approvers.include(&review.by, &now.groups)) else {
                continue;
            };
            let mut names = BTreeSet::from([review.person.clone(), now.person]);
            let mut represented: BTreeSet<GroupName> = now.groups.intersection(&approvers.groups).cloned().collect();
            // Whoever shares a name with them is the same human.
            people.retain_mut(|(known, groups)| {
                let other = known.is_disjoint(&names);
                if !other {
                    names.append(known);
                    represented.append(groups);
                }
                other
            });
            people.push((names, represented));
        }
        let mut own = BTreeSet::from([self.requester.clone(), self.person.clone()]);
        own.extend(self.entered.iter().flat_map(|entered| [entered.user.clone(), entered.person.clone()]));
        let entered = self.entered.iter().map(|entered| &entered.user);
        own.extend(entered.chain([&self.requester]).filter_map(stands).map(|now| now.person));
        people.retain(|(names, _)| names.is_disjoint(&own));
        let needed = usize::from(approvers.count).max(1);
        if approvers.distinct_groups {
            matched(&people.into_iter().map(|(_, groups)| groups).collect::<Vec<_>>()) >= needed
        } else {
            people.len() >= needed
        }
    }

    /// The request once it has its approvals, and what that brings about.
    pub fn approved(&self, grant: GrantId, now: Timestamp) -> (Self, Outcome) {
        if let Some(extended) = &self.extends {
            let state = RequestState::Granted { grant: extended.clone() };
            let outcome = Outcome::Lengthens { grant: extended.clone(), by: self.narrowed().0 };
            return (Self { stored: state, ..self.clone() }, outcome);
        }
        if let Some(seconds) = self.activation_seconds {
            let begin_by = now.plus(Duration::from_secs(seconds));
            return (Self { stored: RequestState::Approved { begin_by }, ..self.clone() }, Outcome::Waits);
        }
        let made = self.grant(grant.clone(), now);
        (Self { stored: RequestState::Granted { grant }, ..self.clone() }, Outcome::Begins(Box::new(made)))
    }

    /// The grant that this request leads to, if it begins at `now`.
    pub fn grant(&self, id: GrantId, now: Timestamp) -> Grant {
        let (span, channels) = self.narrowed();
        // Approved late, it ends when it was asked to end.
        let until = self.from.unwrap_or(now).plus(span);
        let from = self.from.filter(|from| *from > now).unwrap_or(now);
        Grant {
            id,
            user: self.requester.clone(),
            destination: self.destination.clone(),
            from,
            until,
            reason: self.purpose(),
            created_by: match self.glass {
                None if self.preapproved => format!("request {}, approved beforehand", self.id),
                None => format!("request {}", self.id),
                Some(_) => format!("break-glass {}", self.id),
            },
            created: now,
            revoked: None,
            request: Some(self.id.clone()),
            rule: Some(self.rule.clone()),
            channels: Some(channels),
            sessions: self.sessions,
            begun: 0,
            bound_key: self.bound_key.clone(),
        }
    }

    /// The ticket and the reason, as the grant has them.
    pub fn purpose(&self) -> String {
        match &self.ticket {
            Some(ticket) if !self.reason.contains(ticket.as_str()) => format!("{ticket} {}", self.reason),
            Some(_) | None => self.reason.clone(),
        }
    }
}

/// To how many distinct groups people can be assigned, each to one of their own (Kuhn's algorithm; there are at most
/// `REVIEWS_MAX` people).
pub fn matched(people: &[BTreeSet<GroupName>]) -> usize {
    fn place<'p>(
        person: usize,
        people: &'p [BTreeSet<GroupName>],
        taken: &mut BTreeMap<&'p GroupName, usize>,
        tried: &mut BTreeSet<&'p GroupName>,
    ) -> bool {
        for group in people.get(person).into_iter().flatten() {
            if !tried.insert(group) {
                continue;
            }
            let free = match taken.get(group).copied() {
                None => true,
                Some(other) => place(other, people, taken, tried),
            };
            if free {
                taken.insert(group, person);
                return true;
            }
        }
        false
    }
    let mut taken = BTreeMap::new();
    (0..people.len()).filter(|person| place(*person, people, &mut taken, &mut BTreeSet::new())).count()
}

#[cfg(test)]
mod tests;
