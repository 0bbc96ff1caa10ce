//! Auditors over SSH: what `[[audit]]` rules let them fetch and watch, and what they do not.

use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::auditor::Identity;
use serde_json::Value;

use crate::fixture::bastion::{OPEN, program};
use crate::fixture::own::{Own, block_on, finish, read_until};
use crate::fixture::process::{Finished, Running, Stdout, memory, run};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, key, until};
use crate::require;

/// Eve of the group `auditors` may fetch and watch what is labelled `env = test`; Mallory may nothing.
const AUDITED: &str = r#"
[[audit]]
id     = "auditors"
who    = { groups = ["auditors"] }
where  = { labels = { env = "test" } }
rights = ["get", "watch"]
"#;

fn audited(sshd: &Sshd) -> (Bastion, Route, Route) {
    let mut bastion = Bastion::furnished(sshd);
    let keys = ["eve", "mallory"].map(|name| key(bastion.scratch(), name, "ed25519", ""));
    bastion.add_user("eve", "auditors", &keys[0]);
    bastion.add_user("mallory", "dba", &keys[1]);
    bastion.policy(&format!("{OPEN}{AUDITED}"));
    bastion.serve();
    let [eve, mallory] = [bastion.login("eve").key(&keys[0]), bastion.login("mallory").key(&keys[1])];
    (bastion, eve, mallory)
}

