//! A shell that says its lines itself: what it reports is judged as what is read from a screen, and it waits meanwhile.
//!
//! While it stands at its prompt keys go to it as they are typed, and it says what an Enter runs. While anything else has
//! the terminal, or once it has run a line that it had not said, the screen is read as of any other shell. What it is told
//! goes past the records, since it has the secrets; what it says is in the recording, without them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::Bastion;
use super::super::command::Standing;
use super::way::{Arrived, Mark};
use super::{Of, Stage};
use crate::cast::Entry;
use crate::gate;
use crate::guard::integration::{Phase, Step, Talk, Unreadable, Unsaid, Verdict};
use crate::guard::{Confidence, Gap, LineRead, Question, Started};
use crate::model::ChannelEvent;
use crate::relay::Pause;
use crate::screen;
use crate::session::promise::Reads;
use crate::wire::channel::Sink;

/// What speaks for a shell without its secret is put on record so often; then only dropped.
const FORGED_NOTED_MAX: u32 = 20;

type Telling = Pin<Box<dyn Future<Output = Option<Arrived>> + Send>>;

/// What a shell that waits is told.
enum Word {
    /// This, whatever happens.
    Plain(Vec<u8>),
    /// That its line runs; or that it does not, if what it was judged by is not so any more.
    Runs { runs: Vec<u8>, refused: Vec<u8>, standing: Box<Standing> },
}

/// What a shell that says its lines is carried with.
pub(super) struct Exact {
    pub talk: Talk,
    /// What is to be done, in order.
    pub steps: VecDeque<Step>,
    /// Sends the shell something that goes past the records.
    tell: Box<dyn Fn(Word) -> Telling + Send>,
    telling: VecDeque<Telling>,
    /// What was typed while a line is judged: it is for what that starts.
    pub later: Vec<u8>,
    /// What waits until another is judged, and who for that.
    waiting: Option<(Question, Of)>,
    /// What its user was told of how lines are read.
    reads: Reads,
    /// Whether it has said that it says its lines.
    speaks: bool,
    /// Whether it has announced a prompt at which no key was pressed yet.
    fresh: bool,
    /// Whether keys have gone to the target since the last line was let run: they may stand at the prompt to come.
    ahead: bool,
    forged: u32,
}

impl Exact {
    pub(super) fn new<K: Sink + Clone + 'static>(
        talk: Talk,
        steps: Vec<Step>,
        sink: K,
        pause: Pause,
        bastion: Arc<Bastion>,
    ) -> Self {
        let tell = move |word: Word| -> Telling {
            let (sink, pause, bastion) = (sink.clone(), pause.clone(), Arc::clone(&bastion));
            Box::pin(async move {
                // In a session that stands still nothing begins.
                pause.over().await;
                let (bytes, arrived) = match word {
                    Word::Plain(bytes) => (bytes, None),
                    Word::Runs { runs, standing, .. } if standing.holds(bastion.ledger.policy().hash()) => {
                        (runs, standing.is_acted_on().then_some(Arrived::Runs(standing)))
                    }
                    Word::Runs { refused, standing, .. } => (refused, Some(Arrived::Late(standing))),
                };
                let _ = sink.send(ChannelEvent::Data(Bytes::from(bytes))).await;
                arrived
            })
        };
        Self {
            talk,
            steps: steps.into(),
            tell: Box::new(tell),
            telling: VecDeque::new(),
            later: Vec::new(),
            waiting: None,
            reads: Reads::Exact,
            speaks: false,
            fresh: false,
            ahead: false,
            forged: 0,
        }
    }

    fn tell(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.telling.push_back((self.tell)(Word::Plain(bytes)));
        }
    }

    fn tell_to_run(&mut self, runs: Vec<u8>, standing: Box<Standing>) {
        if !runs.is_empty() {
            let refused = self.talk.refusal();
            self.telling.push_back((self.tell)(Word::Runs { runs, refused, standing }));
        }
    }

    /// Whether the shell is to be told something: nothing that was typed after it may overtake it.
    pub(super) fn tells(&self) -> bool {
        !self.telling.is_empty()
    }

    /// So much that was typed waits here.
    pub(super) fn held(&self) -> usize {
        self.talk.held().saturating_add(self.later.len())
    }
}

