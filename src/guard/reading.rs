//! Two witnesses of one line, the screen and the keys: what they say together.

use std::collections::VecDeque;

use super::keys::Model;
use crate::screen::AtCursor;

/// What stood before the line when its first key was pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    /// Left of the cursor.
    pub text: String,
    /// Right of it, where shells show the time or a branch.
    pub right: String,
}

/// So many prompts are remembered at which keys and screen have said the same.
pub(super) const PROMPTS_MAX: usize = 8;

/// What there is to read from.
pub(super) struct Witnesses<'a> {
    pub at: AtCursor,
    pub model: &'a Model,
    /// Of this line.
    pub prompt: Option<&'a Prompt>,
    /// Of earlier lines.
    pub prompts: &'a VecDeque<String>,
    /// Whether the target has gone to another row since the last line was sent: before that the shell may still have it.
    pub new_row: bool,
}

/// What they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing was typed.
    Nothing,
    /// Both say this.
    Both { line: String, prompt: String },
    /// The keys say this, and the screen shows nothing of it.
    Unseen { line: String, prompt: String },
    /// The keys say the first; what the screen says comes behind it.
    Differ { lines: Vec<String>, prompt: Option<String> },
    /// The keys do not know; the screen says one of these.
    Screen { lines: Vec<String>, prompt: String },
    /// Nobody knows.
    Nobody,
}

impl Witnesses<'_> {
    pub(super) fn say(&self) -> Said {
        let whole = self.at.whole();
        // The prompt of this line first: the longest of the others says least.
        let mut known: Vec<&str> = self.prompts.iter().map(String::as_str).collect();
        known.sort_by_key(|prompt| std::cmp::Reverse(prompt.len()));
        let own = self.prompt.map(|prompt| prompt.text.as_str());
        let prompt = own.into_iter().chain(known).find(|prompt| behind(&whole, prompt).is_some());
        let line = prompt.and_then(|prompt| Some((prompt, behind(&whole, prompt)?)));
        let Some(typed) = self.model.line() else {
            let Some((prompt, line)) = line else { return Said::Nobody };
            return Said::Screen { lines: self.variants(line), prompt: prompt.to_owned() };
        };
        if typed.is_empty() {
            return Said::Nothing;
        }
        let wanted = typed.trim_end();
        match line {
            Some((prompt, line)) if self.variants(line).iter().any(|line| line.trim_end() == wanted) => {
                Said::Both { line: typed, prompt: prompt.to_owned() }
            }
            Some((prompt, "")) => Said::Unseen { line: typed, prompt: prompt.to_owned() },
            Some((prompt, line)) => {
                let mut lines = vec![typed.clone()];
                lines.extend(self.variants(line));
                Said::Differ { lines, prompt: Some(prompt.to_owned()) }
            }
            // The prompt came after the first key, as it does when somebody types ahead. Only where the line before is known
            // to be over: else the shell may still have some of it, which would be taken for the prompt.
            None if self.new_row && whole.ends_with(wanted) => {
                let before = whole.len().saturating_sub(wanted.len());
                Said::Both { line: typed, prompt: whole.get(..before).unwrap_or_default().to_owned() }
            }
            None => Said::Differ { lines: vec![typed, whole], prompt: None },
        }
    }

    /// The line as it stands; without what the shell shows at the right; and without marks that would make what is behind
    /// them a remark, in case that what is before them is none of the line.
    fn variants(&self, line: &str) -> Vec<String> {
        let mut lines = vec![line.to_owned()];
        let right = self.prompt.map_or("", |prompt| prompt.right.as_str());
        if let Some(left) = line.strip_suffix(right).filter(|_| !right.is_empty()) {
            lines.push(left.trim_end().to_owned());
        }
        if !self.model.is_known() && line.contains('#') {
            lines.push(line.replace('#', " "));
        }
        lines
    }
}

/// What stands behind a prompt. Blanks at the end of the screen's line are not there to be compared.
pub(super) fn behind<'l>(whole: &'l str, prompt: &str) -> Option<&'l str> {
    match whole.strip_prefix(prompt) {
        Some(line) => Some(line),
        None => (whole == prompt.trim_end()).then_some(""),
    }
}

/// Why a line cannot be judged by its text.
pub(super) fn problem(line: &str, known: bool) -> Option<&'static str> {
    if line.contains('\u{fffd}') {
        return Some("a character that cannot be read");
    }
    if !known && shows_control(line) {
        return Some("it seems to hold a control character: type it anew");
    }
    if expands_history(line) {
        return Some(
            "`!` or `^` would bring in an earlier line that cannot be seen before it runs: recall it with the arrow keys, or put `!` in single quotes",
        );
    }
    None
}

