//! Files of other programs become inventories: known_hosts, Ansible inventories, CSV, authorized_keys. Pure.
//!
//! An import is shown before it is applied. What cannot be taken over is said, line by line, never dropped silently.

use std::collections::{BTreeMap, BTreeSet};

use super::inventory::{Inventory, TargetEntry, UserEntry, check_label};
use crate::ledger::{UserKey, public_key};
use crate::model::{AccountName, GroupName, TargetName, Timestamp, UserName};

/// Hosts that one Ansible range may stand for.
const RANGE_MAX: usize = 1000;

/// What a file became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// What it asks for.
    pub inventory: Inventory,
    /// What was not taken over: line, from 1, and why.
    pub skipped: Vec<(usize, String)>,
}

impl Import {
    fn skip(&mut self, line: usize, why: impl Into<String>) {
        self.skipped.push((line, why.into()));
    }

    fn target(&mut self, line: usize, name: &str) -> Option<&mut TargetEntry> {
        match TargetName::parse(&name.to_ascii_lowercase()) {
            Ok(name) => Some(self.inventory.targets.entry(name).or_default()),
            Err(error) => {
                self.skip(line, format!("`{}`: {error}", name.escape_debug()));
                None
            }
        }
    }

    /// Whether every label can be taken over; if not, says why.
    fn good_labels(&mut self, line: usize, labels: &BTreeMap<String, String>) -> bool {
        let fault = labels.iter().find_map(|(key, value)| check_label(key, value).err());
        let good = fault.is_none();
        self.skipped.extend(fault.map(|why| (line, why)));
        good
    }

    /// Adds labels to every target.
    pub fn label(&mut self, labels: &BTreeMap<String, String>) {
        for target in self.inventory.targets.values_mut().filter(|_| !labels.is_empty()) {
            target.labels.get_or_insert_default().extend(labels.clone());
        }
    }
}

/// Lines with something in them, numbered from 1, without those that are comments.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// Reads known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): each host becomes a target with its keys pinned.
pub fn known_hosts(text: &str) -> Import {
    let mut import = Import::default();
    for (number, line) in lines(text) {
        let Some((hosts, key)) = line.split_once(char::is_whitespace) else {
            import.skip(number, "not a known_hosts line");
            continue;
        };
        if hosts.starts_with('@') {
            import.skip(number, format!("{hosts} lines are not taken over: pin the hosts' own keys"));
        } else if hosts.starts_with('|') {
            import.skip(number, "the host's name is hashed: add the target by hand and use `target scan`");
        } else if hosts.contains(['*', '?', '!']) {
            import.skip(number, "a pattern names no single host");
        } else if let Err(error) = public_key(key) {
            import.skip(number, error.to_string());
        } else {
            known_host(&mut import, number, hosts, key);
        }
    }
    import
}

fn known_host(import: &mut Import, number: usize, hosts: &str, key: &str) {
    let parsed: Vec<(&str, &str)> = hosts.split(',').map(host_and_port).collect();
    // Of `db1,10.0.0.5` the name is the target and the number its address.
    let is_number = |host: &str| host.parse::<std::net::IpAddr>().is_ok();
    let named = parsed.iter().find(|(host, _)| !is_number(host)).or(parsed.first());
    let reached = parsed.iter().find(|(host, _)| is_number(host)).or(parsed.first());
    let (Some((name, _)), Some((host, port))) = (named, reached) else { return };
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let Some(target) = import.target(number, name) else { return };
    match &target.address {
        Some(other) if *other != address => {
            import.skip(number, format!("`{name}` is at {address} here and elsewhere above"));
        }
        Some(_) | None => {
            target.address = Some(address);
            target.host_keys.get_or_insert_default().push(key.to_owned());
        }
    }
}

fn host_and_port(text: &str) -> (&str, &str) {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    bracketed.unwrap_or((text, "22"))
}

/// Reads a table with a heading: `name`, `address`, `accounts`, `host_key`, and `label.KEY` for each label.
///
/// Accounts and host keys in one field are parted by `;`.
pub fn csv(text: &str) -> Import {
    let mut import = Import::default();
    let mut rows = csv_rows(text).into_iter();
    let Some((_, heading)) = rows.next() else { return import };
    for column in &heading {
        if !matches!(column.as_str(), "name" | "address" | "accounts" | "host_key") && !column.starts_with("label.") {
            let known = "name, address, accounts, host_key, label.KEY";
            import.skip(1, format!("column `{}` is unknown; known: {known}", column.escape_debug()));
        }
    }
    for (number, row) in rows {
        if row.len() != heading.len() {
            import.skip(number, format!("has {} fields, the heading has {}", row.len(), heading.len()));
            continue;
        }
        let fields: BTreeMap<&str, &str> =
            heading.iter().map(String::as_str).zip(row.iter().map(String::as_str)).collect();
        csv_row(&mut import, number, &fields);
    }
    import
}

