//! Parsers of what hostile hands may have written: no panic, and what they promise of every input.
//!
//! Each target is a plain function over bytes. It runs for 10 seconds on mutations of good inputs, or for
//! `FUZZ_SECONDS` (`make fuzz`). An input that failed is printed in hex; it becomes a test of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use doorward::admin::import;
use doorward::admin::inventory::Inventory;
use doorward::auditor::{Identity, Recipient};
use doorward::cast::{Entry, Reader, Timed, Writer};
use doorward::config::Config;
use doorward::gate::canonical::{Argument, CanonicalCommand, CanonicalPipeline, Patterns, Then, write};
use doorward::gate::shell::parse_bytes;
use doorward::log::Reader as LogReader;
use doorward::model::transfer::{Scp, Transfer, Way};
use doorward::model::{ChannelNumber, Login, Output};
use doorward::policy::{PolicyFile, PolicySet, decode_archive, encode_archive};
use doorward::rdp::active::{confirm, demanded};
use doorward::rdp::channel::{CHANNELS_MAX, Channels};
use doorward::rdp::connect::{Joining, Wanted, attach, attached, given, join, join_confirmed, join_request};
use doorward::rdp::control::{FromProcess, Security, ToProcess};
use doorward::rdp::fact::{Fact, Side as End};
use doorward::rdp::info::Info;
use doorward::rdp::licence::Licences;
use doorward::rdp::nego::{Asked, Chosen, TargetPolicy};
use doorward::rdp::pdu::{Way as PduWay, credssp_extent, extent, mcs, send_data};
use doorward::rdp::picture::{Picture, Pointer};
use doorward::rdp::record::{Kind as RecordKind, Reader as RecordReader, Record, write as write_record};
use doorward::rdp::rules::{Clip, DesktopRules};
use doorward::rdp::share::{Drawn, Keys, from_target, from_user};
use doorward::rdp::story::Story;
use doorward::rsync::{Lister, Side as Speaker};
use doorward::scp::{Gate, Side, Step};
use doorward::screen::{Painter, Plain, Screen, Size};
use doorward::seal::{
    ContextPool, Dek, EndReason, Item, Opener, Recipients, Scanner, Sealer, SessionKeys, Source, Stream, check_form,
    scan,
};
use doorward::tlog::{AddCheckpoint, Bundle, Checkpoint, EntryProof, Note, Tile, VerifyingKey, decode_tile};
use ironrdp_pdu::gcc::{
    ChannelDef, ChannelName, ChannelOptions, ClientCoreData, ClientCoreOptionalData, ClientGccBlocks,
    ClientNetworkData, ClientSecurityData, ColorDepth, KeyboardType, RdpVersion, SecureAccessSequence,
};
use ironrdp_pdu::mcs::ConnectInitial;
use ironrdp_pdu::x224::{X224, X224Data};

use crate::verify::store::{Store, log_key};

#[test]
fn no_recording_makes_the_reader_panic() {
    fuzz(CASTS, |bytes| {
        let Ok(mut reader) = Reader::new(bytes) else { return };
        let header = reader.header().clone();
        let read: Vec<_> = reader.by_ref().map_while(Result::ok).collect();
        assert!(reader.valid_len() <= bytes.len() as u64);
        // What was read is written and read back equal.
        let mut again = Vec::new();
        let mut writer = Writer::new(&header, &mut again);
        for event in &read {
            writer.write(event.at, &event.entry, &mut again);
        }
        let reread: Vec<_> = Reader::new(again.as_slice()).unwrap().map(Result::unwrap).collect();
        assert_eq!(joined(reread), joined(read));
    });
}

/// The entries; output that came in pieces as one.
fn joined(events: Vec<Timed>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for event in events {
        match (all.last_mut(), event.entry) {
            (Some(Entry::Output { output, bytes }), Entry::Output { output: same, bytes: more }) if *output == same => {
                *bytes = [bytes.as_ref(), more.as_ref()].concat().into();
            }
            (Some(Entry::Input(bytes)), Entry::Input(more)) => *bytes = [bytes.as_ref(), more.as_ref()].concat().into(),
            (_, entry) => all.push(entry),
        }
    }
    all
}

