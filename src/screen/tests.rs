use proptest::prelude::*;

use super::*;
use crate::model::Output;

/// What a hostile target sends to harm a terminal that obeys it.
const HOSTILE: &[&[u8]] = &[
    b"\x1b]52;c;cm0gLXJmIC8=\x07",
    b"\x1b]52;c;?\x1b\\",
    b"\x1b]0;title\x07\x1b[21t",
    b"\x1b[>0q\x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?15n\x1b[x",
    b"\x1bP$qm\x1b\\\x1bP+q544e\x1b\\\x1bP0;1|17/41\x1b\\",
    b"\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    b"\x1b_Gf=24,s=1,v=1;AAAA\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\",
    b"\x1b]1337;File=name=eA==;inline=1:AAAA\x07\x1b]777;notify;a;b\x07\x1b]9;x\x07",
    b"\x1b]4;0;?\x07\x1b]10;?\x07\x1b]11;?\x07\x1b]50;?\x07",
    b"\x9b6n\x9d52;c;AAAA\x9c\x90$qm\x9c\x9fx\x9c",
    "\u{9b}6n\u{9d}52;c;AAAA\u{9c}\u{90}$qm\u{9c}\u{9f}x\u{9c}".as_bytes(),
    b"\x1b[?1000h\x1b[?1003h\x1b[?1006h\x1b[?2004h\x1b[?1004h\x1b[?9001h\x1b[>4;2m\x1b[=1;1u\x1b[5i",
    b"\x1b%G\x1b%@\x1b(0qqq\x0e\x0f\x1b#8\x1bc\x1b[!p\x1b[2;3;4\"p\x05\x07\x7f",
    "\u{202e}txt.exe\u{2066}\u{200b}\u{feff}\u{e0041}".as_bytes(),
    b"\x1b]52;c;never ended",
];

#[test]
fn a_hostile_recording_reaches_the_terminal_as_cells_only() {
    let mut screen = Screen::new(Size::bounded(80, 24));
    let mut painter = Painter::new(Size::bounded(80, 25));
    for attack in HOSTILE {
        screen.feed(attack);
        screen.feed(b"\x1b\\ok\r\n");
        let mut out = String::new();
        painter.paint(&screen, "\x1b]52;c;AAAA\x07 status \u{202e}", &mut out);
        assert_allowed(&out);
    }
    assert!(screen.text().iter().any(|row| row.contains("ok")));
}

#[test]
fn hostile_bytes_are_text_in_the_plain_form() {
    for attack in HOSTILE {
        let (mut plain, mut screen) = (Plain::default(), Screen::new(Size::bounded(80, 24)));
        let (mut lines, mut scrolled) = (String::new(), String::new());
        plain.push(Output::Stdout, attack, &mut lines);
        plain.push(Output::Stderr, attack, &mut lines);
        plain.finish(&mut lines);
        screen.feed_scrolling(attack, &mut scrolled);
        screen.finish_scrolling(&mut scrolled);
        for text in [lines, scrolled] {
            assert!(text.chars().all(|c| c == '\n' || shown(c) == c), "{text:?}");
        }
    }
}

#[test]
fn a_frame_shows_text_colour_and_cursor() {
    let mut screen = Screen::new(Size::bounded(20, 3));
    screen.feed(b"plain \x1b[1;31mred\x1b[0m \x1b[48;2;1;2;3mx\x1b[0m\r\n\xe4\xbd\xa0\xe5\xa5\xbd ok");
    let mut painter = Painter::new(Size::bounded(20, 4));
    let mut out = String::new();
    painter.paint(&screen, "status", &mut out);
    assert!(out.contains("plain \x1b[0;1;38;5;1mred\x1b[0m \x1b[0;48;2;1;2;3mx\x1b[0m"), "{out:?}");
    assert!(out.contains("\u{4f60}\u{597d}\x1b[5G ok"), "{out:?}");
    assert!(out.contains("\x1b[7mstatus              \x1b[0m"), "{out:?}");
    assert!(out.ends_with("\x1b[2;8H\x1b[?25h"), "{out:?}");
}

