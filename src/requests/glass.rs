//! Break-glass: taking a grant that nobody approved, and what is owed for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use super::{
    Actor, GrantId, REASON_BYTES_MAX, RequestError, RequestId, Requests, Step, StepKind, created, new_id, of_outcome,
};
use crate::audit::{AuditEvent, BrokenGlass};
use crate::grant::{
    AccessRequest, Finding, Glass, Grant, GrantState, Outcome, Quorum, RequestState, ReviewError, Revoked,
};
use crate::ledger::{Delivery, Message};
use crate::model::{Destination, Timestamp, UserName};
use crate::policy::GrantNeed;

/// An alert that only one way could carry is no alert: that way may be what has failed.
pub(super) const WAYS_MIN: usize = 2;
/// What nobody has reviewed in time is told so often.
const REMIND_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Glasses of one human that wait for their reviews.
const UNREVIEWED_MAX: usize = 3;
/// Glasses that one human may break in one hour.
const HOURLY_MAX: usize = 5;
/// A reason that says nothing is none.
const REASON_CHARS_MIN: usize = 10;

impl Requests {
    /// Takes a grant where nobody is there to approve one. The alarm is raised first: it is waited a moment for those who
    /// take it, and queued for the others. All of it is on record when this returns.
    ///
    /// # Errors
    /// `RequestError` says what to do.
    pub fn break_glass(
        &self,
        actor: Actor<'_>,
        destination: Destination,
        span: Option<Duration>,
        reason: &str,
    ) -> Result<AccessRequest, RequestError> {
        let ids = (new_id("r-", 6, RequestId::parse)?, new_id("g-", 8, GrantId::parse)?);
        let breaking = |now| self.breaking(actor, &destination, span, reason, now, &ids);
        let mut first = {
            let _one = self.one_at_a_time();
            let now = self.clock.now();
            let first = breaking(now)?;
            self.rung(|rung| rung.begin(&first.request, now));
            Step { message: super::told::message(&first, &self.ways, now), ..first }
        };
        // Nobody else has to wait for those who do not answer.
        let rang = match (&self.alarm, &mut first.message) {
            (Some(alarm), Some(message)) => {
                for way in alarm(message) {
                    message.ways.insert(way, Delivery::Delivered { at: self.clock.now() });
                }
                true
            }
            (None, _) | (_, None) => false,
        };
        let broken = {
            let _one = self.one_at_a_time();
            // What let it be broken may have ended meanwhile, and the clock may have been set.
            let now = self.clock.now();
            breaking(now).and_then(|step| {
                let step = Step { message: first.message.clone(), ..step };
                self.commit(Step { message: super::told::again(&step, &self.ways, now), ..step })
            })
        };
        match &broken {
            Ok(request) => self.rung(|rung| rung.end(&request.id)),
            // It may be broken yet.
            Err(RequestError::Unsure) => {}
            Err(_) if !rang => self.rung(|rung| rung.end(&first.request.id)),
            Err(why) => {
                self.rung(|rung| rung.fail(&first.request.id));
                self.all_clear(&first, why);
            }
        }
        broken
    }

    /// Tells those who heard an alarm that the glass was not broken.
    fn all_clear(&self, alarm: &Step, why: &RequestError) {
        #[cfg(test)]
        if super::tests::may_crash(self).is_err() {
            return;
        }
        let Some(message) = super::told::all_clear(alarm, why, self.clock.now()) else { return };
        if self.ledger.add_message(&message).is_err()
            && let Some(raise) = &self.alarm
        {
            // A disk that takes nothing is often why: who can be told at once is.
            raise(&message);
        }
    }

