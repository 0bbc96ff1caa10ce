//! Who was on a target: the recordings there, with the grants and requests that let them begin.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::Admin;
use super::Report;
use crate::grant::{AccessRequest, Grant, Verdict};
use crate::model::{ChannelClass, Destination, GrantId, RequestId, RuleId, SessionId, TargetName, Timestamp, UserName};
use crate::store::{End, Filter, Listed, Summary};

/// A session that began so long before the time in question, and went on, is found.
const LASTS_MAX: Duration = Duration::from_secs(31 * 86_400);

/// What is wanted.
pub(super) struct Wanted {
    pub(super) target: TargetName,
    pub(super) user: Option<UserName>,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

/// A session, and by what right it began. Of one that was erased, only its id and when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    /// Its id, and its recording's.
    pub session: SessionId,
    /// Whether its recording was erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// Who.
    pub user: Option<UserName>,
    /// Where.
    pub destination: Option<Destination>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended, as far as that is known.
    pub ended: Option<Timestamp>,
    /// How it ended: a cause, `interrupted`, `live` or `open`.
    pub end: Option<String>,
    /// What was opened, once it has ended.
    pub channels: BTreeSet<ChannelClass>,
    /// Where the user came from.
    pub source: Option<String>,
    /// The rule that allowed it.
    pub rule: Option<RuleId>,
    /// The grant, where the rule required one.
    pub grant: Option<GrantId>,
    /// Who gave it.
    pub granted_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The request that led to the grant, and those that made it last longer.
    pub requests: Vec<DidRequest>,
}

/// An access request behind a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DidRequest {
    /// Its id.
    pub request: RequestId,
    /// Whether it was stored; what else is known of it is in the audit log.
    pub stored: bool,
    /// Whether it made the grant last longer.
    pub extends: bool,
    /// Its ticket.
    pub ticket: Option<String>,
    /// Its reason.
    pub reason: Option<String>,
    /// Who approved it.
    pub approvals: Vec<DidApproval>,
}

/// An approver's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DidApproval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub note: String,
}

impl Admin {
    pub(super) fn who_did(&self, wanted: &Wanted, most: usize) -> Report {
        let since = wanted.from.map(|from| from.minus(LASTS_MAX));
        let live: BTreeSet<SessionId> = self.parts.sessions.list().into_iter().map(|live| live.id).collect();
        let (mut sessions, mut damaged) = (Vec::new(), Vec::new());
        // Whose an erased one was cannot be told: those are found without a filter only.
        for listed in self.parts.catalog.list(&Filter { user: None, target: None, since }) {
            match listed {
                Listed::Recording(summary) => {
                    sessions.extend(Some(recorded(*summary, &live)).filter(|did| is_meant(did, wanted)));
                }
                Listed::Erased(session) => sessions.extend(Some(erased(session)).filter(|did| is_meant(did, wanted))),
                Listed::Damaged { path, why } => damaged.push(format!("{}: {why}", path.display())),
            }
        }
        let total = u64::try_from(sessions.len()).unwrap_or(u64::MAX);
        sessions.drain(..sessions.len().saturating_sub(most));
        self.add_rights(&mut sessions);
        Report::Past { sessions, total, damaged }
    }

    /// Adds what is stored of the grants and requests behind sessions.
    fn add_rights(&self, sessions: &mut [Did]) {
        let grants = self.grants_of(sessions.iter().filter_map(|did| did.grant.clone()).collect());
        let from: BTreeSet<&RequestId> = grants.values().filter_map(|grant| grant.request.as_ref()).collect();
        let behind = |request: &AccessRequest| {
            from.contains(&request.id) || request.extends.as_ref().is_some_and(|grant| grants.contains_key(grant))
        };
        let mut stored: BTreeMap<RequestId, AccessRequest> = BTreeMap::new();
        let mut longer: BTreeMap<GrantId, Vec<AccessRequest>> = BTreeMap::new();
        for request in self.parts.ledger.requests_where(behind) {
            match &request.extends {
                // One that was not granted has made nothing last longer.
                Some(grant) if request.stored.word() == "granted" => {
                    longer.entry(grant.clone()).or_default().push(request);
                }
                Some(_) => {}
                None => drop(stored.insert(request.id.clone(), request)),
            }
        }
        for did in sessions {
            let Some(grant) = did.grant.as_ref().and_then(|grant| grants.get(grant)) else { continue };
            did.granted_by = Some(grant.created_by.clone());
            did.requests = requests_of(grant, &stored, longer.get(&grant.id));
        }
    }
}

