//! The shell as the far end of its channel's relay: what the user sends comes to it once it is on record, and what it shows
//! is on record before the user sees it.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::model::{ChannelEvent, TerminalSize};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};

/// Events that may wait, each way. Behind them the peers' windows close.
const EVENTS_MAX: usize = 16;

/// What the shell shows, for the relay.
pub struct Shown(mpsc::Receiver<ChannelEvent>);

/// Where the relay puts what the user sends.
pub struct Given(mpsc::Sender<ChannelEvent>);

/// Nobody's window: what may wait is counted in events.
struct NoCredit;

impl Credit for NoCredit {
    fn consumed(&self, _: usize) {}
}

impl Source for Shown {
    async fn next(&mut self) -> Option<ChannelEvent> {
        self.0.recv().await
    }

    fn credit(&self) -> impl Credit + 'static {
        NoCredit
    }
}

impl Sink for Given {
    async fn send(&self, event: ChannelEvent) -> Result<(), PeerGone> {
        self.0.send(event).await.map_err(|_| PeerGone)
    }
}

/// Both ends of a shell: the relay's, and the shell's own.
pub fn ends() -> (Shown, Given, Output, Input) {
    let (output, shown) = mpsc::channel(EVENTS_MAX);
    let (given, events) = mpsc::channel(EVENTS_MAX);
    let input = Input { events, pending: VecDeque::new(), ended: false };
    (Shown(shown), Given(given), Output(output), input)
}

/// Where the shell shows something.
#[derive(Debug, Clone)]
pub struct Output(mpsc::Sender<ChannelEvent>);

/// The user is gone, or the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Output {
    /// Shows it, or says how the shell ended.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn send(&self, event: ChannelEvent) -> Result<(), Gone> {
        self.0.send(event).await.map_err(|_| Gone)
    }
}

/// What the user sends.
#[derive(Debug)]
pub struct Input {
    events: mpsc::Receiver<ChannelEvent>,
    /// What comes again first. It was taken from the queue, and is no more than one message of it, or what is bounded by
    /// its user.
    pending: VecDeque<Typed>,
    /// The user sends no more.
    ended: bool,
}

/// What comes from the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Bytes.
    Bytes(Bytes),
    /// The window has this size now.
    Resized(TerminalSize),
    /// A signal by its name.
    Signal(String),
    /// No more bytes come.
    End,
}

impl Input {
    /// What comes next. May be dropped while it waits; after the end, only what is no input comes.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn next(&mut self) -> Result<Typed, Gone> {
        if let Some(typed) = self.pending.pop_front() {
            return Ok(typed);
        }
        loop {
            let event = self.events.recv().await;
            if let Some(typed) = self.understood(event)? {
                return Ok(typed);
            }
        }
    }

    /// What has come already.
    ///
    /// # Errors
    /// `Gone`.
    pub fn ready(&mut self) -> Result<Option<Typed>, Gone> {
        if let Some(typed) = self.pending.pop_front() {
            return Ok(Some(typed));
        }
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    if let Some(typed) = self.understood(Some(event))? {
                        return Ok(Some(typed));
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) => return Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(Gone),
            }
        }
    }

    /// Gives back what was taken: it comes again, before what was given back earlier.
    pub fn put_back(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pending.push_front(Typed::Bytes(bytes));
        }
    }

    /// Gives back all of this: it comes again in its order, before what was given back earlier.
    pub fn put_all_back(&mut self, typed: Vec<Typed>) {
        typed.into_iter().rev().for_each(|typed| self.pending.push_front(typed));
    }

    /// Whether no more bytes come.
    pub fn ended(&self) -> bool {
        self.ended && self.pending.is_empty()
    }

    fn understood(&mut self, event: Option<ChannelEvent>) -> Result<Option<Typed>, Gone> {
        Ok(match event {
            None | Some(ChannelEvent::Close) => return Err(Gone),
            Some(ChannelEvent::Data(bytes)) => Some(Typed::Bytes(bytes)),
            Some(ChannelEvent::Resize(size)) => Some(Typed::Resized(size)),
            Some(ChannelEvent::Signal(name)) => Some(Typed::Signal(name)),
            // RFC 4335: on a terminal it is what Ctrl-C is to a program that asked for that, and nothing here.
            Some(ChannelEvent::Break(_)) => None,
            Some(ChannelEvent::Eof) => {
                self.ended = true;
                Some(Typed::End)
            }
            Some(ChannelEvent::Stderr(_) | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_)) => None,
        })
    }
}
