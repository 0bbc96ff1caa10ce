//! One session, from the first channel to the last record: the story.
//!
//! ```text
//! Connection -> Permit -> Registration -> Recording -> Credential -> Leg -> relay -> EndCause
//! ```
//! A session begins with the first channel that a connection asks for, and ends with the connection, with its
//! permit, or with its recording. Every later channel asks for a permit of its own.

mod agent;
mod channel;
mod command;
mod denials;
pub mod desktop;
mod files;
mod forward;
mod guarded;
mod idle;
mod interview;
mod lend;
mod log;
mod menu;
mod opening;
mod promise;
mod refusal;
mod refusal_log;
mod registry;
mod rests;
mod shell;
mod standstill;
mod stranger;
mod timekeeper;
mod verb;
mod visitor;
mod warnings;
mod watched;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::audit::{Audit, AuditError, AuditEvent};
use crate::authn::{LockOut, Passwords};
use crate::clock::Clock;
use crate::grant::Permit;
use crate::ledger::Ledger;
use crate::listener::{ChannelStart, Connection, Request, Wanted};
use crate::locks::Locks;
use crate::model::{
    Asked, ChannelClass, ChannelNumber, Destination, GrantId, Login, Matter, Program, RequestId, SessionId, Timestamp,
};
use crate::recorder::{Recorder, RecorderError, Recording};
use crate::relay::{Activity, Notice, Paused};
use crate::requests::Requests;
use crate::sftp::Turns;
use crate::store::Catalog;
use crate::target::{self, Incoming, Leg};
use crate::vault::Vault;
use crate::wire::Cut;
use agent::Agency;
use command::{Answered, Ask, Keeper, Ruling, watches_shell};
pub use denials::Denials;
use denials::{Attempt, Denied};
pub use forward::ForwardLimits;
use forward::{Listening, LookedUp};
pub use log::SessionLog;
use menu::{Choice, TypedAhead};
pub use refusal::Refusal;
use refusal_log::Kind;
pub use refusal_log::RefusalLog;
pub use registry::{EndCause, LiveSession, Registration, Sessions};
pub use standstill::{Held, Holding, message};
use stranger::Budget;
pub use stranger::note_strangers;
use timekeeper::{Timekeeper, wait_end};
use verb::Verb;
pub use verb::VerbLimits;
use visitor::Visitor;
use watched::Waited;

/// What every session uses.
pub struct Bastion {
    /// The time.
    pub clock: Clock,
    /// Users, targets, grants, policy.
    pub ledger: Arc<Ledger>,
    /// Credentials.
    pub vault: Arc<Vault>,
    /// Recordings.
    pub recorder: Recorder,
    /// The log of decisions.
    pub audit: Arc<Audit>,
    /// Who is where.
    pub sessions: Sessions,
    /// Times of the target leg.
    pub target: target::Settings,
    /// The state directory, whose recordings are handed out.
    pub store: PathBuf,
    /// Recordings that are over, for auditors.
    pub catalog: Catalog,
    /// How much auditors may ask for at once.
    pub limits: VerbLimits,
    /// Its host key and host CA: a user's agent signs no login at the bastion itself for a target.
    pub own_keys: Vec<ssh_key::PublicKey>,
    /// How many forwards there may be.
    pub forwards: ForwardLimits,
    /// What users were refused, on its way to the log.
    pub refusals: RefusalLog,
    /// Access requests.
    pub requests: Arc<Requests>,
    /// Locks.
    pub locks: Arc<Locks>,
    /// What each was refused last, for `why`.
    pub denials: Denials,
    /// One-time codes, for those who are asked for one after the login; and when they are locked.
    pub codes: (Passwords, LockOut),
    /// Whose turn it is at a target, where rules name paths.
    pub turns: Turns,
    /// Tickets for desktops, and the desktops that are live.
    pub desktops: desktop::Desktops,
}

