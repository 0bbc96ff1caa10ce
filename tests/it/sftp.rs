//! Files over SFTP, as `sftp` and `scp` move them: carried as with a direct connection, within the rule's rights, and on
//! record one by one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixture::bastion::{Bastion, OPEN};
use crate::fixture::process::{Finished, Running, Stdout, run};
use crate::fixture::{LIMIT, Route, Sshd};
use crate::require;

/// The rule, for these channels.
pub fn rule(channels: &str) -> String {
    OPEN.replace(r#"["shell", "exec"]"#, channels)
}

pub fn sftp(route: &Route, batch: &str) -> Finished {
    run(route.copier("sftp", &["-b", "-", "{}"]), batch.as_bytes(), LIMIT)
}

pub fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn sha256(path: &Path) -> String {
    let mut sum = Command::new("sha256sum");
    sum.arg(path);
    run(sum, b"", LIMIT).ok().out().split_whitespace().next().unwrap().to_owned()
}

/// What the audit log says of files.
pub fn files(bastion: &Bastion) -> Vec<Value> {
    let rows = bastion.rows(&["audit", "list", "--type", "file"]);
    rows.into_iter().filter(|row| row["type"] == "file").collect()
}

pub fn markers(bastion: &Bastion, session: &str) -> String {
    let cast = String::from_utf8(bastion.export(session, "v3", &["--channel", "1"])).unwrap();
    cast.lines().filter(|line| line.contains("sftp: ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn files_are_moved_and_changed_and_each_is_on_record() {
    require!("sshd", "ssh", "sftp", "sha256sum");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.serve();
    let (here, there) = (bastion.scratch().display().to_string(), sshd.folder().join("files"));
    std::fs::create_dir(&there).unwrap();
    std::fs::write(bastion.scratch().join("sent"), noise(5_000_000)).unwrap();
    let batch = format!(
        "cd {there}\nput {here}/sent one\nmkdir sub\nrename one sub/two\nchmod 600 sub/two\nln -s two sub/link\n\
         ls -l sub\nget sub/link {here}/back\nput {here}/sent gone\nrm gone\nln sub/two hard\ndf\n-get nothing\n",
        there = there.display()
    );
    let seen = sftp(&bastion.to(&sshd), &batch).ok();
    assert!(seen.out().contains("link"), "{seen:?}");
    assert!(std::fs::read(bastion.scratch().join("back")).unwrap() == noise(5_000_000), "what came back differs");
    assert!(!there.join("gone").exists() && there.join("hard").exists());
    bastion.empties(LIMIT);

    let sum = sha256(&bastion.scratch().join("sent"));
    let session = bastion.only_recording();
    let told = markers(&bastion, &session);
    let path = |name: &str| format!("{}/{name}", there.display());
    for wanted in [
        format!("put {}: 5000000 bytes, SHA-256 {sum}\"", path("one")),
        format!("get {}: 5000000 bytes, SHA-256 {sum}\"", path("sub/link")),
        format!("mkdir {}", path("sub")),
        format!("rename {} to {}", path("one"), path("sub/two")),
        format!("symlink {} to two", path("sub/link")),
        format!("hardlink {} to {}", path("sub/two"), path("hard")),
        format!("remove {}", path("gone")),
        format!("list {}", path("sub")),
        format!("stat {}", path("nothing")),
    ] {
        assert!(told.contains(&wanted), "no `{wanted}` in {told}");
    }
    // As an auditor reads it, too.
    let read = String::from_utf8(bastion.export(&session, "txt", &["--channel", "1"])).unwrap();
    assert!(
        read.contains(&format!("put {}: 5000000 bytes", path("one"))) && read.contains("counted, not kept"),
        "{read}"
    );
    let log = files(&bastion);
    let of = |what: &str| log.iter().filter(|row| row["what"] == what).count();
    let counts = ["put", "get", "mkdir", "rename", "setstat", "symlink", "remove", "hardlink"].map(of);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}: {log:?}");
    let put = log.iter().find(|row| row["what"] == "put").unwrap();
    assert!(put["detail"].as_str().is_some_and(|detail| detail.contains(&sum)), "{put}");
    // What passed is counted, and not claimed to be recorded.
    let bundle = bastion.scratch().join("bundle");
    bastion.doorward(&["recording", "export", &session, "--proof", bundle.to_str().unwrap()]).ok();
    let coverage: Value = serde_json::from_slice(&std::fs::read(bundle.join("coverage.json")).unwrap()).unwrap();
    let channel = &coverage["channels"][1];
    assert_eq!((&channel["class"], &channel["stdin"]["in_full"]), (&"sftp-write".into(), &false.into()), "{channel}");
    assert!(channel["stdin"]["bytes"].as_u64() > Some(10_000_000), "{channel}");
}

#[test]
fn scp_moves_files_and_trees_as_it_does_directly() {
    require!("sshd", "ssh", "scp");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.serve();
    let here = bastion.scratch().join("tree");
    std::fs::create_dir_all(here.join("deep/er")).unwrap();
    for (name, bytes) in [("empty", 0), ("small", 100), ("deep/large", 20_000_000), ("deep/er/odd name ü", 33_000)] {
        std::fs::write(here.join(name), noise(bytes)).unwrap();
    }
    let there = sshd.folder().join("tree");
    let back = bastion.scratch().join("back");
    for route in [bastion.to(&sshd), sshd.direct()] {
        let far = format!("{{}}:{}", there.display());
        run(route.copier("scp", &["-r", "-p", here.to_str().unwrap(), &far]), b"", LIMIT).ok();
        run(route.copier("scp", &["-r", &far, back.to_str().unwrap()]), b"", LIMIT).ok();
        let mut diff = Command::new("diff");
        diff.arg("-r").args([&here, &back]);
        run(diff, b"", LIMIT).ok();
        std::fs::remove_dir_all(&there).unwrap();
        std::fs::remove_dir_all(&back).unwrap();
        let seen = run(route.copier("scp", &["{}:/no/such/file", back.to_str().unwrap()]), b"", LIMIT);
        assert!(seen.code == Some(1) && seen.err().contains("No such file"), "{seen:?}");
    }
}

#[test]
fn who_may_read_cannot_write_and_who_may_write_cannot_read() {
    require!("sshd", "ssh", "sftp");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let there = sshd.folder().join("file");
    std::fs::write(&there, "as it was").unwrap();
    std::fs::write(bastion.scratch().join("sent"), "changed").unwrap();
    let (here, far) = (bastion.scratch().display().to_string(), there.display().to_string());
    bastion.policy(&rule(r#"["sftp-read"]"#));
    bastion.serve();
    let route = bastion.to(&sshd);
    sftp(&route, &format!("get {far} {here}/got\nls {far}\n")).ok();
    assert_eq!(std::fs::read_to_string(bastion.scratch().join("got")).unwrap(), "as it was");
    for command in [
        format!("put {here}/sent {far}"),
        format!("rm {far}"),
        format!("rename {far} {far}2"),
        format!("chmod 777 {far}"),
        format!("mkdir {far}3"),
        format!("ln {far} {far}4"),
        format!("ln -s {far} {far}5"),
    ] {
        let seen = sftp(&route, &format!("{command}\n"));
        assert!(seen.code == Some(1) && seen.err().contains("ermission denied"), "{command}: {seen:?}");
    }
    // To open for reading what is cut or made by that.
    for flags in [1 | 16, 1 | 8 | 16, 16, 4, 2 | 1] {
        let answers = speak(&route, &[open(7, &far, flags)]);
        assert_eq!(status(&answers, 7), Some(3), "flags {flags}: {answers:?}");
    }
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "as it was");
    assert_eq!(
        std::fs::read_dir(sshd.folder())
            .unwrap()
            .flatten()
            .filter(|entry| { entry.file_name().to_string_lossy().starts_with("file") })
            .count(),
        1
    );
    assert!(files(&bastion).iter().all(|row| row["what"] == "get"), "{:?}", files(&bastion));

    bastion.policy(&rule(r#"["sftp-write"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    sftp(&route, &format!("put {here}/sent {far}\n")).ok();
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "changed");
    let seen = sftp(&route, &format!("get {far} {here}/again\n"));
    assert!(seen.code == Some(1) && seen.err().contains("ermission denied"), "{seen:?}");
    // A flag of zero opens for reading, too.
    for flags in [0, 1, 3, 4] {
        assert_eq!(status(&speak(&route, &[open(7, &far, flags)]), 7), Some(3), "flags {flags}");
    }

    bastion.policy(&rule(r#"["shell", "exec"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    let seen = sftp(&route, "ls\n");
    assert!(seen.code == Some(255) && seen.err().contains("access denied"), "{seen:?}");
}

/// An SFTP packet.
pub fn packet(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = u32::try_from(body.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], &body].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

pub fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    packet(3, &[&id.to_be_bytes(), &text(path), &flags.to_be_bytes(), &[0; 4]])
}

/// A client that says what it is told to, after the greeting.
pub struct Talk {
    ssh: Running,
    input: std::process::ChildStdin,
    output: std::process::ChildStdout,
    greeting: Vec<u8>,
}

impl Talk {
    pub fn begin(route: &Route) -> Self {
        let mut ssh = Running::start(route.ssh(&["-s"], "sftp"), Stdout::Unread);
        let (mut input, mut output) = (ssh.stdin(), ssh.stdout());
        std::io::Write::write_all(&mut input, &packet(1, &[&3_u32.to_be_bytes()])).unwrap();
        let greeting = next(&mut output).expect("no greeting");
        Self { ssh, input, output, greeting }
    }

    /// Says this; one that was sent away may not take it all.
    pub fn say(&mut self, packets: &[u8]) {
        let _ = std::io::Write::write_all(&mut self.input, packets);
    }

    pub fn hear(&mut self) -> Option<Vec<u8>> {
        next(&mut self.output)
    }

    /// Waits until it was sent away, with its input open.
    pub fn sent_away(self) {
        let Self { ssh, input, .. } = self;
        assert_ne!(ssh.wait_with_open_stdin(LIMIT).code, Some(0));
        drop(input);
    }
}

/// The request after all others.
const LAST: u32 = 0xffff;

/// Says this after the greeting, and gives what comes back, by packet.
pub fn speak(route: &Route, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut talk = Talk::begin(route);
    talk.say(&packets.concat());
    talk.say(&packet(17, &[&LAST.to_be_bytes(), &text("/")]));
    // sftp-server answers nothing any more once its input has ended.
    let of_last = |answer: &Vec<u8>| answer[1..5] == LAST.to_be_bytes();
    let mut answers = vec![talk.greeting.clone()];
    answers.extend(std::iter::from_fn(|| talk.hear()).take_while(|answer| !of_last(answer)));
    let Talk { ssh, input, .. } = talk;
    drop(input);
    ssh.wait(LIMIT);
    answers
}

fn next(output: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    output.read_exact(&mut length).ok()?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    output.read_exact(&mut packet).ok()?;
    Some(packet)
}

/// The status that answers this request.
pub fn status(answers: &[Vec<u8>], id: u32) -> Option<u32> {
    let answer = answers.iter().find(|answer| answer[0] == 101 && answer[1..5] == id.to_be_bytes())?;
    Some(u32::from_be_bytes(answer[5..9].try_into().unwrap()))
}

#[test]
fn t10_what_is_not_understood_does_not_pass() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.serve();
    let route = bastion.to(&sshd);
    let greeting = &speak(&route, &[])[0];
    let greeting = String::from_utf8_lossy(greeting).into_owned();
    assert!(greeting.contains("posix-rename@openssh.com") && !greeting.contains("users-groups-by-id"), "{greeting}");

    // What is not carried is answered, and what follows it still works.
    let extension = |id: u32, name: &str, rest: &[u8]| packet(200, &[&id.to_be_bytes(), &text(name), rest]);
    let stat = |id: u32| packet(17, &[&id.to_be_bytes(), &text("/")]);
    let answers = speak(
        &route,
        &[
            extension(1, "users-groups-by-id@openssh.com", &[0; 8]),
            extension(2, "evil@example.org", &text("/etc/passwd")),
            packet(99, &[&3_u32.to_be_bytes(), b"whatever"]),
            packet(4, &[&4_u32.to_be_bytes(), &text("no handle of ours")]),
            stat(5),
        ],
    );
    assert_eq!(
        [1, 2, 3, 4].map(|id| status(&answers, id)),
        [Some(8), Some(8), Some(8), Some(4)],
        "{:?}",
        &answers[1..]
    );
    let stats = answers.iter().any(|answer| answer[0] == 105 && answer[1..5] == 5_u32.to_be_bytes());
    assert!(stats, "{:?}", &answers[1..]);

    // What is malformed ends the channel before anything of it has reached the target.
    let made = sshd.folder().join("made").display().to_string();
    let mkdir = |path: &[u8], rest: &[u8]| {
        let length = u32::try_from(path.len()).unwrap().to_be_bytes();
        packet(14, &[&9_u32.to_be_bytes(), &length, path, rest])
    };
    for (what, bad) in [
        ("trailing bytes", mkdir(made.as_bytes(), &[0, 0, 0, 0, 1])),
        ("unknown attributes", mkdir(made.as_bytes(), &[0x40, 0, 0, 0])),
        ("a NUL byte", mkdir(format!("{made}\0/x").as_bytes(), &[0; 4])),
        ("a long path", mkdir(&vec![b'a'; 5000], &[0; 4])),
        ("a short field", packet(14, &[&9_u32.to_be_bytes(), &[0, 0, 1, 0], b"x"])),
        ("an empty packet", vec![0; 4]),
        ("a huge packet", vec![0xff; 8]),
        ("a second greeting", packet(1, &[&3_u32.to_be_bytes()])),
        ("one number twice", packet(16, &[&9_u32.to_be_bytes(), &text("/")]).repeat(2)),
    ] {
        let answers = speak(&route, &[bad, mkdir(made.as_bytes(), &[0; 4]), stat(5)]);
        if what != "one number twice" {
            assert_eq!(answers.len(), 1, "{what}: {answers:?}");
        }
        assert!(!Path::new(&made).exists(), "{what} reached the target");
    }
    assert!(bastion.lives());
    let seen = sftp(&route, "ls /\n").ok();
    assert!(seen.out().contains("/etc"), "{seen:?}");
}

#[test]
fn who_loses_one_of_two_rights_loses_the_session() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    for kept in [r#"["sftp-read"]"#, r#"["sftp-write"]"#] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
        bastion.serve();
        let talk = Talk::begin(&bastion.to(&sshd));
        bastion.policy(&rule(kept));
        bastion.doorward(&["policy", "reload"]).ok();
        talk.sent_away();
        bastion.empties(LIMIT);
    }
}

#[test]
fn a_session_that_is_killed_ends_its_transfers_and_says_how_far_they_were() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.serve();
    let route = bastion.to(&sshd);
    let path = sshd.folder().join("half").display().to_string();
    let mut talk = Talk::begin(&route);
    talk.say(&open(1, &path, 2 | 8));
    let handle = talk.hear().unwrap();
    assert_eq!(handle[0], 102, "{handle:?}");
    talk.say(&packet(6, &[&2_u32.to_be_bytes(), &handle[5..], &0_u64.to_be_bytes(), &text("half of it")]));
    assert_eq!(status(&[talk.hear().unwrap()], 2), Some(0));
    bastion.doorward(&["session", "kill", &bastion.only_session(), "--yes"]).ok();
    talk.sent_away();
    bastion.empties(LIMIT);
    let told = markers(&bastion, &bastion.only_recording());
    assert!(told.contains("10 bytes, SHA-256") && told.contains("not closed"), "{told}");
    assert_eq!(files(&bastion).iter().filter(|row| row["what"] == "put").count(), 1);
}

#[test]
fn a_right_that_rests_on_a_grant_ends_with_it_beside_one_that_does_not() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let granted = rule(r#"["sftp-read"]"#).replace("schema = 1", "").replace("required = false", "required = true");
    bastion.policy(&format!(
        "{}{}",
        rule(r#"["sftp-write"]"#),
        granted.replace(r#""dba""#, r#""dba-read""#).replace(r#"["dba-read"] }"#, r#"["dba"] }"#)
    ));
    bastion.serve();
    bastion.grant(crate::fixture::bastion::ALICE, &format!("{}@db1", sshd.account), "5s", "a look");
    let mut talk = Talk::begin(&bastion.to(&sshd));
    talk.say(&open(1, "/etc/passwd", 1));
    assert_eq!(talk.hear().unwrap()[0], 102, "the grant lets her read");
    talk.sent_away();
    bastion.empties(LIMIT);
}

#[test]
fn a_target_that_does_not_speak_sftp_keeps_nobody_waiting() {
    require!("sshd", "ssh", "sftp");
    let sshd = Sshd::with(&["ForceCommand echo welcome to this machine; exec sleep 300"]);
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read"]"#));
    bastion.serve();
    let seen = sftp(&bastion.to(&sshd), "ls\n");
    assert_eq!(seen.code, Some(255), "{seen:?}");
    bastion.empties(LIMIT);
    let told = markers(&bastion, &bastion.only_recording());
    assert!(told.contains("the target sent"), "{told}");
}
