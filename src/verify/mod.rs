//! Whether a store is what was recorded: a verdict for each session, from public keys alone.
//!
//! The log says what every session's files hash to, where each of its segments ends, and, every 10 s, how far the
//! live ones are. What is checked, in this order:
//!
//! 1. the log: its newest checkpoint is signed by its key, all entries and tiles are those that it covers, every
//!    earlier checkpoint is a beginning of it, and so is every checkpoint that somebody kept elsewhere;
//! 2. each session that the log names, against what the log says of it, byte for byte, without any secret;
//! 3. that there is nothing else in the store.
//!
//! What cannot be proven: whoever holds the log's key can sign another history, with fewer sessions in it. Only a
//! checkpoint that was kept elsewhere, or a witness, shows that; without one the report says that there is no anchor.
//! What happened in a live session since the log was told last, 10 s at most, can be cut off unnoticed. What the
//! store says of people in files beside the segments (`opened.json`) is bound by its hash, as all the rest.
//!
//! Files of a store are hostile. Nothing is written, no lock is taken.

mod book;
mod files;
mod history;
mod session;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::auditor::Identity;
use crate::model::{SessionId, Timestamp};
use crate::tlog::{Note, VerifyingKey};
use book::Book;
use history::History;

/// What to verify, and against what.
#[derive(Debug, Default)]
pub struct Settings {
    /// The state directory.
    pub store: PathBuf,
    /// The log's public key, from elsewhere; without it the one in the store is believed.
    pub key: Option<VerifyingKey>,
    /// Checkpoints of this log that were kept elsewhere.
    pub kept: Vec<Note>,
    /// Keys of witnesses.
    pub witnesses: Vec<VerifyingKey>,
    /// So many of them must have signed the newest checkpoint.
    pub witnesses_required: usize,
    /// Only this session.
    pub session: Option<SessionId>,
    /// Only sessions that began then or later.
    pub since: Option<Timestamp>,
    /// With an auditor's identity every record is opened and every line read, too.
    pub identities: Vec<Identity>,
}

/// What was found of a session. The later is the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// All of it is what was recorded, and the log that says so is anchored elsewhere.
    Ok,
    /// All of it is what was recorded, if the log is the one that was written.
    #[serde(rename = "OK-UNANCHORED")]
    OkUnanchored,
    /// It was removed when its time was over, and that is on record.
    Expired,
    /// Its key was destroyed, and that is on record; what is left is what was recorded.
    Shredded,
    /// It has not ended as a session ends; what is there is what was recorded.
    Interrupted,
    /// Something of it is gone.
    Missing,
    /// Something of it is not what was recorded.
    Tampered,
}

impl Verdict {
    /// Every verdict, the best first.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::OkUnanchored, Self::Expired, Self::Shredded, Self::Interrupted, Self::Missing, Self::Tampered];

    /// The exit status of the program for it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Ok | Self::OkUnanchored | Self::Expired | Self::Shredded => 0,
            Self::Interrupted => 3,
            Self::Missing => 4,
            Self::Tampered => 5,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::OkUnanchored => "OK-UNANCHORED",
            Self::Expired => "EXPIRED",
            Self::Shredded => "SHREDDED",
            Self::Interrupted => "INTERRUPTED",
            Self::Missing => "MISSING",
            Self::Tampered => "TAMPERED",
        })
    }
}

/// What was found of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// What was found.
    pub verdict: Verdict,
    /// Why, where it is not simply good: each a line, with the file and, where there is one, the place in it.
    pub notes: Vec<String>,
}

/// What was found of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Its name.
    pub origin: String,
    /// Whether its key came from elsewhere.
    pub key_pinned: bool,
    /// How many entries its newest checkpoint covers.
    pub size: u64,
    /// How many come after it, in the journal; nothing covers them yet.
    pub not_covered: u64,
    /// What is wrong with it.
    pub faults: Vec<String>,
}

/// What holds the log's history from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// So many entries are held.
    pub size: u64,
    /// By checkpoints that were kept, by their sizes.
    pub kept: Vec<u64>,
    /// By these witnesses, who signed the newest checkpoint.
    pub witnesses: Vec<String>,
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log.
    pub log: LogReport,
    /// Its anchor.
    pub anchor: Anchor,
    /// Each session.
    pub sessions: Vec<SessionReport>,
    /// What is in the store and belongs to no session, each a line.
    pub strays: Vec<String>,
    /// How many witnesses more were asked for than signed.
    pub witnesses_missing: usize,
}

impl Report {
    /// The exit status of the program: the worst of all that was found.
    pub fn exit_status(&self) -> u8 {
        let worst = self.sessions.iter().map(|session| session.verdict).max().map_or(0, Verdict::exit_status);
        let altered = !self.log.faults.is_empty() || !self.strays.is_empty();
        match (altered, worst, self.witnesses_missing) {
            (true, _, _) => Verdict::Tampered.exit_status(),
            (false, 4.., _) => worst,
            (false, _, 1..) => 6,
            (false, _, 0) => worst,
        }
    }
}

/// How far the work is, in bytes of segments; all of them are known before the first is read.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Verifies a store; what is wrong is what it reports.
pub fn run(settings: &Settings, progress: Progress<'_>) -> Report {
    let mut report = Report::default();
    let history = History::read(settings, &mut report);
    let book = Book::of(&history.leaves, &mut report.log.faults);
    let found = files::Store::walk(&settings.store, &mut report.strays);
    let mut sessions: BTreeSet<&SessionId> = book.sessions.keys().collect();
    sessions.extend(found.sessions.keys());
    let wanted: Vec<&SessionId> = sessions.into_iter().filter(|id| is_wanted(settings, id)).collect();
    let total = wanted.iter().filter_map(|id| found.sessions.get(*id)).map(files::Session::bytes).sum();
    let mut done = 0;
    for id in wanted {
        let mut judged = session::judge(settings, id, book.sessions.get(id), found.sessions.get(id), &mut |bytes| {
            done += bytes;
            progress(done, total);
        });
        let last_leaf = book.sessions.get(id).map_or(u64::MAX, |told| told.last_leaf);
        if judged.verdict == Verdict::OkUnanchored && last_leaf < report.anchor.size {
            judged.verdict = Verdict::Ok;
        }
        report.sessions.push(judged);
    }
    for stray in found.envelopes_without(&book) {
        report.strays.push(stray);
    }
    report
}

fn is_wanted(settings: &Settings, id: &SessionId) -> bool {
    settings.session.as_ref().is_none_or(|wanted| wanted == id)
        && settings.since.is_none_or(|since| id.made().is_none_or(|made| made >= since))
}
