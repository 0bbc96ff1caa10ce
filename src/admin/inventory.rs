//! Inventories: what users and targets there shall be, and how that differs from what there is. Pure.
//!
//! An inventory names part of the world. What it names of a user or target is made exactly so; what it does not
//! name stays. It holds no secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{Document, Faults, Node, Table};
use crate::ledger::{
    DesktopTarget, LedgerError, Target, User, UserKey, address, certificate_fingerprint, desktop_address, fingerprint,
    plain, public_key,
};
use crate::model::{AccountName, GroupName, TargetName, Timestamp, UserName, join};
use crate::policy::Fault;
use crate::rdp::control::Pin;

/// What there shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Users.
    pub users: BTreeMap<UserName, UserEntry>,
    /// Groups whose members are exactly these.
    pub groups: BTreeMap<GroupName, BTreeSet<UserName>>,
    /// Targets.
    pub targets: BTreeMap<TargetName, TargetEntry>,
}

/// A user in an inventory; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserEntry {
    /// All groups.
    pub groups: Option<BTreeSet<GroupName>>,
    /// All keys, as lines of `.pub` files.
    pub keys: Option<Vec<String>>,
    /// Further keys.
    pub more_keys: Vec<String>,
    /// Further groups.
    pub more_groups: BTreeSet<GroupName>,
}

/// A target in an inventory; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetEntry {
    /// `host:port`; a new target must have one.
    pub address: Option<String>,
    /// All labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// All known accounts.
    pub accounts: Option<BTreeSet<AccountName>>,
    /// All pinned host keys.
    pub host_keys: Option<Vec<String>>,
    /// Whether its leg may use broken algorithms.
    #[serde(default)]
    pub insecure_algorithms: Option<bool>,
    /// How it is reached over RDP.
    #[serde(default)]
    pub desktop: Option<DesktopTarget>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// `user alice`, `target db1`.
    pub subject: String,
    /// `groups`, `address`, ...; empty when the subject itself is new.
    pub field: String,
    /// What there is; empty if nothing.
    pub from: String,
    /// What there shall be; empty if nothing.
    pub to: String,
}

/// The targets that exist and would get another address or other host keys: an import may mean another target.
pub fn moved_targets(changes: &[Change]) -> BTreeSet<TargetName> {
    let new: BTreeSet<&str> =
        changes.iter().filter(|change| change.field.is_empty()).map(|change| change.subject.as_str()).collect();
    changes
        .iter()
        .filter(|change| matches!(change.field.as_str(), "address" | "host keys" | "rdp"))
        .filter(|change| !new.contains(change.subject.as_str()))
        .filter_map(|change| TargetName::parse(change.subject.strip_prefix("target ")?).ok())
        .collect()
}

/// What a [`Change`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// There was nothing.
    Add,
    /// Nothing is left.
    Remove,
    /// It has another value.
    Change,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, subject, field, from, to } = self;
        match action {
            Action::Add if field.is_empty() => write!(f, "+ {subject}"),
            Action::Add => write!(f, "+ {subject}  {field}: {to}"),
            Action::Remove => write!(f, "- {subject}  {field}: {from}"),
            Action::Change => write!(f, "~ {subject}  {field}: {from} -> {to}"),
        }
    }
}

/// How to come from what there is to what there shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Users as they shall be, and whether each is new.
    pub users: Vec<(User, Novelty)>,
    /// Targets as they shall be, and whether each is new.
    pub targets: Vec<(Target, Novelty)>,
    /// The same in words.
    pub changes: Vec<Change>,
    /// What there is and the inventory does not name.
    pub unnamed: Vec<String>,
}

/// Whether something is stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// It is not.
    New,
    /// It is, and changes.
    Known,
}

/// Why an inventory asks for something that cannot be.
#[derive(Debug)]
pub struct Contradiction {
    /// `user alice`, `target db1`.
    pub subject: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.why)
    }
}

impl std::error::Error for Contradiction {}

