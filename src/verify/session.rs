//! One session: what the log says of it, against what is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::files::{self, FileError};
use super::leaf::{Seal, Sha256, bytes};
use super::report::{Finding, Findings};
use super::segment::{CHUNK_BYTES, Scanned, scan, sha256, tail_sha256};
use crate::model::{ChannelNumber, SessionId};
use crate::seal::{Head, ScanEnd, Stream};
use crate::store::{
    Closed, ClosedChannel, Gap, Opening, Recovered, RecoveredChannel, SCANNED_BYTES_MAX, Seen, SeenSeal,
};

/// `opened.json`, `closed.json` and `recovered.json` are far smaller.
pub(super) const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What an interrupted write leaves of them.
const LEFTOVERS: [&str; 3] = ["opened.json.new", "closed.json.new", "recovered.json.new"];

/// What the log says of a session.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) start: Option<Start>,
    pub(super) ending: Option<Ending>,
    /// By channel and number.
    pub(super) segments: BTreeMap<(u32, u32), SegmentFacts>,
    /// The leaf that says that `closed.json` could not be written.
    pub(super) unclosed: Option<u64>,
}

/// How it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) opened: Sha256,
    pub(super) recipients: [u8; 8],
    /// The hash of the policy set by which it was let in.
    pub(super) policy: Sha256,
}

/// How it ended: the leaf's number, and the hash of the file that says so.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Closed(u64, Sha256),
    Recovered(u64, Sha256),
}

/// What the log says of a segment.
#[derive(Debug, Default)]
pub(super) struct SegmentFacts {
    pub(super) seal: Option<Seal>,
    /// What of it is good, if it was given up.
    pub(super) good: Option<Seal>,
    /// Its heads after so many data records.
    pub(super) heads: Vec<(u64, Head)>,
}

impl Facts {
    pub(super) fn segment(&mut self, channel: u32, segment: u32) -> &mut SegmentFacts {
        self.segments.entry((channel, segment)).or_default()
    }

    /// A leaf says that a segment ended.
    ///
    /// # Errors
    /// What another leaf says against it.
    pub(super) fn sealed(&mut self, channel: u32, segment: u32, seal: Seal) -> Result<(), String> {
        let facts = self.segment(channel, segment);
        if facts.good.is_some() || facts.seal.is_some_and(|before| before != seal) {
            return Err(format!("it ends segment {segment} of channel {channel} another way than a leaf before"));
        }
        facts.seal = Some(seal);
        Ok(())
    }

    /// A leaf says that a segment was given up. That is on record before there is a next one: later it would excuse what
    /// somebody cut off.
    ///
    /// # Errors
    /// What another leaf says against it.
    pub(super) fn given_up(&mut self, channel: u32, segment: u32, good: Seal) -> Result<(), String> {
        let next = (channel, segment.saturating_add(1));
        if self.segments.range(next..=(channel, u32::MAX)).next().is_some_and(|((_, of), _)| *of != segment) {
            return Err(format!("it gives up segment {segment} of channel {channel}, which others followed by then"));
        }
        let facts = self.segment(channel, segment);
        if facts.seal.is_some() || facts.good.is_some_and(|before| before != good) {
            return Err(format!(
                "it gives up segment {segment} of channel {channel}, of which a leaf before it says else"
            ));
        }
        facts.good = Some(good);
        Ok(())
    }
}

/// What came of judging a session's files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What is wrong.
    pub(super) findings: Findings,
    /// Nothing is there.
    pub(super) absent: bool,
    /// What could not be read, and may be as it was.
    pub(super) unreadable: Findings,
    /// Why it is interrupted.
    pub(super) interrupted: Vec<String>,
    /// What else is to be known.
    pub(super) notes: Vec<String>,
}

/// What lies in a session's directory, by name.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: BTreeSet<String>,
    channels: BTreeMap<u32, BTreeSet<u32>>,
    leftovers: Vec<String>,
    /// What none of our files has for a name.
    foreign: Vec<String>,
}

