//! A menu on a screen of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::super::refusal::Busy;
use super::super::verb::{Ask, Form, answer, own};
use super::super::{Bastion, Refusal};
use super::form::RequestRow;
use super::keys::{Key, Keys};
use super::model::{Act, Menu, Page};
use super::{End, Shown};
use crate::ledger::Offers;
use crate::listener::IDLE_MAX;
use crate::model::{ChannelEvent, Destination, TerminalSize, UserName};
use crate::screen::{ENTER, LEAVE, Sheet, Size};
use crate::wire::channel::{Credit, Source};

/// The terminal marks what is pasted (xterm's "bracketed paste"): a line end in that is no Enter.
pub const PASTES_MARKED: &str = "\x1b[?2004h";
const PASTES_PLAIN: &str = "\x1b[?2004l";
/// A frame at most so often, and a search with it.
pub const FRAME: Duration = Duration::from_millis(50);
/// So long after an ESC nothing more belongs to it.
pub const ESCAPE: Duration = Duration::from_millis(400);
/// The destinations are looked up again so often: a grant shows by itself.
const REFRESH: Duration = Duration::from_secs(15);

/// Requests of each kind on their page.
const REQUESTS_MAX: usize = 200;

/// What gives the terminal back as it was, whatever was drawn last.
pub fn given_back() -> String {
    format!("{PASTES_PLAIN}{LEAVE}")
}

