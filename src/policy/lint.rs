//! What loads and is doubtful all the same: rules that never hold, that let a shell through, that nobody tests.
//!
//! What this module does **not** guard against: a rule that is wrong in a way that no look at the files shows.

use std::collections::BTreeSet;

use super::{Fault, PolicySet};
use crate::gate::effects::{EffectKind, Table};
use crate::gate::rules::{CommandRule, CommandSet, GRAVE, PathPattern, word_of};
use crate::gate::verdict::{CommandMode, Outcome};
use crate::model::{Timestamp, join};

/// Something doubtful, and by which check it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's name, such as `expired-rule`.
    pub check: &'static str,
    /// What, where, and what to do.
    pub fault: Fault,
}

/// The checks and what each finds, for listings.
pub const CHECKS: &[(&str, &str)] = &[
    ("fault", "a file that does not load"),
    ("untested", "a rule that no test expects"),
    ("untested-set", "a command set without tests"),
    ("unused-set", "a command set that no access rule names"),
    ("expired-rule", "a rule that does not hold any more"),
    ("unreachable-rule", "a rule that never decides anything"),
    ("grave-effect", "an allow rule that lets a shell, other programs or code through"),
    ("guard-as-wall", "guard where prevention is meant"),
    ("wide-pattern", "a pattern that matches a slash, a blank or an option"),
];

/// Everything doubtful in the set, by file and line.
pub fn lint(set: &PolicySet, now: Timestamp) -> Vec<Finding> {
    let warned = set.warnings().iter().map(|fault| Finding { check: "untested", fault: fault.clone() });
    let mut found: Vec<Finding> = warned.collect();
    for commands in set.command_sets() {
        of_set(commands, set, now, &mut found);
    }
    for rule in set.rules() {
        let Some(commands) = rule.commands.as_ref().filter(|commands| commands.mode == CommandMode::Guard) else {
            continue;
        };
        for named in &commands.sets {
            if let Some(why) = meant_as_wall(named) {
                let message = format!("rule `{}` uses `{}` in guard, and {why}", rule.id, named.name);
                let hint = "guard is against slips: who wants through gets through. What must not happen needs strict";
                found.push(finding("guard-as-wall", &rule.file, rule.line, "rule.commands", message, hint));
            }
        }
    }
    found.sort_by(|a, b| (&a.fault.file, a.fault.line, a.check).cmp(&(&b.fault.file, b.fault.line, b.check)));
    found.dedup();
    found
}

fn finding(check: &'static str, file: &str, line: usize, key: &str, message: String, hint: &str) -> Finding {
    let fault = Fault { file: file.to_owned(), line: Some(line), key: key.to_owned(), message, hint: None };
    Finding { check, fault: fault.hint(hint) }
}

fn meant_as_wall(set: &CommandSet) -> Option<&'static str> {
    if set.default == Some(Outcome::Deny) {
        return Some("the set refuses what no rule names");
    }
    let ways = [EffectKind::Shell, EffectKind::RunProgram, EffectKind::LoadCode, EffectKind::Privilege];
    let closes =
        |rule: &CommandRule| rule.outcome == Outcome::Deny && ways.iter().any(|way| rule.effects.contains(way));
    set.rules.iter().any(closes).then_some("a rule of it forbids the ways to a shell")
}

fn of_set(set: &CommandSet, policy: &PolicySet, now: Timestamp, found: &mut Vec<Finding>) {
    if set.tests.is_empty() {
        let hint = "add a [[test]] with lines that it lets through, and one with lines that it must not";
        found.push(finding("untested-set", &set.file, 1, "", format!("`{}` has no test", set.name), hint));
    }
    let named = |rule: &super::Rule| {
        rule.commands.as_ref().is_some_and(|commands| commands.sets.iter().any(|own| own.name == set.name))
    };
    if !policy.rules().any(named) {
        let hint = "name it in a rule's commands = { mode = \"...\", sets = [...] }";
        found.push(finding("unused-set", &set.file, 1, "", format!("no access rule names `{}`", set.name), hint));
    }
    for (at, rule) in set.rules.iter().enumerate() {
        of_rule(rule, policy.effects(), now, found);
        let others = set.rules.iter().enumerate().filter(|(other, _)| *other != at);
        for (other_at, other) in others {
            if let Some(why) = hidden_by(rule, other, at > other_at) {
                let message =
                    format!("rule `{}` decides nothing: rule `{}` (line {}) {why}", rule.id, other.id, other.line);
                found.push(finding(
                    "unreachable-rule",
                    &rule.file,
                    rule.line,
                    "rule",
                    message,
                    "remove one of the two",
                ));
                break;
            }
        }
    }
    for menu in &set.menus {
        for (name, parameter) in &menu.parameters {
            let odd: Vec<&str> = [
                ("a/b", "a slash"),
                ("/a", "a slash"),
                ("a b", "a blank"),
                ("..", "`..`"),
                ("-x", "an option"),
                ("", "nothing"),
            ]
            .into_iter()
            .filter(|(text, _)| parameter.pattern.matches(text))
            .map(|(_, what)| what)
            .collect();
            let odd: BTreeSet<&str> = odd.into_iter().collect();
            if !odd.is_empty() {
                let message = format!("`{name}` of menu entry `{}` matches {}", menu.name, join(odd));
                let hint = "name the characters that are meant: [a-z0-9][a-z0-9-]{0,39}";
                found.push(finding("wide-pattern", &set.file, parameter.line, "menu", message, hint));
            }
        }
    }
}

