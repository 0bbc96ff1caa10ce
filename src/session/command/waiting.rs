//! A command that waits for somebody's yes: nothing of it has started, its user reads who may say it, and what they type
//! meanwhile goes nowhere but for Ctrl-C.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Decided, told};
use crate::grant::{RequestState, Verdict};
use crate::listener::{ChannelStart, UserSource};
use crate::model::{ChannelClass, ChannelEvent, Destination, Exit, Program, RequestId, Timestamp, UserName};
use crate::policy::PolicyHash;
use crate::relay::{Notice, Pause};
use crate::requests::{Actor, CommandWish, HeldCommand, RequestError, bound_to};
use crate::session::channel::CLOSE_TIMEOUT;
use crate::session::menu::TypedAhead;
use crate::session::{Attempt, Bastion, Beforehand, Live, Visit, Visitor};
use crate::wire::channel::{Credit, Sink, Source};

/// So often it is looked whether what it waits under still holds.
const LOOK: Duration = Duration::from_millis(250);
/// Events of a user who waits that are kept for the program; of more it is not heard any more that they leave.
const KEPT_MAX: usize = 1024;
/// Ctrl-C, where a terminal is in its usual mode.
const INTERRUPT: u8 = 3;

/// What has waited for a yes.
pub struct Answered {
    start: ChannelStart,
    destination: Destination,
    program: Program,
    ahead: TypedAhead,
    /// What somebody has said yes to, or why it does not run.
    answer: Result<Question, Box<Decided>>,
}

impl Visit {
    /// Lets a command wait; then it is judged anew.
    pub(in crate::session) fn wait_for_yes(
        &mut self,
        mut start: ChannelStart,
        destination: Destination,
        program: Program,
        ahead: TypedAhead,
        decided: Box<Decided>,
    ) {
        let Some(live) = &self.live else { return };
        let typed = if let Program::Exec(typed) = &program { typed.as_slice() } else { &[] };
        let Some(wish) = wish(live, &self.visitor, &self.bastion, &decided, (typed, ChannelClass::Exec)) else {
            return self.refuse_command(Box::new(start), &decided);
        };
        let (notices, mut lines) = mpsc::channel(4);
        let (visitor, bastion, pause) =
            (Arc::clone(&self.visitor), Arc::clone(&self.bastion), live.registration.pause());
        let (answered, over) = (self.answered.0.clone(), self.over.child_token());
        let mark = format!("waits for somebody's yes: {}", decided.summary());
        self.notices.push(notices);
        self.mark(mark);
        self.channels.spawn(async move {
            // The reply comes first: while the listener waits for it, it does not hear that the user leaves.
            let _ = std::mem::replace(&mut start.started, oneshot::channel().0).send(());
            let mut waiting = WaitingUser { start: &mut start, kept: Vec::new(), pause, lines: &mut lines };
            let ended = waiting.wait(&visitor, &bastion, wish, &over).await;
            let kept = std::mem::take(&mut waiting.kept);
            kept.into_iter().for_each(|event| start.source.put_back(event));
            let answer = match ended {
                Ended::Over => return Ok(()),
                Ended::Approved(question) => Ok(*question),
                Ended::Refused { why, closed } => Err(Box::new(Decided { obstacle: Some(why), closed, ..*decided })),
            };
            // Nobody answers a farewell here any more.
            drop(lines);
            tokio::select! {
                _ = answered.send(Answered { start, destination, program, ahead, answer }) => {}
                () = over.cancelled() => {}
            }
            Ok(())
        });
    }

