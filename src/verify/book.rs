//! What the log says of each session.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::SessionId;

/// What the log says of all sessions.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) sessions: BTreeMap<SessionId, Told>,
}

/// What the log says of one.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) start: Option<Start>,
    pub(super) end: Option<End>,
    pub(super) seals: BTreeMap<(u32, u32), Seal>,
    /// The furthest that was told of each segment: so many records, and the head after them.
    pub(super) heads: BTreeMap<(u32, u32), (u64, String)>,
    /// The number of the entry that says that its key was destroyed.
    pub(super) erased: Option<u64>,
    /// The number of the entry that says that it was removed.
    pub(super) removed: Option<u64>,
    /// The number of the last entry that is needed to judge it.
    pub(super) last_leaf: u64,
}

/// How it began.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    pub(super) opened: String,
    pub(super) envelope: String,
    pub(super) recipients: String,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// With `closed.json` of this hash.
    Closed(String),
    /// With `recovered.json` of this hash.
    Recovered(String),
}

/// A segment that has ended.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Seal {
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) prev_head: String,
    pub(super) head: String,
}

/// The fields that the log fills itself.
#[derive(Deserialize)]
struct Own {
    v: u32,
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct OfSession {
    session: SessionId,
}

#[derive(Deserialize)]
struct Place {
    channel: u32,
    segment: u32,
}

#[derive(Deserialize)]
struct Closed {
    closed: String,
}

#[derive(Deserialize)]
struct Recovered {
    recovered: String,
}

#[derive(Deserialize)]
struct Rewrapped {
    envelope: String,
}

#[derive(Deserialize)]
struct Heads {
    heads: Vec<Head>,
}

#[derive(Deserialize)]
struct Head {
    session: SessionId,
    channel: u32,
    segment: u32,
    records: u64,
    head: String,
}

#[derive(Deserialize)]
struct Removed {
    sessions: Vec<SessionId>,
}

impl Book {
    /// Reads the leaves, from the first; what is wrong with one is noted in `faults`.
    pub(super) fn of(leaves: &[Vec<u8>], faults: &mut Vec<String>) -> Self {
        let mut book = Self::default();
        for (index, leaf) in (0_u64..).zip(leaves) {
            if let Err(why) = book.take(index, leaf) {
                faults.push(format!("entry {index} of the log: {why}"));
            }
        }
        book
    }

    fn take(&mut self, index: u64, leaf: &[u8]) -> Result<(), String> {
        let own: Own = parse(leaf)?;
        if own.v != 1 {
            return Err(format!("it is of version {}, which this program does not know", own.v));
        }
        if own.seq != index {
            return Err(format!("it says that it is entry {}", own.seq));
        }
        match own.kind.as_str() {
            "session.start" => {
                let told = self.told(leaf, index)?;
                let start = parse(leaf)?;
                if told.start.replace(start).is_some() {
                    return Err(String::from("its session began before"));
                }
            }
            "session.end" => self.told(leaf, index)?.end = Some(End::Closed(parse::<Closed>(leaf)?.closed)),
            "session.recovered" => {
                self.told(leaf, index)?.end = Some(End::Recovered(parse::<Recovered>(leaf)?.recovered));
            }
            "segment.seal" => {
                let Place { channel, segment } = parse(leaf)?;
                let seal: Seal = parse(leaf)?;
                let told = self.told(leaf, index)?;
                if told.seals.get(&(channel, segment)).is_some_and(|before| *before != seal) {
                    return Err(format!("segment {segment} of channel {channel} was told otherwise before"));
                }
                told.seals.insert((channel, segment), seal);
            }
            "session.heads" => {
                for Head { session, channel, segment, records, head } in parse::<Heads>(leaf)?.heads {
                    let told = self.sessions.entry(session).or_default();
                    told.last_leaf = index;
                    let furthest = told.heads.entry((channel, segment)).or_insert((records, head.clone()));
                    if records >= furthest.0 {
                        *furthest = (records, head);
                    }
                }
            }
            "envelope.create" => {
                let envelope = parse::<Rewrapped>(leaf)?.envelope;
                if let Some(start) = &mut self.told(leaf, index)?.start {
                    start.envelope = envelope;
                }
            }
            "erase" => self.told(leaf, index)?.erased = Some(index),
            "gc" => {
                for session in parse::<Removed>(leaf)?.sessions {
                    self.sessions.entry(session).or_default().removed = Some(index);
                }
            }
            // What else happened says nothing of the files of a recording.
            _ => {}
        }
        Ok(())
    }

    fn told(&mut self, leaf: &[u8], index: u64) -> Result<&mut Told, String> {
        let OfSession { session } = parse(leaf)?;
        let told = self.sessions.entry(session).or_default();
        told.last_leaf = index;
        Ok(told)
    }
}

fn parse<'a, T: Deserialize<'a>>(leaf: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(leaf).map_err(|error| format!("it is not what the log writes: {error}"))
}
