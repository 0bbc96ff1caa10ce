//! rsync between a user and a target: what it may read or write is on record before a byte of it goes on. The bytes go by
//! as they come, and are read along: the files that are listed, sent and removed are on record before the bytes that tell
//! of them go on.
//!
//! What this module does **not** guard against: it judges nothing. That a transfer only reads, or writes where it says,
//! follows from the options that were judged (`model::transfer`), and from what the target's rsync makes of them. Where
//! the protocol is not understood the transfer goes on all the same, and the recording says that the list ends there.

mod content;
mod entry;
mod frames;
mod lister;
mod notes;
mod order;
mod terms;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use crate::inspect::{Book, Credits, EVENTS_MAX, FileNote, Inspected, Note};
use crate::model::ChannelEvent;
use crate::model::transfer::{Transfer, Way};
use crate::sftp::shown;
use crate::wire::channel::Source;
pub use content::Found;
pub use entry::Listed;
pub use lister::{Lister, Side};
use notes::Scribe;
pub use wire::Lost;

/// One transfer, beside its two sources.
pub struct Conversation {
    way: Way,
    /// What is read or written, as the user named it.
    roots: Vec<String>,
    options: String,
    book: Book,
    from_user: AtomicU64,
    from_target: AtomicU64,
    /// Told once the beginning is on record.
    begun: Notify,
    reading: Mutex<Reading>,
}

/// What reads along.
struct Reading {
    /// Why not, where the options lead to a form that is not known.
    lister: Result<Lister, Lost>,
    scribe: Scribe,
}

/// Puts itself between both sources and the relay.
pub fn inspect(
    user: impl Source + 'static,
    target: impl Source + 'static,
    transfer: &Transfer,
    book: Book,
) -> (Inspected, Inspected, Arc<Conversation>) {
    let conversation = Arc::new(Conversation {
        way: transfer.way(),
        roots: transfer.paths().iter().map(|path| shown(path.as_bytes())).collect(),
        options: shown(&transfer.line()),
        book,
        from_user: AtomicU64::new(0),
        from_target: AtomicU64::new(0),
        begun: Notify::new(),
        reading: Mutex::new(Reading { lister: Lister::new(transfer), scribe: Scribe::new(verb(transfer.way())) }),
    });
    let (to_target, from_user) = mpsc::channel(EVENTS_MAX);
    let (to_user, from_target) = mpsc::channel(EVENTS_MAX);
    let (user_credit, target_credit) = (Credits::of(&user), Credits::of(&target));
    let up = Arc::clone(&conversation).carry(Side::User, user, to_target);
    let down = Arc::clone(&conversation).carry(Side::Target, target, to_user);
    let (up, down) = (tokio::spawn(up).abort_handle(), tokio::spawn(down).abort_handle());
    (Inspected::new(from_user, user_credit, up), Inspected::new(from_target, target_credit, down), conversation)
}

impl Conversation {
    /// Carries what one side sends.
    async fn carry(self: Arc<Self>, side: Side, mut source: impl Source, out: mpsc::Sender<ChannelEvent>) {
        match side {
            Side::User => {
                // Who ends here ends the channel, and the other task with it.
                for note in self.begins() {
                    if self.book.write(note).await.is_err() {
                        return;
                    }
                }
                self.begun.notify_one();
            }
            Side::Target => self.begun.notified().await,
        }
        let count = match side {
            Side::User => &self.from_user,
            Side::Target => &self.from_target,
        };
        while let Some(event) = source.next().await {
            match (&event, side) {
                (ChannelEvent::Data(bytes), _) => {
                    count.fetch_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX), Ordering::SeqCst);
                    let notes = self.reading().take(side, bytes);
                    for note in notes {
                        if self.book.write(note).await.is_err() {
                            return;
                        }
                    }
                }
                // A program that moves files has no terminal, and nothing but its input.
                (ChannelEvent::Stderr(_) | ChannelEvent::Resize(_) | ChannelEvent::Break(_), Side::User) => continue,
                (_, _) => {}
            }
            if out.send(event).await.is_err() {
                return;
            }
        }
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        // What the lock guards is whole between any two statements that can panic.
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is put on record before anything goes on.
    fn begins(&self) -> Vec<Note> {
        let log = FileNote {
            what: "open",
            path: self.roots.join(" "),
            to: None,
            detail: Some(format!("to write or remove, by {}", self.options)),
        };
        let file = match self.way {
            Way::FromTarget => None,
            Way::ToTarget => Some(log),
        };
        let text = format!("rsync: {} {} by {}", verb(self.way), self.roots.join(" "), self.options);
        let begins = Note { text, first: true, file, refused: None };
        [begins].into_iter().chain(self.reading().begins()).collect()
    }

    /// Puts on record how much it was; to be called once nothing is carried any more.
    pub async fn finish(&self) {
        let (up, down) = (self.from_user.load(Ordering::SeqCst), self.from_target.load(Ordering::SeqCst));
        let detail = format!("{up} bytes to the target, {down} bytes from it");
        let sum = self.reading().sum();
        let text = format!("rsync: {} {}: {detail}; {sum}", verb(self.way), self.roots.join(" "));
        let one = |path: &String| {
            let detail = Some(format!("{detail}, by {}", self.options));
            let file = FileNote { what: verb(self.way), path: path.clone(), to: None, detail };
            let text = if self.roots.len() > 1 { format!("{text} (of which {path})") } else { text.clone() };
            Note { text, first: false, file: Some(file), refused: None }
        };
        self.book.write_last(self.roots.iter().map(one).collect()).await;
    }
}

impl Reading {
    /// What is put on record before anything goes on.
    fn begins(&mut self) -> Vec<Note> {
        let lost = self.lister.as_ref().err().cloned();
        self.scribe.notes(lost.map(Found::Lost).into_iter().collect())
    }

    /// What is put on record before these bytes go on.
    fn take(&mut self, side: Side, bytes: &[u8]) -> Vec<Note> {
        match &mut self.lister {
            Ok(lister) => self.scribe.notes(lister.take(side, bytes)),
            Err(_) => Vec::new(),
        }
    }

    fn sum(&self) -> String {
        self.scribe.sum(self.lister.as_ref().is_ok_and(Lister::is_whole))
    }
}

fn verb(way: Way) -> &'static str {
    match way {
        Way::FromTarget => "get",
        Way::ToTarget => "put",
    }
}
