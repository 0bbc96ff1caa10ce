//! What programs do with their arguments: the effects table, and a command line read by it.

use crate::gate::shell::word::Word;

/// One thing that a command would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What.
    pub kind: EffectKind,
    /// The path, host or unit it does that to, where the table knows; as the user wrote it.
    pub on: Option<Word>,
}

/// What a command can do, as policies name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectKind {
    /// Runs another program that its arguments name; where they can be read, it is judged as a command of its own.
    RunProgram,
    /// Opens a shell, or reads a shell script.
    Shell,
    /// Lets whoever sits at the terminal start a shell or a program by keys, as pagers and editors do.
    InteractiveEscape,
    /// Reads a file.
    Read,
    /// Writes or makes a file.
    Write,
    /// Removes a file.
    Delete,
    /// Connects to another machine.
    NetOut,
    /// Waits for connections.
    NetIn,
    /// Runs code that its arguments or files hold: a library, a plug-in, a program of awk or Python.
    LoadCode,
    /// Acts with the rights of another account.
    Privilege,
    /// Shows, makes or changes what people or programs log in with.
    Credential,
    /// Starts, stops or changes a service.
    Service,
    /// What it does is not known: no entry in the table, or an argument that the entry does not explain.
    Unknown,
}

impl EffectKind {
    /// All of them, with the word by which policies name them.
    pub const WORDS: [(&'static str, Self); 13] = [
        ("run-program", Self::RunProgram),
        ("shell", Self::Shell),
        ("interactive-escape", Self::InteractiveEscape),
        ("read", Self::Read),
        ("write", Self::Write),
        ("delete", Self::Delete),
        ("net-out", Self::NetOut),
        ("net-in", Self::NetIn),
        ("load-code", Self::LoadCode),
        ("privilege", Self::Privilege),
        ("credential", Self::Credential),
        ("service", Self::Service),
        ("unknown", Self::Unknown),
    ];
}

/// What programs do, by program.
#[derive(Debug, Clone, Default)]
pub struct Table {}
