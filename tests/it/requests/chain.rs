//! From the request to the report, with no human hand but the approval; and what a revoke does to files that are open.

use serde_json::Value;

use super::{ALICE, Hook, House};
use crate::fixture::bastion::{DB1, GRANTED};
use crate::fixture::process::{Running, Stdout, descendants};
use crate::fixture::{Bastion, LIMIT, Sshd, until};
use crate::require;

// C28. Changing the secret of the account afterwards is not built: the report says who has used it.
#[test]
fn c28_a_request_becomes_a_grant_a_session_its_end_and_a_report_by_itself() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let asked = house.told(ALICE, &format!("request {} --for 8s --reason CHG-7 vacuum is stuck --json", house.place()));
    let request: Value = serde_json::from_str(&asked).unwrap();
    let request = request["request"].as_str().unwrap().to_owned();
    // The one human hand.
    house.told("bob", &format!("approve {request} --note go ahead"));
    let grant = house.bastion.rows(&["grant", "list"])[0]["id"].as_str().unwrap().to_owned();
    let (live, _out) = house.alice().start_ready(&[], "cat");
    let session = house.bastion.only_session();
    // Nobody ends it.
    let ended = live.wait_with_open_stdin(LIMIT);
    assert_eq!(ended.code, Some(255), "{ended:?}");
    house.bastion.empties(LIMIT);
    assert!(house.is_out().contains("your grant ended at"));
    // Nothing is left standing, and nothing waits for anybody.
    assert_eq!(house.bastion.rows(&["grant", "list"]), Vec::<Value>::new());
    assert_eq!(house.bastion.rows(&["request", "list"]), Vec::<Value>::new());
    assert_eq!(house.bastion.rows(&["standing"]), Vec::<Value>::new());
    // One answer tells all of it.
    let did = house.bastion.rows(&["who-did", DB1]);
    let [row] = did.as_slice() else { panic!("{did:?}") };
    assert_eq!((&row["session"], &row["user"], &row["grant"]), (&session.into(), &ALICE.into(), &grant.clone().into()));
    let behind = &row["requests"][0];
    assert_eq!((&behind["request"], &behind["ticket"]), (&request.clone().into(), &Value::Null), "{behind}");
    assert!(behind["reason"].as_str().unwrap().contains("CHG-7"), "{behind}");
    assert!(behind["approvals"][0]["by"].as_str().unwrap().starts_with("bob"), "{behind}");
    assert_eq!(behind["approvals"][0]["note"], "go ahead");
    // In this order in the log, which verifies.
    let rows = house.bastion.rows(&["audit", "list"]);
    let at =
        |kind: &str| rows.iter().position(|row| row["type"] == kind).unwrap_or_else(|| panic!("no {kind}: {rows:?}"));
    let order = ["request.create", "request.step", "grant.add", "session.start", "session.end"].map(at);
    assert!(order.is_sorted(), "{order:?}");
    until(LIMIT, "verdict", || (house.bastion.doorward(&["verify"]).code == Some(0)).then_some(()));
}

#[test]
fn a_request_shows_what_people_were_told_of_it_and_how_that_went() {
    require!("ssh", "sshd");
    let (takes, refuses) = (Hook::start(|_| 204), Hook::start(|_| 503));
    let house = House::prepared(" }", |bastion| {
        let hooks = [&takes, &refuses].map(|hook| format!("\"http://127.0.0.1:{}/secret-path\"", hook.port)).join(", ");
        bastion.configure("notify", &format!("webhooks = [{hooks}]"));
    });
    let id = house.requested();
    let shown = until(LIMIT, "deliveries", || {
        let shown = house.bastion.doorward(&["request", "show", &id]).ok().out();
        (shown.contains("delivered at") && shown.contains("not taken, ")).then_some(shown)
    });
    let told: Vec<&str> = shown.lines().filter(|line| line.starts_with("told ")).collect();
    assert_eq!(told.len(), 2, "{shown}");
    for (hook, how) in [(&takes, "delivered at"), (&refuses, "not taken, 1 tries")] {
        let way = format!("request.create by webhook 127.0.0.1:{} ", hook.port);
        assert!(told.iter().any(|line| line.contains(&way) && line.contains(how)), "{way}: {shown}");
    }
    assert!(!shown.contains("secret-path"), "{shown}");
    let row = house.bastion.json(&["request", "show", &id]);
    let states: Vec<&Value> = row["told"][0]["ways"].as_object().unwrap().values().map(|way| &way["state"]).collect();
    assert!(states.contains(&&Value::from("delivered")) && states.contains(&&Value::from("waiting")), "{row}");
}

#[test]
fn a_revoked_grant_ends_files_that_are_on_their_way() {
    require!("ssh", "sshd", "sftp");
    for (way, rights) in [("get", "sftp-read"), ("put", "sftp-write")] {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&GRANTED.replace(r#"["shell", "exec"]"#, &format!(r#"["{rights}"]"#)));
        bastion.serve();
        let grant = bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), "1h", "CHG-1 a test");
        let (far, near) = (sshd.folder().join("big"), bastion.scratch().join("big"));
        let (from, to) = if way == "get" { (&far, &near) } else { (&near, &far) };
        // More than comes through in the time of the test; it has no blocks.
        std::fs::File::create(from).unwrap().set_len(64 << 30).unwrap();
        let batch = bastion.scratch().join("batch");
        std::fs::write(&batch, format!("{way} {} {}\n", from.display(), to.display())).unwrap();
        // Slowly, for the disk's sake.
        let sftp = bastion.to(&sshd).copier("sftp", &["-q", "-l", "16000", "-b", batch.to_str().unwrap(), "{}"]);
        let running = Running::start(sftp, Stdout::Gathered);
        let size = || std::fs::metadata(to).map_or(0, |about| about.len());
        until(LIMIT, "bytes of the file", || (size() > 1 << 20).then_some(()));
        let session = bastion.only_session();
        let start = std::time::Instant::now();
        bastion.doorward(&["grant", "revoke", &grant]).ok();
        let told = running.wait_with_open_stdin(LIMIT);
        // It writes into a pipe that is gone, or has heard of it.
        assert!(told.code != Some(0) && told.text().contains("revoked"), "{told:?}");
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{told:?}");
        until(LIMIT, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
        bastion.empties(LIMIT);
        // Nothing more comes, and what came is on record as far as it came.
        let after = size();
        crate::fixture::holds(std::time::Duration::from_millis(500), "the end", || size() == after);
        let rows = bastion.rows(&["audit", "list", "--session", &session]);
        assert!(rows.iter().any(|row| row["type"] == "grant.revoke" || row["type"] == "session.end"), "{rows:?}");
        let files: Vec<&Value> = rows.iter().filter(|row| row["type"] == "file" && row["what"] == way).collect();
        assert_eq!(files.len(), 1, "{rows:?}");
        let again = crate::sftp::sftp(&bastion.to(&sshd), "pwd\n");
        assert_ne!(again.code, Some(0), "{again:?}");
    }
}
