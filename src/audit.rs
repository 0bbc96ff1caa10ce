//! The audit log: what was decided and what was done, each a leaf of the transparency log, durable when `append`
//! returns.
//!
//! Where an operation allows something, its event is written before it takes effect; where it takes something
//! away, it takes effect first. Turning the program's own log down loses nothing here.
//!
//! A leaf has in clear what verifiers need; what tells of people is sealed in its body (`body`), and can be erased
//! without breaking a proof. The newest published checkpoint is also kept in the state database, so that a log that
//! is put back or exchanged alone is refused at the next start.
//!
//! An attacker who can write in `log/` can destroy it, and with the master key and the state database can sign another
//! history; he cannot do so unnoticed by one who keeps an older checkpoint elsewhere.

mod assurance;
mod body;
mod command;
mod contested;
mod control;
mod desktop;
mod error;
mod event;
mod facts;
mod index;
mod kept_clock;
mod leap;
mod publishing;
mod record;
mod review;
mod rotation;
mod types;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::db::{Db, DbError, Rev, Table};
use crate::durable;
use crate::log::{Leaf, Log, LogError, LogSettings, Opened, Reader};
use crate::model::{SessionId, Timestamp};
use crate::tlog::{Checkpoint, EMPTY_ROOT, EntryProof, Hash, KeyName, Note, Signature, SigningKey, VerifyingKey};
pub use assurance::{Confirmed, Consent};
pub use body::Subject;
use body::Subjects;
pub use command::{CommandGap, CommandJudged, CommandStart, CommandStep, CommandWaits};
use contested::Contests;
pub use contested::{Accepted, Contest};
pub use control::{BrokenGlass, LockStep, OffboardStep, SessionControl};
pub use desktop::{DesktopTicket, TicketStep};
pub use error::AuditError;
pub use event::{AuditEvent, Call, SESSION_HEADS_MAX, SegmentEnd, SessionHead, VaultChange};
pub use index::{CommandFilter, CommandIndex, CommandPage, CommandRow};
pub use kept_clock::KeptClock;
pub use leap::{Leap, QUIET_MAX};
pub use publishing::Publishing;
pub use record::{AuditRecord, Records};
pub use review::ReviewedLine;
pub use types::EVENT_TYPES;

/// Under this key of its table stands the floor.
const FLOOR: &str = "floor";

/// The open audit log. One process writes it: the one that holds the state directory.
#[derive(Debug)]
pub struct Audit {
    log: Log,
    reader: Reader,
    key: VerifyingKey,
    subjects: Subjects,
    clock: Clock,
    db: Db,
    floors: Table<StoredFloor>,
    /// Which checkpoint the state database has, and the revision that wrote it.
    floor: Mutex<(Rev, Checkpoint)>,
    /// When the newest leaf was written that was there before the log was opened.
    before: Option<Timestamp>,
    /// What was known of the wall clock then.
    clock_found: KeptClock,
    /// The newest time at which a witness has signed since then, by its clock.
    cosigned_at: Mutex<Option<Timestamp>>,
    /// What others say that is not in it.
    contests: Contests,
}

/// A checkpoint as the state database keeps it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFloor {
    origin: String,
    size: u64,
    root: String,
}

impl StoredFloor {
    fn of(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { origin, size, root } = checkpoint;
        Self { origin: origin.to_string(), size: *size, root: root.to_string() }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let (origin, root) = (KeyName::parse(&self.origin).ok()?, Hash::parse(&self.root).ok()?);
        Some(Checkpoint { origin, size: self.size, root })
    }
}

impl Audit {
    /// Makes the log of a new store in directory `dir` (`Home::log`), and writes its public key to `key.pub` there.
    ///
    /// # Errors
    /// `Db` with `Conflict` if the database knows of a log already.
    pub fn create(dir: &Path, key: SigningKey, db: &Db, clock: Clock) -> Result<Self, AuditError> {
        let origin = key.public().name().clone();
        let line = format!("{}\n", key.public());
        let floor = StoredFloor::of(&Checkpoint { origin, size: 0, root: EMPTY_ROOT });
        floors(db).put(FLOOR, None, &floor).map_err(AuditError::Db)?;
        let audit = Self::open(dir, key, db, clock)?;
        // What strangers do is sealed under this key; it is there before a full disk could keep it from being made.
        audit.subjects.make_sure_of(&Subject::Node).map_err(AuditError::Db)?;
        let path = dir.join("key.pub");
        durable::create_new(&path, line.as_bytes(), 0o644)
            .map_err(|source| AuditError::Log(LogError::Write { path, source }))?;
        Ok(audit)
    }

