//! A line of a shell of the target's own: judged when its key is held, on record before the key goes on.
//!
//! The session judges, as it does for `exec`; what waits for the disk or for people is waited for beside it, by whoever
//! carries the shell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::observed::Observed;
use super::waiting::{NotRun, Question as Waiting, wish_of};
use super::{Cleared, Decided, Ruling, alert_refused, unread};
use crate::audit::{AuditEvent, CommandGap, CommandJudged, CommandReading};
use crate::cast::Entry;
use crate::gate::verdict::{AlertLevel, By, CommandMode, Judgement, Outcome};
use crate::guard::{self, Confidence, Gap, LineRead, Question, Started};
use crate::ledger::{CommandFacts, Commands};
use crate::listener::ChannelStart;
use crate::model::{Asked, ChannelClass, ChannelNumber, Destination, RequestId, SessionId, Timestamp};
use crate::policy::{OnGap, PolicyHash};
use crate::recorder::Track;
use crate::relay::{Going, Pause};
use crate::requests::{CommandWish, bound_to, new_decision};
use crate::session::denials::Denied;
use crate::session::promise::Reads;
use crate::session::refusal_log::Kind;
use crate::session::{Bastion, EndCause, Holding, Live, Refusal, Visit, Visitor};

/// What a user is told whose shell could be read by nobody.
const NO_TERMINAL_AT_ALL: &str =
    "the lines of a shell are judged here, which takes a terminal: ssh -t, or name a command";
/// What a user is told whose line's own record failed, or whose session is over.
const NOT_ON_RECORD: &str = "it could not be put on record, so it does not run. Tell the operator";
/// What a user is told of a line that was allowed, and was overtaken before it could run.
const LATE: &str =
    "the session was paused, or the rules have changed, before it could run: it has not run. Type it anew";
/// What is on record of a line that was not shown.
const NOT_SHOWN: &str = "[typed without being shown]";
/// The session answers within so long, or the line does not run.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// At least so often whoever waits for a yes is told how long they may still wait.
const COUNTDOWN: Duration = Duration::from_secs(60);
/// No more often than this, however little is left.
const COUNTDOWN_MIN: Duration = Duration::from_secs(1);

/// Begins a shell whose lines are held.
pub(super) fn shell(start: &ChannelStart, cleared: Cleared, commands: &Commands) -> Result<Ruling, Refusal> {
    if start.terminal.is_none() {
        return Err(Refusal::Command(NO_TERMINAL_AT_ALL));
    }
    Ok(Ruling::Starts(Cleared { guards: Some(None), integrates: commands.integrates(), ..cleared }))
}

/// The program whose prompt a command opens on a terminal, where lines are held; if no set is for that, it does not start.
pub(super) fn opened(decided: &mut Decided, commands: &Commands) -> Option<String> {
    if decided.judgement.mode != CommandMode::Guard
        || decided.judgement.outcome == Outcome::Deny
        || !commands.guards_shells()
    {
        return None;
    }
    let name = guard::started(&decided.judgement.invocations).nested?;
    if commands.within(&name).is_none() {
        decided.obstacle = decided.obstacle.take().or_else(|| Some(no_set_for(&name)));
    }
    Some(name)
}

fn no_set_for(name: &str) -> String {
    format!("{name} opens a prompt of its own, and no rule is for what is typed there")
}

/// What whoever carries a shell asks of its session.
pub(in crate::session) enum Ask {
    /// What becomes of a line.
    Line {
        question: Box<Question>,
        asked: Asked,
        number: ChannelNumber,
        approval: Option<RequestId>,
        answer: oneshot::Sender<Verdict>,
    },
    /// What is to be put on record of a line that goes by.
    Read { read: LineRead, asked: Asked, number: ChannelNumber, answer: oneshot::Sender<Option<Observed>> },
    /// A line that was let run does not, or does: what is put on record of that, and done about it.
    Arrived { decided: Box<Decided>, late: bool, answer: oneshot::Sender<Option<Verdict>> },
    /// Something may have run that nobody has read.
    Gap { gap: Gap, asked: Asked, number: ChannelNumber, answer: oneshot::Sender<()> },
}

