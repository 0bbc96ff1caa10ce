//! Why a witness cannot do its work.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::home::HomeError;
use crate::tlog::{MalformedKey, NoteError};

/// Why a witness cannot do its work.
#[derive(Debug)]
pub enum KeeperError {
    /// The directory cannot be used or locked.
    Home(HomeError),
    /// There is no witness in the directory.
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// A new witness was to be made where there is something.
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A key's file is not what was written.
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        source: MalformedKey,
    },
    /// A key is of the other kind: logs sign notes, witnesses cosign.
    KeyKind {
        /// The key's name.
        name: String,
        /// What the key is for.
        is_for: &'static str,
    },
    /// A log has so many keys already that no more are taken.
    TooManyKeys {
        /// How many.
        keys: usize,
    },
    /// A kept checkpoint is not what was written.
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A kept checkpoint is not cosigned with this witness's key.
    Signature {
        /// Which.
        path: PathBuf,
        /// Why.
        source: NoteError,
    },
    /// No key could be made, or nothing signed with it.
    Crypto,
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

impl KeeperError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Home(error) => return error.hint(),
            Self::Absent { path } => format!("run: doorward witness init {} --name NAME", path.display()),
            Self::NotEmpty { .. } => {
                "choose a directory that is empty or does not exist; nothing is overwritten".into()
            }
            Self::Key { .. } | Self::Damaged { .. } | Self::Signature { .. } => {
                "find out who or what changed it. A witness that has forgotten what it signed must not sign on: make a \
                 new one, with a new key, and give its key to the logs and to those who verify"
                    .into()
            }
            Self::KeyKind { .. } => "`doorward witness add` takes the key of a log, and a log's configuration takes \
                                     the key of a witness"
                .into(),
            Self::TooManyKeys { .. } => "remove old keys from the log's file in `logs`".into(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as the user to whom the directory belongs".into()
            }
            Self::Crypto | Self::Io { .. } => return None,
        })
    }
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home(error) => error.fmt(f),
            Self::Absent { path } => write!(f, "there is no witness in {}", path.display()),
            Self::NotEmpty { path } => write!(f, "{} is not empty", path.display()),
            Self::Key { path, .. } => write!(f, "`{}` holds no key", path.display()),
            Self::KeyKind { name, is_for } => write!(f, "the key `{name}` is for {is_for}"),
            Self::TooManyKeys { keys } => write!(f, "the log has {keys} keys already"),
            Self::Damaged { path, why } => write!(f, "`{}` is damaged: {why}", path.display()),
            Self::Signature { path, .. } => write!(f, "`{}` is not cosigned with this witness's key", path.display()),
            Self::Crypto => f.write_str("the system gives no randomness, or cryptography failed"),
            Self::Io { what, path, .. } => write!(f, "cannot {what} `{}`", path.display()),
        }
    }
}

impl std::error::Error for KeeperError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Home(error) => error.source(),
            Self::Key { source, .. } => Some(source),
            Self::Signature { source, .. } => Some(source),
            Self::Io { source, .. } => Some(source),
            Self::Absent { .. }
            | Self::NotEmpty { .. }
            | Self::KeyKind { .. }
            | Self::TooManyKeys { .. }
            | Self::Damaged { .. }
            | Self::Crypto => None,
        }
    }
}
