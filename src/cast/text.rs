//! Bytes to JSON strings, quickly: bulk output goes through here byte by byte.
//!
//! Escaped are `"`, `\`, 0x00 to 0x1f and 0x7f; all else passes as it is. Clean stretches are found 32 bytes
//! at a time in a form that compilers turn into vector code, since unsafe code is forbidden.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BLOCK: usize = 32;
const WORD: usize = 8;

/// Appends `text` as a JSON string with its quotes.
pub(super) fn push_json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    push_escaped(text.as_bytes(), out);
    out.push(b'"');
}

/// As `push_json_string`, for bytes that are not all UTF-8: U+FFFD stands for each part that is not.
pub(super) fn push_lossy_json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        push_escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// The length of `bytes` inside a JSON string, where each byte over 0x7f counts as `high` bytes.
pub(super) fn escaped_len(bytes: &[u8], high: usize) -> usize {
    // Sums of at most 128 blocks fit a byte each, which keeps the inner loop in byte lanes.
    let (mut controls, mut pairs, mut highs) = (0_usize, 0_usize, 0_usize);
    for block in bytes.chunks(128) {
        let (mut control, mut pair, mut over) = (0_u8, 0_u8, 0_u8);
        for &byte in block {
            // Line ends and tabs are two bytes like quotes; other controls are six.
            let short = u8::from(byte == b'\n') | u8::from(byte == b'\r') | u8::from(byte == b'\t');
            control = control.wrapping_add((u8::from(byte < 0x20) | u8::from(byte == 0x7f)) & (short ^ 1));
            pair = pair.wrapping_add(u8::from(byte == b'"') | u8::from(byte == b'\\') | short);
            over = over.wrapping_add(u8::from(byte > 0x7f));
        }
        controls = controls.saturating_add(usize::from(control));
        pairs = pairs.saturating_add(usize::from(pair));
        highs = highs.saturating_add(usize::from(over));
    }
    let extra = controls.saturating_mul(5).saturating_add(pairs);
    bytes.len().saturating_add(extra).saturating_add(highs.saturating_mul(high.saturating_sub(1)))
}

/// The length of `len` bytes in base64.
pub(super) fn base64_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Appends `bytes` in base64, as a JSON string with its quotes.
pub(super) fn push_base64_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start.saturating_add(base64_len(bytes.len())), b'=');
    let written = out.get_mut(start..).and_then(|room| STANDARD.encode_slice(bytes, room).ok()).unwrap_or(0);
    out.truncate(start.saturating_add(written));
    out.push(b'"');
}

/// How many bytes at the end are the start of a character whose rest is missing: 0 to 3.
pub(super) fn incomplete_tail(bytes: &[u8]) -> usize {
    for back in 1..=3_usize {
        let Some(&byte) = bytes.len().checked_sub(back).and_then(|at| bytes.get(at)) else { return 0 };
        let wanted = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x00..=0x7f | 0xc0..=0xc1 | 0xf5..=0xff => 1,
        };
        // A wrong byte after the first makes it a broken character, not an unfinished one.
        let tail = bytes.get(bytes.len().saturating_sub(back)..).unwrap_or_default();
        let unfinished = wanted > back && std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
        return if unfinished { back } else { 0 };
    }
    0
}

fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len().saturating_add(bytes.len() / 16));
    let mut room = Room { bytes: [0; ROOM], len: 0 };
    // Copies of a length that the compiler knows are a few moves; of any other length they are a call.
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        if is_plain(block) {
            out.extend_from_slice(block);
        } else {
            for word in block.as_chunks::<WORD>().0 {
                room.escape(*word, WORD);
            }
            room.flush(out);
        }
    }
    let (words, rest) = rest.as_chunks::<WORD>();
    for word in words {
        room.escape(*word, WORD);
    }
    if !rest.is_empty() {
        let mut word = [0; WORD];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        room.escape(word, rest.len());
    }
    room.flush(out);
}

/// A block in its longest form, six bytes for each, and a word that may be written past its end.
const ROOM: usize = BLOCK * 6 + WORD;

/// Collects the escaped form of a block. A `Vec` would store its length in memory after each of many short pieces.
struct Room {
    bytes: [u8; ROOM],
    len: usize,
}

