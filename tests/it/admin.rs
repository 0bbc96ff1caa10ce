//! The operator's commands, on a running server and without one.

use std::process::Command;

use crate::fixture::bastion::{ALICE, DB1, GRANTED};
use crate::fixture::process::{Stdout, run};
use crate::fixture::sshd::Account;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, key, until};
use crate::recordings::{contains, files};
use crate::require;

#[test]
fn commands_do_the_same_with_and_without_a_server() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    for _ in 0..2 {
        let name = format!("user{}", crate::fixture::nonce());
        bastion.doorward(&["user", "add", &name, "--group", "a", "--group", "b"]).ok();
        let rows = bastion.rows(&["user", "list"]);
        let row = rows.iter().find(|row| row["name"] == name.as_str()).unwrap();
        assert_eq!(row["groups"], serde_json::json!(["a", "b"]));
        bastion.doorward(&["user", "set", &name, "--group", "c"]).ok();
        bastion.doorward(&["user", "remove", &name]).ok();
        assert_eq!(bastion.rows(&["user", "list"]).len(), 1);
        // The second round asks a running server.
        bastion.serve_if_stopped();
    }
}

#[test]
fn every_listing_speaks_json_and_text() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(GRANTED);
    bastion.serve();
    let destination = format!("{}@{DB1}", sshd.account);
    let grant = bastion.grant(ALICE, &destination, "1h", "CHG-7 a listing");
    let (_running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let session = bastion.only_session();
    for (listing, words) in [
        (["user", "list"], vec![ALICE, "dba"]),
        (["target", "list"], vec![DB1, "127.0.0.1"]),
        (["secret", "list"], vec![destination.as_str()]),
        (["grant", "list"], vec![grant.as_str(), ALICE, "CHG-7 a listing"]),
        (["session", "list"], vec![session.as_str(), ALICE, "CHG-7 a listing"]),
        (["recording", "list"], vec![session.as_str(), ALICE]),
    ] {
        let told = bastion.doorward(&listing).ok();
        for word in words {
            assert!(told.out().contains(word), "{listing:?} does not show {word:?}: {told:?}");
        }
        assert_eq!(bastion.rows(&listing).len(), 1, "{listing:?}");
    }
    for filter in [["--user", "nobody"], ["--target", "nothing"], ["--since", "2999-01-01T00:00:00Z"]] {
        assert_eq!(bastion.rows(&[&["recording", "list"][..], &filter].concat()).len(), 0, "{filter:?}");
    }
    for filter in [["--user", ALICE], ["--target", DB1], ["--since", "2000-01-01T00:00:00Z"]] {
        assert_eq!(bastion.rows(&[&["recording", "list"][..], &filter].concat()).len(), 1, "{filter:?}");
    }
}

#[test]
fn a_key_that_another_user_has_is_refused() {
    // Threat T16.
    let bastion = Bastion::init();
    bastion.add_user(ALICE, "dba", &bastion.key);
    bastion.doorward(&["user", "add", "bob"]).ok();
    let told = bastion.add_key("bob", &bastion.key);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err().contains("hint: "), "{told:?}");
    let weak = bastion.scratch().join("not-a-key.pub");
    std::fs::write(&weak, "ssh-ed25519 AAAA nonsense\n").unwrap();
    let told = bastion.doorward(&["user", "key", "add", "bob", weak.to_str().unwrap()]);
    assert!(matches!(told.code, Some(1 | 2)), "{told:?}");
}

