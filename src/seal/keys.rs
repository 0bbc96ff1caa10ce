//! The keys of a session: from one secret, forward only.

use std::collections::BTreeMap;
use std::fmt;

use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::SealError;
use crate::model::ChannelNumber;
use crate::secret::Secret;

/// The last segment number. It bounds the work that a forged number makes; it is 4 TiB, or ten years of one channel.
pub const SEGMENT_MAX: u32 = (1 << 20) - 1;

/// The last channel number of a session; bounds the work that a forged number makes.
pub const CHANNEL_MAX: u32 = (1 << 20) - 1;

/// So many channels may be passed over and have their keys taken later.
const SKIPPED_MAX: usize = 64;

/// The salt of every derivation: what these keys are for, and the version.
const SALT: &[u8] = b"doorward segment 1";

/// 32 bytes that nobody may see.
type Key = Zeroizing<[u8; 32]>;

/// The secret of a session; what the envelope holds for the auditors.
///
/// Whoever has it opens every segment of the session. The bastion drops it once the envelope is made and
/// [`SessionKeys`] are derived.
#[derive(Clone)]
pub struct Dek(Secret<[u8; 32]>);

impl Dek {
    /// A new one.
    ///
    /// # Errors
    /// `Crypto` if the system gives no random bytes.
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|Unspecified| SealError::Crypto)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The one from an envelope. The caller wipes its copy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Secret::new(*bytes))
    }

    /// For the envelope.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(<secret>)")
    }
}

/// The keys of a session's channels that have not been taken yet; those taken cannot be had again.
///
/// Every key is HKDF-SHA256 (RFC 5869) with the salt `doorward segment 1`, one earlier key as the input, an ASCII
/// info, and 32 bytes of output:
///
/// ```text
/// S_0     = HKDF(DEK, "channels")            the session
/// R_0     = HKDF(S_n, "channel" || n u32le)  channel n, segment 0
/// S_(n+1) = HKDF(S_n, "next")
/// R_(i+1) = HKDF(R_i, "next")                segment i + 1 of the channel
/// K_i     = HKDF(R_i, "seal")                the AES-256 key of segment i
/// C_i     = HKDF(R_i, "commit")              its key commitment, in the header
/// O       = HKDF(DEK, "opener")              the seed of the key that [`Dek::sign`] signs with
/// I_n     = HKDF(DEK, "index" || n u32le)    the AES-256 key of an auditor's index of channel n
/// ```
///
/// No step can be reversed and each earlier key is wiped, so whoever takes over the bastion during a session has
/// the segments that are open, and those to come, but none that has ended, of any channel.
pub struct SessionKeys {
    chain: Key,
    /// The number of the first channel that is not behind the chain.
    next: u32,
    skipped: BTreeMap<u32, Ratchet>,
}

impl SessionKeys {
    /// The keys of all channels.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn new(dek: &Dek) -> Result<Self, SealError> {
        let chain = derive(dek.expose(), &[b"channels"]).map_err(|Unspecified| SealError::Crypto)?;
        Ok(Self { chain, next: 0, skipped: BTreeMap::new() })
    }

    /// Takes the key of a channel, once. Channels may be opened a little out of order.
    ///
    /// # Errors
    /// `NoChannelKey` if it was taken, if more than 64 channels would be passed over, or if the number is beyond
    /// [`CHANNEL_MAX`]; `Crypto`.
    pub fn channel(&mut self, channel: ChannelNumber) -> Result<Ratchet, SealError> {
        if let Some(ratchet) = self.skipped.remove(&channel.0) {
            return Ok(ratchet);
        }
        let no_key = SealError::NoChannelKey { channel };
        let passed = channel.0.checked_sub(self.next).ok_or(no_key)?;
        let kept = usize::try_from(passed).unwrap_or(usize::MAX).saturating_add(self.skipped.len());
        if channel.0 > CHANNEL_MAX || kept > SKIPPED_MAX {
            return Err(no_key);
        }
        loop {
            let ratchet = self.step().map_err(|Unspecified| SealError::Crypto)?;
            if ratchet.channel == channel {
                return Ok(ratchet);
            }
            self.skipped.insert(ratchet.channel.0, ratchet);
        }
    }

    /// The key of any channel, for who has the session's secret. Its work grows with the number.
    pub(super) fn seek(dek: &Dek, channel: ChannelNumber) -> Result<Ratchet, Unspecified> {
        let mut keys = Self { chain: derive(dek.expose(), &[b"channels"])?, next: 0, skipped: BTreeMap::new() };
        while keys.next < channel.0.min(CHANNEL_MAX) {
            keys.advance()?;
        }
        keys.step()
    }

    fn step(&mut self) -> Result<Ratchet, Unspecified> {
        let secret = derive(&self.chain, &[b"channel", &self.next.to_le_bytes()])?;
        let ratchet = Ratchet { secret, channel: ChannelNumber(self.next), segment: 0 };
        self.advance()?;
        Ok(ratchet)
    }

    fn advance(&mut self) -> Result<(), Unspecified> {
        // The assignment drops the earlier key, which wipes it.
        self.chain = derive(&self.chain, &[b"next"])?;
        self.next = self.next.saturating_add(1);
        Ok(())
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys(next channel {}, <secret>)", self.next)
    }
}

/// The key of one segment of one channel, from which those of later segments follow, but not of earlier ones.
pub struct Ratchet {
    secret: Key,
    channel: ChannelNumber,
    segment: u32,
}

impl Ratchet {
    /// Whose it is.
    pub fn channel(&self) -> ChannelNumber {
        self.channel
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    /// Goes on to the next segment; the key of this one is wiped.
    pub(super) fn advance(&mut self) -> Result<(), Unspecified> {
        self.secret = derive(&self.secret, &[b"next"])?;
        self.segment = self.segment.saturating_add(1);
        Ok(())
    }

    /// The key that seals the segment's records.
    pub(super) fn seal_key(&self) -> Result<Key, Unspecified> {
        derive(&self.secret, &[b"seal"])
    }

    /// What the segment's header says of its key.
    pub(super) fn commitment(&self) -> Result<[u8; 32], Unspecified> {
        derive(&self.secret, &[b"commit"]).map(|commitment| *commitment)
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ratchet(channel {}, segment {}, <secret>)", self.channel, self.segment)
    }
}

/// One derivation. What ring keeps of the input while it runs, on its stack, is not wiped.
pub(super) fn derive(secret: &[u8; 32], info: &[&[u8]]) -> Result<Key, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, SALT).extract(secret).expand(info, HKDF_SHA256)?.fill(key.as_mut_slice())?;
    Ok(key)
}
