//! Sealing what an auditor makes of a recording and keeps beside it: nobody opens it who cannot open the recording.

use std::fmt;
use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};

use super::keys::derive;
use super::{Dek, SealError};
use crate::model::ChannelNumber;

/// Of the compression: pictures are made once, and often.
const LEVEL: i32 = 1;

/// The key of a channel's index, and what the index is of.
///
/// It is `HKDF(DEK, "index" || channel u32le)`, see [`SessionKeys`](super::SessionKeys); a block is compressed, behind its
/// length `u64`, and sealed with AES-256-GCM under a random nonce, which stands before it. The associated data is the channel's last head and the block's number,
/// so an index of another recording, or of another state of this one, does not open.
pub struct IndexKey {
    key: Box<LessSafeKey>,
    head: String,
}

impl IndexKey {
    /// The one of a channel that ends with this head.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn new(dek: &Dek, channel: ChannelNumber, head: &str) -> Result<Self, SealError> {
        let made = || {
            let key = derive(dek.expose(), &[b"index", &channel.0.to_le_bytes()])?;
            UnboundKey::new(&AES_256_GCM, key.as_slice())
        };
        let key = made().map_err(|Unspecified| SealError::Crypto)?;
        Ok(Self { key: Box::new(LessSafeKey::new(key)), head: head.to_owned() })
    }

    /// Compresses and seals a block.
    ///
    /// # Errors
    /// `Crypto` if the system gives no random bytes, `Compress`.
    pub fn seal(&self, number: u32, block: &[u8]) -> Result<Vec<u8>, SealError> {
        let packed =
            zstd::bulk::compress(block, LEVEL).map_err(|_| SealError::Compress { why: "a block of an index" })?;
        let length = u64::try_from(block.len()).unwrap_or(u64::MAX);
        let mut block = [&length.to_le_bytes()[..], &packed].concat();
        let mut nonce = [0; NONCE_LEN];
        let mut done = || {
            SystemRandom::new().fill(&mut nonce)?;
            let bound = Aad::from(self.bound(number));
            self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), bound, &mut block)
        };
        done().map_err(|Unspecified| SealError::Crypto)?;
        Ok([&nonce[..], &block].concat())
    }

    /// Opens a block; none if it is not the one with this number of this recording's index, or has more than `most` bytes.
    pub fn open(&self, number: u32, sealed: &[u8], most: usize) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let (mut block, bound) = (sealed.to_vec(), Aad::from(self.bound(number)));
        let length = self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), bound, &mut block).ok()?.len();
        block.truncate(length);
        let (length, packed) = block.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= most)?;
        zstd::bulk::decompress(packed, length).ok()
    }

    fn bound(&self, number: u32) -> Vec<u8> {
        [self.head.as_bytes(), &number.to_le_bytes()].concat()
    }
}

impl Drop for IndexKey {
    fn drop(&mut self) {
        // ring does not wipe its keys. A key of zeros takes the place of this one, in the same memory.
        if let Ok(zeros) = UnboundKey::new(&AES_256_GCM, &[0; 32]) {
            *self.key = LessSafeKey::new(zeros);
            black_box(&self.key);
        }
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_opens_in_its_place_of_its_recording_alone() {
        let (dek, channel) = (Dek::from_bytes(&[7; 32]), ChannelNumber(2));
        let key = IndexKey::new(&dek, channel, "head").unwrap();
        let sealed = key.seal(3, b"a picture").unwrap();
        assert_eq!(key.open(3, &sealed, 9).unwrap(), b"a picture");
        assert_ne!(sealed, key.seal(3, b"a picture").unwrap(), "no nonce is used twice");
        let others = [
            IndexKey::new(&dek, ChannelNumber(1), "head"),
            IndexKey::new(&dek, channel, "another"),
            IndexKey::new(&Dek::from_bytes(&[8; 32]), channel, "head"),
        ];
        assert!(others.into_iter().all(|other| other.unwrap().open(3, &sealed, 9).is_none()));
        assert_eq!((key.open(4, &sealed, 9), key.open(3, &sealed, 8)), (None, None));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(3, &altered, 9), None, "{at}");
            assert_eq!(key.open(3, &sealed[..at], 9), None, "{at}");
        }
    }
}
