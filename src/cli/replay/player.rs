//! What a player shows at which moment. Time and keys come in, frames go out: no terminal, no clock.

use std::time::Duration;

use bytes::Bytes;

use crate::cast::{Digest, Direction, Entry, Header, Timed};
use crate::cli::recorded::{Closing, Entries, RecordedChannel};
use crate::model::{ChannelClass, Exit, Output};
use crate::screen::{Painter, Plain, Screen, Size, counted};

use super::{ReplayOptions, position};

/// Output that is fed in one go, so that a key is answered soon however much was recorded.
const PIECE_BYTES: usize = 4096;
/// How long the status line says that idle time was cut.
const CUT_SHOWN: Duration = Duration::from_millis(1500);
const SEEK: Duration = Duration::from_secs(5);
/// What the keys do; the first that fits is shown.
const HELP: [&str; 3] =
    ["space pause, +/- speed, arrows 5 s, . step, q quit", "space pause, arrows 5 s, q quit", "q quit"];

/// A key that the player knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Pause or go on.
    Pause,
    /// Twice as fast.
    Faster,
    /// Half as fast.
    Slower,
    /// Five seconds back.
    Back,
    /// Five seconds on.
    Forward,
    /// The next thing that was recorded; pauses.
    Step,
    /// To the start.
    Start,
    /// To the end.
    End,
    /// Leave.
    Quit,
}

/// Thousandths of the recorded speed, from a sixteenth to 64 times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed(u32);

impl Speed {
    /// As it was recorded.
    pub const RECORDED: Self = Self(1000);
    const SLOWEST: u32 = 62;
    const FASTEST: u32 = 64_000;

    /// Parses a factor such as `2` or `0.5`.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) || part.len() > 3 {
            return None;
        }
        let thousandths: u32 = format!("{part:0<3}").parse().ok()?;
        let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let factor = whole.checked_mul(1000)?.checked_add(thousandths)?;
        (Self::SLOWEST..=Self::FASTEST).contains(&factor).then_some(Self(factor))
    }

    fn faster(self) -> Self {
        Self(self.0.saturating_mul(2).min(Self::FASTEST))
    }

    fn slower(self) -> Self {
        Self((self.0 / 2).max(Self::SLOWEST))
    }

    /// How much of the recording passes in `real` time.
    fn recorded(self, real: Duration) -> Duration {
        real.saturating_mul(self.0) / 1000
    }

    /// How long `recorded` time takes.
    fn real(self, recorded: Duration) -> Duration {
        recorded.saturating_mul(1000) / self.0.max(1)
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        let part = format!("{part:03}");
        let part = part.trim_end_matches('0');
        if part.is_empty() { write!(f, "{whole}x") } else { write!(f, "{whole}.{part}x") }
    }
}

#[derive(Debug, PartialEq)]
enum Motion {
    Playing,
    Paused,
    /// Everything up to that moment is shown as fast as it can be.
    Seeking {
        to: Duration,
        then: Then,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Play,
    Pause,
}

/// Plays one channel.
pub struct Player<'a> {
    channel: &'a dyn RecordedChannel,
    entries: Entries<'a>,
    next: Option<Timed>,
    // What is left of the output that is being fed.
    rest: Option<(Output, Bytes)>,
    screen: Screen,
    view: Size,
    // Set for a channel without a terminal: its output is text.
    plain: Option<Plain>,
    position: Duration,
    // Where idle time is counted from: the last entry shown, or where a seek ended.
    idle_from: Duration,
    idle_cap: Option<Duration>,
    cut: Option<(Duration, Duration)>,
    speed: Speed,
    motion: Motion,
    damaged: u64,
    closing: Closing,
    event: String,
}

impl<'a> Player<'a> {
    /// A player at the start of `channel`, or on its way to `options.at`, for a terminal of size `view`.
    pub fn new(channel: &'a dyn RecordedChannel, options: &ReplayOptions, view: Size) -> Self {
        let mut player = Self {
            channel,
            entries: Box::new(std::iter::empty()),
            next: None,
            rest: None,
            screen: Screen::new(view),
            view,
            plain: None,
            position: Duration::ZERO,
            idle_from: Duration::ZERO,
            idle_cap: options.idle_cap,
            cut: None,
            speed: options.speed,
            motion: Motion::Playing,
            damaged: 0,
            closing: Closing::default(),
            event: String::new(),
        };
        player.rewind();
        if let Some(at) = options.at {
            player.motion = Motion::Seeking { to: at, then: Then::Play };
        }
        player
    }

