//! The held Enter: what is typed at a shell of the target's own, read before the shell may run it.
//!
//! What the user types and what the target shows come in as bytes, in any split, with the time; what comes out is what to
//! do: let bytes pass, hold a key while the line is judged, wipe a line that was refused, tell of a gap. Reading is by two
//! witnesses: the screen, as an emulator has it, and a model of what the keys would make of an empty line. Where both speak
//! they must agree; where they do not, both lines are judged and the strictest verdict counts.
//!
//! Output is never more than a hint. No byte that a target sends lets a key pass that would be held otherwise, but within
//! a program whose own line was judged: an editor on the alternate screen, a password that `sudo` asks for.
//!
//! What this does **not** guard against: a user of a shell of their own who wants through. A key may be bound to a
//! command, a script may do anything, and a prompt may be drawn so that it looks like another. It stops slips and casual
//! misuse, and tells of what it could not see.

mod engine;
pub mod integration;
mod keys;
mod programs;
mod queue;
mod reading;

use std::fmt;
use std::time::Duration;

pub use engine::Guard;
pub use programs::{Started, name_of, started};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The user's bytes go to the target.
    Send(Vec<u8>),
    /// A held key goes to the target: the line was judged, and may run.
    Run(Vec<u8>),
    /// Bytes that no user sent go to the target.
    SendOwn(Vec<u8>),
    /// So many of the user's bytes go nowhere.
    Drop(usize),
    /// A key that would run a line is held until this is answered.
    Judge(Question),
    /// A line has gone to the target, which nothing held: where lines are only read along.
    Read(LineRead),
    /// A line that was refused is gone from the shell's buffer, or could not be wiped.
    Wiped {
        /// Whether it is gone. If not, no key that runs a line passes until the user has given the line up.
        gone: bool,
        /// The line at the cursor of the target, drawn: to be shown again below what the user is told.
        prompt: String,
    },
    /// Something may have run that nobody has read.
    Gap(Gap),
}

/// A line that waits to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it may be; the strictest verdict counts. Never empty.
    pub reads: Vec<LineRead>,
    /// Why it must be refused whatever the rules say.
    pub problem: Option<&'static str>,
    /// Whether the target has shown what was typed. What it has not shown may be a secret, and is not put on record.
    pub echoed: bool,
    /// The program at whose prompt it was typed, where that is none of the shell.
    pub context: Option<String>,
}

/// What becomes of a held key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It goes on; the line starts this.
    Run(Started),
    /// It does not go on, and the line is wiped.
    Refuse,
}

/// One line, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRead {
    /// Its text.
    pub line: String,
    /// How far that is to be trusted.
    pub confidence: Confidence,
    /// When it was read, since the channel began.
    pub at: Duration,
}

/// How far the text of a line is to be trusted, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// From the keys alone: the screen does not show it, or shows something else.
    Keys,
    /// From the screen; the keys say the same, or nothing.
    Screen,
    /// The shell itself has said it.
    Exact,
}

impl Confidence {
    /// As it stands in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Screen => "screen",
            Self::Exact => "exact",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something through which a line may have run that nobody has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// Output began while a line was being typed that nobody had let run.
    Output,
    /// A program that is not known to fill the screen has changed to the alternate screen.
    AlternateScreen,
    /// What was typed is not on the screen, and no password is asked for.
    EchoOff,
    /// The screen and the keys say different things.
    Differs,
    /// Fewer than 20 columns: a line is in too many pieces.
    Narrow,
    /// The user's terminal has answered a question of the target's, or tells of a mouse.
    Reply,
    /// A key that runs a line was pressed while output flowed.
    Flowing,
    /// A password was typed, which is not read.
    Password,
    /// A prompt came without a line from the shell's integration, where there was one before.
    Unreported,
}

impl Gap {
    /// As it stands in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::AlternateScreen => "alternate-screen",
            Self::EchoOff => "echo-off",
            Self::Differs => "differs",
            Self::Narrow => "narrow",
            Self::Reply => "reply",
            Self::Flowing => "flowing",
            Self::Password => "password",
            Self::Unreported => "unreported",
        }
    }

    /// What has happened, in words.
    pub fn told(self) -> &'static str {
        match self {
            Self::Output => "output began while a line was typed that had not been let run",
            Self::AlternateScreen => "the alternate screen was entered by a program that is not known to use it",
            Self::EchoOff => "what was typed is not shown, and no password was asked for",
            Self::Differs => "the screen and the keys say different things",
            Self::Narrow => "the window has fewer than 20 columns",
            Self::Reply => "the user's terminal has answered a question of the target's",
            Self::Flowing => "a key that runs a line was pressed while output flowed",
            Self::Password => "something was typed at a password prompt, and not read",
            Self::Unreported => "a prompt came without the report of its shell",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
