//! What is known of the wall clock over starts: by what it was gone by, and by how much it was set since, as long as nothing
//! has followed from that.

use serde::{Deserialize, Serialize};

use super::{Audit, AuditError};
use crate::clock::{Baseline, Clock};
use crate::db::{Batch, Db, DbError, Table};
use crate::model::Timestamp;

/// Under this key of its table it stands.
const KEPT: &str = "kept";

/// The wall clock, as it was known last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptClock {
    /// By what it was gone by.
    pub baseline: Option<Baseline>,
    /// By how many milliseconds it was set back since, with nothing shortened for it yet.
    pub back_ms: u64,
    /// By how many it was set forward, with no lock lengthened for it yet.
    pub forward_ms: u64,
}

impl KeptClock {
    /// The same once it was found as `now`; the newest leaf of the log was written `before`, and `wall` is the time.
    fn found(mut self, now: Option<Baseline>, before: Option<Timestamp>, wall: Timestamp) -> Self {
        let same_boot = self.baseline.as_ref().zip(now.as_ref()).filter(|(known, now)| known.boot == now.boot);
        let step = match same_boot {
            Some((known, now)) => known.step_to(now),
            // Nothing but the log tells of the time before another boot.
            None => before.map(|before| wall.until(before).as_millis()).and_then(|back| match i64::try_from(back) {
                Ok(0) => None,
                Ok(back) => Some(back.saturating_neg()),
                Err(_) => Some(i64::MIN),
            }),
        };
        match step {
            Some(step) if step < 0 => self.back_ms = self.back_ms.saturating_add(step.unsigned_abs()),
            Some(step) => self.forward_ms = self.forward_ms.saturating_add(step.unsigned_abs()),
            None => {}
        }
        // Else small steps would never add up.
        if step.is_some() || same_boot.is_none() {
            self.baseline = now;
        }
        self
    }

    /// Adds to a batch that this is what is known.
    ///
    /// # Errors
    /// The database fails.
    pub fn put_in(&self, db: &Db, batch: &mut Batch<'_>) -> Result<(), DbError> {
        let table = clocks(db);
        let rev = table.get(KEPT)?.map(|(rev, _)| rev);
        batch.put(&table, KEPT, rev, self)
    }
}

impl Audit {
    /// What was known of the wall clock when the log was opened, with what nothing has followed from yet.
    pub fn kept_clock(&self) -> &KeptClock {
        &self.clock_found
    }

    /// Looks at the clock before anything is written by it, and keeps what is found.
    pub(super) fn look_at_clock(db: &Db, clock: &Clock, before: Option<Timestamp>) -> Result<KeptClock, AuditError> {
        let table = clocks(db);
        let stored = table.get(KEPT).map_err(AuditError::Db)?;
        let (rev, known) = stored.map_or((None, KeptClock::default()), |(rev, kept)| (Some(rev), kept));
        let found = known.clone().found(clock.baseline(0), before, clock.wall());
        if found != known {
            match table.put(KEPT, rev, &found) {
                // A full disk must not keep the server from starting.
                Ok(_) | Err(DbError::NoRoom) => {}
                Err(error) => return Err(AuditError::Db(error)),
            }
        }
        Ok(found)
    }
}

fn clocks(db: &Db) -> Table<KeptClock> {
    db.table("clock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn baseline(boot: &str, offset_ms: i64) -> Option<Baseline> {
        Some(Baseline { boot: boot.to_owned(), offset_ms })
    }

    #[test]
    fn t15_what_was_set_between_starts_adds_up_until_something_follows_from_it() {
        let first = KeptClock::default().found(baseline("a", 1_000_000), None, at(1100));
        assert_eq!(first, KeptClock { baseline: baseline("a", 1_000_000), ..KeptClock::default() });
        // Set back by an hour; whoever opens the log next, and again, does not hide it, nor count it twice.
        let back = first.found(baseline("a", -2_600_000), Some(at(1100)), at(-2500));
        assert_eq!((back.back_ms, back.forward_ms), (3_600_000, 0));
        let again = back.clone().found(baseline("a", -2_600_000), Some(at(1100)), at(-2400));
        assert_eq!(again, back);
        let more = again.found(baseline("a", -2_610_000), Some(at(-2400)), at(-2410));
        assert_eq!(more.back_ms, 3_610_000);
        let forward = more.found(baseline("a", 0), None, at(200));
        assert_eq!((forward.back_ms, forward.forward_ms), (3_610_000, 2_610_000));
        // Four seconds, and four more.
        let small = forward.clone().found(baseline("a", -4_000), None, at(196));
        assert_eq!(small, forward);
        assert_eq!(small.found(baseline("a", -8_000), None, at(192)).back_ms, 3_618_000);
        // Over a boot the log tells.
        let other = forward.clone().found(baseline("b", 0), Some(at(300)), at(200));
        assert_eq!((other.back_ms, other.baseline.clone()), (3_710_000, baseline("b", 0)));
        assert_eq!(other.clone().found(baseline("b", 0), Some(at(300)), at(200)), other);
        assert_eq!(forward.clone().found(baseline("b", 0), Some(at(300)), at(400)).back_ms, forward.back_ms);
    }
}
