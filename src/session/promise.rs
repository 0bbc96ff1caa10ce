//! What each mode promises, in the words that its users read.

use crate::gate::verdict::CommandMode;

/// The line at the start of a shell that names its mode and what that promises.
pub fn promise(mode: CommandMode) -> &'static str {
    match mode {
        CommandMode::Observe => {
            "observe: every exec line and a best-effort list of lines, judged, alerting within a second; nothing is \
             prevented"
        }
        CommandMode::Guard => {
            "guard:screen: stops mistakes and casual misuse; a determined user of a free shell gets through"
        }
        CommandMode::Strict => {
            "strict: no program starts on the target other than argv that a rule allowed, in the exact form that was \
             judged; type help"
        }
        CommandMode::Menu => {
            "menu: no program starts on the target other than what an entry of the menu runs, in the exact form that is shown"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_says_what_it_promises_in_one_line_and_guard_is_not_sold_as_strict() {
        for mode in [CommandMode::Observe, CommandMode::Guard, CommandMode::Strict, CommandMode::Menu] {
            let line = promise(mode);
            assert!(line.starts_with(&format!("{mode}")) && !line.contains('\n'), "{line}");
            assert_eq!(line.contains("no program starts"), mode.is_strict(), "{line}");
        }
        assert!(promise(CommandMode::Observe).contains("nothing is prevented"));
        assert!(promise(CommandMode::Guard).contains("gets through"));
    }
}
