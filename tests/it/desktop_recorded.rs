//! A real target's desktop, recorded and shown again: FreeRDP's shadow server before an X server without a screen.
//!
//! What the target sent goes through the real recorder into a store, and comes out of it as pictures, films and text by
//! the program that an auditor runs. It must look as the target's own screen did.

use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::rdp::fact::Fact;
use doorward::rdp::keys::{Input, inputs};
use doorward::rdp::pdu::{Way, send_data};
use doorward::rdp::picture::{Picture, Pointer, rgb};
use doorward::rdp::record::{Kind, Reader};
use doorward::rdp::story::Story;

use crate::fixture::bastion::program;
use crate::fixture::played::{Part, Played};
use crate::fixture::process::{Finished, run};
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::Colour;
use crate::fixture::watcher::watch;
use crate::fixture::{LIMIT, scratch, until};
use crate::require;
use crate::verify::store::{Store, log_key};

const SIZE: (u16, u16) = (800, 600);

/// How many pixels of two pictures differ by more than the eye sees.
fn differing(one: &[u8], other: &[u8], most: u8) -> usize {
    assert_eq!(one.len(), other.len());
    let pixels = one.chunks_exact(3).zip(other.chunks_exact(3));
    pixels.filter(|(one, other)| one.iter().zip(*other).any(|(one, other)| one.abs_diff(*other) > most)).count()
}

fn drawn(records: &[(Kind, Vec<u8>)]) -> Picture {
    let mut picture = Picture::new(Pointer::LeftOut);
    records.iter().for_each(|(kind, bytes)| {
        picture.take(*kind, bytes);
    });
    picture
}

/// A recording in a store, and who may read it.
struct Kept {
    store: Store,
    session: String,
    folder: tempfile::TempDir,
}

impl Kept {
    fn of(records: &[(Kind, Vec<u8>)]) -> Self {
        let store = Store::new();
        let bastion = store.bastion();
        let mut live = bastion.open(&[]);
        bastion.desktop(&mut live, records);
        let session = live.id.to_string();
        bastion.close(live);
        bastion.stop();
        let folder = scratch();
        std::fs::write(folder.path().join("auditor.key"), store.auditor.to_file().expose()).unwrap();
        Self { store, session, folder }
    }

    /// Of the desktop's channel, which is the second one here.
    fn recording(&self, verb: &str, more: &[&str]) -> Finished {
        self.recording_of("2", verb, more)
    }

