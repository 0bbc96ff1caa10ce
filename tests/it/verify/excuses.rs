//! Attackers who explain away what they took: with leaves that nobody else has seen, or that come too early.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use doorward::model::SessionId;
use doorward::store::sha256_hex;
use doorward::tlog::{Checkpoint, Note, SigningKey};
use doorward::verify::{Kept, LogVerdict, Settings, Verdict};
use serde_json::{Value, json};

use super::store::{Store, leaf, pinned, witness_key};

fn cosign(store: &Store, witness: &SigningKey) {
    let text = store.note().unchecked_text().to_owned();
    let size = Checkpoint::parse(&text).unwrap().size;
    store.log().add_signatures(size, vec![witness.cosign(&text, 1_700_000_000).unwrap()]).unwrap();
}

fn by(witness: &SigningKey, require_witnesses: usize, kept: Vec<Note>) -> Settings {
    let kept = kept.into_iter().map(|note| Kept { from: String::from("kept"), note, witness: None }).collect();
    Settings {
        key: pinned(),
        witnesses: vec![witness.public().clone()],
        require_witnesses,
        kept,
        ..Settings::default()
    }
}

/// Puts a leaf into the journal that no checkpoint covers: what who can write files can do.
fn append_unsigned(store: &Store, kind: &str, fields: Value) {
    store.log().append(leaf(kind, fields)).unwrap();
}

/// Takes away what a leaf of that kind would excuse.
fn take(store: &Store, id: &SessionId, kind: &str) -> Value {
    fs::remove_file(store.root().envelope(id)).unwrap();
    if kind == "erase" {
        return json!({ "session": id });
    }
    fs::remove_dir_all(store.session(id)).unwrap();
    json!({ "sessions": [id] })
}

#[test]
fn an_erase_or_gc_leaf_beyond_the_cosigned_checkpoint_does_not_pass_where_a_witness_is_required() {
    let witness = witness_key("w1.example", 1);
    for (kind, verdict) in [("gc", Verdict::Expired), ("erase", Verdict::Shredded)] {
        let (store, id) = Store::with_session(&["one\r\n"]);
        cosign(&store, &witness);
        let path = store.path().join("log/checkpoint");
        let cosigned = fs::read(&path).unwrap();
        assert_eq!(store.verify_with(&by(&witness, 1, Vec::new())).exit_code(), 0);
        // With the stolen key: the leaf, its checkpoint, and then the cosigned one in its place again.
        let fields = take(&store, &id, kind);
        store.append(kind, fields);
        let forged = store.note();
        assert_eq!(store.verify_with(&by(&witness, 1, Vec::new())).exit_code(), 6, "{kind}");
        fs::write(&path, &cosigned).unwrap();
        for kept in [Vec::new(), vec![Note::parse(&cosigned).unwrap()], vec![forged]] {
            let report = store.verify_with(&by(&witness, 1, kept));
            assert_eq!((report.sessions[0].verdict, report.sessions[0].anchored), (verdict, false), "{report:#?}");
            assert_eq!((report.exit_code(), report.outcome(), report.anchor.beyond), (6, "UNANCHORED", 1));
        }
        // A kept checkpoint alone cannot know what came after it: then the report says who says so.
        let report = store.verify_with(&by(&witness, 0, vec![Note::parse(&cosigned).unwrap()]));
        assert_eq!((report.exit_code(), report.outcome(), report.anchor.beyond), (0, "OK-UNANCHORED", 1));
        assert!(format!("{:?}", report.sessions[0].notes).contains("only the bastion says so"), "{report:#?}");
    }
}

#[test]
fn what_stands_in_the_journal_alone_excuses_nothing() {
    for kind in ["gc", "erase"] {
        let (store, id) = Store::with_session(&["one\r\n"]);
        let fields = take(&store, &id, kind);
        append_unsigned(&store, kind, fields);
        store.assert_verdict(&id, Verdict::Missing, "no checkpoint covers it");
    }
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::write(store.root().envelope(&id), b"another").unwrap();
    append_unsigned(
        &store,
        "envelope.create",
        json!({
            "session": id, "envelope": sha256_hex(b"another"), "recipients": "00".repeat(8), "rewrap": "00".repeat(32),
        }),
    );
    store.assert_verdict(&id, Verdict::Tampered, "no checkpoint covers it");
}

#[test]
fn an_ending_in_the_journal_alone_does_not_take_the_place_of_a_signed_one() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    let elsewhere = store.copy();
    elsewhere.recover();
    let forged = fs::read(elsewhere.session(&id).join("recovered.json")).unwrap();
    fs::write(store.session(&id).join("recovered.json"), &forged).unwrap();
    append_unsigned(&store, "session.recovered", json!({ "session": id, "recovered": sha256_hex(&forged) }));
    store.assert_verdict(&id, Verdict::Tampered, "no checkpoint covers it");
}

