//! `doorward review`.

use clap::ValueEnum;

use super::answers::{Most, ask, say_if_cut};
use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing, say};
use super::{CliError, review_diff, times};
use crate::admin::answers::{Inquiry, Report, ReviewLine};
use crate::admin::api::Request;
use crate::ledger::SignOffVerdict;
use crate::model::{GroupName, TargetName, Timestamp, join};
use crate::screen::plural;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say of a line whether the right shall stay; kept in the audit log. Nothing is taken away by it: for `remove` it is
    /// shown what to change.
    Sign {
        /// The line's id, as `review` shows it.
        line: String,
        /// Whether the right shall stay.
        verdict: Verdict,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only users of this group.
    #[arg(long, conflicts_with = "target")]
    group: Option<GroupName>,
    /// Only rules for this target.
    #[arg(long)]
    target: Option<TargetName>,
    /// Print what to change so that the rights that are signed `remove` are gone: a diff of the policy files, and words for
    /// what is no exact change. Nothing is changed.
    #[arg(long, conflicts_with = "json")]
    diff: bool,
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Verdict {
    /// It shall stay.
    Keep,
    /// It shall not.
    Remove,
}

pub(super) fn run(desk: &Desk, arguments: Arguments) -> Result<(), CliError> {
    match arguments.command {
        None => list(desk, arguments.list),
        Some(Command::Sign { line, verdict, note }) => {
            let verdict = match verdict {
                Verdict::Keep => SignOffVerdict::Keep,
                Verdict::Remove => SignOffVerdict::Remove,
            };
            desk.tell(Request::Inquire { inquiry: Inquiry::ReviewSign { line, verdict, note } })
        }
    }
}

fn list(desk: &Desk, arguments: List) -> Result<(), CliError> {
    let List { group, target, diff, most: Most { most }, form } = arguments;
    if diff {
        return review_diff::run(desk, group, target);
    }
    let Report::Review { lines, total, since } = ask(desk, Inquiry::Review { group, target, most })? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&["LINE", "USER", "ACCOUNT", "WHERE", "RULE", "HOW", "CHANNELS", "LAST USE", "SIGNED"]);
    for line in &lines {
        let suspended = if line.suspended { " (suspended)" } else { "" };
        table.row([
            line.line.clone(),
            format!("{}{suspended}", line.user),
            line.account.to_string(),
            line.place.clone(),
            line.rule.to_string(),
            line.how.clone(),
            join(&line.channels),
            last_use(line, since),
            signed(line),
        ]);
    }
    listing(form, &lines, &table, "no rule is for anybody")?;
    let (unused, unsigned) =
        (lines.iter().filter(|line| line.unused), lines.iter().filter(|line| line.signed.is_none()));
    let (unused, unsigned) = (unused.count(), unsigned.count());
    say(format!("{total} {}, {unused} unused for over 90 days, {unsigned} not signed", plural(total, "line")));
    if let Some(since) = since {
        say(format!("only sessions since {} were looked at", times::shown(since)));
    }
    say_if_cut(lines.len(), total, "--group or --target");
    Ok(())
}

fn last_use(line: &ReviewLine, since: Option<Timestamp>) -> String {
    let unused = if line.unused { " (unused)" } else { "" };
    match (line.last_use, since) {
        (Some(last), _) => format!("{}{unused}", times::shown(last)),
        (None, None) => format!("never{unused}"),
        (None, Some(_)) => format!("not lately{unused}"),
    }
}

fn signed(line: &ReviewLine) -> String {
    let Some(signed) = &line.signed else { return String::new() };
    format!("{} by {} at {}: {}", signed.verdict.word(), signed.by, times::shown(signed.at), signed.note)
}
