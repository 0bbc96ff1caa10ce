//! Shells in guard that are read from the screen: each line is held until it is judged, whatever key runs it and wherever it
//! came from.

use std::path::PathBuf;

use crate::commands::House;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, until};
use crate::require;

/// Everything may run but `touch`; `mkdir` takes a yes.
pub(crate) const SLIPS: &str = r#"
schema  = 1
mode    = "guard"
default = "allow"

[[rule]]
id      = "no-touch"
effect  = "deny"
program = "/usr/bin/touch"
reason  = "nothing is touched"

[[rule]]
id      = "mkdir-asks"
effect  = "approve"
program = "/usr/bin/mkdir"
approvers = { group = "leads", within = "10m" }
reason  = "folders are made by two"

[[test]]
expect = "deny no-touch"
lines  = ["touch x"]

[[test]]
expect = "approve mkdir-asks"
lines  = ["mkdir x"]
"#;

/// A shell in guard, in a window.
struct Desk {
    house: House,
    window: Terminal,
    step: usize,
}

impl Desk {
    fn new() -> Self {
        let house = House::guarding(Sshd::start(), ", integration = \"off\"", SLIPS);
        let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 80, 30);
        window.shows("guard:screen");
        let mut desk = Self { house, window, step: 0 };
        desk.works();
        desk
    }

    /// What must not come to be.
    fn forbidden(&self) -> PathBuf {
        self.house.bastion.scratch().join("ran")
    }

    fn touch(&self) -> String {
        format!("touch {}", self.forbidden().display())
    }

    fn refusals(&self) -> usize {
        self.house.log("command.refused").len()
    }

    /// A line that may run does.
    #[track_caller]
    fn works(&mut self) {
        self.step += 1;
        self.window.line(&format!("echo step-$(({} + 1000))", self.step));
        self.window.shows(&format!("\nstep-{}", self.step + 1000));
    }

    /// Lets something be typed that would touch the file, and sees that it is refused and that the shell can be used.
    #[track_caller]
    fn refuses(&mut self, what: &str, typing: impl FnOnce(&Terminal, &str)) {
        let (before, touch) = (self.refusals(), self.touch());
        typing(&self.window, &touch);
        until(LIMIT, what, || (self.refusals() > before).then_some(()));
        let rows = self.house.log("command.refused");
        let last = rows.iter().max_by_key(|row| row["seq"].as_u64()).unwrap()["decision"].as_str().unwrap();
        self.window.shows(&format!("name {last}"));
        self.works();
        assert!(!self.forbidden().exists(), "{what}: it ran\n{}", self.window.screen());
    }
}

#[test]
fn a_refused_line_is_wiped_wherever_it_came_from_and_whatever_key_runs_it() {
    require!("sshd", "ssh", "tmux", "bash");
    let mut desk = Desk::new();
    desk.refuses("typed", |window, touch| window.line(touch));
    for key in ["C-j", "C-o"] {
        desk.refuses(key, |window, touch| {
            window.type_text(touch);
            window.press(key);
        });
    }
    desk.refuses("Ctrl-X Ctrl-E", |window, touch| {
        window.type_text(touch);
        window.press("C-x");
        window.press("C-e");
    });
    desk.refuses("edited in the middle", |window, touch| {
        window.type_text(touch.strip_prefix("to").unwrap());
        window.press("C-a");
        window.type_text("to");
        window.press("Enter");
    });
    desk.refuses("wrapped, the cursor on its first row", |window, touch| {
        window.type_text(&format!("{touch} {}", "x".repeat(150)));
        window.press("C-a");
        window.press("Enter");
    });
    let touch = desk.touch();
    desk.window.line(&format!("history -s '{touch}'"));
    desk.works();
    desk.refuses("recalled", |window, _| {
        window.press("Up");
        window.press("Up");
        window.press("Enter");
    });
    desk.refuses("found by Ctrl-R", |window, _| {
        window.press("C-r");
        window.type_text("ouch");
        window.press("Enter");
    });
    desk.refuses("brought in by !", |window, _| window.line("!to"));
    desk.refuses("pasted, with a line before it and one behind", |window, touch| {
        window.type_text(&format!("echo pasted\n{touch}\n{touch}\n"));
    });
    desk.refuses("typed ahead", |window, touch| {
        window.line("sleep 1");
        window.line(touch);
    });
    let rows = desk.house.log("command.allowed");
    let first = rows.iter().find(|row| row["line"].as_str().unwrap().starts_with("echo step-")).unwrap();
    assert_eq!((&first["mode"], &first["confidence"]), (&"guard".into(), &"screen".into()));
}

