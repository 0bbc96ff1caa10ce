//! Those who come from outside, and programs: users whose time ends, rules without a terminal.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::fixture::bastion::{ALICE, DB1, OPEN};
use crate::fixture::process::Stdout;
use crate::fixture::route::line;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, key, until};
use crate::require;

/// P3: "never over 5 s".
const SOON: Duration = Duration::from_secs(5);

const WATCH: &str = "[[audit]]\nid = \"watchers\"\nwho = { groups = [\"watchers\"] }\nwhere = { targets = [\"*\"] }\n\
                     rights = [\"watch\"]\n";

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    jiff::Timestamp::from_second(i64::try_from(since.as_secs()).unwrap()).unwrap().to_string()
}

#[test]
fn c17_a_user_whose_end_date_comes_is_out_with_all_that_is_live() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let wandas = key(bastion.scratch(), "wanda", "ed25519", "");
    bastion.add_user("wanda", "watchers", &wandas);
    bastion.policy(&format!("{OPEN}{WATCH}"));
    bastion.serve();
    let (mut live, mut output) = bastion.to(&sshd).start_ready(&[], "sleep 600");
    // Whoever watches is out with their own date, too.
    let session = bastion.only_session();
    let watching = bastion.login("wanda").key(&wandas).ssh(&[], &format!("session watch {session}"));
    let watching = Running::start(watching, Stdout::Gathered);
    let watched = || bastion.rows(&["session", "list"])[0]["watchers"] == serde_json::json!(["wanda"]);
    until(LIMIT, "a watcher", || watched().then_some(()));
    let ends_soon = |name: &str| {
        let end = SystemTime::now() + Duration::from_secs(4);
        bastion.doorward(&["user", "set", name, "--until", &rfc3339(end)]).ok();
        end
    };
    let end = ends_soon("wanda");
    let watched = watching.wait_with_open_stdin(LIMIT);
    let late = end.elapsed().unwrap_or_default();
    assert!(late < SOON && watched.code != Some(0), "{late:?} after the end: {watched:?}");
    assert!(!live.ended());
    let end = ends_soon(ALICE);
    let ended = live.wait(LIMIT);
    let late = end.elapsed().unwrap_or_default();
    assert!(late < SOON && ended.code == Some(255), "{late:?} after the end: {ended:?}");
    assert!(ended.err().contains("access was suspended"), "{ended:?}");
    assert_eq!(line(&mut output), "");
    // No login opens anything.
    let refused = bastion.to(&sshd).run("true");
    assert!(refused.code == Some(126) && refused.err().contains("suspended"), "{refused:?}");
    let refused = bastion.login("wanda").key(&wandas).run("session list");
    assert!(refused.code == Some(126) && refused.err().contains("suspended"), "{refused:?}");
    // It is told everywhere: by lists, answers, the log.
    let users = bastion.rows(&["user", "list"]);
    assert!(users.iter().all(|user| user["until"].is_string()), "{users:?}");
    assert!(bastion.doorward(&["user", "list"]).ok().out().contains("ended "));
    assert!(bastion.rows(&["who-can", DB1]).is_empty());
    assert!(bastion.audit().contains("until: "), "{}", bastion.audit());
    let resumed = bastion.doorward(&["user", "resume", ALICE]);
    assert!(resumed.code == Some(1) && resumed.err().contains("--until none"), "{resumed:?}");
    bastion.doorward(&["user", "set", ALICE, "--until", "none"]).ok();
    bastion.to(&sshd).run("true").ok();
}

#[test]
fn c16_a_rule_without_a_terminal_is_for_programs() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "bots", &bobs);
    // People agree to a text; programs cannot, and get no terminal.
    let bots = OPEN.replace("schema = 1", "").replace("\"dba\"", "\"bots\"");
    bastion
        .policy(&format!("{OPEN}consent = \"You are recorded.\"\n{bots}terminal = false\nfrom = [\"127.0.0.0/8\"]\n"));
    bastion.serve();
    let (alice, bob) = (bastion.to(&sshd), bastion.to(&sshd).key(&bobs));
    let person = alice.run("true");
    assert!(person.code == Some(126) && person.err().contains("consent"), "{person:?}");
    assert_eq!(bob.run("echo ran").ok().out(), "ran\n");
    assert_eq!(bob.run_with(&["-T"], "", b"echo shell\n").ok().out(), "shell\n");
    let recordings = bastion.recordings().len();
    for command in ["", "echo ran"] {
        let refused = bob.run_with(&["-tt"], command, b"exit\n");
        assert!(refused.code == Some(126) && refused.text().contains("not on a terminal"), "{command}: {refused:?}");
    }
    assert_eq!(bastion.recordings().len(), recordings, "what is refused opens no session");
    let log = bastion.audit();
    assert!(log.contains("without a terminal only"), "{log}");
}

