//! Auditors come and go: recordings are sealed for others by those who can open them, while the server runs.

use std::path::{Path, PathBuf};

use doorward::auditor::Identity;
use serde_json::Value;

use crate::fixture::bastion::id;
use crate::fixture::process::Finished;
use crate::fixture::{Bastion, LIMIT, Sshd, sha256, until};
use crate::recordings::files;
use crate::require;

/// A new auditor's identity: the file, and the recipient.
fn auditor(bastion: &Bastion, name: &str) -> (PathBuf, String) {
    let identity = Identity::generate();
    let file = bastion.scratch().join(name);
    std::fs::write(&file, identity.to_file().expose()).unwrap();
    (file, identity.recipient().to_string())
}

/// A bastion with so many recordings, by their ids.
fn recorded(sshd: &Sshd, count: usize) -> (Bastion, Vec<String>) {
    let bastion = Bastion::serving(sshd);
    for number in 0..count {
        assert_eq!(bastion.to(sshd).run(&format!("echo recorded-{number}")).code, Some(0));
    }
    let ids = until(LIMIT, "recordings", || {
        let mut ids: Vec<String> = bastion.recordings().iter().map(id).collect();
        ids.sort();
        (ids.len() == count).then_some(ids)
    });
    (bastion, ids)
}

fn rewrap(bastion: &Bastion, arguments: &[&str]) -> Finished {
    bastion.doorward(&[&["recording", "rewrap"][..], arguments].concat())
}

fn read(bastion: &Bastion, session: &str, identity: &Path) -> Finished {
    bastion.doorward(&["recording", "export", session, "--format", "txt", "--identity", identity.to_str().unwrap()])
}

#[track_caller]
fn verifies(bastion: &Bastion, identity: &Path) {
    let told = bastion.doorward(&["verify", "--deep", "--identity", identity.to_str().unwrap()]);
    assert_eq!(told.code, Some(0), "{told:?}");
}