impl Inventory {
    /// Reads an inventory in TOML:
    ///
    /// ```toml
    /// schema = 1
    /// [users.alice]
    /// groups = ["dba"]
    /// keys = ["ssh-ed25519 AAAA... alice@laptop"]
    /// [groups.oncall]
    /// members = ["alice"]
    /// [targets.db1]
    /// address = "10.0.0.5:22"
    /// labels = { env = "prod" }
    /// accounts = ["root", "postgres"]
    /// host_keys = ["ssh-ed25519 AAAA..."]
    /// rdp = { address = "10.0.0.5:3389", certificate = ["sha256:..."] }
    /// ```
    ///
    /// `schema` may be left out.
    ///
    /// # Errors
    /// Every fault, by line; unknown keys are faults.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let inventory = Document::parse(file, text, &mut faults).map(|document| read(document.root(), &mut faults));
        match inventory {
            Some(inventory) if faults.is_empty() => Ok(inventory),
            Some(_) | None => Err(faults.into_sorted()),
        }
    }

    /// How to come to this inventory from `users` and `targets`.
    ///
    /// # Errors
    /// Every contradiction: in the inventory, or between it and what stays.
    pub fn plan(&self, users: &[User], targets: &[Target], now: Timestamp) -> Result<Plan, Vec<Contradiction>> {
        let mut plan = Plan::default();
        let mut faults = Vec::new();
        self.plan_users(users, now, &mut plan, &mut faults);
        self.plan_targets(targets, &mut plan, &mut faults);
        if faults.is_empty() { Ok(plan) } else { Err(faults) }
    }

    fn plan_users(&self, users: &[User], now: Timestamp, plan: &mut Plan, faults: &mut Vec<Contradiction>) {
        let known: BTreeMap<_, _> = users.iter().map(|user| (&user.name, user)).collect();
        let members = self.groups.values().flatten();
        // A user who is in a listed group and not in its list loses it, named or not.
        let leaving = users.iter().filter(|user| user.groups.iter().any(|group| self.groups.contains_key(group)));
        let named: BTreeSet<&UserName> =
            self.users.keys().chain(members).chain(leaving.map(|user| &user.name)).collect();
        let nothing = UserEntry::default();
        let mut owners: BTreeMap<String, UserName> = BTreeMap::new();
        for name in known.keys().copied().chain(named.iter().copied()).collect::<BTreeSet<_>>() {
            let subject = format!("user {name}");
            let entry = self.users.get(name);
            let old = known.get(name).copied();
            if entry.is_none() && old.is_none() {
                let why = "is a member of a group and is neither stored nor under [users]".to_owned();
                faults.push(Contradiction { subject, why });
                continue;
            }
            if entry.is_none() && !named.contains(name) {
                plan.unnamed.push(subject.clone());
            }
            match self.user(name, entry.unwrap_or(&nothing), old, now) {
                Ok(user) => {
                    for key in &user.keys {
                        let owner = owners.insert(key.fingerprint.clone(), name.clone());
                        if let Some(owner) = owner.filter(|owner| owner != name) {
                            let why = format!("key {} belongs to user `{owner}` too", key.fingerprint);
                            faults.push(Contradiction { subject: subject.clone(), why });
                        }
                    }
                    note_user(plan, old, user);
                }
                Err(why) => faults.push(Contradiction { subject, why }),
            }
        }
    }

    fn user(&self, name: &UserName, entry: &UserEntry, old: Option<&User>, now: Timestamp) -> Result<User, String> {
        let mut groups =
            entry.groups.clone().unwrap_or_else(|| old.map_or_else(BTreeSet::new, |old| old.groups.clone()));
        groups.extend(entry.more_groups.iter().cloned());
        for (group, members) in &self.groups {
            if members.contains(name) {
                groups.insert(group.clone());
            } else if entry.groups.as_ref().is_some_and(|groups| groups.contains(group)) {
                return Err(format!("has group `{group}`, whose `members` do not have the user"));
            } else {
                groups.remove(group);
            }
        }
        let stored = old.map_or(&[][..], |old| &old.keys);
        let mut keys = if entry.keys.is_some() { Vec::new() } else { stored.to_vec() };
        for line in entry.keys.iter().flatten().chain(&entry.more_keys) {
            let key = UserKey::parse(line, now).map_err(|error| error.to_string())?;
            if keys.iter().all(|other| other.fingerprint != key.fingerprint) {
                let known = stored.iter().find(|other| other.fingerprint == key.fingerprint);
                keys.push(known.cloned().unwrap_or(key));
            }
        }
        let from = old.map_or_else(BTreeSet::new, |old| old.from.clone());
        let password_since = old.and_then(|old| old.password_since);
        Ok(User {
            name: name.clone(),
            groups,
            keys,
            suspended_at: old.and_then(|old| old.suspended_at),
            from,
            password_since,
            person: old.and_then(|old| old.person.clone()),
            until: old.and_then(|old| old.until),
        })
    }

    fn plan_targets(&self, targets: &[Target], plan: &mut Plan, faults: &mut Vec<Contradiction>) {
        let known: BTreeMap<_, _> = targets.iter().map(|target| (&target.name, target)).collect();
        let unnamed = known.keys().filter(|name| !self.targets.contains_key(**name));
        plan.unnamed.extend(unnamed.map(|name| format!("target {name}")));
        for (name, entry) in &self.targets {
            let old = known.get(name).copied();
            match entry.target(name, old) {
                Ok(target) => note_target(plan, old, target),
                Err(why) => faults.push(Contradiction { subject: format!("target {name}"), why }),
            }
        }
    }
}

