//! A line that waits for a yes while its screen does not: what a program shows meanwhile, what it writes over, another size,
//! other rules, and how long it may still take.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::House;
use crate::fixture::process::run;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, until};
use crate::guard::SLIPS;
use crate::require;

/// What is beside the sets, and what is promised then.
const GUARDS: [(&str, &str); 2] = [("", "guard:exact"), (", integration = \"off\"", "guard:screen")];

/// Somebody at a shell in guard.
struct Desk {
    house: House,
    window: Terminal,
}

impl Desk {
    fn new((beside, greeting): (&'static str, &str), rules: &str) -> Self {
        let desk = Self::of(beside, rules, 100);
        desk.window.shows(greeting);
        desk.works("ready");
        desk
    }

    /// In a window of so many columns.
    fn of(beside: &'static str, rules: &str, cols: u16) -> Self {
        let house = House::guarding(Sshd::start(), beside, rules);
        let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), cols, 30);
        Self { house, window }
    }

    #[track_caller]
    fn works(&self, word: &str) {
        self.window.line(&format!("echo {word}-$((40+2))"));
        self.window.shows(&format!("{word}-42"));
    }

    /// A program in the background of the shell that shows what is written into this.
    fn background(&self) -> File {
        let pipe = self.path("pipe");
        let mut mkfifo = std::process::Command::new("mkfifo");
        mkfifo.arg(&pipe);
        run(mkfifo, b"", LIMIT).ok();
        self.window.line(&format!("cat {} &", pipe.display()));
        // It can be opened once the program has opened it.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let pipe = until(LIMIT, "reader", || File::options().write(true).custom_flags(flags).open(&pipe).ok());
        self.works("behind");
        pipe
    }

    fn path(&self, name: &str) -> PathBuf {
        self.house.bastion.scratch().join(name)
    }

    fn made(&self) -> PathBuf {
        self.path("made")
    }

    fn line(&self) -> String {
        format!("mkdir {}", self.made().display())
    }

    /// The line waits for a yes; its decision.
    fn asks(&self) -> String {
        self.window.line(&self.line());
        self.window.shows("Ctrl-C withdraws");
        until(LIMIT, "line that waits", || last(self.house.log("command.waits")))["decision"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn refused(&self) -> usize {
        self.house.log("command.refused").len() + self.house.log("command.step").len()
    }

    /// The folder is there once it is on record that it may be; or the line does not run, or is read otherwise now and
    /// asks anew, and that is on record.
    #[track_caller]
    fn ran_as_judged_or_not(&self, decision: &str) {
        let (refused, waits) = (self.refused(), self.house.log("command.waits").len());
        let told = self.house.ask("bob", &format!("approve {decision}"));
        let yes = usize::from(told.code == Some(0));
        let anew = || self.house.log("command.waits").len() > waits;
        let is_over = || self.made().exists() || self.refused() > refused + yes || anew();
        until(LIMIT, "end of the wait", || is_over().then_some(()));
        assert!(!self.made().exists() || self.is_on_record(&self.line()), "{}", self.window.screen());
    }

    fn is_on_record(&self, line: &str) -> bool {
        self.house.log("command.allowed").iter().any(|row| row["line"] == line)
    }
}

fn last(rows: Vec<Value>) -> Option<Value> {
    rows.into_iter().max_by_key(|row| row["seq"].as_u64())
}

#[test]
fn what_another_program_shows_goes_on_while_a_line_waits_for_a_yes() {
    require!("sshd", "ssh", "tmux", "bash", "mkfifo");
    for guard in GUARDS {
        let desk = Desk::new(guard, SLIPS);
        let mut pipe = desk.background();
        let decision = desk.asks();
        // It leaves the line as it was.
        pipe.write_all(b"\x1b7\x1b[1;1Htick-1\x1b8").unwrap();
        desk.window.shows("tick-1");
        assert!(!desk.made().exists());
        desk.house.ask("bob", &format!("approve {decision}")).ok();
        until(LIMIT, "folder", || desk.made().exists().then_some(()));
        assert!(desk.is_on_record(&desk.line()));
    }
}

#[test]
fn a_line_that_is_written_over_while_it_waits_does_not_run_with_its_yes() {
    require!("sshd", "ssh", "tmux", "bash", "mkfifo");
    let desk = Desk::new(GUARDS[1], SLIPS);
    desk.window.line("PS1='ready> '");
    desk.window.shows("\nready>");
    let mut pipe = desk.background();
    let decision = desk.asks();
    let other = desk.path("ran");
    pipe.write_all(format!("\rready> touch {}\x1b[K", other.display()).as_bytes()).unwrap();
    desk.window.shows(&format!("ready> touch {}", other.display()));
    desk.house.ask("bob", &format!("approve {decision}")).ok();
    // What stands there now is judged, not what stood there.
    let refused = until(LIMIT, "refusal", || last(desk.house.log("command.refused")));
    assert_eq!(refused["rule"], "no-touch", "{refused}");
    desk.window.shows("nothing is touched");
    desk.window.press("C-c");
    desk.works("again");
    assert!(!desk.made().exists() && !other.exists(), "{}", desk.window.screen());
}

#[test]
fn a_line_that_waits_does_not_run_once_the_rules_are_others() {
    require!("sshd", "ssh", "tmux", "bash");
    for guard in GUARDS {
        let desk = Desk::new(guard, SLIPS);
        let decision = desk.asks();
        desk.house.reload("guard", &SLIPS.replace("folders are made by two", "by two people"));
        desk.window.shows("the rules have changed");
        assert_ne!(desk.house.ask("bob", &format!("approve {decision}")).code, Some(0));
        assert_eq!(desk.house.steps(&decision), ["refused"]);
        desk.works("again");
        assert!(!desk.made().exists());
    }
}

#[test]
fn a_line_whose_window_changes_while_it_waits_runs_as_judged_or_not_at_all() {
    require!("sshd", "ssh", "tmux", "bash");
    for guard in GUARDS {
        for cols in [30, 1] {
            let desk = Desk::new(guard, SLIPS);
            let decision = desk.asks();
            desk.window.resize(cols, 30);
            until(LIMIT, "size", || (desk.window.state("#{pane_width}") == cols.to_string()).then_some(()));
            desk.ran_as_judged_or_not(&decision);
        }
    }
}

#[test]
fn in_a_window_of_one_column_nothing_runs_that_nobody_has_judged() {
    require!("sshd", "ssh", "tmux", "bash");
    for (beside, _) in GUARDS {
        let desk = Desk::of(beside, SLIPS, 1);
        let (ran, copied) = (desk.path("ran"), desk.path("copied"));
        desk.window.bytes(format!("touch {}\r", ran.display()).as_bytes());
        until(LIMIT, "refusal", || (desk.refused() > 0).then_some(()));
        let before = desk.refused();
        let line = format!("cp /dev/null {}", copied.display());
        let mut typed = None::<Instant>;
        // What is typed before the refused line is gone goes with it.
        until(LIMIT, "end of another", || {
            if typed.is_none_or(|typed| typed.elapsed() > Duration::from_secs(3)) {
                desk.window.bytes(format!("\x03{line}\r").as_bytes());
                typed = Some(Instant::now());
            }
            (copied.exists() || desk.refused() > before).then_some(())
        });
        assert!(!copied.exists() || desk.is_on_record(&line), "{}", desk.window.screen());
        assert!(!ran.exists());
    }
}

#[test]
fn whoever_waits_is_told_how_long_they_may_still_wait_however_short_that_is() {
    require!("sshd", "ssh", "tmux", "bash");
    let desk = Desk::new(GUARDS[1], &SLIPS.replace("10m", "1m"));
    let decision = desk.asks();
    desk.window.shows(&format!("{decision} still waits: "));
    assert!(!desk.made().exists() && desk.house.steps(&decision).is_empty());
}
