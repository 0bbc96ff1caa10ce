//! Keys as the menu knows them: those of the line editor, of which it has fewer.
//!
//! Only what fills one column is a character here: a value may have letters of any script that does.

use unicode_width::UnicodeWidthChar;

use crate::editor::keys as typed;
use crate::screen;

/// A key of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A printable character of one column, typed.
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

/// Puts keys together from bytes.
#[derive(Debug, Default)]
pub struct Keys(typed::Keys);

impl Keys {
    /// Takes bytes, and gives the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.0.feed(bytes).into_iter().filter_map(of).collect()
    }

    /// Whether something more may come that belongs to what came last, such as to an ESC.
    pub fn waits(&self) -> bool {
        self.0.waits()
    }

    /// Nothing came after the ESC for a while: it was the key.
    pub fn settle(&mut self) -> Option<Key> {
        self.0.settle().and_then(of)
    }
}

/// Whether a character is shown as it is, in one column: the rows of a menu are measured in characters.
fn is_plain(c: char) -> bool {
    !c.is_control() && screen::shown(c) == c && c.width() == Some(1)
}

/// The menu's key for one of the editor's.
fn of(key: typed::Key) -> Option<Key> {
    Some(match key {
        typed::Key::Char(c) if is_plain(c) => Key::Char(c),
        typed::Key::Pasted(c) if is_plain(c) => Key::Pasted(c),
        typed::Key::Pasted('\t' | '\n') => Key::Pasted(' '),
        typed::Key::Enter => Key::Enter,
        typed::Key::Backspace => Key::Backspace,
        typed::Key::Ctrl('w') => Key::EraseWord,
        typed::Key::Ctrl('u') => Key::EraseAll,
        typed::Key::Escape => Key::Escape,
        typed::Key::Tab => Key::Tab,
        typed::Key::BackTab => Key::BackTab,
        typed::Key::Up | typed::Key::Ctrl('p') => Key::Up,
        typed::Key::Down | typed::Key::Ctrl('n') => Key::Down,
        typed::Key::PageUp => Key::PageUp,
        typed::Key::PageDown => Key::PageDown,
        typed::Key::Home | typed::Key::First => Key::Home,
        typed::Key::End | typed::Key::Last => Key::End,
        typed::Key::Ctrl('l' | 'r') => Key::Again,
        typed::Key::Ctrl('c' | 'd') => Key::Leave,
        typed::Key::Char(_)
        | typed::Key::Pasted(_)
        | typed::Key::PasteBegins
        | typed::Key::PasteEnds
        | typed::Key::Unreadable
        | typed::Key::Ctrl(_)
        | typed::Key::Alt(_)
        | typed::Key::EraseWord
        | typed::Key::Delete
        | typed::Key::DeleteWord
        | typed::Key::Insert
        | typed::Key::Left
        | typed::Key::Right
        | typed::Key::WordLeft
        | typed::Key::WordRight => return None,
    })
}

#[cfg(test)]
mod tests {
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
            ("ä".as_bytes(), Key::Char('ä')),
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
        assert_eq!(keys(b"\x1b[200~x\x03y"), [Key::Pasted('x'), Key::Leave], "a paste without an end");
    }

    #[test]
    fn what_is_no_key_of_the_menu_is_passed_over() {
        for bytes in [
            "\u{4f60}\u{1f600}\u{9b}\u{202e}\u{200b}\u{301}".as_bytes(),
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
}
