//! What the channels of one recording share, and how it is closed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::warn;

use super::announcer::{Announcer, Ended, GivenUp, LiveHead};
use super::health::Health;
use super::pool::{Pool, Retried, Running};
use super::queue::Queue;
use super::scrub::Scrubber;
use super::{RecorderError, Sealings};
use crate::cast::Entry;
use crate::clock::Clock;
use crate::model::{ChannelNumber, SessionId};
use crate::seal::Sealed;
use crate::store::{Closed, ClosedChannel, Disk, describe, sha256_hex};

/// One recording.
pub(super) struct SessionShared {
    pub(super) id: SessionId,
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) stall_limit: Duration,
    pub(super) clock: Clock,
    pub(super) opened: Instant,
    pub(super) health: Arc<Health>,
    pub(super) announcer: Arc<Announcer>,
    pub(super) sealings: Sealings,
    pub(super) scrubber: Scrubber,
    /// Keeps the threads as long as there is something to record.
    pub(super) running: Arc<Running>,
    /// The first failure of any channel.
    pub(super) failure: watch::Sender<Option<RecorderError>>,
    pub(super) channels: Mutex<Channels>,
}

/// The channels by number, and the end once it has come.
#[derive(Default)]
pub(super) struct Channels {
    by_number: BTreeMap<u32, Channel>,
    /// How many have files that are being made.
    making: usize,
    end: Option<Ending>,
}

enum Channel {
    Open(Arc<Queue>),
    Closed(Box<ClosedChannel>),
}

/// A channel whose files are being made. The recording is not closed before this is dropped: `closed.json` would not
/// know of the channel, and what there is of it would look like something that was added later.
pub(super) struct Making {
    session: Arc<SessionShared>,
    /// What is taken away again, unless the channel begins.
    directory: Option<PathBuf>,
}

impl Making {
    /// The channel has begun, or it has not and nothing of it stays.
    pub(super) fn over(mut self, begun: bool) {
        if begun {
            self.directory = None;
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            unmake(directory);
        }
        let mut channels = self.session.lock();
        channels.making = channels.making.saturating_sub(1);
        let last = channels.ended();
        drop(channels);
        if last {
            self.session.close_soon();
        }
    }
}

/// Takes away what was made of a channel that never began. Nothing went through it; and `closed.json`, which does not
/// know of it, would make it look like something that was added later.
fn unmake(channel: &Path) {
    match std::fs::remove_dir_all(channel) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(path = %channel.display(), error = %error, "What was made of a channel that never began is still there");
        }
        Ok(()) | Err(_) => {}
    }
}

/// A recording that is being closed.
struct Ending {
    end: String,
    /// Told when `closed.json` is written; gone after that.
    done: Option<oneshot::Sender<Result<(), RecorderError>>>,
}

impl SessionShared {
    pub(super) fn pool(&self) -> &Pool {
        &self.running.0
    }

