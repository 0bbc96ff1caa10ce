//! What the entries of a menu look like on a terminal, and what keys do to them. Pure: entries, judgements and keys come in,
//! rows and requests go out.
//!
//! ```text
//! list ── Enter ──▶ form, a field for each parameter ── Enter ──▶ last look ── Enter ──▶ run
//!      ◀── Esc ──                                    ◀── Esc ──
//! ```
//! Nothing runs by a key that was typed before the last look was on the screen.

use std::collections::BTreeMap;

use crate::gate::rules::{MenuEntry, MenuRequest, Parameter};
use crate::gate::verdict::{Judgement, Outcome};
use crate::screen::{Size, counted, line, span_typed};
use crate::session::menu::form::{Edited, edit};
use crate::session::menu::frame::{Frame, MESSAGE_ROWS_MAX, ROWS_ABOVE, SIZE_MIN, bold, cut, reversed, wrapped};
use crate::session::menu::keys::Key;

/// So much can be searched for, in characters.
const SEARCH_MAX: usize = 64;

/// What must be done after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing but drawing.
    Draw,
    /// Look up the entries again.
    Load,
    /// Judge this, and show what would run.
    Look(MenuRequest),
    /// Run this.
    Run(MenuRequest),
    /// End.
    Leave,
}

/// The entries of a menu on a terminal.
#[derive(Debug)]
pub struct Board {
    /// Where they run.
    place: String,
    entries: Vec<MenuEntry>,
    view: View,
    search: String,
    selected: usize,
    top: usize,
    height: usize,
    message: String,
}

#[derive(Debug)]
enum View {
    List,
    Form(Form),
    Look(Look),
}

/// Values for the parameters of an entry.
#[derive(Debug, Clone)]
struct Form {
    entry: MenuEntry,
    values: Vec<String>,
    at: usize,
}

/// What would run, before it does.
#[derive(Debug)]
struct Look {
    request: MenuRequest,
    /// In paragraphs, each harmless.
    text: Vec<String>,
    runs: bool,
    /// Whether it was on the screen.
    seen: bool,
    scrolled: usize,
    /// How far it can be scrolled.
    last: usize,
    form: Option<Form>,
}

impl Board {
    /// A board with nothing on it yet, of what runs there.
    pub fn new(place: &str) -> Self {
        Self {
            place: line(place),
            entries: Vec::new(),
            view: View::List,
            search: String::new(),
            selected: 0,
            top: 0,
            height: 1,
            message: String::new(),
        }
    }

    /// Puts other entries in the place of those before. What is selected stays so, if it is still there.
    pub fn set(&mut self, entries: Vec<MenuEntry>) {
        let before = self.chosen().map(|entry| entry.name.clone());
        self.entries = entries;
        self.select_name(before.as_ref().map(|name| name.as_str()));
    }

    /// Selects the entry of this name, if it is there.
    fn select_name(&mut self, name: Option<&str>) {
        let row = self.found().iter().position(|entry| Some(entry.name.as_str()) == name);
        self.selected = row.unwrap_or(self.selected);
    }

    /// Says something above the last row.
    pub fn say(&mut self, message: &str) {
        self.message = line(message);
    }

    /// Shows what was judged; `before` is what the bastion sends before it.
    pub fn look(&mut self, request: MenuRequest, judgement: &Judgement, before: &str) {
        let form = match std::mem::replace(&mut self.view, View::List) {
            View::Form(form) => Some(form),
            View::List | View::Look(_) => None,
        };
        let (text, runs) = told(&self.place, judgement, before);
        let text = text.iter().map(|text| line(text)).collect();
        self.view = View::Look(Look { request, text, runs, seen: false, scrolled: 0, last: 0, form });
    }

