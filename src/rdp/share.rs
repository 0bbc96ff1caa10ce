//! The I/O channel: which of its messages pass, and what they mean for the session (MS-RDPBCGR section 2.2.8.1.1.1).
//!
//! One MCS message may carry several; each is looked at for itself. What no table names does not pass.

use std::fmt;

use super::active;
use super::connect::is_carried;
use super::fields::Fields;
use super::packets::{Update, update};
use super::pdu::Malformed;
use super::surface::Surfaces;

const DEMAND_ACTIVE: u16 = 1;
const CONFIRM_ACTIVE: u16 = 3;
const DEACTIVATE_ALL: u16 = 6;
const DATA: u16 = 7;
const REDIRECTION: u16 = 10;

/// What follows the Share Control header in a Share Data PDU, up to its body: share id, padding, stream, length, type,
/// compression and compressed length.
const DATA_HEAD_BYTES: usize = 12;

const UPDATE: u8 = 2;
const INPUT: u8 = 28;
const SAVE_SESSION_INFO: u8 = 38;
const SET_ERROR_INFO: u8 = 47;

/// Share Data PDUs that a user's program may send: Control, Input, Synchronize, Refresh Rect, Shutdown Request, Font
/// List, Frame Acknowledge. Not Suppress Output: a target that stops to draw leaves a hole in the recording. Not the list
/// of kept bitmaps and errors of caches: there are no caches.
const FROM_USER: [u8; 7] = [20, INPUT, 31, 33, 36, 39, 56];

/// Share Data PDUs that a target may send: Update, Control, Pointer, Synchronize, Play Sound, Shutdown Denied, Save
/// Session Info, Font Map, Keyboard Indicators, Keyboard IME Status, Set Error Info, Status Info, Monitor Layout. Not the
/// status of an automatic reconnection: there is none.
const FROM_TARGET: [u8; 13] = [UPDATE, 20, 27, 31, 34, 37, SAVE_SESSION_INFO, 40, 41, 45, SET_ERROR_INFO, 54, 55];

/// Why a message ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its lengths do not agree, or nothing of its kind may come now.
    Malformed(Malformed),
    /// A target sends the user's program elsewhere, with a credential.
    Redirection,
    /// A target draws in a way that it was told is not understood: the recording could not show it.
    Unasked(&'static str),
    /// A target wants a desktop that is larger than any that is carried.
    TooLarge(u16, u16),
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Redirection => f.write_str("the target redirects to another one"),
            Self::Unasked(what) => {
                write!(f, "the target sends {what}, which it was told not to: no recording shows that")
            }
            Self::TooLarge(width, height) => {
                write!(f, "the target wants a desktop of {width} by {height} pixels, which is too large")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// Whether keys and mouse pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// They do.
    Pass,
    /// They are held back: the session is paused.
    Held,
}

/// What becomes of a user's message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UserShare {
    /// What passes, with the target's number of the user in it; empty if nothing does.
    pub passing: Vec<u8>,
    /// How many messages in it did not.
    pub dropped: usize,
    /// Whether what passes holds keys or the mouse.
    pub has_keys: bool,
}

/// Judges data of the I/O channel from a user's program, whose number the target knows as `user`.
///
/// # Errors
/// If it is no sequence of Share Control PDUs.
pub fn from_user(data: &[u8], user: u16, keys: Keys) -> Result<UserShare, Malformed> {
    let mut judged = UserShare::default();
    let mut rest = Fields::new(data);
    while !rest.is_empty() {
        let pdu = Pdu::next(&mut rest)?;
        match pdu.kind {
            CONFIRM_ACTIVE => pdu.write(user, &active::confirm(pdu.body)?, &mut judged.passing)?,
            DATA => {
                let (kind, _) = pdu.data()?;
                if FROM_USER.contains(&kind) && (kind != INPUT || keys == Keys::Pass) {
                    pdu.write(user, pdu.body, &mut judged.passing)?;
                    judged.has_keys = judged.has_keys || kind == INPUT;
                } else {
                    judged.dropped = judged.dropped.saturating_add(1);
                }
            }
            _ => return Err(Malformed("Share Control PDU of the user")),
        }
    }
    Ok(judged)
}

