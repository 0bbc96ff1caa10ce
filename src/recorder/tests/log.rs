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
        log.hang.store(true, std::sync::atomic::Ordering::SeqCst);
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
        log.hang.store(false, std::sync::atomic::Ordering::SeqCst);
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
