//! The audit log, as the recorder sees it.

use std::sync::Arc;

use crate::audit::{Audit, AuditEvent};
use crate::model::{ChannelNumber, SessionId};
use crate::recorder::{Journal, LiveHead, LogFailure};
use crate::seal::Sealed;

/// Puts on record how recordings come along.
#[derive(Debug)]
pub struct AuditJournal {
    audit: Arc<Audit>,
}

impl AuditJournal {
    /// On that log.
    pub fn new(audit: Arc<Audit>) -> Self {
        Self { audit }
    }

    fn append(&self, event: &AuditEvent) -> Result<(), LogFailure> {
        match self.audit.append(event) {
            Ok(_) => Ok(()),
            Err(failure) => Err(Arc::new(failure)),
        }
    }
}

impl Journal for AuditJournal {
    fn segment_sealed(
        &self,
        _session: &SessionId,
        _channel: ChannelNumber,
        _sealed: &Sealed,
    ) -> Result<(), LogFailure> {
        Ok(())
    }

    fn heads(&self, _heads: &[LiveHead]) -> Result<(), LogFailure> {
        Ok(())
    }

    fn session_ended(&self, session: &SessionId, end: &str, _closed: &str) -> Result<(), LogFailure> {
        self.append(&AuditEvent::SessionEnd { session: session.clone(), cause: end.to_owned() })
    }
}
