//! Desktops through a bastion: a ticket over SSH, a program on a screen, a recording that verifies, an end with its reason.

use crate::fixture::bastion::ALICE;
use crate::fixture::desktops::{desktop_of, furnished, prepared, ticket};
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::Colour;
use crate::fixture::{Bastion, LIMIT, until};

const GREEN: Colour = Colour(0x20, 0xa0, 0x40);

/// The log and every recording are what was recorded, record by record.
#[track_caller]
fn verifies(bastion: &mut Bastion) {
    // Its last checkpoint covers all.
    bastion.stop();
    let identity = bastion.identity();
    let verified = bastion.doorward(&["verify", "--deep", "--identity", identity.to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_desktop_is_seen_by_ticket_recorded_watched_and_killed_with_its_reason() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let shadow = Shadow::start(GREEN);
    let (mut bastion, port) = furnished(&shadow, &shadow.fingerprint);
    let (name, secret) = ticket(&bastion, &shadow);
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    viewer.screen.until_painted(GREEN, 50);
    let session = bastion.only_session();
    let file = bastion.scratch().join("now.png");
    until(LIMIT, "picture", || {
        let told = bastion.doorward(&["session", "watch", &session, "--png", file.to_str().unwrap()]);
        (told.code == Some(0)).then_some(())
    });
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
    bastion.doorward(&["session", "kill", &session]).ok();
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_RPC_INITIATED_DISCONNECT"), "{said}");
    assert_eq!(bastion.only_recording(), session);
    let row = &bastion.recordings()[0];
    assert!(row["end"].to_string().contains("killed by"), "{row}");
    let audit = bastion.audit();
    for step in ["\"issued\"", "\"used\"", "session.start", "session.end"] {
        assert!(audit.contains(step), "{step} is not in {audit}");
    }
    assert!(!audit.contains(&secret) && !audit.contains(&shadow.password));

    // A ticket is good once: the same words for a used one, a wrong secret and one that never was.
    let (other, _) = ticket(&bastion, &shadow);
    for (name, secret) in [(name.as_str(), secret.as_str()), (&other, "wrong"), ("t-22222222", &secret)] {
        let (_, said) = Viewer::xfreerdp(port, "nla", name, secret, &[]).end();
        assert!(said.contains("LOGON_FAILURE"), "{name}: {said}");
    }
    assert_eq!(bastion.recordings_at_all().len(), 1);
    verifies(&mut bastion);
}

#[test]
fn a_desktop_that_draws_by_itself_ends_when_its_user_does_nothing() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "xterm");
    let shadow = Shadow::start(GREEN);
    let (mut bastion, port) = prepared(&shadow, &shadow.fingerprint, "limits = { idle = \"3s\" }\n");
    bastion.serve();
    bastion.grant(ALICE, &desktop_of(&shadow), "1h", "CHG-1");
    let (name, secret) = ticket(&bastion, &shadow);
    let restless = shadow.restless();
    let viewer = Viewer::xfreerdp(port, "nla", &name, &secret, &[]);
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_IDLE_TIMEOUT"), "{said}");
    drop(restless);
    bastion.only_recording();
    verifies(&mut bastion);
}

#[test]
fn a_target_with_another_certificate_is_on_record_and_gets_nothing() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot");
    let shadow = Shadow::start(GREEN);
    let (mut bastion, port) = furnished(&shadow, &"00".repeat(32));
    let (name, secret) = ticket(&bastion, &shadow);
    let (_, said) = Viewer::xfreerdp(port, "nla", &name, &secret, &[]).end();
    assert!(said.contains("ERRINFO_SERVER_DENIED_CONNECTION"), "{said}");
    let audit = bastion.audit();
    assert!(audit.contains("target.key-changed") && audit.contains(&shadow.fingerprint), "{audit}");
    bastion.only_recording();
    verifies(&mut bastion);
}
