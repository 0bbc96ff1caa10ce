//! The access policy: text becomes a `PolicySet`, a question put to it becomes a `Decision`.
//!
//! Deny by default: what no rule names is refused. A set is loaded whole or not at all, after its own tests
//! have passed; the files' hash stands in every decision and every recording.
//!
//! Deny beats allow. Command sets, by which the gate judges single commands, are loaded with the rules that name them.
//!
//! What this module does **not** guard against: it judges who may open which channel where. What is typed on a
//! shell, once open, it never sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auditor::Recipient;
use crate::document::Faults;
use crate::model::{AccountName, ChannelClass, GroupName, Presence, RuleId, TargetName, UserName};
use crate::rdp::rules::DesktopRules;

mod agent;
mod archive;
mod audit;
mod commands;
mod compare;
mod conditions;
mod decide;
mod denial;
mod desktop;
pub mod edit;
mod files;
mod forward;
mod index;
mod lint;
mod oversight;
mod parse;
pub mod past;
mod reach;
mod request;
pub mod signed;
#[cfg(test)]
mod tests;

pub use crate::approvers::Approvers;
pub use crate::document::Fault;
pub(crate) use crate::document::size_of;
use crate::gate::rules::Context as CommandContext;
pub use crate::pattern::Pattern;
pub use crate::window::{AtEnd, Window};
pub use agent::AgentRule;
pub use archive::{ARCHIVE_BYTES_MAX, MalformedArchive, decode as decode_archive, encode as encode_archive};
pub use audit::{AuditQuestion, AuditRight, AuditRule, audits_everywhere, audits_somewhere, decide_audit};
pub use commands::{Commands, Guarded, Integration, OnGap};
pub use compare::{Difference, Way, compare};
pub use conditions::{Bound, BoundBy, Circumstances, Conditions, Consents, Mfa, SessionLimits, Unmet};
pub use decide::{Allowed, Decision, DenyReason, Question, decide};
pub use denial::DenyRule;
pub use files::FileRule;
pub use forward::{Address, ForwardRule, ForwardedSsh, SocketPath};
pub use lint::{CHECKS, Finding, lint};
pub use oversight::{OnLeave, Oversight};
pub(crate) use parse::read_auditors;
pub use parse::{TestOutcome, run_tests};
pub use reach::{Opened, Reach};
pub use request::{Givers, GlassRule, GrantRule, Preapproved, RequestRule, Text};

/// A policy file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name in faults, decisions and the hash, such as `policies/access/prod.toml`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Rules that fit together. What is put in force is made by `parse`, and so has passed its tests.
#[derive(Debug, Clone)]
pub struct PolicySet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// INVARIANT: the hash is of `archive`.
    hash: PolicyHash,
    archive: Vec<u8>,
    rules: Vec<Rule>,
    /// INVARIANT: it is of `rules`.
    index: index::Index,
    denials: Vec<DenyRule>,
    audit_rules: Vec<AuditRule>,
    sets: commands::Sets,
    warnings: Vec<Finding>,
}

impl PolicySet {
    /// Parses `files`, checks them, and runs every `[[test]]` in them against the whole set.
    ///
    /// # Errors
    /// Every fault of every file, by file and line. Tests run only when all files read well.
    pub fn parse(files: &[PolicyFile]) -> Result<Self, Vec<Fault>> {
        match parse::parse(files)? {
            (set, failed) if failed.is_empty() => Ok(set),
            (_, failed) => Err(failed),
        }
    }

    /// The set, and which of its tests fail: for tools that say what it would do, and never for what decides.
    ///
    /// # Errors
    /// Every fault of every file but tests that fail.
    pub fn draft(files: &[PolicyFile]) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        parse::parse(files)
    }

    /// The set that denies everything.
    pub fn empty() -> Self {
        let sets = commands::Sets::read(&[], &mut Faults::default());
        Self::of(&[], (Vec::new(), Vec::new(), Vec::new()), sets, Vec::new())
    }

    fn of(
        files: &[PolicyFile],
        (rules, denials, audit_rules): (Vec<Rule>, Vec<DenyRule>, Vec<AuditRule>),
        sets: commands::Sets,
        warnings: Vec<Finding>,
    ) -> Self {
        let archive = archive::encode(files);
        let (hash, index) = (PolicyHash::of(&archive), index::Index::of(&rules));
        Self(Arc::new(Inner { hash, archive, rules, index, denials, audit_rules, sets, warnings }))
    }

    /// The hash of the files.
    pub fn hash(&self) -> &PolicyHash {
        &self.0.hash
    }

    /// The files as one run of bytes: the hash is the SHA-256 of them, and [`decode_archive`] reads them.
    pub fn archive(&self) -> &[u8] {
        &self.0.archive
    }

    /// The rules that allow, by file name and then in file order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.rules.iter()
    }

    /// The `[[audit]]` rules, by file name and then in file order.
    pub fn audit_rules(&self) -> impl Iterator<Item = &AuditRule> {
        self.0.audit_rules.iter()
    }

    /// What is odd but loads: a rule that no test names, a set without rules.
    pub fn warnings(&self) -> &[Finding] {
        &self.0.warnings
    }
}

/// SHA-256 over the bytes of the policy files ([`PolicySet::archive`]), in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyHash(String);

