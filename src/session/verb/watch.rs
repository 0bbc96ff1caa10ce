//! A live session in a watcher's terminal: drawn by an emulator, so that no byte of the target's gets there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::super::Bastion;
use super::{Watched, complain};
use crate::cast::{Entry, Timed};
use crate::listener::{UserSink, UserSource};
use crate::model::{ChannelEvent, Exit, Terminal, TerminalSize};
use crate::policy::AuditRight;
use crate::recorder::Seen;
use crate::screen::{ENTER, LEAVE, Painter, Plain, Screen, Size, line};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};

/// A frame at most so often.
const FRAME: Duration = Duration::from_millis(50);
/// How often the watcher's right is looked at again.
const CHECK: Duration = Duration::from_secs(1);
/// Output is fed to the emulator in pieces, so that a flood does not keep a thread.
const PIECE_BYTES: usize = 16 * 1024;

/// Why watching ended.
enum Over {
    /// The watcher left.
    Left,
    /// The channel was closed.
    Ended,
    /// The watcher may no longer watch.
    Forbidden,
}

/// Shows the session until it ends, the watcher leaves, or may no longer watch; returns the exit status.
///
/// # Errors
/// `PeerGone`.
pub async fn show(
    mut watched: Watched,
    bastion: &Arc<Bastion>,
    mut source: UserSource,
    sink: &UserSink,
    terminal: Option<Terminal>,
) -> Result<u32, PeerGone> {
    let view = terminal.map(|terminal| view_of(terminal.size));
    let mut display = Display::new(view, &watched);
    let mut out = String::new();
    display.begin(&mut out);
    let mut check = tokio::time::interval(CHECK);
    let mut frame = Instant::now();
    let credit = source.credit();
    let over = loop {
        display.draw(&mut out);
        if !out.is_empty() {
            sink.send(ChannelEvent::Data(Bytes::from(std::mem::take(&mut out)))).await?;
            frame = Instant::now();
        }
        tokio::select! {
            event = source.next() => match event {
                None | Some(ChannelEvent::Close) => break Over::Left,
                Some(ChannelEvent::Data(data)) => {
                    credit.consumed(data.len());
                    if data.iter().any(|byte| matches!(byte, b'q' | 0x03 | 0x04)) && view.is_some() {
                        break Over::Left;
                    }
                }
                Some(ChannelEvent::Resize(size)) => display.resize(view_of(size)),
                Some(
                    ChannelEvent::Stderr(_)
                    | ChannelEvent::Eof
                    | ChannelEvent::Signal(_)
                    | ChannelEvent::Break(_)
                    | ChannelEvent::EndOfWrite
                    | ChannelEvent::Exit(_),
                ) => {}
            },
            seen = async {
                // What comes within a frame is drawn at once.
                sleep_until(frame + FRAME).await;
                watched.watching.next().await
            } => match seen {
                Seen::Ended => break Over::Ended,
                Seen::Tail { size, bytes } => display.restart(size, &bytes).await,
                Seen::Entries(entries) => display.entries(entries, &mut out).await,
            },
            _ = check.tick() => {
                if bastion.ledger.audit_rule(&watched.by, &watched.target, AuditRight::Watch).is_none() {
                    break Over::Forbidden;
                }
            }
        }
    };
    display.draw(&mut out);
    display.end(&mut out);
    sink.send(ChannelEvent::Data(Bytes::from(out))).await?;
    match over {
        Over::Left => Ok(0),
        Over::Ended => {
            complain(sink, &format!("channel {} is closed", watched.watching.channel().number)).await?;
            Ok(0)
        }
        Over::Forbidden => {
            complain(sink, "you may no longer watch this session").await?;
            Ok(126)
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

    fn resize(&mut self, view: Size) {
        if let Form::Frames { painter, dirty, .. } = &mut self.form {
            *painter = Painter::new(view);
            *dirty = true;
        }
    }

    /// Begins anew with the end of what the terminal was sent.
    async fn restart(&mut self, size: (u32, u32), bytes: &[u8]) {
        let size = Size::bounded(size.0, size.1);
        match &mut self.form {
            Form::Frames { screen, dirty, .. } => {
                *screen = Screen::new(size);
                *dirty = true;
                feed(screen, bytes, None).await;
            }
            Form::Lines { plain, screen, begun, .. } => {
                let (mut again, mut skipped) = (std::mem::replace(begun, true), String::new());
                if let Some(screen) = screen {
                    *screen = Screen::new(size);
                    feed(screen, bytes, None).await;
                    again = false;
                }
                if again {
                    plain.note("[doorward: too fast for you; some output is not shown]", &mut skipped);
                }
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
                        Entry::Resize { cols, rows } => screen.resize(Size::bounded(cols, rows)),
                        Entry::Input(_) | Entry::Redacted | Entry::Marker(_) | Entry::Digest(_) | Entry::Exit(_) => {}
                    }
                }
                Form::Lines { plain, screen, end, .. } => {
                    let mut text = String::new();
                    match (entry, screen) {
                        (Entry::Output { bytes, .. }, Some(screen)) => feed(screen, &bytes, Some(&mut text)).await,
                        (Entry::Resize { cols, rows }, Some(screen)) => screen.resize(Size::bounded(cols, rows)),
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

/// Feeds the emulator, and lets others run in between.
async fn feed(screen: &mut Screen, bytes: &[u8], mut scrolled: Option<&mut String>) {
    for piece in bytes.chunks(PIECE_BYTES) {
        match &mut scrolled {
            Some(out) => screen.feed_scrolling(piece, out),
            None => screen.feed(piece),
        }
        tokio::task::yield_now().await;
    }
}
