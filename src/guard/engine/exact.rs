//! Beside a shell that says itself what it runs: the screen is read while something else has the terminal.

use std::time::Duration;

use super::{CONTEXTS_MAX, Confidence, Context, Guard, LineRead, Model, PASSWORDS_MAX, QUIET, Started, State};
use crate::guard::reading::behind;

/// What the prompts of shells end with.
const SHELL_PROMPTS_END: [char; 4] = ['$', '#', '%', '>'];

impl Guard {
    /// Whether it waits for a verdict, or for a line to be gone: what is typed meanwhile is for it.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Asked { .. } | State::Wiping { .. })
    }

    /// The shell stands at its prompt, and a key is pressed there: with the prompt known, its lines can be read from the
    /// screen should it fall silent.
    pub fn notes_prompt(&mut self, now: Duration) {
        if now >= self.shown_at + QUIET / 2 {
            let prompt = self.screen.at_cursor().before;
            self.remember(prompt.clone());
            self.own_prompt = Some(prompt).filter(|prompt| !prompt.trim().is_empty());
        }
    }

    /// The line at the cursor as far as the screen shows it: what a key was for that the shell is not asked about.
    pub fn line_at_cursor(&self, now: Duration) -> LineRead {
        let whole = self.screen.at_cursor().whole();
        let line = self.own_prompt.as_ref().and_then(|prompt| behind(&whole, prompt)).unwrap_or(&whole);
        LineRead { line: line.trim_end().to_owned(), confidence: Confidence::Screen, at: now }
    }

    /// A line that the shell itself has said is let run, and starts this.
    pub fn let_begin(&mut self, started: Started, now: Duration) {
        if let Some(name) = started.nested.as_ref().filter(|_| self.contexts.len() < CONTEXTS_MAX) {
            self.contexts.push(Context { name: name.clone(), outside: self.own_prompt.clone(), leaving: false });
        }
        self.passwords = PASSWORDS_MAX;
        self.running = started;
        self.forget_line();
        self.new_row = false;
        self.state = State::Settling { since: now };
    }

    /// The shell is at its prompt again, and will say what runs there. Whatever it had started is over.
    pub fn rests(&mut self) {
        self.contexts.clear();
        self.running = Started::default();
        if !self.is_busy() {
            self.forget_line();
        }
    }

    /// What was typed and waits, where the shell itself will say what of it runs.
    pub fn give_back(&mut self) -> Vec<u8> {
        if self.is_busy() {
            return Vec::new();
        }
        let mut bytes = match std::mem::replace(&mut self.state, State::Typing) {
            State::Held(held) => held.bytes,
            State::Typing | State::Settling { .. } | State::Asked { .. } | State::Wiping { .. } => Vec::new(),
        };
        bytes.extend(self.queue.take_all());
        if !bytes.is_empty() {
            self.forget_line();
            self.unpacking = false;
        }
        bytes
    }

    /// The shell does not say any more what it runs, and may have a part of a line that nobody here has read.
    pub fn is_alone(&mut self) {
        self.forget_line();
        self.model = Model::Unknown;
        self.new_row = false;
    }

    /// Whether what it asks about was typed at a prompt as shells have it, though none was announced: neither by the shell
    /// that says what it runs, nor by the line that it runs.
    pub fn asks_at_a_shell(&self) -> bool {
        let State::Asked { read, .. } = &self.state else { return false };
        let Some(prompt) = read.prompt.as_ref().filter(|_| self.contexts.is_empty()) else { return false };
        self.own_prompt.as_ref() == Some(prompt) || prompt.trim_end().ends_with(SHELL_PROMPTS_END)
    }

    fn forget_line(&mut self) {
        self.put_aside = 0;
        self.line_is_over();
        self.giving_up = None;
        self.escape = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Answer, Step};
    use crate::screen::Size;

    const MS: Duration = Duration::from_millis(1);

    fn steps(guard: &mut Guard, now: Duration) -> Vec<Step> {
        std::iter::from_fn(|| guard.step(now)).collect()
    }

    fn at_prompt() -> Guard {
        let mut guard = Guard::new(Size::bounded(80, 24));
        guard.shown(b"$ ", MS);
        guard.rests();
        guard.notes_prompt(MS * 100);
        guard
    }

    fn started(nested: Option<&str>) -> Started {
        Started { nested: nested.map(str::to_owned), ..Started::default() }
    }

    /// Types a line at what is shown, and gives the question about it.
    fn asked(guard: &mut Guard, shown: &[u8], mut now: Duration) -> (Step, Duration) {
        guard.shown(shown, now);
        now += MS * 100;
        for byte in b"rm x" {
            guard.typed(&[*byte], now);
            steps(guard, now);
            guard.shown(&[*byte], now);
        }
        guard.typed(b"\r", now);
        loop {
            now += MS * 50;
            if let Some(step) = steps(guard, now).into_iter().find(|step| matches!(step, Step::Judge(_))) {
                return (step, now);
            }
            assert!(now < Duration::from_secs(20));
        }
    }

    #[test]
    fn what_waits_behind_a_line_is_given_to_the_shell_that_will_say_it() {
        let mut guard = at_prompt();
        guard.let_begin(started(None), MS * 200);
        guard.typed(b"rm x\rls", MS * 200);
        assert_eq!(steps(&mut guard, MS * 200), [], "another prompt may be near");
        assert_eq!(guard.give_back(), b"rm x\rls");
        assert!(guard.takes() && guard.give_back().is_empty());
    }

    #[test]
    fn a_line_at_the_prompt_of_another_program_is_held_and_at_none_that_was_announced_it_is_told() {
        for (shown, nested, told) in [
            (b"\r\n$ ".as_slice(), None, true),
            (b"\r\nroot@web1:~# ", None, true),
            (b"\r\nmysql> ", Some("mysql"), false),
            (b"\r\nContinue? [Y/n] ", None, false),
        ] {
            let mut guard = at_prompt();
            guard.let_begin(started(nested), MS * 200);
            let (question, now) = asked(&mut guard, shown, MS * 300);
            let Step::Judge(question) = question else { panic!("{question:?}") };
            assert_eq!(question.context.as_deref(), nested);
            assert_eq!(guard.asks_at_a_shell(), told, "{shown:?}");
            assert!(guard.give_back().is_empty(), "what is being judged is not given back");
            guard.answer(Answer::Refuse, now);
        }
        let mut guard = at_prompt();
        guard.let_begin(started(Some("mysql")), MS * 200);
        guard.rests();
        assert!(guard.contexts.is_empty());
    }

    #[test]
    fn of_a_shell_that_fell_silent_no_line_is_taken_for_empty() {
        let mut guard = at_prompt();
        guard.shown(b"rm x", MS * 200);
        guard.is_alone();
        guard.typed(b"\r", MS * 300);
        let mut now = MS * 300;
        let question = loop {
            now += MS * 50;
            if let Some(Step::Judge(question)) =
                steps(&mut guard, now).into_iter().find(|step| matches!(step, Step::Judge(_)))
            {
                break question;
            }
            assert!(now < Duration::from_secs(20));
        };
        assert!(question.reads.iter().any(|read| read.line == "rm x"), "{question:?}");
    }
}
