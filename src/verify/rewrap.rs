//! Whether a session's envelope is the one that the log names, by an unbroken row of changes of which each was signed
//! by one who could open the envelope before.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, FileError};
use super::leaf::{Sha256, bytes};
use super::report::Findings;
use super::segment::sha256;
use super::session::{JSON_BYTES_MAX, place_of};
use crate::model::SessionId;
use crate::seal::{ENVELOPE_BYTES_MAX, Recipients, Statement};
use crate::store::{Opening, Rewrapped, StoreRoot, hex, record_name};

/// What the log says of a session's envelopes.
#[derive(Debug, Clone, Default)]
pub(super) struct Envelopes {
    /// The first one's hash, with which the session began.
    pub(super) first: Option<Sha256>,
    /// Those that took its place, in the order of their leaves.
    pub(super) later: Vec<Later>,
}

/// What a leaf says of an envelope that was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Later {
    pub(super) leaf: u64,
    pub(super) envelope: Sha256,
    pub(super) recipients: [u8; 8],
    /// The hash of the record of the change.
    pub(super) record: Sha256,
}

/// What there is of an envelope.
pub(super) enum Envelope {
    Good,
    Absent,
    Changed(String),
    Unreadable(String),
}

impl Envelopes {
    /// A change that a start finished after a crash may have two leaves, which say the same.
    pub(super) fn add(&mut self, later: Later) {
        let same = |last: &Later| {
            (last.envelope, last.recipients, last.record) == (later.envelope, later.recipients, later.record)
        };
        if !self.later.last().is_some_and(same) {
            self.later.push(later);
        }
    }

    /// The hash that the present one must have.
    pub(super) fn present(&self) -> Option<Sha256> {
        self.later.last().map(|last| last.envelope).or(self.first)
    }

    fn knows(&self, hash: &Sha256) -> bool {
        self.first.as_ref() == Some(hash) || self.later.iter().any(|later| later.envelope == *hash)
    }
}

/// What was found of a session's envelopes.
pub(super) struct Found {
    pub(super) present: Envelope,
    /// Where envelopes lie beside the present one that the log knows, from the state directory on.
    pub(super) kept: Vec<String>,
    pub(super) findings: Findings,
    pub(super) notes: Vec<String>,
}

/// Judges the envelopes of a session in a state directory or a bundle.
pub(super) fn judge(store: &Path, root: &StoreRoot, session: &SessionId, envelopes: &Envelopes) -> Found {
    let mut judge = Judge {
        store,
        root,
        session,
        envelopes,
        present: Presence::Absent,
        pending: None,
        records: BTreeMap::new(),
        kept: Vec::new(),
        found: Found { present: Envelope::Absent, kept: Vec::new(), findings: Findings::default(), notes: Vec::new() },
    };
    judge.present = judge.read_present();
    judge.list();
    judge.changes();
    judge.conclude();
    judge.found
}

/// The file in the place of the envelope.
enum Presence {
    Hash(Sha256),
    Absent,
    Bad(String),
    Unreadable(String),
}

struct Judge<'a> {
    store: &'a Path,
    root: &'a StoreRoot,
    session: &'a SessionId,
    envelopes: &'a Envelopes,
    present: Presence,
    /// The hash of `next.json`, and its content.
    pending: Option<(Sha256, Vec<u8>)>,
    /// The records, by their names.
    records: BTreeMap<String, Vec<u8>>,
    /// The hashes of the envelopes that are kept.
    kept: Vec<Sha256>,
    found: Found,
}

