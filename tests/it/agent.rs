//! A user's agent, lent to a target (`ssh -A`), with the stock `ssh-agent`, `ssh-add` and `ssh`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixture::bastion::{ALICE, Bastion, DB1, OPEN};
use crate::fixture::process::{Running, Stdout, run};
use crate::fixture::route::Route;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, key, until};
use crate::require;

const HOSTILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile_agent.py");

/// Rules that lend the agent; with `more` below.
fn lending(more: &str) -> String {
    let text = OPEN.replace(r#"["shell", "exec"]"#, r#"["shell", "exec", "agent"]"#);
    assert_ne!(text, OPEN, "the rules have no such channels");
    format!("{}{more}\n", text.trim_start())
}

/// A user's `ssh-agent`.
struct Agent {
    socket: PathBuf,
    _process: Running,
}

impl Agent {
    fn start(folder: &Path, keys: &[&Path]) -> Self {
        let socket = folder.join("agent.sock");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let process = Running::start(command, Stdout::Gathered);
        until(LIMIT, "socket of the agent", || socket.exists().then_some(()));
        let agent = Self { socket, _process: process };
        for key in keys {
            agent.add(&[key.to_str().unwrap()]);
        }
        agent
    }

    fn add(&self, arguments: &[&str]) -> String {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", &self.socket).args(arguments);
        run(add, b"", LIMIT).ok().out()
    }

    /// The way with `-A`.
    fn on(&self, route: &Route) -> Route {
        route.with(&format!("IdentityAgent={}", self.socket.display())).with("ForwardAgent=yes")
    }
}

/// `SHA256:...` of a key.
fn fingerprint(key: &Path) -> String {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-l", "-f"]).arg(key);
    run(keygen, b"", LIMIT).ok().out().split_whitespace().nth(1).unwrap().to_owned()
}

/// What a target runs to log in to another machine, with nothing but the agent.
fn hop(to: &Sshd, command: &str) -> String {
    format!(
        "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentityFile=none -p {} {}@127.0.0.1 '{command}'",
        to.port, to.account
    )
}

/// The signatures in the audit log: key, account and host.
fn signatures(bastion: &Bastion) -> Vec<(String, String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = bastion.rows(&["audit", "list", "--type", "agent.sign"]);
    rows.iter().map(|row| (text(row, "key"), text(row, "account"), text(row, "host"))).collect()
}

/// What the recordings of the agent's channels tell.
fn told(bastion: &Bastion, session: &str) -> String {
    (1..=30)
        .map(|channel| {
            let export = ["recording", "export", session, "--format", "v3", "--channel", &channel.to_string()];
            bastion.doorward(&export).out()
        })
        .filter(|cast| cast.contains(r#""class":"agent""#) || cast.contains("the target asked for"))
        .collect()
}

#[test]
fn t22_a_lent_agent_logs_in_elsewhere_and_each_signature_is_on_record_first() {
    require!("sshd", "ssh", "ssh-agent", "ssh-add");
    let (sshd, far) = (Sshd::start(), Sshd::start());
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending(""));
    bastion.serve();
    let (mine, rsa) = (key(bastion.scratch(), "mine", "ed25519", ""), key(bastion.scratch(), "rsa", "rsa", ""));
    far.accept(&mine.with_extension("pub"));
    let agent = Agent::start(bastion.scratch(), &[&bastion.key, &mine, &rsa]);
    let route = agent.on(&bastion.to(&sshd));
    // The key that logged in at the bastion is not even shown.
    let listed = route.run("ssh-add -l").ok().out();
    assert!(listed.contains(&fingerprint(&mine)) && listed.contains(&fingerprint(&rsa)), "{listed}");
    assert!(!listed.contains(&fingerprint(&bastion.key)), "{listed}");
    assert_eq!(route.run(&hop(&far, "echo far")).ok().out(), "far\n");
    bastion.empties(LIMIT);
    let expected = (fingerprint(&mine), far.account.clone(), fingerprint(&far.host_key()));
    assert_eq!(signatures(&bastion), std::slice::from_ref(&expected));
    let both: String = bastion.recordings_at_all().iter().map(|session| told(&bastion, session)).collect();
    assert!(both.contains("the target asked for the keys: 2 of 3 shown"), "{both}");
    let asked = format!("the target asked for a signature by {}, for a login as {}", expected.0, expected.1);
    assert!(both.contains(&asked) && both.contains("the agent knows the target"), "{both}");
    // Without `-A` nothing is lent, and the target cannot know of an agent.
    assert_eq!(bastion.to(&sshd).run("echo [$SSH_AUTH_SOCK]").out(), "[]\n");
    // Keys change as people work; the agent itself nobody changes from there.
    assert_ne!(route.run("ssh-add -D").code, Some(0));
    assert!(agent.add(&["-l"]).contains(&fingerprint(&mine)));
}

#[test]
fn t22_without_its_switch_no_agent_is_lent_and_that_is_on_record_once() {
    require!("sshd", "ssh", "ssh-agent");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let agent = Agent::start(bastion.scratch(), &[]);
    let seen = agent.on(&bastion.to(&sshd)).run("echo [$SSH_AUTH_SOCK]").ok();
    assert_eq!(seen.out(), "[]\n");
    // The bastion itself borrows none either.
    agent.on(&bastion.login(ALICE)).run("ls").ok();
    bastion.empties(LIMIT);
    let log = bastion.audit();
    assert_eq!(log.matches("agent: no rule opens agent for this user at this destination").count(), 1, "{log}");
    assert_eq!(log.matches("agent: the bastion itself borrows none").count(), 1, "{log}");
    let why = bastion.login(ALICE).run("why").text();
    assert!(why.contains("agent"), "{why}");
}

#[test]
fn t22_a_rule_names_the_keys_that_it_lends() {
    require!("sshd", "ssh", "ssh-agent", "ssh-add");
    let (sshd, far) = (Sshd::start(), Sshd::start());
    let mut bastion = Bastion::furnished(&sshd);
    let (one, two) = (key(bastion.scratch(), "one", "ed25519", ""), key(bastion.scratch(), "two", "ed25519", ""));
    far.accept(&two.with_extension("pub"));
    let of = |key: &Path| lending(&format!("agent = {{ keys = [\"{}\"] }}", fingerprint(key)));
    bastion.policy(&of(&one));
    bastion.serve();
    let agent = Agent::start(bastion.scratch(), &[&one, &two]);
    let route = agent.on(&bastion.to(&sshd));
    let listed = route.run("ssh-add -l").ok().out();
    assert!(listed.contains(&fingerprint(&one)) && !listed.contains(&fingerprint(&two)), "{listed}");
    assert_ne!(route.run(&hop(&far, "true")).code, Some(0));
    assert_eq!(signatures(&bastion), []);
    // As the rule is now, not as it was when the agent was lent.
    let shared = route.master(bastion.scratch());
    bastion.policy(&of(&two));
    bastion.doorward(&["policy", "reload"]).ok();
    assert_eq!(shared.route.run(&hop(&far, "echo in")).ok().out(), "in\n");
    // A key that becomes somebody's login is lent no longer.
    bastion.add_user("bob", "nobody", &two);
    assert_ne!(shared.route.run(&hop(&far, "true")).code, Some(0));
    assert_eq!(signatures(&bastion).len(), 1);
}

#[test]
fn t22_a_hostile_target_gets_nothing_but_signatures_for_logins_elsewhere() {
    require!("sshd", "ssh", "ssh-agent", "ssh-add", "python3");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending(""));
    bastion.serve();
    let mine = key(bastion.scratch(), "mine", "ed25519", "");
    let agent = Agent::start(bastion.scratch(), &[&bastion.key, &mine]);
    let before = agent.add(&["-l"]);
    let mut scan = Command::new("ssh-keyscan");
    scan.args(["-t", "ed25519", "-p", &bastion.port.to_string(), "127.0.0.1"]);
    let scanned = run(scan, b"", LIMIT).ok().out();
    let host = scanned.split_whitespace().last().unwrap().to_owned();
    let public = std::fs::read_to_string(bastion.key.with_extension("pub")).unwrap();
    let login = public.split_whitespace().nth(1).unwrap();
    let shared = agent.on(&bastion.to(&sshd)).master(bastion.scratch());
    let answers = shared.route.run(&format!("/usr/bin/python3 {HOSTILE} {host} {login}")).ok().out();
    let answers: Vec<(String, Value)> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 26, "{answers:?}");
    for (what, answer) in &answers {
        match what.as_str() {
            "keys" => assert_eq!(*answer, 1, "the login key was shown"),
            "signed" | "signed plainly" => assert_eq!(*answer, 14, "{what}"),
            "signed of 100" => assert!((1..=58).contains(&answer.as_u64().unwrap()), "{answer} signatures"),
            // Should it have taken longer than a minute, another share had begun.
            "listed of 10000" => assert!((1..=1200).contains(&answer.as_u64().unwrap()), "{answer} lists"),
            "refused of 10000" => assert!((8800..=9999).contains(&answer.as_u64().unwrap()), "{answer} refused"),
            "held" => assert!((1..=8).contains(&answer.as_u64().unwrap()), "{answer} channels"),
            length if length.starts_with("length") => assert_eq!(*answer, "closed", "{what}"),
            _ => assert_eq!(*answer, 5, "{what}"),
        }
    }
    // The rest of the session is as it was, and so is the agent.
    assert_eq!(shared.route.run("echo still here").ok().out(), "still here\n");
    assert_eq!(agent.add(&["-l"]), before);
    let session = bastion.only_session();
    drop(shared);
    bastion.empties(LIMIT);
    let (log, told) = (bastion.audit(), told(&bastion, &session));
    for refused in [
        "a signature of something else than a login",
        "for a login at the bastion itself",
        "the key is not lent",
        "a signature for a login with another key",
        "adding a key",
        "removing all keys",
        "locking the agent",
        "the extension query",
        "too many signatures in one minute",
    ] {
        assert!(told.contains(refused), "{refused} is not in the recording: {told}");
        assert!(log.contains(refused), "{refused} is not in the log: {log}");
    }
    assert!(told.len() < 400_000 && log.len() < 400_000, "{} and {} bytes", told.len(), log.len());
    assert!(signatures(&bastion).len() <= 60);
}

