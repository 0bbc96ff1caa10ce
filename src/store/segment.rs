//! One channel's segments while they are written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ClosedChannel, Disk, Gap, GivenUp, SegmentFile, StoreError};
use crate::cast::{Direction, Entry, Header, Writer};
use crate::seal::{ContextPool, EndReason, Ratchet, SealError, Sealed, Sealer, Source};

/// A segment of so many bytes is followed by a new one.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// So long after its first entry a segment is followed by a new one.
const SEGMENT_AGE: Duration = Duration::from_secs(300);

/// A channel without entries for so long gives its compressor back.
const FRAME_IDLE: Duration = Duration::from_secs(5);

/// What a thread lends to whoever writes: lines on their way to be sealed, and what they are sealed to.
#[derive(Default)]
pub struct Buffers {
    /// Plaintext; it never reaches a file.
    pub lines: Vec<u8>,
    /// Records.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} bytes of lines, {} sealed)", self.lines.len(), self.sealed.len())
    }
}

/// What the segments of a channel are sealed with.
#[derive(Debug)]
pub struct Sealing {
    /// What stands in every header.
    pub source: Source,
    /// The channel's keys.
    pub ratchet: Ratchet,
    /// Compressors.
    pub contexts: Arc<ContextPool>,
}

/// A channel that gave up so many segments is recorded no more: its disk keeps nothing.
const GIVEN_UP_MAX: usize = 64;

/// A channel that went on after so many gaps does not after another.
const GAPS_MAX: usize = 64;

/// Writes the segments of one channel. Calls block; after an error only [`branch`](Self::branch) goes on, and else only
/// what tells how far it came may be called.
///
/// Bytes that were sealed are written as they are or not at all: whoever has them after a write that was cut short
/// completes the same ones.
#[derive(Debug)]
pub struct ChannelWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    header: Header,
    lines: Writer,
    sealer: Sealer,
    path: PathBuf,
    file: Option<Box<dyn SegmentFile>>,
    /// Whether the segment has bytes that no sync has covered.
    dirty: bool,
    /// When the segment's first entry came, since the session opened.
    first_at: Option<Duration>,
    /// When the last line came, of whichever segment.
    last_at: Duration,
    /// How far the segment is on disk; before its first sync, how far the one before it is.
    durable: Sealed,
    /// What the lines were at then: a segment that takes the place of this one goes on from there.
    kept: Kept,
    /// Whether the segment took the place of one that failed, and holds nothing on disk yet.
    on_trial: bool,
    /// Whether its end was sealed.
    ended: bool,
    closed: ClosedChannel,
}

/// Where the lines are.
#[derive(Debug)]
struct Kept {
    lines: Writer,
    size: (u32, u32),
    bytes: u64,
}

impl ChannelWriter {
    /// Creates the channel's directory in `session` and its first segment; durable on return, with its header
    /// and `first`.
    ///
    /// # Errors
    /// `Create`, `Write` or `Seal`.
    pub fn create(
        disk: Arc<dyn Disk>,
        session: &Path,
        header: Header,
        sealing: Sealing,
        first: Option<(Duration, Entry)>,
        buffers: &mut Buffers,
    ) -> Result<Self, StoreError> {
        let number = header.doorward.channel;
        let directory = session.join(number.to_string());
        disk.create_directory(&directory).map_err(|source| StoreError::Create { path: directory.clone(), source })?;
        let path = segment_path(&directory, 0);
        let file = disk.create_segment(&path).map_err(|source| StoreError::Create { path: path.clone(), source })?;
        let Sealing { source, ratchet, contexts } = sealing;
        buffers.sealed.clear();
        let sealer = Sealer::start(source, ratchet, header.doorward.t0, contexts, &mut buffers.sealed)
            .map_err(|source| StoreError::Seal { path: path.clone(), source })?;
        buffers.lines.clear();
        let lines = Writer::new(&header, &mut buffers.lines);
        let durable = *sealer.sealed();
        let kept = Kept { lines: lines.clone(), size: (header.cols, header.rows), bytes: 0 };
        let mut closed = ClosedChannel::new(number, header.doorward.class, header.doorward.pty);
        closed.scrubbed = header.doorward.scrubbed;
        let mut writer = Self {
            last_at: Duration::from_millis(header.doorward.t0),
            disk,
            directory,
            header,
            lines,
            sealer,
            path,
            file: Some(file),
            dirty: false,
            first_at: None,
            durable,
            kept,
            on_trial: false,
            ended: false,
            closed,
        };
        if let Some((at, entry)) = first {
            writer.encode(at, &entry, &mut buffers.lines);
        }
        writer.seal(buffers)?;
        writer.append(&mut buffers.sealed.as_slice())?;
        buffers.sealed.clear();
        // Everything is made before anything is synced: the first sync then carries most of it.
        writer.sync()?;
        for directory in [&writer.directory, session] {
            writer
                .disk
                .sync_directory(directory)
                .map_err(|source| StoreError::Create { path: directory.to_owned(), source })?;
        }
        Ok(writer)
    }

