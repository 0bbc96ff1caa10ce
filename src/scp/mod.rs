//! The old protocol of `scp` between a user and a target: understood, judged, and on record before it goes on.
//!
//! One task stands between each side and the relay. What a side has sent goes on once the gate understands it and its
//! notes are on record; until then it waits here, within the window that the side was given. Of a file's bytes only the
//! count and the SHA-256 are recorded.

mod gate;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};

use crate::inspect::{Book, Credits, EVENTS_MAX, Inspected, Note, Unrecorded};
use crate::model::ChannelEvent;
use crate::model::transfer::{Scp, Way};
use crate::wire::channel::Source;
pub use gate::{Gate, Malformed, Side, Step};

/// One transfer, beside its two sources.
pub struct Conversation {
    gate: Mutex<Gate>,
    book: Book,
    /// Told when something of the user's has gone on, or of the target's.
    user_spoke: Notify,
    target_spoke: Notify,
}

/// Why a conversation ends early.
enum Broken {
    Malformed(Malformed),
    Record,
    /// Whom it was for is gone.
    Gone,
}

/// Puts the inspection between both sources and the relay.
pub fn inspect(
    user: impl Source + 'static,
    target: impl Source + 'static,
    way: Way,
    options: Scp,
    paths: &[String],
    book: Book,
) -> (Inspected, Inspected, Arc<Conversation>) {
    let gate = Mutex::new(Gate::new(way, options, paths));
    let conversation = Arc::new(Conversation { gate, book, user_spoke: Notify::new(), target_spoke: Notify::new() });
    let (to_target, from_user) = mpsc::channel(EVENTS_MAX);
    let (to_user, from_target) = mpsc::channel(EVENTS_MAX);
    let (user_credit, target_credit) = (Credits::of(&user), Credits::of(&target));
    let words = || Words { to_user: to_user.clone(), credit: target_credit.clone() };
    let up = Arc::clone(&conversation).carry(Side::User, user, to_target, words());
    let down = Arc::clone(&conversation).carry(Side::Target, target, to_user.clone(), words());
    let (up, down) = (tokio::spawn(up).abort_handle(), tokio::spawn(down).abort_handle());
    (Inspected::new(from_user, user_credit, up), Inspected::new(from_target, target_credit, down), conversation)
}

/// Where words of the bastion's own go.
struct Words {
    to_user: mpsc::Sender<ChannelEvent>,
    credit: Credits,
}

impl Conversation {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        // What the lock guards is whole between any two statements that can panic.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries what one side sends.
    async fn carry(
        self: Arc<Self>,
        side: Side,
        mut source: impl Source,
        out: mpsc::Sender<ChannelEvent>,
        words: Words,
    ) {
        match self.carry_all(side, &mut source, &out).await {
            Err(Broken::Malformed(malformed)) => self.broken(side, malformed, &words).await,
            Ok(()) | Err(Broken::Record | Broken::Gone) => {}
        }
        // The other task has a way to the user too, so that what comes from the target would not end by itself.
        if side == Side::Target {
            let _ = words.to_user.send(ChannelEvent::Close).await;
        }
    }

    async fn carry_all(
        &self,
        side: Side,
        source: &mut impl Source,
        out: &mpsc::Sender<ChannelEvent>,
    ) -> Result<(), Broken> {
        let other_spoke = match side {
            Side::User => &self.target_spoke,
            Side::Target => &self.user_spoke,
        };
        let mut held = BytesMut::new();
        let mut ended = false;
        loop {
            let waits = self.let_through(side, &mut held, out).await?;
            if ended && !waits {
                // What is left of a line that has no end goes nowhere.
                ended = false;
                out.send(ChannelEvent::Eof).await.map_err(|_| Broken::Gone)?;
            }
            let event = tokio::select! {
                event = source.next() => event,
                () = other_spoke.notified() => continue,
            };
            match (event, side) {
                (None, _) => return Ok(()),
                (Some(ChannelEvent::Data(bytes)), _) => held.extend_from_slice(&bytes),
                (Some(ChannelEvent::Eof), _) => ended = true,
                // A program that moves files has no terminal, and nothing but its input.
                (Some(ChannelEvent::Stderr(_) | ChannelEvent::Resize(_) | ChannelEvent::Break(_)), Side::User) => {}
                (Some(event), _) => out.send(event).await.map_err(|_| Broken::Gone)?,
            }
        }
    }

    /// Lets go on what may; says whether there is more that waits for the other side.
    async fn let_through(
        &self,
        side: Side,
        held: &mut BytesMut,
        out: &mpsc::Sender<ChannelEvent>,
    ) -> Result<bool, Broken> {
        loop {
            let step = self.gate().step(side, held).map_err(Broken::Malformed)?;
            let (bytes, notes) = match step {
                Step::More => return Ok(false),
                Step::Wait => return Ok(true),
                Step::Pass { bytes, notes } => (bytes, notes),
            };
            for note in notes {
                self.book.write(note).await.map_err(|Unrecorded| Broken::Record)?;
            }
            let piece = held.split_to(bytes.min(held.len())).freeze();
            out.send(ChannelEvent::Data(piece)).await.map_err(|_| Broken::Gone)?;
            match side {
                Side::User => self.user_spoke.notify_one(),
                Side::Target => self.target_spoke.notify_one(),
            }
        }
    }

    /// Puts on record why it ends, and says it; both sources end with it.
    async fn broken(&self, side: Side, Malformed(why): Malformed, words: &Words) {
        let who = match side {
            Side::User => "the user",
            Side::Target => "the target",
        };
        let text = format!("scp: ended: {who} sent {why}");
        let line = Bytes::from(format!("doorward: {text}\n"));
        if self.book.write(Note { text, first: false, file: None, refused: None }).await.is_err() {
            return;
        }
        words.credit.own(line.len());
        let _ = words.to_user.send(ChannelEvent::Stderr(line)).await;
    }

    /// Puts on record what became of a file that is not over; to be called once nothing is carried any more.
    pub async fn finish(&self) {
        let notes = self.gate().finish();
        self.book.write_last(notes).await;
    }
}
