//! A shell and its user: a line is read, what it asks for is done, and the next is read.

mod edit;
mod menu;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ends::{Gone, Input, Output, Typed};
use super::errands::{Answer, Errand, Files, Line, Own, What};
use super::offered::Offered;
use super::program::{self, Manner, Ran};
use super::surroundings::{Asked, Surroundings, Wanted, answered};
use super::words::{self, Builtin};
use super::{Live, Opened, Visit};
use crate::cast::Entry;
use crate::editor::{self, Act, Editor, History, Prompt, Tone};
use crate::gate::verdict::CommandMode;
use crate::listener::ChannelStart;
use crate::model::{ChannelClass, ChannelEvent, Destination, Exit, Program, Terminal, TerminalSize};
use crate::relay::Pause;
use crate::requests::CommandWish;
use crate::screen::{Size, line as harmless};
use crate::session::channel::RECORD_TIMEOUT;
use crate::session::command::{Decided, NotRun, Question};
use crate::session::refusal::No;
use crate::session::verb::own::why;
use crate::session::verb::table::Form;
use crate::session::{Bastion, Visitor};
use crate::target::Started;
use crate::target::ssh::TargetSink;
use crate::wire::channel::{Credit, Source};

/// A key's bytes come within so long of each other.
const SETTLE: Duration = Duration::from_millis(400);
/// The user is shown anew how long something still waits.
const TICK: Duration = Duration::from_secs(1);
/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// So much of what is typed is looked through for a Ctrl-C while something is on its way.
const TYPED_MAX: usize = 64;
/// What a target may say of a directory, and for how long.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// What was judged not to run, or could not be.
const NOT_RUN: u32 = 126;
/// The status of what Ctrl-C ended.
const INTERRUPTED: u32 = 130;
/// The status of what ended without one.
const LOST: u32 = 255;

/// A shell.
pub struct Shell {
    own: Own,
    errands: mpsc::Sender<Errand>,
    visitor: Arc<Visitor>,
    bastion: Arc<Bastion>,
    destination: Destination,
    pause: Pause,
    input: Input,
    output: Output,
    /// Something was shown that the shell did not show.
    pokes: mpsc::Receiver<()>,
    terminal: Option<Terminal>,
    editor: Editor,
    surroundings: Surroundings,
    /// What was typed and nothing has taken.
    ahead: Vec<u8>,
    status: u32,
    /// What may be typed, as it was when the line was begun.
    offered: Offered,
    /// What runs.
    running: Option<TargetSink>,
    /// A way to the target's files.
    files: Option<Files>,
    /// What waits for somebody's yes.
    question: Option<Question>,
}

/// What becomes of a shell after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    Leave,
}

impl Shell {
    /// A shell of this visit, on the channel that `start` has asked for.
    pub(super) fn new(
        visit: &Visit,
        live: &Live,
        opened: &Opened,
        start: &ChannelStart,
        (input, output, pokes): (Input, Output, mpsc::Receiver<()>),
    ) -> Self {
        let terminal = start.terminal.clone();
        let kind = editor::Terminal::of(terminal.as_ref().map(|terminal| terminal.term.as_str()));
        let size = terminal.as_ref().map_or(TerminalSize { cols: 80, rows: 24 }, |terminal| terminal.size);
        Self {
            own: opened.own.clone(),
            errands: visit.errands.0.clone(),
            visitor: Arc::clone(&visit.visitor),
            bastion: Arc::clone(&visit.bastion),
            destination: live.permit.destination().clone(),
            pause: live.registration.pause(),
            input,
            output,
            pokes,
            editor: Editor::new(kind, Size::bounded(size.cols, size.rows), History::default()),
            terminal,
            surroundings: Surroundings::at_home(opened.environment.clone()),
            ahead: Vec::new(),
            status: 0,
            offered: Offered::default(),
            running: None,
            files: None,
            question: None,
        }
    }

    /// Runs until its user leaves, or `over`.
    pub async fn run(&mut self, over: CancellationToken) {
        tokio::select! {
            // Whoever is gone is told nothing.
            _ = self.converse() => {}
            () = over.cancelled() => {}
        }
        if let Some(sink) = self.running.take() {
            program::close(&sink).await;
        }
        if let Some(files) = self.files.take() {
            files.client.close().await;
        }
        if let Some(question) = self.question.take() {
            question.close(&NotRun::session_over()).await;
        }
    }

