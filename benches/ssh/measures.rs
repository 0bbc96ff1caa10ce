//! What is measured, and how. Each takes a connection's set-up out of the time, unless the set-up is the measure.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use russh::client::Msg;
use russh::{Channel, ChannelMsg};

use crate::Scale;
use crate::fixture::own::{Own, block_on, read_until};
use crate::fixture::process::{Stdout, descendants, memory, run};
use crate::fixture::route::line;
use crate::fixture::{LIMIT, Route, Running, until};
use crate::lanes::{Kept, Lane, Lanes};
use crate::report::{Goal, Report, median, quantile};

/// No single transfer takes longer, unless it hangs.
const HANG: Duration = Duration::from_secs(120);

/// The lanes that goals are for.
pub const DOORWARD: [Lane; 2] = [Lane::Strict, Lane::Bounded];

pub type Figures = Vec<(Lane, Vec<f64>)>;

/// Rounds of all lanes, one after the other.
pub fn interleaved(lanes: &Lanes, rounds: usize, mut measure: impl FnMut(Lane) -> f64) -> Figures {
    let mut figures: Figures = lanes.names().iter().map(|lane| (*lane, Vec::new())).collect();
    for _ in 0..rounds {
        for (lane, of_lane) in &mut figures {
            of_lane.push(measure(*lane));
        }
    }
    figures
}

pub fn medians(figures: &Figures) -> Vec<(Lane, f64)> {
    figures.iter().map(|(lane, of_lane)| (*lane, median(of_lane))).collect()
}

pub fn mib_per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / f64::from(1 << 20) / took.as_secs_f64()
}

/// Downloads and uploads with one cipher on every hop, of which the bastion keeps digests; and the hop's CPU time.
pub fn bulk(lanes: &Lanes, scale: &Scale, report: &mut Report, cipher: &str, goals: &[Goal]) {
    let short = cipher.split('@').next().unwrap_or(cipher);
    let options = [format!("Ciphers={cipher}")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    type Transfer = fn(&Route, u64, &str) -> Duration;
    let ways: [(&str, Transfer); 2] = [("download", download), ("upload", upload)];
    for (way, transfer) in ways {
        let mut seconds: Figures = Vec::new();
        let figures = interleaved(lanes, scale.rounds, |lane| {
            let before = lanes.hop_cpu(lane);
            let took = transfer(&lanes.route(lane, Kept::Digest, &options), scale.bulk, "cat /dev/zero");
            // The jump host's process is counted when it has ended.
            let used = settled(|| lanes.hop_cpu(lane)) - before;
            let per_gib = used.as_secs_f64() / (scale.bulk as f64 / f64::from(1 << 30));
            match seconds.iter_mut().find(|(of, _)| *of == lane) {
                Some((_, all)) => all.push(per_gib),
                None => seconds.push((lane, vec![per_gib])),
            }
            mib_per_second(scale.bulk, took)
        });
        report.row(format!("{way} {short}, digest"), "MiB/s", &medians(&figures), &DOORWARD, goals);
        let cpu_goal = if short.starts_with("aes") { vec![Goal::AtMost("=", 1.2)] } else { Vec::new() };
        report.row(format!("hop CPU, {way} {short}"), "s/GiB", &medians(&seconds), &DOORWARD, &cpu_goal);
    }
}

/// What SHA-256 alone costs on this machine, in seconds a GiB: a part of each row that says digest.
pub fn digest_cost() -> f64 {
    let block = vec![0; 1 << 20];
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let start = Instant::now();
    for _ in 0..256 {
        context.update(&block);
    }
    std::hint::black_box(context.finish());
    start.elapsed().as_secs_f64() * 4.0
}

/// Waits until two readings in a row are equal.
fn settled(read: impl Fn() -> Duration) -> Duration {
    let mut last = read();
    loop {
        std::thread::sleep(Duration::from_millis(60));
        let now = read();
        if now == last {
            return now;
        }
        last = now;
    }
}

/// The time from the word to go until the last of `size` bytes of the output of `source`.
fn download(route: &Route, size: u64, source: &str) -> Duration {
    let command = format!("read -r go; {source} | head -c {size}");
    let (mut running, mut stdout) = route.start_ready(&[], &command);
    let mut stdin = running.stdin();
    let start = Instant::now();
    stdin.write_all(b"go\n").unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut count = 0;
    loop {
        let read = stdout.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        count += read as u64;
    }
    let took = start.elapsed();
    assert_eq!(count, size, "{}", route.login);
    drop(stdin);
    running.wait_with_open_stdin(LIMIT);
    took
}

/// The time from the first byte sent until the target has read all of them.
fn upload(route: &Route, size: u64, _source: &str) -> Duration {
    let (mut running, mut stdout) = route.start_ready(&[], "cat > /dev/null; echo done");
    let mut stdin = running.stdin();
    let block = vec![0; 1 << 18];
    let start = Instant::now();
    for _ in 0..size / block.len() as u64 {
        stdin.write_all(&block).unwrap();
    }
    drop(stdin);
    assert_eq!(line(&mut stdout), "done\n");
    let took = start.elapsed();
    running.wait_with_open_stdin(LIMIT);
    took
}

/// Lines of text as logs have them, every byte kept.
pub fn text(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let source = "yes 'Nov 21 09:14:07 db1 postgres[4242]: LOG: checkpoint complete: wrote 1234 buffers (7.5%)'";
    let mut seconds: Figures = Vec::new();
    let figures = interleaved(lanes, scale.rounds, |lane| {
        let before = lanes.hop_cpu(lane);
        let options = ["Ciphers=aes256-gcm@openssh.com"];
        let took = download(&lanes.route(lane, Kept::Full, &options), scale.bulk, source);
        let used = settled(|| lanes.hop_cpu(lane)) - before;
        let per_gib = used.as_secs_f64() / (scale.bulk as f64 / f64::from(1 << 30));
        match seconds.iter_mut().find(|(of, _)| *of == lane) {
            Some((_, all)) => all.push(per_gib),
            None => seconds.push((lane, vec![per_gib])),
        }
        mib_per_second(scale.bulk, took)
    });
    // One row for each way to keep it: they have goals of their own.
    let without = |other: Lane| -> Vec<(Lane, f64)> {
        medians(&figures).into_iter().filter(|(lane, _)| *lane != other).collect()
    };
    let (bounded, strict) = (without(Lane::Strict), without(Lane::Bounded));
    report.row("text, recorded, bounded", "MiB/s", &bounded, &[Lane::Bounded], &[Goal::AtLeast("d", 0.5)]);
    report.row("text, recorded, strict", "MiB/s", &strict, &[Lane::Strict], &[Goal::AtLeast("d", 0.3)]);
    report.row("hop CPU, text recorded", "s/GiB", &medians(&seconds), &DOORWARD, &[]);
}

/// Both directions full at once.
pub fn duplex(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let size = scale.bulk / 2;
    let figures = interleaved(lanes, scale.rounds, |lane| {
        let route = lanes.route(lane, Kept::Digest, &["Ciphers=aes256-gcm@openssh.com"]);
        let (mut running, mut stdout) = route.start_ready(&[], "cat");
        let mut stdin = running.stdin();
        let start = Instant::now();
        let writer = std::thread::spawn(move || {
            let block = vec![0; 1 << 18];
            for _ in 0..size / block.len() as u64 {
                stdin.write_all(&block).unwrap();
            }
        });
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
        running.wait_with_open_stdin(HANG);
        let took = start.elapsed();
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), size);
        mib_per_second(size, took)
    });
    report.row("duplex cat, no hang", "MiB/s", &medians(&figures), &DOORWARD, &[Goal::AtLeast("=", 1.0)]);
}

