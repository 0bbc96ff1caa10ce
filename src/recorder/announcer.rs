//! What the log is told of recordings: which segments have ended, how far the others are, how sessions end.
//!
//! A thread of its own tells it, so nobody who shows output or writes recordings waits for the log, not even for one
//! that hangs. While it does not take what it is told, new sessions are refused; what waits is told again each second,
//! and after [`LOG_TIMEOUT`] the live sessions end: a recording that nobody vouches for is worth little.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::RecorderError;
use super::health::Health;
use super::outages::Outage;
use super::session::SessionShared;
use crate::audit::SESSION_HEADS_MAX;
use crate::clock::Clock;
use crate::model::{ChannelNumber, SessionId};
use crate::seal::Sealed;

/// Why the log did not take something.
pub type LogFailure = Arc<dyn Error + Send + Sync>;

/// The log, as the recorder sees it. Calls block until what they say is on disk, and may come from any thread.
pub trait RecorderLog: fmt::Debug + Send + Sync {
    /// A segment has ended, and all of it is on disk.
    ///
    /// # Errors
    /// Why that is not on record.
    fn segment_sealed(&self, session: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> Result<(), LogFailure>;

    /// A segment is given up after an I/O error: it is a part of the recording as far as `good` says, and the next one
    /// will go on from there.
    ///
    /// # Errors
    /// Why that is not on record.
    fn segment_suspect(
        &self,
        session: &SessionId,
        channel: ChannelNumber,
        good: &Sealed,
        why: &str,
    ) -> Result<(), LogFailure>;

    /// How far segments that have not ended are on disk; none to see whether the log works again.
    ///
    /// # Errors
    /// Why that is not on record.
    fn heads(&self, heads: &[LiveHead]) -> Result<(), LogFailure>;

    /// From now on a channel is not recorded, and its session goes on.
    ///
    /// # Errors
    /// Why that is not on record.
    fn gap(&self, session: &SessionId, channel: ChannelNumber, why: &str) -> Result<(), LogFailure>;

    /// A channel is recorded again, `lasted` after it was not.
    ///
    /// # Errors
    /// Why that is not on record.
    fn resumed(&self, session: &SessionId, channel: ChannelNumber, lasted: Duration) -> Result<(), LogFailure>;

    /// A session has ended; `closed.json`, which will be written next, has this SHA-256, in hex.
    ///
    /// # Errors
    /// Why that is not on record.
    fn session_ended(&self, session: &SessionId, end: &str, closed: &str) -> Result<(), LogFailure>;

    /// `closed.json` of a session that has ended could not be written; it may come later, or never.
    ///
    /// # Errors
    /// Why that is not on record.
    fn unclosed(&self, session: &SessionId, why: &str) -> Result<(), LogFailure>;

    /// No session can begin, or could not for a while.
    ///
    /// # Errors
    /// Why that is not on record.
    fn outage(&self, outage: &Outage) -> Result<(), LogFailure>;
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

/// So long live sessions go on without a log.
pub(super) const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// What the log did not take is told again after so long, or sooner where heads are told more often.
const AGAIN: Duration = Duration::from_secs(1);
/// At most so many segments wait to be told; with more the live sessions end at once.
const WAITING_MAX: usize = 4096;
/// Tells the log.
pub(super) struct Announcer {
    log: Arc<dyn RecorderLog>,
    health: Arc<Health>,
    clock: Clock,
    /// A call that takes longer has failed.
    stall_limit: Duration,
    heads_every: Duration,
    pause: Duration,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    live: Vec<Weak<SessionShared>>,
    /// Since when the log has taken nothing.
    failing_since: Option<Instant>,
    /// When the call began that the log has not answered.
    asked: Option<Instant>,
    /// When the heads are due again.
    heads_due: Option<Instant>,
    stop: bool,
}

/// What the log must be told, in this order.
enum Waiting {
    Sealed(SessionId, ChannelNumber, Sealed),
    GivenUp(GivenUp),
    Gap(SessionId, ChannelNumber, String),
    Resumed(SessionId, ChannelNumber, Duration),
    Ended(Ended),
    Unclosed(SessionId, String),
}

/// A segment that is given up, and what is done once that is on record.
pub(super) struct GivenUp {
    pub(super) session: SessionId,
    pub(super) channel: ChannelNumber,
    /// How far it is good.
    pub(super) good: Sealed,
    pub(super) why: String,
    pub(super) then: Box<dyn FnOnce() + Send>,
}

/// The end of a session, and what is done once it is on record or cannot be.
pub(super) struct Ended {
    pub(super) session: SessionId,
    pub(super) end: String,
    /// SHA-256 of `closed.json`, in hex.
    pub(super) closed: String,
    pub(super) then: Box<dyn FnOnce(Result<(), RecorderError>) + Send>,
}

impl Announcer {
    /// Starts the thread; it ends after `stop`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(
        log: Arc<dyn RecorderLog>,
        health: Arc<Health>,
        clock: Clock,
        stall_limit: Duration,
        heads_every: Duration,
    ) -> io::Result<Arc<Self>> {
        let (state, wake, pause) = (Mutex::new(State::default()), Condvar::new(), AGAIN.min(heads_every));
        let announcer = Arc::new(Self { log, health, clock, stall_limit, heads_every, pause, state, wake });
        let working = Arc::clone(&announcer);
        std::thread::Builder::new().name(String::from("announcer")).spawn(move || working.work())?;
        Ok(announcer)
    }

    /// Lets the thread tell what waits, and end.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
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
        self.push(Waiting::Sealed(session.clone(), channel, sealed));
    }

