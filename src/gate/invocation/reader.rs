//! The walk over a tree. Recursive as the tree is, and bounded.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::super::effects::{self, Effect, EffectKind, Inner, Table};
use super::super::shell;
use super::super::shell::tree::{
    Assignment, Command, Compound, CompoundKind, Joint, Pipeline, Redirection, RedirectionKind, Script, Simple,
};
use super::super::shell::word::{Dynamic, Part, Word};
use super::{Construct, Invocation, Reading};

/// Commands in commands: wrappers, scripts in words, compounds, substitutions.
const DEPTH_MAX: usize = 32;
/// More programs than this nobody starts by one line.
const INVOCATIONS_MAX: usize = 512;
/// A command of more words than this is not looked into.
const WORDS_MAX: usize = 1024;
/// Words that wrappers repeat, and scripts inside words, in all: a line has at most 32 KiB.
const INNER_WORDS_MAX: usize = 4 * 1024;
const INNER_BYTES_MAX: usize = 40 * 1024;

pub(super) struct Reader<'t> {
    table: &'t Table,
    reading: Reading,
    words_left: usize,
    bytes_left: usize,
    /// The bound is reached and on record.
    full: bool,
}

/// Where a command stands.
#[derive(Clone)]
struct Around<'a> {
    by: Option<usize>,
    piped: bool,
    depth: usize,
    /// The word of the line inside which it stands.
    at: Option<&'a Range<usize>>,
    input: Stdin<'a>,
}

/// What standard input is.
#[derive(Clone, Copy)]
enum Stdin<'a> {
    /// The terminal, or what the client sends.
    Session,
    /// Another command's output.
    Pipe,
    Redirected(&'a Redirection),
}

