//! Disks that fail once, or again: a segment is given up, and nothing of the recording with it.

use std::sync::atomic::Ordering;

use super::*;
use crate::cast::Timed;

const FIRST: &str = "1/000000.seg";
const SECOND: &str = "1/000001.seg";

#[test]
fn a_sync_or_a_write_that_fails_once_costs_a_segment_and_no_entry() {
    for (op, when) in [
        (Op::Sync, When::Before),
        (Op::Sync, When::Halfway),
        (Op::Sync, When::After),
        (Op::Append, When::Before),
        (Op::Append, When::After),
    ] {
        let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
        let settings = RecorderSettings { heads_every: Duration::from_millis(1), ..quick() };
        let recorder = start_with(&disk, settings, &log);
        run(async {
            let (recording, track) = open(&recorder, "strict").await;
            // The first half of a character, whose other half comes after the failure.
            track.append(bytes(b"one \xc3")).await.unwrap().durable().await.unwrap();
            disk.lock().broken.push((FIRST, op, when));
            track.append(bytes(b"\xa9 two ")).await.unwrap().durable().await.unwrap();
            track.append(out("three")).await.unwrap().durable().await.unwrap();
            assert!(recording.shared.failure.borrow().is_none());
            track.finish().await.unwrap();
            recording.finish("done").await.unwrap();
        });
        let case = format!("{op:?} {when:?}");
        assert_eq!(disk.lock().violation, None, "{case}");
        assert_eq!(disk.output("1"), "one é two three".as_bytes(), "{case}");
        assert_eq!(disk.read("1"), "one é two three".as_bytes(), "{case}");
        let closed = disk.closed();
        let channel = &closed["channels"][1];
        assert_eq!((&channel["segments"], channel.get("failure")), (&2.into(), None), "{case}: {closed}");
        assert_eq!(channel["stdout"]["bytes"], "one é two three".len(), "{case}: nothing is counted twice");
        assert_eq!(channel["given_up"][0]["segment"], 0, "{case}: {closed}");
        // On record before anything of the next segment is, and nothing of the first after it.
        let told = log.told.lock().unwrap().clone();
        let at = told.iter().position(|one| one.starts_with("1/0 given up")).expect("not on record");
        let head = told[at].split(' ').nth(4).unwrap();
        assert!(!told.iter().any(|one| one.starts_with("1/0 ") && !one.contains("given up")), "{case}: {told:?}");
        assert!(!told[at + 1..].iter().any(|one| *one == format!("1 is at {head}")), "{case}: {told:?}");
        assert!(told[at..].iter().any(|one| one.starts_with("1/1 ")), "{case}: {told:?}");
    }
}

#[test]
fn what_was_shown_before_it_was_on_disk_is_in_the_next_segment() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, RecorderSettings { window: Duration::from_millis(300), ..quick() });
    run(async {
        let (recording, track) = open(&recorder, "bounded").await;
        track.append(out("kept ")).await.unwrap().durable().await.unwrap();
        until(|| !disk.output("1").is_empty()).await;
        disk.lock().broken.push((FIRST, Op::Sync, When::Before));
        let clock = Clock::system();
        for n in 0..5 {
            // Several writes, each in a millisecond of its own, and one sync that is to cover them all.
            let before = clock.instant();
            track.append(out(&format!("shown {n} "))).await.unwrap().durable().await.unwrap();
            until(|| before.elapsed() >= Duration::from_millis(2)).await;
        }
        until(|| disk.output("1").len() >= 45).await;
        track.append(out("and on")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("done").await.unwrap();
    });
    let whole = b"kept shown 0 shown 1 shown 2 shown 3 shown 4 and on";
    assert_eq!((disk.read("1").as_slice(), disk.left()), (whole.as_slice(), 0));
    assert_eq!(disk.segments("1"), 2);
    // Each when it came, not when it was recorded again.
    let times: BTreeSet<Duration> = disk.timed("1").into_iter().map(|timed| timed.at).collect();
    assert!(times.len() > 3, "{times:?}");
}

#[test]
fn a_second_failure_before_anything_was_kept_ends_the_session() {
    for op in [Op::Sync, Op::Append] {
        let disk = FaultyDisk::new();
        let recorder = start(&disk, quick());
        run(async {
            let (recording, track) = open(&recorder, "strict").await;
            track.append(out("shown")).await.unwrap().durable().await.unwrap();
            disk.lock().broken.extend([(FIRST, Op::Sync, When::Before), (SECOND, op, When::Before)]);
            let receipt = track.append(out("never shown")).await.unwrap();
            assert!(matches!(receipt.durable().await, Err(RecorderError::Store(_))));
            assert!(matches!(recording.failed().await, RecorderError::Store(_)));
            recording.finish("the recording failed").await.unwrap();
        });
        assert_eq!((disk.violation(), disk.segments("1")), (None, 2));
        assert_eq!(disk.output("1"), b"shown");
        assert!(disk.closed_json().contains("\"failure\""));
    }
}

