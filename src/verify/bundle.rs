//! An evidence bundle: one recording with all that shows that it is what was recorded, for a machine that has never
//! seen the bastion.
//!
//! ```text
//! README.txt                           what this is, in plain words
//! rec/<day>/<session>/                 the recording as the bastion keeps it: opened.json, segments, closed.json
//! env/<session>.age                    its key, sealed for its auditors
//! env/rewrapped/<session>/<hash>.json  where it was sealed for others later: for whom, and by whose proof
//! policies/<hash>                      the policy set by which the session was let in
//! proofs/<leaf>.json                   the log's leaves that speak of it, byte by byte
//! proofs/<leaf>.tlog-proof             for each, that it is in the log: <https://c2sp.org/tlog-proof>
//! checkpoint                           the log's signed checkpoint that the proofs lead to
//! vkey                                 the log's key: a hint only, for whoever made the bundle could put another
//! channel-<n>.cast                     what each channel showed, opened: asciicast v3
//! coverage.json                        what the recording holds, and what it does not
//! ```
//!
//! A bastion hands out no more than what is sealed: then there are no casts, and no coverage.json.
//!
//! Each byte of it is bound: files to leaves by their hashes, leaves to the checkpoint, casts to the segments by who
//! has an identity, the rest by being made again. But for what stands in a segment that was given up behind where a
//! `segment.suspect` leaf says that it is good: that is a part of the file and not of the recording.

mod plan;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::coverage::coverage;
use super::files;
use super::history;
use super::leaf::{Event, Leaf, Sha256};
use super::pass::{Found, began_at};
use super::policies;
use super::report::{Findings, KeyOrigin, Verdict, WitnessAnchor};
use super::rewrap::{self, Envelope, Envelopes, Later};
use super::segment::CHUNK_BYTES;
use super::session::{Ending, Facts, Outcome, Start, judge, place_of};
use super::{Settings, explain};
use crate::model::{ChannelNumber, SessionId};
use crate::store::{Closed, Opening, Recovered, StoreRoot, hex};
use crate::tlog::{Algorithm, EntryProof, NOTE_BYTES_MAX, Note, VerifyingKey};

use plan::readme;
pub use plan::{BundleError, Content, Part, Plan, open_part, plan};

/// The name of the file with the log's key.
pub const KEY_FILE: &str = "vkey";
/// The name of the file that says what the recording holds.
pub const COVERAGE: &str = "coverage.json";
/// A small file of a bundle has at most so many bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A session is put on record at most so long after its id was made, in milliseconds; the clock may be set in between.
const APART_MS_MAX: i64 = 10 * 60 * 1000;
/// A cast may have so many bytes whatever the recording holds.
const CAST_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// So much longer than what went by in a channel can its cast be: a byte may be an event of its own.
const CAST_BYTES_PER_BYTE: u64 = 64;
/// So much longer than a channel's segments can be what they hold, if all that went by was counted, and if not.
const CAST_BYTES_PER_SEALED: [u64; 2] = [4096, 65_536];
/// More leaves of one session are not read.
const LEAVES_MAX: usize = 1_000_000;

/// A bundle that was read.
#[derive(Debug)]
pub struct Bundle {
    /// The session.
    pub session: SessionId,
    /// Its facts.
    pub opening: Opening,
    /// Its end, if it ended as a session does.
    pub closed: Option<Closed>,
}

