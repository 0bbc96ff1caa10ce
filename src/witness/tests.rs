use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Map;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::durable;
use crate::home::HomeError;
use crate::log::{Leaf, Log, LogSettings, Opened, Reader};
use crate::model::Timestamp;
use crate::secret::Secret;
use crate::tlog::{AddCheckpoint, Algorithm, Note, Refused, Signature, SigningKey, VerifyingKey};

/// Anything that must happen happens within this; machines under test are busy.
const LIMIT: Duration = Duration::from_secs(30);
const ORIGIN: &str = "example.com/log";

#[test]
fn what_was_cosigned_is_kept_over_a_restart_with_both_signatures() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let keeper = witness.open();
    let outcome = keeper.submit(log.request(0).to_string().as_bytes()).unwrap();
    let Outcome::Cosigned { checkpoint, signature } = outcome else { panic!("{outcome:?}") };
    assert_eq!(checkpoint.size, 300);
    assert!(keeper.public().made(&signature));
    drop(keeper);
    let keeper = witness.open();
    let kept = keeper.newest(&log.id()).unwrap();
    assert!(kept.signatures().contains(&signature));
    assert_eq!(kept.check(&[log.key.public(), keeper.public()]).unwrap().signers().len(), 2);
    assert_eq!(refused(&keeper, &log.request(0)), Refused::Conflict { size: 300 });
    log.grow(1);
    assert_eq!(cosigned(&keeper, &log.request(300)), 301);
    assert_eq!(keeper.newest(&origin_id(&name("example.com/other"))), None);
    let logs = list(&witness.dir()).unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].newest.as_ref().unwrap().0.size, 301);
}

#[test]
fn a_checkpoint_that_cannot_be_kept_is_not_signed_and_changes_nothing() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let keeper = witness.open();
    assert_eq!(cosigned(&keeper, &log.request(0)), 5);
    let before = keeper.newest(&log.id());
    log.grow(5);
    // Where the new file is written stands a directory.
    let obstacle = witness.dir().join("seen").join(format!("{}.new", log.id()));
    durable::create_directories(&obstacle).unwrap();
    let failed = keeper.submit(log.request(5).to_string().as_bytes()).unwrap_err();
    assert!(matches!(failed, KeeperError::Io { .. }), "{failed}");
    assert_eq!(keeper.newest(&log.id()), before);
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(cosigned(&keeper, &log.request(5)), 10);
}

#[test]
fn a_witness_does_not_start_on_what_it_did_not_sign() {
    let log = TestLog::of(5);
    let refused = |change: &dyn Fn(&Path, &Path)| {
        let witness = Witness::new();
        let keeper = witness.open();
        assert_eq!(cosigned(&keeper, &log.request(0)), 5);
        drop(keeper);
        let seen = witness.dir().join("seen");
        change(&seen, &seen.join(log.id()));
        Keeper::open(&witness.dir(), Clock::system()).unwrap_err()
    };
    let edit = |from: &'static str, to: &'static str| {
        move |_: &Path, file: &Path| {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(text.contains(from));
            put(file, text.replacen(from, to, 1).as_bytes());
        }
    };
    assert!(matches!(refused(&edit("\n5\n", "\n4\n")), KeeperError::Signature { .. }));
    assert!(matches!(refused(&|_, file| put(file, b"")), KeeperError::Damaged { .. }));
    let unsigned = |_: &Path, file: &Path| put(file, log.note().to_string().as_bytes());
    assert!(matches!(refused(&unsigned), KeeperError::Signature { .. }));
    let renamed = |seen: &Path, file: &Path| {
        std::fs::rename(file, seen.join(origin_id(&name("example.com/other")))).unwrap();
    };
    assert!(matches!(refused(&renamed), KeeperError::Damaged { .. }));
    let hidden = |seen: &Path, file: &Path| std::fs::rename(file, seen.join("old")).unwrap();
    assert!(matches!(refused(&hidden), KeeperError::Damaged { .. }));
    let gone = |seen: &Path, _: &Path| std::fs::remove_dir_all(seen).unwrap();
    assert!(matches!(refused(&gone), KeeperError::Io { .. }));
    let other_key = |seen: &Path, _: &Path| {
        let other = Witness::new();
        let key = seen.parent().unwrap().join("key");
        std::fs::remove_file(&key).unwrap();
        std::fs::copy(other.dir().join("key"), &key).unwrap();
    };
    assert!(matches!(refused(&other_key), KeeperError::Signature { .. }));
    let log_key = |seen: &Path, _: &Path| {
        let key = seen.parent().unwrap().join("key");
        durable::replace(&key, log.key.to_text().expose().as_bytes(), 0o400).unwrap();
    };
    assert!(matches!(refused(&log_key), KeeperError::KeyKind { .. }));
    // What an interrupted write leaves is no damage.
    let witness = Witness::new();
    put(&witness.dir().join("seen").join(format!("{}.new", log.id())), b"half a no");
    assert_eq!(cosigned(&witness.open(), &log.request(0)), 5);
}

