//! How many sessions have begun on a grant that is for so many of them.
//!
//! A session is counted before anything of it is opened, and has begun once its `session.start` is in the log. What stands
//! between the two is noted with the count, so that a crash there costs nobody a session: the next start looks in the log,
//! and takes back what is not there (`Requests::open`). What it cannot look up stays counted.

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::grant::Grant;
use crate::model::{GrantId, SessionId};

/// A session that is counted, and of which nothing may be in the log yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// On which grant.
    pub grant: GrantId,
    /// Its leaf has this number or a later one.
    pub from: u64,
}

impl Ledger {
    /// Counts a session that is about to begin on a grant that is for so many; of others nothing is counted. `from` is a
    /// number that the leaf of its start cannot be below.
    ///
    /// # Errors
    /// `Spent` if as many have begun as may; `Unknown`; the database fails.
    pub fn begin_on(&self, id: &GrantId, session: &SessionId, from: u64) -> Result<(), LedgerError> {
        self.count_on(id, one_more, Some((session, Noted::From(from))))
    }

    /// Counts a session that has begun by another right, and goes on by this grant too.
    ///
    /// # Errors
    /// As `begin_on`.
    pub fn joins(&self, id: &GrantId) -> Result<(), LedgerError> {
        self.count_on(id, one_more, None)
    }

    /// Takes a session back: it did not begin.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn not_begun_on(&self, id: &GrantId, session: &SessionId) -> Result<(), LedgerError> {
        self.count_on(id, |grant| Ok(grant.begun.saturating_sub(1)), Some((session, Noted::NoMore)))
    }

    /// Notes that a session's start is in the log: it counts for good.
    ///
    /// # Errors
    /// The database fails; the next start finds the same in the log.
    pub fn has_begun(&self, session: &SessionId) -> Result<(), LedgerError> {
        let tables = self.tables();
        self.db.check_room()?;
        if let Some((rev, _)) = tables.beginnings.get(session.as_str())? {
            tables.beginnings.delete(session.as_str(), rev)?;
        }
        Ok(())
    }

    /// The sessions that are counted, and of which nothing may be in the log.
    ///
    /// # Errors
    /// The database fails.
    pub fn beginnings(&self) -> Result<Vec<(SessionId, Beginning)>, LedgerError> {
        let stored = self.tables().beginnings.list("")?;
        // The key was an id when it was stored.
        let known = |name: &str| SessionId::parse(name).ok();
        Ok(stored.into_iter().filter_map(|(name, _, beginning)| Some((known(&name)?, beginning))).collect())
    }

    fn count_on(
        &self,
        id: &GrantId,
        count: impl FnOnce(&Grant) -> Result<u32, LedgerError>,
        noted: Option<(&SessionId, Noted)>,
    ) -> Result<(), LedgerError> {
        let tables = self.tables();
        let known = self.state().grants.get(id).cloned();
        let (rev, mut grant) = known.ok_or_else(|| LedgerError::Unknown { kind: "grant", name: id.to_string() })?;
        if grant.sessions.is_none() {
            return Ok(());
        }
        let before = match noted {
            Some((session, _)) => tables.beginnings.get(session.as_str())?.map(|(rev, _)| rev),
            None => None,
        };
        // It is taken back once, whoever else says so, and not once it has begun.
        if let (Some((_, Noted::NoMore)), None) = (&noted, before) {
            return Ok(());
        }
        grant.begun = count(&grant)?;
        // Users bring this about, and can be refused: a write that fails stops the database.
        self.db.check_room()?;
        // Both or neither: a count without its note would be lost by a crash, a note without its count found twice.
        let mut batch = self.db.batch();
        batch.put(&tables.grants, id.as_str(), Some(rev), &grant)?;
        match (noted, before) {
            (Some((session, Noted::From(from))), before) => {
                batch.put(&tables.beginnings, session.as_str(), before, &Beginning { grant: id.clone(), from })?;
            }
            (Some((session, Noted::NoMore)), Some(rev)) => batch.delete(&tables.beginnings, session.as_str(), rev),
            (Some((_, Noted::NoMore)) | None, _) => {}
        }
        let rev = batch.commit()?;
        self.change(|state| state.set_grant(rev, grant));
        Ok(())
    }
}

/// What is noted of a session with its count.
enum Noted {
    From(u64),
    NoMore,
}

fn one_more(grant: &Grant) -> Result<u32, LedgerError> {
    match grant.is_spent() {
        true => Err(LedgerError::Spent { grant: grant.id.clone() }),
        false => Ok(grant.begun.saturating_add(1)),
    }
}
