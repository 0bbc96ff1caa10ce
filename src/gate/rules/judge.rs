//! A command line, and what the sets in force say of it, become a judgement.

use std::sync::Arc;

mod menu;

use super::cover::{harmless, no_time, shown};
use super::doubt::{Doubted, start_of};
use super::menu::MenuEntry;
use super::paths::Start;
use super::{CommandRule, CommandSet, base_name, word_of};
use crate::gate::canonical::{
    self, Argument, CanonicalCommand, CanonicalPipeline, CanonicalRedirection, Patterns, Then,
};
use crate::gate::directory::Directory;
use crate::gate::effects::Table;
use crate::gate::invocation::{self, Construct, Invocation, Reading};
use crate::gate::shell::tree::{Command, Joint, NotUnderstood, Script};
use crate::gate::shell::word::Word;
use crate::gate::verdict::{
    AlertLevel, ApprovalNeed, Asker, By, CommandMode, Governed, Judgement, OnMatch, Outcome, Seen, Would,
};
use crate::gate::{LINE_BYTES_MAX, shell};
use crate::model::RuleId;
pub use menu::{Offered, effects_of, offered};

/// A line that starts more programs is refused: nobody could read what was approved, or find what was done.
const INVOCATIONS_MAX: usize = 256;
/// So many words of a command are shown.
const WORDS_SHOWN: usize = 128;

pub(in crate::gate) fn judge(
    line: &str,
    governed: &[Governed],
    table: &Table,
    asker: &Asker<'_>,
    directory: Option<&Directory>,
) -> Judgement {
    let scopes: Vec<Scope<'_>> = governed.iter().map(Scope::of).collect();
    if scopes.iter().all(|scope| scope.sets.is_empty()) {
        // Nothing to judge by: either no rule opens the channel, or none looks at commands.
        let outcome = if scopes.is_empty() { Outcome::Deny } else { Outcome::Allow };
        return Judgement {
            send: (outcome == Outcome::Allow).then(|| line.to_owned()),
            ..blank(outcome, By::NoSets, scopes.first().map(|scope| scope.rule.clone()))
        };
    }
    let read = read(line, table, directory);
    // What is only observed lets everything pass.
    let enforced: Vec<Scope<'_>> = scopes.iter().map(Scope::enforced).collect();
    let weighed = weigh(&read, &enforced.iter().collect::<Vec<_>>(), asker);
    let mut judgement = weighed.judgement(line, &read);
    if menu::is_menu(&enforced) {
        judgement = menu::judge(line, judgement, &enforced.iter().collect::<Vec<_>>(), table, asker);
    }
    for scope in &scopes {
        let Some(mode) = scope.set_mode() else { continue };
        let alone = Scope { mode, default: default_of(mode, scope.sets), ..scope.clone() };
        let would = weigh(&read, &[&alone], asker);
        let mut said = would.judgement(line, &read);
        if mode == CommandMode::Menu {
            said = menu::judge(line, said, &[&alone], table, asker);
        }
        judgement.alert = judgement.alert.max(would.alert);
        judgement.on_match = judgement.on_match.max(would.on_match);
        judgement.would.extend(would.would);
        if said.outcome != Outcome::Allow {
            let access_rule = scope.rule.clone();
            judgement.would.push(Would { outcome: said.outcome, by: said.by, access_rule, set: said.set });
        }
    }
    judgement
}

/// What was read of a line.
struct Read<'l> {
    line: &'l str,
    /// Where it starts, if not in the account's home.
    directory: Option<&'l Directory>,
    result: Result<(Script, Reading), NotUnderstood>,
}

fn read<'l>(line: &'l str, table: &Table, directory: Option<&'l Directory>) -> Read<'l> {
    let refuse = |at, reason| Err(NotUnderstood { at, reason });
    let result = if line.len() > LINE_BYTES_MAX {
        refuse(LINE_BYTES_MAX, "a line of more than 32 KiB")
    } else {
        shell::parse(line).and_then(|script| {
            let reading = invocation::read(&script, table);
            match reading.invocations.get(INVOCATIONS_MAX) {
                Some(one) => refuse(one.at.start, "a line that starts more than 256 programs"),
                None => Ok((script, reading)),
            }
        })
    };
    Read { line, directory, result }
}