#[test]
fn a_witness_has_one_process_and_its_directory_one_owner() {
    let witness = Witness::new();
    let keeper = witness.open();
    let second = Keeper::open(&witness.dir(), Clock::system()).unwrap_err();
    assert!(matches!(second, KeeperError::Home(HomeError::Locked { .. })), "{second}");
    drop(keeper);
    drop(witness.open());
    let mode = |file: &str| std::fs::metadata(witness.dir().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("key"), mode("logs"), mode("seen")), (0o700, 0o400, 0o700, 0o700));
    assert!(matches!(init(&witness.dir(), name("w")), Err(KeeperError::NotEmpty { .. })));
    std::fs::set_permissions(witness.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = Keeper::open(&witness.dir(), Clock::system()).unwrap_err();
    assert!(matches!(open, KeeperError::Home(HomeError::Readable { .. })), "{open}");
    let nowhere = witness.folder.path().join("nowhere");
    assert!(matches!(Keeper::open(&nowhere, Clock::system()), Err(KeeperError::Absent { .. })));
    assert!(matches!(watch(&nowhere, TestLog::key().public()), Err(KeeperError::Absent { .. })));
    assert!(!nowhere.exists());
}

#[test]
fn a_log_and_its_further_keys_are_watched_from_the_next_request_on() {
    let witness = Witness::unwatching();
    let log = TestLog::of(5);
    let keeper = witness.open();
    assert_eq!(refused(&keeper, &log.request(0)), Refused::UnknownOrigin);
    assert_eq!(list(&witness.dir()).unwrap(), []);
    let other = SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([9; 32])).unwrap();
    assert!(watch(&witness.dir(), other.public()).unwrap());
    assert_eq!(refused(&keeper, &log.request(0)), Refused::BadSignature);
    assert!(watch(&witness.dir(), log.key.public()).unwrap());
    assert!(!watch(&witness.dir(), log.key.public()).unwrap());
    assert_eq!(cosigned(&keeper, &log.request(0)), 5);
    assert_eq!(list(&witness.dir()).unwrap()[0].keys, [other.public().clone(), log.key.public().clone()]);
    assert!(matches!(watch(&witness.dir(), keeper.public()), Err(KeeperError::KeyKind { .. })));
    for n in 10..24 {
        let key = SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([n; 32])).unwrap();
        assert!(watch(&witness.dir(), key.public()).unwrap());
    }
    let key = SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([99; 32])).unwrap();
    assert!(matches!(watch(&witness.dir(), key.public()), Err(KeeperError::TooManyKeys { keys: 16 })));
    // Keys that cannot be read are no reason to say that the log is unknown.
    put(&witness.dir().join("logs").join(log.id()), b"example.com/log+00000000+AQ==\n");
    assert!(matches!(keeper.submit(log.request(5).to_string().as_bytes()), Err(KeeperError::Key { .. })));
}

#[test]
fn signatures_that_nobody_checked_are_not_kept() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let keeper = witness.open();
    let stranger = SigningKey::from_seed(name("stranger"), Algorithm::Note, Secret::new([8; 32])).unwrap();
    let mut request = log.request(0);
    request.checkpoint.add(stranger.sign("something else\n").unwrap());
    assert_eq!(cosigned(&keeper, &request), 5);
    let names: Vec<_> = keeper.newest(&log.id()).unwrap().signatures().iter().map(|one| one.name().clone()).collect();
    assert_eq!(names, [name(ORIGIN), keeper.public().name().clone()]);
}

