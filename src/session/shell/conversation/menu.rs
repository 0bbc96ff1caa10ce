//! A menu in the place of lines: an entry is chosen, its parameters are filled in, what would run is looked at, and then it
//! goes the way of a line.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Answer, Gone, INTERRUPT, RECORD_TIMEOUT, Shell, Typed, What};
use crate::gate::rules::{MenuEntry, MenuRequest, Parameter, VALUE_BYTES_MAX};
use crate::gate::verdict::{Judgement, Outcome};
use crate::model::ChannelEvent;
use crate::screen::{ENTER, Sheet, Size, line as harmless};
use crate::session::menu::keys::{Key, Keys};
use crate::session::menu::screen::{ESCAPE, FRAME, PASTES_MARKED, given_back};
use crate::session::menu::{Lines, Typed as Read};
use crate::session::shell::board::{Act, Board, told};

/// What others have shown stands for so long before the menu is drawn over it.
const ASIDE: std::time::Duration = std::time::Duration::from_secs(4);

impl Shell {
    /// Serves a menu until its user leaves.
    pub(super) async fn serve_menu(&mut self) -> Result<(), Gone> {
        if self.terminal.as_ref().is_some_and(|terminal| terminal.term != "dumb") {
            self.serve_board().await
        } else {
            self.serve_list().await
        }
    }

    /// The entries that are there now; none if nothing is open any more.
    fn entries(&self) -> Vec<MenuEntry> {
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        let commands = self.bastion.ledger.commands(asker, &self.destination, &self.own.asked, now);
        commands.map(|commands| commands.menu()).unwrap_or_default()
    }

    /// What would become of a request now, or why that is not known. One that would be refused is refused with this; any other
    /// is judged anew when it is started.
    async fn looked_at(&mut self, request: &MenuRequest) -> Result<Result<Judgement, String>, Gone> {
        let line = self.line(request.line().as_bytes());
        let (judgement, refused) = match self.ask(What::Look(Box::new(line))).await? {
            Some(Answer::Looked { judgement, refused }) => (*judgement, refused),
            Some(Answer::No(no, written)) => {
                on_record(written).await;
                return Ok(Err(no.text));
            }
            Some(Answer::Started(..) | Answer::Waits(..) | Answer::Files(_)) => return Err(Gone),
            None => return Ok(Err(String::from("given up"))),
        };
        let Some((text, written)) = refused else { return Ok(Ok(judgement)) };
        on_record(written).await;
        Ok(Ok(Judgement { outcome: Outcome::Deny, send: None, reason: Some(text), ..judgement }))
    }

    /// What the target is sent before what was judged.
    fn before(&self, judgement: &Judgement) -> String {
        self.surroundings.before(judgement.pty)
    }

    /// Runs what was chosen, and tells how it ended.
    async fn run_entry(&mut self, request: &MenuRequest, seen: &str) -> Result<(), Gone> {
        let line = request.line();
        self.say(&harmless(&line)).await?;
        self.status = self.start(line.as_bytes(), Some(seen)).await?;
        // What was typed at what ran is for nothing else.
        self.ahead.clear();
        let status = self.status;
        self.say(&format!("{} ended with status {status}", harmless(&request.name))).await
    }

    // On a screen.

    async fn serve_board(&mut self) -> Result<(), Gone> {
        let mut board = Board::new(&self.destination.to_string());
        while let Some((request, seen)) = self.choose(&mut board).await? {
            self.run_entry(&request, &seen).await?;
            board.back();
            self.say("any key goes back to the menu").await?;
            if !self.any_key().await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What the user chooses; none if they leave. The terminal is theirs again on return.
    async fn choose(&mut self, board: &mut Board) -> Result<Option<(MenuRequest, String)>, Gone> {
        self.put(format!("{ENTER}{PASTES_MARKED}").into_bytes()).await?;
        let chosen = self.choose_on(board).await?;
        self.put(given_back().into_bytes()).await?;
        Ok(chosen)
    }

    async fn choose_on(&mut self, board: &mut Board) -> Result<Option<(MenuRequest, String)>, Gone> {
        board.set(self.entries());
        let (mut keys, mut sheet) = (Keys::default(), Sheet::default());
        // What was on the last look.
        let mut seen = String::new();
        // When the board is drawn, if it is not as it should be.
        let mut due = Some(Instant::now());
        loop {
            let typed = tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.draw(board, &mut sheet).await?;
                    due = None;
                    continue;
                }
                typed = self.input.next() => Some(typed?),
                () = sleep(ESCAPE), if keys.waits() => None,
                Some(()) = poked(&mut self.pokes) => {
                    // Whatever it drew on: all is drawn anew, once it could be read.
                    sheet = Sheet::default();
                    due = Some(Instant::now() + ASIDE);
                    continue;
                }
            };
            let pressed = match typed {
                None => keys.settle().into_iter().collect(),
                Some(Typed::Bytes(bytes)) => keys.feed(&bytes),
                Some(Typed::Resized(size)) => {
                    self.size(size);
                    (sheet, due) = (Sheet::default(), Some(Instant::now()));
                    continue;
                }
                Some(Typed::Signal(name)) if name == "INT" => vec![Key::Leave],
                Some(Typed::Signal(name)) if !matches!(name.as_str(), "HUP" | "TERM" | "KILL") => continue,
                Some(Typed::Signal(_) | Typed::End) => return Ok(None),
            };
            for key in pressed {
                match board.press(key) {
                    Act::Draw => {}
                    Act::Load => {
                        board.set(self.entries());
                        sheet = Sheet::default();
                    }
                    Act::Look(request) => match self.looked_at(&request).await? {
                        Ok(judgement) => {
                            let before = self.before(&judgement);
                            seen = format!("{before}{}", judgement.send.as_deref().unwrap_or_default());
                            board.look(request, &judgement, &before);
                        }
                        Err(why) => board.say(&why),
                    },
                    Act::Run(request) => return Ok(Some((request, seen))),
                    Act::Leave => return Ok(None),
                }
                due = due.or_else(|| Some(Instant::now() + FRAME));
            }
        }
    }