    async fn converse(&mut self) -> Result<(), Gone> {
        if self.own.mode == CommandMode::Menu {
            self.serve_menu().await?;
        } else {
            while let Some(line) = self.read_line().await? {
                if self.obey(&line).await? == Then::Leave {
                    break;
                }
            }
            let leave = self.editor.leave();
            self.put(leave).await?;
        }
        for event in [ChannelEvent::Exit(Exit::Status(self.status)), ChannelEvent::Eof, ChannelEvent::Close] {
            self.output.send(event).await?;
        }
        Ok(())
    }

    // Reading a line.

    /// The next line; none at the end.
    async fn read_line(&mut self) -> Result<Option<String>, Gone> {
        let ahead = if self.terminal.is_some() { self.typed_ahead()? } else { String::new() };
        self.offered = self.offers();
        let prompt = self.prompt();
        let mut show = self.editor.begin(prompt);
        if !ahead.is_empty() {
            // As text: whatever it would do if it were typed, it does nothing before somebody has seen it.
            show.extend(self.editor.feed(format!("\x1b[200~{ahead}\x1b[201~").as_bytes(), &self.offered).show);
        }
        self.put(show).await?;
        loop {
            if self.input.ended() {
                let fed = self.editor.end();
                self.put(fed.show).await?;
                return self.done(fed.act).await.map(Option::flatten);
            }
            let typed = tokio::select! {
                typed = self.input.next() => typed?,
                () = sleep(SETTLE), if self.editor.waits() => {
                    let show = self.editor.settle();
                    self.put(show).await?;
                    continue;
                }
                Some(()) = self.pokes.recv() => {
                    // The cursor stands below what was shown: what the editor would show to leave its row is not so.
                    let _ = self.editor.leave();
                    let prompt = self.prompt();
                    let show = self.editor.begin(prompt);
                    self.put(show).await?;
                    continue;
                }
            };
            let bytes = match typed {
                Typed::Bytes(bytes) => bytes,
                Typed::Resized(size) => {
                    self.resized(size).await?;
                    continue;
                }
                Typed::Signal(name) if name == "INT" && self.terminal.is_some() => Bytes::from_static(&[INTERRUPT]),
                Typed::Signal(name) if matches!(name.as_str(), "HUP" | "TERM" | "KILL") => return Ok(None),
                Typed::Signal(_) | Typed::End => continue,
            };
            let fed = self.editor.feed(&bytes, &self.offered);
            self.put(fed.show).await?;
            let Some(act) = fed.act else { continue };
            self.input.put_back(bytes.slice(fed.taken.min(bytes.len())..));
            if let Some(read) = self.done(Some(act)).await? {
                return Ok(read);
            }
        }
    }

    /// What comes of an act of the editor: a line, or the end; none if the next is read.
    async fn done(&mut self, act: Option<Act>) -> Result<Option<Option<String>>, Gone> {
        match act {
            Some(Act::Line(line)) => return Ok(Some(Some(line))),
            Some(Act::EndOfInput) | None => return Ok(Some(None)),
            Some(Act::Interrupt) => {
                self.status = INTERRUPTED;
                self.ahead.clear();
            }
            Some(Act::Suspend) => {
                let show = self.editor.notice("doorward: there are no jobs here, and nothing to put aside");
                self.put(show).await?;
                return Ok(None);
            }
            Some(Act::Unfit(line)) => self.status = self.start(&line, None).await?,
        }
        // No line is being edited: the next begins.
        Ok(Some(Some(String::new())))
    }

    /// What was typed before there was a line to type it in, as harmless text.
    fn typed_ahead(&mut self) -> Result<String, Gone> {
        let mut ahead = std::mem::take(&mut self.ahead);
        while let Some(typed) = self.input.ready()? {
            match typed {
                Typed::Bytes(bytes) => ahead.extend(bytes),
                Typed::Resized(size) => self.size(size),
                Typed::Signal(_) => {}
                Typed::End => break,
            }
            ahead.truncate(editor::LINE_BYTES_MAX);
        }
        Ok(as_text(&ahead))
    }

    /// What the rules let through now.
    fn offers(&self) -> Offered {
        let (bastion, now) = (&self.bastion, self.bastion.clock.now());
        let commands = bastion.ledger.commands(self.visitor.asker(), &self.destination, &self.own.asked, now);
        let may = |class: &ChannelClass| {
            let asked = class.to_owned().into();
            bastion.ledger.permit_asked(self.visitor.asker(), &self.destination, &asked, now).is_ok()
        };
        Offered { commands: commands.ok(), edits: Program::Sftp.classes().iter().all(may) }
    }

