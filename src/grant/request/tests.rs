use proptest::prelude::*;

use super::*;
use crate::policy::PolicySet;

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn id(name: &str) -> GrantId {
    GrantId::parse(name).unwrap()
}

/// Alice asks for an hour; bob, carol and dave of `leads` may say yes.
fn request(count: u8) -> AccessRequest {
    AccessRequest {
        id: RequestId::parse("r-1").unwrap(),
        version: 1,
        requester: user("alice"),
        person: user("alice"),
        destination: Destination::parse("root@db1").unwrap(),
        channels: BTreeSet::from([ChannelClass::Shell, ChannelClass::Exec]),
        rule: RuleId::parse("dba").unwrap(),
        policy: PolicySet::empty().hash().clone(),
        extends: None,
        reason: String::from("CHG-1 vacuum"),
        ticket: None,
        ticket_said: None,
        entered: None,
        from: None,
        seconds: 3600,
        asked: at(0),
        pending_until: at(600),
        activation_seconds: None,
        sessions: None,
        bound_key: None,
        preapproved: false,
        glass: None,
        why: None,
        quorum: Quorum {
            approvers: Approvers {
                users: BTreeSet::new(),
                groups: BTreeSet::from([group("leads")]),
                count,
                distinct_groups: false,
                key: Presence::NONE,
                mfa_seconds: None,
            },
            reviewers: ["bob", "carol", "dave", "alice2"].map(user).into(),
        },
        reviews: Vec::new(),
        stored: RequestState::Pending,
    }
}

fn opinion(verdict: Verdict) -> Opinion {
    Opinion { verdict, span: None, channels: None, note: String::new() }
}

fn review(request: &AccessRequest, name: &str, opinion: Opinion, now: i64) -> Result<AccessRequest, ReviewError> {
    // Alice has a second name.
    let (name, person) = (user(name), user(if name == "alice2" { "alice" } else { name }));
    let groups = BTreeSet::from([group("leads")]);
    request.review(&reviewer(&name, &person, &groups), opinion, at(now))
}

/// By a key that nobody touched.
fn reviewer<'a>(user: &'a UserName, person: &'a UserName, groups: &'a BTreeSet<GroupName>) -> Reviewer<'a> {
    Reviewer { user, person, groups, presence: Presence::NONE, key: "SHA256:k", source: "192.0.2.7:4022", mfa: None }
}

fn yes(request: &AccessRequest, name: &str) -> AccessRequest {
    review(request, name, opinion(Verdict::Approve), 1).unwrap()
}

fn as_groups(name: &UserName, groups: BTreeSet<GroupName>) -> Option<Standing> {
    Some(Standing { person: user(if name.as_str() == "alice2" { "alice" } else { name.as_str() }), groups })
}

fn all_stand(name: &UserName) -> Option<Standing> {
    as_groups(name, BTreeSet::from([group("leads")]))
}

#[test]
fn nobody_approves_what_they_ask_for_by_whatever_name() {
    for name in ["alice", "alice2"] {
        for verdict in [Verdict::Approve, Verdict::Deny] {
            assert_eq!(review(&request(1), name, opinion(verdict), 1), Err(ReviewError::Self_));
        }
    }
}

#[test]
fn only_those_who_were_approvers_then_and_are_now_may_review() {
    assert_eq!(review(&request(1), "mallory", opinion(Verdict::Approve), 1), Err(ReviewError::NotAReviewer));
    let (bob, none) = (user("bob"), BTreeSet::new());
    let left = reviewer(&bob, &bob, &none);
    assert_eq!(request(1).review(&left, opinion(Verdict::Approve), at(1)), Err(ReviewError::NotAReviewer));
}

#[test]
fn two_approvals_are_of_two_people() {
    let once = yes(&request(2), "bob");
    assert!(!once.is_approved(all_stand));
    assert_eq!(review(&once, "bob", opinion(Verdict::Approve), 2), Err(ReviewError::Again));
    let twice = yes(&once, "carol");
    assert!(twice.is_approved(all_stand));
    // One who has left meanwhile does not count.
    assert!(!twice.is_approved(|name| all_stand(name).filter(|_| name.as_str() != "bob")));
    assert!(!twice.is_approved(|name| if name.as_str() == "bob" {
        as_groups(name, BTreeSet::new())
    } else {
        all_stand(name)
    }));
}

#[test]
fn one_no_is_enough_and_stands() {
    let denied = review(&yes(&request(2), "bob"), "carol", opinion(Verdict::Deny), 2).unwrap();
    assert_eq!(denied.state(at(2)), RequestState::Denied);
    assert_eq!(
        review(&denied, "dave", opinion(Verdict::Approve), 3),
        Err(ReviewError::NotPending(RequestState::Denied))
    );
    // Who has approved may think better of it.
    assert!(review(&yes(&request(2), "bob"), "bob", opinion(Verdict::Deny), 2).is_ok());
}

