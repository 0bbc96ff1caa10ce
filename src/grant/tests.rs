use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{AccountName, ChannelClass, TargetName};
use crate::policy::PolicyFile;

pub(super) const HOUR: i64 = 3_600_000;

#[test]
fn a_grant_holds_from_its_first_moment_until_before_its_last() {
    let grant = grant("g-1", 10, 20);
    let state = |ms| grant.state(Timestamp::from_millis(ms));
    assert_eq!(
        (state(9), state(10), state(19), state(20)),
        (GrantState::Scheduled, GrantState::Active, GrantState::Active, GrantState::Ended)
    );
    assert_eq!(grant.remaining(Timestamp::from_millis(15)), Duration::from_millis(5));
    assert_eq!(grant.remaining(Timestamp::from_millis(5)), Duration::ZERO);
}

#[test]
fn a_revoked_grant_is_revoked_at_every_time() {
    let grant = revoked(grant("g-1", 10, 20), 15);
    for ms in [0, 10, 15, 20, HOUR] {
        assert_eq!(grant.state(Timestamp::from_millis(ms)), GrantState::Revoked);
    }
}

#[test]
fn without_a_rule_a_grant_opens_nothing() {
    let denial = ask(&PolicySet::empty(), &[grant("g-1", 0, HOUR)], 5).unwrap_err();
    assert!(matches!(denial, Denial::NoRule(_)));
}

#[test]
fn a_rule_that_needs_a_grant_opens_only_while_one_holds() {
    let set = needing();
    assert!(matches!(ask(&set, &[], 5), Err(Denial::NeedsGrant { .. })));
    let permit = ask(&set, &[grant("g-1", 0, 100), grant("g-2", 0, 200)], 5).unwrap();
    assert_eq!(permit.grant().unwrap().id.as_str(), "g-2");
    assert_eq!(permit.until(), Some(Timestamp::from_millis(200)));
    assert_eq!(permit.policy_hash(), set.hash());
}

#[test]
fn a_grant_that_ended_one_millisecond_ago_is_refused() {
    let denial = ask(&needing(), &[grant("g-1", 0, 100)], 101).unwrap_err();
    assert!(matches!(denial, Denial::GrantEnded { .. }));
    let denial = ask(&needing(), &[grant("g-1", 0, 100)], 100).unwrap_err();
    assert!(matches!(denial, Denial::GrantEnded { .. }));
}

#[test]
fn the_most_useful_of_several_grants_is_named() {
    let old = [grant("g-1", 0, 10), revoked(grant("g-2", 0, 100), 50)];
    assert!(matches!(ask(&needing(), &old, 60), Err(Denial::GrantRevoked { .. })));
    let mut both = old.to_vec();
    both.extend([grant("g-4", 900, 1000), grant("g-3", 500, 1000)]);
    let Err(Denial::NotYet { grant, .. }) = ask(&needing(), &both, 60) else { panic!("not `NotYet`") };
    assert_eq!(grant.as_str(), "g-3");
}

#[test]
fn a_grant_for_one_rule_some_channels_or_one_key_opens_no_more_than_that() {
    let of = |change: &dyn Fn(&mut Grant)| {
        let mut grant = grant("g-1", 0, HOUR);
        change(&mut grant);
        ask(&needing(), &[grant], 5).map(|permit| permit.rule().to_string())
    };
    let rule = |id: &'static str| move |grant: &mut Grant| grant.rule = Some(RuleId::parse(id).unwrap());
    assert_eq!(of(&rule("dba")), Ok(String::from("dba")));
    assert!(matches!(of(&rule("other")), Err(Denial::NeedsGrant { .. })));
    let channels = |class| move |grant: &mut Grant| grant.channels = Some(BTreeSet::from([class]));
    assert!(of(&channels(ChannelClass::Shell)).is_ok());
    assert!(matches!(of(&channels(ChannelClass::Exec)), Err(Denial::NeedsGrant { .. })));
    let key = |key: &'static str| move |grant: &mut Grant| grant.bound_key = Some(String::from(key));
    assert!(of(&key("SHA256:own")).is_ok());
    assert!(matches!(of(&key("SHA256:other")), Err(Denial::OtherKey { .. })));
}

#[test]
fn grants_of_others_and_to_other_places_count_for_nothing() {
    let mut theirs = grant("g-1", 0, HOUR);
    theirs.user = UserName::parse("bob").unwrap();
    let mut elsewhere = grant("g-2", 0, HOUR);
    elsewhere.destination = Destination::parse("root@db2").unwrap();
    assert!(matches!(ask(&needing(), &[theirs, elsewhere], 5), Err(Denial::NeedsGrant { .. })));
}

#[test]
fn what_the_login_lacks_is_told_to_those_who_lack_nothing_else() {
    let rule = |grant| {
        let text = format!(
            "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = [\"shell\"]\ngrant = {{ required = {grant} }}\nkey = {{ pin = true }}\n"
        );
        PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]).unwrap()
    };
    let pin = Presence { touch: false, pin: true };
    let lacks = |denial| matches!(denial, Err(Denial::NeedsKey { key, .. }) if key == pin);
    assert!(lacks(ask(&rule(false), &[], 5)));
    assert!(lacks(ask(&rule(true), &[grant("g-1", 0, HOUR)], 5)));
    // Without a grant a key would open nothing: what is told is what is told of any place.
    assert!(matches!(ask(&rule(true), &[], 5), Err(Denial::NoRule(_))));
    assert!(matches!(ask(&rule(true), &[grant("g-1", 0, 2)], 5), Err(Denial::NoRule(_))));
}

