//! Promise P8: through the bastion, stdout, stderr, exit status and signals are those of a direct connection.
//!
//! Each test runs the same thing both ways and compares. `fixture_sees_what_sshd_says` shows first that the
//! comparison itself can tell differences.

use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use crate::fixture::process::{Stdout, run};
use crate::fixture::sshd::Account;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Running, Seen, Sshd, hex, own, until};
use crate::require;

#[test]
fn fixture_sees_what_sshd_says() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let seen = sshd.direct().run("printf out; printf err >&2; exit 3");
    assert_eq!((seen.out().as_str(), seen.err().as_str(), seen.code), ("out", "err", Some(3)));
    assert_ne!(sshd.direct().run("printf a"), sshd.direct().run("printf b"));
    let master = sshd.direct().master(sshd.folder());
    assert_eq!(master.route.run("exit 7").code, Some(7));
}

#[test]
fn commands_say_the_same_through_the_bastion() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (direct, through) = (sshd.direct(), bastion.to(&sshd));
    for command in [
        "true",
        "echo text",
        "printf 'no newline at the end'",
        "printf 'both\\n'; echo streams >&2; exit 3",
        // All byte values, which no text encoding survives by luck.
        "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done",
        "i=0; while [ $i -lt 256 ]; do printf \"\\\\$(printf %03o $i)\" >&2; i=$((i+1)); done",
        "printf '\\r\\n\\000\\033[31m\\377\\376'",
        // A character cut in two by a pause.
        "printf '\\303'; sleep 0.05; printf '\\251\\n'",
        "printf '\\303'",
        "head -c 3000000 /dev/zero",
        "seq 1 200000",
        "seq 1 20000 >&2",
        "seq 1 20000; seq 1 20000 >&2; exit 9",
        "true; exit 0",
        "false",
        "exit 127",
        "exit 128",
        "exit 255",
        "no-such-program",
        "kill -TERM $$",
        "kill -KILL $$",
        "kill -SEGV $$",
        "kill -INT $$",
        "echo said; kill -HUP $$",
        "echo \"quotes ' and \\\" and \\$dollars and \\\\\"",
        "printf 'caf\\303\\251 \\360\\237\\232\\252\\n'",
        // Output after the last byte of input was closed, and before it was asked for.
        "cat; echo after",
        "exec >&-; echo lost; exit 4",
        "exec 2>&-; echo kept; exit 5",
        // A child that keeps the output open after the command has ended.
        "(sleep 0.3; echo late) & echo early",
        "pwd; id -un; umask; echo $SHLVL $TERM",
        "head -c 100000 /dev/zero; exit 1",
    ] {
        assert_same(&direct, &through, &[], command, b"");
    }
}

#[test]
fn every_exit_status_comes_through() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    for status in [0, 1, 2, 126, 127, 128, 129, 137, 254, 255] {
        assert_eq!(master.route.run(&format!("exit {status}")).code, Some(status));
    }
    // All of them with our own client: starting `ssh` is what takes the time.
    own::block_on(async {
        let client = own::Own::connect(&bastion.to(&sshd)).await;
        for status in 0..=255 {
            let mut channel = client.exec(&format!("exit {status}")).await;
            assert_eq!(own::finish(&mut channel, LIMIT).await.status, Some(status));
        }
    });
}

#[test]
fn input_comes_through() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (direct, through) = (sshd.direct(), bastion.to(&sshd));
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    for (command, input) in [
        ("cat", &b"text\n"[..]),
        ("cat", b"no newline"),
        ("cat", b""),
        ("cat", &bytes),
        ("cat >&2", &bytes),
        ("sha256sum", &bytes),
        ("wc -c", &bytes),
        // The command reads a part and leaves: the rest of the input has nowhere to go.
        ("head -c 10", &bytes),
        ("true", &bytes),
        ("exec <&-; sleep 0.1; echo closed; exit 6", &bytes),
        ("read a; echo \"got $a\"; exit 2", b"one\ntwo\n"),
        ("sh", b"echo from a script\nexit 12\n"),
    ] {
        assert_same(&direct, &through, &[], command, input);
    }
    // `-n` never opens the input.
    assert_same(&direct, &through, &["-n"], "cat; echo done", b"");
}

#[test]
fn a_command_ends_though_its_input_stays_open() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for route in [sshd.direct(), bastion.to(&sshd)] {
        let running = Running::start(route.ssh(&[], "echo out; exit 5"), Stdout::Gathered);
        let seen = running.wait_with_open_stdin(LIMIT);
        assert_eq!((seen.out().as_str(), seen.code), ("out\n", Some(5)));
    }
}

