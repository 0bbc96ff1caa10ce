//! One-time codes by time: RFC 6238, with SHA-1, six digits and 30 seconds, which is what every authenticator app takes.

use ring::hmac;

use crate::model::{Timestamp, UserName};
use crate::secret::Secret;

/// Bytes of a secret: what HMAC-SHA-1 is made for (RFC 4226 section 4, R6).
pub(super) const SECRET_BYTES: usize = 20;
/// A code's digits, and the number that it stays below.
const DIGITS: usize = 6;
const BELOW: u32 = 1_000_000;
/// Seconds of a step.
const STEP: i64 = 30;

/// The step that the code belongs to, of this one, the one before and the one after; `None` if to none of them, or to
/// one that is not after `last`.
pub(super) fn step(secret: &[u8], code: &str, now: Timestamp, last: Option<i64>) -> Step {
    let now = now.as_millis().div_euclid(STEP * 1000);
    let mut found = Step::Wrong;
    // All are looked at, whichever it is: how long this takes tells nothing.
    for candidate in [now.saturating_sub(1), now, now.saturating_add(1)] {
        if equal(&code_at(secret, candidate), code) {
            found = if last.is_some_and(|last| candidate <= last) { Step::Used } else { Step::New(candidate) };
        }
    }
    found
}

/// What a code is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is none of this time.
    Wrong,
    /// It was taken before, or one after it was.
    Used,
    /// It is the code of this step.
    New(i64),
}

fn equal(one: &str, other: &str) -> bool {
    // People type the codes as apps show them, in two groups.
    let other: String = other.chars().filter(|c| !c.is_ascii_whitespace()).take(DIGITS + 1).collect();
    let differing = one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    other.len() == one.len() && differing == 0
}

/// RFC 4226 section 5.3 over the number of the step.
pub(super) fn code_at(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let offset = tag.as_ref().last().map_or(0, |byte| usize::from(byte & 0x0f));
    let bytes = tag.as_ref().get(offset..).and_then(|bytes| bytes.first_chunk::<4>()).copied().unwrap_or_default();
    let number = (u32::from_be_bytes(bytes) & 0x7fff_ffff) % BELOW;
    format!("{number:0DIGITS$}")
}

/// What an authenticator app reads from a QR code (its key URI format).
pub(super) fn uri(user: &UserName, secret: &[u8]) -> Secret<String> {
    Secret::new(format!("otpauth://totp/Doorward:{user}?secret={}&issuer=Doorward", base32(secret)))
}

/// RFC 4648 section 6, without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().saturating_mul(8).div_ceil(5));
    let (mut held, mut bits) = (0_u32, 0_u32);
    let letter =
        |five: u32| usize::try_from(five & 31).ok().and_then(|index| LETTERS.get(index)).copied().unwrap_or(b'A');
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(letter(held >> bits)));
        }
    }
    if bits > 0 {
        text.push(char::from(letter(held << (5 - bits))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(SECRET, seconds / STEP), code);
            assert_eq!(step(SECRET, code, at(seconds), None), Step::New(seconds / STEP));
        }
    }

    #[test]
    fn a_code_counts_a_step_early_and_a_step_late() {
        let code = "050471";
        let of = 1_111_111_111 / STEP;
        let worth = |steps: i64| step(SECRET, code, at((of + steps) * STEP), None);
        assert_eq!([worth(-1), worth(0), worth(1)], [Step::New(of); 3]);
        assert_eq!([worth(-2), worth(2)], [Step::Wrong; 2]);
    }

    #[test]
    fn t2_a_code_counts_once_and_none_before_it_after_it() {
        let now = at(1_111_111_111);
        let of = 1_111_111_111 / STEP;
        let before = code_at(SECRET, of - 1);
        assert_eq!(step(SECRET, "050471", now, Some(of - 1)), Step::New(of));
        assert_eq!(step(SECRET, "050471", now, Some(of)), Step::Used);
        assert_eq!(step(SECRET, &before, now, Some(of)), Step::Used);
    }

    #[test]
    fn what_is_no_code_is_wrong() {
        for code in ["", "05047", "0504711", "05047a", "050472", "٠٥٠٤٧١"] {
            assert_eq!(step(SECRET, code, at(1_111_111_111), None), Step::Wrong, "{code:?}");
        }
        assert!(matches!(step(SECRET, "050 471", at(1_111_111_111), None), Step::New(_)));
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
