//! Live oversight: those whom `[[audit]]` rules name pause sessions, speak to them, end them; by stock `ssh`.

use std::path::PathBuf;
use std::time::Duration;

use crate::algorithms::facts;
use crate::fixture::bastion::{ALICE, OPEN};
use crate::fixture::process::{Finished, Stdout};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, holds, key, until};
use crate::require;

/// P3: "never over 5 s".
const SOON: Duration = Duration::from_secs(5);

const AUDIT: &str = "[[audit]]\nid = \"overseers\"\nwho = { groups = [\"overseers\"] }\nwhere = { targets = [\"*\"] }\n\
                     rights = [\"watch\", \"freeze\", \"message\", \"kill\", \"lift\"]\n\
                     [[audit]]\nid = \"watchers\"\nwho = { groups = [\"watchers\"] }\nwhere = { targets = [\"db1\"] }\n\
                     rights = [\"watch\", \"lift\"]\n";

/// Alice who works, Bob and Carol who oversee, Wanda who only watches, Alice's second name that oversees.
struct House {
    bastion: Bastion,
    sshd: Sshd,
}

impl House {
    fn with(policy: &str) -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        for (name, group) in
            [("bob", "overseers"), ("carol", "overseers"), ("wanda", "watchers"), ("alice2", "overseers")]
        {
            let key = key(bastion.scratch(), name, "ed25519", "");
            bastion.add_user(name, group, &key);
        }
        bastion.doorward(&["user", "set", "alice2", "--person", ALICE]).ok();
        bastion.policy(&format!("{policy}{AUDIT}"));
        bastion.serve();
        Self { bastion, sshd }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.bastion.scratch().join(name)
    }

    fn ask(&self, name: &str, verb: &str) -> Finished {
        self.bastion.login(name).key(&self.key(name)).run(verb)
    }

    #[track_caller]
    fn told(&self, name: &str, verb: &str) -> String {
        self.ask(name, verb).ok().out()
    }

    #[track_caller]
    fn refused(&self, name: &str, verb: &str) {
        let told = self.ask(name, verb);
        assert!(told.code == Some(126) && told.text().contains("there is no such"), "{name} {verb}: {told:?}");
    }

    fn terminal(&self) -> Terminal {
        let terminal = Terminal::start(&self.bastion.to(&self.sshd).ssh(&["-tt"], ""), 100, 30);
        terminal.line("echo typed-$((40+2))");
        terminal.shows("typed-42");
        terminal
    }
}

