//! The user's bytes, as keys; and what the keys would make of an empty line.
//!
//! Which bytes a key sends: ECMA-48 sections 5.4 and 5.6, xterm's "Control Sequences" (keys, mouse, reports), the kitty
//! keyboard protocol (`CSI code ; modifiers u`).

/// A control sequence of a key is at most so long; a report as text is at most so long.
const SEQUENCE_BYTES_MAX: usize = 32;
const REPORT_BYTES_MAX: usize = 4096;
const ESC: u8 = 0x1b;

/// One key, or what a terminal sends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character.
    Text(char),
    /// Below 32, or 127.
    Control(u8),
    /// ESC and this byte.
    Meta(u8),
    /// Ctrl-X and this byte.
    Extended(u8),
    /// A key that moves or deletes.
    Edit(Edit),
    /// Enter, or a control character, in another code than its byte.
    Coded,
    /// ESC alone.
    Escape,
    /// A paste begins, or ends.
    Paste(Bracket),
    /// A report with text in it, or of a mouse.
    Report,
    /// Any other.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Left,
    Right,
    Home,
    End,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Begins,
    Ends,
}

impl Key {
    /// Whether a key that runs a line also brings in the next: bash's operate-and-get-next, zsh's accept-and-hold.
    pub(super) fn brings_next_line(self) -> bool {
        matches!(self, Self::Control(0x0f) | Self::Meta(0x0f | b'a' | b'A'))
    }

    /// Whether a shell completes or expands the line by this key, and may run what it expands: Tab, and what bash, zsh and
    /// mksh have behind ESC.
    pub(super) fn completes(self) -> bool {
        matches!(self, Self::Control(b'\t') | Self::Meta(b'\t' | b'?' | b'*' | b'/' | b'!' | b'{' | b'g' | b'='))
    }

    /// Whether a key has zsh put the line aside until a later prompt: push-line, and what looks something up meanwhile.
    pub(super) fn puts_line_aside(self) -> bool {
        matches!(self, Self::Control(0x11) | Self::Meta(b'q' | b'Q' | b'h' | b'H' | b'?'))
    }
}

/// What stands first among bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// Nothing.
    Empty,
    /// A key, of so many bytes.
    Key(Key, usize),
    /// The beginning of one.
    Partial,
}

/// Whether more bytes may still come that belong to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    MayCome,
    /// What is there is all.
    Late,
}

/// Why no key behind Ctrl-X passes but those that undo.
pub(super) const BEHIND_CTRL_X: &str = "keys behind Ctrl-X may run what nobody has judged: an editor's text, a macro";
/// Why Meta-v does not pass.
pub(super) const EDITOR: &str = "in vi's mode `v` opens an editor, whose text would run without being judged";

/// Reads the first key.
pub(super) fn scan(bytes: &[u8], more: More) -> Scan {
    let partial = |otherwise: Scan| if more == More::MayCome { Scan::Partial } else { otherwise };
    match bytes {
        [] => Scan::Empty,
        [ESC] => partial(Scan::Key(Key::Escape, 1)),
        [ESC, ESC, ..] => Scan::Key(Key::Escape, 1),
        [ESC, b'[', rest @ ..] => match control_sequence(rest) {
            Some((key, length)) => Scan::Key(key, length + 2),
            None => partial(Scan::Key(Key::Other, bytes.len())),
        },
        [ESC, b'O'] => partial(Scan::Key(Key::Meta(b'O'), 2)),
        // What no terminal sends behind it is a key of its own: an Enter, among others.
        [ESC, b'O', 0..0x20 | 0x7f.., ..] => Scan::Key(Key::Meta(b'O'), 2),
        [ESC, b'O', byte, ..] => Scan::Key(single_shift(*byte), 3),
        [ESC, b']' | b'P' | b'_' | b'^' | b'X', rest @ ..] => match report(rest) {
            Some(0) => Scan::Key(bytes.get(1).map_or(Key::Escape, |byte| Key::Meta(*byte)), 2),
            Some(length) => Scan::Key(Key::Report, length + 2),
            None => partial(Scan::Key(Key::Report, bytes.len())),
        },
        [ESC, byte, ..] if byte.is_ascii() => Scan::Key(Key::Meta(*byte), 2),
        [ESC, ..] => Scan::Key(Key::Escape, 1),
        // No shell does anything at Ctrl-X alone: it waits as long as it takes.
        [0x18] => Scan::Partial,
        [0x18, byte, ..] => Scan::Key(Key::Extended(*byte), 2),
        [byte @ (0..0x20 | 0x7f), ..] => Scan::Key(Key::Control(*byte), 1),
        [byte, ..] if byte.is_ascii() => Scan::Key(Key::Text(char::from(*byte)), 1),
        [..] => character(bytes, more),
    }
}