fn outcomes(told: &Finished) -> Vec<String> {
    let rows: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    rows.as_array().unwrap().iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_auditor_hands_every_recording_over_to_another() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (mut bastion, ids) = recorded(&sshd, 3);
    let old = bastion.identity();
    let (new, recipient) = auditor(&bastion, "new.key");
    let (old_text, new_text) = (old.to_str().unwrap().to_owned(), new.to_str().unwrap().to_owned());
    bastion.doorward(&["recording", "hold", &ids[2], "--reason", "CASE-7"]).ok();
    // Who cannot open them does nothing.
    let told = rewrap(&bastion, &["--all", "--identity", &new_text, "--to", &recipient, "--json"]).ok();
    assert_eq!(outcomes(&told), ["sealed-for-others"; 3], "{told:?}");
    let told = rewrap(&bastion, &[&ids[0], "--identity", &new_text, "--to", &recipient]);
    assert!(
        told.code == Some(1)
            && told.err().contains("1 of 1 recording is as it was")
            && told.out().contains("other auditors"),
        "{told:?}"
    );

    let told = rewrap(&bastion, &["--all", "--identity", &old_text, "--to", &recipient, "--json"]);
    assert_eq!((told.code, outcomes(&told)), (Some(1), vec!["rewrapped".into(), "rewrapped".into(), "failed".into()]));
    assert!(told.out().contains("CASE-7"), "{told:?}");
    for (number, session) in ids.iter().enumerate().take(2) {
        assert!(read(&bastion, session, &new).ok().out().contains(&format!("recorded-{number}")));
        let told = read(&bastion, session, &old);
        assert!(told.code == Some(1) && told.stdout.is_empty(), "{told:?}");
    }
    let rows = bastion.recordings();
    assert_eq!(rows[0]["auditors"], serde_json::json!([recipient]), "{rows:?}");
    read(&bastion, &ids[2], &old).ok();
    verifies(&bastion, &new);
    let story = bastion.rows(&["audit", "list", "--session", &ids[0], "--type", "envelope"]);
    assert_eq!(story.len(), 1, "{story:?}");
    let envelope = std::fs::read(bastion.data().join("env").join(format!("{}.age", ids[0]))).unwrap();
    assert_eq!(story[0]["envelope"], sha256(&envelope).as_str());
    // What is done is not done twice, and what was on hold goes once it is not.
    bastion.doorward(&["recording", "hold", &ids[2], "--release", "--reason", "over"]).ok();
    let told = rewrap(&bastion, &["--all", "--identity", &old_text, "--to", &recipient, "--json"]).ok();
    assert_eq!(outcomes(&told), ["unchanged", "unchanged", "rewrapped"]);

    // The earlier envelopes go when the new auditor has opened the present ones, and not before.
    let told = rewrap(&bastion, &[&ids[0], "--drop-earlier", "--yes", "--identity", &old_text]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let earlier = |session: &str| {
        let names = std::fs::read_dir(bastion.data().join("env/rewrapped").join(session)).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "age").count()
    };
    assert_eq!(earlier(&ids[0]), 1);
    let told = rewrap(&bastion, &["--all", "--drop-earlier", "--yes", "--identity", &new_text, "--json"]).ok();
    assert_eq!((outcomes(&told), earlier(&ids[0])), (vec!["dropped".to_owned(); 3], 0));
    verifies(&bastion, &new);

    // Erased, nothing opens it again; removed, nothing of it is left.
    bastion.doorward(&["recording", "erase", &ids[0], "--reason", "asked", "--approver", "carol", "--yes"]).ok();
    let told = rewrap(&bastion, &[&ids[0], "--identity", &new_text, "--to", &recipient]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let told = bastion.doorward(&["verify", "--session", &ids[0]]);
    assert!(told.code == Some(0) && told.out().contains("SHREDDED"), "{told:?}");
    bastion.doorward(&["recording", "gc", "--older-than", "0s", "--even-today", "--yes"]).ok();
    assert_eq!(std::fs::read_dir(bastion.data().join("env/rewrapped")).unwrap().count(), 0);
    bastion.stop().ok();
    verifies(&bastion, &new);
}

#[test]
fn no_identity_need_come_to_the_bastion() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, ids) = recorded(&sshd, 2);
    let (new, recipient) = auditor(&bastion, "new.key");
    let old = bastion.identity();
    // A copy on the auditor's machine.
    let copy = bastion.scratch().join("copy");
    for file in files(&bastion.data()) {
        let place = copy.join(file.strip_prefix(bastion.data()).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&file, place).unwrap();
    }
    let out = bastion.scratch().join("new.jsonl");
    let paths = [old.to_str().unwrap(), copy.to_str().unwrap(), out.to_str().unwrap()];
    let told = rewrap(
        &bastion,
        &["--all", "--identity", paths[0], "--to", &recipient, "--store", paths[1], "--out", paths[2], "--json"],
    );
    assert_eq!(outcomes(&told.ok()), ["written"; 2]);
    read(&bastion, &ids[0], &old).ok();
    // Somebody on the way changes an envelope: it has the form of one, and nobody has signed it.
    let text = std::fs::read_to_string(&out).unwrap();
    let forged = bastion.scratch().join("forged.jsonl");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (one, two) = (lines[0]["envelope"].clone(), lines[1]["envelope"].clone());
    (lines[0]["envelope"], lines[1]["envelope"]) = (two, one);
    std::fs::write(&forged, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let told = rewrap(&bastion, &["--apply", forged.to_str().unwrap()]);
    assert!(told.code == Some(1) && told.out().contains("has signed this"), "{told:?}");
    read(&bastion, &ids[0], &old).ok();
    for garbage in [&b"{}\n"[..], b"\xff\xfe", &[b'x'; 3 << 20]] {
        std::fs::write(&forged, garbage).unwrap();
        let told = rewrap(&bastion, &["--apply", forged.to_str().unwrap()]);
        assert!(told.code == Some(2) && told.err().contains("line 1"), "{told:?}");
    }
    let apply = ["--apply", paths[2], "--json"];
    assert_eq!(outcomes(&rewrap(&bastion, &apply).ok()), ["rewrapped"; 2]);
    assert_eq!(outcomes(&rewrap(&bastion, &apply).ok()), ["unchanged"; 2]);
    assert!(read(&bastion, &ids[1], &new).ok().out().contains("recorded-1"));
    verifies(&bastion, &new);
}

