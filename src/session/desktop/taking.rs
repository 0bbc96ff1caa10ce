//! A desktop's records on their way to the disk, and what its process is told of that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::process::{Broken, Told};
use crate::cast::{Entry, take_apart};
use crate::rdp::control::ToProcess;
use crate::recorder::{Receipt, RecorderError, Track};

/// Records that were taken and are not known to be on disk yet; with more the process is not heard.
const UNACKNOWLEDGED_MAX: usize = 1024;

/// Takes records from a process.
pub(super) struct Taking {
    track: Arc<Track>,
    acknowledging: mpsc::Sender<Receipt>,
    /// Why a record that was taken could not be kept.
    pub failed: oneshot::Receiver<RecorderError>,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// It is none.
    Broken(Broken),
    /// It cannot be recorded.
    Recorder(RecorderError),
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Recorder(failure) => failure.fmt(f),
        }
    }
}

impl Taking {
    /// Begins to take records; who sends them is told by `teller` how many are on disk.
    pub fn start(track: Track, teller: mpsc::Sender<Told>) -> Self {
        let (acknowledging, receipts) = mpsc::channel(UNACKNOWLEDGED_MAX);
        let (failing, failed) = oneshot::channel();
        tokio::spawn(acknowledge(receipts, teller, failing));
        Self { track: Arc::new(track), acknowledging, failed }
    }

    /// Puts one record on its way to the disk. Waits while the recorder's queue is full.
    pub async fn take(&self, record: &[u8]) -> Result<(), NotTaken> {
        let (kind, bytes) = take_apart(record).ok_or(NotTaken::Broken(Broken::Unexpected("what is no record")))?;
        let entry = Entry::Record { kind, bytes: Bytes::copy_from_slice(bytes) };
        let receipt = self.track.append(entry).await.map_err(NotTaken::Recorder)?;
        // The task is gone only when a record could not be kept, or the process takes nothing any more.
        self.acknowledging.send(receipt).await.map_err(|_| NotTaken::Recorder(RecorderError::Finished))
    }

    /// Ends the record; all of it is on disk on return.
    pub async fn finish(&self) -> Result<(), RecorderError> {
        self.track.finish().await
    }
}

/// Tells the process how many of its records are on disk, in order; and says when one cannot be kept.
async fn acknowledge(
    mut receipts: mpsc::Receiver<Receipt>,
    teller: mpsc::Sender<Told>,
    failing: oneshot::Sender<RecorderError>,
) {
    let mut through = 0_u64;
    while let Some(mut receipt) = receipts.recv().await {
        through = through.saturating_add(1);
        // One receipt is good only once those before it are: the newest stands for all that wait.
        while let Ok(newer) = receipts.try_recv() {
            through = through.saturating_add(1);
            receipt = newer;
        }
        if let Err(failure) = receipt.durable().await {
            let _ = failing.send(failure);
            return;
        }
        if teller.send(ToProcess::Durable { through }.into()).await.is_err() {
            return;
        }
    }
}
