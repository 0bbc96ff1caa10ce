//! Disks that fill up, fail and hang under a server at work: sessions end, nothing that was shown is lost.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::time::{Duration, Instant};

use crate::fixture::bastion::id;
use crate::fixture::own::{Own, block_on, finish, read_until};
use crate::fixture::process::{memory, run};
use crate::fixture::{Bastion, Image, LIMIT, Mounted, Running, Sshd, Syncs, until};
use crate::require;

/// Lines that hardly compress, as fast as they can be made.
const NOISE: &str = "while head -c 20000 /dev/urandom | base64 -w 100; do sleep 0.01; done";

/// A session whose user reads all that comes.
struct Reading {
    running: Running,
    reader: std::thread::JoinHandle<Vec<u8>>,
}

impl Reading {
    /// Starts a command and returns when it has shown something.
    fn start(bastion: &Bastion, sshd: &Sshd, command: &str) -> Self {
        let (running, stdout) = bastion.to(sshd).start_ready(&["-n"], command);
        let read = |mut stdout: ChildStdout| {
            let mut seen = b"ready\n".to_vec();
            stdout.read_to_end(&mut seen).unwrap();
            seen
        };
        Self { running, reader: std::thread::spawn(move || read(stdout)) }
    }

    /// Waits for its end by the bastion; gives what was seen.
    #[track_caller]
    fn wait_for_end(self, limit: Duration) -> Vec<u8> {
        let told = self.running.wait_with_open_stdin(limit);
        assert_eq!(told.code, Some(255), "{told:?}");
        self.reader.join().unwrap()
    }
}

/// Asserts that no session begins, and that nothing ran.
#[track_caller]
fn takes_none(bastion: &Bastion, sshd: &Sshd) {
    let told = bastion.to(sshd).run("echo ran");
    assert_eq!((told.out().as_str(), told.code), ("", Some(255)), "{told:?}");
    assert!(bastion.lives());
}

/// Waits until sessions begin again, by themselves.
#[track_caller]
fn takes_sessions_again(bastion: &Bastion, sshd: &Sshd) {
    until(LIMIT, "session", || (bastion.to(sshd).run("echo in").out() == "in\n").then_some(()));
}

