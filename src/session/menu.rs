//! The menu: what `ssh USER@BASTION` shows when it names no target. Who chooses a destination gets its shell on the same
//! channel, by the same path as with `ssh ACCOUNT@TARGET@BASTION`: this module hands the channel back, and judges and
//! carries nothing.
//!
//! ```text
//! keys, lines     bytes of the user -> keys, lines         pure
//! model           destinations and keys -> what is shown   pure
//! screen, list    with a terminal's screen, and without
//! (here)          how long a menu lasts, and what comes after it
//! ```
//! A menu lasts as long as its user has their key and their place among the users, and as they do something. However it
//! ends, it gives the terminal back first.
//!
//! What is typed while a menu is shown is for the menu. On a screen, whatever comes after the Enter that chooses, until
//! the session's first line is shown, is dropped: it was typed for a screen that was no longer there, or pasted with
//! more than one line, and a target would run it unread. Without a screen, where a program may send the number and what
//! the shell is to run in one go, the rest comes to the session as input does, judged and recorded like it.

pub(super) mod form;
pub(super) mod frame;
pub(super) mod keys;
mod lines;
mod list;
mod model;
pub(super) mod screen;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::channel::{CLOSE_TIMEOUT, RECORD_TIMEOUT, refuse, say_no};
use super::refusal::{Busy, No};
use super::refusal_log::Kind;
use super::registry::{EndCause, Guest};
use super::{Attempt, Bastion, Refusal, Visitor};
use crate::grant::Denial;
use crate::listener::{ChannelStart, UserSink, UserSource};
use crate::model::{ChannelClass, ChannelEvent, Destination, Exit, Program, Terminal};
use crate::relay::Notice;
use crate::wire::channel::{Credit, PeerGone, Sink, Source};
pub(super) use lines::{Lines, Typed};

/// Where a user has chosen to go.
pub struct Choice {
    /// The channel, as it would have come with a login that names the destination; its terminal has the size of now.
    pub start: ChannelStart,
    /// Where to.
    pub destination: Destination,
    /// What is to run there.
    pub program: Program,
    /// The text that the user has agreed to on this channel.
    pub agreed: Option<Arc<str>>,
    /// Whether what was typed until the session begins is dropped.
    pub ahead: TypedAhead,
    /// Held until the session is on the list of sessions, so that a bastion that stops waits for one of the two.
    pub guest: Guest,
}

/// What becomes of what a user typed before their session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedAhead {
    /// It is the session's input.
    Kept,
    /// It was meant for something else.
    Dropped,
}

/// How often it is looked at again whether the user is one.
const CHECK: Duration = Duration::from_secs(1);
/// Whoever takes nothing for so long is given up.
pub(super) const PROGRESS_MAX: Duration = Duration::from_secs(60);
/// The terminal is given back within this time, or not at all.
pub(super) const RESTORE: Duration = Duration::from_secs(2);
/// What is sent at once.
const PIECE_BYTES: usize = 64 * 1024;

/// How a menu ends.
pub(super) enum End {
    /// The user left.
    Left,
    /// The user is gone, or takes nothing.
    Gone,
    /// The user has chosen; what came behind the choice and is for the session.
    Chosen(Destination, Bytes),
    /// Nothing more is shown.
    Told(Refusal),
    /// With the connection's session.
    Farewell(No, oneshot::Sender<()>),
}

impl From<PeerGone> for End {
    fn from(PeerGone: PeerGone) -> Self {
        Self::Gone
    }
}

/// Shows a menu on a channel, and hands the channel to `choices` once a destination is chosen.
pub async fn run(
    mut start: ChannelStart,
    visitor: Arc<Visitor>,
    bastion: Arc<Bastion>,
    choices: mpsc::Sender<Choice>,
    mut notices: mpsc::Receiver<Notice>,
    over: CancellationToken,
) {
    // The reply comes first: while the listener waits for it, it does not hear that the user leaves.
    let _ = std::mem::replace(&mut start.started, oneshot::channel().0).send(());
    let Some(_place) = bastion.limits.menu(visitor.user.user()) else {
        let refusal = Refusal::Busy { what: "menu".into(), why: Busy::Requests };
        let written = visitor.refused(&bastion, Kind::of(&refusal), &refusal, Attempt::other("the menu"));
        return refuse(start, refusal.told(bastion.clock.now()), written, over).await;
    };
    let guest = bastion.sessions.guest();
    info!(user = %visitor.user.user(), source = %visitor.source, "Menu shown");
    let has_screen = start.terminal.as_ref().is_some_and(|terminal| terminal.term != "dumb");
    let shown = Shown::new(&mut start, &visitor, &bastion);
    let showing = async { if has_screen { screen::show(shown).await } else { list::show(shown).await } };
    // Raced with everything, sending too: who does not read is sent away as well.
    let end = tokio::select! {
        end = showing => end.unwrap_or_else(|end| end),
        () = withdrawn(&visitor, &bastion) => End::Told(Refusal::Withdrawn("menu".into())),
        () = guest.stopping() => End::Told(Refusal::Ended(EndCause::Shutdown)),
        end = farewell(&mut notices) => end,
        () = over.cancelled() => End::Gone,
    };
    if has_screen {
        let back = ChannelEvent::Data(Bytes::from(screen::given_back()));
        let _ = timeout(RESTORE, start.sink.send(back)).await;
    }
    match end {
        End::Chosen(destination, rest) => {
            // Nobody answers a farewell here any more.
            drop(notices);
            let choice = choice(start, destination, rest, guest).await;
            tokio::select! {
                _ = choices.send(choice) => {}
                () = over.cancelled() => {}
            }
        }
        end @ (End::Left | End::Gone | End::Told(_) | End::Farewell(..)) => finish(&start, end, &bastion).await,
    }
}

