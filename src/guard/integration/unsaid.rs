//! Keys at the prompt of a shell that says its lines, which may run something that it does not say.
//!
//! What an Enter runs the shell says itself. What opens an editor or a pager, runs what it expands, or is an Enter in a code
//! for which the shell may have a binding of its own is for none of that, and does not pass. The start text unbinds the same
//! in the shell: this holds where that did not reach.
//!
//! Sources: the manuals of readline ("Bindable Readline Commands"), zsh (zshzle) and fish ("Shared bindings"); xterm's "Control
//! Sequences"; the kitty keyboard protocol ("Legacy functional keys", "Modifiers").

use super::Shell;
use crate::guard::keys::{BEHIND_CTRL_X, EDITOR, Key, More, Scan, scan};

const UNSAID: &str = "this key may run what your shell does not say: press Enter, or type it anew";
const CODED_ENTER: &str =
    "this key is sent in a code of its own, and may run a line that your shell does not say: press Enter alone";
const NOT_TEXT: &str = "these bytes are no text, and a shell may take them for keys that run a line";

const ESC: u8 = 0x1b;
const CTRL_X: u8 = 0x18;
/// No key is longer, but what tells of the terminal.
const KEY_BYTES_MAX: usize = 64;

/// Modifiers, as the kitty protocol counts them beneath their one; Caps Lock and Num Lock change nothing.
const SHIFT: u16 = 1;
const ALT: u16 = 2;
const CONTROL: u16 = 4;
const LOCKS: u16 = 64 | 128;

/// What becomes of the first key among bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// These bytes go to the shell.
    Passes(usize),
    /// It is not whole, and may come to be.
    Waits,
    /// It goes nowhere, because of this.
    Never(&'static str),
}

/// Whether ESC and what follows came together: then that is Meta or Alt, and else what a user of vi's keys types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Together {
    Yes,
    No,
}

/// What becomes of the first key of `bytes` at the prompt of `shell`, which has had `before` last.
pub(super) fn first(bytes: &[u8], before: Option<u8>, more: More, shell: Shell) -> First {
    let Some(byte) = bytes.first() else { return First::Waits };
    if let Some(prefix) = before.filter(|before| matches!(*before, ESC | CTRL_X) && *byte != ESC) {
        let head = bytes.get(..bytes.len().min(KEY_BYTES_MAX)).unwrap_or(bytes);
        let joined = [&[prefix], head].concat();
        match alone(&joined, more, shell, Together::No) {
            First::Passes(length) if length > 1 => return First::Passes(length - 1),
            // The prefix is a key of its own.
            First::Passes(_) => {}
            other @ (First::Waits | First::Never(_)) => return other,
        }
    }
    alone(bytes, more, shell, Together::Yes)
}

fn alone(bytes: &[u8], more: More, shell: Shell, together: Together) -> First {
    // Shells that have nothing at both read them one by one.
    if let [ESC, CTRL_X, ..] = bytes {
        return First::Passes(1);
    }
    // A character may be cut in two by the way.
    let more = if bytes.first().is_some_and(|byte| *byte >= 0x80) { More::MayCome } else { more };
    let (key, length) = match scan(bytes, more) {
        Scan::Empty | Scan::Partial => return First::Waits,
        Scan::Key(key, length) => (key, length),
    };
    match why_not(key, bytes.get(..length).unwrap_or(bytes), shell, together) {
        Some(why) => First::Never(why),
        None => First::Passes(length),
    }
}

/// Why a key does not pass, if it does not.
fn why_not(key: Key, bytes: &[u8], shell: Shell, together: Together) -> Option<&'static str> {
    match key {
        // operate-and-get-next.
        Key::Control(0x0f) => Some(UNSAID),
        // Undo.
        Key::Extended(0x15) => None,
        Key::Extended(_) => Some(BEHIND_CTRL_X),
        Key::Meta(byte) => meta(byte, shell, together),
        Key::Coded => coded(bytes, shell),
        Key::Other if bytes.first().is_some_and(|byte| *byte >= 0x80) => Some(NOT_TEXT),
        // It shows a manual, in a pager.
        Key::Other if shell == Shell::Fish && is_f1(bytes) => Some(UNSAID),
        Key::Other | Key::Text(_) | Key::Control(_) | Key::Edit(_) | Key::Escape | Key::Paste(_) | Key::Report => None,
    }
}

