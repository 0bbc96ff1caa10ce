use std::io::{Seek, SeekFrom};

use bytes::Bytes;

use super::*;
use crate::cast::Reader;
use crate::cli::recorded::memory::Memory;
use crate::rdp::fact::{Fact, Side};
use crate::rdp::picture::tests::{Record, bitmap, demand, fast, message};
use crate::rdp::record::Kind;

const RED: [u8; 3] = [250, 10, 20];
const BLUE: [u8; 3] = [5, 6, 240];

fn desktop(records: Vec<(u64, Record)>) -> Memory {
    let add = |memory: Memory, (ms, (kind, bytes)): (u64, Record)| {
        memory.at(ms, Entry::Record { kind, bytes: Bytes::from(bytes) })
    };
    records.into_iter().fold(Memory::new(ChannelClass::Desktop, false), add)
}

fn painted(width: u16, height: u16, colour: [u8; 3]) -> Vec<Record> {
    let pieces = (0..width / 16).flat_map(|x| (0..height / 16).map(move |y| (x * 16, y * 16)));
    pieces.map(|(x, y)| fast(&bitmap(x, y, 16, 16, colour))).collect()
}

/// Red from 1 s on, blue from 3 s on.
fn two_colours() -> Memory {
    let mut records = vec![(1000, message(&demand(64, 48)))];
    records.extend(painted(64, 48, RED).into_iter().map(|record| (1000, record)));
    records.extend(painted(64, 48, BLUE).into_iter().map(|record| (3000, record)));
    desktop(records)
}

fn png_at(channel: &Memory, at: Option<Duration>) -> Result<(u32, u32, [u8; 3]), ExportError> {
    let mut out = Vec::new();
    png(channel, at, None, &mut out)?;
    let mut reader = ::png::Decoder::new(io::Cursor::new(out)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    Ok((info.width, info.height, pixels[..3].try_into().unwrap()))
}

#[test]
fn a_picture_is_of_its_moment() {
    let channel = two_colours();
    let at = |ms| Some(Duration::from_millis(ms));
    assert_eq!(png_at(&channel, at(2000)).unwrap(), (64, 48, RED));
    assert_eq!(png_at(&channel, at(3000)).unwrap(), (64, 48, BLUE));
    assert_eq!(png_at(&channel, None).unwrap(), (64, 48, BLUE));
    assert!(matches!(png_at(&channel, at(999)), Err(ExportError::NothingDrawn)));
    let shell = Memory::new(ChannelClass::Shell, true);
    assert!(matches!(png_at(&shell, None), Err(ExportError::NotADesktop)));
}

/// The colour in the middle of the top left quarter of each frame of a film, as another ffmpeg reads it.
fn frames_of(channel: &Memory, form: Film, idle_cap: Option<Duration>, size: (usize, usize)) -> Vec<[u8; 3]> {
    let mut file = tempfile::tempfile().unwrap();
    film(channel, form, idle_cap, Stdio::from(file.try_clone().unwrap())).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-loglevel", "error", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
    let output = command.stdin(Stdio::from(file)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (width, height) = size;
    assert_eq!(output.stdout.len() % (width * height * 3), 0);
    let middle = (height / 4 * width + width / 4) * 3;
    output.stdout.chunks_exact(width * height * 3).map(|frame| frame[middle..middle + 3].try_into().unwrap()).collect()
}

fn near(one: [u8; 3], other: [u8; 3]) -> bool {
    one.iter().zip(other).all(|(one, other)| one.abs_diff(other) < 16)
}

/// Whether there is an encoder to test with.
fn ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(found || std::env::var_os("REQUIRE_OPENSSH").is_none(), "ffmpeg is not installed");
    found
}

#[test]
fn a_film_shows_what_was_on_the_desktop_when_it_was() {
    if !ffmpeg() {
        return;
    }
    let channel = two_colours();
    for form in [Film::Webm, Film::Mp4] {
        let frames = frames_of(&channel, form, None, (64, 48));
        let red = frames.iter().take_while(|frame| near(**frame, RED)).count();
        // Two seconds of one colour, and one of the other.
        assert!((9..=11).contains(&red), "{form:?} {frames:?}");
        assert!(frames.len() >= red + 4 && frames[red..].iter().all(|frame| near(*frame, BLUE)), "{form:?} {frames:?}");
    }
}

#[test]
fn what_does_not_change_is_cut() {
    if !ffmpeg() {
        return;
    }
    let mut channel = two_colours();
    for timed in &mut channel.entries {
        if timed.at == Duration::from_secs(3) {
            timed.at = Duration::from_secs(3600);
        }
    }
    let frames = frames_of(&channel, Film::Webm, Some(Duration::from_secs(1)), (64, 48));
    let red = frames.iter().take_while(|frame| near(**frame, RED)).count();
    assert!((4..=7).contains(&red) && frames.len() < 20, "{red} of {}", frames.len());
}

#[test]
fn a_desktop_that_changes_its_size_stands_in_one_film() {
    if !ffmpeg() {
        return;
    }
    let mut records = vec![(0, message(&demand(32, 16)))];
    records.extend(painted(32, 16, RED).into_iter().map(|record| (0, record)));
    records.push((2000, message(&demand(64, 48))));
    records.extend(painted(64, 48, BLUE).into_iter().map(|record| (2000, record)));
    let frames = frames_of(&desktop(records), Film::Webm, None, (64, 48));
    // The middle of the quarter is in both.
    assert!(near(frames[2], RED) || near(frames[2], [0; 3]), "{frames:?}");
    assert!(near(*frames.last().unwrap(), BLUE), "{frames:?}");
}

#[test]
fn the_text_of_a_desktop_is_what_was_typed_and_pasted() {
    let session = Fact::Session { width: 64, height: 48, keyboard_layout: 0x407, client_name: "pc".into(), keys: true };
    let text = Some(String::from("a\u{1b}[31mb\nc"));
    let pasted = Fact::Clipboard { to: Side::Target, format: 13, bytes: 9, text, files: Vec::new(), refused: None };
    let key = |code| (Kind::FastPathInput, vec![1 << 2, 4, 0, code]);
    let records = vec![
        (0, (Kind::Event, session.to_json())),
        (61_500, key(0x15)),
        (61_600, key(0x1A)),
        (62_000, key(0x1C)),
        (63_000, (Kind::Event, pasted.to_json())),
    ];
    let mut out = Vec::new();
    text_of(&desktop(records), &mut out);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1], "1:01.5  typed      zü");
    assert!(lines[2].starts_with("1:03.0  clipboard") && lines[2].contains("user to target"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

fn text_of(channel: &Memory, out: &mut Vec<u8>) {
    super::text(channel, None, out).unwrap();
}

#[test]
fn what_an_evidence_bundle_holds_reads_back_equal() {
    let channel = two_colours();
    let mut out = Vec::new();
    super::super::write(&channel, super::super::Format::V3, &mut out).unwrap();
    let reader = Reader::new(out.as_slice()).unwrap();
    assert_eq!(reader.header(), &channel.header);
    assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), channel.entries);
}
