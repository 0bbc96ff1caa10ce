use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::read_channel_message;
use super::*;

/// What came of a message.
#[derive(Debug, Default, PartialEq)]
struct Came {
    to_user: Vec<Vec<u8>>,
    to_target: Vec<Vec<u8>>,
    recorded: Vec<Vec<u8>>,
    facts: Vec<Fact>,
}

fn rules(clipboard_in: Clip, clipboard_out: Clip) -> DesktopRules {
    DesktopRules { clipboard_in, clipboard_out, clipboard_bytes_max: 1 << 20, ..DesktopRules::default() }
}

fn one(name: &str, rules: &DesktopRules) -> Channels {
    Channels::new(&[name.to_owned()], rules)
}

/// Sends a whole message and joins what comes of it.
fn send(channels: &mut Channels, from: Side, message: &[u8]) -> Came {
    let (mut came, mut user, mut target) = (Came::default(), Joiner::default(), Joiner::default());
    for chunk in chunk::split(message, true) {
        for out in channels.take(0, from, &chunk) {
            match out {
                Out::Record(Kind::Event, json) => came.facts.push(Fact::read(&json).unwrap()),
                Out::Record(_, bytes) => came.recorded.push(read_channel_message(&bytes).unwrap().1.to_vec()),
                Out::Send(Side::User, chunk) => came.to_user.extend(user.take(&chunk).unwrap().map(|all| all.bytes)),
                Out::Send(Side::Target, chunk) => {
                    came.to_target.extend(target.take(&chunk).unwrap().map(|all| all.bytes));
                }
            }
        }
    }
    // What passed on is what is on record, and nothing passed that is not but refusals of our own.
    let refusal = |message: &[u8]| {
        matches!(message, [5 | 9, 0, 2, 0, ..] | [b'r', b'D', b'C', b'I', .., 0x22, 0, 0, 0xC0, 0, 0, 0, 0])
    };
    for passed in if from == Side::User { &came.to_target } else { &came.to_user } {
        assert!(refusal(passed) || came.recorded.contains(passed));
    }
    came
}

fn clip(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&kind.to_le_bytes()[..], &flags.to_le_bytes(), &length.to_le_bytes(), body].concat()
}

fn wide_bytes(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A list of formats with long names.
fn list(formats: &[(u32, &str)]) -> Vec<u8> {
    let one = |(format, name): &(u32, &str)| [format.to_le_bytes().to_vec(), wide_bytes(name)].concat();
    clip(2, 0, &formats.iter().flat_map(one).collect::<Vec<u8>>())
}

fn capabilities(flags: u32) -> Vec<u8> {
    let head = [1_u16, 0, 1, 12].map(u16::to_le_bytes).concat();
    clip(7, 0, &[head, [2, flags].map(u32::to_le_bytes).concat()].concat())
}

/// A clipboard over which both sides speak with long names.
fn clipboard(rules: &DesktopRules) -> Channels {
    let mut channels = one("cliprdr", rules);
    assert_eq!(send(&mut channels, Side::Target, &capabilities(0x3e)).to_user.len(), 1);
    assert_eq!(send(&mut channels, Side::Target, &clip(1, 0, &[])).to_user.len(), 1);
    assert_eq!(send(&mut channels, Side::User, &capabilities(0x3e)).to_target.len(), 1);
    channels
}

fn ask(format: u32) -> Vec<u8> {
    clip(4, 0, &format.to_le_bytes())
}

const FAILED: [u8; 8] = [5, 0, 2, 0, 0, 0, 0, 0];

#[test]
fn nothing_passes_that_no_rule_names() {
    let names = ["cliprdr", "rdpdr", "rdpsnd", "drdynvc", "rail", "CLIPRDR"].map(str::to_owned);
    let mut channels = Channels::new(&names, &DesktopRules::default());
    assert_eq!(channels.offered(), ["none0", "none1", "none2", "drdynvc", "none4", "none5"]);
    assert!(channels.offered().iter().all(|name| name.len() <= 7));
    for place in [0, 1, 2, 4, 5, 6, 99] {
        for from in [Side::User, Side::Target] {
            let chunk = chunk::split(&clip(1, 0, &[]), true).remove(0);
            assert!(channels.take(place, from, &chunk).is_empty());
        }
    }
}

#[test]
fn text_passes_one_way_and_is_on_record() {
    let mut channels = clipboard(&rules(Clip::Text, Clip::Off));
    let came = send(&mut channels, Side::User, &list(&[(13, ""), (8, ""), (0xC001, "HTML Format")]));
    assert_eq!(came.to_target, [list(&[(13, "")])]);
    let came = send(&mut channels, Side::Target, &clip(3, 1, &[]));
    assert_eq!(came.to_user, [clip(3, 1, &[])]);
    assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_user, [ask(13)]);
    let pasted = clip(5, 1, &wide_bytes("Grüße\n"));
    let came = send(&mut channels, Side::User, &pasted);
    assert_eq!((came.to_target, came.recorded), (vec![pasted.clone()], vec![pasted]));
    let text = Some(String::from("Grüße\n"));
    assert_eq!(
        came.facts,
        [Fact::Clipboard { to: Side::Target, format: 13, bytes: 14, text, files: Vec::new(), refused: None }]
    );
}

