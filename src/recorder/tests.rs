use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, MutexGuard};

use bytes::Bytes;

use super::*;
use crate::auditor::Identity;
use crate::cast::Reader;
use crate::model::{AccountName, Exit, Output, TargetName, TerminalSize, UserName};
use crate::policy::{PolicyFile, PolicySet, Question};
use crate::seal::{EndReason, HEADER_BYTES, Head, Item, Opened, Opener, ScanEnd, Scanner, Sealed, SegmentHeader};
use crate::store::{Catalog, End, Filter, Listed, PlainRecording, SegmentFile};

mod crash;
mod disk;
mod gaps;
mod log;
mod suspect;

use disk::{FaultyDisk, Op, SimFile, SimReserve, When, broken};

#[test]
fn a_recording_holds_what_was_appended_and_is_listed_as_closed() {
    let temp = tempfile::tempdir().unwrap();
    let root = StoreRoot::at(temp.path());
    let auditor = Identity::generate();
    let auditors = Recipients::of([auditor.recipient()]).unwrap();
    let log = Arc::new(SimLog::default());
    let told: Arc<dyn RecorderLog> = log.clone();
    let recorder = Recorder::start(root.clone(), quick(), auditors, told, Clock::system()).unwrap();
    let id = recorder.new_session_id(Clock::system().now());
    run(async {
        let permit = permit("strict");
        let recording = recorder.open(&permit, facts(&id)).await.unwrap();
        let track = recording.channel(&permit, terminal(1)).await.unwrap();
        for text in ["one\r\n", "two\r\n"] {
            track.append(out(text)).await.unwrap().durable().await.unwrap();
        }
        recording.note(String::from("refused: sftp")).await;
        track.append(Entry::Exit(Exit::Status(3))).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        assert!(matches!(track.append(out("late")).await, Err(RecorderError::Finished)));
        recording.finish("the user left").await.unwrap();
    });
    let catalog = Catalog::new(root);
    let listed = catalog.list(&Filter::default());
    let [Listed::Recording(summary)] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(summary.session, id);
    assert_eq!(summary.end, End::Closed { reason: String::from("the user left") });
    assert_eq!(summary.channels.len(), 1);
    let stored = PlainRecording::open(catalog.root(), catalog.open(&id).unwrap(), &[auditor]).unwrap();
    let [facts, shell] = stored.channels.as_slice() else { panic!("{stored:?}") };
    let told = log.told.lock().unwrap().clone();
    let head = &shell.closed.as_ref().unwrap().head;
    assert_eq!((told.len(), told[2].as_str()), (3, "ended: the user left"), "{told:?}");
    assert!(told.iter().any(|one| *one == format!("1/0 {head}")), "{told:?}");
    assert_eq!((shell.header.cols, shell.header.term.as_deref()), (100, Some("xterm")));
    let closed = shell.closed.clone().unwrap();
    assert_eq!((closed.stdout.bytes, closed.exit), (10, Some(Exit::Status(3))));
    let entries: Vec<Entry> = shell.events().map(|event| event.unwrap().entry).collect();
    assert_eq!(entries, [out("one\r\n"), out("two\r\n"), Entry::Exit(Exit::Status(3))]);
    let facts: Vec<String> = facts.events().map(|event| format!("{:?}", event.unwrap().entry)).collect();
    for (fact, said) in
        facts.iter().zip(["session opened", "channel 1 opened: shell", "refused: sftp", "session ended"])
    {
        assert!(fact.contains(said), "{fact}");
    }
    assert_eq!(facts.len(), 4);
}

/// Wherever the disk fails, in whatever way: what was shown is on disk, and what is there reads as a prefix.
#[test]
fn no_receipt_is_good_unless_its_bytes_are_on_disk() {
    let mut survived = 0;
    for durability in ["strict", "bounded"] {
        for when in [When::Before, When::Halfway, When::After] {
            for operation in 0..14 {
                let disk = FaultyDisk::new();
                disk.lock().fault = Some((operation, when));
                let outcome = record_lines(&disk, durability);
                disk.assert_sound(&outcome.shown, durability == "strict");
                if outcome.opened && disk.lock().fault.is_none() {
                    // A segment that is lost costs nothing but itself.
                    let whole = disk.output("1") == (0..10).map(line).collect::<String>().as_bytes();
                    assert!(outcome.failed || whole, "{durability} {when:?} {operation}: the failure was not told");
                    survived += usize::from(!outcome.failed);
                }
            }
        }
    }
    assert!(survived > 10, "{survived} survived");
}

