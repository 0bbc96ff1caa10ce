//! What was typed: events of a keyboard as lines of text, by the layout that the user's program named.
//!
//! A keyboard sends places of keys, not letters; what letter that is, the target decides by its own layout. This reads
//! them by the layout that the user's program said it has, which is the one that the target sets up for the session
//! unless the user changes it there. So the text is for searching; the events themselves are in the recording.

mod down;
mod inputs;
mod layouts;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use down::Down;
pub use inputs::{Button, Input, inputs};
use layouts::{Layout, compose};

/// A line ends when nothing was typed for so long.
const PAUSE: Duration = Duration::from_secs(10);

/// A line of more characters is continued on another.
const LINE_CHARS_MAX: usize = 2000;

/// What was typed in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first key went down, since the session opened.
    pub from: Duration,
    /// When it ended.
    pub until: Duration,
    /// Its text as it stood at the end: what was deleted again is not in it. Keys without a text are `<Left>`.
    pub text: String,
    /// Every key in order, where that says more.
    pub keys: Option<String>,
}

/// Reads events as lines.
#[derive(Debug)]
pub struct Keys {
    layout: &'static Layout,
    shift: bool,
    right_shift: bool,
    control: bool,
    alt: bool,
    alt_graph: bool,
    meta: bool,
    caps: bool,
    /// A dead key whose letter has not come.
    dead: Option<char>,
    /// The first half of a character that takes two units.
    high: Option<u16>,
    line: Option<Typed>,
}

#[derive(Debug)]
struct Typed {
    from: Duration,
    last: Duration,
    /// What stands there, one entry for each key.
    text: Vec<String>,
    keys: String,
    count: usize,
    deleted: bool,
}

impl Keys {
    /// By a keyboard's layout (an input locale); one that is not known is read as that of the United States.
    pub fn new(layout: u32) -> Self {
        Self {
            layout: Layout::of(layout),
            shift: false,
            right_shift: false,
            control: false,
            alt: false,
            alt_graph: false,
            meta: false,
            caps: false,
            dead: None,
            high: None,
            line: None,
        }
    }

    /// Whether that layout is known.
    pub fn knows(layout: u32) -> bool {
        Layout::known(layout).is_some()
    }

    /// Takes the next event; gives a line that has ended.
    pub fn take(&mut self, at: Duration, input: Input) -> Option<Line> {
        let paused = self.line.as_ref().is_some_and(|line| at.saturating_sub(line.last) >= PAUSE);
        let ended = if paused { self.finish() } else { None };
        let now = match input {
            Input::Key { code, extended, released } => self.key(at, code, extended, released),
            Input::Unicode { unit, released: false } => {
                if let Some(c) = self.unit(unit) {
                    self.put(at, &c.to_string());
                }
                None
            }
            Input::Locks { caps } => {
                *self = Self { caps, line: self.line.take(), ..Self::with(self.layout) };
                None
            }
            // What is typed next is most likely typed elsewhere.
            Input::Mouse { pressed: true, .. } => self.finish(),
            Input::Unicode { released: true, .. } | Input::Mouse { pressed: false, .. } | Input::Other => None,
        };
        // A key that ends a line cannot come with the pause that ended the one before it.
        ended.or(now)
    }

    fn with(layout: &'static Layout) -> Self {
        Self { layout, ..Self::new(0) }
    }

    /// The line that has not ended, if there is one.
    pub fn finish(&mut self) -> Option<Line> {
        if let Some(dead) = self.dead.take()
            && let Some(line) = &mut self.line
        {
            line.push(&dead.to_string());
        }
        self.line.take().map(Typed::into_line)
    }

