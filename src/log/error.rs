//! Why the log does not do what it should.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::tlog::{MalformedCheckpoint, MalformedNote, NoteError};

/// Why the log does not do what it should.
#[derive(Debug)]
pub enum LogError {
    /// A leaf has a field that the log itself fills, or has no type.
    Leaf {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A leaf is longer than an entry can be.
    TooLong {
        /// How long, in bytes.
        bytes: usize,
    },
    /// The journal could not be written, and what waited for it is not on record. It may go better the next time.
    Failed {
        /// What failed.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The log is closed, or the thread that writes is gone.
    Stopped,
    /// So much is not published yet that no more is taken.
    Behind {
        /// How many leaves wait.
        leaves: usize,
    },
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written. It may go better the next time.
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what was written.
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The journal has what was not written with the log's key; nothing of it was signed.
    Forged {
        /// The journal.
        path: PathBuf,
        /// Where it begins, in bytes.
        offset: usize,
        /// What it is.
        why: String,
    },
    /// A checkpoint is no signed note.
    Note {
        /// Which.
        path: PathBuf,
        /// Why.
        source: MalformedNote,
    },
    /// A checkpoint is not signed with the log's key.
    Signature {
        /// Which.
        path: PathBuf,
        /// Why.
        source: NoteError,
    },
    /// A signed text is no checkpoint.
    Checkpoint {
        /// Which.
        path: PathBuf,
        /// Why.
        source: MalformedCheckpoint,
    },
    /// A checkpoint is another log's, or the key is.
    OtherLog {
        /// Which checkpoint.
        path: PathBuf,
    },
    /// There are fewer leaves than a checkpoint says.
    RolledBack {
        /// How many there are.
        leaves: u64,
        /// How many there were.
        published: u64,
        /// Where it says so.
        said_by: &'static str,
    },
    /// The leaves are not those that a checkpoint covers.
    Rewritten {
        /// The checkpoint's size.
        size: u64,
        /// Where it is.
        said_by: &'static str,
    },
    /// What is asked for is not in the log.
    NoSuchEntry {
        /// Its number.
        index: u64,
    },
}

impl LogError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Failed { .. } | Self::Write { .. } | Self::Behind { .. } => {
                Some("look for disk errors and space; the log goes on by itself once it can be written")
            }
            Self::Stopped => Some("look for disk errors and space, then restart"),
            Self::RolledBack { .. } | Self::Rewritten { .. } => Some(
                "the log was put back or changed since it was signed: keep it as evidence, and restore the newest copy",
            ),
            Self::Damaged { .. } | Self::Note { .. } | Self::Signature { .. } | Self::Checkpoint { .. } => {
                Some("find out who or what changed it; keep the log as evidence, and restore the newest copy")
            }
            Self::Forged { .. } => Some(
                "somebody without the log's key wrote in it: keep a copy of the state directory as evidence and find \
                 out who can write there; then cut the journal off at that byte (`truncate -s BYTE FILE`), or, if \
                 that is 0, restore the newest copy of the log",
            ),
            Self::NoSuchEntry { .. } => Some(
                "`doorward audit list` shows the numbers; an event can be proven about a second after it was written",
            ),
            Self::OtherLog { .. } => Some("use the key and the origin that the log began with"),
            Self::Leaf { .. } | Self::TooLong { .. } | Self::Read { .. } => None,
        }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf { why } => write!(f, "this cannot be a leaf of the log: {why}"),
            Self::TooLong { bytes } => write!(f, "a leaf of {bytes} bytes is too long for the log"),
            Self::Failed { path, .. } => {
                write!(f, "it is not on record, for `{}` could not be written", path.display())
            }
            Self::Stopped => f.write_str("the log is closed and takes nothing more"),
            Self::Behind { leaves } => write!(f, "the log takes nothing more before {leaves} leaves are published"),
            Self::Read { path, .. } => write!(f, "cannot read `{}`", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write `{}`", path.display()),
            Self::Damaged { path, why } => write!(f, "`{}` is damaged: {why}", path.display()),
            Self::Forged { path, offset, why } => {
                write!(f, "`{}` is forged from byte {offset} on: {why}", path.display())
            }
            Self::Note { path, .. } => write!(f, "`{}` is no signed note", path.display()),
            Self::Signature { path, .. } => write!(f, "`{}` is not signed with the log's key", path.display()),
            Self::Checkpoint { path, .. } => write!(f, "`{}` is no checkpoint", path.display()),
            Self::OtherLog { path } => write!(f, "`{}` is another log's", path.display()),
            Self::RolledBack { leaves, published, said_by } => {
                write!(f, "the log has {leaves} leaves, and had {published}: {said_by} says so")
            }
            Self::Rewritten { size, said_by } => {
                write!(f, "the first {size} leaves are not those that {said_by} covers")
            }
            Self::NoSuchEntry { index } => write!(f, "the log has no event {index}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source.as_ref()),
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Note { source, .. } => Some(source),
            Self::Signature { source, .. } => Some(source),
            Self::Checkpoint { source, .. } => Some(source),
            Self::Leaf { .. }
            | Self::TooLong { .. }
            | Self::Stopped
            | Self::Behind { .. }
            | Self::Damaged { .. }
            | Self::Forged { .. }
            | Self::OtherLog { .. }
            | Self::RolledBack { .. }
            | Self::Rewritten { .. }
            | Self::NoSuchEntry { .. } => None,
        }
    }
}