#[test]
fn a_clock_that_goes_back_makes_no_cosignature_older() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let clock = Clock::fixed(Timestamp::from_millis(2_000_000));
    let keeper = Keeper::open(&witness.dir(), clock.clone()).unwrap();
    let time =
        |keeper: &Keeper| keeper.newest(&log.id()).unwrap().check(&[keeper.public()]).unwrap().signers()[0].1.unwrap();
    assert_eq!(cosigned(&keeper, &log.request(0)), 5);
    assert_eq!(time(&keeper), 2000);
    clock.set(Timestamp::from_millis(1_000_000));
    log.grow(1);
    assert_eq!(cosigned(&keeper, &log.request(5)), 6);
    assert_eq!(time(&keeper), 2000);
    drop(keeper);
    let keeper = Keeper::open(&witness.dir(), clock).unwrap();
    assert_eq!(cosigned(&keeper, &log.request(6)), 6);
    assert_eq!(time(&keeper), 2000);
}

#[test]
fn of_checkpoints_that_race_one_is_cosigned() {
    for _ in 0..10 {
        let (witness, log) = (Witness::new(), TestLog::of(1));
        let keeper = witness.open();
        let requests: Vec<String> = (0..8)
            .map(|_| {
                log.grow(1);
                log.request(0).to_string()
            })
            .collect();
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let all: Vec<_> =
                requests.iter().map(|body| scope.spawn(|| keeper.submit(body.as_bytes()).unwrap())).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<u64> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Cosigned { checkpoint, .. } => Some(checkpoint.size),
                Outcome::Refused(_) => None,
            })
            .collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let lost = Outcome::Refused(Refused::Conflict { size: won[0] });
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), 7);
    }
}

#[test]
fn slow_idle_and_deaf_peers_lose_their_connection() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let limits =
        Limits { request: Duration::from_millis(300), connection: Duration::from_millis(900), connections: 64 };
    let server = Server::start(witness.open(), limits);
    let closed_after = |send: &[u8], each: Option<&[u8]>| {
        let start = Clock::system().instant();
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.write_all(send).unwrap();
        let mut answer = Vec::new();
        loop {
            assert!(start.elapsed() < LIMIT, "still open");
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(_) => {}
            }
            if let Some(each) = each
                && stream.write_all(each).is_err()
            {
                break;
            }
        }
        (start.elapsed(), String::from_utf8_lossy(&answer).into_owned())
    };
    let soon = Duration::from_secs(10);
    assert!(closed_after(b"", None).0 < soon);
    assert!(closed_after(b"GET / HTTP/1.1\r\n", Some(b"x: y\r\n")).0 < soon);
    let body = b"POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 1000\r\n\r\n";
    let (took, answer) = closed_after(body, Some(b"o"));
    assert!(took < soon && answer.starts_with("HTTP/1.1 408 "), "{took:?}, {answer}");
    // One that asks again and again is ended too, between two requests.
    let (took, answer) = closed_after(b"", Some(b"GET / HTTP/1.1\r\nhost: w\r\n\r\n"));
    assert!(took < soon && answer.starts_with("HTTP/1.1 404 "), "{took:?}, {answer}");
    assert_eq!(server.client_adds(&log.request(0)).unwrap(), 5);
    server.stop();
}

#[test]
fn who_comes_when_all_connections_are_taken_waits_for_one() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let limits = Limits { request: Duration::from_millis(500), connections: 2, ..Limits::default() };
    let server = Server::start(witness.open(), limits);
    let _held: Vec<_> = (0..6).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    assert_eq!(server.client_adds(&log.request(0)).unwrap(), 5);
    server.stop();
}

