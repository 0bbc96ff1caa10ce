//! Records sessions: bounded queues, threads that write, receipts that say what is on disk.
//!
//! Whoever carries a channel appends what happens and gets a receipt. In strict durability the receipt is good
//! once the entry is on disk, so the carrier shows nothing before that (promise P2). All that comes while a
//! commit is on its way joins the next one: no timer delays a byte. In bounded durability the receipt is good at
//! once, as long as little and only the newest is missing on disk.
//!
//! A sync is never tried again on the same file. A write or a sync that fails costs the segment: once the log has on
//! record where that one is good to, all that was not on disk is recorded once more in a new one, and the session goes
//! on. A channel whose record cannot be kept like this, or for want of space or an answer from the disk, has failed
//! for good: each receipt that waits and each later append is an error. Nothing is ever dropped, but in the sessions that
//! a rule lets go on unrecorded (best effort): their gaps are on record, and they are recorded again once that is possible.

mod announcer;
mod error;
mod feed;
mod health;
mod outages;
mod pool;
mod queue;
mod scrub;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::cast::{Entry, Facts, Header, Withheld};
use crate::clock::Clock;
use crate::durable;
use crate::grant::Permit;
use crate::model::{ChannelClass, ChannelNumber, SessionId, Terminal, Timestamp};
use crate::policy::{Durability, InputMode};
use crate::seal::{ContextPool, Dek, Recipients, SealError, SessionKeys, Source, Stream};
use crate::secret::Secret;
use crate::store::{
    Buffers, ChannelWriter, Disk, LocalDisk, Opening, OpeningProof, Sealing, StoreError, StoreRoot, hex, sha256_hex,
};
use announcer::Announcer;
pub use announcer::{LiveHead, LogFailure, RecorderLog};
pub use error::RecorderError;
use feed::Feed;
pub use feed::{Seen, WatchedChannel, Watching};
use health::Health;
pub use health::SlowSyncs;
pub use outages::Outage;
use pool::{Pool, Running};
use queue::{Mode, Queue};
use scrub::Scrubber;
use session::{Channels, SessionShared};

/// How the recorder works.
#[derive(Debug, Clone)]
pub struct RecorderSettings {
    /// A channel of which nothing reaches the disk for so long has failed. Default 10 s.
    pub stall_limit: Duration,
    /// In bounded durability, how old what is shown but not on disk may be. Default 50 ms.
    pub window: Duration,
    /// With less free space new sessions are refused. Default 2 GiB and 5 percent.
    pub free_min: FreeMin,
    /// The log is told so often how far live sessions are: what a crash can cut off unnoticed is not older. Default 10 s.
    pub heads_every: Duration,
    /// Threads that write. Default 8: syncs of different files go together.
    pub threads: usize,
    /// Space to give back when the disk is full, so that what has begun can be completed. Default none.
    pub reserve: Option<Arc<dyn Reserve>>,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            stall_limit: Duration::from_secs(10),
            window: Duration::from_millis(50),
            free_min: FreeMin::default(),
            heads_every: Duration::from_secs(10),
            threads: 8,
            reserve: None,
        }
    }
}

/// How much of a disk must be free for new sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeMin {
    /// At least so many bytes.
    pub bytes: u64,
    /// And at least so much of the whole.
    pub percent: u8,
}

impl FreeMin {
    /// In bytes, on a disk of this size.
    pub fn of(self, total: u64) -> u64 {
        self.bytes.max((total / 100).saturating_mul(self.percent.into()))
    }
}

impl Default for FreeMin {
    fn default() -> Self {
        Self { bytes: 2 << 30, percent: 5 }
    }
}

/// Disk space that is set aside. Both calls block and may come from any thread.
pub trait Reserve: fmt::Debug + Send + Sync {
    /// Gives it back to the file system; nothing happens if that was done.
    fn give_back(&self);

    /// Sets it aside again; tells whether it is.
    fn set_aside(&self) -> bool;
}

/// What a recording says of its session, beside its permit.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// Made by `new_session_id`.
    pub id: SessionId,
    /// The key that proved who the user is.
    pub key_fingerprint: String,
    /// Where the target is.
    pub target_address: String,
    /// Where the user came from.
    pub source: String,
    /// When.
    pub started: Timestamp,
}

