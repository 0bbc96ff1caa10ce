//! Command sets: what may be run, what takes somebody's yes, and what must not be run.

use super::effects::Table;
use super::verdict::{Asker, By, CommandMode, Governed, Judgement, Outcome};

/// A file of `policies/commands/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSet {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// The weakest mode in which it may be used; `None`: in any.
    pub mode: Option<CommandMode>,
}

pub(super) fn judge(line: &str, governed: &[Governed], _table: &Table, _asker: &Asker<'_>) -> Judgement {
    let free = governed.iter().all(|each| each.commands.is_none());
    let outcome = if free && !governed.is_empty() { Outcome::Allow } else { Outcome::Deny };
    Judgement {
        outcome,
        by: if free { By::NoSets } else { By::Default },
        access_rule: governed.first().map(|each| each.rule.clone()),
        set: None,
        place: None,
        mode: CommandMode::Observe,
        send: (outcome == Outcome::Allow).then(|| line.to_owned()),
        reason: None,
        invocations: Vec::new(),
        would: Vec::new(),
        alert: None,
        on_match: None,
        approval: None,
    }
}
