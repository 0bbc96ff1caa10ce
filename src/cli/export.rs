//! `doorward recording export`: a recorded channel in other programs' formats.

pub mod desktop;
mod segmented;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use asciicast::{Entry as V2Entry, EventType, Header as V2Header};
use serde_json::json;

use crate::cast::{Direction, Entry, Header, Timed, Writer};
use crate::cli::recorded::{self, Archive, Closing, Entries, RecordedChannel, RecordedError};
use crate::cli::redact::{Patterns, Redacted};
use crate::cli::replay::{digest_text, direction_name, exit_text};
use crate::model::{ChannelClass, ChannelNumber, Output, SessionId};
use crate::screen::{Decoder, Plain, Screen, Size, json_line, line};
use crate::store::{End, StoreError};

/// A form to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// asciicast v3, with everything that was recorded.
    V3,
    /// asciicast v2, for older players such as asciinema 2.2: text, sizes and markers, without exact bytes.
    V2,
    /// The text that scrolled by, safe to show; of a channel without a terminal its lines, with stderr marked.
    Txt,
    /// The exact bytes of one stream.
    Raw(Direction),
}

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The form.
    pub format: Format,
    /// `--channel`: else the first one with a terminal, else the first.
    pub channel: Option<ChannelNumber>,
    /// What must not be in it.
    pub redact: Option<Patterns>,
}

/// Why an export is not whole.
#[derive(Debug)]
pub enum ExportError {
    /// The recording cannot be opened.
    Open(RecordedError),
    /// The output cannot be written.
    Write(io::Error),
    /// A part of the recording is damaged; all the rest has been written.
    Damaged {
        /// How many lines or whole segments cannot be read.
        places: u64,
        /// The first of them.
        first: StoreError,
    },
    /// Bytes of that stream were counted, not kept; those that were kept have been written.
    NotKept {
        /// The stream.
        direction: Direction,
        /// How many bytes are missing.
        bytes: u64,
    },
    /// Exact bytes can make a terminal do things.
    RawToTerminal,
    /// That form is for terminals, and this is a desktop.
    IsADesktop,
    /// That form is for desktops, and this is none.
    NotADesktop,
    /// There is no picture, so far.
    NothingDrawn,
    /// There is no index, and none can be made.
    Index(desktop::IndexError),
    /// There is no `ffmpeg`, or it cannot be started.
    NoFfmpeg(io::Error),
    /// `ffmpeg` has failed.
    Ffmpeg {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        said: String,
    },
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str("cannot export the recording"),
            Self::Write(_) => f.write_str("cannot write the export"),
            Self::Damaged { places, .. } => {
                write!(f, "the recording is damaged in {places} places; the rest is exported")
            }
            Self::NotKept { direction, bytes } => {
                let name = direction_name(*direction);
                write!(f, "{bytes} bytes of {name} were counted, not kept; the rest is exported")
            }
            Self::RawToTerminal => f.write_str("raw bytes of a recording are not written to a terminal"),
            Self::IsADesktop => f.write_str("the recording is of a desktop, which has no text of a terminal"),
            Self::NotADesktop => f.write_str("the recording is not of a desktop"),
            Self::NothingDrawn => f.write_str("nothing was drawn on the desktop by then"),
            Self::Index(_) => f.write_str("the recording is not indexed"),
            Self::NoFfmpeg(_) => f.write_str("cannot start `ffmpeg`, which makes films of pictures"),
            Self::Ffmpeg { status, said } => write!(f, "ffmpeg has failed ({status}): {}", line(said.trim())),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Damaged { first, .. } => Some(first),
            Self::Write(error) | Self::NoFfmpeg(error) => Some(error),
            Self::Index(error) => Some(error),
            Self::NotKept { .. }
            | Self::RawToTerminal
            | Self::IsADesktop
            | Self::NotADesktop
            | Self::NothingDrawn
            | Self::Ffmpeg { .. } => None,
        }
    }
}

impl ExportError {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::RawToTerminal => Some("send the output to a file or a program, or use `--format txt`"),
            Self::NotKept { .. } => Some("the policy's `exec`, `stdin`, `exec_cap` and `input` say what is kept"),
            Self::IsADesktop => Some(DESKTOP_FORMS),
            Self::NotADesktop => Some("png, webm and mp4 are for desktops; `--channel` names another channel"),
            Self::NothingDrawn => Some("give a later `--at`; without it, it is the last picture"),
            Self::NoFfmpeg(_) => Some("install ffmpeg, or export single pictures with `--format png --at POSITION`"),
            Self::Index(_) => Some("leave --index out, or name another file"),
            Self::Open(_) | Self::Write(_) | Self::Damaged { .. } | Self::Ffmpeg { .. } => None,
        }
    }
}

