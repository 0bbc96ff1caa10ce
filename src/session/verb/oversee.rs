//! The hand of those whom `[[audit]]` rules name on live sessions, and on locks.
//!
//! Nobody has a hand on a session of their own, by whatever name, and nobody lifts a lock on themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Answer, Form, Verb, busy, refused};
use crate::audit::{AuditEvent, SessionControl};
use crate::grant::{Lock, Scope};
use crate::ledger::User;
use crate::locks::{Lifted, LockError};
use crate::model::{LockId, SessionId, UserName};
use crate::policy::AuditRight;
use crate::recorder::Watching;
use crate::screen::line;
use crate::session::refusal::Busy;
use crate::session::{Bastion, EndCause, Held, Holding, Refusal, Visitor, message};

/// What is done to a live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hand {
    /// It stands still.
    Freeze,
    /// It goes on.
    Unfreeze,
    /// A line is said on its terminals.
    Message(String),
    /// It ends.
    Kill,
}

impl Hand {
    fn right(&self) -> AuditRight {
        match self {
            Self::Freeze | Self::Unfreeze => AuditRight::Freeze,
            Self::Message(_) => AuditRight::Message,
            Self::Kill => AuditRight::Kill,
        }
    }
}

impl fmt::Display for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Message(_) => "message",
            Self::Kill => "kill",
        })
    }
}

// Reading.

/// A verb of which only the session is said.
pub(super) fn of_one(words: &[&str], hand: Hand) -> Option<Verb> {
    let [session] = words else { return None };
    SessionId::parse(session).ok().map(|session| Verb::Control(session, hand))
}

pub(super) fn message_to(words: &[&str]) -> Option<Verb> {
    let (session, text) = words.split_first().filter(|(_, text)| !text.is_empty())?;
    let hand = Hand::Message(text.join(" "));
    SessionId::parse(session).ok().map(|session| Verb::Control(session, hand))
}

pub(super) fn lift(words: &[&str]) -> Option<Verb> {
    let [lock] = words else { return None };
    LockId::parse(lock).ok().map(Verb::LiftLock)
}

// Answering.

/// Does it, and puts it on record: what gives first, what takes after.
///
/// # Errors
/// `NothingToAudit` if there is no such session or no rule lets the user; `Busy`; `Audit`.
pub(super) async fn control(
    bastion: &Arc<Bastion>,
    visitor: &Visitor,
    session: &SessionId,
    hand: &Hand,
    verb: &Verb,
) -> Result<Answer, Refusal> {
    let user = visitor.user.user();
    let live = bastion.sessions.list().into_iter().find(|live| live.id == *session);
    let live = live.ok_or_else(|| refused(verb, "the session is not live"))?;
    super::check(bastion, user, &live.destination.target, hand.right(), verb)?;
    if person(bastion, user) == person(bastion, &live.user) {
        return Err(refused(verb, "nobody has a hand on their own session"));
    }
    if !bastion.refusals.view(user) {
        return Err(busy(verb, Busy::Views));
    }
    let line = match hand {
        Hand::Message(text) => Some(message(user.as_str(), text).ok_or_else(|| refused(verb, "it is no line"))?),
        Hand::Freeze | Hand::Unfreeze | Hand::Kill => None,
    };
    let event = AuditEvent::SessionControl(SessionControl {
        session: session.clone(),
        verb: hand.to_string(),
        detail: line.clone().unwrap_or_default(),
        by: shown(visitor),
    });
    match hand {
        Hand::Freeze | Hand::Kill => {}
        Hand::Unfreeze | Hand::Message(_) => bastion.record(event.clone()).await.map_err(Refusal::Audit)?,
    }
    let sessions = &bastion.sessions;
    let gone = || refused(verb, "the session is not live");
    let told = match hand {
        Hand::Freeze => of_held(session, &sessions.freeze(session, Holding::Overseer, user.as_str())),
        Hand::Unfreeze => of_held(session, &sessions.unfreeze(session, Holding::Overseer)),
        Hand::Kill => {
            let cause = EndCause::Killed { by: user.to_string() };
            sessions.end(session, cause).then(|| format!("session {session} ended\n"))
        }
        Hand::Message(_) => sessions.say(session, line.unwrap_or_default()).map(|taken| match taken {
            true => format!("session {session}: it is said on its terminals, if it has any\n"),
            false => format!("session {session}: its user does not read: messages wait there\n"),
        }),
    };
    let told = told.ok_or_else(gone)?;
    match hand {
        Hand::Freeze | Hand::Kill => record_or_owe(bastion, session, hand, event).await?,
        Hand::Unfreeze | Hand::Message(_) => {}
    }
    Ok(Answer::Text(told, None))
}

fn of_held(session: &SessionId, held: &Held) -> Option<String> {
    match held {
        Held::NotLive => None,
        Held::Paused(noted) => Some(format!("session {session} is paused {noted}\n")),
        Held::Goes => Some(format!("session {session} goes on\n")),
    }
}

/// What has taken effect is on record, or owed to the log.
async fn record_or_owe(
    bastion: &Arc<Bastion>,
    session: &SessionId,
    hand: &Hand,
    event: AuditEvent,
) -> Result<(), Refusal> {
    let Err(failure) = bastion.record(event.clone()).await else { return Ok(()) };
    let (ledger, name) = (Arc::clone(&bastion.ledger), format!("{hand}-{session}"));
    match tokio::task::spawn_blocking(move || ledger.owe(&name, &event)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Refusal::Audit(failure)),
    }
}

