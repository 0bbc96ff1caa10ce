//! The vault: the secrets of targets, and the bastion's own keys. A secret leaves it only for a permit.
//!
//! ```text
//! master key --HKDF--> vault key --seals--> a random key per secret and version --seals--> the secret
//! ```
//!
//! Both seals are bound to the table, the name, the version and the kind, so that no sealed part serves anywhere
//! else. The state database seals the whole once more.
//!
//! An attacker who can write in the state directory can remove a secret or bring an older one back; only who has
//! the master key too can read one. In memory: our copies are zeroed; ring's key schedules and the copies that
//! russh makes of passwords and keys while it logs in are theirs.

mod desktop;
mod portable;
mod private_key;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, PrivateKey};
use zeroize::Zeroizing;

use crate::db::{CryptoFailed, Db, DbError, MasterKey, SealingKey, Table};
use crate::grant::Permit;
use crate::model::{Destination, Timestamp};
use crate::secret::Secret;
use crate::tlog::{Algorithm, KeyName, SigningKey};
pub use desktop::DesktopIdentity;
pub(crate) use portable::PORTABLE_TABLES;
pub use private_key::KeyFault;

const SECRETS: &str = "secrets";
const BASTION_KEYS: &str = "bastion-keys";
const HOST_KEY: &str = "host-key";
const HOST_CA: &str = "host-ca";
const LOG_KEY: &str = "log-key";

/// The secrets under the master key.
#[derive(Debug)]
pub struct Vault {
    db: Db,
    key: SealingKey,
    secrets: Table<Entry>,
    bastion_keys: Table<Sealed>,
}

/// What an operator stores for one account on one target.
#[derive(Debug)]
pub enum SecretValue {
    /// A password; also given through keyboard-interactive.
    Password(Secret<String>),
    /// A private key in OpenSSH's format. The passphrase opens it once, now, and is not kept.
    PrivateKey {
        /// The file's text.
        openssh: Secret<String>,
        /// What it is encrypted under, if it is.
        passphrase: Option<Secret<String>>,
    },
}

/// How an account logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// By password.
    Password,
    /// By private key.
    PrivateKey,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Password => "password",
            Self::PrivateKey => "private-key",
        })
    }
}

/// What may be told of a stored secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretInfo {
    /// The account and target that it logs in to.
    pub destination: Destination,
    /// How.
    pub kind: SecretKind,
    /// From 1; grows with every change, over removals too.
    pub version: u32,
    /// When this version was stored.
    pub created: Timestamp,
    /// The private key's, as `ssh-keygen -l` shows it.
    pub fingerprint: Option<String>,
}

/// A secret unsealed for one permit. Only the vault makes one.
pub struct Credential(Unsealed);

enum Unsealed {
    Password(Secret<String>),
    Key(Box<PrivateKey>),
}

/// What a credential is, lent for logging in.
pub enum CredentialKind<'a> {
    /// A password.
    Password(&'a Secret<String>),
    /// A private key.
    Key(&'a PrivateKey),
}

impl Credential {
    /// Lends what is needed to log in.
    pub fn kind(&self) -> CredentialKind<'_> {
        match &self.0 {
            Unsealed::Password(password) => CredentialKind::Password(password),
            Unsealed::Key(key) => CredentialKind::Key(key),
        }
    }

    /// What a target that prints its own copy of it would show, line by line; so that recordings do not keep it.
    pub fn texts(&self) -> Vec<Secret<String>> {
        match &self.0 {
            Unsealed::Password(password) => vec![password.clone()],
            Unsealed::Key(key) => private_key::secret_lines(key),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(<secret>)")
    }
}

impl fmt::Debug for CredentialKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(<secret>)",
            Self::Key(_) => "Key(<secret>)",
        })
    }
}

/// One destination's entry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: u32,
    at: Timestamp,
    /// Nothing: it was removed. The entry stays, so that versions go on.
    secret: Option<Stored>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kind: SecretKind,
    fingerprint: Option<String>,
    sealed: Sealed,
}

/// A key sealed under the vault key, and a secret sealed under that key; base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    key: String,
    value: String,
}

impl Vault {
    /// The vault in this state database.
    ///
    /// # Errors
    /// `Db` if the cryptographic library fails.
    pub fn open(db: &Db) -> Result<Self, VaultError> {
        let key = db.sealing_key("vault").map_err(VaultError::Db)?;
        let (secrets, bastion_keys) = (db.table(SECRETS), db.table(BASTION_KEYS));
        Ok(Self { db: db.clone(), key, secrets, bastion_keys })
    }