#[test]
fn things_that_do_not_exist_or_exist_already_are_said_to() {
    let bastion = Bastion::init();
    bastion.add_user(ALICE, "dba", &bastion.key);
    for command in [
        &["user", "add", ALICE][..],
        &["user", "suspend", "nobody"],
        &["user", "remove", "nobody"],
        &["target", "set", "nothing", "--label", "a=b"],
        &["target", "remove", "nothing"],
        &["secret", "remove", "root@nothing"],
        &["grant", "revoke", "g-nothing"],
        &["grant", "add", "nobody", "root@db1", "--for", "1h", "--reason", "x"],
        &["recording", "export", "01J00000000000000000000000", "--format", "v3"],
    ] {
        let told = bastion.doorward(command);
        assert_eq!(told.code, Some(1), "{command:?}: {told:?}");
        assert!(told.err().starts_with("error: "), "{command:?}: {told:?}");
    }
    for command in [&["user", "add", "Bad Name"][..], &["user", "frobnicate"], &["target", "add", "x", "--label", "a"]]
    {
        let told = bastion.doorward(command);
        assert_eq!(told.code, Some(2), "{command:?}: {told:?}");
    }
}

#[test]
fn a_grant_that_no_rule_would_let_work_is_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::furnished(&sshd);
    bastion.policy(&GRANTED.replace("dba\"]", "others\"]"));
    let told =
        bastion.doorward(&["grant", "add", ALICE, &format!("{}@{DB1}", sshd.account), "--for", "1h", "--reason", "x"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err().contains("rule"), "{told:?}");
}

#[test]
fn an_inventory_is_shown_then_applied() {
    let bastion = Bastion::init();
    let file = bastion.scratch().join("inventory.toml");
    let public = std::fs::read_to_string(bastion.key.with_extension("pub")).unwrap();
    let text = format!(
        "[users.alice]\ngroups = [\"dba\"]\nkeys = [\"{}\"]\n[targets.db1]\naddress = \"127.0.0.1:22\"\n\
         labels = {{ env = \"test\" }}\naccounts = [\"root\"]\n",
        public.trim()
    );
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    // Without a yes nothing happens.
    let told = bastion.doorward_with(&["apply", path], b"n\n");
    assert!(told.text().contains("alice") && told.text().contains("db1"), "{told:?}");
    assert_eq!(bastion.rows(&["user", "list"]).len(), 0);
    bastion.doorward(&["apply", path, "--yes"]).ok();
    assert_eq!(bastion.rows(&["user", "list"])[0]["name"], ALICE);
    assert_eq!(bastion.rows(&["target", "list"])[0]["name"], DB1);
    let again = bastion.doorward(&["apply", path, "--yes"]).ok();
    assert!(!again.text().contains("alice"), "a second apply still sees a difference: {again:?}");
}

#[test]
fn a_hostile_file_does_not_reach_the_operators_terminal() {
    // Threat T13: the difference that an operator is asked about must be what is shown.
    let bastion = Bastion::init();
    let file = |name: &str, text: &str| {
        let path = bastion.scratch().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let inventory = file(
        "inventory.toml",
        "[targets.db1]\naddress = \"127.0.0.1:22\"\nlabels = { env = \"x\\u001b]0;PWNED\\u0007\\u001b[2J\" }\n",
    );
    let csv = file("targets.csv", "name,address,env\ndb1,10.0.0.1:22,\x1b[2J\n");
    let ansible = file("hosts", "[g\x1b[2J]\ndb1 ansible_host=10.0.0.1\n");
    let key = "k\\u001b[2J";
    bastion.policy(&format!("schema = 1\n\"{key}\" = 1\n"));
    for arguments in [
        vec!["apply", &inventory, "--dry-run"],
        vec!["target", "import", &csv, "--format", "csv", "--dry-run"],
        vec!["target", "import", &ansible, "--format", "ansible", "--dry-run"],
        vec!["check"],
    ] {
        let told = bastion.doorward(&arguments);
        assert!(!told.text().is_empty(), "{arguments:?}");
        assert!(!told.text().contains(|c: char| c.is_control() && c != '\n'), "{arguments:?}: {told:?}");
    }
}

#[test]
fn a_scanned_host_key_is_pinned_after_a_yes() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::init();
    bastion.doorward(&["target", "add", "new", "--address", &format!("127.0.0.1:{}", sshd.port)]).ok();
    let mut fingerprint = Command::new("ssh-keygen");
    fingerprint.args(["-l", "-f"]).arg(sshd.host_key());
    let fingerprint = run(fingerprint, b"", LIMIT).ok().out().split(' ').nth(1).unwrap().to_owned();
    let told = bastion.doorward_with(&["target", "scan", "new"], b"n\n");
    assert!(told.text().contains(&fingerprint), "{told:?}");
    assert_eq!(bastion.rows(&["target", "list"])[0]["host_keys"], serde_json::json!([]));
    bastion.doorward(&["target", "scan", "new", "--yes-fingerprint", &fingerprint]).ok();
    let rows = bastion.rows(&["target", "list"]);
    assert!(rows[0].to_string().contains(&fingerprint), "{rows:?}");
}