fn shown(visitor: &Visitor) -> String {
    format!("{} by {} from {}", visitor.user.user(), visitor.user.proof(), visitor.source)
}

/// The name by which the human is known.
pub(super) fn person(bastion: &Bastion, user: &UserName) -> UserName {
    bastion.ledger.user(user).map_or_else(|| user.clone(), |user| user.human().clone())
}

/// A session that waits for somebody who watches opens its first channel within so long.
const FIRST_CHANNEL: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The first channel that there is to watch of a session; none if there is none soon.
pub(super) async fn first_channel(bastion: &Bastion, session: &SessionId) -> Option<Watching> {
    let looking = async {
        loop {
            if let Some(watching) = bastion.recorder.watch(session, None) {
                return watching;
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(FIRST_CHANNEL, looking).await.ok()
}

/// The locks that this user may lift.
pub(super) fn locks(bastion: &Bastion, user: &UserName, form: Form) -> String {
    let now = bastion.clock.now();
    let all = bastion.ledger.locks().into_iter();
    let own: Vec<Lock> = all.filter(|lock| lock.holds(now) && may_lift(bastion, user, lock)).collect();
    match form {
        Form::Json => serde_json::to_string(&own).map_or_else(|_| String::from("[]\n"), |text| text + "\n"),
        Form::Text if own.is_empty() => String::from("no locks that you may lift\n"),
        Form::Text => own.iter().map(row).collect(),
    }
}

fn row(lock: &Lock) -> String {
    let Lock { id, scope, created, by, lifters, said, reason, .. } = lock;
    let said = match said.len() {
        0 => String::new(),
        count => format!(" ({count} said so)"),
    };
    let people = if *lifters > 1 { format!("{lifters} people") } else { String::from("one") };
    format!("{id}  {scope}  {}  {by}  lifted by {people}{said}  {}\n", String::from(*created), line(reason))
}

/// Whether a rule lets this user lift it, and it is not on themselves.
fn may_lift(bastion: &Bastion, user: &UserName, lock: &Lock) -> bool {
    let (ledger, now) = (&bastion.ledger, bastion.clock.now());
    let everywhere = || ledger.audits_everywhere(user, AuditRight::Lift, now);
    let own = ledger.user(user);
    match &lock.scope {
        Scope::Target(target) => ledger.audit_rule(user, target, AuditRight::Lift, now).is_some(),
        Scope::Destination(place) => ledger.audit_rule(user, &place.target, AuditRight::Lift, now).is_some(),
        Scope::Grant(grant) => {
            let grant = ledger.grant(grant);
            let others = |name: &UserName| {
                ledger.user(name).is_none_or(|holder| own.as_ref().is_some_and(|own| own.human() != holder.human()))
            };
            grant.is_some_and(|grant| {
                others(&grant.user)
                    && ledger.audit_rule(user, &grant.destination.target, AuditRight::Lift, now).is_some()
            })
        }
        Scope::User(locked) => own.is_some_and(|own| *own.human() != *locked && own.name != *locked) && everywhere(),
        Scope::Group(group) => {
            // By none of the names of the human.
            let human = own.as_ref().map(|own| own.human().clone());
            let locked = |other: &User| Some(other.human()) == human.as_ref() && other.groups.contains(group);
            own.is_some() && !ledger.users().iter().any(locked) && everywhere()
        }
        Scope::Everything | Scope::Account(_) | Scope::Label { .. } => everywhere(),
    }
}

/// Notes that this user wants a lock lifted, and lifts it if they are enough.
///
/// # Errors
/// `NothingToAudit` if there is no such lock, or no rule lets the user; `Busy`; `Audit`.
pub(super) async fn lift_lock(
    bastion: &Arc<Bastion>,
    visitor: &Visitor,
    id: &LockId,
    verb: &Verb,
) -> Result<Answer, Refusal> {
    let user = visitor.user.user();
    let known = bastion.ledger.lock(id).ok_or_else(|| refused(verb, "there is no such lock"))?;
    if !may_lift(bastion, user, &known) {
        return Err(refused(verb, &format!("no audit rule lets {user} lift it")));
    }
    if !bastion.refusals.view(user) {
        return Err(busy(verb, Busy::Views));
    }
    let (own, id, by, person) = (Arc::clone(bastion), id.clone(), shown(visitor), person(bastion, user).to_string());
    let lifting = tokio::task::spawn_blocking(move || {
        let lifted = own.locks.lift(&id, by, person);
        own.sessions.rejudge(&own.ledger, own.clock.now());
        lifted
    });
    let told = match lifting.await.map_err(|_| busy(verb, Busy::Waiting))? {
        Ok(Lifted::Gone(lock)) => format!("lock {} on {} lifted\n", lock.id, lock.scope),
        Ok(Lifted::Waits(lock, missing)) => {
            format!("lock {} on {} is still on: {missing} more must say so within a day\n", lock.id, lock.scope)
        }
        Err(LockError::NotRecorded(failure)) => return Err(Refusal::Audit(failure)),
        Err(failure @ LockError::SaidAlready) => format!("{failure}\n"),
        Err(
            failure @ (LockError::Unknown
            | LockError::Reason
            | LockError::Over
            | LockError::KeepsGlass
            | LockError::Ledger(_)
            | LockError::NoRandomness),
        ) => return Err(refused(verb, &failure.to_string())),
    };
    Ok(Answer::Text(told, None))
}
