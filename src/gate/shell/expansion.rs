//! What a shell puts in the place of `$...` and backquotes (XCU 2.6.2 to 2.6.4).

use super::commands::Until;
use super::parser::Parser;
use super::tree::{NotUnderstood, Script};
use super::word::{Dynamic, Part, Word};
use super::words::Mode;

impl Parser<'_> {
    /// `$`.
    pub(super) fn dollar(&mut self, mode: Mode, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        self.count(1)?;
        match self.peek_at(1) {
            Some(b'(') if self.sees("$((") => {
                // It is kept twice: as text, and taken apart.
                self.count(2)?;
                self.skip(3);
                let part = self.nested(|p| p.arithmetic())?;
                into.push(part);
            }
            Some(b'(') => {
                self.skip(2);
                into.push(Part::Dynamic(Dynamic::Command(self.substitution()?)));
            }
            Some(b'{') => {
                self.skip(2);
                let part = self.nested(|p| p.parameter(mode.is_quoted()))?;
                into.push(part);
            }
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                self.skip(1);
                let name = self.run(|b| b.is_ascii_alphanumeric() || b == b'_').to_owned();
                into.push(Part::Dynamic(Dynamic::Parameter { name, words: Vec::new() }));
            }
            Some(b'0'..=b'9' | b'#' | b'?' | b'@' | b'*' | b'!' | b'$' | b'-') => {
                self.skip(1);
                let start = self.pos;
                self.skip(1);
                let name = self.since(start).to_owned();
                into.push(Part::Dynamic(Dynamic::Parameter { name, words: Vec::new() }));
            }
            Some(b'\'') if matches!(mode, Mode::Word | Mode::Brace | Mode::Pattern | Mode::Operand) => {
                self.ansi_quoted(into)?;
            }
            Some(b'"') if !mode.is_quoted() => return self.refuse("`$\"`, which shells read differently"),
            Some(b'\'') if matches!(mode, Mode::Index | Mode::QuotedOperand) => {
                return self.refuse("quotes in the braces of a parameter");
            }
            Some(b'[') => return self.refuse("arithmetic in the form `$[...]`, which shells read differently"),
            Some(b'\\') if self.sees("$\\\n") => return self.refuse("a line that is broken after a `$`"),
            // No shell knows a parameter of such a name. zsh does know `$^x`, `$=x`, `$~x` and `$+x`.
            None
            | Some(
                b' ' | b'\t' | b'\n' | b'"' | b'\'' | b'\\' | b'/' | b'.' | b',' | b'%' | b':' | b';' | b']' | b'}'
                | b')' | b'|' | b'&' | b'>' | b'<' | b'`',
            ) => {
                self.skip(1);
                self.push(into, "$")?;
            }
            Some(_) => return self.refuse("a `$` before a character that shells read differently there"),
        }
        Ok(())
    }

    /// `$'...'`.
    fn ansi_quoted(&mut self, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        // It is kept as written and as bash reads it.
        self.count(2)?;
        let start = self.pos;
        self.skip(2);
        let inner = self.pos;
        loop {
            self.run(|b| !matches!(b, b'\'' | b'\\'));
            match (self.peek(), self.peek_at(1)) {
                (Some(b'\''), _) => break,
                // dash ends the quotes there, and reads what follows as it stands.
                (Some(b'\\'), Some(b'\'')) => return self.refuse("`\\'` in `$'...'`, which shells read differently"),
                (Some(b'\\'), Some(_)) => {
                    self.skip(1);
                    self.take();
                }
                _ => return self.refuse_at(start, "a quote that is not closed"),
            }
        }
        let likely = decoded(self.since(inner));
        self.skip(1);
        into.push(Part::Dynamic(Dynamic::Dialect { text: self.since(start).to_owned(), likely }));
        Ok(())
    }

    /// What stands after `${`, up to the `}` after it.
    fn parameter(&mut self, quoted: bool) -> Result<Part, NotUnderstood> {
        let start = self.pos;
        // `${#name}`, `${!name}`; `${#}` and `${!}` are parameters themselves.
        if matches!(self.peek(), Some(b'#' | b'!')) && self.peek_at(1) != Some(b'}') {
            self.skip(1);
        }
        match self.peek() {
            Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                self.run(|b| b.is_ascii_alphanumeric() || b == b'_');
            }
            Some(b'0'..=b'9') => {
                self.run(|b| b.is_ascii_digit());
            }
            Some(b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => self.skip(1),
            _ => return self.refuse("braces of a parameter that shells read differently"),
        }
        let mut words = Vec::new();
        if self.peek() == Some(b'[') {
            self.skip(1);
            words.extend(self.operand(Mode::Index)?);
            if !self.eat("]") {
                return self.refuse("a bracket that is not closed");
            }
        }
        let name = self.since(start).to_owned();
        if self.peek() != Some(b'}') {
            self.operator()?;
            words.extend(self.operand(if quoted { Mode::QuotedOperand } else { Mode::Operand })?);
        }
        if !self.eat("}") {
            return self.refuse("a brace that is not closed");
        }
        Ok(Part::Dynamic(Dynamic::Parameter { name, words }))
    }

    /// The operator between a parameter and its word.
    fn operator(&mut self) -> Result<(), NotUnderstood> {
        match self.peek() {
            Some(b':') => {
                self.skip(1);
                if matches!(self.peek(), Some(b'-' | b'=' | b'+' | b'?')) {
                    self.skip(1);
                }
            }
            Some(b @ (b'#' | b'%' | b'/' | b'^' | b',')) => {
                self.skip(1);
                if self.peek() == Some(b) {
                    self.skip(1);
                }
            }
            Some(b'-' | b'=' | b'+' | b'?') => self.skip(1),
            // `${name@P}` runs the commands that its value holds.
            Some(b'@')
                if matches!(self.peek_at(1), Some(b'U' | b'u' | b'L' | b'Q' | b'E' | b'A' | b'K' | b'a' | b'k')) =>
            {
                self.skip(2);
            }
            Some(b'*' | b'@') if self.peek_at(1) == Some(b'}') => self.skip(1),
            _ => return self.refuse("braces of a parameter that shells read differently"),
        }
        Ok(())
    }

    /// A word in the braces of a parameter, if there is any.
    fn operand(&mut self, mode: Mode) -> Result<Option<Word>, NotUnderstood> {
        let (start, mut parts) = (self.pos, Vec::new());
        self.parts(mode, &mut parts)?;
        Ok((!parts.is_empty()).then(|| Word { parts, at: self.at(start, self.pos) }))
    }

    /// What stands after `$((`, up to the `))` after it.
    fn arithmetic(&mut self) -> Result<Part, NotUnderstood> {
        let (text, scripts) = self.arithmetic_text(0)?;
        Ok(Part::Dynamic(Dynamic::Arithmetic { text, scripts }))
    }

    /// Arithmetic up to `))`, as written, with its substitutions, and so many semicolons in it: `for ((...))` has two.
    pub(super) fn arithmetic_text(&mut self, mut semicolons: u32) -> Result<(String, Vec<Script>), NotUnderstood> {
        let (start, mut depth, mut parts) = (self.pos, 0_u32, Vec::new());
        loop {
            match self.peek() {
                None => return self.refuse_at(start, "arithmetic that is not closed"),
                Some(b'(') if depth >= 16 => return self.refuse("nesting deeper than 16"),
                Some(b'(') => {
                    depth = depth.saturating_add(1);
                    self.skip(1);
                }
                Some(b')') if depth > 0 => {
                    depth = depth.saturating_sub(1);
                    self.skip(1);
                }
                Some(b')') => {
                    let text = self.since(start).to_owned();
                    // bash reads `$((a) | (b))` as commands, others as arithmetic.
                    if semicolons > 0 || !self.eat("))") {
                        return self.refuse_at(start, "parentheses that may be arithmetic or commands");
                    }
                    let mut scripts = Vec::new();
                    parts.into_iter().for_each(|part| scripts_of(part, &mut scripts));
                    return Ok((text, scripts));
                }
                Some(b'$') => self.dollar(Mode::Index, &mut parts)?,
                Some(b'`') => self.backquoted(Mode::Index, &mut parts)?,
                Some(b'\'' | b'"' | b'\\') => return self.refuse("quotes in arithmetic"),
                Some(b';') if semicolons > 0 && depth == 0 => {
                    semicolons = semicolons.saturating_sub(1);
                    self.skip(1);
                }
                Some(b';' | b'\n') => return self.refuse("arithmetic over several commands"),
                Some(_) => {
                    self.take();
                }
            }
        }
    }

    /// A backquote.
    pub(super) fn backquoted(&mut self, mode: Mode, into: &mut Vec<Part>) -> Result<(), NotUnderstood> {
        self.count(1)?;
        let start = self.pos;
        self.skip(1);
        let inner = self.pos;
        // INVARIANT: `text` is what stands between the backquotes without the backslashes that only they need.
        let mut text = String::new();
        loop {
            text.push_str(self.run(|b| !matches!(b, b'`' | b'\\' | b'"')));
            match (self.peek(), self.peek_at(1)) {
                (Some(b'`'), _) => break,
                (Some(b'\\'), Some(b @ (b'$' | b'`' | b'\\'))) => {
                    text.push(char::from(b));
                    self.skip(2);
                }
                (Some(b'"'), _) | (Some(b'\\'), Some(b'"')) if mode.is_quoted() => {
                    return self.refuse("double quotes in backquotes in double quotes");
                }
                (Some(b'"'), _) => {
                    text.push('"');
                    self.skip(1);
                }
                (Some(b'\\'), Some(_)) => {
                    text.push('\\');
                    self.skip(1);
                    text.extend(self.take());
                }
                _ => return self.refuse_at(start, "a backquote that is not closed"),
            }
        }
        let end = self.pos;
        let base = self.base(inner, end, text.len() == end.saturating_sub(inner));
        let script = self.within(&text, base, |p| p.whole(Until::End))?;
        self.skip(1);
        into.push(Part::Dynamic(Dynamic::Command(script)));
        Ok(())
    }
}