#[test]
fn a_scan_shows_every_host_key_and_whether_it_is_pinned() {
    require!("sshd", "ssh");
    let folder = crate::fixture::scratch();
    let lines: Vec<String> = [("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]
        .map(|(kind, bits)| {
            let file = folder.path().join(format!("{kind}-{bits}"));
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"]).arg(&file);
            run(keygen, b"", LIMIT).ok();
            format!("HostKey {}", file.display())
        })
        .into();
    let sshd = Sshd::with(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let bastion = Bastion::init();
    bastion.add_target("db1", &sshd);
    // Scripts read the keys even where nobody confirms.
    let told = bastion.doorward(&["target", "scan", "db1", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&told.stdout).unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row["algorithm"].as_str().unwrap(), row["pinned"] == true)).collect();
    assert_eq!(
        found,
        [
            ("ssh-ed25519", true),
            ("ecdsa-sha2-nistp256", false),
            ("ecdsa-sha2-nistp384", false),
            ("ecdsa-sha2-nistp521", false),
            ("ssh-rsa", false)
        ]
    );
}

#[test]
fn an_import_leaves_known_targets_where_they_are() {
    let bastion = Bastion::init();
    bastion.doorward(&["target", "add", "db1", "--address", "10.0.0.5:22"]).ok();
    let file = bastion.scratch().join("targets.csv");
    std::fs::write(&file, "name,address\ndb1,10.6.6.6:22\ndb2,10.0.0.6:22\n").unwrap();
    let import = ["target", "import", file.to_str().unwrap(), "--format", "csv", "--yes"];
    let told = bastion.doorward(&import).ok();
    assert!(told.err().contains("skipped: target `db1` exists"), "{told:?}");
    let addresses = || -> Vec<String> {
        bastion.rows(&["target", "list"]).iter().map(|row| row["address"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(addresses(), ["10.0.0.5:22", "10.0.0.6:22"]);
    bastion.doorward(&[&import[..], &["--overwrite"]].concat()).ok();
    assert_eq!(addresses(), ["10.6.6.6:22", "10.0.0.6:22"]);
}

#[test]
fn sessions_are_killed_by_filter_after_a_yes() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let session = bastion.only_session();
    assert_eq!(bastion.rows(&["session", "list", "--user", "nobody"]).len(), 0);
    assert_eq!(bastion.rows(&["session", "list", "--target", DB1]).len(), 1);
    let told = bastion.doorward(&["session", "kill", "--user", "nobody", "--yes"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    for unclear in [&["session", "kill"][..], &["session", "kill", &session, "--user", ALICE]] {
        assert_eq!(bastion.doorward(unclear).code, Some(2), "{unclear:?}");
    }
    // Nobody is there to say yes.
    let told = bastion.doorward(&["session", "kill", "--user", ALICE]);
    assert!(told.code == Some(2) && told.err().contains(&session), "{told:?}");
    assert_eq!(bastion.only_session(), session);
    bastion.doorward(&["session", "kill", "--user", ALICE, "--yes"]).ok();
    bastion.empties(LIMIT);
    running.wait(LIMIT);
}

#[test]
fn the_public_half_of_a_key_is_no_secret() {
    let bastion = Bastion::init();
    bastion.doorward(&["target", "add", DB1, "--address", "10.0.0.5"]).ok();
    let public = bastion.key.with_extension("pub");
    let told = bastion.doorward(&["secret", "set", "root@db1", "--private-key", public.to_str().unwrap()]);
    assert!(told.code == Some(2) && told.err().contains("public half"), "{told:?}");
    assert_eq!(told.err().lines().count(), 2, "{told:?}");
}

#[test]
fn a_password_logs_in_and_shows_nowhere() {
    // Promise P4 and threat T19. The account's password is the word that must not be found.
    require!("sshd", "ssh", "useradd", "chpasswd");
    if !crate::fixture::root() {
        println!("skipped: only root can make an account with a password");
        return;
    }
    let account = Account::create();
    for lines in [
        &["PasswordAuthentication yes", "PubkeyAuthentication no"][..],
        // One question without echo, by PAM: keyboard-interactive.
        &["UsePAM yes", "KbdInteractiveAuthentication yes", "PubkeyAuthentication no"],
    ] {
        let sshd = Sshd::with(lines);
        let mut bastion = Bastion::furnished(&sshd);
        let destination = format!("{}@{DB1}", account.name);
        bastion.set_password(&destination, &account.password);
        bastion.allow_account(&account.name);
        bastion.serve();
        let seen = bastion.login(&destination).run("id -un");
        assert_eq!((seen.out().trim(), seen.code), (account.name.as_str(), Some(0)), "{lines:?}: {seen:?}");

        // A wrong one: the user reads what to do, and neither the old nor the new one shows.
        bastion.set_password(&destination, "wrong-canary");
        let seen = bastion.login(&destination).run("id -un");
        assert_eq!((seen.out().as_str(), seen.code), ("", Some(255)), "{seen:?}");
        let environment = std::fs::read(format!("/proc/{}/environ", bastion.pid())).unwrap();
        let arguments = std::fs::read(format!("/proc/{}/cmdline", bastion.pid())).unwrap();
        let log = bastion.stop();
        let mut places = vec![environment, arguments, log.stdout, log.stderr, seen.stderr];
        places.extend(files(&bastion.home()).iter().map(|file| std::fs::read(file).unwrap()));
        for word in [account.password.as_bytes(), b"wrong-canary"] {
            assert!(!places.iter().any(|place| contains(place, word)), "a password shows");
        }
    }
}

#[test]
fn keys_of_every_kind_log_in_on_both_sides() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.serve();
    let destination = format!("{}@{DB1}", sshd.account);
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let users = key(bastion.scratch(), &format!("user-{kind}"), kind, "");
        bastion.add_key(ALICE, &users).ok();
        let accounts = key(bastion.scratch(), &format!("account-{kind}"), kind, "");
        sshd.accept(&accounts.with_extension("pub"));
        bastion.set_key(&destination, &accounts);
        let seen = bastion.to(&sshd).key(&users).run("echo in");
        assert_eq!(seen.out(), "in\n", "{kind}: {seen:?}");
    }
}

#[test]
fn who_asked_is_in_the_audit_log() {
    let bastion = Bastion::init();
    bastion.add_user(ALICE, "dba", &bastion.key);
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    let uid = rustix::process::geteuid().as_raw();
    let changes = bastion.rows(&["audit", "list", "--type", "config.change", "--user", ALICE]);
    let verbs: Vec<&str> = changes.iter().map(|change| change["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["user add", "user key add", "user suspend"]);
    assert!(changes.iter().all(|change| change["uid"] == uid), "no uid {uid} in {changes:?}");
}

#[test]
fn an_operator_uses_the_socket_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root, to act as another user");
    }
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let shared = shared_folder();
    let socket = shared.path().join("admin.sock");
    bastion.configure("admin", &format!("operators = [{NOBODY}]\nsocket = \"{}\"", socket.display()));
    bastion.serve();
    let config = shared.path().join("doorward.toml");
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    let data = format!("data = \"{}\"\n", bastion.data().display());
    let rest = text.lines().filter(|line| !line.starts_with("data")).collect::<Vec<_>>().join("\n");
    std::fs::write(&config, data + &rest).unwrap();
    let program = shared.path().join("doorward");
    std::fs::copy(crate::fixture::bastion::program(), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = nobody(program.to_str().unwrap());
        run(
            {
                command.arg("--config").arg(&config).args(arguments);
                command
            },
            b"",
            LIMIT,
        )
    };
    as_nobody(&["user", "add", "carol"]).ok();
    assert_eq!(bastion.rows(&["user", "list"]).len(), 2);
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    // Recordings are files of the server's user: that they cannot be read is not that they are not there.
    let identity = shared.path().join("auditor.key");
    std::fs::write(&identity, std::fs::read(bastion.identity()).unwrap()).unwrap();
    let identity = identity.to_str().unwrap();
    let told =
        as_nobody(&["recording", "export", &bastion.only_recording(), "--format", "txt", "--identity", identity]);
    assert!(told.code == Some(1) && told.err().contains("cannot read `/"), "{told:?}");
    assert!(told.err().contains("/rec/"), "{told:?}");
}

#[test]
fn an_impostor_at_the_socket_gets_no_secret() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: needs root, to act as another user");
    }
    let bastion = Bastion::init();
    let shared = shared_folder();
    let socket = shared.path().join("admin.sock");
    bastion.configure("admin", &format!("socket = \"{}\"", socket.display()));
    // Its place is taken once it listens: before, nobody could connect.
    let listening = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => \"$ARGV[0].new\", Listen => 1); \
                     rename \"$ARGV[0].new\", $ARGV[0]; my $c = $s->accept; $c->sysread(my $got, 9999); print 'got <', $got // '', '>';";
    let mut impostor = nobody("/usr/bin/perl");
    impostor.args(["-e", listening]).arg(&socket);
    let impostor = Running::start(impostor, Stdout::Gathered);
    until(LIMIT, "the impostor's socket", || socket.exists().then_some(()));
    let told = bastion.doorward_with(&["secret", "set", "root@db1", "--stdin"], b"canary-4711\n");
    assert!(told.code == Some(1) && told.err().contains("nothing was sent"), "{told:?}");
    assert_eq!(impostor.wait(LIMIT).out(), "got <>");
}

const NOBODY: u32 = 65534;

/// A folder in which everybody may write.
fn shared_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    folder
}

fn nobody(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &NOBODY.to_string(), "--clear-groups", program]);
    command
}