#[test]
fn what_may_not_pass_is_answered_in_its_place() {
    let mut channels = clipboard(&rules(Clip::Text, Clip::Off));
    send(&mut channels, Side::User, &list(&[(13, ""), (8, "")]));
    let came = send(&mut channels, Side::Target, &ask(8));
    assert_eq!((came.to_user.len(), came.to_target), (0, vec![FAILED.to_vec()]));
    // What the target has copied: the user's program is not even told of it.
    let came = send(&mut channels, Side::Target, &list(&[(13, "")]));
    assert_eq!((came.to_user.len(), came.to_target), (0, vec![clip(3, 1, &[])]));
    let came = send(&mut channels, Side::User, &ask(13));
    assert_eq!((came.to_target.len(), came.to_user), (0, vec![FAILED.to_vec()]));
    assert!(matches!(&came.facts[..], [Fact::Clipboard { refused: Some(_), to: Side::User, .. }]));
    // Nor does an answer pass that nobody has asked for.
    let came = send(&mut channels, Side::Target, &clip(5, 1, &wide_bytes("secret")));
    assert_eq!((came.to_user.len(), came.recorded.len()), (0, 0));
}

#[test]
fn the_users_first_list_reaches_a_target_that_waits_for_it() {
    let mut channels = clipboard(&rules(Clip::Off, Clip::Text));
    assert_eq!(send(&mut channels, Side::User, &list(&[(13, "")])).to_target, [list(&[])]);
    assert_eq!(send(&mut channels, Side::User, &list(&[(13, "")])).to_user, [clip(3, 1, &[])]);
}

#[test]
fn a_paste_that_is_too_large_fails() {
    let rules = DesktopRules { clipboard_bytes_max: 20, ..rules(Clip::Text, Clip::Text) };
    let mut channels = clipboard(&rules);
    send(&mut channels, Side::User, &list(&[(13, "")]));
    for size in [21, MESSAGE_BYTES_MAX + 5] {
        assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_user.len(), 1);
        let came = send(&mut channels, Side::User, &clip(5, 1, &vec![b'x'; size]));
        assert_eq!((came.to_target, came.recorded.len()), (vec![FAILED.to_vec()], 0));
        assert!(matches!(&came.facts[..], [Fact::Clipboard { refused: Some(_), .. }]));
    }
    assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_user.len(), 1);
    assert_eq!(send(&mut channels, Side::User, &clip(5, 1, &[b'x'; 20])).recorded.len(), 1);
}

