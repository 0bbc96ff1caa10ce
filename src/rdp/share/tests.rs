use proptest::prelude::*;

use super::*;
use crate::rdp::surface::tests::bits;

fn drawn(fast_path: &[u8]) -> Result<(), Refusal> {
    Drawn::default().judge(fast_path)
}

fn data(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut pdu = u16::try_from(body.len() + 18).unwrap().to_le_bytes().to_vec();
    pdu.extend_from_slice(&[0x17, 0, 0xef, 3, 0xea, 3, 1, 0, 0, 1, 0, 0, kind, 0, 0, 0]);
    pdu.extend_from_slice(body);
    pdu
}

fn sent(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut pdu = data(kind, body);
    pdu[4..6].copy_from_slice(&1009u16.to_le_bytes());
    pdu
}

fn demand(width: u16, height: u16) -> Vec<u8> {
    let mut set = vec![2, 0, 28, 0, 32, 0, 1, 0, 1, 0, 1, 0];
    set.extend_from_slice(&width.to_le_bytes());
    set.extend_from_slice(&height.to_le_bytes());
    set.extend_from_slice(&[0; 12]);
    let mut pdu = vec![0, 0, 0x11, 0, 0xea, 3, 0xea, 3, 1, 0, 4, 0, 32, 0, b'R', b'D', b'P', 0, 1, 0, 0, 0];
    pdu.extend_from_slice(&set);
    pdu[0] = u8::try_from(pdu.len()).unwrap();
    pdu
}

const SUPPRESS_OUTPUT: u8 = 35;
const SYNCHRONIZE: u8 = 31;

#[test]
fn what_a_user_may_not_say_is_dropped_and_the_rest_of_the_message_passes() {
    let message = [data(SYNCHRONIZE, &[1, 0, 0xea, 3]), data(SUPPRESS_OUTPUT, &[0; 4]), data(INPUT, &[0; 8])].concat();
    let judged = from_user(&message, 1009, Keys::Pass).unwrap();
    assert_eq!(judged.passing, [sent(SYNCHRONIZE, &[1, 0, 0xea, 3]), sent(INPUT, &[0; 8])].concat());
    assert_eq!((judged.dropped, judged.has_keys), (1, true));
    let held = from_user(&message, 1009, Keys::Held).unwrap();
    assert_eq!((held.passing, held.dropped, held.has_keys), (sent(SYNCHRONIZE, &[1, 0, 0xea, 3]), 2, false));
    // What only a target says.
    assert!(from_user(&demand(800, 600), 1009, Keys::Pass).is_err());
    assert_eq!(from_user(&data(SAVE_SESSION_INFO, &[0; 4]), 1009, Keys::Pass).unwrap().dropped, 1);
}

