//! What is put on record of the files that rsync lists, sends and removes.

use super::content::Found;
use super::entry::Listed;
use super::wire::Lost;
use crate::inspect::Note;
use crate::sftp::shown;

/// Writes notes, up to a limit; beyond it, it counts.
#[derive(Debug)]
pub(super) struct Scribe {
    /// `get` or `put`.
    verb: &'static str,
    listed: Share,
    sent: Share,
    removed: Share,
    is_lost: bool,
}

/// What may still be written of one kind.
#[derive(Debug)]
struct Share {
    names_left: u32,
    bytes_left: usize,
    count: u64,
}

/// So many names of each kind are on record.
const NAMES_MAX: u32 = 20_000;
/// And so many bytes of text.
const BYTES_MAX: usize = 4 << 20;

impl Share {
    fn new() -> Self {
        Self { names_left: NAMES_MAX, bytes_left: BYTES_MAX, count: 0 }
    }

    /// Counts one more; gives what is written of it, if anything.
    fn text(&mut self, what: &str, text: impl FnOnce() -> String) -> Option<String> {
        self.count = self.count.saturating_add(1);
        if self.names_left == 0 {
            return None;
        }
        let text = text();
        match self.bytes_left.checked_sub(text.len()) {
            Some(left) if self.names_left > 1 => {
                (self.names_left, self.bytes_left) = (self.names_left.saturating_sub(1), left);
                Some(text)
            }
            Some(_) | None => {
                self.names_left = 0;
                Some(format!("{what}: no more names from here on, only their count"))
            }
        }
    }
}

impl Scribe {
    pub(super) fn new(verb: &'static str) -> Self {
        Self { verb, listed: Share::new(), sent: Share::new(), removed: Share::new(), is_lost: false }
    }

    /// What is put on record of what was found; the last note of them is there before the bytes go on, and so are all.
    pub(super) fn notes(&mut self, found: Vec<Found>) -> Vec<Note> {
        let mut notes: Vec<Note> = found.into_iter().filter_map(|found| self.text(found)).map(note).collect();
        if let Some(last) = notes.last_mut() {
            last.first = true;
        }
        notes
    }

    fn text(&mut self, found: Found) -> Option<String> {
        match found {
            Found::Listed(listed) => self.listed.text("list", || format!("list {}", described(&listed))),
            Found::Sent(name) => {
                let verb = self.verb;
                let name = || name.as_deref().map_or_else(|| String::from("a file of the list"), shown);
                self.sent.text(verb, || format!("{verb} {}", name()))
            }
            Found::Removed { name, is_directory } => {
                let what = if is_directory { "directory" } else { "no directory" };
                self.removed.text("remove", || format!("remove {} {what}", shown(&name)))
            }
            Found::Lost(Lost(why)) => {
                self.is_lost = true;
                Some(format!("the list cannot be read from here on: {}", shown(why.as_bytes())))
            }
            Found::RemovalsLost(Lost(why)) => {
                Some(format!("what is removed cannot be read from here on: {}", shown(why.as_bytes())))
            }
        }
    }

    /// What it was in all.
    pub(super) fn sum(&self, is_whole: bool) -> String {
        let of = match (is_whole, self.is_lost) {
            (true, _) => "",
            (false, true) => ", the list not read to its end",
            (false, false) => ", the list not whole",
        };
        let Self { listed, sent, removed, .. } = self;
        format!("{} listed{of}, {} sent, {} removed", listed.count, sent.count, removed.count)
    }
}

fn described(listed: &Listed) -> String {
    let Listed { name, mode, size, time, link, is_hard_link } = listed;
    let (what, mode) = (listed.what(), mode & 0o7777);
    let link = link.as_ref().map(|to| format!(" to \"{}\"", shown(to).replace('"', "\\\""))).unwrap_or_default();
    let hard = if *is_hard_link { " hard link" } else { "" };
    format!("{} {what}{link}{hard} mode {mode:04o} size {size} time {time}", shown(name))
}

fn note(text: String) -> Note {
    Note { text: format!("rsync: {text}"), first: false, file: None, refused: None }
}
