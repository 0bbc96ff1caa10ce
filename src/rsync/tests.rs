//! What real clients and servers said to each other (rsync 3.2.7 and 3.5.0), read along.

use proptest::prelude::*;

use super::*;

/// What was said: the command line, to the target, from the target.
struct Capture {
    line: &'static str,
    up: &'static [u8],
    down: &'static [u8],
}

macro_rules! capture {
    ($name:literal) => {
        Capture {
            line: include_str!(concat!("tests/", $name, ".line")),
            up: include_bytes!(concat!("tests/", $name, ".up")),
            down: include_bytes!(concat!("tests/", $name, ".down")),
        }
    };
}

const CAPTURES: &[Capture] = &[
    capture!("put-a"),
    capture!("get-a"),
    capture!("put-old"),
    capture!("put-again"),
    capture!("get-noinc"),
    capture!("put-30"),
    capture!("get-rel"),
    capture!("put-rel"),
    capture!("list"),
    capture!("get-dev"),
];

impl Capture {
    fn transfer(&self) -> Transfer {
        Transfer::parse(self.line.trim_end().as_bytes()).expect(self.line)
    }

    /// Everything that is found: of the list, and removed.
    fn read(&self) -> (Vec<Found>, bool) {
        let mut lister = Lister::new(&self.transfer()).unwrap();
        let mut found = lister.take(Side::User, self.up);
        found.extend(lister.take(Side::Target, self.down));
        (found, lister.is_whole())
    }
}

/// As it is put on record.
fn texts(scribe: &mut Scribe, found: Vec<Found>) -> Vec<String> {
    scribe.notes(found).into_iter().map(|note| note.text).collect()
}

#[test]
fn what_real_programs_said_is_read() {
    // How many were listed, sent and removed. All of them are there, the order of two folders at once as it came.
    let sums = [
        "22 listed, 14 sent, 0 removed",
        "22 listed, 14 sent, 0 removed",
        "21 listed, 12 sent, 0 removed",
        "22 listed, 2 sent, 3 removed",
        "22 listed, 13 sent, 0 removed",
        "7 listed, 4 sent, 0 removed",
        "14 listed, 8 sent, 0 removed",
        "8 listed, 4 sent, 0 removed",
        "11 listed, 0 sent, 0 removed",
        "4 listed, 1 sent, 0 removed",
    ];
    for (capture, sum) in CAPTURES.iter().zip(sums) {
        let (found, whole) = capture.read();
        let mut scribe = Scribe::new("put");
        let told = texts(&mut scribe, found);
        assert_eq!(scribe.sum(whole), sum, "{}", capture.line);
        let sent = told.iter().filter_map(|text| text.strip_prefix("rsync: put "));
        for name in sent {
            let listed = format!("rsync: list {name} file ");
            assert!(told.iter().any(|text| text.starts_with(&listed)), "{name} is sent and not listed: {told:?}");
        }
    }
}

#[test]
fn each_file_is_on_record_with_what_it_is() {
    let told = texts(&mut Scribe::new("put"), capture!("put-again").read().0);
    assert_eq!(told, AGAIN.lines().map(|line| format!("rsync: {line}")).collect::<Vec<_>>());
    // Of further names of a file the protocol tells only which.
    let told = texts(&mut Scribe::new("get"), capture!("get-noinc").read().0);
    let line = "rsync: list from/hard file hard link mode 0644 size 6 time 1700000000";
    assert!(told.iter().any(|text| text == line), "{told:?}");
}

