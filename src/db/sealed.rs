//! Seals each value under the key of the database, bound to its table, its key and its revision.

use std::sync::Mutex;

use zeroize::Zeroizing;

use super::key::{MasterKey, SealingKey};
use super::{Change, DbError, KEY_BYTES_MAX, META, Record, Rev, StateStore, VALUE_BYTES_MAX, shown};

/// Under this key of `meta` stands an empty value that every commit writes again: its revision is the last one.
const LAST_REV: &str = "rev";

/// A state store whose values nobody reads or forges without the master key.
#[derive(Debug)]
pub(super) struct Sealed {
    store: Box<dyn StateStore>,
    key: SealingKey,
    key_id: u32,
    /// INVARIANT: the revision of `meta/rev`, which is the largest in the store; before the first commit it is the one
    /// to go on from, mostly 0.
    last: Mutex<Last>,
}

/// The last revision, and whether it is stored.
#[derive(Debug, Clone, Copy)]
struct Last {
    rev: Rev,
    stored: bool,
}

/// A value as it was before it was sealed; wiped when dropped.
type Plain = Zeroizing<Vec<u8>>;

/// Keys with what is stored under them.
pub(super) type Entries = Vec<(Vec<u8>, Record)>;

/// A change, before it is sealed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) table: &'static str,
    pub(super) key: String,
    pub(super) expected: Option<Rev>,
    /// JSON; `None` removes.
    pub(super) value: Option<Plain>,
}

impl Sealed {
    /// Opens every value once and finds the last revision.
    pub(super) fn open(store: Box<dyn StateStore>, master: &MasterKey) -> Result<Self, DbError> {
        let key = master.sealing_key("state database").map_err(DbError::Crypto)?;
        let key_id = master.id().map_err(DbError::Crypto)?;
        let none = Last { rev: Rev(0), stored: false };
        let mut sealed = Self { store, key, key_id, last: Mutex::new(none) };
        let records = sealed.store.range(b"")?;
        // With the wrong key nothing opens; say so before calling the first value damaged.
        let keyed = records.iter().filter_map(|(_, record)| record.parts());
        if !records.is_empty() && keyed.filter(|(id, _, _)| *id == key_id).count() == 0 {
            return Err(DbError::WrongMasterKey);
        }
        let mut largest = Rev(0);
        for (key, record) in &records {
            largest = largest.max(sealed.unseal(key, record)?.0);
        }
        let last = sealed.get(META, LAST_REV)?.map_or(none, |(rev, _)| Last { rev, stored: true });
        if largest > last.rev {
            return Err(DbError::Altered { key: format!("{META}/{LAST_REV}") });
        }
        sealed.last = Mutex::new(last);
        Ok(sealed)
    }

    /// Lets an empty store go on from a revision, so that no value of an earlier life of it is newer than a new one.
    pub(super) fn go_on_from(&mut self, rev: Rev) {
        if let Ok(last) = self.last.get_mut()
            && !last.stored
        {
            last.rev = rev;
        }
    }

    /// The last revision, and everything that is stored at it, in the order of keys, still sealed: no write comes in
    /// between. `unseal_entry` opens one.
    pub(super) fn snapshot(&self) -> Result<(Rev, Entries), DbError> {
        let Ok(last) = self.last.lock() else { return Err(DbError::Stopped) };
        Ok((last.rev, self.store.range(b"")?))
    }

    /// Opens one entry of a snapshot: its table, its key, its value.
    pub(super) fn unseal_entry(&self, full: &[u8], record: &Record) -> Result<(String, String, Plain), DbError> {
        let altered = || DbError::Altered { key: shown(full) };
        let (_, value) = self.unseal(full, record)?;
        let text = std::str::from_utf8(full).map_err(|_| altered())?;
        let (table, key) = text.split_once('\0').ok_or_else(altered)?;
        Ok((table.to_owned(), key.to_owned(), value))
    }

