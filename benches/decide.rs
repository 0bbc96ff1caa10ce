//! What a decision costs: `cargo bench --bench decide`. `Ledger::permit` with many rules and grants.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "a bench that stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

#[path = "ssh/machine.rs"]
mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use doorward::db::Db;
use doorward::grant::{Asker, Grant};
use doorward::ledger::{Ledger, Target, User, WayQuery};
use doorward::model::{ChannelClass, Destination, GrantId, GroupName, Presence, TargetName, Timestamp, UserName};
use doorward::policy::{PolicyFile, PolicySet};
use machine::{Bound, Figures};

const RULES: usize = 1000;
const GROUPS: usize = 100;
const USERS: usize = 1000;
const TARGETS: usize = 200;
const GRANTS: usize = 10_000;
/// A user is in so many groups. Ten rules name each group, each for another part of the targets: fifty are for a user,
/// and five of them for a target.
const GROUPS_OF_ONE: usize = 5;
const PARTS: usize = RULES / GROUPS;

/// Microseconds that one decision may take.
const DECISION: Bound = Bound::AtMost(20.0);

fn main() {
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let rounds = if quick { 5_000 } else { 100_000 };
    let mut figures = Figures::new("decide");
    let now = Timestamp::from_millis(1_000_000);
    let ledger = ledger(now);
    let users: Vec<UserName> = ledger.users().into_iter().map(|user| user.name).collect();

    let held: Vec<Grant> = ledger.grants().into_iter().filter(|grant| grant.until > now).collect();
    let (mut yes, mut asked) = (0_usize, 0_usize);
    let each = timed(rounds, |round| {
        let grant = &held[round * 7919 % held.len()];
        let asker = Asker {
            user: &grant.user,
            presence: Presence::NONE,
            key: "k",
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            mfa: None,
            since: None,
        };
        yes += usize::from(ledger.permit(asker, &grant.destination, ChannelClass::Shell, now).is_ok());
        asked += 1;
    });
    assert_eq!(yes, asked, "a grant that holds was refused");
    figures.row("decision, yes by a grant, 1,000 rules, 10,000 grants", "us", each, DECISION);

    let places: Vec<Destination> =
        (0..TARGETS).map(|target| Destination::parse(&format!("root@t{target}")).unwrap()).collect();
    let mut no = 0_usize;
    let each = timed(rounds, |round| {
        let asker = Asker {
            user: &users[round * 104_729 % USERS],
            presence: Presence::NONE,
            key: "k",
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            mfa: None,
            since: None,
        };
        let class = ChannelClass::ALL[round % ChannelClass::ALL.len()];
        no += usize::from(ledger.permit(asker, &places[round * 31 % TARGETS], class, now).is_err());
    });
    assert!(no > 0);
    figures.row("decision, anybody to anywhere, mostly no", "us", each, DECISION);

    // One who has come every day for years: 2,000 grants to one place, of which one holds.
    let (daily, place) = (users[0].clone(), places[0].clone());
    for number in 0..2000 {
        ledger.add_grant(grant(&format!("g-d{number}"), &daily, &place, now, number == 1999)).unwrap();
    }
    let asker = Asker {
        user: &daily,
        presence: Presence::NONE,
        key: "k",
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        mfa: None,
        since: None,
    };
    let each = timed(rounds, |_| assert!(ledger.permit(asker, &place, ChannelClass::Shell, now).is_ok()));
    figures.row("decision, 2,000 grants to that place, one holds", "us", each, DECISION);

    let start = Instant::now();
    let query = WayQuery { target: TargetName::parse("t0").ok(), ..WayQuery::default() };
    let found = ledger.ways(&query, 10_000, now).total;
    figures.row(
        &format!("who-can, of {USERS} users ({found} rights)"),
        "ms",
        start.elapsed().as_secs_f64() * 1e3,
        Bound::None,
    );
    figures.write();
}

/// Users, targets, rules and grants.
fn ledger(now: Timestamp) -> Ledger {
    let rule = |number: usize| {
        let (group, label) = (number % GROUPS, number / GROUPS);
        format!(
            "[[rule]]\nid = \"r{number}\"\nwho = {{ groups = [\"g{group}\"] }}\nwhere = {{ labels = {{ part = \"p{label}\" }} }}\n\
             accounts = [\"root\", \"a{number}\"]\nchannels = [\"shell\", \"exec\"]\n"
        )
    };
    let text = format!("schema = 1\n{}", (0..RULES).map(rule).collect::<String>());
    let policy = PolicySet::parse(&[PolicyFile { path: "a.toml".into(), text }]).unwrap();
    let ledger = Ledger::open(&Db::in_memory().unwrap(), policy).unwrap();
    for number in 0..USERS {
        let groups =
            (0..GROUPS_OF_ONE).map(|nth| GroupName::parse(&format!("g{}", (number + nth * 20) % GROUPS)).unwrap());
        let name = UserName::parse(&format!("u{number}")).unwrap();
        let (groups, keys, from) = (groups.collect(), Vec::new(), BTreeSet::new());
        let user =
            User { name, groups, keys, suspended_at: None, from, password_since: None, person: None, until: None };
        ledger.add_user(user).unwrap();
    }
    for number in 0..TARGETS {
        let target = Target {
            name: TargetName::parse(&format!("t{number}")).unwrap(),
            address: "10.0.0.5:22".to_owned(),
            labels: BTreeMap::from([("part".to_owned(), format!("p{}", number % PARTS))]),
            host_keys: Vec::new(),
            accounts: BTreeSet::new(),
            insecure_algorithms: false,
            desktop: None,
        };
        ledger.add_target(target).unwrap();
    }
    for number in 0..GRANTS {
        let (user, target) = (number % USERS, (number % USERS * 7 + number / USERS) % TARGETS);
        let user = UserName::parse(&format!("u{user}")).unwrap();
        let place = Destination::parse(&format!("root@t{target}")).unwrap();
        ledger.add_grant(grant(&format!("g-{number}"), &user, &place, now, number % 2 == 0)).unwrap();
    }
    ledger
}

fn grant(id: &str, user: &UserName, destination: &Destination, now: Timestamp, holds: bool) -> Grant {
    let end = if holds { now.as_millis() + 1000 } else { now.as_millis() - 1 };
    Grant {
        id: GrantId::parse(id).unwrap(),
        user: user.clone(),
        destination: destination.clone(),
        from: Timestamp::from_millis(0),
        until: Timestamp::from_millis(end),
        reason: "CHG-123 vacuum is stuck".to_owned(),
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

/// Microseconds of one round.
fn timed(rounds: usize, mut run: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..rounds).for_each(&mut run);
    start.elapsed().as_secs_f64() * 1e6 / rounds as f64
}
