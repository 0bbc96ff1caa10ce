//! Commands that wait for somebody's yes.
//!
//! They wait in memory: a session dies with its server, and what waits in it is refused with it. What is said of them, and
//! what becomes of them, is on record. A yes is for one command of one session as the rules stand, and is used once.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use super::{Actor, HOUR, NOTE_BYTES_MAX, OPEN_MAX, RequestError, Requests, cut, told};
use crate::audit::{AuditEvent, CommandJudged, CommandStep, CommandWaits};
use crate::gate::verdict::ApprovalNeed;
use crate::grant::{AccessRequest, Opinion, RequestState, ReviewError, Verdict};
use crate::ledger::{CommandFacts, Delivery, Message};
use crate::model::{ChannelClass, RequestId, RuleId, SessionId, Timestamp, UserName, join};
use crate::policy::{AuditRight, PolicyHash};
use crate::screen::line;

/// Commands of everybody that wait.
const ALL_WAITING_MAX: usize = 1000;
/// Commands of one person for which approvers are asked in one hour.
const HOURLY_MAX: usize = 60;

/// A command that needs somebody's yes.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandWish {
    /// What was judged, as it is on record.
    pub judged: CommandJudged,
    /// Whose yes it takes.
    pub need: ApprovalNeed,
    /// The access rule by which it is judged.
    pub rule: RuleId,
    /// The policy set.
    pub policy: PolicyHash,
    /// What the yes is for: a digest of the session, of what is sent and of the policy.
    pub bound: String,
    /// What the session is for, by its grant.
    pub purpose: String,
    /// Why the rule wants it.
    pub reason: Option<String>,
}

/// A command that waits.
#[derive(Debug, Clone)]
pub struct HeldCommand {
    /// Who asks, whom, until when, and what was said: as of an access request.
    pub request: AccessRequest,
    /// What for.
    pub wish: Arc<CommandWish>,
}

/// A command that waits, and whoever waits with it.
#[derive(Debug)]
pub(super) struct Held {
    command: HeldCommand,
    state: watch::Sender<RequestState>,
}

/// What waits, and when each person has asked lately.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    held: std::collections::BTreeMap<RequestId, Held>,
    lately: Vec<(UserName, Timestamp)>,
}

/// What a decision about a command is called.
///
/// # Errors
/// The system gives no randomness.
pub fn new_decision() -> Result<RequestId, RequestError> {
    super::new_id("d-", 8, RequestId::parse)
}

/// Whether it is the name of such a decision, and not that of an access request.
pub fn is_decision(id: &RequestId) -> bool {
    id.as_str().starts_with("d-")
}

