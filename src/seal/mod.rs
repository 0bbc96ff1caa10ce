//! The sealed segment: what a recording is on disk. Bytes in, bytes out.
//!
//! A segment is compressed, then encrypted, then chained, record by record. One batch of lines that becomes
//! durable together is one record. All numbers are little endian.
//!
//! ```text
//! header   "DWRC"  version u8 = 1  stream u8  flags u16 = 0  session [16]  segment u32  t0_ms u64
//!          recipients_digest [8]  prev_head [32]  channel u32  key_commitment [32]  crc32c u32      116 bytes
//! record*  kind << 24 | length u32    ciphertext and tag [length]    crc32c u32
//! ```
//!
//! - **Chain.** `H_0 = SHA-256(0x00 || prev_head || header)` and `H_n = SHA-256(0x02 || H_(n-1) || record n)`, each
//!   with its checksum. Records are numbered from 1; `prev_head` is the last head of the segment before, zeros in
//!   segment 0. Every part has a fixed or a stated length, so a head commits to each byte before it: whoever keeps
//!   the last head needs no further hash of the file.
//! - **Encryption.** AES-256-GCM (NIST SP 800-38D), which a browser has too. The nonce is four zero bytes and the
//!   record's number, so it is not stored; each segment has its own key. The associated data is `H_(n-1)` and the
//!   record's first four bytes: a record that was moved, dropped, spliced or given another kind does not open.
//! - **Checksum.** CRC-32C (RFC 3720 appendix B.4) of the header's bytes, and of `H_(n-1)` and the record's bytes.
//!   It tells accidents from whole records without a key, and names the place. It stops nobody: the heads do.
//! - **Compression.** Zstandard (RFC 8878) at level 1 with a window of 128 KiB. Each record ends on a block, and the
//!   window stays over records. All data of a segment together are whole frames, one or several.
//! - **End.** The last record of a segment that was ended says why and how much it holds. There is one in every
//!   segment but, after a crash, the last; and but those that were given up.
//! - **Giving up.** A segment that the disk failed to keep is good up to the head that the next one's header names as
//!   its `prev_head`, and what stands behind that is not a part of the recording, be it whole records and an end: it is
//!   recorded again in the next one. If even its header was not kept, the next one names the head before it, and
//!   nothing of it counts.
//! - **Keys.** See [`SessionKeys`]: one-way per segment and per channel. GCM does not commit to its key, so the
//!   header does.
//!
//! What lengths tell: a compressed record's length depends on what it and the 128 KiB before it say. Who can choose
//! output *and* read lengths of the file may guess secrets from that (CRIME). The recorded user sees no file.
//!
//! An attacker who can write here can cut the tail, and whole segments, of what no kept head names, and make
//! well-formed records that nobody can open. They cannot read a record, nor change one so that it still opens, nor
//! change anything before a kept head unnoticed.

mod cipher;
mod context;
mod envelope;
mod error;
mod header;
mod index;
mod keys;
mod opener;
mod proof;
mod record;
mod scan;
mod sealer;
#[cfg(test)]
mod tests;

pub use context::ContextPool;
pub use envelope::{
    AGE_HEADER_BYTES_MAX, ENVELOPE_BYTES_MAX, EnvelopeError, RECIPIENTS_MAX, Recipients, age_header_ends, check_form,
};
pub use error::{Altered, Fault, HeaderFault, OpenError, OpenFault, SealError};
pub use header::{HEADER_BYTES, SegmentHeader, Stream};
pub use index::IndexKey;
pub use keys::{CHANNEL_MAX, Dek, Ratchet, SEGMENT_MAX, SessionKeys};
pub use opener::{OpenSegment, Opened, Opener};
pub use proof::{OpenerKey, OpenerProof, Statement};
pub use record::{End, EndReason, Head, Kind, PLAIN_BYTES_MAX, RECORD_BYTES_MAX, Record};
pub use scan::{Item, Scan, ScanEnd, Scanner, scan};
pub use sealer::{Sealed, Sealer, Source};
