//! Whatever happens in whatever order, wherever the bastion is killed: a right is there if, and only if, a model that knows
//! nothing of the bastion's own reckoning says so.
//!
//! The model counts a vote as what its voter was when it was given; whoever counts again at the decision only counts less
//! (`Model::enough`). Its clock only goes forward: a clock that is set back plugs in at `Event::Pass`.

use super::*;
use crate::audit::{AuditEvent, LockStep};
use crate::grant::{Lock, LockEffect, Scope};
use crate::model::{LockId, RuleId};

const NAMES: [&str; 6] = ["alice", "alice2", "bob", "carol", "dave", "mallory"];
const PLACES: [&str; 4] = ["root@db1", "postgres@db1", "backup@db1", "web@db1"];
/// The rule for each place, and what it opens.
const OPENS: [(&str, &[ChannelClass]); 4] = [
    ("dba", &[ChannelClass::Shell, ChannelClass::Exec]),
    ("postgres", &[ChannelClass::Shell]),
    ("emergency", &[ChannelClass::Shell]),
    ("open", &[ChannelClass::Shell]),
];
const SCOPES: [&str; 7] =
    ["everything", "user:alice", "user:bob", "group:dba", "target:db1", "account:root", "account:backup@db1"];
const HALF_HOUR: u64 = 1800;

#[derive(Debug, Clone)]
enum Event {
    Ask(usize, usize, Option<u64>),
    Say(usize, usize, bool, Option<u64>),
    Extend(usize, Option<u64>),
    Begin(usize),
    Cancel(usize),
    CancelAll(usize),
    GiveBack(usize),
    Revoke(usize),
    Give(usize, usize),
    Break(usize),
    Judge(usize, usize, bool),
    /// A session that begins on a grant: whether it is in the log, and whether the bastion lives to say what came of it.
    Session(usize, bool, bool),
    Pass(u64),
    Suspend(usize, bool),
    Lead(usize, bool),
    Dba(usize, bool),
    SameHuman(usize, bool),
    Policy(usize),
    Lock(usize),
    Lift(usize),
    Crash(usize),
}

fn span() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![3 => Just(None), 1 => (1_u64..3700).prop_map(Some)]
}

/// Anything, by anybody.
fn anything() -> impl Strategy<Value = Event> {
    let (who, which) = (0_usize..6, 0_usize..4);
    prop_oneof![
        5 => (0_usize..6, prop_oneof![3 => Just(0_usize), 2 => Just(1), 1 => 2_usize..4], span())
            .prop_map(|(who, place, span)| Event::Ask(who, place, span)),
        14 => (0_usize..6, which.clone(), prop::bool::weighted(0.93), span())
            .prop_map(|(who, which, yes, span)| Event::Say(who, which, yes, span)),
        3 => (which.clone(), span()).prop_map(|(which, span)| Event::Extend(which, span)),
        3 => which.clone().prop_map(Event::Begin),
        1 => which.clone().prop_map(Event::Cancel),
        1 => who.clone().prop_map(Event::CancelAll),
        1 => which.clone().prop_map(Event::GiveBack),
        1 => which.clone().prop_map(Event::Revoke),
        1 => (who.clone(), 0_usize..3).prop_map(|(who, place)| Event::Give(who, place)),
        3 => who.clone().prop_map(Event::Break),
        3 => (0_usize..6, which.clone(), any::<bool>()).prop_map(|(who, which, ok)| Event::Judge(who, which, ok)),
        2 => (which, any::<bool>(), any::<bool>()).prop_map(|(which, logged, lives)| Event::Session(which, logged, lives)),
        3 => (1_u64..3000).prop_map(Event::Pass),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, on)| Event::Suspend(who, on)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, on)| Event::Lead(who, on)),
        1 => (who.clone(), prop::bool::weighted(0.7)).prop_map(|(who, on)| Event::Dba(who, on)),
        1 => (who, any::<bool>()).prop_map(|(who, on)| Event::SameHuman(who, on)),
        1 => (0_usize..3).prop_map(Event::Policy),
        1 => (0_usize..SCOPES.len()).prop_map(Event::Lock),
        2 => (0_usize..3).prop_map(Event::Lift),
        3 => (0_usize..5).prop_map(Event::Crash),
    ]
}

