//! What operators must know of the bastion itself: that no session can begin, and that it is over.
//!
//! These messages wait in memory: what they tell of is often that the disk, which keeps the others, takes nothing. A
//! server that stops before one was taken tells of what is still wrong when it starts again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{AGAIN, AGAIN_MAX, Letter, Notifier, TRIED, random_id};
use crate::audit::AuditEvent;
use crate::model::Timestamp;

/// So many wait for a way that does not take them.
const WAITING_MAX: usize = 64;

/// One such message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What has happened, such as `recorder.failed`.
    pub event: &'static str,
    /// In one line.
    pub subject: String,
    /// In several.
    pub text: String,
}

/// Tells operators, by all ways. Clones tell by the same.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    ways: Vec<(String, mpsc::Sender<Arc<Sent>>)>,
    /// Why the last try by a way was in vain, while one waits.
    trouble: Arc<Mutex<BTreeMap<String, String>>>,
}

/// An alert that was raised.
#[derive(Debug)]
pub(super) struct Sent {
    id: String,
    at: Timestamp,
    alert: Alert,
}

/// What one way has still to tell.
pub(super) struct Waiting {
    way: String,
    alerts: mpsc::Receiver<Arc<Sent>>,
}

impl Alerts {
    pub(super) fn by(ways: Vec<String>) -> (Self, Vec<Waiting>) {
        let mut own = Self::default();
        let mut all = Vec::new();
        for way in ways {
            let (send, alerts) = mpsc::channel(WAITING_MAX);
            own.ways.push((way.clone(), send));
            all.push(Waiting { way, alerts });
        }
        (own, all)
    }

    /// Has this told. Never waits.
    pub fn raise(&self, alert: Alert, now: Timestamp) {
        let sent = Arc::new(Sent { id: random_id(), at: now, alert });
        for (way, send) in &self.ways {
            if send.try_send(Arc::clone(&sent)).is_err() {
                error!(way, event = sent.alert.event, "An alert is not sent: too many wait already");
            }
        }
    }

    /// How many ways there are.
    pub fn ways(&self) -> usize {
        self.ways.len()
    }

    /// The ways by which an alert waits because it was not taken, and why not.
    pub fn trouble(&self) -> BTreeMap<String, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    /// Carries alerts by one way until `stop`. It waits for no disk.
    pub(super) async fn carry_alerts(self: Arc<Self>, mut waiting: Waiting, stop: CancellationToken) {
        let way = waiting.way;
        loop {
            let sent = tokio::select! {
                sent = waiting.alerts.recv() => sent,
                () = stop.cancelled() => return,
            };
            let Some(sent) = sent else { return };
            let begun = self.clock.instant();
            let mut pause = AGAIN;
            let result = loop {
                let (own, by, telling) = (Arc::clone(&self), way.clone(), Arc::clone(&sent));
                let told = tokio::task::spawn_blocking(move || own.tell(&by, &telling)).await;
                let why = match told.unwrap_or_else(|_| Err(String::from("the call panicked"))) {
                    Ok(()) => break String::from("delivered"),
                    Err(why) => why,
                };
                warn!(way, event = sent.alert.event, error = why, "An alert was not taken");
                self.alerts.lock().insert(way.clone(), why.clone());
                if begun.elapsed() >= TRIED {
                    break format!("given up: {why}");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = pause.saturating_mul(2).min(AGAIN_MAX),
                    () = stop.cancelled() => return,
                }
            };
            self.alerts.lock().remove(&way);
            info!(way, event = sent.alert.event, result, "Alert");
            let event =
                AuditEvent::Notified { request: None, about: sent.alert.event.to_owned(), way: way.clone(), result };
            // The log may hang: the next alert does not wait for it.
            let audit = Arc::clone(&self.audit);
            tokio::task::spawn_blocking(move || {
                if let Err(failure) = audit.append(&event) {
                    error!(error = %failure, "Cannot write the audit log");
                }
            });
        }
    }

    fn tell(&self, way: &str, sent: &Sent) -> Result<(), String> {
        let Sent { id, at, alert: Alert { event, subject, text } } = sent;
        // By mail the addresses that get each alert.
        let to = Vec::new();
        let text = format!("{subject}\n\n{text}\n");
        self.ways.send(
            way,
            &Letter { id, at: *at, event, request: None, to, subject, text: &text, alert: true, command: None },
        )
    }
}
