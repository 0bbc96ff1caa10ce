//! Carries one channel's events between the bastion user and the target, and records them on the way.
//!
//! Each direction is a pump of two halves. One collects what a peer sends and gives it to the recorder, which
//! answers with a receipt. The other releases the events, in order, as their receipts become durable, and only
//! then lets the peer send more. So nothing is shown before it is on disk, a slow reader slows its own channel,
//! and what waits in between is bounded by the peer's window.

mod activity;
mod echo;
mod pause;
mod tap;
mod typing;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cast::Entry;
use crate::coverage::{Fate, fate};
use crate::model::{ChannelClass, ChannelEvent, Exit, Output};
use crate::policy::RecordingPolicy;
use crate::recorder::{Receipt, RecorderError, Track};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};
pub use activity::Activity;
pub use pause::{Going, Pause, Paused};
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
    /// Whether, where files are moved, the bytes of each direction are digested as a whole, and not only counted.
    pub digested: bool,
    /// Whether its session stands still.
    pub pause: Pause,
    /// Told of all that goes through.
    pub activity: Activity,
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
        over: over.clone(),
        pause: facts.pause.clone(),
        lines: None,
        // In a forward nothing comes after the last byte.
        close_after: if fate(facts.class) == Fate::Metadata { Duration::ZERO } else { CLOSE_GRACE },
    };
    let down = Pump {
        source: target.source,
        sink: Arc::clone(&user_sink),
        over: over.clone(),
        pause: facts.pause.clone(),
        lines: Some(OwnLines { notices, pty: facts.pty, track: Arc::clone(&track) }),
        close_after: Duration::ZERO,
    };
    let (input, output) = tap::taps(&facts, &track);
    let up = tokio::spawn(up.run(input, facts.activity.clone()));
    let down = tokio::spawn(down.run(output, facts.activity));
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

/// Records a line of the bastion's own that a channel is about to show, and waits until it may be shown. On a
/// terminal it becomes part of what was on the screen; elsewhere it is not the program's output, so a marker has it.
///
/// # Errors
/// What the recorder says.
pub async fn record_own(track: &Track, pty: bool, line: &Bytes) -> Result<(), RecorderError> {
    let receipt = if pty {
        let _ = track.append(Entry::Marker("the next output is the bastion's own".into())).await?;
        track.append(Entry::Output { output: Output::Stdout, bytes: line.clone() }).await?
    } else {
        let text = String::from_utf8_lossy(line);
        track.append(Entry::Marker(format!("the bastion said on standard error: {}", text.trim()))).await?
    };
    receipt.durable().await
}

/// What the user reads when a session ends because it cannot be recorded.
pub const RECORDING_FAILED: &str = "the session can no longer be recorded. Session closed; tell the operator.";

/// A user who closes a channel may still want the exit status that is on its way: the target is told of the close
/// only after so long.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Events that wait for their receipts, beyond which the collecting half waits too.
const EVENTS_MAX: usize = 1024;

/// An event, and the receipt that must be durable before it goes on.
type Gated = (ChannelEvent, Option<Receipt>);

struct Pump<S, K> {
    source: S,
    sink: Arc<K>,
    over: CancellationToken,
    pause: Pause,
    /// Lines of ours that go the same way as what the source sends.
    lines: Option<OwnLines>,
    close_after: Duration,
}

/// The bastion's own lines to a user, on their way into the recording and to the user.
struct OwnLines {
    notices: mpsc::Receiver<Notice>,
    pty: bool,
    track: Arc<Track>,
}

