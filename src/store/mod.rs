//! Recordings on disk: sealed segments, closing, recovery, reading.
//!
//! ```text
//! rec/2026/11/21/<session>/          directories 0700, files 0600
//!     opened.json                    written once, before anything else: who, where to, by which right
//!     0/000000.seg                   channel 0: the session's own facts
//!     1/000000.seg 000001.seg ...    one stream per channel; append only, never truncated or rewritten
//!     closed.json                    written once, when the session has ended
//!     recovered.json                 written once, by the start after a crash that left it open
//! rec/.gone/<session>/               what is left of one that is being removed
//! env/<session>.age                  the session's secret, sealed for its auditors
//! env/rewrapped/<session>/           where it was sealed for others later
//!     <hash>.json                    how the envelope of that SHA-256 came to be: for whom, by whose proof
//!     <hash>.age                     an earlier envelope, until somebody has opened the present one
//!     next.json                      a change that is under way
//! policies/<hash>                    each policy set that was in force
//! ```
//!
//! What was recorded is in the segments, in the form of [`seal`](crate::seal), and nowhere else: names, sizes and
//! times can be read by who reads this directory, but no byte that was typed or shown.
//!
//! A record is on disk when the sync that covers it has returned; until then its bytes may be missing or torn. So
//! what is on disk is complete records and at most one torn record at the end of a channel's last segment.
//!
//! After a write or a sync that failed, that much is not known of the segment: the kernel may have dropped any part of
//! what was not synced yet. It is given up where it was last synced, and the next segment follows from there and holds
//! what was written since once more. Whoever reads goes from segment to segment by the head that the next one's header
//! names, and does not look at what stands behind it; which segments may be left like this is on record in the log.
//!
//! What holds whenever the machine stops, and whoever looks. The tests of each begin with its number:
//!
//! ```text
//! I1   what was acknowledged is found again, after `kill -9` and after a power cut
//! I2   what is found is a prefix of what was written
//! I3   no file is cut or written anew; a torn end stays, and `recovered.json` and the log say where it begins
//! I4   every segment that another one follows has an end record, or the log says where it was given up
//! I5   each segment names the head of the one before it
//! I6   that a session begins is in the log before anything goes through it
//! I7   of any two checkpoints that were published the smaller is a beginning of the larger, over all starts
//! I8   no nonce is used twice: a segment's file is new, and none is gone on with after a crash
//! I9   recovery needs no secret
//! I10  recovery done twice is recovery done once
//! I11  no plaintext is on the disk
//! I12  a key is wiped when what it seals has ended
//! ```
//!
//! An attacker who can write here can delete or change recordings, and can make new ones; the log tells. He gets
//! nothing run and nothing beyond this directory: ids, channel and segment numbers are parsed, never pasted into a
//! path.

mod catalog;
mod plain;
mod policies;
mod recovery;
mod removal;
mod rewrap;
mod segment;
#[cfg(test)]
pub(crate) mod tests;
mod uses;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::auditor::Recipient;
use crate::cast::{Direction, ReadError, Withheld};
use crate::durable;
use crate::model::{ChannelClass, ChannelNumber, Destination, Exit, GrantId, RuleId, SessionId, Timestamp, UserName};
use crate::seal::{Altered, EnvelopeError, OpenError, OpenerKey, SealError};

pub use catalog::chain as describe;
pub use catalog::{Catalog, ChannelSummary, End, Filter, Listed, StoredRecording, Summary};
pub use plain::{Events, PlainChannel, PlainRecording};
pub use recovery::{
    Recovered, RecoveredChannel, Recovery, RecoveryReport, SCANNED_BYTES_MAX, Seen, SeenByLog, SeenSeal, recover,
    tail_sha256,
};
pub use rewrap::{REWRAPS_MAX, Rewrap, RewrapError, Rewrapped, record_name};
pub use segment::{Buffers, ChannelWriter, Sealing};
pub use uses::LastUses;

/// The version of the layout, in every file that this module writes as JSON.
const FORMAT: u32 = 2;

/// The recordings of a state directory.
#[derive(Debug, Clone)]
pub struct StoreRoot {
    recordings: PathBuf,
    envelopes: PathBuf,
    policies: PathBuf,
}