/// The scripts that stand in a part.
fn scripts_of(part: Part, into: &mut Vec<Script>) {
    match part {
        Part::Dynamic(Dynamic::Command(script) | Dynamic::Process(script)) => into.push(script),
        Part::Dynamic(Dynamic::Parameter { words, .. } | Dynamic::Braces { alternatives: words, .. }) => {
            words.into_iter().flat_map(|word| word.parts).for_each(|part| scripts_of(part, into));
        }
        Part::Dynamic(Dynamic::Arithmetic { scripts, .. }) => into.extend(scripts),
        Part::Literal(_) | Part::Glob(_) | Part::Dynamic(Dynamic::Home(_) | Dynamic::Dialect { .. }) => {}
    }
}

/// What bash makes of the text of `$'...'`, if that is text (its manual, 3.1.2.4).
fn decoded(raw: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(raw.len()), raw);
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut chars = after.chars();
        let c = chars.next()?;
        rest = chars.as_str();
        match c {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'e' | 'E' => bytes.push(0x1b),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '"' | '?' => bytes.push(u8::try_from(c).ok()?),
            '0'..='7' => bytes.push(u8::try_from(number(&mut rest, Some(c), 8, 2)? & 0xff).ok()?),
            'x' => bytes.push(u8::try_from(number(&mut rest, None, 16, 2)?).ok()?),
            'u' => push_char(&mut bytes, number(&mut rest, None, 16, 4)?)?,
            'U' => push_char(&mut bytes, number(&mut rest, None, 16, 8)?)?,
            // `\cx`, or an escape that bash leaves as it is and others do not.
            _ => return None,
        }
        // A NUL ends the text there.
        if bytes.last() == Some(&0) {
            return None;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// The number that `rest` starts with, after a digit that was read; none where there is no digit.
fn number(rest: &mut &str, first: Option<char>, radix: u32, more: usize) -> Option<u32> {
    let digits = rest.chars().take(more).take_while(|c| c.is_digit(radix)).count();
    let (text, after) = rest.split_at_checked(digits)?;
    *rest = after;
    u32::from_str_radix(&format!("{}{text}", first.map(String::from).unwrap_or_default()), radix).ok()
}

fn push_char(bytes: &mut Vec<u8>, code: u32) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}
