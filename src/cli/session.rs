//! `doorward session`.

use std::time::Duration;

use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing, span};
use super::{CliError, times};
use crate::admin::api::{Reply, Request};
use crate::model::SessionId;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List live sessions.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// End live sessions.
    Kill {
        /// The sessions' ids, as `session list` shows them.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
    },
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { form } => list(desk, form),
        Command::Kill { sessions } => {
            sessions.into_iter().try_for_each(|session| desk.tell(Request::SessionKill { session }))
        }
    }
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let Reply::Sessions { sessions } = desk.ask(Request::SessionList {})? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&["SESSION", "USER", "DESTINATION", "FROM", "STARTED", "LEFT", "CHANNELS", "REASON"]);
    for row in &sessions {
        let session = &row.session;
        table.row([
            session.id.to_string(),
            session.user.to_string(),
            session.destination.to_string(),
            session.source.clone(),
            times::shown(session.started),
            row.remaining_seconds.map(|left| span(Duration::from_secs(left))).unwrap_or_default(),
            session.channels.to_string(),
            session.reason.clone().unwrap_or_default(),
        ]);
    }
    listing(form, &sessions, &table, "no live sessions")
}
