//! What it costs to ask policies about the past: `cargo bench --bench rehearse`. Command lines by the policies of this
//! repository, on all processors: once alone, and once as `doorward policy replay` does it, from a bastion's log.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "a bench that stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

#[path = "ssh/machine.rs"]
mod machine;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use doorward::audit::{Audit, AuditEvent, CommandJudged, CommandStart};
use doorward::clock::Clock;
use doorward::config::read_policies;
use doorward::db::{Db, MasterKey};
use doorward::home::Home;
use doorward::model::{Destination, GroupName, RequestId, SessionId, TargetName, Timestamp, UserName};
use doorward::policy::PolicySet;
use doorward::policy::past::{Known, Past, PastAsked, Rehearsal, Said};
use doorward::vault::Vault;
use machine::{Bound, Figures};

/// Seconds for ten million.
const ALL: Bound = Bound::AtMost(120.0);
const MANY: usize = 10_000_000;
const QUICK: usize = 100_000;
/// So many stand in a log that is replayed.
const LOGGED: usize = 1_000_000;
/// After so many a checkpoint is published, as a server does each second.
const PUBLISHED: usize = 10_000;
/// So many are waited for at once.
const WRITERS: usize = 256;

/// What people run all day, some of it allowed, some not, some not understood.
const LINES: &[&str] = &[
    "systemctl restart nginx",
    "systemctl status 'php8-fpm'",
    "tail -n 200 /var/log/nginx/access.log",
    "grep -i error /var/log/nginx/error.log | tail -n 20",
    "cat /etc/hosts /etc/passwd",
    "cat /etc/shadow",
    "ps aux | grep nginx | grep -v grep | awk '{print $2}'",
    "find /var/log -name '*.log' -mtime -1 -exec ls -l {} +",
    "sudo systemctl restart nginx && systemctl status nginx",
    "df -h; du -sh /var/* | sort -h | tail -5",
    "for f in /etc/*.conf; do echo $f; done",
    "curl -s http://localhost:8080/health | jq .status",
    "docker ps --format '{{.Names}}'",
    "rsync -a /srv/www/ backup:/srv/www/",
    "sed -i 's/a/b/' /etc/nginx/nginx.conf",
    "journalctl -u nginx --since today --no-pager",
    "uptime",
    "echo \"$(date) done\" >> /tmp/log",
    "tar czf /tmp/www.tgz -C /srv www",
    "kubectl get pods -n prod -o wide",
];

fn main() {
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let mut figures = Figures::new("rehearse");
    alone(if quick { QUICK } else { MANY }, &mut figures);
    from_the_log(if quick { QUICK } else { LOGGED }, &mut figures);
    figures.write();
}

/// The policies alone.
fn alone(rounds: usize, figures: &mut Figures) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let set = PolicySet::parse(&read_policies(&root).unwrap()).unwrap();
    let user = UserName::parse("alice").unwrap();
    let target = TargetName::parse("web1").unwrap();
    let known = Known {
        groups: [(user.clone(), [GroupName::parse("web-operators").unwrap()].into())].into(),
        labels: [(target, [(String::from("tier"), String::from("web"))].into())].into(),
    };
    let destination = Destination::parse("ops@web1").unwrap();
    let session = SessionId::from_parts(Timestamp::from_millis(1), 1);
    let processors = std::thread::available_parallelism().unwrap().get();
    let start = Instant::now();
    let rehearsed = std::thread::scope(|scope| {
        let work = |nth: usize| {
            let mut rehearsal = Rehearsal::of(&set, &known);
            for round in (nth..rounds).step_by(processors) {
                rehearsal.take(&Past {
                    user: &user,
                    destination: &destination,
                    at: Timestamp::from_millis(round as i64),
                    source: None,
                    session: &session,
                    granted: false,
                    asked: PastAsked::Command(LINES[round * 7919 % LINES.len()]),
                    then: Said::Allowed,
                });
            }
            rehearsal
        };
        let parts: Vec<_> = (0..processors).map(|nth| scope.spawn(move || work(nth))).collect();
        parts.into_iter().fold(Rehearsal::of(&set, &known), |all, part| all.and(part.join().unwrap())).end()
    });
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(rehearsed.decisions, rounds as u64);
    let scale = MANY as f64 / rounds as f64;
    figures.row("ten million past commands, judged", "s", seconds * scale, ALL);
    figures.row("one, on one processor", "us", seconds * 1e6 * processors as f64 / rounds as f64, Bound::None);
}

/// The whole program: first with the index of commands to be made from the log, then with the index there.
fn from_the_log(rounds: usize, figures: &mut Figures) {
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("home");
    doorward(&["init", "--dir", home.to_str().unwrap(), "--make-auditor", "auditor.key"], place.path());
    let config = home.join("doorward.toml");
    let config = config.to_str().unwrap();
    doorward(&["--config", config, "user", "add", "alice", "--group", "web-operators"], place.path());
    keep_commands(&home, rounds);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let replay = ["--config", config, "policy", "replay", "--since", "3650d", "--new", root.to_str().unwrap()];
    let scale = MANY as f64 / rounds as f64;
    for (measure, bound) in [
        ("ten million from the log, replayed, index made first", Bound::None),
        ("ten million from the log, replayed", ALL),
    ] {
        let start = Instant::now();
        let told = doorward(&replay, place.path());
        let seconds = start.elapsed().as_secs_f64();
        assert!(told.contains(&format!("{rounds} decisions")), "{told}");
        figures.row(measure, "s", seconds * scale, bound);
    }
}

/// Puts so many judged commands on record, as sessions do.
fn keep_commands(home: &Path, rounds: usize) {
    let opened = Home::open(&home.join("data")).unwrap();
    let master = MasterKey::load(&home.join("master.key")).unwrap();
    let db = Db::open(&opened.state(), opened.id(), master).unwrap();
    let key = Vault::open(&db).unwrap().log_key(opened.id()).unwrap();
    let audit = Audit::open(&opened.log(), key, &db, Clock::system()).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for nth in 0..WRITERS {
            let audit = &audit;
            scope.spawn(move || {
                for round in (nth..rounds).step_by(WRITERS) {
                    audit.append(&AuditEvent::CommandAllowed(Box::new(judged(round)))).unwrap();
                    if round % PUBLISHED == 0 {
                        audit.publish().unwrap();
                    }
                }
            });
        }
    });
    audit.close().unwrap();
    println!("{rounds} commands were put on record in {:.0} s", start.elapsed().as_secs_f64());
}

fn judged(round: usize) -> CommandJudged {
    let line = LINES[round * 7919 % LINES.len()];
    CommandJudged {
        decision: RequestId::parse("d-7k2mq4x9").unwrap(),
        session: SessionId::from_parts(Timestamp::from_millis(1_700_000_000_000), round as u128 / 100),
        channel: Some(0),
        user: UserName::parse("alice").unwrap(),
        destination: Destination::parse("ops@web1").unwrap(),
        mode: String::from("observe"),
        verdict: String::from("allow"),
        rule: None,
        because: String::from("no rule denies it"),
        policy: "0".repeat(64),
        line: line.to_owned(),
        sent: None,
        confidence: None,
        starts: vec![CommandStart { words: line.to_owned(), effects: vec![line.to_owned()], rule: None }],
        alert: None,
        second: Some(7),
        approved_by: Vec::new(),
        note: None,
    }
}

/// Runs the program; what it prints.
fn doorward(arguments: &[&str], at: &Path) -> String {
    let told = Command::new(env!("CARGO_BIN_EXE_doorward")).args(arguments).current_dir(at).output().unwrap();
    assert!(told.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}
