mod at_once;
mod begun;
mod commands;
mod crashes;
mod limits;
mod order;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::audit::AuditRecord;
use crate::db::Db;
use crate::grant::{Finding, ReviewError};
use crate::ledger::Target;
use crate::model::{AccountName, GroupName, Presence, SessionId, TargetName};
use crate::policy::{PolicyFile, PolicySet};
use crate::tlog::{Algorithm, KeyName, SigningKey};

const RULES: &str = r#"
schema = 1
[[rule]]
id = "dba"
who = { groups = ["dba"] }
where = { targets = ["db1"] }
accounts = ["root"]
channels = ["shell", "exec"]
grant = { max = "1h", total = "2h", approvers = { group = "leads", count = 2 }, ticket = "CHG-[0-9]+" }
[[rule]]
id = "postgres"
who = { groups = ["dba"] }
where = { targets = ["db1"] }
accounts = ["postgres"]
channels = ["shell"]
grant = { max = "1h", approvers = { group = "leads" }, activation = "10m", sessions = 1, bound_key = true }
[[rule]]
id = "emergency"
who = { groups = ["dba"] }
where = { targets = ["db1"] }
accounts = ["backup"]
channels = ["shell"]
key = { touch = true }
break_glass = { max = "30m", review = "2h", reviewers = { group = "leads" } }
[[rule]]
id = "open"
who = { groups = ["dba"] }
where = { targets = ["db1"] }
accounts = ["web"]
channels = ["shell"]
grant = { required = false }
"#;

/// Ends a step here, as a killed process does.
pub(super) fn may_crash(requests: &Requests) -> Result<(), RequestError> {
    let left = requests.crash_after.load(Ordering::SeqCst);
    if left == 0 {
        return Err(RequestError::NoRandomness);
    }
    requests.crash_after.store(left.saturating_sub(1), Ordering::SeqCst);
    Ok(())
}

struct World {
    db: Db,
    clock: Clock,
    audit: Arc<Audit>,
    requests: Requests,
    _dir: tempfile::TempDir,
}

