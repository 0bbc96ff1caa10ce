//! Lines that are only read as they go by.

use std::time::Duration;

use super::{Guard, Step};
use crate::guard::reading::{Said, behind};
use crate::guard::{Confidence, LineRead};

/// A line whose key went by before the target had shown it, as when somebody pastes or a network gathers keys.
#[derive(Debug)]
pub(super) struct Unshown {
    prompt: String,
    /// What the keys say, if they know.
    typed: Option<String>,
}

impl Guard {
    /// Tells of a line that goes by.
    pub(super) fn read_along(&mut self, bytes: &[u8], now: Duration) {
        let (line, confidence) = match self.said() {
            Said::Nothing | Said::Nobody => (None, Confidence::Keys),
            Said::Both { line, .. } => (Some(line), Confidence::Screen),
            Said::Screen { lines, prompt } => {
                let line = lines.into_iter().next().filter(|line| !line.trim().is_empty());
                self.unshown = line.is_none().then_some(Unshown { prompt, typed: None });
                (line, Confidence::Screen)
            }
            Said::Differ { lines, .. } => (lines.into_iter().next(), Confidence::Keys),
            // It may be a password: then it will not be shown.
            Said::Unseen { line, prompt } => {
                self.unshown = Some(Unshown { prompt, typed: Some(line) });
                (None, Confidence::Keys)
            }
        };
        if let Some(line) = line.filter(|line| !line.trim().is_empty()) {
            self.steps.push_back(Step::Read(LineRead { line, confidence, at: now }));
        }
        self.steps.push_back(Step::Send(bytes.to_vec()));
        self.passed_at = now;
        self.escape = false;
        self.new_row = false;
        self.line_is_over();
    }

    /// Tells of a line that went by unshown once the target goes to the next row, for by then it stands there, unless
    /// nothing of it is echoed. Returns what of the output the screen has not had.
    pub(super) fn read_late<'o>(&mut self, output: &'o [u8], now: Duration) -> &'o [u8] {
        let Some(end) = output.iter().position(|byte| *byte == b'\n') else { return output };
        let Some(Unshown { prompt, typed }) = self.unshown.take() else { return output };
        let (row, rest) = output.split_at_checked(end).unwrap_or((output, &[]));
        self.screen.feed(row);
        let whole = self.screen.at_cursor().whole();
        let line = behind(&whole, &prompt).map(str::trim_end).filter(|line| !line.is_empty());
        if let Some(line) = line {
            let agreed = typed.is_none_or(|typed| typed.trim_end() == line);
            let confidence = if agreed { Confidence::Screen } else { Confidence::Keys };
            self.steps.push_back(Step::Read(LineRead { line: line.to_owned(), confidence, at: now }));
        }
        rest
    }
}