/// A command that is to be read.
struct Started<'a> {
    argv: Vec<Word>,
    assignments: &'a [Assignment],
    redirections: &'a [Redirection],
    at: Range<usize>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(table: &'t Table) -> Self {
        Self {
            table,
            reading: Reading::default(),
            words_left: INNER_WORDS_MAX,
            bytes_left: INNER_BYTES_MAX,
            full: false,
        }
    }

    pub(super) fn read(mut self, script: &Script) -> Reading {
        self.script(script, &Around { by: None, piped: false, depth: 0, at: None, input: Stdin::Session });
        self.made_here();
        self.reading
    }

    /// What a line writes and then runs is code that nobody has seen, and so is what it gives to a program that nobody knows.
    fn made_here(&mut self) {
        let written: BTreeSet<String> = self
            .reading
            .invocations
            .iter()
            .filter(|invocation| {
                invocation.argv.first().and_then(Word::literal).is_some_and(|name| self.table.knows(&name))
            })
            .flat_map(|invocation| &invocation.effects)
            .filter(|effect| effect.kind == EffectKind::Write)
            .filter_map(|effect| effects::normal_path(effect.on.as_ref()?))
            .collect();
        if written.is_empty() {
            return;
        }
        let is_written = |word: &Word| effects::normal_path(word).is_some_and(|path| written.contains(&path));
        for invocation in &mut self.reading.invocations {
            let program = invocation.argv.first();
            let unheard_of = program.and_then(Word::literal).is_some_and(|name| !self.table.knows(&name));
            if !unheard_of {
                continue;
            }
            let named =
                program.filter(|word| word.literal().is_some_and(|name| name.contains('/')) && is_written(word));
            let read = invocation.effects.iter().filter(|effect| effect.kind == EffectKind::Read);
            let paths = read.filter_map(|effect| effect.on.as_ref()).chain(invocation.argv.iter().skip(1));
            let given = paths.take(INVOCATIONS_MAX).find(|word| is_written(word));
            if let Some(word) = named.or(given).cloned() {
                invocation.effects.push(Effect { kind: EffectKind::LoadCode, on: Some(word) });
            }
        }
    }

    fn script(&mut self, script: &Script, around: &Around<'_>) {
        let around = Around { depth: around.depth + 1, ..around.clone() };
        for entry in &script.entries {
            if around.depth > DEPTH_MAX || self.full {
                let first = entry.pipeline.commands.first().map(|piped| place(&piped.command));
                return self.give_up(around.at.cloned().or(first).unwrap_or_default());
            }
            self.pipeline(&entry.pipeline, &around);
            if entry.then == Joint::Background {
                let at = entry.pipeline.commands.last().map_or(0, |piped| place(&piped.command).start);
                self.construct(Construct::Background, at, &around);
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, around: &Around<'_>) {
        if pipeline.prefix.is_some() {
            let at = pipeline.commands.first().map_or(0, |piped| place(&piped.command).start);
            self.construct(Construct::Prefix, at, around);
        }
        let piped = around.piped || pipeline.commands.len() > 1;
        for (index, command) in pipeline.commands.iter().enumerate() {
            let input = if index == 0 { around.input } else { Stdin::Pipe };
            let around = Around { piped, input, ..around.clone() };
            match &command.command {
                Command::Simple(simple) => self.simple(simple, &around),
                Command::Compound(compound) => self.compound(compound, &around),
            }
        }
    }

    fn simple(&mut self, simple: &Simple, around: &Around<'_>) {
        if !simple.assignments.is_empty() {
            self.construct(Construct::Assignment, simple.at.start, around);
        }
        let argv = simple.words.clone();
        let (assignments, redirections) = (&simple.assignments, &simple.redirections);
        self.start(Started { argv, assignments, redirections, at: simple.at.clone() }, Vec::new(), around);
        for assignment in &simple.assignments {
            self.words(&assignment.values, around);
        }
        self.words(&simple.words, around);
        self.redirections(&simple.redirections, around);
    }

    fn compound(&mut self, compound: &Compound, around: &Around<'_>) {
        let mut effects = Vec::new();
        let mut found = |kind, on: Option<&Word>| effects.push(Effect { kind, on: on.cloned() });
        let construct = match &compound.kind {
            CompoundKind::Group
            | CompoundKind::Subshell
            | CompoundKind::If
            | CompoundKind::While
            | CompoundKind::Case => Construct::Compound,
            CompoundKind::For(variable) => {
                if let Some(kind) = effects::of_assignment(variable, &compound.words) {
                    found(kind, compound.words.first());
                }
                Construct::Compound
            }
            CompoundKind::Function(_) => Construct::Function,
            CompoundKind::Test => {
                for word in &compound.words {
                    if word.literal().is_some_and(|text| effects::hides_in_index(&text)) {
                        found(EffectKind::LoadCode, Some(word));
                    }
                }
                Construct::Arithmetic
            }
            CompoundKind::Arithmetic(_) => Construct::Arithmetic,
        };
        self.construct(construct, compound.at.start, around);
        if !effects.is_empty() || !compound.redirections.is_empty() {
            let (argv, assignments, redirections) = (Vec::new(), &[][..], &compound.redirections);
            self.start(Started { argv, assignments, redirections, at: compound.at.clone() }, effects, around);
        }
        let input = stdin(&compound.redirections).map_or(around.input, Stdin::Redirected);
        let inside = Around { input, ..around.clone() };
        for script in &compound.scripts {
            self.script(script, &inside);
        }
        self.words(&compound.words, around);
        self.redirections(&compound.redirections, around);
    }

    fn redirections(&mut self, redirections: &[Redirection], around: &Around<'_>) {
        for redirection in redirections {
            self.construct(Construct::Redirection, redirection.word.at.start, around);
            self.word(&redirection.word, around);
        }
    }

    fn words(&mut self, words: &[Word], around: &Around<'_>) {
        for word in words {
            self.word(word, around);
        }
    }

    /// Reads the commands that the shell itself runs to make a word.
    fn word(&mut self, word: &Word, around: &Around<'_>) {
        if !word.is_dynamic() {
            return;
        }
        let at = word.at.start;
        let deeper = Around { depth: around.depth + 1, ..around.clone() };
        let alone = Around { piped: false, ..deeper.clone() };
        if deeper.depth > DEPTH_MAX {
            return self.give_up(around.at.cloned().unwrap_or_else(|| word.at.clone()));
        }
        for part in &word.parts {
            let Part::Dynamic(dynamic) = part else { continue };
            match dynamic {
                Dynamic::Parameter { words, .. } | Dynamic::Braces { alternatives: words, .. } => {
                    self.words(words, &deeper);
                }
                Dynamic::Command(script) => {
                    self.construct(Construct::Substitution, at, around);
                    self.script(script, &alone);
                }
                Dynamic::Process(script) => {
                    self.construct(Construct::Substitution, at, around);
                    // Of `>(...)` standard input is what the other command writes.
                    self.script(script, &Around { piped: true, input: Stdin::Pipe, ..deeper.clone() });
                }
                Dynamic::Arithmetic { scripts, .. } => {
                    self.construct(Construct::Arithmetic, at, around);
                    for script in scripts {
                        self.construct(Construct::Substitution, at, around);
                        self.script(script, &alone);
                    }
                }
                Dynamic::Home(_) | Dynamic::Dialect { .. } => {}
            }
        }
    }

    /// Puts a command on the list, and the commands that its words hold behind it.
    fn start(&mut self, started: Started<'_>, mut effects: Vec<Effect>, around: &Around<'_>) {
        if self.full || around.depth > DEPTH_MAX || self.reading.invocations.len() >= INVOCATIONS_MAX {
            return self.give_up(around.at.cloned().unwrap_or(started.at));
        }
        for assignment in started.assignments {
            if let Some(kind) = effects::of_assignment(&assignment.name, &assignment.values) {
                effects.push(Effect { kind, on: assignment.values.first().cloned() });
            }
        }
        for redirection in started.redirections {
            of_redirection(redirection, &mut effects);
        }
        let inner = self.tell(&started.argv, &mut effects, &started.at);
        let mut invocation = Invocation {
            argv: started.argv,
            effects,
            by: around.by,
            piped: around.piped,
            assignments: started.assignments.to_vec(),
            redirections: started.redirections.to_vec(),
            at: started.at,
        };
        if let Some(at) = around.at {
            move_to(&mut invocation, at);
        }
        let index = self.reading.invocations.len();
        let at = invocation.at.clone();
        self.reading.invocations.push(invocation);
        let input = stdin(started.redirections).map_or(around.input, Stdin::Redirected);
        let inside = Around { by: Some(index), depth: around.depth + 1, input, ..around.clone() };
        for inner in inner {
            self.inner(inner, index, &at, &inside);
        }
    }

    /// Adds what a command does, and gives the commands that its words hold.
    fn tell(&mut self, argv: &[Word], effects: &mut Vec<Effect>, at: &Range<usize>) -> Vec<Inner> {
        let Some(program) = argv.first() else { return Vec::new() };
        let mut add = |kind| effects.push(Effect { kind, on: Some(program.clone()) });
        if program.literal().is_none() {
            add(EffectKind::RunProgram);
            add(EffectKind::Unknown);
        }
        if argv.len() > WORDS_MAX {
            effects.extend([EffectKind::RunProgram, EffectKind::Unknown].map(|kind| Effect { kind, on: None }));
            self.cut(at);
            return Vec::new();
        }
        // What bash makes of a disguise is told, too.
        let likely = self.likely(argv);
        match self.table.tell(&likely) {
            Some(mut told) => {
                let guessed = effects::guess_of_told(&likely, &told.effects);
                if told.more {
                    self.cut(at);
                }
                effects.append(&mut told.effects);
                effects.extend(guessed);
                told.inner
            }
            None => {
                if program.literal().is_some() {
                    effects.push(Effect { kind: EffectKind::Unknown, on: Some(program.clone()) });
                }
                effects.extend(effects::guess_of_argv(&likely));
                Vec::new()
            }
        }
    }

    /// The words as bash reads them, as far as that can be told; those of which nobody can tell stay as they are.
    fn likely<'a>(&mut self, argv: &'a [Word]) -> Cow<'a, [Word]> {
        let disguised = |part: &Part| matches!(part, Part::Dynamic(Dynamic::Braces { .. } | Dynamic::Dialect { .. }));
        if !argv.iter().any(|word| word.parts.iter().any(disguised)) {
            return Cow::Borrowed(argv);
        }
        let mut all = Vec::with_capacity(argv.len());
        for word in argv {
            let likely = if word.parts.iter().any(disguised) { word.likely_words() } else { None };
            match likely.filter(|words| words.len() <= self.words_left) {
                Some(words) => {
                    self.words_left = self.words_left.saturating_sub(words.len());
                    all.extend(words.iter().map(|text| Word::of(text, word.at.clone())));
                }
                None => all.push(word.clone()),
            }
        }
        Cow::Owned(all)
    }

    fn inner(&mut self, inner: Inner, index: usize, at: &Range<usize>, inside: &Around<'_>) {
        match inner {
            Inner::Command(argv) => self.inner_command(argv, index, at, inside),
            Inner::Script(word) => self.inner_script(&word, index, inside),
            Inner::Input => self.input(index, inside),
        }
    }

    fn inner_command(&mut self, argv: Vec<Word>, index: usize, at: &Range<usize>, inside: &Around<'_>) {
        let Some(program) = argv.first() else { return };
        // A bare name that the table does not have is `unknown` by itself; a path may be what somebody put there.
        let known = program.literal().is_some_and(|name| !name.contains('/') || self.table.knows(&name));
        if !known {
            self.add(index, EffectKind::RunProgram, Some(program));
        }
        let Some(left) = self.words_left.checked_sub(argv.len()) else { return self.give_up(at.clone()) };
        self.words_left = left;
        let at = argv.iter().fold(program.at.clone(), |all, word| all.start..all.end.max(word.at.end));
        self.start(Started { argv, assignments: &[], redirections: &[], at }, Vec::new(), inside);
    }

    /// Reads a text for the shell. What is not literal may be made of anything by the time it is run.
    fn inner_script(&mut self, word: &Word, index: usize, inside: &Around<'_>) {
        let text = word.literal().map(Cow::into_owned);
        let likely = if text.is_some() { None } else { word.likely() };
        let unread = text.is_none();
        let script = text.or(likely).and_then(|text| self.parse(&text));
        if unread || script.is_none() {
            self.add(index, EffectKind::Shell, Some(word));
            self.add(index, EffectKind::Unknown, Some(word));
        }
        if let Some(script) = script {
            let at = inside.at.cloned().unwrap_or_else(|| word.at.clone());
            self.script(&script, &Around { at: Some(&at), ..inside.clone() });
        }
    }

    fn parse(&mut self, text: &str) -> Option<Script> {
        self.bytes_left = self.bytes_left.checked_sub(text.len())?;
        shell::parse(text).ok()
    }

    /// Standard input is a text for the shell: a here-document is read, and nobody sees what comes through a pipe.
    fn input(&mut self, index: usize, inside: &Around<'_>) {
        match inside.input {
            Stdin::Session => self.add(index, EffectKind::Shell, None),
            Stdin::Pipe => {
                self.add(index, EffectKind::Shell, None);
                self.add(index, EffectKind::Unknown, None);
            }
            Stdin::Redirected(redirection) => match redirection.kind {
                RedirectionKind::HereDocument | RedirectionKind::HereString => {
                    self.inner_script(&redirection.word, index, inside);
                }
                RedirectionKind::Read | RedirectionKind::ReadWrite | RedirectionKind::Duplicate => {
                    self.add(index, EffectKind::Shell, Some(&redirection.word));
                    self.add(index, EffectKind::Unknown, Some(&redirection.word));
                }
                RedirectionKind::Write | RedirectionKind::Append => {}
            },
        }
    }

    fn add(&mut self, index: usize, kind: EffectKind, on: Option<&Word>) {
        if let Some(invocation) = self.reading.invocations.get_mut(index) {
            let effect = Effect { kind, on: on.cloned() };
            if !invocation.effects.contains(&effect) {
                invocation.effects.push(effect);
            }
        }
    }

    fn construct(&mut self, construct: Construct, at: usize, around: &Around<'_>) {
        let at = around.at.map_or(at, |word| word.start);
        let first = self.reading.constructs.entry(construct).or_insert(at);
        *first = at.min(*first);
    }

    /// Puts on record that a command has more than is read.
    fn cut(&mut self, at: &Range<usize>) {
        self.reading.cut.get_or_insert(at.start);
    }

    /// Puts on record that there is more than is read.
    fn give_up(&mut self, at: Range<usize>) {
        self.cut(&at);
        if !std::mem::replace(&mut self.full, true) {
            self.reading.invocations.push(Invocation {
                argv: Vec::new(),
                effects: vec![Effect { kind: EffectKind::Unknown, on: None }],
                by: None,
                piped: false,
                assignments: Vec::new(),
                redirections: Vec::new(),
                at,
            });
        }
    }
}