/// What becomes of a target's message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TargetShare {
    /// What passes; empty if nothing does.
    pub passing: Vec<u8>,
    /// The size of the desktop, where it is (again) set up.
    pub size: Option<(u16, u16)>,
    /// Whether the target says that an account is logged in.
    pub logged_in: bool,
    /// The error that it told, other than none.
    pub error: Option<u32>,
    /// How many messages in it did not pass.
    pub dropped: usize,
}

const REDIRECTION_PKT: u16 = 0x0400;

/// The update that holds drawing orders (MS-RDPBCGR section 2.2.9.1.1.3.1.1).
const ORDERS: u16 = 0;
const DRAWING_ORDERS: &str = "drawing orders";
const COMPRESSED: &str = "compressed messages";
const UNKNOWN: &str = "updates of no known kind";
/// The last of the updates that are no message of the fast path: bitmaps, palettes, synchronization.
const LAST_UPDATE: u16 = 3;

/// What a target draws on the fast path, judged.
#[derive(Debug, Default)]
pub struct Drawn {
    surfaces: Surfaces,
    /// The kind of the update of which pieces are still to come.
    under_way: Option<u8>,
}

impl Drawn {
    /// Judges the next message (section 2.2.9.1.2): all of it passes, if it holds nothing that it may not.
    ///
    /// # Errors
    /// If the session ends with it.
    pub fn judge(&mut self, fast_path: &[u8]) -> Result<(), Refusal> {
        let updates = Update::all(fast_path).ok_or(Malformed("fast-path update"))?;
        updates.into_iter().try_for_each(|update| self.judge_one(update))
    }

    fn judge_one(&mut self, update: Update<'_>) -> Result<(), Refusal> {
        if update.is_compressed {
            return Err(Refusal::Unasked(COMPRESSED));
        }
        // Whose pieces are of different kinds may be one thing to a user's program and another to the recording.
        let expected = if update.fragment.is_first() { None } else { Some(update.kind) };
        if self.under_way != expected {
            return Err(Malformed("pieces of updates").into());
        }
        self.under_way = (!update.fragment.is_last()).then_some(update.kind);
        match update.kind {
            update::ORDERS => Err(Refusal::Unasked(DRAWING_ORDERS)),
            update::SURFACES => self.surfaces.take(update.fragment, update.data),
            update::BITMAP
            | update::PALETTE
            | update::SYNCHRONIZE
            | update::POINTER_HIDDEN
            | update::POINTER_DEFAULT
            | update::POINTER_PLACE
            | update::POINTER_COLOUR
            | update::POINTER_CACHED
            | update::POINTER_NEW
            | update::POINTER_LARGE => Ok(()),
            _ => Err(Refusal::Unasked(UNKNOWN)),
        }
    }
}

/// Judges data of the I/O channel from a target.
///
/// # Errors
/// If the session ends with it.
pub fn from_target(data: &[u8]) -> Result<TargetShare, Refusal> {
    let mut judged = TargetShare::default();
    // With a security header, whose second half is zero, where a Share Control header has its kind and version.
    if let Some([a, b, 0, 0]) = data.first_chunk::<4>() {
        let is_redirection = u16::from_le_bytes([*a, *b]) & REDIRECTION_PKT != 0;
        return if is_redirection { Err(Refusal::Redirection) } else { Ok(TargetShare { dropped: 1, ..judged }) };
    }
    let mut rest = Fields::new(data);
    while !rest.is_empty() {
        let pdu = Pdu::next(&mut rest)?;
        let passes = match pdu.kind {
            DEMAND_ACTIVE => {
                let (width, height) = active::demanded(pdu.body)?;
                if !is_carried(width, height) {
                    return Err(Refusal::TooLarge(width, height));
                }
                judged.size = Some((width, height));
                true
            }
            DEACTIVATE_ALL => true,
            DATA => judged.data(pdu)?,
            REDIRECTION => return Err(Refusal::Redirection),
            _ => return Err(Malformed("Share Control PDU of the target").into()),
        };
        if passes {
            pdu.pass(&mut judged.passing)?;
        } else {
            judged.dropped = judged.dropped.saturating_add(1);
        }
    }
    Ok(judged)
}

