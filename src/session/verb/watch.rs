//! A live session in a watcher's terminal: drawn by an emulator, so that no byte of the target's gets there.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Standing, Stopped, Watched, complain};
use crate::cast::{Entry, Timed};
use crate::listener::{UserSink, UserSource};
use crate::model::{ChannelEvent, Exit, Terminal, TerminalSize};
use crate::recorder::Seen;
use crate::screen::{ENTER, LEAVE, Painter, Plain, Screen, Size, line};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};

/// A frame at most so often.
const FRAME: Duration = Duration::from_millis(50);
/// Output is fed to the emulator in pieces, so that a flood does not keep a thread.
const FEED_BYTES: usize = 16 * 1024;
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
    let mut display = Display::new(view, &watched);
    let mut watcher = Watcher { source, has_keys: view.is_some() };
    let number = watched.watching.channel().number;
    let mut out = String::new();
    // Raced with everything, sending too: who does not read is looked at as well.
    let over = tokio::select! {
        over = draw(&mut display, watched, &mut watcher, sink, &mut out) => over,
        stopped = standing.lost() => {
            let mut out = String::new();
            display.leave(&mut out);
            let _ = timeout(END_TIMEOUT, sink.send(ChannelEvent::Data(out.into()))).await;
            return Err(stopped);
        }
    };
    display.draw(&mut out);
    display.end(&mut out);
    let ending = async {
        sink.send(ChannelEvent::Data(Bytes::from(out))).await?;
        match over? {
            Over::Left => Ok(()),
            Over::Ended => complain(sink, &format!("channel {number} is closed")).await,
        }
    };
    timeout(END_TIMEOUT, ending).await.unwrap_or(Err(PeerGone))?;
    Ok(0)
}

