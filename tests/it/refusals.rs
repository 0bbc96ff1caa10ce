//! Bad input: each row is refused with a message that says what to do, ends nothing else and loses no recording.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixture::bastion::{ALICE, DB1, GRANTED, OPEN, id};
use crate::fixture::process::run;
use crate::fixture::{Bastion, LIMIT, Mounted, Route, Seen, Sshd, key, own, until};
use crate::recordings::files;
use crate::require;

/// Asserts that a login or a session was refused: nothing ran, and the server goes on.
#[track_caller]
fn refused(bastion: &Bastion, route: &Route) -> Seen {
    let seen = route.run("echo ran");
    assert_eq!(seen.out(), "", "{}: {seen:?}", route.login);
    assert!(matches!(seen.code, Some(126 | 255)), "{}: {seen:?}", route.login);
    assert!(bastion.lives());
    seen
}

#[test]
fn malformed_login_names_are_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let long = "a".repeat(300);
    for name in [
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a+b",
        "a++b@db1",
        "+root@db1",
        "alice+@db1",
        "ROOT@DB1",
        "root@db1@",
        "..@db1",
        "root@-db1",
        "root@db1\n",
        "al\u{131}ce+root@db1",
        "\u{202e}root@db1",
        "root@db 1",
        &long,
    ] {
        refused(&bastion, &bastion.login(name));
    }
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
}

#[test]
fn a_user_alone_is_told_what_to_type() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let seen = refused(&bastion, &bastion.login(ALICE));
    assert!(seen.text().contains("ssh ") && seen.text().contains('@'), "{seen:?}");
}

#[test]
fn unknown_keys_and_other_peoples_names_are_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "dba", &bobs);
    let strangers = key(bastion.scratch(), "stranger", "ed25519", "");
    let account = sshd.account.clone();
    let route = bastion.to(&sshd);
    assert_eq!(route.login(&format!("alice+{account}@{DB1}")).run("echo in").out(), "in\n");
    assert_eq!(route.key(&bobs).login(&format!("bob+{account}@{DB1}")).run("echo in").out(), "in\n");
    // A key belongs to one user, and a named user must own it.
    let unknown = refused(&bastion, &route.key(&strangers));
    refused(&bastion, &route.login(&format!("bob+{account}@{DB1}")));
    refused(&bastion, &route.key(&bobs).login(&format!("alice+{account}@{DB1}")));
    refused(&bastion, &route.login(&format!("nobody+{account}@{DB1}")));
    refused(&bastion, &route.login("bob"));
    refused(&bastion, &route.login("nobody"));
    // A stranger learns nothing from the destination: whether a key is accepted never depends on it.
    for destination in ["root@no-such-target", "no-such-account@db1"] {
        assert_eq!(refused(&bastion, &route.key(&strangers).login(destination)).code, unknown.code);
    }
    // Who did not get in is on record, with the key that was tried.
    until(LIMIT, "the failed logins on record", || {
        let log = bastion.audit();
        let failed: Vec<&str> = log.lines().filter(|line| line.contains("\"auth.failed\"")).collect();
        let told = |text: &str| failed.iter().any(|line| line.contains(text));
        (failed.len() == 8 && told("no user has key SHA256:") && told("belongs to user `alice`")).then_some(())
    });
}

#[test]
fn an_offered_key_is_not_a_proven_key() {
    // Failure class 1. The client has only the public half: it offers it, and cannot sign.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let half = bastion.scratch().join("half");
    std::fs::copy(bastion.key.with_extension("pub"), &half).unwrap();
    let seen = refused(&bastion, &bastion.to(&sshd).key(&half).with("LogLevel=DEBUG1"));
    assert!(seen.err().contains("Offering public key"), "the client did not even offer it: {seen:?}");
    assert!(!seen.err().contains("Authenticated"), "{seen:?}");
    assert_eq!(bastion.rows(&["recording", "list"]).len(), 0);
}

