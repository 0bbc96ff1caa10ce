//! `doorward who-can`, `who-is`, `who-did`, `standing`.

mod past;

use std::time::Duration;

use super::desk::{Desk, unexpected};
use super::filter::FilterArguments;
use super::output::{Form, Table, listing, say, waiting};
use super::{CliError, times};
use crate::admin::answers::{Did, Inquiry, Present, ROWS_MAX, Report};
use crate::admin::api::{Reply, Request};
use crate::clock::Clock;
use crate::grant::GrantState;
use crate::ledger::{Way, WayGrant, Ways};
use crate::model::{AccountName, LockId, Presence, TargetName, Timestamp, UserName, join};
use crate::screen::{plural, span_short};

/// How much is shown.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Most {
    /// Show so many rows at most; how many there are is said.
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(ROWS_MAX)))]
    pub(super) most: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct WhoCan {
    /// The target.
    target: TargetName,
    /// Only this account.
    #[arg(long)]
    account: Option<AccountName>,
    /// Suspended users, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct WhoIs {
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct WhoDid {
    /// The target.
    target: TargetName,
    /// Only sessions that lasted until then or longer: a time, a date, or a length of time until now, such as 24h. One
    /// that began more than 31 days before is not found.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    from: Option<Timestamp>,
    /// Only sessions that began before then.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    to: Option<Timestamp>,
    /// Only this user.
    #[arg(long)]
    user: Option<UserName>,
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Standing {
    /// Only targets with this label; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    most: Most,
    #[command(flatten)]
    form: Form,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no label: write env=prod"))?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn who_can(desk: &Desk, arguments: WhoCan) -> Result<(), CliError> {
    let WhoCan { target, account, all, most: Most { most }, form } = arguments;
    let ways = ways(desk, Inquiry::WhoCan { target, account, all, most })?;
    let now = Clock::system().now();
    let mut table = Table::new(&["USER", "ACCOUNT", "HOW", "CHANNELS", "RULE"]);
    for way in &ways.list {
        table.row([
            way.user.to_string(),
            way.destination.account.to_string(),
            how(way, now),
            join(&way.channels),
            way.rule.to_string(),
        ]);
    }
    listing(form, &ways.list, &table, "nobody can reach it")?;
    say_if_cut(ways.list.len(), ways.total, "--account");
    Ok(())
}

pub(super) fn standing(desk: &Desk, arguments: Standing) -> Result<(), CliError> {
    let Standing { labels, most: Most { most }, form } = arguments;
    let ways = ways(desk, Inquiry::Standing { labels: labels.into_iter().collect(), most })?;
    let mut table = Table::new(&["USER", "TARGET", "ACCOUNT", "CHANNELS", "RULE", "PLACE", "NOTE"]);
    for way in &ways.list {
        table.row([
            way.user.to_string(),
            way.destination.target.to_string(),
            way.destination.account.to_string(),
            join(&way.channels),
            way.rule.to_string(),
            format!("{}:{}", way.file, way.line),
            join(
                way.locked
                    .iter()
                    .map(|lock| format!("locked by {lock}"))
                    .chain(notes(way).into_iter().map(str::to_owned)),
            ),
        ]);
    }
    if form.json || !ways.list.is_empty() {
        listing(form, &ways.list, &table, "")?;
    }
    let locked = ways.list.iter().filter(|way| way.locked.is_some()).count();
    let locked = if locked > 0 { format!(", {locked} of them locked now") } else { String::new() };
    say(format!("{} {} without a grant{locked}", ways.total, plural(ways.total, "right")));
    say_if_cut(ways.list.len(), ways.total, "--label");
    Ok(())
}

pub(super) fn who_is(desk: &Desk, arguments: WhoIs) -> Result<(), CliError> {
    let WhoIs { filter, form } = arguments;
    let Report::Present(present) = ask(desk, Inquiry::WhoIs { filter: filter.into() })? else {
        return Err(unexpected());
    };
    let columns = ["USER", "DESTINATION", "SINCE", "UNTIL", "STATE", "SOURCE", "WATCHED BY", "SESSION", "REASON"];
    let mut table = Table::new(&columns);
    for Present { session, ticket, locked, .. } in &present {
        let state = match (locked, &session.paused) {
            (Some(lock), _) => format!("locked by {lock}"),
            (None, Some(noted)) => format!("paused {noted}"),
            (None, None) => "live".to_owned(),
        };
        let left = session.remaining_seconds.map(|left| format!(" ({} left)", span_short(Duration::from_secs(left))));
        let until = session.until.map(|until| format!("{}{}", times::shown(until), left.unwrap_or_default()));
        table.row([
            session.user.to_string(),
            session.destination.to_string(),
            times::shown(session.started),
            until.unwrap_or_default(),
            state,
            session.source.clone(),
            join(&session.watchers),
            session.session.to_string(),
            purpose(ticket.as_deref(), session.reason.as_deref()),
        ]);
    }
    listing(form, &present, &table, "no live sessions")
}

pub(super) fn who_did(desk: &Desk, arguments: WhoDid) -> Result<(), CliError> {
    let WhoDid { target, from, to, user, most: Most { most }, form } = arguments;
    let inquiry = Inquiry::WhoDid { target: target.clone(), user: user.clone(), from, to, most };
    let Report::Past { mut sessions, total, damaged } = ask(desk, inquiry)? else { return Err(unexpected()) };
    let shown = sessions.len();
    let rows = past::with_the_log(desk, &mut sessions, &target, user.as_ref())?;
    let mut table = Table::new(&[
        "USER",
        "ACCOUNT",
        "STARTED",
        "ENDED",
        "END",
        "GRANT",
        "REQUEST",
        "APPROVED BY",
        "SESSION",
        "REASON",
    ]);
    for row in &rows {
        let Did { session, user, destination, started, ended, end, grant, requests, reason, .. } = &row.did;
        let ticket = requests.iter().find_map(|request| request.ticket.as_deref());
        let asked = requests.iter().map(|request| &request.request);
        let approved = requests.iter().flat_map(|request| &request.approvals).map(|approval| &approval.by);
        let approved = join(approved);
        let given = row.did.granted_by.as_ref().filter(|_| approved.is_empty()).cloned();
        table.row([
            user.as_ref().map(ToString::to_string).unwrap_or_default(),
            destination.as_ref().map(|there| there.account.to_string()).unwrap_or_default(),
            started.map(times::shown).unwrap_or_default(),
            ended.map(times::shown).unwrap_or_default(),
            row.erasure.as_ref().map_or_else(|| end.clone().unwrap_or_default(), past::Erasure::text),
            grant.as_ref().map(ToString::to_string).unwrap_or_default(),
            join(asked),
            given.unwrap_or(approved),
            session.to_string(),
            purpose(ticket, reason.as_deref()),
        ]);
    }
    listing(form, &rows, &table, "no sessions there")?;
    damaged.iter().for_each(|one| say(format!("damaged: {one}")));
    say_if_cut(shown, total, "--from, --to and --user");
    Ok(())
}

/// Ticket and reason; the reason of a request has its ticket in front already.
fn purpose(ticket: Option<&str>, reason: Option<&str>) -> String {
    match (ticket, reason) {
        (Some(ticket), Some(reason)) if !reason.contains(ticket) => format!("{ticket} {reason}"),
        (_, Some(reason)) => reason.to_owned(),
        (ticket, None) => ticket.unwrap_or_default().to_owned(),
    }
}

pub(super) fn ask(desk: &Desk, inquiry: Inquiry) -> Result<Report, CliError> {
    let Reply::Report { report } = waiting("looking", || desk.ask(Request::Inquire { inquiry }))? else {
        return Err(unexpected());
    };
    Ok(report)
}

fn ways(desk: &Desk, inquiry: Inquiry) -> Result<Ways, CliError> {
    let Report::Ways(ways) = ask(desk, inquiry)? else { return Err(unexpected()) };
    Ok(ways)
}

/// Says that there is more than was shown.
pub(super) fn say_if_cut(shown: usize, total: u64, narrower: &str) {
    let shown = u64::try_from(shown).unwrap_or(u64::MAX);
    if shown < total {
        say(format!("only {shown} of {total} are shown: narrow it with {narrower}, or raise --most"));
    }
}

/// By what right, in words.
fn how(way: &Way, now: Timestamp) -> String {
    let mut parts: Vec<String> = way.locked.iter().map(|lock| format!("locked by {lock}")).collect();
    if way.standing {
        parts.push(if way.locked.is_some() { "open without it" } else { "open" }.to_owned());
    } else {
        parts.extend(way.grants.iter().map(|grant| grant_shown(grant, way.locked.as_ref(), now)));
        parts.extend(match &way.request {
            Some(request) if way.operators => Some(format!("may ask, approved by {}", request.approvers)),
            Some(request) => Some(format!("may ask, approved by {}; no operator's grant counts", request.approvers)),
            None => way.operators.then(|| "needs an operator's grant".to_owned()),
        });
    }
    if way.break_glass {
        parts.push("may break the glass".to_owned());
    }
    if way.conditioned {
        parts.push("under conditions".to_owned());
    }
    let notes = notes(way);
    if !notes.is_empty() {
        parts.push(join(notes));
    }
    parts.join("; ")
}

fn grant_shown(grant: &WayGrant, place: Option<&LockId>, now: Timestamp) -> String {
    let when = match grant.state {
        GrantState::Scheduled => format!("from {}", grant.from.clock_time_from(now)),
        GrantState::Active | GrantState::Ended | GrantState::Revoked => {
            format!("until {}", grant.until.clock_time_from(now))
        }
    };
    let spent = if grant.spent { ", all its sessions have begun" } else { "" };
    let bound = if grant.bound_key.is_some() { ", only by the key that asked" } else { "" };
    let locked = match (&grant.locked, place) {
        (Some(lock), None) => format!(", locked by {lock}"),
        (None, Some(_)) => String::from(", which that lock leaves alone"),
        (Some(_), Some(_)) | (None, None) => String::new(),
    };
    format!("granted {when} by {}{spent}{bound}{locked}", grant.grant)
}

/// What else stands in the way.
fn notes(way: &Way) -> Vec<&'static str> {
    let key = match way.key {
        Presence::NONE => None,
        Presence { pin: true, .. } => Some("with a security key and its PIN"),
        Presence { pin: false, .. } => Some("with a security key"),
    };
    let suspended = way.suspended.then_some("suspended");
    let bare = (!way.ready).then_some("target not set up");
    let unknown = (!way.known).then_some("account not known there");
    [suspended, key, bare, unknown].into_iter().flatten().collect()
}
