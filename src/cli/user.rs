//! `doorward user`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing};
use super::{apply, times};
use crate::admin::api::{Reply, Request};
use crate::admin::import;
use crate::model::{GroupName, UserName, join};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a user.
    Add {
        /// The user's name, such as alice.
        user: UserName,
        /// A group that rules name; repeat it for more.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupName>,
        /// A file with the user's public keys; repeat it for more.
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
    },
    /// Replace a user's groups.
    Set {
        /// The user's name, such as alice.
        user: UserName,
        /// All groups from now on; repeat it for more.
        #[arg(long = "group", value_name = "GROUP", required_unless_present = "no_groups")]
        groups: Vec<GroupName>,
        /// Leave the user without a group.
        #[arg(long, conflicts_with = "groups")]
        no_groups: bool,
    },
    /// List users.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Bar a user and end their live sessions; keys, groups and grants stay.
    Suspend {
        /// The user's name, such as alice.
        user: UserName,
    },
    /// Let a suspended user in again.
    Resume {
        /// The user's name, such as alice.
        user: UserName,
    },
    /// Remove a user, revoke their grants and end their live sessions. Recordings stay.
    Remove {
        /// The user's name, such as alice.
        user: UserName,
    },
    /// The keys that prove a user.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Add users and keys from an authorized_keys file; shows the difference first.
    Import {
        /// The authorized_keys file, or - for standard input.
        file: PathBuf,
        /// Whose keys they are; else each key's comment says (the part before the @).
        #[arg(long)]
        user: Option<UserName>,
        /// A group for all of them; repeat it for more.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<GroupName>,
        #[command(flatten)]
        consent: apply::Consent,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// Add public keys. A key that another user has is refused.
    Add {
        /// The user's name, such as alice.
        user: UserName,
        /// A .pub file, or - for standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Remove a key.
    Remove {
        /// The user's name, such as alice.
        user: UserName,
        /// The fingerprint, SHA256:..., as `user list --json` shows it.
        fingerprint: String,
    },
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::Add { user, groups, keys } => {
            let keys = read_keys(&keys)?;
            desk.tell(Request::UserAdd { user, groups: groups.into_iter().collect(), keys })
        }
        Command::Set { user, groups, no_groups: _ } => {
            desk.tell(Request::UserSet { user, groups: groups.into_iter().collect() })
        }
        Command::List { form } => list(desk, form),
        Command::Suspend { user } => desk.tell(Request::UserSuspend { user }),
        Command::Resume { user } => desk.tell(Request::UserResume { user }),
        Command::Remove { user } => desk.tell(Request::UserRemove { user }),
        Command::Key(KeyCommand::Add { user, files }) => add_keys(desk, &user, read_keys(&files)?),
        Command::Key(KeyCommand::Remove { user, fingerprint }) => {
            desk.tell(Request::UserKeyRemove { user, fingerprint })
        }
        Command::Import { file, user, groups, consent } => {
            let groups: BTreeSet<GroupName> = groups.into_iter().collect();
            let import = import::authorized_keys(&read_text(&file)?, user.as_ref(), &groups);
            apply::import(desk, &file, import, apply::Moved::Skipped, consent)
        }
    }
}

fn add_keys(desk: &Desk, user: &UserName, lines: Vec<String>) -> Result<(), CliError> {
    lines.into_iter().try_for_each(|key| desk.tell(Request::UserKeyAdd { user: user.clone(), key }))
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let Reply::Users { users } = desk.ask(Request::UserList {})? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&["USER", "GROUPS", "KEYS", "STATE"]);
    for user in &users {
        let state =
            user.suspended_at.map_or_else(|| "active".to_owned(), |since| format!("suspended {}", times::shown(since)));
        table.row([user.name.to_string(), join(&user.groups), user.keys.len().to_string(), state]);
    }
    listing(form, &users, &table, "no users; `doorward user add NAME --group GROUP --key FILE` adds one")
}

/// The lines of files of public keys, without empty ones and comments.
pub(super) fn read_keys(files: &[PathBuf]) -> Result<Vec<String>, CliError> {
    let mut lines = Vec::new();
    for file in files {
        let text = read_text(file)?;
        if text.contains("PRIVATE KEY") {
            return Err(CliError::usage(format!("`{}` is a private key", file.display()))
                .hint("give the .pub file beside it; a private key stays with its owner"));
        }
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let before = lines.len();
        lines.extend(keys.map(str::to_owned));
        if lines.len() == before {
            return Err(CliError::usage(format!("`{}` has no key in it", file.display())));
        }
    }
    Ok(lines)
}

/// Reads a text file, or standard input for `-`.
pub(super) fn read_text(file: &Path) -> Result<String, CliError> {
    let read =
        if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    read.map_err(|error| CliError::usage(format!("cannot read `{}`", file.display())).because(&error))
}
