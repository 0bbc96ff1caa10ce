//! An SSH channel as a source and a sink of `ChannelEvent`, the same for both legs.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use russh::{ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::model::{ChannelEvent, Exit, TerminalSize};

/// The peer of a channel is gone: nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerGone;

/// Where a channel's events come from.
pub trait Source: Send {
    /// The next event; `None` once the channel or its connection is gone.
    fn next(&mut self) -> impl Future<Output = Option<ChannelEvent>> + Send;

    /// What gives the peer leave to send more.
    fn credit(&self) -> impl Credit + 'static;
}

/// Opens a peer's window again (RFC 4254 section 5.2).
pub trait Credit: Send + Sync {
    /// Says that `bytes` of data were passed on, so that the peer may send as many more.
    fn consumed(&self, bytes: usize);
}

/// Where a channel's events go.
pub trait Sink: Send + Sync {
    /// Sends one event; waits while the peer's window is full.
    ///
    /// # Errors
    /// `PeerGone` once the channel or its connection is gone.
    fn send(&self, event: ChannelEvent) -> impl Future<Output = Result<(), PeerGone>> + Send;
}

/// Reads a channel of the SSH library.
pub struct ChannelSource<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> {
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<M>>,
    extended: Extended,
    /// What was taken from it and comes again first.
    put_back: VecDeque<ChannelEvent>,
}

/// What extended data of a peer is (RFC 4254 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// A program's standard error.
    Stderr,
    /// Nothing that a program could read: dropped, as OpenSSH's server does.
    Dropped,
}

/// Writes a channel of the SSH library.
pub struct ChannelSink<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> {
    write: Arc<ChannelWriteHalf<M>>,
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Clone for ChannelSink<M> {
    fn clone(&self) -> Self {
        Self { write: Arc::clone(&self.write) }
    }
}

/// Both ends of a channel.
pub fn split<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static>(
    channel: russh::Channel<M>,
    extended: Extended,
) -> (ChannelSource<M>, ChannelSink<M>) {
    let (read, write) = channel.split();
    let write = Arc::new(write);
    (ChannelSource { read, write: Arc::clone(&write), extended, put_back: VecDeque::new() }, ChannelSink { write })
}

/// Extended data of this type is standard error (RFC 4254 section 5.2); no other is defined.
const STDERR: u32 = 1;

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Source for ChannelSource<M> {
    async fn next(&mut self) -> Option<ChannelEvent> {
        if let Some(event) = self.put_back.pop_front() {
            return Some(event);
        }
        loop {
            let message = self.read.wait().await?;
            if let Some(event) = self.event(message) {
                return Some(event);
            }
        }
    }

    fn credit(&self) -> impl Credit + 'static {
        ChannelCredit(Arc::clone(&self.write))
    }
}

