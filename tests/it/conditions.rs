//! What rules want besides the right: hours, networks, a fresh second factor, a yes; and how long sessions may be.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::fixture::authenticator::Authenticator;
use crate::fixture::bastion::{ALICE, OPEN};
use crate::fixture::route::line;
use crate::fixture::security_key::{SecurityKey, TOUCH};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, key, until};
use crate::require;

/// A bastion whose rule for Alice has these conditions.
fn house(sshd: &Sshd, conditions: &str) -> Bastion {
    let mut bastion = Bastion::furnished(sshd);
    bastion.policy(&format!("{OPEN}{conditions}\n"));
    bastion.serve();
    bastion
}

fn reload(bastion: &Bastion, conditions: &str) {
    bastion.policy(&format!("{OPEN}{conditions}\n"));
    bastion.doorward(&["policy", "reload"]).ok();
}

#[track_caller]
fn let_in(route: &Route) {
    let seen = route.run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("ran\n", Some(0)), "{seen:?}");
}

#[track_caller]
fn refused(route: &Route, why: &str) {
    let seen = route.run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(126)), "{seen:?}");
    assert!(seen.err().contains(why), "{why}: {seen:?}");
}

/// `ssh -tt` with this command in a terminal; its status is on the screen at the end.
fn typed(route: &Route, command: &str) -> Terminal {
    let ssh = route.ssh(&["-tt"], command);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$@"; echo left-$?; read -r end"#, "sh"]).arg(ssh.get_program()).args(ssh.get_args());
    Terminal::start(&shell, 100, 30)
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Hours in UTC, from some minutes before now to this moment, a whole minute.
fn hours_until(end: u64) -> String {
    let clock = |second: u64| format!("{:02}:{:02}", second / 3600 % 24, second / 60 % 60);
    format!("hours = \"{}-{}\", zone = \"UTC\"", clock(end - 600), clock(end))
}

#[test]
fn c6_when_the_hours_end_live_sessions_end_or_go_on_as_the_rule_says_and_no_new_ones_begin() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "late", &bobs);
    bastion.serve();
    // The next full minute that leaves time enough to begin.
    let end = (now() + 20).next_multiple_of(60);
    let kept = OPEN.replace("\"dba\"", "\"late\"").replace("schema = 1", "");
    bastion.policy(&format!(
        "{OPEN}when = {{ {hours} }}\n{kept}when = {{ {hours}, live = \"keep\" }}\n",
        hours = hours_until(end)
    ));
    bastion.doorward(&["policy", "reload"]).ok();
    let (alice, bob) = (bastion.to(&sshd), bastion.to(&sshd).key(&bobs));
    let (ending, _stdout) = alice.start_ready(&[], "sleep 600");
    let (mut going_on, mut echoed) = bob.start_ready(&[], "cat");
    assert!(now() < end, "the machine is too slow to begin in time");
    let ended = ending.wait(Duration::from_secs(90));
    assert!((end..end + 5).contains(&now()), "{} s after the end", now().abs_diff(end));
    assert_eq!(ended.code, Some(255), "{ended:?}");
    assert!(ended.err().contains("with the hours that it is for"), "{ended:?}");
    for route in [&alice, &bob] {
        refused(route, "not at this hour");
    }
    let mut input = going_on.stdin();
    input.write_all(b"still here\n").unwrap();
    assert_eq!(line(&mut echoed), "still here\n");
    drop(input);
    assert_eq!(going_on.wait(LIMIT).code, Some(0));
    let log = bastion.audit();
    assert!(log.contains("the hours of the rule ended") && log.contains("holds at other hours"), "{log}");
    // A rule that comes to hold at other hours ends what is live at once.
    reload(&bastion, "");
    let (live, _stdout) = alice.start_ready(&[], "sleep 600");
    reload(&bastion, &format!("when = {{ {} }}", hours_until(now() / 60 * 60 - 60)));
    let ended = live.wait(LIMIT);
    assert!(ended.code == Some(255) && ended.err().contains("with the hours that it is for"), "{ended:?}");
}