#[test]
fn nothing_that_a_program_prints_switches_it_off() {
    require!("sshd", "ssh", "tmux", "bash");
    let mut desk = Desk::new();
    desk.window.line("printf '\\033[?1049h\\033[2;1H'");
    desk.works();
    desk.refuses("on the alternate screen", |window, touch| window.line(touch));
    desk.window.line("printf '\\033[?1049l'");
    desk.works();
    desk.window.line("PS1='password:'; stty -echo");
    desk.window.shows("password:");
    let (before, touch) = (desk.refusals(), desk.touch());
    desk.window.line(&touch);
    until(LIMIT, "refusal", || (desk.refusals() > before).then_some(()));
    let hidden = desk
        .house
        .log("command.refused")
        .into_iter()
        .find(|row| row["line"].as_str().unwrap().contains("without being shown"));
    assert!(hidden.is_some_and(|row| row["confidence"] == "keys"));
    desk.window.shows("to read this again");
    desk.window.line("stty echo; PS1='$ '");
    desk.works();
    assert!(!desk.forbidden().exists());
    let gaps: Vec<String> =
        desk.house.log("command.gap").iter().map(|row| row["gap"].as_str().unwrap().to_owned()).collect();
    assert!(gaps.contains(&"alternate-screen".to_owned()) && gaps.contains(&"echo-off".to_owned()), "{gaps:?}");
}

#[test]
fn a_line_that_takes_a_yes_waits_for_it_and_runs_once_it_is_there() {
    require!("sshd", "ssh", "tmux", "bash");
    let desk = Desk::new();
    let folder = desk.house.bastion.scratch().join("made");
    let ask = |times: usize| {
        desk.window.line(&format!("mkdir {}", folder.display()));
        let waits = until(LIMIT, "line that waits", || {
            let rows = desk.house.log("command.waits");
            (rows.len() == times).then(|| rows.iter().max_by_key(|row| row["seq"].as_u64()).unwrap().clone())
        });
        desk.window.shows("Ctrl-C withdraws");
        waits["decision"].as_str().unwrap().to_owned()
    };
    let first = ask(1);
    // Nothing else that is typed meanwhile is kept.
    desk.window.type_text("echo lost");
    desk.window.press("C-c");
    desk.window.shows("you withdrew it");
    assert_eq!(desk.house.steps(&first), ["withdrawn"]);
    assert!(!folder.exists());
    let second = ask(2);
    desk.house.ask("bob", &format!("approve {second}")).ok();
    until(LIMIT, "folder", || folder.exists().then_some(()));
}

#[test]
fn a_prompt_within_the_shell_is_not_opened_and_a_shell_without_a_terminal_neither() {
    require!("sshd", "ssh", "tmux", "bash");
    let mut desk = Desk::new();
    for line in ["bash", "python3", "su -"] {
        let before = desk.refusals();
        desk.window.line(line);
        until(LIMIT, line, || (desk.refusals() > before).then_some(()));
        desk.window.shows("opens a prompt of its own");
        desk.works();
    }
    let told = desk.house.alice().run_with(&["-T"], "", b"echo piped-in\n");
    assert!(told.code == Some(126) && !told.out().contains("piped-in"), "{told:?}");
    assert!(told.err().contains("takes a terminal"), "{told:?}");
    let told = desk.house.alice().run_with(&["-tt"], "bash", b"echo piped-in\n");
    assert!(told.out().contains("opens a prompt of its own") || told.err().contains("opens a prompt"), "{told:?}");
}
