//! One session against what the log says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::book::{End, Seal, Start, Told};
use super::files::{self, Scanned, Session};
use super::{SessionReport, Settings, Verdict};
use crate::model::{ChannelNumber, SessionId};
use crate::seal::{Head, ScanEnd};
use crate::store::{
    Catalog, Closed, ClosedChannel, Opening, PlainRecording, Recovered, RecoveredChannel, StoreRoot, describe, hex,
    sha256_hex, tail_sha256,
};

/// `closed.json` and `recovered.json` are far shorter.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So many notes are kept of one session.
const NOTES_MAX: usize = 50;

/// Judges one session by what the log says and what is there.
pub(super) fn judge(
    settings: &Settings,
    id: &SessionId,
    told: Option<&Told>,
    there: Option<&Session>,
    read: &mut dyn FnMut(u64),
) -> SessionReport {
    let mut judge = Judge { id, settings, verdict: Verdict::OkUnanchored, notes: Vec::new(), read };
    match (told.and_then(|told| Some((told, told.start.as_ref()?))), there) {
        (Some((told, start)), Some(there)) => judge.compare(told, start, there),
        (Some((told, _)), None) => match told.removed {
            Some(entry) => judge.note(Verdict::Expired, format!("removed, by entry {entry} of the log")),
            None => {
                judge.note(Verdict::Missing, String::from("the log says that it began, and there is nothing of it"))
            }
        },
        (None, Some(there)) => judge.unknown(there),
        (None, None) => judge.note(Verdict::Missing, String::from("neither the log nor the store has its beginning")),
    }
    let Judge { verdict, notes, .. } = judge;
    SessionReport { session: id.clone(), verdict, notes }
}

struct Judge<'a> {
    id: &'a SessionId,
    settings: &'a Settings,
    verdict: Verdict,
    notes: Vec<String>,
    read: &'a mut dyn FnMut(u64),
}