/// What a recording says of a channel, beside its permit.
#[derive(Debug, Clone)]
pub struct ChannelFacts {
    /// From 1, each once.
    pub number: ChannelNumber,
    /// What it is for.
    pub class: ChannelClass,
    /// Its terminal, if it has one.
    pub terminal: Option<Terminal>,
    /// The command line of an exec channel, as it came.
    pub command: Option<Vec<u8>>,
    /// Where a forward leads.
    pub forward: Option<String>,
    /// The environment variables that the user sets on the target.
    pub environment: Vec<(String, String)>,
    /// A desktop's size in pixels.
    pub pixels: Option<(u32, u32)>,
}

/// Opens recordings. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder {
    root: StoreRoot,
    disk: Arc<dyn Disk>,
    clock: Clock,
    health: Arc<Health>,
    announcer: Arc<Announcer>,
    running: Arc<Running>,
    /// For whom sessions are sealed whose rule does not say.
    auditors: Recipients,
    contexts: Arc<ContextPool>,
    stall_limit: Duration,
    window: Duration,
}

/// Compressors that are kept though no channel uses them: 16 MiB at most.
const IDLE_COMPRESSORS: usize = 32;

impl Recorder {
    /// Starts the threads, on the file system of `root`, whose directories are made if they are missing. Blocks.
    ///
    /// Sessions are sealed for `auditors` unless their rule names others; `log` is told what is on disk.
    ///
    /// # Errors
    /// `Store` if a directory or a thread cannot be made.
    pub fn start(
        root: StoreRoot,
        settings: RecorderSettings,
        auditors: Recipients,
        log: Arc<dyn RecorderLog>,
        clock: Clock,
    ) -> Result<Self, RecorderError> {
        for directory in [root.directory(), root.envelopes()] {
            durable::create_directories(directory).map_err(|source| create_error(&root, source))?;
        }
        Self::start_on(Arc::new(LocalDisk), root, settings, auditors, log, clock)
    }

    /// As `start`, on another disk.
    ///
    /// # Errors
    /// `Store` if a thread cannot be made.
    pub fn start_on(
        disk: Arc<dyn Disk>,
        root: StoreRoot,
        settings: RecorderSettings,
        auditors: Recipients,
        log: Arc<dyn RecorderLog>,
        clock: Clock,
    ) -> Result<Self, RecorderError> {
        let RecorderSettings { stall_limit, window, free_min, heads_every, threads, reserve } = settings;
        let health = Health::new(Arc::clone(&disk), root.directory().to_owned(), free_min, reserve, clock.clone());
        let health = Arc::new(health);
        health.check();
        let announcer = Announcer::start(log, Arc::clone(&health), clock.clone(), stall_limit, heads_every)
            .map_err(|source| create_error(&root, source))?;
        let running = Pool::start(threads, clock.clone(), Arc::clone(&health), Arc::clone(&announcer), stall_limit)
            .map_err(|source| create_error(&root, source))?;
        let (running, contexts) = (Arc::new(running), ContextPool::new(IDLE_COMPRESSORS));
        Ok(Self { root, disk, clock, health, announcer, running, auditors, contexts, stall_limit, window })
    }

    /// Whether a new session or channel can be recorded. It is looked at each second.
    ///
    /// # Errors
    /// Why not.
    pub fn healthy(&self) -> Result<(), RecorderError> {
        self.health.state()
    }

    /// The outages of this process, each as it begins and as it is over; the newest if several came since the last look.
    pub fn outages(&self) -> watch::Receiver<Option<Outage>> {
        self.health.outages()
    }

    /// The outage that goes on, and whether it is on record.
    pub fn outage(&self) -> Option<(Outage, bool)> {
        self.health.outage()
    }

    /// Says that others have seen another history of the log than the one that is here, or that an operator has answered
    /// for it. Until then nothing begins; live sessions end after as long as without a log: one that was put back may have
    /// given back rights that had ended.
    pub fn contest(&self, why: Option<String>) {
        self.health.contest(why);
    }

    /// The syncs that held sessions up, since the start.
    pub fn slow_syncs(&self) -> SlowSyncs {
        self.health.slow_syncs()
    }

