//! What is typed at a program that has no terminal: in lines, and echoed, as a terminal in its usual mode does it. Pure.

/// A longer line is not taken, as by a terminal of Linux (`N_TTY_BUF_SIZE`).
const LINE_BYTES_MAX: usize = 4096;

/// What is typed.
#[derive(Debug, Default)]
pub struct Cooked {
    line: Vec<u8>,
    state: State,
    /// The last byte was a carriage return: a line feed belongs to it.
    returned: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// In a sequence that a key sends.
    Sequence,
}

/// What comes of a byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Nothing.
    Nothing,
    /// This is shown.
    Shown(Vec<u8>),
    /// A line for the program; its end is shown.
    Line(Vec<u8>),
    /// What there is for the program, without a line's end; nothing is the end of its input.
    Flush(Vec<u8>),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
}

impl Cooked {
    /// Takes a byte.
    pub fn byte(&mut self, byte: u8) -> Typed {
        let returned = std::mem::replace(&mut self.returned, byte == b'\r');
        // Whatever is under way.
        if byte == 0x03 {
            *self = Self::default();
            return Typed::Interrupt;
        }
        match std::mem::take(&mut self.state) {
            State::Escape => {
                if matches!(byte, b'[' | b'O') {
                    self.state = State::Sequence;
                }
                return Typed::Nothing;
            }
            State::Sequence => {
                if matches!(byte, 0x20..=0x3f) {
                    self.state = State::Sequence;
                }
                return Typed::Nothing;
            }
            State::Ground => {}
        }
        match byte {
            b'\n' if returned => Typed::Nothing,
            b'\r' | b'\n' => {
                let mut line = std::mem::take(&mut self.line);
                line.push(b'\n');
                Typed::Line(line)
            }
            0x04 => Typed::Flush(std::mem::take(&mut self.line)),
            0x1a => Typed::Suspend,
            0x1b => {
                self.state = State::Escape;
                Typed::Nothing
            }
            0x08 | 0x7f => self.erase(),
            0x15 => {
                let mut shown = Vec::new();
                while let Typed::Shown(erased) = self.erase() {
                    shown.extend(erased);
                }
                Typed::Shown(shown)
            }
            0x00..=0x1f if byte != b'\t' => Typed::Nothing,
            _ if self.line.len() >= LINE_BYTES_MAX => Typed::Shown(vec![0x07]),
            _ => {
                self.line.push(byte);
                Typed::Shown(vec![byte])
            }
        }
    }

    /// Whether nothing is typed of a line that has no end yet.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// What is typed of a line that has no end yet.
    pub fn rest(self) -> Vec<u8> {
        self.line
    }

    fn erase(&mut self) -> Typed {
        loop {
            match self.line.pop() {
                None => return Typed::Nothing,
                // In the middle of a character (RFC 3629 section 3).
                Some(0x80..=0xbf) => {}
                Some(_) => return Typed::Shown(b"\x08 \x08".to_vec()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(bytes: &[u8]) -> (Vec<String>, String) {
        let mut cooked = Cooked::default();
        let line = |typed| match typed {
            Typed::Line(line) | Typed::Flush(line) => Some(String::from_utf8_lossy(&line).into_owned()),
            Typed::Interrupt => Some(String::from("^C")),
            Typed::Suspend => Some(String::from("^Z")),
            Typed::Nothing | Typed::Shown(_) => None,
        };
        let told = bytes.iter().filter_map(|byte| line(cooked.byte(*byte))).collect();
        (told, String::from_utf8_lossy(&cooked.rest()).into_owned())
    }

    #[test]
    fn a_program_without_a_terminal_reads_lines_as_they_were_when_enter_was_pressed() {
        assert_eq!(lines(b"ab\x7fc\r\ndef\n"), (vec!["ac\n".into(), "def\n".into()], String::new()));
        assert_eq!(lines("xä\u{7f}\u{15}y\r".as_bytes()), (vec!["y\n".into()], String::new()));
        assert_eq!(lines(b"\x1b[A\x1bOB\x1b[1;5Cx\x01\rhalf"), (vec!["x\n".into()], "half".into()));
        assert_eq!(lines(b"a\x04\x04"), (vec!["a".into(), String::new()], String::new()));
        assert_eq!(lines(b"secret\x03\x1aid"), (vec!["^C".into(), "^Z".into()], "id".into()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut cooked = Cooked::default();
            for byte in bytes.iter().cycle().take(10_000) {
                let _ = cooked.byte(*byte);
                prop_assert!(cooked.line.len() <= LINE_BYTES_MAX);
            }
        }
    }
}
