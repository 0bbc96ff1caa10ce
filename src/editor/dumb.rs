//! A terminal that cannot move its cursor: what is typed at the end is echoed, and everything else writes the line anew.

use super::cells::{Cell, Seen, seen, spelled};

/// What such a terminal shows of the line.
#[derive(Debug, Default)]
pub struct Dumb {
    /// The prompt and the text, as they were written last; `None`: nothing was.
    shown: Option<(Vec<Cell>, String)>,
}

impl Dumb {
    /// Makes the terminal show this.
    pub fn show(&mut self, prompt: &[Cell], more: &[Cell], text: &str, out: &mut Vec<u8>) {
        match &self.shown {
            Some((old, shown)) if old == prompt && text.starts_with(shown.as_str()) => {
                write(more, text.get(shown.len()..).unwrap_or_default(), out);
            }
            Some((old, shown)) if old == prompt && is_rubbed(shown, text) => {
                for _ in text.len()..shown.len() {
                    out.extend_from_slice(b"\x08 \x08");
                }
            }
            shown => {
                if shown.is_some() {
                    out.extend_from_slice(b"\r\n");
                }
                put(prompt, out);
                write(more, text, out);
            }
        }
        self.shown = Some((prompt.to_vec(), text.to_owned()));
    }

    /// Goes to the beginning of a free row.
    pub fn leave(&mut self, out: &mut Vec<u8>) {
        if self.shown.take().is_some() {
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Whether a few characters of one column each are gone from the end.
fn is_rubbed(shown: &str, text: &str) -> bool {
    let gone = shown.strip_prefix(text);
    gone.is_some_and(|gone| gone.len() <= 8 && gone.bytes().all(|byte| matches!(byte, b' '..=b'~')))
}

fn write(more: &[Cell], text: &str, out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    for c in text.chars() {
        if c == '\n' {
            out.extend_from_slice(b"\r\n");
            put(more, out);
        } else if seen(c, Some(0)) == Seen::Spelled {
            for c in (0..).map_while(|at| spelled(c, at)) {
                out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
            }
        } else {
            out.extend_from_slice(c.encode_utf8(&mut bytes).as_bytes());
        }
    }
}

fn put(cells: &[Cell], out: &mut Vec<u8>) {
    let mut bytes = [0; 4];
    for cell in cells {
        out.extend_from_slice(cell.c.encode_utf8(&mut bytes).as_bytes());
    }
}
