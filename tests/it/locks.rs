//! Locks and offboarding: what shuts the door whatever rules and grants say; by stock `ssh`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::algorithms::facts;
use crate::fixture::bastion::{ALICE, OPEN};
use crate::fixture::process::{Stdout, descendants};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, free_port, holds, key, until};
use crate::require;

/// P3: "never over 5 s".
const SOON: Duration = Duration::from_secs(5);

/// The id of the one lock.
#[track_caller]
fn only_lock(bastion: &Bastion) -> String {
    let rows = bastion.rows(&["lock", "list"]);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0]["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn is_out(bastion: &Bastion, sshd: &Sshd) {
    let seen = bastion.to(sshd).run("echo in");
    assert_eq!((seen.code, seen.out().as_str()), (Some(126), ""), "{seen:?}");
    assert!(seen.err().contains("locked by the operators") && !seen.err().contains("an attack"), "{seen:?}");
}

#[track_caller]
fn enters(bastion: &Bastion, sshd: &Sshd) {
    assert_eq!(bastion.to(sshd).run("echo in").ok().out(), "in\n");
}

fn paused(bastion: &Bastion) -> usize {
    bastion.rows(&["session", "list"]).iter().filter(|row| !row["paused"].is_null()).count()
}

#[test]
fn a_lock_on_anything_that_a_session_is_about_ends_it_and_lets_nobody_in() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let place = format!("{}@db1", sshd.account);
    for on in [
        ["--user", ALICE],
        ["--group", "dba"],
        ["--target", "db1"],
        ["--account", &sshd.account],
        ["--account", &place],
        ["--label", "env=test"],
    ] {
        let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
        let told = bastion.doorward(&["lock", "add", on[0], on[1], "--reason", "an attack"]).ok();
        assert!(told.err().contains("1 live session ended"), "{on:?}: {told:?}");
        let seen = running.wait_with_open_stdin(SOON);
        assert!(seen.code == Some(255) && seen.err().contains("locked"), "{on:?}: {seen:?}");
        is_out(&bastion, &sshd);
        bastion.doorward(&["lock", "lift", &only_lock(&bastion)]).ok();
        enters(&bastion, &sshd);
    }
    // A lock on something else is on nobody here.
    let told = bastion.doorward(&["lock", "add", "--target", "db2", "--reason", "an attack"]).ok();
    assert!(told.err().contains("is the name right"), "{told:?}");
    enters(&bastion, &sshd);
    // It survives a crash, as does the record of it.
    bastion.doorward(&["lock", "lift", &only_lock(&bastion)]).ok();
    bastion.doorward(&["lock", "add", "--user", ALICE, "--reason", "an attack"]).ok();
    bastion.crash();
    bastion.serve();
    is_out(&bastion, &sshd);
    let log = bastion.rows(&["audit", "list", "--type", "lock.step"]);
    let of = |outcome: &str| log.iter().filter(|row| row["outcome"] == outcome).count();
    assert_eq!((of("holds"), of("lifted")), (8, 7), "{log:?}");
}

#[test]
fn a_lock_is_over_by_its_time() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (mut running, mut out) = bastion.to(&sshd).start_ready(&[], "cat");
    bastion.doorward(&["lock", "add", "--target", "db1", "--freeze", "--for", "3s", "--reason", "a look"]).ok();
    assert_eq!(paused(&bastion), 1);
    let mut input = running.stdin();
    input.write_all(b"typed\n").unwrap();
    is_out(&bastion, &sshd);
    let mut seen = [0; 6];
    out.read_exact(&mut seen).unwrap();
    assert_eq!((&seen, paused(&bastion)), (b"typed\n", 0));
    assert!(bastion.rows(&["lock", "list"]).is_empty());
    enters(&bastion, &sshd);
}

