//! How words are read: quotes, backslashes, patterns, and where a word ends (XCU 2.2, 2.6.1, 2.13).

use super::parser::Parser;
use super::text;
use super::tree::NotUnderstood;
use super::word::{Dynamic, Part, Word};

/// What is being read: the same character means different things in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A word, up to a blank or an operator.
    Word,
    /// As a word, between the braces of `{a,b}`: a comma ends it, too.
    Brace,
    /// What `=~` compares with: as a word, with parentheses.
    Pattern,
    /// Between double quotes.
    Quoted,
    /// After the operator of `${name:-word}`, up to the brace.
    Operand,
    /// The same between double quotes, or in a here-document.
    QuotedOperand,
    /// An index of an array, up to the bracket.
    Index,
    /// The text of a here-document.
    Body,
}

impl Mode {
    /// Whether blanks and operators end it.
    fn is_bare(self) -> bool {
        matches!(self, Self::Word | Self::Brace | Self::Pattern)
    }

    /// Whether everything but `$`, a backquote and some backslashes stands for itself.
    pub(super) fn is_quoted(self) -> bool {
        matches!(self, Self::Quoted | Self::QuotedOperand | Self::Body)
    }
}

/// A word, and how it was written.
pub(super) struct Read {
    /// The word.
    pub(super) word: Word,
    /// Whether there are quotes or backslashes in it: reserved words must be written without.
    pub(super) quoted: bool,
}

/// Bytes that mean nothing to a shell wherever they stand in a word. Characters above ASCII are among them: blanks of
/// other scripts are looked for afterwards.
fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'_' | b'-' | b'.' | b'/' | b':' | b'@' | b'%' | b'+' | b'^' | b'!' | 0x80..)
}

/// Bytes that stand for themselves between double quotes.
fn is_quoted_plain(b: u8) -> bool {
    !matches!(b, b'"' | b'\\' | b'$' | b'`' | b'\'' | b'}' | b'(' | b'<' | b'>')
}

