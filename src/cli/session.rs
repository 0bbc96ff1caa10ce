//! `doorward session`.

use std::path::PathBuf;
use std::time::Duration;

use super::desk::{Desk, unexpected};
use super::filter::FilterArguments;
use super::output::{Form, Table, listing, say};
use super::{CliError, prompt, times, watch};
use crate::admin::api::{Reply, Request, SessionFilter, SessionRow};
use crate::model::{ChannelNumber, SessionId, join};
use crate::screen::span_short;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List live sessions.
    List {
        #[command(flatten)]
        filter: FilterArguments,
        #[command(flatten)]
        form: Form,
    },
    /// End live sessions: those with these ids, or, after confirmation, all that the filters name.
    Kill {
        /// The sessions' ids, as `session list` shows them.
        #[arg(required_unless_present_any = ["user", "target", "since"],
              conflicts_with_all = ["user", "target", "since"])]
        sessions: Vec<SessionId>,
        #[command(flatten)]
        filter: FilterArguments,
        /// End what the filters name without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Pause live sessions: nothing goes through, either way, until `unfreeze`.
    Freeze {
        /// The sessions' ids, as `session list` shows them.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
    },
    /// Let paused sessions go on.
    Unfreeze {
        /// The sessions' ids, as `session list` shows them.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
    },
    /// See what a live session's terminal shows; q leaves. Without a terminal: once, as text. It is on record, and touches
    /// nothing.
    Watch {
        /// The session's id, as `session list` shows it.
        session: SessionId,
        /// One of its channels; else the first that is open and has a terminal.
        channel: Option<u32>,
        /// Write what a desktop shows now into a new file, as PNG.
        #[arg(long, value_name = "FILE", conflicts_with = "channel")]
        png: Option<PathBuf>,
    },
    /// Say a line on a live session's terminals.
    Message {
        /// The session's id, as `session list` shows it.
        session: SessionId,
        /// The line.
        text: String,
    },
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { filter, form } => {
            let sessions = live(desk, filter.into())?;
            listing(form, &sessions, &table(&sessions), "no live sessions")
        }
        Command::Kill { sessions, filter, yes } if sessions.is_empty() => kill_filtered(desk, filter.into(), yes),
        Command::Kill { sessions, .. } => kill(desk, sessions),
        Command::Freeze { sessions } => each(desk, sessions, |session| Request::SessionFreeze { session }),
        Command::Unfreeze { sessions } => each(desk, sessions, |session| Request::SessionUnfreeze { session }),
        Command::Watch { session, png: Some(file), .. } => watch::picture(desk, session, &file),
        Command::Watch { session, channel, png: None } => watch::run(desk, session, channel.map(ChannelNumber)),
        Command::Message { session, text } => desk.tell(Request::SessionMessage { session, text }),
    }
}

fn live(desk: &Desk, filter: SessionFilter) -> Result<Vec<SessionRow>, CliError> {
    let Reply::Sessions { sessions } = desk.ask(Request::SessionList { filter })? else {
        return Err(unexpected());
    };
    Ok(sessions)
}

fn kill_filtered(desk: &Desk, filter: SessionFilter, yes: bool) -> Result<(), CliError> {
    let sessions = live(desk, filter)?;
    if sessions.is_empty() {
        return Err(CliError::failed("no live session is meant").hint("`doorward session list` shows the live ones"));
    }
    say(table(&sessions).text());
    if !yes {
        let these = if sessions.len() == 1 { "this session" } else { "these sessions" };
        prompt::confirm(&format!("End {these}?"), "look at `doorward session list`, then give --yes")?;
    }
    // What was shown is ended, and nothing that began since.
    kill(desk, sessions.into_iter().map(|session| session.session).collect())
}

fn kill(desk: &Desk, sessions: Vec<SessionId>) -> Result<(), CliError> {
    each(desk, sessions, |session| Request::SessionKill { session })
}

/// Asks this of each of them, whatever becomes of the others.
fn each(desk: &Desk, sessions: Vec<SessionId>, request: fn(SessionId) -> Request) -> Result<(), CliError> {
    let results: Vec<_> = sessions.into_iter().map(|session| desk.tell(request(session))).collect();
    results.into_iter().collect()
}

fn table(sessions: &[SessionRow]) -> Table {
    let mut table = Table::new(&[
        "SESSION",
        "USER",
        "DESTINATION",
        "SOURCE",
        "STARTED",
        "LEFT",
        "CHANNELS",
        "PAUSED",
        "WATCHED BY",
        "REASON",
    ]);
    for session in sessions {
        table.row([
            session.session.to_string(),
            session.user.to_string(),
            session.destination.to_string(),
            session.source.clone(),
            times::shown(session.started),
            session.remaining_seconds.map(|left| span_short(Duration::from_secs(left))).unwrap_or_default(),
            session.open_channels.to_string(),
            session.paused.clone().unwrap_or_default(),
            join(&session.watchers),
            session.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}
