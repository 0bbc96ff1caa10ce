//! Which user certificates count, and which keys no longer do. Pure: the text of two files becomes a `Trust`, a key or
//! certificate put to it becomes a verdict.
//!
//! What this module does **not** guard against: whoever asks has seen a signature by the key in question, or gives
//! nothing for the answer but the chance to sign. Whether the certificate's principal is a user, and may log in, is
//! asked elsewhere (`authn`).

mod certificate;
mod revoked;

use std::fmt;
use std::sync::Arc;

use ssh_key::{Certificate, HashAlg, PublicKey};

use crate::model::Timestamp;
pub use certificate::Circumstances;
pub use revoked::Revoked;

/// A file of keys.
#[derive(Debug)]
pub struct List {
    /// What it is called in faults.
    pub name: String,
    /// What is in it, or why it cannot be read.
    pub content: Result<Vec<u8>, String>,
}

/// Authorities that are trusted; more are a mistake.
const CAS_MAX: usize = 100;
/// RSA keys of authorities below this are not trusted.
const RSA_BITS_MIN: u32 = 2048;

/// The authorities whose user certificates count, and the keys and certificates that do not.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    cas: Listed<Vec<PublicKey>>,
    revoked: Listed<Revoked>,
}

/// What a file lists. A file that cannot be used lets nobody in; sessions that are live go by what it said before.
#[derive(Debug, Clone, Default)]
struct Listed<T> {
    good: Arc<T>,
    broken: Option<String>,
}

impl<T> Listed<T> {
    fn read(list: Option<List>, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Self
    where
        T: Default,
    {
        let Some(List { name, content }) = list else { return Self::default() };
        match content.and_then(|bytes| parse(&bytes)) {
            Ok(good) => Self { good: Arc::new(good), broken: None },
            Err(why) => Self { good: Arc::default(), broken: Some(format!("{name}: {why}")) },
        }
    }

    fn after(self, old: &Self) -> Self {
        if self.broken.is_some() { Self { good: Arc::clone(&old.good), ..self } } else { self }
    }
}

/// What the answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// A login, or something new on one.
    Opening,
    /// What is open already.
    Live,
}

impl Trust {
    /// What the files say; `None` for one that is not configured.
    pub fn read(cas: Option<List>, revoked: Option<List>) -> Self {
        Self { cas: Listed::read(cas, parse_cas), revoked: Listed::read(revoked, Revoked::parse) }
    }

    /// This, with what `old` knew in the place of what cannot be read now.
    #[must_use]
    pub fn after(self, old: &Self) -> Self {
        Self { cas: self.cas.after(&old.cas), revoked: self.revoked.after(&old.revoked) }
    }

    /// What is wrong with the files.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.cas.broken.iter().chain(&self.revoked.broken).map(String::as_str)
    }

    /// How many authorities are trusted.
    pub fn cas(&self) -> usize {
        self.cas.good.len()
    }

    /// Whether a certificate is one of an authority by which users log in, whatever else is in it; also if nobody can tell.
    pub fn may_log_in(&self, certificate: &Certificate) -> bool {
        let trusted = |ca: &PublicKey| ca.key_data() == certificate.signature_key();
        self.cas.broken.is_some() || self.cas.good.iter().any(trusted)
    }

    /// Whether a key may still be used, by itself or in a certificate.
    ///
    /// # Errors
    /// `Distrust`: it is revoked, or nobody can tell.
    pub fn key(&self, key: &PublicKey, purpose: For) -> Result<(), Distrust> {
        self.readable(&self.revoked.broken, purpose)?;
        if self.revoked.good.has_key(key) {
            return Err(Distrust::KeyRevoked { fingerprint: key.fingerprint(HashAlg::Sha256).to_string() });
        }
        Ok(())
    }

    /// Whether a certificate is one of a trusted authority, for users, in its time, and not revoked; and, for an
    /// opening, whether its options allow it.
    ///
    /// # Errors
    /// `Distrust` says why not.
    pub fn certificate(&self, certificate: &Certificate, circumstances: &Circumstances) -> Result<(), Distrust> {
        self.readable(&self.cas.broken, circumstances.purpose)?;
        self.readable(&self.revoked.broken, circumstances.purpose)?;
        certificate::check(certificate, &self.cas.good, &self.revoked.good, circumstances)
    }

    fn readable(&self, broken: &Option<String>, purpose: For) -> Result<(), Distrust> {
        match (broken, purpose) {
            (Some(why), For::Opening) => Err(Distrust::Unreadable { why: why.clone() }),
            (Some(_), For::Live) | (None, For::Opening | For::Live) => Ok(()),
        }
    }
}

