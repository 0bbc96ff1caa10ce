//! Two policy sets, compared in words: what becomes wider, what narrower, and for whom.
//!
//! What this module does **not** guard against: a change that it cannot weigh is said to be one that may widen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lint::unjudged;
use super::{Accounts, GrantNeed, Integration, Names, Place, PolicySet, Rule, Who};
use crate::gate::effects::EffectKind;
use crate::gate::rules::{Arg, CommandRule, CommandSet, Flag, MenuEntry, PathPattern, Paths, word_of};
use crate::gate::verdict::Outcome;
use crate::model::{RuleId, join};

/// A difference, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which way it goes.
    pub way: Way,
    /// What, and for whom.
    pub text: String,
}

/// Which way a difference goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// More is possible than before.
    Widens,
    /// It may be that more is possible.
    MayWiden,
    /// Less is possible than before.
    Narrows,
}

/// What is different between two sets, what widens first.
pub fn compare(old: &PolicySet, new: &PolicySet) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |way, text: String| found.push(Difference { way, text });
    let rules = |set: &PolicySet| set.rules().map(|rule| (rule.id.clone(), rule.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (rules(old), rules(new));
    for (id, rule) in &after {
        match before.get(id) {
            None => add(Way::Widens, format!("{} by the new rule `{id}`", gains(rule))),
            Some(old) => changed(old, rule, &mut add),
        }
    }
    for (id, rule) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        add(
            Way::Narrows,
            format!(
                "{}: rule `{id}` is gone",
                gains(rule).replacen(" gains ", " loses ", 1).replacen(" gain ", " lose ", 1)
            ),
        );
    }
    unjudged_now(old, new, &mut add);
    let denials =
        |set: &PolicySet| set.denials().map(|rule| (rule.id.clone(), rule.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (denials(old), denials(new));
    for (id, rule) in &after {
        let same = |old: &super::DenyRule| {
            (&old.who, &old.place, &old.accounts, &old.channels)
                == (&rule.who, &rule.place, &rule.accounts, &rule.channels)
        };
        match before.get(id) {
            None => add(Way::Narrows, format!("rule `{id}` now forbids {} on {}", who(&rule.who), place(&rule.place))),
            Some(old) if !same(old) => add(Way::MayWiden, format!("rule `{id}` forbids something else than before")),
            Some(_) => {}
        }
    }
    for (id, rule) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        add(
            Way::Widens,
            format!("rule `{id}` no longer forbids {} on {}: {}", who(&rule.who), place(&rule.place), rule.reason),
        );
    }
    audits(old, new, &mut add);
    let sets =
        |set: &PolicySet| set.command_sets().map(|set| (set.name.clone(), Arc::clone(set))).collect::<BTreeMap<_, _>>();
    let (before, after) = (sets(old), sets(new));
    for (name, set) in &after {
        if let Some(earlier) = before.get(name) {
            changed_set(earlier, set, &whom_of(new, name), &mut add);
            judged_otherwise((old, earlier), (new, set), &mut add);
        }
    }
    if old.effects() != new.effects() {
        add(Way::MayWiden, String::from("the effects table has changed: what programs do is read otherwise"));
    }
    found.sort_by(|a, b| (a.way, &a.text).cmp(&(b.way, &b.text)));
    found.dedup();
    found
}

/// A rule without `commands` takes from those beside it what they forbid by default.
fn unjudged_now(old: &PolicySet, new: &PolicySet, add: &mut dyn FnMut(Way, String)) {
    let ids = |pair: (&Rule, &Rule)| (pair.0.id.clone(), pair.1.id.clone());
    let before: BTreeSet<(RuleId, RuleId)> = unjudged(old).map(ids).collect();
    let judged = |id: &RuleId| old.rules().any(|rule| rule.id == *id && rule.commands.is_some());
    for (plain, judging) in unjudged(new).filter(|pair| judged(&pair.1.id) && !before.contains(&ids(*pair))) {
        let text = format!(
            "{}: rule `{}` has no `commands`, and what `{}` judged is judged by its deny and approve rules alone",
            who(&plain.who),
            plain.id,
            judging.id
        );
        add(Way::Widens, text);
    }
}

fn audits(old: &PolicySet, new: &PolicySet, add: &mut dyn FnMut(Way, String)) {
    let rules =
        |set: &PolicySet| set.audit_rules().map(|rule| (rule.id.clone(), rule.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (rules(old), rules(new));
    for (id, rule) in &after {
        let earlier = before.get(id);
        let more: Vec<_> =
            rule.rights.iter().filter(|right| earlier.is_none_or(|old| !old.rights.contains(right))).collect();
        if !more.is_empty() {
            add(
                Way::Widens,
                format!(
                    "{} gains the right to {} on {} (audit rule `{id}`)",
                    who(&rule.who),
                    join(more),
                    place(&rule.place)
                ),
            );
        }
        if earlier.is_some_and(|old| (&old.who, &old.place) != (&rule.who, &rule.place)) {
            add(Way::MayWiden, format!("audit rule `{id}` is for others than before"));
        }
        for right in earlier.into_iter().flat_map(|old| &old.rights).filter(|right| !rule.rights.contains(right)) {
            add(Way::Narrows, format!("audit rule `{id}` no longer gives the right to {right}"));
        }
    }
    for (id, _) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        add(Way::Narrows, format!("audit rule `{id}` is gone"));
    }
}

fn who(who: &Who) -> String {
    let mut all: Vec<String> = who.groups.iter().map(|group| format!("group {group}")).collect();
    match &who.users {
        Names::Every => return String::from("everybody"),
        Names::These(users) => all.extend(users.iter().map(|user| format!("user {user}"))),
    }
    all.join(", ")
}

fn place(place: &Place) -> String {
    let labels: Vec<String> = place.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let targets = match &place.targets {
        None => None,
        Some(Names::Every) => Some(String::from("every target")),
        Some(Names::These(targets)) => Some(join(targets)),
    };
    match (targets, labels.is_empty()) {
        (Some(targets), true) => targets,
        (Some(targets), false) => format!("{targets} with {}", labels.join(", ")),
        (None, _) => format!("targets with {}", labels.join(", ")),
    }
}

fn accounts(accounts: &Accounts) -> String {
    let own = accounts.own.then(|| String::from("their own account"));
    let named = (!accounts.named.is_empty()).then(|| format!("account {}", join(&accounts.named)));
    own.into_iter().chain(named).collect::<Vec<_>>().join(" and ")
}

fn gains(rule: &Rule) -> String {
    let how = match (rule.grant.need, &rule.grant.request) {
        (GrantNeed::NotRequired, _) => "without a grant",
        (GrantNeed::Required, Some(_)) => "with a grant that can be asked for",
        (GrantNeed::Required, None) => "with an operator's grant",
    };
    let judged = rule.commands.as_ref().map_or_else(String::new, |commands| {
        format!(", commands in {} by {}", commands.mode, join(commands.sets.iter().map(|set| &set.name)))
    });
    let (who, channels) = (who(&rule.who), join(&rule.channels));
    format!("{who} gains {channels} to {} on {}, {how}{judged},", accounts(&rule.accounts), place(&rule.place))
}

fn changed(old: &Rule, new: &Rule, add: &mut dyn FnMut(Way, String)) {
    let id = &new.id;
    let there = format!("{} on {}", accounts(&new.accounts), place(&new.place));
    let users = |who: &Who| match &who.users {
        Names::Every => BTreeSet::from([String::from("everybody")]),
        Names::These(users) => users.iter().map(|user| format!("user {user}")).collect(),
    };
    let people = |rule: &Rule| -> BTreeSet<String> {
        users(&rule.who).into_iter().chain(rule.who.groups.iter().map(|group| format!("group {group}"))).collect()
    };
    let (before, after) = (people(old), people(new));
    for one in after.difference(&before) {
        add(Way::Widens, format!("{one} gains {there} (rule `{id}`)"));
    }
    for one in before.difference(&after) {
        add(Way::Narrows, format!("{one} loses {there} (rule `{id}`)"));
    }
    let whom = who(&new.who);
    let own = |rule: &Rule| -> BTreeSet<String> {
        rule.accounts
            .named
            .iter()
            .map(|account| format!("account {account}"))
            .chain(rule.accounts.own.then(|| String::from("their own account")))
            .collect()
    };
    for one in own(new).difference(&own(old)) {
        add(Way::Widens, format!("{whom} gains {one} on {} (rule `{id}`)", place(&new.place)));
    }
    for one in own(old).difference(&own(new)) {
        add(Way::Narrows, format!("{whom} loses {one} on {} (rule `{id}`)", place(&new.place)));
    }
    for class in new.channels.difference(&old.channels) {
        add(Way::Widens, format!("{whom} gains {class} to {there} (rule `{id}`)"));
    }
    for class in old.channels.difference(&new.channels) {
        add(Way::Narrows, format!("{whom} loses {class} to {there} (rule `{id}`)"));
    }
    if old.place != new.place {
        add(
            Way::MayWiden,
            format!("{whom}: rule `{id}` is for {} in place of {}", place(&new.place), place(&old.place)),
        );
    }
    match (old.grant.need, new.grant.need) {
        (GrantNeed::Required, GrantNeed::NotRequired) => {
            add(Way::Widens, format!("{whom} needs no grant any more for {there} (rule `{id}`)"));
        }
        (GrantNeed::NotRequired, GrantNeed::Required) => {
            add(Way::Narrows, format!("{whom} needs a grant for {there} (rule `{id}`)"));
        }
        (GrantNeed::Required, GrantNeed::Required) | (GrantNeed::NotRequired, GrantNeed::NotRequired) => {
            if old.grant != new.grant {
                add(Way::MayWiden, format!("{whom}: how a grant is got for {there} has changed (rule `{id}`)"));
            }
        }
    }
    changed_commands(old, new, &whom, add);
    if old.desktop != new.desktop {
        let (way, how) = match (new.desktop.is_within(&old.desktop), old.desktop.is_within(&new.desktop)) {
            (true, _) => (Way::Narrows, "less"),
            (false, true) => (Way::Widens, "more"),
            (false, false) => (Way::MayWiden, "something else"),
        };
        add(way, format!("{whom}: {how} passes beside the picture of a desktop (rule `{id}`)"));
    }
    let parts: [(&str, bool); 9] = [
        ("`forward`", old.forward != new.forward),
        ("`sftp`", old.files != new.files),
        ("`agent`", old.agent != new.agent),
        ("`terminal`", old.terminal != new.terminal),
        ("`break_glass`", old.glass != new.glass),
        ("`key`", old.key != new.key),
        ("`four_eyes` or `watch`", old.oversight != new.oversight),
        ("`when`, `from`, `mfa`, `limits` or `consent`", old.conditions != new.conditions),
        ("`recording`", old.recording != new.recording),
    ];
    for (part, _) in parts.iter().filter(|(_, differs)| *differs) {
        add(Way::MayWiden, format!("{whom}: {part} of rule `{id}` has changed"));
    }
}

fn changed_commands(old: &Rule, new: &Rule, whom: &str, add: &mut dyn FnMut(Way, String)) {
    let id = &new.id;
    match (&old.commands, &new.commands) {
        (Some(_), None) => add(Way::Widens, format!("{whom}: commands are not judged any more (rule `{id}`)")),
        (None, Some(commands)) => {
            add(Way::Narrows, format!("{whom}: commands are judged in {} (rule `{id}`)", commands.mode));
        }
        (Some(before), Some(after)) => {
            if after.mode != before.mode {
                let way = if after.mode < before.mode { Way::Widens } else { Way::Narrows };
                add(
                    way,
                    format!("{whom}: commands are judged in {} in place of {} (rule `{id}`)", after.mode, before.mode),
                );
            }
            if after.unjudged_shell && !before.unjudged_shell {
                add(Way::Widens, format!("{whom}: a shell is opened in which nothing is judged (rule `{id}`)"));
            }
            let (on_gap, on_gap_before) = (after.guarded.on_gap, before.guarded.on_gap);
            if on_gap != on_gap_before {
                let way = if on_gap < on_gap_before { Way::Widens } else { Way::Narrows };
                add(way, format!("{whom}: other things are done where a line may have run unread (rule `{id}`)"));
            }
            let (integration, integration_before) = (after.guarded.integration, before.guarded.integration);
            if integration != integration_before {
                let (way, what) = match integration {
                    Integration::On => (Way::Narrows, "by their shells, where these can"),
                    Integration::Off => (Way::Widens, "from the screen alone"),
                };
                add(way, format!("{whom}: lines are read {what} (rule `{id}`)"));
            }
            if after.guarded.nested != before.guarded.nested {
                add(Way::MayWiden, format!("{whom}: other sets are for other programs' prompts (rule `{id}`)"));
            }
            let names = |sets: &[Arc<CommandSet>]| sets.iter().map(|set| set.name.clone()).collect::<BTreeSet<_>>();
            let (sets_before, sets_after) = (names(&before.sets), names(&after.sets));
            if sets_before != sets_after {
                let text = format!(
                    "{whom}: rule `{id}` names the sets {} in place of {}",
                    join(&sets_after),
                    join(&sets_before)
                );
                add(Way::MayWiden, text);
            }
        }
        (None, None) => {}
    }
}

fn changed_set(old: &CommandSet, new: &CommandSet, whom: &str, add: &mut dyn FnMut(Way, String)) {
    let name = &new.name;
    if old.default != new.default || old.mode != new.mode {
        let way = if new.default == Some(Outcome::Allow) { Way::Widens } else { Way::MayWiden };
        add(way, format!("set `{name}`: mode or default has changed, {whom}"));
    }
    let rules =
        |set: &CommandSet| set.rules.iter().map(|rule| (rule.id.clone(), rule.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (rules(old), rules(new));
    let what =
        |rule: &CommandRule| if rule.programs.is_empty() { String::from("effects") } else { join(&rule.programs) };
    for (id, rule) in &after {
        let Some(earlier) = before.get(id) else {
            let (way, verb) = match rule.outcome {
                Outcome::Allow => (Way::Widens, "allows"),
                Outcome::Approve => (Way::MayWiden, "wants a yes for"),
                Outcome::Deny => (Way::Narrows, "forbids"),
            };
            add(way, format!("set `{name}`: the new rule `{id}` {verb} {}, {whom}", what(rule)));
            continue;
        };
        let mut said = false;
        changed_rule(earlier, rule, &mut |way, text| {
            said = true;
            add(way, format!("set `{name}`: rule `{id}` {text}, {whom}"));
        });
        if !said && said_only(earlier) != said_only(rule) {
            add(Way::MayWiden, format!("set `{name}`: rule `{id}` has changed, {whom}"));
        }
    }
    changed_menu(old, new, whom, add);
    for (id, rule) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        let (way, verb) = match rule.outcome {
            Outcome::Allow => (Way::Narrows, "allowed"),
            Outcome::Approve => (Way::MayWiden, "wanted a yes for"),
            Outcome::Deny => (Way::Widens, "forbade"),
        };
        add(way, format!("set `{name}`: rule `{id}`, which {verb} {}, is gone, {whom}", what(rule)));
    }
}

/// What is different in the menu of a set.
fn changed_menu(old: &CommandSet, new: &CommandSet, whom: &str, add: &mut dyn FnMut(Way, String)) {
    let name = &new.name;
    let entries = |set: &CommandSet| {
        set.menus.iter().map(|entry| (entry.name.clone(), entry.clone())).collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (entries(old), entries(new));
    for (id, entry) in &after {
        let Some(earlier) = before.get(id) else {
            let way = if entry.outcome == Outcome::Allow { Way::Widens } else { Way::MayWiden };
            add(way, format!("set `{name}`: the new menu entry `{id}` runs {}, {whom}", run(entry)));
            continue;
        };
        let mut say = |way, text: String| add(way, format!("set `{name}`: menu entry `{id}` {text}, {whom}"));
        if earlier.outcome != entry.outcome {
            let way = if entry.outcome < earlier.outcome { Way::Widens } else { Way::MayWiden };
            say(way, format!("says {} in place of {}", entry.outcome, earlier.outcome));
        }
        if (&earlier.program, &earlier.args) != (&entry.program, &entry.args) {
            say(Way::MayWiden, format!("runs {} in place of {}", run(entry), run(earlier)));
        }
        let takes = |entry: &MenuEntry| {
            let each = entry.parameters.iter().map(|one| {
                let paths: Vec<&str> = one.paths.iter().map(PathPattern::text).collect();
                (one.name.clone(), one.takes.clone(), one.pattern.clone(), paths.join(" "), one.default.clone())
            });
            each.collect::<Vec<_>>()
        };
        let rest: [(&str, bool); 10] = [
            ("what a parameter takes", takes(earlier) != takes(entry)),
            ("`effects`", earlier.effects != entry.effects),
            ("`pty`", earlier.pty != entry.pty),
            ("`groups`", earlier.context.groups != entry.context.groups),
            ("`labels`", earlier.context.labels != entry.context.labels),
            ("`when`", earlier.context.when != entry.context.when),
            ("`ticket`", earlier.context.ticket != entry.context.ticket),
            ("`expires`", earlier.expires != entry.expires),
            ("`alert` or `on_match`", (earlier.alert, earlier.on_match) != (entry.alert, entry.on_match)),
            ("`approvers`", earlier.approval != entry.approval),
        ];
        rest.iter().filter(|(_, differs)| *differs).for_each(|(what, _)| say(Way::MayWiden, format!("changes {what}")));
    }
    for (id, entry) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        add(Way::Narrows, format!("set `{name}`: menu entry `{id}`, which ran {}, is gone, {whom}", run(entry)));
    }
}

/// What an entry runs, as it is written.
fn run(entry: &MenuEntry) -> String {
    let words = std::iter::once(entry.program.clone()).chain(entry.args.iter().map(Arg::text));
    shown(&words.collect::<Vec<_>>().join(" "))
}

/// For whom a set is in force.
fn whom_of(set: &PolicySet, name: &str) -> String {
    let names =
        |rule: &&Rule| rule.commands.as_ref().is_some_and(|commands| commands.sets.iter().any(|own| own.name == name));
    let each: BTreeSet<String> =
        set.rules().filter(names).map(|rule| format!("{} (rule `{}`)", who(&rule.who), rule.id)).collect();
    if each.is_empty() {
        String::from("for nobody: no access rule names the set")
    } else {
        format!("for {}", join(each))
    }
}

/// What is different in a rule of a command set, key by key.
fn changed_rule(old: &CommandRule, new: &CommandRule, add: &mut dyn FnMut(Way, String)) {
    if old.outcome != new.outcome {
        let way = if new.outcome < old.outcome { Way::Widens } else { Way::MayWiden };
        add(way, format!("says {} in place of {}", new.outcome, old.outcome));
    }
    let allows = (old.outcome, new.outcome) == (Outcome::Allow, Outcome::Allow);
    let denies = (old.outcome, new.outcome) == (Outcome::Deny, Outcome::Deny);
    let before = lists(old).into_iter().chain(flags(old, new));
    for ((key, before), (_, after)) in before.zip(lists(new).into_iter().chain(flags(new, old))) {
        let (more, less) = (without(&after, &before), without(&before, &after));
        // A list of a rule that forbids is a condition where it is there, and none where it is not.
        let condition = !allows && (before.is_empty() || after.is_empty());
        let (wider, narrower) = match (allows, denies && !condition) {
            (true, _) => (Way::Widens, Way::Narrows),
            (false, true) => (Way::Narrows, Way::Widens),
            (false, false) => (Way::MayWiden, Way::MayWiden),
        };
        if !more.is_empty() {
            let text = if allows && key == "program" { "allows".to_owned() } else { format!("has in `{key}`") };
            add(wider, format!("{text} {}, too", join(more)));
        }
        if !less.is_empty() {
            let text = if allows && key == "program" { "allows".to_owned() } else { format!("has in `{key}`") };
            add(narrower, format!("no longer {text} {}", join(less)));
        }
    }
    if old.args != new.args {
        let way = any_way(allows, old.args.is_some(), new.args.is_some());
        let text = |rule: &CommandRule| {
            let words = rule.args.as_ref().map(|args| args.iter().map(Arg::text).collect::<Vec<_>>().join(" "));
            words.map_or_else(|| String::from("any"), |words| shown(&words))
        };
        add(way, format!("has other `args`: {} in place of {}", text(new), text(old)));
    }
    if old.flags.is_some() != new.flags.is_some() {
        let way = any_way(allows, old.flags.is_some(), new.flags.is_some());
        let now = if new.flags.is_some() { "names" } else { "no longer names" };
        add(way, format!("{now} its `flags`"));
    }
    let switches = |rule: &CommandRule| [("pipe", rule.pipe), ("pty", rule.pty), ("globs", rule.globs)];
    for ((key, before), (_, after)) in switches(old).into_iter().zip(switches(new)).filter(|(old, new)| old != new) {
        let way = if after && !before { Way::Widens } else { Way::Narrows };
        add(way, format!("says `{key} = {after}`"));
    }
    let rest: [(&str, bool); 9] = [
        ("groups", old.context.groups != new.context.groups),
        ("labels", old.context.labels != new.context.labels),
        ("when", old.context.when != new.context.when),
        ("ticket", old.context.ticket != new.context.ticket),
        ("mode", old.context.modes != new.context.modes),
        ("expires", old.expires != new.expires),
        ("observe", old.observe != new.observe),
        ("alert` or `on_match", (old.alert, old.on_match) != (new.alert, new.on_match)),
        ("approvers", old.approval != new.approval),
    ];
    for (key, _) in rest.iter().filter(|(_, differs)| *differs) {
        add(Way::MayWiden, format!("has another `{key}`"));
    }
}

/// The lists of a rule, each word as it is written.
fn lists(rule: &CommandRule) -> [(&'static str, BTreeSet<String>); 6] {
    let paths = |kind: EffectKind| {
        rule.paths
            .get(&kind)
            .into_iter()
            .flat_map(Paths::iter)
            .map(|path| path.text().to_owned())
            .collect::<BTreeSet<_>>()
    };
    [
        ("program", rule.programs.iter().cloned().collect()),
        ("effects", rule.effects.iter().map(|kind| word_of(*kind).to_owned()).collect()),
        ("reads", paths(EffectKind::Read)),
        ("writes", paths(EffectKind::Write)),
        ("deletes", paths(EffectKind::Delete)),
        ("hosts", rule.hosts.iter().map(|host| host.text().to_owned()).collect()),
    ]
}

/// The way of a change where what is not written means any.
fn any_way(allows: bool, before: bool, after: bool) -> Way {
    match (before, after) {
        (true, false) if allows => Way::Widens,
        (false, true) if allows => Way::Narrows,
        (true | false, true | false) => Way::MayWiden,
    }
}

/// The options of a rule, where both have some.
fn flags(rule: &CommandRule, other: &CommandRule) -> Option<(&'static str, BTreeSet<String>)> {
    let flags = rule.flags.as_ref().filter(|_| other.flags.is_some())?;
    let each = flags.iter().flat_map(|(program, flags)| flags.iter().map(move |flag| (program, flag)));
    let text =
        |(program, flag): (&String, &Flag)| format!("{program} {}{}", flag.text, if flag.valued { "=" } else { "" });
    Some(("flags", each.map(text).collect()))
}

fn without<'s>(all: &'s BTreeSet<String>, those: &'s BTreeSet<String>) -> Vec<&'s String> {
    all.difference(those).collect()
}

/// The rule without what says nothing about what it is for.
fn said_only(rule: &CommandRule) -> CommandRule {
    CommandRule { line: 0, file: String::new(), reason: None, owner: None, ..rule.clone() }
}

/// The lines of both sets' tests, judged by both: what comes out otherwise is said line by line.
fn judged_otherwise(
    (old, before): (&PolicySet, &Arc<CommandSet>),
    (new, after): (&PolicySet, &Arc<CommandSet>),
    add: &mut dyn FnMut(Way, String),
) {
    for test in before.tests.iter().chain(&after.tests) {
        let (was, is) = (test.results(before, old.effects()), test.results(after, new.effects()));
        for (was, is) in was.iter().zip(&is) {
            let (from, to) = (was.judgement.outcome, is.judgement.outcome);
            if from != to {
                let way = if to < from { Way::Widens } else { Way::Narrows };
                add(
                    way,
                    format!(
                        "set `{}`: {} is now {to} ({}), was {from} ({}), {}",
                        after.name,
                        shown(&is.command),
                        is.judgement.by,
                        was.judgement.by,
                        whom_of(new, &after.name)
                    ),
                );
            }
        }
    }
}

fn shown(command: &str) -> String {
    let safe: String =
        command.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
    format!("`{safe}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyFile;

    const ACCESS: &str = "schema = 1\n[[rule]]\nid = \"ops\"\nwho = { groups = [\"dba\"] }\nwhere = { labels = { env = \"prod\" } }\n\
        accounts = [\"postgres\"]\nchannels = [\"exec\"]\ncommands = { mode = \"strict\", sets = [\"a\"] }\n\
        [[rule]]\nid = \"never\"\neffect = \"deny\"\nwho = { users = [\"*\"] }\nwhere = { targets = [\"old1\"] }\nreason = \"it is gone\"\n";
    const SET: &str = "schema = 1\nmode = \"strict\"\n[[rule]]\nid = \"look\"\neffect = \"allow\"\nprogram = \"/usr/bin/uptime\"\n\
        [[rule]]\nid = \"no\"\neffect = \"deny\"\nprogram = \"rm\"\nreason = \"r\"\n[[test]]\nexpect = \"deny default\"\nlines = [\"id\"]\n";

    fn set(access: &str, commands: &str) -> PolicySet {
        let file = |path: &str, text: &str| PolicyFile { path: path.to_owned(), text: text.to_owned() };
        let files = [file("p/access/a.toml", access), file("p/commands/a.toml", commands)];
        PolicySet::parse(&files).unwrap_or_else(|faults| panic!("{}", join(faults)))
    }

    #[test]
    fn what_widens_is_said_for_whom() {
        let old = set(ACCESS, SET);
        assert_eq!(compare(&old, &old), []);
        let access = |from: &str, to: &str| {
            assert!(ACCESS.contains(from), "{from}");
            (ACCESS.replace(from, to), SET.to_owned())
        };
        let commands = |from: &str, to: &str| {
            assert!(SET.contains(from), "{from}");
            (ACCESS.to_owned(), SET.replace(from, to))
        };
        for ((access, commands), wanted, back) in [
            (
                access("[\"dba\"]", "[\"dba\", \"web\"]"),
                "group web gains account postgres on targets with env=prod",
                "group web loses",
            ),
            (
                access("[\"postgres\"]", "[\"postgres\", \"root\"]"),
                "group dba gains account root on targets with env=prod",
                "group dba loses account root",
            ),
            (
                access("[\"exec\"]", "[\"exec\", \"sftp-read\"]"),
                "group dba gains sftp-read",
                "group dba loses sftp-read",
            ),
            (
                access("channels", "grant = { required = false }\nchannels"),
                "group dba needs no grant any more",
                "group dba needs a grant",
            ),
            (
                access("commands = { mode = \"strict\", sets = [\"a\"] }\n", ""),
                "commands are not judged any more",
                "commands are judged in strict",
            ),
            (
                access(
                    "[[rule]]\nid = \"never\"",
                    "[[rule]]\nid = \"plain\"\nwho = { groups = [\"dba\"] }\nwhere = { targets = [\"*\"] }\n\
                     accounts = [\"postgres\"]\nchannels = [\"exec\"]\n[[rule]]\nid = \"never\"",
                ),
                "group dba: rule `plain` has no `commands`, and what `ops` judged is judged by its deny and approve rules alone",
                "rule `plain` is gone",
            ),
            (
                access("\"strict\"", "\"observe\""),
                "commands are judged in observe in place of strict",
                "commands are judged in strict in place of observe",
            ),
            (
                access(
                    "who = { users = [\"*\"] }\nwhere = { targets = [\"old1\"] }",
                    "who = { users = [\"bob\"] }\nwhere = { targets = [\"old1\"] }",
                ),
                "rule `never` forbids something else",
                "rule `never` forbids something else",
            ),
            (
                commands(
                    "[[test]]",
                    "[[rule]]\nid = \"more\"\neffect = \"allow\"\nprogram = \"/usr/bin/true\"\n[[test]]",
                ),
                "set `a`: the new rule `more` allows /usr/bin/true, for group dba (rule `ops`)",
                "rule `more`, which allowed /usr/bin/true, is gone",
            ),
            (
                commands("\"/usr/bin/uptime\"", "[\"/usr/bin/uptime\", \"/usr/bin/true\"]"),
                "rule `look` allows /usr/bin/true, too, for group dba (rule `ops`)",
                "rule `look` no longer allows /usr/bin/true, for group dba",
            ),
            (
                commands("\"/usr/bin/uptime\"", "\"/usr/bin/uptime\"\nreads = [\"/etc/**\"]\neffects = [\"shell\"]"),
                "set `a`: rule `look` has in `reads` /etc/**, too, for group dba (rule `ops`)",
                "set `a`: rule `look` no longer has in `effects` shell, for group dba",
            ),
            (
                (ACCESS.to_owned(), SET.to_owned()),
                "set `a`: rule `look` has other `args`: any in place of `-p`, for group dba (rule `ops`)",
                "set `a`: rule `look` has other `args`: `-p` in place of any",
            ),
            (
                commands(
                    "[[test]]",
                    "[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"/bin/x\", \"{y:a|b}\"]\n[[test]]",
                ),
                "set `a`: the new menu entry `m` runs `/bin/x {y:a|b}`, for group dba (rule `ops`)",
                "set `a`: menu entry `m`, which ran `/bin/x {y:a|b}`, is gone",
            ),
            (
                commands("\"rm\"", "\"rmdir\""),
                "set `a`: rule `no` no longer has in `program` rm, for group dba",
                "set `a`: rule `no` has in `program` rm, too, for group dba",
            ),
            (
                access(
                    "[[rule]]\nid = \"never\"",
                    "[[audit]]\nid = \"see\"\nwho = { groups = [\"sec\"] }\nwhere = { targets = [\"*\"] }\nrights = [\"kill\", \"lift\"]\n[[rule]]\nid = \"never\"",
                ),
                "group sec gains the right to kill, lift on every target (audit rule `see`)",
                "audit rule `see` is gone",
            ),
            (
                commands("[[rule]]\nid = \"no\"\neffect = \"deny\"\nprogram = \"rm\"\nreason = \"r\"\n", ""),
                "rule `no`, which forbade rm, is gone",
                "the new rule `no` forbids rm",
            ),
        ] {
            let new = set(&access, &commands);
            // Where nothing is changed from here, the older one is that with less.
            let old = match commands == SET && access == ACCESS {
                true => set(ACCESS, &SET.replace("\"/usr/bin/uptime\"", "\"/usr/bin/uptime\"\nargs = [\"-p\"]")),
                false => old.clone(),
            };
            let wider = compare(&old, &new);
            assert!(
                wider.iter().any(|one| one.way != Way::Narrows && one.text.contains(wanted)),
                "{wanted}: {wider:?}"
            );
            let narrower = compare(&new, &old);
            assert!(narrower.iter().any(|one| one.text.contains(back)), "{back}: {narrower:?}");
        }
        let gone = compare(&old, &set(&ACCESS[..ACCESS.find("[[rule]]\nid = \"never\"").unwrap()], SET));
        assert_eq!(
            gone[0],
            Difference {
                way: Way::Widens,
                text: "rule `never` no longer forbids everybody on old1: it is gone".into()
            }
        );
    }

    #[test]
    fn the_lines_of_the_tests_are_judged_by_both() {
        let old = set(ACCESS, SET);
        let new = SET
            .replace("\"/usr/bin/uptime\"", "[\"/usr/bin/uptime\", \"/usr/bin/id\"]\neffects = [\"read\"]")
            .replace("deny default", "allow look");
        let found = compare(&old, &set(ACCESS, &new));
        assert!(
            found.iter().any(|one| one.way == Way::Widens
                && one.text == "set `a`: `id` is now allow (look), was deny (default), for group dba (rule `ops`)"),
            "{found:?}"
        );
    }

    #[test]
    fn a_menu_is_compared_entry_by_entry() {
        let menu = "[[menu]]\nname = \"m\"\ntitle = \"t\"\nrun = [\"/bin/x\", \"{y:a|b}\"]\ngroups = [\"g\"]\n[[test]]";
        let with = |from: &str, to: &str| set(ACCESS, &SET.replacen("[[test]]", &menu.replace(from, to), 1));
        let old = with("", "");
        for (from, to, wanted) in [
            (
                "a|b",
                "a|b|c",
                "menu entry `m` runs `/bin/x {y:a|b|c}` in place of `/bin/x {y:a|b}`, for group dba (rule `ops`)",
            ),
            ("[[test]]", "y = { default = \"a\" }\n[[test]]", "menu entry `m` changes what a parameter takes"),
            ("groups = [\"g\"]", "groups = [\"h\"]", "menu entry `m` changes `groups`"),
            ("groups", "pty = true\ngroups", "menu entry `m` changes `pty`"),
            (
                "groups",
                "effect = \"approve\"\napprovers = { group = \"l\" }\nreason = \"r\"\ngroups",
                "says approve in place of allow",
            ),
        ] {
            let found = compare(&old, &with(from, to));
            assert!(
                found.iter().any(|one| one.way == Way::MayWiden && one.text.contains(wanted)),
                "{wanted}: {found:?}"
            );
        }
        assert_eq!(compare(&old, &with("title = \"t\"", "title = \"other\"")), []);
    }
}
