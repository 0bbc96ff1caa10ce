//! Sealing every value anew, under another master key.
//!
//! It goes in steps, each of which is durable and leaves a database in which every value tells by which key it is
//! sealed. Whatever step a crash comes after, the same call with the same two keys goes on from there; with one of the
//! two alone the database opens only before the first step or after the last.

use std::path::Path;

use super::key::MasterKey;
use super::sealed::{LAST_REV, Plain, Seal, full_key};
use super::sled::SledStore;
use super::{Change, Db, DbError, Identity, META, META_ID, Record, Rev, StateStore, shown};

/// So many values are sealed anew in one step.
const STEP_VALUES: usize = 256;

/// What is done to a value that is itself sealed under a key that follows from the master key: its table, its key, the
/// JSON.
pub type Inner<'a> = dyn Fn(&str, &str, Plain) -> Result<Plain, DbError> + 'a;

impl Db {
    /// Seals every value of the database in `dir` under `to` that is sealed under `from`; `inner` does so with what is
    /// sealed within a value. `progress` is told how many are done, of how many. Durable on return.
    ///
    /// # Errors
    /// As `open`; nothing was changed then. `NoRoom`, `Io`, `Engine`: call it again once that is mended.
    pub fn rotate(
        dir: &Path,
        store_id: &str,
        from: &MasterKey,
        to: &MasterKey,
        inner: &Inner<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), DbError> {
        rotate(&SledStore::open(dir)?, store_id, &Seal::of(from)?, &Seal::of(to)?, inner, progress)
    }
}

pub(super) fn rotate(
    store: &dyn StateStore,
    store_id: &str,
    from: &Seal,
    to: &Seal,
    inner: &Inner<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), DbError> {
    let records = store.range(b"")?;
    // All of it must open before any of it is changed.
    let mut last = check(&records, store_id, from, to)?;
    let counter = full_key(META, LAST_REV);
    let old = |(key, record): &(Vec<u8>, Record)| *key != counter && is_under(record, from);
    let todo: Vec<(Vec<u8>, Record)> = records.into_iter().filter(old).collect();
    let total = u64::try_from(todo.len()).unwrap_or(u64::MAX);
    let mut done = 0_u64;
    for step in todo.chunks(STEP_VALUES) {
        progress(done, total);
        if !store.has_room() {
            return Err(DbError::NoRoom);
        }
        let rev = Rev(last.0.checked_add(1).ok_or(DbError::Stopped)?);
        let mut changes = Vec::with_capacity(step.len().saturating_add(1));
        for (key, record) in step {
            let (expected, value) = from.open(key, record)?;
            let (table, name) = parts(key)?;
            let record = Some(to.seal(key, rev, inner(table, name, value)?)?);
            changes.push(Change { key: key.clone(), expected: Some(expected), record });
        }
        let record = Some(to.seal(&counter, rev, Plain::default())?);
        changes.push(Change { key: counter.clone(), expected: Some(last), record });
        store.apply(changes)?;
        last = rev;
        done = done.saturating_add(u64::try_from(step.len()).unwrap_or(u64::MAX));
    }
    progress(done, total);
    Ok(())
}

/// Opens every value once, each under its key, and gives the last revision.
fn check(records: &[(Vec<u8>, Record)], store_id: &str, from: &Seal, to: &Seal) -> Result<Rev, DbError> {
    if !records.iter().any(|(_, record)| is_under(record, from) || is_under(record, to)) && !records.is_empty() {
        return Err(DbError::WrongMasterKey);
    }
    let (counter, identity) = (full_key(META, LAST_REV), full_key(META, META_ID));
    let (mut largest, mut last, mut id) = (Rev(0), Rev(0), None);
    for (key, record) in records {
        let seal = if is_under(record, to) { to } else { from };
        let (rev, value) = seal.open(key, record)?;
        largest = largest.max(rev);
        if *key == counter {
            last = rev;
        } else if *key == identity {
            id = serde_json::from_slice::<Identity>(&value).ok();
        }
    }
    let expected = store_id.to_owned();
    match id {
        Some(Identity { id }) if id == store_id => {}
        Some(Identity { id: found }) => return Err(DbError::Foreign { expected, found }),
        None => return Err(DbError::Empty { expected }),
    }
    if largest > last {
        return Err(DbError::Altered { key: shown(&counter) });
    }
    Ok(last)
}

fn is_under(record: &Record, seal: &Seal) -> bool {
    record.parts().is_some_and(|(key_id, _, _)| key_id == seal.key_id)
}

