//! The command index: every command of the log, to be found without reading the whole log.
//!
//! A file of blocks, each a line of JSON with commands of one session: the session's id and the times in clear, as in the
//! log; the rest sealed under the session's key of the log, so that what is erased there can be read here no more.
//!
//! It is derived, and never trusted: the state database has its length, its digest, how many leaves it covers and the root
//! of the log at that size. If one of them does not fit, the index is made anew from the log.
//!
//! An attacker who can write here can have it made anew, which costs time, but cannot change or hide a command.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::body::{Body, SealedBody, Subject};
use super::{Audit, AuditError, AuditEvent, AuditRecord, CommandJudged};
use crate::db::{Rev, Table};
use crate::durable;
use crate::model::{Destination, RequestId, RuleId, SessionId, Timestamp, UserName};
use crate::store::hex;

/// Commands in one block, at most.
const BLOCK_ROWS_MAX: usize = 256;
/// No block is longer.
const BLOCK_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Of the log so many leaves are read for one call, at most, so that it comes in time.
const LEAVES_MAX: u64 = 20_000;
/// So many leaves are worth taking in before anybody asks: in fewer steps blocks are larger.
const FAR_BEHIND: u64 = 10_000;
/// So many blocks are looked at for one page, at most.
const PAGE_BLOCKS_MAX: usize = 4096;
/// A page is full with so many commands; its last block makes it a little longer.
const PAGE_ROWS_MAX: usize = 500;
/// The type to which the blocks are bound.
const KIND: &str = "index.commands";
const KEY: &str = "commands";

/// The events that tell of a command, and what became of it.
const DONE: [(&str, &str); 3] =
    [("command.allowed", "allowed"), ("command.observed", "observed"), ("command.refused", "refused")];

/// One command of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRow {
    /// The leaf of the log that has it.
    pub seq: u64,
    /// When it was judged.
    pub at: Timestamp,
    /// `allowed`, `refused` or `observed`.
    pub done: String,
    /// Its session.
    pub session: SessionId,
    /// The channel in the session's recording; none where none was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
    /// The second of the session's recording at which it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<u64>,
    /// Who.
    pub user: UserName,
    /// Where.
    pub destination: Destination,
    /// The line, as far as the log has it.
    pub line: String,
    /// The programs that it would start, as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// What the target was sent, where that is not the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// `exact`, `screen` or `keys`: how a line of a shell was read. None of one that was asked for by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// `observe`, `guard` or `strict`.
    pub mode: String,
    /// What the rules said.
    pub verdict: String,
    /// The rule that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The decision.
    pub decision: RequestId,
    /// Whether somebody had said yes to it.
    #[serde(default)]
    pub approved: bool,
}

impl CommandRow {
    fn of(record: &AuditRecord) -> Option<Self> {
        let done = DONE.iter().find_map(|(kind, done)| (*kind == record.kind).then_some(*done))?;
        let (AuditEvent::CommandAllowed(judged)
        | AuditEvent::CommandRefused(judged)
        | AuditEvent::CommandObserved(judged)) = record.event()?
        else {
            return None;
        };
        let CommandJudged {
            decision,
            session,
            channel,
            user,
            destination,
            mode,
            verdict,
            rule,
            line,
            sent,
            starts,
            approved_by,
            second,
            confidence,
            ..
        } = *judged;
        let programs = starts.iter().filter_map(|start| start.words.split(' ').next()).map(str::to_owned).collect();
        Some(Self {
            seq: record.seq,
            at: record.at,
            done: done.to_owned(),
            session,
            channel,
            second,
            user,
            destination,
            line,
            programs,
            sent,
            confidence,
            mode,
            verdict,
            rule,
            decision,
            approved: !approved_by.is_empty(),
        })
    }
}

/// Which commands are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandFilter {
    /// Only those since.
    pub since: Option<Timestamp>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only of this user.
    pub user: Option<UserName>,
    /// Only on this target.
    pub target: Option<crate::model::TargetName>,
    /// Only those that start this program: its name, or its path.
    pub program: Option<String>,
}

impl CommandFilter {
    /// Whether this command is meant.
    pub fn means(&self, row: &CommandRow) -> bool {
        let Self { since, session, user, target, program } = self;
        let named = |wanted: &String| {
            row.programs.iter().any(|program| program == wanted || program.rsplit('/').next() == Some(wanted))
        };
        since.is_none_or(|since| row.at >= since)
            && session.as_ref().is_none_or(|session| row.session == *session)
            && user.as_ref().is_none_or(|user| row.user == *user)
            && target.as_ref().is_none_or(|target| row.destination.target == *target)
            && program.as_ref().is_none_or(named)
    }

    /// Whether a block may have one that is meant, by what stands in clear.
    fn may_be_in(&self, block: &Block) -> bool {
        self.since.is_none_or(|since| block.last >= since)
            && self.session.as_ref().is_none_or(|session| block.session == *session)
    }
}

