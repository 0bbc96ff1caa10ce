//! Closing what a crash left open.
//!
//! Segments are not touched: a torn line stays where it is, and `recovered.json` says how much before it is
//! good. Nothing secret is needed. A second run finds `recovered.json` and does nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::{chain, channels, open_segment, read_json, sessions};
use super::{Closed, Disk, FORMAT, StoreError, StoreRoot, json};
use crate::durable;
use crate::model::{ChannelNumber, SessionId, Timestamp};

/// The content of `recovered.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recovered {
    /// The layout's version.
    pub(super) format: u32,
    /// The session.
    pub(super) session: SessionId,
    /// Always `interrupted`.
    pub(super) end: String,
    /// When the start after the crash found it.
    pub(super) recovered: Timestamp,
    /// The time of its last event, in milliseconds since it opened.
    pub(super) duration_ms: u64,
    /// Its channels, by number.
    pub(super) channels: Vec<RecoveredChannel>,
}

/// One channel in `recovered.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecoveredChannel {
    /// Its number.
    pub(super) number: ChannelNumber,
    /// How many segments it has.
    pub(super) segments: u32,
    /// How many bytes its last segment has.
    pub(super) len: u64,
    /// How many of them, from the start, are good lines.
    pub(super) valid_len: u64,
    /// What is wrong with the rest, where it is more than a torn line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) damage: Option<String>,
}

/// What a recovery did.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// The sessions that it closed as interrupted.
    pub interrupted: Vec<SessionId>,
    /// What it could not read or write, and why. The next start tries again.
    pub failed: Vec<(PathBuf, StoreError)>,
}

/// Closes each recording that is neither closed nor recovered as interrupted. `now` is noted.
///
/// The caller holds the state directory's lock, and no session is live.
pub fn recover(root: &StoreRoot, disk: &Arc<dyn Disk>, now: Timestamp) -> RecoveryReport {
    let mut report = RecoveryReport::default();
    for found in sessions(root, None) {
        let outcome = found.and_then(|(session, path)| match recover_session(disk, &session, &path, now) {
            Ok(recovered) => Ok(recovered.then_some(session)),
            Err(error) => Err((path, error)),
        });
        match outcome {
            Ok(session) => report.interrupted.extend(session),
            Err(failed) => report.failed.push(failed),
        }
    }
    report
}

fn recover_session(disk: &Arc<dyn Disk>, session: &SessionId, path: &Path, now: Timestamp) -> Result<bool, StoreError> {
    // Both files appear whole or not at all. One that does not parse was damaged later: it is left as evidence,
    // and closing the recording anew over it would hide that.
    if read_json::<Closed>(&path.join("closed.json"))?.is_some() {
        return Ok(false);
    }
    let file = path.join("recovered.json");
    if read_json::<Recovered>(&file)?.is_some() {
        return Ok(false);
    }
    let mut recovered = Recovered {
        format: FORMAT,
        session: session.clone(),
        end: String::from("interrupted"),
        recovered: now,
        duration_ms: 0,
        channels: Vec::new(),
    };
    for (number, segments) in channels(path)? {
        let (channel, last_ms) = scan(number, &segments);
        recovered.duration_ms = recovered.duration_ms.max(last_ms);
        recovered.channels.push(channel);
    }
    disk.create_whole(&file, &json(&recovered)).map_err(|source| StoreError::Write { path: file.clone(), source })?;
    // The crash may have come between making the directory and syncing its parent.
    durable::sync_parent(path).map_err(|source| StoreError::Write { path: path.to_owned(), source })?;
    Ok(true)
}

/// Reads the last segment of a channel to its end.
fn scan(number: ChannelNumber, segments: &[PathBuf]) -> (RecoveredChannel, u64) {
    let count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
    let mut channel = RecoveredChannel { number, segments: count, len: 0, valid_len: 0, damage: None };
    let mut last_ms = 0;
    let Some((last, before)) = segments.split_last() else { return (channel, last_ms) };
    channel.len = std::fs::metadata(last).map_or(0, |metadata| metadata.len());
    match open_segment(last) {
        Ok(mut reader) => {
            last_ms = reader.header().doorward.t0;
            for event in reader.by_ref() {
                match event {
                    Ok(timed) => last_ms = last_ms.max(u64::try_from(timed.at.as_millis()).unwrap_or(u64::MAX)),
                    Err(error) => channel.damage = channel.damage.or_else(|| Some(chain(&error))),
                }
            }
            channel.valid_len = reader.valid_len();
        }
        Err(error) => {
            // The crash came before the header of a new segment was on disk.
            channel.damage = Some(chain(&error));
            last_ms = scan(number, before).1;
        }
    }
    (channel, last_ms)
}
