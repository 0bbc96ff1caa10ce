//! A socket that can be cut from outside, whatever its user is doing.
//!
//! The SSH library awaits its writes: while a peer does not read, it hears nothing else, not even that it
//! should disconnect. So the end of a permit does not ask the library; it fails the socket under it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The switch that cuts every socket wrapped with it. Once cut, it stays cut.
#[derive(Debug, Clone, Default)]
pub struct Cut(CancellationToken);

impl Cut {
    /// A switch of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch that is cut with this one, or alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Cuts now: every pending and later read or write of the wrapped sockets fails.
    pub fn cut(&self) {
        self.0.cancel();
    }

    /// Ready once it is cut.
    pub async fn cut_off(&self) {
        self.0.cancelled().await;
    }
}

/// A stream whose reads and writes fail once its switch is cut.
pub struct CutStream<S> {
    stream: BufReader<S>,
    // One future for each direction: reads and writes are polled by different tasks, and a future wakes
    // only the last task that polled it.
    read_cut: Pin<Box<WaitForCancellationFutureOwned>>,
    write_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Saves a system call for the length of each packet; larger gained nothing and costs every idle session.
const READ_BUFFER_BYTES: usize = 16 * 1024;

impl<S: AsyncRead + AsyncWrite> CutStream<S> {
    /// Wraps `stream`.
    pub fn new(stream: S, cut: &Cut) -> Self {
        Self {
            stream: BufReader::with_capacity(READ_BUFFER_BYTES, stream),
            read_cut: Box::pin(cut.0.clone().cancelled_owned()),
            write_cut: Box::pin(cut.0.clone().cancelled_owned()),
        }
    }
}

fn cut_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the session was ended")
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CutStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read_cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut_error()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut_error()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(cut_error()));
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_cut_fails_a_read_and_a_write_that_wait() {
        let cut = Cut::new();
        let (near, _far) = tokio::io::duplex(8);
        let (mut read, mut write) = tokio::io::split(CutStream::new(near, &cut));
        let reading = tokio::spawn(async move { read.read_u8().await });
        let writing = tokio::spawn(async move { write.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        cut.cut();
        assert!(reading.await.unwrap().is_err());
        assert!(writing.await.unwrap().is_err());
    }
}
