//! Reading a log that another process may be writing, or that an attacker wrote.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open::{JOURNAL, JOURNAL_BYTES_MAX};
use super::publish::tile_of_entry;
use super::wal::{self, Bad, Journal};
use super::{Disk, LocalDisk, LogError};
use crate::tlog::{
    self, BUNDLE_BYTES_MAX, Bundle, Checkpoint, Edge, EntryProof, Hash, NOTE_BYTES_MAX, Note, Tile, TileSource,
    TreeError, VerifyingKey, decode_tile, leaf_hash,
};

/// Longest tile, in bytes.
const TILE_BYTES_MAX: usize = 256 * 32;

/// A log's directory, to read. Takes no lock, writes nothing, needs no key but the public one.
#[derive(Debug, Clone)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl Reader {
    /// The log in `directory`; nothing is read yet.
    pub fn open(directory: &Path) -> Self {
        Self::on(Arc::new(LocalDisk), directory)
    }

    pub(super) fn on(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned() }
    }

    /// The newest checkpoint with all its signatures, unchecked; `None` if nothing was published yet.
    ///
    /// # Errors
    /// `Read`, `Note`.
    pub fn note(&self) -> Result<Option<Note>, LogError> {
        self.read_note("checkpoint")
    }

    /// The newest checkpoint, signed with `key`; `None` if nothing was published yet.
    ///
    /// # Errors
    /// `Read`, `Note`, `Signature`, `Checkpoint`, `OtherLog`.
    pub fn checkpoint(&self, key: &VerifyingKey) -> Result<Option<(Note, Checkpoint)>, LogError> {
        self.checked("checkpoint", key)
    }

    /// The checkpoint that was published at `size`, signed with `key`; `None` if none was.
    ///
    /// # Errors
    /// As `checkpoint`; `Damaged` if it is one of another size.
    pub fn checkpoint_at(&self, size: u64, key: &VerifyingKey) -> Result<Option<(Note, Checkpoint)>, LogError> {
        let name = format!("checkpoints/{size}");
        let found = self.checked(&name, key)?;
        match &found {
            Some((_, checkpoint)) if checkpoint.size != size => {
                Err(self.damaged(&name, String::from("its size is not the one in its name")))
            }
            Some(_) | None => Ok(found),
        }
    }

    /// The largest size at which a checkpoint was published.
    ///
    /// # Errors
    /// `Read`.
    pub fn largest_size(&self) -> Result<Option<u64>, LogError> {
        Ok(self.sizes()?.into_iter().max())
    }

    /// The sizes at which checkpoints were published that are kept, in no order.
    ///
    /// # Errors
    /// `Read`.
    pub fn sizes(&self) -> Result<Vec<u64>, LogError> {
        let path = self.directory.join("checkpoints");
        self.disk.numbers(&path).map_err(|source| LogError::Read { path, source })
    }

    /// The journal: leaves that may not be published yet, after some that are. `None` if there is none.
    ///
    /// Only the log itself can tell whether it wrote them: what is not published yet is as good as this file.
    ///
    /// # Errors
    /// `Read`, `Damaged`.
    pub fn journal(&self) -> Result<Option<Journal>, LogError> {
        let Some(bytes) = self.read(JOURNAL, JOURNAL_BYTES_MAX)? else { return Ok(None) };
        wal::decode(&bytes, None).map(Some).map_err(|bad| match bad {
            Bad::Damaged(why) | Bad::Forged { why, .. } => self.damaged(JOURNAL, why),
        })
    }

    /// The entries `range` of the log at `size`, in order; ends after the first error. They are not checked against a
    /// root: `verify` does that for all, `proof` for one.
    pub fn entries(&self, range: Range<u64>, size: u64) -> Entries<'_> {
        Entries { reader: self, next: range.start, end: range.end.min(size), size, read: VecDeque::new() }
    }

    /// One entry of the log at `size`, unchecked.
    ///
    /// # Errors
    /// `Read`, `Damaged`; `NoSuchEntry` beyond `size`.
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, LogError> {
        let only = index..index.saturating_add(1);
        let (_, entry) = self.entries(only, size).next().ok_or(LogError::NoSuchEntry { index })??;
        Ok(entry)
    }

    /// The root of the first `size` entries, from the tiles.
    ///
    /// # Errors
    /// `Read`, `Damaged`.
    pub fn root(&self, size: u64) -> Result<Hash, LogError> {
        tlog::root(size, self).map_err(|error| self.of_tree(error, size))
    }

    /// The root of the first `older` entries of the log at `size`, from the tiles at `size` alone: nothing need have
    /// been published at `older`.
    ///
    /// # Errors
    /// `Read`, `Damaged`; `NoSuchEntry` if `older` is beyond `size`.
    pub fn root_within(&self, older: u64, size: u64) -> Result<Hash, LogError> {
        if older > size {
            return Err(LogError::NoSuchEntry { index: older });
        }
        tlog::root(older, &At { reader: self, size }).map_err(|error| self.of_tree(error, older))
    }

    /// The proof that entry `index` is in the log at the checkpoint `note`, to travel with it.
    ///
    /// # Errors
    /// `Read`, `Damaged`, `Checkpoint`; `NoSuchEntry` beyond its size.
    pub fn proof(&self, index: u64, note: &Note) -> Result<EntryProof, LogError> {
        let checkpoint = Checkpoint::parse(note.unchecked_text())
            .map_err(|source| LogError::Checkpoint { path: self.directory.join("checkpoint"), source })?;
        let hashes = tlog::inclusion_proof(index, checkpoint.size, self).map_err(|error| self.of_tree(error, index))?;
        Ok(EntryProof { extra: None, index, hashes, checkpoint: note.clone() })
    }

    /// The proof that the log at `old` is a beginning of the log at `size`.
    ///
    /// # Errors
    /// `Read`, `Damaged`; `NoSuchEntry` if `old` is beyond `size`.
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        tlog::consistency_proof(old, size, self).map_err(|error| self.of_tree(error, old))
    }

    /// Checks that the entries are those that `checkpoint` covers, and that every tile fits them.
    ///
    /// Calls `progress` with the number of entries that are checked, after each bundle.
    ///
    /// # Errors
    /// `Read`; `Damaged` names the file; `Rewritten` if all fits together and is not what was signed.
    pub fn verify(&self, checkpoint: &Checkpoint, mut progress: impl FnMut(u64)) -> Result<(), LogError> {
        self.verify_growing(checkpoint, |edge| {
            if edge.size() % 256 == 0 || edge.size() == checkpoint.size {
                progress(edge.size());
            }
        })
    }

    /// As `verify`; calls `grown` after each entry, with the tree of all until then.
    ///
    /// # Errors
    /// As `verify`.
    pub fn verify_growing(&self, checkpoint: &Checkpoint, mut grown: impl FnMut(&Edge)) -> Result<(), LogError> {
        let mut edge = Edge::new();
        for index in 0..checkpoint.size.div_ceil(256) {
            let tile = Tile::of_tree(0, index, checkpoint.size);
            for entry in tile.map(|tile| self.bundle(tile)).transpose()?.unwrap_or_default() {
                let mut filled = Vec::new();
                edge.append(leaf_hash(&entry), |tile, hashes| filled.push((tile, hashes.to_vec())));
                filled.iter().try_for_each(|(tile, hashes)| self.compare(*tile, hashes))?;
                grown(&edge);
            }
        }
        edge.partial_tiles().try_for_each(|(tile, hashes)| self.compare(tile, hashes))?;
        if edge.root() == checkpoint.root {
            return Ok(());
        }
        Err(LogError::Rewritten { size: checkpoint.size, said_by: "the checkpoint" })
    }

    fn compare(&self, tile: Tile, hashes: &[Hash]) -> Result<(), LogError> {
        if self.tile(tile)? == hashes {
            return Ok(());
        }
        Err(self.damaged(&tile.path(), String::from("it does not fit the entries below it")))
    }

    /// The entries whose hashes a tile of level 0 has.
    fn bundle(&self, tile: Tile) -> Result<Vec<Vec<u8>>, LogError> {
        let path = tile.bundle_path();
        let bytes = match self.read(&path, BUNDLE_BYTES_MAX)? {
            // A partial bundle goes when the full one is there.
            None => self.read(&tile.filled().bundle_path(), BUNDLE_BYTES_MAX)?,
            found => found,
        };
        let bytes = bytes.ok_or_else(|| self.damaged(&path, String::from("it is missing")))?;
        let bundle = Bundle::decode(&tile, &bytes).map_err(|error| self.damaged(&path, error.to_string()))?;
        Ok(bundle.into_entries())
    }

    fn checked(&self, name: &str, key: &VerifyingKey) -> Result<Option<(Note, Checkpoint)>, LogError> {
        let Some(note) = self.read_note(name)? else { return Ok(None) };
        let path = self.directory.join(name);
        if let Err(source) = note.check(&[key]) {
            return Err(LogError::Signature { path, source });
        }
        match Checkpoint::parse(note.unchecked_text()) {
            Ok(checkpoint) if &checkpoint.origin != key.name() => Err(LogError::OtherLog { path }),
            Ok(checkpoint) => Ok(Some((note, checkpoint))),
            Err(source) => Err(LogError::Checkpoint { path, source }),
        }
    }

    fn read_note(&self, name: &str) -> Result<Option<Note>, LogError> {
        let Some(bytes) = self.read(name, NOTE_BYTES_MAX)? else { return Ok(None) };
        Note::parse(&bytes).map(Some).map_err(|source| LogError::Note { path: self.directory.join(name), source })
    }

    fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.directory.join(name);
        self.disk.read(&path, bytes_max).map_err(|source| LogError::Read { path, source })
    }

    fn damaged(&self, name: &str, why: String) -> LogError {
        LogError::Damaged { path: self.directory.join(name), why }
    }

    fn of_tree(&self, error: TreeError<LogError>, index: u64) -> LogError {
        match error {
            TreeError::OutOfRange => LogError::NoSuchEntry { index },
            TreeError::Short(tile) => self.damaged(&tile.path(), String::from("it is too short")),
            TreeError::Source(error) => error,
        }
    }
}

