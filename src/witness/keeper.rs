//! What a witness has seen: deciding and keeping are one step.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tracing::warn;

use super::directory::{Directory, Seen};
use super::{KeeperError, origin_id};
use crate::clock::Clock;
use crate::tlog::{AddCheckpoint, Answer, Checkpoint, Note, Refused, Signature, SigningKey, VerifyingKey, decide};

/// A witness: its key, the logs that it watches, and what it cosigned last of each.
///
/// Calls block on the disk. Many may run at once; they take turns.
#[derive(Debug)]
pub struct Keeper {
    directory: Directory,
    key: SigningKey,
    clock: Clock,
    /// By `origin_id`. INVARIANT: no cosignature was given out over a larger tree than the one that is here, nor over
    /// another of the same size; what is here is durable.
    seen: Mutex<BTreeMap<String, Seen>>,
    /// INVARIANT: holds the flock on `LOCK`, so no other process cosigns with this key from these files.
    _lock: File,
}

/// What came of a checkpoint that was sent to a witness.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept, and this is the witness's signature.
    Cosigned {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The signature.
        signature: Signature,
    },
    /// It is refused; nothing has changed.
    Refused(Refused),
}

impl Keeper {
    /// Opens and locks the witness in `directory`, and checks every checkpoint that it keeps.
    ///
    /// # Errors
    /// `Absent`; `Home` if another process has it or others may read it; `Key`, `KeyKind`, `Damaged` or `Signature` if
    /// something is not what was written: a witness that is not sure what it signed must not sign.
    pub fn open(directory: &Path, clock: Clock) -> Result<Self, KeeperError> {
        let directory = Directory::at(directory)?;
        let lock = directory.lock()?;
        let key = directory.key()?;
        let seen = directory.all_seen(key.public())?.into_iter().collect();
        Ok(Self { directory, key, clock, seen: Mutex::new(seen), _lock: lock })
    }

    /// The witness's public key.
    pub fn public(&self) -> &VerifyingKey {
        self.key.public()
    }

    /// Decides on the body of an `add-checkpoint` request; what it accepts is durable on return.
    ///
    /// # Errors
    /// Those of reading the log's keys and of keeping. No signature was given then. The checkpoint may be on disk, or
    /// may not be: both are safe, for the next start reads what is there, and until then the one before counts, whose
    /// successor is written and synced anew.
    ///
    /// Source: <https://c2sp.org/tlog-witness>, "add-checkpoint".
    pub fn submit(&self, body: &[u8]) -> Result<Outcome, KeeperError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = Vec::new();
        let mut failure = None;
        let answer = {
            let (keys, failure, seen) = (&mut keys, &mut failure, &*seen);
            decide(body, move |origin| {
                let id = origin_id(origin);
                match self.directory.keys(&id) {
                    Ok(found) => *keys = found?,
                    Err(error) => {
                        *failure = Some(error);
                        return None;
                    }
                }
                Some((keys.as_slice(), seen.get(&id).map(|seen| &seen.checkpoint)))
            })
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        match answer {
            Answer::Accept { new } => self.keep(&mut seen, body, &keys, new),
            Answer::Refuse(refused) => {
                report(body, &refused);
                Ok(Outcome::Refused(refused))
            }
        }
    }

    /// Cosigns, keeps durably, and only then hands the signature out.
    fn keep(
        &self,
        seen: &mut BTreeMap<String, Seen>,
        body: &[u8],
        keys: &[VerifyingKey],
        checkpoint: Checkpoint,
    ) -> Result<Outcome, KeeperError> {
        let id = origin_id(&checkpoint.origin);
        let request = AddCheckpoint::parse(body).map_err(|_| KeeperError::Crypto)?;
        // A clock that was set back must not make the larger tree the older one.
        let time = self.now().max(seen.get(&id).map_or(0, |seen| seen.time));
        let text = request.checkpoint.unchecked_text();
        let signature = self.key.cosign(text, time).ok_or(KeeperError::Crypto)?;
        let mut note = Note::new(text.to_owned()).map_err(|_| KeeperError::Crypto)?;
        // Of the signatures only those are kept that were checked: the others are whatever the sender liked.
        let checked = request.checkpoint.signatures().iter().filter(|one| keys.iter().any(|key| key.made(one)));
        checked.cloned().for_each(|one| note.add(one));
        note.add(signature.clone());
        self.directory.keep(&id, &note)?;
        seen.insert(id, Seen { checkpoint: checkpoint.clone(), note, time });
        Ok(Outcome::Cosigned { checkpoint, signature })
    }

    /// The newest note of a log that was cosigned, by the log's `origin_id`; `None` if none was.
    pub fn newest(&self, id: &str) -> Option<Note> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(id).map(|seen| seen.note.clone())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(0) / 1000
    }
}

/// Tells the operator of what may prove that a log shows two histories. Only who has the log's key gets this far.
fn report(body: &[u8], refused: &Refused) {
    let Ok(request) = AddCheckpoint::parse(body) else { return };
    let Ok(head) = Checkpoint::parse(request.checkpoint.unchecked_text()) else { return };
    let Checkpoint { origin, size, root } = head;
    match refused {
        Refused::Conflict { size: signed } if *signed == size && request.old == size => {
            warn!(origin = %origin, size, root = %root, "A log signed two trees of one size");
        }
        Refused::BadProof => {
            warn!(origin = %origin, size, root = %root, old = request.old, "A log's checkpoint does not go on from the last");
        }
        Refused::Malformed(_) | Refused::UnknownOrigin | Refused::BadSignature | Refused::Conflict { .. } => {}
    }
}
