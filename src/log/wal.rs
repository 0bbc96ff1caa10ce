//! The journal's form: a header, then a record a leaf.
//!
//! ```text
//! header   "DWWL" version=2 u8, three zeros | first u64le | count u64le | tag [16] | crc32c u32le
//! record   u32le: length, and bit 31 in the first record of a group | leaf | tag [16] | crc32c u32le
//! ```
//!
//! `first` is the number of the first leaf, a multiple of 256. The file was made, whole and synced, with `count`
//! records; what comes after them was appended. A group is what one sync made durable, and is written only when the
//! sync of the group before it has succeeded. So a bad record among the first `count`, or with the begin of a later
//! group behind it, had been durable and was changed: damage. Any other bad record is what a crash left of leaves
//! that nobody was told are kept.
//!
//! A check sum covers all of its record, or header, before it: it tells what a crash tore, to readers without a key
//! too. It keeps nobody from writing a leaf. The tags do: the first 16 bytes of HMAC-SHA256 (RFC 2104) under a key
//! that is derived from the log's own, over
//!
//! ```text
//! header   16 zeros, and what comes before the tag
//! record   the tag before it | u64le: the leaf's number | length as above | leaf
//! ```
//!
//! so that what is signed at the next start is what this bastion wrote, in its order, with none left out between two
//! others. That the last ones are gone, or that all is as it was once before, the tags do not tell: checkpoints do.

use ring::hmac;

use crate::tlog::ENTRY_BYTES_MAX;

const MAGIC: [u8; 8] = *b"DWWL\x02\0\0\0";
/// What the forms of all versions begin with.
const MAGIC_OF_ALL: [u8; 4] = *b"DWWL";
const HEADER_BYTES: usize = 44;
const TAG_BYTES: usize = 16;
const GROUP: u32 = 1 << 31;
/// Bytes behind a bad record are read so often at most in the search for the begin of a later group. A crash leaves
/// next to nothing that looks like one; an attacker could fill a file with it.
const SEARCH_READS_MAX: usize = 8;

type Tag = [u8; TAG_BYTES];

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

/// Why a journal is not believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is not what was written.
    Damaged(String),
    /// It has the form, and who wrote it from byte `offset` on had not the key.
    Forged { offset: usize, why: String },
}

/// The end of a journal, to which records are appended.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    key: hmac::Key,
    /// The number of the next leaf.
    next: u64,
    tag: Tag,
}

impl Chain {
    /// Begins a journal that is made with `count` records: appends its header to `bytes`.
    pub(super) fn begin(key: &hmac::Key, first: u64, count: u64, bytes: &mut Vec<u8>) -> Self {
        let head = head(first, count);
        let tag = tag(key, [&[0; TAG_BYTES][..], &head]);
        append_checked(&[&head, &tag], bytes);
        Self { key: key.clone(), next: first, tag }
    }

    /// Appends the record of a leaf of at most 65535 bytes to `bytes`.
    pub(super) fn append(&mut self, leaf: &[u8], position: Position, bytes: &mut Vec<u8>) {
        let group = match position {
            Position::First => GROUP,
            Position::Later => 0,
        };
        let word = (u32::try_from(leaf.len()).unwrap_or(0) | group).to_le_bytes();
        self.step(word, leaf);
        append_checked(&[&word, leaf, &self.tag], bytes);
    }

    fn step(&mut self, word: [u8; 4], leaf: &[u8]) {
        self.tag = tag(&self.key, [&self.tag[..], &self.next.to_le_bytes(), &word, leaf]);
        self.next = self.next.saturating_add(1);
    }
}

/// A whole journal of the leaves from number `first` on, a multiple of 256; each of at most 65535 bytes.
pub(super) fn journal_of(key: &hmac::Key, first: u64, leaves: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chain = Chain::begin(key, first, u64::try_from(leaves.len()).unwrap_or(u64::MAX), &mut bytes);
    leaves.iter().for_each(|leaf| chain.append(leaf, Position::Later, &mut bytes));
    bytes
}

/// Where in its group a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    First,
    Later,
}

