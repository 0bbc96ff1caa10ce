//! TOML with positions: a document is read value by value, and every fault is kept, not only the first.
//!
//! `serde` stops at the first fault and forgets where a value stood once it is checked; a person who mends a
//! policy file wants the whole list, with lines.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::InvalidName;

mod lists;

pub(crate) use lists::{names, parse_all, read_labels, words};

/// Something wrong in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The key, with dots, such as `rule.who.users`; empty when the fault is not in a value.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault of a whole file.
    pub fn in_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, key: String::new(), message: message.into(), hint: None }
    }

    /// The fault with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Fault {}

/// Of syntax faults so many are told: a file with more is no file of rules, and each one takes as long to place as the file
/// is.
const SYNTAX_FAULTS_MAX: usize = 100;
/// So many faults are kept. Who mends these sees the next.
const FAULTS_MAX: usize = 1000;

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds one.
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(fault);
        }
    }

    /// The good value, or `None` and the fault is kept.
    pub(crate) fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.push(fault)).ok()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by file and line.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.0.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        self.0
    }
}

/// A file's text, parsed as TOML.
pub(crate) struct Document<'t> {
    file: &'t str,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Parses `text`. `None` if it is not TOML: every syntax fault is then in `faults`, and nothing else would
    /// be worth reading.
    pub(crate) fn parse(file: &'t str, text: &'t str, faults: &mut Faults) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut last = None;
        for error in errors.iter().take(SYNTAX_FAULTS_MAX) {
            let line = error.span().map(|span| line_of(text, span.start));
            // A slip often shows as several faults of one line; the first of them says most.
            if last == Some(line) {
                continue;
            }
            last = Some(line);
            faults.push(Fault {
                file: file.to_owned(),
                line,
                key: String::new(),
                message: format!("not TOML: {}", error.message().replace('\n', ", ")),
                hint: None,
            });
        }
        errors.is_empty().then_some(Self { file, text, root })
    }

    /// The document's own table.
    pub(crate) fn root(&self) -> Table<'_> {
        Table::new(self.file, self.text, String::new(), self.root.span(), self.root.get_ref())
    }
}

/// One value and where it stands.
#[derive(Clone)]
pub(crate) struct Node<'d> {
    file: &'d str,
    text: &'d str,
    key: String,
    span: Range<usize>,
    value: &'d DeValue<'d>,
}

impl<'d> Node<'d> {
    /// A fault of this value.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            file: self.file.to_owned(),
            line: Some(self.line()),
            key: self.key.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// The value's line, from 1.
    pub(crate) fn line(&self) -> usize {
        line_of(self.text, self.span.start)
    }

