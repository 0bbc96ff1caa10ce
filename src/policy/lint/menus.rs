//! Doubts about the entries of menus.

use std::collections::BTreeSet;

use super::{Finding, PolicySet, finding};
use crate::gate::effects::{EffectKind, Table};
use crate::gate::rules::{Arg, CommandSet, GRAVE, MenuEntry, Parameter, effects_of, word_of};
use crate::gate::verdict::CommandMode;
use crate::model::{Timestamp, join};

pub(super) fn of_set(set: &CommandSet, policy: &PolicySet, now: Timestamp, found: &mut Vec<Finding>) {
    let modes: BTreeSet<CommandMode> = policy
        .rules()
        .filter_map(|rule| rule.commands.as_ref())
        .filter(|commands| commands.sets.iter().any(|own| own.name == set.name))
        .map(|commands| commands.mode)
        .collect();
    for entry in &set.menus {
        // A set that nobody names is told as a whole.
        if !modes.is_empty() && !modes.contains(&CommandMode::Menu) {
            let message = format!(
                "menu entry `{}` is shown to nobody: `{}` is named in {} only",
                entry.name,
                set.name,
                join(&modes)
            );
            let hint = "name the set in a rule's commands = { mode = \"menu\", ... }, or remove the entry";
            found.push(finding("unused-entry", &set.file, entry.line, "menu", message, hint));
        }
        of_entry(entry, policy.effects(), now, found);
        for parameter in &entry.parameters {
            of_parameter(entry, parameter, found);
        }
    }
}

/// Access rules whose menu has nothing in it.
pub(super) fn of_rules(policy: &PolicySet, found: &mut Vec<Finding>) {
    for rule in policy.rules() {
        let Some(commands) = rule.commands.as_ref().filter(|commands| commands.mode == CommandMode::Menu) else {
            continue;
        };
        if commands.sets.iter().all(|set| set.menus.is_empty()) {
            let message = format!("rule `{}` opens nothing: none of its sets has a menu entry", rule.id);
            let hint = "add a [[menu]] to one of the sets, or name one that has some";
            found.push(finding("empty-menu", &rule.file, rule.line, "rule.commands", message, hint));
        }
    }
}

fn of_entry(entry: &MenuEntry, table: &Table, now: Timestamp, found: &mut Vec<Finding>) {
    let mut add =
        |check, message, hint: &str| found.push(finding(check, &entry.file, entry.line, "menu", message, hint));
    if entry.expires.is_some_and(|expires| expires <= now) {
        add(
            "expired-rule",
            format!("menu entry `{}` has expired", entry.name),
            "remove it, or give it a later `expires`",
        );
    }
    let literal = entry.args.iter().filter_map(|arg| match arg {
        Arg::One { head, hole: None, .. } => Some(head.as_str()),
        Arg::One { .. } | Arg::Rest => None,
    });
    let shells: BTreeSet<&str> = std::iter::once(entry.program.as_str())
        .chain(literal)
        .filter(|word| !table.ways_to(word, EffectKind::Shell).is_empty())
        .collect();
    if !shells.is_empty() {
        let message = format!("menu entry `{}` starts a shell: {}", entry.name, join(shells));
        add("menu-shell", message, "name the program itself; what a shell makes of its words nobody sees here");
    }
    for kind in effects_of(entry, table).into_iter().filter(|kind| GRAVE.contains(kind) && *kind != EffectKind::Unknown)
    {
        let (word, name) = (word_of(kind), &entry.name);
        if entry.effects.contains(&kind) {
            let message = format!("menu entry `{name}` lets {word} through");
            add("grave-effect", message, "write the options out that leave it no way to other programs");
        } else {
            let message =
                format!("menu entry `{name}` never runs: it has the effect {word}, which its `effects` does not name");
            add(
                "grave-effect",
                message,
                "write the options out that leave it no way to other programs, or name the effect",
            );
        }
    }
}

