use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) type Record = (Kind, Vec<u8>);

fn record(kind: Kind, bytes: Vec<u8>) -> Record {
    (kind, bytes)
}

fn take(picture: &mut Picture, (kind, bytes): &Record) -> Change {
    picture.take(*kind, bytes)
}

fn shorts(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A message of the I/O channel around Share Control PDUs.
pub(crate) fn message(shares: &[u8]) -> Record {
    record(Kind::IoOutput, send_data(Way::Indication, USER, 1003, shares).unwrap())
}

fn share(kind: u16, body: &[u8]) -> Vec<u8> {
    [shorts(&[u16::try_from(body.len() + 6).unwrap(), 0x10 | kind, 1002]), body.to_vec()].concat()
}

pub(crate) fn demand(width: u16, height: u16) -> Vec<u8> {
    let bitmap = shorts(&[2, 28, 24, 1, 1, 1, width, height, 0, 1, 1, 0, 1, 0]);
    let body = [7_u32.to_le_bytes().to_vec(), shorts(&[4, 32]), b"RDP\0".to_vec(), shorts(&[1, 0]), bitmap].concat();
    share(DEMAND_ACTIVE, &body)
}

/// A rectangle of one colour, in 24 bits a pixel.
pub(crate) fn bitmap(left: u16, top: u16, width: u16, height: u16, [red, green, blue]: [u8; 3]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height).flat_map(|_| [blue, green, red]).collect();
    let size = u16::try_from(pixels.len()).unwrap();
    let place = shorts(&[1, 1, left, top, left + width - 1, top + height - 1, width, height, 24, 0, size]);
    [place, pixels].concat()
}

pub(crate) fn fast(update: &[u8]) -> Record {
    let length = u16::try_from(update.len()).unwrap();
    let total = (length + 6) | 0x8000;
    record(Kind::FastPathOutput, [&[0][..], &total.to_be_bytes(), &[1], &length.to_le_bytes(), update].concat())
}

fn slow(update: &[u8]) -> Vec<u8> {
    let head = [7_u32.to_le_bytes().to_vec(), vec![0, 1], shorts(&[0]), vec![UPDATE, 0], shorts(&[0])].concat();
    share(7, &[head, update.to_vec()].concat())
}

fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    let (width, _) = picture.size().unwrap();
    let at = (y * usize::from(width) + x) * 4;
    picture.rgba()[at..at + 3].try_into().unwrap()
}

const RED: [u8; 3] = [250, 10, 20];
const BLUE: [u8; 3] = [5, 6, 240];

#[test]
fn both_ways_of_drawing_are_drawn() {
    let mut picture = Picture::new(Pointer::LeftOut);
    assert_eq!(take(&mut picture, &fast(&bitmap(0, 0, 4, 4, RED))), Change::Nothing, "there is no desktop yet");
    assert_eq!(take(&mut picture, &message(&demand(16, 8))), Change::Sized);
    assert_eq!(take(&mut picture, &fast(&bitmap(0, 0, 4, 4, RED))), Change::Drawn);
    assert_eq!(take(&mut picture, &message(&slow(&bitmap(8, 4, 4, 4, BLUE)))), Change::Drawn);
    assert_eq!((pixel(&picture, 3, 3), pixel(&picture, 4, 4), pixel(&picture, 11, 7)), (RED, [0; 3], BLUE));
    assert_eq!(picture.faults(), (0, None));
    let png = picture.png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, rgb(picture.rgba()));
}

/// A user's program acknowledges frames; here that goes nowhere, and costs nothing.
#[test]
fn what_stands_behind_the_end_of_a_frame_is_drawn_as_well() {
    let mut picture = Picture::new(Pointer::LeftOut);
    take(&mut picture, &message(&demand(16, 8)));
    let marker = |action: u16| [shorts(&[4, action]), 7_u32.to_le_bytes().to_vec()].concat();
    let surface = |left: u16, [red, green, blue]: [u8; 3]| {
        let pixels: Vec<u8> = (0..16).flat_map(|_| [blue, green, red, 0]).collect();
        let length = u32::try_from(pixels.len()).unwrap().to_le_bytes();
        [shorts(&[1, left, 0, left + 4, 4]), vec![32, 0, 0, 0], shorts(&[4, 4]), length.to_vec(), pixels].concat()
    };
    let update = [marker(0), surface(0, RED), marker(1), marker(0), surface(4, BLUE), marker(1)].concat();
    let length = u16::try_from(update.len()).unwrap();
    let total = (length + 6) | 0x8000;
    let bytes = [&[0][..], &total.to_be_bytes(), &[4], &length.to_le_bytes(), &update].concat();
    assert_eq!(take(&mut picture, &record(Kind::FastPathOutput, bytes)), Change::Drawn);
    assert_eq!((pixel(&picture, 3, 3), pixel(&picture, 4, 3)), (RED, BLUE));
    assert_eq!(picture.faults(), (0, None));
}