#[test]
fn a_rule_holds_from_its_networks_only() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "from = [\"10.0.0.0/8\"]");
    let alice = bastion.to(&sshd);
    refused(&alice, "not from here");
    let told = alice.run("true");
    assert!(!told.err().contains("10.0.0.0"), "which networks is not told: {told:?}");
    // Who would not be let in from anywhere is told what is told of any place.
    let mallorys = key(bastion.scratch(), "mallory", "ed25519", "");
    bastion.add_user("mallory", "nobody", &mallorys);
    refused(&alice.key(&mallorys), "you hold no right");
    reload(&bastion, "from = [\"10.0.0.0/8\", \"127.0.0.0/8\"]");
    let_in(&alice);
    let (live, _stdout) = alice.start_ready(&[], "sleep 600");
    reload(&bastion, "from = [\"10.0.0.0/8\"]");
    assert_eq!(live.wait(LIMIT).code, Some(255));
}

#[test]
fn c18_an_old_second_factor_is_asked_for_anew_and_a_code_counts_once() {
    require!("sshd", "ssh", "tmux", "python3");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "mfa = { within = \"10m\" }");
    let alice = bastion.to(&sshd);
    // Codes alone, without a password; and none at first.
    let none = typed(&alice, "echo in");
    none.shows("an operator sets them up");
    none.shows("left-126");
    let phone = Authenticator::enrol(&bastion, ALICE);
    refused(&alice, "ssh -t USER@BASTION mfa");
    let (code, wrong) = (phone.code(0), "no code");
    let terminal = typed(&alice, "echo i''n; cat");
    terminal.shows("One-time code:");
    terminal.line(wrong);
    terminal.shows("not accepted");
    terminal.line(&code);
    let screen = terminal.shows("\nin\n");
    assert!(!screen.contains(&code) && !screen.contains(wrong), "what was typed is on the screen:\n{screen}");
    // Nor is it in the recording, whose session goes on; what comes without a terminal now does too.
    let session = bastion.only_session();
    let_in(&alice);
    terminal.press("C-d");
    terminal.shows("left-0");
    bastion.empties(LIMIT);
    let recorded = String::from_utf8_lossy(&bastion.export(&session, "v3", &[])).into_owned();
    assert!(recorded.contains("in") && !recorded.contains(&code), "{recorded}");
    // Once it is too old it is asked for again, and the code of before is none.
    reload(&bastion, "mfa = { within = \"4s\" }");
    until(LIMIT, "a second factor that is too old", || (alice.run("true").code == Some(126)).then_some(()));
    let terminal = typed(&alice, "echo i''n");
    terminal.shows("One-time code:");
    terminal.line(&code);
    terminal.shows("not accepted");
    terminal.line(&phone.code(1));
    terminal.shows("\nin\n");
    terminal.shows("left-0");
    let log = bastion.audit();
    for (kind, count) in [("auth.confirmed", 2), ("auth.failed", 2)] {
        let found = log.lines().filter(|line| line.contains(&format!("\"{kind}\""))).count();
        assert_eq!(found, count, "{kind}: {log}");
    }
    assert!(log.contains("a one-time code that was used before") && !log.contains(&code), "{log}");
}

