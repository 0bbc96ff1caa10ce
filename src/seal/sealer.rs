//! Plaintext to segments, of one channel.

use std::fmt;
use std::mem;
use std::sync::Arc;

use ring::error::Unspecified;
use zeroize::Zeroize;

use super::SealError;
use super::cipher::Cipher;
use super::context::{Compressor, ContextPool};
use super::header::{HEADER_BYTES, SegmentHeader, Stream};
use super::keys::{Ratchet, SEGMENT_MAX};
use super::record::{End, EndReason, FRAME_BYTES, Head, Kind, PLAIN_BYTES_MAX, TAG_BYTES, checksum, frame};

/// What all segments of a channel have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What the plaintext is.
    pub stream: Stream,
    /// The session's id, as in [`SegmentHeader::session`].
    pub session: [u8; 16],
    /// As in [`SegmentHeader::recipients_digest`].
    pub recipients_digest: [u8; 8],
}

/// Seals what is recorded of one channel, segment by segment.
///
/// Each call appends to `out` what is to be appended to the segment's file next. **What was handed out stays as it
/// is**: when a write is cut short, the same bytes may be completed from where it stopped, or given up for good. To
/// seal other plaintext under the same number would use a nonce twice, which for GCM gives away both plaintexts and
/// the key of the tags. So there is no way to do that: a number is spent before it is used, an error ends the
/// sealer, it is neither `Clone` nor can it be made from a file, and its file must be one that it has created itself.
///
/// Memory: about 1 KiB, and a compressor of the pool from the first record after a start or an
/// [`end_frame`](Self::end_frame) until the next of them.
#[derive(Debug)]
pub struct Sealer {
    source: Source,
    contexts: Arc<ContextPool>,
    phase: Phase,
    sealed: Sealed,
}

#[derive(Debug)]
enum Phase {
    /// Records can be sealed.
    Open(Box<Segment>),
    /// The segment has ended like this, and this is the key of one that may follow.
    Ended(EndReason, Ratchet),
    /// There are no keys any more.
    Over,
}

/// How far the segment has come; after its end, what the log says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The segment's number.
    pub segment: u32,
    /// The last head of the segment before.
    pub prev_head: Head,
    /// The head after all that was handed out. It commits to each byte of the file, so no other hash is needed.
    pub head: Head,
    /// How many bytes were handed out, the header included.
    pub bytes: u64,
    /// How many data records.
    pub records: u64,
    /// How many bytes of plaintext.
    pub plain_bytes: u64,
}

/// The keys and the open frame of a segment that has not ended.
#[derive(Debug)]
struct Segment {
    ratchet: Ratchet,
    cipher: Cipher,
    /// INVARIANT: no record with this number, or a later one, has been sealed with `cipher`.
    next: u64,
    frame: Option<Compressor>,
}

