use super::super::command::tests::judged;
use super::super::tests::Place;
use super::*;
use crate::audit::CommandStart;

fn session(number: u64) -> SessionId {
    SessionId::from_parts(Timestamp::from_millis(1), u128::from(number))
}

fn of(number: u64, line: &str) -> Box<CommandJudged> {
    let start = CommandStart { words: format!("/bin/{line}"), effects: Vec::new(), rule: None };
    Box::new(CommandJudged { session: session(number), starts: vec![start], second: Some(7), ..judged(line) })
}

/// A log with commands of two sessions and other events between them.
fn written(place: &Place) -> Audit {
    let audit = place.open();
    for number in 0..6 {
        audit.append(&AuditEvent::NodeStop).unwrap();
        let judged = of(number % 2, &format!("line{number} x"));
        audit
            .append(&match number {
                0 => AuditEvent::CommandRefused(judged),
                1 => AuditEvent::CommandObserved(judged),
                _ => AuditEvent::CommandAllowed(judged),
            })
            .unwrap();
    }
    audit.publish().unwrap();
    audit
}

/// All rows that are meant, by their places in the log.
fn rows(index: &CommandIndex, audit: &Audit, filter: &CommandFilter) -> Vec<(u64, String)> {
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let page = index.page(audit, filter, from).unwrap();
        found.extend(page.rows.into_iter().map(|row| (row.seq, row.line)));
        if !page.more {
            found.sort();
            return found;
        }
        from = page.next;
    }
}

fn all() -> CommandFilter {
    CommandFilter::default()
}

fn wanted(numbers: &[u64]) -> Vec<(u64, String)> {
    numbers.iter().map(|number| (2 * number + 1, format!("line{number} x"))).collect()
}

#[test]
fn it_follows_a_log_that_nobody_asks_about_once_it_is_far_behind() {
    let place = Place::new();
    let (audit, folder) = (written(&place), tempfile::tempdir().unwrap());
    let path = folder.path().join("index/commands");
    let index = CommandIndex::at(&path);
    assert!(!index.follow(&audit).unwrap());
    assert!(!path.exists(), "a few wait for who asks");
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                for _ in 0..=FAR_BEHIND / 100 {
                    audit.append(&AuditEvent::NodeStop).unwrap();
                }
            });
        }
    });
    audit.publish().unwrap();
    assert!(!index.follow(&audit).unwrap());
    assert!(path.metadata().unwrap().len() > 0);
    assert_eq!(rows(&index, &audit, &all()).len(), 6);
}

#[test]
fn every_command_of_the_log_is_in_it_once_however_the_log_grew() {
    let place = Place::new();
    let (audit, folder) = (written(&place), tempfile::tempdir().unwrap());
    let path = folder.path().join("index/commands");
    let index = CommandIndex::at(&path);
    assert_eq!(rows(&index, &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5]));
    audit.append(&AuditEvent::NodeStop).unwrap();
    audit.append(&AuditEvent::CommandAllowed(of(0, "line6 x"))).unwrap();
    audit.publish().unwrap();
    assert_eq!(rows(&index, &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5, 6]));
    let before = std::fs::read(&path).unwrap();
    // Another process goes on with the same file.
    assert_eq!(rows(&CommandIndex::at(&path), &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5, 6]));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let page = index.page(&audit, &all(), 0).unwrap();
    let row = page.rows.iter().find(|row| row.seq == 3).unwrap();
    assert_eq!((row.done.as_str(), row.second, row.session.clone()), ("observed", Some(7), session(1)));
}

