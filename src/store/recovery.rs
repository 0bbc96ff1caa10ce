//! Closing what a crash left open.
//!
//! Segments are not touched: a torn record stays where it is, and `recovered.json` says how much before it is good
//! and what stands after it. Nothing secret is needed. A second run finds `recovered.json` and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::catalog::{chain, channels, read_json, sessions};
use super::{Closed, Disk, FORMAT, StoreError, StoreRoot, hex, json, sha256_hex, started};
use crate::durable;
use crate::model::{ChannelNumber, SessionId, Timestamp};
use crate::seal::{Head, Item, Scanner};

/// The content of `recovered.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// The layout's version.
    pub format: u32,
    /// The session.
    pub session: SessionId,
    /// Always `interrupted`.
    pub end: String,
    /// When the start after the crash found it.
    pub recovered: Timestamp,
    /// From its opening to the last write, in milliseconds of the wall clock.
    pub duration_ms: u64,
    /// Its channels, by number.
    pub channels: Vec<RecoveredChannel>,
}

/// One channel in `recovered.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredChannel {
    /// Its number.
    pub number: ChannelNumber,
    /// How many segments it has.
    pub segments: u32,
    /// How many bytes its last segment has.
    pub len: u64,
    /// How many of them, from the start, are good records.
    pub valid_len: u64,
    /// How many records that are.
    pub records: u64,
    /// The chain's head after them, in hex.
    pub head: String,
    /// SHA-256 of what stands after them, of the first [`SCANNED_BYTES_MAX`] bytes at most, in hex.
    pub tail_sha256: String,
    /// What is wrong with the rest, where it is more than a torn record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// How far the log had seen it before: what is there must go at least so far. None if the log had seen nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

impl RecoveredChannel {
    /// Whether less is there than the log had seen: of the records, only how many there are is compared here.
    fn is_cut(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| {
            let ends_at = (self.segments, self.records);
            // The end record of a sealed one counts here, and in the log it does not.
            ends_at < (seen.segment.saturating_add(1), seen.records.saturating_add(u64::from(seen.sealed.is_some())))
        })
    }
}

/// How far the log had seen a channel when the bastion stopped.
///
/// It stands in `recovered.json`, which the log has the hash of, so that who has the recording and that one leaf knows
/// what the log demands of the recording: nobody can leave it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The last segment of which the log had a head or a seal.
    pub segment: u32,
    /// How many records of data it had.
    pub records: u64,
    /// The chain's head after them, in hex; of a sealed segment its last.
    pub head: String,
    /// How the segment was sealed, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SeenSeal>,
}

/// What else the log had of a segment that was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSeal {
    /// The file's length.
    pub bytes: u64,
    /// The head of the segment before it, in hex.
    pub prev_head: String,
}

/// How far the log has seen the channels of sessions.
pub type SeenByLog = BTreeMap<SessionId, BTreeMap<ChannelNumber, Seen>>;

/// More of a segment that has no end is not read, and more of what stands behind its last good record is not hashed: the
/// recorder's are far shorter, and a file that somebody made endless must not keep the bastion from its start.
pub const SCANNED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A recording that is being closed as interrupted.
#[derive(Debug)]
pub struct Recovery<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// SHA-256 of the `recovered.json` that will be written, in hex.
    pub recovered: String,
}

/// What a recovery did.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// The sessions that it closed as interrupted.
    pub interrupted: Vec<SessionId>,
    /// Those of them of which less is there than the log had seen.
    pub cut: Vec<SessionId>,
    /// What it could not read or write, and why. The next start tries again.
    pub failed: Vec<(PathBuf, StoreError)>,
}

