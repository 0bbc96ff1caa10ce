//! What the gate catches, whom it disturbs and what it costs: `make bench-gate`.
//!
//! Lines of other projects (see `corpus.rs`) are judged by a strict policy (an allow-list of read-only programs) and by
//! guard policies (everything but some effects), as they are and in mechanical disguises. No line of them is kept here.
//! `--markdown FILE` writes the table, `--json FILE` the figures, `--kinds` adds what kind of thing decided, by number.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::as_conversions, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::panic, clippy::wildcard_enum_match_arm, reason = "a bench that stops at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "this measures time itself")]

mod corpus;
mod disguise;
mod judge;
#[path = "../ssh/machine.rs"]
mod machine;
mod report;
mod speed;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use corpus::{Entry, Expected};
use disguise::Disguise;
use judge::{Answer, Gate, Policy};
use report::{Report, Share};

/// Programs of which a line of a corpus was read while their entry in the effects table was written: what is caught of
/// them proves nothing. None was.
const SEEN_WHILE_WRITING: [&str; 0] = [];

/// Families of GTFOBins, each with the guard policy that must catch it.
const FAMILIES: [(&str, Policy); 4] = [
    ("no-shell", Policy::NoShell),
    ("no-secret-read", Policy::NoSecretRead),
    ("no-system-write", Policy::NoSystemWrite),
    ("no-transfer", Policy::NoTransfer),
];

fn main() {
    let Some(folder) = corpus::folder() else {
        println!("skipped: DOORWARD_CORPORA names no folder with corpora");
        return;
    };
    let entries = corpus::load(&folder);
    let gate = Gate::new();
    let mut report = Report::new(gate.programs());
    let mut panics = 0;
    // A panic is counted, and never stops the rest; what it says would only hide the figures.
    std::panic::set_hook(Box::new(|_| ()));
    let mut judge = |policy: Policy, line: &str| {
        catch_unwind(AssertUnwindSafe(|| gate.judge(policy, line))).unwrap_or_else(|_| {
            panics += 1;
            Answer::Panicked
        })
    };
    caught(&gate, &entries, &mut judge, &mut report);
    disguised(&gate, &entries, &mut judge, &mut report);
    everyday(&entries, &mut judge, &mut report);
    attacks(&entries, &mut judge, &mut report);
    if std::env::args().any(|word| word == "--kinds") {
        kinds(&gate, &entries);
    }
    drop(std::panic::take_hook());
    report.panics(panics);
    speed::measure(&gate, &entries, &mut report);
    report.finish();
}

/// How well an entry's program is known to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// It has an entry, written from its manual.
    Table,
    /// It has an entry, and lines of the corpus were read while it was written.
    Seen,
    /// It has none.
    Other,
}

fn known(gate: &Gate, entry: &Entry) -> Known {
    if SEEN_WHILE_WRITING.contains(&entry.program.as_str()) {
        Known::Seen
    } else if gate.knows(&entry.program) {
        Known::Table
    } else {
        Known::Other
    }
}

/// The share of the entries to be denied that are, by family and category.
fn caught(gate: &Gate, entries: &[Entry], judge: &mut dyn FnMut(Policy, &str) -> Answer, report: &mut Report) {
    let mut shares: BTreeMap<(&str, &str), [Share; 6]> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.expected == Expected::Deny) {
        let Some((family, policy)) = FAMILIES.iter().find(|(name, _)| *name == entry.policy) else { continue };
        let line = entry.judged();
        let (strict, guard) = (judge(Policy::Strict, line), judge(*policy, line));
        let all = FAMILIES.iter().any(|(_, policy)| judge(*policy, line) == Answer::Denied);
        for category in ["", entry.category.as_str()] {
            let row = shares.entry((family, category)).or_default();
            row[0].count(strict == Answer::Denied);
            row[1].count(guard == Answer::Denied);
            row[2 + known(gate, entry) as usize].count(guard == Answer::Denied);
            row[5].count(all);
        }
    }
    report.caught(&shares);
}

/// The same after each disguise, for shell escapes of one line.
fn disguised(gate: &Gate, entries: &[Entry], judge: &mut dyn FnMut(Policy, &str) -> Answer, report: &mut Report) {
    for disguise in Disguise::ALL {
        let mut shares = <[Share; 5]>::default();
        let mut allowed = 0_usize;
        for entry in entries.iter().filter(|entry| entry.policy == "no-shell" && entry.lines == 1) {
            let Some(line) = disguise.of(entry.judged()) else { continue };
            let (strict, guard) = (judge(Policy::Strict, &line), judge(Policy::NoShell, &line));
            allowed += usize::from(strict == Answer::Allowed);
            shares[0].count(strict == Answer::Denied);
            shares[1].count(guard == Answer::Denied);
            shares[2 + known(gate, entry) as usize].count(guard == Answer::Denied);
        }
        report.disguise(disguise.name(), &shares, allowed);
    }
}

/// How many harmless everyday lines are stopped.
fn everyday(entries: &[Entry], judge: &mut dyn FnMut(Policy, &str) -> Answer, report: &mut Report) {
    for source in ["nl2bash", "tldr"] {
        let mut by: BTreeMap<&str, Share> = BTreeMap::new();
        let (mut any, mut strict, mut asked, mut noticed) =
            (Share::default(), Share::default(), Share::default(), Share::default());
        for entry in entries.iter().filter(|entry| entry.source == source && entry.expected == Expected::Allow) {
            let line = entry.judged();
            let mut stopped = false;
            for (family, policy) in FAMILIES {
                let answer = judge(policy, line);
                asked.count(answer == Answer::Asked);
                by.entry(family).or_default().count(answer != Answer::Allowed);
                stopped |= answer != Answer::Allowed;
            }
            any.count(stopped);
            noticed.count(judge(Policy::Unknown, line) == Answer::Denied);
            strict.count(judge(Policy::Strict, line) != Answer::Allowed);
        }
        report.everyday(source, any, &by, asked, noticed, strict);
    }
}

/// Attack scripts: some steps are harmless by themselves, so what is noticed counts, too.
fn attacks(entries: &[Entry], judge: &mut dyn FnMut(Policy, &str) -> Answer, report: &mut Report) {
    for source in ["atomic", "lolbas"] {
        let (mut denied, mut noticed, mut strict) = (Share::default(), Share::default(), Share::default());
        for entry in entries.iter().filter(|entry| entry.source == source) {
            let line = entry.judged();
            let any = FAMILIES.iter().any(|(_, policy)| judge(*policy, line) == Answer::Denied);
            denied.count(any);
            noticed.count(any || judge(Policy::Unknown, line) == Answer::Denied);
            strict.count(judge(Policy::Strict, line) == Answer::Denied);
        }
        report.attacks(source, denied, noticed, strict);
    }
}

/// By what kind of thing lines were decided against what was expected: numbers only, never lines or programs.
fn kinds(gate: &Gate, entries: &[Entry]) {
    let mut all: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in entries {
        for (family, policy) in FAMILIES {
            let wrong = match entry.expected {
                Expected::Allow => gate.judge(policy, entry.judged()) != Answer::Allowed,
                Expected::Deny => entry.policy == family && gate.judge(policy, entry.judged()) != Answer::Denied,
                Expected::Unlabelled => false,
            };
            if wrong {
                let place = format!("{} {family} {} {:?}", entry.source, entry.category, known(gate, entry));
                *all.entry((place, gate.kind(policy, entry.judged()))).or_default() += 1;
            }
        }
    }
    for ((place, kind), number) in all {
        println!("{number:6} {place}: {kind}");
    }
}