impl Listing {
    pub(super) fn read(directory: &Path) -> Result<Self, FileError> {
        let mut listing = Self::default();
        for (name, kind) in files::list(directory)? {
            let name = name.to_string_lossy().into_owned();
            let channel = name.parse::<u32>().ok().filter(|number| number.to_string() == name);
            match channel {
                Some(channel) if kind.is_dir() => listing.channel(directory, channel)?,
                _ if LEFTOVERS.contains(&name.as_str()) => listing.leftovers.push(name),
                _ if ["opened.json", "closed.json", "recovered.json"].contains(&name.as_str()) => {
                    listing.files.insert(name);
                }
                _ => listing.foreign.push(name),
            }
        }
        Ok(listing)
    }

    fn channel(&mut self, directory: &Path, channel: u32) -> Result<(), FileError> {
        let mut segments = BTreeSet::new();
        for (name, _) in files::list(&directory.join(channel.to_string()))? {
            let name = name.to_string_lossy().into_owned();
            let number = name.strip_suffix(".seg").and_then(|stem| stem.parse::<u32>().ok());
            match number.filter(|number| segment_name(*number) == name) {
                Some(number) => drop(segments.insert(number)),
                None => self.foreign.push(format!("{channel}/{name}")),
            }
        }
        self.channels.insert(channel, segments);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.channels.is_empty() && self.leftovers.is_empty() && self.foreign.is_empty()
    }

    /// Whether there is nothing but what is made before the log is told of a session.
    pub(super) fn never_began(&self) -> bool {
        let only = |name: &String| name == "opened.json" || name == "recovered.json";
        self.foreign.is_empty()
            && self.files.iter().all(only)
            && self.channels.iter().all(|(channel, segments)| *channel == 0 && segments.iter().all(|n| *n == 0))
    }
}

fn segment_name(number: u32) -> String {
    format!("{number:06}.seg")
}

/// Judges the files of a session. `place` is its directory as reports name it.
pub(super) fn judge(session: &SessionId, directory: &Path, place: &str, facts: Facts, chunk: &mut [u8]) -> Outcome {
    let mut judge = Judge { session, directory, place, facts, chunk, outcome: Outcome::default() };
    match Listing::read(directory) {
        Ok(listing) if listing.is_empty() => judge.outcome.absent = true,
        Ok(listing) => judge.run(&listing),
        Err(error) => judge.file_error("", &error),
    }
    judge.outcome
}

struct Judge<'a> {
    session: &'a SessionId,
    directory: &'a Path,
    place: &'a str,
    /// INVARIANT: what was met on disk is taken out of `segments`.
    facts: Facts,
    chunk: &'a mut [u8],
    outcome: Outcome,
}

