//! One channel of a session: judged, recorded, opened at the target, relayed; or refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::unconstrained;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::command::{Cleared, Keeper, Within};
use super::guarded::Begun;
use super::menu::TypedAhead;
use super::menu::frame::wrapped;
use super::promise::{Reads, promise};
use super::refusal::No;
use super::registry::OpenChannel;
use super::{Bastion, Live, Refusal, files, guarded};
use crate::audit::{AuditEvent, CommandReading};
use crate::cast::Entry;
use crate::gate::verdict::CommandMode;
use crate::grant::Permit;
use crate::inspect::Book;
use crate::listener::{ChannelStart, UserSink, UserSource};
use crate::model::transfer::{Tool, Transfer};
use crate::model::{
    Asked, ChannelClass, ChannelEvent, ChannelNumber, Destination, Exit, Program, Terminal, TerminalSize,
};
use crate::policy::{BoundBy, InputMode};
use crate::recorder::{ChannelFacts, RecorderError, Track};
use crate::relay::{self, End, Facts, Notice};
use crate::sftp::{self, Terms};
use crate::target::ssh::{TargetSink, TargetSource};
use crate::target::{Loan, Started, Wishes};
use crate::wire::CHANNEL_MESSAGES_MAX;
use crate::wire::channel::{Credit, PeerGone, Sink, Source};
use crate::{rsync, scp};

/// A channel that runs at the target and is recorded.
pub struct Opened {
    target: End<TargetSource, TargetSink>,
    track: Arc<Track>,
    facts: Facts,
    greeting: Option<String>,
    /// Where files are moved: how, and where it is put on record.
    files: Option<(Files, Book)>,
    /// What the target is lent.
    loans: Vec<Loan>,
    /// What holds its lines.
    guarded: Option<Guarded>,
    /// What a shell that says its lines was told.
    told: Option<Box<guarded::Told>>,
}

/// What holds the lines of a shell.
struct Guarded {
    keeper: Keeper,
    lines: mpsc::Receiver<String>,
    within: Within,
    size: TerminalSize,
}

impl Opened {
    /// Its recording.
    pub fn track(&self) -> Arc<Track> {
        Arc::clone(&self.track)
    }

    /// Has its lines read as they go by.
    pub fn watch(&mut self, keeper: Keeper, lines: mpsc::Receiver<String>, terminal: Option<&Terminal>) {
        let size = terminal.map_or(TerminalSize { cols: 80, rows: 24 }, |terminal| terminal.size);
        self.guarded = Some(Guarded { keeper, lines, within: None, size });
    }

    /// Has its lines held.
    pub fn guard(
        &mut self,
        keeper: Keeper,
        lines: mpsc::Receiver<String>,
        within: Within,
        terminal: Option<&Terminal>,
    ) {
        let size = terminal.map_or(TerminalSize { cols: 80, rows: 24 }, |terminal| terminal.size);
        self.guarded = Some(Guarded { keeper, lines, within, size });
    }
}

/// How files are moved.
enum Files {
    /// By SFTP, on these terms.
    Sftp(Terms),
    /// By a command line that was judged.
    Transfer(Transfer),
}

