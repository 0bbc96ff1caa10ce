//! Why the ledger did not do what was asked.

use std::fmt;

use crate::db::DbError;
use crate::grant::GrantState;
use crate::model::{GrantId, RequestId, UserName};

/// Why the ledger did not do what was asked.
#[derive(Debug)]
pub enum LedgerError {
    /// The database failed.
    Db(DbError),
    /// There is already one of that name.
    Exists {
        /// `user`, `target` or `grant`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is none of that name.
    Unknown {
        /// `user`, `target`, `grant` or `key`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// Another user has that key.
    KeyTaken {
        /// The key.
        fingerprint: String,
        /// Who has it.
        owner: UserName,
    },
    /// The text is not a public key.
    BadKey {
        /// What is wrong with it.
        why: String,
    },
    /// The text is not `host:port`.
    BadAddress {
        /// The text.
        text: String,
    },
    /// What is said of a target's certificate cannot match one.
    BadPin {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The target is not reached over RDP.
    NoDesktop,
    /// Something is longer or more than the ledger keeps.
    TooMuch {
        /// What.
        what: &'static str,
        /// How many, or how many bytes, are kept.
        most: usize,
    },
    /// The grant is over: it cannot be revoked.
    Over {
        /// Which grant.
        grant: GrantId,
        /// Ended or revoked.
        state: GrantState,
    },
    /// All sessions that the grant is for have begun.
    Spent {
        /// Which grant.
        grant: GrantId,
    },
    /// Somebody else has changed the request meanwhile.
    Stale {
        /// Which request.
        request: RequestId,
    },
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Db(_) => f.write_str("cannot read or write the state"),
            Self::Exists { kind, name } => write!(f, "{kind} `{name}` exists already"),
            Self::Unknown { kind, name } => write!(f, "there is no {kind} `{name}`"),
            Self::KeyTaken { fingerprint, owner } => write!(f, "key {fingerprint} belongs to user `{owner}`"),
            Self::BadKey { why } => write!(f, "not an SSH public key: {why}"),
            Self::BadAddress { text } => write!(f, "`{}` is not host:port", text.escape_debug()),
            Self::BadPin { why } => f.write_str(why),
            Self::NoDesktop => f.write_str("the target has no address for RDP"),
            Self::TooMuch { what, most } => write!(f, "too much: {what} may be at most {most}"),
            Self::Spent { grant } => write!(f, "all sessions that grant `{grant}` is for have begun"),
            Self::Stale { request } => write!(f, "request `{request}` was changed meanwhile: look at it again"),
            Self::Over { grant, state } => write!(f, "grant `{grant}` is {state} already"),
        }
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Db(error) => Some(error),
            Self::Exists { .. }
            | Self::Unknown { .. }
            | Self::KeyTaken { .. }
            | Self::BadKey { .. }
            | Self::BadAddress { .. }
            | Self::BadPin { .. }
            | Self::NoDesktop
            | Self::TooMuch { .. }
            | Self::Over { .. }
            | Self::Stale { .. }
            | Self::Spent { .. } => None,
        }
    }
}

impl LedgerError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exists { kind: "user", .. } => Some("`doorward user set` changes it"),
            Self::Exists { kind: "target", .. } => Some("`doorward target set` changes it"),
            Self::Unknown { kind: "user", .. } => Some("`doorward user list` shows who there is"),
            Self::Unknown { kind: "target", .. } => Some("`doorward target list` shows what there is"),
            Self::Unknown { kind: "grant", .. } => Some("`doorward grant list --all` shows all grants"),
            Self::Unknown { kind: "key", .. } => Some("`doorward user list --json` shows the fingerprints"),
            Self::KeyTaken { .. } => Some("a key proves one user: make another one with `ssh-keygen -t ed25519`"),
            Self::BadKey { .. } => Some("give a line of a .pub file, such as `ssh-ed25519 AAAA... name`"),
            Self::BadPin { .. } => Some("`doorward target scan --rdp NAME` shows the certificate's fingerprint"),
            Self::NoDesktop => Some("`doorward target set NAME --rdp HOST:PORT` gives it one"),
            Self::BadAddress { .. } => Some("write db1.example.org:22, 10.0.0.5:22 or [fd00::5]:22"),
            Self::Db(_) => Some("`doorward doctor` checks the state"),
            Self::Exists { .. }
            | Self::Unknown { .. }
            | Self::TooMuch { .. }
            | Self::Over { .. }
            | Self::Stale { .. }
            | Self::Spent { .. } => None,
        }
    }
}

impl From<DbError> for LedgerError {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}
