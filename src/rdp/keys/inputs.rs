//! Events of keyboard and mouse out of a recorded message (MS-RDPBCGR sections 2.2.8.1.1.3 and 2.2.8.1.2).

use super::super::fields::Fields;
use super::super::packets::{INPUT, Share};
use super::super::pdu::{Mcs, Way, mcs};
use super::super::record::Kind;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A key, by its place.
    Key {
        /// Its scan code.
        code: u8,
        /// Whether it is one of those that came later, such as the right Alt.
        extended: bool,
        /// Whether it went up.
        released: bool,
    },
    /// A character without a key.
    Unicode {
        /// A unit of UTF-16.
        unit: u16,
        /// Whether its key went up.
        released: bool,
    },
    /// All keys are up, and this is what the locks say.
    Locks {
        /// Caps Lock.
        caps: bool,
    },
    /// The mouse.
    Mouse {
        /// Where it is.
        x: u16,
        /// From the top.
        y: u16,
        /// The button that went down or up, if one did.
        button: Option<Button>,
        /// Whether it went down.
        pressed: bool,
    },
    /// Something else.
    Other,
}

/// A button of the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Button {
    /// One of the first three, by its flag (section 2.2.8.1.1.3.1.1.3).
    First(u16),
    /// One of the two others, by its flag (section 2.2.8.1.1.3.1.1.4).
    Other(u16),
}

const DOWN: u16 = 0x8000;
const FIRST_BUTTONS: [u16; 3] = [0x1000, 0x2000, 0x4000];
const OTHER_BUTTONS: [u16; 2] = [1, 2];

/// What a record of input holds; nothing of another record.
pub fn inputs(kind: Kind, bytes: &[u8]) -> Vec<Input> {
    match kind {
        Kind::FastPathInput => fast(bytes).unwrap_or_default(),
        Kind::IoInput => slow(bytes),
        Kind::FastPathOutput | Kind::IoOutput | Kind::ChannelOut | Kind::ChannelIn | Kind::Event => Vec::new(),
    }
}

fn fast(bytes: &[u8]) -> Option<Vec<Input>> {
    let mut fields = Fields::new(bytes);
    let header = fields.byte()?;
    if fields.byte()? & 0x80 != 0 {
        fields.byte()?;
    }
    let count = match header >> 2 & 0xf {
        0 => fields.byte()?,
        count => count,
    };
    let mut events = Vec::new();
    for _ in 0..count {
        let Some(event) = fast_event(&mut fields) else { break };
        events.push(event);
    }
    Some(events)
}

fn fast_event(fields: &mut Fields<'_>) -> Option<Input> {
    let header = fields.byte()?;
    let released = header & 1 != 0;
    Some(match header >> 5 {
        0 => Input::Key { code: fields.byte()?, extended: header & 2 != 0, released },
        1 => mouse(fields)?,
        2 => other_mouse(fields)?,
        5 => fields.take(6).map(|_| Input::Other)?,
        3 => Input::Locks { caps: header & 4 != 0 },
        4 => Input::Unicode { unit: fields.u16()?, released },
        6 => fields.take(4).map(|_| Input::Other)?,
        _ => return None,
    })
}

fn mouse(fields: &mut Fields<'_>) -> Option<Input> {
    let (flags, x, y) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let button = FIRST_BUTTONS.into_iter().find(|button| flags & button != 0).map(Button::First);
    Some(Input::Mouse { x, y, button, pressed: button.is_some() && flags & DOWN != 0 })
}

fn other_mouse(fields: &mut Fields<'_>) -> Option<Input> {
    let (flags, x, y) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let button = OTHER_BUTTONS.into_iter().find(|button| flags & button != 0).map(Button::Other);
    Some(Input::Mouse { x, y, button, pressed: button.is_some() && flags & DOWN != 0 })
}

fn slow(frame: &[u8]) -> Vec<Input> {
    let Ok(Mcs::Data { data, .. }) = mcs(frame, Way::Request) else { return Vec::new() };
    let shares = Share::all(data);
    let bodies = shares.iter().filter_map(Share::data).filter(|(kind, _)| *kind == INPUT);
    bodies.flat_map(|(_, body)| slow_events(body)).collect()
}

fn slow_events(body: &[u8]) -> Vec<Input> {
    const EXTENDED: u16 = 0x100;
    const RELEASED: u16 = 0x8000;
    let mut fields = Fields::new(body);
    let (Some(count), Some(_pad)) = (fields.u16(), fields.u16()) else { return Vec::new() };
    let mut events = Vec::new();
    for _ in 0..count {
        // The time is the client's, and said to be worth nothing.
        let (Some(_time), Some(kind), Some(data)) = (fields.u32(), fields.u16(), fields.take(6)) else { break };
        let mut data = Fields::new(data);
        let mut mouse_data = data;
        let (Some(flags), Some(code)) = (data.u16(), data.u16()) else { break };
        let released = flags & RELEASED != 0;
        events.push(match kind {
            // Two bytes of padding, then four of locks.
            0 => Input::Locks { caps: code & 4 != 0 },
            4 => {
                let [low, _] = code.to_le_bytes();
                Input::Key { code: low, extended: flags & EXTENDED != 0, released }
            }
            5 => Input::Unicode { unit: code, released },
            0x8001 => mouse(&mut mouse_data).unwrap_or(Input::Other),
            0x8002 => other_mouse(&mut mouse_data).unwrap_or(Input::Other),
            _ => Input::Other,
        });
    }
    events
}
