//! Sealing a session's secret for other auditors: by one who can open the envelope, in their own process, and put in
//! its place by the bastion, which cannot.
//!
//! What the bastion checks without a key is that the new file has the form of an envelope for as many recipients as are
//! named, and that one who could open the present one has signed the change (`seal::proof`). Whether the new envelope
//! opens, and for whom, it cannot know, so it keeps what was replaced until somebody shows that they opened it.
//!
//! ```text
//! 1  rewrapped/<session>/<new>.age, then next.json     both durable: from here on the change is finished after a crash
//! 2  the leaf, under a checkpoint                      (the caller)
//! 3  <old>.age is kept; <new>.age is renamed to env/<session>.age; next.json is renamed to <new>.json
//! ```

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::catalog::{channels, read_json};
use super::{Opening, StoreError, StoreRoot, json, sha256_hex};
use crate::auditor::{Identity, Recipient};
use crate::durable;
use crate::model::SessionId;
use crate::seal::{
    Dek, ENVELOPE_BYTES_MAX, EnvelopeError, HEADER_BYTES, Opener, OpenerKey, OpenerProof, Recipients, SealError,
    SegmentHeader, Statement, check_form,
};

/// A session's envelope is made anew at most so often.
pub const REWRAPS_MAX: usize = 100;
/// The version of records.
const FORMAT: u32 = 1;
/// A change that is under way.
const NEXT: &str = "next.json";

/// A new envelope for a session, as an auditor's process hands it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrap {
    /// The session.
    pub session: SessionId,
    /// SHA-256 of the envelope that was opened, in hex.
    pub before: String,
    /// The new one, in base64.
    pub envelope: String,
    /// For whom it is.
    pub recipients: Vec<Recipient>,
    /// By one who opened the one before.
    pub proof: OpenerProof,
}

/// The content of `<hash>.json`: how the envelope with that hash came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrapped {
    /// The record's version.
    pub format: u32,
    /// The session.
    pub session: SessionId,
    /// SHA-256 of the envelope in whose place it came, in hex.
    pub before: String,
    /// Its own, in hex.
    pub envelope: String,
    /// For whom it is, by who made it.
    pub recipients: Vec<Recipient>,
    /// By one who could open the one before.
    pub proof: OpenerProof,
}

/// The name of the record of an envelope with this hash.
pub fn record_name(envelope: &str) -> String {
    format!("{envelope}.json")
}

impl Rewrap {
    /// Opens a session's envelope with one of `identities`, checks that what it holds opens the recording, and seals
    /// it for `to`. Changes nothing.
    ///
    /// # Errors
    /// Why there is no new envelope.
    pub fn make(
        root: &StoreRoot,
        session: &SessionId,
        identities: &[Identity],
        to: &Recipients,
    ) -> Result<Self, RewrapError> {
        let (dek, before) = opened(root, session, identities)?;
        let path = root.envelope(session);
        let enclosed = |source| RewrapError::Store(StoreError::Envelope { path: path.clone(), source });
        let envelope = to.wrap(&dek).map_err(enclosed)?;
        check_form(&envelope, to.iter().count()).map_err(RewrapError::Form)?;
        if identities.iter().any(|identity| to.iter().any(|one| *one == identity.recipient())) {
            let again = Dek::from_envelope(&envelope, identities).map_err(enclosed)?;
            if again.expose() != dek.expose() {
                return Err(RewrapError::NotTheKey);
            }
        }
        let statement =
            Statement::Rewrapped { before: sha256(&before), after: sha256(&envelope), recipients: to.digest() };
        let proof = dek.sign(&id(session)?, &statement).map_err(RewrapError::Seal)?;
        Ok(Self {
            session: session.clone(),
            before: sha256_hex(&before),
            envelope: STANDARD.encode(&envelope),
            recipients: to.iter().cloned().collect(),
            proof,
        })
    }

    /// Checks all that can be checked without a key, and gives the record of the change.
    ///
    /// # Errors
    /// Why the envelope must not take the place of the present one.
    pub fn check(&self, root: &StoreRoot) -> Result<Rewrapped, RewrapError> {
        let present = read(&root.envelope(&self.session)).map_err(RewrapError::Store)?;
        if sha256_hex(&present) != self.before {
            return Err(RewrapError::Moved);
        }
        let malformed = |why: &str| RewrapError::Form(EnvelopeError::Malformed { why: why.to_owned() });
        let envelope = STANDARD.decode(&self.envelope).map_err(|_| malformed("it is not base64"))?;
        let recipients = Recipients::of(self.recipients.iter().cloned()).ok_or(RewrapError::NoRecipients)?;
        check_form(&envelope, recipients.iter().count()).map_err(RewrapError::Form)?;
        if recipients.iter().ne(&self.recipients) {
            return Err(malformed("its recipients are not sorted, or one is named twice"));
        }
        let statement = Statement::Rewrapped {
            before: sha256(&present),
            after: sha256(&envelope),
            recipients: recipients.digest(),
        };
        if !opener_key(root, &self.session)?.has_signed(&id(&self.session)?, &statement, &self.proof) {
            return Err(RewrapError::Unproven);
        }
        let made = std::fs::read_dir(root.rewraps_of(&self.session)).into_iter().flatten().flatten();
        if made.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json")).count() >= REWRAPS_MAX {
            return Err(RewrapError::TooOften);
        }
        Ok(Rewrapped {
            format: FORMAT,
            session: self.session.clone(),
            before: self.before.clone(),
            envelope: sha256_hex(&envelope),
            recipients: self.recipients.clone(),
            proof: self.proof,
        })
    }
}

