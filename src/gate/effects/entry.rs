//! What the table holds of one program, as `policies/effects/README.md` defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::EffectKind;

/// A program, or a subcommand of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// The names it goes by; of a subcommand the words.
    pub(super) names: Vec<String>,
    pub(super) syntax: Syntax,
    /// What it does in any case.
    pub(super) does: Does,
    /// Its options by name.
    pub(super) options: BTreeMap<String, Opt>,
    /// Its operands; none where the entry says nothing of them.
    pub(super) operands: Places,
    /// What it does without operands.
    pub(super) bare: Does,
    /// What a word does that begins with `+`; an operand where there is nothing.
    pub(super) plus: Option<Does>,
    /// `NAME=value` before the command sets variables.
    pub(super) assignments: bool,
    /// A word that begins with `@` is a file of further words.
    pub(super) at_files: bool,
    /// Texts that it replaces in the commands it starts.
    pub(super) fills: Vec<String>,
    /// It adds words to the commands it starts.
    pub(super) appends: bool,
    /// What keys of `KEY=VALUE` do, in lower case.
    pub(super) settings: BTreeMap<String, Does>,
    /// Its options may stand behind its subcommand.
    pub(super) global: bool,
    /// Its subcommands may be cut short.
    pub(super) abbreviates: bool,
    /// What changes under some options.
    pub(super) whens: Vec<When>,
    /// Its subcommands.
    pub(super) subs: Vec<Entry>,
    /// Whether an option of it does anything: a word that may be an option is then a danger.
    pub(super) options_matter: bool,
}

impl Entry {
    /// Whether it says anywhere that the program may start another, open a shell, run code or change rights.
    pub(super) fn is_grave(&self) -> bool {
        let whens = self.whens.iter().any(|when| {
            is_grave(&when.does)
                || when.operands.as_ref().is_some_and(Places::are_grave)
                || when.bare.as_ref().is_some_and(is_grave)
                || when.options.values().flatten().any(is_grave)
        });
        whens
            || [&self.does, &self.bare].into_iter().chain(&self.plus).chain(self.settings.values()).any(is_grave)
            || self.options.values().flat_map(|option| &option.does).any(is_grave)
            || self.operands.are_grave()
            || self.subs.iter().any(Self::is_grave)
    }
}

fn is_grave(does: &Does) -> bool {
    does.iter().any(|doing| match doing {
        Doing::Effect(kind) => matches!(
            kind,
            EffectKind::Shell
                | EffectKind::RunProgram
                | EffectKind::InteractiveEscape
                | EffectKind::LoadCode
                | EffectKind::Privilege
        ),
        Doing::Command
        | Doing::Script
        | Doing::Words
        | Doing::Program
        | Doing::Awk
        | Doing::Sed
        | Doing::Substitution
        | Doing::Tmux
        | Doing::Definition => true,
        Doing::Nothing
        | Doing::Arguments
        | Doing::Assignment
        | Doing::Name
        | Doing::Expression
        | Doing::Setting
        | Doing::Settings
        | Doing::Placeholder
        | Doing::Url
        | Doing::HostOrRead
        | Doing::HostOrWrite
        | Doing::AtRead
        | Doing::Package
        | Doing::Mode
        | Doing::ReadNames
        | Doing::Jq
        | Doing::Processes
        | Doing::NamedAtRead
        | Doing::Cookies
        | Doing::Form
        | Doing::Format
        | Doing::Output
        | Doing::Upload => false,
    })
}

/// How options are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Syntax {
    Gnu,
    Posix,
    Old,
    /// In a word of letters two of them may be one option.
    Pairs,
    Single,
    Leading,
    Keys,
    #[default]
    None,
}

impl Syntax {
    pub(super) const WORDS: [(&'static str, Self); 8] = [
        ("gnu", Self::Gnu),
        ("posix", Self::Posix),
        ("old", Self::Old),
        ("pairs", Self::Pairs),
        ("single", Self::Single),
        ("leading", Self::Leading),
        ("keys", Self::Keys),
        ("none", Self::None),
    ];

    /// Whether long options may be cut short, and short ones stand in one word.
    pub(super) fn bundles(self) -> bool {
        match self {
            Self::Gnu | Self::Posix | Self::Old | Self::Pairs => true,
            Self::Single | Self::Leading | Self::Keys | Self::None => false,
        }
    }
}

/// An option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opt {
    pub(super) takes: Takes,
    /// What it does with each of its values, or with nothing if it has none.
    pub(super) does: Vec<Does>,
}

