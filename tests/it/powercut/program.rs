//! The writer as its tests see it: where it works, what it has acknowledged, and how its power is cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command};
use std::time::{Duration, Instant};

use doorward::auditor::Identity;
use doorward::db::{Db, MasterKey};
use doorward::log::Leaf;
use doorward::model::SessionId;
use doorward::secret::Secret;
use doorward::tlog::Note;
use rustix::process::Signal;

use super::found::{Kind, Lost, lost};
use crate::fixture::process::{Stdout, stopped};
use crate::fixture::{LIMIT, Mounted, Running, Syncs, scratch, until};
use crate::verify::store::{Store, log_key};

/// The variable that tells the writer its folder.
pub const WRITER: &str = "DW_WRITER";
/// The variable that tells it what to write: words of `state`, `log` and `session`, one for each that is to be at work.
pub const WORK: &str = "DW_WRITER_WORK";
/// The auditor's identity and the master key: files beside the disk, which no power cut concerns.
pub const AUDITOR: &str = "auditor.key";
pub const MASTER_KEY: &str = "master.key";
pub const STORE_ID: &str = "powercut";

const IMAGE_BYTES: u64 = 96 << 20;

/// Whether syncs are what they are said to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Honest,
    Lying,
}

/// All that was acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    pub state: BTreeMap<String, u64>,
    /// The number that a leaf holds, by its place.
    pub leaves: BTreeMap<u64, u64>,
    pub checkpoints: Vec<Note>,
    pub sessions: BTreeSet<SessionId>,
    /// The last record of each session.
    pub records: BTreeMap<SessionId, u64>,
    pub closed: BTreeSet<SessionId>,
    pub sled: BTreeSet<u64>,
}

impl Acknowledged {
    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        // A line without its end may be cut short.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines().filter_map(|line| line.strip_prefix("ack ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            let session = || SessionId::parse(words[1]).unwrap();
            match words[0] {
                "begin" => {}
                "state" => drop(all.state.insert(words[1].to_owned(), number(2))),
                "leaf" => drop(all.leaves.insert(number(1), number(2))),
                "checkpoint" => all.checkpoints.push(Note::parse(&from_hex(words[1])).unwrap()),
                "session" => drop(all.sessions.insert(session())),
                "record" => drop(all.records.insert(session(), number(2))),
                "closed" => drop(all.closed.insert(session())),
                "sled" => drop(all.sled.insert(number(1))),
                other => panic!("{other}"),
            }
        }
        all
    }

    /// Adds what came later.
    fn extend(&mut self, later: Self) {
        self.state.extend(later.state);
        self.leaves.extend(later.leaves);
        self.checkpoints.extend(later.checkpoints);
        self.sessions.extend(later.sessions);
        self.records.extend(later.records);
        self.closed.extend(later.closed);
        self.sled.extend(later.sled);
    }

    /// How many there are of each kind, for the assertion that a test has tested something.
    pub fn counts(&self) -> [(Kind, usize); 6] {
        let records = self.records.values().map(|last| *last as usize + 1).sum();
        [
            (Kind::State, self.state.len()),
            (Kind::Leaf, self.leaves.len()),
            (Kind::Checkpoint, self.checkpoints.len()),
            (Kind::Session, self.sessions.len()),
            (Kind::Record, records),
            (Kind::Closed, self.closed.len()),
        ]
    }
}

/// A store, made before the writer starts: the syncs of its making are honest.
fn prepare(folder: &Path) {
    let auditor = Identity::generate();
    std::fs::write(folder.join(AUDITOR), auditor.to_file().expose()).unwrap();
    let master = MasterKey::create(&folder.join(MASTER_KEY)).unwrap();
    let disk = folder.join("disk");
    Db::create(&disk.join("state"), STORE_ID, master).unwrap();
    doorward::durable::create_directories(&disk.join("log")).unwrap();
    doorward::durable::create_new(&disk.join("log/key.pub"), format!("{}\n", log_key().public()).as_bytes(), 0o600)
        .unwrap();
    let log = Store::at(&disk, auditor).log();
    log.append(Leaf::new("node.start", serde_json::Map::new()).unwrap()).unwrap();
    log.publish().unwrap();
}

pub fn identity(file: &Path) -> Identity {
    Identity::parse_file(&Secret::new(std::fs::read_to_string(file).unwrap())).unwrap().remove(0)
}

/// The writer while it runs.
struct Writer {
    running: Running,
    stdout: ChildStdout,
    said: Vec<u8>,
}

impl Writer {
    fn start(work: &str, folder: &Path, environment: &[(String, String)]) -> Self {
        let test = if work == SLED { "writes_to_sled_alone" } else { "writes_until_it_is_stopped" };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("powercut::writer::{test}"), "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(WRITER, folder).env(WORK, work).envs(environment.iter().cloned());
        let mut running = Running::start(command, Stdout::Unread);
        let stdout = running.stdout();
        Self { running, stdout, said: Vec::new() }
    }

    /// Reads what it says for so long, from its first acknowledgement on.
    fn listen(&mut self, span: Duration) {
        until(LIMIT, "acknowledgement", || {
            self.hear();
            let text = String::from_utf8_lossy(&self.said);
            assert!(!self.running.ended(), "the writer has ended: {text}");
            (text.matches("\nack ").count() > 1).then_some(())
        });
        let start = Instant::now();
        while start.elapsed() < span {
            self.hear();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!self.running.ended(), "the writer has ended");
    }

