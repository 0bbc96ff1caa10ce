//! One word of a command line: what is known of it, and what only the target's shell will know.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::text;
use super::tree::Script;

/// `{a,b}{a,b}...` doubles with each pair of braces: beyond so many words nobody says what a shell makes of it.
const LIKELY_WORDS_MAX: usize = 64;
const LIKELY_BYTES_MAX: usize = 64 * 1024;

/// One word, after quotes and backslashes were taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its parts, in order; none for an empty word (`''`).
    pub parts: Vec<Part>,
    /// Where it stands in the line, in bytes. A word inside backquotes with backslashes has the place of the whole
    /// substitution: its text is not in the line as such.
    pub at: Range<usize>,
}

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Characters that stand for themselves, in every shell.
    Literal(String),
    /// A pattern that the shell replaces by the names of files: `*`, `?` or `[...]`, unquoted, as written. A `[` that
    /// nothing plain closes stands alone.
    Glob(String),
    /// What only the target knows.
    Dynamic(Dynamic),
}

/// What a shell puts in the place of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dynamic {
    /// `$name`, `${name}`, `$1`, `$?`; with an operator (`${name:-word}`) the words in it.
    Parameter {
        /// What stands between the braces before the operator: the name, of an array the index with it, and a `#` or
        /// `!` before it.
        name: String,
        /// The word of its operator, and what stands in its index: both are expanded, too.
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
    /// `~` or `~name` at the start of a word, or after a `=` in it, as written.
    Home(String),
    /// `{a,b}` or `{1..9}`: one word becomes several in bash, zsh, ksh and fish, and stays as it is in dash.
    Braces {
        /// As written.
        text: String,
        /// What stands between the commas, where there are any.
        alternatives: Vec<Word>,
    },
    /// What shells read differently: `$'...'`, whose `$` stands for itself in dash, and `=` at the start of a word, where
    /// zsh puts the program's path.
    Dialect {
        /// As written.
        text: String,
        /// What bash makes of it, if that is text.
        likely: Option<String>,
    },
}

impl Word {
    /// A word of literal text.
    pub fn of(text: &str, at: Range<usize>) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Literal(text.to_owned())] };
        Self { parts, at }
    }

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

    /// What bash makes of the word, if that can be told without the target: the literal text, and `$'...'` decoded.
    ///
    /// For modes that go on as the user typed it and want to see through a disguise; never to allow by it.
    pub fn likely(&self) -> Option<String> {
        let mut words = self.likely_words()?.into_iter();
        let word = words.next()?;
        words.next().is_none().then_some(word)
    }

    /// The words that bash makes of this one, if that can be told without the target: as `likely`, and `{a,b}`
    /// multiplied out. Ranges (`{1..9}`) and words of which nothing would be left are not told.
    pub fn likely_words(&self) -> Option<Vec<String>> {
        let mut words = vec![String::new()];
        let mut braces = false;
        for part in &self.parts {
            match part {
                Part::Literal(text) | Part::Dynamic(Dynamic::Dialect { likely: Some(text), .. }) => {
                    words.iter_mut().for_each(|word| word.push_str(text));
                }
                Part::Dynamic(Dynamic::Braces { alternatives, .. }) if alternatives.len() > 1 => {
                    let mut endings = Vec::new();
                    for alternative in alternatives {
                        endings.extend(alternative.likely_words()?);
                    }
                    if words.len().saturating_mul(endings.len()) > LIKELY_WORDS_MAX {
                        return None;
                    }
                    words =
                        words.iter().flat_map(|word| endings.iter().map(move |end| format!("{word}{end}"))).collect();
                    braces = true;
                }
                Part::Glob(_) | Part::Dynamic(_) => return None,
            }
            if words.iter().map(String::len).sum::<usize>() > LIKELY_BYTES_MAX {
                return None;
            }
        }
        // An unquoted word that comes out empty is dropped; whether it had quotes is no longer known here.
        (!braces || words.iter().all(|word| !word.is_empty())).then_some(words)
    }

    /// Whether a part of it is known only to the target; patterns for file names do not count.
    pub fn is_dynamic(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Dynamic(_)))
    }

    /// Whether it has patterns for file names.
    pub fn is_glob(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Glob(_)))
    }

    /// Whether it starts with this text, whatever its dynamic parts become.
    pub fn starts_with(&self, prefix: &str) -> bool {
        self.after(prefix).is_some()
    }

    /// The word without this text at its start, if it starts with it. What is left stands where it stood: its place is
    /// cut where the line has the prefix as plainly as the word has it, and is the whole word's otherwise.
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let (first, cut) = self.after(prefix)?;
        let rest = self.parts.get(first..)?;
        let mut parts = Vec::with_capacity(rest.len());
        for (index, part) in rest.iter().enumerate() {
            match part {
                Part::Literal(text) if index == 0 && cut > 0 => {
                    let text = text.get(cut..)?;
                    if !text.is_empty() {
                        parts.push(Part::Literal(text.to_owned()));
                    }
                }
                Part::Literal(_) | Part::Glob(_) | Part::Dynamic(_) => parts.push(part.clone()),
            }
        }
        Some(Self { parts, at: self.place_after(prefix.len()) })
    }

    /// The literal text before the first literal `=`, and the word after it: `--file=$x` is `--file` and `$x`. None if
    /// something that is not literal stands before it, or there is none.
    pub fn split_at_equals(&self) -> Option<(String, Self)> {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => match text.split_once('=') {
                    Some((before, _)) => {
                        name.push_str(before);
                        let rest = self.strip_prefix(&format!("{name}="))?;
                        return Some((name, rest));
                    }
                    None => name.push_str(text),
                },
                Part::Glob(_) | Part::Dynamic(_) => return None,
            }
        }
        None
    }

    /// The literal text at its start; empty if it starts with something else.
    pub fn literal_start(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            Some(Part::Glob(_) | Part::Dynamic(_)) | None => "",
        }
    }

    /// The part in which the prefix ends, and how much of its text belongs to the prefix.
    fn after(&self, prefix: &str) -> Option<(usize, usize)> {
        let mut left = prefix;
        for (index, part) in self.parts.iter().enumerate() {
            if left.is_empty() {
                return Some((index, 0));
            }
            let Part::Literal(text) = part else { return None };
            if text.starts_with(left) {
                return Some((index, left.len()));
            }
            left = left.strip_prefix(text.as_str())?;
        }
        left.is_empty().then_some((self.parts.len(), 0))
    }

    /// The word's place without its first bytes, if the word stands in the line as it reads: one literal part as long as
    /// its place. Where quotes or expansions stand in it, nobody can say where its rest begins.
    fn place_after(&self, bytes: usize) -> Range<usize> {
        match self.parts.as_slice() {
            [Part::Literal(text)] if text.len() == self.at.len() => {
                self.at.start.saturating_add(bytes).min(self.at.end)..self.at.end
            }
            _ => self.at.clone(),
        }
    }
}

