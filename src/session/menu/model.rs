//! What a menu shows, and what keys do to it. Pure: lists and keys come in, rows go out; no terminal, no clock.

use std::borrow::Cow;
use std::fmt::Write;

use super::super::verb::Ask;
use super::super::verb::own::{NOWHERE, OwnSession};
use super::form::{Filled, Form, RequestRow};
use super::frame::{Frame, MESSAGE_ROWS_MAX, ROWS_ABOVE, SIZE_MIN, cut, reversed, wrapped};
use super::keys::Key;
use crate::grant::Access;
use crate::ledger::{Offer, Offers};
use crate::model::{ChannelClass, Destination, Timestamp};
use crate::screen::{Size, counted, line};

/// So much can be searched for, in characters.
const SEARCH_MAX: usize = 64;

/// One of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Where the user may go.
    Destinations,
    /// Their live sessions.
    Sessions,
    /// Their recordings.
    Recordings,
    /// Access requests: theirs, and those that wait for their word.
    Requests,
}

impl Page {
    const ALL: [Self; 4] = [Self::Destinations, Self::Sessions, Self::Recordings, Self::Requests];

    fn title(self) -> &'static str {
        match self {
            Self::Destinations => "Destinations",
            Self::Sessions => "Live sessions",
            Self::Recordings => "Recordings",
            Self::Requests => "Requests",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Destinations => Self::Sessions,
            Self::Sessions => Self::Recordings,
            Self::Recordings => Self::Requests,
            Self::Requests => Self::Destinations,
        }
    }
}

/// What must be done after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing but drawing.
    Draw,
    /// Look up what this page lists.
    Load(Page),
    /// Go where the selected row says, once it is on the screen; or ask to, or read it.
    Choose,
    /// Do what a form says.
    Do(Box<Ask>),
    /// End.
    Leave,
}

/// A list that was looked up, or is being looked up.
#[derive(Debug)]
struct List<T> {
    items: Vec<T>,
    more: bool,
    loaded: bool,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false, loaded: false }
    }
}

/// A menu.
#[derive(Debug)]
pub struct Menu {
    user: String,
    page: Page,
    offers: List<Offer>,
    sessions: List<OwnSession>,
    recordings: List<OwnSession>,
    requests: List<RequestRow>,
    /// What is filled in, or read, in the place of a list.
    form: Option<Form>,
    /// What was filled in, and is being done.
    sent: Option<Form>,
    search: String,
    /// The rows of the page in which all words of the search are, by their place in the list; `None` after a change.
    found: Option<Vec<usize>>,
    /// Which of them is selected, and which is the first on the screen.
    selected: usize,
    top: usize,
    /// How many rows of a list were on the screen last.
    height: usize,
    message: String,
    help: bool,
}

const HELP: &[&str] = &[
    "type          search: every word must be in a row",
    "up, down      select a row (also Ctrl-P, Ctrl-N, PageUp, PageDown)",
    "Enter         open a shell there, recorded as always; or ask for a grant",
    "Tab           destinations, your sessions, recordings, requests",
    "Esc           clear the search",
    "Ctrl-R        look again",
    "Ctrl-C, or q  leave (q while nothing is searched for)",
    "",
    "Without the menu: ssh ACCOUNT@TARGET@BASTION",
    "Verbs: ssh USER@BASTION help",
];

/// What the keys do, on the last row; the first that fits is shown.
const KEYS: [&str; 4] = [
    "Enter connect  Tab next list  ? help  Esc clear  Ctrl-C leave",
    "Enter connect  Tab lists  ? help  ^C leave",
    "? help  ^C leave",
    "^C leave",
];

impl Menu {
    /// A menu of this user, with nothing in it yet.
    pub fn new(user: &str) -> Self {
        Self {
            user: line(user),
            page: Page::Destinations,
            offers: List::default(),
            sessions: List::default(),
            recordings: List::default(),
            requests: List::default(),
            form: None,
            sent: None,
            search: String::new(),
            found: None,
            selected: 0,
            top: 0,
            height: 1,
            message: String::new(),
            help: false,
        }
    }

    /// The page that is shown.
    pub fn page(&self) -> Page {
        self.page
    }

    /// Whether what it lists was looked up.
    pub fn is_loaded(&self) -> bool {
        let (_, loaded, _) = self.extent();
        loaded
    }

    /// Puts other destinations in the place of those before; where a shell may be opened now comes first. What is
    /// selected stays so, if it is still there.
    pub fn set_offers(&mut self, mut offers: Offers, now: Timestamp) {
        let before = self.chosen(now);
        offers.list.sort_by_key(|offer| !(offer.has_shell() && offer.ready));
        self.offers = List { items: offers.list, more: offers.more, loaded: true };
        self.renew(Page::Destinations);
        if let Some(before) = before {
            let place = self.offers.items.iter().position(|offer| offer.destination == before);
            let row = place.and_then(|place| self.found(now).iter().position(|found| *found == place));
            self.selected = row.unwrap_or(self.selected);
        }
    }