/// How the last segment of a channel must end.
#[derive(Clone, Copy)]
enum Last<'a> {
    /// As `closed.json` says.
    Closed(&'a ClosedChannel),
    /// As `recovered.json` says.
    Recovered(&'a RecoveredChannel),
    /// Nobody has said it yet.
    Open,
}

impl Judge<'_> {
    fn run(&mut self, listing: &Listing) {
        self.opened();
        for name in &listing.leftovers {
            self.outcome.notes.push(format!("`{name}` is what an interrupted write left, and was not looked at"));
        }
        for name in &listing.foreign {
            self.found(name, None, "it is not a part of the recording");
        }
        match self.facts.ending {
            Some(Ending::Closed(..)) if self.facts.unclosed.is_some() && !listing.files.contains("closed.json") => {
                self.only_ending(listing, "");
                let why = "`closed.json` could not be written when it ended; the next start of the bastion closes it";
                self.outcome.interrupted.push(String::from(why));
                self.open(listing);
            }
            Some(Ending::Closed(leaf, hash)) => {
                self.only_ending(listing, "closed.json");
                if let Some(closed) = self.ending::<Closed>("closed.json", leaf, &hash) {
                    self.closed(listing, &closed);
                }
            }
            Some(Ending::Recovered(leaf, hash)) => {
                self.only_ending(listing, "recovered.json");
                self.outcome.interrupted.push(String::from("the bastion stopped while it ran"));
                if let Some(recovered) = self.ending::<Recovered>("recovered.json", leaf, &hash) {
                    self.recovered(listing, &recovered);
                }
            }
            None => {
                self.only_ending(listing, "");
                self.outcome
                    .interrupted
                    .push(String::from("it is live, or the bastion stopped and was not started since"));
                self.open(listing);
            }
        }
        for ((channel, segment), facts) in std::mem::take(&mut self.facts.segments) {
            let place = self.place_of(&format!("{channel}/{}", segment_name(segment)));
            // What is there is told from what is not: something may be gone rightly, nothing may be another.
            match late_fault(self.directory, channel, segment, &facts, self.chunk) {
                Ok(Some((offset, why))) => self.outcome.findings.push(Finding { place, offset, why, absence: false }),
                Err(error @ (FileError::NotAFile | FileError::NotADirectory | FileError::TooLong { .. })) => {
                    self.outcome.findings.add(place, error.to_string());
                }
                Ok(None) | Err(FileError::Absent | FileError::Io(_)) => {
                    let why = "it is missing, or the segments before it are not what was recorded";
                    self.outcome.findings.add_absence(place, why);
                }
            }
        }
    }

    fn found(&mut self, name: &str, offset: Option<u64>, why: impl Into<String>) {
        let place = self.place_of(name);
        self.outcome.findings.push(Finding { place, offset, why: why.into(), absence: false });
    }

    fn absent(&mut self, name: &str, why: impl Into<String>) {
        let place = self.place_of(name);
        self.outcome.findings.add_absence(place, why);
    }

    fn place_of(&self, name: &str) -> String {
        if name.is_empty() { self.place.to_owned() } else { format!("{}/{name}", self.place) }
    }

    fn file_error(&mut self, name: &str, error: &FileError) {
        if error.is_unreadable() {
            let place = self.place_of(name);
            self.outcome.unreadable.add(place, error.to_string());
        } else if let FileError::Absent = error {
            self.absent(name, error.to_string());
        } else {
            self.found(name, None, error.to_string());
        }
    }

    /// Reads a file that must have that hash.
    fn hashed(&mut self, name: &str, hash: &Sha256) -> Option<Vec<u8>> {
        match files::read(&self.directory.join(name), JSON_BYTES_MAX) {
            Ok(bytes) if sha256(&bytes) == *hash => Some(bytes),
            Ok(_) => {
                self.found(name, None, "it does not have the hash that the log has");
                None
            }
            Err(error) => {
                self.file_error(name, &error);
                None
            }
        }
    }

    fn parsed<T: DeserializeOwned>(&mut self, name: &str, bytes: &[u8]) -> Option<T> {
        match serde_json::from_slice(bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                let offset = offset_of(bytes, error.line(), error.column());
                self.found(name, Some(offset), format!("it is not what this version of Doorward writes: {error}"));
                None
            }
        }
    }

    fn opened(&mut self) {
        let Some(start) = self.facts.start else { return };
        let Some(text) = self.hashed("opened.json", &start.opened) else { return };
        let Some(opening) = self.parsed::<Opening>("opened.json", &text) else { return };
        if self.own("opened.json", &opening.session, opening.format) && bytes(&opening.policy) != Ok(start.policy) {
            self.found("opened.json", None, "it names another policy set than the log");
        }
    }

    /// Tells whether a file is of this session and of the format that is read.
    fn own(&mut self, name: &str, session: &SessionId, format: u32) -> bool {
        if format != Opening::FORMAT {
            self.found(name, None, format!("its format {format} is not known"));
        } else if session != self.session {
            self.found(name, None, "it is of another session");
        } else {
            return true;
        }
        false
    }

    /// Only the file that the log speaks of may say how the session ended.
    fn only_ending(&mut self, listing: &Listing, named: &str) {
        for name in ["closed.json", "recovered.json"] {
            if name != named && listing.files.contains(name) {
                self.found(name, None, "the log has no trace of it");
            }
        }
    }

    fn ending<T: DeserializeOwned>(&mut self, name: &str, leaf: u64, hash: &Sha256) -> Option<T> {
        if let Err(FileError::Absent) = files::open(&self.directory.join(name)) {
            let why = format!(
                "it is missing, and leaf {leaf} says that it was written (if the bastion stopped in that very moment, \
                 its next start writes it)"
            );
            self.absent(name, why);
            return None;
        }
        let bytes = self.hashed(name, hash)?;
        self.parsed(name, &bytes)
    }

    fn closed(&mut self, listing: &Listing, closed: &Closed) {
        if !self.own("closed.json", &closed.session, closed.format) {
            return;
        }
        let numbers: BTreeSet<u32> = closed.channels.iter().map(|channel| channel.number.0).collect();
        if numbers.len() != closed.channels.len() {
            self.found("closed.json", None, "it has a channel twice");
        }
        for channel in &closed.channels {
            if let Some(failure) = &channel.failure {
                self.outcome.interrupted.push(format!("the recording of channel {} failed: {failure}", channel.number));
            }
            for Gap { from_ms, lasted_ms, why } in &channel.gaps {
                let words = format!(
                    "channel {} was not recorded for {:.1} s from {:.1} s on: {why}",
                    channel.number,
                    Duration::from_millis(*lasted_ms).as_secs_f64(),
                    Duration::from_millis(*from_ms).as_secs_f64()
                );
                self.outcome.interrupted.push(words);
            }
            let mut present = listing.channels.get(&channel.number.0).cloned().unwrap_or_default();
            if channel.failure.is_some() && present.remove(&channel.segments) {
                let name = format!("{}/{}", channel.number, segment_name(channel.segments));
                self.outcome.notes.push(format!("`{name}` was made when the recording failed, and was not looked at"));
            }
            self.extra(channel.number.0, &present, channel.segments);
            self.channel(channel.number.0, channel.segments, Last::Closed(channel));
        }
        let failed = closed.channels.iter().any(|channel| channel.failure.is_some());
        for (channel, segments) in listing.channels.iter().filter(|(channel, _)| !numbers.contains(*channel)) {
            if failed && self.is_stub(*channel, segments) {
                let why = format!("channel {channel} was never opened: its record could not be made");
                self.outcome.interrupted.push(why);
            } else {
                self.found(&channel.to_string(), None, "the channel is not a part of the recording");
            }
        }
    }

    fn recovered(&mut self, listing: &Listing, recovered: &Recovered) {
        if !self.own("recovered.json", &recovered.session, recovered.format) {
            return;
        }
        let numbers: BTreeSet<u32> = recovered.channels.iter().map(|channel| channel.number.0).collect();
        if numbers.len() != recovered.channels.len() {
            self.found("recovered.json", None, "it has a channel twice");
        }
        for channel in &recovered.channels {
            let number = channel.number.0;
            if let Some(Err(why)) = channel.seen.as_ref().map(|seen| self.demand(number, seen)) {
                self.found("recovered.json", None, why);
            }
            let Some(present) = listing.channels.get(&number) else {
                self.absent(&number.to_string(), "the channel's directory is missing");
                continue;
            };
            if let Some(damage) = &channel.damage {
                self.outcome.notes.push(format!("channel {number} was found damaged after the crash: {damage}"));
            }
            self.extra(number, present, channel.segments);
            self.channel(number, channel.segments, Last::Recovered(channel));
        }
        self.outcome.notes.push(vouched(recovered));
        for channel in listing.channels.keys().filter(|channel| !numbers.contains(*channel)) {
            self.found(&channel.to_string(), None, "the channel is not a part of the recording");
        }
    }

    /// Adds to what the log says what it said by the word of `recovered.json`: whoever shows us the log's leaves may
    /// have left some out.
    fn demand(&mut self, channel: u32, seen: &Seen) -> Result<(), String> {
        let head = Head(bytes(&seen.head)?);
        let facts = self.facts.segments.entry((channel, seen.segment)).or_default();
        match &seen.sealed {
            None => facts.heads.push((seen.records, head)),
            Some(SeenSeal { bytes: len, prev_head }) => {
                let prev_head = Head(bytes(prev_head)?);
                let seal = Seal { bytes: *len, records: seen.records, prev_head, head };
                if facts.seal.is_some_and(|leaf| leaf != seal) {
                    return Err(format!("it says otherwise than the log how segment {} was sealed", seen.segment));
                }
                facts.seal = Some(seal);
            }
        }
        Ok(())
    }

    fn open(&mut self, listing: &Listing) {
        for (channel, segments) in &listing.channels {
            let count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
            self.extra(*channel, segments, count);
            self.channel(*channel, count, Last::Open);
        }
    }

    fn extra(&mut self, channel: u32, present: &BTreeSet<u32>, count: u32) {
        for segment in present.iter().filter(|segment| **segment >= count) {
            self.found(&format!("{channel}/{}", segment_name(*segment)), None, "it is not a part of the recording");
        }
    }

    /// Whether a channel that `closed.json` does not have is what is left of one that could not be made: it has a header
    /// at most. That is so only where others failed as well; else the recorder takes it away.
    fn is_stub(&mut self, channel: u32, segments: &BTreeSet<u32>) -> bool {
        let named = self.facts.segments.keys().any(|(of, _)| *of == channel);
        let only_first = segments.iter().all(|segment| *segment == 0);
        let short = segments.is_empty()
            || only_first
                && self.scanned(channel, 0, &[], None).is_some_and(|scanned| {
                    scanned.records <= 1 && scanned.end.is_ok() && self.header_fault(channel, 0, &scanned).is_none()
                });
        short && !named
    }

    /// Judges a channel of `count` segments.
    fn channel(&mut self, channel: u32, count: u32, last: Last<'_>) {
        let mut before = Head::NONE;
        let mut before_records = 0;
        for segment in 0..count {
            let name = format!("{channel}/{}", segment_name(segment));
            let facts = self.facts.segments.remove(&(channel, segment)).unwrap_or_default();
            let SegmentFacts { seal, good, mut heads } = facts;
            let is_last = segment.checked_add(1) == Some(count);
            if let Some(good) = good {
                if !is_last {
                    if !self.given_up(channel, segment, &good, heads, &before) {
                        return;
                    }
                    (before, before_records) = (good.head, if good.bytes > 0 { good.records } else { before_records });
                    continue;
                }
                heads.extend((good.bytes > 0).then_some((good.records, good.head)));
            }
            if is_last && let Last::Closed(closed) = last {
                match failed_at(closed, before_records, &before) {
                    // One that failed and was sealed all the same ends as its seal says, behind the end record.
                    Ok(head) => {
                        heads.extend(head.filter(|(_, head)| seal.as_ref().is_none_or(|seal| seal.head != *head)))
                    }
                    Err(why) => return self.found("closed.json", None, why),
                }
            }
            heads.sort_unstable_by_key(|(records, _)| *records);
            let most = seal.as_ref().map(|seal| seal.bytes);
            let Some(scanned) = self.scanned(channel, segment, &heads, most) else { return };
            let faults = [
                self.header_fault(channel, segment, &scanned),
                chain_fault(&scanned, &before),
                heads_fault(&scanned),
                seal.as_ref().and_then(|seal| seal_fault(seal, &scanned)),
                if is_last {
                    last_fault(last, seal.is_some(), &scanned)
                } else {
                    middle_fault(last, seal.is_some(), &scanned)
                },
            ];
            let fault = faults.into_iter().flatten().next();
            if let Some((offset, why)) = fault {
                return self.found(&name, offset, why);
            }
            before = scanned.head;
            before_records = scanned.data_records;
            if is_last && let Last::Recovered(recovered) = last {
                self.tail(&name, recovered);
            }
        }
        self.no_segment(channel, count, last);
    }

    /// Judges a segment that was given up and that another follows: it is good as far as the log says, and what stands
    /// behind that is not a part of the recording and not looked at. `false` if it is not.
    fn given_up(
        &mut self,
        channel: u32,
        segment: u32,
        good: &Seal,
        mut heads: Vec<(u64, Head)>,
        before: &Head,
    ) -> bool {
        let name = format!("{channel}/{}", segment_name(segment));
        let fault = if good.bytes == 0 {
            let fits = (good.records, good.prev_head, good.head) == (0, *before, *before) && heads.is_empty();
            (!fits).then(|| (None, String::from("nothing of it counts, and the log has more of it")))
        } else {
            heads.push((good.records, good.head));
            heads.sort_unstable_by_key(|(records, _)| *records);
            let Some(scanned) = self.scanned(channel, segment, &heads, Some(good.bytes)) else { return false };
            let faults = [
                self.header_fault(channel, segment, &scanned),
                chain_fault(&scanned, before),
                heads_fault(&scanned),
                good_fault(good, &scanned),
            ];
            faults.into_iter().flatten().next()
        };
        if let Some((offset, why)) = fault {
            self.found(&name, offset, why);
            return false;
        }
        self.outcome.notes.push(format!(
            "`{name}` was given up at byte {} after an I/O error, and what follows it there is not looked at: the \
             recording goes on in `{channel}/{}`",
            good.bytes,
            segment_name(segment.saturating_add(1))
        ));
        true
    }

    /// A channel may have no segment, if the bastion stopped while it was made.
    fn no_segment(&mut self, channel: u32, count: u32, last: Last<'_>) {
        let fits = match last {
            Last::Closed(_) => false,
            Last::Recovered(recovered) => recovered.len == 0 && recovered.records == 0,
            Last::Open => true,
        };
        if count == 0 && !fits {
            self.absent(&channel.to_string(), "the channel has no segment");
        }
    }

    fn scanned(&mut self, channel: u32, segment: u32, heads: &[(u64, Head)], most: Option<u64>) -> Option<Scanned> {
        let name = format!("{channel}/{}", segment_name(segment));
        let opened = files::open(&self.directory.join(&name));
        match opened.and_then(|mut file| scan(&mut file, heads, most, self.chunk).map_err(FileError::Io)) {
            Ok(scanned) => Some(scanned),
            Err(error) => {
                self.file_error(&name, &error);
                None
            }
        }
    }

    fn header_fault(&self, channel: u32, segment: u32, scanned: &Scanned) -> Option<Fault> {
        let header = scanned.header.as_ref()?;
        let recipients = self.facts.start.map(|start| start.recipients);
        let stream = match header.stream {
            Stream::Cast3 => true,
            Stream::Rdp1 => channel != 0,
        };
        let own = stream && Some(header.session) == self.session.to_bytes() && header.channel == ChannelNumber(channel);
        if !own {
            return Some((Some(0), String::from("it is of another session or channel")));
        }
        if header.segment != segment {
            return Some((Some(0), format!("it is segment {} in the place of {segment}", header.segment)));
        }
        if recipients.is_some_and(|recipients| recipients != header.recipients_digest) {
            return Some((Some(0), String::from("it is sealed for others than the log says")));
        }
        None
    }

    /// What a crash left behind the last whole record must still be that.
    fn tail(&mut self, name: &str, recovered: &RecoveredChannel) {
        let hash = files::open(&self.directory.join(name))
            .and_then(|mut file| tail_sha256(&mut file, recovered.valid_len, self.chunk).map_err(FileError::Io));
        match (hash, bytes(&recovered.tail_sha256)) {
            (Ok(found), Ok(expected)) if found == expected => {}
            (Ok(_), _) => {
                let why = "what follows is not what the start after the crash found";
                self.found(name, Some(recovered.valid_len), why);
            }
            (Err(error), _) => self.file_error(name, &error),
        }
    }
}