impl Sealer {
    /// Starts a channel's segment 0; appends its header to `out`.
    ///
    /// `t0_ms` is the time of its beginning, in milliseconds since the session opened.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn start(
        source: Source,
        ratchet: Ratchet,
        t0_ms: u64,
        contexts: Arc<ContextPool>,
        out: &mut Vec<u8>,
    ) -> Result<Self, SealError> {
        let sealed =
            Sealed { segment: 0, prev_head: Head::NONE, head: Head::NONE, bytes: 0, records: 0, plain_bytes: 0 };
        let mut sealer = Self { source, contexts, phase: Phase::Over, sealed };
        sealer.open(ratchet, t0_ms, out)?;
        Ok(sealer)
    }

    /// Seals `plain` as one record; as several if it is longer than [`PLAIN_BYTES_MAX`], as none if it is empty.
    ///
    /// # Errors
    /// `Over`, `Crypto`, `Compress`. `out` has whole records only; after an error the segment gets no more.
    pub fn record(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        for piece in plain.chunks(PLAIN_BYTES_MAX) {
            self.attempt(out, |contexts, segment, sealed, out| {
                let frame = match &mut segment.frame {
                    Some(frame) => frame,
                    none => none.insert(contexts.lend()?),
                };
                frame.push(piece, out)?;
                sealed.plain_bytes = sealed.plain_bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                Ok(Kind::Data)
            })?;
        }
        Ok(())
    }

    /// Whether a compressor is held, which [`end_frame`](Self::end_frame) would give back.
    pub fn has_frame(&self) -> bool {
        matches!(&self.phase, Phase::Open(segment) if segment.frame.is_some())
    }

    /// Closes the compressed frame and gives its compressor back to the pool; the next record begins another.
    ///
    /// For a channel that has been idle for a while. The frame's last three bytes are a record of their own, which
    /// holds no plaintext. Does nothing if no frame is open.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn end_frame(&mut self, out: &mut Vec<u8>) -> Result<(), SealError> {
        if !self.has_frame() {
            return match self.phase {
                Phase::Open(_) => Ok(()),
                Phase::Ended(..) | Phase::Over => Err(SealError::Over),
            };
        }
        self.attempt(out, |_, segment, _, out| {
            if let Some(mut frame) = segment.frame.take() {
                frame.finish(out)?;
            }
            Ok(Kind::Data)
        })
    }

    /// Ends the segment: closes the frame, seals the end record, wipes the key. After `Rolled` the next segment can
    /// be started; after the others nothing but a [`branch`](Self::branch), should the end not reach the disk.
    ///
    /// # Errors
    /// As [`record`](Self::record); `TooManySegments` if there can be no next one, and then this one goes on.
    pub fn end(&mut self, reason: EndReason, out: &mut Vec<u8>) -> Result<Sealed, SealError> {
        if reason == EndReason::Rolled && self.sealed.segment >= SEGMENT_MAX {
            return Err(SealError::TooManySegments);
        }
        self.end_frame(out)?;
        let end = End { records: self.sealed.records, plain_bytes: self.sealed.plain_bytes, reason };
        self.attempt(out, |_, _, _, out| {
            end.encode(out);
            Ok(Kind::End)
        })?;
        if let Phase::Open(segment) = mem::replace(&mut self.phase, Phase::Over)
            && self.sealed.segment < SEGMENT_MAX
        {
            self.phase = Phase::Ended(reason, next_key(segment.ratchet)?);
        }
        Ok(self.sealed)
    }

    /// Starts the segment after one that has ended as rolled; appends its header to `out`.
    ///
    /// # Errors
    /// `NotRolled`; `Crypto`.
    pub fn next_segment(&mut self, t0_ms: u64, out: &mut Vec<u8>) -> Result<(), SealError> {
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Ended(EndReason::Rolled, ratchet) => self.open(ratchet, t0_ms, out),
            other @ (Phase::Open(_) | Phase::Ended(EndReason::Closed | EndReason::Failed, _) | Phase::Over) => {
                self.phase = other;
                Err(SealError::NotRolled)
            }
        }
    }

    /// Gives the present segment up and starts the next one; appends its header to `out`.
    ///
    /// For a segment of which not all could be made durable: the next one follows `durable`, which this sealer has said
    /// of this segment or of the one before it. What was handed out since then is not a part of the chain any more and
    /// can be sealed again, for the new segment has a key of its own; the old one is wiped.
    ///
    /// # Errors
    /// `TooManySegments`; `Over` if the sealer has failed or was closed; `Crypto`.
    pub fn branch(&mut self, durable: &Sealed, t0_ms: u64, out: &mut Vec<u8>) -> Result<(), SealError> {
        if self.sealed.segment >= SEGMENT_MAX {
            return Err(SealError::TooManySegments);
        }
        let ratchet = match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Open(segment) => next_key(segment.ratchet)?,
            Phase::Ended(_, ratchet) => ratchet,
            Phase::Over => return Err(SealError::Over),
        };
        self.sealed.head = durable.head;
        self.open(ratchet, t0_ms, out)
    }

    /// Wipes the keys: nothing is sealed after it.
    pub fn close(&mut self) {
        self.phase = Phase::Over;
    }

    /// How far the segment has come.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    fn open(&mut self, ratchet: Ratchet, t0_ms: u64, out: &mut Vec<u8>) -> Result<(), SealError> {
        let crypto = |Unspecified| SealError::Crypto;
        let header = SegmentHeader {
            stream: self.source.stream,
            session: self.source.session,
            segment: ratchet.segment(),
            t0_ms,
            recipients_digest: self.source.recipients_digest,
            prev_head: self.sealed.head,
            channel: ratchet.channel(),
            key_commitment: ratchet.commitment().map_err(crypto)?,
        };
        let cipher = Cipher::new(&ratchet).map_err(crypto)?;
        let bytes = header.encode();
        out.extend_from_slice(&bytes);
        self.sealed = Sealed {
            segment: header.segment,
            prev_head: header.prev_head,
            head: Head::of_header(&header.prev_head, &bytes),
            bytes: u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX),
            records: 0,
            plain_bytes: 0,
        };
        self.phase = Phase::Open(Box::new(Segment { ratchet, cipher, next: 1, frame: None }));
        Ok(())
    }

    /// Has one record written by `write` and seals it. On an error nothing of it is left in `out`, and all is over.
    fn attempt(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&Arc<ContextPool>, &mut Segment, &mut Sealed, &mut Vec<u8>) -> Result<Kind, SealError>,
    ) -> Result<(), SealError> {
        let Phase::Open(segment) = &mut self.phase else { return Err(SealError::Over) };
        let start = out.len();
        out.extend_from_slice(&[0; FRAME_BYTES]);
        let done = write(&self.contexts, segment, &mut self.sealed, out)
            .and_then(|kind| segment.seal(kind, start, &mut self.sealed, out));
        if done.is_err() {
            // It may be plaintext, and whoever writes `out` to the disk must not find it there.
            if let Some(unsealed) = out.get_mut(start..) {
                unsealed.zeroize();
            }
            out.truncate(start);
            self.phase = Phase::Over;
        }
        done
    }
}

