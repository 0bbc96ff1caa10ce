//! `recording export --redact`: what matches a pattern is left out of an export. The recording stays as it is.
//!
//! A pattern is looked for in all that one stream has printed, so that it does not matter how the text was cut into
//! events, or coloured; and in the bytes as they are, so that what stands in a window's title is found, too.
//!
//! What this does not guard against: text that was printed in another order than it is read in, as by a full-screen program
//! or a user who corrects what they type, and what patterns do not say. Look at an export before it is given away.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use regex_lite::{Regex, RegexBuilder};

use super::CliError;
use super::recorded::{Entries, RecordedChannel};
use crate::cast::{Direction, Entry, Header, Timed};
use crate::model::Output;
use crate::screen::{Printed, counted};
use crate::store::{End, StoreError};

/// What stands in the place of what was left out.
const REDACTED: &str = "[redacted]";
/// A pattern's program is at most so large, and so are all its nested groups.
const PROGRAM_BYTES_MAX: usize = 1 << 18;
const NEST_MAX: u32 = 32;
/// Files that people write are shorter.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What must not be in an export.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Regex>);

impl Patterns {
    /// Reads a file of regular expressions, one a line; a line that begins with `#` is a remark.
    ///
    /// # Errors
    /// It cannot be read, a line is no pattern, or matches nothing at all, or there is none.
    pub(super) fn read(file: &Path) -> Result<Self, CliError> {
        let unread = || CliError::usage(format!("cannot read the patterns in `{}`", file.display()));
        let bytes = crate::durable::read_plain(file, FILE_BYTES_MAX).map_err(|error| unread().because(&error))?;
        let text = String::from_utf8(bytes).map_err(|error| unread().because(&error))?;
        Self::parse(&text).map_err(|why| CliError::usage(format!("`{}`: {why}", file.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut patterns = Vec::new();
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        for (number, line) in lines {
            let pattern = RegexBuilder::new(line).size_limit(PROGRAM_BYTES_MAX).nest_limit(NEST_MAX).build();
            let pattern = pattern.map_err(|error| format!("line {number} is no pattern: {error}"))?;
            if pattern.is_match("") {
                return Err(format!("line {number} matches nothing at all, and so everywhere"));
            }
            patterns.push(pattern);
        }
        if patterns.is_empty() { Err("there is no pattern in it".to_owned()) } else { Ok(Self(patterns)) }
    }

    pub(super) fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, pattern| pattern.replace_all(&text, REDACTED).into_owned())
    }

    /// Where in a stream's bytes something must be left out: in order, and apart from each other.
    fn places(&self, bytes: &[u8]) -> Vec<Place> {
        let mut found = Vec::new();
        for text in [Printed::of(bytes), Printed::whole(bytes)] {
            for part in self.0.iter().flat_map(|pattern| pattern.find_iter(&text.text)) {
                let places = text.places(&part.range());
                found.extend(places.into_iter().enumerate().map(|(nth, range)| Place { range, begins: nth == 0 }));
            }
        }
        found.sort_by_key(|place| (place.range.start, !place.begins));
        let mut apart: Vec<Place> = Vec::new();
        for place in found {
            match apart.last_mut() {
                Some(last) if place.range.start < last.range.end => {
                    last.range.end = last.range.end.max(place.range.end);
                }
                Some(_) | None => apart.push(place),
            }
        }
        apart
    }
}

/// What is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Its bytes in the stream.
    range: Range<usize>,
    /// Whether the word for it stands here: what one match has in several places is one.
    begins: bool,
}

/// A channel without what patterns match.
pub struct Redacted<'a> {
    channel: &'a dyn RecordedChannel,
    patterns: &'a Patterns,
    header: Header,
    /// Of what the user sent, of standard output and of standard error.
    streams: [Vec<Place>; 3],
}

