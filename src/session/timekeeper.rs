//! Keeps a session's time: warns before its grant ends, ends it, and sees to it that the end is kept. A session that
//! can no longer be recorded is over too.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::idle::run_idle;
use super::registry::{EndCause, Registration};
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::recorder::RecorderError;
use crate::relay::Activity;
use crate::wire::Cut;

/// Before the end of a grant, the user is told so long ahead.
const WARNINGS: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(300), Duration::from_secs(60)];
/// How often the end of a grant is compared with the wall clock, should that be set forward.
const CLOCK_CHECK: Duration = Duration::from_secs(1);
/// A session that has not ended by itself so long after it must is cut (promise P3).
const ENFORCED_AFTER: Duration = Duration::from_secs(2);

/// The tasks that keep a session's time; they end with their owner.
#[derive(Debug)]
pub struct Timekeeper {
    tasks: JoinSet<()>,
    legs: [Cut; 2],
    /// How much time is left, when the user should be told.
    pub warnings: mpsc::Receiver<Duration>,
    /// How much is left of the time in which nothing may happen, when the user should be told.
    pub silences: mpsc::Receiver<Duration>,
}

impl Timekeeper {
    /// Starts keeping the time of a registered session, whose sockets are `legs`.
    ///
    /// It is a task of its own: whatever the session waits for, the end comes.
    pub fn start(registration: &Registration, clock: Clock, legs: [Cut; 2]) -> Self {
        let (warn, warnings) = mpsc::channel(WARNINGS.len());
        let (mut end, until, ender) = (registration.end.clone(), registration.until.clone(), registration.ender());
        let (mut tasks, cut) = (JoinSet::new(), legs.clone());
        tasks.spawn(async move {
            tokio::select! {
                _ = wait_end(&mut end) => {}
                () = run_clock(until, clock, warn) => ender.end_in_time(),
            }
            enforce(&cut).await;
        });
        let (_, silences) = mpsc::channel(1);
        Self { tasks, legs, warnings, silences }
    }

    /// Ends the session once nothing has gone through it for longer than its rules allow.
    pub fn watch_idle(&mut self, registration: &Registration, activity: Activity) {
        let (warn, silences) = mpsc::channel(1);
        let (idle, ender, cut) = (registration.idle.clone(), registration.ender(), self.legs.clone());
        self.silences = silences;
        self.tasks.spawn(async move {
            run_idle(idle, activity, warn).await;
            ender.end(EndCause::Idle);
            enforce(&cut).await;
        });
    }

    /// Sees to it that the session does not outlive its recording: `failed` is ready once that has failed.
    pub fn watch(&mut self, failed: impl Future<Output = RecorderError> + Send + 'static) {
        let cut = self.legs.clone();
        self.tasks.spawn(async move {
            let _ = failed.await;
            enforce(&cut).await;
        });
    }
}

/// Cuts the sockets of a session that must have ended by then.
async fn enforce(legs: &[Cut]) {
    sleep(ENFORCED_AFTER).await;
    legs.iter().for_each(Cut::cut);
}

/// Ready with the cause once the session must end.
pub async fn wait_end(end: &mut watch::Receiver<Option<EndCause>>) -> EndCause {
    let cause = end.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
    match cause {
        Some(cause) => cause,
        // The session has left the list; whoever waits is about to go too.
        None => std::future::pending().await,
    }
}

/// Ready when the time is over.
///
/// The end is set on the monotonic clock once, so that a wall clock that is set back does not move it; a wall
/// clock that is set forward brings it nearer.
async fn run_clock(mut until: watch::Receiver<Option<Timestamp>>, clock: Clock, warn: mpsc::Sender<Duration>) {
    loop {
        let Some(end) = *until.borrow_and_update() else {
            if until.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let left = clock.now().until(end);
        let deadline = Instant::now() + left;
        let mut ahead = WARNINGS.into_iter().filter(|warning| *warning < left).peekable();
        loop {
            let next = ahead.peek().map_or(deadline, |warning| deadline.checked_sub(*warning).unwrap_or(deadline));
            tokio::select! {
                () = sleep_until(next) => match ahead.next() {
                    Some(warning) => {
                        // A session too busy to take a warning is told at its end.
                        let _ = warn.try_send(warning);
                    }
                    None => return,
                },
                () = sleep(CLOCK_CHECK) => if clock.now() >= end { return },
                changed = until.changed() => {
                    if changed.is_err() { std::future::pending::<()>().await }
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::registry::tests::{facts, login};
    use super::*;
    use crate::model::ChannelClass;

    const SOON: Duration = Duration::from_millis(1200);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[tokio::test]
    async fn t15_a_wall_clock_set_back_does_not_lengthen_a_grant() {
        let clock = Clock::fixed(at(10_000));
        let (_sender, until) = watch::channel(Some(at(10_000).plus(SOON)));
        let started = Instant::now();
        let running = tokio::spawn(run_clock(until, clock.clone(), mpsc::channel(2).0));
        tokio::task::yield_now().await;
        clock.set(at(0));
        running.await.unwrap();
        assert!(started.elapsed() >= SOON && started.elapsed() < SOON * 3, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_wall_clock_set_forward_ends_a_grant_early() {
        let clock = Clock::fixed(at(0));
        let (_sender, until) = watch::channel(Some(at(3600)));
        let started = Instant::now();
        let running = tokio::spawn(run_clock(until, clock.clone(), mpsc::channel(2).0));
        tokio::task::yield_now().await;
        clock.set(at(4000));
        running.await.unwrap();
        assert!(started.elapsed() < CLOCK_CHECK * 3);
    }

    #[tokio::test]
    async fn a_session_whose_recording_failed_is_cut_whatever_it_waits_for() {
        let registration = super::super::Sessions::new().register(facts(1), ChannelClass::Shell, &login());
        let legs = [Cut::new(), Cut::new()];
        let mut time = Timekeeper::start(&registration, Clock::system(), legs.clone());
        let (fail, failed) = tokio::sync::oneshot::channel::<RecorderError>();
        time.watch(async { failed.await.unwrap_or(RecorderError::Panicked) });
        assert!(timeout(Duration::from_millis(50), legs[0].cut_off()).await.is_err());
        fail.send(RecorderError::Finished).unwrap();
        for leg in &legs {
            timeout(ENFORCED_AFTER * 2, leg.cut_off()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_end_that_is_moved_counts_from_then_on() {
        let clock = Clock::fixed(at(0));
        let (sender, until) = watch::channel(Some(at(3600)));
        let running = tokio::spawn(run_clock(until, clock.clone(), mpsc::channel(2).0));
        tokio::task::yield_now().await;
        sender.send_replace(Some(at(0).plus(SOON)));
        tokio::time::timeout(SOON * 3, running).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_user_is_warned_once_for_each_mark() {
        let clock = Clock::fixed(at(0));
        let (_sender, until) = watch::channel(Some(at(300).plus(Duration::from_millis(300))));
        let (warn, mut warnings) = mpsc::channel(2);
        let running = tokio::spawn(run_clock(until, clock.clone(), warn));
        assert_eq!(warnings.recv().await, Some(Duration::from_secs(300)));
        clock.set(at(400));
        running.await.unwrap();
        assert_eq!(warnings.recv().await, None);
    }
}
