//! A socket that can be cut from outside, whatever its user is doing.
//!
//! The SSH library awaits its writes: while a peer does not read, it hears nothing else, not even that it
//! should disconnect. So the end of a permit does not ask the library; it fails the socket under it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Until the peer has said what it is.
    identification: Option<Identification>,
}

/// How a peer of SSH calls itself (RFC 4253 section 4.2), heard as it goes by.
#[derive(Debug, Clone, Default)]
pub struct Identification(Arc<Mutex<Vec<u8>>>);

/// A server may send lines before; what comes later than this is not looked at.
const IDENTIFICATION_LOOK_MAX: usize = 8 * 1024;

impl Identification {
    /// The line, made of printable ASCII, at most 255 characters; empty if there was none.
    pub fn text(&self) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = heard.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"SSH-")).unwrap_or_default();
        line.iter().filter(|byte| matches!(byte, 0x20..=0x7e)).take(255).map(|byte| char::from(*byte)).collect()
    }

    /// Takes what came; `false` once there is no need to hear more.
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = IDENTIFICATION_LOOK_MAX.saturating_sub(heard.len());
        heard.extend(bytes.iter().take(room));
        let mut lines = heard.split_inclusive(|byte| *byte == b'\n');
        let whole = lines.any(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"));
        !whole && room > bytes.len()
    }
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
            identification: None,
        }
    }

    /// Wraps `stream`, and hears how the peer calls itself.
    pub fn identifying(stream: S, cut: &Cut) -> (Self, Identification) {
        let identification = Identification::default();
        (Self { identification: Some(identification.clone()), ..Self::new(stream, cut) }, identification)
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(identification) = &self.identification
            && !identification.hear(buf.filled().get(before..).unwrap_or_default())
        {
            self.identification = None;
        }
        read
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

    #[test]
    fn a_peer_is_known_by_its_line_however_it_comes() {
        let heard = |text: &[u8], step: usize| {
            let identification = Identification::default();
            let read = text.chunks(step).take_while(|part| identification.hear(part)).count() * step;
            (identification.text(), read)
        };
        for step in 1..9 {
            assert_eq!(heard(b"SSH-2.0-x y\r\nmore", step).0, "SSH-2.0-x y");
            assert_eq!(heard(b"hello\r\nSSH-2.0-\x1b[2Jz\r\n", step).0, "SSH-2.0-[2Jz");
        }
        let (text, read) = heard(&[b'x'; 100_000], 1000);
        assert!(text.is_empty() && read < 10_000, "{read}");
    }

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
