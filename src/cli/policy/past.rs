//! What was decided once, gathered from the index of commands and the list of recordings; with an identity, from the recordings
//! themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::CliError;
use crate::admin::api::{RecordingRow, Reply, Request, SessionFilter};
use crate::audit::{CommandFilter, CommandRow};
use crate::auditor::Identity;
use crate::cli::commands;
use crate::cli::desk::{Desk, unexpected};
use crate::cli::output::{Progress, say};
use crate::cli::recording::read_identities;
use crate::model::{ChannelClass, ChannelNumber, Destination, SessionId, Timestamp, UserName};
use crate::policy::past::{Known, Past, PastAsked, Said};
use crate::store::PlainRecording;

/// What is read of the past.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Only since: a time, a date, or a length of time until now, such as 90d.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = crate::cli::times::parse_since)]
    pub(super) since: Timestamp,
    /// Only of these sessions; repeat it for more.
    #[arg(long, value_name = "ID")]
    pub(super) session: Vec<SessionId>,
    /// The file with your age identity, to read command lines from the recordings, too: whole, and those of before there
    /// were command sets. Repeat it for more. That they are read is on record.
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Vec<PathBuf>,
}

/// A decision of the past, on its own.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    user: UserName,
    destination: Destination,
    at: Timestamp,
    source: Option<IpAddr>,
    session: SessionId,
    granted: bool,
    asked: Asked,
    then: Said,
}

#[derive(Debug, Clone)]
enum Asked {
    Channel(ChannelClass),
    Command(String),
}

impl Decided {
    /// As the rehearsal takes it.
    pub(super) fn past(&self) -> Past<'_> {
        Past {
            user: &self.user,
            destination: &self.destination,
            at: self.at,
            source: self.source,
            session: &self.session,
            granted: self.granted,
            asked: match &self.asked {
                Asked::Channel(class) => PastAsked::Channel(*class),
                Asked::Command(line) => PastAsked::Command(line),
            },
            then: self.then,
        }
    }

    /// The command line, of one that ran.
    pub(super) fn ran(&self) -> Option<&str> {
        match &self.asked {
            Asked::Command(line) if self.then != Said::Refused => Some(line),
            Asked::Command(_) | Asked::Channel(_) => None,
        }
    }
}

/// The groups of users and the labels of targets, as they are now.
pub(super) fn known(desk: &Desk) -> Result<Known, CliError> {
    let Reply::Users { users } = desk.ask(Request::UserList {})? else { return Err(unexpected()) };
    let Reply::Targets { targets } = desk.ask(Request::TargetList {})? else { return Err(unexpected()) };
    Ok(Known {
        groups: users.into_iter().map(|user| (user.name, user.groups)).collect(),
        labels: targets.into_iter().map(|target| (target.name, target.labels)).collect(),
    })
}

/// Gives each decision of the past to `take`, page by page.
pub(super) fn each(desk: &Desk, which: &Which, take: &mut dyn FnMut(Vec<Decided>)) -> Result<(), CliError> {
    let filter = SessionFilter { since: Some(which.since), ..SessionFilter::default() };
    let Reply::Recordings { recordings, .. } = desk.ask(Request::RecordingList { filter })? else {
        return Err(unexpected());
    };
    let meant = |session: &SessionId| which.session.is_empty() || which.session.contains(session);
    let rows: BTreeMap<SessionId, RecordingRow> =
        recordings.into_iter().filter(|row| meant(&row.session)).map(|row| (row.session.clone(), row)).collect();
    if let Some(missing) = which.session.iter().find(|session| !rows.contains_key(*session)) {
        return Err(CliError::failed(format!("there is no recording of session `{missing}` in that time")));
    }
    let opened = match which.identity.as_slice() {
        [] => BTreeSet::new(),
        files => from_recordings(desk, &rows, &read_identities(files)?, take)?,
    };
    take(rows.values().flat_map(channels).collect());
    let mut short = 0_u64;
    let filter = CommandFilter { since: Some(which.since), ..CommandFilter::default() };
    commands::each(desk, &filter, &mut |page| {
        let mut decided = Vec::new();
        for row in page {
            let then = said(&row);
            // Lines of shells stand in no recording's header.
            let whole = then != Said::Refused && row.confidence.is_none();
            if !meant(&row.session) || (whole && opened.contains(&(row.session.clone(), row.channel))) {
                continue;
            }
            if row.line.ends_with('…') {
                short = short.saturating_add(1);
                continue;
            }
            decided.push(command(row, then, &rows));
        }
        take(decided);
    })?;
    if short > 0 {
        say(format!("warning: {short} long command lines stand shortened in the log; --identity reads them whole"));
    }
    Ok(())
}