/// From which byte on, and what is wrong.
type Fault = (Option<u64>, String);

fn chain_fault(scanned: &Scanned, before: &Head) -> Option<Fault> {
    let header = scanned.header.as_ref()?;
    (header.prev_head != *before).then(|| (Some(0), String::from("it does not follow the segment before it")))
}

fn heads_fault(scanned: &Scanned) -> Option<Fault> {
    let records = scanned.unmet?;
    let why = if scanned.data_records < records {
        format!("it was cut: the log saw {records} records, and there are {}", scanned.data_records)
    } else {
        format!("its first {records} records are not those that the log saw")
    };
    Some((Some(scanned.valid_len).filter(|_| scanned.data_records < records), why))
}

fn seal_fault(seal: &Seal, scanned: &Scanned) -> Option<Fault> {
    if let Err(altered) = scanned.end {
        return Some((Some(altered.offset), altered.fault.to_string()));
    }
    if scanned.len > seal.bytes {
        let why = format!("it has {} bytes, and was sealed with {}", scanned.len, seal.bytes);
        return Some((Some(seal.bytes), why));
    }
    if scanned.end != Ok(ScanEnd::Complete) {
        return Some((Some(scanned.valid_len), String::from("it was cut: its end is missing")));
    }
    let prev_head = scanned.header.as_ref().map(|header| header.prev_head);
    let found = (scanned.len, scanned.data_records, prev_head, scanned.head);
    let fits = found == (seal.bytes, seal.records, Some(seal.prev_head), seal.head);
    (!fits).then(|| (None, String::from("it is not the segment that the log has")))
}

