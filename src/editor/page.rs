//! A small editor of whole files, on a screen of its own: bytes of the user become a text, and what their terminal is shown.
//!
//! Pure, as the line editor is. The text is kept to the byte: its line ends, its tabs, a last line without an end. What is no
//! text that can be shown so is refused before it is opened.
//!
//! What this does **not** guard against: a file that changes at its place meanwhile; who writes it back must look.

use std::fmt;

use super::Terminal;
use super::cells::{Seen, seen, spelled};
use super::keys::{Key, Keys};
use super::text::{Full, Text, Words};
use crate::screen::{ENTER, LEAVE, Sheet, Size};

/// A longer file is refused.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// A file with a longer line is refused: it would be laid out anew for each key.
pub const ROW_BYTES_MAX: usize = 64 * 1024;
const TAB: usize = 8;
/// What is looked for has at most so many characters.
const QUERY_MAX: usize = 200;
const KEYS: &str = "^S save  ^X leave  ^W find  ^K cut line  ^U put back  ^_ undo  ^C where";

/// Why a file cannot be edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPage {
    /// It is longer than [`FILE_BYTES_MAX`].
    TooLong,
    /// A line of it is longer than [`ROW_BYTES_MAX`].
    LongLine,
    /// It has bytes, the first of them here, that are not UTF-8.
    NoText(usize),
    /// The terminal has no cursor that could be moved.
    NoScreen,
}

/// What a user wants of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageAct {
    /// It is to be written, with this content. The answer is [`Page::saved`] or [`Page::not_saved`].
    Save {
        /// All of it.
        text: String,
        /// Whether the user leaves once it is written.
        leave: bool,
    },
    /// The editor is to be left, with nothing to be written.
    Leave,
}

/// What became of bytes of the user.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageFed {
    /// For the user's terminal.
    pub show: Vec<u8>,
    /// What is to be done; the rest of the bytes waits for it.
    pub act: Option<PageAct>,
    /// So many of the bytes were taken.
    pub taken: usize,
}

/// A file that is being edited.
#[derive(Debug)]
pub struct Page {
    name: String,
    text: Text,
    /// What is at the file's place.
    kept: String,
    /// Whether every line ends in CR LF, of which the text then has no CR.
    crlf: bool,
    keys: Keys,
    size: Size,
    sheet: Sheet,
    /// The byte at which the first row begins that is shown.
    top: usize,
    asks: Asks,
    query: String,
    cut: String,
    /// Whether the last key cut a line: the next one that does adds to it.
    cutting: bool,
    paste: Paste,
    told: String,
}

/// What the last row asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asks {
    Nothing,
    Query(String),
    WhetherToSave,
}

#[derive(Debug, Default)]
struct Paste {
    text: String,
    bytes: usize,
    unreadable: bool,
}

impl Page {
    /// Opens a file's content.
    ///
    /// # Errors
    /// `NoPage` if it cannot be shown and kept as it is.
    pub fn open(name: &str, content: &[u8], terminal: Terminal, size: Size) -> Result<Self, NoPage> {
        match terminal {
            Terminal::Full { .. } => {}
            Terminal::None | Terminal::Dumb => return Err(NoPage::NoScreen),
        }
        if content.len() > FILE_BYTES_MAX {
            return Err(NoPage::TooLong);
        }
        let kept = std::str::from_utf8(content).map_err(|error| NoPage::NoText(error.valid_up_to()))?;
        if kept.split('\n').any(|row| row.len() > ROW_BYTES_MAX) {
            return Err(NoPage::LongLine);
        }
        // A file in which some lines end so and some do not is shown with its CRs.
        let ends = kept.matches('\n').count();
        let crlf = ends > 0 && kept.matches("\r\n").count() == ends && kept.matches('\r').count() == ends;
        let mut text = Text::new(FILE_BYTES_MAX);
        let shown = if crlf { kept.replace("\r\n", "\n") } else { kept.to_owned() };
        text.load(shown);
        Ok(Self {
            name: super::cells::safe(name),
            text,
            kept: kept.to_owned(),
            crlf,
            keys: Keys::default(),
            size,
            sheet: Sheet::default(),
            top: 0,
            asks: Asks::Nothing,
            query: String::new(),
            cut: String::new(),
            cutting: false,
            paste: Paste::default(),
            told: String::new(),
        })
    }

