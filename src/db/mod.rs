//! The state database: typed tables over sealed values over an embedded store.
//!
//! ```text
//! Db, Table<T>   a name, a key and a JSON value, each with the revision that wrote it
//! sealed         AES-256-GCM over each value, bound to its table, its key and its revision
//! StateStore     bytes under keys, changed only where the revision is the expected one
//!   sled         on disk, under a discipline that makes it durable; the only file that names sled
//!   memory       for tests
//! ```
//!
//! An attacker who can write in the state directory can delete a value, or bring back an older one of the same
//! key or the whole database of yesterday, but cannot read, forge or alter a value nor move it to another key.
//! Keys (names of people, targets, destinations) and sizes stay visible.
//!
//! Everything here blocks on the disk: asynchronous callers use `spawn_blocking` for what writes.

mod key;
mod memory;
mod rotate;
mod sealed;
mod sled;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(crate) use key::SealingKey;
pub use key::{CryptoFailed, KeyFiles, MasterKey, MasterKeyError};
use memory::MemoryStore;
pub use rotate::Inner;
use sealed::{Pending, Sealed};

use self::sled::SledStore;

/// A stored value's size, with its seal. Far below what sled would move to a file of its own.
const VALUE_BYTES_MAX: usize = 16 * 1024;
const KEY_BYTES_MAX: usize = 256;
const META: &str = "meta";
const META_ID: &str = "id";

/// Which write made a value. Grows with every write, over all tables and over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rev(u64);

impl Rev {
    /// Its number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stored value: `ver u8 | key_id u32 | rev u64 | sealed`, integers in big-endian order.
///
/// A backend reads no more of it than the revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Vec<u8>);

impl Record {
    const VERSION: u8 = 1;
    const HEADER_BYTES: usize = 13;

    fn header(key_id: u32, rev: Rev) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        bytes.extend_from_slice(&key_id.to_be_bytes());
        bytes.extend_from_slice(&rev.0.to_be_bytes());
        bytes
    }

    /// Takes bytes that a backend has read; `None` if they cannot be a record.
    fn parse(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= Self::HEADER_BYTES && bytes.first() == Some(&Self::VERSION)).then(|| Self(bytes.to_vec()))
    }

    fn parts(&self) -> Option<(u32, Rev, &[u8])> {
        let (header, sealed) = self.0.split_first_chunk::<{ Self::HEADER_BYTES }>()?;
        let [_, a, b, c, d, rev @ ..] = *header;
        Some((u32::from_be_bytes([a, b, c, d]), Rev(u64::from_be_bytes(rev)), sealed))
    }

    /// The revision that wrote it, as the header tells; the seal proves it.
    pub fn rev(&self) -> Rev {
        self.parts().map_or(Rev(0), |(_, rev, _)| rev)
    }
}

/// One change: `record` under `key` (`None`: nothing any more), if what is there now was written by `expected`
/// (`None`: if nothing is there).
#[derive(Debug, Clone)]
pub struct Change {
    key: Vec<u8>,
    expected: Option<Rev>,
    record: Option<Record>,
}

/// Bytes under keys, with compare-and-set by revision.
///
/// Contract: `apply` does all of its changes or none, and what it did is durable when it returns `Ok`. Calls may
/// come from many threads; each sees a state between two `apply`s. When a write fails, nobody knows what is on
/// disk: from then on every call fails with `DbError::Stopped`, until the store is opened again.
pub trait StateStore: Send + Sync + fmt::Debug {
    /// What is stored under `key`.
    ///
    /// # Errors
    /// `DbError` of the backend.
    fn get(&self, key: &[u8]) -> Result<Option<Record>, DbError>;

