//! `doorward grant`.

use std::time::Duration;

use super::desk::{Desk, unexpected};
use super::output::{Form, Table, json, listing, print, say};
use super::{CliError, times};
use crate::admin::api::{GrantRow, Reply, Request};
use crate::grant::GrantState;
use crate::model::{Destination, GrantId, Timestamp, UserName};
use crate::screen::span_short;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Give a user the right to a destination for some time. Prints the grant's id.
    Add {
        /// The bastion user, such as alice.
        user: UserName,
        /// ACCOUNT@TARGET, such as root@db1.
        destination: Destination,
        /// For how long, such as 1h or 30m.
        #[arg(long = "for", value_name = "SPAN", value_parser = times::parse_span)]
        span: Duration,
        /// From when on [default: now].
        #[arg(long, value_name = "TIME", value_parser = times::parse_moment)]
        from: Option<Timestamp>,
        /// What it is for, such as "CHG-123 vacuum is stuck"; shown to the user and kept in recordings.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        form: Form,
    },
    /// List grants that hold or will.
    List {
        /// Also those that ended or were revoked.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Take a grant back and end the live sessions on it.
    Revoke {
        /// The grant's id, such as g-7k2mq4x9, as `grant list` shows it.
        grant: GrantId,
        /// Why it is taken back, such as "CHG-123 is done"; kept with the grant and in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::Add { user, destination, span, from, reason, form } => {
            let Reply::Granted { grant } = desk.ask(Request::GrantAdd { user, destination, from, span, reason })?
            else {
                return Err(unexpected());
            };
            tell(&grant);
            if form.json { json(&grant) } else { print(&format!("{}\n", grant.grant.id)) }
        }
        Command::List { all, form } => list(desk, all, form),
        Command::Revoke { grant, reason } => desk.tell(Request::GrantRevoke { grant, reason }),
    }
}

fn tell(row: &GrantRow) {
    let grant = &row.grant;
    let from = match row.state {
        GrantState::Scheduled => format!("from {} ", times::shown(grant.from)),
        GrantState::Active | GrantState::Ended | GrantState::Revoked => String::new(),
    };
    let until = times::shown(grant.until);
    say(format!(
        "granted: {} to {} {from}until {until} ({})",
        grant.user,
        grant.destination,
        span_short(grant.from.until(grant.until))
    ));
}

fn list(desk: &Desk, all: bool, form: Form) -> Result<(), CliError> {
    let Reply::Grants { grants } = desk.ask(Request::GrantList { all })? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&["GRANT", "USER", "DESTINATION", "STATE", "FROM", "UNTIL", "LEFT", "REASON"]);
    for row in &grants {
        let grant = &row.grant;
        let left = match row.state {
            GrantState::Active => span_short(Duration::from_secs(row.remaining_seconds)),
            GrantState::Scheduled | GrantState::Ended | GrantState::Revoked => String::new(),
        };
        table.row([
            grant.id.to_string(),
            grant.user.to_string(),
            grant.destination.to_string(),
            row.state.to_string(),
            times::shown(grant.from),
            times::shown(grant.until),
            left,
            grant.reason.clone(),
        ]);
    }
    let nothing = if all { "no grants" } else { "no grant holds or will; --all shows those that are over" };
    listing(form, &grants, &table, nothing)
}
