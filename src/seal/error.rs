//! Why something could not be sealed, is not a segment, or does not open.

use std::fmt;

use crate::model::ChannelNumber;

/// Why nothing more is sealed. Our fault, or the machine's; never the data's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The system gives no random bytes, or a cryptographic function failed.
    Crypto,
    /// The compressor failed, most likely for want of memory.
    Compress {
        /// What it says.
        why: &'static str,
    },
    /// The segment has ended, or an earlier call failed: a number that may have been used is never used again.
    Over,
    /// A next segment was asked for while this one has not ended as rolled.
    NotRolled,
    /// The channel has as many segments as there may be.
    TooManySegments,
    /// The key of the channel was taken before, is too far ahead, or beyond the last.
    NoChannelKey {
        /// The channel.
        channel: ChannelNumber,
    },
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crypto => f.write_str("a cryptographic function failed"),
            Self::Compress { why } => write!(f, "the recording cannot be compressed: {why}"),
            Self::Over => f.write_str("the segment has ended"),
            Self::NotRolled => f.write_str("the segment before has not ended as rolled"),
            Self::TooManySegments => f.write_str("the channel has as many segments as there may be"),
            Self::NoChannelKey { channel } => write!(f, "there is no key for channel {channel}"),
        }
    }
}

impl std::error::Error for SealError {}

/// What is wrong with a segment, as far as can be told without its key. What stands before `offset` is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Altered {
    /// Where the header, or the record that is wrong, or what should not be there, begins.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The header.
    Header(HeaderFault),
    /// No record is of this kind.
    Kind {
        /// What stands there.
        found: u8,
    },
    /// No record is of this length.
    Length {
        /// What stands there, in bytes.
        found: u32,
    },
    /// The record's checksum is not that of its bytes at this place of this segment.
    Checksum,
    /// There are bytes after the end record.
    AfterEnd,
}

/// Which field of a header is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// It is not a segment.
    Magic,
    /// A version that this program does not know.
    Version {
        /// What stands there.
        found: u8,
    },
    /// The checksum is not that of the header.
    Checksum,
    /// A payload that this program does not know.
    Stream {
        /// What stands there.
        found: u8,
    },
    /// Flags that this program does not know.
    Flags {
        /// What stands there.
        found: u16,
    },
    /// A number beyond [`SEGMENT_MAX`](super::SEGMENT_MAX).
    Segment {
        /// What stands there.
        found: u32,
    },
    /// Segment 0 names a segment before it, or a later one does not.
    PrevHead,
    /// A number beyond [`CHANNEL_MAX`](super::CHANNEL_MAX).
    Channel {
        /// What stands there.
        found: u32,
    },
}

impl HeaderFault {
    /// Where the field is, in bytes from the start of the segment.
    pub fn offset(self) -> u64 {
        match self {
            Self::Magic => 0,
            Self::Version { .. } => 4,
            Self::Stream { .. } => 5,
            Self::Flags { .. } => 6,
            Self::Segment { .. } => 24,
            Self::PrevHead => 44,
            Self::Channel { .. } => 76,
            Self::Checksum => 112,
        }
    }
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it is not a recorded segment"),
            Self::Version { found } => write!(f, "version {found} is not known"),
            Self::Checksum => f.write_str("the header's checksum is wrong"),
            Self::Stream { found } => write!(f, "payload {found} is not known"),
            Self::Flags { found } => write!(f, "flags {found:#06x} are not known"),
            Self::Segment { found } => write!(f, "segment number {found} is too large"),
            Self::PrevHead => f.write_str("the head of the segment before does not fit the segment's number"),
            Self::Channel { found } => write!(f, "channel number {found} is too large"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(fault) => fault.fmt(f),
            Self::Kind { found } => write!(f, "no record is of kind {found}"),
            Self::Length { found } => write!(f, "no record has {found} bytes"),
            Self::Checksum => f.write_str("the record's checksum is wrong"),
            Self::AfterEnd => f.write_str("there are bytes after the end record"),
        }
    }
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the segment is damaged at byte {}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for Altered {}

/// Why a segment, or a record of it, does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenError {
    /// The record's number, from 1; 0 is the header.
    pub record: u64,
    /// Where it begins, in bytes from the start of the segment.
    pub offset: u64,
    /// What is wrong.
    pub fault: OpenFault,
}

/// Why a record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFault {
    /// The key is not the one that sealed the segment, or the header has been altered.
    WrongKey,
    /// Sealed under another key, or at another place, or altered.
    Unauthentic,
    /// Not the record that follows the last one opened, which was not the end.
    OutOfOrder {
        /// The number that follows; `None` after the end and after an error.
        expected: Option<u64>,
    },
    /// What was sealed cannot be decompressed.
    Inflate {
        /// What the decompressor says.
        why: &'static str,
    },
    /// It decompresses to more than a record may hold.
    TooLarge,
    /// The end record does not have an end record's form.
    EndForm,
    /// The end record counts otherwise than what stands before it, or a compressed frame is open.
    EndCount,
    /// A cryptographic function or the decompressor could not be set up.
    SetUp,
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKey => f.write_str("the key is not the segment's, or its header has been altered"),
            Self::Unauthentic => f.write_str("it was not sealed at this place with this key"),
            Self::OutOfOrder { expected: Some(expected) } => write!(f, "record {expected} was expected"),
            Self::OutOfOrder { expected: None } => f.write_str("no record was expected"),
            Self::Inflate { why } => write!(f, "it cannot be decompressed: {why}"),
            Self::TooLarge => f.write_str("it decompresses to more than a record may hold"),
            Self::EndForm => f.write_str("it is not an end record"),
            Self::EndCount => f.write_str("the end record does not agree with what stands before it"),
            Self::SetUp => f.write_str("cryptography or decompression cannot be set up"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            0 => write!(f, "cannot open the segment: {}", self.fault),
            record => write!(f, "cannot open record {record} at byte {}: {}", self.offset, self.fault),
        }
    }
}

impl std::error::Error for OpenError {}
