//! What a bundle is made from: a session's leaves, the proofs of each, and its files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::files::{self, FileError};
use super::super::history::History;
use super::super::leaf::{Event, Leaf};
use super::super::report::{Finding, LogReport, Report, SessionReport, Verdict};
use super::super::session::place_of;
use super::super::{Settings, judged};
use super::{FILE_BYTES_MAX, KEY_FILE};
use crate::durable;
use crate::log::LogError;
use crate::model::SessionId;
use crate::store::{Opening, StoreRoot, hex, record_name};
use crate::tlog::{Checkpoint, EntryProof, Note, VerifyingKey};

/// So many checkpoints are looked at, the newest first, for the one that most witnesses have cosigned.
const NOTES_MAX: usize = 1000;

/// A session's leaves with their proofs: all that a bundle needs of a log.
#[derive(Debug)]
pub struct Plan {
    session: SessionId,
    key: VerifyingKey,
    note: Note,
    leaves: Vec<(u64, Vec<u8>, EntryProof)>,
    /// The hashes of the envelopes that were made anew.
    rewrapped: BTreeSet<String>,
    /// The hash of the policy set by which it was let in.
    policy: String,
}

/// Why there is no bundle.
#[derive(Debug)]
pub enum BundleError {
    /// The log cannot be believed.
    Log(Box<LogReport>),
    /// The log cannot be read.
    Read(LogError),
    /// The recording is not as the log has it, or no more.
    Refused {
        /// Which.
        session: SessionId,
        /// What is said of it.
        verdict: Verdict,
        /// What is wrong with it first, if anything is.
        why: Option<Finding>,
    },
    /// The log does not say yet, under a signature, how the session began and ended.
    NotEnded(SessionId),
    /// A file of the recording cannot be read.
    Recording {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The bundle cannot be written.
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something in its place.
    NotEmpty(PathBuf),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(_) => f.write_str("the log does not verify, so it proves nothing"),
            Self::Read(_) => f.write_str("the log cannot be read"),
            Self::Refused { session, verdict, why } => {
                write!(f, "there is no evidence of session `{session}`: it is {verdict}")?;
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::NotEnded(session) => {
                write!(f, "no checkpoint covers the beginning and the end of session `{session}`")
            }
            Self::Recording { path, why } => write!(f, "cannot copy `{}`: {why}", path.display()),
            Self::Write { path, .. } => write!(f, "cannot write `{}`", path.display()),
            Self::NotEmpty(path) => write!(f, "there is something in `{}`", path.display()),
        }
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Write { source, .. } => Some(source),
            Self::Log(_) | Self::Refused { .. } | Self::NotEnded(_) | Self::Recording { .. } | Self::NotEmpty(_) => {
                None
            }
        }
    }
}

/// Judges a recording, and looks up what a bundle of it needs: what is not as the log has it is no evidence of what was
/// recorded.
///
/// Of the settings, `key` and `now` count.
///
/// # Errors
/// `Log`, `Read`, `Refused`, `NotEnded`.
pub fn plan(store: &Path, session: &SessionId, settings: &Settings) -> Result<Plan, BundleError> {
    let (session_only, key) = (Some(session.clone()), settings.key.clone());
    let only = Settings { session: session_only, key, now: settings.now, quick: true, ..Settings::default() };
    let (Report { log, sessions, .. }, history) = judged(store, &only, &mut |_| {});
    let history = history.filter(|_| log.findings.is_empty() && log.size > 0);
    let (Some(history), Some(Ok(key))) = (history, log.key.as_deref().map(VerifyingKey::parse)) else {
        return Err(BundleError::Log(Box::new(log)));
    };
    refuse(&sessions)?;
    let not_ended = || BundleError::NotEnded(session.clone());
    let told = told(&history, session).map_err(BundleError::Read)?;
    let Told { leaves, begun, ended, unclosed, policy, rewrapped } = told;
    let closed = StoreRoot::at(store).session_directory(session).map(|directory| directory.join("closed.json"));
    if unclosed && !closed.is_some_and(|closed| closed.exists()) {
        // It comes once there is room for it, or with the next start; without it the bundle would look cut.
        return Err(not_ended());
    }
    let last = leaves.keys().next_back().copied().filter(|_| begun && ended).ok_or_else(not_ended)?;
    let note = best_note(&history, &key, last).map_err(BundleError::Read)?.ok_or_else(not_ended)?;
    let proven = leaves.into_iter().map(|(index, entry)| Ok((index, entry, history.reader.proof(index, &note)?)));
    let leaves = proven.collect::<Result<_, _>>().map_err(BundleError::Read)?;
    Ok(Plan { session: session.clone(), key, note, leaves, rewrapped, policy })
}

/// What a log says of a session.
#[derive(Default)]
struct Told {
    /// The leaves that a bundle has, by number.
    leaves: BTreeMap<u64, Vec<u8>>,
    begun: bool,
    ended: bool,
    /// Its `closed.json` was not there when it ended.
    unclosed: bool,
    policy: String,
    rewrapped: BTreeSet<String>,
}

