//! Session events to asciicast v3 lines and back.
//!
//! Pure: bytes and times come in as arguments. A file starts with a header line that carries the session's
//! facts under `"doorward"`; every other line is `[seconds since the line before, code, data]`. Beside the
//! codes of asciicast v3 (`o`, `i`, `r`, `m`, `x`) there are four of our own, which its readers must ignore:
//!
//! | code | data |
//! |---|---|
//! | `f` | `"1"` or `"2"`: the output lines that follow are of stdout (the start of a file) or of stderr |
//! | `b` | base64 of the bytes that the `o` or `i` line just before stands for; it replaces that line's text |
//! | `d` | a [`Digest`] as JSON text: bytes that were counted, most of them hashed too, and not kept |
//! | `s` | the signal that ended the program as JSON text; the `x` line that follows has a shell's number for it |
//!
//! Every byte of an entry is in the lines of that entry, so it is on disk when they are: a character that is
//! split over two entries is not held back. The first part has an empty text and its bytes in a `b`; the whole
//! character is then the text of the entry that completes it, again with that entry's own bytes in a `b`.
//! Keystrokes that are kept out are an `i` line `[redacted]` whose bytes are none: nobody can type that.
//!
//! A desktop's channel has no lines behind its header, but records ([`crate::rdp::record`]): [`Entry::Record`].
//!
//! What the reader does not guard against: text that harms a terminal. `screen` does that.

mod reader;
mod records;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod writer;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{
    AccountName, ChannelClass, ChannelNumber, Exit, GrantId, Output, RuleId, SessionId, TargetName, UserName,
};
use crate::rdp::record::Kind;

pub use reader::{Ending, ReadError, Reader};
pub use records::take_apart;
pub use writer::Writer;

/// One thing that happened on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The target's output, as it was sent to the user.
    Output {
        /// Standard output or standard error.
        output: Output,
        /// The bytes, exact.
        bytes: Bytes,
    },
    /// Bytes from the user to the target.
    Input(Bytes),
    /// Keystrokes that are kept out of the recording, however many.
    Redacted,
    /// The user's window has a new size.
    Resize {
        /// Columns.
        cols: u32,
        /// Rows.
        rows: u32,
    },
    /// A fact in words, such as `grant g-7k2m ended`.
    Marker(String),
    /// Bytes that were counted, and not kept.
    Digest(Digest),
    /// How the program ended.
    Exit(Exit),
    /// A message or a fact of a desktop, as it is. No known secret is looked for in it: what it shows is a picture.
    Record {
        /// What it is.
        kind: Kind,
        /// The message.
        bytes: Bytes,
    },
}

/// Which way the bytes of a [`Digest`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the user to the target.
    Stdin,
    /// Standard output, to the user.
    Stdout,
    /// Standard error, to the user.
    Stderr,
}

/// The running or final digest of one direction of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Which direction.
    pub direction: Direction,
    /// How many bytes, from the first of that direction. On a terminal whose keystrokes are kept out, a digest with a
    /// SHA-256 counts what was faster than typing, and one without it counts all that went by.
    pub bytes: u64,
    /// SHA-256 over all of them, in lower-case hex; none over keystrokes, for a password can be guessed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether nothing follows in that direction.
    pub last: bool,
}

/// Why keystrokes do not stand in a recording: the policy's `input`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Withheld {
    /// None are recorded.
    #[serde(rename = "input=off")]
    Off,
    /// Those are recorded that the target echoed.
    #[serde(rename = "input=echoed")]
    Echoed,
}

/// An entry and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Since the session opened. Kept in whole milliseconds.
    pub at: Duration,
    /// What happened.
    pub entry: Entry,
}

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Columns of the terminal; 80 where there is none.
    pub cols: u32,
    /// Rows of the terminal; 24 where there is none.
    pub rows: u32,
    /// The terminal's type, such as `xterm-256color`.
    pub term: Option<String>,
    /// When the session opened, in seconds since 1970.
    pub timestamp: i64,
    /// For people, such as `alice as root@db1`.
    pub title: Option<String>,
    /// The command line of an exec channel, where it is text.
    pub command: Option<String>,
    /// The environment variables that the user has set on the target.
    pub env: BTreeMap<String, String>,
    /// What Doorward knows of the session and the channel.
    pub doorward: Facts,
}

/// The `"doorward"` object of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: UserName,
    /// The identity on the target.
    pub account: AccountName,
    /// The target.
    pub target: TargetName,
    /// The grant, where the rule requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The grant's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash of the policy set that allowed it.
    pub policy: String,
    /// The rule that allowed it.
    pub rule: RuleId,
    /// Where the user came from, as `address:port`.
    #[serde(alias = "client")]
    pub source: String,
    /// The channel; 0 is the session's own facts.
    pub channel: ChannelNumber,
    /// What the channel is for; none for channel 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ChannelClass>,
    /// Whether the channel has a terminal.
    #[serde(default)]
    pub pty: bool,
    /// Where a forward leads, or where the target listens for it: `host:port` or the path of a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
    /// Base64 of an exec command line that is not UTF-8; `Header::command` has a readable form of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_base64: Option<String>,
    /// The terminal modes that the user asked for, opcode and value (RFC 4254 section 8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<(u8, u32)>,
    /// Why keystrokes are kept out of this channel's recording, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// How many times a name stands in this header in the place of a secret that the bastion knows.
    #[serde(default, skip_serializing_if = "is_none")]
    pub scrubbed: u64,
    /// The number of this segment in its channel, from 0.
    pub seg: u32,
    /// Milliseconds from the session's opening to this segment's first interval.
    pub t0: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The text of an `i` line that stands for keystrokes which are kept out.
const REDACTED: &str = "[redacted]";

/// Whole milliseconds, half rounded up: times are rounded before intervals are taken, so that they do not drift.
fn round_millis(at: Duration) -> u64 {
    u64::try_from(at.as_nanos().saturating_add(500_000) / 1_000_000).unwrap_or(u64::MAX)
}
