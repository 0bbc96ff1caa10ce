//! The audit log: what was decided and what was done, one JSON line each, on disk when `append` returns.
//!
//! Where an operation allows something, its event is written before it takes effect; where it takes something
//! away, it takes effect first. Turning the program's own log down loses nothing here.
//!
//! An attacker who can write in `log/` can rewrite it; noticing that will be the business of the transparency log.

mod event;
mod reader;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;

use crate::clock::Clock;
use crate::durable;
use crate::model::Timestamp;
pub use event::AuditEvent;
pub use reader::{AuditReader, AuditRecord};
use reader::{Lines, Tail};

const FILE: &str = "audit.jsonl";

/// The open audit log. One process writes it: the one that holds the state directory.
#[derive(Debug)]
pub struct Audit {
    clock: Clock,
    path: PathBuf,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    next: u64,
    /// INVARIANT: set by the first write that failed, never cleared: the file may end in half a line.
    failed: bool,
}

/// One line as it is written; `reader::AuditRecord` is the same, read.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: Timestamp,
    #[serde(flatten)]
    event: &'a AuditEvent,
}

impl Audit {
    /// Opens the log in directory `dir` (`Home::log`), and makes it if there is none.
    ///
    /// A last line that a crash cut off stays where it is, and a `log.torn` event after it tells its size.
    ///
    /// # Errors
    /// `Damaged` if any other line is not what was written.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, AuditError> {
        let path = dir.join(FILE);
        let failed = |source| AuditError::Io { what: "open", path: path.clone(), source };
        durable::create_directories(dir).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
        durable::sync_parent(&path).map_err(failed)?;
        let Tail { next, torn } = Lines::open(&path)?.tail()?;
        let audit = Self { clock, path, log: Mutex::new(Log { file, next, failed: false }) };
        if let Some(bytes) = torn {
            audit.write(b"\n", &AuditEvent::LogTorn { bytes })?;
        }
        Ok(audit)
    }

    /// Writes one event and returns its number. It is on disk when this returns `Ok`. Blocks on the disk.
    ///
    /// # Errors
    /// `Io` when the write fails, and `Failed` for ever after: whoever needs an event on record must refuse.
    pub fn append(&self, event: &AuditEvent) -> Result<u64, AuditError> {
        self.write(b"", event)
    }

    /// Reads the log in directory `dir` from its start; another process may be writing it.
    ///
    /// # Errors
    /// `Io` if it cannot be opened.
    pub fn read(dir: &Path) -> Result<AuditReader, AuditError> {
        Ok(AuditReader::new(Lines::open(&dir.join(FILE))?))
    }

    fn write(&self, before: &[u8], event: &AuditEvent) -> Result<u64, AuditError> {
        let Ok(mut log) = self.log.lock() else { return Err(AuditError::Failed { path: self.path.clone() }) };
        if log.failed {
            return Err(AuditError::Failed { path: self.path.clone() });
        }
        let seq = log.next;
        let mut bytes = before.to_vec();
        let written = serde_json::to_writer(&mut bytes, &Line { seq, at: self.clock.now(), event })
            .map_err(io::Error::from)
            .and_then(|()| {
                bytes.push(b'\n');
                log.file.write_all(&bytes)?;
                log.file.sync_data()
            });
        match written {
            Ok(()) => {
                log.next = seq.saturating_add(1);
                Ok(seq)
            }
            Err(source) => {
                log.failed = true;
                Err(AuditError::Io { what: "write", path: self.path.clone(), source })
            }
        }
    }
}

/// Why the audit log does not do what it should.
#[derive(Debug)]
pub enum AuditError {
    /// A line is not what was written.
    Damaged {
        /// The log's file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// An earlier write failed.
    Failed {
        /// The log's file.
        path: PathBuf,
    },
    /// The task that writes has panicked.
    Panicked(String),
    /// The file system failed.
    Io {
        /// `open`, `read` or `write`.
        what: &'static str,
        /// The log's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl AuditError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Damaged { .. } => {
                "find out who or what changed it; move the file away as evidence, and a new log begins"
            }
            Self::Panicked(_) => "report this with the log: it is a fault of doorward",
            Self::Failed { .. } | Self::Io { .. } => "look for disk errors and space, then restart",
        })
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { path, line, why } => {
                write!(f, "the audit log is damaged: {}:{line}: {why}", path.display())
            }
            Self::Failed { path } => {
                write!(f, "the audit log {} takes no more events, for an earlier write failed", path.display())
            }
            Self::Panicked(why) => write!(f, "the audit log is not written: {why}"),
            Self::Io { what, path, .. } => write!(f, "cannot {what} the audit log {}", path.display()),
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Damaged { .. } | Self::Failed { .. } | Self::Panicked(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