fn meta(byte: u8, shell: Shell, together: Together) -> Option<&'static str> {
    // Those of capital letters do as those of small ones.
    match (byte.to_ascii_lowercase(), shell, together) {
        (b'v', ..) => Some(EDITOR),
        // shell-expand-line, and insert-comment, which comments out the first of several lines.
        (0x05 | b'#', ..) => Some(UNSAID),
        // execute-named-command and its kind.
        (b'x', Shell::Bash | Shell::Zsh, Together::Yes) | (b'z', Shell::Zsh, Together::Yes) => Some(UNSAID),
        // An editor, a pager, a listing, a manual.
        (b'e' | b'h' | b'l' | b'o' | b'p' | b'w', Shell::Fish, Together::Yes) => Some(UNSAID),
        (_, Shell::Bash | Shell::Zsh | Shell::Fish, Together::Yes | Together::No) => None,
    }
}

/// A key in another code than its byte: `CSI code ; modifiers u`, `CSI 27 ; modifiers ; code ~`, or Enter of the keypad.
fn coded(bytes: &[u8], shell: Shell) -> Option<&'static str> {
    let Some((code, modifiers)) = decoded(bytes) else { return Some(CODED_ENTER) };
    let byte = u8::try_from(code).ok().filter(u8::is_ascii).map(|byte| byte.to_ascii_lowercase());
    match (byte, modifiers & !LOCKS) {
        (Some(b'\r' | b'\n'), _) => Some(CODED_ENTER),
        (None, _) if matches!(code, 57_414 | 57_364) => Some(CODED_ENTER),
        (_, 0 | SHIFT) => None,
        (Some(b'j' | b'm' | b'o'), CONTROL) => Some(CODED_ENTER),
        (Some(b'x'), CONTROL) => Some(BEHIND_CTRL_X),
        (Some(_), CONTROL) => None,
        (Some(byte), ALT) => meta(byte, shell, Together::Yes),
        (_, _) => Some(CODED_ENTER),
    }
}

/// The character's number and the modifiers.
fn decoded(bytes: &[u8]) -> Option<(u32, u16)> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("\x1b[")?;
    let (text, other) = match text.strip_suffix('u') {
        Some(text) => (text, false),
        None => (text.strip_prefix("27;")?.strip_suffix('~')?, true),
    };
    // Of several numbers in one place the first is the key's, and the modifiers'.
    let mut numbers = text.split(';').map(|part| part.split(':').next().unwrap_or_default());
    let (first, second) = (numbers.next()?, numbers.next().unwrap_or("1"));
    let (code, modifiers) = if other { (second, first) } else { (first, second) };
    let modifiers = if modifiers.is_empty() { 1 } else { modifiers.parse::<u16>().ok()? };
    Some((code.parse().ok()?, modifiers.checked_sub(1)?))
}