/// How a channel's last segment must end.
enum Last<'a> {
    /// With an end record, and this head.
    Complete(&'a str),
    /// The recording of the channel failed: at least so many records, with this head.
    Failed(u64, &'a str),
    /// As a start after a crash found it.
    Recovered(&'a RecoveredChannel),
    /// It is not known.
    Open,
}

impl Judge<'_> {
    fn note(&mut self, verdict: Verdict, why: String) {
        self.verdict = self.verdict.max(verdict);
        if self.notes.len() < NOTES_MAX {
            self.notes.push(why);
        }
    }

    fn tampered(&mut self, why: String) {
        self.note(Verdict::Tampered, why);
    }

    /// A session that the log does not know.
    fn unknown(&mut self, there: &Session) {
        let segments = there.files.iter().filter(|(name, _)| name.contains('/'));
        // A crash between making the files and telling the log leaves the session's own facts, and no more.
        if segments.clone().all(|(name, _)| name.starts_with("0/")) && !there.files.contains_key("closed.json") {
            let why = "it never began: the log does not know it, and nothing was recorded but that it was to begin";
            return self.note(Verdict::Interrupted, why.to_owned());
        }
        self.tampered(format!("the log does not know this session: `{}` was added", there.directory.display()));
    }

    fn compare(&mut self, told: &Told, start: &Start, there: &Session) {
        if let Some(entry) = told.removed {
            self.note(Verdict::Expired, format!("being removed, by entry {entry} of the log"));
        }
        if let Some(opening) = self.hashed::<Opening>(there, "opened.json", &start.opened)
            && (opening.session != *self.id || opening.format != Opening::FORMAT)
        {
            self.tampered(String::from("`opened.json` is of another session, or version"));
        }
        self.envelope(told, start);
        match &told.end {
            Some(End::Closed(hash)) => self.closed(told, start, there, hash),
            Some(End::Recovered(hash)) => self.recovered(told, start, there, hash),
            None => {
                let why = "it has not ended: it is live, or the bastion was not started again since it stopped";
                self.note(Verdict::Interrupted, why.to_owned());
                let mut left = names(there);
                left.retain(|name| !matches!(name.as_str(), "opened.json" | "closed.json" | "recovered.json"));
                for (number, count) in channels(&left) {
                    self.channel(told, start, there, number, count, &Last::Open, &mut left);
                }
                self.no_others(there, &left);
            }
        }
        self.reached(told, there);
        if !self.settings.identities.is_empty() && told.erased.is_none() {
            self.deep();
        }
    }

    /// A JSON file with the hash that the log has.
    fn hashed<T: DeserializeOwned>(&mut self, there: &Session, name: &str, hash: &str) -> Option<T> {
        let path = there.directory.join(name);
        if !there.files.contains_key(name) {
            self.note(Verdict::Missing, format!("`{}` is gone", path.display()));
            return None;
        }
        let bytes = match files::read(&path, JSON_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.tampered(why);
                return None;
            }
        };
        if sha256_hex(&bytes) != hash {
            self.tampered(format!("`{}` is not the file whose hash is in the log", path.display()));
            return None;
        }
        let parsed = serde_json::from_slice(&bytes);
        parsed.inspect_err(|error| self.tampered(format!("`{}`: {error}", path.display()))).ok()
    }

    fn envelope(&mut self, told: &Told, start: &Start) {
        let path = StoreRoot::at(&self.settings.store).envelope(self.id);
        match (path.symlink_metadata().is_ok(), told.erased) {
            (false, Some(entry)) => {
                self.note(Verdict::Shredded, format!("its key was destroyed, by entry {entry} of the log"));
            }
            (false, None) => self.note(Verdict::Missing, format!("its key `{}` is gone", path.display())),
            (true, Some(entry)) => {
                self.tampered(format!("`{}` is back, though entry {entry} destroyed it", path.display()));
            }
            (true, None) => match files::read(&path, JSON_BYTES_MAX) {
                Ok(bytes) if sha256_hex(&bytes) == start.envelope => {}
                Ok(_) => self.tampered(format!("`{}` is not the envelope whose hash is in the log", path.display())),
                Err(why) => self.tampered(why),
            },
        }
    }

    fn closed(&mut self, told: &Told, start: &Start, there: &Session, hash: &str) {
        let mut left = names(there);
        left.retain(|name| !matches!(name.as_str(), "opened.json" | "closed.json"));
        let Some(closed) = self.hashed::<Closed>(there, "closed.json", hash) else { return };
        if closed.session != *self.id {
            return self.tampered(String::from("`closed.json` is of another session"));
        }
        for channel in &closed.channels {
            let ClosedChannel { number, segments, records, head, failure, .. } = channel;
            if let Some(failure) = failure {
                self.note(
                    Verdict::Interrupted,
                    format!("channel {number} could not be recorded to its end: {failure}"),
                );
            }
            let last = match failure {
                None => Last::Complete(head),
                Some(_) if *segments == 0 => {
                    // The disk hung, so what it has of the channel was not known when the session was closed.
                    left.retain(|name| !name.starts_with(&format!("{number}/")));
                    continue;
                }
                Some(_) => Last::Failed(*records, head),
            };
            self.channel(told, start, there, number.0, *segments, &last, &mut left);
        }
        self.no_others(there, &left);
    }

    fn recovered(&mut self, told: &Told, start: &Start, there: &Session, hash: &str) {
        let mut left = names(there);
        left.retain(|name| !matches!(name.as_str(), "opened.json" | "recovered.json"));
        self.note(Verdict::Interrupted, String::from("the bastion stopped while it ran"));
        let Some(recovered) = self.hashed::<Recovered>(there, "recovered.json", hash) else { return };
        if recovered.session != *self.id {
            return self.tampered(String::from("`recovered.json` is of another session"));
        }
        for channel in &recovered.channels {
            let RecoveredChannel { number, segments, .. } = channel;
            self.channel(told, start, there, number.0, *segments, &Last::Recovered(channel), &mut left);
        }
        self.no_others(there, &left);
    }

    /// What is in the directory and was not looked for.
    fn no_others(&mut self, there: &Session, left: &BTreeSet<String>) {
        for name in left {
            let shown = there.directory.join(name);
            // A file that was being written in one step when the bastion stopped.
            if name.ends_with(".json.new") && !name.contains('/') {
                self.notes.push(format!("`{}` is a rest of a write that was cut short", shown.display()));
            } else {
                self.tampered(format!("`{}` was added", shown.display()));
            }
        }
    }

    /// Checks the segments of a channel, and takes them out of `left`.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a channel")]
    fn channel(
        &mut self,
        told: &Told,
        start: &Start,
        there: &Session,
        channel: u32,
        segments: u32,
        last: &Last<'_>,
        left: &mut BTreeSet<String>,
    ) {
        let mut before = Some(Head::NONE);
        for segment in 0..segments {
            let name = format!("{channel}/{segment:06}.seg");
            let path = there.directory.join(&name);
            if !left.remove(&name) {
                self.note(Verdict::Missing, format!("`{}` is gone", path.display()));
                before = None;
                continue;
            }
            let place = (channel, segment);
            let heads = told.heads.get(&place);
            let asked = match last {
                Last::Failed(records, _) if segment.saturating_add(1) == segments => *records,
                Last::Failed(..) | Last::Complete(_) | Last::Recovered(_) | Last::Open => {
                    heads.map_or(u64::MAX, |(records, _)| *records)
                }
            };
            let scanned = match files::scan(&path, asked, self.read) {
                Ok(scanned) => scanned,
                // A crash came before the header was on disk.
                Err(_) if matches!(last, Last::Recovered(one) if one.valid_len == 0) => {
                    self.unreadable_tail(&path, last);
                    continue;
                }
                Err(why) => {
                    self.tampered(why);
                    before = None;
                    continue;
                }
            };
            let wrong = |what: &str| format!("`{}`: {what}", path.display());
            let header = &scanned.header;
            if Some(header.session) != self.id.to_bytes()
                || (header.channel, header.segment) != (ChannelNumber(channel), segment)
            {
                self.tampered(wrong("it is of another session, channel or place"));
            }
            if hex(&header.recipients_digest) != start.recipients {
                self.tampered(wrong("it is sealed for others than the log says"));
            }
            if before.is_some_and(|before| before != header.prev_head) {
                self.tampered(wrong("it does not follow the segment before it"));
            }
            before = Some(scanned.head);
            if let Some((records, head)) = heads
                && !matches!(last, Last::Failed(..))
                && scanned.asked.map(|head| head.to_string()).as_ref() != Some(head)
            {
                self.tampered(wrong(&format!("the log says that it had {records} records with another head")));
            }
            let is_last = segment.saturating_add(1) == segments;
            self.seal(&scanned, told.seals.get(&place), is_last, last, &path);
        }
        // A channel whose directory was made, and whose recording could not begin.
        let prefix = format!("{channel}/");
        if segments == 0 && left.iter().any(|name| name.starts_with(&prefix)) {
            self.note(Verdict::Interrupted, format!("channel {channel} never began"));
            left.retain(|name| !name.starts_with(&prefix));
        }
    }

    /// Checks how a segment ends, and what the log says of that.
    fn seal(&mut self, scanned: &Scanned, seal: Option<&Seal>, is_last: bool, last: &Last<'_>, path: &Path) {
        let wrong = |what: &str| format!("`{}`: {what}", path.display());
        let complete = scanned.end == ScanEnd::Complete;
        if let Some(seal) = seal {
            let found = Seal {
                bytes: scanned.bytes,
                records: scanned.records,
                prev_head: scanned.header.prev_head.to_string(),
                head: scanned.head.to_string(),
            };
            if !complete || found != *seal {
                self.tampered(wrong("it is not the segment that the log says has ended"));
            }
        }
        if !is_last {
            if !complete {
                self.tampered(wrong("it has no end although another segment follows"));
            } else if seal.is_none() && !matches!(last, Last::Recovered(_) | Last::Open) {
                self.tampered(wrong("the log does not say that it has ended"));
            }
            return;
        }
        match last {
            Last::Complete(head) => {
                if !complete || scanned.head.to_string() != **head {
                    self.tampered(wrong("the channel does not end as it did when it was closed"));
                } else if seal.is_none() {
                    self.tampered(wrong("the log does not say that it has ended"));
                }
            }
            Last::Failed(_, head) => {
                let reached = scanned.asked.map(|head| head.to_string());
                if !(reached.as_deref() == Some(*head) || scanned.head.to_string() == **head) {
                    self.tampered(wrong("what was recorded before the failure is not all there"));
                }
            }
            Last::Recovered(one) => {
                let same = scanned.bytes == one.len
                    && scanned.valid_len == one.valid_len
                    && scanned.all_records == one.records
                    && scanned.head.to_string() == one.head
                    && tail_sha256(path, one.valid_len).is_ok_and(|tail| tail == one.tail_sha256);
                if !same {
                    self.tampered(wrong("it is not what was found after the crash"));
                }
            }
            Last::Open => {}
        }
    }

    /// A last segment without a header, after a crash.
    fn unreadable_tail(&mut self, path: &Path, last: &Last<'_>) {
        let Last::Recovered(one) = last else { return };
        let length = path.symlink_metadata().map_or(0, |metadata| metadata.len());
        if length != one.len || !tail_sha256(path, 0).is_ok_and(|tail| tail == one.tail_sha256) {
            self.tampered(format!("`{}`: it is not what was found after the crash", path.display()));
        }
    }

    /// Whatever the log says of a segment, that segment is there.
    fn reached(&mut self, told: &Told, there: &Session) {
        let places: BTreeSet<&(u32, u32)> = told.heads.keys().chain(told.seals.keys()).collect();
        for (channel, segment) in places {
            let name = format!("{channel}/{segment:06}.seg");
            if !there.files.contains_key(&name) {
                self.note(Verdict::Missing, format!("`{}` is gone", there.directory.join(name).display()));
            }
        }
    }

    /// Opens every record and reads every line.
    fn deep(&mut self) {
        let root = StoreRoot::at(&self.settings.store);
        let opened = Catalog::new(root.clone())
            .open(self.id)
            .and_then(|stored| PlainRecording::open(&root, stored, &self.settings.identities));
        let plain = match opened {
            Ok(plain) => plain,
            Err(error) => return self.tampered(format!("it cannot be opened: {}", describe(&error))),
        };
        let unfinished = self.verdict == Verdict::Interrupted;
        for damage in plain.damage {
            // After a crash a channel may have no header yet.
            if !unfinished {
                self.tampered(damage);
            }
        }
        for channel in plain.channels {
            let mut last = std::time::Duration::ZERO;
            for event in channel.events() {
                match event {
                    Ok(timed) if timed.at < last => {
                        self.tampered(format!("channel {}: its times go back", channel.number));
                    }
                    Ok(timed) => last = timed.at,
                    Err(error) => self.tampered(format!("channel {}: {}", channel.number, describe(&error))),
                }
            }
        }
    }
}

fn names(there: &Session) -> BTreeSet<String> {
    there.files.keys().cloned().collect()
}

/// The channels that there are segments of, and how many segments each must have.
fn channels(names: &BTreeSet<String>) -> BTreeMap<u32, u32> {
    let mut channels = BTreeMap::new();
    for name in names {
        let place = name.strip_suffix(".seg").and_then(|name| name.split_once('/'));
        let Some((channel, segment)) = place else { continue };
        if let (Ok(channel), Ok(segment)) = (channel.parse(), segment.parse::<u32>()) {
            let count = channels.entry(channel).or_insert(0);
            *count = segment.saturating_add(1).max(*count);
        }
    }
    channels
}
