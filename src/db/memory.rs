//! A state store that lasts as long as the process, for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Change, DbError, Record, StateStore, check_expected};

/// Keys and records in memory.
#[derive(Debug, Default)]
pub(super) struct MemoryStore(Mutex<BTreeMap<Vec<u8>, Record>>);

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Record>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Record>, DbError> {
        Ok(self.records().get(key).cloned())
    }

    fn range(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Record)>, DbError> {
        let records = self.records();
        let found = records.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, record)| (key.clone(), record.clone())).collect())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), DbError> {
        let mut records = self.records();
        check_expected(&changes, |key| Ok(records.get(key).map(Record::rev)))?;
        for Change { key, record, .. } in changes {
            match record {
                Some(record) => records.insert(key, record),
                None => records.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DbError> {
        Ok(())
    }
}
