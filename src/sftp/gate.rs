//! Judges each SFTP packet, and says what is put on record of it. Pure: packets in, what to do out.
//!
//! What it does **not** guard against: what a file that may be written does once it is on the target.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use super::packet::{
    AFRESH, APPEND, DENIED, FAILED, FromTarget, FromUser, Malformed, Request, UNSUPPORTED, VERSION, changes,
    from_target, from_user, init, purpose, reads, shown, status, version, writes,
};
use crate::inspect::{FileNote, Note};

/// What a user may do with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Read files.
    pub read: bool,
    /// Write and change them.
    pub write: bool,
}

/// What to do with a user's packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// It goes to the target.
    Forward(Bytes, Option<Note>),
    /// The bastion answers.
    Answer(Bytes, Option<Note>),
}

/// Requests that may wait for their answers; OpenSSH's clients have 64.
pub const PENDING_MAX: usize = 2048;
/// Handles that may be open.
const FILES_MAX: usize = 4096;

/// One SFTP conversation.
pub struct Gate {
    rights: Rights,
    pending: HashMap<u32, Pending>,
    files: HashMap<Vec<u8>, File>,
    greeted: Greeted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Greeted {
    No,
    ByUser,
    ByBoth,
}

/// What an answer is to.
enum Pending {
    /// Without flags: a directory.
    Open {
        path: String,
        flags: Option<u32>,
    },
    Read {
        handle: Vec<u8>,
        offset: u64,
    },
    Write {
        handle: Vec<u8>,
    },
    Close {
        handle: Vec<u8>,
    },
    Change {
        text: String,
    },
    Look,
}

/// An open file or directory.
struct File {
    path: String,
    /// What it was opened with; none for a directory.
    flags: Option<u32>,
    read: Flow,
    written: Flow,
    /// Writes that the target refused.
    failed: u64,
    /// It is being closed: its handle may soon be another file's.
    closing: bool,
}

impl File {
    fn new(path: String, flags: Option<u32>) -> Self {
        Self { path, flags, read: Flow::new(), written: Flow::new(), failed: 0, closing: false }
    }
}

/// What went through an open file one way.
struct Flow {
    hash: Context,
    bytes: u64,
    in_order: bool,
}

impl Flow {
    fn new() -> Self {
        Self { hash: Context::new(&SHA256), bytes: 0, in_order: true }
    }

    fn take(&mut self, offset: u64, data: &[u8]) {
        self.in_order &= offset == self.bytes;
        self.hash.update(data);
        self.bytes = self.bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
    }

    /// How much went through, if anything did.
    fn words(&self) -> Option<String> {
        let sha256 =
            || self.hash.clone().finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        (self.bytes > 0).then(|| format!("{} bytes, SHA-256 {}", self.bytes, sha256()))
    }
}

impl Gate {
    /// Nothing has been said yet.
    pub fn new(rights: Rights) -> Self {
        Self { rights, pending: HashMap::new(), files: HashMap::new(), greeted: Greeted::No }
    }

    /// How many requests wait for an answer.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Judges a user's packet, its length in front.
    ///
    /// # Errors
    /// `Malformed` ends the channel.
    pub fn asked(&mut self, packet: Bytes) -> Result<Asked, Malformed> {
        let (id, request) = match (from_user(&packet)?, self.greeted) {
            (FromUser::Init { version: 0..VERSION }, _) => return Err(Malformed("an old version of SFTP")),
            (FromUser::Init { .. }, Greeted::No) => {
                self.greeted = Greeted::ByUser;
                return Ok(Asked::Forward(init(), None));
            }
            (FromUser::Init { .. }, Greeted::ByUser | Greeted::ByBoth) => return Err(Malformed("a second beginning")),
            (FromUser::Request { .. }, Greeted::No | Greeted::ByUser) => {
                return Err(Malformed("a request before the beginning"));
            }
            (FromUser::Request { id, request }, Greeted::ByBoth) => (id, request),
        };
        if self.pending.contains_key(&id) {
            return Err(Malformed("two requests with one number"));
        }
        match self.judge(&request) {
            Ok((pending, note)) => {
                self.pending.insert(id, pending);
                Ok(Asked::Forward(packet, note))
            }
            Err(No { code, told, note }) => {
                let note = note.map(|text| Note { text: format!("sftp: refused: {text}"), first: false, file: None });
                Ok(Asked::Answer(status(id, code, told), note))
            }
        }
    }