/// One grant of alice's after the other, with more time, taken back.
fn grants() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0_usize..2, span()).prop_map(|(place, span)| Event::Ask(0, place, span)),
        12 => (2_usize..5, 0_usize..2, span()).prop_map(|(who, which, span)| Event::Say(who, which, true, span)),
        4 => (0_usize..3, span()).prop_map(|(which, span)| Event::Extend(which, span)),
        1 => (0_usize..2).prop_map(Event::Begin),
        1 => (0_usize..3).prop_map(Event::GiveBack),
        1 => (0_usize..2).prop_map(Event::Revoke),
        1 => (1_u64..900).prop_map(Event::Pass),
        1 => (0_usize..2, any::<bool>(), any::<bool>()).prop_map(|(which, logged, lives)| Event::Session(which, logged, lives)),
        2 => (0_usize..5).prop_map(Event::Crash),
    ]
}

/// One broken glass after the other.
fn glasses() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop_oneof![Just(0_usize), Just(0), Just(4)].prop_map(Event::Break),
        4 => (0_usize..5, 0_usize..3, prop::bool::weighted(0.8)).prop_map(|(who, which, ok)| Event::Judge(who, which, ok)),
        3 => prop_oneof![1_u64..60, 600_u64..2000, 7000_u64..7300].prop_map(Event::Pass),
        1 => (0_usize..2).prop_map(Event::GiveBack),
        2 => (0_usize..2).prop_map(Event::Revoke),
        1 => (3_usize..5, any::<bool>()).prop_map(|(who, on)| Event::SameHuman(who, on)),
        1 => (0_usize..7).prop_map(Event::Crash),
    ]
}

