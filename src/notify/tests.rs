use std::collections::BTreeMap;

use super::*;
use crate::audit::AuditRecord;
use crate::db::Db;
use crate::grant::Asker;
use crate::ledger::{Target, User};
use crate::model::{Destination, GroupName, TargetName};
use crate::policy::{PolicyFile, PolicySet};
use crate::requests::{Actor, Requests, Wish};
use crate::tlog::{Algorithm, KeyName, SigningKey};

const RULES: &str = "schema = 1\n[[rule]]\nid = \"dba\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                     accounts = [\"root\"]\nchannels = [\"shell\"]\ngrant = { approvers = { group = \"leads\" } }\n";

/// A bastion of which one message waits for Bob.
struct Desk {
    db: Db,
    clock: Clock,
    audit: Arc<Audit>,
    _dir: tempfile::TempDir,
}

fn rules() -> PolicySet {
    PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text: RULES.to_owned() }]).unwrap()
}

/// Mail by this program: the one way.
fn by(program: &str) -> NotifySettings {
    let (from, domain) = (String::from("doorward@example.org"), String::from("example.org"));
    NotifySettings {
        mail: Some(MailSettings { command: vec![program.to_owned()], from, domain, alerts: Vec::new() }),
        ..NotifySettings::default()
    }
}

impl Desk {
    fn asked() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        let db = Db::in_memory().unwrap();
        let (name, seed) = (KeyName::parse("example.org/doorward").unwrap(), Secret::new([7; 32]));
        let key = SigningKey::from_seed(name, Algorithm::Note, seed).unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let audit = Arc::new(Audit::create(&dir.path().join("log"), key, &db, clock.clone()).unwrap());
        let ledger = Arc::new(Ledger::open(&db, rules()).unwrap());
        for (name, group) in [("alice", "dba"), ("bob", "leads")] {
            let user = User {
                name: UserName::parse(name).unwrap(),
                groups: [GroupName::parse(group).unwrap()].into(),
                keys: Vec::new(),
                suspended_at: None,
                from: Default::default(),
                password_since: None,
                until: None,
                person: None,
            };
            ledger.add_user(user).unwrap();
        }
        let target = Target {
            name: TargetName::parse("db1").unwrap(),
            address: "10.0.0.5:22".to_owned(),
            labels: BTreeMap::new(),
            host_keys: Vec::new(),
            accounts: Default::default(),
            insecure_algorithms: false,
        };
        ledger.add_target(target).unwrap();
        let ways = by("/bin/false").ways();
        let requests = Requests::open(ledger, Arc::clone(&audit), clock.clone(), ways).unwrap();
        let alice = UserName::parse("alice").unwrap();
        let actor = Actor { asker: Asker::plain(&alice, "SHA256:k"), source: "192.0.2.7:4022" };
        let wish = Wish {
            destination: Destination::parse("root@db1").unwrap(),
            span: None,
            from: None,
            channels: None,
            reason: String::from("vacuum is stuck"),
            ticket: None,
        };
        requests.ask(actor, wish).unwrap();
        Self { db, clock, audit, _dir: dir }
    }

    /// The bastion is started anew: what it knows is on disk.
    fn started(&self, settings: NotifySettings) -> Notifier {
        let ledger = Arc::new(Ledger::open(&self.db, rules()).unwrap());
        Notifier::new(settings, ledger, Arc::clone(&self.audit), self.clock.clone()).unwrap()
    }

    fn pass(&self, span: Duration) {
        self.clock.set(self.clock.now().plus(span));
    }

    /// What the log says of messages.
    fn noted(&self) -> Vec<AuditRecord> {
        self.audit.publish().unwrap();
        self.audit.records(0).map(Result::unwrap).filter(|record| record.kind == "notify").collect()
    }
}

fn state(notifier: &Notifier) -> Delivery {
    let messages = notifier.ledger.messages();
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    message.ways[MAIL].clone()
}

#[test]
fn what_was_not_taken_is_tried_again_after_a_restart_and_not_too_soon() {
    let desk = Desk::asked();
    let before = desk.started(by("/bin/false"));
    let start = desk.clock.now();
    assert_eq!(state(&before), Delivery::Waiting { tries: 0, next: start });
    assert!(before.deliver_one(MAIL));
    let next = start.plus(AGAIN);
    assert_eq!(state(&before), Delivery::Waiting { tries: 1, next });
    // Not before its time, by no start.
    assert!(!before.deliver_one(MAIL));
    let after = desk.started(by("/bin/false"));
    assert_eq!(state(&after), Delivery::Waiting { tries: 1, next });
    assert!(!after.deliver_one(MAIL));
    desk.pass(AGAIN);
    assert!(after.deliver_one(MAIL));
    assert_eq!(state(&after), Delivery::Waiting { tries: 2, next: desk.clock.now().plus(AGAIN * 2) });
    let last = desk.started(by("/bin/true"));
    desk.pass(AGAIN * 2);
    assert!(last.deliver_one(MAIL));
    assert_eq!(state(&last), Delivery::Delivered { at: desk.clock.now() });
    assert!(!last.deliver_one(MAIL), "it is sent twice");
    assert_eq!(desk.noted(), [], "what is no alert is on record only where it failed");
}

#[test]
fn what_nobody_takes_for_a_day_is_given_up_and_on_record() {
    let desk = Desk::asked();
    let start = desk.clock.now();
    let mut notifier = desk.started(by("/bin/false"));
    let mut tries = 0;
    while start.until(desk.clock.now()) < TRIED {
        if notifier.deliver_one(MAIL) {
            tries += 1;
        }
        assert!(matches!(state(&notifier), Delivery::Waiting { tries: so_far, .. } if so_far == tries));
        // In the middle of it the bastion is started anew.
        if tries == 20 {
            notifier = desk.started(by("/bin/false"));
        }
        desk.pass(AGAIN_MAX);
    }
    // Soon at first, and then every ten minutes.
    assert!((100..=144).contains(&tries), "{tries}");
    assert_eq!(desk.noted(), []);
    assert!(notifier.deliver_one(MAIL));
    let given_up = state(&notifier);
    assert!(matches!(&given_up, Delivery::GivenUp { at, .. } if *at == desk.clock.now()), "{given_up:?}");
    let noted = desk.noted();
    let [record] = noted.as_slice() else { panic!("{noted:?}") };
    assert_eq!((record.text("way"), record.text("about")), (Some(MAIL), Some("request.create")));
    assert!(record.text("result").unwrap().starts_with("given up: it ends with"), "{record:?}");
    // It is not tried any more, by no start, and is forgotten a week later.
    notifier = desk.started(by("/bin/true"));
    desk.pass(AGAIN_MAX);
    assert!(!notifier.deliver_one(MAIL));
    assert_eq!(state(&notifier), given_up);
    desk.pass(KEPT);
    assert!(!notifier.deliver_one(MAIL));
    assert!(notifier.ledger.messages().is_empty());
}

#[test]
fn a_way_that_is_configured_no_more_takes_nothing() {
    let desk = Desk::asked();
    let notifier = desk.started(NotifySettings::default());
    assert!(notifier.deliver_one(MAIL));
    assert!(matches!(state(&notifier), Delivery::Waiting { tries: 1, .. }));
}