impl StoreRoot {
    /// The store in a state directory; what it needs there need not exist yet.
    pub fn at(state_directory: &Path) -> Self {
        let [recordings, envelopes, policies] = ["rec", "env", "policies"].map(|part| state_directory.join(part));
        Self { recordings, envelopes, policies }
    }

    /// The directory of the recordings.
    pub fn directory(&self) -> &Path {
        &self.recordings
    }

    /// The directory of the envelopes.
    pub fn envelopes(&self) -> &Path {
        &self.envelopes
    }

    /// Where a session's envelope is.
    pub fn envelope(&self, session: &SessionId) -> PathBuf {
        self.envelopes.join(format!("{session}.age"))
    }

    /// Where a session's recording is: by the day, in UTC, on which its id was made.
    ///
    /// `None` if the id has the form of one and is none.
    pub fn session_directory(&self, session: &SessionId) -> Option<PathBuf> {
        let (year, month, day) = started(session)?.date();
        Some(self.recordings.join(format!("{year:04}/{month:02}/{day:02}")).join(session.as_str()))
    }

    /// Creates a session's directory. It is durable once `sync_session` has returned.
    ///
    /// # Errors
    /// `Create` if the file system refuses, `NotFound` if the id is none.
    pub fn create_session(&self, disk: &Arc<dyn Disk>, session: &SessionId) -> Result<PathBuf, StoreError> {
        let path = self.session_directory(session).ok_or_else(|| StoreError::NotFound { session: session.clone() })?;
        let failed = |source| StoreError::Create { path: path.clone(), source };
        if let Some(day) = path.parent() {
            disk.create_directories(day).map_err(failed)?;
        }
        disk.create_directory(&path).map_err(failed)?;
        Ok(path)
    }

    /// Makes the entry of a session's directory durable.
    ///
    /// # Errors
    /// `Create` if the file system fails.
    pub fn sync_session(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), StoreError> {
        let day = path.parent().unwrap_or(path);
        disk.sync_directory(day).map_err(|source| StoreError::Create { path: day.to_owned(), source })
    }
}

/// When a session's id was made.
fn started(session: &SessionId) -> Option<Timestamp> {
    session.made()
}

/// The content of `opened.json`: what is known of a session before its first byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The layout's version.
    pub format: u32,
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// Where the target was found.
    pub target_address: String,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The hash of the policy set of then.
    pub policy: String,
    /// The grant, where the rule requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The grant's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where the user came from.
    pub source: String,
    /// The key that proved who they are.
    pub key_fingerprint: String,
    /// When.
    pub started: Timestamp,
    /// For whom it is sealed.
    pub auditors: Vec<Recipient>,
    /// By which who can open its envelope shows that. None in recordings of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opener_key: Option<OpenerKey>,
}

impl Opening {
    /// The layout's present version.
    pub const FORMAT: u32 = FORMAT;

    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

/// What the log says of a session that begins: what its files hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpeningProof {
    /// SHA-256 of `opened.json`, in hex.
    pub opened: String,
    /// SHA-256 of the envelope, in hex.
    pub envelope: String,
    /// The digest of whom it is sealed for, which stands in each segment's header, in hex.
    pub recipients: String,
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What went over one direction of a channel. Without hashes: everybody may read `closed.json`, and short secrets can be
/// guessed from a hash. Those stand in the sealed recording.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many bytes went by.
    pub bytes: u64,
    /// How many of them stand in the recording, as they were or with a name in the place of a known secret.
    #[serde(default)]
    pub recorded: u64,
    /// Why the others do not, if there may be keystrokes among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// How many times a name stands in the recording in the place of a known secret.
    #[serde(default, skip_serializing_if = "is_none")]
    pub scrubbed: u64,
    /// How many of them went by while the channel was not recorded.
    #[serde(default, skip_serializing_if = "is_none")]
    pub missed: u64,
}

impl Counted {
    /// Counts bytes that stand in the recording.
    pub(crate) fn record(&mut self, bytes: u64) {
        self.recorded = self.recorded.saturating_add(bytes);
        self.at_least_these();
    }

    /// Counts bytes that do not, because of a gap.
    pub(crate) fn miss(&mut self, bytes: u64) {
        self.missed = self.missed.saturating_add(bytes);
        self.at_least_these();
    }

