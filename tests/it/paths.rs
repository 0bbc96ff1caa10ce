//! SFTP where rules name paths: whatever a client calls a file, what counts is where that leads on the target.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::fixture::bastion::{ALICE, Bastion};
use crate::fixture::process::run;
use crate::fixture::{LIMIT, Route, Sshd, until};
use crate::require;
use crate::sftp::{Talk, files, markers, noise, open, packet, rule, sftp, speak, status, text};

/// A tree on the target: `in` where all is allowed, `ro` that may be read, `drop` that may be written, and `out`.
struct Tree {
    base: PathBuf,
}

const SECRET: &str = "nobody may read this";

impl Tree {
    fn grow(sshd: &Sshd) -> Self {
        let base = sshd.folder().canonicalize().unwrap().join("so/deep/that/none/climbs/out/tree");
        for folder in ["in/real", "ro", "drop", "out/sub"] {
            std::fs::create_dir_all(base.join(folder)).unwrap();
        }
        for (path, content) in [
            ("in/file", "mine"),
            ("in/real/file", "mine too"),
            ("ro/file", "for all"),
            ("drop/file", SECRET),
            ("out/secret", SECRET),
            ("out/sub/secret", SECRET),
        ] {
            std::fs::write(base.join(path), content).unwrap();
        }
        for (goal, link) in [
            ("../out/secret", "in/link"),
            ("../out", "in/dir"),
            ("../out/new", "in/dangling"),
            ("file", "in/self"),
            ("/", "in/root"),
            ("../in", "out/back"),
        ] {
            symlink(goal, base.join(link)).unwrap();
        }
        Self { base }
    }

    fn at(&self, path: &str) -> String {
        self.base.join(path).display().to_string()
    }

    /// The rule, with these paths for links.
    fn policy(&self, symlinks: &str) -> String {
        let base = self.base.display();
        format!(
            "{}sftp = {{ read = [\"{base}/in/**\", \"{base}/ro/**\"], list = [\"{base}/in\", \"{base}/in/**\", \
             \"{base}/ro/**\"], write = [\"{base}/in/**\", \"{base}/drop/**\"], delete = [\"{base}/in/**\", \
             \"{base}/drop/**\"], rename = [\"{base}/in/**\", \"{base}/drop/**\"], setstat = [\"{base}/in/**\"], \
             symlink = [{symlinks}] }}\n",
            rule(r#"["sftp-read", "sftp-write"]"#)
        )
    }

    fn bastion(&self, sshd: &Sshd) -> Bastion {
        let mut bastion = Bastion::furnished(sshd);
        bastion.policy(&self.policy(&format!("\"{}/in/**\"", self.base.display())));
        bastion.serve();
        bastion
    }

    /// Everything that is not in `in`, `drop`: kind, mode, content.
    fn outside(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.base.join("out"), self.base.join("ro")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let facts = path.symlink_metadata().unwrap();
                let content = if facts.is_dir() {
                    folders.push(path.clone());
                    Vec::new()
                } else if facts.is_symlink() {
                    std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
                } else {
                    std::fs::read(&path).unwrap()
                };
                found.insert(path, (facts.mode(), content));
            }
            found.insert(folder.clone(), (folder.metadata().unwrap().mode(), Vec::new()));
        }
        found
    }
}

/// A request that names one path.
fn one(kind: u8, id: u32, path: &str, rest: &[u8]) -> Vec<u8> {
    packet(kind, &[&id.to_be_bytes(), &text(path), rest])
}

fn two(kind: u8, id: u32, path: &str, to: &str) -> Vec<u8> {
    packet(kind, &[&id.to_be_bytes(), &text(path), &text(to)])
}

fn extended(id: u32, name: &str, rest: &[u8]) -> Vec<u8> {
    packet(200, &[&id.to_be_bytes(), &text(name), rest])
}

fn answer(answers: &[Vec<u8>], id: u32) -> &[u8] {
    let of = |answer: &&Vec<u8>| answer[0] != 2 && answer[1..5] == id.to_be_bytes();
    answers.iter().find(of).unwrap_or_else(|| panic!("{id} is not answered"))
}

