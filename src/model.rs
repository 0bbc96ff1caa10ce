//! Names and ids, one newtype each, and the events that cross the relay.
//!
//! Every name is parsed once, at the edge. What a peer typed is never kept as a bare `String`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

mod endpoint;
mod file;
pub mod transfer;

pub(crate) use endpoint::host_name;
pub use endpoint::{Asked, Endpoint, Inbound, Matter};
pub use file::{Extent, FileAction, FileAsked, FilePath};
use transfer::Transfer;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    /// What was being parsed: `user name`, `grant id`, ...
    pub kind: &'static str,
    /// What is wrong with it, and what is allowed.
    pub why: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a valid {}: {}", self.kind, self.why)
    }
}

impl std::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $first:expr, $rest:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses a name; see the type for what is allowed.
            ///
            /// # Errors
            /// `InvalidName` says what is allowed.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let first: fn(char) -> bool = $first;
                let rest: fn(char) -> bool = $rest;
                let mut chars = text.chars();
                let good = text.len() <= $max && chars.next().is_some_and(first) && chars.all(rest);
                if good { Ok(Self(text.to_owned())) } else { Err(InvalidName { kind: $kind, why: $why }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn lower_rest(c: char) -> bool {
    lower(c) || matches!(c, '.' | '_' | '-')
}

fn account_first(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn account_rest(c: char) -> bool {
    account_first(c) || matches!(c, '.' | '-' | '$')
}

name!(
    /// A bastion user: whoever logs in to the bastion.
    UserName, "user name", 32, lower, lower_rest,
    "use 1 to 32 of a-z 0-9 . _ -, the first a letter or digit"
);
name!(
    /// A group of bastion users.
    GroupName, "group name", 64, lower, lower_rest,
    "use 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
);
name!(
    /// A machine reached through the bastion.
    TargetName, "target name", 63, lower, lower_rest,
    "use 1 to 63 of a-z 0-9 . _ -, the first a letter or digit"
);
name!(
    /// An identity on a target.
    AccountName, "account name", 64, account_first, account_rest,
    "use 1 to 64 of A-Z a-z 0-9 . _ - $, the first a letter, digit or _"
);
name!(
    /// A rule's id, unique over all policy files.
    RuleId, "rule id", 64, lower, lower_rest,
    "use 1 to 64 of a-z 0-9 . _ -, the first a letter or digit"
);
name!(
    /// A grant's id, such as `g-7k2mq4x9`.
    GrantId, "grant id", 32, lower, lower_rest,
    "use the id that `doorward grant list` shows"
);
name!(
    /// An access request's id, such as `r-7k2mq4`.
    RequestId, "request id", 32, lower, lower_rest,
    "use the id that `request` printed, or that `requests` lists"
);
name!(
    /// A lock's id, such as `k-7k2mq4x9`.
    LockId, "lock id", 32, lower, lower_rest,
    "use the id that `doorward lock list` shows"
);
name!(
    /// A session's id: a ULID, 26 characters, sorts by start time.
    SessionId, "session id", 26, |c| c.is_ascii_uppercase() || c.is_ascii_digit(),
    |c| c.is_ascii_uppercase() || c.is_ascii_digit(),
    "use the id that `doorward recording list` shows"
);

impl SessionId {
    /// Makes an id from the wall clock and 80 random bits.
    pub fn from_parts(at: Timestamp, random: u128) -> Self {
        let ms = u64::try_from(at.as_millis()).unwrap_or(0);
        Self(ulid::Ulid::from_parts(ms, random).to_string())
    }

    /// The id of these 128 bits, big endian.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(ulid::Ulid::from_bytes(bytes).to_string())
    }

    /// When it was made; `None` if it is no ULID.
    pub fn made(&self) -> Option<Timestamp> {
        let id = ulid::Ulid::from_string(&self.0).ok()?;
        Some(Timestamp::from_millis(i64::try_from(id.timestamp_ms()).ok()?))
    }

    /// Its 128 bits, big endian; `None` if it has the form of an id but is no ULID as this program writes them.
    pub fn to_bytes(&self) -> Option<[u8; 16]> {
        let bytes = ulid::Ulid::from_string(&self.0).ok()?.to_bytes();
        // Several spellings may mean the same bits; one id must not pass for another.
        (Self::from_bytes(bytes) == *self).then_some(bytes)
    }
}

/// An account on a target, written `account@target`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    /// The identity on the target.
    pub account: AccountName,
    /// The target.
    pub target: TargetName,
}

impl Destination {
    /// Parses `account@target`.
    ///
    /// # Errors
    /// `InvalidName` if a part is missing or not a name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (account, target) =
            text.rsplit_once('@').ok_or(InvalidName { kind: "destination", why: "write it as account@target" })?;
        Ok(Self { account: AccountName::parse(account)?, target: TargetName::parse(target)? })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.account, self.target)
    }
}

