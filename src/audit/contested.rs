//! What others say that they have seen of this log and that is not in it, until an operator has answered for it.
//!
//! It is kept in the state, so that whoever put log and state back gains nothing by keeping the witness away from the
//! next start. What a witness says is not signed: one that lies can keep sessions from beginning until an operator says
//! that it lies, and can do no more than that.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::Audit;
use crate::db::{Db, DbError, Rev, Table};
use crate::model::Timestamp;
use crate::store::sha256_hex;
use crate::tlog::KeyName;

/// Keys in the log's table begin so; behind it stands a hash, for a witness's name can be long.
const PREFIX: &str = "contested/";

/// A witness has seen another history of this log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contest {
    /// The witness.
    pub witness: String,
    /// How much of the other history it has signed, in leaves.
    pub size: u64,
    /// What it has seen, in words.
    pub what: String,
    /// When it was noticed.
    pub since: Timestamp,
    /// The answer of an operator; none while there is none.
    pub accepted: Option<Accepted>,
}

/// An operator lets sessions begin in spite of what a witness has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// All that is known of it.
#[derive(Debug)]
pub(super) struct Contests {
    table: Table<Contest>,
    known: Mutex<BTreeMap<String, (Option<Rev>, Contest)>>,
}

impl Contests {
    /// # Errors
    /// What the database says.
    pub(super) fn open(db: &Db) -> Result<Self, DbError> {
        let table: Table<Contest> = db.table("audit-log");
        let stored = table.list(PREFIX)?;
        let known = stored.into_iter().map(|(key, rev, contest)| (key, (Some(rev), contest))).collect();
        Ok(Self { table, known: Mutex::new(known) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Option<Rev>, Contest)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// A witness has signed `size` leaves of another history. It is in force at once, whatever the error.
    ///
    /// # Errors
    /// It is not kept over a restart; the next call tries again.
    pub fn contest(&self, witness: &KeyName, size: u64, what: &str) -> Result<(), DbError> {
        let key = format!("{PREFIX}{}", sha256_hex(witness.as_str().as_bytes()));
        let mut known = self.contests.lock();
        let before = known.get(&key).cloned();
        let (rev, contest) = match before {
            // What an operator has answered for stays so, until the witness has seen more than that.
            Some((Some(_), kept)) if kept.accepted.is_none() || size <= kept.size => return Ok(()),
            Some((None, kept)) if size <= kept.size => (None, kept),
            before => {
                let (since, witness) = (self.clock.now(), witness.to_string());
                let what = what.to_owned();
                (before.and_then(|(rev, _)| rev), Contest { witness, size, what, since, accepted: None })
            }
        };
        known.insert(key.clone(), (rev, contest.clone()));
        let rev = self.contests.table.put(&key, rev, &contest)?;
        known.insert(key, (Some(rev), contest));
        Ok(())
    }

    /// What is contested and not answered for.
    pub fn contested(&self) -> Vec<Contest> {
        let known = self.contests.lock();
        known.values().map(|(_, contest)| contest).filter(|contest| contest.accepted.is_none()).cloned().collect()
    }

    /// Lets sessions begin in spite of all that is contested now; gives that. Whoever calls puts it on record first.
    ///
    /// # Errors
    /// What the database says: the rest is contested as before.
    pub fn accept_history(&self, by: &str, reason: &str) -> Result<Vec<Contest>, DbError> {
        let mut known = self.contests.lock();
        let mut accepted = Vec::new();
        for (key, (rev, contest)) in known.iter_mut().filter(|(_, (_, contest))| contest.accepted.is_none()) {
            let answer = Accepted { at: self.clock.now(), by: by.to_owned(), reason: reason.to_owned() };
            let answered = Contest { accepted: Some(answer), ..contest.clone() };
            *rev = Some(self.contests.table.put(key, *rev, &answered)?);
            *contest = answered.clone();
            accepted.push(answered);
        }
        Ok(accepted)
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::tests::Place;
    use crate::tlog::KeyName;

    #[test]
    fn what_is_contested_stays_so_over_restarts_until_it_is_answered_for() {
        let kept = Place::new();
        let witness = KeyName::parse("w.example/1").unwrap();
        let audit = kept.open();
        assert!(audit.contested().is_empty());
        audit.contest(&witness, 300, "it signed 300").unwrap();
        audit.contest(&witness, 300, "it signed 300").unwrap();
        drop(audit);
        let audit = kept.open();
        let contested = audit.contested();
        assert_eq!((contested.len(), contested[0].size, contested[0].witness.as_str()), (1, 300, "w.example/1"));
        let answered = audit.accept_history("uid 0", "the backup was old").unwrap();
        assert_eq!(answered[0].accepted.as_ref().unwrap().reason, "the backup was old");
        drop(audit);
        let audit = kept.open();
        // The witness says the same for ever; that is answered for.
        audit.contest(&witness, 300, "it signed 300").unwrap();
        assert!(audit.contested().is_empty());
        // It has seen more since: that is another matter.
        audit.contest(&witness, 301, "it signed 301").unwrap();
        assert_eq!(audit.contested()[0].size, 301);
        drop(audit);
        assert_eq!(kept.open().contested()[0].size, 301);
    }
}
