//! Devices of the user's machine (MS-RDPEFS): those of a kind that the rule names reach the target, and no others.

use std::collections::BTreeMap;

use super::super::fact::{Fact, Side};
use super::super::fields::{Fields, narrow, wide};
use super::super::rules::DesktopRules;
use super::chunk::Message;
use super::{Answer, whole};

/// The components of a header (section 2.2.1.1).
const CORE: u16 = 0x4472;
const PRINTER: u16 = 0x5052;

const SERVER_ANNOUNCE: u16 = 0x496E;
const CLIENT_ID: u16 = 0x4343;
const CLIENT_NAME: u16 = 0x434E;
const SERVER_CAPABILITY: u16 = 0x5350;
const CLIENT_CAPABILITY: u16 = 0x4350;
const USER_LOGGED_ON: u16 = 0x554C;
const DEVICE_LIST: u16 = 0x4441;
const DEVICE_REMOVE: u16 = 0x444D;
const DEVICE_REPLY: u16 = 0x6472;
const REQUEST: u16 = 0x4952;
const COMPLETION: u16 = 0x4943;

/// Kinds of devices (section 2.2.1.3).
const TYPE_PRINTER: u32 = 0x4;
const TYPE_DRIVE: u32 = 0x8;

/// A user's machine has no more.
const DEVICES_MAX: usize = 64;

/// So many requests may be unanswered.
const PENDING_MAX: usize = 1024;

const CREATE: u32 = 0;
const ACCESS_DENIED: u32 = 0xC000_0022;

#[derive(Debug)]
pub(super) struct Devices {
    drives: bool,
    printers: bool,
    /// Those that the target was told of, and what they are.
    known: BTreeMap<u32, u32>,
    /// Requests that were passed on: device and number.
    asked: std::collections::BTreeSet<(u32, u32)>,
}

impl Devices {
    pub(super) fn new(rules: &DesktopRules) -> Self {
        let (known, asked) = (BTreeMap::new(), std::collections::BTreeSet::new());
        Self { drives: rules.drives, printers: rules.printers, known, asked }
    }

    pub(super) fn take(&mut self, from: Side, message: &Message, held: bool, answer: &mut Answer<'_>) {
        let Some(bytes) = whole(message, from, answer) else { return };
        let mut fields = Fields::new(bytes);
        let (Some(component), Some(packet)) = (fields.u16(), fields.u16()) else {
            return answer.drop(from, "it has no header");
        };
        match (from, component, packet) {
            (Side::Target, CORE, SERVER_ANNOUNCE | CLIENT_ID | SERVER_CAPABILITY | USER_LOGGED_ON | DEVICE_REPLY)
            | (Side::User, CORE, CLIENT_ID | CLIENT_NAME | CLIENT_CAPABILITY) => answer.pass(from, bytes),
            (_, PRINTER, _) if self.printers && !held => answer.pass(from, bytes),
            (_, PRINTER, _) | (Side::User, CORE, DEVICE_LIST) if held => answer.drop(from, "the session is held"),
            (Side::User, CORE, DEVICE_LIST) => {
                if self.announce(fields, answer).is_none() {
                    answer.drop(from, "its list of devices cannot be read");
                }
            }
            (Side::User, CORE, DEVICE_REMOVE) => self.remove(fields, answer),
            (Side::Target, CORE, REQUEST) => {
                if self.request(bytes, fields, held, answer).is_none() {
                    answer.drop(from, "its request cannot be read");
                }
            }
            (Side::User, CORE, COMPLETION) => {
                match fields.u32().zip(fields.u32()).filter(|asked| self.asked.remove(asked)) {
                    // Who has asked gets an answer all the same.
                    Some(asked) if held => {
                        answer.drop(from, "the session is held");
                        answer.send(Side::Target, &denied(asked));
                    }
                    Some(_) => answer.pass(from, bytes),
                    None => answer.drop(from, "nobody has asked for this"),
                }
            }
            (_, component, packet) => {
                answer.drop(from, &format!("no message {component:04x} {packet:04x} is let through from there"));
            }
        }
    }

