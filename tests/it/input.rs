//! What a user sends to a target is on record, whichever way it goes.

use serde_json::{Value, json};

use crate::fixture::bastion::{OPEN, recorded};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, own, until};
use crate::recordings::contains;
use crate::require;

/// What `closed.json` says of the session's first channel.
fn closed(bastion: &Bastion, session: &str) -> Value {
    let text = std::fs::read(bastion.closed_json(session)).unwrap();
    let closed: Value = serde_json::from_slice(&text).unwrap();
    closed["channels"][1].clone()
}

/// The header of its recording.
fn header(bastion: &Bastion, session: &str) -> Value {
    let text = bastion.export(session, "v3", &[]);
    serde_json::from_slice(text.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

/// What the bundle's coverage statement says of that channel.
fn coverage(bastion: &Bastion, session: &str) -> Value {
    let bundle = bastion.scratch().join("bundle");
    let identity = bastion.identity();
    let (to, identity) = (bundle.to_str().unwrap(), identity.to_str().unwrap());
    until(LIMIT, "a checkpoint over the session", || {
        let told = bastion.doorward(&["recording", "export", session, "--proof", to, "--identity", identity]);
        (told.code == Some(0)).then_some(())
    });
    let text = std::fs::read(bundle.join("coverage.json")).unwrap();
    let coverage: Value = serde_json::from_slice(&text).unwrap();
    coverage["channels"][1].clone()
}

#[test]
fn a_script_fed_through_a_terminal_is_recorded_though_keystrokes_are_not() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let script: String =
        (0..1000).map(|number| format!("{number:04} echo of what nobody would see on a screen\n")).collect();
    for mode in ["off", "echoed"] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&recorded(OPEN, &format!("input = \"{mode}\"")));
        bastion.serve();
        let seen = bastion.to(&sshd).run_with(&["-tt"], "stty -echo; head -n 1000 | wc -l", script.as_bytes());
        assert!(seen.out().contains("1000"), "{mode}: {seen:?}");
        let session = bastion.only_recording();
        let kept = bastion.export(&session, "raw", &["--stream", "stdin"]);
        assert!(kept == script.as_bytes(), "{mode}: {} of {} bytes", kept.len(), script.len());
        let stdin = closed(&bastion, &session)["stdin"].clone();
        assert_eq!(stdin, json!({ "bytes": script.len(), "recorded": script.len() }), "{mode}");
        assert_eq!(coverage(&bastion, &session)["stdin"]["in_full"], true, "{mode}");
    }
}

#[test]
fn keystrokes_that_are_kept_out_are_counted_and_the_statement_says_why() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    for (mode, why) in [("off", json!("input=off")), ("echoed", json!("input=echoed")), ("full", Value::Null)] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&recorded(OPEN, &format!("input = \"{mode}\"")));
        bastion.serve();
        let typed = b"hunter2\r";
        own::block_on(async {
            let client = own::Own::connect(&bastion.to(&sshd)).await;
            let mut channel = client.exec_on_pty("stty -echo; echo ready; read secret; echo done", 80, 24).await;
            own::read_until(&mut channel, "ready").await;
            for key in typed {
                channel.data_bytes(vec![*key]).await.unwrap();
            }
            own::finish(&mut channel, LIMIT).await;
        });
        let session = bastion.only_recording();
        let kept = if mode == "full" { typed.len() } else { 0 };
        let stdin = closed(&bastion, &session)["stdin"].clone();
        assert_eq!((&stdin["bytes"], &stdin["recorded"]), (&json!(typed.len()), &json!(kept)), "{mode}");
        assert_eq!(stdin["withheld"], why);
        let stdin = coverage(&bastion, &session)["stdin"].clone();
        assert_eq!((&stdin["bytes"], &stdin["recorded"]), (&json!(typed.len()), &json!(kept)), "{mode}");
        assert_eq!((&stdin["withheld"], &stdin["in_full"]), (&why, &json!(mode == "full")), "{mode}");
        assert_eq!(stdin["sha256"], Value::Null, "{mode}: a password could be guessed from it");
    }
}

#[test]
fn t20_a_password_is_kept_out_while_the_mouse_moves() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    for mode in ["off", "echoed"] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&recorded(OPEN, &format!("input = \"{mode}\"")));
        bastion.serve();
        own::block_on(async {
            let client = own::Own::connect(&bastion.to(&sshd)).await;
            let mut channel =
                client.exec_on_pty("stty -echo raw; echo ready; head -c 2250 > /dev/null; echo done", 80, 24).await;
            own::read_until(&mut channel, "ready").await;
            for (number, key) in (0_u32..).zip("hunter2ZQXJKVW".repeat(15).bytes()) {
                let moved = format!("\x1b[<35;{};20M", 10 + number % 80);
                channel.data_bytes(moved.into_bytes()).await.unwrap();
                if number % 15 == 0 {
                    channel.data_bytes(vec![key]).await.unwrap();
                }
            }
            own::finish(&mut channel, LIMIT).await;
        });
        let session = bastion.only_recording();
        // Status 1: it says how much was kept out.
        let raw = bastion.doorward(&["recording", "export", &session, "--format", "raw", "--stream", "stdin"]);
        let kept = raw.out();
        let letters: String =
            kept.split("\x1b[<").filter_map(|report| report.split_once('M')).map(|(_, rest)| rest).collect();
        assert_eq!(letters, "", "{mode}: {kept:?}");
        assert!(kept.contains("\x1b[<35;11;20M"), "{mode}: {kept:?}");
    }
}

#[test]
fn the_environment_and_the_modes_that_a_user_sets_are_on_record() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let word = format!("canary-{}", crate::fixture::nonce());
    let route = bastion.to(&sshd).with(&format!("SetEnv=LC_A={word} DW_X=refused"));
    assert_eq!(route.run("echo $LC_A$DW_X").out(), format!("{word}\n"));
    let session = bastion.only_recording();
    let header = header(&bastion, &session);
    assert_eq!((&header["env"]["LC_A"], &header["env"]["DW_X"]), (&json!(word), &Value::Null), "{header}");
    let v2 = bastion.export(&session, "v2", &[]);
    assert!(contains(&v2, word.as_bytes()));
}

#[test]
fn the_modes_of_a_terminal_are_on_record() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], "stty size"), 100, 30);
    until(LIMIT, "end of the command", || terminal.ended().then_some(()));
    let header = header(&bastion, &bastion.only_recording());
    // VERASE is 3 in RFC 4254 section 8, and Backspace sends 127.
    let modes = header["doorward"]["modes"].as_array().unwrap();
    assert!(modes.contains(&json!([3, 127])), "{header}");
}

#[test]
fn a_known_secret_in_a_command_line_is_not_recorded() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let text = std::fs::read_to_string(&sshd.key).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let secret = lines[lines.len() - 2];
    assert_eq!(bastion.to(&sshd).run(&format!("echo {secret}")).out(), format!("{secret}\n"));
    let session = bastion.only_recording();
    let header = header(&bastion, &session);
    assert!(header["command"].as_str().unwrap().starts_with("echo [vault:"), "{header}");
    assert!(!contains(&bastion.export(&session, "v3", &[]), secret.as_bytes()));
    assert_eq!(closed(&bastion, &session)["scrubbed"], 1);
    assert_eq!(coverage(&bastion, &session)["scrubbed"], 1);
}
