//! A copy of the whole store, of one moment, while the bastion runs: made, or brought up to date.
//!
//! The moment is a size of the log. What the log says at that size decides which files the copy has, so that the copy
//! verifies: a recording that ended later is copied as one that is live. Files that never change are copied once; one
//! that differs from the store's is left as it is, and told.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::history::History;
use super::place::{Compare, Place, failed, names, read_plain};
use super::{BackupError, Copied, SealedState};
use crate::durable;
use crate::home;
use crate::model::{SessionId, Timestamp};
use crate::policy::ARCHIVE_BYTES_MAX;
use crate::seal::ENVELOPE_BYTES_MAX;
use crate::store::{StoreRoot, sha256_hex};
use crate::tlog::VerifyingKey;
use crate::verify::{EndedBy, Standing, Step, standings};

/// The form of backups that this version reads and writes.
const FORMAT: u32 = 1;
const FACTS: &str = "backup.json";
/// `opened.json`, `closed.json` and `recovered.json` are far smaller.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So many problems are told one by one.
const PROBLEMS_MAX: usize = 100;

/// What to copy.
#[derive(Debug)]
pub struct CopySettings<'a> {
    /// The state directory.
    pub data: &'a Path,
    /// The log's key.
    pub key: VerifyingKey,
    /// The size of the log that the state is of.
    pub size: u64,
    /// The log's journal at that size: only the bastion can authenticate it.
    pub journal: Vec<u8>,
    /// The state.
    pub state: SealedState,
    /// The configuration's text, and the policies, by their paths in `config/`.
    pub config: BTreeMap<String, Vec<u8>>,
    /// Compare only lengths of what was copied before.
    pub quick: bool,
    /// Remove from the backup what the log says is destroyed.
    pub prune: bool,
    /// Keep the states of so many backups, this one among them; nothing: as many as there are, and not this one.
    pub keep: Option<usize>,
    /// When.
    pub now: Timestamp,
}

/// What `backup.json` says, and what else came of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupFacts {
    /// The size of the log.
    pub leaves: u64,
    /// The log's root hash at that size.
    pub root: String,
    /// How many sessions the log knows.
    pub sessions: u64,
    /// SHA-256 of `state.age`, in hexadecimal.
    pub state_hash: String,
    /// What was copied.
    #[serde(flatten)]
    pub copied: Copied,
    /// How many erased or removed recordings the backup still has.
    pub destroyed_kept: u64,
    /// How many of them it has no more.
    pub destroyed_pruned: u64,
    /// What the log speaks of and the store does not have, or what changed on the way to the copy: the next backup may
    /// find it.
    pub missing: Vec<String>,
    /// What differs where it must not.
    pub differing: Vec<String>,
}

/// `backup.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    format: u32,
    store: String,
    /// Nothing: no backup was completed yet.
    complete: Option<Complete>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    made: Timestamp,
    by: String,
    origin: String,
    leaves: u64,
    root: String,
    state: String,
    config: BTreeMap<String, String>,
}

