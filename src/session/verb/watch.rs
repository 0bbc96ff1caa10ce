//! A live session in a watcher's terminal: drawn by an emulator, so that no byte of the target's gets there.
//!
//! Three bytes can fill a screen of 100,000 cells. So the emulator runs on threads that may block, never on those that
//! carry sessions; few watches at once, each for a moment, in turn.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::error;

use super::{Standing, Stopped, VerbLimits, Watched, complain};
use crate::cast::{Entry, Timed};
use crate::listener::{UserSink, UserSource};
use crate::model::{ChannelEvent, Exit, Terminal, TerminalSize};
use crate::recorder::Seen;
use crate::screen::{ENTER, LEAVE, Painter, Plain, Screen, Size, line};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};

/// A frame at most so often.
const FRAME: Duration = Duration::from_millis(50);
/// What is left to say at the end must be taken within this time.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Why watching ended by itself.
enum Over {
    /// The watcher left.
    Left,
    /// The channel was closed.
    Ended,
}

/// Shows the session until it ends, the watcher leaves, or may no longer watch; returns the exit status.
///
/// # Errors
/// Why not to the end.
pub async fn show(
    watched: Watched,
    standing: Standing<'_>,
    source: &mut UserSource,
    sink: &UserSink,
    terminal: Option<&Terminal>,
) -> Result<u32, Stopped> {
    let view = terminal.map(|terminal| view_of(terminal.size));
    let display = Display::new(view, &watched);
    let (leave, limits) = (display.leave(), &standing.bastion.limits);
    let mut watcher = Watcher { source, has_keys: view.is_some() };
    let number = watched.watching.channel().number;
    // Raced with everything, sending too: who does not read is looked at as well.
    let (display, over) = tokio::select! {
        drawn = draw(display, watched, &mut watcher, sink, limits) => drawn?,
        stopped = standing.lost() => {
            let _ = timeout(END_TIMEOUT, sink.send(ChannelEvent::Data(Bytes::from_static(leave.as_bytes())))).await;
            return Err(stopped);
        }
    };
    let ending = async {
        let (_, out) = display.on_a_thread(limits.drawing().await, Display::finish).await?;
        sink.send(ChannelEvent::Data(Bytes::from(out))).await?;
        match over {
            Over::Left => Ok(()),
            Over::Ended => complain(sink, &format!("channel {number} is closed")).await,
        }
    };
    timeout(END_TIMEOUT, ending).await.unwrap_or(Err(PeerGone))?;
    Ok(0)
}

/// Draws what is recorded, as it comes.
async fn draw(
    mut display: Display,
    mut watched: Watched,
    watcher: &mut Watcher<'_>,
    sink: &UserSink,
    limits: &VerbLimits,
) -> Result<(Display, Over), PeerGone> {
    let mut out = String::new();
    display.begin(&mut out);
    let mut frame = Instant::now();
    loop {
        if !out.is_empty() {
            let sending = sink.send(ChannelEvent::Data(Bytes::from(std::mem::take(&mut out))));
            tokio::pin!(sending);
            // Who does not read can leave all the same.
            loop {
                tokio::select! {
                    sent = &mut sending => break sent?,
                    act = watcher.acts() => match act {
                        Act::Leaves => return Ok((display, Over::Left)),
                        Act::Resizes(size) => display.resize(size),
                    },
                }
            }
            frame = Instant::now();
        }
        if watched.watching.is_behind() {
            display.skip();
        }
        tokio::select! {
            biased;
            act = watcher.acts() => match act {
                Act::Leaves => return Ok((display, Over::Left)),
                Act::Resizes(size) => display.resize(size),
            },
            turn = limits.drawing(), if display.has_work() => {
                (display, out) = display.on_a_thread(turn, move |display| display.work(frame + FRAME)).await?;
            }
            seen = async {
                // What comes within a frame is drawn at once.
                sleep_until(frame + FRAME).await;
                watched.watching.next().await
            }, if !display.has_work() => match seen {
                Seen::Ended => {
                    watched.attendance.channel_is_over();
                    return Ok((display, Over::Ended));
                }
                Seen::Tail { size, bytes, cut } => display.restart(size, bytes, cut),
                Seen::Entries(entries) => display.entries(entries),
            },
        }
    }
}

/// Who watches.
struct Watcher<'a> {
    source: &'a mut UserSource,
    /// Whether what they send are keys.
    has_keys: bool,
}

/// What a watcher does that matters.
enum Act {
    Leaves,
    Resizes(Size),
}

