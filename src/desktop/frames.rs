//! Frames over a socket: what the bastion and a desktop's process say to each other.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

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

/// Says things to the bastion.
///
/// # Errors
/// If the socket fails, or one is too long.
pub async fn say(to: &mut (impl AsyncWrite + Unpin), what: &[FromProcess]) -> io::Result<()> {
    let frames = what.iter().map(FromProcess::encode).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
    let mut slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame.expose())).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match to.write_vectored(rest).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => IoSlice::advance_slices(&mut rest, written),
        }
    }
    Ok(())
}

/// Tells a process something.
///
/// # Errors
/// If the socket fails, or it is too long.
pub async fn tell(to: &mut (impl AsyncWrite + Unpin), what: &ToProcess) -> io::Result<()> {
    to.write_all(what.encode().map_err(invalid)?.expose()).await
}

/// Room for one socket beside the bytes.
const ONE: usize = rustix::cmsg_space!(ScmRights(1));

/// Writes the beginning of a frame, and a socket with it (`SCM_RIGHTS`, unix(7)). Returns how much of it is written.
///
/// # Errors
/// If the system refuses; `WouldBlock` if there is no room now.
pub fn hand(to: impl AsFd, frame: &[u8], socket: BorrowedFd<'_>) -> io::Result<usize> {
    let (mut space, sockets) = ([MaybeUninit::uninit(); ONE], [socket]);
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    Ok(rustix::net::sendmsg(to, &[IoSlice::new(frame)], &mut beside, SendFlags::NOSIGNAL)?)
}

/// What reads the frames of the bastion, and keeps the socket that came with one of them.
#[derive(Debug)]
pub struct Handed {
    from: OwnedReadHalf,
    socket: Option<OwnedFd>,
}

impl Handed {
    /// Nothing was handed over yet.
    pub fn new(from: OwnedReadHalf) -> Self {
        Self { from, socket: None }
    }

    /// The socket that came last.
    pub fn take(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }
}

impl AsyncRead for Handed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let own = &mut *self;
        let from: &UnixStream = own.from.as_ref();
        loop {
            ready!(from.poll_read_ready(context))?;
            let room = into.initialize_unfilled();
            match from.try_io(Interest::READABLE, || receive(from, room)) {
                Ok((count, socket)) => {
                    own.socket = socket.or(own.socket.take());
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn receive(from: impl AsFd, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); ONE];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(from, &mut [IoSliceMut::new(room)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut socket = None;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            socket = sockets.last();
        }
    }
    Ok((received.bytes, socket))
}

async fn body(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    let count = from.read(&mut head).await?;
    if count == 0 {
        return Ok(None);
    }
    from.read_exact(head.split_at_mut(count).1).await?;
    let Head { kind, length } = Head::read(head).map_err(invalid)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(Some((kind, body)))
}

fn invalid(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}
