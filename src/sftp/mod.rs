//! SFTP between a user and a target: every packet is understood, judged, and on record before it goes on.
//!
//! Two tasks stand between the channels and the relay, one for each direction. What they let through reaches the relay
//! as it came, so that many requests may be under way at once, as clients have it. Of the bytes only counts are
//! recorded: the recording has each operation, and for each file how much went through it and its SHA-256.
//!
//! Where rules name paths, a request that names one waits until all before it are answered; then the target is asked where
//! the path leads, and the request goes there, before anybody else's does (`turns`). What goes by handles does not wait.

mod client;
mod gate;
mod packet;
mod paths;
mod resolve;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::inspect::{Book, Credits, EVENTS_MAX, Inspected, Note, Unrecorded};
use crate::model::ChannelEvent;
use crate::wire::channel::Source;
pub use client::{Client, Failed, Found, Make};
pub use gate::Rights;
use gate::{Answered, Asked, Gate, PENDING_MAX};
pub use packet::shown;
use packet::{Frames, Malformed};
pub use paths::{Oversight, Permission};
use turns::Turn;
pub use turns::{Turns, TurnsAt};

/// What a user may do with files.
pub struct Terms {
    /// At all.
    pub rights: Rights,
    /// Who says what may be done where, and hears what was refused.
    pub oversight: Arc<dyn Oversight>,
    /// Each path is judged from the beginning; else from when rules name paths.
    pub limited: bool,
    /// The turns at the target, for where they do.
    pub turns: TurnsAt,
}

/// One SFTP conversation, beside its two sources.
pub struct Conversation {
    gate: Mutex<Gate>,
    oversight: Arc<dyn Oversight>,
    turns: TurnsAt,
    /// At which of the oversight's changes it was last asked whether rules name paths.
    asked_at: Mutex<Option<u64>>,
    book: Book,
    /// The gate has taken an answer, or what it is to has been passed on.
    answered: Notify,
    /// An answer is on its way to the user, who may not be reading.
    passing: AtomicBool,
}

/// Why a conversation ends early.
enum Broken {
    User(Malformed),
    Target(Malformed),
    /// The target does not answer.
    Silent,
    Record,
    /// Whom it was for is gone.
    Gone,
}

/// Puts the inspection between both sources and the relay.
pub fn inspect(
    user: impl Source + 'static,
    target: impl Source + 'static,
    terms: Terms,
    book: Book,
) -> (Inspected, Inspected, Arc<Conversation>) {
    let Terms { rights, oversight, limited, turns } = terms;
    let conversation = Arc::new(Conversation {
        gate: Mutex::new(Gate::new(rights, limited.then(|| Arc::clone(&oversight)))),
        oversight,
        turns,
        asked_at: Mutex::new(None),
        book,
        answered: Notify::new(),
        passing: AtomicBool::new(false),
    });
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

/// Where packets of a user go, or the answers to them.
struct Lines<'l> {
    credit: &'l Credits,
    to_target: &'l mpsc::Sender<ChannelEvent>,
    reply: &'l Reply,
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

    /// From when rules name paths each is judged, in a channel that began before, too.
    fn hold_to_paths(&self) {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before it is asked: a change in between is seen the next time.
        let changes = self.oversight.changes();
        if *asked_at != Some(changes) {
            *asked_at = Some(changes);
            if self.oversight.names_paths() {
                self.gate().limit(&self.oversight);
            }
        }
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
                    self.ask_all(&mut frames, &Lines { credit: &credit, to_target: &to_target, reply: &reply }).await
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

    async fn ask_all(&self, frames: &mut Frames, lines: &Lines<'_>) -> Result<(), Broken> {
        while let Some(packet) = frames.next().map_err(Broken::User)? {
            while self.gate().waiting() >= PENDING_MAX {
                self.answered.notified().await;
            }
            self.hold_to_paths();
            let asked = self.gate().asked(packet.clone()).map_err(Broken::User)?;
            match asked {
                Asked::Resolve(errand) => self.run_errand(errand, &packet, lines).await?,
                asked @ (Asked::Forward(..) | Asked::Answer(..)) => self.pass(asked, &packet, None, lines).await?,
            }
        }
        Ok(())
    }

    /// Does with a packet what the gate says.
    async fn pass(
        &self,
        asked: Asked,
        packet: &Bytes,
        turn: Option<&mut Turn>,
        lines: &Lines<'_>,
    ) -> Result<(), Broken> {
        let (credit, length) = (lines.credit, packet.len());
        match asked {
            Asked::Forward(forwarded, note) => {
                self.write(note).await?;
                if is_own(&forwarded, packet) {
                    credit.dropped(length);
                    credit.own(forwarded.len());
                }
                if let Some(turn) = turn {
                    turn.begin();
                }
                lines.to_target.send(ChannelEvent::Data(forwarded)).await.map_err(|_| Broken::Gone)
            }
            Asked::Answer(answer, note) => {
                self.write(note).await?;
                credit.dropped(length);
                lines.reply.credit.own(answer.len());
                lines.reply.packets.send(ChannelEvent::Data(answer)).await.map_err(|_| Broken::Gone)
            }
            // It is resolved only in a turn.
            Asked::Resolve(_) => Err(Broken::User(Malformed("a path that cannot be resolved"))),
        }
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
            self.passing.store(true, Ordering::SeqCst);
            let answered = self.gate().answered(packet.clone()).map_err(Broken::Target)?;
            self.answered.notify_one();
            let Answered::Forward(passed, notes) = answered else {
                credit.dropped(length);
                self.passed();
                continue;
            };
            for note in notes {
                self.write(Some(note)).await?;
            }
            if is_own(&passed, &packet) {
                credit.dropped(length);
                credit.own(passed.len());
            }
            to_user.send(ChannelEvent::Data(passed)).await.map_err(|_| Broken::Gone)?;
            self.passed();
        }
        Ok(())
    }

    /// No answer is on its way to the user.
    fn passed(&self) {
        self.passing.store(false, Ordering::SeqCst);
        self.answered.notify_one();
    }

    /// Puts on record why it ends; both sources end with it.
    async fn broken(&self, broken: Broken) {
        let text = match broken {
            Broken::User(Malformed(why)) => format!("sftp: ended: the user sent {why}"),
            Broken::Target(Malformed(why)) => format!("sftp: ended: the target sent {why}"),
            Broken::Silent => String::from("sftp: ended: the target did not answer in time"),
            Broken::Record | Broken::Gone => return,
        };
        let _ = self.write(Some(Note { text, first: false, file: None, refused: None })).await;
    }

    async fn write(&self, note: Option<Note>) -> Result<(), Broken> {
        match note {
            Some(note) => {
                if let Some(refused) = &note.refused {
                    self.oversight.refused(refused);
                }
                self.book.write(note).await.map_err(|Unrecorded| Broken::Record)
            }
            None => Ok(()),
        }
    }

    /// Puts on record what became of files that nobody closed; to be called once nothing is carried any more.
    pub async fn finish(&self) {
        let notes = self.gate().finish();
        self.book.write_last(notes).await;
    }
}
