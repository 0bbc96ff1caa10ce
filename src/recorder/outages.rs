//! The times in which no session could begin, and what must be told of them.
//!
//! An outage begins with the first failure and is over once nothing has failed for [`CALM`], so that a disk that is
//! full and has room by turns is one outage, and tells nobody each second. What the log must be told waits until the
//! log takes it: it may lie on the disk that fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::RecorderError;
use crate::model::Timestamp;
use crate::store::describe;

/// An outage is over when nothing has failed for so long.
pub(super) const CALM: Duration = Duration::from_secs(10);

/// A time in which no session could begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// When the first failure was seen.
    pub since: Timestamp,
    /// The first failure, with its causes.
    pub reason: String,
    /// What the operator can do.
    pub hint: &'static str,
    /// How long it lasted; none while it goes on.
    pub lasted: Option<Duration>,
}

/// The present outage, and those that the log has not been told of.
#[derive(Debug, Default)]
pub(super) struct Outages {
    present: Option<Present>,
    /// INVARIANT: short. While the log takes nothing, that is a failure itself, and no second outage begins.
    owed: VecDeque<Outage>,
}

#[derive(Debug)]
struct Present {
    outage: Outage,
    began: Instant,
    /// Since when nothing fails any more.
    well_since: Option<Instant>,
}

impl Outages {
    /// What is the case now; gives the outage that has just begun or ended.
    pub(super) fn look(&mut self, now: Timestamp, instant: Instant, failure: Option<&RecorderError>) -> Option<Outage> {
        let changed = match (&mut self.present, failure) {
            (None, None) => return None,
            (None, Some(failure)) => {
                let outage = Outage { since: now, reason: describe(failure), hint: failure.hint(), lasted: None };
                self.present = Some(Present { outage: outage.clone(), began: instant, well_since: None });
                outage
            }
            (Some(present), Some(_)) => {
                present.well_since = None;
                return None;
            }
            (Some(present), None) => {
                let well_since = *present.well_since.get_or_insert(instant);
                if instant.saturating_duration_since(well_since) < CALM {
                    return None;
                }
                let lasted = well_since.saturating_duration_since(present.began);
                let outage = Outage { lasted: Some(lasted), ..present.outage.clone() };
                self.present = None;
                // The log need not be told of the beginning alone when it can be told of the whole.
                self.owed.retain(|owed| owed.since != outage.since);
                outage
            }
        };
        self.owed.push_back(changed.clone());
        Some(changed)
    }

    /// The first that the log has not been told of.
    pub(super) fn owed(&self) -> Option<Outage> {
        self.owed.front().cloned()
    }

    /// The log has taken this.
    pub(super) fn told(&mut self, outage: &Outage) {
        if self.owed.front() == Some(outage) {
            self.owed.pop_front();
        }
    }

    /// The present outage, and whether it is on record.
    pub(super) fn present(&self) -> Option<(Outage, bool)> {
        let present = self.present.as_ref()?;
        Some((present.outage.clone(), !self.owed.contains(&present.outage)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LOW: RecorderError = RecorderError::LowSpace { free: 1, free_min: 2 };

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_has_been_over_for_a_while() {
        let mut sim = Sim::new();
        let begun = sim.look(0, Some(&LOW)).unwrap();
        assert_eq!((begun.since, begun.lasted), (Timestamp::from_millis(0), None));
        assert!(begun.reason.contains("free_min") && begun.hint.contains("free space"), "{begun:?}");
        assert_eq!(sim.look(1, Some(&RecorderError::Panicked)), None, "it is the same one");
        // For less than `CALM` nothing fails: it is not over.
        assert_eq!((sim.look(20, None), sim.look(29, None), sim.look(30, Some(&LOW))), (None, None, None));
        assert_eq!((sim.look(40, None), sim.look(49, None)), (None, None));
        let over = sim.look(50, None).unwrap();
        assert_eq!(over, Outage { lasted: Some(Duration::from_secs(40)), ..begun.clone() });
        assert_eq!((sim.look(51, None), sim.outages.present()), (None, None));
        let second = sim.look(60, Some(&LOW)).unwrap();
        assert_eq!(second.since, Timestamp::from_millis(60_000));
        // Of the first the log needs to know only the whole.
        assert_eq!(sim.outages.owed(), Some(over.clone()));
        sim.outages.told(&over);
        assert_eq!(sim.outages.present(), Some((second.clone(), false)));
        sim.outages.told(&second);
        assert_eq!((sim.outages.present(), sim.outages.owed()), (Some((second, true)), None));
    }

    struct Sim {
        outages: Outages,
        start: Instant,
    }

    impl Sim {
        fn new() -> Self {
            Self { outages: Outages::default(), start: Clock::system().instant() }
        }

        fn look(&mut self, second: u64, failure: Option<&RecorderError>) -> Option<Outage> {
            let now = Timestamp::from_millis(i64::try_from(second * 1000).unwrap());
            self.outages.look(now, self.start + Duration::from_secs(second), failure)
        }
    }
}
