//! The end of recordings: erasing one, removing old ones, and holds that forbid both.
//!
//! That it is done is on record, durable and under a checkpoint, before anything is destroyed: a recording that is
//! gone without a trace in the log was taken by somebody else.

use std::io;
use std::path::Path;

use super::api::{Reply, Request};
use super::{Admin, AdminError, Caller, Via, done, plural};
use crate::audit::{AuditEvent, Subject};
use crate::durable;
use crate::ledger::Hold;
use crate::model::{SessionId, Timestamp};
use crate::store::{End, Filter, Listed, StoreError};

/// A leaf has room for so many sessions.
const SESSIONS_OF_A_LEAF: usize = 1000;

impl Admin {
    /// Destroys the key of a recording, and what the log tells of its people. The segments stay, and still verify.
    pub(super) fn recording_erase(
        &self,
        caller: Caller,
        session: &SessionId,
        reason: String,
    ) -> Result<Reply, AdminError> {
        let recording = self.parts.catalog.open(session).map_err(AdminError::Store)?;
        self.check_over(session, &recording.summary.end)?;
        self.check_free(session)?;
        let by = caller.to_string();
        self.append(&AuditEvent::Erase { session: session.clone(), by, reason })?;
        self.destroy_key(session)?;
        Ok(done(format!("recording `{session}` erased: nobody can read it any more"), Vec::new()))
    }

    /// Forbids, or allows again, that a recording is erased or removed.
    pub(super) fn recording_hold(
        &self,
        caller: Caller,
        session: &SessionId,
        on: bool,
        reason: String,
    ) -> Result<Reply, AdminError> {
        let by = caller.to_string();
        if on {
            self.parts.catalog.open(session).map_err(AdminError::Store)?;
            // The hold first: what it forbids must not happen while it is put on record.
            self.parts.ledger.hold(session, Hold { by: by.clone(), reason: reason.clone(), since: self.now() })?;
        }
        self.append(&AuditEvent::Hold { session: session.clone(), on, by, reason })?;
        if !on {
            self.parts.ledger.release(session)?;
        }
        let now = if on { "on hold: it can be neither erased nor removed" } else { "no longer on hold" };
        Ok(done(format!("recording `{session}` is {now}"), Vec::new()))
    }

    /// Removes recordings that began before a time, but those on hold; or only lists them.
    pub(super) fn recording_gc(&self, before: Timestamp, dry_run: bool) -> Result<Reply, AdminError> {
        let (old, kept) = self.older_than(before);
        let count = format!("{} {}", old.len(), plural(old.len(), "recording"));
        if dry_run {
            let mut lines: Vec<String> = old.iter().map(|session| format!("would remove {session}")).collect();
            lines.extend(kept);
            lines.push(format!("{count} would be removed"));
            return Ok(Reply::Done { lines });
        }
        for sessions in old.chunks(SESSIONS_OF_A_LEAF) {
            self.append(&AuditEvent::Gc { sessions: sessions.to_vec() })?;
            for session in sessions {
                self.destroy_key(session)?;
                let root = self.parts.catalog.root();
                let rewraps = Some(root.rewraps_of(session)).filter(|_| root.rewrapped().is_dir());
                for directory in root.session_directory(session).into_iter().chain(rewraps) {
                    removed(&directory, std::fs::remove_dir_all(&directory))?;
                }
            }
        }
        Ok(done(format!("{count} removed"), kept))
    }

    /// Removes the recordings whose time is over by the configuration's `retention`; returns how many. If there are
    /// none, nothing is on record.
    ///
    /// # Errors
    /// As a call of an operator. The next try goes on where this one ended.
    pub fn retire(&self) -> Result<usize, AdminError> {
        let Some(retention) = self.parts.config.recording.retention else { return Ok(0) };
        let age = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.now().as_millis().saturating_sub(age));
        let (old, _) = self.older_than(before);
        if old.is_empty() {
            return Ok(0);
        }
        let server = Caller { uid: rustix::process::geteuid().as_raw(), via: Via::Direct };
        self.call(server, Request::RecordingGc { before, dry_run: false })?;
        Ok(old.len())
    }

    /// The recordings that are over and began before a time: those to remove, and a line for each on hold.
    fn older_than(&self, before: Timestamp) -> (Vec<SessionId>, Vec<String>) {
        let (mut old, mut kept) = (Vec::new(), Vec::new());
        for listed in self.parts.catalog.list(&Filter::default()) {
            let Listed::Recording(summary) = listed else { continue };
            if summary.started >= before || self.check_over(&summary.session, &summary.end).is_err() {
                continue;
            }
            match self.parts.ledger.held(&summary.session) {
                Some(hold) => kept.push(format!("kept {}: on hold by {} ({})", summary.session, hold.by, hold.reason)),
                None => old.push(summary.session),
            }
        }
        (old, kept)
    }

    /// Puts an event on record and has a checkpoint cover it.
    pub(super) fn append(&self, event: &AuditEvent) -> Result<(), AdminError> {
        self.parts.audit.append(event).map_err(AdminError::NotRecorded)?;
        self.parts.audit.publish().map(drop).map_err(AdminError::NotRecorded)
    }

    fn destroy_key(&self, session: &SessionId) -> Result<(), AdminError> {
        self.parts.catalog.root().destroy_envelopes(session).map_err(AdminError::Store)?;
        self.parts.audit.forget(&Subject::Session(session.clone())).map(drop).map_err(AdminError::Audit)
    }

    /// What is still written cannot be destroyed.
    pub(super) fn check_over(&self, session: &SessionId, end: &End) -> Result<(), AdminError> {
        let live = self.parts.sessions.list().iter().any(|live| live.id == *session);
        if live || *end == End::Open {
            return Err(AdminError::Invalid {
                why: format!("the session `{session}` has not ended"),
                hint: "end it with `doorward session kill`; after a crash, start the server once",
            });
        }
        Ok(())
    }

    pub(super) fn check_free(&self, session: &SessionId) -> Result<(), AdminError> {
        match self.parts.ledger.held(session) {
            None => Ok(()),
            Some(hold) => Err(AdminError::Invalid {
                why: format!("recording `{session}` is on hold by {}: {}", hold.by, hold.reason),
                hint: "`doorward recording hold SESSION --release` ends a hold",
            }),
        }
    }
}

/// Something is gone, durably; it may have been gone before.
fn removed(path: &Path, outcome: io::Result<()>) -> Result<(), AdminError> {
    let gone = match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    };
    gone.and_then(|()| durable::sync_parent(path))
        .map_err(|source| AdminError::Store(StoreError::Write { path: path.to_owned(), source }))
}
