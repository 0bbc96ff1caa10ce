//! The thread that publishes each second, and watches the clock.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{Audit, AuditEvent};
use crate::tlog::Note;

/// How long an event waits at most before a checkpoint covers it.
const PERIOD: Duration = Duration::from_secs(1);

/// Publishes until it is dropped; then once more.
#[derive(Debug)]
pub struct Publishing {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Publishing {
    /// Starts to publish `audit` each second if it has grown; gives each new checkpoint to `published`, and to `stepped` by
    /// how many milliseconds the wall clock was set, before that is on record. Unless that has accepted it, and says so, it
    /// is told of it again.
    ///
    /// # Errors
    /// What the system says, if it gives no thread.
    pub fn start(
        audit: Arc<Audit>,
        published: impl Fn(&Note) + Send + 'static,
        stepped: impl Fn(i64) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let work = move || run(&audit, &stopped, &published, &stepped);
        let thread = std::thread::Builder::new().name("publishing".to_owned()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has shown itself; `Audit::close` publishes what is left.
            let _ = thread.join();
        }
    }
}

fn run(audit: &Audit, stopped: &Receiver<()>, published: &impl Fn(&Note), stepped: &impl Fn(i64) -> bool) {
    let mut fails = false;
    loop {
        let over = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
        if let Some(step_ms) = audit.clock.step()
            && stepped(step_ms)
        {
            warn!(step_ms, "The wall clock was set");
            if let Err(failure) = audit.append(&AuditEvent::ClockStep { step_ms }) {
                error!(error = %failure, "Cannot write the audit log");
            }
        }
        match audit.publish() {
            Ok(note) => {
                if std::mem::take(&mut fails) {
                    info!("The audit log is published again");
                }
                note.iter().for_each(published);
            }
            // Once, not each second.
            Err(failure) if !fails => {
                fails = true;
                error!(error = %failure, cause = ?std::error::Error::source(&failure), "Cannot publish the audit log");
            }
            Err(_) => {}
        }
        if over {
            return;
        }
    }
}
