use std::path::PathBuf;

use super::*;
use crate::admin::api::{Request, SessionFilter};
use crate::admin::tests::Office;

#[test]
fn a_removal_that_a_crash_interrupted_is_finished_and_one_that_is_not_on_record_is_not() {
    // How far the crash let it come.
    let stages: [fn(&Shelf, &SessionId); 6] = [
        |_, _| {},
        |shelf, session| std::fs::remove_file(shelf.envelope(session)).unwrap(),
        |shelf, session| drop(shelf.moved(session)),
        |shelf, session| std::fs::remove_file(shelf.moved(session).join("closed.json")).unwrap(),
        |shelf, session| std::fs::remove_file(shelf.directory(session).join("closed.json")).unwrap(),
        |shelf, session| std::fs::remove_dir_all(shelf.directory(session)).unwrap(),
    ];
    for (at, stage) in stages.iter().enumerate() {
        for kind in [RemovalKind::Gc, RemovalKind::Erase] {
            for on_record in [true, false] {
                let shelf = Shelf::new();
                let (session, other) = (shelf.recording(1), shelf.recording(2));
                let removal = Removal { kind, sessions: vec![session.clone()], from: shelf.audit().size() };
                shelf.ledger().begin_removal(&removal).unwrap();
                if on_record {
                    shelf.audit().append(&event(kind, &session)).unwrap();
                    stage(&shelf, &session);
                } else if at > 0 {
                    continue;
                }
                let said = format!("stage {at}, {kind:?}, on record: {on_record}");
                assert_eq!(finish_removals(shelf.ledger(), shelf.audit(), shelf.root()).unwrap(), [], "{said}");
                assert_eq!(shelf.ledger().removals().unwrap(), [], "{said}");
                assert_eq!(shelf.envelope(&session).exists(), !on_record, "{said}");
                assert_eq!(shelf.is_told_of(&session), !on_record, "{said}");
                if kind == RemovalKind::Gc && on_record {
                    assert!(!shelf.directory(&session).exists(), "{said}");
                    assert_eq!(std::fs::read_dir(shelf.root().gone()).map_or(0, Iterator::count), 0, "{said}");
                } else if at == 0 {
                    assert!(shelf.directory(&session).join("closed.json").exists(), "{said}");
                }
                assert!(shelf.envelope(&other).exists() && shelf.is_told_of(&other), "{said}");
            }
        }
    }
}

#[test]
fn one_recording_that_cannot_be_removed_does_not_keep_the_others() {
    let shelf = Shelf::new();
    let sessions: Vec<SessionId> = (1..=3).map(|n| shelf.recording(n)).collect();
    let first = shelf.envelope(&sessions[0]);
    // What cannot be removed as a file.
    std::fs::remove_file(&first).unwrap();
    std::fs::create_dir_all(first.join("x")).unwrap();
    let error = shelf.gc(false).unwrap_err();
    let AdminError::NotRemoved { removed: 2, failed } = &error else { panic!("{error:?}") };
    assert_eq!(failed.iter().map(|(session, _)| session).collect::<Vec<_>>(), [&sessions[0]]);
    assert!(error.failure().chain.iter().any(|line| line.starts_with(sessions[0].as_str())), "{error:?}");
    assert!(!shelf.directory(&sessions[1]).exists() && !shelf.directory(&sessions[2]).exists());
    // The next one still cannot, and puts nothing on record a second time; then it can.
    assert!(matches!(shelf.gc(false), Err(AdminError::NotRemoved { removed: 0, .. })));
    std::fs::remove_dir_all(&first).unwrap();
    shelf.gc(false).unwrap();
    assert!(!shelf.directory(&sessions[0]).exists());
    assert_eq!(shelf.leaves("gc"), 1);
}

#[test]
fn a_hold_wins_over_a_removal_that_is_not_finished() {
    let shelf = Shelf::new();
    let session = shelf.recording(1);
    let removal = Removal { kind: RemovalKind::Gc, sessions: vec![session.clone()], from: 0 };
    shelf.ledger().begin_removal(&removal).unwrap();
    shelf.audit().append(&event(RemovalKind::Gc, &session)).unwrap();
    shelf.hold(&session, true).unwrap();
    let left = finish_removals(shelf.ledger(), shelf.audit(), shelf.root()).unwrap();
    assert!(left.len() == 1 && left[0].1.contains("CASE-7"), "{left:?}");
    assert!(shelf.envelope(&session).exists() && shelf.directory(&session).exists());
    shelf.hold(&session, false).unwrap();
    assert_eq!(finish_removals(shelf.ledger(), shelf.audit(), shelf.root()).unwrap(), []);
    assert!(!shelf.directory(&session).exists());
}

