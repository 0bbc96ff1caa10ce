//! What of a channel is recorded in full, and what as a count and a digest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use super::Facts;
use super::echo::{Echo, Heard, split_reports};
use super::typing::Pace;
use crate::cast::{Digest, Direction, Entry};
use crate::coverage::{Fate, fate};
use crate::model::{ChannelClass, ChannelEvent, Output};
use crate::policy::{Capture, InputMode};
use crate::recorder::{Receipt, RecorderError, Track};

/// A running digest is written at least so often while bytes pass (promise P2) ...
const DIGEST_EVERY: Duration = Duration::from_secs(1);
/// ... and at least after so many bytes.
const DIGEST_BYTES: u64 = 16 * 1024 * 1024;

/// Keystrokes that are kept out are counted on record so long after the first of them. Sooner, the count would tell how
/// long a password is.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// Gives one direction of a channel to the recorder.
pub struct Tap {
    track: Arc<Track>,
    /// Standard output or standard input; of a terminal whose keystrokes are kept out, what nobody has typed.
    data: Lane,
    /// Standard error. The listener takes none from a user; if it did, this would have it.
    stderr: Lane,
    /// Keystrokes that are kept out.
    typed: Option<Typed>,
    /// Keystrokes that wait to be echoed, under `input = "echoed"`; both directions know them.
    keys: Option<Keys>,
}

/// The two taps of a channel: for what the user sends, and for what the target sends.
pub fn taps(facts: &Facts, track: &Arc<Track>) -> (Tap, Tap) {
    let mut input = Tap::of_input(facts, Arc::clone(track));
    let mut output = Tap::of_output(facts, Arc::clone(track));
    if facts.pty && facts.policy.input == InputMode::Echoed {
        let echo = Arc::new(Mutex::new(Echo::default()));
        let began = Instant::now();
        input.keys = Some(Keys { echo: Arc::clone(&echo), began, typing: true });
        output.keys = Some(Keys { echo, began, typing: false });
    }
    (input, output)
}

/// One direction's view of the keystrokes.
struct Keys {
    echo: Arc<Mutex<Echo>>,
    began: Instant,
    /// Whether this direction is the user's.
    typing: bool,
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, Echo> {
        // What the lock guards is whole between any two statements that can panic.
        self.echo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due_at(&self) -> Option<Instant> {
        // The user's direction lasts as long as the channel, so it alone looks after what is overdue.
        if !self.typing {
            return None;
        }
        self.lock().due_at().map(|at| self.began + at)
    }
}

/// The input of a terminal whose keystrokes are kept out of the recording.
struct Typed {
    pace: Pace,
    began: Instant,
    /// All of it, recorded or not.
    bytes: u64,
    /// Bytes at the last count written, and when the first came after it.
    counted: u64,
    uncounted: Option<Instant>,
}

impl Typed {
    fn new() -> Self {
        Self { pace: Pace::default(), began: Instant::now(), bytes: 0, counted: 0, uncounted: None }
    }

    /// Counts what came; says how much of it somebody may have typed.
    fn take(&mut self, bytes: &Bytes) -> Came {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.uncounted.get_or_insert_with(Instant::now);
        // The terminal's reports say nothing of how fast somebody types: else a moving mouse would put a password on record.
        let (reports, keys) = split_reports(bytes);
        if self.pace.is_typed(keys.len(), self.began.elapsed()) { Came::Typed { reports, keys } } else { Came::Sent }
    }

    fn due_at(&self) -> Option<Instant> {
        self.uncounted.map(|since| since + COUNT_EVERY)
    }

    /// The count, if it is not on record. Without a hash: from that of a few keystrokes they can be guessed.
    fn count(&mut self, last: bool) -> Option<Entry> {
        self.uncounted = None;
        if std::mem::replace(&mut self.counted, self.bytes) == self.bytes {
            return None;
        }
        Some(Entry::Digest(Digest { direction: Direction::Stdin, bytes: self.bytes, sha256: None, last }))
    }
}

/// What came from a user.
enum Came {
    /// Somebody may have typed the keys; the terminal reported the rest.
    Typed { reports: Bytes, keys: Bytes },
    /// A program sent it, or it is all recorded anyway.
    Sent,
}

/// One flow of bytes.
struct Lane {
    direction: Direction,
    mode: Mode,
    /// Over every byte from the first; absent where everything is recorded in full or nothing is.
    hash: Option<Context>,
    bytes: u64,
    /// Bytes and time at the last digest written.
    digested: (u64, Instant),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Every byte, up to so many.
    Full(u64),
    /// Count and SHA-256; `said` once the record of the switch is queued.
    Digest { said: bool },
}

impl Lane {
    fn new(direction: Direction, mode: Mode) -> Self {
        let hash = match mode {
            Mode::Full(u64::MAX) => None,
            Mode::Full(_) | Mode::Digest { .. } => Some(Context::new(&SHA256)),
        };
        Self { direction, mode, hash, bytes: 0, digested: (0, Instant::now()) }
    }

