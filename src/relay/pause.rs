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

    /// As it is now, to be asked later whether it has stood still since.
    pub fn mark(&self) -> Going {
        let mut since = self.0.clone();
        since.mark_unchanged();
        Going(since)
    }

    /// Ready once it does not stand still; of a session that is gone, never. May be dropped while it waits.
    pub async fn over(&self) {
        let mut paused = self.0.clone();
        if paused.wait_for(Option::is_none).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A moment of a session.
#[derive(Debug, Clone)]
pub struct Going(watch::Receiver<Option<Paused>>);

impl Going {
    /// Whether the session goes, and has not stood still since; of a session that is gone, `false`.
    pub fn holds(&self) -> bool {
        self.0.borrow().is_none() && matches!(self.0.has_changed(), Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_stood_still_has_not_gone_on_since_however_short_that_was() {
        let (set, paused) = watch::channel(None);
        let pause = Pause::new(paused);
        let before = pause.mark();
        assert!(before.holds());
        set.send_replace(Some(Paused { told: String::new(), noted: String::new() }));
        let during = pause.mark();
        assert!(!before.holds() && !during.holds());
        set.send_replace(None);
        assert!(!before.holds() && !during.holds() && pause.mark().holds());
        let last = pause.mark();
        drop(set);
        assert!(!last.holds(), "of a session that is gone");
    }
}
