//! Bytes of a terminal's input to keys. Pure, and the same for any split of the bytes.
//!
//! Escape sequences are taken to their end and kept no longer than `SEQUENCE_MAX`: those of keys in the forms of xterm, rxvt,
//! the Linux console and the "application" modes, and what terminals answer to questions (OSC, DCS and their like), which
//! is passed over whole: an answer that a program asked for before it ended must not be typed into a line.

/// A key, or a piece of what was pasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character, typed. No control character.
    Char(char),
    /// One that was pasted: it is text, whatever it would do if it were typed. A line end is `\n`, however it came.
    Pasted(char),
    /// A paste begins (`CSI 200 ~`).
    PasteBegins,
    /// It has ended (`CSI 201 ~`).
    PasteEnds,
    /// Bytes that are not UTF-8, or in a paste a control character.
    Unreadable,
    /// A letter or one of `@ \ ] ^ _` with Ctrl.
    Ctrl(char),
    /// A character with Alt, or behind ESC; `\r` is Enter.
    Alt(char),
    /// Return, on whichever part of the keyboard.
    Enter,
    /// Tab.
    Tab,
    /// Tab with Shift.
    BackTab,
    /// Backspace.
    Backspace,
    /// Backspace with Alt.
    EraseWord,
    /// Delete.
    Delete,
    /// Delete with Ctrl or Alt.
    DeleteWord,
    /// Insert.
    Insert,
    /// The Escape key.
    Escape,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Left with Ctrl or Alt.
    WordLeft,
    /// Right with Ctrl or Alt.
    WordRight,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Home with Ctrl.
    First,
    /// End with Ctrl.
    Last,
}

/// A longer escape sequence than any that a key sends is passed over to its end.
const SEQUENCE_MAX: usize = 16;

/// Puts keys together from bytes.
#[derive(Debug, Default)]
pub struct Keys {
    state: State,
    paste: Paste,
    /// The start of a character of UTF-8. INVARIANT: at most 3 bytes between calls.
    begun: Vec<u8>,
    /// Whether the last byte of a paste was a CR, so that an LF belongs to it.
    after_cr: bool,
}

/// Whether what comes is pasted (`CSI 200 ~` to `CSI 201 ~`, as xterm's "bracketed paste").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Paste {
    #[default]
    No,
    Taken,
    /// Ctrl-C came in it. The rest is dropped, up to its end or until nothing more comes: with a Ctrl-C hidden in a text
    /// that somebody copies, what follows must not count as typed.
    Dropped,
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
    /// So many bytes still belong to a sequence that has no end of its own: the mouse's of X10, the console's `ESC [ [ A`.
    Counted(u8),
    /// After `ESC ]` and its like (ECMA-48 section 5.6): up to ST or BEL.
    Text,
    /// After ESC in that.
    TextEscape,
}

/// What a byte completes: mostly one key, two where it also breaks off a character.
pub type Completed = [Option<Key>; 2];

