//! Putting envelopes in place that auditors have made anew. The bastion cannot open one; what it checks instead is in
//! `store::Rewrap::check`.

use super::api::Reply;
use super::{Admin, AdminError, Caller, done};
use crate::audit::AuditEvent;
use crate::model::{SessionId, join};
use crate::seal::{OpenerProof, Recipients};
use crate::store::{Rewrap, RewrapError, Rewrapped, hex, sha256_hex};

impl Admin {
    /// Puts a new envelope in the place of the present one, which is kept.
    ///
    /// That it is done is on record, under a checkpoint, before it is done; what a crash interrupts then, the next
    /// start finishes.
    pub(super) fn recording_rewrap(&self, caller: Caller, rewrap: &Rewrap) -> Result<Reply, AdminError> {
        let session = &rewrap.session;
        self.check_changeable(session)?;
        let root = self.parts.catalog.root();
        if root.has_staged_rewrap(session) {
            self.finish_rewrap(session)?;
        }
        let record = rewrap.check(root).map_err(AdminError::Rewrap)?;
        root.stage_rewrap(rewrap, &record).map_err(AdminError::Rewrap)?;
        if let Err(error) = self.record_rewrap(&record, caller.to_string()) {
            // What stays staged is finished by the next start: it was asked for by one who may.
            if let Err(failure) = root.unstage_rewrap(&record) {
                tracing::warn!(session = %session, error = %failure, "A change of an envelope cannot be taken back");
            }
            return Err(error);
        }
        root.finish_rewrap(&record).map_err(AdminError::Rewrap)?;
        let to = join(&record.recipients);
        Ok(done(format!("recording `{session}` is sealed for {to}; the earlier envelope is kept"), Vec::new()))
    }

    /// Destroys the earlier envelopes of a recording, now that somebody has opened the present one.
    pub(super) fn recording_drop_earlier(
        &self,
        caller: Caller,
        session: &SessionId,
        envelope: &str,
        proof: &OpenerProof,
    ) -> Result<Reply, AdminError> {
        self.check_changeable(session)?;
        let root = self.parts.catalog.root();
        if root.has_staged_rewrap(session) {
            self.finish_rewrap(session)?;
        }
        root.check_opened(session, envelope, proof).map_err(AdminError::Rewrap)?;
        if root.earlier_envelopes(session).is_empty() {
            return Ok(done(format!("recording `{session}` has no earlier envelope"), Vec::new()));
        }
        let (session, by) = (session.clone(), caller.to_string());
        let event = AuditEvent::EnvelopeDrop { session: session.clone(), envelope: envelope.to_owned(), by };
        self.append(&event)?;
        let count = root.drop_earlier(&session).map_err(AdminError::Rewrap)?;
        let many = crate::screen::plural(count, "envelope");
        Ok(done(format!("recording `{session}`: {count} earlier {many} destroyed"), Vec::new()))
    }

    /// Finishes changes of envelopes that a crash has interrupted; what cannot be finished stays as it is, and is told.
    pub fn finish_rewraps(&self) -> Vec<(SessionId, AdminError)> {
        let staged = self.parts.catalog.root().staged_rewraps().into_iter();
        staged.filter_map(|session| self.finish_rewrap(&session).err().map(|error| (session, error))).collect()
    }

    fn finish_rewrap(&self, session: &SessionId) -> Result<(), AdminError> {
        let root = self.parts.catalog.root();
        let (rewrap, record) = root.staged_rewrap(session).map_err(AdminError::Rewrap)?;
        if let Some(rewrap) = rewrap {
            if rewrap.check(root).map_err(AdminError::Rewrap)? != record {
                return Err(AdminError::Rewrap(RewrapError::Unproven));
            }
            // It may be on record already, and is no other change for being there twice.
            self.record_rewrap(&record, String::from("the start after a crash"))?;
        }
        root.finish_rewrap(&record).map_err(AdminError::Rewrap)
    }

    fn record_rewrap(&self, record: &Rewrapped, by: String) -> Result<(), AdminError> {
        let recipients = Recipients::of(record.recipients.iter().cloned());
        let digest = recipients.ok_or(AdminError::Rewrap(RewrapError::NoRecipients))?.digest();
        self.append(&AuditEvent::EnvelopeCreate {
            session: record.session.clone(),
            envelope: record.envelope.clone(),
            recipients: hex(&digest),
            rewrap: sha256_hex(&record.to_json()),
            by,
        })
    }

    /// Refuses what is live, erased, or must stay as it is.
    fn check_changeable(&self, session: &SessionId) -> Result<(), AdminError> {
        let recording = self.parts.catalog.open(session).map_err(AdminError::Store)?;
        self.check_over(session, &recording.summary.end)?;
        if !self.parts.catalog.root().envelope(session).exists() {
            return Err(AdminError::Refused {
                why: format!("the key of recording `{session}` was destroyed, or is missing"),
                hint: "`doorward verify` says which",
            });
        }
        self.check_free(session)
    }
}
