//! The line editor: keys become changes of a line, and each change is shown.

use super::cells::{Cell, cells, safe};
use super::drawing::{Drawing, View, prompt_cells};
use super::dumb::Dumb;
use super::keys::{Key, Keys};
use super::listing::{self, listed};
use super::plain::Plain;
use super::search::{Search, Way};
use super::text::{Full, Text, Words};
use super::{Act, Completer, Fed, History, LINE_BYTES_MAX, Prompt, Terminal, Tone};
use crate::screen::Size;

/// The terminal marks what is pasted (xterm's "bracketed paste"): a line end in that is no Enter. Not while a program runs.
const PASTES_MARKED: &[u8] = b"\x1b[?2004h";
const PASTES_PLAIN: &[u8] = b"\x1b[?2004l";
/// What is told above the line at once, in bytes: a bound for many notices in one piece of input.
const ABOVE_MAX: usize = 16 * 1024;

/// A line editor on one channel.
#[derive(Debug)]
pub struct Editor {
    terminal: Terminal,
    keys: Keys,
    text: Text,
    history: History,
    prompt: (Vec<Cell>, Vec<Cell>),
    drawing: Drawing,
    dumb: Dumb,
    plain: Plain,
    /// Whether a line is being edited.
    begun: bool,
    search: Option<Search>,
    paste: Paste,
    /// The line of the history that is shown, and what was typed before.
    recalled: Option<(usize, String)>,
    killed: String,
    /// What the last key did, where the next one goes on with it.
    last: Last,
    /// Whether typed characters were left out because the line was full: it does not run until somebody has looked.
    spilled: bool,
    /// What is told above the line with the next drawing.
    above: String,
    bell: bool,
    /// Whether the prompt differs from what was drawn.
    prompt_drawn: bool,
}

/// What is being pasted.
#[derive(Debug, Default)]
struct Paste {
    text: String,
    /// How much came, whether it is kept or not.
    bytes: usize,
    unreadable: bool,
}

/// What the last key did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Last {
    #[default]
    Else,
    /// Removed text: the next kill adds to it.
    Killed,
    /// Tab found several: the next one lists them; then none does anything.
    Completed,
    Listed,
    /// Inserted the last word of the history's line so many from the end, of so many bytes.
    Word(usize, usize),
}

/// Where killed text is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    Before,
    Behind,
}

impl Editor {
    /// An editor for a terminal of this kind and size. No line is being edited until [`Self::begin`].
    pub fn new(terminal: Terminal, size: Size, history: History) -> Self {
        let colours = match terminal {
            Terminal::Full { colours } => colours,
            Terminal::None | Terminal::Dumb => false,
        };
        Self {
            terminal,
            keys: Keys::default(),
            text: Text::new(LINE_BYTES_MAX),
            history,
            prompt: (Vec::new(), Vec::new()),
            drawing: Drawing::new(size, colours),
            dumb: Dumb::default(),
            plain: Plain::default(),
            begun: false,
            search: None,
            paste: Paste::default(),
            recalled: None,
            killed: String::new(),
            last: Last::Else,
            spilled: false,
            above: String::new(),
            bell: false,
            prompt_drawn: false,
        }
    }

    /// Begins a line: what the terminal is shown. Its cursor stands at the beginning of a row.
    pub fn begin(&mut self, prompt: Prompt) -> Vec<u8> {
        let mut out = Vec::new();
        (self.begun, self.prompt, self.prompt_drawn) = (true, prompt_cells(&prompt), false);
        match self.terminal {
            Terminal::None => return out,
            Terminal::Dumb => {}
            Terminal::Full { .. } => out.extend_from_slice(PASTES_MARKED),
        }
        self.draw(&mut out);
        out
    }

