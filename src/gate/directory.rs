//! A directory in which a line starts, other than the account's home.

use std::fmt;

use super::canonical::Argument;
use super::shell::text;

/// A longer path is none that a target's system knows (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// A directory of a target by its own name: absolute, without `.` and `..`, and with nothing in it that cannot be sent.
///
/// Links are the target's to follow: `pwd -P` gives the name that has none, and what is linked there later is not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    text: String,
    parts: Vec<String>,
}

impl Directory {
    /// Parses a path as `pwd` prints it; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/').filter(|_| text.len() <= PATH_BYTES_MAX)?;
        let parts: Vec<String> = rest.split('/').map(str::to_owned).collect();
        let named = |part: &String| !matches!(part.as_str(), "" | "." | "..");
        let plain = |c: char| text::fault(c).is_none() && !c.is_control();
        let good = text == "/" || (parts.iter().all(named) && text.chars().all(plain));
        let parts = if text == "/" { Vec::new() } else { parts };
        good.then(|| Self { text: text.to_owned(), parts })
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What a line begins with that starts there: built into every shell, so that no program runs. Should the directory be
    /// gone, nothing of the line does, however its commands are joined.
    pub fn entered(&self) -> String {
        Argument::text(&self.text).map_or_else(|_| String::from("exit 1; "), |path| format!("cd -- {path} || exit 1; "))
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.parts
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_full_plain_path() {
        for good in ["/", "/srv", "/srv/a b/it's", "/home/ü/.config"] {
            assert_eq!(Directory::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "srv", "/srv/", "//srv", "/srv/../etc", "/./srv", "/a\nb", "/a\u{1b}b", "/a\u{202e}b", "~"] {
            assert_eq!(Directory::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Directory::parse(&format!("/{}", "x".repeat(5000))), None);
    }

    #[test]
    fn a_line_that_starts_elsewhere_does_not_start_if_that_is_gone() {
        let entered = |text: &str| Directory::parse(text).unwrap().entered();
        assert_eq!(entered("/srv"), "cd -- '/srv' || exit 1; ");
        assert_eq!(entered("/it's;id"), "cd -- '/it'\"'\"'s;id' || exit 1; ");
        assert_eq!(entered("/-x"), "cd -- '/-x' || exit 1; ");
    }
}