#[test]
fn t22_what_is_lent_ends_with_the_channel_that_lent_it_and_with_the_grant() {
    // Threats T7.
    require!("sshd", "ssh", "ssh-agent", "ssh-add", "python3");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending("").replace("required = false", "required = true"));
    bastion.serve();
    let grant = bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), "1h", "CHG-1");
    let mine = key(bastion.scratch(), "mine", "ed25519", "");
    let agent = Agent::start(bastion.scratch(), &[&mine]);
    let shared = agent.on(&bastion.to(&sshd)).master(bastion.scratch());
    let (first, out) = shared.route.start_ready(&[], "echo $SSH_AUTH_SOCK > $HOME/sock; read end");
    let listing = "SSH_AUTH_SOCK=$(cat $HOME/sock) ssh-add -l";
    // The first value of an option counts.
    let options = [vec!["-o".into(), "ForwardAgent=no".into()], shared.route.options.clone()].concat();
    let apart = Route { options, ..shared.route.clone() };
    let ok = until(LIMIT, "keys", || Some(apart.run(listing)).filter(|seen| seen.code == Some(0)));
    assert!(ok.out().contains(&fingerprint(&mine)), "{ok:?}");
    // A connection to the agent that stands while the channel goes.
    let (mut standing, mut told) = apart.start_ready(
        &[],
        "/usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(50); \
         s.connect(open(\"'$HOME'/sock\").read().strip()); print(\"on\", flush=True); s.recv(1); print(\"over\")'",
    );
    assert_eq!(crate::fixture::route::line(&mut told), "on\n");
    drop((first, out));
    assert_eq!(crate::fixture::route::line(&mut told), "over\n");
    until(LIMIT, "end of the program", || standing.ended().then_some(()));
    assert_ne!(apart.run(listing).code, Some(0));
    // With the grant all of it ends.
    let (again, _out) = shared.route.start_ready(&[], "read end");
    bastion.doorward(&["grant", "revoke", &grant]).ok();
    bastion.empties(LIMIT);
    drop(again);
}

