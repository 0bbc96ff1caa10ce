//! What watchers of a channel are shown while it is recorded.
//!
//! A commit publishes what it has written, once that may be shown to the user too; so a watcher sees what is in the
//! recording and nothing else. Watchers come off the recording's path: what one does not take in time is dropped for
//! that watcher, who goes on with the end of what the screen was drawn from.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::cast::{Entry, Timed};
use crate::model::{ChannelClass, ChannelNumber};

/// So much of a terminal's output is kept in memory, to draw the screen that a watcher begins with.
const TAIL_BYTES: usize = 32 * 1024;
/// What waits for one watcher, in bytes; with more they begin anew.
const WAITING_BYTES: usize = 512 * 1024;
/// What an entry counts beside its bytes.
const ENTRY_BYTES: usize = 256;

/// What a watcher must know of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedChannel {
    /// Its number; 0 is the session's own facts.
    pub number: ChannelNumber,
    /// What it is for; none for channel 0.
    pub class: Option<ChannelClass>,
    /// Whether it has a terminal.
    pub pty: bool,
}

/// What a watcher is shown next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The end of what a terminal was sent, at most 32 KiB, to draw the screen from; comes first, and again after a
    /// watcher was too slow.
    Tail {
        /// The terminal's size in columns and rows.
        size: (u32, u32),
        /// The bytes. Empty for a channel without a terminal.
        bytes: Vec<u8>,
        /// Whether there were more before: what has not changed since then is not on the screen.
        cut: bool,
    },
    /// What was recorded since; each once, in order.
    Entries(Vec<Timed>),
    /// The channel is closed; nothing more comes.
    Ended,
}

/// One channel's stream to its watchers.
pub(super) struct Feed {
    channel: WatchedChannel,
    state: Mutex<State>,
}

struct State {
    /// The end of the terminal's output.
    tail: VecDeque<u8>,
    /// Whether it is not all of it.
    cut: bool,
    size: (u32, u32),
    watchers: Vec<Weak<Watcher>>,
    ended: bool,
}

/// What waits for one watcher.
#[derive(Default)]
struct Watcher {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Timed>,
    bytes: usize,
    /// Whether something was dropped, or nothing was shown yet.
    anew: bool,
    ended: bool,
}

impl Waiting {
    fn restart(&mut self) {
        *self = Self { anew: true, ended: self.ended, ..Self::default() };
    }
}

/// What a commit has written and not published yet.
#[derive(Default)]
pub(super) struct Written {
    entries: VecDeque<Timed>,
    bytes: usize,
    /// Whether the first of it was dropped.
    cut: bool,
}

impl Written {
    /// Keeps the newest of what a commit writes.
    pub(super) fn add(&mut self, timed: Timed) {
        self.bytes = self.bytes.saturating_add(cost(&timed));
        self.entries.push_back(timed);
        while self.bytes > WAITING_BYTES {
            let Some(first) = self.entries.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(cost(&first));
            self.cut = true;
        }
    }
}

