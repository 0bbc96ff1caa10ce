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

/// Whether a variable may pass: its name is on the list, its value cannot be more than a locale or a time zone.
pub(super) fn variable_allowed(allowed: &[EnvPattern], name: &str, value: &str) -> bool {
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
}