/// Some commands of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPage {
    /// Those that are meant. In the order of the log within a session, and not beyond.
    pub rows: Vec<CommandRow>,
    /// Where to go on.
    pub next: u64,
    /// Whether there was more to look at, or the index does not cover the log yet.
    pub more: bool,
}

/// The command index of one store.
#[derive(Debug)]
pub struct CommandIndex {
    path: PathBuf,
    /// INVARIANT: held while the file is read or written.
    known: Mutex<Option<Known>>,
}

/// What this process has seen to be true of the file.
struct Known {
    rev: Option<Rev>,
    covers: u64,
    bytes: u64,
    digest: Context,
    changed: Option<std::time::SystemTime>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} leaves in {} bytes", self.covers, self.bytes)
    }
}

/// What the state database has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    covers: u64,
    root: String,
    bytes: u64,
    digest: String,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    session: SessionId,
    last: Timestamp,
    subject: String,
    body: String,
    hash: String,
}

/// What is sealed in a block.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    rows: Vec<CommandRow>,
}

impl CommandIndex {
    /// The index of a store in this file, which need not be there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    /// A page of commands from `from` on, 0 at first; the index is brought up to the published log before, or nearer to it.
    ///
    /// # Errors
    /// `Index` if the file cannot be read or written; what the log and the database say.
    pub fn page(&self, audit: &Audit, filter: &CommandFilter, from: u64) -> Result<CommandPage, AuditError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (end, behind) = self.step(audit, &mut known)?;
        if behind {
            // Nothing is read of an index that is not whole: what is missing could be what is asked for.
            return Ok(CommandPage { rows: Vec::new(), next: from, more: true });
        }
        let page = self.read(audit, filter, from, end);
        if page.is_err() {
            // It is looked at anew, and made anew if it is not as it was written.
            *known = None;
        }
        page
    }

    /// Brings the index nearer to the published log where it is far behind, so that whoever asks does not wait for all of it;
    /// says whether it is still far behind.
    ///
    /// # Errors
    /// As `page`.
    pub fn follow(&self, audit: &Audit) -> Result<bool, AuditError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let covers = known.as_ref().map_or(0, |known| known.covers);
        if audit.size().saturating_sub(covers) < FAR_BEHIND {
            return Ok(false);
        }
        self.step(audit, &mut known)?;
        Ok(known.as_ref().is_some_and(|known| audit.size().saturating_sub(known.covers) >= FAR_BEHIND))
    }

    /// Takes in a part of what is not covered yet: the file's bytes then, and whether there is more.
    fn step(&self, audit: &Audit, known: &mut Option<Known>) -> Result<(u64, bool), AuditError> {
        let table = audit.db.table("command-index");
        let begun = match known.take().filter(|known| self.is_unchanged(known)) {
            Some(known) => known,
            None => self.check(audit, &table)?,
        };
        let now = known.insert(begun);
        let behind = self.extend(audit, &table, now)?;
        Ok((now.bytes, behind))
    }

    fn failed(&self, source: std::io::Error) -> AuditError {
        AuditError::Index { path: self.path.clone(), source }
    }

    /// Whether the file is the one that was checked, as far as its length and its time tell.
    fn is_unchanged(&self, known: &Known) -> bool {
        let Ok(found) = self.path.metadata() else { return false };
        found.len() == known.bytes && found.modified().ok() == known.changed
    }

    /// Looks whether the file is what the database says, and its log this one; makes it empty if not.
    fn check(&self, audit: &Audit, table: &Table<Stored>) -> Result<Known, AuditError> {
        let stored = table.get(KEY).map_err(AuditError::Db)?;
        let rev = stored.as_ref().map(|(rev, _)| *rev);
        if let Some((_, stored)) = stored
            && let Some(digest) = self.digest(stored.bytes)?
            && hex(digest.clone().finish().as_ref()) == stored.digest
            && stored.covers <= audit.size()
            && root_at(audit, stored.covers)? == stored.root
        {
            // What a crash left behind that is in no database yet.
            let file = File::options().write(true).open(&self.path).map_err(|source| self.failed(source))?;
            file.set_len(stored.bytes).map_err(|source| self.failed(source))?;
            let Stored { covers, bytes, .. } = stored;
            return Ok(Known { rev, covers, bytes, digest, changed: self.changed() });
        }
        if let Some(folder) = self.path.parent() {
            durable::create_directories(folder).map_err(|source| self.failed(source))?;
        }
        durable::replace(&self.path, b"", 0o600).map_err(|source| self.failed(source))?;
        Ok(Known { rev, covers: 0, bytes: 0, digest: Context::new(&SHA256), changed: self.changed() })
    }

    fn changed(&self) -> Option<std::time::SystemTime> {
        self.path.metadata().and_then(|found| found.modified()).ok()
    }

    /// The digest of the file's first bytes; `None` if it has fewer.
    fn digest(&self, bytes: u64) -> Result<Option<Context>, AuditError> {
        let Ok(file) = durable::open_own(&self.path, 0o600) else { return Ok(None) };
        let mut digest = Context::new(&SHA256);
        let (mut left, mut buffer) = (bytes, vec![0; 256 * 1024]);
        let mut reader = file.take(bytes);
        while left > 0 {
            let read = reader.read(&mut buffer).map_err(|source| self.failed(source))?;
            if read == 0 {
                return Ok(None);
            }
            digest.update(buffer.get(..read).unwrap_or_default());
            left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        }
        Ok(Some(digest))
    }

    /// Takes in leaves that are not covered yet; says whether some are left.
    fn extend(&self, audit: &Audit, table: &Table<Stored>, known: &mut Known) -> Result<bool, AuditError> {
        let size = audit.size();
        if known.covers >= size {
            return Ok(false);
        }
        let end = size.min(known.covers.saturating_add(LEAVES_MAX));
        let mut sessions: BTreeMap<SessionId, Vec<CommandRow>> = BTreeMap::new();
        for record in audit.commands(known.covers..end) {
            if let Some(row) = CommandRow::of(&record?) {
                sessions.entry(row.session.clone()).or_default().push(row);
            }
        }
        let mut text = Vec::new();
        for (session, rows) in sessions {
            for rows in rows.chunks(BLOCK_ROWS_MAX) {
                let Some(block) = seal(audit, &session, rows)? else { continue };
                serde_json::to_writer(&mut text, &block).map_err(|_| AuditError::Form)?;
                text.push(b'\n');
            }
        }
        let writing = || {
            let mut file = File::options().write(true).open(&self.path)?;
            file.seek(SeekFrom::Start(known.bytes))?;
            file.write_all(&text)?;
            file.sync_data()
        };
        writing().map_err(|source| self.failed(source))?;
        known.digest.update(&text);
        known.bytes = known.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        known.covers = end;
        let stored = Stored {
            covers: end,
            root: root_at(audit, end)?,
            bytes: known.bytes,
            digest: hex(known.digest.clone().finish().as_ref()),
        };
        known.rev = Some(table.put(KEY, known.rev, &stored).map_err(AuditError::Db)?);
        known.changed = self.changed();
        Ok(end < size)
    }

    fn read(&self, audit: &Audit, filter: &CommandFilter, from: u64, end: u64) -> Result<CommandPage, AuditError> {
        let mut file = durable::open_own(&self.path, 0o600).map_err(|source| self.failed(source))?;
        file.seek(SeekFrom::Start(from.min(end))).map_err(|source| self.failed(source))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let (mut rows, mut next, mut line) = (Vec::new(), from.min(end), Vec::new());
        for _ in 0..PAGE_BLOCKS_MAX {
            if next >= end || rows.len() >= PAGE_ROWS_MAX {
                break;
            }
            line.clear();
            let read = reader.by_ref().take(BLOCK_BYTES_MAX).read_until(b'\n', &mut line);
            let read = read.map_err(|source| self.failed(source))?;
            let altered = || self.failed(std::io::ErrorKind::InvalidData.into());
            let block: Block = serde_json::from_slice(&line).map_err(|_| altered())?;
            next = next.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if !filter.may_be_in(&block) {
                continue;
            }
            let Block { subject, body, hash, .. } = block;
            match audit.subjects.unseal_as(KIND, &SealedBody { subject, body, hash }).map_err(AuditError::Db)? {
                Body::Open(Rows { rows: found }) => rows.extend(found.into_iter().filter(|row| filter.means(row))),
                Body::Erased | Body::Lost => {}
                Body::Altered => return Err(altered()),
            }
        }
        Ok(CommandPage { rows, next, more: next < end })
    }
}

/// A block of these commands; `None` if the session is forgotten.
fn seal(audit: &Audit, session: &SessionId, rows: &[CommandRow]) -> Result<Option<Block>, AuditError> {
    let subject = Subject::Session(session.clone());
    let value = serde_json::to_value(rows).map_err(|_| AuditError::Form)?;
    let fields: Map<String, Value> = Map::from_iter([(String::from("rows"), value)]);
    let sealed = audit.subjects.seal_if_known(KIND, &subject, fields).map_err(AuditError::Db)?;
    let last = rows.iter().map(|row| row.at).max().unwrap_or(Timestamp::from_millis(0));
    Ok(sealed.map(|SealedBody { subject, body, hash }| Block { session: session.clone(), last, subject, body, hash }))
}

/// The root of the log at an earlier size.
fn root_at(audit: &Audit, covers: u64) -> Result<String, AuditError> {
    audit.reader.root_within(covers, audit.size()).map(|root| root.to_string()).map_err(AuditError::Log)
}

#[cfg(test)]
mod tests;