/// A directory with a program `ssh` that runs this line of a shell, to stand first in the auditor's `PATH`.
fn own_ssh(bastion: &Bastion, line: &str) -> PathBuf {
    let folder = bastion.scratch().join(format!("bin{}", crate::fixture::nonce()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("ssh");
    std::fs::write(&file, format!("#!/bin/sh\n{line}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The auditor's own `ssh`, set up as by `~/.ssh/config`.
pub fn ssh_of(bastion: &Bastion, route: &Route) -> PathBuf {
    let config = bastion.scratch().join(format!("ssh{}", crate::fixture::nonce()));
    let text = format!(
        "Host *\nIdentityFile {}\nIdentitiesOnly yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n\
         LogLevel ERROR\nBatchMode yes\n",
        route.key.display()
    );
    std::fs::write(&config, text).unwrap();
    let real = crate::fixture::find("ssh").unwrap();
    own_ssh(bastion, &format!("exec {} -F {} \"$@\"", real.display(), config.display()))
}

/// `doorward` on the auditor's machine: no configuration, and this `ssh`.
pub fn elsewhere(ssh: &Path, arguments: &[&str]) -> Finished {
    let mut doorward = Command::new(program());
    let path = std::env::var("PATH").unwrap();
    doorward.args(arguments).env("PATH", format!("{}:{path}", ssh.display())).current_dir("/");
    run(doorward, b"", LIMIT)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_auditor_fetches_and_opens_elsewhere_what_a_rule_names() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    bastion.to(&sshd).run("echo the evidence");
    let session = bastion.only_recording();
    let listed: Value = serde_json::from_slice(&eve.run("recording list --json").stdout).unwrap();
    assert_eq!(listed[0]["session"], session.as_str(), "{listed}");
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert!(String::from_utf8_lossy(&eve.run("recording list").stdout).contains(&session));

    let (ssh, from) = (ssh_of(&bastion, &eve), format!("ssh://eve@127.0.0.1:{}", bastion.port));
    let (key, identity) = (bastion.log_key(), bastion.identity());
    let fetched = bastion.scratch().join("fetched");
    let get = ["recording", "get", &session, "--from", &from, "--vkey", &key, "--to", path(&fetched)];
    let told = elsewhere(&ssh, &get).ok();
    assert!(!told.err().contains("UNPINNED"), "{told:?}");
    let told = elsewhere(&ssh, &["verify", "bundle", path(&fetched), "--vkey", &key]).ok();
    assert!(told.err().contains("sealed recording alone"), "{told:?}");
    let replay = ["recording", "replay", &session, "--store", path(&fetched), "--identity", path(&identity)];
    assert!(elsewhere(&ssh, &replay).ok().out().contains("the evidence"));

    // In one step; nothing stays behind.
    let replay = ["recording", "replay", &session, "--from", &from, "--identity", path(&identity)];
    let told = elsewhere(&ssh, &replay).ok();
    assert!(told.out().contains("the evidence") && told.err().contains("UNPINNED"), "{told:?}");
    let bundle = bastion.scratch().join("bundle");
    let mut export = vec!["recording", "export", &session, "--from", &from, "--vkey", &key];
    export.extend(["--identity", path(&identity), "--proof", path(&bundle)]);
    elsewhere(&ssh, &export).ok();
    let check = ["verify", "bundle", path(&bundle), "--vkey", &key, "--identity", path(&identity)];
    elsewhere(&ssh, &check).ok();

    let views: Vec<Value> = bastion.rows(&["audit", "list", "--session", &session]);
    let views: Vec<&Value> = views.iter().filter(|event| event["type"] == "replay.view").collect();
    assert_eq!(views.len(), 3, "{views:?}");
    assert!(views.iter().all(|view| view["by"] == "eve" && view["purpose"] == "get"), "{views:?}");

    // Sealed for somebody else where it was fetched to; that it counts is the operator's to do.
    let other = Identity::generate();
    let (theirs, made) = (bastion.scratch().join("other.key"), bastion.scratch().join("new.jsonl"));
    std::fs::write(&theirs, other.to_file().expose()).unwrap();
    let recipient = other.recipient().to_string();
    let mut rewrap = vec!["recording", "rewrap", &session, "--store", path(&fetched), "--identity", path(&identity)];
    rewrap.extend(["--to", &recipient, "--out", path(&made)]);
    elsewhere(&ssh, &rewrap).ok();
    bastion.doorward(&["recording", "rewrap", "--apply", path(&made)]).ok();
    let export = ["recording", "export", &session, "--format", "txt", "--identity", path(&theirs)];
    assert!(bastion.doorward(&export).ok().out().contains("the evidence"));
}

// T21: an auditor reads what he may not.
#[test]
fn whom_no_rule_names_learns_nothing_and_is_on_record() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, mallory) = audited(&sshd);
    bastion.to(&sshd).run("echo secret");
    let session = bastion.only_recording();
    assert_eq!(mallory.run("recording list --json").stdout, b"[]\n");
    assert_eq!(mallory.run("session list --json").stdout, b"[]\n");
    let [there, absent] = [session.as_str(), "01J9ZZZZZZZZZZZZZZZZZZZZZZ"].map(|session| {
        let told = mallory.run(&format!("recording get {session}"));
        assert_eq!((told.code, told.stdout.len()), (Some(126), 0), "{told:?}");
        String::from_utf8_lossy(&told.stderr).replace(session, "X")
    });
    assert_eq!(there, absent);
    assert!(bastion.audit().contains(&format!("recording get {session}: no audit rule lets mallory")));
    // A target that lost its label is no longer Eve's, recordings of before with it.
    assert_eq!(eve.run(&format!("recording get {session}")).code, Some(0));
    bastion.doorward(&["target", "set", "db1", "--label", "env=prod"]).ok();
    assert_eq!(eve.run(&format!("recording get {session}")).code, Some(126));
    bastion.doorward(&["target", "set", "db1", "--label", "env=test"]).ok();
    bastion.doorward(&["user", "suspend", "eve"]).ok();
    assert_ne!(eve.run("recording list").code, Some(0));
    // What is no verb is no command line of a shell either.
    for command in ["recording list; id", "sh -c id", "recording get ../../x", "cat /etc/passwd"] {
        let told = mallory.run(command);
        assert_eq!((told.code, told.stdout.len()), (Some(126), 0), "{command}: {told:?}");
    }
}

#[test]
fn what_a_bastion_hands_out_changed_is_not_played() {
    require!("sshd", "ssh", "tar");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    bastion.to(&sshd).run("echo the evidence");
    let session = bastion.only_recording();
    let folder = bastion.scratch().join("changed");
    std::fs::create_dir(&folder).unwrap();
    let tar = |arguments: &[&str], input: &[u8]| {
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&folder).args(arguments);
        run(tar, input, LIMIT).ok().stdout
    };
    tar(&["-x"], &eve.run(&format!("recording get {session}")).stdout);
    let mut segment = folder.clone();
    while segment.is_dir() {
        let mut names: Vec<PathBuf> = std::fs::read_dir(&segment).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let wanted = |name: &&PathBuf| ["rec", "1"].iter().any(|one| name.ends_with(one));
        segment = names.iter().find(wanted).or(names.first()).unwrap().clone();
    }
    let mut bytes = std::fs::read(&segment).unwrap();
    assert!(path(&segment).ends_with(".seg"), "{}", segment.display());
    bytes[300] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let archive = bastion.scratch().join("changed.tar");
    std::fs::write(&archive, tar(&["-c", "README.txt", "vkey", "checkpoint", "proofs", "rec", "env"], b"")).unwrap();
    // Directories are no part of what a bastion sends.
    let files = bastion.scratch().join("files");
    std::fs::write(&files, tar(&["-c", "--exclude=x", "--no-recursion", "--null", "-T", "/dev/stdin"], &list(&folder)))
        .unwrap();
    let ssh = own_ssh(&bastion, &format!("cat {}", files.display()));
    let identity = bastion.identity();
    let replay = ["recording", "replay", &session, "--from", "ssh://eve@bastion", "--identity", path(&identity)];
    let told = elsewhere(&ssh, &replay);
    assert!(told.code == Some(5) && told.stdout.is_empty() && told.err().contains("TAMPERED"), "{told:?}");
    let ssh = own_ssh(&bastion, &format!("cat {}", archive.display()));
    let told = elsewhere(&ssh, &replay);
    assert!(told.code == Some(1) && told.err().contains("plain file"), "{told:?}");
}

#[test]
fn what_is_not_as_the_log_has_it_is_not_handed_out() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    bastion.to(&sshd).run("echo the evidence");
    let session = bastion.only_recording();
    let get = format!("recording get {session}");
    let whole = eve.run(&get);
    assert!(whole.code == Some(0) && whole.stdout.len() > 1024, "{whole:?}");
    let segment = bastion.closed_json(&session).with_file_name("1").join("000000.seg");
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    let told = eve.run(&get);
    assert!(told.code == Some(1) && told.stdout.is_empty() && told.err().contains("operator"), "{told:?}");
}

/// The plain files below a directory, each ended by a NUL.
fn list(folder: &Path) -> Vec<u8> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.extend(path.strip_prefix(folder).unwrap().to_str().unwrap().bytes());
                found.push(0);
            }
        }
    }
    found
}

