//! A server that is killed at each write of each thing that can happen to a request or a grant.

use super::*;

/// What there is: who may open what and until when, how requests and grants stand, what people are told. Without ids, which
/// are made anew.
#[derive(Debug, PartialEq, Eq)]
struct Stands {
    rights: BTreeSet<String>,
    requests: Vec<String>,
    grants: Vec<String>,
    told: Vec<String>,
}

impl World {
    fn stands(&self) -> Stands {
        let (ledger, now) = (&self.requests.ledger, self.clock.now());
        let mut rights = BTreeSet::new();
        for name in ["alice", "alice2", "bob", "carol", "dave", "mallory"].map(user) {
            let presence = Presence { touch: true, pin: false };
            let asker = Asker { presence, ..Asker::plain(&name, "SHA256:k") };
            for place in ["root@db1", "postgres@db1", "backup@db1"] {
                for class in [ChannelClass::Shell, ChannelClass::Exec] {
                    if let Ok(permit) = ledger.permit(asker, &Destination::parse(place).unwrap(), class, now) {
                        rights.insert(format!("{name} {place} {class} until {:?}", permit.until()));
                    }
                }
            }
        }
        let request = |one: &AccessRequest| {
            let judged = one.glass.as_ref().and_then(|glass| glass.judged.as_ref()).map(|judged| judged.finding);
            format!("{} {} {} v{} {judged:?}", one.requester, one.destination, one.stored, one.version)
        };
        let grant = |one: &Grant| {
            let revoked = one.revoked.as_ref().and_then(|revoked| revoked.reason.clone());
            format!("{} {} {}..{} {} {revoked:?}", one.user, one.destination, one.from, one.until, one.state(now))
        };
        let mut requests: Vec<String> = ledger.requests().iter().map(request).collect();
        let mut grants: Vec<String> = ledger.grants().iter().map(grant).collect();
        let mut told: Vec<String> = ledger.messages().iter().map(|one| format!("{} {:?}", one.event, one.to)).collect();
        [&mut requests, &mut grants, &mut told].into_iter().for_each(|list| list.sort());
        Stands { rights, requests, grants, told }
    }

    pub(super) fn by_operator(&self) -> Grant {
        let now = self.clock.now();
        Grant {
            id: new_id("g-", 8, GrantId::parse).unwrap(),
            user: user("alice"),
            destination: Destination::parse("root@db1").unwrap(),
            from: now,
            until: now.plus(HOUR),
            reason: String::from("CHG-12"),
            created_by: String::from("uid 0"),
            created: now,
            revoked: None,
            request: None,
            rule: None,
            channels: None,
            sessions: None,
            begun: 0,
            bound_key: None,
        }
    }

    fn grant_of(&self, id: &RequestId) -> GrantId {
        let request = self.requests.ledger.request(id).unwrap();
        let RequestState::Granted { grant } = request.stored else { panic!("{request:?}") };
        grant
    }

    /// Asked, and approved by one of two.
    fn half_approved(&self) -> RequestId {
        let id = self.ask("alice").unwrap().id;
        self.say("bob", &id, Verdict::Approve).unwrap().id
    }

    /// Approved, and to be begun.
    fn to_begin(&self) -> RequestId {
        let id = self.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap().id;
        self.say("bob", &id, Verdict::Approve).unwrap().id
    }

    fn change(&self, from: &str, to: &str) {
        assert!(RULES.contains(from));
        self.requests.ledger.set_policy(policy(&RULES.replace(from, to)));
    }

    fn revoke(&self, grant: &GrantId) -> Result<(), RequestError> {
        let by = Revoked { by: String::from("uid 0"), at: self.clock.now(), reason: Some(String::from("why")) };
        self.requests.ledger.revoke_grant(grant, by)?;
        self.requests.settle()
    }
}

type Begin = fn(&World) -> Option<RequestId>;
type Act = fn(&World, &RequestId) -> Result<(), RequestError>;