/// Draws what is recorded, as it comes; what is not sent yet is in `out`.
async fn draw(
    display: &mut Display,
    mut watched: Watched,
    watcher: &mut Watcher<'_>,
    sink: &UserSink,
    out: &mut String,
) -> Result<Over, PeerGone> {
    display.begin(out);
    let mut frame = Instant::now();
    loop {
        display.draw(out);
        if !out.is_empty() {
            let sending = sink.send(ChannelEvent::Data(Bytes::from(std::mem::take(out))));
            tokio::pin!(sending);
            // Who does not read can leave all the same.
            loop {
                tokio::select! {
                    sent = &mut sending => break sent?,
                    act = watcher.acts() => match act {
                        Act::Leaves => return Ok(Over::Left),
                        Act::Resizes(size) => display.resize(size),
                    },
                }
            }
            frame = Instant::now();
        }
        tokio::select! {
            act = watcher.acts() => match act {
                Act::Leaves => return Ok(Over::Left),
                Act::Resizes(size) => display.resize(size),
            },
            seen = async {
                // What comes within a frame is drawn at once.
                sleep_until(frame + FRAME).await;
                watched.watching.next().await
            } => match seen {
                Seen::Ended => return Ok(Over::Ended),
                Seen::Tail { size, bytes } => display.restart(size, &bytes, out).await,
                Seen::Entries(entries) => display.entries(entries, out).await,
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
    form: Form,
}

enum Form {
    /// A terminal channel on a terminal.
    Frames { screen: Screen, painter: Painter, dirty: bool },
    /// Text, line by line; whether some of it was shown already, and the line end.
    Lines { plain: Plain, screen: Option<Screen>, begun: bool, end: &'static str },
}

impl Display {
    fn new(view: Option<Size>, watched: &Watched) -> Self {
        let pty = watched.watching.channel().pty;
        let title = format!("watching {}  {}  q leaves", watched.session, watched.title);
        let form = match view {
            Some(view) if pty => {
                Form::Frames { screen: Screen::new(view.above_status()), painter: Painter::new(view), dirty: true }
            }
            _ => Form::Lines {
                plain: Plain::default(),
                screen: pty.then(|| Screen::new(Size::bounded(80, 24))),
                begun: false,
                end: if view.is_some() { "\r\n" } else { "\n" },
            },
        };
        Self { title, form }
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

    fn end(&mut self, out: &mut String) {
        match &mut self.form {
            Form::Frames { .. } => out.push_str(LEAVE),
            Form::Lines { plain, screen, end, .. } => {
                let mut text = String::new();
                match screen {
                    Some(screen) => screen.finish_scrolling(&mut text),
                    None => plain.finish(&mut text),
                }
                out.push_str(&text.replace('\n', end));
            }
        }
    }

    /// Gives the terminal back, and shows nothing more.
    fn leave(&self, out: &mut String) {
        match &self.form {
            Form::Frames { .. } => out.push_str(LEAVE),
            Form::Lines { .. } => {}
        }
    }

    fn resize(&mut self, view: Size) {
        if let Form::Frames { painter, dirty, .. } = &mut self.form {
            *painter = Painter::new(view);
            *dirty = true;
        }
    }

    /// Begins anew with the end of what the terminal was sent. What is shown as lines says that lines are missing.
    async fn restart(&mut self, size: (u32, u32), bytes: &[u8], out: &mut String) {
        let size = Size::bounded(size.0, size.1);
        match &mut self.form {
            Form::Frames { screen, dirty, .. } => {
                *screen = Screen::new(size);
                *dirty = true;
                feed(screen, bytes, None).await;
            }
            Form::Lines { plain, screen, begun, end } => {
                let (again, mut text) = (std::mem::replace(begun, true), String::new());
                if let Some(screen) = screen {
                    if again {
                        screen.finish_scrolling(&mut text);
                    }
                    *screen = Screen::new(size);
                    feed(screen, bytes, None).await;
                }
                if again {
                    plain.note("[doorward: too fast for you; some output is not shown]", &mut text);
                }
                out.push_str(&text.replace('\n', end));
            }
        }
    }

    async fn entries(&mut self, entries: Vec<Timed>, out: &mut String) {
        for Timed { entry, .. } in entries {
            match &mut self.form {
                Form::Frames { screen, dirty, .. } => {
                    *dirty = true;
                    match entry {
                        Entry::Output { bytes, .. } => feed(screen, &bytes, None).await,
                        Entry::Resize { cols, rows } => resize(screen, cols, rows).await,
                        Entry::Input(_) | Entry::Redacted | Entry::Marker(_) | Entry::Digest(_) | Entry::Exit(_) => {}
                    }
                }
                Form::Lines { plain, screen, end, .. } => {
                    let mut text = String::new();
                    match (entry, screen) {
                        (Entry::Output { bytes, .. }, Some(screen)) => feed(screen, &bytes, Some(&mut text)).await,
                        (Entry::Resize { cols, rows }, Some(screen)) => resize(screen, cols, rows).await,
                        (Entry::Output { output, bytes }, None) => plain.push(output, &bytes, &mut text),
                        (Entry::Marker(marker), None) => plain.note(&format!("[{marker}]"), &mut text),
                        (Entry::Digest(digest), None) => {
                            plain.note(&format!("[{} bytes, not kept]", digest.bytes), &mut text);
                        }
                        (Entry::Exit(Exit::Status(status)), None) => {
                            plain.note(&format!("[exit status {status}]"), &mut text);
                        }
                        (Entry::Exit(Exit::Signal { name, .. }), None) => {
                            plain.note(&format!("[ended by SIG{name}]"), &mut text);
                        }
                        (Entry::Input(_) | Entry::Redacted | Entry::Resize { .. }, None)
                        | (
                            Entry::Input(_) | Entry::Redacted | Entry::Marker(_) | Entry::Digest(_) | Entry::Exit(_),
                            Some(_),
                        ) => {}
                    }
                    out.push_str(&text.replace('\n', end));
                }
            }
        }
    }

    /// Appends a frame, if the screen has changed.
    fn draw(&mut self, out: &mut String) {
        if let Form::Frames { screen, painter, dirty } = &mut self.form
            && std::mem::take(dirty)
        {
            painter.paint(screen, &self.title, out);
        }
    }
}

/// Resizes the emulator, which may lay out every line anew, and lets others run after it.
async fn resize(screen: &mut Screen, cols: u32, rows: u32) {
    screen.resize(Size::bounded(cols, rows));
    tokio::task::yield_now().await;
}

/// Feeds the emulator, and lets others run in between.
async fn feed(screen: &mut Screen, bytes: &[u8], mut scrolled: Option<&mut String>) {
    for piece in bytes.chunks(FEED_BYTES) {
        match &mut scrolled {
            Some(out) => screen.feed_scrolling(piece, out),
            None => screen.feed(piece),
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Output;

    async fn shown(screen: Option<Screen>) -> String {
        let form = Form::Lines { plain: Plain::default(), screen, begun: false, end: "\n" };
        let mut display = Display { title: String::from("a session"), form };
        let mut out = String::new();
        display.restart((80, 24), b"", &mut out).await;
        assert_eq!(out, "", "nothing is missing before the first lines");
        let bytes = Bytes::from_static(b"early\r\n");
        let early = Entry::Output { output: Output::Stdout, bytes };
        display.entries(vec![Timed { at: Duration::ZERO, entry: early }], &mut out).await;
        display.restart((80, 24), b"late\r\n", &mut out).await;
        display.end(&mut out);
        out
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_that_lines_are_missing() {
        for screen in [None, Some(Screen::new(Size::bounded(80, 24)))] {
            let (is_terminal, out) = (screen.is_some(), shown(screen).await);
            let lines: Vec<&str> = out.lines().collect();
            let [early, note, rest @ ..] = lines.as_slice() else { panic!("{out}") };
            assert_eq!(*early, "early");
            assert!(note.contains("too fast for you"), "{out}");
            // What is no terminal has no screen to go on with.
            assert_eq!(rest.contains(&"late"), is_terminal, "{out}");
        }
    }
}
