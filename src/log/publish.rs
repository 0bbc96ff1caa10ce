//! Publishing: tiles and bundles, then the signature over them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use super::append::{Core, Log, append_all};
use super::open::JOURNAL;
use super::wal::{self, Position};
use super::{LogError, Reader};
use crate::store::SegmentFile;
use crate::tlog::{Bundle, Checkpoint, Edge, Note, Signature, Tile, encode_tile, leaf_hash};

/// What is published.
#[derive(Debug)]
pub(super) struct Publisher {
    /// The edge of the tree whose tiles are durable.
    pub(super) edge: Edge,
    /// Its leaves since the last full bundle.
    pub(super) bundle: Vec<Arc<[u8]>>,
    /// The newest checkpoint that was signed.
    pub(super) signed: Option<Checkpoint>,
    /// `checkpoint` is that one.
    pub(super) is_latest: bool,
    /// The number of the journal's first leaf.
    pub(super) journal_first: u64,
}

/// A file to be written, below the log's directory.
type Written = (String, Vec<u8>);

impl Log {
    /// Publishes the leaves that are durable by now, and returns the signed checkpoint if it is a new one.
    ///
    /// The server calls this each second. Blocks.
    ///
    /// # Errors
    /// `Write`: nothing was published, and the next call tries again. `Failed`: the log takes nothing more.
    /// `Damaged`, `Rewritten`: what is published has been changed.
    pub fn publish(&self) -> Result<Option<Note>, LogError> {
        self.core.publish()
    }

    /// The newest published checkpoint, for the caller to keep elsewhere as the next start's floor.
    pub fn published(&self) -> Option<Checkpoint> {
        self.core.publisher.lock().unwrap_or_else(PoisonError::into_inner).signed.clone()
    }

    /// Adds signatures of witnesses to the published checkpoint of `size`; says whether it is still the newest.
    ///
    /// They are not checked here. Those of an overtaken checkpoint are dropped.
    ///
    /// # Errors
    /// As `publish`.
    pub fn add_signatures(&self, size: u64, signatures: Vec<Signature>) -> Result<bool, LogError> {
        let core = &self.core;
        let publisher = core.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        if publisher.signed.as_ref().is_none_or(|signed| signed.size != size) {
            return Ok(false);
        }
        let Some(mut note) = core.reader().note()? else { return Ok(false) };
        signatures.into_iter().for_each(|signature| note.add(signature));
        core.write_files(&[(String::from("checkpoint"), note.to_string().into_bytes())])?;
        Ok(true)
    }
}

impl Core {
    pub(super) fn reader(&self) -> Reader {
        Reader::on(Arc::clone(&self.disk), &self.directory)
    }

    pub(super) fn publish(&self) -> Result<Option<Note>, LogError> {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves: Vec<Arc<[u8]>> = {
            let queue = self.lock_queue();
            if let Some(refusal) = queue.refusal() {
                return Err(refusal);
            }
            queue.unpublished.iter().cloned().collect()
        };
        let old = publisher.signed.as_ref().map_or(0, |signed| signed.size);
        if leaves.is_empty() && publisher.edge.size() == old && publisher.is_latest {
            return Ok(None);
        }
        let mut edge = publisher.edge.clone();
        let mut bundle = publisher.bundle.clone();
        let (files, full) = grow(&mut edge, &mut bundle, &leaves);
        self.write_files(&files)?;
        // From here on the tiles are durable: what the signature covers can be shown.
        let checkpoint = Checkpoint { origin: self.key.public().name().clone(), size: edge.size(), root: edge.root() };
        let note = if checkpoint.size > old || !publisher.is_latest {
            Some(self.sign(&checkpoint, publisher.signed.as_ref())?)
        } else {
            None
        };
        publisher.signed = Some(checkpoint);
        publisher.is_latest = true;
        publisher.edge = edge;
        publisher.bundle = bundle;
        let mut queue = self.lock_queue();
        queue.unpublished.drain(..leaves.len());
        queue.unpublished_bytes -= leaves.iter().map(|leaf| leaf.len()).sum::<usize>();
        drop(queue);
        for path in full {
            // A full tile takes the place of its partial ones. What stays costs room only.
            let _ = self.disk.remove_directory(&self.directory.join(format!("{path}.p")));
        }
        self.trim(&mut publisher)?;
        Ok(note)
    }

    fn sign(&self, checkpoint: &Checkpoint, before: Option<&Checkpoint>) -> Result<Note, LogError> {
        let immutable = format!("checkpoints/{}", checkpoint.size);
        let path = self.directory.join(&immutable);
        // The last guard against signing two histories; `open` has made sure of it, and nothing goes back since.
        if let Some(before) = before
            && (before.size > checkpoint.size || (before.size == checkpoint.size && before.root != checkpoint.root))
        {
            return Err(LogError::Rewritten { size: before.size, said_by: "the newest checkpoint" });
        }
        let note = checkpoint.sign(&self.key).ok_or(LogError::OtherLog { path })?;
        let bytes = note.to_string().into_bytes();
        self.write_files(&[(immutable, bytes.clone())])?;
        self.write_files(&[(String::from("checkpoint"), bytes)])?;
        Ok(note)
    }

