//! What the screen shows of the line.

use super::*;

#[test]
fn rows_wrap_at_any_width_and_the_cursor_stands_where_it_should() {
    for cols in [1, 2, 3, 5, 7, 10, 80] {
        let mut rig = Rig::new(cols, 30);
        rig.types("ab\u{4f60}\u{597d}cd".as_bytes());
        rig.check();
        for _ in 0..8 {
            rig.types(b"\x02");
            rig.check();
        }
        rig.types(b"xyz\x0b");
        rig.check();
        assert_eq!(rig.editor.text(), "xyz");
    }
}

#[test]
fn a_row_that_is_full_has_its_cursor_in_the_next() {
    let mut rig = Rig::new(10, 5);
    rig.types(b"12345678");
    assert_eq!((rig.text().as_str(), rig.screen.cursor()), ("$ 12345678", (0, 1, true)));
    rig.types(b"9");
    assert_eq!(rig.text(), "$ 12345678\n9");
    rig.types(b"\x7f\x7f");
    assert_eq!((rig.text().as_str(), rig.screen.cursor()), ("$ 1234567", (9, 0, true)));
    rig.types(b"\x1b\r8");
    assert_eq!(rig.text(), "$ 1234567\n> 8");
    rig.check();
}

#[test]
fn what_cannot_be_seen_is_spelled_out() {
    let mut rig = Rig::new(80, 24);
    rig.types("a\x1b[200~\t\x1b[201~b\u{202e}c\u{200b}\u{a0}".as_bytes());
    assert_eq!(rig.text(), "$ a^Ib<U+202E>c<U+200B><U+00A0>");
    rig.check();
    let begun =
        rig.editor.begin(Prompt { parts: vec![(Tone::Green, "h\x1b[2J\u{202e}\n".into())], more: "\x07".into() });
    rig.shown(&begun);
    assert!(rig.text().contains("h^[[2J<U+202E>^J"), "{}", rig.text());
}

#[test]
fn typing_at_the_end_sends_the_character_alone() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"ls");
    rig.sent();
    rig.types(b"x");
    assert_eq!(rig.sent(), "x");
    rig.types(b"\x02");
    assert_eq!(rig.sent(), "\x1b[5G");
    rig.types(b"y");
    assert_eq!(rig.sent(), "yx\x1b[6G");
    rig.types(b"\x05");
    assert_eq!(rig.sent(), "\x1b[7G");
    rig.types(b"\x7f");
    assert_eq!(rig.sent(), "\x1b[6G\x1b[K");
    rig.types("\u{4f60}".as_bytes());
    assert_eq!(rig.sent(), "\x1b[?7l\u{4f60}\x1b[?7h\x1b[8G");
}

#[test]
fn a_line_that_is_taller_than_the_window_is_shown_around_the_cursor() {
    let mut rig = Rig::new(10, 5);
    let text: String = (0..100).map(|n| format!("{n:02} ")).collect();
    rig.types(text.as_bytes());
    rig.check();
    assert_eq!(rig.editor.drawn().0.len(), 4, "a notice above it stays in sight");
    assert!(rig.screen.text().concat().ends_with("98 99"), "{}", rig.text());
    rig.types(b"\x01");
    rig.check();
    assert!(rig.text().starts_with("$ 00 01 02"), "{}", rig.text());
    for _ in 0..40 {
        rig.types(b"\x06");
        rig.check();
    }
    rig.types(b"\r");
    assert_eq!(rig.text().lines().last(), Some("$"));
}

#[test]
fn a_resize_shows_the_line_and_erases_nothing_above_it() {
    for (from, to) in [(80, 20), (20, 80), (80, 1), (1, 80), (7, 3)] {
        let mut rig = Rig::new(from, 24);
        rig.types(b"first\rabcdefghijklmnopqrstuvwxyz\x02\x02");
        for cols in [to, from] {
            let size = Size::bounded(cols, 24);
            rig.screen.resize(size);
            let before = rig.screen.text();
            let drawn = rig.editor.resize(size);
            rig.shown(&drawn);
            rig.check();
            let first = rig.screen.cursor().1 - rig.editor.drawn().1.0;
            let scrolled =
                before.iter().position(|row| *row == rig.screen.text()[0]).filter(|_| first > 0).unwrap_or(0);
            assert_eq!(before[scrolled..scrolled + first], rig.screen.text()[..first], "{from} {to}");
        }
        assert_eq!(rig.editor.text(), "abcdefghijklmnopqrstuvwxyz");
    }
}

#[test]
fn ctrl_l_leaves_the_line_alone_on_the_screen() {
    let mut rig = Rig::new(20, 5);
    rig.types(b"a\rb\rlong line that wraps around\x02\x02\x0c");
    assert_eq!(rig.text(), "$ long line that wra\nps around");
    rig.check();
}

