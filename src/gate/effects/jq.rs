//! A program text of jq: whether it reads files by itself, or shows the environment.
//!
//! Not a parser: the words by which jq leaves its own world are looked for wherever they stand, in texts and remarks, too.

use super::EffectKind;
use super::text::sketch;
use super::told::Told;
use crate::gate::shell::word::Word;

/// Adds what the jq program in `word` does.
pub(super) fn look(word: &Word, told: &mut Told) {
    let mut found = Told::default();
    let text = sketch(word);
    if let Some(text) = &text {
        read(text, &mut found);
    }
    told.code(word, text.is_some(), found);
}

fn read(text: &str, found: &mut Told) {
    let mut before = "";
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let name = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        // `.env` is a field of the data.
        let field = before.ends_with('.') && !name.is_empty();
        match name {
            "env" | "ENV" if !field => found.effect(EffectKind::Credential, None),
            "import" | "include" | "modulemeta" if !field => found.effect(EffectKind::Read, None),
            _ => {}
        }
        before = piece;
    }
}
