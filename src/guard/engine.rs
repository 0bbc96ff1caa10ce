//! What becomes of each key.

mod along;
mod completing;
mod exact;
mod wiping;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use self::along::Unshown;
use super::keys::{BEHIND_CTRL_X, Bracket, EDITOR, Key, Model, More, Scan, scan};
use super::programs::{Started, ends_program, looks_like_password};
use super::queue::Queue;
use super::reading::{PROMPTS_MAX, Prompt, Said, Witnesses, problem};
use super::{Answer, Confidence, Gap, LineRead, Question, Step};
use crate::screen::{Screen, Size};

/// An escape sequence comes in one piece, or nearly so.
const ESCAPE_WAIT: Duration = Duration::from_millis(25);
/// Output that pauses for so long has paused.
const QUIET: Duration = Duration::from_millis(40);
/// What a shell shows of a key it shows within so long, beside what the way takes.
const ECHO_WAIT: Duration = Duration::from_millis(400);
/// A key is held for so long at most until its line can be read.
const HELD_MAX: Duration = Duration::from_secs(3);
/// What is typed ahead waits so long at most for the prompt.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// A shell wipes a line within so long, or does not.
const WIPE_WAIT: Duration = Duration::from_millis(800);
/// While it waits for the screen it looks so often.
const LOOK: Duration = Duration::from_millis(10);
/// So much that was typed may wait for a verdict. The rest is left in the user's window.
const QUEUE_MAX: usize = 64 * 1024;
/// A line that changes while it is judged is judged again so often.
const ASKED_MAX: u8 = 3;
/// A line that was let run asks for so many passwords.
const PASSWORDS_MAX: u8 = 3;
/// Prompts within prompts.
const CONTEXTS_MAX: usize = 8;
/// With fewer columns a line is in too many pieces.
const COLS_MIN: usize = 20;

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_E: u8 = 0x05;
const CTRL_U: u8 = 0x15;
/// The end of a paste (xterm, "Bracketed Paste Mode").
const PASTE_ENDS: &[u8] = b"\x1b[201~";
const PASTE_MODE: [(&[u8], bool); 2] = [(b"\x1b[?2004h", true), (b"\x1b[?2004l", false)];

/// Reads one terminal, both ways. All times are since the channel began, and never run back.
pub struct Guard {
    holds: Holds,
    screen: Screen,
    queue: Queue,
    model: Model,
    prompt: Option<Prompt>,
    prompts: VecDeque<String>,
    /// A line that went by before the target had shown it.
    unshown: Option<Unshown>,
    /// That of a shell that says itself what it runs.
    own_prompt: Option<String>,
    /// The target has gone to another row since the last line was sent.
    new_row: bool,
    /// A key was pressed that gives a line up; it is over once the target goes to another row.
    giving_up: Option<TypedSince>,
    /// The target has had an ESC that may still wait for its second byte.
    escape: bool,
    /// A paste goes on key by key, without its brackets.
    unpacking: bool,
    /// So many lines may have been put aside, and stand at the prompts to come before a key is pressed there.
    put_aside: u8,
    state: State,
    running: Started,
    passwords: u8,
    contexts: Vec<Context>,
    /// Gaps that were told of this line.
    told: BTreeSet<Gap>,
    steps: VecDeque<Step>,
    paste_mode: bool,
    /// The end of the output, in which a mode may begin.
    tail: Vec<u8>,
    alternate: bool,
    seen: u64,
    shown_at: Duration,
    passed_at: Duration,
    arrived_at: Duration,
    /// The longest time, of late, between a key and what it showed.
    lag: Duration,
    unanswered: bool,
}

/// Whether keys wait for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Keys,
    Nothing,
}

/// Whether anything was typed behind the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TypedSince {
    Nothing,
    Something,
}

/// A prompt within which another program's prompt stands.
struct Context {
    name: String,
    /// The prompt outside.
    outside: Option<String>,
    /// The user has typed what ends the program.
    leaving: bool,
}

