//! What stands on the keys: United States, United Kingdom, Germany, France.
//!
//! Source: Microsoft's "Windows Keyboard Layouts" (KBDUS, KBDUK, KBDGR, KBDFR).

/// Scan codes of the keys that have letters, row by row: the digits', the three of letters with the key beside Enter
/// behind the first, and the key beside the left Shift before the last.
const PLACES: [u8; 48] = [
    0x29, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, //
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x2B, //
    0x1E, 0x1F, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, //
    0x56, 0x2C, 0x2D, 0x2E, 0x2F, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35,
];

/// The number block with Num Lock.
const NUMBERS: [(u8, char); 14] = [
    (0x47, '7'),
    (0x48, '8'),
    (0x49, '9'),
    (0x4A, '-'),
    (0x4B, '4'),
    (0x4C, '5'),
    (0x4D, '6'),
    (0x4E, '+'),
    (0x4F, '1'),
    (0x50, '2'),
    (0x51, '3'),
    (0x52, '0'),
    (0x53, '.'),
    (0x37, '*'),
];

/// A layout; in its texts a space stands for nothing.
#[derive(Debug)]
pub(super) struct Layout {
    /// The low half of its input locale.
    language: u16,
    plain: &'static str,
    shift: &'static str,
    /// With the right Alt.
    graph: &'static str,
    /// Keys that wait for a letter, and those that do with the right Alt.
    dead: &'static str,
    dead_graph: &'static str,
    /// Whether Caps Lock is for the row of digits, too.
    caps_digits: bool,
}

static LAYOUTS: [Layout; 4] = [
    Layout {
        language: 0x0409,
        plain: r"`1234567890-=qwertyuiop[]\asdfghjkl;'\zxcvbnm,./",
        shift: r#"~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:"|ZXCVBNM<>?"#,
        graph: "",
        dead: "",
        dead_graph: "",
        caps_digits: false,
    },
    Layout {
        language: 0x0809,
        plain: r"`1234567890-=qwertyuiop[]#asdfghjkl;'\zxcvbnm,./",
        shift: r#"¬!"£$%^&*()_+QWERTYUIOP{}~ASDFGHJKL:@|ZXCVBNM<>?"#,
        graph: "¦   €          é   úíó    á                     ",
        dead: "",
        dead_graph: "",
        caps_digits: false,
    },
    Layout {
        language: 0x0407,
        plain: "^1234567890ß´qwertzuiopü+#asdfghjklöä<yxcvbnm,.-",
        shift: "°!\"§$%&/()=?`QWERTZUIOPÜ*'ASDFGHJKLÖÄ>YXCVBNM;:_",
        graph: r"  ²³   {[]}\ @ €        ~            |      µ   ",
        dead: "^´`",
        dead_graph: "",
        caps_digits: true,
    },
    Layout {
        language: 0x040C,
        plain: "²&é\"'(-è_çà)=azertyuiop^$*qsdfghjklmù<wxcvbn,;:!",
        shift: " 1234567890°+AZERTYUIOP¨£µQSDFGHJKLM%>WXCVBN?./§",
        graph: r"  ~#{[|`\^@]}  €        ¤                       ",
        dead: "^¨",
        dead_graph: "~`",
        caps_digits: true,
    },
];

impl Layout {
    /// The one of an input locale, else that of the United States.
    pub(super) fn of(locale: u32) -> &'static Self {
        let [first, ..] = &LAYOUTS;
        Self::known(locale).unwrap_or(first)
    }

    pub(super) fn known(locale: u32) -> Option<&'static Self> {
        let [low, high, ..] = locale.to_le_bytes();
        let language = u16::from_le_bytes([low, high]);
        LAYOUTS.iter().find(|layout| layout.language == language)
    }

    /// What a key writes.
    pub(super) fn letter(&self, code: u8, extended: bool, shift: bool, graph: bool, caps: bool) -> Option<char> {
        match (code, extended) {
            (0x39, false) => return Some(' '),
            (0x35, true) => return Some('/'),
            (_, true) => return None,
            (_, false) => {}
        }
        if let Some((_, number)) = NUMBERS.iter().find(|(place, _)| *place == code) {
            return Some(*number);
        }
        let place = PLACES.iter().position(|place| *place == code)?;
        let on = |texts: &str| texts.chars().nth(place).filter(|c| *c != ' ');
        if graph {
            return on(self.graph);
        }
        let plain = on(self.plain);
        let turned = caps && (plain.is_some_and(char::is_alphabetic) && place > 12 || self.caps_digits && place <= 12);
        if shift != turned { on(self.shift) } else { plain }
    }

    /// Whether that waits for the next letter.
    pub(super) fn is_dead(&self, c: char, graph: bool) -> bool {
        if graph { self.dead_graph } else { self.dead }.contains(c)
    }
}

/// A dead key and a letter; none if both stand for themselves.
pub(super) fn compose(dead: char, letter: char) -> Option<char> {
    const TABLE: [(char, &str, &str); 5] = [
        ('´', "aeiouyAEIOUY", "áéíóúýÁÉÍÓÚÝ"),
        ('`', "aeiouAEIOU", "àèìòùÀÈÌÒÙ"),
        ('^', "aeiouAEIOU", "âêîôûÂÊÎÔÛ"),
        ('¨', "aeiouyAEIOU", "äëïöüÿÄËÏÖÜ"),
        ('~', "anoANO", "ãñõÃÑÕ"),
    ];
    if letter == ' ' {
        return Some(dead);
    }
    let (_, letters, both) = TABLE.iter().find(|(key, ..)| *key == dead)?;
    let at = letters.chars().position(|known| known == letter)?;
    both.chars().nth(at)
}

/// What a key without a letter is called.
pub(super) fn name(code: u8, extended: bool) -> String {
    let name = match (code, extended) {
        (0x01, _) => "Esc",
        (0x0E, _) => "Backspace",
        (0x0F, _) => "Tab",
        (0x1C, _) => "Enter",
        (0x3B..=0x44, false) => return format!("F{}", code.saturating_sub(0x3A)),
        (0x57, false) => "F11",
        (0x58, false) => "F12",
        (0x45, _) => "NumLock",
        (0x46, _) => "ScrollLock",
        (0x37, true) => "PrintScreen",
        (0x47, true) => "Home",
        (0x48, true) => "Up",
        (0x49, true) => "PageUp",
        (0x4B, true) => "Left",
        (0x4D, true) => "Right",
        (0x4F, true) => "End",
        (0x50, true) => "Down",
        (0x51, true) => "PageDown",
        (0x52, true) => "Insert",
        (0x53, true) => "Delete",
        (0x5D, true) => "Menu",
        (code, extended) => return format!("key {}{code:02x}", if extended { "e0" } else { "" }),
    };
    String::from(name)
}
