//! What loads and is doubtful all the same: rules that never hold, that let a shell through, that nobody tests.
//!
//! What this module does **not** guard against: a rule that is wrong in a way that no look at the files shows.

use std::collections::BTreeSet;
use std::fmt;

use super::{Accounts, Fault, Names, Place, PolicySet, Rule, Who};
use crate::gate::effects::{EffectKind, Table, Tamed};
use crate::gate::rules::{CommandRule, CommandSet, GRAVE, Paths, base_name, word_of};
use crate::gate::verdict::{CommandMode, Outcome};
use crate::model::{ChannelClass, Timestamp, join};

mod desktops;
mod menus;

/// Something doubtful, and by which check it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's name, such as `expired-rule`.
    pub check: &'static str,
    /// What, where, and what to do.
    pub fault: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.fault)
    }
}

/// The check for rules that no test expects.
pub(super) const UNTESTED: &str = "untested";

/// The checks and what each finds, for listings.
pub const CHECKS: &[(&str, &str)] = &[
    ("fault", "a file that does not load"),
    ("no-rule", "a directory that lets nobody in"),
    (UNTESTED, "a rule that no test expects"),
    ("keyless-glass", "break-glass by any login"),
    ("untested-set", "a command set without tests"),
    ("unused-set", "a command set that no access rule names"),
    ("expired-rule", "a rule that does not hold any more"),
    ("unreachable-rule", "a rule that never decides anything"),
    ("grave-effect", "an allow rule that lets a shell, other programs or code through"),
    ("unjudged-exec", "a rule without `commands` that opens exec where another judges commands"),
    ("unjudged-desktop", "a desktop where commands are judged: its programs are not"),
    ("desktop-keys", "keys of a desktop that are thought to be recorded"),
    ("guard-as-wall", "guard where prevention is meant"),
    ("wide-pattern", "a pattern that matches a slash, a blank or an option"),
    ("menu-shell", "a menu entry that starts a shell"),
    ("tamed-program", "an entry of yours by which a program starts no others any more"),
    ("empty-menu", "an access rule with a menu that has no entry"),
    ("unused-entry", "a menu entry that no access rule shows"),
];

/// Everything doubtful in the set, by file and line.
pub fn lint(set: &PolicySet, now: Timestamp) -> Vec<Finding> {
    let mut found = set.warnings().to_vec();
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
    for Tamed { program, file, line } in set.effects().tamed() {
        let message = format!("by this entry `{program}` starts no programs, runs no code and changes no rights");
        let hint = "Doorward's own entry says that it may: rules on these effects no longer see it. Add what it does";
        found.push(finding("tamed-program", file, *line, "program", message, hint));
    }
    menus::of_rules(set, &mut found);
    for (plain, judging) in unjudged(set) {
        let message = format!("rule `{}` opens exec where rule `{}` judges", plain.id, judging.id);
        let hint = format!(
            "whom both are for runs all that no deny or approve rule forbids: give it the `commands` of `{}`, or take exec out",
            judging.id
        );
        found.push(finding("unjudged-exec", &plain.file, plain.line, "rule", message, &hint));
    }
    desktops::of_rules(set, &mut found);
    found.sort_by(|a, b| (&a.fault.file, a.fault.line, a.check).cmp(&(&b.fault.file, b.fault.line, b.check)));
    found.dedup();
    found
}

/// Rules that open exec without `commands`, each with one that judges it for what may be the same people at the same places.
pub(super) fn unjudged(set: &PolicySet) -> impl Iterator<Item = (&Rule, &Rule)> {
    let exec = |rule: &&Rule| rule.channels.contains(&ChannelClass::Exec);
    let plain = set.rules().filter(exec).filter(|rule| rule.commands.is_none());
    let judges = |rule: &&Rule| rule.commands.as_ref().is_some_and(|commands| commands.mode != CommandMode::Observe);
    plain.flat_map(move |plain| {
        let judging = set.rules().filter(exec).filter(judges);
        let open = move |other: &&Rule| may_meet(plain, other) && !closed_to_both(set, plain, other);
        judging.filter(open).map(move |other| (plain, other))
    })
}