impl Bastion {
    /// Puts an event on record; on disk on return.
    ///
    /// # Errors
    /// `AuditError`: what rests on the event must be refused.
    async fn record(&self, event: AuditEvent) -> Result<(), AuditError> {
        record(&self.audit, event).await
    }

    /// Puts an event on record that takes effect whether or not it can be written.
    async fn note(&self, event: AuditEvent) {
        if let Err(failure) = self.record(event).await {
            error!(error = %failure, "Cannot write the audit log");
        }
    }
}

async fn record(audit: &Arc<Audit>, event: AuditEvent) -> Result<(), AuditError> {
    let audit = Arc::clone(audit);
    match tokio::task::spawn_blocking(move || audit.append(&event)).await {
        Ok(written) => written.map(|_| ()),
        Err(failure) => Err(AuditError::Panicked(failure.to_string())),
    }
}

/// Carries everything that one bastion user asks for on one connection.
pub async fn run(connection: Connection, bastion: Arc<Bastion>) {
    let visitor = Visitor {
        user: connection.user.clone(),
        login: connection.login.as_ref().map(Login::to_string).unwrap_or_default(),
        source: connection.source.to_string(),
        since: OnceLock::new(),
    };
    let mut visit = Visit {
        visitor: Arc::new(visitor),
        connection,
        bastion,
        live: None,
        channels: JoinSet::new(),
        notices: Vec::new(),
        next: 1,
        lookups: JoinSet::new(),
        listening: Listening::new(),
        over: CancellationToken::new(),
        choices: mpsc::channel(1),
        waited: mpsc::channel(1),
        answered: mpsc::channel(1),
        errands: mpsc::channel(1),
        asks: mpsc::channel(4),
    };
    let cause = visit.serve().await;
    visit.leave(cause).await;
}

/// A connection, and the session on it once there is one.
struct Visit {
    connection: Connection,
    visitor: Arc<Visitor>,
    bastion: Arc<Bastion>,
    live: Option<Live>,
    /// Channels that are being relayed, answered or refused, and what the recording is told of what was refused.
    channels: JoinSet<Result<(), RecorderError>>,
    /// Where each relayed channel takes lines of ours.
    notices: Vec<mpsc::Sender<Notice>>,
    next: u32,
    /// Names of forwards that are being looked up.
    lookups: JoinSet<LookedUp>,
    /// Where the target listens for the user.
    listening: Listening,
    /// Ends every relay.
    over: CancellationToken,
    /// What was chosen at menus.
    choices: (mpsc::Sender<Choice>, mpsc::Receiver<Choice>),
    /// What has waited until somebody watches.
    waited: (mpsc::Sender<Waited>, mpsc::Receiver<Waited>),
    /// Commands that have waited for somebody's yes.
    answered: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
    /// What shells of the bastion's own want started.
    errands: (mpsc::Sender<shell::Errand>, mpsc::Receiver<shell::Errand>),
    /// What is asked by whoever carries a shell whose lines are held.
    asks: (mpsc::Sender<Ask>, mpsc::Receiver<Ask>),
}

/// What was said of a program before it begins.
#[derive(Debug, Default)]
struct Beforehand {
    /// The text that its user has agreed to.
    agreed: Option<Arc<str>>,
    /// The decision about its command line to which somebody has said yes.
    approval: Option<RequestId>,
}

/// A session that has begun.
struct Live {
    id: SessionId,
    permit: Permit,
    registration: Registration,
    recording: Recording,
    leg: Arc<Leg>,
    cut: Cut,
    started: Timestamp,
    time: Timekeeper,
    /// When something last went through it.
    activity: Activity,
    /// How many refusals its recording may still list one by one.
    markers: Budget,
    /// How many forwards it may still open.
    forwards: Budget,
    /// How much the target may ask of the user's agent.
    agency: Arc<Agency>,
    /// The grants on which it counts.
    counted: BTreeSet<GrantId>,
}

/// So many refusals are listed one by one in a session's recording in a minute; of the others, how many there were.
const MARKERS_MAX: u32 = 60;