#[test]
fn only_rows_that_changed_are_drawn_again() {
    let mut screen = Screen::new(Size::bounded(20, 3));
    let mut painter = Painter::new(Size::bounded(20, 4));
    screen.feed(b"one\r\ntwo");
    painter.paint(&screen, "status", &mut String::new());
    screen.feed(b"!");
    let mut out = String::new();
    painter.paint(&screen, "status", &mut out);
    assert!(out.contains("two!") && !out.contains("one") && !out.contains("status"), "{out:?}");
}

#[test]
fn a_screen_larger_than_the_view_is_clipped_around_the_cursor() {
    let mut screen = Screen::new(Size::bounded(100, 30));
    let mut painter = Painter::new(Size::bounded(10, 5));
    for row in 0..30 {
        screen.feed(format!("\x1b[{};1Hrow {row} {}", row + 1, "x".repeat(50)).as_bytes());
    }
    let mut out = String::new();
    assert!(painter.clips(&screen));
    painter.paint(&screen, "status", &mut out);
    assert!(out.contains("row 29 xxx") && !out.contains("xxxx") && !out.contains("row 25"), "{out:?}");
}

#[test]
fn scrolled_text_is_whole_lines_in_order() {
    let mut screen = Screen::new(Size::bounded(10, 3));
    let mut out = String::new();
    screen.feed_scrolling(b"one\r\n", &mut out);
    screen.feed_scrolling(b"a long line that wraps\r\n\x1b[?1049hvim\x1b[?1049l", &mut out);
    screen.feed_scrolling(b"\r\nlast\r\n", &mut out);
    screen.finish_scrolling(&mut out);
    assert_eq!(out, "one\na long line that wraps\n\nlast\n");
}

#[test]
fn lines_of_standard_error_are_marked() {
    let (mut plain, mut out) = (Plain::default(), String::new());
    plain.push(Output::Stdout, b"out\npart", &mut out);
    plain.push(Output::Stderr, b"bad\r\nworse\n", &mut out);
    plain.push(Output::Stdout, b"10%\r20%\r\n\x1b[31m\xff\t\xe2\x82", &mut out);
    plain.push(Output::Stdout, b"\xac", &mut out);
    plain.finish(&mut out);
    assert_eq!(out, "out\npart\nstderr: bad\nstderr: worse\n10%\n20%\n^[[31m\u{fffd}\t\u{20ac}\n");
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(Size::bounded(0, 0), Size { cols: 1, rows: 1 });
    assert_eq!(Size::bounded(u32::MAX, u32::MAX), Size { cols: 500, rows: 200 });
}

#[test]
fn repeats_and_output_without_line_ends_stay_bounded() {
    let mut screen = Screen::new(Size::bounded(500, 200));
    let mut out = String::new();
    for _ in 0..200 {
        screen.feed_scrolling(b"x\x1b[65535b", &mut out);
    }
    screen.finish_scrolling(&mut out);
    assert!(out.len() < 200 * 510, "{}", out.len());
    assert!(screen.scrolled.begun.len() <= LINE_BYTES_MAX + 4 * COLS_MAX);
}

#[test]
fn few_bytes_do_not_make_much_text() {
    let mut screen = Screen::new(Size::bounded(500, 200));
    let (mut out, mut longest) = (String::new(), 0);
    for _ in 0..200 {
        let before = out.len();
        screen.feed_scrolling(b"\x1b#8\x1b[2J", &mut out);
        longest = longest.max(out.len() - before);
    }
    screen.feed_scrolling(b"end\r\n", &mut out);
    screen.finish_scrolling(&mut out);
    assert!(out.len() < 1_100_000 && longest <= 200 * 501, "{} {longest}", out.len());
    assert!(out.ends_with("lines left out, made by few bytes]\n"), "{}", &out[out.len() - 100..]);
}

#[test]
fn escaped_json_means_the_same() {
    let text = "a\u{9b}b\u{202e}\u{e0041}\u{fffd}\u{7f}\u{4f60}";
    let json = serde_json::to_string(text).unwrap();
    let line = json_line(&json);
    assert!(line.chars().all(|c| shown(c) == c), "{line}");
    assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
}