    /// All keys that begin with `prefix`, in order, with what is stored under them.
    ///
    /// # Errors
    /// `DbError` of the backend.
    fn range(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, DbError>;

    /// Does all `changes` or none. No key may come twice.
    ///
    /// # Errors
    /// `Conflict` names the first key whose revision is not the expected one; nothing was changed.
    fn apply(&self, changes: Vec<Change>) -> Result<(), DbError>;

    /// Makes everything durable; `apply` has done so already.
    ///
    /// # Errors
    /// `DbError` of the backend.
    fn flush(&self) -> Result<(), DbError>;

    /// Whether there is room for a write that can wait: one that fails stops the store.
    fn has_room(&self) -> bool {
        true
    }

    /// Stores `record` under `key` if what is there was written by `expected`.
    ///
    /// # Errors
    /// As `apply`.
    fn put_if_rev(&self, key: &[u8], expected: Option<Rev>, record: Record) -> Result<(), DbError> {
        self.apply(vec![Change { key: key.to_vec(), expected, record: Some(record) }])
    }

    /// Removes `key` if what is there was written by `expected`.
    ///
    /// # Errors
    /// As `apply`.
    fn delete_if_rev(&self, key: &[u8], expected: Rev) -> Result<(), DbError> {
        self.apply(vec![Change { key: key.to_vec(), expected: Some(expected), record: None }])
    }
}

/// Checks a batch against what is stored; both backends do it under their own write lock.
fn check_expected(changes: &[Change], stored: impl Fn(&[u8]) -> Result<Option<Rev>, DbError>) -> Result<(), DbError> {
    let mut seen = std::collections::BTreeSet::new();
    for change in changes {
        if !seen.insert(&change.key) || stored(&change.key)? != change.expected {
            return Err(DbError::Conflict { key: shown(&change.key) });
        }
    }
    Ok(())
}

/// A key as people read it: `table/key`.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).replace('\0', "/")
}

/// The open state database. Clones share it.
#[derive(Debug, Clone)]
pub struct Db {
    sealed: Arc<Sealed>,
    master: Arc<MasterKey>,
}

/// What says to which store a database belongs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    id: String,
}

impl Db {
    /// Makes a new database in `dir` for the store with this id (`Home::id`). Durable on return.
    ///
    /// # Errors
    /// `Exists` if there is one already.
    pub fn create(dir: &Path, store_id: &str, master: MasterKey) -> Result<Self, DbError> {
        Self::found(Box::new(SledStore::create(dir)?), store_id, master)
    }

    /// Opens the database in `dir`, and reads every value once, so that damage shows now and not in a session.
    ///
    /// # Errors
    /// `Foreign` or `Empty` if it does not belong to the store with this id, `WrongMasterKey`, `Damaged`, `Altered`.
    pub fn open(dir: &Path, store_id: &str, master: MasterKey) -> Result<Self, DbError> {
        Self::adopt(Box::new(SledStore::open(dir)?), store_id, master)
    }

    /// A database that lives as long as its last clone, under a random key.
    ///
    /// # Errors
    /// `Crypto` if the system gives no randomness.
    pub fn in_memory() -> Result<Self, DbError> {
        let master = MasterKey::random().map_err(DbError::Crypto)?;
        Self::found(Box::new(MemoryStore::default()), "memory", master)
    }

    /// As `create`, for a store that had a database already: revisions go on from `after`.
    ///
    /// # Errors
    /// As `create`.
    pub(crate) fn create_again(dir: &Path, store_id: &str, master: MasterKey, after: Rev) -> Result<Self, DbError> {
        let mut sealed = Sealed::open(Box::new(SledStore::create(dir)?), &master)?;
        sealed.go_on_from(after);
        Self::identified(sealed, store_id, master)
    }

    fn found(store: Box<dyn StateStore>, store_id: &str, master: MasterKey) -> Result<Self, DbError> {
        Self::identified(Sealed::open(store, &master)?, store_id, master)
    }