#[test]
fn several_messages_in_one_are_each_drawn() {
    let mut picture = Picture::new(Pointer::LeftOut);
    let all = [demand(16, 8), slow(&bitmap(0, 0, 4, 4, RED)), slow(&bitmap(4, 0, 4, 4, BLUE))].concat();
    assert_eq!(take(&mut picture, &message(&all)), Change::Sized);
    assert_eq!((pixel(&picture, 0, 0), pixel(&picture, 4, 0)), (RED, BLUE));
}

#[test]
fn another_size_is_another_picture() {
    let mut picture = Picture::new(Pointer::LeftOut);
    take(&mut picture, &message(&demand(16, 8)));
    take(&mut picture, &fast(&bitmap(0, 0, 4, 4, RED)));
    assert_eq!(take(&mut picture, &message(&demand(16, 8))), Change::Drawn);
    assert_eq!(pixel(&picture, 0, 0), RED);
    assert_eq!(take(&mut picture, &message(&demand(32, 8))), Change::Sized);
    assert_eq!((picture.size(), pixel(&picture, 0, 0)), (Some((32, 8)), [0; 3]));
}

#[test]
fn a_giant_desktop_is_not_drawn() {
    let mut picture = Picture::new(Pointer::LeftOut);
    for (width, height) in [(8193, 16), (16, u16::MAX), (0, 16)] {
        assert_eq!(take(&mut picture, &message(&demand(width, height))), Change::Nothing);
    }
    assert_eq!((picture.size(), picture.faults().0), (None, 3));
}

#[test]
fn what_cannot_be_drawn_is_counted_and_drawing_goes_on() {
    let mut picture = Picture::new(Pointer::LeftOut);
    take(&mut picture, &message(&demand(16, 8)));
    assert_eq!(take(&mut picture, &record(Kind::FastPathOutput, vec![0, 3])), Change::Nothing);
    assert_eq!(take(&mut picture, &record(Kind::IoOutput, vec![1, 2, 3])), Change::Nothing);
    let (faults, first) = picture.faults();
    assert!(faults == 1 + u64::from(faults == 2) && first.is_some(), "{faults} {first:?}");
    assert_eq!(take(&mut picture, &fast(&bitmap(0, 0, 4, 4, RED))), Change::Drawn);
    assert_eq!(pixel(&picture, 1, 1), RED);
}

proptest! {
    /// Whatever a target sends after its desktop was set up, a good message is drawn after it.
    #[test]
    fn no_bytes_stop_the_drawing(
        messages in vec((0_u8..4, any::<[u8; 16]>(), vec(any::<u8>(), 0..120)), 0..12),
        pointer: bool,
    ) {
        let mut picture = Picture::new(if pointer { Pointer::Drawn } else { Pointer::LeftOut });
        take(&mut picture, &message(&demand(16, 8)));
        for (form, head, bytes) in messages {
            let record = match form {
                0 => record(Kind::FastPathOutput, bytes),
                1 => fast(&[&shorts(&[1, 1, 0, 0, 3, 3, 4, 4, 24, 0]), &head[..], &bytes].concat()),
                2 => message(&slow(&bytes)),
                _ => record(Kind::FastPathInput, bytes),
            };
            let _ = take(&mut picture, &record);
        }
        take(&mut picture, &message(&demand(16, 8)));
        take(&mut picture, &fast(&bitmap(0, 0, 4, 4, RED)));
        take(&mut picture, &fast(&bitmap(0, 0, 4, 4, BLUE)));
        prop_assert_eq!(picture.size(), Some((16, 8)));
    }
}
