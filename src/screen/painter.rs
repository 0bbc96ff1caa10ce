//! A screen's cells to the auditor's terminal.

use std::fmt::Write;

use avt::{Cell, Color, Pen};

use super::chars::{line, shown};
use super::{Screen, Size};

/// What the auditor's terminal gets before the first frame: its alternate screen, cleared, without line wrap.
pub const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[?25l\x1b[0m\x1b[2J";
/// What it gets after the last frame, so that it is as before.
pub const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Draws frames on a terminal: the screen, and one status line below it.
///
/// INVARIANT: the only escape sequences written are `CSI row;col H`, `CSI col G`, `CSI K`, `CSI 2J`, `CSI ... m` and
/// `CSI ?25 h|l`, with numbers from here; every other character has passed [`shown`]. No byte of a recording is
/// ever copied to the output.
#[derive(Debug)]
pub struct Painter {
    view: Size,
    sheet: Sheet,
}

impl Painter {
    /// A painter for a terminal of this size; its last row is the status line.
    pub fn new(view: Size) -> Self {
        Self { view, sheet: Sheet::default() }
    }

    /// The terminal's size.
    pub fn view(&self) -> Size {
        self.view
    }

    /// Whether a part of `screen` does not fit.
    pub fn clips(&self, screen: &Screen) -> bool {
        let size = screen.size();
        size.cols > self.view.cols || size.rows > self.rows()
    }

    /// Appends to `out` what makes the terminal show `screen` and `status`.
    ///
    /// Of a screen that is too tall, the rows around the cursor are shown; of one too wide, the left part.
    pub fn paint(&mut self, screen: &Screen, status: &str, out: &mut String) {
        let (col, row, visible) = screen.cursor();
        let first = if screen.size().rows > self.rows() { (row + 1).saturating_sub(self.rows()) } else { 0 };
        let mut rows: Vec<String> =
            screen.rows().skip(first).take(self.rows()).map(|cells| render(cells, self.view.cols)).collect();
        rows.resize(self.rows(), String::new());
        rows.push(self.status(status));
        let row = row.saturating_sub(first);
        let cursor = (visible && row < self.rows() && col < self.view.cols).then_some((col, row));
        self.sheet.draw(rows, cursor, out);
    }

    fn rows(&self) -> usize {
        self.view.rows.saturating_sub(1)
    }

    fn status(&self, status: &str) -> String {
        let text: String = line(status).chars().take(self.view.cols).collect();
        let blank = self.view.cols.saturating_sub(text.chars().count());
        format!("\x1b[7m{text}{:blank$}\x1b[0m", "")
    }
}

/// A terminal's rows as they were drawn last, so that only what differs is sent.
#[derive(Debug, Default)]
pub struct Sheet {
    // The bytes of each row; a row is drawn again only if they differ.
    drawn: Vec<String>,
    cursor: Option<(usize, usize)>,
}

impl Sheet {
    /// Appends to `out` what makes the terminal show these rows, which are harmless and fit it, and the cursor at this
    /// column and row, if it is shown.
    pub fn draw(&mut self, rows: Vec<String>, cursor: Option<(usize, usize)>, out: &mut String) {
        if rows == self.drawn && cursor == self.cursor {
            return;
        }
        out.push_str(if self.drawn.is_empty() { "\x1b[?25l\x1b[0m\x1b[2J" } else { "\x1b[?25l" });
        for (index, row) in rows.iter().enumerate() {
            if self.drawn.get(index) != Some(row) {
                _ = write!(out, "\x1b[{};1H\x1b[0m\x1b[K{row}", index + 1);
            }
        }
        if let Some((col, row)) = cursor {
            _ = write!(out, "\x1b[0m\x1b[{};{}H\x1b[?25h", row + 1, col + 1);
        }
        (self.drawn, self.cursor) = (rows, cursor);
    }
}

/// One row, without what is blank at its end, cut at `cols`.
fn render(cells: &[Cell], cols: usize) -> String {
    drawn(cells, end_of(cells).min(cols), cols)
}

/// Where the blanks at a row's end begin.
pub(super) fn end_of(cells: &[Cell]) -> usize {
    let blank = Pen::default();
    cells.iter().rposition(|cell| cell.char() != ' ' || *cell.pen() != blank).map_or(0, |last| last + 1)
}

/// The cells of a row before `end`, cut at `cols`, with their colours: characters that are harmless, and `CSI ... m` and
/// `CSI col G` with numbers from here.
pub(super) fn drawn(cells: &[Cell], end: usize, cols: usize) -> String {
    let blank = Pen::default();
    let mut out = String::with_capacity(end);
    let mut pen = blank;
    // Terminals differ on how wide some characters are; after them the column is set anew.
    let mut column_known = true;
    for (col, cell) in cells.iter().enumerate().take(end) {
        let width = usize::from(cell.width());
        if width == 0 {
            continue;
        }
        if *cell.pen() != pen {
            pen = *cell.pen();
            sgr(&pen, &mut out);
        }
        let c = shown(cell.char());
        if c.is_ascii() && !column_known {
            _ = write!(out, "\x1b[{}G", col + 1);
        }
        column_known = c.is_ascii();
        out.push(if col + width > cols { ' ' } else { c });
    }
    if pen != blank {
        out.push_str("\x1b[0m");
    }
    out
}

fn sgr(pen: &Pen, out: &mut String) {
    out.push_str("\x1b[0");
    for (on, code) in [
        (pen.is_bold(), ";1"),
        (pen.is_faint(), ";2"),
        (pen.is_italic(), ";3"),
        (pen.is_underline(), ";4"),
        (pen.is_inverse(), ";7"),
        (pen.is_strikethrough(), ";9"),
    ] {
        if on {
            out.push_str(code);
        }
    }
    color(pen.foreground(), 38, out);
    color(pen.background(), 48, out);
    out.push('m');
}

fn color(color: Option<Color>, base: u8, out: &mut String) {
    _ = match color {
        None => Ok(()),
        Some(Color::Indexed(index)) => write!(out, ";{base};5;{index}"),
        Some(Color::RGB(rgb)) => write!(out, ";{base};2;{};{};{}", rgb.r, rgb.g, rgb.b),
    };
}