    /// Shows it: the terminal's other screen, and pastes marked.
    pub fn begin(&mut self) -> Vec<u8> {
        let mut out = format!("{ENTER}\x1b[?2004h").into_bytes();
        self.sheet = Sheet::default();
        self.draw(&mut out);
        out
    }

    /// Gives the terminal back as it was.
    pub fn leave(&mut self) -> Vec<u8> {
        format!("\x1b[?2004l{LEAVE}").into_bytes()
    }

    /// Takes bytes of the user, up to the one that wants something done.
    pub fn feed(&mut self, bytes: &[u8]) -> PageFed {
        let mut fed = PageFed::default();
        for byte in bytes {
            fed.taken = fed.taken.saturating_add(1);
            for key in self.keys.byte(*byte).into_iter().flatten() {
                fed.act = self.press(key).or(fed.act);
            }
            if fed.act.is_some() {
                break;
            }
        }
        self.draw(&mut fed.show);
        fed
    }

    /// As of the line editor: `settle` is due if nothing comes for a while.
    pub fn waits(&self) -> bool {
        self.keys.waits()
    }

    /// Nothing came for a while.
    pub fn settle(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(key) = self.keys.settle() {
            // An Escape wants nothing done.
            _ = self.press(key);
            self.draw(&mut out);
        }
        out
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: Size) -> Vec<u8> {
        let mut out = Vec::new();
        (self.size, self.sheet) = (size, Sheet::default());
        self.draw(&mut out);
        out
    }

    /// It was written as it is.
    pub fn saved(&mut self) -> Vec<u8> {
        self.kept = self.content();
        self.tell("written")
    }

    /// It was not written, and why. Nothing of it is lost.
    pub fn not_saved(&mut self, why: &str) -> Vec<u8> {
        self.tell(&format!("NOT written: {why}"))
    }

    /// All of it, as it would be written.
    pub fn content(&self) -> String {
        if self.crlf { self.text.as_str().replace('\n', "\r\n") } else { self.text.as_str().to_owned() }
    }

    /// Whether it differs from what is at the file's place.
    pub fn is_changed(&self) -> bool {
        if self.crlf { self.content() != self.kept } else { self.text.as_str() != self.kept }
    }

    fn tell(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        self.told = super::cells::safe(text);
        self.draw(&mut out);
        out
    }
}

/// Keys.
impl Page {
    fn press(&mut self, key: Key) -> Option<PageAct> {
        if self.take_paste(key) {
            return None;
        }
        self.told.clear();
        match std::mem::replace(&mut self.asks, Asks::Nothing) {
            Asks::Nothing => self.press_in_text(key),
            Asks::Query(query) => {
                self.press_in_query(key, query);
                None
            }
            Asks::WhetherToSave => self.press_in_question(key),
        }
    }

    fn press_in_text(&mut self, key: Key) -> Option<PageAct> {
        let cutting = std::mem::take(&mut self.cutting);
        if key == Key::Ctrl('s') || key == Key::Ctrl('o') {
            return Some(PageAct::Save { text: self.content(), leave: false });
        }
        if key == Key::Ctrl('x') {
            if !self.is_changed() {
                return Some(PageAct::Leave);
            }
            self.asks = Asks::WhetherToSave;
        } else if key == Key::Ctrl('w') || key == Key::Ctrl('f') {
            self.asks = Asks::Query(String::new());
        } else if key == Key::Ctrl('k') {
            self.cut_row(cutting);
        } else if key == Key::Ctrl('l') {
            self.sheet = Sheet::default();
        } else {
            self.edit(key);
        }
        None
    }