fn csv_row(import: &mut Import, number: usize, fields: &BTreeMap<&str, &str>) {
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let parts = |text: &'static str| field(text).split(';').map(str::trim).filter(|part| !part.is_empty());
    let accounts: Result<BTreeSet<_>, _> = parts("accounts").map(AccountName::parse).collect();
    let keys: Vec<String> = parts("host_key").map(str::to_owned).collect();
    let labels = fields.iter().filter_map(|(name, value)| Some((name.strip_prefix("label.")?, *value)));
    let labels: BTreeMap<String, String> =
        labels.filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(error) => return import.skip(number, error.to_string()),
    };
    let address = match field("address") {
        "" => field("name").to_owned(),
        address => address.to_owned(),
    };
    if !import.good_labels(number, &labels) {
        return;
    }
    let Some(target) = import.target(number, field("name")) else { return };
    *target = TargetEntry {
        address: Some(address),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        accounts: Some(accounts).filter(|accounts| !accounts.is_empty()),
        host_keys: Some(keys).filter(|keys| !keys.is_empty()),
        insecure_algorithms: None,
        desktop: None,
    };
}

/// RFC 4180: fields parted by commas, quoted where they hold commas, quotes or line ends.
fn csv_rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut field = String::new();
    let (mut line, mut start, mut quoted) = (1_usize, 1_usize, false);
    let mut chars = text.chars().peekable();
    let mut end_row = |row: &mut Vec<String>, field: &mut String, start: usize| {
        row.push(std::mem::take(field).trim().to_owned());
        let row = std::mem::take(row);
        if row.iter().any(|field| !field.is_empty()) {
            rows.push((start, row));
        }
    };
    while let Some(c) = chars.next() {
        line = line.saturating_add(usize::from(c == '\n'));
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.trim().is_empty() => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field).trim().to_owned()),
            '\n' if !quoted => {
                end_row(&mut row, &mut field, start);
                start = line;
            }
            '\u{feff}' if line == 1 && row.is_empty() && field.is_empty() => {}
            _ => field.push(c),
        }
    }
    end_row(&mut row, &mut field, start);
    rows
}

/// Reads authorized_keys (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
///
/// All keys go to `user`; without one, each goes to the user named before the `@` of its comment. Options such
/// as `from=` are not taken over, and a key that has some is skipped: without them it would open more. Those of security
/// keys are.
pub fn authorized_keys(text: &str, user: Option<&UserName>, groups: &BTreeSet<GroupName>) -> Import {
    let mut import = Import::default();
    for (number, line) in lines(text) {
        let key = match UserKey::parse(line, Timestamp::from_millis(0)) {
            Ok(key) => key,
            Err(error) => {
                import.skip(number, format!("not taken over ({error}); options, but for security keys, are not"));
                continue;
            }
        };
        let named = key.comment.split('@').next().unwrap_or_default().to_ascii_lowercase();
        let owner = user.cloned().map_or_else(|| UserName::parse(&named), Ok);
        match owner {
            Ok(owner) => {
                let entry: &mut UserEntry = import.inventory.users.entry(owner).or_default();
                entry.more_groups.extend(groups.iter().cloned());
                entry.more_keys.push(line.to_owned());
            }
            Err(_) => import.skip(number, "the comment names no user: give --user"),
        }
    }
    import
}

/// Reads an Ansible inventory in INI form: hosts, ranges, `:children` and `:vars`.
///
/// `ansible_host` and `ansible_port` become the address, `ansible_user` an account, and each group of a host a
/// label `group.NAME=yes`. Other variables are passed over: they are not about access.
pub fn ansible(text: &str) -> Import {
    let mut import = Import::default();
    let mut read = Ansible::default();
    let mut section = ("ungrouped".to_owned(), Kind::Hosts);
    for (number, line) in lines(text) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = match name.split_once(':') {
                None => (name.to_owned(), Kind::Hosts),
                Some((name, "children")) => (name.to_owned(), Kind::Children),
                Some((name, "vars")) => (name.to_owned(), Kind::Vars),
                Some(_) => {
                    import.skip(number, format!("section [{name}] is unknown"));
                    (String::new(), Kind::Passed)
                }
            };
            continue;
        }
        let (group, kind) = &section;
        match kind {
            Kind::Hosts => read.host(&mut import, number, group, line),
            Kind::Children => drop(read.parents.entry(line.to_owned()).or_default().insert(group.clone())),
            Kind::Vars => {
                let variable = line.split_once('=').map(|(key, value)| (key.trim().to_owned(), unquoted(value)));
                read.variables.entry(group.clone()).or_default().extend(variable);
            }
            Kind::Passed => {}
        }
    }
    read.finish(&mut import);
    import
}