    /// Opens the log in directory `dir`; its leaves must go on from what the state database says was published.
    ///
    /// What a crash cut off is gone, and a `log.torn` event tells its size.
    ///
    /// # Errors
    /// `NoFloor`, `PutBack`: the log or the database is not the one that belongs to the other. See `LogError` for the
    /// others. Nothing is changed then.
    pub fn open(dir: &Path, key: SigningKey, db: &Db, clock: Clock) -> Result<Self, AuditError> {
        let floors = floors(db);
        let (rev, stored) =
            floors.get(FLOOR).map_err(AuditError::Db)?.ok_or_else(|| AuditError::NoFloor { path: dir.to_owned() })?;
        let floor = stored.checkpoint().ok_or_else(|| AuditError::NoFloor { path: dir.to_owned() })?;
        let public = key.public().clone();
        let name = public.name().as_str();
        let node = name.rsplit('/').next().unwrap_or(name).to_owned();
        let directory: PathBuf = dir.to_owned();
        let settings = LogSettings { directory, node, key, clock: clock.clone(), floor: Some(floor.clone()) };
        let Opened { log, torn_bytes } = Log::open(settings).map_err(AuditError::of_open)?;
        let reader = Reader::open(dir);
        let before = newest(&log, &reader)?;
        let clock_found = Self::look_at_clock(db, &clock, before)?;
        let (floor, cosigned_at) = (Mutex::new((rev, floor)), Mutex::new(None));
        let (key, subjects, db) = (public, Subjects::new(db), db.clone());
        let contests = Contests::open(&db).map_err(AuditError::Db)?;
        let audit =
            Self { log, reader, key, subjects, clock, db, floors, floor, before, clock_found, cosigned_at, contests };
        match audit.keep_floor() {
            // A full disk must not keep the server from starting: it refuses sessions, and says why.
            Ok(()) | Err(AuditError::Db(DbError::NoRoom)) => {}
            Err(error) => return Err(error),
        }
        audit.note_leap()?;
        if torn_bytes > 0 {
            audit.append(&AuditEvent::LogTorn { bytes: u64::try_from(torn_bytes).unwrap_or(u64::MAX) })?;
        }
        Ok(audit)
    }

    /// Writes one event and returns its number, from 0. It is on disk when this returns `Ok`. Blocks on the disk.
    ///
    /// # Errors
    /// The event is then not on record, and whoever needs it there must refuse. The next one is tried anew, so that
    /// the log goes on by itself once a full disk has space.
    pub fn append(&self, event: &AuditEvent) -> Result<u64, AuditError> {
        let parts = event.parts().ok_or(AuditError::Form)?;
        let mut fields = parts.clear;
        if !parts.hidden.is_empty() {
            let sealed = self.subjects.seal(&parts.kind, &event.subject(), parts.hidden).map_err(AuditError::Db)?;
            fields.insert("subject".to_owned(), sealed.subject.into());
            fields.insert("body".to_owned(), sealed.body.into());
            fields.insert("body_hash".to_owned(), sealed.hash.into());
        }
        Leaf::new(&parts.kind, fields).and_then(|leaf| self.log.append(leaf)).map_err(AuditError::Log)
    }

    /// Publishes what is on record by now, keeps the checkpoint in the state database, and returns it if it is new.
    ///
    /// # Errors
    /// The next call tries again.
    pub fn publish(&self) -> Result<Option<Note>, AuditError> {
        let note = self.log.publish().map_err(AuditError::Log)?;
        self.keep_floor()?;
        Ok(note)
    }

    /// Takes nothing more, and publishes all that is on record: the end of a process that writes the log.
    ///
    /// # Errors
    /// As `publish`. The next start publishes then.
    pub fn close(&self) -> Result<(), AuditError> {
        self.log.close();
        self.publish().map(drop)
    }

    /// Destroys the key of a subject: bodies that tell of it are unreadable from now on, and read as `<erased>`. Says
    /// whether there was one. The leaves stay, and so do all proofs.
    ///
    /// # Errors
    /// `Db`.
    pub fn forget(&self, subject: &Subject) -> Result<bool, AuditError> {
        self.subjects.forget(subject).map_err(AuditError::Db)
    }

    /// Whether the key with this id is there, by which bodies of leaves are read.
    ///
    /// # Errors
    /// `Db`.
    pub fn has_key(&self, id: &str) -> Result<bool, AuditError> {
        self.subjects.has_key(id).map_err(AuditError::Db)
    }

