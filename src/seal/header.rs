//! A segment's first bytes.

use super::HeaderFault;
use super::keys::{CHANNEL_MAX, SEGMENT_MAX};
use super::record::Head;
use crate::model::ChannelNumber;

/// The length of a header.
pub const HEADER_BYTES: usize = 116;

pub(super) const MAGIC: [u8; 4] = *b"DWRC";
const VERSION: u8 = 1;

/// What a segment's plaintext is. One segment holds one kind only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Lines of asciicast v3.
    Cast3,
    /// Timed messages of the Remote Desktop Protocol.
    Rdp1,
}

/// What a header says; all of it can be read without a key, and none of it changed unnoticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// What the plaintext is.
    pub stream: Stream,
    /// The session's id: the 128 bits of its ULID, big endian as the ULID specification has them.
    pub session: [u8; 16],
    /// The segment's number in its channel, from 0.
    pub segment: u32,
    /// Where the segment begins, in milliseconds since the session opened.
    pub t0_ms: u64,
    /// The first 8 bytes of a digest of whom the session's secret is enclosed for.
    pub recipients_digest: [u8; 8],
    /// The last head of the segment before.
    pub prev_head: Head,
    /// The channel.
    pub channel: ChannelNumber,
    /// Only the right key has this commitment.
    pub key_commitment: [u8; 32],
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.push(match self.stream {
            Stream::Cast3 => 1,
            Stream::Rdp1 => 2,
        });
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.session);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.t0_ms.to_le_bytes());
        bytes.extend_from_slice(&self.recipients_digest);
        bytes.extend_from_slice(&self.prev_head.0);
        bytes.extend_from_slice(&self.channel.0.to_le_bytes());
        bytes.extend_from_slice(&self.key_commitment);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        debug_assert_eq!(bytes.len(), header.len());
        for (to, from) in header.iter_mut().zip(bytes) {
            *to = from;
        }
        header
    }

    /// Reads a header of this version.
    ///
    /// # Errors
    /// Which field is wrong; [`HeaderFault::offset`] says where it is.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderFault> {
        let mut fields = Fields(bytes);
        if fields.take() != MAGIC {
            return Err(HeaderFault::Magic);
        }
        // Another version may have its checksum elsewhere.
        match fields.take() {
            [VERSION] => {}
            [found] => return Err(HeaderFault::Version { found }),
        }
        if bytes.split_last_chunk().is_none_or(|(rest, sum)| crc32c::crc32c(rest).to_le_bytes() != *sum) {
            return Err(HeaderFault::Checksum);
        }
        let stream = match fields.take() {
            [1] => Stream::Cast3,
            [2] => Stream::Rdp1,
            [found] => return Err(HeaderFault::Stream { found }),
        };
        let flags = u16::from_le_bytes(fields.take());
        if flags != 0 {
            return Err(HeaderFault::Flags { found: flags });
        }
        let session = fields.take();
        let segment = u32::from_le_bytes(fields.take());
        if segment > SEGMENT_MAX {
            return Err(HeaderFault::Segment { found: segment });
        }
        let t0_ms = u64::from_le_bytes(fields.take());
        let recipients_digest = fields.take();
        let prev_head = Head(fields.take());
        if (prev_head == Head::NONE) != (segment == 0) {
            return Err(HeaderFault::PrevHead);
        }
        let channel = ChannelNumber(u32::from_le_bytes(fields.take()));
        if channel.0 > CHANNEL_MAX {
            return Err(HeaderFault::Channel { found: channel.0 });
        }
        let key_commitment = fields.take();
        Ok(Self { stream, session, segment, t0_ms, recipients_digest, prev_head, channel, key_commitment })
    }
}

/// Fields of fixed length, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The next one. The header's length is that of all its fields, so there always is one.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        debug_assert!(self.0.len() >= N);
        let (field, rest) = self.0.split_first_chunk().map_or(([0; N], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }
}
