//! Files that survive a power cut: what is durable when each function returns. And files that an attacker may have put
//! in the place of ours.
//!
//! An attacker who can write in these directories can delete or replace what is there; noticing that is the
//! business of the transparency log, not of this module.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a plain file to read. What lies in its place, if somebody put it there, must not make the reader wait, as a
/// pipe does, or read something else, as a link does.
///
/// # Errors
/// What the file system says; `InvalidInput` if it is no plain file.
pub fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file");
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // What a link and a socket say.
        Err(error) if is_errno(&error, Errno::LOOP) || is_errno(&error, Errno::NXIO) => return Err(no_file()),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// The content of a regular file, of at most `most` bytes, by whatever links lead to it. What lies in its place, such as a
/// pipe, never makes the reader wait.
///
/// # Errors
/// What the file system says; `InvalidInput` if it is no regular file; `FileTooLarge` if it has more.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
    let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // What a socket says.
        Err(error) if is_errno(&error, Errno::NXIO) => return Err(no_file()),
        opened => opened?,
    };
    if file.metadata()?.is_file() { read_most(file, most) } else { Err(no_file()) }
}

/// Opens a plain file of our own to read and write, or makes it. No link is followed, and what another user has made, or
/// has given a second name, is not ours.
///
/// # Errors
/// What the file system says; `InvalidInput` if it is no such file: nothing of it is changed then.
pub fn open_own(path: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
    let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(mode).custom_flags(flags);
    let file = match options.open(path) {
        // What a link, a socket and a directory say.
        Err(error) if [Errno::LOOP, Errno::NXIO, Errno::ISDIR].iter().any(|errno| is_errno(&error, *errno)) => {
            return Err(refused("it is no plain file"));
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    let ours = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        return Err(refused("it is no plain file"));
    }
    if found.nlink() != 1 || (found.uid() != ours && found.uid() != 0) {
        return Err(refused("it is another user's file, or has another name elsewhere"));
    }
    Ok(file)
}

/// The content of a plain file, of at most `most` bytes.
///
/// # Errors
/// As [`open_plain`]; `FileTooLarge` if it has more.
pub fn read_plain(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_most(open_plain(path)?, most)
}

fn read_most(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= most) { Ok(bytes) } else { Err(io::ErrorKind::FileTooLarge.into()) }
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Creates `path` with `bytes`, mode `mode`; fails if it exists. Durable on return, its directory entry too.
///
/// # Errors
/// What the file system says; `AlreadyExists` if the file is there.
pub fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_parent(path)
}

/// Replaces `path` by `bytes` in one step: readers see the old content or the new, never a part. Durable on return.
///
/// # Errors
/// What the file system says; the old content stays.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    sync_parent(path)
}

/// Removes a file; tells whether it was there. Durable on return, also where an earlier try was not.
///
/// # Errors
/// What the file system says.
pub fn remove_file(path: &Path) -> io::Result<bool> {
    removed(path, std::fs::remove_file(path))
}

/// Removes a directory and all that is in it; tells whether it was there. Durable on return, also where an earlier try
/// was not.
///
/// # Errors
/// What the file system says; a part of it may be gone.
pub fn remove_directory(path: &Path) -> io::Result<bool> {
    removed(path, std::fs::remove_dir_all(path))
}

fn removed(path: &Path, outcome: io::Result<()>) -> io::Result<bool> {
    let was_there = match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        outcome => outcome.map(|()| true)?,
    };
    match sync_parent(path) {
        // Nor is the directory that it would be in.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !was_there => Ok(false),
        synced => synced.map(|()| was_there),
    }
}

/// Creates a directory (mode 0700) and every missing parent; durable on return.
///
/// # Errors
/// What the file system says.
pub fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directories(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    sync_parent(path)
}

/// Makes the directory entry of `path` durable.
///
/// # Errors
/// What the file system says.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Copies a directory and all that is below it.
    pub(crate) fn copy_tree(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_tree(&entry.path(), &to);
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[test]
    fn what_is_removed_tells_whether_it_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_new(&at("file"), b"x", 0o600).unwrap();
        create_directories(&at("a/b")).unwrap();
        assert!(remove_file(&at("file")).unwrap() && !remove_file(&at("file")).unwrap());
        assert!(!remove_file(&at("none/file")).unwrap() && !remove_directory(&at("none/a")).unwrap());
        assert!(remove_file(&at("a")).is_err());
        assert!(remove_directory(&at("a")).unwrap() && !remove_directory(&at("a")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, b"1234", 0o600).unwrap();
        assert_eq!(read_plain(&path, 4).unwrap(), b"1234");
        assert_eq!(read_plain(&path, 3).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_no_plain_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_new(&at("file"), b"x", 0o600).unwrap();
        assert!(open_plain(&at("file")).is_ok());
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        create_directories(&at("directory")).unwrap();
        for name in ["pipe", "link", "socket", "directory"] {
            assert_eq!(open_plain(&at(name)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        for name in ["pipe", "socket", "directory"] {
            assert_eq!(read_regular(&at(name), 9).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(read_regular(&at("link"), 9).unwrap(), b"x");
        assert_eq!(open_plain(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_of_our_own_is_no_link_no_second_name_and_no_other_users_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_new(&at("victim"), b"victim", 0o600).unwrap();
        std::os::unix::fs::symlink(at("victim"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("none"), at("dangling")).unwrap();
        std::fs::hard_link(at("victim"), at("name")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
        create_directories(&at("directory")).unwrap();
        let mut bad = vec!["link", "dangling", "name", "pipe", "directory"];
        if rustix::process::geteuid().is_root() {
            create_new(&at("nobodys"), b"", 0o666).unwrap();
            std::os::unix::fs::chown(at("nobodys"), Some(65_534), None).unwrap();
            bad.push("nobodys");
        }
        for name in bad {
            assert_eq!(open_own(&at(name), 0o600).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(!at("none").exists());
        for _ in 0..2 {
            open_own(&at("own"), 0o600).unwrap().write_all(b"x").unwrap();
        }
        assert_eq!(std::fs::read(at("own")).unwrap(), b"x");
    }
}
