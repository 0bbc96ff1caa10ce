//! Programs of others read what we write: asciinema's player and its programs, and age.

use std::path::{Path, PathBuf};
use std::process::Command;

use asciicast_rs::{Asciicast, V2, V3};
use doorward::auditor::Identity;
use doorward::screen::{Screen, Size};
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
    crate::fixture::left_out(&found);
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
fn a_library_of_others_reads_both_exports_event_by_event() {
    require!("sshd", "ssh", "tmux");
    let exported = exported();
    let raw = String::from_utf8_lossy(&exported.raw);
    let v3 = Asciicast::<V3>::from_path(&exported.v3).unwrap();
    assert_eq!(v3.events.iter().filter_map(|event| event.as_output()).collect::<String>(), raw);
    assert_eq!(v3.events.iter().find_map(|event| event.as_exit()).map(|exit| exit.code()), Some(3));
    let size = v3.events.iter().find_map(|event| event.as_resize()).unwrap();
    assert_eq!((v3.header.term.cols, size.cols, size.rows), (100, 120, 40));
    let v2 = Asciicast::<V2>::from_path(&exported.v2).unwrap();
    assert_eq!(v2.events.iter().filter_map(|event| event.as_output()).collect::<String>(), raw);
    let size = v2.events.iter().find_map(|event| event.as_resize()).unwrap();
    assert_eq!((v2.header.width, v2.header.height, size.cols, size.rows), (100, 30, 120, 40));
    // Both tell the same times, one by intervals and one from the start.
    let last_output = |times: Vec<(f64, bool)>| times.into_iter().rfind(|(_, output)| *output).unwrap().0;
    let of_v3 = last_output(v3.absolute_times().map(|(at, event)| (at, event.as_output().is_some())).collect());
    let of_v2 = last_output(v2.absolute_times().map(|(at, event)| (at, event.as_output().is_some())).collect());
    assert!((of_v3 - of_v2).abs() < 0.002, "{of_v3} and {of_v2}");
}

#[test]
fn the_screen_of_a_recording_is_the_screen_that_the_person_had() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 90, 24);
    // Wide characters, a cursor that goes back, a region that scrolls, lines put in and taken out, tabs, colours, the
    // other screen and back; nothing comes after it.
    let drawn = concat!(
        "\\033[2J\\033[H\\033[31mred\\033[0m 日本 caf\\303\\251\\n",
        "\\033[10;20Hhere\\033[1;40Hthere\\b\\b\\bXX\\n",
        "\\033[5;8r\\033[5;1Hone\\ntwo\\nthree\\nfour\\nfive\\nsix\\033[r",
        "\\033[12;1Ha\\tb\\tc\\033[13;1H0123456789\\033[13;4H\\033[3P\\033[2@",
        "\\033[15;1Hlast\\033[15;1H\\033[Lfirst\\033[?1049hother screen\\033[?1049l",
        "\\033[20;1H",
    );
    terminal.line(&format!("clear; printf '{drawn}'; echo done-$((40+2)); exec sleep 1000"));
    terminal.shows("done-42");
    let seen = terminal.rows();
    drop(terminal);
    bastion.empties(LIMIT);
    let session = bastion.only_recording();
    let file = bastion.scratch().join("screen.cast");
    std::fs::write(&file, bastion.export(&session, "v3", &[])).unwrap();
    let mut screen = Screen::new(Size::bounded(90, 24));
    for event in events(&file).iter().filter(|event| event[1] == "o") {
        screen.feed(event[2].as_str().unwrap().as_bytes());
    }
    let mut replayed = screen.text();
    replayed.truncate(seen.len());
    assert_eq!(replayed, seen);
    assert!(seen.iter().any(|row| row == "first") && seen.iter().any(|row| row.contains("日本 café")), "{seen:#?}");
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
fn the_players_core_plays_a_segmented_export_as_it_plays_the_whole() {
    require!("sshd", "ssh");
    let Some(modules) = reader("player/node_modules") else { return };
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    // More than a segment has, at three different times.
    bastion.to(&sshd).run("for part in 1 2 3; do seq 50000; sleep 0.1; done; exit 3");
    let session = bastion.only_recording();
    let (whole, to) = (bastion.scratch().join("v2.cast"), bastion.scratch().join("segmented"));
    std::fs::write(&whole, bastion.export(&session, "v2", &[])).unwrap();
    let told = bastion.export(&session, "segmented", &["--to", to.to_str().unwrap()]);
    assert!(told.is_empty(), "{told:?}");
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/player/play.mjs"));
    node.args([&modules, &whole, &to.join("index.json")]);
    let told = run(node, b"", LIMIT).ok().out();
    let played: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(played[0]["output"].as_str().unwrap().ends_with("\n50000\r\n"), "{}", played[0]["markers"]);
    for what in ["output", "input", "sizes", "markers"] {
        assert!(played[0][what] == played[1][what], "{what} differs");
    }
    // The index and more than one segment.
    assert!(played[1]["fetched"].as_u64() > Some(2), "{}", played[1]["fetched"]);

    let again =
        bastion.doorward(&["recording", "export", &session, "--format", "segmented", "--to", to.to_str().unwrap()]);
    assert!(again.code == Some(1) && again.err().contains("there is something in"), "{again:?}");
    let nowhere = bastion.doorward(&["recording", "export", &session, "--format", "segmented"]);
    assert!(nowhere.code == Some(2) && nowhere.err().contains("--to DIR"), "{nowhere:?}");
    let stray = bastion.doorward(&["recording", "export", &session, "--to", to.to_str().unwrap()]);
    assert_eq!(stray.code, Some(2), "{stray:?}");
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
