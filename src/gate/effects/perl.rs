//! One expression of Perl, as `rename` takes it: whether it does no more than replace text.
//!
//! perlop(1) and perlre(1), perl 5.36. Not Perl: whatever is not surely plain is code.

/// Whether a text is one `s/pattern/replacement/` or `y/from/to/` that runs nothing.
///
/// Both sides are strings of Perl, so that `@{[ ... ]}` and `${ ... }` run code in them, as `(?{ ... })` does in a pattern;
/// the flag `e` makes code of the replacement.
pub(super) fn only_replaces(text: &str) -> bool {
    let text = text.trim().trim_end_matches(';');
    let rest = ["tr", "s", "y"].iter().find_map(|operator| text.strip_prefix(operator));
    let Some(rest) = rest else { return false };
    let mut chars = rest.chars();
    let Some(sign) = chars.next().filter(|c| "/|,#!:%".contains(*c)) else { return false };
    let mut sides = vec![String::new()];
    let mut last = sign;
    for c in chars {
        if c == sign && last != '\\' {
            sides.push(String::new());
        } else if let Some(side) = sides.last_mut() {
            side.push(c);
        }
        last = if last == '\\' && c == '\\' { sign } else { c };
    }
    match sides.as_slice() {
        [pattern, replacement, flags] => {
            [pattern, replacement].into_iter().all(|side| is_plain(side))
                && flags.chars().all(|c| matches!(c, 'g' | 'i' | 'm' | 's' | 'x' | 'r' | 'd' | 'c'))
        }
        _ => false,
    }
}

/// A side of it without anything that is looked up or run.
fn is_plain(side: &str) -> bool {
    let dollars = side.match_indices('$').all(|(at, _)| {
        let next = side.get(at + 1..).and_then(|rest| rest.chars().next());
        next.is_none_or(|next| next.is_ascii_digit() || matches!(next, ')' | '|'))
    });
    dollars && !side.contains(['@', '`']) && !side.contains("(?{") && !side.contains("(??")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_replaces_is_told_from_code() {
        for text in ["s/a/b/", "s/\\.jpeg$/.jpg/i", "s/(a+)(b)/$2$1/g", "y/A-Z/a-z/", "tr/a/b/", "s|/|_|;", " s/ /_/g "]
        {
            assert!(only_replaces(text), "{text}");
        }
        for text in [
            "system('id')",
            "s/a/system('id')/e",
            "s/a/b/ee",
            "s/x/@{[`id`]}/",
            "s/x/${\\system(id)}/",
            "s/(?{system(id)})//",
            "s/(??{id})//",
            "s/$x/b/",
            "s/a/b/; system(id)",
            "s/a/b/; s/c/d/",
            "s{a}{b}",
            "s/a/b",
            "",
        ] {
            assert!(!only_replaces(text), "{text}");
        }
    }
}
