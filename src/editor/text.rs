//! The text that is being edited, and where the cursor stands in it.

use std::ops::Range;

use super::cells::is_mark;

/// So many changes can be taken back.
const UNDO_MAX: usize = 1000;
/// What was removed is kept up to so many bytes.
const UNDO_BYTES_MAX: usize = 1024 * 1024;
/// So many characters that were typed in a row are taken back at once.
const UNDO_RUN: usize = 20;

/// A text with a cursor, never longer than its bound.
#[derive(Debug, Clone)]
pub struct Text {
    text: String,
    // INVARIANT: on a border of characters.
    at: usize,
    bytes_max: usize,
    undo: Vec<Change>,
    undo_bytes: usize,
    /// The text before this byte is as it was when somebody asked last.
    same: usize,
}

/// A change that can be taken back.
#[derive(Debug, Clone)]
struct Change {
    /// Where it began.
    start: usize,
    /// What stood there.
    removed: String,
    /// How many bytes stand there instead.
    inserted: usize,
    /// Where the cursor stood.
    at: usize,
    /// How many characters were typed in a row; 0 if it is no typing.
    run: usize,
}

/// The text has no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Where words end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// At everything but letters and digits.
    Letters,
    /// At blanks.
    Blanks,
}

impl Text {
    /// An empty text.
    pub fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), at: 0, bytes_max, undo: Vec::new(), undo_bytes: 0, same: 0 }
    }

    /// Begins with this text, and the cursor at its beginning.
    pub fn load(&mut self, text: String) {
        *self = Self { text, ..Self::new(self.bytes_max) };
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the cursor stands, in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Up to where it is the same as at the last call.
    pub fn take_same(&mut self) -> usize {
        std::mem::replace(&mut self.same, self.text.len())
    }

    /// All of it, leaving none and nothing to take back.
    pub fn take(&mut self) -> String {
        let taken = std::mem::take(&mut self.text);
        *self = Self::new(self.bytes_max);
        taken
    }

    /// What stands before the cursor.
    pub fn before(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// What stands from the cursor on.
    pub fn behind(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Puts something in the place of a range, and the cursor behind it.
    ///
    /// # Errors
    /// `Full`: it has no room, and nothing is changed.
    pub fn replace(&mut self, range: Range<usize>, with: &str) -> Result<(), Full> {
        self.change(range, with, 0)
    }

    /// Types a character at the cursor.
    ///
    /// # Errors
    /// `Full`: it has no room.
    pub fn type_in(&mut self, c: char) -> Result<(), Full> {
        let mut bytes = [0; 4];
        self.change(self.at..self.at, c.encode_utf8(&mut bytes), 1)
    }

    /// Removes a range, and gives what stood there.
    pub fn remove(&mut self, range: Range<usize>) -> String {
        let removed = self.text.get(range.clone()).unwrap_or_default().to_owned();
        if !removed.is_empty() {
            // Nothing becomes longer by it.
            _ = self.change(range, "", 0);
        }
        removed
    }

    fn change(&mut self, range: Range<usize>, with: &str, run: usize) -> Result<(), Full> {
        let Some(removed) = self.text.get(range.clone()) else { return Ok(()) };
        if self.text.len().saturating_sub(removed.len()).saturating_add(with.len()) > self.bytes_max {
            return Err(Full);
        }
        let removed = removed.to_owned();
        let start = range.start;
        self.text.replace_range(range, with);
        self.same = self.same.min(start);
        let joins = run > 0
            && self.undo.last().is_some_and(|last| {
                (1..UNDO_RUN).contains(&last.run) && last.start.saturating_add(last.inserted) == start
            });
        match self.undo.last_mut() {
            Some(last) if joins => {
                last.inserted = last.inserted.saturating_add(with.len());
                last.run = last.run.saturating_add(run);
            }
            Some(_) | None => {
                self.undo_bytes = self.undo_bytes.saturating_add(removed.len());
                self.undo.push(Change { start, removed, inserted: with.len(), at: self.at, run });
            }
        }
        self.forget();
        self.at = start.saturating_add(with.len());
        Ok(())
    }

    /// Forgets the oldest changes, as far as there are too many.
    fn forget(&mut self) {
        if self.undo.len() <= UNDO_MAX && self.undo_bytes <= UNDO_BYTES_MAX {
            return;
        }
        // A tenth at once: taking the first out of a list moves all others.
        let drop = self.undo.len().div_ceil(10);
        for change in self.undo.drain(..drop) {
            self.undo_bytes = self.undo_bytes.saturating_sub(change.removed.len());
        }
    }

    /// Takes the last change back. `false`: there is none.
    pub fn undo(&mut self) -> bool {
        let Some(change) = self.undo.pop() else { return false };
        self.undo_bytes = self.undo_bytes.saturating_sub(change.removed.len());
        let end = change.start.saturating_add(change.inserted);
        if self.text.get(change.start..end).is_some() {
            self.text.replace_range(change.start..end, &change.removed);
        }
        self.same = self.same.min(change.start);
        self.move_to(change.at);
        true
    }

    /// Moves the cursor to a byte.
    pub fn move_to(&mut self, at: usize) {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        self.at = at;
    }

    /// Where the character before the cursor begins, with the marks on it.
    pub fn left(&self) -> usize {
        let mut at = self.at;
        for c in self.before().chars().rev() {
            at = at.saturating_sub(c.len_utf8());
            if !is_mark(c) {
                break;
            }
        }
        at
    }

    /// Where the character at the cursor ends, with the marks on it.
    pub fn right(&self) -> usize {
        let mut chars = self.behind().chars();
        let first = chars.next().map_or(0, char::len_utf8);
        let marks: usize = chars.take_while(|c| is_mark(*c)).map(char::len_utf8).sum();
        self.at.saturating_add(first).saturating_add(marks)
    }

    /// Where the word before the cursor begins.
    pub fn word_left(&self, words: Words) -> usize {
        let before = self.before().trim_end_matches(|c| !words.has(c));
        before.trim_end_matches(|c| words.has(c)).len()
    }

    /// Where the word at or behind the cursor ends.
    pub fn word_right(&self, words: Words) -> usize {
        let behind = self.behind().trim_start_matches(|c| !words.has(c));
        let rest = behind.trim_start_matches(|c| words.has(c));
        self.text.len().saturating_sub(rest.len())
    }

    /// Where the row of the text begins in which the cursor stands.
    pub fn row_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at.saturating_add(1))
    }

    /// Where it ends.
    pub fn row_end(&self) -> usize {
        self.behind().find('\n').map_or(self.text.len(), |more| self.at.saturating_add(more))
    }

    /// Moves the cursor to the row before, about as far from its beginning. `false`: there is none.
    pub fn up(&mut self) -> bool {
        let start = self.row_start();
        let Some(end) = start.checked_sub(1) else { return false };
        let column = self.text.get(start..self.at).unwrap_or_default().chars().count();
        let above = self.text.get(..end).unwrap_or_default();
        let above_start = above.rfind('\n').map_or(0, |at| at.saturating_add(1));
        self.move_in_row(above_start..end, column);
        true
    }

    /// Moves the cursor to the next row. `false`: there is none.
    pub fn down(&mut self) -> bool {
        let end = self.row_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text.get(self.row_start()..self.at).unwrap_or_default().chars().count();
        let start = end.saturating_add(1);
        let below = self.text.get(start..).unwrap_or_default();
        let below_end = below.find('\n').map_or(self.text.len(), |more| start.saturating_add(more));
        self.move_in_row(start..below_end, column);
        true
    }

    fn move_in_row(&mut self, row: Range<usize>, column: usize) {
        let text = self.text.get(row.clone()).unwrap_or_default();
        let within = text.char_indices().nth(column).map_or(text.len(), |(at, _)| at);
        self.at = row.start.saturating_add(within);
    }

    /// Exchanges the character before the cursor and the one at it; at the end of a row the two before it.
    pub fn transpose(&mut self) -> bool {
        let before = self.at;
        if self.at == self.row_end() {
            self.at = self.left();
        }
        let (start, middle, end) = (self.left(), self.at, self.right());
        let (first, second) = (self.text.get(start..middle), self.text.get(middle..end));
        let swapped = first.zip(second).filter(|(first, second)| {
            !first.is_empty() && !second.is_empty() && !first.contains('\n') && !second.contains('\n')
        });
        let Some(swapped) = swapped.map(|(first, second)| format!("{second}{first}")) else {
            self.at = before;
            return false;
        };
        self.change(start..end, &swapped, 0).is_ok()
    }
}

impl Words {
    fn has(self, c: char) -> bool {
        match self {
            Self::Letters => c.is_alphanumeric() || is_mark(c),
            Self::Blanks => !c.is_whitespace(),
        }
    }
}