#[test]
fn no_output_steers_the_auditors_terminal() {
    fuzz(SCREENS, |bytes| {
        let mut screen = Screen::new(Size::bounded(80, 24));
        let mut painter = Painter::new(Size::bounded(100, 30));
        let mut plain = Plain::default();
        let (mut shown, mut text) = (String::new(), String::new());
        for piece in bytes.chunks(7) {
            screen.feed(piece);
            plain.push(Output::Stdout, piece, &mut text);
        }
        painter.paint(&screen, "status", &mut shown);
        plain.finish(&mut text);
        let lines = screen.text().concat();
        // Our own painter writes CSI sequences of colour and position; nothing of the recording adds any other.
        for (at, _) in shown.match_indices('\u{1b}') {
            let rest = shown[at + 1..].strip_prefix('[').expect("only CSI");
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | ';' | ':' | '?')).expect("a final byte");
            assert!(
                matches!(rest.as_bytes()[end], b'm' | b'H' | b'G' | b'K' | b'J' | b'h' | b'l'),
                "{:?}",
                &rest[..=end]
            );
        }
        let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        assert!(!lines.contains(steers) && !text.contains(steers), "{lines:?} {text:?}");
    });
}

#[test]
fn no_policy_makes_the_parser_panic() {
    fuzz(
        &[
            include_bytes!("../../policies/access/administrators.toml"),
            include_bytes!("../../policies/access/backups.toml"),
        ],
        |bytes| {
            let file = PolicyFile { path: "fuzz.toml".into(), text: String::from_utf8_lossy(bytes).into_owned() };
            if let Ok(set) = PolicySet::parse(std::slice::from_ref(&file)) {
                assert_eq!(PolicySet::parse(&[file]).unwrap().hash(), set.hash());
            }
        },
    );
}

#[test]
fn no_command_line_makes_the_gate_panic() {
    fuzz(LINES, |bytes| {
        let script = match parse_bytes(bytes) {
            Ok(script) => script,
            Err(refusal) => return assert!(refusal.at <= bytes.len(), "{refusal:?}"),
        };
        let line = std::str::from_utf8(bytes).unwrap();
        let mut arguments = Vec::new();
        script.each_word(&mut |word| {
            assert!(line.get(word.at.clone()).is_some(), "{word:?}");
            assert!(word.literal().is_none() || word.likely() == word.literal().map(|text| text.into_owned()));
            assert!(!word.to_string().contains(char::is_control), "{word}");
            if let Some((name, value)) = word.split_at_equals() {
                assert_eq!(word.strip_prefix(&format!("{name}=")), Some(value));
            }
            arguments.extend(Argument::of(word, Patterns::Refused));
        });
        // What is literal is written, and read back the same.
        let command = CanonicalCommand::new("/x", arguments.clone()).unwrap();
        let text = write(&[CanonicalPipeline::new(command, Vec::new(), Then::Sequence).unwrap()]);
        if let Ok(script) = parse_bytes(text.as_bytes()) {
            let mut again = Vec::new();
            script.each_word(&mut |word| again.push(Argument::of(word, Patterns::Refused).unwrap()));
            assert_eq!(again[1..], arguments);
        }
    });
}

#[test]
fn a_login_name_that_parses_prints_as_itself() {
    fuzz(&[b"root@db1", b"alice+root@db1", b"alice", b"a+b@c@d", b"x\xc2\xa0+y@z#1"], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(login) = Login::parse(&text) {
            assert_eq!(login.to_string(), text);
            assert_eq!(Login::parse(&login.to_string()).unwrap(), login);
        }
    });
}

#[test]
fn no_file_of_an_operator_makes_its_parser_panic() {
    fuzz(FILES, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        import::known_hosts(&text);
        import::csv(&text);
        import::ansible(&text);
        import::authorized_keys(&text, None, &std::collections::BTreeSet::new());
        let _ = Inventory::parse("fuzz.toml", &text);
        let _ = Config::parse(std::path::Path::new("/fuzz/doorward.toml"), &text);
    });
}

