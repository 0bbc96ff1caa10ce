//! The end of recordings: erasing one, removing old ones, and holds that forbid both.
//!
//! That it is done is on record, durable and under a checkpoint, before anything is destroyed: a recording that is
//! gone without a trace in the log was taken by somebody else. And what is on record is done: the ledger knows of a
//! removal before the log does, so that after a crash or an error a start, or the next removal, finishes it. A hold
//! wins over a removal that is not finished.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::api::{HeldRow, Reply};
use super::{Admin, AdminError, Caller, ClockDoubt, done};
use crate::audit::{Audit, AuditEvent, Subject};
use crate::ledger::{Hold, Ledger, Removal, RemovalKind};
use crate::model::{SessionId, Timestamp};
use crate::screen::counted;
use crate::store::{End, Filter, Listed, StoreError, StoreRoot, StoredRecording, describe};

/// A leaf, and a value of the ledger, has room for so many sessions.
const SESSIONS_OF_A_LEAF: usize = 256;
/// What is younger is removed only by who insists: a slip in a command must not empty the store.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// What began within so long goes in one run by itself, from the oldest on. A day's worth and a week's outage are less, so
/// that nothing stays for ever; a slip in the configuration does not take years in one night.
const RUN_SPAN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Which old recordings are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Old {
    /// Those that began before this time.
    pub(super) before: Timestamp,
    /// Even if they are not a day old.
    pub(super) even_today: bool,
}

/// What came of looking for recordings whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// So many are removed.
    Removed {
        /// How many.
        removed: usize,
        /// How many are as old as that, and wait for the next runs.
        left: usize,
    },
    /// None is, for the clock may be wrong.
    Waits(ClockDoubt),
}

impl Admin {
    /// Destroys the key of a recording, and what the log tells of its people. The segments stay, and still verify.
    pub(super) fn recording_erase(
        &self,
        caller: Caller,
        session: &SessionId,
        approver: String,
        reason: String,
    ) -> Result<Reply, AdminError> {
        let _one_at_a_time = self.retiring();
        if approver.trim().is_empty() {
            return Err(AdminError::Refused {
                why: String::from("it is not said who else wants the recording erased"),
                hint: "name a second person with --approver",
            });
        }
        let mut left = self.finish()?;
        left.retain(|(one, _)| one == session);
        if !left.is_empty() {
            return Err(AdminError::NotRemoved { removed: 0, failed: left });
        }
        let recording = self.not_erased(session)?;
        self.check_over(session, &recording.summary.end)?;
        self.check_free(session)?;
        let event = AuditEvent::Erase { session: session.clone(), by: caller.to_string(), approver, reason };
        let failed = self.remove(RemovalKind::Erase, vec![session.clone()], &event)?;
        if !failed.is_empty() {
            return Err(AdminError::NotRemoved { removed: 0, failed });
        }
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
        let _one_at_a_time = self.retiring();
        let by = caller.to_string();
        if on {
            self.not_erased(session)?;
            // The hold first: what it forbids must not happen while it is put on record.
            self.parts.ledger.hold(session, Hold { by: by.clone(), reason: reason.clone(), since: self.now() })?;
        } else if self.parts.ledger.held(session).is_none() {
            return Err(AdminError::Refused {
                why: format!("recording `{session}` is not on hold"),
                hint: "`doorward recording list` shows which are",
            });
        }
        self.append(&AuditEvent::Hold { session: session.clone(), on, by, reason })?;
        if !on {
            self.parts.ledger.release(session)?;
        }
        let now = if on { "on hold: it can be neither erased nor removed" } else { "no longer on hold" };
        Ok(done(format!("recording `{session}` is {now}"), Vec::new()))
    }

    /// Removes old recordings, but those on hold; or only lists them. `by` is on record.
    pub(super) fn recording_gc(&self, by: &str, old: Old, dry_run: bool) -> Result<Reply, AdminError> {
        self.check_age(old)?;
        let failed = if dry_run { Vec::new() } else { self.finish_alone()? };
        let (due, kept) = self.due(old, &failed);
        let due = due.into_iter().map(|(_, session)| session).collect();
        if dry_run {
            return Ok(Reply::Removed { removed: due, kept, dry_run });
        }
        self.remove_all(by, old, due, kept, failed)
    }

    /// The recordings whose time is over, the oldest first, and those of them that are on hold.
    fn due(&self, old: Old, failed: &[(SessionId, String)]) -> (Vec<(Timestamp, SessionId)>, Vec<HeldRow>) {
        let (mut due, mut kept) = (Vec::new(), Vec::new());
        for listed in self.parts.catalog.list(&Filter::default()) {
            let (session, started) = match listed {
                Listed::Recording(summary) if self.check_over(&summary.session, &summary.end).is_ok() => {
                    (summary.session, Some(summary.started))
                }
                Listed::Erased(session) => {
                    let made = session.made();
                    (session, made)
                }
                Listed::Recording(_) | Listed::Damaged { .. } => continue,
            };
            let Some(started) = started.filter(|started| *started < old.before) else { continue };
            if failed.iter().any(|(one, _)| *one == session) {
                continue;
            }
            match self.parts.ledger.held(&session) {
                Some(hold) => kept.push(HeldRow { session, hold }),
                None => due.push((started, session)),
            }
        }
        due.sort();
        (due, kept)
    }

