//! The words of `ps`: whether they ask for the environments of processes, in which passwords stand.
//!
//! `ps` reads its words in two ways: `-e` is all processes, and `e` is the environment. Where the first way fails, as of a
//! user whom nobody knows, it reads all of them anew in the second, dashes or not.

use super::EffectKind;
use super::told::Told;
use crate::gate::shell::word::Word;

/// Letters behind a dash that have no value, and with which the first way cannot fail.
const FLAGS: &str = "AacdefFHjlLmMNPTVwyZ";

/// Adds what these words do.
pub(super) fn look(words: &[&Word], told: &mut Told) {
    let mut texts = Vec::with_capacity(words.len());
    // Whether the word is the value of the option before it, in both ways.
    let mut value = false;
    for word in words {
        let text = word.literal();
        let next = !value && text.as_deref().is_some_and(takes_value);
        texts.push((*word, text, std::mem::replace(&mut value, next)));
    }
    let mut options = texts.iter().filter(|(_, _, value)| !value).filter_map(|(_, text, _)| text.as_deref());
    let sure = options.all(|text| !text.starts_with('-') || is_sure(text));
    for (word, text, value) in texts {
        let harmless = match text.as_deref() {
            None if value => true,
            None => {
                told.effect(EffectKind::Unknown, Some(word));
                continue;
            }
            Some(text) if text.contains("environ") => false,
            Some(text) => value || text.starts_with("--") || !text.contains('e') || text.starts_with('-') && sure,
        };
        if !harmless {
            told.effect(EffectKind::Credential, Some(word));
        }
    }
}

/// Whether a word with a dash is read in the first way, whatever the target is like.
fn is_sure(text: &str) -> bool {
    let letters = text.trim_start_matches('-');
    // What `-O` cannot read, the second way sorts by.
    let flags = letters.strip_suffix(['o', 'p', 'q']).unwrap_or(letters);
    text.starts_with("--") || flags.chars().all(|letter| FLAGS.contains(letter))
}

/// Whether the next word is its value in both ways.
fn takes_value(text: &str) -> bool {
    match text.strip_prefix("--") {
        Some(name) => ["sort", "format", "pid", "ppid", "cols", "columns", "width", "rows", "lines"].contains(&name),
        None => {
            let letters = text.strip_prefix('-').unwrap_or(text);
            let valued = |letter: char| "oOpqkUtnNGgsCu".contains(letter);
            let flags = letters.strip_suffix(['o', 'O', 'p', 'q']);
            flags.is_some_and(|flags| text.starts_with('-') && flags.chars().all(|c| FLAGS.contains(c)))
                || flags.is_some_and(|flags| !text.starts_with('-') && !flags.contains(|c| valued(c) && c != 'u'))
        }
    }
}