/// What can be made of a desktop.
pub(super) const DESKTOP_FORMS: &str =
    "use `recording export --format png`, `webm` or `mp4` to see it, and `--format txt` for what was typed and pasted";

/// What to make of a desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shot {
    /// The picture of that moment, else the last.
    Png {
        /// The moment, since the session opened.
        at: Option<Duration>,
        /// The file with pictures to go on from.
        index: Option<PathBuf>,
    },
    /// A film; a stretch without a change is cut to so much.
    Film(desktop::Film, Option<Duration>),
}

/// Writes a recording to `out`, which must be no terminal if the form is `Raw`.
///
/// # Errors
/// If there is no such recording or channel; else as `write`.
pub fn run(
    archive: &Archive,
    session: &SessionId,
    options: &ExportOptions,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let recorded = recorded::open(archive, session, options.channel).map_err(ExportError::Open)?;
    recorded.tell();
    if desktop::is_desktop(&recorded) {
        return match options.format {
            Format::Txt => desktop::text(&recorded, options.redact.as_ref(), out),
            Format::V3 | Format::V2 | Format::Raw(_) => Err(ExportError::IsADesktop),
        };
    }
    match &options.redact {
        Some(patterns) => write(&Redacted::new(&recorded, patterns), options.format, out),
        None => write(&recorded, options.format, out),
    }
}

/// As [`run`], to standard output: `doorward recording export SESSION`. Raw bytes are refused if it is a terminal.
///
/// # Errors
/// As `run`, and `RawToTerminal`.
pub fn run_stdout(archive: &Archive, session: &SessionId, options: &ExportOptions) -> Result<(), ExportError> {
    let stdout = io::stdout();
    if matches!(options.format, Format::Raw(_)) && stdout.is_terminal() {
        return Err(ExportError::RawToTerminal);
    }
    let mut out = io::BufWriter::with_capacity(64 * 1024, stdout.lock());
    let result = run(archive, session, options, &mut out);
    out.flush().map_err(ExportError::Write)?;
    result
}

/// Writes pictures of a desktop to standard output, which must be no terminal.
///
/// # Errors
/// If there is no such recording or channel; what `desktop` says.
pub fn run_desktop(
    archive: &Archive,
    session: &SessionId,
    channel: Option<ChannelNumber>,
    shot: Shot,
) -> Result<(), ExportError> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(ExportError::RawToTerminal);
    }
    let recorded = recorded::open(archive, session, channel).map_err(ExportError::Open)?;
    recorded.tell();
    match shot {
        Shot::Png { at, index } => desktop::png(&recorded, at, index.as_deref(), &mut stdout.lock()),
        Shot::Film(film, idle_cap) => desktop::film(&recorded, film, idle_cap, std::process::Stdio::inherit()),
    }
}

/// Writes a channel of a recording into the empty directory `to`, in segments that asciinema-player loads as it plays
/// them: `doorward recording export SESSION --format segmented`.
///
/// # Errors
/// As `run`.
pub fn run_segmented(
    archive: &Archive,
    session: &SessionId,
    channel: Option<ChannelNumber>,
    redact: Option<&Patterns>,
    to: &Path,
) -> Result<(), ExportError> {
    let recorded = recorded::open(archive, session, channel).map_err(ExportError::Open)?;
    recorded.tell();
    if desktop::is_desktop(&recorded) {
        return Err(ExportError::IsADesktop);
    }
    match redact {
        Some(patterns) => segmented::write(&Redacted::new(&recorded, patterns), to),
        None => segmented::write(&recorded, to),
    }
}

/// Writes `channel` to `out`.
///
/// # Errors
/// `Damaged` and `NotKept` come after all that there is has been written.
pub fn write(channel: &dyn RecordedChannel, format: Format, out: &mut dyn Write) -> Result<(), ExportError> {
    match format {
        Format::V3 => v3(channel, out),
        Format::V2 => v2(channel, out),
        Format::Txt => text(channel, out),
        Format::Raw(direction) => raw(channel, direction, out),
    }
}

