//! A program text of awk: which commands, files and connections it names.
//!
//! Not a parser: a reader of tokens that knows the few words and signs by which awk leaves its own world (POSIX awk, and
//! gawk's `|&`, `@include`, `@name()`, `/inet/`). What it does not understand is `load-code`. A text that is put
//! together by the awk program, `system("s" "h")`, cannot be read and is a shell that nobody saw the script of.

use super::told::{Inner, Told};
use super::{Effect, EffectKind};
use crate::gate::shell::word::Word;

/// Adds what the awk program in `word` does.
pub(super) fn look(word: &Word, told: &mut Told) {
    let mut found = Told::default();
    let understood =
        word.literal().is_some_and(|text| Tokens::of(&text).is_some_and(|tokens| read(&tokens, word, &mut found)));
    if understood {
        told.effects.append(&mut found.effects);
        told.inner.append(&mut found.inner);
    } else {
        told.effects.push(Effect { kind: EffectKind::LoadCode, on: Some(word.clone()) });
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Number,
    /// Without its quotes, with its escapes read; none if they are not understood.
    Text(Option<String>),
    Regex,
    /// `|`, `|&`.
    Pipe,
    /// `>`, `>>`; in a `print` it is a file.
    Into,
    /// `<`.
    Less,
    /// `(`, `[`.
    Open,
    /// `)`, `]`.
    Close,
    /// What ends a statement.
    End,
    /// `@`.
    At,
    /// Any other sign.
    Sign,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Option<Vec<Token>> {
        let mut all = Self { text, at: 0, tokens: Vec::new() };
        while let Some(c) = all.peek() {
            all.one(c)?;
        }
        Some(all.tokens)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, token: Token, bytes: usize) {
        self.tokens.push(token);
        self.at += bytes;
    }

    fn one(&mut self, c: char) -> Option<()> {
        let rest = self.rest();
        match c {
            ' ' | '\t' | '\r' => self.at += 1,
            '\\' if rest.starts_with("\\\n") => self.at += 2,
            '#' => self.at += rest.find('\n').unwrap_or(rest.len()),
            '\n' | ';' | '{' | '}' => self.push(Token::End, 1),
            '"' => self.text()?,
            '/' if self.regex_may_begin()? => self.regex()?,
            '|' if rest.starts_with("||") => self.push(Token::Sign, 2),
            '|' if rest.starts_with("|&") => self.push(Token::Pipe, 2),
            '|' => self.push(Token::Pipe, 1),
            '>' if rest.starts_with(">=") => self.push(Token::Sign, 2),
            '>' if rest.starts_with(">>") => self.push(Token::Into, 2),
            '>' => self.push(Token::Into, 1),
            '<' if rest.starts_with("<=") => self.push(Token::Sign, 2),
            '<' => self.push(Token::Less, 1),
            '(' | '[' => self.push(Token::Open, 1),
            ')' | ']' => self.push(Token::Close, 1),
            '@' => self.push(Token::At, 1),
            '+' | '-' | '*' | '/' | '%' | '^' | '!' | '~' | '=' | '?' | ':' | ',' | '$' | '&' => {
                self.push(Token::Sign, 1)
            }
            c if c.is_ascii_digit() || c == '.' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).unwrap_or(rest.len());
                self.push(Token::Number, end);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end =
                    rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                // `a ? b : c` has the sign, too; gawk's `space::name` has it twice.
                let name = rest.get(..end).unwrap_or_default();
                if name.contains("::") {
                    return None;
                }
                let end = name.find(':').unwrap_or(end);
                self.push(Token::Name(name.get(..end).unwrap_or_default().to_owned()), end);
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether a slash begins a pattern here; `None` where only a whole grammar could tell.
    fn regex_may_begin(&self) -> Option<bool> {
        match self.tokens.last() {
            Some(Token::Name(name)) => Some(matches!(
                name.as_str(),
                "print" | "printf" | "return" | "case" | "in" | "else" | "do" | "getline" | "exit"
            )),
            Some(Token::Number | Token::Text(_)) => Some(false),
            // `(a) / b` divides, and `if (a) /b/` does not. With one slash in the line it can only divide.
            Some(Token::Close) => {
                let line = self.rest().lines().next().unwrap_or_default();
                if line.matches('/').count() == 1 { Some(false) } else { None }
            }
            Some(
                Token::Regex
                | Token::Pipe
                | Token::Into
                | Token::Less
                | Token::Open
                | Token::End
                | Token::At
                | Token::Sign,
            )
            | None => Some(true),
        }
    }

    fn regex(&mut self) -> Option<()> {
        let mut chars = self.rest().char_indices().skip(1);
        let mut bracket = false;
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    chars.next()?;
                }
                '\n' => return None,
                '[' => bracket = true,
                ']' => bracket = false,
                // Some awks end the pattern at a slash in brackets, and others do not.
                '/' if bracket => return None,
                '/' => {
                    self.push(Token::Regex, at + 1);
                    return Some(());
                }
                _ => {}
            }
        }
        None
    }

    fn text(&mut self) -> Option<()> {
        let mut chars = self.rest().char_indices().skip(1);
        let mut text = Some(String::new());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.push(Token::Text(text), at + 1);
                    return Some(());
                }
                '\n' => return None,
                '\\' => match chars.next()?.1 {
                    'n' => text.as_mut().into_iter().for_each(|text| text.push('\n')),
                    't' => text.as_mut().into_iter().for_each(|text| text.push('\t')),
                    c @ ('"' | '\\' | '/') => text.as_mut().into_iter().for_each(|text| text.push(c)),
                    _ => text = None,
                },
                c => text.as_mut().into_iter().for_each(|text| text.push(c)),
            }
        }
        None
    }
}

