//! What an interrupted recording proves where only a bundle of it is at hand.

use std::fs;
use std::path::Path;

use doorward::cli::evidence::{check_bundle, write_bundle};
use doorward::model::SessionId;
use doorward::seal::scan;
use doorward::store::Recovered;
use doorward::verify::{Settings, Verdict, plan};
use serde_json::{Value, json};

use super::attacks::numbered;
use super::store::{Store, leaf, pinned};

/// A store whose bastion stopped after a session had shown three lines, two of which the log has seen.
fn crashed() -> (Store, SessionId, usize) {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    let seen = scan(&fs::read(store.segment(&id, 1, 0)).unwrap());
    let head = |session: &SessionId, records: u64, head: String| json!({ "session": session, "channel": 1, "segment": 0, "records": records, "head": head });
    let other = SessionId::from_parts(doorward::model::Timestamp::from_millis(1_800_000_000_000), 7);
    let heads = json!([head(&id, seen.records, seen.head.to_string()), head(&other, 1, "9".repeat(64))]);
    bastion.log.append(leaf("session.heads", json!({ "heads": heads }))).unwrap();
    bastion.show(&live, 1, &["three\r\n"]);
    let cut = usize::try_from(seen.valid_len).unwrap() - 1;
    (store.crashed(&bastion, live), id, cut)
}

fn cut(store: &Store, id: &SessionId, len: usize) {
    let path = store.segment(id, 1, 0);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..len]).unwrap();
}

fn recovered(store: &Store, id: &SessionId) -> Recovered {
    serde_json::from_slice(&fs::read(store.session(id).join("recovered.json")).unwrap()).unwrap()
}

/// As a log that never had a leaf of that kind.
fn forget(store: &Store, kind: &str) {
    let others = store.entries().into_iter().filter(|entry| !String::from_utf8_lossy(entry).contains(kind));
    store.forge_log(&numbered(others));
}

#[test]
fn a_recording_that_was_cut_before_the_next_start_found_it_is_not_handed_out() {
    let (store, id, at) = crashed();
    cut(&store, &id, at);
    let told = store.recover();
    assert_eq!((told.interrupted, told.cut), (vec![id.clone()], vec![id.clone()]));
    store.assert_verdict(&id, Verdict::Tampered, "the log saw");
    let to = store.path().join("evidence");
    let refused = plan(store.path(), &id, &Settings { key: pinned(), ..Settings::default() }).unwrap_err();
    assert!(refused.to_string().contains("it is TAMPERED"), "{refused}");
    assert!(refused.to_string().contains("1/000000.seg"), "{refused}");
    let refused = write_bundle(store.path(), vec![store.auditor.clone()], &id, &to).unwrap_err();
    assert!(format!("{refused:?}").contains("it is TAMPERED") && !to.exists(), "{refused:?}");
    // Nor is one of which something is missing.
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.root().envelope(&id)).unwrap();
    let refused = plan(store.path(), &id, &Settings::default()).unwrap_err();
    assert!(refused.to_string().contains("it is MISSING"), "{refused}");
}

#[test]
fn a_start_writes_down_what_the_log_had_seen_so_that_no_leaf_that_is_left_out_hides_a_cut() {
    let (store, id, at) = crashed();
    let whole = store.copy();
    assert_eq!(whole.recover().cut, []);
    let seen = recovered(&whole, &id).channels[1].seen.clone().unwrap();
    assert_eq!((seen.segment, seen.records, seen.sealed), (0, 3, None));
    forget(&whole, "session.heads");
    whole.assert_verdict(&id, Verdict::Interrupted, "of channel 1 to record 3 of segment 0");
    let gone = store.copy();
    cut(&store, &id, at);
    store.recover();
    forget(&store, "session.heads");
    store.assert_verdict(&id, Verdict::Tampered, "it was cut: the log saw 3 records");
    // Neither does a channel that was taken away whole.
    fs::remove_dir_all(gone.session(&id).join("1")).unwrap();
    assert_eq!(gone.recover().cut, std::slice::from_ref(&id));
    forget(&gone, "session.heads");
    gone.assert_verdict(&id, Verdict::Tampered, "the channel's directory is missing");
}

#[test]
fn a_segment_that_was_sealed_before_the_crash_is_demanded_as_it_was_sealed() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    let whole = store.copy();
    assert_eq!(whole.recover().cut, []);
    assert!(recovered(&whole, &id).channels[1].seen.as_ref().unwrap().sealed.is_some());
    forget(&whole, "segment.seal");
    whole.assert_verdict(&id, Verdict::Interrupted, "which is whole");
    let len = fs::metadata(store.segment(&id, 1, 0)).unwrap().len();
    cut(&store, &id, usize::try_from(len).unwrap() - 1);
    assert_eq!(store.recover().cut, std::slice::from_ref(&id));
    forget(&store, "segment.seal");
    store.assert_verdict(&id, Verdict::Tampered, "it was cut: its end is missing");
}

#[test]
fn a_bundle_carries_the_heads_of_what_has_no_seal_and_demands_them() {
    let (store, id, at) = crashed();
    // A start that did not ask what the log had seen.
    store.recover_blindly();
    assert_eq!(recovered(&store, &id).channels[1].seen, None);
    let found = store.verdict(&id);
    assert_eq!(found.verdict, Verdict::Interrupted, "{found:#?}");
    assert!(format!("{found:?}").contains("the log saw nothing before the bastion stopped"), "{found:#?}");
    let made = plan(store.path(), &id, &Settings { key: pinned(), ..Settings::default() }).unwrap();
    let [good, short] = ["good", "short"].map(|name| store.path().join(name));
    made.write(store.path(), &good).unwrap();
    let settings = Settings { key: pinned(), ..Settings::default() };
    let report = check_bundle(&good, &settings, None).0;
    assert_eq!(report.exit_code(), 3, "{report:#?}");
    // Channel 0 is sealed with the end only, and no head of it was on record.
    assert_eq!(kinds(&good), ["session.heads", "session.recovered", "session.start"]);
    cut(&store, &id, at);
    made.write(store.path(), &short).unwrap();
    let report = check_bundle(&short, &settings, None).0;
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    assert!(format!("{report:?}").contains("it was cut: the log saw 3 records"), "{report:#?}");
    // What is sealed needs no heads, which speak of other people's sessions.
    let (store, id) = Store::with_session(&["one\r\n"]);
    let made = plan(store.path(), &id, &Settings::default()).unwrap();
    let sealed = store.path().join("sealed");
    made.write(store.path(), &sealed).unwrap();
    let sealed = kinds(&sealed);
    assert!(sealed.contains(&String::from("segment.seal")) && !sealed.contains(&String::from("session.heads")));
}

/// What kinds of leaves a bundle has.
fn kinds(bundle: &Path) -> Vec<String> {
    let proofs = fs::read_dir(bundle.join("proofs")).unwrap().map(|entry| entry.unwrap().path());
    let leaves = proofs.filter(|path| path.extension().unwrap() == "json");
    let kind = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["type"].clone();
    let mut kinds: Vec<String> = leaves.map(|path| kind(path).as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}