/// The table and the key in a full key.
fn parts(full: &[u8]) -> Result<(&str, &str), DbError> {
    let text = std::str::from_utf8(full).ok().and_then(|text| text.split_once('\0'));
    text.ok_or_else(|| DbError::Altered { key: shown(full) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use zeroize::Zeroizing;

    use super::super::memory::MemoryStore;
    use super::super::{Table, check_expected};
    use super::*;

    /// Fails the step of that number: before it, or after it was done.
    #[derive(Debug)]
    struct Failing {
        store: Arc<MemoryStore>,
        left: AtomicUsize,
        after: bool,
    }

    impl StateStore for Failing {
        fn get(&self, key: &[u8]) -> Result<Option<Record>, DbError> {
            self.store.get(key)
        }
        fn range(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, DbError> {
            self.store.range(prefix)
        }
        fn apply(&self, changes: Vec<Change>) -> Result<(), DbError> {
            check_expected(&changes, |key| Ok(self.store.get(key)?.map(|record| record.rev())))?;
            if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
                return self.store.apply(changes);
            }
            if self.after {
                self.store.apply(changes)?;
            }
            Err(DbError::Stopped)
        }
        fn flush(&self) -> Result<(), DbError> {
            Ok(())
        }
    }

    const VALUES: usize = 2 * STEP_VALUES + 10;

    fn filled(master: &MasterKey) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore::default());
        let db = Db::found(Box::new(Arc::clone(&store)), "store", master.clone()).unwrap();
        let table: Table<String> = db.table("t");
        let mut batch = db.batch();
        for number in 0..VALUES {
            batch.put(&table, &format!("{number:05}"), None, &format!("value {number}")).unwrap();
        }
        batch.commit().unwrap();
        store
    }

    fn same(_: &str, _: &str, value: Plain) -> Result<Plain, DbError> {
        Ok(value)
    }

    #[track_caller]
    fn assert_whole(store: &Arc<MemoryStore>, master: &MasterKey) {
        let db = Db::adopt(Box::new(Arc::clone(store)), "store", master.clone()).unwrap();
        let table: Table<String> = db.table("t");
        let found = table.list("").unwrap();
        assert_eq!(found.len(), VALUES);
        assert!(found.iter().enumerate().all(|(number, (_, _, value))| *value == format!("value {number}")));
        table.put("new", None, &String::from("x")).unwrap();
    }

    #[test]
    fn wherever_it_stops_it_goes_on_and_no_value_is_lost() {
        for stop in 1..=4 {
            for after in [false, true] {
                let (old, new) = (MasterKey::random().unwrap(), MasterKey::random().unwrap());
                let store = filled(&old);
                let (from, to) = (Seal::of(&old).unwrap(), Seal::of(&new).unwrap());
                let failing = Failing { store: Arc::clone(&store), left: AtomicUsize::new(stop), after };
                let stopped = rotate(&failing, "store", &from, &to, &same, &mut |_, _| {});
                assert_eq!(stopped.is_err(), stop <= 3, "three steps");
                let open =
                    |master: &MasterKey| Db::adopt(Box::new(Arc::clone(&store)), "store", master.clone()).is_ok();
                assert_eq!(open(&old), stop == 1 && !after, "before step {stop}");
                assert_eq!(open(&new), stop > 3 || stop == 3 && after, "after step {stop}");
                let mut told = Vec::new();
                rotate(&*store, "store", &from, &to, &same, &mut |done, of| told.push((done, of))).unwrap();
                assert_eq!(told.last().map(|(done, of)| done == of), Some(true));
                assert!(!open(&old));
                assert_whole(&store, &new);
            }
        }
    }

    #[test]
    fn what_is_sealed_within_a_value_is_sealed_anew_with_it() {
        let (old, new) = (MasterKey::random().unwrap(), MasterKey::random().unwrap());
        let store = filled(&old);
        let inner = |table: &str, key: &str, value: Plain| {
            let twice = table == "t" && key == "00007";
            Ok(if twice { Zeroizing::new(b"\"another\"".to_vec()) } else { value })
        };
        let (from, to) = (Seal::of(&old).unwrap(), Seal::of(&new).unwrap());
        rotate(&*store, "store", &from, &to, &inner, &mut |_, _| {}).unwrap();
        let db = Db::adopt(Box::new(store), "store", new).unwrap();
        assert_eq!(db.table::<String>("t").get("00007").unwrap().unwrap().1, "another");
        assert_eq!(db.table::<String>("t").get("00008").unwrap().unwrap().1, "value 8");
    }

    #[test]
    fn a_database_that_does_not_open_whole_is_not_touched() {
        let (old, new, other) =
            (MasterKey::random().unwrap(), MasterKey::random().unwrap(), MasterKey::random().unwrap());
        let store = filled(&old);
        let before = store.range(b"").unwrap();
        let try_it = |from: &MasterKey, id: &str| {
            let (from, to) = (Seal::of(from).unwrap(), Seal::of(&new).unwrap());
            rotate(&*store, id, &from, &to, &same, &mut |_, _| {}).unwrap_err()
        };
        assert!(matches!(try_it(&other, "store"), DbError::WrongMasterKey));
        assert!(matches!(try_it(&old, "another store"), DbError::Foreign { .. }));
        assert_eq!(store.range(b"").unwrap(), before);
        let Record(mut bad) = store.get(&full_key("t", "00003")).unwrap().unwrap();
        *bad.last_mut().unwrap() ^= 1;
        let rev = Record(bad.clone()).rev();
        store.put_if_rev(&full_key("t", "00003"), Some(rev), Record(bad)).unwrap();
        assert!(matches!(try_it(&old, "store"), DbError::Altered { key } if key == "t/00003"));
        assert_eq!(store.range(b"").unwrap().len(), before.len());
        assert!(store.range(b"").unwrap().iter().all(|(_, record)| is_under(record, &Seal::of(&old).unwrap())));
    }
}
