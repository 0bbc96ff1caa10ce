//! Words in which programs that fetch hide the names of files: forms, cookies, and URLs with patterns of their own.
//!
//! What is exact here is what the manual of curl says in so many words; anything else is `unknown`, and may read whatever
//! its writer likes.

use super::EffectKind::{NetOut, Read, Unknown, Write};
use super::text::{after, head};
use super::told::Told;
use crate::gate::shell::word::Word;

/// What curl puts several names in the place of, takes apart once more, or decodes before it opens a file.
const PATTERNS: [char; 6] = ['{', '}', '[', ']', '%', '\\'];

/// `@FILE`; anything else is text.
pub(super) fn at_read(word: &Word, told: &mut Told) {
    match head(word).strip_prefix('@') {
        Some(_) => file(&after(word, 1), told),
        None if head(word).is_empty() && word.literal().is_none() => file(word, told),
        None => {}
    }
}

/// `@FILE` and `NAME@FILE`; but with a `=` anywhere it is text.
pub(super) fn named_at_read(word: &Word, told: &mut Told) {
    let text = head(word);
    if text.contains('=') {
        return;
    }
    match text.find('@') {
        Some(at) => file(&after(word, at + 1), told),
        None if word.literal().is_none() => file(word, told),
        None => {}
    }
}

/// `NAME=VALUE`, or a file of cookies, with an `@` before it or not.
pub(super) fn cookies(word: &Word, told: &mut Told) {
    match head(word).strip_prefix('@') {
        Some(_) => file(&after(word, 1), told),
        None if head(word).contains('=') => {}
        None => file(word, told),
    }
}

/// `NAME=CONTENT` of a form: a text, or a file behind `@` or `<`, with its type and its name for the other side.
pub(super) fn form(word: &Word, told: &mut Told) {
    let Some(text) = word.literal() else { return anything(word, told) };
    let Some((name, content)) = text.split_once('=') else { return };
    let named = content.starts_with(['@', '<']);
    let (path, more) = content.split_once(';').map_or((content, None), |(path, more)| (path, Some(more)));
    let plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "/._+-".contains(c));
    let exact = !path.contains([',', '"'])
        && more.is_none_or(|more| {
            more.split(';')
                .all(|part| part.strip_prefix("type=").or_else(|| part.strip_prefix("filename=")).is_some_and(plain))
        });
    if !exact {
        return anything(word, told);
    }
    if named {
        let start = name.len() + 2;
        let end = name.len() + 1 + path.len();
        file(&Word::of(text.get(start..end).unwrap_or_default(), word.at.clone()), told);
    }
}

/// What is sent: a file, or those that a pattern makes of it.
pub(super) fn upload(word: &Word, told: &mut Told) {
    if head(word).contains(PATTERNS) {
        told.effect(Read, None);
    }
    file(word, told);
}

/// Where it is kept: `#1` there is what the first pattern of the URL stood for.
pub(super) fn output(word: &Word, told: &mut Told) {
    if head(word).contains('#') {
        told.effect(Write, None);
    }
    let none = word.literal().is_some_and(|text| matches!(&*text, "-" | "/dev/null"));
    if !none {
        told.effect(Write, Some(word));
    }
}

/// What is said at the end: newer ones can write that to files.
pub(super) fn format(word: &Word, told: &mut Told) {
    at_read(word, told);
    if head(word).contains("%output") {
        told.effect(Write, None);
    }
}

/// A URL: a file that surely is the one that is named, or a machine.
pub(super) fn url(word: &Word, told: &mut Told) {
    let text = head(word).to_ascii_lowercase();
    if let Some(rest) = text.strip_prefix("file:") {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._+@,=:~-".contains(c);
        // What stands between the second slash and the third is a machine, which may be left out of account.
        let slashes = if rest.starts_with("///") { 2 } else { 0 };
        if (slashes == 0 && rest.starts_with("//")) || !rest.starts_with('/') || !rest.chars().all(plain) {
            told.effect(Read, None);
        }
        return file(&after(word, "file:".len() + slashes), told);
    }
    if disguised(&text) {
        told.effect(Read, None);
        told.effect(Unknown, Some(word));
    }
    told.effect(NetOut, Some(word));
}

/// Whether a URL's scheme or machine can turn out to be another than the one that stands there.
fn disguised(text: &str) -> bool {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text),
    };
    let before_path = rest.split('/').next().unwrap_or_default();
    let machine = before_path.split(['?', '#']).next().unwrap_or_default();
    let hidden = before_path.len() > machine.len() && before_path.contains('@');
    // An address of the newer kind stands in brackets.
    let host = machine.rsplit('@').next().unwrap_or_default();
    let address = !scheme.is_empty() && machine == host && host.starts_with('[') && !host.contains('-');
    let patterns = |c: char| PATTERNS.contains(&c) && !(address && (c == '[' || c == ']'));
    scheme.contains(|c: char| !(c.is_ascii_alphanumeric() || "+.-".contains(c))) || machine.contains(patterns) || hidden
}

fn file(word: &Word, told: &mut Told) {
    let none = word.literal().is_some_and(|text| matches!(&*text, "-" | "/dev/null"));
    if !none {
        told.effect(Read, Some(word));
    }
}

fn anything(word: &Word, told: &mut Told) {
    told.effect(Read, None);
    told.effect(Unknown, Some(word));
}
