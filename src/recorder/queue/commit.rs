//! One commit of a queue: what waits becomes records and is synced, and what a failing disk lost becomes records of
//! another segment.
//!
//! A write or a sync that failed costs its segment. The log has to take first where that one is good to; then the same
//! entries are recorded in the next one, and only when that is synced anybody goes on. So what was shown before it was
//! on disk, as bounded durability does, is not lost either. Each failure gets this one try.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::super::RecorderError;
use super::super::error::full_path;
use super::super::feed;
use super::{Alarm, Asking, BOUNDED_SYNC_BYTES, Mode, Queue, cost};
use crate::cast::Timed;
use crate::seal::{EndReason, Sealed};
use crate::store::{Buffers, ChannelWriter, ClosedChannel, StoreError};

/// Lines are written in pieces of about this size, which bounds the buffer of a thread.
const PIECE_BYTES: usize = 256 * 1024;

/// What one thread of the pool at a time has of a queue.
pub(super) struct Writing {
    writer: ChannelWriter,
    /// INVARIANT: all that was taken from the queue and that no sync has covered, in order, as it is recorded. It keeps
    /// its room in the queue.
    unsynced: VecDeque<Timed>,
    /// That room.
    room: usize,
    /// What watchers have not been shown of it.
    unseen: feed::Written,
    /// What was asked of the commit that failed, while the log is told that its segment is given up.
    failed: Option<Asked>,
}

/// What a commit is to do.
#[derive(Clone, Copy)]
struct Asked {
    /// Entries and bytes of the channel that are on disk when it is done.
    appended: u64,
    appended_bytes: u64,
    /// Whether it ends the channel.
    finish: bool,
    /// Whether it must be on disk when the commit is done.
    sync: bool,
}

/// What came of a commit.
struct Written {
    /// Whether all of it is on disk.
    synced: bool,
    /// Why the segment, or the recording, ends nevertheless.
    spoiled: Option<RecorderError>,
}

impl Writing {
    pub(super) fn new(writer: ChannelWriter) -> Self {
        Self { writer, unsynced: VecDeque::new(), room: 0, unseen: feed::Written::default(), failed: None }
    }

    /// Writes nothing more; gives what `closed.json` says of the channel.
    pub(super) fn close(&mut self) -> ClosedChannel {
        self.writer.close();
        self.unsynced = VecDeque::new();
        self.writer.closed()
    }
}

