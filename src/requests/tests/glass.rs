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
