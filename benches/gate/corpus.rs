//! The corpora: data files of other projects, read where they are, never copied here.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One command line and what the policy of its family should say of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub source: String,
    pub category: String,
    pub program: String,
    pub command: String,
    pub lines: usize,
    pub policy: String,
    pub expected: Expected,
}

/// What the policy of the entry's family should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Deny,
    Allow,
    Unlabelled,
}

/// The folder of the corpora, as `DOORWARD_CORPORA` names it.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("DOORWARD_CORPORA").map(PathBuf::from).filter(|folder| folder.is_dir())
}

/// All entries of all files, in the order of the files' names.
pub fn load(folder: &Path) -> Vec<Entry> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    let mut entries = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        entries.extend(text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap()));
    }
    entries
}

impl Entry {
    /// What reaches a command filter: the lines up to the one that starts the program which the entry is about, and on to
    /// the end of what that one leaves open; the lines after it are typed into that program. Attack scripts are whole.
    pub fn judged(&self) -> &str {
        if self.lines == 1 || self.source != "gtfobins" {
            return &self.command;
        }
        let starts = |line: &str| line.split([' ', ';', '|', '&', '(']).any(|word| self.is_program(word));
        let mut end = 0;
        let mut started = false;
        for line in self.command.split_inclusive('\n') {
            end += line.len();
            started |= starts(line.trim_end());
            let so_far = self.command[..end].trim_end_matches('\n');
            if started && !is_open(so_far) {
                return so_far;
            }
        }
        &self.command
    }

    fn is_program(&self, word: &str) -> bool {
        word.rsplit('/').next() == Some(&self.program)
    }
}

/// Whether a quote, a here-document or a backslash at the end wants more lines.
fn is_open(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') if chars.next().is_none() => return true,
            _ => {}
        }
    }
    let heredoc = text.lines().next().and_then(|line| line.split_once("<<")).is_some_and(|(_, word)| {
        let end =
            word.trim_start_matches(['-', ' ', '\'', '"']).split([' ', '\'', '"', '\n']).next().unwrap_or_default();
        !word.starts_with('<') && !text.lines().skip(1).any(|line| line.trim() == end)
    });
    quote.is_some() || heredoc
}