#[test]
fn only_what_is_meant_is_found() {
    let place = Place::new();
    let (audit, folder) = (written(&place), tempfile::tempdir().unwrap());
    let index = CommandIndex::at(&folder.path().join("commands"));
    let found = |filter: CommandFilter| rows(&index, &audit, &filter);
    assert_eq!(found(CommandFilter { session: Some(session(1)), ..all() }), wanted(&[1, 3, 5]));
    assert_eq!(found(CommandFilter { program: Some("line4".into()), ..all() }), wanted(&[4]));
    assert_eq!(found(CommandFilter { program: Some("/bin/line4".into()), ..all() }), wanted(&[4]));
    assert_eq!(found(CommandFilter { user: Some(UserName::parse("bob").unwrap()), ..all() }), []);
    let other = crate::model::TargetName::parse("db2").unwrap();
    assert_eq!(found(CommandFilter { target: Some(other), ..all() }), []);
    assert_eq!(found(CommandFilter { since: Some(Timestamp::from_millis(2_000)), ..all() }), []);
}

#[test]
fn an_index_that_somebody_changed_is_made_anew() {
    let place = Place::new();
    let (audit, folder) = (written(&place), tempfile::tempdir().unwrap());
    let path = folder.path().join("commands");
    rows(&CommandIndex::at(&path), &audit, &all());
    let good = std::fs::read(&path).unwrap();
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 2, "one block for each session");
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let changes = [lines[0].to_vec(), [lines[1], lines[0]].concat(), Vec::new(), flipped];
    for changed in changes {
        for index in [CommandIndex::at(&path), {
            // One that has read it before finds out, too.
            let index = CommandIndex::at(&path);
            rows(&index, &audit, &all());
            index
        }] {
            // The file system's clock may be coarse; the length or the time tells, or the seals.
            durable::replace(&path, &changed, 0o600).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(rows(&index, &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5]));
        }
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rows(&CommandIndex::at(&path), &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5]));
    // Behind what is known stands what a crash left.
    let longer = [std::fs::read(&path).unwrap(), b"{\"half".to_vec()].concat();
    durable::replace(&path, &longer, 0o600).unwrap();
    assert_eq!(rows(&CommandIndex::at(&path), &audit, &all()), wanted(&[0, 1, 2, 3, 4, 5]));
}

#[test]
fn the_index_of_another_log_is_not_believed() {
    let (one, other) = (Place::new(), Place::new());
    let (audit, folder) = (written(&one), tempfile::tempdir().unwrap());
    let path = folder.path().join("commands");
    rows(&CommandIndex::at(&path), &audit, &all());
    let stranger = other.open();
    stranger.append(&AuditEvent::CommandAllowed(of(0, "own"))).unwrap();
    stranger.publish().unwrap();
    assert_eq!(rows(&CommandIndex::at(&path), &stranger, &all()), [(0, String::from("own"))]);
    // Nor is what the database says of a log that did not go on from there.
    let table: Table<Stored> = stranger.db.table("command-index");
    let (rev, mut stored) = table.get(KEY).unwrap().unwrap();
    stored.root = "0".repeat(64);
    durable::replace(&path, b"", 0o600).unwrap();
    stored.bytes = 0;
    stored.digest = hex(Context::new(&SHA256).finish().as_ref());
    table.put(KEY, Some(rev), &stored).unwrap();
    assert_eq!(rows(&CommandIndex::at(&path), &stranger, &all()), [(0, String::from("own"))]);
}

#[test]
fn what_is_forgotten_is_read_no_more_and_nothing_stands_in_clear() {
    let place = Place::new();
    let (audit, folder) = (written(&place), tempfile::tempdir().unwrap());
    let path = folder.path().join("commands");
    let index = CommandIndex::at(&path);
    rows(&index, &audit, &all());
    let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(!text.contains("line") && !text.contains("alice"), "{text}");
    audit.forget(&Subject::Session(session(0))).unwrap();
    assert_eq!(rows(&index, &audit, &all()), wanted(&[1, 3, 5]));
    // Made anew it has no more of it, and no new key for it.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rows(&CommandIndex::at(&path), &audit, &all()), wanted(&[1, 3, 5]));
    assert!(!audit.forget(&Subject::Session(session(0))).unwrap());
}
