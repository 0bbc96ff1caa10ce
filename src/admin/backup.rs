//! The daily backup that the server makes by itself.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::{Admin, AdminError};
use crate::backup::{BackupFacts, CopySettings, check_place, completed, copy_store};
use crate::config::BackupSettings;
use crate::model::Timestamp;
use crate::screen::counted;
use crate::seal::Recipients;
use crate::store::describe;

/// A recording that is erased or removed while it is copied is missing; the next try knows it.
const ATTEMPTS: u32 = 3;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// A backup is late when it is older than this: one was left out, and the next one is due.
const LATE: Duration = Duration::from_secs(26 * 60 * 60);

/// Why there is no new backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotBackedUp {
    /// What failed, with its causes.
    pub why: String,
    /// What the operator can do.
    pub hint: String,
    /// Whether the one before was made.
    pub first: bool,
}

/// What `doctor` tells of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BackupState {
    /// It is not older than it should be.
    Good { made: Timestamp },
    /// It is.
    Late { made: Timestamp },
    /// The last try failed, or there is none at all.
    Failed { made: Option<Timestamp>, why: String, hint: String },
}

impl Admin {
    /// In how long the next backup is due: at the hour of the configuration, or now, if one was left out or failed.
    pub fn backup_due(&self, settings: &BackupSettings) -> Duration {
        if self.not_backed_up().is_some() {
            return Duration::ZERO;
        }
        due(self.now(), completed(&settings.to).ok(), settings.at_minute)
    }

    /// Makes the backup of the configuration. Gives what came of it, and whether the one before had failed.
    ///
    /// # Errors
    /// There is no new backup, or it is not whole; that is kept for `doctor`.
    pub fn back_up(&self, settings: &BackupSettings) -> Result<(BackupFacts, bool), NotBackedUp> {
        let made = self.copy(settings);
        let mut trouble = self.not_backed_up();
        let before = trouble.take();
        let (why, hint) = match made {
            Ok(facts) if facts.missing.is_empty() && facts.differing.is_empty() => {
                return Ok((facts, before.is_some()));
            }
            Ok(facts) => {
                (not_whole(&facts), String::from("`doorward verify` says which is right; nothing was overwritten"))
            }
            Err(error) => {
                let hints = error.failure().hints;
                (describe(&error), hints.into_iter().next().unwrap_or_default())
            }
        };
        let failed = NotBackedUp { why, hint, first: before.is_none() };
        *trouble = Some(failed.clone());
        Err(failed)
    }

    /// What is known of the backup; none where none is configured.
    pub(super) fn backup_state(&self) -> Option<BackupState> {
        let settings = self.parts.config.backup.as_ref()?;
        let made = completed(&settings.to);
        Some(match (self.not_backed_up().clone(), made) {
            (Some(NotBackedUp { why, hint, .. }), made) => BackupState::Failed { made: made.ok(), why, hint },
            (None, Err(error)) => {
                BackupState::Failed { made: None, why: describe(&error), hint: error.hint().unwrap_or_default() }
            }
            (None, Ok(made)) if made.until(self.now()) > LATE => BackupState::Late { made },
            (None, Ok(made)) => BackupState::Good { made },
        })
    }

    fn copy(&self, settings: &BackupSettings) -> Result<BackupFacts, AdminError> {
        let config = &self.parts.config;
        // An empty directory is what a disk leaves that is not mounted; the first backup is made by who sees it.
        completed(&settings.to).map_err(AdminError::Backup)?;
        check_place(&config.data, &settings.to).map_err(AdminError::Backup)?;
        let recipients = Recipients::of(settings.recipients.iter().cloned()).ok_or_else(|| AdminError::Invalid {
            why: String::from("[backup] recipients names too many"),
            hint: "name fewer",
        })?;
        let files = config.files().map_err(AdminError::Policy)?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let exported = self.seal_state("the bastion", &recipients)?;
            let copying = CopySettings {
                data: &config.data,
                key: self.parts.audit.key().clone(),
                size: exported.leaves,
                journal: exported.journal,
                state: exported.state,
                config: files.clone(),
                // Every byte of years, each night, is for who asks for it: `doorward backup` compares them.
                quick: true,
                prune: settings.prune,
                keep: Some(usize::try_from(settings.keep).unwrap_or(usize::MAX)),
                now: self.now(),
            };
            let facts = copy_store(&copying, &settings.to, &mut |_| {}).map_err(AdminError::Backup)?;
            if facts.missing.is_empty() || attempt >= ATTEMPTS {
                return Ok(facts);
            }
        }
    }

    fn not_backed_up(&self) -> MutexGuard<'_, Option<NotBackedUp>> {
        self.not_backed_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_whole(facts: &BackupFacts) -> String {
    let BackupFacts { missing, differing, .. } = facts;
    let first = missing.first().or(differing.first()).map_or("", String::as_str);
    let (missing, differing) = (counted(missing.len(), "file"), counted(differing.len(), "file"));
    format!("the backup is made and not whole: {missing} missing, {differing} differ; the first: {first}")
}

