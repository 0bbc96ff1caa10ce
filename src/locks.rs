//! Locks from setting to lifting: judged by `grant`, on record in `audit`, kept by `ledger`.
//!
//! A lock takes effect first, and the log is owed it. What lifts one is in the log before it takes effect; a crash in
//! between leaves the lock, and the next start finishes the lifting.
//!
//! Everything here blocks on the disk.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::audit::{Audit, AuditError, AuditEvent, KeptClock, LockStep};
use crate::clock::Clock;
use crate::grant::{Lifter, Lifting, Lock, LockEffect, Scope};
use crate::ledger::{Ledger, LedgerError, User};
use crate::model::{LockId, UserName};
use crate::requests::new_id;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 400;

/// Where locks are set and lifted.
pub struct Locks {
    ledger: Arc<Ledger>,
    audit: Arc<Audit>,
    clock: Clock,
    /// INVARIANT: held from the reading that a lifting rests on until it has taken effect.
    lifting: Mutex<()>,
    /// INVARIANT: held from the reading of the clock by which a lock will end until it is kept, and while those that are kept
    /// follow a clock that was set. Nobody who holds it waits for the log: a lock is never kept waiting by that.
    dating: Mutex<()>,
    /// For tests: after so many writes the process is gone.
    #[cfg(test)]
    crash_after: std::sync::atomic::AtomicUsize,
}

/// A lock that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is on.
    pub scope: Scope,
    /// What becomes of live sessions.
    pub effect: LockEffect,
    /// Why.
    pub reason: String,
    /// For how long; `None`: until it is lifted.
    pub span: Option<Duration>,
    /// How many people it takes to lift it.
    pub lifters: u8,
    /// Whether it leaves those alone who have broken a glass.
    pub keeps_glass: bool,
}

/// What came of wanting a lock lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifted {
    /// It is gone.
    Gone(Lock),
    /// It stays until so many others say so, too.
    Waits(Lock, u8),
}

/// Why a lock was not set or lifted.
#[derive(Debug)]
pub enum LockError {
    /// There is none of that name.
    Unknown,
    /// They have said so, and it takes somebody else.
    SaidAlready,
    /// The reason is missing, too long, or of more than one line.
    Reason,
    /// It is on people or on a grant, and would leave those among them alone who have broken a glass.
    KeepsGlass,
    /// It would be over already.
    Over,
    /// It could not be kept.
    Ledger(LedgerError),
    /// It could not be put on record, so it did not happen.
    NotRecorded(AuditError),
    /// The system gives no randomness.
    NoRandomness,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such lock"),
            Self::SaidAlready => f.write_str("you have said so already: it takes somebody else"),
            Self::Reason => write!(f, "a lock needs a reason, in one line of at most {REASON_CHARS_MAX} characters"),
            Self::KeepsGlass => {
                f.write_str("a lock on people, or on a grant, spares nobody: leave --keep-break-glass out")
            }
            Self::Over => f.write_str("the lock would be over already"),
            Self::Ledger(error) => error.fmt(f),
            Self::NotRecorded(_) => f.write_str("the lock stays: the audit log cannot be written"),
            Self::NoRandomness => f.write_str("the operating system gives no random bytes"),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // It shows as itself, so that its cause is ours.
            Self::Ledger(error) => std::error::Error::source(error),
            Self::NotRecorded(error) => Some(error),
            Self::Unknown | Self::SaidAlready | Self::Reason | Self::KeepsGlass | Self::Over | Self::NoRandomness => {
                None
            }
        }
    }
}

impl From<LedgerError> for LockError {
    fn from(error: LedgerError) -> Self {
        if matches!(error, LedgerError::Unknown { kind: "lock", .. }) { Self::Unknown } else { Self::Ledger(error) }
    }
}