/// The channel as it would have come with a login that names the destination.
async fn choice(mut start: ChannelStart, destination: Destination, rest: Bytes, guest: Guest) -> Choice {
    let ahead = if start.terminal.is_some() { TypedAhead::Dropped } else { TypedAhead::Kept };
    match ahead {
        TypedAhead::Dropped => {
            start.source.credit().consumed(rest.len());
            // The target may take its time.
            let line = Bytes::from(format!("\r\ndoorward: connecting to {destination}\r\n"));
            let _ = timeout(RESTORE, start.sink.send(ChannelEvent::Data(line))).await;
        }
        TypedAhead::Kept if rest.is_empty() => {}
        TypedAhead::Kept => start.source.put_back(ChannelEvent::Data(rest)),
    }
    Choice { start, destination, program: Program::Shell, agreed: None, ahead, guest }
}

/// Says how a menu ended without a choice, and closes its channel.
pub(super) async fn finish(start: &ChannelStart, end: End, bastion: &Bastion) {
    let (sink, terminal) = (&start.sink, start.terminal.is_some());
    match end {
        End::Left => {
            let leaving = async {
                for event in [ChannelEvent::Exit(Exit::Status(0)), ChannelEvent::Eof, ChannelEvent::Close] {
                    sink.send(event).await?;
                }
                Ok::<(), PeerGone>(())
            };
            let _ = timeout(RESTORE, leaving).await;
        }
        End::Gone | End::Chosen(..) => drop(timeout(CLOSE_TIMEOUT, sink.send(ChannelEvent::Close)).await),
        End::Told(refusal) => say_no(sink, terminal, refusal.told(bastion.clock.now()), None).await,
        End::Farewell(no, said) => {
            say_no(sink, terminal, no, None).await;
            let _ = said.send(());
        }
    }
}

/// Ready once the user is no longer one, or has lost the key that proved them.
pub(super) async fn withdrawn(visitor: &Visitor, bastion: &Bastion) {
    while visitor.stands(bastion) {
        sleep(CHECK).await;
    }
}

/// The last line for everything on this connection.
pub(super) async fn farewell(notices: &mut mpsc::Receiver<Notice>) -> End {
    loop {
        match notices.recv().await {
            // It is about a session, and that session's own terminal shows it.
            Some(Notice::Line(_)) => {}
            Some(Notice::Farewell { text, status, said }) => return End::Farewell(No { text, status }, said),
            None => return End::Gone,
        }
    }
}

/// A menu on its channel.
pub(super) struct Shown<'a> {
    pub source: &'a mut UserSource,
    pub sink: &'a UserSink,
    pub terminal: &'a mut Option<Terminal>,
    pub visitor: &'a Arc<Visitor>,
    pub bastion: &'a Arc<Bastion>,
    /// When it was first shown; an interview is over by its time from then on.
    pub begun: Instant,
}

impl<'a> Shown<'a> {
    pub fn new(start: &'a mut ChannelStart, visitor: &'a Arc<Visitor>, bastion: &'a Arc<Bastion>) -> Self {
        let ChannelStart { source, sink, terminal, .. } = start;
        Self { source, sink, terminal, visitor, bastion, begun: Instant::now() }
    }

    pub async fn put(&self, text: impl Into<Bytes>) -> Result<(), End> {
        let mut bytes: Bytes = text.into();
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            timeout(PROGRESS_MAX, self.sink.send(ChannelEvent::Data(piece))).await.unwrap_or(Err(PeerGone))?;
        }
        Ok(())
    }

    /// Whether the user may have a shell there now: a menu that can say no by itself goes on, and says why. Whoever may
    /// is judged again, as with a login that names the destination.
    async fn judge(&self, destination: &Destination) -> Result<(), String> {
        let (bastion, now) = (self.bastion, self.bastion.clock.now());
        let Err(denial) = bastion.ledger.permit(self.visitor.user.asker(), destination, ChannelClass::Shell, now)
        else {
            return Ok(());
        };
        // On a terminal what is missing is asked for before the session.
        let asked = matches!(denial, Denial::NeedsMfa { .. } | Denial::NeedsConsent { .. });
        if asked && self.terminal.is_some() {
            return Ok(());
        }
        // What was approved begins with the session.
        if bastion.requests.waits_at(self.visitor.user.user(), destination) {
            return Ok(());
        }
        let refusal = Refusal::Denied(denial);
        let visitor = self.visitor.at(destination);
        let asked = Attempt::program(&Program::Shell, destination);
        if let Some(written) = visitor.refused(bastion, Kind::of(&refusal), &refusal, asked) {
            let _ = timeout(RECORD_TIMEOUT, written).await;
        }
        Err(refusal.public_text(now))
    }
}