#[test]
fn no_segment_makes_the_scanner_or_the_opener_panic() {
    let dek = Dek::from_bytes(&[7; 32]);
    let batches: Vec<Vec<u8>> = (0..6).map(|n| format!("[0.1,\"o\",\"batch {n}\"]\n").repeat(n + 1).into()).collect();
    let (pool, mut segment) = (ContextPool::new(1), Vec::new());
    let source = Source { stream: Stream::Cast3, session: [1; 16], recipients_digest: [2; 8] };
    let keys = SessionKeys::new(&dek).unwrap().channel(ChannelNumber(1)).unwrap();
    let mut sealer = Sealer::start(source, keys, 0, pool, &mut segment).unwrap();
    for batch in &batches {
        sealer.record(batch, &mut segment).unwrap();
    }
    sealer.end(EndReason::Closed, &mut segment).unwrap();
    let plain = batches.concat();
    fuzz(&[&segment], |bytes| {
        let whole = scan(bytes);
        assert!(whole.valid_len <= bytes.len() as u64);
        // However it comes in pieces, the scanner says the same; what opens is a beginning of what was sealed.
        let (mut scanner, mut opener, mut open, mut out) = (Scanner::new(), Opener::new(dek.clone()), None, Vec::new());
        let mut good = true;
        for mut piece in bytes.chunks(37) {
            while good {
                match scanner.read(&mut piece) {
                    Ok(Some(Item::Header(header))) => open = opener.segment(&header).ok(),
                    Ok(Some(Item::Record(record))) => {
                        if open.as_mut().is_some_and(|open| open.record(&record, &mut out).is_err()) {
                            open = None;
                        }
                    }
                    Ok(None) => break,
                    Err(_) => good = false,
                }
            }
        }
        assert_eq!((scanner.valid_len(), scanner.head()), (whole.valid_len, whole.head));
        assert!(plain.starts_with(&out), "{}", out.escape_ascii());
    });
}

#[test]
fn no_envelope_makes_its_opener_panic() {
    let (mine, other) = (Identity::generate(), Identity::generate());
    let (dek, foreign) = (Dek::from_bytes(&[7; 32]), Dek::from_bytes(&[8; 32]));
    let wrap = |who: &[&Identity], dek: &Dek| {
        Recipients::of(who.iter().map(|identity| identity.recipient())).unwrap().wrap(dek).unwrap()
    };
    let seeds = [wrap(&[&mine], &dek), wrap(&[&mine, &other], &dek), wrap(&[&other], &foreign)];
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    fuzz(&seeds, |bytes| {
        // It is bound as a whole: what opens is what was wrapped.
        if let Ok(opened) = Dek::from_envelope(bytes, std::slice::from_ref(&mine)) {
            assert_eq!(opened.expose(), dek.expose());
        }
    });
}

#[test]
fn no_file_of_a_log_makes_its_parser_panic() {
    let store = Store::with_session(&["one\r\n"]).0;
    let log = LogReader::open(&store.path().join("log"));
    let note = store.note();
    let size = store.entries().len() as u64;
    let mut bundle = Vec::new();
    store.entries().iter().for_each(|entry| Bundle::encode_entry(entry, &mut bundle).unwrap());
    let (proof, journal) = (log.proof(1, &note).unwrap(), store.path().join("log/leaves.wal"));
    let request = format!("old 0\n\n{note}");
    let (note, key) = (note.to_string(), log_key().public().to_string());
    let tile = Tile::of_tree(0, 0, size).unwrap();
    let hashes = std::fs::read(store.path().join("log").join(tile.path())).unwrap();
    let wal = std::fs::read(&journal).unwrap();
    let seeds =
        [note.as_bytes(), key.as_bytes(), &bundle, proof.to_string().as_bytes(), request.as_bytes(), &hashes, &wal]
            .map(<[u8]>::to_vec);
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    fuzz(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(note) = Note::parse(bytes) {
            assert_eq!(Note::parse(note.to_string().as_bytes()).unwrap().to_string(), note.to_string());
            let _ = Checkpoint::parse(note.unchecked_text());
        }
        if let Ok(key) = VerifyingKey::parse(&text) {
            assert_eq!(VerifyingKey::parse(&key.to_string()).unwrap(), key);
        }
        let _ = EntryProof::parse(bytes);
        let _ = AddCheckpoint::parse(bytes);
        let _ = decode_tile(&tile, bytes);
        if let Ok(bundle) = Bundle::decode(&tile, bytes) {
            assert_eq!(bundle.entries().len(), usize::from(tile.width()));
        }
        std::fs::write(&journal, bytes).unwrap();
        let _ = log.journal();
    });
}

#[test]
fn no_leaf_makes_the_verifier_panic() {
    // Whoever has the log's key can sign any leaf.
    let store = Store::with_session(&["one\r\n", "two\r\n"]).0;
    let good = store.entries().join(&b'\n');
    fuzz(&[&good], |bytes| {
        let entries: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        store.forge_log(&entries);
        let report = store.verify();
        assert!(report.exit_code() != 0 || report.log.size == entries.len() as u64);
    });
}

