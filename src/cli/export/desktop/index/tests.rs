use bytes::Bytes;

use super::super::png;
use super::*;
use crate::cli::recorded::memory::Memory;
use crate::model::ChannelClass;
use crate::rdp::picture::tests::{Record, bitmap, demand, fast, message};
use crate::store::End;

/// A desktop that changes its colour every minute, for `minutes`.
fn painted(minutes: u8) -> Memory {
    let add = |memory: Memory, (ms, (kind, bytes)): (u64, Record)| {
        memory.at(ms, Entry::Record { kind, bytes: Bytes::from(bytes) })
    };
    let mut records = vec![(1000, message(&demand(64, 48)))];
    for minute in 0..minutes {
        let at = 1500 + u64::from(minute) * 60_000;
        let colour = [minute * 20 + 10, 99, 255 - minute];
        records.extend([0, 16, 32].map(|y| (at, fast(&bitmap(0, y, 64, 16, colour)))));
    }
    records.into_iter().fold(Memory::new(ChannelClass::Desktop, false), add)
}

fn shot(channel: &Memory, at: Option<u64>, index: Option<&Path>) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::new();
    png(channel, at.map(Duration::from_secs), index, &mut out).map(|()| out)
}

#[test]
fn a_picture_by_an_index_is_the_one_without_it_and_the_index_can_be_made_again() {
    let (channel, directory) = (painted(8), tempfile::tempdir().unwrap());
    let path = directory.path().join("session.idx");
    let made = of(&channel, &path).unwrap();
    assert!(made.places.len() >= 7, "{}", made.places.len());
    for at in (1..500).step_by(7) {
        assert_eq!(shot(&channel, Some(at), Some(&path)).unwrap(), shot(&channel, Some(at), None).unwrap(), "{at}");
    }
    assert_eq!(shot(&channel, None, Some(&path)).unwrap(), shot(&channel, None, None).unwrap());
    std::fs::remove_file(&path).unwrap();
    let again = of(&channel, &path).unwrap();
    let moments = |index: &Index| index.places.iter().map(|place| place.at_us).collect::<Vec<_>>();
    assert_eq!(moments(&again), moments(&made));
}

#[test]
fn a_late_moment_is_drawn_from_the_keyframe_before_it() {
    let (channel, directory) = (painted(8), tempfile::tempdir().unwrap());
    let path = directory.path().join("session.idx");
    let mut index = of(&channel, &path).unwrap();
    let (late, early) = (Some(Duration::from_secs(400)), Some(Duration::from_secs(1)));
    assert!(index.keyframe(late).unwrap().at > Duration::from_secs(300));
    assert!(index.keyframe(early).is_none());
    // What was before the keyframe is not looked at: here it is gone.
    let mut cut = painted(8);
    cut.entries.retain(|timed| timed.at > Duration::from_secs(300));
    assert_eq!(shot(&cut, Some(400), Some(&path)).unwrap(), shot(&channel, Some(400), None).unwrap());
}

#[test]
fn an_index_of_another_recording_is_made_anew_and_no_other_file_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.idx");
    let (first, mut second) = (painted(3), painted(5));
    second.header.doorward.channel = crate::model::ChannelNumber(2);
    of(&first, &path).unwrap();
    assert_eq!(shot(&second, None, Some(&path)).unwrap(), shot(&second, None, None).unwrap());
    let whole = std::fs::read(&path).unwrap();
    assert!(of(&second, &path).is_ok());
    assert_eq!(std::fs::read(&path).unwrap(), whole, "read, not made");
    // Altered or cut anywhere behind its first line it never shows another picture.
    for at in (MAGIC.len()..whole.len()).step_by(11) {
        let mut altered = whole.clone();
        altered[at] ^= 0x20;
        crate::durable::replace(&path, &altered, 0o600).unwrap();
        assert_eq!(shot(&second, Some(200), Some(&path)).unwrap(), shot(&second, Some(200), None).unwrap(), "{at}");
        crate::durable::replace(&path, &whole[..at], 0o600).unwrap();
        assert_eq!(shot(&second, Some(200), Some(&path)).unwrap(), shot(&second, Some(200), None).unwrap(), "{at}");
    }
    let other = directory.path().join("letter.txt");
    crate::durable::replace(&other, b"Dear Alice", 0o600).unwrap();
    assert!(matches!(of(&first, &other), Err(ExportError::Index(IndexError::NotAnIndex))));
    assert_eq!(std::fs::read(&other).unwrap(), b"Dear Alice");
}

#[test]
fn it_is_sealed_and_nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let (channel, directory) = (painted(4), tempfile::tempdir().unwrap());
    let path = directory.path().join("session.idx");
    of(&channel, &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(5).any(|part| part == b"at_us"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn a_recording_that_was_not_closed_has_none() {
    let (mut channel, directory) = (painted(2), tempfile::tempdir().unwrap());
    channel.end = End::Open;
    let path = directory.path().join("session.idx");
    assert!(matches!(of(&channel, &path), Err(ExportError::Index(IndexError::NotClosed))));
    assert!(!path.exists());
}