#[test]
fn a_desktop_is_set_up_and_what_has_a_security_header_passes_no_more() {
    let judged = from_target(&demand(1024, 768)).unwrap();
    assert_eq!((judged.size, judged.passing), (Some((1024, 768)), demand(1024, 768)));
    let license = [0x80, 0, 0, 0, 0xff, 3, 16, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(from_target(&license).unwrap(), TargetShare { dropped: 1, ..TargetShare::default() });
    assert!(from_user(&license, 1009, Keys::Pass).is_err());
}

// Coverage table: the recording can show what passes.
#[test]
fn a_target_that_draws_as_it_was_told_not_to_ends_the_session() {
    assert_eq!(from_target(&data(UPDATE, &[0, 0, 0, 0])), Err(Refusal::Unasked(DRAWING_ORDERS)));
    assert!(from_target(&data(UPDATE, &[1, 0, 0, 0])).is_ok());
    let mut compressed = data(UPDATE, &[1, 0, 0, 0]);
    compressed[15] = 0x21;
    assert_eq!(from_target(&compressed), Err(Refusal::Unasked(COMPRESSED)));
    assert_eq!(from_target(&data(UPDATE, &[4, 0, 0, 0])), Err(Refusal::Unasked(UNKNOWN)));
    assert!(from_target(&data(UPDATE, &[1])).is_err());
    let message = |update: &[u8]| [&[0, u8::try_from(update.len() + 2).unwrap()], update].concat();
    assert_eq!(drawn(&message(&[1, 2, 0, 9, 9, 3, 0, 0])), Ok(()));
    assert_eq!(drawn(&message(&[1, 2, 0, 9, 9, 0, 1, 0, 5])), Err(Refusal::Unasked(DRAWING_ORDERS)));
    assert_eq!(drawn(&message(&[0x81, 0x20, 1, 0, 5])), Err(Refusal::Unasked(COMPRESSED)));
    assert_eq!(drawn(&message(&[0x81, 0, 1, 0, 5])), Ok(()));
    assert_eq!(drawn(&[0, 0x80, 6, 1, 0, 0]), Ok(()));
    assert!(drawn(&message(&[1, 9, 0, 1])).is_err());
    assert_eq!(drawn(&message(&[7, 1, 0, 5])), Err(Refusal::Unasked(UNKNOWN)));
    let codec = bits(1, 1, false, &[7; 9]);
    let surface = [&[4, u8::try_from(codec.len()).unwrap(), 0], &codec[..]].concat();
    assert_eq!(drawn(&message(&surface)), Err(Refusal::Unasked("a surface in another codec")));
}

// Coverage table: the recording can show what passes.
#[test]
fn no_length_hides_a_message_from_the_recording() {
    // A Flow PDU before what would end the session by itself.
    let hidden = [data(UPDATE, &[0, 0, 0, 0]), vec![12, 0, 0x0a, 0, 0xea, 3, 0, 0, 0, 4, 0, 0]].concat();
    let flow = [&[0, 0x80, 0x17, 0x41, 0, 0, 0xea, 3][..], &hidden].concat();
    assert!(from_target(&flow).is_err());
    assert!(from_user(&flow, 1009, Keys::Pass).is_err());
    // Of no length, or of more than there is: it passes with the one that it has.
    let whole = data(UPDATE, &[1, 0, 0, 0]);
    for said in [0, 0x7fff, 0xffff_u16] {
        let mut claimed = whole.clone();
        claimed[..2].copy_from_slice(&said.to_le_bytes());
        let passing = from_target(&claimed).unwrap().passing;
        assert_eq!(passing, whole);
        assert_eq!(crate::rdp::packets::Share::all(&passing).len(), 1, "the recording's reader sees it");
    }
}

// Coverage table: the recording can show what passes.
#[test]
fn an_update_in_pieces_is_judged_as_a_whole_and_of_one_kind() {
    const FIRST: u8 = 0x20;
    const NEXT: u8 = 0x30;
    const LAST: u8 = 0x10;
    let piece = |head: u8, data: &[u8]| {
        let length = u8::try_from(data.len()).unwrap();
        [&[0, length + 5, head, length, 0], data].concat()
    };
    let judged = |pieces: &[Vec<u8>]| {
        let mut drawn = Drawn::default();
        pieces.iter().try_for_each(|piece| drawn.judge(piece))
    };
    let (good, bad) = (bits(6, 3, false, &[7; 9]), bits(6, 5, false, &[7; 9]));
    let split =
        |all: &[u8]| vec![piece(4 | FIRST, &all[..10]), piece(4 | NEXT, &all[10..20]), piece(4 | LAST, &all[20..])];
    assert_eq!(judged(&split(&good)), Ok(()));
    assert_eq!(judged(&split(&bad)), Err(Refusal::Unasked("a surface in another codec")));
    for others in [
        vec![piece(4 | FIRST, &good), piece(1 | LAST, &[0])],
        vec![piece(4 | LAST, &good)],
        vec![piece(1 | FIRST, &[0]), piece(5, &[])],
        vec![piece(1 | FIRST, &[0]), piece(1 | FIRST, &[0])],
    ] {
        assert_eq!(judged(&others), Err(Malformed("pieces of updates").into()), "{others:?}");
    }
}

#[test]
fn a_target_that_redirects_or_wants_a_giant_desktop_ends_the_session() {
    let redirect = [12, 0, 0x0a, 0, 0xea, 3, 0, 0, 0, 4, 0, 0];
    assert_eq!(from_target(&redirect), Err(Refusal::Redirection));
    assert_eq!(from_target(&[0, 4, 0, 0, 1, 2]), Err(Refusal::Redirection));
    let both = [data(SYNCHRONIZE, &[]), redirect.to_vec()].concat();
    assert_eq!(from_target(&both), Err(Refusal::Redirection));
    assert_eq!(from_target(&demand(9000, 10)), Err(Refusal::TooLarge(9000, 10)));
}

#[test]
fn a_login_is_told_and_the_cookie_of_a_reconnection_is_not() {
    let plain = data(SAVE_SESSION_INFO, &[2, 0, 0, 0]);
    let judged = from_target(&plain).unwrap();
    assert_eq!((judged.logged_in, &judged.passing), (true, &plain));
    let cookie = data(SAVE_SESSION_INFO, &[3, 0, 0, 0, 34, 0, 1, 0, 0, 0, 28, 0, 0, 0]);
    let judged = from_target(&[cookie, plain.clone()].concat()).unwrap();
    assert_eq!((judged.dropped, judged.passing), (1, plain));
    let errors = data(SAVE_SESSION_INFO, &[3, 0, 0, 0, 34, 0, 2, 0, 0, 0]);
    let judged = from_target(&errors).unwrap();
    assert_eq!((judged.logged_in, judged.passing), (false, errors));
    assert_eq!(from_target(&data(SET_ERROR_INFO, &[9, 0, 0, 0])).unwrap().error, Some(9));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = from_user(&bytes, 1009, Keys::Pass);
        let _ = drawn(&bytes);
        let _ = from_target(&bytes);
    }

    #[test]
    fn no_flipped_byte_makes_it_panic(at in 0usize..90, to: u8) {
        let mut bytes = [demand(800, 600), data(SYNCHRONIZE, &[0; 4]), data(SAVE_SESSION_INFO, &[3, 0, 0, 0])].concat();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        let _ = from_target(&bytes);
        let _ = from_user(&bytes, 1009, Keys::Held);
    }
}