#[test]
fn a_command_line_that_is_a_transfer_is_one_however_often_it_is_written_anew() {
    let seeds: &[&[u8]] = &[
        b"scp -r -p -d -t -- '-a b'",
        b"/usr/bin/scp -qf \"x\\\\y\" 'it'\\''s' \\*",
        b"rsync --server -vlogDtpre.iLsfxCIvu --delete --log-format=%i --suffix=.x . '/tmp/a b'",
        b"rsync --server --sender -lHogDtpAXrze31.1.LsfxCIvu -B700 -@-1 --iconv=UTF-8 . a b",
        b"scp -t x; id",
    ];
    fuzz(seeds, |bytes| {
        if let Some(transfer) = Transfer::parse(bytes) {
            assert_eq!(Transfer::parse(&transfer.line()).as_ref(), Some(&transfer));
            let line = String::from_utf8(transfer.line()).unwrap();
            assert!(!line.contains(char::is_control) && !transfer.paths().is_empty(), "{line}");
        }
    });
}

#[test]
fn no_side_of_scp_makes_the_gate_panic() {
    let sends = b"T1 0 1 0\nD0755 0 d\nC0644 5 a\nhello\0\x01scp: gone\nC0600 0 b\n\0E\n";
    let answers = b"\0\0\0\0\0\x01scp: no\n\0\0\x02over\n";
    fuzz(&[sends, answers], |bytes| {
        for (way, sender, answerer) in
            [(Way::ToTarget, Side::User, Side::Target), (Way::FromTarget, Side::Target, Side::User)]
        {
            let options = Scp { recursive: true, into_directory: false };
            let mut gate = Gate::new(way, options, &["/x".to_owned()]);
            let (mut left, mut answers) = (bytes, &answers[..]);
            loop {
                let (side, of) = match gate.step(sender, left) {
                    Ok(Step::Wait) => (answerer, &mut answers),
                    Ok(Step::Pass { bytes, .. }) => {
                        left = &left[bytes..];
                        continue;
                    }
                    Ok(Step::More) | Err(_) => break,
                };
                let Ok(Step::Pass { bytes, notes }) = gate.step(side, of) else { break };
                assert!(notes.iter().all(|note| !note.text.contains(char::is_control)), "{notes:?}");
                *of = &of[bytes..];
            }
            gate.finish();
        }
    });
}

#[test]
fn no_side_of_rsync_makes_the_reader_of_its_list_panic() {
    /// What real programs said: the line, to the target, from it.
    const SAID: &[(&str, &[u8], &[u8])] = &[
        (
            include_str!("../../src/rsync/tests/put-again.line"),
            include_bytes!("../../src/rsync/tests/put-again.up"),
            include_bytes!("../../src/rsync/tests/put-again.down"),
        ),
        (
            include_str!("../../src/rsync/tests/get-noinc.line"),
            include_bytes!("../../src/rsync/tests/get-noinc.up"),
            include_bytes!("../../src/rsync/tests/get-noinc.down"),
        ),
        (
            include_str!("../../src/rsync/tests/put-30.line"),
            include_bytes!("../../src/rsync/tests/put-30.up"),
            include_bytes!("../../src/rsync/tests/put-30.down"),
        ),
    ];
    let seeds: Vec<&[u8]> = SAID.iter().flat_map(|(_, up, down)| [*up, *down]).collect();
    fuzz(&seeds, |bytes| {
        for (line, up, down) in SAID {
            let transfer = Transfer::parse(line.trim_end().as_bytes()).unwrap();
            for (up, down) in [(bytes, *down), (*up, bytes)] {
                let read = |pieces: usize| {
                    let mut lister = Lister::new(&transfer).unwrap();
                    let mut found = Vec::new();
                    up.chunks(pieces).for_each(|piece| found.extend(lister.take(Speaker::User, piece)));
                    down.chunks(pieces).for_each(|piece| found.extend(lister.take(Speaker::Target, piece)));
                    (found, lister.is_whole())
                };
                assert_eq!(read(7), read(usize::MAX));
            }
        }
    });
}

const CASTS: &[&[u8]] = &[CAST];

