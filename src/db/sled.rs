//! sled, under a discipline that makes it durable.
//!
//! sled 0.34 by itself is not: its `flush` writes and calls `sync_file_range`, which orders neither the disk's own
//! cache nor the file's size; a power cut can lose every acknowledged write and leave a database that opens
//! cleanly and empty. Hence the rules here:
//!
//! - one commit path: apply the batch, `flush`, sync blob files if there are any, `fdatasync` of the `db` file,
//!   and only then acknowledge; no timer flushes and nothing relies on drop;
//! - after opening, every file and directory of sled's is synced once, its parent too;
//! - one tree, keys with prefixes: a batch is atomic within a tree only;
//! - the last acknowledged revision also stands in a file of its own: where damage or a lost write makes sled open
//!   an older state without a word (a revoked grant would be back), opening fails;
//! - values stay far below the size at which sled moves them to files of their own;
//! - calls run under `catch_unwind`, for sled panics on some damage.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::sled::{Batch, Config, IVec};

use super::{Change, DbError, Record, Rev, StateStore, check_expected, shown};
use crate::durable;

/// The state is small; sled's own default would be 1 GiB.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// So much must be free for writes that can wait; sled's files grow in steps of a part of it.
const ROOM_BYTES: u64 = 16 * 1024 * 1024;

type Sync = Box<dyn Fn(&File) -> io::Result<()> + Send + std::marker::Sync>;

/// The file with the last acknowledged revision: the number, then its complement.
const ACKNOWLEDGED: &str = "acknowledged";

/// A sled database, every write of which is durable when it returns.
pub(super) struct SledStore {
    engine: ::sled::Db,
    /// sled's log, opened a second time: sled keeps its own handle to itself.
    log: File,
    log_path: PathBuf,
    blobs: PathBuf,
    acknowledged: File,
    sync: Sync,
    commit: Mutex<()>,
    stopped: AtomicBool,
}

impl SledStore {
    /// Makes a new database in `dir`, which must be empty or not exist.
    pub(super) fn create(dir: &Path) -> Result<Self, DbError> {
        let failed = |source| DbError::Io { what: "be made", path: dir.to_owned(), source };
        durable::create_directories(dir).map_err(failed)?;
        if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(DbError::Exists { path: dir.to_owned() });
        }
        durable::create_new(&dir.join(ACKNOWLEDGED), &acknowledgement(Rev(0)), 0o600).map_err(failed)?;
        Self::start(dir, true, Box::new(File::sync_data))
    }

    /// Opens the database in `dir`; never makes one.
    pub(super) fn open(dir: &Path) -> Result<Self, DbError> {
        // sled would make an empty database where there is none, and a new one where its parts are missing.
        for part in ["db", "conf", ACKNOWLEDGED] {
            if !dir.join(part).is_file() {
                return Err(DbError::Absent { path: dir.to_owned() });
            }
        }
        let store = Self::start(dir, false, Box::new(File::sync_data))?;
        store.check_acknowledged()?;
        Ok(store)
    }

    fn start(dir: &Path, create: bool, sync: Sync) -> Result<Self, DbError> {
        let config = Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).create_new(create);
        let engine = guarded("be opened", || open_when_free(&config))?;
        let failed = |source| DbError::Io { what: "be synced", path: dir.to_owned(), source };
        sync_all_below(dir).map_err(failed)?;
        durable::sync_parent(dir).map_err(failed)?;
        let log_path = dir.join("db");
        let log = File::options().write(true).open(&log_path).map_err(failed)?;
        let acknowledged = File::options().read(true).write(true).open(dir.join(ACKNOWLEDGED)).map_err(failed)?;
        let (blobs, stopped) = (dir.join("blobs"), AtomicBool::new(false));
        Ok(Self { engine, log, log_path, blobs, acknowledged, sync, commit: Mutex::new(()), stopped })
    }

    /// Refuses a database that holds less than was acknowledged.
    ///
    /// Every batch of `sealed` writes its revision in a record of its own, so that the largest one is never removed.
    fn check_acknowledged(&self) -> Result<(), DbError> {
        let mut bytes = [0; 16];
        self.acknowledged.read_exact_at(&mut bytes, 0).map_err(|source| self.sync_failed(source))?;
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        let promised = Rev(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        if acknowledgement(promised) != bytes {
            return Err(DbError::Damaged { why: format!("the file `{ACKNOWLEDGED}` is not what was written") });
        }
        let held = self.range(b"")?.iter().map(|(_, record)| record.rev()).max().unwrap_or(Rev(0));
        if held < promised {
            let why = format!("it holds revision {held}, but {promised} was acknowledged: the last changes are lost");
            return Err(DbError::Damaged { why });
        }
        Ok(())
    }

    fn running(&self) -> Result<(), DbError> {
        if self.stopped.load(Ordering::SeqCst) { Err(DbError::Stopped) } else { Ok(()) }
    }

    /// `flush`, then the syncs that sled leaves out.
    fn make_durable(&self) -> Result<(), DbError> {
        guarded("write", || self.engine.flush())?;
        // Only nodes over 128 KiB become blobs; with small values there are none, and this reads an empty directory.
        if let Some(blob) = std::fs::read_dir(&self.blobs).map_err(|source| self.sync_failed(source))?.next() {
            blob.and_then(|_| sync_all_below(&self.blobs)).map_err(|source| self.sync_failed(source))?;
        }
        (self.sync)(&self.log).map_err(|source| self.sync_failed(source))
    }

    /// Promises that the database holds this revision; it must be on disk already.
    fn acknowledge(&self, newest: Rev) -> Result<(), DbError> {
        let written = self.acknowledged.write_all_at(&acknowledgement(newest), 0);
        written.and_then(|()| self.acknowledged.sync_data()).map_err(|source| self.sync_failed(source))
    }

    fn sync_failed(&self, source: io::Error) -> DbError {
        DbError::Io { what: "write to the disk", path: self.log_path.clone(), source }
    }
}

