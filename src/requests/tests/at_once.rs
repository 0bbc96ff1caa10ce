//! Two who decide at once, and what changed between the asking, the deciding and the connecting.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::grant::Denial;

/// Both at the same moment; what each was told.
fn both<T: Send>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T + Send) -> [T; 2] {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            start.wait();
            one()
        });
        let second = scope.spawn(|| {
            start.wait();
            other()
        });
        [first, second].map(|thread| thread.join().unwrap())
    })
}

/// The same after bob's, or carol's, yes; of the same version.
fn approved_by(world: &World, id: &RequestId, name: &str) -> Step {
    let (request, stored) =
        (world.requests.ledger.request(id).unwrap(), world.requests.ledger.user(&user(name)).unwrap());
    let reviewer = Reviewer {
        user: &stored.name,
        person: stored.human(),
        groups: &stored.groups,
        presence: Presence::NONE,
        key: "SHA256:k",
        source: "192.0.2.7:4022",
        mfa: None,
    };
    let yes = Opinion { verdict: Verdict::Approve, span: None, channels: None, note: String::new() };
    let request = request.review(&reviewer, yes, world.clock.now()).unwrap();
    Step { request, kind: StepKind::Reviewed, by: name.to_owned(), outcome: Outcome::Waits, message: None }
}

#[test]
fn of_two_changes_of_one_version_one_takes_effect_and_the_other_is_stale() {
    for _ in 0..50 {
        let world = World::new();
        let id = world.ask("alice").unwrap().id;
        // Each has read the request before the other wrote.
        let steps = ["bob", "carol"].map(|name| approved_by(&world, &id, name));
        let ledger = &world.requests.ledger;
        let told = both(|| ledger.prepare(&steps[0]), || ledger.prepare(&steps[1]));
        let stale =
            |told: &Result<(), LedgerError>| matches!(told, Err(LedgerError::Stale { request }) if *request == id);
        assert_eq!(
            (told.iter().filter(|told| told.is_ok()).count(), told.iter().filter(|told| stale(told)).count()),
            (1, 1)
        );
        let loser = usize::from(told[0].is_ok());
        // It stays so once the other has taken effect: what it has read is gone.
        ledger.finish(&steps[1 - loser]).unwrap();
        assert!(stale(&ledger.prepare(&steps[loser])));
        let after = ledger.request(&id).unwrap();
        assert_eq!((after.version, &after.reviews), (2, &steps[1 - loser].request.reviews));
        // Read again, it counts: nobody's word is lost.
        let again = approved_by(&world, &id, if loser == 0 { "bob" } else { "carol" });
        ledger.prepare(&again).unwrap();
        ledger.finish(&again).unwrap();
        assert_eq!(ledger.request(&id).unwrap().reviews.len(), 2);
    }
}

#[test]
fn of_two_who_approve_what_one_may_decide_one_is_told_that_the_other_did() {
    for _ in 0..20 {
        let world = World::new();
        let id = world.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap().id;
        let held = world.requests.one_at_a_time();
        let over = AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            let says = |name: &'static str| {
                let (world, id, over) = (&world, &id, &over);
                scope.spawn(move || {
                    let told = world.say(name, id, Verdict::Approve);
                    assert!(over.load(Ordering::SeqCst), "{name} did not wait for the change before");
                    told
                })
            };
            let both = [says("bob"), says("carol")];
            // Nobody gets by while a change is under way.
            over.store(true, Ordering::SeqCst);
            drop(held);
            both.map(|one| one.join().unwrap())
        });
        let late = |told: &Result<AccessRequest, RequestError>| {
            matches!(told, Err(RequestError::Review(ReviewError::NotPending(RequestState::Approved { .. }))))
        };
        assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 1);
        assert_eq!(told.iter().filter(|told| late(told)).count(), 1);
        assert_eq!(world.requests.ledger.request(&id).unwrap().reviews.len(), 1);
        world.agrees();
    }
}

#[test]
fn of_a_yes_and_a_no_at_once_the_first_decides() {
    for _ in 0..20 {
        let world = World::new();
        let id = world.ask("alice").unwrap().id;
        world.say("bob", &id, Verdict::Approve).unwrap();
        let [yes, no] = both(|| world.say("carol", &id, Verdict::Approve), || world.say("dave", &id, Verdict::Deny));
        assert_ne!(yes.is_ok(), no.is_ok(), "{yes:?} {no:?}");
        let stored = world.requests.ledger.request(&id).unwrap().stored;
        assert_eq!(matches!(stored, RequestState::Granted { .. }), yes.is_ok());
        assert_eq!(world.requests.ledger.grants().len(), usize::from(yes.is_ok()));
        world.agrees();
    }
}

#[test]
fn of_a_revoke_and_more_time_at_once_nothing_is_revived() {
    for _ in 0..20 {
        let world = World::new();
        let first = world.approved();
        let more = world.requests.extend(actor(&user("alice")), &first.id, None, None).unwrap().id;
        world.say("bob", &more, Verdict::Approve).unwrap();
        let [lengthened, revoked] = both(
            || world.say("carol", &more, Verdict::Approve).is_ok(),
            || world.requests.give_back(actor(&user("alice")), &first.id).is_ok(),
        );
        assert!(revoked);
        let grants = world.requests.ledger.grants();
        let [grant] = grants.as_slice() else { panic!("{grants:?}") };
        assert!(grant.revoked.is_some());
        assert_eq!(grant.from.until(grant.until), if lengthened { HOUR * 2 } else { HOUR });
        assert!(opens(&world, ChannelClass::Shell).is_err());
        world.agrees();
    }
}