fn refused(bastion: &Bastion) -> Vec<String> {
    let rows = bastion.rows(&["audit", "list", "--type", "file.refused"]);
    rows.iter().map(|row| row["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn t10_no_name_leads_out_of_the_paths_that_a_rule_has() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let before = tree.outside();
    let at = |path: &str| tree.at(path);
    let (mode, size) = ([&[0, 0, 0, 4][..], &[0, 0, 1, 0o377]].concat(), [&[0, 0, 0, 1][..], &[0; 8]].concat());
    let (posix, hard) = ("posix-rename@openssh.com", "hardlink@openssh.com");
    let pair = |path: &str, to: &str| [text(&at(path)), text(&at(to))].concat();
    let asked: Vec<Box<dyn Fn(u32) -> Vec<u8>>> = vec![
        Box::new(|id| open(id, &at("out/secret"), 1)),
        Box::new(|id| open(id, &at("in/link"), 1)),
        Box::new(|id| open(id, &at("in/../out/secret"), 1)),
        Box::new(|id| open(id, &at("in/dir/secret"), 1)),
        Box::new(|id| open(id, &at("in/root/etc/passwd"), 1)),
        Box::new(|id| open(id, "/proc/self/root/etc/passwd", 1)),
        Box::new(|id| open(id, &at("in/dangling"), 2 | 8)),
        Box::new(|id| open(id, &at("in/dangling"), 2 | 8 | 32)),
        Box::new(|id| open(id, &at("in/dir/new"), 2 | 8 | 16)),
        Box::new(|id| open(id, &at("in/link"), 2 | 16)),
        Box::new(|id| open(id, &at("ro/file"), 2)),
        Box::new(|id| open(id, &at("ro/file"), 1 | 16)),
        Box::new(|id| open(id, &at("drop/file"), 1)),
        Box::new(|id| open(id, &at("drop/file"), 3)),
        Box::new(|id| open(id, &at("drop/file"), 0)),
        Box::new(|id| one(11, id, &at("in/dir"), &[])),
        Box::new(|id| one(11, id, &at(""), &[])),
        Box::new(|id| one(17, id, &at("in/link"), &[])),
        Box::new(|id| one(7, id, &at("in/dir/secret"), &[])),
        Box::new(|id| one(19, id, &at("out/back"), &[])),
        Box::new(|id| one(16, id, "/etc", &[])),
        Box::new(|id| one(16, id, &at("in/link"), &[])),
        Box::new(|id| one(9, id, &at("in/link"), &mode)),
        Box::new(|id| one(9, id, &at("in/link"), &size)),
        Box::new(|id| one(9, id, &at("ro/file"), &mode)),
        Box::new(|id| one(9, id, &at("drop/file"), &mode)),
        Box::new(|id| one(13, id, &at("in/dir/secret"), &[])),
        Box::new(|id| one(13, id, &at("ro/file"), &[])),
        Box::new(|id| one(13, id, &at("in/file/"), &[])),
        Box::new(|id| one(14, id, &at("in/dir/made"), &[0; 4])),
        Box::new(|id| one(15, id, &at("in/dir/sub"), &[])),
        Box::new(|id| one(15, id, &at("in/real/.."), &[])),
        Box::new(|id| two(18, id, &at("in/file"), &at("out/file"))),
        Box::new(|id| two(18, id, &at("in/file"), &at("in/dir/file"))),
        Box::new(|id| two(18, id, &at("out/secret"), &at("in/secret"))),
        Box::new(|id| two(18, id, &at("drop/file"), &at("in/read"))),
        Box::new(|id| two(18, id, &at("in/link"), &at("in/moved"))),
        Box::new(|id| two(18, id, &at("in"), &at("drop/in"))),
        Box::new(|id| extended(id, posix, &pair("in/file", "out/secret"))),
        Box::new(|id| extended(id, posix, &pair("ro/file", "in/taken"))),
        Box::new(|id| extended(id, posix, &pair("in/file", "ro/file"))),
        Box::new(|id| extended(id, hard, &pair("out/secret", "in/hard"))),
        Box::new(|id| extended(id, hard, &pair("drop/file", "in/hard"))),
        Box::new(|id| extended(id, hard, &pair("in/link", "in/hard"))),
        Box::new(|id| extended(id, hard, &pair("in/dir/secret", "in/hard"))),
        Box::new(|id| two(20, id, &at("out/secret"), &at("in/new"))),
        Box::new(|id| two(20, id, "../out", &at("in/new"))),
        Box::new(|id| two(20, id, "dir/secret", &at("in/new"))),
        Box::new(|id| two(20, id, &at("in/file"), &at("in/dir/new"))),
        Box::new(|id| two(20, id, &at("in/file"), &at("drop/new"))),
        Box::new(|id| extended(id, "expand-path@openssh.com", &text("~root"))),
        Box::new(|id| extended(id, "expand-path@openssh.com", &text("~root/x"))),
        Box::new(|id| extended(id, "statvfs@openssh.com", &text("/etc"))),
        Box::new(|id| extended(id, "lsetstat@openssh.com", &[text(&at("in/dir/secret")), mode.clone()].concat())),
    ];
    let packets: Vec<Vec<u8>> = (1_u32..).zip(&asked).map(|(id, asked)| asked(id)).collect();
    // In one write, so that they are under way together.
    let answers = speak(&bastion.to(&sshd), &packets);
    for (id, packet) in (1_u32..).zip(&packets) {
        assert_eq!(status(&answers, id), Some(3), "{}", String::from_utf8_lossy(packet));
    }
    assert_eq!(tree.outside(), before);
    assert!(!answers.concat().windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    assert_eq!(std::fs::read_to_string(tree.base.join("in/file")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(tree.base.join("drop/file")).unwrap(), SECRET);
    for made in ["in/new", "in/hard", "in/read", "in/moved", "drop/new"] {
        assert!(tree.base.join(made).symlink_metadata().is_err(), "{made}");
    }
    // Each is on record: here all, there as far as the user's share goes.
    bastion.empties(LIMIT);
    let told = markers(&bastion, &bastion.only_recording());
    assert_eq!(told.matches("sftp: refused: ").count(), packets.len(), "{told}");
    assert!(told.contains(&format!("refused: open {} (named {}) to read", at("out/secret"), at("in/link"))), "{told}");
    until(LIMIT, "the refusals on record", || (refused(&bastion).len() >= packets.len().min(60)).then_some(()));
    assert!(files(&bastion).is_empty(), "{:?}", files(&bastion));
    let why = bastion.login(ALICE).run("why --json").ok();
    let why: Value = serde_json::from_slice(&why.stdout).unwrap();
    let asked = why["asked"].as_str().unwrap();
    assert!(asked.contains("setstat") && asked.contains("out/secret"), "{why}");
    assert!(why["refused"].as_str().unwrap().starts_with("permission denied"), "{why}");
}

#[test]
fn what_a_rule_names_works_by_whatever_name() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let at = |path: &str| tree.at(path);
    let back = at("out/back/file");
    let pair = [text(&at("in/b")), text(&at("in/c"))].concat();
    let answers = speak(
        &bastion.to(&sshd),
        &[
            open(1, &at("in/self"), 1),
            open(2, &back, 1),
            open(3, &at("drop/new"), 2 | 8 | 16),
            one(16, 4, ".", &[]),
            one(16, 5, &at(""), &[]),
            one(17, 6, &at("../tree"), &[]),
            one(7, 7, &at("in/link"), &[]),
            one(19, 8, &at("in/link"), &[]),
            two(20, 9, "file", &at("in/made")),
            one(17, 10, &at("in/nothing"), &[]),
            one(17, 11, &at("in/no/thing"), &[]),
            extended(12, "expand-path@openssh.com", &text("~")),
            extended(13, "hardlink@openssh.com", &[text(&at("in/file")), text(&at("in/b"))].concat()),
            extended(14, "posix-rename@openssh.com", &pair),
            two(18, 15, &at("in/real"), &at("in/moved")),
            one(7, 16, &at("in/"), &[]),
            extended(17, "lsetstat@openssh.com", &[text(&at("in/self")), vec![0, 0, 0, 8], vec![0; 8]].concat()),
        ],
    );
    for (id, kind) in
        [(1, 102), (2, 102), (3, 102), (4, 104), (5, 104), (6, 105), (7, 105), (8, 104), (12, 104), (16, 105)]
    {
        assert_eq!(answer(&answers, id)[0], kind, "{id}: {:?}", answer(&answers, id));
    }
    let codes = [9, 10, 11, 13, 14, 15, 17].map(|id| status(&answers, id));
    assert_eq!(codes, [Some(0), Some(2), Some(2), Some(0), Some(0), Some(0), Some(0)]);
    assert_eq!(std::fs::read_link(tree.base.join("in/made")).unwrap(), tree.base.join("in/file"));
    assert!(tree.base.join("in/moved/file").exists() && tree.base.join("in/c").exists());
    // Any bytes that are a name; what is no path ends the channel.
    let odd = [at("in/").as_bytes(), b"\xff\xfe \xc3\xbc"].concat();
    let string = [&u32::try_from(odd.len()).unwrap().to_be_bytes()[..], &odd].concat();
    let made = packet(3, &[&[0, 0, 0, 1], &string, &[0, 0, 0, 2 | 8], &[0; 4]]);
    assert_eq!(answer(&speak(&bastion.to(&sshd), &[made]), 1)[0], 102);
    assert!(Path::new(std::ffi::OsStr::from_bytes(&odd)).exists());
    for bad in [open(1, &at("in/file\0x"), 1), open(1, &format!("{}/{}", at("in"), "x".repeat(5000)), 1)] {
        assert_eq!(speak(&bastion.to(&sshd), &[bad, open(2, &at("in/file"), 1)]).len(), 1, "more than the greeting");
    }
    // Of a place that is far from any that is there nothing is told.
    let long = format!("{}/{}", at("in"), "y/".repeat(1900));
    assert_eq!(status(&speak(&bastion.to(&sshd), &[one(14, 1, long.trim_end_matches('/'), &[0; 4])]), 1), Some(3));
}

#[test]
fn t10_what_is_open_is_judged_by_its_path_too() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let mut talk = Talk::begin(&bastion.to(&sshd));
    let mut opened = |path: &str, flags: u32| {
        talk.say(&open(1, &tree.at(path), flags));
        let handle = talk.hear().unwrap();
        assert_eq!(handle[0], 102, "{path}: {handle:?}");
        handle[5..].to_vec()
    };
    let (read, written, dropped) = (opened("ro/file", 1), opened("in/copy", 2 | 8), opened("drop/file", 2));
    let mut ask = |packet: &[u8]| {
        talk.say(packet);
        talk.hear().unwrap()
    };
    let copy = |from: &[u8], to: &[u8]| extended(2, "copy-data", &[from, &[0; 16], to, &[0; 8]].concat());
    let chmod = |handle: &[u8]| packet(10, &[&[0, 0, 0, 2], handle, &[0, 0, 0, 4, 0, 0, 1, 0o300]]);
    let code = |answer: Vec<u8>| status(&[answer], 2);
    assert_eq!(code(ask(&copy(&read, &written))), Some(0));
    assert_eq!(code(ask(&copy(&dropped, &written))), Some(3), "it was not opened for reading");
    assert_eq!(code(ask(&copy(&read, &read))), Some(3));
    assert_eq!(code(ask(&chmod(&dropped))), Some(3));
    assert_eq!(code(ask(&chmod(&read))), Some(3));
    assert_eq!(code(ask(&chmod(&written))), Some(0));
    assert_eq!(std::fs::read_to_string(tree.base.join("in/copy")).unwrap(), "for all");
}

#[test]
fn t10_a_folder_that_another_channel_swaps_for_a_link_leads_nobody_out() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let mut bastion = Bastion::furnished(&sshd);
    // The same machine by another name.
    let (address, key) = (format!("localhost:{}", sshd.port), sshd.host_key());
    let key = ["--host-key", key.to_str().unwrap(), "--label", "env=test"];
    bastion.doorward(&[&["target", "add", "db2", "--address", &address][..], &key].concat()).ok();
    let second = format!("{}@db2", sshd.account);
    bastion.set_key(&second, &sshd.key);
    // Links may lead to where nothing may be written.
    let base = tree.base.display();
    bastion.policy(&tree.policy(&format!("\"{base}/in/**\", \"{base}/out\"")));
    bastion.serve();
    let before = tree.outside();
    let (swapped, file) = (tree.at("in/swap"), tree.at("in/swap/file"));
    let (route, other) = (bastion.to(&sshd), bastion.login(&second));
    let opening = open(1, &file, 2 | 8 | 16);
    // Each of these by itself, again and again: whatever comes between finding out where a path leads and using it, comes.
    // Three in turn beside four in turn: else they might always meet in the same places.
    let look = || one(7, 1, &swapped, &[]);
    let channels: [&[Vec<u8>]; 4] = [
        &[one(14, 1, &swapped, &[0; 4]), one(13, 1, &file, &[]), one(15, 1, &swapped, &[])],
        &[two(20, 1, &tree.at("out"), &swapped)],
        &[one(13, 1, &swapped, &[])],
        &[opening, look(), look(), look()],
    ];
    let done = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let running = channels.map(|asked| {
            let last = asked[0][4] == 3;
            let (route, done) = (if last { &other } else { &route }, &done);
            scope.spawn(move || {
                let mut talk = Talk::begin(route);
                let (mut did, mut denied) = (0, 0);
                for round in 0.. {
                    if if last { round == 400 } else { done.load(Ordering::SeqCst) } {
                        break;
                    }
                    talk.say(&asked[round % asked.len()]);
                    let Some(answer) = talk.hear() else { break };
                    did += usize::from(answer[0] == 102 || status(std::slice::from_ref(&answer), 1) == Some(0));
                    denied += usize::from(status(std::slice::from_ref(&answer), 1) == Some(3));
                    if answer[0] == 102 {
                        talk.say(&packet(4, &[&[0, 0, 0, 9], &answer[5..]]));
                        talk.hear().unwrap();
                    }
                }
                done.store(true, Ordering::SeqCst);
                (did, denied)
            })
        });
        running.map(|thread| thread.join().unwrap())
    });
    assert!(counts.iter().all(|(did, _)| *did > 0), "not all came to pass: {counts:?}");
    assert_eq!(tree.outside(), before, "{counts:?}");
}

