//! The stream `rdp1`: what the wire said, as it said it, with the time of each message.
//!
//! A segment's plaintext is one line, the header as in a recording of a terminal ([`crate::cast::Header`], its size in
//! pixels), and behind its `\n` records up to the end. A record is `time u64, kind u8, length u32, bytes`, all little
//! endian; the time is in microseconds since the session opened. The recorder appends whole records, so a segment that
//! was ended holds whole ones; the last segment after a crash may end inside one, and nothing of that was shown.
//!
//! The first record of a recording is a [`Fact::Session`](super::fact::Fact). Client Info, CredSSP and licensing are
//! never recorded, for they hold secrets.

use std::fmt;
use std::time::Duration;

use super::fields::Fields;

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
    /// A [`Fact`](super::fact::Fact): JSON `{"event": "...", ...}`.
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

/// What stands before a record's bytes.
pub const RECORD_HEADER_BYTES: usize = 8 + 1 + 4;

/// One message, or one fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Since the session opened, in whole microseconds.
    pub at: Duration,
    /// What it is.
    pub kind: Kind,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// No kind has this number; the record was passed over.
    UnknownKind(u8),
    /// It says to be longer than any is: nothing behind it can be read.
    TooLong(u32),
    /// It is not one whole record.
    NotOne,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "no record is of kind {kind}"),
            Self::TooLong(length) => write!(f, "a record is said to have {length} bytes, which is more than any has"),
            Self::NotOne => f.write_str("it is not one whole record"),
        }
    }
}

impl std::error::Error for Damage {}

/// Appends a record to `out`.
///
/// # Errors
/// `TooLong`; nothing was appended.
pub fn write(at: Duration, kind: Kind, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Damage> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Damage::TooLong(length));
    }
    out.reserve(RECORD_HEADER_BYTES.saturating_add(bytes.len()));
    out.extend_from_slice(&u64::try_from(at.as_micros()).unwrap_or(u64::MAX).to_le_bytes());
    out.push(kind.byte());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Whether `bytes` are exactly one record, as a process that is not trusted must send them; its time and kind.
///
/// # Errors
/// What is wrong with it.
pub fn check(bytes: &[u8]) -> Result<(Duration, Kind), Damage> {
    let Header { at, kind, length, said } = Header::read(bytes).ok_or(Damage::NotOne)?;
    if length > RECORD_BYTES_MAX {
        return Err(Damage::TooLong(said));
    }
    if bytes.len() != RECORD_HEADER_BYTES.saturating_add(length) {
        return Err(Damage::NotOne);
    }
    Kind::of(kind).map(|kind| (at, kind)).ok_or(Damage::UnknownKind(kind))
}

/// What a record of a virtual channel holds.
pub fn channel_message(name: &str, message: &[u8]) -> Vec<u8> {
    let name = name.as_bytes();
    let name = name.get(..255).unwrap_or(name);
    let mut bytes = Vec::with_capacity(name.len().saturating_add(message.len()).saturating_add(1));
    bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(message);
    bytes
}

/// The channel's name and the message in a record of a virtual channel.
pub fn read_channel_message(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let mut fields = Fields::new(bytes);
    let length = fields.byte()?;
    let name = std::str::from_utf8(fields.take(length.into())?).ok()?;
    Some((name, fields.rest()))
}

struct Header {
    at: Duration,
    kind: u8,
    length: usize,
    said: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let at = Duration::from_micros(fields.u64()?);
        let kind = fields.byte()?;
        let said = fields.u32()?;
        Some(Self { at, kind, length: usize::try_from(said).unwrap_or(usize::MAX), said })
    }
}

/// Records out of bytes that come in pieces of any size.
///
/// It holds what is not yet a whole record, which is at most [`RECORD_BYTES_MAX`] and the last piece, and gives the same
/// records however the bytes are split.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
    /// What of `held` was given already.
    given: usize,
    /// INVARIANT: once set, nothing more is read: where the next record begins is not known.
    lost: bool,
}

/// How the records ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a whole record.
    Whole,
    /// Inside one, of which so many bytes are there.
    Torn(usize),
    /// Where the next record begins was not known any more.
    Lost,
}

