use proptest::prelude::*;

use super::*;
use crate::screen::Screen;

const FULL: Terminal = Terminal::Full { colours: true };

struct Rig {
    page: Page,
    screen: Screen,
    acts: Vec<PageAct>,
}

impl Rig {
    fn new(content: &str, cols: u32, rows: u32) -> Self {
        let size = Size::bounded(cols, rows);
        let page = Page::open("/etc/motd\x1b", content.as_bytes(), FULL, size).unwrap();
        let mut rig = Self { page, screen: Screen::new(size), acts: Vec::new() };
        let begun = rig.page.begin();
        rig.screen.feed(&begun);
        rig
    }

    fn types(&mut self, mut bytes: &[u8]) -> &mut Self {
        while !bytes.is_empty() {
            let fed = self.page.feed(bytes);
            self.screen.feed(&fed.show);
            bytes = &bytes[fed.taken..];
            self.acts.extend(fed.act);
        }
        self
    }

    fn shown(&self) -> String {
        self.screen.text().join("\n")
    }

    /// The character under the cursor, and the one before it.
    fn under(&self) -> String {
        let (col, row, _) = self.screen.cursor();
        let rows = self.screen.text();
        rows[row].chars().chain(std::iter::repeat(' ')).skip(col.saturating_sub(1)).take(2).collect()
    }
}

fn saved(text: &str, leave: bool) -> PageAct {
    PageAct::Save { text: text.to_owned(), leave }
}

#[test]
fn a_file_is_shown_edited_and_written() {
    let mut rig = Rig::new("one\ntwo\n\tthree\n", 60, 8);
    let shown = " /etc/motd^[\none\ntwo\n        three\n\n\n\n";
    assert!(rig.shown().starts_with(shown) && rig.shown().contains("^S save  ^X leave"), "{}", rig.shown());
    rig.types(b"\x1b[B\x05 more\x1b[B\x01\x0b\x15\x15\x13");
    assert_eq!(rig.acts, [saved("one\ntwo more\n\tthree\n\tthree\n", false)]);
    assert!(rig.shown().contains("(changed)"));
    let told = rig.page.saved();
    rig.screen.feed(&told);
    assert!(rig.shown().contains("written") && !rig.page.is_changed() && !rig.shown().contains("(changed)"));
    rig.types(b"\x18");
    assert_eq!(rig.acts.last(), Some(&PageAct::Leave));
}

#[test]
fn leaving_a_changed_file_asks_first() {
    let mut rig = Rig::new("a", 60, 8);
    rig.types(b"x\x18");
    assert!(rig.shown().contains("write the changes?") && rig.acts.is_empty());
    rig.types(b"q\x03y");
    assert_eq!((rig.acts.len(), rig.page.content()), (0, String::from("xya")));
    rig.types(b"\x18y");
    assert_eq!(rig.acts, [saved("xya", true)]);
    let told = rig.page.not_saved("no room\x1b[2J");
    rig.screen.feed(&told);
    assert!(rig.shown().contains("NOT written: no room^[[2J") && rig.page.is_changed());
    rig.types(b"\x18n");
    assert_eq!(rig.acts.last(), Some(&PageAct::Leave));
    rig.types(b"\x1f\x1f\x1f\x1f\x18");
    assert_eq!((rig.page.content().as_str(), rig.acts.last()), ("a", Some(&PageAct::Leave)), "undone is not changed");
}

#[test]
fn line_ends_and_a_last_line_without_one_are_kept() {
    for (content, wanted) in [
        ("a\r\nb\r\n", "x\r\na\r\nb\r\n"),
        ("a\r\nb", "x\r\na\r\nb"),
        ("a\nb\r\n", "x\na\nb\r\n"),
        ("a", "x\na"),
        ("", "x\n"),
        ("\ra", "x\n\ra"),
        ("\u{feff}a\n", "x\n\u{feff}a\n"),
    ] {
        let mut rig = Rig::new(content, 40, 10);
        assert_eq!(rig.page.content(), content);
        rig.types(b"x\r");
        assert_eq!(rig.page.content(), wanted, "{}", content.escape_debug());
    }
}

#[test]
fn what_cannot_be_kept_as_it_is_is_refused_in_words() {
    let open = |content: &[u8], terminal| {
        Page::open("f", content, terminal, Size::bounded(80, 24)).map(|_| ()).map_err(|no| no.to_string())
    };
    assert_eq!(open(b"ab\xff", FULL), Err(String::from("it is no text in UTF-8: byte 2 is not")));
    assert_eq!(open(&vec![b'\n'; FILE_BYTES_MAX + 1], FULL), Err(String::from("it has more than 1 MiB")));
    assert_eq!(open(&vec![b'a'; ROW_BYTES_MAX + 1], FULL), Err(String::from("a line of it has more than 64 KiB")));
    assert_eq!(open(b"", Terminal::Dumb), Err(String::from("this terminal cannot move its cursor")));
    assert_eq!(open(&vec![b'\n'; FILE_BYTES_MAX], FULL), Ok(()));
}