fn ways(count: usize) -> Vec<String> {
    ["a", "b"].into_iter().take(count).map(str::to_owned).collect()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn policy(text: &str) -> PolicySet {
    PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text: text.to_owned() }]).unwrap()
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        let db = Db::in_memory().unwrap();
        let key = SigningKey::from_seed(
            KeyName::parse("example.org/doorward").unwrap(),
            Algorithm::Note,
            crate::secret::Secret::new([7; 32]),
        );
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let audit = Arc::new(Audit::create(&dir.path().join("log"), key.unwrap(), &db, clock.clone()).unwrap());
        let ledger = Ledger::open(&db, policy(RULES)).unwrap();
        for (name, groups) in [
            ("alice", &["dba"][..]),
            ("alice2", &["leads"]),
            ("bob", &["leads"]),
            ("carol", &["leads"]),
            ("dave", &["leads", "dba"]),
            ("mallory", &[]),
        ] {
            ledger
                .add_user(User {
                    name: user(name),
                    groups: groups.iter().map(|group| GroupName::parse(group).unwrap()).collect(),
                    keys: Vec::new(),
                    suspended_at: None,
                    from: BTreeSet::new(),
                    password_since: None,
                    person: (name == "alice2").then(|| user("alice")),
                    until: None,
                })
                .unwrap();
        }
        ledger
            .add_target(Target {
                name: TargetName::parse("db1").unwrap(),
                address: "10.0.0.5:22".to_owned(),
                labels: BTreeMap::new(),
                host_keys: Vec::new(),
                accounts: BTreeSet::from([AccountName::parse("root").unwrap()]),
                insecure_algorithms: false,
                desktop: None,
            })
            .unwrap();
        let requests = Requests::open(Arc::new(ledger), Arc::clone(&audit), clock.clone(), ways(2)).unwrap();
        Self { db, clock, audit, requests, _dir: dir }
    }

    /// The bastion is started anew.
    fn restart(&mut self) {
        let policy = self.requests.ledger.policy();
        let ledger = Arc::new(Ledger::open(&self.db, (*policy).clone()).unwrap());
        self.requests = Requests::open(ledger, Arc::clone(&self.audit), self.clock.clone(), ways(2)).unwrap();
    }

    fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    fn ask(&self, name: &str) -> Result<AccessRequest, RequestError> {
        self.requests.ask(actor(&user(name)), wish("root@db1"))
    }

    fn say(&self, name: &str, id: &RequestId, verdict: Verdict) -> Result<AccessRequest, RequestError> {
        let opinion = Opinion { verdict, span: None, channels: None, note: String::new() };
        self.requests.review(actor(&user(name)), id, opinion)
    }

    fn approved(&self) -> AccessRequest {
        let id = self.ask("alice").unwrap().id;
        self.say("bob", &id, Verdict::Approve).unwrap();
        self.say("carol", &id, Verdict::Approve).unwrap()
    }

    fn records(&self) -> Vec<AuditRecord> {
        self.audit.publish().unwrap();
        self.audit.records(0).collect::<Result<_, _>>().unwrap()
    }

    /// What is stored is what the log tells: how each request stands, and which grants there are and until when.
    fn agrees(&self) {
        let (mut states, mut versions) = (BTreeMap::new(), BTreeMap::new());
        let mut grants: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for record in self.records() {
            let text = |name: &str| record.text(name).unwrap_or_default().to_owned();
            // The same step again says the same.
            if let Some(step) = record.fields.get("step")
                && !seen.insert((text("request"), step.to_string()))
            {
                continue;
            }
            match record.kind.as_str() {
                "breakglass.open" | "notify" | "session.start" | "lock.step" => {}
                "request.create" | "request.step" | "breakglass.review" | "breakglass.overdue" => {
                    let step = record.fields["step"].as_u64().unwrap();
                    assert_eq!(versions.insert(text("request"), step).unwrap_or(0) + 1, step, "a step is missing");
                    let state = if record.kind == "request.create" { "pending".to_owned() } else { text("outcome") };
                    states.insert(text("request"), state);
                }
                "grant.add" if ["break-glass", "beforehand"].iter().any(|word| text("by").contains(word)) => {
                    states.insert(text("request"), "granted".to_owned());
                    let until = Timestamp::parse(&text("until")).unwrap().as_millis();
                    grants.entry(text("grant")).or_insert((until, false));
                }
                "grant.add" => {
                    let until = Timestamp::parse(&text("until")).unwrap().as_millis();
                    grants.entry(text("grant")).or_insert((until, false));
                }
                "grant.extend" => {
                    if seen.insert((text("grant"), text("request"))) {
                        let more = i64::try_from(record.fields["seconds"].as_u64().unwrap()).unwrap();
                        grants.get_mut(&text("grant")).unwrap().0 += more * 1000;
                    }
                }
                "grant.revoke" => grants.get_mut(&text("grant")).unwrap().1 = true,
                other => assert_eq!(other, "no such event"),
            }
        }
        let stored = self.requests.ledger.requests();
        let stored = stored.iter().map(|one| (one.id.to_string(), one.stored.word().to_owned()));
        assert_eq!(stored.collect::<BTreeMap<_, _>>(), states);
        let kept = self.requests.ledger.grants();
        let kept = kept.iter().map(|one| (one.id.to_string(), (one.until.as_millis(), one.revoked.is_some())));
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), grants);
        assert!(self.requests.ledger.unfinished().unwrap().is_empty());
        assert!(self.requests.ledger.owed().unwrap().is_empty());
    }
}

fn actor(user: &UserName) -> Actor<'_> {
    Actor { asker: Asker::plain(user, "SHA256:k"), source: "192.0.2.7:4022" }
}

fn wish(place: &str) -> Wish {
    Wish {
        destination: Destination::parse(place).unwrap(),
        span: None,
        from: None,
        channels: None,
        reason: String::from("CHG-12 vacuum is stuck"),
        ticket: None,
    }
}

#[test]
fn two_people_make_a_grant_and_the_log_has_each_step() {
    let world = World::new();
    let request = world.approved();
    let RequestState::Granted { grant } = &request.stored else { panic!("{request:?}") };
    let grant = world.requests.ledger.grant(grant).unwrap();
    assert_eq!((grant.from.until(grant.until).as_secs(), request.ticket.as_deref()), (3600, Some("CHG-12")));
    assert_eq!((grant.rule.as_ref().unwrap().as_str(), grant.request.as_ref()), ("dba", Some(&request.id)));
    world.agrees();
}

