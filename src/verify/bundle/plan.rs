//! What a bundle is made from: a session's leaves, the proofs of each, and its files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::Settings;
use super::super::files::{self, FileError};
use super::super::history;
use super::super::leaf::{Event, Leaf};
use super::super::report::LogReport;
use super::super::session::place_of;
use super::{FILE_BYTES_MAX, KEY_FILE};
use crate::durable;
use crate::log::LogError;
use crate::model::SessionId;
use crate::store::{Opening, StoreRoot, hex, record_name};
use crate::tlog::{EntryProof, Note, VerifyingKey};

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
            Self::Log(_) | Self::NotEnded(_) | Self::Recording { .. } | Self::NotEmpty(_) => None,
        }
    }
}

/// Looks up what a bundle of `session` needs.
///
/// # Errors
/// `Log`, `Read`, `NotEnded`.
pub fn plan(store: &Path, session: &SessionId, settings: &Settings) -> Result<Plan, BundleError> {
    let (history, report, _) = history::inquire(store, settings, &mut |_| {});
    let history = history.filter(|_| report.findings.is_empty());
    let (Some(history), Some(Ok(key))) = (history, report.key.as_deref().map(VerifyingKey::parse)) else {
        return Err(BundleError::Log(Box::new(report)));
    };
    let not_ended = || BundleError::NotEnded(session.clone());
    let (note, checkpoint) = history.reader.checkpoint(&key).map_err(BundleError::Read)?.ok_or_else(not_ended)?;
    let (mut leaves, mut rewrapped) = (Vec::new(), BTreeSet::new());
    let (mut begun, mut ended, mut policy) = (false, false, String::new());
    for entry in history.reader.entries(0..checkpoint.size, checkpoint.size) {
        let (index, entry) = entry.map_err(BundleError::Read)?;
        let Ok(leaf) = Leaf::parse(&entry) else { continue };
        let wanted = match &leaf.event {
            Event::Start { session: of, policy: by, .. } => {
                if of == session {
                    begun = true;
                    policy = hex(by);
                }
                of
            }
            Event::End { session: of, .. } | Event::Recovered { session: of, .. } => {
                ended |= of == session;
                of
            }
            Event::Envelope { session: of, envelope, .. } => {
                if of == session {
                    rewrapped.insert(hex(envelope));
                }
                of
            }
            Event::Seal { session: of, .. } => of,
            // Heads speak of other people's sessions too; what is sealed needs none.
            Event::Heads(_)
            | Event::Erase { .. }
            | Event::Expire { .. }
            | Event::ClockStep
            | Event::Policy(_)
            | Event::NodeStop
            | Event::Other => continue,
        };
        if wanted == session {
            let proof = history.reader.proof(index, &note).map_err(BundleError::Read)?;
            leaves.push((index, entry, proof));
        }
    }
    if begun && ended {
        Ok(Plan { session: session.clone(), key, note, leaves, rewrapped, policy })
    } else {
        Err(not_ended())
    }
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
         cosignatures of witnesses in `checkpoint` show the latter.\n",
        session = opening.session,
        user = opening.user,
        destination = opening.destination,
        started = String::from(opening.started),
    )
}
