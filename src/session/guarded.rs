//! Carries a shell whose lines are held until they are judged: what stands between its two ends and the relay.
//!
//! One task reads both ends. What it lets through reaches the relay as two sources, so all of it is recorded on its way, as
//! are the lines of the bastion's own that it puts between the target's. What a key waits for is waited for beside it: output
//! goes on meanwhile.

mod exact;
mod probe;
mod way;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::command::{Decision, Keeper, Standing, decide, observe};
use crate::cast::Entry;
use crate::guard::{Answer, Guard, LineRead, Question, Step};
use crate::inspect::{Credits, EVENTS_MAX, Inspected};
use crate::model::{ChannelEvent, TerminalSize};
use crate::screen::Size;
use crate::wire::channel::{Sink, Source};
use exact::Exact;
pub(super) use probe::{Begun, Told, begin};
pub(super) use way::Gate;
use way::{Arrived, Mark, Way};

/// So much of what the target shows is read in one go.
const SHOWN_AT_ONCE: usize = 512;
/// Ctrl-C.
const INTERRUPT: u8 = 3;
/// Lines for the user that wait while something is decided.
pub const LINES_MAX: usize = 4;
/// So much that was typed may wait for a shell.
const HELD_BYTES_MAX: usize = 64 * 1024;
/// Lines that go by and wait to be put on record.
const READS_MAX: usize = 64;

/// Lines that have reached the target, or not, and wait to be told of.
const ARRIVED_MAX: usize = 16;

/// Stands between a shell's two ends and the relay: what the user sends that may go on, and what the user is shown. What
/// goes to the target goes through the gate.
pub(super) fn inspect<U, T, K>(
    user: U,
    (target, sink): (T, K),
    size: TerminalSize,
    within: Option<&str>,
    (keeper, lines): (Keeper, mpsc::Receiver<String>),
    told: Option<(Box<Told>, K)>,
) -> (Inspected, Inspected, Gate<K>)
where
    U: Source + 'static,
    T: Source + 'static,
    K: Sink + Clone + 'static,
{
    let (arrived, arrivals) = mpsc::channel(ARRIVED_MAX);
    let way = Way::default();
    let gate = Gate { sink, way: way.clone(), arrived, bastion: Arc::clone(&keeper.bastion) };
    let (up, asked) = mpsc::channel(EVENTS_MAX);
    let (down, answered) = mpsc::channel(EVENTS_MAX);
    let (user_credit, target_credit) = (Credits::of(&user), Credits::of(&target));
    let size = Size::bounded(size.cols, size.rows);
    let keeper = Arc::new(keeper);
    let (reads, read) = mpsc::channel(READS_MAX);
    if keeper.watches {
        // It ends with the last line: what was read is put on record even if the channel is over by then.
        tokio::spawn(observe(Arc::clone(&keeper), read));
    }
    let began = told.as_ref().map_or_else(Instant::now, |(told, _)| told.began);
    let exact = told
        .map(|(told, sink)| Exact::new(told.talk, told.steps, sink, keeper.pause.clone(), Arc::clone(&keeper.bastion)));
    let stage = Stage {
        guard: match within {
            None if keeper.watches => Guard::watching(size),
            None => Guard::new(size),
            Some(program) => Guard::within(size, program),
        },
        reads,
        keeper,
        began,
        up: VecDeque::new(),
        down: VecDeque::new(),
        user_credit: user_credit.clone(),
        target_credit: target_credit.clone(),
        deciding: None,
        standing: None,
        refusal: None,
        exact,
        way,
        resumes: false,
    };
    let task = tokio::spawn(stage.run(user, target, (up, down), (lines, arrivals))).abort_handle();
    (Inspected::new(asked, user_credit, task.clone()), Inspected::new(answered, target_credit, task), gate)
}

/// A line that is being judged.
struct Deciding {
    decision: Pin<Box<dyn Future<Output = Decision> + Send>>,
    withdrawn: CancellationToken,
    of: Of,
}

