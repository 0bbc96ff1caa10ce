//! Publishing: tiles and bundles, then the signature over them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use ring::hmac;

use super::append::{Core, Failure, Log, OpenJournal, append_all};
use super::open::JOURNAL;
use super::thin::Kept;
use super::wal::{Chain, Position};
use super::{Disk, LogError, Reader};
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
    /// The files in `checkpoints/`.
    pub(super) kept: Kept,
}

/// A file to be written, below the log's directory.
type Written = (String, Vec<u8>);

impl Log {
    /// Publishes the leaves that are durable by now, and returns the signed checkpoint if it is a new one.
    ///
    /// The server calls this each second. Blocks.
    ///
    /// # Errors
    /// `Write`: the next call tries again. `Rewritten`: what is published has been changed.
    pub fn publish(&self) -> Result<Option<Note>, LogError> {
        self.core.publish()
    }

    /// The newest published checkpoint, for the caller to keep elsewhere as the next start's floor.
    pub fn published(&self) -> Option<Checkpoint> {
        self.core.publisher.lock().unwrap_or_else(PoisonError::into_inner).signed.clone()
    }

    /// Adds signatures of witnesses to the published checkpoint of `size`; says whether it is still the newest.
    ///
    /// They are not checked here. They stand in `checkpoints/<size>` as long as that is kept: a busy log has published
    /// the next before a witness has answered, and what is proven to a cosigned one is proven to more people.
    ///
    /// # Errors
    /// As `publish`.
    pub fn add_signatures(&self, size: u64, signatures: Vec<Signature>) -> Result<bool, LogError> {
        let core = &self.core;
        let publisher = core.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = core.reader().checkpoint_at(size, core.key.public())?;
        // Under this lock none is removed meanwhile.
        let Some((mut note, _)) = kept else { return Ok(false) };
        signatures.into_iter().for_each(|signature| note.add(signature));
        let bytes = note.to_string().into_bytes();
        core.write_files(&[(format!("checkpoints/{size}"), bytes.clone())])?;
        let newest = publisher.is_latest && publisher.signed.as_ref().is_some_and(|signed| signed.size == size);
        if newest {
            core.write_files(&[(String::from("checkpoint"), bytes)])?;
        }
        Ok(newest)
    }
}

impl Core {
    pub(super) fn reader(&self) -> Reader {
        Reader::on(Arc::clone(&self.disk), &self.directory)
    }

    pub(super) fn publish(&self) -> Result<Option<Note>, LogError> {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves: Vec<Arc<[u8]>> = self.lock_queue().unpublished.iter().cloned().collect();
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
        if note.is_some() {
            publisher.kept.add(checkpoint.size);
        }
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
        for size in publisher.kept.surplus() {
            // One that stays is one more; the next start tries again.
            let _ = self.disk.remove_file(&self.directory.join(format!("checkpoints/{size}")));
        }
        self.unsure.store(false, Ordering::Relaxed);
        // The checkpoint is published whatever comes of this: the journal only takes more room until the next time.
        let _ = self.trim(&mut publisher);
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
    ///
    /// After an error they are written anew, as other files under the same names: no sync is tried again.
    fn write_files(&self, files: &[Written]) -> Result<(), LogError> {
        let mut directories = BTreeSet::new();
        for (path, _) in files {
            let path = self.directory.join(path);
            directories.insert(path.parent().unwrap_or(&self.directory).to_owned());
        }
        if self.unsure.load(Ordering::Relaxed) {
            // A directory that is there already may be there in memory only.
            let above = |path: &PathBuf| path.ancestors().map(Path::to_owned).collect::<Vec<_>>();
            let above: Vec<PathBuf> = directories.iter().flat_map(above).collect();
            directories.extend(above.into_iter().filter(|path| path.starts_with(&self.directory)));
        }
        let written = self.write_in(&directories, files);
        if written.is_err() {
            self.unsure.store(true, Ordering::Relaxed);
        }
        written
    }

    fn write_in(&self, directories: &BTreeSet<PathBuf>, files: &[Written]) -> Result<(), LogError> {
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| LogError::Write { path, source }
        };
        for directory in directories {
            self.disk.create_directories(directory).map_err(write(directory))?;
        }
        let mut renames = Vec::with_capacity(files.len());
        for (path, bytes) in files {
            let path = self.directory.join(path);
            let new = with_suffix(&path, ".new");
            write_new(self.disk.as_ref(), &new, bytes).map_err(write(&new))?;
            renames.push((new, path));
        }
        for (new, path) in renames {
            self.disk.rename(&new, &path).map_err(write(&path))?;
        }
        for directory in directories {
            self.disk.sync_directory(directory).map_err(write(directory))?;
        }
        Ok(())
    }

