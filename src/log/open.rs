//! Opening: what is there must go on from what was signed.

use std::path::Path;
use std::sync::Arc;

use super::append::{Core, Queue, journal_key};
use super::publish::{Publisher, Step, write_journal};
use super::thin::{KEEPING, Keeping, Kept};
use super::wal::{self, Bad, Journal};
use super::{Disk, Leaf, LocalDisk, Log, LogError, LogSettings, Reader};
use crate::tlog::{Checkpoint, Edge, Hash, TileSource, leaf_hash};

/// The journal's name.
pub(super) const JOURNAL: &str = "leaves.wal";
/// Longest journal that is read, in bytes.
pub(super) const JOURNAL_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How many leaves the journal may lose before it is written afresh.
const TRIM_LEAVES: u64 = 4096;

/// A log that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The log. All leaves that are in the journal are published.
    pub log: Log,
    /// How many bytes a crash left of leaves that nobody was told are kept; they are gone now.
    pub torn_bytes: usize,
}

impl Log {
    /// Opens the log, makes it if there is none, and publishes what is not published yet.
    ///
    /// # Errors
    /// `RolledBack` or `Rewritten` if the leaves do not go on from the newest checkpoint in `checkpoints/`, from
    /// `checkpoint` or from the floor; `Damaged`, `Note`, `Signature`, `Checkpoint` or `OtherLog` if something is not
    /// what was written; `Forged` if the journal has what was not written with the log's key. Nothing is signed or
    /// changed then.
    pub fn open(settings: LogSettings) -> Result<Opened, LogError> {
        Self::open_on(Arc::new(LocalDisk), settings, TRIM_LEAVES, KEEPING)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        settings: LogSettings,
        trim_leaves: u64,
        keeping: Keeping,
    ) -> Result<Opened, LogError> {
        let directory = settings.directory.clone();
        let write = |source| LogError::Write { path: directory.join(JOURNAL), source };
        disk.create_directories(&directory).map_err(write)?;
        let found = Found::read(&disk, &settings)?;
        let leaves: Vec<Arc<[u8]>> = found.journal.leaves.into_iter().map(Arc::from).collect();
        // A failed sync may have left a journal that is in memory only; what is appended must not rest on it.
        let key = journal_key(&settings.key);
        let journal = write_journal(disk.as_ref(), &directory, &key, found.journal.first, &leaves)
            .map_err(|(Step::Before | Step::Renamed, source)| write(source))?;
        let publisher = Publisher {
            edge: found.edge,
            bundle: Vec::new(),
            is_latest: found.signed == found.latest,
            signed: found.signed,
            journal_first: found.journal.first,
            kept: Kept::new(keeping, found.sizes),
        };
        let queue = Queue::of(found.journal.first, leaves);
        let log = Self::start(Core::new(disk, settings, trim_leaves, publisher, journal, queue))?;
        // Every tile from the journal's first leaf on is written again, for the same reason as the journal.
        log.publish()?;
        Ok(Opened { log, torn_bytes: found.journal.torn })
    }
}

/// What is on disk, checked.
struct Found {
    journal: Journal,
    /// The edge at the journal's first leaf.
    edge: Edge,
    /// The newest checkpoint that was signed, and the one in `checkpoint`.
    signed: Option<Checkpoint>,
    latest: Option<Checkpoint>,
    /// The sizes of those that are kept.
    sizes: Vec<u64>,
}

