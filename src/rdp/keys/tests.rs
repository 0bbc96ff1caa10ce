use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::Kind;
use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn key(code: u8, extended: bool, released: bool) -> Input {
    Input::Key { code, extended, released }
}

/// Presses and lets go: `+` and `-` before a code hold a key or let go of it.
fn typed(layout: u32, codes: &[i16]) -> String {
    let mut keys = Keys::new(layout);
    for code in codes {
        let extended = code.abs() >= 0x100;
        let place = u8::try_from(code.abs() & 0xff).unwrap();
        // Modifiers stay down until their negative.
        let modifier = matches!(place, 0x2A | 0x36 | 0x1D | 0x38);
        if *code > 0 {
            assert_eq!(keys.take(at(1), key(place, extended, false)), None);
        }
        if *code < 0 || !modifier {
            keys.take(at(1), key(place, extended, true));
        }
    }
    keys.finish().map(|line| line.text).unwrap_or_default()
}

const SHIFT: i16 = 0x2A;
const ALT_GRAPH: i16 = 0x138;

#[test]
fn each_layout_reads_its_own_letters() {
    // Z and Y, the key right of P, the digits with Shift.
    let places = [0x15, 0x2C, 0x1A, SHIFT, 0x03, 0x04, -SHIFT, 0x33];
    assert_eq!(typed(0x409, &places), "yz[@#,");
    assert_eq!(typed(0x809, &places), "yz[\"£,");
    assert_eq!(typed(0x407, &places), "zyü\"§,");
    assert_eq!(typed(0x40C, &[0x10, 0x1E, 0x03, SHIFT, 0x03, -SHIFT, 0x32]), "aqé2,");
    // An input locale has the layout in its high half; one that nobody knows is read as if it were American.
    assert_eq!(typed(0xF00A_0407, &[0x15]), "z");
    assert_eq!(typed(0x411, &[0x15]), "y");
    assert!(Keys::knows(0x40C) && !Keys::knows(0x411));
}

#[test]
fn the_right_alt_and_dead_keys_make_other_letters() {
    assert_eq!(typed(0x407, &[ALT_GRAPH, 0x10, 0x12, 0x08, 0x0B, 0x0C, 0x1B, 0x56, 0x32, -ALT_GRAPH]), "@€{}\\~|µ");
    assert_eq!(typed(0x40C, &[ALT_GRAPH, 0x04, 0x05, 0x09, 0x0B, 0x0D, 0x12, -ALT_GRAPH]), "#{\\@}€");
    assert_eq!(typed(0x809, &[ALT_GRAPH, 0x05, 0x12, 0x1E, -ALT_GRAPH]), "€éá");
    assert_eq!(typed(0x407, &[0x0D, 0x12, 0x29, 0x1E, 0x0D, 0x39, 0x0D, 0x10]), "éâ´´q");
    // Windows' programs send the right Alt as the left Control and Alt, too.
    assert_eq!(typed(0x407, &[0x1D, 0x38, 0x10, -0x38, -0x1D]), "@");
}

#[test]
fn the_layouts_have_a_letter_for_each_place() {
    for layout in &[0x409, 0x809, 0x407, 0x40C] {
        for code in [0x02_i16, 0x0D, 0x10, 0x1B, 0x2B, 0x1E, 0x28, 0x56, 0x2C, 0x35] {
            assert_eq!(
                typed(*layout, &[code, 0x39]).chars().count(),
                2 - usize::from(code == 0x0D && *layout == 0x407)
            );
            assert!(!typed(*layout, &[SHIFT, code, -SHIFT]).starts_with('<'), "{layout:x} {code:x}");
        }
    }
    assert_eq!(typed(0x409, &[0x35, 0x56, 0x28]), "/\\'");
    assert_eq!(typed(0x407, &[0x35, 0x56, 0x28]), "-<ä");
    assert_eq!(typed(0x40C, &[0x35, 0x56, 0x28]), "!<ù");
    assert_eq!(typed(0x809, &[0x35, 0x56, 0x28]), "/\\'");
}

#[test]
fn commands_and_keys_without_a_letter_have_names() {
    assert_eq!(typed(0x409, &[0x1D, 0x2E, -0x1D, 0x3B, 0x14B, 0x01]), "<Ctrl+C><F1><Left><Esc>");
    assert_eq!(typed(0x409, &[0x38, 0x0F, -0x38]), "<Alt+Tab>");
}