#[test]
fn a_held_session_pastes_nothing() {
    let mut channels = clipboard(&rules(Clip::All, Clip::All));
    send(&mut channels, Side::User, &list(&[(13, "")]));
    assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_user.len(), 1);
    channels.hold(true);
    assert_eq!(send(&mut channels, Side::User, &clip(5, 1, &wide_bytes("a"))).to_target, [FAILED.to_vec()]);
    assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_target, [FAILED.to_vec()]);
    channels.hold(false);
    assert_eq!(send(&mut channels, Side::Target, &ask(13)).to_user.len(), 1);
}

#[test]
fn files_pass_only_where_all_may_and_their_names_are_on_record() {
    let listed = list(&[(0xC0BC, "FileGroupDescriptorW")]);
    let mut entry = vec![0; 592];
    wide_bytes("plan.docx").iter().enumerate().for_each(|(at, byte)| entry[72 + at] = *byte);
    let names = clip(5, 1, &[1_u32.to_le_bytes().to_vec(), entry].concat());
    let piece = clip(8, 0, &[[7_u32, 0, 2, 0, 0, 4096].map(u32::to_le_bytes).concat()].concat());

    let mut channels = clipboard(&rules(Clip::Text, Clip::All));
    assert_eq!(send(&mut channels, Side::User, &listed).to_target, [list(&[])]);
    assert_eq!(send(&mut channels, Side::Target, &piece).to_target, [clip(9, 2, &7_u32.to_le_bytes())]);

    let mut channels = clipboard(&rules(Clip::All, Clip::Off));
    assert_eq!(send(&mut channels, Side::User, &listed).to_target, [listed]);
    send(&mut channels, Side::Target, &ask(0xC0BC));
    let came = send(&mut channels, Side::User, &names);
    assert!(matches!(&came.facts[..], [Fact::Clipboard { files, .. }] if files == &["plan.docx"]));
    assert_eq!(send(&mut channels, Side::Target, &piece).to_user, [piece]);
    let data = clip(9, 1, &[&7_u32.to_le_bytes()[..], b"contents"].concat());
    assert_eq!(send(&mut channels, Side::User, &data).recorded, std::slice::from_ref(&data));
    assert_eq!(send(&mut channels, Side::User, &data).recorded.len(), 0, "it was asked for once");
}

#[test]
fn files_are_counted_over_the_session_however_often_they_are_copied() {
    let rules = DesktopRules { clipboard_bytes_max: 20, ..rules(Clip::All, Clip::All) };
    let mut channels = clipboard(&rules);
    let piece = clip(8, 0, &[[7_u32, 0, 2, 0, 0, 4096].map(u32::to_le_bytes).concat()].concat());
    let data = clip(9, 1, &[&7_u32.to_le_bytes()[..], b"contents"].concat());
    let mut copied = |from: Side| {
        send(&mut channels, from, &list(&[(0xC0BC, "FileGroupDescriptorW")]));
        send(&mut channels, from.other(), &piece);
        !send(&mut channels, from, &data).recorded.is_empty()
    };
    // Eight bytes each: the third would be beyond twenty, in each direction for itself.
    assert_eq!([Side::User; 3].map(&mut copied), [true, true, false]);
    assert_eq!([Side::Target; 3].map(&mut copied), [true, true, false]);
}

#[test]
fn files_are_not_offered_where_none_may_pass() {
    let mut channels = one("cliprdr", &rules(Clip::Text, Clip::Text));
    assert_eq!(send(&mut channels, Side::Target, &capabilities(0x3e)).to_user, [capabilities(2)]);
}

#[test]
fn chunks_that_make_no_message_close_the_channel() {
    let mut channels = clipboard(&rules(Clip::All, Clip::All));
    let outs = channels.take(0, Side::User, b"\x01");
    assert!(matches!(&outs[..], [Out::Record(Kind::Event, _)]));
    assert_eq!(send(&mut channels, Side::User, &list(&[(13, "")])), Came::default());
}