#[test]
fn variables_come_through_by_the_allow_list() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (direct, through) = (sshd.direct(), bastion.to(&sshd));
    let sent = |route: &Route| route.with("SetEnv=LANG=C LC_TIME=fr_FR.UTF-8");
    assert_same(&sent(&direct), &sent(&through), &[], "echo \"$LANG $LC_TIME\"", b"");
    // This sshd would take DW_*; the bastion does not pass it on (failure class 15: LD_PRELOAD and its like).
    let seen = through.with("SetEnv=DW_X=reached LD_PRELOAD=/x.so").run("echo \"[$DW_X$LD_PRELOAD]\"");
    assert_eq!((seen.out().as_str(), seen.code), ("[]\n", Some(0)));
}

#[test]
fn a_terminal_has_its_type_size_and_modes() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for route in [sshd.direct(), bastion.to(&sshd)] {
        let command = "stty size; echo TERM=$TERM; stty -a | grep -o 'intr = ^C'; cat";
        let terminal = Terminal::start(&route.ssh(&["-tt"], command), 97, 31);
        let screen = terminal.shows("intr = ^C");
        assert!(screen.contains("31 97"), "{screen}");
        assert!(screen.contains("TERM=tmux") || screen.contains("TERM=screen"), "{screen}");
    }
}

#[test]
fn a_resized_window_reaches_the_target() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for route in [sshd.direct(), bastion.to(&sshd)] {
        let terminal = Terminal::start(&route.ssh(&["-tt"], ""), 80, 24);
        terminal.line("PS1=; echo at-$((40+2)); stty size");
        terminal.shows("at-42");
        terminal.shows("24 80");
        terminal.resize(132, 43);
        // The shell may read the line before the new size is there: ask until it is.
        until(LIMIT, "new size", || {
            terminal.line("stty size");
            terminal.screen().contains("43 132").then_some(())
        });
        terminal.line("exit 3");
        until(LIMIT, "end of the shell", || terminal.ended().then_some(()));
    }
}

#[test]
fn a_key_press_interrupts_the_program() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for route in [sshd.direct(), bastion.to(&sshd)] {
        let terminal = Terminal::start(&route.ssh(&["-tt"], ""), 80, 24);
        // The prompt tells the status by itself: what is typed before the shell is back may be dropped.
        terminal.line("PS1='[$?]'; echo set-$((40+3)); sleep 100");
        terminal.shows("set-43");
        terminal.press("C-c");
        // 128 and the number of SIGINT.
        terminal.shows("[130]");
    }
}

#[test]
fn output_of_a_terminal_is_the_same_bytes() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (direct, through) = (sshd.direct(), bastion.to(&sshd));
    // Doorward's own lines are the only difference that it may make on a terminal; they come before the program's.
    for command in
        ["printf 'start\\r\\ntext\\r\\n'; exit 3", "printf start; head -c 100000 /dev/zero | tr '\\0' x; exit 1"]
    {
        let (wanted, seen) = (direct.run_with(&["-tt"], command, b""), through.run_with(&["-tt"], command, b""));
        assert_eq!(seen.code, wanted.code, "{command}: {seen:?}");
        assert!(seen.stdout.ends_with(&wanted.stdout), "{command}: {seen:?}");
    }
}

#[test]
fn signals_reach_the_program_and_its_end_comes_back() {
    require!("sshd", "useradd");
    if !crate::fixture::root() {
        println!("skipped: sshd passes signals on only to accounts that it had to change to, which takes root");
        return;
    }
    let sshd = Sshd::start();
    // sshd 9.2 refuses to signal a session of root: that one runs without privilege separation.
    let account = Account::create();
    sshd.open_folder();
    let mut bastion = Bastion::furnished(&sshd);
    let destination = format!("{}@db1", account.name);
    bastion.set_key(&destination, &sshd.key);
    bastion.allow_account(&account.name);
    bastion.serve();
    own::block_on(async {
        for route in [sshd.direct().login(&account.name), bastion.login(&destination)] {
            let client = own::Own::connect(&route).await;
            // Without a handler the signal ends the program, and the target says which one it was.
            let mut channel = client.exec("echo ready; exec sleep 100").await;
            own::read_until(&mut channel, "ready").await;
            channel.signal(russh::Sig::TERM).await.unwrap();
            let told = own::finish(&mut channel, LIMIT).await;
            assert_eq!(told.signal, Some(("TERM".to_owned(), false)), "{}: {told:?}", route.login);
            assert_eq!(told.status, None);
            assert!(told.closed || told.eof);

            // With a handler it is the program's to answer.
            let mut channel =
                client.exec("trap 'echo caught; exit 7' USR1; echo ready; while :; do sleep 0.05; done").await;
            own::read_until(&mut channel, "ready").await;
            channel.signal(russh::Sig::USR1).await.unwrap();
            let told = own::finish(&mut channel, LIMIT).await;
            assert_eq!((told.stdout.as_slice(), told.status), (&b"caught\n"[..], Some(7)), "{}", route.login);

            let mut channel = client.exec("kill -KILL $$").await;
            let told = own::finish(&mut channel, LIMIT).await;
            assert_eq!(told.signal, Some(("KILL".to_owned(), false)), "{}", route.login);
        }
    });
}

