//! Cells to a terminal's rows below what it shows already, and only what differs from what was drawn there last.
//!
//! INVARIANT: the only sequences written are CR, LF, BEL, `CSI n A`, `CSI n G`, `CSI J`, `CSI K`, `CSI ... m`, `CSI ?7 h|l`,
//! `CSI ?25 h|l`, and in [`Drawing::clear`] `CSI 1;1H` and `CSI 2J`, with numbers from here; every other character is of a
//! [`Cell`], which no terminal obeys.
//!
//! A row never leans on the terminal to wrap it: terminals differ on the width of some characters, and behind each that is
//! not ASCII the column is set anew.

use std::io::Write;

use super::cells::{Cell, Seen, cells, seen, spelled, width};
use super::{Prompt, Tone};
use crate::screen::Size;

/// Stands for a character that is wider than the window.
const REPLACEMENT: char = '\u{fffd}';

/// What is to be shown: a prompt, a text of any rows, and where the cursor stands in it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Before the text.
    pub prompt: &'a [Cell],
    /// Before each further row of the text.
    pub more: &'a [Cell],
    /// The text.
    pub text: &'a str,
    /// The byte at which the cursor stands.
    pub at: usize,
    /// The text and the prompt are as in the last view, up to this byte; `None`: nothing is.
    pub same: Option<usize>,
}

/// The rows that were drawn last, and how the text was laid out over rows.
#[derive(Debug)]
pub struct Drawing {
    size: Size,
    colours: bool,
    /// The rows on the terminal.
    rows: Vec<Vec<Cell>>,
    /// Row and column of the cursor among them.
    cursor: (usize, usize),
    /// Where each row of the whole text begins, whether it is on the terminal or not.
    starts: Vec<Place>,
    /// The first of them that is on the terminal.
    first: usize,
}

/// A place in prompt and text where a cell comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    part: Part,
    /// Which character of those that spell one out.
    spelled: usize,
    /// So many marks stand before it; `None`: there is nothing to draw them on.
    marks: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// This cell of the prompt.
    Prompt(usize),
    /// This cell before a further row of the text, which begins at this byte.
    More(usize, usize),
    /// The character at this byte.
    Text(usize),
}

enum Step {
    Cell(Cell, Place),
    Break(Place),
    End,
}

impl Place {
    const START: Self = Self { part: Part::Prompt(0), spelled: 0, marks: None };

    fn text(byte: usize) -> Self {
        Self { part: Part::Text(byte), spelled: 0, marks: None }
    }

    /// Where it stands among the bytes of the text, to be compared.
    fn order(self) -> (usize, usize) {
        match self.part {
            Part::Prompt(_) => (0, 0),
            Part::More(_, byte) => (byte, 0),
            Part::Text(byte) => (byte, self.spelled),
        }
    }

    /// What stands there in a window of so many columns, and what comes next.
    fn step(self, view: &View<'_>, cols: usize) -> Step {
        match self.part {
            Part::Prompt(at) => match view.prompt.get(at) {
                Some(cell) => Step::Cell(*cell, Self { part: Part::Prompt(at.saturating_add(1)), ..self }),
                None => Self::text(0).step(view, cols),
            },
            Part::More(at, byte) => match view.more.get(at) {
                Some(cell) => Step::Cell(*cell, Self { part: Part::More(at.saturating_add(1), byte), ..self }),
                None => Self::text(byte).step(view, cols),
            },
            Part::Text(byte) => self.step_in_text(byte, view, cols),
        }
    }

    fn step_in_text(self, byte: usize, view: &View<'_>, cols: usize) -> Step {
        let Some(c) = view.text.get(byte..).and_then(|rest| rest.chars().next()) else { return Step::End };
        let next = byte.saturating_add(c.len_utf8());
        if c == '\n' {
            return Step::Break(Self { part: Part::More(0, next), spelled: 0, marks: None });
        }
        let cell = |c, width| Cell { c, width, tone: Tone::Plain };
        match seen(c, self.marks) {
            Seen::Plain(width) if usize::from(width) > cols => {
                Step::Cell(cell(REPLACEMENT, 1), Self { marks: Some(0), ..Self::text(next) })
            }
            Seen::Plain(width) => Step::Cell(cell(c, width), Self { marks: Some(0), ..Self::text(next) }),
            Seen::Mark => {
                let marks = self.marks.map(|marks| marks.saturating_add(1));
                Step::Cell(cell(c, 0), Self { marks, ..Self::text(next) })
            }
            Seen::Spelled => {
                let shown = cell(spelled(c, self.spelled).unwrap_or(REPLACEMENT), 1);
                let at = self.spelled.saturating_add(1);
                match spelled(c, at) {
                    Some(_) => Step::Cell(shown, Self { spelled: at, ..self }),
                    None => Step::Cell(shown, Self::text(next)),
                }
            }
        }
    }

    /// The same place, without a step over the end of a prompt.
    fn settled(self, view: &View<'_>) -> Self {
        match self.part {
            Part::Prompt(at) if at >= view.prompt.len() => Self::text(0),
            Part::More(at, byte) if at >= view.more.len() => Self::text(byte),
            Part::Prompt(_) | Part::More(..) | Part::Text(_) => self,
        }
    }
}

