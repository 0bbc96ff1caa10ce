//! Messages of a static virtual channel out of their chunks, and back (MS-RDPBCGR section 2.2.6.1).

use super::super::fields::Fields;
use super::MESSAGE_BYTES_MAX;

/// What the chunks that are made here carry: the size that every peer takes (section 2.2.7.1.10).
const CHUNK_BYTES: usize = 1600;

/// Of a message that is too long so much is kept, by which it can be answered.
const KEPT_BYTES: usize = 64;

const FIRST: u32 = 0x1;
const LAST: u32 = 0x2;
const SHOW_PROTOCOL: u32 = 0x10;
const SUSPEND: u32 = 0x20;
const RESUME: u32 = 0x40;
const COMPRESSED: u32 = 0x0020_0000;

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// Whether it was longer than any that is joined; `bytes` has its beginning then.
    pub(super) too_long: bool,
    /// What each of its chunks says beside where it stands.
    pub(super) show_protocol: bool,
}

/// Why chunks are no message. Nothing of the channel is let through after it.
pub(super) type Fault = &'static str;

/// Joins the chunks of one direction.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    length: usize,
    seen: usize,
    message: Message,
}

impl Joiner {
    /// Takes a chunk; gives a message with its last one.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<Option<Message>, Fault> {
        let (length, flags, data) = parts(chunk)?;
        if flags & (SUSPEND | RESUME) != 0 {
            return Ok(None);
        }
        let mut open = match (flags & FIRST != 0, self.open.take()) {
            (true, None) => Open::new(length, flags & SHOW_PROTOCOL != 0),
            (false, Some(open)) if open.length == length => open,
            (true, Some(_)) => return Err("a message begins inside another"),
            (false, Some(_)) => return Err("a chunk is of another message"),
            (false, None) => return Err("a chunk is of no message"),
        };
        open.add(data)?;
        if flags & LAST == 0 {
            self.open = Some(open);
            return Ok(None);
        }
        if open.seen != open.length {
            return Err("a message is shorter than it says");
        }
        Ok(Some(open.message))
    }
}

impl Open {
    fn new(length: usize, show_protocol: bool) -> Self {
        let too_long = length > MESSAGE_BYTES_MAX;
        Self { length, seen: 0, message: Message { bytes: Vec::new(), too_long, show_protocol } }
    }

    fn add(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.seen = self.seen.saturating_add(data.len());
        if self.seen > self.length {
            return Err("a message is longer than it says");
        }
        let room = if self.message.too_long { KEPT_BYTES.saturating_sub(self.message.bytes.len()) } else { data.len() };
        self.message.bytes.extend(data.iter().take(room));
        Ok(())
    }
}

/// The message's length, the flags and the data of a chunk.
fn parts(chunk: &[u8]) -> Result<(usize, u32, &[u8]), Fault> {
    let mut fields = Fields::new(chunk);
    let (Some(length), Some(flags)) = (fields.length(), fields.u32()) else {
        return Err("a chunk has no header");
    };
    if flags & COMPRESSED != 0 {
        return Err("a chunk is compressed");
    }
    Ok((length, flags, fields.rest()))
}

/// How many bytes of data a chunk has that is passed as it is.
pub(super) fn data_bytes(chunk: &[u8]) -> Result<usize, Fault> {
    parts(chunk).map(|(_, _, data)| data.len())
}

/// The chunks of a message.
pub(super) fn split(message: &[u8], show_protocol: bool) -> Vec<Vec<u8>> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let count = message.len().div_ceil(CHUNK_BYTES).max(1);
    let piece = |at: usize| {
        let from = at.saturating_mul(CHUNK_BYTES);
        let data = message.get(from..from.saturating_add(CHUNK_BYTES).min(message.len())).unwrap_or_default();
        let place = if at == 0 { FIRST } else { 0 } | if at.saturating_add(1) == count { LAST } else { 0 };
        let flags = place | if show_protocol { SHOW_PROTOCOL } else { 0 };
        [&length.to_le_bytes(), &flags.to_le_bytes(), data].concat()
    };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn chunk(length: u32, flags: u32, data: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes()[..], &flags.to_le_bytes(), data].concat()
    }

    proptest! {
        #[test]
        fn a_message_that_was_split_is_joined(bytes in vec(any::<u8>(), 0..5000), show_protocol: bool) {
            let mut joiner = Joiner::default();
            let chunks = split(&bytes, show_protocol);
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES + 8));
            let mut joined: Vec<Message> = chunks.iter().filter_map(|chunk| joiner.take(chunk).unwrap()).collect();
            prop_assert_eq!(joined.pop(), Some(Message { bytes, too_long: false, show_protocol }));
            prop_assert!(joined.is_empty());
        }

        #[test]
        fn whatever_comes_is_bounded(chunks in vec((any::<u32>(), 0_u32..4, vec(any::<u8>(), 0..20)), 0..20)) {
            let mut joiner = Joiner::default();
            for (length, flags, data) in chunks {
                if let Ok(Some(message)) = joiner.take(&chunk(length, flags, &data)) {
                    prop_assert!(message.too_long || message.bytes.len() <= MESSAGE_BYTES_MAX);
                }
            }
        }
    }

    #[test]
    fn chunks_that_fit_no_message_are_faults() {
        let cases: [&[Vec<u8>]; 6] = [
            &[chunk(4, 0, b"abcd")],
            &[chunk(4, FIRST, b"ab"), chunk(4, FIRST, b"cd")],
            &[chunk(4, FIRST, b"ab"), chunk(5, LAST, b"cd")],
            &[chunk(4, FIRST, b"abcde")],
            &[chunk(4, FIRST | LAST, b"ab")],
            &[chunk(2, FIRST | LAST | COMPRESSED, b"ab")],
        ];
        for chunks in cases {
            let mut joiner = Joiner::default();
            assert!(chunks.iter().any(|chunk| joiner.take(chunk).is_err()), "{chunks:?}");
        }
        assert!(Joiner::default().take(b"\x01\x02\x03").is_err());
    }

    #[test]
    fn of_a_message_that_is_too_long_the_beginning_is_kept() {
        let (mut joiner, length) = (Joiner::default(), MESSAGE_BYTES_MAX + 1);
        let said = u32::try_from(length).unwrap();
        let piece = vec![7; 1 << 20];
        let mut left = length;
        let mut flags = FIRST;
        let message = loop {
            let now = left.min(piece.len());
            left -= now;
            let last = if left == 0 { LAST } else { 0 };
            if let Some(message) = joiner.take(&chunk(said, flags | last, &piece[..now])).unwrap() {
                break message;
            }
            flags = 0;
        };
        assert!(message.too_long && message.bytes.len() == KEPT_BYTES);
    }
}
