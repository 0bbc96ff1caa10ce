//! The state, sealed for others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::api::Reply;
use super::{Admin, AdminError, Caller, Via};
use crate::audit::AuditEvent;
use crate::auditor::Recipient;
use crate::backup::{self, SealedState};
use crate::seal::{RECIPIENTS_MAX, Recipients};
use crate::store::hex;

/// A sealed state, and the log that has its hash.
pub(super) struct Exported {
    pub(super) state: SealedState,
    /// How many leaves the log had then.
    pub(super) leaves: u64,
    /// The log's journal at that size.
    pub(super) journal: Vec<u8>,
}

impl Admin {
    /// Seals the whole state. The log has the file's hash, under a checkpoint, before anybody has the file.
    pub(super) fn state_export(&self, caller: Caller, recipients: Vec<Recipient>) -> Result<Reply, AdminError> {
        // An operator gives rights, and the log tells of each; whoever has this file needs none.
        let own = rustix::process::geteuid().as_raw();
        if caller.via == Via::Socket && caller.uid != 0 && caller.uid != own {
            return Err(AdminError::NotOwner { uid: caller.uid });
        }
        let recipients = Recipients::of(recipients).ok_or_else(|| AdminError::Invalid {
            why: format!("an export is sealed for 1 to {RECIPIENTS_MAX} recipients"),
            hint: "give each with --recipient age1...",
        })?;
        let Exported { state, leaves, journal } = self.seal_state(&caller.to_string(), &recipients)?;
        Ok(Reply::State {
            journal: STANDARD.encode(journal),
            store: state.store,
            file: STANDARD.encode(&state.bytes),
            hash: state.hash,
            entries: state.entries,
            leaves,
            log_key: self.parts.audit.key().to_string(),
        })
    }

    /// The export and its leaf, which names `by`.
    pub(super) fn seal_state(&self, by: &str, recipients: &Recipients) -> Result<Exported, AdminError> {
        // Nothing changes between the export and its leaf, so that the log tells of every change that it lacks.
        let _one_at_a_time = self.one_at_a_time();
        let audit = &self.parts.audit;
        audit.publish().map_err(AdminError::NotRecorded)?;
        let state = backup::export(&self.parts.vault, recipients, self.now()).map_err(AdminError::Backup)?;
        let (hash, recipients) = (state.hash.clone(), hex(&recipients.digest()));
        let event = AuditEvent::StateExport { hash, recipients, by: by.to_owned() };
        audit.append(&event).map_err(AdminError::NotRecorded)?;
        audit.publish().map_err(AdminError::NotRecorded)?;
        let leaves = audit.size();
        let journal = audit.journal_at(leaves).map_err(AdminError::Audit)?;
        Ok(Exported { state, leaves, journal })
    }
}
