//! The three ways to a target - by login name, by `ssh -J`, by `ssh -W` as a ProxyCommand - carry the same things to the
//! same results as a direct connection, and what each carried is recorded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::coverage::EVERYTHING;
use crate::fixture::bastion::{ALICE, Bastion, DB1};
use crate::fixture::process::{Running, Stdout, run};
use crate::fixture::{LIMIT, Sshd, free_port, sha256, until};
use crate::require;
use crate::sftp::noise;

/// The first is what the others are held against.
const WAYS: [&str; 4] = ["direct", "named", "jumped", "proxied"];

/// What the user has: a bastion that lets them do everything, and an `ssh_config` with each way as a host.
struct Desk {
    bastion: Bastion,
    sshd: Sshd,
}

impl Desk {
    fn new() -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(EVERYTHING);
        bastion.serve();
        let desk = Self { bastion, sshd };
        std::fs::write(desk.file("known_hosts"), desk.bastion.doorward(&["host-ca"]).ok().out()).unwrap();
        let (account, key) = (&desk.sshd.account, desk.bastion.key.display());
        let (config, known) = (desk.file("ssh_config"), desk.file("known_hosts"));
        let (config, known) = (config.display(), known.display());
        let (port, own_port, own_key) = (desk.bastion.port, desk.sshd.port, desk.sshd.key.display());
        let lax = "StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null";
        let strict = format!("StrictHostKeyChecking yes\n  UserKnownHostsFile {known}");
        let text = format!(
            "Host direct\n  HostName 127.0.0.1\n  Port {own_port}\n  User {account}\n  IdentityFile {own_key}\n  {lax}\n\
             Host named\n  HostName 127.0.0.1\n  Port {port}\n  User {account}@{DB1}\n  IdentityFile {key}\n  {lax}\n\
             Host jumped\n  HostName {DB1}\n  User {account}\n  ProxyJump bastion\n  IdentityFile {key}\n  {strict}\n\
             Host proxied\n  HostName {DB1}\n  User {account}\n  IdentityFile {key}\n  {strict}\n  \
             ProxyCommand ssh -F {config} -W %h:%p bastion\n\
             Host bastion\n  HostName 127.0.0.1\n  Port {port}\n  User {ALICE}\n  IdentityFile {key}\n  {lax}\n\
             Host *\n  IdentitiesOnly yes\n  IdentityAgent none\n  BatchMode yes\n  GlobalKnownHostsFile /dev/null\n  \
             LogLevel ERROR\n  ConnectTimeout 30\n  ExitOnForwardFailure yes\n"
        );
        std::fs::write(desk.file("ssh_config"), text).unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bastion.scratch().join(name)
    }

    /// An empty folder at the target, whose sockets the rule allows, and a short path for them.
    fn fresh(&self, name: &str) -> PathBuf {
        let at = self.sshd.folder().join(name);
        let _ = std::fs::remove_dir_all(&at);
        std::fs::create_dir(&at).unwrap();
        at
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg("-F").arg(self.file("ssh_config")).args(arguments);
        command
    }

    /// Does a thing by each way: what comes of it is what comes of it directly, and of each way but the direct one there
    /// are recordings of which one has a channel of this class.
    #[track_caller]
    fn alike(&self, class: &str, act: impl Fn(&str) -> String) {
        let mut direct = None;
        for way in WAYS {
            let before = self.bastion.recordings_at_all();
            let told = act(way);
            assert_eq!(direct.get_or_insert_with(|| told.clone()), &told, "by `{way}`");
            self.bastion.empties(LIMIT);
            let new: Vec<String> = match way {
                "direct" => continue,
                _ => self.bastion.recordings().iter().map(crate::fixture::bastion::id).collect(),
            };
            let new = new.into_iter().filter(|session| !before.contains(session));
            let closed = |session: String| std::fs::read_to_string(self.bastion.closed_json(&session)).unwrap();
            let closed: Vec<String> = new.map(closed).collect();
            let wanted = format!("\"class\":\"{class}\"");
            assert!(
                closed.iter().any(|text| text.replace(' ', "").contains(&wanted)),
                "{way}: no {class} in {closed:?}"
            );
        }
    }

    /// A tunnel by a way, once it is there; it ends with its value.
    fn tunnel(&self, way: &str, flags: &[&str]) -> Running {
        let ready = ["-o", "PermitLocalCommand yes", "-o", "LocalCommand echo up"];
        Running::start(self.command("ssh", &[&["-N"][..], &ready, flags, &[way]].concat()), Stdout::Gathered)
    }
}

/// A server that says something before it is asked, and answers with what it was asked in capitals.
fn speaks_first() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.write_all(b"220 hello\n");
                let mut asked = String::new();
                let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked);
                let _ = stream.write_all(asked.to_uppercase().as_bytes());
            });
        }
    });
    port
}

