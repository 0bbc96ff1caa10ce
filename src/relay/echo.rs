//! Which keystrokes may be recorded: those that the target has echoed.
//!
//! A bastion cannot see whether the target's terminal echoes. So a keystroke is known not to be a password only once
//! the target has sent it back. What is not sent back within a second is recorded as `[redacted]`, as one, so that
//! its length is not told either.
//!
//! Pure: bytes and times come in as arguments.
//!
//! What this does not guard against: a target that echoes passwords. And what the target prints by itself, at the
//! very moment at which a password is typed, is taken for an echo if all of what it prints, or all of what was typed,
//! is the same.

use std::collections::VecDeque;
use std::time::Duration;

/// An echo comes within so long.
const ECHO_WITHIN: Duration = Duration::from_secs(1);
/// So much waits to be echoed; what is typed beyond it is redacted at once.
const WAITING_MAX: usize = 64 * 1024;

/// Keystrokes that wait to be echoed.
#[derive(Debug, Default)]
pub struct Echo {
    waiting: VecDeque<(Duration, u8)>,
    /// Something was redacted, and no keystroke was recorded since.
    redacted: bool,
    /// In the middle of an escape sequence of the target's.
    escape: Escape,
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
    pub fn typed(&mut self, bytes: &[u8], now: Duration) -> Option<Heard> {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        let (kept, beyond) = bytes.split_at(room.min(bytes.len()));
        self.waiting.extend(kept.iter().map(|byte| (now, *byte)));
        if beyond.is_empty() { None } else { self.redact() }
    }

    /// The target has printed. What was typed too long ago is redacted first.
    pub fn printed(&mut self, bytes: &[u8], now: Duration) -> Vec<Heard> {
        let mut heard: Vec<Heard> = self.overdue(now).into_iter().collect();
        let shown = self.visible(bytes);
        let typed = self.waiting.iter().map(|(_, byte)| *byte);
        let same = shown.iter().zip(typed).take_while(|(shown, typed)| is_echo(**shown, *typed)).count();
        // A target that prints by itself seldom prints just what was typed; one that echoes prints just that, or
        // that and what comes of it.
        if same > 0 && (same == shown.len() || same == self.waiting.len()) {
            heard.push(Heard::Keys(self.waiting.drain(..same).map(|(_, byte)| byte).collect()));
            self.redacted = false;
        }
        heard
    }

    /// When [`overdue`](Self::overdue) next has something to say.
    pub fn due_at(&self) -> Option<Duration> {
        self.waiting.front().map(|(at, _)| at.saturating_add(ECHO_WITHIN))
    }

    /// What was typed and has not been echoed in time.
    pub fn overdue(&mut self, now: Duration) -> Option<Heard> {
        let before = self.waiting.len();
        while self.waiting.front().is_some_and(|(at, _)| at.saturating_add(ECHO_WITHIN) <= now) {
            self.waiting.pop_front();
        }
        if self.waiting.len() < before { self.redact() } else { None }
    }

    /// The channel is over: what waits will not be echoed.
    pub fn end(&mut self) -> Option<Heard> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.clear();
        self.redact()
    }

    /// Said once for keystrokes in a row.
    fn redact(&mut self) -> Option<Heard> {
        (!std::mem::replace(&mut self.redacted, true)).then_some(Heard::Redacted)
    }

    /// The characters that a screen shows, and the line ends; without escape sequences.
    fn visible(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for byte in bytes {
            self.escape = match (self.escape, byte) {
                (Escape::None, 0x1b) => Escape::Begun,
                (Escape::None, b'\r') => Escape::None,
                (Escape::None, b' '..=b'~' | 0x80.. | b'\n' | b'\t') => {
                    shown.push(*byte);
                    Escape::None
                }
                (Escape::None, _) => Escape::None,
                (Escape::Begun, b'[') => Escape::Control,
                (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => Escape::String,
                (Escape::Begun | Escape::Control, b' '..=b'?') => self.escape,
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
    fn what_is_echoed_is_recorded_once_it_is() {
        let mut echo = Echo::default();
        assert_eq!(echo.typed(b"l", ms(0)), None);
        assert_eq!(echo.printed(b"l", ms(3)), [keys("l")]);
        echo.typed(b"s", ms(100));
        // A shell that draws its line anew.
        assert_eq!(echo.printed(b"\x1b[1ms\x1b[0m\x1b]0;title s\x07", ms(103)), [keys("s")]);
        echo.typed(b"\r", ms(200));
        assert_eq!(echo.printed(b"\r\nfile\r\n$ ", ms(203)), [keys("\r")]);
        assert_eq!((echo.due_at(), echo.overdue(ms(9000)), echo.end()), (None, None, None));
    }

    #[test]
    fn a_password_is_redacted_as_one_whatever_its_length() {
        for password in ["p", "hunter2", "correct horse battery staple"] {
            let mut echo = Echo::default();
            for (at, byte) in (0..).zip(password.bytes()) {
                assert_eq!(echo.typed(&[byte], ms(at * 100)), None);
            }
            echo.typed(b"\r", ms(3000));
            let heard: Vec<Heard> = (30..60).filter_map(|tenth| echo.overdue(ms(tenth * 100))).collect();
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
        assert_eq!(echo.typed(&vec![b'x'; WAITING_MAX], ms(0)), None);
        assert_eq!(echo.typed(b"y", ms(0)), Some(Heard::Redacted));
        assert_eq!(echo.typed(&vec![b'y'; 1 << 20], ms(0)), None);
        assert_eq!(echo.waiting.len(), WAITING_MAX);
        assert_eq!(echo.end(), None);
        assert_eq!(echo.due_at(), None);
    }
}
