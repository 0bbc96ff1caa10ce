//! Every state that a crash may leave: what was synced, and any part of the rest. Test plan T7, order and reuse.
//!
//! A session is recorded once, on a disk that only notes what it is asked. Then for each point between two steps, and
//! many times by chance, the files are made that a crash there could leave: unsynced bytes are there, cut or zeros;
//! unsynced names are there or not, in any combination. What a start makes of it is read as an auditor reads it.

use super::*;
use crate::store::{LocalDisk, SeenByLog, Space, recover};

/// How often chance decides for each point.
const CHANCES: u64 = 100;
const LINES: usize = 8;

/// What a disk was asked to do, and what somebody was shown meanwhile.
#[derive(Debug, Clone)]
enum Step {
    Directory(PathBuf),
    File(PathBuf),
    Append(PathBuf, Vec<u8>),
    Synced(PathBuf),
    DirectorySynced(PathBuf),
    Renamed(PathBuf, PathBuf),
    /// All lines up to this one may have been shown.
    Shown(usize),
}

/// Notes all that it is asked. One sync of the file can be told to fail, of which nothing is known then.
#[derive(Debug, Clone, Default)]
struct TraceDisk {
    steps: Arc<Mutex<Vec<Step>>>,
    fails: Arc<Mutex<Option<(PathBuf, usize)>>>,
}

#[derive(Debug)]
struct TracedFile {
    disk: TraceDisk,
    path: PathBuf,
}

impl TraceDisk {
    fn note(&self, step: Step) {
        self.steps.lock().unwrap().push(step);
    }
}

impl Disk for TraceDisk {
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = path.ancestors().take_while(|path| !path.ends_with("data/rec")).collect();
        missing.reverse();
        for path in missing {
            self.note(Step::Directory(path.to_owned()));
            self.note(Step::DirectorySynced(path.parent().unwrap().to_owned()));
        }
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.note(Step::Directory(path.to_owned()));
        Ok(())
    }

    fn create_segment(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.note(Step::File(path.to_owned()));
        Ok(Box::new(TracedFile { disk: self.clone(), path: path.to_owned() }))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.note(Step::DirectorySynced(path.to_owned()));
        Ok(())
    }

    fn create_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = PathBuf::from(format!("{}.new", path.display()));
        self.note(Step::File(new.clone()));
        self.note(Step::Append(new.clone(), bytes.to_vec()));
        self.note(Step::Synced(new.clone()));
        self.note(Step::Renamed(new, path.to_owned()));
        self.note(Step::DirectorySynced(path.parent().unwrap().to_owned()));
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { free: 1 << 40, total: 1 << 40 })
    }

    fn probe(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentFile for TracedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.note(Step::Append(self.path.clone(), bytes.to_vec()));
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut fails = self.disk.fails.lock().unwrap();
        if let Some((path, left)) = fails.as_mut().filter(|(path, _)| self.path.ends_with(path)) {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => {
                    path.push("never again");
                    return Err(broken());
                }
            }
        }
        drop(fails);
        self.disk.note(Step::Synced(self.path.clone()));
        Ok(())
    }
}

/// A file system as far as it matters: names are paths, and files are numbers.
#[derive(Debug, Default)]
struct Left {
    /// `None` is a directory.
    durable: BTreeMap<PathBuf, Option<usize>>,
    pending: Vec<(PathBuf, Change)>,
    now: BTreeMap<PathBuf, usize>,
    files: Vec<(Vec<u8>, usize)>,
}

#[derive(Debug)]
enum Change {
    Directory(PathBuf),
    File(PathBuf, usize),
    Renamed(PathBuf, PathBuf, usize),
}