impl FromStr for Destination {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Destination {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

/// The SSH login name: `[user+]account@target`, or `user` alone. Split from the right.
///
/// `+` parts the user because `scp` splits its argument at the first `:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A destination; the user is named, or known from the proven key.
    Destination {
        /// The user, where the login names one.
        user: Option<UserName>,
        /// Where to.
        destination: Destination,
    },
    /// The user alone.
    User(UserName),
}

impl Login {
    /// Parses a login name as the SSH client sent it.
    ///
    /// # Errors
    /// `InvalidName` says which part is wrong and what is allowed.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let Some((left, target)) = text.rsplit_once('@') else {
            return Ok(Self::User(UserName::parse(text)?));
        };
        let target = TargetName::parse(target)?;
        let (user, account) = match left.rsplit_once('+') {
            Some((user, account)) => (Some(UserName::parse(user)?), account),
            None => (None, left),
        };
        let destination = Destination { account: AccountName::parse(account)?, target };
        Ok(Self::Destination { user, destination })
    }

    /// The user whom the login names, if any.
    pub fn user(&self) -> Option<&UserName> {
        match self {
            Self::Destination { user, .. } => user.as_ref(),
            Self::User(user) => Some(user),
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination { user: Some(user), destination } => write!(f, "{user}+{destination}"),
            Self::Destination { user: None, destination } => destination.fmt(f),
            Self::User(user) => user.fmt(f),
        }
    }
}

/// Wall time, UTC, in milliseconds since 1970. Shown and stored as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339, such as `2026-11-23T09:00:00+01:00`.
    ///
    /// # Errors
    /// `InvalidName` says what form is wanted.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let why = "write it as RFC 3339, such as 2026-11-23T09:00:00+01:00";
        let parsed: jiff::Timestamp = text.parse().map_err(|_| InvalidName { kind: "time", why })?;
        Ok(Self(parsed.as_millisecond()))
    }

    /// This time plus `span`, at most the largest time there is.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time less `span`.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long until `later`; zero if that is past.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    fn calendar(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }

    /// `(year, month, day)` in UTC.
    pub fn date(self) -> (i16, i8, i8) {
        let day = self.calendar().to_zoned(jiff::tz::TimeZone::UTC).date();
        (day.year(), day.month(), day.day())
    }

    /// Hours and minutes in the bastion's time zone, for lines that people read.
    pub fn clock_time(self) -> String {
        self.calendar().to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M").to_string()
    }

    /// As `clock_time`, with the date where that is not the same day as `now`.
    pub fn clock_time_from(self, now: Self) -> String {
        let [day, today] = [self, now].map(|time| time.calendar().to_zoned(jiff::tz::TimeZone::system()).date());
        if day == today { self.clock_time() } else { format!("{day} {}", self.clock_time()) }
    }

    /// As `clock_time`, with seconds.
    pub fn clock_seconds(self) -> String {
        self.calendar().to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.calendar())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

/// What a channel is for; the names that a rule's `channels` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelClass {
    /// An interactive shell (RFC 4254 section 6.5).
    Shell,
    /// One command (RFC 4254 section 6.5), `git` among them; not `scp -O` and `rsync`, which move files.
    Exec,
    /// Reading and listing files, by SFTP (draft-ietf-secsh-filexfer-02), `scp -O` or `rsync`.
    SftpRead,
    /// Writing, making, changing and removing them.
    SftpWrite,
    /// A connection that the target makes for the user (`ssh -L` and `-D`; RFC 4254 section 7.2).
    LocalForward,
    /// The same to a Unix socket of the target's (OpenSSH's PROTOCOL section 2.4).
    LocalForwardUnix,
    /// A port on which the target listens for the user (`ssh -R`; RFC 4254 section 7.1), and what comes in there.
    RemoteForward,
    /// The same on a Unix socket.
    RemoteForwardUnix,
    /// The user's own SSH agent, lent to the target (`ssh -A`; OpenSSH's PROTOCOL.agent).
    Agent,
    /// The user's own display, lent to the target (`ssh -X`; RFC 4254 section 6.3).
    X11,
    /// A desktop, over RDP (MS-RDPBCGR).
    Desktop,
}

impl ChannelClass {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Shell,
        Self::Exec,
        Self::SftpRead,
        Self::SftpWrite,
        Self::LocalForward,
        Self::LocalForwardUnix,
        Self::RemoteForward,
        Self::RemoteForwardUnix,
        Self::Agent,
        Self::X11,
        Self::Desktop,
    ];

    /// Whether what it does is recorded, operation by operation, and not its bytes.
    pub fn is_by_operation(self) -> bool {
        self.is_sftp() || self == Self::Agent
    }

    /// Whether it moves files, of which the operations are recorded, and not the bytes.
    pub fn is_sftp(self) -> bool {
        match self {
            Self::SftpRead | Self::SftpWrite => true,
            Self::Shell
            | Self::Exec
            | Self::LocalForward
            | Self::LocalForwardUnix
            | Self::RemoteForward
            | Self::RemoteForwardUnix
            | Self::Agent
            | Self::X11
            | Self::Desktop => false,
        }
    }
}

