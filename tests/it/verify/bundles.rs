//! An evidence bundle on a machine that has never seen the bastion.

use std::fs;
use std::path::{Path, PathBuf};

use doorward::auditor::Identity;
use doorward::cli::evidence::{check_bundle, write_bundle};
use doorward::model::SessionId;
use doorward::tlog::Checkpoint;
use doorward::verify::{BundleReport, Settings, Verdict};
use serde_json::{Value, json};

use super::store::{Store, leaf, pinned, witness_key};

fn by_key() -> Settings {
    Settings { key: pinned(), ..Settings::default() }
}

fn refused(made: Result<(), doorward::cli::CliError>, why: &str) {
    let told = format!("{:?}", made.unwrap_err());
    assert!(told.contains(why), "{told} does not say `{why}`");
}

struct Made {
    store: Store,
    session: SessionId,
    bundle: PathBuf,
    _dir: tempfile::TempDir,
}

fn made() -> Made {
    let (store, session) = Store::with_session(&["one\r\n", "two\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &session, &bundle).unwrap();
    Made { store, session, bundle, _dir: dir }
}

fn check(bundle: &Path, identity: &Identity) -> BundleReport {
    check_bundle(bundle, &by_key(), Some(vec![identity.clone()])).0
}

fn files(bundle: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![bundle.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn a_bundle_proves_itself_without_its_store() {
    let Made { store, session, bundle, _dir } = made();
    let auditor = store.auditor.clone();
    drop(store);
    let report = check(&bundle, &auditor);
    assert_eq!(
        (report.exit_code(), report.verdict, report.casts_compared),
        (0, Verdict::OkUnanchored, true),
        "{report:#?}"
    );
    assert_eq!(report.session, Some(session));
    let cast = fs::read_to_string(bundle.join("channel-1.cast")).unwrap();
    assert!(cast.contains("two"), "{cast}");
    let coverage: Value = serde_json::from_slice(&fs::read(bundle.join("coverage.json")).unwrap()).unwrap();
    let shell = &coverage["channels"][1];
    assert_eq!((&shell["stdout"]["recorded"], &shell["stdout"]["in_full"]), (&json!(10), &json!(true)), "{coverage:#}");
    assert_eq!(coverage["end"], "client-left");
}

#[test]
fn a_bundle_whose_key_is_its_own_is_unpinned_however_good_it_is() {
    let made = made();
    let (report, _) = check_bundle(&made.bundle, &Settings::default(), Some(vec![made.store.auditor.clone()]));
    assert!(report.findings.is_empty());
    assert_eq!(report.exit_code(), 6);
}

#[test]
fn every_byte_of_a_bundle_is_bound() {
    let Made { store, bundle, _dir, .. } = made();
    let mut flipped = 0;
    for path in files(&bundle) {
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let report = check(&bundle, &store.auditor);
            assert_eq!(report.exit_code(), 5, "byte {at} of {}: {report:#?}", path.display());
            flipped += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(flipped > 8000, "{flipped}");
    assert_eq!(check(&bundle, &store.auditor).exit_code(), 0);
}

#[test]
fn a_bundle_from_which_anything_was_taken_or_to_which_anything_was_added_is_found() {
    let Made { store, bundle, _dir, .. } = made();
    for path in files(&bundle) {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let report = check(&bundle, &store.auditor);
        assert_eq!(report.exit_code(), 5, "{} removed: {report:#?}", path.display());
        fs::write(&path, &bytes).unwrap();
        let other = path.with_file_name(format!("{}2", path.file_name().unwrap().to_string_lossy()));
        fs::write(&other, &bytes).unwrap();
        let report = check(&bundle, &store.auditor);
        assert_eq!(report.exit_code(), 5, "{} added: {report:#?}", other.display());
        fs::remove_file(&other).unwrap();
    }
}

#[test]
fn without_an_identity_all_but_the_casts_is_checked_and_that_is_said() {
    let Made { bundle, _dir, .. } = made();
    let (report, _) = check_bundle(&bundle, &by_key(), None);
    assert_eq!((report.exit_code(), report.outcome(), report.casts_compared), (6, "CASTS UNCHECKED", false));
    assert!(format!("{:?}", report.notes).contains("--identity"));
    // Who cannot open it knows nothing of the casts, neither for nor against them.
    let wrong = check(&bundle, &Identity::generate());
    assert_eq!((wrong.exit_code(), wrong.outcome(), wrong.findings.is_empty()), (6, "CASTS UNCHECKED", true));
    assert!(format!("{:?}", wrong.notes).contains("not sealed for the identity"));
}

#[test]
fn a_cast_that_was_forged_does_not_pass_because_nobody_compared_it() {
    let Made { store, bundle, _dir, .. } = made();
    let cast = bundle.join("channel-1.cast");
    let forged = fs::read_to_string(&cast).unwrap().replace("two", "six");
    fs::write(&cast, forged).unwrap();
    assert_eq!(check_bundle(&bundle, &by_key(), None).0.exit_code(), 6);
    assert_eq!(check(&bundle, &store.auditor).exit_code(), 5);
}

#[test]
fn a_sealed_bundle_has_no_casts_to_compare() {
    let (store, session) = Store::with_session(&["one\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("sealed");
    doorward::verify::plan(store.path(), &session, &by_key()).unwrap().write(store.path(), &bundle).unwrap();
    let (report, _) = check_bundle(&bundle, &by_key(), None);
    assert_eq!((report.exit_code(), report.casts, report.outcome()), (0, false, "OK-UNANCHORED"), "{report:#?}");
}

#[test]
fn an_interrupted_recordings_bundle_has_a_cast_of_each_channel_with_a_record() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n"]);
    let session = live.id.clone();
    let crashed = store.crashed(&bastion, live);
    crashed.recover();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(crashed.path(), vec![crashed.auditor.clone()], &session, &bundle).unwrap();
    assert_eq!(check(&bundle, &crashed.auditor).exit_code(), 3);
    // With a coverage statement that fits what is left.
    let coverage = bundle.join("coverage.json");
    let mut left: Value = serde_json::from_slice(&fs::read(&coverage).unwrap()).unwrap();
    left["channels"].as_array_mut().unwrap().remove(1);
    fs::write(&coverage, format!("{}\n", serde_json::to_string_pretty(&left).unwrap())).unwrap();
    fs::remove_file(bundle.join("channel-1.cast")).unwrap();
    let (report, _) = check_bundle(&bundle, &by_key(), None);
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    assert!(format!("{:?}", report.findings).contains("channel-1.cast"), "{report:#?}");
}

#[test]
fn another_logs_bundle_does_not_pass_with_this_logs_key() {
    let Made { bundle, store, _dir, .. } = made();
    let other = doorward::tlog::SigningKey::from_seed(
        doorward::tlog::KeyName::parse("example.org/bastion").unwrap(),
        doorward::tlog::Algorithm::Note,
        doorward::secret::Secret::new([9; 32]),
    )
    .unwrap();
    let settings = Settings { key: Some(other.public().clone()), ..Settings::default() };
    let (report, _) = check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()]));
    assert_eq!(report.exit_code(), 5);
}

#[test]
fn cosignatures_travel_with_a_bundle() {
    let (store, session) = Store::with_session(&["one\r\n"]);
    let witness = witness_key("w1.example", 1);
    let text = store.note().unchecked_text().to_owned();
    let size = Checkpoint::parse(&text).unwrap().size;
    store.log().add_signatures(size, vec![witness.cosign(&text, 1_800_000_000).unwrap()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &session, &bundle).unwrap();
    let settings = Settings { witnesses: vec![witness.public().clone()], require_witnesses: 1, ..by_key() };
    let (report, _) = check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()]));
    assert_eq!((report.exit_code(), report.verdict, report.witnesses.len()), (0, Verdict::Ok, 1), "{report:#?}");
    let two = Settings { require_witnesses: 2, witnesses: settings.witnesses, ..by_key() };
    assert_eq!(check_bundle(&bundle, &two, Some(vec![store.auditor.clone()])).0.exit_code(), 6);
}

#[test]
fn a_bundle_goes_to_the_newest_checkpoint_that_witnesses_cosigned() {
    let (store, session) = Store::with_session(&["one\r\n"]);
    let witness = witness_key("w1.example", 1);
    let text = store.note().unchecked_text().to_owned();
    let size = Checkpoint::parse(&text).unwrap().size;
    // More is published before the witness answers, as of the very act of taking the bundle.
    store.append("node.start", json!({}));
    let log = store.log();
    assert!(!log.add_signatures(size, vec![witness.cosign(&text, 1_800_000_000).unwrap()]).unwrap());
    drop(log);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &session, &bundle).unwrap();
    let settings = Settings { witnesses: vec![witness.public().clone()], require_witnesses: 1, ..by_key() };
    let (report, _) = check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()]));
    assert_eq!((report.exit_code(), report.size), (0, size), "{report:#?}");
    let report = store.verify_with(&settings);
    assert_eq!((report.exit_code(), report.anchor.cosigned), (0, size), "{report:#?}");
    assert_eq!((report.sessions[0].verdict, report.anchor.beyond), (Verdict::Ok, 1));
    // One that does not cover the session's end is no checkpoint for it.
    let bastion = store.bastion();
    let later = bastion.session(&["two\r\n"]);
    bastion.stop();
    let bundle = dir.path().join("later");
    write_bundle(store.path(), vec![store.auditor.clone()], &later, &bundle).unwrap();
    let (report, _) = check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()]));
    assert!(report.exit_code() == 6 && report.size > size, "{report:#?}");
    let report = store.verify_with(&settings);
    assert_eq!((report.exit_code(), report.anchor.cosigned), (6, size), "{report:#?}");
    // One that does not hold counts against the log.
    let path = store.path().join(format!("log/checkpoints/{size}"));
    let note = fs::read_to_string(&path).unwrap();
    let [.., last] = note.lines().collect::<Vec<_>>()[..] else { panic!("{note}") };
    let other = witness.cosign(&text.replacen("bastion", "bastian", 1), 1_800_000_000).unwrap();
    let other = {
        let mut forged = store.note();
        forged.add(other);
        forged.to_string()
    };
    fs::write(&path, note.replace(last, other.lines().last().unwrap())).unwrap();
    assert_eq!(store.verify_with(&settings).exit_code(), 5);
}