#[test]
fn c17_a_session_for_four_eyes_ends_when_its_last_watcher_leaves() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let wandas = key(bastion.scratch(), "wanda", "ed25519", "");
    bastion.add_user("wanda", "watchers", &wandas);
    bastion.policy(&format!("{OPEN}four_eyes = {{ on_leave = \"end\" }}\n{WATCH}"));
    bastion.serve();
    let watch = || {
        let session = bastion.only_session();
        Running::start(
            bastion.login("wanda").key(&wandas).ssh(&[], &format!("session watch {session}")),
            Stdout::Gathered,
        )
    };
    let mut live = bastion.to(&sshd).start(&[], "echo ready; sleep 600");
    let mut output = live.stdout();
    until(LIMIT, "a session that waits", || (!bastion.sessions().is_empty()).then_some(()));
    let watching = watch();
    assert_eq!(line(&mut output), "ready\n");
    drop(watching);
    let left = SystemTime::now();
    let ended = live.wait(LIMIT);
    let took = left.elapsed().unwrap();
    assert!(took < SOON && ended.code == Some(255), "{took:?}: {ended:?}");
    assert!(ended.err().contains("nobody watches this session any more"), "{ended:?}");
    bastion.empties(LIMIT);
    assert!(bastion.audit().contains("the last watcher left"), "{}", bastion.audit());
    // What ends by itself ends as ever, watched to its end.
    let mut short = bastion.to(&sshd).start(&[], "echo ready; read -r line; exit 7");
    let (mut output, mut input) = (short.stdout(), short.stdin());
    until(LIMIT, "a session that waits", || (!bastion.sessions().is_empty()).then_some(()));
    let watching = watch();
    assert_eq!(line(&mut output), "ready\n");
    input.write_all(b"go\n").unwrap();
    assert_eq!(short.wait(LIMIT).code, Some(7));
    assert_eq!(watching.wait(LIMIT).code, Some(0));
}

#[test]
fn what_approvers_decide_no_operator_gives() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let approved = "grant = { approvers = { group = \"leads\" } }\n";
    let rules = OPEN.replace("grant     = { required = false }\n", approved);
    bastion.policy(&rules);
    bastion.serve();
    let place = format!("{}@{DB1}", sshd.account);
    let grant = ["grant", "add", ALICE, &place, "--for", "1h", "--reason", "CHG-1"];
    bastion.doorward(&grant).ok();
    bastion.to(&sshd).run("true").ok();
    let (live, _output) = bastion.to(&sshd).start_ready(&[], "sleep 600");
    bastion.policy(&rules.replace("leads\" }", "leads\" }, operators = false"));
    bastion.doorward(&["policy", "reload"]).ok();
    // What was given before does not open it any more, not for what is live either.
    assert_eq!(live.wait_with_open_stdin(SOON).code, Some(255));
    let refused = bastion.to(&sshd).run("true");
    assert!(refused.code == Some(126) && refused.err().contains("one that was asked for"), "{refused:?}");
    let refused = bastion.doorward(&grant);
    for part in ["operators = false", "1 of leads", "ssh alice@BASTION request"] {
        assert!(refused.code == Some(1) && refused.err().contains(part), "{part}: {refused:?}");
    }
    let told = bastion.doorward(&["who-can", DB1]).ok().out();
    assert!(told.contains("no operator's grant counts") && !told.contains("granted"), "{told}");
    assert_eq!(bastion.rows(&["who-can", DB1])[0]["operators"], false);
    let why = bastion.login(ALICE).run("why").ok().out();
    assert!(why.contains("no operator's own counts"), "{why}");
    bastion.doorward(&["check"]).ok();
}