/// What happens, and from where.
const ACTS: [(&str, Begin, Act); 22] = [
    ("ask", |_| None, |world, _| world.ask("alice").map(drop)),
    ("approve", |world| Some(world.half_approved()), |world, id| world.say("carol", id, Verdict::Approve).map(drop)),
    ("deny", |world| Some(world.half_approved()), |world, id| world.say("carol", id, Verdict::Deny).map(drop)),
    (
        "cancel",
        |world| Some(world.half_approved()),
        |world, id| world.requests.cancel(actor(&user("alice")), id).map(drop),
    ),
    (
        "operator's cancel",
        |world| Some(world.half_approved()),
        |world, id| world.requests.cancel_any("uid 0", id).map(drop),
    ),
    (
        "cancel all",
        |world| Some(world.half_approved()),
        |world, _| world.requests.cancel_all_of(&user("alice"), "uid 0", "the user was suspended").map(drop),
    ),
    ("begin", |world| Some(world.to_begin()), |world, id| world.requests.begin(actor(&user("alice")), id).map(drop)),
    (
        "begin with a session",
        |world| Some(world.to_begin()),
        |world, _| {
            let place = Destination::parse("postgres@db1").unwrap();
            world
                .requests
                .begin_at(actor(&user("alice")), &place, ChannelClass::Shell)
                .map(|begun| drop(begun.unwrap()))
        },
    ),
    (
        "extend",
        |world| Some(world.approved().id),
        |world, id| world.requests.extend(actor(&user("alice")), id, None, None).map(drop),
    ),
    (
        "lengthen",
        |world| {
            let first = world.approved().id;
            let more = world.requests.extend(actor(&user("alice")), &first, None, None).unwrap().id;
            Some(world.say("bob", &more, Verdict::Approve).unwrap().id)
        },
        |world, id| world.say("carol", id, Verdict::Approve).map(drop),
    ),
    (
        "give back",
        |world| Some(world.approved().id),
        |world, id| world.requests.give_back(actor(&user("alice")), id).map(drop),
    ),
    ("revoke", |world| Some(world.approved().id), |world, id| world.revoke(&world.grant_of(id))),
    ("nobody decides", pending_too_long, |world, _| world.requests.tidy().map(drop)),
    ("nobody begins", begun_too_late, |world, _| world.requests.tidy().map(drop)),
    (
        "superseded",
        |world| Some(world.half_approved()),
        |world, id| {
            world.change("count = 2", "count = 3");
            overtaken(world.say("carol", id, Verdict::Approve))
        },
    ),
    (
        "superseded at the begin",
        |world| Some(world.to_begin()),
        |world, id| {
            world.change("max = \"1h\", approvers", "max = \"1m\", approvers");
            overtaken(world.requests.begin(actor(&user("alice")), id))
        },
    ),
    ("break the glass", |_| None, |world, _| breaks(world, "alice", true).map(drop)),
    ("review", broken_and_over, |world, id| judges(world, "bob", id).map(drop)),
    ("overdue", broken_and_forgotten, |world, _| world.requests.tidy().map(drop)),
    (
        "approved beforehand",
        |world| {
            let window = "ticket = \"CHG-[0-9]+\", preapproved = [{ when = { hours = \"08:00-12:00\", zone = \"UTC\" }, \
                          max = \"1h\", until = \"2027-01-01T00:00:00Z\" }] }";
            world.requests.ledger.set_policy(policy(&RULES.replacen("ticket = \"CHG-[0-9]+\" }", window, 1)));
            None
        },
        |world, _| world.ask("alice").map(drop),
    ),
    ("given by an operator", |_| None, |world, _| world.requests.give(|_| world.by_operator()).map(drop)),
    (
        "given, and revoked",
        |world| world.requests.give(|_| world.by_operator()).map(|_| None).unwrap(),
        |world, _| {
            let given = world.requests.ledger.grants().remove(0);
            world.revoke(&given.id)
        },
    ),
];

fn pending_too_long(world: &World) -> Option<RequestId> {
    let id = world.half_approved();
    world.pass(24 * 3600);
    Some(id)
}

fn begun_too_late(world: &World) -> Option<RequestId> {
    let id = world.to_begin();
    world.pass(600);
    Some(id)
}

fn broken_and_over(world: &World) -> Option<RequestId> {
    let id = breaks(world, "alice", true).unwrap().id;
    world.pass(1800);
    Some(id)
}

fn broken_and_forgotten(world: &World) -> Option<RequestId> {
    let id = breaks(world, "alice", true).unwrap().id;
    world.pass(2 * 3600);
    Some(id)
}

fn overtaken(done: Result<AccessRequest, RequestError>) -> Result<(), RequestError> {
    match done {
        Err(RequestError::Overtaken(_)) => Ok(()),
        other => other.map(drop),
    }
}