impl Feed {
    pub(super) fn new(channel: WatchedChannel, size: (u32, u32)) -> Arc<Self> {
        let state = State { tail: VecDeque::new(), cut: false, size, watchers: Vec::new(), ended: false };
        Arc::new(Self { channel, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn channel(&self) -> &WatchedChannel {
        &self.channel
    }

    /// Whether anybody is shown what a commit writes, now or later.
    pub(super) fn is_wanted(&self) -> bool {
        self.channel.pty || !self.lock().watchers.is_empty()
    }

    /// Shows what may be shown now.
    pub(super) fn publish(&self, written: Written) {
        if written.entries.is_empty() {
            return;
        }
        let mut state = self.lock();
        if self.channel.pty {
            for timed in &written.entries {
                state.draw(&timed.entry);
            }
        }
        state.watchers.retain(|watcher| watcher.strong_count() > 0);
        for watcher in state.watchers.iter().filter_map(Weak::upgrade) {
            let mut waiting = watcher.lock();
            let bytes = waiting.bytes.saturating_add(written.bytes);
            if waiting.anew || written.cut || bytes > WAITING_BYTES {
                // The tail has it.
                waiting.restart();
            } else {
                waiting.bytes = bytes;
                waiting.entries.extend(written.entries.iter().cloned());
            }
            drop(waiting);
            watcher.wake.notify_one();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.tail = VecDeque::new();
        for watcher in state.watchers.drain(..).filter_map(|watcher| watcher.upgrade()) {
            watcher.lock().ended = true;
            watcher.wake.notify_one();
        }
    }

    pub(super) fn watch(self: &Arc<Self>) -> Watching {
        let watcher = Arc::new(Watcher::default());
        let mut state = self.lock();
        {
            let mut waiting = watcher.lock();
            waiting.anew = true;
            waiting.ended = state.ended;
        }
        state.watchers.push(Arc::downgrade(&watcher));
        drop(state);
        Watching { feed: Arc::clone(self), watcher }
    }
}

impl State {
    /// Keeps what changes the screen.
    fn draw(&mut self, entry: &Entry) {
        match entry {
            Entry::Output { bytes, .. } => {
                let new = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
                self.cut |= new.len() < bytes.len() || self.tail.len().saturating_add(new.len()) > TAIL_BYTES;
                let room = TAIL_BYTES.saturating_sub(new.len());
                let gone = self.tail.len().saturating_sub(room);
                self.tail.drain(..gone);
                self.tail.extend(new);
            }
            Entry::Resize { cols, rows } => self.size = (*cols, *rows),
            Entry::Input(_)
            | Entry::Redacted
            | Entry::Marker(_)
            | Entry::Digest(_)
            | Entry::Exit(_)
            | Entry::Record { .. } => {}
        }
    }
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches a channel until dropped.
pub struct Watching {
    feed: Arc<Feed>,
    watcher: Arc<Watcher>,
}

impl Watching {
    /// What it is.
    pub fn channel(&self) -> &WatchedChannel {
        &self.feed.channel
    }

    /// What is to be shown next, once there is something. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.take() {
                return seen;
            }
            self.watcher.wake.notified().await;
        }
    }

    /// Whether something was dropped: what comes next is a tail, and what was taken before is out of date.
    pub fn is_behind(&self) -> bool {
        let waiting = self.watcher.lock();
        waiting.anew && !waiting.ended
    }

    pub(super) fn take(&self) -> Option<Seen> {
        // The feed first, as whoever publishes does.
        let state = self.feed.lock();
        let mut waiting = self.watcher.lock();
        if waiting.ended {
            let rest = std::mem::take(&mut waiting.entries);
            waiting.bytes = 0;
            return Some(if rest.is_empty() { Seen::Ended } else { Seen::Entries(rest.into()) });
        }
        if waiting.anew {
            *waiting = Waiting::default();
            return Some(Seen::Tail { size: state.size, bytes: state.tail.iter().copied().collect(), cut: state.cut });
        }
        waiting.bytes = 0;
        let entries = std::mem::take(&mut waiting.entries);
        (!entries.is_empty()).then(|| Seen::Entries(entries.into()))
    }
}

fn cost(timed: &Timed) -> usize {
    timed.entry.size().saturating_add(ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::Output;

    #[test]
    fn a_watcher_begins_with_the_tail_and_then_sees_each_entry_once() {
        let feed = terminal();
        publish(&feed, b"before");
        let watching = feed.watch();
        assert_eq!(watching.take(), Some(tail(b"before")));
        assert_eq!(watching.take(), None);
        publish(&feed, b"one");
        publish(&feed, b"two");
        let Some(Seen::Entries(entries)) = watching.take() else { panic!() };
        assert_eq!(entries, [output(b"one"), output(b"two")]);
        feed.end();
        assert_eq!(watching.take(), Some(Seen::Ended));
    }

    #[test]
    fn what_was_recorded_before_the_end_is_seen_before_it() {
        let feed = terminal();
        let watching = feed.watch();
        let _ = watching.take();
        publish(&feed, b"last words");
        feed.end();
        assert_eq!(watching.take(), Some(Seen::Entries(vec![output(b"last words")])));
        assert_eq!(watching.take(), Some(Seen::Ended));
        assert_eq!(feed.watch().take(), Some(Seen::Ended));
    }

    #[test]
    fn a_slow_watcher_holds_no_more_than_its_share_and_goes_on_with_the_tail() {
        let feed = terminal();
        let (slow, quick) = (feed.watch(), feed.watch());
        let _ = (slow.take(), quick.take());
        let mut seen = 0;
        for _ in 0..200 {
            publish(&feed, &[b'x'; 8192]);
            let Some(Seen::Entries(entries)) = quick.take() else { panic!() };
            seen += entries.len();
            assert!(slow.watcher.lock().bytes <= WAITING_BYTES);
        }
        assert_eq!(seen, 200);
        publish(&feed, b"the end");
        assert_eq!((slow.is_behind(), quick.is_behind()), (true, false));
        let Some(Seen::Tail { bytes, cut: true, .. }) = slow.take() else { panic!() };
        assert!(!slow.is_behind());
        assert_eq!(bytes.len(), TAIL_BYTES);
        assert!(bytes.ends_with(b"xthe end"));
        publish(&feed, b"more");
        assert_eq!(slow.take(), Some(Seen::Entries(vec![output(b"more")])));
    }

    #[test]
    fn a_tail_says_whether_something_was_before_it() {
        let feed = terminal();
        let is_cut = || matches!(feed.watch().take(), Some(Seen::Tail { cut: true, .. }));
        publish(&feed, &vec![b'x'; TAIL_BYTES - 1]);
        assert!(!is_cut());
        publish(&feed, b"y");
        assert!(!is_cut());
        publish(&feed, b"z");
        assert!(is_cut());
        let at_once = terminal();
        publish(&at_once, &vec![b'x'; TAIL_BYTES + 1]);
        assert!(matches!(at_once.watch().take(), Some(Seen::Tail { cut: true, .. })));
    }

    #[test]
    fn one_large_commit_is_bounded_too() {
        let feed = terminal();
        let watching = feed.watch();
        let _ = watching.take();
        let mut written = Written::default();
        for _ in 0..1000 {
            written.add(output(&[b'y'; 4096]));
            assert!(written.bytes <= WAITING_BYTES);
        }
        feed.publish(written);
        assert!(matches!(watching.take(), Some(Seen::Tail { .. })));
    }

    #[test]
    fn the_tail_knows_the_terminals_size_and_who_has_left_costs_nothing() {
        let feed = terminal();
        drop(feed.watch());
        let mut written = Written::default();
        written.add(Timed { at: Duration::ZERO, entry: Entry::Resize { cols: 132, rows: 43 } });
        feed.publish(written);
        assert!(feed.lock().watchers.is_empty());
        assert_eq!(feed.watch().take(), Some(Seen::Tail { size: (132, 43), bytes: Vec::new(), cut: false }));
    }

    fn terminal() -> Arc<Feed> {
        let channel = WatchedChannel { number: ChannelNumber(1), class: Some(ChannelClass::Shell), pty: true };
        Feed::new(channel, (80, 24))
    }

    fn output(bytes: &[u8]) -> Timed {
        let entry = Entry::Output { output: Output::Stdout, bytes: Bytes::copy_from_slice(bytes) };
        Timed { at: Duration::ZERO, entry }
    }

    fn publish(feed: &Feed, bytes: &[u8]) {
        let mut written = Written::default();
        written.add(output(bytes));
        feed.publish(written);
    }

    fn tail(bytes: &[u8]) -> Seen {
        Seen::Tail { size: (80, 24), bytes: bytes.to_vec(), cut: false }
    }
}
