//! Recorded bytes to a screen that is safe to show.
//!
//! A recording is written by whoever holds the target. Replayed to a terminal as it is, it could read the
//! auditor's clipboard, change the window's title or type answers to device queries. So the bytes go to an
//! emulator, whose only output is cells, and [`Painter`] draws these with a short list of sequences of our own.
//!
//! Time is linear in the bytes, at worst times the screen's area (a clear of the whole screen is four bytes), and
//! the area is bounded by [`Size`]; a caller that must stay responsive feeds small pieces. Memory is bounded by the
//! area and by one line of text; text that scrolls by is bounded by what was recorded.
//!
//! What this does not guard against: a target that draws lies, such as a prompt that is not one.

mod chars;
mod painter;
mod plain;
mod printed;
mod reading;
mod words;

use avt::observer::{Observation, Observer};
use avt::parser::{Function, State};
use avt::{Cell, Line, Operation, Parser, Terminal};

pub use chars::{Decoder, json_line, line, padded, shown};
pub use painter::{ENTER, LEAVE, Painter, Sheet};
pub use plain::{Plain, STDERR_MARK};
pub use printed::Printed;
pub use reading::AtCursor;
pub use words::{counted, plural, span_said, span_short, span_typed};

const COLS_MAX: usize = 500;
const ROWS_MAX: usize = 200;
/// Text that scrolled by is at most this many times what was recorded, and so much more.
const TEXT_TIMES_MAX: u64 = 16;
const TEXT_BYTES_FREE: u64 = 1024 * 1024;
/// A line of text longer than this is broken, so that output without line ends needs no more memory.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A terminal's size in cells, from 1 x 1 to 500 x 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: usize,
    /// Rows.
    pub rows: usize,
}

impl Size {
    /// The nearest size within the bounds.
    pub fn bounded(cols: u32, rows: u32) -> Self {
        let within = |n: u32, max: usize| usize::try_from(n).unwrap_or(max).clamp(1, max);
        Self { cols: within(cols, COLS_MAX), rows: within(rows, ROWS_MAX) }
    }

    /// What is left of a terminal's size above the painter's status line.
    pub fn above_status(self) -> Self {
        Self { cols: self.cols, rows: self.rows.saturating_sub(1).max(1) }
    }
}

/// A terminal emulator for recorded output.
pub struct Screen {
    terminal: Terminal,
    parser: Parser,
    decoder: Decoder,
    scrolled: Scrolled,
}

impl Screen {
    /// An empty screen.
    pub fn new(size: Size) -> Self {
        #[expect(clippy::expect_used, reason = "the only refusal is a size of zero, which `Size::bounded` cannot make")]
        let terminal = Terminal::new(size.cols.max(1), size.rows.max(1)).expect("the size is not zero");
        Self { terminal, parser: Parser::new(), decoder: Decoder::default(), scrolled: Scrolled::default() }
    }

    /// Takes output as the target wrote it, in pieces of any length.
    pub fn feed(&mut self, bytes: &[u8]) {
        let text = self.decoder.decode(bytes);
        self.terminal.execute_with(functions(&mut self.parser, &text, self.terminal.size().0), ());
    }

    /// As `feed`; appends to `out` the lines that scrolled off the top, complete and safe to show.
    pub fn feed_scrolling(&mut self, bytes: &[u8], out: &mut String) {
        let text = self.decoder.decode(bytes);
        let cols = self.terminal.size().0;
        let fed = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.scrolled.allowed = self.scrolled.allowed.saturating_add(fed.saturating_mul(TEXT_TIMES_MAX));
        self.terminal.execute_with(functions(&mut self.parser, &text, cols), &mut self.scrolled);
        out.push_str(&std::mem::take(&mut self.scrolled.ready));
    }

