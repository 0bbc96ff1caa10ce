//! The administration socket: who may ask is the kernel's word (peer credentials), not the asker's.
//!
//! One connection carries one request and one answer, each a length (4 bytes, big-endian) and so much JSON.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::api::{Answer, Failure, Request};
use super::{Admin, Caller, Via};
use crate::audit::{AuditEvent, Call};

/// A request is far smaller; an inventory of thousands of targets fits.
pub const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// A listing of a large store fits.
pub const ANSWER_BYTES_MAX: u32 = 256 << 20;
/// Time to send a request, and to take an answer.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls that run when the server stops have so long to end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once.
const CONNECTIONS_MAX: usize = 32;
/// After an error of `accept`: out of files, most likely, and a try at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a refused caller holds its place for, so that refusals cannot fill the audit log.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);
/// Refused callers at once; each waits a moment, so that one cannot fill the audit log.
const REFUSALS_MAX: usize = 4;

/// Opens the socket at `path`, for the server's own user. The caller holds the state's lock, so a socket that is
/// there belongs to nobody.
///
/// # Errors
/// What the system says.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// With operators everybody who reaches the path may connect, and the peer's credentials decide.
fn open_to_operators(listener: &UnixListener, operators: &BTreeSet<u32>) {
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    let Some(path) = path.filter(|_| !operators.is_empty()) else { return };
    if let Err(error) = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)) {
        warn!(path = %path.display(), %error, "Operators cannot reach the administration socket");
    }
}

/// Answers operators until `shutdown`; calls that run then have a moment to finish.
pub async fn serve(listener: UnixListener, admin: Arc<Admin>, shutdown: CancellationToken) {
    open_to_operators(&listener, &admin.parts.config.admin.operators);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut calls = tokio::task::JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = shutdown.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
            // Ended calls are taken out as they end, or the set would grow.
            Some(_) = calls.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                calls.spawn(connection(stream, Arc::clone(&admin), Arc::clone(&refusals), place));
            }
            Err(error) => {
                warn!(%error, "Administration socket cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let finish = async { while calls.join_next().await.is_some() {} };
    if timeout(FINISH_TIMEOUT, finish).await.is_err() {
        warn!("Administration calls did not end in time");
    }
    // Nobody answers here any more; the state's lock keeps another server from having taken the place.
    if let Err(error) = std::fs::remove_file(&admin.parts.config.admin.socket) {
        warn!(%error, "Administration socket cannot be removed");
    }
}

async fn connection(stream: UnixStream, admin: Arc<Admin>, refusals: Arc<Semaphore>, _place: OwnedSemaphorePermit) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return warn!(%error, "Administration caller has no credentials"),
    };
    if may_operate(uid, rustix::process::geteuid().as_raw(), &admin.parts.config.admin.operators) {
        if let Err(error) = exchange(stream, admin, uid).await {
            info!(uid, %error, "Administration call broke off");
        }
    } else if let Ok(_turn) = refusals.acquire().await {
        refuse(stream, admin, uid).await;
    }
}

/// Operators are root, the server's own user, and those of the configuration.
fn may_operate(uid: u32, own: u32, operators: &BTreeSet<u32>) -> bool {
    uid == 0 || uid == own || operators.contains(&uid)
}

async fn exchange(mut stream: UnixStream, admin: Arc<Admin>, uid: u32) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let frame = timeout(PEER_TIMEOUT, receive(&mut stream)).await.map_err(late)??;
    let answered = tokio::task::spawn_blocking(move || answer(&admin, uid, &frame)).await;
    let bytes = answered.map_err(|_| io::Error::other("the call failed inside"))?;
    timeout(PEER_TIMEOUT, send(&mut stream, &bytes)).await.map_err(late)?
}