impl Keys {
    /// Takes bytes, and gives the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().flat_map(|byte| self.byte(*byte)).flatten().collect()
    }

    /// Takes a byte.
    pub fn byte(&mut self, byte: u8) -> Completed {
        if byte < 0x80 {
            let broken = (!self.begun.is_empty()).then_some(Key::Unreadable);
            self.begun.clear();
            return [broken.filter(|_| self.paste != Paste::Dropped), self.ascii(byte)];
        }
        match std::mem::take(&mut self.state) {
            State::Ground | State::Escape | State::Single | State::Sequence(_) => {}
            State::Counted(left) => {
                self.count(left);
                return [None, None];
            }
            // Titles and names in answers may be UTF-8.
            State::Text | State::TextEscape => {
                self.state = State::Text;
                return [None, None];
            }
        }
        self.after_cr = false;
        self.begun.push(byte);
        match std::str::from_utf8(&self.begun) {
            Ok(text) => {
                let key = text.chars().next().map(|c| self.character(c));
                self.begun.clear();
                [key.flatten(), None]
            }
            Err(error) if error.error_len().is_none() => [None, None],
            Err(_) => {
                // Either this byte begins nothing, or it breaks off what was begun and may begin another.
                let again = self.begun.len() > 1;
                self.begun.clear();
                let broken = Some(Key::Unreadable).filter(|_| self.paste != Paste::Dropped);
                if !again {
                    return [broken, None];
                }
                let [first, _] = self.byte(byte);
                [broken, first]
            }
        }
    }

    /// Whether what came last may be all, or has an end that may never come: after a while without bytes `settle` is due.
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Escape | State::Text | State::TextEscape | State::Counted(_))
            || self.paste == Paste::Dropped
    }

    /// Nothing came for a while. After an ESC: it was the key.
    pub fn settle(&mut self) -> Option<Key> {
        if !self.waits() {
            return None;
        }
        if self.paste == Paste::Dropped {
            self.paste = Paste::No;
        }
        match (std::mem::take(&mut self.state), self.paste) {
            (State::Escape, Paste::No) => Some(Key::Escape),
            (State::Escape, Paste::Taken | Paste::Dropped) => Some(Key::Unreadable),
            (
                State::Ground
                | State::Single
                | State::Sequence(_)
                | State::Counted(_)
                | State::Text
                | State::TextEscape,
                _,
            ) => None,
        }
    }

    /// Whether a paste has begun and not ended.
    pub fn pastes(&self) -> bool {
        self.paste != Paste::No
    }

    fn ascii(&mut self, byte: u8) -> Option<Key> {
        // Whatever is under way: who wants to leave can. A paste without an end must not hold anybody.
        if byte == 0x03 {
            self.paste = if self.paste == Paste::No { Paste::No } else { Paste::Dropped };
            (self.state, self.after_cr) = (State::Ground, false);
            return Some(Key::Ctrl('c'));
        }
        match std::mem::take(&mut self.state) {
            State::Ground => self.plain(byte),
            State::Escape => self.escaped(byte),
            State::Single => self.single(byte),
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
            State::Counted(left) => {
                self.count(left);
                None
            }
            State::Text => {
                self.state = match byte {
                    // BEL, CAN and SUB end it.
                    0x07 | 0x18 | 0x1a => State::Ground,
                    0x1b => State::TextEscape,
                    _ => State::Text,
                };
                None
            }
            State::TextEscape if byte == b'\\' => None,
            State::TextEscape => self.escaped(byte),
        }
    }

    fn count(&mut self, left: u8) {
        if left > 1 {
            self.state = State::Counted(left.saturating_sub(1));
        }
    }

    fn escaped(&mut self, byte: u8) -> Option<Key> {
        let typed = self.paste == Paste::No;
        match byte {
            b'[' => self.state = State::Sequence(Vec::new()),
            b'O' => self.state = State::Single,
            // OSC, DCS, APC, PM and SOS.
            b']' | b'P' | b'_' | b'^' | b'X' if typed => self.state = State::Text,
            0x1b => {
                self.state = State::Escape;
                return self.instead(Key::Escape);
            }
            0x08 | 0x7f => return self.instead(Key::EraseWord),
            b'\r' | b'\n' => return self.instead(Key::Alt('\r')),
            b' '..=b'~' => return self.instead(Key::Alt(char::from(byte))),
            _ => return self.plain(byte),
        }
        None
    }

    /// A key; in a paste something that no text has.
    fn instead(&self, key: Key) -> Option<Key> {
        match self.paste {
            Paste::No => Some(key),
            Paste::Taken => Some(Key::Unreadable),
            Paste::Dropped => None,
        }
    }

    fn character(&mut self, c: char) -> Option<Key> {
        match self.paste {
            Paste::Dropped => None,
            Paste::No | Paste::Taken if c.is_control() => Some(Key::Unreadable),
            Paste::No => Some(Key::Char(c)),
            Paste::Taken => Some(Key::Pasted(c)),
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        let after_cr = std::mem::take(&mut self.after_cr);
        if byte == 0x1b {
            self.state = State::Escape;
            return None;
        }
        match self.paste {
            Paste::Dropped => return None,
            Paste::Taken => {
                self.after_cr = byte == b'\r';
                return match byte {
                    b'\n' if after_cr => None,
                    b'\r' | b'\n' => Some(Key::Pasted('\n')),
                    b'\t' | b' '..=b'~' => Some(Key::Pasted(char::from(byte))),
                    _ => Some(Key::Unreadable),
                };
            }
            Paste::No => {}
        }
        Some(match byte {
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            0x08 | 0x7f => Key::Backspace,
            0x00 => Key::Ctrl('@'),
            0x01..=0x1a => Key::Ctrl(char::from(byte | 0x60)),
            0x1c..=0x1f => Key::Ctrl(char::from(byte | 0x40)),
            _ => Key::Char(char::from(byte)),
        })
    }

    fn single(&mut self, byte: u8) -> Option<Key> {
        if self.paste != Paste::No {
            return self.instead(Key::Unreadable);
        }
        let key = match byte {
            // Old terminals put the modifier here.
            b'0'..=b'9' | b';' => {
                self.state = State::Single;
                return None;
            }
            b'A' => Key::Up,
            b'B' => Key::Down,
            b'C' => Key::Right,
            b'D' => Key::Left,
            b'H' => Key::Home,
            b'F' => Key::End,
            b'M' => Key::Enter,
            // rxvt's arrows with Ctrl.
            b'c' => Key::WordRight,
            b'd' => Key::WordLeft,
            // The keypad's "application" mode, which a program may have left on.
            b'j'..=b'y' => Key::Char(char::from(byte.wrapping_sub(b'@'))),
            0x00..=0x1f => return self.plain(byte),
            _ => return None,
        };
        Some(key)
    }

    fn sequence(&mut self, parameters: &[u8], last: u8) -> Option<Key> {
        match (parameters, last) {
            (b"200", b'~') => {
                let before = std::mem::replace(&mut self.paste, Paste::Taken);
                self.after_cr = false;
                return match before {
                    Paste::No => Some(Key::PasteBegins),
                    Paste::Taken => Some(Key::Unreadable),
                    Paste::Dropped => {
                        self.paste = Paste::Dropped;
                        None
                    }
                };
            }
            (b"201", b'~') => {
                let before = std::mem::take(&mut self.paste);
                self.after_cr = false;
                return (before == Paste::Taken).then_some(Key::PasteEnds);
            }
            _ => {}
        }
        if self.paste != Paste::No {
            return self.instead(Key::Unreadable);
        }
        // The modifier stands behind a `;`, as 1 + 1 for Shift, 2 for Alt, 4 for Ctrl.
        let modified = parameters.split(|byte| *byte == b';').nth(1);
        let by_word = matches!(modified, Some(b"3" | b"4" | b"5" | b"6" | b"7" | b"8"));
        let number = parameters.split(|byte| *byte == b';').next().unwrap_or_default();
        let key = match (number, last) {
            (b"", b'[') => {
                self.state = State::Counted(1);
                return None;
            }
            (b"", b'M') => {
                self.state = State::Counted(3);
                return None;
            }
            (_, b'A') => Key::Up,
            (_, b'B') => Key::Down,
            (_, b'C') if by_word => Key::WordRight,
            (_, b'C') => Key::Right,
            (_, b'D') if by_word => Key::WordLeft,
            (_, b'D') => Key::Left,
            (_, b'H') | (b"1" | b"7", b'~') if by_word => Key::First,
            (_, b'F') | (b"4" | b"8", b'~') if by_word => Key::Last,
            (_, b'H') | (b"1" | b"7", b'~' | b'$') => Key::Home,
            (_, b'F') | (b"4" | b"8", b'~' | b'$') => Key::End,
            (b"7", b'^') => Key::First,
            (b"8", b'^') => Key::Last,
            (b"2", b'~') => Key::Insert,
            (b"3", b'~') if by_word => Key::DeleteWord,
            (b"3", b'^') => Key::DeleteWord,
            (b"3", b'~') => Key::Delete,
            (b"5", b'~') => Key::PageUp,
            (b"6", b'~') => Key::PageDown,
            (_, b'Z') => Key::BackTab,
            _ => return None,
        };
        Some(key)
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
            (b"\x1b[1;5A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[C", Key::Right),
            (b"\x1b[D", Key::Left),
            (b"\x1b[1;5C", Key::WordRight),
            (b"\x1b[1;3D", Key::WordLeft),
            (b"\x1bOc", Key::WordRight),
            (b"\x1bOd", Key::WordLeft),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[7~", Key::Home),
            (b"\x1bOH", Key::Home),
            (b"\x1b[F", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[8~", Key::End),
            (b"\x1bOF", Key::End),
            (b"\x1b[1;5H", Key::First),
            (b"\x1b[8^", Key::Last),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[3;5~", Key::DeleteWord),
            (b"\x1b[2~", Key::Insert),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6~", Key::PageDown),
            (b"\x1b[Z", Key::BackTab),
            (b"\x1bb", Key::Alt('b')),
            (b"\x1b\x7f", Key::EraseWord),
            (b"\x1b\r", Key::Alt('\r')),
            (b"\x1bOM", Key::Enter),
            (b"\x1bOp", Key::Char('0')),
            (b"\x1bOk", Key::Char('+')),
            (b"\r", Key::Enter),
            (b"\n", Key::Enter),
            (b"\x7f", Key::Backspace),
            (b"\x01", Key::Ctrl('a')),
            (b"\x1f", Key::Ctrl('_')),
            (b"\x00", Key::Ctrl('@')),
            ("\u{e4}".as_bytes(), Key::Char('\u{e4}')),
            ("\u{1f600}".as_bytes(), Key::Char('\u{1f600}')),
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

    #[test]
    fn what_terminals_answer_is_not_typed() {
        for bytes in [
            &b"\x1b]11;rgb:0000/0000/0000\x07"[..],
            b"\x1b]lrm -rf /\r\x1b\\",
            b"\x1bP1$r0m\r\n\x1b\\",
            b"\x1b]0;\xc3\xa4\xff\x07",
            b"\x1b[?62;22c",
            b"\x1b[24;80R",
            b"\x1b[<35;10;20M",
            b"\x1b[M !!",
            b"\x1b[[A",
            b"\x1b[I\x1b[O",
            b"\x1bOP\x1b[11~\x1b[24;2~",
        ] {
            let mut keys = Keys::default();
            assert_eq!(keys.feed(bytes), [], "{}", bytes.escape_ascii());
            assert_eq!(keys.feed(b"x"), [Key::Char('x')], "{}", bytes.escape_ascii());
        }
        // One that never ends.
        let mut keys = Keys::default();
        assert_eq!(keys.feed(b"\x1b]abc"), []);
        assert!(keys.waits());
        assert_eq!((keys.settle(), keys.feed(b"x")), (None, vec![Key::Char('x')]));
        let mut long = b"\x1b[".to_vec();
        long.extend([b'1'; 100_000]);
        long.extend(b"~x");
        assert_eq!(keys.feed(&long), [Key::Char('x')]);
        assert_eq!(keys.feed(b"\x1b[1\r"), [Key::Enter], "broken off by what no sequence has");
    }

    #[test]
    fn a_paste_is_text() {
        let text = |text: &str| text.chars().map(Key::Pasted).collect::<Vec<_>>();
        let around = |inside: &[Key]| [&[Key::PasteBegins], inside, &[Key::PasteEnds, Key::Enter]].concat();
        assert_eq!(keys("\x1b[200~a\rb\r\nc\nd\t\u{e4}\x1b[201~\r".as_bytes()), around(&text("a\nb\nc\nd\t\u{e4}")));
        for control in [&b"\x1b[A"[..], b"\x1bOM", b"\x04", b"\x1bx", b"\x1b[200~", b"\xff"] {
            let pasted = keys(&[b"\x1b[200~", control, b"\x1b[201~\r"].concat());
            assert!(pasted.contains(&Key::Unreadable), "{}: {pasted:?}", control.escape_ascii());
            assert!(pasted.ends_with(&[Key::PasteEnds, Key::Enter]), "{}: {pasted:?}", control.escape_ascii());
        }
        assert_eq!(keys(b"\x1b[200~\x1b]x\x1b[201~x").last(), Some(&Key::Char('x')));
    }

    // Somebody copies a text with a Ctrl-C in it: what follows is no more typed than what came before.
    #[test]
    fn ctrl_c_leaves_a_paste_and_what_is_left_of_it_is_dropped() {
        let mut keys = Keys::default();
        let begun = keys.feed(b"\x1b[200~x\x03rm -rf /\r\x1bb\xff");
        assert_eq!(begun, [Key::PasteBegins, Key::Pasted('x'), Key::Ctrl('c')]);
        assert_eq!(keys.feed(b"\x03"), [Key::Ctrl('c')]);
        assert_eq!(keys.feed(b"y\x1b[201~z"), [Key::Char('z')]);
        assert_eq!(keys.feed(b"\x1b[200~\x03a"), [Key::PasteBegins, Key::Ctrl('c')]);
        assert!(keys.waits());
        assert_eq!((keys.settle(), keys.feed(b"b")), (None, vec![Key::Char('b')]), "its end never came");
    }

    #[test]
    fn bytes_that_are_no_characters_are_told() {
        use Key::{Char, Enter, Unreadable};
        assert_eq!(
            keys(b"\xffa\xc3\r\x80\xc3\xe4\xbd\xa0"),
            [Unreadable, Char('a'), Unreadable, Enter, Unreadable, Unreadable, Char('\u{4f60}')]
        );
        assert_eq!(keys("\u{9b}x".as_bytes()), [Unreadable, Char('x')]);
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_keys_and_nothing_is_kept(
            bytes in prop::collection::vec(prop_oneof![
                3 => any::<u8>(),
                3 => prop::sample::select(&b"\x1b[O~;0123456789ABMZ]P\\\x07\x03\r\xc3\xa4"[..]),
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
            prop_assert!(whole.begun.len() <= 3);
        }
    }
}