    /// Somebody has said yes or no, or nobody has.
    pub(in crate::session) async fn answered(&mut self, answered: Answered) {
        let Answered { start, destination, program, ahead, answer } = answered;
        // Whatever comes of it, it waits no longer than this.
        let question = match answer {
            Ok(question) => question,
            Err(decided) => {
                self.refuse_command(Box::new(start), &decided);
                return self.do_on_match(&decided);
            }
        };
        let id = question.id().clone();
        let (visitor, asked) = (Arc::clone(&self.visitor), Attempt::program(&program, &destination));
        let beforehand = Beforehand { agreed: None, approval: Some(id.clone()) };
        let begun = match self.standing() {
            Ok(()) => self.begin(start, destination, program, ahead, beforehand).await,
            Err(refusal) => Err((Box::new(start), refusal)),
        };
        if let Err((start, refusal)) = begun {
            // A yes is for what would have run then.
            close(&self.bastion, id, "refused", refusal.to_string(), String::from("the bastion")).await;
            self.refuse(start, &refusal, &visitor, asked);
        }
    }
}

/// What approvers are asked; `None` if what was judged names nobody whom to ask.
pub(in crate::session) fn wish(
    live: &Live,
    visitor: &Visitor,
    bastion: &Bastion,
    decided: &Decided,
    (typed, class): (&[u8], ChannelClass),
) -> Option<CommandWish> {
    let sent = decided.sent(typed)?;
    wish_of(live, visitor, bastion, decided, (&sent, class))
}

/// The same, of what is sent in a channel of this class.
pub(super) fn wish_of(
    live: &Live,
    visitor: &Visitor,
    bastion: &Bastion,
    decided: &Decided,
    (sent, class): (&[u8], ChannelClass),
) -> Option<CommandWish> {
    let now = bastion.clock.now();
    // The grant as it is now: the session may have begun by another.
    let permit = bastion.ledger.permit(visitor.asker(), live.permit.destination(), class, now).ok();
    let purpose = permit.and_then(|permit| permit.grant().map(|grant| grant.reason.clone())).unwrap_or_default();
    Some(CommandWish {
        judged: decided.judged(live, None, now),
        need: decided.judgement.approval.clone()?,
        rule: decided.judgement.access_rule.clone()?,
        policy: decided.policy.clone(),
        bound: bound_to(&live.id, &decided.policy, sent),
        purpose,
        reason: decided.judgement.reason.clone(),
    })
}

/// How a wait ended.
enum Ended {
    /// The session is over, and the user told.
    Over,
    /// Enough people have said yes.
    Approved(Box<Question>),
    /// It does not run.
    Refused {
        why: String,
        /// Whether that is on record.
        closed: bool,
    },
}

struct WaitingUser<'w> {
    start: &'w mut ChannelStart,
    kept: Vec<ChannelEvent>,
    pause: Pause,
    lines: &'w mut mpsc::Receiver<Notice>,
}