#[test]
fn a_client_believes_only_what_is_signed() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let key = witness.signing_key();
    let text = log.note().unchecked_text().to_owned();
    let good = key.cosign(&text, 7).unwrap();
    let other = SigningKey::from_seed(name("example.com/w"), Algorithm::Cosignature, Secret::new([3; 32])).unwrap();
    let ok = |body: String| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let add = |answer: String| {
        let fake = Fake::answering(vec![answer]);
        Client::new().add_checkpoint(&fake.as_witness(key.public()), &log.request(0))
    };
    assert_eq!(add(ok(format!("{good}\n"))).unwrap(), good);
    // Lines of others, and lines that are none, are passed over.
    let among = format!("{}\nx\n{good}\n", other.cosign(&text, 7).unwrap());
    assert_eq!(add(ok(among)).unwrap(), good);
    let elsewhere = key.cosign(&text.replacen("300", "301", 1), 7).unwrap();
    assert!(matches!(add(ok(format!("{elsewhere}\n"))), Err(ClientError::Signature { .. })));
    let no_line_end = ok(format!("{good}"));
    let foreign = ok(format!("{}\n", other.cosign(&text, 7).unwrap()));
    let not_a_number = "HTTP/1.1 409 Conflict\r\ncontent-length: 3\r\n\r\nlot".to_owned();
    for bad in [no_line_end, foreign, not_a_number, ok(String::new())] {
        assert!(matches!(add(bad.clone()), Err(ClientError::Answer { .. })), "{bad}");
    }
    let conflict = "HTTP/1.1 409 Conflict\r\ncontent-length: 4\r\n\r\n301\n".to_owned();
    assert!(matches!(add(conflict), Err(ClientError::Conflict { size: 301 })));
    let steering = "HTTP/1.1 500 No\r\ncontent-length: 7\r\n\r\n\u{1b}[2Jno\n".to_owned();
    let refused = add(steering).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { status: 500, said, .. } if said == "[2Jno"), "{refused}");
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned();
    assert!(matches!(add(redirect), Err(ClientError::Refused { status: 302, .. })));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
    assert!(matches!(add(endless), Err(ClientError::Away { .. })));
    assert!(matches!(add("nonsense\r\n\r\n".to_owned()), Err(ClientError::Away { .. })));
}

#[test]
fn the_newest_checkpoint_must_be_the_logs_and_cosigned() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let key = witness.signing_key();
    let ask = |status: &str, body: String| {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let fake = Fake::answering(vec![answer]);
        Client::new().newest(&fake.as_witness(key.public()), log.key.public())
    };
    let signed = |note: &Note| {
        let mut note = note.clone();
        note.add(key.cosign(note.unchecked_text(), 7).unwrap());
        note
    };
    let newest = ask("200 OK", signed(&log.note()).to_string()).unwrap().unwrap();
    assert_eq!((newest.checkpoint.size, newest.time), (300, 7));
    assert_eq!(ask("404 Not Found", String::new()).unwrap(), None);
    assert!(matches!(ask("500 No", String::new()), Err(ClientError::Refused { status: 500, .. })));
    assert!(matches!(ask("200 OK", log.note().to_string()), Err(ClientError::Signature { .. })));
    let mut witness_only = Note::new(log.note().unchecked_text().to_owned()).unwrap();
    witness_only.add(key.cosign(witness_only.unchecked_text(), 7).unwrap());
    assert!(matches!(ask("200 OK", witness_only.to_string()), Err(ClientError::Signature { .. })));
    let mut other = Note::new(log.note().unchecked_text().replacen(ORIGIN, "example.com/else", 1)).unwrap();
    other.add(log.key.sign(other.unchecked_text()).unwrap());
    assert!(matches!(ask("200 OK", signed(&other).to_string()), Err(ClientError::Answer { .. })));
}

#[test]
fn only_an_address_of_a_witness_is_taken() {
    for (text, wanted) in [
        ("http://w.example", "http://w.example"),
        ("https://w.example/", "https://w.example"),
        ("https://[::1]:8520/a/b//", "https://[::1]:8520/a/b"),
    ] {
        assert_eq!(WitnessUrl::parse(text).unwrap().as_str(), wanted);
    }
    for bad in ["", "w.example", "ftp://w.example", "https://", "https://u:p@w.example", "http://w/?a", "http://w/#a"] {
        assert!(WitnessUrl::parse(bad).is_err(), "{bad} was taken");
    }
    let url = WitnessUrl::parse("http://w").unwrap();
    assert!(WitnessAddress::new(url, TestLog::key().public().clone()).is_err());
}