// A request never changes what it asks for. Whoever wants something else asks anew, and nobody has approved that.
#[test]
fn what_is_asked_anew_has_no_votes_of_what_was_asked_before() {
    let world = World::new();
    let alice = user("alice");
    let before = world.ask("alice").unwrap().id;
    world.say("bob", &before, Verdict::Approve).unwrap();
    let approved = world.requests.ledger.request(&before).unwrap();
    world.requests.cancel(actor(&alice), &before).unwrap();
    let other = Wish { reason: String::from("CHG-13 something else"), ..wish("root@db1") };
    let after = world.requests.ask(actor(&alice), other).unwrap();
    assert!(after.id != before && after.reviews.is_empty());
    assert_eq!(world.say("carol", &after.id, Verdict::Approve).unwrap().stored, RequestState::Pending);
    assert!(matches!(world.say("carol", &before, Verdict::Approve), Err(RequestError::Review(_))));
    // Nor does a step that has another text count as the next version of what was approved.
    let edited = AccessRequest { reason: String::from("CHG-14"), ..approved };
    let step =
        |request| Step { request, kind: StepKind::Reviewed, by: String::new(), outcome: Outcome::Waits, message: None };
    assert!(matches!(world.requests.ledger.prepare(&step(edited)), Err(LedgerError::Stale { .. })));
    assert!(world.requests.ledger.grants().is_empty());
    world.agrees();
}

fn opens(world: &World, class: ChannelClass) -> Result<(), Denial> {
    let alice = user("alice");
    let place = Destination::parse("root@db1").unwrap();
    let asker = Asker::plain(&alice, "SHA256:k");
    world.requests.ledger.permit(asker, &place, class, world.clock.now()).map(drop)
}

#[test]
fn what_was_approved_opens_what_the_policy_of_the_moment_of_connecting_lets_it() {
    let world = World::new();
    world.approved();
    let (shell, exec) = (ChannelClass::Shell, ChannelClass::Exec);
    assert!(opens(&world, shell).is_ok() && opens(&world, exec).is_ok());
    let cases: [(&str, &str, bool, bool); 6] = [
        ("channels = [\"shell\", \"exec\"]", "channels = [\"shell\"]", true, false),
        ("channels = [\"shell\", \"exec\"]", "channels = [\"sftp-read\"]", false, false),
        // The approval was of the rule of this name.
        ("id = \"dba\"", "id = \"dba2\"", false, false),
        ("who = { groups = [\"dba\"] }", "who = { groups = [\"dba2\"] }", false, false),
        ("accounts = [\"root\"]", "accounts = [\"root2\"]", false, false),
        ("channels = [\"shell\", \"exec\"]", "channels = [\"shell\", \"exec\"]\nkey = { touch = true }", false, false),
    ];
    for (from, to, has_shell, has_exec) in cases {
        assert!(RULES.contains(from));
        world.requests.ledger.set_policy(policy(&RULES.replacen(from, to, 1)));
        assert_eq!((opens(&world, shell).is_ok(), opens(&world, exec).is_ok()), (has_shell, has_exec), "{to}");
        // It was not taken back: the rules decide.
        world.requests.ledger.set_policy(policy(RULES));
        assert!(opens(&world, shell).is_ok(), "{to}");
    }
    world.requests.ledger.set_policy(PolicySet::empty());
    assert!(opens(&world, shell).is_err());
}

#[test]
fn what_was_approved_and_not_begun_does_not_begin_under_rules_that_changed() {
    let place = Destination::parse("postgres@db1").unwrap();
    for (from, to) in [
        ("id = \"postgres\"", "id = \"postgres2\""),
        ("max = \"1h\", approvers", "max = \"30m\", approvers"),
        ("approvers = { group = \"leads\" }, activation", "approvers = { group = \"leads\", count = 2 }, activation"),
        ("accounts = [\"postgres\"]\nchannels = [\"shell\"]", "accounts = [\"postgres\"]\nchannels = [\"exec\"]"),
    ] {
        assert!(RULES.contains(from), "{from}");
        let world = World::new();
        let id = world.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap().id;
        world.say("bob", &id, Verdict::Approve).unwrap();
        world.requests.ledger.set_policy(policy(&RULES.replacen(from, to, 1)));
        let alice = user("alice");
        let begun = world.requests.begin_at(actor(&alice), &place, ChannelClass::Shell);
        assert!(matches!(begun, Err(RequestError::Overtaken(_))), "{to}: {begun:?}");
        world.requests.ledger.set_policy(policy(RULES));
        assert_eq!(world.requests.begin_at(actor(&alice), &place, ChannelClass::Shell).unwrap(), None, "{to}");
        assert!(world.requests.ledger.grants().is_empty(), "{to}");
        world.agrees();
    }
}

#[test]
fn an_approver_who_was_suspended_before_the_begin_has_approved_nothing() {
    let world = World::new();
    let id = world.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap().id;
    world.say("bob", &id, Verdict::Approve).unwrap();
    let mut bob = world.requests.ledger.user(&user("bob")).unwrap();
    bob.suspended_at = Some(world.clock.now());
    world.requests.ledger.set_user(bob).unwrap();
    assert!(matches!(world.requests.begin(actor(&user("alice")), &id), Err(RequestError::Overtaken(_))));
    assert!(world.requests.ledger.grants().is_empty());
    world.agrees();
}
