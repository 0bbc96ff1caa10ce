//! A program text of awk: which commands, files and connections it names.
//!
//! Not a parser: a reader of tokens that knows the few words and signs by which awk leaves its own world (POSIX awk, and
//! gawk's `|&`, `@include`, `@name()`, `/inet/`). What it does not understand is `load-code`. A text that is put
//! together by the awk program, `system("s" "h")`, cannot be read and is a shell that nobody saw the script of.

use super::EffectKind;
use super::text::sketch;
use super::told::Told;
use crate::gate::shell::word::Word;

/// Adds what the awk program in `word` does.
pub(super) fn look(word: &Word, told: &mut Told) {
    let mut found = Told::default();
    let understood =
        sketch(word).is_some_and(|text| Tokens::of(&text).is_some_and(|tokens| read(&tokens, word, &mut found)));
    told.code(word, understood, found);
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
    /// `(`, `[`; whether it is the condition of an `if`, `while`, `for` or `switch`.
    Open(bool),
    /// `)`, `]`, of the same.
    Close(bool),
    /// `++`, `--`.
    Step,
    /// `,`, `&&`, `||`: the statement goes on, on the next line if need be.
    More,
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
    /// The brackets that are open.
    open: Vec<bool>,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Option<Vec<Token>> {
        let mut all = Self { text, at: 0, tokens: Vec::new(), open: Vec::new() };
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
            '\n' if self.tokens.last() == Some(&Token::More) => self.at += 1,
            '\n' | ';' | '{' | '}' => self.push(Token::End, 1),
            '"' => self.text()?,
            '/' if self.regex_may_begin()? => self.regex()?,
            '|' if rest.starts_with("||") => self.push(Token::More, 2),
            '&' if rest.starts_with("&&") => self.push(Token::More, 2),
            ',' => self.push(Token::More, 1),
            '+' | '-' if rest.starts_with("++") || rest.starts_with("--") => self.push(Token::Step, 2),
            '|' if rest.starts_with("|&") => self.push(Token::Pipe, 2),
            '|' => self.push(Token::Pipe, 1),
            '>' if rest.starts_with(">=") => self.push(Token::Sign, 2),
            '>' if rest.starts_with(">>") => self.push(Token::Into, 2),
            '>' => self.push(Token::Into, 1),
            '<' if rest.starts_with("<=") => self.push(Token::Sign, 2),
            '<' => self.push(Token::Less, 1),
            '(' | '[' => {
                let condition = match self.tokens.last() {
                    Some(Token::Name(name)) => matches!(name.as_str(), "if" | "while" | "for" | "switch"),
                    Some(_) | None => false,
                };
                self.open.push(condition);
                self.push(Token::Open(condition), 1);
            }
            ')' | ']' => {
                let condition = self.open.pop()?;
                self.push(Token::Close(condition), 1);
            }
            '@' => self.push(Token::At, 1),
            '+' | '-' | '*' | '/' | '%' | '^' | '!' | '~' | '=' | '?' | ':' | '$' | '&' => self.push(Token::Sign, 1),
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
            Some(Token::Number | Token::Text(_) | Token::Close(false)) => Some(false),
            // Behind the condition of a `while` stands a statement, or nothing, as in `do`; behind `x++` a division, and
            // behind `++` a variable.
            Some(Token::Close(true) | Token::Step) => None,
            Some(
                Token::Regex
                | Token::Pipe
                | Token::Into
                | Token::Less
                | Token::Open(_)
                | Token::End
                | Token::More
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
    let mut ways = Ways { word, found, whole: Vec::new() };
    for (index, token) in tokens.iter().enumerate() {
        let next = tokens.get(index + 1);
        let behind = tokens.get(index + 2);
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        match token {
            Token::Name(name) => match name.as_str() {
                "print" | "printf" => print = Some(depth),
                "system" => ways.script(argument(tokens.get(index + 1..).unwrap_or_default())),
                // Other files than those of the command line are read.
                "ARGV" | "ARGC" => ways.whole(EffectKind::Read),
                "extension" => return false,
                // `"date" | getline` is told at the pipe; `getline line < "file"` at the sign.
                _ => {}
            },
            Token::Pipe => match (print, next) {
                (_, Some(Token::Name(name))) if name == "getline" => ways.script(match before {
                    Some(Token::Text(text)) if stands_alone(tokens, index - 1) => text.as_deref(),
                    Some(_) | None => None,
                }),
                (Some(_), Some(Token::Text(text))) if ends(behind) => ways.script(text.as_deref()),
                (Some(_) | None, Some(_) | None) => ways.script(None),
            },
            Token::Into if print == Some(depth) => ways.file(EffectKind::Write, next, ends(behind)),
            Token::Less if tokens.get(index.saturating_sub(5)..index).unwrap_or_default().iter().any(is_getline) => {
                ways.file(EffectKind::Read, next, !matches!(behind, Some(Token::Text(_) | Token::Name(_))));
            }
            Token::At => return false,
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::End => print = None,
            Token::Text(Some(text)) if text.starts_with("/inet") => ways.on(EffectKind::NetOut, text),
            Token::Text(_)
            | Token::Into
            | Token::Less
            | Token::Number
            | Token::Regex
            | Token::More
            | Token::Step
            | Token::Sign => {}
        }
    }
    true
}

fn is_getline(token: &Token) -> bool {
    matches!(token, Token::Name(name) if name == "getline")
}

/// The ways out that were found.
struct Ways<'a> {
    word: &'a Word,
    found: &'a mut Told,
    /// What falls on the whole program text is told once.
    whole: Vec<EffectKind>,
}

impl Ways<'_> {
    fn whole(&mut self, kind: EffectKind) {
        if !self.whole.contains(&kind) {
            self.whole.push(kind);
            self.found.effect(kind, Some(self.word));
        }
    }

    fn on(&mut self, kind: EffectKind, text: &str) {
        self.found.effect(kind, Some(&Word::of(text, self.word.at.clone())));
    }

    fn script(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.found.script(Word::of(text, self.word.at.clone())),
            None => {
                self.whole(EffectKind::Shell);
                self.whole(EffectKind::Unknown);
            }
        }
    }

    /// A file by its name, if `alone` that is all there is of it.
    fn file(&mut self, kind: EffectKind, name: Option<&Token>, alone: bool) {
        match name {
            Some(Token::Text(Some(path))) if alone => match path.as_str() {
                "/dev/stdout" | "/dev/stderr" | "/dev/stdin" | "/dev/null" | "-" => {}
                path if path.starts_with("/inet") => {}
                path => self.on(kind, path),
            },
            Some(_) | None => self.whole(kind),
        }
    }
}

