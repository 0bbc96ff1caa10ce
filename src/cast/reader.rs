//! Lines to entries. The input is hostile: lengths are bounded, nothing panics, a bad line costs only itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::records::{self, Found};
use super::{Entry, Facts, Header, REDACTED, Timed, round_millis};
use crate::model::{ChannelClass, Exit, Output};

/// A longer line is damaged. Our own are far under 1 MiB.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A line buffer that has grown beyond this is given back.
const LINE_BYTES_KEPT: usize = 1024 * 1024;

/// Reads one segment: the header at once, then entries as an iterator.
///
/// An error of the iterator is about one line; iteration goes on after it, except after an I/O error. Times are
/// since the session opened. An entry of more than 64 KiB comes back in parts with the same time.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    header: Header,
    at_ms: u64,
    output: Output,
    /// An `o` or `i` line whose exact bytes may follow.
    held: Option<Timed>,
    /// What to return before the next line is read.
    error: Option<ReadError>,
    signal: Option<Exit>,
    done: bool,
}

/// How a segment ended; known once the iterator has returned `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its last line is complete.
    Whole,
    /// Its last line is not: the bastion stopped while writing. Nothing of that line was shown to the user.
    Torn {
        /// How many bytes from the start are good lines.
        valid_len: u64,
    },
}

/// Why a segment, or one line of it, cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The file system failed.
    Io(io::Error),
    /// The first line is not a header of ours.
    Header {
        /// What is wrong.
        why: String,
    },
    /// A later line is not an event.
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("cannot read the segment"),
            Self::Header { why } => write!(f, "the segment's header is damaged: {why}"),
            Self::Line { line, why } => write!(f, "line {line} of the segment is damaged: {why}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Header { .. } | Self::Line { .. } => None,
        }
    }
}

#[derive(Deserialize)]
struct HeaderLine {
    version: u8,
    term: TermLine,
    #[serde(default)]
    timestamp: i64,
    title: Option<String>,
    command: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    doorward: Facts,
}

#[derive(Deserialize)]
struct TermLine {
    cols: u32,
    rows: u32,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct EventLine<'a>(f64, #[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct SignalLine {
    name: String,
    core_dumped: bool,
    message: String,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `Header` if the first line is not a header of ours, `Io` if it cannot be read.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let mut lines = Lines { input, line: Vec::new(), number: 0, offset: 0, valid_len: 0, torn: false, clean: true };
        let bad = |why: String| ReadError::Header { why };
        match lines.next_line().map_err(ReadError::Io)? {
            Next::Line => {}
            Next::TooLong => return Err(bad(String::from("the line is too long"))),
            Next::End => return Err(bad(String::from("the line is not complete"))),
        }
        let parsed: HeaderLine = serde_json::from_slice(&lines.line).map_err(|error| bad(error.to_string()))?;
        if parsed.version != 3 {
            return Err(bad(format!("it is of asciicast version {}, not 3", parsed.version)));
        }
        lines.accept();
        let header = Header {
            cols: parsed.term.cols,
            rows: parsed.term.rows,
            term: parsed.term.kind,
            timestamp: parsed.timestamp,
            title: parsed.title,
            command: parsed.command,
            env: parsed.env,
            doorward: parsed.doorward,
        };
        let at_ms = header.doorward.t0;
        let output = Output::Stdout;
        Ok(Self { lines, header, at_ms, output, held: None, error: None, signal: None, done: false })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the lines are read from.
    pub fn input(&self) -> &R {
        &self.lines.input
    }

    /// How the segment ended, as far as it was read.
    pub fn ending(&self) -> Ending {
        if self.lines.torn { Ending::Torn { valid_len: self.lines.valid_len } } else { Ending::Whole }
    }

    /// How many bytes from the start are good lines, up to the first damage, as far as it was read.
    pub fn valid_len(&self) -> u64 {
        self.lines.valid_len
    }

