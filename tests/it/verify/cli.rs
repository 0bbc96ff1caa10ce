//! The program itself: what it prints, and its exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use doorward::cli::evidence::write_bundle;
use serde_json::Value;

use super::store::{Store, log_key};

fn doorward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorward")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn verify_needs_a_directory_and_nothing_else_and_writes_nothing() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let before = store.files();
    let (code, said) = text(&doorward(&["verify", "--store", path(store.path())]));
    assert_eq!(code, 0, "{said}");
    for words in ["SESSIONS: 1: 1 OK-UNANCHORED", "LOG: OK: example.org/bastion", "not pinned", "ANCHOR: none"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(store.files(), before);
    let key = log_key().public().to_string();
    let checkpoint = store.path().join("log/checkpoint");
    let kept = ["verify", "--store", path(store.path()), "--vkey", &key, "--from", path(&checkpoint), "--json"];
    let output = doorward(&kept);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["exit"], &report["sessions"][0]["verdict"]), (&0.into(), &"OK".into()), "{report:#}");
    assert_eq!(
        (&report["log"]["key_from"], report["sessions"][0]["session"].as_str()),
        (&"pinned".into(), Some(id.as_str()))
    );
}

#[test]
fn the_exit_status_is_the_worst_verdict() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let verify = |more: &[&str]| text(&doorward(&[&["verify", "--store", path(store.path())], more].concat()));
    let envelope = store.root().envelope(&id);
    let aside = fs::read(&envelope).unwrap();
    fs::remove_file(&envelope).unwrap();
    let (code, said) = verify(&[]);
    assert!(code == 4 && said.contains("MISSING") && said.contains(".age"), "{said}");
    let segment = store.segment(&id, 1, 0);
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..150]).unwrap();
    let (code, said) = verify(&[]);
    assert!(code == 5 && said.contains("TAMPERED") && said.contains("at byte"), "{said}");
    fs::write(&segment, bytes).unwrap();
    fs::write(&envelope, aside).unwrap();
    let witness = super::store::witness_key("w1.example", 1).public().to_string();
    let (code, said) = verify(&["--witness-key", &witness, "--require-witness", "1"]);
    assert!(code == 6, "{said}");
    assert_eq!(verify(&["--require-witness", "1"]).0, 2, "a witness without a key");
    assert_eq!(verify(&["--deep"]).0, 2, "nothing to open it with");
    assert_eq!(verify(&["--vkey", "nonsense"]).0, 2);
    assert_eq!(text(&doorward(&["verify", "--store", "/nowhere"])).0, 2);
}

#[test]
fn a_bundle_is_checked_with_a_key_from_elsewhere() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &id, &bundle).unwrap();
    let identity = dir.path().join("auditor.key");
    fs::write(&identity, store.auditor.to_file().expose()).unwrap();
    drop(store);
    let key = dir.path().join("log.pub");
    fs::write(&key, format!("{}\n", log_key().public())).unwrap();
    let with = |more: &[&str]| text(&doorward(&[&["verify", "bundle", path(&bundle)], more].concat()));
    let (code, said) = with(&["--vkey", path(&key), "--identity", path(&identity)]);
    assert!(code == 0 && said.contains("alice as root@db1"), "{said}");
    let (code, said) = with(&["--identity", path(&identity)]);
    assert!(code == 6 && said.contains("UNPINNED"), "{said}");
    let cast = bundle.join("channel-1.cast");
    let changed = fs::read_to_string(&cast).unwrap().replace("one", "two");
    fs::write(&cast, changed).unwrap();
    let (code, said) = with(&["--vkey", path(&key), "--identity", path(&identity)]);
    assert!(code == 5 && said.contains("channel-1.cast"), "{said}");
}