    fn recording_of(&self, channel: &str, verb: &str, more: &[&str]) -> Finished {
        let mut command = Command::new(program());
        command.args(["recording", verb, &self.session, "--store"]).arg(self.store.path());
        command.arg("--identity").arg(self.folder.path().join("auditor.key"));
        command.args(["--channel", channel]).args(more);
        run(command, b"", LIMIT)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The last picture of a file, as ffmpeg reads it.
fn last_picture(file: &Path) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-i"]).arg(file);
    command.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
    let pictures = run(command, b"", LIMIT).ok().stdout;
    let size = usize::from(SIZE.0) * usize::from(SIZE.1) * 3;
    assert!(!pictures.is_empty() && pictures.len().is_multiple_of(size), "{}", pictures.len());
    pictures[pictures.len() - size..].to_vec()
}

#[test]
fn a_recorded_desktop_looks_as_the_targets_screen_did() {
    require!("Xvfb", "xterm", "xdotool", "xsetroot", "import", "winpr-hash", "freerdp-shadow-cli", "ffmpeg");
    let target = Shadow::start(Colour(0x20, 0x50, 0x80));
    let _terminal = target.terminal();
    let mut screen = Vec::new();
    let session = Fact::Session {
        width: SIZE.0,
        height: SIZE.1,
        keyboard_layout: 0x409,
        client_name: String::from("watcher"),
        keys: true,
    };
    let mut records = vec![(Kind::Event, session.to_json())];
    let sent = watch(target.port, (&target.account, &target.password), SIZE, |records| {
        let picture = drawn(records);
        screen = target.screen.picture().pixels;
        picture.size() == Some(SIZE) && differing(&rgb(picture.rgba()), &screen, 8) == 0
    });
    let pixels = screen.len() / 3;
    assert_eq!(drawn(&sent).faults(), (0, None));
    records.extend(sent);
    // `ls`, Enter.
    records.extend([0x26, 0x1F, 0x1C].map(|code| (Kind::FastPathInput, vec![1 << 2, 4, 0, code])));

    let kept = Kept::of(&records);
    let png = kept.recording("export", &["--format", "png"]).ok();
    assert_eq!(png.stderr, b"", "{}", png.err());
    assert!(differing(&last_picture(&kept.file("last.png", &png.stdout)), &screen, 8) * 100 < pixels);
    for form in ["webm", "mp4"] {
        let film = kept.recording("export", &["--format", form]).ok();
        let last = last_picture(&kept.file(&format!("film.{form}"), &film.stdout));
        assert!(differing(&last, &screen, 60) * 50 < pixels, "{form}: {} of {pixels}", differing(&last, &screen, 60));
    }
    let text = kept.recording("export", &["--format", "txt"]).ok().out();
    assert!(text.contains("800x600 pixels") && text.contains("typed      ls"), "{text}");
}

#[test]
fn what_was_relayed_is_drawn_and_told_from_its_record() {
    require!("Xvfb", "xterm", "xdotool", "xsetroot", "import", "winpr-hash", "freerdp-shadow-cli", "xfreerdp");
    let target = Shadow::start(Colour(0x20, 0xa0, 0x40));
    let bastion = Played::start(Part::new(target.port, &target.fingerprint, &target.account, &target.password));
    let viewer = Viewer::xfreerdp(bastion.port, "nla", "t-7f3a", "Ticket-Secret-1", &[]);
    viewer.screen.until_painted(Colour(0x20, 0xa0, 0x40), 50);
    let typed = target.terminal();
    let recorded = || {
        let mut reader = Reader::default();
        reader.push(&bastion.recorded());
        std::iter::from_fn(|| reader.next_record()).map(Result::unwrap).collect::<Vec<_>>()
    };
    // The program takes keys once the pointer is over it and its window knows.
    viewer.screen.type_text("");
    until(LIMIT, "record of a key", || {
        viewer.screen.press("Shift_L");
        let inputs = recorded().into_iter().flat_map(|record| inputs(record.kind, &record.bytes));
        inputs.into_iter().any(|input| matches!(input, Input::Key { code: 0x2A, .. })).then_some(())
    });
    viewer.screen.type_text("who Am i");
    viewer.screen.press("Return");
    assert_eq!(typed.line(), "who Am i");

    until(LIMIT, "record of the target's screen", || {
        let records = recorded().into_iter().map(|record| (record.kind, record.bytes)).collect::<Vec<_>>();
        let picture = drawn(&records);
        assert_eq!(picture.faults(), (0, None));
        let same =
            picture.size() == Some(SIZE) && differing(&rgb(picture.rgba()), &target.screen.picture().pixels, 8) == 0;
        same.then_some(())
    });
    let mut story = Story::default();
    let told = recorded().into_iter().flat_map(|record| story.take(record.at, record.kind, &record.bytes));
    let told: Vec<(&str, String)> = told.map(|told| (told.what, told.text)).collect();
    // In more parts than one where this machine was away for so long that it looks like a pause.
    let typed: String = told.iter().filter(|(what, _)| *what == "typed").map(|(_, text)| text.as_str()).collect();
    assert_eq!(typed, "who Am i", "{told:?}");
    assert!(matches!(&told[..], [("desktop", text), ..] if text.contains("800x600")), "{told:?}");
}

#[test]
fn what_cannot_be_made_of_a_desktop_is_said() {
    let kept = Kept::of(&[(Kind::Event, b"{}".to_vec())]);
    for form in ["v3", "v2", "raw"] {
        let refused = kept.recording("export", &["--format", form]);
        assert!(refused.code == Some(1) && refused.err().contains("--format png"), "{form}: {}", refused.err());
    }
    let replayed = kept.recording("replay", &[]);
    assert!(replayed.code == Some(1) && replayed.err().contains("recording export --format png"), "{}", replayed.err());
    let nothing = kept.recording("export", &["--format", "png"]);
    assert!(nothing.code == Some(1) && nothing.err().contains("nothing was drawn"), "{}", nothing.err());
    let shell = kept.recording_of("1", "export", &["--format", "png"]);
    assert!(shell.code == Some(1) && shell.err().contains("not of a desktop"), "{}", shell.err());
}

#[test]
fn without_ffmpeg_there_are_pictures_and_no_films() {
    // A Demand Active for 16x8 pixels.
    let bitmap = [2_u16, 28, 24, 1, 1, 1, 16, 8, 0, 1, 1, 0, 1, 0].map(u16::to_le_bytes).concat();
    let demand = [&[50, 0, 0x11, 0, 0xea, 3, 7, 0, 0, 0, 4, 0, 32, 0][..], b"RDP\0", &[1, 0, 0, 0], &bitmap].concat();
    let kept = Kept::of(&[(Kind::IoOutput, send_data(Way::Indication, 1004, 1003, &demand).unwrap())]);
    let export = |form: &str| {
        let mut command = Command::new(program());
        command.args(["recording", "export", &kept.session, "--store"]).arg(kept.store.path());
        command.arg("--identity").arg(kept.folder.path().join("auditor.key"));
        command.args(["--channel", "2", "--format", form]).env("PATH", kept.folder.path());
        run(command, b"", LIMIT)
    };
    let film = export("mp4");
    assert!(film.code == Some(1) && film.err().contains("cannot start `ffmpeg`"), "{}", film.err());
    assert!(film.err().contains("hint: install ffmpeg"), "{}", film.err());
    assert!(export("png").ok().stdout.starts_with(b"\x89PNG"));
}

#[test]
fn a_recorded_desktop_verifies_as_any_recording_and_so_does_its_evidence() {
    // Bytes that are no text, and look like lines.
    let sent = (0..3000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let records = [
        (Kind::Event, b"{\"event\":\"ended\",\"why\":\"left\"}".to_vec()),
        (Kind::FastPathOutput, sent),
        (Kind::ChannelIn, b"\n[0.1,\"o\",\"forged\"]\n\xff".to_vec()),
    ];
    let kept = Kept::of(&records);
    let bundle = kept.folder.path().join("bundle");
    let (store, key) = (kept.store.path(), kept.folder.path().join("auditor.key"));
    let doorward = |arguments: &[&str], more: &[&Path]| {
        let mut command = Command::new(program());
        command.args(arguments).args(more);
        run(command, b"", LIMIT)
    };
    let said = doorward(&["verify", "--deep", "--store"], &[store, Path::new("--identity"), &key]).ok().out();
    assert!(said.contains("SESSIONS: 1: 1 OK"), "{said}");
    let export = ["recording", "export", &kept.session, "--store", store.to_str().unwrap(), "--identity"];
    doorward(&export, &[&key, Path::new("--proof"), &bundle]).ok();
    let log = log_key().public().to_string();
    let verify = || doorward(&["verify", "bundle", "--vkey", &log], &[&bundle, Path::new("--identity"), &key]);
    let said = verify().ok().out();
    assert!(said.contains("CASTS: they are what the segments hold"), "{said}");
    let cast = std::fs::read_dir(&bundle).unwrap().flatten().map(|entry| entry.path());
    let cast =
        cast.into_iter().find(|path| path.file_name().is_some_and(|name| name == "channel-2.cast")).expect(&said);
    let mut held = std::fs::read(&cast).unwrap();
    // What was sent stands there as it was; and one bit that is turned is found.
    assert!(held.windows(records[1].1.len()).any(|window| window == records[1].1));
    *held.last_mut().unwrap() ^= 1;
    std::fs::write(&cast, held).unwrap();
    let said = verify();
    assert!(said.code != Some(0) && said.out().contains("channel-2.cast"), "{}", said.text());
}
