//! Whether the wall clock is believed where something is destroyed by it.
//!
//! A clock that is far ahead, by a mistake of NTP, a dead battery or on purpose, would make every recording old, and
//! `retention` would remove them all. So the clock is compared with what is known otherwise: the newest leaf that was on
//! record before, the monotonic clock, and the clocks of the witnesses. What is found is kept in the state, so that
//! another start does not believe the leaves that the same clock has dated.
//!
//! It does not guard against a clock that is moved by a few days again and again, each time before a start, where no
//! witness is configured.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::Admin;
use crate::audit::{Audit, AuditEvent, Leap, QUIET_MAX};
use crate::clock::Clock;
use crate::model::Timestamp;

/// A clock that goes on for so long as the monotonic one does has had its time to be noticed.
const STEADY: Duration = Duration::from_secs(24 * 3600);
/// Both clocks may move so much against each other: one that NTP steers moves by seconds in a day.
const DRIFT_MAX: Duration = Duration::from_secs(600);

/// What the clocks show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// The wall clock.
    now: Timestamp,
    /// The newest time on record before; none in a new store.
    known: Option<Timestamp>,
    /// How much time has passed since then at least, by the monotonic clock.
    passed: Duration,
    /// For how long the wall clock has gone on as the monotonic one.
    steady: Duration,
    witness: Witness,
}

/// What witnesses say of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// None is configured, or none is asked by this process.
    NotAsked,
    /// None has signed anything yet.
    Silent,
    /// The newest time at which one has signed.
    At(Timestamp),
}

/// Why the wall clock is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockDoubt {
    /// It is far ahead of what was on record.
    Leapt {
        /// What it shows.
        now: Timestamp,
        /// The newest time on record before.
        known: Timestamp,
    },
    /// It is far ahead of the witnesses' clocks, or none of them tells its time.
    Unwitnessed {
        /// What it shows.
        now: Timestamp,
        /// The newest time at which a witness has signed.
        signed: Option<Timestamp>,
    },
}

impl fmt::Display for ClockDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = QUIET_MAX.as_secs() / 86_400;
        match self {
            Self::Leapt { now, known } => {
                write!(
                    f,
                    "the clock shows {now}, more than {days} days after {known}, the newest time on record before"
                )
            }
            Self::Unwitnessed { now, signed: Some(signed) } => {
                write!(f, "the clock shows {now}, more than {days} days after {signed}, when a witness has signed last")
            }
            Self::Unwitnessed { now, signed: None } => {
                write!(f, "the clock shows {now}, and no witness has signed anything since the start")
            }
        }
    }
}

impl ClockDoubt {
    /// What the operator can do about it.
    pub const HINT: &'static str = "set the clock (`timedatectl`) if it is wrong; if it is right, `doorward recording gc` removes what is old and \
         ends the doubt; so do 24 hours in which the server runs and nobody sets the clock, and a witness that answers";

    fn known(&self) -> Option<Timestamp> {
        match self {
            Self::Leapt { known, .. } => Some(*known),
            Self::Unwitnessed { signed, .. } => *signed,
        }
    }
}

/// Whether the wall clock is in doubt.
fn doubt(look: &Look) -> Option<ClockDoubt> {
    let Look { now, known, passed, steady, witness } = *look;
    let leapt = known.filter(|known| now > known.plus(passed).plus(QUIET_MAX) && steady < STEADY);
    if let Some(known) = leapt {
        return Some(ClockDoubt::Leapt { now, known });
    }
    match witness {
        Witness::Silent => Some(ClockDoubt::Unwitnessed { now, signed: None }),
        Witness::At(signed) if now > signed.plus(QUIET_MAX) => {
            Some(ClockDoubt::Unwitnessed { now, signed: Some(signed) })
        }
        Witness::NotAsked | Witness::At(_) => None,
    }
}

/// What the administration remembers of the clocks.
#[derive(Debug)]
pub(super) struct Watch {
    known: Option<Timestamp>,
    /// When that was known, by the monotonic clock.
    since: Instant,
    /// Both clocks when they began to agree.
    even: (Timestamp, Instant),
    /// What was found last.
    found: Option<ClockDoubt>,
}

impl Watch {
    pub(super) fn new(audit: &Audit, clock: &Clock) -> Mutex<Self> {
        let (now, instant) = (clock.now(), clock.instant());
        Mutex::new(Self { known: audit.before(), since: instant, even: (now, instant), found: None })
    }

