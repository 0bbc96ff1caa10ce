//! Judges each SFTP packet, and says what is put on record of it. Pure: packets in, what to do out.
//!
//! Where rules name paths, a request that names one is judged in two steps: `asked` says that its paths must be resolved,
//! `resolved` judges where they lead, and sends the request there.
//!
//! What it does **not** guard against: what a file that may be written does once it is on the target.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use super::packet::{
    AFRESH, APPEND, Change, DENIED, FAILED, FromTarget, FromUser, Malformed, NO_SUCH_FILE, OwnAnswer, OwnAsked,
    Request, Set, UNSUPPORTED, VERSION, WRITING, changes, from_target, from_user, init, own, own_answer, purpose,
    reads, shown, status, version, with_paths, writes,
};
use super::paths::{Oversight, Place, Standing, Way, judge, judge_look, judge_open, judge_set, named};
use crate::inspect::{FileNote, Note, Refused};
use crate::model::FilePath;

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
    /// Its paths must be resolved first.
    Resolve(Errand),
}

/// A request whose paths must be resolved.
#[derive(Debug, PartialEq, Eq)]
pub struct Errand {
    packet: Bytes,
    /// Each path, and how it is resolved.
    pub paths: Vec<(Vec<u8>, Way)>,
}

/// What came of resolving.
#[derive(Debug)]
pub enum Resolution {
    /// Each path leads here.
    At(Vec<Place>),
    /// A path leads nowhere: the nearest place on the way to it that is there, if any, and the target's status.
    Nowhere { nearest: Option<FilePath>, code: u32 },
    /// Its turn did not come in time.
    Busy,
    /// It cannot be said where a path leads.
    Unclear(&'static str),
}

/// What to do with a target's packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// It goes to the user, once this is on record.
    Forward(Bytes, Vec<Note>),
    /// It answers the bastion.
    Own,
}

/// Requests that may wait for their answers; OpenSSH's clients have 64.
pub const PENDING_MAX: usize = 2048;
/// Handles that may be open.
const FILES_MAX: usize = 4096;

/// One SFTP conversation.
pub struct Gate {
    rights: Rights,
    /// Where rules name paths.
    limit: Option<Arc<dyn Oversight>>,
    /// What the target answered to the bastion's last request.
    own: Option<OwnAnswer>,
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
        at: Option<At>,
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
    /// The bastion asked.
    Own,
}

/// The place of an open file, where rules name paths.
struct At {
    path: FilePath,
    standing: Standing,
    /// That it may be used no longer is on record.
    told: bool,
}

impl At {
    /// Judges it again if anything has changed.
    fn stand(&mut self, flags: Option<u32>, oversight: &dyn Oversight) -> Result<(), No> {
        if self.standing.holds(oversight) {
            return Ok(());
        }
        match judge_open(flags, &self.path, oversight) {
            Some(standing) => {
                self.standing = standing;
                self.told = false;
                Ok(())
            }
            None => {
                let first = !std::mem::replace(&mut self.told, true);
                Err(No::path(first.then(|| format!("to go on with {}", shown(self.path.as_bytes())))))
            }
        }
    }
}

