//! Lines that were typed before.

use std::collections::VecDeque;

/// So many lines are kept.
const LINES_MAX: usize = 1000;
/// They have no more bytes than this together.
const BYTES_MAX: usize = 256 * 1024;

/// Lines that were typed before, the oldest first. Bounded: older ones make room.
#[derive(Debug, Clone, Default)]
pub struct History {
    lines: VecDeque<String>,
    // INVARIANT: the sum of their lengths.
    bytes: usize,
}

impl History {
    /// With these lines, the oldest first.
    pub fn of(lines: impl IntoIterator<Item = String>) -> Self {
        let mut history = Self::default();
        for line in lines {
            history.push(&line);
        }
        history
    }

    /// Takes a line in, unless it is blank or the same as the last one.
    pub fn push(&mut self, line: &str) {
        if line.trim().is_empty() || line.len() > BYTES_MAX || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        self.bytes = self.bytes.saturating_add(line.len());
        self.lines.push_back(line.to_owned());
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.len());
        }
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines, the oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(String::as_str)
    }

    /// A line by its place; the oldest has 0.
    pub fn get(&self, at: usize) -> Option<&str> {
        self.lines.get(at).map(String::as_str)
    }
}