impl TargetEntry {
    fn target(&self, name: &TargetName, old: Option<&Target>) -> Result<Target, String> {
        let shown = |error: LedgerError| error.to_string();
        let kept = |of: fn(&Target) -> String| old.map(of);
        let address_text = self.address.clone().or_else(|| kept(|old| old.address.clone()));
        let desktop = self.desktop.clone().or_else(|| old.and_then(|old| old.desktop.clone()));
        let address_text = address_text.or_else(|| desktop.as_ref().map(|_| String::new()));
        let address_text = address_text.ok_or("is new and has no `address`")?;
        let alone = address_text.is_empty();
        let host_keys = match &self.host_keys {
            Some(keys) => keys
                .iter()
                .map(|key| public_key(key).and_then(|key| plain(&key)))
                .collect::<Result<Vec<_>, _>>()
                .map_err(shown)?,
            None => old.map_or_else(Vec::new, |old| old.host_keys.clone()),
        };
        for (key, value) in self.labels.iter().flatten() {
            check_label(key, value)?;
        }
        Ok(Target {
            name: name.clone(),
            address: if alone { address_text } else { address(&address_text).map_err(shown)? },
            labels: self.labels.clone().or_else(|| old.map(|old| old.labels.clone())).unwrap_or_default(),
            accounts: self.accounts.clone().or_else(|| old.map(|old| old.accounts.clone())).unwrap_or_default(),
            host_keys,
            insecure_algorithms: self.insecure_algorithms.unwrap_or(old.is_some_and(|old| old.insecure_algorithms)),
            desktop,
        })
    }
}

fn note_user(plan: &mut Plan, old: Option<&User>, user: User) {
    let keys = |user: &User| join(user.keys.iter().map(|key| &key.fingerprint));
    let fields =
        [("groups", old.map(|old| join(&old.groups)), join(&user.groups)), ("keys", old.map(keys), keys(&user))];
    if note(&mut plan.changes, format!("user {}", user.name), old.is_some(), fields) {
        plan.users.push((user, novelty(old.is_some())));
    }
}

fn note_target(plan: &mut Plan, old: Option<&Target>, target: Target) {
    let labels = |target: &Target| join(target.labels.iter().map(|(key, value)| format!("{key}={value}")));
    let keys = |target: &Target| {
        let shown = |text: &String| public_key(text).map_or_else(|_| text.clone(), |key| fingerprint(&key));
        join(target.host_keys.iter().map(shown))
    };
    let desktop = |target: &Target| {
        target.desktop.as_ref().map_or_else(String::new, |DesktopTarget { address, allow_tls_only, domain, .. }| {
            let tls = if *allow_tls_only { ", TLS only allowed" } else { "" };
            let domain = if domain.is_empty() { String::new() } else { format!(", domain {domain}") };
            let pinned = target.desktop.as_ref().map(DesktopTarget::pinned).unwrap_or_default();
            format!("{address}, certificate {pinned}{domain}{tls}")
        })
    };
    let insecure = |target: &Target| String::from(if target.insecure_algorithms { "allowed" } else { "" });
    let fields = [
        ("address", old.map(|old| old.address.clone()), target.address.clone()),
        ("labels", old.map(labels), labels(&target)),
        ("accounts", old.map(|old| join(&old.accounts)), join(&target.accounts)),
        ("host keys", old.map(keys), keys(&target)),
        ("insecure algorithms", old.map(insecure), insecure(&target)),
        ("rdp", old.map(desktop), desktop(&target)),
    ];
    if note(&mut plan.changes, format!("target {}", target.name), old.is_some(), fields) {
        plan.targets.push((target, novelty(old.is_some())));
    }
}

fn novelty(known: bool) -> Novelty {
    if known { Novelty::Known } else { Novelty::New }
}

