//! asciinema-player's segmented recordings: an index, and segments that are loaded as they are played. Each has the
//! screen with which it begins, so that a player shows any moment of a long session at once.
//!
//! ```text
//! index.json          {"version":1,"duration":<s>,"term":{..},"segments":[{"start":<s>,"url":"<file>"},..],"markers":[..]}
//! segment-000000.json {"snapshot":{"cols":..,"rows":..,"init":"<text>"},"events":[[<s since the start>,"o","<text>"],..]}
//! ```
//!
//! The player demands that the first segment starts at 0, that each later one has its first event at its start and
//! starts after all that is before it, and that the last event is at the recording's duration.
//!
//! Source: `recording.js` of asciinema-player 3.17, `format: "segmented"`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::{ExportError, Shown, Source, shown_events};
use crate::cli::recorded::RecordedChannel;
use crate::screen::{Screen, Size, json_line, line};

/// A segment ends when it is so long,
const SEGMENT_TIME: Duration = Duration::from_secs(60);
/// or has so much text.
const SEGMENT_BYTES: usize = 256 * 1024;
/// The name of the index.
const INDEX: &str = "index.json";

/// Writes `channel` into the empty directory `to`.
///
/// # Errors
/// `Damaged` comes after all that there is has been written.
pub(super) fn write(channel: &dyn RecordedChannel, to: &Path) -> Result<(), ExportError> {
    let header = channel.header();
    let size = Size::bounded(header.cols, header.rows);
    let mut segments = Segments::new(to, size);
    let mut source = Source::open(channel);
    shown_events(&mut source, &mut |at, event| segments.take(at, &event))?;
    let index = segments.finish()?;
    let index = json!({
        "version": 1,
        "duration": index.duration.as_secs_f64(),
        "term": { "cols": size.cols, "rows": size.rows },
        "title": header.title.as_deref().map(line),
        "segments": index.segments,
        "markers": index.markers,
        "doorward": header.doorward,
    });
    // The last, so that whoever finds it finds the whole.
    let mut file = create(to, INDEX)?;
    file.write_all(json_line(&index.to_string()).as_bytes()).and_then(|()| file.flush()).map_err(ExportError::Write)?;
    source.finish()
}

fn create(to: &Path, name: &str) -> Result<BufWriter<File>, ExportError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to.join(name));
    file.map(BufWriter::new).map_err(ExportError::Write)
}

/// A line of the index.
#[derive(Serialize)]
struct Listed {
    start: f64,
    url: String,
}

/// What stands in the index.
struct Index {
    duration: Duration,
    segments: Vec<Listed>,
    markers: Vec<(f64, String)>,
}

/// Segments that are written.
struct Segments<'a> {
    to: &'a Path,
    /// What is seen behind the last event.
    screen: Screen,
    listed: Vec<Listed>,
    markers: Vec<(f64, String)>,
    open: Option<Segment>,
    /// When the last event was.
    last: Duration,
}

/// The segment that is being written.
struct Segment {
    file: BufWriter<File>,
    start: Duration,
    /// Of all its events.
    bytes: usize,
}

impl<'a> Segments<'a> {
    fn new(to: &'a Path, size: Size) -> Self {
        let (listed, markers) = (Vec::new(), Vec::new());
        Self { to, screen: Screen::new(size), listed, markers, open: None, last: Duration::ZERO }
    }

    fn take(&mut self, at: Duration, event: &Shown) -> Result<(), ExportError> {
        self.roll(at)?;
        let (code, data) = event.parts();
        self.event(at, code, &data)?;
        match event {
            Shown::Output(text) => self.screen.feed(text.as_bytes()),
            Shown::Size(size) => self.screen.resize(*size),
            Shown::Marker(text) => self.markers.push((at.as_secs_f64(), text.clone())),
            Shown::Input(_) => {}
        }
        Ok(())
    }

    /// Begins another segment where the present one has enough. Where the screen cannot be told, as in the middle of a
    /// sequence, that waits for a later event.
    fn roll(&mut self, at: Duration) -> Result<(), ExportError> {
        let due = |open: &Segment| open.bytes >= SEGMENT_BYTES || at.saturating_sub(open.start) >= SEGMENT_TIME;
        if at <= self.last || !self.open.as_ref().is_some_and(due) {
            return Ok(());
        }
        let Some(snapshot) = self.screen.snapshot() else { return Ok(()) };
        self.close()?;
        self.begin(at, &snapshot)
    }

    fn begin(&mut self, start: Duration, snapshot: &str) -> Result<(), ExportError> {
        let url = format!("segment-{:06}.json", self.listed.len());
        let mut file = create(self.to, &url)?;
        let Size { cols, rows } = self.screen.size();
        let snapshot = json!({ "cols": cols, "rows": rows, "init": snapshot }).to_string();
        let head = format!("{{\"snapshot\":{},\"events\":[", json_line(&snapshot));
        file.write_all(head.as_bytes()).map_err(ExportError::Write)?;
        self.listed.push(Listed { start: start.as_secs_f64(), url });
        self.open = Some(Segment { file, start, bytes: 0 });
        Ok(())
    }

    fn event(&mut self, at: Duration, code: &str, data: &str) -> Result<(), ExportError> {
        if self.open.is_none() {
            self.begin(Duration::ZERO, "")?;
        }
        self.last = at;
        let Some(open) = &mut self.open else { return Ok(()) };
        let event = json!((at.as_secs_f64(), code, data)).to_string();
        let comma = if open.bytes == 0 { "\n" } else { ",\n" };
        open.bytes = open.bytes.saturating_add(event.len());
        write!(open.file, "{comma}{}", json_line(&event)).map_err(ExportError::Write)
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.file.write_all(b"\n]}\n").and_then(|()| open.file.flush()).map_err(ExportError::Write)
    }

    fn finish(mut self) -> Result<Index, ExportError> {
        match &self.open {
            None => self.event(Duration::ZERO, "o", "")?,
            // A later segment must start before the end of the whole.
            Some(open) if open.start == self.last && self.listed.len() > 1 => {
                self.event(self.last.saturating_add(Duration::from_millis(1)), "o", "")?;
            }
            Some(_) => {}
        }
        self.close()?;
        Ok(Index { duration: self.last, segments: self.listed, markers: self.markers })
    }
}

#[cfg(test)]
mod tests;
