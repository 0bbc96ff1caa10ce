//! Lines that ask, while the store of what is asked cannot be written: nothing runs, and those who ask and answer are told.

use std::path::PathBuf;

use crate::commands::House;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Syncs, until};
use crate::guard::SLIPS;
use crate::require;

/// A shell in guard on a disk that can be made to fail.
struct Desk {
    house: House,
    window: Terminal,
    syncs: Syncs,
}

impl Desk {
    fn new() -> Self {
        let mut built = None;
        let house = House::prepared("guard", |bastion| {
            let syncs = Syncs::build(bastion.scratch());
            bastion.environment = syncs.environment("fail", "/log/leaves.wal");
            built = Some(syncs);
        });
        house.reload("guard", SLIPS);
        let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 100, 30);
        window.shows("doorward: guard");
        window.line("echo be$((40 + 2))fore");
        window.shows("be42fore");
        Self { house, window, syncs: built.unwrap() }
    }

    fn made(&self) -> PathBuf {
        self.house.bastion.scratch().join("made")
    }

    /// How often the screen shows this.
    fn times(&self, text: &str) -> usize {
        self.window.screen().matches(text).count()
    }
}

#[test]
fn a_line_that_asks_does_not_run_where_the_question_cannot_be_kept() {
    require!("sshd", "ssh", "tmux", "bash", "cc");
    let desk = Desk::new();
    // The log is told other things, too: one of them may be what fails.
    until(LIMIT, "question that could not be kept", || {
        let (waits, refused) = (desk.times("Ctrl-C withdraws it"), desk.times("doorward: refused"));
        desk.syncs.begin();
        desk.window.line(&format!("mkdir {}", desk.made().display()));
        let failed = until(LIMIT, "answer", || match desk.times("doorward: refused") > refused {
            true => Some(true),
            false => (desk.times("Ctrl-C withdraws it") > waits).then_some(false),
        });
        if !failed {
            desk.window.press("C-c");
            until(LIMIT, "withdrawal", || (desk.times("doorward: refused") > refused).then_some(()));
        }
        failed.then_some(())
    });
    desk.syncs.end();
    let screen = desk.window.screen();
    assert!(screen.contains("this could not be kept, so it did not happen"), "{screen}");
    assert!(!desk.made().exists());
    desk.window.line("echo af$((40 + 2))ter");
    desk.window.shows("af42ter");
}

#[test]
fn a_yes_that_cannot_be_kept_lets_nothing_run() {
    require!("sshd", "ssh", "tmux", "bash", "cc");
    let desk = Desk::new();
    desk.window.line(&format!("mkdir {}", desk.made().display()));
    desk.window.shows("Ctrl-C withdraws it");
    let decision = desk.house.log("command.waits")[0]["decision"].as_str().unwrap().to_owned();
    // The login of the approver is logged, too: that may be what fails.
    let told = until(LIMIT, "yes that could not be kept", || {
        desk.syncs.begin();
        let told = desk.house.ask("bob", &format!("approve {decision}"));
        (told.code != Some(0) || desk.times("doorward: refused") > 0).then_some(told)
    });
    desk.syncs.end();
    assert!(!desk.made().exists(), "{told:?}");
    assert!(desk.house.log("command.allowed").iter().all(|row| row["decision"] != decision.as_str()));
    assert!(!told.err().is_empty(), "{told:?}");
}