    /// Appends to `out` the lines that have not scrolled off the main screen, without blank ones at the end.
    pub fn finish_scrolling(&mut self, out: &mut String) {
        self.scrolled.rest(&self.terminal);
        out.push_str(&std::mem::take(&mut self.scrolled.ready));
        if self.scrolled.left_out > 0 {
            out.push_str(&format!("[doorward: {} lines left out, made by few bytes]\n", self.scrolled.left_out));
        }
    }

    /// Changes the size.
    pub fn resize(&mut self, size: Size) {
        self.terminal.resize_with(size.cols, size.rows, &mut self.scrolled);
    }

    /// The size.
    pub fn size(&self) -> Size {
        let (cols, rows) = self.terminal.size();
        Size { cols, rows }
    }

    /// The cells of each row, from the top.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        self.terminal.screen().visible_lines().map(Line::cells)
    }

    /// Column, row and whether it is shown.
    pub(crate) fn cursor(&self) -> (usize, usize, bool) {
        let cursor = self.terminal.cursor();
        (cursor.col, cursor.row, cursor.visible)
    }

    /// What draws this screen in a new terminal of its size, as a player needs it: of what was recorded it has the cells
    /// and the modes. `None` in the middle of a sequence, whose rest would be text in the new terminal.
    pub fn snapshot(&self) -> Option<String> {
        (self.parser.state == State::Ground).then(|| self.terminal.dump())
    }

    /// The rows as text, for tests and for people.
    pub fn text(&self) -> Vec<String> {
        self.terminal.screen().visible_lines().map(|line| safe(line).trim_end().to_owned()).collect()
    }
}

/// What the emulator must do for `text`.
fn functions(parser: &mut Parser, text: &str, cols: usize) -> impl Iterator<Item = Operation> {
    let most = u16::try_from(cols).unwrap_or(u16::MAX);
    text.chars().filter_map(|c| parser.feed(c)).map(move |function| {
        // "Repeat the last character 65535 times" is eight bytes. Programs use it within one row.
        let function = if let Function::Rep(times) = function { Function::Rep(times.min(most)) } else { function };
        Operation::Function(function)
    })
}

fn safe(line: &Line) -> String {
    line.chars().map(shown).collect()
}

/// Collects the text that leaves the main screen.
struct Scrolled {
    ready: String,
    begun: String,
    // How much text may still come, in cells. A screen full of it can be made by three bytes.
    allowed: u64,
    left_out: u64,
}

impl Default for Scrolled {
    fn default() -> Self {
        Self { ready: String::new(), begun: String::new(), allowed: TEXT_BYTES_FREE, left_out: 0 }
    }
}

impl Scrolled {
    fn push(&mut self, line: &Line) {
        let cells = line.cells();
        let end = if line.is_wrapped() {
            cells.len()
        } else {
            cells.iter().rposition(|cell| cell.char() != ' ').map_or(0, |last| last + 1)
        };
        // In cells: near enough, and without making text that is then left out.
        let cost = u64::try_from(end).unwrap_or(u64::MAX).saturating_add(1);
        let Some(left) = self.allowed.checked_sub(cost) else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        self.allowed = left;
        self.begun.extend(cells.iter().take(end).filter(|cell| cell.width() > 0).map(|cell| shown(cell.char())));
        if !line.is_wrapped() || self.begun.len() > LINE_BYTES_MAX {
            self.ready.push_str(self.begun.trim_end());
            self.ready.push('\n');
            self.begun.clear();
        }
    }

    fn rest(&mut self, terminal: &Terminal) {
        let before = std::mem::take(&mut self.ready);
        for line in terminal.primary_screen().all_lines() {
            self.push(line);
        }
        let kept = self.ready.trim_end_matches('\n');
        self.ready = if kept.is_empty() { before } else { format!("{before}{kept}\n") };
    }
}

impl Observer for Scrolled {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        if matches!(operation, Operation::Function(Function::Ris)) {
            self.rest(context.terminal());
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Line) {
        self.push(line);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

#[cfg(test)]
mod tests;