    fn key(&mut self, at: Duration, code: u8, extended: bool, released: bool) -> Option<Line> {
        let held = !released;
        match (code, extended) {
            (0x2A, false) => self.shift = held,
            (0x36, false) => self.right_shift = held,
            // Windows sends them around keys of the other block; they mean nothing.
            (0x2A | 0x36, true) => {}
            (0x1D, _) => self.control = held,
            (0x38, false) => self.alt = held,
            (0x38, true) => self.alt_graph = held,
            (0x5B | 0x5C, true) => self.meta = held,
            (0x3A, false) if held => self.caps = !self.caps,
            _ if released => {}
            (0x1C, _) if !self.commands() => {
                self.note(at, "<Enter>");
                return self.finish();
            }
            (0x0F, false) if !self.commands() => {
                self.note(at, "<Tab>");
                return self.finish();
            }
            (0x0E, false) if !self.commands() => self.delete(at),
            _ => self.press(at, code, extended),
        }
        None
    }

    /// Whether a modifier makes a command of a key.
    fn commands(&self) -> bool {
        let graph = self.alt_graph || (self.control && self.alt);
        !graph && (self.control || self.alt || self.meta)
    }

    fn press(&mut self, at: Duration, code: u8, extended: bool) {
        let graph = self.alt_graph || (self.control && self.alt);
        let shift = self.shift || self.right_shift;
        if self.commands() {
            let base = self.layout.letter(code, extended, false, false, false).map(|c| c.to_uppercase().to_string());
            let name = base.unwrap_or_else(|| layouts::name(code, extended));
            let mut said = String::from("<");
            for (held, word) in [(self.meta, "Win+"), (self.control, "Ctrl+"), (self.alt, "Alt+"), (shift, "Shift+")] {
                said.push_str(if held { word } else { "" });
            }
            return self.put(at, &format!("{said}{name}>"));
        }
        let Some(c) = self.layout.letter(code, extended, shift, graph, self.caps) else {
            return self.put(at, &format!("<{}>", layouts::name(code, extended)));
        };
        match self.dead.take() {
            Some(dead) => match compose(dead, c) {
                Some(both) => self.put(at, &both.to_string()),
                None => {
                    self.put(at, &dead.to_string());
                    self.put(at, &c.to_string());
                }
            },
            None if self.layout.is_dead(c, graph) => self.dead = Some(c),
            None => self.put(at, &c.to_string()),
        }
    }

    fn unit(&mut self, unit: u16) -> Option<char> {
        let units = self.high.take().into_iter().chain([unit]);
        match char::decode_utf16(units).next()? {
            Ok(c) => Some(c),
            Err(_) if (0xD800..0xDC00).contains(&unit) => {
                self.high = Some(unit);
                None
            }
            Err(_) => Some(char::REPLACEMENT_CHARACTER),
        }
    }

    fn typed(&mut self, at: Duration) -> &mut Typed {
        let new = || Typed { from: at, last: at, text: Vec::new(), keys: String::new(), count: 0, deleted: false };
        let line = self.line.get_or_insert_with(new);
        line.last = at;
        line
    }

    fn put(&mut self, at: Duration, text: &str) {
        let line = self.typed(at);
        if line.count < LINE_CHARS_MAX {
            line.push(text);
        }
    }

    /// Notes a key that ends a line, which is no part of its text.
    fn note(&mut self, at: Duration, name: &str) {
        if let Some(dead) = self.dead.take() {
            self.put(at, &dead.to_string());
        }
        let line = self.typed(at);
        line.keys.push_str(name);
    }

    fn delete(&mut self, at: Duration) {
        self.dead = None;
        let line = self.typed(at);
        line.text.pop();
        line.keys.push_str("<Backspace>");
        line.deleted = true;
    }
}

impl Typed {
    fn push(&mut self, text: &str) {
        self.text.push(text.to_owned());
        self.keys.push_str(text);
        self.count = self.count.saturating_add(1);
    }

    fn into_line(self) -> Line {
        let keys = self.deleted.then_some(self.keys);
        Line { from: self.from, until: self.last, text: self.text.concat(), keys }
    }
}
