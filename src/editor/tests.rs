//! The editor as a user meets it: bytes in, and what stands on the screen of an emulator.

use std::time::Instant;

use proptest::prelude::*;

use super::cells::safe;
use super::*;
use crate::screen::{Screen, Size};

mod drawn;
mod typed;

/// Knows three commands, and the ends of shell lines.
struct Commands;

impl Completer for Commands {
    fn complete(&self, line: &str, at: usize) -> Completion {
        let start = line[..at].rfind(' ').map_or(0, |blank| blank + 1);
        let word = &line[start..at];
        let candidate = |text: &&str| Candidate { text: (*text).to_owned(), help: format!("runs {text}"), open: false };
        let all = ["systemctl", "systemd-analyze", "tail"];
        let candidates = all.iter().filter(|text| text.starts_with(word)).map(candidate).collect();
        let hints = if word == "@" { vec![String::from("a host")] } else { Vec::new() };
        Completion { start, candidates, hints }
    }

    fn goes_on(&self, line: &str) -> bool {
        line.ends_with('\\') || line.matches('\'').count() % 2 == 1
    }
}

/// An editor and the terminal of its user.
struct Rig {
    editor: Editor,
    screen: Screen,
    acts: Vec<Act>,
    /// What was sent since it was last looked at.
    sent: Vec<u8>,
}

const FULL: Terminal = Terminal::Full { colours: true };

impl Rig {
    fn of(terminal: Terminal, cols: u32, rows: u32) -> Self {
        let size = Size::bounded(cols, rows);
        let history = History::of(["ls /srv", "tail -f /var/log/a", "echo 'a\nb'", "ls /tmp"].map(String::from));
        let editor = Editor::new(terminal, size, history);
        let mut rig = Self { editor, screen: Screen::new(size), acts: Vec::new(), sent: Vec::new() };
        let begun = rig.editor.begin(Prompt::plain("$ "));
        rig.shown(&begun);
        rig
    }

    fn new(cols: u32, rows: u32) -> Self {
        Self::of(FULL, cols, rows)
    }

    fn shown(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        self.screen.feed(bytes);
    }

    /// Types, and begins a new line behind each that ends.
    fn types(&mut self, mut bytes: &[u8]) -> &mut Self {
        while !bytes.is_empty() {
            let fed = self.editor.feed(bytes, &Commands);
            self.shown(&fed.show);
            bytes = &bytes[fed.taken..];
            if let Some(act) = fed.act {
                let goes_on = act == Act::Suspend;
                self.acts.push(act);
                if !goes_on {
                    let begun = self.editor.begin(Prompt::plain("$ "));
                    self.shown(&begun);
                }
            }
        }
        self
    }

    /// What is on the screen, without blank rows at its end.
    fn text(&self) -> String {
        self.screen.text().join("\n").trim_end().to_owned()
    }

    /// The text with `|` where the cursor stands.
    fn line(&self) -> String {
        let (before, behind) = self.editor.halves();
        format!("{before}|{behind}")
    }

    fn sent(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }

    /// The screen shows the line where its cursor says, and nothing below it.
    fn check(&self) {
        let (rows, cursor) = self.editor.drawn();
        let (col, row, _) = self.screen.cursor();
        assert_eq!(col, cursor.1, "column of the cursor; {rows:?} {:?}", self.screen.text());
        let first = row.checked_sub(cursor.0).expect("the first row is on the screen");
        let shown: Vec<String> = self.screen.text().into_iter().skip(first).collect();
        for (index, row) in shown.iter().enumerate() {
            let drawn = rows.get(index).map_or("", String::as_str);
            assert_eq!(row, drawn.trim_end(), "row {index} of {shown:?}, drawn {rows:?}");
        }
    }
}