/// `made` is when the last one was, `at_minute` when in a day they are made.
fn due(now: Timestamp, made: Option<Timestamp>, at_minute: u16) -> Duration {
    let into_day = now.as_millis().saturating_sub(i64::from(at_minute) * 60_000).rem_euclid(DAY_MS);
    let hour = now.as_millis().saturating_sub(into_day);
    match made {
        // One that was made later than now was dated by a clock that was wrong.
        Some(made) if made <= now && made.as_millis() >= hour => {
            Duration::from_millis(u64::try_from(DAY_MS.saturating_sub(into_day)).unwrap_or(0))
        }
        Some(_) | None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{Health, Reply, Request};
    use crate::admin::tests::Office;
    use crate::auditor::Identity;

    #[test]
    fn a_backup_goes_on_from_one_that_was_made_by_hand_and_a_failure_is_told_once_and_shown_until_it_is_over() {
        let mut office = Office::furnished();
        let folder = tempfile::tempdir().unwrap();
        let (to, away) = (folder.path().join("backup"), folder.path().join("away"));
        std::fs::create_dir(&to).unwrap();
        let recipients = vec![Identity::generate().recipient()];
        let settings = BackupSettings { to: to.clone(), recipients, at_minute: 120, keep: 3, prune: false };
        crate::durable::create_new(&office.admin.parts.config.file, b"x = 1\n", 0o600).unwrap();
        office.admin.parts.config.backup = Some(settings.clone());
        let found = |office: &Office| {
            let Reply::Doctor { findings } = office.ask(Request::Doctor { syncs: 1 }) else { panic!() };
            let found = findings.into_iter().find(|one| one.what == "backup").unwrap();
            (found.health, found.found)
        };
        let exports = |office: &Office| office.log().iter().filter(|record| record.kind == "state.export").count();
        // A disk that is not mounted is an empty directory.
        let failed = office.admin.back_up(&settings).unwrap_err();
        assert!(
            failed.first && failed.why.contains("there is no backup in") && failed.hint.contains("mounted"),
            "{failed:?}"
        );
        assert!(!office.admin.back_up(&settings).unwrap_err().first);
        assert_eq!((exports(&office), std::fs::read_dir(&to).unwrap().count()), (0, 0));
        let (health, told) = found(&office);
        assert!(health == Health::Warn && told.contains("there is none"), "{told}");
        assert_eq!(office.admin.backup_due(&settings), Duration::ZERO);

        std::fs::remove_dir(&to).unwrap();
        by_hand(&office, &settings);
        let (facts, again) = office.admin.back_up(&settings).unwrap();
        assert!(again && facts.missing.is_empty(), "{facts:?}");
        assert!(!office.admin.back_up(&settings).unwrap().1);
        assert_eq!((exports(&office), std::fs::read_dir(to.join("states")).unwrap().count()), (3, 2));
        assert_eq!(found(&office).0, Health::Good);
        assert!(office.admin.backup_due(&settings) > Duration::ZERO);
        let later = office.admin.now().plus(LATE + Duration::from_secs(1));
        office.admin.parts.clock.set(later);
        assert_eq!((found(&office).0, office.admin.backup_due(&settings)), (Health::Warn, Duration::ZERO));

        office.admin.back_up(&settings).unwrap();
        std::fs::rename(&to, &away).unwrap();
        assert!(office.admin.back_up(&settings).unwrap_err().first);
        assert_eq!(found(&office).0, Health::Warn);
        std::fs::rename(&away, &to).unwrap();
        assert_eq!(office.admin.backup_due(&settings), Duration::ZERO, "what failed is tried again, whatever the hour");
        assert!(office.admin.back_up(&settings).unwrap().1);
    }

    /// As `doorward backup` does.
    fn by_hand(office: &Office, settings: &BackupSettings) {
        let admin = &office.admin;
        let recipients = Recipients::of(settings.recipients.iter().cloned()).unwrap();
        let exported = admin.seal_state("uid 0", &recipients).unwrap();
        let copying = CopySettings {
            data: &admin.parts.config.data,
            key: admin.parts.audit.key().clone(),
            size: exported.leaves,
            journal: exported.journal,
            state: exported.state,
            config: std::collections::BTreeMap::new(),
            quick: false,
            prune: false,
            keep: None,
            now: admin.now(),
        };
        copy_store(&copying, &settings.to, &mut |_| {}).unwrap();
    }

    #[test]
    fn a_backup_is_due_at_its_hour_and_at_once_where_one_was_left_out() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let two = 120;
        let in_hours = |hours: u64| Duration::from_secs(hours * 3600);
        let now = at("2026-11-22T14:00:00Z");
        assert_eq!(due(now, None, two), Duration::ZERO);
        assert_eq!(due(now, Some(at("2026-11-22T02:00:00Z")), two), in_hours(12));
        assert_eq!(due(now, Some(at("2026-11-22T13:59:00Z")), two), in_hours(12), "one that was made by hand counts");
        assert_eq!(due(now, Some(at("2026-11-22T01:59:59Z")), two), Duration::ZERO);
        assert_eq!(due(now, Some(at("2026-11-22T15:00:00Z")), two), Duration::ZERO, "a clock that was wrong");
        let early = at("2026-11-22T01:00:00Z");
        assert_eq!(due(early, Some(at("2026-11-21T02:00:01Z")), two), in_hours(1));
        assert_eq!(due(early, Some(at("2026-11-21T01:59:00Z")), two), Duration::ZERO);
        assert_eq!(due(at("2026-11-22T02:00:00Z"), Some(at("2026-11-21T02:00:01Z")), two), Duration::ZERO);
    }
}
