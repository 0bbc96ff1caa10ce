//! What a bastion user asks of the bastion itself: the menu, the numbered list, and the verbs about themselves.

use std::process::Command;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use serde_json::Value;

use crate::fixture::bastion::{ALICE, OPEN};
use crate::fixture::own::{Own, block_on, finish, read_until};
use crate::fixture::process::memory;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, holds, key, own_account, until};
use crate::require;

/// Alice may go to what is labelled `env = test`, with a grant as `deploy` too. Of `hidden` only others know.
const RULES: &str = r#"
[[rule]]
id        = "deployers"
who       = { groups = ["dba"] }
where     = { labels = { env = "test" } }
accounts  = ["deploy"]
channels  = ["shell", "exec"]
[[rule]]
id        = "hidden-rule"
who       = { groups = ["others"] }
where     = { targets = ["*"] }
accounts  = ["hidden-account"]
channels  = ["shell"]
grant     = { required = false }
[[audit]]
id        = "hidden-auditors"
who       = { groups = ["auditors"] }
where     = { targets = ["*"] }
rights    = ["get"]
"#;

/// A bastion with `db1`, `web1` and `hidden`; Alice, and Mallory whom no rule names.
fn house(sshd: &Sshd) -> (Bastion, Route, Route) {
    let mut bastion = Bastion::furnished(sshd);
    bastion.add_target("web1", sshd);
    bastion.add_target("hidden", sshd);
    bastion.doorward(&["target", "set", "hidden", "--label", "env=secret"]).ok();
    for target in ["web1", "hidden"] {
        bastion.set_key(&format!("{}@{target}", sshd.account), &sshd.key);
    }
    let mallorys = key(bastion.scratch(), "mallory", "ed25519", "");
    bastion.add_user("mallory", "nobody", &mallorys);
    bastion.policy(&format!("{OPEN}{RULES}"));
    bastion.serve();
    let alice = bastion.login(ALICE);
    let mallory = bastion.login("mallory").key(&mallorys);
    (bastion, alice, mallory)
}

/// A terminal in which `ssh` to the bastion itself runs, between two lines of the shell's own.
fn at_menu(route: &Route) -> Terminal {
    let ssh = route.ssh(&["-tt"], "");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"echo before; "$@"; echo left-$?; read -r end"#, "sh"])
        .arg(ssh.get_program())
        .args(ssh.get_args());
    Terminal::start(&shell, 80, 24)
}

/// Waits until the menu has ended with this status, and asserts that the terminal is as it was.
#[track_caller]
fn left(terminal: &Terminal, status: i32) -> String {
    let screen = terminal.shows(&format!("left-{status}"));
    assert!(screen.trim_start().starts_with("before"), "{screen}");
    assert_eq!(terminal.state("#{alternate_on} #{cursor_flag} #{wrap_flag}"), "0 1 1", "{screen}");
    screen
}

fn destination(target: &str) -> String {
    format!("{}@{target}", own_account())
}

fn json(route: &Route, verb: &str) -> Value {
    let told = route.run(&format!("{verb} --json")).ok();
    serde_json::from_slice(&told.stdout).unwrap_or_else(|error| panic!("{verb}: {error}: {told:?}"))
}