fn told(history: &History, session: &SessionId) -> Result<Told, LogError> {
    let mut told = Told::default();
    let (mut seen, mut sealed) = (BTreeMap::new(), BTreeSet::new());
    for entry in history.reader.entries(0..history.size, history.size) {
        let (index, entry) = entry?;
        let Ok(leaf) = Leaf::parse(&entry) else { continue };
        let wanted = match &leaf.event {
            Event::Start { session: of, policy, .. } => {
                if of == session {
                    told.begun = true;
                    told.policy = hex(policy);
                }
                of
            }
            Event::End { session: of, .. } | Event::Recovered { session: of, .. } => {
                told.ended |= of == session;
                of
            }
            Event::Envelope { session: of, envelope, .. } => {
                if of == session {
                    told.rewrapped.insert(hex(envelope));
                }
                of
            }
            Event::Seal { session: of, channel, segment, .. } => {
                if of == session {
                    sealed.insert((*channel, *segment));
                }
                of
            }
            Event::Suspect { session: of, .. } => of,
            Event::Heads(heads) => {
                let own = heads.iter().filter(|(of, ..)| of == session);
                seen.extend(own.map(|(_, channel, segment, ..)| ((*channel, *segment), index)));
                continue;
            }
            Event::Unclosed { session: of } => {
                told.unclosed |= of == session;
                continue;
            }
            Event::Erase { .. }
            | Event::Expire { .. }
            | Event::ClockStep
            | Event::Policy(_)
            | Event::NodeStop
            | Event::Other => continue,
        };
        if wanted == session {
            told.leaves.insert(index, entry);
        }
    }
    // Heads speak of other people's sessions too, by their ids: what is sealed needs none, and else the last is enough.
    for (_, index) in seen.into_iter().filter(|(segment, _)| !sealed.contains(segment)) {
        told.leaves.insert(index, history.reader.entry(index, history.size)?);
    }
    Ok(told)
}

/// The checkpoint that most witnesses have cosigned, of those the newest, among those that cover leaf `last`: the newest
/// of all was published a moment ago, and no witness has had the time. Who checks the bundle has the witnesses' keys.
fn best_note(history: &History, key: &VerifyingKey, last: u64) -> Result<Option<Note>, LogError> {
    let mut best: Option<(usize, u64, Note)> = None;
    let mut consider = |found: Option<(Note, Checkpoint)>| {
        let Some((note, checkpoint)) = found.filter(|(_, checkpoint)| checkpoint.size > last) else { return Ok(()) };
        let signatures = note.signatures().len();
        let better = best.as_ref().is_none_or(|(most, size, _)| (signatures, checkpoint.size) > (*most, *size));
        if better && history.reader.root_within(checkpoint.size, history.size.max(checkpoint.size))? == checkpoint.root
        {
            best = Some((signatures, checkpoint.size, note));
        }
        Ok(())
    };
    consider(history.reader.checkpoint(key)?)?;
    let mut sizes = history.reader.sizes()?;
    sizes.retain(|size| *size > last && *size <= history.size);
    sizes.sort_unstable_by_key(|size| Reverse(*size));
    for size in sizes.into_iter().take(NOTES_MAX) {
        consider(history.reader.checkpoint_at(size, key)?)?;
    }
    Ok(best.map(|(_, _, note)| note))
}

/// Nothing is handed out that is not as the log has it, or of which the log says that it is no more.
fn refuse(sessions: &[SessionReport]) -> Result<(), BundleError> {
    for found in sessions {
        match found.verdict_for_viewers() {
            Verdict::Ok | Verdict::OkUnanchored | Verdict::Interrupted => {}
            verdict @ (Verdict::Expired | Verdict::Shredded | Verdict::Missing | Verdict::Tampered) => {
                let why = found.findings.iter().next().cloned();
                return Err(BundleError::Refused { session: found.session.clone(), verdict, why });
            }
        }
    }
    Ok(())
}

/// A file of a bundle.
#[derive(Debug)]
pub struct Part {
    /// Its name below the bundle's directory, with `/` between names.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a file of a bundle holds.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What this file of the store holds.
    File(PathBuf),
}

