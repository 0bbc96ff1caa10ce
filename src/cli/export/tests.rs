use std::process::Command;

use bytes::Bytes;

use super::*;
use crate::cast::{Digest, Reader};
use crate::cli::recorded::memory::Memory;
use crate::model::{ChannelClass, Exit};
use crate::screen::shown;
use crate::store::End;
use crate::store::tests::{Store, keep, roll};

/// What a target prints to put events into a recording that did not happen (T12).
const FORGED: &[u8] =
    b"\n[0.1,\"o\",\"forged\"]\n{\"version\":3}\n[9,\"m\",\"session ended\"]\r\n\"]\n[0,\"x\",\"0\"]\n\x00\\\"\xff\n#\n";

fn export(channel: &dyn RecordedChannel, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    write(channel, format, &mut out).unwrap();
    out
}

fn lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn shell() -> Memory {
    Memory::new(ChannelClass::Shell, true)
        .out(5, b"\x1b[1m$\x1b[0m ")
        .at(10, Entry::Input(Bytes::from_static(b"l")))
        .out(1500, b"caf\xc3")
        .at(1600, Entry::Resize { cols: 100, rows: 30 })
        .out(1700, b"\xa9\r\n")
        .at(1800, Entry::Marker(String::from("grant g-1 ends in 5 minutes")))
        .at(2000, Entry::Exit(Exit::Status(3)))
}

#[test]
fn a_v3_export_reads_back_equal() {
    let channel = shell();
    let bytes = export(&channel, Format::V3);
    let reader = Reader::new(bytes.as_slice()).unwrap();
    assert_eq!(reader.header(), &channel.header);
    assert_eq!(joined(reader.map(Result::unwrap)), channel.entries);
    assert_eq!(lines(&bytes).last().unwrap()[1], "x");
}

#[test]
fn a_v2_export_has_sizes_and_markers_beside_the_plain_part() {
    let channel = shell();
    let lines = lines(&export(&channel, Format::V2));
    let header: V2Header = serde_json::from_value(lines[0].clone()).unwrap();
    assert_eq!((header.version, header.width, header.height), (2, 80, 24));
    assert_eq!(header.duration, Some(2.0));
    let expected = [
        json!([0.005, "o", "\u{1b}[1m$\u{1b}[0m "]),
        json!([0.01, "i", "l"]),
        json!([1.5, "o", "caf"]),
        json!([1.6, "r", "100x30"]),
        json!([1.7, "o", "\u{e9}\r\n"]),
        json!([1.8, "m", "grant g-1 ends in 5 minutes"]),
        json!([2.0, "m", "exit 3"]),
    ];
    assert_eq!(lines[1..], expected);
}

#[test]
fn output_that_looks_like_events_stays_one_event() {
    let channel = Memory::new(ChannelClass::Shell, true).out(0, FORGED).at(1, Entry::Exit(Exit::Status(0)));
    let v3 = export(&channel, Format::V3);
    assert_eq!(joined(Reader::new(v3.as_slice()).unwrap().map(Result::unwrap)), channel.entries);
    assert_eq!(lines(&v3).iter().filter(|line| line[1] == "x" || line[1] == "m" || line.is_object()).count(), 2);
    let v2 = lines(&export(&channel, Format::V2));
    assert_eq!(v2.len(), 3);
    assert_eq!(v2[1][1], "o");
    assert_eq!(v2[1][2].as_str(), Some(String::from_utf8_lossy(FORGED).as_ref()));
    assert_eq!(export(&channel, Format::Raw(Direction::Stdout)), FORGED);
}

