//! The bastion's own shell, where no program starts but what a rule allowed: its lines are judged one by one, and each
//! command runs in a channel of its own at the target.
//!
//! ```text
//! user <─ relay: all on record ─> conversation ── a line ──▶ errands: judged, on record, started ──▶ target
//!                                  editor, built-ins           program: carried until it ends ◀──────┘
//! ```
//! The shell is the far end of its own channel's relay, in the place where another shell has the target. So everything that
//! its user sees is in one recording, before they see it; and a pause, a grant's end, an idle session or a recorder that
//! fails is to it what it is to any channel.
//!
//! INVARIANT: no byte of the user reaches a shell at the target. A command's line is the bastion's own writing of what was
//! judged; what is typed while it runs goes to its channel, which ends with it; and what was typed and not taken stands in
//! the next line, where it runs once somebody has seen it and pressed Enter. Without a terminal, where a program may send
//! many lines in one go, they are the next lines, and no command reads them.
//!
//! What this does **not** guard against: what an allowed program does by itself, with the keys that its user sends it.

mod board;
mod conversation;
mod cooked;
mod ends;
mod errands;
mod file;
mod offered;
mod opening;
mod program;
mod surroundings;
mod words;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::{drop_typed_ahead, greeting};
use super::command::Cleared;
use super::menu::TypedAhead;
use super::promise::Reads;
use super::registry::OpenChannel;
use super::timekeeper::wait_end;
use super::{Bastion, Live, Refusal, Visit};
use crate::cast::Entry;
use crate::gate::verdict::CommandMode;
use crate::listener::ChannelStart;
use crate::model::{Asked, ChannelClass, ChannelEvent, ChannelNumber};
use crate::recorder::{ChannelFacts, RecorderError};
use crate::relay::{self, End, Facts, Notice};
use crate::wire::channel::Sink;
use conversation::Shell;
use ends::{Given, Shown, ends};
pub use errands::Errand;
use errands::Own;
pub use opening::OPENINGS_MAX;
pub use surroundings::Surroundings;

/// A shell that is on record, and has not begun.
struct Opened {
    own: Own,
    facts: Facts,
    greeting: Option<String>,
    /// What its user's client has set, and may.
    environment: Vec<(String, String)>,
}

impl Visit {
    /// Opens a shell of the bastion's own.
    pub(super) async fn begin_shell(
        &mut self,
        start: ChannelStart,
        asked: &[Asked],
        cleared: &Cleared,
        ahead: TypedAhead,
    ) -> Result<(), (Box<ChannelStart>, Refusal)> {
        let gone = || Refusal::Ended(super::EndCause::TargetLeft);
        let Some(live) = &self.live else { return Err((Box::new(start), gone())) };
        let places = asked.iter().map(|asked| live.registration.channel(asked.clone())).collect();
        let number = ChannelNumber(self.next);
        self.next = self.next.saturating_add(1);
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        let opened = tokio::select! {
            opened = open(live, &self.bastion, &start, asked, cleared, number) => opened,
            cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
            failure = failed => Err(Refusal::Recorder(failure)),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(refusal) => return Err((Box::new(start), refusal)),
        };
        live.registration.judge(&self.bastion.ledger, self.bastion.clock.now());
        let (shown, given, output, input) = ends();
        let (told, pokes) = mpsc::channel(1);
        let shell = Shell::new(self, live, &opened, &start, (input, output, pokes));
        let (notices, lines) = mpsc::channel(4);
        self.notices.push(notices);
        let over = self.over.child_token();
        self.channels.spawn(carry(start, opened, shell, (shown, given), (lines, told), (over, ahead), places));
        Ok(())
    }
}