/// Ready once the shell was told the next thing, or never.
pub(super) async fn told(exact: &mut Option<Exact>) -> Option<Arrived> {
    match exact.as_mut().and_then(|exact| exact.telling.front_mut()) {
        Some(telling) => telling.await,
        None => std::future::pending().await,
    }
}

impl Stage {
    /// The shell was told the first of what it is to be told.
    pub(super) async fn was_told(&mut self, arrived: Option<Arrived>) {
        if let Some(exact) = &mut self.exact {
            exact.telling.pop_front();
        }
        match arrived {
            Some(Arrived::Runs(standing)) => drop(tokio::spawn(Arc::clone(&self.keeper).ran(standing))),
            Some(Arrived::Late(standing)) => self.was_told_late(standing).await,
            None => {}
        }
    }

    /// The shell was told that its line does not run, though it had been let: it stands at its prompt again.
    async fn was_told_late(&mut self, standing: Box<Standing>) {
        let text = standing.told_late();
        // It ends with its line: what has not run is on record even if the channel is over by then.
        tokio::spawn(Arc::clone(&self.keeper).late(standing));
        self.tell(&text, "").await;
        self.drop_typed();
        let ahead = self.guard.give_back().len();
        self.user_credit.dropped(ahead);
        self.guard.rests();
        if let Some(exact) = &mut self.exact {
            exact.talk.not_run();
        }
        self.now_read(Reads::Exact, "your shell says its lines itself").await;
    }

    /// Nothing that was typed behind a refused line was meant for what comes now.
    fn drop_typed(&mut self) {
        if let Some(exact) = &mut self.exact {
            let dropped = exact.talk.drop_held().saturating_add(std::mem::take(&mut exact.later).len());
            self.user_credit.dropped(dropped);
        }
    }

    /// Takes what the target has sent; false if it has no shell that says its lines.
    pub(super) fn exact_output(&mut self, bytes: &[u8]) -> bool {
        let now = self.now();
        let Some(exact) = &mut self.exact else { return false };
        let steps = exact.talk.on_output(bytes, now);
        let lengths = steps.iter().map(|step| if let Step::Show(bytes) = step { bytes.len() } else { 0 });
        let shown = lengths.fold(0_usize, usize::saturating_add);
        exact.steps.extend(steps);
        // What is held back was given leave for, and is nobody's once it is shown.
        if shown < bytes.len() {
            self.target_credit.dropped(bytes.len() - shown);
        } else {
            self.target_credit.own(shown - bytes.len());
        }
        true
    }

    /// Takes what the user has typed.
    pub(super) fn typed(&mut self, bytes: &[u8]) {
        let now = self.now();
        let judging = matches!(&self.deciding, Some(deciding) if deciding.of == Of::Shell);
        let Some(exact) = &mut self.exact else { return self.guard.typed(bytes, now) };
        if judging || matches!(exact.waiting, Some((_, Of::Shell))) {
            exact.later.extend_from_slice(bytes);
        } else if exact.talk.at_prompt() && !self.guard.is_busy() {
            if std::mem::take(&mut exact.fresh) {
                self.guard.notes_prompt(now);
            }
            self.pass_on(bytes, Mark::Plain);
        } else if exact.talk.is_starting_line() {
            self.pass_on(bytes, Mark::Plain);
        } else {
            self.guard.typed(bytes, now);
        }
    }

    /// What was typed goes to the target, as far as its shell takes it now. What it does not take waits, and is judged anew.
    pub(super) fn pass_on(&mut self, bytes: &[u8], mark: Mark) {
        let now = self.now();
        let pass = match &mut self.exact {
            Some(exact) => {
                let at_prompt = exact.talk.at_prompt();
                let pass = exact.talk.push(bytes, now);
                exact.ahead |= !at_prompt && !pass.is_empty();
                pass
            }
            None => bytes.to_vec(),
        };
        if !pass.is_empty() {
            self.sends(ChannelEvent::Data(Bytes::from(pass)), mark);
        }
        if let Some(unsaid) = self.exact.as_mut().and_then(|exact| exact.talk.take_unsaid()) {
            self.refuse_unsaid(unsaid, now);
        }
    }