    /// The same for this durability: little free space keeps no break-glass role out.
    ///
    /// # Errors
    /// Why not.
    pub fn healthy_for(&self, durability: Durability) -> Result<(), RecorderError> {
        match (self.healthy(), durability) {
            (Err(RecorderError::LowSpace { .. }), Durability::BestEffort) => Ok(()),
            (healthy, _) => healthy,
        }
    }

    /// A new id.
    pub fn new_session_id(&self, now: Timestamp) -> SessionId {
        let mut random = [0; 16];
        // Without randomness ids repeat, and `open` refuses one that was used.
        let _ = SystemRandom::new().fill(&mut random);
        SessionId::from_parts(now, u128::from_le_bytes(random))
    }

    /// Opens the recording of a session; its facts and its envelope are on disk on return.
    ///
    /// # Errors
    /// Why it cannot be recorded; the session does not start then.
    pub async fn open(&self, permit: &Permit, facts: SessionFacts) -> Result<Recording, RecorderError> {
        self.healthy_for(permit.recording().durability)?;
        let opened = self.clock.instant();
        // A rule that names auditors has its sessions read by them, and by nobody else.
        let auditors = Recipients::of(permit.recording().auditors.iter().cloned());
        let auditors = auditors.unwrap_or_else(|| self.auditors.clone());
        let header = session_header(permit, &facts);
        let opening = opening(permit, &facts, &auditors);
        let (root, disk, contexts) = (self.root.clone(), Arc::clone(&self.disk), Arc::clone(&self.contexts));
        let making = move |buffers: &mut Buffers| make(&root, &disk, contexts, header, &opening, &auditors, buffers);
        let Made { directory, writer, sealings, proof } = self.running.0.run(making).await?;
        let shared = Arc::new(SessionShared {
            id: facts.id.clone(),
            directory,
            disk: Arc::clone(&self.disk),
            stall_limit: self.stall_limit,
            clock: self.clock.clone(),
            opened,
            health: Arc::clone(&self.health),
            announcer: Arc::clone(&self.announcer),
            sealings,
            scrubber: Scrubber::default(),
            running: Arc::clone(&self.running),
            failure: watch::Sender::new(None),
            channels: Mutex::new(Channels::default()),
        });
        // Nobody is shown anything of channel 0, so its syncs need not be waited for.
        let mode = match permit.recording().durability {
            Durability::Strict | Durability::Bounded => Mode::Bounded(self.window),
            Durability::BestEffort => Mode::BestEffort(self.window),
        };
        let watched = WatchedChannel { number: ChannelNumber(0), class: None, pty: false };
        let feed = Feed::new(watched, (80, 24));
        let queue = Queue::new(ChannelNumber(0), mode, writer, Arc::clone(&shared), feed);
        shared.add(0, &queue)?;
        Ok(Recording { shared, facts, proof, window: self.window, watched: AtomicBool::new(false) })
    }

    /// Watches a channel of a live session: `wanted`, else the first that has a terminal, else the first. `None` if
    /// there is none.
    pub fn watch(&self, session: &SessionId, wanted: Option<ChannelNumber>) -> Option<Watching> {
        let session = self.announcer.live().into_iter().find(|live| live.id == *session)?;
        let mut feeds = session.open_queues().into_iter().map(|queue| Arc::clone(&queue.feed));
        let feed = match wanted {
            Some(wanted) => feeds.find(|feed| feed.channel().number == wanted),
            None => feeds
                .filter(|feed| feed.channel().number != ChannelNumber(0))
                .min_by_key(|feed| (!feed.channel().pty, feed.channel().number)),
        };
        feed.map(|feed| feed.watch())
    }

    /// What a channel of a live session shows now, and what it is.
    pub fn look(&self, session: &SessionId, wanted: Option<ChannelNumber>) -> Option<(WatchedChannel, Seen)> {
        let watching = self.watch(session, wanted)?;
        let seen = watching.take()?;
        Some((watching.channel().clone(), seen))
    }
}

/// What is on disk of a session that begins.
struct Made {
    directory: PathBuf,
    writer: ChannelWriter,
    sealings: Sealings,
    proof: OpeningProof,
}

