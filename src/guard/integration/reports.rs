//! Reports of an integrated shell, in the output of its target.

use super::{Secrets, Shell};
use crate::gate::LINE_BYTES_MAX;

/// What every report begins with.
const INTRO: &[u8] = b"\x1b]7379;";
const END: u8 = 0x07;
const ESCAPE: u8 = 0x1b;
/// The longest report: each byte of a line may be three.
const REPORT_BYTES_MAX: usize = 3 * LINE_BYTES_MAX + 64;
/// What begins like a report, and is none, takes so much output at most with it.
const FORGED_BYTES_MAX: usize = 256;
/// A shell's name is no longer.
const NAME_BYTES_MAX: usize = 32;

/// What a shell reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The start text waits for [`super::answer`]. Without the secret: nobody knows it yet.
    Hello {
        /// What the account's shell is, if it is one that can be integrated.
        shell: Option<Shell>,
    },
    /// The text is in force.
    Ready,
    /// It is not, since the shell has keys that it cannot take from it.
    Unfit,
    /// A prompt is about to be shown.
    Prompt,
    /// fish: Enter was pressed, and the line is complete once it is asked for.
    Knock,
    /// A line is about to run, and waits for its verdict.
    Line {
        /// What it says.
        line: Result<String, Unreadable>,
        /// Whether it continues lines that the shell has taken already; or a running function reads it.
        continues: bool,
    },
    /// A line begins to run.
    Ran,
}

/// Why a line that a shell reported is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is longer than any that is judged.
    TooLong,
    /// It is no UTF-8.
    NotText,
}

/// A piece of a target's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// For the user.
    Shown(Vec<u8>),
    /// For the bastion alone.
    Report(Report),
    /// It looks like a report, and is not by the shell.
    Forged,
}

/// Takes the reports out of a target's output, however that is split.
#[derive(Debug)]
pub struct Reports {
    secret: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes of what a report begins with have come, and are held back.
    Outside { matched: usize },
    /// In a report.
    Inside { body: Vec<u8> },
    /// In one that is longer than any: only its end counts.
    TooLong,
}

impl Reports {
    /// Of the shell that knows these secrets.
    pub fn new(secrets: &Secrets) -> Self {
        Self { secret: secrets.report.clone().into_bytes(), state: State::Outside { matched: 0 } }
    }

    /// The pieces of the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut shown = Vec::with_capacity(bytes.len());
        for byte in bytes {
            let Some(piece) = self.byte(*byte, &mut shown) else { continue };
            if !shown.is_empty() {
                pieces.push(Piece::Shown(std::mem::take(&mut shown)));
            }
            pieces.push(piece);
        }
        if !shown.is_empty() {
            pieces.push(Piece::Shown(shown));
        }
        pieces
    }

    /// Whether bytes are held back that may be the beginning of a report.
    pub fn holds(&self) -> bool {
        matches!(self.state, State::Outside { matched } if matched > 0)
    }

    /// Gives back what is held and has not become a report for long.
    pub fn release(&mut self) -> Vec<u8> {
        let State::Outside { matched } = self.state else { return Vec::new() };
        self.state = State::Outside { matched: 0 };
        INTRO.get(..matched).unwrap_or_default().to_vec()
    }

    fn byte(&mut self, byte: u8, shown: &mut Vec<u8>) -> Option<Piece> {
        match &mut self.state {
            State::Outside { matched } => {
                if INTRO.get(*matched) == Some(&byte) {
                    *matched = matched.saturating_add(1);
                    if *matched == INTRO.len() {
                        self.state = State::Inside { body: Vec::new() };
                    }
                    return None;
                }
                shown.extend_from_slice(INTRO.get(..*matched).unwrap_or_default());
                *matched = 0;
                // A report begins at an escape, and has no other within its beginning.
                if byte == ESCAPE {
                    *matched = 1;
                } else {
                    shown.push(byte);
                }
                None
            }
            State::Inside { body } if byte == END => {
                let piece = read(body, &self.secret).map_or(Piece::Forged, Piece::Report);
                self.state = State::Outside { matched: 0 };
                Some(piece)
            }
            // A shell's report has none; what a terminal shows after it is not to be swallowed.
            State::Inside { .. } | State::TooLong if byte == ESCAPE => {
                self.state = State::Outside { matched: 1 };
                Some(Piece::Forged)
            }
            State::Inside { body } => {
                body.push(byte);
                let known = body.starts_with(&self.secret);
                if known && body.len() > REPORT_BYTES_MAX {
                    self.state = State::TooLong;
                    return None;
                }
                if !known && body.len() > FORGED_BYTES_MAX {
                    self.state = State::Outside { matched: 0 };
                    return Some(Piece::Forged);
                }
                None
            }
            State::TooLong => {
                let ended = byte == END;
                if ended {
                    self.state = State::Outside { matched: 0 };
                }
                ended.then_some(Piece::Report(Report::Line { line: Err(Unreadable::TooLong), continues: false }))
            }
        }
    }
}

/// Reads what stands between a report's beginning and its end.
fn read(body: &[u8], secret: &[u8]) -> Option<Report> {
    if let Some(name) = body.strip_prefix(b"hello;") {
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME_BYTES_MAX)?;
        return Some(Report::Hello { shell: Shell::parse(name) });
    }
    let rest = body.strip_prefix(secret)?.strip_prefix(b";")?;
    let at = rest.iter().position(|byte| *byte == b';')?;
    let (kind, text) = rest.split_at_checked(at)?;
    let text = text.get(1..)?;
    match kind {
        b"ready" => Some(Report::Ready),
        b"unfit" => Some(Report::Unfit),
        b"prompt" => Some(Report::Prompt),
        b"knock" => Some(Report::Knock),
        b"ran" => Some(Report::Ran),
        b"line" => Some(Report::Line { line: line(text), continues: false }),
        b"next" => Some(Report::Line { line: line(text), continues: true }),
        _ => None,
    }
}

/// The line of a report: `%` and two hexadecimal digits are a byte.
fn line(text: &[u8]) -> Result<String, Unreadable> {
    let mut bytes = Vec::with_capacity(text.len().min(LINE_BYTES_MAX));
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if bytes.len() >= LINE_BYTES_MAX {
            return Err(Unreadable::TooLong);
        }
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Unreadable::NotText) };
        bytes.push((high << 4) | low);
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}
