//! Whether new sessions may begin.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info};

use super::{RecorderError, Reserve};
use crate::store::Disk;

/// What is known of the disk. A failure stays until a check finds the disk in order.
pub(super) struct Health {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    free_min: u64,
    reserve: Option<Arc<dyn Reserve>>,
    reserve_used: AtomicBool,
    failure: Mutex<Option<RecorderError>>,
    checking: AtomicBool,
}

impl Health {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        free_min: u64,
        reserve: Option<Arc<dyn Reserve>>,
    ) -> Self {
        let (reserve_used, checking) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { disk, directory, free_min, reserve, reserve_used, failure: Mutex::new(None), checking }
    }

    pub(super) fn state(&self) -> Result<(), RecorderError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }

    /// Notes a failure. Faults that say nothing of the disk are not kept.
    pub(super) fn failed(&self, failure: &RecorderError) {
        match failure {
            // A path that is there already, or gone, is one recording's trouble.
            RecorderError::Store(error) if error.is_about_one_path() => {}
            RecorderError::DiskFull { .. }
            | RecorderError::Stalled { .. }
            | RecorderError::Store(_)
            | RecorderError::Log(_) => {
                self.set(Some(failure.clone()));
            }
            RecorderError::LowSpace { .. } | RecorderError::Finished | RecorderError::Panicked => {}
        }
    }

    fn set(&self, new: Option<RecorderError>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*failure, &new) {
            (None, Some(failure)) => error!(error = %failure, hint = failure.hint(), "New sessions are refused"),
            (Some(_), None) => info!("New sessions are taken again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *failure = new;
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
        let failed = self.state().is_err();
        let found = self.disk.free_bytes(&self.directory).and_then(|free| {
            if failed && free >= self.free_min {
                self.disk.probe(&self.directory)?;
            }
            Ok(free)
        });
        match found {
            Ok(free) if free < self.free_min => {
                self.set(Some(RecorderError::LowSpace { free, free_min: self.free_min }));
            }
            Ok(_) if failed => {
                if self.restore_reserve() {
                    self.set(None);
                }
            }
            Ok(_) => {}
            Err(source) => {
                let path = self.directory.clone();
                self.set(Some(crate::store::StoreError::Write { path, source }.into()));
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