/// Copies the store into `to`, which is empty, not there, or an earlier backup of the same store.
///
/// Durable on return. What is in the way of single files is in the result, and all others are copied.
///
/// # Errors
/// `Differs` if the log does not go on from the one that was backed up: nothing was changed then. `OtherStore`,
/// `NotABackup`, or what the file system says.
pub fn copy_store(
    settings: &CopySettings<'_>,
    to: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<BackupFacts, BackupError> {
    check_apart(settings.data, to)?;
    durable::create_directories(to).map_err(|source| failed("make", to, source))?;
    check_owner(to)?;
    let known = read_facts(to)?;
    let _lock = home::take_lock(to).map_err(BackupError::Home)?;
    if let Some(known) = &known
        && known.store != settings.state.store
    {
        return Err(BackupError::OtherStore { found: known.store.clone(), expected: settings.state.store.clone() });
    }
    let compare = if settings.quick { Compare::Lengths } else { Compare::Bytes };
    let mut place = Place::new(to, compare);
    let log = settings.data.join("log");
    let history = History::open(&log, &settings.key, settings.size, progress)?;
    history.check_goes_on(&place, &settings.key)?;
    if known.is_none() {
        write_facts(to, &Facts { format: FORMAT, store: settings.state.store.clone(), complete: None })?;
    }
    let all = standings(history.reader(), settings.size, |_| {}).map_err(BackupError::Log)?;
    for part in ["rec", "env"] {
        place.at(&format!("{part}/x"))?;
        durable::create_directories(&to.join(part)).map_err(|source| failed("make", to, source))?;
    }
    let mut copying = Copying {
        from: StoreRoot::at(settings.data),
        to: StoreRoot::at(Path::new("")),
        place: &mut place,
        missing: Vec::new(),
        differing: Vec::new(),
        kept: 0,
        pruned: 0,
        prune: settings.prune,
    };
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    for (done, (session, standing)) in (1..).zip(&all) {
        copying.session(session, standing)?;
        progress(Step::Sessions { done, total });
    }
    copying.policies()?;
    let Copying { missing, differing, kept, pruned, .. } = copying;
    place.flush()?;
    history.copy(&mut place, &settings.journal)?;
    place.replace("state.age", &settings.state.bytes)?;
    place.flush()?;
    if let Some(keep) = settings.keep {
        keep_states(&mut place, settings, keep)?;
    }
    write_config(to, &settings.config)?;
    let (origin, root) = (history.checkpoint.origin.to_string(), history.checkpoint.root.to_string());
    let config = settings.config.iter().map(|(path, bytes)| (path.clone(), sha256_hex(bytes))).collect();
    let (leaves, state) = (settings.size, settings.state.hash.clone());
    let by = format!("doorward {}", env!("CARGO_PKG_VERSION"));
    let complete = Complete { made: settings.now, by, origin, leaves, root: root.clone(), state, config };
    write_facts(to, &Facts { format: FORMAT, store: settings.state.store.clone(), complete: Some(complete) })?;
    Ok(BackupFacts {
        leaves,
        root,
        sessions: total,
        state_hash: settings.state.hash.clone(),
        copied: place.copied,
        destroyed_kept: kept,
        destroyed_pruned: pruned,
        missing,
        differing,
    })
}

/// Where the states of earlier backups are.
const STATES: &str = "states";

/// Keeps this state and those before it, the newest ones.
fn keep_states(place: &mut Place, settings: &CopySettings<'_>, keep: usize) -> Result<(), BackupError> {
    // By the size of the log, which never shrinks: a clock that was wrong for a while removes none too early.
    let day: String = settings.now.to_string().chars().take_while(|c| *c != 'T').collect();
    place.put(&format!("{STATES}/{:012}-{day}.age", settings.size), &settings.state.bytes)?;
    place.flush()?;
    let kept: Vec<String> = place.names(STATES)?.into_iter().filter(|name| name.ends_with(".age")).collect();
    for name in kept.iter().rev().skip(keep) {
        place.remove(&format!("{STATES}/{name}"))?;
    }
    Ok(())
}

/// When the backup in that place was completed last.
///
/// # Errors
/// `NoBackup` if there is none, or `NotABackup`, or what the file system says.
pub fn completed(to: &Path) -> Result<Timestamp, BackupError> {
    let complete = read_facts(to)?.and_then(|facts| facts.complete);
    complete.map(|complete| complete.made).ok_or_else(|| BackupError::NoBackup { path: to.to_owned() })
}

/// Whether a store can be copied to that place, as far as it tells without the state.
///
/// # Errors
/// `Within`, `NotABackup`, or what the file system says.
pub fn check_place(data: &Path, to: &Path) -> Result<(), BackupError> {
    check_apart(data, to)?;
    check_owner(to)?;
    read_facts(to).map(drop)
}

/// Whoever owns the directory could have a file of ours written, or secrets land elsewhere, by what he puts in it.
fn check_owner(to: &Path) -> Result<(), BackupError> {
    let found = match std::fs::metadata(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|source| failed("read", to, source))?,
    };
    let refused = |why| Err(BackupError::NotOurs { path: to.to_owned(), why });
    let (owner, ours) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner != ours && owner != 0 {
        return refused(format!("it belongs to uid {owner}, and this is uid {ours}"));
    }
    if found.mode() & 0o002 != 0 {
        return refused("everybody may write in it".to_owned());
    }
    Ok(())
}

/// One of both in the other would grow with each backup, or be destroyed with it.
fn check_apart(data: &Path, to: &Path) -> Result<(), BackupError> {
    let real = |path: &Path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let known = absolute.ancestors().find_map(|part| part.canonicalize().ok().map(|real| (part.to_owned(), real)));
        known.map_or(absolute.clone(), |(part, real)| {
            absolute.strip_prefix(&part).map_or(real.clone(), |rest| real.join(rest))
        })
    };
    let (data, to) = (real(data), real(to));
    if to.starts_with(&data) || data.starts_with(&to) {
        return Err(BackupError::Within { path: to });
    }
    Ok(())
}

/// `None` if no backup was made there yet, and nothing else is there.
fn read_facts(to: &Path) -> Result<Option<Facts>, BackupError> {
    let path = to.join(FACTS);
    let wrong = |why: String| BackupError::NotABackup { path: to.to_owned(), why };
    if !to.exists() {
        return Ok(None);
    }
    if let Some(bytes) = read_plain(&path, JSON_BYTES_MAX)? {
        let facts: Facts = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("`{FACTS}`: {error}")))?;
        if facts.format != FORMAT {
            return Err(wrong(format!("its format {} is not known", facts.format)));
        }
        return Ok(Some(facts));
    }
    for entry in std::fs::read_dir(to).map_err(|source| failed("read", to, source))? {
        let name = entry.map_err(|source| failed("read", to, source))?.file_name();
        // A crash may leave the lock alone, and a disk of its own has this directory.
        if name != "LOCK" && name != "lost+found" {
            return Err(wrong(format!("it holds `{}`", name.to_string_lossy())));
        }
    }
    Ok(None)
}

