//! The only source of wall and monotonic time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// Tells the time. Tests set it by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    fixed_ms: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { fixed_ms: None }
    }

    /// A clock that stands still at `start` until `set` moves it.
    pub fn fixed(start: Timestamp) -> Self {
        Self { fixed_ms: Some(Arc::new(AtomicI64::new(start.as_millis()))) }
    }

    /// Moves a fixed clock; does nothing to the system's.
    pub fn set(&self, to: Timestamp) {
        if let Some(fixed) = &self.fixed_ms {
            fixed.store(to.as_millis(), Ordering::SeqCst);
        }
    }

    /// Wall time, UTC, in milliseconds.
    #[expect(clippy::disallowed_methods, reason = "this module is the source of time")]
    pub fn now(&self) -> Timestamp {
        if let Some(fixed) = &self.fixed_ms {
            return Timestamp::from_millis(fixed.load(Ordering::SeqCst));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Time since the machine was booted, with that in which it slept.
    pub fn since_boot(&self) -> Duration {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
    }

    /// Monotonic time, for intervals.
    #[expect(clippy::disallowed_methods, reason = "this module is the source of time")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }
}
