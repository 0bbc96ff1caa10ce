//! What programs do with their arguments: the effects table, and a command line read by it.
//!
//! ```text
//! policies/effects/*.toml ── parse ──▶ Table of entries      argv ── grammar ──▶ options, operands ── told ──▶ effects,
//!                                                                                             commands inside its words
//! ```
//!
//! What this does **not** guard against: what a program does besides what its manual says, what its own configuration on
//! the target makes of it, and a program of that name that is not the one the table describes.

mod awk;
mod curl;
mod entry;
mod grammar;
mod guess;
mod jq;
mod parse;
mod perl;
mod processes;
mod sed;
mod shipped;
mod table;
mod text;
mod told;
mod variables;
mod ways;

use crate::gate::shell::word::Word;

pub use table::{Table, Tamed};
pub use text::normal_path;
pub use told::{Inner, Told};

/// One thing that a command would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What.
    pub kind: EffectKind,
    /// The path, host or unit it does that to, where the table knows; as the user wrote it.
    pub on: Option<Word>,
}

/// What a command can do, as policies name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// Runs another program, which cannot be read from its arguments, or of which the table knows nothing. One that can be
    /// is judged as a command of its own instead.
    RunProgram,
    /// Opens a shell, or reads a shell script.
    Shell,
    /// Lets whoever sits at the terminal start a shell or a program by keys, as pagers and editors do.
    InteractiveEscape,
    /// Reads a file.
    Read,
    /// Writes or makes a file.
    Write,
    /// Removes a file.
    Delete,
    /// Connects to another machine.
    NetOut,
    /// Waits for connections.
    NetIn,
    /// Runs code that its arguments or files hold: a library, a plug-in, a program of awk or Python.
    LoadCode,
    /// Acts with the rights of another account.
    Privilege,
    /// Shows, makes or changes what people or programs log in with.
    Credential,
    /// Starts, stops or changes a service.
    Service,
    /// What it does is not known: no entry in the table, or an argument that the entry does not explain.
    Unknown,
}

impl EffectKind {
    /// All of them, with the word by which policies name them.
    pub const WORDS: [(&'static str, Self); 13] = [
        ("run-program", Self::RunProgram),
        ("shell", Self::Shell),
        ("interactive-escape", Self::InteractiveEscape),
        ("read", Self::Read),
        ("write", Self::Write),
        ("delete", Self::Delete),
        ("net-out", Self::NetOut),
        ("net-in", Self::NetIn),
        ("load-code", Self::LoadCode),
        ("privilege", Self::Privilege),
        ("credential", Self::Credential),
        ("service", Self::Service),
        ("unknown", Self::Unknown),
    ];
}

/// What setting a variable does, before a command or for good: `PATH=.` decides what every later name runs.
pub(super) fn of_assignment(name: &str, values: &[Word]) -> Option<EffectKind> {
    let name = name.strip_suffix('+').unwrap_or(name);
    if values.is_empty() {
        return variables::effect(name, Some(&Word::of("", 0..0)));
    }
    values.iter().find_map(|value| variables::effect(name, Some(value)))
}

/// Whether a word that a shell calculates (`[[ ... ]]`, `((...))`) holds a command in an index, which it would run.
pub(super) fn hides_in_index(text: &str) -> bool {
    told::index_with_code(text)
}

/// What the words of a command suggest for which the table has no entry.
pub(super) fn guess_of_argv(argv: &[Word]) -> Vec<Effect> {
    guess::of_argv(argv)
}

/// What those words suggest that the table calls `unknown` or code.
pub(super) fn guess_of_told(argv: &[Word], told: &[Effect]) -> Vec<Effect> {
    guess::of_told(argv, told)
}

#[cfg(test)]
mod tests;
