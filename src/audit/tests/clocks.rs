//! What the log says of clocks.

use super::*;

#[test]
fn a_clock_that_is_set_is_on_record() {
    let place = Place::new();
    let clock = clock();
    let audit = std::sync::Arc::new(Audit::open(place.dir.path(), key(), &place.db, clock.clone()).unwrap());
    let accepting = clock.clone();
    let (told, steps) = std::sync::mpsc::sync_channel(1);
    let publishing = Publishing::start(
        std::sync::Arc::clone(&audit),
        |_| {},
        move |step| {
            accepting.accept(step);
            told.send(step).is_ok()
        },
    )
    .unwrap();
    let until = |size| {
        let begun = clock.instant();
        while audit.size() < size && begun.elapsed() < std::time::Duration::from_secs(20) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    // Once this is published, the thread has seen the time before.
    audit.append(&AuditEvent::NodeStop).unwrap();
    until(1);
    clock.set(Timestamp::from_millis(601_000));
    until(2);
    drop(publishing);
    let AuditEvent::ClockStep { step_ms } = read(&audit)[1].event().unwrap() else { panic!("no step") };
    // A fixed clock stands still while the other goes on.
    assert!((570_000..=600_000).contains(&step_ms), "{step_ms}");
    assert_eq!(steps.recv(), Ok(step_ms));
}

#[test]
fn whoever_opens_the_log_after_the_clock_leapt_keeps_that_it_did() {
    let place = Place::new();
    let at = |days: i64| Clock::fixed(Timestamp::from_millis(1_000 + days * 86_400_000));
    let open = |days| Audit::open(place.dir.path(), key(), &place.db, at(days)).unwrap();
    for days in [0, 7, 14] {
        let audit = open(days);
        assert_eq!(audit.leap().unwrap(), None, "{days}");
        audit.append(&AuditEvent::NodeStop).unwrap();
    }
    for _ in 0..2 {
        // The second time the newest leaf is dated by the same clock.
        let audit = open(500);
        assert_eq!(audit.leap().unwrap(), Some(Leap { known: at(14).now(), told: false }));
        audit.append(&AuditEvent::NodeStop).unwrap();
    }
    assert_eq!(open(500).before(), Some(at(500).now()));
}

#[tokio::test]
async fn appending_in_an_async_task_does_not_panic() {
    assert_eq!(Place::new().open().append(&AuditEvent::NodeStop).unwrap(), 0);
}