fn answer(admin: &Admin, uid: u32, frame: &[u8]) -> Zeroizing<Vec<u8>> {
    let answer: Answer = match serde_json::from_slice::<Request>(frame) {
        Ok(request) => admin.call(Caller { uid, via: Via::Socket }, request).map_err(|error| error.failure()),
        Err(error) => Err(Failure {
            chain: vec!["the server does not understand the request".to_owned(), error.to_string()],
            hints: vec!["use the same version of `doorward` as the server".to_owned()],
            usage: true,
        }),
    };
    encode(&answer, ANSWER_BYTES_MAX).unwrap_or_else(|error| {
        let failure = Failure {
            chain: vec!["the answer cannot be sent".to_owned(), error.to_string()],
            hints: vec!["ask for less, such as with --since".to_owned()],
            usage: false,
        };
        encode(&Answer::Err(failure), ANSWER_BYTES_MAX).unwrap_or_default()
    })
}

async fn refuse(mut stream: UnixStream, admin: Arc<Admin>, uid: u32) {
    warn!(uid, "Administration refused: not an operator");
    let recorded = tokio::task::spawn_blocking(move || {
        let (verb, detail) = ("refused".to_owned(), "not an operator".to_owned());
        admin.parts.audit.append(&AuditEvent::AdminCall(Call { uid, verb, detail, ..Call::default() })).is_ok()
    });
    if !recorded.await.unwrap_or(false) {
        warn!(uid, "Refused administration call is not in the audit log");
    }
    let failure = Failure {
        chain: vec![format!("uid {uid} may not administer this bastion")],
        hints: vec![format!("run as root, or add {uid} to `operators` under [admin] in doorward.toml")],
        usage: false,
    };
    if let Ok(bytes) = encode(&Answer::Err(failure), ANSWER_BYTES_MAX) {
        // A caller who does not wait for the answer knows it.
        let _ = timeout(PEER_TIMEOUT, send(&mut stream, &bytes)).await;
    }
    tokio::time::sleep(REFUSAL_PAUSE).await;
}

async fn receive(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = stream.read_u32().await?;
    let mut frame = frame_of(length, REQUEST_BYTES_MAX)?;
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn send(stream: &mut UnixStream, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.shutdown().await
}

/// Asks the server; blocks. For the CLI.
///
/// # Errors
/// What the socket says; `InvalidData` if the answer is not one of ours.
pub fn ask(stream: &mut std::os::unix::net::UnixStream, request: &Request) -> io::Result<Answer> {
    stream.write_all(&encode(request, REQUEST_BYTES_MAX)?)?;
    let mut length = [0_u8; 4];
    stream.read_exact(&mut length)?;
    let mut frame = frame_of(u32::from_be_bytes(length), ANSWER_BYTES_MAX)?;
    stream.read_exact(&mut frame)?;
    serde_json::from_slice(&frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn frame_of(length: u32, most: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = usize::try_from(length).ok().filter(|_| length <= most);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"))?;
    Ok(Zeroizing::new(vec![0; length]))
}

/// A frame: length and JSON. Requests may hold secrets, so the buffer is wiped, and large enough not to move.
fn encode(value: &impl serde::Serialize, most: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut frame = Zeroizing::new(Vec::with_capacity(64 * 1024));
    frame.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *frame, value)?;
    let length = u32::try_from(frame.len().saturating_sub(4)).ok().filter(|length| *length <= most);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"))?;
    frame.iter_mut().zip(length.to_be_bytes()).for_each(|(to, from)| *to = from);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_root_the_server_and_those_of_the_configuration() {
        let operators = BTreeSet::from([1000]);
        assert!(may_operate(0, 990, &operators));
        assert!(may_operate(990, 990, &operators));
        assert!(may_operate(1000, 990, &operators));
        assert!(!may_operate(1001, 990, &operators));
        assert!(!may_operate(1000, 990, &BTreeSet::new()));
    }

    #[test]
    fn frames_have_their_length_first_and_a_most() {
        let frame = encode(&"text", 10).unwrap();
        assert_eq!(frame.as_slice(), b"\0\0\0\x06\"text\"");
        assert!(encode(&"text", 5).is_err());
        assert!(frame_of(REQUEST_BYTES_MAX + 1, REQUEST_BYTES_MAX).is_err());
    }
}
