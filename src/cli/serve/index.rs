//! The index of commands follows the log, so that who asks of the past does not wait for it to be made.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::admin::Admin;

const LOOK: Duration = Duration::from_secs(60);
/// After a failure it is tried again so often; whoever asks for commands hears of it at once.
const AGAIN: Duration = Duration::from_secs(3600);

/// Follows for as long as the server runs.
pub(super) async fn follow(admin: Arc<Admin>) {
    loop {
        let own = Arc::clone(&admin);
        let pause = match tokio::task::spawn_blocking(move || own.index_commands()).await {
            Ok(Ok(true)) => Duration::ZERO,
            Ok(Ok(false)) => LOOK,
            Ok(Err(error)) => {
                warn!(%error, "The index of commands does not follow the log");
                AGAIN
            }
            // A panic has shown itself.
            Err(_) => AGAIN,
        };
        tokio::time::sleep(pause).await;
    }
}
