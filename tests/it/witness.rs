//! A witness as a process of its own: what it answers, what it keeps, and what a crash or a hostile peer changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use doorward::clock::Clock;
use doorward::log::{Leaf, Log, LogSettings, Opened, Reader};
use doorward::secret::Secret;
use doorward::tlog::{
    AddCheckpoint, Algorithm, Checkpoint, EMPTY_ROOT, KeyName, Note, Signature, SigningKey, VerifyingKey,
};
use doorward::witness::{Client, WitnessAddress, WitnessUrl, origin_id};
use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::bastion::program;
use crate::fixture::process::{Finished, Stdout, memory, run};
use crate::fixture::{LIMIT, Running, scratch, until};

const ORIGIN: &str = "bastion.example/log";

#[test]
fn a_witness_answers_each_request_as_the_specification_says() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(300));
    assert_eq!(witness.serve().post(&log.request(0).to_string()).status, 404);
    witness.add(&log.key);

    let answer = witness.post(&log.request(0).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = answer.body.strip_suffix('\n').unwrap();
    let mut note = log.note();
    note.add(Signature::parse(line).unwrap());
    assert_eq!(note.check(&[log.key.public(), &witness.key]).unwrap().signers().len(), 2);

    let conflict = witness.post(&log.request(0).to_string());
    assert_eq!((conflict.status, conflict.body.as_str()), (409, "300\n"));
    assert_eq!(conflict.header("content-type"), Some("text/x.tlog.size"));
    assert_eq!(witness.post("").status, 400);
    assert_eq!(witness.post(&log.request(0).to_string().replacen("old 0", "old 00", 1)).status, 400);
    assert_eq!(witness.post(&AddCheckpoint { old: 301, ..log.request(0) }.to_string()).status, 400);
    let stolen = SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([9; 32])).unwrap();
    let forged = AddCheckpoint { checkpoint: log.newest().sign(&stolen).unwrap(), ..log.request(300) };
    assert_eq!(witness.post(&forged.to_string()).status, 403);
    let split = Checkpoint { root: EMPTY_ROOT, ..log.newest() }.sign(&log.key).unwrap();
    let split = AddCheckpoint { old: 300, proof: Vec::new(), checkpoint: split };
    assert_eq!(witness.post(&split.to_string()).status, 409);
    log.grow(200);
    let unproven = AddCheckpoint { proof: Vec::new(), ..log.request(300) };
    assert_eq!(witness.post(&unproven.to_string()).status, 422);
    assert_eq!(witness.post(&log.request(300).to_string()).status, 200);

    let path = format!("/checkpoint/{}", origin_id(&name(ORIGIN)));
    let kept = witness.ask("GET", &path, "");
    let kept = Note::parse(kept.body.as_bytes()).unwrap();
    assert_eq!(kept.unchecked_text(), log.note().unchecked_text());
    assert_eq!(witness.ask("GET", &format!("/checkpoint/{}", "0".repeat(64)), "").status, 404);
    assert_eq!(witness.ask("GET", "/checkpoint/../key", "").status, 404);
    let other_method = witness.ask("PUT", "/add-checkpoint", "");
    assert_eq!((other_method.status, other_method.header("allow")), (405, Some("POST")));
    assert_eq!(witness.ask("DELETE", &path, "").status, 405);

    let told = witness.stop().ok();
    assert!(told.err().contains("A log signed two trees of one size"), "{told:?}");
    assert!(told.err().contains("does not go on from the last"), "{told:?}");
    assert!(told.err().contains("Stopped"), "{told:?}");
}

