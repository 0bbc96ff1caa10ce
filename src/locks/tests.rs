use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::db::Db;
use crate::model::Timestamp;
use crate::policy::PolicySet;
use crate::requests::Requests;
use crate::vault::Vault;

/// Ends a lifting here, as a killed process does.
pub(super) fn may_crash(locks: &Locks) -> Result<(), LockError> {
    let left = locks.crash_after.load(Ordering::SeqCst);
    if left == 0 {
        return Err(LockError::NoRandomness);
    }
    locks.crash_after.store(left.saturating_sub(1), Ordering::SeqCst);
    Ok(())
}

fn user(name: &str) -> User {
    User {
        name: UserName::parse(name).unwrap(),
        groups: BTreeSet::new(),
        keys: Vec::new(),
        suspended_at: None,
        from: BTreeSet::new(),
        password_since: None,
        person: None,
        until: None,
    }
}

struct World {
    db: Db,
    clock: Clock,
    audit: Arc<Audit>,
    locks: Locks,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        let db = Db::in_memory().unwrap();
        let vault = Vault::open(&db).unwrap();
        vault.create_bastion_keys().unwrap();
        let key = vault.log_key("0123456789abcdef0123456789abcdef").unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let audit = Arc::new(Audit::create(&dir.path().join("log"), key, &db, clock.clone()).unwrap());
        let ledger = Arc::new(Ledger::open(&db, PolicySet::empty()).unwrap());
        for name in ["alice", "bob", "carol", "dave"] {
            ledger.add_user(user(name)).unwrap();
        }
        let locks = Locks::open(ledger, Arc::clone(&audit), clock.clone()).unwrap();
        Self { db, clock, audit, locks, _dir: dir }
    }

    /// The bastion is started anew.
    fn restart(&mut self) {
        let ledger = Arc::new(Ledger::open(&self.db, PolicySet::empty()).unwrap());
        Requests::open(Arc::clone(&ledger), Arc::clone(&self.audit), self.clock.clone(), Vec::new()).unwrap();
        self.locks = Locks::open(ledger, Arc::clone(&self.audit), self.clock.clone()).unwrap();
    }

    fn add(&self, lifters: u8, expires: Option<Timestamp>) -> LockId {
        let (reason, span) = (String::from("an attack"), expires.map(|expires| self.clock.now().until(expires)));
        let wanted =
            Wanted { scope: Scope::Everything, effect: LockEffect::End, reason, span, lifters, keeps_glass: false };
        self.locks.add(String::from("uid 0"), wanted).unwrap().id
    }

    fn lift(&self, id: &LockId, person: &str) -> Result<Lifted, LockError> {
        self.locks.lift(id, format!("{person} by a key"), person.to_owned())
    }

    /// What the log says of it, each once: a crash may have said it twice.
    fn outcomes(&self, id: &LockId) -> Vec<String> {
        self.audit.publish().unwrap();
        let records = self.audit.records(0).map(Result::unwrap).map(|record| serde_json::to_value(record).unwrap());
        let own = records.filter(|record| record["type"] == "lock.step" && record["lock"] == id.as_str());
        let mut all: Vec<String> = own.map(|record| record["outcome"].as_str().unwrap().to_owned()).collect();
        all.dedup();
        all
    }
}

#[test]
fn a_lock_survives_a_restart_and_is_in_the_log() {
    let mut world = World::new();
    let id = world.add(2, None);
    // The process ends before the log was given what it is owed.
    world.restart();
    assert_eq!(world.locks.ledger.locks().len(), 1);
    assert_eq!(world.outcomes(&id), ["holds"]);
}

#[test]
fn a_lock_that_the_log_was_told_of_twice_is_one_lock() {
    let mut world = World::new();
    let id = world.add(2, None);
    // The process ends between the leaf and the note that it is there.
    for (_, event) in world.locks.ledger.owed().unwrap() {
        world.audit.append(&event).unwrap();
    }
    world.restart();
    assert_eq!((world.locks.ledger.locks().len(), world.outcomes(&id)), (1, vec![String::from("holds")]));
    assert!(world.locks.ledger.owed().unwrap().is_empty());
}

#[test]
fn a_lock_that_is_over_is_so_after_a_crash_too_and_forgotten_by_the_next_look() {
    let mut world = World::new();
    let id = world.add(2, Some(world.clock.now().plus(Duration::from_secs(60))));
    world.restart();
    world.clock.set(world.clock.now().plus(Duration::from_secs(60)));
    world.locks.crash_after.store(0, Ordering::SeqCst);
    assert!(world.locks.tidy().is_err());
    world.restart();
    assert!(world.locks.any_over() && world.locks.ledger.locks().iter().all(|lock| !lock.holds(world.clock.now())));
    assert_eq!(world.locks.tidy().unwrap(), 1);
    assert!(world.locks.ledger.lock(&id).is_none());
    assert_eq!(world.outcomes(&id), ["holds", "expired"]);
}

#[test]
fn a_crash_at_any_step_of_a_lifting_lifts_nothing_that_is_not_in_the_log() {
    for crash_after in 0..4 {
        let mut world = World::new();
        let id = world.add(2, None);
        world.restart();
        world.locks.crash_after.store(crash_after, Ordering::SeqCst);
        let mut told = Vec::new();
        for person in ["bob", "carol"] {
            told.push(world.lift(&id, person).is_ok());
            if !told[told.len() - 1] {
                break;
            }
        }
        world.restart();
        let outcomes = world.outcomes(&id);
        let lifted = outcomes.contains(&"lifted".to_owned());
        assert_eq!(world.locks.ledger.lock(&id).is_none(), lifted, "after {crash_after}: {outcomes:?}");
        assert!(world.locks.ledger.locks().iter().all(|lock| lock.pending.is_none()), "after {crash_after}");
        // What was under way when the process ended has happened, since it was kept; what comes after has not.
        match crash_after {
            0 | 1 => assert_eq!((told, lifted), (vec![false], false), "after {crash_after}"),
            _ => assert_eq!((told, lifted), (vec![true, false], true), "after {crash_after}"),
        }
        if !lifted {
            world.lift(&id, "dave").unwrap();
            assert!(world.locks.ledger.lock(&id).is_none(), "one had said so before the crash");
        }
    }
}

