//! Why there is no backup, or no state made from one.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::audit::AuditError;
use crate::db::DbError;
use crate::home::HomeError;
use crate::ledger::LedgerError;
use crate::log::LogError;
use crate::screen::counted;
use crate::store::StoreError;
use crate::vault::VaultError;

/// Why there is no backup, or no state made from one.
#[derive(Debug)]
pub enum BackupError {
    /// The state database failed.
    Db(DbError),
    /// A secret cannot be taken out of the vault, or put in.
    Vault(VaultError),
    /// Users, targets or grants are not what they should be.
    Ledger(LedgerError),
    /// The audit log failed, or does not go on from what the state says.
    Audit(AuditError),
    /// The log cannot be read or copied.
    Log(LogError),
    /// The state directory cannot be made or used.
    Home(HomeError),
    /// What the log says is destroyed cannot be removed.
    Store(StoreError),
    /// The state has a table that this version cannot export.
    UnknownTable {
        /// Its name.
        table: String,
    },
    /// The file cannot be sealed.
    Seal {
        /// Why.
        why: String,
    },
    /// The exported state cannot be read from its file.
    Read(io::Error),
    /// It was sealed for others.
    NotForYou,
    /// It is of a form that this version does not know.
    Version {
        /// Which.
        version: u32,
    },
    /// It is not what was exported.
    File {
        /// In which line of the plaintext, from 1, if it came so far.
        line: Option<u64>,
        /// What is wrong.
        why: String,
    },
    /// An entry of it cannot be taken.
    Entry {
        /// Its line in the plaintext, from 1.
        line: u64,
        /// Why.
        source: Box<Self>,
    },
    /// There is a log, or there are recordings, where a new log was to begin.
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// The log names no export with this hash.
    NotVouched {
        /// The hash of the file.
        hash: String,
    },
    /// The log's key is not the one that was given.
    OtherKey {
        /// The key in the export.
        found: String,
    },
    /// The log has more changes of the state than the export.
    Older {
        /// The leaf of the export.
        leaf: u64,
        /// How many leaves after it change the state.
        changes: u64,
        /// How many leaves after it have names and reasons whose keys are not in the export.
        unreadable: u64,
    },
    /// A witness has signed more of the log than is here, or another history.
    Ahead {
        /// Who.
        witness: String,
        /// How many leaves it has signed.
        theirs: u64,
        /// How many are here.
        ours: u64,
    },
    /// A witness that is to say what it has signed last does not.
    NotAsked {
        /// Who.
        witness: String,
        /// Why.
        why: String,
    },
    /// A witness that is to say what it has signed last says that it has signed nothing.
    Unseen {
        /// Who.
        witness: String,
    },
    /// A file of the backup is not what it must be by what is in the store now.
    Differs {
        /// Which, in the backup.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The backup is of another store.
    OtherStore {
        /// The backup's id.
        found: String,
        /// The store's.
        expected: String,
    },
    /// What the log has is not there (any more).
    Gone {
        /// What.
        path: PathBuf,
    },
    /// The backup's directory and the state directory lie one in the other.
    Within {
        /// The backup's.
        path: PathBuf,
    },
    /// The backup's directory holds something else.
    NotABackup {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No backup was completed there.
    NoBackup {
        /// Where.
        path: PathBuf,
    },
    /// Others could have what is written to the backup's directory go elsewhere.
    NotOurs {
        /// Which.
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

impl BackupError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Db(error) => return error.hint().map(str::to_owned),
            Self::Vault(error) => return error.hint(),
            Self::Ledger(error) => return error.hint().map(str::to_owned),
            Self::Audit(AuditError::NoFloor { .. } | AuditError::PutBack(_)) => {
                "put `log/` of the same backup, or a newer one of the same bastion, into the state directory; where its \
                 log is lost, --new-log begins another"
                    .to_owned()
            }
            Self::Audit(error) => return error.hint().map(str::to_owned),
            Self::Log(error) => return error.hint().map(str::to_owned),
            Self::Home(error) => return error.hint(),
            Self::Store(_) => return None,
            Self::UnknownTable { .. } | Self::Version { .. } => "use the version of Doorward that wrote it".to_owned(),
            Self::NotForYou => "give the identity of one of those for whom it was exported".to_owned(),
            Self::File { .. } | Self::Entry { .. } => {
                "nothing was made; take another copy of the file, or an export of another day".to_owned()
            }
            Self::NotEmpty { .. } => "leave --new-log out, or name an empty directory as `data` in doorward.toml: the old one \
                 stays readable with --store"
                .to_owned(),
            Self::NotVouched { .. } => {
                "nothing was made; anybody can seal such a file: take the one that belongs to this `log/`".to_owned()
            }
            Self::OtherKey { .. } => "nothing was made; the file is not of the bastion whose key was given".to_owned(),
            Self::Older { .. } => "take a newer export; if there is none, --older takes this one: rights that were taken \
                 back since are there again, so look at what changed (`doorward audit list`), and do it anew; who the \
                 sessions since then were, only their recordings tell"
                .to_owned(),
            Self::Ahead { .. } => "nothing was made; take a newer backup. If there is none, what came after it is lost: \
                 going on with this log would sign another history of that time. Make a new bastion of the state with \
                 --new-log, and keep this backup as it is: `verify --store` and `recording replay --store` read it"
                .to_owned(),
            Self::NotAsked { .. } => "nothing was made; bring the witness back, or take it out of the configuration if \
                 it is gone: only it can say whether this backup is the newest"
                .to_owned(),
            Self::Unseen { .. } => "nothing was made; check its `url` in the configuration, for whoever answers there knows \
                 nothing of this log. If that is so because it has never signed any of it, or does not tell what it has \
                 signed, as witnesses do that are not Doorward's: --never-witnessed"
                .to_owned(),
            Self::Differs { .. } => "nothing was overwritten: find out which of both was changed; `doorward verify` on the \
                 store and on the backup tells, and another --to begins anew"
                .to_owned(),
            Self::OtherStore { .. } | Self::NotABackup { .. } => {
                "give a directory of its own for each bastion: a new one, or its earlier backup".to_owned()
            }
            Self::NoBackup { .. } => "see that its disk is mounted; the first backup is made by hand: `doorward backup`".to_owned(),
            Self::NotOurs { .. } => "give a directory that belongs to you or to root, in which not everybody may write, with \
                 no links in it"
                .to_owned(),
            Self::Within { .. } => "give a directory outside of it, best on another disk".to_owned(),
            Self::Gone { .. } => "`doorward verify` says whether something is missing".to_owned(),
            Self::Read(_) | Self::Seal { .. } | Self::Io { .. } => return None,
        })
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Db(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::Ledger(error) => error.fmt(f),
            Self::Audit(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Home(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::UnknownTable { table } => write!(f, "the state has a table `{table}` that cannot be exported"),
            Self::Seal { why } => write!(f, "the state cannot be sealed: {why}"),
            Self::Read(_) => f.write_str("the exported state cannot be read"),
            Self::NotForYou => f.write_str("the exported state is sealed for others"),
            Self::Version { version } => write!(f, "the exported state has the form {version}, which is not known"),
            Self::File { line: Some(line), why } => write!(f, "the exported state is damaged in line {line}: {why}"),
            Self::File { line: None, why } => write!(f, "the file is no exported state, or damaged: {why}"),
            Self::Entry { line, .. } => write!(f, "the entry in line {line} of the exported state cannot be taken"),
            Self::NotEmpty { path } => {
                write!(f, "there is something in {} already, of which a new log knows nothing", path.display())
            }
            Self::NotVouched { hash } => {
                write!(f, "the log names no export with the hash of this file, {hash}: nobody vouches for it")
            }
            Self::OtherKey { found } => write!(f, "the log's key in the exported state is another one: {found}"),
            Self::Older { leaf, changes, unreadable } => write!(
                f,
                "the export is older than the log: after its leaf {leaf}, it lacks {}, and the names and reasons in {} could \
                 never be read again",
                counted(*changes, "change"),
                counted(*unreadable, "leaf")
            ),
            Self::Ahead { witness, theirs, ours } if theirs > ours => write!(
                f,
                "the witness {witness} has signed {theirs} leaves of this log, and only {ours} are here: the backup is \
                 not the newest"
            ),
            Self::Ahead { witness, theirs, .. } => {
                write!(
                    f,
                    "the witness {witness} has signed {theirs} leaves, and they are not the first ones of this log"
                )
            }
            Self::Unseen { witness } => write!(f, "the witness {witness} says that it has signed nothing of this log"),
            Self::NotAsked { witness, why } => write!(f, "the witness {witness} cannot be asked: {why}"),
            Self::Differs { path, why } => write!(f, "`{}` in the backup differs: {why}", path.display()),
            Self::OtherStore { found, expected } => {
                write!(f, "the backup is of the store {found}, and this is {expected}")
            }
            Self::Within { path } => {
                write!(f, "`{}` and the state directory lie one in the other", path.display())
            }
            Self::Gone { path } => write!(f, "the log speaks of `{}`, and it is not there", path.display()),
            Self::NotABackup { path, why } => write!(f, "`{}` is no backup: {why}", path.display()),
            Self::NoBackup { path } => write!(f, "there is no backup in `{}`", path.display()),
            Self::NotOurs { path, why } => write!(f, "nothing is written to `{}`: {why}", path.display()),
            Self::Io { what, path, .. } => write!(f, "cannot {what} `{}`", path.display()),
        }
    }
}

impl std::error::Error for BackupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Entry { source, .. } => Some(source),
            Self::Read(source) | Self::Io { source, .. } => Some(source),
            // These show as themselves, so that their cause is ours.
            Self::Db(error) => error.source(),
            Self::Vault(error) => error.source(),
            Self::Ledger(error) => error.source(),
            Self::Audit(error) => error.source(),
            Self::Log(error) => error.source(),
            Self::Home(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::UnknownTable { .. }
            | Self::Seal { .. }
            | Self::NotForYou
            | Self::Version { .. }
            | Self::File { .. }
            | Self::NotEmpty { .. }
            | Self::NotVouched { .. }
            | Self::OtherKey { .. }
            | Self::Older { .. }
            | Self::Ahead { .. }
            | Self::NotAsked { .. }
            | Self::Unseen { .. }
            | Self::Differs { .. }
            | Self::OtherStore { .. }
            | Self::Gone { .. }
            | Self::Within { .. }
            | Self::NoBackup { .. }
            | Self::NotOurs { .. }
            | Self::NotABackup { .. } => None,
        }
    }
}