// Whatever had a write on disk was meant, and is whole after the next start, as if nothing had been: no right appears that
// was not given, none is lost, nobody is told twice, and the log tells what is stored.
#[test]
fn what_a_crash_interrupts_is_whole_after_the_next_start() {
    let nobody = RequestId::parse("r-none").unwrap();
    let mut points = 0;
    for (name, begin, act) in ACTS {
        let done = {
            let mut world = World::new();
            let id = begin(&world);
            let before = world.stands();
            act(&world, id.as_ref().unwrap_or(&nobody)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_ne!(world.stands(), before, "{name} does nothing");
            let done = world.stands();
            world.restart();
            assert_eq!(world.stands(), done, "{name}: a start changes something");
            world.agrees();
            done
        };
        let mut crashes = 0;
        loop {
            let mut world = World::new();
            let id = begin(&world);
            world.requests.crash_after.store(crashes, Ordering::SeqCst);
            let told = act(&world, id.as_ref().unwrap_or(&nobody));
            world.restart();
            world.agrees();
            assert_eq!(world.stands(), done, "{name}, killed at {crashes}");
            // And a start after that one changes nothing more.
            world.restart();
            world.requests.tidy().unwrap();
            world.agrees();
            match told {
                Ok(()) => break,
                Err(RequestError::NoRandomness) => crashes += 1,
                Err(other) => panic!("{name}, killed at {crashes}: {other}"),
            }
        }
        assert!(crashes >= 2, "{name} was killed {crashes} times");
        points += crashes;
    }
    assert!(points >= 50, "{points}");
}

// Two things, one after the other: the grant ends first, and the finding can be said again.
#[test]
fn a_misuse_whose_review_a_crash_interrupts_ends_the_grant_all_the_same() {
    let misuse = |world: &World, id: &RequestId| {
        world.requests.judge(actor(&user("bob")), id, Finding::Misuse, "she read mail").map(drop)
    };
    for crashes in 0..5 {
        let mut world = World::new();
        let id = breaks(&world, "alice", true).unwrap().id;
        assert_eq!(world.stands().rights.len(), 1);
        world.requests.crash_after.store(crashes, Ordering::SeqCst);
        let told = misuse(&world, &id);
        world.restart();
        world.agrees();
        assert_eq!(world.stands().rights, BTreeSet::new(), "killed at {crashes}");
        let judged = world.requests.ledger.request(&id).unwrap().glass.unwrap().judged;
        assert!(judged.is_some() || told.is_err(), "killed at {crashes}");
        if judged.is_none() {
            misuse(&world, &id).unwrap();
        }
        assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Misused(_))), "killed at {crashes}");
        world.agrees();
    }
}

#[test]
fn a_grant_that_an_operator_gave_to_somebody_who_was_removed_meanwhile_opens_nothing() {
    for change in [true, false] {
        let mut world = World::new();
        world.requests.crash_after.store(1, Ordering::SeqCst);
        assert!(world.requests.give(|_| world.by_operator()).is_err());
        assert_eq!(world.stands().rights, BTreeSet::new(), "it opens something before it is given");
        let mut alice = world.requests.ledger.user(&user("alice")).unwrap();
        if change {
            let by = Revoked { by: String::from("uid 0"), at: world.clock.now(), reason: None };
            world.requests.ledger.remove_user(&user("alice"), &by).unwrap();
        } else {
            alice.suspended_at = Some(world.clock.now());
            world.requests.ledger.set_user(alice.clone()).unwrap();
        }
        world.restart();
        world.agrees();
        alice.suspended_at = None;
        let again = if change { world.requests.ledger.add_user(alice) } else { world.requests.ledger.set_user(alice) };
        again.unwrap();
        assert_eq!(world.stands().rights, BTreeSet::new());
        assert!(world.requests.ledger.grants().iter().all(|grant| grant.revoked.is_some()));
    }
}

#[test]
fn a_grant_of_an_operators_is_given_once_and_to_somebody_who_exists() {
    let world = World::new();
    let grant = world.by_operator();
    world.requests.give(|_| grant.clone()).unwrap();
    assert!(matches!(world.requests.give(|_| grant.clone()), Err(RequestError::Ledger(LedgerError::Exists { .. }))));
    let unknown = Grant { user: user("nobody"), ..world.by_operator() };
    assert!(matches!(world.requests.give(|_| unknown), Err(RequestError::Ledger(LedgerError::Unknown { .. }))));
    assert_eq!(world.requests.ledger.grants(), [grant]);
    assert_eq!(world.requests.ledger.unfinished_grants().unwrap(), []);
    assert!(world.stands().rights.iter().any(|right| right.starts_with("alice root@db1 exec")));
    world.agrees();
}
