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
use crate::seal::EndReason;
use crate::store::{Buffers, ChannelWriter, ClosedChannel, StoreError};

/// Lines are written in pieces of about this size, which bounds the buffer of a thread.
const PIECE_BYTES: usize = 256 * 1024;

/// What one thread of the pool at a time has of a queue.
pub(super) struct Writing {
    pub(super) writer: ChannelWriter,
    /// INVARIANT: all that was taken from the queue and that no sync has covered, in order, as it is recorded. It keeps
    /// its room in the queue.
    pub(super) unsynced: VecDeque<Timed>,
    /// That room.
    room: usize,
    /// What watchers have not been shown of it.
    pub(super) unseen: feed::Written,
    /// What was asked of the commit that failed, while the log is told that its segment is given up.
    pub(super) failed: Option<Asked>,
    /// The last segment of which the log was told that it has ended.
    sealed: Option<u32>,
}

/// What a commit is to do.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Entries and bytes of the channel that are on disk when it is done.
    pub(super) appended: u64,
    pub(super) appended_bytes: u64,
    /// Whether it ends the channel.
    pub(super) finish: bool,
    /// Whether it must be on disk when the commit is done.
    pub(super) sync: bool,
    /// Whether a gap is over with it.
    pub(super) resumes: bool,
}

/// What came of a commit.
pub(super) struct Written {
    /// Whether all of it is on disk.
    pub(super) synced: bool,
    /// Why the segment, or the recording, ends nevertheless.
    pub(super) spoiled: Option<RecorderError>,
}

impl Writing {
    pub(super) fn new(writer: ChannelWriter) -> Self {
        let (unsynced, unseen) = (VecDeque::new(), feed::Written::default());
        Self { writer, unsynced, room: 0, unseen, failed: None, sealed: None }
    }

    /// What was written was not in time. It is not shown, and the keys are wiped if nothing will follow.
    fn stop(&mut self, closed: bool) {
        self.unseen = feed::Written::default();
        if closed {
            self.writer.close();
        }
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
        if self.is_paused() {
            return self.resume(writing, buffers);
        }
        let (asked, written) = match writing.failed.take() {
            Some(asked) => (asked, self.write_again(&mut writing, asked, buffers)),
            None => self.write_queued(&mut writing, buffers),
        };
        if self.state().is_err() {
            // It took longer than the limit. The recording has ended where it was before, or goes on from here some time:
            // what came since was shown to nobody, the log is not told of it, and nothing follows it.
            return writing.stop(self.progress.borrow().closed);
        }
        let (synced, failure) = match written {
            Ok(Written { synced, spoiled }) => {
                // In bounded mode the user has been shown it already, or may be at once.
                self.feed.publish(std::mem::take(&mut writing.unseen));
                (synced, spoiled)
            }
            Err(error) => (false, Some(error)),
        };
        if synced {
            // Before the failure, if there is one: what is on disk may be shown.
            self.advance(asked);
        }
        let care_at = writing.writer.care_at();
        let given_up = failure.as_ref().is_some_and(|failure| self.give_up(&mut writing, asked, failure));
        if asked.finish && !given_up {
            writing.writer.close();
        }
        drop(writing);
        match failure {
            Some(_) if given_up => {}
            Some(failure) => self.fail(&failure),
            None if asked.finish => self.close(),
            None => self.settle(care_at),
        }
    }

    /// Tells those who wait how far the recording is on disk.
    pub(super) fn advance(&self, asked: Asked) {
        let mut state = self.lock();
        state.oldest = state.entries.front().map(|first| first.at);
        self.progress.send_modify(|progress| {
            progress.durable = progress.durable.max(asked.appended);
            progress.durable_bytes = progress.durable_bytes.max(asked.appended_bytes);
        });
    }

