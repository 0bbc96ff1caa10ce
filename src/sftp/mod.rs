//! SFTP between a user and a target: every packet is understood, judged, and on record before it goes on.
//!
//! Two tasks stand between the channels and the relay, one for each direction. What they let through reaches the relay
//! as it came, so that many requests may be under way at once, as clients have it. Of the bytes only counts are
//! recorded: the recording has each operation, and for each file how much went through it and its SHA-256.

mod gate;
mod packet;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::inspect::{Book, Credits, EVENTS_MAX, Inspected, Note, Unrecorded};
use crate::model::ChannelEvent;
use crate::wire::channel::Source;
pub use gate::Rights;
use gate::{Asked, Gate, PENDING_MAX};
pub use packet::shown;
use packet::{Frames, Malformed};

/// One SFTP conversation, beside its two sources.
pub struct Conversation {
    gate: Mutex<Gate>,
    book: Book,
    answered: Notify,
}

/// Why a conversation ends early.
enum Broken {
    User(Malformed),
    Target(Malformed),
    Record,
    /// Whom it was for is gone.
    Gone,
}

/// Puts the inspection between both sources and the relay.
pub fn inspect(
    user: impl Source + 'static,
    target: impl Source + 'static,
    rights: Rights,
    book: Book,
) -> (Inspected, Inspected, Arc<Conversation>) {
    let conversation = Arc::new(Conversation { gate: Mutex::new(Gate::new(rights)), book, answered: Notify::new() });
    let (to_target, from_user) = mpsc::channel(EVENTS_MAX);
    let (to_user, from_target) = mpsc::channel(EVENTS_MAX);
    let (user_credit, target_credit) = (Credits::of(&user), Credits::of(&target));
    let asking = Arc::clone(&conversation).ask(
        user,
        user_credit.clone(),
        to_target,
        Reply { packets: to_user.clone(), credit: target_credit.clone() },
    );
    let answering = Arc::clone(&conversation).answer(target, target_credit.clone(), to_user);
    let asking = tokio::spawn(asking).abort_handle();
    let answering = tokio::spawn(answering).abort_handle();
    (
        Inspected::new(from_user, user_credit, asking),
        Inspected::new(from_target, target_credit, answering),
        conversation,
    )
}

/// Whether a packet is the bastion's own, in the place of the one that came; else it is that one, byte by byte in the same
/// place.
fn is_own(sent: &Bytes, came: &Bytes) -> bool {
    sent.as_ptr() != came.as_ptr()
}

/// Where answers of the bastion's own go.
struct Reply {
    packets: mpsc::Sender<ChannelEvent>,
    credit: Credits,
}

impl Conversation {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        // What the lock guards is whole between any two statements that can panic.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries what the user sends.
    async fn ask(
        self: Arc<Self>,
        mut user: impl Source,
        credit: Credits,
        to_target: mpsc::Sender<ChannelEvent>,
        reply: Reply,
    ) {
        let mut frames = Frames::default();
        while let Some(event) = user.next().await {
            let carried = match event {
                ChannelEvent::Data(bytes) => {
                    frames.push(&bytes);
                    self.ask_all(&mut frames, &credit, &to_target, &reply).await
                }
                // A program that speaks SFTP has no terminal, and nothing but its input.
                ChannelEvent::Stderr(_) | ChannelEvent::Resize(_) | ChannelEvent::Break(_) => Ok(()),
                event @ (ChannelEvent::Eof
                | ChannelEvent::Signal(_)
                | ChannelEvent::EndOfWrite
                | ChannelEvent::Exit(_)
                | ChannelEvent::Close) => to_target.send(event).await.map_err(|_| Broken::Gone),
            };
            if let Err(broken) = carried {
                return self.broken(broken).await;
            }
        }
    }

    async fn ask_all(
        &self,
        frames: &mut Frames,
        credit: &Credits,
        to_target: &mpsc::Sender<ChannelEvent>,
        reply: &Reply,
    ) -> Result<(), Broken> {
        while let Some(packet) = frames.next().map_err(Broken::User)? {
            while self.gate().waiting() >= PENDING_MAX {
                self.answered.notified().await;
            }
            let length = packet.len();
            let asked = self.gate().asked(packet.clone()).map_err(Broken::User)?;
            match asked {
                Asked::Forward(forwarded, note) => {
                    self.write(note).await?;
                    if is_own(&forwarded, &packet) {
                        credit.dropped(length);
                        credit.own(forwarded.len());
                    }
                    to_target.send(ChannelEvent::Data(forwarded)).await.map_err(|_| Broken::Gone)?;
                }
                Asked::Answer(answer, note) => {
                    self.write(note).await?;
                    credit.dropped(length);
                    reply.credit.own(answer.len());
                    reply.packets.send(ChannelEvent::Data(answer)).await.map_err(|_| Broken::Gone)?;
                }
            }
        }
        Ok(())
    }

    /// Carries what the target sends.
    async fn answer(self: Arc<Self>, mut target: impl Source, credit: Credits, to_user: mpsc::Sender<ChannelEvent>) {
        let mut frames = Frames::default();
        while let Some(event) = target.next().await {
            let carried = if let ChannelEvent::Data(bytes) = event {
                frames.push(&bytes);
                self.answer_all(&mut frames, &credit, &to_user).await
            } else {
                to_user.send(event).await.map_err(|_| Broken::Gone)
            };
            if let Err(broken) = carried {
                self.broken(broken).await;
                // The other task has a way to the user too, so that this source would not end by itself.
                let _ = to_user.send(ChannelEvent::Close).await;
                return;
            }
        }
    }

    async fn answer_all(
        &self,
        frames: &mut Frames,
        credit: &Credits,
        to_user: &mpsc::Sender<ChannelEvent>,
    ) -> Result<(), Broken> {
        while let Some(packet) = frames.next().map_err(Broken::Target)? {
            let length = packet.len();
            let (passed, notes) = self.gate().answered(packet.clone()).map_err(Broken::Target)?;
            self.answered.notify_one();
            for note in notes {
                self.write(Some(note)).await?;
            }
            if is_own(&passed, &packet) {
                credit.dropped(length);
                credit.own(passed.len());
            }
            to_user.send(ChannelEvent::Data(passed)).await.map_err(|_| Broken::Gone)?;
        }
        Ok(())
    }

    /// Puts on record why it ends; both sources end with it.
    async fn broken(&self, broken: Broken) {
        let text = match broken {
            Broken::User(Malformed(why)) => format!("sftp: ended: the user sent {why}"),
            Broken::Target(Malformed(why)) => format!("sftp: ended: the target sent {why}"),
            Broken::Record | Broken::Gone => return,
        };
        let _ = self.write(Some(Note { text, first: false, file: None })).await;
    }

    async fn write(&self, note: Option<Note>) -> Result<(), Broken> {
        match note {
            Some(note) => self.book.write(note).await.map_err(|Unrecorded| Broken::Record),
            None => Ok(()),
        }
    }

    /// Puts on record what became of files that nobody closed; to be called once nothing is carried any more.
    pub async fn finish(&self) {
        let notes = self.gate().finish();
        self.book.write_last(notes).await;
    }
}