impl Reader {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        if self.lost {
            return;
        }
        self.held.drain(..self.given.min(self.held.len()));
        self.given = 0;
        self.held.extend_from_slice(piece);
    }

    /// The next whole record, or what is wrong with it; none until more bytes come.
    pub fn next_record(&mut self) -> Option<Result<Record, Damage>> {
        let rest = self.rest();
        let Header { at, kind, length, said } = Header::read(rest)?;
        if length > RECORD_BYTES_MAX {
            self.lost = true;
            self.held = Vec::new();
            return Some(Err(Damage::TooLong(said)));
        }
        let end = RECORD_HEADER_BYTES.saturating_add(length);
        let bytes = rest.get(RECORD_HEADER_BYTES..end)?.to_vec();
        self.given = self.given.saturating_add(end);
        Some(Kind::of(kind).map(|kind| Record { at, kind, bytes }).ok_or(Damage::UnknownKind(kind)))
    }

    /// How it ends, if nothing more comes.
    pub fn ending(&self) -> Ending {
        match (self.lost, self.rest().len()) {
            (true, _) => Ending::Lost,
            (false, 0) => Ending::Whole,
            (false, left) => Ending::Torn(left),
        }
    }

    fn rest(&self) -> &[u8] {
        self.held.get(self.given..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<Result<Record, Damage>>, Ending) {
        let (mut reader, mut records) = (Reader::default(), Vec::new());
        for piece in pieces {
            reader.push(piece);
            records.extend(std::iter::from_fn(|| reader.next_record()));
        }
        (records, reader.ending())
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|Record { at, kind, bytes: own }| write(*at, *kind, own, &mut bytes).unwrap());
        bytes
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let kinds = prop::sample::select(Kind::ALL.to_vec());
        (any::<u64>(), kinds, vec(any::<u8>(), 0..40)).prop_map(|(at, kind, bytes)| Record {
            at: Duration::from_micros(at),
            kind,
            bytes,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_split(records in vec(any_record(), 0..8), size in 1_usize..50) {
            let bytes = written(&records);
            let (read, ending) = read(&bytes.chunks(size).collect::<Vec<_>>());
            prop_assert_eq!(read, records.into_iter().map(Ok).collect::<Vec<_>>());
            prop_assert_eq!(ending, Ending::Whole);
        }

        #[test]
        fn a_cut_costs_the_last_record_alone(records in vec(any_record(), 1..6), cut in any::<prop::sample::Index>()) {
            let bytes = written(&records);
            let cut = cut.index(bytes.len());
            let (read, ending) = read(&[bytes.get(..cut).unwrap()]);
            let read: Vec<Record> = read.into_iter().map(Result::unwrap).collect();
            prop_assert_eq!(&records[..read.len()], &read[..]);
            let whole = written(&read).len();
            prop_assert_eq!(ending, if whole == cut { Ending::Whole } else { Ending::Torn(cut - whole) });
        }

        #[test]
        fn any_bytes_read_the_same_however_they_are_split(bytes in vec(any::<u8>(), 0..300), size in 1_usize..50) {
            let split = read(&bytes.chunks(size).collect::<Vec<_>>());
            prop_assert_eq!(split, read(&[&bytes]));
        }
    }

    #[test]
    fn a_record_of_no_known_kind_is_passed_over() {
        let mut bytes = written(&[Record { at: Duration::ZERO, kind: Kind::Event, bytes: b"{}".to_vec() }]);
        let after = bytes.clone();
        bytes[8] = 99;
        bytes.extend_from_slice(&after);
        let (records, ending) = read(&[&bytes]);
        assert_eq!(records[0], Err(Damage::UnknownKind(99)));
        assert!(records[1].is_ok() && ending == Ending::Whole);
    }

    #[test]
    fn a_length_beyond_all_is_the_end_and_holds_no_memory() {
        let mut bytes = written(&[Record { at: Duration::ZERO, kind: Kind::Event, bytes: Vec::new() }]);
        bytes[9..13].copy_from_slice(&u32::MAX.to_le_bytes());
        let (records, ending) = read(&[&bytes, &bytes, &bytes]);
        assert_eq!(records, [Err(Damage::TooLong(u32::MAX))]);
        assert_eq!(ending, Ending::Lost);
    }

    #[test]
    fn a_frame_holds_exactly_one_record() {
        let one = written(&[Record { at: Duration::from_secs(1), kind: Kind::Event, bytes: b"{}".to_vec() }]);
        assert_eq!(check(&one), Ok((Duration::from_secs(1), Kind::Event)));
        assert_eq!(check(&[one.clone(), one.clone()].concat()), Err(Damage::NotOne));
        assert_eq!(check(&one[..one.len() - 1]), Err(Damage::NotOne));
        assert_eq!(check(&one[..4]), Err(Damage::NotOne));
        let mut long = Vec::new();
        assert!(write(Duration::ZERO, Kind::Event, &vec![0; RECORD_BYTES_MAX + 1], &mut long).is_err());
        assert!(long.is_empty());
    }

    #[test]
    fn a_channels_message_keeps_its_name() {
        let bytes = channel_message("cliprdr", b"\x01\x02");
        assert_eq!(read_channel_message(&bytes), Some(("cliprdr", &b"\x01\x02"[..])));
        assert_eq!(read_channel_message(&[9, b'a']), None);
    }
}
