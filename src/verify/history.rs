//! The log, before a word of it is believed: its key, its checkpoints, its files, its journal, its anchors.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use super::report::{
    AnchorReport, Contradiction, Findings, KeptAnchor, KeyOrigin, LogReport, WitnessAnchor, at_second,
};
use super::{Settings, Step, explain};
use crate::log::{LogError, Reader};
use crate::model::Timestamp;
use crate::tlog::{
    Algorithm, BUNDLE_BYTES_MAX, Bundle, Checkpoint, EMPTY_ROOT, Edge, Hash, NOTE_BYTES_MAX, Note, Tile, TileSource,
    VerifyingKey, decode_tile,
};

/// The key's file, beside the log.
const KEY: &str = "key.pub";
/// Longest key in text form that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;
/// How deep `tile/` goes: a level, 7 elements for the largest number, a width.
const DEPTH_MAX: usize = 10;

/// More old checkpoints are not compared: whoever wrote them chose how many there are.
const CHECKPOINTS_MAX: usize = 16_000_000;
/// A bastion takes no leaf while 64 MiB of them are not published; some more may have been on the way.
const UNSIGNED_BYTES_MAX: usize = 80 * 1024 * 1024;
/// Clocks of witnesses may be so far ahead of the verifier's.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// So many old checkpoints are looked at for cosignatures, the newest first.
const COSIGNED_MAX: usize = 1000;

/// How often a log that grows while it is read is read anew.
const ATTEMPTS_MAX: u32 = 4;

/// A log whose leaves are what its newest checkpoint signs.
#[derive(Debug)]
pub(super) struct History {
    pub(super) reader: Reader,
    pub(super) size: u64,
    /// Leaves behind the newest checkpoint.
    pub(super) unsigned: Vec<Vec<u8>>,
}

/// What was said of the log so far.
struct Inquiry<'a> {
    directory: PathBuf,
    reader: Reader,
    settings: &'a Settings,
    report: LogReport,
    anchor: AnchorReport,
}

/// Checks a state directory's log. `None` if no leaf of it can be believed.
pub(super) fn inquire(
    store: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(Step),
) -> (Option<History>, LogReport, AnchorReport) {
    let directory = store.join("log");
    let reader = Reader::open(&directory);
    let mut attempts = 0;
    loop {
        let report = LogReport {
            origin: None,
            key: None,
            key_from: if settings.key.is_some() { KeyOrigin::Pinned } else { KeyOrigin::Beside },
            size: 0,
            root: None,
            newest: None,
            unsigned: 0,
            findings: Findings::default(),
            warnings: Findings::default(),
        };
        let (directory, anchor) = (directory.clone(), AnchorReport::default());
        let mut inquiry = Inquiry { directory, reader: reader.clone(), settings, report, anchor };
        let history = inquiry.run(progress);
        attempts += 1;
        // A bastion that is running publishes, and writes its journal afresh, while we read.
        let moved = reader.largest_size().is_ok_and(|size| size.is_some_and(|size| size > inquiry.report.size));
        if inquiry.report.findings.is_empty() || !moved || attempts >= ATTEMPTS_MAX {
            return (history, inquiry.report, inquiry.anchor);
        }
    }
}

