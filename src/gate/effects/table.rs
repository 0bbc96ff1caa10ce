//! The effects table: entries by the names of their programs.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use ring::digest;

use super::entry::Entry;
use super::parse::{self, Program};
use super::{Told, shipped};
use crate::document::{Fault, Faults};
use crate::gate::shell::word::Word;

/// Where programs lie that bear their name by right; one elsewhere may be anything that somebody wrote there.
const DIRECTORIES: [&str; 6] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// What programs do with their arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    entries: HashMap<String, Arc<Entry>>,
    /// By names without their version, of those that may have one.
    versioned: HashMap<String, Arc<Entry>>,
    version: String,
    tamed: Vec<Tamed>,
}

/// A program of which an entry that takes another's place says no more that it may start programs, run code or change
/// rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tamed {
    /// The program's name; a `#` at the end stands for a version.
    pub program: String,
    /// Where the entry stands.
    pub file: String,
    /// Its line.
    pub line: usize,
}

static BUILT_IN: LazyLock<Table> = LazyLock::new(|| {
    // A test sees to it that these files have no fault. Were there one, every program would be unknown.
    Table::parse(shipped::FILES).unwrap_or_else(|_| Table::empty())
});

impl Table {
    /// The table that is part of this program.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads the table from files: their paths, for faults, and their texts.
    ///
    /// # Errors
    /// All faults of all files, by file and line. A program that stands in the files twice is one.
    pub fn parse<P: AsRef<str>, T: AsRef<str>>(files: &[(P, T)]) -> Result<Self, Vec<Fault>> {
        // Nothing was said before these.
        Self::empty().with(files).map(|table| Self { tamed: Vec::new(), ..table })
    }

    /// This table with the entries of more files, which take the place of those of the same names.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn with<P: AsRef<str>, T: AsRef<str>>(&self, files: &[(P, T)]) -> Result<Self, Vec<Fault>> {
        let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_ref(), text.as_ref())).collect();
        files.sort_unstable();
        let mut table = self.clone();
        let mut faults = Faults::default();
        let mut places: HashMap<String, String> = HashMap::new();
        for (path, text) in &files {
            for program in parse::file(path, text, &mut faults) {
                table.add(program, &mut places, &mut faults);
            }
        }
        if !faults.is_empty() {
            return Err(faults.into_sorted());
        }
        if !files.is_empty() {
            table.version = version(&self.version, &files);
        }
        Ok(table)
    }

    fn empty() -> Self {
        Self { entries: HashMap::new(), versioned: HashMap::new(), version: String::new(), tamed: Vec::new() }
    }

    fn add(&mut self, program: Program, places: &mut HashMap<String, String>, faults: &mut Faults) {
        let Program { entry, file, line } = program;
        let entry = Arc::new(entry);
        for name in &entry.names {
            if let Some(other) = places.insert(name.clone(), format!("{file}:{line}")) {
                let message = format!("the program {name:?} stands at {other} already");
                faults.push(Fault { line: Some(line), ..Fault::in_file(file.clone(), message) });
            }
            let before = match name.strip_suffix('#') {
                Some(stem) => self.versioned.get(stem).map(|entry| &**entry),
                None => self.entry(name),
            };
            let tames = before.is_some_and(Entry::is_grave) && !entry.is_grave();
            match name.strip_suffix('#') {
                Some(stem) => self.versioned.insert(stem.to_owned(), Arc::clone(&entry)),
                None => self.entries.insert(name.clone(), Arc::clone(&entry)),
            };
            if tames {
                self.tamed.push(Tamed { program: name.clone(), file: file.clone(), line });
            }
        }
    }

    /// What the table was read from, as a hash: two tables of one version say the same.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What its later files say less of than the table before them, and graver things at that.
    pub fn tamed(&self) -> &[Tamed] {
        &self.tamed
    }

    /// Whether the table knows a program by this name or path.
    pub fn knows(&self, program: &str) -> bool {
        self.entry(program).is_some()
    }

    /// The names of all programs, for listings; a `#` stands for a version.
    pub fn names(&self) -> Vec<String> {
        let versioned = self.versioned.keys().map(|stem| format!("{stem}#"));
        let mut names: Vec<String> = self.entries.keys().cloned().chain(versioned).collect();
        names.sort_unstable();
        names
    }

    /// What a command would do; none if the table does not know the program, or only the target knows which it is.
    pub fn tell(&self, argv: &[Word]) -> Option<Told> {
        let (program, words) = argv.split_first()?;
        let entry = self.entry(&program.literal()?)?;
        Some(Told::of(entry, words))
    }

    pub(super) fn entry(&self, program: &str) -> Option<&Entry> {
        let name = match program.rsplit_once('/') {
            Some((directory, name)) if DIRECTORIES.contains(&directory) => name,
            Some(_) => return None,
            None => program,
        };
        let exact = self.entries.get(name);
        let entry =
            exact.or_else(|| self.versioned.get(name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')));
        entry.map(|entry| &**entry)
    }
}

/// A hash over what a table was made from: each text with its length before it, so that none can run into the next.
fn version(before: &str, files: &[(&str, &str)]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in std::iter::once(before).chain(files.iter().flat_map(|(path, text)| [*path, *text])) {
        context.update(format!("{}\n", part.len()).as_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
