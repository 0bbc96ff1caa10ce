//! What a bastion user asks of the bastion itself: `ssh USER@BASTION VERB`. Everybody may ask about themselves
//! (`own`); the rest is for the people whom `[[audit]]` rules name.
//!
//! Nothing is opened here: a recording is handed out as it lies in the store, sealed, with its proofs. What is watched
//! live is what the recorder has written, drawn by an emulator. Either is on record before the first byte goes out.
//!
//! Whoever has no right gets no further than that being looked up: they take no place that an auditor could want. An
//! answer is given for as long as the user has the key, their place among the users and the right, and is there.

mod ask;
mod command;
mod desktop;
mod handout;
mod limits;
mod oversee;
pub(super) mod own;
pub(super) mod table;
mod told;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::channel::{CLOSE_TIMEOUT, say_no};
use super::refusal::Busy;
use super::refusal_log::Kind;
use super::standstill::Attendance;
use super::{Attempt, Bastion, Refusal, Visitor};
use crate::audit::AuditEvent;
use crate::listener::{ChannelStart, Place, UserSink, UserSource};
use crate::model::{ChannelEvent, Exit, SessionId, TargetName, Terminal, UserName};
use crate::policy::AuditRight;
use crate::recorder::Watching;
use crate::screen::line;
use crate::store::{End, Filter, Listed, StoreError};
use crate::wire::channel::{Credit, PeerGone, Sink, Source};
pub use ask::{Ask, answer, judging, shown as request_detail, wish};
pub use limits::VerbLimits;
pub use table::{Form, Misread, Verb};

/// A verb that may be answered, and is on record where it must be.
enum Answer {
    Text(String, Option<Place<UserName>>),
    Picture(desktop::Picture),
    Handout(Handout),
    Watch(Box<Watched>),
}

/// A recording that is about to be handed out.
struct Handout {
    session: SessionId,
    target: TargetName,
    /// Held until all is sent.
    place: Place<UserName>,
    /// Held while the log is read.
    reader: OwnedSemaphorePermit,
}

/// A live session that is about to be watched.
struct Watched {
    session: SessionId,
    target: TargetName,
    title: String,
    watching: Watching,
    _place: Place<UserName>,
    /// The session counts them for as long.
    attendance: Attendance,
}

