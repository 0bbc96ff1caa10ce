//! A channel that is not recorded for a time, in a session that goes on all the same: best effort.
//!
//! Each second it is tried whether it can be recorded again: once the recorder is healthy, no call hangs in the disk, and
//! the log has taken where the segment of before is good to. What came in between is counted, and not kept: a marker in
//! the new segment says how long that was.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, TryLockError};
use std::time::Duration;

use tracing::info;

use super::super::RecorderError;
use super::commit::{Asked, Writing, Written};
use super::{Alarm, Queue, State, cost};
use crate::cast::{Direction, Entry, Timed};
use crate::store::{Buffers, Gap, describe};

/// It is tried so often whether a channel can be recorded again.
const AGAIN: Duration = Duration::from_secs(1);

/// At most so many times in one gap: each can cost a leaf.
const TRIES_MAX: u32 = 64;

/// How many bytes of each direction were not recorded.
pub(super) type Missed = [(Direction, u64); 3];

pub(super) const NOTHING_MISSED: Missed = [(Direction::Stdin, 0), (Direction::Stdout, 0), (Direction::Stderr, 0)];

/// A gap that is not over.
pub(super) struct Pause {
    /// When the first of what is missing came.
    since: Duration,
    pub(super) failure: RecorderError,
    missed: [u64; 3],
    tries: u32,
}

impl Pause {
    fn miss(&mut self, passed: Option<(Direction, usize)>) {
        let [stdin, stdout, stderr] = &mut self.missed;
        if let Some((direction, bytes)) = passed {
            let counted = match direction {
                Direction::Stdin => stdin,
                Direction::Stdout => stdout,
                Direction::Stderr => stderr,
            };
            *counted = counted.saturating_add(bytes.try_into().unwrap_or(u64::MAX));
        }
    }

    /// What went by since it began.
    pub(super) fn missed(&self) -> Missed {
        let [stdin, stdout, stderr] = self.missed;
        [(Direction::Stdin, stdin), (Direction::Stdout, stdout), (Direction::Stderr, stderr)]
    }
}

impl Queue {
    pub(super) fn is_paused(&self) -> bool {
        self.lock().pause.is_some()
    }

    /// Begins a gap with what was queued. What was taken from the queue and may not be on disk is kept for the end of it.
    pub(super) fn pause(self: &Arc<Self>, state: &mut State, dropped: &VecDeque<Timed>, failure: &RecorderError) {
        let since = dropped.front().map_or_else(|| self.session.elapsed(), |first| first.at);
        let mut pause = Pause { since, failure: failure.clone(), missed: [0; 3], tries: 0 };
        for Timed { entry, .. } in dropped {
            pause.miss(entry.bytes());
            self.room.add_permits(usize::try_from(cost(entry)).unwrap_or(0));
        }
        // The log is told no more heads of the segment.
        state.ended = true;
        (state.oldest, state.asking, state.scheduled) = (None, None, false);
        state.pause = Some(pause);
        self.set_resume();
    }

    fn set_resume(self: &Arc<Self>) {
        let at = self.session.elapsed().saturating_add(AGAIN);
        self.session.pool().alarm_at(self.session.instant_of(at), Arc::clone(self), Alarm::Resume);
    }

    /// Counts what goes by in a gap; tells whether there is one.
    pub(super) fn miss(&self, passed: Option<(Direction, usize)>) -> bool {
        let mut state = self.lock();
        let Some(pause) = &mut state.pause else { return false };
        pause.miss(passed);
        true
    }

    /// Looks whether the channel can be recorded again. Called by the pool, each second as long as it is not.
    pub(super) fn try_to_resume(self: &Arc<Self>) {
        if !self.is_paused() {
            return;
        }
        #[cfg(test)]
        self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.set_resume();
        if self.session.health.state().is_err() {
            return;
        }
        let mut writing = match self.writing.try_lock() {
            Ok(writing) => writing,
            // A call hangs in the disk, or a thread panicked with it.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return,
        };
        // The log may have been asked and not have answered yet.
        if writing.failed.is_some() || !writing.writer.may_go_on() {
            return;
        }
        let (asked, failure) = {
            let mut state = self.lock();
            let asked = resuming(&state);
            let Some(pause) = state.pause.as_mut().filter(|pause| pause.tries < TRIES_MAX) else { return };
            pause.tries = pause.tries.saturating_add(1);
            (asked, pause.failure.clone())
        };
        writing.failed = Some(asked);
        if writing.writer.is_whole() {
            // Nothing of it is given up: the new segment follows its end, which may have come too late to be told.
            self.tell_sealed(&mut writing);
            self.session.pool().commit(Arc::clone(self));
        } else {
            self.tell_given_up(&writing.writer, &failure);
        }
    }

    /// Records the channel again, in a new segment that begins with what may not be on disk of the time before the gap.
    pub(super) fn resume(self: &Arc<Self>, mut writing: MutexGuard<'_, Writing>, buffers: &mut Buffers) {
        // Else it is a commit that was in line when the gap began.
        if writing.failed.take().is_none() {
            return;
        }
        let (asked, since) = {
            let state = self.lock();
            let Some(pause) = &state.pause else { return };
            (resuming(&state), pause.since)
        };
        let now = self.session.elapsed();
        let lasted = now.saturating_sub(since);
        let marker = Entry::Marker(format!("gap {:.1}s", lasted.as_secs_f64()));
        writing.unsynced.push_back(Timed { at: now, entry: marker });
        let branched = writing.writer.branch(buffers).map_err(RecorderError::from);
        let spoiled = match branched.and_then(|()| self.write(&mut writing, 0, asked, buffers)) {
            Ok(Written { synced: true, spoiled }) => spoiled,
            // The channel was closed meanwhile.
            Ok(Written { synced: false, .. }) => return writing.writer.close(),
            Err(failure) => {
                // The next try has a marker of its own.
                writing.unsynced.pop_back();
                return self.session.health.failed(&failure);
            }
        };
        if !self.end_pause(&mut writing, since, lasted) {
            return writing.writer.close();
        }
        self.feed.publish(std::mem::take(&mut writing.unseen));
        self.advance(asked);
        let care_at = writing.writer.care_at();
        drop(writing);
        info!(session = %self.session.id, channel = %self.number, ?lasted, "Recorded again");
        self.session.resumed(self.number, lasted);
        match spoiled {
            Some(failure) => self.fail(&failure),
            None => self.settle(care_at),
        }
    }

    /// Notes that the gap is over; `false` if the channel was closed in it.
    fn end_pause(&self, writing: &mut Writing, since: Duration, lasted: Duration) -> bool {
        let mut state = self.lock();
        let Some(pause) = state.pause.take() else { return false };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let gap = Gap { from_ms: millis(since), lasted_ms: millis(lasted), why: describe(&pause.failure) };
        writing.writer.add_gap(gap, &pause.missed());
        state.counted = Some(writing.writer.counted().clone());
        // What comes from now on is queued; it is written after this.
        state.scheduled = true;
        self.progress.send_modify(|progress| progress.failed = None);
        true
    }
}

fn resuming(state: &State) -> Asked {
    let (appended, appended_bytes) = (state.appended, state.appended_bytes);
    Asked { appended, appended_bytes, finish: false, sync: true, resumes: true }
}
