//! The audit log as operators and verifiers see it.

use std::io::{BufRead, BufReader};
use std::process::Command;

use serde_json::Value;

use crate::fixture::bastion::{ALICE, DB1, GRANTED, program};
use crate::fixture::process::Stdout;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, key, until};
use crate::require;

#[test]
fn a_sessions_whole_story_is_in_the_log() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(GRANTED);
    bastion.serve();
    let destination = format!("{}@{DB1}", sshd.account);
    let grant = bastion.grant(ALICE, &destination, "1h", "CHG-123 vacuum is stuck");
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    let session = bastion.only_recording();
    let story = || bastion.rows(&["audit", "list", "--session", &session]);
    until(LIMIT, "the end of the session", || story().iter().any(|event| event["type"] == "session.end").then_some(()));
    bastion.export(&session, "txt", &[]);
    let story = story();
    let kinds: Vec<&str> = story.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["session.start", "segment.seal", "segment.seal", "session.end", "replay.view"]);
    let start = &story[0];
    for (field, wanted) in [("user", ALICE), ("destination", &destination), ("grant", &grant), ("rule", "dba-granted")]
    {
        assert_eq!(start[field], wanted, "{start}");
    }
    assert!(start["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{start}");
    assert_eq!(story[3]["cause"], "the user left", "{}", story[3]);

    // Whoever reads is on record, and so are the grant and who gave it.
    let given = bastion.rows(&["audit", "list", "--type", "grant", "--user", ALICE]);
    assert_eq!((given.len(), &given[0]["reason"]), (1, &Value::from("CHG-123 vacuum is stuck")), "{given:?}");
    let reads = bastion.rows(&["audit", "list", "--type", "admin.call"]);
    assert!(reads.iter().any(|event| event["verb"] == "audit list"), "{reads:?}");
    // A table for people: one line an event.
    let table = bastion.doorward(&["audit", "list", "--session", &session]).ok().out();
    assert_eq!(table.lines().count(), 6, "{table}");

    // On disk, nothing of it can be read.
    for file in files(&bastion.data().join("log")) {
        let bytes = std::fs::read(&file).unwrap();
        for canary in [ALICE, &destination, "vacuum", "127.0.0.1", "dba-granted"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} is in {}", file.display());
        }
    }
}

#[test]
fn follow_shows_a_refusal_as_it_happens() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let alone = bastion.doorward(&["audit", "follow"]);
    assert!(alone.code == Some(1) && alone.err().contains("no server runs"), "{alone:?}");
    bastion.policy(GRANTED);
    bastion.serve();
    // Who runs the tests in the background may have them ignore SIGINT.
    let mut follow = Command::new("env");
    follow
        .arg("--default-signal=INT")
        .arg(program())
        .arg("--config")
        .arg(bastion.config())
        .args(["audit", "follow", "--json"]);
    let mut following = Running::start(follow, Stdout::Unread);
    // It is there once its own call is on record.
    until(LIMIT, "the reader", || bastion.audit().contains("audit list").then_some(()));
    let refused = bastion.to(&sshd).run("echo in");
    assert_eq!(refused.code, Some(126), "{refused:?}");
    let mut lines = BufReader::new(following.stdout()).lines();
    let event: Value = lines
        .find_map(|line| {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            (event["type"] == "session.refused").then_some(event)
        })
        .unwrap();
    assert_eq!(event["user"], ALICE, "{event}");
    // Waiting puts nothing on record: each of these events it has found by another look.
    let calls = |log: String| log.lines().filter(|line| line.contains("audit list")).count();
    let before = calls(bastion.audit());
    for _ in 0..3 {
        bastion.to(&sshd).run("echo in");
        let shown = lines.find(|line| line.as_ref().unwrap().contains("session.refused"));
        assert!(shown.is_some(), "the reader ended");
    }
    assert_eq!(calls(bastion.audit()), before + 1);
    following.signal(rustix::process::Signal::INT);
    assert_eq!(following.wait(LIMIT).signal, Some(2));
}

#[test]
fn key_checkpoint_and_proof_are_given_with_and_without_a_server() {
    let mut bastion = Bastion::init();
    let line = std::fs::read_to_string(bastion.data().join("log/key.pub")).unwrap();
    assert_eq!(bastion.log_key(), line.trim_end());
    let checkpoint = |bastion: &Bastion| {
        let text = bastion.doorward(&["audit", "checkpoint"]).ok().out();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (5, line.split('+').next().unwrap()), "{text}");
        lines[1].parse::<u64>().unwrap()
    };
    let before = checkpoint(&bastion);
    bastion.serve();
    assert!(checkpoint(&bastion) > before);
    let proof = bastion.doorward(&["audit", "prove", "0"]).ok().out();
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nextra "), "{proof}");
    let none = bastion.doorward(&["audit", "prove", "999"]);
    assert!(none.code == Some(1) && none.err().contains("999"), "{none:?}");
}