fn of_rule(rule: &CommandRule, table: &Table, now: Timestamp, found: &mut Vec<Finding>) {
    let mut add = |check, message, hint: &str| found.push(finding(check, &rule.file, rule.line, "rule", message, hint));
    if rule.expires.is_some_and(|expires| expires <= now) {
        add("expired-rule", format!("rule `{}` has expired", rule.id), "remove it, or give it a later `expires`");
    }
    if rule.outcome == Outcome::Deny {
        return;
    }
    for kind in GRAVE.into_iter().filter(|kind| rule.effects.contains(kind)) {
        let each = rule.programs.iter().filter_map(|program| {
            let ways = table.ways_to(program, kind);
            (!ways.is_empty()).then(|| format!("{program} ({})", ways.join(", ")))
        });
        let each: Vec<String> = each.collect();
        // What is pinned word by word and starts nothing is what its writer knows.
        if kind == EffectKind::Unknown && rule.args.is_some() {
            continue;
        }
        let by = if each.is_empty() { String::new() } else { format!(" by {}", each.join(", ")) };
        let message = format!("rule `{}` lets {} through{by}", rule.id, word_of(kind));
        add("grave-effect", message, "name `flags` or `args`, so that only what is meant can be typed");
    }
    let blind: Vec<&String> = rule.programs.iter().filter(|program| !table.knows(program)).collect();
    let seen = rule.effects.contains(&EffectKind::Unknown) || (rule.outcome == Outcome::Approve && rule.args.is_some());
    if !seen && !blind.is_empty() {
        let message = format!("rule `{}` allows nothing of {}: what that does is not known", rule.id, join(blind));
        add(
            "unreachable-rule",
            message,
            "describe it in effects/*.toml, or write args = [...] and effects = [\"unknown\"]",
        );
    }
    for (kind, patterns) in &rule.paths {
        if patterns.iter().any(PathPattern::is_every) {
            let message = format!("rule `{}` lets each {} through, whatever the path", rule.id, word_of(*kind));
            add("wide-pattern", message, "name the directories that are meant");
        }
    }
}

/// Why a rule never decides anything beside the other.
fn hidden_by(rule: &CommandRule, other: &CommandRule, later: bool) -> Option<&'static str> {
    let free = other.context == super::CommandContext::default() && other.expires.is_none() && !other.observe;
    let programs =
        |rule: &CommandRule| -> BTreeSet<String> { rule.programs.iter().map(|program| base(program)).collect() };
    let all = !rule.programs.is_empty() && programs(rule).is_subset(&programs(other));
    let about_all = other.args.is_none() && other.flags.is_none();
    if !free || rule.observe {
        return None;
    }
    let no_effects = |rule: &CommandRule| rule.effects.is_empty() && rule.paths.is_empty() && rule.hosts.is_empty();
    match (rule.outcome, other.outcome) {
        (Outcome::Allow | Outcome::Approve, Outcome::Deny) => {
            if all && about_all && no_effects(other) {
                return Some("forbids all that it names");
            }
            let mut grave = rule.effects.iter().filter(|kind| GRAVE.contains(kind)).peekable();
            let closed =
                other.programs.is_empty() && grave.peek().is_some() && grave.all(|kind| other.effects.contains(kind));
            closed.then_some("forbids the effects that it names, so those never pass")
        }
        (Outcome::Allow, Outcome::Allow) => {
            let same =
                rule.programs.iter().all(|program| other.programs.contains(program)) && !rule.programs.is_empty();
            let paths = rule.paths.iter().all(|(kind, paths)| {
                other.effects.contains(kind)
                    || other.paths.get(kind).is_some_and(|own| paths.iter().all(|path| own.contains(path)))
            });
            let hosts = rule.hosts.iter().all(|host| other.hosts.contains(host));
            let wider = (about_all && rule.args.is_none() || rule.args == other.args && rule.flags == other.flags)
                && rule.effects.is_subset(&other.effects)
                && (other.pipe || !rule.pipe)
                && (other.globs || !rule.globs);
            // Of two alike the later one is told.
            let alike = other.effects == rule.effects && other.paths == rule.paths && other.args == rule.args;
            (same && wider && paths && hosts && (later || !alike)).then_some("allows all that it allows")
        }
        (Outcome::Deny, Outcome::Deny) => {
            (all && about_all && no_effects(other) && (later || !no_effects(rule) || rule.args.is_some()))
                .then_some("forbids all that it forbids")
        }
        (Outcome::Approve, Outcome::Allow | Outcome::Approve)
        | (Outcome::Allow, Outcome::Approve)
        | (Outcome::Deny, Outcome::Allow | Outcome::Approve) => None,
    }
}

fn base(program: &str) -> String {
    program.rsplit('/').next().unwrap_or(program).to_owned()
}
