//! Frames over a socket: what the bastion and a desktop's process say to each other.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::rdp::control::{FromProcess, ToProcess};
use crate::rdp::frame::{Fault, HEAD_BYTES, Head};

/// The next thing that a process says; `None` when it has gone.
///
/// # Errors
/// If the socket fails, or what came is no frame.
pub async fn said(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<FromProcess>> {
    let Some((kind, body)) = body(from).await? else { return Ok(None) };
    FromProcess::decode(kind, body).map(Some).map_err(invalid)
}

/// The next thing that a process is told; `None` when the bastion has gone.
///
/// # Errors
/// If the socket fails, or what came is no frame.
pub async fn told(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<ToProcess>> {
    let Some((kind, body)) = body(from).await? else { return Ok(None) };
    ToProcess::decode(kind, body).map(Some).map_err(invalid)
}

/// Says something to the bastion.
///
/// # Errors
/// If the socket fails, or it is too long.
pub async fn say(to: &mut (impl AsyncWrite + Unpin), what: &FromProcess) -> io::Result<()> {
    to.write_all(what.encode().map_err(invalid)?.expose()).await
}

/// Tells a process something.
///
/// # Errors
/// If the socket fails, or it is too long.
pub async fn tell(to: &mut (impl AsyncWrite + Unpin), what: &ToProcess) -> io::Result<()> {
    to.write_all(what.encode().map_err(invalid)?.expose()).await
}

async fn body(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    if from.read(head.split_at_mut(1).0).await? == 0 {
        return Ok(None);
    }
    from.read_exact(head.split_at_mut(1).1).await?;
    let Head { kind, length } = Head::read(head).map_err(invalid)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Some((kind, body)))
}

fn invalid(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}