impl PolicyHash {
    fn of(archive: &[u8]) -> Self {
        let hash = ring::digest::digest(&ring::digest::SHA256, archive);
        Self(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The hash in hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `[[rule]]` that allows, and only what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id, unique over all files.
    pub id: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// The bastion users it is for.
    pub who: Who,
    /// The targets it is for.
    pub place: Place,
    /// The accounts it opens.
    pub accounts: Accounts,
    /// The channels it opens.
    pub channels: BTreeSet<ChannelClass>,
    /// Where its forwards may lead.
    pub forward: ForwardRule,
    /// Which files SFTP may reach; `None` where the rule names no paths, and so all that the account may.
    pub files: Option<FileRule>,
    /// Which keys of an agent it lends.
    pub agent: AgentRule,
    /// What passes beside picture, keys and mouse of its desktops.
    pub desktop: DesktopRules,
    /// Whether its shells and commands may be on a terminal.
    pub terminal: bool,
    /// Whether it takes effect only while a grant holds, and how one is asked for.
    pub grant: GrantRule,
    /// How a grant may be taken where nobody is there to approve one; `None` where it may not.
    pub glass: Option<GlassRule>,
    /// What the user must have done at the login, with a security key.
    pub key: Presence,
    /// Who must watch its sessions, and whether the user is told who does.
    pub oversight: Oversight,
    /// When and from where it holds, what it wants of the user besides, and the limits of its sessions.
    pub conditions: Conditions,
    /// How its sessions are recorded.
    pub recording: RecordingPolicy,
    /// By what its commands are judged; `None`: not at all.
    pub commands: Option<Commands>,
}

/// Every name, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names<T> {
    /// Written `["*"]`.
    Every,
    /// The names in the list.
    These(BTreeSet<T>),
}

impl<T: Ord> Names<T> {
    fn contains(&self, name: &T) -> bool {
        match self {
            Self::Every => true,
            Self::These(names) => names.contains(name),
        }
    }
}

/// A rule's `who`: a user matches by name **or** by one of the groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Users by name.
    pub users: Names<UserName>,
    /// Groups of users.
    pub groups: BTreeSet<GroupName>,
}

/// A rule's `where`: a target matches by name **and** by every label, as far as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Targets by name; `None` where only labels are written.
    pub targets: Option<Names<TargetName>>,
    /// Labels that the target must carry, each with exactly this value.
    pub labels: BTreeMap<String, String>,
}

/// A rule's `accounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Whether `"$user"` is in the list: the account that is called as the user is.
    pub own: bool,
    /// Accounts by name.
    pub named: BTreeSet<AccountName>,
}

/// A rule's `grant.required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantNeed {
    /// `true`, the default: the rule opens nothing without a grant that holds now.
    Required,
    /// `false`: a standing right.
    NotRequired,
}

/// How a session is recorded. The default is the strictest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingPolicy {
    /// When output may be shown; default strict.
    pub durability: Durability,
    /// Whether keystrokes on a terminal are recorded; default off, since passwords are typed there.
    pub input: InputMode,
    /// What is kept of a command's standard input; default full.
    pub stdin: Capture,
    /// What is kept of a command's output; default full.
    pub exec: Capture,
    /// Bytes of each stream of a command kept in full; beyond, a running digest. Default 64 MiB. A small value
    /// risks that the end of a long output can be proven but not read.
    pub exec_cap: u64,
    /// For whom the recordings are sealed, in place of those of the configuration; none means those.
    pub auditors: Vec<Recipient>,
}

impl RecordingPolicy {
    /// Keeps, point by point, the stricter of the two; the auditors that either names.
    #[must_use]
    pub fn strictest(&self, other: &Self) -> Self {
        Self {
            durability: self.durability.min(other.durability),
            input: self.input.min(other.input),
            stdin: self.stdin.min(other.stdin),
            exec: self.exec.min(other.exec),
            exec_cap: self.exec_cap.max(other.exec_cap),
            auditors: self.auditors.iter().chain(&other.auditors).cloned().collect(),
        }
    }
}

impl Default for RecordingPolicy {
    fn default() -> Self {
        Self {
            durability: Durability::Strict,
            input: InputMode::Off,
            stdin: Capture::Full,
            exec: Capture::Full,
            exec_cap: 64 << 20,
            auditors: Vec::new(),
        }
    }
}

/// When output may be shown. Ordered: the stricter is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// After its record is on disk: a power cut loses nothing that a user saw.
    Strict,
    /// At once: a power cut may lose the last moments (`[recording] bounded_window`).
    Bounded,
    /// At once, and also when nothing can be recorded any more: that there is a gap is on record, and the session goes
    /// on. For break-glass roles; a rule with it names users or groups.
    BestEffort,
}

/// Whether keystrokes on a terminal are recorded. Ordered: the stricter is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputMode {
    /// Never, but what comes faster than anybody types; the screen's echo shows what is not a password.
    Off,
    /// What the target has echoed within a second; the rest as `[redacted]`.
    Echoed,
    /// All of it, passwords too.
    Full,
}

/// What is kept of a stream of bytes. Ordered: the stricter is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capture {
    /// Every byte, up to the cap.
    Full,
    /// Length and SHA-256: what passed can be proven, not read.
    Digest,
}