/// Both directions full at once, again and again: how many of them did not end.
pub fn duplex_hangs(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let hanging = |lane: Lane| -> f64 {
        let route = lanes.route(lane, Kept::Digest, &[]);
        let input = vec![b'x'; 4 << 20];
        let hung = (0..scale.repeats).filter(|_| {
            let told = run(route.ssh(&[], "cat"), &input, HANG);
            told.stdout.len() != input.len()
        });
        hung.count() as f64
    };
    let figures: Figures = lanes.doorward().map(|lane| (lane, vec![hanging(lane)])).collect();
    let name = format!("duplex cat of 4 MiB, lost or hung in {}", scale.repeats);
    report.row(name, "runs", &medians(&figures), &DOORWARD, &[Goal::AtMost("=", 0.0)]);
}

/// New keys every 16 MiB: the speed; a byte that is lost stops the measurement.
pub fn rekey(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let options = ["Ciphers=aes256-gcm@openssh.com", "RekeyLimit=16M"];
    let figures = interleaved(lanes, scale.rounds, |lane| {
        mib_per_second(scale.bulk, download(&lanes.route(lane, Kept::Digest, &options), scale.bulk, "cat /dev/zero"))
    });
    report.row("rekey every 16 MiB, no loss", "MiB/s", &medians(&figures), &DOORWARD, &[Goal::AtLeast("=", 1.0)]);
}