impl Queue {
    /// Writes what is queued. Blocks; called by the pool.
    pub(in crate::recorder) fn commit(self: &Arc<Self>, buffers: &mut Buffers) {
        if self.progress.borrow().closed {
            return;
        }
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, written) = match writing.failed.take() {
            Some(asked) => (asked, self.write_again(&mut writing, asked, buffers)),
            None => self.write_queued(&mut writing, buffers),
        };
        let care_at = writing.writer.care_at();
        let (synced, seen, failure) = match written {
            Ok(Written { synced, spoiled }) => (synced, std::mem::take(&mut writing.unseen), spoiled),
            Err(error) => (false, feed::Written::default(), Some(error)),
        };
        let lost = failure.as_ref().filter(|failure| is_of_the_file(failure) && writing.writer.may_branch());
        let lost = lost.map(|_| writing.writer.good_part());
        if lost.is_some() {
            writing.failed = Some(asked);
        } else if asked.finish {
            writing.writer.close();
        }
        drop(writing);
        // In bounded mode the user has been shown it already, or may be at once.
        self.feed.publish(seen);
        if synced {
            // Before the failure, if there is one: what is on disk may be shown.
            let mut state = self.lock();
            state.oldest = state.entries.front().map(|first| first.at);
            self.progress.send_modify(|progress| {
                progress.durable = progress.durable.max(asked.appended);
                progress.durable_bytes = progress.durable_bytes.max(asked.appended_bytes);
            });
        }
        match (failure, lost) {
            (Some(failure), Some(good)) => self.give_up(good, failure),
            (Some(failure), None) => self.fail(&failure),
            (None, _) if asked.finish => self.close(),
            (None, _) => self.settle(care_at),
        }
    }

    /// Tells the log where the present segment is good to. Nothing is written until it has that on record: then the
    /// commit that failed is done again.
    fn give_up(self: &Arc<Self>, good: Sealed, failure: RecorderError) {
        let number = {
            let mut state = self.lock();
            if self.progress.borrow().failed.is_some() {
                return;
            }
            // The log is told no more heads of it.
            state.ended = true;
            state.asked = state.asked.saturating_add(1);
            state.asking = Some(Asking { number: state.asked, failure: failure.clone() });
            state.asked
        };
        warn!(
            session = %self.session.id, channel = %self.number, segment = good.segment, bytes = good.bytes,
            error = %failure, "Segment given up, the recording goes on in a new one"
        );
        // Before it is told: the answer may come at once.
        let until = self.session.elapsed().saturating_add(self.session.stall_limit);
        self.session.pool().alarm_at(self.session.instant_of(until), Arc::clone(self), Alarm::Answer(number));
        let queue = Arc::clone(self);
        let then = Box::new(move || queue.session.pool().commit(Arc::clone(&queue)));
        self.session.given_up(self.number, good, &failure, then);
    }

    /// Records in a new segment what the one that failed did not keep.
    fn write_again(
        &self,
        writing: &mut Writing,
        asked: Asked,
        buffers: &mut Buffers,
    ) -> Result<Written, RecorderError> {
        self.lock().asking = None;
        writing.writer.branch(buffers)?;
        self.write(writing, 0, Asked { sync: true, ..asked }, buffers)
    }

    fn write_queued(&self, writing: &mut Writing, buffers: &mut Buffers) -> (Asked, Result<Written, RecorderError>) {
        let (asked, entries) = self.take();
        buffers.lines.clear();
        buffers.sealed.clear();
        let from = writing.unsynced.len();
        self.admit(writing, entries);
        let idle = writing.writer.idle(self.session.elapsed(), buffers).map_err(RecorderError::from);
        (asked, idle.and_then(|()| self.write(writing, from, asked, buffers)))
    }

    fn take(&self) -> (Asked, VecDeque<Timed>) {
        let mut state = self.lock();
        let missing = state.appended_bytes.saturating_sub(self.progress.borrow().durable_bytes);
        let sync = match self.mode {
            Mode::Strict => true,
            Mode::Bounded(window) | Mode::BestEffort(window) => {
                let due = self.session.elapsed().saturating_sub(window);
                state.finish || missing >= BOUNDED_SYNC_BYTES || state.oldest.is_some_and(|oldest| oldest <= due)
            }
        };
        let (appended, appended_bytes, finish) = (state.appended, state.appended_bytes, state.finish);
        (Asked { appended, appended_bytes, finish, sync }, std::mem::take(&mut state.entries))
    }

    /// Counts what was taken from the queue, without the secrets that must not stay in it.
    fn admit(&self, writing: &mut Writing, entries: VecDeque<Timed>) {
        let wanted = self.feed.is_wanted();
        for Timed { at, entry } in entries {
            writing.room = writing.room.saturating_add(usize::try_from(cost(&entry)).unwrap_or(0));
            let passed = entry.bytes();
            let (entry, scrubbed) = self.session.scrubber.scrubbed(entry);
            if let Some((direction, bytes)) = passed {
                writing.writer.count(direction, bytes, scrubbed);
            }
            if wanted {
                writing.unseen.add(Timed { at, entry: entry.clone() });
            }
            writing.unsynced.push_back(Timed { at, entry });
        }
    }

    /// Goes on with what has come meanwhile.
    fn settle(self: &Arc<Self>, care_at: Option<Duration>) {
        let mut state = self.lock();
        state.scheduled = false;
        state.care_at = care_at;
        self.set_care(&mut state);
        if !state.entries.is_empty() || state.finish {
            self.schedule(&mut state);
        } else if let (Mode::Bounded(window) | Mode::BestEffort(window), Some(oldest), false) =
            (self.mode, state.oldest, state.timed)
        {
            state.timed = true;
            let at = self.session.instant_of(oldest.saturating_add(window));
            self.session.pool().alarm_at(at, Arc::clone(self), Alarm::Window);
        }
    }

    /// Writes what is not synced, from entry `from` on.
    fn write(
        &self,
        writing: &mut Writing,
        from: usize,
        asked: Asked,
        buffers: &mut Buffers,
    ) -> Result<Written, RecorderError> {
        let now = self.session.elapsed();
        let Writing { writer, unsynced, .. } = writing;
        let mut spoiled = None;
        for Timed { at, entry } in unsynced.iter().skip(from) {
            writer.encode(*at, entry, &mut buffers.lines);
            if buffers.lines.len() >= PIECE_BYTES {
                spoiled = spoiled.or(self.put(writer, buffers)?);
            }
        }
        spoiled = spoiled.or(self.put(writer, buffers)?);
        let ends = match (&spoiled, asked.finish) {
            (Some(_), _) => Some(EndReason::Failed),
            (None, true) => Some(EndReason::Closed),
            (None, false) => writer.is_full(now).then_some(EndReason::Rolled),
        };
        if let Some(reason) = ends {
            writer.end(reason, buffers)?;
            spoiled = spoiled.or(self.put(writer, buffers)?);
        }
        let synced = asked.sync || ends.is_some();
        if synced {
            writer.sync()?;
            if !self.note_durable(writer, ends.is_some()) {
                // It took longer than the limit. The recording has ended where it was before, and what came since was
                // shown to nobody: the log is not told of it, and nothing follows it.
                writing.unseen = feed::Written::default();
                return Ok(Written { synced: false, spoiled });
            }
            *unsynced = VecDeque::new();
            self.room.add_permits(std::mem::take(&mut writing.room));
        }
        if ends.is_some() {
            self.session.sealed(self.number, *writer.durable());
        }
        if ends == Some(EndReason::Rolled) && spoiled.is_none() {
            // What was just synced stays good, whatever comes of the new segment. How far that is on disk the log is told
            // after its first sync: until then it has the seal of the one before.
            spoiled = writer.roll(buffers).map_err(RecorderError::from).err();
        }
        Ok(Written { synced, spoiled })
    }

    /// Notes how far the segment is on disk, and whether it has ended; `false` if the recording was given up meanwhile.
    fn note_durable(&self, writer: &ChannelWriter, ended: bool) -> bool {
        let mut state = self.lock();
        // Whoever gives it up does that under the same lock, and says then where it ended.
        if self.progress.borrow().failed.is_some() {
            return false;
        }
        state.durable = Some(*writer.durable());
        state.ended = ended;
        state.counted = Some(writer.counted().clone());
        true
    }

    /// Seals the lines of `buffers` and writes what is sealed there. On a full disk the reserve is given back, and the
    /// same bytes are completed from where the write stopped; then this is returned as what ends the recording.
    fn put(&self, writer: &mut ChannelWriter, buffers: &mut Buffers) -> Result<Option<RecorderError>, RecorderError> {
        writer.seal(buffers)?;
        let mut left = buffers.sealed.as_slice();
        let failure = match writer.append(&mut left) {
            Ok(()) => None,
            Err(error) if full_path(&error).is_some() => {
                self.session.use_reserve();
                writer.append(&mut left)?;
                Some(error.into())
            }
            Err(error) => return Err(error.into()),
        };
        buffers.sealed.clear();
        Ok(failure)
    }
}

/// Whether another file may do better: a write or a sync failed, and not for want of space.
fn is_of_the_file(failure: &RecorderError) -> bool {
    match failure {
        RecorderError::Store(error) => matches!(**error, StoreError::Write { .. }),
        RecorderError::DiskFull { .. }
        | RecorderError::LowSpace { .. }
        | RecorderError::Stalled { .. }
        | RecorderError::Log(_)
        | RecorderError::Finished
        | RecorderError::Panicked => false,
    }
}
