//! `ssh -J bastion account@target`: the same sessions, opened as people type them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::fixture::bastion::{ALICE, Bastion, DB1, GRANTED, OPEN};
use crate::fixture::process::{Finished, Running, Stdout, descendants, run};
use crate::fixture::{LIMIT, Sshd, key, until};
use crate::require;

/// Alice's `~/.ssh/config` and `known_hosts`: of targets she knows nothing but the bastion's CA.
pub(crate) struct Desk<'b> {
    bastion: &'b Bastion,
    account: String,
}

impl<'b> Desk<'b> {
    pub(crate) fn new(bastion: &'b Bastion, sshd: &Sshd) -> Self {
        let desk = Self { bastion, account: sshd.account.clone() };
        desk.learn();
        let text = format!(
            "Host bastion\n  HostName 127.0.0.1\n  Port {}\n  User {ALICE}\n  StrictHostKeyChecking no\n  \
             UserKnownHostsFile /dev/null\nHost *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
             BatchMode yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  \
             LogLevel ERROR\n  ConnectTimeout 30\n",
            bastion.port,
            bastion.key.display(),
            desk.known_hosts().display(),
        );
        std::fs::write(desk.config(), text).unwrap();
        desk
    }

    fn config(&self) -> PathBuf {
        self.bastion.scratch().join("ssh_config")
    }

    fn known_hosts(&self) -> PathBuf {
        self.bastion.scratch().join("known_hosts")
    }

    /// Puts what `host-ca` prints into `known_hosts`.
    fn learn(&self) -> String {
        let line = self.bastion.doorward(&["host-ca"]).ok().out();
        std::fs::write(self.known_hosts(), &line).unwrap();
        line
    }

    fn ssh(&self, arguments: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.config()).args(arguments);
        ssh
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        run(self.ssh(arguments), b"", LIMIT)
    }

    pub(crate) fn at(&self, target: &str) -> String {
        format!("{}@{target}", self.account)
    }
}

