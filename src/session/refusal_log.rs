//! Puts on record what users were refused: in a task of its own, so that no session waits for the log, and bounded for
//! each user over all connections, so that nobody fills the disk.
//!
//! What is refused beyond that is counted, and the count is put on record once its minute is over, or the server stops.
//! Each kind of refusal has a share of its own: noise that costs nothing hides nothing of what tells more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::error;

use super::stranger::{Budget, PERIOD};
use super::{Refusal, record};
use crate::audit::{Audit, AuditEvent};
use crate::clock::Clock;
use crate::gate::verdict::AlertLevel;
use crate::model::{RuleId, UserName};

/// So many refusals of one kind and user are on record one by one in a minute; of the others, how many there were.
const REFUSALS_MAX: u32 = 60;
/// A user is shown recordings and sessions at most so often in a minute: each time is on record.
const VIEWS_MAX: u32 = 240;
/// Of one user, rule and level so many alerts go out one by one in a minute; of the others, how many there were.
const ALERTS_MAX: u32 = 10;
/// So many refusals may wait for the log. The budgets fill it only if many users are refused while the log hangs.
const WAITING_MAX: usize = 1024;
/// How often it is looked for minutes that are over.
const CHECK: Duration = Duration::from_secs(5);
/// A server that stops waits so long for what is left to be put on record.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is on record of refusals.
pub struct RefusalLog {
    queue: mpsc::Sender<Waiting>,
    clock: Clock,
    shares: Arc<Shares>,
    views: Mutex<HashMap<UserName, Budget>>,
    alerts: Mutex<HashMap<Alerted, Budget>>,
}

/// Whose alerts are counted together: what one rule tells of never hides what another does.
type Alerted = (UserName, Option<RuleId>, AlertLevel);

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// What nobody is ever given.
    Noise,
    /// A session.
    Start,
    /// What would have shown a session to an auditor.
    Audit,
    /// Anything within a live session.
    Within,
    /// What a user wanted to do with files.
    File,
    /// A command line that no rule is about.
    Command,
    /// One that a rule refuses.
    Ruled,
    /// One of which somebody must be told.
    Alerted(AlertLevel),
}

impl Kind {
    /// Of what was refused outside of a live session.
    pub fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Login(_) | Refusal::NoDestination(_) | Refusal::Verb(_) | Refusal::Busy { .. } => Self::Noise,
            Refusal::NothingToAudit { .. } | Refusal::Withdrawn(_) => Self::Audit,
            Refusal::LoginOver(_)
            | Refusal::Request(_)
            | Refusal::Denied(_)
            | Refusal::NotCarried(_)
            | Refusal::TooMany(_)
            | Refusal::NotFound
            | Refusal::Command(_)
            | Refusal::Recorder(_)
            | Refusal::Audit(_)
            | Refusal::Vault(_)
            | Refusal::Dial(_)
            | Refusal::Elsewhere
            | Refusal::Idle
            | Refusal::Paused
            | Refusal::Unwatched
            | Refusal::Ended(_) => Self::Start,
        }
    }
}

