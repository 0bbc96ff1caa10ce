//! What a person may type: the forms of commands that the sets in force allow, as a list and as what completes a word.
//!
//! An offer is a help and no verdict: what is typed by it is judged as every line is, and may be refused for an effect, or
//! by a rule that forbids it. Nothing is offered that no rule allows, so that a line tells nobody what else exists.

use super::effects::EffectKind;
use super::rules::{Arg, CommandRule, Flag, Hole, MenuEntry, PathPattern, Paths, Takes, base_name};
use super::shell::text::shown_word;
use super::verdict::{Asker, CommandMode, Governed, Outcome};

/// So many words are offered for one place.
const OFFERS_MAX: usize = 500;
/// So many descriptions of what cannot be offered as a word.
const HINTS_MAX: usize = 20;

/// A form of command that may be typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// As it is typed, with names in capitals for what may vary: `tail [-f] [-n VALUE] PATH`.
    pub usage: String,
    /// Whether it takes somebody's yes.
    pub approve: bool,
    /// What it is for; empty if nobody said.
    pub help: String,
}

/// What may stand in a place of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// Where the word begins, in bytes.
    pub start: usize,
    /// The words, in order.
    pub words: Vec<Offer>,
    /// What may stand there and cannot be written down, such as `NODE: a host`.
    pub hints: Vec<String>,
}

/// A word that may stand in a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offer {
    /// As it is typed, in quotes where it needs them.
    pub text: String,
    /// The reason of the rule that allows it.
    pub help: String,
    /// Whether the word goes on behind it.
    pub open: bool,
}

/// The forms of commands that may be typed now, in the order of sets and rules; of a menu, its entries.
pub fn forms(governed: &[Governed], asker: &Asker<'_>) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    for (mode, sets) in governed.iter().filter_map(|one| one.commands.as_ref()) {
        for set in sets {
            let rules = set.rules.iter().filter(|rule| *mode != CommandMode::Menu && is_offered(rule, *mode, asker));
            for rule in rules {
                let help = rule.reason.clone().unwrap_or_default();
                let approve = rule.outcome == Outcome::Approve;
                let named = rule.programs.iter().map(|program| usage(rule, program));
                forms.extend(named.map(|usage| Form { usage, approve, help: help.clone() }));
            }
            let entries = set.menus.iter().filter(|entry| *mode == CommandMode::Menu && is_there(entry, asker));
            forms.extend(entries.map(|entry| Form {
                usage: entry.usage(),
                approve: entry.outcome == Outcome::Approve,
                help: entry.title.clone(),
            }));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    forms.retain(|form| seen.insert((form.usage.clone(), form.approve)));
    forms
}

/// What may stand in place of the word before byte `at`.
pub fn offers(line: &str, at: usize, governed: &[Governed], asker: &Asker<'_>) -> Offers {
    let Some(before) = line.get(..at) else { return Offers { start: at, ..Offers::default() } };
    let place = Place::of(before);
    let mut found = Found { typed: &place.word, offers: Offers { start: place.start, ..Offers::default() } };
    if place.redirects {
        return found.offers;
    }
    for (mode, sets) in governed.iter().filter_map(|one| one.commands.as_ref()) {
        let rules = sets.iter().flat_map(|set| &set.rules);
        for rule in rules.filter(|rule| *mode != CommandMode::Menu && is_offered(rule, *mode, asker)) {
            if mode.is_strict() && place.piped && !rule.pipe {
                continue;
            }
            match place.words.split_first() {
                None => rule.programs.iter().for_each(|program| found.program(program, rule)),
                Some((program, words)) => {
                    let own = |own: &&String| *own == program || base_name(own) == program;
                    if let Some(path) = rule.programs.iter().find(own) {
                        found.argument(rule, path, words);
                    }
                }
            }
        }
    }
    found.offers.words.sort();
    // Of one word by several rules the first help stands for all.
    found.offers.words.dedup_by(|next, first| next.text == first.text);
    found.offers.words.truncate(OFFERS_MAX);
    found.offers
}

/// Whether the rule lets this asker run something now.
fn is_offered(rule: &CommandRule, mode: CommandMode, asker: &Asker<'_>) -> bool {
    rule.outcome != Outcome::Deny && !rule.observe && rule.holds(asker, mode).is_ok()
}

fn is_there(entry: &MenuEntry, asker: &Asker<'_>) -> bool {
    entry.expires.is_none_or(|expires| asker.at < expires) && entry.context.holds(asker, CommandMode::Menu).is_ok()
}

/// A rule's command with one of its programs, in one line.
fn usage(rule: &CommandRule, program: &str) -> String {
    let name = base_name(program);
    let mut words = vec![name.to_owned()];
    for flag in rule.flags.iter().flat_map(|flags| flags.get(name).into_iter().flatten()) {
        words.push(match (flag.text.as_str(), flag.valued) {
            ("-#", _) => String::from("[-NUMBER]"),
            (text, true) if text.starts_with("--") => format!("[{text}=VALUE]"),
            (text, true) => format!("[{text} VALUE]"),
            (text, false) => format!("[{text}]"),
        });
    }
    match &rule.args {
        None => words.push(String::from("...")),
        Some(args) => words.extend(args.iter().map(named)),
    }
    let named: Vec<&str> = paths(rule).map(PathPattern::text).collect();
    if !named.is_empty() {
        words.push(format!("({})", named.join(" ")));
    }
    words.join(" ")
}

/// An argument for people.
fn named(arg: &Arg) -> String {
    match arg {
        Arg::Rest => String::from("..."),
        Arg::One { head, hole: None, .. } => shown_word(head),
        Arg::One { head, hole: Some(Hole { name, takes }), tail } => match takes {
            Takes::OneOf(choices) => format!("{head}{}{tail}", choices.join("|")),
            Takes::Word | Takes::Number | Takes::Host | Takes::Path => {
                format!("{head}{}{tail}", name.to_ascii_uppercase())
            }
        },
    }
}

/// The paths that a rule names for what it reads, writes and deletes.
fn paths(rule: &CommandRule) -> impl Iterator<Item = &PathPattern> {
    let kinds = [EffectKind::Read, EffectKind::Write, EffectKind::Delete];
    kinds.into_iter().filter_map(|kind| rule.paths.get(&kind)).flat_map(Paths::iter)
}

/// Collects what fits to the beginning of a word.
struct Found<'p> {
    typed: &'p str,
    offers: Offers,
}

