//! A state directory made by the real recorder and log, in this process.
#![allow(dead_code, reason = "a benchmark uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorward::auditor::Identity;
use doorward::cast::Entry;
use doorward::clock::Clock;
use doorward::grant::Permit;
use doorward::log::{Leaf, Log, LogSettings, Reader};
use doorward::model::{
    AccountName, ChannelClass, ChannelNumber, Exit, Output, SessionId, TargetName, Terminal, TerminalSize, UserName,
};
use doorward::policy::{PolicyFile, PolicySet, Question};
use doorward::rdp::record::Kind;
use doorward::recorder::{
    ChannelFacts, FreeMin, LiveHead, LogFailure, Outage, Recorder, RecorderLog, RecorderSettings, Recording,
    SessionFacts, Track,
};
use doorward::seal::{Recipients, Sealed};
use doorward::secret::Secret;
use doorward::store::{Disk, LocalDisk, RecoveryReport, SeenByLog, StoreRoot, recover};
use doorward::tlog::{
    Algorithm, Bundle, Checkpoint, Edge, KeyName, Note, SigningKey, VerifyingKey, encode_tile, leaf_hash,
};
use doorward::verify::{Report, SessionReport, Settings, Verdict, run};
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A state directory, and who may read what is in it.
pub struct Store {
    dir: PathBuf,
    /// Removed with this, if the directory is the store's own.
    _own: Option<TempDir>,
    pub auditor: Identity,
}

/// A session that is being recorded.
pub struct Live {
    pub id: SessionId,
    recording: Recording,
    tracks: Vec<Track>,
}

/// What writes into a store.
pub struct Bastion {
    pub log: Arc<Log>,
    recorder: Recorder,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct ToldLog(Arc<Log>);

impl ToldLog {
    fn append(&self, kind: &str, fields: Value) -> Result<(), LogFailure> {
        self.0.append(leaf(kind, fields)).map(|_| ()).map_err(|error| -> LogFailure { Arc::new(error) })
    }
}

impl RecorderLog for ToldLog {
    fn segment_sealed(&self, session: &SessionId, channel: ChannelNumber, sealed: &Sealed) -> Result<(), LogFailure> {
        self.append("segment.seal", seal_fields(session, channel.0, sealed))
    }

    fn segment_suspect(
        &self,
        session: &SessionId,
        channel: ChannelNumber,
        good: &Sealed,
        _: &str,
    ) -> Result<(), LogFailure> {
        self.append("segment.suspect", seal_fields(session, channel.0, good))
    }

    fn heads(&self, _: &[LiveHead]) -> Result<(), LogFailure> {
        // The tests say when.
        Ok(())
    }

    fn gap(&self, _: &SessionId, _: ChannelNumber, _: &str) -> Result<(), LogFailure> {
        Ok(())
    }

    fn resumed(&self, _: &SessionId, _: ChannelNumber, _: Duration) -> Result<(), LogFailure> {
        Ok(())
    }

    fn unclosed(&self, session: &SessionId, why: &str) -> Result<(), LogFailure> {
        self.append("session.unclosed", json!({ "session": session, "body": why }))
    }

    fn outage(&self, outage: &Outage) -> Result<(), LogFailure> {
        self.append("recorder.failed", json!({ "body": outage.reason }))
    }

    fn session_ended(&self, session: &SessionId, end: &str, closed: &str) -> Result<(), LogFailure> {
        self.append("session.end", json!({ "session": session, "closed": closed, "body": end }))
    }
}

pub fn seal_fields(session: &SessionId, channel: u32, sealed: &Sealed) -> Value {
    json!({
        "session": session, "channel": channel, "segment": sealed.segment, "bytes": sealed.bytes,
        "records": sealed.records, "prev_head": sealed.prev_head.to_string(), "head": sealed.head.to_string(),
    })
}

pub fn leaf(kind: &str, fields: Value) -> Leaf {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    Leaf::new(kind, fields).unwrap()
}

pub fn log_key() -> SigningKey {
    log_key_of(7)
}

pub fn log_key_of(seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyName::parse("example.org/bastion").unwrap(), Algorithm::Note, Secret::new([seed; 32]))
        .unwrap()
}

pub fn witness_key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(KeyName::parse(name).unwrap(), Algorithm::Cosignature, Secret::new([seed; 32])).unwrap()
}

impl Store {
    pub fn new() -> Self {
        Self::own(Identity::generate()).furnished()
    }

    /// A new one, in an empty directory of somebody else's.
    pub fn made_at(dir: &Path) -> Self {
        Self::at(dir, Identity::generate()).furnished()
    }