impl WaitingUser<'_> {
    async fn wait(
        &mut self,
        visitor: &Arc<Visitor>,
        bastion: &Arc<Bastion>,
        wish: CommandWish,
        over: &CancellationToken,
    ) -> Ended {
        let mut question = match Question::ask(visitor, bastion, wish).await {
            Ok(question) => question,
            Err(failure) => return Ended::Refused { why: failure.to_string(), closed: false },
        };
        self.say(&question.told()).await;
        let ended = tokio::select! {
            biased;
            () = over.cancelled() => Err(NotRun::session_over()),
            end = farewell(self.lines) => {
                let (text, status, said) = end;
                question.close(&NotRun::session_over()).await;
                self.part(&text, status).await;
                let _ = said.send(());
                return Ended::Over;
            }
            ended = question.answered(&self.pause) => ended,
            () = withdrawn(&mut self.start.source, self.start.terminal.is_some(), &mut self.kept) => {
                Err(NotRun::withdrawn(visitor))
            }
        };
        let Err(no) = ended else { return Ended::Approved(Box::new(question)) };
        question.close(&no).await;
        if over.is_cancelled() { Ended::Over } else { Ended::Refused { why: no.why, closed: true } }
    }

    /// Says something to whoever waits, on standard error.
    async fn say(&self, text: &str) {
        let end = if self.start.terminal.is_some() { "\r\n" } else { "\n" };
        let text = format!("doorward: {text}\n").replace('\n', end);
        let _ = timeout(CLOSE_TIMEOUT, self.start.sink.send(ChannelEvent::Stderr(Bytes::from(text)))).await;
    }

    /// Says the last word, and closes the channel.
    async fn part(&self, text: &str, status: u32) {
        self.say(text).await;
        let closing = async {
            for event in [ChannelEvent::Exit(Exit::Status(status)), ChannelEvent::Eof, ChannelEvent::Close] {
                if self.start.sink.send(event).await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

/// A command that waits for somebody's yes. It waits for as long as this is there: whoever waits may be gone at any moment,
/// and nobody is to say yes then, or to be told that they did in time.
pub(in crate::session) struct Question {
    id: RequestId,
    bastion: Arc<Bastion>,
    held: HeldCommand,
    policy: PolicyHash,
    changes: watch::Receiver<RequestState>,
}

impl Drop for Question {
    fn drop(&mut self) {
        // Closed, or its yes used: the usual case.
        if self.bastion.requests.command(&self.id).is_none() {
            return;
        }
        // Without a runtime the server is stopping, and what waits in memory with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (requests, id, NotRun { result, why, by }) =
            (Arc::clone(&self.bastion.requests), self.id.clone(), NotRun::session_over());
        runtime.spawn_blocking(move || requests.close_command(&id, result, &why, &by));
    }
}

/// Why what has waited does not run.
pub(in crate::session) struct NotRun {
    result: &'static str,
    /// In words.
    pub why: String,
    by: String,
}

impl NotRun {
    fn by_us(result: &'static str, why: impl Into<String>) -> Self {
        Self { result, why: why.into(), by: String::from("the bastion") }
    }

    /// The session has ended.
    pub fn session_over() -> Self {
        Self::by_us("refused", "the session is over")
    }

    /// Nobody has answered in time.
    pub fn too_late() -> Self {
        Self::by_us("expired", "nobody has said yes in time")
    }

    /// Its user has given it up.
    pub fn withdrawn(visitor: &Visitor) -> Self {
        let why = String::from("you withdrew it");
        Self { result: "withdrawn", why, by: visitor.user.user().to_string() }
    }
}

impl Question {
    /// Puts it on record, and asks those who may say yes.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub async fn ask(visitor: &Arc<Visitor>, bastion: &Arc<Bastion>, wish: CommandWish) -> Result<Self, RequestError> {
        let (id, policy) = (wish.judged.decision.clone(), wish.policy.clone());
        let (held, changes) = hold(visitor, bastion, wish).await?;
        say_to_approvers(bastion, &held);
        Ok(Self { id, bastion: Arc::clone(bastion), held, policy, changes })
    }

    /// What whoever waits reads.
    pub fn told(&self) -> String {
        told::waits(&self.held, self.bastion.clock.now())
    }

    /// Until when it waits.
    pub fn until(&self) -> Timestamp {
        self.held.request.pending_until
    }

    /// The decision.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Ready once enough people have said yes; or once it cannot run any more. May be dropped while it waits.
    ///
    /// # Errors
    /// `NotRun`, which is to be closed with.
    pub async fn answered(&mut self, pause: &Pause) -> Result<(), NotRun> {
        decided(&self.bastion, &self.id, &self.policy, pause, &mut self.changes).await
    }

    /// Has it wait no longer, and puts on record why.
    pub async fn close(&self, NotRun { result, why, by }: &NotRun) {
        close(&self.bastion, self.id.clone(), result, why.clone(), by.clone()).await;
    }
}

/// Puts it on record, and asks those who may say yes.
pub(super) async fn hold(
    visitor: &Arc<Visitor>,
    bastion: &Arc<Bastion>,
    wish: CommandWish,
) -> Result<(HeldCommand, watch::Receiver<RequestState>), RequestError> {
    let (visitor, requests) = (Arc::clone(visitor), Arc::clone(&bastion.requests));
    let holding = tokio::task::spawn_blocking(move || {
        requests.hold_command(Actor { asker: visitor.asker(), source: &visitor.source }, wish)
    });
    holding.await.unwrap_or(Err(RequestError::NoRandomness))
}

/// Has it wait no longer, and puts on record why.
pub(super) async fn close(bastion: &Arc<Bastion>, id: RequestId, result: &'static str, why: String, by: String) {
    let requests = Arc::clone(&bastion.requests);
    let _ = tokio::task::spawn_blocking(move || requests.close_command(&id, result, &why, &by)).await;
}

/// Tells approvers who have a live session.
pub(super) fn say_to_approvers(bastion: &Bastion, held: &HeldCommand) {
    let request = &held.request;
    let text = format!(
        "{} asks to run a command at {}. ssh USER@BASTION show {}",
        request.requester, request.destination, request.id
    );
    let is_told = |user: &UserName| request.quorum.reviewers.contains(user);
    for live in bastion.sessions.list().into_iter().filter(|live| is_told(&live.user)) {
        bastion.sessions.say(&live.id, text.clone());
    }
}

/// Ready once enough people have said yes; or once it cannot run any more, with what becomes of it, why and by whom.
pub(super) async fn decided(
    bastion: &Bastion,
    id: &RequestId,
    policy: &PolicyHash,
    pause: &Pause,
    changes: &mut watch::Receiver<RequestState>,
) -> Result<(), NotRun> {
    loop {
        let state = bastion.requests.command_state(id);
        match state {
            Some(RequestState::Pending) => {}
            Some(RequestState::Approved { .. }) => return Ok(()),
            Some(RequestState::Denied) => {
                return Err(NotRun::by_us("denied", denied_by(bastion, id)));
            }
            Some(RequestState::Cancelled) => {
                let (why, by) = (String::from("it was withdrawn"), String::from("its requester"));
                return Err(NotRun { result: "withdrawn", why, by });
            }
            Some(RequestState::Expired) => {
                return Err(NotRun::by_us("expired", "nobody has said yes in time"));
            }
            Some(RequestState::Granted { .. } | RequestState::Superseded) | None => {
                return Err(NotRun::by_us("refused", "it waits no longer"));
            }
        }
        if bastion.ledger.policy().hash() != policy {
            return Err(NotRun::by_us("refused", "the rules have changed since it was asked"));
        }
        if pause.is_on() {
            return Err(NotRun::by_us("refused", "the session is paused"));
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep(LOOK) => {}
        }
    }
}

/// Who said no, and in which words.
fn denied_by(bastion: &Bastion, id: &RequestId) -> String {
    let held = bastion.requests.command(id);
    let no = held.and_then(|held| held.request.reviews.into_iter().find(|review| review.verdict == Verdict::Deny));
    match no {
        Some(review) if review.note.is_empty() => format!("{} denied it", review.by),
        Some(review) => format!("{} denied it: {}", review.by, review.note),
        None => String::from("it was denied"),
    }
}

/// Ready once the user gives it up: by Ctrl-C, a signal, or leaving. On a terminal what is typed otherwise is dropped;
/// what is piped in is for the program.
async fn withdrawn(source: &mut UserSource, terminal: bool, kept: &mut Vec<ChannelEvent>) {
    while kept.len() < KEPT_MAX {
        match source.next().await {
            None | Some(ChannelEvent::Close | ChannelEvent::Signal(_) | ChannelEvent::Break(_)) => return,
            Some(ChannelEvent::Data(data)) if terminal => {
                if data.contains(&INTERRUPT) {
                    return;
                }
                source.credit().consumed(data.len());
            }
            Some(
                event @ (ChannelEvent::Data(_)
                | ChannelEvent::Stderr(_)
                | ChannelEvent::Eof
                | ChannelEvent::Resize(_)
                | ChannelEvent::EndOfWrite
                | ChannelEvent::Exit(_)),
            ) => kept.push(event),
        }
    }
    std::future::pending().await
}

/// The last line that whoever waits is told.
async fn farewell(lines: &mut mpsc::Receiver<Notice>) -> (String, u32, oneshot::Sender<()>) {
    loop {
        match lines.recv().await {
            Some(Notice::Farewell { text, status, said }) => return (text, status, said),
            Some(Notice::Line(_)) => {}
            None => return std::future::pending().await,
        }
    }
}
