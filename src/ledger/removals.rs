//! Recordings that must be kept, and recordings that are on their way out.

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, TEXT_BYTES_MAX, at_most};
use crate::model::{SessionId, Timestamp};

/// Why a recording must be kept, whatever its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Timestamp,
}

/// A removal of recordings that is about to come into the log, or is there and not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// What is destroyed.
    pub kind: RemovalKind,
    /// Whose; at most 256, so that they fit a value.
    pub sessions: Vec<SessionId>,
    /// Its leaf has this number or a later one.
    pub from: u64,
}

/// What a removal destroys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemovalKind {
    /// The keys.
    Erase,
    /// The recordings.
    Gc,
}

impl Ledger {
    // Holds.

    /// The hold on a recording, if there is one.
    pub fn held(&self, session: &SessionId) -> Option<Hold> {
        self.state().holds.get(session).map(|(_, hold)| hold.clone())
    }

    /// Holds a recording; an earlier hold on it stays as it is.
    ///
    /// # Errors
    /// `TooMuch`, or the database fails.
    pub fn hold(&self, session: &SessionId, hold: Hold) -> Result<(), LedgerError> {
        let tables = self.tables();
        at_most("bytes of a reason", hold.reason.len(), TEXT_BYTES_MAX)?;
        if self.held(session).is_none() {
            let rev = tables.holds.put(session.as_str(), None, &hold)?;
            self.change(|state| drop(state.holds.insert(session.clone(), (rev, hold))));
        }
        Ok(())
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// `Unknown`, or the database fails.
    pub fn release(&self, session: &SessionId) -> Result<(), LedgerError> {
        let tables = self.tables();
        let known = self.state().holds.get(session).map(|(rev, _)| *rev);
        let rev = known.ok_or_else(|| LedgerError::Unknown { kind: "hold", name: session.to_string() })?;
        tables.holds.delete(session.as_str(), rev)?;
        self.change(|state| drop(state.holds.remove(session)));
        Ok(())
    }

    // Removals.

    /// Removals that are not finished, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn removals(&self) -> Result<Vec<(String, Removal)>, LedgerError> {
        let listed = self.tables().removals.list("")?;
        Ok(listed.into_iter().map(|(name, _, removal)| (name, removal)).collect())
    }

    /// Keeps a removal until it is finished; gives its name. Durable on return.
    ///
    /// # Errors
    /// The database fails.
    pub fn begin_removal(&self, removal: &Removal) -> Result<String, LedgerError> {
        let tables = self.tables();
        let first = removal.sessions.first().map(SessionId::as_str).unwrap_or_default();
        // One that failed for the same sessions was for another leaf.
        let name = format!("{:020}/{first}", removal.from);
        let rev = tables.removals.get(&name)?.map(|(rev, _)| rev);
        tables.removals.put(&name, rev, removal)?;
        Ok(name)
    }

    /// Forgets a removal.
    ///
    /// # Errors
    /// The database fails.
    pub fn end_removal(&self, name: &str) -> Result<(), LedgerError> {
        let tables = self.tables();
        if let Some((rev, _)) = tables.removals.get(name)? {
            tables.removals.delete(name, rev)?;
        }
        Ok(())
    }
}
