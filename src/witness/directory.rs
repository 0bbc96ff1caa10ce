//! The files of a witness.
//!
//! ```text
//! <directory>/      0700
//!   LOCK            flock, held while it serves; the holder's pid is written in it
//!   key             0400: the private key, with which it cosigns
//!   logs/<id>       the public keys of a log that it watches, one a line; read at each request
//!   seen/<id>       the newest checkpoint of that log that it cosigned, with the log's signature and its own
//! ```
//!
//! `<id>` is `origin_id`.
//!
//! An attacker who can write here can make the witness forget what it signed and have it sign another history, and one
//! who can read here has its key. So it should not lie on the machine whose log it watches.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};
use zeroize::{Zeroize, Zeroizing};

use super::{KeeperError, is_origin_id, origin_id};
use crate::durable;
use crate::home::{check_owner, take_lock};
use crate::log::{Disk, LocalDisk};
use crate::secret::Secret;
use crate::tlog::{Algorithm, Checkpoint, KeyName, NOTE_BYTES_MAX, Note, SigningKey, VerifyingKey};

const KEY: &str = "key";
const LOGS: &str = "logs";
const SEEN: &str = "seen";
/// Most keys of one log: one at a time, and some that were changed.
const KEYS_MAX: usize = 16;
/// A key's line has a name of at most 255 bytes and 60 more.
const KEYS_BYTES_MAX: usize = KEYS_MAX * 512;
/// What `durable::replace` leaves behind when it is interrupted.
const UNFINISHED: &str = ".new";

/// A log that a witness watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedLog {
    /// Its name.
    pub origin: KeyName,
    /// Its keys: one, or several while it changes them.
    pub keys: Vec<VerifyingKey>,
    /// The checkpoint of it that was cosigned last, and when, in seconds since 1970.
    pub newest: Option<(Checkpoint, u64)>,
}

/// The newest checkpoint of a log that the witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) checkpoint: Checkpoint,
    /// With the log's signature and the witness's.
    pub(super) note: Note,
    /// When it was cosigned, in seconds since 1970.
    pub(super) time: u64,
}

/// Makes a witness with a new key in `path`, which must be empty or not be there. Durable on return.
///
/// # Errors
/// `NotEmpty`, `Home`, `Crypto`, `Io`.
pub fn init(path: &Path, name: KeyName) -> Result<VerifyingKey, KeeperError> {
    let at = |what: &'static str| move |source| KeeperError::Io { what, path: path.to_owned(), source };
    durable::create_directories(path).map_err(at("create"))?;
    check_owner(path).map_err(KeeperError::Home)?;
    if std::fs::read_dir(path).map_err(at("read"))?.next().is_some() {
        return Err(KeeperError::NotEmpty { path: path.to_owned() });
    }
    let _lock = take_lock(path).map_err(KeeperError::Home)?;
    for part in [LOGS, SEEN] {
        durable::create_directories(&path.join(part)).map_err(at("create the layout of"))?;
    }
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| KeeperError::Crypto)?;
    let kept = Secret::new(seed);
    seed.zeroize();
    let key = SigningKey::from_seed(name, Algorithm::Cosignature, kept).map_err(|_| KeeperError::Crypto)?;
    // The key comes last: a directory that has one is whole.
    let text = Zeroizing::new(format!("{}\n", key.to_text().expose()));
    durable::create_new(&path.join(KEY), text.as_bytes(), 0o400).map_err(at("write the key of"))?;
    Ok(key.public().clone())
}

/// Has the witness in `path` watch the log whose key this is; says whether the key is new. A log may have several.
///
/// A witness that serves heeds it from the next request on. Durable on return.
///
/// # Errors
/// `Absent`, `KeyKind`, `TooManyKeys`, `Key`, `Io`.
pub fn watch(path: &Path, key: &VerifyingKey) -> Result<bool, KeeperError> {
    match key.algorithm() {
        Algorithm::Note => {}
        Algorithm::Cosignature => {
            return Err(KeeperError::KeyKind { name: key.name().to_string(), is_for: "cosigning, so it is no log's" });
        }
    }
    let directory = Directory::at(path)?;
    let logs = path.join(LOGS);
    let failed = |source| KeeperError::Io { what: "write the log's key in", path: logs.clone(), source };
    // Two that add at once would each write what they read and lose the other's key.
    let lock = File::open(&logs).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let id = origin_id(key.name());
    let mut keys = directory.keys(&id)?.unwrap_or_default();
    if keys.contains(key) {
        return Ok(false);
    }
    if keys.len() >= KEYS_MAX {
        return Err(KeeperError::TooManyKeys { keys: keys.len() });
    }
    keys.push(key.clone());
    let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
    durable::replace(&logs.join(id), text.as_bytes(), 0o600).map_err(failed)?;
    Ok(true)
}

/// The logs that the witness in `path` watches, by name. Needs no lock, so it may serve meanwhile.
///
/// # Errors
/// `Absent`, `Key`, `Damaged`, `Signature`, `Io`.
pub fn list(path: &Path) -> Result<Vec<WatchedLog>, KeeperError> {
    let directory = Directory::at(path)?;
    let own = directory.key()?;
    let mut logs = Vec::new();
    for id in directory.ids(LOGS)? {
        let Some(keys) = directory.keys(&id)? else { continue };
        let Some(origin) = keys.first().map(|key| key.name().clone()) else { continue };
        let newest = directory.seen(&id, own.public())?.map(|seen| (seen.checkpoint, seen.time));
        logs.push(WatchedLog { origin, keys, newest });
    }
    logs.sort_by(|a, b| a.origin.cmp(&b.origin));
    Ok(logs)
}