/// Asserts, after a new start, that the first session's recording holds what was seen, and that nothing looks like an
/// attack.
#[track_caller]
fn is_kept(bastion: &mut Bastion, seen: &[u8]) {
    bastion.stop();
    bastion.serve();
    let first = bastion.recordings().iter().map(id).min().unwrap();
    let kept = bastion.export(&first, "raw", &[]);
    assert!(kept.starts_with(seen), "{} bytes were seen, {} are kept", seen.len(), kept.len());
    let verified = bastion.doorward(&["verify"]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
}

/// A session fills the disk of the recordings, which no reserve can help: its space lies elsewhere.
#[track_caller]
fn fills_up(mount: impl FnOnce(&Path) -> Option<Mounted>, make_room: impl FnOnce(&Path)) {
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let recordings = bastion.data().join("rec");
    let Some(mounted) = mount(&recordings) else { return };
    bastion.configure("recording", "free_min = \"16KiB\"\nreserve = \"1MiB\"");
    bastion.serve();
    let seen = Reading::start(&bastion, &sshd, NOISE).wait_for_end(LIMIT);
    let told = || bastion.doorward(&["doctor"]).text();
    assert!(seen.len() > 10_000, "{} bytes: {}", seen.len(), told());
    takes_none(&bastion, &sshd);
    make_room(&recordings);
    takes_sessions_again(&bastion, &sshd);
    is_kept(&mut bastion, &seen);
    drop((bastion, mounted));
}

#[test]
fn recordings_that_fill_their_own_disk_end_with_all_that_was_shown() {
    require!("sshd", "ssh", "mount");
    let grow = |at: &Path| {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=8m"]).arg(at);
        run(mount, b"", LIMIT).ok();
    };
    fills_up(|at| Mounted::memory(at, "256k"), grow);
}

#[test]
fn recordings_that_fill_a_disk_with_delayed_allocation_end_with_all_that_was_shown() {
    // ext4 gives blocks to what was written when it is synced, and can refuse them then.
    require!("sshd", "ssh", "mount", "mkfs.ext4");
    let ballast = |at: &Path| -> PathBuf { at.join(".ballast") };
    let mount = |at: &Path| {
        let mounted = Mounted::ext4(at, 8 << 20)?;
        std::fs::write(ballast(at), vec![1; 2 << 20]).unwrap();
        Some(mounted)
    };
    fills_up(mount, |at| std::fs::remove_file(ballast(at)).unwrap());
}

#[test]
fn a_sync_that_fails_costs_a_segment_is_never_tried_again_and_the_session_goes_on() {
    // Linux tells a lost write once: the next sync of the same file succeeds, and what was lost is lost.
    require!("sshd", "ssh", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("fail", "/1/000000.seg");
    bastion.serve();
    let reading = Reading::start(&bastion, &sshd, "for n in $(seq 1 400); do echo line $n; sleep 0.01; done; exit 3");
    syncs.begin();
    let told = reading.running.wait_with_open_stdin(LIMIT);
    assert_eq!(told.code, Some(3), "{told:?}");
    let seen = reading.reader.join().unwrap();
    assert!(syncs.has_failed());
    let first = bastion.recordings().iter().map(id).min().unwrap();
    assert!(bastion.export(&first, "raw", &["--stream", "stdout"]) == seen, "not exactly what was seen");
    takes_sessions_again(&bastion, &sshd);
    // A checkpoint covers the last leaves soon.
    let verified = until(LIMIT, "verdict", || Some(bastion.doorward(&["verify"])).filter(|told| told.code == Some(0)));
    assert!(verified.text().contains("was given up at byte"), "{verified:?}");
    is_kept(&mut bastion, &seen);
    let answers = syncs.answers();
    let at = answers.iter().position(|(answer, _)| answer == "failed").expect("a sync that failed");
    assert!(at > 0, "no sync before it: the session was over too soon");
    let later: Vec<_> = answers[at + 1..].iter().filter(|(_, path)| *path == answers[at].1).collect();
    assert!(later.is_empty(), "synced again after the failure: {later:?}");
}

#[test]
fn a_device_that_fails_to_write_ends_sessions_with_all_that_was_shown() {
    // The file system has 64 MB, and its device room for a part of them: the kernel takes what is written, and cannot
    // write it out.
    require!("sshd", "ssh", "mount", "mkfs.ext4");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let (recordings, device) = (bastion.data().join("rec"), bastion.scratch().join("device"));
    let Some(memory) = Mounted::memory(&device, "12m") else { return };
    let folder = tempfile::tempdir_in(&device).unwrap();
    let Some(mounted) = Image::fresh_in(folder, 64 << 20).and_then(|image| image.mount(&recordings)) else { return };
    bastion.configure("recording", "free_min = \"16KiB\"\nreserve = \"1MiB\"");
    bastion.serve();
    let seen = Reading::start(&bastion, &sshd, NOISE).wait_for_end(LIMIT);
    assert!(seen.len() > 10_000, "{} bytes", seen.len());
    takes_none(&bastion, &sshd);
    bastion.stop();
    // A new device, with what the old one had taken.
    let mut grow = Command::new("mount");
    grow.args(["-o", "remount,size=128m"]).arg(&device);
    run(grow, b"", LIMIT).ok();
    let mounted = mounted.again().unwrap();
    bastion.serve();
    is_kept(&mut bastion, &seen);
    takes_sessions_again(&bastion, &sshd);
    drop((bastion, mounted, memory));
}

#[test]
fn i6_a_log_whose_sync_fails_refuses_what_it_could_not_keep_and_goes_on() {
    require!("sshd", "ssh", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("fail", "/log/leaves.wal");
    bastion.serve();
    let (mut live, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    for _ in 0..3 {
        syncs.begin();
        takes_none(&bastion, &sshd);
        assert!(syncs.has_failed());
        takes_sessions_again(&bastion, &sshd);
    }
    assert!(!live.ended(), "one failure of the log ended a session that is on record");
    drop(live);
    bastion.empties(LIMIT);
    bastion.stop();
    bastion.serve();
    let verified = bastion.doorward(&["verify"]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
}

#[test]
fn a_state_whose_sync_fails_takes_nothing_more_until_a_new_start() {
    // Nobody knows what is on the disk then: neither the change nor its opposite may be acted on.
    require!("sshd", "ssh", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("fail", "/state/db");
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    syncs.begin();
    let told = bastion.doorward(&["user", "add", "bob", "--group", "dba"]);
    assert!(told.code == Some(1) && told.err().contains("disk"), "{told:?}");
    assert!(syncs.has_failed());
    let told = bastion.to(&sshd).run("echo ran");
    assert!(told.out().is_empty() && matches!(told.code, Some(126 | 255)), "{told:?}");
    bastion.stop();
    bastion.environment.clear();
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    // A session that was refused is on record as one that never began.
    assert_eq!(bastion.doorward(&["verify"]).code, Some(3));
}

#[test]
fn a_disk_that_hangs_ends_sessions_at_the_stall_limit_and_takes_no_memory() {
    require!("sshd", "ssh", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("recording", "stall_limit = \"2s\"");
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("hang", "/rec/");
    bastion.serve();
    takes_sessions_again(&bastion, &sshd);
    let reading = Reading::start(&bastion, &sshd, NOISE);
    until(LIMIT, "output", || (syncs.answers().len() > 50).then_some(()));
    let before = memory(bastion.pid(), "status", "VmRSS");
    syncs.begin();
    let start = Instant::now();
    let id = bastion.recordings_at_all().into_iter().max().unwrap();
    let seen = reading.wait_for_end(Duration::from_secs(15));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1500), "ended before the limit: {took:?}");
    let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more while nothing reaches the disk");
    takes_none(&bastion, &sshd);
    syncs.end();
    takes_sessions_again(&bastion, &sshd);
    bastion.stop();
    bastion.serve();
    let kept = bastion.export(&id, "raw", &[]);
    assert!(kept.starts_with(&seen), "{} bytes were seen, {} are kept", seen.len(), kept.len());
    let verified = bastion.doorward(&["verify"]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
}

#[test]
fn a_log_that_hangs_ends_sessions_while_a_refusal_waits_for_it_too() {
    require!("sshd", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("recording", "stall_limit = \"2s\"");
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("hang", "/log/");
    bastion.serve();
    block_on(async {
        let own = Own::connect(&bastion.to(&sshd)).await;
        let mut channel = own.exec("echo ready; cat").await;
        read_until(&mut channel, "ready").await;
        syncs.begin();
        let refused = own.handle.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 22).await;
        assert!(refused.is_err(), "a forwarded channel was opened");
        // Live sessions go on without a log for 30 s; that it hangs is known when it is told something.
        finish(&mut channel, LIMIT).await;
    });
    assert!(bastion.lives());
    syncs.end();
    takes_sessions_again(&bastion, &sshd);
    assert!(bastion.audit().contains("channel.refused"));
}

#[test]
fn a_slow_disk_slows_its_sessions_and_changes_nothing_else() {
    require!("sshd", "ssh", "cc");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("delay", "/rec/");
    bastion.environment.push((String::from("SYNCS_MS"), String::from("250")));
    bastion.serve();
    let command = "seq 1 300000; echo end >&2; exit 3";
    let direct = sshd.direct().run(command);
    let before = memory(bastion.pid(), "status", "VmRSS");
    let start = Instant::now();
    let through = bastion.to(&sshd).run(command);
    assert!(start.elapsed() > Duration::from_millis(750), "the disk was not slow: {:?}", start.elapsed());
    assert_eq!(through, direct);
    let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more for one session on a slow disk");
    let session = bastion.only_recording();
    assert!(bastion.export(&session, "raw", &["--stream", "stdout"]) == direct.stdout);
}
