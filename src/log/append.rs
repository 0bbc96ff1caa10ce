//! Appending: leaves wait in a queue, one thread makes them durable, many with one sync.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ring::hmac;
use tokio::sync::oneshot;

use super::publish::Publisher;
use super::reader::Reader;
use super::wal::{Chain, Position, journal_of};
use super::{Disk, Leaf, LogError};
use crate::clock::Clock;
use crate::store::SegmentFile;
use crate::tlog::{Checkpoint, SigningKey};

/// How much waits for the disk before whoever brings more waits, in bytes.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much is kept in memory for the next publishing before no more is taken, in bytes.
const UNPUBLISHED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a log is opened with.
#[derive(Debug)]
pub struct LogSettings {
    /// Its directory.
    pub directory: PathBuf,
    /// The name that stands in every leaf.
    pub node: String,
    /// Its key; the key's name is the log's origin.
    pub key: SigningKey,
    /// What tells the time of leaves.
    pub clock: Clock,
    /// The newest checkpoint that the caller keeps elsewhere: the log must go on from there.
    pub floor: Option<Checkpoint>,
}

/// The open log. One process writes it: the one that holds the state directory.
///
/// Calls block on the disk, but for `submit` and `Receipt::acknowledged`. May be shared between threads.
#[derive(Debug)]
pub struct Log {
    pub(super) core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// The journal that a copy of the log at `size` goes on from: the leaves since the last full bundle.
    ///
    /// # Errors
    /// `Read`, `Damaged`; `NoSuchEntry` if the log has gone on since, so that they are in the journal no more.
    pub fn journal_at(&self, size: u64) -> Result<Vec<u8>, LogError> {
        let first = size.saturating_sub(size % 256);
        let gone = || LogError::NoSuchEntry { index: first };
        let reader = Reader::on(Arc::clone(&self.core.disk), &self.core.directory);
        let journal = reader.journal()?.ok_or_else(gone)?;
        let skipped = first.checked_sub(journal.first).and_then(|skipped| usize::try_from(skipped).ok());
        let wanted = usize::try_from(size.saturating_sub(first)).unwrap_or(usize::MAX);
        let leaves: Vec<Vec<u8>> = journal.leaves.into_iter().skip(skipped.ok_or_else(gone)?).take(wanted).collect();
        if leaves.len() != wanted {
            return Err(gone());
        }
        Ok(journal_of(&self.core.journal_key, first, &leaves))
    }
}

pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) node: String,
    pub(super) key: SigningKey,
    pub(super) clock: Clock,
    /// How many leaves the journal may lose before it is worth writing it afresh.
    pub(super) trim_leaves: u64,
    // Locked in this order, where more than one is.
    pub(super) publisher: Mutex<Publisher>,
    /// INVARIANT: `None` from a failed write or sync on, until the journal is written afresh.
    pub(super) journal: Mutex<Option<OpenJournal>>,
    /// What the journal is authenticated with.
    pub(super) journal_key: hmac::Key,
    pub(super) queue: Mutex<Queue>,
    /// A directory may have been made whose name is not durable.
    pub(super) unsure: AtomicBool,
    /// There is something to do.
    work: Condvar,
    /// There is room in the queue.
    room: Condvar,
}

/// The journal, to append to.
pub(super) struct OpenJournal {
    pub(super) file: Box<dyn SegmentFile>,
    pub(super) chain: Chain,
}

/// What waits.
#[derive(Default)]
pub(super) struct Queue {
    /// The number of the next leaf.
    pub(super) next: u64,
    group: Group,
    /// Durable in the journal, and not published.
    pub(super) unpublished: VecDeque<Arc<[u8]>>,
    pub(super) unpublished_bytes: usize,
    /// Nothing more is taken.
    stop: bool,
    /// The thread that writes is gone.
    stopped: bool,
}

/// What could not be written, and why.
pub(super) type Failure = (PathBuf, Arc<io::Error>);

/// Leaves that one sync makes durable.
#[derive(Default)]
struct Group {
    bytes: usize,
    leaves: Vec<Arc<[u8]>>,
    waiting: Vec<(u64, Waiting)>,
}

/// Who waits for a leaf.
enum Waiting {
    Thread(SyncSender<Result<u64, LogError>>),
    Task(oneshot::Sender<Result<u64, LogError>>),
}