    /// Shows the whole list again, once something has run; that is selected still.
    pub fn back(&mut self) {
        let ran = self.chosen().map(|entry| entry.name.clone());
        self.view = View::List;
        self.search.clear();
        self.selected = 0;
        self.select_name(ran.as_ref().map(|name| name.as_str()));
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Act {
        self.message.clear();
        match std::mem::replace(&mut self.view, View::List) {
            View::List => self.press_in_list(key),
            View::Form(form) => self.press_in_form(form, key),
            View::Look(look) => self.press_in_look(look, key),
        }
    }

    fn press_in_list(&mut self, key: Key) -> Act {
        let rows = self.found().len();
        let last = rows.saturating_sub(1);
        match key {
            Key::Char(c) | Key::Pasted(c) => {
                if self.search.len() < SEARCH_MAX {
                    self.search.push(c);
                    self.selected = 0;
                }
            }
            Key::Backspace => {
                self.search.pop();
                self.selected = 0;
            }
            Key::EraseWord => {
                let kept = self.search.trim_end().rfind(' ').map_or(0, |blank| blank.saturating_add(1));
                self.search.truncate(kept);
                self.selected = 0;
            }
            Key::EraseAll | Key::Escape => {
                self.search.clear();
                self.selected = 0;
            }
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down | Key::Tab => self.selected = self.selected.saturating_add(1).min(last),
            Key::BackTab => self.selected = self.selected.saturating_sub(1),
            Key::PageUp => self.selected = self.selected.saturating_sub(self.height),
            Key::PageDown => self.selected = self.selected.saturating_add(self.height).min(last),
            Key::Home => self.selected = 0,
            Key::End => self.selected = last,
            Key::Again => return Act::Load,
            Key::Leave => return Act::Leave,
            Key::Enter => {
                let Some(entry) = self.chosen().cloned() else { return Act::Draw };
                if entry.parameters.is_empty() {
                    return Act::Look(MenuRequest { name: entry.name.to_string(), with: BTreeMap::new() });
                }
                let values = entry.parameters.iter().map(|one| one.default.clone().unwrap_or_default()).collect();
                self.view = View::Form(Form { entry, values, at: 0 });
            }
        }
        Act::Draw
    }

    fn press_in_form(&mut self, mut form: Form, key: Key) -> Act {
        let last = form.values.len().saturating_sub(1);
        match key {
            Key::Up | Key::Down if form.choose(key) => {}
            Key::Tab | Key::Down => form.at = form.at.saturating_add(1).min(last),
            Key::BackTab | Key::Up => form.at = form.at.saturating_sub(1),
            Key::Home => form.at = 0,
            Key::End => form.at = last,
            Key::Leave => return Act::Draw,
            Key::Char(_)
            | Key::Pasted(_)
            | Key::Enter
            | Key::Backspace
            | Key::EraseWord
            | Key::EraseAll
            | Key::Escape
            | Key::PageUp
            | Key::PageDown
            | Key::Again => {
                let Some(value) = form.values.get_mut(form.at) else { return Act::Draw };
                match edit(value, key) {
                    Edited::Text => {}
                    Edited::Left if form.at == 0 => return Act::Draw,
                    Edited::Left => form.at = form.at.saturating_sub(1),
                    Edited::Ready => {
                        if let Some(why) = form.fault() {
                            self.say(&why);
                        } else if form.at < last {
                            form.at = form.at.saturating_add(1);
                        } else {
                            let request = form.request();
                            self.view = View::Form(form);
                            return Act::Look(request);
                        }
                    }
                }
            }
        }
        self.view = View::Form(form);
        Act::Draw
    }

    fn press_in_look(&mut self, mut look: Look, key: Key) -> Act {
        match key {
            // An Enter that was typed before it could be read is not for it.
            Key::Enter if look.runs && look.seen => {
                let request = look.request.clone();
                self.view = View::Look(look);
                return Act::Run(request);
            }
            Key::Escape | Key::Leave => {
                self.view = look.form.map_or(View::List, View::Form);
                return Act::Draw;
            }
            Key::Up => look.scrolled = look.scrolled.saturating_sub(1),
            Key::Down => look.scrolled = look.scrolled.saturating_add(1).min(look.last),
            Key::PageUp | Key::Home => look.scrolled = 0,
            Key::PageDown | Key::End => look.scrolled = look.last,
            Key::Char(_)
            | Key::Pasted(_)
            | Key::Enter
            | Key::Backspace
            | Key::EraseWord
            | Key::EraseAll
            | Key::Tab
            | Key::BackTab
            | Key::Again => {}
        }
        self.view = View::Look(look);
        Act::Draw
    }

    /// The entries in which all words of the search are.
    fn found(&self) -> Vec<&MenuEntry> {
        let search = self.search.to_ascii_lowercase();
        let words: Vec<&str> = search.split(' ').collect();
        let has_all = |entry: &&MenuEntry| {
            let text = format!("{} {}", entry.name, entry.title).to_ascii_lowercase();
            words.iter().all(|word| text.contains(word))
        };
        self.entries.iter().filter(has_all).collect()
    }

    fn chosen(&self) -> Option<&MenuEntry> {
        self.found().get(self.selected).copied()
    }

    /// What a terminal of this size shows.
    pub fn frame(&mut self, size: Size) -> Frame {
        if size.cols < SIZE_MIN.cols || size.rows < SIZE_MIN.rows {
            return Frame::too_small(size);
        }
        match std::mem::replace(&mut self.view, View::List) {
            View::List => self.list_frame(size),
            View::Form(form) => {
                let frame = self.form_frame(&form, size);
                self.view = View::Form(form);
                frame
            }
            View::Look(mut look) => {
                let frame = look.frame(&self.message, size);
                self.view = View::Look(look);
                frame
            }
        }
    }

    fn list_frame(&mut self, size: Size) -> Frame {
        let wide = format!("Doorward  {}  menu: nothing but these entries runs", self.place);
        let title = if wide.chars().count() <= size.cols { wide } else { self.place.clone() };
        let search = cut(&format!("Search: {}", self.search), size.cols.saturating_sub(1));
        let cursor = Some((search.chars().count(), 1));
        let mut rows = vec![reversed(&title, size.cols), search, String::new()];
        let (all, found) = (self.entries.len(), self.found().len());
        let remark = match (self.message.is_empty(), all, found) {
            (false, _, _) => self.message.clone(),
            (true, 0, _) => String::from("No entry is open to you here now. Ctrl-R looks again."),
            (true, _, 0) => String::from("Nothing has all these words. Esc clears the search."),
            (true, _, _) => String::new(),
        };
        let most = MESSAGE_ROWS_MAX.min(size.rows.saturating_sub(ROWS_ABOVE + 2));
        let message = wrapped(&remark, size.cols, most);
        let below = message.len().saturating_add(1);
        self.height = size.rows.saturating_sub(ROWS_ABOVE).saturating_sub(below).max(1);
        self.selected = self.selected.min(found.saturating_sub(1));
        let last = self.selected.saturating_add(1).saturating_sub(self.height);
        self.top = self.top.clamp(last, self.selected).min(found.saturating_sub(self.height));
        let width = self.found().iter().map(|entry| entry.name.as_str().len()).max().unwrap_or(0);
        let listed = self.found().into_iter().enumerate().skip(self.top).take(self.height).map(|(at, entry)| {
            let (mark, yes) = match (at == self.selected, entry.outcome) {
                (true, Outcome::Approve) => ('>', "  (takes a yes)"),
                (true, Outcome::Allow | Outcome::Deny) => ('>', ""),
                (false, Outcome::Approve) => (' ', "  (takes a yes)"),
                (false, Outcome::Allow | Outcome::Deny) => (' ', ""),
            };
            let text = line(&format!("{mark} {:width$}  {}{yes}", entry.name.as_str(), entry.title));
            if at == self.selected { reversed(&text, size.cols) } else { cut(&text, size.cols) }
        });
        rows.extend(listed.collect::<Vec<_>>());
        rows.resize(size.rows.saturating_sub(below), String::new());
        rows.extend(message);
        let count = if found == all { counted(all, "entry") } else { format!("{found} of {}", counted(all, "entry")) };
        rows.push(footer(
            &count,
            &["Enter opens  type to search  Ctrl-C leaves", "Enter opens  ^C leaves", "^C leaves"],
            size.cols,
        ));
        Frame { rows, cursor }
    }

    fn form_frame(&self, form: &Form, size: Size) -> Frame {
        let entry = &form.entry;
        let mut rows = vec![reversed(&line(&format!("{}  {}", entry.name, entry.title)), size.cols)];
        let parameter = entry.parameters.get(form.at);
        // Below: what it is, what it takes, or what is wrong with it; the keys.
        let mut below = Vec::new();
        if let Some(parameter) = parameter {
            let help = parameter.help.as_deref().map(line);
            let value = form.values.get(form.at).map_or("", String::as_str);
            below.extend(help.map(|help| cut(&help, size.cols)));
            let said = match (self.message.as_str(), parameter.accepts(value)) {
                ("", Ok(())) => takes(parameter, value, size.cols),
                ("", Err(_)) if value.is_empty() => takes(parameter, value, size.cols),
                ("", Err(why)) => format!("not yet: {why}"),
                (message, _) => message.to_owned(),
            };
            let most = if size.rows < 10 { 1 } else { MESSAGE_ROWS_MAX };
            let said = wrapped(&line(&said), size.cols, most);
            // What is wrong stands where the help stood: it is to be seen that it is another.
            let is_wrong = !self.message.is_empty();
            below.extend(said.into_iter().map(|row| if is_wrong { bold(&row) } else { row }));
        }
        let room = size.rows.saturating_sub(below.len()).saturating_sub(2).max(1);
        let first = form.at.saturating_add(1).saturating_sub(room);
        let mut cursor = None;
        let fields = entry.parameters.iter().zip(&form.values).enumerate().skip(first).take(room);
        for (at, (parameter, value)) in fields {
            let label = format!("{} {}: ", if at == form.at { '>' } else { ' ' }, parameter.name);
            // Of what is too wide the end is shown: there it is typed.
            let left = size.cols.saturating_sub(label.len()).saturating_sub(1).max(1);
            let skipped = value.chars().count().saturating_sub(left);
            let row = cut(&line(&format!("{label}{}", value.chars().skip(skipped).collect::<String>())), size.cols);
            if at == form.at {
                cursor = Some((row.chars().count().min(size.cols.saturating_sub(1)), rows.len()));
            }
            rows.push(row);
        }
        rows.resize(size.rows.saturating_sub(below.len()).saturating_sub(1), String::new());
        rows.extend(below);
        let keys = match parameter.and_then(Parameter::choices) {
            Some(_) => ["Enter goes on  Up, Down choose  Esc goes back", "Enter  Up/Down  Esc back", "Esc back"],
            None if form.values.len() == 1 => ["Enter goes on  Esc goes back", "Enter goes on  Esc back", "Esc back"],
            None => ["Enter goes on  Tab next field  Esc goes back", "Enter goes on  Esc back", "Esc back"],
        };
        let count = format!("{} of {}", form.at.saturating_add(1), form.values.len());
        rows.push(footer(&count, &keys, size.cols));
        Frame { rows, cursor }
    }
}

impl Form {
    fn parameter(&self) -> Option<&Parameter> {
        self.entry.parameters.get(self.at)
    }