    fn name(&self) -> &'static str {
        match self.direction {
            Direction::Stdin => "stdin",
            Direction::Stdout => "stdout",
            Direction::Stderr => "stderr",
        }
    }

    /// Only counts: what goes by is on record in another form.
    fn counting(direction: Direction) -> Self {
        Self { hash: None, ..Self::new(direction, Mode::Digest { said: true }) }
    }

    fn digest(&mut self, last: bool) -> Entry {
        let hash = self.hash.clone().map(Context::finish);
        self.digested = (self.bytes, Instant::now());
        let sha256 = hash.map(|hash| hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect());
        Entry::Digest(Digest { direction: self.direction, bytes: self.bytes, sha256, last })
    }

    /// Whether the recording does not hold all of it. Where it does, a digest would only help to guess what was scrubbed.
    fn is_digested(&self) -> bool {
        matches!(self.mode, Mode::Digest { .. })
    }

    /// Whether bytes passed that neither the recording nor a written digest covers.
    fn uncovered(&self) -> bool {
        matches!(self.mode, Mode::Digest { .. }) && self.bytes != self.digested.0
    }

    fn due_at(&self) -> Option<Instant> {
        self.uncovered().then(|| self.digested.1 + DIGEST_EVERY)
    }
}

/// How data is recorded of which the content is not: where files are moved, it is there in another form; of forwards there
/// is metadata alone.
fn without_content(facts: &Facts, direction: Direction) -> Option<Lane> {
    match (facts.class.is_sftp(), fate(facts.class)) {
        (true, _) if facts.digested => Some(Lane::new(direction, Mode::Digest { said: false })),
        (true, _) | (false, Fate::Metadata) => Some(Lane::counting(direction)),
        (false, Fate::Recorded | Fate::Empty | Fate::Refused) => None,
    }
}

impl Tap {
    /// For what the target sends.
    fn of_output(facts: &Facts, track: Arc<Track>) -> Self {
        let mode = match (facts.pty, facts.class, facts.policy.exec) {
            (false, ChannelClass::Exec, Capture::Full) => Mode::Full(facts.policy.exec_cap),
            (false, ChannelClass::Exec, Capture::Digest) => Mode::Digest { said: false },
            // What a person saw on a screen is recorded whole, always; what a program says on standard error too.
            (true, _, _)
            | (
                false,
                ChannelClass::Shell
                | ChannelClass::SftpRead
                | ChannelClass::SftpWrite
                | ChannelClass::LocalForward
                | ChannelClass::LocalForwardUnix
                | ChannelClass::RemoteForward
                | ChannelClass::RemoteForwardUnix
                | ChannelClass::Agent
                | ChannelClass::X11
                | ChannelClass::Desktop,
                _,
            ) => Mode::Full(u64::MAX),
        };
        let data = without_content(facts, Direction::Stdout).unwrap_or_else(|| Lane::new(Direction::Stdout, mode));
        Self { track, data, stderr: Lane::new(Direction::Stderr, mode), typed: None, keys: None }
    }

    /// For what the user sends.
    fn of_input(facts: &Facts, track: Arc<Track>) -> Self {
        let typed = facts.pty && facts.policy.input != InputMode::Full;
        let mode = match (facts.pty && !typed, facts.policy.stdin) {
            (true, _) => Mode::Full(u64::MAX),
            (false, Capture::Full) => Mode::Full(facts.policy.exec_cap),
            (false, Capture::Digest) => Mode::Digest { said: false },
        };
        let data = without_content(facts, Direction::Stdin).unwrap_or_else(|| Lane::new(Direction::Stdin, mode));
        Self { track, data, stderr: Lane::new(Direction::Stdin, mode), typed: typed.then(Typed::new), keys: None }
    }

