//! A state directory's state, made from an export: whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{BackupError, state};
use crate::audit::{Audit, AuditEvent, Subject};
use crate::auditor::Identity;
use crate::clock::Clock;
use crate::db::{Db, MasterKey, Stored};
use crate::durable;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::log::Reader;
use crate::model::{SessionId, Timestamp};
use crate::policy::PolicySet;
use crate::store::{StoreRoot, hex};
use crate::tlog::{Checkpoint, VerifyingKey};
use crate::vault::{PORTABLE_TABLES, Vault};
use crate::verify::Step;

/// The database is made under this name; a crash leaves it, and the next import removes it.
const UNFINISHED: &str = "state.import";
/// So many entries are written at once.
const BATCH_ENTRIES: usize = 256;
/// What changes the state, in leaves: an export from before such a leaf lacks it.
const CHANGES: [&str; 9] = [
    "config.change",
    "secret.set",
    "secret.remove",
    "grant.revoke",
    "hold",
    "erase",
    "gc",
    "key.rotate",
    "state.import",
];
/// The tables of the audit log, which belong to one log.
const OF_THE_LOG: [&str; 3] = ["audit-keys", "audit-log", "audit-subjects"];

/// Which log the imported state goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With the one that lies in the state directory, if it has nothing that the state lacks.
    Continue,
    /// The same, though what was changed after the export is lost.
    ContinueFromOlder,
    /// With a new one: a new bastion with the users, targets, grants and secrets of another.
    NewLog,
}

/// What a witness says of the log.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Who.
    pub witness: String,
    /// The newest checkpoint that it has signed.
    pub checkpoint: Checkpoint,
}

/// What to import, and where to.
pub struct Import<'a> {
    /// The state directory.
    pub data: &'a Path,
    /// The key to seal the state with.
    pub master: MasterKey,
    /// To open the export with.
    pub identities: &'a [Identity],
    /// Which log to go on with.
    pub mode: Mode,
    /// The log's key, if the operator has it from elsewhere.
    pub key: Option<VerifyingKey>,
    /// Asks the witnesses what they have signed of the log with this key.
    pub witnesses: &'a dyn Fn(&VerifyingKey) -> Result<Vec<Seen>, BackupError>,
    /// Told how far it is in reading the log.
    pub progress: &'a mut dyn FnMut(Step),
    /// Who does it.
    pub by: String,
    /// The time.
    pub clock: Clock,
}

/// What was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The id of the store.
    pub store: String,
    /// When the state was exported.
    pub exported: Timestamp,
    /// How many entries it has.
    pub entries: u64,
    /// The log's key, in text form.
    pub log_key: String,
    /// How many leaves the log has.
    pub leaves: u64,
    /// How many leaves tell of changes that the state lacks.
    pub lost_changes: u64,
    /// How many leaves have names and reasons that nobody can read any more, for the state lacks their keys.
    pub unreadable: u64,
    /// Of how many recordings something was there that the log says is destroyed; it is gone now.
    pub destroyed: u64,
    /// Of how many of them something is there still, because they are on hold.
    pub held: u64,
}

/// The parts of a leaf that matter here; they stand in clear.
#[derive(Deserialize)]
struct Leaf {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    sessions: Vec<SessionId>,
    #[serde(default)]
    on: bool,
    /// The id of the key that its body is sealed with.
    #[serde(default)]
    subject: Option<String>,
}

/// Makes the state of `wanted.data` from an export.
///
/// The directory must have no state, and the log of the export or a newer one of that bastion; with `Mode::NewLog`, no
/// log. Nothing is put into its place before all of it is checked and on disk, and on record.
///
/// # Errors
/// `BackupError` says what is wrong; the directory has no state then, and the same can be tried again.
pub fn import(mut file: impl Read + Seek, wanted: Import<'_>) -> Result<Imported, BackupError> {
    let Import { data, master, identities, mode, key: pinned, witnesses, progress, by, clock } = wanted;
    if mode != Mode::NewLog {
        check_named(&mut file, &data.join("log"), progress)?;
    }
    let now = clock.now();
    let unfinished = data.join(UNFINISHED);
    let begin = |header: state::Header| Making::begin(data, &unfinished, header, master, mode, now);
    let (mut making, hash, entries) = state::read(file, identities, begin, |making, stored| making.take(stored))?;
    making.commit()?;
    let Making { home, db, vault, exported, .. } = making;
    // Read as the server reads it: what it would stumble over is found now.
    let ledger = Ledger::open(&db, PolicySet::empty()).map_err(BackupError::Ledger)?;
    vault.list().map_err(BackupError::Vault)?;
    vault.host_key().map_err(BackupError::Vault)?;
    vault.host_ca().map_err(BackupError::Vault)?;
    let key = vault.log_key(home.id()).map_err(BackupError::Vault)?;
    let public = key.public().clone();
    if mode != Mode::NewLog && pinned.is_some_and(|pinned| pinned != public) {
        return Err(BackupError::OtherKey { found: public.to_string() });
    }
    let opened = match mode {
        Mode::NewLog => Audit::create(&home.log(), key, &db, clock),
        Mode::Continue | Mode::ContinueFromOlder => Audit::open(&home.log(), key, &db, clock),
    };
    let audit = opened.map_err(BackupError::Audit)?;
    let since = match mode {
        Mode::NewLog => Since::default(),
        Mode::Continue | Mode::ContinueFromOlder => {
            check_witnesses(&audit, &witnesses(&public)?)?;
            Since::read(&audit, &hash, progress)?
        }
    };
    if (since.changes > 0 || since.unreadable > 0) && mode == Mode::Continue {
        let Since { leaf, changes, unreadable, .. } = since;
        return Err(BackupError::Older { leaf, changes, unreadable });
    }
    since.lose_keys(&audit)?;
    let store = StoreRoot::at(data);
    let Again { destroyed, held } = since.destroy_again(&audit, &ledger, &store)?;
    let detail = match mode {
        Mode::NewLog => format!("exported at {exported}; this log begins with it"),
        Mode::Continue | Mode::ContinueFromOlder => {
            format!("exported at {exported}, in leaf {}; {} later changes are lost", since.leaf, since.changes)
        }
    };
    audit.append(&AuditEvent::StateImport { hash, by, detail }).map_err(BackupError::Audit)?;
    audit.close().map_err(BackupError::Audit)?;
    let (log_key, leaves) = (public.to_string(), audit.size());
    // The database has its files open as long as one of these is there.
    drop((audit, vault, ledger, db));
    home.settle(&unfinished).map_err(BackupError::Home)?;
    let (store, lost_changes, unreadable) = (home.id().to_owned(), since.changes, since.unreadable);
    Ok(Imported { store, exported, entries, log_key, leaves, lost_changes, unreadable, destroyed, held })
}