    /// Counts what an entry holds, before known secrets in it were replaced, and how many those were.
    pub fn count(&mut self, passed: Option<(Direction, usize)>, scrubbed: u64) {
        let Some((direction, bytes)) = passed else {
            self.closed.scrubbed = self.closed.scrubbed.saturating_add(scrubbed);
            return;
        };
        let counted = self.closed.counted(direction);
        counted.record(bytes.try_into().unwrap_or(u64::MAX));
        counted.scrubbed = counted.scrubbed.saturating_add(scrubbed);
    }

    /// Appends the lines of one entry to `lines`.
    pub fn encode(&mut self, at: Duration, entry: &Entry, lines: &mut Vec<u8>) {
        self.lines.write(at, entry, lines);
        self.first_at.get_or_insert(at);
        self.last_at = at;
        match entry {
            Entry::Digest(digest) => {
                let counted = self.closed.counted(digest.direction);
                // A digest counts from the direction's first byte, so it includes what was recorded in full.
                counted.bytes = counted.bytes.max(digest.bytes);
                let stdin = &mut self.closed.stdin;
                stdin.withheld = self.header.doorward.withheld.filter(|_| stdin.bytes > stdin.recorded);
            }
            Entry::Exit(exit) => self.closed.exit = Some(exit.clone()),
            Entry::Resize { cols, rows } => {
                // A next segment starts with the size of then, so that it can be played alone.
                self.header.cols = *cols;
                self.header.rows = *rows;
            }
            Entry::Output { .. } | Entry::Input(_) | Entry::Redacted | Entry::Marker(_) | Entry::Record { .. } => {}
        }
    }

    /// Moves the lines of `buffers` into records, appended to what is sealed there.
    ///
    /// # Errors
    /// `Seal`; the lines are gone all the same.
    pub fn seal(&mut self, buffers: &mut Buffers) -> Result<(), StoreError> {
        let sealed = self.sealer.record(&buffers.lines, &mut buffers.sealed);
        buffers.lines.clear();
        sealed.map_err(|source| self.seal_error(source))
    }

    fn seal_error(&self, source: SealError) -> StoreError {
        StoreError::Seal { path: self.path.clone(), source }
    }

