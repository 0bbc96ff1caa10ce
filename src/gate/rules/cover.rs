//! Whether an allow or an approve rule covers a command: each word and each effect of it, as it stands.

use std::fmt;

use super::args::{self, Arg, Takes};
use super::doubt::{looks_where_it_runs, reads_where_it_runs};
use super::paths::{Paths, Start, host_of, plain_path, plain_path_in};
use super::{CommandRule, Context, GRAVE, base_name, word_of};
use crate::gate::effects::{Effect, EffectKind};
use crate::gate::invocation::Invocation;
use crate::gate::shell::word::Word;
use crate::gate::shell::{self, tree::RedirectionKind};
use crate::gate::verdict::{Asker, CommandMode, Outcome, Ticket};
use crate::model::Timestamp;
use crate::pattern::Pattern;

/// The time of a test that says none: every hour is as good as can be, and nothing has expired.
pub(super) fn no_time() -> Timestamp {
    Timestamp::from_millis(i64::MIN)
}

/// The condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Miss<'w> {
    /// One of those besides the command.
    Context(&'static str),
    /// The program is another.
    Program,
    /// The program must be written by its full path where another program starts it.
    Bare,
    /// A word of it.
    Word { word: &'w Word, why: &'static str },
    /// It does not fit `args`.
    Args,
    /// An option that `flags` does not have.
    Flag(String),
    /// An effect that is not covered.
    Effect { kind: EffectKind, on: Option<&'w Word>, why: &'static str },
    /// It looks at the directory in which it runs.
    Directory,
    /// It stands in a pipeline.
    Pipe,
}

impl fmt::Display for Miss<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context(why) => f.write_str(why),
            Self::Program => f.write_str("the program is another"),
            Self::Bare => f.write_str("a program that another one starts is written by its full path"),
            Self::Word { word, why } => write!(f, "`{}` {why}", shown(word)),
            Self::Args => f.write_str("the arguments are others than `args` names"),
            Self::Flag(flag) => write!(f, "`flags` does not have {flag}"),
            Self::Effect { kind, on: Some(on), why } => write!(f, "{} `{}`: {why}", word_of(*kind), shown(on)),
            Self::Effect { kind, on: None, why } => write!(f, "{}: {why}", word_of(*kind)),
            Self::Directory => {
                f.write_str("it looks at the directory in which it runs, and no path of the rule is for that")
            }
            Self::Pipe => f.write_str("it stands in a pipeline, and the rule has no `pipe = true`"),
        }
    }
}

