//! SHA-256 with the two prefixes of RFC 6962.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};

/// A hash of an entry or of a subtree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// The root of the tree without entries: SHA-256 of nothing.
///
/// Source: RFC 6962 section 2.1.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// A text is not the base64 of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedHash;

impl Hash {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses standard base64 with padding, in its one form.
    ///
    /// # Errors
    /// `MalformedHash` if it is not that, or not of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, MalformedHash> {
        let bytes = STANDARD.decode(text).map_err(|_| MalformedHash)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedHash)?))
    }
}

/// The hash of an entry.
///
/// Source: RFC 6962 section 2.1: the prefix keeps an entry from passing for a node.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0x00], entry])
}

/// The hash of a node over its two children.
///
/// Source: RFC 6962 section 2.1.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], &left.0, &right.0])
}

/// SHA-256 over `parts`, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut bytes = [0; 32];
    // SHA-256 gives 32 bytes.
    bytes.copy_from_slice(context.finish().as_ref());
    Hash(bytes)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MalformedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the base64 form of a SHA-256 hash")
    }
}

impl std::error::Error for MalformedHash {}
