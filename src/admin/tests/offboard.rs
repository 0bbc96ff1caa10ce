//! Offboarding, and what a crash leaves of it.

use super::super::offboard::{STEPS, WHY};
use super::*;
use crate::grant::Revoked;
use crate::ledger::User;

impl Office {
    /// The bastion is started anew: on the same state, without a live session.
    fn restart(&mut self) {
        let parts = &self.admin.parts;
        let (clock, audit, config) = (parts.clock.clone(), Arc::clone(&parts.audit), parts.config.clone());
        let vault = Arc::clone(&parts.vault);
        let ledger = Arc::new(Ledger::open(vault.database(), (*parts.ledger.policy()).clone()).unwrap());
        let requests = Requests::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone(), Vec::new()).unwrap();
        let locks = Locks::open(Arc::clone(&ledger), Arc::clone(&audit), clock.clone()).unwrap();
        let (sessions, store) = (Sessions::new(), StoreRoot::at(&self.dir.path().join("data")));
        let (requests, locks) = (Arc::new(requests), Arc::new(locks));
        self.admin = Admin::new(&config, clock, ledger, vault, audit, sessions, requests, locks, store);
    }

    fn with_two_names() -> Self {
        let office = Self::furnished();
        office.ask(Request::UserAdd {
            user: user("alice2"),
            groups: groups(),
            keys: Vec::new(),
            from: BTreeSet::new(),
            until: None,
        });
        let (user, person) = (user("alice2"), Some(user("alice")));
        office.ask(Request::UserSet { user, groups: None, from: None, person, until: None });
        office.ask(grant("alice", "root@db1"));
        office.ask(grant("alice2", "root@db1"));
        office
    }

    #[track_caller]
    fn offboarded(&self, name: &str) -> crate::ledger::Offboarding {
        let Reply::Offboarded { receipt } =
            self.ask(Request::UserOffboard { user: user(name), reason: String::from("left") })
        else {
            panic!("no receipt")
        };
        receipt
    }

    fn outcomes(&self) -> Vec<String> {
        let records = self.log();
        let own = records.iter().filter(|record| record.kind == "offboard.step");
        let mut all: Vec<String> = own.map(|record| record.text("outcome").unwrap().to_owned()).collect();
        all.dedup();
        all
    }
}

#[test]
fn who_is_offboarded_is_out_by_all_names_and_the_receipt_says_what_ended() {
    let office = Office::with_two_names();
    let grants = office.admin.parts.ledger.grants();
    let own = grants.iter().find(|grant| grant.user == user("alice")).unwrap();
    let live = office.live(&own.id);
    let receipt = office.offboarded("alice2");
    assert_eq!((receipt.sessions, receipt.grants, receipt.user.as_str()), (1, 2, "alice"));
    // It has been told to end, and nobody here carries it: what was not seen closed is not said to be.
    assert_eq!(receipt.closed, 0);
    let (leaf, checkpoint) = (receipt.leaf.unwrap(), receipt.checkpoint.clone().unwrap());
    let size: u64 = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    assert!(size > leaf && checkpoint.contains("\n\n\u{2014} "), "{leaf} {checkpoint}");
    assert_eq!(receipt.accounts, BTreeSet::from([destination("root@db1")]));
    assert!(live.end.borrow().is_some());
    for name in ["alice", "alice2"] {
        assert!(office.admin.parts.ledger.user(&user(name)).unwrap().suspended_at.is_some(), "{name}");
    }
    assert_eq!(office.outcomes(), ["begun", "done"]);
    // Again: nothing is left to do, and the receipt is the same.
    assert_eq!(office.offboarded("alice"), receipt);
    let nobody = Request::UserOffboard { user: user("bob"), reason: "x".into() };
    assert!(matches!(office.refused(nobody), AdminError::Ledger(_)));
    let unsaid = Request::UserOffboard { user: user("alice"), reason: " ".into() };
    assert!(matches!(office.refused(unsaid), AdminError::Invalid { .. }));
}