impl Room {
    /// Adds the first `len` bytes of `word`, each special one escaped.
    #[inline(always)]
    fn escape(&mut self, word: [u8; WORD], len: usize) {
        let word = u64::from_le_bytes(word);
        let mut found = specials(word);
        let mut from = 0;
        while found != 0 {
            let special = usize::try_from(found.trailing_zeros() / 8).unwrap_or(WORD);
            if special >= len {
                break; // the bytes from `len` on say nothing
            }
            self.put(from_byte(word, from), special.saturating_sub(from));
            let [byte, ..] = from_byte(word, special).to_le_bytes();
            let (form, form_len) = escape(byte);
            self.put(u64::from_le_bytes(form), form_len);
            from = special.saturating_add(1);
            found &= found.wrapping_sub(1);
        }
        self.put(from_byte(word, from), len.saturating_sub(from));
    }

    /// Adds the first `len` bytes of `word`; what it writes beyond them is written over.
    #[inline(always)]
    fn put(&mut self, word: u64, len: usize) {
        if let Some(to) = self.bytes.get_mut(self.len..).and_then(|to| to.first_chunk_mut()) {
            *to = word.to_le_bytes();
        }
        self.len = self.len.saturating_add(len);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(..self.len).unwrap_or_default());
        self.len = 0;
    }
}

fn is_plain(block: &[u8; BLOCK]) -> bool {
    let special =
        |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte == 0x7f);
    block.iter().fold(0, |found, &byte| found | special(byte)) == 0
}

/// `word` without its first `count` bytes.
#[inline(always)]
fn from_byte(word: u64, count: usize) -> u64 {
    u32::try_from(count.saturating_mul(8)).ok().and_then(|bits| word.checked_shr(bits)).unwrap_or(0)
}

/// The top bit of each of the eight bytes that must be escaped.
fn specials(word: u64) -> u64 {
    const LOW7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // A lane's top bit, if the lane is zero: neither its own top bit nor the carry out of the other seven is set.
    let zero = |lanes: u64| !((lanes & LOW7).wrapping_add(LOW7) | lanes | LOW7);
    zero(word & 0xe0e0_e0e0_e0e0_e0e0)
        | zero(word ^ 0x2222_2222_2222_2222)
        | zero(word ^ 0x5c5c_5c5c_5c5c_5c5c)
        | zero(word ^ LOW7)
}

/// The escape of a special byte, and how many of the bytes it has.
fn escape(byte: u8) -> ([u8; WORD], usize) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    let short = |letter: u8| ([b'\\', letter, 0, 0, 0, 0, 0, 0], 2);
    match byte {
        b'"' | b'\\' => short(byte),
        b'\n' => short(b'n'),
        b'\r' => short(b'r'),
        b'\t' => short(b't'),
        _ => ([b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0x0f), 0, 0], 6),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_character_reads_back_and_none_that_needs_it_goes_unescaped() {
        for code in (0..0x300_u32).chain([0x2028, 0xfffd, 0x1f600]) {
            let text: String = std::iter::repeat_n(char::from_u32(code).unwrap(), 41).collect();
            let mut out = Vec::new();
            push_json_string(&text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
            assert!(out.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f));
        }
    }

    #[test]
    fn a_tail_is_incomplete_only_if_more_bytes_can_complete_it() {
        for (bytes, tail) in [
            (&b""[..], 0),
            (b"abc", 0),
            (b"a\xc3", 1),
            (b"a\xc3\xa9", 0),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            (b"\x80\x80\x80\x80", 0),
            (b"\xc0", 0),
            (b"\xff", 0),
            (b"\xed\xa0", 0), // a surrogate: never a character
        ] {
            assert_eq!(incomplete_tail(bytes), tail, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back_from_json(text in ".{0,200}") {
            let mut out = Vec::new();
            push_json_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn the_estimate_is_not_less_than_the_form(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut out = Vec::new();
            push_json_string(&String::from_utf8_lossy(&bytes), &mut out);
            prop_assert!(escaped_len(&bytes, 3) + 2 >= out.len());
        }
    }
}