#[test]
fn a_jump_reaches_the_target_asks_nothing_and_is_recorded() {
    require!("sshd", "ssh", "scp");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    bastion.policy(&crate::sftp::rule(r#"["shell", "exec", "sftp-write"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    let desk = Desk::new(&bastion, &sshd);
    let seen = desk.run(&["-J", "bastion", &desk.at(DB1), "echo jumped; echo aside >&2; exit 7"]);
    assert_eq!((seen.code, seen.out().as_str(), seen.err().as_str()), (Some(7), "jumped\n", "aside\n"), "{seen:?}");
    let proxy = format!("ProxyCommand=ssh -F {} -W %h:%p bastion", desk.config().display());
    let seen = desk.run(&["-o", &proxy, &desk.at(DB1), "echo by hand"]).ok();
    assert_eq!(seen.out(), "by hand\n");
    let seen =
        desk.run(&["-J", "bastion", "-p", &sshd.port.to_string(), &desk.at("127.0.0.1"), "echo by address"]).ok();
    assert_eq!(seen.out(), "by address\n");
    let seen = desk.run(&["-tt", "-J", "bastion", &desk.at(DB1), "tty -s && echo on a terminal"]).ok();
    assert!(seen.out().contains("alice as") && seen.out().ends_with("\non a terminal\r\n"), "{seen:?}");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(bastion.scratch().join("sent"), &bytes).unwrap();
    let (sent, far) = (bastion.scratch().join("sent"), sshd.folder().join("far"));
    let mut scp = Command::new("scp");
    scp.arg("-F").arg(desk.config()).args(["-O", "-J", "bastion"]).arg(sent);
    scp.arg(format!("{}:{}", desk.at(DB1), far.display()));
    run(scp, b"", LIMIT).ok();
    assert!(std::fs::read(far).unwrap() == bytes, "the file that arrived differs");

    bastion.empties(LIMIT);
    let recorded: Vec<String> = bastion.recordings().iter().map(crate::fixture::bastion::id).collect();
    assert_eq!(recorded.len(), 5);
    let text = String::from_utf8(bastion.export(&recorded[0], "txt", &[])).unwrap();
    assert!(text.contains("jumped") && text.contains("aside"), "{text}");
    let facts = crate::algorithms::facts(&bastion, &recorded[0]);
    assert!(facts.contains("inside another connection to the bastion (ssh -J)"), "{facts}");
    let starts = bastion.rows(&["audit", "list", "--type", "session.start"]);
    assert!(starts.iter().all(|start| start["user"] == ALICE && start["destination"] == desk.at(DB1)), "{starts:?}");
}

#[test]
fn a_jump_goes_where_a_rule_lets_the_user_and_nowhere_else() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let other = Sshd::start();
    bastion
        .doorward(
            &["target", "add", "web", "--address", &format!("localhost:{}", other.port), "--host-key"]
                .into_iter()
                .chain([other.host_key().to_str().unwrap()])
                .collect::<Vec<_>>(),
        )
        .ok();
    bastion.add_target("db2", &sshd);
    bastion.serve();
    let desk = Desk::new(&bastion, &sshd);
    let line = desk.learn();
    assert!(line.starts_with("@cert-authority ") && line.contains("db1,") && !line.contains('*'), "{line}");

    // No rule, no target, another port, the bastion itself, and on from a target: forwards, all of them.
    let refused = |arguments: &[&str]| {
        let seen = desk.run(arguments);
        assert_eq!(seen.code, Some(255), "{arguments:?}: {seen:?}");
        assert!(seen.err().contains("forwarding failed"), "{arguments:?}: {seen:?}");
    };
    refused(&["-J", "bastion", &desk.at("web"), "true"]);
    refused(&["-J", "bastion", "-p", &other.port.to_string(), &desk.at("localhost"), "true"]);
    refused(&["-J", "bastion", &desk.at("unheard-of"), "true"]);
    refused(&["-J", "bastion", "-p", "23", &desk.at(DB1), "true"]);
    refused(&["-J", "bastion", "-p", &bastion.port.to_string(), &desk.at("127.0.0.1"), "true"]);
    refused(&["-J", &format!("bastion,{}", desk.at(DB1)), &desk.at("db2"), "true"]);
    // An address that two targets have.
    refused(&["-J", "bastion", "-p", &sshd.port.to_string(), &desk.at("127.0.0.1"), "true"]);
    refused(&["-J", &format!("{}@bastion", desk.at(DB1)), &desk.at(DB1), "true"]);
    // The account is judged as ever.
    let seen = desk.run(&["-J", "bastion", &format!("nobody-here@{DB1}"), "true"]);
    assert!(seen.code == Some(126) && seen.err().contains("access denied"), "{seen:?}");
    let seen = desk.run(&["-J", "bastion", &format!("no!name@{DB1}"), "true"]);
    assert!(seen.code == Some(126) && seen.err().contains("account name"), "{seen:?}");
    assert_eq!(bastion.recordings_at_all(), [""; 0]);
    let audit = bastion.audit();
    for what in ["local-forward web:22", "local-forward unheard-of:22", "local-forward db1:23"] {
        assert!(audit.contains(what), "no `{what}` in {audit}");
    }
}

#[test]
fn ssh_to_a_target_in_a_forward_from_another_ends_here_where_a_rule_says_so() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = &mut Bastion::furnished(&sshd);
    bastion.add_target("db2", &sshd);
    bastion.set_key(&format!("{}@db2", sshd.account), &sshd.key);
    let rules = |bastion: &Bastion, ssh: &str, grant: &str| {
        let text =
            OPEN.replace(r#"["shell", "exec"]"#, r#"["exec", "local-forward"]"#).replace("required = false", grant);
        bastion.policy(&format!("{text}forward = {{ to = [\"localhost:9\"]{ssh} }}\n"));
    };
    rules(bastion, "", "required = false");
    bastion.serve();
    let desk = Desk::new(bastion, &sshd);
    let (through, there) = (format!("{}@bastion", desk.at(DB1)), desk.at("db2"));
    let by = |port: &str| desk.run(&["-J", &through, "-p", port, &there, "echo beyond"]);
    let refused = || {
        let seen = by("22");
        assert!(seen.code == Some(255) && seen.err().contains("forwarding failed"), "{seen:?}");
    };
    refused();
    let before = bastion.recordings_at_all().len();
    let reload = |ssh: &str, grant: &str| {
        rules(bastion, ssh, grant);
        bastion.doorward(&["policy", "reload"]).ok();
    };
    reload(", ssh = \"end\"", "required = false");
    assert_eq!(by("22").ok().out(), "beyond\n");
    let recorded = until(LIMIT, "a recording", || {
        let rows = bastion.recordings();
        rows.iter().find(|row| row["destination"] == there).map(crate::fixture::bastion::id)
    });
    assert!(String::from_utf8_lossy(&bastion.export(&recorded, "txt", &[])).contains("beyond"));
    // Only SSH's place of a target, by its name; and only as deep as that.
    assert_eq!(by("23").code, Some(255));
    let by_address = desk.run(&["-J", &through, "-p", &sshd.port.to_string(), &desk.at("127.0.0.1"), "true"]);
    assert_eq!(by_address.code, Some(255), "{by_address:?}");
    let chain = format!("bastion,{}", desk.at(DB1));
    assert_eq!(desk.run(&["-J", &chain, &there, "true"]).code, Some(255));
    // Such a rule opens no more than others do without a grant.
    reload(", ssh = \"end\"", "required = true");
    refused();
    bastion.grant(ALICE, &desk.at(DB1), "1h", "CHG-1");
    let seen = by("22");
    assert!(seen.code == Some(126) && seen.err().contains("grant"), "there a grant is needed too: {seen:?}");
    assert_eq!(bastion.recordings_at_all().len(), before + 1);
}

#[test]
fn a_client_that_does_not_know_the_ca_does_not_believe_the_bastion() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let desk = Desk::new(&bastion, &sshd);
    // Another bastion's CA.
    let other = Bastion::furnished(&sshd);
    std::fs::write(desk.known_hosts(), other.doorward(&["host-ca"]).ok().out()).unwrap();
    let seen = desk.run(&["-J", "bastion", &desk.at(DB1), "true"]);
    assert!(seen.code == Some(255) && seen.err().contains("Host key verification failed"), "{seen:?}");
    // The right one, for another target only: the certificate names the target.
    let line = desk.learn();
    std::fs::write(desk.known_hosts(), line.replace(" 127.0.0.1", " elsewhere").replace("db1", "db2")).unwrap();
    let seen = desk.run(&["-J", "bastion", &desk.at(DB1), "true"]);
    assert!(seen.code == Some(255) && seen.err().contains("Host key verification failed"), "{seen:?}");
    assert_eq!(bastion.recordings_at_all(), [""; 0]);
}

