//! Virtual channels: what passes on them, what is answered in a peer's place, and what is on record of it.
//!
//! What no rule names is refused: a static channel keeps its place, so that numbers do not shift, but the target is told
//! of it under a name that means nothing ([`Channels::offered`]) and what comes on it is dropped. What does pass is
//! judged message by message, after the chunks of the message were joined; a message that cannot be judged closes the
//! channel for the rest of the session and leaves the session alone.
//!
//! What it does not guard against: what an allowed format or file means to the program that gets it.

mod chunk;
mod clipboard;
mod devices;
mod dynamic;
#[cfg(test)]
mod tests;

use super::fact::{Fact, Side};
use super::record::{Kind, RECORD_BYTES_MAX, channel_message};
use super::rules::{Clip, DesktopRules};
use chunk::{Joiner, Message};
use clipboard::Clipboard;
use devices::Devices;
use dynamic::Dynamic;
pub use dynamic::{DISPLAY_CONTROL, NEVER};

/// The most bytes of one message; with its channel's name it is one record. A larger paste is refused.
pub const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX - 1024;

/// The most channels that a client may name (MS-RDPBCGR section 2.2.1.3.4).
pub const CHANNELS_MAX: usize = 31;

/// What is to be done next, in this order: what passes is on record first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Out {
    /// A record to be appended.
    Record(Kind, Vec<u8>),
    /// A chunk, with its header, to be sent on the same channel to this end.
    Send(Side, Vec<u8>),
}

/// The static virtual channels of a session.
#[derive(Debug)]
pub struct Channels {
    channels: Vec<Channel>,
    held: bool,
}

#[derive(Debug)]
struct Channel {
    name: String,
    from_user: Joiner,
    from_target: Joiner,
    work: Work,
    /// Bytes that passed to the user and to the target, where those alone are counted.
    passed: (u64, u64),
    /// How many messages were dropped: of so many alone each is on record.
    dropped: u32,
}

/// So many messages that are dropped are on record one by one.
const DROPPED_MAX: u32 = 200;

#[derive(Debug)]
enum Work {
    /// Nothing passes.
    Refused,
    /// All passes, and is counted.
    Counted,
    Clipboard(Box<Clipboard>),
    Devices(Box<Devices>),
    Dynamic(Box<Dynamic>),
}

impl Channels {
    /// The channels that the user's program named, in its order.
    pub fn new(names: &[String], rules: &DesktopRules) -> Self {
        let mut channels: Vec<Channel> = Vec::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            let again = channels.iter().any(|known| known.name == name);
            let work = if again { Work::Refused } else { Work::of(&name, rules) };
            let (from_user, from_target) = (Joiner::default(), Joiner::default());
            channels.push(Channel { name, from_user, from_target, work, passed: (0, 0), dropped: 0 });
        }
        Self { channels, held: false }
    }

    /// What the target is told of the channels, in the same order: names of at most seven characters.
    pub fn offered(&self) -> Vec<String> {
        let name = |(at, channel): (usize, &Channel)| match channel.work {
            Work::Refused => format!("none{at}"),
            Work::Counted | Work::Clipboard(_) | Work::Devices(_) | Work::Dynamic(_) => channel.name.clone(),
        };
        self.channels.iter().enumerate().map(name).collect()
    }

    /// Which channels are open, for the record.
    pub fn facts(&self) -> Vec<Fact> {
        let fact = |channel: &Channel| Fact::Channel {
            name: channel.name.clone(),
            dynamic: false,
            allowed: !matches!(channel.work, Work::Refused),
        };
        self.channels.iter().map(fact).collect()
    }

    /// Lets nothing through that the user's program does on the target, or lets it again. What was under way is broken off.
    pub fn hold(&mut self, on: bool) {
        self.held = on;
    }

    /// Takes a chunk that came on the channel of that place in the list; what came on none is dropped.
    pub fn take(&mut self, place: usize, from: Side, chunk: &[u8]) -> Vec<Out> {
        let held = self.held;
        self.channels.get_mut(place).map(|channel| channel.take(from, chunk, held)).unwrap_or_default()
    }

    /// What is to be recorded at the end: how much passed where that alone was counted.
    pub fn finish(&self) -> Vec<Out> {
        let counted = self.channels.iter().filter(|channel| channel.passed != (0, 0));
        let fact = |channel: &Channel| {
            let (to_user, to_target) = channel.passed;
            event(&Fact::Passed { name: channel.name.clone(), to_user, to_target })
        };
        counted.map(fact).collect()
    }
}

