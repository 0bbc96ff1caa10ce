//! Desktops: a picture of a moment, a film, or what was typed and pasted as text.
//!
//! The pictures are made here, in the auditor's own process, from what the target sent. A film goes through the
//! auditor's own `ffmpeg`, to which pictures are written as they are drawn; it reads no file and no option of anybody else.

mod index;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

pub use index::IndexError;

use super::{ExportError, Source};
use crate::cast::{Entry, Timed};
use crate::cli::output::Progress;
use crate::cli::recorded::RecordedChannel;
use crate::cli::redact::Patterns;
use crate::model::ChannelClass;
use crate::rdp::picture::{Change, Picture, Pointer, rgb};
use crate::rdp::story::{Story, Told};
use crate::screen::line;

/// How many pictures a second a film has: a desktop's moves are seen, and its text stays sharp.
const FRAMES_PER_SECOND: u32 = 5;
/// From one picture to the next.
const STEP: Duration = Duration::from_millis(200);

/// A form of film.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Film {
    /// VP9 in WebM.
    Webm,
    /// H.264 in MP4, in pieces, so that it can be written to a pipe.
    Mp4,
}

impl Film {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Webm => &[
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-crf",
                "30",
                "-b:v",
                "0",
                "-pix_fmt",
                "yuv420p",
                "-f",
                "webm",
            ],
            Self::Mp4 => &[
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-crf",
                "23",
                "-pix_fmt",
                "yuv420p",
                "-movflags",
                "frag_keyframe+empty_moov",
                "-f",
                "mp4",
            ],
        }
    }
}

/// Whether a channel is a desktop.
pub(super) fn is_desktop(channel: &dyn RecordedChannel) -> bool {
    channel.header().doorward.class == Some(ChannelClass::Desktop)
}

/// Writes the picture of the moment `at`, else the last one, as PNG; from what the file `index` has on the way to it.
///
/// # Errors
/// `NotADesktop`, `Index`, `NothingDrawn`, `Write`; `Damaged` after the picture was written.
pub(super) fn png(
    channel: &dyn RecordedChannel,
    at: Option<Duration>,
    index: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let mut source = open(channel)?;
    let mut picture = Picture::new(Pointer::Drawn);
    let mut known = None;
    if let Some(path) = index
        && let Some(keyframe) = index::of(channel, path)?.keyframe(at)
        && let Some(restored) = keyframe.restore()
    {
        (picture, known) = (restored, Some(keyframe.at));
        source = Source::over(channel, channel.entries_after(keyframe.at));
    }
    while let Some(Timed { at: now, entry }) = source.next() {
        if at.is_some_and(|at| now > at) {
            break;
        }
        if known.is_some_and(|known| now <= known) {
            continue;
        }
        if let Entry::Record { kind, bytes } = entry {
            picture.take(kind, &bytes);
        }
    }
    let png = picture.png().ok_or(ExportError::NothingDrawn)?;
    tell_faults(&picture);
    out.write_all(&png).map_err(ExportError::Write)?;
    source.finish()
}

/// Writes a film of the whole recording to `out`. A stretch without a change is cut to `idle_cap`.
///
/// # Errors
/// `NotADesktop`, `NothingDrawn`, `NoFfmpeg`, `Ffmpeg`; `Damaged` after the film was written.
pub(super) fn film(
    channel: &dyn RecordedChannel,
    film: Film,
    idle_cap: Option<Duration>,
    out: Stdio,
) -> Result<(), ExportError> {
    let canvas = Canvas::over(&mut open(channel)?).ok_or(ExportError::NothingDrawn)?;
    let mut encoder = Encoder::start(film, &canvas, out)?;
    let mut source = open(channel)?;
    let written = frames(channel, &mut source, canvas, idle_cap, &mut |frame| encoder.write(frame));
    let cut = encoder.finish(written)?;
    if !cut.is_zero() {
        let cut = crate::screen::span_said(cut);
        crate::cli::output::say(format!("note: {cut} without a change are left out; `--idle-cap off` keeps them"));
    }
    source.finish()
}

/// Writes what was typed, pasted and opened, a line each.
///
/// # Errors
/// `Write`; `Damaged` after all that there is has been written.
pub(super) fn text(
    channel: &dyn RecordedChannel,
    redact: Option<&Patterns>,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let mut source = open(channel)?;
    let mut story = Story::default();
    let mut write = |told: Told| {
        let Told { at, what, text } = told;
        let text = redact.map_or(text.clone(), |patterns| patterns.text(&text));
        let tenths = at.subsec_millis() / 100;
        writeln!(out, "{}.{tenths}  {what:9}  {}", crate::cli::replay::position(at), line(&text))
            .map_err(ExportError::Write)
    };
    while let Some(Timed { at, entry }) = source.next() {
        if let Entry::Record { kind, bytes } = entry {
            story.take(at, kind, &bytes).into_iter().try_for_each(&mut write)?;
        }
    }
    story.finish().map_or(Ok(()), write)?;
    source.finish()
}