enum State {
    Typing,
    /// A key waits for its line to be read.
    Held(Held),
    /// A key waits for a verdict. What was read, and what had been shown by then.
    Asked {
        held: Held,
        read: Read,
        seen: u64,
    },
    /// A line is being wiped.
    Wiping {
        since: Duration,
        by: Wipe,
        prompt: Option<String>,
    },
    /// A line has been sent: what is there already waits for the prompt.
    Settling {
        since: Duration,
    },
}

#[derive(Clone)]
struct Held {
    bytes: Vec<u8>,
    key: Key,
    /// Why it must not go on.
    never: Option<&'static str>,
    since: Duration,
    asked: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wipe {
    Keys,
    Interrupt,
}

/// What was read of a held key's line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    lines: Vec<String>,
    confidence: Confidence,
    problem: Option<&'static str>,
    echoed: bool,
    prompt: Option<String>,
}

enum Reading {
    /// Not yet.
    Wait,
    /// There is nothing to judge: an empty line.
    Nothing,
    /// A password.
    Password,
    /// A line that completion does not run.
    Plain,
    Line(Read),
}

/// What becomes of a key.
enum Fate {
    Passes,
    RunsLine,
    Never(&'static str),
}

impl Guard {
    /// Holds each key that can run a line.
    pub fn new(size: Size) -> Self {
        Self::of(size, Holds::Keys)
    }

    /// Holds each key that can run a line, from the first at the prompt of this program.
    pub fn within(size: Size, program: &str) -> Self {
        let mut guard = Self::new(size);
        guard.contexts.push(Context { name: program.to_owned(), outside: None, leaving: false });
        guard
    }

    /// Holds nothing, and tells of each line as it goes.
    pub fn watching(size: Size) -> Self {
        Self::of(size, Holds::Nothing)
    }

    fn of(size: Size, holds: Holds) -> Self {
        Self {
            holds,
            screen: Screen::new(size),
            queue: Queue::default(),
            model: Model::default(),
            prompt: None,
            prompts: VecDeque::new(),
            unshown: None,
            own_prompt: None,
            new_row: true,
            giving_up: None,
            escape: false,
            unpacking: false,
            put_aside: 0,
            state: State::Typing,
            running: Started::default(),
            passwords: 0,
            contexts: Vec::new(),
            told: BTreeSet::new(),
            steps: VecDeque::new(),
            paste_mode: false,
            tail: Vec::new(),
            alternate: false,
            seen: 0,
            shown_at: Duration::ZERO,
            passed_at: Duration::ZERO,
            arrived_at: Duration::ZERO,
            lag: Duration::ZERO,
            unanswered: false,
        }
    }

    /// Whether it takes more of what the user types.
    pub fn takes(&self) -> bool {
        self.queue.len() < QUEUE_MAX
    }

    /// Whether a key waits for a verdict.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asked { .. })
    }

    /// The line at the cursor, as the target has it, drawn: to be shown again below what a user was told meanwhile.
    pub fn line_shown(&self) -> String {
        self.screen.line_drawn()
    }

    /// The user has typed this.
    pub fn typed(&mut self, bytes: &[u8], now: Duration) {
        // Ctrl-C overtakes what waits: nobody wants the rest of a paste that they give up.
        let busy = !matches!(self.state, State::Typing | State::Asked { .. });
        if let Some(last) = bytes.iter().rposition(|byte| *byte == CTRL_C).filter(|_| busy) {
            let dropped = self.queue.clear() + last;
            self.drop_bytes(dropped);
            self.queue.push(bytes.get(last..).unwrap_or_default());
            if matches!(self.state, State::Settling { .. }) {
                self.state = State::Typing;
            }
        } else {
            self.queue.push(bytes);
        }
        self.arrived_at = now;
    }

