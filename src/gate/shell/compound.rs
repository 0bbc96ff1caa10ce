//! What the shell does around commands: groups, loops, conditions, functions (XCU 2.9.4 and 2.9.5).

use super::commands::{Until, is_variable};
use super::parser::Parser;
use super::tree::{Command, Compound, CompoundKind, NotUnderstood, Script};
use super::word::Word;
use super::words::Mode;

impl Parser<'_> {
    /// Reads `( ... )`.
    pub(super) fn subshell(&mut self) -> Result<Compound, NotUnderstood> {
        let start = self.pos;
        self.skip(1);
        let script = self.some(Until::Paren)?;
        self.skip(1);
        self.finish(CompoundKind::Subshell, vec![script], Vec::new(), start)
    }

    /// Reads `{ ...; }`.
    pub(super) fn group(&mut self) -> Result<Compound, NotUnderstood> {
        let start = self.pos;
        self.skip(1);
        if !matches!(self.peek(), Some(b' ' | b'\t' | b'\n')) {
            return self.refuse("a brace where a command begins");
        }
        let script = self.some(Until::Words(&["}"]))?;
        self.expect("}")?;
        self.finish(CompoundKind::Group, vec![script], Vec::new(), start)
    }

    /// Reads what begins with a reserved word.
    pub(super) fn compound(&mut self) -> Result<Compound, NotUnderstood> {
        let start = self.pos;
        if self.eat_word("if") {
            let mut scripts = vec![self.some(Until::Words(&["then"]))?];
            self.expect("then")?;
            loop {
                scripts.push(self.some(Until::Words(&["elif", "else", "fi"]))?);
                if self.eat_word("elif") {
                    scripts.push(self.some(Until::Words(&["then"]))?);
                    self.expect("then")?;
                } else if self.eat_word("else") {
                    scripts.push(self.some(Until::Words(&["fi"]))?);
                    self.expect("fi")?;
                    break;
                } else {
                    self.expect("fi")?;
                    break;
                }
            }
            return self.finish(CompoundKind::If, scripts, Vec::new(), start);
        }
        if self.eat_word("while") || self.eat_word("until") {
            let condition = self.some(Until::Words(&["do"]))?;
            let body = self.body()?;
            return self.finish(CompoundKind::While, vec![condition, body], Vec::new(), start);
        }
        if self.eat_word("for") {
            self.blanks();
            if self.eat("((") {
                let (text, mut scripts) = self.arithmetic_text(Mode::Pattern)?;
                self.blanks();
                self.eat(";");
                self.blanks_and_lines()?;
                scripts.push(self.body()?);
                return self.finish(CompoundKind::Arithmetic(text), scripts, Vec::new(), start);
            }
            return self.each(start);
        }
        if self.eat_word("select") {
            self.blanks();
            return self.each(start);
        }
        if self.eat_word("case") {
            return self.case(start);
        }
        if self.eat_word("function") {
            self.blanks();
            let Some(name) = self.peek_plain().filter(|name| is_variable(name)).map(str::to_owned) else {
                return self.refuse("a name of a function that not every shell knows as one");
            };
            self.skip(name.len());
            return self.function(name, start);
        }
        self.expect("[[")?;
        self.test(start)
    }

    /// Reads what follows the name of a function: `()`, which may be left out after `function`, and its body.
    pub(super) fn function(&mut self, name: String, start: usize) -> Result<Compound, NotUnderstood> {
        self.blanks();
        if self.eat("(") {
            self.blanks();
            if !self.eat(")") {
                return self.refuse("a parenthesis where no command begins");
            }
        }
        self.blanks_and_lines()?;
        let body = self.pos;
        match self.command()? {
            Command::Compound(Compound { kind: CompoundKind::Function(_), .. }) | Command::Simple(_) => {
                self.refuse_at(body, "a function without braces around its body")
            }
            Command::Compound(compound) => {
                let script = Script::of(Command::Compound(compound));
                self.finish(CompoundKind::Function(name), vec![script], Vec::new(), start)
            }
        }
    }

    /// Reads what follows `for` or `select`.
    fn each(&mut self, start: usize) -> Result<Compound, NotUnderstood> {
        let Some(name) = self.peek_plain().filter(|name| is_variable(name)).map(str::to_owned) else {
            return self.refuse("a name of a variable that not every shell knows as one");
        };
        self.skip(name.len());
        self.blanks_and_lines()?;
        let mut words = Vec::new();
        if self.eat_word("in") {
            loop {
                self.blanks();
                if !self.sees_word() || self.peek() == Some(b'#') {
                    break;
                }
                words.push(self.word()?.word);
            }
            if !matches!(self.peek(), Some(b';' | b'\n' | b'#')) {
                return self.refuse("something in a list of words that does not belong to it");
            }
        }
        self.eat(";");
        self.blanks_and_lines()?;
        let body = self.body()?;
        self.finish(CompoundKind::For(name), vec![body], words, start)
    }

    /// Reads `do ... done`.
    fn body(&mut self) -> Result<Script, NotUnderstood> {
        self.expect("do")?;
        let script = self.some(Until::Words(&["done"]))?;
        self.expect("done")?;
        Ok(script)
    }

    /// Reads what follows `case`.
    fn case(&mut self, start: usize) -> Result<Compound, NotUnderstood> {
        // Where a substitution ends that holds a `)` of its own, older shells do not find.
        if self.substituted {
            return self.refuse("`case` in a substitution");
        }
        self.blanks();
        let mut words = vec![self.operand_word()?];
        let mut scripts = Vec::new();
        self.blanks_and_lines()?;
        self.expect("in")?;
        loop {
            self.blanks_and_lines()?;
            if self.eat_word("esac") {
                return self.finish(CompoundKind::Case, scripts, words, start);
            }
            if self.eat("(") {
                self.blanks();
            }
            loop {
                words.push(self.operand_word()?);
                self.blanks();
                if self.sees("|") {
                    self.skip(1);
                    self.blanks();
                } else {
                    break;
                }
            }
            if !self.eat(")") {
                return self.refuse("a pattern of `case` that is not closed");
            }
            scripts.push(self.list(Until::Case)?);
            let _ = self.eat(";;&") || self.eat(";;") || self.eat(";&");
        }
    }

    /// Reads a word that must stand here.
    fn operand_word(&mut self) -> Result<Word, NotUnderstood> {
        if !self.sees_word() || self.peek() == Some(b'#') {
            return self.refuse("a word is missing");
        }
        Ok(self.word()?.word)
    }

    /// Reads what follows `[[`. A shell that does not know it takes it for a program, and what follows `&&` and `||` for
    /// other programs: there only options may stand.
    fn test(&mut self, start: usize) -> Result<Compound, NotUnderstood> {
        let (mut words, mut mode) = (Vec::new(), Mode::Word);
        loop {
            self.blanks();
            if self.eat_word("]]") {
                return self.finish(CompoundKind::Test, Vec::new(), words, start);
            }
            if self.eat("&&") || self.eat("||") {
                self.blanks();
                if self.peek() != Some(b'-') {
                    return self.refuse("a test joined by `&&` or `||`, which some shells read as two commands");
                }
            }
            let plain = self.peek_plain();
            let operator = ["==", "=~", "!=", "="].into_iter().find(|operator| plain == Some(operator));
            if let Some(operator) = operator {
                let from = self.pos;
                self.skip(operator.len());
                words.push(Word::of(operator, self.at(from, self.pos)));
                mode = if operator == "=~" { Mode::Pattern } else { Mode::Word };
                continue;
            }
            let parenthesis = mode == Mode::Pattern && self.peek() == Some(b'(');
            if !parenthesis && !self.sees_word() {
                return self.refuse("an operator in `[[` that some shells read as one outside of it");
            }
            words.push(self.word_as(mode)?.word);
            mode = Mode::Word;
        }
    }

    /// Steps over a reserved word that must come next.
    fn expect(&mut self, word: &str) -> Result<(), NotUnderstood> {
        if self.eat_word(word) { Ok(()) } else { self.refuse("a reserved word is missing") }
    }

    /// A compound command that was read to its end, and the redirections after it.
    fn finish(
        &mut self,
        kind: CompoundKind,
        scripts: Vec<Script>,
        words: Vec<Word>,
        start: usize,
    ) -> Result<Compound, NotUnderstood> {
        let end = self.pos;
        let redirections = self.redirections()?;
        let end = if redirections.is_empty() { end } else { self.pos };
        Ok(Compound { kind, scripts, words, redirections, at: self.at(start, end) })
    }
}
