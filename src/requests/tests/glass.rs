//! A glass that is broken while the process is killed.

use super::*;

#[test]
fn a_glass_whose_breaking_was_interrupted_opens_nothing_where_its_alert_can_be_queued_no_more() {
    for crash_after in 0..6 {
        let mut world = World::new();
        world.requests.crash_after.store(crash_after, Ordering::SeqCst);
        let told = breaks(&world, "alice", true);
        let ledger = Arc::new(Ledger::open(&world.db, policy(RULES)).unwrap());
        world.requests = Requests::open(ledger, Arc::clone(&world.audit), world.clock.clone(), ways(1)).unwrap();
        world.agrees();
        let grants = world.requests.ledger.grants();
        match told {
            Ok(_) => assert!(grants[0].revoked.is_none()),
            Err(_) => {
                assert!(crash_after == 0 || grants.len() == 1, "{crash_after}");
                assert!(grants.iter().all(|grant| grant.revoked.is_some()), "{crash_after}");
            }
        }
    }
}

#[test]
fn a_glass_whose_breaking_is_finished_by_the_next_start_says_by_which_ways_it_is_told() {
    let mut world = World::new();
    // Between the first of its leaves and the second.
    world.requests.crash_after.store(2, Ordering::SeqCst);
    breaks(&world, "alice", true).unwrap_err();
    world.restart();
    world.agrees();
    assert!(world.requests.ledger.grants()[0].revoked.is_none());
    let opened = world.records().into_iter().filter(|record| record.kind == "breakglass.open");
    let ways: Vec<_> = opened.map(|record| record.fields["ways"].clone()).collect();
    assert!(!ways.is_empty() && ways.iter().all(|ways| *ways == serde_json::json!(["a", "b"])), "{ways:?}");
}

fn opened(world: &World) -> Vec<AuditRecord> {
    world.records().into_iter().filter(|record| record.kind == "breakglass.open").collect()
}

fn set_suspended(ledger: &Ledger, name: &str, suspended_at: Option<Timestamp>) {
    ledger.set_user(User { suspended_at, ..ledger.user(&user(name)).unwrap() }).unwrap();
}

#[test]
fn who_took_the_alarm_of_a_glass_is_told_by_the_next_start_too_and_hears_it_once() {
    for crash_after in 1..4 {
        let mut world = World::new();
        world.requests = world.requests.alarmed_by(Box::new(|_| BTreeSet::from([String::from("a")])));
        world.requests.crash_after.store(crash_after, Ordering::SeqCst);
        breaks(&world, "alice", true).unwrap_err();
        world.restart();
        world.agrees();
        let leaves = opened(&world);
        assert!(!leaves.is_empty());
        for leaf in leaves {
            assert_eq!(leaf.fields["delivered"], serde_json::json!(["a"]), "{crash_after}");
            assert_eq!(leaf.fields["ways"], serde_json::json!(["a", "b"]), "{crash_after}");
        }
        let messages = world.requests.ledger.messages();
        let [alert] = messages.as_slice() else { panic!("{messages:?}") };
        assert!(alert.to.contains(&user("bob")) && alert.text.contains("the primary is down"), "{alert:?}");
        let due = |way| world.requests.ledger.due_message(way, world.clock.now()).map(|message| message.id);
        assert_eq!((due("a"), due("b")), (None, Some(alert.id.clone())), "{crash_after}");
    }
}

#[test]
fn a_glass_opens_by_the_time_after_its_alarm() {
    for forth in [false, true] {
        let mut world = World::new();
        let (clock, step) = (world.clock.clone(), Duration::from_secs(3600));
        let before = clock.now();
        let after = if forth { before.plus(step) } else { before.minus(step) };
        world.requests = world.requests.alarmed_by(Box::new(move |_| {
            clock.set(after);
            BTreeSet::from([String::from("a")])
        }));
        let broken = breaks(&world, "alice", true).unwrap();
        let RequestState::Granted { grant } = &broken.stored else { panic!("{broken:?}") };
        let grant = world.requests.ledger.grant(grant).unwrap();
        assert_eq!((grant.from, grant.state(after)), (after, GrantState::Active));
        assert_eq!((broken.asked, broken.glass.unwrap().due), (after, after.plus(step * 2)));
        // Who has not heard of it yet is told now, of the time that holds.
        let due = world.requests.ledger.due_message("b", after).unwrap();
        assert!(due.text.contains(&after.plus(step * 2).to_string()), "{due:?}");
        world.agrees();
    }
}

#[test]
fn of_four_glasses_at_once_three_ring_and_break_and_the_fourth_rings_nobody() {
    let mut world = World::new();
    let (rang, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (ringing, refused) = (Arc::clone(&rang), Arc::clone(&over));
    world.requests = world.requests.alarmed_by(Box::new(move |_| {
        ringing.fetch_add(1, Ordering::SeqCst);
        // Each rings until all have rung or were refused.
        while ringing.load(Ordering::SeqCst) + refused.load(Ordering::SeqCst) < 4 {
            std::thread::yield_now();
        }
        BTreeSet::from([String::from("a")])
    }));
    let told = std::thread::scope(|scope| {
        let one = || {
            let told = breaks(&world, "alice", true);
            over.fetch_add(usize::from(told.is_err()), Ordering::SeqCst);
            told
        };
        [(); 4].map(|()| scope.spawn(one)).map(|thread| thread.join().unwrap())
    });
    assert_eq!(rang.load(Ordering::SeqCst), 3);
    assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 3, "{told:?}");
    let refused = told.iter().filter_map(|told| told.as_ref().err());
    assert!(refused.into_iter().all(|why| matches!(why, RequestError::TooMany(_))), "{told:?}");
    assert_eq!(opened(&world).len(), 3);
    world.agrees();
}

#[test]
fn of_a_glass_that_is_not_broken_after_its_alarm_the_all_clear_is_given_and_it_counts() {
    let mut world = World::new();
    let (ledger, now, rang) = (Arc::clone(&world.requests.ledger), world.clock.now(), Arc::new(AtomicUsize::new(0)));
    let ringing = Arc::clone(&rang);
    world.requests = world.requests.alarmed_by(Box::new(move |_| {
        ringing.fetch_add(1, Ordering::SeqCst);
        set_suspended(&ledger, "alice", Some(now));
        BTreeSet::from([String::from("a")])
    }));
    for number in 1..=5 {
        assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Suspended)));
        set_suspended(&world.requests.ledger, "alice", None);
        let messages = world.requests.ledger.messages();
        assert_eq!(messages.len(), number, "{messages:?}");
        for message in messages {
            assert!(message.alert && message.event == "breakglass.failed", "{message:?}");
            assert!(message.subject.starts_with("NOT BROKEN: alice") && message.text.contains("suspended"));
            assert_eq!(message.to, ["bob", "carol", "dave"].map(user).into());
            assert!(message.ways.len() == 2 && message.ways.values().all(|way| !way.is_over()), "{message:?}");
        }
    }
    let refused = breaks(&world, "alice", true);
    assert!(matches!(refused, Err(RequestError::TooMany(why)) if why.contains("one hour")), "{refused:?}");
    assert_eq!(rang.load(Ordering::SeqCst), 5, "what is refused rings nobody");
    // It is the human who rang, and for an hour.
    assert!(breaks(&world, "dave", true).is_ok());
    world.pass(3600);
    assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Suspended)));
    world.agrees();
}
