//! Reads along with rsync's protocol, versions 30 to 32: which files the sender lists, which of them it sends, and which
//! the target removes. Pure: bytes in, what was found out; however they are split, the same is found.
//!
//! It reads what the target's rsync reads or writes, in the form that the command line and the greeting settle, and gives
//! up for good where that is not understood, or of a form that it does not know: access lists and attributes (`-A`, `-X`),
//! converted names (`--iconv`), other versions. It keeps no more than some MiB.
//!
//! What it does **not** guard against: it judges nothing and holds nothing up, and a target may do otherwise than the
//! protocol says. The list has what the sender offers: that a listed file was made or changed only follows where its
//! content is sent, for folders, links, devices, owners, times and modes the protocol does not tell. Of a target that is
//! read from, whether the names are those of what is read is the target's word.

use super::content::{Content, Found};
use super::frames::{Frames, Piece};
use super::terms::{Terms, agree};
use super::wire::{Lost, Stop};
use crate::model::transfer::{Transfer, Way};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The user.
    User,
    /// The target.
    Target,
}

/// One transfer.
#[derive(Debug)]
pub struct Lister {
    way: Way,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Both greet.
    Hello { terms: Terms, user: Vec<u8>, target: Vec<u8> },
    /// What one side lists and sends, and what the target removes.
    Reading { sender: Option<Box<Sender>>, removals: Option<Frames> },
    /// Nothing more is read.
    Lost,
}

/// What one side lists and sends.
#[derive(Debug)]
struct Sender {
    frames: Frames,
    content: Content,
}

/// So much one side may say before the other has greeted; rsync waits.
const HELLO_BYTES_MAX: usize = 64 * 1024;

impl Lister {
    /// Nothing has been said yet.
    ///
    /// # Errors
    /// `Lost` if the options lead to a form that is not known.
    pub fn new(transfer: &Transfer) -> Result<Self, Lost> {
        let terms = Terms::of(transfer)?;
        let state = State::Hello { terms, user: Vec::new(), target: Vec::new() };
        Ok(Self { way: transfer.way(), state })
    }

    /// Whether the whole list was read.
    pub fn is_whole(&self) -> bool {
        match &self.state {
            State::Reading { sender: Some(sender), .. } => sender.content.is_whole(),
            State::Reading { sender: None, .. } | State::Hello { .. } | State::Lost => false,
        }
    }

    /// How much it keeps, roughly.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Hello { user, target, .. } => user.len() + target.len(),
            State::Reading { sender: Some(sender), .. } => sender.content.held_bytes(),
            State::Reading { sender: None, .. } | State::Lost => 0,
        }
    }

    /// Reads what one side has sent.
    pub fn take(&mut self, side: Side, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        match &mut self.state {
            State::Hello { user, target, .. } => {
                let (own, other) = match side {
                    Side::User => (user, target),
                    Side::Target => (target, user),
                };
                own.extend_from_slice(bytes);
                // The greetings are over long before.
                let too_long = own.len() > HELLO_BYTES_MAX && other.len() <= HELLO_BYTES_MAX;
                self.greet(&mut found);
                if let (true, State::Hello { .. }) = (too_long, &self.state) {
                    self.state = State::Lost;
                    found.push(Found::Lost(Lost("too much before the greeting".into())));
                }
            }
            State::Reading { sender, removals } => read(self.way, side, bytes, sender, removals, &mut found),
            State::Lost => {}
        }
        found
    }

    /// Reads the greetings, and what came behind them, if they are all there.
    fn greet(&mut self, found: &mut Vec<Found>) {
        let State::Hello { terms, user, target } = &self.state else { return };
        let agreed = match agree(terms, user, target) {
            Ok(agreed) => agreed,
            Err(Stop::More) => return,
            Err(Stop::Lost(lost)) => {
                self.state = State::Lost;
                return found.push(Found::Lost(lost));
            }
        };
        let (pact, user_read, target_read) = agreed;
        let content = Content::new(terms.clone(), pact);
        let sender = Some(Box::new(Sender { frames: Frames::default(), content }));
        let removals = match self.way {
            // With `-n` it tells of what it would remove, and removes nothing.
            Way::ToTarget if terms.transfers => Some(Frames::default()),
            Way::ToTarget | Way::FromTarget => None,
        };
        let reading = State::Reading { sender, removals };
        let State::Hello { user, target, .. } = std::mem::replace(&mut self.state, reading) else { return };
        found.extend(self.take(Side::User, user.get(user_read..).unwrap_or_default()));
        found.extend(self.take(Side::Target, target.get(target_read..).unwrap_or_default()));
    }
}

fn read(
    way: Way,
    side: Side,
    mut bytes: &[u8],
    sender: &mut Option<Box<Sender>>,
    removals: &mut Option<Frames>,
    found: &mut Vec<Found>,
) {
    let sends = match way {
        Way::ToTarget => side == Side::User,
        Way::FromTarget => side == Side::Target,
    };
    if sends {
        let Some(sending) = sender else { return };
        if let Err(lost) = sending.take(bytes, found) {
            *sender = None;
            found.push(Found::Lost(lost));
        }
        return;
    }
    while let Some(frames) = removals {
        match frames.next(&mut bytes) {
            Ok(None) => return,
            Ok(Some(Piece::Data(_))) => {}
            Ok(Some(Piece::Removed(mut name))) => {
                let is_directory = name.last() == Some(&0);
                if is_directory {
                    name.pop();
                }
                found.push(Found::Removed { name, is_directory });
            }
            Err(lost) => {
                *removals = None;
                found.push(Found::RemovalsLost(lost));
            }
        }
    }
}

impl Sender {
    fn take(&mut self, mut bytes: &[u8], found: &mut Vec<Found>) -> Result<(), Lost> {
        while let Some(piece) = self.frames.next(&mut bytes)? {
            match piece {
                Piece::Data(piece) => self.content.take(piece, found)?,
                // Whoever sends removes nothing.
                Piece::Removed(_) => {}
            }
        }
        Ok(())
    }
}
