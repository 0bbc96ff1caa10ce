//! Whether new sessions may begin.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use super::{FreeMin, RecorderError, Reserve};
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
    checking: AtomicBool,
    slow: Mutex<SlowSyncs>,
}

/// A sync that takes so long holds the session up noticeably.
const SLOW_SYNC: Duration = Duration::from_millis(250);

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
            checking,
            slow,
        }
    }

    pub(super) fn state(&self) -> Result<(), RecorderError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let log_failure = self.log_failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().or_else(|| log_failure.clone()).map_or(Ok(()), Err)
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
        replace(&self.log_failure, Some(failure.clone()));
    }

    /// The log has taken something.
    pub(super) fn log_works(&self) {
        replace(&self.log_failure, None);
    }

    /// Notes a failure. Faults that say nothing of the disk are not kept.
    pub(super) fn failed(&self, failure: &RecorderError) {
        match failure {
            // A path that is there already, or gone, is one recording's trouble.
            RecorderError::Store(error) if error.is_about_one_path() => {}
            RecorderError::DiskFull { .. } | RecorderError::Stalled { .. } | RecorderError::Store(_) => {
                replace(&self.failure, Some(failure.clone()))
            }
            RecorderError::Log(_)
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
                replace(&self.failure, Some(RecorderError::LowSpace { free, free_min }));
            }
            Ok(_) if failed => {
                if self.restore_reserve() {
                    replace(&self.failure, None);
                }
            }
            Ok(_) => {}
            Err(source) => {
                let path = self.directory.clone();
                replace(&self.failure, Some(crate::store::StoreError::Write { path, source }.into()));
            }
        }
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

/// Notes a failure, or that there is none any more, and says so where that is new.
fn replace(kept: &Mutex<Option<RecorderError>>, new: Option<RecorderError>) {
    let mut failure = kept.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*failure, &new) {
        (None, Some(failure)) => error!(error = %failure, hint = failure.hint(), "New sessions are refused"),
        (Some(was), None) => info!(was = %was, "That is over: new sessions are not refused for it any more"),
        (None, None) | (Some(_), Some(_)) => {}
    }
    *failure = new;
}
