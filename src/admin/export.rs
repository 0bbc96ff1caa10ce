//! The state, sealed for others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::api::Reply;
use super::{Admin, AdminError, Caller, Via};
use crate::audit::AuditEvent;
use crate::auditor::Recipient;
use crate::backup;
use crate::seal::{RECIPIENTS_MAX, Recipients};
use crate::store::hex;

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
        // Nothing changes between the export and its leaf, so that the log tells of every change that it lacks.
        let _one_at_a_time = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let audit = &self.parts.audit;
        audit.publish().map_err(AdminError::NotRecorded)?;
        let sealed = backup::export(&self.parts.vault, &recipients, self.now()).map_err(AdminError::Backup)?;
        let event = AuditEvent::StateExport {
            hash: sealed.hash.clone(),
            recipients: hex(&recipients.digest()),
            by: caller.to_string(),
        };
        audit.append(&event).map_err(AdminError::NotRecorded)?;
        audit.publish().map_err(AdminError::NotRecorded)?;
        Ok(Reply::State {
            store: sealed.store,
            file: STANDARD.encode(&sealed.bytes),
            hash: sealed.hash,
            entries: sealed.entries,
            leaves: audit.size(),
            log_key: audit.key().to_string(),
        })
    }
}
