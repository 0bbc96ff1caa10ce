//! An argv taken apart by its program's option grammar: which options, with which values, and which operands.
//!
//! What the words *do* is not looked at here; that is `told.rs`. Linear in the words.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::entry::{Does, Entry, Opt, Places, Syntax, Tail, Takes};
use super::text::{after, head, opens};
use crate::gate::shell::word::{Dynamic, Part, Word};

/// More options than this nobody puts into one word.
const BUNDLE_MAX: usize = 256;

/// The words of a command by what they are to its program.
#[derive(Debug)]
pub(super) struct Parsed<'t, 'w> {
    /// The program's entry and those of its subcommands, the deepest last; one at least.
    pub(super) levels: Vec<&'t Entry>,
    /// The options of interest.
    pub(super) given: Vec<Given<'t, 'w>>,
    /// All options that are given, by level.
    pub(super) seen: BTreeSet<(usize, &'t str)>,
    /// The deepest level's operands.
    pub(super) operands: Vec<&'w Word>,
    /// `NAME=value` among them.
    pub(super) assignments: Vec<&'w Word>,
    /// The words from a place that takes all that follow.
    pub(super) tail: Option<(Tail, &'w [Word])>,
    /// Words that begin with a plus, where that means something.
    pub(super) plus: Vec<&'w Word>,
    /// Words that the entry does not explain.
    pub(super) odd: Vec<&'w Word>,
    /// Words that may turn out to be options on the target.
    pub(super) perhaps: Vec<&'w Word>,
    /// Values of options that may become several words: all but the first are whatever stands there.
    pub(super) spills: Vec<&'w Word>,
}

/// An option with its values.
#[derive(Debug)]
pub(super) struct Given<'t, 'w> {
    pub(super) level: usize,
    pub(super) name: &'t str,
    pub(super) option: &'t Opt,
    pub(super) values: Vec<Cow<'w, Word>>,
    /// The words of an option that takes many.
    pub(super) many: &'w [Word],
}

impl<'t, 'w> Parsed<'t, 'w> {
    /// Takes `words` apart, those behind the program's name.
    pub(super) fn of(entry: &'t Entry, words: &'w [Word]) -> Self {
        let parsed = Self {
            levels: vec![entry],
            given: Vec::new(),
            seen: BTreeSet::new(),
            operands: Vec::new(),
            assignments: Vec::new(),
            tail: None,
            plus: Vec::new(),
            odd: Vec::new(),
            perhaps: Vec::new(),
            spills: Vec::new(),
        };
        let mut walk = Walk { parsed, entry, words, next: 0, ended: false, dashes: false, places: None, flags: 0 };
        walk.run();
        walk.parsed
    }

    /// The `when`s of a level that hold.
    pub(super) fn holding(&self, level: usize) -> impl Iterator<Item = &'t super::entry::When> {
        let entry = self.levels.get(level).copied();
        entry.into_iter().flat_map(|entry| &entry.whens).filter(move |when| {
            when.has.iter().all(|names| names.iter().any(|name| self.has(level, name)))
                && !when.lacks.iter().any(|name| self.has(level, name))
        })
    }

    /// Whether an option is given at a level, or above it where options of there hold here, too.
    fn has(&self, level: usize, name: &str) -> bool {
        let mut at = level;
        loop {
            if self.seen.contains(&(at, name)) {
                return true;
            }
            match at.checked_sub(1) {
                Some(above) if self.levels.get(above).is_some_and(|entry| entry.global) => at = above,
                Some(_) | None => return false,
            }
        }
    }

    /// The deepest level.
    pub(super) fn level(&self) -> usize {
        self.levels.len().saturating_sub(1)
    }

    /// What stands for operands under the options that are given.
    pub(super) fn places(&self, entry: &'t Entry) -> &'t Places {
        self.holding(self.level()).find_map(|when| when.operands.as_ref()).unwrap_or(&entry.operands)
    }

    /// What is done where there are no operands.
    pub(super) fn bare(&self, entry: &'t Entry) -> &'t Does {
        self.holding(self.level()).find_map(|when| when.bare.as_ref()).unwrap_or(&entry.bare)
    }
}

struct Walk<'t, 'w> {
    parsed: Parsed<'t, 'w>,
    entry: &'t Entry,
    words: &'w [Word],
    next: usize,
    /// No more options at this level.
    ended: bool,
    /// `--` stood there: no more options at any level.
    dashes: bool,
    /// Letters that are options without a value at this level, and were given: again they say nothing new.
    flags: u128,
    /// What stands for operands now; looked up anew when an option comes that was not there before.
    places: Option<&'t Places>,
}

impl<'t, 'w> Walk<'t, 'w> {
    fn run(&mut self) {
        while let Some(word) = self.words.get(self.next) {
            if self.wants_arguments() {
                self.tail(Tail::Arguments);
                return;
            }
            self.next += 1;
            let options = !self.ended && !self.dashes;
            let taken = options
                && match self.entry.syntax {
                    // `git status --help` opens a pager, whatever its own words are.
                    Syntax::None => {
                        word.literal().as_deref() == Some("--help")
                            && self.find("--help").is_some()
                            && self.dashed(word)
                    }
                    Syntax::Keys => self.key(word),
                    Syntax::Single | Syntax::Leading => self.single(word),
                    Syntax::Old if self.next == 1 => self.old(word) || self.dashed(word),
                    Syntax::Gnu | Syntax::Posix | Syntax::Old | Syntax::Pairs => self.dashed(word),
                };
            if !taken && !self.operand(word, options) {
                return;
            }
        }
    }

    fn places(&mut self) -> &'t Places {
        let places = self.places.unwrap_or_else(|| self.parsed.places(self.entry));
        self.places = Some(places);
        places
    }

    /// Whether the words from here on are of no concern to this program's grammar.
    fn wants_arguments(&mut self) -> bool {
        let count = self.parsed.operands.len();
        if !self.entry.subs.is_empty() {
            return false;
        }
        let places = self.places();
        places.tail == Some(Tail::Arguments) && places.first.len() == count && (count > 0 || self.ended)
    }

    fn tail(&mut self, tail: Tail) {
        self.parsed.tail = Some((tail, self.words.get(self.next..).unwrap_or_default()));
        self.next = self.words.len();
    }

    /// Takes an operand; `false` if nothing behind it is to be read.
    fn operand(&mut self, word: &'w Word, options: bool) -> bool {
        if options && opens(word) && self.entry.syntax != Syntax::None {
            self.parsed.perhaps.push(word);
        }
        if !self.entry.subs.is_empty() {
            return self.subcommand(word);
        }
        if self.entry.assignments && head(word).contains('=') {
            self.parsed.assignments.push(word);
            return true;
        }
        let places = self.places();
        if self.parsed.operands.len() == places.first.len()
            && let Some(tail) = places.tail
        {
            self.next -= 1;
            self.tail(tail);
            return false;
        }
        self.ended |= matches!(self.entry.syntax, Syntax::Posix | Syntax::Leading);
        self.parsed.operands.push(word);
        true
    }

    fn subcommand(&mut self, word: &'w Word) -> bool {
        let entry = self.entry;
        let Some(name) = word.literal() else { return self.no_subcommand(word) };
        let exact = entry.subs.iter().find(|sub| sub.names.iter().any(|own| *own == *name));
        let sub = exact.or_else(|| {
            let fits = |sub: &&Entry| sub.names.iter().any(|own| own.starts_with(&*name));
            let mut fitting = entry.subs.iter().filter(fits).filter(|_| entry.abbreviates && !name.is_empty());
            fitting.next().filter(|_| fitting.next().is_none())
        });
        let Some(sub) = sub else { return self.no_subcommand(word) };
        self.parsed.levels.push(sub);
        (self.entry, self.ended, self.places, self.flags) = (sub, false, None, 0);
        true
    }

    /// Nothing can be said of the words behind a subcommand that the table does not have.
    fn no_subcommand(&mut self, word: &'w Word) -> bool {
        self.parsed.odd.push(word);
        self.parsed.operands.push(word);
        false
    }

    /// The option of this name, at this level or one above whose options hold here, too.
    fn find(&self, name: &str) -> Option<(usize, &'t str, &'t Opt)> {
        self.levels().find_map(|(level, entry)| {
            entry.options.get_key_value(name).map(|(name, option)| (level, name.as_str(), option))
        })
    }

    fn levels(&self) -> impl Iterator<Item = (usize, &'t Entry)> {
        let deepest = self.parsed.level();
        let levels = self.parsed.levels.iter().copied().enumerate().rev();
        levels.take_while(move |(level, entry)| *level == deepest || entry.global)
    }

    /// The one option that a long name begins, or several that are all the same and change nothing else.
    fn abbreviated(&self, name: &str) -> Option<(usize, &'t str, &'t Opt)> {
        self.levels().find_map(|(level, entry)| {
            let from = (std::ops::Bound::Included(name), std::ops::Bound::Unbounded);
            let mut fitting = entry.options.range::<str, _>(from).take_while(|(own, _)| own.starts_with(name));
            let (first, option) = fitting.next()?;
            let changes = |name: &String| {
                let mut whens = self.parsed.levels.iter().flat_map(|entry| &entry.whens);
                whens.any(|when| when.lacks.contains(name) || when.has.iter().any(|names| names.contains(name)))
            };
            let mut others = fitting.peekable();
            let one = others.peek().is_none();
            let same = one || !changes(first) && others.all(|(own, other)| other == option && !changes(own));
            same.then_some((level, first.as_str(), option))
        })
    }

    /// Takes an option whose value, where it stands in the same word, is what follows `used` bytes of it.
    fn give(&mut self, found: (usize, &'t str, &'t Opt), attached: Option<Word>) {
        let (level, name, option) = found;
        if self.parsed.seen.insert((level, name)) {
            self.places = None;
        }
        let mut values = Vec::new();
        let mut many: &'w [Word] = &[];
        match (option.takes, attached) {
            (Takes::Nothing, _) | (Takes::Perhaps, None) => {}
            (Takes::One | Takes::Perhaps, Some(value)) => values.push(Cow::Owned(value)),
            (Takes::One, None) => self.take(1, &mut values),
            (Takes::Several(count), _) => self.take(count, &mut values),
            (Takes::UpToSemicolon, _) => many = self.up_to_semicolon(),
            (Takes::Rest, _) => {
                many = self.words.get(self.next..).unwrap_or_default();
                self.next = self.words.len();
            }
        }
        let matters = option.does.iter().any(super::entry::matters);
        let changes = self.parsed.levels.get(level..).unwrap_or_default().iter();
        if matters || changes.flat_map(|entry| &entry.whens).any(|when| when.options.contains_key(name)) {
            self.parsed.given.push(Given { level, name, option, values, many });
        }
    }

    fn take(&mut self, count: usize, values: &mut Vec<Cow<'w, Word>>) {
        for _ in 0..count {
            if let Some(word) = self.words.get(self.next) {
                if becomes_several(word) {
                    self.parsed.spills.push(word);
                    if opens(word) || head(word).starts_with('-') {
                        self.parsed.perhaps.push(word);
                    }
                }
                values.push(Cow::Borrowed(word));
                self.next += 1;
            }
        }
    }

    /// The words of `-exec`: up to `;`, or to a `+` behind `{}`.
    fn up_to_semicolon(&mut self) -> &'w [Word] {
        let rest = self.words.get(self.next..).unwrap_or_default();
        let is = |word: Option<&Word>, text: &str| word.and_then(Word::literal).is_some_and(|own| own == text);
        let end = (0..rest.len()).find(|index| {
            let word = rest.get(*index);
            is(word, ";") || (is(word, "+") && index.checked_sub(1).is_some_and(|before| is(rest.get(before), "{}")))
        });
        let length = end.unwrap_or(rest.len());
        self.next += length + usize::from(end.is_some());
        rest.get(..length).unwrap_or_default()
    }

    /// `-x`, `-xyz`, `--long`, of `gnu`, `posix` and `old`.
    fn dashed(&mut self, word: &'w Word) -> bool {
        let text = head(word);
        let whole = text.len() == word.parts.iter().map(literal_length).sum::<usize>() && word.literal().is_some();
        if text.starts_with('+') {
            return self.plus(word, &text);
        }
        if !text.starts_with('-') {
            return false;
        }
        if text == "-" && whole {
            return match self.find("-") {
                Some(found) => {
                    self.give(found, None);
                    true
                }
                None => false,
            };
        }
        if text == "--" && whole {
            match self.find("--") {
                Some(found) => self.give(found, None),
                None => self.dashes = true,
            }
            return true;
        }
        if text.starts_with("--") || self.long_with_one_dash(&text, whole) {
            self.long(word, &text, whole);
        } else {
            self.short(word, &text, whole, 1);
        }
        true
    }

    /// Whether a word with one dash is one name, such as `-TT`.
    fn long_with_one_dash(&self, text: &str, whole: bool) -> bool {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        name.chars().count() > 2 && (whole || name.len() < text.len()) && self.find(name).is_some()
    }

    fn long(&mut self, word: &'w Word, text: &str, whole: bool) {
        let (name, value) = match text.split_once('=') {
            Some((name, _)) => (name, Some(after(word, name.len() + 1))),
            None if whole => (text, None),
            // Which option it is will be known on the target.
            None => return self.odd(word),
        };
        let found = self.find(name).or_else(|| self.abbreviated(name).filter(|_| name.len() > 2));
        match found {
            Some(found) if value.is_none() || matches!(found.2.takes, Takes::One | Takes::Perhaps) => {
                self.give(found, value);
            }
            Some(_) | None => self.odd(word),
        }
    }

    /// Letters of one word, from byte `from`; the first that takes a value takes what is left of the word.
    fn short(&mut self, word: &'w Word, text: &str, whole: bool, from: usize) {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let mut at = from;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            if at > BUNDLE_MAX {
                return self.odd(word);
            }
            if let Some(bit) = self.bit_of(rest)
                && self.flags & bit != 0
            {
                at += 1;
                continue;
            }
            let Some((found, length)) = self.short_option(rest) else {
                match self.find("-#").filter(|_| whole && digits(rest)) {
                    Some(found) => self.give(found, None),
                    None => self.odd(word),
                }
                return;
            };
            at += length;
            let more = !whole || at < text.len();
            match found.2.takes {
                Takes::Nothing => {
                    self.flags |= self.bit_of(rest).unwrap_or_default();
                    self.give(found, None);
                }
                Takes::One | Takes::Perhaps => return self.give(found, more.then(|| after(word, at))),
                Takes::Several(_) | Takes::UpToSemicolon | Takes::Rest if !more => return self.give(found, None),
                Takes::Several(_) | Takes::UpToSemicolon | Takes::Rest => return self.odd(word),
            }
        }
        if !whole {
            self.odd(word);
        }
    }

    /// The place of an ASCII letter in `flags`; of `pairs` none has one.
    fn bit_of(&self, rest: &str) -> Option<u128> {
        let letter = rest.bytes().next().filter(|byte| byte.is_ascii() && self.entry.syntax != Syntax::Pairs)?;
        1_u128.checked_shl(u32::from(letter))
    }

    /// The option that the first letter is, or of `pairs` the first two, and how many bytes of the word that takes.
    fn short_option(&self, rest: &str) -> Option<((usize, &'t str, &'t Opt), usize)> {
        let letters = if self.entry.syntax == Syntax::Pairs { 2 } else { 1 };
        (1..=letters).rev().find_map(|count| {
            let length = rest.chars().take(count).map(char::len_utf8).sum::<usize>();
            let name = format!("-{}", rest.get(..length)?);
            Some((self.find(&name)?, length))
        })
    }

    /// The first word of `old`: letters without a dash, whose values are the next words.
    fn old(&mut self, word: &'w Word) -> bool {
        let Some(text) = word.literal() else { return false };
        if text.is_empty() || text.starts_with(['-', '+']) {
            return false;
        }
        for (at, letter) in text.char_indices() {
            if at > BUNDLE_MAX {
                self.odd(word);
                break;
            }
            match self.find(&format!("-{letter}")) {
                Some(found) => self.give(found, None),
                None => self.odd(word),
            }
        }
        true
    }

    fn plus(&mut self, word: &'w Word, text: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(found) = self.find(text).filter(|_| word.literal().is_some()) {
            self.give(found, None);
            return true;
        }
        if let Some(found) =
            self.find("+#").filter(|_| word.literal().is_some() && digits(text.get(1..).unwrap_or_default()))
        {
            self.give(found, None);
            return true;
        }
        if self.entry.plus.is_some() {
            self.parsed.plus.push(word);
        }
        self.entry.plus.is_some()
    }

    /// Whole words, of `single`.
    fn single(&mut self, word: &'w Word) -> bool {
        let text = head(word);
        let whole = word.literal().is_some();
        if whole && let Some(found) = self.find(&text) {
            self.give(found, None);
            return true;
        }
        if let Some((name, _)) = text.split_once('=')
            && let Some(found) = self.find(name).filter(|found| matches!(found.2.takes, Takes::One | Takes::Perhaps))
        {
            self.give(found, Some(after(word, name.len() + 1)));
            return true;
        }
        let number = |mark: char| {
            let rest = text.strip_prefix(mark).filter(|rest| whole && !rest.is_empty());
            rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let found = self.find("-#").filter(|_| number('-')).or_else(|| self.find("+#").filter(|_| number('+')));
        if let Some(found) = found {
            self.give(found, None);
            return true;
        }
        if text.starts_with('+') {
            return self.plus(word, &text);
        }
        if text.starts_with('-') && !(whole && text == "-") {
            self.odd(word);
            return true;
        }
        false
    }

    /// `name=value`, of `keys`.
    fn key(&mut self, word: &'w Word) -> bool {
        let text = head(word);
        let Some((name, _)) = text.split_once('=') else { return false };
        match self.find(text.get(..=name.len()).unwrap_or_default()) {
            Some(found) => self.give(found, Some(after(word, name.len() + 1))),
            None => self.odd(word),
        }
        true
    }

    fn odd(&mut self, word: &'w Word) {
        self.parsed.odd.push(word);
    }
}

/// Whether a shell makes several words of it, whatever its variables hold.
fn becomes_several(word: &Word) -> bool {
    word.is_glob() || word.parts.iter().any(|part| matches!(part, Part::Dynamic(Dynamic::Braces { .. })))
}

fn literal_length(part: &Part) -> usize {
    match part {
        Part::Literal(text) => text.len(),
        Part::Glob(_) | Part::Dynamic(_) => 0,
    }
}