    /// The target has shown this.
    pub fn shown(&mut self, bytes: &[u8], now: Duration) {
        let rest = self.read_late(bytes, now);
        self.screen.feed(rest);
        self.seen = self.seen.wrapping_add(1);
        self.shown_at = now;
        if std::mem::take(&mut self.unanswered) {
            let lag = now.saturating_sub(self.passed_at).min(ECHO_WAIT);
            // It rises at once and falls slowly.
            self.lag = lag.max(self.lag - self.lag / 16);
        }
        self.note_modes(bytes);
        let alternate = self.screen.is_alternate();
        if alternate && !std::mem::replace(&mut self.alternate, alternate) && !self.running.fills_screen {
            self.gap(Gap::AlternateScreen);
        }
        self.alternate = alternate;
        if !bytes.contains(&b'\n') {
            return;
        }
        if let Some(since) = self.giving_up.take() {
            self.line_is_over();
            if since == TypedSince::Something {
                self.model = Model::Unknown;
            }
        } else if self.model.line().is_some_and(|line| !line.is_empty())
            && self.prompt.is_some()
            && matches!(self.state, State::Typing)
            && matches!(self.said(), Said::Differ { prompt: None, .. })
        {
            self.gap(Gap::Output);
        }
        self.new_row = true;
    }

    /// The user's window has this size now.
    pub fn resized(&mut self, size: Size) {
        self.screen.resize(size);
        if size.cols < COLS_MIN {
            self.gap(Gap::Narrow);
        }
        self.seen = self.seen.wrapping_add(1);
    }