#[test]
fn a_failure_of_a_segment_that_has_kept_something_gets_a_try_of_its_own() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        for (n, path) in [FIRST, SECOND, "1/000002.seg"].into_iter().enumerate() {
            track.append(out(&format!("{n}, "))).await.unwrap().durable().await.unwrap();
            disk.lock().broken.push((path, Op::Sync, When::After));
            track.append(out(&format!("{n} again, "))).await.unwrap().durable().await.unwrap();
        }
        track.finish().await.unwrap();
        recording.finish("done").await.unwrap();
    });
    assert_eq!(disk.read("1"), b"0, 0 again, 1, 1 again, 2, 2 again, ");
    assert_eq!(disk.segments("1"), 4);
    // Each under a key of its own, so that no nonce is used twice.
    let keys: BTreeSet<_> = disk.headers("1").iter().map(|header| header.key_commitment).collect();
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_disk_that_keeps_failing_ends_the_session_in_the_end() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    let paths: Vec<&'static str> =
        (0..70).map(|n| -> &'static str { Box::leak(format!("1/{n:06}.seg").into_boxed_str()) }).collect();
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        let mut failed = false;
        for path in paths {
            disk.lock().broken.push((path, Op::Sync, When::Before));
            for _ in 0..2 {
                failed |= match track.append(out("x")).await {
                    Ok(receipt) => receipt.durable().await.is_err(),
                    Err(_) => true,
                };
            }
        }
        assert!(failed);
        recording.finish("the recording failed").await.unwrap();
    });
    assert_eq!(disk.segments("1"), 65);
}

#[test]
fn the_end_of_a_channel_that_could_not_be_synced_is_recorded_again() {
    let disk = FaultyDisk::new();
    let recorder = start(&disk, quick());
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("one ")).await.unwrap().durable().await.unwrap();
        disk.lock().broken.push((FIRST, Op::Sync, When::After));
        drop(track.append(out("last words")).await.unwrap());
        track.finish().await.unwrap();
        recording.finish("done").await.unwrap();
    });
    // The first file may hold all of it and its end: that does not count.
    assert_eq!((disk.read("1").as_slice(), disk.segments("1")), (b"one last words".as_slice(), 2));
    assert!(!disk.closed_json().contains("\"failure\""), "{}", disk.closed_json());
}

#[test]
fn a_segment_that_fails_before_anything_of_it_was_kept_is_passed_over() {
    for op in [Op::Append, Op::Sync] {
        for when in [When::Before, When::Halfway, When::After] {
            let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
            let recorder = start_with(&disk, quick(), &log);
            let block: String = (0..700_000_u32).map(noise).collect();
            run(async {
                let (recording, track) = open(&recorder, "strict").await;
                disk.lock().broken.push((SECOND, op, when));
                for _ in 0..6 {
                    track.append(out(&block)).await.unwrap().durable().await.unwrap();
                }
                track.finish().await.unwrap();
                recording.finish("done").await.unwrap();
            });
            let case = format!("{op:?} {when:?}");
            assert_eq!((disk.violation(), disk.left()), (None, 0), "{case}");
            assert!(disk.read("1") == block.repeat(6).as_bytes(), "{case}");
            let told = log.told.lock().unwrap().clone();
            let sealed = told.iter().find(|one| one.starts_with("1/0 ")).unwrap().split(' ').nth(1).unwrap();
            let lost = format!("1/1 given up at {sealed} of 0 bytes");
            assert!(told.contains(&lost), "{case}: {told:?}");
        }
    }
}

#[test]
fn no_segment_is_made_before_the_log_has_taken_that_one_is_given_up() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("one ")).await.unwrap().durable().await.unwrap();
        log.hang(true);
        disk.lock().broken.push((FIRST, Op::Sync, When::Before));
        let receipt = track.append(out("two")).await.unwrap();
        // What comes meanwhile waits its turn.
        let later = track.append(out(" three")).await.unwrap();
        assert!(timeout(Duration::from_millis(300), receipt.durable()).await.is_err());
        assert_eq!(disk.segments("1"), 1);
        log.hang(false);
        later.durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("done").await.unwrap();
    });
    assert_eq!(disk.read("1"), b"one two three");
}

#[test]
fn a_log_that_does_not_take_it_in_time_ends_the_session() {
    for durability in ["strict", "bounded"] {
        let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
        let settings = RecorderSettings { stall_limit: Duration::from_millis(300), ..quick() };
        let recorder = start_with(&disk, settings, &log);
        run(async {
            let (recording, track) = open(&recorder, durability).await;
            log.refuse.store(true, Ordering::SeqCst);
            disk.lock().broken.push((FIRST, Op::Sync, When::Before));
            drop(track.append(out("x")).await.unwrap());
            assert!(matches!(recording.failed().await, RecorderError::Store(_)));
            assert_eq!(disk.segments("1"), 1);
            // That it comes late changes nothing.
            log.refuse.store(false, Ordering::SeqCst);
            until(|| log.said("1/0 given up")).await;
            let _ = recording.finish("the recording failed").await;
        });
        assert_eq!((disk.violation(), disk.segments("1")), (None, 1));
    }
}

