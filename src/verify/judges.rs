//! Sessions are judged side by side: what takes long is hashing, and each processor hashes.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SendError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::segment::CHUNK_BYTES;
use super::session::{Facts, Outcome, judge};
use crate::model::SessionId;

/// So many cases wait at most, for all judges: the pass goes on reading leaves while they are at work.
const WAITING_MAX: usize = 16;
/// More judges than that wait for the disk, not for a processor.
const JUDGES_MAX: usize = 8;

/// A session to judge.
pub(super) struct Case {
    pub(super) session: SessionId,
    /// Where it is.
    pub(super) directory: PathBuf,
    /// How findings name that.
    pub(super) place: String,
    /// What the log says of it.
    pub(super) facts: Facts,
}

impl Case {
    fn judged(self, chunk: &mut [u8]) -> Judged {
        let outcome = judge(&self.session, &self.directory, &self.place, self.facts, chunk);
        Judged { session: self.session, outcome }
    }
}

/// One that was judged.
pub(super) struct Judged {
    pub(super) session: SessionId,
    pub(super) outcome: Outcome,
}

/// Judges at work.
pub(super) struct Judges {
    cases: SyncSender<Case>,
    /// None where the judge panicked.
    judged: Receiver<Option<Judged>>,
    /// For cases that no judge takes.
    own: Sender<Option<Judged>>,
    /// How many were given and not taken back.
    out: usize,
}

impl Judges {
    /// Has `work` done with a judge for each processor. Panics of theirs go on in the caller.
    pub(super) fn sit<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        let (cases, taken) = sync_channel::<Case>(WAITING_MAX);
        let (own, judged) = channel();
        let taken = Arc::new(Mutex::new(taken));
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(JUDGES_MAX) {
                let (taken, done) = (Arc::clone(&taken), own.clone());
                let sitting = move || {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    // The guard goes before the case is judged, so that the next judge takes the next one.
                    let next = || taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    while let Ok(case) = next() {
                        // Nobody waits for a case that never comes back.
                        match catch_unwind(AssertUnwindSafe(|| case.judged(&mut chunk))) {
                            Ok(judged) => {
                                if done.send(Some(judged)).is_err() {
                                    return;
                                }
                            }
                            Err(panic) => {
                                let _ = done.send(None);
                                resume_unwind(panic);
                            }
                        }
                    }
                };
                // Without a thread there is one judge less; without any, the caller judges.
                let _ = thread::Builder::new().name(String::from("verify")).spawn_scoped(scope, sitting);
            }
            // The judges have it; without one, `give` is refused and not left waiting.
            drop(taken);
            work(&mut Self { cases, judged, own, out: 0 })
        })
    }

    /// Has a case judged; blocks while many wait.
    pub(super) fn give(&mut self, case: Case) {
        self.out = self.out.saturating_add(1);
        if let Err(SendError(case)) = self.cases.send(case) {
            // It cannot fail: its receiver is here.
            let _ = self.own.send(Some(case.judged(&mut vec![0; CHUNK_BYTES])));
        }
    }

    /// One that is judged, if there is one now.
    pub(super) fn ready(&mut self) -> Option<Judged> {
        let judged = self.judged.try_recv().ok()?;
        self.out = self.out.saturating_sub(1);
        judged
    }

    /// The next that is judged; `None` once all are back, or a judge has panicked.
    pub(super) fn next(&mut self) -> Option<Judged> {
        self.out = self.out.checked_sub(1)?;
        self.judged.recv().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn each_case_comes_back_once_however_many_wait() {
        let dir = tempfile::tempdir().unwrap();
        let case = |n: u128| {
            let session = SessionId::from_parts(Timestamp::from_millis(1), n);
            let directory = dir.path().join(session.as_str());
            if n.is_multiple_of(2) {
                std::fs::create_dir(&directory).unwrap();
                crate::durable::create_new(&directory.join("other"), b"x", 0o600).unwrap();
            }
            Case { session, directory, place: String::from("rec"), facts: Facts::default() }
        };
        let mut back = BTreeSet::new();
        let mut altered = 0;
        Judges::sit(|judges| {
            let mut take = |judged: Judged| {
                assert!(back.insert(judged.session), "twice");
                altered += usize::from(!judged.outcome.findings.is_empty());
            };
            for n in 0..200 {
                judges.give(case(n));
                if let Some(judged) = judges.ready() {
                    take(judged);
                }
            }
            while let Some(judged) = judges.next() {
                take(judged);
            }
            assert!(judges.next().is_none() && judges.ready().is_none());
        });
        assert_eq!((back.len(), altered), (200, 100));
    }
}
