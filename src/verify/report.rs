//! What a verification says.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{SessionId, Timestamp};
use crate::screen::line;

/// More findings about one session, or about the log, are counted and not kept: whoever wrote the files chooses how
/// many there are.
const FINDINGS_MAX: usize = 32;

/// What is said of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Verdict {
    /// All of it is what was recorded, by a checkpoint that somebody else keeps.
    Ok,
    /// All of it is what the log says, and nobody but this bastion vouches for the log.
    OkUnanchored,
    /// Its time was over: a `gc` leaf says that it was removed.
    Expired,
    /// All of it is what was recorded, and nobody can read it any more: an `erase` leaf says so.
    Shredded,
    /// It did not end as a session ends, or has not ended. What is there is what was recorded, up to where it stops.
    Interrupted,
    /// The log says that it was there, and it is not, or cannot be read.
    Missing,
    /// It is not what was recorded.
    Tampered,
}

impl Verdict {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::OkUnanchored => "OK-UNANCHORED",
            Self::Expired => "EXPIRED",
            Self::Shredded => "SHREDDED",
            Self::Interrupted => "INTERRUPTED",
            Self::Missing => "MISSING",
            Self::Tampered => "TAMPERED",
        }
    }

    fn exit_code(self) -> u8 {
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
        f.pad(self.name())
    }
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file or directory, from the state directory on; or the leaf.
    pub place: String,
    /// From which byte on, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} at byte {offset}: {}", self.place, self.why),
            None => write!(f, "{}: {}", self.place, self.why),
        }
    }
}

/// Findings, the first of them kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    kept: Vec<Finding>,
    more: u64,
}

impl Findings {
    /// A name may be an attacker's, and must not make lines of its own in a report.
    pub(super) fn push(&mut self, finding: Finding) {
        let Finding { place, offset, why } = finding;
        let finding = Finding { place: line(&place), offset, why: line(&why) };
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn add(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.push(Finding { place: place.into(), offset: None, why: why.into() });
    }

    pub(super) fn append(&mut self, others: Self) {
        let Self { kept, more } = others;
        kept.into_iter().for_each(|finding| self.push(finding));
        self.more = self.more.saturating_add(more);
    }

    /// How many were kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.kept.iter()
    }

    /// How many more there were.
    pub fn more(&self) -> u64 {
        self.more
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl Serialize for Findings {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let more = (self.more > 0).then(|| Finding {
            place: String::from("and more"),
            offset: None,
            why: format!("{} further findings are not listed", self.more),
        });
        to.collect_seq(self.kept.iter().chain(more.as_ref()))
    }
}

/// What is said of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether all that the verdict rests on in the log is vouched for by somebody else than the bastion.
    pub anchored: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Findings::is_empty")]
    pub findings: Findings,
    /// What else is to be known, such as why it is interrupted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Where the key came from that the log was checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// From the verifier.
    Pinned,
    /// From what is verified: whoever could write there could also have put another key.
    Store,
}

/// What is said of the log, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogVerdict {
    /// Every leaf is what its newest checkpoint signs.
    Ok,
    /// It has no checkpoint, so nothing vouches for any leaf.
    Unsigned,
    /// It is not what was signed, or not what somebody else knows of it.
    Tampered,
}

/// What is said of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Its name; none if there is no key.
    pub origin: Option<String>,
    /// The key, in its text form.
    pub key: Option<String>,
    /// Where the key came from.
    pub key_from: KeyOrigin,
    /// How many leaves the newest checkpoint covers.
    pub size: u64,
    /// The root that it signs.
    pub root: Option<String>,
    /// When its last leaf was written.
    pub newest: Option<Timestamp>,
    /// How many leaves no checkpoint covers yet.
    pub unsigned: u64,
    /// What is wrong.
    pub findings: Findings,
    /// What is odd and proves nothing, such as a clock that went back.
    pub warnings: Findings,
}

impl LogReport {
    /// The verdict. That nothing is signed is none of the findings: it is what a bastion looks like that was just set
    /// up, and also what is left where everything signed was taken away.
    pub fn verdict(&self) -> LogVerdict {
        if !self.findings.is_empty() {
            LogVerdict::Tampered
        } else if self.root.is_none() {
            LogVerdict::Unsigned
        } else {
            LogVerdict::Ok
        }
    }
}