#[test]
fn the_commands_make_fill_and_list_a_witness() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(5));
    let dir = witness.dir();
    let again = doorward(&["witness", "init", &dir, "--name", "x"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(doorward(&["witness", "init", "/nowhere", "--name", "two words"]).code, Some(2));
    assert_eq!(doorward(&["witness", "add", &dir, "nonsense"]).code, Some(2));
    let own = witness.key.to_string();
    assert!(doorward(&["witness", "add", &dir, &own]).err().contains("no log's"));
    assert!(doorward(&["witness", "list", &dir]).ok().err().contains("no log is watched"));
    witness.add(&log.key);
    assert!(witness.add(&log.key).err().contains("watched already"));
    assert_eq!(witness.listed()["size"], Value::Null);
    assert_eq!(witness.serve().post(&log.request(0).to_string()).status, 200);
    // One may look, and add, while it serves; a second one may not serve.
    let row = witness.listed();
    assert_eq!((row["origin"].as_str(), row["size"].as_u64()), (Some(ORIGIN), Some(5)));
    assert_eq!(row["root"].as_str(), Some(log.newest().root.to_string().as_str()));
    assert_eq!(row["keys"][0].as_str(), Some(log.key.public().to_string().as_str()));
    assert!(doorward(&["witness", "list", &dir]).ok().out().contains(ORIGIN));
    let second = doorward(&["witness", "serve", &dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(75), "{second:?}");
    let told = witness.stop().ok();
    // The private key is in no output.
    let key = std::fs::read_to_string(Path::new(&dir).join("key")).unwrap();
    assert!(!told.text().contains(key.trim()));
    // What it did not sign it does not start on.
    let seen = Path::new(&dir).join("seen").join(origin_id(&name(ORIGIN)));
    std::fs::write(&seen, log.note().to_string()).unwrap();
    let refused = doorward(&["witness", "serve", &dir, "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err().contains("is not cosigned with this witness's key"), "{refused:?}");
}

#[test]
fn a_restart_keeps_what_was_seen_and_a_rollback_is_refused() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(200));
    witness.add(&log.key);
    let yesterday = log.request(0);
    log.grow(100);
    assert_eq!(witness.serve().post(&log.request(0).to_string()).status, 200);
    witness.stop().ok();
    witness.serve();
    let rollback = witness.post(&yesterday.to_string());
    assert_eq!((rollback.status, rollback.body.as_str()), (409, "300\n"));
    log.grow(1);
    assert_eq!(witness.post(&log.request(300).to_string()).status, 200);
}

#[test]
fn of_two_posts_that_race_one_wins() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(1));
    witness.add(&log.key);
    witness.serve();
    let mut old = 0;
    for _ in 0..10 {
        let bodies: Vec<String> = (0..2)
            .map(|_| {
                log.grow(1);
                log.request(old).to_string()
            })
            .collect();
        let (one, two) = std::thread::scope(|scope| {
            let one = scope.spawn(|| witness.post(&bodies[0]));
            let two = scope.spawn(|| witness.post(&bodies[1]));
            (one.join().unwrap(), two.join().unwrap())
        });
        let (won, lost, size) = match (one.status, two.status) {
            (200, _) => (one, two, log.newest().size - 1),
            (_, 200) => (two, one, log.newest().size),
            _ => panic!("{one:?} {two:?}"),
        };
        assert_eq!((won.status, lost.status, lost.body), (200, 409, format!("{size}\n")));
        old = size;
    }
}

#[test]
fn a_witness_that_is_killed_is_never_behind_what_it_signed() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(1));
    witness.add(&log.key);
    let signed = AtomicU64::new(0);
    for round in 0..12_u64 {
        witness.serve();
        let posting = Mutex::new(());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _held = posting.lock().unwrap();
                let client = Client::new();
                let address = witness.address();
                // The kill shows as an error of whatever is under way.
                let Ok(newest) = client.newest(&address, log.key.public()) else { return };
                let mut old = newest.map_or(0, |one| one.checkpoint.size);
                assert!(old >= signed.load(Ordering::SeqCst), "{old} is behind {signed:?}");
                loop {
                    log.grow(1);
                    let Ok(_) = client.add_checkpoint(&address, &log.request(old)) else { return };
                    old = log.newest().size;
                    signed.store(old, Ordering::SeqCst);
                }
            });
            // Amid its work: after some more signatures in each round.
            let before = signed.load(Ordering::SeqCst);
            until(LIMIT, "signatures", || (signed.load(Ordering::SeqCst) > before + round % 4).then_some(()));
            witness.kill();
        });
    }
    assert!(signed.load(Ordering::SeqCst) > 12, "{signed:?}");
    witness.serve();
    let newest = Client::new().newest(&witness.address(), log.key.public()).unwrap().unwrap();
    assert!(newest.checkpoint.size >= signed.load(Ordering::SeqCst));
    assert_eq!(witness.post(&log.request(newest.checkpoint.size).to_string()).status, 200);
}