#[test]
fn what_rules_do_not_offer_is_refused() {
    let world = World::new();
    let ask = |name: &str, change: &dyn Fn(&mut Wish)| {
        let mut wish = wish("root@db1");
        change(&mut wish);
        world.requests.ask(actor(&user(name)), wish).unwrap_err()
    };
    assert!(matches!(ask("mallory", &|_| {}), RequestError::NotOffered));
    assert!(matches!(ask("nobody", &|_| {}), RequestError::Suspended));
    let to = |place: &'static str| move |wish: &mut Wish| wish.destination = Destination::parse(place).unwrap();
    assert!(matches!(ask("alice", &to("root@db2")), RequestError::NotOffered));
    assert!(matches!(ask("alice", &to("oracle@db1")), RequestError::NotOffered));
    assert!(matches!(ask("alice", &to("web@db1")), RequestError::Needless));
    assert!(matches!(ask("alice", &|wish| wish.span = Some(HOUR * 2)), RequestError::Span { most: HOUR }));
    assert!(matches!(ask("alice", &|wish| wish.span = Some(Duration::ZERO)), RequestError::Span { .. }));
    assert!(matches!(ask("alice", &|wish| wish.reason.clear()), RequestError::Reason));
    assert!(matches!(ask("alice", &|wish| wish.reason = "x".into()), RequestError::Ticket));
    assert!(matches!(ask("alice", &|wish| wish.ticket = Some("INC-1".into())), RequestError::Ticket));
    assert!(matches!(ask("alice", &|wish| wish.reason = "é".repeat(401)), RequestError::TooLong { .. }));
    let sftp = BTreeSet::from([ChannelClass::SftpRead]);
    assert!(matches!(ask("alice", &|wish| wish.channels = Some(sftp.clone())), RequestError::Channels { .. }));
    assert!(world.requests.ledger.requests().is_empty());
}

// Dave is of both groups: he may ask, and approve for others.
#[test]
fn a_request_that_nobody_could_approve_is_not_taken() {
    let world = World::new();
    for name in ["bob", "carol", "alice2"] {
        let mut gone = world.requests.ledger.user(&user(name)).unwrap();
        gone.groups.clear();
        world.requests.ledger.set_user(gone).unwrap();
    }
    assert!(matches!(world.ask("dave"), Err(RequestError::NoReviewers { .. })));
}

#[test]
fn an_approver_who_is_suspended_between_does_not_count() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    world.say("bob", &id, Verdict::Approve).unwrap();
    let mut bob = world.requests.ledger.user(&user("bob")).unwrap();
    bob.suspended_at = Some(world.clock.now());
    world.requests.ledger.set_user(bob).unwrap();
    assert_eq!(world.say("carol", &id, Verdict::Approve).unwrap().stored, RequestState::Pending);
    assert!(matches!(world.say("bob", &id, Verdict::Approve), Err(RequestError::Suspended)));
    assert!(matches!(world.say("dave", &id, Verdict::Approve).unwrap().stored, RequestState::Granted { .. }));
    world.agrees();
}

#[test]
fn a_policy_that_changed_between_supersedes() {
    let world = World::new();
    for (change, to) in
        [("count = 2", "count = 1"), ("max = \"1h\", total", "max = \"30m\", total"), ("\"exec\"", "\"sftp-read\"")]
    {
        let id = world.ask("alice").unwrap().id;
        world.say("bob", &id, Verdict::Approve).unwrap();
        world.requests.ledger.set_policy(policy(&RULES.replace(change, to)));
        assert!(matches!(world.say("carol", &id, Verdict::Approve), Err(RequestError::Overtaken(_))), "{to}");
        assert_eq!(world.requests.ledger.request(&id).unwrap().stored, RequestState::Superseded);
        world.requests.ledger.set_policy(policy(RULES));
    }
    world.agrees();
}

#[test]
fn an_approval_after_expiry_is_none() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    world.pass(24 * 3600);
    assert!(matches!(
        world.say("bob", &id, Verdict::Approve),
        Err(RequestError::Review(ReviewError::NotPending(RequestState::Expired)))
    ));
    assert_eq!(world.requests.tidy().unwrap(), 1);
    world.agrees();
    // Kept for as long as they are listed, and forgotten after.
    world.pass(KEPT.as_secs());
    world.requests.tidy().unwrap();
    assert!(world.requests.ledger.requests().is_empty());
}

