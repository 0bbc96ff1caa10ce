//! Who can, who is, who did, what stands open, and the access review; by the commands that an operator types.

use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::bastion::{ALICE, DB1, id};
use crate::fixture::process::Running;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, key, until};
use crate::require;

/// `dba` may ask, `ops` may go; Eve may watch.
const RULES: &str = r#"
schema = 1
[[rule]]
id        = "dba"
who       = { groups = ["dba"] }
where     = { labels = { env = "test" } }
accounts  = ["@me"]
channels  = ["shell", "exec"]
grant     = { max = "1h", approvers = { group = "leads" } }
[[rule]]
id        = "ops"
who       = { users = ["carol"], groups = ["ops"] }
where     = { targets = ["db1"] }
accounts  = ["@me"]
channels  = ["exec"]
grant     = { required = false }
[[audit]]
id     = "auditors"
who    = { groups = ["auditors"] }
where  = { labels = { env = "test" } }
rights = ["watch"]
"#;

/// Alice and Dave of `dba`, Bob who approves, Carol of `ops`, Eve who watches. Dave is suspended.
struct House {
    bastion: Bastion,
    sshd: Sshd,
}

impl House {
    fn new() -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        for (name, group) in [("bob", "leads"), ("carol", "ops"), ("dave", "dba"), ("eve", "auditors")] {
            let key = key(bastion.scratch(), name, "ed25519", "");
            bastion.add_user(name, group, &key);
        }
        bastion.doorward(&["user", "suspend", "dave"]).ok();
        bastion.policy(RULES);
        bastion.serve();
        Self { bastion, sshd }
    }

    fn key(&self, name: &str) -> PathBuf {
        if name == ALICE { self.bastion.key.clone() } else { self.bastion.scratch().join(name) }
    }

    /// On the way to the target.
    fn to_target(&self, name: &str) -> Route {
        self.bastion.to(&self.sshd).key(&self.key(name))
    }

    #[track_caller]
    fn told(&self, name: &str, verb: &str) -> String {
        self.bastion.login(name).key(&self.key(name)).run(verb).ok().out()
    }

    /// Alice asks, Bob approves: the ids of the request and of the grant.
    #[track_caller]
    fn granted(&self) -> (String, String) {
        let place = format!("{}@{DB1}", self.sshd.account);
        let asked = self.told(ALICE, &format!("request {place} --for 30m --ticket CHG-7 --reason vacuum is stuck"));
        let request = asked.split_whitespace().nth(1).unwrap().to_owned();
        self.told("bob", &format!("approve {request} --note go ahead"));
        let grants = self.bastion.rows(&["grant", "list"]);
        (request, id(&grants[0]))
    }

    /// The row of a user.
    #[track_caller]
    fn row(&self, arguments: &[&str], user: &str) -> Value {
        let rows = self.bastion.rows(arguments);
        let mut own = rows.iter().filter(|row| row["user"] == user);
        let row = own.next().unwrap_or_else(|| panic!("{user} is not in {rows:?}")).clone();
        assert!(own.next().is_none(), "{rows:?}");
        row
    }
}

