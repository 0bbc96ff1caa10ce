//! `doorward client-config`: lines for a user's `~/.ssh/config`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{print, say};
use crate::admin::api::{Reply, Request};
use crate::model::{Destination, UserName};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The user's name, such as alice.
    user: UserName,
    /// The name or address by which users reach the bastion [default: this machine's name].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), CliError> {
    let request = Request::ClientConfig { user: arguments.user.clone() };
    let Reply::ClientConfig { listen, host_key, destinations, .. } = desk.ask(request)? else {
        return Err(unexpected());
    };
    let address = listen.first().and_then(|address| address.parse::<SocketAddr>().ok());
    let port = address.map_or(2222, |address| address.port());
    let listened = address.map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
    let host = arguments.host.clone().or(listened).unwrap_or_else(machine_name);
    if destinations.is_empty() {
        say(format!(
            "no rule lets `{}` use any known account; `doorward check` and `user list` show why",
            arguments.user
        ));
    }
    print(&lines(&arguments.user, &host, port, &host_key, &destinations))
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "bastion.example.org".to_owned() } else { name.to_owned() }
}

fn lines(user: &UserName, host: &str, port: u16, host_key: &str, destinations: &[Destination]) -> String {
    let mut text = String::new();
    let key: Vec<&str> = host_key.split_whitespace().take(2).collect();
    let named = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    // A `String` takes every write.
    let _ = write!(
        text,
        "# Doorward, for {user}. Put these lines in ~/.ssh/config, and this one in ~/.ssh/known_hosts:\n\
         # {named} {}\n",
        key.join(" ")
    );
    let mut accounts: BTreeMap<&str, usize> = BTreeMap::new();
    for destination in destinations {
        let count = accounts.entry(destination.target.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    for destination in destinations {
        let Destination { account, target } = destination;
        // A target with one account goes by its own name too.
        let short = if accounts.get(target.as_str()) == Some(&1) { format!("{target} ") } else { String::new() };
        let _ = write!(
            text,
            "\nHost {short}{account}-{target}\n    HostName {host}\n    Port {port}\n    User {user}+{destination}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_destination_has_a_name_of_its_own() {
        let destinations = ["root@db1", "pg@db1", "root@web"].map(|text| Destination::parse(text).unwrap());
        let text =
            lines(&UserName::parse("alice").unwrap(), "b.example.org", 2222, "ssh-ed25519 AAAA x", &destinations);
        assert!(text.contains("# [b.example.org]:2222 ssh-ed25519 AAAA\n"), "{text}");
        assert!(text.contains("\nHost root-db1\n") && text.contains("\nHost web root-web\n"), "{text}");
        assert!(text.contains("    User alice+pg@db1\n"), "{text}");
    }
}