    async fn draw(&self, board: &mut Board, sheet: &mut Sheet) -> Result<(), Gone> {
        let size = self.terminal.as_ref().map(|terminal| terminal.size).filter(|size| size.cols > 0 && size.rows > 0);
        let size = size.map_or(Size::bounded(80, 24), |size| Size::bounded(size.cols, size.rows));
        let (frame, mut out) = (board.frame(size), String::new());
        sheet.draw(frame.rows, frame.cursor, &mut out);
        self.put(out.into_bytes()).await
    }

    /// Waits for a key; `false` if none comes any more.
    async fn any_key(&mut self) -> Result<bool, Gone> {
        // What was typed before this could be read is no answer to it.
        while let Some(typed) = self.input.ready()? {
            match typed {
                Typed::Resized(size) => self.size(size),
                Typed::End => return Ok(false),
                Typed::Bytes(_) | Typed::Signal(_) => {}
            }
        }
        loop {
            match self.input.next().await? {
                Typed::Bytes(_) => return Ok(true),
                Typed::Resized(size) => self.size(size),
                Typed::Signal(_) | Typed::End => return Ok(false),
            }
        }
    }

    // In lines.

    async fn serve_list(&mut self) -> Result<(), Gone> {
        let mut entries = self.entries();
        self.show(&listed(&entries)).await?;
        while let Some(line) = self.ask_for("number: ").await? {
            if line.trim().is_empty() {
                entries = self.entries();
                self.show(&listed(&entries)).await?;
                continue;
            }
            let Some(entry) = entry_of(&entries, &line).cloned() else {
                self.say(&format!("type a number from 1 to {}, or a name; Ctrl-D leaves", entries.len())).await?;
                continue;
            };
            match self.fill(&entry).await? {
                Filled::Left => return Ok(()),
                Filled::Back => {}
                Filled::Run(request, seen) => self.run_entry(&request, &seen).await?,
            }
        }
        Ok(())
    }

    /// Asks for each parameter, and whether it is what is meant.
    async fn fill(&mut self, entry: &MenuEntry) -> Result<Filled, Gone> {
        let mut with = BTreeMap::new();
        for parameter in &entry.parameters {
            let prompt = prompt_of(parameter);
            loop {
                let Some(line) = self.ask_for(&prompt).await? else { return Ok(Filled::Left) };
                let given = Some(line).filter(|line| !line.is_empty());
                let value = given.or_else(|| parameter.default.clone()).unwrap_or_default();
                match parameter.accepts(&value) {
                    Ok(()) => {
                        with.insert(parameter.name.clone(), value);
                        break;
                    }
                    Err(why) => self.say(&format!("{}: {}", parameter.name, harmless(&why))).await?,
                }
            }
        }
        let request = MenuRequest { name: entry.name.to_string(), with };
        let judgement = match self.looked_at(&request).await? {
            Ok(judgement) => judgement,
            Err(why) => {
                self.say(&why).await?;
                return Ok(Filled::Back);
            }
        };
        let before = self.before(&judgement);
        let (text, runs) = told(&self.destination.to_string(), &judgement, &before);
        let text: String = text.iter().map(|text| harmless(text) + "\n").collect();
        self.show(&text).await?;
        if !runs {
            return Ok(Filled::Back);
        }
        Ok(match self.ask_for("Type yes to run it: ").await? {
            None => Filled::Left,
            Some(line) if line.trim().eq_ignore_ascii_case("yes") => {
                Filled::Run(request, format!("{before}{}", judgement.send.unwrap_or_default()))
            }
            Some(_) => Filled::Back,
        })
    }