impl Locks {
    /// Finishes the liftings that a crash interrupted. One that cannot come into the log does not happen: the lock stays.
    ///
    /// # Errors
    /// The database fails.
    pub fn open(ledger: Arc<Ledger>, audit: Arc<Audit>, clock: Clock) -> Result<Self, LockError> {
        let locks = Self {
            ledger,
            audit,
            clock,
            lifting: Mutex::new(()),
            dating: Mutex::new(()),
            #[cfg(test)]
            crash_after: usize::MAX.into(),
        };
        for lock in locks.ledger.locks() {
            if let Some(lifter) = &lock.pending {
                // It may be in the log already: a second leaf says the same.
                match locks.finish(&lock, lifter) {
                    Ok(_) | Err(LockError::NotRecorded(_)) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(locks)
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.lifting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dating(&self) -> MutexGuard<'_, ()> {
        self.dating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a lock. Live sessions must be judged again after it, and the log be given what it is owed
    /// (`Requests::settle`).
    ///
    /// # Errors
    /// `LockError` says why there is none.
    pub fn add(&self, by: String, wanted: Wanted) -> Result<Lock, LockError> {
        let Wanted { scope, effect, reason, span, lifters, keeps_glass } = wanted;
        let reason = reason.trim().to_owned();
        let count = reason.chars().count();
        if count == 0 || count > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
            return Err(LockError::Reason);
        }
        // Whoever is locked breaks no glass.
        if keeps_glass && matches!(scope, Scope::User(_) | Scope::Group(_) | Scope::Grant(_)) {
            return Err(LockError::KeepsGlass);
        }
        if span.is_some_and(|span| span < Duration::from_millis(1)) {
            return Err(LockError::Over);
        }
        let id = new_id("k-", 8, LockId::parse).map_err(|_| LockError::NoRandomness)?;
        let _dating = self.dating();
        let now = self.clock.now();
        let expires = span.map(|span| now.plus(span));
        let (said, pending) = (Vec::new(), None);
        let (by_whom, created) = (by.clone(), now);
        let lock =
            Lock { id, scope, effect, reason, by: by_whom, created, expires, lifters, keeps_glass, said, pending };
        self.ledger.add_lock(lock.clone(), &event(&lock, "holds", by))?;
        Ok(lock)
    }

    /// Notes that somebody wants a lock lifted, and lifts it if they are enough. Live sessions must be judged again
    /// after it.
    ///
    /// # Errors
    /// `LockError` says why it counts for nothing.
    pub fn lift(&self, id: &LockId, by: String, person: String) -> Result<Lifted, LockError> {
        let _one = self.one_at_a_time();
        let lock = self.said_by_those_who_stand(self.ledger.lock(id).ok_or(LockError::Unknown)?);
        let lifter = Lifter { by, person, at: self.clock.now() };
        // Nothing would change, and whoever says it twice may think that it had.
        let again = lock.said.iter().any(|said| said.person == lifter.person);
        if let (Lifting::Waits(_, after), true) = (lock.said_by(&lifter), again)
            && after.said.len() <= lock.said.len()
        {
            return Err(LockError::SaidAlready);
        }
        let lock = self.said_by_those_who_stand(self.ledger.prepare_lifting(id, lifter.clone())?);
        #[cfg(test)]
        tests::may_crash(self)?;
        self.finish(&lock, &lifter)
    }

    /// The lock with the words that still count: of users who may still do something, by the name by which the human is known
    /// now. Operators are known by their uid.
    fn said_by_those_who_stand(&self, lock: Lock) -> Lock {
        let now = self.clock.now();
        let known = |said: Lifter| {
            let Ok(name) = UserName::parse(&said.person) else { return Some(said) };
            let human = self.ledger.user(&name).map_or(name, |user| user.human().clone());
            let own = |user: &User| *user.human() == human && !user.is_suspended(now);
            let stands = self.ledger.users().iter().any(own);
            stands.then(|| Lifter { person: human.to_string(), ..said })
        };
        Lock { said: lock.said.into_iter().filter_map(known).collect(), ..lock }
    }

    /// Puts on record that a lock is lifted, or closer to it; then it is.
    fn finish(&self, lock: &Lock, lifter: &Lifter) -> Result<Lifted, LockError> {
        let lifting = lock.said_by(lifter);
        let (outcome, lifted) = match &lifting {
            Lifting::Lifted => (String::from("lifted"), Lifted::Gone(lock.clone())),
            Lifting::Waits(missing, after) => {
                (format!("waits for {missing} more"), Lifted::Waits((**after).clone(), *missing))
            }
        };
        if let Err(failure) = self.audit.append(&event(lock, &outcome, lifter.by.clone())) {
            // Not in the log: it did not happen.
            self.ledger.abandon_lifting(&lock.id)?;
            return Err(LockError::NotRecorded(failure));
        }
        #[cfg(test)]
        tests::may_crash(self)?;
        self.ledger.finish_lifting(&lock.id, lifting)?;
        Ok(lifted)
    }

    /// Puts on record which locks are over by their time, and forgets them; says how many. Live sessions must be judged
    /// again if there were any.
    ///
    /// # Errors
    /// `LockError`; the next call tries again. They hold no more, whatever comes of it.
    pub fn tidy(&self) -> Result<usize, LockError> {
        let _one = self.one_at_a_time();
        let now = self.clock.now();
        let mut count = 0_usize;
        for lock in self.ledger.locks().into_iter().filter(|lock| !lock.holds(now)) {
            let event = event(&lock, "expired", String::from("the bastion"));
            self.audit.append(&event).map_err(LockError::NotRecorded)?;
            #[cfg(test)]
            tests::may_crash(self)?;
            self.ledger.drop_lock(&lock.id)?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// Lets locks hold as long as they would have: the wall clock was set forward by so much. Says how many end later. Live
    /// sessions must be judged again after it. With it is kept what is known of the `clock`; `accept` makes the clock go by
    /// that.
    ///
    /// # Errors
    /// The database fails; nothing has changed.
    pub fn set_forward(&self, step: Duration, clock: &KeptClock, accept: &dyn Fn()) -> Result<usize, LockError> {
        let (_one, _dating) = (self.one_at_a_time(), self.dating());
        Ok(self.ledger.set_forward(step, self.clock.wall().minus(step), clock, accept)?)
    }

    /// Whether any lock is over by its time.
    pub fn any_over(&self) -> bool {
        let now = self.clock.now();
        self.ledger.locks().iter().any(|lock| !lock.holds(now))
    }
}

fn event(lock: &Lock, outcome: &str, by: String) -> AuditEvent {
    AuditEvent::LockStep(LockStep {
        lock: lock.id.clone(),
        outcome: outcome.to_owned(),
        scope: lock.scope.to_string(),
        effect: lock.effect.to_string(),
        lifters: lock.lifters,
        keeps_glass: lock.keeps_glass,
        until: lock.expires,
        reason: lock.reason.clone(),
        by,
    })
}
