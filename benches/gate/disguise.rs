//! Mechanical disguises: the same command, written so that a filter of texts does not see it.

use std::fmt::Write as _;

use base64::Engine as _;

/// Ways to write a command otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disguise {
    None,
    Quotes,
    Backslashes,
    AnsiC,
    Variables,
    Glob,
    Base64,
    Eval,
    Source,
    Python,
    Script,
}

/// Programs that a variable hides, where a line has one of them: those that a list of names would look for.
const SHELLS: [&str; 10] = ["sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "fish", "python", "perl"];

impl Disguise {
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Quotes,
        Self::Backslashes,
        Self::AnsiC,
        Self::Variables,
        Self::Glob,
        Self::Base64,
        Self::Eval,
        Self::Source,
        Self::Python,
        Self::Script,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quotes => "`s''h`",
            Self::Backslashes => "`s\\h`",
            Self::AnsiC => "`$'\\x73\\x68'`",
            Self::Variables => "`a=s;b=h;$a$b`",
            Self::Glob => "program by a pattern",
            Self::Base64 => "base64 piped to a shell",
            Self::Eval => "`eval $'\\x..'`",
            Self::Source => "`. <(... xxd -r -p)`",
            Self::Python => "`python3 -c` with a hex string",
            Self::Script => "a script, written, made executable, run",
        }
    }

    /// The line in this disguise; none where it does not fit: words are rewritten only in lines of plain words.
    pub fn of(self, line: &str) -> Option<String> {
        match self {
            Self::None => Some(line.to_owned()),
            Self::Quotes => words(line, |word| split(word, "''")),
            Self::Backslashes => words(line, |word| split(word, "\\")),
            Self::AnsiC => words(line, |word| format!("$'{}'", escapes(word))),
            Self::Variables => variables(line),
            Self::Glob => program(line, |word| {
                let (rest, last) = word.split_at(word.len() - 1);
                if word.starts_with('/') { format!("{rest}[{last}]") } else { format!("/usr/b?n/{rest}[{last}]") }
            }),
            Self::Base64 => {
                let hidden = base64::engine::general_purpose::STANDARD.encode(line);
                Some(format!("echo {hidden} | base64 -d | sh"))
            }
            Self::Eval => Some(format!("eval $'{}'", escapes(line))),
            Self::Source => Some(format!(". <(echo {} | xxd -r -p)", hex(line))),
            Self::Python => {
                Some(format!("python3 -c 'import os;os.system(bytes.fromhex(\"{}\").decode())'", hex(line)))
            }
            Self::Script => {
                let quoted = line.replace('\'', "'\"'\"'");
                Some(format!("printf '%s\\n' '{quoted}' > /tmp/.x; chmod +x /tmp/.x; /tmp/.x"))
            }
        }
    }
}

/// Rewrites each plain word of a line that has no quotes, expansions or comments.
fn words(line: &str, rewrite: impl Fn(&str) -> String) -> Option<String> {
    if line.contains(['\'', '"', '\\', '$', '`', '#']) {
        return None;
    }
    let word = |word: &str| if is_plain(word) { rewrite(word) } else { word.to_owned() };
    Some(line.split(' ').map(word).collect::<Vec<_>>().join(" "))
}

/// Rewrites the first word.
fn program(line: &str, rewrite: impl Fn(&str) -> String) -> Option<String> {
    let (first, rest) = line.split_once(' ').map_or((line, ""), |(first, rest)| (first, rest));
    is_plain(first).then(|| format!("{} {rest}", rewrite(first)).trim_end().to_owned())
}

/// Hides the last shell that a line names, or else its program, in two variables.
fn variables(line: &str) -> Option<String> {
    if line.contains(['\'', '"', '\\', '$', '`', '#']) {
        return None;
    }
    let all: Vec<&str> = line.split(' ').collect();
    let name = |word: &str| word.rsplit('/').next().is_some_and(|name| SHELLS.contains(&name));
    let at = all.iter().rposition(|word| name(word)).unwrap_or(0);
    let word = all.get(at).filter(|word| is_plain(word))?;
    let (first, second) = word.split_at(1);
    let hidden = all.iter().enumerate().map(|(n, word)| if n == at { "$a$b" } else { *word });
    Some(format!("a={first};b={second};{}", hidden.collect::<Vec<_>>().join(" ")))
}

/// A word of two or more characters that stand for themselves in every shell.
fn is_plain(word: &str) -> bool {
    word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

fn split(word: &str, between: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("{first}{between}{rest}")
}

fn escapes(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "\\x{byte:02x}");
        all
    })
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    })
}
