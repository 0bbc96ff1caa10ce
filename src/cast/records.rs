//! Records of a desktop: what stands behind the header line of a segment of the stream `rdp1`, in place of lines.

use std::io::{self, BufRead};
use std::time::Duration;

use bytes::Bytes;

use super::{Direction, Entry, Timed};
use crate::rdp::record::{Kind, RECORD_BYTES_MAX};

/// What stands before a record's bytes: its time, its kind, its length.
const HEAD_BYTES: usize = 8 + 1 + 4;

/// Appends a record, with the time at which the bastion took it.
pub(super) fn write(at: Duration, kind: Kind, bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&u64::try_from(at.as_micros()).unwrap_or(u64::MAX).to_le_bytes());
    out.push(kind.byte());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The kind and the bytes of what must be one whole record, such as one that a desktop's process sends. Its time is passed
/// over: whoever records goes by a clock of their own.
pub fn take_apart(record: &[u8]) -> Option<(Kind, &[u8])> {
    let (head, bytes) = record.split_at_checked(HEAD_BYTES)?;
    let (_, kind, length) = parse(head)?;
    (length == bytes.len() && length <= RECORD_BYTES_MAX).then_some((Kind::of(kind)?, bytes))
}

/// Which way a message of this kind goes; none for a fact in words.
pub(super) fn direction(kind: Kind) -> Option<Direction> {
    match kind {
        Kind::FastPathOutput | Kind::IoOutput | Kind::ChannelOut => Some(Direction::Stdout),
        Kind::FastPathInput | Kind::IoInput | Kind::ChannelIn => Some(Direction::Stdin),
        Kind::Event => None,
    }
}

/// What comes next.
pub(super) enum Found {
    /// A record, and how many bytes it takes.
    Record(Timed, u64),
    /// A record of a kind that is not known, and how many bytes it takes.
    Unknown(u8, u64),
    /// Its length is none: where the next one begins is not known.
    TooLong,
    /// The segment ends within a record.
    Torn,
    /// The segment ends.
    End,
}

/// Reads the next record.
///
/// # Errors
/// If the segment cannot be read.
pub(super) fn read(input: &mut impl BufRead) -> io::Result<Found> {
    let mut head = [0; HEAD_BYTES];
    match fill(input, &mut head)? {
        0 => return Ok(Found::End),
        HEAD_BYTES => {}
        _ => return Ok(Found::Torn),
    }
    let Some((micros, kind, length)) = parse(&head).filter(|(_, _, length)| *length <= RECORD_BYTES_MAX) else {
        return Ok(Found::TooLong);
    };
    let mut bytes = vec![0; length];
    if fill(input, &mut bytes)? < length {
        return Ok(Found::Torn);
    }
    let len = u64::try_from(HEAD_BYTES.saturating_add(length)).unwrap_or(u64::MAX);
    let Some(kind) = Kind::of(kind) else { return Ok(Found::Unknown(kind, len)) };
    let entry = Entry::Record { kind, bytes: Bytes::from(bytes) };
    Ok(Found::Record(Timed { at: Duration::from_micros(micros), entry }, len))
}

fn parse(head: &[u8]) -> Option<(u64, u8, usize)> {
    let (micros, rest) = head.split_first_chunk::<8>()?;
    let ([kind], rest) = rest.split_first_chunk::<1>()?;
    let (length, _) = rest.split_first_chunk::<4>()?;
    Some((u64::from_le_bytes(*micros), *kind, usize::try_from(u32::from_le_bytes(*length)).ok()?))
}

/// Fills as much of `into` as there is; says how much that was.
fn fill(input: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::super::tests::header;
    use super::super::{Ending, Reader, Writer};
    use super::*;
    use crate::model::ChannelClass;

    fn written(entries: &[(u64, Kind, &[u8])]) -> Vec<u8> {
        let mut header = header(false);
        header.doorward.class = Some(ChannelClass::Desktop);
        let mut out = Vec::new();
        let mut writer = Writer::new(&header, &mut out);
        for (micros, kind, bytes) in entries {
            let entry = Entry::Record { kind: *kind, bytes: Bytes::copy_from_slice(bytes) };
            writer.write(Duration::from_micros(*micros), &entry, &mut out);
        }
        out
    }

    #[test]
    fn records_are_read_as_they_were_written_and_a_torn_one_is_known() {
        let long = vec![b'\n'; 300_000];
        let all: [(u64, Kind, &[u8]); 4] = [
            (1_500, Kind::Event, br#"{"event":"x"}"#),
            (1_500, Kind::FastPathOutput, &long),
            (2_000_001, Kind::FastPathInput, b"\n\"\0"),
            (2_000_002, Kind::ChannelOut, b""),
        ];
        let bytes = written(&all);
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        let read: Vec<Timed> = reader.by_ref().map(Result::unwrap).collect();
        for (timed, (micros, kind, bytes)) in read.iter().zip(all) {
            assert_eq!(timed.at, Duration::from_micros(micros));
            assert_eq!(timed.entry, Entry::Record { kind, bytes: Bytes::copy_from_slice(bytes) });
        }
        assert_eq!((read.len(), reader.ending()), (4, Ending::Whole));
        let last = bytes.len() - HEAD_BYTES;
        for cut in last + 1..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]).unwrap();
            assert_eq!(reader.by_ref().count(), 3);
            assert_eq!(reader.ending(), Ending::Torn { valid_len: u64::try_from(last).unwrap() });
        }
    }

    #[test]
    fn what_is_no_record_is_told_and_never_believed() {
        let good = written(&[(1, Kind::Event, b"{}")]);
        let mut odd = good.clone();
        let kind = odd.len() - 2 - 5;
        odd[kind] = 99;
        odd.extend(&written(&[(1, Kind::Event, b"{}")])[good.len() - 2 - HEAD_BYTES..]);
        let read: Vec<_> = Reader::new(odd.as_slice()).unwrap().collect();
        assert!(read[0].is_err() && read[1].is_ok() && read.len() == 2, "{read:?}");
        let mut long = good.clone();
        let length = long.len() - 2 - 4;
        long[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut reader = Reader::new(long.as_slice()).unwrap();
        assert!(reader.next().unwrap().is_err() && reader.next().is_none());
    }

    #[test]
    fn only_exactly_one_whole_record_is_taken_from_a_process() {
        let mut record = Vec::new();
        write(Duration::from_secs(9), Kind::IoInput, b"abc", &mut record);
        assert_eq!(take_apart(&record), Some((Kind::IoInput, b"abc".as_slice())));
        for cut in 0..record.len() {
            assert_eq!(take_apart(&record[..cut]), None, "{cut}");
        }
        assert_eq!(take_apart(&[record.as_slice(), b"x"].concat()), None);
        let mut unknown = record.clone();
        unknown[8] = 0;
        assert_eq!(take_apart(&unknown), None);
    }

    #[test]
    fn each_kind_counts_for_its_own_direction() {
        for kind in Kind::ALL {
            let counted = Entry::Record { kind, bytes: Bytes::from_static(b"abc") }.bytes();
            assert_eq!(counted.map(|(_, len)| len), if kind == Kind::Event { None } else { Some(3) }, "{kind:?}");
        }
    }
}