impl Found<'_> {
    fn word(&mut self, text: &str, rule: &CommandRule, open: bool) {
        // Twice as many as are shown: some are the same.
        if text.len() > self.typed.len().saturating_sub(1)
            && text.starts_with(self.typed)
            && self.offers.words.len() < OFFERS_MAX.saturating_mul(2)
        {
            let yes = if rule.outcome == Outcome::Approve { " (takes a yes)" } else { "" };
            let help = format!("{}{yes}", rule.reason.as_deref().unwrap_or_default());
            // A quote that is closed could not be typed on.
            let text = if open { text.to_owned() } else { shown_word(text) };
            self.offers.words.push(Offer { text, help: help.trim().to_owned(), open });
        }
    }

    fn hint(&mut self, text: String) {
        if self.offers.hints.len() < HINTS_MAX && !self.offers.hints.contains(&text) {
            self.offers.hints.push(text);
        }
    }

    fn program(&mut self, program: &str, rule: &CommandRule) {
        let name = if self.typed.contains('/') { program } else { base_name(program) };
        self.word(name, rule, false);
    }

    /// Offers what may follow these words.
    fn argument(&mut self, rule: &CommandRule, program: &str, words: &[String]) {
        let flags = rule.flags.as_ref().map(|flags| flags.get(base_name(program)).map_or(&[][..], Vec::as_slice));
        let Some(Typed { operands, value_of, ended }) = Typed::of(flags, words) else { return };
        if let Some(flag) = value_of {
            return self.hint(format!("the value of {flag}"));
        }
        match &rule.args {
            None => self.path(rule),
            Some(args) => {
                let rest = args.iter().position(|arg| *arg == Arg::Rest);
                let fits = operands.iter().enumerate().all(|(index, word)| match args.get(index) {
                    Some(arg) => arg.matches(word),
                    None => rest.is_some(),
                });
                if !fits {
                    return;
                }
                if let Some(arg) = args.get(operands.len()) {
                    self.arg(arg, rule);
                }
            }
        }
        if !ended && (self.typed.starts_with('-') || (self.offers.words.is_empty() && self.offers.hints.is_empty())) {
            for flag in flags.unwrap_or_default() {
                match flag.text.as_str() {
                    "-#" => self.hint(String::from("-NUMBER")),
                    text if flag.valued && text.starts_with("--") => self.word(&format!("{text}="), rule, true),
                    text => self.word(text, rule, false),
                }
            }
        }
    }

    fn arg(&mut self, arg: &Arg, rule: &CommandRule) {
        let Arg::One { head, hole, tail } = arg else { return self.hint(String::from("any further words")) };
        let Some(Hole { name, takes }) = hole else { return self.word(head, rule, false) };
        let name = name.to_ascii_uppercase();
        let what = match takes {
            Takes::OneOf(choices) => {
                for choice in choices {
                    match choice.split_once('*') {
                        None => self.word(&format!("{head}{choice}{tail}"), rule, false),
                        Some((before, _)) => {
                            let before = format!("{head}{before}");
                            if before.starts_with(self.typed) || self.typed.starts_with(&before) {
                                self.hint(format!("{name}: {head}{choice}{tail}"));
                            }
                        }
                    }
                }
                return;
            }
            Takes::Path => return self.path(rule),
            Takes::Word => "a word",
            Takes::Number => "a number",
            Takes::Host => "a host",
        };
        if !head.is_empty() && !self.typed.starts_with(head.as_str()) {
            return self.word(head, rule, true);
        }
        self.hint(format!("{head}{name}{tail}: {what}"));
    }

    /// Offers the paths of a rule as far as they are written down.
    fn path(&mut self, rule: &CommandRule) {
        for pattern in paths(rule) {
            let text = pattern.text();
            let fixed = text.split('*').next().unwrap_or_default();
            if fixed == text {
                self.word(text, rule, false);
                continue;
            }
            let directory = fixed.rfind('/').and_then(|slash| fixed.get(..=slash)).unwrap_or_default();
            if directory.len() > self.typed.len() {
                self.word(directory, rule, true);
            } else if self.typed.starts_with(directory) {
                self.hint(format!("PATH: {text}"));
            }
        }
    }
}

