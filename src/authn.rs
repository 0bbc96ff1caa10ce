//! A key, and the name in the login, become the user whom they prove.
//!
//! What this module does **not** guard against: it trusts that the caller has seen a signature by the key's
//! private half. For a key that was only offered, ask `known`, and give nothing for the answer but the chance to
//! sign.

use std::fmt;

use crate::ledger::{Ledger, fingerprint};
use crate::model::UserName;

/// A user, proven by a key. Only `prove` makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    user: UserName,
    fingerprint: String,
    suspended: bool,
}

impl Authenticated {
    /// The user.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The key's fingerprint: `SHA256:` and base64.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether the user is suspended. The key is accepted all the same, so that the refusal can say so.
    pub fn suspended(&self) -> bool {
        self.suspended
    }
}

/// Why a key proves nobody for this login. For logs: the client is told only that the key is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthnError {
    /// Nobody has the key.
    UnknownKey {
        /// The key.
        fingerprint: String,
    },
    /// Somebody else than the user named has it.
    NotTheOwner {
        /// The key.
        fingerprint: String,
        /// Whom the login names.
        named: UserName,
        /// Who has the key.
        owner: UserName,
    },
}

impl fmt::Display for AuthnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { fingerprint } => write!(f, "no user has key {fingerprint}"),
            Self::NotTheOwner { fingerprint, named, owner } => {
                write!(f, "key {fingerprint} belongs to user `{owner}`, not to `{named}`")
            }
        }
    }
}

impl std::error::Error for AuthnError {}

/// Says whom `key`, of which the client has proven possession, proves; `named` is the user whom the login names,
/// if it names one.
///
/// The destination plays no part: whether a key is accepted tells nothing about targets.
///
/// # Errors
/// `UnknownKey`, or `NotTheOwner` if the login names another user.
pub fn prove(ledger: &Ledger, named: Option<&UserName>, key: &ssh_key::PublicKey) -> Result<Authenticated, AuthnError> {
    let fingerprint = fingerprint(key);
    let Some(owner) = ledger.user_by_key(key) else {
        return Err(AuthnError::UnknownKey { fingerprint });
    };
    match named {
        Some(named) if *named != owner.name => {
            Err(AuthnError::NotTheOwner { fingerprint, named: named.clone(), owner: owner.name })
        }
        Some(_) | None => Ok(Authenticated { user: owner.name, fingerprint, suspended: owner.suspended_at.is_some() }),
    }
}

/// Whether a signature by the offered `key` would be accepted.
///
/// # Errors
/// As `prove`.
pub fn known(ledger: &Ledger, named: Option<&UserName>, key: &ssh_key::PublicKey) -> Result<(), AuthnError> {
    prove(ledger, named, key).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::db::Db;
    use crate::ledger::{User, UserKey, public_key};
    use crate::model::Timestamp;
    use crate::policy::PolicySet;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti b";

    #[test]
    fn a_key_proves_its_owner_and_nobody_else() {
        let ledger = ledger(None);
        let (key, other) = (public_key(KEY).unwrap(), public_key(OTHER).unwrap());
        let (alice, bob) = (UserName::parse("alice").unwrap(), UserName::parse("bob").unwrap());
        assert_eq!(prove(&ledger, None, &key).unwrap().user(), &alice);
        assert_eq!(prove(&ledger, Some(&alice), &key).unwrap().user(), &alice);
        assert!(matches!(prove(&ledger, Some(&bob), &key), Err(AuthnError::NotTheOwner { .. })));
        assert!(matches!(prove(&ledger, None, &other), Err(AuthnError::UnknownKey { .. })));
        assert!(known(&ledger, None, &key).is_ok());
        assert!(known(&ledger, Some(&bob), &key).is_err() && known(&ledger, None, &other).is_err());
    }

    #[test]
    fn a_suspended_person_is_proven_as_such() {
        let ledger = ledger(Some(Timestamp::from_millis(0)));
        assert!(prove(&ledger, None, &public_key(KEY).unwrap()).unwrap().suspended());
    }

    fn ledger(suspended: Option<Timestamp>) -> Ledger {
        let ledger = Ledger::open(&Db::in_memory().unwrap(), PolicySet::empty()).unwrap();
        let keys = vec![UserKey::parse(KEY, Timestamp::from_millis(0)).unwrap()];
        let name = UserName::parse("alice").unwrap();
        ledger.add_user(User { name, groups: BTreeSet::new(), keys, suspended_at: suspended }).unwrap();
        ledger
    }
}
