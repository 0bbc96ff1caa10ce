//! How recordings end: erased, removed when they are old, or held.

use serde_json::Value;

use crate::fixture::bastion::id;
use crate::fixture::{Bastion, LIMIT, Sshd, found, until};
use crate::require;

#[test]
fn t15_what_is_erased_or_removed_is_gone_and_on_record_and_the_rest_still_verifies() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    for text in ["one", "two", "three", "four"] {
        assert_eq!(bastion.to(&sshd).run(&format!("echo {text}")).code, Some(0));
    }
    let ids = until(LIMIT, "four recordings", || {
        let mut ids: Vec<String> = bastion.recordings().iter().map(id).collect();
        ids.sort();
        (ids.len() == 4).then_some(ids)
    });
    let (erased, held, old, untold) = (&ids[0], &ids[1], &ids[2], &ids[3]);

    let names = || found(bastion.closed_json(erased).parent().unwrap(), b"alice").len();
    assert_eq!(names(), 1);
    bastion
        .doorward(&["recording", "erase", erased, "--reason", "asked by the person", "--approver", "carol", "--yes"])
        .ok();
    let told = bastion.doorward(&["recording", "export", erased]);
    assert!(told.code == Some(1) && told.stdout.is_empty(), "it can still be read: {told:?}");
    assert_eq!(names(), 0);
    let left = serde_json::json!({ "session": erased, "erased": true });
    assert_eq!(bastion.rows(&["recording", "list"])[0], left);
    assert_eq!(bastion.rows(&["recording", "list", "--user", "alice"]).len(), 3);
    let story = bastion.rows(&["audit", "list", "--session", erased]);
    assert!(story.iter().any(|event| event["type"] == "erase"), "{story:?}");
    assert!(story.iter().all(|event| event["user"].is_null()), "the log still tells of people: {story:?}");
    // Who erased it, and why, is not erased with it.
    let erase = story.iter().find(|event| event["type"] == "erase").unwrap();
    assert!(erase["by"].as_str().unwrap().starts_with("uid ") && erase["reason"] == "asked by the person", "{erase}");
    let again = bastion.doorward(&["recording", "erase", erased, "--reason", "x", "--approver", "carol", "--yes"]);
    assert!(again.code == Some(1) && again.err().contains("was erased already"), "{again:?}");
    let late = bastion.doorward(&["recording", "hold", erased, "--reason", "x"]);
    assert!(late.code == Some(1) && late.err().contains("was erased already"), "{late:?}");
    let never = bastion.doorward(&["recording", "hold", old, "--reason", "x", "--release"]);
    assert!(never.code == Some(1) && never.err().contains("is not on hold"), "{never:?}");

    for kept in [held, untold] {
        bastion.doorward(&["recording", "hold", kept, "--reason", "CASE-7"]).ok();
    }
    let told = bastion.doorward(&["recording", "erase", held, "--reason", "x", "--approver", "carol", "--yes"]);
    assert!(told.code == Some(1) && told.err().contains("CASE-7"), "a hold was broken: {told:?}");

    let rows = bastion.rows(&["recording", "list"]);
    let holds: Vec<_> = rows.iter().filter(|row| !row["held"].is_null()).collect();
    assert!(holds.len() == 2 && holds[0]["session"] == **held && holds[0]["held"]["reason"] == "CASE-7", "{holds:?}");
    let table = bastion.doorward(&["recording", "list"]).ok().out();
    assert!(["HELD", "CASE-7", "<erased>"].iter().all(|word| table.contains(word)), "{table}");

    let slip = bastion.doorward(&["recording", "gc", "--older-than", "0s", "--yes"]);
    assert!(slip.code == Some(1) && slip.err().contains("--even-today"), "{slip:?}");
    let today = ["recording", "gc", "--older-than", "0s", "--even-today"];
    let gc = |more: &[&str]| bastion.doorward(&[&today[..], more].concat());
    assert!(gc(&["--dry-run"]).ok().out().contains(&format!("would remove {old}")));
    let told: Value = serde_json::from_slice(&gc(&["--dry-run", "--json"]).ok().stdout).unwrap();
    assert!(told["removed"].as_array().unwrap().contains(&Value::from(old.as_str())), "{told}");
    assert_eq!((&told["dry_run"], &told["kept"][0]["session"]), (&Value::from(true), &Value::from(held.as_str())));
    assert_eq!(bastion.recordings().len(), 4);
    // Nobody is there to be asked.
    assert_eq!(gc(&[]).code, Some(2));
    let told = gc(&["--yes"]).ok();
    assert!(told.out().contains(&format!("kept {held}")) && told.out().contains(&format!("removed {old}")), "{told:?}");
    let left: Vec<String> = bastion.recordings().iter().map(id).collect();
    assert_eq!(left, [held.as_str(), untold.as_str()]);
    assert!(String::from_utf8_lossy(&bastion.export(held, "txt", &[])).contains("two"));
    bastion.stop().ok();

    let told = bastion.doorward(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told.code, Some(0), "{report}");
    let verdict = |session: &str| {
        let rows = report["sessions"].as_array().unwrap();
        rows.iter().find(|row| row["session"] == session).map(|row| row["verdict"].clone()).unwrap()
    };
    assert_eq!((verdict(erased), verdict(old)), ("EXPIRED".into(), "EXPIRED".into()));
    assert_eq!(verdict(held), "OK-UNANCHORED");
    // Released, it goes as the others.
    bastion.doorward(&["recording", "hold", held, "--reason", "CASE-7 is over", "--release"]).ok();
    bastion.doorward(&["recording", "erase", held, "--reason", "over", "--approver", "carol", "--yes"]).ok();
    let told = bastion.doorward(&["verify"]);
    assert!(told.code == Some(0) && told.out().contains("SHREDDED"), "{told:?}");
    assert!(!told.out().contains("is there still"), "{told:?}");
    // Without such a leaf, the same is an attack.
    std::fs::remove_file(bastion.closed_json(untold).with_file_name("opened.json")).unwrap();
    std::fs::remove_file(bastion.data().join(format!("env/{untold}.age"))).unwrap();
    let told = bastion.doorward(&["verify"]);
    assert!(told.code == Some(5) && told.out().contains("TAMPERED"), "{told:?}");
}

#[test]
fn a_session_that_is_live_is_neither_erased_nor_removed() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let running = bastion.to(&sshd).start(&["-n"], "sleep 600");
    let session = until(LIMIT, "a session with a channel", || {
        let row = bastion.rows(&["session", "list"]).pop()?;
        (row["open_channels"].as_u64() > Some(0)).then(|| row["session"].as_str().unwrap().to_owned())
    });
    let told = bastion.doorward(&["recording", "erase", &session, "--reason", "x", "--approver", "carol", "--yes"]);
    assert!(told.code == Some(1) && told.err().contains("not ended"), "{told:?}");
    assert!(
        bastion
            .doorward(&["recording", "gc", "--older-than", "0s", "--even-today", "--yes"])
            .ok()
            .err()
            .contains("0 recordings")
    );
    assert_eq!(bastion.sessions(), std::slice::from_ref(&session));
    bastion.doorward(&["session", "kill", &session]).ok();
    drop(running);
    until(LIMIT, "end of the session", || bastion.sessions().is_empty().then_some(()));
    bastion.export(&session, "v3", &[]);
}
