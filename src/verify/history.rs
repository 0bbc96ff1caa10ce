//! The log itself: its signature, its entries and tiles, its earlier checkpoints, and those kept elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, Found};
use super::{Report, Settings};
use crate::log::Reader;
use crate::store::describe;
use crate::tlog::{Bundle, Checkpoint, Edge, Note, Tile, TileSource, VerifyingKey, encode_tile, leaf_hash};

/// A checkpoint, or a public key, is far shorter.
const TEXT_BYTES_MAX: u64 = 256 * 1024;

/// What the log holds.
pub(super) struct History {
    /// Its entries, those in the journal that no checkpoint covers yet included.
    pub(super) leaves: Vec<Vec<u8>>,
}

impl History {
    /// Reads and checks the log; what is wrong is noted in `report`.
    pub(super) fn read(settings: &Settings, report: &mut Report) -> Self {
        let directory = settings.store.join("log");
        let mut history = Self { leaves: Vec::new() };
        if let Err(fault) = history.check(settings, &directory, report) {
            report.log.faults.push(fault);
        }
        history
    }

    fn check(&mut self, settings: &Settings, directory: &Path, report: &mut Report) -> Result<(), String> {
        let key = match &settings.key {
            Some(key) => key.clone(),
            None => key_in(directory)?,
        };
        report.log.key_pinned = settings.key.is_some();
        report.log.origin = key.name().as_str().to_owned();
        let reader = Reader::open(directory);
        let newest = reader.checkpoint(&key).map_err(|error| describe(&error))?;
        let (note, checkpoint) = newest.ok_or_else(|| format!("`{}` has no checkpoint", directory.display()))?;
        report.log.size = checkpoint.size;
        reader.verify(&checkpoint, |_| {}).map_err(|error| describe(&error))?;
        for entry in reader.entries(0..checkpoint.size, checkpoint.size) {
            self.leaves.push(entry.map_err(|error| describe(&error))?.1);
        }
        self.check_journal(&reader, report)?;
        check_files(directory, &reader, &key, &checkpoint, report)?;
        self.check_kept(settings, &key, &checkpoint, report);
        check_witnesses(settings, &key, &note, &checkpoint, report);
        Ok(())
    }

    /// The checkpoints that somebody kept are beginnings of this log.
    fn check_kept(&self, settings: &Settings, key: &VerifyingKey, newest: &Checkpoint, report: &mut Report) {
        for note in &settings.kept {
            match kept(note, &self.leaves, key, newest) {
                Ok(size) => {
                    report.anchor.kept.push(size);
                    report.anchor.size = report.anchor.size.max(size);
                }
                Err(fault) => report.log.faults.push(fault),
            }
        }
    }

    /// The journal says what the bundles say, and what comes after them.
    fn check_journal(&mut self, reader: &Reader, report: &mut Report) -> Result<(), String> {
        let Some((first, leaves)) = reader.journal().map_err(|error| describe(&error))? else { return Ok(()) };
        for (index, leaf) in (first..).zip(leaves) {
            let at = usize::try_from(index).unwrap_or(usize::MAX);
            match self.leaves.get(at) {
                Some(known) if *known == leaf => {}
                Some(_) => return Err(format!("entry {index} is another one in the journal")),
                None if at == self.leaves.len() => {
                    report.log.not_covered = report.log.not_covered.saturating_add(1);
                    self.leaves.push(leaf);
                }
                None => return Err(format!("the entries before {index} are gone")),
            }
        }
        Ok(())
    }
}

/// The key that lies beside the log.
fn key_in(directory: &Path) -> Result<VerifyingKey, String> {
    let path = directory.join("key.pub");
    let text = files::read_text(&path, TEXT_BYTES_MAX)?;
    let key = VerifyingKey::parse(text.trim());
    key.map_err(|error| format!("`{}` is not a public key: {error}", path.display()))
}

/// Every file in the log's directory is what the newest checkpoint makes of it; nothing else is there.
fn check_files(
    directory: &Path,
    reader: &Reader,
    key: &VerifyingKey,
    newest: &Checkpoint,
    report: &mut Report,
) -> Result<(), String> {
    let Found { files, strays } = files::walk(directory);
    report.strays.extend(strays);
    let mut roots = BTreeMap::new();
    for name in files {
        let path = directory.join(&name);
        let shown = path.display();
        if matches!(name.as_str(), "checkpoint" | "leaves.wal") || name.ends_with(".new") {
            // The first two were read; the last is what a crash left of a file that was being written.
            continue;
        }
        if name == "key.pub" {
            let same = files::read_text(&path, TEXT_BYTES_MAX).is_ok_and(|text| text == format!("{key}\n"));
            if !same {
                report.log.faults.push(format!("`{shown}` is not the key of the log"));
            }
        } else if let Some(size) = name.strip_prefix("checkpoints/") {
            let size: u64 = size.parse().map_err(|_| format!("`{shown}` is no checkpoint"))?;
            let found = reader.checkpoint_at(size, key).map_err(|error| describe(&error))?;
            let Some((_, found)) = found else { continue };
            if size > newest.size {
                let fault =
                    format!("`{shown}` covers {size} entries, the newest checkpoint {}: rolled back", newest.size);
                report.log.faults.push(fault);
                continue;
            }
            let root = reader.root(size).map_err(|error| describe(&error))?;
            if root != found.root {
                report.log.faults.push(format!("`{shown}` is of another history"));
            }
            roots.insert(size, root);
        } else if !tile_fits(reader, &name, newest.size, &path) {
            report.log.faults.push(format!("`{shown}` is not what the log makes, or does not fit its entries"));
        }
    }
    Ok(())
}