#[test]
fn what_ends_a_session_ends_one_that_jumped() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let desk = Desk::new(&bastion, &sshd);
    let jumps = ["-tt", "-J", "bastion", &desk.at(DB1), "echo begun; exec sleep 300"];
    let held = Running::start(desk.ssh(&jumps), Stdout::Gathered);
    until(LIMIT, "the session", || bastion.sessions().first().cloned());
    let session = bastion.only_session();
    bastion.doorward(&["session", "kill", &session, "--yes"]).ok();
    let seen = held.wait(Duration::from_secs(10));
    assert_ne!(seen.code, Some(0), "{seen:?}");
    bastion.empties(LIMIT);
    until(LIMIT, "the target's end", || descendants(sshd.pid()).is_empty().then_some(()));

    // And the connection around it going.
    let held = Running::start(desk.ssh(&jumps), Stdout::Gathered);
    until(LIMIT, "the session", || bastion.sessions().first().cloned());
    held.signal(Signal::KILL);
    bastion.empties(LIMIT);
    until(LIMIT, "the target's end", || descendants(sshd.pid()).is_empty().then_some(()));

    // A suspended user's connections are closed, jump or not.
    let held = Running::start(desk.ssh(&jumps), Stdout::Gathered);
    until(LIMIT, "the session", || bastion.sessions().first().cloned());
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    assert_ne!(held.wait(Duration::from_secs(10)).code, Some(0));
    let seen = desk.run(&["-J", "bastion", &desk.at(DB1), "true"]);
    assert!(seen.err().contains("suspended"), "{seen:?}");
}