    fn at_least_these(&mut self) {
        // A digest may have counted some of them already.
        self.bytes = self.bytes.max(self.recorded.saturating_add(self.missed));
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// One channel in `closed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedChannel {
    /// Its number.
    pub number: ChannelNumber,
    /// What it was for; none for channel 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ChannelClass>,
    /// Whether it had a terminal.
    #[serde(default)]
    pub pty: bool,
    /// How many segments it has.
    pub segments: u32,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many records of data the last segment has.
    pub records: u64,
    /// The chain's last head, in hex.
    pub head: String,
    /// What the user sent.
    pub stdin: Counted,
    /// Standard output.
    pub stdout: Counted,
    /// Standard error.
    pub stderr: Counted,
    /// How many times a name stands in the place of a known secret in its command line, environment and markers.
    #[serde(default, skip_serializing_if = "is_none")]
    pub scrubbed: u64,
    /// How the program ended, where the target said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why the recording of this channel stopped, if it failed. What was shown until then is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Segments that the disk failed to keep. Nothing is missing: what was lost with them was recorded again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUp>,
    /// Times in which the channel was not recorded and its session went on, as a rule may say; not the last, if that
    /// lasted to the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A time in which a channel was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it began, in milliseconds since the session opened.
    pub from_ms: u64,
    /// How long it lasted, in milliseconds.
    pub lasted_ms: u64,
    /// Why there is one.
    pub why: String,
}

/// A segment that was given up after an I/O error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Its number.
    pub segment: u32,
    /// How many bytes of it, from the start, are a part of the recording; the next segment goes on from there.
    pub bytes: u64,
}

