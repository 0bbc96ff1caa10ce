//! What the log is told of recordings: which segments have ended, how far the others are, how sessions end.
//!
//! Nobody who shows output waits for the log. While it cannot take what it is told, new sessions are refused; what
//! waits is told again each second, and after [`LOG_TIMEOUT`] the live sessions end: a recording that nobody vouches
//! for is worth little.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::RecorderError;
use super::health::Health;
use super::session::SessionShared;
use crate::audit::SESSION_HEADS_MAX;
use crate::model::{ChannelNumber, SessionId};
use crate::seal::Sealed;

/// Why the log did not take something.
pub type LogFailure = Arc<dyn Error + Send + Sync>;

/// The log, as the recorder sees it. Calls block until what they say is on disk, and may come from any thread.
pub trait Journal: fmt::Debug + Send + Sync {
    /// A segment has ended, and all of it is on disk.
    ///
    /// # Errors
    /// Why that is not on record.
    fn segment_sealed(&self, session: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> Result<(), LogFailure>;

    /// How far segments that have not ended are on disk.
    ///
    /// # Errors
    /// Why that is not on record.
    fn heads(&self, heads: &[LiveHead]) -> Result<(), LogFailure>;

    /// A session has ended; `closed.json`, which will be written next, has this SHA-256, in hex.
    ///
    /// # Errors
    /// Why that is not on record.
    fn session_ended(&self, session: &SessionId, end: &str, closed: &str) -> Result<(), LogFailure>;
}

/// How far a segment is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveHead {
    /// The session.
    pub session: SessionId,
    /// The channel.
    pub channel: ChannelNumber,
    /// Its present segment.
    pub sealed: Sealed,
}

/// The heads of live sessions are told so often: what a crash can cut off unnoticed is not older.
const HEADS_EVERY: Duration = Duration::from_secs(10);
/// So long live sessions go on without a log.
pub(super) const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// At most so many segments wait to be told; with more the live sessions end at once.
const WAITING_MAX: usize = 4096;
/// Tells the log.
pub(super) struct Notary {
    journal: Arc<dyn Journal>,
    health: Arc<Health>,
    state: Mutex<State>,
    /// Held while the log is told, so that it is told in order.
    telling: Mutex<()>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(SessionId, ChannelNumber, Sealed)>,
    live: Vec<Weak<SessionShared>>,
    failing_since: Option<Instant>,
    heads_told: Option<Instant>,
}

impl Notary {
    pub(super) fn new(journal: Arc<dyn Journal>, health: Arc<Health>) -> Arc<Self> {
        Arc::new(Self { journal, health, state: Mutex::new(State::default()), telling: Mutex::new(()) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Heads of this session are told from now on.
    pub(super) fn watch(&self, session: &Arc<SessionShared>) {
        let mut state = self.lock();
        state.live.retain(|session| session.strong_count() > 0);
        state.live.push(Arc::downgrade(session));
    }

    /// The sessions that are being recorded.
    pub(super) fn live(&self) -> Vec<Arc<SessionShared>> {
        self.lock().live.iter().filter_map(Weak::upgrade).collect()
    }

    /// A segment has ended; to be told soon.
    pub(super) fn sealed(&self, session: &SessionId, channel: ChannelNumber, sealed: Sealed) {
        self.lock().waiting.push_back((session.clone(), channel, sealed));
    }

    /// Tells what waits. Blocks.
    pub(super) fn tell(&self, now: Instant) -> Result<(), LogFailure> {
        let _order = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((session, channel, sealed)) = self.lock().waiting.front().cloned() else { return Ok(()) };
            if let Err(failure) = self.journal.segment_sealed(&session, channel, &sealed) {
                self.failed(&failure, now);
                return Err(failure);
            }
            let mut state = self.lock();
            state.waiting.pop_front();
            state.failing_since = None;
        }
    }

    /// Tells that a session has ended, after all that was told of it before. Blocks.
    pub(super) fn ended(
        &self,
        session: &SessionId,
        end: &str,
        closed: &str,
        now: Instant,
    ) -> Result<(), RecorderError> {
        self.tell(now).map_err(RecorderError::Log)?;
        self.journal.session_ended(session, end, closed).map_err(|failure| {
            self.failed(&failure, now);
            RecorderError::Log(failure)
        })
    }

    /// Called each second: tells again what could not be told, and every 10 s how far live sessions are. Blocks.
    pub(super) fn round(&self, now: Instant) {
        // What fails is told again the next time.
        let _ = self.tell(now);
        let due = {
            let mut state = self.lock();
            let due = state.heads_told.is_none_or(|told| now.saturating_duration_since(told) >= HEADS_EVERY);
            if due {
                state.heads_told = Some(now);
            }
            due
        };
        if due {
            self.tell_heads(now);
        }
    }

    fn tell_heads(&self, now: Instant) {
        let heads: Vec<LiveHead> = self.live().iter().flat_map(|session| session.heads()).collect();
        for heads in heads.chunks(SESSION_HEADS_MAX) {
            match self.journal.heads(heads) {
                Ok(()) => self.lock().failing_since = None,
                Err(failure) => return self.failed(&failure, now),
            }
        }
    }

    fn failed(&self, failure: &LogFailure, now: Instant) {
        let failure = RecorderError::Log(Arc::clone(failure));
        self.health.failed(&failure);
        let (over, live) = {
            let mut state = self.lock();
            let since = *state.failing_since.get_or_insert(now);
            let over = now.saturating_duration_since(since) >= LOG_TIMEOUT || state.waiting.len() > WAITING_MAX;
            (over, state.live.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
        };
        if over {
            live.iter().for_each(|session| session.failed(&failure));
        }
    }
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notary").field("journal", &self.journal).finish_non_exhaustive()
    }
}