impl<'a> Redacted<'a> {
    /// Reads the channel once, to find what is to be left out of it.
    pub fn new(channel: &'a dyn RecordedChannel, patterns: &'a Patterns) -> Self {
        let mut streams: [Vec<u8>; 3] = Default::default();
        for timed in channel.entries().flatten() {
            if let Some((direction, bytes)) = stream(&timed.entry)
                && let Some(all) = streams.get_mut(index(direction))
            {
                all.extend_from_slice(bytes);
            }
        }
        let streams = streams.map(|bytes| patterns.places(&bytes));
        Self { channel, patterns, header: redacted_header(channel.header(), patterns), streams }
    }

    /// How many places are left out of the streams.
    fn count(&self) -> usize {
        self.streams.iter().flatten().filter(|place| place.begins).count()
    }

    fn entry(&self, entry: Entry, read: &mut [usize; 3]) -> Option<Entry> {
        Some(match entry {
            Entry::Output { output, bytes } => {
                let direction = match output {
                    Output::Stdout => Direction::Stdout,
                    Output::Stderr => Direction::Stderr,
                };
                Entry::Output { output, bytes: self.bytes(direction, bytes, read)? }
            }
            Entry::Input(bytes) => Entry::Input(self.bytes(Direction::Stdin, bytes, read)?),
            Entry::Marker(text) => Entry::Marker(self.patterns.text(&text)),
            Entry::Redacted | Entry::Resize { .. } | Entry::Digest(_) | Entry::Exit(_) => entry,
            // What a picture shows cannot be taken out of it by a pattern.
            Entry::Record { .. } => return None,
        })
    }

    /// The bytes of one entry, if any are left of it.
    fn bytes(&self, direction: Direction, bytes: Bytes, read: &mut [usize; 3]) -> Option<Bytes> {
        let (places, read) = (self.streams.get(index(direction))?, read.get_mut(index(direction))?);
        let begin = *read;
        let end = begin.saturating_add(bytes.len());
        *read = end;
        let first = places.partition_point(|place| place.range.end <= begin);
        let mut kept = Vec::new();
        let mut at = begin;
        for place in places.iter().skip(first).take_while(|place| place.range.start < end) {
            let from = place.range.start.max(begin);
            kept.extend_from_slice(bytes.get(at.saturating_sub(begin)..from.saturating_sub(begin)).unwrap_or_default());
            if place.begins && place.range.start >= begin {
                kept.extend_from_slice(REDACTED.as_bytes());
            }
            at = place.range.end.min(end);
        }
        if at == begin {
            return Some(bytes);
        }
        kept.extend_from_slice(bytes.get(at.saturating_sub(begin)..).unwrap_or_default());
        (!kept.is_empty()).then(|| kept.into())
    }
}

impl RecordedChannel for Redacted<'_> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn entries(&self) -> Entries<'_> {
        let mut read = [0; 3];
        let notice = format!("{} of this channel left out of the export", counted(self.count(), "place"));
        let at = std::time::Duration::from_millis(self.header.doorward.t0);
        let notice = Timed { at, entry: Entry::Marker(format!("doorward: {notice}: {REDACTED}")) };
        let rest = self.channel.entries().filter_map(move |item: Result<Timed, StoreError>| match item {
            Ok(Timed { at, entry }) => self.entry(entry, &mut read).map(|entry| Ok(Timed { at, entry })),
            Err(error) => Some(Err(error)),
        });
        Box::new(std::iter::once(Ok(notice)).chain(rest))
    }

    fn length(&self) -> Option<std::time::Duration> {
        self.channel.length()
    }

    fn end(&self) -> &End {
        self.channel.end()
    }
}

/// The words of a header that came from people.
fn redacted_header(header: &Header, patterns: &Patterns) -> Header {
    let mut header = header.clone();
    let text = |text: &mut Option<String>| {
        let new = text.as_deref().map(|text| patterns.text(text));
        std::mem::replace(text, new.clone()) != new
    };
    text(&mut header.title);
    text(&mut header.doorward.reason);
    text(&mut header.doorward.forward);
    if text(&mut header.command) {
        // The same line, as it was.
        header.doorward.command_base64 = None;
    }
    for value in header.env.values_mut() {
        *value = patterns.text(value);
    }
    header
}

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

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Stdin => 0,
        Direction::Stdout => 1,
        Direction::Stderr => 2,
    }
}

#[cfg(test)]
mod tests;