#[test]
fn a_revoked_grant_is_lengthened_by_nobody() {
    let world = World::new();
    let request = world.approved();
    let who = user("alice");
    let more = world.requests.extend(actor(&who), &request.id, None, None).unwrap();
    world.say("bob", &more.id, Verdict::Approve).unwrap();
    world.requests.give_back(actor(&who), &request.id).unwrap();
    assert!(matches!(world.say("carol", &more.id, Verdict::Approve), Err(RequestError::Overtaken(_))));
    assert!(matches!(world.requests.extend(actor(&who), &request.id, None, None), Err(RequestError::GrantOver)));
    world.agrees();
}

#[test]
fn what_was_approved_begins_once_and_only_with_the_key_that_asked() {
    let world = World::new();
    let who = user("alice");
    let place = Destination::parse("postgres@db1").unwrap();
    let id = world.requests.ask(actor(&who), wish("postgres@db1")).unwrap().id;
    world.say("bob", &id, Verdict::Approve).unwrap();
    assert!(world.requests.waits_at(&who, &place));
    let other = Asker::plain(&who, "SHA256:other");
    let begin = |asker| world.requests.begin_at(Actor { asker, source: "x" }, &place, ChannelClass::Shell);
    assert_eq!(begin(other).unwrap(), None);
    assert!(begin(actor(&who).asker).unwrap().is_some());
    assert_eq!(begin(actor(&who).asker).unwrap(), None);
    let grants = world.requests.ledger.grants();
    let [grant] = grants.as_slice() else { panic!("{grants:?}") };
    let may = |key| {
        let asker = Asker::plain(&who, key);
        world.requests.ledger.permit(asker, &place, ChannelClass::Shell, world.clock.now()).is_ok()
    };
    assert!(may("SHA256:k") && !may("SHA256:other"));
    let ledger = &world.requests.ledger;
    let [one, two] = [1, 2].map(|number| SessionId::from_parts(world.clock.now(), number));
    ledger.begin_on(&grant.id, &one, 0).unwrap();
    assert!(matches!(ledger.begin_on(&grant.id, &two, 0), Err(LedgerError::Spent { .. })));
    ledger.not_begun_on(&grant.id, &one).unwrap();
    ledger.begin_on(&grant.id, &two, 0).unwrap();
    // Too late is too late.
    let late = world.requests.ask(actor(&who), wish("postgres@db1")).unwrap().id;
    world.say("bob", &late, Verdict::Approve).unwrap();
    world.pass(600);
    assert!(matches!(world.requests.begin(actor(&who), &late), Err(RequestError::NotApproved(_))));
}

#[test]
fn a_grant_is_lengthened_by_no_more_than_the_rule_lets_it_last_now() {
    let world = World::new();
    let (first, who) = (world.approved(), user("alice"));
    let more = world.requests.extend(actor(&who), &first.id, Some(HOUR), None).unwrap();
    world.say("bob", &more.id, Verdict::Approve).unwrap();
    world.requests.ledger.set_policy(policy(&RULES.replace("total = \"2h\"", "total = \"90m\"")));
    assert!(matches!(world.say("carol", &more.id, Verdict::Approve), Err(RequestError::Overtaken(_))));
    world.agrees();
}

#[test]
fn an_extension_takes_as_many_as_the_grant_and_changes_nothing_but_its_time() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    let shell = BTreeSet::from([ChannelClass::Shell]);
    let less = Opinion { verdict: Verdict::Approve, span: None, channels: Some(shell.clone()), note: String::new() };
    world.requests.review(actor(&user("bob")), &id, less.clone()).unwrap();
    world.say("carol", &id, Verdict::Approve).unwrap();
    // A rule that became laxer does not make the extension of a grant of two people one of one.
    world.requests.ledger.set_policy(policy(&RULES.replace("count = 2", "count = 1")));
    let more = world.requests.extend(actor(&user("alice")), &id, None, None).unwrap();
    assert_eq!((more.quorum.approvers.count, &more.channels), (2, &shell));
    assert!(matches!(world.requests.review(actor(&user("bob")), &more.id, less), Err(RequestError::OnlyTime)));
    assert_eq!(world.say("bob", &more.id, Verdict::Approve).unwrap().stored, RequestState::Pending);
    assert!(matches!(world.say("carol", &more.id, Verdict::Approve).unwrap().stored, RequestState::Granted { .. }));
    world.agrees();
}