impl TargetShare {
    fn data(&mut self, pdu: Pdu<'_>) -> Result<bool, Refusal> {
        let (kind, body) = pdu.data()?;
        if pdu.is_compressed() {
            return Err(Refusal::Unasked(COMPRESSED));
        }
        let mut fields = Fields::new(body);
        match kind {
            UPDATE => match fields.u16() {
                Some(ORDERS) => Err(Refusal::Unasked(DRAWING_ORDERS)),
                Some(1..=LAST_UPDATE) => Ok(true),
                Some(_) => Err(Refusal::Unasked(UNKNOWN)),
                None => Err(Malformed("update").into()),
            },
            SAVE_SESSION_INFO => {
                let info = fields.u32().ok_or(Malformed("Save Session Info"))?;
                // The extended form may hold the cookie by which a connection goes on without a login; it passes to nobody.
                self.logged_in = self.logged_in || info != 3;
                Ok(info != 3 || !has_cookie(&mut fields))
            }
            SET_ERROR_INFO => {
                self.error = fields.u32().filter(|code| *code != 0);
                Ok(true)
            }
            _ => Ok(FROM_TARGET.contains(&kind)),
        }
    }
}

fn has_cookie(extended: &mut Fields<'_>) -> bool {
    let _length = extended.u16();
    extended.u32().is_none_or(|present| present & 1 != 0)
}

/// One Share Control PDU.
#[derive(Debug, Clone, Copy)]
struct Pdu<'a> {
    kind: u16,
    version_and_kind: u16,
    body: &'a [u8],
    whole: &'a [u8],
}

const HEAD_BYTES: usize = 6;

/// What stands in place of a length in a Flow PDU.
const FLOW: usize = 0x8000;

impl<'a> Pdu<'a> {
    fn next(rest: &mut Fields<'a>) -> Result<Self, Malformed> {
        let bad = Malformed("Share Control header");
        let all = rest.rest();
        let mut head = *rest;
        let said = usize::from(head.u16().ok_or(bad)?);
        let version_and_kind = head.u16().ok_or(bad)?;
        // A Flow PDU (T.128 section 8.5), which nobody has sent for long: what stands behind its eight bytes is one more
        // message to some user's programs, and a part of this one here.
        if said == FLOW {
            return Err(bad);
        }
        // Some servers say a length of zero, or one with padding that they do not send: it is what is left then.
        let length = if said == 0 || said > all.len() { all.len() } else { said };
        let whole = rest.take(length).ok_or(bad)?;
        let body = whole.get(HEAD_BYTES..).ok_or(bad)?;
        Ok(Self { kind: version_and_kind & 0xf, version_and_kind, body, whole })
    }

    /// The kind and the body of a Share Data PDU.
    fn data(self) -> Result<(u8, &'a [u8]), Malformed> {
        let bad = Malformed("Share Data header");
        let mut fields = Fields::new(self.body);
        let head = fields.take(DATA_HEAD_BYTES).ok_or(bad)?;
        let kind = head.get(8).copied().ok_or(bad)?;
        Ok((kind, fields.rest()))
    }

    /// Whether its body is compressed.
    fn is_compressed(self) -> bool {
        self.body.get(9).is_some_and(|compression| compression & super::packets::PACKET_COMPRESSED != 0)
    }

    /// Appends it as it is, with the length that it has: whoever reads it after this reads the same messages.
    fn pass(self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let length = u16::try_from(self.whole.len()).map_err(|_| Malformed("Share Control PDU"))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(self.whole.get(2..).unwrap_or_default());
        Ok(())
    }

    /// Appends it anew, from this user and with this body.
    fn write(self, user: u16, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let length =
            u16::try_from(body.len().saturating_add(HEAD_BYTES)).map_err(|_| Malformed("Share Control PDU"))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.version_and_kind.to_le_bytes());
        out.extend_from_slice(&user.to_le_bytes());
        out.extend_from_slice(body);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
