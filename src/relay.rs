//! Carries one channel's events between the bastion user and the target, and records them on the way.
//!
//! Each direction is a pump of two halves. One collects what a peer sends and gives it to the recorder, which
//! answers with a ticket. The other releases the events, in order, as their tickets become durable, and only
//! then lets the peer send more. So nothing is shown before it is on disk, a slow reader slows its own channel,
//! and what waits in between is bounded by the peer's window.

mod tap;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::model::{ChannelClass, ChannelEvent, Exit};
use crate::policy::RecordingPolicy;
use crate::recorder::{RecorderError, Ticket, Track};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};
use tap::Tap;

/// What the relay must know of a channel.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Shell or exec.
    pub class: ChannelClass,
    /// Whether it has a terminal.
    pub pty: bool,
    /// What is recorded in full.
    pub policy: RecordingPolicy,
}

/// A line of the bastion's own, for the user alone.
#[derive(Debug)]
pub enum Notice {
    /// Shown on a terminal; dropped elsewhere.
    Line(String),
    /// The last line; the channel closes with `status`.
    Farewell {
        /// What to say.
        text: String,
        /// Exit status for a channel without a terminal.
        status: u32,
        /// Told once it was handed to the connection.
        said: oneshot::Sender<()>,
    },
}

/// One end of a channel.
pub struct End<S, K> {
    /// Where events come from.
    pub source: S,
    /// Where events go.
    pub sink: K,
}

/// Relays until the channel is closed by either side, or `over` is cancelled.
///
/// # Errors
/// `RecorderError` if something could not be recorded; it was not shown either.
pub async fn run<US, UK, TS, TK>(
    user: End<US, UK>,
    target: End<TS, TK>,
    facts: Facts,
    track: Arc<Track>,
    notices: mpsc::Receiver<Notice>,
    over: CancellationToken,
) -> Result<(), RecorderError>
where
    US: Source + 'static,
    UK: Sink + 'static,
    TS: Source + 'static,
    TK: Sink + 'static,
{
    let _done = over.clone().drop_guard();
    let user_sink = Arc::new(user.sink);
    let up = Pump {
        source: user.source,
        sink: Arc::new(target.sink),
        pty: facts.pty,
        over: over.clone(),
        notices: None,
        close_after: CLOSE_GRACE,
    };
    let down = Pump {
        source: target.source,
        sink: Arc::clone(&user_sink),
        pty: facts.pty,
        over: over.clone(),
        notices: Some(notices),
        close_after: Duration::ZERO,
    };
    let up = tokio::spawn(up.run(Tap::of_input(&facts, Arc::clone(&track))));
    let down = tokio::spawn(down.run(Tap::of_output(&facts, Arc::clone(&track))));
    let (up, down) = tokio::join!(up, down);
    let panicked = |_| RecorderError::panicked();
    let ended = down.map_err(panicked).flatten().and(up.map_err(panicked).flatten());
    // Whichever way it ended, the user's channel is answered; a second close is dropped.
    let last_words = async {
        if ended.is_err() {
            let line = if facts.pty { terminal_line(RECORDING_FAILED) } else { plain_line(RECORDING_FAILED) };
            let event = if facts.pty { ChannelEvent::Data(line) } else { ChannelEvent::Stderr(line) };
            user_sink.send(event).await?;
            user_sink.send(ChannelEvent::Exit(Exit::Status(255))).await?;
        }
        user_sink.send(ChannelEvent::Close).await
    };
    let _ = timeout(CLOSE_GRACE, last_words).await;
    ended
}

/// What the user reads when a session ends because it cannot be recorded.
pub const RECORDING_FAILED: &str = "the session can no longer be recorded. Session closed; tell the operator.";

/// A user who closes a channel may still want the exit status that is on its way: the target is told of the close
/// only after so long.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Events that wait for their tickets, beyond which the collecting half waits too.
const EVENTS_MAX: usize = 1024;

/// An event, and the ticket that must be durable before it goes on.
type Gated = (ChannelEvent, Option<Ticket>);

struct Pump<S, K> {
    source: S,
    sink: Arc<K>,
    pty: bool,
    over: CancellationToken,
    notices: Option<mpsc::Receiver<Notice>>,
    close_after: Duration,
}

impl<S: Source, K: Sink> Pump<S, K> {
    /// Runs both halves; when this direction has ended, the channel is over.
    async fn run(self, mut tap: Tap) -> Result<(), RecorderError> {
        let Self { mut source, sink, pty, over, notices, close_after } = self;
        let credit = source.credit();
        let (queue, gated) = mpsc::channel(EVENTS_MAX);
        let collecting = collect(&mut source, &mut tap, queue, &over);
        let releasing = release(gated, sink.as_ref(), &credit, notices, pty, close_after, &over);
        // Either half's failure ends the other: a collector without a releaser would only fill the queue.
        let ended = tokio::try_join!(collecting, releasing).map(|_| ());
        tap.finish().await?;
        ended
    }
}