impl Judge<'_> {
    fn read_present(&self) -> Presence {
        match files::read(&self.root.envelope(self.session), envelope_bytes_max()) {
            Ok(bytes) => Presence::Hash(sha256(&bytes)),
            Err(FileError::Absent) => Presence::Absent,
            Err(error) if error.is_unreadable() => Presence::Unreadable(error.to_string()),
            Err(error) => Presence::Bad(error.to_string()),
        }
    }

    fn add(&mut self, name: &str, why: impl Into<String>) {
        let place = place_of(self.store, &self.root.rewraps_of(self.session).join(name));
        self.found.findings.add(place, why);
    }

    /// Reads what lies beside: records, envelopes that are kept, a change under way.
    fn list(&mut self) {
        let directory = self.root.rewraps_of(self.session);
        let names = match files::list(&directory) {
            Ok(names) => names,
            Err(error) => return self.add("", error.to_string()),
        };
        for (name, _) in names {
            let name = name.to_string_lossy().into_owned();
            let path = directory.join(&name);
            let read = |most| files::read(&path, most).map_err(|error| error.to_string());
            let hash = |stem: Option<&str>| stem.and_then(|stem| bytes::<32>(stem).ok());
            let outcome = if name == "next.json" {
                read(JSON_BYTES_MAX).map(|bytes| self.pending = Some((sha256(&bytes), bytes)))
            } else if hash(name.strip_suffix(".json")).is_some() {
                read(JSON_BYTES_MAX).map(|bytes| drop(self.records.insert(name.clone(), bytes)))
            } else if let Some(hash) = hash(name.strip_suffix(".age")) {
                read(envelope_bytes_max()).and_then(|bytes| {
                    self.kept.push(hash);
                    let same = sha256(&bytes) == hash;
                    same.then_some(()).ok_or_else(|| String::from("it does not have the hash that is its name"))
                })
            } else if name.ends_with(".new") {
                self.found.notes.push(format!("`{name}` is what an interrupted write left, and was not looked at"));
                Ok(())
            } else {
                Err(String::from("it is not a part of the recording"))
            };
            if let Err(why) = outcome {
                self.add(&name, why);
            }
        }
    }

    /// Follows the changes from the first envelope to the present one.
    fn changes(&mut self) {
        let later = self.envelopes.later.clone();
        let mut before = self.envelopes.first;
        for change in &later {
            let name = record_name(&hex(&change.envelope));
            let pending =
                self.pending.as_ref().filter(|(hash, _)| *hash == change.record).map(|(_, bytes)| bytes.clone());
            match self.records.remove(&name).or(pending) {
                Some(record) if sha256(&record) == change.record => {
                    if let Err(why) = self.change(&record, before, change) {
                        self.add(&name, why);
                    }
                }
                Some(_) => self.add(&name, "it does not have the hash that the log has"),
                None => self.add(&name, format!("it is missing, and leaf {} says that it was written", change.leaf)),
            }
            before = Some(change.envelope);
        }
        for name in std::mem::take(&mut self.records).into_keys() {
            self.add(&name, "the log has no trace of it");
        }
    }

    /// Whether a record fits its leaf, and was signed by one who could open the envelope before.
    fn change(&self, record: &[u8], before: Option<Sha256>, change: &Later) -> Result<(), String> {
        let record: Rewrapped = serde_json::from_slice(record)
            .map_err(|error| format!("it is not what this version of Doorward writes: {error}"))?;
        let recipients = Recipients::of(record.recipients.iter().cloned()).map(|recipients| recipients.digest());
        let before = before.ok_or("there was no envelope before")?;
        let fits = record.format == Rewrapped::FORMAT
            && record.session == *self.session
            && bytes(&record.before) == Ok(before)
            && bytes(&record.envelope) == Ok(change.envelope)
            && recipients == Some(change.recipients);
        if !fits {
            return Err(String::from("it is about another change than its leaf"));
        }
        let statement = Statement::Rewrapped { before, after: change.envelope, recipients: change.recipients };
        // What was erased has no names any more, nor the key that stands beside them; what nobody erased is missing.
        let opened = self.root.session_directory(self.session).map(|directory| directory.join("opened.json"));
        if matches!(self.present, Presence::Absent) && opened.is_some_and(|path| path.symlink_metadata().is_err()) {
            return Ok(());
        }
        let signed = self.opening().and_then(|opening| opening.opener_key).zip(self.session.to_bytes());
        match signed {
            Some((key, session)) if key.has_signed(&session, &statement, &record.proof) => Ok(()),
            Some(_) | None => Err(String::from(
                "nobody who could open the envelope before has signed it: what took its place may open nothing",
            )),
        }
    }

    /// Its hash was checked against the log.
    fn opening(&self) -> Option<Opening> {
        let directory = self.root.session_directory(self.session)?;
        serde_json::from_slice(&files::read(&directory.join("opened.json"), JSON_BYTES_MAX).ok()?).ok()
    }

    fn conclude(&mut self) {
        let expected = self.envelopes.present();
        let pending = self.pending.as_ref().map(|(hash, _)| *hash);
        let on_record = self.envelopes.later.last().is_some_and(|last| Some(last.record) == pending);
        if pending.is_some() {
            let next = if on_record { "is on record" } else { "is not on record" };
            self.found.notes.push(format!(
                "a change of its envelope was interrupted, and {next}: the next start of the bastion finishes it"
            ));
        }
        for hash in std::mem::take(&mut self.kept) {
            if self.envelopes.knows(&hash) {
                let path = self.root.rewraps_of(self.session).join(format!("{}.age", hex(&hash)));
                self.found.kept.push(place_of(self.store, &path));
            }
            if !self.envelopes.knows(&hash) && pending.is_none() {
                self.found.notes.push(format!("the envelope `{}.age` was never put on record", hex(&hash)));
            } else if Some(hash) == expected && on_record && self.before_last() {
                self.found.present = Envelope::Good;
            }
        }
        if let Envelope::Good = self.found.present {
            return;
        }
        self.found.present = match &self.present {
            Presence::Hash(hash) if Some(*hash) == expected => Envelope::Good,
            Presence::Hash(_) => Envelope::Changed(String::from("it does not have the hash that the log has")),
            Presence::Absent => Envelope::Absent,
            Presence::Bad(why) => Envelope::Changed(why.clone()),
            Presence::Unreadable(why) => Envelope::Unreadable(why.clone()),
        };
    }

    /// Whether the envelope in place is the one before the last change.
    fn before_last(&self) -> bool {
        let later = &self.envelopes.later;
        let before = later.len().checked_sub(2).and_then(|at| later.get(at)).map(|later| later.envelope);
        let before = if later.len() < 2 { self.envelopes.first } else { before };
        matches!(&self.present, Presence::Hash(hash) if Some(*hash) == before)
    }
}

fn envelope_bytes_max() -> u64 {
    u64::try_from(ENVELOPE_BYTES_MAX).unwrap_or(u64::MAX)
}