struct ChannelCredit<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static>(Arc<ChannelWriteHalf<M>>);

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Credit for ChannelCredit<M> {
    fn consumed(&self, bytes: usize) {
        self.0.consumed(bytes);
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> ChannelSource<M> {
    /// Gives back an event that was taken: it is the next, behind others that were given back. For data of it, no
    /// credit was given yet.
    pub fn put_back(&mut self, event: ChannelEvent) {
        self.put_back.push_back(event);
    }

    /// The event that a message of the library stands for; `None` for those that mean nothing to a relay.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the library's enum is non-exhaustive; what is not named is dropped"
    )]
    fn event(&self, message: ChannelMsg) -> Option<ChannelEvent> {
        match message {
            ChannelMsg::Data { data } => Some(ChannelEvent::Data(data)),
            ChannelMsg::ExtendedData { data, ext: STDERR } if self.extended == Extended::Stderr => {
                Some(ChannelEvent::Stderr(data))
            }
            ChannelMsg::ExtendedData { data, ext: _ } => {
                self.write.consumed(data.len());
                None
            }
            ChannelMsg::Eof => Some(ChannelEvent::Eof),
            ChannelMsg::Close => Some(ChannelEvent::Close),
            ChannelMsg::WindowChange { col_width, row_height, .. } => {
                Some(ChannelEvent::Resize(TerminalSize { cols: col_width, rows: row_height }))
            }
            ChannelMsg::Signal { signal } => Some(ChannelEvent::Signal(signal_name(&signal))),
            ChannelMsg::ExitStatus { exit_status } => Some(ChannelEvent::Exit(Exit::Status(exit_status))),
            ChannelMsg::ExitSignal { signal_name: signal, core_dumped, error_message, .. } => {
                Some(ChannelEvent::Exit(Exit::Signal {
                    name: signal_name(&signal),
                    core_dumped,
                    message: error_message,
                }))
            }
            ChannelMsg::RawRequest { name, payload } => match name.as_str() {
                "eow@openssh.com" => Some(ChannelEvent::EndOfWrite),
                "break" => payload.first_chunk::<4>().map(|bytes| ChannelEvent::Break(u32::from_be_bytes(*bytes))),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The RFC 4254 name of a signal, without `SIG`.
fn signal_name(signal: &Sig) -> String {
    match signal {
        Sig::ABRT => "ABRT".into(),
        Sig::ALRM => "ALRM".into(),
        Sig::FPE => "FPE".into(),
        Sig::HUP => "HUP".into(),
        Sig::ILL => "ILL".into(),
        Sig::INT => "INT".into(),
        Sig::KILL => "KILL".into(),
        Sig::PIPE => "PIPE".into(),
        Sig::QUIT => "QUIT".into(),
        Sig::SEGV => "SEGV".into(),
        Sig::TERM => "TERM".into(),
        Sig::USR1 => "USR1".into(),
        Sig::Custom(name) => name.chars().filter(char::is_ascii_graphic).take(32).collect(),
    }
}

impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Sink for ChannelSink<M> {
    async fn send(&self, event: ChannelEvent) -> Result<(), PeerGone> {
        let write = &self.write;
        match event {
            ChannelEvent::Data(data) => write.data_bytes(data).await,
            ChannelEvent::Stderr(data) => write.extended_data_bytes(STDERR, data).await,
            ChannelEvent::Eof => write.eof().await,
            ChannelEvent::Close => write.close().await,
            ChannelEvent::Resize(size) => write.window_change(size.cols, size.rows, 0, 0).await,
            ChannelEvent::Signal(name) => write.raw_request("signal".into(), text(&name).freeze()).await,
            ChannelEvent::Break(ms) => {
                write.raw_request("break".into(), Bytes::copy_from_slice(&ms.to_be_bytes())).await
            }
            ChannelEvent::EndOfWrite => write.raw_request("eow@openssh.com".into(), Bytes::new()).await,
            ChannelEvent::Exit(Exit::Status(status)) => {
                write.raw_request("exit-status".into(), Bytes::copy_from_slice(&status.to_be_bytes())).await
            }
            ChannelEvent::Exit(Exit::Signal { name, core_dumped, message }) => {
                let mut payload = text(&name);
                payload.put_u8(u8::from(core_dumped));
                payload.put(text(&message));
                payload.put(text("")); // language tag
                write.raw_request("exit-signal".into(), payload.freeze()).await
            }
        }
        .map_err(|_| PeerGone)
    }
}

/// So many bytes may be under way between a channel and its stream, each way.
const STREAM_BYTES: usize = 64 * 1024;

/// What a channel carries, as a stream of bytes: for a protocol inside it. The future carries them; it ends with the
/// channel, and closes it once the stream is dropped.
pub fn stream<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static>(
    mut source: ChannelSource<M>,
    sink: ChannelSink<M>,
) -> (DuplexStream, impl Future<Output = ()> + Send) {
    let (near, far) = tokio::io::duplex(STREAM_BYTES);
    let carrying = async move {
        let (mut from_stream, mut to_stream) = tokio::io::split(far);
        let credit = source.credit();
        let inward = async {
            while let Some(event) = source.next().await {
                match event {
                    ChannelEvent::Data(bytes) => {
                        if to_stream.write_all(&bytes).await.is_err() {
                            return;
                        }
                        credit.consumed(bytes.len());
                    }
                    ChannelEvent::Eof => {
                        if to_stream.shutdown().await.is_err() {
                            return;
                        }
                    }
                    ChannelEvent::Close => return,
                    ChannelEvent::Stderr(_)
                    | ChannelEvent::Resize(_)
                    | ChannelEvent::Signal(_)
                    | ChannelEvent::Break(_)
                    | ChannelEvent::EndOfWrite
                    | ChannelEvent::Exit(_) => {}
                }
            }
        };
        let outward = async {
            let mut bytes = BytesMut::with_capacity(STREAM_BYTES);
            while from_stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                if sink.send(ChannelEvent::Data(bytes.split().freeze())).await.is_err() {
                    return;
                }
                bytes.reserve(STREAM_BYTES);
            }
        };
        tokio::select! {
            () = inward => {}
            () = outward => {}
        }
        let _ = sink.send(ChannelEvent::Eof).await;
        let _ = sink.send(ChannelEvent::Close).await;
    };
    (near, carrying)
}

/// An SSH string (RFC 4251 section 5).
fn text(value: &str) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(4 + value.len());
    bytes.put_u32(u32::try_from(value.len()).unwrap_or(0));
    bytes.put_slice(value.as_bytes());
    bytes
}
