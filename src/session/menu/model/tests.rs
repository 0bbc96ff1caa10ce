use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::grant::Access;
use crate::model::{ChannelClass, SessionId};
use crate::screen::shown;
use crate::session::menu::keys::Keys;
use crate::session::verb::own::OwnState;

const VIEW: Size = Size { cols: 80, rows: 24 };

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn offer(destination: &str, access: Access) -> Offer {
    let open = BTreeSet::from([ChannelClass::Shell]);
    Offer {
        destination: Destination::parse(destination).unwrap(),
        access,
        ready: true,
        open,
        with_grant: BTreeSet::new(),
        may_ask: false,
        operators_may: true,
        with_key: BTreeSet::new(),
    }
}

fn offers(list: Vec<Offer>) -> Offers {
    Offers { list, more: false }
}

/// A menu with so many destinations.
fn menu(count: usize) -> Menu {
    let mut menu = Menu::new("alice");
    menu.set_offers(offers((0..count).map(|number| offer(&format!("root@db{number}"), Access::Open)).collect()), at(0));
    menu
}

fn press(menu: &mut Menu, bytes: &[u8]) -> Vec<Act> {
    Keys::default().feed(bytes).into_iter().map(|key| menu.press(key)).collect()
}

fn shown_rows(menu: &mut Menu) -> Vec<String> {
    menu.frame(VIEW, at(0)).rows.iter().map(|row| row.replace("\x1b[7m", "").replace("\x1b[0m", "")).collect()
}

fn chosen(menu: &mut Menu) -> Option<String> {
    let _ = menu.frame(VIEW, at(0));
    menu.chosen(at(0)).map(|destination| destination.to_string())
}

#[test]
fn every_word_of_the_search_must_be_in_a_row_whatever_its_case() {
    let mut menu = menu(0);
    let list = vec![
        offer("postgres@db1", Access::Open),
        offer("root@db1", Access::NeedsGrant),
        offer("root@web1", Access::Open),
    ];
    menu.set_offers(offers(list), at(0));
    press(&mut menu, b"ROOT ");
    let rows = shown_rows(&mut menu);
    assert_eq!(rows[1], "Search: ROOT ");
    assert!(rows[3].starts_with("> root@db1 ") && rows[3].trim_end().ends_with("needs a grant"), "{rows:?}");
    assert!(rows[4].starts_with("  root@web1 ") && rows[4].ends_with("open") && rows[5].is_empty(), "{rows:?}");
    assert!(rows[23].starts_with("2 of 3 destinations"), "{rows:?}");
    press(&mut menu, b"web");
    assert_eq!(chosen(&mut menu).as_deref(), Some("root@web1"));
    press(&mut menu, b"x");
    assert!(shown_rows(&mut menu)[22].contains("Esc clears"));
    assert_eq!(chosen(&mut menu), None);
    assert_eq!(Keys::default().feed(b"\x15"), [Key::EraseAll]);
    menu.press(Key::Escape);
    assert!(shown_rows(&mut menu)[23].starts_with("3 destinations"));
    press(&mut menu, b"root web\x17d\x7fd");
    assert_eq!(shown_rows(&mut menu)[1], "Search: root d");
}

#[test]
fn keys_move_the_selection_and_the_list_follows() {
    let mut menu = menu(100);
    for (keys, expected) in [
        (&b""[..], "root@db0"),
        (b"\x1b[B\x0e", "root@db2"),
        (b"\x1b[A", "root@db1"),
        (b"\x1b[6~", "root@db20"),
        (b"\x1b[5~\x1b[5~", "root@db0"),
        (b"\x1b[F", "root@db99"),
        (b"\x1b[B\x1b[A", "root@db98"),
        (b"\x1b[H", "root@db0"),
    ] {
        press(&mut menu, keys);
        assert_eq!(chosen(&mut menu).as_deref(), Some(expected), "{}", keys.escape_ascii());
        let rows = shown_rows(&mut menu);
        let selected: Vec<&String> = rows.iter().filter(|row| row.starts_with('>')).collect();
        assert_eq!(selected.len(), 1, "{rows:?}");
        assert!(selected[0].contains(expected), "{rows:?}");
        assert_eq!(rows[3..22].iter().filter(|row| row.contains('@')).count(), 19);
    }
}

#[test]
fn what_is_selected_stays_so_when_the_list_is_looked_up_again() {
    let mut menu = menu(30);
    press(&mut menu, b"\x1b[B\x1b[B\x1b[B");
    assert_eq!(chosen(&mut menu).as_deref(), Some("root@db3"));
    let fresh = (2..30).map(|number| offer(&format!("root@db{number}"), Access::Open)).collect();
    menu.set_offers(offers(fresh), at(0));
    assert_eq!(chosen(&mut menu).as_deref(), Some("root@db3"));
    menu.set_offers(offers(vec![offer("root@other", Access::Open)]), at(0));
    assert_eq!(chosen(&mut menu).as_deref(), Some("root@other"));
}

