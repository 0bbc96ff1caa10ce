//! Sessions that are counted on a grant, and a server that is killed while one begins.

use super::*;
use crate::audit::AuditEvent;
use crate::model::RuleId;

impl World {
    /// A grant of one session.
    fn for_one(&self) -> GrantId {
        let id = self.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap().id;
        self.say("bob", &id, Verdict::Approve).unwrap();
        let begun = self.requests.begin(actor(&user("alice")), &id).unwrap();
        let RequestState::Granted { grant } = begun.stored else { panic!("{begun:?}") };
        grant
    }

    fn session_id(&self, number: u128) -> SessionId {
        SessionId::from_parts(self.clock.now(), number)
    }

    fn counted(&self, grant: &GrantId) -> u32 {
        self.requests.ledger.grant(grant).unwrap().begun
    }

    pub(super) fn starts(&self, session: &SessionId, grant: &GrantId) {
        let start = AuditEvent::SessionStart {
            session: session.clone(),
            user: user("alice"),
            destination: Destination::parse("postgres@db1").unwrap(),
            rule: RuleId::parse("postgres").unwrap(),
            grant: Some(grant.clone()),
            policy: String::from("0"),
            source: String::from("192.0.2.7:4022"),
            key: String::from("SHA256:k"),
            opened: String::from("0"),
            envelope: String::from("0"),
            recipients: String::from("0"),
        };
        self.audit.append(&start).unwrap();
    }
}

// Killed before and after each write of a session that begins, and again while the next start makes it good.
#[test]
fn a_session_that_a_crash_kept_from_beginning_is_not_counted_and_one_that_began_is() {
    type Write = fn(&World, &GrantId, &SessionId);
    let counts: Write = |world, grant, session| {
        let from = world.audit.size();
        world.requests.ledger.begin_on(grant, session, from).unwrap();
    };
    let starts: Write = |world, grant, session| world.starts(session, grant);
    let has_begun: Write = |world, _, session| world.requests.ledger.has_begun(session).unwrap();
    let fails: Write = |world, grant, session| world.requests.ledger.not_begun_on(grant, session).unwrap();
    let cases: [(&str, &[Write], u32); 6] = [
        ("nothing", &[], 0),
        ("counted", &[counts], 0),
        ("in the log", &[counts, starts], 1),
        ("begun", &[counts, starts, has_begun], 1),
        ("counted, and taken back", &[counts, fails], 0),
        // The target did not answer: that is known before the process ends, or after.
        ("in the log, and taken back", &[counts, starts, fails], 0),
    ];
    for (name, writes, expected) in cases {
        let mut world = World::new();
        let (grant, session) = (world.for_one(), world.session_id(1));
        // One that began long ago is none of its business.
        world.starts(&world.session_id(7), &grant);
        world.audit.publish().unwrap();
        writes.iter().for_each(|write| write(&world, &grant, &session));
        for start in 0..2 {
            world.restart();
            assert_eq!(world.counted(&grant), expected, "{name}, start {start}");
            assert_eq!(world.requests.ledger.beginnings().unwrap(), [], "{name}, start {start}");
        }
        let next = world.requests.ledger.begin_on(&grant, &world.session_id(2), 0);
        assert_eq!(next.is_ok(), expected == 0, "{name}");
        world.agrees();
    }
}

#[test]
fn a_session_is_taken_back_once_and_only_before_it_has_begun() {
    let world = World::new();
    let (grant, ledger) = (world.for_one(), &world.requests.ledger);
    let [one, two] = [1, 2].map(|number| world.session_id(number));
    ledger.begin_on(&grant, &one, 0).unwrap();
    assert!(matches!(ledger.begin_on(&grant, &two, 0), Err(LedgerError::Spent { .. })));
    assert!(matches!(ledger.joins(&grant), Err(LedgerError::Spent { .. })));
    // What was refused was not counted: nothing is to be taken back.
    ledger.not_begun_on(&grant, &two).unwrap();
    assert_eq!(world.counted(&grant), 1);
    for _ in 0..2 {
        ledger.not_begun_on(&grant, &one).unwrap();
        assert_eq!(world.counted(&grant), 0);
    }
    ledger.begin_on(&grant, &two, 0).unwrap();
    ledger.has_begun(&two).unwrap();
    ledger.not_begun_on(&grant, &two).unwrap();
    assert_eq!(world.counted(&grant), 1);
    // A grant for any number counts none, and notes none.
    let request = world.approved();
    let RequestState::Granted { grant: any } = request.stored else { panic!("{request:?}") };
    ledger.begin_on(&any, &one, 0).unwrap();
    assert_eq!((world.counted(&any), ledger.beginnings().unwrap()), (0, Vec::new()));
}

#[test]
fn two_who_begin_at_once_on_a_grant_of_one_session_are_one() {
    for _ in 0..20 {
        let world = World::new();
        let grant = world.for_one();
        let begun = std::thread::scope(|scope| {
            let all = [1, 2, 3].map(|number| {
                let (world, grant) = (&world, &grant);
                scope.spawn(move || world.requests.ledger.begin_on(grant, &world.session_id(number), 0).is_ok())
            });
            all.into_iter().map(|one| one.join().unwrap()).filter(|begun| *begun).count()
        });
        assert_eq!((begun, world.counted(&grant)), (1, 1));
    }
}
