//! Commands that wait for a yes.

use super::*;
use crate::audit::CommandJudged;
use crate::gate::verdict::{AlertLevel, ApprovalNeed};
use crate::ledger::CommandFacts;
use crate::model::RuleId;
use crate::policy::{Approvers, PolicyHash};
use crate::requests::command::{CommandWish, HeldCommand, bound_to, new_decision};

fn judged(name: &str) -> CommandJudged {
    CommandJudged {
        decision: new_decision().unwrap(),
        session: SessionId::from_parts(Timestamp::from_millis(1), 1),
        channel: None,
        user: user(name),
        destination: Destination::parse("root@db1").unwrap(),
        mode: String::from("strict"),
        verdict: String::from("approve"),
        rule: Some(RuleId::parse("drain").unwrap()),
        because: String::from("rule drain"),
        policy: "0".repeat(64),
        line: String::from("drain web3"),
        sent: Some(String::from("/usr/local/bin/drain web3")),
        starts: Vec::new(),
        alert: None,
        second: None,
        confidence: None,
        approved_by: Vec::new(),
        note: None,
    }
}

impl World {
    fn hold(&self, name: &str, count: u8) -> Result<HeldCommand, RequestError> {
        let approvers = Approvers {
            users: BTreeSet::new(),
            groups: BTreeSet::from([GroupName::parse("leads").unwrap()]),
            count,
            distinct_groups: false,
            key: Presence::NONE,
            mfa_seconds: None,
        };
        let policy: PolicyHash = self.requests.ledger.policy().hash().clone();
        let judged = judged(name);
        let wish = CommandWish {
            bound: bound_to(&judged.session, &policy, b"drain"),
            need: ApprovalNeed { approvers, within: Duration::from_secs(600) },
            rule: RuleId::parse("dba").unwrap(),
            policy,
            purpose: String::from("CHG-12"),
            reason: None,
            judged,
        };
        self.requests.hold_command(actor(&user(name)), wish).map(|(held, _)| held)
    }

    fn speak(&self, name: &str, id: &RequestId, verdict: Verdict) -> Result<HeldCommand, RequestError> {
        let opinion = Opinion { verdict, span: None, channels: None, note: String::new() };
        self.requests.review_command(actor(&user(name)), id, opinion)
    }

    fn results(&self, id: &RequestId) -> Vec<String> {
        let of = |record: &AuditRecord| record.kind == "command.step" && record.text("decision") == Some(id.as_str());
        let records = self.records().into_iter().filter(of);
        records.map(|record| record.text("result").unwrap().to_owned()).collect()
    }
}

#[test]
fn t18_a_yes_is_of_others_as_many_as_it_takes_and_for_one_time() {
    let world = World::new();
    let held = world.hold("alice", 2).unwrap();
    let (id, bound) = (held.request.id.clone(), held.wish.bound.clone());
    for own in ["alice", "alice2"] {
        let error = world.speak(own, &id, Verdict::Approve).unwrap_err();
        assert!(matches!(error, RequestError::Review(ReviewError::Self_)), "{own}: {error:?}");
    }
    assert!(matches!(world.speak("mallory", &id, Verdict::Approve), Err(RequestError::Unknown)));
    assert_eq!(world.speak("bob", &id, Verdict::Approve).unwrap().request.stored, RequestState::Pending);
    assert!(matches!(world.speak("bob", &id, Verdict::Approve), Err(RequestError::Review(ReviewError::Again))));
    let approved = world.speak("carol", &id, Verdict::Approve).unwrap();
    assert!(matches!(approved.request.stored, RequestState::Approved { .. }));
    assert_eq!(world.requests.use_command(&id, &bound), Ok(vec![user("bob"), user("carol")]));
    assert!(world.requests.use_command(&id, &bound).is_err(), "it is used twice");
    assert_eq!(world.results(&id), ["approved", "approved"]);
}

#[test]
fn a_yes_counts_for_nothing_else_and_not_too_late_and_not_of_one_who_has_left() {
    let world = World::new();
    let approved = || {
        let held = world.hold("alice", 1).unwrap();
        world.speak("bob", &held.request.id, Verdict::Approve).unwrap()
    };
    let held = approved();
    let other = bound_to(&held.wish.judged.session, &held.wish.policy, b"drain all");
    assert_ne!(held.wish.bound, other);
    assert!(world.requests.use_command(&held.request.id, &other).unwrap_err().contains("rules have changed"));
    assert!(world.requests.use_command(&held.request.id, &held.wish.bound).is_err(), "it is used by a failure");
    let held = approved();
    world.pass(600);
    assert!(world.requests.use_command(&held.request.id, &held.wish.bound).unwrap_err().contains("time"));
    let held = approved();
    let mut bob = world.requests.ledger.user(&user("bob")).unwrap();
    bob.suspended_at = Some(world.clock.now());
    world.requests.ledger.set_user(bob).unwrap();
    assert!(world.requests.use_command(&held.request.id, &held.wish.bound).unwrap_err().contains("too few"));
    let held = world.hold("alice", 1).unwrap();
    assert!(world.requests.use_command(&held.request.id, &held.wish.bound).unwrap_err().contains("nobody"));
}

