//! Peers that do what stock programs never do: each may end its own connection, nothing else (promise P9).

use std::io::{BufRead, BufReader};
use std::process::Command;

use doorward::coverage::{Kind, Peer, TABLE};

use crate::fixture::bastion::{ALICE, OPEN, id, recorded};
use crate::fixture::process::{Stdout, memory, run};
use crate::fixture::{Bastion, LIMIT, Route, Running, Sshd, own, until};
use crate::require;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile_client.py");
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile_target.py");

#[test]
fn a_peer_that_sends_beyond_its_window_loses_its_connection_only() {
    unharmed("window", "cut\n");
}

#[test]
fn requests_that_no_window_bounds_cost_no_memory() {
    unharmed("requests", "alive\n");
}

#[test]
fn a_flood_of_tiny_messages_ends_its_connection_and_nothing_else() {
    unharmed("tiny", "cut\n");
}

#[test]
fn what_nobody_knows_is_refused_and_on_record() {
    // Threat T6.
    let log = unharmed("unknown", "alive\n");
    for name in ["channel type tun@openssh.com", "channel request nobody@knows", "global request anything@else"] {
        assert!(log.contains(name), "{name} is not in {log}");
    }
}

#[test]
fn t06_names_that_are_no_utf8_are_refused_and_on_record() {
    let log = unharmed("bytes", "alive\n");
    for asked in ["local-forward 10.0.0?.1:22", "unknown channel type session?", "remote-forward 127.0.0?.1:8080"] {
        assert!(log.contains(asked), "{asked} is not in {log}");
    }
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_listed() {
    let log = unharmed("forwards", "alive\n");
    let listed = log.lines().filter(|line| line.contains("local-forward 10.0.0.1:22")).count();
    assert!((1..=120).contains(&listed), "{listed} of 500 are listed");
}

#[test]
fn noise_hides_nothing_of_what_is_refused_elsewhere() {
    // Threat T6: a user who is refused without end on one connection, to be unseen on another.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    own::block_on(async {
        let noise = own::Own::connect(&bastion.login(ALICE)).await;
        for _ in 0..70 {
            own::finish(&mut noise.exec("noise").await, LIMIT).await;
        }
        own::finish(&mut noise.exec("recording get 01J9ZZZZZZZZZZZZZZZZZZZZZZ").await, LIMIT).await;
        for forwards in [70, 1] {
            let client = own::Own::connect(&bastion.to(&sshd)).await;
            let mut working = client.exec("read line; echo done").await;
            working.data_bytes(&b"go\n"[..]).await.unwrap();
            own::finish(&mut working, LIMIT).await;
            for _ in 0..forwards {
                assert!(client.handle.channel_open_direct_tcpip("10.0.0.1", 22, "127.0.0.1", 1).await.is_err());
            }
            assert!(client.handle.disconnect(russh::Disconnect::ByApplication, "", "").await.is_ok());
        }
    });
    let mut sessions: Vec<String> = bastion.recordings().iter().map(id).collect();
    sessions.sort();
    let markers = |session: &String| {
        let bundle = bastion.scratch().join(session);
        let export = ["recording", "export", session, "--proof", bundle.to_str().unwrap()];
        until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
        let facts = std::fs::read_to_string(bundle.join("channel-0.cast")).unwrap();
        let listed = facts.matches("refused: local-forward 10.0.0.1:22").count();
        (listed, facts.contains("times more, not listed"))
    };
    // Should the seventy have taken longer than a minute, another share had begun.
    let (listed, counted) = markers(&sessions[0]);
    assert!((60..70).contains(&listed) && counted, "{listed} markers, of the rest: {counted}");
    assert_eq!(markers(&sessions[1]), (1, false));
    let log = bastion.audit();
    assert!(log.contains("recording get 01J9ZZZZZZZZZZZZZZZZZZZZZZ: no audit rule"), "{log}");
    let forwards = log.matches("local-forward 10.0.0.1:22").count();
    assert!((60..=71).contains(&forwards), "{forwards} forwards are on record");
    // What was left out is on record when the server stops, if its minute is not over before.
    bastion.stop();
    let log = bastion.audit();
    let told = |what: &str| log.lines().any(|line| line.contains("refusals are not listed") && line.contains(what));
    assert!(told("the bastion itself runs no such command") && told("local-forward 10.0.0.1:22"), "{log}");
}

