//! What words suggest that no entry explains.
//!
//! The program, or the option, is `unknown`, and guard lets that pass with an alert. Yet such a word often says itself what
//! it is for: it names a shell, a program by its full path, a library, a file that holds secrets. Each is taken for what it
//! would be at its worst. Nothing here makes anything harmless: these effects come on top of `unknown`.
//!
//! What this does **not** see: a program that is not in the table and whose words say nothing, such as one that is started
//! bare and then typed into.

use super::text::normal_path;
use super::{Effect, EffectKind};
use crate::gate::shell::word::Word;

/// Shells, as a word names them with or without a directory.
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "ksh93", "mksh", "pwsh", "rbash", "sh", "tcsh", "yash",
    "zsh",
];

/// Where programs lie: a full path there is a program to be started.
const PROGRAMS: &[&str] =
    &["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/", "/usr/libexec/"];

/// Last parts of options' names whose value is a program, a script or a library in whatever program has them.
const NAMES: &[&str] = &[
    "action", "callback", "cmd", "command", "editor", "eval", "exec", "execute", "hook", "loader", "pager", "plugin",
    "preload", "program", "rcfile", "rsh", "run", "script", "shell",
];

/// Calls by which languages start programs.
const CALLS: &[&str] =
    &["system", "exec", "execl", "execv", "execve", "execvp", "popen", "spawn", "shell_exec", "shell", "eval"];

/// More words than this are not looked at one by one.
const WORDS_MAX: usize = 256;
/// Paths of one word, beyond which it is a text like any other.
const PATHS_MAX: usize = 16;

/// Where everybody may put a program.
const ANYBODYS: [&str; 3] = ["/tmp/", "/var/tmp/", "/dev/shm/"];

/// What a command suggests whose program has no entry.
pub(super) fn of_argv(argv: &[Word]) -> Vec<Effect> {
    let mut effects = Vec::new();
    let Some((program, words)) = argv.split_first() else { return effects };
    if normal_path(program).is_some_and(|path| ANYBODYS.iter().any(|place| path.starts_with(place))) {
        effects.push(Effect { kind: EffectKind::RunProgram, on: Some(program.clone()) });
    }
    for word in words.iter().take(WORDS_MAX) {
        of_word(word, &mut effects);
    }
    effects
}

/// What words suggest that an entry calls unknown, or code.
pub(super) fn of_told(told: &[Effect]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for effect in told.iter().take(WORDS_MAX) {
        match (effect.kind, &effect.on) {
            (EffectKind::Unknown, Some(word)) => of_word(word, &mut effects),
            (EffectKind::LoadCode, Some(word)) => of_code(word, &mut effects),
            _ => {}
        }
    }
    effects
}

/// Adds what one word suggests; of a word that only the target knows, nothing.
fn of_word(word: &Word, effects: &mut Vec<Effect>) {
    let Some(text) = word.literal() else { return };
    let mut add = |kind: EffectKind, on: Word| {
        let effect = Effect { kind, on: Some(on) };
        if !effects.contains(&effect) {
            effects.push(effect);
        }
    };
    if escapes(&text) || calls(&text) || takes_program(&text) {
        add(EffectKind::RunProgram, word.clone());
    }
    for token in text.split(|c: char| !is_of_path(c)).filter(|token| !token.is_empty()).take(PATHS_MAX) {
        of_token(token, word, &mut add);
    }
}

/// Adds what the paths in a text suggest that is code, and may do anything with them.
fn of_code(word: &Word, effects: &mut Vec<Effect>) {
    let Some(text) = word.literal() else { return };
    let paths = text.split(|c: char| !is_of_path(c)).filter(|token| token.starts_with('/') && token.len() > 1);
    for path in paths.take(PATHS_MAX) {
        for kind in [EffectKind::Read, EffectKind::Write] {
            let effect = Effect { kind, on: Some(Word::of(path, word.at.clone())) };
            if !effects.contains(&effect) {
                effects.push(effect);
            }
        }
    }
}

fn of_token(token: &str, word: &Word, add: &mut impl FnMut(EffectKind, Word)) {
    let (directory, name) = token.rsplit_once('/').map_or((None, token), |(directory, name)| (Some(directory), name));
    let at = || Word::of(token, word.at.clone());
    if SHELLS.binary_search(&name).is_ok()
        && directory.is_none_or(|directory| directory.is_empty() || directory.starts_with(['/', '.']))
    {
        add(EffectKind::Shell, at());
    }
    if PROGRAMS.iter().any(|place| token.starts_with(place)) {
        add(EffectKind::RunProgram, at());
    }
    if name.ends_with(".so") || name.contains(".so.") {
        add(EffectKind::LoadCode, at());
    }
    if token.len() > 1
        && (token.starts_with('/') || token.starts_with("~/") || token.starts_with("./") || token.starts_with("../"))
    {
        add(EffectKind::Read, at());
        add(EffectKind::Write, at());
    }
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '~')
}

/// `!command`, as pagers, editors and many programs with a prompt of their own have it.
fn escapes(text: &str) -> bool {
    let after = text.strip_prefix('!').or_else(|| text.split_once(":!").map(|(_, after)| after));
    after.is_some_and(|after| after.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '/'))
}

/// A call that starts a program, in whatever language.
fn calls(text: &str) -> bool {
    text.match_indices('(').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_end();
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        CALLS.contains(&name)
    })
}

/// `--command`, `--pre-command=...`: whatever program it is, the value is one.
fn takes_program(text: &str) -> bool {
    let Some(name) = text.strip_prefix('-') else { return false };
    let name = name.split(['=', ':']).next().unwrap_or_default().trim_start_matches('-');
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or_default();
    NAMES.contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<EffectKind> {
        let mut effects = Vec::new();
        of_word(&Word::of(text, 0..text.len()), &mut effects);
        effects.iter().map(|effect| effect.kind).collect()
    }

    #[test]
    fn the_shells_are_sorted_so_that_they_can_be_searched() {
        assert!(SHELLS.is_sorted());
    }

    #[test]
    fn a_word_that_names_a_shell_opens_one() {
        for text in ["sh", "/bin/sh", "--with=/usr/bin/zsh", "exec \"/bin/bash\"", "cmd=bash", "x;sh -i"] {
            assert!(kinds(text).contains(&EffectKind::Shell), "{text}");
        }
        for text in ["sheep", "show", "finish", "docs/sh.txt", "fresh"] {
            assert!(!kinds(text).contains(&EffectKind::Shell), "{text}");
        }
    }

    #[test]
    fn a_word_that_starts_programs_is_seen() {
        for text in
            ["/usr/bin/id", "os.system('id')", "require('child_process').spawn(x)", "!id", "--exec", "--pre-command=x"]
        {
            assert!(kinds(text).contains(&EffectKind::RunProgram), "{text}");
        }
        for text in ["ecosystem", "executive(1)", "!", "--verbose", "-c", "a!b"] {
            assert!(!kinds(text).contains(&EffectKind::RunProgram), "{text}");
        }
    }

    #[test]
    fn files_libraries_and_machines_are_seen() {
        assert!(kinds("./x.so").contains(&EffectKind::LoadCode));
        assert!(kinds("--file=/etc/shadow").contains(&EffectKind::Read));
        assert!(kinds("plain").is_empty());
    }

    #[test]
    fn a_word_of_many_paths_is_bounded() {
        assert!(kinds(&"/a ".repeat(10_000)).len() <= 2 * PATHS_MAX);
    }
}
