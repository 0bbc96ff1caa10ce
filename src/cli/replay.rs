//! `doorward recording replay`: shows a recording in the auditor's terminal, through [`crate::screen`].
//!
//! In a terminal it plays, with a status line at the bottom. Where standard output is no terminal it writes the
//! text of the recording at once, as `export --format txt` does: pacing is for eyes.

mod console;
mod player;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::cast::Header;
use crate::cli::export::{self, ExportError};
use crate::cli::recorded::{self, Archive, RecordedChannel, RecordedError};
use crate::clock::Clock;
use crate::model::{ChannelClass, ChannelNumber, SessionId, Timestamp};
use crate::screen::Painter;

pub(super) use console::Console;
use player::Player;

pub(super) use player::Key;
pub use player::{Speed, digest_text, direction_name, exit_text};

/// A frame at most this often: more cannot be seen, and a slow terminal must not fall behind.
const FRAME: Duration = Duration::from_millis(33);
/// How often the status line moves while nothing else does.
const TICK: Duration = Duration::from_millis(200);

/// How to play.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// `--speed`.
    pub speed: Speed,
    /// `--idle-cap`: a longer time in which nothing happened is cut to this; none plays it in full.
    pub idle_cap: Option<Duration>,
    /// `--at`: where to start, since the session opened.
    pub at: Option<Duration>,
    /// `--channel`: else the first one with a terminal, else the first.
    pub channel: Option<ChannelNumber>,
    /// Whether the player waits for a key after the last frame.
    pub at_end: AtEnd,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            speed: Speed::RECORDED,
            idle_cap: Some(Duration::from_secs(2)),
            at: None,
            channel: None,
            at_end: AtEnd::Wait,
        }
    }
}

/// What the player does after the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// Waits for `q`, or for a key that goes back.
    Wait,
    /// Leaves, for scripts (`--quit`).
    Quit,
}

/// Why a replay failed.
#[derive(Debug)]
pub enum ReplayError {
    /// The recording cannot be opened.
    Open(RecordedError),
    /// The text form cannot be written.
    Export(ExportError),
    /// The terminal cannot be used.
    Terminal(io::Error),
    /// It is of a desktop.
    Desktop,
}

impl ReplayError {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Desktop => Some(export::DESKTOP_FORMS),
            Self::Open(_) | Self::Export(_) | Self::Terminal(_) => None,
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "cannot replay the recording",
            Self::Export(_) => "cannot write the recording's text",
            Self::Terminal(_) => "cannot use the terminal",
            Self::Desktop => "the recording is of a desktop, which a terminal cannot show",
        })
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Export(error) => Some(error),
            Self::Terminal(error) => Some(error),
            Self::Desktop => None,
        }
    }
}

/// Replays a recording: `doorward recording replay SESSION`.
///
/// What else the recording holds, and what is wrong with it, goes to standard error.
///
/// # Errors
/// If there is no such recording or channel, or the output cannot be written.
pub fn run(archive: &Archive, session: &SessionId, options: &ReplayOptions) -> Result<(), ReplayError> {
    let recorded = recorded::open(archive, session, options.channel).map_err(ReplayError::Open)?;
    recorded.tell();
    if recorded.header().doorward.class == Some(ChannelClass::Desktop) {
        return Err(ReplayError::Desktop);
    }
    show(&recorded, options)
}

/// Shows one channel on standard output: plays in a terminal, writes the text elsewhere.
///
/// # Errors
/// If the output cannot be written, or the text is not whole.
pub fn show(channel: &dyn RecordedChannel, options: &ReplayOptions) -> Result<(), ReplayError> {
    let mut stdout = io::stdout();
    if !stdout.is_terminal() {
        export::text(channel, &mut stdout).map_err(ReplayError::Export)?;
        return stdout.flush().map_err(ReplayError::Terminal);
    }
    let mut console = Console::open().map_err(ReplayError::Terminal)?;
    play(channel, options, &mut console)
}

fn play(channel: &dyn RecordedChannel, options: &ReplayOptions, console: &mut Console) -> Result<(), ReplayError> {
    let clock = Clock::system();
    let mut view = console.size();
    let mut painter = Painter::new(view);
    let mut player = Player::new(channel, options, view.above_status());
    let mut last = clock.instant();
    let mut painted: Option<Instant> = None;
    loop {
        let now = clock.instant();
        player.advance(now.saturating_duration_since(last));
        last = now;
        let since = painted.map(|at| now.saturating_duration_since(at));
        let ended = player.ended() && options.at_end == AtEnd::Quit;
        if ended || since.is_none_or(|since| since >= FRAME) {
            if console.size() != view {
                view = console.size();
                painter = Painter::new(view);
                player.view(view.above_status());
            }
            let mut out = String::new();
            player.paint(&mut painter, &mut out);
            console.write(&out).map_err(ReplayError::Terminal)?;
            painted = Some(now);
        }
        if ended {
            return Ok(());
        }
        // With more to show at once, wait for no key; else until the next entry, the next frame or the next tick.
        let wait = match player.wait() {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(wait) => wait.clamp(Duration::from_millis(1), TICK),
            None => TICK,
        };
        match console.key(wait) {
            Some(Key::Quit) => return Ok(()),
            Some(key) => {
                player.press(key);
                painted = None;
            }
            None => {}
        }
    }
}

/// Parses a position: seconds, with or without an `s`, `minutes:seconds` or `hours:minutes:seconds`.
///
/// # Errors
/// Says what form is wanted.
pub fn parse_position(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a position: write it as 83, 1:23 or 1:02:03");
    let mut seconds: u64 = 0;
    let digits = if text.contains(':') { text } else { text.strip_suffix('s').unwrap_or(text) };
    for (index, part) in digits.split(':').enumerate() {
        let number: u64 = part.parse().map_err(|_| wrong())?;
        if index > 2 || (index > 0 && (number > 59 || part.len() != 2)) || part.starts_with('+') {
            return Err(wrong());
        }
        seconds = seconds.checked_mul(60).and_then(|s| s.checked_add(number)).ok_or_else(wrong)?;
    }
    Ok(Duration::from_secs(seconds))
}

/// Parses a speed, such as `2` or `0.5`.
///
/// # Errors
/// Says what is allowed.
pub fn parse_speed(text: &str) -> Result<Speed, String> {
    Speed::parse(text).ok_or_else(|| format!("`{text}` is not a speed: use 0.0625 to 64, such as 2 or 0.5"))
}

/// Parses an idle cap in seconds; `0` or `off` plays idle time in full.
///
/// # Errors
/// Says what is allowed.
pub fn parse_idle_cap(text: &str) -> Result<Option<Duration>, String> {
    if matches!(text, "0" | "off") {
        return Ok(None);
    }
    let seconds: u32 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds, nor `off`"))?;
    Ok(Some(Duration::from_secs(seconds.into())))
}

/// A position, for people: `1:23` or `1:02:03`.
pub(super) fn position(at: Duration) -> String {
    let seconds = at.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The time of day at `at`, in the auditor's time zone.
fn time_of_day(header: &Header, at: Duration) -> String {
    Timestamp::from_millis(header.timestamp.saturating_mul(1000)).plus(at).clock_seconds()
}

#[cfg(test)]
mod tests;