/// Lets a hostile client do `what`; gives the audit log.
fn unharmed(what: &str, outcome: &str) -> String {
    if !["sshd", "ssh", "python3-paramiko"].into_iter().all(crate::fixture::has) {
        return String::from(
            "skipped: channel type tun@openssh.com channel request nobody@knows global request anything@else\nlocal-forward 10.0.0.1:22 \
             local-forward 10.0.0?.1:22 unknown channel type session? remote-forward 127.0.0?.1:8080",
        );
    }
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&recorded(OPEN, r#"stdin = "digest""#));
    bastion.serve();
    // It answers SSH a moment before it has its other sockets; an operator's calls come after them.
    assert_eq!((bastion.sessions(), bastion.sessions()), (Vec::new(), Vec::new()));
    let idle = sockets(bastion.pid());
    let route = bastion.to(&sshd);
    let neighbour = bastion.to(&sshd).master(bastion.scratch());
    assert_eq!(neighbour.route.run("echo warm").out(), "warm\n");
    let before = memory(bastion.pid(), "status", "VmRSS");
    let told = run(client(&route, what), b"", LIMIT).ok();
    assert_eq!(told.out(), outcome, "{told:?}");
    let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
    assert!(grown < 48 << 10, "{grown} KiB");
    assert_eq!(neighbour.route.run("echo beside").out(), "beside\n");
    until(LIMIT, "end of the hostile session", || (bastion.sessions().len() == 1).then_some(()));
    drop(neighbour);
    bastion.empties(LIMIT);
    // Their sockets are gone too.
    until(LIMIT, "closed sockets", || (sockets(bastion.pid()) <= idle).then_some(()));
    bastion.audit()
}

fn client(route: &Route, what: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args([CLIENT, &route.port.to_string(), &route.login, route.key.to_str().unwrap(), what]);
    command
}

/// TCP and Unix sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn a_channel_that_the_target_refuses_costs_only_itself() {
    require!("sshd", "ssh");
    let sshd = Sshd::with(&["MaxSessions 1"]);
    let bastion = Bastion::serving(&sshd);
    let other = bastion.to(&sshd);
    own::block_on(async {
        let client = own::Own::connect(&bastion.to(&sshd)).await;
        let mut first = client.exec("read line; echo done").await;
        for _ in 0..3 {
            let mut refused = client.exec("echo no").await;
            let told = own::finish(&mut refused, LIMIT).await;
            assert!(told.stdout.is_empty() && told.status != Some(0), "{told:?}");
            assert!(!String::from_utf8_lossy(&told.stderr).contains("recorded"), "{told:?}");
            // Another connection goes on as before.
            assert_eq!(other.run("echo beside").out(), "beside\n");
        }
        first.data_bytes(&b"go\n"[..]).await.unwrap();
        assert_eq!(own::finish(&mut first, LIMIT).await.stdout, b"done\n");
        let mut last = client.exec("echo yes").await;
        assert_eq!(own::finish(&mut last, LIMIT).await.stdout, b"yes\n");
    });
}

#[test]
fn a_target_cannot_open_channels() {
    // Threats T6 and T22.
    require!("sshd", "ssh", "python3-paramiko");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (_target, route) = hostile_target(&bastion, &sshd);
    let kinds: Vec<&str> =
        TABLE.iter().filter(|row| row.from == Peer::Target && row.kind == Kind::Channel).map(|row| row.name).collect();
    assert_eq!(route.run(&kinds.join(" ")).out(), format!("{}\n", ["refused"; 8].join(" ")));
    for kind in kinds {
        let told = format!("a channel opened by the target: {kind}");
        until(LIMIT, kind, || bastion.audit().contains(&told).then_some(()));
    }
    // One that goes on loses the leg.
    let seen = route.run("many");
    assert_eq!(seen.code, Some(255), "{seen:?}");
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
}

/// A target that does what no stock one does, and the way to it.
pub fn hostile_target(bastion: &Bastion, sshd: &Sshd) -> (Running, Route) {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(TARGET).arg(sshd.host_key().with_extension(""));
    let mut target = Running::start(command, Stdout::Unread);
    let mut port = String::new();
    BufReader::new(target.stdout()).read_line(&mut port).unwrap();
    bastion.add_target_at("hostile", port.trim().parse().unwrap(), &sshd.host_key());
    bastion.set_key(&format!("{}@hostile", sshd.account), &sshd.key);
    (target, bastion.login(&format!("{}@hostile", sshd.account)))
}

#[test]
fn extended_data_of_a_user_reaches_no_target() {
    require!("sshd", "ssh", "python3-paramiko");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (_target, route) = hostile_target(&bastion, &sshd);
    own::block_on(async {
        let client = own::Own::connect(&route).await;
        let mut channel = client.exec("extended").await;
        // More than a window: what is dropped is given back. The second type is one that nobody has defined.
        let sending = async {
            for kind in [1, 7] {
                for _ in 0..96 {
                    channel.extended_data_bytes(kind, vec![b'x'; 32 * 1024]).await.unwrap();
                }
            }
            channel.data_bytes(&b"end"[..]).await.unwrap();
        };
        tokio::time::timeout(LIMIT, sending).await.expect("credit for what is dropped");
        assert_eq!(own::finish(&mut channel, LIMIT).await.stdout, b"0 bytes\n");
    });
    let log = bastion.audit();
    let told = log.lines().filter(|line| line.contains("extended data from the user")).count();
    assert_eq!(told, 1, "{log}");
}
