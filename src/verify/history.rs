//! The log, before a word of it is believed: its key, its checkpoints, its files, its journal, its anchors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files;
use super::report::{AnchorReport, Findings, KeyOrigin, LogReport};
use super::{Settings, Step, explain};
use crate::log::{LogError, Reader};
use crate::tlog::{
    Algorithm, BUNDLE_BYTES_MAX, Bundle, Checkpoint, EMPTY_ROOT, Hash, NOTE_BYTES_MAX, Note, Tile, TileSource,
    VerifyingKey, decode_tile,
};

/// The key's file, beside the log.
const KEY: &str = "key.pub";
/// Longest key in text form that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;
/// How deep `tile/` goes: a level, 7 elements for the largest number, a width.
const DEPTH_MAX: usize = 10;

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
            key_from: if settings.key.is_some() { KeyOrigin::Pinned } else { KeyOrigin::Store },
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
            let checked = self.reader.verify(newest, |done| progress(Step::Leaves { done, total: newest.size }));
            if let Err(error) = checked {
                self.failed(&error);
                return None;
            }
            self.tiles(newest);
            self.checkpoints(&sizes, newest, &key);
        }
        let size = self.report.size;
        let unsigned = self.journal(size)?;
        self.report.unsigned = u64::try_from(unsigned.len()).unwrap_or(u64::MAX);
        self.kept(&key, newest.as_ref());
        if let Some(note) = note {
            self.witnesses(&note, &key);
        }
        self.anchor.size = self.anchor.kept.iter().map(|(_, size)| *size).fold(self.anchor.cosigned, u64::max);
        Some(History { reader: self.reader.clone(), size, unsigned })
    }

    fn failed(&mut self, error: &LogError) {
        self.report.findings.add("log", explain(error));
    }

    fn key(&mut self) -> Option<VerifyingKey> {
        if let Some(key) = &self.settings.key {
            // A key beside the log that is another one is no fault of the log, and worth a word.
            if let Ok(bytes) = files::read(&self.directory.join(KEY), KEY_BYTES_MAX)
                && bytes != format!("{key}\n").into_bytes()
            {
                self.report.warnings.add("log/key.pub", "it is another key than the one that was given");
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
        let names = match files::list(&self.directory.join("checkpoints")) {
            Ok(names) => names,
            Err(error) => {
                self.report.findings.add("log/checkpoints", error.to_string());
                return Vec::new();
            }
        };
        let mut sizes = Vec::with_capacity(names.len());
        for (name, _) in names {
            let name = name.to_string_lossy().into_owned();
            match name.parse::<u64>().ok().filter(|size| size.to_string() == name) {
                Some(size) => sizes.push(size),
                None => self.report.warnings.add(format!("log/checkpoints/{name}"), unread(&name)),
            }
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
            (None, None) => Some((None, None)),
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

    fn checkpoints(&mut self, sizes: &[u64], newest: &Checkpoint, key: &VerifyingKey) {
        for size in sizes.iter().filter(|size| **size <= newest.size) {
            let name = format!("checkpoints/{size}");
            match self.reader.checkpoint_at(*size, key) {
                Ok(Some((note, checkpoint))) => {
                    self.exact(&name, &note);
                    self.covers(&checkpoint, newest.size, newest.root, &format!("log/{name}"));
                }
                // A bastion that is running thins out the old ones.
                Ok(None) => {}
                Err(error) => self.report.findings.add(format!("log/{name}"), explain(&error)),
            }
        }
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
        Some(leaves.collect())
    }

    /// Checkpoints that were kept elsewhere: the log must go on from each.
    fn kept(&mut self, key: &VerifyingKey, newest: Option<&Checkpoint>) {
        let (size, root) = newest.map_or((0, EMPTY_ROOT), |newest| (newest.size, newest.root));
        for kept in &self.settings.kept {
            let place = kept.from.clone();
            let checkpoint = match signed_checkpoint(&kept.note, key) {
                Ok(checkpoint) => checkpoint,
                Err(why) => {
                    self.report.findings.add(place, why);
                    continue;
                }
            };
            if self.covers(&checkpoint, size, root, &place) {
                self.anchor.kept.push((place, checkpoint.size));
            }
        }
    }

    /// Who cosigned the newest checkpoint.
    fn witnesses(&mut self, note: &Note, key: &VerifyingKey) {
        let known: Vec<&VerifyingKey> = std::iter::once(key).chain(&self.settings.witnesses).collect();
        for signature in note.signatures().iter().filter(|one| !known.iter().any(|key| key.made(one))) {
            self.report.warnings.add(
                "log/checkpoint",
                format!("the signature of `{}` was not checked: its key was not given", signature.name()),
            );
        }
        let Ok(checkpoint) = Checkpoint::parse(note.unchecked_text()) else { return };
        match note.check(&known) {
            Ok(checked) => {
                let signers: BTreeMap<String, u64> =
                    checked.signers().iter().filter_map(|(name, time)| Some((name.to_string(), (*time)?))).collect();
                if signers.len() >= self.settings.require_witnesses.max(1) {
                    self.anchor.cosigned = checkpoint.size;
                }
                self.anchor.witnesses = signers.into_iter().collect();
            }
            Err(error) => self.report.findings.add("log/checkpoint", error.to_string()),
        }
    }
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