/// An access rule, and the sets by which it judges.
#[derive(Debug, Clone)]
struct Scope<'g> {
    rule: &'g RuleId,
    mode: CommandMode,
    sets: &'g [Arc<CommandSet>],
    /// What becomes of what no rule names.
    default: Outcome,
    /// Whether the access rule has no `commands`.
    bare: bool,
}

impl<'g> Scope<'g> {
    fn of(governed: &'g Governed) -> Self {
        let Governed { rule, commands } = governed;
        match commands {
            None => Self { rule, mode: CommandMode::Observe, sets: &[], default: Outcome::Allow, bare: true },
            Some((mode, sets)) => Self { rule, mode: *mode, sets, default: default_of(*mode, sets), bare: false },
        }
    }

    fn enforced(&self) -> Self {
        let sets = if self.mode == CommandMode::Observe { &[] } else { self.sets };
        Self { sets, ..self.clone() }
    }

    /// In observe mode, the mode that its sets are written for.
    fn set_mode(&self) -> Option<CommandMode> {
        if self.mode != CommandMode::Observe || self.sets.is_empty() {
            return None;
        }
        Some(self.sets.iter().filter_map(|set| set.mode).max().unwrap_or(CommandMode::Guard))
    }

    fn refuses(&self) -> bool {
        self.mode != CommandMode::Observe && self.sets.iter().any(|set| set.refuses())
    }
}

fn default_of(mode: CommandMode, sets: &[Arc<CommandSet>]) -> Outcome {
    match mode {
        CommandMode::Strict | CommandMode::Menu => Outcome::Deny,
        CommandMode::Observe => Outcome::Allow,
        CommandMode::Guard => {
            let denies = sets.iter().any(|set| set.default == Some(Outcome::Deny));
            if denies { Outcome::Deny } else { Outcome::Allow }
        }
    }
}

/// What becomes of one command, or of a line that was not understood.
#[derive(Debug, Clone)]
struct Ruling<'s> {
    outcome: Outcome,
    by: By,
    scope: Option<Scope<'s>>,
    found: Option<(&'s CommandSet, &'s CommandRule)>,
    /// The entry of a menu that stands for a rule.
    entry: Option<(&'s CommandSet, &'s MenuEntry)>,
    why: Option<String>,
    /// In strict, the full path of the program.
    path: Option<&'s str>,
    globs: Patterns,
}

/// What the scopes say of a line.
struct Weighed<'s> {
    /// One for each invocation.
    rulings: Vec<Ruling<'s>>,
    /// What decided.
    chosen: Ruling<'s>,
    /// The weakest mode in which a part of it is allowed.
    mode: CommandMode,
    would: Vec<Would>,
    alert: Option<AlertLevel>,
    on_match: Option<OnMatch>,
    approvals: Vec<(RuleId, ApprovalNeed)>,
}

fn weigh<'s>(read: &Read<'_>, scopes: &[&Scope<'s>], asker: &Asker<'_>) -> Weighed<'s> {
    let fallback = by_default(scopes, None);
    let mut weighed = Weighed {
        rulings: Vec::new(),
        mode: fallback.scope.as_ref().map_or(CommandMode::Observe, |scope| scope.mode),
        chosen: fallback,
        would: Vec::new(),
        alert: None,
        on_match: None,
        approvals: Vec::new(),
    };
    let (_, reading) = match &read.result {
        Ok(both) => both,
        Err(error) => {
            weighed.not_understood(error, scopes);
            return weighed;
        }
    };
    let start = start_of(reading, asker, read.directory);
    for invocation in &reading.invocations {
        let ruling = weighed.rule(invocation, reading, scopes, asker, &start, None);
        weighed.rulings.push(ruling);
    }
    weighed.choose();
    // What was not read could be what a rule forbids; if what was read is forbidden already, that says more.
    if let Some(at) = reading.cut.filter(|_| weighed.chosen.outcome != Outcome::Deny) {
        weighed.not_understood(&NotUnderstood { at, reason: "more commands or words than are read" }, scopes);
    }
    weighed
}

