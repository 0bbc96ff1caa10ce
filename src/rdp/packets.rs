//! The layers around a message of the I/O channel, as far as a recording is read: TPKT, X.224, MCS, Share Control.

use super::fields::Fields;

/// Section 2.2.8.1.1.1.1 of MS-RDPBCGR: kinds of Share Control PDUs.
pub(super) const DEMAND_ACTIVE: u16 = 1;
pub(super) const DATA: u16 = 7;

/// Section 2.2.8.1.1.1.2: kinds of Share Data PDUs.
pub(super) const UPDATE: u8 = 2;
pub(super) const POINTER: u8 = 27;
pub(super) const INPUT: u8 = 28;

/// What an MCS message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) initiator: u16,
    pub(super) channel: u16,
    pub(super) data: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Reads a Send Data Request or Indication (T.125 section 7) with its TPKT and X.224 headers.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(frame);
        let ([3, _, ..], [2, 0xf0, 0x80]) = (fields.take(4)?, fields.take(3)?) else { return None };
        if !matches!(fields.byte()?, 0x64 | 0x68) {
            return None;
        }
        let (initiator, channel) = (fields.u16()?.swap_bytes(), fields.u16()?.swap_bytes());
        let _priority = fields.byte()?;
        let first = fields.byte()?;
        let length = if first & 0x80 == 0 {
            usize::from(first)
        } else {
            usize::from(first & 0x3f) << 8 | usize::from(fields.byte()?)
        };
        // Two bits more say that the message goes on in another one, which no peer does here.
        let rest = fields.rest();
        let data = if first & 0xc0 == 0xc0 { rest } else { rest.get(..length)? };
        Some(Self { initiator, channel, data })
    }

    /// A frame of its own around some of what was in this one.
    pub(super) fn around(&self, data: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(data.len()).ok().filter(|length| *length < 0x4000)?;
        let total = length.checked_add(15)?;
        let mut frame = vec![3, 0];
        frame.extend_from_slice(&total.to_be_bytes());
        frame.extend_from_slice(&[2, 0xf0, 0x80, 0x68]);
        frame.extend_from_slice(&self.initiator.to_be_bytes());
        frame.extend_from_slice(&self.channel.to_be_bytes());
        frame.push(0x70);
        frame.extend_from_slice(&(length | 0x8000).to_be_bytes());
        frame.extend_from_slice(data);
        Some(frame)
    }
}

/// One Share Control PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share<'a> {
    /// What it is: the low four bits.
    pub(super) kind: u16,
    /// All of it.
    pub(super) whole: &'a [u8],
    /// What stands behind its header.
    pub(super) body: &'a [u8],
}

impl<'a> Share<'a> {
    /// The PDUs of a message, of which some targets put several into one.
    pub(super) fn all(mut data: &'a [u8]) -> Vec<Self> {
        let mut found = Vec::new();
        while let Some((share, rest)) = Self::split(data) {
            found.push(share);
            data = rest;
        }
        found
    }

    fn split(data: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut fields = Fields::new(data);
        let (length, kind, _source) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (whole, rest) = data.split_at_checked(usize::from(length))?;
        Some((Self { kind: kind & 0xf, whole, body: whole.get(6..)? }, rest))
    }

    /// The kind of a Share Data PDU and what stands behind its header.
    pub(super) fn data(&self) -> Option<(u8, &'a [u8])> {
        let mut fields = Fields::new(self.body);
        fields.take(8).filter(|_| self.kind == DATA)?;
        let kind = fields.byte()?;
        fields.take(3)?;
        Some((kind, fields.rest()))
    }
}

/// What a Demand Active says (section 2.2.1.13.1): the share's id, and the desktop's width and height.
pub(super) fn demand_active(body: &[u8]) -> Option<(u32, u16, u16)> {
    const BITMAP: u16 = 2;
    let mut fields = Fields::new(body);
    let share_id = fields.u32()?;
    let (descriptor, _sets) = (fields.u16()?, fields.u16()?);
    fields.take(usize::from(descriptor))?;
    let (count, _pad) = (fields.u16()?, fields.u16()?);
    for _ in 0..count {
        let (kind, length) = (fields.u16()?, fields.u16()?);
        let mut set = Fields::new(fields.take(usize::from(length).checked_sub(4)?)?);
        if kind == BITMAP {
            set.take(8)?;
            return Some((share_id, set.u16()?, set.u16()?));
        }
    }
    None
}
