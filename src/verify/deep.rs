//! Opening what was found to be sealed as it was, and reading every line of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::report::{Opened, Report, SessionReport, Verdict};
use super::{Step, explain};
use crate::auditor::Identity;
use crate::seal::EnvelopeError;
use crate::store::{Catalog, PlainRecording, StoreError, StoreRoot};

/// Opens every recording of the report that is there, and puts what is wrong into it.
pub(super) fn read_all(root: &StoreRoot, identities: &[Identity], report: &mut Report, progress: &mut dyn FnMut(Step)) {
    let catalog = Catalog::new(root.clone());
    let mut opened = Opened::default();
    let total = u64::try_from(report.sessions.len()).unwrap_or(u64::MAX);
    for (done, session) in (1..).zip(&mut report.sessions) {
        match session.verdict {
            Verdict::Ok | Verdict::OkUnanchored | Verdict::Interrupted => {
                read(&catalog, identities, session, &mut opened);
            }
            Verdict::Expired | Verdict::Shredded | Verdict::Missing | Verdict::Tampered => {}
        }
        progress(Step::Sessions { done, total });
    }
    report.opened = Some(opened);
}

/// What a fault of reading means for the verdict.
enum Fault {
    /// What was sealed is not what the bastion seals.
    Altered,
    /// It cannot be read.
    Unreadable,
    /// Where a recording was interrupted, the end of it may be so.
    Torn,
}

fn read(catalog: &Catalog, identities: &[Identity], report: &mut SessionReport, opened: &mut Opened) {
    let stored = catalog.open(&report.session);
    let plain = stored.and_then(|stored| PlainRecording::open(catalog.root(), stored, identities));
    let plain = match plain {
        Ok(plain) => plain,
        Err(StoreError::Envelope { source: EnvelopeError::NotForYou, .. }) => {
            opened.sealed_for_others = opened.sealed_for_others.saturating_add(1);
            return;
        }
        Err(error) => return fault(report, &error),
    };
    opened.read = opened.read.saturating_add(1);
    for damage in &plain.damage {
        found(report, Fault::Torn, damage.clone());
    }
    let mut numbers = BTreeSet::new();
    for channel in &plain.channels {
        numbers.insert(channel.number);
        let mut before = Duration::ZERO;
        for event in channel.events() {
            match event {
                Ok(timed) if timed.at < before => {
                    let why = format!("channel {}: time goes back from {before:?} to {:?}", channel.number, timed.at);
                    return found(report, Fault::Altered, why);
                }
                Ok(timed) => before = timed.at,
                Err(error) => return fault(report, &error),
            }
        }
    }
}

fn fault(report: &mut SessionReport, error: &StoreError) {
    let kind = match error {
        StoreError::Segment { .. } | StoreError::Sealed { .. } | StoreError::Envelope { .. } => Fault::Altered,
        StoreError::Altered { .. } | StoreError::Damaged { .. } => Fault::Torn,
        StoreError::NotFound { .. }
        | StoreError::Erased { .. }
        | StoreError::Create { .. }
        | StoreError::Write { .. }
        | StoreError::Read { .. }
        | StoreError::Seal { .. } => Fault::Unreadable,
    };
    found(report, kind, explain(error));
}

fn found(report: &mut SessionReport, fault: Fault, why: String) {
    let place = format!("opened with the identity: {}", report.session);
    match fault {
        // Without a key it was found good as far as it must be.
        Fault::Torn if report.verdict == Verdict::Interrupted => return report.notes.push(why),
        Fault::Torn | Fault::Altered => report.verdict = Verdict::Tampered,
        Fault::Unreadable => report.verdict = report.verdict.max(Verdict::Missing),
    }
    report.findings.add(place, why);
}