impl<'s> Weighed<'s> {
    /// Any rule that forbids, or wants a yes, may be meant.
    fn not_understood(&mut self, error: &NotUnderstood, scopes: &[&Scope<'s>]) {
        let by = By::NotUnderstood { at: error.at, reason: error.reason.to_owned() };
        let why = Some(format!("the line was not understood: {}", error.reason));
        let refusing = scopes.iter().find(|scope| scope.refuses() || scope.default == Outcome::Deny);
        let denied =
            scopes.iter().any(|scope| scope.refuses()) || scopes.iter().all(|scope| scope.default == Outcome::Deny);
        if let Some(scope) = refusing.filter(|_| denied) {
            self.mode = scope.mode;
            let scope = Some((*scope).clone());
            self.chosen = Ruling { outcome: Outcome::Deny, by, scope, why, found: None, ..self.chosen.clone() };
        }
    }

    /// What becomes of one command; where an entry of a menu stands for it, no rule allows it besides.
    fn rule(
        &mut self,
        invocation: &Invocation,
        reading: &Reading,
        scopes: &[&Scope<'s>],
        asker: &Asker<'_>,
        start: &Start,
        entry: Option<&Ruling<'s>>,
    ) -> Ruling<'s> {
        let doubted = Doubted::of(invocation, start);
        let name = doubted.name();
        let (mut denied, mut wanted, mut allowed): (Option<Ruling<'s>>, Option<Ruling<'s>>, Option<Ruling<'s>>) =
            (None, None, None);
        let mut shadowed = Vec::new();
        for scope in scopes {
            let unfit = unfit_for(scope.mode, invocation, reading);
            for (set, rule) in rules_about(scope, name) {
                let refuses = rule.outcome != Outcome::Allow;
                let meant = refuses && rule.holds(asker, scope.mode).is_ok() && rule.may_mean(&doubted);
                let covers = rule.outcome != Outcome::Deny && unfit.is_none() && entry.is_none();
                let path = if covers { rule.covers(invocation, scope.mode, asker, start).ok() } else { None };
                let ruling = || Ruling {
                    outcome: rule.outcome,
                    by: By::Rule(rule.id.clone()),
                    scope: Some((*scope).clone()),
                    found: Some((set, rule)),
                    entry: None,
                    why: rule.reason.clone(),
                    path,
                    globs: if rule.globs { Patterns::Allowed } else { Patterns::Refused },
                };
                if rule.observe {
                    if meant || path.is_some() {
                        shadowed.push((
                            rule.outcome,
                            Would {
                                outcome: rule.outcome,
                                by: By::Rule(rule.id.clone()),
                                access_rule: scope.rule.clone(),
                                set: Some(set.name.clone()),
                            },
                        ));
                    }
                    continue;
                }
                if meant {
                    self.alert = self.alert.max(rule.alert);
                    self.on_match = self.on_match.max(rule.on_match);
                    let first = if rule.outcome == Outcome::Deny { &mut denied } else { &mut wanted };
                    first.get_or_insert_with(ruling);
                    let need = rule.approval.as_ref().map(|need| (rule.id.clone(), need.clone()));
                    self.approvals.extend(need.filter(|need| !self.approvals.contains(need)));
                }
                if path.is_some() && weaker_or_first(allowed.as_ref(), scope.mode) {
                    allowed = Some(ruling());
                }
            }
        }
        let standing = entry.cloned().or(allowed).or_else(|| free(scopes));
        let ruling = match (denied, wanted, standing) {
            (Some(denied), _, _) => denied,
            (None, wanted, Some(standing)) => match unknown_program(scopes, invocation) {
                Some(refused) => refused,
                None => match wanted {
                    // The yes is the approve rule's, what may go out the other's.
                    Some(wanted) => {
                        let Ruling { scope, path, globs, entry, .. } = standing;
                        Ruling { scope, path, globs, entry, ..wanted }
                    }
                    None => {
                        let rule = standing.found.map(|(_, rule)| rule);
                        self.alert = self.alert.max(rule.and_then(|rule| rule.alert));
                        self.on_match = self.on_match.max(rule.and_then(|rule| rule.on_match));
                        standing
                    }
                },
            },
            (None, _, None) => unknown_program(scopes, invocation).unwrap_or_else(|| {
                let why = scopes.iter().find_map(|scope| unfit_for(scope.mode, invocation, reading));
                let why = why.unwrap_or_else(|| uncovered(invocation, scopes, asker, start));
                by_default(scopes, Some(why))
            }),
        };
        // A rule that is only watched counts where it would have changed something.
        let would = shadowed.into_iter().filter(|(outcome, _)| match outcome {
            Outcome::Deny => ruling.outcome != Outcome::Deny,
            Outcome::Approve | Outcome::Allow => ruling.outcome != *outcome,
        });
        self.would.extend(would.map(|(_, would)| would));
        ruling
    }

    /// The strictest ruling is the line's; of several the first, one by a rule before one by default.
    fn choose(&mut self) {
        let rank = |ruling: &Ruling<'_>| match (ruling.outcome, ruling.found.is_some()) {
            (Outcome::Deny, true) => 5,
            (Outcome::Deny, false) => 4,
            (Outcome::Approve, _) => 3,
            // What is let through by default says less of a line than the rule that allows the rest of it.
            (Outcome::Allow, false) => 2,
            (Outcome::Allow, true) => 1,
        };
        let mut best: Option<&Ruling<'s>> = None;
        for ruling in &self.rulings {
            if best.is_none_or(|best| rank(ruling) > rank(best)) {
                best = Some(ruling);
            }
        }
        let Some(best) = best.cloned() else { return };
        let mode = |ruling: &Ruling<'_>| ruling.scope.as_ref().map_or(CommandMode::Observe, |scope| scope.mode);
        self.mode = match best.outcome {
            Outcome::Deny => mode(&best),
            Outcome::Allow | Outcome::Approve => self.rulings.iter().map(mode).min().unwrap_or(CommandMode::Observe),
        };
        self.chosen = best;
    }

    fn judgement(&self, line: &str, read: &Read<'_>) -> Judgement {
        let chosen = &self.chosen;
        let mut judgement = blank(chosen.outcome, chosen.by.clone(), None);
        judgement.access_rule = chosen.scope.as_ref().map(|scope| scope.rule.clone());
        judgement.mode = self.mode;
        let by_rule = |ruling: &Ruling<'_>| ruling.found.is_some_and(|(_, rule)| rule.pty);
        let given = |ruling: &Ruling<'_>| ruling.entry.map_or_else(|| by_rule(ruling), |(_, entry)| entry.pty);
        judgement.pty = !self.mode.is_strict() || self.rulings.iter().all(given);
        let set = chosen.found.map(|(set, _)| set).or(chosen.entry.map(|(set, _)| set));
        judgement.set = set.map(|set| set.name.clone()).or_else(|| {
            let sets = chosen.scope.as_ref().map_or(&[][..], |scope| scope.sets);
            // By default it is the set that says so, or the only one.
            let said = sets.iter().find(|set| set.default == Some(chosen.outcome)).or_else(|| sets.first());
            said.map(|set| set.name.clone())
        });
        let by_entry = chosen.entry.map(|(_, entry)| (entry.file.clone(), entry.line));
        judgement.place = chosen.found.map(|(_, rule)| (rule.file.clone(), rule.line)).or(by_entry);
        judgement.reason = chosen.why.clone();
        judgement.alert = self.alert;
        judgement.on_match = self.on_match;
        judgement.would.clone_from(&self.would);
        if let Ok((_, reading)) = &read.result {
            judgement.invocations = reading
                .invocations
                .iter()
                .zip(&self.rulings)
                .map(|(one, ruling)| seen(one, ruling, read.line))
                .collect();
        }
        if judgement.outcome == Outcome::Approve {
            match self.approvals.as_slice() {
                [(_, need)] => judgement.approval = Some(need.clone()),
                _ => {
                    let rules = crate::model::join(self.approvals.iter().map(|(id, _)| id));
                    judgement.outcome = Outcome::Deny;
                    judgement.reason =
                        Some(format!("it needs the yes of several rules ({rules}): run its parts one by one"));
                }
            }
        }
        if judgement.outcome != Outcome::Deny {
            match (self.mode, &read.result) {
                (CommandMode::Strict, Ok((script, reading))) => match canonical(script, reading, &self.rulings) {
                    Ok(text) => judgement.send = Some(text),
                    Err(why) => {
                        judgement.outcome = Outcome::Deny;
                        judgement.by = By::Default;
                        judgement.approval = None;
                        judgement.reason = Some(format!("it cannot be written in one form for every shell: {why}"));
                    }
                },
                // In a menu it is the text that was written from the entry's argv.
                (CommandMode::Menu | CommandMode::Strict | CommandMode::Guard | CommandMode::Observe, _) => {
                    judgement.send = Some(line.to_owned());
                }
            }
        }
        judgement
    }
}

fn rules_about<'s>(scope: &Scope<'s>, name: &str) -> Vec<(&'s CommandSet, &'s CommandRule)> {
    scope.sets.iter().flat_map(|set| set.rules_about(name).map(|rule| (&**set, rule)).collect::<Vec<_>>()).collect()
}