    /// A segment is given up; to be told soon. Its `then` is called on our thread, so it must not block.
    pub(super) fn given_up(&self, given_up: GivenUp) {
        self.push(Waiting::GivenUp(given_up));
    }

    /// A channel is not recorded any more; to be told soon.
    pub(super) fn gap(&self, session: &SessionId, channel: ChannelNumber, why: String) {
        self.push(Waiting::Gap(session.clone(), channel, why));
    }

    /// A channel is recorded again; to be told soon.
    pub(super) fn resumed(&self, session: &SessionId, channel: ChannelNumber, lasted: Duration) {
        self.push(Waiting::Resumed(session.clone(), channel, lasted));
    }

    /// A session has ended; to be told after all that was told of it before. Its `then` is called on our thread, so it
    /// must not block.
    pub(super) fn ended(&self, ended: Ended) {
        self.push(Waiting::Ended(ended));
    }

    /// How a session ended could not be written; to be told soon.
    pub(super) fn unclosed(&self, session: &SessionId, why: String) {
        self.push(Waiting::Unclosed(session.clone(), why));
    }

    fn push(&self, waiting: Waiting) {
        self.lock().waiting.push_back(waiting);
        self.wake.notify_all();
    }

    fn work(&self) {
        loop {
            let told = self.tell_outages().and_then(|()| self.tell()).and_then(|()| self.tell_heads());
            if let Err(failure) = &told {
                self.failed(&RecorderError::Log(Arc::clone(failure)));
            }
            let mut state = self.lock();
            let begun = self.clock.instant();
            // While the log fails, what comes meanwhile waits its turn.
            while told.is_err() || state.waiting.is_empty() {
                if state.stop {
                    return;
                }
                let left = self.pause.saturating_sub(self.clock.instant().saturating_duration_since(begun));
                if left.is_zero() {
                    break;
                }
                state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Tells of the times in which no session could begin.
    fn tell_outages(&self) -> Result<(), LogFailure> {
        while let Some(outage) = self.health.owed() {
            self.ask(|log| log.outage(&outage))?;
            self.health.on_record(&outage);
        }
        Ok(())
    }

    /// Tells what waits, as far as the log takes it.
    fn tell(&self) -> Result<(), LogFailure> {
        loop {
            let Some(next) = self.lock().waiting.pop_front() else { return Ok(()) };
            match next {
                Waiting::Sealed(session, channel, sealed) => {
                    if let Err(failure) = self.ask(|log| log.segment_sealed(&session, channel, &sealed)) {
                        self.lock().waiting.push_front(Waiting::Sealed(session, channel, sealed));
                        return Err(failure);
                    }
                }
                Waiting::GivenUp(lost) => {
                    let GivenUp { session, channel, good, why, .. } = &lost;
                    if let Err(failure) = self.ask(|log| log.segment_suspect(session, *channel, good, why)) {
                        self.lock().waiting.push_front(Waiting::GivenUp(lost));
                        return Err(failure);
                    }
                    (lost.then)();
                }
                Waiting::Gap(session, channel, why) => {
                    if let Err(failure) = self.ask(|log| log.gap(&session, channel, &why)) {
                        self.lock().waiting.push_front(Waiting::Gap(session, channel, why));
                        return Err(failure);
                    }
                }
                Waiting::Resumed(session, channel, lasted) => {
                    if let Err(failure) = self.ask(|log| log.resumed(&session, channel, lasted)) {
                        self.lock().waiting.push_front(Waiting::Resumed(session, channel, lasted));
                        return Err(failure);
                    }
                }
                Waiting::Ended(Ended { session, end, closed, then }) => {
                    let told = self.ask(|log| log.session_ended(&session, &end, &closed));
                    then(told.as_ref().copied().map_err(|failure| RecorderError::Log(Arc::clone(failure))));
                    told?;
                }
                Waiting::Unclosed(session, why) => {
                    if let Err(failure) = self.ask(|log| log.unclosed(&session, &why)) {
                        self.lock().waiting.push_front(Waiting::Unclosed(session, why));
                        return Err(failure);
                    }
                }
            }
        }
    }

    /// Every `heads_every`, how far live sessions are; sooner where the log did not take that. What it took is not told again.
    fn tell_heads(&self) -> Result<(), LogFailure> {
        let now = self.clock.instant();
        let failing = {
            let state = self.lock();
            if state.failing_since.is_none() && state.heads_due.is_some_and(|due| due > now) {
                return Ok(());
            }
            state.failing_since.is_some()
        };
        let live = self.live();
        let heads: Vec<_> =
            live.iter().flat_map(|session| session.heads().into_iter().map(move |head| (session, head))).collect();
        if heads.is_empty() && failing {
            self.ask(|log| log.heads(&[]))?;
        }
        for heads in heads.chunks(SESSION_HEADS_MAX) {
            let told: Vec<LiveHead> = heads.iter().map(|(_, head)| head.clone()).collect();
            self.ask(|log| log.heads(&told))?;
            heads.iter().for_each(|(session, head)| session.told(head));
        }
        self.lock().heads_due = now.checked_add(self.heads_every);
        Ok(())
    }

    /// Asks the log for one thing, and remembers since when.
    fn ask(&self, asking: impl FnOnce(&dyn RecorderLog) -> Result<(), LogFailure>) -> Result<(), LogFailure> {
        self.lock().asked = Some(self.clock.instant());
        let told = asking(self.log.as_ref());
        let mut state = self.lock();
        state.asked = None;
        if told.is_ok() {
            state.failing_since = None;
            drop(state);
            self.health.log_works();
        }
        told
    }

    /// Called each second, by another thread: a log that hangs has failed too.
    pub(super) fn look(&self) {
        let asked = self.lock().asked;
        if asked.is_some_and(|asked| self.clock.instant().saturating_duration_since(asked) >= self.stall_limit) {
            self.lock().failing_since.get_or_insert(asked.unwrap_or_else(|| self.clock.instant()));
            self.failed(&RecorderError::Log(Arc::new(RecorderError::Stalled { limit: self.stall_limit })));
        }
        // What a log vouches for that nobody else believes is worth as little as what none vouches for.
        if let Some(failure) = self.health.contested_for(LOG_TIMEOUT) {
            self.live().iter().for_each(|session| session.failed(&failure));
        }
    }

    fn failed(&self, failure: &RecorderError) {
        let now = self.clock.instant();
        self.health.log_failed(failure);
        let (over, live, ended) = {
            let mut state = self.lock();
            let since = *state.failing_since.get_or_insert(now);
            let over = now.saturating_duration_since(since) >= LOG_TIMEOUT || state.waiting.len() > WAITING_MAX;
            // Whoever ends a session is not kept waiting: the next start closes its recording.
            let (ended, sealed): (Vec<_>, Vec<_>) =
                state.waiting.drain(..).partition(|waiting| matches!(waiting, Waiting::Ended(_)));
            state.waiting = sealed.into();
            (over, state.live.iter().filter_map(Weak::upgrade).collect::<Vec<_>>(), ended)
        };
        for waiting in ended {
            if let Waiting::Ended(Ended { then, .. }) = waiting {
                then(Err(failure.clone()));
            }
        }
        if over {
            live.iter().for_each(|session| session.failed(failure));
        }
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").field("log", &self.log).finish_non_exhaustive()
    }
}
