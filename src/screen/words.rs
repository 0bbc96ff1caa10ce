//! Numbers of things, as people read them.

/// The noun for so many: `1 leaf`, `2 leaves`, `2 entries`, `2 witnesses`.
pub fn plural<N: PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) {
        return noun.to_owned();
    }
    match (noun.strip_suffix('f'), noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o']))) {
        (Some(stem), _) => format!("{stem}ves"),
        (None, Some(stem)) => format!("{stem}ies"),
        (None, None) if noun.ends_with('s') => format!("{noun}es"),
        (None, None) => format!("{noun}s"),
    }
}

/// So many of them, with the noun.
pub fn counted<N: PartialEq + From<u8> + std::fmt::Display + Copy>(count: N, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_the_others_are_many() {
        let shown = |count: u64| ["leaf", "entry", "key", "witness"].map(|noun| counted(count, noun));
        assert_eq!(shown(1), ["1 leaf", "1 entry", "1 key", "1 witness"]);
        assert_eq!(shown(0), ["0 leaves", "0 entries", "0 keys", "0 witnesses"]);
    }
}
