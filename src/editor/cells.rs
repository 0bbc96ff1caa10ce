//! Characters to cells: what a terminal is shown of a text, none of which it could obey.

use unicode_width::UnicodeWidthChar;

use super::Tone;
use crate::gate::shell::is_unseen;
use crate::screen::shown;

/// So many combining characters are drawn on top of another.
const MARKS_MAX: u8 = 3;

/// A cell of a terminal, or what is drawn on top of the one before it (`width` 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// No character that a terminal obeys.
    pub c: char,
    /// 0, 1 or 2.
    pub width: u8,
    /// How it is shown.
    pub tone: Tone,
}

/// How a character is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// As it is, so many columns wide.
    Plain(u8),
    /// As it is, on top of the one before it.
    Mark,
    /// Spelled out: `^X` for a control character, else `<U+202E>`.
    Spelled,
}

/// How a character is shown, with so many marks before it; `None`: with nothing before it that it could be drawn on.
pub fn seen(c: char, marks: Option<u8>) -> Seen {
    if matches!(c, ' '..='~') {
        return Seen::Plain(1);
    }
    if shown(c) != c || is_unseen(c) {
        return Seen::Spelled;
    }
    match c.width() {
        Some(1) => Seen::Plain(1),
        Some(0) if marks.is_some_and(|marks| marks < MARKS_MAX) => Seen::Mark,
        None | Some(0) => Seen::Spelled,
        Some(_) => Seen::Plain(2),
    }
}

/// Whether the character belongs to the one before it, as an accent does.
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && seen(c, Some(0)) == Seen::Mark
}

/// One of the characters by which a character is spelled out.
pub fn spelled(c: char, at: usize) -> Option<char> {
    match c {
        '\0'..='\u{1f}' | '\u{7f}' => match at {
            0 => Some('^'),
            // ECMA-48: a control character is the letter's code without its seventh bit; `?` for DEL.
            1 => char::from_u32(u32::from(c) ^ 0x40),
            _ => None,
        },
        _ => {
            // `<U+`, four digits or as many as it takes, `>`.
            let code = u32::from(c);
            let digits = if code > 0xf_ffff {
                6
            } else if code > 0xffff {
                5
            } else {
                4_u32
            };
            match u32::try_from(at).ok()? {
                0 => Some('<'),
                1 => Some('U'),
                2 => Some('+'),
                at if at < digits.saturating_add(3) => {
                    let place = digits.saturating_add(2).saturating_sub(at);
                    char::from_digit((code >> (place.saturating_mul(4))) & 0xf, 16)
                        .map(|digit| digit.to_ascii_uppercase())
                }
                at if at == digits.saturating_add(3) => Some('>'),
                _ => None,
            }
        }
    }
}

/// The cells of a text of one row, all in one tone. Line ends are spelled out, too.
pub fn cells(text: &str, tone: Tone) -> Vec<Cell> {
    let mut out: Vec<Cell> = Vec::new();
    let mut marks = None;
    for c in text.chars() {
        let seen = seen(c, marks);
        marks = match seen {
            Seen::Plain(width) => {
                out.push(Cell { c, width, tone });
                Some(0)
            }
            Seen::Mark => {
                out.push(Cell { c, width: 0, tone });
                marks.map(|marks| marks.saturating_add(1))
            }
            Seen::Spelled => {
                out.extend((0..).map_while(|at| spelled(c, at)).map(|c| Cell { c, width: 1, tone }));
                None
            }
        };
    }
    out
}

/// A text of one row, safe to show.
pub fn safe(text: &str) -> String {
    cells(text, Tone::Plain).into_iter().map(|cell| cell.c).collect()
}

/// How many columns cells take.
pub fn width(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| usize::from(cell.width)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_steers_a_terminal_or_hides() {
        assert_eq!(safe("a\tb\x1b[2J\x7f\n"), "a^Ib^[[2J^?^J");
        assert_eq!(safe("\u{202e}x\u{200b}y\u{a0}z\u{9b}"), "<U+202E>x<U+200B>y<U+00A0>z<U+009B>");
        assert_eq!(safe("e\u{301}\u{4f60}"), "e\u{301}\u{4f60}");
        assert_eq!(safe("\u{301}x"), "<U+0301>x", "nothing to be drawn on");
        assert_eq!(safe("e\u{301}\u{301}\u{301}\u{301}"), "e\u{301}\u{301}\u{301}<U+0301>", "a tower");
        assert_eq!(width(&cells("a\u{4f60}e\u{301}", Tone::Plain)), 4);
        assert_eq!(safe("\u{e0001}\u{10fffe}"), "<U+E0001><U+10FFFE>");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            for shown in cells(&format!("a{c}"), Tone::Plain) {
                assert!(!shown.c.is_control() && crate::screen::shown(shown.c) == shown.c, "{c:?}");
            }
        }
    }
}
