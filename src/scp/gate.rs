//! Judges the old protocol of `scp` (OpenSSH's scp.c), and says what is put on record of it. Pure: bytes in, what to do
//! out.
//!
//! One side sends files, the other answers; whoever sends waits for each answer, and so does this gate: it never has to
//! guess whether bytes are a file's or a line. So nothing but answers reaches who sends, and nothing that is not
//! understood reaches who receives.
//!
//! What it does **not** guard against: what a file that may be written does once it is on the target, and a target whose
//! `scp` says other names than it reads.

use ring::digest::{Context, SHA256};

use crate::inspect::{FileNote, Note};
use crate::model::transfer::{Scp, Way};
use crate::sftp::shown;

/// Why what was sent is not this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The user.
    User,
    /// The target.
    Target,
}

/// What to do with the bytes of a side that have not gone on yet.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Keep them until more come.
    More,
    /// Keep them until the other side has spoken.
    Wait,
    /// So many go on, once the notes are on record.
    Pass {
        /// How many.
        bytes: usize,
        /// What is put on record before.
        notes: Vec<Note>,
    },
}

/// The longest line: a name has at most 255 bytes, and a target's `scp` cuts longer ones in two.
const LINE_BYTES_MAX: usize = 1024;
/// The longest line that says why something failed; `scp` takes no longer one either.
const REASON_BYTES_MAX: usize = 2047;
/// The names of directories within each other may have so many bytes together (Linux's `PATH_MAX`).
const INSIDE_BYTES_MAX: usize = 4096;

/// One transfer.
pub struct Gate {
    way: Way,
    options: Scp,
    roots: Vec<String>,
    /// The directories that were entered, from the outermost.
    inside: Vec<Vec<u8>>,
    /// What the last `T` line said.
    times: Option<String>,
    state: State,
}

enum State {
    /// Who sends says what comes next.
    Idle,
    /// Who receives must answer.
    Asked(Asked),
    /// So many bytes of a file are to come.
    Data { file: File, left: u64 },
    /// All of them came, and who sends must say whether they are good.
    Sent(File),
}

/// What an answer is to.
enum Asked {
    /// The beginning: who receives is there.
    Start,
    Times,
    File(File),
    Directory {
        name: Vec<u8>,
        path: String,
    },
    /// A directory was left.
    Leave,
    /// A whole file, and why it is not good.
    End(File, Option<String>),
}

/// A file on its way.
struct File {
    path: String,
    mode: String,
    size: u64,
    bytes: u64,
    hash: Context,
}

impl Gate {
    /// Nothing has been said yet.
    pub fn new(way: Way, options: Scp, roots: &[String]) -> Self {
        let roots = roots.to_vec();
        Self { way, options, roots, inside: Vec::new(), times: None, state: State::Asked(Asked::Start) }
    }

    /// Says what to do with what `side` has sent and that has not gone on.
    ///
    /// # Errors
    /// `Malformed` ends the channel.
    pub fn step(&mut self, side: Side, bytes: &[u8]) -> Result<Step, Malformed> {
        let Some(first) = bytes.first() else { return Ok(Step::More) };
        let sends = match self.way {
            Way::ToTarget => side == Side::User,
            Way::FromTarget => side == Side::Target,
        };
        if sends { self.sent(*first, bytes) } else { self.answered(side, *first, bytes) }
    }