#[test]
fn a_destination_is_searched_for_chosen_and_recorded_as_usual() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let (bastion, alice, _) = house(&sshd);
    let terminal = at_menu(&alice);
    terminal.shows("4 destinations");
    let rows = terminal.rows();
    assert_eq!(rows.len(), 24, "{rows:?}");
    assert!(rows[0].contains("Doorward") && rows[0].contains("[Destinations]"), "{rows:?}");
    assert!(rows[23].contains("Enter connect"), "{rows:?}");
    let row = |text: &str| rows.iter().find(|row| row.contains(text)).unwrap_or_else(|| panic!("{rows:?}")).clone();
    assert!(row(&destination("web1")).contains("open") && row("deploy@db1").contains("needs a grant"), "{rows:?}");

    terminal.resize(70, 16);
    terminal.shows("4 destinations");
    until(LIMIT, "a smaller menu", || {
        terminal.rows().get(15).is_some_and(|row| row.contains("Enter connect")).then_some(())
    });
    terminal.resize(20, 4);
    terminal.shows("make the window");
    terminal.resize(70, 16);
    terminal.shows("Search:");
    // No name has such a letter; what has is not shown.
    terminal.type_text("WEB1 \u{e4}open");
    terminal.shows("Search: WEB1 open");
    terminal.shows("1 of 4 destinations");
    terminal.press("Enter");
    terminal.shows("recorded");
    terminal.line("echo in-$((40+2)) $(stty size)");
    terminal.shows("in-42 16 70");
    let live = json(&alice, "sessions");
    assert_eq!((&live[0]["state"], &live[0]["destination"]), (&"live".into(), &destination("web1").into()), "{live}");
    terminal.line("exit 7");
    left(&terminal, 7);
    let session = bastion.only_recording();
    assert_eq!(live[0]["session"], session.as_str());
    assert!(String::from_utf8_lossy(&bastion.export(&session, "txt", &[])).contains("in-42 16 70"));
    assert_eq!(bastion.rows(&["recording", "list"])[0]["destination"], destination("web1"));
    bastion.opens(&session);
}

#[test]
fn whoever_leaves_a_menu_has_their_terminal_back() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let (mut bastion, alice, _) = house(&sshd);
    for keys in [&["q"][..], &["x", "C-c"], &["?", "C-c"], &["Tab", "C-d"], &["x", "Escape", "q"]] {
        let terminal = at_menu(&alice);
        terminal.shows("4 destinations");
        for key in keys {
            terminal.press(key);
            let shown = |search: &str| terminal.rows().get(1).is_some_and(|row| row == search);
            match *key {
                "x" => until(LIMIT, "a search", || shown("Search: x").then_some(())),
                // The key alone: with what follows at once it would be a key with Alt.
                "Escape" => until(LIMIT, "an empty search", || shown("Search:").then_some(())),
                _ => {}
            }
        }
        left(&terminal, 0);
    }
    // The bastion stops: it waits for the menu.
    let terminal = at_menu(&alice);
    terminal.shows("4 destinations");
    let told = bastion.stop();
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(left(&terminal, 255).contains("the bastion is stopping"));
}

#[test]
fn who_loses_their_place_or_their_key_is_out_of_the_menu() {
    require!("sshd", "ssh", "tmux", "ssh-keygen");
    let sshd = Sshd::start();
    let (bastion, alice, mallory) = house(&sshd);
    let terminal = at_menu(&alice);
    terminal.shows("4 destinations");
    let other = at_menu(&mallory);
    other.shows("no rule names a destination for you");
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    assert!(left(&terminal, 126).contains("you may no longer do this"));
    let told = alice.run_with(&["-T"], "", b"1\n");
    assert!(told.code == Some(126) && told.err().contains("suspended") && told.stdout.is_empty(), "{told:?}");
    assert!(!other.screen().contains("left-"));
    let fingerprint = json(&mallory, "whoami")["key"].as_str().unwrap().to_owned();
    bastion.doorward(&["user", "key", "remove", "mallory", &fingerprint]).ok();
    assert!(left(&other, 126).contains("you may no longer do this"));
    assert_eq!(bastion.recordings_at_all(), Vec::<String>::new());
}

