//! Starts a shell in guard so that it says its lines itself, if it can; else as its target starts it.
//!
//! The probe is the start: one text, the same for all shells, says what the account's shell is and waits to be told how it
//! reports. A target where nothing is heard of it, or whose shell is none of those that can, gets a channel anew with the
//! plain `shell` request, so that such a shell starts exactly as without a bastion.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep_until, timeout};

use crate::guard::integration::{Phase, START, Secrets, Step, Talk};
use crate::model::{ChannelEvent, Program, Terminal};
use crate::session::promise::Reads;
use crate::target::{DialError, Leg, Started, Wishes};
use crate::wire::channel::{Credit, Sink, Source};

/// More than this before the first word of a shell is another program's.
const BEFORE_HELLO_MAX: usize = 64 * 1024;
/// A target takes what a shell is told within so long, and closes what failed.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
const CLOSED_WITHIN: Duration = Duration::from_secs(2);
/// What is on record of the output of a probe that failed.
const OUTPUT_CHARS_MAX: usize = 200;

/// How a shell was started.
pub enum Begun {
    /// It was told how to say its lines.
    Told(Box<Told>),
    /// As its target starts it, because of this.
    Plain(String),
    /// As it was asked for.
    Asked,
}

impl Begun {
    /// How its lines are read.
    pub fn reads(&self) -> Reads {
        match self {
            Self::Told(_) => Reads::Exact,
            Self::Plain(_) | Self::Asked => Reads::Screen,
        }
    }

    /// Why.
    pub fn note(&self) -> String {
        match self {
            Self::Told(_) => String::from("the shell was told to say its lines itself"),
            Self::Plain(why) => format!("the shell does not say its lines itself: {why}"),
            Self::Asked => String::from("the shell was not asked to say its lines itself"),
        }
    }
}

/// A shell that was told how to say its lines.
pub struct Told {
    /// The talk with it, since `began`.
    pub talk: Talk,
    /// What came of its first words, to be done.
    pub steps: Vec<Step>,
    /// The time from which the talk counts.
    pub began: Instant,
}

/// Starts the account's shell.
///
/// # Errors
/// What the target says to a plain shell.
pub async fn begin(
    leg: &Leg,
    terminal: Option<&Terminal>,
    environment: &[(String, String)],
    wishes: Wishes<'_>,
) -> Result<(Started, Begun), DialError> {
    let start = Program::Exec(START.as_bytes().to_vec());
    let why = match leg.open(&start, terminal, environment, wishes).await {
        Ok(mut started) => match told(&mut started).await {
            Ok(told) => return Ok((started, Begun::Told(Box::new(told)))),
            Err(why) => {
                close(started).await;
                why
            }
        },
        // What is wrong beside that shows when the plain shell is asked for.
        Err(DialError::ChannelRefused(what)) => format!("the target refuses {what}"),
        Err(other) => return Err(other),
    };
    let started = leg.open(&Program::Shell, terminal, environment, wishes).await?;
    Ok((started, Begun::Plain(why)))
}

/// Waits for the first word of a shell, and tells it how to go on.
async fn told(started: &mut Started) -> Result<Told, String> {
    let mut random = [0; 30];
    SystemRandom::new().fill(&mut random).map_err(|_| String::from("there is no randomness"))?;
    let began = Instant::now();
    let mut talk = Talk::new(Secrets::new(&random), Duration::ZERO);
    let (mut steps, mut came) = (Vec::new(), Vec::new());
    loop {
        let due = began + talk.due().unwrap_or_default();
        let event = tokio::select! {
            event = started.source.next() => event,
            () = sleep_until(due) => None,
        };
        let bytes = match event {
            Some(ChannelEvent::Data(bytes) | ChannelEvent::Stderr(bytes)) => bytes,
            Some(ChannelEvent::Resize(_) | ChannelEvent::Signal(_) | ChannelEvent::Break(_)) => continue,
            Some(ChannelEvent::Eof | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_) | ChannelEvent::Close) => {
                return Err(silent("it ended", &came));
            }
            None => return Err(silent("nothing was heard of it in time", &came)),
        };
        came.extend_from_slice(&bytes);
        if came.len() > BEFORE_HELLO_MAX {
            return Err(silent("something else speaks first", &came));
        }
        let mut shown = 0_usize;
        let mut answer = None;
        for step in talk.on_output(&bytes, began.elapsed()) {
            match step {
                Step::Send(bytes) => answer = Some(bytes),
                Step::Enters(_) => {}
                Step::Show(bytes) => {
                    shown = shown.saturating_add(bytes.len());
                    steps.push(Step::Show(bytes));
                }
                step @ (Step::Judge(_) | Step::Prompt | Step::Gap(_) | Step::Forged) => steps.push(step),
            }
        }
        // What is shown is given leave for once the user has it.
        started.source.credit().consumed(bytes.len().saturating_sub(shown));
        match (talk.phase(), answer) {
            (Phase::Starting(_), Some(answer)) => {
                let sending = started.sink.send(ChannelEvent::Data(answer.into()));
                let sent = timeout(TAKEN_WITHIN, sending).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Err(String::from("it does not take what it is told"));
                }
                return Ok(Told { talk, steps, began });
            }
            (Phase::Screen, _) => return Err(String::from("the account's shell is none that says its lines")),
            (Phase::Silent, _) => {}
            (Phase::Starting(_) | Phase::Exact(_) | Phase::Failed, _) => {
                return Err(silent("it is out of step", &came));
            }
        }
    }
}

/// Why it was given up, with the beginning of what came in its place.
fn silent(why: &str, came: &[u8]) -> String {
    let text = String::from_utf8_lossy(came);
    let text: String = text.trim().chars().take(OUTPUT_CHARS_MAX).collect();
    if text.is_empty() { why.to_owned() } else { format!("{why}, having said: {}", crate::screen::line(&text)) }
}

/// Closes a channel, and waits until the target has: it may let one stand at a time.
async fn close(mut started: Started) {
    let closing = async {
        if started.sink.send(ChannelEvent::Close).await.is_ok() {
            while started.source.next().await.is_some_and(|event| event != ChannelEvent::Close) {}
        }
    };
    let _ = timeout(CLOSED_WITHIN, closing).await;
}
