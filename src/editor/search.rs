//! Reverse search (Ctrl-R): the newest line of the history that has what is typed.

use super::History;

/// What is looked for has at most so many characters.
const QUERY_MAX: usize = 200;

/// A search that is under way.
#[derive(Debug, Default)]
pub struct Search {
    query: String,
    /// The line that was found, by its place in the history.
    found: Option<usize>,
    /// Whether nothing has what is typed; what was found before stays in sight.
    failed: bool,
    /// Whether the query has changed since.
    stale: bool,
    /// The line and its cursor from before the search.
    pub before: (String, usize),
}

/// Which way to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To older lines.
    Older,
    /// To newer ones.
    Newer,
}

impl Search {
    /// A search that begins in this line.
    pub fn new(before: (String, usize)) -> Self {
        Self { before, ..Self::default() }
    }

    /// What is looked for.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Whether nothing has it.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// A character more.
    pub fn push(&mut self, c: char) {
        if self.query.chars().count() < QUERY_MAX {
            self.query.push(c);
            // What nothing has, nothing has with a character more.
            self.stale = !self.failed;
        }
    }

    /// A character less.
    pub fn pop(&mut self) {
        if self.query.pop().is_some() {
            (self.found, self.stale) = (None, true);
        }
    }

    /// The next one. `false`: there is none.
    pub fn again(&mut self, history: &History, way: Way) -> bool {
        self.look(history);
        if self.query.is_empty() {
            return false;
        }
        let has = |at: &usize| history.get(*at).is_some_and(|line| line.contains(&self.query));
        let found = match (way, self.found) {
            (Way::Older, Some(at)) => (0..at).rev().find(has),
            (Way::Older, None) => None,
            (Way::Newer, at) => (at.map_or(history.len(), |at| at.saturating_add(1))..history.len()).find(has),
        };
        self.found = found.or(self.found);
        found.is_some()
    }

    /// What was found: the line, and where in it.
    pub fn look<'h>(&mut self, history: &'h History) -> Option<(&'h str, usize)> {
        if std::mem::take(&mut self.stale) {
            self.failed = false;
            let newest = self.found.map_or(history.len(), |at| at.saturating_add(1)).min(history.len());
            let has = |at: &usize| history.get(*at).is_some_and(|line| line.contains(&self.query));
            match (0..newest).rev().find(has) {
                _ if self.query.is_empty() => self.found = None,
                Some(at) => self.found = Some(at),
                None => self.failed = true,
            }
        }
        let line = history.get(self.found?)?;
        Some((line, line.find(&self.query).unwrap_or(line.len())))
    }
}