impl StateStore for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, DbError> {
        self.running()?;
        let found = guarded("read", || self.engine.get(key))?;
        found.map(|value| record(key, &value)).transpose()
    }

    fn range(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, DbError> {
        self.running()?;
        let found = guarded("read", || self.engine.scan_prefix(prefix).collect::<::sled::Result<Vec<(IVec, IVec)>>>())?;
        found.into_iter().map(|(key, value)| Ok((key.to_vec(), record(&key, &value)?))).collect()
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), DbError> {
        let Ok(_writing) = self.commit.lock() else { return Err(DbError::Stopped) };
        check_expected(&changes, |key| Ok(self.get(key)?.map(|record| record.rev())))?;
        let newest = changes.iter().filter_map(|change| change.record.as_ref()).map(Record::rev).max();
        let mut batch = Batch::default();
        for Change { key, record, .. } in changes {
            match record {
                Some(Record(bytes)) => batch.insert(key, bytes),
                None => batch.remove(key),
            }
        }
        let done = guarded("write", || self.engine.apply_batch(batch))
            .and_then(|()| self.make_durable())
            .and_then(|()| newest.map_or(Ok(()), |newest| self.acknowledge(newest)));
        if done.is_err() {
            self.stopped.store(true, Ordering::SeqCst);
        }
        done
    }

    fn has_room(&self) -> bool {
        // What does not tell its size is not judged by it.
        rustix::fs::fstatvfs(&self.log)
            .is_ok_and(|disk| disk.f_blocks == 0 || disk.f_bavail.saturating_mul(disk.f_frsize) >= ROOM_BYTES)
    }

    fn flush(&self) -> Result<(), DbError> {
        let Ok(_writing) = self.commit.lock() else { return Err(DbError::Stopped) };
        self.running()?;
        let done = self.make_durable();
        if done.is_err() {
            self.stopped.store(true, Ordering::SeqCst);
        }
        done
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("log", &self.log_path).finish_non_exhaustive()
    }
}

fn acknowledgement(rev: Rev) -> [u8; 16] {
    (u128::from(rev.0) << 64 | u128::from(!rev.0)).to_be_bytes()
}

fn record(key: &[u8], value: &[u8]) -> Result<Record, DbError> {
    Record::parse(value).ok_or_else(|| DbError::Altered { key: shown(key) })
}

/// Calls sled; a panic of its is an error like any other.
fn guarded<T>(what: &'static str, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, DbError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error @ (::sled::Error::Corruption { .. } | ::sled::Error::Unsupported(_)))) => {
            Err(DbError::Damaged { why: error.to_string() })
        }
        Ok(Err(error)) => Err(DbError::Engine { what, why: error.to_string() }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(DbError::Damaged { why: text.unwrap_or_else(|| "the engine panicked".into()) })
        }
    }
}

