//! Where a reading of a desktop can begin: the picture of a moment, and what its decoder knew then.
//!
//! What a target sends builds on what it sent before: a palette, pointers that are kept by number, the head of a
//! RemoteFX stream. A keyframe holds those messages as they were recorded, and taking them again brings a decoder to
//! where it was; then the picture is painted over what they drew. Before one is given, that is tried, and it is given only
//! if the same picture comes out.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use super::fields::Fields;
use super::keys::{self, Input};
use super::packets::{DEMAND_ACTIVE, POINTER, Share, UPDATE, Update, update};
use super::pdu::{Mcs, Way, mcs};
use super::picture::{Change, Picture, Pointer, rgb};
use super::record::Kind;

/// From one keyframe to the next, where little is drawn.
const STEP: Duration = Duration::from_secs(30);
/// So much of what the target sent is drawn in a fraction of a second.
const DRAWN_BYTES: usize = 8 << 20;
/// More is not kept of what later messages may build on: there are no keyframes then until the next set-up.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A recorded message.
type Message = (Kind, Vec<u8>);

/// The picture of a moment, and how it goes on from there.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyframe {
    /// All records up to this moment are in it, and none after it.
    pub at: Duration,
    width: u16,
    height: u16,
    /// Three bytes a pixel, rows from the top, without the pointer.
    pixels: Vec<u8>,
    messages: Vec<Message>,
}

impl Keyframe {
    /// The picture as it was, to go on from; none if it does not fit what is in it.
    pub fn restore(&self) -> Option<Picture> {
        let mut picture = Picture::new(Pointer::Drawn);
        for (kind, bytes) in &self.messages {
            picture.take(*kind, bytes);
        }
        (picture.size() == Some((self.width, self.height))).then_some(())?;
        picture.paint(&self.pixels);
        Some(picture)
    }

    /// For a file: `at u64` in microseconds, `width u16, height u16`, the number of messages `u32`, each as `kind u8,
    /// length u32, bytes`, and the pixels; all little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = u64::try_from(self.at.as_micros()).unwrap_or(u64::MAX).to_le_bytes().to_vec();
        bytes.extend([self.width, self.height].map(u16::to_le_bytes).concat());
        bytes.extend(number(self.messages.len()));
        for (kind, message) in &self.messages {
            bytes.push(kind.byte());
            bytes.extend(number(message.len()));
            bytes.extend(message);
        }
        bytes.extend(&self.pixels);
        bytes
    }

    /// The one that those bytes are; none if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        let at = Duration::from_micros(fields.u64()?);
        let (width, height, count) = (fields.u16()?, fields.u16()?, fields.length()?);
        let mut messages = Vec::new();
        for _ in 0..count {
            let kind = Kind::of(fields.byte()?)?;
            let length = fields.length()?;
            messages.push((kind, fields.take(length)?.to_vec()));
        }
        let pixels = fields.rest().to_vec();
        let is_whole = pixels.len() == usize::from(width).saturating_mul(height.into()).saturating_mul(3);
        is_whole.then_some(Self { at, width, height, pixels, messages })
    }
}

impl fmt::Debug for Keyframe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, width, height, messages, .. } = self;
        write!(f, "Keyframe({at:?}, {width}x{height}, {} messages)", messages.len())
    }
}

/// Makes keyframes of a recording's records, which it is given in order.
#[derive(Debug)]
pub struct Keyframes {
    /// What the target drew, without the pointer.
    desktop: Picture,
    /// What the user saw.
    seen: Picture,
    known: Known,
    /// When the last record was.
    at: Duration,
    /// When the last keyframe was.
    last: Duration,
    /// How many bytes were drawn from since.
    drawn: usize,
    is_changed: bool,
}

impl Default for Keyframes {
    fn default() -> Self {
        Self {
            desktop: Picture::new(Pointer::LeftOut),
            seen: Picture::new(Pointer::Drawn),
            known: Known::default(),
            at: Duration::ZERO,
            last: Duration::ZERO,
            drawn: 0,
            is_changed: false,
        }
    }
}

impl Keyframes {
    /// Takes the next record; gives a keyframe of what was before it, where one is due.
    pub fn take(&mut self, at: Duration, kind: Kind, bytes: &[u8]) -> Option<Keyframe> {
        let is_due = self.at.saturating_sub(self.last) >= STEP || self.drawn >= DRAWN_BYTES;
        let keyframe = if at > self.at && is_due { self.keyframe() } else { None };
        self.at = self.at.max(at);
        self.known.take(kind, bytes);
        self.desktop.take(kind, bytes);
        self.is_changed |= self.seen.take(kind, bytes) != Change::Nothing;
        // Of an update in pieces the last one draws.
        if matches!(kind, Kind::FastPathOutput | Kind::IoOutput) {
            self.drawn = self.drawn.saturating_add(bytes.len());
        }
        keyframe
    }

    /// The keyframe of the end.
    pub fn finish(mut self) -> Option<Keyframe> {
        self.keyframe()
    }

    fn keyframe(&mut self) -> Option<Keyframe> {
        let messages = self.known.messages().filter(|_| self.is_changed)?;
        // The next try, too, comes when it is due.
        (self.last, self.drawn) = (self.at, 0);
        let (width, height) = self.desktop.size()?;
        let keyframe = Keyframe { at: self.at, width, height, pixels: rgb(self.desktop.rgba()), messages };
        let again = keyframe.restore()?;
        (rgb(again.rgba()) == rgb(self.seen.rgba())).then_some(())?;
        self.is_changed = false;
        Some(keyframe)
    }
}