#[test]
fn the_client_configuration_is_one_that_ssh_takes() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let told = bastion.doorward(&["client-config", ALICE]).ok();
    let file = bastion.scratch().join("client-config");
    std::fs::write(&file, &told.stdout).unwrap();
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(&file).args(["-G", "any-host"]);
    run(ssh, b"", LIMIT).ok();
}

#[test]
fn replay_shows_the_session_on_a_terminal() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let first = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 80, 24);
    first.line("echo replayed-$((40+2)); exit");
    first.shows("replayed-42");
    until(LIMIT, "end of the shell", || first.ended().then_some(()));
    let session = bastion.only_recording();
    let mut replay = Command::new(crate::fixture::bastion::program());
    replay.arg("--config").arg(bastion.config()).args(["recording", "replay", &session, "--speed", "50"]);
    replay.arg("--identity").arg(bastion.identity());
    let second = Terminal::start(&replay, 100, 30);
    second.shows("replayed-42");
    until(LIMIT, "end of the replay", || {
        second.press("q");
        second.ended().then_some(())
    });
}

#[test]
fn doctor_finds_a_fresh_bastion_well() {
    let bastion = Bastion::init();
    let told = bastion.doorward(&["doctor"]).ok();
    assert!(told.text().contains("sync"), "the cost of a disk sync is not told: {told:?}");
}