/// The text of `("text")`, if that is all there is between the brackets.
fn argument(tokens: &[Token]) -> Option<&str> {
    match tokens {
        [Token::Open(_), Token::Text(text), Token::Close(_), ..] => text.as_deref(),
        _ => None,
    }
}

fn ends(token: Option<&Token>) -> bool {
    matches!(token, None | Some(Token::End))
}

/// Whether nothing that could be joined to it stands before a text.
fn stands_alone(tokens: &[Token], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| tokens.get(before));
    matches!(before, None | Some(Token::End | Token::Open(_)))
}

#[cfg(test)]
mod tests {
    use super::super::Inner;
    use super::*;

    /// The effects and the scripts of an awk program.
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
    fn programs_that_stay_in_their_own_world_do_nothing() {
        for text in [
            "{print $1}",
            "/a|b/",
            "$1 > 5",
            "NR==1{print; next} {s += $2} END {print s/NR, (a+b)/2, a[1]/2/3}",
            "BEGIN{FS=\":\"} $3 >= 1000 && $7 !~ /nologin$/ {print $1 \"|\" $2}",
            "{ if ($1 > 2) print $1 > \"/dev/stderr\" }",
            "!seen[$0]++",
            "{ printf(\"%s > %s\\n\", $1, $2) }",
            "{ print (a > b) }",
            "{gsub(/\"/, \"\"); print}",
            "# system(\"x\")\n{print}",
            "a || b",
            "function f(x) { return x / 2 }",
            "BEGIN { while ((getline line) > 0) n++; print n / 2 }",
            "",
        ] {
            assert_eq!(told(text), (vec![], vec![]), "{text}");
        }
    }

