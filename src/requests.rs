//! Access requests from asking to the grant: judged by `grant`, on record in `audit`, kept by `ledger`.
//!
//! One change at a time. What gives a right is in the log before it takes effect; a crash in between is made good by the
//! next start, which finishes the step (`ledger::Step`).
//!
//! Everything here blocks on the disk.

mod asking;
mod begun;
mod command;
mod error;
mod given;
mod glass;
mod standing;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::audit::{Audit, AuditEvent, KeptClock};
use crate::clock::Clock;
use crate::grant::{
    AccessRequest, Asker, Grant, GrantState, Opinion, Outcome, RequestState, ReviewError, Reviewer, Revoked, Standing,
    TicketSaid, Verdict,
};
use crate::ledger::{Ledger, LedgerError, Message, Step, StepKind, User};
use crate::model::{ChannelClass, Destination, GrantId, RequestId, Timestamp, UserName};
use crate::policy::{Approvers, AuditRight, PolicyHash};
pub use command::{CommandWish, HeldCommand, bound_to, is_decision, new_decision};
pub use error::RequestError;
pub use glass::can_alarm;
pub use told::said;

/// Requests of one user that wait for a decision.
const OPEN_MAX: usize = 10;
/// Requests of one user in one hour: approvers are few.
const HOURLY_MAX: usize = 30;
/// Requests of everybody that wait.
const ALL_OPEN_MAX: usize = 10_000;
/// Who may review one request; a larger group is no group of approvers.
const REVIEWERS_MAX: usize = 60;
/// Bytes of a reason, a ticket, a note: with all reviews a request has room in one value of the store.
const REASON_BYTES_MAX: usize = 400;
const TICKET_BYTES_MAX: usize = 64;
const NOTE_BYTES_MAX: usize = 160;
const HOUR: Duration = Duration::from_secs(3600);
/// Requests that were decided are listed for so long.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// A later begin is a mistake.
const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Where requests are handed in and decided.
pub struct Requests {
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
    clock: Clock,
    /// By which ways people are told.
    ways: Vec<String>,
    /// By which ways alerts about commands go.
    sinks: Vec<String>,
    /// Commands that wait for a yes. Held for moments only: whoever waits for one looks here.
    commands: Mutex<command::Waiting>,
    /// Raises the alarm, where there is a server.
    alarm: Option<Alarm>,
    /// Asked whether a ticket counts, where that is configured.
    tickets: Option<TicketCheck>,
    /// How many tickets are being looked up.
    asking: AtomicUsize,
    /// The policy under which waiting requests were looked at last.
    looked_at: Mutex<Option<PolicyHash>>,
    /// Glasses that are being broken, or were not.
    rung: Mutex<glass::Rung>,
    /// INVARIANT: held from the reading that a change rests on until it has taken effect.
    changing: Mutex<()>,
    /// For tests: after so many writes the process is gone.
    #[cfg(test)]
    crash_after: AtomicUsize,
}

/// Says that a ticket counts for this user at this target, and who said so; or why not. It may take seconds.
pub type TicketCheck = Box<dyn Fn(&str, &UserName, &Destination) -> Result<TicketSaid, String> + Send + Sync>;

/// Tries to tell a message at once, by all of its ways; says by which it was taken. It may take seconds.
pub type Alarm = Box<dyn Fn(&Message) -> BTreeSet<String> + Send + Sync>;

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where to.
    pub destination: Destination,
    /// For how long; `None`: as long as the rule lets.
    pub span: Option<Duration>,
    /// From when on; `None`: from the approval on.
    pub from: Option<Timestamp>,
    /// What shall be opened; `None`: all that the rule opens.
    pub channels: Option<BTreeSet<ChannelClass>>,
    /// What it is for.
    pub reason: String,
    /// The ticket.
    pub ticket: Option<String>,
}

/// Who does something, as it stands on record.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// The login.
    pub asker: Asker<'a>,
    /// Where they connect from.
    pub source: &'a str,
}