#[test]
fn what_is_erased_is_neither_erased_again_nor_held_and_nothing_of_it_is_put_on_record() {
    let shelf = Shelf::new();
    let session = shelf.recording(1);
    assert!(matches!(shelf.hold(&session, false), Err(AdminError::Refused { .. })));
    assert_eq!(shelf.leaves("hold"), 0);
    shelf.erase(&session).unwrap();
    for refused in [shelf.erase(&session), shelf.hold(&session, true)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("was erased already"), "{error}");
    }
    assert_eq!((shelf.leaves("erase"), shelf.leaves("hold")), (1, 0));
    // It goes as the others when its time is over.
    shelf.gc(false).unwrap();
    assert!(!shelf.directory(&session).exists());
}

#[test]
fn of_a_hold_and_an_erasure_at_the_same_time_one_is_refused() {
    let shelf = Shelf::new();
    for n in 1..20 {
        let session = shelf.recording(n);
        let (erased, held) = std::thread::scope(|scope| {
            let erasing = scope.spawn(|| shelf.erase(&session));
            let held = shelf.hold(&session, true);
            (erasing.join().unwrap(), held)
        });
        assert_ne!(erased.is_ok(), held.is_ok(), "{erased:?}, {held:?}");
        assert_eq!(shelf.envelope(&session).exists(), held.is_ok());
    }
}

#[test]
fn what_is_not_a_day_old_is_removed_only_by_who_insists() {
    let shelf = Shelf::new();
    let session = shelf.recording(1);
    let gc = |before, even_today| {
        let request = Request::RecordingGc { before, dry_run: false, even_today };
        shelf.office.call(request).map(drop)
    };
    let now = shelf.office.admin.now();
    let hours = |hours: i64| Timestamp::from_millis(now.as_millis() - hours * 3_600_000);
    for young in [hours(23), now, hours(-1000)] {
        let error = gc(young, false).unwrap_err();
        assert!(matches!(error, AdminError::Refused { hint, .. } if hint.contains("--even-today")), "{error:?}");
    }
    assert!(shelf.directory(&session).exists());
    gc(hours(24 * 30), false).unwrap();
    assert!(shelf.directory(&session).exists());
    gc(hours(-1), true).unwrap();
    assert!(!shelf.directory(&session).exists());
}

#[test]
fn looking_what_would_be_removed_is_a_call_and_removing_names_who_and_since_when() {
    let shelf = Shelf::new();
    let (session, held) = (shelf.recording(1), shelf.recording(2));
    shelf.hold(&held, true).unwrap();
    let Reply::Removed { removed, kept, dry_run: true } = shelf.gc(true).unwrap() else { panic!() };
    assert_eq!((removed, kept.len(), &kept[0].session), (vec![session.clone()], 1, &held));
    let verbs = |kind: &str| -> Vec<String> {
        let calls = shelf.office.log().into_iter().filter(|record| record.kind == kind);
        calls.filter_map(|record| record.text("verb").map(str::to_owned)).collect()
    };
    assert!(verbs("admin.call").contains(&"recording gc --dry-run".to_owned()));
    assert_eq!(verbs("config.change").last().map(String::as_str), Some("recording hold"));
    shelf.gc(false).unwrap();
    let gc = shelf.office.log().into_iter().find_map(|record| match record.event() {
        Some(AuditEvent::Gc { sessions, by, before }) => Some((sessions, by, before)),
        Some(_) | None => None,
    });
    assert_eq!(gc, Some((vec![session], "uid 4242".to_owned(), shelf.before())));
    let Reply::Recordings { recordings, .. } =
        shelf.office.ask(Request::RecordingList { filter: SessionFilter::default() })
    else {
        panic!("no list")
    };
    assert_eq!(recordings[0].held.as_ref().map(|hold| hold.reason.as_str()), Some("CASE-7"));
}