/// What a client that stops reading makes the bastion keep.
pub fn stuck(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let grown = |lane: Lane| -> f64 {
        let pid = lanes.bastion().pid();
        let unread = lanes.route(lane, Kept::Full, &[]).start(&["-n"], "cat /dev/zero");
        until(LIMIT, "stalled channel", || (unread.waiting() >= 60 << 10).then_some(()));
        let before = memory(pid, "status", "VmRSS");
        std::thread::sleep(scale.stuck);
        (memory(pid, "status", "VmRSS") as f64 - before as f64) / 1024.0
    };
    let figures: Figures = lanes.doorward().map(|lane| (lane, vec![grown(lane)])).collect();
    let name = format!("memory by a peer stuck for {} s", scale.stuck.as_secs());
    report.row(name, "MiB", &medians(&figures), &DOORWARD, &[Goal::AtMost("=", 8.0)]);
}

/// Memory after many sessions that came and went, to what it was after the first of them.
pub fn open_close(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let ratio = |lane: Lane| -> f64 {
        let pid = lanes.bastion().pid();
        let sessions = |count: usize| {
            block_on(async {
                for _ in 0..count {
                    let client = Own::connect(&lanes.own_route(lane)).await;
                    let mut channel = client.exec("true").await;
                    crate::fixture::own::finish(&mut channel, LIMIT).await;
                }
            });
            lanes.bastion().empties(LIMIT);
            memory(pid, "status", "VmRSS") as f64
        };
        let plateau = sessions(scale.opened / 5);
        sessions(scale.opened - scale.opened / 5) / plateau
    };
    let figures: Figures = lanes.doorward().map(|lane| (lane, vec![ratio(lane)])).collect();
    let name = format!("memory after {} sessions, to {}", scale.opened, scale.opened / 5);
    report.row(name, "x", &medians(&figures), &DOORWARD, &[Goal::AtMost("=", 1.2)]);
}

/// `ssh host true`, with the key exchange that both sides of all lanes know.
pub fn set_up(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let options = ["KexAlgorithms=curve25519-sha256", "HostKeyAlgorithms=ssh-ed25519"];
    let figures = interleaved(lanes, scale.many, |lane| {
        let command = lanes.route(lane, Kept::Full, &options).ssh(&["-n"], "true");
        let start = Instant::now();
        run(command, b"", LIMIT).ok();
        start.elapsed().as_secs_f64() * 1e3
    });
    report.row("ssh host true", "ms", &medians(&figures), &DOORWARD, &[Goal::AtMost("d", 1.3)]);
}

/// A key pressed until its echo is there, on a terminal that is recorded.
pub fn echo(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let figures = block_on(echoes(lanes, scale));
    let at =
        |part: f64| -> Vec<(Lane, f64)> { figures.iter().map(|(lane, all)| (*lane, quantile(all, part))).collect() };
    let goal = [Goal::AtMost("d", 1.4)];
    report.row("echo p50", "us", &at(0.5), &[Lane::Bounded], &goal);
    report.row("echo p99", "us", &at(0.99), &[Lane::Bounded], &goal);
    let (p50, of) = (at(0.5), |wanted: Lane, all: &[(Lane, f64)]| {
        all.iter().find(|(lane, _)| *lane == wanted).map(|(_, figure)| *figure)
    });
    if let (Some(bounded), Some(strict)) = (of(Lane::Bounded, &p50), of(Lane::Strict, &p50)) {
        let sync = disk_sync(lanes);
        let added = [(Lane::Strict, (strict - bounded) / sync)];
        let name = format!("echo p50, added by strict, of {sync:.0} us");
        report.row(name, "syncs", &added, &[Lane::Strict], &[Goal::AtMost("=", 2.0)]);
    }
}

async fn echoes(lanes: &Lanes, scale: &Scale) -> Figures {
    let mut channels = Vec::new();
    for lane in lanes.names() {
        let client = Own::connect(&lanes.own_route(*lane)).await;
        let mut channel = client.exec_on_pty("stty raw -echo; echo ready; exec cat", 80, 24).await;
        read_until(&mut channel, "ready").await;
        channels.push((*lane, client, channel, Vec::new()));
    }
    // Small blocks, in turn: the lanes share the machine's good and bad moments.
    for _ in 0..scale.rounds {
        for (_, _, channel, figures) in &mut channels {
            for _ in 0..scale.echoes / 5 {
                figures.push(echo_once(channel).await);
            }
        }
    }
    channels.into_iter().map(|(lane, _, _, figures)| (lane, figures)).collect()
}

/// How long a key takes until its echo is there, in microseconds.
pub async fn echo_once(channel: &mut Channel<Msg>) -> f64 {
    let start = Instant::now();
    channel.data_bytes(&b"x"[..]).await.unwrap();
    loop {
        match tokio::time::timeout(LIMIT, channel.wait()).await.unwrap() {
            Some(ChannelMsg::Data { .. }) => return start.elapsed().as_secs_f64() * 1e6,
            Some(_) => {}
            None => panic!("the echo ended"),
        }
    }
}