#[derive(Clone, Copy)]
enum Kind {
    Hosts,
    Children,
    Vars,
    Passed,
}

#[derive(Default)]
struct Ansible {
    hosts: BTreeMap<String, Host>,
    /// Group to the groups that it is a child of.
    parents: BTreeMap<String, BTreeSet<String>>,
    variables: BTreeMap<String, BTreeMap<String, String>>,
}

struct Host {
    line: usize,
    groups: BTreeSet<String>,
    variables: BTreeMap<String, String>,
}

impl Ansible {
    fn host(&mut self, import: &mut Import, number: usize, group: &str, line: &str) {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(pattern) = words.next() else { return };
        let variables: BTreeMap<String, String> = words
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (key.to_owned(), unquoted(value)))
            .collect();
        let Some(names) = range(pattern) else {
            return import.skip(number, format!("`{}` is a range that is not understood", pattern.escape_debug()));
        };
        for name in names {
            let empty = Host { line: number, groups: BTreeSet::new(), variables: BTreeMap::new() };
            let host = self.hosts.entry(name).or_insert(empty);
            host.groups.insert(group.to_owned());
            host.variables.extend(variables.clone());
        }
    }

    /// The groups of a host and all groups above them; each group once, so that a circle ends.
    fn groups(&self, host: &Host) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next: Vec<&String> = host.groups.iter().collect();
        while let Some(group) = next.pop() {
            if found.insert(group.clone()) {
                next.extend(self.parents.get(group).into_iter().flatten());
            }
        }
        found
    }

    fn finish(self, import: &mut Import) {
        for (name, host) in &self.hosts {
            let groups = self.groups(host);
            // A host's own variable beats its nearest group's, that of a group above, and that of `all`.
            let variable = |key: &str| {
                let near = host.groups.iter().filter_map(|group| self.variables.get(group)?.get(key));
                let far = groups.iter().filter_map(|group| self.variables.get(group)?.get(key));
                let all = self.variables.get("all").and_then(|variables| variables.get(key));
                host.variables.get(key).or(near.chain(far).chain(all).next()).cloned()
            };
            // `name:port` is Ansible's older form.
            let (alias, own_port) = name.split_once(':').unwrap_or((name, "22"));
            let reached = variable("ansible_host").unwrap_or_else(|| alias.to_owned());
            let port = variable("ansible_port").unwrap_or_else(|| own_port.to_owned());
            let account = variable("ansible_user").map(|name| AccountName::parse(&name)).and_then(Result::ok);
            let labels = groups.iter().filter(|group| !matches!(group.as_str(), "all" | "ungrouped"));
            let labels: BTreeMap<String, String> =
                labels.map(|group| (format!("group.{group}"), "yes".to_owned())).collect();
            let address =
                if reached.contains(':') { format!("[{reached}]:{port}") } else { format!("{reached}:{port}") };
            if !import.good_labels(host.line, &labels) {
                continue;
            }
            let Some(target) = import.target(host.line, alias) else { continue };
            *target = TargetEntry {
                address: Some(address),
                labels: Some(labels).filter(|labels| !labels.is_empty()),
                accounts: account.map(|account| BTreeSet::from([account])),
                host_keys: None,
                insecure_algorithms: None,
                desktop: None,
            };
        }
    }
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

