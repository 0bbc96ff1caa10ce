//! What a bastion user asks of the bastion itself: `ssh USER@BASTION VERB`, for the people whom `[[audit]]` rules name.
//!
//! Nothing is opened here: a recording is handed out as it lies in the store, sealed, with its proofs. What is watched
//! live is what the recorder has written, drawn by an emulator. Either is on record before the first byte goes out.

mod handout;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Bastion, Refusal};
use crate::audit::AuditEvent;
use crate::listener::{ChannelStart, UserSink};
use crate::model::{ChannelEvent, ChannelNumber, Exit, SessionId, TargetName, UserName};
use crate::policy::AuditRight;
use crate::recorder::Watching;
use crate::screen::line;
use crate::store::{End, Filter, Listed, StoreError};
use crate::wire::channel::{PeerGone, Sink};

/// A longer command line is no verb.
const COMMAND_BYTES_MAX: usize = 1024;

/// What can be asked for.
pub const HELP: &str = "\
recording list [--json]            recordings that you may fetch
recording get SESSION              one of them, sealed, with its proofs, as a tar archive
session list [--json]              live sessions that you may watch
session watch SESSION [CHANNEL]    what one of them shows; q leaves
help                               this
";

/// What a user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// What there is.
    Help,
    /// Recordings that the user may fetch.
    Recordings(Form),
    /// A sealed recording with its proofs.
    Get(SessionId),
    /// Live sessions that the user may watch.
    Sessions(Form),
    /// What a live session shows.
    Watch(SessionId, Option<ChannelNumber>),
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Text,
    /// One JSON array.
    Json,
}

