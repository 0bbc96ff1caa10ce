//! Redirections and here-documents (XCU 2.7).

use std::borrow::Cow;
use std::collections::VecDeque;

use super::parser::Parser;
use super::tree::{Command, NotUnderstood, Redirection, RedirectionKind, Script};
use super::word::Word;
use super::words::Mode;

/// A here-document whose text was not read yet.
pub(super) struct Pending {
    /// The line that ends it.
    delimiter: String,
    /// Whether the delimiter has quotes: then nothing in the text is expanded.
    quoted: bool,
    /// `<<-`: tabs at the start of lines are taken away.
    tabs: bool,
}

impl Parser<'_> {
    /// Whether a redirection begins here, its descriptor included.
    pub(super) fn sees_redirection(&self) -> bool {
        let rest = self.text.as_bytes().get(self.pos..).unwrap_or_default();
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        match (rest.get(digits), rest.get(digits.saturating_add(1))) {
            (Some(b'<' | b'>'), Some(b'(')) => digits > 0,
            (Some(b'<' | b'>'), _) => true,
            (Some(b'&'), Some(b'>')) => digits == 0,
            _ => false,
        }
    }

    /// Reads a redirection.
    pub(super) fn redirection(&mut self) -> Result<Redirection, NotUnderstood> {
        self.count(1)?;
        let start = self.pos;
        let digits = self.run(|b| b.is_ascii_digit());
        // dash and mksh take only one digit for a descriptor, and more of them for an argument.
        if digits.len() > 1 {
            return self.refuse_at(start, "a descriptor of several digits, which shells read differently");
        }
        let descriptor = (!digits.is_empty()).then(|| digits.to_owned());
        // zsh: numbers in names of files.
        if self.sees_number_pattern() {
            return self.refuse("`<...-...>`, which shells read differently");
        }
        let operators = [
            ("&>>", RedirectionKind::Append),
            ("&>", RedirectionKind::Write),
            ("<<<", RedirectionKind::HereString),
            ("<<-", RedirectionKind::HereDocument),
            ("<<", RedirectionKind::HereDocument),
            ("<&", RedirectionKind::Duplicate),
            ("<>", RedirectionKind::ReadWrite),
            ("<", RedirectionKind::Read),
            (">>", RedirectionKind::Append),
            (">&", RedirectionKind::Duplicate),
            (">|", RedirectionKind::Write),
            (">", RedirectionKind::Write),
        ];
        let Some((operator, kind)) = operators.into_iter().find(|(operator, _)| self.eat(operator)) else {
            return self.refuse("a redirection is missing");
        };
        // zsh: the file is overwritten, whatever its options say; elsewhere a file of this name.
        if self.peek() == Some(b'!') {
            return self.refuse("`!` after a redirection, which shells read differently");
        }
        self.blanks();
        if !self.sees_word() || self.peek() == Some(b'#') {
            return self.refuse("a redirection without a word");
        }
        let at = self.pos;
        let digits = self.run(|b| b.is_ascii_digit());
        if !digits.is_empty() && matches!(self.peek(), Some(b'<' | b'>')) {
            return self.refuse_at(at, "a number between two redirections");
        }
        self.pos = at;
        let read = self.word()?;
        let (word, quoted) = (read.word, read.quoted);
        let number = word.literal().is_some_and(|text| text == "-" || text.bytes().all(|b| b.is_ascii_digit()));
        let (kind, word) = match kind {
            RedirectionKind::HereDocument => {
                let delimiter = word.literal().map(Cow::into_owned).unwrap_or_default();
                if delimiter.is_empty() || delimiter.contains('\n') {
                    return self.refuse_at(at, "the end of a here-document that shells read differently");
                }
                self.pending.push(Pending { delimiter, quoted, tabs: operator == "<<-" });
                (kind, word)
            }
            RedirectionKind::Duplicate if number => (kind, word),
            RedirectionKind::Duplicate if operator == ">&" => (RedirectionKind::Write, word),
            RedirectionKind::Duplicate if word.literal().is_some() => {
                return self.refuse_at(at, "a descriptor that is no number");
            }
            RedirectionKind::Duplicate
            | RedirectionKind::Read
            | RedirectionKind::Write
            | RedirectionKind::Append
            | RedirectionKind::ReadWrite
            | RedirectionKind::HereString => (kind, word),
        };
        let duplicate = kind == RedirectionKind::Duplicate;
        let meant = || duplicate.then(|| String::from(if operator == "<&" { "0" } else { "1" }));
        let errors_too = operator.starts_with('&') || (operator == ">&" && !duplicate);
        Ok(Redirection { descriptor: descriptor.or_else(meant), errors_too, kind, word })
    }

    /// Whether `<1-9>` comes next, or the same with fewer numbers.
    fn sees_number_pattern(&self) -> bool {
        let rest = self.text.as_bytes().get(self.pos..).unwrap_or_default();
        let Some(rest) = rest.strip_prefix(b"<") else { return false };
        let number = |rest: &[u8]| rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let Some(rest) = rest.get(number(rest)..).and_then(|rest| rest.strip_prefix(b"-")) else { return false };
        rest.get(number(rest)) == Some(&b'>')
    }

    /// Reads the texts of the here-documents whose operators stand in the line that ended here.
    pub(super) fn here_documents(&mut self) -> Result<(), NotUnderstood> {
        for document in std::mem::take(&mut self.pending) {
            self.count(1)?;
            let start = self.pos;
            let mut stripped = String::new();
            let end = loop {
                let from = self.pos;
                let line = self.run(|b| b != b'\n');
                let text = if document.tabs { line.trim_start_matches('\t') } else { line };
                let last = self.peek().is_none();
                self.skip(1);
                if text == document.delimiter {
                    break from;
                }
                if last {
                    return self.refuse_at(start, "a here-document that is not closed");
                }
                // The next line belongs to it, then: some shells look for the end before they join them, some after.
                if !document.quoted && line.ends_with('\\') {
                    return self.refuse_at(from, "a backslash at the end of a line of a here-document");
                }
                stripped.push_str(text);
                stripped.push('\n');
            };
            let after = self.pos;
            let at = self.at(start, end);
            let body = if document.quoted {
                Word::of(&stripped, at)
            } else {
                let base = self.base(start, end, stripped.len() == end.saturating_sub(start));
                self.within(&stripped, base, |p| {
                    let mut parts = Vec::new();
                    p.parts(Mode::Body, &mut parts)?;
                    Ok(Word { parts, at })
                })?
            };
            self.pos = after;
            self.bodies.push_back(body);
        }
        Ok(())
    }

    /// Puts the texts that were read to the redirections that asked for them.
    pub(super) fn fill_here_documents(&mut self, script: &mut Script) {
        if !self.bodies.is_empty() {
            fill(script, &mut self.bodies);
        }
    }
}

/// Texts come in the order of their operators, which is that of the tree; those in substitutions were filled there.
fn fill(script: &mut Script, bodies: &mut VecDeque<Word>) {
    for piped in script.entries.iter_mut().flat_map(|entry| &mut entry.pipeline.commands) {
        let redirections = match &mut piped.command {
            Command::Simple(simple) => &mut simple.redirections,
            Command::Compound(compound) => {
                compound.scripts.iter_mut().for_each(|script| fill(script, bodies));
                &mut compound.redirections
            }
        };
        for redirection in redirections {
            if redirection.kind == RedirectionKind::HereDocument
                && let Some(body) = bodies.pop_front()
            {
                redirection.word = body;
            }
        }
    }
}