/// What an option takes from the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// A value, in the same word or the next.
    One,
    /// So many of the next words.
    Several(usize),
    /// A value in the same word, if there is one.
    Perhaps,
    /// The words up to `;`, or `{} +`.
    UpToSemicolon,
    /// All words that follow.
    Rest,
}

/// All that is done with a word.
pub(super) type Does = Vec<Doing>;

/// One thing that is done with a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Nothing,
    Effect(EffectKind),
    Command,
    Script,
    Words,
    Program,
    Awk,
    Sed,
    Arguments,
    Assignment,
    Name,
    Expression,
    Setting,
    Settings,
    Placeholder,
    Url,
    HostOrRead,
    HostOrWrite,
    AtRead,
    Package,
    Mode,
    Definition,
    Substitution,
    ReadNames,
    Jq,
    Processes,
    NamedAtRead,
    Cookies,
    Form,
    Format,
    Output,
    Upload,
    Tmux,
}

impl Doing {
    /// The words besides those of [`EffectKind::WORDS`].
    pub(super) const WORDS: [(&'static str, Self); 32] = [
        ("nothing", Self::Nothing),
        ("command", Self::Command),
        ("script", Self::Script),
        ("words", Self::Words),
        ("program", Self::Program),
        ("awk", Self::Awk),
        ("sed", Self::Sed),
        ("arguments", Self::Arguments),
        ("assignment", Self::Assignment),
        ("name", Self::Name),
        ("expression", Self::Expression),
        ("setting", Self::Setting),
        ("settings", Self::Settings),
        ("placeholder", Self::Placeholder),
        ("url", Self::Url),
        ("host-or-read", Self::HostOrRead),
        ("host-or-write", Self::HostOrWrite),
        ("at-read", Self::AtRead),
        ("package", Self::Package),
        ("mode", Self::Mode),
        ("definition", Self::Definition),
        ("substitution", Self::Substitution),
        ("read-names", Self::ReadNames),
        ("jq", Self::Jq),
        ("processes", Self::Processes),
        ("named-at-read", Self::NamedAtRead),
        ("curl-cookies", Self::Cookies),
        ("curl-form", Self::Form),
        ("curl-format", Self::Format),
        ("curl-output", Self::Output),
        ("curl-upload", Self::Upload),
        ("tmux", Self::Tmux),
    ];

    /// Reads one word of the language.
    pub(super) fn of(word: &str) -> Option<Self> {
        let effect = EffectKind::WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| Self::Effect(*kind));
        effect.or_else(|| Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, doing)| *doing))
    }
}

/// Whether any of it is of interest.
pub(super) fn matters(does: &Does) -> bool {
    does.iter().any(|doing| *doing != Doing::Nothing)
}

/// Operands by place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Places {
    /// Counted from the first operand.
    pub(super) first: Vec<Does>,
    /// Any number of operands behind those.
    pub(super) any: Option<Does>,
    /// Counted from the last operand, the last one last.
    pub(super) last: Vec<Does>,
    /// Whether `any` takes all words from there on, and what for.
    pub(super) tail: Option<Tail>,
}

/// What the words from a place on are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Command,
    Script,
    Arguments,
}

impl Places {
    fn are_grave(&self) -> bool {
        matches!(self.tail, Some(Tail::Command | Tail::Script))
            || self.first.iter().chain(&self.any).chain(&self.last).any(is_grave)
    }

    /// What is done with operand `index` of `count`.
    pub(super) fn of(&self, index: usize, count: usize) -> Option<&Does> {
        if let Some(does) = self.first.get(index) {
            return Some(does);
        }
        let from_end = count.saturating_sub(index).saturating_sub(1);
        let last = self.last.len().checked_sub(from_end + 1).and_then(|place| self.last.get(place));
        last.or(self.any.as_ref())
    }
}

/// What changes under some options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct When {
    /// One of each set is given.
    pub(super) has: Vec<BTreeSet<String>>,
    /// None of these is given.
    pub(super) lacks: BTreeSet<String>,
    pub(super) does: Does,
    pub(super) operands: Option<Places>,
    pub(super) bare: Option<Does>,
    pub(super) options: BTreeMap<String, Vec<Does>>,
}
