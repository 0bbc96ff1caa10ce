//! Whole messages of a peer out of its socket, each bounded.

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::rdp::pdu::{Framing, Malformed, credssp_extent, extent};

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// Why nothing more is read from a peer.
#[derive(Debug)]
pub(super) enum Broken {
    /// It closed the connection, between two messages or inside one.
    Closed,
    /// The socket failed.
    Socket(io::Error),
    /// What it sent is no message, or none that may come now.
    Malformed(Malformed),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection was closed"),
            Self::Socket(error) => write!(f, "the connection failed: {error}"),
            Self::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        // Programs go without a TLS close_notify; that is a close as any other.
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Closed } else { Self::Socket(error) }
    }
}

/// A socket, and what was read of the message that comes next.
#[derive(Debug)]
pub(super) struct Messages<S> {
    socket: S,
    /// INVARIANT: at most one message and what was read with its end: it is read from only while no message is whole.
    read: BytesMut,
}

impl<S> Messages<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, read: BytesMut::new() }
    }

    /// The socket itself, to speak TLS on it. What a peer sent before its time would be taken for the other end's TLS.
    pub(super) fn into_socket(self) -> Result<S, Broken> {
        if self.read.is_empty() { Ok(self.socket) } else { Err(Malformed("data before TLS").into()) }
    }

    pub(super) fn socket(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: AsyncRead + AsyncWrite> Messages<S> {
    /// What reads, and what writes.
    pub(super) fn split(self) -> (Messages<ReadHalf<S>>, WriteHalf<S>) {
        let (reader, writer) = tokio::io::split(self.socket);
        (Messages { socket: reader, read: self.read }, writer)
    }
}

impl<S: AsyncRead + Unpin> Messages<S> {
    /// The next message. May be dropped while it waits, and called again.
    pub(super) async fn next(&mut self) -> Result<(Framing, Bytes), Broken> {
        loop {
            if let Some((framing, length)) = extent(&self.read)?
                && self.read.len() >= length
            {
                return Ok((framing, self.read.split_to(length).freeze()));
            }
            self.more().await?;
        }
    }

    /// The next message, which must be a TPKT.
    pub(super) async fn tpkt(&mut self) -> Result<Bytes, Broken> {
        match self.next().await? {
            (Framing::Tpkt, message) => Ok(message),
            (Framing::FastPath, _) => Err(Malformed("fast-path message in the handshake").into()),
        }
    }

    /// The next message of CredSSP.
    pub(super) async fn credssp(&mut self) -> Result<Bytes, Broken> {
        loop {
            if let Some(length) = credssp_extent(&self.read)?
                && self.read.len() >= length
            {
                return Ok(self.read.split_to(length).freeze());
            }
            self.more().await?;
        }
    }

    /// The next bytes, so many.
    pub(super) async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        loop {
            if let Some(bytes) = self.read.first_chunk::<N>().copied() {
                let _ = self.read.split_to(N);
                return Ok(bytes);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Broken> {
        // Not what a head says, but what comes: and no head says more than 64 KiB.
        self.read.reserve(READ_BYTES);
        if self.socket.read_buf(&mut self.read).await? == 0 { Err(Broken::Closed) } else { Ok(()) }
    }
}

impl<S: AsyncWrite + Unpin> Messages<S> {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_the_same_however_they_are_split() {
        let stream = [&[3u8, 0, 0, 9, 2, 0xf0, 0x80, 0x21, 0x80][..], &[0, 4, 7, 7], &[0, 0x80, 5, 1, 2]].concat();
        for size in 1..=stream.len() {
            let (mut near, far) = tokio::io::duplex(64);
            let chunks: Vec<Vec<u8>> = stream.chunks(size).map(<[u8]>::to_vec).collect();
            let writer = tokio::spawn(async move {
                for chunk in chunks {
                    near.write_all(&chunk).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            let mut messages = Messages::new(far);
            let (first, second) = (messages.next().await.unwrap(), messages.next().await.unwrap());
            assert_eq!((first.0, first.1.len(), second.0, second.1.len()), (Framing::Tpkt, 9, Framing::FastPath, 4));
            assert_eq!(messages.next().await.unwrap().1.len(), 5);
            assert!(matches!(messages.next().await, Err(Broken::Closed)));
            writer.await.unwrap();
        }
    }

    #[tokio::test]
    async fn data_before_tls_is_refused() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(&[3, 0, 0, 7, 2, 0xf0, 0x80, 0x16]).await.unwrap();
        let mut messages = Messages::new(far);
        messages.tpkt().await.unwrap();
        assert!(messages.into_socket().is_err());
    }
}