    fn identified(sealed: Sealed, store_id: &str, master: MasterKey) -> Result<Self, DbError> {
        let db = Self { sealed: Arc::new(sealed), master: Arc::new(master) };
        db.table(META).put(META_ID, None, &Identity { id: store_id.to_owned() })?;
        Ok(db)
    }

    fn adopt(store: Box<dyn StateStore>, store_id: &str, master: MasterKey) -> Result<Self, DbError> {
        let db = Self { sealed: Arc::new(Sealed::open(store, &master)?), master: Arc::new(master) };
        match db.table::<Identity>(META).get(META_ID)? {
            Some((_, identity)) if identity.id == store_id => Ok(db),
            Some((_, identity)) => Err(DbError::Foreign { expected: store_id.to_owned(), found: identity.id }),
            None => Err(DbError::Empty { expected: store_id.to_owned() }),
        }
    }

    /// A table of values of one type. `name` is a constant of the module that owns the table.
    pub fn table<T: Serialize + DeserializeOwned>(&self, name: &'static str) -> Table<T> {
        Table { db: self.clone(), name, holds: PhantomData }
    }

    /// Collects changes to any tables, to be done all or none.
    pub fn batch(&self) -> Batch<'_> {
        Batch { db: self, changes: Vec::new() }
    }

    /// The id of the store that it belongs to.
    ///
    /// # Errors
    /// `DbError` of the backend.
    pub(crate) fn store_id(&self) -> Result<String, DbError> {
        let found = self.table::<Identity>(META).get(META_ID)?;
        found.map(|(_, identity)| identity.id).ok_or_else(|| DbError::Altered { key: format!("{META}/{META_ID}") })
    }

    /// Everything that is stored at this moment, for a backup: no write is half in it.
    ///
    /// # Errors
    /// `DbError` of the backend.
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, DbError> {
        let (rev, records) = self.sealed.snapshot()?;
        Ok(Snapshot { sealed: &self.sealed, rev, records: records.into_iter() })
    }

    /// How many bytes are live: all keys, and their sealed values.
    ///
    /// # Errors
    /// `Engine`.
    pub fn live_bytes(&self) -> Result<u64, DbError> {
        let (_, records) = self.sealed.snapshot()?;
        let bytes = records.iter().map(|(key, record)| key.len().saturating_add(record.0.len()));
        Ok(bytes.fold(0_u64, |sum, bytes| sum.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))))
    }

    /// Refuses while the disk is nearly full. For writes that strangers can bring about and that can be refused: one
    /// that fails stops the database, and with it the bastion, until the next start.
    ///
    /// # Errors
    /// `NoRoom`; nothing was written.
    pub fn check_room(&self) -> Result<(), DbError> {
        if self.sealed.has_room() { Ok(()) } else { Err(DbError::NoRoom) }
    }

    /// A key for one purpose, derived from the master key.
    pub(crate) fn sealing_key(&self, purpose: &str) -> Result<SealingKey, DbError> {
        self.master.sealing_key(purpose).map_err(DbError::Crypto)
    }
}

/// What a database held at one moment, in the order of tables and keys; each value is opened when it is asked for.
pub(crate) struct Snapshot<'a> {
    sealed: &'a Sealed,
    /// The revision of the last write.
    pub(crate) rev: Rev,
    records: std::vec::IntoIter<(Vec<u8>, Record)>,
}

/// A stored value: its table, its key, its JSON.
pub(crate) type Stored = (String, String, Zeroizing<Vec<u8>>);

impl Iterator for Snapshot<'_> {
    type Item = Result<Stored, DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        // What the database keeps for itself is made anew in every one.
        let own = [META.as_bytes(), b"\0"].concat();
        let (full, record) = self.records.find(|(full, _)| !full.starts_with(&own))?;
        Some(self.sealed.unseal_entry(&full, &record))
    }
}