impl fmt::Display for ChannelClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::SftpRead => "sftp-read",
            Self::SftpWrite => "sftp-write",
            Self::LocalForward => "local-forward",
            Self::LocalForwardUnix => "local-forward-unix",
            Self::RemoteForward => "remote-forward",
            Self::RemoteForwardUnix => "remote-forward-unix",
            Self::Agent => "agent",
            Self::X11 => "x11",
            Self::Desktop => "desktop",
        })
    }
}

/// What the user did when they logged in with a security key, as the key has signed it. Other ways in tell nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// Touched it.
    pub touch: bool,
    /// Gave it a PIN or a fingerprint.
    pub pin: bool,
}

impl Presence {
    /// Nothing is known of it.
    pub const NONE: Self = Self { touch: false, pin: false };
    /// All that a key can tell.
    pub const FULL: Self = Self { touch: true, pin: true };

    /// Whether it is all that is needed.
    pub fn covers(self, needed: Self) -> bool {
        (self.touch || !needed.touch) && (self.pin || !needed.pin)
    }
}

/// A channel's number within its session, from 1; 0 is the session's own facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelNumber(pub u32);

impl fmt::Display for ChannelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A terminal's size, in characters. That in pixels is not passed on: a recording has no place for it, and what is not
/// recorded must not reach a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// What a channel is to run (RFC 4254 section 6.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The account's login shell.
    Shell,
    /// A command line, as the bytes that came.
    Exec(Vec<u8>),
    /// The subsystem `sftp` (RFC 4254 section 6.5).
    Sftp,
    /// A command line that moves files and does nothing else.
    Transfer {
        /// The bytes that came.
        asked: Vec<u8>,
        /// What they mean; its line is what runs.
        transfer: Transfer,
    },
}

impl Program {
    /// What a command line is to run.
    pub fn of_line(line: &[u8]) -> Self {
        let asked = line.to_vec();
        match Transfer::parse(line) {
            Some(transfer) => Self::Transfer { asked, transfer },
            None => Self::Exec(asked),
        }
    }

    /// The classes by which rules name it, the greatest first: one of them is enough, but for a transfer, which needs all.
    pub fn classes(&self) -> &'static [ChannelClass] {
        match self {
            Self::Shell => &[ChannelClass::Shell],
            Self::Exec(_) => &[ChannelClass::Exec],
            Self::Sftp => &[ChannelClass::SftpWrite, ChannelClass::SftpRead],
            Self::Transfer { transfer, .. } => transfer.classes(),
        }
    }
}

/// The terminal that a channel asks for (RFC 4254 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The `TERM` value.
    pub term: String,
    /// Its size.
    pub size: TerminalSize,
    /// Terminal modes, opcode and value, known opcodes only (RFC 4254 section 8).
    pub modes: Vec<(u8, u32)>,
}

/// Which of a program's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Standard output, and all output of a pty.
    Stdout,
    /// Standard error (extended data type 1, RFC 4254 section 5.2).
    Stderr,
}

/// How a program ended (RFC 4254 section 6.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Exit {
    /// Its exit status.
    Status(u32),
    /// The signal that ended it, by RFC name without `SIG`.
    Signal {
        /// Such as `TERM`.
        name: String,
        /// Whether the target says that it dumped core.
        core_dumped: bool,
        /// The target's message, as it came.
        message: String,
    },
}

/// What the relay sees of a channel, whichever library carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelEvent {
    /// Bytes of standard input (towards the target) or standard output (towards the user).
    Data(Bytes),
    /// Bytes of standard error.
    Stderr(Bytes),
    /// No more data in this direction; the other goes on (RFC 4254 section 5.3).
    Eof,
    /// The user's window changed.
    Resize(TerminalSize),
    /// A signal for the program, by RFC name without `SIG`.
    Signal(String),
    /// The user asked for a break of so many milliseconds (RFC 4335).
    Break(u32),
    /// The peer reads no more output of this channel (`eow@openssh.com`).
    EndOfWrite,
    /// How the program ended.
    Exit(Exit),
    /// The channel is closed.
    Close,
}

/// A list's elements separated by `, `.
pub fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names_split_from_the_right() {
        let parsed = Login::parse("alice+root@db1").unwrap();
        assert_eq!(parsed.user().unwrap().as_str(), "alice");
        assert_eq!(parsed.to_string(), "alice+root@db1");
        assert_eq!(Login::parse("root@db1").unwrap().user(), None);
        assert!(matches!(Login::parse("alice").unwrap(), Login::User(_)));
    }

    #[test]
    fn bad_login_names_are_refused() {
        let long = "a".repeat(400);
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a+b",
            "a++b@c",
            "+b@c",
            "a+@c",
            "A@B",
            "al\u{0131}ce",
            "a b",
            "a\0b",
            "root@db1\n",
            "a:b@c",
            "a#b@c",
            "\u{202e}a@b",
            "..@db1",
            "-a@b",
            "root@-db",
            long.as_str(),
        ] {
            assert!(Login::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn timestamps_read_back_equal() {
        let time = Timestamp::parse("2026-11-23T09:00:00+01:00").unwrap();
        assert_eq!(time.to_string(), "2026-11-23T08:00:00.000Z");
        assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
    }
}