    #[test]
    fn ways_out_are_found() {
        use EffectKind::{LoadCode, NetOut, Read, Shell, Unknown, Write};
        let unread = vec![(Shell, String::new()), (Unknown, String::new())];
        let on = |kind, text: &str| vec![(kind, text.to_owned())];
        for (text, effects, scripts) in [
            ("BEGIN {system(\"id\")}", vec![], vec!["id"]),
            ("BEGIN {system(\"i\" \"d\")}", unread.clone(), vec![]),
            ("BEGIN {system(x) ; system(y)}", unread.clone(), vec![]),
            ("BEGIN {system (\"/bin/sh\\t\")}", vec![], vec!["/bin/sh\t"]),
            ("BEGIN {system(\"\\163h\")}", unread.clone(), vec![]),
            ("{print | \"sort -u\"}", vec![], vec!["sort -u"]),
            ("{print $1, $2 | \"sort\" x}", unread.clone(), vec![]),
            ("{print |& \"sort\"}", vec![], vec!["sort"]),
            ("{\"date\" | getline d}", vec![], vec!["date"]),
            ("{x \"date\" | getline d}", unread.clone(), vec![]),
            ("{while ((\"date\" | getline d) > 0) print d}", vec![], vec!["date"]),
            ("x++ / system(\"id\") / 2", on(LoadCode, ""), vec![]),
            ("if (x) /\"/; system(\"id\") /\"/", on(LoadCode, ""), vec![]),
            ("a[1] / system(\"id\") / 2", vec![], vec!["id"]),
            ("(1) / system(\"id\") / 2", vec![], vec!["id"]),
            ("/[/]/ {system(\"id\")}", on(LoadCode, ""), vec![]),
            ("{print $1 > \"/etc/x\"}", on(Write, "/etc/x"), vec![]),
            ("{print $1,\n $2 >> \"/etc/x\"}", on(Write, "/etc/x"), vec![]),
            ("{print $1 > $2}", on(Write, ""), vec![]),
            ("{printf(\"x\") > \"y\" z}", on(Write, ""), vec![]),
            ("{getline line < \"/etc/x\"}", on(Read, "/etc/x"), vec![]),
            ("{while ((getline line < \"/etc/x\") > 0) n++}", on(Read, "/etc/x"), vec![]),
            ("{getline a[1] < f}", on(Read, ""), vec![]),
            ("BEGIN {ARGV[1] = \"/etc/x\"; ARGC = 2}", on(Read, ""), vec![]),
            ("BEGIN {f = \"system\"; @f(\"id\")}", on(LoadCode, ""), vec![]),
            ("@load \"x\"", on(LoadCode, ""), vec![]),
            (
                "BEGIN {s = \"/inet/tcp/0/h/80\"; print |& s}",
                [on(NetOut, "/inet/tcp/0/h/80"), unread.clone()].concat(),
                vec![],
            ),
            ("BEGIN {awk::system(\"id\")}", on(LoadCode, ""), vec![]),
            ("{print \"}", on(LoadCode, ""), vec![]),
            (&format!("{{{}}}", "print;".repeat(2000)), on(LoadCode, ""), vec![]),
            ("{print ä}", on(LoadCode, ""), vec![]),
        ] {
            let scripts: Vec<String> = scripts.into_iter().map(str::to_owned).collect();
            assert_eq!(told(text), (effects, scripts), "{text}");
        }
    }
}
