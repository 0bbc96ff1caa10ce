//! What the verifier reads in a leaf. Types that it does not know are passed over, versions are not.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::{SessionId, Timestamp};
use crate::seal::Head;

/// The version of leaves that is read.
const VERSION: u64 = 1;

/// A SHA-256 hash.
pub(super) type Sha256 = [u8; 32];

/// A leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) seq: u64,
    pub(super) ts: Timestamp,
    /// Whether it tells that a clock was set or is in doubt, or that the bastion begins: time may have leapt.
    pub(super) leaps: bool,
    pub(super) event: Event,
}

/// What a leaf says of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Start {
        session: SessionId,
        opened: Sha256,
        envelope: Sha256,
        recipients: [u8; 8],
        policy: Sha256,
    },
    Seal {
        session: SessionId,
        channel: u32,
        segment: u32,
        seal: Seal,
    },
    /// A segment is given up: it is good as far as `good` says.
    Suspect {
        session: SessionId,
        channel: u32,
        segment: u32,
        good: Seal,
    },
    Heads(Vec<(SessionId, u32, u32, u64, Head)>),
    End {
        session: SessionId,
        closed: Sha256,
    },
    /// The file of which `End` has the hash could not be written.
    Unclosed {
        session: SessionId,
    },
    Recovered {
        session: SessionId,
        recovered: Sha256,
    },
    Envelope {
        session: SessionId,
        envelope: Sha256,
        recipients: [u8; 8],
        record: Sha256,
    },
    Erase {
        session: SessionId,
    },
    Expire {
        sessions: Vec<SessionId>,
    },
    ClockStep,
    /// A policy set is in force.
    Policy(Sha256),
    /// The bastion stopped as a bastion stops.
    NodeStop,
    /// Nothing that concerns the verifier.
    Other,
}

/// A segment that ended, or the good part of one that was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) bytes: u64,
    /// How many data records.
    pub(super) records: u64,
    pub(super) prev_head: Head,
    pub(super) head: Head,
}

#[derive(Deserialize)]
struct Common {
    v: u64,
    seq: u64,
    ts: Timestamp,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct StartFields {
    session: SessionId,
    opened: String,
    envelope: String,
    recipients: String,
    policy: String,
}

#[derive(Deserialize)]
struct PolicyFields {
    hash: String,
}

#[derive(Deserialize)]
struct SealFields {
    session: SessionId,
    channel: u32,
    segment: u32,
    bytes: u64,
    records: u64,
    prev_head: String,
    head: String,
}

impl SealFields {
    fn parse(self) -> Result<(SessionId, u32, u32, Seal), String> {
        let Self { session, channel, segment, bytes, records, prev_head, head } = self;
        let [prev_head, head] = [Head(digest(&prev_head)?), Head(digest(&head)?)];
        Ok((own(session)?, channel, segment, Seal { bytes, records, prev_head, head }))
    }
}

#[derive(Deserialize)]
struct HeadsFields {
    heads: Vec<HeadFields>,
}

#[derive(Deserialize)]
struct HeadFields {
    session: SessionId,
    channel: u32,
    segment: u32,
    records: u64,
    head: String,
}

#[derive(Deserialize)]
struct EndFields {
    session: SessionId,
    closed: String,
}

#[derive(Deserialize)]
struct RecoveredFields {
    session: SessionId,
    recovered: String,
}

#[derive(Deserialize)]
struct EnvelopeFields {
    session: SessionId,
    envelope: String,
    recipients: String,
    rewrap: String,
}

#[derive(Deserialize)]
struct SessionField {
    session: SessionId,
}

#[derive(Deserialize)]
struct SessionsField {
    sessions: Vec<SessionId>,
}

impl Event {
    /// Whether only a bastion writes it that carries sessions, or that stops as it should.
    pub(super) fn is_of_work(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Seal { .. }
            | Self::Suspect { .. }
            | Self::Heads(_)
            | Self::End { .. }
            | Self::Unclosed { .. }
            | Self::NodeStop => true,
            Self::Recovered { .. }
            | Self::Envelope { .. }
            | Self::Erase { .. }
            | Self::Expire { .. }
            | Self::ClockStep
            | Self::Policy(_)
            | Self::Other => false,
        }
    }
}