/// Shells show a control character as a caret and a letter.
fn shows_control(line: &str) -> bool {
    let mut after_caret = false;
    line.chars().any(|c| std::mem::replace(&mut after_caret, c == '^') && (c == '?' || ('@'..='_').contains(&c)))
}

/// Whether an interactive bash or zsh would put an earlier line into this one: bash's manual, "History Expansion".
fn expands_history(line: &str) -> bool {
    if line.starts_with('^') {
        return true;
    }
    let (mut quoted, mut escaped, mut double) = (false, false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\'' if !double => quoted = !quoted,
            '"' if !quoted => double = !double,
            '\\' if !quoted => escaped = true,
            '!' if !quoted => match chars.peek() {
                None | Some(' ' | '\t' | '=' | '(') => {}
                Some('"') if double => {}
                Some(_) => return true,
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(before: &str, after: &str) -> AtCursor {
        AtCursor { before: before.into(), after: after.into() }
    }

    fn said(screen: AtCursor, keys: Option<&str>, prompt: Option<(&str, &str)>) -> Said {
        let model = keys.map_or(Model::Unknown, |keys| Model::Known { text: keys.chars().collect(), at: 0 });
        let prompt = prompt.map(|(text, right)| Prompt { text: text.into(), right: right.into() });
        let prompts = VecDeque::new();
        Witnesses { at: screen, model: &model, prompt: prompt.as_ref(), prompts: &prompts, new_row: true }.say()
    }

    #[test]
    fn what_the_keys_and_the_screen_both_say_is_the_line() {
        let both = Said::Both { line: "ls -l".into(), prompt: "$ ".into() };
        assert_eq!(said(at("$ ls -l", ""), Some("ls -l"), Some(("$ ", ""))), both);
        assert_eq!(said(at("$ l", "s -l"), Some("ls -l"), Some(("$ ", ""))), both);
        assert_eq!(said(at("$ ls -l", "    12:30"), Some("ls -l"), Some(("$ ", "12:30"))), both);
        assert_eq!(said(at("$ ls -l", ""), Some("ls -l"), None), both);
    }

    #[test]
    fn what_they_do_not_both_say_is_told_by_both() {
        let Said::Differ { lines, .. } = said(at("$ rm xls", ""), Some("ls"), Some(("$ ", ""))) else { panic!() };
        assert_eq!(lines, ["ls", "rm xls"]);
        assert!(matches!(said(at("$ ", ""), Some("ls"), Some(("$ ", ""))), Said::Unseen { .. }));
        // A suggestion behind the cursor may be part of it.
        let Said::Differ { lines, .. } = said(at("$ ls", " -R /"), Some("ls"), Some(("$ ", ""))) else { panic!() };
        assert_eq!(lines, ["ls", "ls -R /"]);
    }

    #[test]
    fn a_line_that_no_key_tells_is_read_behind_the_prompt_or_not_at_all() {
        let Said::Screen { lines, .. } = said(at("$ rm #x", ""), None, Some(("$ ", ""))) else { panic!() };
        assert_eq!(lines, ["rm #x", "rm  x"]);
        assert_eq!(said(at("(reverse-i-search)`r': rm x", ""), None, Some(("$ ", ""))), Said::Nobody);
        assert_eq!(said(at("$ rm x", ""), None, None), Said::Nobody);
    }

    #[test]
    fn where_the_line_before_may_not_be_over_nothing_is_taken_for_a_prompt() {
        let model = Model::Known { text: "x".chars().collect(), at: 1 };
        let prompts = VecDeque::new();
        let witnesses =
            |new_row| Witnesses { at: at("$ rm x", ""), model: &model, prompt: None, prompts: &prompts, new_row };
        assert!(matches!(witnesses(true).say(), Said::Both { .. }));
        assert_eq!(witnesses(false).say(), Said::Differ { lines: vec!["x".into(), "$ rm x".into()], prompt: None });
    }

    #[test]
    fn lines_that_history_would_change_are_no_lines_that_can_be_judged() {
        for line in ["!rm", "!!", "ls; !-2", "echo \"!rm\"", "^a^b", "ls !$", "echo !#"] {
            assert!(problem(line, true).is_some(), "{line}");
        }
        for line in ["echo '!rm'", "[ ! -f x ]", "a!=b", "echo \\!x", "echo hi!", "echo \"hi!\"", "x !(a)"] {
            assert_eq!(problem(line, true), None, "{line}");
        }
        assert!(problem("ls^M", false).is_some());
        assert!(problem("grep ^a x", false).is_none());
    }
}
