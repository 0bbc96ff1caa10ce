//! The line at the cursor: what a person would say stands there, however many rows it fills.

use super::Screen;

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
    /// The line at the cursor. Rows belong together where text ran over the right margin.
    pub fn at_cursor(&self) -> AtCursor {
        let cursor = self.terminal.cursor();
        let rows: Vec<_> = self.terminal.screen().visible_lines().collect();
        let wrapped = |row: usize| rows.get(row).is_some_and(|line| line.is_wrapped());
        let mut first = cursor.row;
        while first > 0 && cursor.row - first < ROWS_JOINED_MAX && wrapped(first - 1) {
            first -= 1;
        }
        let mut last = cursor.row;
        while last - cursor.row < ROWS_JOINED_MAX && wrapped(last) {
            last += 1;
        }
        let mut at = AtCursor::default();
        for (row, line) in rows.iter().enumerate().take(last + 1).skip(first) {
            for (col, cell) in line.cells().iter().enumerate().filter(|(_, cell)| cell.width() > 0) {
                let is_before = row < cursor.row || (row == cursor.row && col < cursor.col);
                if is_before { at.before.push(cell.char()) } else { at.after.push(cell.char()) }
            }
        }
        at.after.truncate(at.after.trim_end().len());
        at
    }

    /// Whether a program shows the alternate screen.
    pub fn is_alternate(&self) -> bool {
        self.terminal.active_screen_kind() == avt::ScreenKind::Alternate
    }
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
}
