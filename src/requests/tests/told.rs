//! What people are told, and whether they are.

use super::*;
use crate::ledger::Message;

fn messages(world: &World, event: &str) -> Vec<Message> {
    let all = world.requests.ledger.messages().into_iter();
    all.filter(|message| message.event == event).collect()
}

#[test]
fn what_approvers_say_is_told_to_the_one_who_asked() {
    let world = World::new();
    for (verdict, note, told) in [
        (Verdict::Deny, "not during\u{1b} the release", "is denied (bob: not during the release)"),
        (Verdict::Deny, "", "is denied: "),
        (Verdict::Approve, "after the backup", "is granted (bob: after the backup; carol: after the backup)"),
    ] {
        let id = world.ask("alice").unwrap().id;
        for name in if verdict == Verdict::Deny { &["bob"][..] } else { &["bob", "carol"] } {
            let opinion = Opinion { verdict, span: None, channels: None, note: note.to_owned() };
            world.requests.review(actor(&user(name)), &id, opinion).unwrap();
        }
        let message = messages(&world, "request.step").into_iter().find(|message| message.request == id).unwrap();
        assert_eq!(message.to, BTreeSet::from([user("alice")]));
        assert!(message.subject.contains(told) && message.text.contains(told), "{message:?}");
    }
}

#[test]
fn two_webhooks_on_one_host_are_one_way() {
    let mut world = World::new();
    for (ways, enough) in [
        (["webhook chat.example.org 0a1b2c", "webhook chat.example.org:8443 0a1b2d"], false),
        (["webhook 127.0.0.1:80 0a1b2c", "webhook localhost:81 0a1b2d"], false),
        (["webhook [2001:db8::1]:80 0a1b2c", "webhook [2001:db8::1] 0a1b2d"], false),
        (["webhook [2001:db8::1] 0a1b2c", "webhook [2001:db8::2] 0a1b2d"], true),
        (["webhook chat.example.org 0a1b2c", "mail"], true),
        (["webhook chat.example.org 0a1b2c", "webhook pager.example.org 0a1b2d"], true),
    ] {
        world.requests.ways = ways.map(str::to_owned).to_vec();
        match breaks(&world, "alice", true) {
            Ok(_) => assert!(enough, "{ways:?}"),
            Err(failure) => assert!(!enough && matches!(failure, RequestError::NoAlert), "{ways:?}: {failure:?}"),
        }
    }
}

#[test]
fn the_alarm_is_raised_before_a_glass_opens_anything_and_the_log_says_who_took_it() {
    let mut world = World::new();
    let (ledger, grants) = (Arc::clone(&world.requests.ledger), Arc::new(Mutex::new(None)));
    let seen = Arc::clone(&grants);
    world.requests = world.requests.alarmed_by(Box::new(move |message| {
        *seen.lock().unwrap() = Some((ledger.grants().len(), message.event.clone()));
        BTreeSet::from([String::from("a")])
    }));
    let broken = breaks(&world, "alice", true).unwrap();
    assert_eq!(grants.lock().unwrap().take(), Some((0, String::from("breakglass.open"))));
    let message = messages(&world, "breakglass.open").pop().unwrap();
    assert_eq!(message.request, broken.id);
    assert!(message.ways["a"].is_over() && !message.ways["b"].is_over(), "{message:?}");
    let leaf = world.records().into_iter().find(|record| record.kind == "breakglass.open").unwrap();
    assert_eq!(leaf.fields["delivered"], serde_json::json!(["a"]));
    assert_eq!(leaf.fields["ways"], serde_json::json!(["a", "b"]));
    world.agrees();
    // No alarm for what would not be opened.
    assert!(breaks(&world, "alice", false).is_err());
    assert!(grants.lock().unwrap().is_none());
}

#[test]
fn an_overdue_review_is_told_each_day_to_those_who_could_do_it_now() {
    let world = World::new();
    let broken = breaks(&world, "alice", true).unwrap();
    let mut mallory = world.requests.ledger.user(&user("mallory")).unwrap();
    mallory.groups = BTreeSet::from([GroupName::parse("leads").unwrap()]);
    world.requests.ledger.set_user(mallory).unwrap();
    world.pass(2 * 3600);
    for day in 1..=3 {
        world.requests.tidy().unwrap();
        world.pass(24 * 3600 - 1);
        world.requests.tidy().unwrap();
        let told = messages(&world, "breakglass.overdue");
        assert_eq!(told.len(), day, "{told:?}");
        let to = &told[0].to;
        assert!(
            told[0].alert
                && to.contains(&user("mallory"))
                && to.contains(&user("bob"))
                && !to.contains(&user("alice2"))
        );
        world.pass(1);
    }
    judges(&world, "mallory", &broken.id).unwrap();
    world.requests.tidy().unwrap();
    assert_eq!(messages(&world, "breakglass.overdue").len(), 3);
    world.agrees();
}