/// What is said of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleReport {
    /// The session, if there is one.
    pub session: Option<SessionId>,
    /// The verdict on the recording.
    #[serde(rename = "recording")]
    pub verdict: Verdict,
    /// Where the key came from.
    pub key_from: KeyOrigin,
    /// The log's name.
    pub origin: Option<String>,
    /// How many leaves its checkpoint covers.
    pub size: u64,
    /// Witnesses that cosigned.
    pub witnesses: Vec<WitnessAnchor>,
    /// How many were demanded.
    pub required_witnesses: usize,
    /// Whether it holds casts: what each channel showed, as whoever made the bundle says.
    pub casts: bool,
    /// Whether the casts were compared with what the segments hold.
    pub casts_compared: bool,
    /// What is wrong.
    pub findings: Findings,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl BundleReport {
    /// Notes something wrong.
    pub fn found(&mut self, place: impl Into<String>, why: impl Into<String>) {
        self.findings.add(place, why);
        self.verdict = Verdict::Tampered;
    }

    /// Whether it holds casts that nothing vouches for.
    pub fn casts_unchecked(&self) -> bool {
        self.casts && !self.casts_compared
    }

    /// What is said of all of it, in one word or two.
    pub fn outcome(&self) -> &'static str {
        match self.exit_code() {
            5 => Verdict::Tampered.name(),
            6 if self.key_from == KeyOrigin::Beside => "UNPINNED",
            6 if self.casts_unchecked() => "CASTS UNCHECKED",
            6 => "UNANCHORED",
            _ => self.verdict.name(),
        }
    }

    /// 0 if all is well; 5 if anything was altered or is missing, else 6 if the key is not pinned, there are casts that
    /// were not compared, or witnesses are demanded and missing; else 3 if the session was interrupted.
    pub fn exit_code(&self) -> u8 {
        if !self.findings.is_empty() {
            5
        } else if self.key_from == KeyOrigin::Beside
            || self.casts_unchecked()
            || self.witnesses.len() < self.required_witnesses
        {
            6
        } else if self.verdict == Verdict::Interrupted {
            3
        } else {
            0
        }
    }
}

/// Verifies a bundle, but for whether the casts are what the segments hold: that takes an identity.
///
/// Of the settings, `key`, `witnesses` and `require_witnesses` count.
pub fn verify_bundle(directory: &Path, settings: &Settings) -> (BundleReport, Option<Bundle>) {
    let report = BundleReport {
        session: None,
        verdict: Verdict::OkUnanchored,
        key_from: if settings.key.is_some() { KeyOrigin::Pinned } else { KeyOrigin::Beside },
        origin: None,
        size: 0,
        witnesses: Vec::new(),
        required_witnesses: settings.require_witnesses,
        casts: false,
        casts_compared: false,
        findings: Findings::default(),
        notes: Vec::new(),
    };
    let mut reading = Reading {
        directory,
        settings,
        report,
        facts: Facts::default(),
        envelopes: Envelopes::default(),
        policy: None,
        empty: Vec::new(),
    };
    let bundle = reading.run();
    (reading.report, bundle)
}

struct Reading<'a> {
    directory: &'a Path,
    settings: &'a Settings,
    report: BundleReport,
    facts: Facts,
    envelopes: Envelopes,
    policy: Option<Sha256>,
    /// Channels without a record, which have nothing to show.
    empty: Vec<ChannelNumber>,
}