#[test]
fn a_key_leaves_chooses_or_turns_the_page() {
    let mut menu = menu(3);
    assert_eq!(press(&mut menu, b"\r"), [Act::Choose]);
    assert_eq!(press(&mut menu, b"xq"), [Act::Draw, Act::Draw], "q is a letter of the search");
    assert_eq!(press(&mut menu, b"\x15q"), [Act::Draw, Act::Leave]);
    assert_eq!(press(&mut menu, b"?\x03"), [Act::Draw, Act::Leave]);
    assert_eq!(press(&mut menu, b"\t"), [Act::Load(Page::Sessions)]);
    assert_eq!((press(&mut menu, b"\r"), chosen(&mut menu)), (vec![Act::Draw], None));
    assert!(shown_rows(&mut menu)[22].contains("Nothing to open here"));
    assert_eq!(press(&mut menu, b"\t"), [Act::Load(Page::Recordings)]);
    let own = OwnSession {
        session: SessionId::parse("01J9ZZZZZZZZZZZZZZZZZZZZZZ").unwrap(),
        destination: Destination::parse("root@db1").unwrap(),
        started: at(0),
        ended: Some(at(5000)),
        state: OwnState::Ended,
    };
    menu.set_sessions(Page::Recordings, vec![own], true);
    let rows = shown_rows(&mut menu);
    assert!(rows[3].contains("01J9ZZZZZZZZZZZZZZZZZZZZZZ") && rows[3].contains("root@db1"), "{rows:?}");
    assert!(rows[22].contains("Older ones") && rows[23].starts_with("1 recording "), "{rows:?}");
    assert_eq!(press(&mut menu, b"\x1b[Z\x1b[Z"), [Act::Load(Page::Sessions), Act::Load(Page::Destinations)]);
}

#[test]
fn an_empty_list_says_why_it_is_empty() {
    let mut menu = Menu::new("alice");
    assert_eq!(shown_rows(&mut menu)[22], "Looking...");
    menu.set_offers(Offers::default(), at(0));
    assert_eq!(shown_rows(&mut menu)[22], NOWHERE);
    press(&mut menu, b"?");
    assert!(shown_rows(&mut menu).iter().any(|row| row.contains("Ctrl-C, or q")));
    press(&mut menu, b"x");
    assert_eq!(shown_rows(&mut menu)[1], "Search: ", "a key that ends the help is no search");
}

#[test]
fn a_long_message_is_read_whole_and_the_list_makes_room() {
    let mut menu = menu(100);
    let text = "access denied: you hold no right to this destination now; ask an operator for a grant. ".repeat(2);
    menu.say(&text);
    press(&mut menu, b"");
    let rows = shown_rows(&mut menu);
    assert_eq!(rows[20..23].join(" "), text.trim_end());
    assert_eq!(rows[3..20].iter().filter(|row| row.contains('@')).count(), 17);
    press(&mut menu, b"\x1b[F");
    let rows = shown_rows(&mut menu);
    assert!(rows[21].starts_with("> root@db99") && rows[22].is_empty(), "{rows:?}");
    assert_eq!(wrapped(&"x".repeat(200), 10, 3), ["x".repeat(10)]);
}

#[test]
fn where_a_shell_may_be_opened_now_comes_first() {
    let mut menu = Menu::new("alice");
    let needs = Offer { open: BTreeSet::new(), ..offer("a@db1", Access::NeedsGrant) };
    let bare = Offer { ready: false, ..offer("b@db1", Access::Open) };
    menu.set_offers(offers(vec![needs, bare, offer("y@db1", Access::Open), offer("z@db1", Access::Open)]), at(0));
    let rows = shown_rows(&mut menu);
    let names: Vec<&str> = rows[3..7].iter().map(|row| &row[2..3]).collect();
    assert_eq!(names, ["y", "z", "a", "b"]);
}

#[test]
fn a_window_too_small_says_so_and_works_again_when_it_grows() {
    let mut menu = menu(5);
    for (cols, rows) in [(23, 24), (80, 5), (1, 1)] {
        let frame = menu.frame(Size { cols, rows }, at(0));
        assert_eq!((frame.rows.len(), frame.cursor), (rows, None));
        assert!("make the window 24x6 or larger".starts_with(&frame.rows[0]), "{frame:?}");
    }
    let frame = menu.frame(SIZE_MIN, at(0));
    assert!(frame.rows[3].contains("root@db0"), "{frame:?}");
}