    fn edit(&mut self, key: Key) {
        let (at, end) = (self.text.at(), self.text.as_str().len());
        match key {
            Key::Char(c) => self.type_in(c),
            Key::Enter | Key::Alt('\r') => self.type_in('\n'),
            Key::Tab => self.type_in('\t'),
            Key::Left | Key::Ctrl('b') => self.text.move_to(self.text.left()),
            Key::Right => self.text.move_to(self.text.right()),
            Key::WordLeft | Key::Alt('b') => self.text.move_to(self.text.word_left(Words::Letters)),
            Key::WordRight | Key::Alt('f') => self.text.move_to(self.text.word_right(Words::Letters)),
            Key::Home | Key::Ctrl('a') => self.text.move_to(self.text.row_start()),
            Key::End | Key::Ctrl('e') => self.text.move_to(self.text.row_end()),
            Key::First | Key::Alt('<') => self.text.move_to(0),
            Key::Last | Key::Alt('>') => self.text.move_to(end),
            Key::Up | Key::Ctrl('p') => _ = self.text.up(),
            Key::Down | Key::Ctrl('n') => _ = self.text.down(),
            Key::PageUp | Key::Ctrl('y') => (0..self.height()).for_each(|_| _ = self.text.up()),
            Key::PageDown | Key::Ctrl('v') => (0..self.height()).for_each(|_| _ = self.text.down()),
            Key::Backspace => drop(self.text.remove(self.text.left()..at)),
            Key::Delete | Key::Ctrl('d') => drop(self.text.remove(at..self.text.right())),
            Key::EraseWord => drop(self.text.remove(self.text.word_left(Words::Letters)..at)),
            Key::DeleteWord | Key::Alt('d') => drop(self.text.remove(at..self.text.word_right(Words::Letters))),
            Key::Ctrl('u') => {
                let cut = std::mem::take(&mut self.cut);
                self.insert(&cut);
                self.cut = cut;
            }
            Key::Ctrl('_' | 'z') => {
                if !self.text.undo() {
                    self.told = String::from("nothing more to undo");
                }
            }
            Key::Ctrl('c') => {
                let row = self.text.before().matches('\n').count().saturating_add(1);
                let rows = self.text.as_str().matches('\n').count().saturating_add(1);
                self.told = format!("row {row} of {rows}, byte {at} of {end}");
            }
            Key::Unreadable => self.told = String::from("that was no UTF-8, and was left out"),
            Key::Ctrl(_) | Key::Alt(_) | Key::BackTab | Key::Insert | Key::Escape => {}
            Key::Pasted(_) | Key::PasteBegins | Key::PasteEnds => {}
        }
    }

    fn type_in(&mut self, c: char) {
        if self.text.type_in(c) == Err(Full) {
            self.told = String::from("the file is full: 1 MiB");
        }
    }

    fn insert(&mut self, text: &str) {
        let at = self.text.at();
        if self.text.replace(at..at, text) == Err(Full) {
            self.told = String::from("it does not fit: a file has at most 1 MiB");
        }
    }

    /// Cuts the row in which the cursor stands, with its end.
    fn cut_row(&mut self, more: bool) {
        let end = self.text.row_end();
        let end = if end < self.text.as_str().len() { end.saturating_add(1) } else { end };
        let cut = self.text.remove(self.text.row_start()..end);
        if more {
            self.cut.push_str(&cut);
        } else {
            self.cut = cut;
        }
        // The text was no longer than this before anything was cut.
        self.cutting = self.cut.len() <= FILE_BYTES_MAX;
    }

    fn press_in_query(&mut self, key: Key, mut query: String) {
        if let Key::Char(c) = key {
            if query.chars().count() < QUERY_MAX {
                query.push(c);
            }
        } else if key == Key::Backspace {
            query.pop();
        } else if key == Key::Enter {
            if !query.is_empty() {
                self.query = query;
            }
            return self.find();
        } else if key == Key::Ctrl('c') || key == Key::Ctrl('g') || key == Key::Escape || key == Key::Ctrl('x') {
            return;
        }
        self.asks = Asks::Query(query);
    }

    /// Goes to where the query stands next, from the beginning again behind the end.
    fn find(&mut self) {
        if self.query.is_empty() {
            return;
        }
        let from = self.text.right();
        let behind = self.text.as_str().get(from..).and_then(|text| text.find(&self.query));
        match behind.map(|more| from.saturating_add(more)).or_else(|| self.text.as_str().find(&self.query)) {
            Some(at) => {
                self.text.move_to(at);
                if behind.is_none() {
                    self.told = String::from("found from the beginning on");
                }
            }
            None => self.told = format!("not found: {}", super::cells::safe(&self.query)),
        }
    }

    fn press_in_question(&mut self, key: Key) -> Option<PageAct> {
        if let Key::Char('y' | 'Y') = key {
            return Some(PageAct::Save { text: self.content(), leave: true });
        }
        if let Key::Char('n' | 'N') = key {
            return Some(PageAct::Leave);
        }
        if key != Key::Ctrl('c') && key != Key::Escape && key != Key::Ctrl('g') {
            self.asks = Asks::WhetherToSave;
        }
        None
    }

