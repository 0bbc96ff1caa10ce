use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::cli::export::{Format, write};
use crate::cli::recorded::memory::Memory;
use crate::model::{ChannelClass, Exit};

fn patterns(text: &str) -> Patterns {
    Patterns::parse(text).unwrap()
}

fn exported(channel: &Memory, format: Format, text: &str) -> String {
    let (patterns, mut out) = (patterns(text), Vec::new());
    write(&Redacted::new(channel, &patterns), format, &mut out).unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_secret_that_was_typed_piece_by_piece_coloured_or_put_in_a_title_is_in_no_form_of_an_export() {
    let mut channel = Memory::new(ChannelClass::Shell, true);
    for (ms, piece) in (0..).zip([&b"token=ab"[..], b"c\x1b[1mde", b"f\x1b[0m\xff\r\n", b"\x1b]0;token=zzone\x07$ "]) {
        channel = channel.out(ms, piece);
    }
    let mut channel = channel
        .err(10, b"token=zztwo\n")
        .at(11, Entry::Input(Bytes::from_static(b"token=")))
        .at(12, Entry::Input(Bytes::from_static(b"zzthree\r")))
        .at(13, Entry::Marker(String::from("sftp: put token=zzfour")))
        .at(14, Entry::Exit(Exit::Status(0)));
    channel.header.command = Some(String::from("login --token=zzfive"));
    channel.header.doorward.command_base64 = Some(String::from("bG9naW4gLS10b2tlbj1hcmd2"));
    channel.header.env.insert(String::from("LC_X"), String::from("token=zzsix"));
    channel.header.doorward.reason = Some(String::from("token=zzseven"));
    let rules = "# secrets\ntoken=[a-z]+\n";
    for format in [Format::V3, Format::V2, Format::Txt, Format::Raw(Direction::Stdout)] {
        let out = exported(&channel, format, rules);
        for secret in ["token=", "zz", "bG9n"] {
            assert!(!out.contains(secret), "{secret:?} is in {format:?}: {out}");
        }
        assert!(out.contains("[redacted]"), "{format:?}: {out}");
    }
    // What is around it stays, and one match is one word.
    let raw = Format::Raw(Direction::Stdout);
    let mut out = Vec::new();
    let patterns = patterns(rules);
    write(&Redacted::new(&channel, &patterns), raw, &mut out).unwrap();
    assert_eq!(out, b"[redacted]\x1b[1m\x1b[0m\xff\r\n\x1b]0;[redacted]\x07$ ");
    assert!(exported(&channel, Format::V3, rules).contains("4 places of this channel left out"));
    // Without patterns that match nothing is changed but for the line that says so.
    let same = exported(&channel, Format::V3, "no such text");
    assert!(same.contains("0 places") && same.contains("token=zzone") && same.contains("bG9n"), "{same}");
}

#[test]
fn a_file_of_patterns_that_says_nothing_or_everything_is_refused() {
    for (text, said) in [("", "no pattern"), ("# x\n\n", "no pattern"), ("a\n(\n", "line 2"), ("x*", "everywhere")] {
        let why = Patterns::parse(text).unwrap_err();
        assert!(why.contains(said), "{text:?}: {why}");
    }
}

proptest! {
    #[test]
    fn however_the_text_is_cut_into_events_the_same_is_left_out(
        text in "[ab\u{e9}]{0,40}", cuts in proptest::collection::vec(0_usize..80, 0..6), pattern in "[ab]{1,3}"
    ) {
        let whole = Memory::new(ChannelClass::Exec, false).out(0, text.as_bytes());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut pieces = Memory::new(ChannelClass::Exec, false);
        for cut in cuts.windows(2) {
            pieces = pieces.out(0, &text.as_bytes()[cut[0]..cut[1]]);
        }
        let raw = Format::Raw(Direction::Stdout);
        let left = exported(&whole, raw, &pattern);
        prop_assert_eq!(&left, &text.replace(&pattern, REDACTED));
        prop_assert_eq!(exported(&pieces, raw, &pattern), left);
    }
}
