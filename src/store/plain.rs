//! Reading what was recorded, for who has an auditor's identity.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::catalog::{StoredChannel, StoredRecording, Summary, chain};
use super::{ClosedChannel, StoreError, StoreRoot};
use crate::auditor::Identity;
use crate::cast::{Header, ReadError, Reader, Timed};
use crate::durable;
use crate::model::{ChannelNumber, SessionId};
use crate::seal::{
    Altered, Dek, ENVELOPE_BYTES_MAX, HEADER_BYTES, Head, IndexKey, Item, OpenError, OpenSegment, Opener, ScanEnd,
    Scanner, SealError, SegmentHeader, Stream,
};

/// So much of a segment is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A recording that can be read.
#[derive(Debug)]
pub struct PlainRecording {
    /// What a listing says of it.
    pub summary: Summary,
    /// Its channels by number; 0 is the session's own facts.
    pub channels: Vec<PlainChannel>,
    /// What could not be read of it, causes included. While a channel is being opened, that channel.
    pub damage: Vec<String>,
}

/// One channel of a recording.
#[derive(Debug, Clone)]
pub struct PlainChannel {
    /// Its number.
    pub number: ChannelNumber,
    /// The header of its first segment.
    pub header: Header,
    /// Its segments, in order.
    pub segments: Vec<PathBuf>,
    /// What was counted, if the session was closed.
    pub closed: Option<ClosedChannel>,
    session: SessionId,
    dek: Dek,
}

impl PlainRecording {
    /// Opens a recording with the first of `identities` that it was sealed for.
    ///
    /// # Errors
    /// `Envelope` if it was sealed for others or its envelope is damaged, `Read` if the envelope is gone.
    pub fn open(root: &StoreRoot, stored: StoredRecording, identities: &[Identity]) -> Result<Self, StoreError> {
        let session = stored.summary.session.clone();
        let dek = session_secret(&root.envelope(&session), identities)?;
        let StoredRecording { summary, channels, mut damage, .. } = stored;
        let mut plain = Vec::new();
        for StoredChannel { number, segments, closed } in channels {
            let found = Events::over(segments.clone(), &session, number, &dek).first_header();
            match found {
                Ok(header) if header.doorward.session == session && header.doorward.channel == number => {
                    plain.push(PlainChannel {
                        number,
                        header,
                        segments,
                        closed,
                        session: session.clone(),
                        dek: dek.clone(),
                    });
                }
                Ok(_) => damage.push(format!("channel {number} is of another session or channel")),
                Err(error) => damage.push(chain(&error)),
            }
        }
        Ok(Self { summary, channels: plain, damage })
    }
}

/// The header of a segment; `None` if there is none that is whole.
fn header_of(path: &Path) -> Option<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES];
    durable::open_plain(path).ok()?.read_exact(&mut bytes).ok()?;
    SegmentHeader::decode(&bytes).ok()
}

fn session_secret(path: &Path, identities: &[Identity]) -> Result<Dek, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let mut envelope = Vec::new();
    let file = durable::open_plain(path).map_err(failed)?;
    let most = u64::try_from(ENVELOPE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut envelope).map_err(failed)?;
    Dek::from_envelope(&envelope, identities).map_err(|source| StoreError::Envelope { path: path.to_owned(), source })
}

impl PlainChannel {
    /// Its entries over all segments; times are since the session opened.
    pub fn events(&self) -> Events {
        let expected = self.closed.as_ref().filter(|closed| closed.failure.is_none()).map(|closed| closed.head.clone());
        Events { expected, ..Events::over(self.segments.clone(), &self.session, self.number, &self.dek) }
    }

    /// When the last entry was, since the session opened; none if that is not known.
    ///
    /// A segment's header says when it starts, so only the last one with an entry is read.
    pub fn length(&self) -> Option<std::time::Duration> {
        (0..self.segments.len()).rev().find_map(|first| self.events_from(first).flatten().last().map(|timed| timed.at))
    }

