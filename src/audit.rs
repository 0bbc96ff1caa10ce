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
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    /// Device and inode, so that no other file is taken for it.
    identity: (u64, u64),
    next: u64,
    /// INVARIANT: so many bytes are whole lines on disk.
    length: u64,
    /// A write failed: the file may hold more than `length`, half a line perhaps, and takes nothing before
    /// `mend` has worked.
    failed: bool,
}

impl Log {
    /// Takes back what a failed write left, so that the log can go on: on a full disk it must be usable once
    /// there is space, or any stranger could end all sessions.
    ///
    /// A file whose sync failed is opened anew: the system tells a lost write only once, and a second sync of
    /// the same descriptor would pass over it.
    fn mend(&mut self, path: &Path) -> Result<(), AuditError> {
        let failed = |source| AuditError::Io { what: "mend", path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if (found.dev(), found.ino()) != self.identity || found.len() < self.length {
            return Err(AuditError::Failed { path: path.to_owned() });
        }
        file.set_len(self.length).and_then(|()| file.sync_data()).map_err(failed)?;
        reader::check_last(path, self.length, self.next)?;
        self.file = file;
        self.failed = false;
        Ok(())
    }
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
        let found = file.metadata().map_err(failed)?;
        let (identity, length) = ((found.dev(), found.ino()), found.len());
        let audit = Self { clock, path, log: Mutex::new(Log { file, identity, next, length, failed: false }) };
        if let Some(bytes) = torn {
            audit.write(b"\n", &AuditEvent::LogTorn { bytes })?;
        }
        Ok(audit)
    }

    /// Writes one event and returns its number. It is on disk when this returns `Ok`. Blocks on the disk.
    ///
    /// # Errors
    /// `Io` when the write fails; the event is then not on record, and whoever needs it there must refuse. Later
    /// events are taken once the file is again what it was before; until then `Failed`.
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
            log.mend(&self.path).map_err(|_| AuditError::Failed { path: self.path.clone() })?;
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
                log.length = log.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                Ok(seq)
            }
            Err(source) => {
                log.failed = true;
                // At once, so that no half line stays; what fails now is tried again before the next event.
                let _ = log.mend(&self.path);
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
    /// An earlier write failed, and the file cannot be brought back to what it was before.
    Failed {
        /// The log's file.
        path: PathBuf,
    },
    /// The task that writes has panicked.
    Panicked(String),
    /// The file system failed.
    Io {
        /// `open`, `read`, `write` or `mend`.
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
            Self::Failed { .. } | Self::Io { .. } => {
                "look for disk errors and space; the log goes on by itself once it can be written"
            }
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