#[test]
fn the_screen_is_given_to_programs_as_it_was() {
    let mut rig = Rig::new(80, 24);
    assert!(rig.sent().starts_with("\x1b[?2004h"));
    let fed = rig.editor.feed(b"ls\r", &Commands);
    assert!(fed.show.ends_with(b"\r\n\x1b[?2004l"), "{}", fed.show.escape_ascii());
}

#[test]
fn many_lists_in_one_piece_of_input_are_shown_once() {
    let mut rig = Rig::new(80, 24);
    rig.types(b"sy\t");
    rig.sent();
    let many = b"\t\tx\x7f".repeat(5000);
    rig.types(&many);
    assert!(rig.sent().len() < 40_000);
    rig.check();
}

/// Time for what a hostile user can send: not a bound for each machine, but far below what a quadratic redraw takes.
#[test]
#[expect(clippy::disallowed_methods, reason = "time is what is looked at")]
fn a_line_of_32_kib_is_typed_byte_by_byte_in_time() {
    for keys in [&b""[..], b"\x01"] {
        let mut rig = Rig::new(80, 24);
        rig.types(keys);
        let begun = Instant::now();
        let mut sent = 0;
        for _ in 0..LINE_BYTES_MAX / 8 {
            sent += rig.editor.feed(b"a", &Commands).show.len();
        }
        let took = begun.elapsed();
        assert!(took.as_secs() < 20, "{took:?}");
        assert!(sent < LINE_BYTES_MAX / 8 * 60, "{sent} bytes");
    }
}

/// Bytes as hostile or careless users send them.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z ]{1,12}".prop_map(String::into_bytes),
        3 => prop::sample::select(vec![
            &b"\x01"[..], b"\x02", b"\x05", b"\x06", b"\x04", b"\x7f", b"\x17", b"\x15", b"\x0b", b"\x19", b"\x14", b"\x1f",
            b"\x0c", b"\x10", b"\x0e", b"\x12", b"\x07", b"\t", b"\r", b"\x03", b"\x1a", b"\x16", b"'", b"\\", b"\x1b\r",
            b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x1b[3~", b"\x1bb", b"\x1bf", b"\x1bd",
            b"\x1b\x7f", b"\x1b.", b"\x1b[200~", b"\x1b[201~", b"\x1b[200~a\rb\x1b[201~", b"\x1b]0;x\x07", b"\x1b", b"\x1bO",
        ]).prop_map(<[u8]>::to_vec),
        2 => prop::sample::select(vec!["\u{4f60}", "\u{e4}", "\u{202e}", "\u{200b}", "\u{1f600}", "\u{a0}", "\u{7f}"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Without marks, to which the emulator gives cells.
fn bare(bytes: &[u8]) -> bool {
    !String::from_utf8_lossy(bytes).chars().any(super::super::cells::is_mark)
}

proptest! {
    #[test]
    fn any_bytes_in_any_split_and_size_give_the_same_line_and_the_screen_shows_it(
        bytes in input(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        sizes in prop::collection::vec((1_u32..30, 1_u32..12), 1..4),
    ) {
        let (cols, rows) = sizes[0];
        let (mut whole, mut parts) = (Rig::new(cols, rows), Rig::new(cols, rows));
        whole.types(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for (at, cut) in cuts.windows(2).enumerate() {
            parts.types(&bytes[cut[0]..cut[1]]);
            if bare(&bytes) {
                parts.check();
            }
            // Any resize between the pieces changes nothing but what is drawn.
            let (cols, rows) = sizes[at % sizes.len()];
            let size = Size::bounded(cols, rows);
            parts.screen.resize(size);
            let drawn = parts.editor.resize(size);
            parts.shown(&drawn);
            if bare(&bytes) {
                parts.check();
            }
        }
        prop_assert_eq!(&whole.acts, &parts.acts);
        prop_assert_eq!(whole.line(), parts.line());
        if !bare(&bytes) {
            return Ok(());
        }
        whole.check();
        let size = Size::bounded(cols, rows);
        parts.screen.resize(size);
        let drawn = parts.editor.resize(size);
        parts.shown(&drawn);
        // The rows that are drawn are the text: the editor's own words against those of the cells.
        let tall = usize::try_from(rows - rows / 5).unwrap();
        if !whole.editor.searches() && whole.editor.drawn().0.len() < tall && cols > 1 {
            let drawn = whole.editor.drawn().0.concat();
            let text: Vec<String> = whole.editor.text().split('\n').map(safe).collect();
            prop_assert_eq!(drawn, format!("$ {}", text.join("> ")));
        }
    }

    #[test]
    fn a_dumb_terminal_and_none_take_any_bytes(bytes in input()) {
        for terminal in [Terminal::Dumb, Terminal::None] {
            let mut rig = Rig::of(terminal, 10, 5);
            rig.types(&bytes);
            let sent = rig.sent();
            prop_assert!(!sent.contains('\x1b'));
        }
    }
}