/// What was said of it.
fn said(row: &CommandRow) -> Said {
    match (row.done.as_str(), row.approved) {
        ("refused", _) => Said::Refused,
        (_, true) => Said::WithApproval,
        (_, false) => Said::Allowed,
    }
}

fn command(ran: CommandRow, then: Said, rows: &BTreeMap<SessionId, RecordingRow>) -> Decided {
    let row = rows.get(&ran.session);
    Decided {
        user: ran.user,
        destination: ran.destination,
        at: ran.at,
        source: row.and_then(source),
        // Of one whose recording is gone nobody knows: as everything that is not known it counts as good as can be.
        granted: row.is_none_or(|row| row.grant.is_some()),
        session: ran.session,
        asked: Asked::Command(ran.line),
        then,
    }
}

/// What a session opened, each class once.
fn channels(row: &RecordingRow) -> Vec<Decided> {
    let classes: BTreeSet<ChannelClass> = row.channels.iter().filter_map(|channel| channel.class).collect();
    classes.into_iter().map(|class| decided(row, row.started, Asked::Channel(class))).collect()
}

fn decided(row: &RecordingRow, at: Timestamp, asked: Asked) -> Decided {
    Decided {
        user: row.user.clone(),
        destination: row.destination.clone(),
        at,
        source: source(row),
        session: row.session.clone(),
        granted: row.grant.is_some(),
        asked,
        then: Said::Allowed,
    }
}

fn source(row: &RecordingRow) -> Option<IpAddr> {
    row.source.parse().map(|source: SocketAddr| source.ip()).ok()
}

/// The command lines in recordings that the identities open; says which channels they are of.
fn from_recordings(
    desk: &Desk,
    rows: &BTreeMap<SessionId, RecordingRow>,
    identities: &[Identity],
    take: &mut dyn FnMut(Vec<Decided>),
) -> Result<BTreeSet<(SessionId, Option<u32>)>, CliError> {
    let (catalog, mut opened, mut closed) = (desk.catalog(), BTreeSet::new(), 0_usize);
    let exec = |row: &&RecordingRow| row.channels.iter().any(|channel| channel.class == Some(ChannelClass::Exec));
    let rows: Vec<&RecordingRow> = rows.values().filter(exec).collect();
    let mut progress = Progress::new();
    let total = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    for (done, row) in (0_u64..).zip(rows) {
        progress.at("recordings", done, total);
        let Ok(stored) = catalog.open(&row.session) else { continue };
        let Ok(recording) = PlainRecording::open(catalog.root(), stored, identities) else {
            closed = closed.saturating_add(1);
            continue;
        };
        desk.tell(Request::RecordingRead {
            session: row.session.clone(),
            purpose: String::from("rehearsal of a policy"),
        })?;
        let mut lines = Vec::new();
        for channel in recording.channels {
            let ChannelNumber(number) = channel.number;
            let facts = channel.header.doorward;
            if let (Some(ChannelClass::Exec), Some(line), None) =
                (facts.class, channel.header.command, facts.command_base64)
            {
                opened.insert((row.session.clone(), Some(number)));
                lines.push(decided(row, row.started, Asked::Command(line)));
            }
        }
        take(lines);
    }
    progress.finish();
    if closed > 0 {
        say(format!("warning: {closed} recordings are sealed for others, or damaged: of them the log alone is read"));
    }
    Ok(opened)
}