/// Whether a rule forbids exec to everybody for whom, and wherever, both are: what one of them says bounds the two.
fn closed_to_both(set: &PolicySet, one: &Rule, other: &Rule) -> bool {
    let either = |holds: &dyn Fn(&Rule) -> bool| holds(one) || holds(other);
    set.denials().filter(|deny| deny.closes(ChannelClass::Exec)).any(|deny| {
        let accounts = |rule: &Rule| {
            deny.accounts
                .as_ref()
                .is_none_or(|closed| rule.accounts.named.is_subset(&closed.named) && (closed.own || !rule.accounts.own))
        };
        let targets =
            |rule: &Rule| deny.place.targets.as_ref().is_none_or(|all| names_all(all, rule.place.targets.as_ref()));
        let users = |rule: &Rule| match &deny.who.users {
            Names::Every => true,
            all @ Names::These(_) => {
                names_all(all, Some(&rule.who.users)) && rule.who.groups.is_subset(&deny.who.groups)
            }
        };
        let label = |(key, value): (&String, &String)| either(&|rule| rule.place.labels.get(key) == Some(value));
        either(&users) && either(&targets) && either(&accounts) && deny.place.labels.iter().all(label)
    })
}

/// Whether all that `some` names is named by `all`; no names are every name.
fn names_all<T: Ord>(all: &Names<T>, some: Option<&Names<T>>) -> bool {
    match (all, some) {
        (Names::Every, _) => true,
        (Names::These(all), Some(Names::These(some))) => some.is_subset(all),
        (Names::These(_), Some(Names::Every) | None) => false,
    }
}

/// Whether the two may be for one user, at one target and account.
fn may_meet(one: &Rule, other: &Rule) -> bool {
    whom_both(&one.who, &other.who) && where_both(&one.place, &other.place) && account_both(one, other)
}

/// A group may have anybody in it.
fn whom_both(one: &Who, other: &Who) -> bool {
    match (&one.users, &other.users) {
        (Names::These(own), Names::These(others)) => {
            !one.groups.is_empty() || !other.groups.is_empty() || !own.is_disjoint(others)
        }
        (Names::Every, Names::Every | Names::These(_)) | (Names::These(_), Names::Every) => true,
    }
}

/// A target may carry any labels that do not contradict each other.
fn where_both(one: &Place, other: &Place) -> bool {
    let named = match (&one.targets, &other.targets) {
        (Some(Names::These(own)), Some(Names::These(others))) => !own.is_disjoint(others),
        (None | Some(Names::Every | Names::These(_)), None | Some(Names::Every | Names::These(_))) => true,
    };
    named && one.labels.iter().all(|(key, value)| other.labels.get(key).is_none_or(|others| others == value))
}

/// That a user is called as an account is counts only of a user whom the rule names.
fn account_both(one: &Rule, other: &Rule) -> bool {
    let own = |rule: &Rule, accounts: &Accounts| match &rule.who.users {
        Names::These(users) if rule.accounts.own => {
            users.iter().any(|user| accounts.named.iter().any(|account| account.as_str() == user.as_str()))
        }
        Names::Every | Names::These(_) => false,
    };
    (one.accounts.own && other.accounts.own)
        || !one.accounts.named.is_disjoint(&other.accounts.named)
        || own(one, &other.accounts)
        || own(other, &one.accounts)
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
        of_rule(rule, set, policy.effects(), now, found);
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
    menus::of_set(set, policy, now, found);
}