#[test]
fn a_second_factor_is_given_beforehand_or_by_the_login_itself() {
    require!("sshd", "ssh", "tmux", "python3");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "mfa = { within = \"10m\" }");
    let (alice, phone) = (bastion.to(&sshd), Authenticator::enrol(&bastion, ALICE));
    let asked = bastion.login(ALICE).run("mfa");
    assert!(asked.code == Some(126) && asked.err().contains("ssh -t"), "{asked:?}");
    let terminal = typed(&bastion.login(ALICE), "mfa");
    terminal.shows("One-time code:");
    terminal.line(&phone.code(0));
    terminal.shows("the code was accepted");
    terminal.shows("left-0");
    let_in(&alice);
    // It counts for the key that it was given with.
    let other = key(bastion.scratch(), "other", "ed25519", "");
    bastion.add_key(ALICE, &other).ok();
    refused(&alice.key(&other), "ssh -t USER@BASTION mfa");
    let touched = SecurityKey::ed25519(bastion.scratch(), "one");
    bastion.doorward(&["user", "key", "add", ALICE, touched.public.to_str().unwrap()]).ok();
    touched.user_does(TOUCH);
    let agent = format!("IdentityAgent={}", touched.socket.display());
    let_in(&alice.key(&touched.public).with(&agent));
    // Wrong ones lock out, as at the login: the right one is not taken then.
    let terminal = typed(&bastion.login(ALICE).key(&other), "mfa");
    for _ in 0..3 {
        terminal.shows("One-time code:");
        terminal.line("000000");
    }
    terminal.shows("no code was accepted");
    terminal.shows("left-126");
    let terminal = typed(&bastion.login(ALICE).key(&other), "mfa");
    for code in ["000000", "000000", &phone.code(1)] {
        terminal.shows("One-time code:");
        terminal.line(code);
    }
    terminal.shows("left-126");
    until(LIMIT, "the lock-out on record", || bastion.audit().contains("locked out until").then_some(()));
}

#[test]
fn a_text_is_agreed_to_and_that_is_on_record_before_the_session_begins() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "consent = \"You are recorded.\\nSo is what you type.\"");
    let alice = bastion.to(&sshd);
    refused(&alice, "ssh -t USER@BASTION consent");
    let terminal = typed(&alice, "echo i''n");
    terminal.shows("So is what you type.");
    terminal.line("no");
    terminal.shows("needs your yes");
    terminal.shows("left-126");
    assert!(!bastion.audit().contains("\"consent.given\""));
    for _ in 0..2 {
        // Each session on a terminal shows it.
        let terminal = typed(&alice, "echo i''n");
        terminal.shows("Type yes to agree:");
        terminal.line("well");
        // What is typed before the question is asked again is no answer to it.
        until(LIMIT, "the question again", || {
            (terminal.screen().matches("Type yes to agree:").count() == 2).then_some(())
        });
        terminal.line("yes");
        terminal.shows("\nin\n");
        terminal.shows("left-0");
    }
    let_in(&alice);
    let rows = bastion.rows(&["audit", "list"]);
    let mut kinds: Vec<&str> = rows.iter().filter_map(|row| row["type"].as_str()).collect();
    kinds.retain(|kind| matches!(*kind, "consent.given" | "session.start"));
    assert_eq!(kinds, ["consent.given", "session.start", "consent.given", "session.start", "session.start"]);
    // Another text is another question; the verb asks it for what has no terminal.
    reload(&bastion, "consent = \"You are watched, too.\"");
    refused(&alice, "ssh -t USER@BASTION consent");
    let terminal = typed(&bastion.login(ALICE), "consent");
    terminal.shows("You are watched, too.");
    terminal.line("YES");
    terminal.shows("agreed, for twelve hours");
    terminal.shows("left-0");
    let_in(&alice);
}

#[test]
fn a_session_in_which_nothing_happens_is_warned_and_ended() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "limits = { idle = \"3s\" }");
    let alice = bastion.to(&sshd);
    // Keepalives are no sign of life.
    let (silent, _stdout) = alice.with("ServerAliveInterval=1").start_ready(&[], "sleep 600");
    let ended = silent.wait(LIMIT);
    assert!(ended.code == Some(255) && ended.err().contains("nothing was typed or shown for too long"), "{ended:?}");
    // Output is, and so is what is typed.
    let seen = alice.run("for i in 1 2 3 4 5; do sleep 1; echo $i; done");
    assert_eq!((seen.out().as_str(), seen.code), ("1\n2\n3\n4\n5\n", Some(0)), "{seen:?}");
    let terminal = typed(&alice, "sleep 600");
    terminal.shows("Without a sign of life");
    terminal.shows("nothing was typed or shown for too long");
    terminal.shows("left-255");
    until(LIMIT, "the cause on record", || {
        bastion.audit().contains("\"nothing was typed or shown for too long\"").then_some(())
    });
}