    fn take_paste(&mut self, key: Key) -> bool {
        if let Key::Pasted(c) = key {
            self.paste.bytes = self.paste.bytes.saturating_add(c.len_utf8());
            if self.paste.bytes <= FILE_BYTES_MAX {
                self.paste.text.push(c);
            }
        } else if key == Key::PasteBegins {
            self.paste = Paste::default();
        } else if key == Key::Unreadable && self.keys.pastes() {
            self.paste.unreadable = true;
        } else if key == Key::PasteEnds {
            let Paste { text, bytes, unreadable } = std::mem::take(&mut self.paste);
            self.told.clear();
            if unreadable {
                self.told = String::from("nothing was pasted: it has control characters, or is not UTF-8");
            } else if bytes > text.len() {
                self.told = String::from("nothing was pasted: a file has at most 1 MiB");
            } else if let Asks::Query(query) = &mut self.asks {
                let room = QUERY_MAX.saturating_sub(query.chars().count());
                query.extend(text.chars().filter(|c| *c != '\n').take(room));
            } else if self.asks == Asks::Nothing {
                self.insert(&text);
            }
        } else {
            return false;
        }
        true
    }
}

/// Drawing.
impl Page {
    /// How many rows of the text are shown.
    fn height(&self) -> usize {
        match self.size.rows {
            rows @ 0..=2 => rows.max(1),
            rows @ 3..=5 => rows.saturating_sub(1),
            rows => rows.saturating_sub(3),
        }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        self.scroll();
        let (cols, height) = (self.size.cols.max(1), self.height());
        let start = self.text.row_start();
        let mut rows = Vec::new();
        let mut cursor = None;
        let tall = self.size.rows > 5;
        if tall {
            let changed = if self.is_changed() { " (changed)" } else { "" };
            let ends = if self.crlf { ", lines end in CR LF" } else { "" };
            rows.push(bar(&format!(" {}{changed}{ends}", self.name), cols));
        }
        let mut at = self.top;
        let mut lines = self.text.as_str().get(at..).unwrap_or_default().split('\n');
        for _ in 0..height {
            let Some(line) = lines.next() else {
                rows.push(String::new());
                continue;
            };
            let own = at == start;
            let row = Row::of(line, own.then(|| self.text.at().saturating_sub(start)), cols);
            if own {
                cursor = Some((row.cursor, rows.len()));
            }
            rows.push(row.text);
            at = at.saturating_add(line.len()).saturating_add(1);
        }
        let (told, asked) = match &self.asks {
            Asks::Nothing => (self.told.clone(), false),
            Asks::Query(query) if query.is_empty() && !self.query.is_empty() => {
                (format!("find (Enter: {}): ", super::cells::safe(&self.query)), true)
            }
            Asks::Query(query) => (format!("find: {}", super::cells::safe(query)), true),
            Asks::WhetherToSave => (String::from("write the changes? y yes, n no, ^C stay"), true),
        };
        let told_row = cut(&told, cols);
        if self.size.rows > 2 {
            if asked {
                cursor = Some((super::cells::width(&super::cells::cells(&told_row, super::Tone::Plain)), rows.len()));
            }
            rows.push(told_row);
        } else if !told.is_empty() {
            // No room beside the text.
            rows.pop();
            rows.push(told_row);
        }
        if tall {
            rows.push(bar(KEYS, cols));
        }
        let cursor = cursor.map(|(col, row): (usize, usize)| (col.min(cols.saturating_sub(1)), row));
        let mut drawn = String::new();
        self.sheet.draw(rows, cursor, &mut drawn);
        out.extend_from_slice(drawn.as_bytes());
    }

    /// Sees to it that the cursor's row is among those that are shown.
    fn scroll(&mut self) {
        let start = self.text.row_start();
        let text = self.text.as_str();
        let begins = self.top == 0 || text.get(..self.top).is_some_and(|before| before.ends_with('\n'));
        let above = text.get(self.top..start).filter(|_| begins).map(|between| between.matches('\n').count());
        if above.is_some_and(|above| above < self.height()) {
            return;
        }
        // The cursor's row comes to the middle; one row further it comes to the edge.
        let next = above == Some(self.height());
        let back = if next { self.height().saturating_sub(1) } else { self.height() / 2 };
        let mut top = start;
        for _ in 0..back {
            let Some(end) = top.checked_sub(1) else { break };
            top = text.get(..end).and_then(|before| before.rfind('\n')).map_or(0, |at| at.saturating_add(1));
        }
        self.top = top;
    }
}