/// Notes what differs; says whether anything does.
fn note<const N: usize>(
    changes: &mut Vec<Change>,
    subject: String,
    known: bool,
    fields: [(&str, Option<String>, String); N],
) -> bool {
    let before = changes.len();
    if !known {
        let (field, from, to) = (String::new(), String::new(), String::new());
        changes.push(Change { action: Action::Add, subject: subject.clone(), field, from, to });
    }
    for (field, from, to) in fields {
        let from = from.unwrap_or_default();
        if from != to {
            let action = match (from.is_empty(), to.is_empty()) {
                (true, _) => Action::Add,
                (false, true) => Action::Remove,
                (false, false) => Action::Change,
            };
            changes.push(Change { action, subject: subject.clone(), field: field.to_owned(), from, to });
        }
    }
    changes.len() > before
}

fn read(mut root: Table<'_>, faults: &mut Faults) -> Inventory {
    let mut inventory = Inventory::default();
    let known =
        |node: &Node<'_>| if node.integer()? == 1 { Ok(()) } else { Err(node.fault("this version reads schema 1")) };
    root.take("schema").and_then(|node| faults.keep(known(&node)));
    for (name, node) in named(&mut root, "users", faults) {
        let Some((name, mut table)) = entry(name, &node, UserName::parse, faults) else { continue };
        let groups = table.read("groups", None, faults, |node| names(node, GroupName::parse).map(Some));
        let keys = table.read("keys", None, faults, |node| strings(node).map(Some));
        table.finish(&[], faults);
        inventory.users.insert(name, UserEntry { groups, keys, ..UserEntry::default() });
    }
    for (name, node) in named(&mut root, "groups", faults) {
        let Some((name, mut table)) = entry(name, &node, GroupName::parse, faults) else { continue };
        let members = table.need("members", faults).and_then(|node| faults.keep(names(&node, UserName::parse)));
        table.finish(&[], faults);
        inventory.groups.insert(name, members.unwrap_or_default());
    }
    for (name, node) in named(&mut root, "targets", faults) {
        let Some((name, mut table)) = entry(name, &node, TargetName::parse, faults) else { continue };
        let checked = |node: &Node<'_>| address(node.string()?).map_err(|error| node.fault(error.to_string()));
        let target = TargetEntry {
            address: table.read("address", None, faults, |node| checked(node).map(Some)),
            labels: table.read("labels", None, faults, |node| labels(node).map(Some)),
            accounts: table.read("accounts", None, faults, |node| names(node, AccountName::parse).map(Some)),
            host_keys: table.read("host_keys", None, faults, |node| strings(node).map(Some)),
            insecure_algorithms: table.read("insecure_algorithms", None, faults, |node| node.boolean().map(Some)),
            desktop: table.take("rdp").and_then(|node| read_desktop(&node, faults)),
        };
        table.finish(&[], faults);
        inventory.targets.insert(name, target);
    }
    root.finish(&[], faults);
    inventory
}

/// `{ address = "10.0.0.5:3389", certificate = ["sha256:..."] }`, or `authority` and `name` in place of `certificate`.
fn read_desktop(node: &Node<'_>, faults: &mut Faults) -> Option<DesktopTarget> {
    let mut table = faults.keep(node.table())?;
    let checked = |node: &Node<'_>| desktop_address(node.string()?).map_err(|error| node.fault(error.to_string()));
    let address = table.need("address", faults).and_then(|node| faults.keep(checked(&node)));
    let fingerprint =
        |item: &Node<'_>| certificate_fingerprint(item.string()?).map_err(|error| item.fault(error.to_string()));
    let certificate = table.take("certificate").and_then(|node| {
        let items = faults.keep(node.filled_list())?;
        faults.keep(items.iter().map(fingerprint).collect::<Result<Vec<_>, _>>())
    });
    let authority = table.read("authority", None, faults, |node| node.filled_string().map(|pem| Some(pem.to_owned())));
    let name = table.read("name", None, faults, |node| node.filled_string().map(|name| Some(name.to_owned())));
    let allow_tls_only = table.read("allow_tls_only", false, faults, Node::boolean);
    let domain = table.read("domain", String::new(), faults, |node| node.filled_string().map(str::to_owned));
    let pin = match (certificate, authority, name) {
        (Some(all), None, None) => Some(Pin::Fingerprints(all)),
        (None, Some(pem), Some(name)) => Some(Pin::Authority { pem, name }),
        (None, None, None) => None,
        (Some(_) | None, Some(_) | None, Some(_) | None) => {
            faults.push(
                node.fault("says two things of the certificate").hint("write certificate, or authority and name"),
            );
            None
        }
    };
    table.finish(&[], faults);
    Some(DesktopTarget { address: address?, pin, allow_tls_only, domain })
}

