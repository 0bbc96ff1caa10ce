//! Turns: where rules name paths, one path at a time is resolved and used on a target, so that no user of this bastion can put
//! a link in its place in between.
//!
//! What this does **not** guard against: whoever has a shell on the target, or reaches it otherwise.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Gate, OwnedMutexGuard};
use tokio::time::{sleep, timeout};

use crate::model::UserName;

/// Who waits longer for their turn is told to try again.
const TURN_MAX: Duration = Duration::from_secs(60);
/// A request whose channel went away while it was under way has so long to come to its end on the target.
const LINGER: Duration = Duration::from_secs(10);

/// What only one has at a time. In the order in which they are taken, so that no two wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sole {
    /// A user's place among those who wait at a machine: however many channels one has, one of them waits with the others.
    Waiting(String, UserName),
    /// A machine, by one of its names.
    Machine(String),
}

/// The turns at all targets.
#[derive(Debug)]
pub struct Turns {
    all: Mutex<HashMap<Sole, Weak<Gate<()>>>>,
    linger: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Mutex::default(), linger: LINGER }
    }
}

impl Turns {
    /// A user's turns at one machine, by all that tells it from others: its host keys and its address. Two targets that have
    /// any of these in common take turns.
    pub fn at(&self, user: &UserName, machine: impl IntoIterator<Item = String>) -> TurnsAt {
        let names: BTreeSet<String> = machine.into_iter().collect();
        let waiting = names.iter().map(|name| Sole::Waiting(name.clone(), user.clone()));
        let places: BTreeSet<Sole> = waiting.chain(names.iter().cloned().map(Sole::Machine)).collect();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is kept of targets at which nobody is.
        all.retain(|_, gate| gate.strong_count() > 0);
        let mut gate = |place: Sole| {
            let known = all.get(&place).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let gate: Arc<Gate<()>> = Arc::default();
                all.insert(place, Arc::downgrade(&gate));
                gate
            })
        };
        TurnsAt { gates: places.into_iter().map(&mut gate).collect(), linger: self.linger }
    }
}

/// The turns at one target.
#[derive(Debug, Clone)]
pub struct TurnsAt {
    gates: Vec<Arc<Gate<()>>>,
    linger: Duration,
}

impl TurnsAt {
    /// Waits for a turn; none if it takes too long.
    pub async fn take(&self) -> Option<Turn> {
        let taking = async {
            let mut guards = Vec::new();
            for gate in &self.gates {
                guards.push(Arc::clone(gate).lock_owned().await);
            }
            guards
        };
        let guards = timeout(TURN_MAX, taking).await.ok()?;
        Some(Turn { guards, under_way: false, linger: self.linger })
    }
}

/// A turn. It ends when dropped; or, while a request is under way whose answer did not come, a while later.
#[derive(Debug)]
pub struct Turn {
    guards: Vec<OwnedMutexGuard<()>>,
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
        if !self.under_way {
            return;
        }
        let (guards, linger) = (std::mem::take(&mut self.guards), self.linger);
        // Without a runtime the process is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep(linger).await;
                drop(guards);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    /// What a future gives if it has it now.
    async fn now<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|context| {
            Poll::Ready(match future.as_mut().poll(context) {
                Poll::Ready(given) => Some(given),
                Poll::Pending => None,
            })
        })
        .await
    }

    async fn is_free(turns: &TurnsAt) -> bool {
        let taking = turns.take();
        tokio::pin!(taking);
        now(taking).await.is_some()
    }

    #[tokio::test]
    async fn t10_a_turn_that_is_left_in_the_middle_ends_once_its_request_must_be_done() {
        let turns = Turns { linger: Duration::from_secs(1), ..Turns::default() };
        let [at, same, other] = [("ana", 1), ("bo", 1), ("bo", 2)]
            .map(|(user, last)| turns.at(&UserName::parse(user).unwrap(), [format!("10.0.0.{last}:22")]));
        let mut turn = at.take().await.unwrap();
        assert!(!is_free(&same).await && is_free(&other).await);
        turn.begin();
        drop(turn);
        tokio::task::yield_now().await;
        assert!(!is_free(&same).await, "the request may be under way still");
        let mut turn = same.take().await.unwrap();
        turn.begin();
        turn.end();
        assert!(is_free(&same).await);
    }

    #[tokio::test]
    async fn t10_targets_that_share_a_key_or_an_address_take_turns() {
        let turns = Turns::default();
        let at =
            |user: &str, names: &str| turns.at(&UserName::parse(user).unwrap(), names.split(' ').map(str::to_owned));
        let turn = at("ana", "127.0.0.1:22 key-b key-a").take().await.unwrap();
        for same in ["localhost:22 key-a", "key-b", "127.0.0.1:22", "key-c key-b"] {
            assert!(!is_free(&at("bo", same)).await, "{same}");
        }
        assert!(is_free(&at("bo", "localhost:23 key-c")).await);
        drop(turn);
        assert!(is_free(&at("bo", "localhost:22 key-a")).await);
    }

    #[tokio::test]
    async fn of_a_users_channels_one_waits_among_the_others() {
        let turns = Turns::default();
        let at = |user: &str| turns.at(&UserName::parse(user).unwrap(), [String::from("key")]);
        let (first, second, other) = (at("ana"), at("ana"), at("bo"));
        let turn = first.take().await.unwrap();
        let (again, others) = (second.take(), other.take());
        tokio::pin!(again, others);
        // They come in this order, and the one who has had a turn goes last.
        assert!(now(again.as_mut()).await.is_none() && now(others.as_mut()).await.is_none());
        drop(turn);
        assert!(now(again.as_mut()).await.is_none());
        assert!(now(others.as_mut()).await.is_some());
    }
}
