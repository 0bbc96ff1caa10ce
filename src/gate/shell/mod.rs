//! The grammar of shell command lines: text becomes a tree, or is not understood.
//!
//! Which shell reads a line on a target nobody tells. So this grammar is the part of POSIX's (POSIX.1-2024, XCU 2) and
//! of everyday bash that bash, dash, zsh, mksh, ksh93, busybox ash and yash read alike. It may refuse what bash takes; it
//! must never understand otherwise than one of them what it says is literal, nor miss a program that one of them would
//! start. Where they differ:
//!
//! | written | what differs | here |
//! | --- | --- | --- |
//! | `$'...'` | dash: a `$`, then quotes | dynamic, with bash's reading beside it; with `\'` in it refused |
//! | `=name`, `''~` | zsh: a program's path, a home | dynamic |
//! | `a=~`, `a=b:~` | which of them are homes | dynamic |
//! | `{a,b}`, `{1..9}` | dash, busybox, yash: as it stands | dynamic; not closed in its word: refused |
//! | `a}` | zsh: ends a group | refused |
//! | `((...))`, `$[...]`, `$"..."` | dash: subshells, text | refused; `for ((` is an error in dash, and taken |
//! | `$((a) \| (b))` | bash: commands | refused |
//! | `[[ a && b ]]` | dash, busybox: two commands | taken where an option stands behind `&&`: no program is named so |
//! | `&>f` | dash: `&`, then `>f` | taken at a command's end: there it comes to the same programs and files |
//! | `\|&` | ksh, mksh: a coprocess | taken: the same programs |
//! | `<(...)` | yash: a redirection | taken as a whole word only |
//! | `10>f`, `{fd}>f` | dash, mksh: an argument | refused |
//! | `<1-9>`, `>!f`, `&!`, `&\|` | zsh: a pattern, operators | refused |
//! | `@(..)`, `!(..)`, `a(..)` | ksh, mksh, zsh, bash with a switch: patterns | refused |
//! | `$=a`, `$^a`, `$+a`, `${(e)a}` | zsh: flags | refused |
//! | `${a@P}`, `${ a; }` | bash, mksh: run commands | refused |
//! | quotes inside of `"${a:-...}"` and in backquotes inside of quotes | where they end | refused |
//! | quotes in indices and in arithmetic | expanded anew, whatever they are | refused |
//! | `é=1 a`, `1=b a`, `x.y=b a` | zsh, ksh93: assignments | refused |
//! | `coproc`, `repeat`, `noglob`, `-`, `time -f` ... | reserved in one shell, or a program | refused; `\time -f` is a program |
//! | a line broken inside a word | joined before operators are looked for, or after | refused; between words taken |
//! | a here-document with a broken line, or with a word over several lines behind its operator | where it ends | refused |
//! | comments and `case` in `$(...)` | older shells look for `)` only | refused |
//! | blanks that are none in ASCII | yash: blanks | refused outside of quotes |
//!
//! A comment is stepped over, as every shell does that gets its line by `-c`; a zsh at its prompt does not. Neither does
//! this grammar know of histories (`!!`), which only prompts have, nor of aliases and functions that a target's start-up
//! files may have made: a program's name is what the line says.
//!
//! Everything is bounded: the line (32 KiB), nesting (16, of any kind), and the words and parts that one line may have. The
//! time is in proportion to the line's length. Shells that are not named above may differ: the one of Solaris 10 takes
//! `^` for `|`, and csh has another grammar altogether.

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

/// Whether the line is not understood only because it ends too early: an open quote or bracket, a `|` or `&&` without a
/// command behind it, a backslash at its end. A line editor goes on with a further row then.
pub fn goes_on(line: &str) -> bool {
    // Where these are told at their beginning, it is because the text ended.
    const FROM_BEGINNING: [&str; 4] = [
        "a quote that is not closed",
        "a backquote that is not closed",
        "arithmetic that is not closed",
        "a here-document that is not closed",
    ];
    const AT_THE_END: [&str; 11] = [
        "a command is missing",
        "a word is missing",
        "a reserved word is missing",
        "a construct that is not closed",
        "a parenthesis that is not closed",
        "a brace that is not closed",
        "a list of values that is not closed",
        "a pattern of `case` that is not closed",
        "a here-document without its text",
        "a redirection without a word",
        "something in a list of words that does not belong to it",
    ];
    let Err(NotUnderstood { at, reason }) = parse(line) else { return false };
    match reason {
        "a backslash at the end" => true,
        reason if FROM_BEGINNING.contains(&reason) => true,
        reason => at >= line.len() && AT_THE_END.contains(&reason),
    }
}

/// Whether a person could not see the character, or not tell it from a blank or take it for another order of the text.
pub fn is_unseen(c: char) -> bool {
    text::fault(c).is_some() || text::is_odd_blank(c)
}

/// Reads a line of any length: what the canonical writer makes of a line is longer than it.
#[cfg(test)]
pub(super) fn parse_unbounded(line: &str) -> Result<Script, NotUnderstood> {
    Parser::new(line).whole(Until::End)
}
