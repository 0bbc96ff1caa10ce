//! What of a terminal's input somebody may have typed, and what is a program's.
//!
//! Where a rule keeps keystrokes out of the recording, it does so for the passwords among them. A program that sends
//! its data by way of a terminal must not hide behind that: what comes faster than a person types is none.
//!
//! Pure: lengths and times come in as arguments.
//!
//! What this does not guard against: who feeds a terminal slower than that. How much it was is counted.

use std::time::Duration;

/// What comes within a second, in bytes, and may be typed. A key that repeats sends 50 characters a second, arrows three
/// bytes each; a password that is pasted, and a token, are shorter too.
const TYPED_BYTES_MAX: u64 = 256;

/// How much has come of late. A bucket that leaks `TYPED_BYTES_MAX` bytes a second.
#[derive(Debug, Default)]
pub struct Pace {
    /// In millionths of a byte.
    level: u64,
    at: Duration,
}

/// A byte in the bucket.
const BYTE: u64 = 1_000_000;

impl Pace {
    /// Takes so many bytes that came at once; tells whether they may have been typed.
    pub fn is_typed(&mut self, bytes: usize, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        self.level = self.level.saturating_sub(passed.saturating_mul(TYPED_BYTES_MAX));
        let came = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(BYTE);
        // However much it was, a second later the next key is a keystroke.
        self.level = self.level.saturating_add(came).min(2 * TYPED_BYTES_MAX * BYTE);
        self.level <= TYPED_BYTES_MAX * BYTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_person_types_and_a_program_does_not() {
        let mut pace = Pace::default();
        for key in 0..10_000 {
            // A function key with a modifier, held down for minutes.
            assert!(pace.is_typed(6, ms(key * 25)));
        }
        assert!(pace.is_typed(200, ms(300_000)), "a token that is pasted");
        let mut pace = Pace::default();
        assert!(!pace.is_typed(257, ms(0)));
        let mut pace = Pace::default();
        let typed: usize = (0..1000).filter(|at| pace.is_typed(64, ms(*at))).count();
        assert_eq!(typed, 4);
    }

    #[test]
    fn a_second_after_a_program_has_sent_keys_are_keystrokes_again() {
        let mut pace = Pace::default();
        assert!(!pace.is_typed(1 << 30, ms(0)));
        assert!(!pace.is_typed(1, ms(900)));
        assert!(pace.is_typed(1, ms(1010)));
    }

    #[test]
    fn who_stays_below_the_pace_gets_no_more_than_that_through() {
        let mut pace = Pace::default();
        let through: usize = (0..60_000).filter(|at| pace.is_typed(16, ms(*at))).map(|_| 16).sum();
        assert!(through <= 61 * 256, "{through} bytes in a minute");
    }
}
