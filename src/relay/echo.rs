//! Which keystrokes may be recorded: those that the target has echoed.
//!
//! A bastion cannot see whether the target's terminal echoes. So a character is known not to be a password only once
//! the target has sent it back. What is not sent back within a second is recorded as `[redacted]`, as one, so that
//! its length is not told either; only the bytes of a whole channel are counted. Keys that stand for no character - Ctrl-E, Backspace, Tab, arrows, the brackets
//! around a paste - are no part of a password, have no echo of their own, and are recorded as they are.
//!
//! Pure: bytes and times come in as arguments.
//!
//! What this does not guard against: a target that echoes passwords. And what the target prints by itself, at the
//! very moment at which a password is typed, is taken for an echo if all of what it prints, or all of what was typed,
//! is the same. In doubt a keystroke is redacted, such as one whose echo comes amid other output: what was echoed can
//! be read in the output all the same.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// An echo comes within so long.
const ECHO_WITHIN: Duration = Duration::from_secs(1);
/// So many bytes wait to be echoed; what is typed beyond them is redacted at once.
const WAITING_MAX: usize = 64 * 1024;

/// What follows ESC `[` in a longer sequence, in bytes, is none that a key sends.
const KEY_BYTES_MAX: usize = 16;

/// Keystrokes that wait to be echoed.
#[derive(Debug, Default)]
pub struct Echo {
    waiting: VecDeque<(Duration, Key)>,
    /// What `waiting` holds, in bytes.
    bytes: usize,
    /// Something was redacted, and no character was recorded since.
    redacted: bool,
    /// In the middle of an escape sequence of the target's.
    escape: Escape,
}

#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// A byte of a character, or Return.
    Character(u8),
    /// A key that stands for no character, as its terminal sent it.
    Function(Vec<u8>),
}

impl Key {
    fn len(&self) -> usize {
        match self {
            Self::Character(_) => 1,
            Self::Function(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// In a sequence that ends with a byte from `@` to `~` (ECMA-48 section 5.4).
    Control,
    /// In a string that ends with BEL or ESC `\` (ECMA-48 section 5.6).
    String,
    /// After a backspace that a blank may follow.
    Back,
    /// After a backspace and a blank: another backspace, and a character was wiped out.
    Wiped,
}

/// What of the input is recorded now.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Keystrokes that were echoed.
    Keys(Vec<u8>),
    /// Keystrokes that were not, however many.
    Redacted,
}

impl Echo {
    /// The user has typed.
    pub fn typed(&mut self, bytes: &[u8], now: Duration) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (key, after) = next_key(rest);
            rest = after;
            if self.bytes.saturating_add(key.len()) > WAITING_MAX {
                heard.extend(self.redact());
                break;
            }
            self.bytes = self.bytes.saturating_add(key.len());
            self.waiting.push_back((now, key));
        }
        self.release(0, &mut heard);
        heard
    }

    /// The target has printed. What was typed too long ago is redacted first.
    pub fn printed(&mut self, bytes: &[u8], now: Duration) -> Vec<Heard> {
        let mut heard = self.overdue(now);
        let shown = self.visible(bytes);
        let typed: Vec<u8> = self.characters().collect();
        let same = shown.iter().zip(&typed).take_while(|(shown, typed)| is_echo(**shown, **typed)).count();
        // A target that prints by itself seldom prints just what was typed; one that echoes prints just that, or
        // that and what comes of it.
        if same > 0 && (same == shown.len() || same == typed.len()) {
            self.redacted = false;
            self.release(same, &mut heard);
        }
        heard
    }

    fn characters(&self) -> impl Iterator<Item = u8> {
        self.waiting.iter().filter_map(|(_, key)| match key {
            Key::Character(byte) => Some(*byte),
            Key::Function(_) => None,
        })
    }

    /// When [`overdue`](Self::overdue) next has something to say.
    pub fn due_at(&self) -> Option<Duration> {
        self.waiting.front().map(|(at, _)| at.saturating_add(ECHO_WITHIN))
    }

