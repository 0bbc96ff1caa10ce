//! One channel's segments while they are written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{ClosedChannel, Counted, Disk, SegmentFile, StoreError};
use crate::cast::{Direction, Entry, Header, Writer};

/// A segment of so many bytes is followed by a new one.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Writes the segments of one channel. Calls block; after an error only `closed` may be called.
#[derive(Debug)]
pub struct ChannelWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    header: Header,
    lines: Writer,
    path: PathBuf,
    file: Option<Box<dyn SegmentFile>>,
    segment_bytes: u64,
    /// Whether the segment has bytes that no sync has covered.
    dirty: bool,
    closed: ClosedChannel,
}

impl ChannelWriter {
    /// Creates the channel's directory in `session` and its first segment; durable on return, with its header
    /// and `first`.
    ///
    /// `buffer` is lent for the lines.
    ///
    /// # Errors
    /// `Create` or `Write`.
    pub fn create(
        disk: Arc<dyn Disk>,
        session: &Path,
        header: Header,
        first: Option<(Duration, Entry)>,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, StoreError> {
        let number = header.doorward.channel;
        let directory = session.join(number.to_string());
        disk.create_directory(&directory).map_err(|source| StoreError::Create { path: directory.clone(), source })?;
        let path = segment_path(&directory, 0);
        let file = disk.create_segment(&path).map_err(|source| StoreError::Create { path: path.clone(), source })?;
        buffer.clear();
        let lines = Writer::new(&header, buffer);
        let closed = ClosedChannel {
            number,
            class: header.doorward.class,
            segments: 1,
            bytes: 0,
            stdin: Counted::default(),
            stdout: Counted::default(),
            stderr: Counted::default(),
            exit: None,
            failure: None,
        };
        let mut writer =
            Self { disk, directory, header, lines, path, file: Some(file), segment_bytes: 0, dirty: false, closed };
        if let Some((at, entry)) = first {
            writer.encode(at, &entry, buffer);
        }
        writer.append(&mut buffer.as_slice())?;
        buffer.clear();
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

    /// Appends the lines of one entry to `buffer`, and counts it.
    pub fn encode(&mut self, at: Duration, entry: &Entry, buffer: &mut Vec<u8>) {
        self.lines.write(at, entry, buffer);
        if let Some((direction, len)) = entry.bytes() {
            let counted = self.counted(direction);
            counted.bytes = counted.bytes.saturating_add(len.try_into().unwrap_or(u64::MAX));
        }
        match entry {
            Entry::Digest(digest) => {
                let counted = self.counted(digest.direction);
                // A digest counts from the direction's first byte, so it includes what was recorded in full.
                counted.bytes = counted.bytes.max(digest.bytes);
                counted.sha256 = Some(digest.sha256.clone());
            }
            Entry::Exit(exit) => self.closed.exit = Some(exit.clone()),
            Entry::Resize { cols, rows } => {
                // A next segment starts with the size of then, so that it can be played alone.
                self.header.cols = *cols;
                self.header.rows = *rows;
            }
            Entry::Output { .. } | Entry::Input(_) | Entry::Marker(_) => {}
        }
    }

    fn counted(&mut self, direction: Direction) -> &mut Counted {
        match direction {
            Direction::Stdin => &mut self.closed.stdin,
            Direction::Stdout => &mut self.closed.stdout,
            Direction::Stderr => &mut self.closed.stderr,
        }
    }

    /// Writes complete lines. `bytes` moves on as they are taken, so that after an error it is what is left,
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
            let taken = u64::try_from(taken).unwrap_or(u64::MAX);
            self.segment_bytes = self.segment_bytes.saturating_add(taken);
            self.closed.bytes = self.closed.bytes.saturating_add(taken);
        }
        Ok(())
    }

    /// Makes all that was appended durable.
    ///
    /// # Errors
    /// `Write`; the file is given up then, and nothing is appended or synced after it.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if !self.dirty {
            return Ok(());
        }
        let synced = self.file.as_mut().ok_or_else(no_file).and_then(|file| file.sync());
        self.dirty = false;
        synced.map_err(|source| {
            self.file = None;
            StoreError::Write { path: self.path.clone(), source }
        })
    }

    /// Whether the next lines belong in a new segment.
    pub fn is_full(&self) -> bool {
        self.segment_bytes >= SEGMENT_BYTES
    }

    /// Starts the next segment. The caller has synced this one. The new one is durable with the next `sync`, its
    /// directory entry on return.
    ///
    /// # Errors
    /// `Create` or `Write`.
    pub fn roll(&mut self) -> Result<(), StoreError> {
        let number = self.closed.segments;
        let path = segment_path(&self.directory, number);
        let failed = |source| StoreError::Create { path: path.clone(), source };
        self.file = Some(self.disk.create_segment(&path).map_err(failed)?);
        self.disk.sync_directory(&self.directory).map_err(failed)?;
        self.path = path;
        self.closed.segments = number.saturating_add(1);
        self.segment_bytes = 0;
        self.header.doorward.seg = number;
        self.header.doorward.t0 = self.lines.last_ms();
        let mut line = Vec::new();
        self.lines.start_segment(&self.header, &mut line);
        self.append(&mut line.as_slice())
    }

    /// Gives the file back; what was appended stays as durable as it is.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// What `closed.json` says of the channel.
    pub fn closed(&self) -> &ClosedChannel {
        &self.closed
    }

    /// The segment that is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn segment_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:06}.cast"))
}

fn no_file() -> io::Error {
    io::Error::other("the segment was given up after an error")
}