/// The words of a command, without its options.
struct Typed<'w> {
    operands: Vec<&'w str>,
    /// The option whose value comes next.
    value_of: Option<&'w str>,
    /// Whether `--` has ended the options.
    ended: bool,
}

impl<'w> Typed<'w> {
    /// `None`: there is an option that the rule does not have.
    fn of(flags: Option<&[Flag]>, words: &'w [String]) -> Option<Self> {
        let mut typed = Self { operands: Vec::new(), value_of: None, ended: false };
        let Some(flags) = flags else {
            typed.operands = words.iter().map(String::as_str).collect();
            return Some(typed);
        };
        for word in words {
            if typed.value_of.take().is_some() {
                continue;
            }
            if typed.ended || !word.starts_with('-') || word == "-" {
                typed.operands.push(word);
            } else if word == "--" {
                typed.ended = true;
            } else if let Some(flag) = flags.iter().find(|flag| flag.text == *word) {
                typed.value_of = flag.valued.then_some(word.as_str());
            } else {
                // A value in the same word, or several letters: looked at by their first.
                let fits = |flag: &Flag| match flag.text.strip_prefix("--") {
                    Some(_) => flag.valued && word.strip_prefix(&flag.text).is_some_and(|rest| rest.starts_with('=')),
                    None => word.starts_with(&flag.text) && !word.starts_with("--"),
                };
                let digits = word.bytes().skip(1).all(|byte| byte.is_ascii_digit());
                let numbered = digits && flags.iter().any(|flag| flag.text == "-#");
                if !numbered && !flags.iter().any(fits) {
                    return None;
                }
            }
        }
        Some(typed)
    }
}

/// Where a word stands in a line that is not finished.
#[derive(Debug, Default)]
struct Place {
    /// The words before it in its command, without their quotes.
    words: Vec<String>,
    /// What is there of it.
    word: String,
    /// Where it begins.
    start: usize,
    /// Whether its command stands behind a `|`.
    piped: bool,
    /// Whether it is the file of a redirection.
    redirects: bool,
}

impl Place {
    /// Reads what stands before the cursor, as far as words and their ends go: the parser reads whole lines only.
    fn of(before: &str) -> Self {
        let mut place = Self::default();
        let (mut quote, mut escaped, mut begun) = (None, false, false);
        for (at, c) in before.char_indices() {
            let next = at.saturating_add(c.len_utf8());
            if escaped {
                escaped = false;
                if c != '\n' {
                    place.word.push(c);
                }
                continue;
            }
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some('"') | None, '\\') => (escaped, begun) = (true, true),
                (Some(_), c) => place.word.push(c),
                (None, '\'' | '"') => (quote, begun) = (Some(c), true),
                (None, ' ' | '\t') => {
                    let word = std::mem::take(&mut place.word);
                    if begun && !std::mem::take(&mut place.redirects) {
                        place.words.push(word);
                    }
                    (begun, place.start) = (false, next);
                }
                (None, '|' | ';' | '&' | '\n' | '(' | '{') if !(begun && c == '{') => {
                    let or = before.get(..at).is_some_and(|before| before.ends_with('|'));
                    place = Self { start: next, piped: c == '|' && !or, ..Self::default() };
                    begun = false;
                }
                (None, '<' | '>') => {
                    place = Self {
                        words: place.words,
                        start: next,
                        piped: place.piped,
                        redirects: true,
                        ..Self::default()
                    };
                    begun = false;
                }
                (None, c) => {
                    place.word.push(c);
                    begun = true;
                }
            }
        }
        place
    }
}

#[cfg(test)]
mod tests;