    /// Stores a secret for a destination in place of the one that is there; returns its version. Durable on return.
    ///
    /// # Errors
    /// `Key` if a private key cannot be used for logging in; `Empty`.
    pub fn set(&self, destination: &Destination, value: SecretValue, now: Timestamp) -> Result<u32, VaultError> {
        let (kind, fingerprint, plain) = match value {
            SecretValue::Password(password) => {
                if password.expose().is_empty() {
                    return Err(VaultError::Empty);
                }
                (SecretKind::Password, None, Zeroizing::new(password.expose().as_bytes().to_vec()))
            }
            SecretValue::PrivateKey { openssh, passphrase } => {
                let key = private_key::read(&openssh, passphrase.as_ref()).map_err(VaultError::Key)?;
                let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
                (SecretKind::PrivateKey, Some(fingerprint), to_bytes(&key)?)
            }
        };
        let name = destination.to_string();
        let found = self.secrets.get(&name).map_err(VaultError::Db)?;
        let version = found.as_ref().map_or(1, |(_, entry)| entry.version.saturating_add(1));
        let sealed = self.seal(&Place::secret(&name, version, kind), plain)?;
        let entry = Entry { version, at: now, secret: Some(Stored { kind, fingerprint, sealed }) };
        self.secrets.put(&name, found.map(|(rev, _)| rev), &entry).map_err(VaultError::Db)?;
        Ok(version)
    }

    /// Removes the secret of a destination. Durable on return.
    ///
    /// # Errors
    /// `NoSecret` if there is none.
    pub fn remove(&self, destination: &Destination) -> Result<(), VaultError> {
        let name = destination.to_string();
        match self.secrets.get(&name).map_err(VaultError::Db)? {
            Some((rev, Entry { version, at, secret: Some(_) })) => {
                let gone = Entry { version, at, secret: None };
                self.secrets.put(&name, Some(rev), &gone).map(|_| ()).map_err(VaultError::Db)
            }
            Some((_, Entry { secret: None, .. })) | None => Err(VaultError::NoSecret(destination.clone())),
        }
    }

    /// What secrets there are, in the order of `account@target`.
    ///
    /// # Errors
    /// `Db`.
    pub fn list(&self) -> Result<Vec<SecretInfo>, VaultError> {
        let mut found = Vec::new();
        for (name, _, Entry { version, at, secret }) in self.secrets.list("").map_err(VaultError::Db)? {
            let Some(Stored { kind, fingerprint, .. }) = secret else { continue };
            let destination = Destination::parse(&name).map_err(|_| VaultError::Altered(name))?;
            found.push(SecretInfo { destination, kind, version, created: at, fingerprint });
        }
        Ok(found)
    }

    /// Unseals the secret of the permit's destination. There is no other way to one.
    ///
    /// # Errors
    /// `NoSecret` if none is stored.
    pub fn credential(&self, permit: &Permit) -> Result<Credential, VaultError> {
        self.credential_for(permit.destination())
    }

    /// Whether a password is stored for the permit's destination, as a desktop needs. It stays sealed.
    ///
    /// # Errors
    /// `NoSecret` if nothing is stored, `NoPassword` if it is a key.
    pub fn has_password(&self, permit: &Permit) -> Result<(), VaultError> {
        self.has_password_for(permit.destination())
    }

    fn has_password_for(&self, destination: &Destination) -> Result<(), VaultError> {
        match self.stored(destination)?.1.kind {
            SecretKind::Password => Ok(()),
            SecretKind::PrivateKey => Err(VaultError::NoPassword(destination.clone())),
        }
    }

    /// The secret of a destination, sealed, and its version.
    fn stored(&self, destination: &Destination) -> Result<(u32, Stored), VaultError> {
        let found = self.secrets.get(&destination.to_string()).map_err(VaultError::Db)?;
        let stored = found.and_then(|(_, Entry { version, secret, .. })| Some((version, secret?)));
        stored.ok_or_else(|| VaultError::NoSecret(destination.clone()))
    }

    fn credential_for(&self, destination: &Destination) -> Result<Credential, VaultError> {
        let name = destination.to_string();
        let (version, Stored { kind, sealed, .. }) = self.stored(destination)?;
        let plain = self.unseal(&Place::secret(&name, version, kind), &sealed)?;
        match kind {
            SecretKind::Password => {
                let text = std::str::from_utf8(&plain).map_err(|_| VaultError::Altered(name))?;
                Ok(Credential(Unsealed::Password(Secret::new(text.to_owned()))))
            }
            SecretKind::PrivateKey => {
                let key = PrivateKey::from_bytes(&plain).map_err(|_| VaultError::Altered(name))?;
                Ok(Credential(Unsealed::Key(Box::new(key))))
            }
        }
    }

