//! What is there after the power was cut, held against what was acknowledged before.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use doorward::cast::Entry;
use doorward::clock::Clock;
use doorward::db::{Db, MasterKey};
use doorward::log::{Log, LogSettings, Reader};
use doorward::model::SessionId;
use doorward::store::{Catalog, Disk, LocalDisk, PlainRecording, recover};
use doorward::verify::{Kept, Settings, Verdict};
use serde_json::{Value, json};

use super::program::{AUDITOR, Acknowledged, MASTER_KEY, STORE_ID, identity};
use crate::verify::store::{Store, leaf, log_key, pinned};

/// What something is that was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    State,
    Leaf,
    Checkpoint,
    Session,
    Record,
    Closed,
    Sled,
}

/// Something that was acknowledged and is not there.
pub struct Lost {
    pub kind: Kind,
    pub what: String,
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// What of `acknowledged` is not in `folder/disk`. Recovers the store there, as the next start does.
pub fn lost(folder: &Path, acknowledged: &Acknowledged) -> Vec<Lost> {
    let store = Store::at(&folder.join("disk"), identity(&folder.join(AUDITOR)));
    let mut lost = state(folder, acknowledged).err().into_iter().flatten().collect::<Vec<_>>();
    lost.extend(log_and_recordings(&store, acknowledged));
    lost.extend(sled_alone(&folder.join("disk/sled"), acknowledged));
    lost
}

fn state(folder: &Path, acknowledged: &Acknowledged) -> Result<(), Vec<Lost>> {
    let failed = |error: &dyn Error| vec![Lost { kind: Kind::State, what: format!("all: {}", chain(error)) }];
    let master = MasterKey::load(&folder.join(MASTER_KEY)).unwrap();
    let db = Db::open(&folder.join("disk/state"), STORE_ID, master).map_err(|error| failed(&error))?;
    let table = db.table::<(u64, String)>("powercut");
    let found: BTreeMap<String, u64> =
        table.list("").map_err(|error| failed(&error))?.into_iter().map(|(key, _, (n, _))| (key, n)).collect();
    let missing = acknowledged.state.iter().filter(|(key, n)| found.get(*key).is_none_or(|found| found < n));
    let lost: Vec<Lost> = missing
        .map(|(key, n)| Lost { kind: Kind::State, what: format!("{key} = {n}, there is {:?}", found.get(key)) })
        .collect();
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

fn log_and_recordings(store: &Store, acknowledged: &Acknowledged) -> Vec<Lost> {
    let (directory, node) = (store.path().join("log"), String::from("bastion"));
    let settings = LogSettings { directory, node, key: log_key(), clock: Clock::system(), floor: None };
    let mut lost = Vec::new();
    match Log::open(settings) {
        Ok(opened) => {
            lost.extend(recordings(store, &opened.log, acknowledged));
            opened.log.publish().unwrap();
            lost.extend(leaves(store, acknowledged));
            lost.extend(checkpoints(store, acknowledged));
        }
        Err(error) => {
            let kinds = [Kind::Leaf, Kind::Checkpoint];
            lost.extend(kinds.map(|kind| Lost { kind, what: format!("all: {}", chain(&error)) }));
        }
    }
    lost
}

fn leaves(store: &Store, acknowledged: &Acknowledged) -> Vec<Lost> {
    let found: Vec<Value> = store.entries().iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect();
    let at = |index: u64| found.get(index as usize).map(|leaf| &leaf["n"]);
    let missing = acknowledged.leaves.iter().filter(|(index, n)| at(**index) != Some(&json!(n)));
    missing.map(|(index, n)| Lost { kind: Kind::Leaf, what: format!("{index}, which holds {n}") }).collect()
}

/// Each checkpoint that was published is still one of this log's beginnings.
fn checkpoints(store: &Store, acknowledged: &Acknowledged) -> Vec<Lost> {
    let kept = acknowledged.checkpoints.iter().map(|note| Kept {
        from: String::from("before"),
        note: note.clone(),
        witness: None,
    });
    let settings = Settings { key: pinned(), kept: kept.collect(), ..Settings::default() };
    let report = store.verify_with(&settings);
    let wrong = report.log.findings.iter();
    wrong.map(|finding| Lost { kind: Kind::Checkpoint, what: format!("{finding:?}") }).collect()
}

/// Recovers, then looks for each session, verifies it and reads it.
fn recordings(store: &Store, log: &Log, acknowledged: &Acknowledged) -> Vec<Lost> {
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
    let size = log.published().map_or(0, |checkpoint| checkpoint.size);
    let reader = Reader::open(&store.path().join("log"));
    let seen = |sessions: &BTreeSet<SessionId>| Some(doorward::verify::seen(&reader, size, sessions).unwrap());
    let report = recover(&store.root(), &disk, Clock::system().now(), seen, |recovery| {
        let fields = json!({ "session": recovery.session, "recovered": recovery.recovered });
        log.append(leaf("session.recovered", fields)).is_ok()
    });
    log.publish().unwrap();
    let verified = store.verify();
    let mut lost = Vec::new();
    for id in &acknowledged.sessions {
        let told = verified.sessions.iter().find(|session| session.session == *id);
        let verdict = told.map(|session| session.verdict);
        let (kind, good) = if acknowledged.closed.contains(id) {
            (Kind::Closed, verdict == Some(Verdict::OkUnanchored))
        } else {
            // It may have been closed, and the power cut before that was acknowledged.
            (Kind::Session, matches!(verdict, Some(Verdict::OkUnanchored | Verdict::Interrupted)))
        };
        if !good {
            lost.push(Lost { kind, what: format!("{id}: {told:?}, recovery {report:?}") });
            // Those kinds go together: what is closed was a session first.
            lost.push(Lost { kind: Kind::Session, what: id.to_string() });
        }
        if let Some(last) = acknowledged.records.get(id) {
            let shown = shown(store, id).unwrap_or_else(|error| error);
            let missing = (0..=*last).filter(|n| !shown.contains(&format!("<{id}/{n}>")));
            lost.extend(missing.map(|n| Lost { kind: Kind::Record, what: format!("{id}/{n}") }));
        }
    }
    // What is there beyond what was acknowledged is sound too: nothing looks like an attack.
    for session in &verified.sessions {
        if matches!(session.verdict, Verdict::Tampered | Verdict::Missing) {
            lost.push(Lost { kind: Kind::Session, what: format!("{session:?}") });
        }
    }
    lost
}

/// All output of a session's first channel, as far as it can be read.
fn shown(store: &Store, id: &SessionId) -> Result<String, String> {
    let stored = Catalog::new(store.root()).open(id).map_err(|error| chain(&error))?;
    let plain = PlainRecording::open(&store.root(), stored, std::slice::from_ref(&store.auditor));
    let plain = plain.map_err(|error| chain(&error))?;
    let mut shown = Vec::new();
    for channel in plain.channels.iter().filter(|channel| channel.number.0 == 1) {
        for timed in channel.events().flatten() {
            if let Entry::Output { bytes, .. } = timed.entry {
                shown.extend_from_slice(&bytes);
            }
        }
    }
    Ok(String::from_utf8_lossy(&shown).into_owned())
}

fn sled_alone(directory: &Path, acknowledged: &Acknowledged) -> Vec<Lost> {
    if acknowledged.sled.is_empty() {
        return Vec::new();
    }
    let found = sled::open(directory).ok();
    let there = |n: u64| found.as_ref().is_some_and(|db| db.get(format!("{n}")).is_ok_and(|value| value.is_some()));
    let missing = acknowledged.sled.iter().filter(|n| !there(**n));
    missing.map(|n| Lost { kind: Kind::Sled, what: n.to_string() }).collect()
}

fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