/// `web[01:03]` becomes `web01 web02 web03`; a range of letters or with a step is not understood.
fn range(pattern: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = pattern.split_once('[') else {
        return Some(vec![pattern.to_owned()]);
    };
    let (inside, after) = rest.split_once(']')?;
    let (from, to) = inside.split_once(':')?;
    let width = if from.starts_with('0') { from.len() } else { 0 };
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    let after = range(after)?;
    if to.checked_sub(from)?.checked_add(1)?.checked_mul(after.len())? > RANGE_MAX {
        return None;
    }
    let names =
        (from..=to).flat_map(|number| after.iter().map(move |after| format!("{before}{number:0width$}{after}")));
    Some(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn known_hosts_become_targets_with_pinned_keys() {
        let text = format!(
            "# comment\nDB1.example.org,10.0.0.5 {KEY}\n[bastion.example.org]:2222 {KEY} note\n|1|abc=|def= {KEY}\n\
             *.example.org {KEY}\n@cert-authority *.x {KEY}\nbroken ssh-ed25519 AAAA\n"
        );
        let import = known_hosts(&text);
        let targets = &import.inventory.targets;
        let db1 = &targets[&TargetName::parse("db1.example.org").unwrap()];
        assert_eq!((db1.address.as_deref(), db1.host_keys.as_ref().unwrap().len()), (Some("10.0.0.5:22"), 1));
        let other = &targets[&TargetName::parse("bastion.example.org").unwrap()];
        assert_eq!(other.address.as_deref(), Some("bastion.example.org:2222"));
        assert_eq!(import.skipped.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }

    #[test]
    fn csv_fields_may_be_quoted_and_unknown_columns_are_told() {
        let text = "name,address,accounts,label.env,owner\r\ndb1,10.0.0.5:22,\"root;postgres\",\"prod, \"\"eu\"\"\",x\r\nbad\r\n";
        let import = csv(text);
        let db1 = &import.inventory.targets[&TargetName::parse("db1").unwrap()];
        assert_eq!(db1.labels.as_ref().unwrap()["env"], "prod, \"eu\"");
        assert_eq!(db1.accounts.as_ref().unwrap().len(), 2);
        assert_eq!(import.skipped.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn labels_with_control_characters_are_not_taken_over() {
        let evil = "x\u{1b}]0;PWNED\u{7}\u{1b}[2J";
        let imports = [
            csv(&format!("name,label.env\ndb1,{evil}\ndb2,prod\n")),
            csv(&format!("name,label.{evil}\ndb1,prod\ndb2,\n")),
            ansible("[x\u{1b}c\u{7}]\ndb1\n[prod]\ndb2\n"),
        ];
        for import in imports {
            let names: Vec<_> = import.inventory.targets.keys().map(ToString::to_string).collect();
            assert_eq!(names, ["db2"], "{import:?}");
            assert!(import.skipped.iter().any(|(_, why)| why.contains("control characters")), "{import:?}");
        }
    }

    #[test]
    fn ansible_hosts_take_address_account_and_groups() {
        let text = "mail ansible_host=10.0.0.9\n[web]\nweb[01:02].example.org ansible_port=2022 # note\n\
                    [web:vars]\nansible_user = deploy\n[prod:children]\nweb\n[all:vars]\nansible_port=22\n";
        let import = ansible(text);
        let targets = &import.inventory.targets;
        assert_eq!(targets.len(), 3);
        let web = &targets[&TargetName::parse("web02.example.org").unwrap()];
        assert_eq!(web.address.as_deref(), Some("web02.example.org:2022"));
        let labels: Vec<_> = web.labels.as_ref().unwrap().keys().map(String::as_str).collect();
        assert_eq!(labels, ["group.prod", "group.web"]);
        assert!(web.accounts.as_ref().unwrap().contains(&AccountName::parse("deploy").unwrap()));
        let mail = &targets[&TargetName::parse("mail").unwrap()];
        assert_eq!((mail.address.as_deref(), &mail.labels), (Some("10.0.0.9:22"), &None));
    }

    #[test]
    fn groups_that_are_their_own_children_end() {
        let import = ansible("[a]\nh\n[a:children]\nb\n[b:children]\na\n");
        assert_eq!(import.inventory.targets.len(), 1);
    }

    #[test]
    fn a_huge_range_is_told_and_not_made() {
        let import = ansible("[a]\nh[0:999999999]\nh[0:99][0:99]\n");
        assert_eq!((import.inventory.targets.len(), import.skipped.len()), (0, 2));
    }

    #[test]
    fn authorized_keys_go_to_the_person_of_the_comment_or_the_one_given() {
        let text = format!("{KEY} alice@laptop\nfrom=\"10.0.0.0/8\" {KEY} bob\n{KEY}\n");
        let import = authorized_keys(&text, None, &BTreeSet::new());
        let alice = UserName::parse("alice").unwrap();
        assert_eq!(import.inventory.users[&alice].more_keys.len(), 1);
        assert_eq!(import.skipped.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
        let given = authorized_keys(&text, Some(&alice), &BTreeSet::new());
        assert_eq!(given.inventory.users[&alice].more_keys.len(), 2);
    }
}
