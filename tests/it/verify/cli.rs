//! The program itself: what it prints, and its exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use doorward::cli::evidence::write_bundle;
use serde_json::Value;

use super::store::{Store, log_key, log_key_of};

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
fn a_session_that_nobody_knows_is_missing_and_what_is_no_id_is_a_mistake() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let verify = |id: &str| text(&doorward(&["verify", "--store", path(store.path()), "--session", id]));
    assert_eq!(verify(id.as_str()).0, 0);
    let (code, said) = verify("01J9ZK4Y8Q0000000000000001");
    assert!(code == 4 && said.contains("MISSING"), "{said}");
    assert_eq!(verify("01J9ZK4Y8Q").0, 2);
}

#[test]
fn what_vouches_for_nothing_is_said_with_its_reason() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let verify = |more: &[&str]| text(&doorward(&[&["verify", "--store", path(store.path())], more].concat()));
    let witness = super::store::witness_key("w1.example", 1).public().to_string();
    let (code, said) = verify(&["--witness-key", &witness, "--require-witness", "1"]);
    assert!(code == 6 && said.contains("UNANCHORED: 1 witness is required"), "{said}");
    assert!(said.contains("VERDICT: UNANCHORED") && !said.contains("give --witness-key"), "{said}");
    // A log that contradicts what was kept: nobody shall read its sessions as good.
    let (other, _) = Store::with_session(&["other\r\n"]);
    let kept = other.path().join("log/checkpoint");
    let (code, said) = verify(&["--from", path(&kept)]);
    assert!(code == 5 && said.contains("judged by a log that cannot be believed"), "{said}");
    assert!(said.contains("ANCHOR: contradicted by") && !said.contains("ANCHOR: none"), "{said}");
    let output = doorward(&["verify", "--store", path(store.path()), "--from", path(&kept), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["verdict"], &report["log"]["verdict"], &report["log"]["is_believed"]),
        (&"TAMPERED".into(), &"TAMPERED".into(), &false.into()),
        "{report:#}"
    );
    assert!(report["sessions"][0]["session"] == id.as_str());
}

#[test]
fn json_names_all_that_it_tells_and_leaves_no_list_out() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let kept = store.path().join("log/checkpoint");
    let output = doorward(&["verify", "--store", path(store.path()), "--from", path(&kept), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let anchor = &report["anchor"];
    assert_eq!(
        anchor["kept"],
        serde_json::json!([{ "from": path(&kept), "leaves": report["log"]["size"] }]),
        "{report:#}"
    );
    assert_eq!((&report["log"]["key_from"], &report["log"]["verdict"]), (&"beside".into(), &"OK".into()));
    let none = Value::Array(Vec::new());
    let session = &report["sessions"][0];
    for list in ["witnesses", "contradicted", "lacking"].map(|name| &anchor[name]) {
        assert_eq!(*list, none, "{report:#}");
    }
    for list in [&session["findings"], &session["notes"], &report["directories"], &report["unexpected"]] {
        assert_eq!(*list, none, "{report:#}");
    }
    assert_eq!(session["session"], id.as_str());
    let witness = super::store::witness_key("w1.example", 1);
    let text = store.note().unchecked_text().to_owned();
    let size = report["log"]["size"].as_u64().unwrap();
    store.log().add_signatures(size, vec![witness.cosign(&text, 1_700_000_000).unwrap()]).unwrap();
    let key = witness.public().to_string();
    let output = doorward(&["verify", "--store", path(store.path()), "--witness-key", &key, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let at = "2023-11-14T22:13:20.000Z";
    assert_eq!(report["anchor"]["witnesses"], serde_json::json!([{ "name": "w1.example", "at": at }]), "{report:#}");
    assert_eq!(report["anchor"]["newest"], at);
}

#[test]
fn a_note_does_not_look_like_another_fault() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    store.append("gc", serde_json::json!({ "sessions": [id] }));
    let segment = store.segment(&id, 1, 0);
    fs::write(&segment, b"").unwrap();
    let output = doorward(&["verify", "--store", path(store.path())]);
    let table = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(id.as_str())).collect();
    let places: Vec<&str> = rows.iter().map(|row| row.split_whitespace().nth(2).unwrap()).collect();
    let [fault, notes @ ..] = places.as_slice() else { panic!("{table}") };
    assert!(fault.ends_with("1/000000.seg"), "{table}");
    assert!(!notes.is_empty() && notes.iter().all(|place| *place == "note"), "{table}");
}

#[test]
fn names_of_files_forge_no_lines() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    for name in ["a\nVERDICT: OK\nx", "2020\u{9b}31m\u{202e}"] {
        fs::write(store.path().join("rec").join(name), b"").unwrap();
    }
    let output = doorward(&["verify", "--store", path(store.path())]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(said.lines().filter(|line| line.starts_with("VERDICT")).count(), 1, "{said}");
    let json = doorward(&["verify", "--json", "--store", path(store.path())]).stdout;
    let json = String::from_utf8(json).unwrap();
    assert!(!json.contains(['\u{9b}', '\u{202e}']) && !said.contains(['\u{9b}', '\u{202e}']), "{json}");
    serde_json::from_str::<Value>(&json).unwrap();
}

#[test]
fn mistakes_of_the_one_who_verifies_are_told_from_faults_of_the_store() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let log = log_key().public().to_string();
    let witness = super::store::witness_key("w1.example", 1).public().to_string();
    let mistyped = log.replacen("bastion+", "bastion+0", 1);
    for (more, words) in [
        (&["--vkey", mistyped.as_str()][..], "is no public key"),
        (&["--vkey", &witness], "is the key of a witness"),
        (&["--witness-key", &log, "--require-witness", "1"], "is the key of a log"),
        (&["--from", "nosuch"], "a checkpoint that you kept"),
        (&["--store", "/etc"], "is `/etc` a state directory?"),
    ] {
        let base = if more[0] == "--store" { vec!["verify"] } else { vec!["verify", "--store", path(store.path())] };
        let (code, said) = text(&doorward(&[&base, more].concat()));
        assert!(code == 2 && said.contains(words), "{said}");
    }
    let (code, said) = text(&doorward(&["verify", "bundle", "/etc"]));
    assert!(code == 2 && said.contains("is `/etc` a bundle?"), "{said}");
    let (code, said) = text(&doorward(&["verify", "--config", "/nosuch.toml"]));
    assert!(code == 2 && said.contains("--store DIR"), "{said}");
    let (code, said) = text(&doorward(&["verify", "--help"]));
    assert!(code == 0 && said.contains("Exit status"), "{said}");
    // The key of another log, of the same name or not: both are named.
    let other = log_key_of(9).public().to_string();
    let (code, said) = text(&doorward(&["verify", "--store", path(store.path()), "--vkey", &other]));
    let ids = [&log, &other].map(|key| key.rsplit_once('+').unwrap().0.to_owned());
    assert!(code == 5 && ids.iter().all(|id| said.contains(id)), "{said}");
}