impl Group {
    fn answer(self, outcome: &Result<(), Failure>) {
        for (index, waiting) in self.waiting {
            let answer = match outcome {
                Ok(()) => Ok(index),
                Err((path, source)) => Err(LogError::Failed { path: path.clone(), source: Arc::clone(source) }),
            };
            // Whoever asked may have given up.
            match waiting {
                Waiting::Thread(thread) => drop(thread.try_send(answer)),
                Waiting::Task(task) => drop(task.send(answer)),
            }
        }
    }
}

/// A leaf that is on its way to the disk.
#[must_use = "the leaf is on record only once this says so"]
#[derive(Debug)]
pub struct Receipt {
    durable: oneshot::Receiver<Result<u64, LogError>>,
}

impl Receipt {
    /// Waits until the leaf is durable; gives its number in the log, from 0. Not to be called from an async task.
    ///
    /// # Errors
    /// As `Log::append`.
    pub fn wait(self) -> Result<u64, LogError> {
        self.durable.blocking_recv().unwrap_or(Err(LogError::Stopped))
    }

    /// The same for an async task.
    ///
    /// # Errors
    /// As `Log::append`.
    pub async fn acknowledged(self) -> Result<u64, LogError> {
        self.durable.await.unwrap_or(Err(LogError::Stopped))
    }
}

impl Log {
    pub(super) fn start(core: Core) -> Result<Self, LogError> {
        let core = Arc::new(core);
        let mine = Arc::clone(&core);
        let spawned = std::thread::Builder::new().name(String::from("log")).spawn(move || mine.work());
        let thread =
            spawned.map_err(|source| LogError::Write { path: core.directory.join(super::open::JOURNAL), source })?;
        Ok(Self { core, thread: Some(thread) })
    }

    /// Appends a leaf and returns its number, from 0, once it is durable.
    ///
    /// # Errors
    /// `TooLong`, `Behind`: nothing was done. `Failed`: the leaf is not on record, and whoever needs it there must
    /// refuse; the next one is tried anew. Only if the process ends before the journal could be written afresh, the
    /// next start may find it. `Stopped`: the log is closed, or it is not known whether the leaf is on record.
    pub fn append(&self, leaf: Leaf) -> Result<u64, LogError> {
        let (answer, durable) = sync_channel(1);
        self.queue(leaf, Waiting::Thread(answer))?;
        durable.recv().unwrap_or(Err(LogError::Stopped))
    }

    /// Sends a leaf on its way; leaves get their numbers and times in the order of these calls.
    ///
    /// Returns at once, unless 8 MiB wait for the disk.
    ///
    /// # Errors
    /// As `append`.
    pub fn submit(&self, leaf: Leaf) -> Result<Receipt, LogError> {
        let (answer, durable) = oneshot::channel();
        self.queue(leaf, Waiting::Task(answer))?;
        Ok(Receipt { durable })
    }

    /// Takes nothing more. What waits is still written, and `publish` still publishes.
    pub fn close(&self) {
        self.core.lock_queue().stop = true;
        self.core.work.notify_one();
        self.core.room.notify_all();
    }

    fn queue(&self, leaf: Leaf, waiting: Waiting) -> Result<(), LogError> {
        let core = &self.core;
        let mut queue = core.lock_queue();
        while queue.group.bytes >= WAITING_BYTES_MAX && queue.refusal().is_none() {
            queue = core.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(refusal) = queue.refusal() {
            return Err(refusal);
        }
        if queue.unpublished_bytes >= UNPUBLISHED_BYTES_MAX {
            return Err(LogError::Behind { leaves: queue.unpublished.len() });
        }
        let index = queue.next;
        let bytes = leaf.encode(index, core.clock.now(), &core.node)?;
        queue.next = index.saturating_add(1);
        queue.group.bytes = queue.group.bytes.saturating_add(bytes.len());
        queue.group.leaves.push(bytes.into());
        queue.group.waiting.push((index, waiting));
        drop(queue);
        core.work.notify_one();
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been answered with `Stopped`.
            let _ = thread.join();
        }
    }
}

impl Queue {
    /// A queue whose unpublished leaves are `leaves`, the first with the number `first`.
    pub(super) fn of(first: u64, leaves: Vec<Arc<[u8]>>) -> Self {
        Self {
            next: first.saturating_add(u64::try_from(leaves.len()).unwrap_or(u64::MAX)),
            unpublished_bytes: leaves.iter().map(|leaf| leaf.len()).sum(),
            unpublished: leaves.into(),
            ..Self::default()
        }
    }