#[test]
fn who_turns_out_to_be_the_same_human_decides_nothing() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    let mut bob = world.requests.ledger.user(&user("bob")).unwrap();
    bob.person = Some(user("alice"));
    world.requests.ledger.set_user(bob).unwrap();
    assert!(matches!(world.say("bob", &id, Verdict::Approve), Err(RequestError::Review(ReviewError::Self_))));
    // Nor breaks the glass that the same human has left unreviewed.
    breaks(&world, "alice", true).unwrap();
    let mut dave = world.requests.ledger.user(&user("dave")).unwrap();
    dave.person = Some(user("alice"));
    world.requests.ledger.set_user(dave).unwrap();
    world.pass(2 * 3600);
    assert!(matches!(breaks(&world, "dave", true), Err(RequestError::Unreviewed(_))));
}

#[test]
fn what_was_misused_ends_at_once_and_no_other_glass_is_broken() {
    let world = World::new();
    let broken = breaks(&world, "alice", true).unwrap();
    let finding = Finding::Misuse;
    world.requests.judge(actor(&user("bob")), &broken.id, finding, "she read mail").unwrap();
    let grants = world.requests.ledger.grants();
    assert!(grants.iter().all(|grant| grant.revoked.is_some()));
    assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Misused(_))));
    world.agrees();
}

#[test]
fn one_glass_after_the_other_is_no_standing_right() {
    let world = World::new();
    for _ in 0..3 {
        breaks(&world, "alice", true).unwrap();
        world.pass(1800);
    }
    assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Unreviewed(_))));
}

#[test]
fn who_was_removed_while_it_was_decided_gets_no_grant() {
    let world = World::new();
    let id = world.ask("alice").unwrap().id;
    world.say("bob", &id, Verdict::Approve).unwrap();
    // Stored, on record, and then the user goes before it takes effect.
    world.requests.crash_after.store(1, Ordering::SeqCst);
    assert!(world.say("carol", &id, Verdict::Approve).is_err());
    let by = Revoked { by: String::from("uid 0"), at: world.clock.now(), reason: None };
    world.requests.ledger.remove_user(&user("alice"), &by).unwrap();
    let mut world = world;
    world.restart();
    let grants = world.requests.ledger.grants();
    assert!(grants.len() == 1 && grants.iter().all(|grant| grant.revoked.is_some()), "{grants:?}");
    world.agrees();
}

#[test]
fn the_largest_request_there_can_be_has_room_in_the_store() {
    let world = World::new();
    let wide = RULES.replace("count = 2", "count = 8");
    world.requests.ledger.set_policy(policy(&wide));
    for number in 0..56 {
        let name = format!("lead-with-a-name-of-32-chars-{number:03}");
        let lead = User {
            name: user(&name),
            groups: BTreeSet::from([GroupName::parse("leads").unwrap()]),
            keys: Vec::new(),
            suspended_at: None,
            from: BTreeSet::new(),
            password_since: None,
            person: None,
            until: None,
        };
        world.requests.ledger.add_user(lead).unwrap();
    }
    let reason = format!("CHG-12 {}", "\"\\".repeat(196));
    let wish = Wish { reason, ..wish("root@db1") };
    let id = world.requests.ask(actor(&user("alice")), wish).unwrap().id;
    let note = "\"\\".repeat(500);
    for number in 0..8 {
        let opinion = Opinion { verdict: Verdict::Approve, span: None, channels: None, note: note.clone() };
        let name = user(&format!("lead-with-a-name-of-32-chars-{number:03}"));
        world.requests.review(actor(&name), &id, opinion).unwrap();
    }
    assert_eq!(world.requests.ledger.grants().len(), 1);
    world.agrees();
}