    /// Takes bytes of the user, up to the one that wants something done. Between that and [`Self::begin`] none are taken.
    pub fn feed(&mut self, bytes: &[u8], completer: &dyn Completer) -> Fed {
        let mut fed = Fed::default();
        if !self.begun {
            return fed;
        }
        for byte in bytes {
            fed.taken = fed.taken.saturating_add(1);
            if self.terminal == Terminal::None {
                fed.act = self.plain.byte(*byte);
            } else {
                for key in self.keys.byte(*byte).into_iter().flatten() {
                    // Only the second of two keys wants something done: the first is of bytes that are no characters.
                    fed.act = self.press(key, completer, &mut fed.show).or(fed.act);
                    if self.terminal == Terminal::Dumb {
                        // Where the cursor stands could not be seen.
                        self.text.move_to(self.text.as_str().len());
                    }
                }
            }
            if fed.act.is_some() {
                break;
            }
        }
        match fed.act {
            None | Some(Act::Suspend) => self.draw(&mut fed.show),
            Some(Act::Line(_) | Act::EndOfInput | Act::Interrupt | Act::Unfit(_)) => self.begun = false,
        }
        fed
    }

    /// Whether something more may come that belongs to what came last: [`Self::settle`] is wanted if it does not come for a
    /// while (400 ms).
    pub fn waits(&self) -> bool {
        self.keys.waits()
    }

    /// Nothing came for a while: what the terminal is shown.
    pub fn settle(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(key) = self.keys.settle()
            && self.begun
        {
            // No key that comes by waiting wants something done.
            _ = self.press(key, &super::NoCompleter, &mut out);
            self.draw(&mut out);
        }
        out
    }

    /// The user's side has closed its input: without a terminal the last line, if it had no end; else the end.
    pub fn end(&mut self) -> Fed {
        let mut show = Vec::new();
        let act = match self.terminal {
            Terminal::None => self.plain.end(),
            Terminal::Dumb | Terminal::Full { .. } => {
                show = self.leave();
                Act::EndOfInput
            }
        };
        self.begun = false;
        Fed { show, act: Some(act), taken: 0 }
    }

    /// The terminal has another size now: what it is shown.
    pub fn resize(&mut self, size: Size) -> Vec<u8> {
        let mut out = Vec::new();
        if size == self.drawing.size() {
            return out;
        }
        match self.terminal {
            Terminal::Full { .. } if self.begun => {
                self.drawing.resize(size, &mut out);
                self.draw(&mut out);
            }
            Terminal::Full { .. } | Terminal::Dumb | Terminal::None => self.drawing.resize(size, &mut Vec::new()),
        }
        out
    }

    /// Shows lines above the one that is being edited, or where the cursor stands, at the beginning of a row, if none is.
    /// Nothing in them steers the terminal. Without a terminal they are as they are.
    pub fn notice(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if self.begun && self.terminal != Terminal::None {
            self.tell(text);
            self.draw(&mut out);
        } else {
            self.write_lines(text, &mut out);
        }
        out
    }

    /// Leaves the line that is being edited, for a session that ends: the cursor stands at the beginning of a free row.
    pub fn leave(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.begun {
            self.finish(&mut out);
            self.begun = false;
        }
        out
    }

    /// The line that is being edited.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Lines that were run before.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The same, to be changed.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }
}

#[cfg(test)]
impl Editor {
    /// The rows on the terminal, and row and column of the cursor among them.
    pub(super) fn drawn(&self) -> (Vec<String>, (usize, usize)) {
        self.drawing.drawn()
    }

    /// The line before and behind the cursor.
    pub(super) fn halves(&self) -> (&str, &str) {
        (self.text.before(), self.text.behind())
    }

    /// Whether a search is under way.
    pub(super) fn searches(&self) -> bool {
        self.search.is_some()
    }

    /// How much of a paste is kept.
    pub(super) fn pasted_bytes(&self) -> usize {
        self.paste.text.len()
    }
}

