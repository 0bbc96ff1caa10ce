//! Records to plaintext, for who has the session's secret. The input is hostile.

use std::fmt;

use ring::error::Unspecified;
use zeroize::Zeroizing;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::cipher::Cipher;
use super::context::WINDOW_LOG;
use super::header::SegmentHeader;
use super::keys::{Dek, Ratchet, SessionKeys};
use super::record::{End, Kind, PLAIN_BYTES_MAX, Record};
use super::{OpenError, OpenFault};

/// Decompressed bytes come in pieces of this size: zstd's largest block.
const PIECE_BYTES: usize = 128 * 1024;

/// Opens segments of one session, in any order; fastest in the order of their numbers.
#[derive(Debug)]
pub struct Opener {
    dek: Dek,
    /// The key opened with last, from which that of a later segment is not far.
    last: Option<Ratchet>,
}

impl Opener {
    /// For the session whose secret this is.
    pub fn new(dek: Dek) -> Self {
        Self { dek, last: None }
    }

    /// Opens a segment by its header, which a [`Scanner`](super::Scanner) has read.
    ///
    /// That the header is the one of the session, channel and number that were looked for is the caller's to check.
    ///
    /// # Errors
    /// `WrongKey`; `SetUp`.
    pub fn segment(&mut self, header: &SegmentHeader) -> Result<OpenSegment, OpenError> {
        let error = |fault| OpenError { record: 0, offset: 0, fault };
        let set_up = |Unspecified| error(OpenFault::SetUp);
        let near = self.last.take().filter(|key| key.channel() == header.channel && key.segment() <= header.segment);
        let mut ratchet = match near {
            Some(ratchet) => ratchet,
            None => SessionKeys::seek(&self.dek, header.channel).map_err(set_up)?,
        };
        // Bounded: a header with a larger number than `SEGMENT_MAX` is not read.
        while ratchet.segment() < header.segment {
            ratchet.advance().map_err(set_up)?;
        }
        let commitment = ratchet.commitment().map_err(set_up)?;
        let cipher = Cipher::new(&ratchet).map_err(set_up)?;
        self.last = Some(ratchet);
        if commitment != header.key_commitment {
            return Err(error(OpenFault::WrongKey));
        }
        let inflater = Inflater::new().map_err(|_| error(OpenFault::SetUp))?;
        let body = Zeroizing::new(Vec::new());
        Ok(OpenSegment { cipher, inflater, body, next: Some(1), plain_bytes: 0 })
    }
}

/// Opens the records of one segment, from the first to the last.
#[derive(Debug)]
pub struct OpenSegment {
    cipher: Cipher,
    inflater: Inflater,
    /// Where a record is decrypted.
    body: Zeroizing<Vec<u8>>,
    /// The number of the next record; `None` after the end, or an error.
    next: Option<u64>,
    plain_bytes: u64,
}

/// What a record was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Plaintext, now in `out`.
    Data,
    /// The end of the segment, which agrees with what stands before it.
    End(End),
}

impl OpenSegment {
    /// Opens a record; appends its plaintext, at most [`PLAIN_BYTES_MAX`], to `out`.
    ///
    /// # Errors
    /// Why it does not open. Then nothing is appended, and no later record of the segment opens: the compression of
    /// each builds on those before it.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<Opened, OpenError> {
        let start = out.len();
        let expected = self.next.take();
        let done = if expected == Some(record.index) {
            self.open(record, out)
        } else {
            Err(OpenFault::OutOfOrder { expected })
        };
        match done {
            Ok(Opened::Data) => self.next = record.index.checked_add(1),
            Ok(Opened::End(_)) => {}
            Err(_) => out.truncate(start),
        }
        done.map_err(|fault| OpenError { record: record.index, offset: record.offset, fault })
    }

    fn open(&mut self, record: &Record<'_>, out: &mut Vec<u8>) -> Result<Opened, OpenFault> {
        let (frame, sealed) = record.parts().ok_or(OpenFault::Unauthentic)?;
        self.body.clear();
        self.body.extend_from_slice(sealed);
        let opened = self.cipher.open(record.index, &record.before, frame, &mut self.body);
        let plain = opened.map_err(|Unspecified| OpenFault::Unauthentic)?;
        match record.kind {
            Kind::Data => {
                let written = self.inflater.inflate(plain, out)?;
                self.plain_bytes = self.plain_bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                Ok(Opened::Data)
            }
            Kind::End => {
                let end = End::decode(plain).ok_or(OpenFault::EndForm)?;
                let records = record.index.saturating_sub(1);
                let agrees = end.records == records && end.plain_bytes == self.plain_bytes;
                if agrees && !self.inflater.in_frame { Ok(Opened::End(end)) } else { Err(OpenFault::EndCount) }
            }
        }
    }
}

/// The decompressor of a segment's stream of frames.
struct Inflater {
    context: DCtx<'static>,
    in_frame: bool,
    piece: Zeroizing<Vec<u8>>,
}

impl Inflater {
    fn new() -> Result<Self, usize> {
        let mut context = DCtx::try_create().ok_or(0_usize)?;
        // A frame with a larger window is refused before memory is taken for it.
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        Ok(Self { context, in_frame: false, piece: Zeroizing::new(vec![0; PIECE_BYTES]) })
    }

    /// Decompresses all of a record; returns how much it was.
    fn inflate(&mut self, compressed: &[u8], out: &mut Vec<u8>) -> Result<usize, OpenFault> {
        let mut input = InBuffer::around(compressed);
        let mut total = 0_usize;
        loop {
            let mut output = OutBuffer::around(self.piece.as_mut_slice());
            let hint = self.context.decompress_stream(&mut output, &mut input);
            let hint = hint.map_err(|code| OpenFault::Inflate { why: get_error_name(code) })?;
            let written = output.pos();
            total = total.saturating_add(written);
            if total > PLAIN_BYTES_MAX {
                return Err(OpenFault::TooLarge);
            }
            out.extend_from_slice(self.piece.get(..written).unwrap_or_default());
            self.in_frame = hint > 0;
            // With room left in the piece, all that the input gives has been given.
            if input.pos() >= compressed.len() && written < PIECE_BYTES {
                return Ok(total);
            }
        }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inflater(in a frame: {})", self.in_frame)
    }
}