#[test]
fn each_half_closes_by_itself() {
    require!("sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    own::block_on(async {
        for route in [sshd.direct(), bastion.to(&sshd)] {
            let client = own::Own::connect(&route).await;
            // RFC 4254 section 5.3: the user's EOF leaves the other direction open.
            let mut channel = client.exec("cat; echo after the end of input; exit 4").await;
            channel.data_bytes(b"typed\n".to_vec()).await.unwrap();
            channel.eof().await.unwrap();
            let told = own::finish(&mut channel, LIMIT).await;
            assert_eq!(told.stdout, b"typed\nafter the end of input\n", "{}", route.login);
            assert_eq!((told.status, told.eof), (Some(4), true), "{}: {told:?}", route.login);
        }
    });
}

#[test]
fn windows_resized_by_the_protocol_have_exact_sizes() {
    require!("sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    own::block_on(async {
        for route in [sshd.direct(), bastion.to(&sshd)] {
            let client = own::Own::connect(&route).await;
            let command = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done";
            let mut channel = client.exec_on_pty(command, 120, 50).await;
            own::read_until(&mut channel, "50 120").await;
            channel.window_change(61, 17, 0, 0).await.unwrap();
            own::read_until(&mut channel, "17 61").await;
        }
    });
}

#[test]
fn a_file_copied_by_the_old_protocol_arrives_whole() {
    require!("sshd", "ssh", "scp");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    bastion.policy(&crate::sftp::rule(r#"["sftp-read", "sftp-write"]"#));
    bastion.doorward(&["policy", "reload"]).ok();
    let folder = bastion.scratch();
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000_000).collect();
    std::fs::write(folder.join("sent"), &bytes).unwrap();
    let far = sshd.folder().join("far");
    let route = bastion.to(&sshd);
    let here = |name: &str| folder.join(name).display().to_string();
    let there = format!("{{}}:{}", far.display());
    run(route.copier("scp", &["-O", "-p", &here("sent"), &there]), b"", LIMIT).ok();
    assert!(std::fs::read(&far).unwrap() == bytes, "the file that arrived differs");
    run(route.copier("scp", &["-O", &there, &here("back")]), b"", LIMIT).ok();
    assert!(std::fs::read(folder.join("back")).unwrap() == bytes, "the file that came back differs");
    let seen = run(route.copier("scp", &["-O", "{}:/no/such/file", &here("none")]), b"", LIMIT);
    assert_eq!(seen.code, Some(1), "{seen:?}");
}

#[test]
fn what_is_not_carried_yet_is_refused_with_a_reason() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let route = bastion.to(&sshd);
    let seen = run(route.ssh(&["-s"], "netconf"), b"", LIMIT);
    assert_ne!(seen.code, Some(0), "{seen:?}");
    assert!(seen.err().contains("netconf"), "the refusal does not say what was refused: {seen:?}");

    // A forward: the listening side is the client's, so the refusal comes with the first connection.
    let seen = run(route.ssh(&["-W", &format!("127.0.0.1:{}", sshd.port)], ""), b"", LIMIT);
    assert_ne!(seen.code, Some(0), "{seen:?}");
    assert!(!seen.out().contains("SSH-2.0"), "a tunnel to the target opened: {seen:?}");
    let seen = run(route.with("ExitOnForwardFailure=yes").ssh(&["-N", "-R", "0:127.0.0.1:1"], ""), b"", LIMIT);
    assert_ne!(seen.code, Some(0), "a reverse forward was let through: {seen:?}");

    // An agent and X11 are refused without ending the session.
    let seen = route.with("ForwardAgent=yes").run("echo \"agent[$SSH_AUTH_SOCK]\"");
    assert_eq!(seen.out(), "agent[]\n", "{seen:?}");
    assert!(bastion.lives());
}

