//! The state directory: its lock, its identity, and the names of what lies in it.
//!
//! ```text
//! <state directory>/          0700
//!   LOCK                      flock, held for life; the holder's pid is written in it
//!   store.json                format, id, when it was made; the same id stands in the state database
//!   state/                    the state database (`db`)
//!   rec/, env/                recordings, and for whom they are sealed (`store`)
//!   policies/                 each policy set that was in force, by its hash (`store`)
//!   log/                      the audit log (`audit`, `log`)
//!   reserve                   disk space to give back when the disk is full
//!   admin.sock                the administration socket, while a server runs
//! ```
//!
//! An attacker who can write here can replace the identity; the state database then refuses to open, because its
//! own copy of the id is sealed under the master key, which does not lie here.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::model::Timestamp;

/// The layout that this version reads and writes.
const FORMAT: u32 = 3;
/// `store.json` is far smaller; what is larger is not ours.
const IDENTITY_BYTES_MAX: u64 = 4096;
/// What the layout may consist of; anything else in a directory to be made into a store is somebody's.
const LAYOUT: [&str; 8] = ["LOCK", "store.json", "state", "rec", "env", "log", "policies", "reserve"];

/// The state directory, locked by this process until the value is dropped.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    identity: Identity,
    /// INVARIANT: holds the flock on `LOCK`; closing it gives the lock back.
    _lock: File,
}

/// What `store.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u32,
    id: String,
    created: Timestamp,
}

/// Only the part of `store.json` that every version understands.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Home {
    /// Makes `dir` into a new, empty state directory and locks it. `dir` may exist if it is empty.
    ///
    /// Durable on return. `state/` is left to `Db::create`.
    ///
    /// # Errors
    /// `Exists` if there is a store already, `NotEmpty` if there is anything else: nothing is ever overwritten.
    pub fn create(dir: &Path, now: Timestamp) -> Result<Self, HomeError> {
        let at = |what: &'static str| move |source| HomeError::Io { what, path: dir.to_owned(), source };
        durable::create_directories(dir).map_err(at("create the state directory"))?;
        check_owner(dir)?;
        if let Some(entry) = std::fs::read_dir(dir).map_err(at("read the state directory"))?.next() {
            let found = entry.map_err(at("read the state directory"))?.file_name().to_string_lossy().into_owned();
            let path = dir.to_owned();
            let ours = LAYOUT.contains(&found.as_str());
            return Err(if ours { HomeError::Exists { path } } else { HomeError::NotEmpty { path, found } });
        }
        let lock = take_lock(dir)?;
        for part in ["rec", "env", "log"] {
            durable::create_directories(&dir.join(part)).map_err(at("create the layout of the state directory"))?;
        }
        let identity = Identity { format: FORMAT, id: random_id(dir)?, created: now };
        write_identity(&dir.join("store.json"), &identity)?;
        Ok(Self { dir: dir.to_owned(), identity, _lock: lock })
    }

    /// Locks a directory that is to become the state directory of the store with this id, or of a new one, once
    /// `settle` has put a state database there. Recordings and log may lie there already; no state may.
    ///
    /// # Errors
    /// `Occupied` if there is a state database, `Foreign` if the directory is another store's.
    pub(crate) fn adopt(dir: &Path, id: Option<&str>, now: Timestamp) -> Result<Self, HomeError> {
        let at = |what: &'static str| move |source| HomeError::Io { what, path: dir.to_owned(), source };
        durable::create_directories(dir).map_err(at("create the state directory"))?;
        check_owner(dir)?;
        let lock = take_lock(dir)?;
        if dir.join("state").symlink_metadata().is_ok() {
            return Err(HomeError::Occupied { path: dir.join("state") });
        }
        let path = dir.join("store.json");
        let identity = match (path.symlink_metadata().is_ok(), id) {
            (true, Some(id)) => match read_identity(&path)? {
                identity if identity.id == id => identity,
                identity => {
                    return Err(HomeError::Foreign { path, found: identity.id, expected: id.to_owned() });
                }
            },
            (true, None) => return Err(HomeError::Exists { path: dir.to_owned() }),
            (false, Some(id)) => Identity { format: FORMAT, id: id.to_owned(), created: now },
            (false, None) => Identity { format: FORMAT, id: random_id(dir)?, created: now },
        };
        Ok(Self { dir: dir.to_owned(), identity, _lock: lock })
    }

    /// Completes what `adopt` began: the database at `state` gets its place, and the directory its identity. A crash
    /// leaves a directory that `adopt` takes again, or a whole one.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn settle(&self, state: &Path) -> Result<(), HomeError> {
        let at = |what: &'static str| move |source| HomeError::Io { what, path: self.dir.clone(), source };
        for part in ["rec", "env", "log"] {
            let made = durable::create_directories(&self.dir.join(part));
            made.map_err(at("create the layout of the state directory"))?;
        }
        let path = self.dir.join("store.json");
        if path.symlink_metadata().is_err() {
            write_identity(&path, &self.identity)?;
        }
        std::fs::rename(state, self.state())
            .and_then(|()| durable::sync_parent(&self.state()))
            .map_err(at("put the state database into"))
    }

    /// Opens and locks a state directory.
    ///
    /// # Errors
    /// `Locked` if another process has it; see `HomeError` for the others.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        match std::fs::metadata(dir.join("store.json")) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(HomeError::Absent { path: dir.to_owned() });
            }
            Err(source) => {
                return Err(HomeError::Io { what: "read the state directory", path: dir.to_owned(), source });
            }
        }
        check_owner(dir)?;
        let lock = take_lock(dir)?;
        let identity = read_identity(&dir.join("store.json"))?;
        Ok(Self { dir: dir.to_owned(), identity, _lock: lock })
    }

    /// The store's id: 32 hexadecimal digits, random.
    pub fn id(&self) -> &str {
        &self.identity.id
    }

    /// Where the state database lies.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The directory itself, in which recordings and envelopes lie.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Where the audit log lies.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Where the administration socket lies unless the configuration says otherwise, whoever holds the directory.
    pub fn admin_socket(dir: &Path) -> PathBuf {
        dir.join("admin.sock")
    }

    /// Sets `bytes` of disk space aside in `reserve`, to be given back when the disk is full. Keeps what is there.
    ///
    /// # Errors
    /// What the file system says, `StorageFull` among it; then no part of the file is left.
    pub fn make_reserve(&self, bytes: u64) -> Result<(), HomeError> {
        let path = self.dir.join("reserve");
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == bytes && found.blocks() * 512 >= bytes) {
            return Ok(());
        }
        allocate(&path, bytes).map_err(|source| {
            // A part of the space would only make a full disk fuller.
            let _ = std::fs::remove_file(&path);
            HomeError::Io { what: "set disk space aside", path, source }
        })
    }

    /// Gives the space of `reserve` back to the file system; tells whether there was any.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_reserve(&self) -> Result<bool, HomeError> {
        let path = self.dir.join("reserve");
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(HomeError::Io { what: "give reserved disk space back", path, source }),
        }
    }
}