impl Watcher<'_> {
    /// What they do next. May be dropped while it waits: nothing is lost.
    async fn acts(&mut self) -> Act {
        let credit = self.source.credit();
        loop {
            match self.source.next().await {
                None | Some(ChannelEvent::Close) => return Act::Leaves,
                Some(ChannelEvent::Data(data)) => {
                    credit.consumed(data.len());
                    if data.iter().any(|byte| matches!(byte, b'q' | 0x03 | 0x04)) && self.has_keys {
                        return Act::Leaves;
                    }
                }
                Some(ChannelEvent::Resize(size)) => return Act::Resizes(view_of(size)),
                Some(ChannelEvent::Stderr(data)) => credit.consumed(data.len()),
                Some(
                    ChannelEvent::Eof
                    | ChannelEvent::Signal(_)
                    | ChannelEvent::Break(_)
                    | ChannelEvent::EndOfWrite
                    | ChannelEvent::Exit(_),
                ) => {}
            }
        }
    }
}

/// The size of a watcher's terminal; where it does not know, a terminal's usual one.
fn view_of(size: TerminalSize) -> Size {
    match (size.cols, size.rows) {
        (0, _) | (_, 0) => Size::bounded(80, 24),
        (cols, rows) => Size::bounded(cols, rows),
    }
}

/// What the watcher sees.
struct Display {
    title: String,
    /// Whether the screen was drawn from the end of what the terminal was sent.
    incomplete: bool,
    form: Form,
    /// What is not drawn yet, in order.
    todo: VecDeque<Step>,
}

enum Form {
    /// A terminal channel on a terminal.
    Frames { screen: Screen, painter: Painter, dirty: bool },
    /// Text, line by line; whether some of it was shown already, and the line end.
    Lines { plain: Plain, screen: Option<Screen>, begun: bool, end: &'static str },
}

/// What is drawn next.
enum Step {
    /// An empty screen of this size. What is shown as lines says that lines are missing.
    Anew(Size),
    /// What the screen was drawn from before.
    Tail(Bytes),
    /// What was recorded.
    Entry(Entry),
}

/// A thread is taken for so long at once.
const TURN: Duration = Duration::from_millis(20);
/// The emulator is fed so many bytes at once, and of a large screen fewer, so that this many cells are set at most three
/// times over.
const FEED_BYTES: usize = 16 * 1024;
const FEED_CELLS: usize = 2_000_000;

impl Display {
    fn new(view: Option<Size>, watched: &Watched) -> Self {
        let title = format!("watching {}  {}  q leaves", watched.session, watched.title);
        Self { title, incomplete: false, form: Form::new(view, watched.watching.channel().pty), todo: VecDeque::new() }
    }

    fn begin(&self, out: &mut String) {
        match &self.form {
            Form::Frames { .. } => out.push_str(ENTER),
            Form::Lines { end, .. } => {
                out.push_str(&line(&self.title));
                out.push_str(end);
            }
        }
    }

    /// What gives the terminal back, and shows nothing more.
    fn leave(&self) -> &'static str {
        match &self.form {
            Form::Frames { .. } => LEAVE,
            Form::Lines { .. } => "",
        }
    }

    fn resize(&mut self, view: Size) {
        if let Form::Frames { painter, dirty, .. } = &mut self.form {
            *painter = Painter::new(view);
            *dirty = true;
        }
    }

    /// Begins anew with the end of what the terminal was sent.
    fn restart(&mut self, size: (u32, u32), bytes: Vec<u8>, cut: bool) {
        // The whole screen would take an emulator on the way of each session's bytes: what is shown is what is known.
        self.incomplete = cut && matches!(self.form, Form::Frames { .. });
        self.todo = VecDeque::from([Step::Anew(Size::bounded(size.0, size.1)), Step::Tail(bytes.into())]);
    }

    fn entries(&mut self, entries: Vec<Timed>) {
        self.todo.extend(entries.into_iter().map(|timed| Step::Entry(timed.entry)));
    }

    /// Leaves out what a tail that waits tells as well. A tail is drawn to its end, or a flood would show nothing.
    fn skip(&mut self) {
        let draws = self.form.screen().is_some();
        if draws && matches!(self.todo.front(), Some(Step::Entry(_))) {
            self.todo.clear();
        }
    }

    fn has_work(&self) -> bool {
        let dirty = match self.form {
            Form::Frames { dirty, .. } => dirty,
            Form::Lines { .. } => false,
        };
        dirty || !self.todo.is_empty()
    }

