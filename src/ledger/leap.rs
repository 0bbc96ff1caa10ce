//! A leap of the wall clock that nothing has borne out yet.

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::model::Timestamp;

/// Under this key of its table it stands.
const LEAP: &str = "leap";

/// The wall clock was found far ahead of all that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leap {
    /// The newest time on record before it.
    pub known: Timestamp,
}

impl Ledger {
    /// The leap that is not settled, if there is one.
    ///
    /// # Errors
    /// The database fails.
    pub fn leap(&self) -> Result<Option<Leap>, LedgerError> {
        Ok(self.tables().leaps.get(LEAP)?.map(|(_, leap)| leap))
    }

    /// Keeps a leap over starts, or forgets it. Durable on return.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_leap(&self, leap: Option<Leap>) -> Result<(), LedgerError> {
        let tables = self.tables();
        let before = tables.leaps.get(LEAP)?;
        match (leap, before) {
            (Some(leap), Some((_, before))) if leap == before => {}
            (Some(leap), before) => drop(tables.leaps.put(LEAP, before.map(|(rev, _)| rev), &leap)?),
            (None, Some((rev, _))) => tables.leaps.delete(LEAP, rev)?,
            (None, None) => {}
        }
        Ok(())
    }
}
