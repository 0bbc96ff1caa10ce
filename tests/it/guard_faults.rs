//! A held line where something fails: the target, the user's connection, the log. It does not run, whoever is there is told,
//! and what is on record is true.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::commands::House;
use crate::fixture::process::descendants;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Syncs, holds, until};
use crate::require;

/// Everything may run, but `mkdir` takes a yes.
const RULES: &str = r#"
schema  = 1
mode    = "guard"
default = "allow"

[[rule]]
id        = "mkdir-asks"
effect    = "approve"
program   = "/usr/bin/mkdir"
approvers = { group = "leads", within = "10m" }
reason    = "folders are made by two"

[[test]]
expect = "approve mkdir-asks"
lines  = ["mkdir x"]
"#;

/// A shell in guard, at a prompt that has run a line.
fn shell(house: &House) -> Terminal {
    house.reload("guard", RULES);
    let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 80, 30);
    window.shows("doorward: guard");
    window.line("echo be$((40 + 2))fore");
    window.shows("\nbe42fore");
    window
}

/// What must not come to be.
fn folder(house: &House) -> PathBuf {
    house.bastion.scratch().join("made")
}

/// A line that waits for a yes; its decision.
fn held(house: &House, window: &Terminal) -> String {
    window.line(&format!("mkdir {}", folder(house).display()));
    window.shows("Ctrl-C withdraws it");
    house.log("command.waits")[0]["decision"].as_str().unwrap().to_owned()
}

/// The line is held no more, by nobody's yes; the recording is whole.
#[track_caller]
fn is_over(house: &House, decision: &str) {
    let steps = until(LIMIT, "end of the wait", || Some(house.steps(decision)).filter(|steps| !steps.is_empty()));
    assert!(steps == ["withdrawn"] || steps == ["refused"], "{steps:?}");
    let told = house.ask("bob", &format!("approve {decision}"));
    assert_ne!(told.code, Some(0), "a yes to nobody: {told:?}");
    assert!(!house.ask("bob", "requests").ok().out().contains(decision));
    house.bastion.empties(LIMIT);
    assert!(!folder(house).exists());
    house.bastion.opens(&house.bastion.only_recording());
    assert!(house.log("command.allowed").iter().all(|row| row["decision"] != decision));
}

#[test]
fn a_target_that_dies_while_a_line_is_held_ends_the_session_and_the_wait() {
    require!("sshd", "ssh", "tmux", "bash");
    let house = House::new("guard");
    let window = shell(&house);
    let decision = held(&house, &window);
    for pid in descendants(house.sshd.pid()) {
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
    }
    until(LIMIT, "end", || window.ended().then_some(()));
    assert!(window.screen().contains("the target closed the connection"), "{}", window.screen());
    is_over(&house, &decision);
    assert!(house.bastion.lives());
}

#[test]
fn a_user_who_is_gone_while_a_line_is_held_takes_it_along() {
    require!("sshd", "ssh", "tmux", "bash");
    let house = House::new("guard");
    let window = shell(&house);
    let decision = held(&house, &window);
    drop(window);
    is_over(&house, &decision);
    until(LIMIT, "end of the shell", || descendants(house.sshd.pid()).is_empty().then_some(()));
}

#[test]
fn a_session_that_is_ended_while_a_line_is_held_ends_the_wait() {
    require!("sshd", "ssh", "tmux", "bash");
    let house = House::new("guard");
    let window = shell(&house);
    let decision = held(&house, &window);
    house.bastion.doorward(&["session", "kill", &house.bastion.only_session()]).ok();
    until(LIMIT, "end", || window.ended().then_some(()));
    is_over(&house, &decision);
}

#[test]
fn a_line_that_the_log_does_not_take_does_not_run_and_its_user_is_told() {
    require!("sshd", "ssh", "tmux", "bash", "cc");
    let mut built = None;
    let house = House::prepared("guard", |bastion| {
        let syncs = Syncs::build(bastion.scratch());
        bastion.environment = syncs.environment("fail", "/log/leaves.wal");
        built = Some(syncs);
    });
    let syncs = built.unwrap();
    let window = shell(&house);
    // The log is told other things, too: one of them may be what fails.
    let ran = until(LIMIT, "line that could not be put on record", || {
        let ran = |screen: &str| screen.matches("\ndu42ring").count();
        let before = ran(&window.screen());
        syncs.begin();
        window.line("echo du$((40 + 2))ring");
        let failed = |screen: &str| screen.contains("could not be put on record, so it does not run");
        let screen =
            until(LIMIT, "answer", || Some(window.screen()).filter(|screen| failed(screen) || ran(screen) > before));
        failed(&screen).then_some(before)
    });
    syncs.end();
    // What was wiped does not come back, and the next line is on record before it runs.
    until(LIMIT, "line that is on record again", || {
        window.line("echo af$((40 + 2))ter");
        holds(std::time::Duration::from_millis(300), "a prompt", || true);
        window.screen().contains("\naf42ter").then_some(())
    });
    assert_eq!(window.screen().matches("\ndu42ring").count(), ran, "{}", window.screen());
    let allowed = |part: &str| {
        house.log("command.allowed").iter().filter(|row| row["line"].as_str().unwrap().contains(part)).count()
    };
    assert!(allowed("ter") > 0 && allowed("ring") == ran, "{ran}: {}", window.screen());
    window.line("exit");
    until(LIMIT, "end", || window.ended().then_some(()));
    house.bastion.empties(LIMIT);
    house.bastion.opens(&house.bastion.only_recording());
    let mut bastion = house.bastion;
    bastion.stop();
    let told = bastion.doorward(&["verify"]);
    assert!(matches!(told.code, Some(0 | 3)), "{told:?}");
}