    /// The entries after the moment `at` since the session opened, and perhaps some before it: what is in segments that
    /// had ended by then is not read.
    pub fn events_after(&self, at: std::time::Duration) -> Events {
        let begun = |path: &PathBuf| header_of(path).is_some_and(|header| u128::from(header.t0_ms) < at.as_millis());
        self.events_from(self.segments.iter().rposition(begun).unwrap_or_default())
    }

    /// The key of its index; none if it was not closed.
    ///
    /// # Errors
    /// `Crypto`.
    pub fn index_key(&self) -> Result<Option<IndexKey>, SealError> {
        let closed = self.closed.as_ref().filter(|closed| closed.failure.is_none());
        closed.map(|closed| IndexKey::new(&self.dek, self.number, &closed.head)).transpose()
    }

    /// The entries from segment `first` on.
    fn events_from(&self, first: usize) -> Events {
        let mut events = self.events();
        events.pass(first);
        events
    }
}

/// The entries of a channel, read as they are asked for. An error is about one line or one segment, and reading
/// goes on after it.
///
/// Each segment is read up to where the next one goes on from it: what stands behind that, in one that was given up
/// after an I/O error, was recorded again there.
///
/// It checks that the segments are those of the channel, each in its place and following the one before it, and that
/// a channel that was closed ends as it did then. What the log says of them is the business of `verify`.
#[derive(Debug)]
pub struct Events {
    segments: std::vec::IntoIter<PathBuf>,
    place: Place,
    opener: Opener,
    reading: Option<(PathBuf, Reader<BufReader<Plain>>)>,
    torn: Option<(PathBuf, u64)>,
    /// The channel's last head, where it is known.
    expected: Option<String>,
}

/// Which segment must come next.
#[derive(Debug)]
struct Place {
    session: [u8; 16],
    channel: ChannelNumber,
    segment: u32,
    /// The head that it follows; `None` if those before it were not read.
    after: Option<Head>,
}

impl Events {
    fn over(segments: Vec<PathBuf>, session: &SessionId, channel: ChannelNumber, dek: &Dek) -> Self {
        // An id that is none has no directory, so there are no segments then.
        let session = session.to_bytes().unwrap_or_default();
        Self {
            segments: segments.into_iter(),
            place: Place { session, channel, segment: 0, after: Some(Head::NONE) },
            opener: Opener::new(dek.clone()),
            reading: None,
            torn: None,
            expected: None,
        }
    }

    /// The segment, of those read so far, that ends in a torn record, and the length of what is good in it.
    pub fn torn(&self) -> Option<(&Path, u64)> {
        self.torn.as_ref().map(|(path, valid_len)| (path.as_path(), *valid_len))
    }

    fn pass(&mut self, segments: usize) {
        if segments > 0 {
            let _ = self.segments.nth(segments.saturating_sub(1));
            self.place.segment = u32::try_from(segments).unwrap_or(u32::MAX);
            self.place.after = None;
        }
    }

    /// Reads the first segment's header.
    fn first_header(mut self) -> Result<Header, StoreError> {
        let Some(path) = self.segments.next() else {
            let why = String::from("the channel has no segment");
            return Err(StoreError::Damaged { path: PathBuf::from(self.place.channel.to_string()), why });
        };
        Ok(self.open(&path)?.header().clone())
    }

