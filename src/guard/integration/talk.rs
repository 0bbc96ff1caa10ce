//! The talk with an integrated shell, from its first word on: what is sent to it, what of the user's keys it gets when, and
//! whether it still says everything.

use std::time::Duration;

use super::unsaid::{First, first};
use super::{KNOCKED, Piece, Report, Reports, Secrets, Shell, Unreadable, Verdict, answer};
use crate::gate::LINE_BYTES_MAX;
use crate::guard::keys::More;
use crate::guard::{Confidence, Gap, LineRead};

/// The start text says so soon that it is there; else the channel is opened anew, as a plain shell.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// So soon after it the shell reports; else its lines are read from the screen until it does.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// So long nothing follows an Enter that may be about to be reported.
const HOLD_MAX: Duration = Duration::from_millis(500);
/// A key comes in one piece, or nearly so.
const KEY_WAIT: Duration = Duration::from_millis(25);
/// What begins like a report is held back for so long.
const RELEASE_AFTER: Duration = Duration::from_millis(100);
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// How far a shell is integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been heard of it; the user's keys wait.
    Silent,
    /// It was told how to report, and has not yet.
    Starting(Shell),
    /// It reports.
    Exact(Shell),
    /// It cannot be integrated, or has begun a line unreported: its lines are read from the screen.
    Screen,
    /// Nothing was heard of it in time.
    Failed,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The user is shown this.
    Show(Vec<u8>),
    /// The target is sent this.
    Send(Vec<u8>),
    /// From now on it is in this phase.
    Enters(Phase),
    /// The shell waits for [`Talk::answer`] about this line, with those before it that it continues.
    Judge(Result<LineRead, Unreadable>),
    /// A prompt is about to be shown: the shell is at rest.
    Prompt,
    /// Something may have run that nobody has read.
    Gap(Gap),
    /// Somebody has tried to speak for the shell; nothing came of it.
    Forged,
}

/// What becomes of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// These go to the target; the others wait.
    pub pass: Vec<u8>,
    /// The user wants the line back about which nothing is said yet.
    pub withdrawn: bool,
}

/// A key that may run what the shell does not say: it went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsaid {
    /// Why.
    pub why: &'static str,
    /// So many bytes of it, and behind it, are gone.
    pub dropped: usize,
}

/// The talk with one shell.
#[derive(Debug)]
pub struct Talk {
    secrets: Secrets,
    reports: Reports,
    phase: Phase,
    /// What it has said to be.
    shell: Option<Shell>,
    /// Whether a line has begun that it had not reported.
    broken: bool,
    /// When this phase is over.
    due: Option<Duration>,
    place: Place,
    /// What the shell has taken of a line that goes on.
    taken: String,
    /// What is judged.
    asked: Option<Result<String, Unreadable>>,
    /// Keys that wait.
    held: Vec<u8>,
    /// When the last of them came; and until when the first of them may be a part of one.
    came: Duration,
    whole_at: Option<Duration>,
    /// What the target has had last.
    last: Option<u8>,
    unsaid: Option<Unsaid>,
    /// Whether the keys are within a bracketed paste, and how much of the mark that ends or begins one has come.
    paste: Paste,
    /// Since when output is held back.
    holds_since: Option<Duration>,
}

/// Where the shell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Something else than its line editor has the terminal.
    Away,
    /// A line was let run, and has not begun.
    LetRun { until: Duration },
    /// At its prompt. Whether Enter, and no Ctrl-C, has come since.
    Prompt { entered: bool },
    /// Enter has gone to it.
    Entered { until: Duration },
    /// It waits for a verdict.
    Asking,
}

#[derive(Debug, Default)]
struct Paste {
    within: bool,
    matched: usize,
}

