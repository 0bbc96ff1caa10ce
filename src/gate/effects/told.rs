//! What a command would do, by its entry: effects on words, and the commands that its words hold.

use super::entry::{Doing, Entry, Tail};
use super::grammar::{Given, Parsed};
use super::text::{after, head, opens, unseen};
use super::{Effect, EffectKind, awk, curl, jq, perl, processes, sed, variables};
use crate::gate::shell::word::{Dynamic, Part, Word};

/// Names of parameters that no shell has, in the words of inner commands: what a program adds, which can be anything;
pub(super) const UNSEEN: &str = "@";
/// and a path that a program found, which begins with the directory where it looked and never with a dash.
pub(super) const FOUND: &str = "{}";

/// More effects than this are not told apart: the command is `unknown` as well, and the rest is left out.
const EFFECTS_MAX: usize = 1024;

/// What the table says of one command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// What it does.
    pub effects: Vec<Effect>,
    /// The commands that its words hold.
    pub inner: Vec<Inner>,
    /// Whether it does more than is told.
    pub more: bool,
}

/// A command inside the words of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inner {
    /// A program and its arguments.
    Command(Vec<Word>),
    /// A text for the shell; only a literal one can be read.
    Script(Word),
    /// Standard input is a text for the shell.
    Input,
}

impl Told {
    /// Reads the words behind a program's name.
    pub(super) fn of(entry: &Entry, words: &[Word]) -> Self {
        let parsed = Parsed::of(entry, words);
        let mut teller = Teller { told: Self::default(), fills: Vec::new(), parsed: &parsed };
        teller.tell();
        if parsed.levels.iter().any(|entry| entry.at_files) {
            words.iter().filter(|word| head(word).starts_with('@')).for_each(|word| teller.unknown(word));
        }
        teller.told
    }

    /// Adds what a program text in `word` does: `found` by a reader of its language, who understood it or not.
    pub(super) fn code(&mut self, word: &Word, understood: bool, mut found: Self) {
        if !understood {
            return self.effect(EffectKind::LoadCode, Some(word));
        }
        if word.literal().is_some() {
            self.effects.append(&mut found.effects);
            self.inner.append(&mut found.inner);
            return;
        }
        // What was found was found in a sketch: no path and no script of it is what the target will see.
        for effect in &found.effects {
            self.effect(effect.kind, Some(word));
        }
        if !found.inner.is_empty() {
            self.effect(EffectKind::Shell, Some(word));
        }
        self.effect(EffectKind::Unknown, Some(word));
    }

    /// Puts a script on the list.
    pub(super) fn script(&mut self, word: Word) {
        self.inner.push(Inner::Script(word));
    }

    /// Puts an effect on the list, as long as there is room.
    pub(super) fn effect(&mut self, kind: EffectKind, on: Option<&Word>) {
        match self.effects.len() {
            0..EFFECTS_MAX => self.effects.push(Effect { kind, on: on.cloned() }),
            EFFECTS_MAX => {
                self.more = true;
                self.effects.push(Effect { kind: EffectKind::Unknown, on: None });
            }
            _ => {}
        }
    }
}

struct Teller<'p, 't, 'w> {
    told: Told,
    /// Texts that are replaced in inner commands, and the names of what takes their place.
    fills: Vec<(String, &'static str)>,
    parsed: &'p Parsed<'t, 'w>,
}

impl<'t> Teller<'_, 't, '_> {
    fn tell(&mut self) {
        let parsed = self.parsed;
        for (level, entry) in parsed.levels.iter().enumerate() {
            self.fills.extend(entry.fills.iter().map(|fill| (fill.clone(), FOUND)));
            self.without_word(&entry.does);
            for when in parsed.holding(level) {
                self.without_word(&when.does);
            }
        }
        // What is replaced must be known before the commands in which it is.
        for given in &parsed.given {
            if given.option.does.iter().flatten().any(|doing| *doing == Doing::Placeholder) {
                let text = given.values.first().and_then(|value| value.literal()).filter(|text| !text.is_empty());
                let text = text.map_or_else(|| String::from("{}"), |text| text.into_owned());
                self.fills.push((text, UNSEEN));
            }
        }
        for given in &parsed.given {
            self.option(given);
        }
        let level = parsed.level();
        if let Some(entry) = parsed.levels.get(level).copied() {
            self.operands(entry);
            for word in &parsed.spills {
                self.any_place(entry, word, 0);
            }
        }
        for word in &parsed.assignments {
            self.assignment(word);
        }
        for word in &parsed.odd {
            self.unknown(word);
        }
        self.perhaps();
    }