/// What a message is about that later ones may build on. Of several about one thing the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    /// The desktop's set-up: all before it is forgotten.
    SetUp,
    Palette,
    /// The head of a RemoteFX stream.
    Stream,
    /// A pointer, by the number under which it is kept.
    Pointer(u16),
    /// Which pointer is shown.
    Shown,
    /// Where the target put the pointer.
    Place,
    /// Where the user's mouse is.
    Mouse,
}

/// The messages that later ones may build on.
#[derive(Debug, Default)]
struct Known {
    kept: Vec<Kept>,
    /// The pieces of an update that is under way.
    pieces: Kept,
    is_under_way: bool,
    /// INVARIANT: once set, what is kept is not all that counts, until the next set-up.
    is_lost: bool,
}

/// Messages that go together.
#[derive(Debug, Default)]
struct Kept {
    topics: Vec<Topic>,
    messages: Vec<Message>,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// How a RemoteFX stream begins: the type, the length and the magic number of TS_RFX_SYNC (MS-RDPRFX section 2.2.2.2.1).
const STREAM_HEAD: [u8; 10] = [0xc0, 0xcc, 12, 0, 0, 0, 0xca, 0xac, 0xcc, 0xca];

impl Known {
    fn take(&mut self, kind: Kind, bytes: &[u8]) {
        match kind {
            Kind::FastPathOutput => self.updates(bytes),
            Kind::IoOutput => {
                let topics = io_topics(bytes);
                if topics.contains(&Topic::SetUp) {
                    *self = Self::default();
                }
                self.keep(Kept { topics, messages: vec![(kind, bytes.to_vec())] });
            }
            Kind::FastPathInput | Kind::IoInput => {
                let is_mouse = keys::inputs(kind, bytes).iter().any(|input| matches!(input, Input::Mouse { .. }));
                let topics = if is_mouse { vec![Topic::Mouse] } else { Vec::new() };
                self.keep(Kept { topics, messages: vec![(kind, bytes.to_vec())] });
            }
            Kind::ChannelOut | Kind::ChannelIn | Kind::Event => {}
        }
    }

    fn updates(&mut self, bytes: &[u8]) {
        // What cannot be read was not drawn.
        let Some(updates) = Update::all(bytes) else { return };
        for Update { kind, fragment, data, .. } in &updates {
            if fragment.is_first() {
                self.pieces.topics.extend(topic(*kind, data));
            }
            self.is_under_way = !fragment.is_last();
            if *kind == update::SURFACES && data.windows(STREAM_HEAD.len()).any(|bytes| bytes == STREAM_HEAD) {
                self.pieces.topics.push(Topic::Stream);
            }
        }
        self.pieces.messages.push((Kind::FastPathOutput, bytes.to_vec()));
        if !self.is_under_way || self.pieces.bytes() > KEPT_BYTES_MAX {
            let whole = std::mem::take(&mut self.pieces);
            self.is_lost = self.is_lost || self.is_under_way;
            self.keep(whole);
        }
    }

    fn keep(&mut self, new: Kept) {
        if new.topics.is_empty() {
            return;
        }
        for old in &mut self.kept {
            old.topics.retain(|topic| *topic == Topic::SetUp || !new.topics.contains(topic));
        }
        self.kept.retain(|old| !old.topics.is_empty());
        self.kept.push(new);
        self.is_lost = self.is_lost || self.kept.iter().map(Kept::bytes).sum::<usize>() > KEPT_BYTES_MAX;
        if self.is_lost {
            self.kept.clear();
        }
    }

    /// All of them, in their order; none where that is not known, or not now.
    fn messages(&self) -> Option<Vec<Message>> {
        let is_whole = !self.is_lost && !self.is_under_way;
        is_whole.then(|| self.kept.iter().flat_map(|kept| kept.messages.iter().cloned()).collect())
    }
}

fn topic(kind: u8, data: &[u8]) -> Option<Topic> {
    let mut fields = Fields::new(data);
    match kind {
        update::PALETTE => Some(Topic::Palette),
        update::POINTER_HIDDEN | update::POINTER_DEFAULT | update::POINTER_CACHED => Some(Topic::Shown),
        update::POINTER_PLACE => Some(Topic::Place),
        update::POINTER_COLOUR => fields.u16().map(Topic::Pointer),
        update::POINTER_NEW | update::POINTER_LARGE => {
            let _depth = fields.u16();
            fields.u16().map(Topic::Pointer)
        }
        _ => None,
    }
}

/// Section 2.2.9.1.1.4 of MS-RDPBCGR: kinds of pointer messages that are none of the fast path.
fn io_topics(frame: &[u8]) -> Vec<Topic> {
    const PALETTE: u16 = 2;
    let Ok(Mcs::Data { data, .. }) = mcs(frame, Way::Indication) else { return Vec::new() };
    let mut topics = Vec::new();
    for share in Share::all(data) {
        if share.kind == DEMAND_ACTIVE {
            topics.push(Topic::SetUp);
        }
        let Some((kind, body)) = share.data() else { continue };
        let mut fields = Fields::new(body);
        let (first, _pad) = (fields.u16(), fields.u16());
        topics.extend(match (kind, first) {
            (UPDATE, Some(PALETTE)) => Some(Topic::Palette),
            (POINTER, Some(1)) => topic(update::POINTER_DEFAULT, fields.rest()),
            (POINTER, Some(3)) => topic(update::POINTER_PLACE, fields.rest()),
            (POINTER, Some(6)) => topic(update::POINTER_COLOUR, fields.rest()),
            (POINTER, Some(7)) => topic(update::POINTER_CACHED, fields.rest()),
            (POINTER, Some(8)) => topic(update::POINTER_NEW, fields.rest()),
            _ => None,
        });
    }
    topics
}
