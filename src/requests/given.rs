//! Grants that operators give, and nobody asked for.

use super::{RequestError, Requests, added};
use crate::grant::Grant;
use crate::model::Timestamp;

impl Requests {
    /// Gives a grant that begins and ends by the time that it is told. It is in the log before it opens anything; a crash in
    /// between is made good by the next start.
    ///
    /// # Errors
    /// `RequestError` says why there is none.
    pub fn give(&self, grant: impl FnOnce(Timestamp) -> Grant) -> Result<Grant, RequestError> {
        let _one = self.one_at_a_time();
        // Read under the guard: a clock that is set back from here on takes this grant back with the others.
        let grant = grant(self.clock.now());
        self.ledger.prepare_grant(&grant)?;
        #[cfg(test)]
        super::tests::may_crash(self)?;
        if let Err(failure) = self.audit.append(&added(&grant)) {
            // Not in the log: it did not happen.
            self.ledger.abandon_grant(&grant.id)?;
            return Err(RequestError::NotRecorded(failure));
        }
        #[cfg(test)]
        super::tests::may_crash(self)?;
        self.ledger.finish_grant(&grant).map_err(|_| RequestError::Unsure)?;
        Ok(grant)
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