/// An open file or directory.
struct File {
    path: String,
    at: Option<At>,
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
    fn new(path: String, flags: Option<u32>, at: Option<At>) -> Self {
        Self { path, at, flags, read: Flow::new(), written: Flow::new(), failed: 0, closing: false }
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
    /// Nothing has been said yet. `limit` says what may be done where, if rules name paths.
    pub fn new(rights: Rights, limit: Option<Arc<dyn Oversight>>) -> Self {
        Self { rights, limit, own: None, pending: HashMap::new(), files: HashMap::new(), greeted: Greeted::No }
    }

    /// From now on each path is judged; once it is so it stays so.
    pub fn limit(&mut self, oversight: &Arc<dyn Oversight>) {
        self.limit.get_or_insert_with(|| Arc::clone(oversight));
    }

    /// Whether the user may write to this file now.
    pub fn lets_write(&self, path: &FilePath) -> bool {
        let judged = |oversight: &Arc<dyn Oversight>| judge_open(Some(WRITING), path, oversight.as_ref()).is_some();
        self.rights.write && self.limit.as_ref().is_none_or(judged)
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
        let paths = if self.limit.is_some() { named(&request) } else { Vec::new() };
        if !paths.is_empty() {
            let paths = paths.into_iter().map(|(path, way)| (path.to_vec(), way)).collect();
            return Ok(Asked::Resolve(Errand { packet, paths }));
        }
        Ok(match self.judge(&request, &[]) {
            Ok((pending, note)) => {
                self.pending.insert(id, pending);
                Asked::Forward(packet, note)
            }
            Err(no) => no.answer(id),
        })
    }

    /// Judges a request by where its paths lead; it goes to the target with those.
    ///
    /// # Errors
    /// `Malformed` ends the channel.
    pub fn resolved(&mut self, errand: Errand, resolution: Resolution) -> Result<Asked, Malformed> {
        let Errand { packet, paths } = errand;
        let FromUser::Request { id, request } = from_user(&packet)? else { return Err(Malformed("no request")) };
        let text = || {
            format!(
                "{}{}",
                word(&request),
                paths.iter().map(|(path, _)| format!(" {}", shown(path))).collect::<String>()
            )
        };
        let places = match resolution {
            Resolution::At(places) if places.len() == paths.len() => places,
            Resolution::At(_) => return Ok(No::path(Some(text())).answer(id)),
            // Nothing was refused: what was asked for was not even looked at.
            Resolution::Busy => {
                let note = Note::later(format!("not done, others were at this target for too long: {}", text()));
                return Ok(Asked::Answer(
                    status(id, FAILED, "doorward: others are at work there, try again"),
                    Some(note),
                ));
            }
            Resolution::Unclear(why) => return Ok(No::path(Some(format!("{}: {why}", text()))).answer(id)),
            Resolution::Nowhere { nearest, code } => {
                let Some(oversight) = &self.limit else { return Ok(No::path(Some(text())).answer(id)) };
                if !nearest.is_some_and(|nearest| judge_look(&nearest, oversight.as_ref())) {
                    return Ok(No::path(Some(text())).answer(id));
                }
                let code = if matches!(code, NO_SUCH_FILE | DENIED) { code } else { FAILED };
                let note = Note::later(format!("{} failed ({})", text(), code_name(code)));
                return Ok(Asked::Answer(status(id, code, "the target: not there"), Some(note)));
            }
        };
        Ok(match self.judge(&request, &places) {
            Ok((pending, note)) => {
                let lead: Vec<&[u8]> = places.iter().map(|place| place.path.as_bytes()).collect();
                // OpenSSH has the target of a link first.
                let lead = if is_link(&request) { lead.into_iter().rev().collect() } else { lead };
                let forwarded = with_paths(&packet, &lead)?;
                self.pending.insert(id, pending);
                Asked::Forward(forwarded, note)
            }
            Err(no) => no.answer(id),
        })
    }

    /// A request of the bastion's own, with a number that the user does not hold now.
    pub fn own(&mut self, asked: OwnAsked<'_>) -> Bytes {
        let id = (0..=u32::MAX).rev().find(|id| !self.pending.contains_key(id)).unwrap_or_default();
        self.pending.insert(id, Pending::Own);
        self.own = None;
        own(id, asked)
    }

    /// What the target answered to that, once it has.
    pub fn own_answer(&mut self) -> Option<OwnAnswer> {
        self.own.take()
    }

    /// Judges a request; where rules name paths, by the places to which its paths lead.
    fn judge(&mut self, request: &Request<'_>, places: &[Place]) -> Result<(Pending, Option<Note>), No> {
        let place = |index: usize, path: &[u8]| Named::of(path, places.get(index));
        match *request {
            Request::Open { path, flags, ref set } => {
                let path = place(0, path);
                let purpose = match set.text.as_str() {
                    "" => purpose(flags),
                    set => format!("{}, {set}", purpose(flags)),
                };
                let text = format!("open {path} {purpose}");
                if changes(flags) && !self.rights.write {
                    return Err(No::write(text));
                }
                if reads(flags) && !self.rights.read {
                    return Err(No::read(text));
                }
                let at = self.place(request, places, &text)?;
                self.room()?;
                // It may make or cut a file by itself.
                let detail = Some(path.detail(purpose));
                let file = FileNote { what: "open", path: path.path.clone(), to: None, detail };
                let note = Note { file: changes(flags).then_some(file), ..Note::first(text) };
                Ok((Pending::Open { path: path.path, flags: Some(flags), at }, Some(note)))
            }
            Request::OpenDir { path } => {
                let path = place(0, path);
                let text = format!("list {path}");
                let at = self.place(request, places, &text)?;
                self.room()?;
                Ok((Pending::Open { path: path.path, flags: None, at }, Some(Note::first(text))))
            }
            Request::Look { what, path } => {
                let text = format!("{} {}", what.word(), place(0, path));
                self.place(request, places, &text)?;
                Ok((Pending::Look, Some(Note::later(text))))
            }
            Request::LookAt { handle } => self.file(handle).map(|_| (Pending::Look, None)),
            Request::Limits => Ok((Pending::Look, None)),
            Request::Close { handle } => {
                // What is asked of the handle from now on may reach another file, to which the target gives it again.
                self.open(handle)?.closing = true;
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
            Request::Change { what, path, to, ref set } => {
                let (path, to) = (place(0, path), to.map(|to| place(1, to)));
                let change = Changing { what: what.word(), path, to, set };
                self.may_write(&change)?;
                self.place(request, places, &change.text())?;
                Ok(change.pass())
            }
            Request::ChangeAt { handle, ref set } => {
                let file = self.file(handle)?;
                let (path, at) = (Named::known(&file.path), file.at.as_ref().map(|at| at.path.clone()));
                let change = Changing { what: Change::SetStat.word(), path, to: None, set };
                self.may_write(&change)?;
                if let (Some(oversight), Some(at)) = (&self.limit, at)
                    && judge_set(set.resizes, &at, oversight.as_ref()).is_none()
                {
                    return Err(No::path(Some(change.text())));
                }
                Ok(change.pass())
            }
            Request::Copy { from, to } => {
                let from = Named::known(&self.file_for(from, reads)?.path);
                let to = Named::known(&self.file_for(to, writes)?.path);
                let change = Changing { what: "copy", path: from, to: Some(to), set: &Set::default() };
                self.may_write(&change)?;
                Ok(change.pass())
            }
            Request::Unknown { ref name } => Err(No {
                code: UNSUPPORTED,
                told: "doorward: the bastion does not carry this",
                note: Some(name.clone()),
            }),
        }
    }

    /// Where rules name paths, judges where a request's paths lead.
    fn place(&self, request: &Request<'_>, places: &[Place], text: &str) -> Result<Option<At>, No> {
        let Some(oversight) = &self.limit else { return Ok(None) };
        // Of the home alone nothing is judged but that it may be asked for.
        if places.is_empty() && named(request).is_empty() {
            return Ok(None);
        }
        match (judge(request, places, oversight.as_ref()), places.first()) {
            (Some(standing), Some(place)) => Ok(Some(At { path: place.path.clone(), standing, told: false })),
            (None, _) | (_, None) => Err(No::path(Some(text.to_owned()))),
        }
    }

    fn may_write(&self, change: &Changing<'_>) -> Result<(), No> {
        if self.rights.write { Ok(()) } else { Err(No::write(change.text())) }
    }

    fn room(&self) -> Result<(), No> {
        let opening = self.pending.values().filter(|pending| matches!(pending, Pending::Open { .. })).count();
        if self.files.len().saturating_add(opening) < FILES_MAX {
            return Ok(());
        }
        Err(No { code: FAILED, told: "doorward: too many open files", note: None })
    }

    fn open(&mut self, handle: &[u8]) -> Result<&mut File, No> {
        let file = self.files.get_mut(handle).filter(|file| !file.closing);
        file.ok_or(No { code: FAILED, told: "doorward: no such handle", note: None })
    }

    /// The same, if it may still be used.
    fn file(&mut self, handle: &[u8]) -> Result<&mut File, No> {
        let limit = self.limit.clone();
        let file = self.open(handle)?;
        if let (Some(oversight), Some(at)) = (limit, &mut file.at) {
            at.stand(file.flags, oversight.as_ref())?;
        }
        Ok(file)
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
    pub fn answered(&mut self, packet: Bytes) -> Result<Answered, Malformed> {
        let answer = from_target(&packet)?;
        let id = match (&answer, self.greeted) {
            (FromTarget::Version { version: VERSION, extensions }, Greeted::ByUser) => {
                self.greeted = Greeted::ByBoth;
                return Ok(Answered::Forward(version(extensions), Vec::new()));
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
        if matches!(pending, Pending::Own) {
            self.own = Some(own_answer(&packet)?);
            return Ok(Answered::Own);
        }
        let notes = self.note(pending, &answer)?;
        Ok(Answered::Forward(packet, notes))
    }

    fn note(&mut self, pending: Pending, answer: &FromTarget<'_>) -> Result<Vec<Note>, Malformed> {
        let failed = |text: String, code: &u32| vec![Note::later(format!("{text} failed ({})", code_name(*code)))];
        match (pending, answer) {
            (Pending::Open { path, flags, at }, FromTarget::Handle { handle, .. }) => {
                match self.files.entry(handle.to_vec()) {
                    Entry::Occupied(_) => return Err(Malformed("one handle for two files")),
                    Entry::Vacant(place) => place.insert(File::new(path, flags, at)),
                };
                Ok(Vec::new())
            }
            (Pending::Open { path, flags, .. }, FromTarget::Status { code, .. }) => {
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
        Self { text: format!("sftp: {text}"), first: true, file: None, refused: None }
    }

    fn later(text: String) -> Self {
        Self { text: format!("sftp: {text}"), first: false, file: None, refused: None }
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

impl No {
    fn path(note: Option<String>) -> Self {
        Self { code: DENIED, told: "doorward: no rule lets you do this there", note }
    }

    fn answer(self, id: u32) -> Asked {
        let Self { code, told, note } = self;
        let plain = told.strip_prefix("doorward: ").unwrap_or(told);
        let why = if code == DENIED { format!("permission denied: {plain}") } else { plain.to_owned() };
        let note = note.map(|text| Note {
            text: format!("sftp: refused: {text}"),
            first: false,
            file: None,
            refused: Some(Refused { what: text, told: why.clone() }),
        });
        Asked::Answer(status(id, code, told), note)
    }
}

/// A path as it is put on record.
struct Named {
    /// As the user named it; where rules name paths, the one that it leads to.
    path: String,
    /// How the user named it, if that is another.
    by: Option<String>,
}

impl Named {
    fn of(path: &[u8], place: Option<&Place>) -> Self {
        match place {
            None => Self { path: shown(path), by: None },
            Some(place) => {
                let leads = place.path.as_bytes();
                Self { path: shown(leads), by: (leads != path).then(|| shown(path)) }
            }
        }
    }

    fn known(path: &str) -> Self {
        Self { path: path.to_owned(), by: None }
    }

    /// With how it was named, if that is another.
    fn detail(&self, detail: String) -> String {
        match &self.by {
            None => detail,
            Some(by) if detail.is_empty() => format!("named {by}"),
            Some(by) => format!("{detail}; named {by}"),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            None => f.write_str(&self.path),
            Some(by) => write!(f, "{} (named {by})", self.path),
        }
    }
}

/// A change, as it is put on record.
struct Changing<'c> {
    what: &'static str,
    path: Named,
    to: Option<Named>,
    set: &'c Set,
}

impl Changing<'_> {
    fn text(&self) -> String {
        let to = self.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let set = if self.set.text.is_empty() { String::new() } else { format!(" {}", self.set.text) };
        format!("{} {}{to}{set}", self.what, self.path)
    }

    fn pass(self) -> (Pending, Option<Note>) {
        let text = self.text();
        let detail = match &self.to {
            None => self.path.detail(self.set.text.clone()),
            Some(to) => {
                let ends = [("path", &self.path), ("to", to)];
                let named = ends.iter().filter_map(|(end, at)| at.by.as_ref().map(|by| format!("{end} named {by}")));
                named.collect::<Vec<_>>().join("; ")
            }
        };
        let (path, to) = (self.path.path, self.to.map(|to| to.path));
        let file = FileNote { what: self.what, path, to, detail: (!detail.is_empty()).then_some(detail) };
        let note = Note { file: Some(file), ..Note::first(text.clone()) };
        (Pending::Change { text }, Some(note))
    }
}

/// What a request that names paths is called on record.
fn word(request: &Request<'_>) -> &'static str {
    match request {
        Request::Open { .. } => "open",
        Request::OpenDir { .. } => "list",
        Request::Look { what, .. } => what.word(),
        Request::Change { what, .. } => what.word(),
        Request::Close { .. }
        | Request::Read { .. }
        | Request::Write { .. }
        | Request::LookAt { .. }
        | Request::ChangeAt { .. }
        | Request::Copy { .. }
        | Request::Limits
        | Request::Unknown { .. } => "request",
    }
}

fn is_link(request: &Request<'_>) -> bool {
    matches!(request, Request::Change { what: Change::SymLink, .. })
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
