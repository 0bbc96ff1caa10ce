//! What the gate says of a command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::effects::Table;
use super::rules::CommandSet;
use super::shell::text::shown_word;
use crate::approvers::Approvers;
use crate::model::{AccountName, GroupName, RuleId, TargetName, Timestamp, UserName};

/// How far the gate goes for a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandMode {
    /// Each line is judged and on record; nothing is prevented.
    Observe,
    /// Lines are held until they are judged, and go on as they were typed. Against slips, not against a person who wants
    /// through.
    Guard,
    /// No program starts but argv that a rule allowed, in the form that was judged.
    Strict,
    /// As strict, and only the entries of a menu are there.
    Menu,
}

impl CommandMode {
    /// Whether no program starts but in the exact form that was judged.
    pub fn is_strict(self) -> bool {
        match self {
            Self::Strict | Self::Menu => true,
            Self::Observe | Self::Guard => false,
        }
    }
}

/// What becomes of a command line, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It may run.
    Allow,
    /// It may run once somebody says yes.
    Approve,
    /// It must not run.
    Deny,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A rule of a command set.
    Rule(RuleId),
    /// No rule matched: what the set says of such lines.
    Default,
    /// The line was not understood.
    NotUnderstood {
        /// Where, in bytes.
        at: usize,
        /// Why.
        reason: String,
    },
    /// No command set is in force here.
    NoSets,
    /// This access rule has no `commands`, and no rule of the sets beside it forbids the line or wants a yes.
    Unjudged(RuleId),
}

/// Who wants to run something, and where: what rules look at besides the line.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The user's groups, now.
    pub groups: &'a BTreeSet<GroupName>,
    /// The target.
    pub target: &'a TargetName,
    /// The target's labels, now.
    pub labels: &'a BTreeMap<String, String>,
    /// The identity on the target.
    pub account: &'a AccountName,
    /// The ticket of the grant in use.
    pub ticket: Ticket<'a>,
    /// The time.
    pub at: Timestamp,
}

/// The ticket of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket<'a> {
    /// This one, or none.
    Of(Option<&'a str>),
    /// Nobody knows: for a rehearsal of what is past, where every ticket counts as the one that a rule wants.
    Unknown,
}

/// What an access rule that opens the channel now says of commands.
#[derive(Debug, Clone)]
pub struct Governed {
    /// The access rule.
    pub rule: RuleId,
    /// Its `commands`; a rule without lets every line pass that no other forbids.
    pub commands: Option<(CommandMode, Vec<Arc<CommandSet>>)>,
}

/// What is to be done with a command line, and why.
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What becomes of it.
    pub outcome: Outcome,
    /// What decided.
    pub by: By,
    /// The access rule whose `commands` decided; `None` only where none opens the channel.
    pub access_rule: Option<RuleId>,
    /// The command set that decided, by its name.
    pub set: Option<String>,
    /// Where the rule that decided stands: file and line.
    pub place: Option<(String, usize)>,
    /// The mode in which it was decided; [`By::NoSets`] says that none is in force, and this is `Observe`.
    pub mode: CommandMode,
    /// What goes to the target if it may: the canonical text in strict, else the line as it was typed. `None` if it is denied.
    pub send: Option<String>,
    /// Whether it may have a terminal: in strict only if the rules of all its commands say so (`pty = true`).
    pub pty: bool,
    /// The reason of the rule that decided, for the user.
    pub reason: Option<String>,
    /// What would be started, each wrapper before what it runs; empty where the line was not understood.
    pub invocations: Vec<Seen>,
    /// What sets in observe mode and rules with `observe` would have said.
    pub would: Vec<Would>,
    /// The highest alert of the rules that matched.
    pub alert: Option<AlertLevel>,
    /// The hardest of what the rules that matched want done with the session.
    pub on_match: Option<OnMatch>,
    /// Whose yes it takes; there if the outcome is `Approve`.
    pub approval: Option<ApprovalNeed>,
}

/// One program that a line would start, for people: nothing in it steers a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The program and its arguments, without their quotes; what only the target knows as it was written.
    pub argv: Vec<String>,
    /// Whether each word's text is all that the target will see.
    pub known: Vec<bool>,
    /// What it would do, such as `read /etc/passwd`.
    pub effects: Vec<String>,
    /// The one that starts it, by its place in the list.
    pub by: Option<usize>,
    /// Where it stands in the line, in bytes.
    pub at: Range<usize>,
    /// What becomes of it alone.
    pub outcome: Outcome,
    /// What decided that.
    pub decided: By,
}

impl Seen {
    /// Its words in a row, in quotes where their ends could not be seen without.
    pub fn words(&self) -> String {
        let known = self.known.iter().chain(std::iter::repeat(&false));
        let words =
            self.argv.iter().zip(known).map(|(word, known)| if *known { shown_word(word) } else { word.clone() });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// What would have been said, were it in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Would {
    /// What.
    pub outcome: Outcome,
    /// By what.
    pub by: By,
    /// The access rule.
    pub access_rule: RuleId,
    /// The command set, by its name.
    pub set: Option<String>,
}

/// How loud a match is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertLevel {
    /// For the list of the week.
    Low,
    /// For the same day.
    Medium,
    /// Now.
    High,
}

/// What becomes of the session when a rule matches, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMatch {
    /// It stands still until somebody lets it go on.
    Pause,
    /// It ends.
    End,
}

/// Whose yes a command needs, and for how long it waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalNeed {
    /// Who may say yes, never who asks; and how many.
    pub approvers: Approvers,
    /// After that it is refused.
    pub within: Duration,
}

/// Judges a command line by what each access rule that opens its channel now says of commands.
///
/// Of all sets of all these rules deny beats approve, approve beats allow, allow beats the default; the order of rules, sets and
/// files never matters. Each program that the line would start is judged, and the strictest verdict is the line's. Total:
/// whatever cannot be read is refused where a set could have refused it.
pub fn judge(line: &str, governed: &[Governed], table: &Table, asker: &Asker<'_>) -> Judgement {
    super::rules::judge(line, governed, table, asker, None)
}

/// Judges a line that starts in this directory: its relative paths begin there.
///
/// Who chooses where a program starts chooses what it finds there. So an allow rule covers no command there that runs what it
/// finds (an effect such as `run-program`), or whose relative paths it only knows by the words that it names; and what looks
/// at the directory without naming it reads it. Somebody who says yes reads where it starts.
pub fn judge_in(
    directory: &Directory,
    line: &str,
    governed: &[Governed],
    table: &Table,
    asker: &Asker<'_>,
) -> Judgement {
    super::rules::judge(line, governed, table, asker, Some(directory))
}

impl fmt::Display for By {
    /// As `[[test]]` tables write it: a rule's id, `default`, `not-understood`; beside them `no-sets` or `unjudged`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(id) => write!(f, "{id}"),
            Self::Default => f.write_str("default"),
            Self::NotUnderstood { .. } => f.write_str("not-understood"),
            Self::NoSets => f.write_str("no-sets"),
            Self::Unjudged(_) => f.write_str("unjudged"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Approve => "approve",
            Self::Deny => "deny",
        })
    }
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

impl fmt::Display for CommandMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Guard => "guard",
            Self::Strict => "strict",
            Self::Menu => "menu",
        })
    }
}