#[test]
fn without_a_terminal_a_number_is_read_and_the_rest_is_the_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, mallory) = house(&sshd);
    let list = alice.run_with(&["-T"], "", b"").ok().out();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    let number = |destination: &str| {
        let line = lines.iter().find(|line| line.contains(destination)).unwrap_or_else(|| panic!("{list}"));
        line.split_whitespace().next().unwrap().to_owned()
    };
    let typed = format!("{}\necho in-$((40+2))\nexit 5\n", number(&destination("db1")));
    let told = alice.run_with(&["-T"], "", typed.as_bytes());
    assert_eq!((told.code, told.out()), (Some(5), format!("{list}in-42\n")), "{told:?}");
    let session = bastion.only_recording();
    assert!(String::from_utf8_lossy(&bastion.export(&session, "txt", &[])).contains("in-42"));
    // What leads nowhere is said, and asked again; what is refused is told as ever.
    let typed = format!("9\nx\n\u{e4}{}\n{}\n", "1".repeat(100_000), number("deploy@db1"));
    let told = alice.run_with(&["-T"], "", typed.as_bytes());
    assert_eq!((told.code, told.out()), (Some(0), list.clone()), "{told:?}");
    assert_eq!(told.err().matches("type a number from 1 to 4").count(), 3, "{told:?}");
    assert!(told.err().contains("access denied: you hold no right"), "{told:?}");
    // On a terminal that has no screen, too.
    block_on(async {
        let own = Own::connect(&alice).await;
        let mut channel = own.handle.channel_open_session().await.unwrap();
        channel.request_pty(true, "dumb", 80, 24, 0, 0, &[]).await.unwrap();
        channel.request_shell(true).await.unwrap();
        let seen = read_until(&mut channel, "number: ").await;
        assert!(!seen.contains(&0x1b), "{}", seen.escape_ascii());
        channel.data_bytes(format!("9\x7f{}\r", number(&destination("web1"))).into_bytes()).await.unwrap();
        read_until(&mut channel, "recorded").await;
    });
    let told = mallory.run_with(&["-T"], "", b"1\n").ok();
    assert_eq!(told.out(), "no rule names a destination for you: ask an operator for a right\n");
}

#[test]
fn a_refused_choice_is_told_in_the_menu_and_on_record_and_a_grant_shows_by_itself() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let (bastion, alice, _) = house(&sshd);
    let terminal = at_menu(&alice);
    terminal.shows("4 destinations");
    terminal.type_text("deploy web");
    terminal.shows("1 of 4");
    terminal.press("Enter");
    terminal.shows("access denied: you hold no right to this destination now");
    until(LIMIT, "refusal on record", || {
        let log = bastion.rows(&["audit", "list", "--type", "session"]);
        log.iter().any(|event| event["login"] == "alice+deploy@web1").then_some(())
    });
    let why = json(&alice, "why");
    assert_eq!(why["asked"], "a shell at deploy@web1", "{why}");
    assert!(why["next"].as_str().unwrap().contains("while you hold a grant"), "{why}");
    bastion.grant(ALICE, "deploy@web1", "1h", "CHG-1");
    terminal.press("C-r");
    terminal.shows("granted until");
    assert!(json(&alice, "why")["next"].as_str().unwrap().contains("try again"));
    // There is no such account: the target's own no ends the channel, with the terminal as it was.
    terminal.press("Enter");
    let screen = left(&terminal, 255);
    assert!(screen.contains("doorward: ") && screen.contains("tell the operator"), "{screen}");
    assert_eq!(json(&alice, "ls deploy web1")[0]["state"], "granted");
}

/// A shell of the bastion itself on a terminal, once its menu is on it.
async fn menu(own: &Own) -> Channel<Msg> {
    let mut channel = own.handle.channel_open_session().await.unwrap();
    channel.request_pty(true, "xterm-256color", 80, 24, 0, 0, &[]).await.unwrap();
    channel.request_shell(true).await.unwrap();
    read_until(&mut channel, "destinations").await;
    channel
}