/// Judges a verb. What shows something of a session is on record when this returns.
///
/// # Errors
/// `NothingToAudit` if there is no such session or no rule lets the user; `Busy`; `Audit` if it cannot be put on record.
async fn judge(bastion: &Arc<Bastion>, visitor: &Arc<Visitor>, verb: &Verb) -> Result<Answer, Refusal> {
    let user = visitor.user.user();
    let own = |(text, place)| Answer::Text(text, Some(place));
    match verb {
        // The menu and what asks in turn are none of the answers; who asks for them is shown them before they come here.
        Verb::Help | Verb::Menu | Verb::Mfa | Verb::Consent => Ok(Answer::Text(table::help(), None)),
        Verb::Ls(words, form) => own::ls(bastion, visitor.user.asker(), words, *form).await.map(own),
        Verb::Own(form) => own::sessions(bastion, user, *form).await.map(own),
        Verb::Whoami(form) => Ok(Answer::Text(own::whoami(bastion, visitor, *form), None)),
        Verb::Why(form) => Ok(Answer::Text(own::why(bastion, visitor.user.asker(), *form), None)),
        Verb::Desktop(wish) => desktop::issue(bastion, visitor, wish).await.map(own),
        Verb::Picture(session) => desktop::picture(bastion, visitor, session, verb).await,
        Verb::Requests(ask, form) => ask::answer(bastion, visitor, ask, *form).await.map(own),
        Verb::Recordings(form) => recordings(bastion, user, verb, *form).await,
        Verb::Sessions(form) => Ok(Answer::Text(sessions(bastion, user, *form), None)),
        Verb::Control(session, hand) => oversee::control(bastion, visitor, session, hand, verb).await,
        Verb::Locks(form) => Ok(Answer::Text(oversee::locks(bastion, user, *form), None)),
        Verb::LiftLock(lock) => oversee::lift_lock(bastion, visitor, lock, verb).await,
        Verb::Get(session) => {
            if !bastion.ledger.audits_somewhere(user, AuditRight::Get, bastion.clock.now()) {
                return Err(refused(verb, &format!("no audit rule lets {user} get anything")));
            }
            let place = bastion.limits.request(user).ok_or_else(|| busy(verb, Busy::Requests))?;
            let target = recorded_target(bastion, session).await.map_err(|error| refused(verb, &error.to_string()))?;
            check(bastion, user, &target, AuditRight::Get, verb)?;
            let reader = bastion.limits.reader().await.ok_or_else(|| busy(verb, Busy::Waiting))?;
            put_on_record(bastion, user, session, verb, "get").await?;
            Ok(Answer::Handout(Handout { session: session.clone(), target, place, reader }))
        }
        Verb::Watch(session, channel) => {
            let live = bastion.sessions.list().into_iter().find(|live| live.id == *session);
            let live = live.ok_or_else(|| refused(verb, "the session is not live"))?;
            let target = live.destination.target.clone();
            check(bastion, user, &target, AuditRight::Watch, verb)?;
            let place = bastion.limits.watch(user).ok_or_else(|| busy(verb, Busy::Watches))?;
            let no_channel = || refused(verb, "the session has no such channel");
            let watching = bastion.recorder.watch(session, *channel);
            if watching.is_none() && channel.is_some() {
                return Err(no_channel());
            }
            put_on_record(bastion, user, session, verb, "watch").await?;
            // A session may have waited for this: then its first channel opens now.
            let attendance = bastion.sessions.attend(session, user, oversee::person(bastion, user));
            let attendance = attendance.ok_or_else(|| refused(verb, "the session is not live"))?;
            let watching = match watching {
                Some(watching) => watching,
                None => oversee::first_channel(bastion, session).await.ok_or_else(no_channel)?,
            };
            let title = format!("{} as {}, channel {}", live.user, live.destination, watching.channel().number);
            let session = session.clone();
            Ok(Answer::Watch(Box::new(Watched { session, target, title, watching, _place: place, attendance })))
        }
    }
}

fn refused(verb: &Verb, why: &str) -> Refusal {
    Refusal::NothingToAudit { verb: verb.clone(), why: why.to_owned() }
}

fn busy(what: impl ToString, why: Busy) -> Refusal {
    Refusal::Busy { what: what.to_string(), why }
}

fn check(
    bastion: &Bastion,
    user: &UserName,
    target: &TargetName,
    right: AuditRight,
    verb: &Verb,
) -> Result<(), Refusal> {
    match bastion.ledger.audit_rule(user, target, right, bastion.clock.now()) {
        Some(_) => Ok(()),
        None => Err(refused(verb, &format!("no audit rule lets {user} {right} what is recorded on {target}"))),
    }
}

async fn put_on_record(
    bastion: &Bastion,
    user: &UserName,
    session: &SessionId,
    verb: &Verb,
    purpose: &str,
) -> Result<(), Refusal> {
    if !bastion.refusals.view(user) {
        return Err(busy(verb, Busy::Views));
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
}

async fn recordings(bastion: &Arc<Bastion>, user: &UserName, verb: &Verb, form: Form) -> Result<Answer, Refusal> {
    let none = "no recordings that you may fetch\n";
    // A list reads the facts of every recording: not for those who are shown none, and a few at a time.
    if !bastion.ledger.audits_somewhere(user, AuditRight::Get, bastion.clock.now()) {
        return Ok(Answer::Text(written(&[], form, none), None));
    }
    let place = bastion.limits.request(user).ok_or_else(|| busy(verb, Busy::Requests))?;
    let reader = bastion.limits.reader().await.ok_or_else(|| busy(verb, Busy::Waiting))?;
    let catalog = bastion.catalog.clone();
    let listing = move || {
        // Held until it is read, also if the user leaves before.
        let _reader = reader;
        catalog.list(&Filter::default())
    };
    let listed = tokio::task::spawn_blocking(listing).await.unwrap_or_default();
    let mut allowed: BTreeMap<TargetName, bool> = BTreeMap::new();
    let mut rows = Vec::new();
    for one in listed {
        // What is damaged is the operator's to see: whose it is cannot be told.
        let Listed::Recording(summary) = one else { continue };
        let target = &summary.destination.target;
        let may = *allowed
            .entry(target.clone())
            .or_insert_with(|| bastion.ledger.audit_rule(user, target, AuditRight::Get, bastion.clock.now()).is_some());
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
                paused: None,
            });
        }
    }
    Ok(Answer::Text(written(&rows, form, none), Some(place)))
}

