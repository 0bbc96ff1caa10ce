//! What a witness decides about a checkpoint that a log sends it.
//!
//! A witness signs for a log's head only if it is consistent with the last that it signed for. So two people who both
//! insist on its signature are shown one history. It does not judge what the entries say.

use std::fmt;

use super::checkpoint::decimal;
use super::proof::parse_hashes;
use super::{Checkpoint, EMPTY_ROOT, Hash, KeyName, NOTE_BYTES_MAX, Note, VerifyingKey, verify_consistency};

/// Longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = NOTE_BYTES_MAX + 4096;
/// Most hashes of a request.
const HASHES_MAX: usize = 63;

/// The body of an `add-checkpoint` request.
///
/// Source: <https://c2sp.org/tlog-witness>, "add-checkpoint".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the sender believes the witness signed last; 0 for none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The new checkpoint.
    pub checkpoint: Note,
}

/// A body is no `add-checkpoint` request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedRequest {
    /// What is wrong with it.
    pub why: &'static str,
}

impl AddCheckpoint {
    /// Parses a request's body.
    ///
    /// # Errors
    /// `MalformedRequest`.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedRequest> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(MalformedRequest { why: "the request is too long" });
        }
        let text = std::str::from_utf8(body).map_err(|_| MalformedRequest { why: "a request is UTF-8" })?;
        let parts = text.split_once("\n\n");
        let (head, note) = parts.ok_or(MalformedRequest { why: "the request has no checkpoint" })?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(MalformedRequest { why: "the first line is `old` and a size" })?;
        let proof = parse_hashes(lines).filter(|hashes| hashes.len() <= HASHES_MAX);
        let proof = proof.ok_or(MalformedRequest { why: "the proof's hashes are bad or too many" })?;
        let checkpoint = Note::parse(note.as_bytes()).map_err(|error| MalformedRequest { why: error.why })?;
        Ok(Self { old, proof, checkpoint })
    }
}

/// The request's body.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// What a witness does with a request.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Keep `new` in place of what was decided upon, in one step with that decision and durably; then cosign it.
    Accept {
        /// The checkpoint.
        new: Checkpoint,
    },
    /// Refuse.
    Refuse(Refused),
}

/// Why a witness refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The request has no sense.
    Malformed(MalformedRequest),
    /// The witness does not know the log.
    UnknownOrigin,
    /// None of the log's keys signed, or a signature does not hold.
    BadSignature,
    /// The witness signed another size last, or another root of the same size.
    Conflict {
        /// The size that it signed last.
        size: u64,
    },
    /// The proof does not show that the new tree begins with the old.
    BadProof,
}

impl Refused {
    /// The status of the answer.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::BadSignature => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::BadProof => 422,
        }
    }
}

/// What a witness does with a request's body.
///
/// `log` gives, for an origin that the witness knows, the log's keys and the checkpoint of it that the witness signed
/// last. Deciding and keeping the new checkpoint must be one step: between them no other request of the same origin
/// may be decided.
///
/// Source: <https://c2sp.org/tlog-witness>, "add-checkpoint".
pub fn decide<'a>(
    body: &[u8],
    log: impl FnOnce(&KeyName) -> Option<(&'a [VerifyingKey], Option<&'a Checkpoint>)>,
) -> Answer {
    match judge(body, log) {
        Ok(new) => Answer::Accept { new },
        Err(refused) => Answer::Refuse(refused),
    }
}

fn judge<'a>(
    body: &[u8],
    log: impl FnOnce(&KeyName) -> Option<(&'a [VerifyingKey], Option<&'a Checkpoint>)>,
) -> Result<Checkpoint, Refused> {
    let request = AddCheckpoint::parse(body).map_err(Refused::Malformed)?;
    let new = Checkpoint::parse(request.checkpoint.unchecked_text())
        .map_err(|error| Refused::Malformed(MalformedRequest { why: error.why }))?;
    let (keys, latest) = log(&new.origin).ok_or(Refused::UnknownOrigin)?;
    let keys: Vec<&VerifyingKey> = keys.iter().collect();
    request.checkpoint.check(&keys).map_err(|_| Refused::BadSignature)?;
    if request.old > new.size {
        return Err(Refused::Malformed(MalformedRequest { why: "the old size is beyond the new" }));
    }
    let (size, root) = latest.map_or((0, EMPTY_ROOT), |latest| (latest.size, latest.root));
    if request.old != size || (new.size == size && new.root != root) {
        return Err(Refused::Conflict { size });
    }
    verify_consistency(size, &root, new.size, &new.root, &request.proof).map_err(|_| Refused::BadProof)?;
    Ok(new)
}

impl fmt::Display for MalformedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for MalformedRequest {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the request is malformed: {why}"),
            Self::UnknownOrigin => f.write_str("the log is unknown"),
            Self::BadSignature => f.write_str("the log has not signed the checkpoint"),
            Self::Conflict { size } => write!(f, "the checkpoint signed last is another, of size {size}"),
            Self::BadProof => f.write_str("the checkpoint is not consistent with the one signed last"),
        }
    }
}
