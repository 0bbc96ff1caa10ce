//! Where forwards may lead: a rule's `forward`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::document::{Fault, Faults, Node};
use crate::model::{Asked, ChannelClass, Endpoint, host_name};
use crate::pattern::part_matches;

/// A rule's `forward`. What is not named is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardRule {
    /// Where the target may connect to for the user: `to`.
    pub to: Vec<Address>,
    /// Which of the target's sockets it may connect to: `sockets`.
    pub sockets: Vec<SocketPath>,
    /// Where the target may listen for the user: `listen`.
    pub listen: Vec<Address>,
    /// On which sockets it may listen: `listen_sockets`.
    pub listen_sockets: Vec<SocketPath>,
    /// What becomes of SSH to targets of the bastion: `ssh`.
    pub ssh: ForwardedSsh,
}

/// What becomes of a forward to a target's name, from a connection to another target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedSsh {
    /// It is a forward as any other, so it ends as soon as SSH is seen in it: `refuse`.
    #[default]
    Refused,
    /// It ends at the bastion, as a jump does: `end`.
    Ended,
}

const SSH_WORDS: &[(&str, ForwardedSsh)] = &[("refuse", ForwardedSsh::Refused), ("end", ForwardedSsh::Ended)];

impl ForwardRule {
    /// Whether this is named. What has no place, such as a shell, or a question about all places, is not looked at.
    pub(super) fn covers(&self, asked: &Asked) -> bool {
        let Some(endpoint) = asked.endpoint() else { return true };
        match asked.class {
            ChannelClass::LocalForward => self.to.iter().any(|address| address.covers(endpoint)),
            ChannelClass::LocalForwardUnix => self.sockets.iter().any(|path| path.covers(endpoint)),
            ChannelClass::RemoteForward => self.listen.iter().any(|address| address.covers(endpoint)),
            ChannelClass::RemoteForwardUnix => self.listen_sockets.iter().any(|path| path.covers(endpoint)),
            ChannelClass::Shell
            | ChannelClass::Exec
            | ChannelClass::SftpRead
            | ChannelClass::SftpWrite
            | ChannelClass::Agent
            | ChannelClass::X11
            | ChannelClass::Desktop => false,
        }
    }

    /// Whether a name may lead to this port by an address.
    pub(super) fn looks_up(&self, port: u16) -> bool {
        self.to.iter().any(|address| address.is_net_with(port))
    }

    /// Reads a rule's `forward`.
    pub(super) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let mut addresses = |key, faults: &mut Faults| {
            table.take(key).map_or(Some(Vec::new()), |node| list(&node, Address::read, faults))
        };
        let (to, listen) = (addresses("to", faults), addresses("listen", faults));
        let mut paths = |key, faults: &mut Faults| {
            table.take(key).map_or(Some(Vec::new()), |node| list(&node, SocketPath::read, faults))
        };
        let (sockets, listen_sockets) = (paths("sockets", faults), paths("listen_sockets", faults));
        let ssh = table.take("ssh").map_or(Some(ForwardedSsh::default()), |node| faults.keep(node.word(SSH_WORDS)));
        table.finish(&[], faults);
        Some(Self { to: to?, sockets: sockets?, listen: listen?, listen_sockets: listen_sockets?, ssh: ssh? })
    }

    /// What a class of channels needs in `forward`, and whether it is there.
    pub(super) fn place_of(&self, class: ChannelClass) -> Option<(&'static str, bool)> {
        match class {
            ChannelClass::LocalForward => Some(("to", !self.to.is_empty())),
            ChannelClass::LocalForwardUnix => Some(("sockets", !self.sockets.is_empty())),
            ChannelClass::RemoteForward => Some(("listen", !self.listen.is_empty())),
            ChannelClass::RemoteForwardUnix => Some(("listen_sockets", !self.listen_sockets.is_empty())),
            ChannelClass::Shell
            | ChannelClass::Exec
            | ChannelClass::SftpRead
            | ChannelClass::SftpWrite
            | ChannelClass::Agent
            | ChannelClass::X11
            | ChannelClass::Desktop => None,
        }
    }
}

fn list<T>(node: &Node<'_>, read: impl Fn(&Node<'_>) -> Result<T, Fault>, faults: &mut Faults) -> Option<Vec<T>> {
    let items = faults.keep(node.filled_list())?;
    // Two steps, so that a first bad one does not hide the second.
    let read: Vec<Option<T>> = items.iter().map(|item| faults.keep(read(item))).collect();
    read.into_iter().collect()
}

/// Hosts and ports, such as `localhost:5432`, `10.0.0.0/8:443`, `[fd00::/8]:1024-65535`, `db.internal:*` or `*:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: Host,
    /// First and last.
    ports: (u16, u16),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// `*`.
    Every,
    /// The name `localhost`, and every loopback address.
    Loopback,
    /// A name, as it stands: the target looks it up, once, when it connects.
    Name(String),
    /// Addresses, IPv4 ones in their own form. A name that no rule has is looked up by the bastion, and the target is given
    /// the address.
    Net(IpNet),
}

impl Address {
    fn covers(&self, endpoint: &Endpoint) -> bool {
        let Endpoint::Tcp { host, port } = endpoint else { return false };
        let (first, last) = self.ports;
        (first..=last).contains(port)
            && match (&self.host, endpoint.address()) {
                (Host::Every, _) => true,
                (Host::Loopback, Some(address)) => address.is_loopback(),
                (Host::Loopback, None) => host == "localhost",
                (Host::Name(name), None) => name == host,
                (Host::Net(net), Some(address)) => net.contains(&address),
                (Host::Name(_), Some(_)) | (Host::Net(_), None) => false,
            }
    }