/// Which of these, from a sequence that is always the same.
struct Dice(u64);

impl Dice {
    fn roll<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        &of[usize::try_from(self.0 >> 33).unwrap() % of.len()]
    }
}

#[test]
fn t10_whatever_is_asked_at_random_nothing_outside_is_changed_or_read() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let before = tree.outside();
    let parts =
        ["in", "out", "ro", "drop", "dir", "real", "back", "link", "file", "secret", "new", "self", "..", ".", ""];
    let mut dice = Dice(20_261_122);
    let path = |dice: &mut Dice| {
        let first = *dice.roll(&["in", "in/real", "in/dir", "drop", "out/back", ""]);
        let rest: Vec<&str> = (0..*dice.roll(&[0, 1, 1, 2, 3])).map(|_| *dice.roll(&parts)).collect();
        tree.at(&format!("{first}/{}", rest.join("/")))
    };
    let mut talk = Talk::begin(&bastion.to(&sshd));
    let mut seen = Vec::new();
    let (mut allowed, mut denied) = (0, 0);
    for _ in 0..600 {
        let (from, to) = (path(&mut dice), path(&mut dice));
        let pair = [text(&from), text(&to)].concat();
        let packet_of = match dice.roll(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]) {
            0 | 1 => open(1, &from, *dice.roll(&[1, 2 | 8, 2 | 8 | 16, 3 | 8, 2 | 8 | 32, 1 | 4 | 8])),
            2 => one(11, 1, &from, &[]),
            3 => one(*dice.roll(&[7, 16, 17, 19]), 1, &from, &[]),
            4 => one(9, 1, &from, &[0, 0, 0, 4, 0, 0, 1, 0o355]),
            5 => one(9, 1, &from, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
            6 => one(*dice.roll(&[13, 15]), 1, &from, &[]),
            7 => one(14, 1, &from, &[0; 4]),
            8 => two(18, 1, &from, &to),
            9 => extended(1, "posix-rename@openssh.com", &pair),
            10 => extended(1, "hardlink@openssh.com", &pair),
            _ => two(20, 1, &from, &to),
        };
        talk.say(&packet_of);
        let answer = talk.hear().expect("the channel ended");
        match answer[0] {
            102 => {
                let handle = &answer[5..];
                talk.say(&packet(5, &[&[0, 0, 0, 2], handle, &[0; 8], &[0, 0, 1, 0]]));
                talk.say(&packet(6, &[&[0, 0, 0, 3], handle, &[0; 8], &text("x")]));
                talk.say(&packet(4, &[&[0, 0, 0, 4], handle]));
                let answers: Vec<Vec<u8>> = (0..3).map(|_| talk.hear().unwrap()).collect();
                seen.extend(answers.concat());
                allowed += 1;
            }
            101 if answer[5..9] == [0, 0, 0, 3] => denied += 1,
            101 if answer[5..9] != [0; 4] => {}
            _ => allowed += 1,
        }
    }
    assert!(allowed > 20 && denied > 100, "{allowed} allowed, {denied} denied");
    assert_eq!(tree.outside(), before);
    assert!(!seen.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "a secret was read");
}

