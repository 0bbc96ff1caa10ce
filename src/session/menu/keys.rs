//! Bytes of a terminal's input to keys. Pure, and the same for any split of the bytes.
//!
//! Only what a name can have is a character here, and that is printable ASCII: bytes of UTF-8, whole or cut, and control
//! characters that mean nothing are passed over. An escape sequence is kept to its end and no longer than
//! `SEQUENCE_MAX`; nothing else is kept.

/// A key of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character, typed.
    Char(char),
    /// One that was pasted: it is text, whatever it would do if it were typed.
    Pasted(char),
    /// Return, on whichever part of the keyboard.
    Enter,
    /// One character less.
    Backspace,
    /// One word less.
    EraseWord,
    /// Nothing left.
    EraseAll,
    /// The Escape key.
    Escape,
    /// The next list.
    Tab,
    /// The list before.
    BackTab,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first row.
    Home,
    /// To the last row.
    End,
    /// Ctrl-L or Ctrl-R: draw and look again.
    Again,
    /// Ctrl-C or Ctrl-D.
    Leave,
}

/// A longer escape sequence than any that a key sends is passed over to its end.
const SEQUENCE_MAX: usize = 16;

/// Puts keys together from bytes.
#[derive(Debug, Default)]
pub struct Keys {
    state: State,
    /// Whether what comes is pasted (`CSI 200 ~` to `CSI 201 ~`, as xterm's "bracketed paste").
    pasting: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC: the key itself, or the start of a sequence.
    Escape,
    /// After `ESC O` (SS3).
    Single,
    /// After `ESC [` (CSI; ECMA-48 section 5.4): what came of its parameters, the first `SEQUENCE_MAX` bytes of them.
    Sequence(Vec<u8>),
}