/// What often comes one after the other; a crash, or anything else, may come between.
fn phrases() -> impl Strategy<Value = Vec<Event>> {
    let yes = |who| Event::Say(who, 0, true, None);
    prop_oneof![
        3 => anything().prop_map(|one| vec![one]),
        2 => grants().prop_map(|one| vec![one]),
        2 => glasses().prop_map(|one| vec![one]),
        2 => Just(vec![Event::Ask(0, 0, None), yes(2), yes(3)]),
        1 => Just(vec![Event::Ask(0, 1, None), yes(4), Event::Begin(0)]),
        2 => Just(vec![Event::Extend(0, Some(600)), yes(3), yes(2)]),
        1 => Just(vec![Event::Extend(0, None), yes(2), Event::GiveBack(1), yes(4)]),
        1 => (2_usize..5).prop_map(move |who| vec![Event::Ask(0, 0, None), Event::SameHuman(who, true), yes(who)]),
        3 => Just(vec![Event::Break(0), Event::Revoke(0), Event::Judge(2, 0, true)]),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let glass = || Just(vec![Event::Break(0), Event::GiveBack(0), Event::Judge(3, 0, true)]);
    prop_oneof![
        2 => prop::collection::vec(anything(), 1..60),
        1 => prop::collection::vec(grants(), 10..50),
        1 => prop::collection::vec(glasses(), 10..40),
        2 => prop::collection::vec(phrases(), 5..25).prop_map(|all| all.concat()),
        1 => prop::collection::vec(prop_oneof![6 => glass(), 1 => glasses().prop_map(|one| vec![one])], 4..12)
            .prop_map(|all| all.concat()),
    ]
}

/// The rules: as they are, stricter, and with a window of planned work.
fn rules(variant: usize) -> String {
    match variant {
        0 => RULES.to_owned(),
        1 => RULES.replace("count = 2", "count = 3"),
        _ => RULES.replacen(
            "ticket = \"CHG-[0-9]+\" }",
            "ticket = \"CHG-[0-9]+\", preapproved = [{ when = { hours = \"08:00-12:00\", zone = \"UTC\" }, max = \"30m\", \
             until = \"2027-01-01T00:00:00Z\" }] }",
            1,
        ),
    }
}

/// A right that was given.
#[derive(Debug)]
struct Given {
    user: UserName,
    place: usize,
    /// `None`: for every rule.
    rule: Option<RuleId>,
    from: Timestamp,
    until: Timestamp,
    revoked: bool,
    /// How many sessions have begun, where that is limited to one.
    begun: Option<u32>,
}

/// A request, as it was asked.
#[derive(Debug)]
struct Asked {
    requester: UserName,
    human: UserName,
    place: usize,
    seconds: u64,
    count: usize,
    /// The humans who said yes, and for how long at most.
    yes: Vec<(UserName, Option<u64>)>,
    no: bool,
}

/// A glass that was broken.
#[derive(Debug)]
struct Broken {
    human: UserName,
    at: Timestamp,
    judged: Option<Finding>,
}

#[derive(Debug, Default)]
struct Model {
    variant: usize,
    given: BTreeMap<GrantId, Given>,
    asked: BTreeMap<RequestId, Asked>,
    broken: BTreeMap<RequestId, Broken>,
    locks: Vec<(LockId, usize)>,
    /// Which came after which: the clock does not always tell.
    order: (Vec<RequestId>, Vec<GrantId>),
}

impl Model {
    /// Whether this user is under a lock on users, or suspended.
    fn barred(&self, user: &User) -> bool {
        let locked = |scope: usize| match SCOPES[scope] {
            "user:alice" => user.human().as_str() == "alice" || user.name.as_str() == "alice",
            "user:bob" => user.human().as_str() == "bob" || user.name.as_str() == "bob",
            "group:dba" => user.groups.iter().any(|group| group.as_str() == "dba"),
            _ => false,
        };
        user.suspended_at.is_some() || self.locks.iter().any(|(_, scope)| locked(*scope))
    }

    fn locked_out(&self, user: &User, place: usize) -> bool {
        let there = |scope: usize| match SCOPES[scope] {
            "everything" | "target:db1" => true,
            "account:root" => place == 0,
            "account:backup@db1" => place == 2,
            _ => false,
        };
        self.barred(user) || self.locks.iter().any(|(_, scope)| there(*scope))
    }

    /// Until when this user may open this there; `Some(None)`: without an end.
    fn may(&self, user: &User, place: usize, class: ChannelClass, now: Timestamp) -> Option<Option<Timestamp>> {
        let (rule, classes) = OPENS[place];
        let named = user.groups.iter().any(|group| group.as_str() == "dba");
        if self.locked_out(user, place) || !named || !classes.contains(&class) {
            return None;
        }
        if place == 3 {
            return Some(None);
        }
        let holds = |one: &&Given| {
            one.user == user.name
                && one.place == place
                && one.rule.as_ref().is_none_or(|own| own.as_str() == rule)
                && !one.revoked
                && (one.from..one.until).contains(&now)
        };
        // Those on which a session may still begin come first.
        let spent = |one: &Given| one.begun.is_some_and(|begun| begun >= 1);
        let best = self.given.values().filter(holds).max_by_key(|one| (!spent(one), one.until));
        best.map(|one| Some(one.until))
    }

    /// Whether so many humans said yes as it takes, and none of them is the requester.
    fn enough(&self, id: &RequestId) -> bool {
        let asked = &self.asked[id];
        let people: BTreeSet<&UserName> = asked.yes.iter().map(|(human, _)| human).collect();
        people.len() >= asked.count && !people.contains(&asked.human) && !asked.no
    }

    fn span(&self, id: &RequestId) -> Duration {
        let asked = &self.asked[id];
        let narrowed = asked.yes.iter().filter_map(|(_, seconds)| *seconds);
        Duration::from_secs(narrowed.chain([asked.seconds]).min().unwrap())
    }

    /// Takes up a request that is there since this event, and a grant; `Err` says what nobody gave.
    fn learns(&mut self, world: &World, event: &Event, at: Timestamp) -> Result<(), String> {
        let ledger = &world.requests.ledger;
        for request in ledger.requests() {
            if self.asked.contains_key(&request.id) {
                continue;
            }
            let by = if let Event::Ask(who, ..) | Event::Break(who) = event {
                user(NAMES[*who])
            } else if let Event::Extend(..) = event {
                user("alice")
            } else {
                return Err(format!("{event:?} made {request:?}"));
            };
            let stored = ledger.user(&by).unwrap();
            let place = PLACES.iter().position(|place| *place == request.destination.to_string()).unwrap();
            if request.requester != by || self.barred(&stored) {
                return Err(format!("{by} made {request:?}"));
            }
            let own = match (place, self.variant) {
                (0, 1) => 3,
                (0, _) => 2,
                _ => 1,
            };
            let first = request.extends.as_ref().and_then(|grant| ledger.grant(grant)).and_then(|grant| grant.request);
            let count = own.max(first.map_or(0, |first| self.asked[&first].count));
            let (human, seconds) = (stored.human().clone(), request.seconds);
            if request.glass.is_some() {
                let broken = Broken { human: human.clone(), at: request.asked, judged: None };
                self.breaks(&request, &broken)?;
                self.broken.insert(request.id.clone(), broken);
            }
            let asked = Asked { requester: by, human, place, seconds, count, yes: Vec::new(), no: false };
            self.order.0.push(request.id.clone());
            self.asked.insert(request.id.clone(), asked);
        }
        for grant in ledger.grants() {
            if self.given.contains_key(&grant.id) {
                continue;
            }
            let place = PLACES.iter().position(|place| *place == grant.destination.to_string()).unwrap();
            let span = match (event, &grant.request) {
                (Event::Give(..), None) => HOUR,
                (Event::Ask(..), Some(id)) => {
                    let (span, noon) = (self.span(id), Timestamp::parse("2026-11-23T12:00:00Z").unwrap());
                    let open = at >= Timestamp::parse("2026-11-23T08:00:00Z").unwrap() && at.plus(span) <= noon;
                    if self.variant != 2 || place != 0 || !open || span.as_secs() > HALF_HOUR {
                        return Err(format!("nobody approved {grant:?} beforehand"));
                    }
                    span
                }
                (Event::Say(..) | Event::Begin(_), Some(id)) if self.enough(id) => self.span(id),
                (Event::Break(_), Some(id)) if self.broken.contains_key(id) && place == 2 => self.span(id),
                _ => return Err(format!("{event:?} gave {grant:?}")),
            };
            let owner = grant.request.as_ref().map_or(&grant.user, |id| &self.asked[id].requester);
            let user = owner.clone();
            if grant.user != user || grant.request.as_ref().is_some_and(|id| self.asked[id].place != place) {
                return Err(format!("{grant:?} is for somebody else"));
            }
            let begun = grant.sessions.map(|_| 0);
            // Whoever is suspended while an operator gives them a grant has it no more.
            let revoked = grant.request.is_none() && ledger.user(&user).unwrap().suspended_at == Some(at);
            let (rule, until) = (grant.rule.clone(), at.plus(span));
            self.order.1.push(grant.id.clone());
            self.given.insert(grant.id, Given { user, place, rule, from: at, until, revoked, begun });
        }
        Ok(())
    }

    /// Whether this human might break a glass then.
    fn breaks(&self, request: &AccessRequest, broken: &Broken) -> Result<(), String> {
        let own = || self.broken.values().filter(|one| one.human == broken.human);
        let late = own().any(|one| one.judged.is_none() && one.at.until(broken.at) >= HOUR * 2);
        let open = own().filter(|one| one.judged.is_none()).count();
        let lately = own().filter(|one| one.at.until(broken.at) < HOUR).count();
        let misused = own().any(|one| one.judged == Some(Finding::Misuse));
        if late || misused || open >= 3 || lately >= 5 || request.seconds > HALF_HOUR {
            return Err(format!("{request:?} was broken: {:?}", self.broken));
        }
        Ok(())
    }
}

/// What was begun is finished, if the process was killed meanwhile.
fn happened<T>(done: Result<T, RequestError>) -> bool {
    matches!(done, Ok(_) | Err(RequestError::NoRandomness))
}

impl World {
    fn set(&self, who: usize, change: impl FnOnce(&mut User)) {
        let mut stored = self.requests.ledger.user(&user(NAMES[who])).unwrap();
        change(&mut stored);
        self.requests.ledger.set_user(stored).unwrap();
    }

    fn member(&self, who: usize, group: &str, on: bool) {
        let group = GroupName::parse(group).unwrap();
        self.set(who, |stored| {
            if on {
                stored.groups.insert(group);
            } else {
                stored.groups.remove(&group);
            }
        });
    }

    /// Lets something happen to the bastion, and to the model what it means.
    fn plays(&mut self, model: &mut Model, event: &Event) {
        let now = self.clock.now();
        let (asked, given) = model.order.clone();
        // The newest first.
        let request = |which: usize| asked.iter().rev().nth(which).and_then(|id| self.requests.ledger.request(id));
        let grant = |which: usize| given.iter().rev().nth(which).and_then(|id| self.requests.ledger.grant(id));
        let requests = &self.requests;
        match *event {
            Event::Ask(who, place, span) => {
                let wish = Wish { span: span.map(Duration::from_secs), ..wish(PLACES[place]) };
                drop(requests.ask(actor(&user(NAMES[who])), wish));
            }
            Event::Say(who, which, yes, span) => {
                let Some(request) = request(which) else { return };
                let voter = requests.ledger.user(&user(NAMES[who])).unwrap();
                let verdict = if yes { Verdict::Approve } else { Verdict::Deny };
                let opinion =
                    Opinion { verdict, span: span.map(Duration::from_secs), channels: None, note: String::new() };
                if happened(requests.review(actor(&voter.name), &request.id, opinion)) {
                    let lead = voter.groups.iter().any(|group| group.as_str() == "leads");
                    let asked = model.asked.get_mut(&request.id).unwrap();
                    assert!(lead && *voter.human() != asked.human && voter.name != asked.requester, "{event:?}");
                    asked.no |= !yes;
                    asked.yes.extend(yes.then(|| (voter.human().clone(), span)));
                    assert!(!model.barred(&voter), "{event:?}");
                }
                // More time, once enough have said so.
                let stored = self.requests.ledger.grants();
                if let Some(id) = &request.extends
                    && let Some(longer) = stored.iter().find(|grant| grant.id == *id)
                    && let Some(known) = model.given.get(id)
                    && (longer.until > known.until || self.requests.crash_after.load(Ordering::SeqCst) == 0)
                    && model.enough(&request.id)
                    && self.decided(&request.id)
                {
                    let by = model.span(&request.id);
                    let known = model.given.get_mut(id).unwrap();
                    known.until = known.until.plus(by);
                    assert!(known.from.until(known.until) <= HOUR * 2, "{known:?}");
                }
            }
            Event::Extend(which, span) => {
                let Some(request) = request(which) else { return };
                drop(requests.extend(actor(&user("alice")), &request.id, span.map(Duration::from_secs), None));
            }
            Event::Begin(which) => {
                let Some(request) = request(which) else { return };
                drop(requests.begin(actor(&request.requester), &request.id));
            }
            Event::Cancel(which) => {
                let Some(request) = request(which) else { return };
                drop(requests.cancel(actor(&user("alice")), &request.id));
            }
            Event::CancelAll(who) => drop(requests.cancel_all_of(&user(NAMES[who]), "uid 0", "why")),
            Event::GiveBack(which) => {
                let Some(request) = request(which) else { return };
                if happened(requests.give_back(actor(&user("alice")), &request.id)) {
                    let RequestState::Granted { grant } = request.stored else { panic!("{request:?}") };
                    model.given.get_mut(&grant).unwrap().revoked = true;
                }
            }
            Event::Revoke(which) => {
                let Some(grant) = grant(which) else { return };
                let by = Revoked { by: String::from("uid 0"), at: now, reason: None };
                if requests.ledger.revoke_grant(&grant.id, by).is_ok() {
                    model.given.get_mut(&grant.id).unwrap().revoked = true;
                    drop(requests.settle());
                }
            }
            Event::Give(who, place) => {
                let given = Grant {
                    id: new_id("g-", 8, GrantId::parse).unwrap(),
                    user: user(NAMES[who]),
                    destination: Destination::parse(PLACES[place]).unwrap(),
                    from: now,
                    until: now.plus(HOUR),
                    reason: String::from("CHG-12"),
                    created_by: String::from("uid 0"),
                    created: now,
                    revoked: None,
                    request: None,
                    rule: None,
                    channels: None,
                    sessions: None,
                    begun: 0,
                    bound_key: None,
                };
                drop(requests.give(|_| given));
            }
            Event::Break(who) => drop(breaks(self, NAMES[who], true)),
            Event::Judge(who, which, ok) => {
                let Some(request) = request(which) else { return };
                let finding = if ok { Finding::Ok } else { Finding::Misuse };
                let judge = requests.ledger.user(&user(NAMES[who])).unwrap();
                if happened(requests.judge(actor(&judge.name), &request.id, finding, "seen")) {
                    let RequestState::Granted { grant } = &request.stored else { panic!("{request:?}") };
                    let known = model.given.get_mut(grant).unwrap();
                    let live = !known.revoked && now < known.until;
                    assert!(*judge.human() != model.broken[&request.id].human && !(ok && live), "{event:?}");
                    known.revoked |= live;
                    assert!(!model.barred(&judge), "{event:?}");
                }
            }
            Event::Session(which, logged, lives) => self.session(model, grant(which), logged, lives),
            Event::Pass(seconds) => {
                self.pass(seconds);
                drop(self.requests.tidy());
            }
            Event::Suspend(who, on) => self.set(who, |stored| stored.suspended_at = on.then_some(now)),
            Event::Lead(who, on) => self.member(who, "leads", on),
            Event::Dba(who, on) => self.member(who, "dba", on),
            Event::SameHuman(who, on) => {
                let person = (on && who != 0).then(|| user("alice"));
                self.set(who, |stored| stored.person = person);
            }
            Event::Policy(variant) => {
                model.variant = variant;
                requests.ledger.set_policy(policy(&rules(variant)));
            }
            Event::Lock(scope) => {
                let id: LockId = new_id("k-", 8, LockId::parse).unwrap();
                let lock = Lock {
                    id: id.clone(),
                    scope: Scope::parse(SCOPES[scope]).unwrap(),
                    effect: LockEffect::End,
                    reason: String::from("why"),
                    by: String::from("uid 0"),
                    created: now,
                    expires: None,
                    keeps_glass: false,
                    lifters: 1,
                    said: Vec::new(),
                    pending: None,
                };
                let step = LockStep {
                    lock: id.clone(),
                    outcome: String::from("holds"),
                    scope: SCOPES[scope].to_owned(),
                    effect: String::from("end"),
                    keeps_glass: lock.keeps_glass,
                    lifters: 1,
                    until: None,
                    reason: String::from("why"),
                    by: String::from("uid 0"),
                };
                requests.ledger.add_lock(lock, &AuditEvent::LockStep(step)).unwrap();
                model.locks.push((id, scope));
                drop(requests.settle());
            }
            Event::Lift(which) => {
                if which < model.locks.len() {
                    requests.ledger.drop_lock(&model.locks.remove(which).0).unwrap();
                }
            }
            // It strikes at one of the next writes.
            Event::Crash(after) => requests.crash_after.store(after, Ordering::SeqCst),
        }
    }

    /// Whether this request of more time was decided, or will be by the next start.
    fn decided(&self, id: &RequestId) -> bool {
        let granted = |one: &AccessRequest| matches!(one.stored, RequestState::Granted { .. });
        let steps = self.requests.ledger.unfinished().unwrap();
        let before = self.requests.ledger.request(id).is_some_and(|one| granted(&one));
        before || steps.iter().any(|step| step.request.id == *id && granted(&step.request))
    }

    fn session(&mut self, model: &mut Model, grant: Option<Grant>, logged: bool, lives: bool) {
        let Some(id) = grant.map(|grant| grant.id) else { return };
        let session = SessionId::from_parts(self.clock.now(), rand_of(&id));
        let ledger = Arc::clone(&self.requests.ledger);
        let begun = ledger.begin_on(&id, &session, self.audit.size());
        let known = model.given.get_mut(&id).unwrap();
        assert_eq!(begun.is_ok(), known.begun.is_none_or(|begun| begun == 0), "{known:?}");
        if begun.is_err() {
            return;
        }
        if logged {
            self.starts(&session, &id);
        }
        match (logged, lives) {
            (true, true) => ledger.has_begun(&session).unwrap(),
            (false, true) => ledger.not_begun_on(&id, &session).unwrap(),
            (_, false) => self.restart(),
        }
        known.begun = known.begun.map(|begun| begun + u32::from(logged));
    }
}

/// A number for a session of this grant.
fn rand_of(id: &GrantId) -> u128 {
    id.as_str().bytes().fold(0, |sum, byte| sum * 31 + u128::from(byte)) & ((1 << 80) - 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_right_is_there_if_and_only_if_somebody_gave_it(events in events()) {
        let mut world = World::new();
        let mut model = Model::default();
        for event in &events {
            let at = world.clock.now();
            world.plays(&mut model, event);
            if world.requests.crash_after.load(Ordering::SeqCst) == 0 {
                world.restart();
            }
            let learnt = model.learns(&world, event, at);
            prop_assert_eq!(learnt, Ok(()));
            for request in world.requests.ledger.requests() {
                if let (Some(glass), Some(broken)) = (&request.glass, model.broken.get_mut(&request.id)) {
                    broken.judged = glass.judged.as_ref().map(|judged| judged.finding);
                }
            }
            let now = world.clock.now();
            let grants = world.requests.ledger.grants();
            prop_assert_eq!(grants.len(), model.given.len(), "a grant is gone");
            for grant in &grants {
                let known = &model.given[&grant.id];
                prop_assert_eq!((grant.from, grant.until), (known.from, known.until), "{:?} after {:?}", grant, event);
                prop_assert_eq!(grant.revoked.is_some(), known.revoked, "{:?} after {:?}", grant, event);
                prop_assert_eq!(grant.sessions.map(|_| grant.begun), known.begun, "{:?} after {:?}", grant, event);
            }
            for name in NAMES {
                let stored = world.requests.ledger.user(&user(name)).unwrap();
                let presence = Presence { touch: true, pin: false };
                let asker = Asker { presence, ..Asker::plain(&stored.name, "SHA256:k") };
                for (place, named) in PLACES.iter().enumerate() {
                    let there = Destination::parse(named).unwrap();
                    for class in [ChannelClass::Shell, ChannelClass::Exec, ChannelClass::SftpRead] {
                        let permit = world.requests.ledger.permit(asker, &there, class, now).ok();
                        let may = model.may(&stored, place, class, now);
                        let told = permit.map(|permit| permit.until());
                        prop_assert_eq!(told, may, "{} to {} for {} after {:?}", name, named, class, event);
                    }
                }
            }
        }
        world.restart();
        world.agrees();
    }
}