/// Refuses a directory that others may read, or that belongs to somebody else.
///
/// Files that root would create in a directory of the bastion's own user could not be opened by the bastion later.
pub(crate) fn check_owner(dir: &Path) -> Result<(), HomeError> {
    let found = std::fs::metadata(dir).map_err(|source| HomeError::Io {
        what: "read the state directory",
        path: dir.to_owned(),
        source,
    })?;
    let ours = rustix::process::geteuid().as_raw();
    if found.uid() != ours {
        return Err(HomeError::Owner { path: dir.to_owned(), owner: found.uid(), ours });
    }
    if found.mode() & 0o077 != 0 {
        return Err(HomeError::Readable { path: dir.to_owned(), mode: found.mode() & 0o7777 });
    }
    Ok(())
}

/// Takes the lock and writes our pid in it; never waits.
///
/// What lies in the lock's place may be somebody's who wants another file of ours to be written.
pub(crate) fn take_lock(dir: &Path) -> Result<File, HomeError> {
    let path = dir.join("LOCK");
    let failed = |source: io::Error| HomeError::Io { what: "take the lock", path: path.clone(), source };
    let mut file = durable::open_own(&path, 0o600).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut text);
            return Err(HomeError::Locked { path: dir.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0).map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(failed)?;
    Ok(file)
}

fn write_identity(path: &Path, identity: &Identity) -> Result<(), HomeError> {
    let mut text = serde_json::to_vec(identity)
        .map_err(|error| HomeError::Damaged { path: path.to_owned(), why: error.to_string() })?;
    text.push(b'\n');
    durable::create_new(path, &text, 0o600).map_err(|source| HomeError::Io {
        what: "write the identity of the store",
        path: path.to_owned(),
        source,
    })
}