#[test]
fn a_lock_down_ends_everything_survives_a_restart_and_is_lifted_by_two_people() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    bastion.doorward(&["lockdown", "on", "--reason", "an attack"]).ok();
    assert_eq!(running.wait_with_open_stdin(SOON).code, Some(255));
    is_out(&bastion, &sshd);
    let again = bastion.doorward(&["lockdown", "on", "--reason", "an attack"]).ok();
    assert!(again.err().contains("already"), "{again:?}");
    bastion.stop();
    // Without a server, too, one operator is not enough.
    bastion.doorward(&["lockdown", "lift"]).ok();
    let told = bastion.doorward(&["lockdown", "lift"]);
    assert!(told.code == Some(1) && told.err().contains("somebody else"), "{told:?}");
    bastion.serve();
    is_out(&bastion, &sshd);
    assert_eq!(bastion.rows(&["lock", "list"])[0]["said"].as_array().unwrap().len(), 1);
}

#[test]
fn a_frozen_session_passes_nothing_on_until_it_goes_on() {
    require!("ssh", "sshd", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    terminal.line("echo typed-$((40+2))");
    terminal.shows("typed-42");
    bastion.doorward(&["lock", "add", "--user", ALICE, "--freeze", "--reason", "a look"]).ok();
    terminal.shows("this session is paused by the operators");
    // Not a byte reaches the target: the file that the line makes is not there.
    let mark = sshd.folder().join("mark");
    terminal.line(&format!("touch {}; echo late-$((40+3))", mark.display()));
    holds(Duration::from_millis(1500), "standstill", || !mark.exists() && !terminal.screen().contains("late-43"));
    bastion.doorward(&["lock", "lift", &only_lock(&bastion)]).ok();
    terminal.shows("this session goes on");
    terminal.shows("late-43");
    assert!(mark.exists());
    drop(terminal);
    bastion.empties(LIMIT);
    let facts = facts(&bastion, &bastion.only_recording());
    assert!(facts.contains("nothing goes through from here on") && facts.contains("goes on from here"), "{facts}");
}

#[test]
fn p3_a_frozen_session_ends_in_time_whether_its_user_reads_or_not() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    for end in ["kill", "lock"] {
        let bastion = Bastion::serving(&sshd);
        let route = bastion.to(&sshd);
        let (waiting, _out) = route.start_ready(&[], "cat");
        // One that does not read, whose window is full.
        let unread = route.start(&["-n"], "cat /dev/zero");
        until(LIMIT, "full pipe", || (unread.waiting() >= 60 << 10).then_some(()));
        bastion.doorward(&["lock", "add", "--everything", "--freeze", "--reason", "a look"]).ok();
        assert_eq!(paused(&bastion), 2);
        let start = Instant::now();
        match end {
            "kill" => drop(bastion.doorward(&["session", "kill", "--user", ALICE, "--yes"]).ok()),
            _ => drop(bastion.doorward(&["lock", "add", "--user", ALICE, "--reason", "enough"]).ok()),
        }
        until(SOON, "end of all sessions", || bastion.sessions().is_empty().then_some(()));
        until(SOON, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
        assert!(start.elapsed() < SOON, "{end}: {:?}", start.elapsed());
        assert_eq!(waiting.wait_with_open_stdin(SOON).code, Some(255));
        for row in bastion.recordings() {
            assert_eq!(row["interrupted"], false, "{row}");
        }
    }
}

#[test]
fn nothing_new_starts_in_a_frozen_session() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&OPEN.replace("\"exec\"]", "\"exec\", \"sftp-read\"]"));
    bastion.serve();
    let master = bastion.to(&sshd).master(bastion.scratch());
    assert_eq!(master.route.run("echo in").out(), "in\n");
    let session = bastion.only_session();
    bastion.doorward(&["session", "freeze", &session]).ok();
    let seen = master.route.run("echo in");
    assert!(seen.out().is_empty() && seen.err().contains("paused"), "{seen:?}");
    // By another connection the user gets in: the session is paused, and not the user.
    enters(&bastion, &sshd);
    bastion.doorward(&["session", "unfreeze", &session]).ok();
    assert_eq!(master.route.run("echo in").out(), "in\n");
}

