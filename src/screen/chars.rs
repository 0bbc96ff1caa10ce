//! Bytes to characters, and which characters may reach an auditor's terminal.

use std::borrow::Cow;
use std::str;

/// What stands for a character that may not be shown.
pub const REPLACEMENT: char = '\u{fffd}';

/// The character that is shown for `c`: itself, a blank, or `REPLACEMENT`.
///
/// Replaced are control characters (C0, DEL and C1, which a terminal obeys), characters that turn the direction
/// of text around, those that cannot be seen and so can hide a difference, and code points that are no characters.
/// Variation selectors, which emoji carry, become a blank.
pub fn shown(c: char) -> char {
    match c {
        '\u{fe00}'..='\u{fe0f}' => ' ',
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => REPLACEMENT,
        // The last two code points of every plane are no characters.
        other if u32::from(other) & 0xfffe == 0xfffe => REPLACEMENT,
        other => other,
    }
}

/// One line of words that came from elsewhere (a marker, a title), safe to show.
pub fn line(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// A cell of a table, filled up with blanks. What is wider than a screen is not: `format!` panics at 65,536, and one long
/// cell would make all others as long.
pub fn padded(cell: &str, width: usize) -> String {
    const WIDTH_MAX: usize = 256;
    let own = cell.chars().count();
    let blanks = width.min(WIDTH_MAX).saturating_sub(own);
    let mut text = String::with_capacity(cell.len().saturating_add(blanks));
    text.push_str(cell);
    text.extend(std::iter::repeat_n(' ', blanks));
    text
}

/// Escapes in a line of JSON what a terminal might obey or misread; the line means the same as before.
///
/// JSON has such characters in strings only, where `\uXXXX` stands for them as well.
pub fn json_line(line: &str) -> Cow<'_, str> {
    if line.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if c == '\n' || shown(c) == c {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(out)
}

/// UTF-8 in pieces: a character that is split over two pieces is put together again.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    // INVARIANT: the start of one character, at most 3 bytes.
    begun: Vec<u8>,
}

impl Decoder {
    /// The text that is complete after `bytes`; what is not UTF-8 becomes `REPLACEMENT`.
    pub fn decode(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = bytes;
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.begun);
            rest = &joined;
        }
        let mut text = String::with_capacity(rest.len());
        let mut chunks = rest.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            // Only at the end can the bytes be the start of a character rather than a fault.
            let begun = chunks.peek().is_none()
                && str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if begun {
                self.begun = chunk.invalid().to_vec();
            } else {
                text.push(REPLACEMENT);
            }
        }
        text
    }

    /// What is left when no more bytes come: one `REPLACEMENT` for a character that was begun.
    pub fn finish(&mut self) -> &'static str {
        if std::mem::take(&mut self.begun).is_empty() { "" } else { "\u{fffd}" }
    }
}