    /// Gives the present segment up, if another may do better: the log is told where this one is good to, and nothing is
    /// written until it has that on record. Then the commit that failed is done again.
    fn give_up(self: &Arc<Self>, writing: &mut Writing, asked: Asked, failure: &RecorderError) -> bool {
        if !is_of_the_file(failure) || !writing.writer.may_branch() {
            return false;
        }
        let number = {
            let mut state = self.lock();
            if self.state().is_err() {
                return false;
            }
            // The log is told no more heads of it.
            state.ended = true;
            state.asked = state.asked.saturating_add(1);
            state.asking = Some(Asking { number: state.asked, failure: failure.clone() });
            state.asked
        };
        writing.failed = Some(asked);
        let until = self.session.elapsed().saturating_add(self.session.stall_limit);
        self.session.pool().alarm_at(self.session.instant_of(until), Arc::clone(self), Alarm::Answer(number));
        self.session.health.failed(failure);
        self.tell_given_up(&writing.writer, failure);
        true
    }

    /// Tells the log where the present segment is good to; another commit follows once that is on record.
    pub(super) fn tell_given_up(self: &Arc<Self>, writer: &ChannelWriter, failure: &RecorderError) {
        let good = writer.good_part();
        self.lock().counted = Some(writer.counted().clone());
        warn!(
            session = %self.session.id, channel = %self.number, segment = good.segment, bytes = good.bytes,
            error = %failure, "Segment given up"
        );
        let queue = Arc::clone(self);
        let then = Box::new(move || queue.session.pool().commit(Arc::clone(&queue)));
        self.session.given_up(self.number, good, failure, then);
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
        (Asked { appended, appended_bytes, finish, sync, resumes: false }, std::mem::take(&mut state.entries))
    }

    /// Counts what was taken from the queue, without the secrets that must not stay in it.
    fn admit(&self, writing: &mut Writing, entries: VecDeque<Timed>) {
        let wanted = self.feed.is_wanted();
        for Timed { at, entry } in entries {
            writing.room = writing.room.saturating_add(usize::try_from(cost(&entry)).unwrap_or(0));
            let passed = entry.bytes();
            let (entry, scrubbed) = self.session.scrubber.scrubbed(entry);
            writing.writer.count(passed, scrubbed);
            if wanted {
                writing.unseen.add(Timed { at, entry: entry.clone() });
            }
            writing.unsynced.push_back(Timed { at, entry });
        }
    }

    /// Goes on with what has come meanwhile.
    pub(super) fn settle(self: &Arc<Self>, care_at: Option<Duration>) {
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
    pub(super) fn write(
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
            let begun = self.session.clock.instant();
            writer.sync()?;
            self.session.health.synced(begun.elapsed());
            *unsynced = VecDeque::new();
            self.room.add_permits(std::mem::take(&mut writing.room));
            if !self.note_durable(writer, ends.is_some(), asked.resumes) {
                return Ok(Written { synced: false, spoiled });
            }
        }
        if ends.is_some() {
            self.tell_sealed(writing);
        }
        let writer = &mut writing.writer;
        if ends == Some(EndReason::Rolled) && spoiled.is_none() {
            // What was just synced stays good, whatever comes of the new segment. How far that is on disk the log is told
            // after its first sync: until then it has the seal of the one before.
            spoiled = writer.roll(buffers).map_err(RecorderError::from).err();
        }
        Ok(Written { synced, spoiled })
    }

    /// Tells the log once that the present segment, all of which is on disk, has ended.
    pub(super) fn tell_sealed(&self, writing: &mut Writing) {
        let durable = *writing.writer.durable();
        if writing.sealed.replace(durable.segment) != Some(durable.segment) {
            self.session.sealed(self.number, durable);
        }
    }

    /// Notes how far the segment is on disk, and whether it has ended; `false` if the recording was given up meanwhile.
    fn note_durable(&self, writer: &ChannelWriter, ended: bool, resumes: bool) -> bool {
        let mut state = self.lock();
        // Whoever gives it up does that under the same lock, and says then where it ended.
        let given_up = if resumes { self.progress.borrow().closed } else { self.progress.borrow().failed.is_some() };
        if given_up {
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
        | RecorderError::Contested { .. }
        | RecorderError::Finished
        | RecorderError::Panicked => false,
    }
}