#[test]
fn two_witnesses_make_a_quorum_on_one_note() {
    let log = TestLog::of(300);
    let mut note = log.note();
    let mut keys = vec![log.key.public().clone()];
    for name in ["one.example/w", "two.example/w"] {
        let mut witness = Witness::new(name);
        witness.add(&log.key);
        witness.serve();
        note.add(Client::new().add_checkpoint(&witness.address(), &log.request(0)).unwrap());
        keys.push(witness.key.clone());
    }
    let known: Vec<&VerifyingKey> = keys.iter().collect();
    let again = Note::parse(note.to_string().as_bytes()).unwrap();
    let checked = again.check(&known).unwrap();
    assert_eq!(checked.signers().len(), 3);
    assert_eq!(checked.signers().iter().filter(|(_, time)| time.is_some()).count(), 2);
}

#[test]
fn neither_slow_nor_long_requests_keep_a_log_out() {
    let (mut witness, log) = (Witness::new("witness.example/w1"), TestLog::of(5));
    witness.add(&log.key);
    witness.serve();
    let before = memory(witness.pid(), "status", "VmRSS");
    // Far more than fits: the answer comes, or the connection ends, while it is still being sent.
    let mut stream = witness.connect();
    stream.write_all(b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let sent = (0..256).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 64, "{sent} MiB were taken");
    let declared = witness.raw("POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 10000000\r\n\r\nx");
    assert_eq!(declared.status, 413);
    let headers = format!("GET / HTTP/1.1\r\nhost: w\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert_eq!(witness.raw(&headers).status, 431);
    assert_eq!(witness.raw("nonsense\r\n\r\n").status, 400);

    // All connections are taken by peers that say a little now and then.
    let start = Instant::now();
    let mut held: Vec<TcpStream> = (0..64).map(|_| witness.connect()).collect();
    held.iter_mut().for_each(|stream| stream.write_all(b"POST /add-checkpoint HTTP/1.1\r\nhost: ").unwrap());
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| witness.post(&log.request(0).to_string()));
        while !asked.is_finished() {
            // Whoever is ended meanwhile is none that we wait for.
            held.iter_mut().for_each(|stream| drop(stream.write_all(b"w")));
            std::thread::sleep(Duration::from_millis(200));
        }
        asked.join().unwrap()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    let took = start.elapsed();
    assert!(took > Duration::from_secs(5) && took < LIMIT, "{took:?}");
    let grown = memory(witness.pid(), "status", "VmRSS").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
    witness.stop().ok();
}

/// A witness's directory, and the process that serves it while one does.
pub struct Witness {
    folder: tempfile::TempDir,
    pub key: VerifyingKey,
    process: Option<(Running, SocketAddr)>,
}

impl Witness {
    pub fn new(name: &str) -> Self {
        let folder = scratch();
        let dir = folder.path().join("witness");
        let told = doorward(&["witness", "init", dir.to_str().unwrap(), "--name", name]).ok();
        let key = VerifyingKey::parse(told.out().trim_end()).unwrap();
        assert_eq!(key.name().as_str(), name);
        Self { folder, key, process: None }
    }

