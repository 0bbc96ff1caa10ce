//! What was on the screen is what the recording holds, and what other programs play.

use std::process::Command;

use crate::fixture::bastion::{OPEN, id, recorded};
use crate::fixture::process::Stdout;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Running, Sshd, sha256, until};
use crate::require;

#[test]
fn a_raw_export_is_what_the_client_saw() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    for durability in ["strict", "bounded"] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&recorded(OPEN, &format!(r#"durability = "{durability}""#)));
        bastion.serve();
        let mut before: Vec<String> = Vec::new();
        for command in [
            "echo text",
            "printf 'no newline'",
            "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done",
            "printf 'caf\\303'; sleep 0.05; printf '\\251 \\377\\376\\r\\n\\033[2J'",
            "head -c 300000 /dev/zero; seq 1 50000; echo error >&2; printf '\\200\\201' >&2; exit 3",
            // Threat T12: output that looks like the recording's own lines.
            "printf '\\n[0.1,\"o\",\"forged\"]\\n{\"version\":3}\\n[9,\"x\",\"0\"]\\n\"]\\n'",
        ] {
            let seen = bastion.to(&sshd).run(command);
            let ids: Vec<String> = bastion.recordings().iter().map(id).collect();
            let new = ids.iter().find(|one| !before.contains(one)).unwrap();
            assert!(bastion.export(new, "raw", &["--stream", "stdout"]) == seen.stdout, "{command}: stdout differs");
            assert!(bastion.export(new, "raw", &["--stream", "stderr"]) == seen.stderr, "{command}: stderr differs");
            before = ids;
        }
    }
}

#[test]
fn input_without_a_terminal_is_recorded() {
    // Failure class 4: `ssh host bash < script` must not go unrecorded.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let script = b"echo from a script\nexit 3\n";
    assert_eq!(bastion.to(&sshd).run_with(&[], "sh", script).code, Some(3));
    let session = bastion.only_recording();
    assert_eq!(bastion.export(&session, "raw", &["--stream", "stdin"]), script);
}

#[test]
fn keys_pressed_on_a_terminal_are_not_recorded() {
    // Threat T20: a password typed at a prompt without echo is in no recording.
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let canary = format!("canary{}", crate::fixture::nonce());
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    terminal.line("PS1=; stty -echo; printf 'Pass%s: ' word; read -r p; stty echo; echo got-${#p}");
    terminal.shows("Password: ");
    terminal.line(&canary);
    terminal.shows(&format!("got-{}", canary.len()));
    terminal.line("exit");
    let session = bastion.only_recording();
    for format in ["v3", "raw"] {
        let kept = bastion.export(&session, format, &[]);
        assert!(!String::from_utf8_lossy(&kept).contains(&canary), "the password is in the {format} export");
    }
    for file in files(&bastion.data()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!contains(&bytes, canary.as_bytes()), "the password is in {}", file.display());
    }
}

#[test]
fn the_v3_export_is_asciicast_with_our_facts() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    assert_eq!(bastion.to(&sshd).run("echo a; echo b >&2; exit 4").code, Some(4));
    let session = bastion.only_recording();
    let text = String::from_utf8(bastion.export(&session, "v3", &[])).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let header: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);
    assert!(header["term"]["cols"].is_u64() && header["term"]["rows"].is_u64(), "{header}");
    let facts = &header["doorward"];
    assert_eq!(
        (&facts["session"], &facts["user"], &facts["account"], &facts["target"]),
        (&session.as_str().into(), &"alice".into(), &sshd.account.as_str().into(), &"db1".into())
    );
    let events: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event[0].as_f64().is_some_and(|seconds| seconds >= 0.0)), "{events:?}");
    // A target may tell the status before the last output.
    let statuses: Vec<&serde_json::Value> =
        events.iter().filter(|event| event[1] == "x").map(|event| &event[2]).collect();
    assert_eq!(statuses, ["4"], "{events:?}");
    let output: String = events.iter().filter(|event| event[1] == "o").filter_map(|event| event[2].as_str()).collect();
    assert_eq!((output.contains("a\n"), output.contains("b\n")), (true, true), "{events:?}");
}