    /// Words that may turn out to be options: dynamic ones always are a danger, and patterns are where an option is one.
    fn perhaps(&mut self) {
        let parsed = self.parsed;
        let matter = parsed.levels.last().is_some_and(|entry| entry.options_matter);
        if let Some(word) = parsed.perhaps.iter().find(|word| matter || word.is_dynamic()) {
            self.unknown(word);
        }
    }

    /// What cannot be told of a word is told once.
    fn unknown(&mut self, word: &Word) {
        let told = |effect: &Effect| effect.kind == EffectKind::Unknown && effect.on.as_ref() == Some(word);
        if !self.told.effects.last().is_some_and(told) {
            self.told.effect(EffectKind::Unknown, Some(word));
        }
    }

    fn option(&mut self, given: &Given<'t, '_>) {
        let parsed = self.parsed;
        let changed = (given.level..parsed.levels.len())
            .flat_map(|level| parsed.holding(level))
            .find_map(|when| when.options.get(given.name));
        let all = changed.unwrap_or(&given.option.does);
        if let [does, ..] = all.as_slice()
            && given.values.is_empty()
        {
            if given.many.is_empty() {
                return self.without_word(does);
            }
            return self.many(does, given.many);
        }
        for (does, value) in all.iter().zip(&given.values) {
            self.word(does, value);
        }
    }

    /// The words of an option that takes many.
    fn many(&mut self, does: &[Doing], words: &[Word]) {
        for doing in does {
            if *doing == Doing::Command {
                self.command(words);
            } else if *doing == Doing::Script {
                self.joined(words);
            } else {
                words.iter().for_each(|word| self.word(&[*doing], word));
            }
        }
    }

    fn operands(&mut self, entry: &'t Entry) {
        let parsed = self.parsed;
        for word in &parsed.plus {
            self.word(entry.plus.as_deref().unwrap_or_default(), word);
        }
        let places = parsed.places(entry);
        let none_left = match places.tail {
            Some(Tail::Command | Tail::Script) => parsed.tail.is_none(),
            Some(Tail::Arguments) | None => parsed.operands.is_empty() && parsed.tail.is_none(),
        };
        // What a wrapper adds may be the words that are missing; that is unknown already.
        if none_left && !parsed.operands.iter().any(|word| is_unseen(word)) {
            self.without_word(parsed.bare(entry));
        }
        if !entry.subs.is_empty() {
            // The subcommand is missing, or `odd`.
            return;
        }
        if places.any.as_deref() == Some(&[Doing::Processes]) {
            return processes::look(&parsed.operands, &mut self.told);
        }
        let count = parsed.operands.len();
        // Words before it that cannot vanish: a word can only move behind as many places.
        let mut certain = 0;
        for (index, word) in parsed.operands.iter().enumerate() {
            // What an option spills comes before it, and moves it by any number of places.
            if opens(word) || word.is_glob() || !parsed.spills.is_empty() {
                self.any_place(entry, word, certain);
                certain += usize::from(!word.is_dynamic() && parsed.spills.is_empty());
                continue;
            }
            certain += 1;
            match places.of(index, count) {
                Some(does) => self.word(does, word),
                None => self.told.effect(EffectKind::Unknown, Some(word)),
            }
        }
        match parsed.tail {
            Some((Tail::Command, words)) => self.command(words),
            Some((Tail::Script, words)) => self.joined(words),
            Some((Tail::Arguments, _)) | None => {}
        }
    }

    /// A word that may become several words, or none: it may stand in any place behind the first so many.
    fn any_place(&mut self, entry: &'t Entry, word: &Word, certain: usize) {
        let places = self.parsed.places(entry);
        let mut done: Vec<Doing> = Vec::new();
        for doing in places.first.iter().skip(certain).chain(&places.last).flatten() {
            if !done.contains(doing) {
                done.push(*doing);
                self.word(&[*doing], word);
            }
        }
        match (&places.any, places.tail) {
            // Its last words may be the beginning of a command, of which nobody can say anything.
            (_, Some(Tail::Command | Tail::Script)) => self.told.effect(EffectKind::Unknown, Some(word)),
            (_, Some(Tail::Arguments)) => {}
            (Some(does), None) => {
                does.iter().filter(|doing| !done.contains(doing)).for_each(|doing| self.word(&[*doing], word));
            }
            (None, None) if done.is_empty() => self.told.effect(EffectKind::Unknown, Some(word)),
            (None, None) => {}
        }
    }