/// What is wrong with the good part of a segment that was given up.
fn good_fault(good: &Seal, scanned: &Scanned) -> Option<Fault> {
    if let Err(altered) = scanned.end {
        return Some((Some(altered.offset), altered.fault.to_string()));
    }
    if scanned.valid_len < good.bytes {
        let why = format!("it was cut: the log saw {} bytes", good.bytes);
        return Some((Some(scanned.valid_len), why));
    }
    let prev_head = scanned.header.as_ref().map(|header| header.prev_head);
    let found = (scanned.end, scanned.valid_len, scanned.data_records, prev_head, scanned.head);
    let fits = found == (Ok(ScanEnd::Open), good.bytes, good.records, Some(good.prev_head), good.head);
    (!fits).then(|| (None, String::from("it is not the segment that the log gives up")))
}

/// What is wrong with a segment that another follows, or that was closed.
fn middle_fault(last: Last<'_>, sealed: bool, scanned: &Scanned) -> Option<Fault> {
    match scanned.end {
        Err(altered) => return Some((Some(altered.offset), altered.fault.to_string())),
        Ok(ScanEnd::Complete) => {}
        Ok(ScanEnd::Open | ScanEnd::Torn { .. }) => {
            return Some((Some(scanned.valid_len), String::from("it was cut: its end is missing")));
        }
    }
    match last {
        Last::Closed(channel) if !sealed && channel.failure.is_none() => {
            Some((None, String::from("the log has no trace of it")))
        }
        // Its leaf may not have come before the crash: the chain holds it.
        Last::Closed(_) | Last::Recovered(_) | Last::Open => None,
    }
}