/// What the task does next.
enum Waiting {
    /// Writes a refusal, and says when.
    Refused(Box<AuditEvent>, oneshot::Sender<()>),
    /// Writes what was left out, and says when.
    Settle(oneshot::Sender<()>),
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
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let shares = Arc::new(Shares::default());
        tokio::spawn(keep(audit, clock.clone(), Arc::clone(&shares), waiting));
        Self { queue, clock, shares, views: Mutex::default(), alerts: Mutex::default() }
    }

    /// Puts on record that a user was refused something, as `text` says, without waiting for it. `None` if the user's
    /// share of the log is used up: it is counted then.
    pub(super) fn note(
        &self,
        user: &UserName,
        kind: Kind,
        text: &str,
        event: impl Fn(String) -> AuditEvent + Send + Sync + 'static,
    ) -> Option<Noted> {
        let now = self.clock.instant();
        let mut shares = self.shares.lock();
        let share = share_of(&mut shares, (user.clone(), kind), now);
        let Some(left_out) = share.budget.take(now) else {
            share.last = Some(telling(text, event));
            return None;
        };
        let listed = match left_out {
            0 => text.to_owned(),
            left_out => format!("{text} ({left_out} refusals before it are not listed)"),
        };
        let (written, waiting) = oneshot::channel();
        if self.queue.try_send(Waiting::Refused(Box::new(event(listed.clone())), written)).is_err() {
            share.budget.leave_out(left_out.saturating_add(1));
            share.last = Some(telling(text, event));
            return None;
        }
        share.last = None;
        Some(Noted { text: listed, written: waiting })
    }

    /// Whether this user may be shown one more thing now that must be on record.
    pub(super) fn view(&self, user: &UserName) -> bool {
        let mut budgets = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        if !budgets.contains_key(user) {
            // Nothing is kept of those who have left.
            budgets.retain(|_, budget| !budget.is_spent(now));
        }
        let budget = budgets.entry(user.clone()).or_insert_with(|| Budget::new(now, PERIOD, VIEWS_MAX));
        budget.take(now).is_some()
    }

    /// Whether somebody is told now of a command that was refused, with how many like it before they were not told of.
    /// The share of the log has no say in it: what fills that would silence what matters more.
    pub(super) fn alert(&self, user: &UserName, rule: Option<RuleId>, level: AlertLevel) -> Option<u64> {
        let mut budgets = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        let whose = (user.clone(), rule, level);
        if !budgets.contains_key(&whose) {
            budgets.retain(|_, budget| !budget.is_spent(now));
        }
        budgets.entry(whose).or_insert_with(|| Budget::new(now, PERIOD, ALERTS_MAX)).take(now)
    }

    /// Puts on record what waits and how much was left out: the server stops.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        let settling = async {
            if self.queue.send(Waiting::Settle(done)).await.is_ok() {
                let _ = settled.await;
            }
        };
        if timeout(STOP_TIMEOUT, settling).await.is_err() {
            error!("The audit log takes nothing: how much was refused is not on record");
        }
    }
}

/// Writes to the log. One at a time: a log that hangs holds one thread, however much is refused meanwhile.
async fn keep(audit: Arc<Audit>, clock: Clock, shares: Arc<Shares>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut check = interval(CHECK);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            next = waiting.recv() => match next {
                None => return,
                Some(Waiting::Refused(event, written)) => {
                    if let Err(failure) = record(&audit, *event).await {
                        error!(error = %failure, "Cannot write the audit log");
                    }
                    let _ = written.send(());
                }
                Some(Waiting::Settle(done)) => {
                    tell(&audit, &shares, shares.left_out(None)).await;
                    let _ = done.send(());
                }
            },
            _ = check.tick() => tell(&audit, &shares, shares.left_out(Some(clock.instant()))).await,
        }
    }
}

/// Puts on record how much was left out.
async fn tell(audit: &Arc<Audit>, shares: &Shares, left_out: Vec<LeftOut>) {
    for one in left_out {
        if let Err(failure) = record(audit, (one.last)(one.count)).await {
            error!(error = %failure, "Cannot write the audit log");
            shares.put_back(one);
        }
    }
}

/// What each user may still put on record of each kind, and what was left out.
#[derive(Default)]
struct Shares(Mutex<HashMap<(UserName, Kind), Share>>);

struct Share {
    budget: Budget,
    /// The last refusal that was left out.
    last: Option<Telling>,
}

/// Makes the event that tells how many refusals were left out, with the last of them.
type Telling = Box<dyn Fn(u64) -> AuditEvent + Send + Sync>;

/// What was left out of one share.
struct LeftOut {
    whose: (UserName, Kind),
    count: u64,
    last: Telling,
}

