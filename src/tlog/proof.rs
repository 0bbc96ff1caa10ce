//! The proof that travels with an entry and is checked offline.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::decimal;
use super::{
    Checkpoint, Hash, MalformedCheckpoint, MalformedNote, NOTE_BYTES_MAX, Note, NoteError, PROOF_HASHES_MAX,
    ProofError, VerifyingKey, leaf_hash, verify_inclusion,
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Longest `extra` that is read, in bytes of base64.
const EXTRA_BYTES_MAX: usize = 128 * 1024;

/// Where an entry is in a log, and what shows it.
///
/// Source: <https://c2sp.org/tlog-proof>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryProof {
    /// What travels along. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The entry's number, from 0.
    pub index: u64,
    /// The inclusion proof, the entry's sibling first.
    pub hashes: Vec<Hash>,
    /// The log's checkpoint, with its signature and those of witnesses.
    pub checkpoint: Note,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryProofError {
    /// It does not have the form of one.
    Malformed(&'static str),
    /// Its checkpoint does not have the form of a signed note.
    Note(MalformedNote),
    /// Its checkpoint's signatures are missing or do not hold.
    Signature(NoteError),
    /// Its checkpoint does not have the form of one.
    Checkpoint(MalformedCheckpoint),
    /// Its checkpoint is that of another log, or the log itself has not signed it.
    OtherLog,
    /// The entry is not where it says.
    Inclusion(ProofError),
}

impl EntryProof {
    /// Parses the text form.
    ///
    /// # Errors
    /// `Malformed`, `Note`.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryProofError> {
        if bytes.len() > NOTE_BYTES_MAX + 2 * EXTRA_BYTES_MAX {
            return Err(EntryProofError::Malformed("the proof is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| EntryProofError::Malformed("a proof is UTF-8"))?;
        let ended = EntryProofError::Malformed("the proof ends before its checkpoint");
        let (head, note) = text.split_once("\n\n").ok_or(ended.clone())?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(EntryProofError::Malformed("it is no proof of the version that this program reads"));
        }
        let mut line = lines.next().ok_or(ended.clone())?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            let decoded = Some(encoded).filter(|text| text.len() <= EXTRA_BYTES_MAX).map(|text| STANDARD.decode(text));
            extra =
                decoded.and_then(Result::ok).map(Some).ok_or(EntryProofError::Malformed("its extra data are bad"))?;
            line = lines.next().ok_or(ended)?;
        }
        let index = line.strip_prefix("index ").and_then(decimal);
        let index = index.ok_or(EntryProofError::Malformed("its index is no decimal number"))?;
        let hashes = parse_hashes(lines).ok_or(EntryProofError::Malformed("its hashes are bad or too many"))?;
        let checkpoint = Note::parse(note.as_bytes()).map_err(EntryProofError::Note)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Checks that `entry` is in the log whose key is `log`, and gives the checkpoint that covers it and the witnesses
    /// among `witnesses` that cosigned it, with the times in seconds since 1970. How many are enough is the caller's.
    ///
    /// # Errors
    /// Any but `Malformed` and `Note`.
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifyingKey,
        witnesses: &[&VerifyingKey],
    ) -> Result<(Checkpoint, Vec<(super::KeyName, u64)>), EntryProofError> {
        let known: Vec<&VerifyingKey> = std::iter::once(log).chain(witnesses.iter().copied()).collect();
        let note = self.checkpoint.check(&known).map_err(EntryProofError::Signature)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(EntryProofError::Checkpoint)?;
        let signed = self.checkpoint.signatures().iter().any(|signature| log.made(signature));
        if !signed || &checkpoint.origin != log.name() {
            return Err(EntryProofError::OtherLog);
        }
        verify_inclusion(&leaf_hash(entry), self.index, checkpoint.size, &checkpoint.root, &self.hashes)
            .map_err(EntryProofError::Inclusion)?;
        let cosigners = note.signers().iter().filter_map(|(name, time)| Some((name.clone(), (*time)?))).collect();
        Ok((checkpoint, cosigners))
    }
}

/// Lines of one hash each, no more than any proof has.
pub(super) fn parse_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<Hash>> {
    let hashes: Vec<Hash> = lines.take(PROOF_HASHES_MAX + 1).map(Hash::parse).collect::<Result<_, _>>().ok()?;
    Some(hashes).filter(|hashes| hashes.len() <= PROOF_HASHES_MAX)
}

/// The text form.
impl fmt::Display for EntryProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl fmt::Display for EntryProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::Note(_) => f.write_str("the proof's checkpoint is no signed note"),
            Self::Signature(_) => f.write_str("the proof's checkpoint is not signed as it must be"),
            Self::Checkpoint(_) => f.write_str("the proof's checkpoint is malformed"),
            Self::OtherLog => f.write_str("the proof's checkpoint is not one of this log"),
            Self::Inclusion(_) => f.write_str("the proof does not show that the entry is in the log"),
        }
    }
}

impl std::error::Error for EntryProofError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Note(error) => Some(error),
            Self::Signature(error) => Some(error),
            Self::Checkpoint(error) => Some(error),
            Self::Inclusion(error) => Some(error),
            Self::Malformed(_) | Self::OtherLog => None,
        }
    }
}