#[test]
fn what_is_typed_ahead_or_pasted_does_not_reach_the_target() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, _) = house(&sshd);
    let marks = [1, 2, 3].map(|number| bastion.scratch().join(format!("mark{number}")));
    let [ahead, pasted, after] = marks.each_ref().map(|mark| format!("touch {}\r", mark.display()));
    block_on(async {
        let own = Own::connect(&alice).await;
        let mut channel = menu(&own).await;
        // Pasted with its line end: no choice.
        channel.data_bytes(format!("\x1b[200~web1 open\r{pasted}\x1b[201~").into_bytes()).await.unwrap();
        read_until(&mut channel, "0 of 4").await;
        channel.data_bytes(format!("\x15{}\r{ahead}", destination("web1")).into_bytes()).await.unwrap();
        channel.data_bytes(ahead.clone().into_bytes()).await.unwrap();
        read_until(&mut channel, "recorded").await;
        channel.data_bytes(after.into_bytes()).await.unwrap();
        until(LIMIT, "the session's own command", || marks[2].exists().then_some(()));
        channel.data_bytes(&b"exit\r"[..]).await.unwrap();
        assert_eq!(finish(&mut channel, LIMIT).await.status, Some(0));
    });
    assert!(!marks[0].exists() && !marks[1].exists(), "what was typed for the menu was run");
}

#[test]
fn a_choice_that_is_typed_before_the_list_is_there_counts_and_an_end_of_input_ends_the_menu() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (_bastion, alice, _) = house(&sshd);
    let told = alice.run_with(&["-tt"], "", b"x").ok();
    assert!(!told.out().contains("recorded") && told.out().contains("\u{1b}[?1049l"), "{told:?}");
    block_on(async {
        let own = Own::connect(&alice).await;
        let mut channel = own.handle.channel_open_session().await.unwrap();
        channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        channel.request_shell(true).await.unwrap();
        channel.data_bytes(format!("{}\r", destination("web1")).into_bytes()).await.unwrap();
        channel.eof().await.unwrap();
        read_until(&mut channel, "recorded").await;
    });
}

#[test]
fn a_connection_with_a_session_goes_nowhere_else() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, _) = house(&sshd);
    block_on(async {
        let own = Own::connect(&alice).await;
        let mut first = menu(&own).await;
        let (mut same, mut other) = (menu(&own).await, menu(&own).await);
        let to = |target: &str| format!("{}\r", destination(target)).into_bytes();
        first.data_bytes(to("web1")).await.unwrap();
        read_until(&mut first, "recorded").await;
        other.data_bytes(to("db1")).await.unwrap();
        let told = finish(&mut other, LIMIT).await;
        assert_eq!(told.status, Some(255), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("open another connection"), "{told:?}");
        // To the same place, as a second channel of the session.
        same.data_bytes(to("web1")).await.unwrap();
        read_until(&mut same, "recorded").await;
        let mut waiting = menu(&own).await;
        // What ends the session ends the menu beside it, and gives its terminal back.
        bastion.doorward(&["session", "kill", &bastion.only_session()]).ok();
        let told = finish(&mut waiting, LIMIT).await;
        assert!(String::from_utf8_lossy(&told.stdout).contains("\x1b[?1049l"), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("an operator ended this session"), "{told:?}");
    });
    assert_eq!(bastion.recordings().len(), 1);
}