impl Work {
    fn of(name: &str, rules: &DesktopRules) -> Self {
        match name {
            "cliprdr" if (rules.clipboard_in, rules.clipboard_out) != (Clip::Off, Clip::Off) => {
                Self::Clipboard(Box::new(Clipboard::new(rules)))
            }
            "rdpdr" if rules.drives || rules.printers => Self::Devices(Box::new(Devices::new(rules))),
            "rdpsnd" if rules.audio => Self::Counted,
            "drdynvc" => Self::Dynamic(Box::new(Dynamic::new(rules))),
            _ => Self::Refused,
        }
    }
}

impl Channel {
    fn take(&mut self, from: Side, chunk: &[u8], held: bool) -> Vec<Out> {
        let taken = match self.work {
            Work::Refused => return Vec::new(),
            Work::Counted if held && from == Side::User => return Vec::new(),
            Work::Counted => self.count(from, chunk),
            Work::Clipboard(_) | Work::Devices(_) | Work::Dynamic(_) => self.judge(from, chunk, held),
        };
        taken.unwrap_or_else(|why| {
            self.work = Work::Refused;
            let why = format!("{why}: nothing more passes on this channel");
            vec![dropped(&self.name, from, &why)]
        })
    }

    fn count(&mut self, from: Side, chunk: &[u8]) -> Result<Vec<Out>, chunk::Fault> {
        let bytes = u64::try_from(chunk::data_bytes(chunk)?).unwrap_or(u64::MAX);
        let passed = match from {
            Side::User => &mut self.passed.1,
            Side::Target => &mut self.passed.0,
        };
        *passed = passed.saturating_add(bytes);
        Ok(vec![Out::Send(from.other(), chunk.to_vec())])
    }

    fn judge(&mut self, from: Side, chunk: &[u8], held: bool) -> Result<Vec<Out>, chunk::Fault> {
        let joiner = match from {
            Side::User => &mut self.from_user,
            Side::Target => &mut self.from_target,
        };
        let Some(message) = joiner.take(chunk)? else { return Ok(Vec::new()) };
        let mut answer = Answer {
            name: &self.name,
            show_protocol: message.show_protocol,
            dropped: &mut self.dropped,
            outs: Vec::new(),
        };
        match &mut self.work {
            Work::Refused | Work::Counted => {}
            Work::Clipboard(clipboard) => clipboard.take(from, &message, held, &mut answer),
            Work::Devices(devices) => devices.take(from, &message, held, &mut answer),
            Work::Dynamic(dynamic) => dynamic.take(from, &message, held, &mut answer),
        }
        Ok(answer.outs)
    }
}

/// What is made of a message.
#[derive(Debug)]
struct Answer<'a> {
    name: &'a str,
    show_protocol: bool,
    dropped: &'a mut u32,
    outs: Vec<Out>,
}

impl Answer<'_> {
    /// Lets a message through, on record first.
    fn pass(&mut self, from: Side, message: &[u8]) {
        let kind = match from {
            Side::User => Kind::ChannelIn,
            Side::Target => Kind::ChannelOut,
        };
        self.outs.push(Out::Record(kind, channel_message(self.name, message)));
        self.send(from.other(), message);
    }

    /// Sends a message of our own.
    fn send(&mut self, to: Side, message: &[u8]) {
        let chunks = chunk::split(message, self.show_protocol);
        self.outs.extend(chunks.into_iter().map(|chunk| Out::Send(to, chunk)));
    }

    fn tell(&mut self, fact: &Fact) {
        self.outs.push(event(fact));
    }

    fn drop(&mut self, from: Side, why: &str) {
        *self.dropped = self.dropped.saturating_add(1);
        if *self.dropped <= DROPPED_MAX {
            self.outs.push(dropped(self.name, from, why));
        }
    }
}

fn event(fact: &Fact) -> Out {
    Out::Record(Kind::Event, fact.to_json())
}

fn dropped(name: &str, from: Side, why: &str) -> Out {
    event(&Fact::Dropped { name: name.to_owned(), from, why: why.to_owned() })
}

/// Only used where a message was joined whole.
fn whole<'a>(message: &'a Message, from: Side, answer: &mut Answer<'_>) -> Option<&'a [u8]> {
    if message.too_long {
        answer.drop(from, "the message is longer than any that is relayed");
        return None;
    }
    Some(&message.bytes)
}
