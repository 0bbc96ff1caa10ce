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
            desktop: None,
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

/// A hook that answers 204 to so many calls and dies in the middle of the next one.
fn hook_at(port: u16, calls: usize) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let mut taken = Vec::new();
        for stream in listener.incoming() {
            let (mut stream, mut text, mut piece) = (stream.unwrap(), String::new(), [0_u8; 4096]);
            while !text.trim_end().ends_with('}') {
                let read = stream.read(&mut piece).unwrap();
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            if taken.len() == calls {
                return taken;
            }
            taken.push(text);
            stream.write_all(b"HTTP/1.1 204 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
        taken
    });
    (port, serving)
}

/// An alert about a command, for all of these ways.
fn alert(number: usize, at: Timestamp, ways: &[String]) -> Message {
    let facts = CommandFacts {
        others: 0,
        level: AlertLevel::High,
        session: crate::model::SessionId::from_parts(at, 1),
        second: 5,
        user: UserName::parse("alice").unwrap(),
        destination: Destination::parse("root@db1").unwrap(),
        line: String::from("rm -rf <srv>"),
        mode: String::from("strict"),
        verdict: String::from("deny"),
        prevented: true,
        rule: None,
        policy: "0".repeat(64),
    };
    let first = Delivery::Waiting { tries: 0, next: at };
    Message {
        id: format!("m-{number:04}"),
        at,
        event: String::from("command.refused"),
        request: RequestId::parse("d-7k2mq4x9").unwrap(),
        to: BTreeSet::new(),
        subject: String::from("ALERT (high): alice ..."),
        text: String::from("ALERT (high): alice ..."),
        alert: true,
        command: Some(Box::new(facts)),
        ways: ways.iter().map(|way| (way.clone(), first.clone())).collect(),
    }
}

fn hooked(port: u16, secret: Option<PathBuf>) -> NotifySettings {
    let url = format!("http://127.0.0.1:{port}/");
    NotifySettings { webhooks: vec![Webhook { url, token: None, secret }], ..NotifySettings::default() }
}

#[test]
fn a_receiver_that_is_killed_in_mid_batch_has_all_alerts_in_the_end() {
    let desk = Desk::asked();
    let (port, dying) = hook_at(0, 7);
    let (settings, start) = (hooked(port, None), desk.clock.now());
    let ways = settings.ways_of_alerts();
    let notifier = desk.started(settings.clone());
    for number in 0..20 {
        notifier.ledger.add_message(&alert(number, start, &ways)).unwrap();
    }
    while notifier.deliver_one(&ways[0]) {}
    let first = dying.join().unwrap();
    assert_eq!(first.len(), 7);
    // So is the bastion, and all that was not taken is on its disk.
    drop(notifier);
    let notifier = desk.started(settings);
    desk.pass(AGAIN);
    let (_, serving) = hook_at(port, 13);
    while notifier.deliver_one(&ways[0]) {}
    let left = |message: &Message| !message.ways[&ways[0]].is_over();
    let left = notifier.ledger.messages().into_iter().filter(|message| message.alert && left(message)).count();
    assert_eq!(left, 0, "alerts that nobody has");
    // The one that ends it.
    notifier.ledger.add_message(&alert(99, desk.clock.now(), &ways)).unwrap();
    assert!(notifier.deliver_one(&ways[0]));
    let all = [first, serving.join().unwrap()].concat();
    for number in 0..20 {
        let times = all.iter().filter(|said| said.contains(&format!("m-{number:04}"))).count();
        assert_eq!(times, 1, "alert {number}");
    }
    let delivered = desk.noted().iter().filter(|record| record.text("result") == Some("delivered")).count();
    assert_eq!(delivered, 20, "each is on record");
}

#[test]
fn a_webhook_knows_by_its_secret_that_a_message_is_ours() {
    let desk = Desk::asked();
    let secret = desk._dir.path().join("secret");
    crate::durable::create_new(&secret, b"0123456789abcdef0123\n", 0o600).unwrap();
    let (port, serving) = hook_at(0, 1);
    let settings = hooked(port, Some(secret.clone()));
    let ways = settings.ways_of_alerts();
    let notifier = desk.started(settings.clone());
    notifier.ledger.add_message(&alert(1, desk.clock.now(), &ways)).unwrap();
    notifier.ledger.add_message(&alert(2, desk.clock.now(), &ways)).unwrap();
    while notifier.deliver_one(&ways[0]) {}
    let said = serving.join().unwrap().pop().unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let signature = head.lines().find_map(|line| line.strip_prefix("doorward-signature: sha256=")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef0123");
    assert_eq!(signature, crate::store::hex(hmac::sign(&key, body.as_bytes()).as_ref()));
    let posted: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(posted["command"]["line"], "rm -rf <srv>", "{body}");
    assert_eq!((&posted["command"]["level"], &posted["event"]), (&"high".into(), &"command.refused".into()));

    let short = desk._dir.path().join("short");
    crate::durable::create_new(&short, b"short\n", 0o600).unwrap();
    let settings = hooked(port, Some(short));
    let ledger = Arc::new(Ledger::open(&desk.db, rules()).unwrap());
    assert!(Notifier::new(settings, ledger, Arc::clone(&desk.audit), desk.clock.clone()).is_err());
}

#[test]
fn an_alert_goes_to_a_program_and_a_collector_of_logs_and_nothing_else_does() {
    let desk = Desk::asked();
    let told = desk._dir.path().join("told");
    let collector = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let settings = NotifySettings {
        alert_command: vec![String::from("/usr/bin/tee"), told.display().to_string()],
        syslog: vec![Syslog::Udp(collector.local_addr().unwrap().to_string())],
        ..NotifySettings::default()
    };
    assert!(settings.ways().is_empty(), "requests go there");
    let ways = settings.ways_of_alerts();
    let notifier = desk.started(settings);
    notifier.ledger.add_message(&alert(1, desk.clock.now(), &ways)).unwrap();
    for way in &ways {
        while notifier.deliver_one(way) {}
    }
    let told: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(told).unwrap()).unwrap();
    assert_eq!(told["command"]["user"], "alice", "{told}");
    let mut bytes = [0_u8; 4096];
    let length = collector.recv(&mut bytes).unwrap();
    let line = std::str::from_utf8(&bytes[..length]).unwrap();
    assert!(line.starts_with("<82>1 ") && line.contains(" command.refused - "), "{line}");
    let (_, json) = line.split_once('\u{feff}').unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["command"]["policy"], "0".repeat(64));
}