// For slow links: only what differs is sent.
#[test]
fn a_key_costs_few_bytes() {
    let (mut menu, mut sheet) = (menu(5), crate::screen::Sheet::default());
    let mut sent = |menu: &mut Menu| {
        let (frame, mut out) = (menu.frame(VIEW, at(0)), String::new());
        sheet.draw(frame.rows, frame.cursor, &mut out);
        out.len()
    };
    assert!(sent(&mut menu) > 300);
    assert_eq!(sent(&mut menu), 0);
    for key in [b"\x1b[B", b"\x1b[A"] {
        press(&mut menu, key);
        let bytes = sent(&mut menu);
        assert!((1..250).contains(&bytes), "{bytes} bytes for a row");
    }
    press(&mut menu, b"r");
    let bytes = sent(&mut menu);
    assert!((1..60).contains(&bytes), "{bytes} bytes for a letter that all have");
}

// T23: ten thousand destinations and a person who types.
#[test]
fn ten_thousand_destinations_are_searched_at_each_key() {
    let mut menu = menu(10_000);
    #[expect(clippy::disallowed_methods, reason = "a test of speed")]
    let start = std::time::Instant::now();
    for key in "root 99".chars().chain("99".chars()) {
        menu.press(Key::Char(key));
        let _ = menu.frame(VIEW, at(0));
    }
    assert_eq!(chosen(&mut menu).as_deref(), Some("root@db9999"));
    // A frame is due each 50 ms; slow builds on busy machines are far below ten times that.
    assert!(start.elapsed().as_millis() < 9 * 500, "{:?}", start.elapsed());
}

/// Every row fits and has nothing in it that a terminal obeys but the reverse of ours.
fn assert_harmless(frame: &Frame, size: Size) {
    assert_eq!(frame.rows.len(), size.rows);
    for row in &frame.rows {
        let text = row.replace("\x1b[7m", "").replace("\x1b[0m", "");
        assert!(text.chars().count() <= size.cols, "{row:?}");
        assert!(text.chars().all(|c| shown(c) == c), "{row:?}");
    }
    if let Some((col, row)) = frame.cursor {
        assert!(col < size.cols && row < size.rows, "{frame:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_typed_every_frame_fits_and_is_harmless(
        pieces in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "(\\x1b\\[[ABFHZ]|\\x1b\\[[0-9]{1,3}~|[a-z0-9@? ]|\\t|\\r){0,20}".prop_map(String::into_bytes),
        ], 0..12),
        cols in 1_u32..120, rows in 1_u32..40, count in 0_usize..40,
        message in any::<String>(),
    ) {
        let mut menu = menu(count);
        let mut keys = Keys::default();
        for piece in pieces {
            for key in keys.feed(&piece) {
                let _ = menu.press(key);
                prop_assert!(menu.search.len() <= SEARCH_MAX);
            }
            let size = Size::bounded(cols, rows);
            assert_harmless(&menu.frame(size, at(0)), size);
            menu.say(&message);
            assert_harmless(&menu.frame(size, at(0)), size);
            let _ = menu.chosen(at(0));
        }
    }
}

#[test]
fn a_request_that_is_refused_is_there_again_as_it_was_typed_and_a_word_on_one_is_not() {
    let mut menu = Menu::new("alice");
    let asks = Offer { may_ask: true, ..offer("root@db1", Access::NeedsGrant) };
    menu.set_offers(offers(vec![asks]), at(0));
    let sent = |menu: &mut Menu, keys: &[u8]| press(menu, keys).pop().unwrap();
    assert!(menu.open_form(at(0)));
    let first = sent(&mut menu, b"\x159h\rCHG-1 vacuum\r");
    assert!(matches!(first, Act::Do(_)), "{first:?}");
    let long = "the longest that may be asked for is --for 8h, ".repeat(3);
    menu.refused(long.trim());
    let rows = shown_rows(&mut menu);
    assert!(
        rows.contains(&"For how long: 9h".to_owned()) && rows.contains(&"Why: CHG-1 vacuum".to_owned()),
        "{rows:#?}"
    );
    assert_eq!(rows.iter().filter(|row| row.contains("--for 8h")).count(), 2, "all of it: {rows:#?}");
    assert_eq!(rows.len(), VIEW.rows);
    // Only the length is typed anew.
    let Act::Do(ask) = sent(&mut menu, b"\x158h\r\r") else { panic!() };
    let again = format!("{ask:?}");
    assert!(again.contains("CHG-1 vacuum") && again.contains("28800s"), "{again}");
    menu.done("requested");
    assert!(!shown_rows(&mut menu).iter().any(|row| row.starts_with("Why:")));
    // Who has gone on is not called back.
    assert!(menu.open_form(at(0)));
    sent(&mut menu, b"\rwhy\r");
    press(&mut menu, b"db");
    menu.refused("no");
    assert!(!shown_rows(&mut menu).iter().any(|row| row.starts_with("Why:")));
}