fn sessions(bastion: &Bastion, user: &UserName, form: Form) -> String {
    let now = bastion.clock.now();
    let may = |target: &TargetName| bastion.ledger.audit_rule(user, target, AuditRight::Watch, now).is_some();
    let live = bastion.sessions.list().into_iter().filter(|live| may(&live.destination.target));
    let rows: Vec<Row> = live
        .map(|live| Row {
            session: live.id,
            user: live.user.to_string(),
            destination: live.destination.to_string(),
            started: String::from(live.started),
            end: None,
            paused: live.paused,
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
                let Row { session, user, destination, started, end, paused } = row;
                let end = end.clone().or_else(|| paused.as_ref().map(|noted| format!("paused {noted}")));
                let end = end.as_ref().map_or(String::new(), |end| format!("  {end}"));
                format!("{session}  {started}  {user} as {destination}{end}\n")
            })
            .collect(),
    }
}

/// Judges and answers on the channel, and closes it.
pub async fn run(
    start: ChannelStart,
    verb: Verb,
    visitor: Arc<Visitor>,
    bastion: Arc<Bastion>,
    over: CancellationToken,
) {
    let ChannelStart { source, sink, started, place: _place, terminal, .. } = start;
    // The reply comes before the judgement: while the listener waits for it, it does not hear that the user leaves.
    let _ = started.send(());
    let mut answering = Answering { source, sink, terminal, verb, visitor, bastion };
    tokio::select! {
        () = answering.answer() => {}
        () = over.cancelled() => {}
    }
}

/// A verb on its channel.
struct Answering {
    source: UserSource,
    sink: UserSink,
    terminal: Option<Terminal>,
    verb: Verb,
    visitor: Arc<Visitor>,
    bastion: Arc<Bastion>,
}

/// Why no answer was given, or not all of it.
enum Stopped {
    /// The user left, or takes nothing.
    Gone,
    /// The user may not have it, or no longer.
    Refused(Refusal),
}

impl From<PeerGone> for Stopped {
    fn from(PeerGone: PeerGone) -> Self {
        Self::Gone
    }
}

impl Answering {
    async fn answer(&mut self) {
        match self.judge_and_give().await {
            Ok(status) => {
                let ending = async {
                    for event in [ChannelEvent::Exit(Exit::Status(status)), ChannelEvent::Eof, ChannelEvent::Close] {
                        self.sink.send(event).await?;
                    }
                    Ok::<(), PeerGone>(())
                };
                let _ = timeout(PROGRESS_MAX, ending).await;
            }
            Err(Stopped::Gone) => {
                let _ = timeout(CLOSE_TIMEOUT, self.sink.send(ChannelEvent::Close)).await;
            }
            Err(Stopped::Refused(refusal)) => {
                let asked = if let Verb::Desktop(wish) = &self.verb {
                    Attempt::desktop(&wish.destination)
                } else {
                    Attempt::other(&self.verb.to_string())
                };
                let written = self.visitor.refused(&self.bastion, Kind::of(&refusal), &refusal, asked);
                let no = refusal.told(self.bastion.clock.now());
                say_no(&self.sink, self.terminal.is_some(), no, written).await;
            }
        }
    }