/// Values of one type under names.
#[derive(Debug)]
pub struct Table<T> {
    db: Db,
    name: &'static str,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self { db: self.db.clone(), name: self.name, holds: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The value under `key` and the revision that wrote it.
    ///
    /// # Errors
    /// `Altered` or `Form` if it is not what was written.
    pub fn get(&self, key: &str) -> Result<Option<(Rev, T)>, DbError> {
        let Some((rev, json)) = self.db.sealed.get(self.name, key)? else { return Ok(None) };
        Ok(Some((rev, self.read(key, &json)?)))
    }

    /// Stores `value` if what is there was written by `expected` (`None`: if nothing is there). Durable on return.
    ///
    /// # Errors
    /// `Conflict` if somebody wrote meanwhile; read it again and decide again.
    pub fn put(&self, key: &str, expected: Option<Rev>, value: &T) -> Result<Rev, DbError> {
        let mut batch = self.db.batch();
        batch.put(self, key, expected, value)?;
        batch.commit()
    }

    /// Removes the value under `key` if it was written by `expected`. Durable on return.
    ///
    /// # Errors
    /// As `put`.
    pub fn delete(&self, key: &str, expected: Rev) -> Result<(), DbError> {
        let mut batch = self.db.batch();
        batch.delete(self, key, expected);
        batch.commit().map(|_| ())
    }

    /// All values whose key begins with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// As `get`: one bad value fails the list, for a list with a gap would mislead.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, Rev, T)>, DbError> {
        let found = self.db.sealed.list(self.name, prefix)?;
        found
            .into_iter()
            .map(|(key, rev, json)| {
                let value = self.read(&key, &json)?;
                Ok((key, rev, value))
            })
            .collect()
    }

    fn read(&self, key: &str, json: &[u8]) -> Result<T, DbError> {
        serde_json::from_slice(json)
            .map_err(|error| DbError::Form { key: format!("{}/{key}", self.name), why: error.to_string() })
    }
}

/// Changes to be done all or none.
#[derive(Debug)]
#[must_use]
pub struct Batch<'a> {
    db: &'a Db,
    changes: Vec<Pending>,
}

impl Batch<'_> {
    /// Adds `Table::put`.
    ///
    /// # Errors
    /// `Form` if the value cannot be written as JSON.
    pub fn put<T: Serialize>(
        &mut self,
        table: &Table<T>,
        key: &str,
        expected: Option<Rev>,
        value: &T,
    ) -> Result<(), DbError> {
        let json = serde_json::to_vec(value)
            .map_err(|error| DbError::Form { key: format!("{}/{key}", table.name), why: error.to_string() })?;
        let value = Some(Zeroizing::new(json));
        self.changes.push(Pending { table: table.name, key: key.to_owned(), expected, value });
        Ok(())
    }

    /// Adds a value that `Snapshot` gave: nothing may be stored under its key.
    pub(crate) fn put_again(&mut self, table: &'static str, key: &str, json: Zeroizing<Vec<u8>>) {
        self.changes.push(Pending { table, key: key.to_owned(), expected: None, value: Some(json) });
    }

    /// Adds `Table::delete`.
    pub fn delete<T>(&mut self, table: &Table<T>, key: &str, expected: Rev) {
        let expected = Some(expected);
        self.changes.push(Pending { table: table.name, key: key.to_owned(), expected, value: None });
    }

    /// Does all changes, under one new revision. Durable on return.
    ///
    /// # Errors
    /// `Conflict` if one revision was not the expected one (nothing is changed), `TooLarge`, or what the disk says.
    pub fn commit(self) -> Result<Rev, DbError> {
        self.db.sealed.commit(self.changes)
    }
}

