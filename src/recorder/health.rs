//! Whether new sessions may begin.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::outages::{Outage, Outages};
use super::{FreeMin, RecorderError, Reserve};
use crate::clock::Clock;
use crate::store::{Disk, Space};

/// What is known of the disk. A failure stays until a check finds the disk in order.
pub(super) struct Health {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    free_min: FreeMin,
    reserve: Option<Arc<dyn Reserve>>,
    reserve_used: AtomicBool,
    failure: Mutex<Option<RecorderError>>,
    /// Why the log takes nothing; until it does.
    log_failure: Mutex<Option<RecorderError>>,
    /// What others know of the log that it does not have, and since when; until an operator has answered for it.
    contested: Mutex<Option<(RecorderError, Instant)>>,
    outages: Mutex<Outages>,
    /// The newest outage; whoever tells people listens here.
    newest: watch::Sender<Option<Outage>>,
    clock: Clock,
    checking: AtomicBool,
    slow: Mutex<SlowSyncs>,
}

/// A sync that takes so long holds the session up noticeably.
pub(super) const SLOW_SYNC: Duration = Duration::from_millis(250);

/// The syncs that held sessions up, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlowSyncs {
    /// How many took 250 ms or more.
    pub count: u64,
    /// The longest of them.
    pub longest: Duration,
}