    /// Section 2.2.2.9: tells the target of those devices alone that may be seen.
    fn announce(&mut self, mut fields: Fields<'_>, answer: &mut Answer<'_>) -> Option<()> {
        let count = fields.length()?;
        let (mut kept, mut listed) = (0_u32, Vec::new());
        for _ in 0..count.min(DEVICES_MAX) {
            let (kind, id) = (fields.u32()?, fields.u32()?);
            let name = fields.take(8)?;
            let length = fields.length()?;
            let data = fields.take(length)?;
            let allowed = match kind {
                TYPE_PRINTER => self.printers,
                TYPE_DRIVE => self.drives,
                _ => false,
            } && self.known.len() < DEVICES_MAX;
            answer.tell(&Fact::Device { name: narrow(name), kind: kind_name(kind), allowed });
            if allowed {
                kept = kept.saturating_add(1);
                self.known.insert(id, kind);
                for number in [kind, id] {
                    listed.extend_from_slice(&number.to_le_bytes());
                }
                listed.extend_from_slice(name);
                listed.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
                listed.extend_from_slice(data);
            }
        }
        let header = [CORE.to_le_bytes(), DEVICE_LIST.to_le_bytes()].concat();
        answer.pass(Side::User, &[&header[..], &kept.to_le_bytes(), &listed].concat());
        Some(())
    }

    /// Section 2.2.3.2.
    fn remove(&mut self, mut fields: Fields<'_>, answer: &mut Answer<'_>) {
        let count = fields.length().unwrap_or(0).min(DEVICES_MAX);
        let removed = (0..count).filter_map(|_| fields.u32()).filter(|id| self.known.remove(id).is_some());
        let ids: Vec<u32> = removed.collect();
        let header = [CORE.to_le_bytes(), DEVICE_REMOVE.to_le_bytes()].concat();
        let count = u32::try_from(ids.len()).unwrap_or(0);
        let listed: Vec<u8> = std::iter::once(count).chain(ids).flat_map(u32::to_le_bytes).collect();
        answer.pass(Side::User, &[header, listed].concat());
    }

    /// Section 2.2.1.4: the target wants something of a device.
    fn request(&mut self, bytes: &[u8], mut fields: Fields<'_>, held: bool, answer: &mut Answer<'_>) -> Option<()> {
        let (device, _file, completion) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (major, _minor) = (fields.u32()?, fields.u32()?);
        let kind = self.known.get(&device).copied();
        let allowed = kind.is_some() && self.asked.len() < PENDING_MAX && !held;
        if major == CREATE && kind != Some(TYPE_PRINTER) {
            // Section 2.2.1.4.1: 28 bytes of how, then where.
            let path = fields.take(28).and_then(|_| fields.length()).and_then(|length| fields.take(length));
            let path = path.map(wide).unwrap_or_default();
            answer.tell(&Fact::File { device, path, allowed });
        }
        if allowed {
            self.asked.insert((device, completion));
            answer.pass(Side::Target, bytes);
        } else {
            answer.send(Side::Target, &denied((device, completion)));
        }
        Some(())
    }
}

/// A refusal in a device's name (section 2.2.1.5), with nothing behind it.
fn denied((device, completion): (u32, u32)) -> Vec<u8> {
    let header = [CORE.to_le_bytes(), COMPLETION.to_le_bytes()].concat();
    [header, [device, completion, ACCESS_DENIED, 0].map(u32::to_le_bytes).concat()].concat()
}

fn kind_name(kind: u32) -> String {
    String::from(match kind {
        1 => "serial port",
        2 => "parallel port",
        TYPE_PRINTER => "printer",
        TYPE_DRIVE => "drive",
        0x20 => "smart card",
        _ => "unknown",
    })
}