    fn furnished(self) -> Self {
        std::fs::create_dir(self.path().join("log")).unwrap();
        std::fs::write(self.path().join("log/key.pub"), format!("{}\n", log_key().public())).unwrap();
        self.root().keep_policy(&policy()).unwrap();
        self
    }

    fn own(auditor: Identity) -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { dir: own.path().to_owned(), _own: Some(own), auditor }
    }

    /// What lies in a directory that somebody else has made.
    pub fn at(dir: &Path, auditor: Identity) -> Self {
        Self { dir: dir.to_owned(), _own: None, auditor }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub fn root(&self) -> StoreRoot {
        StoreRoot::at(self.path())
    }

    pub fn log(&self) -> Log {
        self.log_at(Clock::system())
    }

    pub fn log_at(&self, clock: Clock) -> Log {
        let (directory, node) = (self.path().join("log"), String::from("bastion"));
        Log::open(LogSettings { directory, node, key: log_key(), clock, floor: None }).unwrap().log
    }

    pub fn bastion(&self) -> Bastion {
        self.bastion_on(Arc::new(LocalDisk))
    }

    /// One that records on another disk.
    pub fn bastion_on(&self, disk: Arc<dyn Disk>) -> Bastion {
        for directory in [self.root().directory(), self.root().envelopes()] {
            disk.create_directories(directory).unwrap();
        }
        let log = Arc::new(self.log());
        let settings =
            RecorderSettings { free_min: FreeMin { bytes: 0, percent: 0 }, threads: 2, ..RecorderSettings::default() };
        let auditors = Recipients::of([self.auditor.recipient()]).unwrap();
        let journal = Arc::new(ToldLog(Arc::clone(&log)));
        let recorder = Recorder::start_on(disk, self.root(), settings, auditors, journal, Clock::system()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Bastion { log, recorder, runtime }
    }

    /// A store with one closed session of these lines, published.
    pub fn with_session(lines: &[&str]) -> (Self, SessionId) {
        let store = Self::new();
        let bastion = store.bastion();
        let id = bastion.session(lines);
        bastion.stop();
        (store, id)
    }

    pub fn session(&self, id: &SessionId) -> PathBuf {
        self.root().session_directory(id).unwrap()
    }

    pub fn segment(&self, id: &SessionId, channel: u32, segment: u32) -> PathBuf {
        self.session(id).join(format!("{channel}/{segment:06}.seg"))
    }

    /// The same files elsewhere: a backup, a snapshot, what a crash leaves.
    pub fn copy(&self) -> Self {
        let copy = Self::own(self.auditor.clone());
        copy_tree(self.path(), copy.path());
        copy
    }

    pub fn append(&self, kind: &str, fields: Value) {
        let log = self.log();
        log.append(leaf(kind, fields)).unwrap();
        log.publish().unwrap();
    }

    /// What the next start does with what a crash left open.
    pub fn recover(&self) -> RecoveryReport {
        self.recover_by(|reader, size, sessions| doorward::verify::seen(reader, size, sessions).unwrap())
    }

    /// The same by a start that does not ask the log how far it has seen what was left open.
    pub fn recover_blindly(&self) {
        self.recover_by(|_, _, _| SeenByLog::new());
    }

    fn recover_by(&self, seen: impl FnOnce(&Reader, u64, &BTreeSet<SessionId>) -> SeenByLog) -> RecoveryReport {
        let log = self.log();
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        log.publish().unwrap();
        let size = log.published().map_or(0, |checkpoint| checkpoint.size);
        let reader = Reader::open(&self.path().join("log"));
        let seen = |sessions: &BTreeSet<SessionId>| Some(seen(&reader, size, sessions));
        let report = recover(&self.root(), &disk, Clock::system().now(), seen, |recovery| {
            let fields = json!({ "session": recovery.session, "recovered": recovery.recovered });
            log.append(leaf("session.recovered", fields)).is_ok()
        });
        assert!(report.failed.is_empty(), "{report:?}");
        log.publish().unwrap();
        report
    }

    pub fn note(&self) -> Note {
        Note::parse(&std::fs::read(self.path().join("log/checkpoint")).unwrap()).unwrap()
    }

    pub fn verify(&self) -> Report {
        self.verify_with(&Settings::default())
    }

    pub fn verify_with(&self, settings: &Settings) -> Report {
        run(self.path(), settings, &mut |_| {})
    }

    /// The one session's report.
    pub fn verdict(&self, id: &SessionId) -> SessionReport {
        let report = self.verify();
        let found = report.sessions.iter().find(|session| session.session == *id);
        found.cloned().unwrap_or_else(|| panic!("{report:#?}"))
    }

    pub fn assert_verdict(&self, id: &SessionId, verdict: Verdict, said: &str) {
        let report = self.verify();
        let found = self.verdict(id);
        assert_eq!(found.verdict, verdict, "{report:#?}");
        assert!(format!("{found:?}").contains(said), "{found:#?} does not say `{said}`");
        assert_eq!(report.log.findings.iter().next(), None);
        let code = match verdict {
            Verdict::Tampered => 5,
            Verdict::Missing => 4,
            Verdict::Interrupted => 3,
            _ => 0,
        };
        assert_eq!(report.exit_code(), code, "{report:#?}");
    }

    /// The entries of the log.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let (_, checkpoint) = Reader::open(&self.path().join("log")).checkpoint(log_key().public()).unwrap().unwrap();
        let reader = Reader::open(&self.path().join("log"));
        reader.entries(0..checkpoint.size, checkpoint.size).map(|entry| entry.unwrap().1).collect()
    }

    /// What who holds the log's key can do: puts another history of under 256 leaves in the place of the log.
    pub fn forge_log(&self, entries: &[Vec<u8>]) {
        let log = self.path().join("log");
        for old in ["tile", "checkpoints"] {
            std::fs::remove_dir_all(log.join(old)).unwrap();
        }
        let (mut edge, mut bundle) = (Edge::new(), Vec::new());
        let key = log_key().authentication_key("journal");
        let tag = |parts: &[&[u8]]| hmac::sign(&key, &parts.concat()).as_ref()[..16].to_vec();
        let checked = |bytes: Vec<u8>| [&bytes[..], &crc32c::crc32c(&bytes).to_le_bytes()].concat();
        let head = [b"DWWL\x02\0\0\0", &0_u64.to_le_bytes()[..], &(entries.len() as u64).to_le_bytes()].concat();
        let mut last = tag(&[&[0; 16], &head]);
        let mut journal = checked([&head[..], &last].concat());
        for (index, entry) in entries.iter().enumerate() {
            edge.append(leaf_hash(entry), |_, _| {});
            Bundle::encode_entry(entry, &mut bundle).unwrap();
            let word = (entry.len() as u32).to_le_bytes();
            last = tag(&[&last, &(index as u64).to_le_bytes(), &word, entry]);
            journal.extend(checked([&word[..], entry, &last].concat()));
        }
        let write = |path: String, bytes: &[u8]| {
            let path = log.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        for (tile, hashes) in edge.partial_tiles() {
            write(tile.path(), &encode_tile(hashes));
            write(tile.bundle_path(), &bundle);
        }
        let checkpoint = Checkpoint { origin: log_key().public().name().clone(), size: edge.size(), root: edge.root() };
        let note = checkpoint.sign(&log_key()).unwrap().to_string();
        write(format!("checkpoints/{}", edge.size()), note.as_bytes());
        write(String::from("checkpoint"), note.as_bytes());
        write(String::from("leaves.wal"), &journal);
    }

    /// A copy of it as it is now, with `live` open; the original closes that.
    pub fn crashed(&self, bastion: &Bastion, live: Live) -> Self {
        bastion.log.publish().unwrap();
        let crashed = self.copy();
        bastion.close(live);
        crashed
    }

    /// Every file of the store, by path.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.clone(), std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

impl Bastion {
    /// A session with one shell that shows these lines, ended as a session ends.
    pub fn session(&self, lines: &[&str]) -> SessionId {
        let mut live = self.open(lines);
        let id = live.id.clone();
        self.channel(&mut live, lines, Some(3));
        self.close(live);
        self.log.publish().unwrap();
        id
    }

    /// A session of which the log has the start.
    pub fn open(&self, lines: &[&str]) -> Live {
        let id = self.recorder.new_session_id(Clock::system().now());
        let mut live = self.open_quietly(&id);
        self.log_start(&live, &Self::recipients(&live));
        self.channel(&mut live, lines, None);
        live
    }

    /// Puts a start on record that says this of the recipients.
    pub fn log_start(&self, live: &Live, recipients: &str) {
        let proof = live.recording.proof();
        let fields = json!({
            "session": live.id, "policy": policy().hash(), "opened": proof.opened, "envelope": proof.envelope,
            "recipients": recipients, "body": "sealed",
        });
        self.log.append(leaf("session.start", fields)).unwrap();
    }

    /// What the log must say of a session's recipients.
    pub fn recipients(live: &Live) -> String {
        live.recording.proof().recipients.clone()
    }

    /// A session of which the log has nothing.
    pub fn open_quietly(&self, id: &SessionId) -> Live {
        let facts = SessionFacts {
            id: id.clone(),
            key_fingerprint: String::from("SHA256:abc"),
            target_address: String::from("192.0.2.1:22"),
            source: String::from("192.0.2.2:5000"),
            started: Clock::system().now(),
        };
        let recording = self.runtime.block_on(self.recorder.open(&permit(), facts)).unwrap();
        Live { id: id.clone(), recording, tracks: Vec::new() }
    }

    pub fn new_id(&self) -> SessionId {
        self.recorder.new_session_id(Clock::system().now())
    }

    /// Opens the next channel and shows lines in it.
    pub fn channel(&self, live: &mut Live, lines: &[&str], exit: Option<u32>) {
        let number = u32::try_from(live.tracks.len()).unwrap() + 1;
        let size = TerminalSize { cols: 100, rows: 30 };
        let facts = ChannelFacts {
            number: ChannelNumber(number),
            class: ChannelClass::Shell,
            terminal: Some(Terminal { term: String::from("xterm"), size, modes: Vec::new() }),
            command: None,
            forward: None,
            environment: Vec::new(),
            pixels: None,
        };
        let track = self.runtime.block_on(live.recording.channel(&permit(), facts)).unwrap();
        live.tracks.push(track);
        self.show(live, number, lines);
        if let Some(exit) = exit {
            let track = &live.tracks[live.tracks.len() - 1];
            self.runtime.block_on(async {
                track.append(Entry::Exit(Exit::Status(exit))).await.unwrap().durable().await.unwrap();
                track.finish().await.unwrap();
            });
        }
    }

    /// Opens the next channel as a desktop, of which these messages are recorded.
    pub fn desktop(&self, live: &mut Live, records: &[(Kind, Vec<u8>)]) {
        let facts = ChannelFacts {
            number: ChannelNumber(u32::try_from(live.tracks.len()).unwrap() + 1),
            class: ChannelClass::Desktop,
            terminal: None,
            command: None,
            forward: None,
            environment: Vec::new(),
            pixels: Some((800, 600)),
        };
        let track = self.runtime.block_on(live.recording.channel(&permit(), facts)).unwrap();
        self.runtime.block_on(async {
            for (kind, bytes) in records {
                let bytes = Bytes::copy_from_slice(bytes);
                track.append(Entry::Record { kind: *kind, bytes }).await.unwrap().durable().await.unwrap();
            }
            track.finish().await.unwrap();
        });
        live.tracks.push(track);
    }

    pub fn show(&self, live: &Live, channel: u32, lines: &[&str]) {
        let track = &live.tracks[channel as usize - 1];
        self.runtime.block_on(async {
            for line in lines {
                let bytes = Bytes::copy_from_slice(line.as_bytes());
                track.append(Entry::Output { output: Output::Stdout, bytes }).await.unwrap().durable().await.unwrap();
            }
        });
    }

    pub fn close(&self, live: Live) {
        self.runtime.block_on(live.recording.finish("client-left")).unwrap();
    }

    pub fn stop(self) {
        self.log.publish().unwrap();
    }
}

/// The rules by which every session is let in.
pub fn policy() -> PolicySet {
    let text = "schema = 1\n[[rule]]\nid = 'r'\nwho = { users = ['alice'] }\nwhere = { targets = ['db1'] }\n\
                accounts = ['root']\nchannels = ['shell']\ngrant = { required = false }\n";
    PolicySet::parse(&[PolicyFile { path: String::from("x.toml"), text: text.to_owned() }]).unwrap()
}

fn permit() -> Permit {
    let question = Question {
        user: &UserName::parse("alice").unwrap(),
        groups: &BTreeSet::new(),
        target: &TargetName::parse("db1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("root").unwrap(),
        asked: Some(&ChannelClass::Shell.into()),
        presence: doorward::model::Presence::NONE,
        circumstances: doorward::policy::Circumstances::BEST,
    };
    doorward::grant::permit(&policy(), &question, "k", &[], Clock::system().now()).unwrap()
}

pub fn pinned() -> Option<VerifyingKey> {
    Some(log_key().public().clone())
}

/// Text that hardly compresses: 90 KB.
pub fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let letters = (0..30_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_u32(0x4e00 + (state >> 40) as u32 % 20_000).unwrap()
    });
    letters.collect()
}
