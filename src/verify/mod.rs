//! Whether recordings and log are what was recorded: told by who has public keys only.
//!
//! The log comes first: its newest checkpoint is signed, every leaf and tile fits it, every checkpoint that was ever
//! published is a beginning of it. Then each session's files against the leaves that speak of them. What the files
//! say of themselves counts for nothing: that nothing vouches for something is a failure.
//!
//! What it cannot tell: whoever has the log's key and this directory can write another history that fits together.
//! An anchor shows that: a checkpoint that the verifier kept, or a witness's cosignature. Without one the report says
//! so, and the best verdict is `OK-UNANCHORED`. What was forged *before* it came into the log, by who held the machine
//! while a session ran, nothing shows.
//!
//! A segment that was given up after an I/O error is good as far as its `segment.suspect` leaf says, and the next one
//! goes on from there. What stands behind that place is not a part of the recording: it is not looked at, and nothing
//! that is done to it changes a verdict.
//!
//! Everything that is read may come from an attacker: it is bounded, links and pipes are not followed, nothing is
//! written, no lock is taken. A bastion may be running meanwhile; what looks wrong in a session that has just begun or
//! ended is looked at again.

mod bundle;
mod coverage;
mod deep;
mod files;
mod history;
mod judges;
mod leaf;
mod pass;
mod policies;
mod report;
mod rewrap;
mod seen;
mod segment;
mod session;
mod standing;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::auditor::Identity;
use crate::model::{SessionId, Timestamp};
use crate::store::{StoreRoot, describe as explain};
use crate::tlog::{Note, VerifyingKey};

pub use bundle::{
    Bundle, BundleError, BundleReport, COVERAGE, Content, Part, Plan, cast_name, open_part, plan, verify_bundle,
};
pub use coverage::{ChannelCoverage, Coverage, DirectionCoverage, coverage};
use history::History;
use pass::Pass;
pub use report::{
    AnchorReport, Contradiction, Finding, Findings, KeptAnchor, KeyOrigin, LogReport, LogVerdict, Opened, PolicyReport,
    Report, SessionReport, Verdict, WitnessAnchor,
};
pub use seen::seen;
pub use standing::{EndedBy, Standing, standings};

/// What to verify, and by what.
#[derive(Debug, Default)]
pub struct Settings {
    /// Only this session. The log is checked all the same.
    pub session: Option<SessionId>,
    /// Only sessions that began at this time or later.
    pub since: Option<Timestamp>,
    /// The log's key, if the verifier has it; else the one that lies beside the log, which proves less.
    pub key: Option<VerifyingKey>,
    /// Checkpoints from elsewhere: kept by the verifier, or told by a witness that was asked.
    pub kept: Vec<Kept>,
    /// The keys of witnesses.
    pub witnesses: Vec<VerifyingKey>,
    /// How many of them must have cosigned.
    pub require_witnesses: usize,
    /// Witnesses that were asked and say that they have never seen this log.
    pub unknown_to: Vec<VerifyingKey>,
    /// The newest cosignature may be so old, by `now`.
    pub max_age: Option<Duration>,
    /// Only what one session's verdict rests on: of the log its newest checkpoint and the leaves, and not each old
    /// checkpoint and tile.
    pub quick: bool,
    /// The time, if a bastion may be at work in the store: what it may be in the middle of is looked at twice.
    pub now: Option<Timestamp>,
    /// Opens each recording with one of these, and reads every line.
    pub identities: Option<Vec<Identity>>,
}

/// A checkpoint that does not come from the store: the log must go on from it.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Where it comes from, for the report: a file's name, a witness's.
    pub from: String,
    /// The checkpoint, signed by the log.
    pub note: Note,
    /// The witness that was asked and gave it, if it is one's answer.
    pub witness: Option<VerifyingKey>,
}

/// How far what takes long is: a verification, a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Leaves that were checked.
    Leaves {
        /// How many.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Sessions that are done with.
    Sessions {
        /// How many.
        done: u64,
        /// Of how many that are on disk.
        total: u64,
    },
}

/// A bastion that is running gets so long to complete what it has begun.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// Verifies a state directory. Writes nothing and takes no lock; blocks.
pub fn run(store: &Path, settings: &Settings, progress: &mut dyn FnMut(Step)) -> Report {
    judged(store, settings, progress).0
}

/// As `run`; also gives the log, if its leaves are what its newest checkpoint signs.
fn judged(store: &Path, settings: &Settings, progress: &mut dyn FnMut(Step)) -> (Report, Option<History>) {
    let root = StoreRoot::at(store);
    // What is on disk is listed before the log is read: a recording is on record before its first byte flows, so
    // that what was listed has leaves by then.
    let found = match settings.session.as_ref().filter(|_| settings.quick) {
        Some(session) => pass::Found::one(&root, session),
        None => pass::Found::read(store, &root),
    };
    let (history, log, anchor) = history::inquire(store, settings, progress);
    let mut report = Report {
        log,
        anchor,
        required_witnesses: settings.require_witnesses,
        policies: PolicyReport::default(),
        sessions: Vec::new(),
        directories: found.altered.clone(),
        unexpected: found.unexpected.clone(),
        opened: settings.identities.is_some().then(Opened::default),
    };
    let Some(history) = history else { return (report, None) };
    let mut pass = Pass::new(store, &root, settings, &found, None);
    pass.run(&history, &mut report, progress);
    let doubtful = std::mem::take(&mut pass.doubtful);
    report.policies = policies::judge(store, &root, &pass.policies, &mut report.unexpected);
    if !doubtful.is_empty() {
        std::thread::sleep(SECOND_LOOK);
        again(store, &root, settings, doubtful, &mut report);
    }
    if let Some(identities) = &settings.identities {
        deep::read_all(&root, identities, &mut report, progress);
    }
    (report, Some(history))
}

/// Judges those sessions anew, on a log that may have grown.
fn again(store: &Path, root: &StoreRoot, settings: &Settings, only: BTreeSet<SessionId>, report: &mut Report) {
    let found = pass::Found::read(store, root);
    let (history, log, anchor) = history::inquire(store, settings, &mut |_| {});
    let Some(history) = history.filter(|_| log.findings.is_empty()) else { return };
    let mut second = Report { sessions: Vec::new(), ..report.clone() };
    (second.log, second.anchor) = (log, anchor);
    Pass::new(store, root, settings, &found, Some(&only)).run(&history, &mut second, &mut |_| {});
    report.sessions.retain(|session| !only.contains(&session.session));
    report.sessions.extend(second.sessions);
    report.sessions.sort_by(|a, b| a.session.cmp(&b.session));
}
