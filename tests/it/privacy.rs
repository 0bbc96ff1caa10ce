//! Who steals the state directory, or what a crash leaves, gets none of what must stay secret.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::fixture::bastion::{OPEN, recorded};
use crate::fixture::process::run;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, nonce, until};
use crate::recordings::{contains, files};
use crate::require;

/// The files below `folder` that hold one of these words.
fn holding<'a>(folder: &Path, words: &'a [String]) -> Vec<(std::path::PathBuf, &'a str)> {
    let mut found = Vec::new();
    for file in files(folder) {
        // A file that is replaced meanwhile has another name by now.
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for word in words {
            let base64 = base64_of(word);
            if contains(&bytes, word.as_bytes()) || base64.iter().any(|form| contains(&bytes, form.as_bytes())) {
                found.push((file.clone(), word.as_str()));
            }
        }
    }
    found
}

/// The base64 of `word` wherever it begins in a longer text, without the ends that depend on what stands beside it.
fn base64_of(word: &str) -> [String; 3] {
    use base64::Engine;
    [0, 1, 2].map(|before| {
        let text = [&vec![b'x'; before][..], word.as_bytes()].concat();
        let form = base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
        form[2 + before..form.len() - 2].to_owned()
    })
}

#[test]
fn i11_nothing_that_went_through_a_session_lies_in_the_state_directory_before_or_after_a_crash() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.policy(&recorded(OPEN, r#"input = "full""#));
    bastion.serve();
    let words: Vec<String> = ["output", "error", "stdin", "command", "typed", "secret", "refused"]
        .map(|what| format!("{what}-canary-{}", nonce()))
        .to_vec();
    let [output, error, stdin, command, typed, secret, refused] = &words[..] else { panic!("{words:?}") };
    bastion.set_password(&format!("other@{}", crate::fixture::bastion::DB1), secret);
    let seen = bastion.to(&sshd).run_with(
        &[],
        &format!(": {command}; echo {output}; echo {error} >&2; cat"),
        stdin.as_bytes(),
    );
    assert!(seen.out().contains(output) && seen.out().contains(stdin) && seen.err().contains(error), "{seen:?}");
    bastion.login(&format!("{refused}@db1")).run("true");
    let terminal = Terminal::start(&bastion.to(&sshd).ssh(&["-tt"], ""), 100, 30);
    // What is shown is not what was typed: the local terminal may echo that before the session has begun.
    terminal.line(&format!(": {typed}; echo shown-$((40+2))"));
    terminal.shows("shown-42");
    // While a session runs, what it has shown is on the disk already.
    let recording = bastion.recordings_at_all().into_iter().max().unwrap();
    let secret_words = &words[..6];
    assert_eq!(holding(&bastion.data(), secret_words), []);
    bastion.crash();
    assert_eq!(holding(&bastion.data(), secret_words), []);
    bastion.serve();
    assert_eq!(holding(&bastion.data(), secret_words), []);
    drop(terminal);
    // The control: the canaries were recorded, and the search finds what is there.
    let plain = bastion.export(&recording, "raw", &[]);
    assert!(contains(&plain, typed.as_bytes()));
    std::fs::write(bastion.data().join("rec/plain"), &plain).unwrap();
    std::fs::write(bastion.data().join("rec/plain.b64"), base64_text(&plain)).unwrap();
    let found: Vec<_> = holding(&bastion.data(), secret_words).into_iter().map(|(_, word)| word).collect();
    assert_eq!(found, [typed, typed]);
    // What is refused is on record, under the key of the vault.
    assert!(bastion.audit().contains(refused.as_str()));
    assert_eq!(holding(&bastion.data().join("log"), &words[6..]), []);
}

fn base64_text(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_server_that_crashes_leaves_no_memory_behind() {
    // Promise P4. Its memory holds keys of live sessions and secrets that were just used.
    require!("sshd", "ssh", "prlimit", "sleep");
    let folder = crate::fixture::scratch();
    let mut control =
        Command::new("prlimit").arg("--core=unlimited").args(["sleep", "1000"]).current_dir(&folder).spawn().unwrap();
    until(LIMIT, "the control", || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", control.id())).unwrap();
        (name.trim() == "sleep").then_some(())
    });
    rustix::process::kill_process(rustix::process::Pid::from_child(&control), Signal::ABORT).unwrap();
    if !control.wait().unwrap().core_dumped() {
        println!("skipped: this machine writes no core dumps");
        return;
    }
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    let (session, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let mut limit = Command::new("prlimit");
    limit.args(["--core=unlimited", "--pid", &bastion.pid().to_string()]);
    run(limit, b"", LIMIT).ok();
    let server = bastion.take_server();
    server.signal(Signal::ABORT);
    let told = server.wait(LIMIT);
    assert_eq!((told.signal, told.core), (Some(Signal::ABORT.as_raw()), false), "{told:?}");
    drop(session);
}