    /// Why the value of the field cannot be.
    fn fault(&self) -> Option<String> {
        let value = self.values.get(self.at)?;
        let parameter = self.parameter()?;
        parameter.accepts(value).err().map(|why| format!("{}: {why}", parameter.name))
    }

    /// Goes to the next choice, or the one before; `false` if there are none.
    fn choose(&mut self, key: Key) -> bool {
        let Some(choices) = self.parameter().and_then(Parameter::choices) else { return false };
        let value = self.values.get(self.at).map_or("", String::as_str);
        let now = choices.iter().position(|choice| choice == value);
        let typed = choices.iter().position(|choice| !value.is_empty() && choice.starts_with(value));
        let last = choices.len().saturating_sub(1);
        let next = match (now, typed, key == Key::Down) {
            (Some(at), _, true) => {
                if at == last {
                    0
                } else {
                    at.saturating_add(1)
                }
            }
            (Some(at), _, false) => at.checked_sub(1).unwrap_or(last),
            (None, Some(at), _) => at,
            (None, None, true) => 0,
            (None, None, false) => last,
        };
        let chosen = choices.get(next).cloned();
        if let (Some(value), Some(chosen)) = (self.values.get_mut(self.at), chosen) {
            *value = chosen;
        }
        true
    }

    fn request(&self) -> MenuRequest {
        let names = self.entry.parameters.iter().map(|parameter| parameter.name.clone());
        MenuRequest { name: self.entry.name.to_string(), with: names.zip(self.values.iter().cloned()).collect() }
    }
}

impl Look {
    fn frame(&mut self, message: &str, size: Size) -> Frame {
        let mut lines: Vec<String> = Vec::new();
        for text in &self.text {
            let chars: Vec<char> = text.chars().collect();
            // Each character is shown: nothing of what runs is cut off.
            lines.extend(chars.chunks(size.cols.max(1)).map(|part| part.iter().collect::<String>()));
            if chars.is_empty() {
                lines.push(String::new());
            }
        }
        let room = size.rows.saturating_sub(3).max(1);
        self.last = lines.len().saturating_sub(room);
        self.scrolled = self.scrolled.min(self.last);
        // Whoever has not seen its end has not seen it.
        self.seen |= self.scrolled == self.last;
        let title = if self.runs { "Last look" } else { "This does not run" };
        let mut rows = vec![reversed(&format!("{title}  {}", line(&self.request.name)), size.cols)];
        rows.extend(lines.into_iter().skip(self.scrolled).take(room));
        rows.resize(size.rows.saturating_sub(2), String::new());
        rows.push(cut(message, size.cols));
        let more = if self.scrolled < self.last { "more below" } else { "" };
        let keys = match (self.runs, self.seen) {
            (true, true) => ["Enter runs it  Esc goes back", "Enter runs  Esc back", "Enter, Esc"],
            (true, false) => ["PageDown shows the rest  Esc goes back", "PageDown: rest", "PageDown"],
            (false, _) => ["Esc goes back", "Esc back", "Esc"],
        };
        rows.push(footer(more, &keys, size.cols));
        Frame { rows, cursor: None }
    }
}

/// What would run, in paragraphs; and whether it would.
pub fn told(place: &str, judgement: &Judgement, before: &str) -> (Vec<String>, bool) {
    let mut text = Vec::new();
    let Some(send) = &judgement.send else {
        let why = judgement.reason.clone().unwrap_or_else(|| format!("it is refused ({})", judgement.by));
        text.extend(why.lines().map(|line| line.trim().to_owned()));
        return (text, false);
    };
    text.push(format!("This runs as {place}:"));
    text.push(String::new());
    text.push(format!("{before}{send}"));
    text.push(String::new());
    if let Some(need) = &judgement.approval {
        let within = span_typed(need.within);
        text.push(format!("It waits for a yes of {}, at most {within}.", need.approvers));
    }
    text.extend(judgement.reason.clone());
    (text, true)
}

/// What a parameter takes, and of choices which is chosen.
fn takes(parameter: &Parameter, value: &str, cols: usize) -> String {
    let Some(choices) = parameter.choices() else { return parameter.wanted() };
    let shown: Vec<String> =
        choices.iter().map(|choice| if choice == value { format!("[{choice}]") } else { choice.clone() }).collect();
    // What is chosen is on the screen.
    let chosen = choices.iter().position(|choice| choice == value).unwrap_or(0);
    let mut first = 0;
    while first < chosen
        && shown.iter().skip(first).take(chosen.saturating_sub(first).saturating_add(1)).map(String::len).sum::<usize>()
            > cols
    {
        first = first.saturating_add(1);
    }
    shown.into_iter().skip(first).collect::<Vec<_>>().join("  ")
}

/// The last row: a word, and the first of the keys that fits.
fn footer(word: &str, keys: &[&str], cols: usize) -> String {
    let length = word.chars().count();
    let keys = keys.iter().find(|keys| length.saturating_add(keys.len()).saturating_add(2) <= cols);
    let Some(keys) = keys else { return reversed(word, cols) };
    let blank = cols.saturating_sub(length).saturating_sub(keys.len());
    reversed(&format!("{word}{:blank$}{keys}", ""), cols)
}

#[cfg(test)]
pub(super) mod tests;
