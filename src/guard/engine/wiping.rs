//! A refused line is wiped out of the shell's buffer, and nothing goes on before it is seen to be gone.

use std::time::Duration;

use super::{CTRL_C, CTRL_E, CTRL_U, Guard, Model, QUIET, Started, State, Step, WIPE_WAIT, Wipe};

impl Guard {
    pub(super) fn wipe(&mut self, by: Wipe, prompt: Option<String>, now: Duration) {
        let keys = match by {
            Wipe::Keys => vec![CTRL_E, CTRL_U],
            // The first may be taken for the second byte of an ESC.
            Wipe::Interrupt if std::mem::take(&mut self.escape) => vec![CTRL_C, CTRL_C],
            Wipe::Interrupt => vec![CTRL_C],
        };
        if by == Wipe::Interrupt {
            self.new_row = false;
        }
        self.steps.push_back(Step::SendOwn(keys));
        self.state = State::Wiping { since: now, by, prompt };
    }

    /// How many prompts stand within each other, for [`Self::not_run`].
    pub fn depth(&self) -> usize {
        self.contexts.len()
    }

    /// A key that was let run has not reached the target, and nothing behind it has, either: the line is given up, and what
    /// it would have started has not begun. `depth` is as it was before that key was let run.
    pub fn not_run(&mut self, depth: usize, now: Duration) {
        let held = match &self.state {
            State::Held(held) | State::Asked { held, .. } => held.bytes.len(),
            State::Typing | State::Wiping { .. } | State::Settling { .. } => 0,
        };
        let dropped = held + self.queue.clear();
        self.drop_bytes(dropped);
        self.unpacking = false;
        self.running = Started::default();
        self.passwords = 0;
        self.contexts.truncate(depth);
        self.wipe(Wipe::Interrupt, None, now);
    }

    /// Looks whether the line is gone. Says whether there is something to do.
    pub(super) fn wipe_further(&mut self, now: Duration) -> bool {
        let State::Wiping { since, by, prompt } = &self.state else { return false };
        let (since, by, prompt) = (*since, *by, prompt.clone());
        let whole = self.screen.at_cursor().whole();
        let quiet = now >= self.shown_at + QUIET && now >= since + QUIET;
        let gone = match by {
            // The screen has shown an empty line all along if nothing was ever echoed: then it takes more than a look.
            Wipe::Keys => {
                self.shown_at > since && quiet && prompt.as_ref().is_some_and(|prompt| whole == prompt.trim_end())
            }
            Wipe::Interrupt => self.new_row && quiet,
        };
        if gone {
            self.steps.push_back(Step::Wiped { gone, prompt: self.line_shown() });
            self.line_is_over();
            self.giving_up = None;
            self.new_row = true;
            self.state = State::Typing;
            return true;
        }
        if now < since + WIPE_WAIT {
            return false;
        }
        if by == Wipe::Keys {
            self.wipe(Wipe::Interrupt, None, now);
            return true;
        }
        // It may be there still: no key that runs a line is let pass until the user gives it up.
        self.model = Model::Unknown;
        self.prompt = None;
        self.prompts.clear();
        self.new_row = false;
        self.steps.push_back(Step::Wiped { gone, prompt: String::new() });
        self.state = State::Typing;
        true
    }
}