#[test]
fn what_closed_json_says_counts_each_segment_that_was_given_up_though_a_call_hangs() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let settings = RecorderSettings { stall_limit: Duration::from_secs(1), ..quick() };
    let recorder = start_with(&disk, settings, &log);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        until_rolled(&track, &disk).await;
        log.hang(true);
        disk.lock().broken.push((SECOND, Op::Sync, When::Before));
        let receipt = track.append(out("never shown")).await.unwrap();
        until(|| disk.left() == 0).await;
        disk.hold(true);
        log.hang(false);
        assert!(matches!(receipt.durable().await, Err(RecorderError::Stalled { .. })));
        disk.hold(false);
        recording.finish("the recording failed").await.unwrap();
    });
    let closed = disk.closed();
    assert_eq!((&closed["channels"][1]["segments"], disk.segments("1")), (&2.into(), 3), "{closed}");
}

#[test]
fn a_segment_that_was_rolled_has_no_head_but_its_seal() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let settings = RecorderSettings { heads_every: Duration::from_millis(1), ..quick() };
    let recorder = start_with(&disk, settings, &log);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        until_rolled(&track, &disk).await;
        // Nothing comes, and the log is told how far live sessions are.
        let of_session = || log.told.lock().unwrap().iter().filter(|told| told.starts_with("0 is at")).count();
        let before = of_session();
        recording.note(String::from("later")).await;
        until(|| of_session() > before).await;
        let told = log.told.lock().unwrap().clone();
        let sealed = told.iter().find_map(|one| one.strip_prefix("1/0 ")).expect("not sealed").to_owned();
        assert!(!told.contains(&format!("1 is at {sealed}")), "{told:?}");
        recording.finish("done").await.unwrap();
    });
}

fn bytes(bytes: &'static [u8]) -> Entry {
    Entry::Output { output: Output::Stdout, bytes: Bytes::from_static(bytes) }
}

/// A character that says nothing of the next.
fn noise(n: u32) -> char {
    let mixed = n.wrapping_mul(0x9e37_79b9).rotate_left(13).wrapping_mul(0x85eb_ca6b);
    char::from_u32(0x4e00 + (mixed >> 8) % 20_000).unwrap()
}

impl FaultyDisk {
    fn of<T>(&self, channel: &str, take: impl Fn(&SimFile) -> T) -> Vec<T> {
        let sim = self.lock();
        let of = |path: &Path| path.parent().and_then(Path::file_name).is_some_and(|name| name == channel);
        sim.files.iter().filter(|(path, _)| of(path)).map(|(_, file)| take(file)).collect()
    }

    fn violation(&self) -> Option<&'static str> {
        self.lock().violation
    }

    /// How many failures have not come yet.
    fn left(&self) -> usize {
        self.lock().broken.len()
    }

    fn segments(&self, channel: &str) -> usize {
        self.of(channel, |_| ()).len()
    }

    fn headers(&self, channel: &str) -> Vec<SegmentHeader> {
        self.of(channel, |file| SegmentHeader::decode(file.bytes.first_chunk().unwrap()).unwrap())
    }

    /// A channel's output as replay and export read it: all that is in the files, synced or not.
    fn read(&self, channel: &str) -> Vec<u8> {
        let mut output = Vec::new();
        for entry in self.entries(channel) {
            if let Entry::Output { bytes, .. } = entry {
                output.extend_from_slice(&bytes);
            }
        }
        output
    }

    pub(super) fn entries(&self, channel: &str) -> Vec<Entry> {
        self.timed(channel).into_iter().map(|timed| timed.entry).collect()
    }

    fn timed(&self, channel: &str) -> Vec<Timed> {
        let temp = tempfile::tempdir().unwrap();
        for (path, file) in &self.lock().files {
            let path = temp.path().join(path.strip_prefix("/data").unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            durable::create_new(&path, &file.bytes, 0o600).unwrap();
        }
        let catalog = Catalog::new(StoreRoot::at(temp.path()));
        let listed = catalog.list(&Filter::default());
        let [Listed::Recording(summary)] = listed.as_slice() else { panic!("{listed:?}") };
        let stored = catalog.open(&summary.session).unwrap();
        let plain = PlainRecording::open(catalog.root(), stored, std::slice::from_ref(&self.auditor)).unwrap();
        let channel = plain.channels.iter().find(|one| one.number.to_string() == channel).unwrap();
        channel.events().map(Result::unwrap).collect()
    }
}

/// Records until the second segment has begun.
async fn until_rolled(track: &Track, disk: &FaultyDisk) {
    let block: String = (0..1_500_000_u32).map(noise).collect();
    while disk.segments("1") < 2 {
        track.append(out(&block)).await.unwrap().durable().await.unwrap();
    }
}