    fn open(&mut self, path: &Path) -> Result<Reader<BufReader<Plain>>, StoreError> {
        let upto = self.goes_on_from();
        let mut plain = Plain::open(path, &self.place, upto, &mut self.opener)?;
        // A crash may have come between the header and the first record.
        if !plain.fill().map_err(|error| explained(path, ReadError::Io(error)))? {
            let why = String::from("it ends before its first record does");
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
        Reader::new(BufReader::with_capacity(CHUNK_BYTES, plain)).map_err(|error| explained(path, error))
    }

    /// The head that the next segment follows, whether this one ends there or was given up there.
    ///
    /// Of a next one without a header nothing counts, so it is the one after it that says it. Nobody can make a header
    /// that says else without the key: its records would not open.
    fn goes_on_from(&self) -> Option<Head> {
        let header = self.segments.as_slice().iter().find_map(|path| header_of(path))?;
        let own = header.session == self.place.session && header.channel == self.place.channel;
        (own && header.segment > self.place.segment).then_some(header.prev_head)
    }

    /// Goes past a segment of which nothing counts: the next one follows the one before it.
    fn pass_empty(&mut self) -> bool {
        let empty = self.place.after.is_some() && self.place.after == self.goes_on_from();
        if empty {
            self.place.segment = self.place.segment.saturating_add(1);
        }
        empty
    }

    /// Looks at how a segment ended, once it is read.
    fn close(&mut self, path: &Path, plain: &Plain) -> Result<(), StoreError> {
        let damaged = |why: &str| Err(StoreError::Damaged { path: path.to_owned(), why: why.to_owned() });
        let last = self.segments.as_slice().is_empty();
        self.place.segment = self.place.segment.saturating_add(1);
        self.place.after = Some(plain.scanner.head());
        if plain.is_given_up() {
            return Ok(());
        }
        match plain.scanner.finish() {
            Err(source) => return Err(StoreError::Altered { path: path.to_owned(), source }),
            Ok(ScanEnd::Complete | ScanEnd::Open) => {}
            Ok(ScanEnd::Torn { at }) => self.torn = Some((path.to_owned(), at)),
        }
        let complete = plain.scanner.finish() == Ok(ScanEnd::Complete);
        // One of which a crash has left no header does not follow.
        let is_followed = self.segments.as_slice().iter().any(|path| header_of(path).is_some());
        if is_followed && !complete {
            return damaged("it has no end although another segment follows");
        }
        if last && self.expected.as_ref().is_some_and(|head| *head != plain.scanner.head().to_string()) {
            return damaged("the channel does not end as it did when it was closed");
        }
        Ok(())
    }
}

impl Iterator for Events {
    type Item = Result<Timed, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((path, mut reader)) = self.reading.take() {
                match reader.next() {
                    Some(Ok(timed)) => {
                        self.reading = Some((path, reader));
                        return Some(Ok(timed));
                    }
                    Some(Err(error)) => {
                        let error = explained(&path, error);
                        self.reading = Some((path, reader));
                        return Some(Err(error));
                    }
                    None => {
                        let plain = reader.input().get_ref();
                        // What is wrong with a record has been said.
                        let ended = if plain.broken { Ok(()) } else { self.close(&path, plain) };
                        if plain.broken {
                            self.place.segment = self.place.segment.saturating_add(1);
                            self.place.after = None;
                        }
                        if let Err(error) = ended {
                            return Some(Err(error));
                        }
                    }
                }
                continue;
            }
            let path = self.segments.next()?;
            if self.pass_empty() {
                continue;
            }
            match self.open(&path) {
                Ok(reader) => self.reading = Some((path, reader)),
                Err(error) => {
                    self.place.segment = self.place.segment.saturating_add(1);
                    self.place.after = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// A segment's plaintext, as a file would be read.
struct Plain {
    file: File,
    scanner: Scanner,
    open: OpenSegment,
    /// The head from which the next segment goes on.
    upto: Option<Head>,
    /// What was read and not scanned yet: `chunk[used..len]`.
    chunk: Vec<u8>,
    used: usize,
    len: usize,
    /// What was opened and not read yet: `lines[given..]`.
    lines: Zeroizing<Vec<u8>>,
    given: usize,
    broken: bool,
}

impl Plain {
    /// Opens the segment at `path` up to its header, which must be the one of `place`.
    fn open(path: &Path, place: &Place, upto: Option<Head>, opener: &mut Opener) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Read { path: path.to_owned(), source };
        let mut file = durable::open_plain(path).map_err(failed)?;
        let (mut scanner, mut chunk, mut used, mut len) = (Scanner::new(), vec![0; CHUNK_BYTES], 0, 0);
        let header = loop {
            let mut input = chunk.get(used..len).unwrap_or_default();
            let found = scanner.read(&mut input).map(|item| match item {
                Some(Item::Header(header)) => Some(header),
                Some(Item::Record(_)) | None => None,
            });
            used = len.saturating_sub(input.len());
            match found {
                Ok(Some(header)) => break header,
                Ok(None) => {}
                Err(source) => return Err(StoreError::Altered { path: path.to_owned(), source }),
            }
            (used, len) = (0, file.read(&mut chunk).map_err(failed)?);
            if len == 0 {
                let why = String::from("it ends before its header does");
                return Err(StoreError::Damaged { path: path.to_owned(), why });
            }
        };
        place.check(&header).map_err(|why| StoreError::Damaged { path: path.to_owned(), why: why.to_owned() })?;
        let open = opener.segment(&header).map_err(|source| StoreError::Sealed { path: path.to_owned(), source })?;
        let lines = Zeroizing::new(Vec::new());
        Ok(Self { file, scanner, open, upto, chunk, used, len, lines, given: 0, broken: false })
    }

    /// Whether it is read up to where it was given up.
    fn is_given_up(&self) -> bool {
        self.upto == Some(self.scanner.head()) && self.scanner.finish() == Ok(ScanEnd::Open)
    }

    /// Opens records until there are lines; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, io::Error> {
        self.lines.clear();
        self.given = 0;
        while self.lines.is_empty() {
            if self.is_given_up() {
                return Ok(false);
            }
            let Self { file, scanner, open, chunk, used, len, lines, .. } = self;
            let mut input = chunk.get(*used..*len).unwrap_or_default();
            match scanner.read(&mut input) {
                Ok(Some(Item::Record(record))) => {
                    open.record(&record, lines).map_err(|error| io::Error::other(Broken::Sealed(error)))?;
                }
                // The header was read when the segment was opened, and there is only one.
                Ok(Some(Item::Header(_))) => {}
                Ok(None) => {
                    (*used, *len) = (0, file.read(chunk)?);
                    if *len == 0 {
                        return Ok(false);
                    }
                    continue;
                }
                Err(altered) => return Err(io::Error::other(Broken::Altered(altered))),
            }
            *used = len.saturating_sub(input.len());
        }
        Ok(true)
    }
}

impl Place {
    fn check(&self, header: &SegmentHeader) -> Result<(), &'static str> {
        // Channel 0 is the session's own facts, in lines; whether another has lines or records its own header says.
        let stream = match header.stream {
            Stream::Cast3 => true,
            Stream::Rdp1 => self.channel != ChannelNumber(0),
        };
        if header.session != self.session || header.channel != self.channel || !stream {
            return Err("it is of another session or channel");
        }
        if header.segment != self.segment {
            return Err("it is another segment than its place says");
        }
        if self.after.is_some_and(|head| head != header.prev_head) {
            return Err("it does not follow the segment before it");
        }
        Ok(())
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given >= self.lines.len() && !self.broken {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => {
                    self.broken = true;
                    self.lines.clear();
                    return Err(error);
                }
            }
        }
        let rest = self.lines.get(self.given..).unwrap_or_default();
        let taken = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        self.given = self.given.saturating_add(taken);
        Ok(taken)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("scanner", &self.scanner).finish_non_exhaustive()
    }
}

/// What is wrong with a segment, on its way through a reader.
#[derive(Debug)]
enum Broken {
    Altered(Altered),
    Sealed(OpenError),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered(altered) => altered.fmt(f),
            Self::Sealed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

fn explained(path: &Path, error: ReadError) -> StoreError {
    let path = path.to_owned();
    match error {
        ReadError::Io(error) => match error.downcast::<Broken>() {
            Ok(Broken::Altered(source)) => StoreError::Altered { path, source },
            Ok(Broken::Sealed(source)) => StoreError::Sealed { path, source },
            Err(source) => StoreError::Read { path, source },
        },
        source @ (ReadError::Header { .. } | ReadError::Line { .. }) => StoreError::Segment { path, source },
    }
}
