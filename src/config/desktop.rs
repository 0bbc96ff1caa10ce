//! `[rdp]`: the door for desktops.

use std::net::SocketAddr;
use std::time::Duration;

use super::read_listen;
use crate::document::{Faults, Node, Table};
use crate::ledger::desktop_address;
use crate::model::join;
use crate::policy::Fault;
use crate::rdp::control::Security;

const OFFERS: &[(&str, Security)] = &[("nla", Security::Nla), ("tls", Security::Tls)];

/// `[rdp]`: where users' programs for desktops connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdpSettings {
    /// `listen`: addresses and ports to accept RDP on, one or a list. No default. Each is one more place to be attacked
    /// from.
    pub listen: Vec<SocketAddr>,
    /// `address`: `host:port` as users' machines reach the bastion, for the files and lines that tickets come with.
    /// Default: the first of `listen`, by this machine's name where that is every address.
    pub address: String,
    /// `offered`: how users may log in: `nla` with a one-time ticket, `tls` with their password and a one-time code.
    /// Default both, as far as `[login] passwords` lets anybody have a password. With `tls` strangers can guess.
    pub offered: Vec<Security>,
    /// `handshake`: time from accept to login. Default `30s`. A long one lets idle connections hold slots, a short one
    /// fails on users who are asked about a certificate.
    pub handshake: Duration,
    /// `max_unauthenticated`: connections that have not logged in yet, in all. Default 20. Each is a process.
    pub max_unauthenticated: usize,
    /// `max_unauthenticated_per_address`: the same from one address. Default 5.
    pub max_unauthenticated_per_address: usize,
    /// `max_desktops`: desktops that are live, in all. Default 100. Each is a process with its pictures in memory.
    pub max_desktops: usize,
    /// `max_desktops_per_user`: the same of one user. Default 5.
    pub max_desktops_per_user: usize,
}

/// Reads `[rdp]`; none if it is not there: then there is no such door.
pub(super) fn read_rdp(root: &mut Table<'_>, passwords: bool, faults: &mut Faults) -> Option<RdpSettings> {
    let mut table = root.take("rdp").and_then(|node| faults.keep(node.table()))?;
    let listen = table.need("listen", faults).and_then(|node| faults.keep(read_listen(&node)));
    let usual = if passwords { vec![Security::Nla, Security::Tls] } else { vec![Security::Nla] };
    let offered_node = table.take("offered");
    let offered = match &offered_node {
        Some(node) => faults.keep(read_offered(node)),
        None => Some(usual),
    };
    if let (Some(node), Some(offered)) = (&offered_node, &offered)
        && offered.contains(&Security::Tls)
        && !passwords
    {
        let message = "offers `tls`, and nobody may log in by a password";
        faults.push(node.fault(message).hint("set passwords = true in [login], or offer nla alone"));
    }
    let named =
        |node: &Node<'_>| desktop_address(node.string()?).map(Some).map_err(|error| node.fault(error.to_string()));
    let address = table.read("address", None, faults, named);
    let count = |node: &Node<'_>| node.integer_in(1..=100_000);
    let handshake = table.read("handshake", Duration::from_secs(30), faults, |node| {
        node.duration_in(Duration::from_secs(1)..=Duration::from_secs(300))
    });
    let max_unauthenticated = table.read("max_unauthenticated", 20, faults, count);
    let max_unauthenticated_per_address = table.read("max_unauthenticated_per_address", 5, faults, count);
    let max_desktops = table.read("max_desktops", 100, faults, count);
    let max_desktops_per_user = table.read("max_desktops_per_user", 5, faults, count);
    table.finish(&[], faults);
    let (listen, offered) = (listen?, offered?);
    let address = address.or_else(|| listen.first().map(|first| reached(*first)))?;
    Some(RdpSettings {
        listen,
        address,
        offered,
        handshake,
        max_unauthenticated,
        max_unauthenticated_per_address,
        max_desktops,
        max_desktops_per_user,
    })
}

fn read_offered(node: &Node<'_>) -> Result<Vec<Security>, Fault> {
    let mut offered = Vec::new();
    for item in node.filled_list()? {
        let security = item.word(OFFERS)?;
        if offered.contains(&security) {
            return Err(item.fault(format!("stands twice; known: {}", join(OFFERS.iter().map(|(word, _)| word)))));
        }
        offered.push(security);
    }
    Ok(offered)
}

/// What users' machines may know a listening address by.
fn reached(listen: SocketAddr) -> String {
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = if name.trim().is_empty() { "bastion" } else { name.trim() };
    format!("{name}:{}", listen.port())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Starter};
    use super::*;

    fn parsed(lines: &str) -> Result<Option<RdpSettings>, Vec<Fault>> {
        let text = format!("{}\n{lines}\n", Config::starter_text(&Starter::default()));
        Config::parse(Path::new("/etc/doorward/doorward.toml"), &text).map(|config| config.rdp)
    }

    #[test]
    fn there_is_no_door_for_desktops_unless_one_is_set() {
        assert_eq!(parsed("").unwrap(), None);
        let set = parsed("[rdp]\nlisten = \"127.0.0.1:3389\"").unwrap().unwrap();
        assert_eq!((set.address.as_str(), set.offered), ("127.0.0.1:3389", vec![Security::Nla]));
        let named = parsed("[rdp]\nlisten = \"0.0.0.0:3389\"\naddress = \"bastion.example\"").unwrap().unwrap();
        assert_eq!(named.address, "bastion.example:3389");
    }

    #[test]
    fn passwords_are_offered_only_where_somebody_may_have_one() {
        let faults = parsed("[rdp]\nlisten = \"127.0.0.1:3389\"\noffered = [\"nla\", \"tls\"]").unwrap_err();
        assert!(join(&faults).contains("nobody may log in by a password"), "{}", join(&faults));
        for wrong in
            ["", "listen = \"x\"", "listen = \"127.0.0.1:1\"\noffered = [\"rdp\"]", "listen = \"127.0.0.1:1\"\nmax = 1"]
        {
            assert_eq!(parsed(&format!("[rdp]\n{wrong}")).unwrap_err().len(), 1, "{wrong}");
        }
        let twice = parsed("[rdp]\nlisten = \"127.0.0.1:1\"\noffered = [\"nla\", \"nla\"]").unwrap_err();
        assert!(join(&twice).contains("stands twice"));
    }
}
