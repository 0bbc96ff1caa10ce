//! What a confined process can still do, tried by one: this program once more, which runs one test alone.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use super::*;

/// What the other process is to try.
const TRY: &str = "DOORWARD_TEST_TRY";

/// The signal of a call that the filter forbids (`SIGSYS`).
const FORBIDDEN: Option<i32> = Some(31);

/// A name, and what says how it went.
type Attempt = (&'static str, fn() -> String);

/// What it tries.
const TRIES: &[Attempt] = &[
    ("nothing", || "fine".to_owned()),
    ("work", work),
    ("read", || said(std::fs::read("/etc/passwd"))),
    ("write", || said(std::fs::File::create("/tmp/doorward-confined"))),
    ("exec", || Command::new("/bin/true").exec().to_string()),
    ("start", || said(Command::new("/bin/true").status())),
    ("unix stream", || said(UnixStream::connect("/run/nothing"))),
    ("unix datagram", || said(UnixDatagram::unbound())),
    ("unix pair", || said(UnixStream::pair())),
    ("tcp", || said(std::net::TcpStream::connect("127.0.0.1:1"))),
    ("udp", || said(std::net::UdpSocket::bind("127.0.0.1:0"))),
    ("listen", || said(std::net::TcpListener::bind("127.0.0.1:0"))),
    ("signal", || said(rustix::process::test_kill_process(parent()))),
    ("look at a process", || said(rustix::process::pidfd_open(parent(), rustix::process::PidfdFlags::empty()))),
    ("other root", || said(rustix::process::chroot("/"))),
    ("file without a name", || said(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()))),
    ("limit", || said(setrlimit(Resource::Nofile, Rlimit { current: Some(1), maximum: Some(1) }))),
];

fn said<T, E: fmt::Debug>(done: Result<T, E>) -> String {
    done.map_or_else(|error| format!("{error:?}"), |_| "done".to_owned())
}

fn parent() -> rustix::process::Pid {
    rustix::process::getppid().unwrap()
}

/// What a desktop's process does: threads, tasks, much memory taken and given back, randomness, time.
fn work() -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let big = runtime.block_on(async {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        let many = (0..8_u8).map(|byte| std::thread::spawn(move || vec![vec![byte; 100_000]; 500]));
        let all: Vec<_> = many.collect();
        all.into_iter().map(|thread| thread.join().unwrap().len()).sum::<usize>()
    });
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut [0; 8]).unwrap();
    // A panic in a task ends that task.
    let fallen = runtime.block_on(async { tokio::spawn(async { panic!("on purpose") }).await });
    runtime.shutdown_background();
    format!("{big} {}", fallen.is_err_and(|error| error.is_panic()))
}

/// Runs in a process of its own, and tries what it is told to.
#[test]
#[ignore = "started by the other tests, in a process of its own"]
fn tries() {
    let Ok(wanted) = std::env::var(TRY) else { return };
    let (how, what) = wanted.split_once(' ').unwrap();
    // What every desktop's process does before it is confined.
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let (_, attempt) = TRIES.iter().find(|(name, _)| *name == what).unwrap();
    let confined = match how {
        "whole" => confine().unwrap(),
        "files" => shut_files().unwrap(),
        other => panic!("{other}"),
    };
    writeln!(std::io::stderr(), "<{confined:?}: {}>", attempt()).unwrap();
}

/// What a confined process says of an attempt, and how it ended.
fn attempt(how: &str, what: &str) -> (String, ExitStatus) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "desktop::confine::tests::tries", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(TRY, format!("{how} {what}"))
        // To draw one up the standard library reads files; a desktop's process has no such variable.
        .env_remove("RUST_BACKTRACE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix('<')?.strip_suffix('>'));
    (line.unwrap_or(&said).to_owned(), status)
}

#[test]
fn a_confined_process_does_what_a_desktop_needs() {
    for (what, expected) in [("nothing", "fine"), ("work", "4000 true")] {
        let (said, status) = attempt("whole", what);
        assert!(said.ends_with(&format!(": {expected}")) && status.success(), "{what}: {said} {status}");
    }
}

#[test]
fn a_confined_process_opens_no_file() {
    for what in ["read", "write"] {
        let (said, status) = attempt("whole", what);
        assert!(said.contains("PermissionDenied") && status.success(), "{what}: {said} {status}");
    }
}

#[test]
fn landlock_alone_keeps_files_away_where_the_kernel_has_it() {
    for what in ["read", "write", "exec", "tcp"] {
        let (said, status) = attempt("files", what);
        let can = said.starts_with("All") || (said.starts_with("Some") && what != "tcp");
        let kept = !can || said.contains("denied") || said.contains("Denied");
        assert!(kept && status.success(), "{what}: {said} {status}");
    }
}

#[test]
fn a_confined_process_that_does_anything_else_is_ended() {
    let allowed = ["nothing", "work", "read", "write"];
    for (what, _) in TRIES.iter().filter(|(what, _)| !allowed.contains(what)) {
        let (said, status) = attempt("whole", what);
        assert_eq!(status.signal(), FORBIDDEN, "{what}: {said} {status}");
    }
}

#[test]
fn a_kernel_that_confines_says_so() {
    let (said, _) = attempt("whole", "nothing");
    let Kernel { files, calls } = kernel();
    assert!(said.starts_with(&format!("{files:?}:")), "{said}: {files:?}");
    assert!(calls);
}
