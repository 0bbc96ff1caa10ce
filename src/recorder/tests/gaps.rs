//! Sessions that go on unrecorded, and are recorded again.

use super::*;

#[test]
fn after_a_full_disk_a_break_glass_session_is_recorded_again_and_says_for_how_long_it_was_not() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = begun(&recorder, &disk).await;
        disk.lock().space = 0;
        track.append(out("torn ")).await.unwrap().durable().await.unwrap();
        told(&log, "gap in 1: ").await;
        track.append(out("not recorded ")).await.unwrap().durable().await.unwrap();
        disk.lock().space = 1 << 30;
        told(&log, "1 is recorded again").await;
        track.append(out("after")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("the user left").await.unwrap();
    });
    // What was taken and not written is recorded late: only what came in the gap is missing.
    assert_eq!(text(&disk, "1"), "before torn <gap>after");
    let closed = disk.closed();
    let channel = &closed["channels"][1];
    assert_eq!(channel.get("failure"), None, "{closed}");
    assert_eq!(channel["stdout"]["bytes"], "before torn not recorded after".len(), "{closed}");
    let gap = &channel["gaps"][0];
    assert!(gap["lasted_ms"].as_u64().is_some_and(|ms| ms > 100), "{closed}");
    assert!(gap["why"].as_str().is_some_and(|why| why.contains("full")), "{closed}");
    let told = log.told.lock().unwrap().clone();
    let at =
        |what: &str| told.iter().position(|one| one.starts_with(what)).unwrap_or_else(|| panic!("{what}: {told:?}"));
    assert!(at("gap in 1") < at("1/0 given up") && at("1/0 given up") < at("1 is recorded again"), "{told:?}");
    assert!(at("1 is recorded again") < at("1/1 "), "{told:?}");
}

#[test]
fn a_segment_that_was_completed_on_a_full_disk_is_followed_by_the_next() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let reserve = Arc::new(SimReserve { disk: disk.clone() });
    let recorder = start_with(&disk, RecorderSettings { reserve: Some(reserve), ..quick() }, &log);
    run(async {
        let (recording, track) = begun(&recorder, &disk).await;
        disk.lock().space = 10;
        track.append(out("completed ")).await.unwrap().durable().await.unwrap();
        told(&log, "gap in 1: ").await;
        disk.lock().space = 1 << 30;
        told(&log, "1 is recorded again").await;
        track.append(out("after")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("the user left").await.unwrap();
    });
    assert_eq!(text(&disk, "1"), "before completed <gap>after");
    let told = log.told.lock().unwrap().clone();
    assert!(!told.iter().any(|one| one.starts_with("1/0 given up")), "{told:?}");
    assert_eq!(told.iter().filter(|one| one.starts_with("1/0 ")).count(), 1, "{told:?}");
}

#[test]
fn while_a_call_hangs_in_the_disk_nothing_is_recorded_again_and_what_it_wrote_is_there_once() {
    for after in [When::Before, When::After] {
        let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
        let settings = RecorderSettings { stall_limit: Duration::from_millis(200), threads: 4, ..quick() };
        let recorder = start_with(&disk, settings, &log);
        run(async {
            let (recording, track) = begun(&recorder, &disk).await;
            disk.hold(true);
            track.append(out("hangs ")).await.unwrap().durable().await.unwrap();
            disk.wait_held().await;
            // Nobody waits for a sync in best effort, but for room.
            let block = "x".repeat(64 * 1024);
            while !log.told.lock().unwrap().iter().any(|told| told.starts_with("gap in 1: ")) {
                track.append(out(&block)).await.unwrap().durable().await.unwrap();
            }
            // It was looked twice, while the disk's own check hung too.
            until(|| track.queue.looks.load(std::sync::atomic::Ordering::SeqCst) >= 2).await;
            assert_eq!(disk.lock().files.keys().filter(|path| path.ends_with("1/000001.seg")).count(), 0);
            if after == When::Before {
                disk.lock().broken.push(("1/000000.seg", Op::Sync, When::Before));
            }
            disk.hold(false);
            told(&log, "1 is recorded again").await;
            track.append(out("after")).await.unwrap().durable().await.unwrap();
            track.finish().await.unwrap();
            recording.finish("the user left").await.unwrap();
        });
        assert_eq!(disk.lock().violation, None);
        assert_eq!(text(&disk, "1"), "before hangs <gap>after", "{after:?}");
    }
}

#[test]
fn a_gap_that_lasts_to_the_end_is_a_failure_and_what_went_by_is_counted() {
    let disk = FaultyDisk::new();
    let log = Arc::new(SimLog::default());
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = open(&recorder, "best-effort").await;
        disk.lock().broken.extend([("1/000000.seg", Op::Sync, When::Before), ("1/000001.seg", Op::Sync, When::Before)]);
        track.append(out("lost ")).await.unwrap().durable().await.unwrap();
        told(&log, "gap in 1: ").await;
        disk.lock().space = 0;
        track.append(out("not recorded ")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        disk.lock().space = 1 << 30;
        recording.finish("the user left").await.unwrap();
    });
    let closed = disk.closed();
    let channel = &closed["channels"][1];
    assert!(channel["failure"].is_string(), "{closed}");
    assert_eq!(channel["stdout"]["bytes"], "lost not recorded ".len(), "{closed}");
}

#[test]
fn after_two_failures_a_break_glass_session_goes_on_in_a_third_segment() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = begun(&recorder, &disk).await;
        let twice = [("1/000000.seg", Op::Sync, When::Before), ("1/000001.seg", Op::Append, When::Halfway)];
        disk.lock().broken.extend(twice);
        track.append(out("lost twice ")).await.unwrap().durable().await.unwrap();
        told(&log, "1 is recorded again").await;
        track.append(out("after")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        recording.finish("the user left").await.unwrap();
    });
    assert_eq!(text(&disk, "1"), "before lost twice <gap>after");
    let closed = disk.closed();
    let given_up = &closed["channels"][1]["given_up"];
    assert_eq!(
        (given_up[0]["segment"].as_u64(), &given_up[1]),
        (Some(0), &serde_json::json!({ "segment": 1, "bytes": 0 }))
    );
}

/// A break-glass session of which something is on disk.
async fn begun(recorder: &Recorder, disk: &FaultyDisk) -> (Recording, Track) {
    let (recording, track) = open(recorder, "best-effort").await;
    track.append(out("before ")).await.unwrap().durable().await.unwrap();
    on_disk(disk, "before ").await;
    (recording, track)
}

async fn on_disk(disk: &FaultyDisk, output: &str) {
    until(|| disk.output("1") == output.as_bytes()).await;
}

async fn told(log: &SimLog, what: &str) {
    until(|| log.said(what)).await;
}

/// What a channel holds, as replay reads it, with its gaps.
fn text(disk: &FaultyDisk, channel: &str) -> String {
    let mut text = String::new();
    for entry in disk.entries(channel) {
        if let Entry::Output { bytes, .. } = &entry {
            text.push_str(std::str::from_utf8(bytes).unwrap());
        } else {
            let is_gap = matches!(&entry, Entry::Marker(text) if text.starts_with("gap ") && text.ends_with('s'));
            assert!(is_gap, "{entry:?}");
            text.push_str("<gap>");
        }
    }
    text
}
