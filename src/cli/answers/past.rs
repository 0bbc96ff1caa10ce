//! What only the audit log knows of past sessions: requests that are stored no more, and what is left of recordings that
//! were erased.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::CliError;
use super::super::audit::{Page, Reading};
use super::super::desk::{Desk, unexpected};
use super::super::output::waiting;
use crate::admin::answers::{Did, DidApproval, DidRequest};
use crate::admin::api::{AuditFilter, Reply, Request};
use crate::audit::{AuditEvent, AuditRecord};
use crate::grant::Grant;
use crate::model::{GrantId, RequestId, SessionId, TargetName, Timestamp, UserName};

/// A session of `who-did`.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) did: Did,
    /// How its recording was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) erasure: Option<Erasure>,
}

/// How a recording was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Erasure {
    /// When; none if no event tells.
    at: Option<Timestamp>,
    /// Who did it.
    by: Option<String>,
    /// Who else wanted it.
    approver: Option<String>,
    /// Why.
    reason: Option<String>,
}

impl Erasure {
    const UNTOLD: Self = Self { at: None, by: None, approver: None, reason: None };

    pub(super) fn text(&self) -> String {
        match (&self.by, &self.reason) {
            (Some(by), Some(reason)) => format!("<erased by {by}: {reason}>"),
            _ => "<erased>".to_owned(),
        }
    }
}

/// Adds what the log knows, if anything is missing.
pub(super) fn with_the_log(
    desk: &Desk,
    sessions: &mut Vec<Did>,
    target: &TargetName,
    user: Option<&UserName>,
) -> Result<Vec<Row>, CliError> {
    let erasures = erased_rights(desk, sessions)?;
    sessions.retain(|did| {
        did.destination.as_ref().is_none_or(|there| there.target == *target)
            && (user.is_none() || did.user.is_none() || did.user.as_ref() == user)
    });
    forgotten_requests(desk, sessions)?;
    let row = |did: Did| {
        let erasure = did.erased.then(|| erasures.get(&did.session).cloned().unwrap_or(Erasure::UNTOLD));
        Row { did, erasure }
    };
    Ok(sessions.drain(..).map(row).collect())
}

/// All events of a type, looked at one after the other.
fn each_event(desk: &Desk, kind: &str, mut look: impl FnMut(AuditRecord)) -> Result<(), CliError> {
    let ask = |request| desk.ask(request);
    let filter = AuditFilter { kind: Some(kind.to_owned()), ..AuditFilter::default() };
    let mut reading = Reading { ask: &ask, filter, next: 0, pass: None };
    waiting("reading the audit log", || {
        loop {
            let Page { events, more } = reading.page()?;
            events.into_iter().for_each(&mut look);
            if !more {
                return Ok(());
            }
        }
    })
}

/// Gives sessions whose recordings were erased what their grants still tell, and says how they were erased.
fn erased_rights(desk: &Desk, sessions: &mut [Did]) -> Result<BTreeMap<SessionId, Erasure>, CliError> {
    let erased: BTreeSet<SessionId> = sessions.iter().filter(|did| did.erased).map(|did| did.session.clone()).collect();
    let mut erasures = BTreeMap::new();
    if erased.is_empty() {
        return Ok(erasures);
    }
    each_event(desk, "erase", |record| {
        if let Some(AuditEvent::Erase { session, by, approver, reason }) = record.event() {
            let (at, by, approver, reason) = (Some(record.at), Some(by), Some(approver), Some(reason));
            erasures.insert(session, Erasure { at, by, approver, reason });
        }
    })?;
    // Which grant a session began on stands in clear.
    let mut grants: BTreeMap<SessionId, GrantId> = BTreeMap::new();
    each_event(desk, "session.start", |record| {
        let session = record.text("session").and_then(|session| SessionId::parse(session).ok());
        let grant = record.text("grant").and_then(|grant| GrantId::parse(grant).ok());
        if let (Some(session), Some(grant)) = (session.filter(|session| erased.contains(session)), grant) {
            grants.insert(session, grant);
        }
    })?;
    if grants.is_empty() {
        return Ok(erasures);
    }
    let Reply::Grants { grants: known } = desk.ask(Request::GrantList { all: true })? else { return Err(unexpected()) };
    let known: BTreeMap<GrantId, Grant> = known.into_iter().map(|row| (row.grant.id.clone(), row.grant)).collect();
    for did in sessions.iter_mut().filter(|did| did.erased) {
        did.grant = grants.get(&did.session).cloned();
        let Some(grant) = did.grant.as_ref().and_then(|grant| known.get(grant)) else { continue };
        did.user = Some(grant.user.clone());
        did.destination = Some(grant.destination.clone());
        did.granted_by = Some(grant.created_by.clone());
        did.reason = Some(grant.reason.clone());
        did.requests = grant.request.iter().map(untold).collect();
    }
    Ok(erasures)
}

