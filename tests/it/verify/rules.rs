//! What is not an attack is told from one.

use std::fs;
use std::io::Write;

use doorward::verify::{Settings, Verdict};
use serde_json::json;

use super::store::{Store, leaf};

#[test]
fn a_recovered_recording_is_interrupted_and_its_torn_tail_is_held_by_the_log() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    bastion.log.publish().unwrap();
    let crashed = store.copy();
    bastion.close(live);
    let path = crashed.segment(&id, 1, 0);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[40, 0, 0, 1, 7, 7]).unwrap();
    crashed.recover();
    crashed.assert_verdict(&id, Verdict::Interrupted, "the bastion stopped while it ran");
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&path, changed).unwrap();
        assert_eq!(crashed.verdict(&id).verdict, Verdict::Tampered, "byte {at}");
    }
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "recovered.json");
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(crashed.session(&id).join("recovered.json")).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "it is missing");
}

#[test]
fn a_crash_before_the_log_was_told_of_a_session_is_no_attack() {
    let store = Store::new();
    let bastion = store.bastion();
    bastion.session(&["one\r\n"]);
    let id = bastion.new_id();
    let live = bastion.open_quietly(&id);
    let crashed = store.copy();
    drop(live);
    crashed.assert_verdict(&id, Verdict::Interrupted, "it never began");
    crashed.recover();
    crashed.assert_verdict(&id, Verdict::Interrupted, "it never began");
    // With anything that a session has that began, it did begin.
    fs::create_dir(crashed.session(&id).join("1")).unwrap();
    fs::copy(crashed.segment(&id, 0, 0), crashed.segment(&id, 1, 0)).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "no leaf that says that it began");
}

#[test]
fn a_crash_between_the_leaf_of_an_end_and_its_file_is_no_attack_once_recovered() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "closed.json");
    store.recover();
    store.assert_verdict(&id, Verdict::Interrupted, "the bastion stopped while it ran");
}

#[test]
fn leaves_that_no_checkpoint_covers_count_and_are_told() {
    let store = Store::new();
    let bastion = store.bastion();
    let id = bastion.session(&["one\r\n"]);
    fs::remove_file(store.root().envelope(&id)).unwrap();
    bastion.log.append(leaf("erase", json!({ "session": id }))).unwrap();
    let report = store.verify();
    assert_eq!((report.log.unsigned, report.sessions[0].verdict), (1, Verdict::Interrupted), "{report:#?}");
    assert!(format!("{report:?}").contains("no checkpoint covers its last leaf yet"));
    bastion.stop();
    store.assert_verdict(&id, Verdict::Shredded, "");
}

#[test]
fn a_rewrapped_envelope_is_good_and_the_old_one_is_not() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let path = store.root().envelope(&id);
    let old = fs::read(&path).unwrap();
    let new = [&old[..], b"x"].concat();
    fs::write(&path, &new).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, ".age");
    store.append("envelope.create", json!({ "session": id, "envelope": doorward::store::sha256_hex(&new) }));
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    fs::write(&path, &old).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, ".age");
}

#[test]
fn a_leaf_that_says_what_no_leaf_may_say_is_a_fault_of_the_log() {
    for (kind, fields) in [
        ("session.end", json!({})),
        ("session.end", json!({ "session": "01J9ZK4Y8Q0000000000000001", "closed": "xyz" })),
        ("segment.seal", json!({ "session": "81J9ZK4Y8Q0000000000000001" })),
        ("session.heads", json!({ "heads": [{}] })),
    ] {
        let (store, _) = Store::with_session(&["one\r\n"]);
        store.append(kind, fields);
        let report = store.verify();
        assert_eq!(report.exit_code(), 5, "{kind}: {report:#?}");
    }
    let (store, _) = Store::with_session(&["one\r\n"]);
    store.append("something.new", json!({ "field": [1] }));
    assert_eq!(store.verify().exit_code(), 0, "a type that it does not know is passed over");
}

#[test]
fn a_session_can_be_verified_alone_or_from_a_time_on() {
    let store = Store::new();
    let bastion = store.bastion();
    let [first, second] = [bastion.session(&["one\r\n"]), bastion.session(&["two\r\n"])];
    bastion.stop();
    fs::remove_file(store.segment(&second, 1, 0)).unwrap();
    let only = |session| Settings { session: Some(session), ..Settings::default() };
    assert_eq!(store.verify_with(&only(first.clone())).exit_code(), 0);
    assert_eq!(store.verify_with(&only(second)).exit_code(), 5);
    let later = doorward::clock::Clock::system().now().plus(std::time::Duration::from_secs(60));
    let none = store.verify_with(&Settings { since: Some(later), ..Settings::default() });
    assert_eq!((none.sessions.len(), none.exit_code()), (0, 0));
    fs::remove_dir_all(store.session(&first)).unwrap();
    assert_eq!(store.verify_with(&only(first)).exit_code(), 4);
}

#[test]
fn with_an_identity_every_line_is_read_and_others_recordings_are_counted() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let deep = |identity| Settings { identities: Some(vec![identity]), ..Settings::default() };
    let report = store.verify_with(&deep(store.auditor.clone()));
    assert_eq!((report.opened.unwrap().read, report.exit_code()), (1, 0), "{report:#?}");
    let report = store.verify_with(&deep(doorward::auditor::Identity::generate()));
    assert_eq!((report.opened.unwrap().sealed_for_others, report.exit_code()), (1, 0));
    // A key that opens another session: the log has the hash of this envelope, and its records do not open.
    let (other, _) = Store::with_session(&["other\r\n"]);
    let wrong = doorward::seal::Recipients::of([store.auditor.recipient()]).unwrap();
    let wrong = wrong.wrap(&doorward::seal::Dek::random().unwrap()).unwrap();
    drop(other);
    fs::write(store.root().envelope(&id), &wrong).unwrap();
    store.append("envelope.create", json!({ "session": id, "envelope": doorward::store::sha256_hex(&wrong) }));
    assert_eq!(store.verify().exit_code(), 0);
    let report = store.verify_with(&deep(store.auditor.clone()));
    assert_eq!(report.exit_code(), 5, "{report:#?}");
}