impl Plan {
    /// All files of a bundle but casts and coverage, which take an identity: what may be handed out sealed.
    ///
    /// # Errors
    /// `NotEnded`, `Recording`.
    pub fn parts(&self, store: &Path) -> Result<Vec<Part>, BundleError> {
        let root = StoreRoot::at(store);
        let not_ended = || BundleError::NotEnded(self.session.clone());
        let directory = root.session_directory(&self.session).ok_or_else(not_ended)?;
        let mut files = recorded_files(&directory)?;
        files.push(root.envelope(&self.session));
        // How the envelope came to be, but not the envelopes before it.
        let rewraps = root.rewraps_of(&self.session);
        files.extend(self.rewrapped.iter().map(|envelope| rewraps.join(record_name(envelope))));
        files.push(root.policy(&self.policy));
        let copied = files.into_iter().map(|path| Part { name: place_of(store, &path), content: Content::File(path) });
        let opened = directory.join("opened.json");
        let opening = files::read(&opened, FILE_BYTES_MAX).map_err(|error| unread(&opened, &error))?;
        let opening: Opening = serde_json::from_slice(&opening)
            .map_err(|error| BundleError::Recording { path: opened, why: error.to_string() })?;
        let text = |name: &str, bytes: Vec<u8>| Part { name: name.to_owned(), content: Content::Bytes(bytes) };
        let mut parts = vec![
            text("README.txt", readme(&opening).into_bytes()),
            text(KEY_FILE, format!("{}\n", self.key).into_bytes()),
            text("checkpoint", self.note.to_string().into_bytes()),
        ];
        for (index, entry, proof) in &self.leaves {
            parts.push(text(&format!("proofs/{index}.json"), entry.clone()));
            parts.push(text(&format!("proofs/{index}.tlog-proof"), proof.to_string().into_bytes()));
        }
        parts.extend(copied);
        Ok(parts)
    }

    /// Writes the parts into `to`, which is made or empty. What is copied is verified there, not here.
    ///
    /// # Errors
    /// `NotEmpty`, `NotEnded`, `Recording`, `Write`.
    pub fn write(&self, store: &Path, to: &Path) -> Result<(), BundleError> {
        let written = |path: &Path| {
            let path = path.to_owned();
            move |source| BundleError::Write { path, source }
        };
        durable::create_directories(to).map_err(written(to))?;
        if std::fs::read_dir(to).map_err(written(to))?.next().is_some() {
            return Err(BundleError::NotEmpty(to.to_owned()));
        }
        for Part { name, content } in self.parts(store)? {
            let path = to.join(name);
            if let Some(parent) = path.parent() {
                durable::create_directories(parent).map_err(written(parent))?;
            }
            match content {
                Content::Bytes(bytes) => durable::create_new(&path, &bytes, 0o600).map_err(written(&path))?,
                Content::File(from) => copy(&from, &path)?,
            }
        }
        Ok(())
    }
}

fn unread(path: &Path, error: &FileError) -> BundleError {
    BundleError::Recording { path: path.to_owned(), why: error.to_string() }
}

/// The files of a session's directory, which has files and directories of files.
fn recorded_files(session: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let mut found = Vec::new();
    let mut folders = vec![(session.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for (name, kind) in files::list(&folder).map_err(|error| unread(&folder, &error))? {
            let path = folder.join(&name);
            if kind.is_dir() && depth == 0 {
                folders.push((path, 1));
            } else if !name.to_string_lossy().ends_with(".new") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<(), BundleError> {
    let failed = |source| BundleError::Write { path: to.to_owned(), source };
    let mut source = open_part(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    io::copy(&mut source, &mut target).map_err(failed)?;
    target.sync_all().map_err(failed)
}

/// Opens a file of the store that is a part of a bundle.
///
/// # Errors
/// `Recording`.
pub fn open_part(path: &Path) -> Result<File, BundleError> {
    files::open(path).map_err(|error| unread(path, &error))
}

/// The text that explains a bundle.
pub(super) fn readme(opening: &Opening) -> String {
    format!(
        "Evidence of one recorded session\n\
         ================================\n\n\
         Session {session}: {user} as {destination}, begun {started}.\n\n\
         This directory holds the recording as the bastion sealed it (rec/), the key of the recording, sealed for its\n\
         auditors (env/), the rules by which the session was let in (policies/), and the proofs that the bastion's\n\
         public log had all of it at the time (proofs/, checkpoint).\n\
         The .cast files, where there are any, are the recording opened, to be played with asciinema or read as text:\n\
         one for each channel, 0 being the bastion's own notes; then coverage.json says what the recording holds and\n\
         what it does not.\n\n\
         To check it, on any machine:\n\n\
         \x20   doorward verify bundle DIRECTORY --vkey 'KEY' --identity FILE\n\n\
         KEY is the public key of the bastion's log. Get it from the bastion's operator or your own files, not from\n\
         here: the file `vkey` is a hint, and whoever could forge this directory could put another key into it. The\n\
         identity is an age key that the session was sealed for; without one all is checked but that the .cast files\n\
         are what the sealed segments hold.\n\n\
         What it proves: that what is in rec/ is, byte by byte, what the bastion put on record in its log. What it\n\
         does not: that the bastion was honest while it recorded, nor that the log shows everybody the same history;\n\
         cosignatures of witnesses in `checkpoint` show the latter. Nor that the log has no other leaf about this\n\
         session: whoever made this directory chose which are here, and only the whole log shows that there are no more.\n\
         A session that was interrupted ends where the next start of the bastion found its end. The log vouches for it as\n\
         far as recovered.json says that it had seen; what was cut off behind that in between, nothing shows.\n",
        session = opening.session,
        user = opening.user,
        destination = opening.destination,
        started = String::from(opening.started),
    )
}