    fn prompt(&self) -> Prompt {
        let mut parts = vec![
            (Tone::Green, self.destination.to_string()),
            (Tone::Plain, String::from(":")),
            (Tone::Cyan, harmless(self.surroundings.shown())),
        ];
        if self.status != 0 {
            parts.push((Tone::Red, format!(" [{}]", self.status)));
        }
        parts.push((Tone::Plain, String::from("> ")));
        Prompt { parts, more: String::from("> ") }
    }

    fn size(&mut self, size: TerminalSize) {
        if let Some(terminal) = &mut self.terminal {
            terminal.size = size;
        }
    }

    /// Draws the line anew, for a window of another size.
    async fn resized(&mut self, size: TerminalSize) -> Result<(), Gone> {
        self.size(size);
        let show = self.editor.resize(Size::bounded(size.cols, size.rows));
        self.put(show).await
    }

    // Doing what it says.

    async fn obey(&mut self, line: &str) -> Result<Then, Gone> {
        if line.trim().is_empty() {
            return Ok(Then::Next);
        }
        match words::builtin(line) {
            Some(Ok(builtin)) => self.build_in(builtin).await,
            Some(Err(usage)) => {
                self.status = 2;
                self.say(usage).await?;
                Ok(Then::Next)
            }
            None => {
                self.status = self.start(line.as_bytes(), None).await?;
                Ok(Then::Next)
            }
        }
    }

    async fn build_in(&mut self, builtin: Builtin) -> Result<Then, Gone> {
        let mut status = 0;
        match builtin {
            Builtin::Help => {
                let offers = self.offers();
                let text = format!("{}{}", words::help(offers.edits), offers.told());
                self.show(&text).await?;
            }
            Builtin::Why => {
                let text = why(&self.bastion, self.visitor.asker(), Form::Text);
                self.show(&text).await?;
            }
            Builtin::Request => {
                let destination = &self.destination;
                let text = format!(
                    "what no rule allows is opened by those who keep the rules: name them the id that a refusal ends with.\n\
                     another right at this place, or more time: ssh USER@BASTION request {destination} --for 1h --reason WHY\n"
                );
                self.show(&text).await?;
            }
            Builtin::History => {
                let lines: Vec<&str> = self.editor.history().lines().collect();
                let text: String = lines.iter().enumerate().map(|(at, line)| numbered(at, line)).collect();
                self.show(&text).await?;
            }
            Builtin::Status => {
                let text = format!("{}\n", self.status);
                status = self.status;
                self.show(&text).await?;
            }
            Builtin::Pwd => {
                let text = format!("{}\n", harmless(self.surroundings.shown()));
                self.show(&text).await?;
            }
            Builtin::Cd(wanted) => status = self.go(&wanted).await?,
            Builtin::Edit(wanted) => status = self.edit(&wanted).await?,
            Builtin::Export(None) => {
                let set = |(name, value): &(String, String)| format!("{name}={value}\n");
                let text: String = self.surroundings.environment().iter().map(set).collect();
                self.show(&text).await?;
            }
            Builtin::Export(Some((name, value))) => {
                if let Err(why) = self.surroundings.export(&name, &value) {
                    status = 1;
                    self.say(&format!("{}: {why}", harmless(&name))).await?;
                }
            }
            Builtin::Exit(told) => {
                self.status = told.unwrap_or(self.status);
                return Ok(Then::Leave);
            }
        }
        self.status = status;
        Ok(Then::Next)
    }

    /// Goes to another directory, if the target has it.
    async fn go(&mut self, wanted: &Wanted) -> Result<u32, Gone> {
        let asked = match self.surroundings.asks_for(wanted) {
            Ok(Asked::Known(directory)) => {
                self.surroundings.go(directory);
                return Ok(0);
            }
            Ok(Asked::Target(line)) => self.ask(What::Directory { of: self.own.clone(), line }).await?,
            Err(why) => {
                self.say(&format!("cd: {why}")).await?;
                return Ok(1);
            }
        };
        let Started { source, sink, .. } = match asked {
            Some(Answer::Started(started, _)) => started,
            Some(Answer::No(no, written)) => return self.refused(no, written).await,
            Some(Answer::Waits(..) | Answer::Looked { .. } | Answer::Files(_)) => return Ok(NOT_RUN),
            None => return self.gave_up().await,
        };
        self.running = Some(sink);
        let (printed, errors) = timeout(ANSWER_MAX, answer_of(source)).await.unwrap_or_default();
        if let Some(sink) = self.running.take() {
            program::close(&sink).await;
        }
        if let Some(directory) = answered(&printed) {
            self.surroundings.go(Some(directory));
            return Ok(0);
        }
        let errors = String::from_utf8_lossy(&errors);
        let why = errors.trim().rsplit('\n').next().filter(|why| !why.is_empty());
        let why = why.map_or_else(|| String::from("the target names no such directory"), harmless);
        self.say(&format!("cd: {why}")).await?;
        Ok(1)
    }