    fn remove_all(
        &self,
        by: &str,
        old: Old,
        due: Vec<SessionId>,
        mut kept: Vec<HeldRow>,
        mut failed: Vec<(SessionId, String)>,
    ) -> Result<Reply, AdminError> {
        let mut removed = Vec::new();
        for sessions in due.chunks(SESSIONS_OF_A_LEAF) {
            // Not over all of them: a hold must not wait for the removal of years.
            let _one_at_a_time = self.retiring();
            let mut now = Vec::new();
            for session in sessions {
                match self.parts.ledger.held(session) {
                    Some(hold) => kept.push(HeldRow { session: session.clone(), hold }),
                    None => now.push(session.clone()),
                }
            }
            if now.is_empty() {
                continue;
            }
            let event = AuditEvent::Gc { sessions: now.clone(), by: by.to_owned(), before: old.before };
            let left = self.remove(RemovalKind::Gc, now.clone(), &event)?;
            removed.extend(now.into_iter().filter(|session| left.iter().all(|(one, _)| one != session)));
            failed.extend(left);
        }
        if failed.is_empty() {
            Ok(Reply::Removed { removed, kept, dry_run: false })
        } else {
            Err(AdminError::NotRemoved { removed: removed.len(), failed })
        }
    }

    /// One lock over looking, recording and destroying. Not the one of other changes: a right that ends must not wait
    /// until recordings are removed.
    fn retiring(&self) -> MutexGuard<'_, ()> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a removal on record, then does it. Gives what could not be removed, and why.
    fn remove(
        &self,
        kind: RemovalKind,
        sessions: Vec<SessionId>,
        event: &AuditEvent,
    ) -> Result<Vec<(SessionId, String)>, AdminError> {
        let parts = &self.parts;
        let removal = Removal { kind, sessions, from: parts.audit.size() };
        let name = parts.ledger.begin_removal(&removal)?;
        // If this fails, the leaf may be there all the same, or come: then the removal is finished some time.
        self.append(event)?;
        let failed = carry_out(&removal, &parts.ledger, &parts.audit, parts.catalog.root());
        if failed.is_empty() {
            parts.ledger.end_removal(&name)?;
        }
        Ok(failed)
    }

    /// Finishes what an error interrupted. Gives what fails again, and why.
    fn finish(&self) -> Result<Vec<(SessionId, String)>, AdminError> {
        let parts = &self.parts;
        finish_removals(&parts.ledger, &parts.audit, parts.catalog.root())
    }

    fn finish_alone(&self) -> Result<Vec<(SessionId, String)>, AdminError> {
        let _one_at_a_time = self.retiring();
        self.finish()
    }

    /// Removes the recordings whose time is over by the configuration's `retention`, as many as one run may. If there are
    /// none, nothing is on record; and nothing is removed by a clock that is in doubt, which is looked at in any case: a
    /// doubt ends by that.
    ///
    /// # Errors
    /// As a call of an operator. The next try goes on where this one ended.
    pub fn retire(&self) -> Result<Retired, AdminError> {
        let Some(retention) = self.parts.config.recording.retention else {
            self.check_clock();
            return Ok(Retired::Removed { removed: 0, left: 0 });
        };
        if let Some(doubt) = self.look_at_clock(self.witnessed()) {
            return Ok(Retired::Waits(doubt));
        }
        let retired = self.retire_run(retention);
        let trouble = match &retired {
            Ok(Retired::Removed { left: 0, .. } | Retired::Waits(_)) => None,
            Ok(Retired::Removed { left, .. }) => {
                Some(format!("{} wait for the next runs", counted(*left, "recording")))
            }
            Err(error) => Some(describe(error)),
        };
        *self.unretired.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        retired
    }

