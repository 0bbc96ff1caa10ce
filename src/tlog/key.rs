//! Names and keys of those who sign notes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::hash::sha256;
use super::note::{Signature, cosigned_text};
use crate::secret::Secret;

/// Longest key name and origin, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// How the text form of a private key begins.
const PRIVATE: &str = "PRIVATE+KEY+";

/// The name of a key; a log's is its origin. Such as `example.com/bastion1`.
///
/// Source: <https://c2sp.org/signed-note>: not empty, no Unicode space, no `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// A text is no key name, or no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedKey {
    /// What is wrong with it.
    pub why: &'static str,
}

impl KeyName {
    /// Parses a name of at most 255 bytes.
    ///
    /// # Errors
    /// `MalformedKey` says what is wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(MalformedKey { why: "a key name has 1 to 255 bytes" });
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(MalformedKey { why: "a key name has no space, no `+` and no control character" });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// The text of a note, with Ed25519: what a log does.
    Note,
    /// A checkpoint with a time, with Ed25519: what a witness does (`cosignature/v1`).
    Cosignature,
}

impl Algorithm {
    /// The byte that stands for it in key ids and key texts.
    fn byte(self) -> u8 {
        match self {
            Self::Note => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Note, Self::Cosignature].into_iter().find(|algorithm| algorithm.byte() == byte)
    }
}

/// A public key with its name and what it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: KeyName,
    algorithm: Algorithm,
    public: [u8; 32],
    id: [u8; 4],
}

impl VerifyingKey {
    fn new(name: KeyName, algorithm: Algorithm, public: [u8; 32]) -> Self {
        let hash = sha256(&[name.0.as_bytes(), b"\n", &[algorithm.byte()], &public]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self { name, algorithm, public, id: [a, b, c, d] }
    }

    /// Parses the text form, `<name>+<id in hex>+<base64 of algorithm byte and key>`.
    ///
    /// # Errors
    /// `MalformedKey`, also if the id is not that of the name and the key.
    ///
    /// Source: <https://c2sp.org/signed-note>, "Verifier keys".
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let KeyParts { name, id, algorithm, bytes } = KeyParts::parse(text)?;
        let key = Self::new(name, algorithm, *bytes);
        if hex(key.id) != id {
            return Err(MalformedKey { why: "the key's id is not that of its name and bytes" });
        }
        Ok(key)
    }

    /// Its name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The id that stands in its signatures.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether `signature` names this key. It need not be good.
    pub fn made(&self, signature: &Signature) -> bool {
        signature.name() == &self.name && signature.key_id() == self.id
    }

    /// Checks a signature over a note's text, and gives its time in seconds since 1970 if it is a cosignature.
    ///
    /// `None` if it does not hold.
    pub(super) fn check(&self, text: &str, signature: &Signature) -> Option<Option<u64>> {
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        match self.algorithm {
            Algorithm::Note => key.verify(text.as_bytes(), signature.bytes()).ok().map(|()| None),
            Algorithm::Cosignature => {
                let (time, bytes) = signature.bytes().split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                // The format bounds the time to 63 bits.
                i64::try_from(time).ok()?;
                key.verify(cosigned_text(time, text).as_bytes(), bytes).ok().map(|()| Some(time))
            }
        }
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name.0, hex(self.id), encoded(self.algorithm, &self.public).as_str())
    }
}

/// A private key with its name and what it signs. `Debug` shows the public key only.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Secret<[u8; 32]>,
    public: VerifyingKey,
}