    /// Since the session opened.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.opened)
    }

    pub(super) fn instant_of(&self, at: Duration) -> Instant {
        self.opened.checked_add(at).unwrap_or(self.opened)
    }

    /// A segment has ended and is on disk: the log is told soon.
    pub(super) fn sealed(&self, channel: ChannelNumber, sealed: Sealed) {
        self.announcer.sealed(&self.id, channel, sealed);
    }

    /// How far its open channels are on disk, where the log was not told that yet.
    pub(super) fn heads(&self) -> Vec<LiveHead> {
        let untold = self.open_queues().into_iter().filter_map(|queue| queue.untold_head());
        untold.map(|(channel, sealed)| LiveHead { session: self.id.clone(), channel, sealed }).collect()
    }

    /// The log has been told how far a channel is.
    pub(super) fn told(&self, told: &LiveHead) {
        if let Ok(queue) = self.queue(told.channel.0) {
            queue.told(told.sealed.head);
        }
    }

    /// A channel is recorded again, so long after it was not.
    pub(super) fn resumed(&self, channel: ChannelNumber, lasted: Duration) {
        self.announcer.resumed(&self.id, channel, lasted);
    }

    /// A segment is given up after an I/O error, and good as far as `good` says. `then` is called once the log has that
    /// on record; it must not block.
    pub(super) fn given_up(
        &self,
        channel: ChannelNumber,
        good: Sealed,
        failure: &RecorderError,
        then: Box<dyn FnOnce() + Send>,
    ) {
        let (session, why) = (self.id.clone(), describe(failure));
        self.announcer.given_up(GivenUp { session, channel, good, why, then });
    }

    pub(super) fn use_reserve(&self) {
        self.health.use_reserve();
    }

    pub(super) fn failed(&self, failure: &RecorderError) {
        self.health.failed(failure);
        self.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert_with(|| failure.clone());
            is_first
        });
    }

    /// A channel is not recorded any more, and the session goes on.
    pub(super) fn gap(&self, channel: ChannelNumber, failure: &RecorderError) {
        self.health.failed(failure);
        self.announcer.gap(&self.id, channel, describe(failure));
    }

    fn lock(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the files of a channel are made, in this directory of their own.
    ///
    /// # Errors
    /// `Finished` if the recording is being closed.
    pub(super) fn making(self: &Arc<Self>, directory: PathBuf) -> Result<Making, RecorderError> {
        let mut channels = self.lock();
        if channels.end.is_some() {
            return Err(RecorderError::Finished);
        }
        channels.making = channels.making.saturating_add(1);
        Ok(Making { session: Arc::clone(self), directory: Some(directory) })
    }

    /// Adds a channel.
    ///
    /// # Errors
    /// `Finished` if the recording is being closed; its queue is given up then.
    pub(super) fn add(&self, number: u32, queue: &Arc<Queue>) -> Result<(), RecorderError> {
        let mut channels = self.lock();
        if channels.end.is_some() {
            return Err(RecorderError::Finished);
        }
        channels.by_number.insert(number, Channel::Open(Arc::clone(queue)));
        Ok(())
    }

    /// The queue of an open channel.
    pub(super) fn queue(&self, number: u32) -> Result<Arc<Queue>, RecorderError> {
        match self.lock().by_number.get(&number) {
            Some(Channel::Open(queue)) => Ok(Arc::clone(queue)),
            Some(Channel::Closed(_)) | None => Err(RecorderError::Finished),
        }
    }

    /// Ends every channel; the last to be closed then writes `closed.json`. Later calls do nothing.
    pub(super) fn end(self: &Arc<Self>, end: &str) -> oneshot::Receiver<Result<(), RecorderError>> {
        let (done, waiting) = oneshot::channel();
        let mut channels = self.lock();
        if channels.end.is_some() {
            return waiting;
        }
        channels.end = Some(Ending { end: end.to_owned(), done: Some(done) });
        let (open, last) = (channels.open(), channels.ended());
        drop(channels);
        for (number, queue) in &open {
            if *number == 0 {
                queue.finish_with(Entry::Marker(format!("session ended: {end}")));
            } else {
                queue.request_finish();
            }
        }
        if last {
            // All have failed, so nobody comes after us.
            self.close_soon();
        }
        waiting
    }

    /// Leaves the recording as a crash would: nothing more is written, and nobody closes it but the next start.
    pub(super) fn abandon(&self) {
        let mut channels = self.lock();
        if channels.end.is_none() {
            channels.end = Some(Ending { end: String::new(), done: None });
        }
        let open = channels.open();
        drop(channels);
        open.into_iter().for_each(|(_, queue)| queue.abandon());
    }

    /// The channels that are still open.
    pub(super) fn open_queues(&self) -> Vec<Arc<Queue>> {
        self.lock().open().into_iter().map(|(_, queue)| queue).collect()
    }

    /// Notes that a channel is closed. May block, if it is the last one of a recording that has ended.
    pub(super) fn channel_closed(self: &Arc<Self>, number: u32, closed: ClosedChannel) {
        let mut channels = self.lock();
        if let Some(channel) = channels.by_number.get_mut(&number)
            && matches!(channel, Channel::Open(_))
        {
            *channel = Channel::Closed(Box::new(closed));
        }
        let last = channels.ended();
        drop(channels);
        if last {
            self.close_soon();
        }
    }

    fn close_soon(self: &Arc<Self>) {
        let session = Arc::clone(self);
        self.pool().spawn(move || session.close());
    }

    /// Puts the end on record, then writes `closed.json`; once.
    fn close(self: &Arc<Self>) {
        let mut channels = self.lock();
        let Some((end, done)) =
            channels.end.as_mut().and_then(|ending| Some((ending.end.clone(), ending.done.take()?)))
        else {
            return;
        };
        let closed = channels.by_number.values().filter_map(|channel| match channel {
            Channel::Closed(closed) => Some(ClosedChannel::clone(closed)),
            Channel::Open(_) => None,
        });
        let duration_ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        let closed = Closed::new(self.id.clone(), end, self.clock.now(), duration_ms, closed.collect());
        drop(channels);
        // On record before it is there: a recording that is closed without a trace in the log was closed by another.
        let (session, digest, end) = (Arc::clone(self), sha256_hex(&closed.to_json()), closed.end.clone());
        let then = Box::new(move |logged| {
            let writing = Arc::clone(&session);
            session.pool().spawn(move || writing.write_closed(&closed, logged, done));
        });
        self.announcer.ended(Ended { session: self.id.clone(), end, closed: digest, then });
    }

    fn write_closed(
        &self,
        closed: &Closed,
        logged: Result<(), RecorderError>,
        done: oneshot::Sender<Result<(), RecorderError>>,
    ) {
        let write = || closed.write(&self.disk, &self.directory).map_err(RecorderError::from);
        if let Err(failure) = logged {
            self.failed(&failure);
            let _ = done.send(Err(failure));
            return;
        }
        let mut written = write();
        if let Err(RecorderError::DiskFull { .. }) = &written {
            self.use_reserve();
            written = write();
        }
        if let Err(failure) = &written {
            self.failed(failure);
            // Else the file would look as if somebody had taken it away.
            self.announcer.unclosed(&self.id, describe(failure));
            self.write_closed_later(closed.clone());
        }
        // Whoever asked may be gone.
        let _ = done.send(written);
    }

    /// Tries again until it is there: the log says that the session ended, so its file must not be missing.
    fn write_closed_later(&self, closed: Closed) {
        let (disk, directory) = (Arc::clone(&self.disk), self.directory.clone());
        self.pool().put_off(move || match closed.write(&disk, &directory).map_err(RecorderError::from) {
            Err(RecorderError::DiskFull { .. }) => Retried::InVain,
            // Written, or beyond what waiting mends: the next start closes it as interrupted.
            Ok(()) | Err(_) => Retried::Over,
        });
    }
}

impl Channels {
    /// Whether nothing comes any more.
    fn ended(&self) -> bool {
        self.end.is_some() && self.making == 0 && !self.by_number.values().any(|one| matches!(one, Channel::Open(_)))
    }

    fn open(&self) -> Vec<(u32, Arc<Queue>)> {
        let open = self.by_number.iter().filter_map(|(number, channel)| match channel {
            Channel::Open(queue) => Some((*number, Arc::clone(queue))),
            Channel::Closed(_) => None,
        });
        open.collect()
    }
}