fn named<'d>(root: &mut Table<'d>, key: &'static str, faults: &mut Faults) -> BTreeMap<&'d str, Node<'d>> {
    let table = root.take(key).and_then(|node| faults.keep(node.table()));
    table.map(|mut table| table.rest()).unwrap_or_default()
}

fn entry<'d, N>(
    name: &str,
    node: &Node<'d>,
    parse: fn(&str) -> Result<N, crate::model::InvalidName>,
    faults: &mut Faults,
) -> Option<(N, Table<'d>)> {
    let name = faults.keep(parse(name).map_err(|error| node.fault(error.to_string())));
    let table = faults.keep(node.table());
    Some((name?, table?))
}

fn names<N: Ord>(
    node: &Node<'_>,
    parse: fn(&str) -> Result<N, crate::model::InvalidName>,
) -> Result<BTreeSet<N>, Fault> {
    node.list()?.iter().map(|item| item.name(parse)).collect()
}

/// Public keys, each checked.
fn strings(node: &Node<'_>) -> Result<Vec<String>, Fault> {
    let key = |item: &Node<'_>| {
        let text = item.string()?;
        public_key(text).map_err(|error| item.fault(error.to_string()))?;
        Ok(text.to_owned())
    };
    node.list()?.iter().map(key).collect()
}

/// Checks the two parts of a label.
///
/// # Errors
/// Says what is wrong, without what a terminal would obey.
pub fn check_label(key: &str, value: &str) -> Result<(), String> {
    if [key, value].iter().any(|part| part.chars().any(char::is_control)) {
        return Err(format!("the label `{}` has control characters", key.escape_debug()));
    }
    if key.is_empty() || value.is_empty() {
        return Err("a label has a key and a value, such as env=prod".to_owned());
    }
    Ok(())
}