#[test]
fn a_live_session_is_watched_by_whom_a_rule_names_and_drawn_harmless() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, mallory) = audited(&sshd);
    let work = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], "sh"), 80, 24);
    work.line("echo before-$((40+2))");
    work.shows("before-42");
    let session = bastion.only_session();
    let listed: Value = serde_json::from_slice(&eve.run("session list --json").stdout).unwrap();
    assert_eq!(listed[0]["session"], session.as_str());
    assert_eq!(mallory.run(&format!("session watch {session}")).code, Some(126));

    let watch = format!("session watch {session}");
    let watching = Terminal::start(&eve.ssh(&["-tt"], &watch), 80, 24);
    // What was on the screen before, then what comes.
    watching.shows("before-42");
    watching.shows(&format!("watching {session}"));
    let raw = Running::start(eve.ssh(&["-tt"], &watch), Stdout::Gathered);
    let mut lines = Running::start(eve.ssh(&["-T"], &watch), Stdout::Unread);
    let mut told = lines.stdout();
    assert!(crate::fixture::route::line(&mut told).contains(&session));
    until(LIMIT, "three watchers", || (watchers(&bastion, &session) == 3).then_some(()));
    work.line("printf '\\033]52;c;aGVsbG8=\\007'; echo after-$((40+3))");
    watching.shows("after-43");
    watching.press("q");
    until(LIMIT, "end of watching", || watching.ended().then_some(()));

    // Who loses the right is sent away.
    bastion.policy(OPEN);
    bastion.doorward(&["policy", "reload"]).ok();
    let ended = lines.wait_with_open_stdin(LIMIT);
    assert!(ended.code == Some(126) && ended.err().contains("no longer"), "{ended:?}");
    let seen = raw.wait_with_open_stdin(LIMIT);
    assert!(seen.out().contains("after-43"), "{seen:?}");
    assert!(!seen.stdout.windows(4).any(|four| four == b"\x1b]52"), "the target's bytes reached the watcher");
    work.line("exit");
    bastion.empties(LIMIT);
}