#[test]
fn one_run_by_itself_takes_a_week_of_the_oldest_and_the_next_ones_the_rest() {
    let mut shelf = Shelf::new();
    let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
    shelf.office.admin.parts.config.recording.retention = Some(days(30));
    // As an operator who has shortened it from years finds them; two lie on the edge, and one is on hold.
    let all: Vec<SessionId> = [500, 499, 493, 492, 400, 31, 29].map(|age| shelf.aged(days(age))).to_vec();
    shelf.hold(&all[1], true).unwrap();
    let there = |shelf: &Shelf| -> Vec<bool> { all.iter().map(|one| shelf.directory(one).exists()).collect() };
    let run = |shelf: &Shelf| shelf.office.admin.retire().unwrap();
    assert_eq!(run(&shelf), Retired::Removed { removed: 2, left: 3 });
    assert_eq!(there(&shelf), [false, true, false, true, true, true, true]);
    let why = shelf.office.admin.unretired().unwrap();
    assert!(why.contains("3 recordings"), "{why}");
    let Reply::Doctor { findings } = shelf.office.ask(Request::Doctor { syncs: 1 }) else { panic!() };
    assert!(findings.iter().any(|one| one.what == "retention" && one.found.contains(&why)), "{findings:?}");
    assert_eq!(run(&shelf), Retired::Removed { removed: 1, left: 2 });
    assert_eq!(run(&shelf), Retired::Removed { removed: 1, left: 1 });
    assert_eq!(run(&shelf), Retired::Removed { removed: 1, left: 0 });
    assert_eq!(there(&shelf), [false, true, false, false, false, false, true]);
    assert_eq!((run(&shelf), shelf.office.admin.unretired()), (Retired::Removed { removed: 0, left: 0 }, None));
}

/// An administration with recordings.
struct Shelf {
    office: Office,
}

impl Shelf {
    fn new() -> Self {
        Self { office: Office::furnished() }
    }

    fn ledger(&self) -> &Ledger {
        &self.office.admin.parts.ledger
    }

    fn audit(&self) -> &Audit {
        &self.office.admin.parts.audit
    }

    fn root(&self) -> &StoreRoot {
        self.office.admin.parts.catalog.root()
    }

    fn directory(&self, session: &SessionId) -> PathBuf {
        self.root().session_directory(session).unwrap()
    }

    fn envelope(&self, session: &SessionId) -> PathBuf {
        self.root().envelope(session)
    }

    /// A week old, with an envelope and a leaf that tells of its person.
    fn recording(&self, n: u8) -> SessionId {
        let started = Timestamp::from_millis(self.office.admin.now().as_millis() - 7 * 86_400_000 + i64::from(n));
        let session = SessionId::from_parts(started, n.into());
        crate::store::tests::shelve(self.root(), &session);
        self.audit().append(&AuditEvent::SessionGap { session: session.clone(), reason: "alice".to_owned() }).unwrap();
        session
    }

    /// One that began so long ago.
    fn aged(&self, age: Duration) -> SessionId {
        let age = i64::try_from(age.as_millis()).unwrap();
        let started = Timestamp::from_millis(self.office.admin.now().as_millis() - age);
        let session = SessionId::from_parts(started, 1);
        crate::store::tests::shelve(self.root(), &session);
        session
    }

    /// Moves a recording where those go that are being removed.
    fn moved(&self, session: &SessionId) -> PathBuf {
        std::fs::create_dir_all(self.root().gone()).unwrap();
        let to = self.root().gone().join(session.as_str());
        std::fs::rename(self.directory(session), &to).unwrap();
        to
    }

    /// Whether the log still tells of its person.
    fn is_told_of(&self, session: &SessionId) -> bool {
        let of_it = |record: &crate::audit::AuditRecord| {
            record.kind == "session.gap" && record.text("session") == Some(session.as_str())
        };
        self.office.log().iter().filter(|record| of_it(record)).all(|record| record.text("reason") == Some("alice"))
    }

    fn leaves(&self, kind: &str) -> usize {
        self.office.log().iter().filter(|record| record.kind == kind).count()
    }

    fn before(&self) -> Timestamp {
        Timestamp::from_millis(self.office.admin.now().as_millis() - 2 * 86_400_000)
    }

    fn gc(&self, dry_run: bool) -> Result<Reply, AdminError> {
        self.office.call(Request::RecordingGc { before: self.before(), dry_run, even_today: false })
    }

    fn erase(&self, session: &SessionId) -> Result<Reply, AdminError> {
        self.office.call(Request::RecordingErase {
            session: session.clone(),
            approver: "carol".to_owned(),
            reason: "asked".to_owned(),
        })
    }

    fn hold(&self, session: &SessionId, on: bool) -> Result<Reply, AdminError> {
        self.office.call(Request::RecordingHold { session: session.clone(), on, reason: "CASE-7".to_owned() })
    }
}

fn event(kind: RemovalKind, session: &SessionId) -> AuditEvent {
    let by = "uid 0".to_owned();
    match kind {
        RemovalKind::Erase => {
            let (approver, reason) = ("carol".to_owned(), "asked".to_owned());
            AuditEvent::Erase { session: session.clone(), by, approver, reason }
        }
        RemovalKind::Gc => AuditEvent::Gc { sessions: vec![session.clone()], by, before: Timestamp::from_millis(1) },
    }
}
