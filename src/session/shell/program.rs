//! A command of the shell while it runs: what it prints goes to the user, and what they type goes to it and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use super::cooked::{Cooked, Typed as Key};
use super::ends::{Gone, Input, Output, Typed};
use crate::model::{ChannelEvent, Exit, TerminalSize};
use crate::session::channel::CLOSE_TIMEOUT;
use crate::target::ssh::{TargetSink, TargetSource};
use crate::wire::channel::{Credit, Sink, Source};

/// A program that was interrupted has so long to end; then its channel is closed.
const INTERRUPTED_MAX: Duration = Duration::from_secs(2);

/// How a program is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It has a terminal: every key is its own.
    Terminal,
    /// It has none, and its user has: lines, which are echoed.
    Lines,
    /// Neither has: it reads nothing. What comes is the shell's next lines, and no program reads those away.
    Apart,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What the target says; none if the channel was closed before.
    pub exit: Option<Exit>,
    /// Whether what it printed last was a whole line.
    pub at_line_start: bool,
    /// What was typed of a line, shown, and not the program's yet.
    pub rest: Vec<u8>,
    /// The size that the window has had meanwhile.
    pub size: Option<TerminalSize>,
}

/// Carries a program until it ends, and closes its channel.
///
/// # Errors
/// `Gone`: the user is.
pub async fn run(
    mut source: TargetSource,
    sink: &TargetSink,
    manner: Manner,
    input: &mut Input,
    output: &Output,
) -> Result<Ran, Gone> {
    let mut up = Up { manner, cooked: Cooked::default(), size: None };
    let mut down = Down { manner, at_line_start: true, exit: None, last: 0 };
    if manner == Manner::Apart {
        let _ = sink.send(ChannelEvent::Eof).await;
    }
    let ended = tokio::select! {
        carried = down.carry(&mut source, output) => carried,
        given_up = up.carry(sink, input, output) => given_up,
    };
    close(sink).await;
    ended?;
    let Down { exit, at_line_start, .. } = down;
    Ok(Ran { exit, at_line_start: at_line_start && up.cooked.is_empty(), rest: up.cooked.rest(), size: up.size })
}

/// Closes a program's channel: whatever of it still runs at the target, nothing that it prints comes here any more, and
/// nothing reaches it.
pub async fn close(sink: &TargetSink) {
    let _ = timeout(CLOSE_TIMEOUT, sink.send(ChannelEvent::Close)).await;
}

struct Down {
    manner: Manner,
    at_line_start: bool,
    exit: Option<Exit>,
    /// The last byte of what it printed.
    last: u8,
}

impl Down {
    async fn carry(&mut self, source: &mut TargetSource, output: &Output) -> Result<(), Gone> {
        let credit = source.credit();
        loop {
            let (bytes, errors) = match source.next().await {
                None | Some(ChannelEvent::Close) => return Ok(()),
                Some(ChannelEvent::Data(bytes)) => (bytes, false),
                Some(ChannelEvent::Stderr(bytes)) => (bytes, true),
                Some(ChannelEvent::Exit(exit)) => {
                    self.exit = Some(exit);
                    continue;
                }
                Some(
                    ChannelEvent::Eof
                    | ChannelEvent::Resize(_)
                    | ChannelEvent::Signal(_)
                    | ChannelEvent::Break(_)
                    | ChannelEvent::EndOfWrite,
                ) => continue,
            };
            let count = bytes.len();
            self.at_line_start = bytes.last().map_or(self.at_line_start, |last| *last == b'\n');
            let event = match (self.manner, errors) {
                (Manner::Terminal, _) => ChannelEvent::Data(bytes),
                (Manner::Lines, _) => ChannelEvent::Data(self.in_lines(&bytes)),
                (Manner::Apart, false) => ChannelEvent::Data(bytes),
                (Manner::Apart, true) => ChannelEvent::Stderr(bytes),
            };
            output.send(event).await?;
            credit.consumed(count);
        }
    }

