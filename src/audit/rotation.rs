//! For whom sessions are sealed: a change of that is on record before the first session that it concerns.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Audit, AuditError, AuditEvent};
use crate::db::Table;

/// What stands in the place of a digest where nobody is named any more.
const NOBODY: &str = "none";

/// A digest as it was on record last, under what it is of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    digest: String,
}

impl Audit {
    /// Puts on record which of these digests are others than the last time, each with the one before; `present` has
    /// them by what they are of, such as `auditors` or `auditors of rule dba`. Nothing, if all are the same.
    ///
    /// The leaves are published before it is noted that they are there: a crash between makes them come twice.
    ///
    /// # Errors
    /// What is not on record must not be used.
    pub fn note_auditors(&self, present: &BTreeMap<String, String>) -> Result<(), AuditError> {
        let table: Table<Noted> = self.db.table("auditors");
        let noted = table.list("").map_err(AuditError::Db)?;
        let noted: BTreeMap<_, _> = noted.into_iter().map(|(name, rev, value)| (name, (rev, value.digest))).collect();
        let names: BTreeSet<&String> = present.keys().chain(noted.keys()).collect();
        let changed = names.into_iter().filter(|name| present.get(*name) != noted.get(*name).map(|(_, digest)| digest));
        let changed: Vec<&String> = changed.collect();
        for name in &changed {
            self.append(&AuditEvent::KeyRotate {
                rotated: (*name).clone(),
                public: present.get(*name).cloned().unwrap_or_else(|| NOBODY.to_owned()),
                previous: noted.get(*name).map(|(_, digest)| digest.clone()),
            })?;
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.publish()?;
        let mut batch = self.db.batch();
        for name in changed {
            let rev = noted.get(name).map(|(rev, _)| *rev);
            match (present.get(name), rev) {
                (Some(digest), rev) => {
                    batch.put(&table, name, rev, &Noted { digest: digest.clone() }).map_err(AuditError::Db)?;
                }
                (None, Some(rev)) => batch.delete(&table, name, rev),
                (None, None) => {}
            }
        }
        batch.commit().map(drop).map_err(AuditError::Db)
    }
}