/// Makes the files of a session. Blocks.
fn make(
    root: &StoreRoot,
    disk: &Arc<dyn Disk>,
    contexts: Arc<ContextPool>,
    header: Header,
    opening: &Opening,
    auditors: &Recipients,
    buffers: &mut Buffers,
) -> Result<Made, RecorderError> {
    let session = &opening.session;
    let directory = root.create_session(disk, session)?;
    let path = root.envelope(session);
    let unsealed = |source| StoreError::Seal { path: path.clone(), source };
    let dek = Dek::random().map_err(unsealed)?;
    let envelope = auditors.wrap(&dek).map_err(|source| StoreError::Envelope { path: path.clone(), source })?;
    let keys = SessionKeys::new(&dek).map_err(unsealed)?;
    let opener_key = Some(dek.opener_key().map_err(unsealed)?);
    drop(dek);
    let text = Opening { opener_key, ..opening.clone() }.to_json();
    for (path, bytes) in [(&path, &envelope), (&directory.join("opened.json"), &text)] {
        disk.create_whole(path, bytes).map_err(|source| StoreError::Write { path: path.clone(), source })?;
    }
    let source = Source {
        stream: Stream::Cast3,
        session: session.to_bytes().ok_or_else(|| StoreError::NotFound { session: session.clone() })?,
        recipients_digest: auditors.digest(),
    };
    let sealings = Sealings { source, contexts, keys: Mutex::new(keys) };
    let first = format!(
        "session opened: {} as {} at {}, from {} with key {}",
        opening.user, opening.destination, opening.target_address, opening.source, opening.key_fingerprint
    );
    let sealing = sealings.channel(ChannelNumber(0), Stream::Cast3).map_err(unsealed)?;
    let first = Some((Duration::ZERO, Entry::Marker(first)));
    let writer = ChannelWriter::create(Arc::clone(disk), &directory, header, sealing, first, buffers)?;
    StoreRoot::sync_session(disk, &directory)?;
    let proof = OpeningProof {
        opened: sha256_hex(&text),
        envelope: sha256_hex(&envelope),
        recipients: hex(&auditors.digest()),
    };
    Ok(Made { directory, writer, sealings, proof })
}

/// What the channels of a session are sealed with.
struct Sealings {
    source: Source,
    contexts: Arc<ContextPool>,
    keys: Mutex<SessionKeys>,
}

impl Sealings {
    fn channel(&self, number: ChannelNumber, stream: Stream) -> Result<Sealing, SealError> {
        let ratchet = self.keys.lock().unwrap_or_else(PoisonError::into_inner).channel(number)?;
        Ok(Sealing { source: Source { stream, ..self.source.clone() }, ratchet, contexts: Arc::clone(&self.contexts) })
    }
}

fn create_error(root: &StoreRoot, source: std::io::Error) -> RecorderError {
    StoreError::Create { path: root.directory().to_owned(), source }.into()
}

/// A session that is being recorded. Dropped without `finish`, it is closed as such.
pub struct Recording {
    shared: Arc<SessionShared>,
    facts: SessionFacts,
    proof: OpeningProof,
    window: Duration,
    /// Whether the log is told how far it is.
    watched: AtomicBool,
}

impl Recording {
    /// The session.
    pub fn id(&self) -> &SessionId {
        &self.shared.id
    }

    /// What the log must have on record before the first byte flows.
    pub fn proof(&self) -> &OpeningProof {
        &self.proof
    }