impl Drawing {
    /// Nothing is drawn yet; the cursor stands at the beginning of a row.
    pub fn new(size: Size, colours: bool) -> Self {
        Self { size, colours, rows: Vec::new(), cursor: (0, 0), starts: Vec::new(), first: 0 }
    }

    /// The terminal's size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Whether something is drawn.
    pub fn is_drawn(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The rows that are on the terminal, and row and column of the cursor among them.
    #[cfg(test)]
    pub fn drawn(&self) -> (Vec<String>, (usize, usize)) {
        (self.rows.iter().map(|row| row.iter().map(|cell| cell.c).collect()).collect(), self.cursor)
    }

    /// Makes the terminal show this.
    pub fn show(&mut self, view: &View<'_>, out: &mut Vec<u8>) {
        let kept = self.lay_out(view);
        let before = self.first;
        let cursor = self.find(view);
        // Of a line that is taller than the window a part is shown; what is told above it stays in sight.
        let rows = self.size.rows.max(1);
        let height = self.starts.len().min(rows.saturating_sub(rows / 5));
        if cursor.0 < self.first {
            self.first = cursor.0;
        }
        let lowest = cursor.0.saturating_add(1).saturating_sub(height);
        self.first = self.first.clamp(lowest, self.starts.len().saturating_sub(height));
        let rows = (self.first..self.first.saturating_add(height)).map(|row| {
            // What is drawn of a row that ends before anything changed is what would be drawn.
            let drawn = row.checked_sub(before).and_then(|at| self.rows.get(at));
            drawn.filter(|_| row.saturating_add(1) < kept).map_or_else(|| self.row(row, view), Vec::clone)
        });
        let rows = rows.collect();
        self.draw(rows, (cursor.0.saturating_sub(self.first), cursor.1), out);
    }

    /// Finds where the rows begin, from where the text differs from the last one: so many begin where they did.
    fn lay_out(&mut self, view: &View<'_>) -> usize {
        let cols = self.size.cols.max(1);
        // The break before a row depends on the character behind it, of at most 4 bytes.
        let stands = |start: &Place, same: usize| match start.part {
            Part::Prompt(_) => true,
            Part::More(_, byte) | Part::Text(byte) => byte.saturating_add(4) < same,
        };
        let valid = view.same.map_or(0, |same| self.starts.partition_point(|start| stands(start, same)));
        self.starts.truncate(valid);
        if self.starts.is_empty() {
            self.starts.push(Place::START.settled(view));
        }
        let mut place = self.starts.last().copied().unwrap_or(Place::START);
        let mut col = 0_usize;
        loop {
            match place.step(view, cols) {
                Step::Cell(cell, next) => {
                    let width = usize::from(cell.width);
                    if width > 0 && col.saturating_add(width) > cols {
                        self.starts.push(place.settled(view));
                        col = 0;
                    }
                    col = col.saturating_add(width);
                    place = next;
                }
                Step::Break(next) => {
                    if col >= cols {
                        self.starts.push(place.settled(view));
                    }
                    self.starts.push(next.settled(view));
                    (place, col) = (next, 0);
                }
                Step::End => {
                    if col >= cols {
                        self.starts.push(place.settled(view));
                    }
                    return valid;
                }
            }
        }
    }

    /// Row and column of the cursor in the whole text.
    fn find(&self, view: &View<'_>) -> (usize, usize) {
        let row = self.starts.partition_point(|start| start.order() <= (view.at, 0)).saturating_sub(1);
        let cols = self.size.cols.max(1);
        let mut place = self.starts.get(row).copied().unwrap_or(Place::START);
        let mut col = 0_usize;
        while place.settled(view).part != Part::Text(view.at) {
            let Step::Cell(cell, next) = place.step(view, cols) else { break };
            col = col.saturating_add(usize::from(cell.width));
            place = next;
        }
        (row, col.min(cols.saturating_sub(1)))
    }

    /// The cells of a row of the whole text.
    fn row(&self, row: usize, view: &View<'_>) -> Vec<Cell> {
        let Some(mut place) = self.starts.get(row).copied() else { return Vec::new() };
        let end = self.starts.get(row.saturating_add(1)).copied();
        let mut cells = Vec::new();
        while Some(place.settled(view)) != end {
            let Step::Cell(cell, next) = place.step(view, self.size.cols.max(1)) else { break };
            cells.push(cell);
            place = next;
        }
        cells
    }

    /// Draws what differs.
    fn draw(&mut self, rows: Vec<Vec<Cell>>, cursor: (usize, usize), out: &mut Vec<u8>) {
        let differ = rows.iter().enumerate().filter(|(index, row)| self.rows.get(*index) != Some(*row)).count();
        let shrinks = rows.len() < self.rows.len();
        let hide = differ > 1 || shrinks;
        let mut pen = Pen { out, at: self.cursor.0, col: Some(self.cursor.1), colours: self.colours };
        if hide {
            pen.put("\x1b[?25l");
        }
        for (index, row) in rows.iter().enumerate() {
            match self.rows.get(index) {
                Some(old) if old == row => {}
                old => pen.row(index, old.map_or(&[], Vec::as_slice), row),
            }
        }
        if shrinks {
            pen.go(rows.len(), 0);
            pen.put("\x1b[J");
        }
        pen.go(cursor.0, cursor.1);
        if hide {
            pen.put("\x1b[?25h");
        }
        (self.rows, self.cursor) = (rows, cursor);
    }

    /// Takes away what is drawn; the cursor stands where its first row began.
    pub fn erase(&mut self, out: &mut Vec<u8>) {
        let mut pen = Pen { out, at: self.cursor.0, col: None, colours: self.colours };
        if !self.rows.is_empty() {
            pen.go(0, 0);
            pen.put("\x1b[J");
        }
        *self = Self::new(self.size, self.colours);
    }

    /// Leaves what is drawn, and goes to the beginning of the row below it.
    pub fn leave(&mut self, out: &mut Vec<u8>) {
        let mut pen = Pen { out, at: self.cursor.0, col: Some(self.cursor.1), colours: self.colours };
        pen.go(self.rows.len().max(1), 0);
        *self = Self::new(self.size, self.colours);
    }

    /// The terminal has another size.
    ///
    /// What it made of the rows nobody knows: some break rows that are too long, some cut them. Never more is erased than
    /// what was drawn here; of a row that the terminal has broken, the beginning may stay.
    pub fn resize(&mut self, size: Size, out: &mut Vec<u8>) {
        self.erase(out);
        self.size = size;
    }

    /// Clears the whole screen.
    pub fn clear(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\x1b[1;1H\x1b[2J");
        *self = Self::new(self.size, self.colours);
    }
}

/// Writes, and knows where the terminal's cursor stands.
struct Pen<'o> {
    out: &'o mut Vec<u8>,
    /// The row, from the first that is drawn.
    at: usize,
    /// The column, unless terminals differ on it.
    col: Option<usize>,
    colours: bool,
}

impl Pen<'_> {
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn go(&mut self, row: usize, col: usize) {
        while self.at < row {
            self.put("\r\n");
            (self.at, self.col) = (self.at.saturating_add(1), Some(0));
        }
        if let Some(up) = self.at.checked_sub(row).filter(|up| *up > 0) {
            _ = write!(self.out, "\x1b[{up}A");
            self.at = row;
        }
        if self.col != Some(col) {
            match col {
                0 => self.put("\r"),
                _ => _ = write!(self.out, "\x1b[{}G", col.saturating_add(1)),
            }
            self.col = Some(col);
        }
    }

    /// Makes a row of what it was.
    fn row(&mut self, at: usize, old: &[Cell], new: &[Cell]) {
        let mut keep = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        // A mark is drawn together with what it stands on.
        while keep > 0 && [old, new].iter().any(|cells| cells.get(keep).is_some_and(|cell| cell.width == 0)) {
            keep = keep.saturating_sub(1);
        }
        let (kept, rest) = new.split_at_checked(keep).unwrap_or((new, &[]));
        let mut col = width(kept);
        self.go(at, col);
        let plain = rest.iter().all(|cell| cell.c.is_ascii());
        if !plain {
            self.put("\x1b[?7l");
        }
        let mut tone = Tone::Plain;
        for cell in rest {
            if cell.tone != tone && self.colours {
                self.put(sgr(cell.tone));
            }
            tone = cell.tone;
            if cell.width > 0 && cell.c.is_ascii() && self.col != Some(col) {
                _ = write!(self.out, "\x1b[{}G", col.saturating_add(1));
            }
            let mut bytes = [0; 4];
            self.put(cell.c.encode_utf8(&mut bytes));
            col = col.saturating_add(usize::from(cell.width));
            self.col = Some(col).filter(|_| cell.c.is_ascii());
        }
        if tone != Tone::Plain && self.colours {
            self.put(sgr(Tone::Plain));
        }
        if width(old) > col {
            self.go(at, col);
            self.put("\x1b[K");
        }
        if !plain {
            self.put("\x1b[?7h");
            self.col = None;
        }
    }
}

fn sgr(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "\x1b[0m",
        Tone::Bold => "\x1b[0;1m",
        Tone::Faint => "\x1b[0;2m",
        Tone::Red => "\x1b[0;31m",
        Tone::Green => "\x1b[0;32m",
        Tone::Yellow => "\x1b[0;33m",
        Tone::Cyan => "\x1b[0;36m",
    }
}

/// The cells of a prompt: those before the first row, and those before each further one.
pub fn prompt_cells(prompt: &Prompt) -> (Vec<Cell>, Vec<Cell>) {
    let first = prompt.parts.iter().flat_map(|(tone, text)| cells(text, *tone)).take(PROMPT_CELLS_MAX);
    let more = cells(&prompt.more, Tone::Faint).into_iter().take(PROMPT_CELLS_MAX).collect();
    (first.collect(), more)
}

/// A longer prompt is cut.
const PROMPT_CELLS_MAX: usize = 200;