    /// A key that may run what the shell does not say has gone nowhere: that is put on record as of a line that is refused,
    /// and the user is told why.
    fn refuse_unsaid(&mut self, unsaid: Unsaid, now: Duration) {
        self.user_credit.dropped(unsaid.dropped);
        let read = self.guard.line_at_cursor(now);
        let question = Question { reads: vec![read], problem: Some(unsaid.why), echoed: true, context: None };
        match &mut self.exact {
            Some(exact) if self.deciding.is_some() => {
                exact.waiting = exact.waiting.take().or(Some((question, Of::Unsaid)))
            }
            Some(_) | None => self.decide(question, Of::Unsaid),
        }
    }

    /// When there is something to do though nothing has come.
    pub(super) fn exact_due(&self) -> Option<Duration> {
        self.exact.as_ref().and_then(|exact| exact.talk.due())
    }

    /// Does what the shell's reports ask for.
    pub(super) async fn do_exact_steps(&mut self) {
        let now = self.now();
        if let Some(exact) = &mut self.exact
            && exact.talk.due().is_some_and(|due| due <= now)
        {
            let steps = exact.talk.on_time(now);
            // It was held back, and leave was given for it.
            for step in &steps {
                if let Step::Show(bytes) = step {
                    self.target_credit.own(bytes.len());
                }
            }
            exact.steps.extend(steps);
        }
        while let Some(step) = self.exact.as_mut().and_then(|exact| exact.steps.pop_front()) {
            self.do_exact_step(step).await;
        }
        self.hand_over();
    }

