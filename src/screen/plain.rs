//! The output of a channel without a terminal, as lines of text.

use crate::model::Output;

use super::chars::{Decoder, shown};

/// What stands at the start of each line of standard error.
pub const STDERR_MARK: &str = "stderr: ";

/// Writes both outputs of a program as one text that is safe to show.
///
/// Line ends and tabs stay; a carriage return starts a new line; other control characters are written as
/// `^[`, as `cat -v` does. Lines of standard error start with [`STDERR_MARK`]. The target can print that mark on
/// its standard output as well: who must tell the two apart exports `raw`.
#[derive(Debug, Default)]
pub struct Plain {
    stdout: Decoder,
    stderr: Decoder,
    now: Option<Output>,
    at_line_start: LineStart,
    after_return: bool,
}

#[derive(Debug, Default, PartialEq)]
enum LineStart {
    #[default]
    Yes,
    No,
}

impl Plain {
    /// Appends the text of `bytes` to `out`.
    pub fn push(&mut self, output: Output, bytes: &[u8], out: &mut String) {
        let text = match output {
            Output::Stdout => self.stdout.decode(bytes),
            Output::Stderr => self.stderr.decode(bytes),
        };
        self.text(output, &text, out);
    }

    /// Appends a line of our own, such as a note on bytes that were not kept.
    pub fn note(&mut self, note: &str, out: &mut String) {
        self.break_line(out);
        out.extend(note.chars().map(shown));
        out.push('\n');
    }

    /// Appends what is left when no more bytes come.
    pub fn finish(&mut self, out: &mut String) {
        let rest = self.stdout.finish();
        self.text(Output::Stdout, rest, out);
        let rest = self.stderr.finish();
        self.text(Output::Stderr, rest, out);
        self.break_line(out);
    }

    fn text(&mut self, output: Output, text: &str, out: &mut String) {
        if text.is_empty() {
            return;
        }
        if self.now != Some(output) {
            self.break_line(out);
            self.now = Some(output);
        }
        for c in text.chars() {
            // `\r\n` is one line end.
            if std::mem::take(&mut self.after_return) && c == '\n' {
                continue;
            }
            if self.at_line_start == LineStart::Yes && output == Output::Stderr {
                out.push_str(STDERR_MARK);
            }
            self.at_line_start = LineStart::No;
            match c {
                '\n' | '\r' => {
                    self.after_return = c == '\r';
                    out.push('\n');
                    self.at_line_start = LineStart::Yes;
                }
                '\t' => out.push(c),
                '\0'..='\u{1f}' | '\u{7f}' => {
                    out.push('^');
                    out.push(char::from_u32(u32::from(c) ^ 0x40).unwrap_or('?'));
                }
                other => out.push(shown(other)),
            }
        }
    }

    fn break_line(&mut self, out: &mut String) {
        if self.at_line_start == LineStart::No {
            out.push('\n');
            self.at_line_start = LineStart::Yes;
        }
        self.after_return = false;
    }
}