const AGAIN: &str = r#"list . directory mode 0755 size 4096 time 1795337143
list small file mode 0644 size 6 time 1700000000
list deep.x directory mode 0755 size 4096 time 1795337143
list pipe pipe mode 0644 size 0 time 1795337143
list a\nline file mode 0644 size 2 time 1795337143
list empty file mode 0644 size 0 time 1795337143
list link link to "small" mode 0777 size 5 time 1795337143
list -dash file mode 0644 size 5 time 1795337143
list deep directory mode 0755 size 4096 time 1700000000
list hard file mode 0644 size 6 time 1700000000
list zz directory mode 0755 size 4096 time 1795337143
list deep.x/it's "quoted" file mode 0644 size 2 time 1795337143
list deep/zeros file mode 0644 size 3010 time 1795337812
list deep/er directory mode 0755 size 4096 time 1795337143
list deep/same file mode 0644 size 5 time 1795337143
list deep/er/odd name ü file mode 0644 size 4 time 1795337143
list zz/file4 file mode 0644 size 2 time 1795337143
list zz/file2 file mode 0644 size 2 time 1795337143
list zz/file5 file mode 0644 size 2 time 1795337143
list zz/empty directory mode 0755 size 4096 time 1795337143
list zz/file3 file mode 0644 size 2 time 1795337143
list zz/file1 file mode 0644 size 2 time 1795337143
put deep/zeros
put zz/file5
remove gonedir directory
remove gone no directory
remove deep/gone2 no directory"#;

#[test]
fn what_would_be_removed_is_not_told_as_removed() {
    let again = capture!("put-again");
    let dry = Capture { line: "rsync --server -nlogDtprcze.iLsfxCIvu --delete . /srv/to", ..again };
    let found = dry.read().0;
    assert!(!found.iter().any(|found| matches!(found, Found::Removed { .. })), "{found:?}");
}

/// What is found of what the sender says, and of what it does not, in pieces of these lengths by turns.
fn in_pieces(capture: &Capture, lengths: &[(usize, usize)]) -> (Vec<Found>, Vec<Found>, bool) {
    let mut lister = Lister::new(&capture.transfer()).unwrap();
    let mut found = Vec::new();
    let (mut up, mut down) = (capture.up, capture.down);
    for (up_bytes, down_bytes) in lengths.iter().cycle() {
        let (user, rest) = up.split_at(up.len().min(*up_bytes));
        up = rest;
        let (target, rest) = down.split_at(down.len().min(*down_bytes));
        down = rest;
        found.extend(lister.take(Side::User, user));
        found.extend(lister.take(Side::Target, target));
        assert!(lister.held_bytes() < 200_000, "it keeps {} bytes", lister.held_bytes());
        if up.is_empty() && down.is_empty() {
            break;
        }
    }
    let whole = lister.is_whole();
    let removed = |found: &Found| matches!(found, Found::Removed { .. } | Found::RemovalsLost(_));
    let (removed, found) = found.into_iter().partition(removed);
    (found, removed, whole)
}

proptest! {
    #[test]
    fn however_it_is_split_the_same_is_found(
        which in 0..CAPTURES.len(),
        lengths in prop::collection::vec((1_usize..300, 1_usize..300), 1..20),
    ) {
        let capture = &CAPTURES[which];
        let whole = in_pieces(capture, &[(usize::MAX, usize::MAX)]);
        prop_assert!(whole.2);
        prop_assert_eq!(&in_pieces(capture, &[(1, 1)]), &whole);
        prop_assert_eq!(&in_pieces(capture, &lengths), &whole);
    }

    #[test]
    fn what_is_altered_is_read_the_same_however_it_is_split(
        which in 0..CAPTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        lengths in prop::collection::vec((1_usize..300, 1_usize..300), 1..20),
    ) {
        let capture = &CAPTURES[which];
        let mut said = [capture.up, capture.down].concat();
        for (at, byte) in changes {
            *at.get_mut(&mut said) = byte;
        }
        let (up, down) = said.split_at(capture.up.len());
        let altered = Capture { line: capture.line, up: up.to_vec().leak(), down: down.to_vec().leak() };
        let whole = in_pieces(&altered, &[(usize::MAX, usize::MAX)]);
        prop_assert_eq!(&in_pieces(&altered, &lengths), &whole);
        // Nothing follows what was not understood.
        let end = whole.0.iter().position(|found| matches!(found, Found::Lost(_)));
        prop_assert!(end.is_none_or(|end| end + 1 == whole.0.len()));
    }
}

