use proptest::prelude::*;

use super::*;
use crate::rdp::picture::tests::{Record, bitmap, demand, fast, message};
use crate::rdp::record::Kind;
use crate::rdp::surface::tests::bits;

const RED: [u8; 3] = [250, 10, 20];
const BLUE: [u8; 3] = [5, 6, 240];
const GREEN: [u8; 3] = [1, 200, 3];

/// A fast-path message with one update of any kind, or a piece of one.
fn update_of(head: u8, data: &[u8]) -> Record {
    let length = u16::try_from(data.len()).unwrap();
    let total = (length + 6) | 0x8000;
    let bytes = [&[0][..], &total.to_be_bytes(), &[head], &length.to_le_bytes(), data].concat();
    (Kind::FastPathOutput, bytes)
}

/// A pointer of 8x8 pixels in one colour, kept as `number` and shown from then on.
fn pointer(number: u16, [red, green, blue]: [u8; 3]) -> Record {
    let xor: Vec<u8> = (0..64).flat_map(|_| [blue, green, red, 255]).collect();
    let head = [32, number, 0, 0, 8, 8, 16, 256].map(u16::to_le_bytes).concat();
    update_of(update::POINTER_NEW, &[head, xor, vec![0; 16]].concat())
}

fn shown(number: u16) -> Record {
    update_of(update::POINTER_CACHED, &number.to_le_bytes())
}

fn hidden() -> Record {
    update_of(update::POINTER_HIDDEN, &[])
}

fn mouse(x: u16, y: u16) -> Record {
    (Kind::FastPathInput, [vec![4, 9, 0x20], [0x0800, x, y].map(u16::to_le_bytes).concat()].concat())
}

/// A palette whose first colour is this, and a bitmap in that colour.
fn palette([red, green, blue]: [u8; 3]) -> Record {
    let head = [2, 0].map(u16::to_le_bytes).concat();
    let colours: Vec<u8> = (0..256).flat_map(|_| [red, green, blue]).collect();
    update_of(update::PALETTE, &[head, 256_u32.to_le_bytes().to_vec(), colours].concat())
}

fn in_palette(left: u16, top: u16) -> Record {
    let place = [1, 1, left, top, left + 3, top + 3, 4, 4, 8, 0, 16].map(u16::to_le_bytes).concat();
    update_of(update::BITMAP, &[place, vec![0; 16]].concat())
}

fn red_green_blue(picture: &Picture) -> Vec<u8> {
    rgb(picture.rgba())
}

/// A keyframe of each moment, with how many records are in it.
fn keyframes(records: &[Record]) -> Vec<(usize, Keyframe)> {
    let mut found = Vec::new();
    for count in 1..=records.len() {
        let mut keyframes = Keyframes::default();
        for (second, (kind, bytes)) in (0..).zip(&records[..count]) {
            keyframes.take(Duration::from_secs(second), *kind, bytes);
        }
        found.extend(keyframes.finish().map(|keyframe| (count, keyframe)));
    }
    found
}

fn drawn(records: &[Record], from: Picture) -> Picture {
    records.iter().fold(from, |mut picture, (kind, bytes)| {
        picture.take(*kind, bytes);
        picture
    })
}

/// From whichever keyframe it goes on, the end is the same.
fn same_from_everywhere(records: &[Record]) -> usize {
    let whole = drawn(records, Picture::new(Pointer::Drawn));
    let keyframes = keyframes(records);
    for (count, keyframe) in &keyframes {
        let stored = Keyframe::from_bytes(&keyframe.to_bytes()).unwrap();
        assert_eq!(&stored, keyframe);
        let end = drawn(&records[*count..], stored.restore().unwrap());
        assert_eq!(red_green_blue(&end), red_green_blue(&whole), "from {count} on");
    }
    keyframes.len()
}

#[test]
fn a_picture_goes_on_from_a_keyframe_with_its_palette_and_its_pointers() {
    let records = [
        message(&demand(64, 48)),
        fast(&bitmap(0, 0, 60, 40, RED)),
        palette(GREEN),
        in_palette(8, 8),
        pointer(1, BLUE),
        mouse(30, 20),
        pointer(2, GREEN),
        mouse(10, 10),
        hidden(),
        fast(&bitmap(8, 8, 16, 16, BLUE)),
        shown(1),
        in_palette(20, 20),
        mouse(40, 30),
        shown(2),
        in_palette(40, 30),
        message(&demand(32, 32)),
        in_palette(8, 8),
        shown(1),
    ];
    let drawn = drawn(&records[..13], Picture::new(Pointer::Drawn));
    let at = (30 * 64 + 40) * 4;
    assert!(drawn.rgba()[at + 2] > 200, "the pointer is in the picture");
    assert!(same_from_everywhere(&records) >= records.len() - 2);
}

