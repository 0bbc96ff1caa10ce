//! When something last went through a session, either way, in any of its channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The clock of one session's silence. Keepalives, resizes and the bastion's own lines do not stop it.
#[derive(Debug, Clone)]
pub struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Activity {
    /// Counts from now.
    pub fn start() -> Self {
        Self(Arc::new(Inner { begun: Instant::now(), last: AtomicU64::new(0) }))
    }

    /// Something went through.
    pub fn note(&self) {
        let after = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.fetch_max(after, Ordering::Relaxed);
    }

    /// When something last did.
    pub fn last(&self) -> Instant {
        self.0.begun + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
    }
}