impl Talk {
    /// With a shell that was started by [`super::START`], at `at`.
    pub fn new(secrets: Secrets, at: Duration) -> Self {
        Self {
            reports: Reports::new(&secrets),
            secrets,
            phase: Phase::Silent,
            shell: None,
            broken: false,
            due: Some(at.saturating_add(HELLO_WITHIN)),
            place: Place::Away,
            taken: String::new(),
            asked: None,
            held: Vec::new(),
            came: at,
            whole_at: None,
            last: None,
            unsaid: None,
            paste: Paste::default(),
            holds_since: None,
        }
    }

    /// How far the shell is integrated.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the shell itself will say what the next Enter runs: no other reading is needed, and Enter need not be held.
    pub fn at_prompt(&self) -> bool {
        let Phase::Exact(_) = self.phase else { return false };
        match self.place {
            Place::Prompt { .. } | Place::Entered { .. } | Place::Asking => true,
            Place::Away | Place::LetRun { .. } => false,
        }
    }

    /// Whether the shell waits for [`Self::answer`].
    pub fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a line was let run that may end at once: keys wait for what comes.
    pub fn is_starting_line(&self) -> bool {
        matches!(self.place, Place::LetRun { .. })
    }

    /// So many keys wait.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The keys that wait, where the shell does not say what they run: they are for whoever reads the screen.
    pub fn give_back(&mut self) -> Vec<u8> {
        match self.takes() {
            Some(false) => std::mem::take(&mut self.held),
            Some(true) | None => Vec::new(),
        }
    }

    /// The keys that wait, which nobody wants any more.
    pub fn drop_held(&mut self) -> usize {
        std::mem::take(&mut self.held).len()
    }

    /// When [`Self::on_time`] has something to do.
    pub fn due(&self) -> Option<Duration> {
        let place = match self.place {
            Place::LetRun { until } | Place::Entered { until } => Some(until),
            Place::Away | Place::Prompt { .. } | Place::Asking => None,
        };
        let output = self.holds_since.map(|since| since.saturating_add(RELEASE_AFTER));
        let key = self.whole_at.filter(|_| self.takes() == Some(true));
        [self.due, place, output, key].into_iter().flatten().min()
    }

    /// The key that went nowhere since this was asked last, if any did.
    pub fn take_unsaid(&mut self) -> Option<Unsaid> {
        self.unsaid.take()
    }

    /// What the target has sent.
    pub fn on_output(&mut self, bytes: &[u8], at: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        for piece in self.reports.push(bytes) {
            match piece {
                Piece::Shown(bytes) => steps.push(Step::Show(bytes)),
                Piece::Forged => steps.push(Step::Forged),
                Piece::Report(report) => self.on_report(report, at, &mut steps),
            }
        }
        self.holds_since = self.reports.holds().then(|| self.holds_since.unwrap_or(at));
        steps
    }

