//! Programs of others read what we write: asciinema's player and its programs, and age.

use std::path::{Path, PathBuf};
use std::process::Command;

use doorward::auditor::Identity;
use doorward::seal::Dek;
use doorward::secret::Secret;
use serde_json::Value;

use crate::fixture::process::run;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, until};
use crate::require;

/// What a session on a terminal leaves, exported in both forms.
struct Exported {
    bastion: Bastion,
    v3: PathBuf,
    v2: PathBuf,
    /// The bytes that were on the wire to the terminal.
    raw: Vec<u8>,
}

/// Colours, characters beyond ASCII, bytes that are no UTF-8, a resized window, and the status 3.
fn exported() -> Exported {
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    terminal.line("PS1='$ '; printf '\\033[1mbold\\033[0m caf\\303\\251 \\377\\n'; echo said-$((40+2))");
    terminal.shows("said-42");
    terminal.resize(120, 40);
    terminal.line("stty size; exit 3");
    until(LIMIT, "end of the shell", || terminal.ended().then_some(()));
    let session = bastion.only_recording();
    let (v3, v2) = (bastion.scratch().join("v3.cast"), bastion.scratch().join("v2.cast"));
    std::fs::write(&v3, bastion.export(&session, "v3", &[])).unwrap();
    std::fs::write(&v2, bastion.export(&session, "v2", &[])).unwrap();
    let raw = bastion.export(&session, "raw", &[]);
    Exported { bastion, v3, v2, raw }
}

/// Where `make readers` has put a program, if it could; prints that the test is skipped if not.
fn reader(name: &str) -> Option<PathBuf> {
    // The test lies in TARGET/PROFILE/deps/.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let found = target.join("readers").join(name);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: there is no {}; `make readers` fetches it", found.display());
    None
}

/// The events of an asciicast file, its header left out.
fn events(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('['));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data of all events of one kind, joined.
fn all_of(code: &str, events: &[Value]) -> String {
    events.iter().filter(|event| event[1] == code).filter_map(|event| event[2].as_str()).collect()
}

#[test]
fn the_present_asciinema_reads_both_exports_with_their_text_and_the_end_status() {
    require!("sshd", "ssh", "tmux");
    let Some(asciinema) = reader("asciinema/bin/asciinema") else { return };
    let exported = exported();
    let convert = |from: &Path, form: &str| {
        let to = from.with_extension(form);
        let mut convert = Command::new(&asciinema);
        convert.args(["convert", "--overwrite", "--output-format", form]).args([from, &to]);
        // It reads its configuration from a home, and this machine's is not ours to read.
        convert.env("HOME", exported.bastion.scratch()).env("LC_ALL", "C.UTF-8");
        run(convert, b"", LIMIT).ok();
        to
    };
    // The older form has no event for how a program ended: there it is the last marker.
    for (from, code, end) in [(&exported.v3, "x", "3"), (&exported.v2, "m", "exit 3")] {
        let text = std::fs::read_to_string(convert(from, "txt")).unwrap();
        assert!(text.contains("bold café") && text.contains("said-42"), "{text}");
        assert!(text.contains("40 120"), "the new size is not in {text}");
        let again = events(&convert(from, "asciicast-v3"));
        let ours = events(from);
        assert_eq!(all_of("o", &again), all_of("o", &ours), "the output");
        assert_eq!(all_of("r", &again), all_of("r", &ours), "the sizes");
        assert_eq!(all_of("r", &again), "120x40");
        let last = again.last().unwrap();
        assert_eq!((last[1].as_str(), last[2].as_str()), (Some(code), Some(end)), "the end status in {again:?}");
    }
    // The whole recording, byte for byte: `b` has what is no UTF-8.
    let output = all_of("o", &events(&exported.v3));
    assert_eq!(output, String::from_utf8_lossy(&exported.raw));
}

#[test]
fn the_older_asciinema_plays_the_older_form() {
    require!("sshd", "ssh", "tmux", "script", "asciinema");
    let exported = exported();
    // It wants a terminal of its own.
    let mut player = Command::new("script");
    player.args(["-qec", &format!("asciinema cat {}", exported.v2.display()), "/dev/null"]).env("LC_ALL", "C.UTF-8");
    let played = run(player, b"", LIMIT).ok();
    assert!(played.out().contains("said-42"), "{played:?}");
    assert!(played.out().contains("\u{1b}[1mbold\u{1b}[0m café"), "{played:?}");
}

#[test]
fn the_players_core_plays_both_exports() {
    require!("sshd", "ssh", "tmux");
    let Some(modules) = reader("player/node_modules") else { return };
    let exported = exported();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/player/play.mjs");
    let mut node = Command::new("node");
    node.arg(program).args([&modules, &exported.v3, &exported.v2]);
    let told = run(node, b"", LIMIT).ok().out();
    let played: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(played.len(), 2, "{told}");
    for played in &played {
        assert_eq!(played["output"], String::from_utf8_lossy(&exported.raw).as_ref());
        assert_eq!(played["sizes"], serde_json::json!(["120x40"]));
    }
    assert_eq!(played[1]["markers"].as_array().and_then(|markers| markers.last()), Some(&Value::from("exit 3")));
}

#[test]
fn age_opens_an_envelope_to_the_key_of_its_session() {
    require!("sshd", "ssh", "age");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    bastion.to(&sshd).run("echo in").ok();
    let session = bastion.only_recording();
    let envelope = bastion.data().join(format!("env/{session}.age"));
    let mut age = Command::new("age");
    age.arg("--decrypt").arg("--identity").arg(bastion.identity()).arg(&envelope);
    let key = run(age, b"", LIMIT).ok().stdout;
    let identity = Secret::new(std::fs::read_to_string(bastion.identity()).unwrap());
    let identities = Identity::parse_file(&identity).unwrap();
    let ours = Dek::from_envelope(&std::fs::read(&envelope).unwrap(), &identities).unwrap();
    assert!(key == ours.expose(), "age gives {} bytes", key.len());

    let stranger = bastion.scratch().join("stranger.key");
    std::fs::write(&stranger, Identity::generate().to_file().expose()).unwrap();
    let mut age = Command::new("age");
    age.arg("--decrypt").arg("--identity").arg(&stranger).arg(&envelope);
    let told = run(age, b"", LIMIT);
    assert!(told.code == Some(1) && told.stdout.is_empty(), "{told:?}");
}

#[test]
fn our_reader_opens_what_age_has_sealed() {
    // A new envelope for an auditor who came later may be made with age itself.
    require!("age");
    let folder = crate::fixture::scratch();
    let identity = Identity::generate();
    let (plain, sealed) = (folder.path().join("key"), folder.path().join("key.age"));
    std::fs::write(&plain, [9; 32]).unwrap();
    let mut age = Command::new("age");
    age.args(["--encrypt", "--recipient", &identity.recipient().to_string(), "--output"]).args([&sealed, &plain]);
    run(age, b"", LIMIT).ok();
    let opened = Dek::from_envelope(&std::fs::read(&sealed).unwrap(), &[identity]).unwrap();
    assert_eq!(opened.expose(), &[9; 32]);
}
