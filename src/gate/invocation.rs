//! A tree, flattened: each program that a line would start, wherever it stands, with what it would do.

use std::collections::BTreeMap;
use std::ops::Range;

use super::effects::{Effect, Table};
use super::shell::tree::{Assignment, Redirection, Script};
use super::shell::word::Word;

#[cfg(test)]
mod claims;
mod reader;
#[cfg(test)]
mod tests;

/// Reads what a line would start by the table of what programs do.
///
/// Commands inside other commands' words are read, too: of `sudo`, `find -exec`, `sh -c`. The work is bounded: where a line
/// has more commands, nests them deeper or repeats more text than anybody types, the reading ends in an invocation
/// without words whose effect is `unknown`.
pub fn read(script: &Script, table: &Table) -> Reading {
    reader::Reader::new(table).read(script)
}

/// What a line would start, and what the shell would do around it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The programs, each wrapper before what it runs.
    pub invocations: Vec<Invocation>,
    /// What the line has besides plain lists of simple commands, with the byte at which it stands first.
    pub constructs: BTreeMap<Construct, usize>,
    /// Where there is more than was read, if there is: commands in commands, or words, beyond what anybody types. A rule
    /// that forbids something may be about that.
    pub cut: Option<usize>,
}

/// One program that would be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments; empty where there are assignments or redirections only. In what a wrapper starts,
    /// words that it adds or fills in are dynamic and named `@` or `{}`.
    pub argv: Vec<Word>,
    /// What it would do, its assignments and redirections included.
    pub effects: Vec<Effect>,
    /// The invocation, by its place in the list, that starts this one by its own arguments, as `sudo` does.
    pub by: Option<usize>,
    /// Whether it stands in a pipeline with others.
    pub piped: bool,
    /// Assignments before it.
    pub assignments: Vec<Assignment>,
    /// Its redirections.
    pub redirections: Vec<Redirection>,
    /// Where it stands in the line, in bytes; inside a script that is a word of the line, where that word stands.
    pub at: Range<usize>,
}

/// What strict mode refuses by itself, whatever the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Construct {
    /// `&`.
    Background,
    /// A group, a subshell, `if`, `while`, `for`, `case`.
    Compound,
    /// A function is defined.
    Function,
    /// `$((...))`, `((...))`, `[[ ... ]]`: code may hide in an index, even in single quotes.
    Arithmetic,
    /// `$(...)`, backquotes, `<(...)`.
    Substitution,
    /// A variable that is set.
    Assignment,
    /// `!` or `time` before a pipeline.
    Prefix,
    /// A file, a descriptor or a here-document.
    Redirection,
}
