//! rsync between a user and a target: what it may read or write is on record before a byte of it goes on, and the bytes
//! go by as they come.
//!
//! What this module does **not** guard against: it judges nothing. That a transfer only reads, or writes where it says,
//! follows from the options that were judged (`model::transfer`), and from what the target's rsync makes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::inspect::{Book, Credits, EVENTS_MAX, FileNote, Inspected, Note};
use crate::model::ChannelEvent;
use crate::model::transfer::{Transfer, Way};
use crate::sftp::shown;
use crate::wire::channel::Source;

/// One transfer, beside its two sources.
pub struct Conversation {
    way: Way,
    /// What is read or written, as the user named it.
    roots: String,
    options: String,
    book: Book,
    from_user: AtomicU64,
    from_target: AtomicU64,
    /// Told once the beginning is on record.
    begun: Notify,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    User,
    Target,
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
        roots: shown(transfer.paths().join(" ").as_bytes()),
        options: shown(&transfer.line()),
        book,
        from_user: AtomicU64::new(0),
        from_target: AtomicU64::new(0),
        begun: Notify::new(),
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
                if self.book.write(self.begins()).await.is_err() {
                    return;
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

    fn verb(&self) -> &'static str {
        match self.way {
            Way::FromTarget => "get",
            Way::ToTarget => "put",
        }
    }

    /// What is put on record before anything goes on.
    fn begins(&self) -> Note {
        let log = FileNote {
            what: "open",
            path: self.roots.clone(),
            to: None,
            detail: Some(format!("to write or remove, by {}", self.options)),
        };
        let file = match self.way {
            Way::FromTarget => None,
            Way::ToTarget => Some(log),
        };
        Note {
            text: format!("rsync: {} {} by {}", self.verb(), self.roots, self.options),
            first: true,
            file,
            refused: None,
        }
    }

    /// Puts on record how much it was; to be called once nothing is carried any more.
    pub async fn finish(&self) {
        let (up, down) = (self.from_user.load(Ordering::SeqCst), self.from_target.load(Ordering::SeqCst));
        let detail = format!("{up} bytes to the target, {down} bytes from it");
        let text = format!("rsync: {} {}: {detail}", self.verb(), self.roots);
        let file = FileNote { what: self.verb(), path: self.roots.clone(), to: None, detail: Some(detail) };
        self.book.write_last(vec![Note { text, first: false, file: Some(file), refused: None }]).await;
    }
}