/// Of two rules that allow the same, the one of the weaker mode: what a user may do without the other they may do.
fn weaker_or_first(before: Option<&Ruling<'_>>, mode: CommandMode) -> bool {
    before.and_then(|ruling| ruling.scope.as_ref()).is_none_or(|scope| mode < scope.mode)
}

/// The first scope in which what no rule names is let through.
fn free<'s>(scopes: &[&Scope<'s>]) -> Option<Ruling<'s>> {
    let scope = scopes.iter().find(|scope| scope.default == Outcome::Allow)?;
    Some(ruled_by_default(Outcome::Allow, Some((*scope).clone()), None))
}

fn by_default<'s>(scopes: &[&Scope<'s>], why: Option<String>) -> Ruling<'s> {
    free(scopes).unwrap_or_else(|| ruled_by_default(Outcome::Deny, scopes.first().map(|scope| (*scope).clone()), why))
}

fn ruled_by_default(outcome: Outcome, scope: Option<Scope<'_>>, why: Option<String>) -> Ruling<'_> {
    let by = match &scope {
        Some(scope) if scope.bare => By::Unjudged(scope.rule.clone()),
        Some(_) | None => By::Default,
    };
    Ruling { outcome, by, scope, found: None, entry: None, why, path: None, globs: Patterns::Refused }
}

/// A program that only the target knows may be any: guard refuses it, and so does any set with a rule that could mean it.
fn unknown_program<'s>(scopes: &[&Scope<'s>], invocation: &Invocation) -> Option<Ruling<'s>> {
    let program = invocation.argv.first().filter(|word| word.literal().is_none())?;
    let guarded = |scope: &&&Scope<'_>| scope.mode == CommandMode::Guard;
    let scope = scopes.iter().find(guarded).or_else(|| scopes.iter().find(|scope| scope.refuses()))?;
    let reason = "a program that is known only on the target";
    let why = Some(format!("`{}` is {reason}", shown(program)));
    let ruling = ruled_by_default(Outcome::Deny, Some((*scope).clone()), why);
    if scope.mode.is_strict() {
        return Some(ruling);
    }
    Some(Ruling { by: By::NotUnderstood { at: program.at.start, reason: reason.to_owned() }, ..ruling })
}