#[test]
fn trees_are_moved_within_the_paths_of_a_rule_as_without_one() {
    require!("sshd", "ssh", "sftp", "scp", "diff");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let here = bastion.scratch().join("so/deep/that/none/climbs/out/tree");
    std::fs::create_dir_all(here.join("deep/er")).unwrap();
    for (name, bytes) in [("empty", 0), ("small", 100), ("deep/large", 5_000_000), ("deep/er/odd name ü", 33_000)] {
        std::fs::write(here.join(name), noise(bytes)).unwrap();
    }
    let (there, back) = (tree.at("in/tree"), bastion.scratch().join("back"));
    let route = bastion.to(&sshd);
    let same = |back: &Path| {
        let mut diff = Command::new("diff");
        diff.arg("-r").args([&here, back]);
        run(diff, b"", LIMIT).ok();
        std::fs::remove_dir_all(back).unwrap();
        std::fs::remove_dir_all(&there).unwrap();
    };
    let far = format!("{{}}:{there}");
    run(route.copier("scp", &["-r", "-p", here.to_str().unwrap(), &far]), b"", LIMIT).ok();
    run(route.copier("scp", &["-r", &far, back.to_str().unwrap()]), b"", LIMIT).ok();
    same(&back);
    let (local, folder) = (here.display(), tree.at("in"));
    let batch = format!("cd {folder}\nput -r {local} tree\nls -l tree\nget -r -p tree {}\n", back.display());
    sftp(&route, &batch).ok();
    same(&back);
    for (arguments, told) in [
        // It looks for what matches the name, and is shown nothing.
        (["-r", "{}:BASE/out", "BACK"], "No such file"),
        (["{}:BASE/in/link", "BACK", ""], "ermission denied"),
        (["HERE/small", "{}:BASE/out/small", ""], "ermission denied"),
    ] {
        let (base, back) = (tree.base.display().to_string(), back.display().to_string());
        let fill = |text: &str| text.replace("BASE", &base).replace("BACK", &back).replace("HERE", &local.to_string());
        let filled: Vec<String> = arguments.iter().filter(|text| !text.is_empty()).map(|text| fill(text)).collect();
        let seen = run(route.copier("scp", &filled.iter().map(String::as_str).collect::<Vec<_>>()), b"", LIMIT);
        assert!(seen.code == Some(1) && seen.err().contains(told), "{filled:?}: {seen:?}");
    }
}