/// Judges a channel, opens its recording, then starts it at the target.
///
/// # Errors
/// `Refusal` says why it did not start.
pub async fn open(
    live: &Live,
    bastion: &Arc<Bastion>,
    destination: &Destination,
    start: &ChannelStart,
    (program, cleared): (&Program, &Cleared),
    asked: &[Asked],
    number: ChannelNumber,
) -> Result<Opened, Refusal> {
    let first = asked.first().cloned().unwrap_or(ChannelClass::Shell.into());
    let (class, now) = (first.class, bastion.clock.now());
    let asker = live.permit.asker();
    let permit = bastion.ledger.permit_asked(asker, destination, &first, now).map_err(|denial| {
        let by_paths = bastion.ledger.permit(asker, destination, class, now).is_ok();
        let transfer = matches!(program, Program::Transfer { .. });
        if by_paths && transfer { Refusal::Command(NOT_TO_PATHS) } else { Refusal::Denied(denial) }
    })?;
    bastion.recorder.healthy_for(permit.recording().durability).map_err(Refusal::Recorder)?;
    // A program that moves files has none, whatever the client asks for.
    let terminal = start.terminal.as_ref().filter(|_| !class.is_sftp());
    let environment = cleared.environment(&start.environment);
    let facts = ChannelFacts {
        number,
        class,
        terminal: terminal.cloned(),
        command: match program {
            Program::Shell | Program::Sftp => None,
            Program::Exec(command) | Program::Transfer { asked: command, .. } => Some(command.clone()),
        },
        forward: None,
        environment: environment.clone(),
        pixels: None,
    };
    let track = Arc::new(live.recording.channel(&permit, facts).await.map_err(Refusal::Recorder)?);
    let files = match program {
        Program::Shell | Program::Exec(_) => None,
        Program::Sftp => Some(Files::Sftp(files::terms(live, bastion, destination, asked, number))),
        Program::Transfer { transfer, .. } => Some(Files::Transfer(transfer.clone())),
    };
    let digested = match program {
        Program::Shell | Program::Exec(_) | Program::Sftp => false,
        Program::Transfer { transfer, .. } => matches!(transfer.tool(), Tool::Rsync(_)),
    };
    let book = || {
        let (track, audit) = (Arc::clone(&track), Arc::clone(&bastion.audit));
        Book { track, audit, session: live.id.clone(), channel: number }
    };
    let files = files.map(|files| (files, book()));
    let wishes = Wishes { agent: start.agent, display: start.display.as_ref() };
    // A freeze that came while the recording was made: nothing starts in a session that stands still.
    if live.registration.pause().is_on() {
        track.finish().await.map_err(Refusal::Recorder)?;
        return Err(Refusal::Paused);
    }
    let strict: Vec<&String> = start
        .environment
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !environment.iter().any(|(own, _)| own == *name))
        .collect();
    let dropped: Vec<&String> = start.dropped.iter().chain(strict).collect();
    if !dropped.is_empty() {
        let names = dropped.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!("the user's client would set {names}, which does not pass");
        let _ = track.append(Entry::Marker(text)).await.map_err(Refusal::Recorder)?;
    }
    // What may run is on record before it does.
    if let Err(refusal) = cleared_on_record(live, bastion, cleared, &track, number).await {
        track.finish().await.map_err(Refusal::Recorder)?;
        return Err(refusal);
    }
    if let Err(refusal) = cleared.stands(bastion.ledger.policy().hash()) {
        track.finish().await.map_err(Refusal::Recorder)?;
        return Err(refusal);
    }
    let opening = async {
        if cleared.integrates() {
            return guarded::begin(&live.leg, terminal, &environment, wishes).await;
        }
        let started = live.leg.open(cleared.program(), terminal, &environment, wishes).await?;
        Ok((started, Begun::Asked))
    };
    match opening.await {
        Ok((Started { source, sink, loans, not_lent }, begun)) => {
            if let Err(refusal) = begun_on_record(live, bastion, (cleared, &begun), &track, number).await {
                track.finish().await.map_err(Refusal::Recorder)?;
                return Err(refusal);
            }
            let reads = begun.reads();
            for text in told_of_loans(&wishes, &not_lent) {
                let _ = track.append(Entry::Marker(text)).await.map_err(Refusal::Recorder)?;
            }
            Ok(Opened {
                target: End { source, sink },
                track,
                facts: Facts {
                    class,
                    pty: terminal.is_some(),
                    policy: permit.recording().clone(),
                    digested,
                    pause: live.registration.pause(),
                    activity: live.activity.clone(),
                },
                greeting: terminal.map(|terminal| {
                    let mode = cleared.mode().filter(|_| *program == Program::Shell);
                    greeting(live, &permit, mode, reads, terminal)
                }),
                files,
                loans,
                guarded: None,
                told: if let Begun::Told(told) = begun { Some(told) } else { None },
            })
        }
        Err(error) => {
            track.finish().await.map_err(Refusal::Recorder)?;
            Err(Refusal::Dial(error))
        }
    }
}

/// Puts on record what a command was judged to be, in the recording and in the log.
pub async fn cleared_on_record(
    live: &Live,
    bastion: &Bastion,
    cleared: &Cleared,
    track: &Track,
    number: ChannelNumber,
) -> Result<(), Refusal> {
    let Some(marker) = cleared.marker() else { return Ok(()) };
    let receipt = track.append(Entry::Marker(marker)).await.map_err(Refusal::Recorder)?;
    let (kept, noted) = tokio::join!(receipt.durable(), cleared.record(live, bastion, number.0));
    kept.map_err(Refusal::Recorder).and(noted)
}

