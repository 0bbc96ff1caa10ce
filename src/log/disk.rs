//! What the log asks of a file system, so that tests can make it fail and cut its power.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::durable;
use crate::store::SegmentFile;

/// What the log asks of a file system. Calls block.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates `path` and its missing parents, mode 0700; durable on return. It may exist.
    ///
    /// # Errors
    /// What the file system says.
    fn create_directories(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty file, mode 0600, in place of any that is there. Its content is durable once it is synced, its
    /// name once the directory is.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Gives a file another name, in one step; what has that name is replaced. Durable once the directory is synced.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable. Not to be tried again after an error.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a file. Need not be durable.
    ///
    /// # Errors
    /// What the file system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it. Need not be durable.
    ///
    /// # Errors
    /// What the file system says.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Reads a whole file of at most `bytes_max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// What the file system says; `FileTooLarge`, and `InvalidInput` if it is no plain file.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>>;

    /// The decimal numbers that are names in a directory, in no order; none if there is no directory.
    ///
    /// # Errors
    /// What the file system says.
    fn numbers(&self, directory: &Path) -> io::Result<Vec<u64>>;
}

/// The file systems of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        durable::create_directories(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match durable::open_plain(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        file.take(u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(Some(bytes))
    }

    fn numbers(&self, directory: &Path) -> io::Result<Vec<u64>> {
        let entries = match std::fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        Ok(numbers)
    }
}