#[test]
fn a_path_that_a_new_policy_takes_away_ends_what_is_open_there_and_nothing_else() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let mut talk = Talk::begin(&bastion.to(&sshd));
    let mut opened = |path: &str, flags: u32| {
        talk.say(&open(1, &tree.at(path), flags));
        talk.hear().unwrap()[5..].to_vec()
    };
    let (taken, kept) = (opened("ro/file", 1), opened("in/file", 3));
    let read = |handle: &[u8]| packet(5, &[&[0, 0, 0, 2], handle, &[0; 8], &[0, 0, 1, 0]]);
    let write = |handle: &[u8]| packet(6, &[&[0, 0, 0, 2], handle, &[0; 8], &text("x")]);
    let mut ask = |packet: &[u8]| {
        talk.say(packet);
        talk.hear().unwrap()
    };
    assert_eq!((ask(&read(&taken))[0], status(&[ask(&write(&kept))], 2)), (103, Some(0)));
    let base = tree.base.display().to_string();
    let policy = tree.policy(&format!("\"{base}/in/**\""));
    bastion.policy(&policy.replace(&format!("\"{base}/ro/**\""), &format!("\"{base}/elsewhere/**\"")));
    bastion.doorward(&["policy", "reload"]).ok();
    for _ in 0..3 {
        assert_eq!(status(&[ask(&read(&taken))], 2), Some(3));
    }
    assert_eq!(status(&[ask(&open(2, &tree.at("ro/file"), 1))], 2), Some(3));
    assert_eq!((ask(&read(&kept))[0], status(&[ask(&write(&kept))], 2)), (103, Some(0)));
    assert_eq!(status(&[ask(&packet(4, &[&[0, 0, 0, 2], &taken]))], 2), Some(0));
    let told = refused(&bastion);
    assert_eq!(told.iter().filter(|what| what.starts_with("to go on with")).count(), 1, "{told:?}");
}