proptest! {
    #[test]
    fn whatever_was_recorded_only_allowed_sequences_are_drawn(
        pieces in prop::collection::vec(piece(), 0..40),
        cols in 1u32..90, rows in 1u32..30, view_cols in 1u32..90, view_rows in 1u32..30,
        status in any::<String>(),
    ) {
        let mut screen = Screen::new(Size::bounded(cols, rows));
        let mut painter = Painter::new(Size::bounded(view_cols, view_rows));
        for piece in &pieces {
            match piece {
                Piece::Bytes(bytes) => screen.feed(bytes),
                Piece::Resize(cols, rows) => screen.resize(Size::bounded(*cols, *rows)),
            }
            let mut out = String::new();
            painter.paint(&screen, &status, &mut out);
            assert_allowed(&out);
        }
    }

    #[test]
    fn the_same_screen_comes_of_any_split(bytes in escapes(), at in any::<prop::sample::Index>()) {
        let size = Size::bounded(40, 10);
        let (mut whole, mut halves) = (Screen::new(size), Screen::new(size));
        let at = at.index(bytes.len() + 1);
        whole.feed(&bytes);
        halves.feed(&bytes[..at]);
        halves.feed(&bytes[at..]);
        prop_assert_eq!(whole.text(), halves.text());
        prop_assert_eq!(whole.cursor(), halves.cursor());
    }

    #[test]
    fn plain_text_is_safe_and_complete(bytes in escapes(), at in any::<prop::sample::Index>()) {
        let (mut plain, mut out) = (Plain::default(), String::new());
        let at = at.index(bytes.len() + 1);
        plain.push(Output::Stdout, &bytes[..at], &mut out);
        plain.push(Output::Stdout, &bytes[at..], &mut out);
        plain.finish(&mut out);
        prop_assert!(out.chars().all(|c| matches!(c, '\n' | '\t') || shown(c) == c));
        let (mut plain, mut whole) = (Plain::default(), String::new());
        plain.push(Output::Stdout, &bytes, &mut whole);
        plain.finish(&mut whole);
        prop_assert_eq!(out, whole);
    }
}

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Vec<u8>),
    Resize(u32, u32),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        8 => escapes().prop_map(Piece::Bytes),
        1 => (0u32..120, 0u32..60).prop_map(|(cols, rows)| Piece::Resize(cols, rows)),
    ]
}

/// Bytes in which escape sequences are common, whole and broken.
fn escapes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        any::<String>().prop_map(String::into_bytes),
        "\\x1b[\\[\\]PX^_()#%][?>=!]?[0-9;:]{0,8}[ -~]".prop_map(String::into_bytes),
        "\\x1b\\[[0-9]{0,5}(;[0-9]{0,5})?[A-Za-z@`]".prop_map(String::into_bytes),
        "\\x1b\\[\\?(7|6|1049|47|25|1047|1048|5)[hl]".prop_map(String::into_bytes),
        prop::sample::select(HOSTILE).prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Fails on any sequence that is not in the painter's list, and on any character that may not be shown.
fn assert_allowed(out: &str) {
    let mut rest = out;
    while let Some(c) = rest.chars().next() {
        if c != '\x1b' {
            assert_eq!(shown(c), c, "in {out:?}");
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let body = rest.strip_prefix("\x1b[").unwrap_or_else(|| panic!("not CSI: {rest:?}"));
        let end = body.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).expect("an unfinished sequence");
        let (numbers, tail) = body.split_at(end);
        let last = tail.chars().next().unwrap();
        let allowed = match last {
            'H' | 'G' | 'm' => !numbers.contains('?'),
            'K' => numbers.is_empty(),
            'J' => numbers == "2",
            'h' | 'l' => numbers == "?25",
            _ => false,
        };
        assert!(allowed, "CSI {numbers}{last} in {out:?}");
        rest = &tail[last.len_utf8()..];
    }
}