    /// Puts other sessions on a page.
    pub fn set_sessions(&mut self, page: Page, items: Vec<OwnSession>, more: bool) {
        let list = List { items, more, loaded: true };
        match page {
            Page::Destinations | Page::Requests => return,
            Page::Sessions => self.sessions = list,
            Page::Recordings => self.recordings = list,
        }
        self.renew(page);
    }

    /// Puts other requests on their page: those that wait for this user's word come first.
    pub fn set_requests(&mut self, items: Vec<RequestRow>) {
        self.requests = List { items, more: false, loaded: true };
        self.renew(Page::Requests);
    }

    /// Opens a form on what is selected, if Enter is for that there: the request that is read, the grant that is asked for.
    pub fn open_form(&mut self, now: Timestamp) -> bool {
        let row = self.selected;
        let Some(place) = self.found(now).get(row).copied() else { return false };
        self.form = match self.page {
            Page::Requests => self.requests.items.get(place).map(|row| Form::Read(Box::new(row.clone()))),
            Page::Destinations => {
                let asks = |offer: &&Offer| offer.may_ask && offer.ready && offer.access == Access::NeedsGrant;
                self.offers.items.get(place).filter(asks).map(|offer| Form::ask(offer.destination.clone()))
            }
            Page::Sessions | Page::Recordings => None,
        };
        self.form.is_some()
    }

    fn fill(&mut self, key: Key) -> Act {
        let Some(form) = &mut self.form else { return Act::Draw };
        match form.press(key) {
            Filled::On => {}
            Filled::Closed => self.form = None,
            Filled::Word(id, verdict) => self.form = Some(Form::Word { id, verdict, note: String::new() }),
            Filled::Bad(why) => self.say(why),
            Filled::Done(ask) => {
                self.sent = self.form.take();
                return Act::Do(Box::new(ask));
            }
        }
        Act::Draw
    }

    /// What a form said is done.
    pub fn done(&mut self, told: &str) {
        self.sent = None;
        self.say(told);
    }

    /// What a form said is not done. A grant that was asked for can be asked for otherwise, unless the user is at something
    /// else by now.
    pub fn refused(&mut self, why: &str) {
        let again = self.sent.take().and_then(Form::again);
        if self.form.is_none() && self.page == Page::Destinations && self.search.is_empty() {
            self.form = again;
        }
        self.say(why);
    }

    fn renew(&mut self, page: Page) {
        if self.page == page {
            self.found = None;
        }
    }

    /// Says something on the row above the last.
    pub fn say(&mut self, message: &str) {
        self.message = line(message);
    }

    /// The destination that is selected.
    pub fn chosen(&mut self, now: Timestamp) -> Option<Destination> {
        if self.page != Page::Destinations {
            return None;
        }
        let row = self.selected;
        let place = self.found(now).get(row).copied()?;
        self.offers.items.get(place).map(|offer| offer.destination.clone())
    }

    /// Takes a key. Nothing here searches: however many keys come at once, that is done once for a frame.
    pub fn press(&mut self, key: Key) -> Act {
        self.message.clear();
        if self.form.is_some() {
            return self.fill(key);
        }
        if std::mem::take(&mut self.help) && key != Key::Leave {
            return Act::Draw;
        }
        match key {
            Key::Char('?') => self.help = true,
            Key::Char('q') if self.search.is_empty() => return Act::Leave,
            Key::Char(c) | Key::Pasted(c) => {
                // What is searched for has no other letters.
                if c.is_ascii() && self.search.len() < SEARCH_MAX {
                    self.search.push(c);
                    self.anew();
                }
            }
            Key::Backspace => {
                self.search.pop();
                self.anew();
            }
            Key::EraseWord => {
                let kept = self.search.trim_end().rfind(' ').map_or(0, |blank| blank.saturating_add(1));
                self.search.truncate(kept);
                self.anew();
            }
            Key::EraseAll | Key::Escape => {
                self.search.clear();
                self.anew();
            }
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.select(self.selected.saturating_add(1)),
            Key::PageUp => self.selected = self.selected.saturating_sub(self.height),
            Key::PageDown => self.select(self.selected.saturating_add(self.height)),
            Key::Home => self.selected = 0,
            Key::End => self.select(usize::MAX),
            Key::Tab => return self.turn(self.page.next()),
            Key::BackTab => return self.turn(self.page.next().next().next()),
            Key::Again => return Act::Load(self.page),
            Key::Enter => match self.page {
                Page::Destinations | Page::Requests => return Act::Choose,
                Page::Sessions | Page::Recordings => self.say("Nothing to open here: Tab goes to the destinations."),
            },
            Key::Leave => return Act::Leave,
        }
        Act::Draw
    }