impl Context {
    /// Whether all that it looks at is so.
    pub(in crate::gate) fn holds(&self, asker: &Asker<'_>, mode: CommandMode) -> Result<(), &'static str> {
        if !self.groups.is_empty() && self.groups.is_disjoint(asker.groups) {
            return Err("it is for other groups");
        }
        if self.labels.iter().any(|(key, value)| asker.labels.get(key) != Some(value)) {
            return Err("it is for targets with other labels");
        }
        if asker.at != no_time() && self.when.as_ref().is_some_and(|when| when.open_until(asker.at).is_err()) {
            return Err("it holds at other hours");
        }
        let fits = |wanted: &Pattern| match asker.ticket {
            Ticket::Of(own) => own.is_some_and(|own| wanted.matches(own)),
            Ticket::Unknown => true,
        };
        if !self.ticket.as_ref().is_none_or(fits) {
            return Err("it wants another ticket");
        }
        if !self.modes.is_empty() && !self.modes.contains(&mode) {
            return Err("it is for another mode");
        }
        Ok(())
    }
}

impl CommandRule {
    /// Whether it is in force for this asker.
    pub(in crate::gate) fn holds(&self, asker: &Asker<'_>, mode: CommandMode) -> Result<(), &'static str> {
        if asker.at != no_time() && self.expires.is_some_and(|expires| expires <= asker.at) {
            return Err("it has expired");
        }
        self.context.holds(asker, mode)
    }

    /// Whether it covers all of this command; the full path by which the program then is started.
    pub(super) fn covers<'s, 'w>(
        &'s self,
        invocation: &'w Invocation,
        mode: CommandMode,
        asker: &Asker<'_>,
        start: &Start,
    ) -> Result<&'s str, Miss<'w>> {
        let path = self.program_of(invocation, mode)?;
        self.holds(asker, mode).map_err(Miss::Context)?;
        let strict = mode.is_strict();
        if strict && invocation.piped && !self.pipe {
            return Err(Miss::Pipe);
        }
        let words = invocation.argv.get(1..).unwrap_or_default();
        if strict || self.args.is_some() || self.flags.is_some() {
            words.iter().try_for_each(|word| self.takes(word))?;
        }
        let left: Vec<&Word> = match &self.flags {
            None => words.iter().collect(),
            Some(flags) => {
                let own = flags.get(base_name(path)).map_or(&[][..], Vec::as_slice);
                args::without_flags(own, words).map_err(Miss::Flag)?
            }
        };
        if self.args.as_ref().is_some_and(|args| !args::fit(args, &left)) {
            return Err(Miss::Args);
        }
        invocation.effects.iter().try_for_each(|effect| self.covers_effect(effect, invocation, start))?;
        self.covers_directory(invocation, start)?;
        if strict {
            self.covers_redirections(invocation, start)?;
            if reads_where_it_runs(invocation) && !self.reads_all() {
                let why = "it reads the directory in which it runs, and nobody knows which";
                return Err(Miss::Effect { kind: EffectKind::Read, on: None, why });
            }
        }
        Ok(path)
    }

    /// Whether it lets the directory be looked at in which the command starts, should it do so without naming it.
    fn covers_directory(&self, invocation: &Invocation, start: &Start) -> Result<(), Miss<'static>> {
        if start.elsewhere.is_none() || self.reads_all() || !looks_where_it_runs(invocation) {
            return Ok(());
        }
        let named = self.paths.get(&EffectKind::Read);
        let known = start.known().is_some_and(|parts| named.is_some_and(|named| named.cover(parts)));
        if known && invocation.by.is_none() { Ok(()) } else { Err(Miss::Directory) }
    }

    /// Whether it lets every file be read.
    fn reads_all(&self) -> bool {
        self.effects.contains(&EffectKind::Read) || self.paths.get(&EffectKind::Read).is_some_and(Paths::is_every)
    }

    fn program_of<'s>(&'s self, invocation: &Invocation, mode: CommandMode) -> Result<&'s str, Miss<'static>> {
        let name = invocation.argv.first().and_then(Word::literal).ok_or(Miss::Program)?;
        let mut programs = self.programs.iter().map(String::as_str);
        if name.contains('/') {
            return programs.find(|program| *program == name).ok_or(Miss::Program);
        }
        let path = programs.find(|program| base_name(program) == name).ok_or(Miss::Program)?;
        // The canonical text has the full path of what the shell starts; what a wrapper starts stands in the wrapper's
        // own arguments, which go as they are.
        if mode.is_strict() && invocation.by.is_some() { Err(Miss::Bare) } else { Ok(path) }
    }