fn requests_of(
    grant: &Grant,
    stored: &BTreeMap<RequestId, AccessRequest>,
    longer: Option<&Vec<AccessRequest>>,
) -> Vec<DidRequest> {
    let first = grant.request.as_ref().map(|id| match stored.get(id) {
        Some(request) => row(request),
        None => DidRequest {
            request: id.clone(),
            stored: false,
            extends: false,
            ticket: None,
            reason: None,
            approvals: Vec::new(),
        },
    });
    first.into_iter().chain(longer.into_iter().flatten().map(row)).collect()
}

fn row(request: &AccessRequest) -> DidRequest {
    let yes = request.reviews.iter().filter(|review| review.verdict == Verdict::Approve);
    DidRequest {
        request: request.id.clone(),
        stored: true,
        extends: request.extends.is_some(),
        ticket: request.ticket.clone(),
        reason: Some(request.reason.clone()),
        approvals: yes
            .map(|review| DidApproval { by: review.by.to_string(), at: review.at, note: review.note.clone() })
            .collect(),
    }
}

fn recorded(summary: Summary, live: &BTreeSet<SessionId>) -> Did {
    let end = match summary.end {
        End::Closed { reason } => reason,
        End::Interrupted => "interrupted".to_owned(),
        End::Open if live.contains(&summary.session) => "live".to_owned(),
        End::Open => "open".to_owned(),
    };
    Did {
        session: summary.session,
        erased: false,
        user: Some(summary.user),
        destination: Some(summary.destination),
        started: Some(summary.started),
        ended: summary.duration.map(|duration| summary.started.plus(duration)),
        end: Some(end),
        channels: summary.channels.iter().filter_map(|channel| channel.class).collect(),
        source: Some(summary.source),
        rule: Some(summary.rule),
        grant: summary.grant,
        granted_by: None,
        reason: summary.reason,
        requests: Vec::new(),
    }
}

fn erased(session: SessionId) -> Did {
    Did {
        started: session.made(),
        session,
        erased: true,
        user: None,
        destination: None,
        ended: None,
        end: None,
        channels: BTreeSet::new(),
        source: None,
        rule: None,
        grant: None,
        granted_by: None,
        reason: None,
        requests: Vec::new(),
    }
}

/// Whether a session is meant; of one that was erased nobody can tell that it is not.
fn is_meant(did: &Did, wanted: &Wanted) -> bool {
    let Wanted { target, user, from, to } = wanted;
    let over = match (did.ended, did.erased) {
        (Some(ended), _) => Some(ended),
        // When it ended is not known any more.
        (None, true) => did.started,
        (None, false) => None,
    };
    did.destination.as_ref().is_none_or(|there| there.target == *target)
        && (user.is_none() || did.user.is_none() || did.user == *user)
        && from.is_none_or(|from| over.is_none_or(|over| from <= over))
        && to.is_none_or(|to| did.started.is_none_or(|started| started < to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(&format!("2026-11-{text}:00Z")).unwrap()
    }

    fn did(user: &str, there: &str, started: &str, ended: Option<&str>) -> Did {
        Did {
            erased: false,
            user: UserName::parse(user).ok(),
            destination: Destination::parse(there).ok(),
            started: Some(time(started)),
            ended: ended.map(time),
            ..erased(SessionId::from_parts(time(started), 1))
        }
    }

    #[test]
    fn sessions_are_meant_that_were_live_at_some_moment_of_the_time() {
        let target = TargetName::parse("db1").unwrap();
        let wanted = |from: Option<&str>, to: Option<&str>| Wanted {
            target: target.clone(),
            user: UserName::parse("alice").ok(),
            from: from.map(time),
            to: to.map(time),
        };
        let one = did("alice", "root@db1", "21T10:00", Some("21T12:00"));
        for (from, to, meant) in [
            (None, None, true),
            (Some("21T12:00"), None, true),
            (Some("21T12:01"), None, false),
            (None, Some("21T10:01"), true),
            (None, Some("21T10:00"), false),
            (Some("21T11:00"), Some("21T11:01"), true),
        ] {
            assert_eq!(is_meant(&one, &wanted(from, to)), meant, "{from:?} {to:?}");
        }
        let late = wanted(Some("22T00:00"), None);
        // It goes on.
        assert!(is_meant(&did("alice", "root@db1", "21T10:00", None), &late));
        assert!(!is_meant(&did("bob", "root@db1", "21T10:00", None), &late));
        assert!(!is_meant(&did("alice", "root@db2", "21T10:00", None), &late));
        // Of one that was erased only its beginning is known.
        let gone = |day: &str| erased(SessionId::from_parts(time(day), 1));
        assert!(is_meant(&gone("22T00:00"), &late) && !is_meant(&gone("21T23:59"), &late));
    }
}
