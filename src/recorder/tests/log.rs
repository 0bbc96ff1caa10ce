//! The log beside the recordings: one that refuses, hangs or works again.

use super::*;

#[test]
fn no_recording_is_closed_and_no_session_begins_while_the_log_takes_nothing() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("shown")).await.unwrap().durable().await.unwrap();
        log.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
        // What is live goes on for a while: only what would begin is refused.
        track.append(out(" and more")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        until(|| recorder.healthy().is_err()).await;
        let id = recorder.new_session_id(Clock::system().now());
        assert!(matches!(recorder.open(&permit("strict"), facts(&id)).await, Err(RecorderError::Log(_))));
        assert!(matches!(recording.finish("done").await, Err(RecorderError::Log(_))));
        assert_eq!(disk.closed_json(), "");
        log.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
        until(|| recorder.healthy().is_ok()).await;
    });
    assert_eq!(disk.output("1"), b"shown and more");
    let told = log.told.lock().unwrap().clone();
    assert!(told.iter().any(|one| one.starts_with("1/0 ")), "what was refused is told later: {told:?}");
}

#[test]
fn a_log_that_hangs_holds_up_no_recording() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, RecorderSettings { stall_limit: Duration::from_secs(2), ..quick() }, &log);
    run(async {
        let (first, ended) = open(&recorder, "strict").await;
        let (_second, track) = open(&recorder, "strict").await;
        log.hang(true);
        ended.append(out("x")).await.unwrap().durable().await.unwrap();
        ended.finish().await.unwrap();
        // Twice the threads' number of seconds, in which each of them would have come to look at the log.
        let begun = tokio::time::Instant::now();
        while recorder.healthy().is_ok() {
            track.append(out("shown")).await.unwrap().durable().await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody noticed");
        }
        assert!(matches!(recorder.healthy(), Err(RecorderError::Log(_))));
        // An end that cannot be put on record keeps nobody waiting.
        assert!(first.finish("done").await.is_err());
        track.append(out("still shown")).await.unwrap().durable().await.unwrap();
        log.hang(false);
        until(|| recorder.healthy().is_ok()).await;
    });
    let told = log.told.lock().unwrap().clone();
    assert!(told.iter().any(|one| one.starts_with("1/0 ")), "{told:?}");
}

#[test]
fn heads_that_the_log_refused_are_told_again_and_those_that_it_took_are_not() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let settings = RecorderSettings { heads_every: Duration::from_millis(20), ..quick() };
    let recorder = start_with(&disk, settings, &log);
    let heads = || log.told.lock().unwrap().iter().filter(|one| one.starts_with("1 is at")).count();
    run(async {
        log.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
        let (_recording, track) = open(&recorder, "strict").await;
        track.append(out("shown")).await.unwrap().durable().await.unwrap();
        until(|| recorder.healthy().is_err()).await;
        // The disk is well, and that is not what is wrong.
        disk.wait_looked(2).await;
        assert!(matches!(recorder.healthy(), Err(RecorderError::Log(_))));
        assert_eq!(heads(), 0);
        log.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
        until(|| heads() > 0 && recorder.healthy().is_ok()).await;
        // By the time that the next one is told, the first would have been told again many times.
        track.append(out("more")).await.unwrap().durable().await.unwrap();
        let first = log.told.lock().unwrap().iter().find(|one| one.starts_with("1 is at")).unwrap().clone();
        until(|| heads() > 1).await;
        let told = log.told.lock().unwrap();
        assert_eq!(told.iter().filter(|one| **one == first).count(), 1, "{told:?}");
    });
}

#[test]
fn an_outage_is_put_on_record_as_soon_as_the_log_takes_it() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, RecorderSettings { free_min: bytes(1001), ..quick() }, &log);
    let mut outages = recorder.outages();
    let told = || log.told.lock().unwrap().iter().filter(|one| one.starts_with("outage")).cloned().collect::<Vec<_>>();
    run(async {
        // The log lies on the disk that is nearly full.
        log.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
        disk.lock().space = 1000;
        outages.changed().await.unwrap();
        let begun = outages.borrow_and_update().clone().unwrap();
        assert!(begun.reason.contains("1000 bytes free") && begun.lasted.is_none(), "{begun:?}");
        until(|| recorder.healthy().is_err()).await;
        assert_eq!((recorder.outage(), told()), (Some((begun.clone(), false)), Vec::new()));
        log.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
        until(|| recorder.outage() == Some((begun.clone(), true))).await;
        // Once, and with it the disk is not well yet.
        assert_eq!((told().len(), recorder.healthy().is_err()), (1, true));
    });
    assert!(told()[0].contains("1000 bytes free"), "{:?}", told());
}

#[test]
fn on_a_log_that_others_contest_nothing_begins_whatever_its_durability() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    // Little space keeps no break-glass session out, and must not let one in here.
    disk.lock().space = 1000;
    let recorder = start_with(&disk, RecorderSettings { free_min: bytes(1001), ..quick() }, &log);
    assert!(recorder.healthy_for(Durability::BestEffort).is_ok());
    recorder.contest(Some(String::from("w1 signed 300 leaves")));
    for durability in [Durability::Strict, Durability::Bounded, Durability::BestEffort] {
        assert!(matches!(recorder.healthy_for(durability), Err(RecorderError::Contested { .. })), "{durability:?}");
    }
    assert!(recorder.health.contested_for(Duration::ZERO).is_some());
    assert!(recorder.health.contested_for(Duration::from_secs(60)).is_none());
    run(async {
        let id = recorder.new_session_id(Clock::system().now());
        let opened = recorder.open(&permit("best-effort"), facts(&id)).await;
        assert!(matches!(opened, Err(RecorderError::Contested { .. })));
    });
    recorder.contest(None);
    assert!(recorder.healthy_for(Durability::BestEffort).is_ok());
}

#[test]
fn live_sessions_end_when_the_log_has_been_contested_for_as_long_as_they_go_on_without_one() {
    let (disk, log) = (FaultyDisk::new(), Arc::new(SimLog::default()));
    let recorder = start_with(&disk, quick(), &log);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        recorder.contest(Some(String::from("w1 signed 300 leaves")));
        // Two looks, which come each second.
        disk.wait_looked(2).await;
        track.append(out("goes on")).await.unwrap().durable().await.unwrap();
        recorder.contest(None);
        let long_ago = Clock::system().instant().checked_sub(announcer::LOG_TIMEOUT).unwrap();
        recorder.health.contest_since(Some(String::from("w1 signed 300 leaves")), long_ago);
        assert!(matches!(recording.failed().await, RecorderError::Contested { .. }));
    });
}