/// What the session says of a line.
pub(in crate::session) enum Verdict {
    /// It may run once that is on record.
    Runs { decided: Box<Decided>, judged: Box<CommandJudged>, facts: Option<Box<CommandFacts>>, started: Started },
    /// It takes somebody's yes.
    Waits { decided: Box<Decided>, wish: Box<CommandWish>, facts: Option<Box<CommandFacts>> },
    /// It does not run.
    Refused { text: String, marker: String, written: Option<oneshot::Receiver<()>> },
}

impl Visit {
    /// Answers whoever carries a shell. Nothing here waits.
    pub(in crate::session) fn asked_by_guard(&mut self, ask: Ask) {
        match ask {
            Ask::Line { question, asked, number, approval, answer } => {
                let verdict = self.rule_on_read(&question, &asked, number, approval);
                let _ = answer.send(verdict);
            }
            Ask::Read { read, asked, number, answer } => {
                let _ = answer.send(self.rule_on_passing(read, &asked, number));
            }
            Ask::Arrived { decided, late, answer } => {
                let _ = answer.send(self.note_arrival(*decided, late));
            }
            Ask::Gap { gap, asked, number, answer } => {
                self.note_gap(gap, &asked, number);
                let _ = answer.send(());
            }
        }
    }

    /// Judges a line that was read: it runs, is refused, or waits for a yes. `approval` is the yes for which it has waited.
    fn rule_on_read(
        &self,
        question: &Question,
        asked: &Asked,
        number: ChannelNumber,
        approval: Option<RequestId>,
    ) -> Verdict {
        let Some(live) = &self.live else { return unjudged(String::from("the session is over")) };
        if live.registration.pause().is_on() {
            return unjudged(String::from("the session is paused"));
        }
        let (bastion, destination) = (&self.bastion, live.permit.destination());
        let commands = match bastion.ledger.commands(live.permit.asker(), destination, asked, bastion.clock.now()) {
            Ok(commands) => commands,
            Err(denial) => return unjudged(Refusal::Denied(denial).told(bastion.clock.now()).text),
        };
        let id = match approval.clone().map_or_else(new_decision, Ok) {
            Ok(id) => id,
            Err(error) => return unjudged(error.to_string()),
        };
        let (decided, started) = decided_on(question, &commands, id);
        let sent: Vec<u8> = question.reads.iter().flat_map(|read| [read.line.as_bytes(), b"\n"].concat()).collect();
        // What stands in the way of a line refuses it, whatever the rules say.
        let outcome = if decided.obstacle.is_some() { Outcome::Deny } else { decided.judgement.outcome };
        match (outcome, approval) {
            (Outcome::Deny, approval) => self.refuse_with(live, &decided, approval.as_ref()),
            (Outcome::Allow, None) => runs(live, bastion, decided, number, started),
            (Outcome::Approve, None) => self.ask_for_yes(live, decided, &sent),
            (Outcome::Allow | Outcome::Approve, Some(id)) => {
                self.run_approved(live, decided, &id, &sent, (number, started))
            }
        }
    }

    /// Has somebody asked for the yes that a line takes.
    fn ask_for_yes(&self, live: &Live, mut decided: Box<Decided>, sent: &[u8]) -> Verdict {
        let Some(wish) = wish_of(live, &self.visitor, &self.bastion, &decided, (sent, ChannelClass::Shell)) else {
            decided.obstacle = Some(String::from("nobody is named who could say yes"));
            return self.refuse_read(live, &decided);
        };
        let facts = decided.facts(live, &self.bastion, true).map(Box::new);
        Verdict::Waits { decided, wish: Box::new(wish), facts }
    }