    /// Records an event; the receipt says when it may go on.
    ///
    /// # Errors
    /// What the recorder says; the event must not go on.
    pub async fn record(&mut self, event: &ChannelEvent) -> Result<Option<Receipt>, RecorderError> {
        match event {
            ChannelEvent::Data(bytes) => {
                let receipt = match self.hear(bytes).await? {
                    Came::Typed { reports, .. } if reports.is_empty() => None,
                    Came::Typed { reports, .. } => Self::flow(&self.track, &mut self.data, &reports).await?,
                    Came::Sent => Self::flow(&self.track, &mut self.data, bytes).await?,
                };
                self.covered(receipt)
            }
            ChannelEvent::Stderr(bytes) => {
                let receipt = Self::flow(&self.track, &mut self.stderr, bytes).await?;
                self.covered(receipt)
            }
            ChannelEvent::Resize(size) => {
                self.track.append(Entry::Resize { cols: size.cols, rows: size.rows }).await.map(Some)
            }
            ChannelEvent::Signal(name) => self.track.append(Entry::Marker(format!("signal {name}"))).await.map(Some),
            ChannelEvent::Break(ms) => self.track.append(Entry::Marker(format!("break {ms} ms"))).await.map(Some),
            ChannelEvent::Exit(exit) => {
                self.final_digests().await?;
                self.track.append(Entry::Exit(exit.clone())).await.map(Some)
            }
            ChannelEvent::Eof | ChannelEvent::EndOfWrite | ChannelEvent::Close => Ok(None),
        }
    }

    /// Bytes without a receipt, such as keystrokes that are kept out, go on only while the channel does.
    fn covered(&self, receipt: Option<Receipt>) -> Result<Option<Receipt>, RecorderError> {
        if receipt.is_none() {
            self.track.check()?;
        }
        Ok(receipt)
    }

    /// Records the keystrokes that these bytes show to be no secret; tells what of the bytes may be keystrokes, which are
    /// recorded in no other way.
    async fn hear(&mut self, bytes: &Bytes) -> Result<Came, RecorderError> {
        let came = self.typed.as_mut().map_or(Came::Sent, |typed| typed.take(bytes));
        let Some(keys) = &self.keys else { return Ok(came) };
        let now = keys.began.elapsed();
        let heard = match (keys.typing, &came) {
            (true, Came::Typed { keys: typed, .. }) => keys.lock().typed(typed, now),
            (true, Came::Sent) => keys.lock().overtaken(),
            (false, _) => keys.lock().printed(bytes, now),
        };
        self.record_heard(heard).await?;
        Ok(came)
    }

    async fn record_heard(&self, heard: impl IntoIterator<Item = Heard>) -> Result<(), RecorderError> {
        for heard in heard {
            let entry = match heard {
                Heard::Keys(keys) => Entry::Input(Bytes::from(keys)),
                Heard::Redacted => Entry::Redacted,
            };
            // The next receipt of this channel covers it.
            let _ = self.track.append(entry).await?;
        }
        Ok(())
    }

