//! One channel on its way to the disk: a bounded queue, one commit at a time, and who waits for it.
//!
//! Whoever appends never waits for the disk, unless the queue is full: no lock that it takes is held during
//! a write or a sync.

mod commit;
mod gap;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::error;

use super::RecorderError;
use super::feed::Feed;
use super::session::SessionShared;
use crate::cast::{Entry, Timed};
use crate::model::ChannelNumber;
use crate::seal::{Head, Sealed};
use crate::store::{ChannelWriter, ClosedChannel};
use commit::Writing;
use gap::{Missed, NOTHING_MISSED, Pause};

/// What is queued of one channel or was written and not synced yet, in bytes; whoever appends more waits.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// What an entry counts beside its bytes, so that empty ones are bounded too.
const ENTRY_BYTES: usize = 256;

/// In bounded mode, so many bytes are synced without waiting for the window.
const BOUNDED_SYNC_BYTES: u64 = 512 * 1024;

/// In bounded mode, at most so many bytes are shown that are not on disk.
const BOUNDED_BYTES_MAX: u64 = 1024 * 1024;

/// In bounded mode, what a sync may take beyond the window before the session waits for it.
const BOUNDED_SYNC_TIME: Duration = Duration::from_millis(250);

/// When a receipt is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Once its entry is on disk.
    Strict,
    /// At once, as long as what is not on disk is less than 1 MiB and hardly older than this.
    Bounded(Duration),
    /// At once, and for good once nothing can be recorded any more; synced as in bounded mode.
    BestEffort(Duration),
}

/// A channel's queue and its segments.
pub(super) struct Queue {
    mode: Mode,
    number: ChannelNumber,
    pub(super) session: Arc<SessionShared>,
    /// Who watches.
    pub(super) feed: Arc<Feed>,
    /// Free space of the queue, in bytes.
    room: Semaphore,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    /// Held during writes and syncs; only threads of the pool wait for it.
    writing: Mutex<Writing>,
    /// How often it was looked whether the channel can be recorded again.
    #[cfg(test)]
    pub(super) looks: std::sync::atomic::AtomicU64,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Timed>,
    /// Entries and bytes appended so far.
    appended: u64,
    appended_bytes: u64,
    /// When the oldest entry came that is not on disk.
    oldest: Option<Duration>,
    /// In the pool's line, or being committed.
    scheduled: bool,
    /// In the pool's timers, to be synced.
    timed: bool,
    /// In the pool's timers, to be cared for though nothing is recorded.
    care_timed: bool,
    /// When the writer next needs care.
    care_at: Option<Duration>,
    finish: bool,
    /// How far the present segment is on disk, and the head that the log was told last.
    durable: Option<Sealed>,
    told: Option<Head>,
    /// That segment has ended: its seal says so, and its last head is none of a segment that is written.
    ended: bool,
    /// What was counted until then.
    counted: Option<ClosedChannel>,
    /// A segment was given up, and the log is to take that first.
    asking: Option<Asking>,
    /// How many times the log was asked so.
    asked: u64,
    /// The channel is not recorded now, and its session goes on.
    pause: Option<Pause>,
}

/// A segment was given up, and nothing is written until the log has that on record.
struct Asking {
    number: u64,
    /// Why the recording of the channel ends if the log does not take it in time.
    failure: RecorderError,
}

/// Why a queue is in the pool's timers; for each reason it is there at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The window of what is written and not synced.
    Window,
    /// The writer's care.
    Care,
    /// The log has had its time for the question of this number.
    Answer(u64),
    /// A channel that is not recorded may be again.
    Resume,
}