    /// When it wants to be asked again, though nothing has come.
    pub fn due(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Typing if self.queue.is_empty() => None,
            State::Typing => (now < self.arrived_at + ESCAPE_WAIT).then(|| self.arrived_at + ESCAPE_WAIT),
            State::Settling { .. } if self.queue.is_empty() => None,
            State::Held(_) | State::Wiping { .. } | State::Settling { .. } => Some(now + LOOK),
            State::Asked { .. } => None,
        }
    }

    /// The next thing to do, if there is any.
    pub fn step(&mut self, now: Duration) -> Option<Step> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            match &self.state {
                State::Typing => {
                    self.pass_keys(now);
                    if self.steps.is_empty() && matches!(self.state, State::Typing) {
                        return None;
                    }
                }
                State::Held(held) => {
                    let held = held.clone();
                    match self.read(&held, now) {
                        Reading::Wait => return None,
                        Reading::Plain => self.let_complete(held, Step::Send, now),
                        Reading::Nothing => self.let_run(held, Started::default(), Step::Send, now),
                        Reading::Password => {
                            self.gap(Gap::Password);
                            self.passwords = self.passwords.saturating_sub(1);
                            let (running, passwords) = (self.running.clone(), self.passwords);
                            self.let_run(held, running, Step::Send, now);
                            self.passwords = passwords;
                        }
                        Reading::Line(read) => self.ask(held, read, now),
                    }
                }
                State::Asked { .. } => return None,
                State::Wiping { .. } => {
                    if !self.wipe_further(now) {
                        return None;
                    }
                }
                State::Settling { since } => {
                    let paused = self.new_row && now >= self.shown_at + QUIET;
                    if self.queue.is_empty() || !(paused || now >= *since + SETTLE_MAX) {
                        if paused {
                            self.state = State::Typing;
                        }
                        return None;
                    }
                    self.state = State::Typing;
                }
            }
        }
    }

    /// The verdict on what was asked last.
    pub fn answer(&mut self, answer: Answer, now: Duration) {
        let State::Asked { mut held, read, seen } = std::mem::replace(&mut self.state, State::Typing) else { return };
        match answer {
            Answer::Run(started) if read.problem.is_none() => {
                // What was shown meanwhile may have changed the line.
                let changed =
                    seen != self.seen && !matches!(self.read_now(&held, now), Reading::Line(again) if again == read);
                if changed {
                    held.since = now;
                    held.never =
                        held.never.or((held.asked >= ASKED_MAX).then_some("the line changes while it is judged"));
                    self.state = State::Held(held);
                    return;
                }
                if held.key.completes() {
                    return self.let_complete(held, Step::Run, now);
                }
                if let Some(context) = self.contexts.last_mut() {
                    context.leaving |= read.lines.iter().any(|line| ends_program(&context.name, line));
                }
                if let Some(name) = started.nested.as_ref().filter(|_| self.contexts.len() < CONTEXTS_MAX) {
                    self.contexts.push(Context { name: name.clone(), outside: read.prompt, leaving: false });
                }
                self.passwords = PASSWORDS_MAX;
                self.let_run(held, started, Step::Run, now);
            }
            Answer::Run(_) | Answer::Refuse => {
                // Nothing of what was typed behind it was meant for what comes now.
                let dropped = held.bytes.len() + self.queue.clear();
                self.drop_bytes(dropped);
                self.unpacking = false;
                let by = if read.prompt.is_some() && !self.escape { Wipe::Keys } else { Wipe::Interrupt };
                self.wipe(by, read.prompt, now);
            }
        }
    }

    /// Lets pass what may pass.
    fn pass_keys(&mut self, now: Duration) {
        let mut passing = Vec::new();
        while matches!(self.state, State::Typing) && self.steps.is_empty() {
            if self.running.fills_screen && self.alternate {
                passing.extend(self.queue.take_all());
                break;
            }
            let more = if now >= self.arrived_at + ESCAPE_WAIT { More::Late } else { More::MayCome };
            let (key, length) = match self.scan(more) {
                Scan::Empty | Scan::Partial => break,
                Scan::Key(key, length) => (key, length),
            };
            if let Key::Paste(bracket) = key {
                match self.paste(bracket, length) {
                    Pasted::Incomplete => break,
                    Pasted::Whole(bytes) => {
                        self.capture_prompt(now);
                        passing.extend(bytes);
                    }
                    Pasted::Unpacked => {}
                }
                continue;
            }
            let fate = if self.holds == Holds::Nothing { Fate::Passes } else { self.fate(key) };
            let bytes = self.queue.take(length);
            self.capture_prompt(now);
            match fate {
                Fate::Passes => {
                    if self.holds == Holds::Nothing && runs_line(key) {
                        self.read_along(&bytes, now);
                        continue;
                    }
                    self.press(key, &bytes);
                    passing.extend(bytes);
                }
                Fate::RunsLine | Fate::Never(_) => {
                    let never = if let Fate::Never(why) = fate { Some(why) } else { None };
                    self.state = State::Held(Held { bytes, key, never, since: now, asked: 0 });
                    self.leave_search(&mut passing, now);
                }
            }
        }
        if !passing.is_empty() {
            self.passed_at = now;
            self.unanswered = true;
            // What is passed goes before what was found behind it.
            self.steps.push_front(Step::Send(passing));
        }
    }

    /// The first key of the queue; one that the target takes for the second byte of an ESC is read as that.
    fn scan(&self, more: More) -> Scan {
        let bytes = self.queue.bytes();
        if !self.escape {
            return scan(bytes, more);
        }
        let head = bytes.get(..bytes.len().min(64)).unwrap_or(bytes);
        match head.first() {
            None => Scan::Empty,
            Some(0x1b) => scan(bytes, more),
            Some(_) => {
                let mut with = vec![0x1b];
                with.extend_from_slice(head);
                match scan(&with, more) {
                    // A report has no business here, and one too long to be looked at is none.
                    Scan::Key(key, length) if length > 1 => Scan::Key(key, length - 1),
                    Scan::Key(..) => scan(bytes, more),
                    other @ (Scan::Empty | Scan::Partial) => other,
                }
            }
        }
    }

    /// Takes a paste: whole, if it has one line and no control characters; else what is in it goes on key by key.
    fn paste(&mut self, bracket: Bracket, length: usize) -> Pasted {
        if self.holds == Holds::Nothing {
            self.model = Model::Unknown;
            return Pasted::Whole(self.queue.take(length));
        }
        if bracket == Bracket::Ends {
            self.unpacking = false;
            let _ = self.queue.take(length);
            self.drop_bytes(length);
            return Pasted::Unpacked;
        }
        let inside = self.queue.bytes().get(length..).unwrap_or_default();
        let end = inside.windows(PASTE_ENDS.len()).position(|window| window == PASTE_ENDS);
        let plain = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|text| !text.chars().any(char::is_control));
        match end {
            Some(end) if inside.get(..end).is_some_and(plain) => {
                let text = String::from_utf8_lossy(inside.get(..end).unwrap_or_default()).into_owned();
                text.chars().for_each(|c| self.model.press(Key::Text(c)));
                Pasted::Whole(self.queue.take(length + end + PASTE_ENDS.len()))
            }
            None if self.queue.len() < QUEUE_MAX => Pasted::Incomplete,
            Some(_) | None => {
                self.unpacking = true;
                let _ = self.queue.take(length);
                self.drop_bytes(length);
                Pasted::Unpacked
            }
        }
    }

    /// What becomes of a key, by section 3's table: in the shells' manuals, what runs the line, or a line out of sight.
    fn fate(&self, key: Key) -> Fate {
        match key {
            // On a line that is not known, or has what completion may run.
            key if key.completes() && !self.completes_plainly() => Fate::RunsLine,
            Key::Control(b'\r' | b'\n' | 0x0f) | Key::Coded | Key::Extended(b'\r' | b'\n') => Fate::RunsLine,
            // `#` comments out the first of several lines, and runs the others.
            Key::Meta(b'\r' | b'\n' | b'#' | 0x0f | CTRL_E | b'a' | b'A') => Fate::RunsLine,
            Key::Meta(b'v') => Fate::Never(EDITOR),
            // On an empty line it is the end of the input.
            Key::Control(CTRL_D) if self.model.is_empty() => Fate::Passes,
            Key::Control(CTRL_D) => Fate::RunsLine,
            // Undo, and to where the cursor was.
            Key::Extended(0x15 | 0x18) => Fate::Passes,
            Key::Extended(_) => Fate::Never(BEHIND_CTRL_X),
            Key::Text(_)
            | Key::Control(_)
            | Key::Meta(_)
            | Key::Edit(_)
            | Key::Escape
            | Key::Paste(_)
            | Key::Report
            | Key::Other => Fate::Passes,
        }
    }

    /// A key goes to the target.
    fn press(&mut self, key: Key, bytes: &[u8]) {
        self.escape = key == Key::Escape;
        self.put_aside = self.put_aside.saturating_add(u8::from(key.puts_line_aside()));
        if key == Key::Report && self.prompt.is_some() {
            self.gap(Gap::Reply);
        }
        match (key, bytes) {
            // Interrupt, quit, suspend, and the end of input on an empty line.
            (Key::Control(CTRL_C | 0x1c | 0x1a | CTRL_D), _) => {
                if let (Key::Control(CTRL_D), Some(context)) = (key, self.contexts.last_mut()) {
                    context.leaving = true;
                }
                self.model = Model::Unknown;
                self.giving_up = Some(TypedSince::Nothing);
            }
            (_, _) => {
                if self.giving_up.is_some() {
                    self.giving_up = Some(TypedSince::Something);
                }
                self.model.press(key);
            }
        }
    }

    /// Where the line begins, if this is its first key and the target has paused.
    fn capture_prompt(&mut self, now: Duration) {
        let first = self.prompt.is_none() && self.model.is_empty();
        if !first || !self.new_row || now < self.shown_at + QUIET / 2 {
            return;
        }
        let at = self.screen.at_cursor();
        self.prompt = Some(Prompt { text: at.before, right: at.after.trim().to_owned() });
    }

    /// While a shell searches, its prompt is not there. Ctrl-E ends the search, and runs nothing.
    fn leave_search(&mut self, passing: &mut Vec<u8>, now: Duration) {
        if self.model != Model::Searching || self.escape {
            return;
        }
        if !passing.is_empty() {
            self.steps.push_back(Step::Send(std::mem::take(passing)));
        }
        self.steps.push_back(Step::SendOwn(vec![CTRL_E]));
        self.model = Model::Unknown;
        self.passed_at = now;
        self.unanswered = true;
    }

    fn said(&self) -> Said {
        Witnesses {
            at: self.screen.at_cursor(),
            model: &self.model,
            prompt: self.prompt.as_ref(),
            prompts: &self.prompts,
            new_row: self.new_row,
        }
        .say()
    }

    /// What stands on the line of a held key; with patience.
    fn read(&mut self, held: &Held, now: Duration) -> Reading {
        let reading = self.read_in_time(held, now);
        let completes = held.key.completes() && matches!(&reading, Reading::Line(read) if read.is_plain());
        if completes { Reading::Plain } else { reading }
    }

    fn read_in_time(&mut self, held: &Held, now: Duration) -> Reading {
        let reading = self.read_now(held, now);
        let waited = now.saturating_sub(held.since);
        let silent = now.saturating_sub(self.shown_at.max(self.passed_at));
        match &reading {
            // Both have said it: there is nothing to wait for.
            Reading::Line(Read { confidence: Confidence::Screen, .. }) if self.model.is_known() => reading,
            Reading::Nothing | Reading::Plain | Reading::Password | Reading::Wait => reading,
            Reading::Line(_) if waited >= HELD_MAX => {
                if now < self.shown_at + QUIET {
                    self.gap(Gap::Flowing);
                }
                reading
            }
            // Something has come back of the last key, and nothing more comes.
            Reading::Line(_)
                if self.shown_at > self.passed_at && !self.model.is_known() && silent >= QUIET + self.lag * 2 =>
            {
                reading
            }
            Reading::Line(_) if silent >= ECHO_WAIT + self.lag => reading,
            Reading::Line(_) => Reading::Wait,
        }
    }

    fn read_now(&self, held: &Held, now: Duration) -> Reading {
        let known = self.model.is_known();
        let problem_of = |lines: &[String]| held.never.or_else(|| lines.iter().find_map(|line| problem(line, known)));
        let (lines, confidence, echoed, prompt) = match self.said() {
            Said::Nothing if held.never.is_none() && held.key != Key::Coded => return Reading::Nothing,
            Said::Nothing => {
                (vec![String::new()], Confidence::Keys, true, self.prompt.as_ref().map(|prompt| prompt.text.clone()))
            }
            Said::Both { line, prompt } => (vec![line], Confidence::Screen, true, Some(prompt)),
            Said::Unseen { line, prompt } => {
                if self.wants_password(&prompt) {
                    return Reading::Password;
                }
                (vec![line], Confidence::Keys, false, Some(prompt))
            }
            Said::Differ { lines, prompt } => (lines, Confidence::Keys, true, prompt),
            Said::Screen { lines, prompt } => {
                let empty = lines.iter().all(|line| line.trim().is_empty());
                if empty && self.wants_password(&prompt) {
                    return Reading::Password;
                }
                let settled = now >= self.shown_at.max(self.passed_at) + ECHO_WAIT;
                if empty && held.never.is_none() {
                    // What a key has brought in may still be on its way.
                    return if settled { Reading::Nothing } else { Reading::Wait };
                }
                (lines, Confidence::Screen, true, Some(prompt))
            }
            Said::Nobody => {
                let read = Read {
                    lines: vec![self.screen.at_cursor().whole()],
                    confidence: Confidence::Keys,
                    problem: Some(
                        held.never.unwrap_or("it cannot be read from the screen: press Ctrl-C, and type it anew"),
                    ),
                    echoed: true,
                    prompt: None,
                };
                return Reading::Line(read);
            }
        };
        let problem = problem_of(&lines);
        Reading::Line(Read { lines, confidence, problem, echoed, prompt })
    }

    /// Whether a password is asked for: by a program whose line was judged to ask for one, and not by a line editor.
    fn wants_password(&self, prompt: &str) -> bool {
        self.running.asks_password
            && self.passwords > 0
            && !self.paste_mode
            && self.new_row
            && looks_like_password(prompt)
    }

    fn ask(&mut self, mut held: Held, read: Read, now: Duration) {
        if !read.echoed {
            self.gap(Gap::EchoOff);
        } else if read.confidence == Confidence::Keys && read.problem.is_none() {
            self.gap(Gap::Differs);
        }
        if let (Some(prompt), Confidence::Screen, true) = (&read.prompt, read.confidence, self.model.is_known()) {
            self.remember(prompt.clone());
        }
        let outside =
            |context: &Context| context.leaving && context.outside.is_some() && context.outside == read.prompt;
        if let Some(place) = self.contexts.iter().rposition(outside) {
            self.contexts.truncate(place);
        }
        let as_read = |line: &String| LineRead { line: line.clone(), confidence: read.confidence, at: now };
        let question = Question {
            reads: read.lines.iter().map(as_read).collect(),
            problem: read.problem,
            echoed: read.echoed,
            context: self.contexts.last().map(|context| context.name.clone()),
        };
        held.asked = held.asked.saturating_add(1);
        self.steps.push_back(Step::Judge(question));
        self.state = State::Asked { held, read, seen: self.seen };
    }

    fn remember(&mut self, prompt: String) {
        if prompt.trim().is_empty() || self.prompts.contains(&prompt) {
            return;
        }
        self.prompts.truncate(PROMPTS_MAX - 1);
        self.prompts.push_front(prompt);
    }

    /// A held key goes on.
    fn let_run(&mut self, held: Held, started: Started, step: fn(Vec<u8>) -> Step, now: Duration) {
        if held.key.completes() {
            return self.let_complete(held, step, now);
        }
        // An empty line starts nothing, and the program that runs goes on.
        if !self.model.is_empty() {
            self.running = started;
        }
        self.put_aside = self.put_aside.saturating_add(u8::from(held.key.brings_next_line()));
        self.steps.push_back(step(held.bytes));
        self.passed_at = now;
        self.unanswered = true;
        self.escape = false;
        self.new_row = false;
        self.giving_up = None;
        self.line_is_over();
        self.state = State::Settling { since: now };
    }

    fn line_is_over(&mut self) {
        // A line that was put aside comes back by itself. With it taken for the prompt, Enter would run it unread.
        self.model = if self.put_aside == 0 { Model::default() } else { Model::Unknown };
        self.put_aside = self.put_aside.saturating_sub(1);
        self.prompt = None;
        self.told.clear();
    }

    /// Looks in the output whether a line editor takes pastes in brackets: what asks for a password does not.
    fn note_modes(&mut self, bytes: &[u8]) {
        const LENGTH: usize = 8;
        if !bytes.contains(&0x1b) && self.tail.is_empty() {
            return;
        }
        let mut text = std::mem::take(&mut self.tail);
        text.extend_from_slice(bytes);
        for window in text.windows(LENGTH).filter(|window| window.first() == Some(&0x1b)) {
            if let Some((_, on)) = PASTE_MODE.iter().find(|(mode, _)| *mode == window) {
                self.paste_mode = *on;
            }
        }
        let rest = text.len().saturating_sub(LENGTH - 1);
        let rest = text.get(rest..).unwrap_or_default();
        if let Some(escape) = rest.iter().position(|byte| *byte == 0x1b) {
            self.tail = rest.get(escape..).unwrap_or_default().to_vec();
        }
    }

    fn gap(&mut self, gap: Gap) {
        if self.told.insert(gap) {
            self.steps.push_back(Step::Gap(gap));
        }
    }

    fn drop_bytes(&mut self, bytes: usize) {
        if bytes > 0 {
            self.steps.push_back(Step::Drop(bytes));
        }
    }
}

enum Pasted {
    /// Its end has not come.
    Incomplete,
    /// It passes as it is.
    Whole(Vec<u8>),
    /// Its bracket is gone.
    Unpacked,
}

/// Whether a key runs the line, where keys are only read along.
fn runs_line(key: Key) -> bool {
    matches!(key, Key::Control(b'\r' | b'\n' | 0x0f) | Key::Coded | Key::Meta(b'\r' | b'\n'))
}

#[cfg(test)]
mod tests;