impl Reading<'_> {
    fn run(&mut self) -> Option<Bundle> {
        let root = StoreRoot::at(self.directory);
        let found = Found::read(self.directory, &root);
        for finding in found.altered.iter().chain(found.unexpected.iter()) {
            self.report.found(finding.place.clone(), finding.why.clone());
        }
        let mut sessions = found.sessions().cloned();
        let (Some(session), None) = (sessions.next(), sessions.next()) else {
            self.report.found("rec", "a bundle has one recording");
            return None;
        };
        for other in found.envelopes().chain(found.rewrapped()).filter(|other| **other != session) {
            self.report.found(format!("env/{other}.age"), "it is of another session");
        }
        self.report.session = Some(session.clone());
        let key = self.key()?;
        self.report.origin = Some(key.name().to_string());
        let note = self.checkpoint(&key)?;
        self.proofs(&session, &key, &note);
        let own = self.recording(&root, &session);
        self.envelope(&root, &session);
        self.policy(&root);
        let (opening, closed) = own?;
        self.exactly("README.txt", readme(&opening).as_bytes());
        let sealed = self.is_sealed();
        self.report.casts = !sealed;
        self.names(&root, &session, sealed);
        if sealed {
            self.report.notes.push(String::from("it holds the sealed recording alone: no cast, and no coverage.json"));
        } else {
            self.coverage(&opening, closed.as_ref());
        }
        Some(Bundle { session, opening, closed })
    }

    fn read(&mut self, name: &str, most: u64) -> Option<Vec<u8>> {
        match files::read(&self.directory.join(name), most) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.report.found(name, error.to_string());
                None
            }
        }
    }

    fn exactly(&mut self, name: &str, expected: &[u8]) {
        if let Some(bytes) = self.read(name, FILE_BYTES_MAX)
            && bytes != expected
        {
            let same = bytes.iter().zip(expected).take_while(|(one, other)| one == other).count();
            self.report.found(name, format!("from byte {same} on it is not what follows from the other files"));
        }
    }

    fn key(&mut self) -> Option<VerifyingKey> {
        let text = self.read(KEY_FILE, FILE_BYTES_MAX)?;
        let text = String::from_utf8(text).unwrap_or_default();
        if let Some(key) = &self.settings.key {
            if text != format!("{key}\n") {
                let beside =
                    VerifyingKey::parse(text.trim()).map_or_else(|_| text.clone(), |other| history::id_of(&other));
                let why =
                    format!("it is the key of {beside}, and the one that was given is that of {}", history::id_of(key));
                self.report.found(KEY_FILE, why);
            }
            return Some(key.clone());
        }
        let key = text.strip_suffix('\n').map(VerifyingKey::parse);
        match key {
            Some(Ok(key)) if key.algorithm() == Algorithm::Note && text == format!("{key}\n") => Some(key),
            Some(_) | None => {
                self.report.found(KEY_FILE, "it is no key of a log");
                None
            }
        }
    }

    fn checkpoint(&mut self, key: &VerifyingKey) -> Option<Note> {
        let bytes = self.read("checkpoint", u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX))?;
        let note = match Note::parse(&bytes) {
            Ok(note) if note.to_string().into_bytes() == bytes => note,
            Ok(_) => {
                self.report.found("checkpoint", "it does not have the form of a signed note");
                return None;
            }
            Err(error) => {
                self.report.found("checkpoint", error.to_string());
                return None;
            }
        };
        match history::signed_checkpoint(&note, key) {
            Ok(checkpoint) => self.report.size = checkpoint.size,
            Err(why) => {
                self.report.found("checkpoint", why);
                return None;
            }
        }
        let known: Vec<&VerifyingKey> = std::iter::once(key).chain(&self.settings.witnesses).collect();
        match note.check(&known) {
            Ok(checked) => {
                let signers = checked.signers().iter();
                let cosigned = signers.filter_map(|(name, time)| Some(WitnessAnchor::new(name.to_string(), (*time)?)));
                self.report.witnesses = cosigned.collect();
            }
            Err(error) => self.report.found("checkpoint", explain(&error)),
        }
        let unknown = note.signatures().iter().filter(|one| !known.iter().any(|key| key.made(one)));
        let words =
            unknown.map(|one| format!("the signature of `{}` was not checked: its key was not given", one.name()));
        self.report.notes.extend(words);
        if self.report.witnesses.len() >= self.settings.require_witnesses.max(1)
            && self.report.verdict == Verdict::OkUnanchored
        {
            self.report.verdict = Verdict::Ok;
        }
        Some(note)
    }

    /// Reads the leaves, each with its proof, into the facts.
    fn proofs(&mut self, session: &SessionId, key: &VerifyingKey, note: &Note) {
        let mut leaves = BTreeSet::new();
        match files::list(&self.directory.join("proofs")) {
            Ok(names) => {
                for (name, _) in names.into_iter().take(LEAVES_MAX) {
                    let name = name.to_string_lossy().into_owned();
                    let stem = name.strip_suffix(".json").or_else(|| name.strip_suffix(".tlog-proof"));
                    match stem.and_then(|stem| stem.parse::<u64>().ok().filter(|index| index.to_string() == stem)) {
                        Some(index) => drop(leaves.insert(index)),
                        None => self.report.found(format!("proofs/{name}"), "it is not a part of a bundle"),
                    }
                }
            }
            Err(error) => self.report.found("proofs", error.to_string()),
        }
        for index in leaves {
            if let Err((name, why)) = self.proven(index, key, note).and_then(|leaf| self.fact(index, session, leaf)) {
                self.report.found(name, why);
            }
        }
        if self.facts.start.is_none() || self.facts.ending.is_none() {
            self.report
                .found("proofs", "there is no leaf that says how the session began, or none that says how it ended");
        }
    }

    fn proven(&mut self, index: u64, key: &VerifyingKey, note: &Note) -> Result<Leaf, (String, String)> {
        let [leaf, proof] = [format!("proofs/{index}.json"), format!("proofs/{index}.tlog-proof")];
        let read = |name: &String| {
            files::read(&self.directory.join(name), FILE_BYTES_MAX).map_err(|error| (name.clone(), error.to_string()))
        };
        let (entry, text) = (read(&leaf)?, read(&proof)?);
        let parsed = EntryProof::parse(&text).map_err(|error| (proof.clone(), explain(&error)))?;
        if parsed.index != index || parsed.checkpoint != *note || parsed.to_string().into_bytes() != text {
            return Err((proof, String::from("it is not the proof of this leaf to the bundle's checkpoint")));
        }
        parsed.verify(&entry, key, &[]).map_err(|error| (proof, explain(&error)))?;
        let parsed = Leaf::parse(&entry).map_err(|why| (leaf.clone(), why))?;
        if parsed.seq == index { Ok(parsed) } else { Err((leaf, format!("it says that it is leaf {}", parsed.seq))) }
    }

    fn fact(&mut self, index: u64, session: &SessionId, leaf: Leaf) -> Result<(), (String, String)> {
        let failed = |why: &str| Err((format!("proofs/{index}.json"), why.to_owned()));
        match leaf.event {
            Event::Start { session: of, opened, envelope, recipients, policy } if of == *session => {
                if self.facts.start.is_some() {
                    return failed("the session begins a second time");
                }
                // Who has the log's key can begin a session once more, and show only that.
                let apart = began_at(session).map_or(i64::MAX, |at| at.as_millis().saturating_sub(leaf.ts.as_millis()));
                if apart.saturating_abs() > APART_MS_MAX {
                    return failed("it is not of the time when the session's id was made");
                }
                self.facts.start = Some(Start { opened, recipients, policy });
                self.policy = Some(policy);
                self.envelopes.first = Some(envelope);
            }
            Event::Seal { session: of, channel, segment, seal } if of == *session => {
                return self.facts.sealed(channel, segment, seal).or_else(|why| failed(&why));
            }
            Event::Suspect { session: of, channel, segment, good } if of == *session => {
                return self.facts.given_up(channel, segment, good).or_else(|why| failed(&why));
            }
            Event::End { session: of, closed } if of == *session => {
                self.facts.ending = Some(Ending::Closed(index, closed));
            }
            Event::Recovered { session: of, recovered } if of == *session => {
                self.facts.ending = Some(Ending::Recovered(index, recovered));
            }
            Event::Envelope { session: of, envelope, recipients, record } if of == *session => {
                self.envelopes.add(Later { leaf: index, envelope, recipients, record });
            }
            Event::Heads(heads) if heads.iter().any(|(of, ..)| of == session) => {
                for (_, channel, segment, records, head) in heads.into_iter().filter(|(of, ..)| of == session) {
                    self.facts.segments.entry((channel, segment)).or_default().heads.push((records, head));
                }
            }
            Event::Start { .. }
            | Event::Seal { .. }
            | Event::Suspect { .. }
            | Event::End { .. }
            | Event::Unclosed { .. }
            | Event::Recovered { .. }
            | Event::Envelope { .. }
            | Event::Heads(_)
            | Event::Erase { .. }
            | Event::Expire { .. }
            | Event::ClockStep
            | Event::Policy(_)
            | Event::NodeStop
            | Event::Other => return failed("it does not speak of this session"),
        }
        Ok(())
    }

    /// Judges the recording, and gives its facts and its end.
    fn recording(&mut self, root: &StoreRoot, session: &SessionId) -> Option<(Opening, Option<Closed>)> {
        let directory = root.session_directory(session)?;
        let place = place_of(self.directory, &directory);
        let closes = matches!(self.facts.ending, Some(Ending::Closed(..)));
        let facts = std::mem::take(&mut self.facts);
        let Outcome { findings, absent, unreadable, interrupted, notes } =
            judge(session, &directory, &place, facts, &mut vec![0; CHUNK_BYTES]);
        for finding in findings.iter().chain(unreadable.iter()) {
            self.report.found(finding.place.clone(), finding.why.clone());
        }
        if absent {
            self.report.found(place.clone(), "it is missing");
        }
        if !interrupted.is_empty() {
            self.report.verdict = self.report.verdict.max(Verdict::Interrupted);
        }
        self.report.notes.extend(interrupted.into_iter().chain(notes));
        let opening = self.read(&format!("{place}/opened.json"), FILE_BYTES_MAX)?;
        let opening = serde_json::from_slice(&opening).ok()?;
        if !closes {
            let recovered = self.read(&format!("{place}/recovered.json"), FILE_BYTES_MAX)?;
            let recovered: Recovered = serde_json::from_slice(&recovered).ok()?;
            let empty = recovered.channels.iter().filter(|channel| channel.records == 0 && channel.segments < 2);
            self.empty = empty.map(|channel| channel.number).collect();
            return Some((opening, None));
        }
        let closed = self.read(&format!("{place}/closed.json"), FILE_BYTES_MAX)?;
        let closed: Closed = serde_json::from_slice(&closed).ok()?;
        let empty = closed.channels.iter().filter(|channel| channel.records == 0 && channel.segments < 2);
        self.empty = empty.map(|channel| channel.number).collect();
        Some((opening, Some(closed)))
    }

    fn envelope(&mut self, root: &StoreRoot, session: &SessionId) {
        let rewrap::Found { present, kept: _, findings, notes } =
            rewrap::judge(self.directory, root, session, &self.envelopes);
        for finding in findings.iter() {
            self.report.found(finding.place.clone(), finding.why.clone());
        }
        // In a bundle nothing is kept, and nothing is under way.
        for note in notes {
            self.report.found(place_of(self.directory, &root.rewraps_of(session)), note);
        }
        let why = match present {
            Envelope::Good => return,
            Envelope::Absent => String::from("it is missing"),
            Envelope::Changed(why) | Envelope::Unreadable(why) => why,
        };
        self.report.found(format!("env/{session}.age"), why);
    }

    /// The policy set by which the session was let in is there, and no other.
    fn policy(&mut self, root: &StoreRoot) {
        let Some(hash) = self.policy else { return };
        let name = hex(&hash);
        if let Err(fault) = policies::read(&root.policy(&name), &hash) {
            self.report.found(format!("policies/{name}"), fault.why());
        }
        match files::list(root.policies()) {
            Ok(names) => {
                for (other, _) in names.into_iter().filter(|(other, _)| other != name.as_str()) {
                    let place = format!("policies/{}", other.to_string_lossy());
                    self.report.found(place, "the session was not let in by it");
                }
            }
            Err(error) => self.report.found("policies", error.to_string()),
        }
    }

    /// Whether nothing in it was opened: what a bastion hands out.
    fn is_sealed(&self) -> bool {
        let names = files::list(self.directory).unwrap_or_default();
        !names.iter().filter_map(|(name, _)| name.to_str()).any(|name| name == COVERAGE || name.ends_with(".cast"))
    }

    /// Nothing else lies in a bundle, and each channel has a cast unless it is sealed.
    fn names(&mut self, root: &StoreRoot, session: &SessionId, sealed: bool) {
        let mut expected: BTreeSet<String> =
            ["README.txt", "rec", "env", "policies", "proofs", "checkpoint", KEY_FILE].map(str::to_owned).into();
        if !sealed {
            expected.insert(COVERAGE.to_owned());
        }
        let directory = root.session_directory(session).unwrap_or_default();
        let channels = files::list(&directory).unwrap_or_default().into_iter();
        let channels = channels.filter(|(_, kind)| kind.is_dir() && !sealed);
        for (name, _) in channels {
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok()) {
                expected.insert(cast_name(ChannelNumber(number)));
            }
        }
        match files::list(self.directory) {
            Ok(names) => {
                for (name, _) in names {
                    let name = name.to_string_lossy().into_owned();
                    if !expected.remove(&name) {
                        self.report.found(name, "it is not a part of a bundle");
                    }
                }
            }
            Err(error) => self.report.found("", error.to_string()),
        }
        expected.retain(|name| !self.empty.iter().any(|number| *name == cast_name(*number)));
        for name in expected {
            self.report.found(name, "it is missing");
        }
    }

    fn coverage(&mut self, opening: &Opening, closed: Option<&Closed>) {
        let mut casts = Vec::new();
        for (name, _) in files::list(self.directory).unwrap_or_default() {
            let Some(name) = name.to_str().filter(|name| name.ends_with(".cast")) else { continue };
            let Ok(file) = files::open(&self.directory.join(name)) else { continue };
            // A hole takes no room, and as long to read as what is in its place.
            let most = self.cast_bytes_max(opening, closed, name);
            match file.metadata().map(|found| found.len()) {
                Ok(len) if len <= most => casts.push(file),
                Ok(len) => {
                    let why = format!("it has {len} bytes, more than the recording can hold");
                    return self.report.found(name, why);
                }
                Err(error) => return self.report.found(name, format!("it cannot be read: {error}")),
            }
        }
        match coverage(opening, closed, casts) {
            Ok(coverage) => self.exactly(COVERAGE, &coverage.to_json()),
            Err(error) => self.report.found(COVERAGE, format!("a cast cannot be read: {}", explain(&error))),
        }
    }
}