fn next_key(mut ratchet: Ratchet) -> Result<Ratchet, SealError> {
    ratchet.advance().map_err(|Unspecified| SealError::Crypto)?;
    Ok(ratchet)
}

impl Segment {
    /// Turns `out` from `start` on, four free bytes and the plaintext, into a record.
    fn seal(&mut self, kind: Kind, start: usize, sealed: &mut Sealed, out: &mut Vec<u8>) -> Result<(), SealError> {
        let index = self.next;
        // Before it is used, and never taken back.
        self.next = index.checked_add(1).ok_or(SealError::Crypto)?;
        let record = out.get_mut(start..).and_then(|record| record.split_first_chunk_mut::<FRAME_BYTES>());
        let (first, body) = record.ok_or(SealError::Crypto)?;
        *first = frame(kind, body.len().saturating_add(TAG_BYTES)).ok_or(SealError::Crypto)?;
        let tag = self.cipher.seal(index, &sealed.head, *first, body).map_err(|Unspecified| SealError::Crypto)?;
        out.extend_from_slice(&tag);
        let sum = checksum(&sealed.head, out.get(start..).unwrap_or_default());
        out.extend_from_slice(&sum);
        let record = out.get(start..).unwrap_or_default();
        sealed.head = sealed.head.then(record);
        sealed.bytes = sealed.bytes.saturating_add(u64::try_from(record.len()).unwrap_or(u64::MAX));
        if kind == Kind::Data {
            sealed.records = sealed.records.saturating_add(1);
        }
        Ok(())
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} with head {} after {} bytes", self.segment, self.head, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dek, SessionKeys};
    use super::*;
    use crate::model::ChannelNumber;

