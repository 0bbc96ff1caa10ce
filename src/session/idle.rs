//! Ends sessions in which nothing happens for too long.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::relay::Activity;

/// Terminals are told so long before the end; where that is more than half of what is allowed, after half.
const AHEAD: Duration = Duration::from_secs(60);

/// Ready when nothing has gone through a session for as long as its rules allow now. `warn` is told each time that this is
/// near, with what is left.
pub async fn run_idle(
    mut allowed: watch::Receiver<Option<Duration>>,
    activity: Activity,
    warn: mpsc::Sender<Duration>,
) {
    // The silence that the user was warned of.
    let mut warned: Option<Instant> = None;
    loop {
        let Some(span) = *allowed.borrow_and_update() else {
            if allowed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            continue;
        };
        let (last, now) = (activity.last(), Instant::now());
        let (end, ahead) = (last + span, AHEAD.min(span / 2));
        if now >= end {
            return;
        }
        let warning = end - ahead;
        let next = if now < warning || warned == Some(last) {
            if now < warning { warning } else { end }
        } else {
            warned = Some(last);
            // Terminals that take no line are told at the end.
            let _ = warn.try_send(ahead);
            end
        };
        tokio::select! {
            () = sleep_until(next) => {}
            changed = allowed.changed() => if changed.is_err() { std::future::pending::<()>().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silence_is_warned_of_and_then_ends_and_what_goes_through_puts_it_off() {
        let (span, activity) = (Duration::from_millis(600), Activity::start());
        let (_allow, allowed) = watch::channel(Some(span));
        let (warn, mut warnings) = mpsc::channel(4);
        let begun = Instant::now();
        let running = tokio::spawn(run_idle(allowed, activity.clone(), warn));
        assert_eq!(warnings.recv().await, Some(span / 2));
        let noted = Instant::now();
        activity.note();
        assert_eq!(warnings.recv().await, Some(span / 2));
        running.await.unwrap();
        assert!(noted.elapsed() >= span - Duration::from_millis(1), "{:?}", noted.elapsed());
        assert!(begun.elapsed() >= span * 3 / 2 - Duration::from_millis(2) && begun.elapsed() < span * 10);
    }

    #[tokio::test]
    async fn a_rule_that_comes_to_allow_less_counts_from_the_last_sign_of_life() {
        let (allow, allowed) = watch::channel(None);
        let activity = Activity::start();
        let running = tokio::spawn(run_idle(allowed, activity.clone(), mpsc::channel(4).0));
        tokio::task::yield_now().await;
        assert!(!running.is_finished());
        allow.send_replace(Some(Duration::from_millis(50)));
        tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
        assert!(activity.last().elapsed() >= Duration::from_millis(50));
    }
}
