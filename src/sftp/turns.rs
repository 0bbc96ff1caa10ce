//! Turns: where rules name paths, one path at a time is resolved and used on a target, so that no user of this bastion can put
//! a link in its place in between.
//!
//! What this does **not** guard against: whoever has a shell on the target, or reaches it otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};
use tokio::time::{sleep, timeout};

/// Who waits longer for their turn is told to try again.
const TURN_MAX: Duration = Duration::from_secs(60);
/// A request whose channel went away while it was under way has so long to come to its end on the target.
const LINGER: Duration = Duration::from_secs(10);

/// The turns at all targets.
#[derive(Debug)]
pub struct Turns {
    all: Mutex<HashMap<String, Weak<Gate<()>>>>,
    linger: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Mutex::default(), linger: LINGER }
    }
}

impl Turns {
    /// The turns at one target, by its address.
    pub fn at(&self, address: &str) -> TurnsAt {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = all.get(address).and_then(Weak::upgrade) {
            return TurnsAt { gate, linger: self.linger };
        }
        // Nothing is kept of targets at which nobody is.
        all.retain(|_, gate| gate.strong_count() > 0);
        let gate: Arc<Gate<()>> = Arc::default();
        all.insert(address.to_owned(), Arc::downgrade(&gate));
        TurnsAt { gate, linger: self.linger }
    }
}

/// The turns at one target.
#[derive(Debug, Clone)]
pub struct TurnsAt {
    gate: Arc<Gate<()>>,
    linger: Duration,
}

impl TurnsAt {
    /// Waits for a turn; none if it takes too long.
    pub async fn take(&self) -> Option<Turn> {
        let guard = timeout(TURN_MAX, Arc::clone(&self.gate).lock_owned()).await.ok()?;
        Some(Turn { guard: Some(guard), under_way: false, linger: self.linger })
    }
}

/// A turn. It ends when dropped; or, while a request is under way whose answer did not come, a while later.
#[derive(Debug)]
pub struct Turn {
    guard: Option<OwnedMutexGuard<()>>,
    under_way: bool,
    linger: Duration,
}

impl Turn {
    /// A request that uses a path goes to the target.
    pub fn begin(&mut self) {
        self.under_way = true;
    }

    /// The request was answered.
    pub fn end(mut self) {
        self.under_way = false;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take().filter(|_| self.under_way) else { return };
        let linger = self.linger;
        // Without a runtime the process is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(linger).await;
                drop(guard);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    async fn is_free(turns: &TurnsAt) -> bool {
        let taking = turns.take();
        tokio::pin!(taking);
        std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn t10_a_turn_that_is_left_in_the_middle_ends_once_its_request_must_be_done() {
        let turns = Turns { linger: Duration::from_secs(1), ..Turns::default() };
        let (at, same) = (turns.at("10.0.0.1:22"), turns.at("10.0.0.1:22"));
        let mut turn = at.take().await.unwrap();
        assert!(!is_free(&same).await && is_free(&turns.at("10.0.0.2:22")).await);
        turn.begin();
        drop(turn);
        tokio::task::yield_now().await;
        assert!(!is_free(&same).await, "the request may be under way still");
        let mut turn = same.take().await.unwrap();
        turn.begin();
        turn.end();
        assert!(is_free(&same).await);
    }
}