    /// What was typed and has not been echoed in time.
    pub fn overdue(&mut self, now: Duration) -> Vec<Heard> {
        let mut heard = Vec::new();
        while self.waiting.front().is_some_and(|(at, _)| at.saturating_add(ECHO_WITHIN) <= now) {
            self.pop();
            heard.extend(self.redact());
            self.release(0, &mut heard);
        }
        heard
    }

    /// The channel is over: what waits will not be echoed.
    pub fn end(&mut self) -> Vec<Heard> {
        self.overdue(Duration::MAX)
    }

    /// Something else goes on record now: what waits for its echo stands before it, redacted.
    pub fn overtaken(&mut self) -> Vec<Heard> {
        let heard = self.end();
        self.redacted = false;
        heard
    }

    fn pop(&mut self) -> Option<Key> {
        let (_, key) = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(key.len());
        Some(key)
    }

    /// Takes so many characters, and the keys before and behind them that stand for none, off the queue.
    fn release(&mut self, mut characters: usize, heard: &mut Vec<Heard>) {
        let mut keys = Vec::new();
        while let Some((_, key)) = self.waiting.front() {
            match (key, characters.checked_sub(1)) {
                (Key::Character(_), None) => break,
                (Key::Character(_), Some(left)) => characters = left,
                (Key::Function(_), _) => {}
            }
            match self.pop() {
                Some(Key::Character(byte)) => keys.push(byte),
                Some(Key::Function(bytes)) => keys.extend(bytes),
                None => break,
            }
        }
        if !keys.is_empty() {
            heard.push(Heard::Keys(keys));
        }
    }

    /// Said once for keystrokes in a row.
    fn redact(&mut self) -> Option<Heard> {
        (!std::mem::replace(&mut self.redacted, true)).then_some(Heard::Redacted)
    }