fn v3(channel: &dyn RecordedChannel, out: &mut dyn Write) -> Result<(), ExportError> {
    let mut lines = Vec::new();
    let mut writer = Writer::new(channel.header(), &mut lines);
    let mut source = Source::open(channel);
    while let Some(Timed { at, entry }) = source.next() {
        writer.write(at, &entry, &mut lines);
        if let Entry::Record { .. } = entry {
            // No text: bytes as they are, behind the header's line.
            out.write_all(&std::mem::take(&mut lines)).map_err(ExportError::Write)?;
        }
        flush_json(&mut lines, out)?;
    }
    if !desktop::is_desktop(channel)
        && let Some(words) = source.closing_words()
    {
        writer.write(source.at, &Entry::Marker(words), &mut lines);
    }
    flush_json(&mut lines, out)?;
    source.finish()
}

fn flush_json(lines: &mut Vec<u8>, out: &mut dyn Write) -> Result<(), ExportError> {
    let text = String::from_utf8_lossy(lines);
    out.write_all(json_line(&text).as_bytes()).map_err(ExportError::Write)?;
    lines.clear();
    Ok(())
}

fn v2(channel: &dyn RecordedChannel, out: &mut dyn Write) -> Result<(), ExportError> {
    let mut v2 = V2 { out };
    v2.line(&v2_header(channel.header(), channel.length())?)?;
    let mut source = Source::open(channel);
    shown_events(&mut source, &mut |at, event| v2.event(at, event))?;
    source.finish()
}

/// An event of the forms that have text, sizes and markers, and nothing else.
enum Shown {
    Output(String),
    Input(String),
    Size(Size),
    Marker(String),
}

impl Shown {
    /// Its code and its data.
    fn parts(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::Output(text) => ("o", text.into()),
            Self::Input(text) => ("i", text.into()),
            Self::Size(size) => ("r", format!("{}x{}", size.cols, size.rows).into()),
            Self::Marker(text) => ("m", text.into()),
        }
    }
}

/// Gives all that `source` has in that form, with the time since the channel's start, which never goes back.
fn shown_events(
    source: &mut Source<'_>,
    each: &mut dyn FnMut(Duration, Shown) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let header = source.channel.header();
    let start = Duration::from_millis(header.doorward.t0);
    let (mut stdout, mut stderr, mut input) = (Decoder::default(), Decoder::default(), Decoder::default());
    let mut partial = Partial::default();
    let mut last = Duration::ZERO;
    let mut give = |at: Duration, event: Shown| {
        if matches!(&event, Shown::Output(text) | Shown::Input(text) if text.is_empty()) {
            return Ok(());
        }
        last = at.saturating_sub(start).max(last);
        each(last, event)
    };
    while let Some(Timed { at, entry }) = source.next() {
        let event = match entry {
            Entry::Output { output, bytes } => {
                let decoder = match output {
                    Output::Stdout => &mut stdout,
                    Output::Stderr => &mut stderr,
                };
                let text = decoder.decode(&bytes);
                // A program without a terminal ends its lines with `\n`; a player's terminal needs `\r\n` for that.
                Shown::Output(if header.doorward.pty { text } else { partial.with_returns(&text) })
            }
            Entry::Input(bytes) => Shown::Input(input.decode(&bytes)),
            Entry::Redacted => Shown::Input(String::from("[redacted]")),
            Entry::Resize { cols, rows } => Shown::Size(Size::bounded(cols, rows)),
            Entry::Marker(text) => Shown::Marker(text),
            Entry::Digest(digest) => Shown::Marker(digest_text(&digest)),
            Entry::Exit(exit) => Shown::Marker(exit_text(&exit)),
            Entry::Record { .. } => continue,
        };
        give(at, event)?;
    }
    give(source.at, Shown::Output(format!("{}{}", stdout.finish(), stderr.finish())))?;
    give(source.at, Shown::Input(input.finish().to_owned()))?;
    match source.closing_words() {
        Some(words) => give(source.at, Shown::Marker(words)),
        None => Ok(()),
    }
}

/// Puts the `\r` before each `\n` that has none.
#[derive(Default)]
struct Partial {
    last: Option<char>,
}

impl Partial {
    fn with_returns(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if c == '\n' && self.last != Some('\r') {
                out.push('\r');
            }
            out.push(c);
            self.last = Some(c);
        }
        out
    }
}