/// The last line has so long to reach the user; then the sockets are cut.
const FAREWELL: Duration = Duration::from_millis(250);
/// The target is known to have closed the connection after at most so long.
const LEG_CHECK: Duration = Duration::from_millis(500);

impl Visit {
    // INVARIANT: nothing here waits for the log or the disk but what opens a channel, and that waits for the session's
    // end and for its recording's failure too: both must be heard, whatever a user or a target asks for meanwhile.
    async fn serve(&mut self) -> EndCause {
        let mut leg_check = tokio::time::interval(LEG_CHECK);
        leg_check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.connection.requests.recv() => match request {
                    None => return EndCause::UserLeft,
                    Some(Request::Refused { what }) => self.note_refused(&what),
                    Some(Request::Start(start)) => self.start(start).await,
                    Some(Request::Forward(start)) => self.forward(start).await,
                    Some(Request::Listen(start)) => self.listen(start).await,
                    Some(Request::Unlisten(start)) => self.unlisten(start).await,
                    Some(Request::Lend(start)) => self.may_lend(start),
                },
                Some(Ok(found)) = self.lookups.join_next(), if !self.lookups.is_empty() => self.looked_up(found).await,
                Some(choice) = self.choices.1.recv() => self.choose(choice).await,
                Some(waited) = self.waited.1.recv() => self.watched(waited).await,
                Some(ask) = self.asks.1.recv() => self.asked_by_guard(ask),
                Some(answered) = self.answered.1.recv() => self.answered(answered).await,
                Some(errand) = self.errands.1.recv() => self.run_errand(errand).await,
                Some(done) = self.channels.join_next(), if !self.channels.is_empty() => {
                    self.notices.retain(|notices| !notices.is_closed());
                    match done {
                        Ok(Ok(())) => {}
                        Ok(Err(failure)) => return self.recorder_failed(&failure),
                        Err(failure) => {
                            error!(error = %failure, "A channel's task failed");
                            return EndCause::Fault;
                        }
                    }
                }
                due = due(self.live.as_mut()) => match due {
                    Due::End(cause) => return cause,
                    Due::Failed(failure) => return self.recorder_failed(&failure),
                    Due::Warn(left) => self.warn(left),
                    Due::Silent(left) => self.warn_of_silence(left),
                    Due::Refused(what) => self.note_refused(&what),
                    Due::Paused(paused) => self.paused(paused),
                    Due::Said(line) => self.said(&line),
                    Due::Incoming(incoming) => self.incoming(*incoming).await,
                },
                _ = leg_check.tick() => {
                    if self.live.as_ref().is_some_and(|live| live.leg.is_closed()) {
                        return EndCause::TargetLeft;
                    }
                }
            }
        }
    }

    fn recorder_failed(&self, failure: &dyn std::error::Error) -> EndCause {
        error!(error = %failure, "Recording failed");
        EndCause::RecorderFailed
    }

    /// Something was asked for that this version refuses always.
    fn note_refused(&mut self, what: &str) {
        self.note_refusal(what, Denied::of_nobody(self.bastion.clock.now(), what));
    }

    /// A forward was refused. What the log is told of it is more than the user may know.
    fn note_forward_refused(&mut self, asked: &Asked, refusal: &Refusal) {
        let denied = Denied::new(self.bastion.clock.now(), Attempt::other(&asked.to_string()), refusal);
        self.note_refusal(&format!("{asked}: {refusal}"), denied);
    }

    /// Puts on record that something was refused, and keeps for `why` what its user may know of it.
    fn note_refusal(&mut self, what: &str, denied: Denied) {
        self.mark_refused(what);
        let user = self.visitor.user.user();
        self.bastion.denials.keep(user, denied);
        let session = self.live.as_ref().map(|live| live.id.clone());
        // Before a session it costs nothing.
        let kind = if session.is_some() { Kind::Within } else { Kind::Noise };
        let (of, source) = (user.clone(), self.visitor.source.clone());
        let event = move |what| AuditEvent::ChannelRefused {
            session: session.clone(),
            user: of.clone(),
            source: source.clone(),
            what,
        };
        if let Some(noted) = self.bastion.refusals.note(user, kind, what, event) {
            info!(user = %user, what = noted.text, "Refused");
        }
    }

    /// The recording of a live session tells what was refused in it, whatever its user is refused elsewhere.
    fn mark_refused(&mut self, what: &str) {
        let Some(live) = &mut self.live else { return };
        let text = match live.markers.take(self.bastion.clock.instant()) {
            None => return,
            Some(0) => format!("refused: {what}"),
            Some(left_out) => format!("refused: {what} ({left_out} refusals before it are not listed)"),
        };
        self.mark(text);
    }

    /// Notes a fact in the recording, without waiting for the disk.
    fn mark(&mut self, text: String) {
        let Some(live) = &self.live else { return };
        let noting = live.recording.note(text);
        self.channels.spawn(async move {
            noting.await;
            Ok(())
        });
    }

    /// Starts what a channel asks for, or says why not.
    async fn start(&mut self, start: ChannelStart) {
        let asked = Attempt::channel(&start.wanted, &self.connection.login);
        if let Err((start, refusal)) = self.carry(start).await {
            self.refuse(start, &refusal, &Arc::clone(&self.visitor), asked);
        }
    }

    /// Starts what was chosen at a menu, as if the login had named it; or says why not.
    async fn choose(&mut self, choice: Choice) {
        let Choice { start, destination, program, agreed, ahead, guest: _guest } = choice;
        let (visitor, asked) = (self.visitor.at(&destination), Attempt::program(&program, &destination));
        let begun = match self.standing() {
            Ok(()) => {
                let beforehand = Beforehand { agreed, approval: None };
                self.begin(start, destination, program, ahead, beforehand).await
            }
            Err(refusal) => Err((Box::new(start), refusal)),
        };
        if let Err((start, refusal)) = begun {
            self.refuse(start, &refusal, &visitor, asked);
        }
    }

    fn refuse(&mut self, start: Box<ChannelStart>, refusal: &Refusal, visitor: &Visitor, asked: Attempt) {
        self.mark_refused(&refusal.to_string());
        let kind = if self.live.is_some() { Kind::Within } else { Kind::of(refusal) };
        let written = visitor.refused(&self.bastion, kind, refusal, asked);
        let (no, over) = (refusal.told(self.bastion.clock.now()), self.over.clone());
        self.channels.spawn(async move {
            channel::refuse(*start, no, written, over).await;
            Ok(())
        });
    }

    async fn carry(&mut self, start: ChannelStart) -> Result<(), (Box<ChannelStart>, Refusal)> {
        let (visitor, bastion, over) = (Arc::clone(&self.visitor), Arc::clone(&self.bastion), self.over.child_token());
        match self.wanted(&start) {
            Ok(Errand::Program(destination, program)) => {
                return self.begin(start, destination, program, TypedAhead::Kept, Beforehand::default()).await;
            }
            Ok(Errand::Menu) => {
                let (notices, lines) = mpsc::channel(4);
                self.notices.push(notices);
                let choices = self.choices.0.clone();
                self.channels.spawn(async move {
                    menu::run(start, visitor, bastion, choices, lines, over).await;
                    Ok(())
                });
            }
            Ok(Errand::Verb(verb)) if verb.asks_back(start.terminal.is_some()) => self.interview_by(start, verb),
            Ok(Errand::Verb(verb)) => {
                self.borrow_nothing(&start);
                self.channels.spawn(async move {
                    verb::run(start, verb, visitor, bastion, over).await;
                    Ok(())
                });
            }
            Err(refusal) => return Err((Box::new(start), refusal)),
        }
        Ok(())
    }

    /// Starts a program at a destination.
    async fn begin(
        &mut self,
        start: ChannelStart,
        destination: Destination,
        program: Program,
        ahead: TypedAhead,
        beforehand: Beforehand,
    ) -> Result<(), (Box<ChannelStart>, Refusal)> {
        let Beforehand { agreed, approval } = beforehand;
        if self.live.as_ref().is_some_and(|live| *live.permit.destination() != destination) {
            return Err((Box::new(start), Refusal::Elsewhere));
        }
        let Some(mut start) = self.prepare(start, &destination, &program, agreed).await? else { return Ok(()) };
        let asked = self.asked(&start, &destination, &program);
        let first = rests::asked_on(&start, asked.first().map_or(ChannelClass::Shell, |asked| asked.class));
        if self.live.is_none() {
            match self.open(&destination, &first).await {
                Ok(live) => self.live = Some(live),
                Err(refusal) => return Err((Box::new(start), refusal)),
            }
        }
        if let Err(refusal) = self.count_channel(&destination, &asked).await {
            return Err((Box::new(start), refusal));
        }
        let lends = self.lends(&mut start, &destination);
        let Some(live) = &self.live else { return Err((Box::new(start), Refusal::Ended(EndCause::TargetLeft))) };
        if self.must_be_watched(live, &destination, &asked) {
            self.wait_for_watcher(start, destination, program, ahead);
            return Ok(());
        }
        let Some(live) = &mut self.live else { return Err((Box::new(start), Refusal::Ended(EndCause::TargetLeft))) };
        if live.registration.pause().is_on() {
            return Err((Box::new(start), Refusal::Paused));
        }
        let Some(live) = &self.live else { return Err((Box::new(start), Refusal::Ended(EndCause::TargetLeft))) };
        let cleared = match self.rule_on(live, &start, &program, &asked, approval.as_ref()) {
            Ok(Ruling::Starts(cleared)) => cleared,
            Ok(Ruling::OwnShell(cleared)) => return self.begin_shell(start, &asked, &cleared, ahead).await,
            Ok(Ruling::Waits(decided)) => {
                self.wait_for_yes(start, destination, program, ahead, decided);
                return Ok(());
            }
            Ok(Ruling::Refused(decided)) => {
                self.refuse_command(Box::new(start), &decided);
                self.do_on_match(&decided);
                return Ok(());
            }
            Err(refusal) => return Err((Box::new(start), refusal)),
        };
        let Some(live) = &mut self.live else { return Err((Box::new(start), Refusal::Ended(EndCause::TargetLeft))) };
        // Counted before it is judged: a policy that changes in between then sees it.
        let lends = lends.into_iter().map(Asked::from);
        let places = asked.iter().cloned().chain(lends).map(|asked| live.registration.channel(asked)).collect();
        // Spent whatever comes of it: the recording of a channel that the target refuses has its directory.
        let number = ChannelNumber(self.next);
        self.next = self.next.saturating_add(1);
        let (mut end, failed) = (live.registration.end.clone(), live.recording.failed());
        let opening = channel::open(live, &self.bastion, &destination, &start, (&program, &cleared), &asked, number);
        let opened = tokio::select! {
            opened = opening => opened,
            cause = wait_end(&mut end) => Err(Refusal::Ended(cause)),
            failure = failed => Err(Refusal::Recorder(failure)),
        };
        match opened {
            Ok(mut opened) => {
                let watches = watches_shell(&self.bastion, live, &start, &program, &asked);
                if let (Some(within), Some(first)) = (cleared.guards().or(watches.then_some(&None)), asked.first()) {
                    let (lines, said) = mpsc::channel(guarded::LINES_MAX);
                    let keeper = Keeper {
                        bastion: Arc::clone(&self.bastion),
                        visitor: Arc::clone(&self.visitor),
                        asks: self.asks.0.clone(),
                        asked: first.clone(),
                        number,
                        destination: destination.clone(),
                        track: opened.track(),
                        pause: live.registration.pause(),
                        lines,
                        waits: AtomicBool::new(false),
                        watches,
                    };
                    if watches {
                        opened.watch(keeper, said, start.terminal.as_ref());
                    } else {
                        opened.guard(keeper, said, within.clone(), start.terminal.as_ref());
                    }
                }
                live.registration.judge(&self.bastion.ledger, self.bastion.clock.now());
                let (notices, lines) = mpsc::channel(4);
                self.notices.push(notices);
                let over = self.over.child_token();
                self.channels.spawn(channel::carry(start, opened, lines, over, places, ahead));
                cleared.decided().into_iter().for_each(|decided| self.do_on_match(decided));
                Ok(())
            }
            Err(refusal) => Err((Box::new(start), refusal)),
        }
    }

    /// By which of its classes a program may run: those that the user may open now, the greatest first, or the least. SFTP
    /// for every file, where no rule names paths: then it ends once one does. A transfer needs all of its classes, for every
    /// file, since it cannot be held to paths; or it is the one that is missing.
    fn asked(&self, start: &ChannelStart, destination: &Destination, program: &Program) -> Vec<Asked> {
        let (asker, now) = (self.visitor.asker(), self.bastion.clock.now());
        let may = |asked: &Asked| self.bastion.ledger.permit_asked(asker, destination, asked, now).is_ok();
        let widest = |class: ChannelClass| {
            let all = Asked { class, matter: Some(Matter::EveryFile) };
            if class.is_sftp() && may(&all) { all } else { rests::asked_on(start, class) }
        };
        let all = program.classes().iter().copied();
        if matches!(program, Program::Transfer { .. }) {
            let all: Vec<Asked> = all.map(|class| Asked { class, matter: Some(Matter::EveryFile) }).collect();
            return match all.iter().find(|asked| !may(asked)) {
                Some(missing) => vec![missing.clone()],
                None => all,
            };
        }
        let open: Vec<Asked> = all.clone().filter(|class| may(&rests::asked_on(start, *class))).map(widest).collect();
        if open.is_empty() { all.last().map(|class| rests::asked_on(start, class)).into_iter().collect() } else { open }
    }

    /// Whether the user is one, with the key that proved them.
    fn standing(&self) -> Result<(), Refusal> {
        self.visitor.standing(&self.bastion)
    }

    /// Where the login leads.
    fn destination(&self) -> Result<Destination, Refusal> {
        self.standing()?;
        match &self.connection.login {
            Err(error) => Err(Refusal::Login(error.clone())),
            Ok(Login::User(user)) => Err(Refusal::NoDestination(user.clone())),
            Ok(Login::Destination { destination, .. }) => Ok(destination.clone()),
        }
    }

    /// What the channel is for: to run something on a target, or to ask the bastion itself.
    fn wanted(&self, start: &ChannelStart) -> Result<Errand, Refusal> {
        self.standing()?;
        let destination = match &self.connection.login {
            Err(error) => return Err(Refusal::Login(error.clone())),
            Ok(Login::User(user)) => {
                return match &start.wanted {
                    Wanted::Program(Program::Exec(command)) => {
                        let verb = Verb::parse(command).map_err(Refusal::Verb)?;
                        Ok(if verb == Verb::Menu { Errand::Menu } else { Errand::Verb(verb) })
                    }
                    Wanted::Program(Program::Shell) => Ok(Errand::Menu),
                    Wanted::Program(Program::Sftp | Program::Transfer { .. }) | Wanted::Subsystem(_) => {
                        Err(Refusal::NoDestination(user.clone()))
                    }
                };
            }
            Ok(Login::Destination { destination, .. }) => destination.clone(),
        };
        match &start.wanted {
            Wanted::Subsystem(name) if name == "sftp" => Ok(Errand::Program(destination, Program::Sftp)),
            Wanted::Subsystem(name) => {
                let name: String = name.chars().filter(char::is_ascii_graphic).collect();
                Err(Refusal::NotCarried(format!("the subsystem {name}")))
            }
            Wanted::Program(Program::Exec(command)) if command.contains(&0) => {
                // A C string ends at the first NUL: the target would run less than the recording shows.
                Err(Refusal::Command("the command line contains a NUL byte"))
            }
            // A transfer has rights of its own; every other line is a command.
            Wanted::Program(Program::Exec(command)) => Ok(Errand::Program(destination, Program::of_line(command))),
            Wanted::Program(program) => Ok(Errand::Program(destination, program.clone())),
        }
    }

    /// Ends the session: says why, cuts both legs, closes the recording.
    async fn leave(mut self, cause: EndCause) {
        let now = self.bastion.clock.now();
        if cause != EndCause::UserLeft {
            let text = cause.public_text(now);
            let _ = timeout(FAREWELL, self.farewell(&text)).await;
        }
        self.over.cancel();
        self.connection.cut.cut();
        let left_out = self.live.as_mut().map_or(0, |live| live.markers.told());
        if left_out > 0 {
            self.mark(format!("refused: {left_out} times more, not listed"));
        }
        let Some(live) = self.live.take() else {
            self.channels.shutdown().await;
            return;
        };
        if cause == EndCause::UserLeft {
            let _ = timeout(FAREWELL, live.leg.disconnect()).await;
        }
        live.cut.cut();
        // Relays stop at `over`; what they still had to record is recorded.
        let stopping = async { while self.channels.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_secs(15), stopping).await;
        self.channels.shutdown().await;
        let Live { id, permit, registration, recording, started, .. } = live;
        if let Err(failure) = recording.finish(&cause.to_string()).await {
            error!(session = %id, error = %failure, "Cannot close a recording");
        }
        drop(registration);
        let seconds = started.until(self.bastion.clock.now()).as_secs();
        info!(session = %id, user = %permit.user(), cause = %cause, seconds, "Session ended");
    }

    /// Tells every channel, then the connection.
    async fn farewell(&mut self, text: &str) {
        let mut said = Vec::new();
        for notices in &self.notices {
            let (done, waiting) = oneshot::channel();
            let notice = Notice::Farewell { text: text.into(), status: 255, said: done };
            if notices.try_send(notice).is_ok() {
                said.push(waiting);
            }
        }
        for waiting in said {
            let _ = waiting.await;
        }
        // A client whose channels are closed leaves by itself, having shown the line; one that keeps the
        // connection for later channels is told to go.
        let leaving = async { while self.connection.requests.recv().await.is_some() {} };
        if timeout(FAREWELL / 2, leaving).await.is_err() {
            self.connection.disconnect(&format!("doorward: {text}")).await;
            while self.connection.requests.recv().await.is_some() {}
        }
    }
}

