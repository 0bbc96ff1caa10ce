//! What it costs to ask policies about the past: `cargo bench --bench rehearse`. Ten million command lines, by the policies
//! of this repository, on all processors; without the reading of the log.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "a bench that stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

#[path = "ssh/machine.rs"]
mod machine;

use std::path::Path;
use std::time::Instant;

use doorward::config::read_policies;
use doorward::model::{Destination, GroupName, SessionId, TargetName, Timestamp, UserName};
use doorward::policy::PolicySet;
use doorward::policy::past::{Known, Past, PastAsked, Rehearsal, Said};
use machine::{Bound, Figures};

/// Seconds for ten million.
const ALL: Bound = Bound::AtMost(120.0);
const MANY: usize = 10_000_000;
const QUICK: usize = 100_000;

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
    let rounds = if std::env::var_os("BENCH_QUICK").is_some() { QUICK } else { MANY };
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
    let mut figures = Figures::new("rehearse");
    let scale = MANY as f64 / rounds as f64;
    figures.row("ten million past commands, rehearsed", "s", seconds * scale, ALL);
    figures.row("one, on one processor", "us", seconds * 1e6 * processors as f64 / rounds as f64, Bound::None);
    figures.write();
}