#[test]
fn what_was_deleted_is_in_the_keys_alone() {
    let mut keys = Keys::new(0x409);
    for code in [0x23, 0x18, 0x0E, 0x17] {
        assert_eq!(keys.take(at(3), key(code, false, false)), None);
    }
    let line = keys.take(at(4), key(0x1C, false, false)).unwrap();
    let all = Some(String::from("ho<Backspace>i<Enter>"));
    assert_eq!(line, Line { from: at(3), until: at(4), text: String::from("hi"), keys: all });
}

#[test]
fn a_pause_and_a_click_end_a_line() {
    let mut keys = Keys::new(0x409);
    assert_eq!(keys.take(at(1), key(0x1E, false, false)), None);
    let line = keys.take(at(20), key(0x30, false, false)).unwrap();
    assert_eq!((line.text.as_str(), line.from), ("a", at(1)));
    let line =
        keys.take(at(21), Input::Mouse { x: 1, y: 1, button: Some(Button::First(0x1000)), pressed: true }).unwrap();
    assert_eq!((line.text.as_str(), line.from), ("b", at(20)));
    assert_eq!(keys.finish(), None);
}

#[test]
fn caps_lock_turns_letters() {
    assert_eq!(typed(0x409, &[0x3A, 0x1E, 0x02, SHIFT, 0x1E, -SHIFT]), "A1a");
    assert_eq!(typed(0x40C, &[0x3A, 0x10, 0x02]), "A1");
    let mut keys = Keys::new(0x409);
    keys.take(at(1), key(0x2A, false, false));
    keys.take(at(1), Input::Locks { caps: false });
    keys.take(at(1), key(0x1E, false, false));
    assert_eq!(keys.finish().unwrap().text, "a");
}

#[test]
fn characters_without_a_key_are_read_as_they_are() {
    let mut keys = Keys::new(0x409);
    for unit in "ü😀".encode_utf16() {
        keys.take(at(1), Input::Unicode { unit, released: false });
        keys.take(at(1), Input::Unicode { unit, released: true });
    }
    assert_eq!(keys.finish().unwrap().text, "ü😀");
}

#[test]
fn both_ways_of_sending_input_are_read() {
    let fast = (Kind::FastPathInput, [4 << 2, 16, 0x00, 0x1E, 0x03, 0x4D, 0x64, 0x80, 0x80, 0xE9, 0]);
    let expected = [
        key(0x1E, false, false),
        key(0x4D, true, true),
        Input::Locks { caps: true },
        Input::Unicode { unit: 0xE980, released: false },
    ];
    assert_eq!(inputs(fast.0, &fast.1)[..3], expected[..3]);
    let mouse = (Kind::FastPathInput, [1 << 2, 10, 0x20, 0x00, 0x90, 5, 0, 6, 0]);
    assert_eq!(
        inputs(mouse.0, &mouse.1),
        [Input::Mouse { x: 5, y: 6, button: Some(Button::First(0x1000)), pressed: true }]
    );

    let events = [[0, 0, 0, 0, 4, 0, 0, 0x81, 0x4D, 0, 0, 0], [0, 0, 0, 0, 5, 0, 0, 0, 0xFC, 0, 0, 0]].concat();
    let body = [&[2, 0, 0, 0][..], &events].concat();
    let share = [&[0, 0, 0, 0, 0, 1, 0, 0, 28, 0, 0, 0][..], &body].concat();
    let length = u8::try_from(share.len() + 6).unwrap();
    let data = [&[length, 0, 0x17, 0, 0, 0][..], &share].concat();
    let frame = [&[3, 0, 0, length + 14, 2, 0xf0, 0x80, 0x64, 0, 6, 3, 0xeb, 0x70, length][..], &data].concat();
    assert_eq!(inputs(Kind::IoInput, &frame), [key(0x4D, true, true), Input::Unicode { unit: 0xFC, released: false }]);
}

proptest! {
    #[test]
    fn any_bytes_are_some_events(bytes in vec(any::<u8>(), 0..200), fast: bool) {
        let kind = if fast { Kind::FastPathInput } else { Kind::IoInput };
        let mut keys = Keys::new(0x407);
        for input in inputs(kind, &bytes) {
            keys.take(at(1), input);
        }
    }
}