    /// What is done where there is no word to do it with.
    fn without_word(&mut self, does: &[Doing]) {
        for doing in does {
            if let Doing::Effect(kind) = doing {
                self.told.effect(*kind, None);
            } else if *doing == Doing::Script {
                self.told.inner.push(Inner::Input);
            }
            // For anything else there would have to be a word: a value that is optional and left out, or forgotten at
            // the line's end.
        }
    }

    /// What is done with a word.
    fn word(&mut self, does: &[Doing], word: &Word) {
        for doing in does {
            match doing {
                Doing::Nothing | Doing::Command | Doing::Arguments | Doing::Placeholder | Doing::Processes => {}
                Doing::Effect(kind) => self.effect(*kind, word),
                Doing::Script => self.script(word.clone()),
                Doing::Words => self.words(word, false),
                Doing::Program => self.words(word, true),
                Doing::Awk => awk::look(word, &mut self.told),
                Doing::Jq => jq::look(word, &mut self.told),
                Doing::Sed => sed::look(word, &mut self.told),
                Doing::Assignment => self.assignment(word),
                Doing::Name => self.name(word),
                Doing::Expression if index_with_code(&head(word)) => {
                    self.told.effect(EffectKind::LoadCode, Some(word));
                }
                Doing::Expression => {}
                Doing::Setting => self.setting(word),
                Doing::Settings => self.settings(word),
                Doing::Url => curl::url(word, &mut self.told),
                Doing::ReadNames => {
                    self.effect(EffectKind::Read, word);
                    // And the files that it names, whichever those are.
                    self.told.effect(EffectKind::Read, None);
                }
                Doing::HostOrRead => self.host_or(EffectKind::Read, word),
                Doing::HostOrWrite => self.host_or(EffectKind::Write, word),
                Doing::AtRead => curl::at_read(word, &mut self.told),
                Doing::NamedAtRead => curl::named_at_read(word, &mut self.told),
                Doing::Cookies => curl::cookies(word, &mut self.told),
                Doing::Form => curl::form(word, &mut self.told),
                Doing::Format => curl::format(word, &mut self.told),
                Doing::Output => curl::output(word, &mut self.told),
                Doing::Upload => curl::upload(word, &mut self.told),
                // Another command begins behind it, or `#(...)` runs one.
                Doing::Tmux if word.literal().is_none_or(|text| text.ends_with(';') || text.contains("#(")) => {
                    self.told.effect(EffectKind::Shell, Some(word));
                }
                Doing::Tmux => {}
                Doing::Package => self.package(word),
                Doing::Mode => self.mode(word),
                Doing::Definition => self.definition(word),
                Doing::Substitution if word.literal().is_some_and(|text| perl::only_replaces(&text)) => {}
                Doing::Substitution => self.told.effect(EffectKind::LoadCode, Some(word)),
            }
        }
    }

    fn effect(&mut self, kind: EffectKind, word: &Word) {
        let file = matches!(kind, EffectKind::Read | EffectKind::Write);
        let none = file && word.literal().is_some_and(|text| matches!(&*text, "-" | "/dev/null"));
        if !none {
            self.told.effect(kind, Some(word));
        }
    }

    fn command(&mut self, words: &[Word]) {
        let mut argv: Vec<Word> = words.iter().map(|word| self.filled(word)).collect();
        if self.parsed.levels.iter().any(|entry| entry.appends) {
            let at = argv.last().map_or(0..0, |word| word.at.clone());
            argv.push(unseen(UNSEEN, &at));
        }
        if !argv.is_empty() {
            self.told.inner.push(Inner::Command(argv));
        }
    }