impl Left {
    fn take(&mut self, step: &Step) {
        let parent = |path: &Path| path.parent().unwrap().to_owned();
        match step {
            Step::Directory(path) => self.pending.push((parent(path), Change::Directory(path.clone()))),
            Step::File(path) => {
                self.files.push((Vec::new(), 0));
                let file = self.files.len() - 1;
                self.now.insert(path.clone(), file);
                self.pending.push((parent(path), Change::File(path.clone(), file)));
            }
            Step::Append(path, bytes) => self.files[self.now[path]].0.extend_from_slice(bytes),
            Step::Synced(path) => {
                let (bytes, synced) = &mut self.files[self.now[path]];
                *synced = bytes.len();
            }
            Step::Renamed(from, to) => {
                let file = self.now.remove(from).unwrap();
                self.now.insert(to.clone(), file);
                self.pending.push((parent(to), Change::Renamed(from.clone(), to.clone(), file)));
            }
            Step::DirectorySynced(directory) => {
                for (of, change) in std::mem::take(&mut self.pending) {
                    if of == *directory {
                        change.apply(&mut self.durable);
                    } else {
                        self.pending.push((of, change));
                    }
                }
            }
            Step::Shown(_) => {}
        }
    }

    /// Makes what a crash could leave, below `at`.
    #[expect(clippy::disallowed_methods, reason = "this makes what was not durable")]
    fn make(mut self, at: &Path, random: &mut impl FnMut(usize) -> usize) {
        for (_, change) in std::mem::take(&mut self.pending) {
            if random(1) == 1 {
                change.apply(&mut self.durable);
            }
        }
        for (path, file) in &self.durable {
            let path = at.join(path.strip_prefix("/data").unwrap());
            // What lies in a directory that is not there is not there either.
            if !path.parent().unwrap().is_dir() {
                continue;
            }
            let Some(file) = file else {
                std::fs::create_dir(&path).unwrap();
                continue;
            };
            let (bytes, synced) = &self.files[*file];
            let kept = synced + random(bytes.len() - synced);
            let mut left = bytes[..kept].to_vec();
            if random(1) == 1 {
                // The length may be on disk before the content.
                left.resize(bytes.len(), 0);
            }
            std::fs::write(&path, left).unwrap();
        }
    }
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, Option<usize>>) {
        match self {
            Self::Directory(path) => drop(names.insert(path, None)),
            Self::File(path, file) => drop(names.insert(path, Some(file))),
            Self::Renamed(from, to, file) => {
                names.remove(&from);
                names.insert(to, Some(file));
            }
        }
    }
}

/// Records some lines, each shown once it may be; `fails` is the sync of the first segment that does.
fn record(fails: Option<usize>) -> (Vec<Step>, SessionId, Identity) {
    let (disk, auditor) = (TraceDisk::default(), Identity::generate());
    *disk.fails.lock().unwrap() = fails.map(|sync| (PathBuf::from("1/000000.seg"), sync));
    let auditors = Recipients::of([auditor.recipient()]).unwrap();
    let (root, log) = (StoreRoot::at(Path::new("/data")), Arc::new(SimLog::default()));
    let recorder = Recorder::start_on(Arc::new(disk.clone()), root, quick(), auditors, log, Clock::system()).unwrap();
    let id = run(async {
        let (recording, track) = open(&recorder, "strict").await;
        for n in 0..LINES {
            track.append(out(&line(n))).await.unwrap().durable().await.unwrap();
            disk.note(Step::Shown(n));
        }
        track.finish().await.unwrap();
        let id = recording.id().clone();
        recording.finish("done").await.unwrap();
        id
    });
    drop(recorder);
    let steps = disk.steps.lock().unwrap().clone();
    (steps, id, auditor)
}

/// What an auditor reads of the session, line by line, if there is anything to open.
fn read(root: &StoreRoot, id: &SessionId, auditor: &Identity) -> Option<String> {
    let stored = Catalog::new(root.clone()).open(id).ok()?;
    let plain = PlainRecording::open(root, stored, std::slice::from_ref(auditor)).ok()?;
    let shell = plain.channels.iter().find(|channel| channel.number == ChannelNumber(1))?;
    let (mut text, mut over) = (String::new(), false);
    for event in shell.events() {
        match event {
            Ok(timed) => {
                assert!(!over, "an entry behind one that cannot be read: {timed:?}");
                if let Entry::Output { bytes, .. } = timed.entry {
                    text.push_str(std::str::from_utf8(&bytes).unwrap());
                }
            }
            // A segment that was being made, at most.
            Err(error) => {
                over = true;
                assert!(error.to_string().contains("it ends before"), "{error}");
            }
        }
    }
    Some(text)
}

