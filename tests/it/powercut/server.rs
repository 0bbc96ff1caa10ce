//! The power of the whole server is cut, with people at work.

use std::process::ChildStdout;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::bastion::{GRANTED, id};
use crate::fixture::process::stopped;
use crate::fixture::{Bastion, LIMIT, Mounted, Running, Sshd, Syncs, until};
use crate::require;

const IMAGE_BYTES: u64 = 256 << 20;

/// A session and what its user has seen.
struct Shown {
    running: Running,
    stdout: ChildStdout,
    seen: Vec<u8>,
}

impl Shown {
    fn start(running: Running) -> Self {
        let mut running = running;
        let stdout = running.stdout();
        Self { running, stdout, seen: Vec::new() }
    }

    /// Takes what waits; whether there was anything.
    fn look(&mut self) -> bool {
        use std::io::Read;
        let waiting = rustix::io::ioctl_fionread(&self.stdout).unwrap();
        let from = self.seen.len();
        self.seen.resize(from + waiting as usize, 0);
        self.stdout.read_exact(&mut self.seen[from..]).unwrap();
        waiting > 0
    }
}

/// What a power cut has lost of a bastion at work, in words; `None` without the right to mount.
fn lost(environment: impl FnOnce(&Bastion) -> Vec<(String, String)>) -> Option<Vec<String>> {
    let sshd = Sshd::start();
    let mut mounted = None;
    let mut bastion = Bastion::init_on(|folder| mounted = Mounted::ext4(&folder.join("home"), IMAGE_BYTES));
    let mounted = mounted?;
    bastion.configure("recording", "free_min = \"1MiB\"\nreserve = \"8MiB\"");
    bastion.policy(GRANTED);
    bastion.furnish(&sshd);
    let destination = format!("{}@db1", sshd.account);
    let before = bastion.grant("alice", &destination, "1h", "the first one");
    // What was done so far, by this test too, is durable.
    rustix::fs::syncfs(std::fs::File::open(bastion.home()).unwrap()).unwrap();
    bastion.environment = environment(&bastion);
    bastion.serve();
    let grant = bastion.grant("alice", &destination, "1h", "the second one");
    bastion.doorward(&["grant", "revoke", &before]).ok();
    let ended = bastion.to(&sshd).run("echo over; exit 3");
    assert_eq!((ended.out().as_str(), ended.code), ("over\n", Some(3)), "{ended:?}");
    let over = bastion.only_recording();

    let mut live = [
        Shown::start(bastion.to(&sshd).start(&["-n"], "while :; do echo a line of few bytes; sleep 0.005; done")),
        Shown::start(bastion.to(&sshd).start(&["-n"], "seq 1 100000000")),
    ];
    until(LIMIT, "output of both", || {
        for one in &mut live {
            one.look();
        }
        live.iter().all(|one| one.seen.len() > 2000).then_some(())
    });
    let mut server = bastion.take_server();
    server.signal(Signal::STOP);
    until(LIMIT, "stop of the server", || stopped(server.pid()).then_some(()));
    // What is on its way through pipes and sockets was let through before the stop.
    let mut quiet = 0;
    while quiet < 20 {
        let more = live.iter_mut().filter_map(|one| one.look().then_some(())).count();
        quiet = if more > 0 { 0 } else { quiet + 1 };
        std::thread::sleep(Duration::from_millis(10));
    }
    let image = mounted.cut();
    server.signal(Signal::KILL);
    until(LIMIT, "end of the server", || server.ended().then_some(()));
    let seen: Vec<Vec<u8>> = live
        .into_iter()
        .map(|one| {
            drop(one.running);
            one.seen
        })
        .collect();
    drop(mounted);
    let mounted = image.mount(&bastion.home())?;
    bastion.environment.clear();
    let lost = held_against(&mut bastion, &sshd, (&before, &grant), &over, &seen);
    drop((bastion, mounted));
    Some(lost)
}

/// What is missing after the power is back, in the order in which an operator would notice.
fn held_against(
    bastion: &mut Bastion,
    sshd: &Sshd,
    (revoked, grant): (&str, &str),
    over: &str,
    seen: &[Vec<u8>],
) -> Vec<String> {
    let mut lost = Vec::new();
    let mut server = bastion.start_server();
    if !crate::fixture::sshd::greeted(&mut server, bastion.port) {
        lost.push(format!("it does not start: {}", server.wait(LIMIT).err()));
        return lost;
    }
    let grants: Vec<String> = bastion.rows(&["grant", "list"]).iter().map(id).collect();
    if !grants.iter().any(|one| one == grant) {
        lost.push(String::from("the grant"));
    }
    if grants.iter().any(|one| one == revoked) {
        lost.push(String::from("the revocation"));
    }
    // The start has closed what it found open.
    let rows = bastion.rows(&["recording", "list"]);
    let row = |session: &str| rows.iter().find(|row| id(row) == session);
    if row(over).is_none_or(|row| row["interrupted"] == Value::Bool(true)) {
        lost.push(format!("the end of {over}: {rows:?}"));
    }
    let cut: Vec<String> = rows.iter().filter(|row| row["interrupted"] == Value::Bool(true)).map(id).collect();
    let kept: Vec<Vec<u8>> = cut.iter().map(|session| bastion.export(session, "raw", &[])).collect();
    for seen in seen {
        if !kept.iter().any(|kept| kept.starts_with(seen)) {
            lost.push(format!("{} bytes that were seen, of {:?}", seen.len(), rows.len()));
        }
    }
    let verified = bastion.doorward(&["verify"]);
    // Two sessions were cut, and nothing is worse.
    if verified.code != Some(3) {
        lost.push(format!("it does not verify: {verified:?}"));
    }
    // It goes on.
    if bastion.to(sshd).run("echo next").out() != "next\n" {
        lost.push(String::from("the right to go on"));
    }
    server.signal(Signal::TERM);
    server.wait(LIMIT);
    lost
}

#[test]
fn i1_a_power_cut_under_a_server_loses_nothing_that_its_users_have_seen() {
    require!("sshd", "ssh", "mkfs.ext4", "mount");
    let Some(lost) = lost(|_| Vec::new()) else { return };
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn a_server_whose_syncs_lie_is_found_to_have_lost_what_was_seen() {
    // The control of the one above.
    require!("sshd", "ssh", "mkfs.ext4", "mount", "cc");
    for _ in 0..3 {
        let Some(lost) = lost(|bastion| Syncs::build(bastion.scratch()).environment("lie", "")) else { return };
        // The grant, the revocation, the session that was over, what two users saw.
        if lost.len() >= 5 {
            return;
        }
        println!("lost: {lost:#?}");
    }
    panic!("a server whose syncs do nothing lost next to nothing: are they what makes it durable?");
}