impl TileSource for Reader {
    type Error = LogError;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LogError> {
        let path = tile.path();
        let bytes = match self.read(&path, TILE_BYTES_MAX)? {
            // A partial tile goes when the full one is there.
            None => self.read(&tile.filled().path(), TILE_BYTES_MAX)?,
            found => found,
        };
        match bytes {
            Some(bytes) => decode_tile(&tile, &bytes)
                .ok_or_else(|| self.damaged(&path, String::from("its length is not that of a tile"))),
            None => self.made(tile),
        }
    }
}

impl Reader {
    /// A tile of a size at which nothing was published, made from the full tiles of the level below.
    fn made(&self, tile: Tile) -> Result<Vec<Hash>, LogError> {
        let below = tile.level().checked_sub(1).filter(|_| !tile.is_full());
        let below = below.ok_or_else(|| self.damaged(&tile.path(), String::from("it is missing")))?;
        let first = tile.index().saturating_mul(256);
        let tiles = (0..u64::from(tile.width())).map(|n| Tile::full(below, first.saturating_add(n)));
        tiles.map(|tile| Ok(tlog::tile_root(&self.tile(tile)?))).collect()
    }
}

/// The tiles of the log at one size, which have those of every smaller size as their beginnings.
#[derive(Debug)]
struct At<'a> {
    reader: &'a Reader,
    size: u64,
}

impl TileSource for At<'_> {
    type Error = LogError;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, LogError> {
        let whole = Tile::of_tree(tile.level(), tile.index(), self.size).unwrap_or(tile);
        let mut hashes = self.reader.tile(whole)?;
        hashes.truncate(usize::from(tile.width()));
        Ok(hashes)
    }
}

/// Entries of a log, in order.
#[derive(Debug)]
pub struct Entries<'a> {
    reader: &'a Reader,
    next: u64,
    end: u64,
    size: u64,
    read: VecDeque<Vec<u8>>,
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        if self.read.is_empty() {
            let tile = tile_of_entry(self.next, self.size)?;
            match self.reader.bundle(tile) {
                Ok(entries) => {
                    let skipped = usize::try_from(self.next % 256).unwrap_or(usize::MAX);
                    self.read = entries.into_iter().skip(skipped).collect();
                }
                Err(error) => {
                    self.end = 0;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.read.pop_front()?;
        let index = self.next;
        self.next = index.saturating_add(1);
        Some(Ok((index, entry)))
    }
}
