//! What leaves the vault for an export of the state, and comes back into another: secrets without this vault's seals.
//!
//! The seals are under the master key, and the master key is in no export: whoever opens an export has the secrets of
//! that day, and nothing of a state directory that is stolen later.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ssh_key::PrivateKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::desktop::{DESKTOP_KEY, DesktopIdentity};
use super::{BASTION_KEYS, Entry, HOST_CA, HOST_KEY, LOG_KEY, Place, SECRETS, SecretKind, Stored, Vault, VaultError};
use crate::db::Db;
use crate::model::{Destination, Timestamp};

/// The tables whose values `Vault::portable` and `Vault::sealed_again` translate.
pub(crate) const PORTABLE_TABLES: [&str; 2] = [BASTION_KEYS, SECRETS];

/// A destination's entry, as exported.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortableEntry {
    version: u32,
    at: Timestamp,
    secret: Option<PortableSecret>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortableSecret {
    kind: SecretKind,
    fingerprint: Option<String>,
    plain: Plain,
}

/// Base64 of a secret's bytes, wiped when dropped.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(transparent)]
struct Plain(String);

impl Plain {
    fn of(bytes: &[u8]) -> Self {
        Self(STANDARD_NO_PAD.encode(bytes))
    }

    fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let bytes = STANDARD_NO_PAD.decode(&self.0).map(Zeroizing::new);
        bytes.map_err(|_| VaultError::Foreign { name: name.to_owned(), why: "its secret is no base64".into() })
    }
}

impl Vault {
    /// The state database that the vault is in.
    pub(crate) fn database(&self) -> &Db {
        &self.db
    }

    /// An entry of one of the vault's tables without its seals, as JSON. `stored` is the JSON that the database has.
    ///
    /// # Errors
    /// `Altered` if it does not open.
    pub(crate) fn portable(&self, table: &str, name: &str, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        if table == BASTION_KEYS {
            let place = Place::bastion(name);
            let plain = self.unseal(&place, &read(name, stored)?)?;
            return write(name, &Plain::of(&plain));
        }
        let Entry { version, at, secret } = read(name, stored)?;
        let secret = match secret {
            Some(Stored { kind, fingerprint, sealed }) => {
                let plain = Plain::of(&self.unseal(&Place::secret(name, version, kind), &sealed)?);
                Some(PortableSecret { kind, fingerprint, plain })
            }
            None => None,
        };
        write(name, &PortableEntry { version, at, secret })
    }

    /// The other way: seals what `portable` gave, perhaps of another vault, for this one's database.
    ///
    /// # Errors
    /// `Foreign` if it is not of that form.
    pub(crate) fn sealed_again(&self, table: &str, name: &str, plain: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        if table == BASTION_KEYS {
            let plain = read::<Plain>(name, plain)?.bytes(name)?;
            check_bastion_key(name, &plain)?;
            return write(name, &self.seal(&Place::bastion(name), plain)?);
        }
        Destination::parse(name).map_err(|error| foreign(name, &error))?;
        let PortableEntry { version, at, secret } = read(name, plain)?;
        let secret = match secret {
            Some(PortableSecret { kind, fingerprint, plain }) => {
                let plain = plain.bytes(name)?;
                check_secret(name, kind, &plain)?;
                let sealed = self.seal(&Place::secret(name, version, kind), plain)?;
                Some(Stored { kind, fingerprint, sealed })
            }
            None => None,
        };
        write(name, &Entry { version, at, secret })
    }

    /// A new log key, sealed for the database: of a store that begins a log of its own.
    ///
    /// # Errors
    /// `Db` if the system gives no randomness.
    pub(crate) fn other_log_key(&self) -> Result<(&'static str, Zeroizing<Vec<u8>>), VaultError> {
        let seed = Zeroizing::new(super::random_seed()?.to_vec());
        let sealed = self.seal(&Place::bastion(LOG_KEY), seed)?;
        Ok((LOG_KEY, write(LOG_KEY, &sealed)?))
    }
}

fn check_bastion_key(name: &str, plain: &[u8]) -> Result<(), VaultError> {
    match name {
        HOST_KEY | HOST_CA => PrivateKey::from_bytes(plain).map(drop).map_err(|error| foreign(name, &error)),
        DESKTOP_KEY if DesktopIdentity::from_bytes(plain).is_some() => Ok(()),
        DESKTOP_KEY => Err(foreign(name, &"it is no certificate with a key")),
        LOG_KEY if plain.len() == 32 => Ok(()),
        LOG_KEY => Err(foreign(name, &"it has not 32 bytes")),
        _ => Err(foreign(name, &"a bastion has no key of this name")),
    }
}

fn check_secret(name: &str, kind: SecretKind, plain: &[u8]) -> Result<(), VaultError> {
    match kind {
        SecretKind::Password if plain.is_empty() => Err(foreign(name, &"the password is empty")),
        SecretKind::Password => std::str::from_utf8(plain).map(drop).map_err(|_| foreign(name, &"it is not UTF-8")),
        SecretKind::PrivateKey => PrivateKey::from_bytes(plain).map(drop).map_err(|error| foreign(name, &error)),
    }
}

fn foreign(name: &str, why: &dyn fmt::Display) -> VaultError {
    VaultError::Foreign { name: name.to_owned(), why: why.to_string() }
}

fn read<T: DeserializeOwned>(name: &str, json: &[u8]) -> Result<T, VaultError> {
    // What serde says of a value may repeat it.
    serde_json::from_slice(json).map_err(|error| {
        foreign(name, &format!("no entry of a vault (line {}, column {})", error.line(), error.column()))
    })
}

fn write(name: &str, value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    // Large enough not to move while it fills: what moves leaves a copy behind.
    let mut json = Zeroizing::new(Vec::with_capacity(64 * 1024));
    serde_json::to_writer(&mut *json, value).map_err(|error| foreign(name, &error))?;
    Ok(json)
}
