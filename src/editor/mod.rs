//! The bastion's own line editor: bytes of the user become lines, and what their terminal is shown.
//!
//! ```text
//! bytes ── keys ──▶ keys ── line ──▶ text, history ── drawing ──▶ cells ── difference ──▶ bytes for the terminal
//! ```
//!
//! Everything here is pure: no await, no socket, no clock. The same bytes give the same lines and the same screen, however
//! they are split. Everything is bounded: a line at [`LINE_BYTES_MAX`], a paste at what fits into it, the history, the undo.
//!
//! What this module does **not** guard against: a terminal that shows something else than it is told to.

mod cells;
pub mod difference;
mod drawing;
mod dumb;
mod history;
pub mod keys;
mod line;
mod listing;
pub mod page;
mod plain;
mod search;
#[cfg(test)]
mod tests;
mod text;

pub use history::History;
pub use line::Editor;

/// A line is no longer than the gate reads.
pub const LINE_BYTES_MAX: usize = crate::gate::LINE_BYTES_MAX;

/// What the user's side can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// There is none: lines come in as they are, and nothing is echoed.
    None,
    /// One that cannot move its cursor.
    Dumb,
    /// One that knows the sequences of ECMA-48 that nearly all know.
    Full {
        /// Whether it is shown colours.
        colours: bool,
    },
}

impl Terminal {
    /// The terminal of a channel: `None` without a pty, else by the value of `TERM`.
    pub fn of(term: Option<&str>) -> Self {
        match term {
            None => Self::None,
            Some("" | "dumb" | "unknown") => Self::Dumb,
            Some(name) => Self::Full { colours: !name.starts_with("vt") && !name.ends_with("-m") },
        }
    }
}

/// How a part of a prompt is shown, where the terminal has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As all text.
    #[default]
    Plain,
    /// Bold.
    Bold,
    /// Paler than the text.
    Faint,
    /// Red.
    Red,
    /// Green.
    Green,
    /// Yellow.
    Yellow,
    /// Cyan.
    Cyan,
}

/// What stands before a line. Whatever its text holds, no character of it steers the terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// Before the first row.
    pub parts: Vec<(Tone, String)>,
    /// Before each further row of a line of several.
    pub more: String,
}

impl Prompt {
    /// A prompt of plain text, with `> ` before further rows.
    pub fn plain(text: &str) -> Self {
        Self { parts: vec![(Tone::Plain, text.to_owned())], more: String::from("> ") }
    }
}

/// What became of bytes of the user.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fed {
    /// For the user's terminal.
    pub show: Vec<u8>,
    /// What is to be done; the rest of the bytes waits for it.
    pub act: Option<Act>,
    /// So many of the bytes were taken; all, unless there is an act. Those behind it are the caller's: they belong to the
    /// program that is run, or are fed after the next [`Editor::begin`].
    pub taken: usize,
}

/// What a user wants. After each but `Suspend` no line is being edited until the next [`Editor::begin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// This line is to be run. It may have several rows, and may be empty.
    Line(String),
    /// Ctrl-D on an empty line.
    EndOfInput,
    /// Ctrl-C: the line was dropped.
    Interrupt,
    /// Ctrl-Z: there is nothing to suspend, and the shell says so, with [`Editor::notice`].
    Suspend,
    /// Without a terminal: a line that is not UTF-8, or the first bytes of one that is longer than the gate reads. It is for
    /// the gate to refuse, as every line that it refuses.
    Unfit(Vec<u8>),
}

/// What knows the language of the lines.
pub trait Completer {
    /// What may stand in place of the word before byte `at`.
    fn complete(&self, line: &str, at: usize) -> Completion;

    /// Whether the line is not finished, so that Enter goes on in a further row: an open quote, a backslash at the end.
    fn goes_on(&self, line: &str) -> bool;
}

/// What may stand in a place of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Where the word begins that is completed, in bytes.
    pub start: usize,
    /// What may stand there.
    pub candidates: Vec<Candidate>,
    /// What may stand there and cannot be typed for the user, such as `a host name`. Listed only.
    pub hints: Vec<String>,
}

/// One thing that may stand in a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Candidate {
    /// As it is typed, from [`Completion::start`] on.
    pub text: String,
    /// What it is for, in a few words; empty if nobody said.
    pub help: String,
    /// Whether the word goes on behind it, so that no blank follows.
    pub open: bool,
}

/// Completes nothing, and takes every line as finished.
#[derive(Debug, Clone, Copy)]
pub struct NoCompleter;

impl Completer for NoCompleter {
    fn complete(&self, _: &str, at: usize) -> Completion {
        Completion { start: at, ..Completion::default() }
    }

    fn goes_on(&self, _: &str) -> bool {
        false
    }
}