impl Actor<'_> {
    fn shown(&self) -> String {
        let Self { asker: Asker { user, key, .. }, source } = self;
        format!("{user} by {key} from {source}")
    }
}

impl Requests {
    /// Takes up what a crash interrupted. People are told by these `ways`.
    ///
    /// # Errors
    /// If a step cannot be finished: nothing that rests on requests would be sure.
    pub fn open(ledger: Arc<Ledger>, audit: Arc<Audit>, clock: Clock, ways: Vec<String>) -> Result<Self, RequestError> {
        let requests = Self {
            ledger,
            audit,
            clock,
            ways,
            sinks: Vec::new(),
            commands: Mutex::default(),
            alarm: None,
            tickets: None,
            asking: AtomicUsize::new(0),
            looked_at: Mutex::new(None),
            rung: Mutex::default(),
            changing: Mutex::new(()),
            #[cfg(test)]
            crash_after: usize::MAX.into(),
        };
        requests.finish_steps()?;
        requests.settle_beginnings();
        // A full disk must not keep the server from starting: what is owed stays owed, and what is to be given waits.
        match requests.finish_given().and_then(|()| requests.settle()) {
            Ok(()) | Err(RequestError::NotRecorded(_) | RequestError::DoneNotRecorded(_)) => Ok(requests),
            Err(failure) => Err(failure),
        }
    }

    /// With somebody who says whether tickets count.
    #[must_use]
    pub fn checked_by(mut self, tickets: Option<TicketCheck>) -> Self {
        self.tickets = tickets;
        self
    }

    /// With somebody who raises the alarm before a glass is broken.
    #[must_use]
    pub fn alarmed_by(mut self, alarm: Alarm) -> Self {
        self.alarm = Some(alarm);
        self
    }

    pub(crate) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Deciding.

    /// Approves or denies a request. Says how the request stands after it.
    ///
    /// # Errors
    /// `RequestError` says why it does not count.
    pub fn review(&self, actor: Actor<'_>, id: &RequestId, opinion: Opinion) -> Result<AccessRequest, RequestError> {
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let now = self.clock.now();
        let request = self.ledger.request(id).ok_or(RequestError::Unknown)?;
        self.may_see(&request, &user)?;
        let opinion = Opinion { note: cut(&opinion.note, NOTE_BYTES_MAX), ..opinion };
        let reviewer = self.reviewer(&actor, &user, now);
        // As it is known now: that two names are one human may have come out since it was asked.
        if self.is_same_human(&request.requester, &user) {
            return Err(RequestError::Review(ReviewError::Self_));
        }
        if request.entered.as_ref().is_some_and(|entered| self.is_same_human(&entered.user, &user)) {
            return Err(RequestError::Review(ReviewError::Entered));
        }
        let verdict = opinion.verdict;
        if request.extends.is_some() && opinion.channels.is_some() {
            return Err(RequestError::OnlyTime);
        }
        let reviewed = request.review(&reviewer, opinion, now).map_err(RequestError::Review)?;
        let step =
            |request, outcome| Step { request, kind: StepKind::Reviewed, by: actor.shown(), outcome, message: None };
        if verdict == Verdict::Approve {
            if let Some(why) = self.overtaken(&request, now) {
                self.close(&request, RequestState::Superseded, String::from("the bastion"), why)?;
                return Err(RequestError::Overtaken(why));
            }
            let stands = |approver: &UserName| self.stands(approver);
            if reviewed.is_approved(stands) {
                let (approved, outcome) = reviewed.approved(new_id("g-", 8, GrantId::parse)?, now);
                return self.commit(step(approved, outcome));
            }
        }
        self.commit(step(reviewed, Outcome::Waits))
    }

    /// Whether the user behind this name is the same human.
    fn is_same_human(&self, name: &UserName, user: &User) -> bool {
        *name == user.name || self.ledger.user(name).is_some_and(|other| other.human() == user.human())
    }

    /// A user as they are now, if they may still say something.
    fn stands(&self, user: &UserName) -> Option<Standing> {
        let user = self.ledger.user(user).filter(|user| !self.ledger.is_barred(user, self.clock.now()))?;
        Some(Standing { person: user.human().clone(), groups: user.groups })
    }

