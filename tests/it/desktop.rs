//! The process of one desktop between real programs: what is seen, what is typed, what is refused, and how it ends. The
//! bastion's side of it is played.

use std::time::Duration;

use doorward::rdp::control::{FromProcess, Refused, Security, ToProcess};

use crate::fixture::played::{Part, Played};
use crate::fixture::rdp::{Shadow, Viewer, Xrdp};
use crate::fixture::screen::{Colour, Picture};
use crate::fixture::{LIMIT, holds, until};

const GREEN: Colour = Colour(0x20, 0xa0, 0x40);
const BLUE: Colour = Colour(0x30, 0x50, 0xc0);

fn part(shadow: &Shadow) -> Part {
    Part::new(shadow.port, &shadow.fingerprint, &shadow.account, &shadow.password)
}

#[test]
fn a_desktop_with_nla_on_both_legs_is_seen_typed_on_and_ended_with_a_reason() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xdotool", "import", "xsetroot", "xterm");
    let shadow = Shadow::start(GREEN);
    let bastion = Played::start(part(&shadow));
    let viewer = Viewer::xfreerdp(bastion.port, "nla", "t-7f3a", "Ticket-Secret-1", &[]);
    viewer.screen.until_painted(GREEN, 50);
    bastion.until("login", |said| said.iter().any(|said| matches!(said, FromProcess::LoggedIn(Ok(())))).then_some(()));

    bastion.tell(&ToProcess::Look);
    let png = bastion.until("picture", |said| {
        said.iter().find_map(|said| if let FromProcess::Picture(png) = said { Some(png.clone()) } else { None })
    });
    let picture = Picture::of_png(&png.unwrap());
    assert_eq!((picture.width, picture.height), (800, 600));
    assert!(picture.percent(GREEN) > 90, "{}%", picture.percent(GREEN));

    let typed = shadow.terminal();
    bastion.tell(&ToProcess::Hold(true));
    bastion.until("record of the pause", |said| recorded(said, b"\"event\":\"held\"").then_some(()));
    viewer.screen.type_text("lost");
    viewer.screen.press("Return");
    holds(Duration::from_millis(500), "nothing typed", || typed.is_waiting());
    bastion.tell(&ToProcess::Hold(false));
    bastion.until("record of its end", |said| recorded(said, b"\"on\":false").then_some(()));
    viewer.screen.type_text("seen");
    viewer.screen.press("Return");
    assert_eq!(typed.line(), "seen");
    assert!(bastion.has_said(|said| matches!(said, FromProcess::Active)));

    bastion.tell(&ToProcess::End(Refused { code: 3, why: "ended by bob".to_owned() }));
    assert_eq!(bastion.ended(), "ended by bob");
    let (_, said) = viewer.end();
    // ERRINFO_IDLE_TIMEOUT, as the code says.
    assert!(said.contains("ERRINFO_IDLE_TIMEOUT"), "{said}");
    let secrets = [shadow.password.as_bytes(), b"Ticket-Secret-1"];
    let recorded = bastion.recorded();
    for secret in secrets {
        assert!(!recorded.windows(secret.len()).any(|window| window == secret));
        let wide: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
        assert!(!recorded.windows(wide.len()).any(|window| window == wide));
        assert!(!bastion.log().contains(std::str::from_utf8(secret).unwrap()));
    }
}

#[test]
fn a_desktop_with_tls_on_both_legs_is_seen_and_typed_on() {
    crate::require!("Xvfb", "xfreerdp", "xrdp", "xrdp-sesman", "xdotool", "import", "xsetroot", "xterm", "openssl");
    if !crate::fixture::root() {
        return;
    }
    let xrdp = Xrdp::start(BLUE);
    let mut part = Part::new(xrdp.port, &xrdp.fingerprint, &xrdp.account.name, &xrdp.account.password);
    part.permitted.allow_tls_only = true;
    let bastion = Played::start(part);
    let viewer = Viewer::xfreerdp(bastion.port, "tls", "alice+administrator@win1", "Alice-1", &[]);
    viewer.screen.until_painted(BLUE, 40);
    xrdp.until_terminal();
    viewer.screen.type_text("typed");
    viewer.screen.press("Return");
    assert_eq!(xrdp.line(), "typed");
}

