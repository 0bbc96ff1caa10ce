//! Which environment variables a bastion user may set on a target.

use std::fmt;

/// A name of an environment variable, or the beginning of one and a `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvPattern(String);

impl EnvPattern {
    /// Parses `LANG` or `LC_*`. `*` alone is refused: it would let `LD_PRELOAD` pass.
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let first = stem.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        let good = first && stem.len() <= 128 && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        good.then(|| Self(text.to_owned()))
    }

    /// Whether a variable of this name may pass.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => name == self.0,
        }
    }
}

impl fmt::Display for EnvPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The variables of one channel; what more is asked for is refused, as is what is not on the list.
///
/// A user can have any program of the target read them, so each stands in the recording: as little as serves.
#[derive(Debug, Default)]
pub(super) struct Variables {
    set: Vec<(String, String)>,
    /// The names of those that must not pass, as far as they are kept.
    dropped: Vec<String>,
}

/// Variables that one channel may set.
const VARIABLES_MAX: usize = 16;
/// Bytes of their names and values together.
const VARIABLES_BYTES_MAX: usize = 1024;
/// So many names of others are kept, each so long, to say that they were asked for.
const DROPPED_MAX: usize = 8;
const DROPPED_CHARS_MAX: usize = 64;

impl Variables {
    /// Sets a variable, anew if it was set before; `false` if it must not pass.
    pub fn set(&mut self, allowed: &[EnvPattern], name: &str, value: &str) -> bool {
        let passes = variable_allowed(allowed, name, value) && self.put(name, value);
        if !passes && self.dropped.len() < DROPPED_MAX {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            self.dropped.push(name.chars().filter(|c| plain(*c)).take(DROPPED_CHARS_MAX).collect());
        }
        passes
    }

    fn put(&mut self, name: &str, value: &str) -> bool {
        let others = self.set.iter().filter(|(other, _)| other != name);
        let (count, bytes) = others.fold((0_usize, 0_usize), |(count, bytes), (name, value)| {
            (count.saturating_add(1), bytes.saturating_add(name.len()).saturating_add(value.len()))
        });
        let bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if count >= VARIABLES_MAX || bytes > VARIABLES_BYTES_MAX {
            return false;
        }
        self.set.retain(|(other, _)| other != name);
        self.set.push((name.into(), value.into()));
        true
    }

    /// Names and values; and the names of others that were asked for.
    pub fn into_parts(self) -> (Vec<(String, String)>, Vec<String>) {
        (self.set, self.dropped)
    }
}

/// Whether a variable may pass: its name is on the list, its value cannot be more than a locale or a time zone.
fn variable_allowed(allowed: &[EnvPattern], name: &str, value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | '-');
    let listed = allowed.iter().any(|pattern| pattern.matches(name));
    listed && name.len() <= 64 && name.chars().all(plain) && value.len() <= 64 && value.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_plain_variables_pass() {
        let allowed = ["LANG", "LC_*"].map(|text| EnvPattern::parse(text).unwrap());
        assert!(variable_allowed(&allowed, "LANG", "de_DE.UTF-8"));
        assert!(variable_allowed(&allowed, "LC_ALL", "C"));
        for (name, value) in
            [("LD_PRELOAD", "x"), ("LC_ALL", "$(id)"), ("LC_A=B", "c"), ("BASH_ENV", "/x"), ("LANG", "a/b")]
        {
            assert!(!variable_allowed(&allowed, name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_channel_sets_few_and_short_variables_and_each_once() {
        let allowed = [EnvPattern::parse("LC_*").unwrap()];
        let mut variables = Variables::default();
        for number in 0..VARIABLES_MAX {
            assert!(variables.set(&allowed, &format!("LC_{number}"), "C"));
        }
        assert!(!variables.set(&allowed, "LC_MORE", "C"));
        assert!(variables.set(&allowed, "LC_0", "D"));
        let (pairs, dropped) = variables.into_parts();
        assert_eq!(dropped, ["LC_MORE"]);
        let zero: Vec<_> = pairs.iter().filter(|(name, _)| name == "LC_0").collect();
        assert_eq!((pairs.len(), zero), (VARIABLES_MAX, vec![&(String::from("LC_0"), String::from("D"))]));
        let mut variables = Variables::default();
        (0..100).for_each(|number| assert!(!variables.set(&allowed, &format!("\u{1b}X{number}"), "x")));
        assert_eq!(variables.dropped.len(), DROPPED_MAX);
        assert_eq!(variables.dropped.first().map(String::as_str), Some("X0"));
        let taken = (0..VARIABLES_MAX)
            .filter(|number| variables.set(&allowed, &format!("LC_{number:057}"), &"x".repeat(64)))
            .count();
        assert_eq!(taken * (60 + 64), 992, "the most that 1024 bytes hold");
    }
}