    /// Whether the word may be one of the arguments, whatever it is.
    fn takes<'w>(&self, word: &'w Word) -> Result<(), Miss<'w>> {
        let miss = |why| Miss::Word { word, why };
        if word.is_dynamic() {
            return Err(miss("is known only on the target"));
        }
        if !word.is_glob() {
            return Ok(());
        }
        // One that begins elsewhere could become an option.
        plain_path(word, self.globs).map(|_| ()).map_err(miss)
    }

    fn covers_effect<'w>(&self, effect: &'w Effect, invocation: &Invocation, start: &Start) -> Result<(), Miss<'w>> {
        let Effect { kind, on } = effect;
        // Whoever says yes reads where it starts.
        let chosen = start.elsewhere.is_some() && self.outcome != Outcome::Approve;
        let redirected = |word: &Word| invocation.redirections.iter().any(|each| each.word.at == word.at);
        let outside = on.as_ref().is_some_and(redirected);
        let pinned = match self.args.as_deref() {
            _ if outside => false,
            None => false,
            Some(args) => args.iter().all(|arg| match arg {
                Arg::Rest => false,
                Arg::One { hole, .. } => hole.as_ref().is_none_or(|hole| hole.takes != Takes::Path),
            }),
        };
        let miss = |why| Err(Miss::Effect { kind: *kind, on: on.as_ref(), why });
        if self.effects.contains(kind) {
            return if chosen && GRAVE.contains(kind) {
                miss(
                    "what it finds in this directory may decide what it does: `cd` alone leads back to where it may run",
                )
            } else {
                Ok(())
            };
        }
        if GRAVE.contains(kind) {
            // Who says yes sees the command; what it does is theirs to know.
            let seen = self.outcome == Outcome::Approve && self.args.is_some() && *kind == EffectKind::Unknown;
            return if seen { Ok(()) } else { miss("`effects` does not name it") };
        }
        let of_files = matches!(kind, EffectKind::Read | EffectKind::Write | EffectKind::Delete);
        let full = || on.as_ref().and_then(Word::literal).is_some_and(|text| text.starts_with('/'));
        if pinned && !(chosen && of_files && !full()) {
            return Ok(());
        }
        match kind {
            EffectKind::Read | EffectKind::Write | EffectKind::Delete => {
                let named = self.paths.get(kind);
                if named.is_some_and(Paths::is_every) {
                    return Ok(());
                }
                let Some(word) = on else { return miss("nobody knows where") };
                let path = match plain_path_in(word, self.globs, directory_of(invocation, start)) {
                    Ok(path) => path,
                    Err(why) => return miss(why),
                };
                let null = *kind != EffectKind::Delete && path == ["dev", "null"];
                if null || named.is_some_and(|named| named.cover(&path)) {
                    return Ok(());
                }
                miss("no path of the rule is for it")
            }
            EffectKind::NetOut => {
                let host = on.as_ref().and_then(Word::literal).and_then(|text| host_of(&text));
                if host.is_some_and(|host| self.hosts.iter().any(|pattern| pattern.covers(&host))) {
                    return Ok(());
                }
                miss("`hosts` does not name it")
            }
            EffectKind::NetIn | EffectKind::Credential | EffectKind::Service => miss("`effects` does not name it"),
            EffectKind::RunProgram
            | EffectKind::Shell
            | EffectKind::InteractiveEscape
            | EffectKind::LoadCode
            | EffectKind::Privilege
            | EffectKind::Unknown => miss("`effects` does not name it"),
        }
    }

    /// In strict each redirection is one that the rule names, whatever the table says of it.
    fn covers_redirections<'w>(&self, invocation: &'w Invocation, start: &Start) -> Result<(), Miss<'w>> {
        for redirection in &invocation.redirections {
            let kind = match redirection.kind {
                RedirectionKind::Read => EffectKind::Read,
                RedirectionKind::Write | RedirectionKind::Append => EffectKind::Write,
                RedirectionKind::Duplicate => continue,
                RedirectionKind::ReadWrite | RedirectionKind::HereDocument | RedirectionKind::HereString => {
                    let why = "is a redirection that strict does not have";
                    return Err(Miss::Word { word: &redirection.word, why });
                }
            };
            let word = &redirection.word;
            let miss = |why| Miss::Effect { kind, on: Some(word), why };
            let path = plain_path_in(word, false, directory_of(invocation, start)).map_err(miss)?;
            let named = self.paths.get(&kind);
            let null = path == ["dev", "null"];
            if !null && !self.effects.contains(&kind) && !named.is_some_and(|named| named.cover(&path)) {
                return Err(miss("no path of the rule is for it"));
            }
        }
        Ok(())
    }
}

/// Where the relative paths of a command begin, if that is known: what a wrapper starts may run elsewhere.
fn directory_of<'s>(invocation: &Invocation, start: &'s Start) -> Option<&'s [String]> {
    start.known().filter(|_| invocation.by.is_none())
}

/// A word for people: what is known of it, and nothing that steers a terminal.
pub(super) fn shown(word: &Word) -> String {
    word.to_string()
}

/// A text in which nothing steers a terminal or turns what is read around.
pub(super) fn harmless(text: &str) -> String {
    let hidden = |c: char| shell::text::fault(c).is_some() || matches!(c, '\n' | '\t');
    if !text.contains(hidden) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if hidden(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