    /// Makes the bastion's host key, its host CA and the key of its log, all Ed25519. Durable on return.
    ///
    /// # Errors
    /// `Db` with `Conflict` if they exist: they are never overwritten.
    pub fn create_bastion_keys(&self) -> Result<(), VaultError> {
        let mut batch = self.db.batch();
        for name in [HOST_KEY, HOST_CA] {
            let seed = random_seed()?;
            let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
            let key =
                PrivateKey::new(pair, format!("doorward {name}")).map_err(|_| VaultError::Altered(name.into()))?;
            let sealed = self.seal(&Place::bastion(name), to_bytes(&key)?)?;
            batch.put(&self.bastion_keys, name, None, &sealed).map_err(VaultError::Db)?;
        }
        let seed = Zeroizing::new(random_seed()?.to_vec());
        let sealed = self.seal(&Place::bastion(LOG_KEY), seed)?;
        batch.put(&self.bastion_keys, LOG_KEY, None, &sealed).map_err(VaultError::Db)?;
        batch.commit().map(|_| ()).map_err(VaultError::Db)
    }

    /// The key by which users know the bastion.
    ///
    /// # Errors
    /// `NoBastionKey` if it was never made.
    pub fn host_key(&self) -> Result<PrivateKey, VaultError> {
        self.bastion_key(HOST_KEY)
    }

    /// The key that signs host certificates.
    ///
    /// # Errors
    /// `NoBastionKey` if it was never made.
    pub fn host_ca(&self) -> Result<PrivateKey, VaultError> {
        self.bastion_key(HOST_CA)
    }

    /// The key that signs the checkpoints of the log of the store with this id (`Home::id`). Its name, which is the
    /// log's origin, is `doorward/` and the first 16 digits of the id.
    ///
    /// # Errors
    /// `NoBastionKey` if it was never made.
    pub fn log_key(&self, store_id: &str) -> Result<SigningKey, VaultError> {
        let altered = || VaultError::Altered(LOG_KEY.to_owned());
        let name = format!("doorward/{}", store_id.get(..16).unwrap_or(store_id));
        let name = KeyName::parse(&name).map_err(|_| altered())?;
        let seed = self.bastion_secret(LOG_KEY)?;
        let seed = <[u8; 32]>::try_from(seed.as_slice()).map_err(|_| altered())?;
        SigningKey::from_seed(name, Algorithm::Note, Secret::new(seed)).map_err(|_| altered())
    }

    fn bastion_secret(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let found = self.bastion_keys.get(name).map_err(VaultError::Db)?;
        let (_, sealed) = found.ok_or(VaultError::NoBastionKey(name))?;
        self.unseal(&Place::bastion(name), &sealed)
    }

    fn bastion_key(&self, name: &'static str) -> Result<PrivateKey, VaultError> {
        let plain = self.bastion_secret(name)?;
        PrivateKey::from_bytes(&plain).map_err(|_| VaultError::Altered(name.into()))
    }

    fn seal(&self, place: &Place<'_>, plain: Zeroizing<Vec<u8>>) -> Result<Sealed, VaultError> {
        let failed = |error| VaultError::Db(DbError::Crypto(error));
        let (own, bytes) = SealingKey::random().map_err(failed)?;
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let bytes = Zeroizing::new(bytes.to_vec());
        self.key.seal(&place.bound("key"), bytes, &mut key).map_err(failed)?;
        own.seal(&place.bound("value"), plain, &mut value).map_err(failed)?;
        Ok(Sealed { key: STANDARD_NO_PAD.encode(key), value: STANDARD_NO_PAD.encode(value) })
    }

    fn unseal(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let altered = || VaultError::Altered(place.name.to_owned());
        let decode = |text: &String| STANDARD_NO_PAD.decode(text).map_err(|_| altered());
        let key = self.key.open(&place.bound("key"), &decode(&sealed.key)?).ok_or_else(altered)?;
        let own = SealingKey::from_bytes(&key).map_err(|error| VaultError::Db(DbError::Crypto(error)))?;
        own.open(&place.bound("value"), &decode(&sealed.value)?).ok_or_else(altered)
    }
}

/// Seals the keys within the vault's values for another master key: the inner part of a rotation.
#[derive(Debug)]
pub struct Reseal {
    from: SealingKey,
    to: SealingKey,
}

impl Reseal {
    /// From one master key to another.
    ///
    /// # Errors
    /// `Db` if the cryptographic library fails.
    pub fn new(from: &MasterKey, to: &MasterKey) -> Result<Self, VaultError> {
        let key =
            |master: &MasterKey| master.sealing_key("vault").map_err(|error| VaultError::Db(DbError::Crypto(error)));
        Ok(Self { from: key(from)?, to: key(to)? })
    }