#[test]
fn i2_whatever_a_crash_leaves_reads_as_a_prefix_with_all_that_was_shown() {
    let memory = Path::new("/dev/shm");
    let whole: String = (0..LINES).map(line).collect();
    let (mut states, mut opened, mut seed) = (0, 0, 7_u64);
    let mut random = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % (most + 1)
    };
    for fails in [None, Some(3)] {
        let (steps, id, auditor) = record(fails);
        let segments = steps.iter().filter(|step| matches!(step, Step::File(path) if path.ends_with("1/000001.seg")));
        assert_eq!(segments.count(), usize::from(fails.is_some()));
        for crash in 0..=steps.len() {
            let shown =
                steps[..crash].iter().filter_map(|step| if let Step::Shown(n) = step { Some(*n) } else { None });
            let shown: String = (0..shown.count()).map(line).collect();
            for _ in 0..CHANCES {
                let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
                let (root, local): (_, Arc<dyn Disk>) = (StoreRoot::at(folder.path()), Arc::new(LocalDisk));
                std::fs::create_dir(root.directory()).unwrap();
                std::fs::create_dir(root.envelopes()).unwrap();
                let mut left = Left::default();
                steps[..crash].iter().for_each(|step| left.take(step));
                left.make(folder.path(), &mut random);
                let start = || recover(&root, &local, Clock::system().now(), |_| Some(SeenByLog::new()), |_| true);
                let before = start();
                assert!(before.failed.is_empty(), "after step {crash} of {fails:?}: {before:?}");
                let found = read(&root, &id, &auditor);
                opened += usize::from(found.is_some());
                let text = found.unwrap_or_default();
                assert!(whole.starts_with(&text), "after step {crash} of {fails:?}: {text}");
                assert!(text.starts_with(&shown), "shown and lost, after step {crash} of {fails:?}: {shown}");
                let again = start();
                assert!(again.interrupted.is_empty() && again.failed.is_empty(), "a start closes it twice: {again:?}");
                assert_eq!(read(&root, &id, &auditor).unwrap_or_default(), text);
                states += 1;
            }
        }
    }
    assert!(states > 10_000 && opened > states / 2, "{opened} of {states} states could be opened");
}

/// A session may be killed while the files of its next channel are made: what is there is what `closed.json` knows.
#[test]
fn a_channel_whose_session_ends_while_its_files_are_made_leaves_none() {
    let temp = tempfile::tempdir().unwrap();
    let root = StoreRoot::at(temp.path());
    let auditors = Recipients::of([Identity::generate().recipient()]).unwrap();
    let recorder =
        Recorder::start(root.clone(), quick(), auditors, Arc::new(SimLog::default()), Clock::system()).unwrap();
    let id = recorder.new_session_id(Clock::system().now());
    run(async {
        let permit = permit("strict");
        let recording = recorder.open(&permit, facts(&id)).await.unwrap();
        recording.channel(&permit, terminal(1)).await.unwrap().finish().await.unwrap();
        // The recorder's threads are busy meanwhile.
        let gate = Arc::new(std::sync::Barrier::new(quick().threads + 1));
        for _ in 0..quick().threads {
            let gate = Arc::clone(&gate);
            recorder.running.0.spawn(move || {
                gate.wait();
            });
        }
        drop(timeout(Duration::from_millis(50), recording.channel(&permit, terminal(2))).await);
        let closing = recording.shared.end("killed");
        gate.wait();
        closing.await.unwrap().unwrap();
    });
    let listed =
        std::fs::read_dir(root.session_directory(&id).unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let listed: BTreeSet<_> = listed.map(|name| name.into_string().unwrap()).collect();
    assert!(listed.contains("1") && !listed.contains("2"), "{listed:?}");
}