#[test]
fn each_verb_answers_for_people_and_for_programs() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, mallory) = house(&sshd);
    assert_eq!(json(&alice, "why"), Value::Null);
    assert!(alice.run("why").ok().out().contains("nothing was refused"));
    assert_eq!(json(&alice, "sessions"), Value::Array(vec![]));

    let rows = json(&alice, "ls");
    let shown: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["destination"].as_str().unwrap()).collect();
    let (db1, web1) = (destination("db1"), destination("web1"));
    let mut expected = vec!["deploy@db1", &db1, "deploy@web1", &web1];
    expected.sort_by_key(|name| name.split('@').rev().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(shown, expected);
    let [row] = json(&alice, "ls web1 OPEN").as_array().unwrap().clone().try_into().unwrap();
    let open = serde_json::json!({ "destination": web1, "state": "open", "ready": true,
        "channels": ["shell", "exec"], "with_grant": [], "may_ask": false, "with_key": [] });
    assert_eq!(row, open);
    let text = alice.run("ls db1 grant").ok().out();
    assert_eq!(text, "deploy@db1  needs a grant  shell, exec\n");

    let whoami = json(&alice, "whoami");
    assert_eq!((&whoami["user"], &whoami["login"]), (&ALICE.into(), &ALICE.into()));
    assert_eq!((&whoami["groups"], &whoami["audit"]), (&serde_json::json!(["dba"]), &serde_json::json!([])));
    assert!(whoami["key"].as_str().unwrap().starts_with("SHA256:"), "{whoami}");
    assert!(whoami["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{whoami}");
    assert!(alice.run("whoami").ok().out().contains("groups        dba\n"));

    bastion.to(&sshd).run("echo in").ok();
    let session = bastion.only_recording();
    let own = json(&alice, "sessions");
    assert_eq!((&own[0]["session"], &own[0]["state"]), (&session.as_str().into(), &"ended".into()), "{own}");
    assert!(own[0]["seconds"].is_u64() && own[0]["ended"].is_string(), "{own}");
    assert!(alice.run("sessions").ok().out().starts_with(&format!("{session}  {}", destination("db1"))));
    assert_eq!(json(&mallory, "sessions"), Value::Array(vec![]), "another's session is listed");

    let told = bastion.login("oracle@db1").run("id");
    assert_eq!(told.code, Some(126), "{told:?}");
    let why = json(&alice, "why");
    assert_eq!(why["asked"], "a command at oracle@db1", "{why}");
    assert!(why["refused"].as_str().unwrap().starts_with("access denied"), "{why}");
    assert!(why["next"].as_str().unwrap().contains("not among the destinations"), "{why}");
    assert!(alice.run("why").ok().out().contains("asked    a command at oracle@db1\n"));
    assert_eq!(json(&mallory, "why"), Value::Null, "another's denial is told");
    // What was refused is kept apart from what was mistyped.
    assert_eq!((alice.run("wyh").code, json(&alice, "why")), (Some(126), why));

    let help = alice.run("help").ok().out();
    for verb in ["ls", "sessions", "whoami", "why", "help", "menu", "recording get SESSION", "session watch"] {
        assert!(help.contains(&format!("\n  {verb}")), "{help}");
    }
    for mistyped in ["lss", "help me", "ls --yaml", "recording get", "session watch x"] {
        let told = alice.run(mistyped);
        assert_eq!((told.code, told.stdout.len()), (Some(126), 0), "{mistyped}: {told:?}");
        assert!(told.err().contains("BASTION help"), "{mistyped}: {told:?}");
    }
}

// P10: refusals and lists never tell what exists.
#[test]
fn what_a_user_may_not_reach_is_nowhere() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, mallory) = house(&sshd);
    // Denials of what there is, of what there is not, and of what a rule for others opens.
    let whys: Vec<(Value, Value)> = ["x@hidden", "x@no-such", "hidden-account@db1"]
        .iter()
        .map(|asked| {
            assert_eq!(bastion.login(asked).run("id").code, Some(126));
            let why = json(&alice, "why");
            (why["refused"].clone(), why["next"].clone())
        })
        .collect();
    assert!(whys.iter().all(|why| *why == whys[0]), "{whys:?}");
    let verbs = ["ls", "ls --json", "ls hidden", "sessions --json", "whoami --json", "help", "recording list"];
    for route in [&alice, &mallory] {
        for verb in verbs {
            let told = route.run(verb).ok().text();
            assert!(!told.contains("hidden"), "{verb}: {told}");
        }
        let told = route.run_with(&["-T"], "", b"hidden\n").ok().text();
        assert!(!told.contains("hidden"), "{told}");
        block_on(async {
            let own = Own::connect(route).await;
            let mut channel = menu(&own).await;
            channel.data_bytes(&b"hidd\r\t\t\t?x\x1b[F\x03"[..]).await.unwrap();
            let told = finish(&mut channel, LIMIT).await;
            assert!(!String::from_utf8_lossy(&told.stdout).contains("hidden"), "{told:?}");
        });
    }
    assert_eq!(mallory.run("ls --json").out(), "[]\n");
    assert!(mallory.run("ls").out().contains("ask an operator"));
    assert!(mallory.run("whoami").out().contains("groups        nobody"));
}

