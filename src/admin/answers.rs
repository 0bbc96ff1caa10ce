//! Who can, who is, who did; what stands open; and the access review.

mod did;
mod review;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::api::{Reply, SessionFilter, SessionRow};
use super::describe::Effect;
use super::{Admin, AdminError, Caller};
use crate::audit::Call;
use crate::grant::Grant;
use crate::ledger::{Way, WayQuery, Ways};
use crate::model::{AccountName, GrantId, GroupName, LockId, RequestId, TargetName, Timestamp, UserName, join};

pub use did::{Did, DidApproval, DidRequest};
pub use review::{ReviewLine, ReviewSigned};

/// Rows of one answer at most: what is more is counted, and not shown.
pub const ROWS_MAX: u32 = 100_000;

/// What an operator wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Inquiry {
    /// Who can reach a target.
    WhoCan {
        /// Which one.
        target: TargetName,
        /// Only this account.
        account: Option<AccountName>,
        /// Suspended users, too.
        all: bool,
        /// So many rows at most.
        most: u32,
    },
    /// Who is in a session.
    WhoIs {
        /// Which ones.
        filter: SessionFilter,
    },
    /// Who was on a target.
    WhoDid {
        /// Which one.
        target: TargetName,
        /// Only this user.
        user: Option<UserName>,
        /// Only sessions that lasted until this time or longer.
        from: Option<Timestamp>,
        /// Only sessions that began before this time.
        to: Option<Timestamp>,
        /// So many rows at most, the newest.
        most: u32,
    },
    /// What can be reached without a grant.
    Standing {
        /// Only targets with these labels.
        labels: BTreeMap<String, String>,
        /// So many rows at most.
        most: u32,
    },
    /// The access review.
    Review {
        /// Only users of this group.
        group: Option<GroupName>,
        /// Only rules for this target.
        target: Option<TargetName>,
        /// So many rows at most.
        most: u32,
    },
    /// Signs a line of the review.
    ReviewSign {
        /// Which one.
        line: String,
        /// Whether the right shall stay.
        verdict: crate::ledger::SignOffVerdict,
        /// Why.
        note: String,
    },
}

/// What there is to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// To `WhoCan` and `Standing`.
    Ways(Ways),
    /// To `WhoIs`.
    Present(Vec<Present>),
    /// To `WhoDid`.
    Past {
        /// Oldest first; those that were erased among them, whosever they were.
        sessions: Vec<Did>,
        /// How many there are.
        total: u64,
        /// Directories that hold no readable recording, and why.
        damaged: Vec<String>,
    },
    /// To `Review`.
    Review {
        /// By rule, user and account.
        lines: Vec<ReviewLine>,
        /// How many there are.
        total: u64,
        /// Since when sessions were looked at; `None`: since ever.
        since: Option<Timestamp>,
    },
}

/// A live session, and by what right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Present {
    /// The session.
    #[serde(flatten)]
    pub session: SessionRow,
    /// The request that led to the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The request's ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The lock by which it stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockId>,
}

impl Inquiry {
    /// Its effect and its name in the log.
    pub(super) fn verb(&self) -> (Effect, &'static str) {
        match self {
            Self::WhoCan { .. } => (Effect::Reads, "who-can"),
            Self::WhoIs { .. } => (Effect::Reads, "who-is"),
            Self::WhoDid { .. } => (Effect::Reads, "who-did"),
            Self::Standing { .. } => (Effect::Reads, "standing"),
            Self::Review { .. } => (Effect::Reads, "review"),
            // It moves no right, and comes with an event of its own.
            Self::ReviewSign { .. } => (Effect::Gives, "review sign"),
        }
    }

