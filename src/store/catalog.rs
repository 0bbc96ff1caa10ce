//! Finding and reading recordings. One that is broken is said to be, and does not hide the others.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::recovery::Recovered;
use super::{Closed, ClosedChannel, Opening, StoreError, StoreRoot, started};
use crate::auditor::Recipient;
use crate::durable;
use crate::model::{
    ChannelClass, ChannelNumber, Destination, GrantId, RuleId, SessionId, TargetName, Timestamp, UserName,
};

/// `closed.json` and `recovered.json` are far smaller.
const JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The recordings of a store. Its calls block.
#[derive(Debug, Clone)]
pub struct Catalog {
    root: StoreRoot,
}

/// Which recordings to list; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this user.
    pub user: Option<UserName>,
    /// Only of this target.
    pub target: Option<TargetName>,
    /// Only those that started at this time or later.
    pub since: Option<Timestamp>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A recording.
    Recording(Box<Summary>),
    /// What is left of one that was erased: nobody can read it, nor see whose it was. Whether the log knows of that,
    /// `verify` tells.
    Erased(SessionId),
    /// Something that is none, or no more.
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong, causes included.
        why: String,
    },
}

/// How a recording ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As a session ends.
    Closed {
        /// Why.
        reason: String,
    },
    /// The bastion stopped while it ran. All that the user saw is there.
    Interrupted,
    /// It has not: the session is live, or the bastion stopped and has not been started since.
    Open,
}

/// What a listing says of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// Where to.
    pub destination: Destination,
    /// When it started.
    pub started: Timestamp,
    /// How long it lasted, up to the last event if it was interrupted; unknown while it is open.
    pub duration: Option<Duration>,
    /// How it ended.
    pub end: End,
    /// How many bytes its segments have.
    pub bytes: u64,
    /// Its channels, without channel 0.
    pub channels: Vec<ChannelSummary>,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// The hash of the policy set of then.
    pub policy: String,
    /// The grant, where the rule required one.
    pub grant: Option<GrantId>,
    /// The grant's reason.
    pub reason: Option<String>,
    /// Where the user came from.
    pub source: String,
    /// For whom it is sealed.
    pub auditors: Vec<Recipient>,
}

/// What a listing says of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSummary {
    /// Its number.
    pub number: ChannelNumber,
    /// What it was for, once the session is closed.
    pub class: Option<ChannelClass>,
    /// Whether it had a terminal, once the session is closed.
    pub pty: Option<bool>,
}

/// A recording in the store: what can be told without a key.
#[derive(Debug, Clone)]
pub struct StoredRecording {
    /// What a listing says of it.
    pub summary: Summary,
    /// Its channels by number; 0 is the session's own facts.
    pub channels: Vec<StoredChannel>,
    /// What could not be read of it, causes included.
    pub damage: Vec<String>,
    directory: PathBuf,
    /// Why `closed.json` or `recovered.json` cannot be read.
    ending_damage: Option<String>,
}

/// One channel of a recording in the store.
#[derive(Debug, Clone)]
pub struct StoredChannel {
    /// Its number.
    pub number: ChannelNumber,
    /// Its segments, in order.
    pub segments: Vec<PathBuf>,
    /// What was counted, if the session was closed.
    pub closed: Option<ClosedChannel>,
}

impl Catalog {
    /// The recordings in `root`.
    pub fn new(root: StoreRoot) -> Self {
        Self { root }
    }

    /// The recordings that `filter` names, oldest first. Damaged ones are always among them.
    pub fn list(&self, filter: &Filter) -> Vec<Listed> {
        let mut listed = Vec::new();
        for found in sessions(&self.root, filter.since) {
            match found.and_then(|(session, path)| read(&self.root, &session, &path)) {
                Ok(StoredRecording { summary, ending_damage: Some(why), directory, .. })
                    if summary.end == End::Open =>
                {
                    // Whether it is live cannot be told; that it is damaged can.
                    listed.push(Listed::Damaged { path: directory, why });
                }
                Ok(StoredRecording { summary, .. }) => {
                    let wanted = filter.user.as_ref().is_none_or(|user| *user == summary.user)
                        && filter.target.as_ref().is_none_or(|target| *target == summary.destination.target)
                        && filter.since.is_none_or(|since| since <= summary.started);
                    if wanted {
                        listed.push(Listed::Recording(Box::new(summary)));
                    }
                }
                Err((_, StoreError::Erased { session })) => {
                    let since = filter.since.is_none_or(|since| started(&session).is_some_and(|made| since <= made));
                    if filter.user.is_none() && filter.target.is_none() && since {
                        listed.push(Listed::Erased(session));
                    }
                }
                Err((path, error)) => listed.push(Listed::Damaged { path, why: chain(&error) }),
            }
        }
        listed
    }

