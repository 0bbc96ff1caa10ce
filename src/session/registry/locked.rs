//! Locks on what a session's channels rest on.

use super::tests::{facts, login};
use super::*;
use crate::audit::AuditEvent;
use crate::db::Db;
use crate::grant::{AccessRequest, Glass, Grant, Outcome, Quorum, RequestState, Scope};
use crate::ledger::{Step, StepKind, Target, User, UserKey};
use crate::model::{RequestId, TargetName};
use crate::policy::{Approvers, PolicyFile, PolicySet};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn a_lock_on_the_grant_of_any_channel_is_on_the_session_whatever_it_began_with() {
    let (ledger, grant) = (ledger(), grant("g-1"));
    ledger.add_grant(grant.clone()).unwrap();
    let (sessions, now) = (Sessions::new(), at(5));
    let both = sessions.register(facts(1), ChannelClass::Shell, &login());
    let (_shell, exec) = (both.channel(ChannelClass::Shell), both.channel(ChannelClass::Exec));
    let shell_only = sessions.register(facts(2), ChannelClass::Shell, &login());
    let _other = shell_only.channel(ChannelClass::Shell);
    let paused = |number| sessions.list().iter().any(|live| live.id == facts(number).id && live.paused.is_some());
    // One on another grant is on neither.
    lock(&ledger, 1, Scope::Grant(GrantId::parse("g-2").unwrap()), LockEffect::End, false);
    assert_eq!((sessions.rejudge(&ledger, now), paused(1), paused(2)), (0, false, false));
    let freezing = lock(&ledger, 2, Scope::Grant(grant.id.clone()), LockEffect::Freeze, false);
    assert_eq!((sessions.rejudge(&ledger, now), paused(1), paused(2)), (0, true, false));
    assert_eq!((sessions.lock_of(&facts(1).id), sessions.lock_of(&facts(2).id)), (Some(freezing), None));
    // What rested on it is over.
    drop(exec);
    assert_eq!((sessions.rejudge(&ledger, now), paused(1)), (0, false));
    let _exec = both.channel(ChannelClass::Exec);
    lock(&ledger, 3, Scope::Grant(grant.id), LockEffect::End, false);
    assert_eq!(sessions.rejudge(&ledger, now), 1);
    assert_eq!((both.end.borrow().clone(), shell_only.end.borrow().clone()), (Some(EndCause::Locked), None));
}

#[test]
fn c14_a_lock_that_spares_broken_glasses_spares_a_session_only_if_all_of_it_rests_on_one() {
    for effect in [LockEffect::Freeze, LockEffect::End] {
        let (ledger, sessions) = (ledger(), Sessions::new());
        let glass = break_glass(&ledger);
        let facts = LiveSession { grant: Some(glass), ..facts(1) };
        let live = sessions.register(facts.clone(), ChannelClass::Exec, &login());
        let _exec = live.channel(ChannelClass::Exec);
        lock(&ledger, 1, Scope::Everything, effect, true);
        assert_eq!(sessions.rejudge(&ledger, at(5)), 0);
        assert_eq!(sessions.lock_of(&facts.id), None);
        let _shell = live.channel(ChannelClass::Shell);
        sessions.rejudge(&ledger, at(5));
        let stopped = (sessions.lock_of(&facts.id).is_some(), live.end.borrow().clone());
        let wanted = match effect {
            LockEffect::Freeze => (true, None),
            LockEffect::End => (false, Some(EndCause::Locked)),
        };
        assert_eq!(stopped, wanted);
    }
}

/// Alice's shell is a standing right at `db1`; her commands take a grant.
fn ledger() -> Ledger {
    let rule = |id: &str, channel: &str, required: bool| {
        format!(
            "[[rule]]\nid = \"{id}\"\nwho = {{ users = [\"alice\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
             accounts = [\"root\"]\nchannels = [\"{channel}\"]\ngrant = {{ required = {required} }}\n"
        )
    };
    let text = format!("schema = 1\n{}{}", rule("shells", "shell", false), rule("jobs", "exec", true));
    let policy = PolicySet::parse(&[PolicyFile { path: "a.toml".to_owned(), text }]).unwrap();
    let ledger = Ledger::open(&Db::in_memory().unwrap(), policy).unwrap();
    let alice = User {
        name: alice(),
        groups: BTreeSet::new(),
        keys: vec![UserKey::parse(KEY, at(0)).unwrap()],
        suspended_at: None,
        from: BTreeSet::new(),
        password_since: None,
        person: None,
        until: None,
    };
    ledger.add_user(alice).unwrap();
    let target = Target {
        name: TargetName::parse("db1").unwrap(),
        address: "10.0.0.5:22".to_owned(),
        labels: BTreeMap::new(),
        host_keys: vec![KEY.to_owned()],
        accounts: BTreeSet::new(),
        insecure_algorithms: false,
        desktop: None,
    };
    ledger.add_target(target).unwrap();
    ledger
}

fn grant(id: &str) -> Grant {
    Grant {
        id: GrantId::parse(id).unwrap(),
        user: alice(),
        destination: facts(1).destination,
        from: at(0),
        until: at(1000),
        reason: "CHG-1".to_owned(),
        created_by: "uid 0".to_owned(),
        created: at(0),
        revoked: None,
        request: None,
        rule: None,
        channels: None,
        sessions: None,
        begun: 0,
        bound_key: None,
    }
}

/// A grant that nobody approved.
fn break_glass(ledger: &Ledger) -> GrantId {
    let id = RequestId::parse("r-1").unwrap();
    let grant = Grant { request: Some(id.clone()), ..grant("g-1") };
    let approvers = Approvers {
        users: BTreeSet::new(),
        groups: BTreeSet::new(),
        count: 1,
        distinct_groups: false,
        key: crate::model::Presence::NONE,
        mfa_seconds: None,
    };
    let quorum = Quorum { approvers: approvers.clone(), reviewers: BTreeSet::new() };
    let request = AccessRequest {
        id,
        version: 1,
        requester: alice(),
        person: alice(),
        destination: facts(1).destination,
        channels: BTreeSet::from([ChannelClass::Exec]),
        rule: RuleId::parse("jobs").unwrap(),
        policy: ledger.policy().hash().clone(),
        extends: None,
        reason: String::from("CHG-1"),
        ticket: None,
        ticket_said: None,
        entered: None,
        from: None,
        seconds: 1,
        asked: at(0),
        pending_until: at(0),
        activation_seconds: None,
        sessions: None,
        bound_key: None,
        preapproved: false,
        glass: Some(Glass { due: at(1000), approvers, reviewers: BTreeSet::new(), reminded_at: None, judged: None }),
        quorum,
        reviews: Vec::new(),
        why: None,
        stored: RequestState::Granted { grant: grant.id.clone() },
    };
    let (by, outcome) = (String::from("alice"), Outcome::Begins(Box::new(grant.clone())));
    let step = Step { request, kind: StepKind::Asked, by, outcome, message: None };
    ledger.prepare(&step).unwrap();
    ledger.finish(&step).unwrap();
    grant.id
}

fn lock(ledger: &Ledger, number: u32, scope: Scope, effect: LockEffect, keeps_glass: bool) -> LockId {
    let id = LockId::parse(&format!("k-{number}")).unwrap();
    let lock = Lock {
        id: id.clone(),
        scope,
        effect,
        reason: String::from("why"),
        by: String::from("uid 0"),
        created: at(0),
        expires: None,
        lifters: 1,
        keeps_glass,
        said: Vec::new(),
        pending: None,
    };
    ledger.add_lock(lock, &AuditEvent::NodeStop).unwrap();
    id
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}
