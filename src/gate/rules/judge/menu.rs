//! A line in a menu: an entry and its values, or nothing.
//!
//! The entry's argv is put together from what the policy writes and from values, each for itself; the text for the target is
//! written from that argv, and then read and weighed like a line of anybody's: what a rule forbids is forbidden here, too.

use std::collections::BTreeSet;

use super::super::menu::{MenuEntry, MenuRequest, NoRequest};
use super::super::{GRAVE, word_of};
use super::*;
use crate::gate::effects::EffectKind;
use crate::gate::shell::text::shown_word;

/// So many entries are named to whoever asks for one that is not there.
const NAMED_MAX: usize = 20;

/// An entry of a menu that is there for somebody.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'g> {
    /// The entry.
    pub entry: &'g MenuEntry,
    /// Its set.
    pub set: &'g CommandSet,
    /// The access rule by which it is there.
    pub access_rule: &'g RuleId,
}

/// The entries that are there for this asker, by name; none where no access rule's mode is `menu`.
pub fn offered<'g>(governed: &'g [Governed], asker: &Asker<'_>) -> Vec<Offered<'g>> {
    let scopes: Vec<Scope<'g>> = governed.iter().map(Scope::of).collect();
    let mut all: Vec<Offered<'g>> = entries(scopes.iter(), asker)
        .into_iter()
        .map(|(scope, set, entry)| Offered { entry, set, access_rule: scope.rule })
        .collect();
    all.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
    all.dedup_by(|a, b| a.entry.name == b.entry.name);
    all
}

/// What the entry would do, with some values for its parameters: for people who write entries.
pub fn effects_of(entry: &MenuEntry, table: &Table) -> BTreeSet<EffectKind> {
    let samples: Vec<(String, String)> =
        entry.parameters.iter().map(|parameter| (parameter.name.clone(), parameter.sample())).collect();
    let values = samples.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let Ok(text) = MenuEntry::text(&entry.argv(&values)) else { return BTreeSet::new() };
    let Ok((_, reading)) = read(&text, table, None).result else { return BTreeSet::from([EffectKind::Unknown]) };
    reading.invocations.iter().flat_map(|one| &one.effects).map(|effect| effect.kind).collect()
}

/// Whether the line is one for a menu: the hardest mode wins.
pub(super) fn is_menu(scopes: &[Scope<'_>]) -> bool {
    scopes.iter().any(|scope| scope.mode == CommandMode::Menu)
}

/// What becomes of a line where only the entries of a menu run. `weighed` is what the rules say of it as it stands: that
/// somebody is to be told of what it looks like holds whatever it is here.
pub(super) fn judge<'s>(
    line: &str,
    weighed: Judgement,
    scopes: &[&Scope<'s>],
    table: &Table,
    asker: &Asker<'_>,
) -> Judgement {
    let there = entries(scopes.iter().copied(), asker);
    let request = match MenuRequest::parse(line) {
        Ok(request) => request,
        Err(NoRequest { reason, .. }) => return refused(weighed, format!("{reason}; {}", named(&there))),
    };
    let of_name = there.iter().filter(|(_, _, entry)| entry.name.as_str() == request.name);
    let mut of_name: Vec<&Entry<'_, 's>> = of_name.collect();
    // One that takes a yes before one that takes none.
    of_name.sort_by_key(|(_, _, entry)| std::cmp::Reverse(entry.outcome));
    let Some((first, others)) = of_name.split_first() else {
        return refused(weighed, format!("there is no entry {}; {}", shown_word(&request.name), named(&there)));
    };
    let same = |(_, _, entry): &&Entry<'_, 's>| {
        (&entry.program, &entry.args, &entry.parameters) == (&first.2.program, &first.2.args, &first.2.parameters)
    };
    if !others.iter().all(same) {
        return refused(weighed, format!("there are several entries {}, which do different things", request.name));
    }
    judge_entry(first, &request, scopes, table, asker)
}

/// An entry, where it is and by which access rule.
type Entry<'a, 's> = (&'a Scope<'s>, &'s CommandSet, &'s MenuEntry);

fn entries<'a, 's: 'a>(scopes: impl Iterator<Item = &'a Scope<'s>>, asker: &Asker<'_>) -> Vec<Entry<'a, 's>> {
    let menus = scopes.filter(|scope| scope.mode == CommandMode::Menu);
    let all = menus.flat_map(|scope| scope.sets.iter().map(move |set| (scope, set)));
    let all = all.flat_map(|(scope, set)| set.menus.iter().map(move |entry| (scope, &**set, entry)));
    all.filter(|(_, _, entry)| entry.holds(asker)).collect()
}