/// Shows a menu until it ends by itself.
///
/// # Errors
/// How it ended, if it could not go on.
pub async fn show(shown: Shown<'_>) -> Result<End, End> {
    shown.put(format!("{ENTER}{PASTES_MARKED}")).await?;
    let mut screen = Screen::new(shown);
    loop {
        let end = tokio::select! {
            () = sleep_until(screen.drawn + FRAME), if screen.dirty => screen.draw().await?,
            event = screen.shown.source.next() => screen.take(event),
            () = sleep(ESCAPE), if screen.keys.waits() => {
                let key = screen.keys.settle();
                key.and_then(|key| screen.press(key))
            }
            loaded = loaded(&mut screen.loading) => screen.put(loaded),
            _ = screen.refresh.tick(), if screen.loading.is_none() => {
                if screen.menu.page() == Page::Destinations {
                    screen.load(Page::Destinations);
                }
                None
            }
            () = sleep_until(screen.last_key + IDLE_MAX) => Some(End::Told(Refusal::Idle)),
        };
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// A menu, what is on the screen of it, and what is under way.
struct Screen<'a> {
    shown: Shown<'a>,
    menu: Menu,
    keys: Keys,
    sheet: Sheet,
    loading: Loading<'a>,
    refresh: Interval,
    last_key: Instant,
    drawn: Instant,
    /// Whether something was not drawn yet.
    dirty: bool,
    /// A choice is of what is on the screen: it waits for the list and its frame, and what is typed behind it is dropped.
    choosing: bool,
    /// Whether the user's input has ended.
    no_more: bool,
}

/// What was looked up for a page.
enum Loaded {
    Offers(Offers),
    Sessions(Page, Vec<own::OwnSession>, bool),
    Requests(Vec<RequestRow>),
    /// What was done.
    Done(String),
    /// Why it was not.
    Refused(String),
    Busy(Busy),
}

type Loading<'a> = Option<Pin<Box<dyn Future<Output = Loaded> + Send + 'a>>>;

/// What was looked up, once it was; never, if nothing is.
async fn loaded(loading: &mut Loading<'_>) -> Loaded {
    match loading {
        Some(looking) => {
            let loaded = looking.await;
            *loading = None;
            loaded
        }
        None => std::future::pending().await,
    }
}

impl<'a> Screen<'a> {
    fn new(shown: Shown<'a>) -> Self {
        let (menu, now) = (Menu::new(shown.visitor.user.user().as_str()), Instant::now());
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        refresh.reset();
        let mut screen = Self {
            shown,
            menu,
            keys: Keys::default(),
            sheet: Sheet::default(),
            loading: None,
            refresh,
            last_key: now,
            drawn: now.checked_sub(FRAME).unwrap_or(now),
            dirty: true,
            choosing: false,
            no_more: false,
        };
        screen.load(Page::Destinations);
        screen
    }

    /// Begins to look up what a page lists.
    fn load(&mut self, page: Page) {
        let (bastion, asker) = (self.shown.bastion, self.shown.visitor.user.asker());
        let user = asker.user;
        self.loading = Some(Box::pin(async move {
            let loaded = match page {
                Page::Destinations => own::offers(bastion, asker).await.map(Loaded::Offers),
                Page::Sessions => Ok(Loaded::Sessions(page, own::live(bastion, user), false)),
                Page::Requests => Ok(Loaded::Requests(requests(bastion, user).await)),
                Page::Recordings => {
                    own::past(bastion, user).await.map(|(past, more)| Loaded::Sessions(page, past, more))
                }
            };
            loaded.unwrap_or_else(Loaded::Busy)
        }));
    }

    fn put(&mut self, loaded: Loaded) -> Option<End> {
        match loaded {
            Loaded::Offers(offers) => self.menu.set_offers(offers, self.shown.bastion.clock.now()),
            Loaded::Sessions(page, list, more) => self.menu.set_sessions(page, list, more),
            Loaded::Requests(list) => self.menu.set_requests(list),
            Loaded::Done(told) => {
                self.menu.done(&told);
                self.load(self.menu.page());
            }
            Loaded::Refused(why) => self.menu.refused(&why),
            Loaded::Busy(why) => {
                self.choosing = false;
                self.menu.say(&format!("{why}; Ctrl-R looks again"));
            }
        }
        self.dirty = true;
        None
    }

    fn size(&self) -> Size {
        match self.shown.terminal.as_ref().map(|terminal| terminal.size) {
            None | Some(TerminalSize { cols: 0, .. } | TerminalSize { rows: 0, .. }) => Size::bounded(80, 24),
            Some(TerminalSize { cols, rows }) => Size::bounded(cols, rows),
        }
    }

    /// Draws what differs, and does what was chosen on it.
    async fn draw(&mut self) -> Result<Option<End>, End> {
        let frame = self.menu.frame(self.size(), self.shown.bastion.clock.now());
        let mut out = String::new();
        self.sheet.draw(frame.rows, frame.cursor, &mut out);
        self.shown.put(out).await?;
        (self.dirty, self.drawn) = (false, Instant::now());
        if self.choosing && self.menu.is_loaded() {
            self.choosing = false;
            if self.menu.open_form(self.shown.bastion.clock.now()) {
                self.dirty = true;
                return Ok(None);
            }
            let chosen = self.menu.chosen(self.shown.bastion.clock.now());
            if let Some(destination) = chosen {
                match self.shown.judge(&destination).await {
                    Ok(()) => return Ok(Some(self.go(destination))),
                    Err(text) => self.menu.say(&text),
                }
                self.dirty = true;
            }
        }
        Ok((self.no_more && !self.choosing).then_some(End::Left))
    }

    fn go(&mut self, destination: Destination) -> End {
        if self.no_more {
            self.shown.source.put_back(ChannelEvent::Eof);
        }
        End::Chosen(destination, Bytes::new())
    }

    /// Does what a form says, as the verb would.
    fn act(&mut self, ask: Ask) {
        let (bastion, visitor) = (self.shown.bastion, self.shown.visitor);
        self.loading = Some(Box::pin(async move {
            match answer(bastion, visitor, &ask, Form::Text).await {
                Ok((told, _place)) => Loaded::Done(told.trim_end().to_owned()),
                Err(refusal) => Loaded::Refused(refusal.public_text(bastion.clock.now())),
            }
        }));
    }

    /// What the user does.
    fn take(&mut self, event: Option<ChannelEvent>) -> Option<End> {
        match event {
            None | Some(ChannelEvent::Close) => return Some(End::Gone),
            Some(ChannelEvent::Data(data)) => {
                self.shown.source.credit().consumed(data.len());
                self.last_key = Instant::now();
                return self.keys.feed(&data).into_iter().find_map(|key| self.press(key));
            }
            Some(ChannelEvent::Stderr(data)) => self.shown.source.credit().consumed(data.len()),
            Some(ChannelEvent::Resize(size)) => {
                if let Some(terminal) = self.shown.terminal {
                    terminal.size = size;
                }
                // Whatever the terminal made of what was drawn: it is drawn anew.
                (self.sheet, self.dirty) = (Sheet::default(), true);
            }
            // Nobody can type any more; what was chosen before counts.
            Some(ChannelEvent::Eof) => (self.no_more, self.dirty) = (true, true),
            Some(
                ChannelEvent::Signal(_) | ChannelEvent::Break(_) | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_),
            ) => {}
        }
        None
    }

    fn press(&mut self, key: Key) -> Option<End> {
        // Who waits for a frame may still leave.
        if self.choosing && key != Key::Leave {
            return None;
        }
        self.dirty = true;
        match self.menu.press(key) {
            Act::Draw => {}
            Act::Choose => self.choosing = true,
            Act::Do(ask) => self.act(*ask),
            Act::Leave => return Some(End::Left),
            Act::Load(page) => {
                self.load(page);
                // Ctrl-R is for a screen on which something else has drawn, too.
                if key == Key::Again {
                    self.sheet = Sheet::default();
                }
            }
        }
        None
    }
}

/// The requests of a user: those that wait for their word first.
async fn requests(bastion: &Arc<Bastion>, user: &UserName) -> Vec<RequestRow> {
    let (looking, user) = (Arc::clone(bastion), user.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let row = |to_review| move |request| RequestRow { request, to_review };
        let waiting = looking.requests.to_review(&user).into_iter().take(REQUESTS_MAX).map(row(true));
        waiting.chain(looking.requests.of(&user).into_iter().take(REQUESTS_MAX).map(row(false))).collect()
    });
    looked.await.unwrap_or_default()
}