    pub fn dir(&self) -> String {
        self.folder.path().join("witness").to_str().unwrap().to_owned()
    }

    fn add(&self, log: &SigningKey) -> Finished {
        doorward(&["witness", "add", &self.dir(), &log.public().to_string()]).ok()
    }

    /// The one log that is watched, as the listing has it.
    pub fn listed(&self) -> Value {
        let told = doorward(&["witness", "list", &self.dir(), "--json"]).ok();
        let rows: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows[0].clone()
    }

    fn serve(&mut self) -> &Self {
        self.serve_at("127.0.0.1:0")
    }

    pub fn serve_at(&mut self, address: &str) -> &Self {
        let mut command = Command::new(program());
        command.args(["witness", "serve", &self.dir(), "--listen", address]);
        let mut process = Running::start(command, Stdout::Unread);
        let mut line = String::new();
        BufReader::new(process.stdout()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("http://").and_then(|address| address.parse().ok());
        let Some(address) = address else { panic!("{line:?}: {:?}", process.wait(LIMIT)) };
        self.process = Some((process, address));
        self
    }

    pub fn socket(&self) -> SocketAddr {
        self.process.as_ref().unwrap().1
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().0.pid()
    }

    fn address(&self) -> WitnessAddress {
        let url = WitnessUrl::parse(&format!("http://{}", self.socket())).unwrap();
        WitnessAddress::new(url, self.key.clone()).unwrap()
    }

    pub fn stop(&mut self) -> Finished {
        let (process, _) = self.process.take().unwrap();
        process.signal(Signal::TERM);
        process.wait(LIMIT)
    }

    fn kill(&self) {
        self.process.as_ref().unwrap().0.signal(Signal::KILL);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn post(&self, body: &str) -> Answer {
        self.ask("POST", "/add-checkpoint", body)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    /// Sends bytes as they are, and reads until the witness hangs up.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = Vec::new();
        // What came before a reset counts.
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let value = lines.filter(|(one, _)| *one == name).map(|(_, value)| value).next()?;
        // Methods are the only values that are not lower-case.
        Some(if value == "post" { "POST" } else { value })
    }
}

/// A log on disk, whose key the witness may know.
struct TestLog {
    directory: PathBuf,
    _folder: tempfile::TempDir,
    log: Log,
    key: SigningKey,
}

impl TestLog {
    fn of(leaves: u64) -> Self {
        let folder = scratch();
        let directory = folder.path().join("log");
        let key = || SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([7; 32])).unwrap();
        let settings = LogSettings {
            directory: directory.clone(),
            node: String::from("n1"),
            key: key(),
            clock: Clock::system(),
            floor: None,
        };
        let Opened { log, .. } = Log::open(settings).unwrap();
        let log = Self { directory, _folder: folder, log, key: key() };
        log.grow(leaves);
        log
    }

    fn grow(&self, leaves: u64) {
        let leaf = |n: u64| Leaf::new("test.leaf", serde_json::Map::from_iter([("n".to_owned(), n.into())])).unwrap();
        let receipts: Vec<_> = (0..leaves).map(|n| self.log.submit(leaf(n)).unwrap()).collect();
        receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
        self.log.publish().unwrap().unwrap();
    }

    fn note(&self) -> Note {
        Reader::open(&self.directory).note().unwrap().unwrap()
    }

    fn newest(&self) -> Checkpoint {
        Checkpoint::parse(self.note().unchecked_text()).unwrap()
    }

    /// The newest checkpoint, with the proof from `old`.
    fn request(&self, old: u64) -> AddCheckpoint {
        let proof = Reader::open(&self.directory).consistency(old, self.newest().size).unwrap();
        AddCheckpoint { old, proof, checkpoint: self.note() }
    }
}

fn doorward(arguments: &[&str]) -> Finished {
    let mut command = Command::new(program());
    command.args(arguments);
    run(command, b"", LIMIT)
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}