#[test]
fn what_comes_during_a_sync_joins_the_next_commit() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (_recording, track) = open(&recorder, "strict").await;
        disk.hold(true);
        let first = track.append(out("0")).await.unwrap();
        disk.wait_held().await;
        let before = disk.lock().syncs;
        let mut receipts = Vec::new();
        for n in 1..500 {
            receipts.push(track.append(out(&n.to_string())).await.unwrap());
        }
        disk.hold(false);
        first.durable().await.unwrap();
        for receipt in receipts {
            receipt.durable().await.unwrap();
        }
        assert!(disk.lock().syncs - before <= 2, "{} syncs", disk.lock().syncs - before);
    });
}

#[test]
fn a_full_queue_makes_the_carrier_wait_and_loses_nothing() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        disk.hold(true);
        let _first = track.append(out("x")).await.unwrap();
        disk.wait_held().await;
        let block = "y".repeat(64 * 1024);
        let mut taken = 0;
        while let Ok(receipt) = timeout(Duration::from_millis(50), track.append(out(&block))).await {
            drop(receipt.unwrap());
            taken += 1;
        }
        assert!((60..=64).contains(&taken), "{taken} blocks were taken");
        disk.hold(false);
        track.append(out(&block)).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("done").await.unwrap();
        let output = disk.output("1");
        assert_eq!(output.len(), 1 + (taken + 1) * block.len());
    });
}

#[test]
fn a_disk_that_hangs_fails_the_channel_and_refuses_new_sessions_until_it_works_again() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, RecorderSettings { stall_limit: Duration::from_millis(80), ..quick() });
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("shown")).await.unwrap().durable().await.unwrap();
        disk.hold(true);
        let receipt = track.append(out("never shown")).await.unwrap();
        assert!(matches!(receipt.durable().await, Err(RecorderError::Stalled { .. })));
        assert!(matches!(recording.failed().await, RecorderError::Stalled { .. }));
        assert!(matches!(track.append(out("x")).await, Err(RecorderError::Stalled { .. })));
        assert!(recorder.healthy().is_err());
        disk.hold(false);
        until(|| recorder.healthy().is_ok()).await;
        recording.finish("the recording failed").await.unwrap();
    });
    let closed = disk.closed_json();
    assert!(closed.contains("nothing reached the disk"));
    // The thread that hung had the writer: the record of how far it was is not lost with it.
    let closed: serde_json::Value = serde_json::from_str(&closed).unwrap();
    let channel = &closed["channels"][1];
    assert_eq!((&channel["segments"], &channel["stdout"]["bytes"]), (&1.into(), &5.into()), "{closed}");
    assert!(
        channel["records"].as_u64().is_some_and(|records| records >= 1) && channel["class"].is_string(),
        "{closed}"
    );
}

#[test]
fn a_recording_that_is_abandoned_is_left_as_a_crash_would_leave_it() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let id = recorder.new_session_id(Clock::system().now());
        let recording = recorder.open(&permit("strict"), facts(&id)).await.unwrap();
        recording.abandon();
        // What the threads had to do for it is done before this.
        let (other, _track) = open(&recorder, "strict").await;
        other.finish("done").await.unwrap();
    });
    drop(recorder);
    let sim = disk.lock();
    assert_eq!(sim.files.keys().filter(|path| path.ends_with("0/000000.seg")).count(), 2);
    assert_eq!(sim.files.keys().filter(|path| path.ends_with("closed.json")).count(), 1);
}

#[test]
fn on_a_full_disk_the_reserve_completes_what_has_begun_and_the_session_ends() {
    let disk = FaultyDisk::new();
    let reserve = Arc::new(SimReserve { disk: disk.clone() });
    let recorder = start(&disk, RecorderSettings { reserve: Some(reserve), free_min: bytes(10_000), ..quick() });
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        disk.lock().space = 70;
        let block: String = (0..1000_u32).map(|n| char::from_u32(n * 7919 % 50_000 + 0x100).unwrap()).collect();
        track.append(out(&block)).await.unwrap().durable().await.unwrap();
        assert!(matches!(recording.failed().await, RecorderError::DiskFull { .. }));
        assert!(matches!(track.append(out("x")).await, Err(RecorderError::DiskFull { .. })));
        assert!(matches!(recorder.healthy(), Err(RecorderError::DiskFull { .. } | RecorderError::LowSpace { .. })));
        recording.finish("the recording failed").await.unwrap();
        assert_eq!(disk.output("1"), block.as_bytes());
        disk.lock().space = 1 << 30;
        until(|| recorder.healthy().is_ok()).await;
        assert!(disk.lock().reserved, "the reserve is not set aside again");
    });
}

