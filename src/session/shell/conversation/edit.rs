//! `edit FILE`: fetched from the target, edited here, shown as what differs, and written back once its user says yes.
//!
//! ```text
//! fetch ──▶ page ── save ──▶ what differs: write it? ── y ──▶ looked at again, written
//!             ▲                                 └─ n ──┐         │ changed meanwhile, refused, failed
//!             └────────────────────────────────────────┴─────────┘
//! ```
//! Each way to the target has a channel of its own, which is judged anew: nothing of it is open while somebody thinks.
//! INVARIANT: what stands in the page is given up by its user alone, or with the session.

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Gone, INTERRUPT, INTERRUPTED, NOT_RUN, SETTLE, Shell, Typed};
use crate::editor::Terminal;
use crate::editor::difference::{Line, difference};
use crate::editor::page::{Page, PageAct};
use crate::screen::{Size, line as harmless};
use crate::session::shell::errands::{Answer, What};
use crate::session::shell::file::{self, Fetched, Why, Written};
use crate::session::shell::surroundings::Wanted;
use crate::sftp::shown;

/// What others have shown stands for so long before the page is drawn over it.
const ASIDE: std::time::Duration = std::time::Duration::from_secs(4);
const NO_SCREEN: &str =
    "edit needs a terminal that can move its cursor: connect with ssh -t, and a TERM other than dumb";
const QUESTION: &str = "write it? y writes it, n goes back to the editor: ";

/// What became of a way to the target.
enum Went<T> {
    /// There and back.
    Through(T),
    /// It was given up, or refused, for this.
    Not(Why),
}

impl Shell {
    /// Edits a file; the status.
    pub(super) async fn edit(&mut self, wanted: &Wanted) -> Result<u32, Gone> {
        let kind = Terminal::of(self.terminal.as_ref().map(|terminal| terminal.term.as_str()));
        if !matches!(kind, Terminal::Full { .. }) {
            self.say(NO_SCREEN).await?;
            return Ok(1);
        }
        let asked = match self.surroundings.file(wanted) {
            Ok(asked) => asked,
            Err(why) => return self.not_edited(&Why { text: why.to_owned(), denied: false }).await,
        };
        let mut fetched = match self.fetch(asked.as_bytes()).await? {
            Went::Through(fetched) => fetched,
            Went::Not(why) => return self.not_edited(&why).await,
        };
        let (name, is_new) = (shown(&fetched.path), fetched.content.is_none());
        let title = if is_new { format!("{name}  (new)") } else { name };
        let mut page = match Page::open(&title, fetched.content.as_deref().unwrap_or_default(), kind, self.window()) {
            Ok(page) => page,
            Err(no) => return self.not_edited(&Why { text: no.to_string(), denied: false }).await,
        };
        let status = self.work(&mut page, &mut fetched, kind).await?;
        // What was typed at the page is for nothing else.
        self.ahead.clear();
        Ok(status)
    }

    async fn not_edited(&mut self, why: &Why) -> Result<u32, Gone> {
        self.say(&format!("edit: {}", why.text)).await?;
        Ok(if why.denied { NOT_RUN } else { 1 })
    }

    /// Until its user leaves the page.
    async fn work(&mut self, page: &mut Page, fetched: &mut Fetched, kind: Terminal) -> Result<u32, Gone> {
        loop {
            let wish = self.in_page(page).await;
            let left = self.put(page.leave()).await;
            let wish = wish?;
            left?;
            let (text, leave) = match wish {
                None => return Ok(INTERRUPTED),
                Some(PageAct::Leave) => return Ok(0),
                Some(PageAct::Save { text, leave }) => (text, leave),
            };
            let now = fetched.content.as_deref();
            if now == Some(text.as_bytes()) {
                let _ = page.saved();
                if leave {
                    return Ok(0);
                }
                continue;
            }
            let lines = difference(&String::from_utf8_lossy(now.unwrap_or_default()), &text);
            self.show_difference(fetched, &lines, kind).await?;
            if !self.agrees().await? {
                let _ = page.not_saved("as you said");
                continue;
            }
            match self.write_back(fetched, text.as_bytes()).await? {
                Went::Through(Written::Yes) => {
                    fetched.content = Some(text.into_bytes());
                    let _ = page.saved();
                    self.say(&format!("written  {}", shown(&fetched.path))).await?;
                    if leave {
                        return Ok(0);
                    }
                }
                Went::Through(Written::Changed(now)) => {
                    *fetched = now;
                    let _ = page.not_saved("it changed meanwhile; save again to see how yours differs from it now");
                }
                Went::Not(why) => _ = page.not_saved(&why.text),
            }
        }
    }

