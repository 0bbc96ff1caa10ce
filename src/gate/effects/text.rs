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
