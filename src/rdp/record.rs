//! The stream `rdp1`: what the wire said, as it said it, with the time of each message.
//!
//! A record is `time u64, kind u8, length u32, bytes`, all little endian; the time is in microseconds since the session
//! opened. Client Info, CredSSP and licensing are never recorded, for they hold secrets.

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A fast-path output PDU from the target (MS-RDPBCGR section 2.2.9.1.2).
    FastPathOutput,
    /// An MCS message of the I/O channel from the target, as a whole TPKT (section 2.2.9.1.1, and what sets the
    /// desktop up: section 2.2.1.13).
    IoOutput,
    /// A fast-path input PDU from the user (section 2.2.8.1.2).
    FastPathInput,
    /// An MCS message of the I/O channel from the user (section 2.2.8.1.1), and Confirm Active.
    IoInput,
    /// A message of a virtual channel to the user: `name length u8, name, bytes` after its chunks were joined.
    ChannelOut,
    /// A message of a virtual channel to the target, in the same form.
    ChannelIn,
    /// A fact in words, in JSON: `{"event": "...", ...}`.
    Event,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::FastPathOutput,
        Self::IoOutput,
        Self::FastPathInput,
        Self::IoInput,
        Self::ChannelOut,
        Self::ChannelIn,
        Self::Event,
    ];

    /// The byte that stands for it.
    pub fn byte(self) -> u8 {
        match self {
            Self::FastPathOutput => 1,
            Self::IoOutput => 2,
            Self::FastPathInput => 3,
            Self::IoInput => 4,
            Self::ChannelOut => 5,
            Self::ChannelIn => 6,
            Self::Event => 7,
        }
    }

    /// What a byte stands for.
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// The most bytes that one record may hold: more than any message that is relayed.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