    /// With the carriage returns that a terminal in raw mode needs.
    fn in_lines(&mut self, bytes: &Bytes) -> Bytes {
        let mut out = Vec::with_capacity(bytes.len().saturating_add(bytes.len() / 16));
        for byte in bytes {
            if *byte == b'\n' && self.last != b'\r' {
                out.push(b'\r');
            }
            out.push(*byte);
            self.last = *byte;
        }
        out.into()
    }
}

struct Up {
    manner: Manner,
    cooked: Cooked,
    size: Option<TerminalSize>,
}

impl Up {
    /// Ready once the program is given up.
    async fn carry(&mut self, sink: &TargetSink, input: &mut Input, output: &Output) -> Result<(), Gone> {
        let mut closes: Option<Instant> = None;
        loop {
            // What comes to a shell without a terminal is its next lines; only that its user leaves is looked for, by
            // its session.
            if self.manner == Manner::Apart || input.ended() {
                return match closes {
                    None => std::future::pending().await,
                    Some(at) => {
                        sleep_until(at).await;
                        Ok(())
                    }
                };
            }
            let typed = tokio::select! {
                typed = input.next() => typed?,
                () = sleep_until(closes.unwrap_or_else(Instant::now)), if closes.is_some() => return Ok(()),
            };
            match typed {
                Typed::Bytes(bytes) if self.manner == Manner::Terminal => {
                    let _ = sink.send(ChannelEvent::Data(bytes)).await;
                }
                Typed::Bytes(bytes) => {
                    if self.lines(&bytes, sink, output).await? == Wish::Interrupt {
                        if closes.is_some() {
                            return Ok(());
                        }
                        let _ = sink.send(ChannelEvent::Signal(String::from("INT"))).await;
                        closes = Some(Instant::now() + INTERRUPTED_MAX);
                    }
                }
                Typed::Resized(size) => {
                    self.size = Some(size);
                    if self.manner == Manner::Terminal {
                        let _ = sink.send(ChannelEvent::Resize(size)).await;
                    }
                }
                Typed::Signal(name) => {
                    let ends = matches!(name.as_str(), "INT" | "TERM" | "HUP" | "KILL" | "QUIT");
                    let _ = sink.send(ChannelEvent::Signal(name)).await;
                    if ends && self.manner != Manner::Terminal {
                        closes = Some(Instant::now() + INTERRUPTED_MAX);
                    }
                }
                Typed::End => {
                    let _ = sink.send(ChannelEvent::Eof).await;
                }
            }
        }
    }

    /// Takes what is typed at a program without a terminal.
    async fn lines(&mut self, bytes: &Bytes, sink: &TargetSink, output: &Output) -> Result<Wish, Gone> {
        let mut shown = Vec::new();
        let mut wish = Wish::GoOn;
        for byte in bytes {
            match self.cooked.byte(*byte) {
                Key::Nothing => {}
                Key::Shown(echo) => shown.extend(echo),
                Key::Line(line) => {
                    shown.extend(b"\r\n");
                    let _ = sink.send(ChannelEvent::Data(line.into())).await;
                }
                Key::Flush(line) if line.is_empty() => {
                    let _ = sink.send(ChannelEvent::Eof).await;
                }
                Key::Flush(line) => {
                    let _ = sink.send(ChannelEvent::Data(line.into())).await;
                }
                Key::Interrupt => {
                    shown.extend(b"^C\r\n");
                    wish = Wish::Interrupt;
                }
                Key::Suspend => shown.extend(NO_JOBS.as_bytes()),
            }
        }
        if !shown.is_empty() {
            output.send(ChannelEvent::Data(shown.into())).await?;
        }
        Ok(wish)
    }
}

/// What Ctrl-Z is answered.
pub const NO_JOBS: &str = "\r\ndoorward: nothing can be put aside here, for there are no jobs: Ctrl-C ends it\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    GoOn,
    Interrupt,
}