/// What strict refuses whatever its rules say.
fn unfit_for(mode: CommandMode, invocation: &Invocation, reading: &Reading) -> Option<String> {
    if !mode.is_strict() {
        return None;
    }
    let construct = reading.constructs.keys().find(|construct| **construct != Construct::Redirection);
    if let Some(construct) = construct {
        return Some(format!("{} is not possible here", named(*construct)));
    }
    if !invocation.assignments.is_empty() || invocation.argv.is_empty() {
        return Some(String::from("only plain commands are possible here"));
    }
    let dynamic = invocation.argv.iter().find(|word| word.is_dynamic())?;
    Some(format!("`{}` is known only on the target", shown(dynamic)))
}

fn named(construct: Construct) -> &'static str {
    match construct {
        Construct::Background => "a job in the background",
        Construct::Compound => "a group, a loop or a condition",
        Construct::Function => "a function",
        Construct::Arithmetic => "arithmetic",
        Construct::Substitution => "the output of a command in a word",
        Construct::Assignment => "a variable that is set",
        Construct::Prefix => "`!` or `time`",
        Construct::Redirection => "a redirection",
    }
}

/// Why a command is refused that no rule covers.
fn uncovered(invocation: &Invocation, scopes: &[&Scope<'_>], asker: &Asker<'_>, start: &Start) -> String {
    let program = invocation.argv.first().map_or_else(|| String::from("it"), |word| format!("`{}`", shown(word)));
    let name = invocation.argv.first().and_then(Word::likely);
    let alone = Invocation { piped: false, ..invocation.clone() };
    // What a rule covers by itself it lacks the pipe for.
    let covered = |scope: &&Scope<'_>| {
        rules_about(scope, name.as_deref().map_or("", base_name)).into_iter().any(|(_, rule)| {
            rule.outcome != Outcome::Deny && !rule.observe && rule.covers(&alone, scope.mode, asker, start).is_ok()
        })
    };
    let what = if invocation.piped && scopes.iter().any(covered) { "in a pipe" } else { "with these arguments" };
    match &start.elsewhere {
        Some(directory) => format!("no rule allows {program} {what} in {directory}"),
        None => format!("no rule allows {program} {what}"),
    }
}

