//! The only source of wall and monotonic time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// A wall clock that differs by more from the time since boot was set.
const STEP_MIN_MS: i64 = 5_000;

/// Tells the time. Tests set it by hand. Clones are one clock.
#[derive(Debug, Clone)]
pub struct Clock {
    fixed_ms: Option<Arc<AtomicI64>>,
    /// What the wall clock shows at boot, as it is gone by: it may have been set since, and that is not accepted yet.
    offset_ms: Arc<AtomicI64>,
}

/// By what the wall clock was gone by, in one boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Which boot, as the kernel names it.
    pub boot: String,
    /// What the wall clock showed at boot, in milliseconds since 1970.
    pub offset_ms: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::of(None)
    }

    /// A clock that stands still at `start` until `set` moves it.
    pub fn fixed(start: Timestamp) -> Self {
        Self::of(Some(Arc::new(AtomicI64::new(start.as_millis()))))
    }

    fn of(fixed_ms: Option<Arc<AtomicI64>>) -> Self {
        let clock = Self { fixed_ms, offset_ms: Arc::default() };
        let offset_ms = clock.wall().as_millis().saturating_sub(clock.boot_ms());
        clock.offset_ms.store(offset_ms, Ordering::SeqCst);
        clock
    }

    /// Moves a fixed clock; does nothing to the system's.
    pub fn set(&self, to: Timestamp) {
        if let Some(fixed) = &self.fixed_ms {
            fixed.store(to.as_millis(), Ordering::SeqCst);
        }
    }

    /// Wall time, UTC, in milliseconds. Where the wall clock was set back it goes on as before, until that is accepted:
    /// until then nothing that is over by it begins again.
    pub fn now(&self) -> Timestamp {
        let wall = self.wall();
        if self.fixed_ms.is_some() {
            return wall;
        }
        let kept = self.offset_ms.load(Ordering::SeqCst).saturating_add(self.boot_ms());
        if wall.as_millis() < kept.saturating_sub(STEP_MIN_MS) { Timestamp::from_millis(kept) } else { wall }
    }

    /// What the wall clock shows, however it was set.
    #[expect(clippy::disallowed_methods, reason = "this module is the source of time")]
    pub fn wall(&self) -> Timestamp {
        if let Some(fixed) = &self.fixed_ms {
            return Timestamp::from_millis(fixed.load(Ordering::SeqCst));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// By how many milliseconds the wall clock was set, if that is a step; negative if back. Counted from what was accepted
    /// last and not from the last look, so that many small steps are one in the end.
    pub fn step(&self) -> Option<i64> {
        step(self.wall().as_millis(), self.boot_ms(), self.offset_ms.load(Ordering::SeqCst))
    }

    /// Goes by a wall clock that was set by so much, now that nothing lasts longer for it.
    pub fn accept(&self, step_ms: i64) {
        self.offset_ms.fetch_add(step_ms, Ordering::SeqCst);
    }

    /// By what the clock is gone by, once a step of so much is accepted; `None` of a fixed one, or where the kernel does not
    /// name the boot.
    pub fn baseline(&self, step_ms: i64) -> Option<Baseline> {
        if self.fixed_ms.is_some() {
            return None;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Baseline { boot, offset_ms: self.offset_ms.load(Ordering::SeqCst).saturating_add(step_ms) })
    }

    /// Time since the machine was booted, with that in which it slept.
    #[expect(clippy::unused_self, reason = "time is asked of the clock")]
    fn boot_ms(&self) -> i64 {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        at.tv_sec.saturating_mul(1000).saturating_add(at.tv_nsec / 1_000_000)
    }

    /// Monotonic time, for intervals.
    #[expect(clippy::disallowed_methods, reason = "this module is the source of time")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}

impl Baseline {
    /// By how many milliseconds the wall clock was set from this to `later`, if that is a step and they are of one boot.
    pub fn step_to(&self, later: &Self) -> Option<i64> {
        if self.boot != later.boot {
            return None;
        }
        step(later.offset_ms, 0, self.offset_ms)
    }
}

fn step(wall_ms: i64, boot_ms: i64, offset_ms: i64) -> Option<i64> {
    let step = wall_ms.saturating_sub(boot_ms).saturating_sub(offset_ms);
    (step.saturating_abs() > STEP_MIN_MS).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_more_than_five_seconds_is_told_once_and_many_small_ones_too() {
        assert_eq!(step(1_000, 1_000, 0), None);
        assert_eq!(step(7_000, 2_000, 0), None);
        assert_eq!(step(8_001, 3_000, 0), Some(5_001));
        assert_eq!(step(9_001, 4_000, 5_001), None);
        assert_eq!(step(-50_000, 5_000, 5_001), Some(-60_001));
        // Four seconds ahead each second.
        assert_eq!(step(-45_000, 6_000, -55_000), None);
        assert_eq!(step(-40_000, 7_000, -55_000), Some(8_000));
        // Set back by an hour while the machine slept for one.
        assert_eq!(step(-39_000, 3_608_000, -47_000), Some(-3_600_000));
    }

    #[test]
    fn a_clock_goes_on_until_that_it_was_set_back_is_accepted() {
        let clock = Clock::system();
        // It showed an hour more a moment ago.
        clock.accept(3_600_000);
        let ahead = || clock.wall().until(clock.now()).as_secs();
        assert!((3_599..=3_600).contains(&ahead()) && clock.step().is_some_and(|step| step < -3_590_000));
        clock.accept(-3_600_000);
        assert!(ahead() == 0 && clock.step().is_none());
        // Set forward it is gone by at once.
        clock.accept(-3_600_000);
        assert!(clock.now().until(clock.wall()).as_secs() == 0 && clock.step().is_some_and(|step| step > 3_590_000));
    }

    #[test]
    fn a_step_between_two_runs_is_known_in_one_boot() {
        let baseline = |boot: &str, offset_ms| Baseline { boot: boot.to_owned(), offset_ms };
        let before = baseline("a", 1_000_000);
        assert_eq!(before.step_to(&baseline("a", 400_000)), Some(-600_000));
        assert_eq!(before.step_to(&baseline("a", 1_600_000)), Some(600_000));
        assert_eq!((before.step_to(&baseline("a", 1_004_000)), before.step_to(&baseline("b", 0))), (None, None));
    }
}
