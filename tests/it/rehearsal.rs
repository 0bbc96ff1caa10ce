//! Policies rehearsed over what was recorded, and drafts from it and from sudoers, which are tried on the same record.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::fixture::bastion::OPEN;
use crate::fixture::process::run;
use crate::fixture::{Bastion, LIMIT, Sshd, own_account};
use crate::require;

/// A directory of policies to try.
fn policies(bastion: &Bastion, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = bastion.scratch().join(name);
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("@me", &own_account())).unwrap();
    }
    folder
}

#[track_caller]
fn replayed(bastion: &Bastion, new: &Path, identity: bool) -> Value {
    let (new, identity_file) = (new.display().to_string(), bastion.identity().display().to_string());
    let mut arguments = vec!["policy", "replay", "--new", &new, "--since", "1h"];
    if identity {
        arguments.extend(["--identity", &identity_file]);
    }
    bastion.json(&arguments)
}

fn strict(sets: &str) -> String {
    format!("{OPEN}commands = {{ mode = \"strict\", sets = [\"{sets}\"] }}\n")
}

#[test]
fn what_other_policies_would_have_said_of_the_past_is_told() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for line in ["echo one", "echo one", "uname -s"] {
        drop(bastion.to(&sshd).run(line).ok());
    }
    bastion.empties(LIMIT);
    let set = "schema = 1\nmode = \"strict\"\ndefault = \"deny\"\n[[rule]]\nid = \"name\"\neffect = \"allow\"\nprogram = \
               \"/usr/bin/uname\"\nargs = [\"-s\"]\nreason = \"x\"\n[[test]]\nexpect = \"allow name\"\nlines = [\"uname -s\"]\n";
    let new = policies(&bastion, "new", &[("access/a.toml", &strict("names")), ("commands/names.toml", set)]);
    let found = replayed(&bastion, &new, true);
    let differences = found["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{found:#}");
    let one = &differences[0];
    assert_eq!((one["what"].as_str(), one["times"].as_u64()), (Some("echo one"), Some(2)), "{found:#}");
    assert_eq!((one["then"].as_str(), one["now"].as_str()), (Some("allowed"), Some("refused")));
    assert_eq!(found["commands"].as_u64(), Some(3), "{found:#}");
    // That the recordings were read is on record.
    assert!(bastion.audit().contains("rehearsal of a policy"));
    // For people, and for CI.
    let (new, identity) = (new.display().to_string(), bastion.identity().display().to_string());
    let told = bastion.doorward(&["policy", "replay", "--new", &new, "--identity", &identity, "--fail-on-refusals"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.out().contains("newly refused:\n       2 x  alice as "), "{told:?}");
    assert!(told.out().contains("names: default"), "{told:?}");
}

#[test]
fn what_was_learnt_from_the_past_allows_just_the_past() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for line in ["uname -s", "id -u", "wc -l /etc/hosts /etc/passwd", "cat /etc/hosts | wc -c"] {
        drop(bastion.to(&sshd).run(line).ok());
    }
    drop(bastion.to(&sshd).run("sh -c true").ok());
    // What is learnt from is closed recordings.
    bastion.empties(LIMIT);
    let identity = bastion.identity().display().to_string();
    let learnt = bastion.doorward(&["policy", "learn", "--identity", &identity]).ok();
    assert!(learnt.err().contains("left out: sh -c true"), "{learnt:?}");
    let new = policies(&bastion, "new", &[("access/a.toml", &strict("draft")), ("commands/draft.toml", &learnt.out())]);
    let found = replayed(&bastion, &new, true);
    let refused: Vec<_> =
        found["differences"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(refused, ["sh -c true"], "{found:#}\n{}", learnt.out());
}

#[test]
fn sudoers_become_drafts_that_load() {
    require!("ssh", "sshd", "cvtsudoers");
    let sshd = Sshd::start();
    let bastion = Bastion::furnished(&sshd);
    let sudoers = bastion.scratch().join("sudoers");
    let text = "User_Alias OPS = alice, %ops\nCmnd_Alias WEB = /usr/bin/systemctl restart nginx, /usr/bin/tail -f /var/log/*\n\
                root ALL=(ALL:ALL) ALL\nOPS web1 = (root) NOPASSWD: WEB, sudoedit /etc/hosts\n\
                carol ALL = ALL, !/usr/bin/su, !/usr/bin/passwd root\n";
    std::fs::write(&sudoers, text).unwrap();
    let mut convert = Command::new("cvtsudoers");
    convert.args(["-e", "-f", "json", "-c", "/dev/null"]).arg(&sudoers);
    let json = run(convert, b"", LIMIT).ok().out();
    let out = bastion.scratch().join("drafts").display().to_string();
    let told = bastion.doorward_with(&["policy", "from-sudoers", "--out", &out], json.as_bytes()).ok();
    assert!(told.err().contains("sudoedit") && told.err().contains("2 entries left out"), "{told:?}");
    let found = replayed(&bastion, Path::new(&out), false);
    assert_eq!(found["decisions"].as_u64(), Some(0), "{found:#}");
    // What is there is never replaced.
    let again = bastion.doorward_with(&["policy", "from-sudoers", "--out", &out], json.as_bytes());
    assert!(again.code == Some(1) && again.err().contains("cannot write"), "{again:?}");
}