#[test]
fn a_session_for_every_file_ends_when_a_new_policy_names_paths() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.serve();
    let talk = Talk::begin(&bastion.to(&sshd));
    bastion.policy(&tree.policy(&format!("\"{}/in/**\"", tree.base.display())));
    bastion.doorward(&["policy", "reload"]).ok();
    talk.sent_away();
    bastion.empties(LIMIT);
}

#[test]
fn t10_a_file_is_not_made_with_a_mode_that_may_not_be_set() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let bastion = tree.bastion(&sshd);
    let with = |id: u32, path: &str, mode: u32| {
        let mode = [&[0, 0, 0, 4][..], &mode.to_be_bytes()].concat();
        packet(3, &[&id.to_be_bytes(), &text(&tree.at(path)), &[0, 0, 0, 2 | 8 | 16], &mode])
    };
    let asked = [with(1, "drop/setuid", 0o4777), with(2, "drop/plain", 0o755), with(3, "in/setuid", 0o4700)];
    let answers = speak(&bastion.to(&sshd), &asked);
    assert_eq!(status(&answers, 1), Some(3));
    assert_eq!([2, 3].map(|id| answer(&answers, id)[0]), [102, 102]);
    assert!(!tree.base.join("drop/setuid").exists());
    assert_eq!(tree.base.join("in/setuid").metadata().unwrap().mode() & 0o7777, 0o4700);
    bastion.empties(LIMIT);
    let made = files(&bastion);
    assert!(made.iter().any(|row| row["detail"].as_str().unwrap().ends_with("mode=4700")), "{made:?}");
}