impl Requests {
    /// Alerts go by these ways.
    #[must_use]
    pub fn alerting(mut self, sinks: Vec<String>) -> Self {
        self.sinks = sinks;
        self
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a command wait, and asks for a yes. It is on record before anybody is asked.
    ///
    /// # Errors
    /// `RequestError` says why it cannot.
    pub fn hold_command(
        &self,
        actor: Actor<'_>,
        wish: CommandWish,
    ) -> Result<(HeldCommand, watch::Receiver<RequestState>), RequestError> {
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let now = self.clock.now();
        let quorum = self.quorum(&wish.need.approvers, &user, None)?;
        self.check_command_rate(user.human(), now)?;
        let judged = &wish.judged;
        let request = AccessRequest {
            id: judged.decision.clone(),
            version: 1,
            requester: user.name.clone(),
            person: user.human().clone(),
            destination: judged.destination.clone(),
            channels: BTreeSet::from([ChannelClass::Exec]),
            rule: wish.rule.clone(),
            policy: wish.policy.clone(),
            extends: None,
            reason: wish.purpose.clone(),
            ticket: None,
            ticket_said: None,
            entered: None,
            from: None,
            seconds: wish.need.within.as_secs(),
            asked: now,
            pending_until: now.plus(wish.need.within),
            activation_seconds: None,
            sessions: Some(1),
            bound_key: None,
            preapproved: false,
            glass: None,
            quorum,
            reviews: Vec::new(),
            why: None,
            stored: RequestState::Pending,
        };
        let event = AuditEvent::CommandWaits(Box::new(CommandWaits {
            judged: judged.clone(),
            quorum: request.quorum.approvers.to_string(),
            expires: request.pending_until,
            bound: wish.bound.clone(),
        }));
        self.audit.append(&event).map_err(RequestError::NotRecorded)?;
        let (state, changes) = watch::channel(RequestState::Pending);
        let command = HeldCommand { request, wish: Arc::new(wish) };
        let mut waiting = self.waiting();
        waiting.lately.push((command.request.person.clone(), now));
        waiting.held.insert(command.request.id.clone(), Held { command: command.clone(), state });
        drop(waiting);
        if let Some(message) = asked(&command, &self.ways, now)
            && let Err(failure) = self.ledger.add_message(&message)
        {
            // Who is there reads it on their terminal, and in the list of what waits for them.
            error!(error = %failure, "Approvers are not told of a command that waits for them");
        }
        Ok((command, changes))
    }

    fn check_command_rate(&self, person: &UserName, now: Timestamp) -> Result<(), RequestError> {
        let mut waiting = self.waiting();
        waiting.lately.retain(|(_, at)| at.until(now) < HOUR);
        let own = waiting.held.values().filter(|held| held.command.request.person == *person).count();
        let lately = waiting.lately.iter().filter(|(who, _)| who == person).count();
        if own >= OPEN_MAX {
            Err(RequestError::TooMany("commands of yours wait already: withdraw one, or wait"))
        } else if lately >= HOURLY_MAX {
            Err(RequestError::TooMany("commands of yours were asked about in one hour: wait"))
        } else if waiting.held.len() >= ALL_WAITING_MAX {
            Err(RequestError::TooMany("commands wait: tell an operator"))
        } else {
            Ok(())
        }
    }

    /// Approves or denies a command that waits. Says how it stands after it.
    ///
    /// # Errors
    /// `RequestError` says why it does not count.
    pub fn review_command(
        &self,
        actor: Actor<'_>,
        id: &RequestId,
        opinion: Opinion,
    ) -> Result<HeldCommand, RequestError> {
        let _one = self.one_at_a_time();
        let user = self.standing(actor.asker.user)?;
        let now = self.clock.now();
        let held = self.command_seen_by(&user.name, id)?;
        if opinion.span.is_some() || opinion.channels.is_some() {
            return Err(RequestError::AsItIs);
        }
        // As it is known now: that two names are one human may have come out since it was asked.
        if self.is_same_human(&held.request.requester, &user) {
            return Err(RequestError::Review(ReviewError::Self_));
        }
        let opinion = Opinion { note: cut(&opinion.note, NOTE_BYTES_MAX), ..opinion };
        let (verdict, note) = (opinion.verdict, opinion.note.clone());
        let reviewed =
            held.request.review(&self.reviewer(&actor, &user, now), opinion, now).map_err(RequestError::Review)?;
        let step = |result: &str| {
            AuditEvent::CommandStep(CommandStep {
                decision: id.clone(),
                session: held.wish.judged.session.clone(),
                user: held.request.requester.clone(),
                result: result.to_owned(),
                note: note.clone(),
                by: actor.shown(),
            })
        };
        let record = |result| self.audit.append(&step(result)).map(drop);
        let reviewed = match verdict {
            Verdict::Deny => {
                // What takes something away takes effect first.
                let denied = self.stored_command(id, reviewed)?;
                record("denied").map_err(RequestError::DoneNotRecorded)?;
                denied
            }
            Verdict::Approve => {
                record("approved").map_err(RequestError::NotRecorded)?;
                let enough = reviewed.is_approved(|approver| self.stands(approver));
                let begin_by = reviewed.pending_until;
                let stored = if enough { RequestState::Approved { begin_by } } else { RequestState::Pending };
                self.stored_command(id, AccessRequest { stored, ..reviewed })?
            }
        };
        Ok(reviewed)
    }

    pub(super) fn stored_command(&self, id: &RequestId, request: AccessRequest) -> Result<HeldCommand, RequestError> {
        let mut waiting = self.waiting();
        let held = waiting.held.get_mut(id).ok_or(RequestError::Overtaken("nobody waits for it any more"))?;
        // What was taken back meanwhile stays so: nobody's yes revives it.
        if held.command.request.stored != RequestState::Pending {
            return Err(RequestError::Overtaken("it was decided or taken back meanwhile"));
        }
        held.command.request = request;
        held.state.send_replace(held.command.request.stored.clone());
        Ok(held.command.clone())
    }

    /// Uses the yes that a command has, if it is for what would run now: that is `bound`. It waits no longer, whatever comes
    /// of it. Says who said yes.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn use_command(&self, id: &RequestId, bound: &str) -> Result<Vec<UserName>, &'static str> {
        let held = self.waiting().held.remove(id).ok_or("nobody waits for it any more")?;
        let HeldCommand { request, wish } = held.command;
        match request.state(self.clock.now()) {
            RequestState::Approved { .. } => {}
            RequestState::Expired => return Err("its time is over"),
            RequestState::Pending
            | RequestState::Granted { .. }
            | RequestState::Denied
            | RequestState::Cancelled
            | RequestState::Superseded => return Err("nobody has approved it"),
        }
        if wish.bound != bound {
            return Err("the rules have changed since it was asked");
        }
        // An approver who has left meanwhile has approved nothing.
        if !request.is_approved(|approver| self.stands(approver)) {
            return Err("too few of those who approved it still may");
        }
        Ok(request.reviews.into_iter().map(|review| review.by).collect())
    }

