//! A script of sed: which files it reads and writes, and whether it starts a shell.
//!
//! POSIX sed and GNU's `e`, `F`, `Q`, `R`, `T`, `v`, `W`, `z`, and the flags `e`, `I`, `M`, `w`. What it does not understand is
//! `load-code`.

use super::told::{Inner, Told};
use super::{Effect, EffectKind};
use crate::gate::shell::word::Word;

/// Adds what the sed script in `word` does.
pub(super) fn look(word: &Word, told: &mut Told) {
    let mut found = Told::default();
    let understood =
        word.literal().is_some_and(|text| Script { rest: &text, word, found: &mut found }.read().is_some());
    if understood {
        told.effects.append(&mut found.effects);
        told.inner.append(&mut found.inner);
    } else {
        told.effects.push(Effect { kind: EffectKind::LoadCode, on: Some(word.clone()) });
    }
}

struct Script<'a> {
    rest: &'a str,
    word: &'a Word,
    found: &'a mut Told,
}

impl<'a> Script<'a> {
    /// Reads all commands; `None` as soon as one is not understood.
    fn read(&mut self) -> Option<()> {
        loop {
            self.skip(|c| c.is_ascii_whitespace() || c == ';');
            if self.rest.is_empty() {
                return Some(());
            }
            self.address()?;
            self.skip(|c| matches!(c, ' ' | '\t' | '!'));
            self.command()?;
        }
    }

    fn skip(&mut self, of: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(of);
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn address(&mut self) -> Option<()> {
        if !self.one_address()? {
            return Some(());
        }
        self.skip(|c| matches!(c, ' ' | '\t'));
        if self.eat(',') {
            self.skip(|c| matches!(c, ' ' | '\t'));
            if !self.one_address()? {
                return None;
            }
        }
        Some(())
    }

    /// Whether there is one: a number, `$`, `first~step`, `+n`, `~n`, `/pattern/`, `\cpatternc`.
    fn one_address(&mut self) -> Option<bool> {
        match self.rest.chars().next() {
            Some('0'..='9' | '$' | '+' | '~') => {
                self.skip(|c| c.is_ascii_digit() || matches!(c, '$' | '~' | '+'));
                Some(true)
            }
            Some(c @ ('/' | '\\')) => {
                self.next();
                let end = if c == '/' { c } else { self.next()? };
                self.delimited(end)?;
                self.skip(|c| matches!(c, 'I' | 'M'));
                Some(true)
            }
            Some(_) | None => Some(false),
        }
    }

    /// What stands before the next `end`.
    fn delimited(&mut self, end: char) -> Option<&'a str> {
        if end == '\n' || end == '\\' {
            return None;
        }
        let mut bracket = false;
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next()?;
            } else if c == end {
                // Some seds let the sign stand in brackets, and others do not.
                if bracket {
                    return None;
                }
                let text = self.rest.get(..at);
                self.rest = self.rest.get(at + end.len_utf8()..)?;
                return text;
            } else if c == '[' {
                bracket = true;
            } else if c == ']' {
                bracket = false;
            }
        }
        None
    }

    fn command(&mut self) -> Option<()> {
        let c = self.next()?;
        match c {
            '{' | '}' => Some(()),
            '=' | 'd' | 'D' | 'g' | 'G' | 'h' | 'H' | 'n' | 'N' | 'p' | 'P' | 'x' | 'z' | 'F' => self.end(),
            'q' | 'Q' | 'l' | 'L' => {
                self.skip(|c| c.is_ascii_digit() || matches!(c, ' ' | '\t'));
                self.end()
            }
            '#' => {
                self.line();
                Some(())
            }
            ':' | 'b' | 't' | 'T' | 'v' => {
                // GNU sed ends a label at a blank or a semicolon, others at the line's end only. Where the two would differ,
                // what is behind the label is read as commands: had it been part of the label, sed would refuse it.
                self.skip(|c| matches!(c, ' ' | '\t'));
                self.skip(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
                self.end()
            }
            'a' | 'i' | 'c' => {
                self.text();
                Some(())
            }
            'r' | 'R' => self.file(EffectKind::Read),
            'w' | 'W' => self.file(EffectKind::Write),
            'e' => {
                let command = self.line().trim();
                match command {
                    "" => self.shell(),
                    command => self.found.inner.push(Inner::Script(Word::of(command, self.word.at.clone()))),
                }
                Some(())
            }
            'y' => {
                let end = self.next()?;
                self.delimited(end)?;
                self.delimited(end)?;
                self.end()
            }
            's' => self.substitute(),
            _ => None,
        }
    }

    fn substitute(&mut self) -> Option<()> {
        let end = self.next()?;
        self.delimited(end)?;
        self.replacement(end)?;
        loop {
            match self.rest.chars().next() {
                Some('g' | 'p' | 'I' | 'i' | 'M' | 'm' | '0'..='9') => {
                    self.next();
                }
                Some('e') => {
                    self.next();
                    self.shell();
                }
                Some('w') => {
                    self.next();
                    return self.file(EffectKind::Write);
                }
                Some(_) | None => return self.end(),
            }
        }
    }

    /// As `delimited`, where brackets mean nothing.
    fn replacement(&mut self, end: char) -> Option<()> {
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next()?;
            } else if c == end {
                self.rest = self.rest.get(at + end.len_utf8()..)?;
                return Some(());
            }
        }
        None
    }

    /// The end of a command.
    fn end(&mut self) -> Option<()> {
        self.skip(|c| matches!(c, ' ' | '\t' | '\r'));
        match self.rest.chars().next() {
            None | Some(';' | '\n' | '}' | '#') => Some(()),
            Some(_) => None,
        }
    }

    /// What is left of the line.
    fn line(&mut self) -> &'a str {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        line
    }

    /// The text of `a`, `i` and `c`: up to the end of a line that does not end in a backslash.
    fn text(&mut self) {
        loop {
            let line = self.line();
            let more = line.len() - line.trim_end_matches('\\').len();
            if more.is_multiple_of(2) || !self.eat('\n') {
                return;
            }
        }
    }

    fn file(&mut self, kind: EffectKind) -> Option<()> {
        match self.line().trim() {
            "" => return None,
            "/dev/stdin" | "/dev/stdout" | "/dev/stderr" | "/dev/null" => {}
            path => self.found.effects.push(Effect { kind, on: Some(Word::of(path, self.word.at.clone())) }),
        }
        Some(())
    }

    /// The pattern space is run: nobody knows what will be in it.
    fn shell(&mut self) {
        for kind in [EffectKind::Shell, EffectKind::Unknown] {
            self.found.effects.push(Effect { kind, on: Some(self.word.clone()) });
        }
    }
}