    /// Does some of what there is to do where no session waits for it; `turn` is given back after it, also if nobody
    /// waits for it any more.
    async fn on_a_thread(
        mut self,
        turn: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&mut Self) -> String + Send + 'static,
    ) -> Result<(Self, String), PeerGone> {
        let working = move || {
            let out = work(&mut self);
            drop(turn);
            (self, out)
        };
        tokio::task::spawn_blocking(working).await.map_err(|failure| {
            error!(error = %failure, "A watched session cannot be drawn");
            PeerGone
        })
    }

    /// Draws for one turn, and gives what the watcher is sent; a frame once all is drawn, or one is due.
    fn work(&mut self, due: Instant) -> String {
        let mut out = String::new();
        let end = Instant::now() + TURN;
        while let Some(step) = self.next() {
            self.form.take(step, &mut out);
            if Instant::now() >= end {
                break;
            }
        }
        if self.todo.is_empty() || Instant::now() >= due {
            self.form.paint(&self.shown_title(), &mut out);
        }
        out
    }

    fn shown_title(&self) -> String {
        match self.incomplete {
            true => format!("MAY BE INCOMPLETE: from the last 32 KiB  {}", self.title),
            false => self.title.clone(),
        }
    }

    /// The last of it.
    fn finish(&mut self) -> String {
        let mut out = String::new();
        self.form.paint(&self.shown_title(), &mut out);
        self.form.end(&mut out);
        out
    }

    /// The next step, or as much of it as is done at once.
    fn next(&mut self) -> Option<Step> {
        let most = self.form.feed_bytes();
        match self.todo.front_mut()? {
            Step::Tail(bytes) if bytes.len() > most => Some(Step::Tail(bytes.split_to(most))),
            Step::Entry(Entry::Output { output, bytes }) if bytes.len() > most => {
                Some(Step::Entry(Entry::Output { output: *output, bytes: bytes.split_to(most) }))
            }
            Step::Anew(_) | Step::Tail(_) | Step::Entry(_) => self.todo.pop_front(),
        }
    }
}

impl Form {
    fn new(view: Option<Size>, pty: bool) -> Self {
        match view {
            Some(view) if pty => {
                Self::Frames { screen: Screen::new(view.above_status()), painter: Painter::new(view), dirty: true }
            }
            _ => Self::Lines {
                plain: Plain::default(),
                screen: pty.then(|| Screen::new(Size::bounded(80, 24))),
                begun: false,
                end: if view.is_some() { "\r\n" } else { "\n" },
            },
        }
    }

    fn screen(&self) -> Option<&Screen> {
        match self {
            Self::Frames { screen, .. } => Some(screen),
            Self::Lines { screen, .. } => screen.as_ref(),
        }
    }

    /// So many bytes are a short piece of work, whatever they are.
    fn feed_bytes(&self) -> usize {
        let cells = self.screen().map_or(1, |screen| screen.size().cols.saturating_mul(screen.size().rows));
        (FEED_CELLS / cells.max(1)).clamp(1, FEED_BYTES)
    }

    fn take(&mut self, step: Step, out: &mut String) {
        match self {
            Self::Frames { screen, dirty, .. } => {
                *dirty = true;
                match step {
                    Step::Anew(size) => *screen = Screen::new(size),
                    Step::Tail(bytes) | Step::Entry(Entry::Output { bytes, .. }) => screen.feed(&bytes),
                    Step::Entry(Entry::Resize { cols, rows }) => screen.resize(Size::bounded(cols, rows)),
                    Step::Entry(
                        Entry::Input(_)
                        | Entry::Redacted
                        | Entry::Marker(_)
                        | Entry::Digest(_)
                        | Entry::Exit(_)
                        | Entry::Record { .. },
                    ) => {}
                }
            }
            Self::Lines { plain, screen, begun, end } => {
                let mut text = String::new();
                match (step, screen) {
                    (Step::Anew(size), screen) => {
                        let again = std::mem::replace(begun, true);
                        if let Some(screen) = screen {
                            if again {
                                screen.finish_scrolling(&mut text);
                            }
                            *screen = Screen::new(size);
                        }
                        if again {
                            plain.note("[doorward: too fast for you; some output is not shown]", &mut text);
                        }
                    }
                    (Step::Tail(bytes), Some(screen)) => screen.feed(&bytes),
                    (Step::Tail(_), None) => {}
                    (Step::Entry(entry), Some(screen)) => scroll(screen, entry, &mut text),
                    (Step::Entry(entry), None) => write(plain, entry, &mut text),
                }
                out.push_str(&text.replace('\n', end));
            }
        }
    }

    /// Appends a frame, if the screen has changed.
    fn paint(&mut self, title: &str, out: &mut String) {
        if let Self::Frames { screen, painter, dirty } = self
            && std::mem::take(dirty)
        {
            painter.paint(screen, title, out);
        }
    }

    fn end(&mut self, out: &mut String) {
        match self {
            Self::Frames { .. } => out.push_str(LEAVE),
            Self::Lines { plain, screen, end, .. } => {
                let mut text = String::new();
                match screen {
                    Some(screen) => screen.finish_scrolling(&mut text),
                    None => plain.finish(&mut text),
                }
                out.push_str(&text.replace('\n', end));
            }
        }
    }
}

