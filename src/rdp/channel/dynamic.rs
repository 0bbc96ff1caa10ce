//! Dynamic channels (MS-RDPEDYC): those that the rule names are opened; for the others the target gets a refusal that
//! the user's program never hears of.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fact::{Fact, Side};
use super::super::fields::{Fields, narrow};
use super::super::rules::DesktopRules;
use super::chunk::Message;
use super::{Answer, whole};

/// Changes the desktop's size (MS-RDPEDISP).
pub const DISPLAY_CONTROL: &str = "Microsoft::Windows::RDS::DisplayControl";

/// Sound over dynamic channels (MS-RDPEA section 2.1).
const SOUND: [&str; 2] = ["AUDIO_PLAYBACK_DVC", "AUDIO_PLAYBACK_LOSSY_DVC"];

/// What no rule opens: pictures in forms that the recording does not show, input beside the keys and the mouse that a freeze
/// holds, and what is judged as a static channel.
pub const NEVER: [&str; 9] = [
    "Microsoft::Windows::RDS::Graphics",
    "Microsoft::Windows::RDS::Video::Control::v08.01",
    "Microsoft::Windows::RDS::Video::Data::v08.01",
    "Microsoft::Windows::RDS::Input",
    "Microsoft::Windows::RDS::CoreInput",
    "cliprdr",
    "rdpdr",
    "rdpsnd",
    "drdynvc",
];

const CREATE: u8 = 1;
const DATA_FIRST: u8 = 2;
const DATA: u8 = 3;
const CLOSE: u8 = 4;
const CAPABILITY: u8 = 5;

/// The newest version without compression, and without a way to leave this connection (section 2.2.1.1.2).
const VERSION: u16 = 2;

/// So many dynamic channels may be open.
const OPEN_MAX: usize = 64;

/// The most that a desktop may measure each way, and how many screens it may have.
const SIDE_MAX: u32 = 8192;
const SCREENS_MAX: usize = 16;

/// `E_ACCESSDENIED`: any negative number says that the channel is not there (section 2.2.2.2).
const REFUSED: u32 = 0x8007_0005;

#[derive(Debug)]
pub(super) struct Dynamic {
    names: BTreeSet<String>,
    audio: bool,
    channels: BTreeMap<u32, State>,
}

#[derive(Debug)]
struct State {
    name: String,
    /// Whether the user's program has opened it.
    open: bool,
}

/// A message's head (section 2.2): what it is, and which channel it is of.
struct Head {
    command: u8,
    /// The two bits that say how long the channel's number is, or of what kind the length behind it.
    channel_bits: u8,
}