/// A row of the text as it is drawn, and the column of the cursor in it.
struct Row {
    text: String,
    cursor: usize,
}

impl Row {
    /// `at` is the cursor's byte, if it stands in this row: the row then begins where it can be seen.
    fn of(line: &str, at: Option<usize>, cols: usize) -> Self {
        let column = |to: usize| {
            let mut walk = Walk::default();
            line.char_indices().take_while(|(byte, _)| *byte < to).for_each(|(_, c)| drop(walk.step(c)));
            walk.col
        };
        let wanted = at.map_or(0, column);
        // Two thirds of a window at once, so that not every key moves the row.
        let step = (cols * 2 / 3).max(1);
        let left = if wanted < cols { 0 } else { wanted.saturating_sub(cols) / step * step + step };
        let left = left.min(wanted);
        let mut row = Self { text: String::new(), cursor: wanted.saturating_sub(left) };
        let mut walk = Walk::default();
        let mut known = true;
        for c in line.chars() {
            let before = walk.col;
            if before >= left.saturating_add(cols) {
                break;
            }
            let (shown, plain) = walk.step(c);
            // What is cut by an edge is blank there.
            let whole = before >= left && walk.col <= left.saturating_add(cols);
            let marks = walk.col == before;
            if plain && whole {
                if !marks && c.is_ascii() && !known {
                    row.text.push_str(&format!("\x1b[{}G", before.saturating_sub(left).saturating_add(1)));
                }
                known = c.is_ascii();
                row.text.push_str(&shown);
            } else {
                let first = left.saturating_sub(before);
                let last = left.saturating_add(cols).saturating_sub(before);
                let cells: String = shown.chars().take(last).skip(first).collect();
                if cells.is_empty() {
                    continue;
                }
                if !known {
                    row.text.push_str(&format!("\x1b[{}G", before.max(left).saturating_sub(left).saturating_add(1)));
                    known = true;
                }
                let wide = plain && !marks;
                row.text.push_str(if wide { " " } else { &cells });
            }
        }
        row
    }
}

/// Goes through a row, and knows the column.
#[derive(Default)]
struct Walk {
    col: usize,
    marks: Option<u8>,
}

impl Walk {
    /// What is shown of the next character, and whether it is the character itself.
    fn step(&mut self, c: char) -> (String, bool) {
        if c == '\t' {
            let blanks = TAB.saturating_sub(self.col % TAB);
            self.col = self.col.saturating_add(blanks);
            self.marks = None;
            return (" ".repeat(blanks), false);
        }
        match seen(c, self.marks) {
            Seen::Plain(width) => {
                self.col = self.col.saturating_add(usize::from(width));
                self.marks = Some(0);
                (c.to_string(), true)
            }
            Seen::Mark => {
                self.marks = self.marks.map(|marks| marks.saturating_add(1));
                (c.to_string(), true)
            }
            Seen::Spelled => {
                let text: String = (0..).map_while(|at| spelled(c, at)).collect();
                self.col = self.col.saturating_add(text.len());
                self.marks = None;
                (text, false)
            }
        }
    }
}

/// As much of a text as fits into a row.
fn cut(text: &str, cols: usize) -> String {
    let mut width = 0_usize;
    let cells = super::cells::cells(text, super::Tone::Plain);
    let fits = cells.into_iter().take_while(|cell| {
        width = width.saturating_add(usize::from(cell.width));
        width <= cols
    });
    fits.map(|cell| cell.c).collect()
}

fn bar(text: &str, cols: usize) -> String {
    format!("\x1b[7m{}\x1b[0m", cut(text, cols))
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("it has more than 1 MiB"),
            Self::LongLine => f.write_str("a line of it has more than 64 KiB"),
            Self::NoText(at) => write!(f, "it is no text in UTF-8: byte {at} is not"),
            Self::NoScreen => f.write_str("this terminal cannot move its cursor"),
        }
    }
}

impl std::error::Error for NoPage {}

#[cfg(test)]
mod tests;