    fn read(node: &Node<'_>) -> Result<Self, Fault> {
        let text = node.filled_string()?;
        Self::parse(text).ok_or_else(|| {
            node.fault(format!("{text:?} is not a host and a port"))
                .hint("write host:port, such as localhost:5432, 10.0.0.0/8:443 (no bits beyond the prefix), [fd00::/8]:22, db.internal:* or *:443")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, ports) = text.rsplit_once(':')?;
        let ports = match ports.split_once('-') {
            _ if ports == "*" => (0, u16::MAX),
            None => (port(ports)?, port(ports)?),
            Some((first, last)) => (port(first)?, port(last)?),
        };
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            // An IPv6 address wants brackets: where it ends must be seen.
            None if host.contains(':') => return None,
            None => host,
        };
        let host = if bare == "*" {
            Host::Every
        } else if let Ok(net) = bare.parse::<IpNet>() {
            // Bits beyond the prefix are a slip - was one address meant, or the network? -, and a mapped one never matches.
            let mapped = matches!(net.addr(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
            if net != net.trunc() || mapped {
                return None;
            }
            Host::Net(net)
        } else if let Ok(address) = bare.parse::<IpAddr>() {
            Host::Net(IpNet::from(address.to_canonical()))
        } else {
            match host_name(bare).ok()? {
                name if name == "localhost" => Host::Loopback,
                name => Host::Name(name),
            }
        };
        (ports.0 <= ports.1).then_some(Self { host, ports })
    }

    /// Whether it names addresses with this port, so that a name that is asked for may have to be looked up.
    fn is_net_with(&self, port: u16) -> bool {
        let (first, last) = self.ports;
        matches!(self.host, Host::Net(_)) && (first..=last).contains(&port)
    }
}

/// Digits only: `+22` is no port.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The path of a Unix socket; each `*` stands for anything within one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketPath(String);

impl SocketPath {
    fn covers(&self, endpoint: &Endpoint) -> bool {
        let Endpoint::Unix(path) = endpoint else { return false };
        let (mut wanted, mut parts) = (self.0.split('/'), path.split('/'));
        loop {
            match (wanted.next(), parts.next()) {
                (None, None) => return true,
                (Some(wanted), Some(part)) if part_matches(wanted.as_bytes(), part.as_bytes()) => {}
                _ => return false,
            }
        }
    }

    fn read(node: &Node<'_>) -> Result<Self, Fault> {
        let text = node.filled_string()?;
        Endpoint::unix(text).map_err(|invalid| node.fault(format!("{text:?} is not a path")).hint(invalid.why))?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, host: &str, port: u32) -> bool {
        Address::parse(pattern).unwrap().covers(&Endpoint::tcp(host, port).unwrap())
    }

    #[test]
    fn an_address_is_covered_by_name_or_by_network_and_by_port() {
        for (pattern, host, port) in [
            ("localhost:5432", "localhost", 5432),
            ("localhost:5432", "127.0.0.1", 5432),
            ("localhost:5432", "::1", 5432),
            ("localhost:5432", "::ffff:127.0.0.1", 5432),
            ("localhost.:5432", "127.0.0.1", 5432),
            ("LOCALHOST:*", "127.8.9.1", 1),
            ("10.0.0.0/8:443", "10.200.0.1", 443),
            ("10.0.0.1:443", "::ffff:10.0.0.1", 443),
            ("[fd00::/8]:22", "fd00::1", 22),
            ("[::1]:22", "::1", 22),
            ("db.internal:1-1024", "DB.internal.", 1024),
            ("*:443", "anything", 443),
            ("*:443", "1.2.3.4", 443),
        ] {
            assert!(covers(pattern, host, port), "{pattern} {host}:{port}");
        }
        for (pattern, host, port) in [
            ("localhost:5432", "localhost", 5433),
            ("localhost:5432", "localhost.example", 5432),
            ("localhost:5432", "0.0.0.0", 5432),
            ("10.0.0.0/8:443", "11.0.0.1", 443),
            ("10.0.0.0/8:443", "ten.example", 443),
            ("db.internal:443", "10.0.0.1", 443),
            ("db.internal:443", "xdb.internal", 443),
            ("*:443", "anything", 444),
        ] {
            assert!(!covers(pattern, host, port), "{pattern} {host}:{port}");
        }
        for bad in [
            "",
            "localhost",
            ":22",
            "localhost:",
            "localhost:65536",
            "localhost:+1",
            "localhost:2-1",
            "::1:22",
            "fd00::/8:22",
            "[::1:22",
            "a b:1",
            "127.1:22",
            "*.example:22",
            "10.0.0.0/33:1",
            "10.1.2.3/8:443",
            "[::ffff:10.0.0.0/104]:22",
        ] {
            assert!(Address::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_star_in_a_path_stays_within_its_part() {
        let covers =
            |pattern: &str, path: &str| SocketPath(pattern.to_owned()).covers(&Endpoint::Unix(path.to_owned()));
        for (pattern, path) in [
            ("/run/x.sock", "/run/x.sock"),
            ("/run/user/*/vscode-*.sock", "/run/user/1000/vscode-12ab.sock"),
            ("/tmp/*", "/tmp/a"),
            ("/tmp/a*b*c", "/tmp/aXbYc"),
            ("/tmp/a*b*b", "/tmp/abb"),
        ] {
            assert!(covers(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/run/x.sock", "/run/x.sockx"),
            ("/run/*", "/run/a/b"),
            ("/run/*/b", "/run/b"),
            ("/tmp/a*a", "/tmp/a"),
            ("/tmp/a*b*b", "/tmp/ab"),
        ] {
            assert!(!covers(pattern, path), "{pattern} {path}");
        }
    }
}