    /// Where it stands in the file's text, in bytes; a string with its quotes.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    fn expected(&self, what: &str) -> Fault {
        self.fault(format!("expected {what}, found {}", self.value.type_str()))
    }

    /// The value as a string, if it is one.
    pub(crate) fn as_str(&self) -> Option<&'d str> {
        self.value.as_str()
    }

    /// A string.
    pub(crate) fn string(&self) -> Result<&'d str, Fault> {
        self.as_str().ok_or_else(|| self.expected("a string"))
    }

    /// A string with something in it.
    pub(crate) fn filled_string(&self) -> Result<&'d str, Fault> {
        let text = self.string()?;
        if text.trim().is_empty() { Err(self.fault("is empty")) } else { Ok(text) }
    }

    /// A string that `parse` takes.
    pub(crate) fn name<T>(&self, parse: fn(&str) -> Result<T, InvalidName>) -> Result<T, Fault> {
        let text = self.string()?;
        parse(text).map_err(|invalid| self.fault(format!("{text:?} is not a valid {}", invalid.kind)).hint(invalid.why))
    }

    /// One of the words in `table`.
    pub(crate) fn word<T: Copy>(&self, table: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.string()?;
        let found = table.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known = crate::model::join(table.iter().map(|(word, _)| word));
            self.fault(format!("{text:?} is not in this version; known: {known}"))
        })
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number, zero or more.
    pub(crate) fn integer(&self) -> Result<u64, Fault> {
        let number = self.value.as_integer().ok_or_else(|| self.expected("a whole number"))?;
        u64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_err(|_| self.fault("expected a whole number, zero or more"))
    }

    /// A whole number within `range`.
    pub(crate) fn integer_in<T>(&self, range: std::ops::RangeInclusive<T>) -> Result<T, Fault>
    where
        T: TryFrom<u64> + PartialOrd + fmt::Display,
    {
        let wanted = format!("allowed: {} to {}", range.start(), range.end());
        let value = T::try_from(self.integer()?).ok().filter(|value| range.contains(value));
        value.ok_or_else(|| self.fault("out of range").hint(wanted))
    }

    /// A number of bytes: an integer, or text such as `64MiB`.
    pub(crate) fn size(&self) -> Result<u64, Fault> {
        let Some(text) = self.as_str() else {
            return self.integer();
        };
        size_of(text).ok_or_else(|| {
            self.fault(format!("{text:?} is not a size")).hint("write 64MiB, 2GiB, 512KiB or a number of bytes")
        })
    }

    /// A number of bytes within `range`.
    pub(crate) fn size_in(&self, range: std::ops::RangeInclusive<u64>) -> Result<u64, Fault> {
        let size = self.size()?;
        if range.contains(&size) {
            return Ok(size);
        }
        Err(self.fault("out of range").hint(format!("allowed: {} to {} bytes", range.start(), range.end())))
    }

    /// A length of time within `range`, written such as `30s`, `50ms` or `2h`.
    pub(crate) fn duration_in(&self, range: std::ops::RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let text = self.string()?;
        let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        let span = span.ok_or_else(|| {
            self.fault(format!("{text:?} is not a length of time"))
                .hint("write a number and ms, s, m or h, such as 30s")
        })?;
        if range.contains(&span) {
            return Ok(span);
        }
        Err(self.fault("out of range").hint(format!("allowed: {:?} to {:?}", range.start(), range.end())))
    }

    /// A number of days, such as `400d`; a day has 24 hours.
    pub(crate) fn days_in(&self, range: std::ops::RangeInclusive<u64>) -> Result<Duration, Fault> {
        let text = self.string()?;
        let days = text.strip_suffix('d').filter(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
        let days: u64 = days.and_then(|days| days.parse().ok()).ok_or_else(|| {
            self.fault(format!("{text:?} is not a number of days")).hint("write a number and d, such as 400d")
        })?;
        if range.contains(&days) {
            return Ok(Duration::from_secs(days.saturating_mul(86_400)));
        }
        Err(self.fault("out of range").hint(format!("allowed: {}d to {}d", range.start(), range.end())))
    }

    /// A list, which may be empty.
    pub(crate) fn list(&self) -> Result<Vec<Node<'d>>, Fault> {
        let items = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        Ok(items.iter().map(|item| self.inner(self.key.clone(), item)).collect())
    }

    /// A list with something in it: an empty one never means "all".
    pub(crate) fn filled_list(&self) -> Result<Vec<Node<'d>>, Fault> {
        let items = self.list()?;
        if items.is_empty() { Err(self.fault("is empty; an empty list never means all")) } else { Ok(items) }
    }

    /// A table.
    pub(crate) fn table(&self) -> Result<Table<'d>, Fault> {
        let entries = self.value.as_table().ok_or_else(|| self.expected("a table"))?;
        Ok(Table::new(self.file, self.text, self.key.clone(), self.span.clone(), entries))
    }

    fn inner(&self, key: String, value: &'d Spanned<DeValue<'d>>) -> Node<'d> {
        Node { file: self.file, text: self.text, key, span: value.span(), value: value.get_ref() }
    }
}

/// A table whose keys are taken out one by one; what is left at the end is unknown.
pub(crate) struct Table<'d> {
    file: &'d str,
    text: &'d str,
    key: String,
    span: Range<usize>,
    unread: BTreeMap<&'d str, Node<'d>>,
    known: Vec<&'static str>,
}

