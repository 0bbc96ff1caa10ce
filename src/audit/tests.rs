use super::*;
use crate::model::{Destination, UserName};

#[test]
fn events_are_numbered_over_restarts_and_read_back_equal() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).append(&refused("one")).unwrap(), 1);
    let audit = open(dir.path());
    assert_eq!(audit.append(&refused("two")).unwrap(), 2);
    let session = AuditEvent::SessionStart {
        session: crate::model::SessionId::from_parts(Timestamp::from_millis(7), 9),
        user: UserName::parse("alice").unwrap(),
        destination: Destination::parse("root@db1").unwrap(),
        rule: crate::model::RuleId::parse("dba").unwrap(),
        grant: None,
        policy: "00ff".into(),
        source: "192.0.2.7:4022".into(),
        key: "SHA256:abc".into(),
    };
    audit.append(&session).unwrap();
    audit.append(&AuditEvent::NodeStop).unwrap();
    let records = read(dir.path());
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(records[3].event, AuditEvent::NodeStop);
    assert_eq!(records[1].event, refused("two"));
    assert_eq!((records[2].at, &records[2].event), (Timestamp::from_millis(1_000), &session));
}

#[test]
fn a_line_is_one_json_object_with_number_time_and_type() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&refused("no rule")).unwrap();
    assert_eq!(
        text(dir.path()),
        "{\"seq\":1,\"at\":\"1970-01-01T00:00:01.000Z\",\"type\":\"session.refused\",\"user\":\"alice\",\
         \"login\":\"root@db1\",\"source\":\"192.0.2.7:4022\",\"reason\":\"no rule\"}\n"
    );
}

#[test]
fn a_peers_text_is_bounded_and_cannot_forge_a_line_or_steer_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append(&refused(&format!("\n{{\"seq\":2}}\x1b[2J\u{9b}31m\u{202e}{}", "é".repeat(5_000)))).unwrap();
    audit.append(&refused(&"x".repeat(256))).unwrap();
    let written = text(dir.path());
    assert_eq!(written.lines().count(), 2);
    assert!(!written.contains(['\x1b', '\u{9b}', '\u{202e}']));
    let mut reasons = Vec::new();
    for record in read(dir.path()) {
        let AuditEvent::SessionRefused { reason, .. } = record.event else { panic!("{record:?}") };
        reasons.push(reason);
    }
    assert_eq!((reasons[0].chars().count(), reasons[0].chars().last()), (256, Some('…')));
    assert_eq!(reasons[1], "x".repeat(256));
}

#[test]
fn a_last_line_cut_off_anywhere_is_kept_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append(&refused("first")).unwrap();
    let first = text(dir.path());
    audit.append(&refused("second")).unwrap();
    let whole = text(dir.path());
    for cut in first.len() + 1..whole.len() {
        rewrite(dir.path(), &whole.as_bytes()[..cut]);
        let audit = open(dir.path());
        audit.append(&refused("after")).unwrap();
        let records = read(dir.path());
        let torn = if cut == whole.len() - 1 { 0 } else { u64::try_from(cut - first.len()).unwrap() };
        let at = records.len() - 2;
        assert_eq!(records[at].event, AuditEvent::LogTorn { bytes: torn }, "cut at {cut}");
        assert_eq!(records[at + 1].event, refused("after"));
        assert!(text(dir.path()).starts_with(&whole[..cut]), "evidence was changed");
        open(dir.path());
    }
}

#[test]
fn a_crash_while_the_torn_line_is_noted_is_noted_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&refused("first")).unwrap();
    let first = text(dir.path());
    let note = "\n{\"seq\":2,\"at\":\"1970-01-01T00:00:01.000Z\",\"type\":\"log.torn\",\"bytes\":9}";
    for cut in 1..note.len() {
        rewrite(dir.path(), format!("{first}{{\"seq\":2,{}", &note[..cut]).as_bytes());
        let audit = open(dir.path());
        audit.append(&refused("after")).unwrap();
        assert!(matches!(read(dir.path())[1].event, AuditEvent::LogTorn { .. }), "cut at {cut}");
    }
}

#[test]
fn zeros_that_a_power_cut_leaves_at_the_end_are_tolerated() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).append(&refused("first")).unwrap();
    rewrite(dir.path(), format!("{}{}", text(dir.path()), "\0".repeat(100)).as_bytes());
    open(dir.path());
    assert_eq!(read(dir.path())[1].event, AuditEvent::LogTorn { bytes: 100 });
}