/// What the disk takes for a small record that must not be lost: the median, in microseconds.
fn disk_sync(lanes: &Lanes) -> f64 {
    let path = lanes.bastion().data().join("bench-sync");
    let mut file = std::fs::File::create(&path).unwrap();
    let figures: Vec<f64> = (0..100)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[b'x'; 100]).unwrap();
            file.sync_data().unwrap();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    std::fs::remove_file(path).unwrap();
    median(&figures)
}

/// `ssh host 'cat /dev/zero' | head -c 10`: the time until `ssh` ends.
pub fn head(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let figures = interleaved(lanes, scale.rounds, |lane| {
        let start = Instant::now();
        let mut running = lanes.route(lane, Kept::Digest, &[]).start(&["-n"], "cat /dev/zero");
        let mut stdout = running.stdout();
        stdout.read_exact(&mut [0; 10]).unwrap();
        drop(stdout);
        running.wait(HANG);
        start.elapsed().as_secs_f64() * 1e3
    });
    report.row("cat /dev/zero | head -c 10", "ms", &medians(&figures), &DOORWARD, &[Goal::AtMost("=", 10_000.0)]);
}

/// A command on a connection of which another channel is stalled.
pub fn beside(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let folder = crate::fixture::scratch();
    let masters: Vec<_> = lanes
        .names()
        .iter()
        .map(|lane| {
            let master = lanes.route(*lane, Kept::Digest, &[]).master(folder.path());
            let unread = master.route.start(&["-n"], "cat /dev/zero");
            until(LIMIT, "stalled channel", || (unread.waiting() >= 60 << 10).then_some(()));
            (*lane, master, unread)
        })
        .collect();
    let figures = interleaved(lanes, scale.many, |lane| {
        let (_, master, _) = masters.iter().find(|(of, _, _)| *of == lane).unwrap();
        let start = Instant::now();
        assert_eq!(master.route.run("echo beside").out(), "beside\n");
        start.elapsed().as_secs_f64() * 1e3
    });
    report.row("channel beside a stalled one", "ms", &medians(&figures), &DOORWARD, &[Goal::AtMost("d", 1.5)]);
}

/// What an idle session with a terminal costs the hop (the target, on the direct lane).
pub fn memory_of_sessions(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let mut figures = Vec::new();
    for lane in lanes.names() {
        // A jump host's session needs an `ssh` process each: fewer of them tell the same.
        let count = if *lane == Lane::Jump { 20 } else { scale.sessions };
        let pid = lanes.sshd_pid(*lane);
        // What the first sessions of a process leave in it is not what a further one costs.
        if lanes.doorward().any(|other| other == *lane) {
            drop(block_on(idle(lanes, *lane, 20)));
            lanes.bastion().empties(LIMIT);
        }
        let before = pss(*lane, pid);
        let grown = if *lane == Lane::Jump {
            let route = lanes.route(*lane, Kept::Full, &[]);
            let held: Vec<Running> =
                (0..count).map(|_| Running::start(route.ssh(&["-tt"], "sleep 1000"), Stdout::Gathered)).collect();
            until(LIMIT, "idle sessions", || (descendants(pid).len() >= count).then_some(()));
            std::thread::sleep(Duration::from_secs(2));
            let after = pss(*lane, pid);
            drop(held);
            after - before
        } else {
            block_on(async {
                let _held = idle(lanes, *lane, count).await;
                // A channel gives its compressor back when it has been silent for 5 s: then it is idle.
                tokio::time::sleep(Duration::from_secs(7)).await;
                pss(*lane, pid).saturating_sub(before)
            })
        };
        figures.push((*lane, grown as f64 / count as f64));
    }
    report.row(
        format!("memory an idle session, of {}", scale.sessions),
        "KiB",
        &figures,
        &DOORWARD,
        &[Goal::AtMost("=", 256.0)],
    );
}

/// Sessions with a terminal in which nothing happens.
async fn idle(lanes: &Lanes, lane: Lane, count: usize) -> Vec<(Own, russh::Channel<russh::client::Msg>)> {
    let mut held = Vec::new();
    for _ in 0..count {
        let client = Own::connect(&lanes.own_route(lane)).await;
        let mut channel = client.exec_on_pty("echo ready; exec sleep 1000", 80, 24).await;
        read_until(&mut channel, "ready").await;
        held.push((client, channel));
    }
    held
}

/// The hop's own memory, shared pages counted in parts. For `sshd` that of its session processes.
pub fn pss(lane: Lane, pid: u32) -> u64 {
    let of = |pid: u32| memory(pid, "smaps_rollup", "Pss");
    match lane {
        Lane::Strict | Lane::Bounded => of(pid),
        Lane::Direct | Lane::Jump => {
            let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            // One that ends meanwhile has none.
            let alive = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).is_ok();
            let sessions = descendants(pid).into_iter().filter(|pid| name(*pid).trim() == "sshd");
            sessions.filter(alive).map(of).sum()
        }
    }
}