    #[test]
    fn after_an_error_nothing_is_sealed_and_no_plaintext_is_left() {
        let mut out = Vec::new();
        let mut sealer = start(&mut out);
        let before = out.clone();
        if let Phase::Open(segment) = &mut sealer.phase {
            segment.next = u64::MAX;
        }
        assert_eq!(sealer.record(b"secret", &mut out), Err(SealError::Crypto));
        assert_eq!(out, before);
        let head = sealer.sealed().head;
        assert_eq!(sealer.record(b"secret", &mut out), Err(SealError::Over));
        assert_eq!(sealer.end_frame(&mut out), Err(SealError::Over));
        assert_eq!(sealer.end(EndReason::Failed, &mut out), Err(SealError::Over));
        assert_eq!((out, sealer.sealed().head), (before, head));
    }

    #[test]
    fn i12_an_ended_segment_holds_no_key_but_the_next_one_s() {
        let mut out = Vec::new();
        let mut sealer = start(&mut out);
        let commitment = |ratchet: &Ratchet| ratchet.commitment().unwrap();
        let Phase::Open(segment) = &sealer.phase else { panic!("not open") };
        let first = commitment(&segment.ratchet);
        sealer.end(EndReason::Rolled, &mut out).unwrap();
        let Phase::Ended(EndReason::Rolled, next) = &sealer.phase else { panic!("not rolled") };
        assert_ne!(commitment(next), first);
        sealer.next_segment(0, &mut out).unwrap();
        sealer.end(EndReason::Closed, &mut out).unwrap();
        assert_eq!(sealer.next_segment(0, &mut out), Err(SealError::NotRolled));
        sealer.close();
        assert!(matches!(sealer.phase, Phase::Over));
        let durable = *sealer.sealed();
        assert_eq!(sealer.branch(&durable, 0, &mut out), Err(SealError::Over));
    }

    #[test]
    fn a_branch_follows_what_was_durable_under_a_key_of_its_own() {
        for ended in [None, Some(EndReason::Rolled), Some(EndReason::Closed)] {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            let mut sealer = start(&mut first);
            sealer.record(b"kept", &mut first).unwrap();
            let durable = *sealer.sealed();
            let Phase::Open(segment) = &sealer.phase else { panic!("not open") };
            let key = segment.ratchet.commitment().unwrap();
            sealer.record(b"lost", &mut first).unwrap();
            if let Some(reason) = ended {
                sealer.end(reason, &mut first).unwrap();
            }
            sealer.branch(&durable, 7, &mut second).unwrap();
            let header = SegmentHeader::decode(second.first_chunk().unwrap()).unwrap();
            assert_eq!((header.segment, header.prev_head, header.t0_ms), (1, durable.head, 7));
            assert_ne!(header.key_commitment, key);
            assert_eq!((sealer.sealed().prev_head, sealer.sealed().records), (durable.head, 0));
            sealer.record(b"lost", &mut second).unwrap();
        }
    }

    #[test]
    fn the_last_segment_has_no_branch() {
        let mut out = Vec::new();
        let mut sealer = start(&mut out);
        sealer.sealed.segment = SEGMENT_MAX;
        let durable = *sealer.sealed();
        assert_eq!(sealer.branch(&durable, 0, &mut out), Err(SealError::TooManySegments));
        sealer.record(b"more", &mut out).unwrap();
    }

    #[test]
    fn the_last_segment_cannot_be_rolled_but_closed() {
        let mut out = Vec::new();
        let mut sealer = start(&mut out);
        sealer.sealed.segment = SEGMENT_MAX;
        assert_eq!(sealer.end(EndReason::Rolled, &mut out), Err(SealError::TooManySegments));
        sealer.record(b"more", &mut out).unwrap();
        sealer.end(EndReason::Closed, &mut out).unwrap();
    }

    fn start(out: &mut Vec<u8>) -> Sealer {
        let source = Source { stream: Stream::Cast3, session: [1; 16], recipients_digest: [2; 8] };
        let key = SessionKeys::new(&Dek::random().unwrap()).unwrap().channel(ChannelNumber(0)).unwrap();
        Sealer::start(source, key, 0, ContextPool::new(1), out).unwrap()
    }
}