#[test]
fn what_a_ticket_system_said_is_on_record() {
    let mut world = World::new();
    let said = TicketSaid { host: "tickets.example.org".into(), status: 204, at: Timestamp::from_millis(7) };
    let answer = said.clone();
    world.requests = world.requests.checked_by(Some(Box::new(move |_, _, _| Ok(answer.clone()))));
    let request = world.ask("alice").unwrap();
    assert_eq!(request.ticket_said, Some(said));
    let leaf = world.records().into_iter().find(|record| record.kind == "request.create").unwrap();
    assert_eq!(leaf.fields["ticket_said"]["host"], "tickets.example.org");
    assert_eq!(leaf.fields["ticket_said"]["status"], 204);
}

#[test]
fn what_an_operator_enters_takes_the_approvers_and_the_operator_is_none_of_them() {
    let world = World::new();
    let enter = |own: &str, place: &str| world.requests.enter("uid 0", &user(own), &user("alice"), wish(place));
    assert!(matches!(enter("nobody", "root@db1"), Err(RequestError::Suspended)));
    assert!(matches!(enter("bob", "web@db1"), Err(RequestError::Needless)));
    // Nobody knows by which key she will come.
    assert!(matches!(enter("bob", "postgres@db1"), Err(RequestError::OnlyByKey)));
    // That would keep nobody out.
    for own in ["alice", "alice2"] {
        assert!(matches!(enter(own, "root@db1"), Err(RequestError::OwnName)), "{own}");
    }
    let request = enter("bob", "root@db1").unwrap();
    assert_eq!(request.requester, user("alice"));
    assert_eq!(request.quorum.reviewers, ["carol", "dave"].map(user).into());
    assert!(world.say("bob", &request.id, Verdict::Approve).is_err());
    let message = messages(&world, "request.create").pop().unwrap();
    assert!(message.to.contains(&user("alice")) && message.subject.contains("entered by bob"), "{message:?}");
    let to_bob = "To bob: entered in your name by uid 0.";
    assert!(message.to.contains(&user("bob")) && message.text.contains(to_bob), "{message:?}");
    let leaf = world.records().into_iter().find(|record| record.kind == "request.create").unwrap();
    assert_eq!(leaf.text("by"), Some("uid 0, who is bob, for alice"));
    world.say("carol", &request.id, Verdict::Approve).unwrap();
    // It comes out that Bob is Dave.
    let mut bob = world.requests.ledger.user(&user("bob")).unwrap();
    bob.person = Some(user("dave"));
    world.requests.ledger.set_user(bob).unwrap();
    let refused = world.say("dave", &request.id, Verdict::Approve);
    assert!(matches!(refused, Err(RequestError::Review(ReviewError::Entered))), "{refused:?}");
    world.agrees();
    // Who is left is too few.
    assert!(matches!(enter("bob", "root@db1"), Err(RequestError::NoReviewers { .. })));
}

#[test]
fn what_another_policy_lets_nobody_grant_is_told_when_it_is_loaded() {
    let world = World::new();
    let (stays, goes) =
        (world.requests.ask(actor(&user("alice")), wish("postgres@db1")).unwrap(), world.ask("alice").unwrap());
    assert!(world.requests.supersede().unwrap().is_empty());
    world.requests.ledger.set_policy(policy(&RULES.replace("count = 2", "count = 1")));
    let closed = world.requests.supersede().unwrap();
    assert_eq!(closed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&goes.id]);
    let told = messages(&world, "request.step").pop().unwrap();
    assert!(told.subject.contains("superseded") && told.text.contains("Because the rule"), "{told:?}");
    assert_eq!(told.to, BTreeSet::from([user("alice")]));
    // Where nobody says that it was loaded, it is seen all the same.
    world
        .requests
        .ledger
        .set_policy(policy(&RULES.replace("activation = \"10m\", ", "").replace("\"postgres\"", "\"oracle\"")));
    world.requests.tidy().unwrap();
    assert_eq!(world.requests.ledger.request(&stays.id).unwrap().stored, RequestState::Superseded);
    world.agrees();
}
