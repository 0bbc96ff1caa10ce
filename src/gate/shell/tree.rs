//! The tree of a command line that was understood (POSIX.1-2024, XCU 2.9 and 2.10; bash's additions as far as they occur
//! in everyday lines).

use std::ops::Range;

use super::word::Word;

/// A command line, or what stands in a substitution: lists of commands, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// Its pipelines.
    pub entries: Vec<Entry>,
}

impl Script {
    /// One command by itself.
    pub fn of(command: Command) -> Self {
        let commands = vec![Piped { command, errors_too: false }];
        Self { entries: vec![Entry { pipeline: Pipeline { prefix: None, commands }, then: Joint::Sequence }] }
    }

    /// Visits every word in it: those of assignments and redirections, of compounds, and of all that is expanded in them,
    /// each word before those inside of it. The parser's limit on nesting bounds the depth.
    pub fn each_word<'a>(&'a self, visit: &mut dyn FnMut(&'a Word)) {
        for piped in self.entries.iter().flat_map(|entry| &entry.pipeline.commands) {
            let (words, redirections) = match &piped.command {
                Command::Simple(simple) => {
                    let values = simple.assignments.iter().flat_map(|assignment| &assignment.values);
                    values.for_each(|word| word.each_word(visit));
                    (&simple.words, &simple.redirections)
                }
                Command::Compound(compound) => {
                    compound.scripts.iter().for_each(|script| script.each_word(visit));
                    (&compound.words, &compound.redirections)
                }
            };
            words.iter().for_each(|word| word.each_word(visit));
            redirections.iter().for_each(|redirection| redirection.word.each_word(visit));
        }
    }
}

/// A pipeline and what joins it to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// What follows it.
    pub then: Joint,
}

/// What stands between two pipelines, or ends the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// `;` or a line's end, or nothing at the end of all.
    Sequence,
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `&`.
    Background,
}

/// Commands, each one's output the next one's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// `!` or `time` stands before it.
    pub prefix: Option<Prefix>,
    /// Its commands; one at least.
    pub commands: Vec<Piped>,
}

/// A reserved word before a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `!`.
    Not,
    /// `time`.
    Time,
}

/// One command of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piped {
    /// The command.
    pub command: Command,
    /// Whether it ends with `|&`: its errors go to the next one, too.
    pub errors_too: bool,
}

/// A command of the shell's grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Assignments, words and redirections.
    Simple(Simple),
    /// What the shell itself does around commands.
    Compound(Compound),
}

/// A simple command (XCU 2.9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
    /// `NAME=word` before the first word.
    pub assignments: Vec<Assignment>,
    /// The program and its arguments, unexpanded; none where there are assignments or redirections only.
    pub words: Vec<Word>,
    /// Its redirections, in order.
    pub redirections: Vec<Redirection>,
    /// Where it stands in the line, in bytes.
    pub at: Range<usize>,
}

/// `NAME=word`, `NAME+=word` or `NAME[index]=word`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable; of an array with its index, as written.
    pub name: String,
    /// What it gets; of `NAME=(...)` all that is in the list. An index that is not literal comes before it.
    pub values: Vec<Word>,
}

/// A redirection (XCU 2.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// The descriptor before the operator, where there is one; of `<&` and `>&` always, as they are meant without.
    pub descriptor: Option<String>,
    /// Whether what is written as errors goes there as well: `&>`, `&>>`, and `>&` before a file.
    pub errors_too: bool,
    /// What it does.
    pub kind: RedirectionKind,
    /// The file, the descriptor, the here-string, or the whole here-document.
    pub word: Word,
}

/// What a redirection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectionKind {
    /// `<`.
    Read,
    /// `>`, `>|`, `&>`.
    Write,
    /// `>>`, `&>>`.
    Append,
    /// `<>`.
    ReadWrite,
    /// `<&`, `>&` with a number or `-`: no file is opened.
    Duplicate,
    /// `<<`, `<<-`.
    HereDocument,
    /// `<<<`.
    HereString,
}

/// What the shell does around commands (XCU 2.9.4, 2.9.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compound {
    /// Which.
    pub kind: CompoundKind,
    /// The scripts in it, in the order in which they stand.
    pub scripts: Vec<Script>,
    /// The words that it looks at: the list of a `for`, the word and patterns of a `case`, the operands of `[[` and the
    /// operators between them.
    pub words: Vec<Word>,
    /// Redirections of the whole.
    pub redirections: Vec<Redirection>,
    /// Where it stands in the line, in bytes.
    pub at: Range<usize>,
}

/// A compound command's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompoundKind {
    /// `{ ...; }`.
    Group,
    /// `( ... )`.
    Subshell,
    /// `if`.
    If,
    /// `while` or `until`.
    While,
    /// `for NAME in ...`, `select NAME in ...`: the variable.
    For(String),
    /// `case`.
    Case,
    /// `NAME() ...` or `function NAME`: the name.
    Function(String),
    /// `[[ ... ]]`.
    Test,
    /// `(( ... ))` or `for (( ... ))`, as written.
    Arithmetic(String),
}

/// Why a line was not understood: it may be a fault in it, or something that this grammar leaves out on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// Where, in bytes.
    pub at: usize,
    /// Why, for a person, such as `a quote that is not closed`.
    pub reason: &'static str,
}