    /// Lets `real` time pass. Shows at most one piece of output: call again while [`Player::wait`] is zero.
    pub fn advance(&mut self, real: Duration) {
        self.cut = self.cut.and_then(|(what, left)| Some((what, left.checked_sub(real)?)));
        match self.motion {
            Motion::Paused | Motion::Ended => {}
            Motion::Seeking { to, then } => {
                if self.show_until(to) == Shown::All {
                    self.position = to.min(self.channel.length().unwrap_or(to)).max(self.position);
                    self.idle_from = self.position;
                    self.motion = if then == Then::Play { Motion::Playing } else { Motion::Paused };
                }
            }
            Motion::Playing => {
                let mut now = self.position.saturating_add(self.speed.recorded(real));
                if let (Some(next), Some(cap)) = (&self.next, self.idle_cap)
                    && now >= self.idle_from.saturating_add(cap)
                    && next.at > now
                {
                    self.cut = Some((next.at.saturating_sub(now), CUT_SHOWN));
                    now = next.at;
                }
                if self.show_until(now) == Shown::All {
                    self.position = now;
                }
            }
        }
        if self.next.is_none() && self.rest.is_none() && !matches!(self.motion, Motion::Seeking { .. }) {
            if self.motion != Motion::Ended
                && let Some(words) = self.closing.words(self.channel.end())
            {
                self.event = words;
            }
            self.motion = Motion::Ended;
            self.position = self.idle_from.max(self.position.min(self.channel.length().unwrap_or(self.position)));
        }
    }

    /// How long nothing changes if no key comes; zero if there is more to show at once.
    pub fn wait(&self) -> Option<Duration> {
        match self.motion {
            Motion::Paused | Motion::Ended => None,
            Motion::Seeking { .. } => Some(Duration::ZERO),
            Motion::Playing if self.rest.is_some() => Some(Duration::ZERO),
            Motion::Playing => self.next.as_ref().map(|next| {
                let due = match self.idle_cap {
                    Some(cap) => next.at.min(self.idle_from.saturating_add(cap)),
                    None => next.at,
                };
                self.speed.real(due.saturating_sub(self.position))
            }),
        }
    }

    /// Answers a key; `Quit` is for the caller.
    pub fn press(&mut self, key: Key) {
        let then = if matches!(self.motion, Motion::Paused | Motion::Seeking { then: Then::Pause, .. }) {
            Then::Pause
        } else {
            Then::Play
        };
        let here = if let Motion::Seeking { to, .. } = self.motion { to } else { self.position };
        match key {
            Key::Pause => {
                self.motion = match self.motion {
                    Motion::Playing => Motion::Paused,
                    Motion::Paused => Motion::Playing,
                    Motion::Seeking { to, then: Then::Play } => Motion::Seeking { to, then: Then::Pause },
                    Motion::Seeking { to, then: Then::Pause } => Motion::Seeking { to, then: Then::Play },
                    Motion::Ended => Motion::Ended,
                }
            }
            Key::Faster => self.speed = self.speed.faster(),
            Key::Slower => self.speed = self.speed.slower(),
            Key::Back => self.seek(here.saturating_sub(SEEK), then),
            Key::Forward => self.seek(here.saturating_add(SEEK), then),
            Key::Start => self.seek(Duration::ZERO, then),
            Key::End => self.seek(self.channel.length().unwrap_or(Duration::MAX), then),
            Key::Step => {
                if let Some(next) = &self.next {
                    self.motion = Motion::Seeking { to: next.at, then: Then::Pause };
                }
            }
            Key::Quit => {}
        }
    }

    /// Whether all is shown.
    pub fn ended(&self) -> bool {
        self.motion == Motion::Ended
    }

    /// Tells the player that the auditor's terminal has a new size.
    pub fn view(&mut self, view: Size) {
        self.view = view;
        if self.plain.is_some() {
            self.screen.resize(view);
        }
    }

    /// Draws the frame of this moment.
    pub fn paint(&self, painter: &mut Painter, out: &mut String) {
        let mut status = self.status(painter.clips(&self.screen));
        let room = painter.view().cols.saturating_sub(status.chars().count() + 1);
        if let Some(help) = HELP.iter().find(|help| help.len() + 2 <= room) {
            status.push_str(&format!("{help:>room$}"));
        }
        painter.paint(&self.screen, &status, out);
    }

    /// The rows as text, for tests.
    #[cfg(test)]
    pub fn text(&self) -> String {
        self.screen.text().join("\n").trim_end().to_owned()
    }

    /// The line below the screen, without the help.
    pub fn status(&self, clipped: bool) -> String {
        let header = self.channel.header();
        let total = self.channel.length().map_or(String::new(), |length| format!("/{}", position(length)));
        let time = super::time_of_day(header, self.position);
        let mut parts = vec![format!(" {time} {}{total}", position(self.position))];
        parts.push(match self.motion {
            Motion::Playing => self.speed.to_string(),
            Motion::Paused => format!("{} paused", self.speed),
            Motion::Seeking { to, .. } if to == Duration::MAX => String::from("to the end"),
            Motion::Seeking { to, .. } => format!("to {}", position(to)),
            Motion::Ended => String::from("end"),
        });
        parts.push(channel_name(header));
        if !self.event.is_empty() {
            parts.push(self.event.clone());
        }
        if let Some((what, _)) = self.cut {
            parts.push(format!("idle {} cut", position(what)));
        }
        if clipped {
            let size = self.screen.size();
            parts.push(format!("clipped {}x{}", size.cols, size.rows));
        }
        if self.damaged > 0 {
            parts.push(format!("{} damaged", self.damaged));
        }
        parts.join(" | ")
    }