    /// Has a line judged, and run if it may; its status.
    ///
    /// `seen` is what its user has seen would be sent, where they were shown that: then it is that, or nothing.
    async fn start(&mut self, typed: &[u8], seen: Option<&str>) -> Result<u32, Gone> {
        // Held until its yes is used, or is not.
        let mut approval: Option<Question> = None;
        loop {
            let yes = approval.as_ref().map(|yes| yes.id().clone());
            let line = Line { approval: yes, seen: seen.map(str::to_owned), ..self.line(typed) };
            let Some(answer) = self.ask(What::Line(Box::new(line))).await? else { return self.gave_up().await };
            drop(approval.take());
            match answer {
                Answer::Files(_) => return Ok(NOT_RUN),
                Answer::Started(started, on_terminal) => return self.carry(started, on_terminal).await,
                Answer::Looked { .. } => return Ok(NOT_RUN),
                Answer::No(no, written) => return self.refused(no, written).await,
                // Somebody has said yes: it is judged anew.
                Answer::Waits(decided, wish) => match self.wait(*wish).await? {
                    Ok(yes) => approval = Some(yes),
                    Err((why, closed)) => {
                        let refused = Decided::refused(*decided, why, closed);
                        return match self.ask(What::Refused(Box::new(refused))).await? {
                            Some(Answer::No(no, written)) => self.refused(no, written).await,
                            Some(
                                Answer::Started(..) | Answer::Waits(..) | Answer::Looked { .. } | Answer::Files(_),
                            )
                            | None => Ok(NOT_RUN),
                        };
                    }
                },
            }
        }
    }

    /// A line, as it would be started here and now.
    fn line(&self, typed: &[u8]) -> Line {
        Line {
            of: self.own.clone(),
            bytes: typed.to_vec(),
            approval: None,
            seen: None,
            surroundings: self.surroundings.clone(),
            terminal: self.terminal.clone(),
        }
    }

    /// Asks the session; none if the user gives it up first, as of a target that does not answer. What they type otherwise
    /// meanwhile is for what starts.
    async fn ask(&mut self, what: What) -> Result<Option<Answer>, Gone> {
        let (answer, mut told) = oneshot::channel();
        self.errands.send(Errand { what, answer }).await.map_err(|_| Gone)?;
        let mut typed = Vec::new();
        let answer = loop {
            let heeds = self.terminal.is_some() && typed.len() < TYPED_MAX && !self.input.ended();
            let next = tokio::select! {
                biased;
                told = &mut told => break Some(told.map_err(|_| Gone)?),
                next = self.input.next(), if heeds => next?,
            };
            match next {
                Typed::Bytes(bytes) if bytes.contains(&INTERRUPT) => break None,
                Typed::Signal(name) if name == "INT" => break None,
                Typed::Resized(size) => self.size(size),
                next @ (Typed::Bytes(_) | Typed::Signal(_) | Typed::End) => typed.push(next),
            }
        };
        if answer.is_some() {
            self.input.put_all_back(typed);
        }
        Ok(answer)
    }

    async fn gave_up(&mut self) -> Result<u32, Gone> {
        self.put(b"^C\r\n".to_vec()).await?;
        Ok(INTERRUPTED)
    }

    async fn refused(&mut self, no: No, written: Option<oneshot::Receiver<()>>) -> Result<u32, Gone> {
        if let Some(written) = written {
            let _ = timeout(RECORD_TIMEOUT, written).await;
        }
        self.say(&no.text).await?;
        Ok(no.status)
    }

