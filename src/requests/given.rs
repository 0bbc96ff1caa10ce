//! Grants that operators give, and nobody asked for.

use super::{RequestError, Requests, added};
use crate::grant::Grant;

impl Requests {
    /// Gives a grant. It is in the log before it opens anything; a crash in between is made good by the next start.
    ///
    /// # Errors
    /// `RequestError` says why there is none.
    pub fn give(&self, grant: &Grant) -> Result<(), RequestError> {
        let _one = self.one_at_a_time();
        self.ledger.prepare_grant(grant)?;
        #[cfg(test)]
        super::tests::may_crash(self)?;
        if let Err(failure) = self.audit.append(&added(grant)) {
            // Not in the log: it did not happen.
            self.ledger.abandon_grant(&grant.id)?;
            return Err(RequestError::NotRecorded(failure));
        }
        #[cfg(test)]
        super::tests::may_crash(self)?;
        self.ledger.finish_grant(grant).map_err(|_| RequestError::Unsure)
    }

    /// Finishes what a crash interrupted.
    pub(super) fn finish_given(&self) -> Result<(), RequestError> {
        for grant in self.ledger.unfinished_grants()? {
            // It may be in the log already: a second leaf of the same grant says the same.
            self.audit.append(&added(&grant)).map_err(RequestError::NotRecorded)?;
            self.ledger.finish_grant(&grant)?;
        }
        Ok(())
    }
}
