//! Parts of events, and how texts from outside are cut before they are on record.

use serde::{Deserialize, Serialize, Serializer};

use super::body::Subject;
use crate::model::{Destination, GrantId, SessionId, UserName};

/// Longest text that comes from a peer, in characters.
const TEXT_CHARS_MAX: usize = 256;
/// Longest text that comes from an operator, in characters.
const DETAIL_CHARS_MAX: usize = 4096;

/// An operator's call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Who, by the socket's or the process's credentials.
    pub uid: u32,
    /// Such as `user add`.
    pub verb: String,
    /// Its arguments and what came of it, never a secret.
    #[serde(serialize_with = "bounded_detail")]
    pub detail: String,
    /// The session it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The grant it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The bastion user it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
}

/// A change in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultChange {
    /// Who, by the socket's or the process's credentials.
    pub uid: u32,
    /// The account and target that the secret logs in to.
    pub destination: Destination,
    /// Its kind, and what came of the change.
    #[serde(serialize_with = "bounded_detail")]
    pub detail: String,
}

/// Where a segment ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentEnd {
    /// The session.
    pub session: SessionId,
    /// The channel's number.
    pub channel: u32,
    /// The segment's number, from 0.
    pub segment: u32,
    /// How many bytes of the file count.
    pub bytes: u64,
    /// How many records they have.
    pub records: u64,
    /// The head of the segment before it, in hexadecimal.
    pub prev_head: String,
    /// The head after its last record, in hexadecimal: what the next segment follows.
    pub head: String,
}

/// How far one stream of a live session has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHead {
    /// The session.
    pub session: SessionId,
    /// The channel's number.
    pub channel: u32,
    /// The number of the segment that is written, from 0.
    pub segment: u32,
    /// How many records it has.
    pub records: u64,
    /// The head after the last of them, in hexadecimal.
    pub head: String,
}

impl Call {
    pub(super) fn subject(&self) -> Subject {
        match (&self.session, &self.grant, &self.user) {
            // A call about a session names its operator and no recorded person.
            (Some(_), _, _) | (None, None, None) => Subject::Node,
            (None, Some(grant), _) => Subject::Grant(grant.clone()),
            (None, None, Some(user)) => Subject::User(user.clone()),
        }
    }
}

pub(super) fn bounded_text<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bounded(value, TEXT_CHARS_MAX))
}

pub(super) fn bounded_detail<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bounded(value, DETAIL_CHARS_MAX))
}

pub(super) fn bounded_option<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| bounded(value, DETAIL_CHARS_MAX)).serialize(to)
}

/// At most `max` characters. JSON escapes what is below U+0020; the other characters that steer a terminal or turn
/// the direction of writing become U+FFFD.
pub(super) fn bounded(value: &str, max: usize) -> String {
    let steers = |c| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || matches!(c, '\u{7f}'..='\u{9f}')
    };
    let mut chars = value.chars().map(|c| if steers(c) { '\u{fffd}' } else { c });
    let mut short: String = chars.by_ref().take(max - 1).collect();
    match (chars.next(), chars.next()) {
        (Some(last), None) => short.push(last),
        (Some(_), Some(_)) => short.push('…'),
        (None, _) => {}
    }
    short
}