/// Finds the ways out; `false` if the program is not understood.
fn read(tokens: &[Token], word: &Word, found: &mut Told) -> bool {
    let mut depth = 0_usize;
    // How deep the statement's `print` stands, behind which `>` names a file.
    let mut print: Option<usize> = None;
    let mut add =
        |kind, on: Option<Word>| found.effects.push(Effect { kind, on: Some(on.unwrap_or_else(|| word.clone())) });
    let mut scripts = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        match token {
            Token::Name(name) => match name.as_str() {
                "print" | "printf" => print = Some(depth),
                "system" => scripts.push(argument(tokens.get(index + 1..).unwrap_or_default())),
                // Other files than those of the command line are read.
                "ARGV" | "ARGC" => add(EffectKind::Read, None),
                "extension" => return false,
                // `"date" | getline` is told at the pipe; `getline line < "file"` below.
                _ => {}
            },
            Token::Pipe => match (print, next) {
                (Some(_), Some(Token::Text(text))) if ends(tokens.get(index + 2)) => scripts.push(text.clone()),
                (_, Some(Token::Name(name))) if name == "getline" => scripts.push(match before {
                    Some(Token::Text(text)) if stands_alone(tokens, index - 1) => text.clone(),
                    Some(_) | None => None,
                }),
                _ => scripts.push(None),
            },
            Token::Into if print == Some(depth) => match next {
                Some(Token::Text(Some(path))) if ends(tokens.get(index + 2)) => {
                    file(EffectKind::Write, path, word, &mut add)
                }
                Some(_) | None => add(EffectKind::Write, None),
            },
            Token::Less if tokens.get(index.saturating_sub(4)..index).unwrap_or_default().contains(&getline()) => {
                match next {
                    Some(Token::Text(Some(path))) => file(EffectKind::Read, path, word, &mut add),
                    Some(_) | None => add(EffectKind::Read, None),
                }
            }
            Token::At => return false,
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::End => print = None,
            Token::Text(Some(text)) if text.starts_with("/inet") => {
                add(EffectKind::NetOut, Some(Word::of(text, word.at.clone())))
            }
            Token::Text(_) | Token::Into | Token::Less | Token::Number | Token::Regex | Token::Sign => {}
        }
    }
    for script in scripts {
        match script {
            Some(text) => found.inner.push(Inner::Script(Word::of(&text, word.at.clone()))),
            None => {
                for kind in [EffectKind::Shell, EffectKind::Unknown] {
                    found.effects.push(Effect { kind, on: Some(word.clone()) });
                }
            }
        }
    }
    true
}

fn getline() -> Token {
    Token::Name(String::from("getline"))
}

fn file(kind: EffectKind, path: &str, word: &Word, add: &mut impl FnMut(EffectKind, Option<Word>)) {
    match path {
        "/dev/stdout" | "/dev/stderr" | "/dev/null" | "-" => {}
        path if path.starts_with("/inet") => {}
        path => add(kind, Some(Word::of(path, word.at.clone()))),
    }
}

/// The text of `("text")`, if that is all there is between the brackets.
fn argument(tokens: &[Token]) -> Option<String> {
    match tokens {
        [Token::Open, Token::Text(text), Token::Close, ..] => text.clone(),
        _ => None,
    }
}

fn ends(token: Option<&Token>) -> bool {
    matches!(token, None | Some(Token::End))
}

/// Whether nothing that could be joined to it stands before a text.
fn stands_alone(tokens: &[Token], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| tokens.get(before));
    match before {
        None | Some(Token::End | Token::Open) => true,
        Some(
            Token::Name(_)
            | Token::Number
            | Token::Text(_)
            | Token::Regex
            | Token::Pipe
            | Token::Into
            | Token::Less
            | Token::Close
            | Token::At
            | Token::Sign,
        ) => false,
    }
}
