//! Auditors' keys, in the form of age: a recipient is public, an identity opens what is sealed for it.
//!
//! Source: <https://c2sp.org/age>, "X25519 recipient stanza". Identities stay with the auditors; the bastion knows
//! recipients only.

use std::fmt;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;

/// An identity file has at most so many bytes; a longer one is something else.
pub const IDENTITY_BYTES_MAX: usize = 64 * 1024;

/// An auditor's public key, `age1...`: recordings are sealed for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// A text is not a key of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedAuditorKey {
    /// What is wrong with it.
    pub why: &'static str,
}

impl Recipient {
    /// Parses `age1...`.
    ///
    /// # Errors
    /// `MalformedAuditorKey`; a secret identity in its place is named as such and not repeated.
    pub fn parse(text: &str) -> Result<Self, MalformedAuditorKey> {
        if text.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("AGE-SECRET-KEY-")) {
            return Err(MalformedAuditorKey {
                why: "this is an identity, which is secret; give its public key, age1...",
            });
        }
        let key = x25519::Recipient::from_str(text);
        key.map(Self).map_err(|_| MalformedAuditorKey { why: "an auditor's key is an age recipient, age1..." })
    }

    /// For the envelope.
    pub(crate) fn key(&self) -> &x25519::Recipient {
        &self.0
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(error.why))
    }
}

/// An auditor's secret key.
#[derive(Clone)]
pub struct Identity(x25519::Identity);

impl Identity {
    /// A new one, from the system's random numbers.
    pub fn generate() -> Self {
        Self(x25519::Identity::generate())
    }

    /// The identities in the text of an identity file: one a line, beside empty lines and lines that begin with `#`,
    /// as `age-keygen` writes it.
    ///
    /// # Errors
    /// `MalformedAuditorKey` for any other line, and if there is none.
    pub fn parse_file(text: &Secret<String>) -> Result<Vec<Self>, MalformedAuditorKey> {
        let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities: Vec<Self> = lines
            .map(|line| x25519::Identity::from_str(line).map(Self))
            .collect::<Result<_, _>>()
            .map_err(|_| MalformedAuditorKey { why: "a line of it is no age identity, AGE-SECRET-KEY-1..." })?;
        if identities.is_empty() {
            return Err(MalformedAuditorKey { why: "there is no age identity in it" });
        }
        Ok(identities)
    }

    /// The public key.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// The text of an identity file, in the form of `age-keygen`.
    pub fn to_file(&self) -> Secret<String> {
        let key = self.0.to_string();
        Secret::new(format!("# public key: {}\n{}\n", self.recipient(), key.expose_secret()))
    }

    /// For opening an envelope.
    pub(crate) fn key(&self) -> &x25519::Identity {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.recipient())
    }
}

impl fmt::Display for MalformedAuditorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for MalformedAuditorKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_survives_its_text() {
        let identity = Identity::generate();
        let again = Identity::parse_file(&identity.to_file()).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].recipient(), identity.recipient());
        assert_eq!(Recipient::parse(&identity.recipient().to_string()), Ok(identity.recipient()));
        assert!(!format!("{identity:?}").contains("SECRET"));
    }

    #[test]
    fn a_secret_in_the_place_of_a_public_key_is_said_to_be_one() {
        let file = Identity::generate().to_file();
        let line = file.expose().lines().last().unwrap().to_owned();
        for text in [line.as_str(), &line.to_lowercase()] {
            assert!(Recipient::parse(text).unwrap_err().why.contains("secret"));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in
            ["", "age1", "age1qqqq", "ssh-ed25519 AAAA", "AGE1", "age1\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"]
        {
            assert!(Recipient::parse(text).is_err(), "{text}");
            assert!(Identity::parse_file(&Secret::new(text.to_owned())).is_err(), "{text}");
        }
        assert!(Identity::parse_file(&Secret::new(String::from("# nothing\n\n"))).is_err());
    }
}
