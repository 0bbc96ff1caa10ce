//! Why the audit log does not do what it should.

use std::fmt;
use std::path::PathBuf;

use crate::db::DbError;
use crate::log::LogError;

/// Why the audit log does not do what it should.
#[derive(Debug)]
pub enum AuditError {
    /// The state database does not know of this log.
    NoFloor {
        /// The log's directory.
        path: PathBuf,
    },
    /// The log does not go on from what was published.
    PutBack(LogError),
    /// A leaf is not what this program writes.
    Damaged {
        /// Its number, from 0.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
    /// An event cannot be written as JSON.
    Form,
    /// The log refused or failed.
    Log(LogError),
    /// The state database failed, which keeps the keys of what the log says of people.
    Db(DbError),
    /// The command index cannot be read or written.
    Index {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The task that writes has panicked.
    Panicked(String),
}

impl AuditError {
    /// What opening the log ran into.
    pub(super) fn of_open(error: LogError) -> Self {
        match error {
            LogError::RolledBack { .. } | LogError::Rewritten { .. } | LogError::OtherLog { .. } => {
                Self::PutBack(error)
            }
            error @ (LogError::Leaf { .. }
            | LogError::TooLong { .. }
            | LogError::Failed { .. }
            | LogError::Stopped
            | LogError::Behind { .. }
            | LogError::Read { .. }
            | LogError::Write { .. }
            | LogError::Damaged { .. }
            | LogError::Forged { .. }
            | LogError::Note { .. }
            | LogError::Signature { .. }
            | LogError::Checkpoint { .. }
            | LogError::NoSuchEntry { .. }) => Self::Log(error),
        }
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoFloor { .. } | Self::PutBack(_) => Some(
                "keep `log/` and `state/` as evidence, find out who put one of them back, and restore both from the \
                 same backup, the newest",
            ),
            Self::Damaged { .. } => {
                Some("find out who or what changed it; keep the log as evidence, and restore the newest copy")
            }
            Self::Panicked(_) | Self::Form => Some("report this with the log: it is a fault of doorward"),
            Self::Index { .. } => Some("it is made anew from the log if it is removed; try again"),
            Self::Log(error) => error.hint(),
            Self::Db(error) => error.hint(),
        }
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFloor { path } => write!(
                f,
                "the state database knows nothing of the audit log in {}: the database or the log was put back or \
                 exchanged",
                path.display()
            ),
            Self::PutBack(_) => f.write_str(
                "the audit log does not go on from the checkpoint that was published last: the log was put back, \
                 removed or rewritten",
            ),
            Self::Damaged { seq, why } => write!(f, "the audit log is damaged: leaf {seq}: {why}"),
            Self::Form => f.write_str("an event cannot be written as JSON"),
            Self::Log(error) => error.fmt(f),
            Self::Db(_) => f.write_str("the audit log cannot use the state database"),
            Self::Index { path, .. } => write!(f, "cannot use the command index `{}`", path.display()),
            Self::Panicked(why) => write!(f, "the audit log is not written: {why}"),
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PutBack(error) => Some(error),
            // It shows as itself, so that its cause is ours.
            Self::Log(error) => error.source(),
            Self::Db(error) => Some(error),
            Self::Index { source, .. } => Some(source),
            Self::NoFloor { .. } | Self::Damaged { .. } | Self::Form | Self::Panicked(_) => None,
        }
    }
}