/// Closes each recording that is neither closed nor recovered as interrupted. `now` is noted.
///
/// `seen` is asked once, if any is open, how far the log has seen them; if it gives nothing, all stay open for the next
/// start. `log` is told of each before its file is written, so that no recording is closed without a trace in the log; if
/// it says `false`, the recording stays open for the next start.
///
/// The caller holds the state directory's lock, and no session is live.
pub fn recover(
    root: &StoreRoot,
    disk: &Arc<dyn Disk>,
    now: Timestamp,
    seen: impl FnOnce(&BTreeSet<SessionId>) -> Option<SeenByLog>,
    mut log: impl FnMut(Recovery<'_>) -> bool,
) -> RecoveryReport {
    let mut report = RecoveryReport::default();
    let mut open = Vec::new();
    for found in sessions(root, None) {
        let outcome = found.and_then(|(session, path)| match is_open(&path) {
            Ok(is_open) => Ok(is_open.then_some((session, path))),
            Err(error) => Err((path, error)),
        });
        match outcome {
            Ok(session) => open.extend(session),
            Err(failed) => report.failed.push(failed),
        }
    }
    if open.is_empty() {
        return report;
    }
    let Some(mut seen) = seen(&open.iter().map(|(session, _)| session.clone()).collect()) else { return report };
    for (session, path) in open {
        let seen = seen.remove(&session).unwrap_or_default();
        match recover_session(disk, &session, &path, now, seen, &mut log) {
            Ok(Some(recovered)) => {
                if recovered.channels.iter().any(RecoveredChannel::is_cut) {
                    report.cut.push(session.clone());
                }
                report.interrupted.push(session);
            }
            Ok(None) => {}
            Err(error) => report.failed.push((path, error)),
        }
    }
    report
}

/// Whether nothing says how a recording ended.
fn is_open(path: &Path) -> Result<bool, StoreError> {
    // Both files appear whole or not at all. One that does not parse was damaged later: it is left as evidence,
    // and closing the recording anew over it would hide that.
    Ok(read_json::<Closed>(&path.join("closed.json"))?.is_none()
        && read_json::<Recovered>(&path.join("recovered.json"))?.is_none())
}

fn recover_session(
    disk: &Arc<dyn Disk>,
    session: &SessionId,
    path: &Path,
    now: Timestamp,
    mut seen: BTreeMap<ChannelNumber, Seen>,
    log: &mut impl FnMut(Recovery<'_>) -> bool,
) -> Result<Option<Recovered>, StoreError> {
    let file = path.join("recovered.json");
    let mut recovered = Recovered {
        format: FORMAT,
        session: session.clone(),
        end: String::from("interrupted"),
        recovered: now,
        duration_ms: 0,
        channels: Vec::new(),
    };
    let mut last_write = started(session).unwrap_or(now);
    for (number, segments) in channels(path)? {
        last_write = segments.last().and_then(|last| written(last)).map_or(last_write, |at| at.max(last_write));
        recovered
            .channels
            .push(RecoveredChannel { seen: seen.remove(&number), ..recovered_channel(number, &segments) });
    }
    for (number, seen) in seen {
        let damage = Some(String::from("the log has seen it, and it is not there"));
        recovered.channels.push(RecoveredChannel { seen: Some(seen), damage, ..recovered_channel(number, &[]) });
    }
    recovered.channels.sort_by_key(|channel| channel.number);
    let opened = started(session).unwrap_or(now);
    recovered.duration_ms = u64::try_from(opened.until(last_write).as_millis()).unwrap_or(u64::MAX);
    let bytes = json(&recovered);
    if !log(Recovery { session, recovered: sha256_hex(&bytes) }) {
        return Ok(None);
    }
    disk.create_whole(&file, &bytes).map_err(|source| StoreError::Write { path: file.clone(), source })?;
    // The crash may have come between making the directory and syncing its parent.
    durable::sync_parent(path).map_err(|source| StoreError::Write { path: path.to_owned(), source })?;
    Ok(Some(recovered))
}

/// When a file was written last.
fn written(path: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// Reads the last segment of a channel to its end.
fn recovered_channel(number: ChannelNumber, segments: &[PathBuf]) -> RecoveredChannel {
    let mut channel = RecoveredChannel {
        number,
        segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        len: 0,
        valid_len: 0,
        records: 0,
        head: Head::NONE.to_string(),
        tail_sha256: sha256_hex(&[]),
        damage: None,
        seen: None,
    };
    if let Some(last) = segments.last()
        && let Err(error) = scan(last, &mut channel)
    {
        channel.damage = Some(format!("cannot read `{}`: {error}", last.display()));
    }
    channel
}

fn scan(path: &Path, channel: &mut RecoveredChannel) -> io::Result<()> {
    let file = durable::open_plain(path)?;
    channel.len = file.metadata()?.len();
    let mut file = file.take(SCANNED_BYTES_MAX);
    let mut scanner = Scanner::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut altered = None;
    // What stands behind a fault is not a part of the recording, however long it is.
    while altered.is_none() {
        let len = file.read(&mut chunk)?;
        let mut input = chunk.get(..len).unwrap_or_default();
        if input.is_empty() {
            break;
        }
        while altered.is_none() && !input.is_empty() {
            match scanner.read(&mut input) {
                Ok(Some(Item::Header(_) | Item::Record(_)) | None) => {}
                Err(error) => altered = Some(error),
            }
        }
    }
    channel.valid_len = scanner.valid_len();
    channel.records = scanner.records();
    channel.head = scanner.head().to_string();
    channel.damage = altered.map(|error| chain(&error));
    channel.tail_sha256 = tail_sha256(path, channel.valid_len)?;
    Ok(())
}

/// SHA-256 of what stands in a file from `from` on, in hex; of [`SCANNED_BYTES_MAX`] bytes at most.
///
/// # Errors
/// What the file system says.
pub fn tail_sha256(path: &Path, from: u64) -> io::Result<String> {
    let mut file = durable::open_plain(path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
    let mut file = file.take(SCANNED_BYTES_MAX);
    let mut hash = Context::new(&SHA256);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(hash.finish().as_ref())),
            len => hash.update(chunk.get(..len).unwrap_or_default()),
        }
    }
}
