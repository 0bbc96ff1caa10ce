//! What makes a plain relay hang: both directions full, a reader that left, a stalled neighbour, a peer that never reads.

use std::io::{Read, Write};
use std::time::Duration;

use rustix::process::Signal;

use crate::fixture::bastion::{OPEN, recorded};
use crate::fixture::process::{Stdout, descendants, memory, run};
use crate::fixture::{Bastion, LIMIT, Running, Sshd, holds, own, until};
use crate::require;

#[test]
fn both_directions_full_do_not_hang() {
    require!("sshd", "ssh");
    const SIZE: usize = 64 << 20;
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for round in 0..3 {
        let mut running = bastion.to(&sshd).start(&[], "cat");
        let (mut stdin, mut stdout) = (running.stdin(), running.stdout());
        let writer = std::thread::spawn(move || stdin.write_all(&vec![b'x'; SIZE]).unwrap());
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
        running.wait(LIMIT).ok();
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), SIZE as u64, "round {round}");
    }
}

#[test]
fn many_channels_full_in_both_directions_do_not_hang() {
    require!("sshd", "ssh");
    const SIZE: usize = 8 << 20;
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    let workers: Vec<_> = (0..6)
        .map(|number: u8| {
            let command = master.route.ssh(&[], "cat");
            std::thread::spawn(move || {
                let seen = run(command, &vec![number; SIZE], LIMIT).ok();
                assert!(seen.stdout == vec![number; SIZE], "channel {number} got other bytes");
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn a_reader_that_leaves_ends_the_program() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for route in [sshd.direct(), bastion.to(&sshd)] {
        // As in `ssh host 'cat /dev/zero' | head -c 10`.
        let mut running = route.start(&["-n"], "cat /dev/zero");
        let mut stdout = running.stdout();
        let mut ten = [1u8; 10];
        stdout.read_exact(&mut ten).unwrap();
        assert_eq!(ten, [0; 10]);
        drop(stdout);
        running.wait(LIMIT);
    }
    bastion.empties(LIMIT);
    no_children(&sshd);
    assert!(bastion.lives());
}

#[test]
fn a_stalled_channel_does_not_hold_up_its_neighbours() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    // Output that nobody reads, and input that the program does not read.
    let mut unread = master.route.start(&["-n"], "cat /dev/zero");
    let mut unreading = master.route.start(&[], "sleep 1000");
    fill(&mut unreading);
    until(LIMIT, "full pipe", || full(&mut unread).then_some(()));
    for _ in 0..20 {
        assert_eq!(master.route.run("echo beside").out(), "beside\n");
    }
}

#[test]
fn peers_that_stop_reading_cost_no_memory_and_stall_no_neighbour() {
    require!("sshd", "ssh");
    const SPAN: Duration = Duration::from_secs(60);
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    // Bulk beyond the cap: a recording that grows for a minute is not what is measured here.
    bastion.policy(&recorded(OPEN, r#"exec = "digest", stdin = "digest""#));
    bastion.serve();
    let route = bastion.to(&sshd);
    assert_eq!(route.run("echo warm").out(), "warm\n");
    let before = memory(bastion.pid(), "status", "VmRSS");

    let mut reading_nothing = route.start(&["-n"], "cat /dev/zero");
    until(LIMIT, "full pipe", || full(&mut reading_nothing).then_some(()));
    let mut stopped = Running::start(route.ssh(&["-n"], "cat /dev/zero"), Stdout::Gathered);
    until(LIMIT, "session", || (bastion.sessions().len() == 2).then_some(()));
    stopped.signal(Signal::STOP);
    let mut target_reads_nothing = route.start(&[], "sleep 1000");
    fill(&mut target_reads_nothing);

    // A neighbour gets through all the while; how quickly is a matter for the bench.
    holds(SPAN, "a neighbour who gets through", || {
        let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
        // 8 MiB a channel (the window, on both legs), three channels, and what three sessions need.
        assert!(grown < 64 << 10, "grown by {grown} KiB");
        route.run("echo beside").out() == "beside\n"
    });
    assert!(!stopped.ended());
    stopped.signal(Signal::CONT);
    drop((reading_nothing, stopped, target_reads_nothing));
    bastion.empties(LIMIT);
    no_children(&sshd);
}

#[test]
fn an_idle_session_lives_and_a_silent_peer_is_given_up() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("ssh", "keepalive = \"1s\"\nkeepalive_max = 2");
    bastion.serve();
    let route = bastion.to(&sshd);
    let idle = Running::start(route.ssh(&["-tt"], "cat"), Stdout::Gathered);
    until(LIMIT, "session", || (bastion.sessions().len() == 1).then_some(()));
    // Longer than any peer may be silent.
    holds(Duration::from_secs(6), "an idle session", || bastion.sessions().len() == 1);
    idle.signal(Signal::STOP);
    bastion.empties(LIMIT);
    idle.signal(Signal::KILL);

    let waiting = Running::start(route.ssh(&["-tt"], "cat"), Stdout::Gathered);
    until(LIMIT, "session", || (bastion.sessions().len() == 1).then_some(()));
    // The session is on the list before its target is dialled.
    let stopped = until(LIMIT, "leg", || Some(descendants(sshd.pid())).filter(|found| !found.is_empty()));
    let signal = |signal| {
        for pid in &stopped {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(*pid as i32).unwrap(), signal);
        }
    };
    signal(Signal::STOP);
    bastion.empties(LIMIT);
    signal(Signal::CONT);
    assert_eq!(waiting.wait(LIMIT).code, Some(255));
}

#[test]
fn a_channel_of_our_own_client_that_is_never_read_stalls_alone() {
    require!("sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    own::block_on(async {
        let client = own::Own::connect(&bastion.to(&sshd)).await;
        let _unread = client.exec("cat /dev/zero").await;
        for _ in 0..5 {
            let mut beside = client.exec("echo beside").await;
            let told = own::finish(&mut beside, LIMIT).await;
            assert_eq!((told.stdout.as_slice(), told.status), (&b"beside\n"[..], Some(0)));
        }
    });
}

#[test]
fn a_hundred_channels_open_and_close_on_one_connection() {
    require!("sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    own::block_on(async {
        let client = own::Own::connect(&bastion.to(&sshd)).await;
        for round in 0..100_u32 {
            let mut channel = client.exec(&format!("echo {round}; exit {}", round % 7)).await;
            let told = own::finish(&mut channel, LIMIT).await;
            assert_eq!((told.stdout, told.status), (format!("{round}\n").into_bytes(), Some(round % 7)));
        }
    });
}

#[test]
fn output_just_before_the_end_is_never_lost() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    // russh #553: data and close race. A program that ends right after its output is where it would show.
    for round in 0..40 {
        let seen = master.route.run("head -c 300000 /dev/zero; exit 3");
        assert_eq!((seen.stdout.len(), seen.code), (300_000, Some(3)), "round {round}");
    }
}

