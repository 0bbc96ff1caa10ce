//! How often one human may ask, and break the glass.

use super::*;

#[test]
fn one_human_asks_so_often_in_an_hour_and_no_more_by_whatever_name() {
    let world = World::new();
    // Alice's other name may ask, too.
    let mut second = world.requests.ledger.user(&user("alice2")).unwrap();
    second.groups.insert(GroupName::parse("dba").unwrap());
    world.requests.ledger.set_user(second).unwrap();
    let asks = |number: usize| {
        let name = if number.is_multiple_of(2) { "alice" } else { "alice2" };
        world.requests.ask(actor(&user(name)), wish("root@db1")).map(|request| (name, request.id))
    };
    for number in 0..HOURLY_MAX {
        let (name, id) = asks(number).unwrap_or_else(|error| panic!("{number}: {error}"));
        world.requests.cancel(actor(&user(name)), &id).unwrap();
        world.pass(1);
    }
    for number in 0..2 {
        let refused = asks(number);
        assert!(matches!(refused, Err(RequestError::TooMany(why)) if why.contains("one hour")), "{refused:?}");
    }
    // Others are not held up by it.
    assert!(world.ask("dave").is_ok());
    // The first is an hour old.
    world.pass(3600 - u64::try_from(HOURLY_MAX).unwrap());
    let (name, id) = asks(0).unwrap();
    world.requests.cancel(actor(&user(name)), &id).unwrap();
    assert!(asks(0).is_err());
    world.pass(3600);
    assert!(asks(1).is_ok());
    assert_eq!(HOURLY_MAX, 30);
    world.agrees();
}

#[test]
fn asking_for_more_time_counts_as_asking() {
    let world = World::new();
    let (first, alice) = (world.approved().id, user("alice"));
    for _ in 1..HOURLY_MAX {
        let more = world.requests.extend(actor(&alice), &first, Some(Duration::from_secs(60)), None).unwrap().id;
        world.requests.cancel(actor(&alice), &more).unwrap();
    }
    let refused = world.requests.extend(actor(&alice), &first, Some(Duration::from_secs(60)), None);
    assert!(matches!(refused, Err(RequestError::TooMany(_))), "{refused:?}");
    assert!(matches!(world.ask("alice"), Err(RequestError::TooMany(_))));
}

#[test]
fn one_human_breaks_so_many_glasses_in_an_hour_and_no_more() {
    let world = World::new();
    let brief = |name: &str| {
        let (name, presence) = (user(name), Presence { touch: true, pin: false });
        let asker = Asker { presence, ..Asker::plain(&name, "SHA256:k") };
        let place = Destination::parse("backup@db1").unwrap();
        let span = Some(Duration::from_secs(1));
        let actor = Actor { asker, source: "192.0.2.7:4022" };
        world.requests.break_glass(actor, place, span, "the primary is down, nobody answers")
    };
    // Each is reviewed at once: only how often it is done stands in the way.
    for number in 0..5 {
        let id = brief("alice").unwrap_or_else(|error| panic!("{number}: {error}")).id;
        world.pass(1);
        judges(&world, "bob", &id).unwrap();
    }
    let refused = brief("alice");
    assert!(matches!(refused, Err(RequestError::TooMany(why)) if why.contains("one hour")), "{refused:?}");
    assert!(brief("dave").is_ok());
    // The first is an hour old.
    world.pass(3600 - 5);
    let id = brief("alice").unwrap().id;
    world.pass(1);
    judges(&world, "bob", &id).unwrap();
    assert!(brief("alice").is_ok());
    world.agrees();
}

#[test]
fn requests_that_wait_do_not_keep_anybody_from_breaking_the_glass() {
    let world = World::new();
    for _ in 0..OPEN_MAX {
        world.ask("alice").unwrap();
    }
    assert!(matches!(world.ask("alice"), Err(RequestError::TooMany(_))));
    assert!(breaks(&world, "alice", true).is_ok());
}
