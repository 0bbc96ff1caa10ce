//! Command sets: what may be run, what takes somebody's yes, and what must not be run.
//!
//! A set is a file of `policies/commands/`. An allow rule is exact: it covers a command only if every word and every effect is
//! covered. A deny or an approve rule is careful: it matches what may be meant.
//!
//! What this module does **not** guard against: what an allowed program does by itself beyond the effects table, and in guard
//! a person who wants through.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::effects::EffectKind;
use super::verdict::{AlertLevel, ApprovalNeed, CommandMode, OnMatch, Outcome};
use crate::model::{GroupName, RuleId, Timestamp};
use crate::pattern::Pattern;
use crate::window::Window;

mod args;
mod cover;
mod doubt;
mod judge;
mod menu;
mod parse;
mod paths;
mod test;
#[cfg(test)]
mod tests;

pub use args::{Arg, Flag, Hole, Takes};
pub(in crate::gate) use judge::judge;
pub use judge::{NearMiss, Offered, effects_of, near_misses, offered};
pub use menu::{MenuEntry, MenuRequest, NoRequest, Parameter, VALUE_BYTES_MAX};
pub(crate) use parse::MODES;
pub use paths::{HostPattern, PathPattern, Paths};
pub use test::{Expected, SetTest, TestResult};

/// A file of `policies/commands/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSet {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// The mode for which it was written, and so the weakest in which it may be used besides observing; `None`: for any.
    pub mode: Option<CommandMode>,
    /// What becomes of a command that no rule names: `Allow` or `Deny`; `None`: what the other sets say.
    pub default: Option<Outcome>,
    /// Its rules, in file order.
    pub rules: Vec<CommandRule>,
    /// Its menu entries, in file order.
    pub menus: Vec<MenuEntry>,
    /// Its tests, in file order.
    pub tests: Vec<SetTest>,
    /// INVARIANT: it is of `rules`.
    index: Index,
}

/// A `[[rule]]` of a command set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    /// Its id, unique in its set.
    pub id: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub line: usize,
    /// What becomes of what it names.
    pub outcome: Outcome,
    /// The programs; none in a rule that is about effects alone.
    pub programs: Vec<String>,
    /// The arguments; `None`: any, as far as their effects are covered.
    pub args: Option<Vec<Arg>>,
    /// The options, by the program's base name; `None`: any.
    pub flags: Option<BTreeMap<String, Vec<Flag>>>,
    /// Effects by their kind, whatever they fall on.
    pub effects: BTreeSet<EffectKind>,
    /// The paths of reads, writes and deletes.
    pub paths: BTreeMap<EffectKind, Paths>,
    /// The machines of connections.
    pub hosts: Vec<HostPattern>,
    /// Whether the command may stand in a pipeline.
    pub pipe: bool,
    /// Whether, in strict, the command may have a terminal.
    pub pty: bool,
    /// Whether patterns for file names may stand in its arguments.
    pub globs: bool,
    /// When and for whom it holds.
    pub context: Context,
    /// Why, for the user.
    pub reason: Option<String>,
    /// Whom to ask about it.
    pub owner: Option<String>,
    /// From then on it does not hold.
    pub expires: Option<Timestamp>,
    /// How loud a match is told.
    pub alert: Option<AlertLevel>,
    /// Whether it only says what it would do.
    pub observe: bool,
    /// What becomes of the session.
    pub on_match: Option<OnMatch>,
    /// Whose yes it takes; there if it is an approve rule.
    pub approval: Option<ApprovalNeed>,
}

/// What a rule looks at besides the command. The default is for everybody, everywhere, always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// Groups of users, one of which must be theirs; none means everybody.
    pub groups: BTreeSet<GroupName>,
    /// Labels that the target must carry.
    pub labels: BTreeMap<String, String>,
    /// At which hours.
    pub when: Option<Window>,
    /// What the ticket of the grant must match.
    pub ticket: Option<Pattern>,
    /// The modes in which it holds; none means every one.
    pub modes: BTreeSet<CommandMode>,
}

/// Places of rules in their set, by the base name of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Index {
    named: HashMap<String, Vec<usize>>,
    /// Rules without a program.
    others: Vec<usize>,
    /// Whether there is a rule that forbids or wants a yes.
    refuses: bool,
}

impl CommandSet {
    /// Its rules about a program of this base name, and those about every one, in file order.
    fn rules_about(&self, name: &str) -> impl Iterator<Item = &CommandRule> {
        let named = self.index.named.get(name).map_or(&[][..], Vec::as_slice);
        let mut both: Vec<usize> = named.iter().chain(&self.index.others).copied().collect();
        both.sort_unstable();
        both.into_iter().filter_map(|at| self.rules.get(at))
    }

    /// Whether it has a rule that forbids or wants a yes.
    pub fn refuses(&self) -> bool {
        self.index.refuses
    }
}

impl Index {
    fn of(rules: &[CommandRule]) -> Self {
        let mut index = Self::default();
        for (at, rule) in rules.iter().enumerate() {
            for program in &rule.programs {
                let places = index.named.entry(base_name(program).to_owned()).or_default();
                if places.last() != Some(&at) {
                    places.push(at);
                }
            }
            if rule.programs.is_empty() {
                index.others.push(at);
            }
            index.refuses |= rule.outcome != Outcome::Allow && !rule.observe;
        }
        index
    }
}

/// A program's name without its directory.
pub(crate) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// The effects that an allow rule must name, for they are the ways to other programs.
pub const GRAVE: [EffectKind; 6] = [
    EffectKind::RunProgram,
    EffectKind::Shell,
    EffectKind::LoadCode,
    EffectKind::InteractiveEscape,
    EffectKind::Privilege,
    EffectKind::Unknown,
];

/// The word by which policies name an effect.
pub fn word_of(kind: EffectKind) -> &'static str {
    EffectKind::WORDS.iter().find(|(_, known)| *known == kind).map_or("unknown", |(word, _)| word)
}
