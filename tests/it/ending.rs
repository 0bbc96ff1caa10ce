//! Promises P2 and P3: what ends a session ends it soon, whatever the peers do, and the recording is kept.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::bastion::{ALICE, DB1, GRANTED, OPEN, id};
use crate::fixture::process::{Stdout, descendants, memory, run};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Running, Sshd, own, until};
use crate::require;

/// P3: "never over 5 s".
const SOON: Duration = Duration::from_secs(5);

/// A bastion whose one rule needs a grant, and the grant's id.
fn with_grant(sshd: &Sshd, span: &str) -> (Bastion, String) {
    let mut bastion = Bastion::furnished(sshd);
    bastion.policy(GRANTED);
    bastion.serve();
    let grant = bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), span, "CHG-1 a test");
    (bastion, grant)
}

/// Starts three sessions that would last, does `act`, and asserts that all are gone soon: one waits for input, one
/// has a client that is stopped, one floods a client that does not read.
#[track_caller]
fn ends(sshd: &Sshd, bastion: &Bastion, cause: &str, act: impl FnOnce(&Bastion)) {
    let route = bastion.to(sshd);
    let (waiting, _out) = route.start_ready(&[], "cat");
    let (stopped, _out) = route.start_ready(&["-n"], "while :; do echo more; done");
    stopped.signal(Signal::STOP);
    let unread = route.start(&["-n"], "cat /dev/zero");
    until(LIMIT, "third session", || (bastion.sessions().len() == 3).then_some(()));
    until(LIMIT, "full pipe", || (unread.waiting() >= 60 << 10).then_some(()));

    let start = Instant::now();
    act(bastion);
    until(SOON, "end of all sessions", || bastion.sessions().is_empty().then_some(()));
    until(SOON, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
    let seen = waiting.wait_with_open_stdin(SOON);
    assert!(start.elapsed() < SOON, "{cause}: took {:?}", start.elapsed());
    assert_eq!(seen.code, Some(255), "{cause}: {seen:?}");
    drop((stopped, unread));
    for row in bastion.recordings() {
        assert_eq!(row["interrupted"], Value::Bool(false), "{cause}: {row}");
        assert!(row["end"].as_str().is_some_and(|end| !end.is_empty()), "{cause}: {row}");
        bastion.doorward(&["recording", "export", &id(&row), "--format", "v3"]).ok();
    }
    assert!(bastion.lives(), "{cause} ended the server");
}

#[test]
fn a_revoked_grant_ends_its_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, grant) = with_grant(&sshd, "1h");
    ends(&sshd, &bastion, "revoke", |bastion| {
        bastion.doorward(&["grant", "revoke", &grant]).ok();
    });
    let seen = bastion.to(&sshd).run("echo in");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(126)), "let in after the revoke: {seen:?}");
}

#[test]
fn a_grant_that_runs_out_ends_its_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, _) = with_grant(&sshd, "8s");
    let given = Instant::now();
    let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let seen = running.wait_with_open_stdin(LIMIT);
    assert!(given.elapsed() < Duration::from_secs(8) + SOON, "ended only after {:?}", given.elapsed());
    assert_eq!(seen.code, Some(255), "{seen:?}");
    let seen = bastion.to(&sshd).run("echo in");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(126)), "let in after the end: {seen:?}");
    assert!(bastion.lives());
}

#[test]
fn a_suspended_user_is_out() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    ends(&sshd, &bastion, "suspend", |bastion| {
        bastion.doorward(&["user", "suspend", ALICE]).ok();
    });
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "");
    bastion.doorward(&["user", "resume", ALICE]).ok();
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
}

#[test]
fn a_policy_without_the_rule_ends_its_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    ends(&sshd, &bastion, "policy", |bastion| {
        bastion.policy(&OPEN.replace("dba", "others"));
        bastion.doorward(&["policy", "reload"]).ok();
    });
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "");
}

#[test]
fn a_removed_user_is_out() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    ends(&sshd, &bastion, "remove", |bastion| {
        bastion.doorward(&["user", "remove", ALICE]).ok();
    });
}