fn untold(request: &RequestId) -> DidRequest {
    DidRequest {
        request: request.clone(),
        stored: false,
        extends: false,
        ticket: None,
        reason: None,
        approvals: Vec::new(),
    }
}

/// Tells of requests that are not stored any more.
fn forgotten_requests(desk: &Desk, sessions: &mut [Did]) -> Result<(), CliError> {
    let missing = sessions.iter().flat_map(|did| &did.requests).any(|request| !request.stored);
    if !missing {
        return Ok(());
    }
    let mut told = Told::default();
    each_event(desk, "request", |record| told.add(&record))?;
    for did in sessions {
        for request in did.requests.iter_mut().filter(|request| !request.stored) {
            if let Some(known) = told.requests.get(&request.request) {
                *request = known.clone();
            }
        }
        let extensions = did.grant.as_ref().and_then(|grant| told.extensions.get(grant));
        for id in extensions.into_iter().flatten().filter(|id| told.granted.contains(id)) {
            let known = told.requests.get(id).filter(|_| did.requests.iter().all(|request| request.request != *id));
            did.requests.extend(known.cloned());
        }
    }
    Ok(())
}

/// What the log tells of requests.
#[derive(Debug, Default)]
struct Told {
    requests: BTreeMap<RequestId, DidRequest>,
    extensions: BTreeMap<GrantId, Vec<RequestId>>,
    granted: BTreeSet<RequestId>,
}

impl Told {
    fn add(&mut self, record: &AuditRecord) {
        let Some(event) = record.event() else { return };
        if let AuditEvent::RequestCreate { request, reason, ticket, extends, .. } = &event {
            let (reason, extending) = (Some(reason.clone()), extends.is_some());
            let told = DidRequest { reason, ticket: ticket.clone(), extends: extending, ..untold(request) };
            self.requests.insert(request.clone(), told);
            if let Some(grant) = extends {
                self.extensions.entry(grant.clone()).or_default().push(request.clone());
            }
        }
        if let AuditEvent::RequestStep { request, outcome, verb, note, by, .. } = event {
            if outcome == "granted" {
                self.granted.insert(request.clone());
            }
            if let Some(told) = self.requests.get_mut(&request).filter(|_| verb == "approve") {
                told.approvals.push(DidApproval { by, at: record.at, note });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Destination, RuleId};

    fn request(text: &str) -> RequestId {
        RequestId::parse(text).unwrap()
    }

    fn record(seq: u64, event: &AuditEvent) -> AuditRecord {
        let mut fields = serde_json::to_value(event).unwrap().as_object().unwrap().clone();
        let kind = fields.remove("type").unwrap().as_str().unwrap().to_owned();
        AuditRecord { seq, at: Timestamp::from_millis(1000), kind, fields }
    }

    fn created(id: &str, extends: Option<&str>) -> AuditEvent {
        AuditEvent::RequestCreate {
            request: request(id),
            step: 1,
            user: UserName::parse("alice").unwrap(),
            destination: Destination::parse("root@db1").unwrap(),
            channels: Vec::new(),
            rule: RuleId::parse("dba").unwrap(),
            policy: String::new(),
            extends: extends.map(|grant| GrantId::parse(grant).unwrap()),
            seconds: 60,
            from: None,
            reason: "vacuum is stuck".to_owned(),
            ticket: Some("CHG-7".to_owned()),
            expires: Timestamp::from_millis(9000),
            quorum: "1 of leads".to_owned(),
            preapproved: false,
            ticket_said: None,
            by: "alice".to_owned(),
        }
    }

    fn step(id: &str, verb: &str, outcome: &str) -> AuditEvent {
        AuditEvent::RequestStep {
            request: request(id),
            step: 2,
            outcome: outcome.to_owned(),
            user: UserName::parse("alice").unwrap(),
            destination: Destination::parse("root@db1").unwrap(),
            verb: verb.to_owned(),
            seconds: None,
            channels: None,
            mfa_seconds: None,
            note: "go ahead".to_owned(),
            by: "bob by key".to_owned(),
        }
    }

    #[test]
    fn a_request_that_is_stored_no_more_is_told_by_the_log() {
        let mut told = Told::default();
        for (seq, event) in (0..).zip([
            created("r-1", None),
            step("r-1", "approve", "granted"),
            created("r-2", Some("g-1")),
            step("r-2", "deny", "denied"),
            created("r-3", Some("g-1")),
            step("r-3", "approve", "granted"),
        ]) {
            told.add(&record(seq, &event));
        }
        let first = &told.requests[&request("r-1")];
        assert_eq!((first.ticket.as_deref(), first.reason.as_deref()), (Some("CHG-7"), Some("vacuum is stuck")));
        assert_eq!((first.approvals[0].by.as_str(), first.extends), ("bob by key", false));
        assert!(told.requests[&request("r-2")].approvals.is_empty());
        assert_eq!(told.extensions[&GrantId::parse("g-1").unwrap()], [request("r-2"), request("r-3")]);
        assert_eq!(told.granted, BTreeSet::from([request("r-1"), request("r-3")]));
    }
}