#[test]
fn each_checkpoint_is_cosigned_by_every_witness_that_answers() {
    let log = TestLog::of(3);
    let (one, two) = (Witness::new(), Witness::named("example.com/w2"));
    let servers = [Server::start(one.open(), Limits::default()), Server::start(two.open(), Limits::default())];
    let away = Witness::named("example.com/away");
    let mut addresses: Vec<WitnessAddress> = servers.iter().map(Server::as_witness).collect();
    // A port that nobody listens on: the others must not wait for it.
    let url = WitnessUrl::parse(&format!("http://{}", free_address())).unwrap();
    addresses.push(WitnessAddress::new(url, away.signing_key().public().clone()).unwrap());
    let (submitter, got) = submitting(&log, addresses);
    until("the first cosignatures", || got.sizes() == [3, 3]);
    for size in 4..8 {
        log.grow(1);
        submitter.published();
        until("more cosignatures", || got.sizes().iter().filter(|one| **one == size).count() == 2);
    }
    // A signal without anything new sends nothing: the next thing that comes is of the next size.
    submitter.published();
    log.grow(1);
    submitter.published();
    until("the last cosignatures", || got.sizes().iter().filter(|one| **one == 8).count() == 2);
    until("the failure", || matches!(submitter.health()[2].link, Link::Failing { .. }));
    let health = submitter.health();
    assert_eq!((health[0].cosigned, &health[0].link), (Some(8), &Link::Good));
    assert_eq!((health[1].cosigned, &health[1].link), (Some(8), &Link::Good));
    assert_eq!((health[2].cosigned, health[2].alarm), (None, None));
    submitter.stop();
    assert_eq!(got.sizes().len(), 12);
    // Both signatures on one note hold: a quorum of two.
    let mut note = log.note();
    got.signatures_of(8).into_iter().for_each(|signature| note.add(signature));
    let known = [log.key.public(), &servers[0].key, &servers[1].key];
    assert_eq!(note.check(&known).unwrap().signers().len(), 3);
}

#[test]
fn a_log_that_starts_anew_asks_the_witness_from_where_to_prove() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let server = Server::start(witness.open(), Limits::default());
    assert_eq!(server.client_adds(&log.request(0)).unwrap(), 300);
    log.grow(300);
    let (submitter, got) = submitting(&log, vec![server.as_witness()]);
    until("the cosignature", || got.sizes() == [600]);
    assert_eq!(submitter.health()[0].link, Link::Good);
    submitter.stop();
}

#[test]
fn a_log_that_was_put_back_or_rewritten_is_told_of_it() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let server = Server::start(witness.open(), Limits::default());
    assert_eq!(server.client_adds(&log.request(0)).unwrap(), 300);
    let alarm_of = |log: &TestLog| {
        let (submitter, got) = submitting(log, vec![server.as_witness()]);
        until("an alarm", || submitter.health()[0].alarm.is_some());
        let health = submitter.health();
        assert!(matches!(&health[0].link, Link::Failing { .. }) && got.sizes().is_empty());
        submitter.stop();
        health[0].alarm.unwrap()
    };
    assert_eq!(alarm_of(&TestLog::of(200)), Alarm::RolledBack { theirs: 300, ours: 200 });
    // Other entries: of the same number, and more of them.
    assert_eq!(alarm_of(&TestLog::with(1000, 300)), Alarm::Rewritten { size: 300 });
    assert_eq!(alarm_of(&TestLog::with(1000, 400)), Alarm::Rewritten { size: 300 });
}

#[test]
fn an_alarm_stays_when_the_witness_is_content_again() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    // A witness that lies once, and then does what it should.
    let lie = "HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n9\n".to_owned();
    let truth = log.note();
    let signature = witness.signing_key().cosign(truth.unchecked_text(), 7).unwrap().to_string() + "\n";
    let good = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{signature}", signature.len());
    let fake = Fake::answering(vec![lie, good]);
    let (submitter, got) = submitting(&log, vec![fake.as_witness(witness.signing_key().public())]);
    until("a cosignature", || got.sizes() == [5]);
    let health = submitter.health();
    assert_eq!(health[0].link, Link::Good);
    assert_eq!(health[0].alarm, Some(Alarm::RolledBack { theirs: 9, ours: 5 }));
    submitter.stop();
}