/// The word for a person's eyes, close to how it was written: quoted where that is needed to see where it ends, and
/// with nothing in it that steers a terminal.
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.is_empty() {
            return f.write_str("''");
        }
        for part in &self.parts {
            match part {
                Part::Literal(text) => text::show_quoted(text, f)?,
                Part::Glob(text) => text::show(text, f)?,
                Part::Dynamic(dynamic) => dynamic.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter { name, words } if words.is_empty() => {
                f.write_str("${")?;
                text::show(name, f)?;
                f.write_str("}")
            }
            Self::Parameter { name, .. } => {
                f.write_str("${")?;
                text::show(name, f)?;
                f.write_str("...}")
            }
            Self::Command(_) => f.write_str("$(...)"),
            Self::Process(_) => f.write_str("<(...)"),
            Self::Arithmetic { text, .. } => {
                f.write_str("$((")?;
                text::show(text, f)?;
                f.write_str("))")
            }
            Self::Home(text) | Self::Braces { text, .. } | Self::Dialect { text, .. } => text::show(text, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::tree::Command;
    use super::*;

    fn word(text: &str) -> Word {
        let script = parse(&format!(": {text}")).unwrap();
        let Command::Simple(simple) = &script.entries[0].pipeline.commands[0].command else { panic!("{script:?}") };
        assert_eq!(simple.words.len(), 2, "{text}");
        simple.words[1].clone()
    }

    #[test]
    fn a_prefix_is_cut_off_and_the_rest_keeps_its_place() {
        let rest = word("--file=/etc/x").strip_prefix("--file=").unwrap();
        assert_eq!((rest.literal().unwrap().as_ref(), rest.at.clone()), ("/etc/x", 9..15));
        let rest = word("--file=$x").strip_prefix("--file=").unwrap();
        assert_eq!((rest.parts.len(), rest.at), (1, 2..11));
        assert_eq!(word("-f").strip_prefix("-f").unwrap().literal().unwrap(), "");
        assert!(word("-f$x").strip_prefix("-fx").is_none());
        assert!(word("$x").strip_prefix("$").is_none());
        assert!(word("*x").strip_prefix("*").is_none());
        assert!(word("''").strip_prefix("").is_some());
    }

    #[test]
    fn a_word_is_split_at_its_first_literal_equals_sign() {
        let (name, value) = word("--a='b=c'").split_at_equals().unwrap();
        assert_eq!((name.as_str(), value.literal().unwrap().as_ref()), ("--a", "b=c"));
        let (name, value) = word("--a=$b=c").split_at_equals().unwrap();
        assert_eq!((name.as_str(), value.is_dynamic()), ("--a", true));
        assert!(word("a$b=c").split_at_equals().is_none());
        assert!(word("a").split_at_equals().is_none());
    }

    #[test]
    fn bashs_reading_of_a_disguise_is_told_apart_from_literal_text() {
        for (text, wanted) in [
            (r"$'\x73h'", Some(&["sh"][..])),
            (r"$'\163\u0068'", Some(&["sh"])),
            ("s''h", Some(&["sh"])),
            ("{touch,x}", Some(&["touch", "x"])),
            ("a{b,c{d,e}}f", Some(&["abf", "acdf", "acef"])),
            ("{,x}", None),
            ("{1..3}", None),
            ("a$b", None),
            ("*", None),
            ("~/x", None),
            ("=ls", Some(&["=ls"])),
        ] {
            let word = word(text);
            let likely = word.likely_words();
            assert_eq!(likely, wanted.map(|words| words.iter().map(|&word| word.to_owned()).collect()), "{text}");
            assert_eq!(word.literal().is_some(), text == "s''h", "{text}");
        }
        assert!(word("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}").likely_words().is_none());
    }

    #[test]
    fn what_a_person_sees_shows_where_a_word_ends_and_steers_nothing() {
        for (text, wanted) in [
            ("''", "''"),
            ("a\\ b", "'a b'"),
            ("'a\nb'", r"$'a\nb'"),
            ("\"it's\"", r#""it's""#),
            ("a$b'*'", "a${b}'*'"),
            ("*.log", "*.log"),
            ("'\u{a0}'", r"$'\u{a0}'"),
            ("$((1+2))$(x)", "$((1+2))$(...)"),
        ] {
            assert_eq!(word(text).to_string(), wanted, "{text}");
        }
    }
}
