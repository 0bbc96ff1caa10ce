//! Messages about licences (MS-RDPBCGR section 2.2.1.12, MS-RDPELE section 2.2.2): the only ones that pass without being
//! recorded whole, for they hold keys. So few of them pass, only of the kinds that there are, and only while a target
//! sets the connection up; of each its length is on record first.
//!
//! They have a security header where other messages have a Share Control header. What a peer could read as either is none.

use super::fact::Side;
use super::fields::Fields;

const LICENSE_PKT: u16 = 0x0080;
/// The sender takes licences encrypted, or sends this one so.
const LICENSE_ENCRYPTED: u16 = 0x0200;

const REQUEST: u8 = 0x01;
const CHALLENGE: u8 = 0x02;
const ERROR_ALERT: u8 = 0xff;
/// New Licence, Upgrade Licence, Error Alert: nothing about licences follows.
const LAST_OF_TARGET: [u8; 3] = [0x03, 0x04, ERROR_ALERT];
/// Licence Information, New Licence Request, Challenge Response, Error Alert.
const OF_USER: [u8; 4] = [0x12, 0x13, 0x15, ERROR_ALERT];
/// The kinds of a Share Control PDU (MS-RDPBCGR section 2.2.8.1.1.1.1).
const SHARE_KINDS: [u16; 5] = [1, 3, 6, 7, 10];

/// More than any exchange has, both ways together.
const MESSAGES_MAX: u8 = 8;

/// What was said about licences in a connection.
#[derive(Debug, Default)]
pub struct Licences {
    /// The target has asked, and a user's program may answer.
    asked: bool,
    over: bool,
    passed: u8,
}

impl Licences {
    /// Whether this, from the I/O channel, is about a licence and passes as it is.
    pub fn pass(&mut self, from: Side, data: &[u8]) -> bool {
        let Some((kind, has_zeros)) = kind(data).filter(|_| !self.over && self.passed < MESSAGES_MAX) else {
            return false;
        };
        let passes = match from {
            // Programs of users write zeros into the second half of the header; not all targets do.
            Side::User => self.asked && has_zeros && OF_USER.contains(&kind),
            Side::Target => kind == REQUEST || kind == CHALLENGE || LAST_OF_TARGET.contains(&kind),
        };
        if passes {
            self.passed = self.passed.saturating_add(1);
            if from == Side::Target {
                self.asked = true;
                self.over = LAST_OF_TARGET.contains(&kind);
            }
        }
        passes
    }

    /// The target sets the desktop up: no more of them.
    pub fn close(&mut self) {
        self.over = true;
    }
}

/// The kind of a message about licences, and whether its header's second half is zero; none if it is no such message, or could
/// be something else as well.
fn kind(data: &[u8]) -> Option<(u8, bool)> {
    let mut fields = Fields::new(data);
    let (flags, rest) = (fields.u16()?, fields.u16()?);
    let (kind, version) = (fields.byte()?, fields.byte()?);
    let length = usize::from(fields.u16()?);
    let is_one = flags & LICENSE_PKT != 0
        && flags & !(LICENSE_PKT | LICENSE_ENCRYPTED) == 0
        && !SHARE_KINDS.contains(&(rest & 0xf))
        && matches!(version & 0x7f, 2 | 3)
        && length.saturating_add(4) == data.len();
    is_one.then_some((kind, rest == 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(rest: [u8; 2], kind: u8) -> Vec<u8> {
        vec![0x80, 0, rest[0], rest[1], kind, 3, 16, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0x28, 0x14, 0, 0]
    }

    #[test]
    fn a_user_answers_what_a_target_asked_and_neither_says_more_than_there_is_to_say() {
        let mut licences = Licences::default();
        let answer = message([0, 0], 0x13);
        assert!(!licences.pass(Side::User, &answer), "nobody has asked");
        // As xrdp writes it.
        assert!(licences.pass(Side::Target, &message([0x3e, 1], REQUEST)));
        assert!(licences.pass(Side::User, &answer));
        assert!(
            !licences.pass(Side::User, &message([0x3e, 1], 0x13))
                && !licences.pass(Side::User, &message([0, 0], REQUEST))
        );
        assert!(licences.pass(Side::Target, &message([0x10, 0], ERROR_ALERT)));
        assert!(!licences.pass(Side::User, &answer) && !licences.pass(Side::Target, &message([0, 0], REQUEST)));
        let mut licences = Licences::default();
        let passed = (0..20).filter(|_| licences.pass(Side::Target, &message([0, 0], REQUEST))).count();
        assert_eq!(passed, usize::from(MESSAGES_MAX));
        let mut licences = Licences::default();
        licences.close();
        assert!(!licences.pass(Side::Target, &message([0, 0], REQUEST)));
    }

    // A Confirm Active, a Demand Active or a redirection in the form of a licence.
    #[test]
    fn what_could_be_read_as_something_else_passes_as_no_licence() {
        for (at, byte) in [(2, 0x13), (2, 0x11), (2, 0x27), (1, 4), (1, 1), (0, 0), (5, 1), (6, 15), (4, 9)] {
            let mut forged = message([0, 0], REQUEST);
            forged[at] = byte;
            assert!(!Licences::default().pass(Side::Target, &forged), "{forged:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Licences::default().pass(Side::Target, &bytes);
        }
    }
}