    /// Lets a line run by a yes, if that is for this line, in this session, under these rules.
    fn run_approved(
        &self,
        live: &Live,
        mut decided: Box<Decided>,
        id: &RequestId,
        sent: &[u8],
        (number, started): (ChannelNumber, Started),
    ) -> Verdict {
        match self.bastion.requests.use_command(id, &bound_to(&live.id, &decided.policy, sent)) {
            Ok(approved_by) => {
                decided.approved_by = approved_by;
                runs(live, &self.bastion, decided, number, started)
            }
            Err(why) => {
                decided.obstacle = Some(format!("what was approved does not run: {why}"));
                self.refuse_with(live, &decided, Some(id))
            }
        }
    }

    /// Refuses a line. A yes that there was for it is used up: bound to nothing, it lets nothing run.
    fn refuse_with(&self, live: &Live, decided: &Decided, approval: Option<&RequestId>) -> Verdict {
        if let Some(id) = approval {
            let _ = self.bastion.requests.use_command(id, "");
        }
        self.refuse_read(live, decided)
    }

    /// Puts on record that a line does not run after all; of one that does, does with the session what a rule wants.
    fn note_arrival(&self, decided: Decided, late: bool) -> Option<Verdict> {
        if !late {
            self.do_on_match(&decided);
            return None;
        }
        self.live.as_ref().map(|live| self.refuse_read(live, &decided))
    }

    /// Puts a refusal on record, and keeps it for `why`.
    fn refuse_read(&self, live: &Live, decided: &Decided) -> Verdict {
        let user = self.visitor.user.user().clone();
        let text = decided.told();
        let denied = Denied::of_command(self.bastion.clock.now(), &decided.line, &text, live.permit.destination());
        let facts = decided.facts(live, &self.bastion, true);
        self.alert_refused(&user, decided, facts);
        let written = if decided.closed { None } else { self.note_command(live, &user, decided) };
        info!(user = %user, decision = %decided.id, "Command refused");
        self.bastion.denials.keep(&user, denied);
        self.do_on_match(decided);
        Verdict::Refused { text, marker: decided.summary(), written }
    }

    /// Puts on record that something may have run that nobody has read, and does what the rules say of it.
    fn note_gap(&mut self, gap: Gap, asked: &Asked, number: ChannelNumber) {
        self.mark(format!("gap in what is judged: {}", gap.told()));
        let Some(live) = &self.live else { return };
        let (bastion, user) = (&self.bastion, self.visitor.user.user());
        let commands =
            bastion.ledger.commands(live.permit.asker(), live.permit.destination(), asked, bastion.clock.now());
        // Where nobody knows what is to be done, the hardest is.
        let on_gap = commands.as_ref().map_or(OnGap::End, Commands::on_gap);
        let done = match (gap, on_gap) {
            (Gap::Password, _) => "none",
            (_, OnGap::Alert) => "alert",
            (_, OnGap::Approve) => "approve",
            (_, OnGap::End) => "end",
        };
        let event = CommandGap {
            session: live.id.clone(),
            channel: number.0,
            user: user.clone(),
            destination: live.permit.destination().clone(),
            gap: gap.to_string(),
            done: done.to_owned(),
            note: gap.told().to_owned(),
        };
        let event = move |note| AuditEvent::CommandGap(Box::new(CommandGap { note, ..event.clone() }));
        let _ = bastion.refusals.note(user, Kind::Command, gap.told(), event);
        if gap == Gap::Password {
            return;
        }
        let by = format!("the command rules, by a gap ({gap})");
        match on_gap {
            OnGap::Alert => {}
            OnGap::Approve => drop(bastion.sessions.freeze(&live.id, Holding::Overseer, &by)),
            OnGap::End => drop(bastion.sessions.end(&live.id, EndCause::Killed { by })),
        }
        if let (Ok(commands), Ok(id)) = (commands, new_decision())
            && let Some(others) = bastion.refusals.alert(user, None, AlertLevel::Medium)
        {
            let facts = CommandFacts {
                level: AlertLevel::Medium,
                session: live.id.clone(),
                second: live.started.until(bastion.clock.now()).as_secs(),
                user: user.clone(),
                destination: live.permit.destination().clone(),
                line: gap.told().to_owned(),
                mode: CommandMode::Guard.to_string(),
                verdict: String::from("gap"),
                prevented: false,
                rule: None,
                policy: commands.policy().to_string(),
                others,
            };
            let requests = Arc::clone(&bastion.requests);
            drop(tokio::task::spawn_blocking(move || requests.alert_command(&id, "command.gap", facts)));
        }
    }
}