    /// Writes sealed bytes. `bytes` moves on as they are taken, so that after an error it is what is left,
    /// and the call can be repeated with it.
    ///
    /// # Errors
    /// `Write`; of `bytes` as it came a part is in the segment.
    pub fn append(&mut self, bytes: &mut &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            self.dirty = true;
            let taken = match self.file.as_mut().ok_or_else(no_file).and_then(|file| file.append(bytes)) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let taken = taken.map_err(|source| StoreError::Write { path: self.path.clone(), source })?;
            *bytes = bytes.get(taken..).unwrap_or_default();
            self.closed.bytes = self.closed.bytes.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Makes all that was appended durable. All that was sealed must have been appended.
    ///
    /// # Errors
    /// `Write`; the file is given up then, and nothing is appended or synced after it.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if self.dirty {
            let synced = self.file.as_mut().ok_or_else(no_file).and_then(|file| file.sync());
            self.dirty = false;
            synced.map_err(|source| {
                self.file = None;
                StoreError::Write { path: self.path.clone(), source }
            })?;
        }
        self.durable = *self.sealer.sealed();
        let size = (self.header.cols, self.header.rows);
        self.kept = Kept { lines: self.lines.clone(), size, bytes: self.closed.bytes };
        // The first record is the header line.
        self.on_trial &= self.durable.records < 2;
        Ok(())
    }

    /// How far the present segment is on disk; before its first sync, how far the one before it is.
    pub fn durable(&self) -> &Sealed {
        &self.durable
    }

    /// Whether the next lines belong in a new segment.
    pub fn is_full(&self, now: Duration) -> bool {
        self.sealer.sealed().bytes >= SEGMENT_BYTES || self.is_old(now)
    }

    fn is_old(&self, now: Duration) -> bool {
        self.first_at.is_some_and(|first| now.saturating_sub(first) >= SEGMENT_AGE)
    }

    /// When there is next something to do although nothing is recorded: [`idle`](Self::idle), or a new segment.
    pub fn care_at(&self) -> Option<Duration> {
        let segment = self.first_at.map(|first| first.saturating_add(SEGMENT_AGE));
        let idle = self.sealer.has_frame().then(|| self.last_at.saturating_add(FRAME_IDLE));
        segment.into_iter().chain(idle).min()
    }

    /// Gives the compressor of a channel back that has been idle; appends what that takes to `buffers.sealed`.
    ///
    /// # Errors
    /// `Seal`.
    pub fn idle(&mut self, now: Duration, buffers: &mut Buffers) -> Result<(), StoreError> {
        if now.saturating_sub(self.last_at) >= FRAME_IDLE && self.sealer.has_frame() {
            self.sealer.end_frame(&mut buffers.sealed).map_err(|source| self.seal_error(source))?;
        }
        Ok(())
    }

    /// Seals the end of the segment, appended to `buffers.sealed`; nothing is sealed after it but by
    /// [`roll`](Self::roll).
    ///
    /// # Errors
    /// `Seal`.
    pub fn end(&mut self, reason: EndReason, buffers: &mut Buffers) -> Result<(), StoreError> {
        self.sealer.end(reason, &mut buffers.sealed).map_err(|source| self.seal_error(source))?;
        self.ended = true;
        Ok(())
    }

    /// Starts the next segment. The caller has ended this one as rolled and synced it. The new one is durable with
    /// the next `sync`, its directory entry on return.
    ///
    /// # Errors
    /// `Create`, `Write` or `Seal`.
    pub fn roll(&mut self, buffers: &mut Buffers) -> Result<(), StoreError> {
        self.start_segment(buffers, |sealer, t0_ms, sealed| sealer.next_segment(t0_ms, sealed))
    }

    /// Whether a segment that failed may be followed by another: not if it took the place of one that failed itself and
    /// has kept nothing, nor if there were many.
    pub fn may_branch(&self) -> bool {
        !self.on_trial && self.closed.given_up.len() < GIVEN_UP_MAX
    }

    /// Whether the recording may go on after a gap: not if there were many, or many segments failed.
    pub fn may_go_on(&self) -> bool {
        self.closed.given_up.len() < GIVEN_UP_MAX && self.closed.gaps.len() < GAPS_MAX
    }

    /// Whether the present segment has ended and all of it is on disk, so that nothing of it is given up.
    pub fn is_whole(&self) -> bool {
        self.ended && !self.dirty && self.durable == *self.sealer.sealed()
    }

    /// Notes that the channel was not recorded for a time, and what went by then.
    pub fn add_gap(&mut self, gap: Gap, missed: &[(Direction, u64)]) {
        self.closed.gaps.push(gap);
        for (direction, bytes) in missed {
            self.closed.counted(*direction).miss(*bytes);
        }
    }

    /// How far the present segment, which has failed, is good: what the log must have on record before
    /// [`branch`](Self::branch). Of one that was never synced that is nothing: 0 bytes after the segment before it.
    pub fn good_part(&self) -> Sealed {
        let segment = self.sealer.sealed().segment;
        if self.durable.segment == segment {
            return self.durable;
        }
        let head = self.durable.head;
        Sealed { segment, prev_head: head, head, bytes: 0, records: 0, plain_bytes: 0 }
    }

    /// Gives the present segment up where it is on disk, unless it is whole, and starts the next one from there. Its file
    /// is neither written nor synced again: after a sync that failed, Linux reports success for pages that it has dropped.
    ///
    /// What was encoded since the last sync that succeeded must be encoded again; it is not counted again. The new
    /// segment is durable with the next `sync`, its directory entry on return.
    ///
    /// # Errors
    /// `Create`, `Write` or `Seal`.
    pub fn branch(&mut self, buffers: &mut Buffers) -> Result<(), StoreError> {
        self.file = None;
        if !self.is_whole() {
            let Sealed { segment, bytes, .. } = self.good_part();
            self.closed.given_up.push(GivenUp { segment, bytes });
        }
        self.lines = self.kept.lines.clone();
        (self.header.cols, self.header.rows) = self.kept.size;
        self.closed.bytes = self.kept.bytes;
        self.on_trial = true;
        buffers.lines.clear();
        buffers.sealed.clear();
        let durable = self.durable;
        self.start_segment(buffers, |sealer, t0_ms, sealed| sealer.branch(&durable, t0_ms, sealed))
    }

    /// Makes the next segment's file and writes its header, as `begin` seals it.
    fn start_segment(
        &mut self,
        buffers: &mut Buffers,
        begin: impl FnOnce(&mut Sealer, u64, &mut Vec<u8>) -> Result<(), SealError>,
    ) -> Result<(), StoreError> {
        let number = self.closed.segments;
        let path = segment_path(&self.directory, number);
        let failed = |source| StoreError::Create { path: path.clone(), source };
        self.file = Some(self.disk.create_segment(&path).map_err(failed)?);
        self.disk.sync_directory(&self.directory).map_err(failed)?;
        self.path = path;
        self.closed.segments = number.saturating_add(1);
        self.first_at = None;
        self.ended = false;
        self.header.doorward.seg = number;
        self.header.doorward.t0 = self.lines.last_ms();
        begin(&mut self.sealer, self.header.doorward.t0, &mut buffers.sealed)
            .map_err(|source| self.seal_error(source))?;
        self.lines.start_segment(&self.header, &mut buffers.lines);
        self.seal(buffers)?;
        self.append(&mut buffers.sealed.as_slice())?;
        buffers.sealed.clear();
        Ok(())
    }

    /// Gives the file back and wipes the keys; what was appended stays as durable as it is.
    pub fn close(&mut self) {
        self.file = None;
        self.sealer.close();
    }

    /// What `closed.json` says of the channel.
    pub fn closed(&self) -> ClosedChannel {
        ClosedChannel { records: self.durable.records, head: self.durable.head.to_string(), ..self.closed.clone() }
    }

    /// What was counted so far, of what may not be on disk too; without where the chain is.
    pub fn counted(&self) -> &ClosedChannel {
        &self.closed
    }

    /// The segment that is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn segment_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.seg"))
}

fn no_file() -> io::Error {
    io::Error::other("the segment was given up after an error")
}