/// Who waits for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A key that is held.
    Key,
    /// The shell, which has said its line.
    Shell,
    /// The user, whose key went nowhere since the shell would not say what it runs.
    Unsaid,
    /// Nobody any more.
    Nobody,
}

struct Stage {
    guard: Guard,
    /// Lines that go by, on their way into the records.
    reads: mpsc::Sender<LineRead>,
    keeper: Arc<Keeper>,
    began: Instant,
    /// On its way to the target, and to the user.
    up: VecDeque<ChannelEvent>,
    down: VecDeque<ChannelEvent>,
    user_credit: Credits,
    target_credit: Credits,
    deciding: Option<Deciding>,
    /// By what a key goes on that was let run just now.
    standing: Option<Box<Standing>>,
    /// What the user is told once the line is gone.
    refusal: Option<String>,
    /// The shell, if it says its lines itself.
    exact: Option<Exact>,
    way: Way,
    /// The next bytes of our own give up a line that did not run.
    resumes: bool,
}

/// What has happened.
enum Happened {
    User(Option<ChannelEvent>),
    Target(Option<ChannelEvent>),
    Decided(Decision),
    Line(String),
    Arrived(Arrived),
    Due,
    Sent,
    Told(Option<Arrived>),
    Over,
}

impl Stage {
    async fn run<U: Source, T: Source>(
        mut self,
        mut user: U,
        mut target: T,
        (up, down): (mpsc::Sender<ChannelEvent>, mpsc::Sender<ChannelEvent>),
        (mut lines, mut arrivals): (mpsc::Receiver<String>, mpsc::Receiver<Arrived>),
    ) {
        let (mut user_here, mut target_here) = (true, true);
        loop {
            // While the session stands still nothing is decided: what is typed waits where it is, and is read and judged
            // once the session goes on.
            let still = self.keeper.pause.is_on();
            if still {
                self.do_exact_steps().await;
            } else {
                self.do_steps().await;
            }
            let due = [self.guard.due(self.now()), self.exact_due()].into_iter().flatten().min();
            let due = due.filter(|_| !still).map(|due| self.began + due);
            let (tells, takes) = (self.exact.as_ref().is_some_and(Exact::tells), self.takes() && !still);
            let happened = tokio::select! {
                arrived = exact::told(&mut self.exact), if tells => Happened::Told(arrived),
                permit = up.reserve(), if !tells && !self.up.is_empty() => match (permit, self.up.pop_front()) {
                    (Ok(permit), Some(event)) => { permit.send(event); Happened::Sent }
                    (Ok(_) | Err(_), _) => Happened::Over,
                },
                permit = down.reserve(), if !self.down.is_empty() => match (permit, self.down.pop_front()) {
                    (Ok(permit), Some(event)) => { permit.send(event); Happened::Sent }
                    (Ok(_) | Err(_), _) => Happened::Over,
                },
                event = user.next(), if user_here && self.up.len() < EVENTS_MAX && takes => Happened::User(event),
                event = target.next(), if target_here && self.down.len() < EVENTS_MAX => Happened::Target(event),
                decision = decision(&mut self.deciding) => Happened::Decided(decision),
                Some(line) = lines.recv() => Happened::Line(line),
                Some(arrived) = arrivals.recv() => Happened::Arrived(arrived),
                () = self.keeper.pause.over(), if still => Happened::Due,
                () = sleep_until(due.unwrap_or(self.began)), if due.is_some() => Happened::Due,
            };
            match happened {
                Happened::Sent | Happened::Due => {}
                Happened::Told(arrived) => self.was_told(arrived).await,
                Happened::Over => return,
                Happened::User(event) => user_here &= self.user_sends(event),
                Happened::Target(event) => {
                    if event.is_none() {
                        self.tell("the target closed the connection. Session closed.", "").await;
                    }
                    target_here &= self.target_sends(event).await;
                }
                Happened::Decided(decision) => self.decided(decision).await,
                Happened::Line(line) => self.tell_while_waiting(&line).await,
                Happened::Arrived(arrived) => self.arrived(arrived),
            }
            if !user_here && !target_here && self.up.is_empty() && self.down.is_empty() && self.deciding.is_none() {
                return;
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether more of what the user types has room.
    fn takes(&self) -> bool {
        let held = self.exact.as_ref().map_or(0, Exact::held);
        (self.guard.takes() && held < HELD_BYTES_MAX) || self.is_waiting()
    }

    /// Whether a line waits for somebody's yes.
    fn is_waiting(&self) -> bool {
        self.deciding.is_some() && self.keeper.waits.load(Ordering::SeqCst)
    }

    /// Takes what the user has sent; says whether more may come.
    fn user_sends(&mut self, event: Option<ChannelEvent>) -> bool {
        let event = event.unwrap_or(ChannelEvent::Close);
        match event {
            ChannelEvent::Data(bytes) if self.is_waiting() => {
                if bytes.contains(&INTERRUPT) {
                    self.withdraw();
                }
                self.user_credit.dropped(bytes.len());
                true
            }
            ChannelEvent::Data(bytes) => {
                self.typed(&bytes);
                true
            }
            // A shell on a terminal has no other input than that.
            ChannelEvent::Stderr(bytes) => {
                self.user_credit.dropped(bytes.len());
                true
            }
            ChannelEvent::Resize(size) => {
                self.guard.resized(Size::bounded(size.cols, size.rows));
                self.sends(event, Mark::Plain);
                true
            }
            ChannelEvent::Signal(_) | ChannelEvent::Break(_) => {
                if self.is_waiting() {
                    self.withdraw();
                } else {
                    self.sends(event, Mark::Plain);
                }
                true
            }
            ChannelEvent::Eof | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_) => {
                self.sends(event, Mark::Plain);
                true
            }
            ChannelEvent::Close => {
                self.withdraw();
                self.sends(event, Mark::Plain);
                false
            }
        }
    }

    /// Nobody waits any more for what is being decided.
    fn withdraw(&self) {
        if let Some(deciding) = &self.deciding {
            deciding.withdrawn.cancel();
        }
    }

    /// Takes what the target has sent; says whether more may come.
    async fn target_sends(&mut self, event: Option<ChannelEvent>) -> bool {
        let event = event.unwrap_or(ChannelEvent::Close);
        if matches!(&event, ChannelEvent::Data(bytes) if self.exact_output(bytes)) {
            return true;
        }
        if let ChannelEvent::Data(bytes) | ChannelEvent::Stderr(bytes) = &event {
            self.shown(bytes).await;
        }
        let more = event != ChannelEvent::Close;
        self.down.push_back(event);
        more
    }

    /// The guard reads what the target shows. A few bytes may clear a large screen, over and over: others have their turn in
    /// between (threats T24).
    async fn shown(&mut self, bytes: &[u8]) {
        let mut slices = bytes.chunks(SHOWN_AT_ONCE).peekable();
        while let Some(slice) = slices.next() {
            let now = self.now();
            self.guard.shown(slice, now);
            if slices.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn do_steps(&mut self) {
        self.do_exact_steps().await;
        // While the shell's line is judged, no key is.
        while self.deciding.as_ref().is_none_or(|deciding| deciding.of == Of::Key)
            && let Some(step) = self.guard.step(self.now())
        {
            match step {
                Step::Send(bytes) => self.pass_on(&bytes, Mark::Plain),
                // Without a verdict it would be a fault of ours: it goes nowhere then.
                Step::Run(bytes) => match self.standing.take() {
                    Some(standing) => self.pass_on(&bytes, Mark::Runs(standing)),
                    None => self.user_credit.dropped(bytes.len()),
                },
                Step::SendOwn(bytes) => {
                    self.user_credit.own(bytes.len());
                    let mark = if std::mem::take(&mut self.resumes) { Mark::Resumes } else { Mark::Plain };
                    self.sends(ChannelEvent::Data(Bytes::from(bytes)), mark);
                }
                Step::Drop(bytes) => self.user_credit.dropped(bytes),
                Step::Judge(question) => {
                    self.note_unreported().await;
                    self.decide(question, Of::Key);
                }
                // Full, it waits until what was read before is on record.
                Step::Read(read) => drop(self.reads.send(read).await),
                Step::Wiped { gone, prompt } => self.tell_of_refusal(gone, &prompt).await,
                Step::Gap(gap) => self.keeper.gap(gap).await,
            }
        }
        self.hand_over();
    }

    /// One more event goes the way to the target.
    fn sends(&mut self, event: ChannelEvent, mark: Mark) {
        self.way.sets_out(mark);
        self.up.push_back(event);
    }

    fn decide(&mut self, question: Question, of: Of) {
        self.standing = None;
        let withdrawn = CancellationToken::new();
        let decision = Box::pin(decide(Arc::clone(&self.keeper), question, withdrawn.clone()));
        self.deciding = Some(Deciding { decision, withdrawn, of });
    }

    async fn decided(&mut self, decision: Decision) {
        let of = self.deciding.take().map_or(Of::Nobody, |deciding| deciding.of);
        let now = self.now();
        match (of, decision) {
            (Of::Key, Decision::Runs(started, mut standing)) => {
                standing.depth = self.guard.depth();
                self.standing = Some(standing);
                self.guard.answer(Answer::Run(started), now);
            }
            (Of::Key, Decision::Refused(text)) => {
                self.refusal = Some(text);
                self.guard.answer(Answer::Refuse, now);
            }
            (Of::Shell, Decision::Runs(started, standing)) => self.runs(started, standing).await,
            (Of::Shell, Decision::Refused(text)) => self.refused(&text).await,
            (Of::Unsaid, Decision::Refused(text)) => self.tell_while_waiting(&text).await,
            (Of::Nobody | Of::Unsaid, Decision::Runs(..)) => {
                let marker = "the shell does not wait any more for the line that was allowed last: it did not run";
                let _ = self.keeper.track.append(Entry::Marker(marker.into())).await;
            }
            (Of::Nobody, Decision::Refused(_)) => {}
        }
        self.decide_waiting();
    }

    /// A line that was let run has reached the target, or has not.
    fn arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Runs(standing) => drop(tokio::spawn(Arc::clone(&self.keeper).ran(standing))),
            Arrived::Late(standing) => {
                // What was asked about a line behind it is about none any more.
                if self.deciding.as_ref().is_some_and(|deciding| deciding.of == Of::Key) {
                    self.withdraw();
                    self.deciding = None;
                }
                (self.standing, self.resumes) = (None, true);
                let (depth, now) = (standing.depth, self.now());
                self.refusal = Some(standing.told_late());
                // It ends with its line: what has not run is on record even if the channel is over by then.
                tokio::spawn(Arc::clone(&self.keeper).late(standing));
                self.guard.not_run(depth, now);
            }
        }
    }

    async fn tell_of_refusal(&mut self, gone: bool, prompt: &str) {
        // A line that changed while it was judged is refused by nobody's word.
        let mut text =
            self.refusal.take().unwrap_or_else(|| String::from("refused  the line has changed while it was judged"));
        if !gone {
            text.push_str("\n         the shell may still have the line: press Ctrl-C before you go on");
        }
        self.tell(&text, prompt).await;
    }

    /// Tells whoever waits, and shows the line again for which they wait.
    async fn tell_while_waiting(&mut self, text: &str) {
        let line = self.guard.line_shown();
        self.tell(text, &line).await;
    }

    /// Shows lines of our own, then the line again that is drawn here. The target knows nothing of them.
    async fn tell(&mut self, text: &str, drawn: &str) {
        let text = format!("\r\ndoorward: {}\r\n{drawn}", text.replace('\n', "\r\n"));
        let bytes = Bytes::from(text);
        // If that fails the relay finds it, too.
        let _ = self.keeper.track.append(Entry::Marker("the next output is the bastion's own".into())).await;
        self.target_credit.own(bytes.len());
        self.down.push_back(ChannelEvent::Data(bytes));
    }
}

/// What was decided, or never.
async fn decision(deciding: &mut Option<Deciding>) -> Decision {
    match deciding {
        Some(deciding) => deciding.decision.as_mut().await,
        None => std::future::pending().await,
    }
}