/// How many watchers of a session are on record.
fn watchers(bastion: &Bastion, session: &str) -> usize {
    let views = bastion.rows(&["audit", "list", "--session", session]);
    views.iter().filter(|event| event["type"] == "replay.view" && event["purpose"] == "watch").count()
}

#[test]
fn watchers_who_do_not_read_hold_up_nobody() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    let mut work = bastion.to(&sshd).start(&["-tt"], "echo ready; read go; seq 1000000; echo done; sleep 600");
    let mut out = std::io::BufReader::new(work.stdout());
    let mut reads = |wanted: &str| {
        let mut line = String::new();
        while line.trim_end() != wanted {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the session ended before {wanted}");
        }
    };
    reads("ready");
    let session = bastion.only_session();
    let stuck: Vec<Running> = (0..3)
        .map(|_| Running::start(eve.ssh(&["-tt"], &format!("session watch {session}")), Stdout::Unread))
        .collect();
    until(LIMIT, "three watchers", || (watchers(&bastion, &session) == 3).then_some(()));
    let mut input = work.stdin();
    input.write_all(b"\n").unwrap();
    reads("done");
    drop(stuck);
    drop(work);
}

// Three bytes fill a screen, and each watcher's emulator draws it.
#[test]
fn t24_a_flood_of_screens_that_auditors_watch_holds_up_nobody() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    block_on(async {
        let flooder = Own::connect(&bastion.to(&sshd)).await;
        // So much is on record soon, on a busy machine too, and takes an emulator far longer than the test.
        let flood = r#"echo ready; read go; yes "$(printf '\033#8')" | tr -d '\n' | head -c 30000000; exec sleep 300"#;
        let mut flooding = flooder.exec_on_pty(flood, 200, 50).await;
        read_until(&mut flooding, "ready").await;
        let session = bastion.only_session();
        let eve = Own::connect(&eve).await;
        let mut watching = Vec::new();
        for _ in 0..6 {
            let mut watch = eve.exec_on_pty(&format!("session watch {session}"), 200, 50).await;
            read_until(&mut watch, "watching").await;
            watching.push(watch);
        }
        let neighbour = Own::connect(&bastion.to(&sshd)).await;
        let mut beside = neighbour.exec("cat").await;
        flooding.data_bytes(&b"\n"[..]).await.unwrap();
        let flooded = tokio::spawn(async move { while flooding.wait().await.is_some() {} });
        for mut watch in watching {
            read_until(&mut watch, "EEEE").await;
            tokio::spawn(async move { while watch.wait().await.is_some() {} });
        }
        // Each within the limit of its wait, which is much shorter than what the emulators have to do.
        for _ in 0..50 {
            beside.data_bytes(&b"echo\n"[..]).await.unwrap();
            read_until(&mut beside, "echo").await;
        }
        let told = bastion.doorward(&["session", "kill", &session]);
        assert_eq!(told.code, Some(0), "{told:?}: {:?}", bastion.recordings());
        assert!(tokio::time::timeout(LIMIT, flooded).await.is_ok(), "the session outlives its kill");
    });
}