    /// Starts the record of a channel; its header is on disk on return.
    ///
    /// # Errors
    /// Why it cannot be recorded; the channel does not start then.
    pub async fn channel(&self, permit: &Permit, mut facts: ChannelFacts) -> Result<Track, RecorderError> {
        let mode = match permit.recording().durability {
            Durability::Strict => Mode::Strict,
            Durability::Bounded => Mode::Bounded(self.window),
            Durability::BestEffort => Mode::BestEffort(self.window),
        };
        let opening = format!("channel {} opened: {}", facts.number, facts.class);
        let (number, class) = (facts.number, facts.class);
        let watched = WatchedChannel { number, class: Some(class), pty: facts.terminal.is_some() };
        let scrubbed = self.shared.scrubber.scrub_channel(&mut facts);
        let mut header = channel_header(permit, &self.facts, facts, self.shared.elapsed());
        header.doorward.scrubbed = scrubbed;
        let feed = Feed::new(watched, (header.cols, header.rows));
        let (disk, directory) = (Arc::clone(&self.shared.disk), self.shared.directory.clone());
        let stream = if class == ChannelClass::Desktop { Stream::Rdp1 } else { Stream::Cast3 };
        let sealing = self.shared.sealings.channel(number, stream);
        let sealing =
            sealing.map_err(|source| StoreError::Seal { path: directory.join(number.to_string()), source })?;
        let (shared, making) = (Arc::clone(&self.shared), self.shared.making(directory.join(number.to_string()))?);
        // All of it on the recorder's thread: whoever waits here may be gone before it is over.
        let make = move |buffers: &mut Buffers| {
            let begun = ChannelWriter::create(disk, &directory, header, sealing, None, buffers)
                .map_err(RecorderError::from)
                .and_then(|writer| {
                    let queue = Queue::new(number, mode, writer, Arc::clone(&shared), feed);
                    shared.add(number.0, &queue).map(|()| Track { queue })
                });
            making.over(begun.is_ok());
            begun
        };
        let track = self.shared.pool().run(make).await?;
        // Only now: before its first channel the log may not know the session yet.
        if !self.watched.swap(true, Ordering::SeqCst) {
            self.shared.announcer.watch(&self.shared);
        }
        self.shared.queue(0)?.append(Entry::Marker(opening)).await?;
        Ok(track)
    }

    /// Keeps a secret that the bastion knows out of what is recorded from now on - output, input, command lines,
    /// environments, markers -, where it stands in one piece and has at least 8 bytes; `[vault:NAME]` stands in its place.
    pub fn scrub(&self, secret: Secret<String>, name: &str) {
        self.shared.scrubber.add(secret, name);
    }

    /// A text as it may stand on record: without what [`Self::scrub`] keeps out.
    pub fn without_secrets(&self, text: &str) -> String {
        self.shared.scrubber.without(text)
    }

    /// Notes a fact of the session, such as what was refused. One that cannot be kept fails the recording.
    ///
    /// What is returned waits for the disk, and may be waited for elsewhere.
    pub fn note(&self, text: String) -> impl Future<Output = ()> + Send + 'static {
        let queue = self.shared.queue(0);
        async move {
            if let Ok(queue) = queue {
                // Its failure is the session's, see `failed`.
                let _ = queue.append(Entry::Marker(text)).await;
            }
        }
    }

    /// Ready once a channel has failed: the session must end, also if nothing moves in it.
    pub fn failed(&self) -> impl Future<Output = RecorderError> + Send + 'static {
        let mut failure = self.shared.failure.subscribe();
        async move {
            match failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) {
                Some(failure) => failure,
                None => std::future::pending().await, // the recording is over
            }
        }
    }

    /// Gives up a recording of which the log has no start, and of which nobody has seen a byte: it stays as a crash
    /// would leave it, and the next start puts it on record as interrupted. Closing it would put an end into the log
    /// that nothing began.
    pub fn abandon(self) {
        self.shared.abandon();
    }

    /// Ends all channels and closes the recording; durable on return.
    ///
    /// # Errors
    /// Why it could not be closed. What was recorded is there; the next start closes it as interrupted.
    pub async fn finish(self, end: &str) -> Result<(), RecorderError> {
        let mut closing = self.shared.end(end);
        for queue in self.shared.open_queues() {
            // Its failure stands in `closed.json`, and whoever appended to it knows.
            let _ = queue.finished().await;
        }
        match timeout(self.shared.stall_limit, &mut closing).await {
            Ok(closed) => closed.unwrap_or(Err(RecorderError::Panicked)),
            Err(_) => Err(RecorderError::Stalled { limit: self.shared.stall_limit }),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // After `finish` this does nothing.
        drop(self.shared.end("the session's task ended without closing its recording"));
    }
}

/// The record of one channel.
pub struct Track {
    queue: Arc<Queue>,
}

impl Track {
    /// Records what happens now. Waits while 4 MiB are queued; nothing is dropped.
    ///
    /// # Errors
    /// Why it cannot be recorded, now or from some earlier entry on.
    pub async fn append(&self, entry: Entry) -> Result<Receipt, RecorderError> {
        let number = self.queue.append(entry).await?;
        Ok(Receipt { queue: Arc::clone(&self.queue), number })
    }

