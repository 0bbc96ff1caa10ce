//! Texts of words: their beginnings, what stands behind those, and paths as they are judged.

use std::borrow::Cow;

use crate::gate::shell::word::{Dynamic, Part, Word};

/// What a word surely begins with: its literal parts up to the first that only the target knows.
pub(super) fn head(word: &Word) -> Cow<'_, str> {
    match word.parts.as_slice() {
        [Part::Literal(text), Part::Literal(_), ..] => {
            let mut whole = text.clone();
            for part in word.parts.iter().skip(1) {
                match part {
                    Part::Literal(text) => whole.push_str(text),
                    Part::Glob(_) | Part::Dynamic(_) => break,
                }
            }
            Cow::Owned(whole)
        }
        [Part::Literal(text), ..] => Cow::Borrowed(text),
        [] | [Part::Glob(_) | Part::Dynamic(_), ..] => Cow::Borrowed(""),
    }
}

/// A word without the first bytes of its literal beginning.
pub(super) fn after(word: &Word, mut bytes: usize) -> Word {
    let mut parts = Vec::with_capacity(word.parts.len());
    for part in &word.parts {
        match part {
            Part::Literal(text) if bytes > 0 => {
                let rest = text.get(bytes..).unwrap_or_default();
                bytes = bytes.saturating_sub(text.len());
                if !rest.is_empty() {
                    parts.push(Part::Literal(rest.to_owned()));
                }
            }
            Part::Literal(_) | Part::Glob(_) | Part::Dynamic(_) => parts.push(part.clone()),
        }
    }
    Word { parts, at: word.at.clone() }
}

/// Whether only the target knows how a word begins: it may turn out to be an option, several words, or none.
///
/// A home and a process substitution become paths, and so does what a program found; `[n]ginx` begins with one of the letters
/// in the brackets.
pub(super) fn opens(word: &Word) -> bool {
    match word.parts.first() {
        Some(Part::Dynamic(Dynamic::Parameter { name, .. })) => name != super::told::FOUND,
        Some(Part::Literal(_) | Part::Dynamic(Dynamic::Home(_) | Dynamic::Process(_))) | None => false,
        Some(Part::Glob(pattern)) => {
            let first = pattern.strip_prefix('[').and_then(|rest| rest.split(']').next());
            !first.is_some_and(|set| !set.is_empty() && set.chars().all(|c| c.is_ascii_alphanumeric()))
        }
        Some(Part::Dynamic(_)) => true,
    }
}

/// A program text that is longer is not looked into.
const PROGRAM_BYTES_MAX: usize = 8 * 1024;

/// A word's text with a digit in the place of each part that only the target knows; none if nothing else is in it, or too
/// much.
///
/// In a program text most variables are data, as in `s/a/$b/`: what the rest of the text does can be told. That the part may
/// turn out to be code is for the caller to add.
pub(super) fn sketch(word: &Word) -> Option<String> {
    let mut text = String::new();
    let mut literal = word.parts.is_empty();
    for part in &word.parts {
        match part {
            Part::Literal(own) => {
                literal = true;
                text.push_str(own);
            }
            // A pattern that no file's name fits stays as it is.
            Part::Glob(own) => {
                literal = true;
                text.push_str(own);
            }
            Part::Dynamic(_) => text.push('1'),
        }
    }
    (literal && text.len() <= PROGRAM_BYTES_MAX).then_some(text)
}

/// A word of which nothing is known but what the table calls it, such as what `xargs` reads.
pub(super) fn unseen(name: &str, at: &std::ops::Range<usize>) -> Word {
    let parameter = Dynamic::Parameter { name: name.to_owned(), words: Vec::new() };
    Word { parts: vec![Part::Dynamic(parameter)], at: at.clone() }
}

/// The path that a word names, without `.`, `..`, and doubled or closing slashes; none if the target has a say in it.
///
/// A relative path stays relative, and may begin with `..`: where a command starts is not known. This is arithmetic on
/// names: through a symbolic link to a directory, `link/..` is another place than the one that is judged.
pub fn normal_path(word: &Word) -> Option<String> {
    let text = word.literal().filter(|text| !text.is_empty())?;
    let rooted = text.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if rooted => {}
            name => kept.push(name),
        }
    }
    let joined = kept.join("/");
    Some(match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => String::from("."),
        (false, false) => joined,
    })
}
