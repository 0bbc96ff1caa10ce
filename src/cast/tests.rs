use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[test]
fn plain_output_is_legal_asciicast_v3() {
    let lines = write(true, &[(1500, out("hi \u{e9}\r\n")), (1500, out("\u{1b}[1m")), (2001, resize(100, 30))]);
    let mut lines = lines.lines();
    let header: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);
    assert_eq!(header["term"]["cols"], 80);
    assert_eq!(header["doorward"]["user"], "alice");
    let rest: Vec<&str> = lines.collect();
    assert_eq!(rest, [r#"[1.500,"o","hi é\r\n"]"#, r#"[0,"o","\u001b[1m"]"#, r#"[0.501,"r","100x30"]"#]);
}

#[test]
fn a_split_character_is_recorded_at_once_and_shown_when_it_is_whole() {
    let lines = write(true, &[(0, out_bytes(b"a\xc3")), (1, out_bytes(b"\xa9b"))]);
    let events: Vec<&str> = lines.lines().skip(1).collect();
    assert_eq!(
        events,
        [
            r#"[0,"o","a"]"#,
            r#"[0,"o",""]"#,
            r#"[0,"b","ww=="]"#,
            r#"[0.001,"o","é"]"#,
            r#"[0,"b","qQ=="]"#,
            r#"[0,"o","b"]"#
        ]
    );
}

#[test]
fn stderr_is_told_apart_and_its_split_characters_do_not_mix_with_stdout() {
    let entries =
        [(0, out_bytes(b"\xc3")), (0, err_bytes(b"\xe2\x82")), (0, out_bytes(b"\xa9")), (0, err_bytes(b"\xac"))];
    assert_eq!(read(write(false, &entries).as_bytes()), timed(&entries));
}

#[test]
fn what_is_kept_out_cannot_be_typed() {
    let typed = Entry::Input(Bytes::from_static(b"[redacted]"));
    let entries = [(0, typed.clone()), (0, Entry::Redacted), (0, typed), (1, out("x"))];
    let text = write(true, &entries);
    assert_eq!(read(text.as_bytes()), timed(&entries));
    assert_eq!(text.matches(r#","i","[redacted]"]"#).count(), 3);
}

#[test]
fn the_environment_is_that_of_asciicast_v3() {
    let mut header = header(true);
    header.env.insert(String::from("LC_ALL"), String::from("C"));
    let mut text = Vec::new();
    Writer::new(&header, &mut text);
    let line: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(line["env"], serde_json::json!({ "LC_ALL": "C" }));
    assert_eq!(Reader::new(text.as_slice()).unwrap().header(), &header);
}

#[test]
fn zeros_without_a_terminal_are_base64_only() {
    let zeros = vec![0_u8; 1000];
    assert!(write(false, &[(0, out_bytes(&zeros))]).contains(r#"[0,"o",""]"#));
    assert!(write(true, &[(0, out_bytes(&zeros))]).contains(r"\u0000"));
    let latin = b"caf\xe9 au lait, and more of the same text that is readable";
    assert!(write(false, &[(0, out_bytes(latin))]).contains("caf\u{fffd} au lait"));
}

#[test]
fn a_torn_last_line_is_reported_and_costs_only_itself() {
    let whole = write(true, &[(0, out("one")), (1, out("two"))]);
    for cut in whole.len() - 10..whole.len() {
        let torn = &whole.as_bytes()[..cut];
        let mut reader = Reader::new(torn).unwrap();
        let entries: Vec<Timed> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(entries, timed(&[(0, out("one"))]));
        let valid_len = whole.trim_end().rfind('\n').unwrap() + 1;
        assert_eq!(reader.ending(), Ending::Torn { valid_len: u64::try_from(valid_len).unwrap() });
    }
    let mut reader = Reader::new(whole.as_bytes()).unwrap();
    assert_eq!(reader.by_ref().count(), 2);
    assert_eq!(reader.ending(), Ending::Whole);
}

#[test]
fn a_damaged_line_does_not_hide_what_follows() {
    let mut text = write(true, &[(0, out("one"))]);
    let valid_len = u64::try_from(text.len()).unwrap();
    text.push_str("[-1,\"o\",\"x\"]\n[0,\"b\",\"****\"]\n\n# a comment\n[0,\"zz\",\"?\"]\n[1,\"o\",\"two\"]\n");
    let mut reader = Reader::new(text.as_bytes()).unwrap();
    let items: Vec<Result<Timed, ReadError>> = reader.by_ref().collect();
    assert_eq!(items.iter().filter(|item| item.is_err()).count(), 3);
    let entries: Vec<Timed> = items.into_iter().filter_map(Result::ok).collect();
    assert_eq!(entries, timed(&[(0, out("one")), (1000, out("two"))]));
    assert_eq!(reader.valid_len(), valid_len);
}

#[test]
fn a_second_segment_goes_on_where_the_first_stopped() {
    let mut header = header(true);
    let mut text = Vec::new();
    let mut writer = Writer::new(&header, &mut text);
    writer.write(Duration::from_millis(1234), &out_bytes(b"\xc3"), &mut text);
    header.doorward.seg = 1;
    header.doorward.t0 = writer.last_ms();
    let mut second = Vec::new();
    writer.start_segment(&header, &mut second);
    writer.write(Duration::from_millis(1240), &out_bytes(b"\xa9"), &mut second);
    assert_eq!(read(&second), timed(&[(1240, out_bytes(b"\xa9"))]));
}

#[test]
fn headers_that_are_not_ours_are_refused() {
    let good = write(true, &[]);
    for bad in
        ["", "\n", "{}\n", "null\n", "[1]\n", "{\"version\":2}\n", good.trim_end(), &good.replace("alice", "../x")]
    {
        assert!(matches!(Reader::new(bad.as_bytes()), Err(ReadError::Header { .. })), "{bad:?} was taken");
    }
}

proptest! {
    // They are large: a few cases are as many bytes as all the others together.
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn large_entries_read_back_equal(pty: bool, unit in proptest::collection::vec(any::<u8>(), 1..40), text in "\\PC{1,9}") {
        let entries = [(0, out_bytes(&unit.repeat(9000))), (5, out_bytes(text.repeat(30_000).as_bytes()))];
        prop_assert_eq!(read(write(pty, &entries).as_bytes()), timed(&entries));
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back_equal(pty: bool, entries in proptest::collection::vec((0_u64..3000, entry()), 0..30)) {
        let mut at = 0;
        let entries: Vec<(u64, Entry)> = entries.into_iter().map(|(gap, entry)| { at += gap / 1000; (at, entry) }).collect();
        prop_assert_eq!(read(write(pty, &entries).as_bytes()), timed(&entries));
    }

    #[test]
    fn arbitrary_lines_do_not_panic(lines in proptest::collection::vec(line(), 0..30)) {
        let mut text = write(true, &[]).into_bytes();
        text.extend(lines.concat());
        let mut reader = Reader::new(text.as_slice()).unwrap();
        let read = reader.by_ref().count();
        prop_assert!(read <= 2 * lines.len() + 1);
        prop_assert!(reader.valid_len() <= u64::try_from(text.len()).unwrap());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(reader) = Reader::new(bytes.as_slice()) {
            let _ = reader.count();
        }
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        ("[oifbdsxrmz]{1,2}", "\\PC{0,12}", any::<f64>()).prop_map(|(code, data, gap)| (serde_json::json!([
            gap, code, data
        ])
        .to_string()
            + "\n")
            .into_bytes()),
        ("[bo]", proptest::collection::vec(any::<u8>(), 0..9)).prop_map(|(code, data)| {
            use base64::Engine;
            let data = base64::engine::general_purpose::STANDARD.encode(data);
            format!("[0.1,\"{code}\",\"{data}\"]\n").into_bytes()
        }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let pieces = prop_oneof![
        "\\PC{0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..6),
        // Parts of characters, so that splits meet their other halves.
        proptest::sample::select(vec![&b"\xc3"[..], b"\xa9", b"\xf0\x9f", b"\x98\x80", b"\xe2", b"\x82", b"\xac"])
            .prop_map(<[u8]>::to_vec),
    ];
    let bytes = proptest::collection::vec(pieces, 0..4).prop_map(|pieces| Bytes::from(pieces.concat()));
    prop_oneof![
        4 => bytes.clone().prop_map(|bytes| Entry::Output { output: Output::Stdout, bytes }),
        2 => bytes.clone().prop_map(|bytes| Entry::Output { output: Output::Stderr, bytes }),
        2 => bytes.prop_map(Entry::Input),
        1 => Just(Entry::Redacted),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(cols, rows)| Entry::Resize { cols, rows }),
        1 => "\\PC{0,20}".prop_map(Entry::Marker),
        1 => any::<u64>().prop_map(|bytes| Entry::Digest(Digest {
            direction: Direction::Stdin,
            bytes,
            sha256: (bytes % 3 == 0).then(|| String::from("00ff")),
            last: bytes % 2 == 0,
        })),
        1 => any::<u32>().prop_map(|status| Entry::Exit(Exit::Status(status))),
        1 => ("[A-Z]{1,6}", any::<bool>(), "\\PC{0,9}").prop_map(|(name, core_dumped, message)| {
            Entry::Exit(Exit::Signal { name, core_dumped, message })
        }),
    ]
}

fn write(pty: bool, entries: &[(u64, Entry)]) -> String {
    let mut out = Vec::new();
    let mut writer = Writer::new(&header(pty), &mut out);
    for (ms, entry) in entries {
        writer.write(Duration::from_millis(*ms), entry, &mut out);
    }
    String::from_utf8(out).unwrap()
}

fn read(bytes: &[u8]) -> Vec<Timed> {
    joined(Reader::new(bytes).unwrap().map(Result::unwrap))
}

fn timed(entries: &[(u64, Entry)]) -> Vec<Timed> {
    joined(entries.iter().map(|(ms, entry)| Timed { at: Duration::from_millis(*ms), entry: entry.clone() }))
}

/// Bytes that follow each other in one direction at one time are one entry: where they are split says nothing.
fn joined(entries: impl Iterator<Item = Timed>) -> Vec<Timed> {
    let mut all: Vec<Timed> = Vec::new();
    for timed in entries.filter(|timed| timed.entry.bytes().is_none_or(|(_, len)| len > 0)) {
        if let Some(last) = all.last_mut()
            && last.at == timed.at
            && let (Some((before, _)), Some((direction, _))) = (last.entry.bytes(), timed.entry.bytes())
            && before == direction
            && let (
                Entry::Output { bytes: old, .. } | Entry::Input(old),
                Entry::Output { bytes: new, .. } | Entry::Input(new),
            ) = (&mut last.entry, &timed.entry)
        {
            *old = [old.as_ref(), new.as_ref()].concat().into();
        } else {
            all.push(timed);
        }
    }
    all
}

fn out(text: &str) -> Entry {
    out_bytes(text.as_bytes())
}

fn out_bytes(bytes: &[u8]) -> Entry {
    Entry::Output { output: Output::Stdout, bytes: Bytes::copy_from_slice(bytes) }
}

fn err_bytes(bytes: &[u8]) -> Entry {
    Entry::Output { output: Output::Stderr, bytes: Bytes::copy_from_slice(bytes) }
}

fn resize(cols: u32, rows: u32) -> Entry {
    Entry::Resize { cols, rows }
}

/// A header as the tests of the recording modules use it.
pub(crate) fn header(pty: bool) -> Header {
    Header {
        cols: 80,
        rows: 24,
        term: Some(String::from("xterm")),
        timestamp: 1_795_000_000,
        title: None,
        command: None,
        env: BTreeMap::new(),
        doorward: Facts {
            session: SessionId::parse("01J9ZK4Y8Q0000000000000001").unwrap(),
            user: UserName::parse("alice").unwrap(),
            account: AccountName::parse("root").unwrap(),
            target: TargetName::parse("db1").unwrap(),
            grant: None,
            reason: Some(String::from("CHG-123")),
            policy: String::from("00"),
            rule: RuleId::parse("dba").unwrap(),
            source: String::from("127.0.0.1:5000"),
            channel: ChannelNumber(1),
            class: Some(ChannelClass::Shell),
            pty,
            forward: None,
            command_base64: None,
            modes: Vec::new(),
            withheld: None,
            scrubbed: 0,
            seg: 0,
            t0: 0,
        },
    }
}