#[test]
fn a_user_is_locked_by_whatever_name_and_who_has_no_right_learns_of_no_lock() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let other = key(bastion.scratch(), "alice2", "ed25519", "");
    bastion.add_user("alice2", "dba", &other);
    bastion.doorward(&["user", "set", "alice2", "--person", ALICE]).ok();
    bastion.doorward(&["lock", "add", "--user", "alice2", "--reason", "an attack"]).ok();
    is_out(&bastion, &sshd);
    let seen = bastion.to(&sshd).key(&other).run("echo in");
    assert!(seen.out().is_empty() && seen.err().contains("locked"), "{seen:?}");
    let stranger = key(bastion.scratch(), "mallory", "ed25519", "");
    bastion.add_user("mallory", "nobody", &stranger);
    bastion.doorward(&["lock", "add", "--target", "db1", "--reason", "an attack"]).ok();
    let seen = bastion.to(&sshd).key(&stranger).run("echo in");
    assert!(seen.code == Some(126) && !seen.err().contains("locked"), "{seen:?}");
}

#[test]
fn who_is_offboarded_is_out_and_the_receipt_tells_what_they_knew() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    enters(&bastion, &sshd);
    let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let told = bastion.doorward(&["user", "offboard", ALICE, "--reason", "left the company"]).ok();
    assert_eq!(running.wait_with_open_stdin(SOON).code, Some(255));
    let (place, receipt) = (format!("{}@db1", sshd.account), told.out());
    assert!(
        receipt.contains(&place) && receipt.contains("1 ended, 1 closed") && receipt.contains("audit prove"),
        "{receipt}"
    );
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "");
    bastion.stop();
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "");
    let again = bastion.doorward(&["user", "offboard", ALICE, "--reason", "left the company"]).ok();
    assert_eq!(again.out(), receipt);
    let log = bastion.rows(&["audit", "list", "--type", "offboard.step"]);
    let outcomes: Vec<&str> = log.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["begun", "done"]);
}

#[test]
fn files_and_forwards_stand_still_with_their_session() {
    require!("ssh", "sshd", "sftp");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    let channels = OPEN.replace(r#"["shell", "exec"]"#, r#"["exec", "sftp-read", "sftp-write", "local-forward"]"#);
    bastion.policy(&format!("{}forward = {{ to = [\"localhost:{port}\"] }}\n", channels.trim_start()));
    bastion.serve();
    let (route, local) = (bastion.to(&sshd), free_port());
    let mut sftp = Running::start(route.copier("sftp", &["-q", "{}"]), Stdout::Gathered);
    let mut asking = sftp.stdin();
    let made = |name: &str| sshd.folder().join(name);
    asking.write_all(format!("mkdir {}\n", made("one").display()).as_bytes()).unwrap();
    until(LIMIT, "directory", || made("one").exists().then_some(()));
    let forward = format!("{local}:localhost:{port}");
    let _tunnel = route.start(&["-N", "-L", &forward], "");
    let mut near = until(LIMIT, "tunnel", || TcpStream::connect(("127.0.0.1", local)).ok());
    let (mut far, _) = service.accept().unwrap();
    let mut byte = [0];
    near.write_all(b"a").unwrap();
    far.read_exact(&mut byte).unwrap();

    bastion.doorward(&["lock", "add", "--account", &sshd.account, "--freeze", "--reason", "a look"]).ok();
    assert_eq!(paused(&bastion), 2);
    asking.write_all(format!("mkdir {}\n", made("two").display()).as_bytes()).unwrap();
    near.write_all(b"b").unwrap();
    far.write_all(b"c").unwrap();
    far.set_nonblocking(true).unwrap();
    near.set_nonblocking(true).unwrap();
    holds(Duration::from_millis(1500), "standstill", || {
        let mut byte = [0];
        !made("two").exists() && far.read(&mut byte).is_err() && near.read(&mut byte).is_err()
    });
    bastion.doorward(&["lock", "lift", &only_lock(&bastion)]).ok();
    until(LIMIT, "directory", || made("two").exists().then_some(()));
    for (stream, sent) in [(&mut far, b"b"), (&mut near, b"c")] {
        stream.set_nonblocking(false).unwrap();
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, sent);
    }
}