#[test]
fn who_can_tells_by_what_right_and_that_is_what_happens() {
    require!("ssh", "sshd");
    let house = House::new();
    let users = |more: &[&str]| -> Vec<String> {
        let rows = house.bastion.rows(&[&["who-can", DB1], more].concat());
        rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users(&[]), [ALICE, "carol"]);
    assert_eq!(users(&["--all"]), [ALICE, "carol", "dave"]);
    assert_eq!(users(&["--account", "nobody-there"]), Vec::<String>::new());
    let who_can = ["who-can", DB1];
    let alice = house.row(&who_can, ALICE);
    assert_eq!(
        (&alice["rule"], &alice["standing"], &alice["grants"]),
        (&"dba".into(), &false.into(), &serde_json::json!([]))
    );
    assert_eq!(
        (&alice["request"]["approvers"], &alice["request"]["max_seconds"]),
        (&"1 of leads".into(), &3600.into())
    );
    assert_eq!(house.to_target(ALICE).run("true").code, Some(126));
    assert_eq!(house.row(&who_can, "carol")["standing"], true);
    house.to_target("carol").run("true").ok();
    let (request, grant) = house.granted();
    let held = &house.row(&who_can, ALICE)["grants"][0];
    assert_eq!((&held["grant"], &held["state"]), (&grant.as_str().into(), &"active".into()));
    house.to_target(ALICE).run("true").ok();
    let text = house.bastion.doorward(&["who-can", DB1, "--all"]).ok().out();
    for part in [&format!("by {grant}; may ask, approved by 1 of leads"), "open", "suspended", "shell, exec"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A grant that lasts longer is still one.
    let asked = house.told(ALICE, &format!("extend {request} --for 20m"));
    house.told("bob", &format!("approve {}", asked.split_whitespace().nth(1).unwrap()));
    let longer = &house.row(&who_can, ALICE)["grants"];
    assert_eq!(longer.as_array().unwrap().len(), 1, "{longer}");
    assert!(longer[0]["until"].as_str() > held["until"].as_str(), "{longer} {held}");
    house.told(ALICE, &format!("give-back {request}"));
    assert_eq!(house.row(&who_can, ALICE)["grants"], serde_json::json!([]));
    let cut = house.bastion.doorward(&["who-can", DB1, "--all", "--most", "1"]).ok();
    assert_eq!(cut.out().lines().count(), 2, "{cut:?}");
    assert!(cut.err().contains("only 1 of 3"), "{cut:?}");
    assert_eq!(house.bastion.doorward(&["who-can", "nowhere"]).code, Some(1));
}

#[test]
fn what_stands_open_is_listed_and_counted() {
    require!("ssh", "sshd");
    let house = House::new();
    let told = house.bastion.doorward(&["standing"]).ok();
    assert!(told.out().contains("carol") && !told.out().contains(ALICE), "{told:?}");
    assert!(told.err().contains("1 right without a grant"), "{told:?}");
    let row = house.row(&["standing", "--label", "env=test"], "carol");
    assert_eq!((&row["rule"], &row["channels"]), (&"ops".into(), &serde_json::json!(["exec"])));
    let none = house.bastion.doorward(&["standing", "--label", "env=prod", "--json"]).ok();
    assert_eq!((none.out().trim(), none.err().trim()), ("[]", "0 rights without a grant"));
}

#[test]
fn what_is_locked_is_told_as_locked_and_by_which_lock() {
    require!("ssh", "sshd");
    let house = House::new();
    let lock = |on: [&str; 2], more: &[&str]| {
        let words = [&["lock", "add", on[0], on[1], "--reason", "an attack"], more].concat();
        house.bastion.doorward(&words).ok();
        id_of(&house.bastion.rows(&["lock", "list"])[0])
    };
    let lifted = |lock: &str| drop(house.bastion.doorward(&["lock", "lift", lock]).ok());
    let target = lock(["--target", DB1], &[]);
    for (verb, more) in [("who-can", &[DB1][..]), ("standing", &[])] {
        let words = [&[verb], more].concat();
        assert_eq!(house.row(&words, "carol")["locked"], target.as_str());
        let told = house.bastion.doorward(&words).ok().text();
        assert!(told.contains(&format!("locked by {target}")), "{verb}: {told}");
        assert!(!told.contains(" open  "), "{verb}: {told}");
    }
    assert!(house.bastion.doorward(&["standing"]).ok().err().contains("1 of them locked now"));
    assert_eq!(house.row(&["who-can", DB1], ALICE)["locked"], target.as_str());
    lifted(&target);
    assert!(house.row(&["who-can", DB1], "carol")["locked"].is_null());
    // A user's lock is on that user alone; a session under it is told too.
    let (_live, _output) = house.to_target("carol").start_ready(&[], "cat");
    assert!(house.bastion.doorward(&["who-is"]).ok().out().contains("  live  "));
    let user = lock(["--user", "carol"], &["--freeze"]);
    assert_eq!(house.row(&["who-can", DB1], "carol")["locked"], user.as_str());
    assert!(house.row(&["who-can", DB1], ALICE)["locked"].is_null());
    assert_eq!(house.row(&["who-is"], "carol")["locked"], user.as_str());
    assert!(house.bastion.doorward(&["who-is"]).ok().out().contains(&format!("locked by {user}")));
    lifted(&user);
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().unwrap_or_else(|| panic!("no id in {row}")).to_owned()
}

#[test]
fn who_is_tells_why_until_when_and_who_watches() {
    require!("ssh", "sshd");
    let house = House::new();
    assert!(house.bastion.rows(&["who-is"]).is_empty());
    let (request, grant) = house.granted();
    let live = house.to_target(ALICE).start(&["-tt"], "cat");
    let session = house.bastion.only_session();
    let row = || house.row(&["who-is"], ALICE);
    let first = row();
    assert_eq!((&first["session"], &first["grant"]), (&session.as_str().into(), &grant.as_str().into()));
    assert_eq!((&first["request"], &first["ticket"]), (&request.as_str().into(), &"CHG-7".into()));
    assert_eq!(first["watchers"], serde_json::json!([]));
    assert!(first["remaining_seconds"].as_u64() > Some(0) && first["reason"].as_str().unwrap().contains("vacuum"));
    let eve = house.bastion.login("eve").key(&house.key("eve"));
    let watching: Running = until(LIMIT, "a channel to watch", || {
        (row()["open_channels"].as_u64() > Some(0)).then(|| eve.start(&["-T"], &format!("session watch {session}")))
    });
    until(LIMIT, "a watcher", || (row()["watchers"] == serde_json::json!(["eve"])).then_some(()));
    let text = house.bastion.doorward(&["who-is"]).ok().out();
    assert!(text.contains("eve") && text.contains("CHG-7 vacuum is stuck"), "{text}");
    drop(watching);
    until(LIMIT, "no watcher", || (row()["watchers"] == serde_json::json!([])).then_some(()));
    drop(live);
}

#[test]
fn who_did_tells_of_past_sessions_and_what_is_left_of_erased_ones() {
    require!("ssh", "sshd");
    let house = House::new();
    let (request, grant) = house.granted();
    house.to_target(ALICE).run("true").ok();
    house.to_target("carol").run("true").ok();
    house.bastion.empties(LIMIT);
    house.bastion.recordings();
    let who_did = |more: &[&str]| house.bastion.rows(&[&["who-did", DB1], more].concat());
    assert_eq!(who_did(&[]).len(), 2);
    let row = house.row(&["who-did", DB1], ALICE);
    assert_eq!(
        (&row["grant"], &row["rule"], &row["end"]),
        (&grant.as_str().into(), &"dba".into(), &"the user left".into())
    );
    assert_eq!(
        (&row["requests"][0]["request"], &row["requests"][0]["ticket"]),
        (&request.as_str().into(), &"CHG-7".into())
    );
    let approval = &row["requests"][0]["approvals"][0];
    assert_eq!((&approval["by"], &approval["note"]), (&"bob".into(), &"go ahead".into()));
    assert!(
        row["ended"].is_string() && row["started"].is_string() && row["reason"].as_str().unwrap().contains("vacuum")
    );
    let text = house.bastion.doorward(&["who-did", DB1, "--from", "1h"]).ok().out();
    assert!(text.contains("bob") && text.contains(&request) && text.contains("CHG-7 vacuum is stuck"), "{text}");
    for (more, count) in
        [(&["--user", "carol"][..], 1), (&["--user", "bob"], 0), (&["--to", "1h"], 0), (&["--from", "1h"], 2)]
    {
        assert_eq!(who_did(more).len(), count, "{more:?}");
    }
    let later = [&["--from"][..], &["2999-01-01"]].concat();
    assert!(who_did(&later).is_empty());
    assert!(house.bastion.rows(&["who-did", "nowhere"]).is_empty());
    // Whose an erased one was is told by its grant, which is not erased; of one without a grant nothing is left.
    for row in who_did(&[]) {
        let session = id(&row);
        let erase = ["recording", "erase", &session, "--reason", "asked by the person", "--approver", "carol", "--yes"];
        house.bastion.doorward(&erase).ok();
    }
    let row = house.row(&["who-did", DB1], ALICE);
    assert_eq!((&row["erased"], &row["grant"]), (&true.into(), &grant.as_str().into()));
    assert_eq!(
        (&row["erasure"]["reason"], &row["erasure"]["approver"]),
        (&"asked by the person".into(), &"carol".into())
    );
    // Its request is not looked up by the server for what it cannot see; the log tells.
    let told = &row["requests"][0];
    assert_eq!((&told["request"], &told["ticket"]), (&request.as_str().into(), &"CHG-7".into()));
    assert!(told["approvals"][0]["by"].as_str().unwrap().contains("bob"), "{told}");
    let nobody: Vec<Value> = who_did(&[]).into_iter().filter(|row| row["user"].is_null()).collect();
    assert_eq!(nobody.len(), 1);
    assert!(house.bastion.doorward(&["who-did", DB1]).ok().out().contains("<erased by uid"));
}

#[test]
fn a_right_is_reviewed_signed_and_its_removal_is_told() {
    require!("ssh", "sshd");
    let mut house = House::new();
    let line = |house: &House, user: &str| house.row(&["review"], user);
    house.to_target("carol").run("true").ok();
    let (alice, carol) = (line(&house, ALICE), line(&house, "carol"));
    assert_eq!((&alice["last_use"], &alice["unused"], &alice["signed"]), (&Value::Null, &true.into(), &Value::Null));
    assert_eq!((&carol["unused"], &carol["how"]), (&false.into(), &"open".into()));
    assert!(carol["last_use"].is_string(), "{carol}");
    assert_eq!(line(&house, "dave")["suspended"], true);
    let of = |row: &Value| row["line"].as_str().unwrap().to_owned();
    let sign = |house: &House, row: &Value, verdict: &str| {
        house.bastion.doorward(&["review", "sign", &of(row), verdict, "--note", "looked at it"])
    };
    sign(&house, &alice, "keep").ok();
    let told = sign(&house, &carol, "remove").ok().text();
    for part in [
        "take \"carol\" out of `who.users` of rule `ops`",
        "test.toml:10",
        "user set carol --no-groups",
        "nothing has changed",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // It is on record, and nothing else has changed.
    let rows = house.bastion.rows(&["audit", "list", "--type", "access.review"]);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((&rows[1]["line"], &rows[1]["verdict"]), (&carol["line"], &"remove".into()));
    assert_eq!((&rows[1]["user"], &rows[1]["note"]), (&"carol".into(), &"looked at it".into()));
    house.to_target("carol").run("true").ok();
    house.bastion.stop().ok();
    house.bastion.serve();
    let again = line(&house, ALICE);
    assert_eq!((&again["line"], &again["signed"]["verdict"]), (&alice["line"], &"keep".into()));
    assert!(again["signed"]["by"].as_str().unwrap().starts_with("uid "), "{again}");
    let text = house.bastion.doorward(&["review", "--group", "dba"]).ok();
    assert!(text.out().contains("never (unused)") && text.out().contains("keep by uid"), "{text:?}");
    assert!(text.err().contains("2 lines, 2 unused for over 90 days, 1 not signed"), "{text:?}");
    assert!(house.bastion.rows(&["review", "--target", DB1]).len() == 3);
    // What says something else is another line, and not signed.
    house
        .bastion
        .policy(&RULES.replace("channels  = [\"shell\", \"exec\"]", "channels  = [\"shell\", \"exec\", \"agent\"]"));
    house.bastion.doorward(&["policy", "reload"]).ok();
    let wider = line(&house, ALICE);
    assert!(wider["line"] != alice["line"] && wider["signed"].is_null(), "{wider}");
    let gone = sign(&house, &alice, "keep");
    assert!(gone.code == Some(2) && gone.err().contains("no line"), "{gone:?}");
    assert_eq!(house.bastion.rows(&["audit", "list", "--type", "access.review"]).len(), 2);
}
