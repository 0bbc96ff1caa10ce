//! One word of a command line: what is known of it, and what only the target's shell will know.

use std::borrow::Cow;
use std::ops::Range;

use super::tree::Script;

/// One word, after quotes and backslashes were taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its parts, in order; none for an empty word (`''`).
    pub parts: Vec<Part>,
    /// Where it stands in the line, in bytes.
    pub at: Range<usize>,
}

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Characters that stand for themselves, in every shell.
    Literal(String),
    /// A pattern that the shell replaces by the names of files: `*`, `?` or `[...]`, unquoted, as written.
    Glob(String),
    /// What only the target knows.
    Dynamic(Dynamic),
}

/// What a shell puts in the place of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dynamic {
    /// `$name`, `${name}`, `$1`, `$?`; with an operator (`${name:-word}`) the words in it.
    Parameter {
        /// The parameter's name as written; of an array the index with it.
        name: String,
        /// The words of its operator, which are expanded, too.
        words: Vec<Word>,
    },
    /// `$(...)` or `` `...` ``.
    Command(Script),
    /// `<(...)` or `>(...)`.
    Process(Script),
    /// `$((...))`, as written, and the commands in it. An index of an array in it is expanded anew, whatever its quotes.
    Arithmetic {
        /// What stands between the brackets.
        text: String,
        /// Its substitutions.
        scripts: Vec<Script>,
    },
    /// `~` or `~name` at the start of a word.
    Home(String),
    /// `{a,b}` or `{1..9}`, as written: one word becomes several in bash, zsh, ksh and fish, and stays as it is in dash.
    Braces(String),
}

impl Word {
    /// The word's text, if every shell reads the same in it whatever there is on the target.
    pub fn literal(&self) -> Option<Cow<'_, str>> {
        match self.parts.as_slice() {
            [] => Some(Cow::Borrowed("")),
            [Part::Literal(text)] => Some(Cow::Borrowed(text)),
            parts => {
                let mut whole = String::new();
                for part in parts {
                    match part {
                        Part::Literal(text) => whole.push_str(text),
                        Part::Glob(_) | Part::Dynamic(_) => return None,
                    }
                }
                Some(Cow::Owned(whole))
            }
        }
    }

    /// Whether a part of it is known only to the target; patterns for file names do not count.
    pub fn is_dynamic(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Dynamic(_)))
    }

    /// Whether it has patterns for file names.
    pub fn is_glob(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Glob(_)))
    }
}
