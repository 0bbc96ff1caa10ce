//! A leap of the wall clock that nothing has borne out yet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Audit, AuditError};
use crate::db::{Db, DbError, Table};
use crate::model::Timestamp;

/// A log may have nothing to put on record for so long; a clock that shows more has leapt.
pub const QUIET_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Under this key of its table it stands.
const LEAP: &str = "leap";

/// The wall clock was found far ahead of all that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leap {
    /// The newest time on record before it.
    pub known: Timestamp,
    /// Whether it is on record.
    pub told: bool,
}

impl Audit {
    /// The leap that is not settled, if there is one.
    ///
    /// # Errors
    /// `Db`.
    pub fn leap(&self) -> Result<Option<Leap>, AuditError> {
        let stored = leaps(&self.db).get(LEAP).map_err(AuditError::Db)?;
        Ok(stored.map(|(_, leap)| leap))
    }

    /// Keeps a leap over starts, or forgets it. Durable on return.
    ///
    /// # Errors
    /// `Db`.
    pub fn set_leap(&self, leap: Option<Leap>) -> Result<(), AuditError> {
        let leaps = leaps(&self.db);
        let before = leaps.get(LEAP).map_err(AuditError::Db)?;
        let done = match (leap, before) {
            (Some(leap), Some((_, before))) if leap == before => Ok(()),
            (Some(leap), before) => leaps.put(LEAP, before.map(|(rev, _)| rev), &leap).map(drop),
            (None, Some((rev, _))) => leaps.delete(LEAP, rev),
            (None, None) => Ok(()),
        };
        done.map_err(AuditError::Db)
    }

    /// Notes at once that the clock leapt before the log was opened: each leaf from now on is dated by it.
    pub(super) fn note_leap(&self) -> Result<(), AuditError> {
        let now = self.clock.now();
        let Some(known) = self.before.filter(|before| now > before.plus(QUIET_MAX)) else { return Ok(()) };
        if self.leap()?.is_some() {
            return Ok(());
        }
        match self.set_leap(Some(Leap { known, told: false })) {
            // A full disk must not keep the server from starting.
            Err(AuditError::Db(DbError::NoRoom)) => Ok(()),
            kept => kept,
        }
    }
}

fn leaps(db: &Db) -> Table<Leap> {
    db.table("clock")
}
