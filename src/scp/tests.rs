use proptest::prelude::*;

use super::gate::{Gate, Malformed, Side, Step};
use crate::model::transfer::{Scp, Way};

const TREE: Scp = Scp { recursive: true, into_directory: false };

fn began(way: Way) -> Gate {
    Gate::new(way, TREE, &[String::from("/srv/x")])
}

/// What a side sends passes whole, with these notes.
#[track_caller]
fn passes(gate: &mut Gate, side: Side, mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        match gate.step(side, bytes).unwrap() {
            Step::Pass { bytes: count, notes } => {
                bytes = &bytes[count..];
                texts.extend(notes.into_iter().map(|note| note.text));
            }
            other @ (Step::More | Step::Wait) => panic!("{other:?} at {}", bytes.escape_ascii()),
        }
    }
    texts
}

#[test]
fn a_tree_that_is_written_is_on_record_name_by_name() {
    use Side::{Target, User};
    let mut gate = began(Way::ToTarget);
    let mut told = Vec::new();
    for (side, bytes) in [
        (Target, &b"\0"[..]),
        (User, b"T1 0 2 0\n"),
        (Target, b"\0"),
        (User, b"D0755 0 tree\n"),
        (Target, b"\0"),
        (User, b"C0644 3 a b\n"),
        (Target, b"\0"),
        (User, b"abc"),
        (User, b"\0"),
        (Target, b"\0"),
        (User, b"C0600 0 none\n"),
        (Target, b"\x01scp: /srv/x/tree/none: Permission denied\n"),
        (User, b"\x01scp: gone: No such file\n"),
        (User, b"E\n"),
        (Target, b"\0"),
    ] {
        told.extend(passes(&mut gate, side, bytes));
    }
    assert_eq!(
        told,
        [
            "scp: mkdir /srv/x mode 0755 times 1:2, sent as tree",
            "scp: put /srv/x mode 0644 size 3, sent as tree/a b",
            "scp: put /srv/x: 3 bytes, SHA-256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "scp: put /srv/x mode 0600 size 0, sent as tree/none",
            "scp: put /srv/x: the target says: scp: /srv/x/tree/none: Permission denied",
            "scp: the user says: scp: gone: No such file",
        ]
    );
}

#[test]
fn who_reads_gets_files_and_sends_nothing_but_answers() {
    use Side::{Target, User};
    let mut gate = began(Way::FromTarget);
    let mut told = Vec::new();
    for (side, bytes) in [
        (User, &b"\0"[..]),
        (Target, b"C0644 2 x\n"),
        (User, b"\0"),
        (Target, b"ab\0"),
        (User, b"\x01scp: disk full\n"),
    ] {
        told.extend(passes(&mut gate, side, bytes));
    }
    assert_eq!(told[0], "scp: get /srv/x mode 0644 size 2");
    assert!(
        told[1].starts_with("scp: get /srv/x: 2 bytes, SHA-256") && told[1].ends_with("the user says: scp: disk full")
    );
    for bad in [&b"C0644 1 x\n"[..], b"D0755 0 x\n", b"E\n", b"T0 0 0 0\n", b"x"] {
        let mut gate = began(Way::FromTarget);
        assert!(gate.step(User, bad).is_err(), "{}", bad.escape_ascii());
        // Answers to what has not been said stay here.
        passes(&mut began(Way::FromTarget), User, b"\0");
    }
    let mut gate = began(Way::FromTarget);
    passes(&mut gate, User, b"\0");
    assert_eq!(gate.step(User, b"\0\0"), Ok(Step::Wait));
}

#[test]
fn what_comes_before_its_answer_waits() {
    let mut gate = began(Way::ToTarget);
    assert_eq!(gate.step(Side::User, b"C0644 1 x\n"), Ok(Step::Wait));
    passes(&mut gate, Side::Target, b"\0");
    passes(&mut gate, Side::User, b"C0644 1 x\n");
    // Whether these are a file's bytes or a line, the target's answer says.
    assert_eq!(gate.step(Side::User, b"C"), Ok(Step::Wait));
    passes(&mut gate, Side::Target, b"\x01no\n");
    assert!(gate.step(Side::User, b"Cx").unwrap() == Step::More);
    assert_eq!(gate.step(Side::Target, b"\0"), Err(Malformed("an answer to what nobody asked")));
}

#[test]
fn what_is_no_line_of_this_protocol_ends_it() {
    for bad in [
        &b"C0644 1 ../x\n"[..],
        b"C0644 1 a/b\n",
        b"C0644 1 ..\n",
        b"C0644 1 .\n",
        b"C0644 1 \n",
        b"C0644 1 a\0b\n",
        b"C0644 1\n",
        b"C644 1 x\n",
        b"C0648 1 x\n",
        b"C06444 1 x\n",
        b"C0644 -1 x\n",
        b"C0644 +1 x\n",
        b"C0644 9223372036854775808 x\n",
        b"C0644 99999999999999999999 x\n",
        b"C0644  1 x\n",
        b"D0755 0 ..\n",
        b"E\n",
        b"Ex\n",
        b"T1 0 2\n",
        b"T1 0 2 -1\n",
        b"X\n",
        b"\n",
        b"id\n",
    ] {
        let mut gate = began(Way::ToTarget);
        passes(&mut gate, Side::Target, b"\0");
        assert!(gate.step(Side::User, bad).is_err(), "{}", bad.escape_ascii());
    }
    let mut gate = began(Way::ToTarget);
    passes(&mut gate, Side::Target, b"\0");
    let endless = [&b"C0644 1 "[..], &[b'a'; 2000]].concat();
    assert_eq!(gate.step(Side::User, &endless[..1000]), Ok(Step::More));
    assert_eq!(gate.step(Side::User, &endless), Err(Malformed("a line that does not end")));
    // A directory only where it was asked for.
    let mut gate = Gate::new(Way::ToTarget, Scp { recursive: false, into_directory: true }, &[String::from("/x")]);
    passes(&mut gate, Side::Target, b"\0");
    assert!(gate.step(Side::User, b"D0755 0 x\n").is_err());
}