    /// Has a command wait no longer, without a yes; `false` if it did not wait. On record on return, if it can be.
    pub fn close_command(&self, id: &RequestId, result: &str, note: &str, by: &str) -> bool {
        let Some(held) = self.waiting().held.remove(id) else { return false };
        // An approver's no is on record by their own word.
        if held.command.request.stored == RequestState::Denied {
            return true;
        }
        let event = AuditEvent::CommandStep(CommandStep {
            decision: id.clone(),
            session: held.command.wish.judged.session.clone(),
            user: held.command.request.requester.clone(),
            result: result.to_owned(),
            note: note.to_owned(),
            by: by.to_owned(),
        });
        if let Err(failure) = self.audit.append(&event) {
            error!(error = %failure, "Cannot write the audit log");
        }
        true
    }

    /// Takes back a command of one's own: who waits for it hears that.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn withdraw_command(&self, actor: Actor<'_>, id: &RequestId) -> Result<HeldCommand, RequestError> {
        // Not while somebody's word on it is on its way to the log: an approval that comes after would undo this.
        let _one = self.one_at_a_time();
        let mut waiting = self.waiting();
        let own = |held: &&mut Held| held.command.request.requester == *actor.asker.user;
        let held = waiting.held.get_mut(id).filter(own).ok_or(RequestError::Unknown)?;
        held.command.request.stored = RequestState::Cancelled;
        held.state.send_replace(RequestState::Cancelled);
        Ok(held.command.clone())
    }

    /// How a command stands; `None` if it waits no longer.
    pub fn command(&self, id: &RequestId) -> Option<HeldCommand> {
        self.waiting().held.get(id).map(|held| held.command.clone())
    }

    /// How it stands by the time that it is now.
    pub fn command_state(&self, id: &RequestId) -> Option<RequestState> {
        self.command(id).map(|held| held.request.state(self.clock.now()))
    }

    /// A command that this user waits for, or may decide, or whose session they may watch.
    ///
    /// # Errors
    /// `Unknown`, of others too.
    pub fn command_seen_by(&self, user: &UserName, id: &RequestId) -> Result<HeldCommand, RequestError> {
        let user = self.standing(user)?;
        let held = self.command(id).ok_or(RequestError::Unknown)?;
        let target = &held.request.destination.target;
        if self.ledger.audit_rule(&user.name, target, AuditRight::Watch, self.clock.now()).is_none() {
            self.may_see(&held.request, &user)?;
        }
        Ok(held)
    }

    /// The commands that wait for this user's word, and those that they wait for themselves, oldest first.
    pub fn commands_of(&self, user: &UserName) -> Vec<HeldCommand> {
        let now = self.clock.now();
        let Some(user) = self.ledger.user(user) else { return Vec::new() };
        let all: Vec<HeldCommand> = self.waiting().held.values().map(|held| held.command.clone()).collect();
        let concerned = |held: &HeldCommand| {
            let HeldCommand { request, .. } = held;
            let pending = request.state(now) == RequestState::Pending;
            let said = request.reviews.iter().any(|review| review.person == *user.human());
            pending
                && (request.requester == user.name
                    || (request.quorum.reviewers.contains(&user.name) && request.person != *user.human() && !said))
        };
        let mut all: Vec<HeldCommand> = all.into_iter().filter(concerned).collect();
        all.sort_by_key(|held| held.request.asked);
        all
    }

    /// Lets what waits lapse earlier by as much as the wall clock was set back.
    pub(super) fn set_back_commands(&self, step: Duration) {
        let after = self.clock.wall();
        for held in self.waiting().held.values_mut() {
            if let Some(request) = held.command.request.set_back(step, after) {
                held.command.request = request;
            }
        }
    }

    /// Has security people told of a command. On disk on return.
    ///
    /// # Errors
    /// Nobody is told.
    pub fn alert_command(&self, decision: &RequestId, event: &str, facts: CommandFacts) -> Result<(), RequestError> {
        if self.sinks.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let CommandFacts { level, user, destination, session, second, .. } = &facts;
        let done = if facts.prevented { "was refused" } else { "ran" };
        let subject = format!("ALERT ({level}): {user} as {destination} {done}: {}", line(&facts.line));
        let rule = facts.rule.as_ref().map_or("none", RuleId::as_str);
        let text = format!(
            "{subject}\n\ndecision  {decision}\nrule      {rule}\nmode      {}\nsession   {session}, second {second}\n\n\
             To watch: `doorward session watch {session}`; afterwards: `doorward recording replay {session}`\n",
            facts.mode
        );
        let text = match facts.others {
            0 => text,
            others => {
                format!("{text}\n{others} refusals by this rule before it are not told one by one: the log has them.\n")
            }
        };
        let first = Delivery::Waiting { tries: 0, next: now };
        let message = Message {
            id: told::id_of(now).ok_or(RequestError::NoRandomness)?,
            at: now,
            event: event.to_owned(),
            request: decision.clone(),
            to: BTreeSet::new(),
            subject,
            text,
            alert: true,
            command: Some(Box::new(facts)),
            ways: self.sinks.iter().map(|way| (way.clone(), first.clone())).collect(),
        };
        Ok(self.ledger.add_message(&message)?)
    }
}