/// What costs an emulator, an escaper or a decoder most for each byte (ECMA-48; xterm's control sequences).
const FLOODS: &[&str] = &[
    "yes",
    "cat /dev/urandom",
    // A character repeated, lines scrolled, inserted and deleted, far more often than a screen has places.
    r#"yes "$(printf 'x\033[99999999b')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
    r#"yes "$(printf '\033[2;40r\033[40;1H\n\033M\033[99999S\033[99999T\033[99999L\033[99999M')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
    r#"yes "$(printf '\033[99999@\033[99999P\033[99999X\033[65535;65535H\033[2J\t')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
    // Screens changed, saved and restored.
    r#"yes "$(printf '\033[?1049h\033#8\033[?1049l\0337\0338\033[!p')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
    // Marks without end on one character, wide and joined ones, and what is no UTF-8.
    r#"yes "$(printf '\314\201\314\210\344\270\255\360\237\221\251\342\200\215\377\360\237')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
    // Sequences that do not end.
    r#"yes "$(printf '\033]0;12345678\033P12345678\033[1;2;3;4;5;6;7;8;9')" | tr -d '\n' | head -c 400000; exec sleep 600"#,
];

#[test]
fn t24_floods_that_cost_most_are_on_record_before_they_are_seen_and_hold_up_nobody() {
    require!("sshd", "ssh");
    const SEEN: usize = 384 << 10;
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    let mut floods: Vec<(String, Vec<u8>)> = Vec::new();
    let grown = block_on(async {
        let neighbour = Own::connect(&bastion.to(&sshd)).await;
        let mut beside = neighbour.exec("cat").await;
        let (auditor, mut watching, mut flooding) = (Own::connect(&eve).await, Vec::new(), Vec::new());
        let mut known = vec![bastion.only_session()];
        let before = memory(bastion.pid(), "status", "VmRSS");
        for flood in FLOODS {
            let client = Own::connect(&bastion.to(&sshd)).await;
            let mut channel = client.exec_on_pty(&format!("echo ready; read go; {flood}"), 200, 50).await;
            let seen = read_until(&mut channel, "ready").await;
            let session = bastion.sessions().into_iter().find(|id| !known.contains(id)).unwrap();
            known.push(session.clone());
            let mut watch = auditor.exec_on_pty(&format!("session watch {session}"), 200, 50).await;
            read_until(&mut watch, "watching").await;
            watching.push(watch);
            flooding.push((client, channel, session, seen));
        }
        // The first watcher reads nothing from here on, the others all.
        let stuck = watching.remove(0);
        let reading: Vec<_> = watching
            .into_iter()
            .map(|mut watch| tokio::spawn(async move { while watch.wait().await.is_some() {} }))
            .collect();
        let taking: Vec<_> = flooding
            .into_iter()
            .map(|(client, mut channel, session, mut seen)| {
                tokio::spawn(async move {
                    channel.data_bytes(&b"\n"[..]).await.unwrap();
                    while seen.len() < SEEN {
                        match channel.wait().await {
                            Some(russh::ChannelMsg::Data { data }) => seen.extend_from_slice(&data),
                            Some(_) => {}
                            None => panic!("{session} ended after {} bytes", seen.len()),
                        }
                    }
                    // The endless ones go on against a window that nobody opens.
                    (client, channel, session, seen)
                })
            })
            .collect();
        for _ in 0..50 {
            beside.data_bytes(&b"echo\n"[..]).await.unwrap();
            read_until(&mut beside, "echo").await;
        }
        let mut held = Vec::new();
        for flood in taking {
            let (client, channel, session, seen) =
                tokio::time::timeout(LIMIT, flood).await.expect("as much of a flood").unwrap();
            floods.push((session, seen));
            held.push((client, channel));
        }
        beside.data_bytes(&b"after\n"[..]).await.unwrap();
        read_until(&mut beside, "after").await;
        let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
        for (session, _) in &floods {
            bastion.doorward(&["session", "kill", session]).ok();
        }
        drop((held, stuck));
        for reader in reading {
            assert!(tokio::time::timeout(LIMIT, reader).await.is_ok(), "a watch outlives its session");
        }
        grown
    });
    // Queues and windows of nine sessions, and the emulators of eight watchers.
    assert!(grown < 96 << 10, "grown by {grown} KiB");
    bastion.empties(LIMIT);
    for ((session, seen), flood) in floods.iter().zip(FLOODS) {
        let kept = bastion.export(session, "raw", &[]);
        assert!(kept.starts_with(seen), "{flood}: {} bytes were seen, {} are kept", seen.len(), kept.len());
        // Each form within the limit of a command, the emulator's too.
        // Drawn, too, in time that is bounded by bytes and screen: what a few bytes can ask of an emulator is not more.
        if flood.contains("head") {
            bastion.export(session, "txt", &[]);
        }
    }
}

