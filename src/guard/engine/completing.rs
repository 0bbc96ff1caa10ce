//! Keys by which a shell completes its line: it may run what it expands, and the screen does not say which shell it is.

use std::time::Duration;

use super::{Guard, Held, Model, Read, State, Step};

impl Guard {
    /// Whether the line is known to have nothing that is run while it is completed.
    pub(super) fn completes_plainly(&self) -> bool {
        self.model.line().is_some_and(|line| is_plain(&line))
    }

    /// A held key goes on that completes: the line stays, and nobody knows what it becomes.
    pub(super) fn let_complete(&mut self, held: Held, step: fn(Vec<u8>) -> Step, now: Duration) {
        self.steps.push_back(step(held.bytes));
        self.passed_at = now;
        self.unanswered = true;
        self.escape = false;
        self.model = Model::Unknown;
        self.state = State::Typing;
    }
}

impl Read {
    /// Whether a shell that completes it runs nothing of it.
    pub(super) fn is_plain(&self) -> bool {
        self.problem.is_none() && self.lines.iter().all(|line| is_plain(line))
    }
}

/// Whether a line has nothing that any shell may run while it completes it: a substitution, arithmetic, an index, a
/// qualifier of a pattern (zsh, "Glob Qualifiers").
fn is_plain(line: &str) -> bool {
    let opens = |(before, c): (char, char)| matches!((before, c), ('$' | '=' | '<' | '>' | '~', '{' | '['));
    !line.contains(['`', '(']) && !line.chars().zip(line.chars().skip(1)).any(opens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_completion_may_run_is_not_plain() {
        for line in ["ls /et", "echo $HOME/do", "cp {a,b} x[1-2]", "[ -f x", "a=b ls ~/x", "echo 'x'"] {
            assert!(is_plain(line), "{line}");
        }
        for line in
            ["echo $(id)", "echo `id`", "echo ${x}", "cat <(id)", "cat =(id)", "ls *(e:id:)", "$[a]", "(id)", "~[x]"]
        {
            assert!(!is_plain(line), "{line}");
        }
    }
}
