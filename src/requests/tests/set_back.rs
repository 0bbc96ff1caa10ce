//! The wall clock is set back.

use super::*;

impl World {
    /// Sets the wall clock back, and tells the bastion.
    fn back(&self, seconds: u64) {
        let step = Duration::from_secs(seconds);
        self.clock.set(self.clock.now().minus(step));
        self.requests.set_back(step, &KeptClock::default(), &|| {}).unwrap();
    }

    fn granted(&self) -> Grant {
        let RequestState::Granted { grant } = self.approved().stored else { panic!("not granted") };
        self.requests.ledger.grant(&grant).unwrap()
    }
}

#[test]
fn t15_a_grant_is_as_long_as_approved_whatever_the_clock_shows_and_over_a_restart() {
    let mut world = World::new();
    let grant = world.granted();
    let state = |world: &World| world.requests.ledger.grant(&grant.id).unwrap().state(world.clock.now());
    world.pass(600);
    world.back(1800);
    world.restart();
    world.pass(3000 - 1);
    assert_eq!(state(&world), GrantState::Active);
    world.pass(1);
    assert_eq!(state(&world), GrantState::Ended);
    // What is over does not come back.
    world.back(7200);
    assert_eq!(state(&world), GrantState::Ended);
}

#[test]
fn t15_a_user_whose_time_was_over_does_not_come_back() {
    let world = World::new();
    let end = |name: &str, seconds: u64| {
        let until = Some(world.clock.now().plus(Duration::from_secs(seconds)));
        let stored = world.requests.ledger.user(&user(name)).unwrap();
        world.requests.ledger.set_user(User { until, ..stored }).unwrap();
    };
    end("alice", 60);
    end("dave", 7200);
    world.pass(120);
    world.back(3600);
    let ended = |name: &str| world.requests.ledger.user(&user(name)).unwrap().is_suspended(world.clock.now());
    assert!(ended("alice") && !ended("dave"));
}

#[test]
fn t15_a_request_is_not_approved_later_for_a_clock_that_was_set_back() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    let left = world.requests.ledger.request(&id).unwrap().pending_until;
    let left = world.clock.now().until(left).as_secs();
    world.pass(left - 10);
    world.back(3600);
    world.pass(10);
    let late = world.say("bob", &id, Verdict::Approve).unwrap_err();
    assert!(matches!(late, RequestError::Review(ReviewError::NotPending(RequestState::Expired))), "{late:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn t15_no_setting_of_the_clock_makes_a_grant_longer(moves in prop::collection::vec((0_u64..900, 0_u64..4000, any::<bool>()), 1..12)) {
        let world = World::new();
        let grant = world.granted();
        let mut really = 0_u64;
        for (passes, step, is_back) in moves {
            world.pass(passes);
            really += passes;
            if is_back { world.back(step) } else { world.pass(step) }
            let now = world.requests.ledger.grant(&grant.id).unwrap().state(world.clock.now());
            prop_assert!(now != GrantState::Active || really < 3600, "{now:?} after {really} s");
        }
    }
}

#[test]
fn t15_a_grant_of_an_operators_is_dated_by_a_clock_that_takes_it_back_if_it_is_set_back() {
    let world = World::new();
    let given = world.requests.give(|now| {
        assert!(world.requests.changing.try_lock().is_err(), "it could be set back before it is kept");
        Grant { created: now, ..world.by_operator() }
    });
    assert_eq!(given.unwrap().created, world.clock.now());
}