#[test]
fn rdesktop_sees_a_target_that_wants_nla_and_leaves_when_it_likes() {
    crate::require!("Xvfb", "rdesktop", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let shadow = Shadow::start(GREEN);
    let mut part = part(&shadow);
    // Where NLA is offered, it tries Kerberos first, and does not always come back.
    part.offered = vec![Security::Tls];
    let bastion = Played::start(part);
    let viewer = Viewer::rdesktop(bastion.port, "alice+administrator@win1", "Alice-1");
    viewer.screen.until_painted(GREEN, 50);
    drop(viewer);
    let left = |said: &FromProcess| matches!(said, FromProcess::Ended { why } if why == "the user left");
    bastion.until("end", |said| said.iter().any(left).then_some(()));
}

#[test]
fn a_target_that_has_less_than_its_entry_wants_or_another_password_is_left() {
    crate::require!(
        "Xvfb",
        "xfreerdp",
        "freerdp-shadow-cli",
        "winpr-hash",
        "xrdp",
        "xrdp-sesman",
        "xsetroot",
        "openssl"
    );
    if !crate::fixture::root() {
        return;
    }
    let shadow = Shadow::start(GREEN);
    let mut wrong = part(&shadow);
    wrong.credential.1 = "another".to_owned();
    let xrdp = Xrdp::start(BLUE);
    let weaker = Part::new(xrdp.port, &xrdp.fingerprint, &xrdp.account.name, &xrdp.account.password);
    let gone = Part::new(1, "", "", "");
    for (part, expected) in [
        (wrong, "the target does not take the credential"),
        (weaker, "the target has no NLA, and its entry does not allow TLS alone"),
        (gone, "the target cannot be reached: "),
    ] {
        let bastion = Played::start(part);
        let viewer = Viewer::xfreerdp(bastion.port, "tls", "alice+administrator@win1", "Alice-1", &[]);
        let why = bastion.ended();
        assert!(why.starts_with(expected), "{why}");
        let (_, said) = viewer.end();
        assert!(said.contains("ERRINFO_SERVER_DENIED_CONNECTION"), "{said}");
    }
}

#[test]
fn a_stranger_who_sends_something_else_ends_one_process() {
    let bastion = Played::start(Part::new(1, "", "", ""));
    let mut stranger = std::net::TcpStream::connect(("127.0.0.1", bastion.port)).unwrap();
    std::io::Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(bastion.ended(), "the user's program: malformed first byte of a message");

    let bastion = Played::start(Part::new(1, "", "", ""));
    let mut stranger = std::net::TcpStream::connect(("127.0.0.1", bastion.port)).unwrap();
    // A request for TLS, and data before it that would be taken for what was said inside.
    let request = [3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3, 0, 0, 0];
    std::io::Write::write_all(&mut stranger, &[&request[..], &[3, 0, 0, 7, 2, 0xf0, 0x80]].concat()).unwrap();
    assert_eq!(bastion.ended(), "the user's program: malformed data before TLS");
}

/// Threat T25: who takes over the process that parses what strangers send gains that one desktop.
#[test]
fn the_process_of_a_desktop_is_confined_before_a_peer_is_read() {
    let bastion = Played::start(Part::new(1, "", "", ""));
    // Nothing of what this one sends is there yet.
    let stranger = std::net::TcpStream::connect(("127.0.0.1", bastion.port)).unwrap();
    let pid = until(LIMIT, "process", || bastion.started());
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = || file("status").lines().map(|line| line.replace('\t', " ")).collect::<Vec<_>>();
    let has = |line: &str| status().iter().any(|other| other == line);
    // The filters come last of all that confines.
    until(LIMIT, "filters", || has("Seccomp_filters: 3").then_some(()));
    assert!(has("Seccomp: 2"), "{:?}", status());
    let none = "0000000000000000";
    assert!(has("NoNewPrivs: 1"), "{:?}", status());
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(has(&format!("{set}: {none}")), "{set}: {:?}", status());
    }
    assert!(!status().iter().any(|line| line.starts_with("Uid: 0 ")), "{:?}", status());
    let limits = file("limits");
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().nth(1)).map(str::to_owned)
    };
    for (name, most) in [
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max open files", "48"),
        ("Max address space", "4294967296"),
    ] {
        assert_eq!(limit(name).as_deref(), Some(most), "{name}: {limits}");
    }
    // All of its threads are under the filter, not the first alone.
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("Seccomp:\t2"), "{status}");
    }
    drop(stranger);
    bastion.ended();
}