/// What is on disk, for those who wait.
#[derive(Debug, Default)]
struct Progress {
    durable: u64,
    durable_bytes: u64,
    /// INVARIANT: once set it stays, and nothing is written after it; but for a channel whose session goes on without,
    /// until it is recorded again.
    failed: Option<RecorderError>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(
        number: ChannelNumber,
        mode: Mode,
        writer: ChannelWriter,
        session: Arc<SessionShared>,
        feed: Arc<Feed>,
    ) -> Arc<Self> {
        let (durable, counted) = (Some(*writer.durable()), Some(writer.counted().clone()));
        let state = State { care_at: writer.care_at(), durable, counted, ..State::default() };
        let queue = Arc::new(Self {
            mode,
            number,
            session,
            feed,
            room: Semaphore::new(QUEUE_BYTES),
            state: Mutex::new(state),
            progress: watch::Sender::new(Progress::default()),
            writing: Mutex::new(Writing::new(writer)),
            #[cfg(test)]
            looks: std::sync::atomic::AtomicU64::new(0),
        });
        queue.set_care(&mut queue.lock());
        queue
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing more is recorded here, if that is so.
    fn state(&self) -> Result<(), RecorderError> {
        let progress = self.progress.borrow();
        match &progress.failed {
            Some(failure) => Err(failure.clone()),
            None if progress.closed => Err(RecorderError::Finished),
            None => Ok(()),
        }
    }

    /// Whether the channel goes on: it is recorded, or its session goes on without that.
    pub(super) fn check(&self) -> Result<(), RecorderError> {
        self.state().or_else(|failure| if self.goes_on_without(&failure) { Ok(()) } else { Err(failure) })
    }

    /// Takes an entry, once there is room for it; returns its number.
    pub(super) async fn append(self: &Arc<Self>, entry: Entry) -> Result<u64, RecorderError> {
        let passed = entry.bytes();
        let again = matches!(self.mode, Mode::BestEffort(_)).then(|| entry.clone());
        match (self.append_if_recorded(entry).await, again) {
            (Err(failure), Some(entry)) if self.goes_on_without(&failure) => {
                // If the gap has ended just now, the channel is recorded.
                if self.miss(passed) { Ok(0) } else { self.append_if_recorded(entry).await.or(Ok(0)) }
            }
            (appended, _) => appended,
        }
    }

    /// Whether the session goes on although this channel is not recorded any more.
    fn goes_on_without(&self, failure: &RecorderError) -> bool {
        match (self.mode, failure) {
            (Mode::Strict | Mode::Bounded(_), _) => false,
            // A panic is a fault of ours, and without the log nobody vouches for anything.
            (
                Mode::BestEffort(_),
                RecorderError::Panicked
                | RecorderError::Log(_)
                | RecorderError::Contested { .. }
                | RecorderError::Finished,
            ) => false,
            (
                Mode::BestEffort(_),
                RecorderError::DiskFull { .. }
                | RecorderError::LowSpace { .. }
                | RecorderError::Stalled { .. }
                | RecorderError::Store(_),
            ) => true,
        }
    }

    async fn append_if_recorded(self: &Arc<Self>, entry: Entry) -> Result<u64, RecorderError> {
        // Nothing waits for room that may not come.
        self.state()?;
        let cost = cost(&entry);
        if self.room.try_acquire_many(cost).map(tokio::sync::SemaphorePermit::forget).is_err() {
            let acquiring = self.room.acquire_many(cost);
            tokio::pin!(acquiring);
            loop {
                let before = self.progress.borrow().durable;
                match timeout(self.session.stall_limit, &mut acquiring).await {
                    Ok(Ok(permit)) => break permit.forget(),
                    Ok(Err(_)) => return Err(self.state().err().unwrap_or(RecorderError::Finished)),
                    Err(_) => self.check_stall(before)?,
                }
            }
        }
        let room = usize::try_from(cost).unwrap_or(0);
        self.push(entry).inspect_err(|_| self.room.add_permits(room))
    }

    /// Takes a last entry, whether there is room or not, and no more after it.
    pub(super) fn finish_with(self: &Arc<Self>, entry: Entry) {
        if let Ok(permit) = self.room.try_acquire_many(cost(&entry)) {
            permit.forget();
        }
        // A channel that failed has said so to whoever appended to it.
        let _ = self.push(entry);
        self.request_finish();
    }

    fn push(self: &Arc<Self>, entry: Entry) -> Result<u64, RecorderError> {
        let mut state = self.lock();
        self.state()?;
        if state.finish {
            return Err(RecorderError::Finished);
        }
        let at = self.session.elapsed();
        let len = u64::try_from(entry.size()).unwrap_or(u64::MAX);
        state.appended = state.appended.saturating_add(1);
        state.appended_bytes = state.appended_bytes.saturating_add(len);
        state.oldest.get_or_insert(at);
        state.entries.push_back(Timed { at, entry });
        let number = state.appended;
        self.schedule(&mut state);
        Ok(number)
    }

    fn schedule(self: &Arc<Self>, state: &mut State) {
        if !state.scheduled {
            state.scheduled = true;
            self.session.pool().commit(Arc::clone(self));
        }
    }

    /// Waits until the entry of that number may be acted on.
    pub(super) async fn durable(self: &Arc<Self>, number: u64) -> Result<(), RecorderError> {
        if let Mode::BestEffort(_) = self.mode {
            let failed = self.progress.borrow().failed.clone();
            return failed.filter(|failure| !self.goes_on_without(failure)).map_or(Ok(()), Err);
        }
        let mut progress = self.progress.subscribe();
        loop {
            let before = {
                let progress = progress.borrow_and_update();
                if progress.durable >= number {
                    return Ok(());
                }
                if let Some(failure) = &progress.failed {
                    return Err(failure.clone());
                }
                progress.durable
            };
            if self.may_run_ahead() {
                return Ok(());
            }
            match timeout(self.session.stall_limit, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(RecorderError::Panicked),
                Err(_) => self.check_stall(before)?,
            }
        }
    }

    /// In bounded mode: whether little enough, and new enough, is missing on disk.
    fn may_run_ahead(&self) -> bool {
        let Mode::Bounded(window) = self.mode else { return false };
        let state = self.lock();
        let missing = state.appended_bytes.saturating_sub(self.progress.borrow().durable_bytes);
        let old = self.session.elapsed().saturating_sub(window).saturating_sub(BOUNDED_SYNC_TIME);
        missing <= BOUNDED_BYTES_MAX && state.oldest.is_none_or(|oldest| oldest >= old)
    }

    /// After waiting for the whole limit: an error if nothing got on since.
    fn check_stall(self: &Arc<Self>, before: u64) -> Result<(), RecorderError> {
        if self.progress.borrow().durable > before {
            return Ok(());
        }
        let failure = RecorderError::Stalled { limit: self.session.stall_limit };
        self.fail(&failure);
        Err(failure)
    }

    /// Has what is queued written and synced, and the segment closed.
    pub(super) fn request_finish(self: &Arc<Self>) {
        let mut state = self.lock();
        state.finish = true;
        if let Some(pause) = state.pause.take() {
            self.progress.send_modify(|progress| progress.closed = true);
            drop(state);
            return self.close_failed(&pause.failure, pause.missed());
        }
        if !self.progress.borrow().closed {
            self.schedule(&mut state);
        }
    }

    /// Waits for the end of what `request_finish` began.
    pub(super) async fn finished(self: &Arc<Self>) -> Result<(), RecorderError> {
        let mut progress = self.progress.subscribe();
        loop {
            let before = {
                let progress = progress.borrow_and_update();
                if progress.closed {
                    let failed = progress.failed.clone().filter(|failure| !self.goes_on_without(failure));
                    return failed.map_or(Ok(()), Err);
                }
                progress.durable
            };
            match timeout(self.session.stall_limit, progress.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(RecorderError::Panicked),
                Err(_) => self.check_stall(before)?,
            }
        }
    }

    /// An alarm has come. Called by the pool.
    pub(super) fn alarm(self: &Arc<Self>, alarm: Alarm) {
        let mut state = self.lock();
        match alarm {
            Alarm::Window => state.timed = false,
            Alarm::Care => {
                state.care_timed = false;
                // It was used since: then the care is due later.
                if state.care_at.is_some_and(|at| at > self.session.elapsed()) {
                    return self.set_care(&mut state);
                }
            }
            Alarm::Answer(number) => {
                let asking = state.asking.take_if(|asking| asking.number == number);
                drop(state);
                if let Some(Asking { failure, .. }) = asking {
                    self.fail(&failure);
                }
                return;
            }
            Alarm::Resume => {
                drop(state);
                return self.try_to_resume();
            }
        }
        if self.state().is_ok() {
            self.schedule(&mut state);
        }
    }

    fn set_care(self: &Arc<Self>, state: &mut State) {
        if let (Some(at), false, false) = (state.care_at, state.care_timed, state.finish) {
            state.care_timed = true;
            self.session.pool().alarm_at(self.session.instant_of(at), Arc::clone(self), Alarm::Care);
        }
    }

    /// How far the present segment is on disk, if the log was not told that yet.
    pub(super) fn untold_head(&self) -> Option<(ChannelNumber, Sealed)> {
        let state = self.lock();
        let durable = state.durable.filter(|durable| !state.ended && state.told != Some(durable.head))?;
        Some((self.number, durable))
    }

    /// The log has been told this head.
    pub(super) fn told(&self, head: Head) {
        self.lock().told = Some(head);
    }

    /// Ends the recording of the channel, or begins a gap of it. Everybody who waits is told, and nothing is written
    /// after it.
    pub(super) fn fail(self: &Arc<Self>, failure: &RecorderError) {
        let goes_on = self.goes_on_without(failure);
        let missed = {
            let mut state = self.lock();
            let pauses = goes_on && !state.finish;
            let first = self.progress.send_if_modified(|progress| {
                let again = goes_on && progress.failed.is_some();
                let first = !(progress.closed || again);
                if first {
                    progress.failed = Some(failure.clone());
                    progress.closed = !pauses;
                }
                first
            });
            if !first {
                return;
            }
            let entries = std::mem::take(&mut state.entries);
            if pauses {
                self.pause(&mut state, &entries, failure);
                None
            } else {
                Some(state.pause.take().map_or(NOTHING_MISSED, |pause| pause.missed()))
            }
        };
        error!(
            session = %self.session.id, channel = %self.number, error = %failure,
            "Recording failed"
        );
        if goes_on {
            self.session.gap(self.number, failure);
        } else {
            self.session.failed(failure);
        }
        if let Some(missed) = missed {
            self.close_failed(failure, missed);
        }
    }

    /// Says of a channel that was closed just now that its recording failed.
    fn close_failed(self: &Arc<Self>, failure: &RecorderError, missed: Missed) {
        self.room.close();
        self.feed.end();
        let mut closed = self.closed();
        for (direction, bytes) in missed {
            closed.counted(direction).miss(bytes);
        }
        closed.failure = Some(failure.to_string());
        self.session.channel_closed(self.number.0, closed);
    }

    /// Writes nothing more, and nothing of an end: as if the bastion had stopped.
    pub(super) fn abandon(self: &Arc<Self>) {
        self.close();
    }

    fn close(self: &Arc<Self>) {
        self.progress.send_modify(|progress| progress.closed = true);
        self.room.close();
        self.feed.end();
        self.session.channel_closed(self.number.0, self.closed());
    }

    /// What `closed.json` says of the channel. A thread that hangs in the disk has the writer: then, how far it was on
    /// disk before.
    fn closed(&self) -> ClosedChannel {
        match self.writing.try_lock() {
            Ok(mut writing) => writing.close(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().close(),
            Err(TryLockError::WouldBlock) => self.closed_before(),
        }
    }

    fn closed_before(&self) -> ClosedChannel {
        let state = self.lock();
        let counted = state.counted.clone().unwrap_or_else(|| ClosedChannel::new(self.number, None, false));
        let Some(durable) = state.durable else { return counted };
        ClosedChannel {
            // Segments that were given up since then are among those that were counted.
            segments: durable.segment.saturating_add(1).max(counted.segments),
            records: durable.records,
            head: durable.head.to_string(),
            ..counted
        }
    }
}

fn cost(entry: &Entry) -> u32 {
    let cost = entry.size().saturating_add(ENTRY_BYTES).min(QUEUE_BYTES);
    u32::try_from(cost).unwrap_or(u32::MAX)
}
