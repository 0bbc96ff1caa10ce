//! The coverage table: every SSH channel, request and kind of data that there is, and what becomes of it (promise P1).
//!
//! What is not in the table is refused and on record. What a class of channels leaves in its recording is [`fate`], by
//! which the relay records; the listener and the target's side ask [`row`] for what they do not carry.

use std::fmt;

use serde::Serialize;

use crate::model::ChannelClass;

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is in the recording: its bytes as the rule's `recording` says, or what it does, operation by operation.
    Recorded,
    /// Who, where, when and how many bytes each way are in the recording; not the bytes.
    Metadata,
    /// It carries nothing and asks for nothing: answered, passed on or passed over.
    Empty,
    /// It is refused, and that is on record.
    Refused,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Recorded => "recorded",
            Self::Metadata => "metadata",
            Self::Empty => "empty",
            Self::Refused => "refused",
        })
    }
}

/// What becomes of the bytes of a channel.
pub fn fate(class: ChannelClass) -> Fate {
    match class {
        ChannelClass::Shell
        | ChannelClass::Exec
        | ChannelClass::SftpRead
        | ChannelClass::SftpWrite
        | ChannelClass::Agent
        | ChannelClass::Desktop => Fate::Recorded,
        ChannelClass::LocalForward
        | ChannelClass::LocalForwardUnix
        | ChannelClass::RemoteForward
        | ChannelClass::RemoteForwardUnix
        | ChannelClass::X11 => Fate::Metadata,
    }
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A type of channel (RFC 4254 section 5.1).
    Channel,
    /// A request on a channel (section 5.4).
    Request,
    /// A global request (section 4).
    Global,
    /// A kind of data on a channel (section 5.2).
    Data,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Channel => "channel",
            Self::Request => "request",
            Self::Global => "global",
            Self::Data => "data",
        })
    }
}

/// Who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The bastion user's client.
    User,
    /// The target.
    Target,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Target => "target",
        })
    }
}

/// One line of a table: of this one, or of that of desktops, which has kinds of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Row<K = Kind> {
    /// Who asks for it.
    pub from: Peer,
    /// What kind of thing it is.
    pub kind: K,
    /// Its name, on the wire where it has one there.
    pub name: &'static str,
    /// What becomes of it.
    pub fate: Fate,
    /// The switch in a rule's `channels` (of desktops: its `desktop`) without which it is refused; none for what needs no
    /// switch of its own.
    pub switch: Option<&'static str>,
    /// What that means.
    pub note: &'static str,
    /// Where it is defined.
    pub source: &'static str,
}

/// A line, written as one.
pub const fn row_of<K>(
    from: Peer,
    kind: K,
    name: &'static str,
    fate: Fate,
    switch: Option<&'static str>,
    note: &'static str,
    source: &'static str,
) -> Row<K> {
    Row { from, kind, name, fate, switch, note, source }
}

