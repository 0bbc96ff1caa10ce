//! Where a forward leads: an address and a port, or a Unix socket.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ChannelClass, FileAsked, InvalidName};

/// One end of a forward (RFC 4254 section 7; OpenSSH's PROTOCOL section 2.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// A host, as a name or an address, and a port.
    Tcp {
        /// In lower case; an address in its shortest form, an IPv4 address never as an IPv6 one.
        host: String,
        /// 0 asks for any port, where something is to listen.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(String),
}

/// The longest host name (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// The longest path of a socket (unix(7)).
const PATH_BYTES_MAX: usize = 107;

impl Endpoint {
    /// A host and a port as a peer names them.
    ///
    /// A name is letters, digits, `-`, `_` and dots with a letter in its last part: what `inet_aton` would take for an
    /// address, such as `127.1` or `0x7f000001`, is none, so that no two parties read a host in two ways.
    ///
    /// # Errors
    /// `InvalidName` says what a host or a port may be.
    pub fn tcp(host: &str, port: u32) -> Result<Self, InvalidName> {
        let port = u16::try_from(port).map_err(|_| InvalidName { kind: "port", why: "a port is at most 65535" })?;
        Ok(Self::Tcp { host: host_name(host)?, port })
    }

    /// The path of a socket as a peer names it: absolute, without `.` and `..`, without control characters.
    ///
    /// # Errors
    /// `InvalidName` says what a path may be.
    pub fn unix(path: &str) -> Result<Self, InvalidName> {
        let invalid = |why| Err(InvalidName { kind: "socket path", why });
        if path.is_empty() || path.len() > PATH_BYTES_MAX {
            return invalid("a socket's path has 1 to 107 bytes");
        }
        let Some(parts) = path.strip_prefix('/') else { return invalid("a socket's path begins with `/`") };
        if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return invalid("a socket's path has no empty part, no `.` and no `..`");
        }
        if path.chars().any(|c| c.is_control() || c == '\u{fffd}') {
            return invalid("a socket's path is UTF-8 without control characters");
        }
        Ok(Self::Unix(path.to_owned()))
    }

    /// The host's address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp { host, .. } => host.parse().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The same place by an address of its host; a socket stays what it is.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Self {
        match self {
            Self::Tcp { port, .. } => Self::Tcp { host: address.to_canonical().to_string(), port: *port },
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// A host in its one form.
pub(crate) fn host_name(host: &str) -> Result<String, InvalidName> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(address.to_canonical().to_string());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let part = |part: &str| (1..=63).contains(&part.len()) && part.chars().all(plain);
    let last = name.rsplit('.').next().unwrap_or_default();
    // `0x7f` has letters too, and is a number all the same.
    let number = last.starts_with("0x") || last.starts_with("0X") || !last.contains(|c: char| c.is_ascii_alphabetic());
    if name.len() > HOST_BYTES_MAX || !name.split('.').all(part) || number {
        return Err(InvalidName {
            kind: "host",
            why: "a host is an IP address, or a name of letters, digits, - and _",
        });
    }
    Ok(name.to_ascii_lowercase())
}

/// What a channel asks of the policy: its class, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// What the channel is for.
    pub class: ChannelClass,
    /// Where a forward leads, or which file, or that it has a terminal; none asks whether anything of this class may be
    /// opened.
    pub matter: Option<Matter>,
}

/// What a channel is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matter {
    /// Where a forward leads, or what it listens on.
    Endpoint(Endpoint),
    /// What is done by SFTP, and to which file.
    File(FileAsked),
    /// Whatever SFTP can do, to every file: what a rule without paths opens.
    EveryFile,
    /// One key of the user's agent, by its fingerprint (`SHA256:...`).
    Key(String),
    /// A terminal, for a shell or a command.
    Terminal,
}

impl Asked {
    /// A forward, and where it leads or what it listens on.
    pub fn forward(class: ChannelClass, endpoint: Endpoint) -> Self {
        Self { class, matter: Some(Matter::Endpoint(endpoint)) }
    }

    /// One key of the user's agent.
    pub fn agent_key(fingerprint: String) -> Self {
        Self { class: ChannelClass::Agent, matter: Some(Matter::Key(fingerprint)) }
    }

    /// A shell or a command, on a terminal.
    pub fn on_terminal(class: ChannelClass) -> Self {
        Self { class, matter: Some(Matter::Terminal) }
    }

    /// Where it leads, if it is a forward.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match &self.matter {
            Some(Matter::Endpoint(endpoint)) => Some(endpoint),
            Some(Matter::File(_) | Matter::EveryFile | Matter::Key(_) | Matter::Terminal) | None => None,
        }
    }
}

/// What a target opens of its own accord, because it was asked to listen there or was lent something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// Somebody connected where it listens for the user.
    Place(Endpoint),
    /// A program on it wants the user's agent.
    Agent,
    /// A program on it wants the user's display.
    X11,
}

impl From<ChannelClass> for Asked {
    fn from(class: ChannelClass) -> Self {
        Self { class, matter: None }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matter {
            None => self.class.fmt(f),
            Some(Matter::Endpoint(endpoint)) => write!(f, "{} {endpoint}", self.class),
            Some(Matter::File(file)) => write!(f, "{} {file}", self.class),
            Some(Matter::EveryFile) => write!(f, "{} of every file", self.class),
            Some(Matter::Key(key)) => write!(f, "{} {key}", self.class),
            Some(Matter::Terminal) => write!(f, "{} on a terminal", self.class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        let form = |host: &str| Endpoint::tcp(host, 80).map(|endpoint| endpoint.to_string());
        for (host, one) in [
            ("LocalHost", "localhost:80"),
            ("db.Internal.", "db.internal:80"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("0:0::1", "[::1]:80"),
            ("::ffff:10.0.0.1", "10.0.0.1:80"),
            ("xn--bcher-kva", "xn--bcher-kva:80"),
        ] {
            assert_eq!(form(host), Ok(one.to_owned()), "{host}");
        }
        let long = "a.".repeat(150) + "b";
        for bad in [
            "",
            ".",
            "a..b",
            "127.1",
            "0x7f000001",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "a b",
            "a\n",
            "é",
            "1.2.3",
            "[::1]",
            "fe80::1%eth0",
            "*",
            long.as_str(),
        ] {
            assert!(form(bad).is_err(), "{bad:?}");
        }
        assert!(Endpoint::tcp("localhost", 65_536).is_err());
    }

    #[test]
    fn the_path_of_a_socket_leads_where_it_says() {
        assert_eq!(Endpoint::unix("/run/x.sock").unwrap().to_string(), "/run/x.sock");
        let long = format!("/{}", "a".repeat(107));
        for bad in ["", "/", "x.sock", "/run/../x", "/run/./x", "/run//x", "/run/x/", "/a\n", "/a\u{fffd}", &long] {
            assert!(Endpoint::unix(bad).is_err(), "{bad:?}");
        }
    }
}