#[test]
fn no_record_of_a_desktop_makes_its_readers_panic() {
    let mut seed = Vec::new();
    // A Demand Active for 16x8 pixels, and a picture of four of them.
    let bitmap = [2_u16, 28, 24, 1, 1, 1, 16, 8, 0, 1, 1, 0, 1, 0].map(u16::to_le_bytes).concat();
    let demand = [&[50, 0, 0x11, 0, 0xea, 3, 7, 0, 0, 0, 4, 0, 32, 0][..], b"RDP\0", &[1, 0, 0, 0], &bitmap].concat();
    let frame = send_data(PduWay::Indication, 1004, 1003, &demand).unwrap();
    let pixels = [1_u16, 1, 0, 0, 1, 1, 2, 2, 24, 0, 12].map(u16::to_le_bytes).concat();
    let drawn = [&[0, 39, 1, 34, 0][..], &pixels, &[7; 12]].concat();
    let list = [2_u16, 0, 6, 0, 13, 0, 0].map(u16::to_le_bytes).concat();
    let chunk = [&[14, 0, 0, 0, 3, 0, 0, 0][..], &list].concat();
    let fact = Fact::Session { width: 16, height: 8, keyboard_layout: 0x407, client_name: String::new(), keys: true };
    for (kind, bytes) in [
        (RecordKind::Event, fact.to_json()),
        (RecordKind::IoOutput, frame),
        (RecordKind::FastPathOutput, drawn),
        (RecordKind::FastPathInput, vec![4, 4, 0, 0x1E]),
        (RecordKind::ChannelIn, chunk),
    ] {
        write_record(Duration::ZERO, kind, &bytes, &mut seed).unwrap();
    }
    let clips =
        DesktopRules { clipboard_in: Clip::All, clipboard_out: Clip::Text, drives: true, ..DesktopRules::default() };
    fuzz(&[&seed], |bytes| {
        let (mut reader, mut picture, mut story) =
            (RecordReader::default(), Picture::new(Pointer::Drawn), Story::default());
        let mut channels = Channels::new(&["cliprdr", "rdpdr", "drdynvc"].map(String::from), &clips);
        for piece in bytes.chunks(11) {
            reader.push(piece);
            while let Some(record) = reader.next_record() {
                let Ok(Record { at, kind, bytes }) = record else { continue };
                // A giant picture takes its time, and is tested elsewhere.
                if Picture::sized_by(kind, &bytes).is_none_or(|(width, height)| width < 100 && height < 100) {
                    picture.take(kind, &bytes);
                }
                story.take(at, kind, &bytes);
                for (place, from) in [(0, End::User), (1, End::Target), (2, End::Target)] {
                    let _ = channels.take(place, from, &bytes);
                }
            }
        }
        let size = picture.size().map_or(0, |(width, height)| usize::from(width) * usize::from(height) * 4);
        assert_eq!(picture.rgba().len(), size);
    });
}

/// What a program of a user's says of itself (MS-RDPBCGR section 2.2.1.3), with two channels.
fn conference() -> Vec<u8> {
    let core = ClientCoreData {
        version: RdpVersion::V10_7,
        desktop_width: 800,
        desktop_height: 600,
        color_depth: ColorDepth::Bpp8,
        sec_access_sequence: SecureAccessSequence::Del,
        keyboard_layout: 0x407,
        client_build: 1,
        client_name: String::from("laptop"),
        keyboard_type: KeyboardType::IBM_ENHANCED,
        keyboard_subtype: 0,
        keyboard_functional_keys_count: 12,
        ime_file_name: String::new(),
        optional_data: ClientCoreOptionalData::default(),
    };
    let channel =
        |name| ChannelDef { name: ChannelName::from_utf8(name).unwrap(), options: ChannelOptions::INITIALIZED };
    let blocks = ClientGccBlocks {
        core,
        security: ClientSecurityData::no_security(),
        network: Some(ClientNetworkData { channels: ["rdpdr", "cliprdr"].map(channel).to_vec() }),
        cluster: None,
        monitor: None,
        message_channel: None,
        multi_transport_channel: None,
        monitor_extended: None,
    };
    let data = ironrdp_core::encode_vec(&ConnectInitial::with_gcc_blocks(blocks).unwrap()).unwrap();
    ironrdp_core::encode_vec(&X224(X224Data { data: data.into() })).unwrap()
}