impl Found {
    fn read(disk: &Arc<dyn Disk>, settings: &LogSettings) -> Result<Self, LogError> {
        let reader = Reader::on(Arc::clone(disk), &settings.directory);
        let key = settings.key.public();
        let latest = reader.checkpoint(key)?.map(|(_, checkpoint)| checkpoint);
        // A crash between the two writes leaves one that was signed and is not in `checkpoint`.
        let sizes = reader.sizes()?;
        let newest = match sizes.iter().max() {
            Some(size) => reader.checkpoint_at(*size, key)?.map(|(_, checkpoint)| checkpoint),
            None => None,
        };
        let signed = match (newest, &latest) {
            (Some(newest), Some(latest)) if newest.size < latest.size => Some(latest.clone()),
            (Some(newest), _) => Some(newest),
            (None, latest) => latest.clone(),
        };
        let journal = read_journal(disk, settings, signed.as_ref())?;
        let edge = Edge::of_full_tiles(journal.first, |tile| reader.tile(tile))?;
        let found = Self { journal, edge, signed, latest, sizes };
        found.goes_on_from(found.signed.as_ref(), "the newest checkpoint", &reader)?;
        found.goes_on_from(found.latest.as_ref(), "`checkpoint`", &reader)?;
        found.goes_on_from(settings.floor.as_ref(), "the checkpoint that is kept elsewhere", &reader)?;
        if let Some(floor) = &settings.floor
            && &floor.origin != key.name()
        {
            return Err(LogError::OtherLog { path: settings.directory.clone() });
        }
        found.check_form(&settings.node, &settings.directory)?;
        let signed_size = found.signed.as_ref().map_or(0, |signed| signed.size);
        if signed_size < found.journal.first {
            return Err(LogError::Damaged {
                path: settings.directory.join("checkpoints"),
                why: String::from("a checkpoint is missing: the journal begins behind the newest"),
            });
        }
        Ok(found)
    }

    /// The last guard before leaves are signed: each has the form that the log gives it.
    fn check_form(&self, node: &str, directory: &Path) -> Result<(), LogError> {
        let signed = self.signed.as_ref().map_or(0, |signed| signed.size);
        for (index, leaf) in (self.journal.first..).zip(&self.journal.leaves).filter(|(index, _)| *index >= signed) {
            Leaf::check(leaf, index, node).map_err(|why| LogError::Damaged {
                path: directory.join(JOURNAL),
                why: format!("what stands in it as leaf {index} is none of this log's: {why}"),
            })?;
        }
        Ok(())
    }

    fn goes_on_from(
        &self,
        checkpoint: Option<&Checkpoint>,
        said_by: &'static str,
        reader: &Reader,
    ) -> Result<(), LogError> {
        let Some(Checkpoint { size, root, .. }) = checkpoint else { return Ok(()) };
        let leaves = self.journal.first.saturating_add(u64::try_from(self.journal.leaves.len()).unwrap_or(u64::MAX));
        if leaves < *size {
            return Err(LogError::RolledBack { leaves, published: *size, said_by });
        }
        if self.root_at(*size, reader)? == *root { Ok(()) } else { Err(LogError::Rewritten { size: *size, said_by }) }
    }

    /// The root of the first `size` leaves, which are there.
    fn root_at(&self, size: u64, reader: &Reader) -> Result<Hash, LogError> {
        let Some(more) = size.checked_sub(self.journal.first) else { return reader.root(size) };
        let mut edge = self.edge.clone();
        let more = usize::try_from(more).unwrap_or(usize::MAX);
        self.journal.leaves.iter().take(more).for_each(|leaf| edge.append(leaf_hash(leaf), |_, _| {}));
        Ok(edge.root())
    }
}

fn read_journal(
    disk: &Arc<dyn Disk>,
    settings: &LogSettings,
    signed: Option<&Checkpoint>,
) -> Result<Journal, LogError> {
    let path = settings.directory.join(JOURNAL);
    match disk.read(&path, JOURNAL_BYTES_MAX) {
        Ok(Some(bytes)) => wal::decode(&bytes, Some(&journal_key(&settings.key))).map_err(|bad| match bad {
            Bad::Damaged(why) => LogError::Damaged { path, why },
            Bad::Forged { offset, why } => LogError::Forged { path, offset, why },
        }),
        // The journal is made before anything is signed.
        Ok(None) => match (signed, &settings.floor) {
            (Some(_), _) => Err(LogError::Damaged { path, why: String::from("it is missing") }),
            (None, Some(floor)) if floor.size > 0 => Err(LogError::RolledBack {
                leaves: 0,
                published: floor.size,
                said_by: "the checkpoint that is kept elsewhere",
            }),
            (None, _) => Ok(Journal { first: 0, leaves: Vec::new(), torn: 0 }),
        },
        Err(source) => Err(LogError::Read { path, source }),
    }
}