    /// A word with the texts that the program replaces marked as what only the target knows.
    fn filled(&self, word: &Word) -> Word {
        let fill_in = |text: &str| self.fills.iter().find(|(fill, _)| text.contains(fill.as_str()));
        let filled = |part: &Part| match part {
            Part::Literal(text) => fill_in(text),
            Part::Glob(_) | Part::Dynamic(_) => None,
        };
        if word.parts.iter().all(|part| filled(part).is_none()) {
            return word.clone();
        }
        let mut parts = Vec::with_capacity(word.parts.len() + 2);
        for part in &word.parts {
            let (Part::Literal(text), Some((fill, name))) = (part, filled(part)) else {
                parts.push(part.clone());
                continue;
            };
            for (index, piece) in text.split(fill.as_str()).enumerate() {
                if index > 0 {
                    let (name, words) = ((*name).to_owned(), Vec::new());
                    parts.push(Part::Dynamic(Dynamic::Parameter { name, words }));
                }
                if !piece.is_empty() {
                    parts.push(Part::Literal(piece.to_owned()));
                }
            }
        }
        Word { parts, at: word.at.clone() }
    }

    fn script(&mut self, word: Word) {
        let word = self.filled(&word);
        self.told.inner.push(Inner::Script(word));
    }

    fn joined(&mut self, words: &[Word]) {
        let Some(first) = words.first() else { return };
        let mut parts: Vec<Part> = Vec::new();
        let mut text = String::new();
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            for part in &word.parts {
                match part {
                    Part::Literal(own) => text.push_str(own),
                    Part::Glob(_) | Part::Dynamic(_) => {
                        parts.extend(take_literal(&mut text));
                        parts.push(part.clone());
                    }
                }
            }
        }
        parts.extend(take_literal(&mut text));
        let end = words.last().map_or(first.at.end, |last| last.at.end);
        self.script(Word { parts, at: first.at.start..end });
    }

    /// A command line that the program parts at blanks by itself: read if it has nothing that could be quoting. Perhaps it
    /// adds words that cannot be seen.
    fn words(&mut self, word: &Word, adds: bool) {
        let word = self.filled(word);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@,+% ".contains(c);
        let mut argv: Vec<Word> = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        let mut readable = true;
        for part in &word.parts {
            let Part::Literal(text) = part else {
                parts.push(part.clone());
                continue;
            };
            readable &= text.chars().all(plain);
            for (index, piece) in text.split(' ').enumerate() {
                if index > 0 && !parts.is_empty() {
                    argv.push(Word { parts: std::mem::take(&mut parts), at: word.at.clone() });
                }
                parts.extend((!piece.is_empty()).then(|| Part::Literal(piece.to_owned())));
            }
        }
        if !parts.is_empty() {
            argv.push(Word { parts, at: word.at.clone() });
        }
        if readable {
            argv.extend((adds && !argv.is_empty()).then(|| unseen(UNSEEN, &word.at)));
            self.command(&argv);
        } else {
            self.told.effect(EffectKind::RunProgram, Some(&word));
            self.told.effect(EffectKind::Unknown, Some(&word));
        }
    }

    fn assignment(&mut self, word: &Word) {
        let effect = match variables::split(word) {
            Some((name, value)) => variables::effect(&name, Some(&value)),
            None if word.is_dynamic() => Some(EffectKind::LoadCode),
            None => match word.literal() {
                Some(name) if !name.starts_with('-') => variables::effect(&name, None).filter(|_| hides_code(&name)),
                Some(_) | None => None,
            },
        };
        if let Some(kind) = effect {
            self.told.effect(kind, Some(word));
        }
    }

    /// A shell's variable: to look at one calculates its index. Setting one may decide what runs.
    fn name(&mut self, word: &Word) {
        let text = head(word);
        let code = word.is_dynamic() || word.is_glob() || hides_code(&text);
        let name = text.split_once('=').map_or(&*text, |(name, _)| name);
        let effect = if code { Some(EffectKind::LoadCode) } else { variables::effect(name, None) };
        if let Some(kind) = effect {
            self.told.effect(kind, Some(word));
        }
    }

    fn settings(&mut self, word: &Word) {
        match word.literal() {
            Some(text) => text.split(',').for_each(|text| self.setting(&Word::of(text, word.at.clone()))),
            None => self.setting(word),
        }
    }

    fn setting(&mut self, word: &Word) {
        let text = head(word);
        let text = text.trim_start();
        let blanks = head(word).len() - text.len();
        let end = text.find(|c: char| c == '=' || c.is_whitespace());
        let key = text.get(..end.unwrap_or(text.len())).unwrap_or_default().to_ascii_lowercase();
        let known = end.is_some() || word.literal().is_some();
        let does = self.parsed.levels.iter().rev().find_map(|entry| {
            let family = || {
                let mut families = entry.settings.iter().filter_map(|(own, does)| Some((own.strip_suffix('*')?, does)));
                families.find(|(own, _)| key.starts_with(own)).map(|(_, does)| does)
            };
            entry.settings.get(&key).or_else(family)
        });
        let Some(does) = does.filter(|_| known && !key.is_empty()) else {
            return self.told.effect(EffectKind::Unknown, Some(word));
        };
        let Some(end) = end else { return self.without_word(does) };
        let value = after(word, blanks + end + 1);
        // `ssh -o` takes blanks around the sign.
        let value_text = head(&value);
        let trimmed = value_text.trim_start_matches(|c: char| c == '=' || c.is_whitespace()).len();
        let value = after(&value, value_text.len() - trimmed);
        // A setting's value is no setting again; the reader of the table sees to that.
        self.word(does, &value);
    }

    /// `HOST:PATH` and URLs are other machines; a path with a slash before the colon is not.
    fn host_or(&mut self, kind: EffectKind, word: &Word) {
        let text = head(word);
        if text.to_ascii_lowercase().starts_with("file:") {
            curl::url(word, &mut self.told);
        } else if text.split('/').next().is_some_and(|first| first.contains(':')) {
            self.told.effect(EffectKind::NetOut, Some(word));
        } else {
            self.effect(kind, word);
            // The sign may come with what only the target knows.
            if word.is_dynamic() {
                self.told.effect(EffectKind::NetOut, Some(word));
            }
        }
    }

    fn package(&mut self, word: &Word) {
        if !word.literal().is_some_and(|text| is_by_name(&text)) {
            self.told.effect(EffectKind::LoadCode, Some(word));
        }
    }

    fn mode(&mut self, word: &Word) {
        match word.literal() {
            Some(text) if sets_id(&text) => self.told.effect(EffectKind::Privilege, Some(word)),
            Some(_) => {}
            None => self.told.effect(EffectKind::Unknown, Some(word)),
        }
    }

    /// `NAME=TEXT`: from now on the name runs the text.
    fn definition(&mut self, word: &Word) {
        if let Some((_, text)) = word.split_at_equals() {
            self.script(text);
        } else if word.literal().is_none() {
            self.told.effect(EffectKind::Unknown, Some(word));
        }
    }
}

