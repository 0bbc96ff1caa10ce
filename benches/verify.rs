//! What verifying costs: `cargo bench --bench verify`. MB/s of stored bytes, beside SHA-256 of the same files.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "the store is made by the tests' code")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

#[path = "ssh/machine.rs"]
mod machine;
#[path = "../tests/it/verify/store.rs"]
mod store;

use std::time::Instant;

use doorward::verify::Settings;
use machine::{Bound, Figures};
use ring::digest::{SHA256, digest};

/// About 50 KB of a recording each.
const BLOCKS: u64 = 4000;
const SESSIONS: u64 = 20;

fn main() {
    let store = store::Store::new();
    let bastion = store.bastion();
    for session in 0..SESSIONS {
        let blocks: Vec<String> =
            (0..BLOCKS / SESSIONS).map(|block| store::noise(session * BLOCKS + block + 1)).collect();
        bastion.session(&blocks.iter().map(String::as_str).collect::<Vec<_>>());
    }
    bastion.stop();
    let files = store.files();
    let bytes: usize = files.values().map(Vec::len).sum();
    drop(files);
    // The first round reads what is in memory by now anyway; the best of three is told.
    let verified = best(|| assert_eq!(store.verify_with(&Settings::default()).exit_code(), 0));
    let hashed = best(|| {
        for path in store.files().values() {
            std::hint::black_box(digest(&SHA256, path));
        }
    });
    let deep = Settings { identities: Some(vec![store.auditor.clone()]), ..Settings::default() };
    let opened = best(|| assert_eq!(store.verify_with(&deep).exit_code(), 0));
    let rate = |secs: f64| bytes as f64 / secs / 1e6;
    let mut figures = Figures::new("verify");
    let size = bytes / 1_000_000;
    figures.row(&format!("verify, {SESSIONS} sessions, {size} MB"), "MB/s", rate(verified), Bound::AtLeast(300.0));
    figures.row("verify --deep", "MB/s", rate(opened), Bound::None);
    figures.row("SHA-256 of the same files", "MB/s", rate(hashed), Bound::None);
    figures.write();
}

fn best(mut run: impl FnMut()) -> f64 {
    let rounds = (0..3).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64()
    });
    rounds.fold(f64::INFINITY, f64::min)
}
