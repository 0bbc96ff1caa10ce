//! The journal's form: a header, then a record a leaf.
//!
//! ```text
//! header   "DWWL" version=1 u8, three zeros | first u64le | count u64le | crc32c u32le
//! record   u32le: length, and bit 31 in the first record of a group | leaf | crc32c u32le over both
//! ```
//!
//! `first` is the number of the first leaf, a multiple of 256. The file was made, whole and synced, with `count`
//! records; what comes after them was appended. A group is what one sync made durable, and is written only when the
//! sync of the group before it has succeeded. So a bad record among the first `count`, or with the begin of a later
//! group behind it, had been durable and was changed: damage. Any other bad record is what a crash left of leaves
//! that nobody was told are kept.

use crate::tlog::ENTRY_BYTES_MAX;

const MAGIC: [u8; 8] = *b"DWWL\x01\0\0\0";
const HEADER_BYTES: usize = 28;
const GROUP: u32 = 1 << 31;

/// What a journal holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Journal {
    /// The number of its first leaf.
    pub first: u64,
    /// Its leaves, in order.
    pub leaves: Vec<Vec<u8>>,
    /// How many bytes a crash left of leaves that nobody was told are kept.
    pub torn: usize,
}

/// The header of a journal that is made with `count` records.
pub(super) fn header(first: u64, count: u64) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &first.to_le_bytes(), &count.to_le_bytes()].concat();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// A whole journal of the leaves from number `first` on, a multiple of 256, for a copy of a log: each of at most 65535
/// bytes.
pub fn journal_of(first: u64, leaves: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header(first, u64::try_from(leaves.len()).unwrap_or(u64::MAX));
    leaves.iter().for_each(|leaf| encode(leaf, Position::Later, &mut bytes));
    bytes
}

/// Where in its group a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    First,
    Later,
}

/// Appends the record of a leaf of at most 65535 bytes.
pub(super) fn encode(leaf: &[u8], position: Position, bytes: &mut Vec<u8>) {
    let group = match position {
        Position::First => GROUP,
        Position::Later => 0,
    };
    let length = u32::try_from(leaf.len()).unwrap_or(0) | group;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), leaf);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(leaf);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// Reads a whole journal.
///
/// # Errors
/// What is damaged, and where.
pub(super) fn decode(bytes: &[u8]) -> Result<Journal, String> {
    let bad_header = || String::from("its header is not what was written");
    let (head, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(bad_header)?;
    let number = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|bytes| u64::from_le_bytes(*bytes));
    let (Some(first), Some(count)) = (number(8), number(16)) else { return Err(bad_header()) };
    if header(first, count) != head || !first.is_multiple_of(256) {
        return Err(bad_header());
    }
    let mut leaves = Vec::new();
    while let Some((_, leaf, after)) = record(rest) {
        leaves.push(leaf.to_vec());
        rest = after;
    }
    let offset = bytes.len().saturating_sub(rest.len());
    let whole = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    // The form of a record that begins a group cannot appear within a leaf: JSON has no zero bytes.
    let was_durable = whole < count || (1..rest.len()).any(|at| rest.get(at..).is_some_and(begins_group));
    if was_durable {
        return Err(format!("the record at byte {offset} is not what was written"));
    }
    Ok(Journal { first, leaves, torn: rest.len() })
}

/// The record at the start of `bytes`, if it is good: its position, its leaf, what follows.
fn record(bytes: &[u8]) -> Option<(Position, &[u8], &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    let value = u32::from_le_bytes(*word);
    let length = usize::try_from(value & !GROUP).ok().filter(|length| (1..=ENTRY_BYTES_MAX).contains(length))?;
    let (leaf, rest) = rest.split_at_checked(length)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let position = if value & GROUP == 0 { Position::Later } else { Position::First };
    let good = crc32c::crc32c_append(crc32c::crc32c(word), leaf) == u32::from_le_bytes(*crc);
    good.then_some((position, leaf, rest))
}

fn begins_group(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, 0, 0x80, ..]) && matches!(record(bytes), Some((Position::First, _, _)))
}
