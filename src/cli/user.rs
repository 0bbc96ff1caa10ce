//! `doorward user`.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use zeroize::Zeroizing;

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{Form, Table, json, listing, print, say, show};
use super::{apply, prompt, times};
use crate::admin::api::{Reply, Request, SecretText};
use crate::admin::import;
use crate::clock::Clock;
use crate::ledger::Offboarding;
use crate::model::{GroupName, UserName, join};
use crate::screen::line;

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
        /// A network that the user may log in from, such as 10.0.0.0/8, and from nowhere else; repeat it for more.
        #[arg(long = "from", value_name = "NETWORK", value_parser = network)]
        from: Vec<IpNet>,
        /// The last day of the user, such as 2026-12-31 (in the server's zone), or a moment,
        /// 2026-12-31T18:00:00+01:00; from then on the user is as suspended.
        #[arg(long, value_name = "WHEN")]
        until: Option<String>,
    },
    /// Replace a user's groups, the networks that they may log in from, or their end date.
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// The user's name, such as alice.
        user: UserName,
        /// All groups from now on; repeat it for more.
        #[arg(long = "group", value_name = "GROUP", group = "change")]
        groups: Vec<GroupName>,
        /// Leave the user without a group.
        #[arg(long, conflicts_with = "groups", group = "change")]
        no_groups: bool,
        /// All networks from now on that the user may log in from, such as 10.0.0.0/8; repeat it for more. Sessions from
        /// elsewhere end.
        #[arg(long = "from", value_name = "NETWORK", value_parser = network, group = "change")]
        from: Vec<IpNet>,
        /// Let the user log in from anywhere.
        #[arg(long, conflicts_with = "from", group = "change")]
        from_anywhere: bool,
        /// The user who is the same human: neither approves what the other asks for. Their own name takes it back.
        #[arg(long, value_name = "USER", group = "change")]
        person: Option<UserName>,
        /// The last day of the user, such as 2026-12-31 (in the server's zone), or a moment,
        /// 2026-12-31T18:00:00+01:00; from then on the user is as suspended, and live sessions end. `none` takes it away.
        #[arg(long, value_name = "WHEN", group = "change")]
        until: Option<String>,
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
    /// End all that a human may do who leaves: by all their names, sessions, grants and requests too. Prints a receipt
    /// with the accounts that they have used.
    Offboard {
        /// One of the user's names, such as alice.
        user: UserName,
        /// Why, such as "left the company"; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        form: Form,
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
    /// Set the password that, with a one-time code, logs a user in; asks for it without echo.
    Password {
        /// The user's name, such as alice.
        user: UserName,
        /// Read the password from a file.
        #[arg(long, group = "source")]
        file: Option<PathBuf>,
        /// Read the password from standard input.
        #[arg(long, group = "source")]
        stdin: bool,
        /// Forget it, and the secret of the one-time codes; end sessions that logged in by them.
        #[arg(long, group = "source")]
        remove: bool,
    },
    /// Make the secret of a user's one-time codes, and show it once: as a QR code, and as text.
    Totp {
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
        Command::Add { user, groups, keys, from, until } => {
            let keys = read_keys(&keys)?;
            let (groups, from) = (groups.into_iter().collect(), from.into_iter().collect());
            desk.tell(Request::UserAdd { user, groups, keys, from, until })
        }
        Command::Set { user, groups, no_groups, from, from_anywhere, person, until } => {
            let groups = (no_groups || !groups.is_empty()).then(|| groups.into_iter().collect());
            let from = (from_anywhere || !from.is_empty()).then(|| from.into_iter().collect());
            desk.tell(Request::UserSet { user, groups, from, person, until })
        }
        Command::Password { user, remove: true, .. } => desk.tell(Request::UserPasswordRemove { user }),
        Command::Password { user, file, stdin, remove: false } => {
            let password = SecretText(match &file {
                Some(file) => prompt::from_file(file)?,
                None if stdin => prompt::from_stdin()?,
                None => prompt::secret(&format!("Password of {user}"))?,
            });
            desk.tell(Request::UserPasswordSet { user, password })
        }
        Command::Totp { user } => totp(desk, user),
        Command::List { form } => list(desk, form),
        Command::Suspend { user } => desk.tell(Request::UserSuspend { user }),
        Command::Offboard { user, reason, form } => {
            say(format!("offboarding {user}; for live sessions to close it is waited 5 s at most"));
            offboard(desk, Request::UserOffboard { user, reason }, form)
        }
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

/// Shows the secret: as a picture for whoever sits at the terminal, as text for programs.
fn totp(desk: &Desk, user: UserName) -> Result<(), CliError> {
    let Reply::Totp { uri, lines } = desk.ask(Request::UserTotpSet { user })? else {
        return Err(unexpected());
    };
    lines.iter().for_each(say);
    if std::io::stderr().is_terminal()
        && let Ok(code) = QrCode::new(uri.0.expose().as_bytes())
    {
        // Light on dark, as most terminals are; readers take either.
        let picture = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        say(Zeroizing::new(picture).as_str());
    }
    show(uri.0.expose());
    say("give it to an authenticator app, then forget it: whoever has it makes the codes");
    Ok(())
}

/// A network; an address alone is one of itself.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    let network = network.ok_or_else(|| "write a network such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32".to_owned())?;
    if network.trunc() == network {
        return Ok(network);
    }
    Err(format!("it has bits set that /{} leaves out; did you mean {}?", network.prefix_len(), network.trunc()))
}

fn add_keys(desk: &Desk, user: &UserName, lines: Vec<String>) -> Result<(), CliError> {
    lines.into_iter().try_for_each(|key| desk.tell(Request::UserKeyAdd { user: user.clone(), key }))
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let Reply::Users { users } = desk.ask(Request::UserList {})? else {
        return Err(unexpected());
    };
    let now = Clock::system().now();
    let mut table = Table::new(&["USER", "GROUPS", "KEYS", "FROM", "STATE"]);
    for user in &users {
        let state = match (user.suspended_at, user.until) {
            (Some(since), _) => format!("suspended {}", times::shown(since)),
            (None, Some(until)) if user.is_over(now) => format!("ended {}", times::shown(until)),
            (None, Some(until)) => format!("active until {}", times::shown(until)),
            (None, None) => "active".to_owned(),
        };
        let from = if user.from.is_empty() { "anywhere".to_owned() } else { join(&user.from) };
        table.row([user.name.to_string(), join(&user.groups), user.keys.len().to_string(), from, state]);
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

fn offboard(desk: &Desk, request: Request, form: Form) -> Result<(), CliError> {
    let Reply::Offboarded { receipt } = desk.ask(request)? else {
        return Err(unexpected());
    };
    if form.json { json(&receipt) } else { print(&receipt_text(&receipt)) }
}

fn receipt_text(receipt: &Offboarding) -> String {
    let Offboarding { user, names, by, reason, begun, sessions, grants, requests, .. } = receipt;
    let more = if receipt.accounts_more > 0 { format!(" and {} more", receipt.accounts_more) } else { String::new() };
    let accounts = if receipt.accounts.is_empty() { String::from("none") } else { join(&receipt.accounts) + &more };
    let leaf = receipt.leaf.map(|leaf| format!("{leaf}: `doorward audit prove {leaf}` proves it")).unwrap_or_default();
    let rows = [
        ("offboarded", user.to_string()),
        ("names", join(names)),
        ("by", by.clone()),
        ("reason", line(reason)),
        ("begun", times::shown_to_the_second(*begun)),
        ("done", receipt.done.map(times::shown_to_the_second).unwrap_or_default()),
        ("sessions", format!("{sessions} ended, {} closed", receipt.closed)),
        ("grants", format!("{grants} revoked")),
        ("requests", format!("{requests} cancelled")),
        ("keys", String::from("keys, certificates and passwords log in, and open nothing")),
        ("accounts", format!("{accounts}: change their secrets, if any of them was a password")),
        ("leaf", leaf),
    ];
    let text: String = rows.into_iter().map(|(name, value)| format!("{name:12}{value}\n")).collect();
    match &receipt.checkpoint {
        Some(checkpoint) => format!("{text}checkpoint, signed, of a log that has this leaf:\n\n{checkpoint}"),
        None => text,
    }
}