#[test]
fn there_is_none_inside_an_update_and_what_began_one_is_kept() {
    let stream = [&STREAM_HEAD[..], &[0, 1]].concat();
    let whole = bits(1, 3, false, &stream);
    let records = [
        message(&demand(64, 48)),
        fast(&bitmap(0, 0, 60, 40, RED)),
        update_of(update::SURFACES | 0x20, &whole[..15]),
        update_of(update::SURFACES | 0x10, &whole[15..]),
        fast(&bitmap(0, 0, 16, 16, BLUE)),
    ];
    let found = keyframes(&records);
    assert!(found.iter().all(|(count, _)| *count != 3));
    let (_, last) = found.last().unwrap();
    assert_eq!(last.messages.len(), 3, "the set-up and both pieces");
}

#[test]
fn of_several_about_one_thing_the_last_is_kept() {
    let mut known = Known::default();
    let (set_up, red) = (message(&demand(64, 48)), palette(RED));
    let records =
        [red, set_up.clone(), palette(GREEN), pointer(1, RED), pointer(2, RED), palette(BLUE), pointer(1, BLUE)];
    records.iter().for_each(|(kind, bytes)| known.take(*kind, bytes));
    assert_eq!(known.messages().unwrap(), [set_up, pointer(2, RED), palette(BLUE), pointer(1, BLUE)]);
}

#[test]
fn too_much_that_counts_is_no_keyframe_until_the_next_set_up() {
    let mut known = Known::default();
    let (kind, set_up) = message(&demand(64, 48));
    known.take(kind, &set_up);
    // Pieces without an end.
    let (kind, piece) = update_of(update::POINTER_LARGE | 0x20, &[7; 30_000]);
    for _ in 0..200 {
        known.take(kind, &piece);
    }
    let (kind, end) = update_of(update::POINTER_LARGE | 0x10, &[7; 3]);
    known.take(kind, &end);
    assert_eq!(known.messages(), None);
    assert!(known.kept.is_empty() && known.pieces.bytes() < KEPT_BYTES_MAX);
    let (kind, set_up) = message(&demand(32, 32));
    known.take(kind, &set_up);
    assert_eq!(known.messages().map(|messages| messages.len()), Some(1));
}

#[test]
fn one_is_due_after_thirty_seconds_or_eight_mebibytes_if_something_was_drawn() {
    let mut keyframes = Keyframes::default();
    let mut take = |second: u64, (kind, bytes): Record| keyframes.take(Duration::from_secs(second), kind, &bytes);
    assert_eq!(take(0, message(&demand(64, 48))), None);
    assert_eq!(take(10, fast(&bitmap(0, 0, 60, 40, RED))), None);
    assert_eq!(take(40, mouse(1, 1)), None, "thirty seconds are over behind it");
    assert_eq!(take(41, mouse(2, 2)).unwrap().at, Duration::from_secs(40));
    assert_eq!(take(90, mouse(3, 3)), None);
    assert_eq!(take(180, mouse(4, 4)), None, "nothing was drawn");
    let big = fast(&bitmap(0, 0, 60, 40, BLUE));
    let many = DRAWN_BYTES / big.1.len() + 1;
    (0..many).for_each(|_| assert_eq!(take(181, big.clone()), None));
    assert_eq!(take(181, big.clone()), None, "all of a moment is in one");
    assert_eq!(take(182, big).unwrap().at, Duration::from_secs(181));
}

#[test]
fn bytes_that_are_no_keyframe_are_none() {
    let records = [message(&demand(16, 8)), fast(&bitmap(0, 0, 4, 4, RED))];
    let (_, keyframe) = keyframes(&records).pop().unwrap();
    let bytes = keyframe.to_bytes();
    (0..bytes.len()).for_each(|length| assert_eq!(Keyframe::from_bytes(&bytes[..length]), None, "{length}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn from_any_keyframe_the_end_is_the_same(steps in proptest::collection::vec((0_u8..8, 0_u16..40, 0_u16..30), 1..14)) {
        let colour = |x: u16, y: u16| [u8::try_from(x * 5).unwrap(), u8::try_from(y * 7).unwrap(), 99];
        let mut records = vec![message(&demand(64, 48))];
        records.extend(steps.into_iter().map(|(step, x, y)| match step {
            0 => fast(&bitmap(x, y, 16, 16, colour(x, y))),
            1 => palette(colour(x, y)),
            2 => in_palette(x, y),
            3 => pointer(x % 3, colour(x, y)),
            4 => shown(x % 3),
            5 => hidden(),
            6 => mouse(x, y),
            _ => update_of(update::POINTER_PLACE, &[x, y].map(u16::to_le_bytes).concat()),
        }));
        same_from_everywhere(&records);
    }
}