fn character(bytes: &[u8], more: More) -> Scan {
    let head = bytes.get(..bytes.len().min(4)).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            head.get(..error.valid_up_to()).and_then(|head| std::str::from_utf8(head).ok()).unwrap_or_default()
        }
        Err(error) if error.error_len().is_none() && more == More::MayCome => return Scan::Partial,
        Err(_) => "",
    };
    match valid.chars().next() {
        // C1 controls are sequences in one character.
        Some(c) if c.is_control() => Scan::Key(Key::Other, c.len_utf8()),
        Some(c) => Scan::Key(Key::Text(c), c.len_utf8()),
        None => Scan::Key(Key::Other, 1),
    }
}

/// The key behind ESC `[`, and its length there.
fn control_sequence(rest: &[u8]) -> Option<(Key, usize)> {
    let end = rest.iter().take(SEQUENCE_BYTES_MAX).position(|byte| !(0x20..0x40).contains(byte));
    let Some(end) = end else {
        return (rest.len() >= SEQUENCE_BYTES_MAX).then_some((Key::Other, SEQUENCE_BYTES_MAX));
    };
    let (parameters, last) = (rest.get(..end)?, *rest.get(end)?);
    let key = match (parameters, last) {
        // The sequence is cut short by what comes: that is a key of its own.
        (_, 0..0x20 | 0x7f..) => return Some((Key::Other, end)),
        (b"200", b'~') => Key::Paste(Bracket::Begins),
        (b"201", b'~') => Key::Paste(Bracket::Ends),
        (b"", b'C') => Key::Edit(Edit::Right),
        (b"", b'D') => Key::Edit(Edit::Left),
        (b"", b'H') | (b"1" | b"7", b'~') => Key::Edit(Edit::Home),
        (b"", b'F') | (b"4" | b"8", b'~') => Key::Edit(Edit::End),
        (b"3", b'~') => Key::Edit(Edit::Delete),
        // `CSI M` and three bytes, each raised by 32: a control character among them is a key of its own.
        (b"", b'M') => {
            let report = rest.get(1..rest.len().min(4)).unwrap_or_default();
            return match report.iter().all(|byte| *byte >= 0x20) {
                true if report.len() < 3 => None,
                true => Some((Key::Report, 4)),
                false => Some((Key::Other, 1)),
            };
        }
        ([b'<', ..], b'M' | b'm') => Key::Report,
        (_, b'u') => Key::Coded,
        ([b'2', b'7', b';', ..], b'~') => Key::Coded,
        (_, _) => Key::Other,
    };
    Some((key, end + 1))
}

fn single_shift(byte: u8) -> Key {
    match byte {
        b'C' => Key::Edit(Edit::Right),
        b'D' => Key::Edit(Edit::Left),
        b'H' => Key::Edit(Edit::Home),
        b'F' => Key::Edit(Edit::End),
        b'M' => Key::Coded,
        _ => Key::Other,
    }
}

/// The length of a report's text and its end; 0 if it is none, since no terminal sends control characters in one.
fn report(rest: &[u8]) -> Option<usize> {
    let end = rest.iter().take(REPORT_BYTES_MAX).position(|byte| *byte < 0x20 || *byte == 0x7f);
    let Some(end) = end else { return (rest.len() >= REPORT_BYTES_MAX).then_some(0) };
    match (rest.get(end), rest.get(end + 1)) {
        (Some(7), _) => Some(end + 1),
        (Some(&ESC), Some(b'\\')) => Some(end + 2),
        (Some(&ESC), None) => None,
        _ => Some(0),
    }
}

/// What the keys would make of an empty line, in a line editor with Emacs' keys as every shell has it at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// This line, with the cursor before this character.
    Known { text: Vec<char>, at: usize },
    /// A key has brought in what is not known: from history, by completion, by a key of the user's own.
    Unknown,
    /// The same, and the shell is searching: the prompt is not on the screen.
    Searching,
}

/// A line has at most so many characters.
pub(super) const LINE_CHARS_MAX: usize = 32 * 1024;

impl Default for Model {
    fn default() -> Self {
        Self::Known { text: Vec::new(), at: 0 }
    }
}