#[test]
fn one_human_lifts_no_lock_for_two() {
    let world = World::new();
    let id = world.add(2, None);
    assert!(matches!(world.lift(&id, "bob"), Ok(Lifted::Waits(_, 1))));
    assert!(matches!(world.lift(&id, "bob"), Err(LockError::SaidAlready)));
    assert!(world.locks.ledger.lock(&id).is_some());
    assert!(matches!(world.lift(&id, "carol"), Ok(Lifted::Gone(_))));
    assert!(matches!(world.lift(&id, "carol"), Err(LockError::Unknown)));
    assert_eq!(world.outcomes(&id), ["waits for 1 more", "lifted"]);
}

#[test]
fn a_lock_is_over_by_its_time_and_that_is_in_the_log() {
    let world = World::new();
    let id = world.add(2, Some(world.clock.now().plus(Duration::from_secs(60))));
    assert!(!world.locks.any_over());
    assert_eq!(world.locks.tidy().unwrap(), 0);
    world.clock.set(world.clock.now().plus(Duration::from_secs(60)));
    assert!(world.locks.any_over());
    assert_eq!(world.locks.tidy().unwrap(), 1);
    assert!(world.locks.ledger.lock(&id).is_none());
    assert_eq!(world.outcomes(&id), ["expired"]);
}

#[test]
fn a_lock_has_a_reason_and_time_left() {
    let world = World::new();
    let wanted = |reason: &str, span| Wanted {
        scope: Scope::Everything,
        effect: LockEffect::End,
        reason: reason.to_owned(),
        span,
        keeps_glass: false,
        lifters: 1,
    };
    for reason in ["", " ", "two\nlines", &"x".repeat(401)] {
        assert!(matches!(world.locks.add(String::new(), wanted(reason, None)), Err(LockError::Reason)), "{reason}");
    }
    let over = wanted("why", Some(Duration::ZERO));
    assert!(matches!(world.locks.add(String::new(), over), Err(LockError::Over)));
}

#[test]
fn the_word_of_one_who_was_suspended_or_turned_out_to_be_the_same_human_lifts_nothing() {
    type Change = fn(User) -> User;
    let suspended: Change = |bob| User { suspended_at: Some(Timestamp::from_millis(1)), ..bob };
    let ended: Change = |bob| User { until: Some(Timestamp::from_millis(1)), ..bob };
    let same_as_carol: Change = |bob| User { person: Some(UserName::parse("carol").unwrap()), ..bob };
    for (change, said_already) in [(suspended, false), (ended, false), (same_as_carol, true)] {
        let world = World::new();
        let id = world.add(2, None);
        assert!(matches!(world.lift(&id, "bob"), Ok(Lifted::Waits(_, 1))));
        world.locks.ledger.set_user(change(user("bob"))).unwrap();
        let carols = world.lift(&id, "carol");
        if said_already {
            assert!(matches!(carols, Err(LockError::SaidAlready)));
        } else {
            assert!(matches!(carols, Ok(Lifted::Waits(_, 1))));
        }
        assert!(matches!(world.lift(&id, "dave"), Ok(Lifted::Gone(_))));
    }
}

#[test]
fn t15_a_clock_set_forward_lifts_no_lock_early() {
    let world = World::new();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let (short, long) = (world.clock.now().plus(minutes(5)), world.clock.now().plus(minutes(60)));
    let (over, lock) = (world.add(1, Some(short)), world.add(1, Some(long)));
    world.add(1, None);
    world.clock.set(world.clock.now().plus(minutes(10)));
    // After ten minutes it was set forward by a day.
    let step = minutes(24 * 60);
    world.clock.set(world.clock.now().plus(step));
    assert_eq!(world.locks.set_forward(step, &KeptClock::default(), &|| {}).unwrap(), 1);
    let holds = |id: &LockId| world.locks.ledger.lock(id).unwrap().holds(world.clock.now());
    assert!(holds(&lock) && !holds(&over));
    world.clock.set(world.clock.now().plus(minutes(49)));
    assert!(holds(&lock));
    world.clock.set(world.clock.now().plus(minutes(1)));
    assert!(!holds(&lock));
}

#[test]
fn t15_a_lock_lasts_from_when_it_is_kept_whatever_the_clock_was_set_to_before() {
    let (world, hour) = (World::new(), Duration::from_secs(3600));
    let set = world.clock.now().plus(hour * 24);
    let (going, gone) = std::sync::mpsc::channel();
    let lock = std::thread::scope(|scope| {
        // Those that are kept follow the clock now.
        let dating = world.locks.dating();
        let wanted = Wanted {
            scope: Scope::Everything,
            effect: LockEffect::End,
            reason: String::from("an attack"),
            span: Some(hour),
            lifters: 1,
            keeps_glass: false,
        };
        let adding = scope.spawn(|| {
            going.send(()).unwrap();
            world.locks.add(String::from("uid 0"), wanted).unwrap().id
        });
        gone.recv().unwrap();
        (0..10_000).for_each(|_| std::thread::yield_now());
        world.clock.set(set);
        drop(dating);
        adding.join().unwrap()
    });
    assert_eq!(world.locks.ledger.lock(&lock).unwrap().expires, Some(set.plus(hour)));
}