#[test]
fn beyond_the_cap_a_digest_tells_what_passed() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&recorded(OPEN, r#"exec_cap = "1MiB""#));
    bastion.serve();
    let seen = bastion.to(&sshd).run("seq 1 1000000");
    let session = bastion.only_recording();
    // The first part is kept in full; of the rest count and SHA-256, over all from the first byte.
    let raw = bastion.doorward(&["recording", "export", &session, "--format", "raw"]);
    // Whole packets, so up to one of them less than the cap.
    let kept = raw.stdout.len();
    assert!(kept > (1 << 20) - (1 << 15) && kept <= 1 << 20, "{kept} bytes kept");
    assert!(seen.stdout.starts_with(&raw.stdout), "what is kept differs");
    let v3 = bastion.doorward(&["recording", "export", &session, "--format", "v3"]);
    let last = v3.out().lines().rfind(|line| line.contains("\"d\"")).map(str::to_owned).unwrap_or_default();
    assert!(last.contains(&sha256(&seen.stdout)), "no digest of all: {last}");
    assert!(last.contains(&seen.stdout.len().to_string()), "no count of all: {last}");
}

#[test]
fn under_digest_no_byte_is_kept_and_all_are_counted() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&recorded(OPEN, r#"exec = "digest", stdin = "digest""#));
    bastion.serve();
    let word = format!("word{}", crate::fixture::nonce());
    let seen = bastion.to(&sshd).run_with(&[], "cat", word.repeat(1000).as_bytes()).ok();
    let session = bastion.only_recording();
    let v3 = bastion.doorward(&["recording", "export", &session, "--format", "v3"]);
    assert!(!contains(&v3.stdout, word.as_bytes()), "bytes are in the recording");
    assert!(v3.out().contains(&sha256(&seen.stdout)), "{v3:?}");
    // A hash that everybody may read is as good as the word, where the word can be guessed; T20.
    let closed = std::fs::read_to_string(bastion.closed_json(&session)).unwrap();
    assert!(closed.contains(&seen.stdout.len().to_string()), "{closed}");
    assert!(!closed.contains(&sha256(&seen.stdout)), "{closed}");
}

#[test]
fn nothing_that_was_recorded_can_be_read_without_an_auditor() {
    // Promise P4: a stolen state directory yields no recorded byte.
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let word = format!("canary-{}", crate::fixture::nonce());
    let command = format!("echo {word}; cat");
    let seen = bastion.to(&sshd).run_with(&[], &command, word.as_bytes()).ok();
    assert_eq!(seen.out(), format!("{word}\n{word}"));
    let session = bastion.only_recording();
    assert!(contains(&bastion.export(&session, "v3", &[]), word.as_bytes()));
    for file in files(&bastion.data()) {
        assert!(!contains(&std::fs::read(&file).unwrap(), word.as_bytes()), "it is in {}", file.display());
    }
    let stranger = bastion.scratch().join("stranger.key");
    let mut init = Command::new(crate::fixture::bastion::program());
    init.arg("init").arg("--dir").arg(bastion.scratch().join("other")).arg("--make-auditor").arg(&stranger);
    crate::fixture::process::run(init, b"", LIMIT).ok();
    let told = bastion.doorward(&["recording", "export", &session, "--identity", stranger.to_str().unwrap()]);
    assert!(told.code == Some(1) && told.err().contains("other auditors"), "{told:?}");
    assert!(told.stdout.is_empty());
}

#[test]
fn keystrokes_are_recorded_as_the_policy_says() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    for (mode, typed, hidden) in [("off", false, false), ("echoed", true, false), ("full", true, true)] {
        let mut bastion = Bastion::furnished(&sshd);
        bastion.policy(&recorded(OPEN, &format!("input = \"{mode}\"")));
        bastion.serve();
        let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
        terminal.line("printf 'pass%s: ' word; read -rs secret; echo read-${#secret}");
        terminal.shows("password:");
        terminal.line("typed-in-the-dark");
        terminal.shows("read-17");
        terminal.line("exit");
        until(LIMIT, "end of the shell", || terminal.ended().then_some(()));
        let session = bastion.only_recording();
        let all = String::from_utf8(bastion.export(&session, "v3", &[])).unwrap();
        let lines = all.lines().skip(1).map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap());
        let input: String = lines.filter(|(_, code, _)| code == "i").map(|(_, _, text)| text).collect();
        assert_eq!(input.contains("read -rs secret"), typed, "{mode}: {input:?}");
        assert_eq!(input.contains("typed-in-the-dark"), hidden, "{mode}: {input:?}");
        assert_eq!(input.matches("[redacted]").count(), usize::from(mode == "echoed"), "{mode}: {input:?}");
        let screen = String::from_utf8(bastion.export(&session, "raw", &[])).unwrap();
        assert_eq!(screen.contains("keystrokes"), typed, "{mode}: the user is told what is recorded");
        assert!(!screen.contains("typed-in-the-dark"), "{mode}");
    }
}

