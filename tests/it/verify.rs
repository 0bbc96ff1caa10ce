//! What an attacker does to a store, and what `verify` says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorward::model::SessionId;
use doorward::tlog::{Note, VerifyingKey};
use doorward::verify::{self, Report, Settings, Verdict};
use serde_json::Value;

use crate::fixture::bastion::{id, program};
use crate::fixture::process::run;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, until};
use crate::require;

/// A store with three sessions that have ended: two commands and a shell; the server is stopped.
struct Evidence {
    bastion: Bastion,
    key: VerifyingKey,
    sessions: Vec<SessionId>,
}

impl Evidence {
    fn new() -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::serving(&sshd);
        assert_eq!(bastion.to(&sshd).run("echo one").code, Some(0));
        assert_eq!(bastion.to(&sshd).run("echo two; echo err >&2; exit 3").code, Some(3));
        let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 80, 24);
        terminal.line("echo three-$((1+2)); exit");
        until(LIMIT, "end of the shell", || terminal.ended().then_some(()));
        let mut sessions: Vec<String> = bastion.recordings().iter().map(id).collect();
        sessions.sort();
        assert_eq!(sessions.len(), 3);
        bastion.stop().ok();
        let key = std::fs::read_to_string(bastion.data().join("log/key.pub")).unwrap();
        let sessions = sessions.iter().map(|id| SessionId::parse(id).unwrap()).collect();
        Self { key: VerifyingKey::parse(key.trim()).unwrap(), bastion, sessions }
    }

    /// A copy of the store for an attacker.
    fn copy(&self) -> Copy {
        let folder = crate::fixture::scratch();
        let store = folder.path().join("data");
        copy(&self.bastion.data(), &store);
        Copy { _folder: folder, store }
    }

    /// What is found of a store, by somebody who has the log's key from elsewhere.
    fn verify(&self, store: &Path) -> Report {
        self.verify_with(store, Vec::new())
    }

    fn verify_with(&self, store: &Path, kept: Vec<Note>) -> Report {
        let key = Some(self.key.clone());
        verify::run(&Settings { store: store.to_owned(), key, kept, ..Settings::default() }, &mut |_, _| {})
    }

    /// The newest checkpoint, kept elsewhere.
    fn checkpoint(&self, store: &Path) -> Note {
        Note::parse(&std::fs::read(store.join("log/checkpoint")).unwrap()).unwrap()
    }

    /// The directory of a session in a store.
    fn session(&self, store: &Path, number: usize) -> PathBuf {
        let id = self.sessions[number].as_str();
        let found = files(&store.join("rec")).into_iter().find(|path| path.to_string_lossy().contains(id)).unwrap();
        found.ancestors().find(|path| path.file_name().is_some_and(|name| name == id)).unwrap().to_owned()
    }
}

struct Copy {
    _folder: tempfile::TempDir,
    store: PathBuf,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.sessions.iter().map(|session| session.verdict).collect()
}

#[track_caller]
fn assert_good(report: &Report, verdict: Verdict) {
    assert_eq!(verdicts(report), [verdict; 3], "{report:?}");
    assert!(report.log.faults.is_empty() && report.strays.is_empty(), "{report:?}");
    assert_eq!(report.exit_status(), 0);
}

