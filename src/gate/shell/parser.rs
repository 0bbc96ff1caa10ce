//! Where the parser stands in the text, how deep it is, and how much it may still take in.

use std::collections::VecDeque;
use std::ops::Range;

use super::redirection::Pending;
use super::tree::{NotUnderstood, Script};
use super::word::Word;

/// Nesting of any kind beyond this is not understood: nobody reads it, and the stack stays small.
const DEPTH_MAX: u32 = 16;

/// Words, parts of words and commands that one line may have: with it a line takes little memory and time, whatever it is.
const PIECES_MAX: u32 = 6_000;

/// A parser of one text: the line, or what stands in backquotes in it.
pub(super) struct Parser<'a> {
    /// What is read.
    pub(super) text: &'a str,
    /// Where the next byte is read. INVARIANT: on a border of characters.
    pub(super) pos: usize,
    /// Where the text stands in the line.
    base: Base,
    /// How many constructs are open.
    depth: u32,
    /// How many pieces may still come.
    pieces: u32,
    /// Whether the text is that of a substitution.
    pub(super) substituted: bool,
    /// Here-documents whose text begins after the next line end.
    pub(super) pending: Vec<Pending>,
    /// Texts of here-documents, in the order of their operators.
    pub(super) bodies: VecDeque<Word>,
    /// A bracket that opens before this place is not closed by plain characters.
    pub(super) unclosed_until: usize,
}

/// Where a text stands in the line.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// As it is, from this byte on.
    From(usize),
    /// Not as it is: backslashes or tabs were taken out. All of it has this place.
    Whole(Range<usize>),
}

impl<'a> Parser<'a> {
    /// A parser of a whole line.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            base: Base::From(0),
            depth: 0,
            pieces: PIECES_MAX,
            substituted: false,
            pending: Vec::new(),
            bodies: VecDeque::new(),
            unclosed_until: 0,
        }
    }

    /// Lets `read` read a text that stands in this one, one level deeper.
    pub(super) fn within<T>(
        &mut self,
        text: &str,
        base: Base,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, NotUnderstood>,
    ) -> Result<T, NotUnderstood> {
        self.nested(|outer| {
            let mut inner =
                Parser { base, depth: outer.depth, pieces: outer.pieces, substituted: true, ..Parser::new(text) };
            let done = read(&mut inner)?;
            outer.pieces = inner.pieces;
            Ok(done)
        })
    }

    /// Where a range of this text stands in the line.
    pub(super) fn at(&self, start: usize, end: usize) -> Range<usize> {
        match &self.base {
            Base::From(first) => first.saturating_add(start)..first.saturating_add(end),
            Base::Whole(place) => place.clone(),
        }
    }

    /// The place of a range of this text, to read it with a parser of its own.
    pub(super) fn base(&self, start: usize, end: usize, as_it_is: bool) -> Base {
        match &self.base {
            Base::From(_) if as_it_is => Base::From(self.at(start, end).start),
            Base::From(_) | Base::Whole(_) => Base::Whole(self.at(start, end)),
        }
    }

    /// A refusal of what stands at `pos`.
    pub(super) fn refuse<T>(&self, reason: &'static str) -> Result<T, NotUnderstood> {
        self.refuse_at(self.pos, reason)
    }

    /// A refusal of what stands at `at` in this text.
    pub(super) fn refuse_at<T>(&self, at: usize, reason: &'static str) -> Result<T, NotUnderstood> {
        Err(NotUnderstood { at: self.at(at, at).start, reason })
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    /// A byte further on.
    pub(super) fn peek_at(&self, further: usize) -> Option<u8> {
        self.text.as_bytes().get(self.pos.checked_add(further)?).copied()
    }

    /// Whether this text comes next.
    pub(super) fn sees(&self, text: &str) -> bool {
        self.text.as_bytes().get(self.pos..).is_some_and(|rest| rest.starts_with(text.as_bytes()))
    }

    /// Steps over this text, if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let sees = self.sees(text);
        if sees {
            self.pos = self.pos.saturating_add(text.len());
        }
        sees
    }

    /// Steps over `count` bytes of ASCII that were looked at.
    pub(super) fn skip(&mut self, count: usize) {
        self.pos = self.pos.saturating_add(count).min(self.text.len());
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.pos).unwrap_or_default()
    }

    /// Steps over bytes for which `is` holds; those above ASCII must come in whole characters.
    pub(super) fn run(&mut self, is: impl Fn(u8) -> bool) -> &'a str {
        let start = self.pos;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        self.pos = start.saturating_add(rest.iter().position(|&b| !is(b)).unwrap_or(rest.len()));
        self.since(start)
    }

    /// The next character, stepped over.
    pub(super) fn take(&mut self) -> Option<char> {
        let c = self.text.get(self.pos..)?.chars().next()?;
        self.pos = self.pos.saturating_add(c.len_utf8());
        Some(c)
    }

    /// Reads something that is nested in what is being read.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, NotUnderstood>,
    ) -> Result<T, NotUnderstood> {
        if self.depth >= DEPTH_MAX {
            return self.refuse("nesting deeper than 16");
        }
        self.depth = self.depth.saturating_add(1);
        let done = read(self)?;
        self.depth = self.depth.saturating_sub(1);
        Ok(done)
    }

    /// Counts a word, a part of one, or a command, which takes as much as three of them.
    pub(super) fn count(&mut self, pieces: u32) -> Result<(), NotUnderstood> {
        match self.pieces.checked_sub(pieces) {
            Some(left) => self.pieces = left,
            None => return self.refuse("more than 6,000 words and parts"),
        }
        Ok(())
    }

    /// Reads a script in a substitution, up to the `)` after it. Its here-documents end in it.
    pub(super) fn substitution(&mut self) -> Result<Script, NotUnderstood> {
        self.nested(|p| {
            let (pending, bodies) = (std::mem::take(&mut p.pending), std::mem::take(&mut p.bodies));
            let outer = std::mem::replace(&mut p.substituted, true);
            let script = p.whole(super::commands::Until::Paren)?;
            if !p.eat(")") {
                return p.refuse("a parenthesis that is not closed");
            }
            (p.pending, p.bodies, p.substituted) = (pending, bodies, outer);
            Ok(script)
        })
    }
}