impl Reading<'_> {
    /// So long can the cast of that name be at most.
    fn cast_bytes_max(&self, opening: &Opening, closed: Option<&Closed>, name: &str) -> u64 {
        let number = name.strip_prefix("channel-").and_then(|rest| rest.strip_suffix(".cast"));
        let number = number.and_then(|number| number.parse().ok()).map(ChannelNumber);
        let directory = StoreRoot::at(self.directory).session_directory(&opening.session).unwrap_or_default();
        let directory = number.map(|number| directory.join(number.to_string()));
        let names = directory.as_deref().map(|directory| files::list(directory).unwrap_or_default());
        let lens = directory.iter().zip(names).flat_map(|(directory, names)| {
            names.into_iter().filter_map(|(name, _)| Some(directory.join(name).symlink_metadata().ok()?.len()))
        });
        let sealed = lens.fold(0_u64, u64::saturating_add);
        let [if_counted, if_not] = CAST_BYTES_PER_SEALED;
        let counted = closed.and_then(|closed| closed.channels.iter().find(|channel| Some(channel.number) == number));
        let held = match counted {
            Some(channel) => [&channel.stdin, &channel.stdout, &channel.stderr]
                .into_iter()
                .map(|counted| counted.bytes.saturating_mul(CAST_BYTES_PER_BYTE))
                .fold(sealed.saturating_mul(if_counted), u64::saturating_add),
            None => sealed.saturating_mul(if_not),
        };
        held.saturating_add(CAST_BYTES_MIN)
    }
}

/// The name of a channel's cast.
pub fn cast_name(channel: ChannelNumber) -> String {
    format!("channel-{channel}.cast")
}
