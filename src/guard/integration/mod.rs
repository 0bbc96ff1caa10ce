//! Exact lines: a shell that reports its edit buffer before it runs it.
//!
//! The target's own shell is started by [`START`] and a text that [`answer`] gives it once its name is known. From then on
//! Enter and Ctrl-J report the line by a private control string (`ESC ] 7379 ; SECRET ; KIND ; TEXT BEL`) and wait for a
//! [`Verdict`], which is read by length since the terminal is raw there. Other keys that would run a line are dead. The
//! secrets go to the shell by its terminal, with the echo off: they stand in no environment, no process list and no history.
//!
//! What this does **not** guard against: the shell's own user, who reads the secrets in its memory, binds keys anew or runs
//! another shell. Lines of theirs are judged like others, and a line that began without a verdict is told as a gap.

mod reports;
mod talk;
#[cfg(test)]
mod tests;
mod unsaid;

use std::fmt;

pub use reports::{Piece, Report, Reports, Unreadable};
pub use talk::{Keys, Phase, Step, Talk, Unsaid};

/// A shell that can be integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash, from 4.0 on; from 4.4 on it also tells when a line begins.
    Bash,
    /// zsh.
    Zsh,
    /// fish, from 3.0 on.
    Fish,
}

impl Shell {
    /// The shell by the last part of its path.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }
}

/// The command line of the `exec` request that starts a user's login shell. It is the same for all shells and tells no
/// secret; the shells that may read it (POSIX ones, fish, csh) read it alike.
pub const START: &str = concat!("exec /bin/sh -c '", include_str!("start.sh"), "'");

/// What only one shell and the bastion know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    report: String,
    verdict: String,
    accept: String,
}

impl Secrets {
    /// Of these random bytes.
    pub fn new(random: &[u8; 30]) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (report, rest) = random.split_at(16);
        let (verdict, accept) = rest.split_at(8);
        Self { report: hex(report), verdict: hex(verdict), accept: hex(accept) }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What becomes of a line that was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run,
    /// It is not complete: a line is added to it, and it is edited further.
    More,
    /// It does not run, and stays as it is.
    Keep,
    /// It does not run, and is emptied.
    Refuse,
}

/// So long is a verdict.
pub const VERDICT_BYTES: usize = 17;

impl Verdict {
    /// As the shell reads it from its terminal.
    pub fn bytes(self, secrets: &Secrets) -> Vec<u8> {
        let letter = match self {
            Self::Run => 'r',
            Self::More => 'm',
            Self::Keep => 'k',
            Self::Refuse => 'd',
        };
        format!("{}{letter}", secrets.verdict).into_bytes()
    }
}

/// The key that fish wants once it has said that Enter was pressed: Ctrl-Alt-Shift-F12, which fish 4 knows by its name.
const KNOCKED: &[u8] = b"\x1b[24;8~";

/// What the one who says [`Report::Hello`] waits for: the text that starts the shell, its length before it. A shell that
/// cannot be integrated is started as it would have been.
pub fn answer(shell: Option<Shell>, secrets: &Secrets) -> Vec<u8> {
    let (begin, text) = match shell {
        None => ("exec \"$SHELL\" -l\n", ""),
        Some(Shell::Bash) => (BASH, include_str!("bash.bash")),
        Some(Shell::Zsh) => (ZSH, include_str!("zsh.zsh")),
        Some(Shell::Fish) => (FISH, include_str!("fish.fish")),
    };
    let end = if shell.is_some() { "@END@\n" } else { "" };
    let text = text
        .replace("@REPORT@", &secrets.report)
        .replace("@VERDICT@", &secrets.verdict)
        .replace("@ACCEPT@", &secrets.accept);
    let stage = format!("{FIRST}{begin}{text}{end}");
    format!("{:05}{stage}", stage.len()).into_bytes()
}

/// The terminal as it was; and what `sshd` shows at a login, which it leaves out before a command.
const FIRST: &str = "stty \"$o\"; [ -e ~/.hushlogin ] || cat /run/motd.dynamic /etc/motd 2>/dev/null; ";
/// As a login shell reads its files; the text does what `--rcfile` leaves out of that.
const BASH: &str = "[ -r /dev/fd/0 ] && exec bash --rcfile /dev/fd/3 -i 3<<'@END@'\n";
/// zsh reads no file that is not in a directory: one of a moment, which the text removes. It has no secret.
const ZSH: &str = "d=$(umask 077 && mktemp -d \"${TMPDIR:-/tmp}/.zsh-XXXXXXXX\") && \
                   echo \"builtin source /dev/fd/3\" >\"$d/.zshenv\" && \
                   DOORWARD_ZDOTDIR=${ZDOTDIR-} ZDOTDIR=$d exec zsh -l -i 3<<'@END@'\n";
const FISH: &str = "exec fish -l -i -C \"command cat /dev/fd/3 | source\" 3<<'@END@'\n";
