//! Recordings of desktops in the store: held, handed over, proven, erased and removed as any other; and a disk that hangs.

use std::path::Path;
use std::time::Duration;

use doorward::auditor::Identity;
use serde_json::Value;

use crate::fixture::bastion::{ALICE, id};
use crate::fixture::desktops::{desktop_of, furnished, prepared, ticket};
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::{Colour, Picture};
use crate::fixture::{Bastion, LIMIT, Syncs, holds, until};

const TEAL: Colour = Colour(0x10, 0x90, 0x90);
const BROWN: Colour = Colour(0x90, 0x60, 0x30);
const PINK: Colour = Colour(0xf0, 0x90, 0xb0);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Opens a desktop, sees it, and ends it; gives its recording.
fn recorded(bastion: &Bastion, port: u16, shadow: &Shadow) -> String {
    let (name, secret) = ticket(bastion, shadow);
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(TEAL, 50);
    let session = bastion.only_session();
    bastion.doorward(&["session", "kill", &session]).ok();
    viewer.end();
    bastion.empties(LIMIT);
    bastion.recordings();
    session
}

/// How much of a recording's last picture has this colour, in percent; read with this identity.
fn percent(bastion: &Bastion, session: &str, identity: &Path, colour: Colour) -> usize {
    let export = ["recording", "export", session, "--format", "png", "--identity", text(identity)];
    Picture::of_png(&bastion.doorward(&export).ok().stdout).percent(colour)
}

#[test]
fn a_desktops_recording_is_held_handed_over_proven_erased_and_removed_as_any_other() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let shadow = Shadow::start(TEAL);
    let (mut bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let (one, two) = (recorded(&bastion, port, &shadow), recorded(&bastion, port, &shadow));
    let (old, new) = (bastion.identity(), bastion.scratch().join("new.key"));
    let another = Identity::generate();
    std::fs::write(&new, another.to_file().expose()).unwrap();
    let recipient = another.recipient().to_string();

    // Handed over: the new auditor sees it, and the old one no more.
    let rewrap = ["recording", "rewrap", &one, "--identity", text(&old), "--to", &recipient];
    bastion.doorward(&rewrap).ok();
    assert!(percent(&bastion, &one, &new, TEAL) >= 50);
    let shut = bastion.doorward(&["recording", "export", &one, "--format", "png", "--identity", text(&old)]);
    assert!(shut.code == Some(1) && shut.stdout.is_empty(), "{shut:?}");

    // Proven elsewhere, from the log's public key and nothing else of this bastion.
    let (bundle, log) = (bastion.scratch().join("bundle"), bastion.log_key());
    let export = ["recording", "export", &one, "--identity", text(&new), "--proof", text(&bundle)];
    until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
    let check = ["verify", "bundle", text(&bundle), "--vkey", &log, "--identity", text(&new)];
    let said = bastion.doorward(&check).ok().out();
    assert!(said.contains("CASTS: they are what the segments hold"), "{said}");
    let cast = bundle.join("channel-1.cast");
    let mut altered = std::fs::read(&cast).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&cast, altered).unwrap();
    let said = bastion.doorward(&check);
    assert!(said.code != Some(0) && said.out().contains("channel-1.cast"), "{said:?}");

    // Held, nothing takes it.
    bastion.doorward(&["recording", "hold", &one, "--reason", "CASE-7"]).ok();
    let erase = ["recording", "erase", &one, "--reason", "asked", "--approver", "carol", "--yes"];
    let told = bastion.doorward(&erase);
    assert!(told.code == Some(1) && told.err().contains("CASE-7"), "{told:?}");
    let told = bastion.doorward(&["recording", "gc", "--older-than", "0s", "--even-today", "--yes"]).ok();
    assert!(told.out().contains(&format!("kept {one}")) && told.out().contains(&format!("removed {two}")), "{told:?}");
    assert_eq!(bastion.recordings().iter().map(id).collect::<Vec<_>>(), [one.as_str()]);
    assert!(percent(&bastion, &one, &new, TEAL) >= 50);
    // Released, it is erased: nobody sees it again.
    bastion.doorward(&["recording", "hold", &one, "--release", "--reason", "over"]).ok();
    bastion.doorward(&erase).ok();
    let told = bastion.doorward(&["recording", "export", &one, "--format", "png", "--identity", text(&new)]);
    assert!(told.code == Some(1) && told.stdout.is_empty(), "{told:?}");
    bastion.stop().ok();
    let told = bastion.doorward(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told.code, Some(0), "{report}");
    let verdict = |session: &str| {
        let rows = report["sessions"].as_array().unwrap();
        rows.iter().find(|row| row["session"] == session).map(|row| row["verdict"].clone()).unwrap()
    };
    assert_eq!((verdict(&one), verdict(&two)), ("SHREDDED".into(), "EXPIRED".into()), "{report}");
}

#[test]
fn a_desktop_stands_still_while_its_disk_does_and_ends_with_its_reason_if_that_lasts() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "cc");
    let shadow = Shadow::start(TEAL);
    let (mut bastion, port) = prepared(&shadow, &shadow.fingerprint, "");
    bastion.configure("recording", "stall_limit = \"12s\"");
    let syncs = Syncs::build(bastion.scratch());
    bastion.environment = syncs.environment("hang", "/rec/");
    bastion.serve();
    bastion.grant(ALICE, &desktop_of(&shadow), "1h", "CHG-1");
    let (name, secret) = ticket(&bastion, &shadow);
    let mut viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(TEAL, 50);
    let session = bastion.only_session();

    // What is not on disk is not seen; once the disk is back, all of it is.
    syncs.begin();
    shadow.screen.paint(BROWN);
    holds(Duration::from_secs(2), "standstill", || viewer.screen.picture().percent(BROWN) == 0);
    assert!(!viewer.has_ended());
    syncs.end();
    viewer.screen.until_painted(BROWN, 50);

    syncs.begin();
    shadow.screen.paint(PINK);
    until(LIMIT, "end of the program", || {
        assert_eq!(viewer.screen.picture().percent(PINK), 0);
        viewer.has_ended().then_some(())
    });
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_RPC_INITIATED_DISCONNECT"), "{said}");
    syncs.end();
    let row = bastion.recordings().remove(0);
    assert!(row["end"].to_string().contains("record"), "{row}");
    // All that was seen is kept, and may be followed by what was drawn last.
    let identity = bastion.identity();
    let kept = percent(&bastion, &session, &identity, BROWN).max(percent(&bastion, &session, &identity, PINK));
    assert!(kept >= 50, "{kept}% of the last picture");
    // Another desktop opens.
    let (name, secret) = ticket(&bastion, &shadow);
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(PINK, 50);
    drop(viewer);
    bastion.empties(LIMIT);
    bastion.stop();
    let verified = bastion.doorward(&["verify", "--deep", "--identity", text(&identity)]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
}
