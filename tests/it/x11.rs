//! A user's display, lent to a target (`ssh -X`). Display and program are plain sockets that speak X11's first bytes; the
//! cookies go the way of real ones, by `xauth` on both sides.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::fixture::bastion::{ALICE, Bastion, DB1, OPEN};
use crate::fixture::process::run;
use crate::fixture::route::Route;
use crate::fixture::{LIMIT, Sshd, nonce};
use crate::require;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/x11_program.py");

const PROTOCOL: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// A user's X server: takes whoever has its cookie, and echoes.
struct Display {
    name: String,
    cookie: String,
    authority: PathBuf,
    /// Every byte that came.
    came: Arc<Mutex<Vec<u8>>>,
}

impl Display {
    fn start(bastion: &Bastion) -> Self {
        let (number, listener) = (10..2000)
            .find_map(|number| Some((number, TcpListener::bind(("127.0.0.1", 6000 + number)).ok()?)))
            .unwrap();
        let name = format!("127.0.0.1:{number}");
        let cookie: String = [nonce(), nonce(), nonce()].concat()[..32].to_owned();
        let authority = bastion.scratch().join("Xauthority");
        let mut xauth = Command::new("xauth");
        xauth.arg("-f").arg(&authority).args(["add", &name, "MIT-MAGIC-COOKIE-1", &cookie]);
        run(xauth, b"", LIMIT).ok();
        let came = Arc::new(Mutex::new(Vec::new()));
        let (wanted, seen) = (cookie.clone(), Arc::clone(&came));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (wanted, seen) = (wanted.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream, &wanted, &seen));
            }
        });
        Self { name, cookie, authority, came }
    }

    /// `ssh -Y` with this display.
    fn ssh(&self, route: &Route, command: &str) -> Command {
        let mut ssh = route.ssh(&["-Y"], command);
        ssh.env("DISPLAY", &self.name).env("XAUTHORITY", &self.authority);
        ssh
    }
}

/// The set-up of a connection (X Window System Protocol, section 8), then an echo.
fn serve(mut stream: TcpStream, cookie: &str, seen: &Mutex<Vec<u8>>) {
    let mut setup = [0; 12 + 20 + 16];
    if stream.read_exact(&mut setup).is_err() {
        return;
    }
    seen.lock().unwrap().extend_from_slice(&setup);
    let shown: String = setup[32..].iter().map(|byte| format!("{byte:02x}")).collect();
    if &setup[12..30] != PROTOCOL || shown != cookie {
        let _ = stream.write_all(b"no");
        return;
    }
    let _ = stream.write_all(b"ok");
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        seen.lock().unwrap().extend_from_slice(&bytes[..count]);
        if stream.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

fn lending() -> String {
    let text = OPEN.replace(r#"["shell", "exec"]"#, r#"["shell", "exec", "x11"]"#);
    assert_ne!(text, OPEN, "the rules have no such channels");
    text
}

#[test]
fn a_lent_display_shows_the_targets_programs_and_of_that_only_the_facts_are_on_record() {
    require!("sshd", "ssh", "xauth", "python3");
    let sshd = Sshd::with(&["X11Forwarding yes"]);
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending());
    bastion.serve();
    let display = Display::start(&bastion);
    let word = nonce();
    let seen = run(display.ssh(&bastion.to(&sshd), &format!("/usr/bin/python3 {PROGRAM} {word}")), b"", LIMIT).ok();
    assert_eq!(seen.out(), format!("ok {word}\nok {word}\n"));
    bastion.empties(LIMIT);
    let rows = bastion.rows(&["audit", "list", "--type", "forward"]);
    assert_eq!(rows.iter().filter(|row| row["class"] == "x11").count(), 2, "{rows:?}");
    let session = bastion.only_recording();
    let text = String::from_utf8(bastion.export(&session, "v3", &["--channel", "2"])).unwrap();
    assert!(text.contains("x11, asked for by 127.0.0.1 port"), "{text}");
    let shell = String::from_utf8(bastion.export(&session, "v3", &["--channel", "1"])).unwrap();
    assert!(shell.contains("the user lends their display, while this channel is open"), "{shell}");
    // The program itself prints the word; what went to the display is nowhere, and neither is a cookie.
    assert!(!text.contains(&word) && !text.contains(&display.cookie), "{text}");
    assert!(!shell.contains(&display.cookie) && !bastion.audit().contains(&display.cookie));

    // By a jump too.
    let outer = bastion.login(ALICE).ssh(&["-W", &format!("{DB1}:22")], "");
    let words = [outer.get_program()].into_iter().chain(outer.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let inner = bastion.to(&sshd).login(&sshd.account).with(&format!("ProxyCommand={}", words.join(" ")));
    let seen = run(display.ssh(&inner, &format!("/usr/bin/python3 {PROGRAM} {word}")), b"", LIMIT).ok();
    assert_eq!(seen.out(), format!("ok {word}\nok {word}\n"));
}

#[test]
fn t06_without_its_switch_no_display_is_lent_and_that_is_on_record() {
    require!("sshd", "ssh", "xauth");
    let sshd = Sshd::with(&["X11Forwarding yes"]);
    let bastion = Bastion::serving(&sshd);
    let display = Display::start(&bastion);
    let seen = run(display.ssh(&bastion.to(&sshd), "echo [$DISPLAY]"), b"", LIMIT).ok();
    assert_eq!(seen.out(), "[]\n");
    bastion.empties(LIMIT);
    let log = bastion.audit();
    assert_eq!(log.matches("x11: no rule opens x11 for this user at this destination").count(), 1, "{log}");
    assert!(!log.contains(&display.cookie), "{log}");
    assert!(display.came.lock().unwrap().is_empty());
}

#[test]
fn a_target_that_takes_no_display_runs_the_program_all_the_same() {
    require!("sshd", "ssh", "xauth");
    let sshd = Sshd::with(&["X11Forwarding no", "AllowAgentForwarding no"]);
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&lending());
    bastion.serve();
    let display = Display::start(&bastion);
    let seen = run(display.ssh(&bastion.to(&sshd), "echo [$DISPLAY]"), b"", LIMIT).ok();
    assert_eq!(seen.out(), "[]\n");
    bastion.empties(LIMIT);
    let session = bastion.only_recording();
    let shell = String::from_utf8(bastion.export(&session, "v3", &["--channel", "1"])).unwrap();
    assert!(shell.contains("the user lends their display, which the target does not take"), "{shell}");
}