#[test]
fn a_killed_session_ends_and_its_neighbours_go_on() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (first, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let session = bastion.only_session();
    let (mut second, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let start = Instant::now();
    bastion.doorward(&["session", "kill", &session]).ok();
    assert_eq!(first.wait_with_open_stdin(SOON).code, Some(255));
    assert!(start.elapsed() < SOON);
    until(SOON, "one session left", || (bastion.sessions().len() == 1).then_some(()));
    assert!(!second.ended());
    let again = bastion.doorward(&["session", "kill", &session]);
    assert_eq!(again.code, Some(1), "a session that is over was killed: {again:?}");
}

#[test]
fn t07_a_shared_connection_opens_nothing_after_the_grants_end() {
    // The connection of ControlMaster would outlive the grant.
    require!("sshd", "ssh", "sftp");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&GRANTED.replace(r#""exec"]"#, r#""exec", "sftp-read"]"#));
    bastion.serve();
    let destination = format!("{}@{DB1}", sshd.account);
    for span in ["1h", "8s"] {
        let grant = bastion.grant(ALICE, &destination, span, "CHG-1 a test");
        let mut master = bastion.to(&sshd).master(bastion.scratch());
        let list = |route: &Route| run(route.copier("sftp", &["-q", "-b", "/dev/stdin", "{}"]), b"pwd\n", LIMIT);
        assert_eq!(master.route.run("echo in").out(), "in\n");
        assert_eq!(list(&master.route).code, Some(0));
        if span == "1h" {
            bastion.doorward(&["grant", "revoke", &grant]).ok();
        }
        until(LIMIT, "end of the shared connection", || master.process.ended().then_some(()));
        // Once it is gone, `ssh` and `sftp` connect anew.
        assert_eq!(master.route.run("echo in").code, Some(126), "{span}");
        assert_ne!(list(&master.route).code, Some(0), "{span}");
    }
}

#[test]
fn t07_what_rests_on_a_grant_is_refused_after_it_on_a_connection_that_goes_on() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let port = service.local_addr().unwrap().port();
    // Commands are free, all else needs the grant.
    let free = OPEN.replace(r#"["shell", "exec"]"#, r#"["exec"]"#);
    let rest =
        GRANTED.replace("schema = 1", "").replace(r#"["shell", "exec"]"#, r#"["shell", "sftp-read", "local-forward"]"#);
    bastion.policy(&format!("{free}{rest}forward = {{ to = [\"localhost:{port}\"] }}\n"));
    bastion.serve();
    let grant = bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), "1h", "CHG-1 a test");
    let forward = async |client: &own::Own| {
        client.handle.channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 1).await
    };
    own::block_on(async {
        let kept = own::Own::connect(&bastion.to(&sshd)).await;
        let mut working = kept.exec("echo begun; cat").await;
        own::read_until(&mut working, "begun").await;
        // What is refused below is open while there is the grant.
        let granted = own::Own::connect(&bastion.to(&sshd)).await;
        let _forward = forward(&granted).await.unwrap();
        until(LIMIT, "connection by the target", || service.accept().ok());
        bastion.doorward(&["grant", "revoke", &grant]).ok();
        until(LIMIT, "end of the other session", || (bastion.sessions().len() == 1).then_some(()));

        assert!(forward(&kept).await.is_err());
        for what in ["shell", "sftp"] {
            let mut channel = kept.handle.channel_open_session().await.unwrap();
            match what {
                "shell" => channel.request_shell(true).await.unwrap(),
                name => channel.request_subsystem(true, name).await.unwrap(),
            }
            let told = own::finish(&mut channel, LIMIT).await;
            let text = String::from_utf8_lossy(&told.stderr).into_owned();
            assert!(told.stdout.is_empty() && text.contains("grant"), "{what}: {told:?}");
        }
        working.data_bytes(&b"still at work\n"[..]).await.unwrap();
        own::read_until(&mut working, "still at work").await;
        let mut next = kept.exec("echo next").await;
        assert_eq!(own::finish(&mut next, LIMIT).await.stdout, b"next\n");
    });
    assert!(service.accept().is_err(), "the target connected without a grant");
    let log = bastion.audit();
    let refused = log.lines().filter(|line| line.contains(&format!("grant `{grant}` was revoked")));
    let (forwards, channels): (Vec<&str>, Vec<&str>) = refused.partition(|line| line.contains("local-forward"));
    assert!(forwards.len() == 1 && channels.len() == 2, "{log}");
}

#[test]
fn the_terminal_says_when_and_why_a_session_ends() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let (bastion, grant) = with_grant(&sshd, "65s");
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    // One line at the start that names the session and the end, one before the end, and one at the end.
    terminal.shows("doorward: ");
    terminal.shows("CHG-1 a test");
    terminal.shows("minute");
    bastion.doorward(&["grant", "revoke", &grant]).ok();
    until(SOON, "end on the terminal", || terminal.ended().then_some(()));
    let screen = terminal.screen();
    assert!(screen.contains("revoked"), "{screen}");
    // An auditor sees what was on the screen, the bastion's own lines too, and whose they are.
    until(SOON, "end of the session", || bastion.sessions().is_empty().then_some(()));
    let session = bastion.only_recording();
    let kept = String::from_utf8(bastion.export(&session, "raw", &[])).unwrap();
    for line in ["doorward: recorded", "CHG-1 a test", "minute", "doorward: the grant was revoked"] {
        assert!(kept.contains(line), "`{line}` is not in {kept:?}");
    }
    let cast = String::from_utf8(bastion.export(&session, "v3", &[])).unwrap();
    assert_eq!(cast.matches("the next output is the bastion's own").count(), 3, "{cast}");
}

#[test]
fn a_stopped_server_says_good_bye_and_records_it() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    terminal.line("echo typed-$((40+2))");
    terminal.shows("typed-42");
    let start = Instant::now();
    let told = bastion.stop();
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    until(SOON, "end on the terminal", || terminal.ended().then_some(()));
    let session = bastion.only_recording();
    assert_eq!(bastion.rows(&["recording", "list"])[0]["interrupted"], Value::Bool(false));
    assert!(String::from_utf8_lossy(&bastion.export(&session, "txt", &[])).contains("typed-42"));
    until(LIMIT, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
}

