//! What each mode promises, in the words that its users read.

use std::fmt;

use crate::gate::verdict::CommandMode;

/// By what the lines of a shell in guard are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The shell says each itself, and waits.
    Exact,
    /// From what its terminal shows, and from the keys.
    Screen,
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "guard:exact",
            Self::Screen => "guard:screen",
        })
    }
}

/// The line at the start of a shell that names its mode and what that promises.
pub fn promise(mode: CommandMode, reads: Reads) -> &'static str {
    match (mode, reads) {
        (CommandMode::Observe, _) => {
            "observe: every exec line and a best-effort list of lines, judged, alerting within a second; nothing is \
             prevented"
        }
        (CommandMode::Guard, Reads::Exact) => {
            "guard:exact: your shell says each line before it runs; stops mistakes and casual misuse; a determined user of \
             a free shell gets through"
        }
        (CommandMode::Guard, Reads::Screen) => {
            "guard:screen: stops mistakes and casual misuse; a determined user of a free shell gets through"
        }
        (CommandMode::Strict, _) => {
            "strict: no program starts on the target other than argv that a rule allowed, in the exact form that was \
             judged; type help"
        }
        (CommandMode::Menu, _) => {
            "menu: no program starts on the target other than what an entry of the menu runs, in the exact form that is shown"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_says_what_it_promises_in_one_line_and_guard_is_not_sold_as_strict() {
        let modes = [CommandMode::Observe, CommandMode::Guard, CommandMode::Strict, CommandMode::Menu];
        for (mode, reads) in modes.into_iter().flat_map(|mode| [(mode, Reads::Exact), (mode, Reads::Screen)]) {
            let line = promise(mode, reads);
            assert!(line.starts_with(&format!("{mode}")) && !line.contains('\n'), "{line}");
            assert_eq!(line.contains("no program starts"), mode.is_strict(), "{line}");
        }
        assert!(promise(CommandMode::Observe, Reads::Screen).contains("nothing is prevented"));
        for reads in [Reads::Exact, Reads::Screen] {
            let line = promise(CommandMode::Guard, reads);
            assert!(line.starts_with(&format!("{reads}: ")) && line.contains("gets through"), "{line}");
        }
    }
}