/// What is wrong with the last segment of a channel.
fn last_fault(last: Last<'_>, sealed: bool, scanned: &Scanned) -> Option<Fault> {
    match last {
        // It is good as far as the head that was expected; nobody vouches for what follows, and nobody saw it.
        Last::Closed(channel) if channel.failure.is_some() => None,
        Last::Closed(channel) => middle_fault(last, sealed, scanned).or_else(|| closed_fault(channel, scanned)),
        Last::Recovered(recovered) => {
            let RecoveredChannel { len, valid_len, records, head, .. } = recovered;
            let fits = (*len, *valid_len, *records) == (scanned.len, scanned.valid_len, scanned.records)
                && *head == scanned.head.to_string();
            (!fits).then(|| (Some(scanned.valid_len), String::from("it does not end as `recovered.json` says")))
        }
        Last::Open if scanned.len > SCANNED_BYTES_MAX => {
            Some((Some(scanned.valid_len), format!("it has {} bytes, more than any segment", scanned.len)))
        }
        Last::Open => scanned.end.err().map(|altered| (Some(altered.offset), altered.fault.to_string())),
    }
}

fn closed_fault(channel: &ClosedChannel, scanned: &Scanned) -> Option<Fault> {
    let fits = channel.head == scanned.head.to_string() && channel.records == scanned.data_records;
    (!fits).then(|| (None, String::from("it does not end as `closed.json` says")))
}

