//! Reads the audit log, and tells a line that a crash cut off from one that somebody changed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{AuditError, AuditEvent};
use crate::model::Timestamp;

/// No event is near it: texts are bounded when they are written.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// One event on record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// What every line has, whichever version wrote it.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    /// Of a `log.torn`.
    bytes: Option<u64>,
}

/// The lines of the log in order, checked.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: u64,
    next: u64,
    /// The line read last has its line end.
    whole: bool,
    /// Bytes of lines that were cut off, to be accounted for by the `log.torn` that must follow.
    torn: Option<u64>,
    /// The first of these that does not look cut off, unless a `log.torn` accounts for it.
    suspect: Option<AuditError>,
}

/// How the log ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The number of the next event.
    pub(super) next: u64,
    /// A crash left so many bytes of a line, or (0) all of it but its line end; a new line must begin.
    pub(super) torn: Option<u64>,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(|source| AuditError::Io { what: "open", path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            line: 0,
            next: 1,
            whole: true,
            torn: None,
            suspect: None,
        })
    }

    /// Checks the whole log and tells how it ends.
    pub(super) fn tail(mut self) -> Result<Tail, AuditError> {
        while self.good_line()?.is_some() {}
        if let Some(damage) = self.suspect {
            return Err(damage);
        }
        Ok(Tail { next: self.next, torn: self.torn.or((!self.whole).then_some(0)) })
    }

    /// The next line that holds an event.
    fn good_line(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        while let Some(line) = self.raw_line()? {
            match serde_json::from_slice::<Head>(&line) {
                Ok(head) => {
                    self.check(&head)?;
                    self.next = head.seq.saturating_add(1);
                    return Ok(Some(line));
                }
                Err(error) => {
                    let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
                    self.torn = Some(self.torn.unwrap_or(0).saturating_add(bytes));
                    // A crash leaves the beginning of a line, a power cut perhaps zeros; that line has an end only
                    // if the start that found it crashed in turn. Without an end, anything may stand there.
                    let torn = !self.whole || error.is_eof() || line.iter().all(|byte| *byte == 0);
                    if !torn && self.suspect.is_none() {
                        self.suspect = Some(self.damaged(&error.to_string()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The next line without its line end; only the last may lack it.
    fn raw_line(&mut self) -> Result<Option<Vec<u8>>, AuditError> {
        let failed = |source| AuditError::Io { what: "read", path: self.path.clone(), source };
        let mut line = Vec::new();
        let read = (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.whole = line.pop_if(|last| *last == b'\n').is_some();
        if !self.whole && !self.file.fill_buf().map_err(failed)?.is_empty() {
            return Err(self.damaged("it is too long"));
        }
        Ok(Some(line))
    }

    fn check(&mut self, head: &Head) -> Result<(), AuditError> {
        if let Some(torn) = self.torn.take()
            && (head.kind != "log.torn" || head.bytes != Some(torn))
        {
            let unaccounted = self.damaged("the line before it is cut off, and this one does not account for it");
            return Err(self.suspect.take().unwrap_or(unaccounted));
        }
        self.suspect = None;
        if head.seq != self.next {
            return Err(self.damaged(&format!("it has number {}, and {} is due", head.seq, self.next)));
        }
        Ok(())
    }

    fn damaged(&self, why: &str) -> AuditError {
        AuditError::Damaged { path: self.path.clone(), line: self.line, why: why.to_owned() }
    }
}

/// Checks that the log of `length` bytes ends in the whole line before number `next`.
///
/// The lines before it were checked when the log was opened.
pub(super) fn check_last(path: &Path, length: u64, next: u64) -> Result<(), AuditError> {
    let failed = |source| AuditError::Io { what: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_BYTES_MAX))).map_err(failed)?;
    let mut end = Vec::new();
    file.take(LINE_BYTES_MAX).read_to_end(&mut end).map_err(failed)?;
    let last = end.strip_suffix(b"\n").and_then(|lines| lines.rsplit(|byte| *byte == b'\n').next());
    let number = last.and_then(|line| serde_json::from_slice::<Head>(line).ok()).map_or(0, |head| head.seq);
    let whole = last.is_some() || length == 0;
    if whole && number.saturating_add(1) == next {
        return Ok(());
    }
    let why = "its last line is not the one that was written last".to_owned();
    Err(AuditError::Damaged { path: path.to_owned(), line: next.saturating_sub(1), why })
}

/// The events on record, oldest first; ends after the first error.
#[derive(Debug)]
pub struct AuditReader {
    lines: Lines,
    over: bool,
}

impl AuditReader {
    pub(super) fn new(lines: Lines) -> Self {
        Self { lines, over: false }
    }

    fn record(&mut self) -> Result<Option<AuditRecord>, AuditError> {
        let Some(line) = self.lines.good_line()? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|error| self.lines.damaged(&error.to_string()))
    }
}

impl Iterator for AuditReader {
    type Item = Result<AuditRecord, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let record = self.record().transpose();
        self.over = !matches!(record, Some(Ok(_)));
        record
    }
}