/// Whether a file is a tile of the tree, or the beginning of one.
fn tile_fits(reader: &Reader, name: &str, size: u64, path: &Path) -> bool {
    let Some((level, index, width)) = parse_tile(name) else { return false };
    let Some(tile) = Tile::of_tree(level.unwrap_or(0), index, size) else { return false };
    if width > usize::from(tile.width()) {
        return false;
    }
    let expected = match level {
        Some(_) => reader.tile(tile).ok().and_then(|hashes| hashes.get(..width).map(encode_tile)),
        None => {
            let first = index.saturating_mul(256);
            let last = first.saturating_add(u64::try_from(width).unwrap_or(u64::MAX));
            let mut bytes = Vec::new();
            let encoded = reader.entries(first..last, size).try_for_each(|entry| match entry {
                Ok((_, entry)) => Bundle::encode_entry(&entry, &mut bytes).ok_or(()),
                Err(_) => Err(()),
            });
            encoded.ok().map(|()| bytes)
        }
    };
    expected.is_some_and(|expected| {
        let most = u64::try_from(expected.len()).unwrap_or(u64::MAX);
        files::read(path, most).is_ok_and(|found| found == expected)
    })
}

/// The level (none for entries), index and width of `tile/<L>/<N>[.p/<W>]`.
///
/// Source: <https://c2sp.org/tlog-tiles>, "Merkle Tree".
fn parse_tile(name: &str) -> Option<(Option<u8>, u64, usize)> {
    let (kind, path) = name.strip_prefix("tile/")?.split_once('/')?;
    let level = if kind == "entries" { None } else { Some(kind.parse::<u8>().ok()?) };
    let (path, width) = match path.split_once(".p/") {
        Some((path, width)) => (path, width.parse().ok().filter(|width| (1..256).contains(width))?),
        None => (path, 256),
    };
    let mut index = 0_u64;
    for element in path.split('/') {
        let digits = element.strip_prefix('x').unwrap_or(element);
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some((level, index, width))
}

fn kept(note: &Note, leaves: &[Vec<u8>], key: &VerifyingKey, newest: &Checkpoint) -> Result<u64, String> {
    note.check(&[key]).map_err(|error| format!("a checkpoint that was kept is not this log's: {error}"))?;
    let kept =
        Checkpoint::parse(note.unchecked_text()).map_err(|error| format!("what was kept is no checkpoint: {error}"))?;
    if kept.origin != newest.origin {
        return Err(format!("a checkpoint that was kept is of the log `{}`", kept.origin));
    }
    if kept.size > newest.size {
        return Err(format!(
            "the log was rolled back: a checkpoint that was kept covers {} entries, the newest here {}",
            kept.size, newest.size
        ));
    }
    // From the entries: no tile was ever made at a size that another history had.
    let mut edge = Edge::new();
    for leaf in leaves.iter().take(usize::try_from(kept.size).unwrap_or(usize::MAX)) {
        edge.append(leaf_hash(leaf), |_, _| {});
    }
    if edge.root() != kept.root {
        return Err(format!("the log was rewritten: its first {} entries are not those that were kept", kept.size));
    }
    Ok(kept.size)
}

/// Who has signed the newest checkpoint beside the log.
fn check_witnesses(settings: &Settings, key: &VerifyingKey, note: &Note, newest: &Checkpoint, report: &mut Report) {
    let keys: Vec<&VerifyingKey> = std::iter::once(key).chain(&settings.witnesses).collect();
    match note.check(&keys) {
        Ok(checked) => {
            let witnesses = checked.signers().iter().filter(|(name, _)| name != key.name());
            report.anchor.witnesses = witnesses.map(|(name, _)| name.as_str().to_owned()).collect();
        }
        Err(error) => report.log.faults.push(format!("the newest checkpoint: {error}")),
    }
    if !report.anchor.witnesses.is_empty() {
        report.anchor.size = report.anchor.size.max(newest.size);
    }
    report.witnesses_missing = settings.witnesses_required.saturating_sub(report.anchor.witnesses.len());
}
