//! The threads that write: what waits is done in the order in which it came, a queue at most once.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::RecorderError;
use super::announcer::Announcer;
use super::health::Health;
use super::queue::{Alarm, Queue};
use crate::clock::Clock;
use crate::store::Buffers;

/// How often the free space is looked at, whether a failed disk works again, and whether the log answers.
const CHECK: Duration = Duration::from_secs(1);

/// Something that blocks; it is lent the thread's buffers.
type Work = Box<dyn FnOnce(&mut Buffers) + Send>;

/// What a full disk did not let be done.
type PutOff = Box<dyn FnMut() -> Retried + Send>;

/// What came of trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retried {
    /// It is done, or need not be tried again.
    Over,
    /// The disk is still full.
    InVain,
}

/// What a thread does next.
enum Job {
    /// Write what a queue holds.
    Commit(Arc<Queue>),
    /// An alarm of a queue has come.
    Alarm(Arc<Queue>, Alarm),
    /// Something else that blocks.
    Run(Work),
    /// Look at the disk, and whether the log answers.
    Check,
}

/// Blocking threads and what they have to do. No thread of the runtime touches a file.
pub(super) struct Pool {
    state: Mutex<State>,
    wake: Condvar,
    clock: Clock,
    health: Arc<Health>,
    announcer: Arc<Announcer>,
    /// An operation that takes longer has failed.
    stall_limit: Duration,
    /// Tried again with each check. Bounded: each recording that ends is in it at most once.
    put_off: Mutex<VecDeque<PutOff>>,
}

struct State {
    /// Bounded: each queue is in it at most once, and each `Run` has a task that waits for it.
    ready: VecDeque<Job>,
    /// Queues by the time of their alarms; each at most once for each kind of alarm.
    timers: BTreeMap<(Instant, u64), (Arc<Queue>, Alarm)>,
    timers_made: u64,
    next_check: Instant,
    stop: bool,
}

/// Stops the threads, once they have done what waits, when the last of its holders is gone.
pub(super) struct Running(pub(super) Arc<Pool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.wake.notify_all();
        self.0.announcer.stop();
    }
}

impl Pool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(
        threads: usize,
        clock: Clock,
        health: Arc<Health>,
        announcer: Arc<Announcer>,
        stall_limit: Duration,
    ) -> std::io::Result<Running> {
        let state = State {
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            next_check: clock.instant(),
            stop: false,
        };
        let pool = Arc::new(Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            clock,
            health,
            announcer,
            stall_limit,
            put_off: Mutex::default(),
        });
        let running = Running(Arc::clone(&pool));
        for _ in 0..threads.max(1) {
            let pool = Arc::clone(&pool);
            std::thread::Builder::new().name(String::from("recorder")).spawn(move || pool.work())?;
        }
        Ok(running)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What the lock guards is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a queue at the end of the line. The caller sees to it that it is there only once.
    pub(super) fn commit(&self, queue: Arc<Queue>) {
        self.push(Job::Commit(queue));
    }

    /// Has `queue.alarm(alarm)` called at `at`.
    pub(super) fn alarm_at(&self, at: Instant, queue: Arc<Queue>, alarm: Alarm) {
        let mut state = self.lock();
        state.timers_made = state.timers_made.wrapping_add(1);
        let key = (at, state.timers_made);
        let first = state.timers.first_key_value().is_none_or(|(first, _)| key < *first);
        state.timers.insert(key, (queue, alarm));
        drop(state);
        if first {
            self.wake.notify_one();
        }
    }

    fn push(&self, job: Job) {
        self.lock().ready.push_back(job);
        self.wake.notify_one();
    }

    /// Has `work`, which blocks, tried again with each check until it is over. What is not done when the pool stops is
    /// left.
    pub(super) fn put_off(&self, work: impl FnMut() -> Retried + Send + 'static) {
        self.put_off.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::new(work));
    }

    fn try_again(&self) {
        let mut waiting = std::mem::take(&mut *self.put_off.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(mut work) = waiting.pop_front() {
            if catch_unwind(AssertUnwindSafe(&mut work)).is_ok_and(|retried| retried == Retried::InVain) {
                // A disk that is full for one is full for all.
                waiting.push_front(work);
                break;
            }
        }
        let mut put_off = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.append(&mut put_off);
        *put_off = waiting;
    }

    /// Runs `work`, which blocks, on a thread of the pool.
    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        self.push(Job::Run(Box::new(move |_| work())));
    }

    /// Runs `work`, which blocks, on a thread of the pool, and waits for it, though not beyond the stall limit.
    ///
    /// # Errors
    /// That of `work`; `Stalled`; `Panicked`.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, RecorderError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Buffers) -> Result<T, RecorderError> + Send + 'static,
    {
        let (done, waiting) = oneshot::channel();
        self.push(Job::Run(Box::new(move |buffers| {
            // Whoever asked may have given up.
            let _ = done.send(work(buffers));
        })));
        let outcome = match timeout(self.stall_limit, waiting).await {
            Ok(outcome) => outcome.unwrap_or(Err(RecorderError::Panicked)),
            Err(_) => Err(RecorderError::Stalled { limit: self.stall_limit }),
        };
        if let Err(error) = &outcome {
            self.health.failed(error);
        }
        outcome
    }

    fn work(&self) {
        let mut buffers = Buffers::default();
        while let Some(job) = self.next() {
            match job {
                Job::Commit(queue) => {
                    if catch_unwind(AssertUnwindSafe(|| queue.commit(&mut buffers))).is_err() {
                        queue.fail(&RecorderError::Panicked);
                    }
                }
                Job::Alarm(queue, alarm) => queue.alarm(alarm),
                Job::Run(work) => {
                    // A panic drops the sender of the answer, which says enough.
                    let _ = catch_unwind(AssertUnwindSafe(|| work(&mut buffers)));
                }
                Job::Check => {
                    self.health.check();
                    self.announcer.look();
                    self.try_again();
                }
            }
        }
    }

    /// The next job, when there is one; `None` once all is done and there will be none.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            let now = self.clock.instant();
            let stop = state.stop;
            if let Some(first) = state.timers.first_entry()
                && (first.key().0 <= now || stop)
            {
                let (queue, alarm) = first.remove();
                return Some(Job::Alarm(queue, alarm));
            }
            if let Some(job) = state.ready.pop_front() {
                return Some(job);
            }
            if stop {
                return None;
            }
            if state.next_check <= now {
                state.next_check = now.checked_add(CHECK).unwrap_or(now);
                return Some(Job::Check);
            }
            let first = state.timers.first_key_value().map_or(state.next_check, |((at, _), _)| *at);
            let wait = first.min(state.next_check).saturating_duration_since(now);
            state = self.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
