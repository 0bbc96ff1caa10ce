//! `make bench`: direct `ssh`, `ssh -J` through a plain `sshd`, and Doorward with strict and with bounded durability,
//! side by side in one run.
//!
//! Rounds are interleaved: each measures every lane once, so that a busy moment of the machine hits all of them. The
//! ratios count, not the absolute figures. `BENCH_QUICK=1` makes it short, `BENCH_LANES=direct,jump` leaves lanes out,
//! `BENCH_ONLY=echo` keeps the measures whose name has that word. The figures go to `bench.json` in the target folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement that stops at the first surprise, with its text, is what these are for"
)]

mod attack;
mod crowd;
mod ending;
mod everyday;
#[allow(unused_imports, unused_macros, reason = "the tests use the rest")]
#[path = "../../tests/it/fixture/mod.rs"]
mod fixture;
mod held;
mod lanes;
mod machine;
mod measures;
mod report;
mod watching;

use std::time::Duration;

use lanes::Lanes;
use report::{Goal, Report};

/// How much of everything: sizes and rounds.
pub struct Scale {
    /// Rounds of what takes long; medians are of these.
    pub rounds: usize,
    /// Rounds of what is short.
    pub many: usize,
    /// Bytes of a bulk transfer.
    pub bulk: u64,
    /// Echoes a lane and round.
    pub echoes: usize,
    /// Keys pressed in each session of a crowd.
    pub keys: usize,
    /// Idle sessions held at once.
    pub sessions: usize,
    /// Runs of what must never hang.
    pub repeats: usize,
    /// How long a peer does not read.
    pub stuck: Duration,
    /// Sessions that come and go.
    pub opened: usize,
    /// Small files that are moved.
    pub files: usize,
    /// Machines whose facts are gathered.
    pub machines: usize,
}

fn main() {
    if !fixture::has("sshd") || !fixture::has("ssh") {
        return;
    }
    let quick = std::env::var_os("BENCH_QUICK").is_some();
    let scale = if quick {
        Scale {
            rounds: 3,
            many: 5,
            bulk: 64 << 20,
            echoes: 100,
            keys: 50,
            sessions: 50,
            repeats: 10,
            stuck: Duration::from_secs(5),
            opened: 200,
            files: 200,
            machines: 5,
        }
    } else {
        Scale {
            rounds: 7,
            many: 25,
            bulk: 256 << 20,
            echoes: 500,
            keys: 250,
            sessions: 200,
            repeats: 100,
            stuck: Duration::from_secs(60),
            opened: 1000,
            files: 2000,
            machines: 20,
        }
    };
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let lanes = Lanes::start();
    let mut report = Report::new(lanes.names());
    println!("{}", report.machine());
    report.row("SHA-256 alone, a part of what digest costs", "s/GiB", &reference(&lanes), &[], &[]);
    for (name, measure) in MEASURES {
        if name.contains(&only) {
            eprintln!("... {name}");
            measure(&lanes, &scale, &mut report);
        }
    }
    println!("{}", report.table());
    let file = report.write(quick);
    println!("written to {}", file.display());
}

/// The cost of the digest, in the columns of those who make one.
fn reference(lanes: &Lanes) -> Vec<(lanes::Lane, f64)> {
    let cost = measures::digest_cost();
    lanes.doorward().map(|lane| (lane, cost)).collect()
}

type Measure = fn(&Lanes, &Scale, &mut Report);

/// In the order of the table of goals.
const MEASURES: &[(&str, Measure)] = &[
    ("bulk aes256-gcm", |lanes, scale, report| {
        let cipher = "aes256-gcm@openssh.com";
        measures::bulk(lanes, scale, report, cipher, &[Goal::AtLeast("d", 0.9), Goal::AtLeast("j", 1.5)]);
    }),
    ("bulk chacha20", |lanes, scale, report| {
        measures::bulk(lanes, scale, report, "chacha20-poly1305@openssh.com", &[Goal::AtLeast("d", 0.8)]);
    }),
    ("text recorded", measures::text),
    ("duplex cat", measures::duplex),
    ("duplex hangs", measures::duplex_hangs),
    ("rekey", measures::rekey),
    ("set-up", measures::set_up),
    ("echo", measures::echo),
    ("echo of a crowd", crowd::echo),
    ("head", measures::head),
    ("channel beside a stalled one", measures::beside),
    ("stuck peer", measures::stuck),
    ("memory", measures::memory_of_sessions),
    ("memory while writing", crowd::memory_while_writing),
    ("open and close", measures::open_close),
    ("sftp", everyday::sftp),
    ("shared connection", everyday::shared),
    ("Ansible", everyday::ansible),
    ("attack", attack::echo),
    ("revoke", ending::revoke),
    ("watch", watching::lag),
    ("held keys", held::keys),
    ("emulator", held::emulator),
];