    /// Carries what has started, and tells how it ended.
    async fn carry(&mut self, started: Started, on_terminal: bool) -> Result<u32, Gone> {
        let manner = match (on_terminal, &self.terminal) {
            (true, _) => Manner::Terminal,
            (false, Some(_)) => Manner::Lines,
            (false, None) => Manner::Apart,
        };
        let Started { source, sink, .. } = started;
        let sink = self.running.insert(sink);
        let ran = program::run(source, sink, manner, &mut self.input, &self.output).await;
        self.running = None;
        let Ran { exit, at_line_start, rest, size } = ran?;
        self.ahead = rest;
        if let Some(size) = size {
            self.resized(size).await?;
        }
        if !at_line_start && self.terminal.is_some() {
            self.put(b"\r\n".to_vec()).await?;
        }
        let (status, how) = match exit {
            Some(Exit::Status(status)) => (status, format!("with status {status}")),
            Some(Exit::Signal { name, .. }) => (status_of(&name), format!("by signal {}", harmless(&name))),
            None if self.terminal.is_some() => {
                self.say("it was given up; what of it runs without a terminal may go on at the target").await?;
                (INTERRUPTED, String::from("for it was given up"))
            }
            None => (LOST, String::from("without a status")),
        };
        // The end of the channel's record covers it; a recorder that fails ends the shell by itself.
        let _ = self.own.track.append(Entry::Marker(format!("the command ended {how}"))).await;
        Ok(status)
    }

    // Waiting for somebody's yes.

    /// Waits for a yes: what has it, or why it does not run and whether that is on record.
    async fn wait(&mut self, wish: CommandWish) -> Result<Result<Question, (String, bool)>, Gone> {
        let question = match Question::ask(&self.visitor, &self.bastion, wish).await {
            Ok(question) => question,
            Err(failure) => return Ok(Err((failure.to_string(), false))),
        };
        let (told, until) = (question.told(), question.until());
        self.question = Some(question);
        self.say(&told).await?;
        let counts = self.terminal.as_ref().is_some_and(|terminal| terminal.term != "dumb");
        let ended = loop {
            if counts {
                let left = self.bastion.clock.now().until(until).as_secs();
                self.put(format!("\r\x1b[K         {}:{:02} left", left / 60, left % 60).into_bytes()).await?;
            }
            let Self { question: Some(question), input, terminal, pause, .. } = self else { return Err(Gone) };
            let ended = tokio::select! {
                ended = question.answered(pause) => ended,
                given_up = given_up(input, terminal) => {
                    let no = NotRun::withdrawn(&self.visitor);
                    if given_up.is_err() {
                        question.close(&no).await;
                        self.question = None;
                        return Err(Gone);
                    }
                    Err(no)
                }
                () = sleep(TICK), if counts => continue,
            };
            break ended;
        };
        if counts {
            self.put(b"\r\x1b[K".to_vec()).await?;
        }
        let Some(question) = self.question.take() else { return Err(Gone) };
        let Err(no) = ended else { return Ok(Ok(question)) };
        question.close(&no).await;
        Ok(Err((no.why, true)))
    }

    // Showing.

    async fn put(&self, bytes: Vec<u8>) -> Result<(), Gone> {
        if bytes.is_empty() { Ok(()) } else { self.output.send(ChannelEvent::Data(bytes.into())).await }
    }

    /// Shows the answer of what is built in.
    async fn show(&self, text: &str) -> Result<(), Gone> {
        let text = if self.terminal.is_some() { text.replace('\n', "\r\n") } else { text.to_owned() };
        self.put(text.into_bytes()).await
    }

    /// Says something of the bastion's own.
    async fn say(&self, text: &str) -> Result<(), Gone> {
        let text = format!("doorward: {text}\n");
        match &self.terminal {
            Some(terminal) => self.put(in_words(&text, terminal.size.cols).replace('\n', "\r\n").into_bytes()).await,
            None => self.output.send(ChannelEvent::Stderr(text.into())).await,
        }
    }
}

/// Ready once the user gives up what waits. On a terminal what they type otherwise is dropped; without one nothing of their
/// next lines is touched.
async fn given_up(input: &mut Input, terminal: &mut Option<Terminal>) -> Result<(), Gone> {
    let Some(terminal) = terminal else { return std::future::pending().await };
    loop {
        match input.next().await? {
            Typed::Bytes(bytes) if bytes.contains(&INTERRUPT) => return Ok(()),
            Typed::Bytes(_) => {}
            Typed::Resized(size) => terminal.size = size,
            Typed::Signal(_) | Typed::End => return Ok(()),
        }
    }
}