#[test]
fn only_whoever_would_be_let_in_without_a_terminal_is_told_so() {
    let text = "schema = 1\n[[rule]]\nid = \"bots\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                accounts = [\"root\"]\nchannels = [\"shell\"]\nterminal = false\n";
    let set = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text: text.to_owned() }]).unwrap();
    let asked = |asked: Asked, grants: &[Grant]| {
        let question = Question {
            user: &UserName::parse("alice").unwrap(),
            groups: &BTreeSet::new(),
            target: &TargetName::parse("db1").unwrap(),
            labels: &BTreeMap::new(),
            account: &AccountName::parse("root").unwrap(),
            asked: Some(&asked),
            presence: Presence::NONE,
            circumstances: Circumstances::BEST,
        };
        permit(&set, &question, "SHA256:own", grants, Timestamp::from_millis(5))
    };
    let (held, terminal) = ([grant("g-1", 0, HOUR)], Asked::on_terminal(ChannelClass::Shell));
    assert!(asked(ChannelClass::Shell.into(), &held).is_ok());
    assert!(matches!(asked(terminal.clone(), &held), Err(Denial::NoTerminal { .. })));
    let denial = asked(terminal, &[]).unwrap_err();
    assert_eq!(denial.public_text(), Denial::UnknownTarget.public_text());
}

#[test]
fn a_denial_tells_nobody_what_exists() {
    let rule = RuleId::parse("dba").unwrap();
    let told = Denial::UnknownTarget.public_text();
    assert_eq!(told, Denial::NeedsGrant { rule }.public_text());
    assert_eq!(told, Denial::NoRule(DenyReason::NoRule).public_text());
    assert_eq!(told, Denial::NoRule(DenyReason::NoRuleForChannel(ChannelClass::Exec)).public_text());
}

// What a list says is what a permit would.
#[test]
fn a_list_shows_the_grant_that_a_permit_would_rest_on() {
    let all = [
        grant("g-1", 0, 10),
        revoked(grant("g-2", 0, 100), 50),
        grant("g-3", 20, 40),
        grant("g-4", 30, 60),
        grant("g-5", 80, 90),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for now in 0..100 {
        let said = access(all.iter(), Timestamp::from_millis(now));
        let judged = match ask(&needing(), &all, now) {
            Ok(permit) => Access::Granted { until: permit.until().unwrap() },
            Err(Denial::NotYet { from, .. }) => Access::Begins { from },
            Err(_) => Access::NeedsGrant,
        };
        assert_eq!(said, judged, "at {now}");
        seen.insert(format!("{said:?}"));
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

fn needing() -> PolicySet {
    let text = "schema = 1\n[[rule]]\nid = \"dba\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\", \"db2\"] }\n\
                accounts = [\"root\"]\nchannels = [\"shell\", \"exec\"]\ngrant = { required = true }\n";
    PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text: text.to_owned() }]).unwrap()
}

fn ask(set: &PolicySet, grants: &[Grant], now: i64) -> Result<Permit, Denial> {
    let question = Question {
        user: &UserName::parse("alice").unwrap(),
        groups: &BTreeSet::new(),
        target: &TargetName::parse("db1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("root").unwrap(),
        asked: Some(&ChannelClass::Shell.into()),
        presence: Presence::NONE,
        circumstances: Circumstances::BEST,
    };
    permit(set, &question, "SHA256:own", grants, Timestamp::from_millis(now))
}

pub(super) fn grant(id: &str, from: i64, until: i64) -> Grant {
    Grant {
        id: GrantId::parse(id).unwrap(),
        user: UserName::parse("alice").unwrap(),
        destination: Destination::parse("root@db1").unwrap(),
        from: Timestamp::from_millis(from),
        until: Timestamp::from_millis(until),
        reason: "CHG-1".to_owned(),
        created_by: "uid 0".to_owned(),
        created: Timestamp::from_millis(0),
        revoked: None,
        request: None,
        rule: None,
        channels: None,
        sessions: None,
        begun: 0,
        bound_key: None,
    }
}

fn revoked(mut grant: Grant, at: i64) -> Grant {
    grant.revoked = Some(Revoked { by: "uid 0".to_owned(), at: Timestamp::from_millis(at), reason: None });
    grant
}

#[test]
fn t15_a_clock_set_back_leaves_a_grant_as_long_as_it_was() {
    let set_back = |from, until, step: u64, after| {
        let changed = grant("g-1", from, until).set_back(Duration::from_millis(step), Timestamp::from_millis(after));
        changed.map(|grant| (grant.from.as_millis(), grant.until.as_millis()))
    };
    // At 300 set back to 200: it had 700 left, and has them still; and begins as long ago.
    assert_eq!(set_back(100, 1000, 100, 200), Some((0, 900)));
    // It was over at 300, and is.
    assert_eq!(set_back(100, 250, 100, 200), Some((0, 150)));
    assert_eq!(set_back(100, 200, 100, 200), None);
    // One that begins later is as long as it was said.
    assert_eq!((set_back(600, 1000, 100, 200), set_back(301, 1000, 100, 200)), (None, None));
    assert_eq!(set_back(300, 1000, 100, 200), Some((200, 900)));
    assert_eq!(revoked(grant("g-1", 100, 1000), 150).set_back(Duration::from_millis(100), at_ms(200)), None);
}

fn at_ms(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}