impl SigningKey {
    /// The key of an Ed25519 seed (RFC 8032 section 5.1.5), which must be random.
    ///
    /// ring keeps a copy of what it derives from the seed, which is not wiped.
    ///
    /// # Errors
    /// `MalformedKey` if ring refuses the seed.
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: Secret<[u8; 32]>) -> Result<Self, MalformedKey> {
        let refused = MalformedKey { why: "the seed makes no Ed25519 key" };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| refused)?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_| refused)?;
        Ok(Self { pair, seed, public: VerifyingKey::new(name, algorithm, public) })
    }

    /// Parses the text form, `PRIVATE+KEY+<name>+<id in hex>+<base64 of algorithm byte and seed>`.
    ///
    /// # Errors
    /// `MalformedKey`, also if the id is not that of the name and the key.
    pub fn parse(text: &Secret<String>) -> Result<Self, MalformedKey> {
        let rest = text.expose().trim_end_matches('\n').strip_prefix(PRIVATE);
        let rest = rest.ok_or(MalformedKey { why: "it is no private key" })?;
        let KeyParts { name, id, algorithm, bytes } = KeyParts::parse(rest)?;
        let key = Self::from_seed(name, algorithm, Secret::new(*bytes))?;
        if hex(key.public.id) != id {
            return Err(MalformedKey { why: "the key's id is not that of its name and bytes" });
        }
        Ok(key)
    }

    /// The text form, for a file that only its owner reads.
    pub fn to_text(&self) -> Secret<String> {
        let VerifyingKey { name, algorithm, id, .. } = &self.public;
        Secret::new(format!("{PRIVATE}{}+{}+{}", name.0, hex(*id), encoded(*algorithm, self.seed.expose()).as_str()))
    }

    /// The public key.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// A key of whoever has this one, to authenticate what no other than they write: HKDF-SHA256 (RFC 5869) of the
    /// seed, with the salt `doorward log key 1`, the key's name and `purpose` as info.
    ///
    /// ring keeps a copy of it, which is not wiped.
    pub fn authentication_key(&self, purpose: &str) -> hmac::Key {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, b"doorward log key 1");
        let extracted = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&salt, self.seed.expose()).as_ref());
        // The first block of the expansion is all that 32 bytes need. No name has a zero byte.
        let info = [self.public.name.as_str().as_bytes(), b"\0", purpose.as_bytes(), &[1]].concat();
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&extracted, &info).as_ref())
    }

    /// Signs a note's text as its log does; `None` if the key is a witness's.
    pub fn sign(&self, text: &str) -> Option<Signature> {
        match self.public.algorithm {
            Algorithm::Note => Some(self.signature(self.pair.sign(text.as_bytes()).as_ref().to_vec())),
            Algorithm::Cosignature => None,
        }
    }

    /// Signs a checkpoint's text as a witness does, at `time` in seconds since 1970; `None` if the key is a log's.
    ///
    /// It says: at that time this was the largest tree of that log that I have seen, and it is consistent with all
    /// that I saw before.
    ///
    /// Source: <https://c2sp.org/tlog-cosignature>.
    pub fn cosign(&self, text: &str, time: u64) -> Option<Signature> {
        match self.public.algorithm {
            Algorithm::Note => None,
            Algorithm::Cosignature => {
                i64::try_from(time).ok()?;
                let mut bytes = time.to_be_bytes().to_vec();
                bytes.extend_from_slice(self.pair.sign(cosigned_text(time, text).as_bytes()).as_ref());
                Some(self.signature(bytes))
            }
        }
    }

    fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature::new(self.public.name.clone(), self.public.id, bytes)
    }
}

/// The parts of `<name>+<id>+<base64>`; the last is an algorithm byte and 32 more.
struct KeyParts<'a> {
    name: KeyName,
    id: &'a str,
    algorithm: Algorithm,
    bytes: Zeroizing<[u8; 32]>,
}

impl<'a> KeyParts<'a> {
    fn parse(text: &'a str) -> Result<Self, MalformedKey> {
        let form = MalformedKey { why: "a key has the form name+id+base64" };
        // The base64 part may contain `+`.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(form) };
        let decoded = Zeroizing::new(STANDARD.decode(key).map_err(|_| form)?);
        let (algorithm, key) = decoded.split_first().ok_or(form)?;
        let algorithm =
            Algorithm::from_byte(*algorithm).ok_or(MalformedKey { why: "the key is of an unknown type" })?;
        let key = <[u8; 32]>::try_from(key).map_err(|_| MalformedKey { why: "an Ed25519 key has 32 bytes" })?;
        Ok(Self { name: KeyName::parse(name)?, id, algorithm, bytes: Zeroizing::new(key) })
    }
}

fn encoded(algorithm: Algorithm, key: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(33));
    bytes.push(algorithm.byte());
    bytes.extend_from_slice(key);
    Zeroizing::new(STANDARD.encode(&*bytes))
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public).finish()
    }
}

impl fmt::Display for MalformedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why)
    }
}

impl std::error::Error for MalformedKey {}