fn is_f1(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [ESC, b'O', b'P']
            | [ESC, b'[', b'[']
            | [ESC, b'[', .., b'P']
            | [ESC, b'[', b'1', b'1', b'~']
            | [ESC, b'[', b'1', b'1', b';', .., b'~']
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

    /// Whether all of it passes, key by key.
    fn passes(mut bytes: &[u8], shell: Shell) -> bool {
        let mut before = None;
        while !bytes.is_empty() {
            let First::Passes(length) = first(bytes, before, More::Late, shell) else { return false };
            assert!(length > 0, "{bytes:?}");
            before = bytes.get(length - 1).copied();
            bytes = bytes.get(length..).unwrap_or_default();
        }
        true
    }

    #[test]
    fn what_runs_without_a_report_does_not_pass_however_it_is_coded() {
        let keys: &[&[u8]] = &[
            b"\x0f",
            b"\x18\x05",
            b"\x18\r",
            b"\x18\x18\x05",
            b"\x16\x18\x18\x05",
            b"\x1b\x05",
            b"\x1b#",
            b"\x1bv",
            b"\x1bV",
            b"\x1b\x18\x05",
            b"\x1b1\x1b#",
            b"\x1b[200~\x18\x05",
            b"\x1b[M\x18\x05!",
            b"\x1bO\x18\x05",
            b"\x1b[1\x18\x05",
            b"\x1b[13u",
            b"\x1b[13;5u",
            b"\x1b[13;2:1u",
            b"\x1b[109;5u",
            b"\x1b[106;133u",
            b"\x1b[120;5u",
            b"\x1b[27;5;13~",
            b"\x1b[57414u",
            b"\x1b[118;3u",
            b"\x1b[u",
            b"\x1bOM",
            b"\x85",
            b"\xf6",
            b"\xc2\x85",
        ];
        for (key, shell) in keys.iter().flat_map(|key| SHELLS.map(|shell| (key, shell))) {
            assert!(!passes(key, shell), "{key:?} {shell:?}");
        }
        for key in [&b"\x1be"[..], b"\x1bp", b"\x1bh", b"\x1bOP", b"\x1b[11~", b"\x1b[1;5P", b"\x1b[101;3u"] {
            assert!(!passes(key, Shell::Fish), "{key:?}");
        }
        assert!(!passes(b"\x1bx", Shell::Zsh) && !passes(b"\x1bx", Shell::Bash));
    }

    #[test]
    fn what_the_report_makes_safe_and_what_only_edits_passes() {
        let keys: &[&[u8]] = &[
            b"ls -l\r",
            b"\n",
            b"\x1b\r",
            "é漢\t".as_bytes(),
            b"\x1b[A\x1b[B\x1bOA\x1b[1;5C\x1b[3~\x1b[Z",
            b"\x12needle\x13\x07\x03\x04\x1a",
            b"\x16\t\x18\x15",
            b"\x1bb\x1bd\x1bf\x1b.\x1b\x7f\x1b\x1b",
            b"\x1b[200~a\nb\tc\x1b[201~",
            b"\x1b[<0;1;1M\x1b[M !!\x1b]11;rgb:0/0/0\x07\x1b[?62;4c\x1b[2;3R",
            b"\x1b[97;5u\x1b[114;5u\x1b[98;3u\x1b[97;2u\x1b[27u\x1b[97;69u",
        ];
        for (key, shell) in keys.iter().flat_map(|key| SHELLS.map(|shell| (key, shell))) {
            assert!(passes(key, shell), "{key:?} {shell:?}");
        }
        assert!(passes(b"\x1bl\x1bp\x1bu", Shell::Bash));
        // Of vi's keys, some time behind ESC.
        assert_eq!(first(b"h", Some(ESC), More::Late, Shell::Fish), First::Passes(1));
        assert_eq!(first(b"x", Some(ESC), More::Late, Shell::Bash), First::Passes(1));
    }

    #[test]
    fn a_key_that_comes_in_pieces_is_one() {
        for whole in [&b"\x1bv"[..], b"\x18\x05", b"\x1b\x05", b"\x1b[13;5u"] {
            for at in 1..whole.len() {
                let (head, tail) = whole.split_at(at);
                assert_eq!(first(head, None, More::MayCome, Shell::Bash), First::Waits, "{whole:?} {at}");
                if head == [ESC] {
                    assert_eq!(first(head, None, More::Late, Shell::Bash), First::Passes(1));
                    let late = first(tail, Some(ESC), More::Late, Shell::Bash);
                    assert!(matches!(late, First::Never(_)), "{whole:?} {late:?}");
                }
            }
        }
        assert_eq!(first(b"\x18", None, More::Late, Shell::Bash), First::Waits, "for as long as it takes");
        assert_eq!(first(b"\xc3", None, More::Late, Shell::Bash), First::Waits);
        assert!(matches!(first(b"\x05", Some(CTRL_X), More::Late, Shell::Bash), First::Never(_)));
    }
}