    fn judge(&mut self, request: &Request<'_>) -> Result<(Pending, Option<Note>), No> {
        match *request {
            Request::Open { path, flags } => {
                let (path, purpose) = (shown(path), purpose(flags));
                let text = format!("open {path} {purpose}");
                if changes(flags) && !self.rights.write {
                    return Err(No::write(text));
                }
                if reads(flags) && !self.rights.read {
                    return Err(No::read(text));
                }
                self.room()?;
                // It may make or cut a file by itself.
                let file = FileNote { what: "open", path: path.clone(), to: None, detail: Some(purpose) };
                let note = Note { file: changes(flags).then_some(file), ..Note::first(text) };
                Ok((Pending::Open { path, flags: Some(flags) }, Some(note)))
            }
            Request::OpenDir { path } => {
                self.room()?;
                let path = shown(path);
                let note = Note::first(format!("list {path}"));
                Ok((Pending::Open { path, flags: None }, Some(note)))
            }
            Request::Look { what, path } => Ok((Pending::Look, Some(Note::later(format!("{what} {}", shown(path)))))),
            Request::LookAt { handle } => self.file(handle).map(|_| (Pending::Look, None)),
            Request::Limits => Ok((Pending::Look, None)),
            Request::Close { handle } => {
                // What is asked of the handle from now on may reach another file, to which the target gives it again.
                self.file(handle)?.closing = true;
                Ok((Pending::Close { handle: handle.to_vec() }, None))
            }
            Request::Read { handle, offset } => {
                self.file_for(handle, reads)?;
                Ok((Pending::Read { handle: handle.to_vec(), offset }, None))
            }
            Request::Write { handle, offset, data } => {
                self.file_for(handle, writes)?.written.take(offset, data);
                Ok((Pending::Write { handle: handle.to_vec() }, None))
            }
            Request::Change { what, path, to, ref set } => self.change(what, shown(path), to.map(shown), set),
            Request::ChangeAt { what, handle, ref set } => {
                let path = self.file(handle)?.path.clone();
                self.change(what, path, None, set)
            }
            Request::Copy { from, to } => {
                let from = self.file_for(from, reads)?.path.clone();
                let to = self.file_for(to, writes)?.path.clone();
                self.change("copy", from, Some(to), "")
            }
            Request::Unknown { ref name } => {
                Err(No { code: UNSUPPORTED, told: "doorward: not carried", note: Some(name.clone()) })
            }
        }
    }

    fn change(
        &self,
        what: &'static str,
        path: String,
        to: Option<String>,
        set: &str,
    ) -> Result<(Pending, Option<Note>), No> {
        let mut text = format!("{what} {path}");
        if let Some(to) = &to {
            text.push_str(" to ");
            text.push_str(to);
        }
        let detail = (!set.is_empty()).then(|| set.to_owned());
        if let Some(set) = &detail {
            text.push(' ');
            text.push_str(set);
        }
        if !self.rights.write {
            return Err(No::write(text));
        }
        let file = Some(FileNote { what, path, to, detail });
        let note = Note { file, ..Note::first(text.clone()) };
        Ok((Pending::Change { text }, Some(note)))
    }

    fn room(&self) -> Result<(), No> {
        let opening = self.pending.values().filter(|pending| matches!(pending, Pending::Open { .. })).count();
        if self.files.len().saturating_add(opening) < FILES_MAX {
            return Ok(());
        }
        Err(No { code: FAILED, told: "doorward: too many open files", note: None })
    }

    fn file(&mut self, handle: &[u8]) -> Result<&mut File, No> {
        let file = self.files.get_mut(handle).filter(|file| !file.closing);
        file.ok_or(No { code: FAILED, told: "doorward: no such handle", note: None })
    }

    /// The same, of a file that was opened for that.
    fn file_for(&mut self, handle: &[u8], purpose: fn(u32) -> bool) -> Result<&mut File, No> {
        let file = self.file(handle)?;
        if file.flags.is_some_and(purpose) {
            return Ok(file);
        }
        Err(No { code: DENIED, told: "doorward: it was not opened for that", note: None })
    }

    /// Takes a target's packet, its length in front: gives what goes to the user, and what is put on record before.
    ///
    /// # Errors
    /// `Malformed` ends the channel.
    pub fn answered(&mut self, packet: Bytes) -> Result<(Bytes, Vec<Note>), Malformed> {
        let answer = from_target(&packet)?;
        let id = match (&answer, self.greeted) {
            (FromTarget::Version { version: VERSION, extensions }, Greeted::ByUser) => {
                self.greeted = Greeted::ByBoth;
                return Ok((version(extensions), Vec::new()));
            }
            (FromTarget::Version { .. }, _) => return Err(Malformed("another version of SFTP, or a second beginning")),
            (
                FromTarget::Status { id, .. }
                | FromTarget::Handle { id, .. }
                | FromTarget::Data { id, .. }
                | FromTarget::Other { id },
                _,
            ) => *id,
        };
        let pending = self.pending.remove(&id).ok_or(Malformed("an answer to what nobody asked"))?;
        let notes = self.note(pending, &answer)?;
        Ok((packet, notes))
    }