/// Opens the recording of a shell.
async fn open(
    live: &Live,
    bastion: &Arc<Bastion>,
    start: &ChannelStart,
    asked: &[Asked],
    cleared: &Cleared,
    number: ChannelNumber,
) -> Result<Opened, Refusal> {
    let asked = asked.first().cloned().unwrap_or(ChannelClass::Shell.into());
    let (class, now) = (asked.class, bastion.clock.now());
    let destination = live.permit.destination();
    let permit = bastion.ledger.permit_asked(live.permit.asker(), destination, &asked, now).map_err(Refusal::Denied)?;
    bastion.recorder.healthy_for(permit.recording().durability).map_err(Refusal::Recorder)?;
    let environment = cleared.environment(&start.environment);
    let facts = ChannelFacts {
        number,
        class,
        terminal: start.terminal.clone(),
        command: None,
        forward: None,
        environment: environment.clone(),
        pixels: None,
    };
    let track = Arc::new(live.recording.channel(&permit, facts).await.map_err(Refusal::Recorder)?);
    let marked = async {
        let text = match cleared.mode() {
            Some(CommandMode::Menu) => {
                "a menu of the bastion's own: what is chosen is judged, and has a channel of its own"
            }
            Some(CommandMode::Observe | CommandMode::Guard | CommandMode::Strict) | None => {
                "a shell of the bastion's own: each line is judged, and each command has a channel of its own"
            }
        };
        let receipt = track.append(Entry::Marker(String::from(text))).await.map_err(Refusal::Recorder)?;
        receipt.durable().await.map_err(Refusal::Recorder)?;
        if live.registration.pause().is_on() {
            return Err(Refusal::Paused);
        }
        cleared.stands(bastion.ledger.policy().hash())
    };
    if let Err(refusal) = marked.await {
        track.finish().await.map_err(Refusal::Recorder)?;
        return Err(refusal);
    }
    Ok(Opened {
        own: Own { asked, mode: cleared.mode().unwrap_or(CommandMode::Strict), number, track },
        facts: Facts {
            class,
            pty: start.terminal.is_some(),
            policy: permit.recording().clone(),
            digested: false,
            pause: live.registration.pause(),
            activity: live.activity.clone(),
        },
        greeting: start
            .terminal
            .as_ref()
            .map(|terminal| greeting(live, &permit, cleared.mode(), Reads::Screen, terminal)),
        environment,
    })
}

/// Carries a shell until it ends.
///
/// # Errors
/// `RecorderError` ends the whole session.
async fn carry(
    start: ChannelStart,
    opened: Opened,
    mut shell: Shell,
    (shown, given): (Shown, Given),
    (lines, told): (mpsc::Receiver<Notice>, mpsc::Sender<()>),
    (over, ahead): (CancellationToken, TypedAhead),
    _open: Vec<OpenChannel>,
) -> Result<(), RecorderError> {
    let ChannelStart { mut source, sink, started, place: _place, .. } = start;
    let Opened { own: Own { track, .. }, facts, greeting, .. } = opened;
    let carried = async {
        let line = greeting.map(|greeting| Bytes::from(format!("doorward: {greeting}\r\n")));
        if let Some(line) = &line {
            relay::record_own(&track, facts.pty, line).await?;
        }
        match ahead {
            TypedAhead::Kept => {}
            TypedAhead::Dropped => drop_typed_ahead(&mut source).await,
        }
        if let Some(line) = line {
            let _ = sink.send(ChannelEvent::Data(line)).await;
        }
        let _ = started.send(());
        let (notices, own_lines) = mpsc::channel(4);
        let (user, target) = (End { source, sink }, End { source: shown, sink: given });
        let relay = relay::run(user, target, facts, Arc::clone(&track), own_lines, over.clone());
        let ((), carried, ()) =
            tokio::join!(pass_on(lines, notices, told, over.clone()), relay, shell.run(over.clone()));
        carried
    };
    let carried = carried.await;
    let finished = track.finish().await;
    carried.and(finished)
}

/// Passes the session's lines on, and has the shell show anew what its user was typing, below each.
async fn pass_on(
    mut lines: mpsc::Receiver<Notice>,
    notices: mpsc::Sender<Notice>,
    told: mpsc::Sender<()>,
    over: CancellationToken,
) {
    loop {
        let notice = tokio::select! {
            notice = lines.recv() => notice,
            () = over.cancelled() => return,
        };
        let Some(notice) = notice else { return };
        if notices.send(notice).await.is_err() {
            return;
        }
        // The relay takes a line before what is shown after it.
        let _ = told.try_send(());
    }
}