#[test]
fn sound_passes_and_is_counted() {
    let mut channels = one("rdpsnd", &DesktopRules { audio: true, ..DesktopRules::default() });
    let chunk = chunk::split(&[1, 2, 3, 4], false).remove(0);
    assert_eq!(channels.take(0, Side::Target, &chunk), [Out::Send(Side::User, chunk)]);
    let [Out::Record(Kind::Event, fact)] = &channels.finish()[..] else { panic!("one fact") };
    assert_eq!(Fact::read(fact), Some(Fact::Passed { name: String::from("rdpsnd"), to_user: 4, to_target: 0 }));
}

fn device(kind: u32, id: u32, name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(8, 0);
    [&kind.to_le_bytes()[..], &id.to_le_bytes(), &padded, &3_u32.to_le_bytes(), b"abc"].concat()
}

fn device_list(devices: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(devices.len()).unwrap();
    [b"DrAD".to_vec(), count.to_le_bytes().to_vec(), devices.concat()].concat()
}

fn open_file(device: u32, completion: u32, path: &str) -> Vec<u8> {
    let path = wide_bytes(path);
    let head = [device, 0, completion, 0, 0].map(u32::to_le_bytes).concat();
    let length = u32::try_from(path.len()).unwrap().to_le_bytes().to_vec();
    [b"DrRI".to_vec(), head, vec![0; 28], length, path].concat()
}

#[test]
fn only_devices_of_a_kind_that_the_rule_names_reach_the_target() {
    let mut channels = one("rdpdr", &DesktopRules { drives: true, ..DesktopRules::default() });
    let [drive, card] = [device(8, 1, "C"), device(0x20, 2, "SCARD")];
    let came = send(&mut channels, Side::User, &device_list(&[card.clone(), drive.clone()]));
    let header = b"rDAD";
    let listed = [&header[..], &1_u32.to_le_bytes(), &drive].concat();
    assert_eq!(came.to_target.len(), 0, "no such header: {came:?}");
    // The component is `rD`, little endian.
    let sent = [&header[..], &2_u32.to_le_bytes(), &card, &drive].concat();
    let came = send(&mut channels, Side::User, &sent);
    assert_eq!(came.to_target, [listed]);
    assert_eq!(came.facts.len(), 2);

    let allowed = [b"rDRI".to_vec(), open_file(1, 5, "\\secret.txt")[4..].to_vec()].concat();
    let came = send(&mut channels, Side::Target, &allowed);
    assert_eq!(came.to_user, [allowed]);
    assert!(matches!(&came.facts[..], [Fact::File { path, allowed: true, .. }] if path == "\\secret.txt"));
    let refused = [b"rDRI".to_vec(), open_file(2, 6, "\\card")[4..].to_vec()].concat();
    let came = send(&mut channels, Side::Target, &refused);
    let denied = [2_u32, 6, 0xC000_0022, 0].map(u32::to_le_bytes).concat();
    assert_eq!((came.to_user.len(), came.to_target), (0, vec![[b"rDCI".to_vec(), denied].concat()]));

    let done = [b"rDCI".to_vec(), [1_u32, 5, 0, 0].map(u32::to_le_bytes).concat()].concat();
    assert_eq!(send(&mut channels, Side::User, &done).to_target.len(), 1);
    assert_eq!(send(&mut channels, Side::User, &done).to_target.len(), 0, "it was asked for once");
}

