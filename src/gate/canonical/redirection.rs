//! Redirections that every shell does alike: one file or one other stream for each of a program's three, by full paths.

use super::{Unsendable, quote, sendable};
use crate::gate::shell::tree::{Redirection, RedirectionKind};

/// Where one stream of a program comes from or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalRedirection {
    stream: Stream,
    to: To,
}

/// A stream of a program, by its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    /// 0.
    Input,
    /// 1.
    Output,
    /// 2.
    Errors,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum To {
    /// Read from, written anew, or appended to.
    // INVARIANT: a full path without `.` and `..`, and of devices only `/dev/null`.
    File { path: String, append: bool },
    /// Where this one goes at that moment: output or errors.
    Stream(Stream),
}

impl CanonicalRedirection {
    /// A redirection that was judged.
    ///
    /// # Errors
    /// `Unsendable` if shells do not do it alike, if it is about another descriptor than 0, 1 and 2, or about a device: bash
    /// and ksh connect to a machine for some names below `/dev`.
    pub fn of(redirection: &Redirection) -> Result<Self, Unsendable> {
        const KIND: Unsendable = Unsendable::Redirection("other than < FILE, > FILE, >> FILE and 2>&1");
        if redirection.errors_too {
            return Err(Unsendable::Redirection("of two streams at once: write > FILE 2>&1"));
        }
        let text = redirection.word.literal().ok_or(Unsendable::Dynamic)?;
        let stream = match (redirection.kind, redirection.descriptor.as_deref()) {
            (RedirectionKind::Read, None | Some("0")) => Stream::Input,
            (RedirectionKind::Write | RedirectionKind::Append, None | Some("1")) => Stream::Output,
            (RedirectionKind::Write | RedirectionKind::Append, Some("2")) => Stream::Errors,
            (RedirectionKind::Duplicate, Some("1")) if text == "2" => {
                return Ok(Self::copy(Stream::Output, Stream::Errors));
            }
            (RedirectionKind::Duplicate, Some("2")) if text == "1" => {
                return Ok(Self::copy(Stream::Errors, Stream::Output));
            }
            (
                RedirectionKind::Read
                | RedirectionKind::Write
                | RedirectionKind::Append
                | RedirectionKind::ReadWrite
                | RedirectionKind::Duplicate
                | RedirectionKind::HereDocument
                | RedirectionKind::HereString,
                _,
            ) => return Err(KIND),
        };
        let append = redirection.kind == RedirectionKind::Append;
        Ok(Self { stream, to: To::File { path: file(&text)?, append } })
    }

    fn copy(stream: Stream, of: Stream) -> Self {
        Self { stream, to: To::Stream(of) }
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    pub(super) fn write(&self, out: &mut String) {
        out.push_str(match (self.stream, &self.to) {
            (Stream::Errors, To::Stream(_)) => "2>&1",
            (Stream::Input | Stream::Output, To::Stream(_)) => "1>&2",
            (Stream::Input, To::File { .. }) => "<",
            (Stream::Output, To::File { append: false, .. }) => ">",
            (Stream::Output, To::File { append: true, .. }) => ">>",
            (Stream::Errors, To::File { append: false, .. }) => "2>",
            (Stream::Errors, To::File { append: true, .. }) => "2>>",
        });
        if let To::File { path, .. } = &self.to {
            out.push(' ');
            quote(path, out);
        }
    }
}

/// A full path, written in the one way.
fn file(text: &str) -> Result<String, Unsendable> {
    if !text.starts_with('/') {
        return Err(Unsendable::Redirection("to a file that is no full path"));
    }
    let parts: Vec<&str> = sendable(text)?.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) || text.ends_with('/') {
        return Err(Unsendable::Redirection("to a path with `.`, `..` or `/` at its end"));
    }
    if parts.first() == Some(&"dev") && parts != ["dev", "null"] {
        return Err(Unsendable::Redirection("to a device"));
    }
    Ok(parts.iter().map(|part| format!("/{part}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::canonical::{Argument, CanonicalCommand, CanonicalPipeline, Then, write};
    use crate::gate::shell::parse_unbounded;
    use crate::gate::shell::tree::{Command, Simple};

    fn commands(text: &str) -> Vec<Simple> {
        let entry = parse_unbounded(text).unwrap().entries.remove(0);
        let simple = |command| match command {
            Command::Simple(simple) => simple,
            Command::Compound(compound) => panic!("{compound:?}"),
        };
        entry.pipeline.commands.into_iter().map(|piped| simple(piped.command)).collect()
    }

    fn written(text: &str) -> Result<String, Unsendable> {
        let one = |command: Simple| {
            let redirections: Result<Vec<_>, _> = command.redirections.iter().map(CanonicalRedirection::of).collect();
            CanonicalCommand::new("/x", vec![Argument::text("a")?])?.redirected(redirections?)
        };
        let mut all = commands(text).into_iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = all.next().unwrap();
        Ok(write(&[CanonicalPipeline::new(first, all.collect(), Then::Sequence)?]))
    }

    #[test]
    fn redirections_that_all_shells_do_alike_are_written_and_others_are_not() {
        for (text, wanted) in [
            ("x < /a", "'/x' 'a' < '/a'"),
            ("x 0</a>/b", "'/x' 'a' < '/a' > '/b'"),
            ("x >>/a//b 2>&1", "'/x' 'a' >> '/a/b' 2>&1"),
            ("x 2>&1 >'/a b'", "'/x' 'a' 2>&1 > '/a b'"),
            ("2>/dev/null x", "'/x' 'a' 2> '/dev/null'"),
            ("x 2>>/a'$b'", "'/x' 'a' 2>> '/a$b'"),
            ("x >&2", "'/x' 'a' 1>&2"),
            ("x 2>&1 | x < /dev/null", "refused"),
            ("x < /a 2>&1 | x 2>/b | x >/c", "'/x' 'a' < '/a' 2>&1 | '/x' 'a' 2> '/b' | '/x' 'a' > '/c'"),
        ] {
            assert_eq!(written(text).unwrap_or_else(|_| String::from("refused")), wanted, "{text}");
        }
        for text in [
            "x > a",
            "x > /a/../b",
            "x > /a/.",
            "x > /a/",
            "x > \"$y\"",
            "x > /a > /b",
            "x 2>&1 2>/a",
            "x < /a < /b",
            "x &> /a",
            "x &>> /a",
            "x >& /a",
            "x <> /a",
            "x <&2",
            "x 3> /a",
            "x 1>&-",
            "x 2>&3",
            "x 2>&2",
            "x <<< a",
            "x <<E\nE",
            "x > /dev/tcp/h/1",
            "x < //dev/udp/h/1",
            "x > /dev/stdout",
            "x > /dev",
            "x > /a | x",
            "x 1>&2 | x",
            "x | x < /a",
            "x > /a'\u{202e}'",
        ] {
            let refused = written(text);
            assert!(refused.is_err(), "{text}: {refused:?}");
        }
    }
}