#[test]
fn destinations_without_a_right_all_look_the_same() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.add_target("hidden", &sshd);
    bastion.doorward(&["target", "set", "hidden", "--label", "env=other"]).ok();
    bastion.policy(GRANTED);
    bastion.serve();
    let told: Vec<Seen> = ["root@no-such-target", "root@hidden", &format!("{}@{DB1}", sshd.account), "nobody@db1"]
        .iter()
        .map(|destination| refused(&bastion, &bastion.login(destination)))
        .collect();
    for seen in &told {
        // P10: what to do next, and never what exists.
        assert!(seen.err().contains("grant"), "{seen:?}");
        assert_eq!(seen.code, Some(126), "{seen:?}");
        assert_eq!(seen, &told[0]);
    }
}

#[test]
fn a_suspended_user_is_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    refused(&bastion, &bastion.to(&sshd));
    let rows = bastion.rows(&["user", "list"]);
    assert!(!rows[0]["suspended_at"].is_null(), "{rows:?}");
}

#[test]
fn a_target_that_is_down_or_silent_is_said_to_be() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("target", "login_timeout = \"2s\"");
    // Down: a port that nobody listens on. Silent: one that accepts and says nothing.
    bastion.add_target_at("down", crate::fixture::free_port(), &sshd.host_key());
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    bastion.add_target_at("silent", silent.local_addr().unwrap().port(), &sshd.host_key());
    for name in ["down", "silent"] {
        bastion.set_key(&format!("{}@{name}", sshd.account), &sshd.key);
    }
    bastion.serve();
    for name in ["down", "silent"] {
        let start = Instant::now();
        let seen = refused(&bastion, &bastion.login(&format!("{}@{name}", sshd.account)));
        assert_eq!(seen.code, Some(255), "{seen:?}");
        assert!(seen.err().contains("operator"), "it does not say what to do: {seen:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
    // What failed before its first channel has a recording too, with its facts alone.
    assert_eq!(bastion.recordings().len(), 2);
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    let log = bastion.stop().err();
    assert!(log.contains("down") && log.contains("silent"), "the operator is not told: {log}");
}

#[test]
fn a_target_with_another_host_key_gets_no_credential() {
    // Promise P5 and threat T3.
    require!("sshd", "ssh");
    let (sshd, impostor) = (Sshd::start(), Sshd::start());
    impostor.accept(&sshd.key.with_extension("pub"));
    let mut bastion = Bastion::furnished(&sshd);
    bastion.add_target_at("swapped", impostor.port, &sshd.host_key());
    bastion.set_key(&format!("{}@swapped", sshd.account), &sshd.key);
    bastion.serve();
    let seen = refused(&bastion, &bastion.login(&format!("{}@swapped", sshd.account)));
    assert_eq!(seen.code, Some(255), "{seen:?}");
    assert!(seen.err().contains("operator"), "{seen:?}");
    let heard = impostor.stop();
    assert!(heard.contains("Connection from"), "the impostor was not even called: {heard}");
    for word in ["Accepted", "Failed", "Postponed", "publickey"] {
        assert!(!heard.contains(word), "the impostor heard of a credential: {heard}");
    }
    let log = bastion.stop().err();
    assert!(log.contains("SHA256:"), "the operator does not see the keys: {log}");
}

#[test]
fn a_credential_that_the_target_refuses_is_said_without_details() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    sshd.accept_none();
    let seen = refused(&bastion, &bastion.to(&sshd));
    assert_eq!(seen.code, Some(255), "{seen:?}");
    assert!(seen.err().contains("operator"), "{seen:?}");
    assert!(!seen.err().contains("SHA256") && !seen.err().contains("key"), "details of the credential: {seen:?}");
    // No secret at all is the same to the user.
    bastion.doorward(&["secret", "remove", &format!("{}@{DB1}", sshd.account)]).ok();
    let seen = refused(&bastion, &bastion.to(&sshd));
    assert_eq!(seen.code, Some(255), "{seen:?}");
}