fn place(command: &Command) -> Range<usize> {
    match command {
        Command::Simple(simple) => simple.at.clone(),
        Command::Compound(compound) => compound.at.clone(),
    }
}

/// The last redirection of standard input.
fn stdin(redirections: &[Redirection]) -> Option<&Redirection> {
    redirections.iter().rev().find(|redirection| match redirection.kind {
        RedirectionKind::Read
        | RedirectionKind::ReadWrite
        | RedirectionKind::HereDocument
        | RedirectionKind::HereString => redirection.descriptor.as_deref().is_none_or(|descriptor| descriptor == "0"),
        RedirectionKind::Duplicate => redirection.descriptor.as_deref() == Some("0"),
        RedirectionKind::Write | RedirectionKind::Append => false,
    })
}

fn of_redirection(redirection: &Redirection, effects: &mut Vec<Effect>) {
    let word = &redirection.word;
    let kinds: &[EffectKind] = match redirection.kind {
        RedirectionKind::Read => &[EffectKind::Read],
        RedirectionKind::Write | RedirectionKind::Append => &[EffectKind::Write],
        RedirectionKind::ReadWrite => &[EffectKind::Read, EffectKind::Write],
        RedirectionKind::Duplicate | RedirectionKind::HereDocument | RedirectionKind::HereString => return,
    };
    let path = effects::normal_path(word);
    // The shell itself connects: bash and ksh have such names where the system has no file.
    let network = path.as_ref().is_some_and(|path| path.starts_with("/dev/tcp/") || path.starts_with("/dev/udp/"));
    if network || word.literal_start().starts_with("/dev/tcp") || word.literal_start().starts_with("/dev/udp") {
        effects.push(Effect { kind: EffectKind::NetOut, on: Some(word.clone()) });
    } else if path.as_deref() != Some("/dev/null") {
        effects.extend(kinds.iter().map(|kind| Effect { kind: *kind, on: Some(word.clone()) }));
    }
}

/// What stands in a script inside a word of the line stands, for a person, where that word does.
fn move_to(invocation: &mut Invocation, at: &Range<usize>) {
    invocation.at = at.clone();
    let values = invocation.assignments.iter_mut().flat_map(|assignment| &mut assignment.values);
    let files = invocation.redirections.iter_mut().map(|redirection| &mut redirection.word);
    let affected = invocation.effects.iter_mut().filter_map(|effect| effect.on.as_mut());
    for word in invocation.argv.iter_mut().chain(values).chain(files).chain(affected) {
        word.at = at.clone();
    }
}