    /// The characters that a screen shows, and the line ends; without escape sequences.
    fn visible(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for byte in bytes {
            let before = self.escape;
            if before == Escape::Wiped && *byte != 0x08 {
                // The blank behind a backspace was a blank.
                shown.push(b' ');
            }
            self.escape = match (before, byte) {
                (Escape::Back, b' ') => Escape::Wiped,
                (Escape::Wiped, 0x08) => Escape::None,
                (Escape::None | Escape::Back, 0x08) => Escape::Back,
                (Escape::None | Escape::Back | Escape::Wiped, 0x1b) => Escape::Begun,
                (Escape::None | Escape::Back | Escape::Wiped, b' '..=b'~' | 0x80.. | b'\n' | b'\t') => {
                    shown.push(*byte);
                    Escape::None
                }
                (Escape::None | Escape::Back | Escape::Wiped, _) => Escape::None,
                (Escape::Begun, b'[') => Escape::Control,
                (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => Escape::String,
                (Escape::Begun | Escape::Control, b' '..=b'?') => before,
                (Escape::Begun | Escape::Control, _) => Escape::None,
                (Escape::String, 0x07) => Escape::None,
                // ESC `\`; any other sequence ends the string too.
                (Escape::String, 0x1b) => Escape::Begun,
                (Escape::String, _) => Escape::String,
            };
        }
        shown
    }
}

/// Takes a terminal's own reports, of the mouse, the focus, the cursor or itself, out of its input: nobody types them, and
/// they carry no character. Gives them, and the rest.
pub fn split_reports(bytes: &Bytes) -> (Bytes, Bytes) {
    if !bytes.contains(&ESC) {
        return (Bytes::new(), bytes.clone());
    }
    let (mut reports, mut others) = (Vec::new(), Vec::new());
    let mut left = bytes.as_ref();
    while let Some(escape) = left.iter().position(|byte| *byte == ESC) {
        let (before, from) = left.split_at(escape);
        others.extend_from_slice(before);
        let (key, rest) = next_key(from);
        left = rest;
        match key {
            // `ESC O R` is F3.
            Key::Function(key)
                if key.get(1) == Some(&b'[')
                    && matches!(key.last(), Some(b'I' | b'O' | b'R' | b'c' | b'n' | b'M' | b'm')) =>
            {
                reports.extend(key);
            }
            Key::Function(key) => others.extend(key),
            Key::Character(byte) => others.push(byte),
        }
    }
    others.extend_from_slice(left);
    (reports.into(), others.into())
}

/// Begins a control sequence (ECMA-48 section 5.3).
const ESC: u8 = 0x1b;

/// The first key of what a terminal has sent, and the rest. A sequence that is not known to stand for no character is
/// taken for characters: it may be a letter in another form, or carry text of the terminal's, such as its clipboard.
fn next_key(bytes: &[u8]) -> (Key, &[u8]) {
    let len = match bytes {
        [0x1b, b'[', rest @ ..] => {
            let end = rest.iter().take(KEY_BYTES_MAX).position(|byte| (b'@'..=b'~').contains(byte));
            let key = end.and_then(|end| rest.get(..=end)).filter(|key| is_function(key));
            key.map_or(0, |key| key.len().saturating_add(2))
        }
        // Arrows, Home, End and F1 to F4 in application mode.
        [0x1b, b'O', b'A'..=b'D' | b'F' | b'H' | b'P'..=b'S', ..] => 3,
        // A string of the terminal's, or of another form of its keys.
        [0x1b, b'O' | b']' | b'P' | b'X' | b'^' | b'_', ..] => 0,
        _ => 1,
    };
    let (key, rest) = bytes.split_at(len.clamp(1, bytes.len()));
    match key {
        [byte @ (b' '..=b'~' | 0x80.. | b'\r' | b'\n')] => (Key::Character(*byte), rest),
        // Each ESC on record would tell one letter.
        [byte] if len == 0 => (Key::Character(*byte), rest),
        _ => (Key::Function(key.to_vec()), rest),
    }
}

/// Whether a control sequence, without its ESC `[`, stands for no character (xterm's control sequences, "PC-Style
/// Function Keys", "Mouse Tracking" and the reports). Not among them are the forms in which a terminal sends
/// characters: `u` (kitty, and xterm's `formatOtherKeys`), `~` with 27 (xterm's `modifyOtherKeys`) and `_` (Windows).
fn is_function(key: &[u8]) -> bool {
    let Some((last, parameters)) = key.split_last() else { return false };
    let mut numbers = parameters.split(|byte| *byte == b';');
    match last {
        // Arrows, Home, End, F1 to F4, Shift-Tab; with modifiers `1;MODIFIERS`. `R` is the cursor's place as well.
        b'A'..=b'D' | b'F' | b'H' | b'P' | b'Q' | b'S' | b'Z' => {
            matches!(numbers.next(), Some(b"" | b"1"))
                && numbers.next().is_none_or(is_modifiers)
                && numbers.next().is_none()
        }
        // Home to F12, and the brackets around a paste.
        b'~' => {
            let known = numbers.next().and_then(number).is_some_and(|key| matches!(key, 1..=24 | 200 | 201));
            known && numbers.next().is_none_or(is_modifiers) && numbers.next().is_none()
        }
        // The window has got or lost the focus.
        b'I' | b'O' => parameters.is_empty(),
        // What the terminal is, how it is, and where its cursor is.
        b'R' | b'c' | b'n' => {
            let digits = parameters.strip_prefix(b"?").or(parameters.strip_prefix(b">")).unwrap_or(parameters);
            digits.split(|byte| *byte == b';').all(|part| part.is_empty() || number(part).is_some())
        }
        // The mouse: button, column, row.
        b'M' | b'm' => parameters.strip_prefix(b"<").is_some_and(|place| {
            place
                .split(|byte| *byte == b';')
                .map(number)
                .collect::<Option<Vec<_>>>()
                .is_some_and(|place| place.len() == 3)
        }),
        _ => false,
    }
}

/// Modifiers, and whether the key was pressed or released.
fn is_modifiers(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b':');
    parts.next().and_then(number).is_some() && parts.next().is_none_or(|event| matches!(event, b"1" | b"2" | b"3"))
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Return is echoed as a line end.
fn is_echo(shown: u8, typed: u8) -> bool {
    shown == typed || (shown == b'\n' && typed == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn keys(text: &str) -> Heard {
        Heard::Keys(text.as_bytes().to_vec())
    }

    #[test]
    fn the_terminals_reports_are_no_keys() {
        let split = |text: &'static str| split_reports(&Bytes::from_static(text.as_bytes()));
        let (reports, rest) = split("pa\x1b[<35;10;20Mss\x1b[I\x1b[A\x1b[24;80R\r\x1b[?62;1cé");
        assert_eq!(reports.as_ref(), b"\x1b[<35;10;20M\x1b[I\x1b[24;80R\x1b[?62;1c");
        assert_eq!(rest.as_ref(), "pass\x1b[A\ré".as_bytes());
        // What may be characters in another form, or a part of a report, is none.
        for text in
            ["\x1b[97;5u", "\x1b[27;5;97~", "\x1b]52;c;cGFzcw==\x07", "\x1b[<35;10", "plain", "\x1b", "\x1b[M !!"]
        {
            let (reports, rest) = split(text);
            assert_eq!((reports.as_ref(), rest.as_ref()), (&b""[..], text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn what_is_echoed_is_recorded_once_it_is() {
        let mut echo = Echo::default();
        assert_eq!(echo.typed(b"l", ms(0)), []);
        assert_eq!(echo.printed(b"l", ms(3)), [keys("l")]);
        echo.typed(b"s", ms(100));
        // A shell that draws its line anew.
        assert_eq!(echo.printed(b"\x1b[1ms\x1b[0m\x1b]0;title s\x07", ms(103)), [keys("s")]);
        echo.typed(b"\r", ms(200));
        assert_eq!(echo.printed(b"\r\nfile\r\n$ ", ms(203)), [keys("\r")]);
        assert_eq!((echo.due_at(), echo.overdue(ms(9000)), echo.end()), (None, vec![], vec![]));
    }

    #[test]
    fn a_password_is_redacted_as_one_whatever_its_length() {
        for password in ["p", "hunter2", "correct horse battery staple"] {
            let mut echo = Echo::default();
            for (at, byte) in (0..).zip(password.bytes()) {
                assert_eq!(echo.typed(&[byte], ms(at * 100)), []);
            }
            echo.typed(b"\r", ms(3000));
            let heard: Vec<Heard> = (30..60).flat_map(|tenth| echo.overdue(ms(tenth * 100))).collect();
            assert_eq!(heard, [Heard::Redacted], "{password}");
        }
    }

    #[test]
    fn an_answer_to_a_password_is_no_echo_of_it() {
        let mut echo = Echo::default();
        echo.typed(b"secret\r", ms(0));
        assert_eq!(echo.printed(b"\r\n", ms(5)), []);
        assert_eq!(echo.printed(b"sorry, try again.\r\n", ms(900)), []);
        assert_eq!(echo.printed(b"Password: ", ms(1100)), [Heard::Redacted]);
    }

    #[test]
    fn what_the_echo_comes_in_makes_no_difference() {
        for cut in 1..5 {
            let mut echo = Echo::default();
            echo.typed(b"date\r", ms(0));
            let (first, second) = b"date\r\nSat".split_at(cut);
            let mut heard = echo.printed(first, ms(1));
            heard.extend(echo.printed(second, ms(2)));
            let all: Vec<u8> = heard
                .into_iter()
                .flat_map(|heard| match heard {
                    Heard::Keys(keys) => keys,
                    Heard::Redacted => panic!("redacted"),
                })
                .collect();
            assert_eq!(all, b"date\r", "cut at {cut}");
        }
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut echo = Echo::default();
        assert_eq!(echo.typed(&vec![b'x'; WAITING_MAX], ms(0)), []);
        assert_eq!(echo.typed(b"y", ms(0)), [Heard::Redacted]);
        assert_eq!(echo.typed(&vec![b'y'; 1 << 20], ms(0)), []);
        assert_eq!(echo.bytes, WAITING_MAX);
        assert_eq!(echo.end(), []);
        assert_eq!((echo.due_at(), echo.bytes), (None, 0));
    }

    #[test]
    fn keys_that_stand_for_no_character_hide_nothing_that_comes_after_them() {
        let mut echo = Echo::default();
        // Bash, as it answers to a correction: typed ahead, echoed in one piece.
        assert_eq!(echo.typed(b"x\x7fid", ms(0)), []);
        assert_eq!(echo.printed(b"x\x08 \x08id", ms(3)), [Heard::Keys(b"x\x7fid".to_vec())]);
        assert_eq!(echo.typed(b"\x05", ms(10)), [Heard::Keys(vec![5])]);
        assert_eq!(echo.typed(b"\x1b[A", ms(20)), [Heard::Keys(b"\x1b[A".to_vec())]);
        // A paste between its brackets.
        assert_eq!(echo.typed(b"\x1b[200~cat f\x1b[201~", ms(30)), [Heard::Keys(b"\x1b[200~".to_vec())]);
        assert_eq!(echo.printed(b"\x1b[7mcat f\x1b[27m", ms(33)), [Heard::Keys(b"cat f\x1b[201~".to_vec())]);
        assert_eq!(echo.end(), []);
    }

    #[test]
    fn characters_in_another_form_wait_for_their_echo() {
        // The same letters as kitty, xterm (in two ways) and Windows send them, and what looks like a key and is none.
        for letters in [
            &["\x1b[104u", "\x1b[117u", "\x1b[110u"][..],
            &["\x1b[27;2;72~", "\x1b[27;2;85~"],
            &["\x1b[72;35;104;1;0;1_"],
            &["\x1b[1;1;104A", "\x1b[104A", "\x1b[104;2~", "\x1b[3;1;104~", "\x1b[1;104:9A"],
            &["\x1b[<0;1;2;104M", "\x1b[<0;1;2;hM", "\x1b[0;h2c", "\x1b[104I", "\x1b[+5A"],
        ] {
            let mut echo = Echo::default();
            for letter in letters {
                assert_eq!(echo.typed(letter.as_bytes(), ms(0)), [], "{letter:?}");
            }
            assert_eq!(echo.overdue(ms(2000)), [Heard::Redacted], "{letters:?}");
        }
        for key in [
            &b"\x1b[A"[..],
            b"\x1b[1;5D",
            b"\x1b[H",
            b"\x1b[Z",
            b"\x1b[1;2P",
            b"\x1b[3~",
            b"\x1b[24;5~",
            b"\x1b[1;1:3B",
            b"\x1b[I",
            b"\x1b[24;80R",
            b"\x1b[?62;22c",
            b"\x1b[>41;390;0c",
            b"\x1b[0n",
            b"\x1b[<35;100;24M",
            b"\x1b[<0;1;1m",
            b"\x1bOA",
        ] {
            assert_eq!(Echo::default().typed(key, ms(0)), [Heard::Keys(key.to_vec())], "{key:?}");
        }
    }

    #[test]
    fn what_overtakes_keystrokes_stands_behind_them() {
        let mut echo = Echo::default();
        echo.typed(b"pass", ms(0));
        assert_eq!(echo.overtaken(), [Heard::Redacted]);
        echo.typed(b"word", ms(1));
        assert_eq!(echo.overdue(ms(2000)), [Heard::Redacted], "it is said again");
    }

    #[test]
    fn a_password_is_no_better_known_for_the_keys_amid_it() {
        let mut echo = Echo::default();
        assert_eq!(echo.typed(b"hunter3\x7f2\r", ms(0)), []);
        assert_eq!(echo.printed(b"\r\n", ms(5)), []);
        let heard = echo.overdue(ms(1500));
        assert_eq!(heard, [Heard::Redacted, Heard::Keys(vec![0x7f])]);
        // A clipboard that a terminal gives out is text, and a sequence in pieces may be typed.
        let mut echo = Echo::default();
        for secret in [&b"\x1b]52;c;aHVudGVyMg==\x07"[..], b"\x1b[hunter", b"\x1bOx", b"\x1bhunter2"] {
            let heard = echo.typed(secret, ms(2000)).into_iter().chain(echo.end());
            for keys in heard {
                let Heard::Keys(keys) = keys else { continue };
                assert!(keys.iter().filter(|byte| byte.is_ascii_alphanumeric()).count() <= 1, "{keys:?}");
            }
        }
    }
}
