//! Another master key: every secret is there, every record reads, and nothing opens without it.

use std::path::PathBuf;

use crate::fixture::{Bastion, Sshd};
use crate::recordings::contains;
use crate::require;

fn master_key(bastion: &Bastion) -> PathBuf {
    bastion.home().join("master.key")
}

/// The key that was kept by the only rotation so far.
fn kept(bastion: &Bastion) -> PathBuf {
    let files = std::fs::read_dir(bastion.home()).unwrap().map(|entry| entry.unwrap().path());
    let mut old = files.filter(|path| path.extension().is_some_and(|ending| ending == "old"));
    old.next().expect("the key before is kept")
}

#[test]
fn after_a_rotation_sessions_go_on_and_the_old_key_opens_nothing() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    assert_eq!(bastion.to(&sshd).run("echo before").code, Some(0));
    let session = bastion.only_recording();
    let told = bastion.doorward(&["secret", "rotate-key"]);
    assert!(told.code == Some(75) && told.err().contains("in use"), "with a server: {told:?}");
    bastion.stop().ok();
    let before = std::fs::read(master_key(&bastion)).unwrap();
    bastion.doorward(&["secret", "rotate-key"]).ok();
    let after = std::fs::read(master_key(&bastion)).unwrap();
    assert_ne!(before, after);
    assert_eq!(std::fs::read(kept(&bastion)).unwrap(), before);
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo after").code, Some(0));
    let story = bastion.rows(&["audit", "list", "--session", &session]);
    assert!(story.iter().any(|event| event["user"] == "alice"), "bodies from before are readable: {story:?}");
    let rotated = bastion.rows(&["audit", "list", "--type", "key.rotate"]);
    let of_master: Vec<_> = rotated.iter().filter(|row| row["rotated"] == "master-key").collect();
    assert_eq!(of_master.len(), 1, "{rotated:?}");
    assert_ne!(of_master[0]["public"], of_master[0]["previous"]);
    bastion.stop().ok();
    assert_eq!(bastion.doorward(&["verify"]).code, Some(0));
    // The key from before, put back.
    std::fs::rename(kept(&bastion), bastion.scratch().join("old.key")).unwrap();
    std::fs::rename(master_key(&bastion), bastion.scratch().join("new.key")).unwrap();
    std::fs::copy(bastion.scratch().join("old.key"), master_key(&bastion)).unwrap();
    let told = bastion.doorward(&["serve"]);
    assert!(told.code == Some(1) && told.err().contains("another master key"), "{told:?}");
}

#[test]
fn a_rotation_that_was_interrupted_keeps_everybody_out_until_it_is_finished() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let before = std::fs::read(master_key(&bastion)).unwrap();
    bastion.doorward(&["secret", "rotate-key"]).ok();
    // As it is on disk when the machine stops before the last step: all is sealed anew, the key is not in its place.
    let next = bastion.home().join("master.key.next");
    std::fs::rename(master_key(&bastion), &next).unwrap();
    std::fs::rename(kept(&bastion), master_key(&bastion)).unwrap();
    for command in [&["serve"][..], &["user", "list"], &["secret", "list"]] {
        let told = bastion.doorward(command);
        assert!(told.code == Some(1) && told.err().contains("rotate-key"), "{command:?}: {told:?}");
    }
    bastion.doorward(&["secret", "rotate-key"]).ok();
    assert!(!next.exists());
    assert_eq!(std::fs::read(kept(&bastion)).unwrap(), before);
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo after").code, Some(0));
}

#[test]
fn the_bastions_own_key_is_not_recorded_when_a_target_prints_it() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let text = std::fs::read_to_string(&sshd.key).unwrap();
    let seen = bastion.to(&sshd).run(&format!("cat {}", sshd.key.display())).ok();
    assert_eq!(seen.out(), text, "what the user sees is not changed");
    let session = bastion.only_recording();
    let kept = bastion.export(&session, "raw", &[]);
    assert!(contains(&kept, b"[vault:"), "{}", String::from_utf8_lossy(&kept));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(!contains(&kept, lines[lines.len() - 2].as_bytes()), "{}", String::from_utf8_lossy(&kept));
}
