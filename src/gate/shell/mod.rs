//! The grammar of shell command lines: text becomes a tree, or is not understood.

mod commands;
mod compound;
mod expansion;
mod parser;
mod redirection;
pub(super) mod text;
pub mod tree;
pub mod word;
mod words;

#[cfg(test)]
mod tests;

use commands::Until;
use parser::Parser;
use tree::{NotUnderstood, Script};

/// Reads a command line.
///
/// # Errors
/// `NotUnderstood` says where and why.
pub fn parse(line: &str) -> Result<Script, NotUnderstood> {
    parse_bytes(line.as_bytes())
}

/// Reads a command line as it came from a client.
///
/// # Errors
/// `NotUnderstood` says where and why.
pub fn parse_bytes(line: &[u8]) -> Result<Script, NotUnderstood> {
    Parser::new(text::checked(line)?).whole(Until::End)
}

/// Reads a line of any length: what the canonical writer makes of a line is longer than it.
#[cfg(test)]
pub(super) fn parse_unbounded(line: &str) -> Result<Script, NotUnderstood> {
    Parser::new(line).whole(Until::End)
}