#[test]
fn what_nobody_decided_in_time_is_over() {
    assert_eq!(request(1).state(at(599)), RequestState::Pending);
    assert_eq!(request(1).state(at(600)), RequestState::Expired);
    assert!(matches!(review(&request(1), "bob", opinion(Verdict::Approve), 600), Err(ReviewError::NotPending(_))));
}

#[test]
fn an_approver_takes_away_and_never_adds() {
    let less = Opinion {
        span: Some(Duration::from_secs(600)),
        channels: Some(BTreeSet::from([ChannelClass::Shell])),
        ..opinion(Verdict::Approve)
    };
    let narrowed = review(&request(2), "bob", less, 1).unwrap();
    let more = |span, channels: Option<&[ChannelClass]>| Opinion {
        span: Some(Duration::from_secs(span)),
        channels: channels.map(|all| all.iter().copied().collect()),
        ..opinion(Verdict::Approve)
    };
    assert_eq!(review(&request(2), "bob", more(3601, None), 1), Err(ReviewError::Widens("the time")));
    // Nor what another has taken away already.
    assert_eq!(review(&narrowed, "carol", more(601, None), 1), Err(ReviewError::Widens("the time")));
    let exec = more(600, Some(&[ChannelClass::Exec]));
    assert_eq!(review(&narrowed, "carol", exec, 1), Err(ReviewError::Widens("the channels")));
    assert_eq!(review(&narrowed, "carol", more(600, Some(&[])), 1), Err(ReviewError::Widens("the channels")));
    let grant = yes(&narrowed, "carol").grant(id("g-1"), at(10));
    assert_eq!((grant.from, grant.until), (at(10), at(610)));
    assert_eq!(grant.channels, Some(BTreeSet::from([ChannelClass::Shell])));
}

#[test]
fn approvers_of_distinct_groups_stand_for_one_group_each() {
    let mut asked = request(2);
    asked.quorum.approvers.groups.insert(group("security"));
    asked.quorum.approvers.distinct_groups = true;
    let both = yes(&yes(&asked, "bob"), "carol");
    let of = |bobs: &[&str], carols: &[&str]| {
        let groups = |names: &[&str]| names.iter().map(|name| group(name)).collect::<BTreeSet<_>>();
        let (bobs, carols) = (groups(bobs), groups(carols));
        both.is_approved(|name| as_groups(name, if name.as_str() == "bob" { bobs.clone() } else { carols.clone() }))
    };
    assert!(!of(&["leads"], &["leads"]));
    assert!(of(&["leads"], &["security"]));
    // Whoever is of both stands for the one that the other leaves.
    assert!(of(&["leads", "security"], &["leads"]));
    assert!(of(&["leads"], &["leads", "security"]));
    assert!(!of(&["leads", "others"], &["leads"]));
}

#[test]
fn a_key_that_the_rule_wants_of_approvers_is_wanted() {
    let mut asked = request(1);
    asked.quorum.approvers.key = Presence { touch: true, pin: false };
    assert!(matches!(review(&asked, "bob", opinion(Verdict::Approve), 1), Err(ReviewError::NeedsKey(_))));
}

#[test]
fn an_approved_request_may_wait_for_its_requester() {
    let waiting = AccessRequest { activation_seconds: Some(60), ..yes(&request(1), "bob") };
    let (approved, outcome) = waiting.approved(id("g-1"), at(10));
    assert_eq!(outcome, Outcome::Waits);
    assert_eq!(approved.state(at(69)), RequestState::Approved { begin_by: at(70) });
    assert_eq!(approved.state(at(70)), RequestState::Expired);
    let (granted, outcome) = yes(&request(1), "bob").approved(id("g-1"), at(10));
    assert_eq!(granted.stored, RequestState::Granted { grant: id("g-1") });
    assert!(matches!(outcome, Outcome::Begins(grant) if grant.until == at(3610)));
}

#[test]
fn a_grant_that_shall_begin_later_ends_as_much_later() {
    let later = AccessRequest { from: Some(at(1000)), ..request(1) };
    let grant = later.grant(id("g-1"), at(10));
    assert_eq!((grant.from, grant.until), (at(1000), at(4600)));
    // Approved late, it ends when it was asked to end.
    let grant = later.grant(id("g-1"), at(2000));
    assert_eq!((grant.from, grant.until), (at(2000), at(4600)));
}