#[test]
fn a_bastion_that_is_gone_leaves_no_desktop_behind() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "import", "xsetroot");
    let shadow = Shadow::start(GREEN);
    let bastion = Played::start(part(&shadow));
    let viewer = Viewer::xfreerdp(bastion.port, "nla", "t-7f3a", "Ticket-Secret-1", &[]);
    viewer.screen.until_painted(GREEN, 50);
    let pid = bastion.pid();
    bastion.hang_up();
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_RPC_INITIATED_DISCONNECT"), "{said}");
    crate::fixture::until(crate::fixture::LIMIT, "end of the process", || {
        (!crate::fixture::process::alive(pid)).then_some(())
    });
}

#[test]
fn a_wrong_ticket_a_wrong_secret_and_a_wrong_password_get_nowhere() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot");
    let shadow = Shadow::start(GREEN);
    for (security, login, password) in
        [("nla", "t-7f3a", "wrong"), ("nla", "t-0000", "Ticket-Secret-1"), ("tls", "alice+administrator@win1", "wrong")]
    {
        let bastion = Played::start(part(&shadow));
        let viewer = Viewer::xfreerdp(bastion.port, security, login, password, &[]);
        let (code, said) = viewer.end();
        assert_ne!(code, Some(0), "{said}");
        let why = bastion.ended();
        assert!(why == "the ticket or its secret is wrong" || why == "not permitted", "{why}");
        let word = if security == "nla" { "LOGON_FAILURE" } else { "ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES" };
        assert!(said.contains(word), "{said}");
        assert!(!bastion.has_said(|said| matches!(said, FromProcess::Checked { .. })));
    }
}

#[test]
fn a_target_with_another_certificate_gets_no_credential() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot");
    let shadow = Shadow::start(GREEN);
    let mut part = part(&shadow);
    part.permitted.pin = doorward::rdp::control::Pin::Fingerprints(vec!["00".repeat(32)]);
    let bastion = Played::start(part);
    let viewer = Viewer::xfreerdp(bastion.port, "nla", "t-7f3a", "Ticket-Secret-1", &[]);
    let why = bastion.ended();
    assert!(why.contains(&shadow.fingerprint), "{why}");
    assert!(
        bastion.has_said(|said| matches!(said, FromProcess::WrongCertificate { got } if *got == shadow.fingerprint))
    );
    assert!(!bastion.has_said(|said| matches!(said, FromProcess::Checked { .. })));
    let (_, said) = viewer.end();
    assert!(said.contains("ERRINFO_SERVER_DENIED_CONNECTION"), "{said}");
}

#[test]
fn nothing_is_shown_before_it_is_on_disk() {
    crate::require!("Xvfb", "xfreerdp", "freerdp-shadow-cli", "winpr-hash", "xsetroot", "import");
    let shadow = Shadow::start(GREEN);
    let mut part = part(&shadow);
    part.durable = false;
    let bastion = Played::start(part);
    let viewer = Viewer::xfreerdp(bastion.port, "nla", "t-7f3a", "Ticket-Secret-1", &[]);
    bastion.until("login", |said| said.iter().any(|said| matches!(said, FromProcess::LoggedIn(Ok(())))).then_some(()));
    // The first message that sets the desktop up waits, and with it everything.
    holds(Duration::from_secs(1), "nothing shown", || viewer.screen.picture().percent(GREEN) == 0);
    bastion.tell(&ToProcess::Durable { through: u64::MAX });
    viewer.screen.until_painted(GREEN, 50);
}

#[test]
fn a_program_that_speaks_less_than_is_offered_is_told_what_is_wanted() {
    crate::require!("Xvfb", "xfreerdp");
    let mut part = Part::new(1, "", "", "");
    part.offered = vec![Security::Nla];
    let bastion = Played::start(part);
    let viewer = Viewer::xfreerdp(bastion.port, "tls", "alice", "x", &[]);
    let (_, said) = viewer.end();
    assert!(said.contains("HYBRID_REQUIRED_BY_SERVER"), "{said}");
    assert_eq!(bastion.ended(), "the user's program speaks none of what the listener offers");
}

fn recorded(said: &[FromProcess], text: &[u8]) -> bool {
    let has = |record: &[u8]| record.windows(text.len()).any(|window| window == text);
    said.iter().any(|said| matches!(said, FromProcess::Record(record) if has(record)))
}
