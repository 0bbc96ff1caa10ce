//! Sending each new checkpoint to the witnesses and bringing their cosignatures back.
//!
//! Each witness has a thread of its own, so that one that is away keeps no other waiting; nothing here is on the way
//! of a session's bytes. What is sent is always the newest checkpoint: those that were overtaken are left out.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{Client, ClientError, WitnessAddress};
use crate::log::{LogError, Reader};
use crate::store::describe;
use crate::tlog::{AddCheckpoint, Checkpoint, KeyName, Signature, VerifyingKey};

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often one checkpoint is sent before a pause. A witness tells once from where it wants the proof.
const ATTEMPTS: usize = 3;

/// What the operator can do when a witness knows what this log does not have.
const ALARM_HINT: &str = "no session begins: `doorward doctor` says what to do";

/// How things stand with one witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessHealth {
    /// Its name.
    pub witness: KeyName,
    /// Where it answers.
    pub url: String,
    /// The size of the newest checkpoint that it cosigned for this process.
    pub cosigned: Option<u64>,
    /// Whether it answers.
    pub link: Link,
    /// Whether it was asked, whatever it said or failed to say.
    pub asked: bool,
    /// What it knows that this log does not. Stays until the process ends, whatever the witness says later.
    pub alarm: Option<Alarm>,
}

/// Whether a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nothing was sent yet.
    Untried,
    /// It cosigned what was sent last.
    Good,
    /// It did not.
    Failing {
        /// Why, with its causes.
        why: String,
    },
}

/// A witness has seen another history than the one that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// It cosigned a larger tree: this log was put back to an earlier state, or the witness lies.
    RolledBack {
        /// What it says that it cosigned.
        theirs: u64,
        /// What is here.
        ours: u64,
    },
    /// What it cosigned is not the beginning of this log: entries were changed, or the log's key signed elsewhere.
    Rewritten {
        /// The size of what it cosigned.
        size: u64,
    },
}

/// The threads that send checkpoints to witnesses. They end soon after this is dropped.
pub struct Submitter {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

type OnCosignature = Box<dyn Fn(u64, Signature) + Send + Sync>;

struct Shared {
    reader: Reader,
    log: VerifyingKey,
    signal: Mutex<Signal>,
    signalled: Condvar,
    health: Mutex<Vec<WitnessHealth>>,
    /// The health has changed.
    told: Condvar,
    on_cosignature: OnCosignature,
}

#[derive(Debug, Default)]
struct Signal {
    /// How often something was published.
    published: u64,
    stopped: bool,
}

impl Submitter {
    /// Starts a thread for each witness. They send the newest checkpoint that `reader` has, and then each that
    /// `published` announces; `log` is the log's key.
    ///
    /// `on_cosignature` is called on these threads with the size of a checkpoint and a witness's signature of it,
    /// which was checked; it may block. It is for `Log::add_signatures`.
    ///
    /// # Errors
    /// What the system says of starting a thread.
    pub fn start(
        reader: Reader,
        log: VerifyingKey,
        witnesses: Vec<WitnessAddress>,
        on_cosignature: impl Fn(u64, Signature) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let health = witnesses.iter().map(|witness| WitnessHealth {
            witness: witness.key().name().clone(),
            url: witness.url().to_string(),
            cosigned: None,
            link: Link::Untried,
            asked: false,
            alarm: None,
        });
        let shared = Arc::new(Shared {
            reader,
            log,
            signal: Mutex::new(Signal { published: 1, stopped: false }),
            signalled: Condvar::new(),
            health: Mutex::new(health.collect()),
            told: Condvar::new(),
            on_cosignature: Box::new(on_cosignature),
        });
        let mut submitter = Self { shared, threads: Vec::new() };
        for (index, witness) in witnesses.into_iter().enumerate() {
            let mut follower = Follower::new(Arc::clone(&submitter.shared), index, witness);
            let thread = std::thread::Builder::new().name(format!("witness-{index}"));
            submitter.threads.push(thread.spawn(move || follower.run())?);
        }
        Ok(submitter)
    }

    /// Says that a checkpoint was published. Never waits.
    pub fn published(&self) {
        let mut signal = self.shared.lock_signal();
        signal.published = signal.published.wrapping_add(1);
        drop(signal);
        self.shared.signalled.notify_all();
    }