/// The v2 header, by way of JSON: the type's timestamp is of a crate that we have no other use for.
fn v2_header(header: &Header, length: Option<Duration>) -> Result<V2Header, ExportError> {
    let start = Duration::from_millis(header.doorward.t0);
    let mut env: serde_json::Map<_, _> =
        header.env.iter().map(|(name, value)| (line(name).to_string(), json!(line(value)))).collect();
    if let Some(term) = &header.term {
        env.insert(String::from("TERM"), json!(line(term)));
    }
    let size = Size::bounded(header.cols, header.rows);
    let value = json!({
        "version": 2,
        "width": size.cols,
        "height": size.rows,
        "timestamp": header.timestamp.saturating_add(i64::try_from(start.as_secs()).unwrap_or(0)),
        "duration": length.map(|length| length.saturating_sub(start).as_secs_f64()),
        "idle_time_limit": null,
        "command": header.command,
        "title": header.title,
        "env": env,
    });
    serde_json::from_value(value).map_err(|error| ExportError::Write(io::Error::other(error)))
}

struct V2<'a> {
    out: &'a mut dyn Write,
}

impl V2<'_> {
    fn event(&mut self, at: Duration, event: Shown) -> Result<(), ExportError> {
        let time = at.as_secs_f64();
        match event {
            Shown::Output(event_data) => self.line(&V2Entry { time, event_type: EventType::Output, event_data }),
            Shown::Input(event_data) => self.line(&V2Entry { time, event_type: EventType::Input, event_data }),
            // Events that v2 has and the crate's types have not.
            Shown::Size(_) | Shown::Marker(_) => {
                let (code, data) = event.parts();
                self.line(&(time, code, data))
            }
        }
    }

    fn line(&mut self, value: &impl serde::Serialize) -> Result<(), ExportError> {
        let text = serde_json::to_string(value).map_err(|error| ExportError::Write(error.into()))?;
        writeln!(self.out, "{}", json_line(&text)).map_err(ExportError::Write)
    }
}

/// Writes the text of `channel`: what scrolled by on its screen, or the lines of its two outputs.
///
/// What a full-screen program drew is not in it; replay shows that.
///
/// # Errors
/// As `write`.
pub fn text(channel: &dyn RecordedChannel, out: &mut dyn Write) -> Result<(), ExportError> {
    let header = channel.header();
    let mut source = Source::open(channel);
    let mut screen = Screen::new(Size::bounded(header.cols, header.rows));
    let mut plain = Plain::default();
    let mut kept = String::new();
    while let Some(Timed { entry, .. }) = source.next() {
        match entry {
            Entry::Output { bytes, .. } if header.doorward.pty => screen.feed_scrolling(&bytes, &mut kept),
            Entry::Output { output, bytes } => plain.push(output, &bytes, &mut kept),
            Entry::Resize { cols, rows } => screen.resize(Size::bounded(cols, rows)),
            // Of SFTP and an agent the operations are what happened.
            Entry::Marker(text) if header.doorward.class.is_some_and(ChannelClass::is_by_operation) => {
                plain.note(&text, &mut kept);
            }
            Entry::Input(_)
            | Entry::Redacted
            | Entry::Marker(_)
            | Entry::Exit(_)
            | Entry::Digest(_)
            | Entry::Record { .. } => {}
        }
        out.write_all(kept.as_bytes()).map_err(ExportError::Write)?;
        kept.clear();
    }
    if header.doorward.pty {
        screen.finish_scrolling(&mut kept);
    } else {
        plain.finish(&mut kept);
        for (direction, missing) in source.not_kept() {
            let name = direction_name(direction);
            plain.note(&format!("[doorward: {missing} bytes of {name} were counted, not kept]"), &mut kept);
        }
    }
    // How a session that was closed ended is not a part of its text.
    if !matches!(channel.end(), End::Closed { .. })
        && let Some(words) = source.closing_words()
    {
        kept.push_str(&format!("[doorward: {}]\n", line(&words)));
    }
    out.write_all(kept.as_bytes()).map_err(ExportError::Write)?;
    source.finish()
}

fn raw(channel: &dyn RecordedChannel, wanted: Direction, out: &mut dyn Write) -> Result<(), ExportError> {
    let mut source = Source::open(channel);
    while let Some(Timed { entry, .. }) = source.next() {
        if let Some((direction, bytes)) = stream(&entry)
            && direction == wanted
        {
            out.write_all(bytes).map_err(ExportError::Write)?;
        }
    }
    let missing = source.not_kept().find(|(direction, _)| *direction == wanted);
    source.finish()?;
    match missing {
        Some((direction, bytes)) => Err(ExportError::NotKept { direction, bytes }),
        None => Ok(()),
    }
}