impl ClosedChannel {
    /// A channel that has just been opened, with one segment.
    pub(crate) fn new(number: ChannelNumber, class: Option<ChannelClass>, pty: bool) -> Self {
        Self {
            number,
            class,
            pty,
            segments: 1,
            bytes: 0,
            records: 0,
            head: String::new(),
            stdin: Counted::default(),
            stdout: Counted::default(),
            stderr: Counted::default(),
            scrubbed: 0,
            exit: None,
            failure: None,
            given_up: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// What was counted of one direction.
    pub(crate) fn counted(&mut self, direction: Direction) -> &mut Counted {
        match direction {
            Direction::Stdin => &mut self.stdin,
            Direction::Stdout => &mut self.stdout,
            Direction::Stderr => &mut self.stderr,
        }
    }
}

/// The content of `closed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The layout's version.
    pub format: u32,
    /// The session.
    pub session: SessionId,
    /// Why it ended.
    pub end: String,
    /// When it ended.
    pub ended: Timestamp,
    /// How long it lasted, in milliseconds of the monotonic clock.
    pub duration_ms: u64,
    /// Its channels, by number.
    pub channels: Vec<ClosedChannel>,
}

impl Closed {
    /// The record of an end, in the present format.
    pub fn new(
        session: SessionId,
        end: String,
        ended: Timestamp,
        duration_ms: u64,
        channels: Vec<ClosedChannel>,
    ) -> Self {
        Self { format: FORMAT, session, end, ended, duration_ms, channels }
    }

    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    /// Writes `closed.json` into a session's directory; durable on return.
    ///
    /// # Errors
    /// `Write`; the next start then closes the recording as interrupted.
    pub fn write(&self, disk: &Arc<dyn Disk>, directory: &Path) -> Result<(), StoreError> {
        let path = directory.join("closed.json");
        disk.create_whole(&path, &self.to_json()).map_err(|source| StoreError::Write { path, source })
    }
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Our own types, which have string keys only, always have a JSON form.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Why the store failed.
#[derive(Debug)]
pub enum StoreError {
    /// There is no such recording.
    NotFound {
        /// What was asked for.
        session: SessionId,
    },
    /// Its key and its names were destroyed.
    Erased {
        /// What was asked for.
        session: SessionId,
    },
    /// A file or directory could not be made.
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written or synced.
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A segment, or a line of it, is damaged.
    Segment {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The next record cannot be sealed.
    Seal {
        /// Of which segment.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// A segment is not what was sealed.
    Altered {
        /// Which.
        path: PathBuf,
        /// Where, and what is wrong.
        source: Altered,
    },
    /// A record does not open.
    Sealed {
        /// Of which segment.
        path: PathBuf,
        /// Which record, and why.
        source: OpenError,
    },
    /// The session's secret cannot be had.
    Envelope {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: EnvelopeError,
    },
    /// A file is not what this module writes.
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl StoreError {
    /// Whether it says nothing of the disk: another file would have done.
    pub fn is_about_one_path(&self) -> bool {
        match self {
            Self::Create { source, .. } | Self::Write { source, .. } | Self::Read { source, .. } => {
                matches!(source.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
            }
            Self::Seal { .. } => false,
            Self::NotFound { .. }
            | Self::Erased { .. }
            | Self::Segment { .. }
            | Self::Altered { .. }
            | Self::Sealed { .. }
            | Self::Envelope { .. }
            | Self::Damaged { .. } => true,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { session } => write!(f, "there is no recording `{session}`"),
            Self::Erased { session } => write!(f, "recording `{session}` was erased: nobody can read it"),
            Self::Create { path, .. } => write!(f, "cannot create `{}`", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write `{}`", path.display()),
            Self::Read { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::Segment { path, .. } => write!(f, "segment `{}` is damaged", path.display()),
            Self::Seal { path, .. } => write!(f, "cannot seal the next record of `{}`", path.display()),
            Self::Altered { path, .. } => write!(f, "segment `{}` is not what was recorded", path.display()),
            Self::Sealed { path, .. } => write!(f, "segment `{}` cannot be opened", path.display()),
            Self::Envelope { path, .. } => write!(f, "cannot open the envelope `{}`", path.display()),
            Self::Damaged { path, why } => write!(f, "`{}` is damaged: {why}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Create { source, .. } | Self::Write { source, .. } | Self::Read { source, .. } => Some(source),
            Self::Segment { source, .. } => Some(source),
            Self::Seal { source, .. } => Some(source),
            Self::Altered { source, .. } => Some(source),
            Self::Sealed { source, .. } => Some(source),
            Self::Envelope { source, .. } => Some(source),
            Self::NotFound { .. } | Self::Erased { .. } | Self::Damaged { .. } => None,
        }
    }
}

/// What the store asks of a file system, so that tests can make it fail.
///
/// Calls block. Different files may be used at once from different threads.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates `path` and its missing parents, mode 0700; durable on return. It may exist.
    ///
    /// # Errors
    /// What the file system says.
    fn create_directories(&self, path: &Path) -> io::Result<()>;

    /// Creates one directory, mode 0700, that must not exist. Durable once its parent is synced.
    ///
    /// # Errors
    /// What the file system says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Creates a file, mode 0600, that must not exist and can only be appended to. Durable once it and its
    /// directory are synced.
    ///
    /// # Errors
    /// What the file system says.
    fn create_segment(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Creates a file that is whole or not there, whenever the process or the power stops. Durable on return.
    ///
    /// # Errors
    /// What the file system says; `AlreadyExists` if the file is there.
    fn create_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// The space of the file system that `path` is on.
    ///
    /// # Errors
    /// What the file system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Writes, syncs and removes a small file in a directory.
    ///
    /// # Errors
    /// What the file system says.
    fn probe(&self, directory: &Path) -> io::Result<()>;
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What may still be written without privileges.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl Space {
    /// The space of the file system that this path is on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Self { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

/// A segment that is being written.
pub trait SegmentFile: fmt::Debug + Send {
    /// Appends from the start of `bytes` and returns how many it took, as `write(2)`.
    ///
    /// # Errors
    /// What the file system says; nothing was taken then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes all that was appended durable. After an error it must not be called again: Linux forgets the
    /// pages that it could not write and reports success the next time.
    ///
    /// # Errors
    /// What the file system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file systems of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        durable::create_directories(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn create_segment(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Only the process that holds the state directory's lock writes here, so nothing comes in between.
        if path.try_exists()? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        durable::replace(path, bytes, 0o600)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        Space::at(path)
    }

    fn probe(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(".probe");
        durable::replace(&path, &[b'\n'; 4096], 0o600)?;
        std::fs::remove_file(&path)
    }
}

impl SegmentFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