    async fn do_exact_step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Show(bytes) => {
                self.shown(&bytes).await;
                self.down.push_back(ChannelEvent::Data(Bytes::from(bytes)));
            }
            Step::Send(bytes) => self.tell_shell(bytes),
            Step::Enters(Phase::Exact(_)) => {
                if let Some(exact) = &mut self.exact {
                    exact.speaks = true;
                }
                self.now_read(Reads::Exact, "your shell says its lines itself").await;
            }
            Step::Enters(Phase::Screen | Phase::Failed) => {
                // Before it has spoken, all keys have gone by here.
                if self.exact.as_ref().is_some_and(|exact| exact.speaks) {
                    self.guard.is_alone();
                }
                self.now_read(Reads::Screen, "your shell does not say its lines").await;
            }
            Step::Enters(Phase::Silent | Phase::Starting(_)) => {}
            Step::Judge(read) => self.reported(read, now).await,
            Step::Prompt => self.at_prompt().await,
            Step::Gap(gap) => self.keeper.gap(gap).await,
            Step::Forged => self.forged().await,
        }
    }

    fn tell_shell(&mut self, bytes: Vec<u8>) {
        if let Some(exact) = &mut self.exact {
            exact.tell(bytes);
        }
    }

    /// The shell has said a line, and waits.
    async fn reported(&mut self, read: Result<LineRead, Unreadable>, now: Duration) {
        self.forget_report();
        let problem = match &read {
            Ok(_) => None,
            Err(Unreadable::TooLong) => Some("the line is longer than any that is judged"),
            Err(Unreadable::NotText) => Some("the line is no text"),
        };
        let empty = || LineRead { line: String::new(), confidence: Confidence::Exact, at: now };
        let read = read.unwrap_or_else(|_| empty());
        // Blanks that are none to a shell would be a word.
        if problem.is_none() && read.line.trim_matches([' ', '\t', '\n']).is_empty() {
            self.guard.let_begin(Started::default(), now);
            return self.verdict(Verdict::Run);
        }
        if problem.is_none() && gate::shell::goes_on(&read.line) {
            return self.verdict(Verdict::More);
        }
        let marker = format!("the shell says its line: {}", screen::line(&read.line));
        // If that fails the relay finds it, too.
        let _ = self.keeper.track.append(Entry::Marker(marker)).await;
        let question = Question { reads: vec![read], problem, echoed: true, context: None };
        match &mut self.exact {
            Some(exact) if self.deciding.is_some() => exact.waiting = Some((question, Of::Shell)),
            Some(_) | None => self.decide(question, Of::Shell),
        }
    }

    /// Nobody waits any more for what the shell had said.
    fn forget_report(&mut self) {
        if let Some(exact) = &mut self.exact {
            exact.waiting = exact.waiting.take().filter(|(_, of)| *of != Of::Shell);
        }
        if let Some(deciding) = self.deciding.as_mut().filter(|deciding| deciding.of == Of::Shell) {
            deciding.of = Of::Nobody;
            deciding.withdrawn.cancel();
        }
    }

    /// A decision is over: the shell's line that waited for that is judged.
    pub(super) fn decide_waiting(&mut self) {
        if self.deciding.is_none()
            && let Some((question, of)) = self.exact.as_mut().and_then(|exact| exact.waiting.take())
        {
            self.decide(question, of);
        }
    }

    /// The shell's line is let run, and starts this.
    pub(super) async fn runs(&mut self, started: Started, standing: Box<Standing>) {
        if let Some(program) = started.nested.clone() {
            let why = format!("lines at the prompt of {program} are not said by your shell");
            self.now_read(Reads::Screen, &why).await;
        }
        let now = self.now();
        self.guard.let_begin(started, now);
        if let Some(exact) = &mut self.exact {
            let runs = exact.talk.answer(Verdict::Run, now);
            exact.tell_to_run(runs, standing);
            let later = std::mem::take(&mut exact.later);
            self.typed(&later);
        }
    }

    /// The shell's line is refused: its user is told why, then it is emptied.
    pub(super) async fn refused(&mut self, text: &str) {
        self.tell(text, "").await;
        self.drop_typed();
        self.verdict(Verdict::Refuse);
    }

    fn verdict(&mut self, verdict: Verdict) {
        let now = self.now();
        if let Some(exact) = &mut self.exact {
            let bytes = exact.talk.answer(verdict, now);
            exact.tell(bytes);
        }
    }

    /// The shell is about to show its prompt.
    async fn at_prompt(&mut self) {
        self.forget_report();
        let Some(exact) = &mut self.exact else { return };
        exact.fresh = !std::mem::take(&mut exact.ahead);
        let exact = matches!(exact.talk.phase(), Phase::Exact(_));
        // Of one that has run a line unsaid, the screen is the better witness.
        if exact {
            self.guard.rests();
            self.now_read(Reads::Exact, "your shell says its lines itself").await;
        }
    }

    /// What was typed is where it belongs: with the shell that says what it runs, or with who reads the screen.
    pub(super) fn hand_over(&mut self) {
        let now = self.now();
        let Some(exact) = &mut self.exact else { return };
        if exact.talk.at_prompt() {
            let ahead = self.guard.give_back();
            exact.fresh &= ahead.is_empty() && exact.talk.held() == 0;
            return self.pass_on(&ahead, Mark::Plain);
        }
        let held = exact.talk.give_back();
        if !held.is_empty() {
            self.guard.typed(&held, now);
        }
    }

    /// Tells the user and the recording if lines are read in another way from now on.
    async fn now_read(&mut self, reads: Reads, why: &str) {
        let Some(exact) = self.exact.as_mut().filter(|exact| exact.reads != reads) else { return };
        exact.reads = reads;
        let text = format!("{reads} from here: {why}");
        let _ = self.keeper.track.append(Entry::Marker(text.clone())).await;
        self.keeper.reads(reads, why).await;
        let line = self.guard.line_shown();
        self.tell(&text, &line).await;
    }

    /// A line is asked about that was typed at a shell's prompt, which the shell that says its lines has not announced.
    pub(super) async fn note_unreported(&mut self) {
        let away = matches!(&self.exact, Some(exact)
            if exact.reads == Reads::Exact && matches!(exact.talk.phase(), Phase::Exact(_)) && !exact.talk.at_prompt());
        if away && self.guard.asks_at_a_shell() {
            self.keeper.gap(Gap::Unreported).await;
            self.now_read(Reads::Screen, "this prompt is none of the shell that says its lines").await;
        }
    }

    async fn forged(&mut self) {
        let Some(exact) = &mut self.exact else { return };
        exact.forged = exact.forged.saturating_add(1);
        if exact.forged <= FORGED_NOTED_MAX {
            let marker = "output that speaks for the shell without its secret was dropped";
            let _ = self.keeper.track.append(Entry::Marker(marker.into())).await;
        }
    }
}
