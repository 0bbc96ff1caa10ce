//! The thread that publishes each second, and watches the clock.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{Audit, AuditEvent};
use crate::model::Timestamp;
use crate::tlog::Note;

/// How long an event waits at most before a checkpoint covers it.
const PERIOD: Duration = Duration::from_secs(1);
/// A clock that is steered by NTP moves less than this in hours.
const STEP_MIN_MS: i64 = 5_000;

/// Publishes until it is dropped; then once more.
#[derive(Debug)]
pub struct Publishing {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Publishing {
    /// Starts to publish `audit` each second if it has grown; gives each new checkpoint to `published`, and to `stepped` by
    /// how many milliseconds the wall clock was set, before that is on record.
    ///
    /// # Errors
    /// What the system says, if it gives no thread.
    pub fn start(
        audit: Arc<Audit>,
        published: impl Fn(&Note) + Send + 'static,
        stepped: impl Fn(i64) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let work = move || run(&audit, &stopped, &published, &stepped);
        let thread = std::thread::Builder::new().name("publishing".to_owned()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has shown itself; `Audit::close` publishes what is left.
            let _ = thread.join();
        }
    }
}

fn run(audit: &Audit, stopped: &Receiver<()>, published: &impl Fn(&Note), stepped: &impl Fn(i64)) {
    let mut watch = Watch::new(audit.clock.now(), audit.clock.since_boot());
    let mut fails = false;
    loop {
        let over = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
        if let Some(step_ms) = watch.step(audit.clock.now(), audit.clock.since_boot()) {
            warn!(step_ms, "The wall clock was set");
            stepped(step_ms);
            if let Err(failure) = audit.append(&AuditEvent::ClockStep { step_ms }) {
                error!(error = %failure, "Cannot write the audit log");
            }
        }
        match audit.publish() {
            Ok(note) => {
                if std::mem::take(&mut fails) {
                    info!("The audit log is published again");
                }
                note.iter().for_each(published);
            }
            // Once, not each second.
            Err(failure) if !fails => {
                fails = true;
                error!(error = %failure, cause = ?std::error::Error::source(&failure), "Cannot publish the audit log");
            }
            Err(_) => {}
        }
        if over {
            return;
        }
    }
}

/// The wall clock against the time since boot: that goes on while the machine sleeps, so a clock that was set back
/// meanwhile is found too.
#[derive(Debug)]
struct Watch {
    wall: Timestamp,
    boot: Duration,
}

impl Watch {
    fn new(wall: Timestamp, boot: Duration) -> Self {
        Self { wall, boot }
    }

    /// By how much the wall clock has moved against the other since the beginning or the last step, in milliseconds,
    /// if that is a step. Counted from there and not from the last look, so that many small steps are one in the end.
    fn step(&mut self, wall: Timestamp, boot: Duration) -> Option<i64> {
        let elapsed = boot.saturating_sub(self.boot).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let moved = wall.as_millis().saturating_sub(self.wall.as_millis());
        let step = moved.saturating_sub(elapsed);
        if step.saturating_abs() <= STEP_MIN_MS {
            return None;
        }
        *self = Self::new(wall, boot);
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_more_than_five_seconds_is_told_once_and_many_small_ones_too() {
        let mut watch = Watch::new(Timestamp::from_millis(0), Duration::ZERO);
        let mut step = |wall_ms, seconds| watch.step(Timestamp::from_millis(wall_ms), Duration::from_secs(seconds));
        assert_eq!(step(1_000, 1), None);
        assert_eq!(step(7_000, 2), None);
        assert_eq!(step(8_001, 3), Some(5_001));
        assert_eq!(step(9_001, 4), None);
        assert_eq!(step(-50_000, 5), Some(-60_001));
        // Four seconds ahead each second.
        assert_eq!(step(-45_000, 6), None);
        assert_eq!(step(-40_000, 7), Some(8_000));
        // Set back by an hour while the machine slept for one.
        assert_eq!(step(-39_000, 3608), Some(-3_600_000));
    }
}
