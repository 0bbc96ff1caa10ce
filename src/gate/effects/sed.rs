//! A script of sed: which files it reads and writes, and whether it starts a shell.
//!
//! POSIX sed and GNU's `e`, `F`, `Q`, `R`, `T`, `v`, `W`, `z`, and the flags `e`, `I`, `M`, `w`. What it does not understand is
//! `load-code`.

use super::EffectKind;
use super::text::sketch;
use super::told::Told;
use crate::gate::shell::word::Word;

/// Adds what the sed script in `word` does.
pub(super) fn look(word: &Word, told: &mut Told) {
    let mut found = Told::default();
    let understood =
        sketch(word).is_some_and(|text| Script { rest: &text, word, found: &mut found, shell: false }.read().is_some());
    told.code(word, understood, found);
}

struct Script<'a> {
    rest: &'a str,
    word: &'a Word,
    found: &'a mut Told,
    /// That the pattern space is run is told once.
    shell: bool,
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
                self.pattern(end)?;
                self.skip(|c| matches!(c, 'I' | 'M'));
                Some(true)
            }
            Some(_) | None => Some(false),
        }
    }

    /// A pattern, up to the next `end`.
    ///
    /// Whether the sign may stand in brackets differs between seds. Where it may not, what stands before it is a pattern
    /// with brackets that are open, which every sed refuses; so only one reading is left.
    fn pattern(&mut self, end: char) -> Option<()> {
        if end == '\n' || end == '\\' {
            return None;
        }
        loop {
            match self.next()? {
                c if c == end => return Some(()),
                '\\' => {
                    self.next()?;
                }
                '[' => self.brackets(end)?,
                _ => {}
            }
        }
    }

    /// What is left of a bracket expression.
    fn brackets(&mut self, end: char) -> Option<()> {
        self.eat('^');
        self.eat(']');
        loop {
            match self.next()? {
                ']' => return Some(()),
                // In brackets a backslash is one, or is not.
                '\\' if self.rest.starts_with([']', end, '\\']) => return None,
                '[' => {
                    let class = self.rest.chars().next().filter(|c| matches!(c, ':' | '.' | '='));
                    if let Some(class) = class {
                        self.next();
                        let close = format!("{class}]");
                        let at = self.rest.find(&close)?;
                        self.rest = self.rest.get(at + close.len()..)?;
                    }
                }
                _ => {}
            }
        }
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
                    command => self.found.script(Word::of(command, self.word.at.clone())),
                }
                Some(())
            }
            'y' => {
                let end = self.next()?;
                self.replacement(end)?;
                self.replacement(end)?;
                self.end()
            }
            's' => self.substitute(),
            _ => None,
        }
    }

    fn substitute(&mut self) -> Option<()> {
        let end = self.next()?;
        self.pattern(end)?;
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

    /// What stands before the next `end`, where brackets mean nothing.
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
            path => self.found.effect(kind, Some(&Word::of(path, self.word.at.clone()))),
        }
        Some(())
    }

    /// The pattern space is run: nobody knows what will be in it.
    fn shell(&mut self) {
        if !std::mem::replace(&mut self.shell, true) {
            self.found.effect(EffectKind::Shell, Some(self.word));
            self.found.effect(EffectKind::Unknown, Some(self.word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inner;
    use super::*;

    /// The effects and the scripts of a sed script.
    fn told(text: &str) -> (Vec<(EffectKind, String)>, Vec<String>) {
        let mut told = Told::default();
        look(&Word::of(text, 0..0), &mut told);
        let effects = told.effects.iter().map(|effect| {
            let on = effect.on.as_ref().unwrap().literal().unwrap();
            (effect.kind, if on == text { String::new() } else { on.into_owned() })
        });
        let scripts = told.inner.iter().map(|inner| match inner {
            Inner::Script(word) => word.literal().unwrap().into_owned(),
            Inner::Command(_) | Inner::Input => panic!("{inner:?}"),
        });
        (effects.collect(), scripts.collect())
    }

    #[test]
    fn scripts_that_only_edit_do_nothing() {
        for text in [
            "s/a/b/g",
            "1d;$p",
            "/^#/d",
            "5,10!p",
            "s|/e|/w|I;s/x/y/2p",
            "/a/,/b/{s/e/w/;p}",
            "a\\\ntext e id\np",
            "$!N;P;D",
            ":a;N;$!ba;s/\\n/ /g",
            "y/abc/xyz/",
            "1~2d",
            "/x/,+3d",
            "\\,a,d",
            "s,a\\,e,b,",
            "# e id\np",
            "0,/a/s//b/",
            "",
            "i text; e id",
            "1!G;h;$!d",
            "s/[a-z]*/x/",
            "s/[/]/e/",
            "q5",
            "/a/I,/b/Md",
            "w /dev/stdout",
            "s/a/b/;ta",
            "b end\n:end\np",
        ] {
            assert_eq!(told(text), (vec![], vec![]), "{text}");
        }
    }

    #[test]
    fn ways_out_are_found() {
        use EffectKind::{LoadCode, Read, Shell, Unknown, Write};
        let unread = vec![(Shell, String::new()), (Unknown, String::new())];
        let on = |kind, text: &str| vec![(kind, text.to_owned())];
        for (text, effects, scripts) in [
            ("1e id", vec![], vec!["id"]),
            ("p;e", unread.clone(), vec![]),
            ("s/a/b/e", unread.clone(), vec![]),
            ("s/a/id/e;s/a/b/ge", unread.clone(), vec![]),
            ("s,a,e,3gpe", unread.clone(), vec![]),
            ("/x/{s/a/b/e}", unread.clone(), vec![]),
            ("w /etc/x", on(Write, "/etc/x"), vec![]),
            ("s/a/b/w /etc/x", on(Write, "/etc/x"), vec![]),
            ("$!W/etc/x", on(Write, "/etc/x"), vec![]),
            ("r /etc/x\n1e id", on(Read, "/etc/x"), vec!["id"]),
            ("R /etc/x", on(Read, "/etc/x"), vec![]),
            ("ba;e id", vec![], vec!["id"]),
            (":a;1e id", vec![], vec!["id"]),
            ("i\\\ntext\n1e id", vec![], vec!["id"]),
            ("a text\n1e id", vec![], vec!["id"]),
            ("s/[/]/x/e", unread.clone(), vec![]),
            ("s/[]/]/x/e;s/[^]/]/x/", unread.clone(), vec![]),
            ("s/[[:alpha:]/]/x/e", unread.clone(), vec![]),
            ("y/[/]/;1e id", vec![], vec!["id"]),
            ("s/[\\]/]/x/e", on(LoadCode, ""), vec![]),
            ("s/[/x/e", on(LoadCode, ""), vec![]),
            ("s/a/b", on(LoadCode, ""), vec![]),
            ("s/a/b/k", on(LoadCode, ""), vec![]),
            ("o", on(LoadCode, ""), vec![]),
            ("ps", on(LoadCode, ""), vec![]),
            ("1,d", on(LoadCode, ""), vec![]),
            ("w", on(LoadCode, ""), vec![]),
        ] {
            let scripts: Vec<String> = scripts.into_iter().map(str::to_owned).collect();
            assert_eq!(told(text), (effects, scripts), "{text}");
        }
    }
}