fn of_parameter(entry: &MenuEntry, parameter: &Parameter, found: &mut Vec<Finding>) {
    let Some(pattern) = &parameter.pattern else { return };
    let typed = parameter.takes.is_some();
    let odd: BTreeSet<&str> = [
        ("a/b", "a slash"),
        ("/a", "a slash"),
        ("a b", "a blank"),
        ("..", "`..`"),
        ("-x", "an option"),
        ("", "nothing"),
    ]
    .into_iter()
    // What is refused whatever the pattern says is no doubt, but for an option: there somebody counts on it. And who writes
    // a blank or a slash out means it.
    .filter(|(text, what)| {
        pattern.matches(text) && !typed && (*what == "an option") == parameter.accepts(text).is_err()
    })
    .filter(|(_, what)| match *what {
        "a slash" => !pattern.text().contains('/'),
        "a blank" => !pattern.text().contains(' '),
        _ => true,
    })
    .map(|(_, what)| what)
    .collect();
    if odd.is_empty() {
        return;
    }
    let message = format!("`{}` of menu entry `{}` matches {}", parameter.name, entry.name, join(&odd));
    let hint = if odd.contains("an option") {
        "a value that begins with a dash is refused here: put it behind `--`, or in a word such as --site={site}"
    } else {
        "name the characters that are meant: [a-z0-9][a-z0-9-]{0,39}"
    };
    found.push(finding("wide-pattern", &entry.file, parameter.line, "menu", message, hint));
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;

    fn menu(more: &str) -> Vec<String> {
        in_mode("menu", more)
    }

    fn in_mode(mode: &str, more: &str) -> Vec<String> {
        let all = found(&format!("[[menu]]\nname = \"m\"\ntitle = \"t\"\n{more}\n"), mode);
        all.into_iter().filter(|text| !text.starts_with("untested")).collect()
    }

    #[track_caller]
    fn tells(more: &str, wanted: &str) {
        let told = menu(more);
        assert!(told.iter().any(|text| text.contains(wanted)), "{wanted}: {told:?}");
    }

    #[test]
    fn doubtful_entries_are_found() {
        let pattern = |pattern: &str| format!("run = [\"/bin/x\", \"{{y}}\"]\ny = {{ pattern = \"{pattern}\" }}");
        tells(
            &pattern("[^;]*"),
            "wide-pattern:6 `y` of menu entry `m` matches `..`, a blank, a slash, an option, nothing",
        );
        tells(&pattern("-?[a-z]+"), "matches an option");
        assert_eq!(menu(&pattern("[a-z][a-z0-9-]{0,20}")), Vec::<String>::new());
        let behind = "run = [\"/bin/x\", \"--\", \"{y}\", \"--z={y}\"]\ny = { pattern = \"-?[a-z]+\" }";
        assert_eq!(menu(behind), Vec::<String>::new());
        tells("run = [\"/bin/sh\", \"-c\", \"id\"]", "menu-shell:2 menu entry `m` starts a shell: /bin/sh");
        tells("run = [\"/usr/bin/env\", \"bash\", \"-l\"]", "starts a shell: bash");
        tells("run = [\"/usr/bin/less\", \"/etc/motd\"]", "never runs: it has the effect interactive-escape");
        tells(
            "run = [\"/usr/bin/sudo\", \"/usr/bin/id\"]",
            "grave-effect:2 menu entry `m` never runs: it has the effect privilege",
        );
        tells("run = [\"/usr/bin/sudo\", \"/usr/bin/id\"]\neffects = [\"privilege\"]", "lets privilege through");
        tells("run = [\"/bin/x\"]\nexpires = \"2026-05-01\"", "expired-rule:2 menu entry `m` has expired");
    }

    #[test]
    fn entries_and_menus_that_nobody_sees_are_found() {
        let entry = "run = [\"/bin/x\"]";
        let told = in_mode("strict", entry);
        let wanted = "unused-entry:2 menu entry `m` is shown to nobody: `a` is named in strict only";
        assert!(told.iter().any(|text| text.starts_with(wanted)), "{told:?}");
        assert_eq!(menu(entry), Vec::<String>::new());
        let rule = "mode = \"strict\"\n[[rule]]\nid = \"a\"\neffect = \"allow\"\nprogram = \"/usr/bin/id\"\n";
        let told = found(rule, "menu");
        assert!(told.iter().any(|text| text.starts_with("empty-menu:2 rule `ops` opens nothing")), "{told:?}");
    }
}
