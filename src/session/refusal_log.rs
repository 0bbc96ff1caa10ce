//! Puts on record what users were refused: in a task of its own, so that no session waits for the log, and bounded for
//! each user over all connections, so that nobody fills the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::record;
use super::stranger::{Budget, PERIOD};
use crate::audit::{Audit, AuditEvent};
use crate::clock::Clock;
use crate::model::UserName;

/// So many refusals of one user are on record one by one in a minute; of the others, how many there were.
const REFUSALS_MAX: u32 = 60;
/// A user is shown recordings and sessions at most so often in a minute: each time is on record.
const VIEWS_MAX: u32 = 240;
/// So many refusals may wait for the log. The budgets fill it only if many users are refused while the log hangs.
const WAITING_MAX: usize = 1024;

/// What is on record of refusals.
pub struct RefusalLog {
    queue: mpsc::Sender<Waiting>,
    clock: Clock,
    refusals: Mutex<HashMap<UserName, Budget>>,
    views: Mutex<HashMap<UserName, Budget>>,
}

/// A refusal on its way to the log.
struct Waiting {
    event: AuditEvent,
    written: oneshot::Sender<()>,
}

/// A refusal that is put on record.
pub(super) struct Noted {
    /// What stands there.
    pub text: String,
    /// Ready once it stands there, or could not be written.
    pub written: oneshot::Receiver<()>,
}

impl RefusalLog {
    /// Starts the task, which ends with this. Call it inside of a runtime.
    pub fn start(audit: Arc<Audit>, clock: Clock) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
        // One at a time: a log that hangs holds one thread, however much is refused meanwhile.
        tokio::spawn(async move {
            while let Some(Waiting { event, written }) = waiting.recv().await {
                if let Err(failure) = record(&audit, event).await {
                    error!(error = %failure, "Cannot write the audit log");
                }
                let _ = written.send(());
            }
        });
        Self { queue, clock, refusals: Mutex::default(), views: Mutex::default() }
    }

    /// Puts on record that a user was refused something, as `text` says, without waiting for it. `None` if the user's
    /// share of the log is used up: it is counted then.
    pub(super) fn note(&self, user: &UserName, text: &str, event: impl FnOnce(String) -> AuditEvent) -> Option<Noted> {
        let mut budgets = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budget_of(&mut budgets, user, REFUSALS_MAX, self.clock.instant());
        let left_out = budget.take(self.clock.instant())?;
        let text = match left_out {
            0 => text.to_owned(),
            left_out => format!("{text} ({left_out} refusals before it are not listed)"),
        };
        let (written, waiting) = oneshot::channel();
        if self.queue.try_send(Waiting { event: event(text.clone()), written }).is_err() {
            budget.leave_out(left_out.saturating_add(1));
            return None;
        }
        Some(Noted { text, written: waiting })
    }

    /// Whether this user may be shown one more thing now that must be on record.
    pub(super) fn view(&self, user: &UserName) -> bool {
        let mut budgets = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        budget_of(&mut budgets, user, VIEWS_MAX, now).take(now).is_some()
    }
}

fn budget_of<'a>(
    budgets: &'a mut HashMap<UserName, Budget>,
    user: &UserName,
    events_max: u32,
    now: Instant,
) -> &'a mut Budget {
    if !budgets.contains_key(user) {
        // Nothing is kept of those who have left but of how much was left out.
        budgets.retain(|_, budget| !budget.is_spent(now));
    }
    budgets.entry(user.clone()).or_insert_with(|| Budget::new(now, PERIOD, events_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (RefusalLog, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let clock = Clock::system();
        (RefusalLog { queue, clock, refusals: Mutex::default(), views: Mutex::default() }, waiting)
    }

    fn refuse(log: &RefusalLog, user: &UserName) -> Option<Noted> {
        log.note(user, "no", |what| AuditEvent::ChannelRefused {
            session: None,
            user: user.clone(),
            source: String::from("192.0.2.7:22"),
            what,
        })
    }

    #[test]
    fn a_user_who_is_refused_without_end_fills_nothing_but_their_share() {
        let (log, mut waiting) = log();
        let [ana, bob] = ["ana", "bob"].map(|name| UserName::parse(name).unwrap());
        assert_eq!((0..10_000).filter(|_| refuse(&log, &ana).is_some()).count(), 60);
        assert!(refuse(&log, &bob).is_some(), "one user takes the other's share");
        assert_eq!(std::iter::from_fn(|| waiting.try_recv().ok()).count(), 61);
    }

    #[test]
    fn a_log_that_hangs_holds_up_nobody_and_what_finds_no_place_is_counted() {
        let (log, mut waiting) = log();
        let users: Vec<_> = (0..100).map(|number| UserName::parse(&format!("u{number}")).unwrap()).collect();
        for user in &users {
            (0..60).for_each(|_| drop(refuse(&log, user)));
        }
        let last = users.last().unwrap();
        assert!(refuse(&log, last).is_none());
        while waiting.try_recv().is_ok() {}
        log.refusals.lock().unwrap().get_mut(last).unwrap().begin_anew();
        let noted = refuse(&log, last).unwrap();
        assert_eq!(noted.text, "no (61 refusals before it are not listed)");
    }

    #[test]
    fn views_are_counted_for_each_user() {
        let (log, _waiting) = log();
        let [eve, gary] = ["eve", "gary"].map(|name| UserName::parse(name).unwrap());
        assert_eq!((0..1000).filter(|_| log.view(&eve)).count(), 240);
        assert!(log.view(&gary));
    }
}