/// A refusal of what nobody could judge. Nothing is on record of it but the recording's note.
fn unjudged(text: String) -> Verdict {
    Verdict::Refused { marker: format!("command refused: {text}"), text: format!("refused  {text}"), written: None }
}

/// What is decided on a line, with what stands in its way beside the rules; and what it starts.
fn decided_on(question: &Question, commands: &Commands, id: RequestId) -> (Box<Decided>, Started) {
    let mut decided = Box::new(judged(question, commands, id));
    let mut started = guard::started(&decided.judgement.invocations);
    let mode = commands.mode();
    if decided.judgement.outcome != Outcome::Deny && mode == Some(CommandMode::Guard) {
        let unfit = started.nested.as_ref().filter(|name| commands.within(name).is_none());
        decided.obstacle = unfit.map(|name| no_set_for(name));
    }
    if mode.is_some_and(CommandMode::is_strict) {
        decided.obstacle = Some(String::from("your right here is of another kind by now: leave, and connect again"));
    }
    if !question.echoed {
        forget_words(&mut decided.judgement);
        started.nested = None;
    }
    (decided, started)
}

/// Judges what a line may be: the strictest verdict is the line's.
fn judged(question: &Question, commands: &Commands, id: RequestId) -> Decided {
    let inner = question.context.as_ref().map(|name| (name, commands.within(name)));
    let by = match &inner {
        Some((_, Some(inner))) => inner,
        Some((_, None)) | None => commands,
    };
    let judge = |read: &guard::LineRead| (read.clone(), by.judge(&read.line));
    // Of equals the first: it is the likeliest.
    let strictest =
        question.reads.iter().map(judge).reduce(|most, next| if next.1.outcome > most.1.outcome { next } else { most });
    let (read, mut judgement): (_, Judgement) =
        strictest.map_or_else(|| (None, by.judge("")), |(read, judgement)| (Some(read), judgement));
    let reason = match &inner {
        Some((name, None)) => Some(format!("no rule is for lines at the prompt of {name}")),
        Some((_, Some(_))) | None => question.problem.map(str::to_owned),
    };
    let reason = reason.or_else(|| read.is_none().then(|| String::from("nothing was read")));
    if let Some(reason) = reason {
        judgement = unread(judgement, By::NotUnderstood { at: 0, reason }, CommandMode::Guard);
    }
    let confidence = read.as_ref().map_or(Confidence::Keys, |read| read.confidence);
    let line = read.filter(|_| question.echoed).map_or_else(|| NOT_SHOWN.to_owned(), |read| read.line);
    Decided {
        id,
        line,
        before: String::new(),
        confidence: Some(confidence),
        judgement,
        policy: by.policy().clone(),
        obstacle: None,
        approved_by: Vec::new(),
        closed: false,
    }
}

/// Takes what was typed out of a judgement: where nothing was shown of it, it may be a password.
fn forget_words(judgement: &mut Judgement) {
    judgement.invocations.clear();
    match judgement.by {
        // A rule's reason is its writer's.
        By::Rule(_) => {}
        // Any other names the word that it is about.
        By::Default | By::NotUnderstood { .. } | By::NoSets | By::Unjudged(_) => judgement.reason = None,
    }
}