/// Keys.
impl Editor {
    fn press(&mut self, key: Key, completer: &dyn Completer, out: &mut Vec<u8>) -> Option<Act> {
        if self.take_paste(key) {
            return None;
        }
        if key == Key::Ctrl('c') {
            self.paste = Paste::default();
            self.dropped(out);
            return Some(Act::Interrupt);
        }
        if key == Key::Ctrl('z') {
            return Some(Act::Suspend);
        }
        if self.search.is_some() && self.press_in_search(key) {
            return None;
        }
        let last = std::mem::take(&mut self.last);
        if key == Key::Enter {
            return self.enter(completer, out);
        }
        if key == Key::Ctrl('d') && self.text.as_str().is_empty() {
            self.finish(out);
            return Some(Act::EndOfInput);
        }
        if key == Key::Tab {
            self.complete(completer, &last);
        } else if key == Key::Ctrl('l') {
            self.clear(out);
        } else {
            self.edit(key, &last);
        }
        None
    }

    /// Takes what belongs to a paste.
    fn take_paste(&mut self, key: Key) -> bool {
        if let Key::Pasted(c) = key {
            self.paste.push(c);
        } else if key == Key::PasteBegins {
            self.paste = Paste::default();
        } else if key == Key::PasteEnds {
            self.pasted();
        } else if key == Key::Unreadable && self.keys.pastes() {
            self.paste.unreadable = true;
        } else {
            return false;
        }
        true
    }

    /// Keys that change the line or move in it.
    fn edit(&mut self, key: Key, last: &Last) {
        let text = &mut self.text;
        let (at, end) = (text.at(), text.as_str().len());
        match key {
            Key::Char(c) => match text.type_in(c) {
                Ok(()) => {}
                Err(Full) => self.full(),
            },
            Key::Alt('\r') => self.insert("\n"),
            Key::Left | Key::Ctrl('b') => self.go(self.text.left()),
            Key::Right | Key::Ctrl('f') => self.go(self.text.right()),
            Key::WordLeft | Key::Alt('b') => self.go(self.text.word_left(Words::Letters)),
            Key::WordRight | Key::Alt('f') => self.go(self.text.word_right(Words::Letters)),
            Key::Home | Key::Ctrl('a') => self.text.move_to(self.text.row_start()),
            Key::End | Key::Ctrl('e') => self.text.move_to(self.text.row_end()),
            Key::First | Key::Alt('<') => self.text.move_to(0),
            Key::Last | Key::Alt('>') => self.text.move_to(end),
            Key::Up | Key::Ctrl('p') => self.up(),
            Key::Down | Key::Ctrl('n') => self.down(),
            Key::Backspace => self.rub(self.text.left(), at),
            Key::Delete | Key::Ctrl('d') => self.rub(at, self.text.right()),
            Key::EraseWord => self.kill(self.text.word_left(Words::Letters), at, Kill::Before, last),
            Key::Ctrl('w') => self.kill(self.text.word_left(Words::Blanks), at, Kill::Before, last),
            Key::DeleteWord | Key::Alt('d') => self.kill(at, self.text.word_right(Words::Letters), Kill::Behind, last),
            Key::Ctrl('u') => {
                // At the beginning of a row, the line end before it.
                let start = self.text.row_start();
                let start = if start == at { at.saturating_sub(1) } else { start };
                self.kill(start, at, Kill::Before, last);
            }
            Key::Ctrl('k') => {
                let end = self.text.row_end();
                let end = if end == at { self.text.right() } else { end };
                self.kill(at, end, Kill::Behind, last);
            }
            Key::Ctrl('y') => {
                let killed = std::mem::take(&mut self.killed);
                self.insert(&killed);
                self.killed = killed;
            }
            Key::Ctrl('t') => self.bell |= !self.text.transpose(),
            Key::Ctrl('_') => self.bell |= !self.text.undo(),
            Key::Ctrl('r') => {
                self.search = Some(Search::new((self.text.as_str().to_owned(), at)));
                self.prompt_drawn = false;
            }
            Key::Ctrl('v') => self.tell("doorward: control characters cannot be part of a command"),
            Key::Alt('.' | '_') => self.last_word(last),
            Key::Unreadable | Key::Ctrl(_) | Key::Alt(_) => self.bell = true,
            Key::BackTab | Key::Insert | Key::Escape | Key::PageUp | Key::PageDown => {}
            // Both are taken before.
            Key::Enter | Key::Tab | Key::Pasted(_) | Key::PasteBegins | Key::PasteEnds => {}
        }
    }