impl Health {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        free_min: FreeMin,
        reserve: Option<Arc<dyn Reserve>>,
        clock: Clock,
    ) -> Self {
        let (reserve_used, checking) = (AtomicBool::new(false), AtomicBool::new(false));
        let slow = Mutex::new(SlowSyncs::default());
        Self {
            disk,
            directory,
            free_min,
            reserve,
            reserve_used,
            failure: Mutex::new(None),
            log_failure: Mutex::new(None),
            contested: Mutex::new(None),
            outages: Mutex::default(),
            newest: watch::Sender::new(None),
            clock,
            checking,
            slow,
        }
    }

    pub(super) fn state(&self) -> Result<(), RecorderError> {
        // Little space keeps no break-glass role out; a log that is contested does, and so it comes first.
        let contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let log_failure = self.log_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let contested = contested.as_ref().map(|(failure, _)| failure.clone());
        contested.or_else(|| failure.clone()).or_else(|| log_failure.clone()).map_or(Ok(()), Err)
    }

    /// Others know of another history of the log, or an operator has answered for that.
    pub(super) fn contest(&self, why: Option<String>) {
        self.contest_since(why, self.clock.instant());
    }

    pub(super) fn contest_since(&self, why: Option<String>, now: Instant) {
        let mut contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        let was = contested.take();
        let since = was.as_ref().map_or(now, |(_, since)| *since);
        let new = why.map(|why| RecorderError::Contested { why });
        tell(was.map(|(was, _)| was).as_ref(), new.as_ref());
        *contested = new.map(|failure| (failure, since));
        drop(contested);
        self.look();
    }

    /// Why the log has been contested for so long, if it has.
    pub(super) fn contested_for(&self, long: Duration) -> Option<RecorderError> {
        let contested = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        let (failure, since) = contested.as_ref()?;
        (self.clock.instant().saturating_duration_since(*since) >= long).then(|| failure.clone())
    }

    /// Notes when an outage begins and ends.
    fn look(&self) {
        let mut outages = self.lock_outages();
        let (now, instant) = (self.clock.now(), self.clock.instant());
        let changed = outages.look(now, instant, self.state().err().as_ref());
        // Still locked, so that the newest comes last.
        if changed.is_some() {
            self.newest.send_replace(changed);
        }
    }

    /// The outages of this process, each as it begins and as it is over.
    pub(super) fn outages(&self) -> watch::Receiver<Option<Outage>> {
        self.newest.subscribe()
    }

    /// The present one, and whether it is on record.
    pub(super) fn outage(&self) -> Option<(Outage, bool)> {
        self.lock_outages().present()
    }

    /// The first outage that the log must be told of.
    pub(super) fn owed(&self) -> Option<Outage> {
        self.lock_outages().owed()
    }

    /// The log has taken this one.
    pub(super) fn on_record(&self, outage: &Outage) {
        self.lock_outages().told(outage);
    }

    fn lock_outages(&self) -> std::sync::MutexGuard<'_, Outages> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk_failed_before(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// A sync took so long. The first that is slow is told at once, the others by their number.
    pub(super) fn synced(&self, took: Duration) {
        if took < SLOW_SYNC {
            return;
        }
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.count = slow.count.saturating_add(1);
        slow.longest = slow.longest.max(took);
        if slow.count.is_power_of_two() {
            let SlowSyncs { count, longest } = *slow;
            warn!(?took, count, ?longest, "The disk is slow: sessions wait for it; `doorward doctor` measures it");
        }
    }

    pub(super) fn slow_syncs(&self) -> SlowSyncs {
        *self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log does not take what must be on record.
    pub(super) fn log_failed(&self, failure: &RecorderError) {
        self.replace(&self.log_failure, Some(failure.clone()));
    }

    /// The log has taken something.
    pub(super) fn log_works(&self) {
        self.replace(&self.log_failure, None);
    }

    /// Notes a failure. Faults that say nothing of the disk are not kept.
    pub(super) fn failed(&self, failure: &RecorderError) {
        match failure {
            // A path that is there already, or gone, is one recording's trouble.
            RecorderError::Store(error) if error.is_about_one_path() => {}
            RecorderError::DiskFull { .. } | RecorderError::Stalled { .. } | RecorderError::Store(_) => {
                self.replace(&self.failure, Some(failure.clone()))
            }
            RecorderError::Log(_)
            | RecorderError::Contested { .. }
            | RecorderError::LowSpace { .. }
            | RecorderError::Finished
            | RecorderError::Panicked => {}
        }
    }

    /// Gives the reserved space back, so that what has begun can be completed.
    pub(super) fn use_reserve(&self) {
        if let Some(reserve) = &self.reserve {
            self.reserve_used.store(true, Ordering::SeqCst);
            reserve.give_back();
        }
    }

    /// Looks at the free space; after a failure, tries whether the disk works. Blocks.
    pub(super) fn check(&self) {
        // On a disk that hangs one thread may hang here, not all of them.
        if !self.checking.swap(true, Ordering::SeqCst) {
            self.check_alone();
            self.checking.store(false, Ordering::SeqCst);
        }
        // An outage is over when nothing has happened for a while.
        self.look();
    }

    fn check_alone(&self) {
        let failed = self.disk_failed_before();
        let found = self.disk.space(&self.directory).and_then(|Space { free, total }| {
            let free_min = self.free_min.of(total);
            if failed && free >= free_min {
                self.disk.probe(&self.directory)?;
            }
            Ok((free, free_min))
        });
        match found {
            Ok((free, free_min)) if free < free_min => {
                self.replace(&self.failure, Some(RecorderError::LowSpace { free, free_min }));
            }
            Ok(_) if failed => {
                if self.restore_reserve() {
                    self.replace(&self.failure, None);
                }
            }
            Ok(_) => {}
            Err(source) => {
                let path = self.directory.clone();
                self.replace(&self.failure, Some(crate::store::StoreError::Write { path, source }.into()));
            }
        }
    }

    /// Notes a failure, or that there is none any more.
    fn replace(&self, kept: &Mutex<Option<RecorderError>>, new: Option<RecorderError>) {
        let mut failure = kept.lock().unwrap_or_else(PoisonError::into_inner);
        tell(failure.as_ref(), new.as_ref());
        *failure = new;
        drop(failure);
        self.look();
    }

    fn restore_reserve(&self) -> bool {
        let Some(reserve) = self.reserve.as_ref().filter(|_| self.reserve_used.load(Ordering::SeqCst)) else {
            return true;
        };
        let restored = reserve.set_aside();
        self.reserve_used.store(!restored, Ordering::SeqCst);
        restored
    }
}

/// Says in the server's own log that a failure is new, or over.
fn tell(was: Option<&RecorderError>, new: Option<&RecorderError>) {
    match (was, new) {
        (None, Some(failure)) => error!(error = %failure, hint = failure.hint(), "New sessions are refused"),
        (Some(was), None) => info!(was = %was, "That is over: new sessions are not refused for it any more"),
        (None, None) | (Some(_), Some(_)) => {}
    }
}