#[test]
fn who_oversees_pauses_a_session_speaks_to_its_user_and_ends_it() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(OPEN);
    let terminal = house.terminal();
    let session = house.bastion.only_session();
    house.told("bob", &format!("session message {session} the disk is full"));
    terminal.shows("message from bob: the disk is full");
    assert!(house.told("bob", &format!("session freeze {session}")).contains("paused by bob"));
    terminal.shows("paused by those who watch over it");
    assert!(house.told("carol", "session list").contains("paused by bob"));
    let mark = house.sshd.folder().join("mark");
    terminal.line(&format!("touch {}", mark.display()));
    house.told("carol", &format!("session message {session} a moment"));
    terminal.shows("message from carol: a moment");
    assert!(!mark.exists());
    assert!(house.told("carol", &format!("session unfreeze {session}")).contains("goes on"));
    terminal.shows("this session goes on");
    until(LIMIT, "the line that waited", || mark.exists().then_some(()));
    house.told("bob", &format!("session kill {session}"));
    until(SOON, "end on the terminal", || terminal.ended().then_some(()));
    house.bastion.empties(SOON);
    // All of it is on record: in the log by whom, in the recording what the user was told.
    let log = house.bastion.rows(&["audit", "list", "--type", "session.control"]);
    let verbs: Vec<&str> = log.iter().map(|row| row["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["message", "freeze", "message", "unfreeze", "kill"]);
    assert!(log.iter().all(|row| row["session"] == session.as_str()), "{log:?}");
    assert!(log[1]["by"].as_str().unwrap().starts_with("bob by SHA256:"), "{log:?}");
    let facts = facts(&house.bastion, &session);
    for said in ["paused by bob", "goes on from here", "the disk is full"] {
        assert!(facts.contains(said), "{said}: {facts}");
    }
}

#[test]
fn without_the_right_or_on_ones_own_session_nobody_has_a_hand() {
    require!("ssh", "sshd");
    let house = House::with(OPEN);
    let (mut running, _out) = house.bastion.to(&house.sshd).start_ready(&[], "cat");
    let session = house.bastion.only_session();
    for verb in ["freeze", "unfreeze", "kill"] {
        house.refused("wanda", &format!("session {verb} {session}"));
        house.refused("alice2", &format!("session {verb} {session}"));
    }
    house.refused("wanda", &format!("session message {session} hello"));
    assert!(house.bastion.rows(&["session", "list"])[0]["paused"].is_null());
    assert!(!running.ended());
    house.refused("bob", "session freeze 01J9ZZZZZZZZZZZZZZZZZZZZZZ");
    assert!(house.bastion.rows(&["audit", "list", "--type", "session.control"]).is_empty());
}

#[test]
fn operators_pause_and_speak_to_sessions_too() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(OPEN);
    let terminal = house.terminal();
    let session = house.bastion.only_session();
    house.bastion.doorward(&["session", "message", &session, "we look at it"]).ok();
    terminal.shows("message from the operators: we look at it");
    house.bastion.doorward(&["session", "freeze", &session]).ok();
    terminal.shows("paused by those who watch over it");
    house.bastion.doorward(&["session", "unfreeze", &session]).ok();
    terminal.shows("this session goes on");
    let steers = house.bastion.doorward(&["session", "message", &session, "\u{1b}[2J"]);
    assert_eq!(steers.code, Some(2), "{steers:?}");
    let none = house.bastion.doorward(&["session", "freeze", "01J9ZZZZZZZZZZZZZZZZZZZZZZ"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    let log = house.bastion.rows(&["audit", "list", "--type", "config.change", "--session", &session]);
    let verbs: Vec<&str> = log.iter().map(|row| row["verb"].as_str().unwrap()).collect();
    assert!(verbs.starts_with(&["session message", "session freeze", "session unfreeze"]), "{log:?}");
}

#[test]
fn a_lock_down_is_lifted_by_an_operator_and_one_whom_a_rule_names() {
    require!("ssh", "sshd");
    let house = House::with(OPEN);
    let enters = || house.bastion.to(&house.sshd).run("echo in").out() == "in\n";
    house.bastion.doorward(&["lockdown", "on", "--reason", "an attack"]).ok();
    assert!(!enters());
    let lock = house.bastion.rows(&["lock", "list"])[0]["id"].as_str().unwrap().to_owned();
    // Wanda's rule is for one target.
    house.refused("wanda", &format!("lock lift {lock}"));
    assert!(house.told("wanda", "lock list").contains("no locks"));
    assert!(house.told("bob", "lock list").contains("2 people"));
    assert!(house.told("bob", &format!("lock lift {lock}")).contains("still on: 1 more"));
    assert!(house.told("bob", &format!("lock lift {lock}")).contains("somebody else"));
    assert!(!enters());
    house.bastion.doorward(&["lockdown", "lift"]).ok();
    assert!(enters());
    // On a target Wanda's rule is enough, and nobody lifts a lock on themselves.
    house.bastion.doorward(&["lock", "add", "--target", "db1", "--two", "--reason", "an attack"]).ok();
    let lock = house.bastion.rows(&["lock", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert!(house.told("wanda", &format!("lock lift {lock}")).contains("still on"));
    assert!(house.told("carol", &format!("lock lift {lock}")).contains("lifted"));
    assert!(enters());
    house.bastion.doorward(&["lock", "add", "--user", ALICE, "--reason", "an attack"]).ok();
    let lock = house.bastion.rows(&["lock", "list"])[0]["id"].as_str().unwrap().to_owned();
    house.refused("alice2", &format!("lock lift {lock}"));
    assert!(!enters());
    // Who is locked out oversees nobody.
    house.bastion.doorward(&["lock", "add", "--group", "overseers", "--reason", "an attack"]).ok();
    house.refused("bob", &format!("lock lift {lock}"));
    assert!(house.told("bob", "session list").contains("no live sessions"));
    let log = house.bastion.rows(&["audit", "list", "--type", "lock.step"]);
    let by = |outcome: &str| {
        let row = log.iter().find(|row| row["outcome"] == outcome).unwrap();
        row["by"].as_str().unwrap().to_owned()
    };
    assert!(by("waits for 1 more").starts_with("bob by SHA256:") && by("lifted").starts_with("uid "), "{log:?}");
}

/// Bob's watch: `ssh bob@bastion session watch`, until it is dropped.
fn watch(house: &House, name: &str, session: &str) -> Running {
    house.bastion.login(name).key(&house.key(name)).start(&[], &format!("session watch {session}"))
}

#[test]
fn a_session_for_four_eyes_waits_for_a_watcher_and_stands_still_when_the_last_one_leaves() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(&format!("{}four_eyes = true\nwatch = {{ shown = true }}\n", OPEN.trim_start()));
    let mark = house.sshd.folder().join("mark");
    let terminal = Terminal::start(&house.bastion.to(&house.sshd).ssh(&["-tt"], ""), 100, 30);
    terminal.shows("begins once somebody watches it");
    terminal.line(&format!("touch {}; echo typed-$((40+2))", mark.display()));
    let session = house.bastion.only_session();
    // One's own other name is no second pair of eyes.
    let own = watch(&house, "alice2", &session);
    until(LIMIT, "own watch", || {
        let rows = house.bastion.rows(&["session", "list"]);
        (rows[0]["watchers"][0] == "alice2").then_some(())
    });
    holds(Duration::from_millis(1500), "waiting", || !mark.exists());
    assert!(house.told("bob", "session list").contains("until somebody watches it"));
    let wanda = watch(&house, "wanda", &session);
    terminal.shows("typed-42");
    assert!(mark.exists());
    let bob = watch(&house, "bob", &session);
    terminal.shows("bob watches this session");
    drop(wanda);
    terminal.shows("wanda watches no longer");
    terminal.line("echo more-$((40+3))");
    terminal.shows("more-43");
    drop(bob);
    terminal.shows("it goes on once somebody watches it");
    terminal.line("echo late-$((40+4))");
    holds(Duration::from_millis(1500), "standstill", || !terminal.screen().contains("late-44"));
    let _wanda = watch(&house, "wanda", &session);
    terminal.shows("late-44");
    drop(own);
    let log = house.bastion.rows(&["audit", "list", "--type", "replay.view", "--session", &session]);
    assert_eq!(log.len(), 4, "{log:?}");
    drop(terminal);
    house.bastion.empties(LIMIT);
    let facts = facts(&house.bastion, &session);
    for said in ["waits until somebody watches", "paused until somebody watches it", "goes on from here"] {
        assert!(facts.contains(said), "{said}: {facts}");
    }
}

#[test]
fn a_command_for_four_eyes_does_not_run_before_somebody_watches_nor_after_its_user_left() {
    require!("ssh", "sshd");
    let house = House::with(&format!("{}four_eyes = true\n", OPEN.trim_start()));
    let mark = house.sshd.folder().join("mark");
    let command = format!("touch {}; echo out; exit 3", mark.display());
    let left = house.bastion.to(&house.sshd).start(&["-n"], &command);
    house.bastion.only_session();
    drop(left);
    house.bastion.empties(LIMIT);
    let asking = || Running::start(house.bastion.to(&house.sshd).ssh(&["-n"], &command), Stdout::Gathered);
    let waiting = asking();
    let session = house.bastion.only_session();
    assert!(!mark.exists());
    let _bob = watch(&house, "bob", &session);
    let seen = waiting.wait(LIMIT);
    assert_eq!((seen.code, seen.out().as_str(), seen.err().as_str()), (Some(3), "out\n", ""), "{seen:?}");
    assert!(mark.exists());
    // Who waits is ended like everybody.
    house.bastion.empties(LIMIT);
    let waiting = asking();
    let session = house.bastion.only_session();
    house.told("bob", &format!("session kill {session}"));
    assert_eq!(waiting.wait(SOON).code, Some(255));
}

#[test]
fn a_command_that_waits_for_a_watcher_is_not_run_for_one_who_has_given_it_up() {
    require!("ssh", "sshd");
    let house = House::with(&format!("{}four_eyes = true\n", OPEN));
    // The connection stays, and with it the session.
    let master = house.bastion.to(&house.sshd).master(house.bastion.scratch());
    let (ran, seen) = (house.sshd.folder().join("ran"), house.sshd.folder().join("seen"));
    let mut waits = master.route.start(&["-tt"], &format!("touch {}", ran.display()));
    let mut told = waits.stdout();
    // Before it waits, whoever watches lets it begin.
    while !crate::fixture::route::line(&mut told).contains("begins once somebody watches it") {
        assert!(!waits.ended());
    }
    let session = house.bastion.only_session();
    drop(waits);
    let another = master.route.start(&[], &format!("touch {}; cat", seen.display()));
    let watching = watch(&house, "bob", &session);
    until(LIMIT, "the command that is still wanted", || seen.exists().then_some(()));
    assert!(!ran.exists());
    drop((watching, another));
}