#[test]
fn a_start_that_was_put_on_record_again_later_is_not_the_sessions_start() {
    let (store, session) = Store::with_session(&["one\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let mut entries = store.entries();
    let mut start: Value = serde_json::from_slice(&entries[0]).unwrap();
    assert_eq!(start["type"], "session.start");
    let later = doorward::clock::Clock::system().now();
    for (minutes, code) in [(5, 0), (20, 5)] {
        start["ts"] = String::from(later.plus(std::time::Duration::from_secs(minutes * 60))).into();
        entries[0] = start.to_string().into_bytes();
        store.forge_log(&entries);
        let bundle = dir.path().join(minutes.to_string());
        doorward::verify::plan(store.path(), &session, &by_key()).unwrap().write(store.path(), &bundle).unwrap();
        let (report, _) = check_bundle(&bundle, &by_key(), None);
        assert_eq!(report.exit_code(), code, "{report:#?}");
        let told = format!("{report:?}").contains("not of the time when the session's id was made");
        assert_eq!(told, code == 5, "{report:#?}");
    }
}

#[test]
fn a_cast_with_a_hole_in_it_holds_nobody_up() {
    let Made { store, bundle, _dir, .. } = made();
    let cast = fs::OpenOptions::new().write(true).open(bundle.join("channel-1.cast")).unwrap();
    cast.set_len(8 << 40).unwrap();
    let report = check(&bundle, &store.auditor);
    assert!(format!("{report:?}").contains("more than the recording can hold"), "{report:#?}");
}

#[test]
fn there_is_no_evidence_of_what_does_not_verify_or_is_not_over() {
    let (store, session) = Store::with_session(&["one\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let export = |session: &SessionId, name: &str| {
        write_bundle(store.path(), vec![store.auditor.clone()], session, &dir.path().join(name))
    };
    let bastion = store.bastion();
    let live = bastion.open(&["live\r\n"]);
    bastion.log.publish().unwrap();
    refused(export(&live.id, "live"), "no checkpoint covers the beginning and the end");
    bastion.close(live);
    bastion.stop();
    export(&session, "good").unwrap();
    refused(export(&session, "good"), "there is something in");
    let path = store.segment(&session, 1, 0);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    refused(export(&session, "cut"), "TAMPERED");
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(store.root().envelope(&session)).unwrap();
    store.append("erase", json!({ "session": session }));
    refused(export(&session, "shredded"), "SHREDDED");
    assert!(!dir.path().join("cut").exists() && !dir.path().join("shredded").exists());
}

#[test]
fn an_interrupted_session_has_evidence_too() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n"]);
    let session = live.id.clone();
    bastion.log.append(leaf("node.stop", json!({}))).unwrap();
    let crashed = store.crashed(&bastion, live);
    crashed.recover();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(crashed.path(), vec![crashed.auditor.clone()], &session, &bundle).unwrap();
    let report = check(&bundle, &crashed.auditor);
    assert_eq!((report.exit_code(), report.verdict), (3, Verdict::Interrupted), "{report:#?}");
    let coverage: Value = serde_json::from_slice(&fs::read(bundle.join("coverage.json")).unwrap()).unwrap();
    assert_eq!(coverage["end"], "interrupted");
}