impl Rewrapped {
    /// The record's present version.
    pub const FORMAT: u32 = FORMAT;

    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        json(self)
    }
}

impl StoreRoot {
    /// Where the records of envelopes that were made anew are, a directory for each session.
    pub fn rewrapped(&self) -> PathBuf {
        self.envelopes.join("rewrapped")
    }

    /// The one of a session.
    pub fn rewraps_of(&self, session: &SessionId) -> PathBuf {
        self.rewrapped().join(session.as_str())
    }

    /// Makes a checked change one that a crash does not lose. It has not happened yet.
    ///
    /// # Errors
    /// `Write`.
    pub fn stage_rewrap(&self, rewrap: &Rewrap, record: &Rewrapped) -> Result<(), RewrapError> {
        let directory = self.rewraps_of(&record.session);
        let envelope = STANDARD.decode(&rewrap.envelope).unwrap_or_default();
        durable::create_directories(&directory).map_err(|error| unwritten(&directory, error))?;
        let files = [(format!("{}.age", record.envelope), envelope), (NEXT.to_owned(), record.to_json())];
        files.iter().try_for_each(|(name, bytes)| {
            let path = directory.join(name);
            durable::replace(&path, bytes, 0o600).map_err(|error| unwritten(&path, error))
        })
    }

    /// Takes back what was staged and is not on record.
    ///
    /// # Errors
    /// `Write`; the next start finishes the change then.
    pub fn unstage_rewrap(&self, record: &Rewrapped) -> Result<(), RewrapError> {
        let directory = self.rewraps_of(&record.session);
        for name in [NEXT.to_owned(), format!("{}.age", record.envelope)] {
            let path = directory.join(name);
            durable::remove_file(&path).map_err(|error| unwritten(&path, error))?;
        }
        Ok(())
    }

    /// The sessions with a change that a crash has interrupted.
    pub fn staged_rewraps(&self) -> Vec<SessionId> {
        let names = std::fs::read_dir(self.rewrapped()).into_iter().flatten().flatten();
        let sessions = names.filter_map(|entry| SessionId::parse(entry.file_name().to_str()?).ok());
        let mut staged: Vec<SessionId> = sessions.filter(|session| self.has_staged_rewrap(session)).collect();
        staged.sort();
        staged
    }

    /// Whether a change of this session's envelope was interrupted.
    pub fn has_staged_rewrap(&self, session: &SessionId) -> bool {
        self.rewraps_of(session).join(NEXT).exists()
    }

    /// Reads an interrupted change. `None` beside the record: it has happened, but for the record's name.
    ///
    /// # Errors
    /// What of it cannot be read, or is not what was staged.
    pub fn staged_rewrap(&self, session: &SessionId) -> Result<(Option<Rewrap>, Rewrapped), RewrapError> {
        let path = self.rewraps_of(session).join(NEXT);
        let damaged = |why: &str| StoreError::Damaged { path: path.clone(), why: why.to_owned() };
        let record: Rewrapped = read_json(&path)
            .map_err(RewrapError::Store)?
            .filter(|record: &Rewrapped| record.session == *session && record.format == FORMAT)
            .ok_or_else(|| damaged("it is no record of this session"))
            .map_err(RewrapError::Store)?;
        if sha256_hex(&read(&self.envelope(session)).map_err(RewrapError::Store)?) == record.envelope {
            return Ok((None, record));
        }
        let staged = read(&self.rewraps_of(session).join(format!("{}.age", record.envelope)));
        let envelope = STANDARD.encode(staged.map_err(RewrapError::Store)?);
        let Rewrapped { before, recipients, proof, .. } = record.clone();
        Ok((Some(Rewrap { session: session.clone(), before, envelope, recipients, proof }), record))
    }