impl Leaf {
    /// Reads an entry of the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(entry: &[u8]) -> Result<Self, String> {
        let Common { v, seq, ts, kind } = fields(entry)?;
        if v != VERSION {
            return Err(format!("version {v} is not known"));
        }
        let leaps = matches!(kind.as_str(), "clock.doubt" | "clock.step" | "node.start");
        let event = match kind.as_str() {
            "session.start" => {
                let StartFields { session, opened, envelope, recipients, policy } = fields(entry)?;
                let [opened, envelope, policy] = [digest(&opened)?, digest(&envelope)?, digest(&policy)?];
                Event::Start { session: own(session)?, opened, envelope, recipients: bytes(&recipients)?, policy }
            }
            "segment.seal" => {
                let (session, channel, segment, seal) = fields::<SealFields>(entry)?.parse()?;
                Event::Seal { session, channel, segment, seal }
            }
            "segment.suspect" => {
                let (session, channel, segment, good) = fields::<SealFields>(entry)?.parse()?;
                Event::Suspect { session, channel, segment, good }
            }
            "session.heads" => {
                let heads = fields::<HeadsFields>(entry)?.heads.into_iter().map(|one| {
                    let HeadFields { session, channel, segment, records, head } = one;
                    Ok((own(session)?, channel, segment, records, Head(digest(&head)?)))
                });
                Event::Heads(heads.collect::<Result<_, String>>()?)
            }
            "session.end" => {
                let EndFields { session, closed } = fields(entry)?;
                Event::End { session: own(session)?, closed: digest(&closed)? }
            }
            "session.unclosed" => Event::Unclosed { session: own(fields::<SessionField>(entry)?.session)? },
            "session.recovered" => {
                let RecoveredFields { session, recovered } = fields(entry)?;
                Event::Recovered { session: own(session)?, recovered: digest(&recovered)? }
            }
            "envelope.create" => {
                let EnvelopeFields { session, envelope, recipients, rewrap } = fields(entry)?;
                let [envelope, record] = [digest(&envelope)?, digest(&rewrap)?];
                Event::Envelope { session: own(session)?, envelope, recipients: bytes(&recipients)?, record }
            }
            "erase" => Event::Erase { session: own(fields::<SessionField>(entry)?.session)? },
            "gc" => {
                let sessions = fields::<SessionsField>(entry)?.sessions.into_iter().map(own);
                Event::Expire { sessions: sessions.collect::<Result<_, _>>()? }
            }
            "clock.step" => Event::ClockStep,
            "policy.load" => Event::Policy(digest(&fields::<PolicyFields>(entry)?.hash)?),
            "node.stop" => Event::NodeStop,
            _ => Event::Other,
        };
        Ok(Self { seq, ts, leaps, event })
    }
}

fn fields<T: DeserializeOwned>(entry: &[u8]) -> Result<T, String> {
    serde_json::from_slice(entry).map_err(|error| error.to_string())
}

/// An id that is one: several spellings of the same bits would be several sessions in one.
fn own(session: SessionId) -> Result<SessionId, String> {
    if session.to_bytes().is_some() { Ok(session) } else { Err(format!("`{session}` is no session's id")) }
}

fn digest(text: &str) -> Result<Sha256, String> {
    bytes(text)
}

/// Bytes of lower-case hexadecimal.
pub(super) fn bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let bad = || format!("`{text}` is not {N} bytes in lower-case hexadecimal");
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return Err(bad());
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high).zip(nibble(*low)).map(|(high, low)| high << 4 | low).ok_or_else(bad)?;
    }
    Ok(out)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a').and_then(|value| value.checked_add(10)),
        _ => None,
    }
}
