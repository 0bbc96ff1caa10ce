//! Segments to records, without a key. The input is hostile.

use super::header::{HEADER_BYTES, MAGIC, SegmentHeader};
use super::record::{CHECKSUM_BYTES, FRAME_BYTES, Head, Kind, Record, checksum, parse_frame};
use super::{Altered, Fault, HeaderFault};

/// Reads a segment as it comes, in chunks of any size, and checks what can be checked without a key.
///
/// What it yields is a prefix of what was written, whatever became of the rest, **if** the head at the end is one
/// that was kept elsewhere: without that, someone may have written all of it anew. It holds at most one record.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The first bytes of what the chunks so far have only in part; also what the last item borrows.
    buffer: Vec<u8>,
    /// Whether the buffer's content has been yielded.
    yielded: bool,
    place: Place,
}

/// What a scanner finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// The header; always the first.
    Header(SegmentHeader),
    /// A record.
    Record(Record<'a>),
}

/// How a segment that is not altered ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanEnd {
    /// With its end record.
    Complete,
    /// With a whole record, or its header: it is still being written, or the bastion stopped between two writes.
    Open,
    /// With a part of one: the bastion stopped during a write, or the file was cut or damaged there.
    Torn {
        /// Where the part begins. All before it is good.
        at: u64,
    },
}

/// A whole segment, scanned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Its header, if it has one that is good.
    pub header: Option<SegmentHeader>,
    /// The number of good records, the end record included.
    pub records: u64,
    /// So many bytes from the start are good.
    pub valid_len: u64,
    /// The chain's head after them.
    pub head: Head,
    /// How it ends.
    pub end: Result<ScanEnd, Altered>,
}

/// Scans a whole segment.
pub fn scan(mut bytes: &[u8]) -> Scan {
    let mut scanner = Scanner::new();
    let mut header = None;
    loop {
        match scanner.read(&mut bytes) {
            Ok(Some(Item::Header(found))) => header = Some(found),
            Ok(Some(Item::Record(_))) => {}
            // `finish` tells an error again.
            Ok(None) | Err(_) => break,
        }
    }
    Scan {
        header,
        records: scanner.records(),
        valid_len: scanner.valid_len(),
        head: scanner.head(),
        end: scanner.finish(),
    }
}

impl Scanner {
    /// At the start of a segment.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next item of what was read before and `input`, which moves on; `None` once all of `input` is used.
    ///
    /// # Errors
    /// What is wrong. It is wrong for good: every later call says the same.
    pub fn read<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Option<Item<'a>>, Altered> {
        if std::mem::take(&mut self.yielded) {
            self.buffer.clear();
        }
        loop {
            let have = if self.buffer.is_empty() { *input } else { &self.buffer };
            let need = match self.place.need(have)? {
                Need::Bytes(need) => need,
                Need::Damaged(fault) => {
                    // Only the first bytes of the record are gone; the rest of it is judged as what follows.
                    let len = have.len().min(FRAME_BYTES);
                    self.place.damage(fault);
                    self.drop_unit(len, input);
                    continue;
                }
                Need::Zeros => {
                    self.place.check_rest(std::mem::take(input))?;
                    return Ok(None);
                }
            };
            if let Some(unit) = have.get(..need) {
                let Some(found) = self.place.take(unit)? else {
                    self.drop_unit(need, input);
                    continue;
                };
                return Ok(Some(found.item(self.lend_unit(need, input))));
            }
            let more = need.saturating_sub(self.buffer.len()).min(input.len());
            if more == 0 {
                return Ok(None);
            }
            // INVARIANT: the buffer never has more than one unit, so a length that is not true allocates nothing.
            let (now, later) = input.split_at(more);
            self.buffer.extend_from_slice(now);
            *input = later;
        }
    }

    /// Goes past the first `len` bytes, which are in the buffer, if there is anything in it, or in `input`.
    fn drop_unit(&mut self, len: usize, input: &mut &[u8]) {
        if self.buffer.is_empty() {
            *input = input.get(len..).unwrap_or_default();
        }
        self.buffer.clear();
    }

    /// Goes past them, and lends them.
    fn lend_unit<'a, 'b: 'a>(&'a mut self, len: usize, input: &mut &'b [u8]) -> &'a [u8] {
        if self.buffer.is_empty() {
            let (unit, rest) = input.split_at(len);
            *input = rest;
            return unit;
        }
        self.yielded = true;
        &self.buffer
    }

    /// The chain's head after what was yielded.
    pub fn head(&self) -> Head {
        self.place.head
    }

    /// How many records were yielded.
    pub fn records(&self) -> u64 {
        self.place.records
    }

    /// How many bytes, from the start, what was yielded has.
    pub fn valid_len(&self) -> u64 {
        self.place.offset
    }

    /// How the segment ends, if no more comes.
    ///
    /// # Errors
    /// What `read` said, or would say: that it is not a segment, however short.
    pub fn finish(&self) -> Result<ScanEnd, Altered> {
        let rest = if self.yielded { &[][..] } else { &self.buffer };
        let torn = ScanEnd::Torn { at: self.place.offset };
        match self.place.phase {
            Phase::Altered(altered) => Err(altered),
            Phase::Ended => Ok(ScanEnd::Complete),
            Phase::Damaged(_) => Ok(torn),
            Phase::Records if rest.is_empty() => Ok(ScanEnd::Open),
            Phase::Records => Ok(torn),
            Phase::Header => {
                let fault = Fault::Header(HeaderFault::Magic);
                if rest.starts_with(&MAGIC) || begun(rest) { Ok(torn) } else { Err(Altered { offset: 0, fault }) }
            }
        }
    }
}

