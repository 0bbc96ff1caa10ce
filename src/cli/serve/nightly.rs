//! The daily backup, and what operators are told when there is none.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::admin::{Admin, NotBackedUp};
use crate::clock::Clock;
use crate::config::BackupSettings;
use crate::notify::{Alert, Alerts};

/// After a failure it is tried again so often.
const AGAIN: Duration = Duration::from_secs(3600);
/// Nobody waits longer before looking whether one is due: the clock may be set meanwhile.
const LOOK: Duration = Duration::from_secs(600);

const EVENT: &str = "backup.failed";

/// Backs up when it is time, for as long as the server runs; not at all where nothing is configured.
pub(super) async fn back_up(
    admin: Arc<Admin>,
    settings: Option<BackupSettings>,
    alerts: Alerts,
    node: String,
    clock: Clock,
) {
    let Some(settings) = settings else { return };
    loop {
        let (own, wanted) = (Arc::clone(&admin), settings.clone());
        let looked = tokio::task::spawn_blocking(move || match own.backup_due(&wanted) {
            due if due.is_zero() => Ok(own.back_up(&wanted)),
            due => Err(due),
        });
        let pause = match looked.await {
            Ok(Err(due)) => due.min(LOOK),
            Ok(Ok(Ok((facts, again)))) => {
                info!(leaves = facts.leaves, files = facts.copied.files, bytes = facts.copied.bytes, "Backed up");
                if again {
                    alerts.raise(over(&node), clock.now());
                }
                Duration::ZERO
            }
            Ok(Ok(Err(failed))) => {
                error!(
                    error = failed.why,
                    hint = failed.hint,
                    "The daily backup was not made; it is tried again each hour"
                );
                if failed.first {
                    alerts.raise(alert(&node, &failed), clock.now());
                }
                AGAIN
            }
            // A panic has shown itself.
            Err(_) => AGAIN,
        };
        tokio::time::sleep(pause).await;
    }
}

fn alert(node: &str, failed: &NotBackedUp) -> Alert {
    let NotBackedUp { why, hint, first: _ } = failed;
    Alert {
        event: EVENT,
        subject: format!("ALERT: bastion {node} has no new backup: {why}"),
        text: format!("{hint}\nIt is tried again each hour. More: `doorward doctor`"),
    }
}

fn over(node: &str) -> Alert {
    Alert {
        event: EVENT,
        subject: format!("bastion {node} is backed up again"),
        text: String::from("The daily backup had failed, and is made."),
    }
}