impl Verb {
    /// Reads a command line: words with blanks in between, no quotes.
    pub fn parse(command: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(command).ok().filter(|text| text.len() <= COMMAND_BYTES_MAX)?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["help"] => Some(Self::Help),
            ["recording", "list"] => Some(Self::Recordings(Form::Text)),
            ["recording", "list", "--json"] => Some(Self::Recordings(Form::Json)),
            ["recording", "get", session] => SessionId::parse(session).ok().map(Self::Get),
            ["session", "list"] => Some(Self::Sessions(Form::Text)),
            ["session", "list", "--json"] => Some(Self::Sessions(Form::Json)),
            ["session", "watch", session] => SessionId::parse(session).ok().map(|session| Self::Watch(session, None)),
            ["session", "watch", session, channel] => {
                Some(Self::Watch(SessionId::parse(session).ok()?, channel.parse().ok().map(ChannelNumber)))
                    .filter(|verb| !matches!(verb, Self::Watch(_, None)))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Verb {
    /// As it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help => f.write_str("help"),
            Self::Recordings(_) => f.write_str("recording list"),
            Self::Get(session) => write!(f, "recording get {session}"),
            Self::Sessions(_) => f.write_str("session list"),
            Self::Watch(session, None) => write!(f, "session watch {session}"),
            Self::Watch(session, Some(channel)) => write!(f, "session watch {session} {channel}"),
        }
    }
}

/// A verb that may be answered, and is on record where it must be.
pub enum Answer {
    Text(String),
    Handout(SessionId),
    Watch(Box<Watched>),
}

/// A live session that is about to be watched.
pub struct Watched {
    pub by: UserName,
    pub session: SessionId,
    pub target: TargetName,
    pub title: String,
    pub watching: Watching,
}

/// Judges a verb. What shows something of a session is on record when this returns.
///
/// # Errors
/// `NothingToAudit` if there is no such session or no rule lets the user; `Audit` if it cannot be put on record.
pub async fn judge(bastion: &Arc<Bastion>, user: &UserName, verb: &Verb) -> Result<Answer, Refusal> {
    match verb {
        Verb::Help => Ok(Answer::Text(HELP.to_owned())),
        Verb::Recordings(form) => Ok(Answer::Text(recordings(bastion, user, *form).await)),
        Verb::Sessions(form) => Ok(Answer::Text(sessions(bastion, user, *form))),
        Verb::Get(session) => {
            let target = recorded_target(bastion, session).await.map_err(|error| refused(verb, &error.to_string()))?;
            check(bastion, user, &target, AuditRight::Get, verb)?;
            put_on_record(bastion, user, session, "get").await?;
            Ok(Answer::Handout(session.clone()))
        }
        Verb::Watch(session, channel) => {
            let live = bastion.sessions.list().into_iter().find(|live| live.id == *session);
            let live = live.ok_or_else(|| refused(verb, "the session is not live"))?;
            let target = live.destination.target.clone();
            check(bastion, user, &target, AuditRight::Watch, verb)?;
            let watching = bastion.recorder.watch(session, *channel);
            let watching = watching.ok_or_else(|| refused(verb, "the session has no such channel"))?;
            put_on_record(bastion, user, session, "watch").await?;
            let title = format!("{} as {}, channel {}", live.user, live.destination, watching.channel().number);
            Ok(Answer::Watch(Box::new(Watched { by: user.clone(), session: session.clone(), target, title, watching })))
        }
    }
}

fn refused(verb: &Verb, why: &str) -> Refusal {
    Refusal::NothingToAudit { verb: verb.clone(), why: why.to_owned() }
}

fn check(
    bastion: &Bastion,
    user: &UserName,
    target: &TargetName,
    right: AuditRight,
    verb: &Verb,
) -> Result<(), Refusal> {
    match bastion.ledger.audit_rule(user, target, right) {
        Some(_) => Ok(()),
        None => Err(refused(verb, &format!("no audit rule lets {user} {right} what is recorded on {target}"))),
    }
}

async fn put_on_record(bastion: &Bastion, user: &UserName, session: &SessionId, purpose: &str) -> Result<(), Refusal> {
    let event = AuditEvent::ReplayView { session: session.clone(), by: user.to_string(), purpose: purpose.to_owned() };
    bastion.record(event).await.map_err(Refusal::Audit)
}

/// The target whose recording it is.
async fn recorded_target(bastion: &Bastion, session: &SessionId) -> Result<TargetName, StoreError> {
    let (catalog, session) = (bastion.catalog.clone(), session.clone());
    let not_found = StoreError::NotFound { session: session.clone() };
    let opened = tokio::task::spawn_blocking(move || catalog.open(&session)).await;
    Ok(opened.unwrap_or(Err(not_found))?.summary.destination.target)
}

/// A line of a list.
#[derive(Debug, Serialize)]
struct Row {
    session: SessionId,
    user: String,
    destination: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
}

async fn recordings(bastion: &Arc<Bastion>, user: &UserName, form: Form) -> String {
    let none = "no recordings that you may fetch\n";
    // A list reads the facts of every recording: not for those who are shown none, and a few at a time.
    let place = bastion.handouts.acquire().await;
    if place.is_err() || !bastion.ledger.audits_somewhere(user, AuditRight::Get) {
        return written(&[], form, none);
    }
    let catalog = bastion.catalog.clone();
    let listed = tokio::task::spawn_blocking(move || catalog.list(&Filter::default())).await.unwrap_or_default();
    let mut allowed: BTreeMap<TargetName, bool> = BTreeMap::new();
    let mut rows = Vec::new();
    for one in listed {
        // What is damaged is the operator's to see: whose it is cannot be told.
        let Listed::Recording(summary) = one else { continue };
        let target = &summary.destination.target;
        let may = *allowed
            .entry(target.clone())
            .or_insert_with(|| bastion.ledger.audit_rule(user, target, AuditRight::Get).is_some());
        if may && summary.end != End::Open {
            let end = match &summary.end {
                End::Closed { reason } => line(reason),
                End::Interrupted => String::from("interrupted"),
                End::Open => continue,
            };
            rows.push(Row {
                session: summary.session,
                user: summary.user.to_string(),
                destination: summary.destination.to_string(),
                started: String::from(summary.started),
                end: Some(end),
            });
        }
    }
    written(&rows, form, none)
}

fn sessions(bastion: &Bastion, user: &UserName, form: Form) -> String {
    let may = |target: &TargetName| bastion.ledger.audit_rule(user, target, AuditRight::Watch).is_some();
    let live = bastion.sessions.list().into_iter().filter(|live| may(&live.destination.target));
    let rows: Vec<Row> = live
        .map(|live| Row {
            session: live.id,
            user: live.user.to_string(),
            destination: live.destination.to_string(),
            started: String::from(live.started),
            end: None,
        })
        .collect();
    written(&rows, form, "no live sessions that you may watch\n")
}

fn written(rows: &[Row], form: Form, none: &str) -> String {
    match form {
        Form::Json => serde_json::to_string(rows).map_or_else(|_| String::from("[]\n"), |text| text + "\n"),
        Form::Text if rows.is_empty() => none.to_owned(),
        Form::Text => rows
            .iter()
            .map(|row| {
                let Row { session, user, destination, started, end } = row;
                let end = end.as_ref().map_or(String::new(), |end| format!("  {end}"));
                format!("{session}  {started}  {user} as {destination}{end}\n")
            })
            .collect(),
    }
}

/// Answers on the channel, and closes it.
pub async fn run(start: ChannelStart, answer: Answer, bastion: Arc<Bastion>, over: CancellationToken) {
    let ChannelStart { source, sink, started, place: _place, terminal, .. } = start;
    let _ = started.send(());
    let answering = async {
        let status = match answer {
            Answer::Text(text) => {
                let text = if terminal.is_some() { text.replace('\n', "\r\n") } else { text };
                sink.send(ChannelEvent::Data(text.into())).await?;
                0
            }
            Answer::Handout(session) => handout::send(&bastion, &session, &sink).await?,
            Answer::Watch(watched) => watch::show(*watched, &bastion, source, &sink, terminal).await?,
        };
        for event in [ChannelEvent::Exit(Exit::Status(status)), ChannelEvent::Eof, ChannelEvent::Close] {
            sink.send(event).await?;
        }
        Ok::<(), PeerGone>(())
    };
    tokio::select! {
        _ = answering => {}
        () = over.cancelled() => {}
    }
}

/// Says why nothing, or nothing more, comes.
async fn complain(sink: &UserSink, text: &str) -> Result<(), PeerGone> {
    sink.send(ChannelEvent::Stderr(Bytes::from(format!("doorward: {text}\n")))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_exactly_what_the_help_says() {
        let session = SessionId::parse("01J9ZZZZZZZZZZZZZZZZZZZZZZ").unwrap();
        let parse = |text: &str| Verb::parse(text.as_bytes());
        assert_eq!(parse("recording list"), Some(Verb::Recordings(Form::Text)));
        assert_eq!(parse("  recording   list --json "), Some(Verb::Recordings(Form::Json)));
        assert_eq!(parse(&format!("recording get {session}")), Some(Verb::Get(session.clone())));
        assert_eq!(parse(&format!("session watch {session}")), Some(Verb::Watch(session.clone(), None)));
        let second = Some(Verb::Watch(session.clone(), Some(ChannelNumber(2))));
        assert_eq!(parse(&format!("session watch {session} 2")), second);
        for none in [
            "",
            "recording",
            "recording get",
            "recording get ../../etc/passwd",
            "recording list; id",
            "recording list --yaml",
            "session watch x",
            &format!("session watch {session} two"),
            &format!("recording get {session} {session}"),
            &format!("recording get {}", "0".repeat(2000)),
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
        assert_eq!(Verb::parse(b"recording list\xff"), None);
        for verb in HELP.lines() {
            let word = verb.split_whitespace().next().unwrap();
            assert!(["recording", "session", "help"].contains(&word));
        }
    }
}