#[test]
fn an_agent_is_lent_through_a_jump_and_from_the_menu() {
    require!("sshd", "ssh", "ssh-agent", "ssh-add", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending(""));
    bastion.serve();
    let mine = key(bastion.scratch(), "mine", "ed25519", "");
    let agent = Agent::start(bastion.scratch(), &[&mine]);
    let words = |command: &Command| {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let outer = words(&bastion.login(ALICE).ssh(&["-W", &format!("{DB1}:22")], ""));
    let inner = agent.on(&bastion.to(&sshd).login(&sshd.account)).with(&format!("ProxyCommand={outer}"));
    let listed = inner.run("ssh-add -l").ok().out();
    assert!(listed.contains(&fingerprint(&mine)), "{listed}");

    let ssh = agent.on(&bastion.login(ALICE)).ssh(&["-tt"], "");
    let terminal = Terminal::start(&ssh, 100, 24);
    terminal.shows(DB1);
    terminal.press("Enter");
    terminal.shows("recorded");
    terminal.line("ssh-add -l");
    terminal.shows(&fingerprint(&mine));
    terminal.line("exit");
    bastion.empties(LIMIT);
    // Where no rule lends it, the shell starts without.
    bastion.policy(OPEN);
    bastion.doorward(&["policy", "reload"]).ok();
    let terminal = Terminal::start(&ssh, 100, 24);
    terminal.shows(DB1);
    terminal.press("Enter");
    terminal.shows("recorded");
    terminal.line("echo x[$SSH_AUTH_SOCK]x");
    terminal.shows("x[]x");
    assert!(bastion.audit().contains("agent: no rule opens agent"), "{}", bastion.audit());
}
