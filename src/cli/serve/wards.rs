//! What watches over the server: witnesses who have seen another history of its log, and what operators are told when
//! no session can begin.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::ServeError;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::notify::{Alert, Alerts};
use crate::recorder::{Outage, Recorder};
use crate::witness::Submitter;

/// The server's start waits so long for the first word of each witness: a log that was put back must be known as such
/// before a session begins on it.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// It is looked so often whether a witness has seen another history, or an operator has answered for it.
const LOOK: Duration = Duration::from_millis(500);

/// Has each checkpoint cosigned by the witnesses of the configuration. On return each that answers has been heard.
pub(super) async fn ask_witnesses(config: &Config, audit: &Arc<Audit>) -> Result<Arc<Submitter>, ServeError> {
    let keeper = Arc::clone(audit);
    let keep = move |size, signature| {
        if let Err(failure) = keeper.cosigned(size, signature) {
            warn!(error = %failure, "A witness's signature cannot be kept");
        }
    };
    let witnesses = Submitter::start(audit.reader().clone(), audit.key().clone(), config.witnesses.clone(), keep)
        .map_err(ServeError::System)?;
    let witnesses = Arc::new(witnesses);
    let waiting = Arc::clone(&witnesses);
    // Witnesses that are away are asked again later, and keep nobody out: what they know is found then.
    let _ = tokio::task::spawn_blocking(move || waiting.wait_asked(FIRST_WORD)).await;
    Ok(witnesses)
}

/// Lets no session begin while a witness has seen another history of the log and no operator has answered for it.
pub(super) async fn watch_history(witnesses: Arc<Submitter>, audit: Arc<Audit>, recorder: Recorder) {
    let mut published = 0;
    loop {
        // Whoever asks for a proof publishes what it rests on, and tells no witness.
        let size = audit.size();
        if std::mem::replace(&mut published, size) != size {
            witnesses.published();
        }
        let (asked, log, keeper) = (Arc::clone(&witnesses), Arc::clone(&audit), recorder.clone());
        // After a panic, which has shown itself, it is looked again.
        let _ = tokio::task::spawn_blocking(move || look(&asked, &log, &keeper)).await;
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks once. Blocks.
pub(super) fn look(witnesses: &Submitter, audit: &Audit, recorder: &Recorder) {
    for health in witnesses.health() {
        let Some(alarm) = health.alarm else { continue };
        if let Err(failure) = audit.contest(&health.witness, alarm.size(), &alarm.to_string()) {
            error!(error = %failure, "What a witness has seen cannot be kept; it is in force all the same");
        }
    }
    let all: Vec<_> =
        audit.contested().iter().map(|contest| format!("{}: {}", contest.witness, contest.what)).collect();
    recorder.contest((!all.is_empty()).then(|| all.join("; ")));
}

/// Tells operators when no session can begin, and when that is over.
pub(super) async fn tell_outages(recorder: Recorder, alerts: Alerts, node: String, clock: Clock) {
    let mut outages = recorder.outages();
    loop {
        let newest = outages.borrow_and_update().clone();
        if let Some(outage) = newest {
            alerts.raise(alert(&node, &outage), clock.now());
        }
        if outages.changed().await.is_err() {
            return;
        }
    }
}

fn alert(node: &str, outage: &Outage) -> Alert {
    let Outage { since, reason, hint, lasted } = outage;
    let event = "recorder.failed";
    match lasted {
        None => Alert {
            event,
            subject: format!("ALERT: bastion {node} lets no session begin: {reason}"),
            text: format!("Since {since}. {hint}\nMore: `doorward doctor`"),
        },
        Some(lasted) => Alert {
            event,
            subject: format!("bastion {node} lets sessions begin again"),
            text: format!("From {since} on it did not, for {} s: {reason}", lasted.as_secs()),
        },
    }
}