fn is_unseen(word: &Word) -> bool {
    matches!(word.parts.as_slice(), [Part::Dynamic(Dynamic::Parameter { name, .. })] if name == UNSEEN)
}

fn take_literal(text: &mut String) -> Option<Part> {
    let text = std::mem::take(text);
    (!text.is_empty()).then_some(Part::Literal(text))
}

/// A name is looked up where the system's owner said; a path or an address brings code of the user's own.
fn is_by_name(text: &str) -> bool {
    const ARCHIVES: [&str; 8] = [".deb", ".rpm", ".apk", ".whl", ".gem", ".tgz", ".gz", ".zip"];
    let elsewhere =
        text.contains("/") && !text.starts_with('@') || text.contains("://") || text.starts_with(['.', '~']);
    !elsewhere && !ARCHIVES.iter().any(|end| text.to_ascii_lowercase().ends_with(end))
}

/// Whether a mode of `chmod` lets a program run with its owner's or its group's rights.
fn sets_id(mode: &str) -> bool {
    if !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_digit()) {
        let special = mode.trim_start_matches('0');
        return special.len() > 3 && !special.starts_with('1');
    }
    mode.split(',').any(|clause| clause.split(['+', '=']).skip(1).any(|rights| rights.contains('s')))
}

/// Whether a text that a shell calculates can hold a command.
pub(super) fn hides_code(text: &str) -> bool {
    text.contains("$(") || text.contains('`') || text.contains("${")
}

/// Whether a text that is a value now could be calculated later, and run something then.
pub(super) fn index_with_code(text: &str) -> bool {
    text.split_once('[').is_some_and(|(_, index)| index.contains("$(") || index.contains('`'))
}
