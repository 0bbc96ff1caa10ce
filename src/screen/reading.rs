//! The line at the cursor: what a person would say stands there, however many rows it fills.

use std::ops::RangeInclusive;

use avt::Line;

use super::Screen;
use super::painter::{drawn, end_of};

/// A line fills at most so many rows; what is above and below them is none of it.
const ROWS_JOINED_MAX: usize = 200;

/// The line at the cursor, its rows joined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AtCursor {
    /// What stands left of the cursor, from the line's first row.
    pub before: String,
    /// What stands at the cursor and behind it, to the line's end, without blanks at the end.
    pub after: String,
}

impl AtCursor {
    /// The whole line, without blanks at its end.
    pub fn whole(&self) -> String {
        let mut whole = format!("{}{}", self.before, self.after);
        whole.truncate(whole.trim_end().len());
        whole
    }
}

impl Screen {
    /// The rows of the line at the cursor. They belong together where text ran over the right margin.
    fn rows_at_cursor(&self) -> RangeInclusive<usize> {
        let cursor = self.terminal.cursor();
        let wrapped: Vec<bool> = self.terminal.screen().visible_lines().map(|line| line.is_wrapped()).collect();
        let wrapped = |row: usize| wrapped.get(row).copied().unwrap_or(false);
        let mut first = cursor.row;
        while first > 0 && cursor.row - first < ROWS_JOINED_MAX && wrapped(first - 1) {
            first -= 1;
        }
        let mut last = cursor.row;
        while last - cursor.row < ROWS_JOINED_MAX && wrapped(last) {
            last += 1;
        }
        first..=last
    }

    /// The line at the cursor.
    pub fn at_cursor(&self) -> AtCursor {
        let cursor = self.terminal.cursor();
        let mut at = AtCursor::default();
        for (row, line) in self.lines_at_cursor() {
            for (col, cell) in line.cells().iter().enumerate().filter(|(_, cell)| cell.width() > 0) {
                let is_before = row < cursor.row || (row == cursor.row && col < cursor.col);
                if is_before { at.before.push(cell.char()) } else { at.after.push(cell.char()) }
            }
        }
        at.after.truncate(at.after.trim_end().len());
        at
    }

    /// The line at the cursor, to be shown again on another row of a terminal as wide: with its colours, its right prompt,
    /// and the cursor where it was. No byte of what the target wrote is in it, only its characters, made harmless.
    pub fn line_drawn(&self) -> String {
        let (cursor, (cols, _)) = (self.terminal.cursor(), self.terminal.size());
        let last = *self.rows_at_cursor().end();
        let mut out = String::new();
        for (row, line) in self.lines_at_cursor() {
            let end = match row {
                // It has run over the margin, and so it does again.
                _ if row < last => cols,
                _ if row == cursor.row => end_of(line.cells()).max(cursor.col),
                _ => end_of(line.cells()),
            };
            out.push_str(&drawn(line.cells(), end, cols));
            if row == last && (row > cursor.row || end > cursor.col) {
                out.push_str(&format!("\r{}", right(cursor.col)));
                if row > cursor.row {
                    out.push_str(&format!("\x1b[{}A", row - cursor.row));
                }
            }
        }
        out
    }

    fn lines_at_cursor(&self) -> impl Iterator<Item = (usize, &Line)> {
        let rows = self.rows_at_cursor();
        self.terminal.screen().visible_lines().enumerate().filter(move |(row, _)| rows.contains(row))
    }

    /// Whether a program shows the alternate screen.
    pub fn is_alternate(&self) -> bool {
        self.terminal.active_screen_kind() == avt::ScreenKind::Alternate
    }
}

/// So far to the right.
fn right(cols: usize) -> String {
    if cols == 0 { String::new() } else { format!("\x1b[{cols}C") }
}

#[cfg(test)]
mod tests {
    use crate::screen::{Screen, Size};

    fn at(bytes: &[u8]) -> (String, String) {
        let mut screen = Screen::new(Size::bounded(10, 4));
        screen.feed(bytes);
        let at = screen.at_cursor();
        (at.before, at.after)
    }

    #[test]
    fn rows_that_ran_over_the_margin_are_one_line_from_any_of_them() {
        assert_eq!(at(b"old\r\n$ 0123456789abc"), ("$ 0123456789abc".into(), "".into()));
        assert_eq!(at(b"old\r\n$ 0123456789abc\x1b[A\r\x1b[2C"), ("$ ".into(), "0123456789abc".into()));
        assert_eq!(at(b"0123456789\r\n$ ls"), ("$ ls".into(), "".into()), "a full row that did not run over");
    }

    #[test]
    fn blanks_before_the_cursor_belong_to_the_line_and_those_behind_it_do_not() {
        assert_eq!(at(b"$ ls   \x1b[K"), ("$ ls   ".into(), "".into()));
        assert_eq!(at("$ 漢字\x1b[2D".as_bytes()), ("$ 漢".into(), "字".into()));
    }

    #[test]
    fn a_line_that_is_drawn_again_looks_the_same_and_steers_nothing() {
        for bytes in [
            b"\x1b[1;35mme@db1\x1b[0m:\x1b[34m~\x1b[0m$ ".as_slice(),
            b"$ ls -l \x1b[7mx\x1b[0m\x1b[3D",
            b"\x1b[32m$\x1b[0m 0123456789abcdefghijklmnopqrstuvwxyz\x1b[A\r\x1b[3C",
            "漢字 $ 字ü\x1b[2D".as_bytes(),
            b"left\x1b[15Cright\r\x1b[4C",
            b"\x1b]52;c;AAAA\x07$ ",
            b"exactly twenty-four cols",
            b"",
        ] {
            let size = Size::bounded(24, 6);
            let (mut before, mut after) = (Screen::new(size), Screen::new(size));
            before.feed(b"above\r\n");
            before.feed(bytes);
            let drawn = before.line_drawn();
            let plain = |c: char| !c.is_control() || matches!(c, '\x1b' | '\r');
            assert!(drawn.chars().all(plain) && !drawn.contains("\x1b]") && !drawn.contains("6n"), "{drawn:?}");
            after.feed(b"above\r\n");
            after.feed(drawn.as_bytes());
            let cells = |screen: &Screen| screen.rows().map(<[avt::Cell]>::to_vec).collect::<Vec<_>>();
            assert_eq!(cells(&after), cells(&before), "{drawn:?}");
            assert_eq!(after.cursor(), before.cursor(), "{drawn:?}");
        }
    }
}