#[test]
fn a_broken_policy_leaves_the_old_one_in_force() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    for (broken, words) in [
        (OPEN.replace("who ", "whom "), vec!["test.toml:", "whom"]),
        (OPEN.replace("channels  = [\"shell\", \"exec\"]", "channels = [\"shel\", \"exek\"]"), vec!["shel", "exek"]),
        (OPEN.replace("schema = 1", "schema = "), vec!["test.toml:"]),
        (
            format!(
                "{OPEN}[[test]]\ngiven = {{ user = \"x\", groups = [], target = \"db1\", account = \"root\" }}\nexpect = \"allow dba\"\n"
            ),
            vec!["test.toml:", "deny"],
        ),
    ] {
        bastion.policy(&broken);
        for verb in [&["policy", "reload"][..], &["check"]] {
            let told = bastion.doorward(verb);
            assert!(matches!(told.code, Some(1 | 2)), "{verb:?}: {told:?}");
            for word in &words {
                assert!(told.text().contains(word), "{verb:?} does not say {word:?}: {told:?}");
            }
        }
        assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    }
    // A server that starts with it starts not at all: it would have to guess who may do what.
    bastion.stop();
    let told = bastion.start_server().wait(LIMIT);
    assert_eq!(told.code, Some(2), "{told:?}");
}

#[test]
fn a_broken_configuration_is_told_whole() {
    let bastion = Bastion::init();
    let good = std::fs::read_to_string(bastion.config()).unwrap();
    assert_eq!(bastion.doorward(&["check"]).code, Some(0));
    bastion.configure("ssh", "login_grace = \"a while\"\nlisten_on = 3");
    bastion.configure("recording", "stall_limit = -1");
    for verb in ["check", "serve"] {
        let told = bastion.doorward(&[verb]);
        assert_eq!(told.code, Some(2), "{verb}: {told:?}");
        for word in ["doorward.toml:", "login_grace", "listen_on", "stall_limit"] {
            assert!(told.err().contains(word), "{verb} does not say {word:?}: {told:?}");
        }
    }
    // A master key inside the state directory would make a copy of that directory enough.
    let inside = good.replace("master_key = ", "master_key = \"data/master.key\" # ");
    std::fs::write(bastion.config(), inside).unwrap();
    let told = bastion.doorward(&["check"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    std::fs::remove_file(bastion.config()).unwrap();
    let told = bastion.doorward(&["check"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err().contains("init"), "it does not say what to do: {told:?}");
}

#[test]
fn init_never_overwrites() {
    let bastion = Bastion::init();
    let before: Vec<Vec<u8>> = files(&bastion.home()).iter().map(|file| std::fs::read(file).unwrap()).collect();
    let mut init = Command::new(crate::fixture::bastion::program());
    init.arg("init").arg("--dir").arg(bastion.home());
    let told = run(init, b"", LIMIT);
    assert!(matches!(told.code, Some(1 | 2)), "{told:?}");
    let after: Vec<Vec<u8>> = files(&bastion.home()).iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(after == before, "a file was changed");
}

#[test]
fn a_second_server_on_the_same_state_is_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let told = bastion.start_server().wait(LIMIT);
    assert_eq!(told.code, Some(75), "{told:?}");
    assert!(told.err().contains(&bastion.pid().to_string()), "the holder is not named: {told:?}");
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    assert!(bastion.lives());
}

#[test]
fn corrupt_and_foreign_state_is_refused_with_a_way_out() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let copy = |from: &Bastion, to: &Path| {
        let mut cp = Command::new("cp");
        cp.arg("-a").arg(from.data()).arg(to);
        run(cp, b"", LIMIT).ok();
    };
    let bastion = Bastion::furnished(&sshd);
    let other = Bastion::furnished(&sshd);
    let kept = bastion.scratch().join("kept");
    copy(&bastion, &kept);
    let restore = || {
        std::fs::remove_dir_all(bastion.data()).unwrap();
        let mut cp = Command::new("cp");
        cp.arg("-a").arg(&kept).arg(bastion.data());
        run(cp, b"", LIMIT).ok();
    };
    type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let state = || files(&bastion.data().join("state"));
    let damages: Vec<Damage<'_>> = vec![
        (
            "foreign database",
            Box::new(|| {
                std::fs::remove_dir_all(bastion.data().join("state")).unwrap();
                let mut cp = Command::new("cp");
                cp.arg("-a").arg(other.data().join("state")).arg(bastion.data().join("state"));
                run(cp, b"", LIMIT).ok();
            }),
        ),
        ("no database", Box::new(|| std::fs::remove_dir_all(bastion.data().join("state")).unwrap())),
        (
            "flipped bytes",
            Box::new(|| {
                for file in state() {
                    let mut bytes = std::fs::read(&file).unwrap();
                    bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
                    std::fs::write(&file, bytes).unwrap();
                }
            }),
        ),
        (
            "cut files",
            Box::new(|| {
                for file in state() {
                    let bytes = std::fs::read(&file).unwrap();
                    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
                }
            }),
        ),
        ("no identity", Box::new(|| std::fs::remove_file(bastion.data().join("store.json")).unwrap())),
        ("broken identity", Box::new(|| std::fs::write(bastion.data().join("store.json"), "{").unwrap())),
    ];
    for (name, damage) in &damages {
        damage();
        let told = bastion.start_server().wait(LIMIT);
        assert!(matches!(told.code, Some(1 | 2)), "{name}: {told:?}");
        assert!(told.err().contains("error: "), "{name}: {told:?}");
        assert!(told.err().contains("hint: "), "{name}: it does not say what to do: {told:?}");
        assert!(!told.err().contains("panicked"), "{name}: {told:?}");
        restore();
    }
    // The master key: another one, none, and one that others may read.
    let master = bastion.home().join("master.key");
    let good = std::fs::read(&master).unwrap();
    for bad in [Some(std::fs::read(other.home().join("master.key")).unwrap()), Some(b"x".to_vec()), None] {
        std::fs::remove_file(&master).unwrap();
        if let Some(bad) = &bad {
            write_private(&master, bad);
        }
        let told = bastion.start_server().wait(LIMIT);
        assert!(matches!(told.code, Some(1 | 2)), "{told:?}");
        assert!(told.err().contains("hint: ") && told.err().contains("key"), "{told:?}");
        assert!(!told.err().contains("panicked"), "{told:?}");
        let _ = std::fs::remove_file(&master);
        write_private(&master, &good);
    }
    drop(damages);
    let mut bastion = bastion;
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
}