#[test]
fn nobody_waits_for_the_sessions_of_somebody_who_is_offboarded() {
    for resumed in [false, true] {
        let office = Office::with_two_names();
        let grants = office.admin.parts.ledger.grants();
        let own = grants.iter().find(|grant| grant.user == user("alice")).unwrap();
        let live = office.live(&own.id);
        let ledger = &office.admin.parts.ledger;
        let told = std::thread::scope(|scope| {
            let caller = Caller { uid: 0, via: Via::Direct };
            let wanted = Request::UserOffboard { user: user("alice"), reason: String::from("left") };
            let admin = &office.admin;
            let told = scope.spawn(move || admin.call(caller, wanted));
            let changing = loop {
                let changing = office.admin.one_at_a_time();
                if live.end.borrow().is_some() {
                    break changing;
                }
            };
            let known = ledger.offboarding(&user("alice")).unwrap().unwrap();
            assert!(known.done.is_none(), "others waited until it was done");
            drop(changing);
            if resumed {
                office.ask(Request::UserResume { user: user("alice") });
            }
            drop(live);
            told.join().unwrap()
        });
        let stored = ledger.offboarding(&user("alice")).unwrap();
        match told {
            Ok(Reply::Offboarded { receipt }) => {
                assert!(!resumed && receipt.done.is_some());
                assert_eq!((receipt.sessions, receipt.closed, Some(receipt)), (1, 1, stored));
            }
            // Neither half done, nor said to be done.
            other => assert!(resumed && matches!(other, Err(AdminError::Refused { .. })) && stored.is_none()),
        }
    }
}

#[test]
fn an_offboarding_that_crashed_at_any_step_is_finished_by_the_next_start() {
    for crash_after in 0..=STEPS.len() {
        let mut office = Office::with_two_names();
        let caller = Caller { uid: 0, via: Via::Direct };
        let mut begun = office.admin.new_offboarding(caller, user("alice"), String::from("left")).unwrap();
        STEPS.iter().take(crash_after).for_each(|step| step(&office.admin, &mut begun).unwrap());
        office.restart();
        assert!(office.admin.finish_offboardings().unwrap().is_empty(), "after {crash_after}");
        let ledger = &office.admin.parts.ledger;
        for name in ["alice", "alice2"] {
            assert!(ledger.user(&user(name)).unwrap().suspended_at.is_some(), "after {crash_after}: {name}");
        }
        assert!(ledger.grants().iter().all(|grant| grant.revoked.is_some()), "after {crash_after}");
        let receipt = ledger.offboarding(&user("alice")).unwrap().unwrap();
        assert!(receipt.done.is_some() && receipt.grants == 2, "after {crash_after}: {receipt:?}");
        assert_eq!(office.outcomes(), ["begun", "done"], "after {crash_after}");
        assert_eq!(ledger.owed().unwrap().len(), 0, "after {crash_after}");
        assert_eq!(office.offboarded("alice"), receipt, "after {crash_after}");
    }
}

// Steps change more than one thing: what was done of one counts, and the rest follows.
#[test]
fn an_offboarding_that_crashed_within_a_step_is_finished_by_the_next_start() {
    for (done, within) in [(1, "suspended by one name"), (3, "revoked by one name")] {
        let mut office = Office::with_two_names();
        let caller = Caller { uid: 0, via: Via::Direct };
        let mut begun = office.admin.new_offboarding(caller, user("alice"), String::from("left")).unwrap();
        STEPS.iter().take(done).for_each(|step| step(&office.admin, &mut begun).unwrap());
        let ledger = Arc::clone(&office.admin.parts.ledger);
        if done == 1 {
            let alice = ledger.user(&user("alice")).unwrap();
            ledger.set_user(User { suspended_at: Some(office.admin.now()), ..alice }).unwrap();
        } else {
            let by = Revoked { by: begun.by.clone(), at: office.admin.now(), reason: Some(WHY.to_owned()) };
            assert_eq!(ledger.revoke_all_of(&user("alice"), &by).unwrap(), 1);
        }
        office.restart();
        assert!(office.admin.finish_offboardings().unwrap().is_empty(), "{within}");
        let ledger = &office.admin.parts.ledger;
        assert!(ledger.grants().iter().all(|grant| grant.revoked.is_some()), "{within}");
        let suspended = ["alice", "alice2"].map(|name| ledger.user(&user(name)).unwrap().suspended_at.is_some());
        assert_eq!(suspended, [true, true], "{within}");
        let receipt = ledger.offboarding(&user("alice")).unwrap().unwrap();
        assert!(receipt.done.is_some() && receipt.grants == 2, "{within}: {receipt:?}");
        let revokes = office.log().iter().filter(|record| record.kind == "grant.revoke").count();
        assert_eq!((revokes, office.outcomes()), (2, vec![String::from("begun"), String::from("done")]), "{within}");
    }
}

#[test]
fn who_is_let_in_again_meanwhile_is_not_barred_by_the_next_start() {
    let mut office = Office::with_two_names();
    let caller = Caller { uid: 0, via: Via::Direct };
    let mut begun = office.admin.new_offboarding(caller, user("alice"), String::from("left")).unwrap();
    STEPS.iter().take(2).for_each(|step| step(&office.admin, &mut begun).unwrap());
    office.ask(Request::UserResume { user: user("alice") });
    office.restart();
    assert!(office.admin.finish_offboardings().unwrap().is_empty());
    assert!(office.admin.parts.ledger.user(&user("alice")).unwrap().suspended_at.is_none());
}