fn read_identity(path: &Path) -> Result<Identity, HomeError> {
    let failed = |source| HomeError::Io { what: "read the identity of the store", path: path.to_owned(), source };
    let damaged = |why: String| HomeError::Damaged { path: path.to_owned(), why };
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(IDENTITY_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let any: AnyFormat = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if any.format > FORMAT {
        return Err(HomeError::Newer { path: path.to_owned(), format: any.format });
    }
    if (1..FORMAT).contains(&any.format) {
        return Err(HomeError::Older { path: path.to_owned(), format: any.format });
    }
    let identity: Identity = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    let good = identity.id.len() == 32 && identity.id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if identity.format != FORMAT || !good {
        return Err(damaged("not the identity of a store of this kind".into()));
    }
    Ok(identity)
}

fn random_id(dir: &Path) -> Result<String, HomeError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| HomeError::Io {
        what: "get randomness for the identity of the store",
        path: dir.to_owned(),
        source: io::Error::other("the system gives no randomness"),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        // A file system without fallocate: only written blocks are ours for certain.
        Err(Errno::OPNOTSUPP) => {
            io::copy(&mut io::repeat(0x5a).take(bytes), &mut file)?;
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()?;
    durable::sync_parent(path)
}

/// Why a state directory could not be made or opened.
#[derive(Debug)]
pub enum HomeError {
    /// Another process has it; the exit status is 75.
    Locked {
        /// The state directory.
        path: PathBuf,
        /// Who has it, if they had time to write it down.
        pid: Option<u32>,
    },
    /// There is no store there.
    Absent {
        /// The state directory.
        path: PathBuf,
    },
    /// There is a store already where a new one was to be made.
    Exists {
        /// The state directory.
        path: PathBuf,
    },
    /// There is a state database already where one was to be made from an export.
    Occupied {
        /// The database.
        path: PathBuf,
    },
    /// It is another store's.
    Foreign {
        /// `store.json`.
        path: PathBuf,
        /// The id in it.
        found: String,
        /// The id of the store that was to be there.
        expected: String,
    },
    /// There is something else where a new store was to be made.
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One name in it.
        found: String,
    },
    /// Others than the owner may read or write it.
    Readable {
        /// The state directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to another system user.
    Owner {
        /// The state directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        ours: u32,
    },
    /// A newer version of Doorward made it.
    Newer {
        /// `store.json`.
        path: PathBuf,
        /// The format it tells.
        format: u32,
    },
    /// An earlier version of Doorward made it.
    Older {
        /// `store.json`.
        path: PathBuf,
        /// The format it tells.
        format: u32,
    },
    /// `store.json` is not what was written.
    Damaged {
        /// `store.json`.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system failed.
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl HomeError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Locked { .. } => "stop that process first, or administer through it".into(),
            Self::Absent { .. } => "`doorward init` makes a new one; check the path in doorward.toml".into(),
            Self::Exists { path } => format!(
                "it stays as it is; if an earlier `doorward init` was interrupted and nothing is worth keeping, \
                 remove {} and run it again",
                path.display()
            ),
            Self::Occupied { path } => format!(
                "it stays as it is; move {} away if it is not wanted any more, or name another `data` in doorward.toml",
                path.display()
            ),
            Self::Foreign { .. } => "name another directory as `data` in doorward.toml".into(),
            Self::NotEmpty { .. } => "choose a directory that is empty or does not exist".into(),
            Self::Readable { path, .. } => format!("run: chmod 700 {}", path.display()),
            Self::Owner { owner, .. } => format!("run this as the user with uid {owner}"),
            Self::Newer { .. } => "install that version of Doorward, or restore a backup of this one".into(),
            Self::Older { .. } => {
                "nothing was changed: keep it, read it with that version, and make a new store with `doorward init`"
                    .into()
            }
            Self::Damaged { path, .. } => format!("restore {} from the backup", path.display()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as root or as the server's user".into()
            }
            Self::Io { .. } => return None,
        })
    }
}

impl fmt::Display for HomeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path, pid: Some(pid) } => {
                write!(f, "the state directory {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, pid: None } => {
                write!(f, "the state directory {} is in use by another process", path.display())
            }
            Self::Absent { path } => write!(f, "there is no store in {}", path.display()),
            Self::Exists { path } => write!(f, "there is a store already in {}", path.display()),
            Self::Occupied { path } => write!(f, "there is a state database already in {}", path.display()),
            Self::Foreign { path, found, expected } => {
                write!(f, "{} is of another store: of {found}, and this would be {expected}", path.display())
            }
            Self::NotEmpty { path, found } => write!(f, "{} is not empty: it holds `{found}`", path.display()),
            Self::Readable { path, mode } => {
                write!(f, "the state directory {} is open to others (mode {mode:04o})", path.display())
            }
            Self::Owner { path, owner, ours } => {
                write!(f, "the state directory {} belongs to uid {owner}, and this is uid {ours}", path.display())
            }
            Self::Newer { path, format } => {
                write!(f, "{} tells format {format}, newer than the format {FORMAT} of this version", path.display())
            }
            Self::Older { path, format } => write!(
                f,
                "{} tells format {format}: made by an earlier version; this version cannot read it (it has format \
                 {FORMAT})",
                path.display()
            ),
            Self::Damaged { path, why } => write!(f, "{} is damaged: {why}", path.display()),
            Self::Io { what, path, .. } => write!(f, "cannot {what} ({})", path.display()),
        }
    }
}