impl Dynamic {
    pub(super) fn new(rules: &DesktopRules) -> Self {
        Self { names: rules.dynamic.clone(), audio: rules.audio, channels: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, from: Side, message: &Message, held: bool, answer: &mut Answer<'_>) {
        let Some(bytes) = whole(message, from, answer) else { return };
        let mut fields = Fields::new(bytes);
        let Some(byte) = fields.byte() else {
            return answer.drop(from, "it is empty");
        };
        let head = Head { command: byte >> 4, channel_bits: byte & 3 };
        let read = match (head.command, from) {
            (CAPABILITY, _) => capability(from, bytes, answer),
            (CREATE, Side::Target) => self.create(&head, bytes, fields, answer),
            (CREATE, Side::User) => self.created(&head, bytes, fields, answer),
            (DATA_FIRST | DATA, Side::User) if held => {
                answer.drop(from, "the session is held");
                Some(())
            }
            (DATA_FIRST | DATA, _) => self.data(from, &head, bytes, fields, answer),
            (CLOSE, _) => self.close(from, &head, bytes, fields, answer),
            (command, _) => {
                answer.drop(from, &format!("no message of command {command} is let through"));
                Some(())
            }
        };
        if read.is_none() {
            answer.drop(from, "it is shorter than it says");
        }
    }

    fn may(&self, name: &str) -> bool {
        !NEVER.iter().any(|never| never.eq_ignore_ascii_case(name))
            && (name == DISPLAY_CONTROL || self.names.contains(name) || (self.audio && SOUND.contains(&name)))
    }

    /// The target wants to open one (section 2.2.2.1).
    fn create(&mut self, head: &Head, bytes: &[u8], mut fields: Fields<'_>, answer: &mut Answer<'_>) -> Option<()> {
        let id = number(head.channel_bits, &mut fields)?;
        let name = narrow(fields.rest());
        let allowed = self.may(&name) && self.channels.len() < OPEN_MAX && !self.channels.contains_key(&id);
        answer.tell(&Fact::Channel { name: name.clone(), dynamic: true, allowed });
        if allowed {
            self.channels.insert(id, State { name, open: false });
            answer.pass(Side::Target, bytes);
        } else {
            let mut response = vec![CREATE << 4 | head.channel_bits];
            response.extend(id.to_le_bytes().into_iter().take(width(head.channel_bits)));
            response.extend_from_slice(&REFUSED.to_le_bytes());
            answer.send(Side::Target, &response);
        }
        Some(())
    }

    /// The user's program has opened one, or not (section 2.2.2.2).
    fn created(&mut self, head: &Head, bytes: &[u8], mut fields: Fields<'_>, answer: &mut Answer<'_>) -> Option<()> {
        let id = number(head.channel_bits, &mut fields)?;
        let refused = fields.u32()? & 0x8000_0000 != 0;
        let Some(state) = self.channels.get_mut(&id).filter(|state| !state.open) else {
            answer.drop(Side::User, "nobody has asked for this");
            return Some(());
        };
        state.open = true;
        if refused {
            self.channels.remove(&id);
        }
        answer.pass(Side::User, bytes);
        Some(())
    }

    fn data(
        &mut self,
        from: Side,
        head: &Head,
        bytes: &[u8],
        mut fields: Fields<'_>,
        answer: &mut Answer<'_>,
    ) -> Option<()> {
        let id = number(head.channel_bits, &mut fields)?;
        let Some(state) = self.channels.get(&id).filter(|state| state.open) else {
            answer.drop(from, "it is of a channel that is not open");
            return Some(());
        };
        if state.name != DISPLAY_CONTROL || from == Side::Target {
            answer.pass(from, bytes);
            return Some(());
        }
        // Its messages are short, so one that comes in pieces is none of it.
        match (head.command == DATA).then(|| layout(fields.rest())).flatten() {
            Some((width, height)) => {
                answer.tell(&Fact::Resize { width, height });
                answer.pass(from, bytes);
            }
            None => answer.drop(from, "it is no size that a desktop may have"),
        }
        Some(())
    }

    /// Either side closes one (section 2.2.4).
    fn close(
        &mut self,
        from: Side,
        head: &Head,
        bytes: &[u8],
        mut fields: Fields<'_>,
        answer: &mut Answer<'_>,
    ) -> Option<()> {
        let id = number(head.channel_bits, &mut fields)?;
        // The other side answers with the same message.
        if self.channels.contains_key(&id) {
            if from == Side::User {
                self.channels.remove(&id);
            }
            answer.pass(from, bytes);
        }
        Some(())
    }
}

/// Section 2.2.1: the version is cut down to one that can be read along.
fn capability(from: Side, bytes: &[u8], answer: &mut Answer<'_>) -> Option<()> {
    let (head, rest) = bytes.split_at_checked(2)?;
    let (version, rest) = rest.split_first_chunk()?;
    let version = u16::from_le_bytes(*version).min(VERSION);
    answer.pass(from, &[head, &version.to_le_bytes(), rest].concat());
    Some(())
}

/// How many bytes a channel's number has.
fn width(bits: u8) -> usize {
    match bits {
        0 => 1,
        1 => 2,
        _ => 4,
    }
}

fn number(bits: u8, fields: &mut Fields<'_>) -> Option<u32> {
    match bits {
        0 => fields.byte().map(u32::from),
        1 => fields.u16().map(u32::from),
        _ => fields.u32(),
    }
}

/// The size of all screens together (MS-RDPEDISP section 2.2.2.2); none if there is no such desktop.
fn layout(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut fields = Fields::new(bytes);
    let (kind, _length) = (fields.u32()?, fields.u32()?);
    let (size, count) = (fields.u32()?, fields.length()?);
    if kind != 2 || size != 40 || count == 0 || count > SCREENS_MAX {
        return None;
    }
    let (mut left, mut top, mut right, mut bottom) = (i64::MAX, i64::MAX, i64::MIN, i64::MIN);
    for _ in 0..count {
        let mut screen = Fields::new(fields.take(40)?);
        let _flags = screen.u32()?;
        let (x, y) = (signed(screen.u32()?), signed(screen.u32()?));
        let (width, height) = (screen.u32()?, screen.u32()?);
        (left, top) = (left.min(x), top.min(y));
        right = right.max(x.saturating_add(width.into()));
        bottom = bottom.max(y.saturating_add(height.into()));
    }
    let side =
        |from: i64, to: i64| u32::try_from(to.saturating_sub(from)).ok().filter(|side| (1..=SIDE_MAX).contains(side));
    Some((side(left, right)?, side(top, bottom)?))
}

fn signed(number: u32) -> i64 {
    i64::from(i32::from_le_bytes(number.to_le_bytes()))
}