/// How far a segment is read, and what must come next.
#[derive(Debug)]
struct Place {
    /// All before it is good.
    offset: u64,
    head: Head,
    records: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Header,
    Records,
    /// The end record was read.
    Ended,
    /// What stands at `offset` is not right. If nothing but zeros follow, then it was being written when the machine
    /// stopped: a file system may have made the file longer and not have written all of its bytes.
    Damaged(Fault),
    Altered(Altered),
}

/// An item, but for the bytes that it lends.
enum Found {
    Header(SegmentHeader),
    Record(Record<'static>),
}

impl Found {
    fn item(self, bytes: &[u8]) -> Item<'_> {
        match self {
            Self::Header(header) => Item::Header(header),
            Self::Record(record) => Item::Record(Record { bytes, ..record }),
        }
    }
}

enum Need {
    /// So many bytes make the next unit, or tell how long it is.
    Bytes(usize),
    /// There is no such record.
    Damaged(Fault),
    /// Nothing may follow but zeros.
    Zeros,
}

impl Default for Place {
    fn default() -> Self {
        Self { offset: 0, head: Head::NONE, records: 0, phase: Phase::Header }
    }
}

impl Place {
    /// What the next unit needs, as far as its first bytes tell.
    fn need(&mut self, have: &[u8]) -> Result<Need, Altered> {
        match self.phase {
            Phase::Header => Ok(Need::Bytes(HEADER_BYTES)),
            Phase::Records => Ok(match have.first_chunk::<FRAME_BYTES>().map(|frame| parse_frame(*frame)) {
                None => Need::Bytes(FRAME_BYTES),
                Some(Ok((_, len))) => Need::Bytes(len),
                Some(Err(fault)) => Need::Damaged(fault),
            }),
            Phase::Ended if have.is_empty() => Ok(Need::Bytes(1)),
            Phase::Ended => Err(self.altered(Fault::AfterEnd)),
            Phase::Damaged(_) => Ok(Need::Zeros),
            Phase::Altered(altered) => Err(altered),
        }
    }

    /// Checks a unit; `None` if it is not right.
    fn take(&mut self, unit: &[u8]) -> Result<Option<Found>, Altered> {
        match self.phase {
            Phase::Header => self.header(unit),
            Phase::Records => Ok(self.record(unit)),
            Phase::Ended | Phase::Damaged(_) => Ok(None),
            Phase::Altered(altered) => Err(altered),
        }
    }

    fn header(&mut self, unit: &[u8]) -> Result<Option<Found>, Altered> {
        let decoded = unit.first_chunk().ok_or(HeaderFault::Magic).and_then(SegmentHeader::decode);
        match decoded {
            Ok(header) => {
                self.head = Head::of_header(&header.prev_head, unit);
                self.advance(unit);
                self.phase = Phase::Records;
                Ok(Some(Found::Header(header)))
            }
            Err(fault) if fault == HeaderFault::Checksum || begun(unit) => {
                self.damage(Fault::Header(fault));
                Ok(None)
            }
            Err(fault) => Err(self.altered(Fault::Header(fault))),
        }
    }

    fn record(&mut self, unit: &[u8]) -> Option<Found> {
        let before = self.head;
        let parsed = unit.first_chunk::<FRAME_BYTES>().map(|frame| parse_frame(*frame));
        let (Some(Ok((kind, _))), Some((sealed, sum))) = (parsed, unit.split_last_chunk::<CHECKSUM_BYTES>()) else {
            self.damage(Fault::Checksum);
            return None;
        };
        if checksum(&before, sealed) != *sum {
            self.damage(Fault::Checksum);
            return None;
        }
        let offset = self.offset;
        self.head = before.then(unit);
        self.records = self.records.saturating_add(1);
        self.advance(unit);
        if kind == Kind::End {
            self.phase = Phase::Ended;
        }
        Some(Found::Record(Record { index: self.records, kind, offset, before, after: self.head, bytes: &[] }))
    }

    fn advance(&mut self, unit: &[u8]) {
        self.offset = self.offset.saturating_add(u64::try_from(unit.len()).unwrap_or(u64::MAX));
    }

    fn damage(&mut self, fault: Fault) {
        self.phase = Phase::Damaged(fault);
    }

    /// Looks at what follows a damaged record.
    fn check_rest(&mut self, rest: &[u8]) -> Result<(), Altered> {
        match self.phase {
            Phase::Damaged(fault) if !zeros(rest) => Err(self.altered(fault)),
            Phase::Damaged(_) | Phase::Header | Phase::Records | Phase::Ended | Phase::Altered(_) => Ok(()),
        }
    }

    fn altered(&mut self, fault: Fault) -> Altered {
        let altered = Altered { offset: self.offset, fault };
        self.phase = Phase::Altered(altered);
        altered
    }
}

/// Whether it is the start of what every segment starts with, and zeros: a first write that was cut short.
fn begun(bytes: &[u8]) -> bool {
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    bytes.get(..len).is_some_and(|start| MAGIC.starts_with(start))
}

fn zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