#[test]
fn a_session_killed_while_it_dials_is_recorded_as_such() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    bastion.add_target_at("silent", silent.local_addr().unwrap().port(), &sshd.host_key());
    bastion.set_key(&format!("{}@silent", sshd.account), &sshd.key);
    let running = bastion.login(&format!("{}@silent", sshd.account)).start(&["-n"], "true");
    let session = until(LIMIT, "a session", || bastion.sessions().pop());
    bastion.doorward(&["session", "kill", &session]).ok();
    let seen = running.wait_with_open_stdin(SOON);
    assert!(seen.code != Some(0) && seen.err().contains("ended"), "{seen:?}");
    let row = &bastion.recordings()[0];
    assert!(row["end"].as_str().unwrap().contains("killed by"), "{row}");
    assert!(bastion.to(&sshd).run("echo next").out() == "next\n");
}

#[test]
fn twenty_sessions_killed_at_random_leave_nothing_but_recordings() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let route = bastion.to(&sshd);
    assert_eq!(route.run("echo warm").ok().out(), "warm\n");
    let mut plateau = 0;
    // Two rounds: memory may grow to a plateau in the first, not in the second.
    for round in 0..2 {
        let mut sessions: Vec<Running> = (0..20)
            .map(|number| match number % 4 {
                0 => route.start(&["-n"], "while :; do echo a line; sleep 0.01; done"),
                1 => route.start(&["-n"], "cat /dev/zero"),
                2 => Running::start(route.ssh(&["-tt"], ""), Stdout::Gathered),
                _ => Running::start(route.ssh(&[], "cat"), Stdout::Gathered),
            })
            .collect();
        until(LIMIT, "twenty sessions", || (bastion.sessions().len() == 20).then_some(()));
        while !sessions.is_empty() {
            let byte = usize::from(crate::fixture::nonce().as_bytes()[1]);
            let session = sessions.swap_remove(byte % sessions.len());
            // By the client's end, by the operator, or by the wire.
            match byte % 3 {
                0 => session.signal(Signal::KILL),
                1 => session.signal(Signal::TERM),
                _ => {
                    let id = bastion.sessions().pop();
                    id.map(|id| bastion.doorward(&["session", "kill", &id]));
                }
            }
        }
        bastion.empties(LIMIT);
        until(LIMIT, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
        let resident = memory(bastion.pid(), "status", "VmRSS");
        if round == 0 {
            plateau = resident;
        }
        assert!(resident < plateau + (16 << 10), "{resident} KiB after {plateau} KiB");
    }
    let recordings = bastion.recordings();
    assert_eq!(recordings.len(), 41, "{recordings:?}");
    for row in &recordings {
        let told = bastion.doorward(&["recording", "export", &id(row), "--format", "v3"]);
        if row["channels"] == serde_json::json!([]) {
            // Killed before its first channel: what there is to know stands in the listing.
            assert!(told.err().contains("opened no channel"), "{told:?}");
        } else {
            told.ok();
        }
    }
    assert!(bastion.lives());
}

#[test]
fn a_crash_loses_nothing_that_was_seen() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    for round in 0..3 {
        let mut running = bastion.to(&sshd).start(&["-n"], "seq 1 10000000");
        let mut stdout = running.stdout();
        let mut seen = vec![0; 200_000 * (round + 1)];
        stdout.read_exact(&mut seen).unwrap();
        bastion.crash();
        // What was under way when the server died was shown too.
        stdout.read_to_end(&mut seen).unwrap();
        assert_eq!(running.wait(LIMIT).code, Some(255));

        bastion.serve();
        let rows = bastion.recordings();
        assert_eq!(rows.len(), round + 1);
        let row = rows.iter().max_by_key(|row| row["started"].as_str().map(str::to_owned)).unwrap();
        assert_eq!(row["interrupted"], Value::Bool(true), "{row}");
        let kept = bastion.export(&id(row), "raw", &[]);
        assert!(kept.starts_with(&seen), "round {round}: {} bytes were seen, {} are kept", seen.len(), kept.len());
        bastion.opens(&id(row));
        until(LIMIT, "end of the programs on the target", || descendants(sshd.pid()).is_empty().then_some(()));
    }
    // And it serves again.
    assert_eq!(bastion.to(&sshd).run("echo again").out(), "again\n");
}

#[test]
fn what_a_crash_cut_from_a_terminal_is_kept_too() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    for round in 0..5 {
        terminal.line(&format!("echo seen-{round}-$((40+{round}))"));
        terminal.shows(&format!("seen-{round}-{}", 40 + round));
    }
    bastion.crash();
    bastion.serve();
    let session = bastion.only_recording();
    let text = String::from_utf8_lossy(&bastion.export(&session, "txt", &[])).into_owned();
    for round in 0..5 {
        assert!(text.contains(&format!("seen-{round}-{}", 40 + round)), "{text}");
    }
}