impl Shares {
    fn lock(&self) -> MutexGuard<'_, HashMap<(UserName, Kind), Share>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was left out in minutes that are over at `now`, or in any. It counts as told.
    fn left_out(&self, now: Option<Instant>) -> Vec<LeftOut> {
        let mut shares = self.lock();
        let over = shares.iter_mut().filter(|(_, share)| now.is_none_or(|now| share.budget.is_over(now)));
        let told = over.filter_map(|(whose, share)| {
            let last = share.last.take()?;
            Some(LeftOut { whose: whose.clone(), count: share.budget.told(), last })
        });
        told.collect()
    }

    /// It could not be told: the next look tries again.
    fn put_back(&self, LeftOut { whose, count, last }: LeftOut) {
        if let Some(share) = self.lock().get_mut(&whose) {
            share.budget.leave_out(count);
            share.last.get_or_insert(last);
        }
    }
}

fn share_of(shares: &mut HashMap<(UserName, Kind), Share>, whose: (UserName, Kind), now: Instant) -> &mut Share {
    if !shares.contains_key(&whose) {
        // Nothing is kept of those who have left but of how much was left out.
        shares.retain(|_, share| !share.budget.is_spent(now));
    }
    let budget = || Budget::new(now, PERIOD, REFUSALS_MAX);
    shares.entry(whose).or_insert_with(|| Share { budget: budget(), last: None })
}

