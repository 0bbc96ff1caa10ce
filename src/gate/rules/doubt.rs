//! Whether a deny or an approve rule is meant: in doubt it is.

use super::args;
use super::paths::{Place, Start, host_of};
use super::{CommandRule, base_name};
use crate::gate::effects::{Effect, EffectKind};
use crate::gate::invocation::{Invocation, Reading};
use crate::gate::shell::word::Word;
use crate::gate::verdict::Asker;

/// Programs that can run in another directory, by `-C` or a long option.
const CHANGE_DIRECTORY: [&str; 7] = ["env", "sudo", "tar", "git", "make", "systemd-run", "chroot"];

/// Where the relative paths of a line begin.
pub(super) fn start_of(reading: &Reading, asker: &Asker<'_>) -> Start {
    let account = asker.account.as_str();
    let home = if account == "root" { vec!["root".to_owned()] } else { vec!["home".to_owned(), account.to_owned()] };
    let mut start = Start { home, ..Start::default() };
    for invocation in &reading.invocations {
        let Some(name) = invocation.argv.first().and_then(Word::literal) else { continue };
        let words = invocation.argv.get(1..).unwrap_or_default();
        match base_name(&name) {
            "cd" | "pushd" => {
                let to = words.iter().find(|word| !word.literal().is_some_and(|text| text.starts_with('-')));
                match to.map(|word| Place::of(word, &start.home)) {
                    Some(Place::Absolute(path)) => start.directories.push(path),
                    Some(Place::Relative(_) | Place::Anywhere) => start.anywhere = true,
                    None => {}
                }
            }
            name if CHANGE_DIRECTORY.contains(&name) => {
                let elsewhere =
                    |text: &str| ["-C", "-D", "--chdir", "--directory"].iter().any(|flag| text.starts_with(flag));
                start.anywhere |= words.iter().any(|word| word.literal().is_none_or(|text| elsewhere(&text)));
            }
            _ => {}
        }
    }
    start
}

impl CommandRule {
    /// Whether it may be about this command. Whether it holds for the asker is not asked here.
    pub(super) fn may_mean(&self, invocation: &Invocation, start: &Start) -> bool {
        self.may_mean_program(invocation) && self.may_mean_effects(invocation, start)
    }

    fn may_mean_program(&self, invocation: &Invocation) -> bool {
        let words = invocation.argv.get(1..).unwrap_or_default();
        if !self.programs.is_empty() {
            // What bash makes of a disguise counts, too.
            let Some(name) = invocation.argv.first().and_then(Word::likely) else { return false };
            // One program has many paths: /bin is often /usr/bin.
            let name = base_name(&name);
            if !self.programs.iter().any(|program| base_name(program) == name) {
                return false;
            }
            // Where a yes is wanted options only say what the rule covers.
            let wanted = self.flags.as_ref().filter(|_| self.approval.is_none());
            if wanted.and_then(|flags| flags.get(name)).is_some_and(|flags| !args::may_give(flags, words)) {
                return false;
            }
        }
        self.args.as_ref().is_none_or(|args| args::may_have(args, words))
    }

    /// Whether one of its effects is there, if it names any.
    fn may_mean_effects(&self, invocation: &Invocation, start: &Start) -> bool {
        if self.effects.is_empty() && self.paths.is_empty() && self.hosts.is_empty() {
            return true;
        }
        invocation.effects.iter().any(|effect| self.effects.contains(&effect.kind) || self.may_fall_on(effect, start))
    }

    fn may_fall_on(&self, effect: &Effect, start: &Start) -> bool {
        if effect.kind == EffectKind::NetOut && !self.hosts.is_empty() {
            let host = effect.on.as_ref().and_then(Word::literal).and_then(|text| host_of(&text));
            return host.is_none_or(|host| self.hosts.iter().any(|pattern| pattern.covers(&host)));
        }
        let Some(patterns) = self.paths.get(&effect.kind) else { return false };
        let place = match (&effect.on, effect.kind) {
            (Some(word), _) => Place::of(word, &start.home),
            // What writes, nobody knows where, writes where it runs.
            (None, EffectKind::Write) => Place::Relative(Vec::new()),
            (None, _) => Place::Anywhere,
        };
        // What is changed is changed with all that is in it; what is read is most often a list of names.
        let below = effect.kind != EffectKind::Read;
        patterns.iter().any(|pattern| pattern.may_be(&place, start, below))
    }
}