    async fn flow(track: &Track, lane: &mut Lane, bytes: &Bytes) -> Result<Option<Receipt>, RecorderError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut receipt = None;
        if let Mode::Full(cap) = lane.mode
            && lane.bytes.saturating_add(len) > cap
        {
            lane.mode = Mode::Digest { said: false };
        }
        if lane.mode == (Mode::Digest { said: false }) {
            // The record of the switch is on disk before the first byte that is not.
            let text = format!("{}: from byte {} on, count and SHA-256 only", lane.name(), lane.bytes);
            receipt = Some(track.append(Entry::Marker(text)).await?);
            lane.mode = Mode::Digest { said: true };
            lane.digested = (lane.bytes, Instant::now());
        }
        if let Some(hash) = &mut lane.hash {
            hash.update(bytes);
        }
        lane.bytes = lane.bytes.saturating_add(len);
        match (lane.mode, lane.direction) {
            (Mode::Full(_), Direction::Stdin) => receipt = Some(track.append(Entry::Input(bytes.clone())).await?),
            (Mode::Full(_), direction) => {
                let output = if direction == Direction::Stderr { Output::Stderr } else { Output::Stdout };
                receipt = Some(track.append(Entry::Output { output, bytes: bytes.clone() }).await?);
            }
            (Mode::Digest { .. }, _) => {
                let since = lane.bytes.saturating_sub(lane.digested.0);
                if since >= DIGEST_BYTES || lane.digested.1.elapsed() >= DIGEST_EVERY {
                    receipt = Some(track.append(lane.digest(false)).await?);
                }
            }
        }
        Ok(receipt)
    }

    /// Ready when something must be written although no more bytes come.
    pub async fn due(&self) {
        let keys = self.keys.as_ref().and_then(Keys::due_at);
        let typed = self.typed.as_ref().and_then(Typed::due_at);
        match self.data.due_at().into_iter().chain(self.stderr.due_at()).chain(keys).chain(typed).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Writes the running digests of what is not covered yet, and that keystrokes were not echoed.
    ///
    /// # Errors
    /// What the recorder says.
    pub async fn write_due(&mut self) -> Result<(), RecorderError> {
        if let Some(keys) = self.keys.as_ref().filter(|keys| keys.typing) {
            let overdue = keys.lock().overdue(keys.began.elapsed());
            self.record_heard(overdue).await?;
        }
        if let Some(typed) = self.typed.as_mut().filter(|typed| typed.due_at().is_some_and(|at| at <= Instant::now()))
            && let Some(entry) = typed.count(false)
        {
            // The next receipt of this channel covers it.
            let _ = self.track.append(entry).await?;
        }
        for lane in [&mut self.data, &mut self.stderr] {
            if lane.uncovered() {
                // The next receipt of this channel covers it.
                let _ = self.track.append(lane.digest(false)).await?;
            }
        }
        Ok(())
    }

    async fn final_digests(&mut self) -> Result<(), RecorderError> {
        for lane in [&mut self.data, &mut self.stderr] {
            if lane.bytes > 0 && lane.is_digested() {
                // The next receipt of this channel covers it.
                let _ = self.track.append(lane.digest(true)).await?;
            }
        }
        Ok(())
    }

    /// Writes the last digests of what came after the final ones, or of what had none.
    ///
    /// # Errors
    /// What the recorder says.
    pub async fn finish(&mut self) -> Result<(), RecorderError> {
        if let Some(keys) = self.keys.as_ref().filter(|keys| keys.typing) {
            let rest = keys.lock().end();
            self.record_heard(rest).await?;
        }
        if let Some(entry) = self.typed.as_mut().and_then(|typed| typed.count(true)) {
            // The end of the channel's record covers it.
            let _ = self.track.append(entry).await?;
        }
        for lane in [&mut self.data, &mut self.stderr] {
            if lane.bytes != lane.digested.0 && lane.is_digested() {
                // The next receipt of this channel covers it.
                let _ = self.track.append(lane.digest(true)).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pause;
    use super::*;
    use crate::auditor::Identity;
    use crate::clock::Clock;
    use crate::policy::RecordingPolicy;
    use crate::recorder::Recorder;
    use crate::recorder::tests::{SimLog, facts, permit, quick, run, terminal};
    use crate::seal::Recipients;
    use crate::store::StoreRoot;

    #[test]
    fn what_no_receipt_covers_goes_no_further_once_nothing_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let auditors = Recipients::of([Identity::generate().recipient()]).unwrap();
        let (root, log) = (StoreRoot::at(dir.path()), Arc::new(SimLog::default()));
        let recorder = Recorder::start(root, quick(), auditors, log, Clock::system()).unwrap();
        run(async {
            let permit = permit("strict");
            let id = recorder.new_session_id(Clock::system().now());
            let recording = recorder.open(&permit, facts(&id)).await.unwrap();
            let track = Arc::new(recording.channel(&permit, terminal(1)).await.unwrap());
            let tap_of = |pty, input, capture| {
                let policy = RecordingPolicy { input, stdin: capture, exec: capture, ..permit.recording().clone() };
                let class = if pty { ChannelClass::Shell } else { ChannelClass::Exec };
                let activity = super::super::Activity::start();
                taps(&Facts { class, pty, policy, digested: false, pause: Pause::never(), activity }, &track)
            };
            let key = ChannelEvent::Data(Bytes::from_static(b"k"));
            let (mut kept_out, _) = tap_of(true, InputMode::Off, Capture::Full);
            let (mut echoed, _) = tap_of(true, InputMode::Echoed, Capture::Full);
            let (mut input, mut output) = tap_of(false, InputMode::Off, Capture::Digest);
            for tap in [&mut input, &mut output] {
                assert!(tap.record(&key).await.unwrap().is_some(), "the switch to a digest is on record first");
            }
            for tap in [&mut kept_out, &mut echoed, &mut input, &mut output] {
                assert!(tap.record(&key).await.unwrap().is_none());
            }
            track.finish().await.unwrap();
            for tap in [&mut kept_out, &mut echoed, &mut input, &mut output] {
                assert!(matches!(tap.record(&key).await, Err(RecorderError::Finished)));
            }
            recording.finish("done").await.unwrap();
        });
    }
}