/// Where a channel that failed must have been, in its last segment; `None` if it did not fail, or had failed before
/// anything of that segment was durable.
fn failed_at(channel: &ClosedChannel, before_records: u64, before: &Head) -> Result<Option<(u64, Head)>, String> {
    if channel.failure.is_none() {
        return Ok(None);
    }
    let head = Head(bytes(&channel.head)?);
    let was_before = channel.records == before_records && head == *before;
    Ok((!was_before).then_some((channel.records, head)))
}

/// What of an interrupted recording the log had seen before the crash, in words: nothing shows whether more was there.
fn vouched(recovered: &Recovered) -> String {
    let seen = recovered.channels.iter().filter_map(|channel| {
        let Seen { segment, records, sealed, .. } = channel.seen.as_ref()?;
        let whole = if sealed.is_some() { ", which is whole," } else { "" };
        Some(format!("of channel {} to record {records} of segment {segment}{whole}", channel.number))
    });
    let seen: Vec<String> = seen.collect();
    let seen = if seen.is_empty() { String::from("nothing") } else { seen.join(", ") };
    format!(
        "the log saw {seen} before the bastion stopped; what was cut off behind that before the next start, nothing shows"
    )
}

/// Where a line and column are, which are counted from 1.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> u64 {
    let before: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    u64::try_from(before.saturating_add(column.saturating_sub(1))).unwrap_or(u64::MAX)
}