    /// Who has a say, as they have logged in.
    fn reviewer<'a>(&self, actor: &'a Actor<'_>, user: &'a User, now: Timestamp) -> Reviewer<'a> {
        Reviewer {
            user: &user.name,
            person: user.human(),
            groups: &user.groups,
            presence: actor.asker.presence,
            key: actor.asker.key,
            source: actor.source,
            mfa: self.ledger.mfa_age(actor.asker, now),
        }
    }

    /// Why what was asked cannot be granted any more, if it cannot.
    fn overtaken(&self, request: &AccessRequest, now: Timestamp) -> Option<&'static str> {
        let requester = self.ledger.user(&request.requester);
        if requester.is_none_or(|user| user.is_suspended(now)) {
            return Some("its requester is suspended or gone");
        }
        let Some(rule) = self.rule_now(request) else { return Some("no rule lets it be asked any more") };
        let Some(wanted) = &rule.grant.request else { return Some("no rule lets it be asked any more") };
        let (span, channels) = request.narrowed();
        let most = if request.extends.is_some() { wanted.total } else { wanted.max };
        // An extension takes as many as the grant did, or more.
        let asked = &request.quorum.approvers;
        let count = if request.extends.is_some() { asked.count.max(wanted.approvers.count) } else { asked.count };
        let changed = Approvers { count, ..wanted.approvers.clone() } != *asked
            || (request.extends.is_none() && wanted.approvers.count != asked.count);
        if changed || span > most || !channels.is_subset(&rule.channels) {
            return Some("the rule that it was asked by has changed");
        }
        if request.from.is_some_and(|from| from.plus(span) <= now) {
            return Some("the time that it was asked for is over");
        }
        if let Some(extends) = &request.extends {
            let holds = |grant: &Grant| matches!(grant.state(now), GrantState::Active | GrantState::Scheduled);
            let Some(grant) = self.ledger.grant(extends).filter(holds) else {
                return Some("the grant that it would lengthen is over");
            };
            if grant.from.until(grant.until.plus(span)) > wanted.total {
                return Some("the grant would last longer than the rule lets it");
            }
        }
        None
    }

    /// Begins the grant of a request that was approved. Says which.
    ///
    /// # Errors
    /// `RequestError`.
    pub fn begin(&self, actor: Actor<'_>, id: &RequestId) -> Result<AccessRequest, RequestError> {
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let request = self.own(id, &user.name)?;
        self.begin_now(&request, actor.shown())
    }

    /// Begins the grant of the oldest approved request of this user for this channel there, if there is one.
    ///
    /// # Errors
    /// `RequestError`.
    pub fn begin_at(
        &self,
        actor: Actor<'_>,
        destination: &Destination,
        class: ChannelClass,
    ) -> Result<Option<AccessRequest>, RequestError> {
        let _one = self.one_at_a_time();
        let (user, now) = (self.standing(actor.asker.user)?, self.clock.now());
        let fits = |request: &AccessRequest| {
            request.requester == user.name
                && request.destination == *destination
                && matches!(request.state(now), RequestState::Approved { .. })
                && request.from.is_none_or(|from| from <= now)
                && request.bound_key.as_ref().is_none_or(|key| key == actor.asker.key)
                && request.narrowed().1.contains(&class)
        };
        let first = self.ledger.requests_where(fits).into_iter().min_by_key(|request| request.asked);
        first.map(|request| self.begin_now(&request, actor.shown())).transpose()
    }

    /// Whether a request of this user's there was approved and waits to be begun.
    pub fn waits_at(&self, user: &UserName, destination: &Destination) -> bool {
        let now = self.clock.now();
        let waits = |request: &AccessRequest| {
            request.requester == *user
                && request.destination == *destination
                && matches!(request.state(now), RequestState::Approved { .. })
        };
        !self.ledger.requests_where(waits).is_empty()
    }

    fn begin_now(&self, request: &AccessRequest, by: String) -> Result<AccessRequest, RequestError> {
        let now = self.clock.now();
        let state = request.state(now);
        let RequestState::Approved { .. } = state else { return Err(RequestError::NotApproved(state)) };
        if let Some(why) = self.overtaken(request, now) {
            self.close(request, RequestState::Superseded, String::from("the bastion"), why)?;
            return Err(RequestError::Overtaken(why));
        }
        // An approver who has left meanwhile has approved nothing that has not begun.
        if !request.is_approved(|approver| self.stands(approver)) {
            let why = "too few of those who approved it still may";
            self.close(request, RequestState::Superseded, String::from("the bastion"), why)?;
            return Err(RequestError::Overtaken(why));
        }
        let grant = request.grant(new_id("g-", 8, GrantId::parse)?, now);
        let granted = request.to(RequestState::Granted { grant: grant.id.clone() });
        let outcome = Outcome::Begins(Box::new(grant));
        self.commit(Step { request: granted, kind: StepKind::Begun, by, outcome, message: None })
    }

    // Taking back.

    /// Takes back a request of one's own that is not granted.
    ///
    /// # Errors
    /// `RequestError`.
    pub fn cancel(&self, actor: Actor<'_>, id: &RequestId) -> Result<AccessRequest, RequestError> {
        let _one = self.one_at_a_time();
        let request = self.own(id, actor.asker.user)?;
        self.close(&request, RequestState::Cancelled, actor.shown(), "")
    }

    /// The same for an operator, of anybody's request.
    ///
    /// # Errors
    /// `RequestError`.
    pub fn cancel_any(&self, by: &str, id: &RequestId) -> Result<AccessRequest, RequestError> {
        let _one = self.one_at_a_time();
        let request = self.ledger.request(id).ok_or(RequestError::Unknown)?;
        self.close(&request, RequestState::Cancelled, by.to_owned(), "")
    }

    /// Gives back the grant of a request of one's own. Live sessions must be judged again after it.
    ///
    /// # Errors
    /// `RequestError`.
    pub fn give_back(&self, actor: Actor<'_>, id: &RequestId) -> Result<Grant, RequestError> {
        let _one = self.one_at_a_time();
        let request = self.own(id, actor.asker.user)?;
        let RequestState::Granted { grant } = &request.stored else { return Err(RequestError::NotGranted) };
        let revoked = Revoked { by: actor.shown(), at: self.clock.now(), reason: Some(String::from("given back")) };
        let grant = self.ledger.revoke_grant(grant, revoked)?;
        self.settle()?;
        Ok(grant)
    }

    /// Puts on record what has taken effect and is not there yet.
    ///
    /// # Errors
    /// `DoneNotRecorded`: it stays owed, and the next call, or the next start, tries again.
    pub fn settle(&self) -> Result<(), RequestError> {
        for (name, event) in self.ledger.owed()? {
            #[cfg(test)]
            tests::may_crash(self)?;
            self.audit.append(&event).map_err(RequestError::DoneNotRecorded)?;
            #[cfg(test)]
            tests::may_crash(self)?;
            self.ledger.paid(&name)?;
        }
        Ok(())
    }

    /// Lets grants end and requests lapse earlier: the wall clock was set back by so much. Says how many. With it is kept what is
    /// known of the `clock`; `accept` makes the clock go by that.
    ///
    /// # Errors
    /// `RequestError`; no grant and no request has changed: it must be tried again.
    pub fn set_back(&self, step: Duration, clock: &KeptClock, accept: &dyn Fn()) -> Result<usize, RequestError> {
        let _one = self.one_at_a_time();
        // What is stored and has not taken effect has the times from before.
        self.finish_steps()?;
        self.finish_given()?;
        let count = self.ledger.set_back(step, self.clock.wall(), clock, accept)?;
        self.set_back_commands(step);
        Ok(count)
    }

    /// Cancels every request of a user that is not granted; says how many.
    ///
    /// # Errors
    /// `RequestError`; those before it are cancelled.
    pub fn cancel_all_of(&self, user: &UserName, by: &str, why: &str) -> Result<usize, RequestError> {
        let _one = self.one_at_a_time();
        let now = self.clock.now();
        let open = |request: &AccessRequest| request.requester == *user && !request.state(now).is_final();
        let mut count = 0_usize;
        for request in self.ledger.requests_where(open) {
            self.close(&request, RequestState::Cancelled, by.to_owned(), why)?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// Notes what has expired since, and forgets what was decided long ago. Says how many have expired.
    ///
    /// # Errors
    /// `RequestError`; the next call tries again.
    pub fn tidy(&self) -> Result<usize, RequestError> {
        let _one = self.one_at_a_time();
        let now = self.clock.now();
        // Each for itself: what cannot be noted of one must not keep the others from it.
        let mut failed = self.finish_steps().err();
        failed = self.finish_given().err().or(failed);
        failed = self.remind().err().or(failed);
        failed = self.supersede_once().err().or(failed);
        let due = |request: &AccessRequest| !request.stored.is_final() && request.state(now).is_final();
        let mut count = 0_usize;
        for request in self.ledger.requests_where(due) {
            let state = request.state(now);
            let by = String::from("the bastion");
            let (request, outcome) = (request.to(state), Outcome::Waits);
            match self.put(&Step { request, kind: StepKind::Closed, by, outcome, message: None }) {
                Ok(()) => count = count.saturating_add(1),
                Err(failure) => failed = Some(failure),
            }
        }
        // Of those whose time is over nobody needs to decide any more; while it waits for this, it leads to nothing.
        let users = self.ledger.users().into_iter().filter(|user| user.is_over(now));
        let over: BTreeSet<UserName> = users.map(|user| user.name).collect();
        let open = |request: &AccessRequest| over.contains(&request.requester) && !request.state(now).is_final();
        for request in self.ledger.requests_where(open) {
            let by = String::from("the bastion");
            failed = self.close(&request, RequestState::Cancelled, by, "its requester's time is over").err().or(failed);
        }
        self.ledger.forget_requests(now.minus(KEPT))?;
        self.settle()?;
        failed.map_or(Ok(count), Err)
    }

    fn close(
        &self,
        request: &AccessRequest,
        to: RequestState,
        by: String,
        why: &str,
    ) -> Result<AccessRequest, RequestError> {
        let state = request.state(self.clock.now());
        if state.is_final() {
            return Err(RequestError::Over(state));
        }
        let why = (!why.is_empty()).then(|| why.to_owned());
        self.commit(Step {
            request: AccessRequest { why, ..request.to(to) },
            kind: StepKind::Closed,
            by,
            outcome: Outcome::Waits,
            message: None,
        })
    }

    // Looking.

    /// The requests of this user, newest first.
    pub fn of(&self, user: &UserName) -> Vec<AccessRequest> {
        let mut own = self.ledger.requests_where(|one| one.requester == *user);
        own.sort_by_key(|request| std::cmp::Reverse(request.asked));
        own
    }

    /// The requests, and the broken glasses, that wait for this user's word, oldest first.
    pub fn to_review(&self, user: &UserName) -> Vec<AccessRequest> {
        let now = self.clock.now();
        let Some(user) = self.ledger.user(user) else { return Vec::new() };
        let open = |request: &AccessRequest| match &request.glass {
            None => request.state(now) == RequestState::Pending,
            Some(glass) => glass.judged.is_none(),
        };
        let waits = |request: &AccessRequest| {
            open(request)
                && request.person != *user.human()
                && (request.glass.is_some() || request.quorum.reviewers.contains(&user.name))
                && request.quorum.approvers.include(&user.name, &user.groups)
                && request.reviews.iter().all(|review| review.person != *user.human())
        };
        let mut all = self.ledger.requests_where(waits);
        all.sort_by_key(|request| request.asked);
        all
    }

    /// A request that this user asked, or may decide; or one for a target of which a rule lets them fetch or watch what is
    /// recorded: then what it was for is theirs to know.
    ///
    /// # Errors
    /// `Unknown`, of others' requests too.
    pub fn seen_by(&self, user: &UserName, id: &RequestId) -> Result<AccessRequest, RequestError> {
        let user = self.standing(user)?;
        let request = self.ledger.request(id).ok_or(RequestError::Unknown)?;
        let target = &request.destination.target;
        let audits = |right| self.ledger.audit_rule(&user.name, target, right, self.clock.now()).is_some();
        if !(audits(AuditRight::Get) || audits(AuditRight::Watch)) {
            self.may_see(&request, &user)?;
        }
        Ok(request)
    }

    fn may_see(&self, request: &AccessRequest, user: &User) -> Result<(), RequestError> {
        let seen = request.requester == user.name
            || request.person == *user.human()
            || request.quorum.reviewers.contains(&user.name)
            || request.glass.as_ref().is_some_and(|glass| glass.approvers.include(&user.name, &user.groups));
        if seen { Ok(()) } else { Err(RequestError::Unknown) }
    }

    fn own(&self, id: &RequestId, user: &UserName) -> Result<AccessRequest, RequestError> {
        self.ledger.request(id).filter(|request| request.requester == *user).ok_or(RequestError::Unknown)
    }

    fn standing(&self, user: &UserName) -> Result<User, RequestError> {
        let user = self.ledger.user(user).filter(|user| !self.ledger.is_barred(user, self.clock.now()));
        user.ok_or(RequestError::Suspended)
    }

    // Putting it on record.

    fn commit(&self, step: Step) -> Result<AccessRequest, RequestError> {
        self.put(&step)?;
        Ok(step.request)
    }

    fn put(&self, step: &Step) -> Result<(), RequestError> {
        let message = step.message.clone().or_else(|| told::message(step, &self.ways, self.clock.now()));
        let step = Step { message, ..step.clone() };
        if glass::is_untold(&step) {
            return Err(RequestError::NoAlert);
        }
        self.put_told(&step)
    }

    fn put_told(&self, step: &Step) -> Result<(), RequestError> {
        self.ledger.prepare(step)?;
        #[cfg(test)]
        tests::may_crash(self)?;
        let (written, done) = self.put_on_record(step);
        if let Err(failure) = done {
            #[cfg(test)]
            if matches!(failure, RequestError::NoRandomness) {
                return Err(failure);
            }
            // A part of it is in the log: it has happened, and takes effect once the rest is there too.
            if written > 0 {
                return Err(RequestError::Unsure);
            }
            // Not in the log: it did not happen. Should this fail too, the database has stopped, and the next start puts
            // it on record before it takes effect.
            self.ledger.abandon(&step.request.id).map_err(|_| RequestError::Unsure)?;
            return Err(failure);
        }
        self.ledger.finish(step).map_err(|_| RequestError::Unsure)
    }

    /// Finishes steps of which a part is on record.
    fn finish_steps(&self) -> Result<(), RequestError> {
        for step in self.ledger.unfinished()? {
            let message = told::again(&step, &self.ways, self.clock.now());
            let mut step = Step { message, ..step };
            if glass::is_untold(&step) {
                step.outcome = glass::taken_back(step.outcome, self.clock.now());
            }
            // It may be in the log already. A second leaf of the same request and version says the same, but for the ways of
            // an alarm where the configuration has other ones now.
            self.put_on_record(&step).1?;
            self.ledger.finish(&step)?;
        }
        Ok(())
    }

    /// How many leaves were written, and whether all were.
    fn put_on_record(&self, step: &Step) -> (usize, Result<(), RequestError>) {
        let mut written = 0_usize;
        for event in events(step) {
            if let Err(failure) = self.audit.append(&event) {
                return (written, Err(RequestError::NotRecorded(failure)));
            }
            written = written.saturating_add(1);
            #[cfg(test)]
            if let Err(crash) = tests::may_crash(self) {
                return (written, Err(crash));
            }
        }
        (written, Ok(()))
    }
}

/// What comes into the log of a step.
fn events(step: &Step) -> Vec<AuditEvent> {
    let Step { request, kind, by, outcome, .. } = step;
    let review = request.reviews.last().filter(|_| *kind == StepKind::Reviewed);
    let first = match kind {
        StepKind::Asked => created(request, by),
        StepKind::Broken | StepKind::Judged | StepKind::Overdue => return glass::events(step),
        StepKind::Reviewed | StepKind::Begun | StepKind::Closed => AuditEvent::RequestStep {
            request: request.id.clone(),
            step: request.version,
            outcome: request.stored.word().to_owned(),
            user: request.requester.clone(),
            destination: request.destination.clone(),
            verb: match (kind, review.map(|review| review.verdict)) {
                (_, Some(Verdict::Approve)) => "approve",
                (_, Some(Verdict::Deny)) => "deny",
                (StepKind::Begun, None) => "begin",
                (
                    StepKind::Asked
                    | StepKind::Reviewed
                    | StepKind::Closed
                    | StepKind::Broken
                    | StepKind::Judged
                    | StepKind::Overdue,
                    None,
                ) => "close",
            }
            .to_owned(),
            seconds: review.and_then(|review| review.seconds),
            channels: review.and_then(|review| review.channels.as_ref()).map(names),
            mfa_seconds: review.and_then(|review| review.mfa_seconds),
            note: review.map(|review| review.note.clone()).or_else(|| request.why.clone()).unwrap_or_default(),
            by: by.clone(),
        },
    };
    std::iter::once(first).chain(of_outcome(request, outcome)).collect()
}

fn names(channels: &BTreeSet<ChannelClass>) -> Vec<String> {
    channels.iter().map(ToString::to_string).collect()
}

fn created(request: &AccessRequest, by: &str) -> AuditEvent {
    AuditEvent::RequestCreate {
        request: request.id.clone(),
        step: request.version,
        user: request.requester.clone(),
        destination: request.destination.clone(),
        channels: names(&request.channels),
        rule: request.rule.clone(),
        policy: request.policy.to_string(),
        extends: request.extends.clone(),
        seconds: request.seconds,
        from: request.from,
        reason: request.reason.clone(),
        ticket: request.ticket.clone(),
        expires: request.pending_until,
        quorum: request.quorum.approvers.to_string(),
        preapproved: request.preapproved,
        ticket_said: request.ticket_said.clone(),
        by: by.to_owned(),
    }
}

/// What a step does to grants, for the log.
fn of_outcome(request: &AccessRequest, outcome: &Outcome) -> Option<AuditEvent> {
    match outcome {
        Outcome::Waits => None,
        Outcome::Begins(grant) => Some(added(grant)),
        Outcome::Lengthens { grant, by } => {
            Some(AuditEvent::GrantExtend { grant: grant.clone(), request: request.id.clone(), seconds: by.as_secs() })
        }
    }
}

/// A new grant, for the log.
fn added(grant: &Grant) -> AuditEvent {
    AuditEvent::GrantAdd {
        grant: grant.id.clone(),
        user: grant.user.clone(),
        destination: grant.destination.clone(),
        from: grant.from,
        until: grant.until,
        reason: grant.reason.clone(),
        by: grant.created_by.clone(),
        request: grant.request.clone(),
        rule: grant.rule.clone(),
        channels: grant.channels.as_ref().map(names),
    }
}

fn cut(text: &str, bytes: usize) -> String {
    let mut short = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if short.len().saturating_add(c.len_utf8()) > bytes {
            break;
        }
        short.push(c);
    }
    short
}

/// So many random characters that are not mixed up when read aloud (Crockford's base 32), of 5 bits each.
pub(crate) fn new_id<T, E>(prefix: &str, length: usize, parse: fn(&str) -> Result<T, E>) -> Result<T, RequestError> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = vec![0_u8; length];
    SystemRandom::new().fill(&mut random).map_err(|_| RequestError::NoRandomness)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 31)).map(|letter| char::from(*letter));
    let text: String = random.iter().filter_map(letter).collect();
    parse(&format!("{prefix}{text}")).map_err(|_| RequestError::NoRandomness)
}

impl From<LedgerError> for RequestError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}