    fn rung<T>(&self, look: impl FnOnce(&mut Rung) -> T) -> T {
        look(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What breaking a glass would do, if it may be broken.
    fn breaking(
        &self,
        actor: Actor<'_>,
        destination: &Destination,
        span: Option<Duration>,
        reason: &str,
        now: Timestamp,
        (request, grant): &(RequestId, GrantId),
    ) -> Result<Step, RequestError> {
        let user = self.standing(actor.asker.user)?;
        let (needing, _) = self.ledger.request_rules(&user.name, destination).map_err(|_| RequestError::NotOffered)?;
        let rule = needing.into_iter().find(|rule| rule.glass.is_some() && rule.grant.need == GrantNeed::Required);
        let rule = rule.ok_or(RequestError::NotOffered)?;
        let Some(glass) = rule.glass.clone() else { return Err(RequestError::NotOffered) };
        if !actor.asker.presence.covers(rule.key) {
            return Err(RequestError::NeedsKey(rule.key));
        }
        let overdue = |one: &AccessRequest| {
            one.person == *user.human() && one.glass.as_ref().is_some_and(|glass| glass.is_overdue(now))
        };
        if let Some(other) = self.ledger.requests_where(overdue).into_iter().next() {
            return Err(RequestError::Unreviewed(other.id));
        }
        let own = |one: &AccessRequest| one.person == *user.human();
        let misused = |one: &AccessRequest| {
            let judged = one.glass.as_ref().and_then(|glass| glass.judged.as_ref());
            own(one) && judged.is_some_and(|judged| judged.finding == Finding::Misuse)
        };
        if let Some(other) = self.ledger.requests_where(misused).into_iter().next() {
            return Err(RequestError::Misused(other.id));
        }
        // Else one glass after the other is a standing right.
        let open = |one: &AccessRequest| own(one) && one.glass.as_ref().is_some_and(|glass| glass.judged.is_none());
        let open = self.ledger.requests_where(open);
        let others = self.rung(|rung| rung.others(request, user.human(), now));
        // What came on record since is counted there.
        let others = others.into_iter().filter(|(id, _)| self.ledger.request(id).is_none());
        let others: Vec<bool> = others.map(|(_, failed)| failed).collect();
        let ringing = others.iter().filter(|failed| !**failed).count();
        if open.len().saturating_add(ringing) >= UNREVIEWED_MAX {
            return Err(match open.into_iter().next() {
                Some(other) => RequestError::Unreviewed(other.id),
                None => RequestError::TooMany("glasses that you break at once: wait"),
            });
        }
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let length = reason.chars().count();
        if reason.len() > REASON_BYTES_MAX {
            return Err(RequestError::TooLong { what: "the reason", most: REASON_BYTES_MAX });
        }
        if length < REASON_CHARS_MIN {
            return Err(RequestError::ShortReason { least: REASON_CHARS_MIN });
        }
        let span = span.unwrap_or(glass.max);
        if span > glass.max || span < Duration::from_secs(1) {
            return Err(RequestError::Span { most: glass.max });
        }
        if !can_alarm(&self.ways) {
            return Err(RequestError::NoAlert);
        }
        // Requests that wait for absent approvers do not stand in the way; that it is taken again and again does.
        let lately = |one: &AccessRequest| {
            one.person == *user.human() && one.glass.is_some() && one.asked.until(now) < super::HOUR
        };
        if self.ledger.requests_where(lately).len().saturating_add(others.len()) >= HOURLY_MAX {
            return Err(RequestError::TooMany("glasses broken by you in one hour: wait"));
        }
        let Quorum { approvers, reviewers } = self.quorum(&glass.reviewers, &user, None)?;
        let due = now.plus(glass.review);
        let owed =
            Glass { due, approvers: approvers.clone(), reviewers: reviewers.clone(), reminded_at: None, judged: None };
        let request = AccessRequest {
            id: request.clone(),
            version: 1,
            requester: user.name.clone(),
            person: user.human().clone(),
            destination: destination.clone(),
            channels: rule.channels.clone(),
            rule: rule.id.clone(),
            policy: self.ledger.policy().hash().clone(),
            extends: None,
            reason,
            ticket: None,
            ticket_said: None,
            entered: None,
            from: None,
            seconds: span.as_secs(),
            asked: now,
            pending_until: now,
            activation_seconds: None,
            sessions: None,
            bound_key: Some(actor.asker.key.to_owned()),
            preapproved: false,
            glass: Some(owed),
            why: None,
            quorum: Quorum { approvers, reviewers },
            reviews: Vec::new(),
            stored: RequestState::Pending,
        };
        let grant = request.grant(grant.clone(), now);
        let request = AccessRequest { stored: RequestState::Granted { grant: grant.id.clone() }, ..request };
        let outcome = Outcome::Begins(Box::new(grant));
        Ok(Step { request, kind: StepKind::Broken, by: actor.shown(), outcome, message: None })
    }

    /// Says whether a glass was broken for good reason.
    ///
    /// # Errors
    /// `RequestError` says why it does not count.
    pub fn judge(
        &self,
        actor: Actor<'_>,
        id: &RequestId,
        finding: Finding,
        note: &str,
    ) -> Result<AccessRequest, RequestError> {
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let request = self.ledger.request(id).ok_or(RequestError::Unknown)?;
        self.may_see(&request, &user)?;
        let glass = request.glass.as_ref().ok_or(RequestError::NoGlass)?;
        if self.is_same_human(&request.requester, &user) {
            return Err(RequestError::Review(ReviewError::Self_));
        }
        let now = self.clock.now();
        let reviewer = self.reviewer(&actor, &user, now);
        let by = (&request.requester, &request.person);
        let note = super::cut(note, super::NOTE_BYTES_MAX);
        let RequestState::Granted { grant } = &request.stored else { return Err(RequestError::NoGlass) };
        let live = |grant: &Grant| matches!(grant.state(now), GrantState::Active | GrantState::Scheduled);
        let live = self.ledger.grant(grant).filter(live).map(|grant| grant.id);
        if live.is_some() && finding == Finding::Ok {
            return Err(RequestError::NotOver);
        }
        let judged = glass.judge(by, &reviewer, finding, note, now).map_err(RequestError::Review)?;
        // What is misused ends at once; the log is owed that before it is told of the review.
        if let Some(id) = live {
            let reason = Some(format!("misuse, says {}", user.name));
            self.ledger.revoke_grant(&id, Revoked { by: actor.shown(), at: now, reason })?;
            self.settle()?;
        }
        let request = AccessRequest { glass: Some(judged), ..request.to(request.stored.clone()) };
        let outcome = Outcome::Waits;
        self.commit(Step { request, kind: StepKind::Judged, by: actor.shown(), outcome, message: None })
    }

    /// Tells what nobody has reviewed in time, each day until somebody does: those who were told, and those who could review
    /// it now.
    pub(super) fn remind(&self) -> Result<(), RequestError> {
        let now = self.clock.now();
        let again = |glass: &Glass| glass.reminded_at.is_none_or(|at| at.until(now) >= REMIND_EVERY);
        let due = |one: &AccessRequest| one.glass.as_ref().is_some_and(|glass| glass.is_overdue(now) && again(glass));
        let mut failed = None;
        for request in self.ledger.requests_where(due) {
            let Some(glass) = request.glass.clone() else { continue };
            let asker = self.ledger.user(&request.requester);
            let now_too = asker.map(|asker| self.ledger.reviewers(&glass.approvers, &asker, now)).unwrap_or_default();
            let glass = Some(Glass { reminded_at: Some(now), ..glass });
            let request = AccessRequest { glass, ..request.to(request.stored.clone()) };
            let by = String::from("the bastion");
            let step = Step { request, kind: StepKind::Overdue, by, outcome: Outcome::Waits, message: None };
            let mut message = super::told::message(&step, &self.ways, now);
            if let Some(message) = &mut message {
                message.to.extend(now_too);
            }
            failed = self.put(&Step { message, ..step }).err().or(failed);
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Glasses whose alarm is raised and that are not on record, and those of the last hour that came to nothing after it: an
/// alarm is no toy. A restart forgets them.
#[derive(Debug, Default)]
pub(super) struct Rung(BTreeMap<RequestId, Ring>);

#[derive(Debug)]
struct Ring {
    person: UserName,
    at: Timestamp,
    failed: bool,
}

impl Rung {
    fn begin(&mut self, request: &AccessRequest, at: Timestamp) {
        self.0.insert(request.id.clone(), Ring { person: request.person.clone(), at, failed: false });
    }

    fn end(&mut self, id: &RequestId) {
        self.0.remove(id);
    }

    fn fail(&mut self, id: &RequestId) {
        self.0.entry(id.clone()).and_modify(|ring| ring.failed = true);
    }

    /// Those of this human in the last hour but this one, and whether they failed.
    fn others(&mut self, own: &RequestId, person: &UserName, now: Timestamp) -> Vec<(RequestId, bool)> {
        self.0.retain(|_, ring| ring.at.until(now) < super::HOUR);
        let others = self.0.iter().filter(|(id, ring)| *id != own && ring.person == *person);
        others.map(|(id, ring)| (id.clone(), ring.failed)).collect()
    }
}

/// Whether these are enough ways to tell that a glass was broken: two that do not fail together.
pub fn can_alarm(ways: &[String]) -> bool {
    independent(ways) >= WAYS_MIN
}

/// How many of these ways do not fail together: what goes to one host is one way, and so is mail.
pub(super) fn independent<'w>(ways: impl IntoIterator<Item = &'w String>) -> usize {
    ways.into_iter().map(|way| host_of(way)).collect::<BTreeSet<_>>().len()
}

/// Of a webhook (`webhook HOST:PORT TAG`) its host; another way as it is.
fn host_of(way: &str) -> String {
    let Some(place) = way.strip_prefix("webhook ").and_then(|rest| rest.split(' ').next()) else {
        return way.to_owned();
    };
    let port = |c: char| c.is_ascii_digit();
    let host = place.trim_end_matches(port).strip_suffix(':').unwrap_or(place).to_ascii_lowercase();
    match host.as_str() {
        "localhost" | "[::1]" => String::from("webhook this machine"),
        own if own.starts_with("127.") => String::from("webhook this machine"),
        other => format!("webhook {other}"),
    }
}

/// Whether it breaks a glass, and too few would hear of it.
pub(super) fn is_untold(step: &Step) -> bool {
    let ways = step.message.as_ref().map_or(0, |message| independent(message.ways.keys()));
    step.kind == StepKind::Broken && ways < WAYS_MIN
}

/// The grant of a glass whose breaking a crash interrupted, where its alert cannot be queued any more: it is over before it
/// opens anything.
pub(super) fn taken_back(outcome: Outcome, now: Timestamp) -> Outcome {
    match outcome {
        Outcome::Begins(grant) => {
            let reason = Some(String::from("its alert could not be queued by two ways"));
            let revoked = Some(Revoked { by: String::from("the bastion"), at: now, reason });
            Outcome::Begins(Box::new(Grant { revoked, ..*grant }))
        }
        Outcome::Waits | Outcome::Lengthens { .. } => outcome,
    }
}

/// What comes into the log of a step that is about a broken glass.
pub(super) fn events(step: &Step) -> Vec<AuditEvent> {
    let Step { request, kind, by, outcome, message } = step;
    let Some(glass) = &request.glass else { return Vec::new() };
    let (id, user) = (request.id.clone(), request.requester.clone());
    let (version, stands) = (request.version, request.stored.word().to_owned());
    match kind {
        StepKind::Broken => {
            let open = AuditEvent::BreakglassOpen(BrokenGlass {
                request: id,
                user,
                due: glass.due,
                ways: message.iter().flat_map(|message| message.ways.keys().cloned()).collect(),
                delivered: message.iter().flat_map(taken_by).collect(),
                told: glass.reviewers.iter().map(ToString::to_string).collect(),
            });
            [created(request, by), open].into_iter().chain(of_outcome(request, outcome)).collect()
        }
        StepKind::Judged => {
            let Some(judged) = &glass.judged else { return Vec::new() };
            vec![AuditEvent::BreakglassReview {
                request: id,
                step: version,
                outcome: stands,
                user,
                finding: judged.finding.to_string(),
                note: judged.note.clone(),
                by: by.clone(),
            }]
        }
        StepKind::Overdue => {
            vec![AuditEvent::BreakglassOverdue { request: id, step: version, outcome: stands, user }]
        }
        StepKind::Asked | StepKind::Reviewed | StepKind::Begun | StepKind::Closed => Vec::new(),
    }
}

/// By which ways a message was taken already.
fn taken_by(message: &Message) -> Vec<String> {
    let taken = message.ways.iter().filter(|(_, delivery)| matches!(delivery, Delivery::Delivered { .. }));
    taken.map(|(way, _)| way.clone()).collect()
}