#[test]
fn what_is_cut_off_is_on_record_as_far_as_it_came() {
    let mut gate = Gate::new(Way::ToTarget, Scp { recursive: false, into_directory: true }, &[String::from("/x/")]);
    passes(&mut gate, Side::Target, b"\0");
    passes(&mut gate, Side::User, b"C0644 5 y\n");
    passes(&mut gate, Side::Target, b"\0");
    passes(&mut gate, Side::User, b"abc");
    let notes = gate.finish();
    let note = notes.first().unwrap();
    assert!(note.text.starts_with("scp: put /x/y: 3 bytes, SHA-256 ba7816bf") && note.text.ends_with(", not all of 5"));
    assert_eq!(gate.finish(), []);
}

#[test]
fn of_several_paths_the_one_that_ends_in_the_name_is_on_record() {
    let roots = ["/a/one", "/b/two/"].map(String::from);
    for (name, path) in [("two", "/b/two/"), ("one", "/a/one"), ("three", "three")] {
        let mut gate = Gate::new(Way::FromTarget, TREE, &roots);
        passes(&mut gate, Side::User, b"\0");
        let told = passes(&mut gate, Side::Target, format!("D0755 0 {name}\n").as_bytes());
        assert_eq!(told, [format!("scp: list {path} mode 0755")]);
        passes(&mut gate, Side::User, b"\0");
        let told = passes(&mut gate, Side::Target, b"C0644 0 f\n");
        assert_eq!(told, [format!("scp: get {}/f mode 0644 size 0", path.trim_end_matches('/'))]);
    }
}

proptest! {
    /// However the bytes of both sides are cut, the same goes on, with the same notes.
    #[test]
    fn it_makes_no_difference_how_the_bytes_come(cuts in prop::collection::vec(1..9_usize, 1..60), to_target in any::<bool>()) {
        let way = if to_target { Way::ToTarget } else { Way::FromTarget };
        let sends: &[u8] = b"D0755 0 t\nC0644 20 a\nC0644 1 b\nE\nE\nE\nE\nE\n\0\x01bad\nC0600 0 c\n\0E\n";
        let answers: &[u8] = b"\0\0\0\0\x01no\n\0\0";
        let whole = play(way, sends, answers, &[usize::MAX]);
        prop_assert_eq!(play(way, sends, answers, &cuts), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(
        user in prop::collection::vec(any::<u8>(), 0..200),
        target in prop::collection::vec(any::<u8>(), 0..50),
        to_target in any::<bool>(),
    ) {
        let _ = play(if to_target { Way::ToTarget } else { Way::FromTarget }, &user, &target, &[3, 1, 7]);
    }
}

/// Plays both sides until nothing more passes, in pieces of these sizes: what passed of each, what was noted, and whether
/// it was ended. Who answers is heard where an answer is waited for.
fn play(way: Way, sends: &[u8], answers: &[u8], cuts: &[usize]) -> (usize, usize, Vec<String>, bool) {
    let mut gate = began(way);
    let (sender, answerer) = match way {
        Way::ToTarget => (Side::User, Side::Target),
        Way::FromTarget => (Side::Target, Side::User),
    };
    let (mut sent, mut answered, mut notes) = (0, 0, Vec::new());
    let mut cuts = cuts.iter().cycle();
    let mut piece = |side: Side, bytes: &[u8], from: usize, gate: &mut Gate| {
        let mut end = from;
        loop {
            match gate.step(side, &bytes[from..end]) {
                Ok(Step::More) if end < bytes.len() => end = end.saturating_add(*cuts.next().unwrap()).min(bytes.len()),
                step => return step,
            }
        }
    };
    loop {
        let step = piece(sender, sends, sent, &mut gate);
        let (side, step) = match step {
            Ok(Step::Wait) => (answerer, piece(answerer, answers, answered, &mut gate)),
            step => (sender, step),
        };
        match step {
            Ok(Step::Pass { bytes, notes: more }) => {
                *if side == sender { &mut sent } else { &mut answered } += bytes;
                notes.extend(more.into_iter().map(|note| note.text));
            }
            Ok(Step::More | Step::Wait) => break,
            Err(Malformed(_)) => return (sent, answered, notes, true),
        }
    }
    notes.extend(gate.finish().into_iter().map(|note| note.text));
    (sent, answered, notes, false)
}
