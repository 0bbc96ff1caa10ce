//! The demo is documentation that runs: every step must do what it says.

use std::process::Command;
use std::time::Duration;

use crate::fixture::bastion::program;
use crate::fixture::process::run;
use crate::fixture::{root, scratch};
use crate::require;

#[test]
fn the_first_session_does_what_it_says() {
    require!("sshd", "ssh", "script", "asciinema");
    let mut demo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/first-session.sh"));
    demo.env("DOORWARD", program());
    let told = run(demo, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("alice"), "{told:?}");
}

#[test]
fn six_attackers_are_found() {
    require!("sshd", "ssh");
    let mut tamper = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tamper.sh"));
    tamper.env("DOORWARD", program());
    let told = run(tamper, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("six times found"), "{told:?}");
}

#[test]
fn access_just_in_time_is_asked_approved_extended_and_revoked() {
    require!("sshd", "ssh");
    let mut tour = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/just-in-time.sh"));
    tour.env("DOORWARD", program());
    let told = run(tour, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("request.step"), "{told:?}");
}

#[test]
fn commands_are_judged_refused_and_approved_while_they_wait() {
    require!("sshd", "ssh", "python3");
    let mut tour = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/command-policy.sh"));
    tour.env("DOORWARD", program());
    let told = run(tour, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("never-shell"), "{told:?}");
}

#[test]
fn what_people_see_of_the_interactive_gate_is_as_the_tour_shows_it() {
    require!("sshd", "ssh", "tmux", "bash", "awk");
    let mut tour = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/interactive-gate.sh"));
    tour.env("DOORWARD", program());
    let told = run(tour, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("rule no-removal-of-data"), "{told:?}");
}

#[test]
fn a_desktop_is_asked_for_seen_typed_on_ended_and_seen_again() {
    require!("ssh", "xrdp", "xrdp-sesman", "Xvfb", "xfreerdp", "xdotool", "xclip", "import", "convert", "xsetroot");
    require!("xterm", "openssl", "python3", "ffmpeg");
    if !root() {
        return;
    }
    let kept = scratch();
    let mut tour = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/rdp.sh"));
    tour.env("DOORWARD", program()).env("ARTEFACTS", kept.path());
    let told = run(tour, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("killed by bob"), "{told:?}");
    for artefact in ["desktop.png", "export.png", "export.mp4"] {
        assert!(kept.path().join(artefact).metadata().unwrap().len() > 0, "{artefact}");
    }
}

#[test]
fn everyday_work_is_the_same_each_way_and_all_of_it_is_on_record() {
    require!("sshd", "ssh", "scp", "sftp", "rsync", "git");
    let mut everyday = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/everyday.sh"));
    everyday.env("DOORWARD", program()).env("QUICK", "1");
    let told = run(everyday, b"", Duration::from_secs(300)).ok();
    assert!(told.out().contains("things done four ways each, all the same"), "{told:?}");
}