    /// What it is about, and its details.
    pub(super) fn words(&self) -> (String, String) {
        let listed = |parts: [Option<String>; 3]| parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let said = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
        let text = |name: &str, value: &Option<UserName>| said(name, value.as_ref().map(ToString::to_string));
        match self {
            Self::WhoCan { target, account, .. } => {
                (target.to_string(), listed([said("account", account.as_ref().map(ToString::to_string)), None, None]))
            }
            Self::WhoIs { filter } => {
                let target = said("target", filter.target.as_ref().map(ToString::to_string));
                (String::new(), listed([text("user", &filter.user), target, None]))
            }
            Self::WhoDid { target, user, from, to, .. } => {
                let time = |name, time: &Option<Timestamp>| said(name, time.map(String::from));
                (target.to_string(), listed([text("user", user), time("from", from), time("to", to)]))
            }
            Self::Standing { labels, .. } => {
                let labels = join(labels.iter().map(|(key, value)| format!("{key}={value}")));
                (String::new(), labels.chars().take(500).collect())
            }
            Self::Review { group, target, .. } => {
                let group = said("group", group.as_ref().map(ToString::to_string));
                (String::new(), listed([group, said("target", target.as_ref().map(ToString::to_string)), None]))
            }
            Self::ReviewSign { line, verdict, .. } => (line.chars().take(64).collect(), verdict.word().to_owned()),
        }
    }

    /// By what it is found in the log.
    pub(super) fn about(&self) -> Call {
        match self {
            Self::WhoDid { user: Some(user), .. } => Call { user: Some(user.clone()), ..Call::default() },
            Self::WhoCan { .. }
            | Self::WhoIs { .. }
            | Self::WhoDid { user: None, .. }
            | Self::Standing { .. }
            | Self::Review { .. }
            | Self::ReviewSign { .. } => Call::default(),
        }
    }
}

impl Admin {
    pub(super) fn inquire(&self, caller: Caller, inquiry: Inquiry) -> Result<Reply, AdminError> {
        let report = match inquiry {
            Inquiry::WhoCan { target, account, all, most } => {
                self.known_target(&target)?;
                let query = WayQuery { target: Some(target), account, suspended: all, ..WayQuery::default() };
                Report::Ways(self.sorted_ways(&query, most))
            }
            Inquiry::Standing { labels, most } => {
                let query = WayQuery { labels, standing: true, ..WayQuery::default() };
                Report::Ways(self.sorted_ways(&query, most))
            }
            Inquiry::WhoIs { filter } => Report::Present(self.who_is(&filter)),
            Inquiry::WhoDid { target, user, from, to, most } => {
                self.who_did(&did::Wanted { target, user, from, to }, rows(most))
            }
            Inquiry::Review { group, target, most } => {
                if let Some(target) = &target {
                    self.known_target(target)?;
                }
                self.review(group, target, rows(most))
            }
            Inquiry::ReviewSign { line, verdict, note } => return self.review_sign(caller, &line, verdict, &note),
        };
        Ok(Reply::Report { report })
    }

    fn sorted_ways(&self, query: &WayQuery, most: u32) -> Ways {
        let mut ways = self.parts.ledger.ways(query, rows(most), self.now());
        let key = |way: &Way| (way.destination.target.clone(), way.destination.account.clone(), way.user.clone());
        ways.list.sort_by_cached_key(key);
        ways
    }

    fn who_is(&self, filter: &SessionFilter) -> Vec<Present> {
        let present = |session: SessionRow| {
            let grant = session.grant.as_ref().and_then(|grant| self.parts.ledger.grant(grant));
            let request = grant.and_then(|grant| grant.request);
            let asked = request.as_ref().and_then(|request| self.parts.ledger.request(request));
            // One that goes on does so whatever locks there are.
            let locked = self.parts.sessions.lock_of(&session.session);
            let ticket = asked.and_then(|asked| asked.ticket);
            Present { session, request, ticket, locked }
        };
        self.live_sessions(filter).into_iter().map(present).collect()
    }

    /// The grants with these ids.
    fn grants_of(&self, ids: BTreeSet<GrantId>) -> BTreeMap<GrantId, Grant> {
        ids.into_iter().filter_map(|id| self.parts.ledger.grant(&id).map(|grant| (id, grant))).collect()
    }
}

fn rows(most: u32) -> usize {
    usize::try_from(most.min(ROWS_MAX)).unwrap_or(usize::MAX)
}
