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
    /// It did not end as a session ends, or has not ended. What is there is what was recorded, up to where it stops. Or
    /// its removal, or the destruction of its key, is on record and was not completed.
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
    /// Whether nothing is wrong but that something is not there, or cannot be judged without it.
    #[serde(skip)]
    pub(super) absence: bool,
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
        let Finding { place, offset, why, absence } = finding;
        let finding = Finding { place: line(&place), offset, why: line(&why), absence };
        if self.kept.len() < FINDINGS_MAX {
            self.kept.push(finding);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn add(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.push(Finding { place: place.into(), offset: None, why: why.into(), absence: false });
    }

    /// That something is not there.
    pub(super) fn add_absence(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.push(Finding { place: place.into(), offset: None, why: why.into(), absence: true });
    }

    /// Those that say more than that something is not there; all of those that were not kept count as such.
    pub(super) fn without_absences(self) -> Self {
        let Self { kept, more } = self;
        Self { kept: kept.into_iter().filter(|finding| !finding.absence).collect(), more }
    }

    /// Takes back that this is not there; whether it was said.
    pub(super) fn remove_absence(&mut self, place: &str) -> bool {
        let before = self.kept.len();
        self.kept.retain(|finding| !(finding.absence && finding.place == place));
        self.kept.len() < before
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
            absence: false,
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
    /// The leaf that says that its key was destroyed.
    pub erased: Option<u64>,
    /// The leaf that says that it was removed.
    pub removed: Option<u64>,
    /// What is wrong.
    pub findings: Findings,
    /// What else is to be known, such as why it is interrupted.
    pub notes: Vec<String>,
}

impl SessionReport {
    /// The verdict for one who wants to see the recording: what is gone by the log is gone, also where it was not
    /// removed, or its key not destroyed, completely.
    pub fn verdict_for_viewers(&self) -> Verdict {
        match (self.verdict, self.removed, self.erased) {
            (Verdict::Interrupted, Some(_), _) => Verdict::Expired,
            (Verdict::Interrupted, None, Some(_)) => Verdict::Shredded,
            (verdict, ..) => verdict,
        }
    }
}

/// Where the key came from that the log was checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyOrigin {
    /// From the verifier.
    Pinned,
    /// From beside what is verified, in the store or the bundle: whoever could write there could also have put another
    /// key.
    Beside,
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

/// Writes what is said of the log with its verdict, and whether the sessions were judged by a log that can be believed.
fn with_verdict<S: Serializer>(log: &LogReport, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Judged<'a> {
        verdict: LogVerdict,
        is_believed: bool,
        #[serde(flatten)]
        log: &'a LogReport,
    }
    Judged { verdict: log.verdict(), is_believed: log.findings.is_empty(), log }.serialize(to)
}

/// Who outside of this store vouches for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnchorReport {
    /// Checkpoints that were kept elsewhere and that the log goes on from.
    pub kept: Vec<KeptAnchor>,
    /// Witnesses that cosigned.
    pub witnesses: Vec<WitnessAnchor>,
    /// How many leaves witnesses cosigned, if enough of them did.
    pub cosigned: u64,
    /// How many leaves are vouched for as was demanded: by witnesses where they are, else in either way.
    pub size: u64,
    /// How many more the log has: only the bastion says so.
    pub beyond: u64,
    /// The time of the newest cosignature that holds.
    pub newest: Option<Timestamp>,
    /// What was kept or asked elsewhere and speaks against this log.
    pub contradicted: Vec<Contradiction>,
    /// What should have vouched for the log and does not: a witness that was asked and does not know it, a cosignature
    /// that is too old or from the future.
    pub lacking: Vec<String>,
}

/// A checkpoint that was kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptAnchor {
    /// Where it comes from: a file's name, a witness's.
    pub from: String,
    /// How many leaves it covers.
    pub leaves: u64,
}

/// A witness that cosigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessAnchor {
    /// Its name.
    pub name: String,
    /// When, by its clock.
    pub at: Timestamp,
}

impl WitnessAnchor {
    /// Of a cosignature, whose time is in seconds since 1970.
    pub(super) fn new(name: impl Into<String>, seconds: u64) -> Self {
        Self { name: name.into(), at: at_second(seconds) }
    }
}

/// The time so many seconds after the beginning of 1970.
pub(super) fn at_second(seconds: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// What speaks against a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// Where it comes from.
    pub from: String,
    /// What it says.
    pub why: String,
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
    #[serde(serialize_with = "with_verdict")]
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

    /// Whether recordings were to be opened, and the identity opens none of those that are there.
    pub fn is_unread(&self) -> bool {
        self.opened.is_some_and(|opened| opened.read == 0 && opened.sealed_for_others > 0)
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
            6 if self.is_anchored_as_required() => "UNREAD",
            6 => "UNANCHORED",
            3 => Verdict::Interrupted.name(),
            _ if self.anchor.size == 0 || self.sessions.iter().any(|session| !session.anchored) => {
                Verdict::OkUnanchored.name()
            }
            _ => Verdict::Ok.name(),
        }
    }

    /// 0 if all is well; 5 if anything was altered, else 4 if anything is missing, else 6 if nothing is signed or
    /// something that was demanded does not vouch for it or was not read, else 3 if a session was interrupted.
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
        } else if self.log.verdict() == LogVerdict::Unsigned || !self.is_anchored_as_required() || self.is_unread() {
            6
        } else if worst(3) {
            3
        } else {
            0
        }
    }
}
