//! Users whose time ends.

use super::super::users::UserEnd;
use super::*;
use crate::grant::{Asker, Denial, RequestState};
use crate::ledger::WayQuery;
use crate::requests::{Actor, Wish};
use crate::session::EndCause;

impl Office {
    fn end_alice(&self, until: &str) -> Result<Reply, AdminError> {
        let until = Some(until.to_owned());
        self.call(Request::UserSet { user: user("alice"), groups: None, from: None, person: None, until })
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

#[test]
fn c17_a_user_whose_time_is_over_is_as_suspended() {
    let office = Office::furnished();
    let Reply::Granted { grant } = office.ask(grant("alice", "root@db1")) else { panic!("not granted") };
    let live = office.live(&grant.grant.id);
    let end = at("2026-11-23T09:30:00Z");
    office.end_alice("2026-11-23T10:30:00+01:00").unwrap();
    // The session ends then by itself, before its grant does.
    assert_eq!(office.permit().unwrap().until(), Some(end));
    assert_eq!(*live.until.borrow(), Some(end));
    let parts = &office.admin.parts;
    let (alice, ways) = (user("alice"), || parts.ledger.ways(&WayQuery::default(), 10, office.admin.now()).list.len());
    let (before, after) = (Timestamp::from_millis(end.as_millis() - 1), end);
    for (now, over) in [(before, false), (after, true)] {
        parts.clock.set(now);
        let stored = parts.ledger.user(&alice).unwrap();
        assert_eq!(parts.ledger.is_barred(&stored, now), over);
        assert_eq!(matches!(office.permit(), Err(Denial::Suspended)), over);
        assert_eq!(ways(), usize::from(!over));
        assert_eq!(parts.requests.tidy().ok(), Some(0));
    }
    live.ender().end_in_time();
    assert_eq!(*live.end.borrow(), Some(EndCause::Suspended));
    // What a suspension takes is another thing: it does not come back before the end is moved.
    assert!(matches!(office.refused(Request::UserResume { user: alice.clone() }), AdminError::Refused { .. }));
    office.end_alice("none").unwrap();
    assert_eq!(office.permit().unwrap().until(), Some(grant.grant.until));
    let log = office.recorded().into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("\n");
    for said in ["until: 2026-11-23T09:30:00", "until: none"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn a_live_session_hears_at_once_that_its_user_ends_sooner() {
    let office = Office::furnished();
    let Reply::Granted { grant } = office.ask(grant("alice", "root@db1")) else { panic!("not granted") };
    let live = office.live(&grant.grant.id);
    office.end_alice("2026-11-23T09:10:00Z").unwrap();
    office.admin.parts.clock.set(at("2026-11-23T09:10:00Z"));
    // Whatever judges sessions anew finds it over.
    office.ask(Request::PolicyReload {});
    assert_eq!(*live.end.borrow(), Some(EndCause::Suspended));
}

#[test]
fn an_end_is_a_day_or_a_moment_to_come() {
    let office = Office::furnished();
    for wrong in ["soon", "2026-11-31", "2026-11-22", "2026-11-23T08:59:59Z", "", "2026-12-31 18:00"] {
        assert!(matches!(office.end_alice(wrong), Err(AdminError::Invalid { .. })), "{wrong}");
    }
    // The day itself belongs to it, in the zone of the machine.
    let Some(UserEnd::At(end)) = UserEnd::parse("2026-12-31") else { panic!("no end") };
    let last = jiff::Timestamp::from_millisecond(end.as_millis() - 1).unwrap();
    assert_eq!(last.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string(), "2026-12-31 23:59:59");
    let Reply::Done { lines } = office.end_alice("2026-12-31").unwrap() else { panic!("not done") };
    assert!(lines.concat().contains(&end.to_string()), "{lines:?}");
    let (user, groups, keys, from) = (user("vera"), groups(), Vec::new(), BTreeSet::new());
    office.ask(Request::UserAdd { user: user.clone(), groups, keys, from, until: Some("2026-12-31".into()) });
    assert_eq!(office.admin.parts.ledger.user(&user).unwrap().until, Some(end));
}

#[test]
fn what_one_has_asked_for_whose_time_is_over_is_cancelled() {
    let office = Office::furnished();
    office.policy(&RULES.replace("required = true", "approvers = { group = \"dba\" }"));
    office.ask(Request::PolicyReload {});
    let (bob, alice) = (user("bob"), user("alice"));
    office.ask(Request::UserAdd { user: bob, groups: groups(), keys: Vec::new(), from: BTreeSet::new(), until: None });
    let requests = &office.admin.parts.requests;
    let (destination, reason) = (destination("root@db1"), String::from("vacuum is stuck"));
    let wish = Wish { destination, span: None, from: None, channels: None, reason, ticket: None };
    let asked = requests.ask(Actor { asker: Asker::plain(&alice, "k"), source: "here" }, wish).unwrap();
    office.end_alice("2026-11-23T09:30:00Z").unwrap();
    let state = || {
        requests.tidy().unwrap();
        office.admin.parts.ledger.request(&asked.id).unwrap().state(office.admin.now())
    };
    assert_eq!(state(), RequestState::Pending);
    office.admin.parts.clock.set(at("2026-11-23T09:30:00Z"));
    assert_eq!(state(), RequestState::Cancelled);
}
