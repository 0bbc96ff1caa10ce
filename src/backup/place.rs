//! The directory of a backup: files that are whole or not there, and are never changed into something else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::BackupError;
use crate::durable;

/// So many files are synced at once: one sync of the file system costs no more than one of a file.
const PENDING_MAX: usize = 512;
const CHUNK_BYTES: usize = 256 * 1024;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// How many files were written.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many files were there already, as they must be.
    pub same: u64,
}

/// How much of what is in a backup already is compared with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// Every byte.
    Bytes,
    /// The length, of what never changes.
    Lengths,
}

/// A backup that is written.
pub(super) struct Place {
    directory: PathBuf,
    compare: Compare,
    /// Written under the first name, to get the second once they are on disk.
    pending: Vec<(PathBuf, PathBuf)>,
    pub(super) copied: Copied,
}

impl Place {
    pub(super) fn new(directory: &Path, compare: Compare) -> Self {
        Self { directory: directory.to_owned(), compare, pending: Vec::new(), copied: Copied::default() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn compare(&self) -> Compare {
        self.compare
    }

    /// Where this name lies. The directories on the way to it are directories of the backup, if they are there: what is
    /// put or removed behind a link would be somewhere else.
    ///
    /// # Errors
    /// `NotOurs`.
    pub(super) fn at(&self, name: &str) -> Result<PathBuf, BackupError> {
        let mut path = self.directory.clone();
        for part in Path::new(name).components() {
            if path != self.directory {
                match path.symlink_metadata() {
                    Ok(found) if found.is_dir() => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Ok(_) => {
                        let why = format!("`{}` is no directory of it", path.display());
                        return Err(BackupError::NotOurs { path: self.directory.clone(), why });
                    }
                    Err(source) => return Err(failed("read", &path, source)),
                }
            }
            path.push(part);
        }
        Ok(path)
    }

    /// Whether there is something under this name.
    pub(super) fn has(&self, name: &str) -> Result<bool, BackupError> {
        Ok(self.at(name)?.symlink_metadata().is_ok())
    }

    /// Puts a file there that never changes.
    ///
    /// # Errors
    /// `Differs` if there is another one.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.at(name)?;
        match durable::open_plain(&path) {
            Ok(found) => {
                let most = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_add(1);
                let mut old = Vec::new();
                found.take(most).read_to_end(&mut old).map_err(|source| failed("read", &path, source))?;
                if old != bytes {
                    return Err(BackupError::Differs { path, why: "it is not what the store has" });
                }
                self.copied.same = self.copied.same.saturating_add(1);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(&path, &mut &*bytes).map(drop),
            Err(source) => Err(failed("read", &path, source)),
        }
    }

    /// Puts a file there in place of any other.
    pub(super) fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.at(name)?;
        self.write(&path, &mut &*bytes).map(drop)
    }

    /// Copies a file that is only appended to. What the backup has must be its beginning. `grows`: it may not be at its
    /// end yet; then only what is on disk by now is copied.
    ///
    /// # Errors
    /// `Gone` if the store does not have it, `Differs`.
    pub(super) fn append(&mut self, source: &Path, name: &str, grows: bool) -> Result<(), BackupError> {
        let path = self.at(name)?;
        let from = match durable::open_plain(source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::Gone { path: source.to_owned() });
            }
            from => from.map_err(|error| failed("read", source, error))?,
        };
        let length = from.metadata().map_err(|error| failed("read", source, error))?.len();
        if grows {
            // What is in memory only may be gone after a power cut, and must not be in the backup then.
            from.sync_data().map_err(|error| failed("sync", source, error))?;
        }
        match durable::open_plain(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("read", &path, error)),
            Ok(old) => {
                let had = old.metadata().map_err(|error| failed("read", &path, error))?.len();
                if had > length {
                    let why = "it is longer than the store's: what was recorded there is gone";
                    return Err(BackupError::Differs { path, why });
                }
                let only_length = self.compare == Compare::Lengths && had == length;
                if !only_length && !begins_with(&from, &old, had).map_err(|error| failed("compare", &path, error))? {
                    return Err(BackupError::Differs { path, why: "it is not what the store has" });
                }
                if had == length {
                    self.copied.same = self.copied.same.saturating_add(1);
                    return Ok(());
                }
            }
        }
        let mut from = durable::open_plain(source).map_err(|error| failed("read", source, error))?.take(length);
        let written = self.write(&path, &mut from)?;
        if written != length {
            return Err(BackupError::Differs { path, why: "the store's became shorter while it was copied" });
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, from: &mut dyn Read) -> Result<u64, BackupError> {
        if let Some(parent) = path.parent() {
            durable::create_directories(parent).map_err(|source| failed("make", parent, source))?;
        }
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace", &new, error)),
            Ok(()) | Err(_) => {}
        }
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .map_err(|source| failed("write", &new, source))?;
        let written = io::copy(from, &mut to).map_err(|source| failed("write", &new, source))?;
        self.copied.files = self.copied.files.saturating_add(1);
        self.copied.bytes = self.copied.bytes.saturating_add(written);
        self.pending.push((new, path.to_owned()));
        if self.pending.len() >= PENDING_MAX {
            self.flush()?;
        }
        Ok(written)
    }

    /// Gives every file that was written its name; all is durable on return.
    pub(super) fn flush(&mut self) -> Result<(), BackupError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let sync = |directory: &Path| {
            let opened = File::open(directory).and_then(|opened| Ok(rustix::fs::syncfs(opened)?));
            opened.map_err(|source| failed("sync", directory, source))
        };
        sync(&self.directory)?;
        for (new, path) in self.pending.drain(..) {
            std::fs::rename(&new, &path).map_err(|source| failed("write", &path, source))?;
        }
        sync(&self.directory)
    }

    /// What a directory has; nothing if there is none.
    pub(super) fn names(&self, name: &str) -> Result<Vec<String>, BackupError> {
        match names(&self.at(name)?) {
            Err(BackupError::Gone { .. }) => Ok(Vec::new()),
            names => names,
        }
    }

    /// Removes a file or a directory; says whether it was there.
    pub(super) fn remove(&self, name: &str) -> Result<bool, BackupError> {
        let path = self.at(name)?;
        let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = if is_directory { durable::remove_directory(&path) } else { durable::remove_file(&path) };
        removed.map_err(|source| failed("remove", &path, source))
    }
}

/// Reads a plain file of at most `most` bytes; `None` if there is none.
pub(super) fn read_plain(path: &Path, most: u64) -> Result<Option<Vec<u8>>, BackupError> {
    match durable::read_plain(path, most) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(|source| failed("read", path, source)),
    }
}

/// Whether the first `length` bytes of both are the same.
fn begins_with(mut one: &File, mut other: &File, length: u64) -> io::Result<bool> {
    let (mut a, mut b) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut left = length;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let (Some(a), Some(b)) = (a.get_mut(..size), b.get_mut(..size)) else { return Ok(false) };
        one.read_exact(a)?;
        other.read_exact(b)?;
        if a != b {
            return Ok(false);
        }
        left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
    }
    Ok(true)
}

pub(super) fn failed(what: &'static str, path: &Path, source: io::Error) -> BackupError {
    BackupError::Io { what, path: path.to_owned(), source }
}

/// What a directory has, in order; `Gone` if there is none.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, BackupError> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BackupError::Gone { path: directory.to_owned() });
        }
        entries => entries.map_err(|source| failed("read", directory, source))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|source| failed("read", directory, source))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