/// How many events of this type there are.
fn events(bastion: &Bastion, kind: &str) -> Vec<Value> {
    bastion.rows(&["audit", "list"]).into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn auditors_who_read_nothing_hold_up_nobody_and_lose_it_with_their_right() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, mallory) = audited(&sshd);
    let gary = key(bastion.scratch(), "gary", "ed25519", "");
    bastion.add_user("gary", "auditors", &gary);
    let gary = bastion.login("gary").key(&gary);
    bastion.to(&sshd).run("head -c 24000000 /dev/urandom");
    let session = bastion.only_recording();
    let get = format!("recording get {session}");
    let mut stuck: Vec<Running> = (0..4).map(|_| Running::start(eve.ssh(&["-T"], &get), Stdout::Unread)).collect();
    until(LIMIT, "four hand-outs", || (events(&bastion, "replay.view").len() == 4).then_some(()));

    let told = eve.run(&get);
    assert!(told.code == Some(255) && told.err().contains("busy"), "{told:?}");
    assert_eq!(mallory.run("recording list --json").stdout, b"[]\n");
    assert!(String::from_utf8_lossy(&gary.run("recording list").stdout).contains(&session));
    let whole = gary.run(&get);
    assert!(whole.code == Some(0) && whole.stdout.len() > 24_000_000, "{:?} {}", whole.code, whole.err());

    bastion.doorward(&["user", "suspend", "eve"]).ok();
    until(LIMIT, "their end", || (bastion.audit().matches("was taken away").count() == 4).then_some(()));
    for one in &mut stuck {
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut one.stdout(), &mut rest).unwrap();
        assert!(rest.len() < whole.stdout.len(), "a user who was suspended has the whole recording");
    }
    for one in stuck {
        let told = one.wait(LIMIT);
        assert!(told.code == Some(126) && told.err().contains("no longer"), "{told:?}");
    }
}

#[test]
fn a_watch_ends_with_the_key_that_proved_who_watches() {
    require!("sshd", "ssh", "ssh-keygen");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    let (work, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let session = bastion.only_session();
    let mut watch = Running::start(eve.ssh(&["-T"], &format!("session watch {session}")), Stdout::Unread);
    let mut shown = watch.stdout();
    assert!(crate::fixture::route::line(&mut shown).contains(&session));
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(&eve.key);
    let fingerprint = run(keygen, b"", LIMIT).ok().out();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    bastion.doorward(&["user", "key", "remove", "eve", fingerprint]).ok();
    let told = watch.wait_with_open_stdin(LIMIT);
    assert!(told.code == Some(126) && told.err().contains("no longer"), "{told:?}");
    drop(work);
}

#[test]
fn one_auditor_watches_eight_sessions_at_once_and_no_more() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, eve, _) = audited(&sshd);
    let (work, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let watch = format!("session watch {}", bastion.only_session());
    block_on(async {
        let own = [Own::connect(&eve).await, Own::connect(&eve).await];
        let mut watching = Vec::new();
        for number in 0..8 {
            let mut channel = own[number % 2].exec(&watch).await;
            read_until(&mut channel, "watching").await;
            watching.push(channel);
        }
        let told = finish(&mut own[1].exec(&watch).await, LIMIT).await;
        assert_eq!(told.status, Some(255), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("busy"), "{told:?}");
        // Whoever closes a watch can begin another.
        watching.pop().unwrap().close().await.unwrap();
        loop {
            let mut next = own[0].exec(&watch).await;
            if let Some(russh::ChannelMsg::Data { .. }) = first(&mut next).await {
                break;
            }
        }
    });
    drop(work);
}

