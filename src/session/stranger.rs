//! Puts on record who did not get in, without letting strangers fill the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Bastion;
use crate::audit::AuditEvent;
use crate::listener::FailedLogin;

/// So many refusals are on record one by one in each period; of the others, how many there were.
const EVENTS_MAX: u32 = 60;
/// The period.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// Writes failed logins to the audit log until the listeners are gone.
pub async fn note_strangers(mut failed: mpsc::Receiver<FailedLogin>, bastion: Arc<Bastion>) {
    let mut budget = Budget::new(bastion.clock.instant(), PERIOD, EVENTS_MAX);
    while let Some(login) = failed.recv().await {
        let Some(left_out) = budget.take(bastion.clock.instant()) else { continue };
        let FailedLogin { login, source, mut reason } = login;
        if left_out > 0 {
            reason = format!("{reason} ({left_out} other failed logins before it are not listed)");
        }
        let event = AuditEvent::AuthFailed { login, source: source.to_string(), reason };
        bastion.note(event).await;
    }
}

/// How many refusals may still be put on record in this period.
pub(super) struct Budget {
    since: Instant,
    period: Duration,
    events_max: u32,
    written: u32,
    left_out: u64,
}

impl Budget {
    /// `events_max` events in each period.
    pub fn new(now: Instant, period: Duration, events_max: u32) -> Self {
        Self { since: now, period, events_max, written: 0, left_out: 0 }
    }

    /// `Some` if an event may be written, with how many were left out before it.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            self.since = now;
            self.written = 0;
        }
        if self.written >= self.events_max {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written = self.written.saturating_add(1);
        Some(self.told())
    }

    /// Counts events that were not written though they might have been, for there was no place for them.
    pub fn leave_out(&mut self, events: u64) {
        self.left_out = self.left_out.saturating_add(events);
    }

    /// How many were left out. They count as told.
    pub fn told(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Whether nothing is lost if this is forgotten.
    pub fn is_spent(&self, now: Instant) -> bool {
        self.left_out == 0 && self.is_over(now)
    }

    /// Whether the period is over at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.period
    }

    /// Begins a period, as if the last were over.
    #[cfg(test)]
    pub fn begin_anew(&mut self) {
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failed_logins_is_counted_and_not_listed() {
        let start = crate::clock::Clock::system().instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(start, PERIOD, EVENTS_MAX);
        let written = (0..1000).filter(|_| budget.take(at(1)).is_some()).count();
        assert_eq!(written, 60);
        assert_eq!(budget.take(at(59)), None);
        assert_eq!(budget.take(at(60)), Some(941));
        assert_eq!(budget.take(at(61)), Some(0));
    }
}
