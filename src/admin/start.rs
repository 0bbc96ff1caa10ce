//! What is put on record when a set of rules comes into force, at the start of a server and later.

use std::collections::BTreeMap;

use tracing::error;

use super::{Admin, AdminError};
use crate::audit::AuditEvent;
use crate::model::SessionId;
use crate::policy::PolicySet;
use crate::seal::Recipients;
use crate::store::hex;

impl Admin {
    /// Before a server takes sessions: puts on record by which rules, for whom they are sealed, and whether the clock is
    /// in doubt, and finishes what a crash interrupted. Gives the changes of envelopes that cannot be finished.
    ///
    /// # Errors
    /// What is not on record; no session may begin then.
    pub fn begin(&self) -> Result<Vec<(SessionId, AdminError)>, AdminError> {
        self.check_clock();
        self.note_policy(&self.parts.ledger.policy(), String::from("in force at the start"))?;
        for (user, failure) in self.finish_offboardings()? {
            error!(user = %user, error = %failure, "An offboarding that was interrupted cannot be finished");
        }
        Ok(self.finish_rewraps())
    }

    /// Keeps a policy set, then puts on record that it is in force from now on.
    pub(super) fn note_policy(&self, set: &PolicySet, result: String) -> Result<(), AdminError> {
        self.parts.catalog.root().keep_policy(set).map_err(AdminError::Store)?;
        let event = AuditEvent::PolicyLoad { hash: set.hash().to_string(), result };
        self.parts.audit.append(&event).map_err(AdminError::NotRecorded)?;
        self.parts.audit.note_auditors(&self.auditors(set)).map_err(AdminError::NotRecorded)
    }

    /// For whom sessions are sealed: by the configuration, and by each rule that names auditors of its own.
    fn auditors(&self, set: &PolicySet) -> BTreeMap<String, String> {
        let of_config = (String::from("auditors"), &self.parts.config.recording.auditors);
        let of_rules = set.rules().map(|rule| (format!("auditors of rule {}", rule.id), &rule.recording.auditors));
        let named = std::iter::once(of_config).chain(of_rules);
        let digest = |auditors: &Vec<_>| Recipients::of(auditors.iter().cloned()).map(|all| hex(&all.digest()));
        named.filter_map(|(name, auditors)| Some((name, digest(auditors)?))).collect()
    }
}
