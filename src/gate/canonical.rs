//! What is sent to a target in the place of what the user typed: the argv that was judged, written so that every shell
//! reads it back the same.
//!
//! A target's login shell reads each command line anew, and which one it is nobody tells. So words are written in the one
//! quoting that bash, dash, zsh, mksh, ksh93, busybox ash, yash and fish agree on: inside `'...'`, but a quote as `"'"` and
//! a backslash as `\\` outside of any quotes (fish gives both a meaning inside). Quoted, a program's name is neither an
//! alias nor a reserved word; as an absolute path it is neither a function nor looked for in `PATH`. A line end or a tab in
//! a word is sent as it is, between quotes. csh and tcsh, which read `!` and line ends even there, are no such shells, nor
//! are the shells of Windows: to them nothing of this may be sent.
//!
//! Only `'` opens or ends a quote in what is written, and no character set of several bytes that a target may have as
//! its locale has that byte inside of a character: so none changes what is quoted.
//!
//! The types can hold only what may be sent; there is no way to put an expansion or text of the user's outside of quotes
//! into them. Redirections are those that all these shells do alike. The text is at most three times as long as its words,
//! and their blanks.

use std::collections::BTreeSet;
use std::fmt;

use super::shell::text;
use super::shell::word::{Part, Word};
pub use redirection::CanonicalRedirection;
use redirection::Stream;

mod redirection;

/// Commands that pipes join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPipeline {
    first: CanonicalCommand,
    rest: Vec<CanonicalCommand>,
    then: Then,
}

/// What stands between a pipeline and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `;`.
    Sequence,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalCommand {
    program: Argument,
    arguments: Vec<Argument>,
    redirections: Vec<CanonicalRedirection>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    // INVARIANT: of characters that `is_portable` knows.
    Pattern(String),
}

/// Whether a rule lets the shell of the target replace patterns by names of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterns {
    /// It does. What they may match is judged by the rule; a name that begins with `-` becomes an option where the
    /// pattern has nothing before it.
    Allowed,
    /// It does not.
    Refused,
}

/// Why something cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsendable {
    /// Only the target knows what a part of the word is.
    Dynamic,
    /// A pattern for names of files, which no rule allows.
    Pattern,
    /// A pattern that shells read differently.
    PatternDialect,
    /// A character that nobody can see, or that steers something.
    Character(&'static str),
    /// A program that is no absolute path.
    RelativeProgram,
    /// A redirection that shells do not do alike, and why.
    Redirection(&'static str),
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("a word that only the target knows"),
            Self::Pattern => f.write_str("a pattern for names of files, which no rule allows here"),
            Self::PatternDialect => f.write_str("a pattern for names of files that shells read differently"),
            Self::Character(what) => write!(f, "{what} in a word"),
            Self::RelativeProgram => f.write_str("a program that is no absolute path"),
            Self::Redirection(why) => write!(f, "a redirection {why}"),
        }
    }
}

impl std::error::Error for Unsendable {}

impl CanonicalPipeline {
    /// A pipeline of one command at least, and what stands after it if there is another.
    ///
    /// # Errors
    /// `Unsendable` if what a pipe carries is redirected, too: zsh then does both, and other shells do not.
    pub fn new(first: CanonicalCommand, rest: Vec<CanonicalCommand>, then: Then) -> Result<Self, Unsendable> {
        let all = || [&first].into_iter().chain(&rest);
        let doubled = all().take(rest.len()).any(CanonicalCommand::redirects_output)
            || rest.iter().any(CanonicalCommand::redirects_input);
        if doubled {
            return Err(Unsendable::Redirection("of what a pipe carries"));
        }
        Ok(Self { first, rest, then })
    }
}