/// Puts on record how the lines of a shell in guard are read from its start on.
async fn begun_on_record(
    live: &Live,
    bastion: &Bastion,
    (cleared, begun): (&Cleared, &Begun),
    track: &Track,
    number: ChannelNumber,
) -> Result<(), Refusal> {
    if cleared.guards().is_none() {
        return Ok(());
    }
    let (reads, note) = (begun.reads(), begun.note());
    let _ = track.append(Entry::Marker(format!("{reads}: {note}"))).await.map_err(Refusal::Recorder)?;
    let event = AuditEvent::CommandReading(Box::new(CommandReading {
        session: live.id.clone(),
        channel: number.0,
        user: live.permit.user().clone(),
        destination: live.permit.destination().clone(),
        reads: reads.to_string(),
        note,
    }));
    bastion.record(event).await.map_err(Refusal::Audit)
}

/// What the recording tells of what the target is lent.
fn told_of_loans<'a>(wishes: &Wishes<'_>, not_lent: &'a [&'static str]) -> impl Iterator<Item = String> + use<'a> {
    let wished = [wishes.agent.then_some("agent"), wishes.display.map(|_| "display")];
    wished.into_iter().flatten().map(|what| {
        let not =
            if not_lent.contains(&what) { "which the target does not take" } else { "while this channel is open" };
        format!("the user lends their {what}, {not}")
    })
}

/// What the user is told whose right to files is limited to paths.
const NOT_TO_PATHS: &str = "your right to files here is for some paths only, to which scp -O and rsync cannot be held: use \
                            sftp, or scp without -O";

/// The lines at the start of a terminal session. A shell's user reads what its mode promises.
pub fn greeting(live: &Live, permit: &Permit, mode: Option<CommandMode>, reads: Reads, terminal: &Terminal) -> String {
    let mut text = format!("recorded · session {} · {} as {}", live.id, permit.user(), permit.destination());
    if let Some(grant) = live.permit.grant() {
        // The reason is an operator's text, still it does not get to move the cursor.
        let reason: String = grant.reason.chars().filter(|c| !c.is_control()).take(60).collect();
        text.push_str(&format!(" · until {} ({reason})", grant.until.clock_time()));
    }
    // The grant's end is told already.
    if let Some(bound) = permit.bound().filter(|bound| bound.by != BoundBy::Grant) {
        text.push_str(&format!(" · ends at {}", bound.at.clock_time()));
    }
    text.push_str(match permit.recording().input {
        InputMode::Off => "",
        InputMode::Echoed => " · with the keystrokes that the target echoes",
        InputMode::Full => " · with all keystrokes, passwords too",
    });
    if let Some(mode) = mode {
        text.push_str(&format!("\r\ndoorward: {}", folded(promise(mode, reads), terminal.size)));
    }
    text
}

/// A line of the bastion's own, folded between its words for a terminal of this size.
fn folded(text: &str, size: TerminalSize) -> String {
    let room = usize::try_from(size.cols).unwrap_or(usize::MAX).saturating_sub("doorward: ".len());
    // Where a word may be wider than the window, the terminal folds it.
    if room < 30 { text.to_owned() } else { wrapped(text, room, usize::MAX).join("\r\n         ") }
}

