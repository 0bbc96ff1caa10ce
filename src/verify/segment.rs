//! Reading one segment from its first byte to its last, and meeting on the way what the log said of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ring::digest::{Context, SHA256};

use super::leaf::Sha256;
use crate::seal::{Altered, Head, Item, Kind, ScanEnd, Scanner, SegmentHeader};
use crate::store::SCANNED_BYTES_MAX;

/// So much is read at once.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// A segment as it is on disk.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The header, if it has one that is good.
    pub(super) header: Option<SegmentHeader>,
    /// How many bytes the file has.
    pub(super) len: u64,
    /// How many of them, from the start, are good.
    pub(super) valid_len: u64,
    /// How many good records, the end record included.
    pub(super) records: u64,
    /// How many of them are data.
    pub(super) data_records: u64,
    /// The chain's head after them.
    pub(super) head: Head,
    /// How it ends.
    pub(super) end: Result<ScanEnd, Altered>,
    /// The first of the expected heads that it does not have: after how many data records.
    pub(super) unmet: Option<u64>,
}

/// Scans a segment. `heads` are what its chain must be after so many data records, in that order. Of the file, which may
/// be endless, no more is read than `most`, else [`SCANNED_BYTES_MAX`], and than it has at the start, and nothing behind a fault. `chunk` is where it
/// is read to.
///
/// # Errors
/// What the file system says.
pub(super) fn scan(file: &mut File, heads: &[(u64, Head)], most: Option<u64>, chunk: &mut [u8]) -> io::Result<Scanned> {
    let mut scanner = Scanner::new();
    let mut expected = Expected { heads, unmet: None };
    let mut header = None;
    let (mut data_records, mut altered) = (0, false);
    let len = file.metadata()?.len();
    let mut file = file.take(most.unwrap_or(SCANNED_BYTES_MAX).min(len));
    while !altered {
        let read = match file.read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut input = chunk.get(..read).unwrap_or_default();
        if input.is_empty() {
            break;
        }
        while !altered && !input.is_empty() {
            let mut begun = false;
            match scanner.read(&mut input) {
                Ok(Some(Item::Header(found))) => {
                    header = Some(found);
                    begun = true;
                }
                Ok(Some(Item::Record(record))) => {
                    if record.kind() == Kind::Data {
                        data_records = record.index();
                        expected.meet(data_records, &record.head());
                    }
                }
                Ok(None) => {}
                // `finish` says it again.
                Err(_) => altered = true,
            }
            if begun {
                expected.meet(0, &scanner.head());
            }
        }
    }
    Ok(Scanned {
        header,
        len,
        valid_len: scanner.valid_len(),
        records: scanner.records(),
        data_records,
        head: scanner.head(),
        end: scanner.finish(),
        unmet: expected.rest(),
    })
}

/// The heads that are still to come.
struct Expected<'a> {
    heads: &'a [(u64, Head)],
    unmet: Option<u64>,
}

impl Expected<'_> {
    fn meet(&mut self, records: u64, head: &Head) {
        while let Some(((at, expected), rest)) = self.heads.split_first()
            && *at <= records
        {
            if *at != records || expected != head {
                self.unmet.get_or_insert(*at);
            }
            self.heads = rest;
        }
    }

    fn rest(self) -> Option<u64> {
        self.unmet.or(self.heads.first().map(|(at, _)| *at))
    }
}

/// SHA-256 of what stands in a file from `from` on, as far as the start after a crash reads it.
///
/// # Errors
/// What the file system says.
pub(super) fn tail_sha256(file: &mut File, from: u64, chunk: &mut [u8]) -> io::Result<Sha256> {
    file.seek(SeekFrom::Start(from))?;
    let mut file = file.take(SCANNED_BYTES_MAX);
    let mut hash = Context::new(&SHA256);
    loop {
        match file.read(chunk) {
            Ok(0) => return Ok(finish(hash)),
            Ok(len) => hash.update(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = Context::new(&SHA256);
    hash.update(bytes);
    finish(hash)
}

fn finish(hash: Context) -> Sha256 {
    let mut out = [0; 32];
    // SHA-256 gives 32 bytes.
    for (to, from) in out.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    out
}