/// The first message that says something of what was asked for.
async fn first(channel: &mut russh::Channel<russh::client::Msg>) -> Option<russh::ChannelMsg> {
    loop {
        match channel.wait().await {
            Some(russh::ChannelMsg::Success | russh::ChannelMsg::WindowAdjusted { .. }) => {}
            other => return other,
        }
    }
}

#[test]
fn who_asks_without_end_for_what_they_may_not_have_does_not_fill_the_log() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, _, mallory) = audited(&sshd);
    block_on(async {
        for _ in 0..2 {
            let own = Own::connect(&mallory).await;
            for _ in 0..50 {
                let told = finish(&mut own.exec("recording get 01J9ZZZZZZZZZZZZZZZZZZZZZZ").await, LIMIT).await;
                assert_eq!(told.status, Some(126), "{told:?}");
            }
        }
    });
    let refused = events(&bastion, "session.refused").len();
    // Should the hundred have taken longer than a minute, another share had begun.
    assert!((60..100).contains(&refused), "{refused} refusals are on record");
}

#[test]
fn a_hostile_bastion_writes_nothing_to_the_terminal_and_sends_nothing_unsealed() {
    require!("sshd", "ssh", "tar");
    let sshd = Sshd::start();
    let (bastion, _, _) = audited(&sshd);
    bastion.to(&sshd).run("echo the evidence");
    let session = bastion.only_recording();
    let (fetched, key) = (bastion.scratch().join("fetched"), bastion.log_key());
    let get = ["recording", "get", &session, "--from", "ssh://eve@bastion", "--vkey", &key, "--to", path(&fetched)];
    let given = bastion.scratch().join("given");
    let ssh = own_ssh(
        &bastion,
        &format!("echo \"$@\" >{}; printf '\\033]52;c;aGVsbG8=\\007\\nwords\\n' >&2; exit 1", given.display()),
    );
    let told = elsewhere(&ssh, &get);
    assert!(told.code == Some(1) && told.err().contains("ssh: words"), "{told:?}");
    assert!(!told.stderr.contains(&0x1b) && !told.stderr.contains(&7), "{told:?}");
    let given = std::fs::read_to_string(given).unwrap();
    assert!(given.contains("-a -x") && given.contains("ClearAllForwardings=yes"), "{given}");

    // A bundle has casts that are well and true as far as anybody knows without an identity.
    let (bundle, identity) = (bastion.scratch().join("bundle"), bastion.identity());
    let export = ["recording", "export", &session, "--identity", path(&identity), "--proof", path(&bundle)];
    until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
    let archive = bastion.scratch().join("bundle.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&bundle).args(["-c", "--no-recursion", "--null", "-T", "/dev/stdin"]);
    std::fs::write(&archive, run(tar, &list(&bundle), LIMIT).ok().stdout).unwrap();
    let ssh = own_ssh(&bastion, &format!("cat {}", archive.display()));
    let told = elsewhere(&ssh, &get);
    assert!(told.code == Some(1) && told.err().contains("more than recording"), "{told:?}");

    let small = bastion.scratch().join("small");
    let get = ["recording", "get", &session, "--from", "ssh://eve@bastion", "--max-size", "1KiB", "--to", path(&small)];
    let told = elsewhere(&ssh, &get);
    assert!(told.code == Some(1) && told.err().contains("--max-size"), "{told:?}");
}
