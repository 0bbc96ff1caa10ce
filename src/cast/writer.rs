//! Entries to lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::text::{escaped_len, incomplete_tail, push_base64_string, push_json_string, push_lossy_json_string};
use super::{Direction, Entry, Facts, Header, REDACTED, records, round_millis};
use crate::model::{Exit, Output};

/// At most so many bytes of an entry go into one line.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Turns the entries of one channel into asciicast v3 lines.
///
/// It owns no buffer, so that an idle channel costs little: lines are appended to what the caller lends.
#[derive(Debug, Clone)]
pub struct Writer {
    pty: bool,
    last_ms: u64,
    output: Output,
    input_carry: Carry,
    stdout_carry: Carry,
    stderr_carry: Carry,
}

/// The first bytes of a character whose rest is to come. They are recorded; their text is not.
#[derive(Debug, Default, Clone, Copy)]
struct Carry {
    bytes: [u8; 4],
    len: usize,
}

/// The part of [`Header`] that asciicast names, in its form.
#[derive(Serialize)]
struct HeaderLine<'a> {
    version: u8,
    term: TermLine<'a>,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
    doorward: &'a Facts,
}

#[derive(Serialize)]
struct TermLine<'a> {
    cols: u32,
    rows: u32,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
}

/// The data of an `s` line.
#[derive(Serialize)]
struct SignalLine<'a> {
    name: &'a str,
    core_dumped: bool,
    message: &'a str,
}

impl Writer {
    /// Starts the channel's first segment: appends its header line to `out`.
    pub fn new(header: &Header, out: &mut Vec<u8>) -> Self {
        let mut writer = Self {
            pty: header.doorward.pty,
            last_ms: 0,
            output: Output::Stdout,
            input_carry: Carry::default(),
            stdout_carry: Carry::default(),
            stderr_carry: Carry::default(),
        };
        writer.start_segment(header, out);
        writer
    }

    /// Starts a segment: appends its header line to `out`. Its first interval counts from `header.doorward.t0`.
    pub fn start_segment(&mut self, header: &Header, out: &mut Vec<u8>) {
        self.last_ms = header.doorward.t0;
        self.output = Output::Stdout;
        let line = HeaderLine {
            version: 3,
            term: TermLine { cols: header.cols, rows: header.rows, kind: header.term.as_deref() },
            timestamp: header.timestamp,
            title: header.title.as_deref(),
            command: header.command.as_deref(),
            env: &header.env,
            doorward: &header.doorward,
        };
        push_json(&line, out);
        out.push(b'\n');
    }

    /// The time of the last line, in milliseconds since the session opened: `t0` of a next segment.
    pub fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Appends the lines of one entry to `out`. A time before the last entry's counts as that one's.
    pub fn write(&mut self, at: Duration, entry: &Entry, out: &mut Vec<u8>) {
        if !matches!(entry, Entry::Record { .. }) && entry.bytes().is_some_and(|(_, len)| len == 0) {
            return;
        }
        let now = round_millis(at).max(self.last_ms);
        if let Entry::Record { kind, bytes } = entry {
            self.last_ms = now;
            return records::write(at, *kind, bytes, out);
        }
        let mut lines = Lines { gap: now.saturating_sub(self.last_ms), out };
        self.last_ms = now;
        match entry {
            Entry::Output { output, bytes } => {
                if *output != self.output {
                    self.output = *output;
                    lines.text(b'f', if *output == Output::Stdout { "1" } else { "2" });
                }
                let carry = match output {
                    Output::Stdout => &mut self.stdout_carry,
                    Output::Stderr => &mut self.stderr_carry,
                };
                lines.bytes(b'o', bytes, self.pty, carry);
            }
            Entry::Input(bytes) => lines.bytes(b'i', bytes, self.pty, &mut self.input_carry),
            // Above.
            Entry::Record { .. } => {}
            Entry::Redacted => {
                lines.text(b'i', REDACTED);
                lines.exact(&[]);
            }
            Entry::Resize { cols, rows } => lines.text(b'r', &format!("{cols}x{rows}")),
            Entry::Marker(text) => lines.text(b'm', text),
            Entry::Digest(digest) => {
                let mut json = Vec::new();
                push_json(digest, &mut json);
                lines.text(b'd', &String::from_utf8_lossy(&json));
            }
            Entry::Exit(Exit::Status(status)) => lines.text(b'x', &status.to_string()),
            Entry::Exit(Exit::Signal { name, core_dumped, message }) => {
                let mut json = Vec::new();
                push_json(&SignalLine { name, core_dumped: *core_dumped, message }, &mut json);
                lines.text(b's', &String::from_utf8_lossy(&json));
                lines.text(b'x', shell_status(name));
            }
        }
    }
}

impl Entry {
    /// The direction and number of the bytes that it holds, if it holds any.
    pub fn bytes(&self) -> Option<(Direction, usize)> {
        match self {
            Self::Output { output: Output::Stdout, bytes } => Some((Direction::Stdout, bytes.len())),
            Self::Output { output: Output::Stderr, bytes } => Some((Direction::Stderr, bytes.len())),
            Self::Input(bytes) => Some((Direction::Stdin, bytes.len())),
            Self::Record { kind, bytes } => records::direction(*kind).map(|direction| (direction, bytes.len())),
            Self::Redacted | Self::Resize { .. } | Self::Marker(_) | Self::Digest(_) | Self::Exit(_) => None,
        }
    }