    /// Selects a row, or the last; where it is not known how many there are, the frame finds out.
    fn select(&mut self, row: usize) {
        let last = self.found.as_ref().map_or(usize::MAX, |found| found.len().saturating_sub(1));
        self.selected = row.min(last);
    }

    fn turn(&mut self, page: Page) -> Act {
        self.page = page;
        self.search.clear();
        self.anew();
        Act::Load(page)
    }

    fn anew(&mut self) {
        (self.found, self.selected, self.top) = (None, 0, 0);
    }

    /// How many rows the page has, whether they were looked up, and whether there are more.
    fn extent(&self) -> (usize, bool, bool) {
        match self.page {
            Page::Destinations => (self.offers.items.len(), self.offers.loaded, self.offers.more),
            Page::Sessions => (self.sessions.items.len(), self.sessions.loaded, self.sessions.more),
            Page::Recordings => (self.recordings.items.len(), self.recordings.loaded, self.recordings.more),
            Page::Requests => (self.requests.items.len(), self.requests.loaded, self.requests.more),
        }
    }

    /// A row of the page: its name, and what is said of it.
    fn row(&self, place: usize, now: Timestamp) -> Option<(String, Cow<'static, str>)> {
        let session = |own: &OwnSession| (own.session.to_string(), format!("{}  {}", own.destination, own.note(now)));
        match self.page {
            Page::Destinations => self.offers.items.get(place).map(|offer| {
                let state = offer.state(now);
                let shell = offer.has_shell() || offer.with_grant.contains(&ChannelClass::Shell);
                let note = if shell { state } else { format!("{state}, no shell: {}", offer.channels()).into() };
                (offer.destination.to_string(), note)
            }),
            Page::Sessions => self.sessions.items.get(place).map(session).map(|(name, note)| (name, note.into())),
            Page::Recordings => self.recordings.items.get(place).map(session).map(|(name, note)| (name, note.into())),
            Page::Requests => {
                self.requests.items.get(place).map(|row| row.row(now)).map(|(name, note)| (name, note.into()))
            }
        }
    }

    /// The rows in which all words of the search are.
    fn found(&mut self, now: Timestamp) -> &[usize] {
        if self.found.is_none() {
            let words: Vec<String> = self.search.to_ascii_lowercase().split(' ').map(str::to_owned).collect();
            let (all, _, _) = self.extent();
            let mut text = String::new();
            let has_all = |place: &usize| {
                let Some((name, note)) = self.row(*place, now) else { return false };
                text.clear();
                // Writing to a string cannot fail.
                let _ = write!(text, "{name} {note}");
                text.make_ascii_lowercase();
                words.iter().all(|word| text.contains(word.as_str()))
            };
            let found: Vec<usize> =
                if self.search.is_empty() { (0..all).collect() } else { (0..all).filter(has_all).collect() };
            self.selected = self.selected.min(found.len().saturating_sub(1));
            self.found = Some(found);
        }
        self.found.as_deref().unwrap_or_default()
    }

    /// What a terminal of this size shows.
    pub fn frame(&mut self, size: Size, now: Timestamp) -> Frame {
        if size.cols < SIZE_MIN.cols || size.rows < SIZE_MIN.rows {
            return Frame::too_small(size);
        }
        let mut rows = vec![self.title(size.cols)];
        if self.help {
            rows.push(String::new());
            rows.extend(HELP.iter().map(|text| cut(text, size.cols)));
            rows.resize(size.rows.saturating_sub(1), String::new());
            rows.push(reversed("any key goes back", size.cols));
            return Frame { rows, cursor: None };
        }
        if let Some(form) = &self.form {
            return self.filled_in(form, rows, size, now);
        }
        let search = cut(&format!("Search: {}", self.search), size.cols.saturating_sub(1));
        let cursor = Some((search.chars().count(), rows.len()));
        rows.extend([search, String::new()]);
        let found = self.found(now).len();
        let message =
            wrapped(&self.remark(found), size.cols, MESSAGE_ROWS_MAX.min(size.rows.saturating_sub(ROWS_ABOVE + 2)));
        // The message, and the keys.
        let below = message.len().saturating_add(1);
        self.height = size.rows.saturating_sub(ROWS_ABOVE).saturating_sub(below).max(1);
        self.selected = self.selected.min(found.saturating_sub(1));
        // The selected row is on the screen, and no row is left free while there are some above.
        let last = self.selected.saturating_add(1).saturating_sub(self.height);
        self.top = self.top.clamp(last, self.selected).min(found.saturating_sub(self.height));
        rows.extend(self.visible(size.cols, now));
        rows.resize(size.rows.saturating_sub(below), String::new());
        rows.extend(message);
        rows.push(self.status(found, size.cols));
        Frame { rows, cursor }
    }