fn of_rule(rule: &CommandRule, set: &CommandSet, table: &Table, now: Timestamp, found: &mut Vec<Finding>) {
    let mut add = |check, message, hint: &str| found.push(finding(check, &rule.file, rule.line, "rule", message, hint));
    if rule.expires.is_some_and(|expires| expires <= now) {
        add("expired-rule", format!("rule `{}` has expired", rule.id), "remove it, or give it a later `expires`");
    }
    if rule.outcome == Outcome::Deny {
        return;
    }
    // What another rule forbids to everybody does not pass.
    let passes = |kind: &EffectKind| !set.rules.iter().any(|other| forbids(other, *kind));
    for kind in GRAVE.into_iter().filter(|kind| rule.effects.contains(kind)).filter(passes) {
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
    for program in &rule.programs {
        let stuck = table.always(program).into_iter().find(|kind| !may_cover(rule, *kind));
        if let Some(kind) = stuck {
            let message = format!(
                "rule `{}` allows nothing of {program}: it has the effect {} in any case",
                rule.id,
                word_of(kind)
            );
            add("unreachable-rule", message, "name that in `effects`, or take the program out");
        }
    }
    for (kind, patterns) in &rule.paths {
        if patterns.is_every() {
            let message = format!("rule `{}` lets each {} through, whatever the path", rule.id, word_of(*kind));
            add("wide-pattern", message, "name the directories that are meant");
        }
    }
}

/// Whether a rule forbids an effect to everybody, always, in whatever program.
fn forbids(rule: &CommandRule, kind: EffectKind) -> bool {
    rule.outcome == Outcome::Deny
        && !rule.observe
        && rule.expires.is_none()
        && rule.context == super::CommandContext::default()
        && rule.programs.is_empty()
        && rule.args.is_none()
        && rule.effects.contains(&kind)
}

/// Whether a rule can let an effect through that falls on nothing in particular.
fn may_cover(rule: &CommandRule, kind: EffectKind) -> bool {
    if rule.effects.contains(&kind) {
        return true;
    }
    if GRAVE.contains(&kind) {
        return kind == EffectKind::Unknown && rule.outcome == Outcome::Approve && rule.args.is_some();
    }
    rule.args.is_some() || rule.paths.get(&kind).is_some_and(Paths::is_every)
}

/// Why a rule never decides anything beside the other.
fn hidden_by<'r>(rule: &'r CommandRule, other: &'r CommandRule, later: bool) -> Option<&'static str> {
    let free = other.context == super::CommandContext::default() && other.expires.is_none() && !other.observe;
    let programs = |rule: &'r CommandRule| -> BTreeSet<&'r str> {
        rule.programs.iter().map(|program| base_name(program)).collect()
    };
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
                    || other
                        .paths
                        .get(kind)
                        .is_some_and(|own| paths.iter().all(|path| own.iter().any(|own| own == path)))
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    pub(super) fn found(commands: &str, mode: &str) -> Vec<String> {
        found_beside(commands, mode, "")
    }

    fn found_beside(commands: &str, mode: &str, beside: &str) -> Vec<String> {
        let access = format!(
            "schema = 1\n[[rule]]\nid = \"ops\"\nwho = {{ users = [\"ana\"] }}\nwhere = {{ targets = [\"*\"] }}\naccounts = [\"ops\"]\n\
             channels = [\"exec\"]\ngrant = {{ required = false }}\ncommands = {{ mode = \"{mode}\", sets = [\"a\"] }}\n\
             [[test]]\ngiven = {{ user = \"ana\", target = \"x\", account = \"ops\" }}\nexpect = \"allow ops\"\n{beside}"
        );
        let file = |path: &str, text: String| PolicyFile { path: path.to_owned(), text };
        let files = [file("p/access/a.toml", access), file("p/commands/a.toml", format!("schema = 1\n{commands}"))];
        let set = PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{}", join(faults)));
        let now = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
        lint(&set, now)
            .iter()
            .map(|found| format!("{}:{} {}", found.check, found.fault.line.unwrap_or(0), found.fault.message))
            .collect()
    }

    fn strict(rules: &str) -> Vec<String> {
        let all = found(&format!("mode = \"strict\"\n{rules}"), "strict");
        all.into_iter().filter(|text| !text.starts_with("untested")).collect()
    }

    const ALLOW: &str = "effect = \"allow\"\n";

    #[test]
    fn a_rule_that_decides_nothing_is_found() {
        let rule = |id: &str, more: &str| format!("[[rule]]\nid = \"{id}\"\n{more}\n");
        let cat = "program = \"/usr/bin/cat\"\nreads = [\"/srv/**\"]";
        for (rules, wanted) in [
            (rule("a", &format!("{ALLOW}{cat}\nexpires = \"2026-05-01\"")), "expired-rule:3 rule `a` has expired"),
            (
                rule("a", &format!("{ALLOW}{cat}"))
                    + &rule("b", "effect = \"deny\"\nprogram = \"cat\"\nreason = \"r\""),
                "unreachable-rule:3 rule `a` decides nothing: rule `b` (line 8) forbids all",
            ),
            (
                rule("a", &format!("{ALLOW}{cat}")) + &rule("b", &format!("{ALLOW}{cat}")),
                "unreachable-rule:8 rule `b` decides nothing: rule `a` (line 3) allows all",
            ),
            (
                rule("a", &format!("{ALLOW}program = \"/opt/tool\"")),
                "unreachable-rule:3 rule `a` allows nothing of /opt/tool",
            ),
            (
                rule("a", &format!("{ALLOW}program = [\"/usr/bin/cat\", \"/usr/bin/bash\"]\nreads = [\"/srv/**\"]")),
                "unreachable-rule:3 rule `a` allows nothing of /usr/bin/bash: it has the effect shell in any case",
            ),
        ] {
            let told = strict(&rules);
            assert!(told.iter().any(|text| text.starts_with(wanted)), "{wanted}: {told:?}");
        }
        let other = rule("a", &format!("{ALLOW}{cat}"))
            + &rule("b", &format!("{ALLOW}program = \"/usr/bin/cat\"\nreads = [\"/var/**\"]"))
            + &rule("c", "effect = \"deny\"\nprogram = \"cat\"\nargs = [\"-A\"]\nreason = \"r\"");
        assert_eq!(strict(&other), Vec::<String>::new());
    }

    #[test]
    fn a_way_to_a_shell_is_found_with_what_gives_it() {
        let told = strict(
            "[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/find\"\neffects = [\"run-program\", \"read\"]\n",
        );
        assert!(
            told.iter()
                .any(|text| text.starts_with("grave-effect:3 rule `a` lets run-program through by /usr/bin/find (")
                    && text.contains("-exec")),
            "{told:?}"
        );
        // What another rule forbids does not pass, whatever this one says.
        let told = strict(
            "[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/find\"\neffects = [\"run-program\", \"privilege\", \"read\"]\n\
             [[rule]]\nid = \"b\"\neffect = \"deny\"\neffects = [\"run-program\"]\nreason = \"r\"\n",
        );
        let grave =
            |kind: &str| told.iter().any(|text| text.starts_with(&format!("grave-effect:3 rule `a` lets {kind}")));
        assert!(!grave("run-program") && grave("privilege"), "{told:?}");
        let told = strict("[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/cat\"\nreads = [\"/**\"]\n");
        assert!(told.iter().any(|text| text.starts_with("wide-pattern:3 rule `a` lets each read through")), "{told:?}");
    }

    #[test]
    fn a_rule_without_commands_beside_one_that_judges_is_found() {
        let set = "mode = \"strict\"\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/id\"\n";
        let plain = "[[rule]]\nid = \"plain\"\nwho = { groups = [\"staff\"] }\nwhere = { labels = { env = \"prod\" } }\n\
                     accounts = [\"ops\"]\nchannels = [\"exec\"]\n";
        for (from, to, mode, doubtful) in [
            ("staff", "staff", "strict", true),
            ("staff", "staff", "observe", false),
            ("groups = [\"staff\"]", "users = [\"ana\"]", "strict", true),
            ("groups = [\"staff\"]", "users = [\"bob\"]", "strict", false),
            ("\"ops\"", "\"root\"", "strict", false),
            ("\"ops\"", "\"$user\"", "strict", false),
            ("\"exec\"", "\"shell\"", "strict", false),
        ] {
            let told = found_beside(set, mode, &plain.replace(from, to));
            let wanted =
                |text: &String| text.starts_with("unjudged-exec:13 rule `plain` opens exec where rule `ops` judges");
            assert_eq!(told.iter().any(wanted), doubtful, "{to} {mode}: {told:?}");
        }
    }

    #[test]
    fn a_rule_without_commands_is_no_gap_where_exec_is_forbidden() {
        let set = "mode = \"strict\"\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/id\"\n";
        let plain = "[[rule]]\nid = \"plain\"\nwho = { groups = [\"staff\"] }\nwhere = { labels = { env = \"prod\" } }\n\
                     accounts = [\"ops\"]\nchannels = [\"exec\"]\n";
        let deny = "[[rule]]\nid = \"no\"\neffect = \"deny\"\nwho = { users = [\"*\"] }\nwhere = { labels = { env = \"prod\" } }\n\
                    accounts = [\"ops\"]\nchannels = [\"exec\"]\nreason = \"x\"\n";
        for (from, to, closed) in [
            ("env", "env", true),
            ("accounts = [\"ops\"]\n", "", true),
            ("channels = [\"exec\"]\n", "", true),
            ("users = [\"*\"]", "groups = [\"staff\"]", true),
            ("users = [\"*\"]", "users = [\"ana\"]", true),
            ("where = { ", "where = { targets = [\"*\"], ", true),
            ("users = [\"*\"]", "users = [\"bob\"]", false),
            ("users = [\"*\"]", "groups = [\"others\"]", false),
            ("prod", "test", false),
            ("where = { ", "where = { targets = [\"y\"], ", false),
            ("\"ops\"", "\"root\"", false),
            ("\"exec\"", "\"shell\"", false),
        ] {
            let told = found_beside(set, "strict", &format!("{plain}{}", deny.replacen(from, to, 1)));
            let found = told.iter().any(|text| text.starts_with("unjudged-exec"));
            assert_eq!(found, !closed, "{from} -> {to}: {told:?}");
        }
    }

    #[test]
    fn what_the_parser_warns_of_has_a_check_of_its_own() {
        let set = "mode = \"guard\"\ndefault = \"allow\"\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/id\"\n";
        let shell = "[[rule]]\nid = \"both\"\nwho = { users = [\"bob\"] }\nwhere = { targets = [\"x\"] }\naccounts = [\"ops\"]\n\
                     channels = [\"shell\", \"exec\"]\ncommands = { mode = \"guard\", sets = [\"a\"] }\n";
        let told = found_beside(set, "guard", shell);
        assert!(told.iter().any(|text| text.starts_with("untested:13 no test expects rule `both`")), "{told:?}");
        assert!(told.iter().all(|text| CHECKS.iter().any(|(check, _)| text.starts_with(&format!("{check}:")))));
        assert_eq!(PolicySet::parse(&[]).unwrap().warnings()[0].check, "no-rule");
    }

    #[test]
    fn an_entry_that_makes_a_program_harmless_is_found() {
        let file = |program: &str, does: &str| PolicyFile {
            path: String::from("policies/effects/own.toml"),
            text: format!(
                "schema = 1\n[[program]]\nnames = [\"{program}\"]\nmanual = \"x\"\nsyntax = \"none\"\ndoes = \"{does}\"\n"
            ),
        };
        for (program, does, is_found) in [
            ("sh", "read", true),
            ("python#", "nothing", true),
            ("python3", "nothing", true),
            ("sh", "shell", false),
            ("ls", "read", false),
        ] {
            let set = PolicySet::parse(&[file(program, does)]).unwrap();
            let told = lint(&set, Timestamp::from_millis(0));
            let place = told.iter().find(|one| one.check == "tamed-program").map(|one| one.fault.to_string());
            assert_eq!(place.is_some(), is_found, "{program} {does}: {told:?}");
            assert!(place.is_none_or(|place| place.contains(program) && place.contains("own.toml:2")));
        }
    }

    #[test]
    fn guard_that_is_meant_as_a_wall_is_found() {
        let shell = "mode = \"guard\"\ndefault = \"allow\"\n[[rule]]\nid = \"a\"\neffect = \"deny\"\neffects = [\"shell\"]\nreason = \"r\"\n";
        let told = found(shell, "guard");
        assert!(told.iter().any(|text| text.starts_with("guard-as-wall:2 rule `ops` uses `a` in guard")), "{told:?}");
        assert!(told.iter().any(|text| text.starts_with("untested-set:1 ")), "{told:?}");
        assert!(told.iter().any(|text| text.starts_with("untested:4 ")), "{told:?}");
        let slips = shell.replace("effects = [\"shell\"]", "program = \"reboot\"");
        assert!(found(&slips, "guard").iter().all(|text| text.starts_with("untested")));
        let watched = found(shell, "observe");
        assert!(watched.iter().all(|text| !text.starts_with("guard-as-wall")), "{watched:?}");
    }
}