    /// The newest recordings of this user, newest first: at most `most`, among the `looked_at` newest of everybody; and
    /// whether there may be more. Damaged ones are left out: whose they are cannot be told.
    pub fn newest(&self, user: &UserName, most: usize, mut looked_at: usize) -> (Vec<Summary>, bool) {
        let mut newest = Vec::new();
        let mut days = days(&self.root, &mut Vec::new());
        days.sort();
        for (_, day) in days.into_iter().rev() {
            let sessions = entries(&day).unwrap_or_default();
            for session in sessions.iter().rev().filter_map(|name| SessionId::parse(name).ok()) {
                if newest.len() == most || looked_at == 0 {
                    return (newest, true);
                }
                looked_at = looked_at.saturating_sub(1);
                match read(&self.root, &session, &day.join(session.as_str())) {
                    Ok(StoredRecording { summary, .. }) if summary.user == *user => newest.push(summary),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        (newest, false)
    }

    /// Where they are.
    pub fn root(&self) -> &StoreRoot {
        &self.root
    }

    /// One recording.
    ///
    /// # Errors
    /// `NotFound`, or why its facts cannot be read.
    pub fn open(&self, session: &SessionId) -> Result<StoredRecording, StoreError> {
        let not_found = || StoreError::NotFound { session: session.clone() };
        let path = self.root.session_directory(session).ok_or_else(not_found)?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            // Somebody who may not look is not told that there is nothing.
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(StoreError::Read { path, source }),
            Ok(_) | Err(_) => return Err(not_found()),
        }
        read(&self.root, session, &path).map_err(|(_, error)| error)
    }
}

type Found = Result<(SessionId, PathBuf), (PathBuf, StoreError)>;

/// The sessions of the store by id, from the day of `since` on; directories that cannot be read as errors.
pub(super) fn sessions(root: &StoreRoot, since: Option<Timestamp>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut days = days(root, &mut found);
    let first = since.map(|since| {
        let (year, month, day) = since.date();
        vec![i64::from(year), i64::from(month), i64::from(day)]
    });
    days.retain(|(date, _)| first.as_ref().is_none_or(|first| date >= first));
    for (_, path) in days {
        match entries(&path) {
            Ok(names) => found.extend(names.into_iter().filter_map(|name| {
                let session = SessionId::parse(&name).ok()?;
                started(&session)?;
                Some(Ok((session, path.join(name))))
            })),
            Err(error) => found.push(Err((path, error))),
        }
    }
    found.sort_by(|a, b| match (a, b) {
        (Ok((a, _)), Ok((b, _))) => a.cmp(b),
        (Err((a, _)), Err((b, _))) => a.cmp(b),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
    });
    found
}

/// The days of which there are recordings, as year, month and day, with their directories. What cannot be read is added
/// to `found`.
fn days(root: &StoreRoot, found: &mut Vec<Found>) -> Vec<(Vec<i64>, PathBuf)> {
    // Year, month, day: directories with numbers for names.
    let mut days = vec![(Vec::new(), root.directory().to_owned())];
    for _ in 0..3 {
        let mut deeper = Vec::new();
        for (date, path) in days {
            match entries(&path) {
                Ok(names) => deeper.extend(names.into_iter().filter_map(|name| {
                    let mut date: Vec<i64> = date.clone();
                    date.push(name.parse().ok()?);
                    Some((date, path.join(name)))
                })),
                Err(error) => found.push(Err((path, error))),
            }
        }
        days = deeper;
    }
    days
}

/// The names in a directory that are UTF-8, sorted; none if it is not there.
fn entries(path: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let listing = match std::fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in listing {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The channels of a session and their segments, by number.
pub(super) fn channels(session: &Path) -> Result<Vec<(ChannelNumber, Vec<PathBuf>)>, StoreError> {
    let mut found = Vec::new();
    for name in entries(session)? {
        let Some(number) = name.parse().ok().filter(|number: &u32| number.to_string() == name) else { continue };
        let directory = session.join(&name);
        let segments = entries(&directory)?.into_iter().filter(|name| {
            name.strip_suffix(".seg").is_some_and(|stem| stem.len() >= 6 && stem.parse::<u32>().is_ok())
        });
        found.push((ChannelNumber(number), segments.map(|name| directory.join(name)).collect()));
    }
    found.sort();
    Ok(found)
}

/// A JSON file of ours; `None` if it is not there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let file = match durable::open_plain(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, JSON_BYTES_MAX), &mut bytes).map_err(failed)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), why: error.to_string() })
}

fn read(root: &StoreRoot, session: &SessionId, path: &Path) -> Result<StoredRecording, (PathBuf, StoreError)> {
    let here = |error| (path.to_owned(), error);
    let mut damage = Vec::new();
    let opened = path.join("opened.json");
    let opening: Opening = read_json(&opened).map_err(here)?.ok_or_else(|| {
        // Only what has ended can be erased.
        let ended = ["closed.json", "recovered.json"].iter().any(|name| path.join(name).symlink_metadata().is_ok());
        here(if ended && !root.has_envelope(session) {
            StoreError::Erased { session: session.clone() }
        } else {
            let why =
                if ended { "its `opened.json` is missing" } else { "the bastion stopped before the session began" };
            StoreError::Damaged { path: path.to_owned(), why: String::from(why) }
        })
    })?;
    if opening.session != *session {
        return Err(here(StoreError::Damaged { path: opened, why: String::from("it is of another session") }));
    }
    let closed: Option<Closed> = read_or_note(&path.join("closed.json"), &mut damage);
    let recovered: Option<Recovered> = read_or_note(&path.join("recovered.json"), &mut damage);
    let ending_damage = damage.first().cloned();
    let mut stored = Vec::new();
    let mut bytes = 0_u64;
    for (number, segments) in channels(path).map_err(here)? {
        bytes = segments.iter().fold(bytes, |sum, segment| sum.saturating_add(file_len(segment)));
        let closed = closed.as_ref().and_then(|closed| closed.channels.iter().find(|one| one.number == number));
        stored.push(StoredChannel { number, segments, closed: closed.cloned() });
    }
    let channels = stored.iter().filter(|channel| channel.number.0 != 0).map(summary_of).collect();
    let (end, duration_ms) = match (closed, recovered) {
        (Some(closed), _) => (End::Closed { reason: closed.end }, Some(closed.duration_ms)),
        (None, Some(recovered)) => (End::Interrupted, Some(recovered.duration_ms)),
        (None, None) => (End::Open, None),
    };
    let summary = Summary {
        session: session.clone(),
        user: opening.user,
        destination: opening.destination,
        started: opening.started,
        duration: duration_ms.map(Duration::from_millis),
        end,
        bytes,
        channels,
        rule: opening.rule,
        policy: opening.policy,
        grant: opening.grant,
        reason: opening.reason,
        source: opening.source,
        auditors: opening.auditors,
    };
    Ok(StoredRecording { summary, channels: stored, damage, directory: path.to_owned(), ending_damage })
}

fn summary_of(channel: &StoredChannel) -> ChannelSummary {
    let closed = channel.closed.as_ref();
    ChannelSummary {
        number: channel.number,
        class: closed.and_then(|closed| closed.class),
        pty: closed.map(|closed| closed.pty),
    }
}

fn read_or_note<T: DeserializeOwned>(path: &Path, damage: &mut Vec<String>) -> Option<T> {
    read_json(path).unwrap_or_else(|error| {
        damage.push(chain(&error));
        None
    })
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