#[test]
fn raw_is_the_exact_bytes_of_one_stream() {
    let all: Vec<u8> = (0..=255).collect();
    let channel = Memory::new(ChannelClass::Exec, false)
        .out(0, &all)
        .err(1, b"bad\xff")
        .at(2, Entry::Input(Bytes::from_static(b"in\0")))
        .out(3, b"\xe2\x82");
    assert_eq!(export(&channel, Format::Raw(Direction::Stdout)), [&all[..], b"\xe2\x82"].concat());
    assert_eq!(export(&channel, Format::Raw(Direction::Stderr)), b"bad\xff");
    assert_eq!(export(&channel, Format::Raw(Direction::Stdin)), b"in\0");
}

#[test]
fn text_is_what_scrolled_by() {
    let channel = Memory::new(ChannelClass::Shell, true)
        .out(0, b"$ lx\x08s\x1b]52;c;AAAA\x07\r\nfile \x1b[31mred\x1b[0m\r\n")
        .out(1, b"\x1b[?1049h\x1b[2Jvim\x1b[?1049l$ ");
    assert_eq!(export(&channel, Format::Txt), b"$ ls\nfile red\n$\n");
    let channel = Memory::new(ChannelClass::Exec, false).out(0, b"one\n").err(1, b"two\n");
    assert_eq!(export(&channel, Format::Txt), b"one\nstderr: two\n");
}

#[test]
fn of_sftp_the_text_has_what_was_done() {
    let done = || Entry::Marker(String::from("sftp: remove /tmp/x"));
    let count = Digest { direction: Direction::Stdin, bytes: 40, sha256: None, last: true };
    let channel = Memory::new(ChannelClass::SftpWrite, false).at(0, done()).at(1, Entry::Digest(count));
    let told = String::from_utf8(export(&channel, Format::Txt)).unwrap();
    assert_eq!(told, "sftp: remove /tmp/x\n[doorward: 40 bytes of standard input were counted, not kept]\n");
    // Elsewhere a marker is no part of what was shown.
    let channel = Memory::new(ChannelClass::Exec, false).at(0, done());
    assert_eq!(export(&channel, Format::Txt), b"");
}

#[test]
fn an_interrupted_recording_says_so_at_its_end() {
    let mut channel = Memory::new(ChannelClass::Shell, true).out(7, b"$ ");
    channel.end = End::Interrupted;
    let marker = json!("recording interrupted");
    assert_eq!(lines(&export(&channel, Format::V3)).last().unwrap()[2], marker);
    assert_eq!(lines(&export(&channel, Format::V2)).last().unwrap()[2], marker);
    assert!(String::from_utf8(export(&channel, Format::Txt)).unwrap().contains("recording interrupted"));
}

#[test]
fn bytes_that_were_not_kept_are_an_error_after_those_that_were() {
    let digest = Digest { direction: Direction::Stdout, bytes: 100, sha256: Some("00".repeat(32)), last: true };
    let channel = Memory::new(ChannelClass::Exec, false).out(0, b"kept\n").at(1, Entry::Digest(digest));
    let mut out = Vec::new();
    let error = write(&channel, Format::Raw(Direction::Stdout), &mut out).unwrap_err();
    assert!(matches!(error, ExportError::NotKept { direction: Direction::Stdout, bytes: 95 }), "{error}");
    assert_eq!(out, b"kept\n");
    assert!(
        String::from_utf8(export(&channel, Format::Txt))
            .unwrap()
            .ends_with("95 bytes of standard output were counted, not kept]\n")
    );
    assert!(export(&channel, Format::Raw(Direction::Stderr)).is_empty());
}

#[test]
fn no_text_form_carries_what_a_terminal_obeys() {
    let bytes = "\u{9b}6n\u{9d}52;c;AAAA\u{9c}\u{202e}\x7f\x1b]0;t\x07\u{e0041}";
    let mut channel =
        Memory::new(ChannelClass::Shell, true).out(0, bytes.as_bytes()).at(1, Entry::Marker(bytes.to_owned()));
    channel.header.title = Some(bytes.to_owned());
    channel.header.command = Some(bytes.to_owned());
    channel.header.term = Some(bytes.to_owned());
    for format in [Format::V3, Format::V2, Format::Txt] {
        let text = String::from_utf8(export(&channel, format)).unwrap();
        assert!(text.chars().all(|c| c == '\n' || shown(c) == c), "{format:?}: {text:?}");
    }
    let v3 = export(&channel, Format::V3);
    let reader = Reader::new(v3.as_slice()).unwrap();
    assert_eq!(reader.header(), &channel.header);
    assert_eq!(joined(reader.map(Result::unwrap)), channel.entries);
}

