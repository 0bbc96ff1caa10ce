//! Lists, pipelines and simple commands (XCU 2.9.1 to 2.9.3).

use super::parser::Parser;
use super::tree::{
    Assignment, Command, Entry, Joint, NotUnderstood, Piped, Pipeline, Prefix, Redirection, Script, Simple,
};
use super::word::Word;
use super::words::{Mode, Read};

/// What ends a list; it is not stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The end of the text.
    End,
    /// `)`.
    Paren,
    /// One of these reserved words.
    Words(&'static [&'static str]),
    /// `;;`, `;&`, `;;&` or `esac`.
    Case,
}

/// Words that some shell of those that Debian has reserves where a command begins, and that begin no command which
/// this grammar knows.
const RESERVED: [&str; 20] = [
    "then",
    "elif",
    "else",
    "fi",
    "do",
    "done",
    "esac",
    "}",
    "]]",
    "{",
    "!",         // all of them, nearly
    "coproc",    // bash, zsh
    "namespace", // ksh93
    "repeat",
    "foreach",
    "end",
    "nocorrect",
    "noglob",
    "-",
    "always", // zsh
];

/// Reserved words that begin a compound command.
const COMPOUNDS: [&str; 9] = ["if", "while", "until", "for", "select", "case", "function", "[[", "time"];

