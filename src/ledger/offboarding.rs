//! Users who leave for good.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, TEXT_BYTES_MAX, at_most};
use crate::audit::AuditEvent;
use crate::grant::Revoked;
use crate::model::{Destination, Timestamp, UserName};

/// What is ended of a user who leaves, as far as it is done: the receipt, in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offboarding {
    /// The user, by the name by which the human is known.
    pub user: UserName,
    /// All names of the human.
    pub names: BTreeSet<UserName>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it began: from then on it is finished, whatever happens.
    pub begun: Timestamp,
    /// Live sessions that were ended.
    pub sessions: u64,
    /// How many of them were closed, with their recordings, when it was done.
    #[serde(default)]
    pub closed: u64,
    /// Grants that were revoked.
    pub grants: u64,
    /// Access requests that were cancelled.
    pub requests: u64,
    /// The accounts that the user has used, by the recordings that there are: whose secrets they may know of.
    pub accounts: BTreeSet<Destination>,
    /// How many more there are that are not listed.
    pub accounts_more: u64,
    /// When all was done.
    pub done: Option<Timestamp>,
    /// The number of the leaf that tells it.
    pub leaf: Option<u64>,
    /// A checkpoint of the log that has this leaf, signed: with a proof for the leaf (`doorward audit prove`) it shows to
    /// whoever has the log's public key that the receipt is genuine.
    #[serde(default)]
    pub checkpoint: Option<String>,
}

impl Ledger {
    /// The offboarding of a user, if there was one: of the name by which the human is known.
    ///
    /// # Errors
    /// The database fails.
    pub fn offboarding(&self, user: &UserName) -> Result<Option<Offboarding>, LedgerError> {
        Ok(self.tables().offboardings.get(user.as_str())?.map(|(_, offboarding)| offboarding))
    }

    /// Those that are not done.
    ///
    /// # Errors
    /// The database fails.
    pub fn unfinished_offboardings(&self) -> Result<Vec<Offboarding>, LedgerError> {
        let stored = self.tables().offboardings.list("")?;
        Ok(stored.into_iter().map(|(_, _, one)| one).filter(|one| one.done.is_none()).collect())
    }

    /// Keeps an offboarding that begins, in the place of an earlier one; the log is owed that it does.
    ///
    /// # Errors
    /// `TooMuch`, or the database fails.
    pub fn begin_offboarding(&self, offboarding: &Offboarding, event: &AuditEvent) -> Result<(), LedgerError> {
        let tables = self.tables();
        at_most("bytes of a reason", offboarding.reason.len(), TEXT_BYTES_MAX)?;
        let name = offboarding.user.as_str();
        let known = tables.offboardings.get(name)?.map(|(rev, _)| rev);
        let owed = format!("offboard-{name}");
        let owed_before = tables.owed.get(&owed)?.map(|(rev, _)| rev);
        let mut batch = self.db.batch();
        batch.put(&tables.offboardings, name, known, offboarding)?;
        batch.put(&tables.owed, &owed, owed_before, event)?;
        batch.commit()?;
        Ok(())
    }

    /// Keeps how far an offboarding is.
    ///
    /// # Errors
    /// The database fails.
    pub fn set_offboarding(&self, offboarding: &Offboarding) -> Result<(), LedgerError> {
        let tables = self.tables();
        let known = tables.offboardings.get(offboarding.user.as_str())?.map(|(rev, _)| rev);
        tables.offboardings.put(offboarding.user.as_str(), known, offboarding)?;
        Ok(())
    }

    /// Forgets an offboarding that is not done: the user was let in again.
    ///
    /// # Errors
    /// The database fails.
    pub fn drop_unfinished_offboarding(&self, user: &UserName) -> Result<(), LedgerError> {
        let tables = self.tables();
        match tables.offboardings.get(user.as_str())? {
            Some((rev, Offboarding { done: None, .. })) => Ok(tables.offboardings.delete(user.as_str(), rev)?),
            Some(_) | None => Ok(()),
        }
    }

    /// Revokes every grant of a user that holds or will; says how many. Live sessions must be judged again after it, and
    /// the log be given what it is owed.
    ///
    /// # Errors
    /// The database fails; those before it are revoked.
    pub fn revoke_all_of(&self, user: &UserName, by: &Revoked) -> Result<usize, LedgerError> {
        self.revoke_where(by, |grant| grant.user == *user)
    }
}