#[test]
fn t07_a_jump_after_the_grants_end_is_refused_on_the_connection_that_carries_it() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(GRANTED);
    bastion.serve();
    let desk = Desk::new(&bastion, &sshd);
    let grant = bastion.grant(ALICE, &desk.at(DB1), "1h", "CHG-1 a test");
    // One connection to the bastion, which needs no grant, and jumps through it.
    let socket = bastion.scratch().join("shared").display().to_string();
    let mut shared = Running::start(desk.ssh(&["-M", "-S", &socket, "-N", "bastion"]), Stdout::Gathered);
    until(LIMIT, "shared connection", || std::path::Path::new(&socket).exists().then_some(()));
    let proxy = format!("ProxyCommand=ssh -F {} -S {socket} -W %h:%p bastion", desk.config().display());
    let inner = bastion.scratch().join("inner").display().to_string();
    let arguments = ["-o", &proxy, "-M", "-S", &inner, &desk.at(DB1), "echo begun; exec cat"];
    let mut held = Running::start(desk.ssh(&arguments), Stdout::Unread);
    assert_eq!(crate::fixture::route::line(&mut held.stdout()), "begun\n");
    assert_eq!(desk.run(&["-S", &inner, &desk.at(DB1), "echo second"]).ok().out(), "second\n");

    bastion.doorward(&["grant", "revoke", &grant]).ok();
    bastion.empties(Duration::from_secs(5));
    assert_eq!(held.wait_with_open_stdin(LIMIT).code, Some(255));
    for route in [["-o", &proxy], ["-S", &inner], ["-J", "bastion"]] {
        let seen = desk.run(&[&route[..], &[&desk.at(DB1), "echo in"]].concat());
        // Whose socket is gone, and who knows no other way, gets nowhere.
        assert!(seen.out().is_empty() && matches!(seen.code, Some(126 | 255)), "{route:?}: {seen:?}");
    }
    let seen = desk.run(&["-o", &proxy, &desk.at(DB1), "echo in"]);
    assert!(seen.code == Some(126) && seen.err().contains("grant"), "{seen:?}");
    assert!(!shared.ended(), "the connection around it");
}

#[test]
fn what_is_no_ssh_in_a_jump_disturbs_nobody() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(OPEN);
    bastion.configure("ssh", "login_grace = \"2s\"");
    bastion.serve();
    let desk = Desk::new(&bastion, &sshd);
    let to = format!("{DB1}:22");
    for noise in [&b"GET / HTTP/1.0\r\n\r\n"[..], &[0; 100_000], b"SSH-2.0-x\r\n\xff\xff\xff\xff"] {
        let seen = run(desk.ssh(&["-W", &to, "bastion"]), noise, LIMIT);
        assert!(seen.out().starts_with("SSH-2.0-"), "{seen:?}");
    }
    // One that says nothing is sent away, and its place is free again.
    let silent = Running::start(desk.ssh(&["-n", "-W", &to, "bastion"]), Stdout::Gathered);
    silent.wait(LIMIT);
    let seen = desk.run(&["-J", "bastion", &desk.at(DB1), "echo well"]).ok();
    assert_eq!(seen.out(), "well\n");
    // Nobody else's key opens the inner door: it is the outer connection that counts.
    let stranger = key(bastion.scratch(), "stranger", "ed25519", "");
    let seen = desk.run(&["-o", &format!("IdentityFile={}", stranger.display()), "-J", "bastion", &desk.at(DB1), "id"]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(bastion.lives());
}