impl<S: Source, K: Sink> Pump<S, K> {
    /// Runs both halves; when this direction has ended, the channel is over.
    async fn run(self, mut tap: Tap, activity: Activity) -> Result<(), RecorderError> {
        let Self { mut source, sink, over, pause, lines, close_after } = self;
        let credit = source.credit();
        let (queue, gated) = mpsc::channel(EVENTS_MAX);
        let collecting = collect(&mut source, &mut tap, queue, &activity, &over);
        let releasing = release(gated, sink.as_ref(), &credit, lines, close_after, &pause, &over);
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
    activity: &Activity,
    over: &CancellationToken,
) -> Result<(), RecorderError> {
    loop {
        let event = tokio::select! {
            biased;
            () = over.cancelled() => return Ok(()),
            event = source.next() => event,
            () = tap.due() => {
                tap.write_due().await?;
                continue;
            }
        };
        // A peer whose connection is gone has closed its channels.
        let event = event.unwrap_or(ChannelEvent::Close);
        let closed = event == ChannelEvent::Close;
        if matches!(event, ChannelEvent::Data(_) | ChannelEvent::Stderr(_)) {
            activity.note();
        }
        let receipt = tap.record(&event).await?;
        let sending = queue.send((event, receipt));
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => if sent.is_err() { return Ok(()) } else { break },
                () = over.cancelled() => return Ok(()),
                // What has passed is covered in time, whether or not anything passes now.
                () = tap.due() => tap.write_due().await?,
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
    mut lines: Option<OwnLines>,
    close_after: Duration,
    pause: &Pause,
    over: &CancellationToken,
) -> Result<(), RecorderError> {
    // A direction that has ended, however, ends the channel.
    let _done = over.clone().drop_guard();
    // What is on disk and waits until the session goes on.
    let mut held: Option<ChannelEvent> = None;
    loop {
        let next = tokio::select! {
            biased;
            () = over.cancelled() => return Ok(()),
            notice = next_line(&mut lines) => {
                let said = tokio::select! {
                    said = say(lines.as_ref(), notice, sink) => said?,
                    () = over.cancelled() => return Ok(()),
                };
                if said.is_break() { return Ok(()) }
                continue;
            }
            () = pause.over(), if held.is_some() => None,
            next = gated.recv(), if held.is_none() => match next {
                None => return Ok(()),
                next => next,
            },
        };
        if let Some((event, receipt)) = next {
            if let Some(receipt) = receipt {
                receipt.durable().await?;
            }
            held = Some(event);
        }
        // What comes while the session stands still waits here, and behind it all that the peer's window lets come; our
        // own lines pass.
        if pause.is_on() {
            continue;
        }
        let Some(event) = held.take() else { continue };
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

/// The next line of ours, or never.
async fn next_line(lines: &mut Option<OwnLines>) -> Notice {
    if let Some(own) = lines {
        if let Some(notice) = own.notices.recv().await {
            return notice;
        }
        *lines = None;
    }
    std::future::pending().await
}

/// Records a line of ours, then says it; breaks after the last.
async fn say<K: Sink>(lines: Option<&OwnLines>, notice: Notice, sink: &K) -> Result<ControlFlow<()>, RecorderError> {
    let Some(own) = lines else { return Ok(ControlFlow::Continue(())) };
    let (text, farewell) = match notice {
        Notice::Line(_) if !own.pty => return Ok(ControlFlow::Continue(())),
        Notice::Line(text) => (text, None),
        Notice::Farewell { text, status, said } => (text, Some((status, said))),
    };
    let line = if own.pty { terminal_line(&text) } else { plain_line(&text) };
    record_own(&own.track, own.pty, &line).await?;
    let line = if own.pty { ChannelEvent::Data(line) } else { ChannelEvent::Stderr(line) };
    let Some((status, said)) = farewell else { return Ok(gone(sink.send(line).await)) };
    // Closed in order, the client shows the line before it leaves; cut off, it might not.
    for event in [line, ChannelEvent::Exit(Exit::Status(status)), ChannelEvent::Eof, ChannelEvent::Close] {
        if sink.send(event).await.is_err() {
            return Ok(ControlFlow::Break(()));
        }
    }
    let _ = said.send(());
    Ok(ControlFlow::Break(()))
}

fn gone(sent: Result<(), PeerGone>) -> ControlFlow<()> {
    if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// A line of ours on standard error.
fn plain_line(text: &str) -> Bytes {
    Bytes::from(format!("doorward: {text}\n"))
}

/// A line of ours on a terminal, which may be in raw mode with the cursor anywhere.
fn terminal_line(text: &str) -> Bytes {
    Bytes::from(format!("\r\ndoorward: {text}\r\n"))
}