    /// Shows the page until its user wants something; none if they are gone.
    async fn in_page(&mut self, page: &mut Page) -> Result<Option<PageAct>, Gone> {
        let _ = page.resize(self.window());
        let begun = page.begin();
        self.put(begun).await?;
        // When it is drawn anew, if something else was shown.
        let mut due: Option<Instant> = None;
        loop {
            if self.input.ended() {
                return Ok(None);
            }
            let typed = tokio::select! {
                typed = self.input.next() => typed?,
                () = sleep(SETTLE), if page.waits() => {
                    let show = page.settle();
                    self.put(show).await?;
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    let show = page.resize(self.window());
                    self.put(show).await?;
                    continue;
                }
                Some(()) = self.pokes.recv() => {
                    due = Some(Instant::now() + ASIDE);
                    continue;
                }
            };
            let bytes = match typed {
                Typed::Bytes(bytes) => bytes,
                Typed::Resized(size) => {
                    self.resized(size).await?;
                    let show = page.resize(self.window());
                    self.put(show).await?;
                    continue;
                }
                Typed::Signal(name) if name == "INT" => Bytes::from_static(&[INTERRUPT]),
                Typed::Signal(name) if matches!(name.as_str(), "HUP" | "TERM" | "KILL") => return Ok(None),
                Typed::Signal(_) | Typed::End => continue,
            };
            let fed = page.feed(&bytes);
            self.put(fed.show).await?;
            if let Some(act) = fed.act {
                self.input.put_back(bytes.slice(fed.taken.min(bytes.len())..));
                return Ok(Some(act));
            }
        }
    }

    /// The window; of a terminal that does not tell, as most are.
    fn window(&self) -> Size {
        let size = self.terminal.as_ref().map(|terminal| terminal.size).filter(|size| size.cols > 0 && size.rows > 0);
        size.map_or(Size::bounded(80, 24), |size| Size::bounded(size.cols, size.rows))
    }

    /// Shows what writing would change. It is recorded as everything that is shown is.
    async fn show_difference(&mut self, fetched: &Fetched, lines: &[Line], kind: Terminal) -> Result<(), Gone> {
        let what = if fetched.content.is_some() { "this would change in" } else { "this would be new:" };
        let mut text = format!("doorward: {what} {}\r\n", harmless(&shown(&fetched.path)));
        for line in lines {
            let colour = match (kind, line.sign) {
                (Terminal::Full { colours: true }, '-') => "\x1b[31m",
                (Terminal::Full { colours: true }, '+') => "\x1b[32m",
                (Terminal::Full { colours: true }, '@') => "\x1b[36m",
                (Terminal::Full { .. } | Terminal::Dumb | Terminal::None, _) => "",
            };
            let end = if colour.is_empty() { "" } else { "\x1b[0m" };
            text.push_str(&format!("{colour}{}{}{end}\r\n", line.sign, line.text));
        }
        self.put(text.into_bytes()).await
    }

    /// Whether the user, who has seen it, wants it written.
    async fn agrees(&mut self) -> Result<bool, Gone> {
        // What was typed before this could be read is no answer to it.
        while let Some(typed) = self.input.ready()? {
            match typed {
                Typed::Resized(size) => self.resized(size).await?,
                Typed::End => return Ok(false),
                Typed::Bytes(_) | Typed::Signal(_) => {}
            }
        }
        self.put(QUESTION.as_bytes().to_vec()).await?;
        let answer = loop {
            if self.input.ended() {
                break false;
            }
            let typed = tokio::select! {
                typed = self.input.next() => typed?,
                Some(()) = self.pokes.recv() => {
                    self.put(QUESTION.as_bytes().to_vec()).await?;
                    continue;
                }
            };
            match typed {
                // One key: what is pasted, or sent by a key with a longer name, is no yes.
                Typed::Bytes(bytes) => match &*bytes {
                    b"y" | b"Y" => break true,
                    b"n" | b"N" | b"\x1b" | b"\x03" => break false,
                    _ => {}
                },
                Typed::Resized(size) => self.resized(size).await?,
                Typed::Signal(_) | Typed::End => break false,
            }
        };
        self.put(if answer { b"yes\r\n".to_vec() } else { b"no\r\n".to_vec() }).await?;
        Ok(answer)
    }

    // To the target, and back.

    async fn fetch(&mut self, asked: &[u8]) -> Result<Went<Fetched>, Gone> {
        if let Some(why) = self.reach_files().await? {
            return Ok(Went::Not(why));
        }
        let Self { files: Some(files), input, terminal, .. } = self else { return Err(Gone) };
        let went = tokio::select! {
            fetched = file::fetch(&mut files.client, asked) => fetched.map_or_else(Went::Not, Went::Through),
            given_up = super::given_up(input, terminal) => {
                given_up?;
                Went::Not(Why { text: String::from("given up"), denied: false })
            }
        };
        self.leave_files().await;
        Ok(went)
    }

    async fn write_back(&mut self, fetched: &Fetched, text: &[u8]) -> Result<Went<Written>, Gone> {
        if let Some(why) = self.reach_files().await? {
            return Ok(Went::Not(why));
        }
        let Some(files) = &mut self.files else { return Err(Gone) };
        // No key breaks this off: half of it would be written.
        let written = file::write(&mut files.client, fetched, text).await;
        self.leave_files().await;
        Ok(written.map_or_else(Went::Not, Went::Through))
    }

    /// Opens a channel to the target's files; or why not.
    async fn reach_files(&mut self) -> Result<Option<Why>, Gone> {
        match self.ask(What::Files { of: self.own.clone() }).await? {
            Some(Answer::Files(files)) => {
                self.files = Some(*files);
                Ok(None)
            }
            Some(Answer::No(no, _)) => Ok(Some(Why { text: no.text, denied: no.status == NOT_RUN })),
            Some(Answer::Started(..) | Answer::Waits(..) | Answer::Looked { .. }) => Err(Gone),
            None => Ok(Some(Why { text: String::from("given up"), denied: false })),
        }
    }

    async fn leave_files(&mut self) {
        if let Some(files) = self.files.take() {
            files.client.close().await;
        }
    }
}