#[derive(Debug, Clone)]
enum Move {
    Review(usize, bool, Option<u64>),
    Leave(usize),
    Pass(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let review = (0_usize..6, any::<bool>(), prop::option::of(1_u64..5000)).prop_map(|(who, yes, span)| {
        // A no ends it: let most be yes.
        Move::Review(who, yes, span)
    });
    let one = prop_oneof![
        6 => review,
        1 => (0_usize..6).prop_map(Move::Leave),
        2 => (1_i64..200).prop_map(Move::Pass),
    ];
    prop::collection::vec(one, 0..20)
}

proptest! {
    // Whatever happens in whatever order: no grant without its approvals, never longer than approved.
    #[test]
    fn there_is_no_grant_without_its_approvals(count in 1_u8..4, moves in moves()) {
        let names = ["alice", "alice2", "bob", "carol", "dave", "mallory"];
        let (mut asked, mut now, mut left) = (request(count), 1, BTreeSet::new());
        let mut yes: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        let mut denied = false;
        for step in moves {
            match step {
                Move::Pass(seconds) => now += seconds,
                Move::Leave(who) => drop(left.insert(names[who])),
                Move::Review(who, approve, span) => {
                    let name = names[who];
                    let verdict = if approve { Verdict::Approve } else { Verdict::Deny };
                    let said = Opinion { span: span.map(Duration::from_secs), ..opinion(verdict) };
                    let version = asked.version;
                    if let Ok(next) = review(&asked, name, said, now) {
                        prop_assert!(["bob", "carol", "dave"].contains(&name) && now < 600 && !denied);
                        prop_assert_eq!(next.version, version + 1);
                        asked = next;
                        if approve { yes.insert(name, span); } else { denied = true; }
                    }
                }
            }
            let stands = |name: &UserName| all_stand(name).filter(|_| !left.contains(name.as_str()));
            let counted = yes.keys().filter(|name| !left.contains(*name)).count();
            prop_assert_eq!(asked.is_approved(stands), counted >= usize::from(count));
            let (span, _) = asked.narrowed();
            let shortest = yes.values().flatten().min().copied().unwrap_or(3600).min(3600);
            prop_assert_eq!(span.as_secs(), shortest);
            if denied {
                prop_assert!(asked.state(at(now)).is_final());
            }
        }
    }
}

#[test]
fn t15_a_clock_set_back_gives_nobody_more_time() {
    let (step, after) = (Duration::from_secs(100), at(200));
    let back = |request: &AccessRequest| request.set_back(step, after);
    // It was asked at 0, and had until 600: at 300, which is 200 now, it has 300 seconds left as before.
    let pending = request(1);
    let earlier = back(&pending).unwrap();
    assert_eq!((earlier.pending_until, earlier.version), (at(500), 1));
    assert_eq!((earlier.state(at(499)), earlier.state(at(500))), (RequestState::Pending, RequestState::Expired));
    // What is over already stays as it was.
    assert_eq!(AccessRequest { pending_until: at(200), ..request(1) }.set_back(step, after), None);
    let waits = AccessRequest { stored: RequestState::Approved { begin_by: at(700) }, ..request(1) };
    assert_eq!(back(&waits).unwrap().stored, RequestState::Approved { begin_by: at(600) });
    assert_eq!(back(&AccessRequest { stored: RequestState::Denied, ..request(1) }), None);
    let glass = Glass {
        due: at(900),
        approvers: pending.quorum.approvers.clone(),
        reviewers: pending.quorum.reviewers.clone(),
        reminded_at: None,
        judged: None,
    };
    let stored = RequestState::Granted { grant: id("g-1") };
    let broken = AccessRequest { glass: Some(glass), stored, ..request(1) };
    assert_eq!(back(&broken).unwrap().glass.unwrap().due, at(800));
}

#[test]
fn approvers_who_turn_out_to_be_one_human_are_one_and_the_requester_is_none() {
    let twice = yes(&yes(&request(2), "bob"), "carol");
    let known_as = |who: &'static str, person: &'static str| {
        move |name: &UserName| {
            let standing = all_stand(name)?;
            Some(if name.as_str() == who { Standing { person: user(person), ..standing } } else { standing })
        }
    };
    assert!(twice.is_approved(all_stand));
    assert!(!twice.is_approved(known_as("carol", "bob")) && !twice.is_approved(known_as("bob", "carol")));
    assert!(!twice.is_approved(known_as("carol", "alice")) && !twice.is_approved(known_as("alice", "carol")));
    // It was one human then, whatever is said of it since; and a third joins two who were two.
    let mut parted = twice.clone();
    parted.reviews[1].person = user("bob");
    assert!(!parted.is_approved(all_stand));
    let thrice = yes(&twice, "dave");
    assert!(thrice.is_approved(known_as("dave", "bob")));
    let mut joined = thrice;
    joined.reviews[2].person = user("carol");
    assert!(!joined.is_approved(known_as("dave", "bob")));
}

#[test]
fn approvers_who_must_have_proven_themselves_lately_say_how_long_ago_it_was() {
    let mut asked = request(1);
    asked.quorum.approvers.mfa_seconds = Some(900);
    let (bob, groups) = (user("bob"), BTreeSet::from([group("leads")]));
    let says = |ago: Option<u64>| {
        let reviewer = Reviewer { mfa: ago.map(Duration::from_secs), ..reviewer(&bob, &bob, &groups) };
        asked.review(&reviewer, opinion(Verdict::Approve), at(1))
    };
    let wanted = Err(ReviewError::NeedsMfa(Duration::from_secs(900)));
    assert_eq!((says(None), says(Some(901))), (wanted.clone(), wanted));
    let said = says(Some(900)).unwrap().reviews[0].clone();
    assert_eq!((said.mfa_seconds, said.key.as_str(), said.source.as_str()), (Some(900), "SHA256:k", "192.0.2.7:4022"));
}