#[test]
fn a_held_session_gives_no_file_sound_or_data_and_whoever_has_asked_hears_so() {
    let listed = list(&[(0xC0BC, "FileGroupDescriptorW")]);
    let mut channels = clipboard(&rules(Clip::All, Clip::Off));
    send(&mut channels, Side::User, &listed);
    let piece = clip(8, 0, &[[7_u32, 0, 2, 0, 0, 4096].map(u32::to_le_bytes).concat()].concat());
    assert_eq!(send(&mut channels, Side::Target, &piece).to_user.len(), 1);
    channels.hold(true);
    let came = send(&mut channels, Side::User, &clip(9, 1, &[&7_u32.to_le_bytes()[..], b"contents"].concat()));
    assert_eq!((came.to_target, came.recorded.len()), (vec![clip(9, 2, &7_u32.to_le_bytes())], 0));

    let mut channels = one("rdpdr", &DesktopRules { drives: true, printers: true, ..DesktopRules::default() });
    let drives = |id| [&b"rDAD"[..], &1_u32.to_le_bytes(), &device(8, id, "C")].concat();
    let ask = |completion| [b"rDRI".to_vec(), open_file(1, completion, "\\a")[4..].to_vec()].concat();
    let done = |completion| [b"rDCI".to_vec(), [1_u32, completion, 0, 0].map(u32::to_le_bytes).concat()].concat();
    let denied =
        |completion| [b"rDCI".to_vec(), [1, completion, 0xC000_0022, 0].map(u32::to_le_bytes).concat()].concat();
    send(&mut channels, Side::User, &drives(1));
    assert_eq!(send(&mut channels, Side::Target, &ask(5)).to_user.len(), 1);
    channels.hold(true);
    assert_eq!(send(&mut channels, Side::User, &done(5)).to_target, [denied(5)]);
    assert_eq!(send(&mut channels, Side::Target, &ask(6)).to_target, [denied(6)]);
    assert_eq!(send(&mut channels, Side::User, &drives(2)).to_target.len(), 0);
    assert_eq!(send(&mut channels, Side::User, b"RPCP1234").to_target.len(), 0);
    channels.hold(false);
    assert_eq!(send(&mut channels, Side::Target, &ask(7)).to_user.len(), 1);
    assert_eq!(send(&mut channels, Side::User, &done(7)).to_target, [done(7)]);

    let dynamic = ["ECHO"].map(str::to_owned).into();
    let mut channels = one("drdynvc", &DesktopRules { dynamic, ..DesktopRules::default() });
    send(&mut channels, Side::Target, &create(6, "ECHO"));
    channels.hold(true);
    assert_eq!(send(&mut channels, Side::User, &[0x10, 6, 0, 0, 0, 0]).to_target.len(), 1, "it may be opened");
    assert_eq!(send(&mut channels, Side::User, &[0x30, 6, 1]).to_target.len(), 0);
    assert_eq!(send(&mut channels, Side::User, &[0x24, 6, 9, 0, 1]).to_target.len(), 0);
    channels.hold(false);
    assert_eq!(send(&mut channels, Side::User, &[0x30, 6, 1]).to_target, [[0x30, 6, 1]]);

    let mut channels = one("rdpsnd", &DesktopRules { audio: true, ..DesktopRules::default() });
    let chunk = chunk::split(&[1, 2, 3, 4], false).remove(0);
    channels.hold(true);
    assert_eq!(channels.take(0, Side::User, &chunk), []);
    assert_eq!(channels.take(0, Side::Target, &chunk).len(), 1);
}

fn create(id: u8, name: &str) -> Vec<u8> {
    [&[0x10, id], name.as_bytes(), &[0]].concat()
}

#[test]
fn a_dynamic_channel_that_no_rule_names_is_refused_unheard() {
    let dynamic = ["Microsoft::Windows::RDS::Graphics", "ECHO"].map(str::to_owned).into();
    let mut channels = one("drdynvc", &DesktopRules { dynamic, ..DesktopRules::default() });
    for (id, name) in [(3, "Microsoft::Windows::RDS::Graphics"), (4, "URBDRC"), (5, "rdpdr")] {
        let came = send(&mut channels, Side::Target, &create(id, name));
        assert_eq!((came.to_user.len(), came.to_target), (0, vec![vec![0x10, id, 5, 0, 7, 0x80]]));
        assert_eq!(came.facts, [Fact::Channel { name: name.to_owned(), dynamic: true, allowed: false }]);
        assert_eq!(send(&mut channels, Side::Target, &[0x30, id, 1, 2]).to_user.len(), 0);
    }
    assert_eq!(send(&mut channels, Side::Target, &create(6, "ECHO")).to_user.len(), 1);
    assert_eq!(send(&mut channels, Side::Target, &[0x30, 6, 1]).to_user.len(), 0, "it is not open yet");
    assert_eq!(send(&mut channels, Side::User, &[0x10, 6, 0, 0, 0, 0]).to_target.len(), 1);
    assert_eq!(send(&mut channels, Side::Target, &[0x30, 6, 1]).to_user, [[0x30, 6, 1]]);
    assert_eq!(send(&mut channels, Side::User, &[0x40, 6]).to_target.len(), 1);
    assert_eq!(send(&mut channels, Side::Target, &[0x30, 6, 1]).to_user.len(), 0, "it is closed");
}

