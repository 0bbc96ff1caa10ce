//! Why the administration did not do what was asked, and how that crosses the socket.

use std::fmt;

use super::api::Failure;
use super::inventory::Contradiction;
use crate::audit::AuditError;
use crate::authn::PasswordError;
use crate::backup::BackupError;
use crate::grant::Denial;
use crate::ledger::LedgerError;
use crate::locks::LockError;
use crate::model::{Destination, RuleId, SessionId, TargetName, UserName};
use crate::policy::{Fault, Rule};
use crate::requests::RequestError;
use crate::store::{RewrapError, StoreError};
use crate::vault::VaultError;

/// Why the administration did not do what was asked.
#[derive(Debug)]
pub enum AdminError {
    /// It could not be recorded, so it was not done.
    NotRecorded(AuditError),
    /// It was done, and could not be recorded.
    DoneNotRecorded(AuditError),
    /// The audit log cannot be read, or has not what was asked for.
    Audit(AuditError),
    /// The ledger refused or failed.
    Ledger(LedgerError),
    /// A password cannot be kept.
    Password(PasswordError),
    /// The vault refused or failed.
    Vault(VaultError),
    /// The recording cannot be read.
    Store(StoreError),
    /// The envelope stays as it is.
    Rewrap(RewrapError),
    /// The access request cannot be changed so.
    Request(RequestError),
    /// The lock is not set, or not lifted.
    Lock(LockError),
    /// There is no such user or target.
    Parties(Denial),
    /// No rule would let the grant take effect.
    NoRule {
        /// To whom.
        user: UserName,
        /// Where to.
        destination: Destination,
    },
    /// A rule gives already what the grant would.
    Needless {
        /// To whom.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// That rule.
        rule: Option<RuleId>,
    },
    /// The rules that need a grant count none that an operator gives.
    NotByOperators {
        /// To whom.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// The first of those rules.
        rule: Box<Rule>,
    },
    /// The request's own words cannot be.
    Invalid {
        /// What is wrong.
        why: String,
        /// What to write.
        hint: &'static str,
    },
    /// What the request is about does not allow it.
    Refused {
        /// Why.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The policy files are at fault; the old rules stay in force.
    Policy(Vec<Fault>),
    /// The session is not live.
    NoSession {
        /// Which one.
        session: SessionId,
    },
    /// The target did not show its host keys.
    Scan {
        /// Which one.
        target: TargetName,
        /// Where it was asked.
        address: String,
        /// What happened.
        why: String,
    },
    /// Recordings whose removal is on record are not all gone.
    NotRemoved {
        /// How many are.
        removed: usize,
        /// Which are not, and why.
        failed: Vec<(SessionId, String)>,
    },
    /// The inventory cannot be.
    Inventory(Vec<Contradiction>),
    /// Something changed between what was shown and what was confirmed.
    StateChanged,
    /// Only root and the server's user may have what has every secret.
    NotOwner {
        /// Who asked.
        uid: u32,
    },
    /// The state cannot be exported.
    Backup(BackupError),
    /// The operating system gave no random bytes.
    NoRandomness,
}

impl AdminError {
    /// Where a grant was to be given.
    pub(super) fn of_giving(error: RequestError) -> Self {
        if let RequestError::NotRecorded(error) = error {
            Self::NotRecorded(error)
        } else if let RequestError::Ledger(error) = error {
            Self::Ledger(error)
        } else {
            Self::Request(error)
        }
    }

