//! The line editor.

use super::{Completer, Fed, History, Prompt, Terminal};
use crate::screen::Size;

/// A line editor on one channel.
#[derive(Debug)]
pub struct Editor {
    history: History,
    text: String,
}

impl Editor {
    /// An editor for a terminal of this kind and size. No line is being edited until [`Self::begin`].
    pub fn new(_terminal: Terminal, _size: Size, history: History) -> Self {
        Self { history, text: String::new() }
    }

    /// Begins a line: what the terminal is shown.
    pub fn begin(&mut self, _prompt: Prompt) -> Vec<u8> {
        Vec::new()
    }

    /// Takes bytes of the user, up to the one that wants something done. Between that and [`Self::begin`] none are taken.
    pub fn feed(&mut self, _bytes: &[u8], _completer: &dyn Completer) -> Fed {
        Fed::default()
    }

    /// Whether something more may come that belongs to what came last: [`Self::settle`] is wanted if it does not come for a
    /// while (400 ms).
    pub fn waits(&self) -> bool {
        false
    }

    /// Nothing came for a while: what the terminal is shown.
    pub fn settle(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// The user's side has closed its input: the last line, if it had no end (without a terminal), or the end.
    pub fn end(&mut self) -> Fed {
        Fed::default()
    }

    /// The terminal has another size now: what it is shown.
    pub fn resize(&mut self, _size: Size) -> Vec<u8> {
        Vec::new()
    }

    /// Shows lines above the one that is being edited, or where the cursor stands if none is. Nothing in them steers the
    /// terminal.
    pub fn notice(&mut self, _text: &str) -> Vec<u8> {
        Vec::new()
    }

    /// Leaves the line that is being edited, for a session that ends: the cursor stands at the beginning of a free row.
    pub fn leave(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// The line that is being edited.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Lines that were run before.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The same, to be changed.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }
}