#[test]
fn recordings_that_a_full_disk_kept_open_are_closed_once_there_is_room_and_take_no_thread_each() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    let closed = || disk.lock().files.keys().filter(|path| path.ends_with("closed.json")).count();
    run(async {
        let mut ended = Vec::new();
        for _ in 0..3 {
            let (recording, track) = open(&recorder, "strict").await;
            track.append(out("x")).await.unwrap().durable().await.unwrap();
            track.finish().await.unwrap();
            ended.push(recording);
        }
        disk.lock().space = 0;
        for recording in ended {
            assert!(matches!(recording.finish("the user left").await, Err(RecorderError::DiskFull { .. })));
        }
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
        assert!(names.into_iter().all(|name| name.trim() != "closing"));
        // A check finds the disk full still.
        disk.wait_looked(2).await;
        assert_eq!(closed(), 0);
        disk.lock().space = 1 << 30;
        until(|| closed() == 3).await;
    });
}

#[test]
fn a_break_glass_session_goes_on_without_a_disk_and_the_gap_is_on_record() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = open(&recorder, "best-effort").await;
        track.append(out("recorded ")).await.unwrap().durable().await.unwrap();
        until(|| !disk.output("1").is_empty()).await;
        disk.lock().space = 0;
        // More than a queue holds: nothing waits for what cannot be written.
        let block = "x".repeat(64 * 1024);
        for _ in 0..200 {
            track.append(out(&block)).await.unwrap().durable().await.unwrap();
        }
        until(|| log.said("gap in 1: ")).await;
        // It keeps no other session from being refused.
        assert!(recorder.healthy().is_err());
        assert!(recording.shared.failure.borrow().is_none(), "the session was ended");
        track.append(out("and on")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        disk.lock().space = 1 << 30;
        recording.finish("the user left").await.unwrap();
    });
    assert!(disk.output("1").starts_with(b"recorded "));
    assert!(disk.closed_json().contains("\"failure\""), "{}", disk.closed_json());
}

#[test]
fn little_free_space_refuses_new_sessions() {
    let disk = FaultyDisk::new();
    disk.lock().space = 1000;
    let recorder = start(&disk, RecorderSettings { free_min: bytes(1001), ..quick() });
    assert!(matches!(recorder.healthy(), Err(RecorderError::LowSpace { free: 1000, free_min: 1001 })));
    run(async {
        let id = recorder.new_session_id(Clock::system().now());
        assert!(recorder.open(&permit("strict"), facts(&id)).await.is_err());
    });
}

#[test]
fn little_of_a_large_disk_refuses_new_sessions() {
    let disk = FaultyDisk::new();
    disk.lock().space = 4_999;
    let recorder = start(&disk, RecorderSettings { free_min: FreeMin { bytes: 1, percent: 5 }, ..quick() });
    assert!(matches!(recorder.healthy(), Err(RecorderError::LowSpace { free: 4_999, free_min: 5_000 })));
}

#[test]
fn a_sync_that_holds_the_session_up_is_counted() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("at once")).await.unwrap().durable().await.unwrap();
        let before = recorder.slow_syncs().count;
        disk.hold(true);
        let receipt = track.append(out("late")).await.unwrap();
        disk.wait_held().await;
        let held = Clock::system().instant();
        until(|| held.elapsed() >= health::SLOW_SYNC).await;
        disk.hold(false);
        receipt.durable().await.unwrap();
        let slow = recorder.slow_syncs();
        assert!(slow.count > before && slow.longest >= health::SLOW_SYNC, "{slow:?}");
        recording.finish("done").await.unwrap();
    });
}

#[test]
fn bounded_receipts_are_good_at_once_until_too_much_is_missing_on_disk() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "bounded").await;
        disk.hold(true);
        track.append(out("shown at once")).await.unwrap().durable().await.unwrap();
        disk.wait_held().await;
        // Little is missing, until it is too old.
        let mut shown = 0;
        while timeout(Duration::from_millis(50), track.append(out("x")).await.unwrap().durable()).await.is_ok() {
            shown += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!((1..100).contains(&shown), "{shown} were shown");
        disk.hold(false);
        let big = "w".repeat(300 * 1024);
        for _ in 0..20 {
            track.append(out(&big)).await.unwrap().durable().await.unwrap();
        }
        disk.hold(true);
        let mut good = 0;
        while let Ok(receipt) =
            timeout(Duration::from_millis(100), track.append(out(&big)).await.unwrap().durable()).await
        {
            receipt.unwrap();
            good += 1;
        }
        assert!(good <= 4, "{good} blocks of 300 KiB were shown");
        disk.hold(false);
        recording.finish("done").await.unwrap();
    });
}

