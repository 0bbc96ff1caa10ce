//! A witness's HTTP: two calls, bounded in size, time and number.
//!
//! | call | answer |
//! | --- | --- |
//! | `POST /add-checkpoint` | 200 with the cosignature's line; 400, 403, 404, 409 with the size, 422 |
//! | `GET /checkpoint/<origin id>` | 200 with the newest cosigned note of that log; 404 if there is none |
//!
//! What no call has: 404, 405. What is too long or too slow: 413, 408. When the witness itself fails: 500.
//!
//! Whoever can reach the port can take all connections for a while and keep logs waiting; nobody can make the witness
//! sign what it should not. So it belongs on a private network or behind a proxy that knows the logs' addresses.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Keeper, Outcome, is_origin_id};
use crate::tlog::{REQUEST_BYTES_MAX, Refused};

/// The type of the body that tells a size.
///
/// Source: <https://c2sp.org/tlog-witness>, "add-checkpoint".
const SIZE_TYPE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Longest request line and headers, in bytes. hyper takes nothing smaller.
const HEADER_BYTES_MAX: usize = 8192;
/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a peer may take of a witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time for a request's headers, and as much again for its body; an idle connection is closed after it.
    pub request: Duration,
    /// Time for a whole connection, whatever it does.
    pub connection: Duration,
    /// Connections at once; more wait in the system's queue.
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_secs(10), connection: Duration::from_secs(60), connections: 64 }
    }
}

/// Answers requests until `stop`; then ends what is under way.
pub async fn serve(socket: TcpListener, keeper: Arc<Keeper>, limits: Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(usize::try_from(limits.connections).unwrap_or(usize::MAX)));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&socket, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            tokio::spawn(carry(stream, slot, Arc::clone(&keeper), limits, stop.clone()));
        }
    }
    drop(socket);
    let all = slots.acquire_many(limits.connections);
    if tokio::time::timeout(limits.request, all).await.is_err() {
        warn!("Some requests did not end in time");
    }
}

async fn accept(socket: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // The slot comes first: what nobody can serve is not accepted.
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            warn!(error = %error, "Cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn carry(
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
    keeper: Arc<Keeper>,
    limits: Limits,
    stop: CancellationToken,
) {
    // Answers are small and are waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&keeper), limits.request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.request).max_buf_size(HEADER_BYTES_MAX);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(limits.connection) => {} } } => {
            connection.as_mut().graceful_shutdown();
            // A peer that does not read its answer is not waited for.
            tokio::time::timeout(limits.request, connection.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(error = %error, "A connection ended with an error");
    }
}

type Answered = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, keeper: Arc<Keeper>, body_limit: Duration) -> Result<Answered, Infallible> {
    const SUBMIT: &str = "/add-checkpoint";
    let path = request.uri().path();
    let origin = path.strip_prefix("/checkpoint/").filter(|id| is_origin_id(id)).map(str::to_owned);
    Ok(match (request.method(), origin) {
        (&Method::POST, None) if path == SUBMIT => submit(request, keeper, body_limit).await,
        (_, None) if path == SUBMIT => not_allowed("POST"),
        (&Method::GET, Some(id)) => newest(keeper, id).await,
        (_, Some(_)) => not_allowed("GET"),
        (_, None) => said(StatusCode::NOT_FOUND, "a witness answers POST /add-checkpoint and GET /checkpoint/ORIGIN"),
    })
}

async fn submit(request: Request<Incoming>, keeper: Arc<Keeper>, limit: Duration) -> Answered {
    let declared = request.body().size_hint().lower();
    if usize::try_from(declared).map_or(true, |bytes| bytes > REQUEST_BYTES_MAX) {
        return said(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
    }
    let body = Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect();
    let body = match tokio::time::timeout(limit, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return said(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long");
        }
        Ok(Err(_)) => return said(StatusCode::BAD_REQUEST, "the request's body cannot be read"),
        Err(_) => return said(StatusCode::REQUEST_TIMEOUT, "the request's body took too long"),
    };
    // Keeping waits for the disk.
    match tokio::task::spawn_blocking(move || keeper.submit(&body)).await {
        Ok(Ok(Outcome::Cosigned { checkpoint, signature })) => {
            debug!(origin = %checkpoint.origin, size = checkpoint.size, "Cosigned");
            respond(StatusCode::OK, TEXT_TYPE, format!("{signature}\n"))
        }
        Ok(Ok(Outcome::Refused(refused))) => refuse(&refused),
        Ok(Err(failure)) => {
            error!(error = %failure, cause = failure.source(), "A checkpoint was not cosigned");
            said(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot keep the checkpoint")
        }
        Err(failure) => {
            error!(error = %failure, "A checkpoint was not cosigned");
            said(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed")
        }
    }
}

async fn newest(keeper: Arc<Keeper>, id: String) -> Answered {
    match tokio::task::spawn_blocking(move || keeper.newest(&id)).await {
        Ok(Some(note)) => respond(StatusCode::OK, TEXT_TYPE, note.to_string()),
        Ok(None) => said(StatusCode::NOT_FOUND, "no checkpoint of that log was cosigned"),
        Err(_) => said(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed"),
    }
}

fn refuse(refused: &Refused) -> Answered {
    let status = StatusCode::from_u16(refused.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refused {
        Refused::Conflict { size } => respond(status, SIZE_TYPE, format!("{size}\n")),
        Refused::Malformed(_) | Refused::UnknownOrigin | Refused::BadSignature | Refused::BadProof => {
            said(status, &refused.to_string())
        }
    }
}

fn not_allowed(method: &'static str) -> Answered {
    let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "the call is made with another method");
    header(&mut response, ALLOW, HeaderValue::from_static(method));
    response
}

fn said(status: StatusCode, why: &str) -> Answered {
    respond(status, TEXT_TYPE, format!("{why}\n"))
}

fn respond(status: StatusCode, content_type: HeaderValue, body: String) -> Answered {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    header(&mut response, CONTENT_TYPE, content_type);
    response
}

fn header(response: &mut Answered, name: HeaderName, value: HeaderValue) {
    response.headers_mut().insert(name, value);
}
