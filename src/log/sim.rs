//! A disk in memory that fails where a test says, and forgets what was not synced when its power is cut.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Disk;
use crate::store::SegmentFile;

/// What happens to the operation that fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    Before,
    Halfway,
    After,
}

/// What is left after a crash.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Crash {
    /// All that was written; not all of it is durable.
    Killed,
    /// All that was synced, and some of the rest.
    PowerCut,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<Sim>>);

#[derive(Debug, Default)]
struct Sim {
    names: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    files: Vec<SimFile>,
    /// Changes of names that are not synced, by directory.
    pending: BTreeMap<PathBuf, Vec<Change>>,
    /// The process dies at the operation that is reached when this is 0.
    dies: Option<(usize, When)>,
    dead: bool,
    /// The syncs fail that are reached when the first number is 0, as many as the second says; the process goes on.
    fails_syncs: Option<(usize, usize)>,
    /// How many bytes still fit.
    space: Option<usize>,
    operations: usize,
    syncs: usize,
    violation: Option<&'static str>,
}

#[derive(Debug, Default)]
struct SimFile {
    bytes: Vec<u8>,
    synced: usize,
    given_up: bool,
}

#[derive(Debug)]
enum Change {
    Named(PathBuf, usize),
    Gone(PathBuf),
}

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }

    pub(super) fn die_at(&self, operation: usize, when: When) {
        self.lock().dies = Some((operation, when));
    }

    /// Lets `count` syncs fail, after `sync` more.
    pub(super) fn fail_syncs(&self, sync: usize, count: usize) {
        self.lock().fails_syncs = Some((sync, count));
    }

    /// Lets the disk take so many bytes more; `None`: as many as come.
    pub(super) fn leave_space(&self, bytes: Option<usize>) {
        self.lock().space = bytes;
    }

    pub(super) fn operations(&self) -> usize {
        self.lock().operations
    }

    pub(super) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    pub(super) fn violation(&self) -> Option<&'static str> {
        self.lock().violation
    }

    /// Starts the machine or the process again; `seed` decides what of the unsynced is left.
    pub(super) fn restart(&self, crash: Crash, mut seed: u64) {
        let mut sim = self.lock();
        (sim.dies, sim.dead, sim.fails_syncs, sim.space) = (None, false, None, None);
        if crash == Crash::Killed {
            return;
        }
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % (below + 1)
        };
        for changes in std::mem::take(&mut sim.pending).into_values() {
            let kept = random(changes.len());
            changes.into_iter().take(kept).for_each(|change| change.apply(&mut sim.durable));
        }
        for file in &mut sim.files {
            let kept = file.synced + random(file.bytes.len() - file.synced);
            if random(1) == 0 {
                file.bytes.truncate(kept);
            } else {
                // The length may be on disk before the content.
                file.bytes[kept..].fill(0);
            }
            file.synced = file.bytes.len();
            file.given_up = false;
        }
        sim.names = sim.durable.clone();
    }

    /// Files below a directory whose name has this part.
    pub(super) fn read_all(&self, part: &str) -> Vec<Vec<u8>> {
        let sim = self.lock();
        let found = sim.names.iter().filter(|(path, _)| path.to_str().unwrap().contains(part));
        found.map(|(_, file)| sim.files[*file].bytes.clone()).collect()
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Named(path, file) => drop(names.insert(path, file)),
            Self::Gone(path) => drop(names.remove(&path)),
        }
    }
}

