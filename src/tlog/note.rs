//! Signed notes: a text, an empty line, and lines with signatures.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{KeyName, VerifyingKey};

/// Longest note that is read, in bytes. Room for a log's and sixteen witnesses' signatures, post-quantum ones too.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Most signature lines that are read.
const SIGNATURES_MAX: usize = 64;

/// A signature line: who signed, with which key, and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: KeyName,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    pub(super) fn new(name: KeyName, key_id: [u8; 4], bytes: Vec<u8>) -> Self {
        Self { name, key_id, bytes }
    }

    /// Parses one line without its line end, such as a witness answers with.
    ///
    /// # Errors
    /// `MalformedNote`.
    pub fn parse(line: &str) -> Result<Self, MalformedNote> {
        let malformed = MalformedNote { why: "a signature line has the form `— name base64`" };
        let (name, encoded) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(malformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| malformed)?;
        let (key_id, bytes) = bytes.split_first_chunk::<4>().filter(|(_, rest)| !rest.is_empty()).ok_or(malformed)?;
        Ok(Self::new(KeyName::parse(name).map_err(|_| malformed)?, *key_id, bytes.to_vec()))
    }

    /// Who signed, as the line says.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key, as the line says.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The time that a witness's signature begins with (`cosignature/v1`), in seconds since 1970. It says nothing in one
    /// that was not checked, and in a log's.
    pub fn cosigned_at(&self) -> Option<u64> {
        self.bytes.first_chunk::<8>().map(|time| u64::from_be_bytes(*time))
    }

    /// What follows the key id.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id[..], &self.bytes].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A note as it was read: nothing in it is to be believed before `check`.
///
/// Source: <https://c2sp.org/signed-note>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// Bytes are no signed note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedNote {
    /// What is wrong with them.
    pub why: &'static str,
}

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteError {
    /// None of the known keys signed it.
    Unsigned,
    /// A signature that names a known key does not hold.
    Forged(KeyName),
}

/// A note's text and who signed it; made by `Note::check` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedNote<'a> {
    text: &'a str,
    signers: Vec<(KeyName, Option<u64>)>,
}

impl Note {
    /// A note of `text`, which ends in a line end, without signatures.
    ///
    /// # Errors
    /// `MalformedNote` if no note can have this text.
    pub fn new(text: String) -> Result<Self, MalformedNote> {
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Parses a note of at most `NOTE_BYTES_MAX` bytes and 64 signatures.
    ///
    /// # Errors
    /// `MalformedNote`.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedNote> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(MalformedNote { why: "the note is too long" });
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| MalformedNote { why: "a note is UTF-8" })?;
        let parts = whole.rfind("\n\n").and_then(|at| whole.split_at_checked(at.saturating_add(1)));
        let (text, rest) = parts.ok_or(MalformedNote { why: "a note has an empty line before its signatures" })?;
        check_text(text)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(MalformedNote { why: "a note has a signature, and ends in a line end" })?;
        let signatures =
            lines.split('\n').take(SIGNATURES_MAX + 1).map(Signature::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(MalformedNote { why: "the note has too many signatures" });
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Adds a signature, unless it is there already.
    pub fn add(&mut self, signature: Signature) {
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// The text, unchecked.
    pub fn unchecked_text(&self) -> &str {
        &self.text
    }

    /// The signatures, unchecked.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Checks the signatures of the known keys. Lines of other keys are passed over.
    ///
    /// # Errors
    /// `Unsigned`, and `Forged` if one that names a known key does not hold, even if another does.
    pub fn check(&self, known: &[&VerifyingKey]) -> Result<CheckedNote<'_>, NoteError> {
        let mut signers = Vec::new();
        for signature in &self.signatures {
            let Some(key) = known.iter().find(|key| key.made(signature)) else { continue };
            let time = key.check(&self.text, signature).ok_or_else(|| NoteError::Forged(key.name().clone()))?;
            if !signers.iter().any(|(name, _)| name == key.name()) {
                signers.push((key.name().clone(), time));
            }
        }
        if signers.is_empty() {
            return Err(NoteError::Unsigned);
        }
        Ok(CheckedNote { text: &self.text, signers })
    }
}

impl<'a> CheckedNote<'a> {
    /// The text, which at least one known key has signed.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Who signed it, each once; with the time in seconds since 1970 where the signer is a witness.
    pub fn signers(&self) -> &[(KeyName, Option<u64>)] {
        &self.signers
    }
}

/// What a witness signs.
///
/// Source: <https://c2sp.org/tlog-cosignature>, "Ed25519 signed message".
pub(super) fn cosigned_text(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn check_text(text: &str) -> Result<(), MalformedNote> {
    if text.len() < 2 || !text.ends_with('\n') {
        return Err(MalformedNote { why: "a note has a text that ends in a line end" });
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(MalformedNote { why: "a note has no control characters" });
    }
    Ok(())
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl fmt::Display for MalformedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for MalformedNote {}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("none of the known keys signed it"),
            Self::Forged(name) => write!(f, "its signature by `{name}` does not hold"),
        }
    }
}

impl std::error::Error for NoteError {}