    fn note(&mut self, pending: Pending, answer: &FromTarget<'_>) -> Result<Vec<Note>, Malformed> {
        let failed = |text: String, code: &u32| vec![Note::later(format!("{text} failed ({})", code_name(*code)))];
        match (pending, answer) {
            (Pending::Open { path, flags }, FromTarget::Handle { handle, .. }) => {
                match self.files.entry(handle.to_vec()) {
                    Entry::Occupied(_) => return Err(Malformed("one handle for two files")),
                    Entry::Vacant(place) => place.insert(File::new(path, flags)),
                };
                Ok(Vec::new())
            }
            (Pending::Open { path, flags }, FromTarget::Status { code, .. }) => {
                Ok(failed(format!("{} {path}", if flags.is_some() { "open" } else { "list" }), code))
            }
            (Pending::Write { handle }, FromTarget::Status { code, .. }) => {
                if let Some(file) = self.files.get_mut(&handle).filter(|_| *code != 0) {
                    file.failed = file.failed.saturating_add(1);
                }
                Ok(Vec::new())
            }
            (Pending::Read { handle, offset }, FromTarget::Data { data, .. }) => {
                if let Some(file) = self.files.get_mut(&handle) {
                    file.read.take(offset, data);
                }
                Ok(Vec::new())
            }
            (Pending::Close { handle }, FromTarget::Status { .. }) => {
                Ok(self.files.remove(&handle).map(|file| file.notes("")).unwrap_or_default())
            }
            (Pending::Change { text }, FromTarget::Status { code, .. }) => {
                Ok(if *code == 0 { Vec::new() } else { failed(text, code) })
            }
            (Pending::Read { .. }, FromTarget::Status { .. })
            | (Pending::Look, FromTarget::Status { .. } | FromTarget::Other { .. }) => Ok(Vec::new()),
            (_, _) => Err(Malformed("an answer of the wrong type")),
        }
    }

    /// What is put on record of files that nobody closed.
    pub fn finish(&mut self) -> Vec<Note> {
        let files: Vec<File> = self.files.drain().map(|(_, file)| file).collect();
        files.iter().flat_map(|file| file.notes(", not closed")).collect()
    }
}

impl File {
    fn notes(&self, end: &str) -> Vec<Note> {
        let note = |what: &'static str, mut detail: String| {
            detail.push_str(end);
            let text = format!("{what} {}: {detail}", self.path);
            let file = FileNote { what, path: self.path.clone(), to: None, detail: Some(detail) };
            Note { file: Some(file), ..Note::first(text) }
        };
        let order = |flow: &Flow| if flow.in_order { "" } else { ", not in order" };
        let read = self.read.words().map(|words| note("get", format!("{words}{}", order(&self.read))));
        let written = self.written.words().map(|words| {
            let flags = self.flags.unwrap_or_default();
            let place = match (flags & APPEND != 0, flags & AFRESH != 0) {
                (true, _) => ", appended",
                (false, true) => order(&self.written),
                (false, false) if self.written.in_order => ", over what was there",
                (false, false) => ", over what was there, not in order",
            };
            let failed =
                if self.failed == 0 { String::new() } else { format!(", {} of the writes failed", self.failed) };
            note("put", format!("{words}{place}{failed}"))
        });
        read.into_iter().chain(written).collect()
    }
}

impl Note {
    fn first(text: String) -> Self {
        Self { text: format!("sftp: {text}"), first: true, file: None }
    }

    fn later(text: String) -> Self {
        Self { text: format!("sftp: {text}"), first: false, file: None }
    }
}

/// Why a request is not passed on.
struct No {
    code: u32,
    /// For the user.
    told: &'static str,
    /// For the recording.
    note: Option<String>,
}

impl No {
    fn write(note: String) -> Self {
        Self { code: DENIED, told: "doorward: you may not write or change files here", note: Some(note) }
    }

    fn read(note: String) -> Self {
        Self { code: DENIED, told: "doorward: you may not read files here", note: Some(note) }
    }
}

/// What a status says (draft section 7).
fn code_name(code: u32) -> String {
    match code {
        2 => String::from("no such file"),
        3 => String::from("permission denied"),
        4 => String::from("failure"),
        8 => String::from("not supported"),
        code => format!("status {code}"),
    }
}