impl CanonicalCommand {
    /// A program, by the absolute path that the policy gives, and its arguments.
    ///
    /// # Errors
    /// `Unsendable` if the path is not absolute or has characters that cannot be sent.
    pub fn new(program: &str, arguments: Vec<Argument>) -> Result<Self, Unsendable> {
        if !program.starts_with('/') {
            return Err(Unsendable::RelativeProgram);
        }
        Ok(Self { program: Argument::text(program)?, arguments, redirections: Vec::new() })
    }

    /// The same with redirections, in their order.
    ///
    /// # Errors
    /// `Unsendable` if one stream is redirected twice: zsh then does both, and other shells do not.
    pub fn redirected(self, redirections: Vec<CanonicalRedirection>) -> Result<Self, Unsendable> {
        let mut streams = BTreeSet::new();
        if redirections.iter().any(|each| !streams.insert(each.stream())) {
            return Err(Unsendable::Redirection("of a stream that has one already"));
        }
        Ok(Self { redirections, ..self })
    }

    fn redirects_input(&self) -> bool {
        self.redirections.iter().any(|each| each.stream() == Stream::Input)
    }

    fn redirects_output(&self) -> bool {
        self.redirections.iter().any(|each| each.stream() == Stream::Output)
    }
}

impl Argument {
    /// An argument of text that stands for itself.
    ///
    /// # Errors
    /// `Unsendable` if it has characters that cannot be sent.
    pub fn text(text: &str) -> Result<Self, Unsendable> {
        let pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Text(sendable(text)?.to_owned())] };
        Ok(Self { pieces })
    }

    /// A word that was judged.
    ///
    /// # Errors
    /// `Unsendable` if not every part of it is literal, or a pattern that the rule allows and every shell reads alike.
    pub fn of(word: &Word, patterns: Patterns) -> Result<Self, Unsendable> {
        let mut pieces = Vec::with_capacity(word.parts.len());
        for part in &word.parts {
            pieces.push(match (part, patterns) {
                (Part::Literal(text), _) => Piece::Text(sendable(text)?.to_owned()),
                (Part::Glob(_), Patterns::Refused) => return Err(Unsendable::Pattern),
                (Part::Glob(pattern), Patterns::Allowed) if is_portable(pattern) => Piece::Pattern(pattern.clone()),
                (Part::Glob(_), Patterns::Allowed) => return Err(Unsendable::PatternDialect),
                (Part::Dynamic(_), _) => return Err(Unsendable::Dynamic),
            });
        }
        Ok(Self { pieces })
    }
}

/// Writes pipelines as the text of one exec request. What joins the last one to a next is not written.
pub fn write(pipelines: &[CanonicalPipeline]) -> String {
    let mut out = String::new();
    let mut then = None;
    for pipeline in pipelines {
        out.push_str(match then {
            None => "",
            Some(Then::And) => " && ",
            Some(Then::Or) => " || ",
            Some(Then::Sequence) => "; ",
        });
        pipeline.first.write(&mut out);
        for command in &pipeline.rest {
            out.push_str(" | ");
            command.write(&mut out);
        }
        then = Some(pipeline.then);
    }
    out
}

impl CanonicalCommand {
    fn write(&self, out: &mut String) {
        self.program.write(out);
        for argument in &self.arguments {
            out.push(' ');
            argument.write(out);
        }
        for redirection in &self.redirections {
            out.push(' ');
            redirection.write(out);
        }
    }
}

impl Argument {
    fn write(&self, out: &mut String) {
        if self.pieces.is_empty() {
            out.push_str("''");
        }
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => quote(text, out),
                Piece::Pattern(pattern) => out.push_str(pattern),
            }
        }
    }
}

/// Text as one word: as it is where nothing in it means anything to a shell, else in the neutral quoting.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('=') {
        return text.to_owned();
    }
    let mut out = String::new();
    quote(text, &mut out);
    if out.is_empty() { String::from("''") } else { out }
}

