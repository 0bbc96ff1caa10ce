//! A draft of command sets and access rules from what `cvtsudoers -e -f json` prints of a sudoers file.
//!
//! `cvtsudoers` comes with sudo: it reads the file as sudo does and resolves its aliases, so that nothing here has to read
//! the language of sudoers. What has no exact or narrower form in command sets is left out and listed: **a draft never
//! gives more than the sudoers file did.** What a command does once it runs it still does: a draft is read before it is used.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde::Deserialize;

use crate::model::{AccountName, GroupName, TargetName, UserName};

/// Files to start from, and what is not in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// The text of a file of access rules.
    pub access: String,
    /// Command sets: their names, and the text of each one's file.
    pub sets: Vec<(String, String)>,
    /// What was left out, and why, a line each.
    pub left_out: Vec<String>,
}

/// The text is not what `cvtsudoers -e -f json` prints.
#[derive(Debug)]
pub struct NotSudoers(serde_json::Error);

impl fmt::Display for NotSudoers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not what `cvtsudoers -e -f json` prints")
    }
}

impl std::error::Error for NotSudoers {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Makes the draft.
///
/// # Errors
/// `NotSudoers` if the text is anything else.
pub fn draft(json: &str) -> Result<Draft, NotSudoers> {
    let file: File = serde_json::from_str(json).map_err(NotSudoers)?;
    let mut draft = Draft { access: String::from(ACCESS_HEAD), ..Draft::default() };
    let specs = file.specs.iter().flat_map(|spec| spec.commands.iter().map(move |commands| (spec, commands)));
    for (number, (spec, commands)) in (1_usize..).zip(specs) {
        draft.add(&format!("sudo-{number}"), spec, commands);
    }
    Ok(draft)
}

const ACCESS_HEAD: &str = "\
# A draft, made from sudoers. In sudo people log in as themselves and become another account; here they log in to that
# account directly. Read each rule, give it a name that says what it is for, and write tests.
schema = 1
";

const SET_HEAD: &str = "\
# A draft, made from sudoers. An argument `*` of sudo matches any number of words; here it matches one.
schema  = 1
";

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "User_Specs")]
    specs: Vec<UserSpec>,
}

#[derive(Deserialize)]
struct UserSpec {
    #[serde(rename = "User_List")]
    users: Vec<Member>,
    #[serde(rename = "Host_List")]
    hosts: Vec<Member>,
    #[serde(rename = "Cmnd_Specs")]
    commands: Vec<CommandSpec>,
}

#[derive(Deserialize)]
struct CommandSpec {
    #[serde(default)]
    runasusers: Vec<Member>,
    #[serde(default)]
    runasgroups: Vec<Member>,
    #[serde(rename = "Commands")]
    commands: Vec<Member>,
}

/// Whatever can stand in a list of sudoers: one of the keys is there.
#[derive(Deserialize)]
struct Member {
    username: Option<String>,
    usergroup: Option<String>,
    hostname: Option<String>,
    command: Option<String>,
    #[serde(default)]
    negated: bool,
    /// Every other kind: numeric ids, networks, netgroups, digests.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl Member {
    fn other(&self) -> Option<String> {
        self.other.iter().next().map(|(kind, value)| format!("{kind} {value}"))
    }
}

impl Draft {
    fn add(&mut self, name: &str, spec: &UserSpec, commands: &CommandSpec) {
        let read = Who::of(&spec.users).and_then(|who| {
            Ok((who, hosts(&spec.hosts)?, accounts(&commands.runasusers, &commands.runasgroups, &mut self.left_out)?))
        });
        let (who, hosts, accounts) = match read {
            Ok(read) => read,
            Err(why) => return self.left_out.push(format!("{name}: {why}")),
        };
        let all = commands.commands.iter().any(|one| one.command.as_deref() == Some("ALL") && !one.negated);
        let mut rules = String::new();
        let mut count = 0_usize;
        for one in commands.commands.iter().filter(|one| one.command.as_deref() != Some("ALL")) {
            // Beside ALL another command that is allowed says nothing.
            if all && !one.negated {
                continue;
            }
            match Rule::of(one) {
                Ok(rule) => {
                    count = count.saturating_add(1);
                    rule.write(&format!("{name}-{count}"), &mut rules);
                }
                // Without what it forbids the set would give more.
                Err(why) if one.negated => return self.left_out.push(format!("{name}: all of it, for {why}")),
                Err(why) => self.left_out.push(format!("{name}: {why}")),
            }
        }
        let limits = match (all, count) {
            (true, 0) => None,
            (true, _) => Some("guard"),
            (false, 0) => return self.left_out.push(format!("{name}: nothing of it is left")),
            (false, _) => Some("strict"),
        };
        let commands = limits.map(|mode| {
            let default = if mode == "guard" { "allow" } else { "deny" };
            let head = format!("{SET_HEAD}mode    = \"{mode}\"\ndefault = \"{default}\"\n");
            self.sets.push((name.to_owned(), format!("{head}{rules}")));
            format!("commands = {{ mode = \"{mode}\", sets = [\"{name}\"] }}\n")
        });
        let unlimited = "# sudo's ALL: every command, shells among them.\n";
        let _ = write!(
            self.access,
            "\n{}[[rule]]\nid       = \"{name}\"\nwho      = {{ {who} }}\nwhere    = {{ targets = [{hosts}] }}\n\
             accounts = [{accounts}]\nchannels = [\"exec\"]\ngrant    = {{ required = true }}\n{}",
            if limits.is_none() { unlimited } else { "" },
            commands.unwrap_or_default()
        );
    }
}

