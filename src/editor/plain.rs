//! Lines of an input that is no terminal: `ssh bastion < script`.

use super::{Act, LINE_BYTES_MAX};

/// Takes lines as they are: no byte of them is a key.
#[derive(Debug, Default)]
pub struct Plain {
    /// The rest of a line that is longer than the gate reads is dropped, and the line refused there.
    line: Vec<u8>,
}

impl Plain {
    /// Takes a byte.
    pub fn byte(&mut self, byte: u8) -> Option<Act> {
        if byte == b'\n' {
            return Some(self.finish());
        }
        // One more than the gate reads, by which it knows that there were more.
        if self.line.len() <= LINE_BYTES_MAX {
            self.line.push(byte);
        }
        None
    }

    /// The input has ended.
    pub fn end(&mut self) -> Act {
        if self.line.is_empty() { Act::EndOfInput } else { self.finish() }
    }

    fn finish(&mut self) -> Act {
        let Self { mut line } = std::mem::take(self);
        if line.len() <= LINE_BYTES_MAX && line.last() == Some(&b'\r') {
            line.pop();
        }
        // What is not UTF-8 is not made so: something else would run than was sent.
        match String::from_utf8(line) {
            Ok(line) if line.len() <= LINE_BYTES_MAX => Act::Line(line),
            Ok(line) => Act::Unfit(line.into_bytes()),
            Err(error) => Act::Unfit(error.into_bytes()),
        }
    }
}