fn write_facts(to: &Path, facts: &Facts) -> Result<(), BackupError> {
    let path = to.join(FACTS);
    let mut text = serde_json::to_vec_pretty(facts)
        .map_err(|error| BackupError::NotABackup { path: to.to_owned(), why: error.to_string() })?;
    text.push(b'\n');
    durable::replace(&path, &text, 0o600).map_err(|source| failed("write", &path, source))
}

/// Puts the configuration there, whole: a rule that was taken away must not be there when it is restored.
fn write_config(to: &Path, config: &BTreeMap<String, Vec<u8>>) -> Result<(), BackupError> {
    let (new, place) = (to.join("config.new"), to.join("config"));
    let clear = |path: &Path| durable::remove_directory(path).map_err(|source| failed("remove", path, source));
    clear(&new)?;
    durable::create_directories(&new).map_err(|source| failed("make", &new, source))?;
    for (name, bytes) in config {
        let path = new.join(name);
        let parent = path.parent().unwrap_or(&new);
        durable::create_directories(parent)
            .and_then(|()| durable::create_new(&path, bytes, 0o600))
            .map_err(|source| failed("write", &path, source))?;
    }
    clear(&place)?;
    std::fs::rename(&new, &place)
        .and_then(|()| durable::sync_parent(&place))
        .map_err(|source| failed("write", &place, source))
}

struct Copying<'a> {
    from: StoreRoot,
    /// Its paths are names in the backup.
    to: StoreRoot,
    place: &'a mut Place,
    missing: Vec<String>,
    differing: Vec<String>,
    kept: u64,
    pruned: u64,
    prune: bool,
}

