//! The next connection from the network, if there is a place for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::limits::{Limits, Place};
use crate::wire::Cut;

/// After an error of `accept`, out of file descriptors mostly: what is open goes on, and accepting is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next connection, where it comes from, and its place among the strangers; none once `stop` is cut.
pub async fn accept(
    listener: &TcpListener,
    strangers: &Limits<IpAddr>,
    stop: &Cut,
) -> Option<(TcpStream, SocketAddr, Place<IpAddr>)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cut_off() => return None,
        };
        let (stream, source) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = %error, "Cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = strangers.enter(source.ip()) else {
            debug!(source = %source, "Connection refused: too many that have not logged in");
            continue;
        };
        match stream.set_nodelay(true) {
            Ok(()) => return Some((stream, source, place)),
            Err(error) => debug!(source = %source, error = %error, "Connection lost"),
        }
    }
}