#[test]
fn a_log_without_a_checkpoint_is_unsigned_and_never_good() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n"]);
    bastion.close(live);
    let unsigned = store.copy();
    bastion.stop();
    let report = unsigned.verify();
    assert_eq!((report.log.verdict(), report.exit_code(), report.outcome()), (LogVerdict::Unsigned, 6, "UNSIGNED"));
    assert_eq!(report.sessions[0].verdict, Verdict::Interrupted, "{report:#?}");
    // Nothing was ever logged: nothing is proven either.
    let fresh = Store::new();
    drop(fresh.log());
    assert_eq!((fresh.verify().log.verdict(), fresh.verify().exit_code()), (LogVerdict::Unsigned, 6));
    // Leaves that were published had a checkpoint.
    fs::remove_file(store.path().join("log/checkpoint")).unwrap();
    fs::remove_dir_all(store.path().join("log/checkpoints")).unwrap();
    let report = store.verify();
    assert_eq!((report.log.verdict(), report.exit_code()), (LogVerdict::Tampered, 5), "{report:#?}");
    fs::remove_dir_all(store.path().join("log/tile")).unwrap();
    assert_eq!(store.verify().exit_code(), 6, "{:#?}", store.verify());
}

#[test]
fn a_leaf_that_excuses_beforehand_is_a_contradiction() {
    for kind in ["gc", "erase"] {
        let store = Store::new();
        let bastion = store.bastion();
        let live = bastion.open(&["one\r\n"]);
        let id = live.id.clone();
        let fields = if kind == "gc" { json!({ "sessions": [id] }) } else { json!({ "session": id }) };
        bastion.log.append(leaf(kind, fields)).unwrap();
        bastion.close(live);
        bastion.stop();
        take(&store, &id, kind);
        store.assert_verdict(&id, Verdict::Tampered, "no leaf before it says that it ended");
    }
}

#[test]
fn what_leaves_say_against_each_other_is_not_forgotten_with_the_files() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let start = store.entries().into_iter().find(|entry| String::from_utf8_lossy(entry).contains("session.start"));
    let mut fields: Value = serde_json::from_slice(&start.unwrap()).unwrap();
    for own in ["v", "seq", "ts", "node", "type"] {
        fields.as_object_mut().unwrap().remove(own);
    }
    store.append("session.start", fields);
    let fields = take(&store, &id, "gc");
    store.append("gc", fields);
    store.assert_verdict(&id, Verdict::Tampered, "begins a second time");
}

#[test]
fn a_closing_that_was_taken_away_before_a_start_is_missed() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let stopped = store.copy();
    let closed = |store: &Store| store.session(&id).join("closed.json");
    // The bastion may have stopped between the leaf and the file: that cannot be told, and is said.
    fs::remove_file(closed(&store)).unwrap();
    store.recover();
    store.assert_verdict(&id, Verdict::Interrupted, "says that it ended");
    // It went on after that: the file was there.
    stopped.append("node.stop", json!({}));
    fs::remove_file(closed(&stopped)).unwrap();
    stopped.recover();
    stopped.assert_verdict(&id, Verdict::Missing, "closed.json");
}

#[test]
fn a_channel_that_was_added_to_a_closed_recording_is_found_even_if_it_is_empty() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::create_dir(store.session(&id).join("7")).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "not a part of the recording");
}

#[test]
fn a_link_in_the_place_of_a_days_directory_is_found() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), store.path().join("rec/2020")).unwrap();
    let report = store.verify();
    assert_eq!((report.exit_code(), report.outcome()), (5, "TAMPERED"), "{report:#?}");
    fs::remove_file(store.path().join("rec/2020")).unwrap();
    let day = store.session(&id).parent().unwrap().to_owned();
    fs::rename(&day, elsewhere.path().join("day")).unwrap();
    symlink(elsewhere.path().join("day"), &day).unwrap();
    assert_eq!(store.verify().exit_code(), 5);
}

#[test]
fn an_endless_segment_keeps_neither_the_verifier_nor_a_start_waiting() {
    let endless = |path: &std::path::Path| {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(64 << 30).unwrap();
    };
    let (store, id) = Store::with_session(&["one\r\n"]);
    endless(&store.segment(&id, 1, 0));
    let begun = Instant::now();
    store.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n"]);
    let id = live.id.clone();
    let crashed = store.crashed(&bastion, live);
    endless(&crashed.segment(&id, 1, 0));
    crashed.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
    crashed.recover();
    crashed.assert_verdict(&id, Verdict::Interrupted, "stopped while it ran");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn two_auditors_who_were_shown_two_histories_find_it_when_they_compare_their_checkpoints() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let (one, other) = (store.copy(), store.copy());
    one.append("node.stop", json!({ "why": "one" }));
    other.append("node.stop", json!({ "why": "other" }));
    let kept = |note: Note| Settings {
        key: pinned(),
        kept: vec![Kept { from: String::from("kept"), note, witness: None }],
        ..Settings::default()
    };
    for (shown, theirs) in [(&one, &other), (&other, &one)] {
        assert_eq!(shown.verify_with(&kept(shown.note())).exit_code(), 0);
        let report = shown.verify_with(&kept(theirs.note()));
        assert_eq!((report.exit_code(), report.anchor.contradicted.len()), (5, 1), "{report:#?}");
    }
}

#[test]
fn a_key_beside_the_log_that_is_not_the_one_given_is_a_finding() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let path = store.path().join("log/key.pub");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let report = store.verify_with(&Settings { key: pinned(), ..Settings::default() });
        assert_eq!(report.exit_code(), 5, "byte {at}: {report:#?}");
    }
}
