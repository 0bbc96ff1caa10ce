//! Keys that are down on a target: whoever holds a session lets them go.
//!
//! A key that went down before a desktop was paused would stay down there, and many targets repeat it by themselves.

use std::collections::BTreeSet;

use super::{Input, inputs};
use crate::rdp::record::Kind;

/// A message has the number of its events in four bits.
const EVENTS_MAX: usize = 15;
/// Of a fast-path key (MS-RDPBCGR section 2.2.8.1.2.2.1).
const RELEASE: u8 = 1;
const EXTENDED: u8 = 2;

/// The keys that are down, by their places.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Down(BTreeSet<(u8, bool)>);

impl Down {
    /// Notes what a message of input does, as it passes.
    pub fn note(&mut self, kind: Kind, message: &[u8]) {
        for input in inputs(kind, message) {
            match input {
                Input::Key { code, extended, released: true } => drop(self.0.remove(&(code, extended))),
                Input::Key { code, extended, released: false } => drop(self.0.insert((code, extended))),
                Input::Unicode { .. } | Input::Locks { .. } | Input::Mouse { .. } | Input::Other => {}
            }
        }
    }

    /// Forgets them all; the fast-path messages that let them go.
    pub fn release(&mut self) -> Vec<Vec<u8>> {
        let all: Vec<(u8, bool)> = std::mem::take(&mut self.0).into_iter().collect();
        all.chunks(EVENTS_MAX).map(released).collect()
    }
}

fn released(keys: &[(u8, bool)]) -> Vec<u8> {
    let event = |(code, extended): &(u8, bool)| [RELEASE | if *extended { EXTENDED } else { 0 }, *code];
    let events: Vec<u8> = keys.iter().flat_map(event).collect();
    let byte = |count: usize| u8::try_from(count).unwrap_or_default();
    // At most 32 bytes: the length has one byte.
    [vec![byte(keys.len()) << 2, byte(events.len().saturating_add(2))], events].concat()
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
}