    fn go(&mut self, to: usize) {
        self.bell |= to == self.text.at();
        self.text.move_to(to);
    }

    fn up(&mut self) {
        if !self.text.up() {
            let shown = self.recalled.as_ref().map_or(self.history.len(), |(at, _)| *at);
            match shown.checked_sub(1) {
                Some(older) => self.recall(older),
                None => self.bell = true,
            }
        }
    }

    fn down(&mut self) {
        if !self.text.down() {
            match self.recalled.as_ref().map(|(at, _)| at.saturating_add(1)) {
                Some(newer) => self.recall(newer),
                None => self.bell = true,
            }
        }
    }

    /// Shows a line of the history, or behind the newest what was typed before.
    fn recall(&mut self, at: usize) {
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => self.text.as_str().to_owned(),
        };
        let all = 0..self.text.as_str().len();
        match self.history.get(at) {
            Some(line) => {
                // Only lines that fit were run.
                _ = self.text.replace(all, line);
                self.recalled = Some((at, typed));
            }
            None => _ = self.text.replace(all, &typed),
        }
        self.spilled = false;
    }

    /// Inserts the last word of the last line; pressed again, that of the line before it.
    fn last_word(&mut self, last: &Last) {
        let (from, bytes) = match last {
            Last::Word(from, bytes) => (*from, *bytes),
            Last::Else | Last::Killed | Last::Completed | Last::Listed => (self.history.len(), 0),
        };
        let found = (0..from).rev().find_map(|at| Some((at, self.history.get(at)?.split_whitespace().next_back()?)));
        let at = self.text.at();
        if let Some((line, word)) = found
            && self.text.replace(at.saturating_sub(bytes)..at, word).is_ok()
        {
            self.last = Last::Word(line, word.len());
        } else {
            self.bell = true;
        }
    }

    fn insert(&mut self, text: &str) {
        let at = self.text.at();
        if self.text.replace(at..at, text).is_err() {
            self.tell("doorward: the line would be longer than 32 KiB");
            self.bell = true;
        }
    }

    /// A typed character had no room.
    fn full(&mut self) {
        if !std::mem::replace(&mut self.spilled, true) {
            self.tell("doorward: the line is full, at 32 KiB; what is typed further is left out");
        }
        self.bell = true;
    }

    fn rub(&mut self, start: usize, end: usize) {
        self.bell |= self.text.remove(start..end).is_empty();
        self.spilled = false;
    }

    fn kill(&mut self, start: usize, end: usize, to: Kill, last: &Last) {
        let removed = self.text.remove(start..end);
        self.bell |= removed.is_empty();
        self.spilled = false;
        let before = if *last == Last::Killed { std::mem::take(&mut self.killed) } else { String::new() };
        // What is killed in a row is one text, unless it grew beyond any line.
        let joined = match to {
            Kill::Before => removed + &before,
            Kill::Behind => before + &removed,
        };
        if joined.len() <= LINE_BYTES_MAX && !joined.is_empty() {
            self.killed = joined;
        }
        self.last = Last::Killed;
    }

    fn pasted(&mut self) {
        let Paste { text, bytes, unreadable } = std::mem::take(&mut self.paste);
        self.last = Last::Else;
        let refused = if unreadable {
            Some(String::from("doorward: nothing was pasted: it has control characters, or is not UTF-8"))
        } else if bytes > text.len() || bytes.saturating_add(self.text.as_str().len()) > LINE_BYTES_MAX {
            let size = bytes.div_ceil(1024);
            Some(format!("doorward: nothing was pasted: its {size} KiB do not fit into a line of 32 KiB"))
        } else {
            None
        };
        if let Some(refused) = refused {
            self.tell(&refused);
            self.bell = true;
        } else if let Some(search) = &mut self.search {
            text.chars().for_each(|c| search.push(if c == '\n' { ' ' } else { c }));
        } else {
            // The line end behind the last line is not part of it.
            self.insert(text.trim_end_matches('\n'));
        }
    }

    /// Keys in a search; `false`: the search is over with what was found, and the key is one as ever.
    fn press_in_search(&mut self, key: Key) -> bool {
        let Some(search) = &mut self.search else { return false };
        self.prompt_drawn = false;
        if let Key::Char(c) = key {
            search.push(c);
        } else if key == Key::Backspace {
            search.pop();
        } else if key == Key::Ctrl('r') {
            self.bell |= !search.again(&self.history, Way::Older);
        } else if key == Key::Ctrl('s') {
            self.bell |= !search.again(&self.history, Way::Newer);
        } else if key == Key::Ctrl('g') {
            let (line, at) = std::mem::take(&mut search.before);
            self.search = None;
            let all = 0..self.text.as_str().len();
            _ = self.text.replace(all, &line);
            self.text.move_to(at);
        } else {
            self.found();
            self.search = None;
            return key == Key::Escape;
        }
        // At once: what stays in sight when nothing more is found must not depend on how keys come together.
        self.found();
        true
    }

    /// Shows in the line what the search has found.
    fn found(&mut self) {
        let Some(search) = &mut self.search else { return };
        let Some((line, at)) = search.look(&self.history) else { return };
        if line != self.text.as_str() {
            let all = 0..self.text.as_str().len();
            _ = self.text.replace(all, line);
            (self.recalled, self.spilled) = (None, false);
        }
        self.text.move_to(at);
    }

    fn complete(&mut self, completer: &dyn Completer, last: &Last) {
        let at = self.text.at();
        let completion = completer.complete(self.text.as_str(), at);
        let Some(typed) = self.text.as_str().get(completion.start..at) else { return };
        // What can only be described may begin as the candidates do; to whom has begun to type it is not in the way.
        let alone = completion.hints.is_empty() || !typed.is_empty();
        if let [one] = completion.candidates.as_slice()
            && alone
        {
            let follows = self.text.behind().starts_with(' ');
            let blank = if one.open || follows { "" } else { " " };
            if self.text.replace(completion.start..at, &format!("{}{blank}", one.text)).is_err() {
                self.bell = true;
            }
            return;
        }
        let common = listing::common(&completion.candidates);
        if common.len() > typed.len() && common.starts_with(typed) && alone {
            self.bell |= self.text.replace(completion.start..at, common).is_err();
            self.last = Last::Completed;
            return;
        }
        match last {
            _ if completion.candidates.is_empty() && completion.hints.is_empty() => self.bell = true,
            Last::Completed => {
                let list = listed(&completion, self.drawing.size());
                self.tell(&list);
                self.last = Last::Listed;
            }
            Last::Listed => self.last = Last::Listed,
            Last::Else | Last::Killed | Last::Word(..) => {
                self.bell = true;
                self.last = Last::Completed;
            }
        }
    }

    fn enter(&mut self, completer: &dyn Completer, out: &mut Vec<u8>) -> Option<Act> {
        if self.spilled {
            self.tell(
                "doorward: the line was longer than 32 KiB, and its end is missing: change it, or drop it by Ctrl-C",
            );
            self.bell = true;
            return None;
        }
        if completer.goes_on(self.text.as_str()) {
            self.text.move_to(self.text.as_str().len());
            // The gate joins rows between words only, where a blank can be seen.
            self.insert(if self.text.as_str().ends_with(" \\") { "\n " } else { "\n" });
            return None;
        }
        self.finish(out);
        let line = self.text.take();
        self.history.push(&line);
        Some(Act::Line(line))
    }

    fn dropped(&mut self, out: &mut Vec<u8>) {
        // What a search has found was never the line.
        if let Some(search) = self.search.take() {
            let all = 0..self.text.as_str().len();
            _ = self.text.replace(all, &search.before.0);
        }
        self.text.move_to(self.text.as_str().len());
        self.draw(out);
        out.extend_from_slice(b"^C");
        self.finish_drawn(out);
        self.text.take();
    }

    fn clear(&mut self, out: &mut Vec<u8>) {
        if let Terminal::Full { .. } = self.terminal {
            // However often it is pressed, once is enough.
            if self.drawing.is_drawn() {
                self.drawing.clear(out);
            }
        }
    }
}