impl std::error::Error for HomeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. }
            | Self::Absent { .. }
            | Self::Exists { .. }
            | Self::Occupied { .. }
            | Self::Foreign { .. }
            | Self::NotEmpty { .. }
            | Self::Readable { .. }
            | Self::Owner { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Damaged { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_store_keeps_its_id() {
        let (_guard, dir) = scratch();
        let made = Home::create(&dir, Timestamp::from_millis(5)).unwrap();
        let id = made.id().to_owned();
        drop(made);
        let opened = Home::open(&dir).unwrap();
        assert_eq!(opened.id(), id);
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(opened.log()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_second_open_is_refused_and_names_the_holder() {
        let (_guard, dir) = scratch();
        let held = Home::create(&dir, Timestamp::from_millis(0)).unwrap();
        let refused = Home::open(&dir).unwrap_err();
        assert!(matches!(refused, HomeError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{refused}");
        drop(held);
        Home::open(&dir).unwrap();
    }

    #[test]
    fn nothing_is_overwritten() {
        let (_guard, dir) = scratch();
        drop(Home::create(&dir, Timestamp::from_millis(0)).unwrap());
        let before = std::fs::read(dir.join("store.json")).unwrap();
        assert!(matches!(Home::create(&dir, Timestamp::from_millis(9)), Err(HomeError::Exists { .. })));
        assert_eq!(std::fs::read(dir.join("store.json")).unwrap(), before);

        let (_guard, other) = scratch();
        durable::create_directories(&other).unwrap();
        File::create(other.join("thesis.txt")).unwrap();
        assert!(matches!(Home::create(&other, Timestamp::from_millis(0)), Err(HomeError::NotEmpty { .. })));
    }

    #[test]
    fn a_missing_store_is_not_made_by_opening_it() {
        let (_guard, dir) = scratch();
        assert!(matches!(Home::open(&dir), Err(HomeError::Absent { .. })));
        assert!(!dir.exists());
    }

    #[test]
    fn a_foreign_damaged_or_newer_identity_is_refused() {
        let cases = [
            ("", "Damaged"),
            ("not json", "Damaged"),
            ("{\"name\":\"some package\"}", "Damaged"),
            ("{\"format\":3,\"id\":\"zz\",\"created\":\"2026-01-01T00:00:00Z\"}", "Damaged"),
            (
                "{\"format\":0,\"id\":\"00000000000000000000000000000000\",\"created\":\"2026-01-01T00:00:00Z\"}",
                "Damaged",
            ),
            ("{\"format\":4,\"anything\":[]}", "Newer"),
            ("{\"format\":2,\"anything\":[]}", "Older"),
            ("{\"format\":1,\"anything\":[]}", "Older"),
        ];
        for (text, wanted) in cases {
            let (_guard, dir) = scratch();
            drop(Home::create(&dir, Timestamp::from_millis(0)).unwrap());
            durable::replace(&dir.join("store.json"), text.as_bytes(), 0o600).unwrap();
            let refused = Home::open(&dir).unwrap_err();
            assert!(format!("{refused:?}").starts_with(wanted), "{text}: {refused:?}");
            assert!(refused.hint().is_some());
        }
    }

    #[test]
    fn a_directory_that_others_can_read_is_refused() {
        let (_guard, dir) = scratch();
        drop(Home::create(&dir, Timestamp::from_millis(0)).unwrap());
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Home::open(&dir), Err(HomeError::Readable { mode: 0o750, .. })));
    }

    #[test]
    fn who_may_not_read_the_store_is_told_who_may() {
        let denied = |kind: io::ErrorKind| {
            HomeError::Io { what: "read the state directory", path: PathBuf::new(), source: kind.into() }.hint()
        };
        assert!(denied(io::ErrorKind::PermissionDenied).unwrap().contains("server's user"));
        assert_eq!(denied(io::ErrorKind::Other), None);
    }

    #[test]
    fn the_reserve_takes_space_and_gives_it_back() {
        let (_guard, dir) = scratch();
        let home = Home::create(&dir, Timestamp::from_millis(0)).unwrap();
        home.make_reserve(1 << 20).unwrap();
        home.make_reserve(1 << 20).unwrap();
        assert!(std::fs::metadata(dir.join("reserve")).unwrap().blocks() * 512 >= 1 << 20);
        assert!(home.free_reserve().unwrap());
        assert!(!home.free_reserve().unwrap());
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let guard = tempfile::tempdir().unwrap();
        let dir = guard.path().join("data");
        (guard, dir)
    }
}