    fn seek(&mut self, to: Duration, then: Then) {
        if to < self.position {
            self.rewind();
        }
        self.cut = None;
        self.motion = Motion::Seeking { to, then };
    }

    fn rewind(&mut self) {
        let header = self.channel.header();
        let pty = header.doorward.pty;
        let size = if pty { Size::bounded(header.cols, header.rows) } else { self.view };
        self.screen = Screen::new(size);
        self.plain = (!pty).then(Plain::default);
        self.rest = None;
        self.damaged = 0;
        self.closing = Closing::default();
        self.event.clear();
        self.entries = self.channel.entries();
        self.position = Duration::from_millis(header.doorward.t0);
        self.idle_from = self.position;
        self.take_next();
    }

    fn take_next(&mut self) {
        self.next = self.entries.find_map(|item| match item {
            Ok(timed) => Some(timed),
            Err(_) => {
                self.damaged = self.damaged.saturating_add(1);
                None
            }
        });
    }

    /// Shows what was recorded up to `until`, but no more than one piece of output.
    fn show_until(&mut self, until: Duration) -> Shown {
        let mut budget = PIECE_BYTES;
        loop {
            if let Some((output, bytes)) = self.rest.take() {
                let mut bytes = bytes;
                let piece = bytes.split_to(bytes.len().min(budget));
                self.output(output, &piece);
                budget = budget.saturating_sub(piece.len());
                if !bytes.is_empty() {
                    self.rest = Some((output, bytes));
                    return Shown::Part;
                }
            }
            if self.next.as_ref().is_none_or(|next| next.at > until) {
                return Shown::All;
            }
            // An entry without output costs little, but there may be very many of them at one moment.
            budget = budget.saturating_sub(16);
            if budget == 0 {
                return Shown::Part;
            }
            if let Some(timed) = self.next.take() {
                self.position = self.position.max(timed.at);
                self.idle_from = timed.at;
                self.entry(timed.entry);
                self.take_next();
            }
        }
    }

    fn entry(&mut self, entry: Entry) {
        self.closing.see(&entry);
        match entry {
            Entry::Output { output, bytes } => self.rest = Some((output, bytes)),
            Entry::Resize { cols, rows } => {
                if self.plain.is_none() {
                    self.screen.resize(Size::bounded(cols, rows));
                }
            }
            Entry::Input(bytes) => self.event = format!("{} bytes of input", bytes.len()),
            Entry::Record { .. } => self.event = String::from("a desktop's picture: export it with --format png"),
            Entry::Redacted => self.event = String::from("input that is not shown"),
            Entry::Marker(text) => {
                self.done(&text);
                self.event = text;
            }
            Entry::Digest(digest) => {
                self.event = digest_text(&digest);
            }
            Entry::Exit(exit) => self.event = exit_text(&exit),
        }
    }

    /// Of SFTP and an agent the operations are what happened: each is a line on the screen.
    fn done(&mut self, text: &str) {
        let told = self.channel.header().doorward.class.is_some_and(ChannelClass::is_by_operation);
        if let Some(plain) = self.plain.as_mut().filter(|_| told) {
            let mut lines = String::new();
            plain.note(text, &mut lines);
            self.screen.feed(lines.replace('\n', "\r\n").as_bytes());
        }
    }

    fn output(&mut self, output: Output, bytes: &[u8]) {
        match &mut self.plain {
            None => self.screen.feed(bytes),
            Some(plain) => {
                let mut text = String::new();
                plain.push(output, bytes, &mut text);
                self.screen.feed(text.replace('\n', "\r\n").as_bytes());
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Shown {
    All,
    Part,
}

/// How a program ended, for people.
pub fn exit_text(exit: &Exit) -> String {
    match exit {
        Exit::Status(status) => format!("exit {status}"),
        Exit::Signal { name, .. } => format!("ended by signal {name}"),
    }
}

/// What went by in a direction and is not all in the recording, for people.
pub fn digest_text(digest: &Digest) -> String {
    let (name, bytes) = (direction_name(digest.direction), counted(digest.bytes, "byte"));
    match &digest.sha256 {
        Some(hash) => format!("{name}: {bytes}, SHA-256 {hash}"),
        None => format!("{name}: {bytes}, counted only"),
    }
}

/// A direction, for people.
pub fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Stdin => "standard input",
        Direction::Stdout => "standard output",
        Direction::Stderr => "standard error",
    }
}

fn channel_name(header: &Header) -> String {
    match header.doorward.class {
        Some(class) => format!("channel {} {class}", header.doorward.channel),
        None => format!("channel {}", header.doorward.channel),
    }
}