/// Waits for the greeting, asks, and gives both answers.
fn conversation(mut stream: impl Read + Write) -> Option<String> {
    let mut said = [0; 10];
    // A tunnel that is not there yet takes nobody, or says nothing.
    stream.read_exact(&mut said).ok()?;
    stream.write_all(b"question\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(format!("{}{answer}", String::from_utf8_lossy(&said)))
}

#[test]
fn piped_input_and_a_script_on_standard_input_run_the_same_each_way() {
    require!("sshd", "ssh");
    let desk = Desk::new();
    let bytes = noise(3_000_000);
    desk.alike("exec", |way| {
        let seen = run(desk.command("ssh", &[way, "sha256sum; echo aside >&2; exit 5"]), &bytes, LIMIT);
        format!("{:?} {} {}", seen.code, seen.out(), seen.err())
    });
    desk.alike("shell", |way| {
        let seen = run(desk.command("ssh", &["-T", way]), b"echo $((6 * 7))\nexit 3\n", LIMIT);
        format!("{:?} {}", seen.code, seen.out().lines().last().unwrap_or_default())
    });
}

#[test]
fn sftp_and_rsync_move_the_same_each_way() {
    require!("sshd", "ssh", "sftp", "rsync");
    let desk = Desk::new();
    let here = desk.file("sent");
    std::fs::create_dir_all(here.join("deep")).unwrap();
    std::fs::write(here.join("one two"), noise(900_000)).unwrap();
    std::fs::write(here.join("deep/er"), noise(10)).unwrap();
    let sum = |file: &Path| std::fs::read(file).map_or(String::from("none"), |bytes| sha256(&bytes));
    desk.alike("sftp-write", |way| {
        let (there, back, batch) = (desk.fresh("there"), desk.file("back"), desk.file("batch"));
        let _ = std::fs::remove_file(&back);
        let (from, far) = (here.join("one two"), there.join("x"));
        let lines =
            format!("put {from:?} {far:?}\nrename {far:?} {far:?}.y\nchmod 600 {far:?}.y\nget {far:?}.y {back:?}\n");
        std::fs::write(&batch, lines.replace("x\".y", "x.y\"")).unwrap();
        let seen = run(desk.command("sftp", &["-q", "-b", batch.to_str().unwrap(), way]), b"", LIMIT);
        format!("{:?} {} {}", seen.code, sum(&there.join("x.y")), sum(&back))
    });
    desk.alike("sftp-write", |way| {
        let there = desk.fresh("there");
        let mut rsync = Command::new("rsync");
        rsync.args(["-a", "-e", &format!("ssh -F {}", desk.file("ssh_config").display())]);
        rsync.arg(format!("{}/", here.display())).arg(format!("{way}:{}/", there.display()));
        let seen = run(rsync, b"", LIMIT);
        format!("{:?} {} {}", seen.code, sum(&there.join("one two")), sum(&there.join("deep/er")))
    });
}

#[test]
fn git_pushes_and_clones_the_same_each_way() {
    require!("sshd", "ssh", "git");
    let desk = Desk::new();
    let git = |folder: &Path, arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("HOME", folder);
        git.env("GIT_SSH_COMMAND", format!("ssh -F {}", desk.file("ssh_config").display()));
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]).args(arguments);
        run(git, b"", LIMIT).ok().out()
    };
    desk.alike("exec", |way| {
        let (there, work) = (desk.fresh("there"), desk.file(&format!("work-{way}")));
        std::fs::create_dir(&work).unwrap();
        git(&there, &["init", "-q", "--bare", "r.git"]);
        git(&work, &["init", "-q"]);
        std::fs::write(work.join("file"), noise(200_000)).unwrap();
        git(&work, &["add", "file"]);
        git(&work, &["commit", "-qm", "first"]);
        let url = format!("ssh://{way}{}/r.git", there.display());
        git(&work, &["push", "-q", &url, "HEAD:refs/heads/main"]);
        git(&work, &["clone", "-q", "-b", "main", &url, "clone"]);
        sha256(&std::fs::read(work.join("clone/file")).unwrap())
    });
}

#[test]
fn forwards_to_a_server_that_speaks_first_carry_the_same_each_way() {
    require!("sshd", "ssh");
    let desk = Desk::new();
    let port = speaks_first();
    let by_port = |near: u16| until(LIMIT, "answer", || conversation(TcpStream::connect(("127.0.0.1", near)).ok()?));
    let by_socket = |near: &Path| until(LIMIT, "answer", || conversation(UnixStream::connect(near).ok()?));
    desk.alike("local-forward", |way| {
        let near = free_port();
        let _tunnel = desk.tunnel(way, &["-L", &format!("{near}:127.0.0.1:{port}")]);
        by_port(near)
    });
    desk.alike("remote-forward", |way| {
        let far = free_port();
        let _tunnel = desk.tunnel(way, &["-R", &format!("{far}:127.0.0.1:{port}")]);
        by_port(far)
    });
    desk.alike("remote-forward-unix", |way| {
        let far = desk.sshd.folder().join(format!("s-{way}"));
        let _tunnel = desk.tunnel(way, &["-R", &format!("{}:127.0.0.1:{port}", far.display())]);
        by_socket(&far)
    });
    desk.alike("local-forward", |way| {
        let mut ssh = desk.command("ssh", &["-W", &format!("127.0.0.1:{port}"), way]);
        ssh.env_remove("SSH_AUTH_SOCK");
        let seen = run(ssh, b"question\n", LIMIT);
        format!("{:?} {}", seen.code, seen.out())
    });
}
