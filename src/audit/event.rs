//! What can be on record.

use serde::{Deserialize, Serialize, Serializer};

use crate::model::{Destination, GrantId, RuleId, SessionId, TargetName, Timestamp, UserName};

/// Longest text that comes from a peer, in characters.
const TEXT_CHARS_MAX: usize = 256;
/// Longest text that comes from an operator, in characters.
const DETAIL_CHARS_MAX: usize = 4096;

/// One event. Texts that come from outside are cut to a bounded length when they are written, and lose characters
/// that could steer a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AuditEvent {
    /// An operator's call; reading ones too.
    #[serde(rename = "admin.call")]
    AdminCall {
        /// Who, by the socket's or the process's credentials.
        uid: u32,
        /// Such as `user add`.
        verb: String,
        /// Its arguments, never a secret.
        #[serde(serialize_with = "bounded_detail")]
        detail: String,
    },
    /// A session is recorded and permitted; the credential has not been used yet.
    #[serde(rename = "session.start")]
    SessionStart {
        /// Its id.
        session: SessionId,
        /// The user.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// The rule that allowed it.
        rule: RuleId,
        /// The grant it rests on.
        grant: Option<GrantId>,
        /// Hash of the policy set that was asked.
        policy: String,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Fingerprint of the key that was proven.
        #[serde(serialize_with = "bounded_text")]
        key: String,
    },
    /// A session is over, its recording closed.
    #[serde(rename = "session.end")]
    SessionEnd {
        /// Its id.
        session: SessionId,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        cause: String,
    },
    /// A start of the bastion closed a recording that a crash left open.
    #[serde(rename = "session.recovered")]
    SessionRecovered {
        /// Its id.
        session: SessionId,
    },
    /// A user who proved their key got no session.
    #[serde(rename = "session.refused")]
    SessionRefused {
        /// The user.
        user: UserName,
        /// The login name as it came.
        #[serde(serialize_with = "bounded_text")]
        login: String,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Why, in full: more than the user was told.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// Somebody did not get in.
    #[serde(rename = "auth.failed")]
    AuthFailed {
        /// The login name as it came.
        #[serde(serialize_with = "bounded_text")]
        login: String,
        /// Their address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// A channel or request was refused.
    #[serde(rename = "channel.refused")]
    ChannelRefused {
        /// The session, if there is one yet.
        session: Option<SessionId>,
        /// The user.
        user: UserName,
        /// The user's address.
        #[serde(serialize_with = "bounded_text")]
        source: String,
        /// What was asked for.
        #[serde(serialize_with = "bounded_text")]
        what: String,
    },
    /// A grant was given.
    #[serde(rename = "grant.add")]
    GrantAdd {
        /// Its id.
        grant: GrantId,
        /// The user.
        user: UserName,
        /// Where to.
        destination: Destination,
        /// The first moment at which it holds.
        from: Timestamp,
        /// The first moment at which it no longer holds.
        until: Timestamp,
        /// Why.
        #[serde(serialize_with = "bounded_detail")]
        reason: String,
        /// Who gave it.
        #[serde(serialize_with = "bounded_text")]
        by: String,
    },
    /// A grant was taken back.
    #[serde(rename = "grant.revoke")]
    GrantRevoke {
        /// Its id.
        grant: GrantId,
        /// Who took it back.
        #[serde(serialize_with = "bounded_text")]
        by: String,
        /// Why, if it was said.
        #[serde(alias = "why", serialize_with = "bounded_option")]
        reason: Option<String>,
    },
    /// The policies were read.
    #[serde(rename = "policy.load")]
    PolicyLoad {
        /// Hash of the set that is in force now.
        hash: String,
        /// `loaded`, or why the earlier set stays.
        #[serde(serialize_with = "bounded_detail")]
        result: String,
    },
    /// The bastion takes sessions.
    #[serde(rename = "node.start")]
    NodeStart {
        /// Doorward's version.
        version: String,
    },
    /// The bastion has stopped as it should; a start without one before it follows a crash.
    #[serde(rename = "node.stop")]
    NodeStop,
    /// A target showed another host key than the pinned one; nothing was sent.
    #[serde(rename = "target.key-changed")]
    TargetKeyChanged {
        /// The target.
        target: TargetName,
        /// Fingerprint of the key it showed.
        #[serde(serialize_with = "bounded_text")]
        got: String,
    },
    /// Recordings cannot be written; sessions end and none begins.
    #[serde(rename = "recorder.failed")]
    RecorderFailed {
        /// Why.
        #[serde(serialize_with = "bounded_text")]
        reason: String,
    },
    /// A crash cut off the line before this one.
    #[serde(rename = "log.torn")]
    LogTorn {
        /// How much of it there is, without its line end.
        bytes: u64,
    },
}

fn bounded_text<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bounded(value, TEXT_CHARS_MAX))
}

fn bounded_detail<S: Serializer>(value: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&bounded(value, DETAIL_CHARS_MAX))
}

fn bounded_option<S: Serializer>(value: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| bounded(value, DETAIL_CHARS_MAX)).serialize(to)
}

/// At most `max` characters. JSON escapes what is below U+0020; the other characters that steer a terminal or turn
/// the direction of writing become U+FFFD.
fn bounded(value: &str, max: usize) -> String {
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