#[test]
fn the_version_stays_one_without_compression() {
    let mut channels = one("drdynvc", &DesktopRules::default());
    let came = send(&mut channels, Side::Target, &[0x50, 0, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(came.to_user, [[0x50, 0, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    assert_eq!(send(&mut channels, Side::Target, &[0x70, 1, 2, 3]).to_user.len(), 0);
}

#[test]
fn a_desktop_has_a_size_that_can_be_drawn() {
    let mut channels = one("drdynvc", &DesktopRules::default());
    send(&mut channels, Side::Target, &create(7, "Microsoft::Windows::RDS::DisplayControl"));
    send(&mut channels, Side::User, &[0x10, 7, 0, 0, 0, 0]);
    let layout = |width: u32, height: u32| {
        let screen = [1, 0, 0, width, height, 0, 0, 0, 100, 100].map(u32::to_le_bytes).concat();
        [vec![0x30, 7], [2_u32, 56, 40, 1].map(u32::to_le_bytes).concat(), screen].concat()
    };
    let came = send(&mut channels, Side::User, &layout(1200, 800));
    assert_eq!((came.to_target.len(), came.facts), (1, vec![Fact::Resize { width: 1200, height: 800 }]));
    for (width, height) in [(8193, 800), (800, u32::MAX), (0, 0)] {
        assert_eq!(send(&mut channels, Side::User, &layout(width, height)).to_target.len(), 0);
    }
}

#[test]
fn drops_are_on_record_but_do_not_fill_it() {
    let mut channels = one("drdynvc", &DesktopRules::default());
    let facts: usize = (0..1000).map(|_| send(&mut channels, Side::User, &[0xf0]).facts.len()).sum();
    assert_eq!(facts, 200);
}

fn any_rules() -> impl Strategy<Value = DesktopRules> {
    let clips = || prop::sample::select(vec![Clip::Off, Clip::Text, Clip::All]);
    (clips(), clips(), any::<[bool; 3]>()).prop_map(|(clipboard_in, clipboard_out, [drives, printers, audio])| {
        DesktopRules { drives, printers, audio, ..rules(clipboard_in, clipboard_out) }
    })
}

proptest! {
    /// Whatever is sent: nothing panics, and what passes on is on record before.
    #[test]
    fn any_message_is_judged(
        rules in any_rules(),
        name in prop::sample::select(vec!["cliprdr", "rdpdr", "drdynvc"]),
        messages in vec((any::<bool>(), 0_u8..12, vec(any::<u8>(), 0..80)), 0..30),
    ) {
        let mut channels = one(name, &rules);
        let heads: [&[u8]; 12] = [
            &[], &[1, 0, 0, 0], &[2, 0, 0, 0], &[4, 0, 0, 0, 4, 0, 0, 0], &[5, 0, 1, 0], &[7, 0, 0, 0], &[8, 0],
            b"rDAD", b"rDRI", b"rDCI", &[0x10, 1], &[0x30, 1],
        ];
        for (user, head, bytes) in messages {
            let from = if user { Side::User } else { Side::Target };
            send(&mut channels, from, &[heads[usize::from(head)], &bytes].concat());
        }
    }
}