fn write_private(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
    std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
}

#[test]
fn a_full_disk_ends_sessions_and_loses_nothing_that_was_shown() {
    // Threat T17 and failure class 3.
    require!("sshd", "ssh", "mount");
    let sshd = Sshd::start();
    let mut disk = None;
    let mut bastion = Bastion::init_on(|folder| disk = Mounted::memory(&folder.join("home"), "192m"));
    let Some(disk) = disk else { return };
    bastion.configure("recording", "free_min = \"1MiB\"\nreserve = \"8MiB\"");
    bastion.furnish(&sshd);
    bastion.serve();
    let mut running = bastion.to(&sshd).start(&["-n"], "while seq 1 1000; do sleep 0.02; done");
    let mut stdout = running.stdout();
    let mut seen = vec![0; 10_000];
    stdout.read_exact(&mut seen).unwrap();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        rest
    });
    let ballast = bastion.home().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 1 << 16]).is_ok() {}
    let told = running.wait(Duration::from_secs(30));
    assert_eq!(told.code, Some(255), "{told:?}");
    seen.extend(reader.join().unwrap());
    assert!(bastion.lives());
    let refusal = refused(&bastion, &bastion.to(&sshd));
    assert!(refusal.err().contains("operator"), "{refusal:?}");

    // An open file keeps its space.
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    bastion.stop();
    bastion.serve();
    let first = bastion.recordings().iter().map(id).min().unwrap();
    let kept = bastion.export(&first, "raw", &[]);
    assert!(kept.starts_with(&seen), "{} bytes were seen, {} are kept", seen.len(), kept.len());
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    drop((bastion, disk));
}

#[test]
fn strangers_at_a_full_disk_do_not_end_the_audit_log_for_good() {
    require!("sshd", "ssh", "mount");
    let sshd = Sshd::start();
    let mut disk = None;
    let mut bastion = Bastion::init_on(|folder| disk = Mounted::memory(&folder.join("home"), "192m"));
    let Some(disk) = disk else { return };
    bastion.configure("recording", "free_min = \"1MiB\"\nreserve = \"8MiB\"");
    bastion.furnish(&sshd);
    bastion.serve();
    let ballast = bastion.home().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 1 << 16]).is_ok() {}
    while file.write_all(&[0; 1]).is_ok() {}
    let stranger = key(bastion.scratch(), "stranger", "ed25519", "");
    for _ in 0..30 {
        refused(&bastion, &bastion.to(&sshd).key(&stranger));
    }
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    until(Duration::from_secs(30), "a session once there is space", || {
        (bastion.to(&sshd).run("echo in").out() == "in\n").then_some(())
    });
    // The log goes on without a gap, and a start finds it whole.
    let started = |log: &str| log.matches("\"session.start\"").count();
    assert_eq!(started(&bastion.audit()), 1);
    bastion.stop();
    bastion.serve();
    assert_eq!(started(&bastion.audit()), 1);
    drop((bastion, disk));
}