/// The bytes of an entry and which way they went.
fn stream(entry: &Entry) -> Option<(Direction, &[u8])> {
    match entry {
        Entry::Output { output: Output::Stdout, bytes } => Some((Direction::Stdout, bytes)),
        Entry::Output { output: Output::Stderr, bytes } => Some((Direction::Stderr, bytes)),
        Entry::Input(bytes) => Some((Direction::Stdin, bytes)),
        Entry::Redacted
        | Entry::Resize { .. }
        | Entry::Marker(_)
        | Entry::Digest(_)
        | Entry::Exit(_)
        | Entry::Record { .. } => None,
    }
}

/// A channel's good entries; counts the damaged lines and the bytes that were not kept.
struct Source<'a> {
    channel: &'a dyn RecordedChannel,
    entries: Entries<'a>,
    damaged: Option<(u64, StoreError)>,
    streams: [Stream; 3],
    // The time of the last entry so far.
    at: Duration,
    closing: Closing,
    /// How the program ended, until all counts of its end are out: both forms of asciicast have it last.
    exit: Option<Entry>,
    /// What came behind it.
    behind: Option<Timed>,
}

struct Stream {
    direction: Direction,
    kept: u64,
    counted: u64,
}

impl<'a> Source<'a> {
    fn open(channel: &'a dyn RecordedChannel) -> Self {
        Self::over(channel, channel.entries())
    }

    fn over(channel: &'a dyn RecordedChannel, entries: Entries<'a>) -> Self {
        let streams = [Direction::Stdin, Direction::Stdout, Direction::Stderr].map(|direction| Stream {
            direction,
            kept: 0,
            counted: 0,
        });
        Self {
            channel,
            entries,
            damaged: None,
            streams,
            at: Duration::ZERO,
            closing: Closing::default(),
            exit: None,
            behind: None,
        }
    }

    fn next(&mut self) -> Option<Timed> {
        if let Some(timed) = self.behind.take() {
            return Some(timed);
        }
        loop {
            let Some(timed) = self.read() else {
                return self.exit.take().map(|entry| Timed { at: self.at, entry });
            };
            match timed.entry {
                Entry::Digest(_) => return Some(timed),
                Entry::Exit(_) if self.exit.is_none() => self.exit = Some(timed.entry),
                Entry::Output { .. }
                | Entry::Input(_)
                | Entry::Redacted
                | Entry::Resize { .. }
                | Entry::Marker(_)
                | Entry::Record { .. }
                | Entry::Exit(_) => match self.exit.take() {
                    Some(entry) => {
                        let at = timed.at;
                        self.behind = Some(timed);
                        return Some(Timed { at, entry });
                    }
                    None => return Some(timed),
                },
            }
        }
    }

    fn read(&mut self) -> Option<Timed> {
        for item in self.entries.by_ref() {
            match item {
                Ok(timed) => {
                    self.at = self.at.max(timed.at);
                    self.closing.see(&timed.entry);
                    self.count(&timed.entry);
                    return Some(timed);
                }
                Err(error) => match &mut self.damaged {
                    Some((places, _)) => *places = places.saturating_add(1),
                    None => self.damaged = Some((1, error)),
                },
            }
        }
        None
    }

    /// What is left to say of the end.
    fn closing_words(&self) -> Option<String> {
        self.closing.words(self.channel.end())
    }

    fn count(&mut self, entry: &Entry) {
        for known in &mut self.streams {
            if let Some((direction, bytes)) = stream(entry)
                && direction == known.direction
            {
                known.kept = known.kept.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
            if let Entry::Digest(digest) = entry
                && digest.direction == known.direction
            {
                known.counted = known.counted.max(digest.bytes);
            }
        }
    }

    fn not_kept(&self) -> impl Iterator<Item = (Direction, u64)> {
        self.streams
            .iter()
            .map(|stream| (stream.direction, stream.counted.saturating_sub(stream.kept)))
            .filter(|(_, bytes)| *bytes > 0)
    }

    fn finish(self) -> Result<(), ExportError> {
        match self.damaged {
            Some((places, first)) => Err(ExportError::Damaged { places, first }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
