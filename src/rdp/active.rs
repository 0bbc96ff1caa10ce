//! The capability exchange: which pictures a target may send (MS-RDPBCGR sections 2.2.1.13 and 2.2.7).
//!
//! A target draws with what the user's program says that it understands, so that is rewritten here to what is decoded from
//! a recording: bitmaps and RemoteFX, and neither drawing orders nor caches of pictures.

use super::fields::Fields;
use super::pdu::Malformed;

/// What stands in Confirm Active behind the Share Control header and before the capability sets: share id and
/// originator.
const BEFORE_BYTES: usize = 4 + 2;

const ORDER: u16 = 3;
const BITMAP: u16 = 2;
const GENERAL: u16 = 1;
const BITMAP_CACHE: u16 = 4;
const GLYPH_CACHE: u16 = 0x10;
const OFFSCREEN_CACHE: u16 = 0x11;
const VIRTUAL_CHANNEL: u16 = 0x14;
const SURFACE_COMMANDS: u16 = 0x1c;
const BITMAP_CODECS: u16 = 0x1d;
const FRAME_ACKNOWLEDGE: u16 = 0x1e;

/// Sets that pass as they are: Control, Activation, Pointer, Share, Sound, Input, Font, Brush, Multifragment Update,
/// Large Pointer; and Bitmap, whose size was checked.
const PASSING: [u16; 11] = [BITMAP, 5, 7, 8, 9, 0x0c, 0x0d, 0x0e, 0x0f, 0x1a, 0x1b];

/// RemoteFX's number in a list of codecs: the decoder of recordings knows it by this one alone.
const REMOTEFX_ID: u8 = 3;

/// The GUID of RemoteFX, 76772F12-BD72-4463-AFB3-B73C9C6F7886 (section 2.2.7.2.10.1.1).
const REMOTEFX: [u8; 16] =
    [0x12, 0x2f, 0x77, 0x76, 0x72, 0xbd, 0x63, 0x44, 0xaf, 0xb3, 0xb7, 0x3c, 0x9c, 0x6f, 0x78, 0x86];

/// Rewrites the body of a Confirm Active PDU: what stands behind its Share Control header.
///
/// # Errors
/// If its lengths do not agree.
pub fn confirm(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let bad = Malformed("Confirm Active");
    let mut fields = Fields::new(body);
    let before = fields.take(BEFORE_BYTES).ok_or(bad)?;
    let (source, sets) = capability_sets(&mut fields).ok_or(bad)?;
    let remotefx = sets.iter().find_map(|(kind, set)| (*kind == BITMAP_CODECS).then(|| remotefx(set)).flatten());
    let kept: Vec<(u16, Vec<u8>)> =
        sets.iter().filter_map(|(kind, set)| rewritten(*kind, set, remotefx).map(|set| (*kind, set))).collect();
    written(before, source, &kept).ok_or(bad)
}

/// The name of the sender and the sets, from the lengths on.
#[expect(clippy::type_complexity, reason = "a pair and a list of pairs, used here alone")]
fn capability_sets<'a>(fields: &mut Fields<'a>) -> Option<(&'a [u8], Vec<(u16, &'a [u8])>)> {
    let source_bytes = fields.u16()?;
    let _combined = fields.u16()?;
    let source = fields.take(source_bytes.into())?;
    let count = fields.u16()?;
    let _padding = fields.u16()?;
    let mut sets = Vec::new();
    for _ in 0..count {
        let kind = fields.u16()?;
        let length = usize::from(fields.u16()?).checked_sub(4)?;
        sets.push((kind, fields.take(length)?));
    }
    Some((source, sets))
}

fn rewritten(kind: u16, set: &[u8], remotefx: Option<&[u8]>) -> Option<Vec<u8>> {
    match kind {
        GENERAL => Some(general(set)),
        ORDER => Some(order(set)),
        BITMAP_CACHE | GLYPH_CACHE | OFFSCREEN_CACHE => Some(vec![0; set.len()]),
        VIRTUAL_CHANNEL => Some(vec![0, 0, 0, 0]),
        SURFACE_COMMANDS | FRAME_ACKNOWLEDGE => remotefx.map(|_| set.to_vec()),
        BITMAP_CODECS => remotefx.map(|codec| [&[1], codec].concat()),
        _ => PASSING.contains(&kind).then(|| set.to_vec()),
    }
}

/// Without the cookie by which a connection goes on without a login (AUTORECONNECT_SUPPORTED, in `extraFlags`).
fn general(set: &[u8]) -> Vec<u8> {
    edited(set, |at, byte| if at == 10 { byte & !0x08 } else { byte })
}

/// No orders at all, but the two flags without which the set is not valid (section 2.2.7.1.3), and the font.
fn order(set: &[u8]) -> Vec<u8> {
    edited(set, |at, byte| match at {
        30 => byte & 0x0a,
        31..64 | 66..68 | 72..76 => 0,
        _ => byte,
    })
}

fn edited(set: &[u8], edit: impl Fn(usize, u8) -> u8) -> Vec<u8> {
    set.iter().enumerate().map(|(at, byte)| edit(at, *byte)).collect()
}

/// The entry of RemoteFX, under the one number by which it is decoded.
fn remotefx(set: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(set);
    let count = fields.byte()?;
    for _ in 0..count {
        let entry = fields.rest();
        let guid = fields.take(16)?;
        let id = fields.byte()?;
        let length = fields.u16()?;
        let _properties = fields.take(length.into())?;
        if guid == REMOTEFX && id == REMOTEFX_ID {
            return entry.get(..usize::from(length).saturating_add(19));
        }
    }
    None
}

fn written(before: &[u8], source: &[u8], sets: &[(u16, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut combined = Vec::new();
    combined.extend_from_slice(&u16::try_from(sets.len()).ok()?.to_le_bytes());
    combined.extend_from_slice(&[0, 0]);
    for (kind, set) in sets {
        combined.extend_from_slice(&kind.to_le_bytes());
        combined.extend_from_slice(&u16::try_from(set.len().checked_add(4)?).ok()?.to_le_bytes());
        combined.extend_from_slice(set);
    }
    let mut body = before.to_vec();
    body.extend_from_slice(&u16::try_from(source.len()).ok()?.to_le_bytes());
    body.extend_from_slice(&u16::try_from(combined.len()).ok()?.to_le_bytes());
    body.extend_from_slice(source);
    body.extend_from_slice(&combined);
    Some(body)
}

/// The desktop's width and height in the body of a Demand Active PDU (section 2.2.1.13.1), behind its Share Control
/// header.
///
/// # Errors
/// If it does not say them.
pub fn demanded(body: &[u8]) -> Result<(u16, u16), Malformed> {
    let size = || {
        let mut fields = Fields::new(body);
        let _share = fields.take(4)?;
        let (_, sets) = capability_sets(&mut fields)?;
        let (_, set) = sets.into_iter().find(|(kind, _)| *kind == BITMAP)?;
        let mut fields = Fields::new(set);
        let _depths = fields.take(8)?;
        Some((fields.u16()?, fields.u16()?))
    };
    size().ok_or(Malformed("Demand Active"))
}

#[cfg(test)]
mod tests;