#[test]
fn many_commands_at_once_share_one_connection() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let master = bastion.to(&sshd).master(bastion.scratch());
    let running: Vec<(u32, Running)> = (0..8)
        .map(|number| {
            let command = format!("seq 1 20000; echo {number} >&2; exit {number}");
            (number, Running::start(master.route.ssh(&["-n"], &command), Stdout::Gathered))
        })
        .collect();
    let wanted = sshd.direct().run("seq 1 20000").stdout;
    for (number, running) in running {
        let seen = running.wait(LIMIT);
        assert!(seen.stdout == wanted, "channel {number}: {seen:?}");
        assert_eq!((seen.err(), seen.code), (format!("{number}\n"), Some(i32::try_from(number).unwrap())));
    }
}

#[test]
fn a_gibibyte_comes_through_whole_both_ways() {
    require!("sshd", "ssh");
    const SIZE: u64 = 1 << 30;
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let route = bastion.to(&sshd).with("Ciphers=aes256-gcm@openssh.com");
    let (sent, received, count) = pump(&route, "cat", SIZE);
    assert_eq!((count, received), (SIZE, sent));
    until(LIMIT, "end of the session", || bastion.sessions().is_empty().then_some(()));
}

/// Sends `size` bytes to a command and reads its output at the same time: digest sent, digest read, count read.
fn pump(route: &Route, command: &str, size: u64) -> (String, String, u64) {
    let mut running = route.start(&[], command);
    let (mut stdin, mut stdout) = (running.stdin(), running.stdout());
    let writer = std::thread::spawn(move || {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut block: Vec<u8> = (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for number in 0..size >> 20 {
            // Each block differs, so that one which is lost, doubled or moved shows.
            block[..8].copy_from_slice(&number.to_be_bytes());
            digest.update(&block);
            stdin.write_all(&block).unwrap();
        }
        hex(digest.finish().as_ref())
    });
    let reader = std::thread::spawn(move || {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; 1 << 16];
        let mut count = 0;
        loop {
            let read = stdout.read(&mut buffer).unwrap();
            if read == 0 {
                return (hex(digest.finish().as_ref()), count);
            }
            digest.update(&buffer[..read]);
            count += read as u64;
        }
    });
    running.wait(Duration::from_secs(300)).ok();
    let (received, count) = reader.join().unwrap();
    (writer.join().unwrap(), received, count)
}

#[track_caller]
fn assert_same(direct: &Route, through: &Route, flags: &[&str], command: &str, input: &[u8]) {
    let wanted: Seen = direct.run_with(flags, command, input);
    let seen: Seen = through.run_with(flags, command, input);
    assert!(seen == wanted, "`{command}` differs through the bastion\ndirect: {wanted:?}\nthrough: {seen:?}");
}

#[test]
fn git_works_as_a_command() {
    require!("sshd", "ssh", "git");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let route = bastion.to(&sshd);
    let far = sshd.folder().join("far.git");
    let near = bastion.scratch().join("near");
    let git = |arguments: &[&str], folder: &std::path::Path| {
        let ssh = route.ssh(&[], "");
        let words: Vec<String> = ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        // git adds host and command itself: keep the options only.
        let options = words[..words.len() - 5].join(" ");
        let mut git = Command::new("git");
        git.current_dir(folder).env("GIT_SSH_COMMAND", format!("ssh {options}")).env("GIT_SSH_VARIANT", "ssh");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").args(["-c", "user.name=a", "-c", "user.email=a@localhost"]);
        git.args(arguments);
        run(git, b"", LIMIT).ok()
    };
    std::fs::create_dir(&near).unwrap();
    git(&["init", "-q", "--bare", far.to_str().unwrap()], &near);
    git(&["init", "-q", "."], &near);
    std::fs::write(near.join("file"), vec![7; 3_000_000]).unwrap();
    git(&["add", "."], &near);
    git(&["commit", "-q", "-m", "one"], &near);
    let url = format!("ssh://{}@127.0.0.1:{}{}", route.login.replace('@', "%40"), route.port, far.display());
    git(&["push", "-q", &url, "HEAD:refs/heads/main"], &near);
    git(&["clone", "-q", "-b", "main", &url, "again"], &near);
    assert!(std::fs::read(near.join("again/file")).unwrap() == vec![7; 3_000_000]);
}