#[test]
fn new_keys_in_the_middle_of_a_stream_lose_nothing() {
    require!("sshd", "ssh");
    let sshd = Sshd::with(&["RekeyLimit 1M"]);
    let bastion = Bastion::serving(&sshd);
    let route = bastion.to(&sshd).with("RekeyLimit=1M");
    let bytes: Vec<u8> = (0..24_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let seen = run(route.ssh(&[], "cat"), &bytes, LIMIT).ok();
    assert!(seen.stdout == bytes, "{} bytes came back, or others", seen.stdout.len());
    let wanted = sshd.direct().run("seq 1 2000000").stdout;
    assert!(route.run("seq 1 2000000").stdout == wanted);
}

/// Writes to a program's standard input until its window and every pipe on the way are full.
fn fill(running: &mut Running) {
    let mut stdin = running.stdin();
    std::thread::spawn(move || while stdin.write_all(&[0; 1 << 16]).is_ok() {});
}

/// Whether nothing more fits into the pipe from the program to us.
fn full(running: &mut Running) -> bool {
    // FIONREAD on our end: a pipe holds 64 KiB (pipe(7)).
    running.waiting() >= 60 << 10
}

#[track_caller]
fn no_children(sshd: &Sshd) {
    until(LIMIT, "end of the programs on the target", || {
        crate::fixture::process::descendants(sshd.pid()).is_empty().then_some(())
    });
}
