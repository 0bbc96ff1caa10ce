//! What may be typed at a prompt: the shell's own words, and what the rules let through.

use crate::editor::{Candidate, Completer, Completion};
use crate::gate::shell;
use crate::ledger::Commands;
use crate::screen::line;

/// So many forms are listed.
const LISTED_MAX: usize = 200;
/// What is built in, for the first word.
const OWN: [&str; 9] = ["cd", "exit", "export", "help", "history", "logout", "pwd", "status", "why"];
/// The same, where files may be edited.
const EDIT: &str = "edit";

/// What the rules let through; nothing where no right is left.
#[derive(Default)]
pub struct Offered {
    /// Commands.
    pub commands: Option<Commands>,
    /// Whether there may be files that its user can read and write to.
    pub edits: bool,
}

impl Offered {
    /// What may be run, for `help`.
    pub fn told(&self) -> String {
        let forms = self.commands.as_ref().map(Commands::forms).unwrap_or_default();
        if forms.is_empty() {
            return String::from("No rule lets a command through now.\n");
        }
        let mut text = String::from("What may run here now:\n");
        let mut help = "";
        for form in forms.iter().take(LISTED_MAX) {
            // One reason often stands for many programs: it is said once, above them.
            if form.help != help {
                let named = if form.help.is_empty() { String::from("others") } else { line(&form.help) };
                text.push_str(&format!("  {named}:\n"));
                help = &form.help;
            }
            let yes = if form.approve { "  (after somebody's yes)" } else { "" };
            text.push_str(&format!("    {}{yes}\n", line(&form.usage)));
        }
        if forms.len() > LISTED_MAX {
            text.push_str("  ...\n");
        }
        text
    }
}

impl Completer for Offered {
    fn complete(&self, text: &str, at: usize) -> Completion {
        let offers = self.commands.as_ref().map(|commands| commands.offers(text, at)).unwrap_or_default();
        let start = if self.commands.is_some() { offers.start } else { at };
        let of_rules =
            offers.words.into_iter().map(|word| Candidate { text: word.text, help: word.help, open: word.open });
        let mut candidates: Vec<Candidate> = of_rules.collect();
        let typed = text.get(start..at).unwrap_or_default();
        if start == 0 && !typed.is_empty() {
            let own = OWN.into_iter().chain(self.edits.then_some(EDIT)).filter(|word| word.starts_with(typed));
            let known: Vec<&str> = own.filter(|word| candidates.iter().all(|other| other.text != *word)).collect();
            candidates.extend(known.into_iter().map(|word| Candidate {
                text: word.to_owned(),
                help: String::from("built in"),
                open: false,
            }));
        }
        Completion { start, candidates, hints: offers.hints }
    }

    fn goes_on(&self, text: &str) -> bool {
        shell::goes_on(text)
    }
}