fn runs(live: &Live, bastion: &Bastion, decided: Box<Decided>, number: ChannelNumber, started: Started) -> Verdict {
    let judged = Box::new(decided.judged(live, Some(number.0), bastion.clock.now()));
    let facts = decided.facts(live, bastion, false).map(Box::new);
    Verdict::Runs { decided, judged, facts, started }
}

/// After how long whoever waits is told again: several times in any wait, and more often towards its end.
fn between(left: Duration) -> Duration {
    (left / 6).clamp(COUNTDOWN_MIN, COUNTDOWN)
}

/// What a shell is carried with.
pub(in crate::session) struct Keeper {
    pub bastion: Arc<Bastion>,
    pub visitor: Arc<Visitor>,
    pub asks: mpsc::Sender<Ask>,
    pub asked: Asked,
    pub number: ChannelNumber,
    pub session: SessionId,
    pub destination: Destination,
    pub track: Arc<Track>,
    pub pause: Pause,
    /// Lines for the user while something is decided.
    pub lines: mpsc::Sender<String>,
    /// Whether a line waits for somebody's yes.
    pub waits: AtomicBool,
    /// Whether lines are only read as they go by.
    pub watches: bool,
}

/// What becomes of a held key.
pub(in crate::session) enum Decision {
    /// It goes on, if that still stands when it reaches the target.
    Runs(Started, Box<Standing>),
    /// It does not, and the user is told why.
    Refused(String),
}

/// By what a line was let run.
pub(in crate::session) struct Standing {
    decided: Decided,
    going: Going,
    /// How many prompts stood within each other before it.
    pub depth: usize,
}

impl Standing {
    /// Whether it still stands: by the rules in force, in a session that has not stood still since.
    pub fn holds(&self, in_force: &PolicyHash) -> bool {
        self.going.holds() && *in_force == self.decided.policy
    }

    /// The rules by which it was.
    #[cfg(test)]
    pub fn policy(&self) -> &PolicyHash {
        &self.decided.policy
    }

    /// Whether a rule wants something done with the session once it runs.
    pub fn is_acted_on(&self) -> bool {
        self.decided.judgement.on_match.is_some()
    }

    /// What its user is told if it does not run after all.
    pub fn told_late(&self) -> String {
        self.too_late().told()
    }

    fn too_late(&self) -> Decided {
        self.decided.clone().refused(LATE.to_owned(), false)
    }
}

/// Decides on a line: judged, on record, and with somebody's yes where it takes one. `withdrawn` ends the wait for that.
pub(in crate::session) async fn decide(
    keeper: Arc<Keeper>,
    question: Question,
    withdrawn: CancellationToken,
) -> Decision {
    // Held until its yes is used, or is not.
    let mut approval: Option<Waiting> = None;
    // Once for the rules, and once more with a yes.
    for _ in 0..2 {
        // Nothing is decided in a session that stands still.
        keeper.pause.over().await;
        let going = keeper.pause.mark();
        let Some(verdict) = keeper.ask(&question, approval.as_ref().map(|yes| yes.id().clone())).await else { break };
        drop(approval.take());
        match verdict {
            Verdict::Refused { text, marker, written } => {
                let _ = keeper.track.append(Entry::Marker(marker)).await;
                if let Some(written) = written {
                    let _ = timeout(crate::session::channel::RECORD_TIMEOUT, written).await;
                }
                return Decision::Refused(text);
            }
            Verdict::Runs { decided, judged, facts, started } => {
                if !keeper.on_record(&decided, judged, facts).await {
                    break;
                }
                let standing = Box::new(Standing { decided: *decided, going, depth: 0 });
                if standing.holds(keeper.bastion.ledger.policy().hash()) {
                    return Decision::Runs(started, standing);
                }
                let text = standing.told_late();
                Arc::clone(&keeper).late(standing).await;
                return Decision::Refused(text);
            }
            Verdict::Waits { decided, wish, facts } => match keeper.wait(&decided, *wish, &withdrawn).await {
                Ok(yes) => approval = Some(yes),
                Err(why) => {
                    let refused = Decided { obstacle: Some(why), closed: true, ..*decided };
                    let _ = keeper.track.append(Entry::Marker(refused.summary())).await;
                    let user = keeper.visitor.user.user();
                    alert_refused(&keeper.bastion, user, &refused, facts.map(|facts| *facts));
                    keeper.bastion.denials.keep(
                        keeper.visitor.user.user(),
                        Denied::of_command(
                            keeper.bastion.clock.now(),
                            &refused.line,
                            &refused.told(),
                            &keeper.destination,
                        ),
                    );
                    return Decision::Refused(refused.told());
                }
            },
        }
    }
    Decision::Refused(format!("refused  {NOT_ON_RECORD}"))
}