/// What approvers are told.
fn asked(command: &HeldCommand, ways: &[String], now: Timestamp) -> Option<Message> {
    if ways.is_empty() {
        return None;
    }
    let HeldCommand { request, wish } = command;
    let id = &request.id;
    let subject = format!("{} asks to run at {}: {}", request.requester, request.destination, line(&wish.judged.line));
    let text = format!(
        "{subject}\n\nsession   {}\nrule      {}\nsent      {}\ntakes     {} ({})\n\nWhat it reads from its standard input is not part of what is \
         approved. It waits until {}. To decide: ssh USER@BASTION show {id}; approve {id}; deny {id}\n",
        wish.judged.session,
        wish.judged.rule.as_ref().map_or("none", RuleId::as_str),
        line(wish.judged.sent.as_deref().unwrap_or(&wish.judged.line)),
        request.quorum.approvers,
        join(request.quorum.reviewers.iter().take(8).map(UserName::as_str)),
        request.pending_until,
    );
    let first = Delivery::Waiting { tries: 0, next: now };
    Some(Message {
        id: told::id_of(now)?,
        at: now,
        event: String::from("command.waits"),
        request: id.clone(),
        to: request.quorum.reviewers.clone(),
        subject,
        text,
        alert: false,
        command: None,
        ways: ways.iter().map(|way| (way.clone(), first.clone())).collect(),
    })
}

/// What a yes is for.
pub fn bound_to(session: &SessionId, policy: &PolicyHash, sent: &[u8]) -> String {
    let head = format!("doorward command 1\n{session}\n{policy}\n");
    crate::store::sha256_hex(&[head.as_bytes(), sent].concat())
}