    /// Puts a staged envelope in place, and keeps the one that was there. It is on record, under a checkpoint.
    ///
    /// # Errors
    /// `Moved` if what is there is neither of the two; else what the file system says. The next start tries again.
    pub fn finish_rewrap(&self, record: &Rewrapped) -> Result<(), RewrapError> {
        let (place, directory) = (self.envelope(&record.session), self.rewraps_of(&record.session));
        let present = read(&place).map_err(RewrapError::Store)?;
        let found = sha256_hex(&present);
        if found == record.before {
            let staged = directory.join(format!("{}.age", record.envelope));
            if sha256_hex(&read(&staged).map_err(RewrapError::Store)?) != record.envelope {
                let why = String::from("it is not the envelope that was staged");
                return Err(RewrapError::Store(StoreError::Damaged { path: staged, why }));
            }
            let kept = directory.join(format!("{}.age", record.before));
            durable::replace(&kept, &present, 0o600).map_err(|error| unwritten(&kept, error))?;
            moved(&staged, &place)?;
        } else if found != record.envelope {
            return Err(RewrapError::Moved);
        }
        moved(&directory.join(NEXT), &directory.join(record_name(&record.envelope)))
    }

    /// For whom a session's present envelope is, if it was made anew.
    pub fn rewrapped_for(&self, session: &SessionId) -> Option<Vec<Recipient>> {
        let directory = self.rewraps_of(session);
        if !directory.is_dir() {
            return None;
        }
        let present = sha256_hex(&read(&self.envelope(session)).ok()?);
        let record: Rewrapped = read_json(&directory.join(record_name(&present))).ok()??;
        Some(record.recipients)
    }

    /// The earlier envelopes of a session that are kept.
    pub fn earlier_envelopes(&self, session: &SessionId) -> Vec<PathBuf> {
        let names = std::fs::read_dir(self.rewraps_of(session)).into_iter().flatten().flatten();
        names.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "age")).collect()
    }

    /// Shows, with one of `identities`, that the present envelope of a session opens its recording: SHA-256 of the
    /// envelope in hex, and the proof.
    ///
    /// # Errors
    /// Why it cannot be shown.
    pub fn prove_opened(
        &self,
        session: &SessionId,
        identities: &[Identity],
    ) -> Result<(String, OpenerProof), RewrapError> {
        let (dek, envelope) = opened(self, session, identities)?;
        let statement = Statement::Opened { envelope: sha256(&envelope) };
        let proof = dek.sign(&id(session)?, &statement).map_err(RewrapError::Seal)?;
        Ok((sha256_hex(&envelope), proof))
    }

    /// Checks what `prove_opened` gave, without a key.
    ///
    /// # Errors
    /// `Moved` if it is about another envelope than the present one, `Unproven`.
    pub fn check_opened(&self, session: &SessionId, envelope: &str, proof: &OpenerProof) -> Result<(), RewrapError> {
        let present = read(&self.envelope(session)).map_err(RewrapError::Store)?;
        if sha256_hex(&present) != envelope {
            return Err(RewrapError::Moved);
        }
        let statement = Statement::Opened { envelope: sha256(&present) };
        let proven = opener_key(self, session)?.has_signed(&id(session)?, &statement, proof);
        if proven { Ok(()) } else { Err(RewrapError::Unproven) }
    }

    /// Destroys the earlier envelopes of a session, durably; says how many there were.
    ///
    /// # Errors
    /// `Write`.
    pub fn drop_earlier(&self, session: &SessionId) -> Result<usize, RewrapError> {
        let earlier = self.earlier_envelopes(session);
        for path in &earlier {
            durable::remove_file(path).map_err(|error| unwritten(path, error))?;
        }
        Ok(earlier.len())
    }

    /// Destroys every envelope of a session that is here, durably: none of them opens the recording any more.
    ///
    /// # Errors
    /// `Write`.
    pub fn destroy_envelopes(&self, session: &SessionId) -> Result<(), StoreError> {
        let staged = self.rewraps_of(session).join(NEXT);
        // The intent first: the next start must not finish a change of what is destroyed.
        let paths = std::iter::once(staged).chain(self.earlier_envelopes(session)).chain([self.envelope(session)]);
        for path in paths {
            durable::remove_file(&path).map_err(|source| StoreError::Write { path, source })?;
        }
        Ok(())
    }
}