impl Keeper {
    /// Puts on record that a line which was let run does not.
    pub async fn late(self: Arc<Self>, standing: Box<Standing>) {
        let Some(Verdict::Refused { marker, written, .. }) = self.told(standing.too_late(), true).await else {
            // The session is over, and its recording tells that.
            return;
        };
        let _ = self.track.append(Entry::Marker(marker)).await;
        if let Some(written) = written {
            let _ = timeout(crate::session::channel::RECORD_TIMEOUT, written).await;
        }
    }

    /// Has done what a rule wants once a line runs.
    pub async fn ran(self: Arc<Self>, standing: Box<Standing>) {
        self.told(standing.decided, false).await;
    }

    async fn told(&self, decided: Decided, late: bool) -> Option<Verdict> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Arrived { decided: Box::new(decided), late, answer };
        let asking = async {
            self.asks.send(ask).await.ok()?;
            answered.await.ok().flatten()
        };
        timeout(ANSWER_WITHIN, asking).await.ok().flatten()
    }

    async fn ask(&self, question: &Question, approval: Option<RequestId>) -> Option<Verdict> {
        let (answer, answered) = oneshot::channel();
        let (question, asked) = (Box::new(question.clone()), self.asked.clone());
        let ask = Ask::Line { question, asked, number: self.number, approval, answer };
        let asking = async {
            self.asks.send(ask).await.ok()?;
            answered.await.ok()
        };
        timeout(ANSWER_WITHIN, asking).await.ok()?
    }

    /// Tells the session of a gap; what it does about it is done on return, unless it is busy.
    pub async fn gap(&self, gap: Gap) {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Gap { gap, asked: self.asked.clone(), number: self.number, answer };
        let asking = async {
            if self.asks.send(ask).await.is_ok() {
                let _ = answered.await;
            }
        };
        let _ = timeout(Duration::from_secs(1), asking).await;
    }

    /// Puts on record that lines are read in this way from now on.
    pub async fn reads(&self, reads: Reads, why: &str) {
        let event = AuditEvent::CommandReading(Box::new(CommandReading {
            session: self.session.clone(),
            channel: self.number.0,
            user: self.visitor.user.user().clone(),
            destination: self.destination.clone(),
            reads: reads.to_string(),
            note: why.to_owned(),
        }));
        if let Err(failure) = self.bastion.record(event).await {
            error!(error = %failure, "Cannot put on record how the lines of a shell are read");
        }
    }

    /// Puts on record that a line runs. Nothing runs whose record fails.
    async fn on_record(&self, decided: &Decided, judged: Box<CommandJudged>, facts: Option<Box<CommandFacts>>) -> bool {
        let marked = async {
            let receipt = self.track.append(Entry::Marker(decided.summary())).await?;
            receipt.durable().await
        };
        let noted = self.bastion.record(AuditEvent::CommandAllowed(judged));
        let (marked, noted) = tokio::join!(marked, noted);
        if marked.is_err() || noted.is_err() {
            return false;
        }
        let Some(facts) = facts else { return true };
        let (requests, id) = (Arc::clone(&self.bastion.requests), decided.id.clone());
        let alerting = tokio::task::spawn_blocking(move || requests.alert_command(&id, "command.allowed", *facts));
        matches!(alerting.await, Ok(Ok(())))
    }

    /// Waits for somebody's yes.
    async fn wait(
        &self,
        decided: &Decided,
        wish: CommandWish,
        withdrawn: &CancellationToken,
    ) -> Result<Waiting, String> {
        let mut waiting =
            Waiting::ask(&self.visitor, &self.bastion, wish).await.map_err(|failure| failure.to_string())?;
        let _ = self.track.append(Entry::Marker(format!("waits for somebody's yes: {}", decided.summary()))).await;
        self.waits.store(true, Ordering::SeqCst);
        let _ = self.lines.send(waiting.told()).await;
        let (id, until) = (waiting.id().clone(), waiting.until());
        let ended = tokio::select! {
            biased;
            // A client that is told of its session's end leaves, too: that is no withdrawal.
            () = withdrawn.cancelled() => Err(match self.bastion.sessions.is_ending(&self.session) {
                true => NotRun::session_over(),
                false => NotRun::withdrawn(&self.visitor),
            }),
            ended = waiting.answered(&self.pause) => ended,
            () = self.count_down(&id, until) => Err(NotRun::too_late()),
        };
        self.waits.store(false, Ordering::SeqCst);
        let Err(why) = ended else { return Ok(waiting) };
        waiting.close(&why).await;
        Err(why.why)
    }

    /// Says now and then how long it may still take; ready when it takes too long.
    async fn count_down(&self, id: &RequestId, until: Timestamp) {
        loop {
            let left = self.bastion.clock.now().until(until);
            if left.is_zero() {
                return;
            }
            sleep(left.min(between(left))).await;
            let left = self.bastion.clock.now().until(until);
            if !left.is_zero() {
                let text = format!("{id} still waits: {} left. Ctrl-C withdraws it", crate::screen::span_short(left));
                let _ = self.lines.try_send(text);
            }
        }
    }
}