fn open(channel: &dyn RecordedChannel) -> Result<Source<'_>, ExportError> {
    if is_desktop(channel) { Ok(Source::open(channel)) } else { Err(ExportError::NotADesktop) }
}

fn tell_faults(picture: &Picture) {
    let (faults, first) = picture.faults();
    if let (1.., Some(first)) = (faults, first) {
        let messages = crate::screen::counted(faults, "message");
        crate::cli::output::say(format!("warning: {messages} could not be drawn; the first: {}", line(first)));
    }
}

/// Draws, and gives a picture for each step of time; says how much time without a change was left out.
fn frames(
    channel: &dyn RecordedChannel,
    source: &mut Source<'_>,
    mut canvas: Canvas,
    idle_cap: Option<Duration>,
    give: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Duration> {
    let total = channel.length().unwrap_or_default().as_secs();
    let mut picture = Picture::new(Pointer::Drawn);
    let mut progress = Progress::new();
    let (mut next, mut still, mut cut, mut stale) = (None, Duration::ZERO, Duration::ZERO, false);
    while let Some(Timed { at, entry }) = source.next() {
        let Entry::Record { kind, bytes } = entry else { continue };
        while let Some(due) = next.filter(|due| *due <= at) {
            if std::mem::take(&mut stale) {
                canvas.draw(&picture);
                still = Duration::ZERO;
            }
            if idle_cap.is_some_and(|cap| still >= cap) {
                // Up to the step in which the record is.
                let over = at.saturating_sub(due);
                let steps = u32::try_from(over.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX).saturating_add(1);
                let jump = STEP.saturating_mul(steps);
                cut = cut.saturating_add(jump);
                next = Some(due.saturating_add(jump));
                continue;
            }
            give(&canvas.pixels)?;
            still = still.saturating_add(STEP);
            next = Some(due.saturating_add(STEP));
            progress.at("seconds", due.as_secs(), total);
        }
        match picture.take(kind, &bytes) {
            Change::Nothing => {}
            Change::Drawn | Change::Sized => {
                stale = true;
                next = next.or(Some(at.saturating_add(STEP)));
            }
        }
    }
    canvas.draw(&picture);
    // The last one stays for a second.
    (0..FRAMES_PER_SECOND).try_for_each(|_| give(&canvas.pixels))?;
    progress.finish();
    tell_faults(&picture);
    Ok(cut)
}

/// A picture as large as the largest that the desktop had, in which smaller ones stand at the top left.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn over(source: &mut Source<'_>) -> Option<Self> {
        let (mut width, mut height) = (0_u16, 0_u16);
        while let Some(Timed { entry, .. }) = source.next() {
            if let Entry::Record { kind, bytes } = entry
                && let Some((own_width, own_height)) = Picture::sized_by(kind, &bytes)
            {
                (width, height) = (width.max(own_width), height.max(own_height));
            }
        }
        // Colours stand for two pixels each way.
        let even = |side: u16| usize::from(side).next_multiple_of(2);
        let (width, height) = (even(width), even(height));
        let pixels = vec![0; width.checked_mul(height)?.checked_mul(3)?];
        (!pixels.is_empty()).then_some(Self { width, height, pixels })
    }

    fn draw(&mut self, picture: &Picture) {
        let Some((width, _)) = picture.size() else { return };
        self.pixels.fill(0);
        let rows = self.pixels.chunks_exact_mut(self.width.saturating_mul(3));
        for (row, own) in rows.zip(picture.rgba().chunks_exact(usize::from(width).saturating_mul(4))) {
            for (to, from) in row.iter_mut().zip(rgb(own)) {
                *to = from;
            }
        }
    }
}

/// A running `ffmpeg`.
struct Encoder {
    child: Child,
    said: Option<JoinHandle<Vec<u8>>>,
}

/// Of what `ffmpeg` says so much is kept.
const SAID_BYTES_MAX: u64 = 16 * 1024;

impl Encoder {
    fn start(film: Film, canvas: &Canvas, out: Stdio) -> Result<Self, ExportError> {
        let (size, rate) = (format!("{}x{}", canvas.width, canvas.height), FRAMES_PER_SECOND.to_string());
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pixel_format", "rgb24"]);
        command.args(["-video_size", &size, "-framerate", &rate, "-i", "pipe:0", "-an"]).args(film.options());
        command.arg("pipe:1").stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(ExportError::NoFfmpeg)?;
        // Read all the time: who is not heard stops working.
        let said = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let (mut stderr, mut said) = (stderr, Vec::new());
                let _ = stderr.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
                let _ = io::copy(&mut stderr, &mut io::sink());
                said
            })
        });
        Ok(Self { child, said })
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.child.stdin.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?.write_all(frame)
    }

    /// Waits for its end. If it ended before it was given all, what it said tells more than what the pipe did.
    fn finish<T>(mut self, written: io::Result<T>) -> Result<T, ExportError> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(ExportError::Write)?;
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(ExportError::Ffmpeg { status, said: String::from_utf8_lossy(&said).into_owned() });
        }
        written.map_err(ExportError::Write)
    }
}

#[cfg(test)]
mod tests;
