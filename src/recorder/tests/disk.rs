//! A disk in memory that fails as it is told, and a reserve on it.

use super::*;
use crate::store::Space;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum When {
    Before,
    Halfway,
    After,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op {
    Append,
    Sync,
}

/// A disk in memory that fails as it is told, and remembers what a power cut would leave.
#[derive(Debug, Clone)]
pub(super) struct FaultyDisk {
    pub(super) sim: Arc<(Mutex<Sim>, Condvar)>,
    pub(super) auditor: Identity,
}

#[derive(Debug)]
pub(super) struct Sim {
    pub(super) files: BTreeMap<PathBuf, SimFile>,
    /// The operation, counted from now, that fails, and how.
    pub(super) fault: Option<(usize, When)>,
    pub(super) fail_next: bool,
    /// Of these files the next operation of that kind fails; each once.
    pub(super) broken: Vec<(&'static str, Op, When)>,
    pub(super) space: usize,
    pub(super) reserved: bool,
    pub(super) syncs: usize,
    /// Syncs wait while it is set.
    pub(super) hold: bool,
    pub(super) held: usize,
    /// How often it was looked how much is free: each second, and before a session.
    pub(super) looks: usize,
    pub(super) violation: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct SimFile {
    pub(super) bytes: Vec<u8>,
    pub(super) synced: usize,
    pub(super) given_up: bool,
}

impl FaultyDisk {
    pub(super) fn new() -> Self {
        let sim = Sim {
            files: BTreeMap::new(),
            fault: None,
            fail_next: false,
            broken: Vec::new(),
            space: 1 << 30,
            reserved: true,
            syncs: 0,
            hold: false,
            held: 0,
            looks: 0,
            violation: None,
        };
        Self { sim: Arc::new((Mutex::new(sim), Condvar::new())), auditor: Identity::generate() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sim> {
        self.sim.0.lock().unwrap()
    }

    pub(super) fn hold(&self, hold: bool) {
        self.lock().hold = hold;
        self.sim.1.notify_all();
    }

    pub(super) async fn wait_held(&self) {
        until(|| self.lock().held > 0).await;
    }

    /// Waits until it was looked so often again.
    pub(super) async fn wait_looked(&self, times: usize) {
        let before = self.lock().looks;
        until(|| self.lock().looks >= before + times).await;
    }

    /// What of a channel's output would be found after a power cut now.
    pub(super) fn output(&self, channel: &str) -> Vec<u8> {
        let sim = self.lock();
        let mut output = Vec::new();
        let of = |path: &Path| path.parent().and_then(Path::file_name).is_some_and(|name| name == channel);
        let synced: Vec<_> =
            sim.files.iter().filter(|(path, _)| of(path)).map(|(_, file)| &file.bytes[..file.synced]).collect();
        let mut before = Head::NONE;
        for (at, segment) in synced.iter().enumerate() {
            let next = synced[at + 1..].iter().find_map(|next| next.first_chunk::<HEADER_BYTES>());
            let upto = next.map(|header| SegmentHeader::decode(header).unwrap().prev_head);
            if upto != Some(before) {
                let (lines, head) = self.lines(&sim, segment, upto);
                before = head;
                let Ok(reader) = Reader::new(lines.as_slice()) else { continue };
                for timed in reader {
                    if let Entry::Output { bytes, .. } = timed.unwrap().entry {
                        output.extend_from_slice(&bytes);
                    }
                }
            }
        }
        output
    }

    /// The lines in a segment, as far as it is good or up to a head; and the head there.
    pub(super) fn lines(&self, sim: &Sim, segment: &[u8], upto: Option<Head>) -> (Vec<u8>, Head) {
        let envelope = sim.files.iter().find(|(path, _)| path.starts_with("/data/env")).unwrap().1;
        let mut opener = Opener::new(Dek::from_envelope(&envelope.bytes, std::slice::from_ref(&self.auditor)).unwrap());
        let (mut scanner, mut input, mut lines, mut open) = (Scanner::new(), segment, Vec::new(), None);
        while upto != Some(scanner.head()) {
            let Some(item) = scanner.read(&mut input).unwrap() else { break };
            match item {
                Item::Header(header) => open = Some(opener.segment(&header).unwrap()),
                Item::Record(record) => match open.as_mut().unwrap().record(&record, &mut lines).unwrap() {
                    Opened::Data => {}
                    Opened::End(end) => assert_eq!(end.reason == EndReason::Rolled, upto.is_some()),
                },
            }
        }
        assert!(upto.is_none_or(|upto| upto == scanner.head()), "the next segment follows something else");
        assert!(matches!(scanner.finish(), Ok(ScanEnd::Complete | ScanEnd::Open | ScanEnd::Torn { .. })));
        (lines, scanner.head())
    }

    pub(super) fn closed_json(&self) -> String {
        let sim = self.lock();
        let closed = sim.files.iter().find(|(path, _)| path.ends_with("closed.json"));
        closed.map(|(_, file)| String::from_utf8(file.bytes.clone()).unwrap()).unwrap_or_default()
    }

    pub(super) fn closed(&self) -> serde_json::Value {
        serde_json::from_str(&self.closed_json()).unwrap()
    }

    pub(super) fn assert_sound(&self, shown: &[usize], all_on_disk: bool) {
        assert_eq!(self.lock().violation, None);
        let output = self.output("1");
        let whole: String = (0..10).map(line).collect();
        assert!(whole.as_bytes().starts_with(&output), "not a prefix: {}", String::from_utf8_lossy(&output));
        if all_on_disk && let Some(last) = shown.last() {
            let shown: String = (0..=*last).map(line).collect();
            assert!(output.len() >= shown.len(), "shown, but lost: {shown}");
        }
        let sim = self.lock();
        for (path, file) in sim.files.iter().filter(|(path, _)| path.extension().is_some_and(|name| name == "seg")) {
            let (lines, _) = self.lines(&sim, &file.bytes, None);
            let Ok(mut reader) = Reader::new(lines.as_slice()) else { continue };
            assert!(reader.by_ref().all(|event| event.is_ok()), "{} has a damaged line", path.display());
            assert_eq!(usize::try_from(reader.valid_len()).unwrap(), lines.len(), "half a line was sealed");
        }
    }
}

impl Sim {
    /// How the operation that begins now fails, if it does.
    pub(super) fn next_of(&mut self, path: &Path, op: Op) -> Option<When> {
        let told = self.broken.iter().position(|(end, of, _)| *of == op && path.ends_with(end));
        told.map(|at| self.broken.remove(at).2).or_else(|| self.next())
    }

    pub(super) fn next(&mut self) -> Option<When> {
        if std::mem::take(&mut self.fail_next) {
            return Some(When::Before);
        }
        let (left, when) = self.fault?;
        self.fault = left.checked_sub(1).map(|left| (left, when));
        (left == 0).then_some(when)
    }
}

pub(super) fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Disk for FaultyDisk {
    fn create_directories(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_segment(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let before = self.lock().files.insert(path.to_owned(), SimFile::default());
        assert!(before.is_none(), "a segment was made twice");
        Ok(Box::new(OpenSegment { disk: self.clone(), path: path.to_owned() }))
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        match self.lock().next() {
            Some(_) => Err(broken()),
            None => Ok(()),
        }
    }

    fn create_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut sim = self.lock();
        if sim.next().is_some() {
            return Err(broken());
        }
        if sim.space < bytes.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        sim.files.insert(path.to_owned(), SimFile { bytes: bytes.to_owned(), synced: bytes.len(), given_up: false });
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let mut sim = self.lock();
        sim.looks += 1;
        Ok(Space { free: u64::try_from(sim.space).unwrap(), total: 100_000 })
    }

    fn probe(&self, _directory: &Path) -> io::Result<()> {
        let mut sim = self.lock();
        while sim.hold {
            sim = self.sim.1.wait(sim).unwrap();
        }
        // It writes a page, as the real one does.
        if sim.space < 4096 { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) disk: FaultyDisk,
    pub(super) path: PathBuf,
}

impl SegmentFile for OpenSegment {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sim = self.disk.lock();
        let (mut taken, mut error) = (bytes.len(), None);
        match sim.next_of(&self.path, Op::Append) {
            Some(When::Before) => return Err(broken()),
            Some(When::Halfway) => {
                taken /= 2;
                sim.fail_next = true;
            }
            Some(When::After) => error = Some(broken()),
            None if sim.space == 0 => return Err(io::Error::from(io::ErrorKind::StorageFull)),
            None => taken = taken.min(sim.space),
        }
        sim.space -= taken;
        let file = sim.files.get_mut(&self.path).unwrap();
        file.bytes.extend_from_slice(&bytes[..taken]);
        if file.given_up {
            sim.violation = Some("a file was written after its sync had failed");
        }
        error.map_or(Ok(taken), Err)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut sim = self.disk.lock();
        sim.held += 1;
        while sim.hold {
            sim = self.disk.sim.1.wait(sim).unwrap();
        }
        sim.held -= 1;
        sim.syncs += 1;
        let fault = sim.next_of(&self.path, Op::Sync);
        let file = sim.files.get_mut(&self.path).unwrap();
        let dirty = file.bytes.len() - file.synced;
        file.synced += match fault {
            Some(When::Before) => 0,
            Some(When::Halfway) => dirty / 2,
            Some(When::After) | None => dirty,
        };
        let again = std::mem::replace(&mut file.given_up, fault.is_some());
        if again {
            sim.violation = Some("a sync was tried again after it had failed");
        }
        fault.map_or(Ok(()), |_| Err(broken()))
    }
}

#[derive(Debug)]
pub(super) struct SimReserve {
    pub(super) disk: FaultyDisk,
}

impl Reserve for SimReserve {
    fn give_back(&self) {
        let mut sim = self.disk.lock();
        if std::mem::take(&mut sim.reserved) {
            sim.space += 5000;
        }
    }

    fn set_aside(&self) -> bool {
        self.disk.lock().reserved = true;
        true
    }
}