#[cfg(test)]
pub(in crate::session) mod tests {
    use super::*;
    use crate::gate::verdict::OnMatch;
    use crate::model::RuleId;
    use crate::policy::{PolicyFile, PolicySet};

    /// By what a line is let run in a session that this is of.
    pub fn standing(pause: &Pause, on_match: Option<OnMatch>) -> Standing {
        let file = PolicyFile { path: "a.toml".into(), text: String::from("schema = 1\n") };
        let decided = Decided {
            id: new_decision().unwrap(),
            line: String::from("id"),
            before: String::new(),
            confidence: Some(Confidence::Screen),
            judgement: Judgement { outcome: Outcome::Allow, on_match, ..judged(By::Default) },
            policy: PolicySet::parse(&[file]).unwrap().hash().clone(),
            obstacle: None,
            approved_by: Vec::new(),
            closed: false,
        };
        Standing { decided, going: pause.mark(), depth: 0 }
    }

    fn judged(by: By) -> Judgement {
        Judgement {
            outcome: Outcome::Deny,
            by,
            access_rule: None,
            set: None,
            place: None,
            mode: CommandMode::Guard,
            send: None,
            pty: true,
            reason: Some(String::from("no rule allows `hunter2` with these arguments")),
            invocations: Vec::new(),
            would: Vec::new(),
            alert: None,
            on_match: None,
            approval: None,
        }
    }

    #[test]
    fn whoever_waits_is_told_several_times_however_short_the_wait() {
        let told = |left| between(Duration::from_secs(left)).as_secs();
        assert_eq!([told(0), told(3), told(60), told(600)], [1, 1, 10, 60]);
    }

    #[test]
    fn a_judgement_of_what_was_not_shown_names_no_word_of_it() {
        let mut by_default = judged(By::Default);
        forget_words(&mut by_default);
        assert_eq!(by_default.reason, None);
        let mut by_rule = judged(By::Rule(RuleId::parse("no-shell").unwrap()));
        forget_words(&mut by_rule);
        assert!(by_rule.reason.is_some());
    }
}