    /// Time has passed. Keys that waited may go on: see [`Self::on_keys`] with none.
    pub fn on_time(&mut self, at: Duration) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.holds_since.is_some_and(|since| at >= since.saturating_add(RELEASE_AFTER)) {
            self.holds_since = None;
            steps.push(Step::Show(self.reports.release()));
        }
        if self.due.is_some_and(|due| at >= due) {
            let next = if self.phase == Phase::Silent { Phase::Failed } else { Phase::Screen };
            self.enter(next, None, &mut steps);
        }
        match self.place {
            Place::LetRun { until } if at >= until => self.place = Place::Away,
            // It was no Enter to the shell: quoted, or within a search.
            Place::Entered { until } if at >= until => self.place = Place::Prompt { entered: true },
            Place::LetRun { .. } | Place::Entered { .. } | Place::Away | Place::Prompt { .. } | Place::Asking => {}
        }
        steps
    }

    /// The user's next keys, behind those that wait. Those behind an Enter wait until the shell has said what it runs, so
    /// that they are not read as its verdict.
    pub fn on_keys(&mut self, bytes: &[u8], at: Duration) -> Keys {
        let mut keys = Keys::default();
        if self.asked.is_some() && bytes.contains(&0x03) {
            keys.withdrawn = true;
            self.held.clear();
            return keys;
        }
        keys.pass = self.push(bytes, at);
        keys
    }

    /// The same of keys among which none takes a line back.
    pub fn push(&mut self, bytes: &[u8], at: Duration) -> Vec<u8> {
        let mut pass = Vec::new();
        if !bytes.is_empty() {
            self.came = at;
        }
        self.held.extend_from_slice(bytes);
        self.whole_at = None;
        match self.phase {
            Phase::Silent | Phase::Failed => return pass,
            Phase::Starting(_) | Phase::Screen | Phase::Exact(_) => {}
        }
        let untold = self.unsaid.take();
        let waiting = std::mem::take(&mut self.held);
        let mut waiting = waiting.as_slice();
        while let Some(entered) = self.takes() {
            let length = if entered { self.key(waiting, at) } else { 1 };
            let Some((key, behind)) = waiting.split_at_checked(length).filter(|(key, _)| !key.is_empty()) else {
                break;
            };
            for byte in key {
                self.passes(*byte, entered, at);
            }
            pass.extend_from_slice(key);
            waiting = behind;
        }
        // Nothing behind a key that goes nowhere was meant for what comes now.
        if self.unsaid.is_none() {
            self.held = waiting.to_vec();
            self.unsaid = untold;
        }
        pass
    }

    /// The length of the first key, for a shell at its prompt; 0 if it does not pass now.
    fn key(&mut self, waiting: &[u8], at: Duration) -> usize {
        let (Phase::Exact(shell), false) = (self.phase, waiting.is_empty()) else { return waiting.len().min(1) };
        let whole_at = self.came.saturating_add(KEY_WAIT);
        let more = if at >= whole_at { More::Late } else { More::MayCome };
        match first(waiting, self.last, more, shell) {
            First::Passes(length) => length,
            First::Waits => {
                self.whole_at = Some(whole_at).filter(|_| more == More::MayCome);
                0
            }
            First::Never(why) => {
                self.unsaid = Some(Unsaid { why, dropped: waiting.len() });
                0
            }
        }
    }

    fn passes(&mut self, byte: u8, entered: bool, at: Duration) {
        self.last = Some(byte);
        let pasted = self.paste.next(byte);
        if entered && !pasted && matches!(byte, b'\r' | b'\n') {
            self.place = Place::Entered { until: at.saturating_add(HOLD_MAX) };
        }
        if entered && byte == 0x03 {
            self.place = Place::Prompt { entered: false };
        }
    }

    /// What becomes of the line that was asked about. To be sent to the target.
    pub fn answer(&mut self, verdict: Verdict, at: Duration) -> Vec<u8> {
        let Some(asked) = self.asked.take() else { return Vec::new() };
        self.place = match verdict {
            Verdict::Run => {
                self.taken = asked.unwrap_or_default();
                Place::LetRun { until: at.saturating_add(HOLD_MAX) }
            }
            Verdict::More | Verdict::Keep | Verdict::Refuse => Place::Prompt { entered: false },
        };
        verdict.bytes(&self.secrets)
    }

    /// What a shell is told in place of leave to run that it was to have: its line does not run. See [`Self::not_run`].
    pub fn refusal(&self) -> Vec<u8> {
        Verdict::Refuse.bytes(&self.secrets)
    }

    /// The shell was told [`Self::refusal`], though the answer was that its line runs.
    pub fn not_run(&mut self) {
        if matches!(self.place, Place::LetRun { .. }) {
            self.place = Place::Prompt { entered: false };
        }
    }

    /// Whether the target takes a key now; and whether Enter may be about to be reported.
    fn takes(&self) -> Option<bool> {
        match (self.phase, self.place) {
            (Phase::Silent | Phase::Failed, _) => None,
            (_, Place::Asking | Place::Entered { .. } | Place::LetRun { .. }) => None,
            (Phase::Exact(_), Place::Prompt { .. }) => Some(true),
            (Phase::Exact(_), Place::Away)
            | (Phase::Starting(_) | Phase::Screen, Place::Away | Place::Prompt { .. }) => Some(false),
        }
    }

    fn enter(&mut self, phase: Phase, due: Option<Duration>, steps: &mut Vec<Step>) {
        (self.phase, self.due) = (phase, due);
        steps.push(Step::Enters(phase));
    }

    fn on_report(&mut self, report: Report, at: Duration, steps: &mut Vec<Step>) {
        match report {
            Report::Hello { shell } => {
                // Later ones are anybody's.
                if self.phase != Phase::Silent {
                    steps.push(Step::Forged);
                    return;
                }
                steps.push(Step::Send(answer(shell, &self.secrets)));
                let phase = shell.map_or(Phase::Screen, Phase::Starting);
                self.enter(phase, shell.map(|_| at.saturating_add(READY_WITHIN)), steps);
                self.shell = shell;
            }
            Report::Ready => {
                if let (Some(shell), false) = (self.shell, self.broken) {
                    self.enter(Phase::Exact(shell), None, steps);
                }
            }
            Report::Unfit => {
                self.broken = true;
                if let Phase::Starting(_) | Phase::Exact(_) = self.phase {
                    self.enter(Phase::Screen, None, steps);
                }
            }
            Report::Prompt => {
                match self.place {
                    Place::Prompt { entered: true } | Place::Entered { .. } => self.gap(steps),
                    Place::Prompt { entered: false } | Place::Away | Place::LetRun { .. } | Place::Asking => {}
                }
                self.place = Place::Prompt { entered: false };
                self.taken.clear();
                // It waits no more: a verdict would be typed at its prompt.
                self.asked = None;
                steps.push(Step::Prompt);
            }
            Report::Knock => {
                steps.push(Step::Send(KNOCKED.to_vec()));
                self.place = Place::Entered { until: at.saturating_add(HOLD_MAX) };
            }
            Report::Line { line, continues } => {
                let whole = line.map(|line| match continues && !self.taken.is_empty() {
                    true => format!("{}\n{line}", self.taken),
                    false => line,
                });
                let whole = whole.and_then(|line| match line.len() > LINE_BYTES_MAX {
                    true => Err(Unreadable::TooLong),
                    false => Ok(line),
                });
                self.place = Place::Asking;
                self.asked = Some(whole.clone());
                steps.push(Step::Judge(whole.map(|line| LineRead { line, confidence: Confidence::Exact, at })));
            }
            Report::Ran => {
                match self.place {
                    Place::LetRun { .. } => self.place = Place::LetRun { until: at.saturating_add(HOLD_MAX) },
                    // It began without a verdict. What follows a verdict late is not told from that.
                    Place::Prompt { .. } | Place::Entered { .. } | Place::Asking => {
                        self.gap(steps);
                        self.place = Place::Away;
                    }
                    Place::Away => {}
                }
            }
        }
    }

    /// A line began that was not reported: whoever did that can do it again.
    fn gap(&mut self, steps: &mut Vec<Step>) {
        steps.push(Step::Gap(Gap::Unreported));
        if let Phase::Exact(_) = self.phase {
            self.broken = true;
            self.enter(Phase::Screen, None, steps);
        }
    }
}

impl Paste {
    /// Whether this key is pasted text.
    fn next(&mut self, byte: u8) -> bool {
        let mark = if self.within { PASTE_ENDS } else { PASTE_BEGINS };
        if mark.get(self.matched) == Some(&byte) {
            self.matched = self.matched.saturating_add(1);
            if self.matched == mark.len() {
                (self.within, self.matched) = (!self.within, 0);
            }
        } else {
            self.matched = usize::from(mark.first() == Some(&byte));
        }
        self.within
    }
}
