//! What one side sends once both have greeted: data, and between it messages (io.c: `read_a_msg()`).

use super::wire::{Lost, Stop, lost};

/// Takes messages apart.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    kind: u8,
    /// So much of a message is to come.
    left: usize,
    /// A path that was removed, as far as it has come.
    removed: Vec<u8>,
}

/// A part of what was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'b> {
    /// Data.
    Data(&'b [u8]),
    /// The path of something that was removed; a folder's ends in a zero byte.
    Removed(Vec<u8>),
}

const DATA: u8 = 0;
const DELETED: u8 = 101;
/// The kinds of messages that there are (rsync.h), from `MSG_ERROR_XFER` on.
const KINDS: &[u8] = &[DATA, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 22, 33, 42, 86, 100, DELETED, 102];
/// `MPLEX_BASE`.
const BASE: u8 = 7;
/// `read_a_msg()` takes no longer path.
const REMOVED_BYTES_END: usize = 5120;

impl Frames {
    /// The next part of `bytes`, which it leaves behind; none once all of them are taken.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Option<Piece<'b>>, Lost> {
        loop {
            if self.left == 0 {
                if !self.begin(bytes)? {
                    return Ok(None);
                }
                // One without content is over.
                continue;
            }
            let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
            if piece.is_empty() {
                return Ok(None);
            }
            *bytes = rest;
            self.left = self.left.saturating_sub(piece.len());
            match self.kind {
                DATA => return Ok(Some(Piece::Data(piece))),
                DELETED => {
                    self.removed.extend_from_slice(piece);
                    if self.left == 0 {
                        return Ok(Some(Piece::Removed(std::mem::take(&mut self.removed))));
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads a header; says whether it was all there.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<bool, Lost> {
        let missing = 4_usize.saturating_sub(self.header.len());
        let (more, rest) = bytes.split_at(missing.min(bytes.len()));
        *bytes = rest;
        self.header.extend_from_slice(more);
        let &[a, b, c, tag] = self.header.as_slice() else { return Ok(false) };
        self.header.clear();
        let bytes = u32::from_le_bytes([a, b, c, 0]);
        self.left = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.kind = tag.checked_sub(BASE).filter(|kind| KINDS.contains(kind)).ok_or_else(|| why(NO_KIND))?;
        if self.kind == DELETED && self.left >= REMOVED_BYTES_END {
            return Err(why(lost("a path that is too long")));
        }
        Ok(true)
    }
}

const NO_KIND: Stop = lost("a message of a kind that there is not");

fn why(stop: Stop) -> Lost {
    match stop {
        Stop::Lost(lost) => lost,
        Stop::More => Lost("too few bytes".into()),
    }
}