    /// Listens on until all of its work has come to something, however busy the machine is.
    fn listen_for(&mut self, work: &str) {
        let said = work.split(' ').flat_map(|part| match part {
            "state" => &["state"][..],
            "log" => &["leaf", "checkpoint"],
            "session" => &["record", "closed"],
            _ => &["sled"],
        });
        for kind in said {
            let ack = format!("\nack {kind} ");
            until(LIMIT, kind, || {
                self.hear();
                String::from_utf8_lossy(&self.said).contains(&ack).then_some(())
            });
        }
    }

    /// Reads what waits in the pipe.
    fn hear(&mut self) {
        let waiting = rustix::io::ioctl_fionread(&self.stdout).unwrap();
        let from = self.said.len();
        self.said.resize(from + waiting as usize, 0);
        self.stdout.read_exact(&mut self.said[from..]).unwrap();
    }

    /// Stops it where it is; what it has said by then is what it has acknowledged.
    fn stop(&mut self) -> Acknowledged {
        self.running.signal(Signal::STOP);
        until(LIMIT, "stop of all threads", || stopped(self.running.pid()).then_some(()));
        self.hear();
        Acknowledged::parse(&String::from_utf8_lossy(&self.said))
    }
}

/// Cuts the power of a writer after `span`; gives what it had acknowledged and what of it is lost. `None` without the
/// right to mount.
fn cut(work: &str, disk: Disk, span: Duration) -> Option<(Acknowledged, Vec<Lost>)> {
    let folder = scratch();
    let mounted = Mounted::ext4(&folder.path().join("disk"), IMAGE_BYTES)?;
    prepare(folder.path());
    let syncs = (disk == Disk::Lying).then(|| Syncs::build(folder.path()).environment("lie", ""));
    let mut writer = Writer::start(work, folder.path(), &syncs.unwrap_or_default());
    writer.listen(span);
    writer.listen_for(work);
    let acknowledged = writer.stop();
    let image = mounted.cut();
    drop(writer);
    drop(mounted);
    let after: PathBuf = folder.path().join("disk");
    let mounted = image.mount(&after)?;
    let lost = lost(folder.path(), &acknowledged);
    drop(mounted);
    Some((acknowledged, lost))
}

/// All at once, as in a server.
const ALL: &str = "state log session session session";
const SLED: &str = "sled";

#[test]
fn i1_a_power_cut_loses_nothing_that_was_acknowledged() {
    crate::require!("mkfs.ext4", "mount", "cc");
    let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
    // Each alone, too: with ext4 a sync of one file brings much of the others to the disk.
    for (round, work) in (0_u32..).zip(["state", ALL, "state", "log", "session", ALL]) {
        let span = Duration::from_millis(150) + round * Duration::from_millis(150);
        let Some((acknowledged, lost)) = cut(work, Disk::Honest, span) else { return };
        assert!(lost.is_empty(), "`{work}` after {span:?}, of {:?}: {lost:#?}", acknowledged.counts());
        acknowledged.counts().into_iter().for_each(|(kind, count)| *seen.entry(kind).or_default() += count);
    }
    println!("acknowledged and found: {seen:?}");
    assert!(seen.values().all(|count| *count > 0), "hardly anything was tested: {seen:?}");
}

#[test]
fn with_syncs_that_lie_a_power_cut_loses_what_was_acknowledged() {
    // The control: a test that cannot see this loss would see none.
    crate::require!("mkfs.ext4", "mount", "cc");
    let mut kinds = BTreeSet::new();
    // Somebody else's `sync` of the whole machine in that moment would save it all, so it may be tried again.
    for _ in 0..3 {
        let Some((acknowledged, lost)) = cut(ALL, Disk::Lying, Duration::from_millis(700)) else { return };
        assert!(acknowledged.counts().iter().all(|(_, count)| *count > 0), "{:?}", acknowledged.counts());
        kinds.extend(lost.iter().map(|lost| lost.kind));
        if kinds.len() == acknowledged.counts().len() {
            return;
        }
    }
    panic!("the lies had no consequences but for {kinds:?}: is something synced that the library does not see?");
}

#[test]
fn sled_alone_loses_what_it_has_acknowledged() {
    // Why `db` syncs sled's file itself: `flush` of sled 0.34 calls `sync_file_range`, which is no sync.
    crate::require!("mkfs.ext4", "mount");
    for _ in 0..3 {
        let Some((acknowledged, lost)) = cut(SLED, Disk::Honest, Duration::from_millis(300)) else { return };
        assert!(!acknowledged.sled.is_empty(), "{acknowledged:?}");
        if lost.iter().any(|lost| lost.kind == Kind::Sled) {
            return;
        }
    }
    panic!("sled's own flush is durable: is the discipline of `db` needed still?");
}

#[test]
fn i1_a_writer_killed_at_any_moment_loses_nothing_that_it_had_acknowledged() {
    let folder = scratch();
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    prepare(folder.path());
    // All rounds on one store: each start finds what the one before has left.
    let mut all = Acknowledged::default();
    for round in 0..12_u64 {
        let mut writer = Writer::start(ALL, folder.path(), &[]);
        writer.listen(Duration::from_millis(20 + round * 15));
        if round == 11 {
            writer.listen_for(ALL);
        }
        writer.running.signal(Signal::KILL);
        until(LIMIT, "end of the writer", || writer.running.ended().then_some(()));
        writer.hear();
        all.extend(Acknowledged::parse(&String::from_utf8_lossy(&writer.said)));
        let lost = lost(folder.path(), &all);
        assert!(lost.is_empty(), "round {round}: {lost:#?}");
    }
    assert!(all.counts().iter().all(|(_, count)| *count > 0), "hardly anything was tested: {:?}", all.counts());
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
