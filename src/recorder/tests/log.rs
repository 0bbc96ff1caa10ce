//! The log beside the recordings: one that refuses, hangs or works again.

use super::*;

#[test]
fn no_recording_is_closed_and_no_session_begins_while_the_log_takes_nothing() {
    let (disk, journal) = (SimDisk::new(), Arc::new(SimJournal::default()));
    let recorder = start_with(&disk, quick(), &journal);
    run(async {
        let (recording, track) = open(&recorder, "strict").await;
        track.append(out("shown")).await.unwrap().durable().await.unwrap();
        journal.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
        // What is live goes on for a while: only what would begin is refused.
        track.append(out(" and more")).await.unwrap().durable().await.unwrap();
        track.finish().await.unwrap();
        while recorder.healthy().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let id = recorder.new_session_id(Clock::system().now());
        assert!(matches!(recorder.open(&permit("strict"), facts(&id)).await, Err(RecorderError::Log(_))));
        assert!(matches!(recording.finish("done").await, Err(RecorderError::Log(_))));
        assert_eq!(disk.closed_json(), "");
        journal.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
        while recorder.healthy().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(disk.output("1"), b"shown and more");
    let told = journal.told.lock().unwrap().clone();
    assert!(told.iter().any(|one| one.starts_with("1/0 ")), "what was refused is told later: {told:?}");
}

#[test]
fn a_log_that_hangs_holds_up_no_recording() {
    let (disk, journal) = (SimDisk::new(), Arc::new(SimJournal::default()));
    let recorder = start_with(&disk, RecorderSettings { stall_limit: Duration::from_secs(2), ..quick() }, &journal);
    run(async {
        let (first, ended) = open(&recorder, "strict").await;
        let (_second, track) = open(&recorder, "strict").await;
        journal.hang.store(true, std::sync::atomic::Ordering::SeqCst);
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
        journal.hang.store(false, std::sync::atomic::Ordering::SeqCst);
        while recorder.healthy().is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let told = journal.told.lock().unwrap().clone();
    assert!(told.iter().any(|one| one.starts_with("1/0 ")), "{told:?}");
}

#[test]
fn heads_that_the_log_refused_are_told_again_and_those_that_it_took_are_not() {
    let (disk, journal) = (SimDisk::new(), Arc::new(SimJournal::default()));
    let settings = RecorderSettings { heads_every: Duration::from_millis(20), ..quick() };
    let recorder = start_with(&disk, settings, &journal);
    let heads = || journal.told.lock().unwrap().iter().filter(|one| one.starts_with("1 is at")).count();
    run(async {
        journal.refuse.store(true, std::sync::atomic::Ordering::SeqCst);
        let (_recording, track) = open(&recorder, "strict").await;
        track.append(out("shown")).await.unwrap().durable().await.unwrap();
        while recorder.healthy().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The disk is well, and that is not what is wrong.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(matches!(recorder.healthy(), Err(RecorderError::Log(_))));
        assert_eq!(heads(), 0);
        journal.refuse.store(false, std::sync::atomic::Ordering::SeqCst);
        while heads() == 0 || recorder.healthy().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(heads(), 1, "{:?}", journal.told.lock().unwrap());
    });
}