/// The keys of trusted authorities, one a line in OpenSSH form; empty lines and those with `#` say nothing.
fn parse_cas(bytes: &[u8]) -> Result<Vec<PublicKey>, String> {
    let keys = keys_of(bytes)?;
    for (line, key) in &keys {
        let algorithm = key.algorithm();
        if key.key_data().is_certificate() {
            return Err(format!("line {line}: a certificate signs none; give the authority's public key"));
        }
        if key.key_data().rsa().is_some_and(|rsa| rsa.key_size() < RSA_BITS_MIN) {
            return Err(format!("line {line}: an RSA key of fewer than {RSA_BITS_MIN} bits"));
        }
        if key.key_data().is_dsa() || key.key_data().is_other() {
            return Err(format!("line {line}: {algorithm} keys are not accepted"));
        }
    }
    match keys.len() {
        0 => Err("no key in it".to_owned()),
        1..=CAS_MAX => Ok(keys.into_iter().map(|(_, key)| key).collect()),
        more => Err(format!("{more} keys in it, and {CAS_MAX} is the most")),
    }
}

/// Each public key with its line.
fn keys_of(bytes: &[u8]) -> Result<Vec<(usize, PublicKey)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())?;
    let lines = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| match PublicKey::from_openssh(line) {
            Ok(key) => Ok((number, key)),
            Err(error) => Err(format!("line {number}: not a public key: {error}")),
        })
        .collect()
}

/// Why a key or certificate does not count. For logs: a client is told only that it is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// A file that must be asked cannot be used.
    Unreadable {
        /// Which, and what is wrong with it.
        why: String,
    },
    /// The key is revoked.
    KeyRevoked {
        /// The key, or the authority's.
        fingerprint: String,
    },
    /// The certificate is revoked.
    CertificateRevoked {
        /// By what: `serial 5`, or its key id.
        by: String,
    },
    /// The authority is not trusted.
    UnknownCa {
        /// Its key.
        ca: String,
    },
    /// It is a host's.
    NotForUsers,
    /// The authority signed with SHA-1, or the signature is not the authority's.
    BadSignature,
    /// It counts later.
    NotYet {
        /// From when.
        from: Timestamp,
    },
    /// Its time is over.
    Expired {
        /// Since when.
        until: Timestamp,
    },
    /// It has a critical option that is not kept here, so it must not count (PROTOCOL.certkeys).
    CriticalOption {
        /// The option.
        name: String,
    },
    /// It does not count where the user comes from.
    SourceAddress {
        /// Where it does.
        allowed: String,
    },
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { why } => write!(f, "{why}"),
            Self::KeyRevoked { fingerprint } => write!(f, "key {fingerprint} is revoked"),
            Self::CertificateRevoked { by } => write!(f, "it is revoked by {by}"),
            Self::UnknownCa { ca } => write!(f, "its authority {ca} is not trusted"),
            Self::NotForUsers => f.write_str("it is a host's certificate"),
            Self::BadSignature => f.write_str("its signature is not the authority's, or uses SHA-1"),
            Self::NotYet { from } => write!(f, "it is valid from {from} on"),
            Self::Expired { until } => write!(f, "it expired at {until}"),
            Self::CriticalOption { name } => write!(f, "its critical option `{name}` is not kept here"),
            Self::SourceAddress { allowed } => write!(f, "it counts from {allowed} only"),
        }
    }
}

impl std::error::Error for Distrust {}

#[cfg(test)]
mod tests;