    pub(super) fn has_room(&self) -> bool {
        self.store.has_room()
    }

    pub(super) fn get(&self, table: &str, key: &str) -> Result<Option<(Rev, Plain)>, DbError> {
        let key = full_key(table, key);
        self.store.get(&key)?.map(|record| self.unseal(&key, &record)).transpose()
    }

    pub(super) fn list(&self, table: &str, prefix: &str) -> Result<Vec<(String, Rev, Plain)>, DbError> {
        let table_bytes = table.len() + 1;
        let mut found = Vec::new();
        for (full, record) in self.store.range(&full_key(table, prefix))? {
            let (rev, value) = self.unseal(&full, &record)?;
            let key = full.get(table_bytes..).and_then(|key| String::from_utf8(key.to_vec()).ok());
            found.push((key.ok_or_else(|| DbError::Altered { key: shown(&full) })?, rev, value));
        }
        Ok(found)
    }

    /// Seals and applies all changes under one new revision.
    pub(super) fn commit(&self, changes: Vec<Pending>) -> Result<Rev, DbError> {
        let Ok(mut last) = self.last.lock() else { return Err(DbError::Stopped) };
        let rev = Rev(last.rev.0.checked_add(1).ok_or(DbError::Stopped)?);
        let mut sealed = Vec::with_capacity(changes.len() + 1);
        for Pending { table, key, expected, value } in changes {
            let key = full_key(table, &key);
            let record = value.map(|value| self.seal(&key, rev, value)).transpose()?;
            sealed.push(Change { key, expected, record });
        }
        let counter = full_key(META, LAST_REV);
        let record = Some(self.seal(&counter, rev, Zeroizing::default())?);
        sealed.push(Change { key: counter, expected: last.stored.then_some(last.rev), record });
        self.store.apply(sealed)?;
        *last = Last { rev, stored: true };
        Ok(rev)
    }

    fn seal(&self, key: &[u8], rev: Rev, value: Plain) -> Result<Record, DbError> {
        let mut bytes = Record::header(self.key_id, rev);
        self.key.seal(&bound(key, rev), value, &mut bytes).map_err(DbError::Crypto)?;
        if bytes.len() > VALUE_BYTES_MAX || key.len() > KEY_BYTES_MAX {
            return Err(DbError::TooLarge { key: shown(key), bytes: bytes.len() });
        }
        Ok(Record(bytes))
    }

    fn unseal(&self, key: &[u8], record: &Record) -> Result<(Rev, Plain), DbError> {
        let altered = || DbError::Altered { key: shown(key) };
        let (key_id, rev, body) = record.parts().ok_or_else(altered)?;
        if key_id != self.key_id {
            return Err(altered());
        }
        Ok((rev, self.key.open(&bound(key, rev), body).ok_or_else(altered)?))
    }
}

/// `table || 0 || key`. Tables are constants without a zero byte, so two pairs never meet.
fn full_key(table: &str, key: &str) -> Vec<u8> {
    [table.as_bytes(), b"\0", key.as_bytes()].concat()
}