    /// A value of any table: one of the vault is sealed anew, any other is as it was. No secret is opened for that.
    ///
    /// # Errors
    /// `Altered`, `Form`.
    pub fn value(&self, table: &str, name: &str, json: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, DbError> {
        let shown = || format!("{table}/{name}");
        let form = |error: serde_json::Error| DbError::Form { key: shown(), why: error.to_string() };
        let altered = || DbError::Altered { key: shown() };
        let changed = if table == SECRETS {
            let mut entry: Entry = serde_json::from_slice(&json).map_err(form)?;
            if let Some(Stored { kind, sealed, .. }) = &mut entry.secret {
                sealed.key = self.key(&Place::secret(name, entry.version, *kind), &sealed.key).ok_or_else(altered)?;
            }
            serde_json::to_vec(&entry).map_err(form)?
        } else if table == BASTION_KEYS {
            let mut sealed: Sealed = serde_json::from_slice(&json).map_err(form)?;
            sealed.key = self.key(&Place::bastion(name), &sealed.key).ok_or_else(altered)?;
            serde_json::to_vec(&sealed).map_err(form)?
        } else {
            return Ok(json);
        };
        Ok(Zeroizing::new(changed))
    }

    fn key(&self, place: &Place<'_>, sealed: &str) -> Option<String> {
        let bound = place.bound("key");
        let own = self.from.open(&bound, &STANDARD_NO_PAD.decode(sealed).ok()?)?;
        let mut key = Vec::new();
        self.to.seal(&bound, own, &mut key).ok()?;
        Some(STANDARD_NO_PAD.encode(key))
    }
}

fn random_seed() -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let mut seed = Zeroizing::new([0; 32]);
    let filled = SystemRandom::new().fill(seed.as_mut_slice());
    filled.map(|()| seed).map_err(|_| VaultError::Db(DbError::Crypto(CryptoFailed)))
}

/// Where a secret belongs; its seals open nowhere else.
struct Place<'a> {
    table: &'static str,
    name: &'a str,
    version: u32,
    kind: SecretKind,
}

impl<'a> Place<'a> {
    fn secret(name: &'a str, version: u32, kind: SecretKind) -> Self {
        Self { table: SECRETS, name, version, kind }
    }

    fn bastion(name: &'a str) -> Self {
        Self { table: BASTION_KEYS, name, version: 1, kind: SecretKind::PrivateKey }
    }

    /// `table 0 name 0 kind 0 part 0 version`: no part holds a zero byte, and the version is of fixed length.
    fn bound(&self, part: &str) -> Vec<u8> {
        let mut bytes = format!("{}\0{}\0{}\0{part}\0", self.table, self.name, self.kind).into_bytes();
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes
    }
}

fn to_bytes(key: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    key.to_bytes().map_err(|error| VaultError::Key(KeyFault::Broken(error.to_string())))
}

/// Why the vault did not do what it was asked. Nothing of a secret is in it.
#[derive(Debug)]
pub enum VaultError {
    /// No secret is stored for this destination.
    NoSecret(Destination),
    /// The secret of this destination is a private key, and a password is needed.
    NoPassword(Destination),
    /// The bastion's own key was never made.
    NoBastionKey(&'static str),
    /// The password is empty.
    Empty,
    /// The private key cannot be used.
    Key(KeyFault),
    /// What was exported is not of a vault's form.
    Foreign {
        /// Which entry.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A stored secret does not open, or is not what it should be.
    Altered(String),
    /// The state database failed.
    Db(DbError),
}

impl VaultError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSecret(destination) | Self::NoPassword(destination) => {
                Some(format!("store one: doorward secret set {destination}"))
            }
            Self::NoBastionKey(_) | Self::Altered(_) => Some("restore `state/` from the backup".into()),
            Self::Key(fault) => fault.hint().map(str::to_owned),
            Self::Db(error) => error.hint().map(str::to_owned),
            Self::Empty | Self::Foreign { .. } => None,
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret(destination) => write!(f, "no secret is stored for `{destination}`"),
            Self::NoPassword(destination) => write!(
                f,
                "the secret of `{destination}` is a private key, and desktops need a password; run `doorward secret set {destination}`"
            ),
            Self::NoBastionKey(name) => write!(f, "the bastion has no `{name}`"),
            Self::Empty => f.write_str("the password is empty"),
            Self::Key(fault) => fault.fmt(f),
            Self::Foreign { name, why } => write!(f, "the secret `{name}` is of another form: {why}"),
            Self::Altered(name) => write!(f, "the stored secret `{name}` was altered"),
            Self::Db(DbError::TooLarge { .. }) => f.write_str("the secret is too large: about 8 KiB is the limit"),
            Self::Db(_) => f.write_str("the vault cannot use the state database"),
        }
    }
}

impl std::error::Error for VaultError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Db(error) => Some(error),
            Self::NoSecret(_)
            | Self::NoPassword(_)
            | Self::NoBastionKey(_)
            | Self::Empty
            | Self::Key(_)
            | Self::Foreign { .. }
            | Self::Altered(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
