//! What operators hand in: changes of targets, and secrets on their way to the vault.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ledger::DesktopChange;
use crate::model::AccountName;
use crate::secret::Secret;

/// What `target set` changes; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetChange {
    /// `host:port`.
    pub address: Option<String>,
    /// Labels to set, each to its value.
    pub set_labels: BTreeMap<String, String>,
    /// Labels to take away.
    pub remove_labels: BTreeSet<String>,
    /// All pinned host keys from now on.
    pub host_keys: Option<Vec<String>>,
    /// All known accounts from now on.
    pub accounts: Option<BTreeSet<AccountName>>,
    /// Whether its leg may use broken algorithms.
    pub insecure_algorithms: Option<bool>,
    /// How it is reached over RDP.
    #[serde(default)]
    pub desktop: DesktopChange,
}

/// A secret on its way to the vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretInput {
    /// A password.
    Password(SecretText),
    /// A private key in OpenSSH form.
    PrivateKey {
        /// The file's text.
        openssh: SecretText,
        /// Its passphrase, if it has one.
        passphrase: Option<SecretText>,
    },
}

/// A secret's text that can cross the socket, and shows nowhere else.
#[derive(Debug, Clone)]
pub struct SecretText(pub Secret<String>);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}