impl<'d> Table<'d> {
    fn new(file: &'d str, text: &'d str, key: String, span: Range<usize>, entries: &'d DeTable<'d>) -> Self {
        let unread = entries.iter().map(|(name, value)| {
            let name: &str = name.get_ref();
            let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
            (name, Node { file, text, key, span: value.span(), value: value.get_ref() })
        });
        Self { file, text, unread: unread.collect(), key, span, known: Vec::new() }
    }

    /// A fault of the whole table.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            file: self.file.to_owned(),
            line: Some(self.line()),
            key: self.key.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// The table's line, from 1.
    pub(crate) fn line(&self) -> usize {
        line_of(self.text, self.span.start)
    }

    /// The text of a key that has not been taken; none if it is missing, or no text.
    pub(crate) fn seen(&self, key: &str) -> Option<&'d str> {
        self.unread.get(key).and_then(Node::as_str)
    }

    /// Takes a key that may be missing.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Node<'d>> {
        self.known.push(key);
        self.unread.remove(key)
    }

    /// Takes a key that must be there.
    pub(crate) fn need(&mut self, key: &'static str, faults: &mut Faults) -> Option<Node<'d>> {
        let node = self.take(key);
        if node.is_none() {
            faults.push(self.fault(format!("`{key}` is missing")));
        }
        node
    }

    /// Takes a key and reads it by `read`; `default` if it is missing or at fault.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        faults: &mut Faults,
        read: impl FnOnce(&Node<'d>) -> Result<T, Fault>,
    ) -> T {
        self.take(key).and_then(|node| faults.keep(read(&node))).unwrap_or(default)
    }

    /// Takes every key that is left: for tables whose keys the writer chooses.
    pub(crate) fn rest(&mut self) -> BTreeMap<&'d str, Node<'d>> {
        std::mem::take(&mut self.unread)
    }

    /// Ends the reading: each key not taken is a fault. `later` are keys of the language that this version does
    /// not have: to pass over one would make a rule wider than it reads.
    pub(crate) fn finish(self, later: &[&str], faults: &mut Faults) {
        for (name, node) in &self.unread {
            faults.push(if later.contains(name) {
                node.fault("not supported in this version, refusing to load a rule that would be wider than it reads")
            } else {
                node.fault("unknown key").hint(format!("known here: {}", crate::model::join(&self.known)))
            });
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().get(..offset).unwrap_or(text.as_bytes()).iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Bytes from text such as `64MiB`; powers of 1024 only, since `64MB` means two things.
pub(crate) fn size_of(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(size_of("64MiB"), Some(64 << 20));
        assert_eq!(size_of("12"), Some(12));
        for bad in ["", "MiB", "64MB", "-1MiB", "1.5GiB", "99999999999999TiB", "64 MiB x"] {
            assert_eq!(size_of(bad), None, "{bad:?} was taken");
        }
    }

    #[test]
    fn a_file_with_nothing_but_faults_is_told_of_in_bounds() {
        let mut faults = Faults::default();
        assert!(Document::parse("x.toml", &"=\n".repeat(50_000), &mut faults).is_none());
        assert!((1..=SYNTAX_FAULTS_MAX).contains(&faults.0.len()), "{}", faults.0.len());
        for number in 0..2 * FAULTS_MAX {
            faults.push(Fault::in_file("x.toml", number.to_string()));
        }
        assert_eq!(faults.0.len(), FAULTS_MAX);
    }

    #[test]
    fn every_syntax_fault_has_its_line() {
        let mut faults = Faults::default();
        assert!(Document::parse("x.toml", "a = 1\nb = \n\nc == 2\n", &mut faults).is_none());
        let lines: Vec<_> = faults.into_sorted().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [Some(2), Some(4)]);
    }

    #[test]
    fn a_fault_shows_file_line_and_key() {
        let mut faults = Faults::default();
        let document = Document::parse("x.toml", "\n[one]\ntwo = 3\n", &mut faults).unwrap();
        let mut one = document.root().take("one").unwrap().table().unwrap();
        let fault = one.take("two").unwrap().string().unwrap_err();
        assert_eq!(fault.to_string(), "x.toml:3: one.two: expected a string, found integer");
    }
}