#[test]
fn what_was_approved_beforehand_begins_at_once_and_only_in_its_window() {
    // The clock stands at nine on a Monday.
    let window = |hours: &str, until: &str| {
        let window = format!(
            "ticket = \"CHG-[0-9]+\", preapproved = [{{ when = {{ days = \"Mon\", hours = \"{hours}\", zone = \"UTC\" }}, \
             max = \"30m\", until = \"{until}\" }}] }}"
        );
        policy(&RULES.replacen("ticket = \"CHG-[0-9]+\" }", &window, 1))
    };
    let next_year = "2027-01-01T00:00:00Z";
    let cases = [
        ("08:00-10:00", next_year, 1800, true),
        // Longer than was approved, and beyond the window's end.
        ("08:00-10:00", next_year, 1801, false),
        ("08:00-09:20", next_year, 1800, false),
        ("10:00-12:00", next_year, 1800, false),
        ("08:00-10:00", "2026-11-23T09:00:00Z", 1800, false),
    ];
    for (hours, until, seconds, at_once) in cases {
        let world = World::new();
        world.requests.ledger.set_policy(window(hours, until));
        let wish = Wish { span: Some(Duration::from_secs(seconds)), ..wish("root@db1") };
        let asked = world.requests.ask(actor(&user("alice")), wish.clone()).unwrap();
        assert_eq!(matches!(asked.stored, RequestState::Granted { .. }), at_once, "{hours} {until} {seconds}");
        assert_eq!(world.requests.ledger.grants().len(), usize::from(at_once));
        // The reason and the ticket are wanted all the same.
        let without = Wish { reason: String::from("no ticket"), ..wish };
        assert!(matches!(world.requests.ask(actor(&user("alice")), without), Err(RequestError::Ticket)));
        world.agrees();
    }
}

// A server that is killed at each step of each transition.
#[test]
fn a_crash_leaves_state_and_log_agreed_and_loses_nothing_that_was_said_to_be_done() {
    type Act = fn(&World, &RequestId) -> Result<AccessRequest, RequestError>;
    let alice = || user("alice");
    let acts: [(&str, Act); 8] = [
        ("ask", |world, _| world.ask("alice")),
        ("approve", |world, id| world.say("carol", id, Verdict::Approve)),
        ("deny", |world, id| world.say("carol", id, Verdict::Deny)),
        ("cancel", |world, id| world.requests.cancel(actor(&user("alice")), id)),
        ("begin", |world, id| world.requests.begin(actor(&user("alice")), id)),
        ("extend", |world, id| world.requests.extend(actor(&user("alice")), id, None, None)),
        ("break-glass", |world, _| breaks(world, "alice", true)),
        ("review", |world, id| judges(world, "bob", id)),
    ];
    let mut crashed = 0;
    for (name, act) in acts {
        for writes in 0..4 {
            let mut world = World::new();
            let id = match name {
                "begin" => {
                    let id = world.requests.ask(actor(&alice()), wish("postgres@db1")).unwrap().id;
                    world.say("bob", &id, Verdict::Approve).unwrap().id
                }
                "extend" => world.approved().id,
                "review" => {
                    let id = breaks(&world, "alice", true).unwrap().id;
                    world.pass(1800);
                    id
                }
                _ => {
                    let id = world.ask("alice").unwrap().id;
                    world.say("bob", &id, Verdict::Approve).unwrap().id
                }
            };
            let before = world.requests.ledger.requests().len();
            world.requests.crash_after.store(writes, Ordering::SeqCst);
            let done = act(&world, &id);
            world.restart();
            world.agrees();
            let now = world.requests.ledger.requests();
            match done {
                // Told that it is done: it is, and the same.
                Ok(request) => assert!(now.contains(&request), "{name} {writes}"),
                // Nobody was told; it has happened all the same, for it was meant, and is on record.
                Err(RequestError::NoRandomness) => {
                    crashed += 1;
                    assert!(
                        now.len() > before || now.iter().any(|one| one.version > if name == "review" { 1 } else { 2 }),
                        "{name} {writes}"
                    );
                }
                Err(other) => panic!("{name} {writes}: {other}"),
            }
            // And the request can be worked on.
            world.requests.tidy().unwrap();
        }
    }
    assert!(crashed >= 12, "{crashed}");
}

fn breaks(world: &World, name: &str, touched: bool) -> Result<AccessRequest, RequestError> {
    let user = user(name);
    let presence = Presence { touch: touched, pin: false };
    let actor = Actor { asker: Asker { presence, ..Asker::plain(&user, "SHA256:k") }, source: "192.0.2.7:4022" };
    let place = Destination::parse("backup@db1").unwrap();
    world.requests.break_glass(actor, place, None, "the primary is down, nobody answers")
}

fn judges(world: &World, name: &str, id: &RequestId) -> Result<AccessRequest, RequestError> {
    world.requests.judge(actor(&user(name)), id, Finding::Ok, "seen in the recording")
}