    /// Writes the journal afresh without the leaves that are published in full bundles, if there are many.
    fn trim(&self, publisher: &mut Publisher) -> Result<(), Failure> {
        let boundary = publisher.edge.size() - publisher.edge.size() % 256;
        if boundary.saturating_sub(publisher.journal_first) < self.trim_leaves {
            return Ok(());
        }
        self.write_afresh(publisher)
    }

    /// Writes the journal afresh after a failed write or sync.
    pub(super) fn mend(&self) -> Result<(), Failure> {
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_afresh(&mut publisher)
    }

    /// Writes a journal of the leaves that are durable and not in full, published bundles.
    fn write_afresh(&self, publisher: &mut Publisher) -> Result<(), Failure> {
        let first = publisher.edge.size() - publisher.edge.size() % 256;
        let mut journal = self.lock_journal();
        let mut leaves = publisher.bundle.clone();
        leaves.extend(self.lock_queue().unpublished.iter().cloned());
        match write_journal(self.disk.as_ref(), &self.directory, &self.journal_key, first, &leaves) {
            Ok(written) => {
                *journal = Some(written);
                publisher.journal_first = first;
                Ok(())
            }
            Err((step, source)) => {
                match step {
                    Step::Before => {}
                    // Nobody knows which file has the journal's name now; what was durable is in both.
                    Step::Renamed => *journal = None,
                }
                Err((self.directory.join(JOURNAL), Arc::new(source)))
            }
        }
    }
}

/// How far the writing of a journal came.
pub(super) enum Step {
    /// The old journal is in place.
    Before,
    /// One of both is.
    Renamed,
}

/// Writes a journal in place of any that is there; durable on return. Gives it, to append to.
pub(super) fn write_journal(
    disk: &dyn Disk,
    directory: &Path,
    key: &hmac::Key,
    first: u64,
    leaves: &[Arc<[u8]>],
) -> Result<OpenJournal, (Step, io::Error)> {
    let path = directory.join(JOURNAL);
    let new = with_suffix(&path, ".new");
    let mut bytes = Vec::new();
    let mut chain = Chain::begin(key, first, u64::try_from(leaves.len()).unwrap_or(u64::MAX), &mut bytes);
    leaves.iter().for_each(|leaf| chain.append(leaf, Position::Later, &mut bytes));
    let file = write_new(disk, &new, &bytes).map_err(|error| (Step::Before, error))?;
    let renamed = disk.rename(&new, &path).and_then(|()| disk.sync_directory(directory));
    renamed.map_err(|error| (Step::Renamed, error))?;
    Ok(OpenJournal { file, chain })
}

/// Writes a file of its own; its content is durable on return, its name is not.
fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<Box<dyn SegmentFile>> {
    let mut file = disk.create(path)?;
    match append_all(file.as_mut(), bytes).and_then(|()| file.sync()) {
        Ok(()) => Ok(file),
        Err(error) => {
            // A part of it would only make a full disk fuller.
            let _ = disk.remove_file(path);
            Err(error)
        }
    }
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
