//! Which characters a command line may have, and how its words are shown to people.

use std::fmt;

use super::tree::NotUnderstood;
use crate::gate::LINE_BYTES_MAX;

/// The line as text, if it is short enough and each of its characters can be seen.
pub fn checked(line: &[u8]) -> Result<&str, NotUnderstood> {
    if line.len() > LINE_BYTES_MAX {
        return Err(NotUnderstood { at: LINE_BYTES_MAX, reason: "a line of more than 32 KiB" });
    }
    let line = std::str::from_utf8(line)
        .map_err(|error| NotUnderstood { at: error.valid_up_to(), reason: "bytes that are not UTF-8" })?;
    // Nearly every line is plain ASCII, of which a look at each byte tells all.
    let fault = |(at, c)| fault(c).map(|reason| NotUnderstood { at, reason });
    match line.bytes().all(|b| matches!(b, b'\t' | b'\n' | b' '..=b'~')) {
        true => Ok(line),
        false => line.char_indices().find_map(fault).map_or(Ok(line), Err),
    }
}

/// What is wrong with a character wherever it stands: what a person reads must be what runs.
pub fn fault(c: char) -> Option<&'static str> {
    match c {
        '\t' | '\n' | ' '..='~' => None,
        '\0' => Some("a NUL character"),
        '\r' => Some("a carriage return"),
        c if c.is_control() => Some("a control character"),
        c if is_hidden(c) => Some("a character that cannot be seen, or that turns the order of others"),
        _ => None,
    }
}

/// Characters that show nothing or turn the order of others: Unicode 16, General_Category Cf, Zl and Zp, Bidi_Control
/// and Default_Ignorable_Code_Point; and two blanks of letter scripts that are no white space by their properties.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A blank that is none in ASCII: it looks like the end of a word, and some shells make it one.
pub fn is_odd_blank(c: char) -> bool {
    !c.is_ascii() && c.is_whitespace()
}

/// A word as text, in quotes if it would not read as one plain word without.
pub fn shown_word(text: &str) -> String {
    struct Quoted<'t>(&'t str);
    impl fmt::Display for Quoted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            show_quoted(self.0, f)
        }
    }
    if text.is_empty() { String::from("''") } else { Quoted(text).to_string() }
}

/// Literal text, in quotes if it would not read as one plain word without.
pub fn show_quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unseen = |c: char| fault(c).is_some() || is_odd_blank(c) || matches!(c, '\t' | '\n');
    let plain = |c: char| c.is_alphanumeric() || "_-./:,@%+=^".contains(c);
    if text.chars().any(unseen) {
        f.write_str("$'")?;
        for c in text.chars() {
            match c {
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\'' | '\\' => write!(f, "\\{c}")?,
                c if unseen(c) => write!(f, "{}", c.escape_unicode())?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("'")
    } else if text.chars().all(plain) {
        f.write_str(text)
    } else if text.contains('\'') && !text.contains(['"', '$', '`', '\\']) {
        write!(f, "\"{text}\"")
    } else {
        write!(f, "'{}'", text.replace('\'', "'\\''"))
    }
}

/// Text of a line as it was written, with nothing in it that steers a terminal.
pub fn show(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if fault(c).is_some() || matches!(c, '\t' | '\n') {
            write!(f, "{}", c.escape_default())?;
        } else {
            write!(f, "{c}")?;
        }
    }
    Ok(())
}