#[test]
fn a_disk_with_too_little_space_takes_no_new_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("recording", "free_min = \"1000000GiB\"");
    bastion.serve();
    let seen = refused(&bastion, &bastion.to(&sshd));
    assert_eq!(seen.code, Some(255), "{seen:?}");
    assert!(seen.err().contains("operator"), "{seen:?}");
}

#[test]
fn t23_a_suspended_user_cannot_use_up_the_connections() {
    // From inside: whoever has logged in holds a file descriptor, with rights or without.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("ssh", "max_connections_per_user = 3");
    let bob = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "guests", &bob);
    bastion.doorward(&["user", "suspend", "bob"]).ok();
    bastion.serve();
    let (mut session, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let hers = bastion.login("bob+root@db1").key(&bob);
    let masters: Vec<_> = (0..3).map(|_| hers.master(bastion.scratch())).collect();
    let seen = refused(&bastion, &hers);
    assert!(seen.err().contains("too many connections"), "{seen:?}");
    // Others have their own.
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    assert!(!session.ended());
    drop(masters);
    until(LIMIT, "a place that was given back", || {
        let seen = hers.run("true");
        (!seen.err().contains("too many connections")).then_some(())
    });
}

#[test]
fn the_server_opens_as_many_files_as_the_system_allows() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", bastion.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[3], words[4], "{line}");
}

#[test]
fn a_connection_has_at_most_so_many_channels_at_once() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("ssh", "max_channels = 3");
    bastion.serve();
    own::block_on(async {
        let client = own::Own::connect(&bastion.to(&sshd)).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut channel = client.exec("echo ready; cat").await;
            own::read_until(&mut channel, "ready").await;
            open.push(channel);
        }
        assert!(client.handle.channel_open_session().await.is_err(), "a fourth was opened");
        // Another connection has channels of its own, and those that there are go on.
        assert_eq!(bastion.to(&sshd).run("echo beside").out(), "beside\n");
        let first = open.remove(0);
        first.eof().await.unwrap();
        let mut first = first;
        assert_eq!(own::finish(&mut first, LIMIT).await.status, Some(0));
        let begun = Instant::now();
        let mut fourth = loop {
            match client.handle.channel_open_session().await {
                Ok(channel) => break channel,
                Err(_) => assert!(begun.elapsed() < LIMIT, "the place of one that is closed is not free"),
            }
        };
        fourth.exec(true, "echo in").await.unwrap();
        assert_eq!(own::finish(&mut fourth, LIMIT).await.stdout, b"in\n");
    });
    assert!(bastion.audit().contains("channel.refused"));
}

#[test]
fn t03_a_target_with_another_key_gets_nothing_and_is_on_record() {
    require!("sshd", "ssh", "ssh-keygen");
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let mut bastion = Bastion::furnished(&sshd);
    // What answers at the place of `db2` is not what was pinned.
    bastion.add_target_at("db2", sshd.port, &other.host_key());
    bastion.set_key(&format!("{}@db2", sshd.account), &sshd.key);
    bastion.serve();
    let seen = refused(&bastion, &bastion.login(&format!("{}@db2", sshd.account)));
    assert!(!seen.err().contains("SHA256:"), "{seen:?}");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-l", "-f"]).arg(sshd.host_key());
    let shown = run(keygen, b"", LIMIT).ok().out().split(' ').nth(1).unwrap().to_owned();
    let leaves = bastion.rows(&["audit", "list", "--type", "target.key-changed"]);
    assert_eq!(leaves.len(), 1, "{leaves:?}");
    assert_eq!((leaves[0]["target"].as_str(), leaves[0]["got"].as_str()), (Some("db2"), Some(shown.as_str())));
    assert_eq!(bastion.rows(&["audit", "list", "--type", "session.end"]).len(), bastion.recordings_at_all().len());
}