    /// After a grant was revoked.
    pub(super) fn of_revoke(error: RequestError) -> Self {
        if let RequestError::DoneNotRecorded(error) = error {
            Self::DoneNotRecorded(error)
        } else {
            Self::Request(error)
        }
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded(_) => f.write_str("nothing was done: the audit log cannot be written"),
            Self::DoneNotRecorded(_) => f.write_str("it was done, but the audit log cannot be written"),
            Self::Audit(error) => error.fmt(f),
            Self::Ledger(error) => error.fmt(f),
            Self::Password(error) => error.fmt(f),
            Self::Vault(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Rewrap(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Lock(error) => error.fmt(f),
            Self::Parties(denial) => denial.fmt(f),
            Self::NoRule { user, destination } => {
                write!(f, "no rule lets `{user}` use {destination}, so a grant would have no effect")
            }
            Self::Needless { user, destination, rule } => {
                write!(f, "`{user}` may use {destination} without a grant")?;
                rule.as_ref().map_or(Ok(()), |rule| write!(f, ", by rule `{rule}`"))
            }
            Self::NotByOperators { user, destination, rule } => {
                let rule = &rule.id;
                write!(
                    f,
                    "an operator's grant does not open {destination} to `{user}`: rule `{rule}` has `operators = false`"
                )
            }
            Self::Invalid { why, .. } | Self::Refused { why, .. } => f.write_str(why),
            Self::Policy(_) => f.write_str("the policy files are faulty; the old rules stay in force"),
            Self::NoSession { session } => write!(f, "session `{session}` is not live"),
            Self::Scan { target, address, why } => {
                write!(f, "cannot read the host keys of `{target}` at {address}: {why}")
            }
            Self::NotRemoved { removed, failed } => {
                write!(f, "{removed} recordings removed; {} on record as removed are not gone yet", failed.len())
            }
            Self::Inventory(_) => f.write_str("the inventory contradicts itself or the state; nothing was changed"),
            Self::StateChanged => f.write_str("the state has changed since the difference was shown; nothing was done"),
            Self::NotOwner { uid } => write!(f, "uid {uid} may not export the state, which has every secret"),
            Self::Backup(error) => error.fmt(f),
            Self::NoRandomness => f.write_str("the operating system gives no random bytes"),
        }
    }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotRecorded(error) | Self::DoneNotRecorded(error) => Some(error),
            // These show as themselves, so that their cause is ours.
            Self::Audit(error) => error.source(),
            Self::Ledger(error) => error.source(),
            Self::Password(error) => error.source(),
            Self::Vault(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::Backup(error) => error.source(),
            Self::Rewrap(error) => error.source(),
            Self::Request(error) => error.source(),
            Self::Lock(error) => error.source(),
            Self::Parties(_)
            | Self::NoRule { .. }
            | Self::Needless { .. }
            | Self::NotByOperators { .. }
            | Self::Invalid { .. }
            | Self::Refused { .. }
            | Self::Policy(_)
            | Self::NoSession { .. }
            | Self::Scan { .. }
            | Self::NotRemoved { .. }
            | Self::Inventory(_)
            | Self::StateChanged
            | Self::NotOwner { .. }
            | Self::NoRandomness => None,
        }
    }
}

impl From<LedgerError> for AdminError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<VaultError> for AdminError {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

impl AdminError {
    /// What the operator can do.
    fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            Self::NotRecorded(_) | Self::DoneNotRecorded(_) => {
                one("look at free space and errors of the disk; `doorward doctor`")
            }
            Self::Audit(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Ledger(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::Request(RequestError::Unknown) => one("`doorward request list --all` shows them"),
            Self::Parties(Denial::UnknownUser) => one("`doorward user list` shows who there is"),
            Self::Parties(Denial::UnknownTarget) => one("`doorward target list` shows what there is"),
            Self::NoRule { .. } => one("add a rule in policies/access/, then `doorward policy reload`"),
            Self::NotByOperators { user, destination, rule } => match &rule.grant.request {
                Some(request) => vec![format!(
                    "it is asked for, and approved by {}: ssh {user}@BASTION request {destination} --for 1h --reason WHY",
                    request.approvers
                )],
                None => vec![format!(
                    "nobody approves it; in an emergency: ssh {user}@BASTION break-glass {destination} --reason WHY"
                )],
            },
            Self::Invalid { hint, .. } | Self::Refused { hint, .. } => one(hint),
            Self::Policy(_) => one("`doorward check` tries the files without a server"),
            Self::Vault(error) => error.hint().into_iter().collect(),
            Self::NoSession { .. } => one("`doorward session list` shows the live ones"),
            Self::Scan { .. } => one("look at the address (`doorward target list`), and that the target is up"),
            Self::Store(StoreError::NotFound { .. }) => one("`doorward recording list` shows them"),
            Self::Store(StoreError::Erased { .. }) => one("`doorward audit list --type erase` tells who did it"),
            Self::NotOwner { .. } => one("run as root or as the server's user"),
            Self::Backup(error) => error.hint().into_iter().collect(),
            Self::Rewrap(error) => error.hint().map(str::to_owned).into_iter().collect(),
            Self::NotRemoved { .. } => one("look at the disk; the next start, or the next removal, goes on with them"),
            Self::StateChanged => one("run the command again and look at the new difference"),
            Self::Store(_)
            | Self::Request(_)
            | Self::Lock(_)
            | Self::Password(_)
            | Self::Parties(_)
            | Self::Needless { .. }
            | Self::Inventory(_)
            | Self::NoRandomness => Vec::new(),
        }
    }

    /// As it crosses the socket.
    pub fn failure(&self) -> Failure {
        let mut chain = vec![self.to_string()];
        if let Self::Policy(faults) = self {
            chain.extend(faults.iter().flat_map(fault_lines));
        }
        if let Self::Inventory(faults) = self {
            chain.extend(faults.iter().map(Contradiction::to_string));
        }
        if let Self::NotRemoved { failed, .. } = self {
            chain.extend(failed.iter().map(|(session, why)| format!("{session}: {why}")));
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        Failure {
            chain,
            hints: self.hints(),
            usage: matches!(self, Self::Invalid { .. } | Self::Policy(_) | Self::Inventory(_)),
        }
    }
}

/// A fault as people read it: where and what, then what to write instead.
pub fn fault_lines(fault: &Fault) -> Vec<String> {
    let hint = fault.hint.as_ref().map(|hint| format!("  hint: {hint}"));
    std::iter::once(fault.to_string()).chain(hint).collect()
}