#[test]
fn without_an_auditor_no_server_starts() {
    let bastion = Bastion::init();
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("auditors = ")).collect();
    std::fs::write(bastion.config(), without.join("\n")).unwrap();
    let told = bastion.doorward(&["serve"]);
    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err().contains("auditor") && told.err().contains("age-keygen"), "{told:?}");
}

#[test]
fn each_channel_has_its_own_recording() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    for number in 1..=3 {
        assert_eq!(master.route.run(&format!("echo channel {number}")).code, Some(0));
    }
    drop(master);
    let rows = bastion.recordings();
    let channel = |number| serde_json::json!({ "number": number, "class": "exec", "pty": false });
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["channels"], serde_json::json!([channel(1), channel(2), channel(3)]));
    for number in 1..=3 {
        let kept = bastion.export(&id(&rows[0]), "raw", &["--channel", &number.to_string()]);
        assert_eq!(kept, format!("channel {number}\n").into_bytes());
        let v3 = bastion.export(&id(&rows[0]), "v3", &["--channel", &number.to_string()]);
        assert!(contains(&v3, format!("\"command\":\"echo channel {number}\"").as_bytes()), "the command is missing");
    }
}

#[test]
fn a_hostile_recording_does_not_reach_the_auditors_terminal() {
    // Threat T13: what replay writes is a screen that an emulator drew, never the recorded bytes.
    require!("sshd", "ssh", "script");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let attack = "printf 'visible\\n\\033]52;c;Y2FuYXJ5\\007\\033]0;title\\007\\033P$qm\\033\\\\\\033[6n\\033[c\\033]8;;http://evil\\007x\\n'";
    bastion.to(&sshd).run_with(&["-tt"], attack, b"");
    let session = bastion.only_recording();
    let mut replay = Command::new("script");
    let doorward = crate::fixture::bastion::program();
    let line = format!(
        "{} --config {} recording replay {session} --identity {} --speed 64 --quit",
        doorward.display(),
        bastion.config().display(),
        bastion.identity().display()
    );
    replay.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm");
    let replayed = Running::start(replay, Stdout::Gathered).wait_with_open_stdin(LIMIT);
    for told in [replayed, bastion.doorward(&["recording", "export", &session, "--format", "txt"])] {
        assert!(told.out().contains("visible"), "{told:?}");
        for bad in ["\u{1b}]52", "\u{1b}]0;", "\u{1b}P", "\u{1b}[6n", "\u{1b}[c", "evil\u{7}"] {
            assert!(!told.out().contains(bad), "{bad:?} reached the terminal: {told:?}");
        }
    }
}

#[test]
fn two_sessions_at_once_have_two_recordings() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let words: Vec<String> = (0..8).map(|_| crate::fixture::nonce()).collect();
    let workers: Vec<_> = words
        .iter()
        .map(|word| {
            let (route, command) = (bastion.to(&sshd), format!("echo {word}; sleep 0.2; echo {word}"));
            std::thread::spawn(move || route.run(&command).ok())
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let mut kept: Vec<String> = bastion
        .recordings()
        .iter()
        .map(|row| String::from_utf8(bastion.export(&id(row), "raw", &[])).unwrap())
        .collect();
    let mut wanted: Vec<String> = words.iter().map(|word| format!("{word}\n{word}\n")).collect();
    kept.sort();
    wanted.sort();
    assert_eq!(kept, wanted);
}

/// Every file under a folder.
pub fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

/// Whether `bytes` hold `word`.
pub fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn what_a_pattern_matches_is_left_out_of_an_export_and_stays_in_the_recording() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    bastion.to(&sshd).run("echo 'token=4711 and more'; echo token=err >&2").ok();
    let session = bastion.only_recording();
    let rules = bastion.scratch().join("rules");
    std::fs::write(&rules, "token=[a-z0-9]+\n").unwrap();
    let export = |format: &str, more: &[&str]| String::from_utf8(bastion.export(&session, format, more)).unwrap();
    let redact = ["--redact", rules.to_str().unwrap()];
    assert_eq!(export("txt", &redact), "[redacted] and more\nstderr: [redacted]\n");
    assert_eq!(export("raw", &redact), "[redacted] and more\n");
    let v3 = export("v3", &redact);
    // The command line has them, too.
    assert!(!v3.contains("token=") && v3.contains("2 places of this channel left out"), "{v3}");
    assert_eq!(export("raw", &[]), "token=4711 and more\n");
    std::fs::write(&rules, "x*\n").unwrap();
    let told = bastion.doorward(&["recording", "export", &session, "--redact", redact[1]]);
    assert!(told.code == Some(2) && told.stdout.is_empty() && told.err().contains("line 1"), "{told:?}");
}