/// Relays a channel that has started until it is closed.
///
/// # Errors
/// `RecorderError` ends the whole session.
pub async fn carry(
    start: ChannelStart,
    opened: Opened,
    notices: mpsc::Receiver<Notice>,
    over: CancellationToken,
    _open: Vec<OpenChannel>,
    ahead: TypedAhead,
) -> Result<(), RecorderError> {
    let ChannelStart { mut source, sink, started, place: _place, .. } = start;
    let Opened { target, track, facts, greeting, files, loans: _loans, guarded, told } = opened;
    let carried = async {
        let line = greeting.map(|greeting| Bytes::from(format!("doorward: {greeting}\r\n")));
        if let Some(line) = &line {
            relay::record_own(&track, facts.pty, line).await?;
        }
        // As late as can be: what comes while the line goes to the disk was typed before it is shown, too.
        match ahead {
            TypedAhead::Kept => {}
            TypedAhead::Dropped => drop_typed_ahead(&mut source).await,
        }
        if let Some(line) = line {
            // The queue towards the user is empty, so this does not wait for them.
            let _ = sink.send(ChannelEvent::Data(line)).await;
        }
        let _ = started.send(());
        let track = Arc::clone(&track);
        if let Some(Guarded { keeper, lines, within, size }) = guarded {
            let told = told.map(|told| (told, target.sink.clone()));
            let ends = (target.source, target.sink);
            let (asked, answered, gate) =
                guarded::inspect(source, ends, size, within.as_deref(), (keeper, lines), told);
            let (user, target) = (End { source: asked, sink }, End { source: answered, sink: gate });
            return relay::run(user, target, facts, track, notices, over).await;
        }
        let Some((files, book)) = files else {
            return relay::run(End { source, sink }, target, facts, track, notices, over).await;
        };
        let relay = async |asked, answered| {
            let (user, target) = (End { source: asked, sink }, End { source: answered, sink: target.sink });
            relay::run(user, target, facts, track, notices, over).await
        };
        match files {
            Files::Sftp(terms) => {
                let (asked, answered, conversation) = sftp::inspect(source, target.source, terms, book);
                let carried = relay(asked, answered).await;
                conversation.finish().await;
                carried
            }
            Files::Transfer(transfer) => match transfer.tool() {
                Tool::Scp(options) => {
                    let (way, paths) = (transfer.way(), transfer.paths());
                    let (asked, answered, conversation) =
                        scp::inspect(source, target.source, way, *options, paths, book);
                    let carried = relay(asked, answered).await;
                    conversation.finish().await;
                    carried
                }
                Tool::Rsync(_) => {
                    let (asked, answered, conversation) = rsync::inspect(source, target.source, &transfer, book);
                    let carried = relay(asked, answered).await;
                    conversation.finish().await;
                    carried
                }
            },
        }
    };
    let carried = carried.await;
    let finished = track.finish().await;
    carried.and(finished)
}

/// Drops what the user has typed so far. What was resized, and that the user has left, is not dropped.
pub async fn drop_typed_ahead(source: &mut UserSource) {
    let (mut typed, mut size, mut end) = (0_usize, None, None);
    // No credit is given meanwhile, so that the user cannot keep this going; small messages are counted.
    for _ in 0..CHANNEL_MESSAGES_MAX {
        let next = tokio::select! {
            biased;
            next = unconstrained(source.next()) => next,
            () = std::future::ready(()) => break,
        };
        match next {
            Some(ChannelEvent::Data(data) | ChannelEvent::Stderr(data)) => typed = typed.saturating_add(data.len()),
            Some(ChannelEvent::Resize(to)) => size = Some(ChannelEvent::Resize(to)),
            Some(
                ChannelEvent::Signal(_) | ChannelEvent::Break(_) | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_),
            ) => {}
            Some(last @ (ChannelEvent::Eof | ChannelEvent::Close)) => {
                end = Some(last);
                break;
            }
            None => break,
        }
    }
    source.credit().consumed(typed);
    for event in size.into_iter().chain(end) {
        source.put_back(event);
    }
}

/// A refused user has so long to take the reason.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A refusal is on record before the user reads it, unless the log takes longer.
pub const RECORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Says why a channel does not start, with an exit status, and closes it. `written` is ready once that is on record.
pub async fn refuse(start: ChannelStart, no: No, written: Option<oneshot::Receiver<()>>, over: CancellationToken) {
    let ChannelStart { sink, started, terminal, place: _place, source: _source, .. } = start;
    let _ = started.send(());
    tokio::select! {
        () = say_no(&sink, terminal.is_some(), no, written) => {}
        () = over.cancelled() => {}
    }
}

/// Says why nothing, or nothing more, comes on a channel that has started, and closes it.
pub async fn say_no(sink: &UserSink, terminal: bool, no: No, written: Option<oneshot::Receiver<()>>) {
    if let Some(written) = written {
        let _ = timeout(RECORD_TIMEOUT, written).await;
    }
    let end = if terminal { "\r\n" } else { "\n" };
    let line = ChannelEvent::Stderr(format!("doorward: {}{end}", no.text).into());
    let saying = async {
        for event in [line, ChannelEvent::Exit(Exit::Status(no.status)), ChannelEvent::Eof] {
            sink.send(event).await?;
        }
        Ok::<(), PeerGone>(())
    };
    let _ = timeout(REFUSAL_TIMEOUT, saying).await;
    // Whoever did not take that takes no window to be told that it is over.
    let _ = timeout(CLOSE_TIMEOUT, sink.send(ChannelEvent::Close)).await;
}

/// The library takes a message without waiting, unless the whole connection stands still.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