/// Every name of RFC 4254, RFC 4335 and OpenSSH's PROTOCOL.
#[rustfmt::skip]
pub const TABLE: &[Row] = {
    use Fate::{Empty, Metadata, Recorded, Refused};
    use Peer::{Target, User};
    use Kind::{Channel, Data, Global, Request};
    &[
        row_of(User, Channel, "session", Recorded, None, "what it runs is asked for by a request", "RFC 4254 6.1"),
        row_of(User, Channel, "direct-tcpip", Metadata, Some("local-forward"), "ssh -L, -D, -W; without a target, to a registered one: SSH ended here (ssh -J), recorded", "RFC 4254 7.2"),
        row_of(User, Channel, "direct-streamlocal@openssh.com", Metadata, Some("local-forward-unix"), "ssh -L to a socket", "PROTOCOL 2.4"),
        row_of(User, Channel, "forwarded-tcpip", Refused, None, "a user's client has no port to forward from", "RFC 4254 7.2"),
        row_of(User, Channel, "forwarded-streamlocal@openssh.com", Refused, None, "nor a socket", "PROTOCOL 2.4"),
        row_of(User, Channel, "x11", Refused, None, "a user's client has no X11 to forward", "RFC 4254 6.3.2"),
        row_of(User, Channel, "auth-agent@openssh.com", Refused, None, "a user's client asks no agent of ours", "PROTOCOL.agent"),
        row_of(User, Channel, "tun@openssh.com", Refused, None, "ssh -w", "PROTOCOL 2.3"),
        row_of(User, Request, "pty-req", Recorded, None, "terminal, size and modes", "RFC 4254 6.2"),
        row_of(User, Request, "env", Recorded, None, "names of [ssh] environment; others are refused", "RFC 4254 6.4"),
        row_of(User, Request, "shell", Recorded, Some("shell"), "", "RFC 4254 6.5"),
        row_of(User, Request, "exec", Recorded, Some("exec"), "scp -O and rsync by sftp-read and sftp-write instead", "RFC 4254 6.5"),
        row_of(User, Request, "subsystem", Recorded, Some("sftp-read, sftp-write"), "sftp, by operation; every other subsystem is refused", "RFC 4254 6.5"),
        row_of(User, Request, "window-change", Recorded, None, "", "RFC 4254 6.7"),
        row_of(User, Request, "signal", Recorded, None, "", "RFC 4254 6.9"),
        row_of(User, Request, "break", Recorded, None, "", "RFC 4335"),
        row_of(User, Request, "eow@openssh.com", Empty, None, "passed on", "PROTOCOL 2.1"),
        row_of(User, Request, "keepalive@openssh.com", Empty, None, "", "OpenSSH"),
        row_of(User, Request, "x11-req", Metadata, Some("x11"), "ssh -X; the cookie is nowhere on record", "RFC 4254 6.3.1"),
        row_of(User, Request, "auth-agent-req@openssh.com", Recorded, Some("agent"), "ssh -A", "PROTOCOL.agent"),
        row_of(User, Global, "tcpip-forward", Metadata, Some("remote-forward"), "ssh -R", "RFC 4254 7.1"),
        row_of(User, Global, "cancel-tcpip-forward", Metadata, Some("remote-forward"), "", "RFC 4254 7.1"),
        row_of(User, Global, "streamlocal-forward@openssh.com", Metadata, Some("remote-forward-unix"), "ssh -R to a socket", "PROTOCOL 2.4"),
        row_of(User, Global, "cancel-streamlocal-forward@openssh.com", Metadata, Some("remote-forward-unix"), "", "PROTOCOL 2.4"),
        row_of(User, Global, "keepalive@openssh.com", Empty, None, "", "OpenSSH"),
        row_of(User, Global, "no-more-sessions@openssh.com", Empty, None, "", "PROTOCOL 2.2"),
        row_of(User, Global, "hostkeys-prove-00@openssh.com", Empty, None, "answered with no", "PROTOCOL 2.5"),
        row_of(User, Data, "data", Recorded, None, "standard input; of a forward, the length", "RFC 4254 5.2"),
        row_of(User, Data, "extended-data", Refused, None, "a program has no second input: dropped", "RFC 4254 5.2"),
        row_of(Target, Channel, "forwarded-tcpip", Metadata, Some("remote-forward"), "only from where it was asked to listen", "RFC 4254 7.2"),
        row_of(Target, Channel, "forwarded-streamlocal@openssh.com", Metadata, Some("remote-forward-unix"), "only from where it was asked to listen", "PROTOCOL 2.4"),
        row_of(Target, Channel, "x11", Metadata, Some("x11"), "only while a channel that asked for it is open", "RFC 4254 6.3.2"),
        row_of(Target, Channel, "auth-agent@openssh.com", Recorded, Some("agent"), "the same; by operation, filtered: only keys and signatures for logins elsewhere", "PROTOCOL.agent"),
        row_of(Target, Channel, "session", Refused, None, "", "RFC 4254 6.1"),
        row_of(Target, Channel, "direct-tcpip", Refused, None, "", "RFC 4254 7.2"),
        row_of(Target, Channel, "direct-streamlocal@openssh.com", Refused, None, "", "PROTOCOL 2.4"),
        row_of(Target, Channel, "tun@openssh.com", Refused, None, "", "PROTOCOL 2.3"),
        row_of(Target, Request, "exit-status", Recorded, None, "", "RFC 4254 6.10"),
        row_of(Target, Request, "exit-signal", Recorded, None, "", "RFC 4254 6.10"),
        row_of(Target, Request, "eow@openssh.com", Empty, None, "passed on", "PROTOCOL 2.1"),
        row_of(Target, Request, "xon-xoff", Empty, None, "passed over: the client keeps its own flow control", "RFC 4254 6.8"),
        row_of(Target, Global, "hostkeys-00@openssh.com", Empty, None, "passed over: keys are pinned by an operator", "PROTOCOL 2.5"),
        row_of(Target, Global, "keepalive@openssh.com", Empty, None, "", "OpenSSH"),
        row_of(Target, Request, "keepalive@openssh.com", Empty, None, "answered here", "OpenSSH"),
        row_of(Target, Request, "break", Refused, None, "a user's client has no serial line", "RFC 4335"),
        row_of(Target, Request, "pty-req", Refused, None, "nor does it run anything for a target", "RFC 4254 6.2"),
        row_of(Target, Request, "env", Refused, None, "", "RFC 4254 6.4"),
        row_of(Target, Request, "shell", Refused, None, "", "RFC 4254 6.5"),
        row_of(Target, Request, "exec", Refused, None, "", "RFC 4254 6.5"),
        row_of(Target, Request, "subsystem", Refused, None, "", "RFC 4254 6.5"),
        row_of(Target, Request, "window-change", Refused, None, "", "RFC 4254 6.7"),
        row_of(Target, Request, "signal", Refused, None, "", "RFC 4254 6.9"),
        row_of(Target, Request, "x11-req", Refused, None, "", "RFC 4254 6.3.1"),
        row_of(Target, Request, "auth-agent-req@openssh.com", Refused, None, "", "PROTOCOL.agent"),
        row_of(Target, Global, "tcpip-forward", Refused, None, "a user's client listens for no target", "RFC 4254 7.1"),
        row_of(Target, Global, "cancel-tcpip-forward", Refused, None, "", "RFC 4254 7.1"),
        row_of(Target, Global, "streamlocal-forward@openssh.com", Refused, None, "", "PROTOCOL 2.4"),
        row_of(Target, Global, "cancel-streamlocal-forward@openssh.com", Refused, None, "", "PROTOCOL 2.4"),
        row_of(Target, Global, "no-more-sessions@openssh.com", Refused, None, "", "PROTOCOL 2.2"),
        row_of(Target, Global, "hostkeys-prove-00@openssh.com", Refused, None, "", "PROTOCOL 2.5"),
        row_of(Target, Data, "data", Recorded, None, "standard output; of a forward, the length", "RFC 4254 5.2"),
        row_of(Target, Data, "extended-data", Recorded, None, "standard error; other types are dropped", "RFC 4254 5.2"),
    ]
};

/// The line of a name; `None` for what is not in the table, and so refused.
pub fn row(from: Peer, kind: Kind, name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.from == from && row.kind == kind && row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_stands_once() {
        for (at, row) in TABLE.iter().enumerate() {
            let same = |other: &&Row| (other.from, other.kind, other.name) == (row.from, row.kind, row.name);
            assert_eq!(TABLE.iter().filter(same).count(), 1, "{at}: {row:?}");
        }
    }

    #[test]
    fn each_class_has_a_row_that_says_the_same() {
        // A desktop is none of SSH's channels: its own messages have a table of their own.
        for class in ChannelClass::ALL.into_iter().filter(|class| *class != ChannelClass::Desktop) {
            let name = class.to_string();
            let named = |row: &&Row| row.switch.is_some_and(|switch| switch.split(", ").any(|one| one == name));
            let rows: Vec<&Row> = TABLE.iter().filter(named).collect();
            assert!(!rows.is_empty(), "{class}");
            assert!(rows.iter().all(|row| row.fate == fate(class)), "{class}");
        }
    }
}