    async fn judge_and_give(&mut self) -> Result<u32, Stopped> {
        let Self { source, sink, terminal, verb, visitor, bastion } = self;
        let user = visitor.user.user();
        let answer = tokio::select! {
            // A refusal is on record, however soon the user leaves after asking.
            biased;
            judged = judge(bastion, visitor, verb) => judged.map_err(Stopped::Refused)?,
            () = gone(source) => return Err(Stopped::Gone),
        };
        info!(user = %user, verb = %verb, "Answered");
        let standing = |right| Standing { bastion, visitor, verb, right };
        match answer {
            Answer::Text(text, _place) => {
                let text = if terminal.is_some() { text.replace('\n', "\r\n") } else { text };
                let pouring = async { pour(sink, text.into(), PROGRESS_MAX).await.map(|()| 0) };
                standing(None).while_there(source, pouring).await
            }
            Answer::Picture(desktop::Picture { target, png, place: _place }) => {
                let standing = standing(Some((target, AuditRight::Watch)));
                let pouring = async { pour(sink, png.into(), PROGRESS_MAX).await.map(|()| 0) };
                standing.while_there(source, pouring).await
            }
            Answer::Handout(handout) => {
                let standing = standing(Some((handout.target.clone(), AuditRight::Get)));
                standing.while_there(source, handout::send(bastion, handout, sink)).await
            }
            Answer::Watch(watched) => {
                let standing = standing(Some((watched.target.clone(), AuditRight::Watch)));
                watch::show(*watched, standing, source, sink, terminal.as_ref()).await
            }
        }
    }
}

/// How often it is looked at again whether the user may have what they are given.
const CHECK: Duration = Duration::from_secs(1);

/// What an answer rests on.
struct Standing<'a> {
    bastion: &'a Bastion,
    visitor: &'a Visitor,
    verb: &'a Verb,
    /// A rule for this; none if it shows nothing of a session, or only what the rules were asked for one by one.
    right: Option<(TargetName, AuditRight)>,
}

impl Standing<'_> {
    fn holds(&self) -> bool {
        let (ledger, user) = (&self.bastion.ledger, self.visitor.user.user());
        let now = self.bastion.clock.now();
        let ruled = |(target, right): &(TargetName, AuditRight)| ledger.audit_rule(user, target, *right, now).is_some();
        self.visitor.stands(self.bastion) && self.right.as_ref().is_none_or(ruled)
    }

    /// Ready, with the refusal, once it holds no more.
    async fn lost(&self) -> Stopped {
        loop {
            sleep(CHECK).await;
            if !self.holds() {
                return Stopped::Refused(Refusal::Withdrawn(self.verb.to_string()));
            }
        }
    }

    /// Gives an answer for as long as this holds and the user is there.
    async fn while_there(
        &self,
        source: &mut UserSource,
        giving: impl Future<Output = Result<u32, PeerGone>>,
    ) -> Result<u32, Stopped> {
        tokio::select! {
            given = giving => Ok(given?),
            () = gone(source) => Err(Stopped::Gone),
            stopped = self.lost() => Err(stopped),
        }
    }
}

/// Ready once the user has left; drops what they send.
async fn gone(source: &mut UserSource) {
    let credit = source.credit();
    loop {
        match source.next().await {
            None | Some(ChannelEvent::Close) => return,
            Some(ChannelEvent::Data(data) | ChannelEvent::Stderr(data)) => credit.consumed(data.len()),
            Some(
                ChannelEvent::Eof
                | ChannelEvent::Resize(_)
                | ChannelEvent::Signal(_)
                | ChannelEvent::Break(_)
                | ChannelEvent::EndOfWrite
                | ChannelEvent::Exit(_),
            ) => {}
        }
    }
}

/// What is sent at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Whoever takes no such piece for so long is given no more.
const PROGRESS_MAX: Duration = Duration::from_secs(60);

/// Sends bytes to a user who takes them, a piece at least in each `progress_max`.
///
/// # Errors
/// `PeerGone`, also if they do not.
async fn pour(sink: &impl Sink, mut bytes: Bytes, progress_max: Duration) -> Result<(), PeerGone> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        timeout(progress_max, sink.send(ChannelEvent::Data(piece))).await.unwrap_or(Err(PeerGone))?;
    }
    Ok(())
}

/// Says why nothing, or nothing more, comes.
async fn complain(sink: &UserSink, text: &str) -> Result<(), PeerGone> {
    sink.send(ChannelEvent::Stderr(Bytes::from(format!("doorward: {text}\n")))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Unread;

    impl Sink for Unread {
        async fn send(&self, _: ChannelEvent) -> Result<(), PeerGone> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let poured = pour(&Unread, Bytes::from_static(b"a list"), Duration::from_millis(20));
        assert_eq!(timeout(Duration::from_secs(10), poured).await, Ok(Err(PeerGone)));
    }
}