#[test]
fn a_witness_that_tells_another_size_each_time_is_asked_seldom() {
    let (witness, log) = (Witness::new(), TestLog::of(300));
    let told = |size: u64| {
        let body = format!("{size}\n");
        format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let fake = Fake::answering((1..200).map(told).collect());
    let (submitter, _) = submitting(&log, vec![fake.as_witness(witness.signing_key().public())]);
    until("the failure", || matches!(submitter.health()[0].link, Link::Failing { .. }));
    // Publishing does not shorten the pause: it is a second, though this is never still.
    let failed = Clock::system().instant();
    let asked = fake.asked();
    until("the next round", || {
        submitter.published();
        fake.asked() > asked
    });
    assert!(failed.elapsed() > Duration::from_millis(700), "{:?}", failed.elapsed());
    submitter.stop();
}

#[test]
fn stopping_does_not_wait_for_a_pause_and_dropping_for_nothing() {
    let (witness, log) = (Witness::new(), TestLog::of(5));
    let url = WitnessUrl::parse(&format!("http://{}", free_address())).unwrap();
    let away = WitnessAddress::new(url, witness.signing_key().public().clone()).unwrap();
    for stop in [Submitter::stop, drop::<Submitter>] {
        let (submitter, _) = submitting(&log, vec![away.clone()]);
        until("the failure", || matches!(submitter.health()[0].link, Link::Failing { .. }));
        let start = Clock::system().instant();
        stop(submitter);
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    }
}

#[test]
fn pauses_double_up_to_a_minute() {
    let pauses: Vec<_> = (0..9).map(submit::pause_after).map(|pause| pause.map(|pause| pause.as_secs())).collect();
    let wanted = [None, Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), Some(60)];
    assert_eq!(pauses, wanted);
    assert_eq!(submit::pause_after(u32::MAX), Some(Duration::from_secs(60)));
}

/// A witness's directory that watches `ORIGIN`.
struct Witness {
    folder: tempfile::TempDir,
}

impl Witness {
    fn new() -> Self {
        Self::named("example.com/w1")
    }

    fn named(name_text: &str) -> Self {
        let witness = Self { folder: tempfile::tempdir().unwrap() };
        init(&witness.dir(), name(name_text)).unwrap();
        assert!(watch(&witness.dir(), TestLog::key().public()).unwrap());
        witness
    }

    fn unwatching() -> Self {
        let witness = Self { folder: tempfile::tempdir().unwrap() };
        init(&witness.dir(), name("example.com/w1")).unwrap();
        witness
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    fn open(&self) -> Keeper {
        Keeper::open(&self.dir(), Clock::system()).unwrap()
    }

    fn signing_key(&self) -> SigningKey {
        let text = std::fs::read_to_string(self.dir().join("key")).unwrap();
        SigningKey::parse(&Secret::new(text)).unwrap()
    }
}

/// A log on disk. Two with the same entries have the same roots.
struct TestLog {
    folder: tempfile::TempDir,
    log: Log,
    key: SigningKey,
    next: Mutex<u64>,
}

impl TestLog {
    fn key() -> SigningKey {
        SigningKey::from_seed(name(ORIGIN), Algorithm::Note, Secret::new([7; 32])).unwrap()
    }

    fn of(leaves: u64) -> Self {
        Self::with(0, leaves)
    }

    /// With entries that are numbered from `first` on.
    fn with(first: u64, leaves: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = LogSettings {
            directory: folder.path().join("log"),
            node: String::from("n1"),
            key: Self::key(),
            clock: Clock::fixed(Timestamp::from_millis(1000)),
            floor: None,
        };
        let Opened { log, .. } = Log::open(settings).unwrap();
        let log = Self { folder, log, key: Self::key(), next: Mutex::new(first) };
        log.grow(leaves);
        log
    }

    fn grow(&self, leaves: u64) {
        let mut next = self.next.lock().unwrap();
        let numbers = *next..*next + leaves;
        *next = numbers.end;
        let leaf = |n: u64| Leaf::new("test.leaf", Map::from_iter([(String::from("n"), n.into())])).unwrap();
        let tickets: Vec<_> = numbers.map(|n| self.log.submit(leaf(n)).unwrap()).collect();
        tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
        self.log.publish().unwrap().unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.folder.path().join("log"))
    }