#[test]
fn a_broken_glass_is_told_before_it_opens_anything_and_reviewed_by_somebody_else() {
    let world = World::new();
    assert!(matches!(breaks(&world, "alice", false), Err(RequestError::NeedsKey(_))));
    assert!(matches!(breaks(&world, "mallory", true), Err(RequestError::NotOffered)));
    let broken = breaks(&world, "alice", true).unwrap();
    let RequestState::Granted { grant } = &broken.stored else { panic!("{broken:?}") };
    let grant = world.requests.ledger.grant(grant).unwrap();
    assert_eq!((grant.from.until(grant.until).as_secs(), grant.rule.as_ref().unwrap().as_str()), (1800, "emergency"));
    assert_eq!(grant.bound_key.as_deref(), Some("SHA256:k"));
    let messages = world.requests.ledger.messages();
    let [alert] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(alert.alert && alert.ways.len() == 2 && alert.subject.contains("alice breaks the glass"), "{alert:?}");
    assert_eq!(alert.to, ["bob", "carol", "dave"].map(user).into());
    for own in ["alice", "alice2"] {
        assert!(matches!(
            judges(&world, own, &broken.id),
            Err(RequestError::Review(ReviewError::Self_) | RequestError::Unknown)
        ));
    }
    assert!(matches!(judges(&world, "mallory", &broken.id), Err(RequestError::Unknown)));
    // Nobody approves afterwards what nobody approved before.
    assert!(matches!(world.say("bob", &broken.id, Verdict::Approve), Err(RequestError::Review(_))));
    assert!(matches!(judges(&world, "bob", &broken.id), Err(RequestError::NotOver)));
    world.pass(1800);
    judges(&world, "bob", &broken.id).unwrap();
    assert!(matches!(judges(&world, "carol", &broken.id), Err(RequestError::Review(ReviewError::Again))));
    world.agrees();
}

#[test]
fn whoever_broke_a_glass_that_nobody_reviewed_in_time_breaks_no_other() {
    let mut world = World::new();
    let broken = breaks(&world, "alice", true).unwrap();
    world.pass(2 * 3600 - 1);
    world.requests.tidy().unwrap();
    assert!(breaks(&world, "alice", true).is_ok());
    world.pass(1);
    assert!(matches!(breaks(&world, "alice", true), Err(RequestError::Unreviewed(other)) if other == broken.id));
    // Told once more, whatever happens, and not again and again.
    world.restart();
    for _ in 0..3 {
        world.requests.tidy().unwrap();
    }
    let told = world.requests.ledger.messages();
    assert_eq!(told.iter().filter(|one| one.event == "breakglass.overdue").count(), 1, "{told:?}");
    judges(&world, "bob", &broken.id).unwrap();
    assert!(breaks(&world, "alice", true).is_ok());
    world.agrees();
    // It is kept until it is reviewed.
    let unreviewed =
        world.requests.ledger.requests_where(|one| one.glass.as_ref().is_some_and(|glass| glass.judged.is_none()));
    world.pass(KEPT.as_secs() * 2);
    world.requests.tidy().unwrap();
    let left = world.requests.ledger.requests();
    assert_eq!(left.len(), unreviewed.len());
}

#[test]
fn without_two_ways_to_tell_anybody_no_glass_is_broken() {
    let mut world = World::new();
    world.requests.ways = ways(1);
    assert!(matches!(breaks(&world, "alice", true), Err(RequestError::NoAlert)));
    assert!(world.requests.ledger.grants().is_empty());
}

#[test]
fn a_ticket_counts_only_while_somebody_says_so() {
    let world = World::new();
    let check: TicketCheck = Box::new(|ticket, user, place| match (ticket, user.as_str(), place.target.as_str()) {
        ("CHG-12", "alice", "db1") => Ok(TicketSaid { host: "t".into(), status: 200, at: Timestamp::from_millis(7) }),
        _ => Err(String::from("no")),
    });
    let requests = world.requests.checked_by(Some(check));
    assert!(requests.ask(actor(&user("alice")), wish("root@db1")).is_ok());
    let other = Wish { ticket: Some(String::from("CHG-13")), ..wish("root@db1") };
    assert!(matches!(requests.ask(actor(&user("alice")), other), Err(RequestError::TicketRefused(_))));
}

#[test]
fn two_approvals_at_once_count_twice_and_make_one_grant() {
    for _ in 0..20 {
        let world = World::new();
        let id = world.ask("alice").unwrap().id;
        std::thread::scope(|scope| {
            for name in ["bob", "carol", "dave"] {
                let (world, id) = (&world, &id);
                scope.spawn(move || drop(world.say(name, id, Verdict::Approve)));
            }
        });
        assert_eq!(world.requests.ledger.grants().len(), 1);
        world.agrees();
    }
}