/// Why the state database did not do what it was asked.
#[derive(Debug)]
pub enum DbError {
    /// There is no database.
    Absent {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a database already where a new one was to be made.
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// There is a database, but it does not know to which store it belongs.
    Empty {
        /// The id of the store.
        expected: String,
    },
    /// It belongs to another store.
    Foreign {
        /// The id of the store.
        expected: String,
        /// The id in the database.
        found: String,
    },
    /// Another key sealed it.
    WrongMasterKey,
    /// The engine cannot read its own files.
    Damaged {
        /// What it says.
        why: String,
    },
    /// A value was altered, moved or forged, or its bytes went bad.
    Altered {
        /// `table/key`.
        key: String,
    },
    /// A value is whole, but is not of the form that this version reads or writes.
    Form {
        /// `table/key`.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody else changed it meanwhile.
    Conflict {
        /// `table/key`.
        key: String,
    },
    /// A value or key is over the limit.
    TooLarge {
        /// `table/key`.
        key: String,
        /// Its size, with its seal.
        bytes: usize,
    },
    /// An earlier write failed; nobody knows what is on disk.
    Stopped,
    /// The disk is nearly full; nothing was written.
    NoRoom,
    /// The engine failed.
    Engine {
        /// What was being done.
        what: &'static str,
        /// What it says.
        why: String,
    },
    /// The file system failed.
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No randomness.
    Crypto(CryptoFailed),
}

impl DbError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Absent { .. } | Self::Empty { .. } | Self::Foreign { .. } => {
                "restore `state/` from the backup that belongs to this `store.json`; if `doorward init` was \
                 interrupted and there is nothing to keep, remove the state directory and run it again"
            }
            Self::Damaged { .. } | Self::Altered { .. } | Self::Form { .. } => {
                "keep a copy for analysis, then restore `state/` from the backup"
            }
            Self::Exists { .. } => "it stays as it is",
            Self::WrongMasterKey => "correct the path of the master key, or restore that file from the backup",
            Self::Conflict { .. } => "run it again",
            Self::Stopped => "look for disk errors and space, then restart",
            Self::NoRoom => "make room; it goes on by itself then",
            Self::Io { .. } | Self::Engine { .. } => "look for disk errors and space",
            Self::TooLarge { .. } | Self::Crypto(_) => return None,
        })
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { path } => write!(f, "there is no state database in {}", path.display()),
            Self::Exists { path } => write!(f, "there is a state database already in {}", path.display()),
            Self::Empty { expected } => {
                write!(f, "the state database is empty or was cut short: it does not know its store {expected}")
            }
            Self::Foreign { expected, found } => write!(
                f,
                "this state database does not belong to this store: it is of store {found}, and this is {expected}"
            ),
            Self::WrongMasterKey => f.write_str("the state database was sealed under another master key"),
            Self::Damaged { why } => write!(f, "the state database is damaged: {why}"),
            Self::Altered { key } => write!(f, "the state database is damaged: the value of `{key}` was altered"),
            Self::Form { key, why } => {
                write!(f, "the value of `{key}` in the state database is of another form: {why}")
            }
            Self::Conflict { key } => write!(f, "`{key}` was changed by somebody else meanwhile"),
            Self::TooLarge { key, bytes } => {
                write!(
                    f,
                    "the value of `{key}` is too large: {bytes} bytes, at most {VALUE_BYTES_MAX} (key: {KEY_BYTES_MAX})"
                )
            }
            Self::Stopped => f.write_str("the state database has stopped, for an earlier write failed"),
            Self::NoRoom => f.write_str("the disk is nearly full: the state database takes no new keys"),
            Self::Engine { what, why } => write!(f, "the state database cannot {what}: {why}"),
            Self::Io { what, path, .. } => write!(f, "the state database cannot {what} ({})", path.display()),
            Self::Crypto(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Absent { .. }
            | Self::Exists { .. }
            | Self::Empty { .. }
            | Self::Foreign { .. }
            | Self::WrongMasterKey
            | Self::Damaged { .. }
            | Self::Altered { .. }
            | Self::Form { .. }
            | Self::Conflict { .. }
            | Self::TooLarge { .. }
            | Self::Stopped
            | Self::NoRoom
            | Self::Engine { .. }
            | Self::Crypto(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