#[test]
fn bounded_bytes_are_synced_when_the_window_has_passed() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (_recording, track) = open(&recorder, "bounded").await;
        track.append(out("soon on disk")).await.unwrap().durable().await.unwrap();
        until(|| disk.output("1") == b"soon on disk").await;
    });
}

#[test]
fn a_recording_that_is_dropped_is_closed_as_such() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        let _receipt = track.append(out("the last words")).await.unwrap();
        drop(recording);
        drop(track);
        drop(recorder);
        until(|| !disk.closed_json().is_empty()).await;
    });
    assert!(disk.closed_json().contains("without closing"));
    assert_eq!(disk.output("1"), b"the last words");
}

#[test]
fn many_channels_on_few_threads_all_get_their_turn() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, RecorderSettings { threads: 2, ..quick() });
    run(async {
        let permit = permit("strict");
        let id = recorder.new_session_id(Clock::system().now());
        let recording = recorder.open(&permit, facts(&id)).await.unwrap();
        let mut tasks = Vec::new();
        for number in 1..=40 {
            let track = recording.channel(&permit, terminal(number)).await.unwrap();
            tasks.push(tokio::spawn(async move {
                for n in 0..50 {
                    track.append(out(&format!("{n},"))).await.unwrap().durable().await.unwrap();
                }
                track.finish().await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        recording.finish("done").await.unwrap();
    });
    let all: String = (0..50).map(|n| format!("{n},")).collect();
    for number in 1..=40 {
        assert_eq!(disk.output(&number.to_string()), all.as_bytes());
    }
}

struct Outcome {
    opened: bool,
    /// How many lines were allowed to be shown.
    shown: Vec<usize>,
    failed: bool,
}

/// Records ten lines, each appended before the one before it is waited for.
fn record_lines(disk: &FaultyDisk, durability: &str) -> Outcome {
    let recorder = start(disk, quick());
    let mut outcome = Outcome { opened: false, shown: Vec::new(), failed: false };
    run(async {
        let permit = permit(durability);
        let id = recorder.new_session_id(Clock::system().now());
        let Ok(recording) = recorder.open(&permit, facts(&id)).await else { return };
        let Ok(track) = recording.channel(&permit, terminal(1)).await else { return };
        outcome.opened = true;
        let mut waiting = None;
        for n in 0..10 {
            let next = track.append(out(&line(n))).await;
            outcome.failed |= next.is_err();
            if let Some((n, receipt)) = std::mem::replace(&mut waiting, next.ok().map(|receipt| (n, receipt))) {
                match receipt.durable().await {
                    Ok(()) => outcome.shown.push(n),
                    Err(_) => outcome.failed = true,
                }
            }
        }
        outcome.failed |= track.finish().await.is_err();
        outcome.failed |= recording.finish("done").await.is_err();
        // Channel 0 may have been the one that failed.
        outcome.failed |= disk.closed_json().contains("failure");
    });
    outcome
}

fn line(n: usize) -> String {
    format!("line {n} with \u{e9} and \"quotes\"\r\n")
}

fn out(text: &str) -> Entry {
    Entry::Output { output: Output::Stdout, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn bytes(bytes: u64) -> FreeMin {
    FreeMin { bytes, percent: 0 }
}

pub(crate) fn quick() -> RecorderSettings {
    RecorderSettings { free_min: bytes(0), threads: 3, ..RecorderSettings::default() }
}

fn start(disk: &FaultyDisk, settings: RecorderSettings) -> Recorder {
    start_with(disk, settings, &Arc::new(SimLog::default()))
}

fn start_with(disk: &FaultyDisk, settings: RecorderSettings, log: &Arc<SimLog>) -> Recorder {
    let auditors = Recipients::of([disk.auditor.recipient()]).unwrap();
    let (root, log) = (StoreRoot::at(Path::new("/data")), Arc::clone(log));
    Recorder::start_on(Arc::new(disk.clone()), root, settings, auditors, log, Clock::system()).unwrap()
}

/// A log that remembers what it was told, and refuses while it is told to.
#[derive(Debug, Default)]
pub(crate) struct SimLog {
    told: Mutex<Vec<String>>,
    refuse: std::sync::atomic::AtomicBool,
    /// While it is held, it answers nobody.
    held: Mutex<bool>,
    freed: Condvar,
}

impl SimLog {
    /// Whether it was told something that begins so.
    fn said(&self, what: &str) -> bool {
        self.told.lock().unwrap().iter().any(|told| told.starts_with(what))
    }

    /// Lets whoever tells it something wait, or go on.
    fn hang(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.freed.notify_all();
    }

    fn tell(&self, text: String) -> Result<(), LogFailure> {
        drop(self.freed.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        if self.refuse.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Arc::new(broken()));
        }
        self.told.lock().unwrap().push(text);
        Ok(())
    }
}

impl RecorderLog for SimLog {
    fn segment_sealed(&self, _: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> Result<(), LogFailure> {
        self.tell(format!("{channel}/{} {}", sealed.segment, sealed.head))
    }

    fn segment_suspect(&self, _: &SessionId, channel: ChannelNumber, good: &Sealed, _: &str) -> Result<(), LogFailure> {
        self.tell(format!("{channel}/{} given up at {} of {} bytes", good.segment, good.head, good.bytes))
    }

    fn heads(&self, heads: &[LiveHead]) -> Result<(), LogFailure> {
        if heads.is_empty() {
            return self.tell(String::from("nothing"));
        }
        heads.iter().try_for_each(|head| self.tell(format!("{} is at {}", head.channel, head.sealed.head)))
    }

    fn gap(&self, _: &SessionId, channel: ChannelNumber, why: &str) -> Result<(), LogFailure> {
        self.tell(format!("gap in {channel}: {why}"))
    }

    fn resumed(&self, _: &SessionId, channel: ChannelNumber, _: Duration) -> Result<(), LogFailure> {
        self.tell(format!("{channel} is recorded again"))
    }

    fn unclosed(&self, _: &SessionId, why: &str) -> Result<(), LogFailure> {
        self.tell(format!("unclosed: {why}"))
    }

    fn outage(&self, outage: &Outage) -> Result<(), LogFailure> {
        self.tell(format!("outage for {:?}: {}", outage.lasted, outage.reason))
    }

    fn session_ended(&self, _: &SessionId, end: &str, _: &str) -> Result<(), LogFailure> {
        self.tell(format!("ended: {end}"))
    }
}

async fn open(recorder: &Recorder, durability: &str) -> (Recording, Track) {
    let permit = permit(durability);
    let id = recorder.new_session_id(Clock::system().now());
    let recording = recorder.open(&permit, facts(&id)).await.unwrap();
    let track = recording.channel(&permit, terminal(1)).await.unwrap();
    (recording, track)
}

pub(crate) fn facts(id: &SessionId) -> SessionFacts {
    SessionFacts {
        id: id.clone(),
        key_fingerprint: String::from("SHA256:abc"),
        target_address: String::from("127.0.0.1:22"),
        source: String::from("127.0.0.1:5000"),
        started: Clock::system().now(),
    }
}

pub(crate) fn terminal(number: u32) -> ChannelFacts {
    let size = TerminalSize { cols: 100, rows: 30 };
    ChannelFacts {
        number: ChannelNumber(number),
        class: ChannelClass::Shell,
        terminal: Some(Terminal { term: String::from("xterm"), size, modes: Vec::new() }),
        command: None,
        forward: None,
        environment: Vec::new(),
        pixels: None,
    }
}

pub(crate) fn permit(durability: &str) -> Permit {
    let text = format!(
        "schema = 1\n[[rule]]\nid = 'r'\nwho = {{ users = ['alice'] }}\nwhere = {{ targets = ['db1'] }}\n\
         accounts = ['root']\nchannels = ['shell']\ngrant = {{ required = false }}\n\
         recording = {{ durability = '{durability}' }}\n"
    );
    let set = PolicySet::parse(&[PolicyFile { path: String::from("x.toml"), text }]).unwrap();
    let question = Question {
        user: &UserName::parse("alice").unwrap(),
        groups: &BTreeSet::new(),
        target: &TargetName::parse("db1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("root").unwrap(),
        asked: Some(&ChannelClass::Shell.into()),
        presence: crate::model::Presence::NONE,
        circumstances: crate::policy::Circumstances::BEST,
    };
    crate::grant::permit(&set, &question, "k", &[], Clock::system().now()).unwrap()
}

/// Waits until something is so; [`run`] bounds the wait.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(60), future).await.expect("it hangs") })
}