    fn sent(&mut self, first: u8, bytes: &[u8]) -> Result<Step, Malformed> {
        match std::mem::replace(&mut self.state, State::Idle) {
            asked @ State::Asked(_) => {
                self.state = asked;
                Ok(Step::Wait)
            }
            State::Data { mut file, left } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let count_long = u64::try_from(count).unwrap_or(left);
                file.hash.update(bytes.get(..count).unwrap_or(bytes));
                file.bytes = file.bytes.saturating_add(count_long);
                let left = left.saturating_sub(count_long);
                self.state = if left == 0 { State::Sent(file) } else { State::Data { file, left } };
                Ok(Step::Pass { bytes: count, notes: Vec::new() })
            }
            State::Sent(file) => match reason(first, bytes)? {
                None => {
                    self.state = State::Sent(file);
                    Ok(Step::More)
                }
                Some((bytes, why)) => {
                    self.state = State::Asked(Asked::End(file, why));
                    Ok(Step::Pass { bytes, notes: Vec::new() })
                }
            },
            State::Idle if matches!(first, 1 | 2) => Ok(match reason(first, bytes)? {
                None => Step::More,
                Some((bytes, why)) => {
                    let text = format!("{} says: {}", self.sender(), why.unwrap_or_default());
                    Step::Pass { bytes, notes: vec![later(text)] }
                }
            }),
            State::Idle => match line(bytes, LINE_BYTES_MAX)? {
                None => Ok(Step::More),
                Some(line) => {
                    let notes = self.said(first, line)?;
                    Ok(Step::Pass { bytes: line.len().saturating_add(1), notes })
                }
            },
        }
    }

    /// Takes a line of who sends: what comes next.
    fn said(&mut self, first: u8, line: &[u8]) -> Result<Vec<Note>, Malformed> {
        let (asked, notes) = match first {
            b'T' => {
                self.times = Some(times(line)?);
                (Asked::Times, Vec::new())
            }
            b'E' if line.len() == 1 => {
                self.inside.pop().ok_or(Malformed("the end of a directory that was not entered"))?;
                (Asked::Leave, Vec::new())
            }
            b'C' => {
                let Entry { mode, size, name } = entry(line)?;
                let file = File { path: self.path(name), mode, size, bytes: 0, hash: Context::new(&SHA256) };
                let note = self.begins(&file, name);
                (Asked::File(file), vec![note])
            }
            b'D' => {
                let Entry { mode, name, .. } = entry(line)?;
                if !self.options.recursive {
                    return Err(Malformed("a directory that was not asked for"));
                }
                let inside: usize = self.inside.iter().map(|name| name.len().saturating_add(1)).sum();
                if inside.saturating_add(name.len()) > INSIDE_BYTES_MAX {
                    return Err(Malformed("a path that is too long"));
                }
                let path = self.path(name);
                let note = self.enters(&path, &mode, name);
                (Asked::Directory { name: name.to_vec(), path }, vec![note])
            }
            _ => return Err(Malformed("a line that is not of this protocol")),
        };
        self.state = State::Asked(asked);
        Ok(notes)
    }

    /// What is put on record before a file comes.
    fn begins(&mut self, file: &File, name: &[u8]) -> Note {
        let times = self.times.take().map(|times| format!(" {times}")).unwrap_or_default();
        let about = format!("mode {} size {}{times}{}", file.mode, file.size, self.sent_as(name));
        match self.way {
            Way::FromTarget => first(format!("get {} {about}", file.path), None),
            // It may make or cut a file by itself.
            Way::ToTarget => {
                let detail = Some(format!("to write, {about}"));
                let log = FileNote { what: "open", path: file.path.clone(), to: None, detail };
                first(format!("put {} {about}", file.path), Some(log))
            }
        }
    }

    /// What is put on record before a directory comes.
    fn enters(&mut self, path: &str, mode: &str, name: &[u8]) -> Note {
        let times = self.times.take().map(|times| format!(" {times}")).unwrap_or_default();
        let about = format!("mode {mode}{times}{}", self.sent_as(name));
        match self.way {
            Way::FromTarget => first(format!("list {path} {about}"), None),
            Way::ToTarget => {
                let detail = Some(format!("if it is not there, {about}"));
                let log = FileNote { what: "mkdir", path: path.to_owned(), to: None, detail };
                first(format!("mkdir {path} {about}"), Some(log))
            }
        }
    }

    fn answered(&mut self, side: Side, code: u8, bytes: &[u8]) -> Result<Step, Malformed> {
        let State::Asked(_) = self.state else {
            return match side {
                // It is the answer to what comes next; until then the target does not get it.
                Side::User => Ok(Step::Wait),
                // Whoever takes it for an answer is from then on of another mind than the target.
                Side::Target => Err(Malformed("an answer to what nobody asked")),
            };
        };
        if code > 2 {
            return Err(Malformed("what is not an answer"));
        }
        let Some((bytes, why)) = reason(code, bytes)? else { return Ok(Step::More) };
        let State::Asked(asked) = std::mem::replace(&mut self.state, State::Idle) else { return Ok(Step::Wait) };
        let receiver = match self.way {
            Way::ToTarget => "the target",
            Way::FromTarget => "the user",
        };
        let notes = match (asked, why) {
            (Asked::File(file), None) => {
                let left = file.size;
                self.state = if left == 0 { State::Sent(file) } else { State::Data { file, left } };
                Vec::new()
            }
            (Asked::Directory { name, .. }, None) => {
                self.inside.push(name);
                Vec::new()
            }
            (Asked::End(file, bad), why) => {
                let bad = bad.map(|bad| format!("{} says: {bad}", self.sender()));
                let why = why.map(|why| format!("{receiver} says: {why}"));
                let says: String = [bad, why].into_iter().flatten().map(|says| format!(", {says}")).collect();
                vec![self.ended(&file, &says)]
            }
            (Asked::Start | Asked::Times | Asked::Leave, None) => Vec::new(),
            (Asked::File(File { path, .. }) | Asked::Directory { path, .. }, Some(why)) => {
                vec![later(format!("{} {path}: {receiver} says: {why}", self.verb()))]
            }
            (Asked::Start | Asked::Times | Asked::Leave, Some(why)) => vec![later(format!("{receiver} says: {why}"))],
        };
        Ok(Step::Pass { bytes, notes })
    }

    /// What is put on record of a file that is over.
    fn ended(&self, file: &File, says: &str) -> Note {
        let what = self.verb();
        let hash = file.hash.clone().finish();
        let sha256: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let detail = format!("{} bytes, SHA-256 {sha256}{says}", file.bytes);
        let log = FileNote { what, path: file.path.clone(), to: None, detail: Some(detail.clone()) };
        first(format!("{what} {}: {detail}", file.path), Some(log))
    }

    /// What is put on record of a file that is not over.
    pub fn finish(&mut self) -> Vec<Note> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Data { file, .. } => {
                let says = format!(", not all of {}", file.size);
                vec![self.ended(&file, &says)]
            }
            State::Sent(file) | State::Asked(Asked::End(file, _)) => vec![self.ended(&file, ", not answered")],
            State::Idle | State::Asked(_) => Vec::new(),
        }
    }

    fn verb(&self) -> &'static str {
        match self.way {
            Way::FromTarget => "get",
            Way::ToTarget => "put",
        }
    }

    fn sender(&self) -> &'static str {
        match self.way {
            Way::ToTarget => "the user",
            Way::FromTarget => "the target",
        }
    }

    /// The path at the target, as far as it is known: what is written to may be a directory, or become the file.
    fn path(&self, name: &[u8]) -> String {
        let names = self.names(name);
        match self.way {
            Way::ToTarget => {
                let root = self.roots.first().map(String::as_bytes).unwrap_or_default();
                shown(&if self.options.into_directory { joined(root, &names) } else { root.to_vec() })
            }
            Way::FromTarget => {
                let (top, rest) = names.split_first().map_or((name, &[][..]), |(top, rest)| (*top, rest));
                let last = |root: &str| root.trim_end_matches('/').rsplit('/').next() == std::str::from_utf8(top).ok();
                let root = match self.roots.as_slice() {
                    [only] => Some(only),
                    several => several.iter().find(|root| last(root)),
                };
                shown(&joined(root.map_or(top, |root| root.as_bytes()), rest))
            }
        }
    }

    /// The names of the directories that were entered, and this one.
    fn names<'n>(&'n self, name: &'n [u8]) -> Vec<&'n [u8]> {
        self.inside.iter().map(Vec::as_slice).chain([name]).collect()
    }

    /// The name that it was sent by, where the path does not end in it.
    fn sent_as(&self, name: &[u8]) -> String {
        match (self.way, self.options.into_directory) {
            (Way::ToTarget, false) => format!(", sent as {}", shown(&self.names(name).join(&b'/'))),
            (Way::ToTarget, true) | (Way::FromTarget, _) => String::new(),
        }
    }
}