#[test]
fn what_the_log_does_not_know_is_shown_to_nobody_unawares() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let (other, foreign) = Store::with_session(&["intruder\r\n"]);
    super::store::copy_tree(&other.session(&foreign), &store.session(&foreign));
    fs::copy(other.root().envelope(&foreign), store.root().envelope(&foreign)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let identity = dir.path().join("auditors.key");
    let keys = [&store, &other].map(|store| store.auditor.to_file().expose().clone());
    fs::write(&identity, keys.concat()).unwrap();
    let bare = dir.path().join("bare");
    super::store::copy_tree(&store.path().join("rec"), &bare.join("rec"));
    super::store::copy_tree(&store.path().join("env"), &bare.join("env"));
    let shown = |from: &Path, id: &str, more: &[&str]| {
        for verb in [&["export", "--format", "txt"][..], &["replay"]] {
            let of = ["--store", path(from), "--identity", path(&identity)];
            let (code, said) = text(&doorward(&[&["recording"], verb, &[id], &of, more].concat()));
            assert_eq!(said.contains("error:"), code != 0, "{said}");
            if code != 0 {
                return (code, said);
            }
        }
        (0, String::new())
    };
    assert_eq!(shown(store.path(), id.as_str(), &[]).0, 0);
    let (code, said) = shown(store.path(), foreign.as_str(), &[]);
    assert!(code == 5 && said.contains("TAMPERED") && !said.contains("intruder"), "{said}");
    assert_eq!(shown(store.path(), foreign.as_str(), &["--even-unverified"]).0, 0);
    // Nothing vouches for a directory with neither log nor proofs.
    assert_eq!(shown(&bare, id.as_str(), &[]).0, 1);
    assert_eq!(shown(&bare, id.as_str(), &["--even-unverified"]).0, 0);
    // What others did to other sessions does not keep anybody from this one.
    fs::remove_dir_all(store.session(&foreign)).unwrap();
    assert_eq!(shown(store.path(), id.as_str(), &[]).0, 0);
    fs::remove_file(store.path().join("log/checkpoint")).unwrap();
    assert_eq!(shown(store.path(), id.as_str(), &[]).0, 5);
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
