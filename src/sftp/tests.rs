use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::gate::{Answered, Asked, Gate, Rights};
use super::packet::{Change, Frames, FromUser, Malformed, Request, Set, from_target, from_user, shown};
use super::*;

mod limited;

const ALL: Rights = Rights { read: true, write: true };

fn packet(kind: u8, fields: &[&[u8]]) -> Bytes {
    let body = fields.concat();
    let mut packet = BytesMut::new();
    packet.put_u32(u32::try_from(body.len() + 1).unwrap());
    packet.put_u8(kind);
    packet.put_slice(&body);
    packet.freeze()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

/// One of every request, as OpenSSH's clients send them.
fn requests() -> Vec<Bytes> {
    let (id, path, other, handle, none) = ([0, 0, 0, 7], string(b"/a"), string(b"/b"), string(b"h"), [0; 4]);
    let all = [&[0x80, 0, 0, 15][..], &[0; 8], &[0; 8], &[0; 4], &[0; 8], &[0, 0, 0, 1], &string(b"x"), &string(b"y")]
        .concat();
    let extended =
        |name: &str, fields: &[&[u8]]| packet(200, &[&[&id[..], &string(name.as_bytes())].concat(), &fields.concat()]);
    let mut requests = vec![
        packet(3, &[&id, &path, &[0, 0, 0, 1], &all]),
        packet(4, &[&id, &handle]),
        packet(5, &[&id, &handle, &[0; 8], &[0; 4]]),
        packet(6, &[&id, &handle, &[0; 8], &string(b"data")]),
        packet(8, &[&id, &handle]),
        packet(12, &[&id, &handle]),
        packet(9, &[&id, &path, &none]),
        packet(10, &[&id, &handle, &none]),
        packet(14, &[&id, &path, &none]),
        packet(18, &[&id, &path, &other]),
        packet(20, &[&id, &path, &other]),
        extended("posix-rename@openssh.com", &[&path, &other]),
        extended("hardlink@openssh.com", &[&path, &other]),
        extended("statvfs@openssh.com", &[&path]),
        extended("fstatvfs@openssh.com", &[&handle]),
        extended("fsync@openssh.com", &[&handle]),
        extended("lsetstat@openssh.com", &[&path, &none]),
        extended("limits@openssh.com", &[]),
        extended("expand-path@openssh.com", &[&path]),
        extended("copy-data", &[&handle, &[0; 16], &handle, &[0; 8]]),
    ];
    requests.extend([7, 11, 13, 15, 16, 17, 19].map(|kind| packet(kind, &[&id, &path])));
    requests
}

#[test]
fn a_request_is_understood_to_its_last_byte_or_not_at_all() {
    for whole in requests() {
        assert!(matches!(from_user(&whole), Ok(FromUser::Request { id: 7, .. })), "{whole:?}");
        for cut in 5..whole.len() {
            assert!(from_user(&whole[..cut]).is_err(), "{whole:?} cut to {cut}");
        }
        assert!(from_user(&[&whole[..], b"x"].concat()).is_err(), "{whole:?} with one byte more");
    }
}

#[test]
fn a_link_is_where_it_is_made_and_not_what_it_points_to() {
    let asked = packet(20, &[&[0; 4], &string(b"to"), &string(b"link")]);
    let wanted = Request::Change { what: Change::SymLink, path: b"link", to: Some(b"to"), set: Set::default() };
    assert_eq!(from_user(&asked), Ok(FromUser::Request { id: 0, request: wanted }));
}

#[test]
fn what_is_shown_of_a_path_moves_no_cursor() {
    assert_eq!(shown(b"/a b\x1b[2J\n\\n\xff/\xc3\xbc\xe2\x80\xae"), "/a b\\u{1b}[2J\\n\\\\n\\xff/\u{fc}\\u{202e}");
    let long = [&[1; 4000][..], b"/the name"].concat();
    let told = shown(&long);
    assert!(told.ends_with("/the name") && told.contains("SHA-256") && told.chars().count() <= 4096, "{told}");
}

/// A gate after the greetings.
fn greeted(rights: Rights) -> Gate {
    let mut gate = Gate::new(rights, None);
    assert!(matches!(gate.asked(packet(1, &[&[0, 0, 0, 3]])), Ok(Asked::Forward(..))));
    gate.answered(packet(2, &[&[0, 0, 0, 3]])).unwrap();
    gate
}

fn told(gate: &mut Gate, packet: Bytes) -> Vec<String> {
    let Answered::Forward(_, notes) = gate.answered(packet).unwrap() else { panic!("it is an answer to the bastion") };
    notes.into_iter().map(|note| note.text).collect()
}

#[test]
fn a_file_has_the_hash_of_what_went_through_and_whether_that_was_in_order() {
    let mut gate = greeted(ALL);
    let handle = string(b"h");
    let write = |gate: &mut Gate, offset: u64, data: &[u8]| {
        let asked = packet(6, &[&[0, 0, 0, 2], &handle, &offset.to_be_bytes(), &string(data)]);
        assert!(matches!(gate.asked(asked), Ok(Asked::Forward(_, None))));
        assert_eq!(told(gate, packet(101, &[&[0, 0, 0, 2], &[0; 4], &[0; 8]])), [""; 0]);
    };
    // printf abc | sha256sum
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (flags, second, order) in [
        (2 | 8 | 16, 1, ""),
        (2 | 8 | 16, 9, ", not in order"),
        (2, 1, ", over what was there"),
        (2 | 4, 1, ", appended"),
    ] {
        gate.asked(packet(3, &[&[0, 0, 0, 1], &string(b"/f"), &[0, 0, 0, flags], &[0; 4]])).unwrap();
        gate.answered(packet(102, &[&[0, 0, 0, 1], &handle])).unwrap();
        write(&mut gate, 0, b"a");
        write(&mut gate, second, b"bc");
        gate.asked(packet(4, &[&[0, 0, 0, 3], &handle])).unwrap();
        let closed = told(&mut gate, packet(101, &[&[0, 0, 0, 3], &[0; 4], &[0; 8]]));
        assert_eq!(closed, [format!("sftp: put /f: 3 bytes, SHA-256 {abc}{order}")]);
    }
    assert!(gate.finish().is_empty());
}

/// Opens a file with these flags, as the handle `h`.
fn opened(gate: &mut Gate, flags: u8) {
    gate.asked(packet(3, &[&[0, 0, 0, 1], &string(b"/f"), &[0, 0, 0, flags], &[0; 4]])).unwrap();
    gate.answered(packet(102, &[&[0, 0, 0, 1], &string(b"h")])).unwrap();
}

#[test]
fn a_handle_that_is_being_closed_is_no_files_any_more() {
    let (close, stat) = (packet(4, &[&[0, 0, 0, 3], &string(b"h")]), [0; 4]);
    let write = packet(6, &[&[0, 0, 0, 4], &string(b"h"), &[0; 8], &string(b"x")]);
    let chmod = packet(10, &[&[0, 0, 0, 5], &string(b"h"), &stat]);
    let mut gate = greeted(ALL);
    opened(&mut gate, 2 | 8 | 16);
    gate.asked(close).unwrap();
    for request in [write, chmod] {
        assert!(matches!(gate.asked(request), Ok(Asked::Answer(..))));
    }
}

#[test]
fn what_the_target_did_not_write_is_said_not_to_be() {
    let mut gate = greeted(ALL);
    opened(&mut gate, 1);
    let write = packet(6, &[&[0, 0, 0, 2], &string(b"h"), &[0; 8], &string(b"x")]);
    assert!(matches!(gate.asked(write.clone()), Ok(Asked::Answer(..))), "it was opened for reading");
    assert!(gate.finish().is_empty());
    opened(&mut gate, 2 | 16);
    let read = packet(5, &[&[0, 0, 0, 3], &string(b"h"), &[0; 8], &[0; 4]]);
    assert!(matches!(gate.asked(read), Ok(Asked::Answer(..))), "it was opened for writing");
    gate.asked(write).unwrap();
    gate.answered(packet(101, &[&[0, 0, 0, 2], &[0, 0, 0, 4], &[0; 8]])).unwrap();
    let told: Vec<String> = gate.finish().into_iter().map(|note| note.text).collect();
    assert!(told.len() == 1 && told[0].ends_with("1 of the writes failed, not closed"), "{told:?}");
}

#[test]
fn what_is_set_and_what_an_open_makes_stands_in_the_log() {
    let mut gate = greeted(ALL);
    let file = |asked| match asked {
        Ok(Asked::Forward(_, Some(Note { file: Some(file), first: true, .. }))) => file,
        other => panic!("{other:?}"),
    };
    let attributes = [&[0, 0, 0, 7][..], &[0; 8], &[0, 0, 0, 1], &[0, 0, 0, 2], &[0, 0, 9, 0o300]].concat();
    let set = file(gate.asked(packet(9, &[&[0, 0, 0, 1], &string(b"/f"), &attributes])));
    assert_eq!(set.detail.as_deref(), Some("size=0 owner=1:2 mode=4700"));
    let made = file(gate.asked(packet(3, &[&[0, 0, 0, 2], &string(b"/f"), &[0, 0, 0, 2 | 8 | 16], &[0; 4]])));
    assert_eq!((made.what, made.detail.as_deref()), ("open", Some("to write, making it, cutting it")));
    let setuid = [&[0, 0, 0, 4][..], &[0, 0, 9, 0o377]].concat();
    let made = file(gate.asked(packet(3, &[&[0, 0, 0, 3], &string(b"/f"), &[0, 0, 0, 2 | 8], &setuid])));
    assert_eq!(made.detail.as_deref(), Some("to write, making it, mode=4777"));
}

#[test]
fn what_changes_something_is_on_record_first() {
    for whole in requests() {
        let mut gate = greeted(ALL);
        gate.asked(packet(3, &[&[0; 4], &string(b"/f"), &[0, 0, 0, 3], &[0; 4]])).unwrap();
        gate.answered(packet(102, &[&[0; 4], &string(b"h")])).unwrap();
        let Ok(FromUser::Request { request, .. }) = from_user(&whole) else { panic!("{whole:?}") };
        let logged = matches!(request, Request::Change { .. } | Request::ChangeAt { .. } | Request::Copy { .. });
        let first = logged || matches!(request, Request::Open { .. } | Request::OpenDir { .. });
        let Ok(Asked::Forward(_, note)) = gate.asked(whole.clone()) else { panic!("{whole:?}") };
        assert_eq!(note.as_ref().is_some_and(|note| note.first), first, "{whole:?}");
        assert_eq!(note.is_some_and(|note| note.file.is_some()), logged, "{whole:?}");
        // Without the right it does not get that far.
        let mut gate = greeted(Rights { read: true, write: false });
        assert!(!first || !logged || matches!(gate.asked(whole.clone()), Ok(Asked::Answer(..))), "{whole:?}");
    }
}

#[test]
fn a_target_answers_only_what_it_was_asked() {
    let asked = |gate: &mut Gate| gate.asked(packet(17, &[&[0, 0, 0, 1], &string(b"/f")])).unwrap();
    for (what, answer) in [
        ("another number", packet(105, &[&[0, 0, 0, 2]])),
        ("another type", packet(102, &[&[0, 0, 0, 1], &string(b"h")])),
        ("an unknown type", packet(77, &[&[0, 0, 0, 1]])),
        ("a second greeting", packet(2, &[&[0, 0, 0, 3]])),
    ] {
        let mut gate = greeted(ALL);
        asked(&mut gate);
        assert!(gate.answered(answer).is_err(), "{what}");
    }
    let mut gate = greeted(ALL);
    asked(&mut gate);
    assert!(gate.asked(packet(17, &[&[0, 0, 0, 1], &string(b"/g")])).is_err(), "one number twice");
    assert!(gate.answered(packet(105, &[&[0, 0, 0, 1]])).is_ok());
    // Before the greetings nothing passes.
    let mut early = Gate::new(ALL, None);
    assert_eq!(early.asked(requests()[0].clone()), Err(Malformed("a request before the beginning")));
}

#[test]
fn open_files_are_bounded() {
    let mut gate = greeted(ALL);
    for number in 0..5000_u32 {
        let id = number.to_be_bytes();
        let asked = gate.asked(packet(11, &[&id, &string(b"/")])).unwrap();
        match asked {
            Asked::Forward(..) => drop(gate.answered(packet(102, &[&id, &string(&id)])).unwrap()),
            Asked::Answer(..) => return assert_eq!(number, 4096),
            Asked::Resolve(..) => panic!("there are no rules with paths"),
        }
    }
    panic!("no bound");
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..210_u8) {
        let framed = packet(kind, &[&bytes]);
        let _ = from_user(&framed);
        let _ = from_target(&framed);
        let _ = from_user(&bytes);
        let _ = from_target(&bytes);
    }

    #[test]
    fn packets_are_the_same_however_the_bytes_come(cuts in prop::collection::vec(1..50_usize, 1..200)) {
        let all: Vec<u8> = requests().concat();
        let (mut frames, mut found, mut left) = (Frames::default(), Vec::new(), all.as_slice());
        for cut in cuts.into_iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (now, later) = left.split_at(cut.min(left.len()));
            frames.push(now);
            left = later;
            while let Some(packet) = frames.next().unwrap() {
                found.push(packet);
            }
        }
        prop_assert_eq!(found, requests());
    }
}