/// A list that a user sends, of protocol 31 and without anything that an option adds.
struct Sent {
    lister: Lister,
}

const PLAIN: &str = "rsync --server -r . x";

impl Sent {
    fn new(line: &str, flags: u8) -> Self {
        let transfer = Transfer::parse(line.as_bytes()).unwrap();
        let mut lister = Lister::new(&transfer).unwrap();
        assert!(lister.take(Side::User, &31_i32.to_le_bytes()).is_empty());
        assert!(lister.take(Side::Target, &[&31_i32.to_le_bytes()[..], &[flags], &[0; 4]].concat()).is_empty());
        Self { lister }
    }

    fn message(&mut self, kind: u8, bytes: &[u8]) -> Vec<Found> {
        let [a, b, c, _] = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        self.lister.take(Side::User, &[&[a, b, c, kind + 7], bytes].concat())
    }

    fn data(&mut self, bytes: &[u8]) -> Vec<Found> {
        self.message(0, bytes)
    }

    /// Why the list ends with these bytes.
    fn lost(mut self, bytes: &[u8]) -> String {
        match self.data(bytes).pop() {
            Some(Found::Lost(Lost(why))) => why.into_owned(),
            other => panic!("not lost but {other:?}"),
        }
    }
}

/// An entry of a file of 5 bytes.
fn file(name: &[u8]) -> Vec<u8> {
    [&[1, u8::try_from(name.len()).unwrap()][..], name, &[0, 5, 0], &[0; 4], &0o100_644_u32.to_le_bytes()].concat()
}

#[test]
fn what_is_not_understood_ends_the_list() {
    let name = |flags: &[u8], length: &[u8]| [flags, length, &[b'x'; 5000]].concat();
    let one = [file(b"a"), vec![0]].concat();
    for (bytes, why) in [
        (file(b"a\0b"), "a name that is none"),
        (file(b""), "a name that is none"),
        // 200 bytes of the name before, of which there is none.
        ([&[0x21, 200][..], &file(b"a")[1..]].concat(), "a name that begins as none"),
        (name(&[0x41], &[0x90, 0]), "a name that is too long"),
        (name(&[0x41], &[0xff]), "a number that is too long"),
        (vec![0x05, 0x02, 1, b'a', 7], "a link to no file"),
        (vec![0x01, 1, b'a', 0, 5, 0, 0xfc, 0, 0, 0, 0, 0, 0, 0], "a number that is too long"),
        ([&one[..], &[9, 0, 0x80]].concat(), "the content of what is not listed"),
        ([&one[..], &[0xff, 1]].concat(), "an index of nothing"),
        ([&one[..], &[0xff, 100]].concat(), "a list of no folder"),
    ] {
        let shown = bytes.iter().take(20).map(|byte| format!("{byte:02x}")).collect::<String>();
        let bytes = if bytes.starts_with(&one) { [&bytes[..], &[0; 16]].concat() } else { bytes };
        assert_eq!(Sent::new(PLAIN, 0).lost(&bytes), why, "{shown}");
    }
    // A filter comes first where something is removed.
    assert_eq!(Sent::new("rsync --server -r --delete . x", 0).lost(&[0xff; 4]), "a filter that is too long");
    let mut sent = Sent::new(PLAIN, 0);
    assert!(matches!(&sent.message(50, b"")[..], [Found::Lost(_)]));
    assert!(sent.data(&file(b"a")).is_empty(), "something is read behind what was not understood");
}