    fn look(&mut self, now: Timestamp, instant: Instant, leap: Option<Leap>, witness: Witness) -> Look {
        let expected = self.even.0.plus(instant.saturating_duration_since(self.even.1));
        if expected.until(now).max(now.until(expected)) > DRIFT_MAX {
            self.even = (now, instant);
        }
        let known = leap.map(|leap| leap.known).or(self.known);
        let passed = instant.saturating_duration_since(self.since);
        let steady = instant.saturating_duration_since(self.even.1);
        Look { now, known, passed, steady, witness }
    }

    fn believe(&mut self, now: Timestamp, instant: Instant) {
        (self.known, self.since, self.even, self.found) = (Some(now), instant, (now, instant), None);
    }
}

impl Admin {
    /// Looks whether the wall clock is in doubt. What is found is kept and on record.
    pub fn check_clock(&self) -> Option<ClockDoubt> {
        self.look_at_clock(Witness::NotAsked)
    }

    pub(super) fn look_at_clock(&self, witness: Witness) -> Option<ClockDoubt> {
        let (now, instant) = (self.now(), self.parts.clock.instant());
        let mut watch = self.watch();
        let leap = self.parts.audit.leap().unwrap_or_else(|error| {
            warn!(error = %error, "What was found of the clock cannot be read");
            None
        });
        let found = doubt(&watch.look(now, instant, leap, witness));
        let told = match (found, leap) {
            (Some(ClockDoubt::Leapt { known, .. }), leap) => leap == Some(Leap { known, told: true }),
            (Some(ClockDoubt::Unwitnessed { .. }), _) => matches!(watch.found, Some(ClockDoubt::Unwitnessed { .. })),
            (None, _) => true,
        };
        if let (Some(ClockDoubt::Unwitnessed { .. }) | None, Some(_)) = (found, leap) {
            self.keep_leap(None);
            watch.believe(now, instant);
        }
        watch.found = found;
        drop(watch);
        if let Some(found) = found.filter(|_| !told) {
            let event = AuditEvent::ClockDoubt { known: found.known(), why: found.to_string() };
            let told = self.append(&event);
            if let ClockDoubt::Leapt { known, .. } = found {
                self.keep_leap(Some(Leap { known, told: told.is_ok() }));
            }
            if let Err(error) = told {
                warn!(error = %error, "That the clock is in doubt is not on record");
            }
        }
        found
    }

    /// What was found last.
    pub(super) fn clock_doubt(&self) -> Option<ClockDoubt> {
        self.watch().found
    }

    /// An operator vouches for the clock.
    pub(super) fn believe_clock(&self) {
        self.keep_leap(None);
        self.watch().believe(self.now(), self.parts.clock.instant());
    }

    /// What the witnesses say of the time to the server.
    pub(super) fn witnessed(&self) -> Witness {
        if self.parts.config.witnesses.is_empty() {
            return Witness::NotAsked;
        }
        self.parts.audit.cosigned_at().map_or(Witness::Silent, Witness::At)
    }