fn telling(text: &str, event: impl Fn(String) -> AuditEvent + Send + Sync + 'static) -> Telling {
    let text = text.to_owned();
    Box::new(move |count| match count {
        1 => event(text.clone()),
        count => event(format!("{count} refusals are not listed, the last of them: {text}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (RefusalLog, mpsc::Receiver<Waiting>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let (clock, shares) = (Clock::system(), Arc::default());
        (RefusalLog { queue, clock, shares, views: Mutex::default(), alerts: Mutex::default() }, waiting)
    }

    fn refuse(log: &RefusalLog, user: &UserName, kind: Kind, text: &str) -> Option<Noted> {
        let of = user.clone();
        log.note(user, kind, text, move |what| AuditEvent::ChannelRefused {
            session: None,
            user: of.clone(),
            source: String::from("192.0.2.7:22"),
            what,
        })
    }

    fn users<const N: usize>(names: [&str; N]) -> [UserName; N] {
        names.map(|name| UserName::parse(name).unwrap())
    }

    /// Who was told of, and what.
    fn told(left_out: &[LeftOut]) -> Vec<(&str, String)> {
        let what = |one: &LeftOut| {
            let AuditEvent::ChannelRefused { what, .. } = (one.last)(one.count) else { panic!() };
            what
        };
        left_out.iter().map(|one| (one.whose.0.as_str(), what(one))).collect()
    }

    #[test]
    fn a_user_who_is_refused_without_end_fills_nothing_but_their_share() {
        let (log, mut waiting) = log();
        let [ana, bob] = users(["ana", "bob"]);
        assert_eq!((0..10_000).filter(|_| refuse(&log, &ana, Kind::Noise, "no").is_some()).count(), 60);
        assert!(refuse(&log, &bob, Kind::Noise, "no").is_some(), "one user takes the other's share");
        assert_eq!(std::iter::from_fn(|| waiting.try_recv().ok()).count(), 61);
    }

    #[test]
    fn noise_hides_no_refusal_of_another_kind() {
        let (log, _waiting) = log();
        let [ana] = users(["ana"]);
        for _ in 0..1000 {
            let _ = refuse(&log, &ana, Kind::Noise, "no");
        }
        for kind in [Kind::Start, Kind::Audit, Kind::Within, Kind::File, Kind::Command, Kind::Ruled] {
            assert!(refuse(&log, &ana, kind, "no").is_some(), "{kind:?} has no share of its own");
        }
        for level in [AlertLevel::Low, AlertLevel::Medium, AlertLevel::High] {
            for _ in 0..1000 {
                let _ = refuse(&log, &ana, Kind::Command, "no");
                let _ = refuse(&log, &ana, Kind::Ruled, "no");
            }
            assert!(refuse(&log, &ana, Kind::Alerted(level), "no").is_some(), "{level} has no share of its own");
        }
    }

    #[test]
    fn alerts_of_one_rule_are_folded_and_silence_no_other() {
        let (log, _waiting) = log();
        let [ana, bob] = users(["ana", "bob"]);
        let rule = |id: &str| Some(RuleId::parse(id).unwrap());
        assert_eq!((0..1000).filter(|_| log.alert(&ana, rule("a"), AlertLevel::Low).is_some()).count(), 10);
        assert_eq!(log.alert(&ana, rule("b"), AlertLevel::Low), Some(0));
        assert_eq!(log.alert(&ana, rule("a"), AlertLevel::High), Some(0));
        assert_eq!(log.alert(&ana, None, AlertLevel::Low), Some(0));
        assert_eq!(log.alert(&bob, rule("a"), AlertLevel::Low), Some(0));
        let whose = (ana.clone(), rule("a"), AlertLevel::Low);
        log.alerts.lock().unwrap().get_mut(&whose).unwrap().begin_anew();
        assert_eq!(log.alert(&ana, rule("a"), AlertLevel::Low), Some(990), "how many were folded");
    }

    #[test]
    fn what_was_left_out_is_told_when_its_minute_is_over() {
        let (log, _waiting) = log();
        let [ana, bob] = users(["ana", "bob"]);
        for number in 0..100 {
            let _ = refuse(&log, &ana, Kind::Noise, &format!("no {number}"));
        }
        for _ in 0..60 {
            let _ = refuse(&log, &bob, Kind::Noise, "no");
        }
        let start = log.clock.instant();
        assert_eq!(told(&log.shares.left_out(Some(start))), [], "the minute is not over");
        let over = Some(start + PERIOD);
        let left_out = log.shares.left_out(over);
        assert_eq!(told(&left_out), [("ana", "40 refusals are not listed, the last of them: no 99".to_owned())]);
        assert_eq!(told(&log.shares.left_out(over)), [], "it is told twice");
        // What could not be written is told later, and a server that stops waits for no minute.
        left_out.into_iter().for_each(|one| log.shares.put_back(one));
        let _ = refuse(&log, &ana, Kind::Noise, "no 100");
        let left_out = log.shares.left_out(None);
        assert_eq!(told(&left_out), [("ana", "41 refusals are not listed, the last of them: no 100".to_owned())]);
    }

    #[test]
    fn a_log_that_hangs_holds_up_nobody_and_what_finds_no_place_is_counted() {
        let (log, mut waiting) = log();
        let users: Vec<_> = (0..100).map(|number| UserName::parse(&format!("u{number}")).unwrap()).collect();
        for user in &users {
            (0..60).for_each(|_| drop(refuse(&log, user, Kind::Start, "no")));
        }
        let last = users.last().unwrap();
        assert!(refuse(&log, last, Kind::Start, "no").is_none());
        while waiting.try_recv().is_ok() {}
        log.shares.lock().get_mut(&(last.clone(), Kind::Start)).unwrap().budget.begin_anew();
        let noted = refuse(&log, last, Kind::Start, "no").unwrap();
        assert_eq!(noted.text, "no (61 refusals before it are not listed)");
        let left_out = log.shares.left_out(None);
        assert!(!told(&left_out).iter().any(|(user, _)| *user == last.as_str()), "it is told twice");
    }

    #[test]
    fn views_are_counted_for_each_user() {
        let (log, _waiting) = log();
        let [eve, gary] = users(["eve", "gary"]);
        assert_eq!((0..1000).filter(|_| log.view(&eve)).count(), 240);
        assert!(log.view(&gary));
    }
}
