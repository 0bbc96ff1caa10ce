use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::cast::Entry;
use crate::cli::recorded::memory::Memory;
use crate::model::{ChannelClass, Exit};

/// What the player checks of a segmented recording, and what is seen at its end: the segments and the last screen.
fn played(channel: &dyn RecordedChannel) -> (Value, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    write(channel, folder.path()).unwrap();
    let read =
        |name: &str| -> Value { serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap() };
    let index = read(INDEX);
    let listed = index["segments"].as_array().unwrap();
    let segments: Vec<Value> = listed.iter().map(|one| read(one["url"].as_str().unwrap())).collect();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), segments.len() + 1);
    let duration = index["duration"].as_f64().unwrap();
    let start = |number: usize| listed.get(number).map_or(f64::INFINITY, |one| one["start"].as_f64().unwrap());
    assert!(start(0) == 0.0 && listed.iter().skip(1).all(|one| one["start"].as_f64().unwrap() < duration), "{index}");
    for (number, segment) in segments.iter().enumerate() {
        let times: Vec<f64> =
            segment["events"].as_array().unwrap().iter().map(|event| event[0].as_f64().unwrap()).collect();
        assert!(
            times.is_sorted() && times.iter().all(|at| *at >= start(number) && *at < start(number + 1)),
            "{times:?}"
        );
        assert!(number == 0 || times[0] == start(number), "{number}: {times:?}");
        assert!(segment["snapshot"]["init"].is_string());
    }
    let last = segments.last().unwrap()["events"].as_array().unwrap().last().unwrap()[0].clone();
    assert_eq!(last, index["duration"]);
    (index, segments)
}

/// What a terminal shows that begins with a segment.
fn screen_of(segment: &Value) -> Screen {
    let number = |name: &str| u32::try_from(segment["snapshot"][name].as_u64().unwrap()).unwrap();
    let mut screen = Screen::new(Size::bounded(number("cols"), number("rows")));
    screen.feed(segment["snapshot"]["init"].as_str().unwrap().as_bytes());
    screen
}

#[test]
fn each_segment_begins_with_the_screen_that_those_before_it_have_drawn() {
    let mut channel = Memory::new(ChannelClass::Shell, true);
    let mut whole = Screen::new(Size { cols: 80, rows: 24 });
    let mut seen = Vec::new();
    for second in 0..200_u64 {
        if second % 60 == 0 {
            seen.push(whole.text());
        }
        if second == 70 {
            channel = channel.at(second * 1000, Entry::Resize { cols: 60, rows: 20 });
            whole.resize(Size { cols: 60, rows: 20 });
        }
        let line = format!("\x1b[1mline\x1b[0m {second}\r\n\x1b[3;7Hhere {second}\x1b[{};1H", second % 20 + 1);
        whole.feed(line.as_bytes());
        channel = channel.out(second * 1000, line.as_bytes());
    }
    let channel = channel.at(200_000, Entry::Marker(String::from("mark"))).at(200_500, Entry::Exit(Exit::Status(0)));
    let (index, segments) = played(&channel);
    assert_eq!(segments.len(), 4);
    let begun: Vec<_> = segments.iter().map(|segment| screen_of(segment).text()).collect();
    assert_eq!(begun, seen);
    assert_eq!((&segments[2]["snapshot"]["cols"], &segments[2]["snapshot"]["rows"]), (&json!(60), &json!(20)));
    assert_eq!(index["markers"], json!([[200.0, "mark"], [200.5, "exit 0"]]));
    assert_eq!(index["term"], json!({ "cols": 80, "rows": 24 }));
    assert_eq!(index["doorward"]["session"], "01J9ZZZZZZZZZZZZZZZZZZZZZZ");
}

#[test]
fn no_segment_begins_within_a_sequence_or_between_events_of_one_moment() {
    // The sequence that moves to column 9 is begun before the minute is over, and ended after it.
    let channel = Memory::new(ChannelClass::Shell, true)
        .out(0, b"a")
        .out(61_000, b"b\x1b[")
        .out(62_000, b"9Gc")
        .out(62_000, b"d")
        .out(123_000, b"e");
    let (index, segments) = played(&channel);
    let starts: Vec<_> =
        index["segments"].as_array().unwrap().iter().map(|one| one["start"].as_f64().unwrap()).collect();
    // That of 61 s begins before its own event, so that its sequence is whole in it; 62 s is no time for another.
    assert_eq!(starts, [0.0, 61.0, 123.0]);
    assert_eq!(screen_of(&segments[2]).text()[0], "ab      cd");

    let split = Memory::new(ChannelClass::Shell, true).out(0, b"a\x1b[").out(61_000, b"9Gc").out(62_000, b"d");
    let (index, segments) = played(&split);
    assert_eq!(index["segments"][1]["start"], 62.0, "{index}");
    assert_eq!(screen_of(&segments[1]).text()[0], "a       c");
}

#[test]
fn much_text_is_cut_within_a_minute_and_an_empty_recording_has_one_segment() {
    let mut channel = Memory::new(ChannelClass::Exec, false);
    for at in 0..40_u64 {
        channel.entries.push(crate::cast::Timed {
            at: Duration::from_millis(at),
            entry: Entry::Output { output: crate::model::Output::Stdout, bytes: Bytes::from(vec![b'x'; 32 * 1024]) },
        });
    }
    let (index, segments) = played(&channel);
    assert!((4..=6).contains(&segments.len()), "{index}");

    // There is nothing but its end.
    let (index, segments) = played(&Memory::new(ChannelClass::Exec, false));
    assert_eq!((segments.len(), &index["duration"]), (1, &json!(0.0)));
    assert_eq!(segments[0]["events"], json!([[0.0, "m", "session ended: client-left"]]));
}

#[test]
fn a_last_segment_of_one_moment_ends_a_millisecond_after_it() {
    let channel = Memory::new(ChannelClass::Shell, true).out(0, b"a").out(60_000, b"b").out(60_000, b"c");
    let (index, segments) = played(&channel);
    assert_eq!((segments.len(), &index["duration"]), (2, &json!(60.001)));
}

#[test]
fn what_a_target_prints_ends_no_string_and_no_file() {
    let forged = b"\"]]}\n{\"version\":1}\x1b]52;c;AAAA\x07\xff\xe2\x80\xae";
    let channel = Memory::new(ChannelClass::Shell, true).out(0, forged).out(70_000, b"x");
    let (_, segments) = played(&channel);
    assert_eq!(segments[0]["events"][0][2].as_str().unwrap(), String::from_utf8_lossy(forged));
    assert_eq!(segments.len(), 2);
}
