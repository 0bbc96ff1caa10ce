//! A copy of the log as it was at one size. What a backup has of it must be its beginning.

use super::BackupError;
use super::place::{Compare, Place, read_plain};
use crate::log::Reader;
use crate::tlog::{Bundle, Checkpoint, NOTE_BYTES_MAX, Note, Tile, TileSource, VerifyingKey, encode_tile};
use crate::verify::Step;
use std::path::Path;

/// The log at one size.
pub(super) struct History<'a> {
    log: &'a Path,
    reader: Reader,
    note: Note,
    pub(super) checkpoint: Checkpoint,
}

impl<'a> History<'a> {
    /// The log in the directory `log` at `size`, at which something was published; all of it is checked.
    pub(super) fn open(
        log: &'a Path,
        key: &VerifyingKey,
        size: u64,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Self, BackupError> {
        let reader = Reader::open(log);
        let gone = || BackupError::Gone { path: log.join(format!("checkpoints/{size}")) };
        let (plain, checkpoint) = reader.checkpoint_at(size, key).map_err(BackupError::Log)?.ok_or_else(gone)?;
        // The newest one has the cosignatures.
        let newest = reader.checkpoint(key).map_err(BackupError::Log)?;
        let note = newest.filter(|(_, newest)| *newest == checkpoint).map_or(plain, |(note, _)| note);
        reader.verify(&checkpoint, |done| progress(Step::Leaves { done, total: size })).map_err(BackupError::Log)?;
        Ok(Self { log, reader, note, checkpoint })
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Refuses a log that does not go on from the one that was backed up: it was put back or rewritten meanwhile.
    pub(super) fn check_goes_on(&self, place: &Place, key: &VerifyingKey) -> Result<(), BackupError> {
        place.at("log/checkpoint")?;
        let before = Reader::open(&place.at("log")?).checkpoint(key).map_err(BackupError::Log)?;
        let Some((_, before)) = before else { return Ok(()) };
        let size = self.checkpoint.size;
        let why = if before.size > size {
            "it has more leaves than the store's log, which was put back"
        } else if self.reader.root_within(before.size, size).map_err(BackupError::Log)? != before.root {
            "its leaves are not the first ones of the store's log, which was rewritten"
        } else {
            return Ok(());
        };
        Err(BackupError::Differs { path: place.directory().join("log/checkpoint"), why })
    }

    /// Copies it; `checkpoint` comes last.
    pub(super) fn copy(&self, place: &mut Place, journal: &[u8]) -> Result<(), BackupError> {
        let full = self.tiles(place)?;
        self.checkpoints(place)?;
        let name = "key.pub";
        let key = read_plain(&self.log.join(name), 4096)?;
        place.put("log/key.pub", &key.ok_or_else(|| BackupError::Gone { path: self.log.join(name) })?)?;
        place.replace("log/leaves.wal", journal)?;
        place.flush()?;
        place.replace("log/checkpoint", self.note.to_string().as_bytes())?;
        place.flush()?;
        for path in full {
            // A full tile takes the place of its partial ones.
            place.remove(&format!("log/{path}.p"))?;
        }
        Ok(())
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, BackupError> {
        let entries = self.reader.entries(from..to, self.checkpoint.size);
        entries.map(|entry| entry.map(|(_, bytes)| bytes)).collect::<Result<_, _>>().map_err(BackupError::Log)
    }

    /// Copies tiles and bundles; gives the paths of those that became full.
    fn tiles(&self, place: &mut Place) -> Result<Vec<String>, BackupError> {
        let size = self.checkpoint.size;
        let mut became_full = Vec::new();
        for level in 0..=7 {
            let mut index = 0;
            while let Some(tile) = Tile::of_tree(level, index, size) {
                index = index.saturating_add(1);
                let path = tile.path();
                let there = tile.is_full() && place.has(&format!("log/{path}"))?;
                if tile.is_full() && !there {
                    became_full.push(path.clone());
                }
                if !(there && place.compare() == Compare::Lengths) {
                    let hashes = self.reader.tile(tile).map_err(BackupError::Log)?;
                    place.put(&format!("log/{path}"), &encode_tile(&hashes))?;
                }
                if level == 0 {
                    self.bundle(tile, place, &mut became_full)?;
                }
            }
        }
        Ok(became_full)
    }

    fn bundle(&self, tile: Tile, place: &mut Place, became_full: &mut Vec<String>) -> Result<(), BackupError> {
        let path = tile.bundle_path();
        let there = tile.is_full() && place.has(&format!("log/{path}"))?;
        if there && place.compare() == Compare::Lengths {
            return Ok(());
        }
        if tile.is_full() && !there {
            became_full.push(path.clone());
        }
        let first = tile.index().saturating_mul(256);
        let mut bytes = Vec::new();
        for entry in self.entries(first, first.saturating_add(u64::from(tile.width())))? {
            // No leaf is longer than an entry can be: it came out of a bundle.
            let _ = Bundle::encode_entry(&entry, &mut bytes);
        }
        place.put(&format!("log/{path}"), &bytes)
    }

    fn checkpoints(&self, place: &mut Place) -> Result<(), BackupError> {
        let directory = self.log.join("checkpoints");
        let failed = |source| super::place::failed("read", &directory, source);
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Others are what an interrupted write leaves, and those that came since.
            let wanted = name.parse::<u64>().is_ok_and(|size| size <= self.checkpoint.size && size.to_string() == name);
            let to = format!("log/checkpoints/{name}");
            let there = place.directory().join(&to);
            let same_len = || Some(there.symlink_metadata().ok()?.len() == entry.metadata().ok()?.len());
            if !wanted || (place.compare() == Compare::Lengths && place.has(&to)? && same_len() == Some(true)) {
                continue;
            }
            let most = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
            let Some(bytes) = read_plain(&directory.join(&name), most)? else { continue };
            // Cosignatures may have come for one that was copied before.
            let text = |bytes: &[u8]| Note::parse(bytes).map(|note| note.unchecked_text().to_owned()).ok();
            match read_plain(&there, most)? {
                Some(old) if old != bytes && text(&old).is_some_and(|old| Some(old) == text(&bytes)) => {
                    place.replace(&to, &bytes)?;
                }
                Some(_) | None => place.put(&to, &bytes)?,
            }
        }
        Ok(())
    }
}