#[test]
fn any_other_damage_is_an_error_that_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    for n in 0..3 {
        audit.append(&refused(&n.to_string())).unwrap();
    }
    let whole = text(dir.path());
    let lines: Vec<_> = whole.lines().collect();
    let cases = [
        (format!("{}\n{}\n", lines[0], lines[2]), 2),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), 1),
        (format!("{}\n{}\n{}\n", lines[0], &lines[1][..20], lines[2]), 3),
        (format!("{}\nx{}\n{}\n", lines[0], lines[1], lines[2]), 2),
        (format!("{}\nnot json\n", lines[0]), 2),
        (format!("{}\n{}\n", lines[0], "x".repeat(300_000)), 2),
    ];
    for (bad, wanted) in cases {
        rewrite(dir.path(), bad.as_bytes());
        let error = Audit::open(dir.path(), Clock::system()).unwrap_err();
        assert!(matches!(error, AuditError::Damaged { line, .. } if line == wanted), "{error}");
        assert_eq!(text(dir.path()), bad, "a damaged log was written to");
    }
}

#[test]
fn a_log_whose_write_failed_drops_the_half_line_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    for reason in ["one", "two"] {
        // As on a full disk: half of the line is written, the rest is refused.
        let unwritable = File::open(dir.path().join(FILE)).unwrap();
        audit.log.lock().unwrap().file = unwritable;
        OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap().write_all(b"{\"seq\":").unwrap();
        assert!(matches!(audit.append(&refused("lost")), Err(AuditError::Io { what: "write", .. })));
        audit.append(&refused(reason)).unwrap();
    }
    let records = read(dir.path());
    assert_eq!(records.iter().map(|record| &record.event).collect::<Vec<_>>(), [&refused("one"), &refused("two")]);
    drop(audit);
    assert_eq!(open(dir.path()).append(&refused("three")).unwrap(), 3);
}

#[test]
fn a_log_whose_sync_failed_goes_on_with_the_file_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append(&refused("one")).unwrap();
    // A pipe takes the bytes and cannot be synced.
    let (_reader, writer) = std::io::pipe().unwrap();
    audit.log.lock().unwrap().file = File::from(std::os::fd::OwnedFd::from(writer));
    assert!(matches!(audit.append(&refused("lost")), Err(AuditError::Io { what: "write", .. })));
    assert_eq!(audit.append(&refused("two")).unwrap(), 2);
    assert_eq!(read(dir.path()).len(), 2);
}

#[test]
fn a_log_that_changed_while_a_write_failed_takes_nothing_more() {
    let change: [fn(&Path); 3] = [
        |path| crate::durable::replace(path, b"", 0o600).unwrap(),
        |path| {
            let text = std::fs::read_to_string(path).unwrap().replace("\"seq\":1", "\"seq\":7");
            crate::durable::replace(path, text.as_bytes(), 0o600).unwrap();
        },
        |path| {
            std::fs::copy(path, path.with_extension("copy")).unwrap();
            std::fs::rename(path.with_extension("copy"), path).unwrap();
        },
    ];
    for change in change {
        let dir = tempfile::tempdir().unwrap();
        let audit = open(dir.path());
        audit.append(&refused("one")).unwrap();
        audit.log.lock().unwrap().file = File::open(dir.path().join(FILE)).unwrap();
        change(&dir.path().join(FILE));
        let changed = text(dir.path());
        assert!(matches!(audit.append(&refused("two")), Err(AuditError::Io { what: "write", .. })));
        for _ in 0..2 {
            assert!(matches!(audit.append(&refused("three")), Err(AuditError::Failed { .. })));
        }
        assert_eq!(text(dir.path()), changed, "a changed log was written to");
    }
}

#[test]
fn events_from_many_threads_keep_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|n| assert!(audit.append(&refused(&n.to_string())).is_ok())));
        }
    });
    assert_eq!(read(dir.path()).len(), 40);
}

fn open(dir: &Path) -> Audit {
    Audit::open(dir, Clock::fixed(Timestamp::from_millis(1_000))).unwrap()
}

fn read(dir: &Path) -> Vec<AuditRecord> {
    Audit::read(dir).unwrap().collect::<Result<_, _>>().unwrap()
}

fn text(dir: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(dir.join(FILE)).unwrap()).into_owned()
}

fn rewrite(dir: &Path, bytes: &[u8]) {
    durable::replace(&dir.join(FILE), bytes, 0o600).unwrap();
}

fn refused(reason: &str) -> AuditEvent {
    AuditEvent::SessionRefused {
        user: UserName::parse("alice").unwrap(),
        login: "root@db1".into(),
        source: "192.0.2.7:4022".into(),
        reason: reason.into(),
    }
}