    fn retire_run(&self, retention: Duration) -> Result<Retired, AdminError> {
        let age = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.now().as_millis().saturating_sub(age));
        let old = Old { before, even_today: false };
        self.check_age(old)?;
        let failed = self.finish_alone()?;
        let (mut due, kept) = self.due(old, &failed);
        let until = due.first().map(|(oldest, _)| oldest.plus(RUN_SPAN));
        let now = due.partition_point(|(started, _)| Some(*started) <= until);
        let left = due.len().saturating_sub(now);
        due.truncate(now);
        let due = due.into_iter().map(|(_, session)| session).collect();
        let Reply::Removed { removed, .. } = self.remove_all("the bastion", old, due, kept, failed)? else {
            return Ok(Retired::Removed { removed: 0, left });
        };
        Ok(Retired::Removed { removed: removed.len(), left })
    }

    /// Why recordings are there whose time is over, if some are.
    pub(super) fn unretired(&self) -> Option<String> {
        self.unretired.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts an event on record and has a checkpoint cover it.
    pub(super) fn append(&self, event: &AuditEvent) -> Result<(), AdminError> {
        self.parts.audit.append(event).map_err(AdminError::NotRecorded)?;
        self.parts.audit.publish().map(drop).map_err(AdminError::NotRecorded)
    }

    fn check_age(&self, old: Old) -> Result<(), AdminError> {
        let youngest = i64::try_from(AGE_MIN.as_millis()).unwrap_or(i64::MAX);
        let youngest = Timestamp::from_millis(self.now().as_millis().saturating_sub(youngest));
        if old.before <= youngest || old.even_today {
            return Ok(());
        }
        Err(AdminError::Refused {
            why: String::from("recordings of the last 24 hours would be removed"),
            hint: "give an age of at least 1d; or --even-today, if you mean it",
        })
    }

    /// What is still written cannot be destroyed.
    pub(super) fn check_over(&self, session: &SessionId, end: &End) -> Result<(), AdminError> {
        let live = self.parts.sessions.list().iter().any(|live| live.id == *session);
        if live || *end == End::Open {
            return Err(AdminError::Refused {
                why: format!("the session `{session}` has not ended"),
                hint: "end it with `doorward session kill`; after a crash, start the server once",
            });
        }
        Ok(())
    }

    pub(super) fn check_free(&self, session: &SessionId) -> Result<(), AdminError> {
        match self.parts.ledger.held(session) {
            None => Ok(()),
            Some(hold) => Err(AdminError::Refused {
                why: format!("recording `{session}` is on hold by {}: {}", hold.by, hold.reason),
                hint: "`doorward recording hold SESSION --release --reason TEXT` ends a hold",
            }),
        }
    }

    /// A recording, which nobody has erased: what nobody can read any more can be neither erased nor kept.
    fn not_erased(&self, session: &SessionId) -> Result<StoredRecording, AdminError> {
        let erased = || AdminError::Refused {
            why: format!("recording `{session}` was erased already: nobody can read it"),
            hint: "`doorward audit list --type erase` tells who did it; if nobody did, `doorward verify` says so",
        };
        match self.parts.catalog.open(session) {
            Ok(_) if !self.parts.catalog.root().has_envelope(session) => Err(erased()),
            Err(StoreError::Erased { .. }) => Err(erased()),
            found => found.map_err(AdminError::Store),
        }
    }
}

/// Finishes each removal that is on record and was interrupted; gives what could not be removed, and why. One that
/// did not come into the log is forgotten: nothing was done of it.
///
/// A start calls it before it looks for recordings that a crash left open.
///
/// # Errors
/// The ledger or the log cannot be read or written.
pub fn finish_removals(
    ledger: &Ledger,
    audit: &Audit,
    root: &StoreRoot,
) -> Result<Vec<(SessionId, String)>, AdminError> {
    let mut left = Vec::new();
    for (name, removal) in ledger.removals()? {
        audit.publish().map_err(AdminError::Audit)?;
        let failed = if is_on_record(&removal, audit)? { carry_out(&removal, ledger, audit, root) } else { Vec::new() };
        if failed.is_empty() {
            ledger.end_removal(&name)?;
        }
        left.extend(failed);
    }
    Ok(left)
}

fn is_on_record(removal: &Removal, audit: &Audit) -> Result<bool, AdminError> {
    for record in audit.records(removal.from) {
        let found = match record.map_err(AdminError::Audit)?.event() {
            Some(AuditEvent::Gc { sessions, .. }) => removal.kind == RemovalKind::Gc && sessions == removal.sessions,
            Some(AuditEvent::Erase { session, .. }) => {
                removal.kind == RemovalKind::Erase && removal.sessions == [session]
            }
            Some(_) | None => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Destroys what a leaf says is destroyed. One session's failure does not keep the others.
fn carry_out(removal: &Removal, ledger: &Ledger, audit: &Audit, root: &StoreRoot) -> Vec<(SessionId, String)> {
    let mut failed = Vec::new();
    for session in &removal.sessions {
        if let Some(hold) = ledger.held(session) {
            failed
                .push((session.clone(), format!("it is on hold since {} by {}: {}", hold.since, hold.by, hold.reason)));
            continue;
        }
        let gone = match removal.kind {
            RemovalKind::Erase => root.erase_session(session),
            RemovalKind::Gc => root.destroy_envelopes(session).and_then(|()| root.remove_session(session)),
        };
        let forgotten = audit.forget(&Subject::Session(session.clone()));
        let gone = gone.map_err(|error| describe(&error));
        if let Err(why) = gone.and_then(|()| forgotten.map(drop).map_err(|error| describe(&error))) {
            failed.push((session.clone(), why));
        }
    }
    failed
}

#[cfg(test)]
mod tests;