/// Syncs every file and directory in `dir`, and `dir`.
fn sync_all_below(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all_below(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// sled's threads let go of a database a moment after it was dropped. Other processes are kept out by the state
/// directory's own lock, so what is waited for is our own past, for 2 seconds at most.
fn open_when_free(config: &Config) -> sled::Result<sled::Db> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
    config.open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::tests::copy_tree;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    #[test]
    fn a_write_is_in_the_log_file_before_that_file_is_synced_and_synced_before_it_is_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, path) = (Arc::clone(&seen), state.join("db"));
        let sync: Sync = Box::new(move |file| {
            let holds = std::fs::read(&path)?.windows(9).any(|window| window == b"canary-42");
            log.lock().unwrap().push((file.metadata()?.ino() == std::fs::metadata(&path)?.ino(), holds));
            file.sync_data()
        });
        let store = start(&state, sync);
        store.put_if_rev(b"t\0k", None, sample(1, b"canary-42")).unwrap();
        assert_eq!(*seen.lock().unwrap(), [(true, true)]);
    }

    #[test]
    fn a_failed_sync_is_an_error_and_stops_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let sync: Sync = Box::new(|_| Err(io::Error::other("no")));
        let store = start(&dir.path().join("state"), sync);
        assert!(matches!(store.put_if_rev(b"t\0k", None, sample(1, b"x")), Err(DbError::Io { .. })));
        assert!(matches!(store.get(b"t\0k"), Err(DbError::Stopped)));
        assert!(matches!(store.put_if_rev(b"t\0l", None, sample(2, b"x")), Err(DbError::Stopped)));
        assert!(matches!(store.flush(), Err(DbError::Stopped)));
    }

    #[test]
    fn what_was_acknowledged_is_there_in_a_copy_taken_while_the_store_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (state, copy) = (dir.path().join("state"), dir.path().join("copy"));
        let store = SledStore::create(&state).unwrap();
        for n in 1..=40 {
            store.put_if_rev(format!("t\0{n:03}").as_bytes(), None, sample(n, &[7; 9000])).unwrap();
        }
        copy_tree(&state, &copy);
        let copied = SledStore::open(&copy).unwrap();
        assert_eq!(copied.range(b"t\0").unwrap().len(), 40);
    }

    #[test]
    fn damage_anywhere_is_an_error_or_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let store = SledStore::create(&state).unwrap();
        for n in 1..=50 {
            store.put_if_rev(format!("t\0{n:03}").as_bytes(), None, sample(n, b"value")).unwrap();
        }
        drop(store);
        let whole = std::fs::read(state.join("db")).unwrap();
        for part in 0..24 {
            let bad = dir.path().join(format!("bad-{part}"));
            copy_tree(&state, &bad);
            let mut bytes = whole.clone();
            let at = part * bytes.len() / 24;
            for byte in bytes.iter_mut().skip(at).take(64) {
                *byte ^= 0xa5;
            }
            durable::replace(&bad.join("db"), &bytes, 0o600).unwrap();
            if let Ok(store) = SledStore::open(&bad) {
                assert_eq!(store.range(b"t\0").unwrap().len(), 50, "part {part}");
            }
        }
    }

    #[test]
    fn a_database_that_went_back_in_time_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (state, old) = (dir.path().join("state"), dir.path().join("old"));
        let store = SledStore::create(&state).unwrap();
        store.put_if_rev(b"grant", None, sample(1, b"holds")).unwrap();
        copy_tree(&state, &old);
        store.put_if_rev(b"grant", Some(Rev(1)), sample(2, b"revoked")).unwrap();
        drop(store);
        std::fs::copy(old.join("db"), state.join("db")).unwrap();
        let refused = SledStore::open(&state).unwrap_err();
        assert!(matches!(&refused, DbError::Damaged { why } if why.contains("revision 1, but 2")), "{refused}");
        SledStore::open(&old).unwrap();
    }

    #[test]
    fn opening_makes_no_database() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(SledStore::open(dir.path()), Err(DbError::Absent { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    fn start(dir: &Path, sync: Sync) -> SledStore {
        SledStore { sync, ..SledStore::create(dir).unwrap() }
    }

    fn sample(rev: u64, body: &[u8]) -> Record {
        let mut bytes = Record::header(0, Rev(rev));
        bytes.extend_from_slice(body);
        Record(bytes)
    }
}