/// The secret of a session, and the bytes of its envelope. What the envelope holds opens the recording.
fn opened(root: &StoreRoot, session: &SessionId, identities: &[Identity]) -> Result<(Dek, Vec<u8>), RewrapError> {
    let path = root.envelope(session);
    let envelope = read(&path).map_err(RewrapError::Store)?;
    let dek = Dek::from_envelope(&envelope, identities)
        .map_err(|source| RewrapError::Store(StoreError::Envelope { path, source }))?;
    if dek.opener_key().map_err(RewrapError::Seal)? != opener_key(root, session)? {
        return Err(RewrapError::NotTheKey);
    }
    let directory = root.session_directory(session);
    for (number, segments) in directory.map_or(Ok(Vec::new()), |path| channels(&path)).map_err(RewrapError::Store)? {
        let Some(header) = segments.first().and_then(|first| header_of(first)) else { continue };
        let own = header.session == id(session)? && header.channel == number;
        if !own || Opener::new(dek.clone()).segment(&header).is_err() {
            return Err(RewrapError::NotTheKey);
        }
    }
    Ok((dek, envelope))
}

/// The header of a segment, if a crash did not keep it from being written.
fn header_of(path: &Path) -> Option<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES];
    durable::open_plain(path).ok()?.read_exact(&mut bytes).ok()?;
    SegmentHeader::decode(&bytes).ok()
}

fn opener_key(root: &StoreRoot, session: &SessionId) -> Result<OpenerKey, RewrapError> {
    let not_found = || RewrapError::Store(StoreError::NotFound { session: session.clone() });
    let directory = root.session_directory(session).ok_or_else(not_found)?;
    let opening: Opening =
        read_json(&directory.join("opened.json")).map_err(RewrapError::Store)?.ok_or_else(not_found)?;
    opening.opener_key.ok_or(RewrapError::Older)
}

fn id(session: &SessionId) -> Result<[u8; 16], RewrapError> {
    session.to_bytes().ok_or_else(|| RewrapError::Store(StoreError::NotFound { session: session.clone() }))
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let most = u64::try_from(ENVELOPE_BYTES_MAX).unwrap_or(u64::MAX);
    durable::read_plain(path, most).map_err(|source| StoreError::Read { path: path.to_owned(), source })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    // SHA-256 gives 32 bytes.
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

fn moved(from: &Path, to: &Path) -> Result<(), RewrapError> {
    std::fs::rename(from, to)
        .and_then(|()| durable::sync_parent(to))
        .and_then(|()| durable::sync_parent(from))
        .map_err(|error| unwritten(to, error))
}

fn unwritten(path: &Path, source: io::Error) -> RewrapError {
    RewrapError::Store(StoreError::Write { path: path.to_owned(), source })
}

/// Why an envelope was not made, or does not take another's place.
#[derive(Debug)]
pub enum RewrapError {
    /// The recording, or an envelope of it, cannot be read or written.
    Store(StoreError),
    /// It was recorded by a version in which nobody can show that they opened an envelope.
    Older,
    /// What the envelope holds does not open the recording.
    NotTheKey,
    /// The present envelope is not the one that was opened.
    Moved,
    /// Nobody is named who could read it.
    NoRecipients,
    /// The new file is no envelope.
    Form(EnvelopeError),
    /// Nobody who could open the present envelope has signed this.
    Unproven,
    /// It was made anew too often.
    TooOften,
    /// The cryptographic library failed.
    Seal(SealError),
}

impl RewrapError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Older => Some("its envelope stays as it is: keep the identities that open it"),
            Self::NotTheKey => Some("`doorward verify` says what is wrong; keep all copies of the envelope"),
            Self::Moved => Some("make it anew, from the envelope that is there now"),
            Self::Unproven => Some("only who can open a recording can have its envelope replaced"),
            Self::NoRecipients => Some("give --to age1... or a file of them"),
            Self::Store(_) | Self::Form(_) | Self::TooOften | Self::Seal(_) => None,
        }
    }

    /// Whether it says only that these identities are not among the recipients.
    pub fn is_sealed_for_others(&self) -> bool {
        matches!(self, Self::Store(StoreError::Envelope { source: EnvelopeError::NotForYou, .. }))
    }
}

impl fmt::Display for RewrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Older => f.write_str("an earlier version recorded it, whose envelopes cannot be replaced"),
            Self::NotTheKey => f.write_str("what the envelope holds does not open the recording"),
            Self::Moved => f.write_str("the present envelope is not the one that was opened"),
            Self::NoRecipients => f.write_str("there is no recipient, or there are too many"),
            Self::Form(_) => f.write_str("the new envelope is none"),
            Self::Unproven => f.write_str("nobody who could open the present envelope has signed this"),
            Self::TooOften => write!(f, "its envelope was made anew {REWRAPS_MAX} times, which is the most"),
            Self::Seal(_) => f.write_str("the session's key cannot be used"),
        }
    }
}

impl std::error::Error for RewrapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // It shows as itself, so that its cause is ours.
            Self::Store(error) => error.source(),
            Self::Form(error) => Some(error),
            Self::Seal(error) => Some(error),
            Self::Older | Self::NotTheKey | Self::Moved | Self::NoRecipients | Self::Unproven | Self::TooOften => None,
        }
    }
}