/// Who outside of this store vouches for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnchorReport {
    /// Checkpoints that were kept elsewhere and that the log goes on from: where from, and how many leaves they cover.
    pub kept: Vec<(String, u64)>,
    /// Witnesses that cosigned, with the time in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
    /// How many leaves witnesses cosigned, if enough of them did.
    pub cosigned: u64,
    /// How many leaves are vouched for as was demanded: by witnesses where they are, else in either way.
    pub size: u64,
    /// How many more the log has: only the bastion says so.
    pub beyond: u64,
    /// The time of the newest cosignature that holds, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// What was kept or asked elsewhere and speaks against this log: where from, and what it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contradicted: Vec<(String, String)>,
    /// What should have vouched for the log and does not: a witness that was asked and does not know it, a cosignature
    /// that is too old or from the future.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
}

/// What is said of the policy sets that were in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyReport {
    /// How many are there, and are what the log names.
    pub kept: u64,
    /// Those that are something else.
    pub findings: Findings,
    /// Those that are not there, or cannot be read.
    pub missing: Findings,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The log.
    pub log: LogReport,
    /// What vouches for the log.
    pub anchor: AnchorReport,
    /// How many witnesses were demanded.
    pub required_witnesses: usize,
    /// The policy sets.
    pub policies: PolicyReport,
    /// Each session, by id.
    pub sessions: Vec<SessionReport>,
    /// What is wrong with the directories that hold recordings.
    #[serde(skip_serializing_if = "Findings::is_empty")]
    pub directories: Findings,
    /// Files that nothing in the log or in a recording speaks of, and that were not looked at.
    pub unexpected: Findings,
    /// How many recordings were opened and read, and how many are sealed for others; none without an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

/// How far a verification with an identity came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Recordings that were read in full.
    pub read: u64,
    /// Recordings that are sealed for other auditors.
    pub sealed_for_others: u64,
}

impl Report {
    /// How many sessions have that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.sessions.iter().filter(|session| session.verdict == verdict).count()
    }

    /// Whether all that is said to be good, or to be gone rightly, is vouched for as was demanded. A session that is
    /// live is neither.
    pub fn is_anchored_as_required(&self) -> bool {
        let rests_on_the_log = |session: &SessionReport| match session.verdict {
            Verdict::Ok | Verdict::OkUnanchored | Verdict::Expired | Verdict::Shredded => true,
            Verdict::Interrupted | Verdict::Missing | Verdict::Tampered => false,
        };
        let vouched = self.required_witnesses == 0
            || self.anchor.cosigned > 0
                && self.sessions.iter().all(|session| session.anchored || !rests_on_the_log(session));
        vouched && self.anchor.lacking.is_empty()
    }

    /// Whether what is said of the sessions was judged by a log that can be believed.
    pub fn is_log_believed(&self) -> bool {
        self.log.findings.is_empty()
    }

    /// What is said of all of it, in one word.
    pub fn outcome(&self) -> &'static str {
        match self.exit_code() {
            5 => Verdict::Tampered.name(),
            4 => Verdict::Missing.name(),
            6 if self.log.verdict() == LogVerdict::Unsigned => "UNSIGNED",
            6 => "UNANCHORED",
            3 => Verdict::Interrupted.name(),
            _ if self.anchor.size == 0 || self.sessions.iter().any(|session| !session.anchored) => {
                Verdict::OkUnanchored.name()
            }
            _ => Verdict::Ok.name(),
        }
    }

    /// 0 if all is well; 5 if anything was altered, else 4 if anything is missing, else 6 if nothing is signed or
    /// something that was demanded does not vouch for it, else 3 if a session was interrupted.
    pub fn exit_code(&self) -> u8 {
        let worst = |code: u8| self.sessions.iter().any(|session| session.verdict.exit_code() == code);
        if !self.log.findings.is_empty()
            || !self.directories.is_empty()
            || !self.policies.findings.is_empty()
            || worst(5)
        {
            5
        } else if !self.policies.missing.is_empty() || worst(4) {
            4
        } else if self.log.verdict() == LogVerdict::Unsigned || !self.is_anchored_as_required() {
            6
        } else if worst(3) {
            3
        } else {
            0
        }
    }
}