    /// The next record of a desktop.
    fn next_record(&mut self) -> Option<Result<Timed, ReadError>> {
        if self.done {
            return None;
        }
        self.lines.number = self.lines.number.saturating_add(1);
        let bad = |line, why: String| Some(Err(ReadError::Line { line, why }));
        match records::read(&mut self.lines.input) {
            Ok(Found::Record(timed, len)) => {
                self.lines.offset = self.lines.offset.saturating_add(len);
                self.lines.accept();
                Some(Ok(timed))
            }
            Ok(Found::Unknown(kind, len)) => {
                self.lines.offset = self.lines.offset.saturating_add(len);
                self.lines.clean = false;
                bad(self.lines.number, format!("no record is of kind {kind}"))
            }
            Ok(Found::TooLong) => {
                (self.done, self.lines.clean) = (true, false);
                bad(self.lines.number, String::from("the record is too long"))
            }
            Ok(Found::Torn) => {
                (self.done, self.lines.torn) = (true, true);
                None
            }
            Ok(Found::End) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                Some(Err(ReadError::Io(error)))
            }
        }
    }

    /// Handles the line that was just read; what it returns is whole.
    fn event(&mut self) -> Result<Option<Timed>, String> {
        if self.lines.line.first() == Some(&b'#') {
            return Ok(None);
        }
        let EventLine(interval, code, data) =
            serde_json::from_slice(&self.lines.line).map_err(|error| error.to_string())?;
        let interval = Duration::try_from_secs_f64(interval).map_err(|_| String::from("the interval is not a time"))?;
        self.at_ms = self.at_ms.saturating_add(round_millis(interval));
        let entry = match code.as_ref() {
            "o" | "i" => {
                let bytes = Bytes::copy_from_slice(data.as_bytes());
                let entry =
                    if code == "o" { Entry::Output { output: self.output, bytes } } else { Entry::Input(bytes) };
                return Ok(self.hold(entry));
            }
            "b" => {
                let exact = Bytes::from(STANDARD.decode(data.as_bytes()).map_err(|error| error.to_string())?);
                return match self.held.take() {
                    Some(Timed { at, entry: Entry::Output { output, .. } }) => {
                        Ok(non_empty(Timed { at, entry: Entry::Output { output, bytes: exact } }))
                    }
                    Some(Timed { at, entry: Entry::Input(text) }) if exact.is_empty() && text == REDACTED => {
                        Ok(Some(Timed { at, entry: Entry::Redacted }))
                    }
                    Some(Timed { at, entry: Entry::Input(_) }) => {
                        Ok(non_empty(Timed { at, entry: Entry::Input(exact) }))
                    }
                    other => {
                        self.held = other;
                        Err(String::from("no output or input is before these exact bytes"))
                    }
                };
            }
            "f" => {
                self.output = match data.as_ref() {
                    "1" => Output::Stdout,
                    "2" => Output::Stderr,
                    _ => return Err(String::from("neither stdout (1) nor stderr (2)")),
                };
                return Ok(self.release());
            }
            "s" => {
                let SignalLine { name, core_dumped, message } =
                    serde_json::from_str(&data).map_err(|error| error.to_string())?;
                self.signal = Some(Exit::Signal { name, core_dumped, message });
                return Ok(self.release());
            }
            "r" => {
                let size = data.split_once('x').and_then(|(cols, rows)| Some((cols.parse().ok()?, rows.parse().ok()?)));
                let (cols, rows) = size.ok_or("the size is not COLSxROWS")?;
                Entry::Resize { cols, rows }
            }
            "m" => Entry::Marker(data.into_owned()),
            "d" => Entry::Digest(serde_json::from_str(&data).map_err(|error| error.to_string())?),
            "x" => match self.signal.take() {
                Some(signal) => Entry::Exit(signal),
                None => Entry::Exit(Exit::Status(data.parse().map_err(|_| "the exit status is not a number")?)),
            },
            _ => return Ok(self.release()), // asciicast v3: unknown codes are ignored
        };
        Ok(self.follow(entry))
    }

    /// Holds `entry`, in case its exact bytes follow; returns what was held.
    fn hold(&mut self, entry: Entry) -> Option<Timed> {
        let before = self.release();
        self.held = Some(Timed { at: Duration::from_millis(self.at_ms), entry });
        before
    }

    /// As `hold`: an entry that is whole waits its turn behind the one that was held.
    fn follow(&mut self, entry: Entry) -> Option<Timed> {
        match self.hold(entry) {
            Some(before) => Some(before),
            None => self.release(),
        }
    }

    fn release(&mut self) -> Option<Timed> {
        self.held.take().and_then(non_empty)
    }
}

/// An `o` or `i` without bytes says nothing.
fn non_empty(timed: Timed) -> Option<Timed> {
    timed.entry.bytes().is_none_or(|(_, len)| len > 0).then_some(timed)
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Timed, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        if self.header.doorward.class == Some(ChannelClass::Desktop) {
            return self.next_record();
        }
        while !self.done {
            let event = match self.lines.next_line() {
                Ok(Next::Line) => self.event(),
                Ok(Next::TooLong) => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
                Ok(Next::End) => {
                    self.done = true;
                    break;
                }
                Err(error) => {
                    self.done = true;
                    self.error = Some(ReadError::Io(error));
                    break;
                }
            };
            match event {
                Ok(timed) => {
                    self.lines.accept();
                    if let Some(timed) = timed {
                        return Some(Ok(timed));
                    }
                }
                Err(why) => {
                    self.lines.clean = false;
                    let error = ReadError::Line { line: self.lines.number, why };
                    let Some(before) = self.release() else { return Some(Err(error)) };
                    self.error = Some(error);
                    return Some(Ok(before));
                }
            }
        }
        self.release().map(Ok).or_else(|| self.error.take().map(Err))
    }
}

/// Complete lines of bounded length.
#[derive(Debug)]
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    offset: u64,
    valid_len: u64,
    torn: bool,
    clean: bool,
}

enum Next {
    /// `line` holds the next line, without its end.
    Line,
    /// A line was skipped.
    TooLong,
    /// No complete line is left.
    End,
}

impl<R: BufRead> Lines<R> {
    fn next_line(&mut self) -> io::Result<Next> {
        self.line.clear();
        if self.line.capacity() > LINE_BYTES_KEPT {
            self.line.shrink_to(LINE_BYTES_KEPT);
        }
        self.number = self.number.saturating_add(1);
        let mut too_long = false;
        loop {
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read.is_empty() {
                self.torn = too_long || !self.line.is_empty();
                return Ok(Next::End);
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
            if self.line.len().saturating_add(part.len()) > LINE_BYTES_MAX {
                too_long = true;
                self.line.clear();
            }
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len().saturating_add(usize::from(end.is_some()));
            self.input.consume(used);
            self.offset = self.offset.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
            if end.is_some() {
                return Ok(if too_long { Next::TooLong } else { Next::Line });
            }
        }
    }

    /// Counts the line just read as good.
    fn accept(&mut self) {
        if self.clean {
            self.valid_len = self.offset;
        }
    }
}