impl Parser<'_> {
    /// Reads a word. The caller has seen that one begins here.
    pub(super) fn word(&mut self) -> Result<Read, NotUnderstood> {
        self.word_as(Mode::Word)
    }

    /// Reads a word, or what `=~` compares with.
    pub(super) fn word_as(&mut self, mode: Mode) -> Result<Read, NotUnderstood> {
        self.count(1)?;
        let start = self.pos;
        let mut parts = Vec::with_capacity(1);
        self.parts(mode, &mut parts)?;
        let raw = self.since(start);
        if raw.is_empty() {
            return self.refuse("a word is missing");
        }
        // Where the text of a here-document begins then, shells do not agree.
        if !self.pending.is_empty() && raw.contains('\n') {
            return self.refuse_at(start, "a word over several lines before the text of a here-document");
        }
        let quoted = raw.contains(['\'', '"', '\\']);
        Ok(Read { word: Word { parts, at: self.at(start, self.pos) }, quoted })
    }

    /// Reads parts up to what ends them in this mode, which is not stepped over.
    pub(super) fn parts(&mut self, mode: Mode, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let start = self.pos;
        let (mut parentheses, mut equals) = (0_u32, false);
        while let Some(b) = self.peek() {
            match b {
                b if is_plain(b) => self.plain(mode, into)?,
                b'$' => self.dollar(mode, into)?,
                b'`' => self.backquoted(mode, into)?,
                b'\\' => {
                    if self.backslash(mode, into)? {
                        return Ok(());
                    }
                }
                b'\'' | b'"' => {
                    if self.quote(b, mode, into)? {
                        return Ok(());
                    }
                }
                // From here on: characters that stand for themselves between double quotes.
                b'}' if mode == Mode::QuotedOperand => return Ok(()),
                b'(' if mode == Mode::QuotedOperand => {
                    return self.refuse("a parenthesis in the braces of a parameter");
                }
                b'<' | b'>' if mode == Mode::QuotedOperand && self.peek_at(1) == Some(b'(') => {
                    return self.refuse("a parenthesis in the braces of a parameter");
                }
                _ if mode.is_quoted() => self.literal(into)?,
                b'*' | b'?' => {
                    self.count(1)?;
                    push_glob(into, self.run(|b| matches!(b, b'*' | b'?')));
                }
                b'[' => self.bracket(mode, start, into)?,
                b']' if mode == Mode::Index => return Ok(()),
                b'~' => self.tilde(mode, start, equals, into)?,
                b'=' => {
                    equals = true;
                    self.equals(mode, start, into)?;
                }
                b',' | b'}' if mode == Mode::Brace => return Ok(()),
                b'}' if mode == Mode::Operand => return Ok(()),
                b'{' | b'}' if matches!(mode, Mode::Operand | Mode::Index) => {
                    return self.refuse("a brace in the braces of a parameter");
                }
                b'{' => self.braces(into)?,
                // zsh ends a group by it wherever it stands.
                b'}' if self.pos == start => return self.refuse("a closing brace where an argument stands"),
                b'(' if mode == Mode::Pattern => {
                    parentheses = parentheses.saturating_add(1);
                    self.literal(into)?;
                }
                b')' if mode == Mode::Pattern && parentheses > 0 => {
                    parentheses = parentheses.saturating_sub(1);
                    self.literal(into)?;
                }
                b'|' if mode == Mode::Pattern && parentheses > 0 => self.literal(into)?,
                b'(' | b')' if matches!(mode, Mode::Operand | Mode::Index) => {
                    return self.refuse("a parenthesis in the braces of a parameter");
                }
                b'<' | b'>' if mode == Mode::Word && self.pos == start && self.peek_at(1) == Some(b'(') => {
                    self.count(1)?;
                    self.skip(2);
                    into.push(Part::Dynamic(Dynamic::Process(self.substitution()?)));
                }
                b'<' | b'>' if self.peek_at(1) == Some(b'(') => {
                    return self.refuse("a process substitution inside a word");
                }
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => match mode {
                    Mode::Word | Mode::Brace | Mode::Pattern => return Ok(()),
                    Mode::Index => return self.refuse("a blank or an operator in the index of an array"),
                    Mode::Operand | Mode::Quoted | Mode::QuotedOperand | Mode::Body => self.literal(into)?,
                },
                _ => self.literal(into)?,
            }
        }
        Ok(())
    }

    /// A run of characters that stand for themselves.
    fn plain(&mut self, mode: Mode, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let start = self.pos;
        let text = if mode.is_quoted() { self.run(is_quoted_plain) } else { self.run(is_plain) };
        // yash takes them for blanks, other shells do not; a person cannot see which.
        if mode.is_bare() && !text.is_ascii() && text.chars().any(text::is_odd_blank) {
            return self.refuse_at(start, "a blank that is none in ASCII");
        }
        self.push(into, text)
    }

    /// One character that stands for itself here.
    fn literal(&mut self, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let start = self.pos;
        self.take();
        let text = self.since(start);
        self.push(into, text)
    }

    /// Puts literal text to the parts.
    pub(super) fn push(&mut self, into: &mut Vec<Part>, text: &str) -> Result<(), NotUnderstood> {
        match into.last_mut() {
            Some(Part::Literal(before)) => before.push_str(text),
            Some(Part::Glob(_) | Part::Dynamic(_)) | None if text.is_empty() => {}
            Some(Part::Glob(_) | Part::Dynamic(_)) | None => {
                self.count(1)?;
                into.push(Part::Literal(text.to_owned()));
            }
        }
        Ok(())
    }

    /// A backslash. Returns whether the word ends before it: at a line that goes on after a blank.
    fn backslash(&mut self, mode: Mode, into: &mut Vec<Part>) -> Result<bool, NotUnderstood> {
        let Some(next) = self.peek_at(1) else { return self.refuse("a backslash at the end") };
        match mode {
            Mode::Index => return self.refuse("a backslash in the index of an array"),
            Mode::Quoted | Mode::QuotedOperand | Mode::Body => {
                self.skip(1);
                match next {
                    // The line goes on: both characters are taken away.
                    b'\n' if mode == Mode::Quoted => self.skip(1),
                    b'\n' => return self.refuse("a backslash at the end of a line of a here-document"),
                    b'$' | b'`' | b'\\' => self.literal(into)?,
                    b'"' if mode == Mode::Quoted => self.literal(into)?,
                    b'}' if mode == Mode::QuotedOperand => self.literal(into)?,
                    b'"' | b'\'' if mode == Mode::QuotedOperand => {
                        return self.refuse("quotes in the braces of a quoted parameter");
                    }
                    _ => self.push(into, "\\")?,
                }
            }
            // Taken away at the lowest level, it could join an operator or a reserved word. Between words it is harmless.
            Mode::Word | Mode::Brace | Mode::Pattern | Mode::Operand if next == b'\n' => {
                if mode == Mode::Word && matches!(self.peek_at(2), Some(b' ' | b'\t' | b'\n')) {
                    return Ok(true);
                }
                return self.refuse("a line that is broken inside a word");
            }
            Mode::Word | Mode::Brace | Mode::Pattern | Mode::Operand => {
                self.skip(1);
                self.literal(into)?;
            }
        }
        Ok(false)
    }

    /// A quote. Returns whether it ends what is being read.
    fn quote(&mut self, quote: u8, mode: Mode, into: &mut Vec<Part>) -> Result<bool, NotUnderstood> {
        match (mode, quote) {
            (Mode::Quoted, b'"') => return Ok(true),
            (Mode::Quoted, _) | (Mode::Body, _) => self.literal(into)?,
            // Whether they quote there, and whether a brace in them counts, shells do not agree.
            (Mode::QuotedOperand, _) => return self.refuse("quotes in the braces of a quoted parameter"),
            (Mode::Index, _) => return self.refuse("quotes in the index of an array"),
            (Mode::Word | Mode::Brace | Mode::Pattern | Mode::Operand, b'"') => {
                let start = self.pos;
                self.skip(1);
                self.nested(|p| p.parts(Mode::Quoted, into))?;
                if !self.eat("\"") {
                    return self.refuse_at(start, "a quote that is not closed");
                }
            }
            (Mode::Word | Mode::Brace | Mode::Pattern | Mode::Operand, _) => {
                let start = self.pos;
                self.skip(1);
                let text = self.run(|b| b != b'\'');
                if !self.eat("'") {
                    return self.refuse_at(start, "a quote that is not closed");
                }
                self.push(into, text)?;
            }
        }
        Ok(false)
    }

    /// A bracket that may begin a pattern.
    fn bracket(&mut self, mode: Mode, word: usize, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        if mode == Mode::Index {
            return self.refuse("a bracket in the index of an array");
        }
        let start = self.pos;
        self.skip(1);
        // `[` alone is a program.
        if mode == Mode::Word && start == word && matches!(self.peek(), None | Some(b' ' | b'\t' | b'\n')) {
            return self.push(into, "[");
        }
        self.count(1)?;
        // Text in which no bracket closes is looked through once, or many of them would take the square of their number.
        if start >= self.unclosed_until {
            if self.bracket_end() {
                let text = self.since(start);
                push_glob(into, text);
                return Ok(());
            }
            self.unclosed_until = self.pos;
            self.pos = start.saturating_add(1);
        }
        push_glob(into, "[");
        Ok(())
    }

    /// Steps over a bracket expression (XCU 2.13.1) of plain characters; false, and somewhere behind, if it is none.
    fn bracket_end(&mut self) -> bool {
        if matches!(self.peek(), Some(b'!' | b'^')) {
            self.skip(1);
        }
        if self.peek() == Some(b']') {
            self.skip(1);
        }
        loop {
            self.run(|b| is_plain(b) || matches!(b, b',' | b'=' | b'~' | b'#' | b'*' | b'?' | b'{' | b'}'));
            if self.eat("[:") {
                self.run(|b| b.is_ascii_lowercase());
                if !self.eat(":]") {
                    return false;
                }
            } else {
                return self.eat("]");
            }
        }
    }

    /// `~` at the start of a word, or after a `=`, or after a `:` of a list in an assignment: shells differ in which of
    /// them they see, so it is nowhere literal there.
    fn tilde(&mut self, mode: Mode, word: usize, equals: bool, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let before = self.pos.checked_sub(1).and_then(|at| self.text.as_bytes().get(at));
        let home = match (mode, before) {
            _ if self.pos == word => true,
            (Mode::Operand, Some(b'-' | b'=' | b'+' | b'?' | b':' | b'/')) => true,
            (_, Some(b'=')) => true,
            (Mode::Word | Mode::Brace, Some(b':')) => equals,
            _ => false,
        };
        if !home {
            return self.literal(into);
        }
        self.count(1)?;
        let start = self.pos;
        self.skip(1);
        self.run(|b| is_plain(b) && !matches!(b, b'/' | b':'));
        if !self.since(start).is_ascii() && self.since(start).chars().any(text::is_odd_blank) {
            return self.refuse_at(start, "a blank that is none in ASCII");
        }
        into.push(Part::Dynamic(Dynamic::Home(self.since(start).to_owned())));
        Ok(())
    }

    /// `=`: zsh puts a program's path in the place of a word that starts with it.
    fn equals(&mut self, mode: Mode, word: usize, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let more =
            !matches!(self.peek_at(1), None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b')'));
        if mode == Mode::Word && self.pos == word && more {
            self.count(1)?;
            self.skip(1);
            into.push(Part::Dynamic(Dynamic::Dialect { text: "=".to_owned(), likely: Some("=".to_owned()) }));
            return Ok(());
        }
        self.literal(into)
    }

    /// `{`: where a comma or `..` stands between it and its `}`, one word becomes several in most shells.
    fn braces(&mut self, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        let start = self.pos;
        self.skip(1);
        let mut alternatives = Vec::new();
        loop {
            let (from, mut parts) = (self.pos, Vec::new());
            self.nested(|p| p.parts(Mode::Brace, &mut parts))?;
            alternatives.push(Word { parts, at: self.at(from, self.pos) });
            if !self.eat(",") {
                break;
            }
            self.count(1)?;
        }
        let closed = self.eat("}");
        let text = self.since(start);
        let one = alternatives.len() == 1;
        if closed && (!one || text.contains("..")) {
            self.count(1)?;
            let alternatives = if one { Vec::new() } else { alternatives };
            into.push(Part::Dynamic(Dynamic::Braces { text: text.to_owned(), alternatives }));
            return Ok(());
        }
        if !one {
            return self.refuse_at(start, "a brace with a comma that is not closed in its word");
        }
        // No shell does anything with it.
        self.push(into, "{")?;
        for part in alternatives.into_iter().flat_map(|word| word.parts) {
            match part {
                Part::Literal(text) => self.push(into, &text)?,
                Part::Glob(text) => push_glob(into, &text),
                Part::Dynamic(_) => into.push(part),
            }
        }
        if closed {
            self.push(into, "}")?;
        }
        Ok(())
    }
}

/// Puts a pattern to the parts.
fn push_glob(into: &mut Vec<Part>, text: &str) {
    match into.last_mut() {
        Some(Part::Glob(before)) => before.push_str(text),
        Some(Part::Literal(_) | Part::Dynamic(_)) | None => into.push(Part::Glob(text.to_owned())),
    }
}