impl fmt::Display for Argument {
    /// As it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

/// Text in the neutral quoting.
fn quote(text: &str, out: &mut String) {
    let mut open = false;
    for c in text.chars() {
        if open == matches!(c, '\'' | '\\') {
            out.push('\'');
            open = !open;
        }
        match c {
            '\'' => out.push_str("\"'\""),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    if open {
        out.push('\'');
    }
}

fn sendable(text: &str) -> Result<&str, Unsendable> {
    text.chars().find_map(text::fault).map_or(Ok(text), |what| Err(Unsendable::Character(what)))
}

/// Whether every POSIX shell reads a pattern alike: `*`, `?` and brackets of plain characters. Two `*` reach into folders
/// in zsh and fish, `[^...]` is not POSIX's, and classes depend on the locale. fish knows no brackets, and takes them for
/// themselves: it matches less then.
fn is_portable(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '*' if !rest.starts_with("**") => rest.get(1..).unwrap_or_default(),
            '?' => rest.get(1..).unwrap_or_default(),
            '[' => {
                let inner = rest.get(1..).unwrap_or_default();
                let Some((inner, after)) = inner.strip_prefix('!').unwrap_or(inner).split_once(']') else {
                    return false;
                };
                if inner.is_empty()
                    || !inner.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                {
                    return false;
                }
                after
            }
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::shell::parse_unbounded;
    use super::super::shell::tree::{Command, Joint, Script};
    use super::*;

    fn command(program: &str, arguments: &[&str]) -> CanonicalCommand {
        let arguments = arguments.iter().map(|text| Argument::text(text).unwrap()).collect();
        CanonicalCommand::new(program, arguments).unwrap()
    }

    fn pipeline(first: CanonicalCommand, rest: Vec<CanonicalCommand>, then: Then) -> CanonicalPipeline {
        CanonicalPipeline::new(first, rest, then).unwrap()
    }

    /// The argv of each command, with what joins it to the next.
    fn read(text: &str) -> Vec<(Vec<String>, &'static str)> {
        let script: Script = parse_unbounded(text).unwrap();
        let mut all = Vec::new();
        for entry in script.entries {
            let last = entry.pipeline.commands.len() - 1;
            for (index, piped) in entry.pipeline.commands.iter().enumerate() {
                let Command::Simple(simple) = &piped.command else { panic!("{text}") };
                assert!(simple.assignments.is_empty() && simple.redirections.is_empty() && !piped.errors_too, "{text}");
                let argv = simple.words.iter().map(|word| word.literal().unwrap().into_owned()).collect();
                let joint = match entry.then {
                    _ if index < last => "|",
                    Joint::And => "&&",
                    Joint::Or => "||",
                    Joint::Sequence => ";",
                    Joint::Background => "&",
                };
                all.push((argv, joint));
            }
        }
        all
    }

    #[test]
    fn words_are_quoted_as_every_shell_reads_them() {
        let line = write(&[
            pipeline(
                command("/bin/a b", &["", "-n", "it's", r"\n", "~", "=x", "!"]),
                vec![command("/c", &[])],
                Then::Or,
            ),
            pipeline(command("/d", &["a\nb\tc", "'\\'", "ü€"]), Vec::new(), Then::And),
            pipeline(command("/e", &[]), Vec::new(), Then::Sequence),
            pipeline(command("/f", &[]), Vec::new(), Then::And),
        ]);
        assert_eq!(
            line,
            concat!(
                r#"'/bin/a b' '' '-n' 'it'"'"'s' \\'n' '~' '=x' '!' | '/c' || "#,
                "'/d' 'a\nb\tc' ",
                r#""'"\\"'" 'ü€' && '/e'; '/f'"#
            )
        );
    }

    #[test]
    fn what_cannot_be_sent_cannot_be_written() {
        assert_eq!(CanonicalCommand::new("ls", Vec::new()), Err(Unsendable::RelativeProgram));
        assert_eq!(CanonicalCommand::new("", Vec::new()), Err(Unsendable::RelativeProgram));
        for bad in ["a\0", "\u{1b}[A", "a\rb", "\u{202e}", "\u{200b}", "\u{7f}", "\u{9b}"] {
            assert!(matches!(Argument::text(bad), Err(Unsendable::Character(_))), "{bad:?}");
        }
        let word = |text: &str| match parse_unbounded(&format!("x {text}"))
            .unwrap()
            .entries
            .remove(0)
            .pipeline
            .commands
            .remove(0)
            .command
        {
            Command::Simple(mut simple) => simple.words.remove(1),
            Command::Compound(compound) => panic!("{compound:?}"),
        };
        for (text, refused, allowed) in [
            ("$x", Err(Unsendable::Dynamic), Err(Unsendable::Dynamic)),
            ("{a,b}", Err(Unsendable::Dynamic), Err(Unsendable::Dynamic)),
            ("$'a'", Err(Unsendable::Dynamic), Err(Unsendable::Dynamic)),
            ("=a", Err(Unsendable::Dynamic), Err(Unsendable::Dynamic)),
            ("~", Err(Unsendable::Dynamic), Err(Unsendable::Dynamic)),
            ("/l/*.log", Err(Unsendable::Pattern), Ok("'/l/'*'.log'")),
            ("'*'?[!a-c]", Err(Unsendable::Pattern), Ok("'*'?[!a-c]")),
            ("**/x", Err(Unsendable::Pattern), Err(Unsendable::PatternDialect)),
            ("[^a]", Err(Unsendable::Pattern), Err(Unsendable::PatternDialect)),
            ("[[:alpha:]]", Err(Unsendable::Pattern), Err(Unsendable::PatternDialect)),
            ("[a", Err(Unsendable::Pattern), Err(Unsendable::PatternDialect)),
            ("[]a]", Err(Unsendable::Pattern), Err(Unsendable::PatternDialect)),
        ] {
            let written = |patterns| {
                Argument::of(&word(text), patterns).map(|argument| {
                    let mut out = String::new();
                    argument.write(&mut out);
                    out
                })
            };
            assert_eq!(written(Patterns::Refused), refused, "{text}");
            assert_eq!(written(Patterns::Allowed), allowed.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn words_as_long_as_a_line_can_be_read_back() {
        for text in ["a".repeat(32 * 1024), "'\\".repeat(16 * 1024), "é'".repeat(8 * 1024), " ".repeat(32 * 1024)] {
            let line = write(&[pipeline(command("/x", &[&text]), Vec::new(), Then::Sequence)]);
            assert_eq!(read(&line)[0].0[1], text);
            assert!(line.len() <= 3 * text.len() + 8, "{}", line.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            lines in prop::collection::vec(
                (prop::collection::vec(("/[^\\p{C}]{0,8}", prop::collection::vec("([^\\p{C}\u{2800}]|[-'\\\\~=!*$\n\t]){0,12}", 0..4)), 1..4), 0..3_usize),
                1..4,
            )
        ) {
            let visible = |text: &str| text.chars().all(|c| text::fault(c).is_none());
            prop_assume!(lines.iter().flat_map(|(all, _)| all).all(|(p, words)| visible(p) && words.iter().all(|w| visible(w))));
            let mut wanted = Vec::new();
            let mut pipelines = Vec::new();
            for (at, (commands, then)) in lines.iter().enumerate() {
                let mut all = Vec::new();
                for (index, (program, words)) in commands.iter().enumerate() {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    all.push(command(program, &words));
                    let joint = match (index + 1 < commands.len(), at + 1 < lines.len()) {
                        (true, _) => "|",
                        (false, true) => ["&&", "||", ";"][*then],
                        (false, false) => ";",
                    };
                    let argv = [program.as_str()].into_iter().chain(words).map(str::to_owned).collect();
                    wanted.push((argv, joint));
                }
                let first = all.remove(0);
                pipelines.push(pipeline(first, all, [Then::And, Then::Or, Then::Sequence][*then]));
            }
            prop_assert_eq!(read(&write(&pipelines)), wanted);
        }
    }
}