#[test]
fn it_finds_repeats_and_says_when_there_is_none() {
    let mut rig = Rig::new("needle\nhay\nneedle\n", 40, 10);
    rig.types(b"\x17needle\r");
    assert_eq!(rig.page.text.at(), 11);
    rig.types(b"\x06\r");
    assert_eq!(rig.page.text.at(), 0);
    assert!(rig.shown().contains("found from the beginning on"));
    rig.types(b"\x17zzz\r");
    assert!(rig.shown().contains("not found: zzz"));
    rig.types(b"\x17x\x03\x17\x7f\x1b[200~a\nb\x1b[201~");
    assert!(rig.shown().contains("find: ab"), "{}", rig.shown());
}

#[test]
fn pages_scroll_and_long_rows_follow_the_cursor() {
    let content: String = (0..100).map(|n| format!("row {n}\n")).collect();
    let mut rig = Rig::new(&content, 20, 10);
    rig.types(b"\x1b[6~");
    assert!(rig.shown().contains("row 7"), "{}", rig.shown());
    rig.types(b"\x1b>");
    assert!(rig.shown().contains("row 99"), "{}", rig.shown());
    rig.types(b"\x1b<");
    assert!(rig.shown().contains("row 0"), "{}", rig.shown());
    let mut rig = Rig::new(&"0123456789".repeat(10), 20, 10);
    rig.types(b"\x05");
    assert_eq!(rig.under(), "9 ");
    for _ in 0..99 {
        rig.types(b"\x02");
    }
    assert_eq!(rig.under(), "01");
    let mut rig = Rig::new("\t\u{4f60}\u{202e}\tx", 20, 10);
    rig.types(b"\x05");
    assert_eq!(rig.under(), "x ");
}

#[test]
fn a_paste_is_text_and_bounded() {
    let mut rig = Rig::new("", 40, 10);
    rig.types(b"\x1b[200~a\r\n\tb\x1b[201~\x1b[200~\x1b[A\x1b[201~");
    assert_eq!(rig.page.content(), "a\n\tb");
    assert!(rig.shown().contains("nothing was pasted"));
    rig.types(b"\x1b[200~");
    for _ in 0..2 {
        rig.types(&vec![b'z'; FILE_BYTES_MAX / 2 + 1]);
    }
    rig.types(b"\x1b[201~");
    assert_eq!(rig.page.content(), "a\n\tb");
    assert!(rig.page.paste.text.len() <= FILE_BYTES_MAX);
}

proptest! {
    #[test]
    fn any_bytes_in_any_split_and_size_give_the_same_text(
        content in "[a-z\\t\\r\\n\\u{4f60}\\u{202e}]{0,60}",
        pieces in prop::collection::vec(prop_oneof![
            3 => "[a-z\\r\\t ]{1,8}".prop_map(String::into_bytes),
            3 => prop::sample::select(vec![
                &b"\x1b[A"[..], b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x01", b"\x05", b"\x7f", b"\x04", b"\x0b", b"\x15", b"\x1f",
                b"\x17", b"\x06", b"\x03", b"\x18", b"\x13", b"n", b"\x1b[5~", b"\x1b[6~", b"\x1b<", b"\x1b>", b"\x1b[200~",
                b"\x1b[201~", b"\x1b",
            ]).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 1..5),
        ], 0..30),
        at in any::<prop::sample::Index>(),
        (cols, rows) in (1_u32..30, 1_u32..12),
    ) {
        let bytes = pieces.concat();
        let (mut whole, mut parts) = (Rig::new(&content, cols, rows), Rig::new(&content, cols, rows));
        prop_assert_eq!(whole.page.content(), content);
        whole.types(&bytes);
        let at = at.index(bytes.len() + 1);
        parts.types(&bytes[..at]);
        // A page is as long as the window is, and moves the cursor by it: so only the width changes.
        let size = Size::bounded(cols + 3, rows);
        parts.screen.resize(size);
        let drawn = parts.page.resize(size);
        parts.screen.feed(&drawn);
        parts.types(&bytes[at..]);
        prop_assert_eq!(&whole.acts, &parts.acts);
        prop_assert_eq!(whole.page.content(), parts.page.content());
    }
}