/// Reads a whole journal: with the key what this bastion wrote, without it what has the form.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn decode(bytes: &[u8], key: Option<&hmac::Key>) -> Result<Journal, Bad> {
    let bad_header = || Bad::Damaged(String::from("its header is not what was written"));
    // Before its length: another version's header may be shorter.
    if bytes.starts_with(&MAGIC_OF_ALL) && bytes.len() >= MAGIC.len() && !bytes.starts_with(&MAGIC) {
        return Err(Bad::Damaged(String::from("another version of Doorward wrote it: read it with that one")));
    }
    let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(bad_header)?;
    let number =
        |at: usize| header.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|bytes| u64::from_le_bytes(*bytes));
    let (Some(first), Some(count)) = (number(8), number(16)) else { return Err(bad_header()) };
    let (checked, crc) = header.split_last_chunk::<4>().ok_or_else(bad_header)?;
    let good = checked.starts_with(&head(first, count)) && crc32c::crc32c(checked) == u32::from_le_bytes(*crc);
    if !good || !first.is_multiple_of(256) {
        return Err(bad_header());
    }
    let mut chain = key.map(|key| Chain::begin(key, first, count, &mut Vec::new()));
    let forged = |offset, why: String| Bad::Forged { offset, why };
    if chain.as_ref().is_some_and(|chain| !checked.ends_with(&chain.tag)) {
        return Err(forged(0, String::from("its header was not written with the log's key")));
    }
    let mut leaves = Vec::new();
    while let Some(record) = record(rest) {
        if let Some(chain) = &mut chain {
            let number = chain.next;
            chain.step(record.word, record.leaf);
            if chain.tag != record.tag {
                let why = format!("leaf {number}, at byte {}, was not written with the log's key", offset(bytes, rest));
                return Err(forged(offset(bytes, rest), why));
            }
        }
        leaves.push(record.leaf.to_vec());
        rest = record.rest;
    }
    let whole = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
    let damaged = || {
        let offset = offset(bytes, rest);
        Err(Bad::Damaged(format!("the record at byte {offset} is not what was written")))
    };
    if whole < count || holds_group(rest) { damaged() } else { Ok(Journal { first, leaves, torn: rest.len() }) }
}

fn offset(bytes: &[u8], rest: &[u8]) -> usize {
    bytes.len().saturating_sub(rest.len())
}

/// A header before its tag.
fn head(first: u64, count: u64) -> Vec<u8> {
    [&MAGIC[..], &first.to_le_bytes(), &count.to_le_bytes()].concat()
}

fn tag<const N: usize>(key: &hmac::Key, parts: [&[u8]; N]) -> Tag {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    // 32 bytes are at least 16.
    context.sign().as_ref().first_chunk::<TAG_BYTES>().copied().unwrap_or_default()
}

fn append_checked(parts: &[&[u8]], bytes: &mut Vec<u8>) {
    let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// A record whose check sum is good.
struct Record<'a> {
    word: [u8; 4],
    leaf: &'a [u8],
    tag: Tag,
    rest: &'a [u8],
}

/// The record at the start of `bytes`, if it is good.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (word, after) = bytes.split_first_chunk::<4>()?;
    let checked = word.len().checked_add(length(*word)?)?.checked_add(TAG_BYTES)?;
    let (checked, rest) = bytes.split_at_checked(checked)?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    if crc32c::crc32c(checked) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (_, tag) = checked.split_last_chunk::<TAG_BYTES>()?;
    Some(Record { word: *word, leaf: after.get(..length(*word)?)?, tag: *tag, rest })
}

/// How long a record says that its leaf is.
fn length(word: [u8; 4]) -> Option<usize> {
    let length = u32::from_le_bytes(word) & !GROUP;
    usize::try_from(length).ok().filter(|length| (1..=ENTRY_BYTES_MAX).contains(length))
}

/// Whether the begin of a group stands behind the first byte, or so much that looks like one that no crash left it.
fn holds_group(tail: &[u8]) -> bool {
    let mut budget = tail.len().saturating_mul(SEARCH_READS_MAX).saturating_add(ENTRY_BYTES_MAX);
    for at in 1..tail.len() {
        let Some(bytes) = tail.get(at..) else { continue };
        // The form of a record that begins a group cannot appear within a leaf: JSON has no zero bytes.
        let [low, high, 0, 0x80, b'{', ..] = bytes else { continue };
        let Some(length) = length([*low, *high, 0, 0x80]) else { continue };
        let Some(left) = budget.checked_sub(length) else { return true };
        if record(bytes).is_some() {
            return true;
        }
        budget = left;
    }
    false
}