fn seen(invocation: &Invocation, ruling: &Ruling<'_>, line: &str) -> Seen {
    let mut argv = Vec::new();
    let mut known = Vec::new();
    for word in invocation.argv.iter().take(WORDS_SHOWN) {
        let literal = word.literal();
        known.push(literal.is_some());
        argv.push(match literal {
            Some(text) => harmless(&text),
            None => line.get(word.at.clone()).filter(|text| !text.is_empty()).map_or_else(|| shown(word), harmless),
        });
    }
    let more = invocation.argv.len().saturating_sub(WORDS_SHOWN);
    if more > 0 {
        argv.push(format!("... ({more} more words)"));
        known.push(false);
    }
    let mut effects: Vec<String> = Vec::new();
    for effect in invocation.effects.iter().take(WORDS_SHOWN) {
        let word = word_of(effect.kind);
        let text = effect.on.as_ref().map_or_else(|| word.to_owned(), |on| format!("{word} {}", shown(on)));
        if !effects.contains(&text) {
            effects.push(text);
        }
    }
    Seen {
        argv,
        known,
        effects,
        by: invocation.by,
        at: invocation.at.clone(),
        outcome: ruling.outcome,
        decided: ruling.by.clone(),
    }
}

fn blank(outcome: Outcome, by: By, access_rule: Option<RuleId>) -> Judgement {
    Judgement {
        outcome,
        by,
        access_rule,
        set: None,
        place: None,
        mode: CommandMode::Observe,
        send: None,
        pty: true,
        reason: None,
        invocations: Vec::new(),
        would: Vec::new(),
        alert: None,
        on_match: None,
        approval: None,
    }
}