    /// A full disk keeps a start from writing it: then this process alone knows.
    fn keep_leap(&self, leap: Option<Leap>) {
        if let Err(error) = self.parts.audit.set_leap(leap) {
            warn!(error = %error, "What was found of the clock cannot be kept");
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::admin::api::{Reply, Request};
    use crate::admin::tests::Office;
    use crate::admin::{Admin, Retired};
    use crate::model::SessionId;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn day(days: u32) -> Timestamp {
        Timestamp::parse("2026-01-01T00:00:00Z").unwrap().plus(DAY * days)
    }

    fn look(days: u32) -> Look {
        Look { now: day(days), known: Some(day(0)), passed: HOUR, steady: HOUR, witness: Witness::NotAsked }
    }

    fn leapt(look: &Look) -> bool {
        matches!(doubt(look), Some(ClockDoubt::Leapt { known, .. }) if known == day(0))
    }

    #[test]
    fn a_clock_more_than_a_week_past_what_was_on_record_is_in_doubt_until_it_was_even_for_a_day() {
        assert!(!leapt(&look(7)) && leapt(&look(8)) && leapt(&look(500)));
        assert!(!leapt(&Look { now: day(7).plus(HOUR), ..look(0) }), "the hour that has passed counts");
        assert!(leapt(&Look { now: day(7).plus(HOUR * 2), ..look(0) }));
        // A server that has run for so long.
        assert!(!leapt(&Look { passed: DAY * 493, ..look(500) }) && leapt(&Look { passed: DAY * 400, ..look(500) }));
        assert!(leapt(&Look { steady: HOUR * 23, ..look(500) }) && !leapt(&Look { steady: DAY, ..look(500) }));
        assert_eq!(doubt(&Look { known: None, ..look(500) }), None, "a new store");
        assert_eq!(doubt(&Look { known: Some(day(900)), ..look(500) }), None, "a clock that was set back");
    }

    #[test]
    fn where_witnesses_are_configured_the_clock_is_not_believed_beyond_a_week_after_their_newest_signature() {
        let with = |witness, steady| doubt(&Look { witness, steady, ..look(500) });
        let unwitnessed = |found| matches!(found, Some(ClockDoubt::Unwitnessed { .. }));
        assert!(unwitnessed(with(Witness::Silent, DAY)) && unwitnessed(with(Witness::At(day(492)), DAY)));
        assert_eq!(with(Witness::At(day(493)), DAY), None);
        assert_eq!(with(Witness::At(day(600)), DAY), None);
        assert!(matches!(with(Witness::At(day(500)), HOUR), Some(ClockDoubt::Leapt { .. })), "both may be wrong");
    }

    #[test]
    fn the_clocks_are_even_from_the_moment_when_one_was_set_last() {
        let instant = Clock::system().instant();
        let mut watch = Watch { known: Some(day(0)), since: instant, even: (day(0), instant), found: None };
        let mut at =
            |wall: Timestamp, passed: Duration| watch.look(wall, instant + passed, None, Witness::NotAsked).steady;
        assert_eq!(at(day(0).plus(HOUR * 5), HOUR * 5), HOUR * 5);
        assert_eq!(at(day(0).plus(HOUR * 6 + DRIFT_MAX), HOUR * 6), HOUR * 6);
        assert_eq!(at(day(400), HOUR * 7), Duration::ZERO);
        assert_eq!(at(day(400).plus(HOUR), HOUR * 8), HOUR);
        assert_eq!(at(day(0).plus(HOUR * 9), HOUR * 9), Duration::ZERO, "back counts as well");
    }

    #[test]
    fn by_a_clock_that_leapt_nothing_is_removed_until_an_operator_vouches_for_it_whatever_is_started_again() {
        let mut office = Office::furnished();
        let begun = office.admin.now();
        crate::store::tests::shelve(office.admin.parts.catalog.root(), &SessionId::from_parts(begun, 1));
        office.admin.parts.config.recording.retention = Some(DAY * 400);
        office.admin.watch().known = Some(begun);
        let ahead = begun.plus(DAY * 500);
        office.admin.parts.clock.set(ahead);
        let waits = |admin: &Admin| assert!(matches!(admin.retire().unwrap(), Retired::Waits(_)));
        waits(&office.admin);
        // Another start: its newest leaf was dated by the same clock.
        office.admin.watch = Watch::new(&office.admin.parts.audit, &office.admin.parts.clock);
        office.admin.watch().known = Some(ahead);
        waits(&office.admin);
        let doubts = office.log().iter().filter(|record| record.kind == "clock.doubt").count();
        assert_eq!(doubts, 1, "it is on record once");
        let Reply::Doctor { findings } = office.ask(Request::Doctor { syncs: 1 }) else { panic!() };
        assert!(
            findings.iter().any(|finding| finding.what == "clock" && finding.found.contains("newest time on record"))
        );
        let gc = |dry_run| Request::RecordingGc { before: begun, dry_run, even_today: false };
        office.ask(gc(true));
        waits(&office.admin);
        office.ask(gc(false));
        assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 1, left: 0 });
    }

    #[test]
    fn a_leap_that_is_set_right_is_forgotten() {
        let mut office = Office::furnished();
        let begun = office.admin.now();
        office.admin.watch().known = Some(begun);
        office.admin.parts.clock.set(begun.plus(DAY * 500));
        assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 0, left: 0 }, "nothing is configured");
        assert!(office.admin.parts.audit.leap().unwrap().is_some(), "and it is noticed all the same");
        office.admin.parts.clock.set(begun.plus(HOUR));
        assert_eq!((office.admin.check_clock(), office.admin.parts.audit.leap().unwrap()), (None, None));
        office.admin.parts.config.recording.retention = Some(DAY);
        assert_eq!(office.admin.retire().unwrap(), Retired::Removed { removed: 0, left: 0 });
    }
}