/// Checks what the log said of a session after its end against its files.
pub(super) fn judge_late(directory: &Path, place: &str, late: &BTreeMap<(u32, u32), SegmentFacts>) -> Findings {
    let mut findings = Findings::default();
    let mut chunk = if late.is_empty() { Vec::new() } else { vec![0; CHUNK_BYTES] };
    for ((channel, segment), facts) in late {
        let fault = late_fault(directory, *channel, *segment, facts, &mut chunk);
        if let Some((offset, why)) = fault.unwrap_or_else(|error| Some((None, error.to_string()))) {
            let place = format!("{place}/{channel}/{}", segment_name(*segment));
            findings.push(Finding { place, offset, why, absence: false });
        }
    }
    findings
}

/// What is wrong with a segment by itself, whatever the segments before it are.
fn late_fault(
    directory: &Path,
    channel: u32,
    segment: u32,
    facts: &SegmentFacts,
    chunk: &mut [u8],
) -> Result<Option<Fault>, FileError> {
    let mut file = files::open(&directory.join(format!("{channel}/{}", segment_name(segment))))?;
    let mut heads = facts.heads.clone();
    heads.sort_unstable_by_key(|(records, _)| *records);
    let most = facts.seal.as_ref().map(|seal| seal.bytes);
    let scanned = scan(&mut file, &heads, most, chunk).map_err(FileError::Io)?;
    Ok(heads_fault(&scanned).or_else(|| facts.seal.as_ref().and_then(|seal| seal_fault(seal, &scanned))))
}

/// The directory of a session as reports name it: from the state directory on.
pub(super) fn place_of(store: &Path, directory: &Path) -> String {
    directory.strip_prefix(store).map_or_else(|_| directory.to_owned(), PathBuf::from).display().to_string()
}