    fn note(&self) -> Note {
        self.reader().note().unwrap().unwrap()
    }

    fn id(&self) -> String {
        origin_id(self.key.public().name())
    }

    /// The newest checkpoint with the proof from `old`.
    fn request(&self, old: u64) -> AddCheckpoint {
        let (note, newest) = self.reader().checkpoint(self.key.public()).unwrap().unwrap();
        AddCheckpoint { old, proof: self.reader().consistency(old, newest.size).unwrap(), checkpoint: note }
    }
}

/// A witness that serves on a thread of this process.
struct Server {
    address: SocketAddr,
    key: VerifyingKey,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    fn start(keeper: Keeper, limits: Limits) -> Self {
        let key = keeper.public().clone();
        let stop = CancellationToken::new();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_nonblocking(true).unwrap();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = tokio::net::TcpListener::from_std(socket).unwrap();
                serve(socket, Arc::new(keeper), limits, stopped).await;
            });
        });
        Self { address, key, stop, thread }
    }

    fn as_witness(&self) -> WitnessAddress {
        let url = WitnessUrl::parse(&format!("http://{}", self.address)).unwrap();
        WitnessAddress::new(url, self.key.clone()).unwrap()
    }

    /// Sends a checkpoint, and gives the size that the witness then has.
    fn client_adds(&self, request: &AddCheckpoint) -> Result<u64, ClientError> {
        Client::new().add_checkpoint(&self.as_witness(), request)?;
        let newest = Client::new().newest(&self.as_witness(), TestLog::key().public())?;
        Ok(newest.unwrap().checkpoint.size)
    }

    fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

/// A peer that gives these answers, one a connection, and then hangs up.
struct Fake {
    address: SocketAddr,
    asked: Arc<Mutex<usize>>,
}

impl Fake {
    fn answering(answers: Vec<String>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((stream, _)) = socket.accept() else { return };
                let mut reader = BufReader::new(stream);
                read_request(&mut reader);
                *counted.lock().unwrap() += 1;
                // A client that has seen enough hangs up.
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }

    fn as_witness(&self, key: &VerifyingKey) -> WitnessAddress {
        let url = WitnessUrl::parse(&format!("http://{}", self.address)).unwrap();
        WitnessAddress::new(url, key.clone()).unwrap()
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

/// Reads headers, and a body if they tell its length.
fn read_request(reader: &mut BufReader<TcpStream>) {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let _ = reader.read_exact(&mut vec![0; length]);
}

/// The cosignatures that came.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<(u64, Signature)>>>);

impl Got {
    fn sizes(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().map(|(size, _)| *size).collect()
    }

    fn signatures_of(&self, size: u64) -> Vec<Signature> {
        self.0.lock().unwrap().iter().filter(|(one, _)| *one == size).map(|(_, signature)| signature.clone()).collect()
    }
}

fn submitting(log: &TestLog, witnesses: Vec<WitnessAddress>) -> (Submitter, Got) {
    let got = Got::default();
    let keep = got.clone();
    let submitter = Submitter::start(log.reader(), log.key.public().clone(), witnesses, move |size, signature| {
        keep.0.lock().unwrap().push((size, signature));
    });
    (submitter.unwrap(), got)
}

fn cosigned(keeper: &Keeper, request: &AddCheckpoint) -> u64 {
    match keeper.submit(request.to_string().as_bytes()).unwrap() {
        Outcome::Cosigned { checkpoint, .. } => checkpoint.size,
        Outcome::Refused(refused) => panic!("{refused}"),
    }
}

fn refused(keeper: &Keeper, request: &AddCheckpoint) -> Refused {
    match keeper.submit(request.to_string().as_bytes()).unwrap() {
        Outcome::Cosigned { checkpoint, .. } => panic!("{checkpoint} was cosigned"),
        Outcome::Refused(refused) => refused,
    }
}

/// An address that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let start = Clock::system().instant();
    while !there() {
        assert!(start.elapsed() < LIMIT, "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    durable::replace(path, bytes, 0o600).unwrap();
}
