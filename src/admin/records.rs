//! Reading the audit log: events with their bodies opened, the key, checkpoints and proofs.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};

use super::api::{AuditFilter, Reply};
use super::{Admin, AdminError, Caller, done};
use crate::audit::{AuditError, AuditRecord, Contest, EVENT_TYPES};
use crate::model::SessionId;

/// So many events in one answer at most.
const PAGE_EVENTS_MAX: usize = 500;
/// So many leaves are looked at for one answer at most, so that it comes in time whatever the filter.
const PAGE_LEAVES_MAX: u64 = 20_000;
/// Readings that go on at once.
const PASSES_MAX: usize = 64;
/// A reading that pauses for longer is another one.
const PASS_TIME: Duration = Duration::from_secs(60);

impl Admin {
    /// A page of events. What is on record by now is published first, so that the page has it.
    pub(super) fn audit_read(&self, filter: &AuditFilter, from: u64, pass: String) -> Result<Reply, AdminError> {
        let audit = &self.parts.audit;
        let behind = audit.publish().err().map(|failure| failure.to_string());
        let size = audit.size();
        let mut events = Vec::new();
        let mut next = from.min(size);
        for record in audit.records(next) {
            let record = record.map_err(AdminError::Audit)?;
            next = record.seq.saturating_add(1);
            if matches(filter, &record) {
                events.push(record);
            }
            if events.len() >= PAGE_EVENTS_MAX || next.saturating_sub(from) >= PAGE_LEAVES_MAX {
                break;
            }
        }
        Ok(Reply::Events { events, next, more: next < size, pass, behind })
    }

    pub(super) fn audit_key(&self) -> Reply {
        Reply::Text { text: format!("{}\n", self.parts.audit.key()) }
    }

    pub(super) fn audit_checkpoint(&self) -> Result<Reply, AdminError> {
        self.parts.audit.publish().map_err(AdminError::Audit)?;
        let note = self.parts.audit.checkpoint().map_err(AdminError::Audit)?;
        // The call itself is on record and published by now, so that there is one.
        Ok(Reply::Text { text: note.map(|note| note.to_string()).unwrap_or_default() })
    }

    /// The call is on record before this, whatever comes of it.
    pub(super) fn history_accept(&self, caller: Caller, reason: &str) -> Result<Reply, AdminError> {
        let accepted = self.parts.audit.accept_history(&caller.to_string(), reason);
        let accepted = accepted.map_err(|error| AdminError::Audit(AuditError::Db(error)))?;
        if accepted.is_empty() {
            return Ok(done("no witness contests the log's history", Vec::new()));
        }
        // It goes by the table; the server looks each half second. Without one it is found at the next start.
        let of = |contest: &Contest| format!("accepted: {}: {}", contest.witness, contest.what);
        let mut lines: Vec<String> = accepted.iter().map(of).collect();
        lines.push(String::from(
            "sessions may begin again. These witnesses cosign no more: they know another history. To have them again, begin \
             a new log (`doorward state import --new-log`)",
        ));
        Ok(Reply::Done { lines })
    }

    pub(super) fn audit_prove(&self, leaf: u64) -> Result<Reply, AdminError> {
        self.parts.audit.publish().map_err(AdminError::Audit)?;
        let proof = self.parts.audit.prove(leaf).map_err(AdminError::Audit)?;
        Ok(Reply::Text { text: proof.to_string() })
    }
}