impl Copying<'_> {
    fn session(&mut self, session: &SessionId, standing: &Standing) -> Result<(), BackupError> {
        let (Some(from), Some(to)) = (self.from.session_directory(session), self.to.session_directory(session)) else {
            return Ok(());
        };
        let to = to.display().to_string();
        let envelope = self.to.envelope(session).display().to_string();
        let rewraps = self.to.rewraps_of(session).display().to_string();
        if standing.expired {
            return self.destroyed(&[envelope, rewraps, to]);
        }
        if standing.erased {
            // How its envelopes came to be stays, as it does in the store: verify asks for it.
            let earlier = self.place.names(&rewraps)?.into_iter().filter(|name| name.ends_with(".age"));
            let earlier = earlier.map(|name| format!("{rewraps}/{name}"));
            let opened = format!("{to}/opened.json");
            self.destroyed(&earlier.chain([envelope.clone(), opened]).collect::<Vec<_>>())?;
        }
        if !standing.began && !from.is_dir() {
            // It never began; nothing of it need be there.
            return Ok(());
        }
        let outcome = self.files(&from, &to, standing);
        self.note(outcome)?;
        if standing.began && !standing.erased {
            let outcome = self.envelope(session, &envelope, standing.envelope);
            self.note(outcome)?;
        }
        if standing.began {
            self.rewraps(session, &rewraps, standing.erased)?;
        }
        Ok(())
    }

    /// How the envelope came to be, and, unless they are destroyed, the envelopes before it; each file is made once.
    fn rewraps(&mut self, session: &SessionId, to: &str, erased: bool) -> Result<(), BackupError> {
        let from = self.from.rewraps_of(session);
        let found = match names(&from) {
            Err(BackupError::Gone { .. }) => Vec::new(),
            found => found?,
        };
        let most = u64::try_from(ENVELOPE_BYTES_MAX).unwrap_or(u64::MAX);
        // What is under way is not done yet.
        let left_out = |name: &String| name.starts_with("next") || erased && name.ends_with(".age");
        self.put_all(&from, to, found.into_iter().filter(|name| !left_out(name)), most)
    }

    /// The policy sets that were in force, by their hashes.
    fn policies(&mut self) -> Result<(), BackupError> {
        let (from, to) = (self.from.policies().to_owned(), self.to.policies().display().to_string());
        let most = u64::try_from(ARCHIVE_BYTES_MAX).unwrap_or(u64::MAX);
        let found = match names(&from) {
            Err(BackupError::Gone { .. }) => Vec::new(),
            found => found?,
        };
        self.put_all(&from, &to, found.into_iter().filter(|name| !name.ends_with(".new")), most)
    }

    fn put_all(
        &mut self,
        from: &Path,
        to: &str,
        names: impl Iterator<Item = String>,
        most: u64,
    ) -> Result<(), BackupError> {
        for name in names {
            let path = from.join(&name);
            let copied = match read_plain(&path, most)? {
                Some(bytes) => self.place.put(&format!("{to}/{name}"), &bytes),
                None => Err(BackupError::Gone { path }),
            };
            self.note(copied)?;
        }
        Ok(())
    }

    /// The log says that these parts of a recording are destroyed.
    fn destroyed(&mut self, names: &[String]) -> Result<(), BackupError> {
        let mut there = false;
        for name in names {
            there |= self.place.has(name)?;
        }
        if !there {
            return Ok(());
        }
        if self.prune {
            for name in names {
                self.place.remove(name)?;
            }
            self.pruned = self.pruned.saturating_add(1);
        } else {
            self.kept = self.kept.saturating_add(1);
        }
        Ok(())
    }

    /// One file's trouble must not keep the others from being copied.
    fn note(&mut self, outcome: Result<(), BackupError>) -> Result<(), BackupError> {
        let told = match outcome {
            Err(error @ BackupError::Gone { .. }) => (&mut self.missing, error),
            Err(error @ BackupError::Differs { .. }) => (&mut self.differing, error),
            outcome => return outcome,
        };
        let (list, error) = told;
        if list.len() < PROBLEMS_MAX {
            list.push(error.to_string());
        }
        Ok(())
    }

    fn files(&mut self, from: &Path, to: &str, standing: &Standing) -> Result<(), BackupError> {
        let ending = standing.ended.map(|ended| match ended {
            EndedBy::Closed => "closed.json",
            EndedBy::Recovered => "recovered.json",
        });
        let mut first = Ok(());
        for (channel, segments) in channels(from)? {
            let last = segments.len().saturating_sub(1);
            for (at, name) in segments.iter().enumerate() {
                let grows = ending.is_none() && at == last;
                let source = from.join(&channel).join(name);
                let copied = self.place.append(&source, &format!("{to}/{channel}/{name}"), grows);
                first = keep_first(first, copied)?;
            }
        }
        let opened = (!standing.erased).then_some("opened.json");
        for name in opened.into_iter().chain(ending) {
            let path = from.join(name);
            let copied = match read_plain(&path, JSON_BYTES_MAX)? {
                Some(bytes) => self.place.put(&format!("{to}/{name}"), &bytes),
                None if name == "opened.json" && !standing.began => Ok(()),
                None => Err(BackupError::Gone { path }),
            };
            first = keep_first(first, copied)?;
        }
        first
    }

    /// The one file that may be another one later, if the log says so.
    fn envelope(&mut self, session: &SessionId, name: &str, hash: Option<[u8; 32]>) -> Result<(), BackupError> {
        let path = self.from.envelope(session);
        let most = u64::try_from(ENVELOPE_BYTES_MAX).unwrap_or(u64::MAX);
        let bytes = read_plain(&path, most)?.ok_or_else(|| BackupError::Gone { path: path.clone() })?;
        let is = |bytes: &[u8]| hash.is_some_and(|hash| digest(&SHA256, bytes).as_ref() == hash);
        if !is(&bytes) {
            let why = "the store's has not the hash that the log has";
            return Err(BackupError::Differs { path, why });
        }
        match read_plain(&self.place.at(name)?, most)? {
            Some(old) if old != bytes => self.place.replace(name, &bytes),
            Some(_) | None => self.place.put(name, &bytes),
        }
    }
}

/// What can be told of one file is, and the others go on; anything else ends the backup.
fn keep_first(
    first: Result<(), BackupError>,
    next: Result<(), BackupError>,
) -> Result<Result<(), BackupError>, BackupError> {
    match next {
        Err(BackupError::Gone { .. } | BackupError::Differs { .. }) if first.is_ok() => Ok(next),
        Ok(()) | Err(BackupError::Gone { .. } | BackupError::Differs { .. }) => Ok(first),
        Err(error) => Err(error),
    }
}

/// The channels of a recording and their segments, by name. What else lies there is no part of it.
fn channels(directory: &Path) -> Result<Vec<(String, Vec<String>)>, BackupError> {
    let mut channels = Vec::new();
    for name in names(directory)? {
        let number = name.parse::<u32>().is_ok_and(|number| number.to_string() == name);
        if !number || !directory.join(&name).symlink_metadata().is_ok_and(|found| found.is_dir()) {
            continue;
        }
        let mut segments = names(&directory.join(&name))?;
        segments.retain(|segment| {
            let stem = segment.strip_suffix(".seg").and_then(|stem| stem.parse::<u32>().ok());
            stem.is_some_and(|number| format!("{number:06}.seg") == *segment)
        });
        channels.push((name, segments));
    }
    Ok(channels)
}
