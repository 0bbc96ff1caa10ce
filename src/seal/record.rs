//! Records: their frame, their checksum, their chain.

use std::fmt;

use ring::digest::{Context, Digest, SHA256};

use super::Fault;

/// A record holds at most so much plaintext; more is split.
pub const PLAIN_BYTES_MAX: usize = 1024 * 1024;

/// A record's ciphertext and tag are at most so long: incompressible plaintext, block headers, the tag.
const BODY_BYTES_MAX: usize = PLAIN_BYTES_MAX + 16 * 1024;

/// What stands before the ciphertext: `kind << 24 | length`.
pub(super) const FRAME_BYTES: usize = 4;
/// AES-GCM's.
pub(super) const TAG_BYTES: usize = 16;
/// CRC-32C's.
pub(super) const CHECKSUM_BYTES: usize = 4;

/// A whole record is at most so long; what a reader must be able to hold.
pub const RECORD_BYTES_MAX: usize = FRAME_BYTES + BODY_BYTES_MAX + CHECKSUM_BYTES;

/// The chain's value: a commitment to every byte of the channel up to a place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head(pub [u8; 32]);

impl Head {
    /// What segment 0 has in the place of an earlier segment's head.
    pub const NONE: Self = Self([0; 32]);

    /// The head after a header.
    pub(super) fn of_header(prev: &Self, header: &[u8]) -> Self {
        Self::hash(0x00, prev, header)
    }

    /// The head after a record, all of it.
    pub(super) fn then(&self, record: &[u8]) -> Self {
        Self::hash(0x02, self, record)
    }

    fn hash(domain: u8, before: &Self, bytes: &[u8]) -> Self {
        // The domains are not those of RFC 6962 section 2.1, although no head is ever hashed as a leaf's or node's.
        let mut hash = Context::new(&SHA256);
        hash.update(&[domain]);
        hash.update(&before.0);
        hash.update(bytes);
        Self::from_digest(&hash.finish())
    }

    fn from_digest(digest: &Digest) -> Self {
        let mut head = [0; 32];
        for (to, from) in head.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(head)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A piece of the compressed stream.
    Data,
    /// The end of the segment.
    End,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::End => 2,
        }
    }
}

/// The first bytes of a record whose ciphertext and tag have `len` bytes; `None` if that is too long.
pub(super) fn frame(kind: Kind, len: usize) -> Option<[u8; FRAME_BYTES]> {
    let len = u32::try_from(len).ok().filter(|_| len <= BODY_BYTES_MAX)?;
    let [low, middle, high, _] = len.to_le_bytes();
    Some([low, middle, high, kind.code()])
}

/// The kind, and the length of the whole record.
pub(super) fn parse_frame(frame: [u8; FRAME_BYTES]) -> Result<(Kind, usize), Fault> {
    let [low, middle, high, code] = frame;
    let kind = match code {
        1 => Kind::Data,
        2 => Kind::End,
        found => return Err(Fault::Kind { found }),
    };
    let found = u32::from_le_bytes([low, middle, high, 0]);
    let least = if kind == Kind::End { END_BYTES + TAG_BYTES } else { TAG_BYTES + 1 };
    match usize::try_from(found) {
        Ok(len) if (least..=BODY_BYTES_MAX).contains(&len) => Ok((kind, FRAME_BYTES + len + CHECKSUM_BYTES)),
        Ok(_) | Err(_) => Err(Fault::Length { found }),
    }
}

/// The checksum of a record's other bytes at its place.
pub(super) fn checksum(before: &Head, frame_and_body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(&before.0), frame_and_body).to_le_bytes()
}

/// A record whose checksum is right, and its place in the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub(super) index: u64,
    pub(super) kind: Kind,
    pub(super) offset: u64,
    pub(super) before: Head,
    pub(super) after: Head,
    pub(super) bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its number in the segment, from 1.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it begins, in bytes from the start of the segment.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The chain's head after it.
    pub fn head(&self) -> Head {
        self.after
    }

    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its first bytes, and its ciphertext and tag.
    pub(super) fn parts(&self) -> Option<([u8; FRAME_BYTES], &'a [u8])> {
        let (frame, rest) = self.bytes.split_first_chunk()?;
        let (body, _) = rest.split_last_chunk::<CHECKSUM_BYTES>()?;
        Some((*frame, body))
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, offset, after, bytes, .. } = self;
        write!(f, "Record({index}, {kind:?}, {} bytes at {offset}, {after:?})", bytes.len())
    }
}

/// Why a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Another follows.
    Rolled,
    /// The channel is closed.
    Closed,
    /// The recording of the channel failed; what stands before is good.
    Failed,
}

/// What an end record says: `records u64 || plain_bytes u64 || reason u8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// How many records stand before it.
    pub records: u64,
    /// How many bytes they decompress to.
    pub plain_bytes: u64,
    /// Why the segment ended.
    pub reason: EndReason,
}

const END_BYTES: usize = 17;

impl End {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.push(match self.reason {
            EndReason::Rolled => 1,
            EndReason::Closed => 2,
            EndReason::Failed => 3,
        });
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (records, rest) = bytes.split_first_chunk()?;
        let (plain_bytes, rest) = rest.split_first_chunk()?;
        let reason = match rest {
            [1] => EndReason::Rolled,
            [2] => EndReason::Closed,
            [3] => EndReason::Failed,
            _ => return None,
        };
        Some(Self { records: u64::from_le_bytes(*records), plain_bytes: u64::from_le_bytes(*plain_bytes), reason })
    }
}
