//! Desktops by password: with the one-time code directly behind it, or not at all.

use crate::fixture::authenticator::Authenticator;
use crate::fixture::bastion::ALICE;
use crate::fixture::desktops::{desktop_of, prepared};
use crate::fixture::rdp::{Shadow, Viewer};
use crate::fixture::screen::Colour;
use crate::fixture::{LIMIT, until};

const ORANGE: Colour = Colour(0xd0, 0x80, 0x20);
const PASSWORD: &str = "correct horse battery";

/// How a program ended, and what it was told.
fn told((code, said): (Option<i32>, String)) -> (Option<i32>, Vec<String>) {
    let words = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    (code, words.filter(|word| word.starts_with("ERRINFO_")).map(str::to_owned).collect())
}

#[test]
fn a_password_with_its_code_opens_a_desktop_once_and_all_else_is_refused_in_the_same_words() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot", "python3");
    let shadow = Shadow::start(ORANGE);
    let (mut bastion, port) = prepared(&shadow, &shadow.fingerprint, "");
    bastion.configure("login", "passwords = true\npassword_failures = 3");
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    std::fs::write(bastion.config(), format!("{text}offered = [\"tls\"]\n")).unwrap();
    bastion.add_user("bob", "dba", &crate::fixture::key(bastion.scratch(), "bob", "ed25519", ""));
    bastion.serve();
    for user in [ALICE, "bob"] {
        bastion.grant(user, &desktop_of(&shadow), "1h", "CHG-1");
        bastion.doorward_with(&["user", "password", user, "--stdin"], PASSWORD.as_bytes()).ok();
    }
    let phone = Authenticator::enrol(&bastion, ALICE);
    let login = |user: &str| format!("{user}+{}", desktop_of(&shadow));
    let code = phone.code(0);
    let viewer = Viewer::xfreerdp(port, "tls", &login(ALICE), &format!("{PASSWORD}{code}"), &[]);
    viewer.screen.until_painted(ORANGE, 50);
    let session = bastion.only_session();
    let row = &bastion.rows(&["session", "list"])[0];
    assert_eq!((&row["user"], &row["key_fingerprint"]), (&ALICE.into(), &"password and one-time code".into()), "{row}");

    let refused = |login: &str, typed: &str| told(Viewer::xfreerdp(port, "tls", login, typed, &[]).end());
    let on_record = |why: &str| {
        until(LIMIT, &format!("{why:?} on record"), || {
            let log = bastion.rows(&["audit", "list", "--type", "auth.failed"]);
            log.iter().any(|row| row.to_string().contains(why)).then_some(())
        });
    };
    let used = refused(&login(ALICE), &format!("{PASSWORD}{code}"));
    assert_eq!(used.1.first().map(String::as_str), Some("ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES"), "{used:?}");
    on_record("user `alice` by password: a one-time code that was used before");
    let is_as_used = |login: &str, typed: &str| assert_eq!(refused(login, typed), used, "{login}");
    // A user without one-time codes, with a code or without; nobody; no user, and no destination.
    is_as_used(&login("bob"), PASSWORD);
    is_as_used(&login("bob"), &format!("{PASSWORD}123456"));
    on_record("there is no password with one-time codes");
    is_as_used(&login("nobody"), &format!("{PASSWORD}{}", phone.code(1)));
    on_record("nobody by password");
    is_as_used(&desktop_of(&shadow), &format!("{PASSWORD}{}", phone.code(1)));
    is_as_used(ALICE, &format!("{PASSWORD}{}", phone.code(1)));
    on_record("USER+ACCOUNT@TARGET");
    is_as_used(&login(ALICE), &format!("wrong horse battery{}", phone.code(1)));
    on_record("user `alice` by password: wrong password");
    // The third failure locks the password out: then the right one is refused, too.
    is_as_used(&login(ALICE), &format!("{PASSWORD}000000"));
    is_as_used(&login(ALICE), &format!("{PASSWORD}{}", phone.code(1)));
    on_record("locked out until");

    // Whoever is in stays in; nothing began for anybody else.
    assert_eq!((bastion.only_session(), bastion.recordings_at_all().len()), (session.clone(), 1));
    viewer.screen.until_painted(ORANGE, 50);
    // A password that is set anew ends what was opened with the old one.
    bastion.doorward_with(&["user", "password", ALICE, "--stdin"], b"another horse battery").ok();
    let (_, words) = told(viewer.end());
    assert_eq!(words.first().map(String::as_str), Some("ERRINFO_RPC_INITIATED_DISCONNECT"), "{words:?}");
    assert_eq!(bastion.only_recording(), session);
    assert!(!bastion.audit().contains(PASSWORD));
    let said = bastion.stop();
    assert!(!said.text().contains(PASSWORD) && !said.text().contains(&phone.secret), "{said:?}");
}
