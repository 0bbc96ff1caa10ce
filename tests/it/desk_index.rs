//! An auditor's index of a recorded desktop: the pictures are the same with it and without it, in each codec.

use std::path::Path;
use std::time::Duration;

use crate::fixture::desktops::{furnished, ticket};
use crate::fixture::process::{Finished, Running, Stdout};
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::Colour;
use crate::fixture::{Bastion, LIMIT, until};

const TEAL: Colour = Colour(0x10, 0x90, 0x90);
/// More than one keyframe's worth, compressed.
const RECORDED: u64 = 14 << 20;

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Records a film; gives the recording.
fn filmed(bastion: &Bastion, port: u16, shadow: &Shadow, more: &[&str]) -> String {
    let (name, secret) = ticket(bastion, shadow);
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, more);
    viewer.screen.until_painted(TEAL, 50);
    let mut ffplay = shadow.screen.command("ffplay");
    ffplay.args(["-loglevel", "error", "-noborder", "-f", "lavfi", "-i", "testsrc2=size=800x600:rate=25"]);
    let (before, film) = (size(&bastion.data().join("rec")), Running::start(ffplay, Stdout::Gathered));
    until(LIMIT * 2, "film", || (size(&bastion.data().join("rec")) > before + RECORDED).then_some(()));
    drop(film);
    viewer.screen.press("a");
    let session = bastion.only_session();
    bastion.doorward(&["session", "kill", &session]).ok();
    viewer.end();
    bastion.empties(LIMIT);
    session
}

#[test]
fn a_moment_looks_the_same_from_an_index_and_from_the_start() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "ffplay", "xdotool");
    let shadow = Shadow::start(TEAL);
    let (bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let picture = |session: &str, at: &str, index: Option<&Path>| -> Finished {
        let identity = bastion.identity();
        let mut words = vec!["recording", "export", session, "--format", "png", "--at", at];
        words.extend(["--identity", identity.to_str().unwrap()]);
        words.extend(index.iter().flat_map(|path| ["--index", path.to_str().unwrap()]));
        bastion.doorward(&words)
    };
    for codec in [&["-rfx"][..], &["+rfx"]] {
        let session = filmed(&bastion, port, &shadow, codec);
        let index = bastion.scratch().join(format!("{session}.idx"));
        let made = picture(&session, "1", Some(&index)).ok();
        let pictures = made
            .err()
            .lines()
            .find_map(|line| line.split_once(" has ")?.1.split_once(" picture"))
            .map(|(count, _)| count.parse::<u32>());
        assert!(matches!(pictures, Some(Ok(2..))), "{}", made.err());
        let whole = std::fs::read(&index).unwrap();
        for at in ["2", "3", "5", "8", "100:00"] {
            let (with, without) = (picture(&session, at, Some(&index)).ok(), picture(&session, at, None).ok());
            assert!(with.stdout.len() > 1000 && with.stdout == without.stdout, "{codec:?} {at}: {}", with.err());
            assert_eq!(with.err(), without.err());
        }
        assert_eq!(std::fs::read(&index).unwrap(), whole, "it was not made again");
    }
}

#[test]
fn an_index_is_refused_where_it_cannot_be_or_would_overwrite_something() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let shadow = Shadow::start(TEAL);
    let (bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let (name, secret) = ticket(&bastion, &shadow);
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(TEAL, 50);
    let session = bastion.only_session();
    let (identity, letter) = (bastion.identity(), bastion.scratch().join("letter.txt"));
    let index = bastion.scratch().join("session.idx");
    std::fs::write(&letter, "Dear Alice").unwrap();
    let export = |form: &str, file: &Path| {
        let words = ["recording", "export", &session, "--format", form, "--index", file.to_str().unwrap()];
        bastion.doorward(&[&words[..], &["--identity", identity.to_str().unwrap()]].concat())
    };
    let live = export("png", &index);
    assert!(live.code == Some(1) && live.err().contains("not closed"), "{}", live.err());
    bastion.doorward(&["session", "kill", &session]).ok();
    viewer.end();
    bastion.empties(Duration::from_secs(30));
    for (form, file, words) in [("png", &letter, "is no index"), ("webm", &index, "--format png")] {
        let refused = export(form, file);
        assert!(
            refused.code != Some(0) && refused.stdout.is_empty() && refused.err().contains(words),
            "{}",
            refused.err()
        );
    }
    assert_eq!(std::fs::read(&letter).unwrap(), b"Dear Alice");
    assert!(!index.exists());
}