    /// Why nothing more is taken, if so.
    fn refusal(&self) -> Option<LogError> {
        (self.stop || self.stopped).then_some(LogError::Stopped)
    }
}

/// Says that the thread is gone, however it went.
struct Gone<'a>(&'a Core);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock_queue();
        queue.stopped = true;
        queue.group = Group::default();
        drop(queue);
        self.0.room.notify_all();
    }
}

impl Core {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        settings: LogSettings,
        trim_leaves: u64,
        publisher: Publisher,
        journal: OpenJournal,
        queue: Queue,
    ) -> Self {
        Self {
            disk,
            journal_key: journal_key(&settings.key),
            directory: settings.directory,
            node: settings.node,
            key: settings.key,
            clock: settings.clock,
            trim_leaves,
            publisher: Mutex::new(publisher),
            journal: Mutex::new(Some(journal)),
            queue: Mutex::new(queue),
            unsure: AtomicBool::new(false),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    pub(super) fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        // What the lock guards is whole between any two statements that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let gone = Gone(self);
        while let Some(group) = self.next_group() {
            let outcome = self.commit(&group);
            let queued = outcome.is_err().then(|| self.take_back(&group));
            group.answer(&outcome);
            if let Some(queued) = queued {
                queued.answer(&outcome);
            }
        }
        drop(gone);
    }

    /// Takes out what is queued behind a group that failed, and gives the numbers of all of them back.
    fn take_back(&self, failed: &Group) -> Group {
        let mut queue = self.lock_queue();
        if let Some((first, _)) = failed.waiting.first() {
            queue.next = *first;
        }
        let queued = std::mem::take(&mut queue.group);
        drop(queue);
        self.room.notify_all();
        queued
    }

    /// What has come since the last sync; `None` once all is done and nothing more will come.
    fn next_group(&self) -> Option<Group> {
        let mut queue = self.lock_queue();
        while queue.group.leaves.is_empty() {
            if queue.stop {
                return None;
            }
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let group = std::mem::take(&mut queue.group);
        drop(queue);
        self.room.notify_all();
        Some(group)
    }

    fn commit(&self, group: &Group) -> Result<(), Failure> {
        let path = self.directory.join(super::open::JOURNAL);
        let mut journal = self.lock_journal();
        if journal.is_none() {
            drop(journal);
            self.mend()?;
            journal = self.lock_journal();
        }
        let Some(OpenJournal { file, chain }) = journal.as_mut() else {
            return Err((path, Arc::new(io::Error::other("the journal was just written afresh, and failed again"))));
        };
        // Only now: the journal may have been written afresh since the leaves came, and its tags are others then.
        let mut records = Vec::with_capacity(group.bytes);
        let mut position = Position::First;
        for leaf in &group.leaves {
            chain.append(leaf, std::mem::replace(&mut position, Position::Later), &mut records);
        }
        if let Err(source) = append_all(file.as_mut(), &records).and_then(|()| file.sync()) {
            // Linux tells a lost write only once: this descriptor is never synced again.
            *journal = None;
            drop(journal);
            // At once, so that a start that comes before the next leaf does not find what was refused. What fails
            // now is tried again before the next leaf.
            let _ = self.mend();
            return Err((path, Arc::new(source)));
        }
        // The journal stays locked until the leaves count as durable, so that it is never written afresh without them.
        let mut queue = self.lock_queue();
        queue.unpublished_bytes += group.leaves.iter().map(|leaf| leaf.len()).sum::<usize>();
        queue.unpublished.extend(group.leaves.iter().cloned());
        Ok(())
    }

    pub(super) fn lock_journal(&self) -> MutexGuard<'_, Option<OpenJournal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key by which a start knows the journal for its own.
pub(super) fn journal_key(key: &SigningKey) -> hmac::Key {
    key.authentication_key("journal")
}

pub(super) fn append_all(file: &mut dyn SegmentFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = file.append(bytes)?;
        bytes = bytes.get(taken..).filter(|_| taken > 0).ok_or(io::ErrorKind::WriteZero)?;
    }
    Ok(())
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("directory", &self.directory).field("key", &self.key).finish_non_exhaustive()
    }
}