impl Model {
    /// The line, if it is known.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Self::Known { text, .. } => Some(text.iter().collect()),
            Self::Unknown | Self::Searching => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Known { text, .. } if text.is_empty())
    }

    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known { .. })
    }

    /// A key has gone to the shell.
    pub(super) fn press(&mut self, key: Key) {
        let Self::Known { text, at } = self else {
            // Whatever ends the search brings the prompt back; nothing makes the line known again.
            if matches!(key, Key::Control(0x12 | 0x13)) {
                *self = Self::Searching;
            }
            return;
        };
        match key {
            Key::Text(c) if text.len() < LINE_CHARS_MAX => {
                // `at` is never beyond the end.
                text.insert(*at, c);
                *at += 1;
            }
            Key::Edit(Edit::Left) | Key::Control(0x02) => *at = at.saturating_sub(1),
            Key::Edit(Edit::Right) | Key::Control(0x06) => *at = (*at + 1).min(text.len()),
            Key::Edit(Edit::Home) | Key::Control(0x01) => *at = 0,
            Key::Edit(Edit::End) | Key::Control(0x05) => *at = text.len(),
            Key::Edit(Edit::Delete) => {
                if *at < text.len() {
                    text.remove(*at);
                }
            }
            Key::Control(0x7f | 0x08) => {
                if *at > 0 {
                    *at -= 1;
                    text.remove(*at);
                }
            }
            Key::Control(0x0b) => text.truncate(*at),
            // In some shells it takes the whole line, in others what is before the cursor.
            Key::Control(0x15) if *at == text.len() => {
                text.clear();
                *at = 0;
            }
            // Redraws the screen.
            Key::Control(0x0c) => {}
            Key::Control(0x12 | 0x13) => *self = Self::Searching,
            Key::Text(_)
            | Key::Control(_)
            | Key::Meta(_)
            | Key::Extended(_)
            | Key::Coded
            | Key::Escape
            | Key::Paste(_)
            | Key::Report
            | Key::Other => *self = Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        while let Scan::Key(key, length) = scan(bytes, More::Late) {
            assert!(length > 0, "{bytes:?}");
            keys.push(key);
            bytes = bytes.get(length..).unwrap_or_default();
        }
        keys
    }

    #[test]
    fn a_control_character_inside_a_sequence_is_a_key_of_its_own() {
        assert_eq!(all(b"\x1b[12\rx"), [Key::Other, Key::Control(b'\r'), Key::Text('x')]);
        assert_eq!(all(b"\x1b]l title\rx").last(), Some(&Key::Text('x')));
        assert!(all(b"\x1b]l title\rx").contains(&Key::Control(b'\r')));
        assert!(all(b"\x1bP1\x0fx\x1b\\").contains(&Key::Control(0x0f)));
        assert_eq!(all(b"\x1b\x1b\r"), [Key::Escape, Key::Meta(b'\r')]);
        assert_eq!(all(b"\x1b[M !!"), [Key::Report]);
        for hidden in [&b"\x1b[M\r\r\r"[..], b"\x1b[M  \r", b"\x1b[M \r", b"\x1bO\r", b"\x1bO\x1b\r"] {
            assert!(all(hidden).iter().any(|key| matches!(key, Key::Control(b'\r') | Key::Meta(b'\r'))), "{hidden:?}");
        }
        assert_eq!(
            all(b"\x9b13u\xff\xc2\x9b"),
            [Key::Other, Key::Text('1'), Key::Text('3'), Key::Text('u'), Key::Other, Key::Other]
        );
    }

    #[test]
    fn enter_in_other_codes_is_known() {
        for bytes in [&b"\x1b[13u"[..], b"\x1b[13;5u", b"\x1b[27;5;13~", b"\x1bOM"] {
            assert_eq!(all(bytes), [Key::Coded], "{bytes:?}");
        }
    }

    #[test]
    fn the_first_part_of_a_key_is_no_key() {
        for whole in [
            &b"\x1b[200~"[..],
            b"\x1b[3~",
            b"\x1bOH",
            "ü".as_bytes(),
            "漢".as_bytes(),
            b"\x18\x05",
            b"\x1ba",
            b"\x1b]l x\x1b\\",
        ] {
            for length in 1..whole.len() {
                assert_eq!(scan(&whole[..length], More::MayCome), Scan::Partial, "{whole:?} {length}");
            }
            assert!(matches!(scan(whole, More::MayCome), Scan::Key(_, length) if length == whole.len()), "{whole:?}");
        }
    }

    #[test]
    fn the_model_follows_plain_editing_and_gives_up_on_what_it_cannot_know() {
        let line = |bytes: &[u8]| {
            let mut model = Model::default();
            all(bytes).into_iter().for_each(|key| model.press(key));
            model.line()
        };
        assert_eq!(line(b"lx\x7fs -l\x01\x1b[C\x1b[C -a\x05!").as_deref(), Some("ls -a -l!"));
        assert_eq!(line(b"rm x\x15ls\x02\x0bl").as_deref(), Some("ll"));
        assert_eq!(line(b"\x01\x7f\x1b[D\x1b[3~a").as_deref(), Some("a"));
        for unknown in [&b"a\t"[..], b"\x1b[A", b"\x10", b"a\x17", b"\x1bb", b"a\x16", b"ab\x02\x15", b"\x12", b"\x19"]
        {
            assert_eq!(line(unknown), None, "{unknown:?}");
        }
    }
}