/// Drawing.
impl Editor {
    /// Shows all of the line, with its end, and goes to the row below it.
    fn finish(&mut self, out: &mut Vec<u8>) {
        self.search = None;
        self.text.move_to(self.text.as_str().len());
        self.draw(out);
        self.finish_drawn(out);
    }

    fn finish_drawn(&mut self, out: &mut Vec<u8>) {
        match self.terminal {
            Terminal::None => {}
            Terminal::Dumb => self.dumb.leave(out),
            Terminal::Full { .. } => {
                self.drawing.leave(out);
                out.extend_from_slice(PASTES_PLAIN);
            }
        }
        (self.search, self.recalled, self.last) = (None, None, Last::Else);
        (self.spilled, self.prompt_drawn) = (false, false);
    }

    /// Has something told above the line.
    fn tell(&mut self, text: &str) {
        if self.above.len().saturating_add(text.len()) > ABOVE_MAX {
            self.above.clear();
        }
        if !self.above.ends_with(text) {
            self.above.push_str(text);
        }
        if !self.above.ends_with('\n') {
            self.above.push('\n');
        }
    }

    fn write_lines(&self, text: &str, out: &mut Vec<u8>) {
        for line in text.lines() {
            let line = if self.terminal == Terminal::None { line.to_owned() } else { safe(line) };
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(if self.terminal == Terminal::None { b"\n" } else { b"\r\n" });
        }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        self.found();
        if !self.above.is_empty() {
            match self.terminal {
                Terminal::None => {}
                Terminal::Dumb => self.dumb.leave(out),
                Terminal::Full { .. } => self.drawing.erase(out),
            }
            let above = std::mem::take(&mut self.above);
            self.write_lines(&above, out);
        }
        let searching = self.search.as_ref().map(|search| {
            let failed = if search.failed() { "failed " } else { "" };
            (cells(&format!("({failed}search)`{}': ", search.query()), Tone::Plain), Vec::new())
        });
        let (prompt, more) = searching.as_ref().unwrap_or(&self.prompt);
        match self.terminal {
            Terminal::None => {}
            Terminal::Dumb => {
                self.dumb.show(prompt, more, self.text.as_str(), out);
            }
            Terminal::Full { .. } => {
                let same = Some(self.text.take_same()).filter(|_| self.prompt_drawn);
                let (text, at) = (self.text.as_str(), self.text.at());
                self.drawing.show(&View { prompt, more, text, at, same }, out);
                self.prompt_drawn = true;
            }
        }
        if std::mem::take(&mut self.bell) && self.terminal != Terminal::None {
            out.push(0x07);
        }
    }
}

impl Paste {
    fn push(&mut self, c: char) {
        self.bytes = self.bytes.saturating_add(c.len_utf8());
        if self.bytes <= LINE_BYTES_MAX {
            self.text.push(c);
        }
    }
}
