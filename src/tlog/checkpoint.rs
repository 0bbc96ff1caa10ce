//! Checkpoints: the text that says how large a log is and what its root is.

use std::fmt;

use super::{Hash, KeyName, Note, SigningKey};

/// A tree head: which log, how many entries, which root.
///
/// Source: <https://c2sp.org/tlog-checkpoint>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also that of its key.
    pub origin: KeyName,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// A text is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedCheckpoint {
    /// What is wrong with it.
    pub why: &'static str,
}

impl Checkpoint {
    /// Parses a note's text: three lines. Lines after them, which a log may add, are passed over if none is empty.
    ///
    /// # Errors
    /// `MalformedCheckpoint`.
    pub fn parse(text: &str) -> Result<Self, MalformedCheckpoint> {
        let whole = text.strip_suffix('\n').ok_or(MalformedCheckpoint { why: "its last line has no end" })?;
        let mut lines = whole.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(MalformedCheckpoint { why: "a checkpoint has at least three lines" });
        };
        if lines.any(str::is_empty) {
            return Err(MalformedCheckpoint { why: "a checkpoint has no empty line" });
        }
        Ok(Self {
            origin: KeyName::parse(origin).map_err(|_| MalformedCheckpoint { why: "its origin is no key name" })?,
            size: decimal(size).ok_or(MalformedCheckpoint { why: "its size is no decimal number" })?,
            root: Hash::parse(root).map_err(|_| MalformedCheckpoint { why: "its root is no hash" })?,
        })
    }

    /// The note of this checkpoint, signed by its log; `None` if the key is not that of its origin.
    pub fn sign(&self, key: &SigningKey) -> Option<Note> {
        let mut note = Note::new(self.to_string()).ok().filter(|_| key.public().name() == &self.origin)?;
        note.add(key.sign(note.unchecked_text())?);
        Some(note)
    }
}

/// The note's text.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

/// A decimal number in its one form: digits, no zero before others.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let one_form = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| one_form && text.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for MalformedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for MalformedCheckpoint {}
