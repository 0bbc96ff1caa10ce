//! By which of its options a program can do something: for people who write rules.

use super::entry::{Doing, Entry};
use super::{EffectKind, Table};

/// So many are told.
const WAYS_MAX: usize = 8;

impl Table {
    /// The options and places by which the program can have this effect, such as `-exec`, `its operands` or `in any case`;
    /// none if the table knows of none.
    pub fn ways_to(&self, program: &str, kind: EffectKind) -> Vec<String> {
        let Some(entry) = self.entry(program) else { return Vec::new() };
        let mut ways = Vec::new();
        collect(entry, "", kind, &mut ways);
        ways.dedup();
        ways.truncate(WAYS_MAX);
        ways
    }

    /// What the program does in any case, whatever its words are: a rule that does not let all of it through lets nothing
    /// of it through.
    pub fn always(&self, program: &str) -> Vec<EffectKind> {
        let does = self.entry(program).map(|entry| entry.does.as_slice()).unwrap_or_default();
        // Whatever else stands there is about a word, and there is none.
        let effect = |doing: &Doing| if let Doing::Effect(kind) = doing { Some(*kind) } else { None };
        does.iter().filter_map(effect).collect()
    }
}

fn collect(entry: &Entry, before: &str, kind: EffectKind, ways: &mut Vec<String>) {
    let does = |doing: &[Doing]| doing.iter().any(|doing| leads_to(*doing, kind));
    if does(&entry.does) {
        ways.push(format!("{before}in any case"));
    }
    for (name, option) in &entry.options {
        if option.does.iter().any(|doing| does(doing)) {
            ways.push(format!("{before}{name}"));
        }
    }
    if does(&entry.bare) {
        ways.push(format!("{before}without operands"));
    }
    for sub in &entry.subs {
        if let Some(name) = sub.names.first() {
            collect(sub, &format!("{before}{name} "), kind, ways);
        }
    }
}

fn leads_to(doing: Doing, kind: EffectKind) -> bool {
    match doing {
        Doing::Effect(own) => own == kind,
        Doing::Command | Doing::Script | Doing::Words | Doing::Program => kind == EffectKind::RunProgram,
        Doing::Awk | Doing::Sed | Doing::Substitution => kind == EffectKind::LoadCode,
        Doing::ReadNames
        | Doing::AtRead
        | Doing::NamedAtRead
        | Doing::Cookies
        | Doing::Form
        | Doing::Format
        | Doing::Upload => kind == EffectKind::Read,
        Doing::Output => kind == EffectKind::Write,
        Doing::Tmux => kind == EffectKind::Shell,
        Doing::Jq => matches!(kind, EffectKind::Read | EffectKind::Credential),
        Doing::Nothing
        | Doing::Arguments
        | Doing::Assignment
        | Doing::Name
        | Doing::Expression
        | Doing::Setting
        | Doing::Settings
        | Doing::Placeholder
        | Doing::Url
        | Doing::HostOrRead
        | Doing::HostOrWrite
        | Doing::Package
        | Doing::Mode
        | Doing::Definition
        | Doing::Processes => false,
    }
}