impl Inquiry<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(Step)) -> Option<History> {
        let key = self.key()?;
        self.report.origin = Some(key.name().to_string());
        self.report.key = Some(key.to_string());
        self.names();
        let sizes = self.published();
        let (newest, note) = self.newest(&sizes, &key)?;
        if let Some(newest) = &newest {
            self.report.size = newest.size;
            self.report.root = Some(newest.root.to_string());
            self.leaves(newest, &sizes, &key, progress)?;
            if !self.settings.quick {
                self.tiles(newest);
            }
        }
        let size = self.report.size;
        let unsigned = self.journal(size)?;
        self.report.unsigned = u64::try_from(unsigned.len()).unwrap_or(u64::MAX);
        let mut cosigned = Cosigned::default();
        self.kept(&key, newest.as_ref(), &mut cosigned);
        if let Some(note) = &note {
            self.foreign_signatures(note, &key);
            self.cosignatures(note, &key, "log/checkpoint", &mut cosigned);
        }
        if let Some(newest) = &newest {
            self.cosigned_before(newest, &sizes, &key, &mut cosigned);
        }
        self.unheard(&cosigned);
        self.anchored(&cosigned);
        Some(History { reader: self.reader.clone(), size, unsigned })
    }

    /// The leaves, against the newest checkpoint and on the way against each that was published before.
    fn leaves(
        &mut self,
        newest: &Checkpoint,
        sizes: &[u64],
        key: &VerifyingKey,
        progress: &mut dyn FnMut(Step),
    ) -> Option<()> {
        let mut old = sizes.iter().copied().filter(|size| *size <= newest.size && !self.settings.quick).peekable();
        let mut findings = Findings::default();
        let directory = &self.directory;
        let mut compare = |edge: &Edge| {
            while let Some(size) = old.next_if(|size| *size <= edge.size()) {
                let name = format!("checkpoints/{size}");
                // They come in order, so a smaller one can only be that of no leaf.
                let root = if size == edge.size() { edge.root() } else { EMPTY_ROOT };
                if let Err(why) = old_checkpoint(directory, &name, size, root, key) {
                    findings.add(format!("log/{name}"), why);
                }
            }
            if edge.size().is_multiple_of(256) || edge.size() == newest.size {
                progress(Step::Leaves { done: edge.size(), total: newest.size });
            }
        };
        if newest.size == 0 {
            compare(&Edge::new());
        }
        if let Err(error) = self.reader.verify_growing(newest, compare) {
            self.failed(&error);
            return None;
        }
        self.report.findings.append(findings);
        Some(())
    }

    fn failed(&mut self, error: &LogError) {
        self.report.findings.add("log", explain(error));
    }

    fn key(&mut self) -> Option<VerifyingKey> {
        if let Some(key) = &self.settings.key {
            match files::read(&self.directory.join(KEY), KEY_BYTES_MAX) {
                Ok(bytes) if bytes == format!("{key}\n").into_bytes() => {}
                Ok(bytes) => {
                    let beside = String::from_utf8_lossy(&bytes).trim().to_owned();
                    let why = match VerifyingKey::parse(&beside) {
                        Ok(other) => format!(
                            "it is the key of the log {}, and the one that was given is that of {}: another log, or \
                             another key was put there",
                            id_of(&other),
                            id_of(key)
                        ),
                        Err(_) => String::from("it is no key of a log, and not the one that was given"),
                    };
                    self.report.findings.add("log/key.pub", why);
                }
                Err(files::FileError::Absent) => self.report.warnings.add("log/key.pub", "it is missing"),
                Err(error) => self.report.findings.add("log/key.pub", error.to_string()),
            }
            return Some(key.clone());
        }
        let bytes = match files::read(&self.directory.join(KEY), KEY_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report.findings.add("log/key.pub", format!("{error}; the log cannot be checked without its key"));
                return None;
            }
        };
        let key = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')).map(VerifyingKey::parse);
        match key {
            Some(Ok(key)) if key.algorithm() == Algorithm::Note => Some(key),
            Some(_) | None => {
                self.report.findings.add("log/key.pub", "it is no key of a log");
                None
            }
        }
    }

    /// What lies in the directory of the log.
    fn names(&mut self) {
        let names = match files::list_through(&self.directory) {
            Ok(names) => names,
            Err(error) => return self.report.findings.add("log", error.to_string()),
        };
        for (name, _) in names {
            let name = name.to_string_lossy().into_owned();
            let known = ["checkpoint", "checkpoints", "tile", "leaves.wal", KEY];
            if !known.contains(&name.as_str()) {
                self.report.warnings.add(format!("log/{name}"), unread(&name));
            }
        }
    }

    /// The sizes at which checkpoints were published.
    fn published(&mut self) -> Vec<u64> {
        let (mut sizes, mut largest, mut more) = (Vec::new(), 0, 0_u64);
        let warnings = &mut self.report.warnings;
        let listed = files::each_name(&self.directory.join("checkpoints"), |name| {
            let name = name.to_string_lossy();
            match name.parse::<u64>().ok().filter(|size| size.to_string() == name) {
                Some(size) if sizes.len() < CHECKPOINTS_MAX => sizes.push(size),
                Some(size) => (largest, more) = (size.max(largest), more.saturating_add(1)),
                None => warnings.add(format!("log/checkpoints/{name}"), unread(&name)),
            }
        });
        if more > 0 {
            warnings.add("log/checkpoints", format!("{more} of the checkpoints there were not compared: too many"));
            sizes.push(largest);
        }
        if let Err(error) = listed {
            self.report.findings.add("log/checkpoints", error.to_string());
        }
        sizes.sort_unstable();
        sizes
    }

    /// The newest checkpoint that was signed, and the note in `checkpoint`.
    fn newest(&mut self, sizes: &[u64], key: &VerifyingKey) -> Option<(Option<Checkpoint>, Option<Note>)> {
        let latest = match self.reader.checkpoint(key) {
            Ok(latest) => latest,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        let largest = match sizes.last().map(|size| self.reader.checkpoint_at(*size, key)).transpose() {
            Ok(found) => found.flatten(),
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        match (latest, largest) {
            (None, None) => {
                self.unsigned();
                Some((None, None))
            }
            (None, Some(_)) => {
                self.report.findings.add("log/checkpoint", "it is missing, and `checkpoints/` has one");
                None
            }
            (Some((note, latest)), largest) => {
                self.exact("checkpoint", &note);
                // A crash, or a bastion that is running, may have published one more since. One that stands in
                // `checkpoint` alone was never published.
                let largest = largest.map(|(_, largest)| largest).filter(|largest| largest.size >= latest.size);
                if largest.is_none() && !sizes.contains(&latest.size) {
                    self.report.findings.add(format!("log/checkpoints/{}", latest.size), "it is missing");
                }
                let newest = largest.unwrap_or_else(|| latest.clone());
                self.covers(&latest, newest.size, newest.root, "log/checkpoint");
                Some((Some(newest), Some(note)))
            }
        }
    }

    /// Before the first checkpoint a log has its journal only.
    fn unsigned(&mut self) {
        match files::list(&self.directory.join("tile")) {
            Ok(names) if names.is_empty() => {}
            Ok(_) => {
                let why = "it has leaves that were published, and no checkpoint is there: it was taken away";
                self.report.findings.add("log/tile", why);
            }
            Err(error) => self.report.findings.add("log/tile", error.to_string()),
        }
    }

    /// A note has one form only, so that no byte of it can be another.
    fn exact(&mut self, name: &str, note: &Note) {
        let most = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
        match files::read(&self.directory.join(name), most) {
            Ok(bytes) if bytes == note.to_string().into_bytes() => {}
            // A bastion that is running replaces it.
            Ok(bytes) if name == "checkpoint" && Note::parse(&bytes).is_ok_and(|other| other != *note) => {}
            Ok(_) => self.report.findings.add(format!("log/{name}"), "it does not have the form of a signed note"),
            Err(error) => self.report.findings.add(format!("log/{name}"), error.to_string()),
        }
    }

    /// Tells whether `older` is a beginning of the log, whose newest checkpoint has or had `size` and `root`.
    fn covers(&mut self, older: &Checkpoint, size: u64, root: Hash, place: &str) -> bool {
        if older.size > size {
            let why = format!("it has {} leaves, and the log {size}: the log was rolled back", older.size);
            self.report.findings.add(place, why);
            return false;
        }
        let root = if older.size == size { Ok(root) } else { self.reader.root_within(older.size, size) };
        let why = match root {
            Ok(root) if root == older.root => return true,
            Ok(_) => format!("the first {} leaves are not those that it signs: the log was rewritten", older.size),
            Err(error) => explain(&error),
        };
        self.report.findings.add(place, why);
        false
    }

    /// Every file below `tile/`, for the reader looks only at those that it needs.
    fn tiles(&mut self, newest: &Checkpoint) {
        let mut folders = vec![(String::from("tile"), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let names = match files::list(&self.directory.join(&folder)) {
                Ok(names) => names,
                Err(error) => {
                    self.report.findings.add(format!("log/{folder}"), error.to_string());
                    continue;
                }
            };
            for (name, kind) in names {
                let text = name.to_string_lossy().into_owned();
                let path = format!("{folder}/{text}");
                if kind.is_dir() && depth < DEPTH_MAX {
                    folders.push((path, depth + 1));
                } else if let Some((tile, content)) = tile_of(&path) {
                    if let Err(why) = self.tile(&path, tile, content, newest) {
                        self.report.findings.add(format!("log/{path}"), why);
                    }
                } else {
                    self.report.warnings.add(format!("log/{path}"), unread(&text));
                }
            }
        }
    }

    /// Checks one file against what the newest checkpoint covers of it.
    fn tile(&mut self, path: &str, tile: Tile, content: Content, newest: &Checkpoint) -> Result<(), String> {
        let most = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
        let bytes = match files::read(&self.directory.join(path), most) {
            // A bastion that is running removes partial ones once the full one is there.
            Err(files::FileError::Absent) => return Ok(()),
            read => read.map_err(|error| error.to_string())?,
        };
        let signed = Tile::of_tree(tile.level(), tile.index(), newest.size);
        let signed = signed.filter(|signed| signed.width() > 0);
        if signed.is_none_or(|signed| signed.width() < tile.width()) {
            self.report.warnings.add(format!("log/{path}"), "no checkpoint covers all of it yet");
        }
        match content {
            Content::Hashes => {
                let hashes = decode_tile(&tile, &bytes).filter(|_| bytes.len() == usize::from(tile.width()) * 32);
                let hashes = hashes.ok_or("its length is not that of its name")?;
                let Some(signed) = signed else { return Ok(()) };
                let good = self.reader.tile(signed).map_err(|error| explain(&error))?;
                let same = good.iter().zip(&hashes).all(|(good, hash)| good == hash);
                if same { Ok(()) } else { Err(String::from("it does not fit the leaves below it")) }
            }
            Content::Entries => {
                let entries = Bundle::decode(&tile, &bytes).map_err(|error| error.to_string())?.into_entries();
                let len: usize = entries.iter().map(|entry| entry.len() + 2).sum();
                if len != bytes.len() {
                    return Err(String::from("it has more entries than its name says"));
                }
                let first = tile.index().saturating_mul(256);
                let range = first..first.saturating_add(u64::from(tile.width()));
                for (good, entry) in self.reader.entries(range, newest.size).zip(&entries) {
                    let (index, good) = good.map_err(|error| explain(&error))?;
                    if good != *entry {
                        return Err(format!("its leaf {index} is not the one that is signed"));
                    }
                }
                Ok(())
            }
        }
    }

    /// What the journal has behind the newest checkpoint.
    fn journal(&mut self, size: u64) -> Option<Vec<Vec<u8>>> {
        let place = "log/leaves.wal";
        let journal = match self.reader.journal() {
            Ok(Some(journal)) => journal,
            Ok(None) => {
                self.report.findings.add(place, "it is missing");
                return Some(Vec::new());
            }
            Err(error) => {
                self.report.findings.add(place, explain(&error));
                return Some(Vec::new());
            }
        };
        if journal.torn > 0 {
            let why = format!("{} bytes at its end are no whole leaf: a crash left them", journal.torn);
            self.report.warnings.add(place, why);
        }
        let mut leaves = journal.leaves.into_iter();
        let Some(published) = size.checked_sub(journal.first) else {
            let why = format!("it begins at leaf {}, and the newest checkpoint covers {size}", journal.first);
            self.report.findings.add(place, why);
            return Some(Vec::new());
        };
        for entry in self.reader.entries(journal.first..size, size).take(usize::try_from(published).ok()?) {
            match (entry, leaves.next()) {
                (Ok((_, entry)), Some(leaf)) if entry == leaf => {}
                (Ok((index, _)), _) => {
                    self.report
                        .findings
                        .add(place, format!("its leaf {index} is missing or not the one that is signed"));
                    return Some(Vec::new());
                }
                (Err(error), _) => {
                    self.failed(&error);
                    return None;
                }
            }
        }
        let unsigned: Vec<Vec<u8>> = leaves.collect();
        let bytes: usize = unsigned.iter().map(Vec::len).sum();
        if bytes > UNSIGNED_BYTES_MAX {
            let why = format!("{bytes} bytes behind the newest checkpoint are more than a bastion leaves unsigned");
            self.report.findings.add(place, why);
            return Some(Vec::new());
        }
        Some(unsigned)
    }

    /// Checkpoints that were kept elsewhere: the log must go on from each.
    fn kept(&mut self, key: &VerifyingKey, newest: Option<&Checkpoint>, cosigned: &mut Cosigned) {
        let (size, root) = newest.map_or((0, EMPTY_ROOT), |newest| (newest.size, newest.root));
        for kept in &self.settings.kept {
            let place = kept.from.clone();
            let before = self.report.findings.len();
            match signed_checkpoint(&kept.note, key) {
                Ok(checkpoint) if self.covers(&checkpoint, size, root, &place) => {
                    self.cosignatures(&kept.note, key, &place, cosigned);
                    self.anchor.kept.push(KeptAnchor { from: place, leaves: checkpoint.size });
                    continue;
                }
                Ok(_) => {}
                Err(why) => self.report.findings.add(&place, why),
            }
            let said = self.report.findings.iter().nth(before).map(|finding| finding.why.clone());
            self.anchor.contradicted.push(Contradiction { from: place, why: said.unwrap_or_default() });
        }
    }

    /// Signatures of which nobody gave the key.
    fn foreign_signatures(&mut self, note: &Note, key: &VerifyingKey) {
        let known: Vec<&VerifyingKey> = std::iter::once(key).chain(&self.settings.witnesses).collect();
        for signature in note.signatures().iter().filter(|one| !known.iter().any(|key| key.made(one))) {
            self.report.warnings.add(
                "log/checkpoint",
                format!("the signature of `{}` was not checked: its key was not given", signature.name()),
            );
        }
    }

    /// Who cosigned a checkpoint of this log, and when.
    fn cosignatures(&mut self, note: &Note, key: &VerifyingKey, place: &str, cosigned: &mut Cosigned) {
        let known: Vec<&VerifyingKey> = std::iter::once(key).chain(&self.settings.witnesses).collect();
        let Ok(checkpoint) = Checkpoint::parse(note.unchecked_text()) else { return };
        let checked = match note.check(&known) {
            Ok(checked) => checked,
            Err(error) => return self.report.findings.add(place, error.to_string()),
        };
        let latest = self.settings.now.map(|now| seconds(now.plus(AHEAD_MAX)));
        for (name, time) in checked.signers().iter().filter_map(|(name, time)| Some((name.to_string(), (*time)?))) {
            if latest.is_some_and(|latest| time > latest) {
                let words = format!("the cosignature of {name} is from the future, so its clock or this one is wrong");
                self.anchor.lacking.push(words);
                continue;
            }
            let (size, newest) = cosigned.0.entry(name).or_default();
            *size = checkpoint.size.max(*size);
            *newest = time.max(*newest);
        }
    }

    /// Witnesses that have not cosigned the newest checkpoint, which may have been published a moment ago, may have
    /// cosigned one before it.
    fn cosigned_before(&mut self, newest: &Checkpoint, sizes: &[u64], key: &VerifyingKey, cosigned: &mut Cosigned) {
        let sizes = sizes.iter().rev().filter(|size| **size <= newest.size).take(COSIGNED_MAX);
        for size in sizes {
            if self.settings.witnesses.iter().all(|witness| cosigned.0.contains_key(witness.name().as_str())) {
                return;
            }
            let place = format!("log/checkpoints/{size}");
            match self.reader.checkpoint_at(*size, key) {
                Ok(Some((note, checkpoint))) if note.signatures().len() > 1 => {
                    if self.covers(&checkpoint, newest.size, newest.root, &place) {
                        self.cosignatures(&note, key, &place, cosigned);
                    }
                }
                // Without a cosignature it says nothing here; whether it is sound is looked at elsewhere.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Witnesses that were asked and know less than what they signed.
    fn unheard(&mut self, cosigned: &Cosigned) {
        for witness in &self.settings.unknown_to {
            let name = witness.name().as_str();
            self.anchor.lacking.push(if cosigned.0.contains_key(name) {
                format!("the witness {name} denies a log that it cosigned")
            } else {
                format!("the witness {name} has never seen this log")
            });
        }
        for kept in &self.settings.kept {
            let Some(witness) = &kept.witness else { continue };
            let told = Checkpoint::parse(kept.note.unchecked_text()).map_or(0, |checkpoint| checkpoint.size);
            let (size, _) = cosigned.0.get(witness.name().as_str()).copied().unwrap_or_default();
            if told < size {
                let words = "an old answer, or a witness that was put back";
                self.anchor.lacking.push(format!("{} tells of {told} leaves and cosigned {size}: {words}", kept.from));
            }
        }
    }

    /// How much of the log is vouched for.
    fn anchored(&mut self, cosigned: &Cosigned) {
        let required = self.settings.require_witnesses;
        self.anchor.cosigned = cosigned.by(required.max(1), |(size, _)| *size).unwrap_or_default();
        self.anchor.newest = cosigned.by(1, |(_, time)| *time).map(at_second);
        self.anchor.witnesses =
            cosigned.0.iter().map(|(name, (_, time))| WitnessAnchor::new(name.clone(), *time)).collect();
        if let (Some(age), Some(now)) = (self.settings.max_age, self.settings.now) {
            let newest = cosigned.by(required.max(1), |(_, time)| *time);
            let words = match newest.map(|newest| (newest, seconds(now).saturating_sub(newest))) {
                Some((_, found)) if found <= age.as_secs() => None,
                Some((_, found)) => Some(format!(
                    "the newest cosignature is {found} seconds old, and at most {} were allowed",
                    age.as_secs()
                )),
                None => Some(String::from("no cosignature shows how old the log is")),
            };
            self.anchor.lacking.extend(words);
        }
        let kept = self.anchor.kept.iter().map(|kept| kept.leaves).max().unwrap_or_default();
        // What a verifier kept does not stand in for witnesses that were demanded.
        self.anchor.size = if required > 0 { self.anchor.cosigned } else { self.anchor.cosigned.max(kept) };
        let all = self.report.size.saturating_add(self.report.unsigned);
        self.anchor.beyond = all.saturating_sub(self.anchor.size);
    }
}

/// For each witness: the largest size that it cosigned, and the time of its newest cosignature.
#[derive(Debug, Default)]
struct Cosigned(BTreeMap<String, (u64, u64)>);

impl Cosigned {
    /// What at least `count` of them reach.
    fn by(&self, count: usize, of: impl Fn(&(u64, u64)) -> u64) -> Option<u64> {
        let mut found: Vec<u64> = self.0.values().map(of).collect();
        found.sort_unstable_by_key(|value| Reverse(*value));
        found.into_iter().nth(count.saturating_sub(1))
    }
}

/// Seconds since 1970.
fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis() / 1000).unwrap_or_default()
}

/// A key's name and id, by which people tell it from others.
pub(super) fn id_of(key: &VerifyingKey) -> String {
    let text = key.to_string();
    text.rsplit_once('+').map_or_else(|| text.clone(), |(id, _)| id.to_owned())
}

/// Checks a checkpoint that was published before: the log's first `size` leaves have `root`.
fn old_checkpoint(directory: &Path, name: &str, size: u64, root: Hash, key: &VerifyingKey) -> Result<(), String> {
    let most = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = files::read(&directory.join(name), most).map_err(|error| error.to_string())?;
    let note = Note::parse(&bytes).map_err(|error| explain(&error))?;
    if note.to_string().into_bytes() != bytes {
        return Err(String::from("it does not have the form of a signed note"));
    }
    let checkpoint = signed_checkpoint(&note, key)?;
    if checkpoint.size != size {
        return Err(String::from("its size is not the one in its name"));
    }
    if checkpoint.root == root {
        return Ok(());
    }
    Err(format!("the first {size} leaves are not those that it signs: the log was rewritten"))
}

/// The checkpoint in a note that the log signed.
pub(super) fn signed_checkpoint(note: &Note, key: &VerifyingKey) -> Result<Checkpoint, String> {
    let checked = note.check(&[key]).map_err(|error| format!("the log's key has not signed it: {error}"))?;
    let checkpoint = Checkpoint::parse(checked.text()).map_err(|error| format!("it is no checkpoint: {error}"))?;
    if &checkpoint.origin == key.name() { Ok(checkpoint) } else { Err(String::from("it is another log's")) }
}

/// What a file below `tile/` holds.
#[derive(Debug, Clone, Copy)]
enum Content {
    Hashes,
    Entries,
}

/// Which tile a path is of; `None` if no tile has that path.
fn tile_of(path: &str) -> Option<(Tile, Content)> {
    let rest = path.strip_prefix("tile/")?;
    let (level, number) = rest.split_once('/')?;
    let (level, content) =
        if level == "entries" { (0_u8, Content::Entries) } else { (level.parse().ok()?, Content::Hashes) };
    let (number, width) = match number.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok().filter(|width| *width < 256_u64)?),
        None => (number, 256),
    };
    let mut index = 0_u64;
    for element in number.split('/') {
        let digits = element.strip_prefix('x').unwrap_or(element);
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok().filter(|_| digits.len() == 3)?)?;
    }
    let hashes = index.checked_mul(256)?.checked_add(width)?;
    let size = hashes.checked_shl(u32::from(level).checked_mul(8)?).filter(|size| size >> (level * 8) == hashes)?;
    let tile = Tile::of_tree(level, index, size)?;
    let expected = match content {
        Content::Hashes => tile.path(),
        Content::Entries => tile.bundle_path(),
    };
    // Each tile has one path.
    (expected == path).then_some((tile, content))
}

fn unread(name: &str) -> &'static str {
    if name.ends_with(".new") {
        "it is what an interrupted write left, and was not looked at"
    } else {
        "nothing of ours has this name: it was not looked at"
    }
}