    /// Whether what is not recorded, as the policy has it, may go on now: not once nothing is recorded any more.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), RecorderError> {
        self.queue.check()
    }

    /// Ends the record of the channel; all of it is on disk on return. A second call waits as the first.
    ///
    /// # Errors
    /// Why not all of it could be recorded.
    pub async fn finish(&self) -> Result<(), RecorderError> {
        self.queue.request_finish();
        self.queue.finished().await
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.queue.request_finish();
    }
}

/// Says when what was appended may be acted on.
#[must_use = "what was appended may not be on disk yet"]
pub struct Receipt {
    queue: Arc<Queue>,
    number: u64,
}

impl Receipt {
    /// Waits until the entry may be shown: in strict durability, until it is on disk.
    ///
    /// # Errors
    /// Why it may not be shown, ever.
    pub async fn durable(self) -> Result<(), RecorderError> {
        self.queue.durable(self.number).await
    }
}

fn opening(permit: &Permit, facts: &SessionFacts, auditors: &Recipients) -> Opening {
    Opening {
        format: Opening::FORMAT,
        session: facts.id.clone(),
        user: permit.user().clone(),
        destination: permit.destination().clone(),
        target_address: facts.target_address.clone(),
        rule: permit.rule().clone(),
        policy: permit.policy_hash().to_string(),
        grant: permit.grant().map(|grant| grant.id.clone()),
        reason: permit.grant().map(|grant| grant.reason.clone()),
        source: facts.source.clone(),
        key_fingerprint: facts.key_fingerprint.clone(),
        started: facts.started,
        auditors: auditors.iter().cloned().collect(),
        // It comes with the session's secret, where that is made.
        opener_key: None,
    }
}

/// The header of channel 0.
fn session_header(permit: &Permit, facts: &SessionFacts) -> Header {
    Header {
        cols: 80,
        rows: 24,
        term: None,
        timestamp: facts.started.as_millis().div_euclid(1000),
        title: Some(format!("{} as {}", permit.user(), permit.destination())),
        command: None,
        env: BTreeMap::new(),
        doorward: Facts {
            session: facts.id.clone(),
            user: permit.user().clone(),
            account: permit.destination().account.clone(),
            target: permit.destination().target.clone(),
            grant: permit.grant().map(|grant| grant.id.clone()),
            reason: permit.grant().map(|grant| grant.reason.clone()),
            policy: permit.policy_hash().to_string(),
            rule: permit.rule().clone(),
            source: facts.source.clone(),
            channel: ChannelNumber(0),
            class: None,
            pty: false,
            forward: None,
            command_base64: None,
            modes: Vec::new(),
            withheld: None,
            scrubbed: 0,
            seg: 0,
            t0: 0,
        },
    }
}

fn channel_header(permit: &Permit, session: &SessionFacts, facts: ChannelFacts, opened: Duration) -> Header {
    let mut header = session_header(permit, session);
    header.doorward.channel = facts.number;
    header.doorward.class = Some(facts.class);
    header.doorward.forward = facts.forward;
    header.doorward.t0 = u64::try_from(opened.as_millis()).unwrap_or(u64::MAX);
    if let Some((width, height)) = facts.pixels {
        (header.cols, header.rows) = (width, height);
        // A desktop echoes nothing, so what would be recorded as echoed is not there.
        header.doorward.withheld = match permit.recording().input {
            InputMode::Off | InputMode::Echoed => Some(Withheld::Off),
            InputMode::Full => None,
        };
    }
    if let Some(terminal) = facts.terminal {
        header.doorward.pty = true;
        // A size of 0 means that the client does not know it.
        header.cols = if terminal.size.cols == 0 { header.cols } else { terminal.size.cols };
        header.rows = if terminal.size.rows == 0 { header.rows } else { terminal.size.rows };
        header.term = Some(terminal.term);
        header.doorward.modes = terminal.modes;
        header.doorward.withheld = match permit.recording().input {
            InputMode::Off => Some(Withheld::Off),
            InputMode::Echoed => Some(Withheld::Echoed),
            InputMode::Full => None,
        };
    }
    header.env = facts.environment.into_iter().collect();
    if let Some(command) = facts.command {
        if std::str::from_utf8(&command).is_err() {
            header.doorward.command_base64 = Some(STANDARD.encode(&command));
        }
        header.command = Some(String::from_utf8_lossy(&command).into_owned());
    }
    header
}
