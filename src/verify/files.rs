//! Files that an attacker may have put in place of ours.
//!
//! A link, a pipe or a device in the place of a file must not make the verifier wait, or read something else.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, FileType};
use std::io::{self, Read};
use std::path::Path;

use crate::durable;

/// More names in one directory are not read.
const ENTRIES_MAX: usize = 4_000_000;

/// Why a file cannot be had.
#[derive(Debug)]
pub(super) enum FileError {
    /// There is none.
    Absent,
    /// It is no plain file.
    NotAFile,
    /// It is no directory.
    NotADirectory,
    /// It is longer than anything that was written there.
    TooLong {
        /// The most that is read, in bytes.
        most: u64,
    },
    /// What the file system says.
    Io(io::Error),
}

impl FileError {
    pub(super) fn of(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Self::Absent;
        }
        if error.kind() == io::ErrorKind::InvalidInput {
            return Self::NotAFile;
        }
        // What `O_NOFOLLOW` says of a link; a directory on the way may be a file.
        let no_file = [rustix::io::Errno::LOOP, rustix::io::Errno::NOTDIR, rustix::io::Errno::NXIO];
        if no_file.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
            return Self::NotAFile;
        }
        Self::Io(error)
    }

    /// Whether the file may be as it was, and this reader cannot have it.
    pub(super) fn is_unreadable(&self) -> bool {
        match self {
            Self::Io(_) => true,
            Self::Absent | Self::NotAFile | Self::NotADirectory | Self::TooLong { .. } => false,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("it is missing"),
            Self::NotAFile => f.write_str("it is no plain file"),
            Self::NotADirectory => f.write_str("it is no directory"),
            Self::TooLong { most } => write!(f, "it has more than {most} bytes"),
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

/// Opens a plain file.
pub(super) fn open(path: &Path) -> Result<File, FileError> {
    durable::open_plain(path).map_err(FileError::of)
}

/// Reads a plain file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(FileError::Io)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|len| len <= most);
    if fits { Ok(bytes) } else { Err(FileError::TooLong { most }) }
}

/// The names in a directory with what they are, sorted; none if there is no directory. Links are not followed.
pub(super) fn list(path: &Path) -> Result<Vec<(OsString, FileType)>, FileError> {
    match std::fs::symlink_metadata(path).map_err(FileError::of) {
        Err(FileError::Absent) => Ok(Vec::new()),
        Ok(found) if found.is_dir() => list_through(path),
        Ok(_) => Err(FileError::NotADirectory),
        Err(error) => Err(error),
    }
}

/// Calls `each` with every name in a directory, in no order, however many there are; none if there is no directory.
pub(super) fn each_name(path: &Path, mut each: impl FnMut(&OsStr)) -> Result<(), FileError> {
    match std::fs::symlink_metadata(path).map_err(FileError::of) {
        Err(FileError::Absent) => return Ok(()),
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(FileError::NotADirectory),
        Err(error) => return Err(error),
    }
    for entry in std::fs::read_dir(path).map_err(FileError::of)? {
        each(&entry.map_err(FileError::Io)?.file_name());
    }
    Ok(())
}

/// As `list`, of one of the directories that an operator may have put elsewhere and linked to.
pub(super) fn list_through(path: &Path) -> Result<Vec<(OsString, FileType)>, FileError> {
    let entries = match std::fs::read_dir(path).map_err(FileError::of) {
        Err(FileError::Absent) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::Io)?;
        match entry.file_type().map_err(FileError::of) {
            Ok(kind) => names.push((entry.file_name(), kind)),
            // It went between the two calls.
            Err(FileError::Absent) => {}
            Err(error) => return Err(error),
        }
        if names.len() > ENTRIES_MAX {
            return Err(FileError::TooLong { most: u64::try_from(ENTRIES_MAX).unwrap_or(u64::MAX) });
        }
    }
    names.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}