/// Each act of the table, and the exact verdict.
#[test]
fn each_attacker_is_found() {
    require!("sshd", "ssh", "tmux");
    let evidence = Evidence::new();
    assert_good(&evidence.verify(&evidence.bastion.data()), Verdict::OkUnanchored);
    let kept = evidence.checkpoint(&evidence.bastion.data());
    assert_good(&evidence.verify_with(&evidence.bastion.data(), vec![kept.clone()]), Verdict::Ok);

    type Act = fn(&Evidence, &Path);
    let segment = |evidence: &Evidence, store: &Path| evidence.session(store, 1).join("1/000000.seg");
    let acts: &[(&str, Act, Verdict)] = &[
        (
            "edits a byte of a segment",
            |evidence, store| flip(&evidence.session(store, 1).join("1/000000.seg"), 200),
            Verdict::Tampered,
        ),
        (
            "cuts the tail of a closed recording",
            |evidence, store| cut(&evidence.session(store, 1).join("1/000000.seg"), 10),
            Verdict::Tampered,
        ),
        (
            "takes a segment away",
            |evidence, store| std::fs::remove_file(evidence.session(store, 1).join("1/000000.seg")).unwrap(),
            Verdict::Missing,
        ),
        (
            "deletes a session",
            |evidence, store| std::fs::remove_dir_all(evidence.session(store, 1)).unwrap(),
            Verdict::Missing,
        ),
        (
            "puts another session's segment in its place",
            |evidence, store| {
                let from = evidence.session(store, 0).join("1/000000.seg");
                std::fs::copy(from, evidence.session(store, 1).join("1/000000.seg")).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "swaps two channels",
            |evidence, store| {
                let session = evidence.session(store, 1);
                std::fs::rename(session.join("0"), session.join("x")).unwrap();
                std::fs::rename(session.join("1"), session.join("0")).unwrap();
                std::fs::rename(session.join("x"), session.join("1")).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "adds a segment",
            |evidence, store| {
                let session = evidence.session(store, 1);
                std::fs::copy(session.join("1/000000.seg"), session.join("1/000001.seg")).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "says that it was somebody else",
            |evidence, store| {
                let file = evidence.session(store, 1).join("opened.json");
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(&file, text.replace("alice", "mallory")).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "says that it ended otherwise",
            |evidence, store| {
                let file = evidence.session(store, 1).join("closed.json");
                let text = std::fs::read_to_string(&file).unwrap();
                std::fs::write(&file, text.replace("the user left", "the power failed")).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "makes it look as if a crash had cut it",
            |evidence, store| std::fs::remove_file(evidence.session(store, 1).join("closed.json")).unwrap(),
            Verdict::Missing,
        ),
        (
            "destroys its key without a word",
            |evidence, store| {
                std::fs::remove_file(store.join(format!("env/{}.age", evidence.sessions[1]))).unwrap();
            },
            Verdict::Missing,
        ),
        (
            "replaces its key",
            |evidence, store| {
                let from = store.join(format!("env/{}.age", evidence.sessions[0]));
                std::fs::copy(from, store.join(format!("env/{}.age", evidence.sessions[1]))).unwrap();
            },
            Verdict::Tampered,
        ),
        (
            "puts a pipe in the place of a segment",
            |evidence, store| {
                let file = evidence.session(store, 1).join("1/000000.seg");
                std::fs::remove_file(&file).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR).unwrap();
            },
            Verdict::Missing,
        ),
    ];
    for (what, act, verdict) in acts {
        let attacked = evidence.copy();
        assert!(segment(&evidence, &attacked.store).exists());
        act(&evidence, &attacked.store);
        let report = evidence.verify(&attacked.store);
        assert_eq!(verdicts(&report), [Verdict::OkUnanchored, *verdict, Verdict::OkUnanchored], "{what}: {report:?}");
        assert_eq!(report.exit_status(), if report.strays.is_empty() { verdict.exit_status() } else { 5 }, "{what}");
        assert!(!report.sessions[1].notes.is_empty(), "{what}: it is not said why");
    }
}

#[test]
fn a_session_that_was_added_is_found() {
    require!("sshd", "ssh", "tmux");
    let evidence = Evidence::new();
    let attacked = evidence.copy();
    let from = evidence.session(&attacked.store, 1);
    let other = SessionId::from_parts(evidence.sessions[1].made().unwrap(), 7);
    copy(&from, &from.with_file_name(other.as_str()));
    let report = evidence.verify(&attacked.store);
    assert!(report.sessions.iter().any(|one| one.session == other && one.verdict == Verdict::Tampered), "{report:?}");
    // Something that is no session at all.
    let attacked = evidence.copy();
    std::fs::write(attacked.store.join("rec/notes.txt"), "x").unwrap();
    let report = evidence.verify(&attacked.store);
    assert_eq!((report.strays.len(), report.exit_status()), (1, 5), "{report:?}");
}

#[test]
fn a_rolled_back_or_rewritten_log_is_found_by_who_kept_a_checkpoint() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    assert_eq!(bastion.to(&sshd).run("echo one").code, Some(0));
    bastion.only_recording();
    bastion.stop().ok();
    let key = VerifyingKey::parse(std::fs::read_to_string(bastion.data().join("log/key.pub")).unwrap().trim()).unwrap();
    let yesterday = crate::fixture::scratch();
    copy(&bastion.data(), &yesterday.path().join("data"));
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo two").code, Some(0));
    until(LIMIT, "two recordings", || (bastion.recordings().len() == 2).then_some(()));
    bastion.stop().ok();
    let kept = Note::parse(&std::fs::read(bastion.data().join("log/checkpoint")).unwrap()).unwrap();
    let verify = |store: &Path, kept: &[Note]| {
        let settings =
            Settings { store: store.to_owned(), key: Some(key.clone()), kept: kept.to_vec(), ..Settings::default() };
        verify::run(&settings, &mut |_, _| {})
    };
    // Without an outside copy nobody can tell, and it is said that there is no anchor.
    let report = verify(&yesterday.path().join("data"), &[]);
    assert_eq!((report.exit_status(), report.anchor.size), (0, 0), "{report:?}");
    let report = verify(&yesterday.path().join("data"), std::slice::from_ref(&kept));
    assert!(report.log.faults.iter().any(|fault| fault.contains("rolled back")), "{report:?}");
    assert_eq!(report.exit_status(), 5);
    // The same key, another history.
    let other = Bastion::serving(&sshd);
    assert_eq!(other.to(&sshd).run("echo other").code, Some(0));
    other.only_recording();
    let report = verify(&other.data(), std::slice::from_ref(&kept));
    assert_eq!(report.exit_status(), 5, "another log passes: {report:?}");
    // A start notices, too: the state database knows how far the log was.
    let (now, then) = (bastion.data().join("log"), yesterday.path().join("data/log"));
    std::fs::remove_dir_all(&now).unwrap();
    copy(&then, &now);
    let told = bastion.doorward(&["serve"]);
    assert!(told.code == Some(1) && told.err().contains("log"), "{told:?}");
}

#[test]
fn any_byte_that_is_changed_is_found() {
    require!("sshd", "ssh", "tmux");
    let evidence = Evidence::new();
    let attacked = evidence.copy();
    let mut checked = 0;
    for part in ["rec", "env", "log"] {
        for file in files(&attacked.store.join(part)) {
            let good = std::fs::read(&file).unwrap();
            // All of short files; of longer ones the ends, and one byte in seven between.
            let places = (0..good.len()).filter(|at| *at < 150 || good.len() - at < 60 || at % 7 == 0);
            for at in places {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                std::fs::write(&file, &bad).unwrap();
                let report = evidence.verify(&attacked.store);
                assert_ne!(report.exit_status(), 0, "byte {at} of {} was changed: {report:?}", file.display());
                checked += 1;
            }
            for length in [0, 1, good.len() / 2, good.len().saturating_sub(1)] {
                if length < good.len() {
                    std::fs::write(&file, &good[..length]).unwrap();
                    assert_ne!(evidence.verify(&attacked.store).exit_status(), 0, "{} cut", file.display());
                }
            }
            std::fs::write(&file, [&good[..], b"x"].concat()).unwrap();
            assert_ne!(evidence.verify(&attacked.store).exit_status(), 0, "{} made longer", file.display());
            std::fs::write(&file, &good).unwrap();
        }
    }
    assert_good(&evidence.verify(&attacked.store), Verdict::OkUnanchored);
    assert!(checked > 2000, "{checked}");
}

#[test]
fn a_crash_is_told_from_an_attack() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let running = bastion.to(&sshd).start(&["-n"], "seq 1 100000; sleep 600");
    until(LIMIT, "a session", || bastion.sessions().pop());
    until(LIMIT, "output on disk", || {
        files(&bastion.data().join("rec"))
            .iter()
            .any(|file| file.metadata().is_ok_and(|data| data.len() > 20_000))
            .then_some(())
    });
    bastion.crash();
    drop(running);
    bastion.serve();
    bastion.stop().ok();
    let status = |store: &Path| {
        let mut verify = std::process::Command::new(program());
        verify.arg("verify").arg("--store").arg(store).arg("--json");
        let told = run(verify, b"", LIMIT);
        let report: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        (told.code, report["sessions"][0]["verdict"].as_str().map(str::to_owned))
    };
    assert_eq!(status(&bastion.data()), (Some(3), Some("INTERRUPTED".into())));
    let longest =
        |store: &Path| files(&store.join("rec")).into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap();
    for act in [|file: &Path| cut(file, 1), |file: &Path| flip(file, 5000)] {
        let attacked = crate::fixture::scratch();
        let store = attacked.path().join("data");
        copy(&bastion.data(), &store);
        act(&longest(&store));
        assert_eq!(status(&store), (Some(5), Some("TAMPERED".into())));
    }
}

#[test]
fn the_command_says_what_it_found_and_what_it_cannot_prove() {
    require!("sshd", "ssh", "tmux");
    let evidence = Evidence::new();
    let bastion = &evidence.bastion;
    let verify = |arguments: &[&str]| bastion.doorward(&[&["verify"][..], arguments].concat());
    let told = verify(&[]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for words in ["3 OK-UNANCHORED", "ANCHOR: none", "the one in the store"] {
        assert!(told.out().contains(words), "{words}: {told:?}");
    }
    let checkpoint = bastion.scratch().join("kept");
    std::fs::write(&checkpoint, bastion.doorward(&["audit", "checkpoint"]).ok().stdout).unwrap();
    let key = bastion.doorward(&["audit", "key"]).ok().out();
    let told = verify(&["--vkey", key.trim(), "--from", checkpoint.to_str().unwrap()]);
    assert!(told.code == Some(0) && told.out().contains("3 OK\n"), "{told:?}");
    assert_eq!(verify(&["--require-witness", "1"]).code, Some(6));
    let identity = bastion.identity();
    let told = verify(&["--deep", "--identity", identity.to_str().unwrap()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!(verify(&["--store", "/nonexistent"]).code, Some(2));
    assert_eq!(verify(&["--vkey", "nonsense"]).code, Some(2));
    flip(&evidence.session(&bastion.data(), 2).join("1/000000.seg"), 150);
    let told = verify(&[]);
    assert_eq!(told.code, Some(5), "{told:?}");
    assert!(told.out().contains("TAMPERED") && told.out().contains("000000.seg"), "{told:?}");
    // Only the sessions that are asked for.
    assert_eq!(verify(&["--session", evidence.sessions[0].as_str()]).code, Some(0));
    let all: BTreeMap<String, Value> = serde_json::from_slice(&verify(&["--json"]).stdout).unwrap();
    assert_eq!(all["sessions"].as_array().map(Vec::len), Some(3));
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(file, bytes).unwrap();
}

fn cut(file: &Path, bytes: u64) {
    let open = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    open.set_len(open.metadata().unwrap().len() - bytes).unwrap();
}