/// What a value is bound to: `table || 0 || key || ver || rev`.
fn bound(key: &[u8], rev: Rev) -> Vec<u8> {
    [key, &[Record::VERSION], &rev.0.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_value_copied_to_another_key_is_refused() {
        let (store, sealed) = open();
        put(&sealed, "root@db1", b"one");
        let record = store.get(&full_key("t", "root@db1")).unwrap().unwrap();
        store.put_if_rev(&full_key("t", "root@db2"), None, record.clone()).unwrap();
        store.put_if_rev(&full_key("u", "root@db1"), None, record).unwrap();
        assert!(matches!(sealed.get("t", "root@db2"), Err(DbError::Altered { key }) if key == "t/root@db2"));
        assert!(sealed.get("u", "root@db1").is_err());
        assert_eq!(sealed.get("t", "root@db1").unwrap().unwrap().1.as_slice(), b"one");
    }

    #[test]
    fn an_older_value_under_a_newer_revision_is_refused() {
        let (store, sealed) = open();
        let key = full_key("t", "k");
        let old = put(&sealed, "k", b"old");
        let record = store.get(&key).unwrap().unwrap();
        let new = sealed.commit(vec![pending("k", Some(old), b"new")]).unwrap();
        let mut forged = Record::header(sealed.key_id, Rev(new.0 + 1));
        forged.extend_from_slice(record.parts().unwrap().2);
        store.put_if_rev(&key, Some(new), Record(forged)).unwrap();
        assert!(matches!(sealed.get("t", "k"), Err(DbError::Altered { .. })));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (store, sealed) = open();
        let key = full_key("t", "k");
        put(&sealed, "k", b"value");
        let Record(good) = store.get(&key).unwrap().unwrap();
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            let opened = Record::parse(&bad).ok_or(()).and_then(|bad| sealed.unseal(&key, &bad).map_err(|_| ()));
            // The version byte is read by `parse`; any other is bound or sealed.
            assert!(opened.is_err(), "bit {at}");
        }
    }

    #[test]
    fn values_are_not_readable_in_the_store() {
        let (store, sealed) = open();
        put(&sealed, "k", b"canary-value");
        for (_, Record(bytes)) in store.range(b"").unwrap() {
            assert!(!bytes.windows(6).any(|window| window == b"canary"));
        }
    }

    #[test]
    fn a_value_newer_than_the_last_revision_is_refused_at_open() {
        let master = MasterKey::random().unwrap();
        let store = Arc::new(MemoryStore::default());
        let sealed = Sealed::open(Box::new(Arc::clone(&store)), &master).unwrap();
        let counter = full_key(META, LAST_REV);
        put(&sealed, "k", b"one");
        let early = store.get(&counter).unwrap().unwrap();
        let last = put(&sealed, "l", b"two");
        store.put_if_rev(&counter, Some(last), early).unwrap();
        assert!(matches!(Sealed::open(Box::new(store), &master), Err(DbError::Altered { key }) if key == "meta/rev"));
    }

    #[test]
    fn revisions_grow_over_deletes_and_restarts() {
        let master = MasterKey::random().unwrap();
        let store = Arc::new(MemoryStore::default());
        let sealed = Sealed::open(Box::new(Arc::clone(&store)), &master).unwrap();
        let one = put(&sealed, "k", b"one");
        let gone = Pending { table: "t", key: "k".into(), expected: Some(one), value: None };
        let two = sealed.commit(vec![gone]).unwrap();
        let again = Sealed::open(Box::new(store), &master).unwrap();
        assert!(one < two && two < put(&again, "k", b"three"));
    }

    fn open() -> (Arc<MemoryStore>, Sealed) {
        let store = Arc::new(MemoryStore::default());
        let sealed = Sealed::open(Box::new(Arc::clone(&store)), &MasterKey::random().unwrap()).unwrap();
        (store, sealed)
    }

    fn put(sealed: &Sealed, key: &str, value: &[u8]) -> Rev {
        sealed.commit(vec![pending(key, None, value)]).unwrap()
    }

    fn pending(key: &str, expected: Option<Rev>, value: &[u8]) -> Pending {
        Pending { table: "t", key: key.into(), expected, value: Some(Zeroizing::new(value.to_vec())) }
    }

    impl StateStore for Arc<MemoryStore> {
        fn get(&self, key: &[u8]) -> Result<Option<Record>, DbError> {
            self.as_ref().get(key)
        }
        fn range(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, DbError> {
            self.as_ref().range(prefix)
        }
        fn apply(&self, changes: Vec<Change>) -> Result<(), DbError> {
            self.as_ref().apply(changes)
        }
        fn flush(&self) -> Result<(), DbError> {
            self.as_ref().flush()
        }
    }
}