#[test]
fn what_is_greeted_otherwise_is_not_read() {
    let transfer = Transfer::parse(PLAIN.as_bytes()).unwrap();
    for (user, target) in [
        (31, [&29_i32.to_le_bytes()[..], &[0; 5]].concat()),
        (29, [&31_i32.to_le_bytes()[..], &[0; 5]].concat()),
        (33, [&33_i32.to_le_bytes()[..], &[0; 5]].concat()),
        // A flag of times to come.
        (31, [&31_i32.to_le_bytes()[..], &[0x82, 0], &[0; 4]].concat()),
        // Nothing that both know.
        (31, [&31_i32.to_le_bytes()[..], &[0x80, 0x80, 3], b"md7", &[0; 4]].concat()),
        (31, b"Welcome to this machine\n".to_vec()),
    ] {
        let mut lister = Lister::new(&transfer).unwrap();
        let hello = [&i32::to_le_bytes(user)[..], &[3], b"md5"].concat();
        assert!(lister.take(Side::User, &hello).is_empty());
        let found = lister.take(Side::Target, &target);
        assert!(matches!(&found[..], [Found::Lost(_)]) && !lister.is_whole(), "{found:?}");
    }
    let mut lister = Lister::new(&transfer).unwrap();
    let found = lister.take(Side::User, &[0; 70_000]);
    assert!(matches!(&found[..], [Found::Lost(_)]) && lister.held_bytes() == 0, "{found:?}");
}

#[test]
fn forms_that_are_not_known_are_not_read_from_the_start() {
    for (options, why) in [
        ("-rA", "-A"),
        ("-rXre.iLsfxCIvu", "-X"),
        ("-r --iconv=UTF-8", "--iconv=UTF-8"),
        ("-r --fake-super", "--fake-super"),
        ("-re.iLsfxCIV", "-e.iLsfxCIV"),
        ("-r --checksum-choice=sha9", "--checksum-choice=sha9"),
        ("-rz --compress-level=0x0", "--compress-level=0x0"),
    ] {
        let line = format!("rsync --server {options} . x");
        let lost = Lister::new(&Transfer::parse(line.as_bytes()).expect(&line)).err();
        assert_eq!(lost, Some(Lost(format!("its form with the option {why} is not known here").into())), "{line}");
    }
}

#[test]
fn names_beyond_the_limit_are_counted_and_of_those_beyond_it_no_number_is_read_as_another_file() {
    let mut scribe = Scribe::new("put");
    let mut sent = Sent::new(PLAIN, 0);
    let mut told = Vec::new();
    for number in 0..20_500 {
        let found = sent.data(&file(format!("file {number}").as_bytes()));
        told.extend(texts(&mut scribe, found));
    }
    assert_eq!(told.len(), 20_000);
    assert_eq!(told[19_999], "rsync: list: no more names from here on, only their count");
    assert_eq!(told[19_998], "rsync: list file 19998 file mode 0644 size 5 time 0");
    sent.data(&[0]);
    assert_eq!(sent.data(&[&[1, 0, 0x80][..], &[0; 16]].concat()), [Found::Sent(None)]);
    assert!(sent.lister.is_whole());
    assert_eq!(scribe.sum(sent.lister.is_whole()), "20500 listed, 0 sent, 0 removed");
}

#[test]
fn what_is_sent_is_told_by_its_number_in_the_order_of_names() {
    let mut sent = Sent::new(PLAIN, 0);
    let list = [file(b"b"), file(b"c"), file(b"a"), vec![0]].concat();
    assert_eq!(sent.data(&list).len(), 3);
    // The second of them: 7 bytes that are no index, the end, and the checksum.
    let content = [&[2, 0, 0x80][..], &[0; 16], &[7, 0, 0, 0], &[1; 7], &[0; 4], &[9; 16]].concat();
    assert_eq!(sent.data(&content), [Found::Sent(Some(b"b".to_vec()))]);
    assert_eq!(sent.data(&[&[1, 0, 0x80][..], &[0; 16]].concat()), [Found::Sent(Some(b"c".to_vec()))]);
}

#[test]
fn what_is_read_is_on_record_before_it_goes_on() {
    let found = Sent::new(PLAIN, 0).data(&[file(b"a"), file(b"b")].concat());
    let firsts: Vec<bool> = Scribe::new("put").notes(found).into_iter().map(|note| note.first).collect();
    // What is there last is there after all others.
    assert_eq!(firsts, [false, true]);
}
