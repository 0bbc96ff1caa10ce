//! Numbers of things and lengths of time, as people read them.

use std::time::Duration;

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

/// A length of time as it is typed after `--for`, to the second: `1h30m`.
pub fn span_typed(span: Duration) -> String {
    units(span, &[(3600, "h"), (60, "m"), (1, "s")]).concat()
}

/// A length of time for a column: its two largest units, such as `2d5h`.
pub fn span_short(span: Duration) -> String {
    units(span, &[(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")]).into_iter().take(2).collect()
}

/// A length of time in a sentence, in minutes, or in seconds if it is less than one; rounded up.
pub fn span_said(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => counted(seconds.max(1), "second"),
        seconds => counted(seconds.div_ceil(60), "minute"),
    }
}

/// How many there are of each unit of which there are any.
fn units(span: Duration, units: &[(u64, &str)]) -> Vec<String> {
    let mut rest = span.as_secs();
    let mut parts = Vec::new();
    for (size, unit) in units {
        let (count, left) = (rest / size, rest % size);
        rest = left;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() { vec!["0s".to_owned()] } else { parts }
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

    #[test]
    fn a_length_of_time_is_exact_where_it_is_typed_and_short_in_a_column() {
        let written = |seconds: u64| {
            let span = Duration::from_secs(seconds);
            [span_typed(span), span_short(span), span_said(span)]
        };
        assert_eq!(written(0), ["0s", "0s", "1 second"]);
        assert_eq!(written(61), ["1m1s", "1m1s", "2 minutes"]);
        assert_eq!(written(3600), ["1h", "1h", "60 minutes"]);
        assert_eq!(written(90_061), ["25h1m1s", "1d1h", "1502 minutes"]);
        let read: jiff::SignedDuration = span_typed(Duration::from_secs(90_061)).parse().unwrap();
        assert_eq!(read.as_secs(), 90_061);
    }
}