#[test]
fn a_log_or_a_database_that_was_put_back_is_refused() {
    let mut bastion = Bastion::init();
    bastion.doorward(&["user", "add", ALICE, "--group", "dba"]).ok();
    let (log, old) = (bastion.data().join("log"), bastion.scratch().join("old"));
    copy(&log, &old);
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    std::fs::rename(&log, bastion.scratch().join("new")).unwrap();
    copy(&old, &log);
    let told = bastion.start_server().wait(LIMIT);
    assert!(told.code == Some(1) && told.err().contains("put back"), "{told:?}");
    assert!(told.err().contains("evidence"), "{told:?}");
    let told = bastion.doorward(&["user", "list"]);
    assert!(told.code == Some(1) && told.err().contains("put back"), "{told:?}");
    // Nothing was signed meanwhile, so that the right one still serves.
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(bastion.scratch().join("new"), &log).unwrap();
    bastion.serve();
}

#[test]
fn a_leaf_that_somebody_else_wrote_into_the_journal_is_never_signed() {
    let mut bastion = Bastion::init();
    let (journal, checkpoint) = (bastion.data().join("log/leaves.wal"), bastion.data().join("log/checkpoint"));
    // A removal in the log's own form, or a leaf that would spoil the log for ever; only the tag cannot be made.
    let key = bastion.log_key();
    let next = bastion.rows(&["audit", "list"]).len();
    let (good, signed) = (std::fs::read(&journal).unwrap(), std::fs::read(&checkpoint).unwrap());
    let removal = format!(
        r#"{{"node":"{}","seq":{next},"sessions":[],"ts":"2026-11-21T14:50:00.000Z","type":"gc","v":1}}"#,
        key.split(['/', '+']).nth(1).unwrap()
    );
    for leaf in [removal.as_str(), r#"{"v":2}"#] {
        let word = u32::try_from(leaf.len()).unwrap() | 1 << 31;
        let record = [&word.to_le_bytes()[..], leaf.as_bytes(), &[7; 16]].concat();
        let forged = [&good[..], &record, &crc32c::crc32c(&record).to_le_bytes()].concat();
        std::fs::write(&journal, &forged).unwrap();
        for told in [bastion.start_server().wait(LIMIT), bastion.doorward(&["audit", "checkpoint"])] {
            let words = told.err();
            assert_eq!(told.code, Some(1), "{told:?}");
            assert!(words.contains("forged") && words.contains("truncate") && words.contains("evidence"), "{told:?}");
        }
        assert_eq!(std::fs::read(&checkpoint).unwrap(), signed);
        assert_eq!(std::fs::read(&journal).unwrap(), forged);
    }
    // As the hint says.
    std::fs::write(&journal, &good).unwrap();
    bastion.serve();
}

#[test]
fn a_store_of_an_earlier_version_is_refused_and_left_alone() {
    let bastion = Bastion::init();
    let (store, old) = (bastion.data().join("store.json"), bastion.data().join("log/audit.jsonl"));
    let text = std::fs::read_to_string(&store).unwrap();
    std::fs::write(&store, text.replace("\"format\":3", "\"format\":2")).unwrap();
    std::fs::write(&old, "{}\n").unwrap();
    for told in [bastion.start_server().wait(LIMIT), bastion.doorward(&["audit", "list"])] {
        assert!(told.err().contains("made by an earlier version; this version cannot read it"), "{told:?}");
        assert_eq!(told.code, Some(1), "{told:?}");
    }
    assert_eq!(std::fs::read_to_string(old).unwrap(), "{}\n");
}

#[test]
fn after_a_crash_the_log_goes_on_and_still_verifies() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let stranger = key(bastion.scratch(), "stranger", "ed25519", "");
    for _ in 0..3 {
        assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
        assert_eq!(bastion.to(&sshd).key(&stranger).run("echo in").code, Some(255));
        bastion.crash();
        bastion.serve();
    }
    let log = bastion.rows(&["audit", "list"]);
    assert!(log.iter().enumerate().all(|(n, event)| event["seq"] == n));
    let of = |kind: &str| log.iter().filter(|event| event["type"] == kind).count();
    assert_eq!((of("session.start"), of("node.start")), (3, 4));
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(&file, place).unwrap();
    }
}