    /// Notes that the key with this id is lost, of this session if it is of one: its bodies read as `<key lost>`, until
    /// the session is forgotten.
    ///
    /// # Errors
    /// `Db`.
    pub fn lose_key(&self, id: &str, session: Option<&SessionId>) -> Result<(), AuditError> {
        self.subjects.lose(id, session).map_err(AuditError::Db)
    }

    /// The events from number `from` on that are published, oldest first; ends after the first error.
    pub fn records(&self, from: u64) -> Records<'_> {
        let size = self.size();
        Records::new(self.reader.entries(from..size, size), &self.subjects)
    }

    /// Those of these events that tell of commands.
    fn commands(&self, range: std::ops::Range<u64>) -> Records<'_> {
        Records::new(self.reader.entries(range, self.size()), &self.subjects).only("command.")
    }

    /// How many events are published.
    pub fn size(&self) -> u64 {
        self.log.published().map_or(0, |checkpoint| checkpoint.size)
    }

    /// The key by which others check what the log signs.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Reads the log as verifiers and witnesses do.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The journal that a copy of the log at `size` goes on from; see [`Log::journal_at`].
    ///
    /// # Errors
    /// `Log`.
    pub fn journal_at(&self, size: u64) -> Result<Vec<u8>, AuditError> {
        self.log.journal_at(size).map_err(AuditError::Log)
    }

    /// Keeps a witness's signature, which was checked, beside the checkpoint of `size`; says whether that is the newest.
    ///
    /// # Errors
    /// `Log`.
    pub fn cosigned(&self, size: u64, signature: Signature) -> Result<bool, AuditError> {
        let seconds = signature.cosigned_at().and_then(|seconds| i64::try_from(seconds).ok());
        let at = seconds.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
        let mut newest = self.cosigned_at.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = at.max(*newest);
        drop(newest);
        self.log.add_signatures(size, vec![signature]).map_err(AuditError::Log)
    }

    /// When the newest leaf was written that was there before this log was opened; `None` if there was none.
    pub fn before(&self) -> Option<Timestamp> {
        self.before
    }

    /// When a witness has signed last, by its own clock, since this log was opened.
    pub fn cosigned_at(&self) -> Option<Timestamp> {
        *self.cosigned_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest checkpoint with all its signatures; `None` if nothing was published yet.
    ///
    /// # Errors
    /// `Log`.
    pub fn checkpoint(&self) -> Result<Option<Note>, AuditError> {
        let found = self.reader.checkpoint(&self.key).map_err(AuditError::Log)?;
        Ok(found.map(|(note, _)| note))
    }

    /// The proof that leaf `index` is in the log at its newest checkpoint; the leaf itself travels in its `extra`.
    ///
    /// # Errors
    /// `Log` with `NoSuchEntry` beyond what is published.
    pub fn prove(&self, index: u64) -> Result<EntryProof, AuditError> {
        let missing = || AuditError::Log(LogError::NoSuchEntry { index });
        let (note, checkpoint) = self.reader.checkpoint(&self.key).map_err(AuditError::Log)?.ok_or_else(missing)?;
        let mut proof = self.reader.proof(index, &note).map_err(AuditError::Log)?;
        proof.extra = Some(self.reader.entry(index, checkpoint.size).map_err(AuditError::Log)?);
        Ok(proof)
    }

    fn keep_floor(&self) -> Result<(), AuditError> {
        let Some(newest) = self.log.published() else { return Ok(()) };
        let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        // Another call may have kept a newer one meanwhile.
        if newest.size > floor.1.size {
            self.db.check_room().map_err(AuditError::Db)?;
            let rev = self.floors.put(FLOOR, Some(floor.0), &StoredFloor::of(&newest)).map_err(AuditError::Db)?;
            *floor = (rev, newest);
        }
        Ok(())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        if let Err(failure) = self.close() {
            tracing::error!(error = %failure, "The end of the audit log is not published; the next start does it");
        }
    }
}

/// When the newest leaf was written.
fn newest(log: &Log, reader: &Reader) -> Result<Option<Timestamp>, AuditError> {
    let size = log.published().map_or(0, |checkpoint| checkpoint.size);
    let Some(seq) = size.checked_sub(1) else { return Ok(None) };
    let leaf = reader.entry(seq, size).map_err(AuditError::Log)?;
    let written = serde_json::from_slice::<Written>(&leaf);
    written.map(|leaf| Some(leaf.ts)).map_err(|error| AuditError::Damaged { seq, why: error.to_string() })
}

/// The part of a leaf that says when it was written.
#[derive(Deserialize)]
struct Written {
    ts: Timestamp,
}

fn floors(db: &Db) -> Table<StoredFloor> {
    db.table("audit-log")
}

#[cfg(test)]
mod tests;