    /// How things stand with each witness, in the order of the configuration.
    pub fn health(&self) -> Vec<WitnessHealth> {
        self.shared.lock_health().clone()
    }

    /// Waits until every witness that answers has cosigned the checkpoint of `size`, though not beyond `limit`.
    pub fn wait(&self, size: u64, limit: Duration) {
        let step = Duration::from_millis(20);
        let steps = limit.as_millis() / step.as_millis();
        let waiting = |health: &WitnessHealth| {
            !matches!(health.link, Link::Failing { .. }) && health.cosigned.is_none_or(|cosigned| cosigned < size)
        };
        for _ in 0..steps {
            if !self.health().iter().any(waiting) {
                return;
            }
            std::thread::sleep(step);
        }
    }

    /// Waits until every witness was asked once, though not beyond `limit`: one that is away is not waited for longer.
    pub fn wait_asked(&self, limit: Duration) {
        let health = self.shared.lock_health();
        let unasked = |health: &mut Vec<WitnessHealth>| health.iter().any(|health| !health.asked);
        drop(self.shared.told.wait_timeout_while(health, limit, unasked));
    }

    /// Ends the threads, and waits until they have ended: for as long as a call to a witness takes, ten seconds at
    /// most. No cosignature is handed over after it.
    pub fn stop(mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("A thread for a witness panicked");
            }
        }
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn lock_signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_health(&self) -> MutexGuard<'_, Vec<WitnessHealth>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock_signal().stopped = true;
        self.signalled.notify_all();
    }

    /// Waits for a signal after `seen`, or for `pause` if there is one; `None` when it is time to end.
    fn wait(&self, seen: u64, pause: Option<Duration>) -> Option<u64> {
        let signal = self.lock_signal();
        let signal = match pause {
            // After a failure no signal shortens the pause: the log publishes each second.
            Some(pause) => {
                let waited = self.signalled.wait_timeout_while(signal, pause, |signal| !signal.stopped);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.signalled.wait_while(signal, |signal| !signal.stopped && signal.published == seen);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        (!signal.stopped).then_some(signal.published)
    }

    fn stopped(&self) -> bool {
        self.lock_signal().stopped
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn pause_after(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(1)?;
    Some(PAUSE_MIN.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(PAUSE_MAX))
}

/// What the thread of one witness knows.
struct Follower {
    shared: Arc<Shared>,
    index: usize,
    witness: WitnessAddress,
    client: Client,
    /// The size that the witness signed last, as far as we know; 0 asks it.
    known: u64,
    /// What it cosigned last for us.
    cosigned: Option<Checkpoint>,
}

impl Follower {
    fn new(shared: Arc<Shared>, index: usize, witness: WitnessAddress) -> Self {
        Self { shared, index, witness, client: Client::new(), known: 0, cosigned: None }
    }

    fn run(&mut self) {
        let mut failures = 0_u32;
        let mut seen = 0;
        while let Some(published) = self.shared.wait(seen, pause_after(failures)) {
            seen = published;
            match self.send_newest() {
                Ok(Sent::Cosigned(size, signature)) => {
                    failures = 0;
                    self.tell_good(size);
                    if !self.shared.stopped() {
                        (self.shared.on_cosignature)(size, signature);
                    }
                }
                Ok(Sent::Nothing) => {
                    failures = 0;
                    self.change(|health| health.asked = true);
                }
                Err(trouble) => {
                    failures = failures.saturating_add(1);
                    self.tell_trouble(&trouble);
                }
            }
        }
    }

    /// Sends the newest checkpoint, unless the witness has cosigned it already.
    fn send_newest(&mut self) -> Result<Sent, Trouble> {
        let newest = self.shared.reader.checkpoint(&self.shared.log).map_err(Trouble::Log)?;
        let Some((note, ours)) = newest.filter(|(_, ours)| self.cosigned.as_ref() != Some(ours)) else {
            return Ok(Sent::Nothing);
        };
        for _ in 0..ATTEMPTS {
            if self.known > ours.size {
                let theirs = std::mem::take(&mut self.known);
                return Err(Trouble::Alarm(Alarm::RolledBack { theirs, ours: ours.size }));
            }
            let proof = self.shared.reader.consistency(self.known, ours.size).map_err(Trouble::Log)?;
            let request = AddCheckpoint { old: self.known, proof, checkpoint: note.clone() };
            match self.client.add_checkpoint(&self.witness, &request) {
                Ok(signature) => {
                    self.known = ours.size;
                    let size = ours.size;
                    self.cosigned = Some(ours);
                    return Ok(Sent::Cosigned(size, signature));
                }
                Err(ClientError::Conflict { size }) if size == self.known => {
                    // It did sign that size last, so the conflict is about the root.
                    if size == ours.size {
                        return Err(self.rewritten());
                    }
                    return Err(Trouble::Unsettled);
                }
                Err(ClientError::Conflict { size }) => {
                    if self.cosigned.is_some() && size < self.known {
                        let witness = self.witness.key().name();
                        warn!(witness = %witness, had = self.known, has = size, "A witness has forgotten what it signed");
                    }
                    self.known = size;
                }
                Err(ClientError::Refused { status: 422, .. }) => return Err(self.rewritten()),
                Err(error) => return Err(Trouble::Client(error)),
            }
        }
        Err(Trouble::Unsettled)
    }

    /// The next time the witness is asked anew what it signed.
    fn rewritten(&mut self) -> Trouble {
        Trouble::Alarm(Alarm::Rewritten { size: std::mem::take(&mut self.known) })
    }

    fn tell_good(&self, size: u64) {
        let before = self.change(|health| {
            (health.cosigned, health.asked) = (Some(size), true);
            std::mem::replace(&mut health.link, Link::Good)
        });
        match before {
            Some(Link::Failing { .. }) => info!(witness = %self.witness.key().name(), size, "A witness cosigns again"),
            Some(Link::Untried) => info!(witness = %self.witness.key().name(), size, "A witness cosigns"),
            Some(Link::Good) | None => {}
        }
    }

    /// Keeps what is wrong for `health`, and says it in the log once.
    fn tell_trouble(&self, trouble: &Trouble) {
        let why = trouble.with_causes();
        let alarm = match trouble {
            Trouble::Alarm(alarm) => Some(*alarm),
            Trouble::Client(_) | Trouble::Log(_) | Trouble::Unsettled => None,
        };
        let before = self.change(|health| {
            let link = std::mem::replace(&mut health.link, Link::Failing { why: why.clone() });
            let first = alarm.is_some() && health.alarm.is_none();
            health.alarm = health.alarm.or(alarm);
            health.asked = true;
            (link, first)
        });
        let Some((link, first_alarm)) = before else { return };
        let (witness, url) = (self.witness.key().name(), self.witness.url());
        if first_alarm {
            let hint = ALARM_HINT;
            error!(witness = %witness, url = %url, error = %why, hint, "A witness has seen another history of this log");
        } else if alarm.is_none() && !matches!(link, Link::Failing { .. }) {
            let hint = trouble.hint().unwrap_or("it is asked again, each minute in the end");
            warn!(witness = %witness, url = %url, error = %why, hint, "A witness does not cosign");
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut WitnessHealth) -> T) -> Option<T> {
        let changed = self.shared.lock_health().get_mut(self.index).map(change);
        self.shared.told.notify_all();
        changed
    }
}

/// What came of sending.
enum Sent {
    Cosigned(u64, Signature),
    /// There is nothing that the witness has not cosigned.
    Nothing,
}

/// Why a checkpoint was not cosigned.
#[derive(Debug)]
enum Trouble {
    Client(ClientError),
    Log(LogError),
    Alarm(Alarm),
    /// The witness tells another size each time, or one that it was asked from.
    Unsettled,
}

impl Trouble {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::Alarm(_) | Self::Unsettled => None,
        }
    }

    fn with_causes(&self) -> String {
        describe(self)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Alarm(alarm) => alarm.fmt(f),
            Self::Unsettled => f.write_str("the witness does not say what it signed last"),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Log(error) => error.source(),
            Self::Alarm(_) | Self::Unsettled => None,
        }
    }
}

impl Alarm {
    /// How many leaves of the other history the witness has signed.
    pub fn size(&self) -> u64 {
        match self {
            Self::RolledBack { theirs, .. } => *theirs,
            Self::Rewritten { size } => *size,
        }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RolledBack { theirs, ours } => write!(
                f,
                "the witness signed {theirs} entries and the log has {ours}: it was put back to an earlier state"
            ),
            Self::Rewritten { size } => {
                write!(f, "the {size} entries that the witness signed are not the first ones of this log")
            }
        }
    }
}

impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter").field("witnesses", &self.threads.len()).finish_non_exhaustive()
    }
}
