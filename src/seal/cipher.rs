//! AES-256-GCM of one segment: the nonce is the record's number.

use std::fmt;
use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::error::Unspecified;

use super::keys::Ratchet;
use super::record::{FRAME_BYTES, Head, TAG_BYTES};

/// The key of one segment, made ready. It is in a box so that moving its owner leaves no copy behind.
pub(super) struct Cipher(Box<LessSafeKey>);

impl Cipher {
    pub(super) fn new(ratchet: &Ratchet) -> Result<Self, Unspecified> {
        let key = ratchet.seal_key()?;
        Ok(Self(Box::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice())?))))
    }

    /// Encrypts in place; returns the tag. `index` must not have been used with this key.
    pub(super) fn seal(
        &self,
        index: u64,
        before: &Head,
        frame: [u8; FRAME_BYTES],
        body: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], Unspecified> {
        let tag = self.0.seal_in_place_separate_tag(nonce(index), bound(before, frame), body)?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    }

    /// Decrypts ciphertext and tag in place; returns the plaintext, which is where the ciphertext was.
    pub(super) fn open<'a>(
        &self,
        index: u64,
        before: &Head,
        frame: [u8; FRAME_BYTES],
        body: &'a mut [u8],
    ) -> Result<&'a [u8], Unspecified> {
        self.0.open_in_place(nonce(index), bound(before, frame), body).map(|plain| &*plain)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        // ring does not wipe its keys. A key of zeros takes the place of this one, in the same memory.
        if let Ok(zeros) = UnboundKey::new(&AES_256_GCM, &[0; 32]) {
            *self.0 = LessSafeKey::new(zeros);
            black_box(&self.0);
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(<secret>)")
    }
}

/// Four zero bytes and the record's number, which is stated nowhere else.
fn nonce(index: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    for (to, from) in bytes.iter_mut().skip(4).zip(index.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// What a record is bound to: all that stands before it, and its kind and length.
fn bound(before: &Head, frame: [u8; FRAME_BYTES]) -> Aad<[u8; 32 + FRAME_BYTES]> {
    let mut bytes = [0; 32 + FRAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(before.0.iter().chain(&frame)) {
        *to = *from;
    }
    Aad::from(bytes)
}