/// What a terminal shows, as lines.
fn scroll(screen: &mut Screen, entry: Entry, text: &mut String) {
    match entry {
        Entry::Output { bytes, .. } => screen.feed_scrolling(&bytes, text),
        Entry::Resize { cols, rows } => screen.resize(Size::bounded(cols, rows)),
        Entry::Input(_)
        | Entry::Redacted
        | Entry::Marker(_)
        | Entry::Digest(_)
        | Entry::Exit(_)
        | Entry::Record { .. } => {}
    }
}

/// What is no terminal's, as lines.
fn write(plain: &mut Plain, entry: Entry, text: &mut String) {
    match entry {
        Entry::Output { output, bytes } => plain.push(output, &bytes, text),
        Entry::Marker(marker) => plain.note(&format!("[{marker}]"), text),
        Entry::Digest(digest) => plain.note(&format!("[{} bytes, not kept]", digest.bytes), text),
        Entry::Exit(Exit::Status(status)) => plain.note(&format!("[exit status {status}]"), text),
        Entry::Exit(Exit::Signal { name, .. }) => plain.note(&format!("[ended by SIG{name}]"), text),
        Entry::Input(_) | Entry::Redacted | Entry::Resize { .. } | Entry::Record { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Output;

    /// All that is shown of what there is to do.
    fn drawn(display: &mut Display) -> String {
        let mut out = String::new();
        while display.has_work() {
            out.push_str(&display.work(Instant::now()));
        }
        out
    }

    fn output(bytes: impl Into<Bytes>) -> Vec<Timed> {
        vec![Timed { at: Duration::ZERO, entry: Entry::Output { output: Output::Stdout, bytes: bytes.into() } }]
    }

    fn shown(pty: bool) -> String {
        let form = Form::new(None, pty);
        let mut display = Display { title: String::from("a session"), incomplete: false, form, todo: VecDeque::new() };
        display.restart((80, 24), Vec::new(), false);
        assert_eq!(drawn(&mut display), "", "nothing is missing before the first lines");
        display.entries(output("early\r\n"));
        let mut out = drawn(&mut display);
        display.restart((80, 24), b"late\r\n".to_vec(), false);
        out.push_str(&drawn(&mut display));
        out + &display.finish()
    }

    #[test]
    fn who_is_too_slow_is_told_that_lines_are_missing() {
        for pty in [false, true] {
            let out = shown(pty);
            let lines: Vec<&str> = out.lines().collect();
            let [early, note, rest @ ..] = lines.as_slice() else { panic!("{out}") };
            assert_eq!(*early, "early");
            assert!(note.contains("too fast for you"), "{out}");
            // What is no terminal has no screen to go on with.
            assert_eq!(rest.contains(&"late"), pty, "{out}");
        }
    }

    #[test]
    fn a_screen_that_is_drawn_from_the_end_of_the_output_says_so() {
        let mut display = large();
        display.restart((80, 24), b"late\r\n".to_vec(), true);
        let out = drawn(&mut display);
        assert!(out.contains("INCOMPLETE") && out.contains("late"), "{out}");
        display.restart((80, 24), b"all\r\n".to_vec(), false);
        assert!(!drawn(&mut display).contains("INCOMPLETE"));
    }

    fn large() -> Display {
        let form = Form::new(Some(Size::bounded(500, 200)), true);
        let mut display = Display { title: String::from("a session"), incomplete: false, form, todo: VecDeque::new() };
        display.restart((500, 200), Vec::new(), false);
        display
    }

    // T23: three bytes of the target's, 100,000 cells of ours.
    #[test]
    fn a_flood_of_screens_is_drawn_in_short_turns_and_can_be_left_out() {
        let mut display = large();
        let _ = drawn(&mut display);
        display.entries(output(b"\x1b#8".repeat(100_000)));
        for _ in 0..3 {
            let start = Instant::now();
            let _ = display.work(start + FRAME);
            // Far more than a turn: other tests may be running.
            assert!(start.elapsed() < TURN * 100, "{:?}", start.elapsed());
        }
        assert!(display.has_work(), "300 KB were drawn in three turns");
        display.skip();
        assert!(display.todo.is_empty());
        // A tail is not left out, not even half drawn.
        display.restart((500, 200), b"\x1b#8".repeat(10_000), false);
        let _ = display.work(Instant::now());
        display.skip();
        assert!(matches!(display.todo.front(), Some(Step::Tail(_))));
    }

    #[test]
    fn what_is_drawn_does_not_depend_on_the_turns() {
        let mut display = large();
        let text = "\x1b[31mred \u{e9}\x1b[0m\r\n".repeat(150);
        display.entries(output(text.clone()));
        let _ = drawn(&mut display);
        let mut whole = Screen::new(Size::bounded(500, 200));
        whole.feed(text.as_bytes());
        assert_eq!(display.form.screen().unwrap().text(), whole.text());
    }
}