/// Refuses a type that no event has: an empty list would say that nothing of the kind happened.
pub(super) fn check_type(filter: &AuditFilter) -> Result<(), AdminError> {
    match &filter.kind {
        Some(wanted) if !EVENT_TYPES.iter().any(|kind| is_of(kind, wanted)) => Err(AdminError::Invalid {
            why: format!("no event has the type `{wanted}`; there are {}", EVENT_TYPES.join(", ")),
            hint: "give one of them, or the part before its dot",
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether an event is meant.
fn matches(filter: &AuditFilter, record: &AuditRecord) -> bool {
    let AuditFilter { since, kind, session, user } = filter;
    since.is_none_or(|since| record.at >= since)
        && kind.as_ref().is_none_or(|kind| is_of(&record.kind, kind))
        && session.as_ref().is_none_or(|session| names(record, session))
        && user.as_ref().is_none_or(|user| record.text("user") == Some(user.as_str()))
}

/// `session.start` is of itself and of `session`.
fn is_of(kind: &str, wanted: &str) -> bool {
    kind.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether an event is about a session, or one of those that it is about.
fn names(record: &AuditRecord, session: &SessionId) -> bool {
    let session = session.as_str();
    let listed = |name: &str| record.fields.get(name).and_then(|list| list.as_array()).into_iter().flatten();
    record.text("session") == Some(session)
        || listed("sessions").any(|one| one == session)
        || listed("heads").any(|one| one.get("session").is_some_and(|one| one == session))
}

/// Readings of the audit log whose beginning is on record.
#[derive(Debug, Default)]
pub(super) struct Passes(Mutex<VecDeque<Pass>>);

#[derive(Debug)]
struct Pass {
    token: String,
    uid: u32,
    filter: AuditFilter,
    used: Instant,
}

impl Passes {
    /// A pass for a reading that is on record.
    pub(super) fn give(&self, caller: Caller, filter: AuditFilter, now: Instant) -> Result<String, AdminError> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| AdminError::NoRandomness)?;
        let token = format!("{:032x}", u128::from_be_bytes(random));
        let mut passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.len() >= PASSES_MAX {
            passes.pop_front();
        }
        passes.push_back(Pass { token: token.clone(), uid: caller.uid, filter, used: now });
        Ok(token)
    }

    /// Whether `token` is of this caller and for this reading; it holds for a while from now on.
    pub(super) fn holds(&self, token: &str, caller: Caller, filter: &AuditFilter, now: Instant) -> bool {
        let mut passes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.retain(|pass| now.saturating_duration_since(pass.used) < PASS_TIME);
        let found =
            passes.iter_mut().find(|pass| pass.token == token && pass.uid == caller.uid && pass.filter == *filter);
        found.map(|pass| pass.used = now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Via;
    use crate::clock::Clock;
    use crate::model::Timestamp;

    #[test]
    fn a_type_is_meant_by_its_name_or_its_first_part() {
        assert!(is_of("session.start", "session.start") && is_of("session.start", "session"));
        assert!(!is_of("session.start", "sess") && !is_of("session", "session.start") && !is_of("erase", "er"));
    }

    #[test]
    fn a_type_that_no_event_has_is_refused_with_those_that_there_are() {
        let check = |kind: &str| check_type(&AuditFilter { kind: Some(kind.to_owned()), ..AuditFilter::default() });
        for kind in ["gc", "session", "session.start", "node"] {
            check(kind).unwrap();
        }
        check_type(&AuditFilter::default()).unwrap();
        for kind in ["nonsense", "", "session.", "session.start.x"] {
            let told = check(kind).unwrap_err().to_string();
            assert!(told.contains("session.start, ") && told.contains("gc, "), "{told}");
        }
    }

    #[test]
    fn a_session_is_found_in_lists_too() {
        let session = SessionId::from_parts(Timestamp::from_millis(5), 7);
        let record = |fields: serde_json::Value| AuditRecord {
            seq: 0,
            at: Timestamp::from_millis(0),
            kind: "x".to_owned(),
            fields: fields.as_object().unwrap().clone(),
        };
        let id = session.as_str();
        assert!(names(&record(serde_json::json!({ "session": id })), &session));
        assert!(names(&record(serde_json::json!({ "sessions": ["x", id] })), &session));
        assert!(names(&record(serde_json::json!({ "heads": [{ "session": id, "head": "00" }] })), &session));
        assert!(!names(&record(serde_json::json!({ "detail": id, "session": "x" })), &session));
    }

    #[test]
    fn a_pass_is_for_one_caller_and_one_reading_and_for_a_while() {
        let (passes, start) = (Passes::default(), Clock::system().instant());
        let (ana, bob) = (Caller { uid: 1, via: Via::Socket }, Caller { uid: 2, via: Via::Socket });
        let (all, some) = (AuditFilter::default(), AuditFilter { kind: Some("gc".into()), ..AuditFilter::default() });
        let at = |seconds| start + Duration::from_secs(seconds);
        let token = passes.give(ana, all.clone(), start).unwrap();
        assert!(passes.holds(&token, ana, &all, at(50)) && passes.holds(&token, ana, &all, at(100)));
        assert!(!passes.holds(&token, bob, &all, at(100)) && !passes.holds(&token, ana, &some, at(100)));
        assert!(!passes.holds("", ana, &all, at(100)) && !passes.holds(&token, ana, &all, at(160)));
        let first = passes.give(ana, all.clone(), at(200)).unwrap();
        (0..PASSES_MAX).for_each(|_| assert!(passes.give(bob, all.clone(), at(200)).is_ok()));
        assert!(!passes.holds(&first, ana, &all, at(200)));
    }
}