impl Keys {
    /// Takes bytes, and gives the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| self.byte(*byte)).collect()
    }

    /// Whether an ESC waits for what comes after it.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Escape)
    }

    /// Nothing came after the ESC for a while: it was the key.
    pub fn settle(&mut self) -> Option<Key> {
        let waited = self.waits();
        if waited {
            self.state = State::Ground;
        }
        (waited && !self.pasting).then_some(Key::Escape)
    }

    fn byte(&mut self, byte: u8) -> Option<Key> {
        // Whatever is under way: who wants to leave can. A paste without an end must not hold anybody.
        if byte == 0x03 {
            *self = Self::default();
            return Some(Key::Leave);
        }
        match std::mem::take(&mut self.state) {
            State::Ground => self.plain(byte),
            State::Escape => match byte {
                b'[' => {
                    self.state = State::Sequence(Vec::new());
                    None
                }
                b'O' => {
                    self.state = State::Single;
                    None
                }
                0x1b => {
                    self.state = State::Escape;
                    (!self.pasting).then_some(Key::Escape)
                }
                // A key with Alt, which the menu does not know.
                _ => None,
            },
            State::Single => self.typed(match byte {
                b'A' => Some(Key::Up),
                b'B' => Some(Key::Down),
                b'H' => Some(Key::Home),
                b'F' => Some(Key::End),
                b'M' => Some(Key::Enter),
                _ => None,
            }),
            State::Sequence(mut parameters) => match byte {
                // Parameter and intermediate bytes.
                0x20..=0x3f => {
                    if parameters.len() < SEQUENCE_MAX {
                        parameters.push(byte);
                    }
                    self.state = State::Sequence(parameters);
                    None
                }
                0x40..=0x7e => self.sequence(&parameters, byte),
                // No sequence has this: it is broken off here.
                _ => self.plain(byte),
            },
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        if byte == 0x1b {
            self.state = State::Escape;
            return None;
        }
        if self.pasting {
            return match byte {
                b' '..=b'~' => Some(Key::Pasted(char::from(byte))),
                b'\t' | b'\r' | b'\n' => Some(Key::Pasted(' ')),
                _ => None,
            };
        }
        match byte {
            b' '..=b'~' => Some(Key::Char(char::from(byte))),
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x08 | 0x7f => Some(Key::Backspace),
            0x04 => Some(Key::Leave),
            0x0c | 0x12 => Some(Key::Again),
            0x0e => Some(Key::Down),
            0x10 => Some(Key::Up),
            0x15 => Some(Key::EraseAll),
            0x17 => Some(Key::EraseWord),
            _ => None,
        }
    }

    fn sequence(&mut self, parameters: &[u8], last: u8) -> Option<Key> {
        match (parameters, last) {
            (b"200", b'~') => {
                self.pasting = true;
                None
            }
            (b"201", b'~') => {
                self.pasting = false;
                None
            }
            (_, b'A') => self.typed(Some(Key::Up)),
            (_, b'B') => self.typed(Some(Key::Down)),
            (_, b'H') | (b"1" | b"7", b'~') => self.typed(Some(Key::Home)),
            (_, b'F') | (b"4" | b"8", b'~') => self.typed(Some(Key::End)),
            (b"5", b'~') => self.typed(Some(Key::PageUp)),
            (b"6", b'~') => self.typed(Some(Key::PageDown)),
            (_, b'Z') => self.typed(Some(Key::BackTab)),
            _ => None,
        }
    }

    /// A key, unless it is part of a paste.
    fn typed(&self, key: Option<Key>) -> Option<Key> {
        key.filter(|_| !self.pasting)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keys::default().feed(bytes)
    }

    #[test]
    fn keys_are_known_in_every_form_that_terminals_send() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x10", Key::Up),
            (b"\x1b[1;5B", Key::Down),
            (b"\x0e", Key::Down),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1bOF", Key::End),
            (b"\x1b[Z", Key::BackTab),
            (b"\r", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x03", Key::Leave),
            (b"q", Key::Char('q')),
        ] {
            assert_eq!(keys(bytes), [key], "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_escape_is_a_key_when_nothing_follows_it() {
        let mut keys = Keys::default();
        assert_eq!(keys.feed(b"\x1b"), []);
        assert!(keys.waits());
        assert_eq!(keys.settle(), Some(Key::Escape));
        assert_eq!((keys.waits(), keys.settle()), (false, None));
        assert_eq!(keys.feed(b"\x1b\x1b[A"), [Key::Escape, Key::Up]);
        assert_eq!(keys.feed(b"\x1b["), []);
        assert_eq!((keys.waits(), keys.settle()), (false, None), "a sequence that has begun is no key");
        assert_eq!(keys.feed(b"A"), [Key::Up]);
    }

    // What is pasted is looked for; it never chooses, leaves or moves.
    #[test]
    fn a_paste_is_text() {
        let pasted = keys(b"\x1b[200~db1\rq\x1b[A\x1bOM\tx\x04\x1b\x1b[201~\r");
        let text = ['d', 'b', '1', ' ', 'q', ' ', 'x'].map(Key::Pasted);
        assert_eq!(pasted, [&text[..], &[Key::Enter]].concat());
        assert_eq!(keys(b"\x1b[200~x\x03y"), [Key::Pasted('x'), Key::Leave, Key::Char('y')], "a paste without an end");
    }

    #[test]
    fn what_is_no_key_of_the_menu_is_passed_over() {
        for bytes in [
            "\u{e4}\u{4f60}\u{1f600}\u{9b}".as_bytes(),
            b"\xff\xfe\x80\x00\x01",
            b"\x1b[<35;10;20M",
            b"\x1b[I\x1b[O",
            b"\x1bx",
            b"\x1bOP\x1b[11~\x1b[24;2~",
        ] {
            assert_eq!(keys(bytes), [], "{}", bytes.escape_ascii());
        }
        let mut long = b"\x1b[".to_vec();
        long.extend([b'1'; 100_000]);
        long.extend(b"~x");
        assert_eq!(keys(&long), [Key::Char('x')]);
        // Broken off by what no sequence has.
        assert_eq!(keys(b"\x1b[1\r"), [Key::Enter]);
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_keys_and_nothing_is_kept(
            bytes in prop::collection::vec(prop_oneof![
                3 => any::<u8>(),
                2 => prop::sample::select(&b"\x1b[O~;0123456789ABZ\x03\r"[..]),
            ], 0..300),
            at in any::<prop::sample::Index>(),
        ) {
            let (mut whole, mut parts) = (Keys::default(), Keys::default());
            let at = at.index(bytes.len() + 1);
            let all = whole.feed(&bytes);
            let mut split = parts.feed(&bytes[..at]);
            split.extend(parts.feed(&bytes[at..]));
            prop_assert_eq!(all, split);
            if let State::Sequence(kept) = &whole.state {
                prop_assert!(kept.len() <= SEQUENCE_MAX);
            }
        }
    }
}
