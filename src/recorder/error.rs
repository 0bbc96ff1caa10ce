//! Why something could not be recorded.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;

/// Why something could not be recorded. What it was about has not been shown.
#[derive(Debug, Clone)]
pub enum RecorderError {
    /// The file system is full.
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The file system has less free space than new sessions need.
    LowSpace {
        /// Free bytes.
        free: u64,
        /// What `free_min` asks for.
        free_min: u64,
    },
    /// Nothing reached the disk for the whole of the limit.
    Stalled {
        /// `stall_limit`.
        limit: Duration,
    },
    /// The store failed otherwise.
    Store(Arc<StoreError>),
    /// The log does not take what must be on record.
    Log(Arc<dyn std::error::Error + Send + Sync>),
    /// Others have seen another history of the log than the one that is here.
    Contested {
        /// Who, and what they have seen.
        why: String,
    },
    /// The recording of the channel has ended.
    Finished,
    /// A task or thread that records panicked: a fault of ours.
    Panicked,
}

impl RecorderError {
    /// For who finds that a task that records has panicked.
    pub fn panicked() -> Self {
        Self::Panicked
    }

    /// What the operator can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } | Self::LowSpace { .. } => "free space on the disk of `rec/`, or move old recordings",
            Self::Stalled { .. } => "run `doorward doctor`: it measures the disk",
            Self::Store(_) => "see the system's log for errors of the disk",
            Self::Log(_) => "look for disk errors and space where `log/` is",
            Self::Contested { .. } => {
                "if this bastion was restored, the backup was not the newest: stop it and restore the newest, or begin a new \
                 log with `doorward state import --new-log`; if it was not, somebody put log and state back or rewrote them: \
                 keep both as evidence. To go on all the same: `doorward audit accept-history --reason WHY`"
            }
            Self::Finished | Self::Panicked => "report this with the log: it is a fault of doorward",
        }
    }
}

impl fmt::Display for RecorderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull { path } => write!(f, "the disk is full while recording to `{}`", path.display()),
            Self::LowSpace { free, free_min } => {
                write!(f, "the disk with the recordings has {free} bytes free, less than the {free_min} of `free_min`")
            }
            Self::Stalled { limit } => write!(f, "nothing reached the disk for {limit:?}"),
            Self::Store(_) => f.write_str("the recording cannot be kept"),
            Self::Log(_) => f.write_str("what is recorded cannot be put on record in the log"),
            Self::Contested { why } => write!(f, "the log's history is contested: {why}"),
            Self::Finished => f.write_str("the recording of the channel has ended"),
            Self::Panicked => f.write_str("a task that records has panicked"),
        }
    }
}

impl std::error::Error for RecorderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(&**error),
            Self::Log(error) => Some(&**error),
            Self::DiskFull { .. }
            | Self::LowSpace { .. }
            | Self::Stalled { .. }
            | Self::Contested { .. }
            | Self::Finished
            | Self::Panicked => None,
        }
    }
}

impl From<StoreError> for RecorderError {
    fn from(error: StoreError) -> Self {
        match full_path(&error) {
            Some(path) => Self::DiskFull { path: path.to_owned() },
            None => Self::Store(Arc::new(error)),
        }
    }
}

/// The file for which there was no space, if that is what failed.
pub(super) fn full_path(error: &StoreError) -> Option<&Path> {
    let (path, source) = match error {
        StoreError::Create { path, source } | StoreError::Write { path, source } => (path, source),
        StoreError::NotFound { .. }
        | StoreError::Erased { .. }
        | StoreError::Read { .. }
        | StoreError::Segment { .. }
        | StoreError::Seal { .. }
        | StoreError::Altered { .. }
        | StoreError::Sealed { .. }
        | StoreError::Envelope { .. }
        | StoreError::Damaged { .. } => return None,
    };
    let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    full.then_some(path)
}