#[test]
fn no_handshake_of_a_desktop_makes_its_filters_panic() {
    let seeds = [
        TargetPolicy::TlsWillDo.request(),
        conference(),
        attach().unwrap(),
        join_request(1007, 1003).unwrap(),
        vec![3, 0, 0, 0x13, 0x0e, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 2, 0, 0, 0],
        send_data(PduWay::Request, 1007, 1003, &[0x40, 0, 0, 0, 9, 4, 0, 0, 0x51, 0, 0, 0]).unwrap(),
        // Share Data: synchronize of a user; an update of a target; CredSSP's first message.
        vec![22, 0, 0x17, 0, 0xef, 3, 0xea, 3, 1, 0, 0, 1, 0, 0, 31, 0, 0, 0, 1, 0, 0xea, 3],
        vec![22, 0, 0x17, 0, 0xea, 3, 0xea, 3, 1, 0, 0, 1, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
        vec![0x30, 0x0b, 0xa0, 3, 2, 1, 6, 0xa1, 4, 0x30, 2, 0x30, 0],
    ];
    let wanted = Wanted::read(&conference()).unwrap();
    assert_eq!(wanted.channels(), ["rdpdr", "cliprdr"]);
    let domain = wanted.own_domain();
    fuzz(&seeds.each_ref().map(Vec::as_slice), |bytes| {
        let _ = (extent(bytes), credssp_extent(bytes), attached(bytes), join_confirmed(bytes, 1003), given(bytes, 2));
        for offered in [vec![Security::Nla], vec![Security::Tls]] {
            let _ = Asked::read(bytes).map(|asked| asked.choose(&offered).map(Chosen::confirm));
        }
        let _ = TargetPolicy::TlsWillDo.chosen(bytes);
        if let Ok(wanted) = Wanted::read(bytes) {
            assert!(wanted.channels().len() <= CHANNELS_MAX);
            let _ = wanted.response(1);
        }
        if let Ok(Joining::Info(data)) = join(bytes, &domain) {
            let _ = Info::read(data);
        }
        let _ = Info::read(bytes.to_vec());
        for way in [PduWay::Request, PduWay::Indication] {
            let _ = mcs(bytes, way);
        }
        if let Ok(judged) = from_user(bytes, 1007, Keys::Pass) {
            // What passes is understood again.
            from_user(&judged.passing, 1007, Keys::Pass).unwrap();
        }
        if let Ok(judged) = from_target(bytes) {
            from_target(&judged.passing).unwrap();
        }
        let _ = (Drawn::default().judge(bytes), confirm(bytes), demanded(bytes));
        let mut licences = Licences::default();
        let _ = [End::Target, End::User].map(|end| licences.pass(end, bytes));
        for kind in 0..32 {
            let _ = (FromProcess::decode(kind, bytes.to_vec()), ToProcess::decode(kind, bytes.to_vec()));
        }
    });
}

#[test]
fn no_envelope_and_no_kept_policy_set_makes_its_reader_panic() {
    let recipient = Recipient::parse("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p").unwrap();
    let envelope = Recipients::of([recipient]).unwrap().wrap(&Dek::from_bytes(&[7; 32])).unwrap();
    let file = |path: &str, text: &str| PolicyFile { path: path.to_owned(), text: text.to_owned() };
    let archive = encode_archive(&[file("a.toml", "schema = 1\n"), file("b.toml", "")]);
    fuzz(&[&envelope, &archive], |bytes| {
        let whole = check_form(bytes, 1).is_ok();
        assert!(!whole || check_form(bytes, 2).is_err());
        if let Ok(files) = decode_archive(bytes) {
            assert_eq!(encode_archive(&files), bytes);
        }
    });
}

const CAST: &[u8] = br#"{"version":3,"term":{"cols":80,"rows":24},"timestamp":1763719200,"command":"ls","doorward":{"session":"01KAJ2V6QJ3W6W1V0X9M0T2E8R","user":"alice","account":"root","target":"db1","policy":"0","rule":"r","source":"127.0.0.1:1","channel":1,"class":"exec","pty":false,"seg":0,"t0":0}}
[0.001,"o","a line\r\n"]
[0.000,"b","/w=="]
[0.010,"f","2"]
[0.000,"o","\u001b[31mred"]
[1.500,"i","in"]
[0.000,"r","100x30"]
[0.000,"m","shown: 5 minutes left"]
[0.000,"d","{\"direction\":\"stdout\",\"bytes\":5,\"sha256\":\"00\",\"last\":true}"]
[0.200,"s","{\"name\":\"KILL\",\"core_dumped\":false,\"message\":\"\"}"]
[0.000,"x","137"]
"#;
const SCREENS: &[&[u8]] = &[
    b"\x1b[2J\x1b[1;1Hhello \x1b[31;1mred\x1b[0m\r\n\x1b]0;title\x07\x1b]52;c;aGk=\x07\x1bP$q\x1b\\\x1b[6n\x1b[c",
    b"\xff\xfe\xc3\x28\x1b[?1049h\x1b[999999999;9999999H\x1b#8\x1b(0lqk\x1b[10000000X\x1b[5i\x90\x9c\x9b31m\xe2\x80\xae",
    "\u{202e}\u{200b}\u{1f600}\t\u{8}\u{7f}\u{9b}5n\u{e0041}".as_bytes(),
];
const LINES: &[&[u8]] = &[
    b"find . -name '*.c' -exec rm -- {} \\; | xargs -0 grep \"$a\" > b 2>&1 && c || d & e",
    b"for f in *.txt a\\ b; do mv \"$f\" \"${f%.txt}.md\"; done; if [ -f a ]; then b; elif c; then d; else e; fi",
    b"cat <<EOF <<-'F' > x\na $b `c \\`d\\`` $(e)\nEOF\n\tf\n\tF\ncase $1 in a|b) c;; (*) d;; esac",
    b"f() { a=1 b[0]+=2 c=(d e) g; }; [[ -n $a && -f b ]]; for ((i=0;i<3;i++)); do a {b,c} $'d\\x41' =e ~/f; done",
    b"time -p a | ! b; (c; d) | { e; } <<<$((1 + ${a[$(b)]:-c})) <(d) >(e) \xc3\xa9 # f",
];

const FILES: &[&[u8]] = &[
    b"db1,[db2]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ a\n|1|a|b ssh-rsa x\n",
    b"name,address,env,tier\ndb1,10.0.0.1:22,prod,db\n\"a\"\"b\",[::1]:22,,\n",
    b"[dbs]\ndb[01:03].example ansible_host=10.0.0.1 ansible_port=22\n[dbs:vars]\nx=1\n[all:children]\ndbs\n",
    b"all:\n  children:\n    dbs:\n      hosts:\n        db1:\n          ansible_host: 10.0.0.1\n",
    b"schema = 1\n[[user]]\nname = \"alice\"\ngroups = [\"dba\"]\n[[target]]\nname = \"db1\"\naddress = \"10.0.0.1:22\"\nlabels = { env = \"prod\" }\n",
    b"data = \"/srv\"\nmaster_key = \"/key\"\nlisten = [\"127.0.0.1:2222\"]\n[ssh]\nlogin_grace = \"30s\"\nenv = [\"LC_*\"]\n[recording]\nfree_min = \"2GiB\"\n",
];

/// Runs `target` on mutations of `seeds` until the time is up.
fn fuzz(seeds: &[&[u8]], target: impl Fn(&[u8])) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    let seed = u64::from_le_bytes(std::array::from_fn(|at| crate::fixture::nonce().as_bytes()[at % 8]));
    let mut random = Random(seed | 1);
    let mut runs = 0_u64;
    while Instant::now() < end {
        let input = mutated(seeds, &mut random);
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("failed after {runs} runs on (hex) {hex}\n{}", String::from_utf8_lossy(&input));
        }
        runs += 1;
    }
    assert!(runs > 10, "only {runs} inputs in {seconds} s");
}

/// A good input, with a few changes.
fn mutated(seeds: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => input.insert(at, random.below(256) as u8),
            2 => drop(input.drain(at..(at + random.below(16)).min(input.len()))),
            3 => {
                let other = seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let piece = other[from..(from + random.below(64)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            4 => input.splice(at..at, ODD[random.below(ODD.len())].iter().copied()).for_each(drop),
            _ => input.truncate(at.max(1)),
        }
    }
    input
}

/// What parsers stumble over.
const ODD: &[&[u8]] = &[
    b"\0",
    b"\n",
    b"\r",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\x1b[",
    b"\x1b]",
    b"\x9b",
    b"\xff",
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"99999999999999999999h",
    b"NaN",
    b"[[[[[[[[[[[[[[[[",
    b"\xe2\x80\xae",
    b"\xf0\x9f\x98\x80",
    b"0.0000000000000000001",
    b"true",
    b"null",
    b"[test]",
    b"= ",
    b"4294967295",
];

/// xorshift64*: any sequence will do, if its seed can be told.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}