/// What a channel is for.
enum Errand {
    /// To run this on a target.
    Program(Destination, Program),
    /// To be answered by the bastion.
    Verb(Verb),
    /// To choose a destination first.
    Menu,
}

/// What a session's time brings.
enum Due {
    End(EndCause),
    Warn(Duration),
    /// Nothing has gone through for long.
    Silent(Duration),
    Failed(RecorderError),
    /// Something that the target asked for.
    Refused(String),
    /// It stands still, or goes on.
    Paused(Option<Paused>),
    /// Somebody has something to say to its user.
    Said(String),
    /// Somebody connected where the target listens for the user.
    Incoming(Box<Incoming>),
}

/// Ready when a session must end or its user be warned.
async fn due(live: Option<&mut Live>) -> Due {
    let Some(live) = live else { return std::future::pending().await };
    tokio::select! {
        cause = wait_end(&mut live.registration.end) => Due::End(cause),
        Some(left) = live.time.warnings.recv() => Due::Warn(left),
        Ok(()) = live.registration.paused.changed() => Due::Paused(live.registration.paused.borrow_and_update().clone()),
        Some(line) = live.registration.lines.recv() => Due::Said(line),
        Some(left) = live.time.silences.recv() => Due::Silent(left),
        failure = live.recording.failed() => Due::Failed(failure),
        Some(what) = live.leg.refused() => Due::Refused(what),
        Some(incoming) = live.leg.incoming() => Due::Incoming(Box::new(incoming)),
    }
}