fn judge_entry<'s>(
    (scope, set, entry): &Entry<'_, 's>,
    request: &MenuRequest,
    scopes: &[&Scope<'s>],
    table: &Table,
    asker: &Asker<'_>,
) -> Judgement {
    let no = |why: String| Judgement {
        set: Some(set.name.clone()),
        place: Some((entry.file.clone(), entry.line)),
        mode: CommandMode::Menu,
        pty: false,
        reason: Some(why),
        alert: entry.alert,
        ..blank(Outcome::Deny, By::Rule(entry.name.clone()), Some(scope.rule.clone()))
    };
    let argv = match entry.values(&request.with) {
        Ok(values) => entry.argv(&values),
        Err(why) => return no(why),
    };
    let text = match MenuEntry::text(&argv) {
        Ok(text) => text,
        Err(why) => return no(format!("it cannot be written in one form for every shell: {why}")),
    };
    let read = read(&text, table, None);
    let reading = match &read.result {
        Ok((_, reading)) => reading,
        Err(why) => return no(why.reason.to_owned()),
    };
    let standing = Ruling {
        outcome: entry.outcome,
        by: By::Rule(entry.name.clone()),
        scope: Some((*scope).clone()),
        found: None,
        entry: Some((*set, *entry)),
        why: entry.reason.clone(),
        path: Some(&entry.program),
        globs: Patterns::Refused,
    };
    let mut weighed = Weighed {
        rulings: Vec::new(),
        chosen: standing.clone(),
        mode: CommandMode::Menu,
        would: Vec::new(),
        alert: entry.alert,
        on_match: entry.on_match,
        approvals: entry.approval.iter().map(|need| (entry.name.clone(), need.clone())).collect(),
    };
    let start = start_of(reading, asker, None);
    for invocation in &reading.invocations {
        let ruling = weighed.rule(invocation, reading, scopes, asker, &start, Some(&standing));
        weighed.rulings.push(ruling);
    }
    weighed.choose();
    let judgement = weighed.judgement(&text, &read);
    if judgement.outcome == Outcome::Deny {
        return judgement;
    }
    let why = differs(&argv, reading).or_else(|| reading.invocations.iter().find_map(|one| astray(entry, one)));
    match why {
        Some(why) => Judgement { invocations: judgement.invocations, would: judgement.would, ..no(why) },
        None => judgement,
    }
}

/// Whether what is read is another argv than what was written; then one of the two is at fault.
fn differs(argv: &[String], reading: &Reading) -> Option<String> {
    let mut own = reading.invocations.iter().filter(|one| one.by.is_none());
    let words: Option<Vec<_>> = own.next().and_then(|one| one.argv.iter().map(Word::literal).collect());
    let same = own.next().is_none() && words.is_some_and(|words| words.iter().eq(argv.iter()));
    (!same).then(|| String::from("its parts do not fit together"))
}

/// A way to other programs that the entry does not name, or a program that its values bring in.
fn astray(entry: &MenuEntry, invocation: &Invocation) -> Option<String> {
    // What a program does of which the table knows nothing is known to whoever wrote its words.
    let grave =
        |kind: &EffectKind| GRAVE.contains(kind) && *kind != EffectKind::Unknown && !entry.effects.contains(kind);
    if let Some(kind) = invocation.effects.iter().map(|effect| effect.kind).find(grave) {
        return Some(format!("it would have the effect {}, which `effects` of the entry does not name", word_of(kind)));
    }
    invocation.by?;
    let program = invocation.argv.first().and_then(Word::literal);
    let written = program.as_deref().is_some_and(|program| entry.writes(program));
    let shown = invocation.argv.first().map_or_else(|| String::from("something"), shown);
    (!written).then(|| format!("it would start {shown}, which the entry does not write"))
}

/// A line that is none of a menu's: refused, whatever the rules say besides.
fn refused(weighed: Judgement, why: String) -> Judgement {
    let forbidden = weighed.outcome == Outcome::Deny && matches!(weighed.by, By::Rule(_));
    if forbidden {
        return Judgement { mode: CommandMode::Menu, pty: false, ..weighed };
    }
    let by = match weighed.by {
        By::NotUnderstood { .. } => weighed.by,
        By::Rule(_) | By::Default | By::NoSets | By::Unjudged(_) => By::Default,
    };
    // What a rule allows is nothing to be told of here; what one wants a yes for is.
    let meant = weighed.outcome != Outcome::Allow;
    Judgement {
        outcome: Outcome::Deny,
        by,
        place: None,
        mode: CommandMode::Menu,
        send: None,
        pty: false,
        reason: Some(why),
        approval: None,
        alert: weighed.alert.filter(|_| meant),
        on_match: weighed.on_match.filter(|_| meant),
        ..weighed
    }
}

/// What there is, for whoever asked for something else.
fn named(there: &[Entry<'_, '_>]) -> String {
    let all: BTreeSet<String> = there.iter().map(|(_, _, entry)| entry.usage()).collect();
    if all.is_empty() {
        return String::from("no entry is open to you here now");
    }
    let more = all.len().saturating_sub(NAMED_MAX);
    let names: Vec<String> = all.into_iter().take(NAMED_MAX).collect();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("there are: {}{more}", names.join(", "))
}

impl MenuEntry {
    /// Whether it is there for this asker.
    fn holds(&self, asker: &Asker<'_>) -> bool {
        let expired = asker.at != no_time() && self.expires.is_some_and(|expires| expires <= asker.at);
        !expired && self.context.holds(asker, CommandMode::Menu).is_ok()
    }
}