    fn filled_in(&self, form: &Form, mut rows: Vec<String>, size: Size, now: Timestamp) -> Frame {
        rows.push(String::new());
        let above = rows.len();
        let (lines, at) = form.rows(now);
        // Of what is too wide the end is shown: there it is typed.
        let shown = |text: &String| {
            let length = text.chars().count();
            let most = size.cols.saturating_sub(1);
            if length <= most { text.clone() } else { text.chars().skip(length.saturating_sub(most)).collect() }
        };
        let lines: Vec<String> = lines.iter().map(shown).collect();
        let row_of = |at: usize| lines.get(at).map(|line| (line.chars().count(), above.saturating_add(at)));
        let cursor = at.and_then(row_of).filter(|(_, row)| *row < size.rows.saturating_sub(2));
        rows.extend(lines);
        let message = wrapped(&self.message, size.cols, MESSAGE_ROWS_MAX);
        let last = size.rows.saturating_sub(message.len().max(1).saturating_add(1));
        rows.truncate(last);
        rows.resize(last, String::new());
        rows.extend(message);
        rows.resize(size.rows.saturating_sub(1), String::new());
        rows.push(reversed("Enter goes on  Esc goes back", size.cols));
        Frame { rows, cursor }
    }

    fn title(&self, cols: usize) -> String {
        let tab = |page: Page| if page == self.page { format!("[{}]", page.title()) } else { page.title().to_owned() };
        let tabs = Page::ALL.map(tab).join("  ");
        let wide = format!("Doorward  {}  {tabs}", self.user);
        let text = if wide.len() <= cols { wide } else { tab(self.page) };
        reversed(&text, cols)
    }

    fn visible(&self, cols: usize, now: Timestamp) -> Vec<String> {
        let found = self.found.as_deref().unwrap_or_default().iter().enumerate().skip(self.top).take(self.height);
        let rows: Vec<(usize, (String, Cow<'static, str>))> =
            found.filter_map(|(at, place)| Some((at, self.row(*place, now)?))).collect();
        // So wide that scrolling seldom moves what stands beside it.
        let width = rows.iter().map(|(_, (name, _))| name.len()).max().unwrap_or(0).next_multiple_of(8);
        let shown = rows.into_iter().map(|(at, (name, note))| {
            let selected = at == self.selected;
            let text = line(&format!("{} {name:width$}  {note}", if selected { '>' } else { ' ' }));
            if selected { reversed(&text, cols) } else { cut(text.trim_end(), cols) }
        });
        shown.collect()
    }

    /// What is said above the last row: what happened, or why the list is empty or not whole.
    fn remark(&self, found: usize) -> String {
        let (all, loaded, more) = self.extent();
        if !self.message.is_empty() {
            return self.message.clone();
        }
        let text = match self.page {
            _ if !loaded => "Looking...",
            Page::Destinations if all == 0 => NOWHERE,
            Page::Sessions if all == 0 => "You have no live session.",
            Page::Recordings if all == 0 => "You have no recordings.",
            Page::Requests if all == 0 => "No request of yours, and none waits for your word.",
            _ if found == 0 => "Nothing has all these words. Esc clears the search.",
            Page::Destinations if more => {
                "There are more than can be listed: ssh ACCOUNT@TARGET@BASTION goes there too."
            }
            Page::Recordings if more => "Older ones are not listed.",
            Page::Destinations | Page::Sessions | Page::Recordings | Page::Requests => "",
        };
        text.to_owned()
    }

    fn status(&self, found: usize, cols: usize) -> String {
        let (all, _, _) = self.extent();
        let noun = match self.page {
            Page::Destinations => "destination",
            Page::Sessions => "session",
            Page::Recordings => "recording",
            Page::Requests => "request",
        };
        let count = if found == all { counted(all, noun) } else { format!("{found} of {}", counted(all, noun)) };
        let keys = KEYS.iter().find(|keys| count.len().saturating_add(keys.len()).saturating_add(2) <= cols);
        let Some(keys) = keys else { return reversed(&count, cols) };
        let blank = cols.saturating_sub(count.len()).saturating_sub(keys.len());
        reversed(&format!("{count}{:blank$}{keys}", ""), cols)
    }
}

#[cfg(test)]
mod tests;