struct Who {
    users: BTreeSet<UserName>,
    groups: BTreeSet<GroupName>,
    everyone: bool,
}

impl Who {
    fn of(list: &[Member]) -> Result<Self, String> {
        let mut who = Self { users: BTreeSet::new(), groups: BTreeSet::new(), everyone: false };
        for one in list {
            match (&one.username, &one.usergroup) {
                _ if one.negated => return Err(String::from("it leaves somebody out with `!`")),
                (Some(user), _) if user == "ALL" => who.everyone = true,
                (Some(user), _) => drop(who.users.insert(UserName::parse(user).map_err(|bad| bad.to_string())?)),
                (None, Some(group)) => drop(who.groups.insert(GroupName::parse(group).map_err(|bad| bad.to_string())?)),
                (None, None) => return Err(format!("it is for {}", one.other().unwrap_or_default())),
            }
        }
        Ok(who)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.everyone {
            return f.write_str("users = [\"*\"]");
        }
        let users = (!self.users.is_empty()).then(|| format!("users = [{}]", quoted(&self.users)));
        let groups = (!self.groups.is_empty()).then(|| format!("groups = [{}]", quoted(&self.groups)));
        f.write_str(&users.into_iter().chain(groups).collect::<Vec<_>>().join(", "))
    }
}

fn hosts(list: &[Member]) -> Result<String, String> {
    if list.iter().any(|one| one.negated) {
        return Err(String::from("it leaves a host out with `!`"));
    }
    let mut hosts = BTreeSet::new();
    for one in list {
        match &one.hostname {
            Some(host) if host == "ALL" => return Ok(String::from("\"*\"")),
            Some(host) => drop(hosts.insert(TargetName::parse(host).map_err(|bad| bad.to_string())?)),
            None => return Err(format!("it is for {}", one.other().unwrap_or_default())),
        }
    }
    Ok(quoted(&hosts))
}

/// Without any sudo takes root (`runas_default`).
fn accounts(users: &[Member], groups: &[Member], left_out: &mut Vec<String>) -> Result<String, String> {
    let mut accounts = BTreeSet::new();
    for one in users {
        match &one.username {
            _ if one.negated => return Err(String::from("it leaves an account out with `!`")),
            Some(user) if user == "ALL" => {
                left_out.push(String::from("an account `ALL`: only root is in the draft"));
                accounts.insert(account("root")?);
            }
            Some(user) => drop(accounts.insert(account(user)?)),
            None => return Err(format!("it runs as {}", one.other().unwrap_or_default())),
        }
    }
    match (users, groups) {
        ([], []) => drop(accounts.insert(account("root")?)),
        ([], _) => return Err(String::from("it changes the group only")),
        _ => {}
    }
    Ok(quoted(&accounts))
}

fn account(name: &str) -> Result<AccountName, String> {
    AccountName::parse(name).map_err(|bad| bad.to_string())
}

fn quoted<T: fmt::Display>(names: &BTreeSet<T>) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// One command of sudoers, as a rule has it.
struct Rule {
    shown: String,
    denied: bool,
    program: String,
    args: Vec<String>,
}

impl Rule {
    fn of(one: &Member) -> Result<Self, String> {
        let Some(text) = &one.command else {
            return Err(format!("{} is not a command", one.other().unwrap_or_default()));
        };
        let shown = format!("`{}`", text.escape_default());
        if let Some(other) = one.other() {
            return Err(format!("{shown} has a condition, {other}"));
        }
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let program = words.next().unwrap_or_default();
        let plain = |word: &str| word.chars().all(|c| c.is_ascii_graphic() && !"\\\"{}|[]?".contains(c));
        if program == "sudoedit" {
            return Err(format!("{shown} edits a file: give `sftp-write` with a path for that"));
        }
        if !program.starts_with('/') || program.ends_with('/') || program.contains('*') || !plain(program) {
            return Err(format!("{shown} does not name one program by its path"));
        }
        let words: Vec<&str> = words.collect();
        let args = match words.as_slice() {
            // Sudo takes any arguments where none are written.
            [] => vec![String::from("...")],
            ["\"\""] => Vec::new(),
            words => {
                // A regular expression, or something that only sudo unquotes.
                if words.iter().any(|word| !plain(word) || word.starts_with('^')) {
                    return Err(format!("the arguments of {shown} have no exact form here"));
                }
                (1_usize..).zip(words).map(|(number, word)| argument(number, word)).collect()
            }
        };
        Ok(Self { shown, denied: one.negated, program: program.to_owned(), args })
    }

    fn write(&self, id: &str, to: &mut String) {
        let (effect, reason) = match self.denied {
            true => ("deny", "sudoers forbids it"),
            false => ("allow", "sudoers allows it"),
        };
        let args: Vec<String> = self.args.iter().map(|arg| format!("\"{arg}\"")).collect();
        let _ = write!(
            to,
            "\n# sudoers: {}{}\n[[rule]]\nid      = \"{id}\"\neffect  = \"{effect}\"\nprogram = \"{}\"\nargs    = [{}]\n\
             reason  = \"{reason}\"\n",
            if self.denied { "!" } else { "" },
            self.shown,
            self.program,
            args.join(", ")
        );
    }
}

/// A word as it stands, or with its stars as a pattern for one word.
fn argument(number: usize, word: &str) -> String {
    if word.contains('*') { format!("{{arg{number}:{word}}}") } else { word.to_owned() }
}

#[cfg(test)]
mod tests;