#[test]
fn one_no_is_enough_and_what_waits_no_longer_is_on_record_once() {
    let world = World::new();
    let held = world.hold("alice", 2).unwrap();
    let id = held.request.id.clone();
    world.speak("bob", &id, Verdict::Deny).unwrap();
    assert!(world.speak("carol", &id, Verdict::Approve).is_err());
    assert!(world.requests.use_command(&id, &held.wish.bound).is_err());
    let held = world.hold("alice", 1).unwrap();
    assert!(world.requests.close_command(&held.request.id, "withdrawn", "", "alice"));
    assert!(!world.requests.close_command(&held.request.id, "expired", "", "the bastion"));
    assert_eq!(
        (world.results(&id), world.results(&held.request.id)),
        (vec!["denied".into()], vec!["withdrawn".into()])
    );
    assert!(matches!(world.speak("bob", &held.request.id, Verdict::Approve), Err(RequestError::Unknown)));
}

// Two shells on one connection, the same line in both.
#[test]
fn a_yes_to_one_of_two_equal_lines_of_a_session_is_for_that_one_alone() {
    let world = World::new();
    let (first, second) = (world.hold("alice", 1).unwrap(), world.hold("alice", 1).unwrap());
    assert_eq!(first.wish.bound, second.wish.bound);
    world.speak("bob", &first.request.id, Verdict::Approve).unwrap();
    assert!(world.speak("carol", &first.request.id, Verdict::Approve).is_err(), "it has its yes");
    assert!(world.requests.use_command(&second.request.id, &first.wish.bound).unwrap_err().contains("nobody"));
    assert_eq!(world.requests.use_command(&first.request.id, &first.wish.bound).unwrap(), [user("bob")]);
    assert!(world.requests.use_command(&first.request.id, &first.wish.bound).is_err(), "it is used");
}

#[test]
fn a_yes_that_was_on_its_way_to_the_log_revives_nothing_that_was_taken_back_meanwhile() {
    let world = World::new();
    let held = world.hold("alice", 1).unwrap();
    let id = held.request.id.clone();
    let begin_by = held.request.pending_until;
    let approved = AccessRequest { stored: RequestState::Approved { begin_by }, ..held.request.clone() };
    let alice = user("alice");
    let actor = Actor { asker: Asker::plain(&alice, "k"), source: "192.0.2.7:4022" };
    world.requests.withdraw_command(actor, &id).unwrap();
    assert!(matches!(world.requests.stored_command(&id, approved), Err(RequestError::Overtaken(_))));
    assert_eq!(world.requests.command_state(&id), Some(RequestState::Cancelled));
    assert!(world.requests.use_command(&id, &held.wish.bound).is_err());
}

#[test]
fn t15_a_command_waits_no_longer_for_a_clock_that_was_set_back() {
    let world = World::new();
    let held = world.hold("alice", 1).unwrap();
    world.pass(590);
    let step = Duration::from_secs(3600);
    world.clock.set(world.clock.now().minus(step));
    world.requests.set_back(step, &KeptClock::default(), &|| {}).unwrap();
    assert_eq!(world.requests.command_state(&held.request.id), Some(RequestState::Pending));
    world.pass(10);
    assert_eq!(world.requests.command_state(&held.request.id), Some(RequestState::Expired));
    assert!(world.speak("bob", &held.request.id, Verdict::Approve).is_err());
}

#[test]
fn one_person_has_so_many_commands_waiting_and_asks_about_so_many() {
    let world = World::new();
    let mut ids = Vec::new();
    for _ in 0..OPEN_MAX {
        ids.push(world.hold("alice", 1).unwrap().request.id);
    }
    assert!(matches!(world.hold("alice", 1), Err(RequestError::TooMany(_))));
    assert!(world.hold("dave", 1).is_ok());
    for _ in OPEN_MAX..60 {
        world.requests.close_command(&ids.pop().unwrap(), "withdrawn", "", "alice");
        ids.push(world.hold("alice", 1).unwrap().request.id);
    }
    ids.iter().for_each(|id| assert!(world.requests.close_command(id, "withdrawn", "", "alice")));
    assert!(matches!(world.hold("alice", 1), Err(RequestError::TooMany(_))));
    world.pass(3600);
    assert!(world.hold("alice", 1).is_ok());
}

#[test]
fn approvers_are_told_of_a_command_and_sinks_of_an_alert() {
    let mut world = World::new();
    world.requests.sinks = vec![String::from("alert command")];
    let held = world.hold("alice", 1).unwrap();
    let messages = world.requests.ledger.messages();
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((message.event.as_str(), &message.request), ("command.waits", &held.request.id));
    assert!(message.to.contains(&user("bob")) && !message.to.contains(&user("alice")), "{message:?}");
    assert!(message.text.contains("/usr/local/bin/drain web3"), "{message:?}");
    let judged = &held.wish.judged;
    let facts = CommandFacts {
        others: 0,
        level: AlertLevel::High,
        session: judged.session.clone(),
        second: 7,
        user: judged.user.clone(),
        destination: judged.destination.clone(),
        line: judged.line.clone(),
        mode: judged.mode.clone(),
        verdict: judged.verdict.clone(),
        prevented: true,
        rule: judged.rule.clone(),
        policy: judged.policy.clone(),
    };
    world.requests.alert_command(&judged.decision, "command.refused", facts).unwrap();
    let messages = world.requests.ledger.messages();
    let alert = messages.iter().find(|message| message.alert).unwrap();
    assert!(alert.ways.keys().eq(["alert command"]) && alert.to.is_empty(), "{alert:?}");
    assert!(alert.subject.starts_with("ALERT (high): alice as root@db1 was refused: drain web3"), "{alert:?}");
}