#[derive(Debug, Clone)]
enum Move {
    Ask(usize),
    Say(usize, usize, bool),
    Extend(usize),
    Cancel(usize),
    GiveBack(usize),
    Pass(u64),
    Suspend(usize, bool),
    Policy(bool),
    Crash(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0_usize..6).prop_map(Move::Ask),
        12 => (0_usize..6, 0_usize..4, prop::bool::weighted(0.9)).prop_map(|(who, which, yes)| Move::Say(who, which, yes)),
        3 => (0_usize..4).prop_map(Move::Extend),
        1 => (0_usize..4).prop_map(Move::Cancel),
        1 => (0_usize..4).prop_map(Move::GiveBack),
        2 => (1_u64..4000).prop_map(Move::Pass),
        1 => (0_usize..6, any::<bool>()).prop_map(|(who, on)| Move::Suspend(who, on)),
        1 => any::<bool>().prop_map(Move::Policy),
        2 => (0_usize..3).prop_map(Move::Crash),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // In whatever order things happen, and wherever the bastion is killed: no grant without its approvals, none longer than
    // approved, none revived; and the log tells what is stored.
    #[test]
    fn no_order_of_events_makes_a_right_that_nobody_gave(moves in moves()) {
        let names = ["alice", "alice2", "bob", "carol", "dave", "mallory"];
        let mut world = World::new();
        let mut revoked = BTreeSet::new();
        for step in moves {
            let all: Vec<RequestId> = {
                let mut all = world.requests.ledger.requests();
                all.sort_by_key(|one| std::cmp::Reverse((one.asked, one.id.clone())));
                all.into_iter().map(|one| one.id).collect()
            };
            let alice = user("alice");
            match step {
                Move::Ask(who) => drop(world.ask(names[who])),
                Move::Say(who, which, yes) => {
                    let verdict = if yes { Verdict::Approve } else { Verdict::Deny };
                    if let Some(id) = all.get(which) { drop(world.say(names[who], id, verdict)) }
                }
                Move::Extend(which) => {
                    if let Some(id) = all.get(which) { drop(world.requests.extend(actor(&alice), id, None, None)) }
                }
                Move::Cancel(which) => {
                    if let Some(id) = all.get(which) { drop(world.requests.cancel(actor(&alice), id)) }
                }
                Move::GiveBack(which) => {
                    if let Some(id) = all.get(which) { drop(world.requests.give_back(actor(&alice), id)) }
                }
                Move::Pass(seconds) => world.pass(seconds),
                Move::Suspend(who, on) => {
                    let mut stored = world.requests.ledger.user(&user(names[who])).unwrap();
                    stored.suspended_at = on.then(|| world.clock.now());
                    world.requests.ledger.set_user(stored).unwrap();
                }
                Move::Policy(strict) => {
                    let text = if strict { RULES.replace("count = 2", "count = 3") } else { RULES.to_owned() };
                    world.requests.ledger.set_policy(policy(&text));
                }
                Move::Crash(after) => {
                    // It strikes the next change.
                    if after > 0 { world.requests.crash_after.store(after - 1, Ordering::SeqCst) } else { world.restart() }
                }
            }
            if world.requests.crash_after.load(Ordering::SeqCst) == 0 {
                world.restart();
            }
            for grant in world.requests.ledger.grants() {
                let request = world.requests.ledger.request(grant.request.as_ref().unwrap()).unwrap();
                let people: BTreeSet<_> = request
                    .reviews
                    .iter()
                    .filter(|review| review.verdict == Verdict::Approve)
                    .map(|review| review.person.clone())
                    .collect();
                prop_assert!(people.len() >= usize::from(request.quorum.approvers.count).max(2));
                prop_assert!(!people.contains(&request.person) && !people.contains(&user("mallory")));
                prop_assert!(grant.from.until(grant.until) <= HOUR * 2);
                if grant.revoked.is_some() { revoked.insert(grant.id.clone()); }
                prop_assert_eq!(revoked.contains(&grant.id), grant.revoked.is_some());
            }
        }
        world.restart();
        world.agrees();
    }
}

mod glass;
mod set_back;
mod told;