impl Parser<'_> {
    /// Reads a list to the end of its text or substitution, its here-documents included.
    pub(super) fn whole(&mut self, until: Until) -> Result<Script, NotUnderstood> {
        let mut script = self.list(until)?;
        if !self.pending.is_empty() {
            return self.refuse("a here-document without its text");
        }
        self.fill_here_documents(&mut script);
        Ok(script)
    }

    /// Reads commands up to what ends them.
    pub(super) fn list(&mut self, until: Until) -> Result<Script, NotUnderstood> {
        let mut script = Script::default();
        loop {
            self.blanks_and_lines()?;
            let joined =
                script.entries.last().is_some_and(|entry: &Entry| matches!(entry.then, Joint::And | Joint::Or));
            if self.ends(until) {
                if joined {
                    return self.refuse("a command is missing");
                }
                return Ok(script);
            }
            if self.peek().is_none() {
                return self.refuse("a construct that is not closed");
            }
            let pipeline = self.pipeline()?;
            let then = self.joint()?;
            if script.entries.is_empty() {
                script.entries.reserve_exact(1);
            }
            script.entries.push(Entry { pipeline, then });
        }
    }

    /// As `list`, for where the grammar wants one command at least.
    pub(super) fn some(&mut self, until: Until) -> Result<Script, NotUnderstood> {
        let script = self.list(until)?;
        if script.entries.is_empty() { self.refuse("a command is missing") } else { Ok(script) }
    }

    /// Whether what ends a list comes next.
    fn ends(&self, until: Until) -> bool {
        match until {
            Until::End => self.peek().is_none(),
            Until::Paren => self.peek() == Some(b')'),
            Until::Words(words) => self.peek_plain().is_some_and(|word| words.contains(&word)),
            Until::Case => self.sees(";;") || self.sees(";&") || self.peek_plain() == Some("esac"),
        }
    }

    /// What joins a pipeline to the next one. A line's end is left to be read with the next lines.
    fn joint(&mut self) -> Result<Joint, NotUnderstood> {
        self.blanks();
        if self.eat("&&") {
            return Ok(Joint::And);
        }
        if self.eat("||") {
            return Ok(Joint::Or);
        }
        match (self.peek(), self.peek_at(1)) {
            (None | Some(b'\n' | b')' | b'#'), _) | (Some(b';'), Some(b';' | b'&')) => Ok(Joint::Sequence),
            (Some(b';'), _) => {
                self.skip(1);
                Ok(Joint::Sequence)
            }
            // `&|` and `&!` are operators of zsh's.
            (Some(b'&'), Some(b'|' | b'!')) => self.refuse("`&` before a character that shells read differently there"),
            (Some(b'&'), _) => {
                self.skip(1);
                Ok(Joint::Background)
            }
            _ => self.refuse("something after a command that does not belong to it"),
        }
    }

    /// Steps over blanks, and over line ends behind a backslash between words. One at a word's edge could join it to the
    /// next line: it stays, and is refused as part of a word.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.skip(1),
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => {
                    let before = self.pos.checked_sub(1).and_then(|at| self.text.as_bytes().get(at).copied());
                    let apart = |b: Option<u8>| matches!(b, Some(b' ' | b'\t' | b'\n'));
                    if before.is_some_and(|b| !apart(Some(b))) && !apart(self.peek_at(2)) {
                        return;
                    }
                    self.skip(2);
                }
                _ => return,
            }
        }
    }

    /// Steps over blanks, comments and line ends, and reads the here-documents that begin there.
    pub(super) fn blanks_and_lines(&mut self) -> Result<(), NotUnderstood> {
        loop {
            self.blanks();
            match self.peek() {
                Some(b'#') => self.comment()?,
                Some(b'\n') => {
                    self.skip(1);
                    self.here_documents()?;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Steps over a comment, up to the line's end.
    ///
    /// A zsh at its prompt reads comments as words. Lines of a prompt are not what this grammar is for; whoever judges
    /// them has to refuse a `#` there.
    fn comment(&mut self) -> Result<(), NotUnderstood> {
        // Some shells look for the end of a substitution without knowing of comments.
        if self.substituted {
            return self.refuse("a comment in a substitution");
        }
        if self.run(|b| b != b'\n').ends_with('\\') {
            return self.refuse("a comment that ends with a backslash");
        }
        Ok(())
    }

    /// The next word, if it is written without any quotes or expansions and nothing but a blank or an operator ends it.
    pub(super) fn peek_plain(&self) -> Option<&str> {
        let rest = self.text.get(self.pos..)?;
        let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')');
        let marks = |b: &u8| matches!(b, b'\'' | b'"' | b'\\' | b'$' | b'`');
        let end = rest.as_bytes().iter().position(|b| ends(b) || marks(b)).unwrap_or(rest.len());
        let plain = end > 0 && !rest.as_bytes().get(end).is_some_and(marks);
        rest.get(..end).filter(|_| plain)
    }

    /// Steps over a reserved word, if it comes next.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let sees = self.peek_plain() == Some(word);
        if sees {
            self.skip(word.len());
        }
        sees
    }

    /// Reads commands that pipes join.
    fn pipeline(&mut self) -> Result<Pipeline, NotUnderstood> {
        let prefix = self.prefix();
        // Nearly all have one: a vector that grows by itself begins with room for four.
        let mut commands = Vec::with_capacity(1);
        loop {
            self.blanks();
            let command = self.command()?;
            self.blanks();
            let errors_too = self.sees("|&");
            let more = errors_too || (self.peek() == Some(b'|') && self.peek_at(1) != Some(b'|'));
            commands.push(Piped { command, errors_too });
            if !more {
                return Ok(Pipeline { prefix, commands });
            }
            self.skip(if errors_too { 2 } else { 1 });
            self.blanks_and_lines()?;
        }
    }

    /// `!` or `time` before a pipeline. With options of its own, `time` is a program: so dash takes it always.
    fn prefix(&mut self) -> Option<Prefix> {
        let start = self.pos;
        if self.eat_word("!") {
            return Some(Prefix::Not);
        }
        if !self.eat_word("time") {
            return None;
        }
        self.blanks();
        if self.eat_word("-p") {
            self.blanks();
        }
        if matches!(self.peek(), None | Some(b'\n' | b';' | b'&' | b'|' | b')' | b'-' | b'#')) {
            self.pos = start;
            return None;
        }
        Some(Prefix::Time)
    }

    /// Reads one command.
    pub(super) fn command(&mut self) -> Result<Command, NotUnderstood> {
        self.count(3)?;
        if self.sees("((") {
            // In dash these are two subshells, and what bash counts with is a program.
            return self.refuse("`((`, which shells read differently");
        }
        let start = self.pos;
        if self.peek() == Some(b'(') {
            return Ok(Command::Compound(self.nested(Self::subshell)?));
        }
        match self.peek_plain() {
            Some("{") => Ok(Command::Compound(self.nested(Self::group)?)),
            Some("time") => Ok(Command::Simple(self.simple()?)),
            Some(word) if COMPOUNDS.contains(&word) => Ok(Command::Compound(self.nested(Self::compound)?)),
            Some(word) if is_name(word) && self.sees_parentheses(word.len()) => {
                let name = word.to_owned();
                self.skip(name.len());
                Ok(Command::Compound(self.nested(|p| p.function(name, start))?))
            }
            _ => Ok(Command::Simple(self.simple()?)),
        }
    }

    /// Whether `(` follows after so many bytes and blanks.
    fn sees_parentheses(&self, further: usize) -> bool {
        let rest = self.text.get(self.pos.saturating_add(further)..).unwrap_or_default();
        rest.trim_start_matches([' ', '\t']).starts_with('(')
    }

    /// Reads a simple command.
    fn simple(&mut self) -> Result<Simple, NotUnderstood> {
        let start = self.pos;
        let mut end = start;
        let (mut assignments, mut words, mut redirections) = (Vec::new(), Vec::new(), Vec::new());
        // Where `&>` stood: dash ends a command by its `&`, and what follows it is another one.
        let mut both = None;
        loop {
            self.blanks();
            match self.peek() {
                None | Some(b'\n' | b';' | b'|' | b')') => break,
                // At a word's start only: any other was read with its word.
                Some(b'#') => {
                    self.comment()?;
                    break;
                }
                Some(b'&') if !self.sees("&>") => break,
                Some(b'(') => return self.refuse("a parenthesis where no command begins"),
                _ => {}
            }
            if self.sees_redirection() {
                if self.sees("&>") {
                    both = Some(self.pos);
                }
                redirections.push(self.redirection()?);
            } else if let Some(both) = both {
                return self.refuse_at(both, "`&>` before other words, which shells read differently");
            } else if words.is_empty() {
                self.first(&mut assignments, &mut words)?;
            } else {
                words.push(self.argument()?.word);
            }
            end = self.pos;
        }
        if assignments.is_empty() && words.is_empty() && redirections.is_empty() {
            return self.refuse("a command is missing");
        }
        Ok(Simple { assignments, words, redirections, at: self.at(start, end) })
    }

    /// Reads an assignment, or the program's name.
    fn first(&mut self, assignments: &mut Vec<Assignment>, words: &mut Vec<Word>) -> Result<(), NotUnderstood> {
        if let Some(assignment) = self.assignment()? {
            assignments.push(assignment);
            return Ok(());
        }
        let start = self.pos;
        // zsh begins a group by it, whatever follows.
        if self.peek() == Some(b'{') && self.peek_plain().is_some_and(|word| !word.contains([',', '.'])) {
            return self.refuse("a brace where a command begins");
        }
        let read = self.argument()?;
        let plain = read.word.literal().filter(|_| !read.quoted);
        let reserved = plain.is_some_and(|word| {
            RESERVED.contains(&&*word) || (COMPOUNDS.contains(&&*word) && !(word == "time" && assignments.is_empty()))
        });
        if reserved {
            return self.refuse_at(start, "a reserved word where it does not belong");
        }
        words.push(read.word);
        Ok(())
    }

    /// Reads a word of a simple command.
    fn argument(&mut self) -> Result<Read, NotUnderstood> {
        let start = self.pos;
        let read = self.word()?;
        let raw = self.since(start);
        if raw.starts_with('{') && raw.ends_with('}') && matches!(self.peek(), Some(b'<' | b'>')) {
            return self.refuse("braces before a redirection, which shells read differently");
        }
        Ok(read)
    }

    /// Reads `NAME=...` before the first word, if that is what comes.
    fn assignment(&mut self) -> Result<Option<Assignment>, NotUnderstood> {
        let start = self.pos;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        // Other shells have other names: letters of all scripts, digits (the parameters of zsh), dots (members, in ksh93).
        let wide = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | 0x80..);
        let length = rest.iter().position(|&b| !wide(b)).unwrap_or(rest.len());
        let name = self.text.get(start..start.saturating_add(length)).unwrap_or_default();
        let assigns = |at: usize| match rest.get(at) {
            Some(b'=') => Some(1),
            Some(b'+') if rest.get(at.saturating_add(1)) == Some(&b'=') => Some(2),
            _ => None,
        };
        let index = rest.get(length) == Some(&b'[');
        if name.is_empty() || (!index && assigns(length).is_none()) {
            return Ok(None);
        }
        if !is_variable(name) {
            return self.refuse("an assignment to a name that not every shell knows as one");
        }
        self.skip(length);
        let mut values = Vec::new();
        if index {
            self.skip(1);
            let (from, mut parts) = (self.pos, Vec::new());
            self.nested(|p| p.parts(Mode::Index, &mut parts))?;
            let index = Word { parts, at: self.at(from, self.pos) };
            if !self.eat("]") {
                return self.refuse("a bracket that is not closed");
            }
            if index.literal().is_none() {
                values.push(index);
            }
        }
        let name = self.since(start).to_owned();
        if !self.eat("=") && !self.eat("+=") {
            return self.refuse_at(start, "a bracket where a command begins");
        }
        if self.peek() == Some(b'(') {
            self.skip(1);
            self.nested(|p| p.elements(&mut values))?;
        } else if self.sees_word() {
            values.push(self.word()?.word);
        }
        Ok(Some(Assignment { name, values }))
    }

    /// Reads what stands in `NAME=(...)`, after the parenthesis.
    fn elements(&mut self, values: &mut Vec<Word>) -> Result<(), NotUnderstood> {
        loop {
            self.blanks_and_lines()?;
            if self.eat(")") {
                return Ok(());
            }
            if !self.sees_word() {
                return self.refuse("a list of values that is not closed");
            }
            values.push(self.word()?.word);
        }
    }

    /// Whether a word begins right here.
    pub(super) fn sees_word(&self) -> bool {
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')') => false,
            Some(b'<' | b'>') => self.peek_at(1) == Some(b'('),
            Some(_) => true,
        }
    }

    /// Redirections after a compound command.
    pub(super) fn redirections(&mut self) -> Result<Vec<Redirection>, NotUnderstood> {
        let mut all = Vec::new();
        loop {
            self.blanks();
            if !self.sees_redirection() {
                return Ok(all);
            }
            all.push(self.redirection()?);
        }
    }
}

/// A name of a variable (XBD 3.216).
pub(super) fn is_variable(name: &str) -> bool {
    is_name(name) && !name.contains(['-', '.', ':'])
}

/// A name of a function, as far as shells agree.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}