fn labels(node: &Node<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let mut labels = BTreeMap::new();
    for (key, value) in node.table()?.rest() {
        let text = value.filled_string()?;
        check_label(key, text).map_err(|why| value.fault(why))?;
        labels.insert(key.to_owned(), text.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice@laptop";
    const TEXT: &str = r#"
schema = 1
[users.alice]
groups = ["dba"]
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice@laptop"]
[groups.oncall]
members = ["alice"]
[targets.db1]
address = "10.0.0.5"
labels = { env = "prod" }
accounts = ["root"]
"#;

    #[test]
    fn control_characters_in_names_and_labels_are_refused() {
        let evil = r"x\u001b]0;PWNED\u0007\u001b[2J";
        for text in [
            format!("[targets.db1]\naddress = \"10.0.0.5\"\nlabels = {{ env = \"{evil}\" }}\n"),
            format!("[targets.db1]\naddress = \"10.0.0.5\"\nlabels = {{ \"{evil}\" = \"prod\" }}\n"),
            format!("[users.alice]\ngroups = [\"{evil}\"]\n"),
            format!("[groups.\"{evil}\"]\nmembers = []\n"),
            format!("[targets.\"{evil}\"]\naddress = \"10.0.0.5\"\n"),
        ] {
            assert!(Inventory::parse("i.toml", &text).is_err(), "{text}");
        }
        // What comes by another way than a file is checked where it is planned.
        let mut inventory = Inventory::parse("i.toml", TEXT).unwrap();
        let target = inventory.targets.values_mut().next().unwrap();
        target.labels = Some(BTreeMap::from([("env".to_owned(), "x\u{1b}[2J".to_owned())]));
        assert!(inventory.plan(&[], &[], Timestamp::from_millis(0)).is_err());
    }

    #[test]
    fn what_is_new_is_added_and_then_nothing_differs() {
        let inventory = Inventory::parse("i.toml", TEXT).unwrap();
        let plan = inventory.plan(&[], &[], Timestamp::from_millis(0)).unwrap();
        let shown: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
        assert_eq!(shown[0], "+ user alice");
        assert_eq!(shown[1], "+ user alice  groups: dba, oncall");
        assert!(shown.contains(&"+ target db1  address: 10.0.0.5:22".to_owned()), "{shown:?}");
        let users: Vec<User> = plan.users.into_iter().map(|(user, _)| user).collect();
        let targets: Vec<Target> = plan.targets.into_iter().map(|(target, _)| target).collect();
        let again = inventory.plan(&users, &targets, Timestamp::from_millis(9)).unwrap();
        assert_eq!((again.changes, again.users, again.targets), (Vec::new(), Vec::new(), Vec::new()));
    }

    #[test]
    fn what_is_not_named_stays() {
        let inventory = Inventory::parse("i.toml", "schema = 1\n[targets.db1]\nlabels = { env = \"prod\" }\n").unwrap();
        let targets = [target("db1"), target("db2")];
        let plan = inventory.plan(&[user("bob", &["dba"])], &targets, Timestamp::from_millis(0)).unwrap();
        assert_eq!(plan.changes.iter().map(Change::to_string).collect::<Vec<_>>(), ["+ target db1  labels: env=prod"]);
        assert_eq!(plan.targets[0].0.address, "h:22");
        assert_eq!(plan.unnamed, ["user bob", "target db2"]);
    }

    #[test]
    fn targets_that_exist_and_would_move_are_found() {
        let parse = |text| Inventory::parse("i.toml", text).unwrap();
        let inventory = parse(
            "[targets.db1]\naddress = \"other:22\"\n[targets.db2]\nlabels = { env = \"prod\" }\n\
             [targets.new]\naddress = \"n:22\"\n",
        );
        let plan = inventory.plan(&[], &[target("db1"), target("db2")], Timestamp::from_millis(0)).unwrap();
        assert_eq!(moved_targets(&plan.changes), BTreeSet::from([TargetName::parse("db1").unwrap()]));
        let pinning = parse(&format!("[targets.db2]\nhost_keys = [\"{KEY}\"]\n"));
        let plan = pinning.plan(&[], &[target("db2")], Timestamp::from_millis(0)).unwrap();
        assert_eq!(moved_targets(&plan.changes), BTreeSet::from([TargetName::parse("db2").unwrap()]));
    }

    #[test]
    fn a_listed_group_has_exactly_its_members() {
        let inventory = Inventory::parse("i.toml", "schema = 1\n[groups.dba]\nmembers = [\"alice\"]\n").unwrap();
        let users = [user("alice", &["web"]), user("bob", &["dba"])];
        let plan = inventory.plan(&users, &[], Timestamp::from_millis(0)).unwrap();
        let shown: Vec<String> = plan.changes.iter().map(Change::to_string).collect();
        assert_eq!(shown, ["~ user alice  groups: web -> dba, web", "- user bob  groups: dba"]);
    }

    #[test]
    fn one_key_for_two_persons_is_a_contradiction() {
        let text = format!("schema = 1\n[users.alice]\nkeys = [\"{KEY}\"]\n[users.bob]\nkeys = [\"{KEY}\"]\n");
        let inventory = Inventory::parse("i.toml", &text).unwrap();
        let faults = inventory.plan(&[], &[], Timestamp::from_millis(0)).unwrap_err();
        assert!(faults[0].to_string().contains("belongs to user `alice` too"), "{faults:?}");
    }

    #[test]
    fn contradictions_are_all_told() {
        let text =
            "schema = 1\n[users.alice]\ngroups = [\"dba\"]\n[groups.dba]\nmembers = [\"carol\"]\n[targets.db1]\n";
        let faults = Inventory::parse("i.toml", text).unwrap().plan(&[], &[], Timestamp::from_millis(0)).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn unknown_keys_and_bad_values_are_all_told_with_their_lines() {
        let text =
            "schema = 2\n[users.Alice]\n[users.bob]\npassword = \"x\"\n[targets.db1]\naddress = \"a b\"\n[hosts]\n";
        let faults = Inventory::parse("i.toml", text).unwrap_err();
        let lines: Vec<_> = faults.iter().filter_map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 4, 6, 7], "{faults:?}");
    }

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| GroupName::parse(group).unwrap()).collect();
        User {
            name: UserName::parse(name).unwrap(),
            groups,
            keys: Vec::new(),
            suspended_at: None,
            from: BTreeSet::new(),
            password_since: None,
            person: None,
            until: None,
        }
    }

    fn target(name: &str) -> Target {
        Target {
            name: TargetName::parse(name).unwrap(),
            address: "h:22".to_owned(),
            labels: BTreeMap::new(),
            host_keys: Vec::new(),
            accounts: BTreeSet::new(),
            insecure_algorithms: false,
            desktop: None,
        }
    }
}