/// Refuses a file that the log does not name before anything is made of it. The log is not checked yet, and where it
/// cannot be read that is told later: this spares the work that anybody's file would make.
fn check_named(file: &mut (impl Read + Seek), log: &Path, progress: &mut dyn FnMut(Step)) -> Result<(), BackupError> {
    let mut hash = Context::new(&SHA256);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut chunk).map_err(BackupError::Read)?;
        if read == 0 {
            break;
        }
        hash.update(chunk.get(..read).unwrap_or_default());
    }
    file.rewind().map_err(BackupError::Read)?;
    let hash = hex(hash.finish().as_ref());
    let reader = Reader::open(log);
    let Ok(Some(note)) = reader.note() else { return Ok(()) };
    let Ok(Checkpoint { size, .. }) = Checkpoint::parse(note.unchecked_text()) else { return Ok(()) };
    for entry in reader.entries(0..size, size) {
        let Ok((index, entry)) = entry else { return Ok(()) };
        if index % 256 == 0 {
            progress(Step::Leaves { done: index, total: size });
        }
        let leaf = serde_json::from_slice::<Leaf>(&entry);
        if leaf.is_ok_and(|leaf| leaf.kind == "state.export" && leaf.hash.as_deref() == Some(&hash)) {
            return Ok(());
        }
    }
    Err(BackupError::NotVouched { hash })
}

/// A state that is being made.
struct Making {
    home: Home,
    db: Db,
    vault: Vault,
    mode: Mode,
    exported: Timestamp,
    waiting: Vec<Stored>,
}

impl Making {
    fn begin(
        data: &Path,
        unfinished: &Path,
        header: state::Header,
        master: MasterKey,
        mode: Mode,
        now: Timestamp,
    ) -> Result<Self, BackupError> {
        let failed = |what, path: PathBuf| move |source| BackupError::Io { what, path, source };
        let id = match mode {
            Mode::NewLog => None,
            Mode::Continue | Mode::ContinueFromOlder => Some(header.store.as_str()),
        };
        let home = Home::adopt(data, id, now).map_err(BackupError::Home)?;
        if mode == Mode::NewLog {
            // A new log knows nothing of old recordings: they would look as if somebody had added them.
            let there = ["log", "rec", "env"].into_iter().map(|part| data.join(part)).find(|path| !is_empty(path));
            there.map_or(Ok(()), |path| Err(BackupError::NotEmpty { path }))?;
        }
        durable::remove_directory(unfinished).map_err(failed("remove", unfinished.to_owned()))?;
        durable::create_directories(unfinished).map_err(failed("make", unfinished.to_owned()))?;
        let db = Db::create_again(unfinished, home.id(), master, header.rev).map_err(BackupError::Db)?;
        let vault = Vault::open(&db).map_err(BackupError::Vault)?;
        let mut making = Self { home, db, vault, mode, exported: header.exported, waiting: Vec::new() };
        if mode == Mode::NewLog {
            let (name, sealed) = making.vault.other_log_key().map_err(BackupError::Vault)?;
            making.waiting.push(("bastion-keys".to_owned(), name.to_owned(), sealed));
        }
        Ok(making)
    }

