//! What stands between a channel's two sources and the relay, and what becomes of files on record.
//!
//! Two tasks, one for each direction, let through what they have understood. What they let through reaches the relay as
//! an [`Inspected`] source; what they have to say of files goes into a [`Book`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::error;

use crate::audit::{Audit, AuditEvent};
use crate::cast::Entry;
use crate::model::{ChannelEvent, ChannelNumber, SessionId};
use crate::recorder::{RecorderError, Track};
use crate::wire::channel::{Credit, Source};

/// Events that may wait between a task and the relay.
pub const EVENTS_MAX: usize = 16;

/// What is let through of one direction.
pub struct Inspected {
    events: mpsc::Receiver<ChannelEvent>,
    credit: Credits,
    task: AbortHandle,
}

impl Inspected {
    /// What `task` lets through, as `events`. The task ends with this.
    pub fn new(events: mpsc::Receiver<ChannelEvent>, credit: Credits, task: AbortHandle) -> Self {
        Self { events, credit, task }
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for Inspected {
    async fn next(&mut self) -> Option<ChannelEvent> {
        self.events.recv().await
    }

    fn credit(&self) -> impl Credit + 'static {
        self.credit.clone()
    }
}

/// What a peer may send more. Bytes of our own come from no peer's window.
#[derive(Clone)]
pub struct Credits {
    peer: Arc<dyn Credit>,
    own: Arc<AtomicUsize>,
}

impl Credits {
    /// For what comes from `source`.
    pub fn of(source: &impl Source) -> Self {
        Self { peer: Arc::new(source.credit()), own: Arc::default() }
    }

    /// So many bytes on their way are ours.
    pub fn own(&self, bytes: usize) {
        self.own.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many bytes of the peer's go no further.
    pub fn dropped(&self, bytes: usize) {
        self.peer.consumed(bytes);
    }
}

impl Credit for Credits {
    fn consumed(&self, bytes: usize) {
        let own = self.own.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |own| Some(own.saturating_sub(bytes)));
        let peers = bytes.saturating_sub(own.unwrap_or_default());
        if peers > 0 {
            self.peer.consumed(peers);
        }
    }
}

/// What is put on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// For the recording.
    pub text: String,
    /// Whether it must be there before what it is about goes on.
    pub first: bool,
    /// For the audit log.
    pub file: Option<FileNote>,
    /// What was refused, if it tells that.
    pub refused: Option<Refused>,
}

/// What a user was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What they asked for.
    pub what: String,
    /// Why, as they were told.
    pub told: String,
}

/// What became of a file, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNote {
    /// Such as `get`, `put`, `remove`.
    pub what: &'static str,
    /// The path, as the user named it; where rules name paths, the one that it leads to.
    pub path: String,
    /// The other path, of a rename or a link.
    pub to: Option<String>,
    /// What more is known: what went through, or which attributes were set.
    pub detail: Option<String>,
}

/// It could not be put on record: what it was about must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded;

/// Where it is put on record what becomes of files.
pub struct Book {
    /// The channel's recording.
    pub track: Arc<Track>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The session.
    pub session: SessionId,
    /// The channel.
    pub channel: ChannelNumber,
}

impl Book {
    /// Puts a note on record; what is for the audit log, and what must be `first`, is there on return.
    ///
    /// # Errors
    /// `Unrecorded`.
    pub async fn write(&self, Note { text, first, file, .. }: Note) -> Result<(), Unrecorded> {
        let recorded = async {
            let receipt = self.track.append(Entry::Marker(text)).await?;
            if first { receipt.durable().await } else { Ok(()) }
        };
        // The relay finds the recording failed, and says so.
        recorded.await.map_err(|_: RecorderError| Unrecorded)?;
        match file {
            Some(file) => self.log(vec![file]).await,
            None => Ok(()),
        }
    }

    /// Puts notes on record behind which nothing comes: the end of the channel's record covers them all.
    pub async fn write_last(&self, notes: Vec<Note>) {
        let mut files = Vec::new();
        for Note { text, file, .. } in notes {
            if self.track.append(Entry::Marker(text)).await.is_err() {
                return;
            }
            files.extend(file);
        }
        let _ = self.log(files).await;
    }

    async fn log(&self, files: Vec<FileNote>) -> Result<(), Unrecorded> {
        let event = |FileNote { what, path, to, detail }| AuditEvent::File {
            session: self.session.clone(),
            channel: self.channel.0,
            what: String::from(what),
            path,
            to,
            detail,
        };
        let events: Vec<AuditEvent> = files.into_iter().map(event).collect();
        let audit = Arc::clone(&self.audit);
        let logging = move || events.iter().try_for_each(|event| audit.append(event).map(|_| ()));
        match tokio::task::spawn_blocking(logging).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => {
                error!(error = %failure, "Cannot put on record what becomes of a file");
                Err(Unrecorded)
            }
            Err(_) => Err(Unrecorded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted(AtomicUsize);

    impl Credit for Arc<Counted> {
        fn consumed(&self, bytes: usize) {
            self.0.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    #[test]
    fn packets_of_our_own_open_no_peers_window() {
        let counted = Arc::new(Counted(AtomicUsize::new(0)));
        let credits = Credits { peer: Arc::new(Arc::clone(&counted)), own: Arc::default() };
        credits.own(30);
        for _ in 0..10 {
            credits.consumed(10);
        }
        credits.dropped(5);
        assert_eq!(counted.0.load(Ordering::SeqCst), 75);
    }
}
