//! Messages of the I/O channel, as far as a recording is read: Share Control PDUs.

use super::fields::Fields;

/// Section 2.2.8.1.1.1.1 of MS-RDPBCGR: kinds of Share Control PDUs.
pub(super) const DEMAND_ACTIVE: u16 = 1;
pub(super) const DATA: u16 = 7;

/// Section 2.2.8.1.1.1.2: kinds of Share Data PDUs.
pub(super) const UPDATE: u8 = 2;
pub(super) const POINTER: u8 = 27;
pub(super) const INPUT: u8 = 28;

/// Section 2.2.9.1.2.1: kinds of fast-path updates.
pub(super) mod update {
    pub(in crate::rdp) const ORDERS: u8 = 0;
    pub(in crate::rdp) const BITMAP: u8 = 1;
    pub(in crate::rdp) const PALETTE: u8 = 2;
    pub(in crate::rdp) const SYNCHRONIZE: u8 = 3;
    pub(in crate::rdp) const SURFACES: u8 = 4;
    pub(in crate::rdp) const POINTER_HIDDEN: u8 = 5;
    pub(in crate::rdp) const POINTER_DEFAULT: u8 = 6;
    pub(in crate::rdp) const POINTER_PLACE: u8 = 8;
    pub(in crate::rdp) const POINTER_COLOUR: u8 = 9;
    pub(in crate::rdp) const POINTER_CACHED: u8 = 10;
    pub(in crate::rdp) const POINTER_NEW: u8 = 11;
    pub(in crate::rdp) const POINTER_LARGE: u8 = 12;
}

/// Which piece of an update a fast-path message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment {
    Single,
    Last,
    First,
    Next,
}

impl Fragment {
    pub(super) fn is_first(self) -> bool {
        matches!(self, Self::Single | Self::First)
    }

    pub(super) fn is_last(self) -> bool {
        matches!(self, Self::Single | Self::Last)
    }
}

/// One update of a fast-path message of a target, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Update<'a> {
    pub(super) kind: u8,
    pub(super) fragment: Fragment,
    pub(super) is_compressed: bool,
    pub(super) data: &'a [u8],
}

/// Of a Share Data header's compression, and of a fast-path update's (section 3.1.8.2.1).
pub(super) const PACKET_COMPRESSED: u8 = 0x20;

impl<'a> Update<'a> {
    /// The updates of a fast-path message (section 2.2.9.1.2); none where its lengths do not agree.
    pub(super) fn all(fast_path: &'a [u8]) -> Option<Vec<Self>> {
        let mut fields = Fields::new(fast_path);
        let [_, length] = fields.take(2)? else { return None };
        if length & 0x80 != 0 {
            fields.byte()?;
        }
        let mut found = Vec::new();
        while !fields.is_empty() {
            let head = fields.byte()?;
            let fragment = match head >> 4 & 3 {
                0 => Fragment::Single,
                1 => Fragment::Last,
                2 => Fragment::First,
                _ => Fragment::Next,
            };
            // The two high bits say that a byte about compression follows.
            let compression = if head & 0xc0 == 0 { 0 } else { fields.byte()? };
            let length = fields.u16()?;
            let data = fields.take(usize::from(length))?;
            let is_compressed = compression & PACKET_COMPRESSED != 0;
            found.push(Self { kind: head & 0xf, fragment, is_compressed, data });
        }
        Some(found)
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