/// Takes events from a peer and gives them to the recorder.
async fn collect<S: Source>(
    source: &mut S,
    tap: &mut Tap,
    queue: mpsc::Sender<Gated>,
    over: &CancellationToken,
) -> Result<(), RecorderError> {
    loop {
        let event = tokio::select! {
            biased;
            () = over.cancelled() => return Ok(()),
            event = source.next() => event,
            () = tap.digest_due() => {
                tap.write_due_digests().await?;
                continue;
            }
        };
        // A peer whose connection is gone has closed its channels.
        let event = event.unwrap_or(ChannelEvent::Close);
        let closed = event == ChannelEvent::Close;
        let ticket = tap.record(&event).await?;
        let sending = queue.send((event, ticket));
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => if sent.is_err() { return Ok(()) } else { break },
                () = over.cancelled() => return Ok(()),
                // What has passed is covered in time, whether or not anything passes now.
                () = tap.digest_due() => tap.write_due_digests().await?,
            }
        }
        if closed {
            return Ok(());
        }
    }
}

/// Releases events, in order, once they are on disk.
async fn release<K: Sink, C: Credit>(
    mut gated: mpsc::Receiver<Gated>,
    sink: &K,
    credit: &C,
    mut notices: Option<mpsc::Receiver<Notice>>,
    pty: bool,
    close_after: Duration,
    over: &CancellationToken,
) -> Result<(), RecorderError> {
    // A direction that has ended, however, ends the channel.
    let _done = over.clone().drop_guard();
    loop {
        let next = tokio::select! {
            biased;
            () = over.cancelled() => None,
            notice = next_notice(&mut notices) => {
                if say(sink, notice, pty, over).await.is_err() { return Ok(()) }
                continue;
            }
            next = gated.recv() => next,
        };
        let Some((event, ticket)) = next else { return Ok(()) };
        if let Some(ticket) = ticket {
            ticket.durable().await?;
        }
        let bytes = match &event {
            ChannelEvent::Data(data) | ChannelEvent::Stderr(data) => data.len(),
            ChannelEvent::Eof
            | ChannelEvent::Resize(_)
            | ChannelEvent::Signal(_)
            | ChannelEvent::Break(_)
            | ChannelEvent::EndOfWrite
            | ChannelEvent::Exit(_)
            | ChannelEvent::Close => 0,
        };
        let closed = event == ChannelEvent::Close;
        if closed {
            tokio::select! {
                () = sleep(close_after) => {}
                () = over.cancelled() => return Ok(()),
            }
        }
        let sent = tokio::select! {
            sent = sink.send(event) => sent,
            // A peer that does not read would keep us here for ever.
            () = over.cancelled() => return Ok(()),
        };
        if sent.is_err() || closed {
            return Ok(());
        }
        if bytes > 0 {
            credit.consumed(bytes);
        }
    }
}

/// The next notice, or never.
async fn next_notice(notices: &mut Option<mpsc::Receiver<Notice>>) -> Notice {
    if let Some(receiver) = notices {
        if let Some(notice) = receiver.recv().await {
            return notice;
        }
        *notices = None;
    }
    std::future::pending().await
}

async fn say<K: Sink>(sink: &K, notice: Notice, pty: bool, over: &CancellationToken) -> Result<(), PeerGone> {
    let saying = async {
        match notice {
            Notice::Line(text) if pty => sink.send(ChannelEvent::Data(terminal_line(&text))).await,
            Notice::Line(_) => Ok(()),
            Notice::Farewell { text, status, said } => {
                let line = if pty { terminal_line(&text) } else { plain_line(&text) };
                let event = if pty { ChannelEvent::Data(line) } else { ChannelEvent::Stderr(line) };
                // Closed in order, the client shows the line before it leaves; cut off, it might not.
                for event in [event, ChannelEvent::Exit(Exit::Status(status)), ChannelEvent::Eof, ChannelEvent::Close] {
                    sink.send(event).await?;
                }
                let _ = said.send(());
                Err(PeerGone)
            }
        }
    };
    tokio::select! {
        said = saying => said,
        () = over.cancelled() => Err(PeerGone),
    }
}

/// A line of ours on standard error.
fn plain_line(text: &str) -> Bytes {
    Bytes::from(format!("doorward: {text}\n"))
}

/// A line of ours on a terminal, which may be in raw mode with the cursor anywhere.
fn terminal_line(text: &str) -> Bytes {
    Bytes::from(format!("\r\ndoorward: {text}\r\n"))
}