/// The argv that were judged, written anew.
fn canonical(script: &Script, reading: &Reading, rulings: &[Ruling<'_>]) -> Result<String, String> {
    let mut pipelines = Vec::new();
    // The commands of the shell itself stand in the reading in the order of the line; those of wrappers between them.
    let mut own = reading.invocations.iter().zip(rulings).filter(|(invocation, _)| invocation.by.is_none());
    for entry in &script.entries {
        let mut commands = Vec::new();
        for piped in &entry.pipeline.commands {
            let Command::Simple(simple) = &piped.command else { return Err(String::from("it is no plain command")) };
            let (invocation, ruling) = own.next().ok_or("its parts do not fit together")?;
            if invocation.at != simple.at || piped.errors_too {
                return Err(String::from("its parts do not fit together"));
            }
            let path = ruling.path.ok_or("a program has no full path")?;
            let arguments: Result<Vec<Argument>, _> =
                invocation.argv.iter().skip(1).map(|word| Argument::of(word, ruling.globs)).collect();
            let arguments = arguments.map_err(|error| error.to_string())?;
            let redirections: Result<Vec<_>, _> =
                invocation.redirections.iter().map(CanonicalRedirection::of).collect();
            let command = CanonicalCommand::new(path, arguments)
                .and_then(|command| command.redirected(redirections?))
                .map_err(|error| error.to_string())?;
            commands.push(command);
        }
        let then = match entry.then {
            Joint::Sequence => Then::Sequence,
            Joint::And => Then::And,
            Joint::Or => Then::Or,
            Joint::Background => return Err(String::from("it goes to the background")),
        };
        let mut commands = commands.into_iter();
        let first = commands.next().ok_or("it is empty")?;
        let pipeline = CanonicalPipeline::new(first, commands.collect(), then).map_err(|error| error.to_string())?;
        pipelines.push(pipeline);
    }
    if own.next().is_some() {
        return Err(String::from("its parts do not fit together"));
    }
    if pipelines.is_empty() {
        return Err(String::from("it is empty"));
    }
    Ok(canonical::write(&pipelines))
}

/// A rule that is about a program of the line and does not cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Which program, by its place among the invocations.
    pub invocation: usize,
    /// The access rule.
    pub access_rule: RuleId,
    /// The set.
    pub set: String,
    /// The rule.
    pub rule: RuleId,
    /// Where it stands: file and line.
    pub place: (String, usize),
    /// The condition that is not met.
    pub why: String,
}

/// For each program of a line the rules about it that do not cover it, with the first condition of each that is not met.
pub fn near_misses(line: &str, governed: &[Governed], table: &Table, asker: &Asker<'_>) -> Vec<NearMiss> {
    let Ok((_, reading)) = read(line, table, None).result else { return Vec::new() };
    let start = start_of(&reading, asker, None);
    let mut misses = Vec::new();
    for scope in governed.iter().map(Scope::of) {
        let mode = scope.set_mode().unwrap_or(scope.mode);
        // There no rule allows anything.
        if mode == CommandMode::Menu {
            continue;
        }
        for (at, invocation) in reading.invocations.iter().enumerate() {
            let name = invocation.argv.first().and_then(Word::literal);
            let name = name.as_deref().map_or("", base_name);
            for (set, rule) in rules_about(&scope, name).into_iter().filter(|(_, rule)| rule.outcome != Outcome::Deny) {
                let Err(miss) = rule.covers(invocation, mode, asker, &start) else { continue };
                misses.push(NearMiss {
                    invocation: at,
                    access_rule: scope.rule.clone(),
                    set: set.name.clone(),
                    rule: rule.id.clone(),
                    place: (rule.file.clone(), rule.line),
                    why: miss.to_string(),
                });
            }
        }
    }
    misses
}