    /// About how much memory it holds.
    pub fn size(&self) -> usize {
        match self {
            Self::Output { bytes, .. } | Self::Input(bytes) | Self::Record { bytes, .. } => bytes.len(),
            Self::Marker(text) => text.len(),
            Self::Exit(Exit::Signal { name, message, .. }) => name.len().saturating_add(message.len()),
            Self::Redacted | Self::Resize { .. } | Self::Digest(_) | Self::Exit(Exit::Status(_)) => 0,
        }
    }
}

/// The lines of one entry: the first has the interval, the others 0.
struct Lines<'a> {
    gap: u64,
    out: &'a mut Vec<u8>,
}

impl Lines<'_> {
    fn start(&mut self, code: u8) {
        let gap = std::mem::take(&mut self.gap);
        // Writing to a `Vec` cannot fail.
        let _ = if gap == 0 {
            self.out.write_all(b"[0,\"")
        } else {
            write!(self.out, "[{}.{:03},\"", gap / 1000, gap % 1000)
        };
        self.out.extend_from_slice(&[code, b'"', b',']);
    }

    fn text(&mut self, code: u8, text: &str) {
        self.start(code);
        push_json_string(text, self.out);
        self.out.extend_from_slice(b"]\n");
    }

    fn exact(&mut self, bytes: &[u8]) {
        self.start(b'b');
        push_base64_string(bytes, self.out);
        self.out.extend_from_slice(b"]\n");
    }

    /// INVARIANT: every byte of `bytes` is in a line of its own entry, whatever becomes of the text.
    fn bytes(&mut self, code: u8, bytes: &[u8], pty: bool, carry: &mut Carry) {
        let mut rest = self.complete(code, bytes, carry);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(LINE_BYTES_MAX));
            let whole = piece.len().saturating_sub(incomplete_tail(piece));
            if whole == 0 {
                // Only the start of a character is left, and it is at the very end: a longer piece has more.
                self.text(code, "");
                self.exact(rest);
                carry.extend(rest);
                return;
            }
            let (piece, tail) = piece.split_at(whole);
            self.piece(code, piece, pty);
            rest = rest.get(whole..).unwrap_or_default();
            debug_assert_eq!(rest.len(), tail.len().saturating_add(later.len()));
        }
    }

    /// One line with its text, and one with its exact bytes where the text does not tell them.
    fn piece(&mut self, code: u8, piece: &[u8], pty: bool) {
        // What a person can read is written as text, at up to twice its length; other bytes only in base64.
        let text_len_max = piece.len().saturating_mul(2).saturating_add(16);
        match std::str::from_utf8(piece) {
            Ok(text) if pty || escaped_len(piece, 1) <= text_len_max => self.text(code, text),
            // The characters of a broken text become U+FFFD, three bytes each.
            Err(_) if pty || escaped_len(piece, 3) <= text_len_max => {
                self.start(code);
                push_lossy_json_string(piece, self.out);
                self.out.extend_from_slice(b"]\n");
                self.exact(piece);
            }
            Ok(_) | Err(_) => {
                self.text(code, "");
                self.exact(piece);
            }
        }
    }

    /// Completes the carried character from the start of `bytes`; returns what follows.
    fn complete<'a>(&mut self, code: u8, bytes: &'a [u8], carry: &mut Carry) -> &'a [u8] {
        if carry.len == 0 {
            return bytes;
        }
        for taken in 1..=bytes.len().min(3) {
            let (head, rest) = bytes.split_at(taken);
            let mut tried = *carry;
            tried.extend(head);
            match std::str::from_utf8(tried.slice()) {
                Ok(text) => {
                    self.text(code, text);
                    self.exact(head);
                    *carry = Carry::default();
                    return rest;
                }
                Err(error) if error.error_len().is_some() => break,
                Err(_) if rest.is_empty() => {
                    self.text(code, "");
                    self.exact(head);
                    *carry = tried;
                    return rest;
                }
                Err(_) => {}
            }
        }
        // It was no character after all; its bytes are recorded, and there is no text to show for them.
        *carry = Carry::default();
        bytes
    }
}

impl Carry {
    fn extend(&mut self, more: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(self.len).zip(more) {
            *to = *from;
        }
        self.len = self.len.saturating_add(more.len()).min(self.bytes.len());
    }

    fn slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn push_json<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    // Our types have string keys and no maps of other things, and a `Vec` takes every write.
    let done = serde_json::to_writer(out, value);
    debug_assert!(done.is_ok());
}

/// The status that a shell reports for a signal of RFC 4254 section 6.10: 128 and the signal's number.
fn shell_status(signal: &str) -> &'static str {
    match signal {
        "HUP" => "129",
        "INT" => "130",
        "QUIT" => "131",
        "ILL" => "132",
        "ABRT" => "134",
        "FPE" => "136",
        "KILL" => "137",
        "USR1" => "138",
        "SEGV" => "139",
        "USR2" => "140",
        "PIPE" => "141",
        "ALRM" => "142",
        "TERM" => "143",
        _ => "255",
    }
}