fn joined(root: &[u8], names: &[&[u8]]) -> Vec<u8> {
    let mut path = root.to_vec();
    for name in names {
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    path
}

fn first(text: String, file: Option<FileNote>) -> Note {
    Note { text: format!("scp: {text}"), first: true, file, refused: None }
}

fn later(text: String) -> Note {
    Note { text: format!("scp: {text}"), first: false, file: None, refused: None }
}

/// The line at the beginning, without its end; none if its end has not come.
fn line(bytes: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, Malformed> {
    let seen = bytes.get(..bytes_max).unwrap_or(bytes);
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(bytes.get(..end)),
        None if seen.len() == bytes_max => Err(Malformed("a line that does not end")),
        None => Ok(None),
    }
}

/// What a byte that says whether all is well brings with it: how long it is, and why not; none if that has not all come.
fn reason(code: u8, bytes: &[u8]) -> Result<Option<(usize, Option<String>)>, Malformed> {
    match code {
        0 => Ok(Some((1, None))),
        1 | 2 => Ok(line(bytes, REASON_BYTES_MAX)?
            .map(|line| (line.len().saturating_add(1), Some(shown(line.get(1..).unwrap_or_default()))))),
        _ => Err(Malformed("neither that a file is whole nor that it is not")),
    }
}

/// What a `C` or `D` line says.
struct Entry<'l> {
    mode: String,
    size: u64,
    name: &'l [u8],
}

/// Reads `C0644 123 name` as sink() does, or not at all.
fn entry(line: &[u8]) -> Result<Entry<'_>, Malformed> {
    const FORM: Malformed = Malformed("a line that is not of this protocol");
    let (mode, rest) = line.get(1..).and_then(|rest| rest.split_at_checked(4)).ok_or(FORM)?;
    let rest = rest.strip_prefix(b" ").ok_or(FORM)?;
    let end = rest.iter().position(|byte| *byte == b' ').ok_or(FORM)?;
    let (size, name) = rest.split_at_checked(end).ok_or(FORM)?;
    let name = name.strip_prefix(b" ").ok_or(FORM)?;
    if !mode.iter().all(|byte| matches!(byte, b'0'..=b'7')) {
        return Err(FORM);
    }
    let size = number(size).filter(|size| i64::try_from(*size).is_ok()).ok_or(FORM)?;
    // A C string ends at the first NUL: the target would take another name than the one on record.
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(Malformed("a name that leads elsewhere"));
    }
    Ok(Entry { mode: String::from_utf8_lossy(mode).into_owned(), size, name })
}

/// Reads `T1763719200 0 1763719200 0`: when it was changed and read last, each in seconds and microseconds.
fn times(line: &[u8]) -> Result<String, Malformed> {
    let fields: Option<Vec<u64>> = line.get(1..).unwrap_or_default().split(|byte| *byte == b' ').map(number).collect();
    match fields.as_deref() {
        Some([changed, _, read, _]) => Ok(format!("times {changed}:{read}")),
        Some(_) | None => Err(Malformed("times that are none")),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.chars().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
