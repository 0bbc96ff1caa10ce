//! `doorward commands`: who ran what, where and when.

use std::collections::BTreeMap;

use super::desk::{Desk, unexpected};
use super::output::{Form, Progress, Table, listing, say};
use super::{CliError, times};
use crate::admin::api::{Reply, Request};
use crate::audit::{CommandFilter, CommandRow};
use crate::model::{SessionId, TargetName, Timestamp, UserName};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only those since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
    /// Only of this session.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Only of this bastion user.
    #[arg(long)]
    user: Option<UserName>,
    /// Only on this target.
    #[arg(long)]
    target: Option<TargetName>,
    /// Only those that start this program: its name, or its path.
    #[arg(long)]
    program: Option<String>,
    /// No more than so many, the newest.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    last: usize,
    #[command(flatten)]
    form: Form,
}

pub(super) fn run(desk: &Desk, arguments: Arguments) -> Result<(), CliError> {
    let Arguments { since, session, user, target, program, last, form } = arguments;
    let filter = CommandFilter { since, session, user, target, program };
    // By their place in the log; the oldest is left out when there are too many.
    let (mut newest, mut left_out) = (BTreeMap::new(), 0_u64);
    each(desk, &filter, &mut |rows| {
        for row in rows {
            newest.insert(row.seq, row);
            if newest.len() > last && newest.pop_first().is_some() {
                left_out = left_out.saturating_add(1);
            }
        }
    })?;
    let rows: Vec<CommandRow> = newest.into_values().collect();
    let mut table = Table::new(&["TIME", "USER", "WHERE", "SESSION", "SECOND", "DONE", "READ", "LINE"]);
    for row in &rows {
        let second = row.second.map(|second| second.to_string()).unwrap_or_default();
        table.row([
            times::shown_to_the_second(row.at),
            row.user.to_string(),
            row.destination.to_string(),
            row.session.to_string(),
            second,
            done(row),
            row.confidence.clone().unwrap_or_default(),
            row.line.clone(),
        ]);
    }
    listing(form, &rows, &table, "no commands")?;
    if left_out > 0 {
        say(format!("{left_out} older ones are not listed; --last shows more"));
    }
    Ok(())
}

/// What became of it, and what the rules said where that is something else.
fn done(row: &CommandRow) -> String {
    match row.verdict.as_str() {
        "deny" if row.done == "observed" => String::from("observed, against a rule"),
        "deny" if row.done == "allowed" => String::from("ran, against a rule"),
        _ => row.done.clone(),
    }
}

/// Gives each command that is meant to `take`, page by page.
pub(super) fn each(desk: &Desk, filter: &CommandFilter, take: &mut dyn FnMut(Vec<CommandRow>)) -> Result<(), CliError> {
    let (mut at, mut own) = (0, None);
    let mut progress = Progress::new();
    loop {
        let request = Request::CommandList { filter: filter.clone(), from: at, pass: own.take() };
        let Reply::Commands { rows, next, more, pass, behind } = desk.ask(request)? else {
            return Err(unexpected());
        };
        if let Some(behind) = behind {
            say(format!("warning: the newest commands may be missing: {behind}"));
        }
        take(rows);
        if !more {
            progress.finish();
            return Ok(());
        }
        (at, own) = (next, Some(pass));
        progress.at("bytes of the index", at, at);
    }
}