impl Sim {
    fn step(&mut self) -> io::Result<Option<When>> {
        if self.dead {
            return Err(broken());
        }
        self.operations += 1;
        match &mut self.dies {
            Some((0, when)) => {
                self.dead = true;
                Ok(Some(*when))
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        match &mut self.fails_syncs {
            Some((0, count)) => {
                let fails = *count > 0;
                *count = count.saturating_sub(1);
                fails
            }
            Some((left, _)) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn change(&mut self, change: Change) {
        let (Change::Named(path, _) | Change::Gone(path)) = &change;
        self.pending.entry(path.parent().unwrap().to_owned()).or_default().push(change);
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

/// Does `work` unless the process dies before; fails if it dies at all.
fn unless_dead(sim: &mut Sim, work: impl FnOnce(&mut Sim)) -> io::Result<()> {
    match sim.step()? {
        Some(When::Before | When::Halfway) => Err(broken()),
        Some(When::After) => {
            work(sim);
            Err(broken())
        }
        None => {
            work(sim);
            Ok(())
        }
    }
}

impl Disk for SimDisk {
    fn create_directories(&self, _path: &Path) -> io::Result<()> {
        unless_dead(&mut self.lock(), |_| {})
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let mut sim = self.lock();
        let file = sim.files.len();
        unless_dead(&mut sim, |sim| {
            sim.files.push(SimFile::default());
            sim.names.insert(path.to_owned(), file);
            sim.change(Change::Named(path.to_owned(), file));
        })?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        unless_dead(&mut self.lock(), |sim| {
            let file = sim.names.remove(from).unwrap();
            sim.names.insert(to.to_owned(), file);
            sim.change(Change::Named(to.to_owned(), file));
            sim.change(Change::Gone(from.to_owned()));
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut sim = self.lock();
        let fails = sim.sync_fails();
        unless_dead(&mut sim, |sim| {
            let changes = sim.pending.remove(path).unwrap_or_default();
            if !fails {
                changes.into_iter().for_each(|change| change.apply(&mut sim.durable));
            }
        })?;
        if fails { Err(broken()) } else { Ok(()) }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        unless_dead(&mut self.lock(), |sim| {
            sim.names.remove(path);
            sim.change(Change::Gone(path.to_owned()));
        })
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        unless_dead(&mut self.lock(), |sim| {
            let gone: Vec<PathBuf> = sim.names.keys().filter(|name| name.starts_with(path)).cloned().collect();
            for name in gone {
                sim.names.remove(&name);
                sim.change(Change::Gone(name));
            }
        })
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let sim = self.lock();
        let bytes = sim.names.get(path).map(|file| sim.files[*file].bytes.clone());
        assert!(bytes.as_ref().is_none_or(|bytes| bytes.len() <= bytes_max));
        Ok(bytes)
    }

    fn numbers(&self, directory: &Path) -> io::Result<Vec<u64>> {
        let sim = self.lock();
        let names = sim.names.keys().filter(|name| name.parent() == Some(directory));
        Ok(names.filter_map(|name| name.file_name()?.to_str()?.parse().ok()).collect())
    }
}

#[derive(Debug)]
struct Open {
    disk: SimDisk,
    file: usize,
}

impl SegmentFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sim = self.disk.lock();
        let when = sim.step()?;
        let taken = match when {
            Some(When::Before) => 0,
            Some(When::Halfway) => bytes.len() / 2,
            Some(When::After) | None => bytes.len(),
        };
        let taken = taken.min(sim.space.unwrap_or(taken));
        sim.space = sim.space.map(|space| space - taken);
        if when.is_none() && taken == 0 && !bytes.is_empty() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let file = &mut sim.files[self.file];
        file.bytes.extend_from_slice(&bytes[..taken]);
        if file.given_up {
            sim.violation = Some("a file was written after its sync had failed");
        }
        if when.is_some() { Err(broken()) } else { Ok(taken) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut sim = self.disk.lock();
        let fails = sim.sync_fails();
        let when = sim.step()?;
        let file = &mut sim.files[self.file];
        let dirty = file.bytes.len() - file.synced;
        file.synced += match when {
            _ if fails => 0,
            Some(When::Before) => 0,
            Some(When::Halfway) => dirty / 2,
            Some(When::After) | None => dirty,
        };
        let again = file.given_up;
        file.given_up |= fails;
        if again {
            sim.violation = Some("a sync was tried again after it had failed");
        }
        if fails || when.is_some() { Err(broken()) } else { Ok(()) }
    }
}