// T23: whatever is typed at a menu, it costs its user alone.
#[test]
fn no_bytes_at_a_menu_harm_the_bastion_or_others() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, alice, mallory) = house(&sshd);
    let before = memory(bastion.pid(), "status", "VmRSS");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    block_on(async {
        let own = Own::connect(&alice).await;
        for round in 0..12_u64 {
            let mut channel = menu(&own).await;
            for _ in 0..30 {
                // Not the keys that leave, for as long as there is something to try.
                let size = usize::try_from(random() % 30_000).unwrap();
                let bytes: Vec<u8> = (0..size)
                    .map(|_| random().to_le_bytes()[0])
                    .map(|byte| match (byte, round % 3) {
                        (0x03 | 0x04 | b'q' | b'\r' | b'\n', _) => b'x',
                        (byte, 0) => byte,
                        (byte, _) => b"\x1b[O0123456789;~ABZ?\x7f\t"[usize::from(byte) % 20],
                    })
                    .collect();
                if channel.data_bytes(bytes).await.is_err() {
                    break;
                }
                let (cols, rows) = (random() as u32, (random() % 300) as u32);
                channel.window_change(cols, rows, 0, 0).await.unwrap();
            }
            // A menu that is flooded is still one.
            channel.data_bytes(&b"\x03"[..]).await.unwrap();
            let told = finish(&mut channel, LIMIT).await;
            assert!(told.status == Some(0) && told.closed, "{:?}", told.status);
        }
    });
    assert_eq!(mallory.run("whoami").code, Some(0));
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    let grown = memory(bastion.pid(), "status", "VmRSS").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more after the flood");
}

#[test]
fn one_user_has_eight_menus_at_once_and_others_have_theirs() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (_bastion, alice, mallory) = house(&sshd);
    block_on(async {
        let own = [Own::connect(&alice).await, Own::connect(&alice).await];
        let mut open = Vec::new();
        for number in 0..8 {
            open.push(menu(&own[number % 2]).await);
        }
        let mut one_more = own[0].handle.channel_open_session().await.unwrap();
        one_more.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
        one_more.request_shell(true).await.unwrap();
        let told = finish(&mut one_more, LIMIT).await;
        assert_eq!(told.status, Some(255), "{told:?}");
        assert!(String::from_utf8_lossy(&told.stderr).contains("busy"), "{told:?}");
        let theirs = Own::connect(&mallory).await;
        drop(menu(&theirs).await);
        // A menu that is left makes room.
        open.pop().unwrap().close().await.unwrap();
        let start = std::time::Instant::now();
        loop {
            let mut next = own[0].handle.channel_open_session().await.unwrap();
            next.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await.unwrap();
            next.request_shell(true).await.unwrap();
            if first_bytes(&mut next).await.contains(&b'?') {
                break;
            }
            assert!(start.elapsed() < LIMIT, "no room after a menu was left");
        }
    });
}

/// The first bytes that a channel shows, on either output.
async fn first_bytes(channel: &mut Channel<Msg>) -> Vec<u8> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => return data.to_vec(),
            Some(ChannelMsg::ExtendedData { .. }) | None => return Vec::new(),
            Some(_) => {}
        }
    }
}

#[test]
fn who_does_not_read_a_menu_holds_up_nobody_and_is_sent_away_when_the_bastion_stops() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (mut bastion, alice, mallory) = house(&sshd);
    let mut stuck = alice.start(&["-tt"], "");
    let mut typing = stuck.stdin();
    // Each key draws; nothing of it is read.
    let writer = std::thread::spawn(move || {
        for number in 0_u64..200_000 {
            let keys = if number % 2 == 0 { &b"\x1b[Fx"[..] } else { &b"\x1b[H\x7f"[..] };
            if std::io::Write::write_all(&mut typing, keys).is_err() {
                return;
            }
        }
    });
    holds(Duration::from_millis(1500), "an answer for others", || mallory.run("whoami").code == Some(0));
    assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
    assert_eq!(bastion.stop().code, Some(0));
    drop(stuck);
    writer.join().unwrap();
}
