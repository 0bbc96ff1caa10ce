//! Showing that one could open a session's envelope, to somebody who cannot.
//!
//! From the session's secret follows an Ed25519 key (RFC 8032), whose public half is on record from the session's first
//! moment. Whoever can open the envelope can sign with it, and nobody else: not the bastion, which drops the secret,
//! and not its operators. So an envelope that takes another's place was made by one who could read the recording.
//!
//! It does **not** show that the new envelope holds the right secret: who signs can lie. Hence what it replaces is
//! kept until somebody has shown in the same way that they opened the new one.

use std::fmt;

use ring::error::Unspecified;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys::derive;
use super::{Dek, SealError};

/// The public half of a session's signing key: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpenerKey([u8; 32]);

/// A signature of one who opened a session's envelope: 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpenerProof([u8; 64]);

/// What is signed. Hashes are SHA-256 of whole envelope files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// "I opened the envelope `before`, and sealed the same secret in `after`, for those of this digest."
    Rewrapped {
        /// The envelope that was opened.
        before: [u8; 32],
        /// The one that was made.
        after: [u8; 32],
        /// [`Recipients::digest`](super::Recipients::digest) of those it is for.
        recipients: [u8; 8],
    },
    /// "I opened this envelope, and it holds the secret of the recording."
    Opened {
        /// The envelope.
        envelope: [u8; 32],
    },
}

impl Statement {
    /// The bytes that are signed: a text that ends in a zero byte, the session, then fields of fixed length.
    fn bytes(&self, session: &[u8; 16]) -> Vec<u8> {
        let (kind, fields): (&[u8], Vec<&[u8]>) = match self {
            Self::Rewrapped { before, after, recipients } => {
                (b"doorward rewrapped 1\0", vec![before, after, recipients])
            }
            Self::Opened { envelope } => (b"doorward opened 1\0", vec![envelope]),
        };
        [kind, session, &fields.concat()].concat()
    }
}

impl Dek {
    /// The public half of the session's signing key.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn opener_key(&self) -> Result<OpenerKey, SealError> {
        let pair = self.signing_pair().map_err(|Unspecified| SealError::Crypto)?;
        let key = <[u8; 32]>::try_from(pair.public_key().as_ref());
        key.map(OpenerKey).map_err(|_| SealError::Crypto)
    }

    /// Signs a statement about an envelope of `session`.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn sign(&self, session: &[u8; 16], statement: &Statement) -> Result<OpenerProof, SealError> {
        let pair = self.signing_pair().map_err(|Unspecified| SealError::Crypto)?;
        let signature = <[u8; 64]>::try_from(pair.sign(&statement.bytes(session)).as_ref());
        signature.map(OpenerProof).map_err(|_| SealError::Crypto)
    }

    fn signing_pair(&self) -> Result<Ed25519KeyPair, Unspecified> {
        let seed = derive(self.expose(), &[b"opener"])?;
        Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| Unspecified)
    }
}

impl OpenerKey {
    /// Tells whether who can open the envelopes of `session` has signed this.
    pub fn has_signed(&self, session: &[u8; 16], statement: &Statement, proof: &OpenerProof) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(&statement.bytes(session), &proof.0).is_ok()
    }
}

/// Bytes of lower-case hexadecimal; `None` for any other text.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        if !pair.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// The text form of a value that is bytes: hexadecimal, in JSON too.
macro_rules! hexadecimal {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                from_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom(concat!("this is no ", $what)))
            }
        }
    };
}

hexadecimal!(OpenerKey, "key of a session");
hexadecimal!(OpenerProof, "signature");

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: [u8; 16] = [7; 16];

    #[test]
    fn only_who_has_the_secret_signs_and_only_what_was_signed_passes() {
        let dek = Dek::random().unwrap();
        let key = dek.opener_key().unwrap();
        let statement = Statement::Rewrapped { before: [1; 32], after: [2; 32], recipients: [3; 8] };
        let proof = dek.sign(&SESSION, &statement).unwrap();
        assert!(key.has_signed(&SESSION, &statement, &proof));
        assert!(!key.has_signed(&[8; 16], &statement, &proof));
        let others = [
            Statement::Rewrapped { before: [9; 32], after: [2; 32], recipients: [3; 8] },
            Statement::Rewrapped { before: [1; 32], after: [9; 32], recipients: [3; 8] },
            Statement::Rewrapped { before: [1; 32], after: [2; 32], recipients: [9; 8] },
            Statement::Opened { envelope: [2; 32] },
        ];
        assert!(others.iter().all(|other| !key.has_signed(&SESSION, other, &proof)));
        let stranger = Dek::random().unwrap();
        let forged = stranger.sign(&SESSION, &statement).unwrap();
        assert!(!key.has_signed(&SESSION, &statement, &forged));
        assert!(!stranger.opener_key().unwrap().has_signed(&SESSION, &statement, &proof));
    }

    #[test]
    fn the_key_follows_from_the_secret_alone_and_is_none_of_the_keys_that_seal() {
        let dek = Dek::from_bytes(&[5; 32]);
        assert_eq!(dek.opener_key().unwrap(), Dek::from_bytes(&[5; 32]).opener_key().unwrap());
        assert_ne!(dek.opener_key().unwrap(), Dek::from_bytes(&[6; 32]).opener_key().unwrap());
        assert_ne!(dek.opener_key().unwrap().0, *dek.expose());
    }

    #[test]
    fn texts_read_back_equal_and_others_are_refused() {
        let dek = Dek::random().unwrap();
        let key = dek.opener_key().unwrap();
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!((text.len(), serde_json::from_str::<OpenerKey>(&text).unwrap()), (66, key));
        let proof = dek.sign(&SESSION, &Statement::Opened { envelope: [0; 32] }).unwrap();
        let signed = serde_json::to_string(&proof).unwrap();
        assert_eq!((signed.len(), serde_json::from_str::<OpenerProof>(&signed).unwrap()), (130, proof));
        let upper = format!("\"{}\"", "AB".repeat(32));
        for bad in ["\"\"", "\"00\"", &signed, &upper, &text.replacen('"', "\"+", 1)[..], "7"] {
            assert!(serde_json::from_str::<OpenerKey>(bad).is_err(), "{bad}");
        }
    }
}