/// Breaks long rows between words, where a terminal of so many columns would break them anywhere. What goes on stands as far
/// in as what belongs to a row of ours.
fn in_words(text: &str, cols: u32) -> String {
    const INDENT: &str = "         ";
    let cols = usize::try_from(cols).unwrap_or(usize::MAX);
    // In a window so narrow there is nothing to gain.
    if cols < INDENT.len() * 3 {
        return text.to_owned();
    }
    let mut out = String::new();
    for row in text.split_inclusive('\n') {
        let mut at = 0_usize;
        for (nth, word) in row.split(' ').enumerate() {
            let width = word.trim_end_matches('\n').chars().count();
            if nth > 0 && at.saturating_add(1).saturating_add(width) > cols && at > INDENT.len() {
                out.push('\n');
                out.push_str(INDENT);
                at = INDENT.len();
            } else if nth > 0 {
                out.push(' ');
                at = at.saturating_add(1);
            }
            out.push_str(word);
            at = at.saturating_add(width);
        }
    }
    out
}

/// What a target has printed, and its errors.
async fn answer_of(mut source: impl Source) -> (Vec<u8>, Vec<u8>) {
    let (mut printed, mut errors) = (Vec::new(), Vec::new());
    let credit = source.credit();
    while let Some(event) = source.next().await {
        let (kept, bytes) = match event {
            ChannelEvent::Data(bytes) => (&mut printed, bytes),
            ChannelEvent::Stderr(bytes) => (&mut errors, bytes),
            ChannelEvent::Close => break,
            ChannelEvent::Eof
            | ChannelEvent::Resize(_)
            | ChannelEvent::Signal(_)
            | ChannelEvent::Break(_)
            | ChannelEvent::EndOfWrite
            | ChannelEvent::Exit(_) => continue,
        };
        credit.consumed(bytes.len());
        // What is cut names no directory.
        let room = ANSWER_BYTES_MAX.saturating_sub(kept.len());
        kept.extend(bytes.iter().take(room));
    }
    (printed, errors)
}

/// Text of what was typed: without what would steer an editor.
fn as_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                // What a key sends: ECMA-48 section 5.4, or one character.
                if rest.next().is_some_and(|c| matches!(c, '[' | 'O')) {
                    while rest.next().is_some_and(|c| matches!(c, ' '..='?')) {}
                }
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\r' | '\n' => out.push('\n'),
            '\t' => out.push(' '),
            c if c.is_control() || c == char::REPLACEMENT_CHARACTER => {}
            c => out.push(c),
        }
    }
    out.trim_matches('\n').to_owned()
}

/// As `history` lists it.
fn numbered(at: usize, line: &str) -> String {
    format!("{:>5}  {}\n", at.saturating_add(1), harmless(line))
}

/// As shells tell it.
fn status_of(signal: &str) -> u32 {
    const NUMBERS: [(&str, u32); 11] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("ABRT", 6),
        ("FPE", 8),
        ("KILL", 9),
        ("SEGV", 11),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
    ];
    NUMBERS.iter().find(|(name, _)| *name == signal).map_or(LOST, |(_, number)| number.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_ahead_comes_as_text_that_steers_nothing() {
        assert_eq!(as_text(b"ls\r"), "ls");
        assert_eq!(as_text(b"ls\rid\r\nx\n"), "ls\nid\nx");
        assert_eq!(as_text(b"\x1b[A\x1bOP\x1b[200~a\tb\x1b[201~\x03\x0f\x1bx\xff"), "a b");
        assert_eq!(as_text(b"\x1b[201~\r"), "");
        assert_eq!(as_text("ü\u{9b}x".as_bytes()), "üx");
    }

    #[test]
    fn a_long_row_breaks_between_words() {
        let long = "doorward: refused  sh -c id  (rule x)\n         no shell from this account at all";
        assert_eq!(
            in_words(long, 30),
            "doorward: refused  sh -c id \n         (rule x)\n         no shell from this\n         account at all"
        );
        assert_eq!(in_words(long, 200), long);
        assert_eq!(in_words(long, 20), long);
        let word = "x".repeat(100);
        assert_eq!(in_words(&format!("doorward: {word} y\n"), 40), format!("doorward: {word}\n         y\n"));
    }

    #[test]
    fn a_signal_has_the_status_that_shells_give_it() {
        assert_eq!((status_of("TERM"), status_of("KILL"), status_of("nothing")), (143, 137, LOST));
    }
}