    fn take(&mut self, (table, key, value): Stored) -> Result<(), BackupError> {
        let of_the_log = OF_THE_LOG.contains(&table.as_str()) || (table == "bastion-keys" && key == "log-key");
        if self.mode == Mode::NewLog && of_the_log {
            return Ok(());
        }
        let value = if PORTABLE_TABLES.contains(&table.as_str()) {
            self.vault.sealed_again(&table, &key, &value).map_err(BackupError::Vault)?
        } else {
            value
        };
        self.waiting.push((table, key, value));
        if self.waiting.len() >= BATCH_ENTRIES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), BackupError> {
        let mut batch = self.db.batch();
        for (table, key, value) in self.waiting.drain(..) {
            let known = state::TABLES.into_iter().find(|known| *known == table);
            batch.put_again(known.ok_or(BackupError::UnknownTable { table })?, &key, value);
        }
        batch.commit().map(drop).map_err(BackupError::Db)
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

/// Refuses a log of which a witness has signed more, or other leaves.
fn check_witnesses(audit: &Audit, seen: &[Seen]) -> Result<(), BackupError> {
    let ours = audit.size();
    for Seen { witness, checkpoint } in seen {
        let goes_on = checkpoint.size <= ours
            && audit.reader().root_within(checkpoint.size, ours).map_err(BackupError::Log)? == checkpoint.root;
        if !goes_on {
            return Err(BackupError::Ahead { witness: witness.clone(), theirs: checkpoint.size, ours });
        }
    }
    Ok(())
}

/// What the log says of an export, and of what came after it.
#[derive(Debug, Default)]
struct Since {
    leaf: u64,
    changes: u64,
    /// Of the whole log: their envelopes are destroyed.
    erased: BTreeSet<SessionId>,
    /// Of the whole log: their recordings are removed.
    expired: BTreeSet<SessionId>,
    /// What the log says of holds after the export: the state does not know of it.
    holds: BTreeMap<SessionId, bool>,
    /// How many leaves after the export have a body that the state has no key for.
    unreadable: u64,
    /// The keys of these, by their ids: the sessions that they are of, and how many leaves.
    lost: BTreeMap<String, (Option<SessionId>, u64)>,
}

/// What of the destroyed was there.
struct Again {
    destroyed: u64,
    held: u64,
}

impl Since {
    fn read(audit: &Audit, hash: &str, progress: &mut dyn FnMut(Step)) -> Result<Self, BackupError> {
        let size = audit.size();
        let mut since = Self::default();
        let mut found = false;
        for entry in audit.reader().entries(0..size, size) {
            let (index, entry) = entry.map_err(BackupError::Log)?;
            if index % 256 == 0 {
                progress(Step::Leaves { done: index, total: size });
            }
            let Ok(leaf) = serde_json::from_slice::<Leaf>(&entry) else { continue };
            if leaf.kind == "state.export" && leaf.hash.as_deref() == Some(hash) {
                (found, since.leaf, since.changes) = (true, index, 0);
                since.holds.clear();
                since.lost.clear();
            } else if CHANGES.contains(&leaf.kind.as_str()) {
                since.changes = since.changes.saturating_add(1);
            }
            if let Some(id) = leaf.subject.filter(|_| found)
                && !audit.has_key(&id).map_err(BackupError::Audit)?
            {
                since.lost.entry(id).or_insert((leaf.session.clone(), 0)).1 += 1;
            }
            match leaf.kind.as_str() {
                "erase" => since.erased.extend(leaf.session),
                "gc" => since.expired.extend(leaf.sessions),
                "hold" => since.holds.extend(leaf.session.map(|session| (session, leaf.on))),
                _ => {}
            }
        }
        // What was destroyed is not lost.
        let destroyed = |session: &SessionId| since.erased.contains(session) || since.expired.contains(session);
        since.lost.retain(|_, (session, _)| !session.as_ref().is_some_and(destroyed));
        since.unreadable = since.lost.values().map(|(_, leaves)| leaves).sum();
        if found { Ok(since) } else { Err(BackupError::NotVouched { hash: hash.to_owned() }) }
    }

    /// Who reads the log later must not take for erased what nobody erased.
    fn lose_keys(&self, audit: &Audit) -> Result<(), BackupError> {
        for (id, (session, _)) in &self.lost {
            audit.lose_key(id, session.as_ref()).map_err(BackupError::Audit)?;
        }
        Ok(())
    }

    /// What was destroyed before must not be there again because a copy of it was put back. Says of how many recordings
    /// something was. A hold wins over a removal that was not finished, as it does where the bastion runs.
    fn destroy_again(&self, audit: &Audit, ledger: &Ledger, store: &StoreRoot) -> Result<Again, BackupError> {
        let mut again = Again { destroyed: 0, held: 0 };
        for session in self.erased.union(&self.expired) {
            let removed = self.expired.contains(session);
            let there = store.has_envelope(session) || removed && store.has_session(session);
            let held = self.holds.get(session).copied().unwrap_or_else(|| ledger.held(session).is_some());
            if held {
                again.held += u64::from(there);
                continue;
            }
            if removed {
                store.destroy_envelopes(session).and_then(|()| store.remove_session(session))
            } else {
                store.erase_session(session)
            }
            .map_err(BackupError::Store)?;
            audit.forget(&Subject::Session(session.clone())).map_err(BackupError::Audit)?;
            again.destroyed += u64::from(there);
        }
        Ok(again)
    }
}