#[test]
fn the_next_start_finishes_what_a_crash_interrupted() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (mut bastion, ids) = recorded(&sshd, 1);
    let (session, old) = (&ids[0], bastion.identity());
    let (new, recipient) = auditor(&bastion, "new.key");
    rewrap(&bastion, &[session, "--identity", old.to_str().unwrap(), "--to", &recipient]).ok();
    bastion.crash();
    // As it is on disk when the bastion stops between the leaf and the change.
    let place = bastion.data().join("env").join(format!("{session}.age"));
    let beside = bastion.data().join("env/rewrapped").join(session);
    let present = sha256(&std::fs::read(&place).unwrap());
    let earlier = std::fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().path());
    let earlier = earlier.into_iter().find(|path| path.extension().unwrap() == "age").unwrap();
    std::fs::rename(&place, beside.join(format!("{present}.age"))).unwrap();
    std::fs::rename(earlier, &place).unwrap();
    std::fs::rename(beside.join(format!("{present}.json")), beside.join("next.json")).unwrap();
    read(&bastion, session, &old).ok();
    bastion.serve();
    read(&bastion, session, &new).ok();
    assert_eq!(read(&bastion, session, &old).code, Some(1));
    assert!(!beside.join("next.json").exists());
    verifies(&bastion, &new);
}

#[test]
fn other_auditors_are_for_new_sessions_and_on_record_at_the_start_that_sees_them() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (mut bastion, ids) = recorded(&sshd, 1);
    let rotations = |bastion: &Bastion| {
        let rows = bastion.rows(&["audit", "list", "--type", "key.rotate"]);
        rows.iter().filter(|row| row["rotated"] != "master-key").cloned().collect::<Vec<Value>>()
    };
    let first = rotations(&bastion);
    assert_eq!((first.len(), &first[0]["rotated"], &first[0]["previous"]), (1, &"auditors".into(), &Value::Null));
    bastion.stop().ok();
    bastion.serve();
    assert_eq!(rotations(&bastion).len(), 1, "nothing has changed");
    bastion.stop().ok();
    let (new, recipient) = auditor(&bastion, "new.key");
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    let line = text.lines().find(|line| line.starts_with("auditors = ")).unwrap();
    std::fs::write(bastion.config(), text.replace(line, &format!("auditors = [\"{recipient}\"]"))).unwrap();
    bastion.serve();
    let second = rotations(&bastion);
    assert_eq!((second.len(), &second[1]["previous"]), (2, &first[0]["public"]), "{second:?}");
    assert_ne!(second[1]["public"], first[0]["public"]);
    assert_eq!(bastion.to(&sshd).run("echo later").code, Some(0));
    let later = until(LIMIT, "another recording", || {
        bastion.recordings().iter().map(id).find(|session| !ids.contains(session))
    });
    assert!(read(&bastion, &later, &new).ok().out().contains("later"));
    assert_eq!(read(&bastion, &later, &bastion.identity()).code, Some(1));
    read(&bastion, &ids[0], &bastion.identity()).ok();
    // A rule that names its own is on record when it comes into force.
    bastion.policy(&crate::fixture::bastion::recorded(
        crate::fixture::bastion::OPEN,
        &format!("auditors = [\"{recipient}\"]"),
    ));
    bastion.doorward(&["policy", "reload"]).ok();
    let third = rotations(&bastion);
    assert_eq!((third.len(), &third[2]["rotated"]), (3, &"auditors of rule dba".into()), "{third:?}");
    // Each set that was in force is kept, by the hash that its leaf names.
    let loads = bastion.rows(&["audit", "list", "--type", "policy.load"]);
    assert!(loads.len() >= 3, "{loads:?}");
    for load in loads {
        let hash = load["hash"].as_str().unwrap().to_owned();
        assert_eq!(sha256(&std::fs::read(bastion.data().join("policies").join(&hash)).unwrap()), hash);
    }
    assert_eq!(bastion.doorward(&["verify"]).code, Some(0));
}