#[test]
fn a_user_has_so_many_sessions_at_once_and_each_lasts_so_long() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = house(&sshd, "limits = { sessions = 2 }");
    let alice = bastion.to(&sshd);
    let (first, _one) = alice.start_ready(&[], "sleep 600");
    let (_second, _two) = alice.start_ready(&[], "sleep 600");
    refused(&alice, "as many as you may");
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "dba", &bobs);
    let_in(&alice.key(&bobs));
    drop(first);
    until(LIMIT, "room for another", || (alice.run("true").code == Some(0)).then_some(()));
    reload(&bastion, "limits = { length = \"3s\" }");
    let begun = std::time::Instant::now();
    let (long, _stdout) = alice.start_ready(&[], "while sleep 0.1; do echo on; done >&2");
    let ended = long.wait(LIMIT);
    assert!(ended.code == Some(255) && ended.err().contains("lasted as long as it may"), "{ended:?}");
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_session_is_one_of_a_rules_by_its_further_channels_too() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let rule = |id: &str, channel: &str, limits: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ targets = [\"db1\"] }}\naccounts = [\"@me\"]\n\
             channels = [\"{channel}\"]\ngrant = {{ required = false }}\n{limits}\n"
        )
    };
    let (shells, commands) = (rule("shells", "shell", ""), rule("commands", "exec", "limits = { sessions = 1 }"));
    bastion.policy(&format!("schema = 1\n{shells}{commands}"));
    bastion.serve();
    let shared = [(); 2].map(|()| bastion.to(&sshd).master(bastion.scratch()));
    let open = [0, 1].map(|at| shared[at].route.start(&["-tt"], ""));
    until(LIMIT, "two sessions", || (bastion.sessions().len() == 2).then_some(()));
    let_in(&shared[0].route);
    let_in(&shared[0].route);
    refused(&shared[1].route, "as many as you may");
    drop(open);
}

#[test]
fn an_approved_request_does_not_begin_at_an_hour_at_which_it_would_be_refused() {
    require!("sshd", "ssh", "tmux");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "leads", &bobs);
    let asking = OPEN
        .replace("{ required = false }", "{ approvers = { group = \"leads\" }, activation = \"8h\", reason = false }");
    bastion.policy(&format!("{asking}from = [\"10.0.0.0/8\"]\n"));
    bastion.serve();
    let alice = bastion.to(&sshd);
    let told = bastion.login(ALICE).run(&format!("request {}@db1 --for 1h --json", sshd.account)).ok().out();
    let row: serde_json::Value = serde_json::from_str(&told).unwrap();
    let request = row["request"].as_str().unwrap().to_owned();
    bastion.login("bob").key(&bobs).run(&format!("approve {request}")).ok();
    let state = || bastion.rows(&["request", "list", "--all"])[0]["state"].as_str().unwrap().to_owned();
    refused(&alice, "access denied");
    assert_eq!(state(), "approved", "its time was spent for nothing");
    // What can be asked for is asked for first.
    bastion.policy(&format!("{asking}consent = \"You are recorded.\"\n"));
    bastion.doorward(&["policy", "reload"]).ok();
    refused(&alice, "ssh -t USER@BASTION consent");
    assert_eq!(state(), "approved");
    let terminal = typed(&alice, "echo i''n");
    terminal.shows("Type yes to agree:");
    assert_eq!(state(), "approved");
    terminal.line("yes");
    terminal.shows("\nin\n");
    assert_eq!(state(), "granted");
}