    /// Asks for a line; none if there is none any more. What stands behind it is for what comes next.
    async fn ask_for(&mut self, prompt: &str) -> Result<Option<String>, Gone> {
        let typed_here = self.terminal.is_some();
        let event = if typed_here { ChannelEvent::Data } else { ChannelEvent::Stderr };
        self.output.send(event(prompt.to_owned().into())).await?;
        let mut lines = Lines::of(VALUE_BYTES_MAX);
        loop {
            if self.input.ended() {
                return Ok(None);
            }
            let bytes = match self.input.next().await? {
                Typed::Bytes(bytes) => bytes,
                Typed::Resized(size) => {
                    self.size(size);
                    continue;
                }
                Typed::Signal(name) if name == "INT" => vec![INTERRUPT].into(),
                Typed::Signal(name) if matches!(name.as_str(), "HUP" | "TERM" | "KILL") => return Ok(None),
                Typed::Signal(_) | Typed::End => continue,
            };
            let mut echo = String::new();
            for (at, byte) in bytes.iter().enumerate() {
                match lines.byte(*byte, typed_here) {
                    Read::Nothing => {}
                    Read::Char(c) => echo.push(c),
                    Read::Erased => echo.push_str("\x08 \x08"),
                    Read::Leave => return Ok(None),
                    Read::Line(line) => {
                        self.input.put_back(bytes.slice(at.saturating_add(1)..));
                        if typed_here {
                            self.put((echo + "\r\n").into_bytes()).await?;
                        }
                        return Ok(Some(line));
                    }
                }
            }
            if typed_here {
                self.put(echo.into_bytes()).await?;
            }
        }
    }
}

/// What comes of filling in an entry.
enum Filled {
    /// The user leaves.
    Left,
    /// Nothing runs.
    Back,
    /// This runs, as this was shown.
    Run(MenuRequest, String),
}

/// A refusal is on record before its user reads it, unless the log takes longer.
async fn on_record(written: Option<oneshot::Receiver<()>>) {
    if let Some(written) = written {
        let _ = timeout(RECORD_TIMEOUT, written).await;
    }
}

async fn poked(pokes: &mut mpsc::Receiver<()>) -> Option<()> {
    pokes.recv().await
}

/// The entries with a number each.
fn listed(entries: &[MenuEntry]) -> String {
    if entries.is_empty() {
        return String::from("no entry is open to you here now\n");
    }
    let width = entries.iter().map(|entry| entry.name.as_str().len()).max().unwrap_or(0);
    let digits = entries.len().to_string().len();
    let row = |(at, entry): (usize, &MenuEntry)| {
        let yes = if entry.outcome == Outcome::Approve { "  (takes a yes)" } else { "" };
        let number = at.saturating_add(1);
        harmless(&format!("{number:>digits$}  {:width$}  {}{yes}", entry.name.as_str(), entry.title)) + "\n"
    };
    entries.iter().enumerate().map(row).collect()
}

/// The entry of this number, or of this name.
fn entry_of<'e>(entries: &'e [MenuEntry], line: &str) -> Option<&'e MenuEntry> {
    let line = line.trim();
    let numbered = line.parse::<usize>().ok().and_then(|number| entries.get(number.checked_sub(1)?));
    numbered.or_else(|| entries.iter().find(|entry| entry.name.as_str() == line))
}

/// What a parameter is asked for by.
fn prompt_of(parameter: &Parameter) -> String {
    let help = parameter.help.as_deref().map_or_else(String::new, |help| format!("{help}; "));
    let default = parameter.default.as_deref().map_or_else(String::new, |value| format!(" [{value}]"));
    harmless(&format!("{} ({help}{}){default}: ", parameter.name, parameter.wanted()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::shell::board::tests::entries;

    #[test]
    fn each_entry_has_the_number_and_the_name_that_lead_to_it() {
        let entries = entries();
        let text = listed(&entries);
        assert!(text.starts_with("1  cache    Empty the page cache of one site\n2  restart  "), "{text}");
        assert!(text.contains("(takes a yes)"), "{text}");
        for (line, name) in
            [("1", Some("cache")), (" restart ", Some("restart")), ("0", None), ("9", None), ("cach", None), ("", None)]
        {
            assert_eq!(entry_of(&entries, line).map(|entry| entry.name.as_str()), name, "{line}");
        }
        assert_eq!(prompt_of(&entries[0].parameters[1]), "depth (digits) [1]: ");
    }
}
