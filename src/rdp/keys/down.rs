//! Keys and buttons that are down on a target: whoever holds a session lets them go.
//!
//! A key that went down before a desktop was paused would stay down there, and many targets repeat it by themselves; a
//! button would drag what it holds.

use std::collections::BTreeSet;

use super::{Button, Input, inputs};
use crate::rdp::record::Kind;

/// A message has the number of its events in four bits.
const EVENTS_MAX: usize = 15;
/// Of a fast-path key (MS-RDPBCGR section 2.2.8.1.2.2.1).
const RELEASE: u8 = 1;
const EXTENDED: u8 = 2;
/// Of a fast-path mouse event, and of one of the other buttons (sections 2.2.8.1.2.2.3 and 2.2.8.1.2.2.4).
const MOUSE: u8 = 1 << 5;
const OTHER_MOUSE: u8 = 2 << 5;

/// The keys that are down, by their places, and the buttons.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Down {
    keys: BTreeSet<(u8, bool)>,
    buttons: BTreeSet<Button>,
    /// Where the mouse is, if a button of it is down.
    place: (u16, u16),
}

impl Down {
    /// Notes what a message of input does, as it passes.
    pub fn note(&mut self, kind: Kind, message: &[u8]) {
        for input in inputs(kind, message) {
            match input {
                Input::Key { code, extended, released: true } => drop(self.keys.remove(&(code, extended))),
                Input::Key { code, extended, released: false } => drop(self.keys.insert((code, extended))),
                Input::Mouse { x, y, button, pressed } => {
                    match (button, pressed) {
                        (Some(button), true) => drop(self.buttons.insert(button)),
                        (Some(button), false) => drop(self.buttons.remove(&button)),
                        (None, _) => {}
                    }
                    self.place = if self.buttons.is_empty() { (0, 0) } else { (x, y) };
                }
                Input::Unicode { .. } | Input::Locks { .. } | Input::Other => {}
            }
        }
    }

    /// Forgets them all; the fast-path messages that let them go, the buttons where the mouse is.
    pub fn release(&mut self) -> Vec<Vec<u8>> {
        let Self { keys, buttons, place } = std::mem::take(self);
        let keys: Vec<Vec<u8>> = keys.into_iter().map(key).collect();
        let buttons = buttons.into_iter().map(|button| message(&[let_go(button, place)]));
        keys.chunks(EVENTS_MAX).map(message).chain(buttons).collect()
    }
}

fn key((code, extended): (u8, bool)) -> Vec<u8> {
    vec![RELEASE | if extended { EXTENDED } else { 0 }, code]
}

fn let_go(button: Button, (x, y): (u16, u16)) -> Vec<u8> {
    let (head, flag) = match button {
        Button::First(flag) => (MOUSE, flag),
        Button::Other(flag) => (OTHER_MOUSE, flag),
    };
    [head].into_iter().chain([flag, x, y].into_iter().flat_map(u16::to_le_bytes)).collect()
}

/// A fast-path message with these events; the longest one, of 15 keys, has 32 bytes, so the length has one byte.
fn message(events: &[Vec<u8>]) -> Vec<u8> {
    let byte = |count: usize| u8::try_from(count).unwrap_or_default();
    let (count, events) = (events.len(), events.concat());
    [vec![byte(count) << 2, byte(events.len().saturating_add(2))], events].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_down_is_let_go_once_and_nothing_else() {
        let mut down = Down::default();
        // Ctrl and the right Alt go down, A goes down and up, the mouse moves.
        let message = [5 << 2, 17, 0, 0x1D, 2, 0x38, 0, 0x1E, 1, 0x1E, 1 << 5, 0, 8, 9, 0, 9, 0];
        down.note(Kind::FastPathInput, &message);
        down.note(Kind::FastPathOutput, &[4, 4, 0, 0x2A]);
        let messages = down.release();
        assert_eq!(messages, [[2 << 2, 6, 1, 0x1D, 3, 0x38]]);
        assert!(down.release().is_empty());
        (0..40).for_each(|code| down.note(Kind::FastPathInput, &[4, 4, 0, code]));
        let messages = down.release();
        let mut again = Down::default();
        (0..40).for_each(|code| again.note(Kind::FastPathInput, &[4, 4, 0, code]));
        assert_eq!(messages.len(), 3);
        messages.iter().for_each(|message| again.note(Kind::FastPathInput, message));
        assert_eq!(again, Down::default());
    }

    #[test]
    fn a_button_is_let_go_where_the_mouse_is() {
        let mut down = Down::default();
        let event = |head: u8, flags: u16, x: u16, y: u16| {
            let numbers = [flags, x, y].map(u16::to_le_bytes).concat();
            [vec![4, 9, head], numbers].concat()
        };
        // The left and the fourth go down, the right one down and up, the wheel turns, the mouse is dragged.
        for message in [
            event(MOUSE, 0x9000, 5, 6),
            event(OTHER_MOUSE, 0x8001, 5, 6),
            event(MOUSE, 0xa000, 5, 6),
            event(MOUSE, 0x2000, 5, 6),
            event(MOUSE, 0x0278, 5, 6),
            event(MOUSE, 0x0800, 70, 80),
        ] {
            down.note(Kind::FastPathInput, &message);
        }
        let messages = down.release();
        assert_eq!(messages, [event(MOUSE, 0x1000, 70, 80), event(OTHER_MOUSE, 1, 70, 80)]);
        assert!(down.release().is_empty());
        down.note(Kind::FastPathInput, &event(MOUSE, 0x9000, 5, 6));
        down.note(Kind::FastPathInput, &event(MOUSE, 0x1000, 7, 8));
        assert_eq!(down, Down::default());
    }
}