    /// Writes files, each whole or not at all, durable on return.
    fn write_files(&self, files: &[Written]) -> Result<(), LogError> {
        let mut directories = BTreeSet::new();
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| LogError::Write { path, source }
        };
        for (path, _) in files {
            let path = self.directory.join(path);
            let parent = path.parent().unwrap_or(&self.directory).to_owned();
            if directories.insert(parent.clone()) {
                self.disk.create_directories(&parent).map_err(write(&parent))?;
            }
        }
        let mut renames = Vec::with_capacity(files.len());
        for (path, bytes) in files {
            let path = self.directory.join(path);
            let new = with_suffix(&path, ".new");
            let mut file = self.disk.create(&new).map_err(write(&new))?;
            append_all(file.as_mut(), bytes).map_err(write(&new))?;
            file.sync().map_err(|source| self.given_up(&new, source))?;
            renames.push((new, path));
        }
        for (new, path) in renames {
            self.disk.rename(&new, &path).map_err(write(&path))?;
        }
        for directory in directories {
            self.disk.sync_directory(&directory).map_err(|source| self.given_up(&directory, source))?;
        }
        Ok(())
    }

    fn given_up(&self, path: &Path, source: io::Error) -> LogError {
        let (path, source) = self.failed(path, source);
        LogError::Failed { path, source }
    }

    /// Writes the journal afresh without the leaves that are published in full bundles.
    fn trim(&self, publisher: &mut Publisher) -> Result<(), LogError> {
        let boundary = publisher.edge.size() - publisher.edge.size() % 256;
        if boundary.saturating_sub(publisher.journal_first) < self.trim_leaves {
            return Ok(());
        }
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut leaves = publisher.bundle.clone();
        leaves.extend(self.lock_queue().unpublished.iter().cloned());
        *journal = self.write_journal(boundary, &leaves)?;
        publisher.journal_first = boundary;
        Ok(())
    }

    fn write_journal(&self, first: u64, leaves: &[Arc<[u8]>]) -> Result<Box<dyn SegmentFile>, LogError> {
        let path = self.directory.join(JOURNAL);
        let new = with_suffix(&path, ".new");
        write_journal(self.disk.as_ref(), &self.directory, first, leaves).map_err(|(step, source)| match step {
            Step::Before => LogError::Write { path: new, source },
            Step::Sync => self.given_up(&path, source),
        })
    }
}

/// How far the writing of a journal came.
pub(super) enum Step {
    /// The old journal is in place.
    Before,
    /// A sync failed.
    Sync,
}

/// Writes a journal in place of any that is there; durable on return. Gives the file, to append to.
pub(super) fn write_journal(
    disk: &dyn super::Disk,
    directory: &Path,
    first: u64,
    leaves: &[Arc<[u8]>],
) -> Result<Box<dyn SegmentFile>, (Step, io::Error)> {
    let path = directory.join(JOURNAL);
    let new = with_suffix(&path, ".new");
    let mut bytes = wal::header(first, u64::try_from(leaves.len()).unwrap_or(u64::MAX));
    leaves.iter().for_each(|leaf| wal::encode(leaf, Position::Later, &mut bytes));
    let mut file = disk.create(&new).map_err(|error| (Step::Before, error))?;
    append_all(file.as_mut(), &bytes).map_err(|error| (Step::Before, error))?;
    file.sync().map_err(|error| (Step::Sync, error))?;
    disk.rename(&new, &path).map_err(|error| (Step::Before, error))?;
    disk.sync_directory(directory).map_err(|error| (Step::Sync, error))?;
    Ok(file)
}

/// Appends leaves to a tree and gives the files that show them, and the paths of what became full.
fn grow(edge: &mut Edge, bundle: &mut Vec<Arc<[u8]>>, leaves: &[Arc<[u8]>]) -> (Vec<Written>, Vec<String>) {
    let mut files = Vec::new();
    let mut full = Vec::new();
    for leaf in leaves {
        bundle.push(Arc::clone(leaf));
        edge.append(leaf_hash(leaf), |tile, hashes| {
            files.push((tile.path(), encode_tile(hashes)));
            full.push(tile.path());
            if tile.level() == 0 {
                files.push((tile.bundle_path(), encode_bundle(bundle)));
                full.push(tile.bundle_path());
                bundle.clear();
            }
        });
    }
    for (tile, hashes) in edge.partial_tiles() {
        files.push((tile.path(), encode_tile(hashes)));
        if tile.level() == 0 {
            files.push((tile.bundle_path(), encode_bundle(bundle)));
        }
    }
    (files, full)
}

fn encode_bundle(leaves: &[Arc<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        // No leaf is longer than an entry can be: `Leaf::encode` and the journal see to it.
        let _ = Bundle::encode_entry(leaf, &mut bytes);
    }
    bytes
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The tile of level 0 that holds entry `index` of a tree of `size`.
pub(super) fn tile_of_entry(index: u64, size: u64) -> Option<Tile> {
    Tile::of_tree(0, index / 256, size).filter(|_| index < size)
}
