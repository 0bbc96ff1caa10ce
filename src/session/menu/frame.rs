//! Rows of a screen, whatever is drawn on it. Pure.

use crate::screen::Size;

/// What is needed to show a row of a list and what belongs to it.
pub const SIZE_MIN: Size = Size { cols: 24, rows: 6 };
/// Rows above a list: title, search, a blank one.
pub const ROWS_ABOVE: usize = 3;
/// A message has at least one row below the list, and at most so many.
pub const MESSAGE_ROWS_MAX: usize = 3;

/// What a terminal shows.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the top; each is harmless and no longer than the terminal is wide.
    pub rows: Vec<String>,
    /// Column and row, if it is shown.
    pub cursor: Option<(usize, usize)>,
}

impl Frame {
    /// What a terminal shows that is too small for more.
    pub fn too_small(size: Size) -> Self {
        let text = format!("make the window {}x{} or larger", SIZE_MIN.cols, SIZE_MIN.rows);
        let mut rows = vec![cut(&text, size.cols)];
        rows.resize(size.rows, String::new());
        Self { rows, cursor: None }
    }
}

/// The first so many characters.
pub fn cut(text: &str, cols: usize) -> String {
    text.chars().take(cols).collect()
}

/// Words in lines of at most so many characters; one line at least, and at most `most`.
pub fn wrapped(text: &str, cols: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.trim_end().split(' ') {
        match lines.last_mut() {
            Some(last) if last.is_empty() => *last = cut(word, cols),
            Some(last) if last.chars().count().saturating_add(word.chars().count()) < cols => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(cut(word, cols)),
        }
    }
    lines.truncate(most.max(1));
    lines
}

/// A row in bold.
pub fn bold(row: &str) -> String {
    format!("\x1b[1m{row}\x1b[0m")
}

/// A row in reverse, as wide as the terminal.
pub fn reversed(text: &str, cols: usize) -> String {
    format!("\x1b[7m{:cols$}\x1b[0m", cut(text, cols))
}
