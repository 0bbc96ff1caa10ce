//! Whether a session stands still.

use tokio::sync::watch;

/// Why a session stands still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// For its user.
    pub told: String,
    /// For its recording, and for operators.
    pub noted: String,
}

/// What the channels of a session ask before they pass something on.
#[derive(Debug, Clone)]
pub struct Pause(watch::Receiver<Option<Paused>>);

impl Pause {
    /// As it is told.
    pub fn new(paused: watch::Receiver<Option<Paused>>) -> Self {
        Self(paused)
    }

    /// For what never stands still.
    pub fn never() -> Self {
        Self(watch::channel(None).1)
    }

    /// Whether it stands still now.
    pub fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Ready once it does not stand still; of a session that is gone, never. May be dropped while it waits.
    pub async fn over(&self) {
        let mut paused = self.0.clone();
        if paused.wait_for(Option::is_none).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