/// The directory of a witness that was made.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The one in `path`, which nobody else may read or write.
    pub(super) fn at(path: &Path) -> Result<Self, KeeperError> {
        match std::fs::metadata(path.join(KEY)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeeperError::Absent { path: path.to_owned() });
            }
            Err(source) => return Err(KeeperError::Io { what: "read", path: path.to_owned(), source }),
        }
        check_owner(path).map_err(KeeperError::Home)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Locks it for as long as the file is open.
    pub(super) fn lock(&self) -> Result<File, KeeperError> {
        take_lock(&self.path).map_err(KeeperError::Home)
    }

    /// The witness's key.
    pub(super) fn key(&self) -> Result<SigningKey, KeeperError> {
        let path = self.path.join(KEY);
        let failed = |source| KeeperError::Io { what: "read", path: path.clone(), source };
        // With all its room from the start, the text is not copied while it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEYS_BYTES_MAX));
        let file = durable::open_plain(&path).map_err(failed)?;
        file.take(1024).read_to_end(&mut bytes).map_err(failed)?;
        let text = Secret::new(String::from_utf8_lossy(&bytes).into_owned());
        let key = SigningKey::parse(&text).map_err(|source| KeeperError::Key { path, source })?;
        match key.public().algorithm() {
            Algorithm::Cosignature => Ok(key),
            Algorithm::Note => {
                Err(KeeperError::KeyKind { name: key.public().name().to_string(), is_for: "a log, not for a witness" })
            }
        }
    }

    /// The keys of a log; `None` if it is not watched.
    pub(super) fn keys(&self, id: &str) -> Result<Option<Vec<VerifyingKey>>, KeeperError> {
        let path = self.path.join(LOGS).join(id);
        let Some(bytes) = read(&path, KEYS_BYTES_MAX)? else { return Ok(None) };
        let bad = |source| KeeperError::Key { path: path.clone(), source };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.is_empty());
        let keys: Vec<VerifyingKey> = lines.map(VerifyingKey::parse).collect::<Result<_, _>>().map_err(bad)?;
        if keys.iter().any(|key| origin_id(key.name()) != id) {
            return Err(KeeperError::Damaged { path, why: "it has the key of another log" });
        }
        Ok(Some(keys))
    }

    /// What was cosigned last of a log, checked with the witness's key.
    pub(super) fn seen(&self, id: &str, own: &VerifyingKey) -> Result<Option<Seen>, KeeperError> {
        let path = self.path.join(SEEN).join(id);
        let Some(bytes) = read(&path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let damaged = |why| KeeperError::Damaged { path: path.clone(), why };
        let note = Note::parse(&bytes).map_err(|error| damaged(error.why))?;
        let checked = note.check(&[own]).map_err(|source| KeeperError::Signature { path: path.clone(), source })?;
        let time = checked.signers().first().and_then(|(_, time)| *time);
        let time = time.ok_or_else(|| damaged("its cosignature has no time"))?;
        let checkpoint = Checkpoint::parse(checked.text()).map_err(|error| damaged(error.why))?;
        if origin_id(&checkpoint.origin) != id {
            return Err(damaged("it is another log's"));
        }
        Ok(Some(Seen { checkpoint, note, time }))
    }

    /// All that was cosigned last, by the log's id.
    pub(super) fn all_seen(&self, own: &VerifyingKey) -> Result<Vec<(String, Seen)>, KeeperError> {
        let mut all = Vec::new();
        for id in self.ids(SEEN)? {
            if let Some(seen) = self.seen(&id, own)? {
                all.push((id, seen));
            }
        }
        Ok(all)
    }

    /// Keeps a checkpoint in place of the one before, in one step; durable on return.
    pub(super) fn keep(&self, id: &str, note: &Note) -> Result<(), KeeperError> {
        let path = self.path.join(SEEN).join(id);
        durable::replace(&path, note.to_string().as_bytes(), 0o600).map_err(|source| KeeperError::Io {
            what: "keep the checkpoint in",
            path,
            source,
        })
    }

    /// The names in a part of the layout.
    fn ids(&self, part: &'static str) -> Result<Vec<String>, KeeperError> {
        let path = self.path.join(part);
        let failed = |source| KeeperError::Io { what: "read", path: path.clone(), source };
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            match name.to_str() {
                Some(id) if is_origin_id(id) => ids.push(id.to_owned()),
                Some(name) if name.strip_suffix(UNFINISHED).is_some_and(is_origin_id) => {}
                // What is not ours may be what was ours under another name.
                Some(_) | None => {
                    return Err(KeeperError::Damaged { path: path.join(name), why: "no witness writes such a name" });
                }
            }
        }
        Ok(ids)
    }
}

fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, KeeperError> {
    LocalDisk.read(path, bytes_max).map_err(|source| KeeperError::Io { what: "read", path: path.to_owned(), source })
}