#[test]
fn segments_are_one_export_and_damage_is_told_at_the_end() {
    let mut channel = shell();
    channel.header.doorward.session = SessionId::parse("01J9ZK4Y8Q0000000000000001").unwrap();
    let store = Store::new();
    let session = channel.header.doorward.session.clone();
    let mut writer = store.channel_of(channel.header.clone());
    for (index, timed) in channel.entries.iter().enumerate() {
        if index == 3 {
            roll(&mut writer);
        }
        keep(&mut writer, timed);
    }
    let archive = Archive { catalog: store.catalog(), identities: vec![store.auditor.clone()], fetched: None };
    let whole = recorded::open(&archive, &session, None).unwrap();
    assert_eq!(whole.length(), Some(Duration::from_millis(2000)));
    let exported = export(&whole, Format::V3);
    assert_eq!(lines(&exported).iter().filter(|line| line.is_object()).count(), 1);
    let reader = Reader::new(exported.as_slice()).unwrap();
    assert_eq!(joined(reader.map(Result::unwrap)), channel.entries);

    let path = store.root.session_directory(&session).unwrap().join("1/000001.seg");
    let mut broken = std::fs::read(&path).unwrap();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    broken.push(1);
    std::fs::File::create(&path).unwrap().write_all(&broken).unwrap();
    let mut out = Vec::new();
    let options = ExportOptions { format: Format::V3, channel: Some(ChannelNumber(1)), redact: None };
    let error = run(&archive, &session, &options, &mut out).unwrap_err();
    assert!(matches!(error, ExportError::Damaged { places: 1, .. }), "{error}");
    // Nothing after a record that was changed can be opened; what stands before it is exported.
    assert_eq!(lines(&out).last().unwrap()[2], "recording interrupted");
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn asciinema_plays_the_v2_export() {
    if Command::new("asciinema").arg("--version").output().is_err() {
        println!("skipped: asciinema is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("export.cast");
    std::fs::File::create(&path).unwrap().write_all(&export(&shell(), Format::V2)).unwrap();
    // It opens /dev/tty, so it gets a terminal of its own.
    let command = format!("asciinema cat {}", path.display());
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("caf\u{e9}"), "{text:?}");
}

/// Entries with output of one moment put together: the writer may split it.
fn joined(entries: impl Iterator<Item = Timed>) -> Vec<Timed> {
    let mut all: Vec<Timed> = Vec::new();
    for timed in entries {
        if let (
            Some(Timed { at, entry: Entry::Output { output, bytes } }),
            Entry::Output { output: other, bytes: more },
        ) = (all.last_mut(), &timed.entry)
            && (*at, *output) == (timed.at, *other)
        {
            *bytes = Bytes::from([&bytes[..], &more[..]].concat());
        } else {
            all.push(timed);
        }
    }
    all
}

#[test]
fn what_is_counted_at_the_end_stands_before_how_the_program_ended() {
    let count = Digest { direction: Direction::Stdin, bytes: 96, sha256: None, last: true };
    let channel = Memory::new(ChannelClass::Shell, true)
        .out(0, b"out")
        .at(10, Entry::Exit(Exit::Status(3)))
        .at(20, Entry::Digest(count));
    let text = String::from_utf8(export(&channel, Format::V3)).unwrap();
    let last: Vec<&str> = text.lines().rev().take(2).collect();
    assert!(last[0].contains(r#""x","3""#) && last[1].contains(r#""d""#), "{text}");
}