/// A rule by which every file may be written, and one by which `in` may be read with a grant.
fn written_now_and_read_later(tree: &Tree) -> (String, String) {
    let write = rule(r#"["sftp-write"]"#);
    let (_, read) = write.split_once("[[rule]]").unwrap();
    let read = read.replace("sftp-write", "sftp-read");
    let read = read.replace("false", "true").replace("id        = \"dba\"", "id        = \"later\"");
    let base = tree.base.display();
    let both = format!("{write}[[rule]]{read}sftp = {{ read = [\"{base}/in/**\"] }}\n");
    (write, both)
}

#[test]
fn t10_who_may_write_every_file_moves_none_to_where_a_grant_would_let_them_read_it() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    let mut bastion = Bastion::furnished(&sshd);
    let (write, both) = written_now_and_read_later(&tree);
    bastion.policy(&write);
    bastion.serve();
    let hard = |id: u32, path: &str, to: &str| {
        extended(id, "hardlink@openssh.com", &[text(&tree.at(path)), text(&tree.at(to))].concat())
    };
    let mut early = Talk::begin(&bastion.to(&sshd));
    let mut ask = |packet: &[u8]| {
        early.say(packet);
        status(&[early.hear().unwrap()], 1)
    };
    assert_eq!(ask(&hard(1, "out/sub/secret", "in/before")), Some(0), "no rule names paths");
    std::fs::remove_file(tree.base.join("in/before")).unwrap();
    bastion.policy(&both);
    bastion.doorward(&["policy", "reload"]).ok();
    let denied = |status: Option<u32>| assert_eq!(status, Some(3));
    denied(ask(&hard(1, "out/secret", "in/early")));
    let asked = [
        hard(1, "out/secret", "in/hard"),
        two(18, 2, &tree.at("out/secret"), &tree.at("in/moved")),
        hard(3, "out/secret", "out/hard"),
        open(4, &tree.at("out/new"), 2 | 8),
    ];
    let answers = speak(&bastion.to(&sshd), &asked);
    assert_eq!([1, 2, 3].map(|id| status(&answers, id)), [Some(3), Some(3), Some(0)]);
    assert_eq!(answer(&answers, 4)[0], 102, "every file may be written still");
    bastion.grant(ALICE, &format!("{}@db1", sshd.account), "1h", "to read");
    denied(ask(&hard(1, "out/secret", "in/early")));
    let names = ["in/early", "in/hard", "in/moved"];
    let answers = speak(&bastion.to(&sshd), &names.map(|name| open(1, &tree.at(name), 1)));
    assert!(!answers.iter().any(|answer| answer[0] == 102), "{answers:?}");
    assert_eq!(answer(&speak(&bastion.to(&sshd), &[open(1, &tree.at("in/file"), 1)]), 1)[0], 102);
}

#[test]
fn a_user_who_does_not_read_keeps_no_turn() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let tree = Tree::grow(&sshd);
    std::fs::write(tree.base.join("in/large"), noise(8_000_000)).unwrap();
    let bastion = tree.bastion(&sshd);
    let route: Route = bastion.to(&sshd);
    let mut stuck = Talk::begin(&route);
    stuck.say(&open(1, &tree.at("in/large"), 1));
    let handle = stuck.hear().unwrap()[5..].to_vec();
    let reads = (0..200_u32).map(|number| {
        let offset = u64::from(number * 32_768).to_be_bytes();
        packet(5, &[&(number + 2).to_be_bytes(), &handle, &offset, &32_768_u32.to_be_bytes()])
    });
    stuck.say(&reads.collect::<Vec<_>>().concat());
    stuck.say(&open(900, &tree.at("in/file"), 1));
    // Others go on meanwhile, and it does once it reads.
    for _ in 0..5 {
        assert_eq!(answer(&speak(&route, &[open(1, &tree.at("in/file"), 1)]), 1)[0], 102);
    }
    let answers: Vec<Vec<u8>> = (0..201).map(|_| stuck.hear().unwrap()).collect();
    assert_eq!(answer(&answers, 900)[0], 102);
}
