//! Lines of an input that is no terminal: `ssh bastion < script`.

use super::{Act, LINE_BYTES_MAX};

/// Takes lines as they are: no byte of them is a key.
#[derive(Debug, Default)]
pub struct Plain {
    line: Vec<u8>,
    /// Whether the line was longer than its bound. The rest of it is dropped, and it is refused.
    spilled: bool,
}

impl Plain {
    /// Takes a byte.
    pub fn byte(&mut self, byte: u8) -> Option<Act> {
        if byte == b'\n' {
            return Some(self.finish());
        }
        if self.line.len() < LINE_BYTES_MAX {
            self.line.push(byte);
        } else {
            self.spilled = true;
        }
        None
    }

    /// The input has ended.
    pub fn end(&mut self) -> Act {
        if self.line.is_empty() && !self.spilled { Act::EndOfInput } else { self.finish() }
    }

    fn finish(&mut self) -> Act {
        let Self { mut line, spilled } = std::mem::take(self);
        if spilled {
            return Act::Refused(String::from("a line of more than 32 KiB"));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        // What is not UTF-8 is not made so: something else would run than was sent.
        String::from_utf8(line).map_or_else(|_| Act::Refused(String::from("a line that is not UTF-8")), Act::Line)
    }
}
