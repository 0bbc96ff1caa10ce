//! Patterns: of one part of a path, and regular expressions for whole texts. Pure.

/// A pattern longer than this is a mistake.
const PATTERN_BYTES_MAX: usize = 256;

/// Whether `part` is `wanted`, whose `*` are for anything: the pieces between them, each at its first place.
pub(crate) fn part_matches(wanted: &[u8], part: &[u8]) -> bool {
    matches_with(b'*', wanted, part)
}

/// The same, with another byte for `*`.
pub(crate) fn matches_with(star: u8, wanted: &[u8], part: &[u8]) -> bool {
    let mut pieces = wanted.split(|byte| *byte == star);
    let (Some(head), tail) = (pieces.next(), pieces.next_back()) else { return false };
    let Some(tail) = tail else { return head == part };
    let Some(mut left) = part.strip_prefix(head).and_then(|part| part.strip_suffix(tail)) else { return false };
    pieces.filter(|piece| !piece.is_empty()).all(|piece| {
        match left.windows(piece.len()).position(|window| window == piece) {
            Some(at) => {
                left = left.get(at.saturating_add(piece.len())..).unwrap_or_default();
                true
            }
            None => false,
        }
    })
}

/// A regular expression that a whole text must match. Its engine takes time in proportion to the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        // By itself, too: `a)|(b` would close the group that holds it to the whole text, and match all that begins with `a`.
        Self::built(text)
            .and_then(|_| Self::compile(text))
            .map(|_| Self(text.to_owned()))
            .map_err(|error| format!("is no regular expression: {error}"))
    }

    fn compile(text: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
        Self::built(&format!("^(?:{text})$"))
    }

    fn built(text: &str) -> Result<regex_lite::Regex, regex_lite::Error> {
        // Bounded: `a{1000}{1000}` is refused rather than built.
        regex_lite::RegexBuilder::new(text).size_limit(1 << 18).nest_limit(32).build()
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether all of the text matches.
    pub fn matches(&self, text: &str) -> bool {
        // It was compiled when the rule was read; did it fail now, nothing would match.
        Self::compile(&self.0).is_ok_and(|pattern| pattern.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_a_pattern_is_for_the_whole_text_however_it_is_written() {
        for bad in ["a)|(b", "a)|(?:b", "a)|b(", "(", ")", "a{1000}{1000}", "(?x)a#"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        for (pattern, text, matches) in [
            ("a|b", "a", true),
            ("a|b", "a; sh", false),
            ("a|b", "sh; b", false),
            ("(?m)a", "a\nsh", false),
            ("a", "a\n", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), matches, "{pattern} {text:?}");
        }
    }
}
