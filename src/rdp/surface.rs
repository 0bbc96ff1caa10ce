//! Surface commands of a target (MS-RDPBCGR section 2.2.9.2): whether a recording can show what they draw.
//!
//! They are walked as they come, in whatever fragments, and nothing of them is kept but the head of the one that is under way.

use super::packets::Fragment;
use super::pdu::Malformed;
use super::share::Refusal;

/// Where a target is in its surface commands.
#[derive(Debug, Default)]
pub(super) struct Surfaces {
    /// Of the command that is under way.
    head: Vec<u8>,
    /// How many bytes of its picture are still to come.
    picture: usize,
}

const SET_BITS: u16 = 1;
const FRAME_MARKER: u16 = 4;
const STREAM_BITS: u16 = 6;

/// What stands before a picture, without the longer form's second header.
const BITS_HEAD: usize = 22;
const SECOND_HEAD: usize = 24;
const MARKER_HEAD: usize = 8;
/// Some targets leave a marker's number out.
const SHORT_MARKER: usize = 4;

/// The codecs that a recording's decoder knows: none at all, and RemoteFX by the number that it was offered under.
const CODECS: [u8; 2] = [0, 3];

impl Surfaces {
    /// Takes a fragment of an update.
    ///
    /// # Errors
    /// If the session ends with it.
    pub(super) fn take(&mut self, fragment: Fragment, mut data: &[u8]) -> Result<(), Refusal> {
        if fragment.is_first() {
            *self = Self::default();
        }
        while !data.is_empty() {
            if self.picture > 0 {
                let passed = self.picture.min(data.len());
                self.picture = self.picture.saturating_sub(passed);
                data = data.get(passed..).unwrap_or_default();
                continue;
            }
            let wanted = head_bytes(&self.head)?.saturating_sub(self.head.len());
            let (taken, rest) = data.split_at(wanted.min(data.len()));
            self.head.extend_from_slice(taken);
            data = rest;
            if head_bytes(&self.head)? == self.head.len() {
                self.picture = picture_bytes(&self.head)?;
                self.head.clear();
            }
        }
        let short = self.head.len() == SHORT_MARKER && kind(&self.head) == Some(FRAME_MARKER);
        if fragment.is_last() && (self.picture > 0 || !(self.head.is_empty() || short)) {
            return Err(Malformed("surface command").into());
        }
        Ok(())
    }
}

fn kind(head: &[u8]) -> Option<u16> {
    head.first_chunk().map(|kind| u16::from_le_bytes(*kind))
}

/// How long a command's head is, as far as what there is of it says.
fn head_bytes(head: &[u8]) -> Result<usize, Refusal> {
    match kind(head) {
        None => Ok(2),
        Some(FRAME_MARKER) => Ok(MARKER_HEAD),
        Some(SET_BITS | STREAM_BITS) => {
            let is_longer = head.get(11).is_some_and(|flags| flags & 1 != 0);
            Ok(if is_longer { BITS_HEAD.saturating_add(SECOND_HEAD) } else { BITS_HEAD })
        }
        Some(_) => Err(Malformed("surface command").into()),
    }
}

/// How long the picture behind a whole head is.
fn picture_bytes(head: &[u8]) -> Result<usize, Refusal> {
    if kind(head) == Some(FRAME_MARKER) {
        return Ok(0);
    }
    let codec = head.get(13).ok_or(Malformed("surface command"))?;
    if !CODECS.contains(codec) {
        return Err(Refusal::Unasked("a surface in another codec"));
    }
    let length = head.get(18..BITS_HEAD).and_then(<[u8]>::first_chunk).ok_or(Malformed("surface command"))?;
    Ok(usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    pub(in crate::rdp) fn bits(kind: u16, codec: u8, second: bool, picture: &[u8]) -> Vec<u8> {
        let length = u32::try_from(picture.len()).unwrap().to_le_bytes();
        let head =
            [&kind.to_le_bytes()[..], &[0, 0, 0, 0, 8, 0, 8, 0], &[32, u8::from(second), 0, codec], &[8, 0, 8, 0]];
        let second = if second { vec![0; SECOND_HEAD] } else { Vec::new() };
        [&head.concat()[..], &length, &second, picture].concat()
    }

    fn marker() -> Vec<u8> {
        vec![4, 0, 0, 0, 7, 0, 0, 0]
    }

    fn judged(update: &[u8], size: usize) -> Result<(), Refusal> {
        let pieces: Vec<&[u8]> = update.chunks(size.max(1)).collect();
        let (last, mut surfaces) = (pieces.len().saturating_sub(1), Surfaces::default());
        pieces.iter().enumerate().try_for_each(|(place, piece)| {
            let fragment = match (place == 0, place == last) {
                (true, true) => Fragment::Single,
                (true, false) => Fragment::First,
                (false, false) => Fragment::Next,
                (false, true) => Fragment::Last,
            };
            surfaces.take(fragment, piece)
        })
    }

    #[test]
    fn what_the_decoder_draws_passes_however_it_comes() {
        let all = [marker(), bits(1, 0, false, &[9; 40]), bits(6, 3, true, &[9; 70]), marker()].concat();
        (1..all.len() + 1).for_each(|size| assert_eq!(judged(&all, size), Ok(()), "{size}"));
        assert_eq!(judged(&marker()[..4], 9), Ok(()), "a marker without its number");
        assert_eq!(judged(&[], 1), Ok(()));
    }

    #[test]
    fn a_codec_that_no_recording_shows_ends_it_wherever_it_stands() {
        for codec in (1..=2).chain(4..=255) {
            let all = [marker(), bits(6, 0, false, &[6; 33]), bits(1, codec, true, &[9; 5])].concat();
            for size in [1, 5, 21, 1000] {
                assert_eq!(judged(&all, size), Err(Refusal::Unasked("a surface in another codec")), "{codec} {size}");
            }
        }
    }

    #[test]
    fn lengths_that_do_not_agree_end_it() {
        let whole = bits(1, 0, false, &[9; 40]);
        let cut = |to: usize| judged(&whole[..to], 7).is_err();
        assert!((1..whole.len()).all(cut));
        assert!(judged(&[whole, vec![2, 0]].concat(), 100).is_err(), "a command of no kind");
    }

    #[test]
    fn a_new_update_begins_anew() {
        let (whole, mut surfaces) = (bits(1, 0, false, &[9; 40]), Surfaces::default());
        assert_eq!(surfaces.take(Fragment::First, &whole[..30]), Ok(()));
        assert_eq!(surfaces.take(Fragment::Single, &whole), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_the_same_in_any_pieces(bytes in vec(0_u8..8, 0..200), size in 1_usize..60) {
            prop_assert_eq!(judged(&bytes, size).is_ok(), judged(&bytes, 1000).is_ok());
        }
    }
}
