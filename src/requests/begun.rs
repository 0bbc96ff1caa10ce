//! What a crash leaves of sessions that were counted on a grant.

use std::collections::BTreeSet;

use tracing::warn;

use super::Requests;
use crate::audit::AuditError;
use crate::ledger::LedgerError;

impl Requests {
    /// Takes back the sessions that were counted and never began. What cannot be found out, or noted, stays counted, and
    /// the next start looks again: that nobody has one session too many comes first.
    pub(super) fn settle_beginnings(&self) {
        let noted = match self.ledger.beginnings() {
            Ok(noted) => noted,
            Err(failure) => return warn!(error = %failure, "Which sessions never began is not known"),
        };
        let Some(from) = noted.iter().map(|(_, beginning)| beginning.from).min() else { return };
        let begun = match self.begun_since(from) {
            Ok(begun) => begun,
            Err(failure) => return warn!(error = %failure, "Which sessions never began is not known"),
        };
        for (session, beginning) in noted {
            let settled = match begun.contains(session.as_str()) {
                true => self.ledger.has_begun(&session),
                false => self.ledger.not_begun_on(&beginning.grant, &session),
            };
            // A grant that is gone counts nothing.
            let settled = match settled {
                Err(LedgerError::Unknown { .. }) => self.ledger.has_begun(&session),
                settled => settled,
            };
            if let Err(failure) = settled {
                warn!(session = %session, error = %failure, "A session that never began counts as one of its grant's");
            }
        }
    }

    /// The sessions whose start is in the log, from this leaf on.
    fn begun_since(&self, from: u64) -> Result<BTreeSet<String>, AuditError> {
        // What is written and not published yet is on record, too.
        self.audit.publish()?;
        let mut begun = BTreeSet::new();
        for record in self.audit.records(from.min(self.audit.size())) {
            let record = record?;
            if record.kind == "session.start" {
                begun.extend(record.text("session").map(str::to_owned));
            }
        }
        Ok(begun)
    }
}
