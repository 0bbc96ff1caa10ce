//! Shells in guard that say their lines themselves: bash, zsh and fish, by a real `ssh` through the bastion.

use std::path::PathBuf;

use serde_json::Value;

use crate::commands::{House, markers};
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, find, until};
use crate::guard::SLIPS;
use crate::require;

/// Files of a user's own, by shell: where, and what they say.
const FILES: &[(&str, &str, &str)] = &[
    ("bash", ".bash_profile", "PS1='P> '\nHISTFILE=\n"),
    ("zsh", ".zshrc", "PS1='P> '\n"),
    ("fish", ".config/fish/config.fish", "function fish_prompt; echo -n 'P> '; end\nset -g fish_greeting\n"),
    ("dash", ".profile", "PS1='P> '\n"),
];

/// A person at a shell of this kind.
struct Desk {
    house: House,
    window: Terminal,
    step: usize,
    _home: tempfile::TempDir,
}

impl Desk {
    fn at(shell: &str, beside: &'static str) -> Option<Self> {
        let Some(program) = find(shell) else {
            println!("skipped: the program `{shell}` is missing");
            return None;
        };
        let home = crate::fixture::scratch();
        for (_, file, text) in FILES.iter().filter(|(name, ..)| *name == shell) {
            let file = home.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let environment = format!("SetEnv HOME={} SHELL={} LANG=C.UTF-8", home.path().display(), program.display());
        let house = House::guarding(Sshd::with(&[&environment]), beside, SLIPS);
        let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 80, 40);
        Some(Self { house, window, step: 0, _home: home })
    }

    /// The same, once the shell says its lines.
    fn exact(shell: &str, beside: &'static str) -> Option<Self> {
        let mut desk = Self::at(shell, beside)?;
        desk.window.shows("guard:exact");
        desk.window.shows("P> ");
        desk.works("exact");
        Some(desk)
    }

    fn forbidden(&self) -> PathBuf {
        self.house.bastion.scratch().join("ran")
    }

    fn touch(&self) -> String {
        format!("touch {}", self.forbidden().display())
    }

    /// Those of the log, in order.
    fn rows(&self, kind: &str) -> Vec<Value> {
        let mut rows = self.house.log(kind);
        rows.sort_by_key(|row| row["seq"].as_u64());
        rows
    }

    /// A line that may run does, and was read so.
    #[track_caller]
    fn works(&mut self, confidence: &str) {
        self.step += 1;
        let line = format!("echo st''ep-{}", self.step);
        self.window.line(&line);
        self.window.shows(&format!("step-{}", self.step));
        let rows = self.rows("command.allowed");
        let row = rows.iter().rev().find(|row| row["line"] == line.as_str());
        assert_eq!(row.map(|row| &row["confidence"]), Some(&confidence.into()), "{rows:?}");
    }

    /// Lets something be typed that must be refused as `line`, and sees that nothing of it runs and the shell can be used.
    #[track_caller]
    fn refuses(&mut self, line: &str, typing: impl FnOnce(&Terminal)) {
        let before = self.rows("command.refused").len();
        // Before its line editor has the terminal, a Ctrl-R is the terminal's own.
        until(LIMIT, "prompt", || self.window.screen().trim_end().ends_with("P>").then_some(()));
        typing(&self.window);
        let row = until(LIMIT, line, || self.rows("command.refused").get(before).cloned());
        assert_eq!((row["line"].as_str(), row["confidence"].as_str()), (Some(line), Some("exact")));
        self.window.shows(&format!("name {}", row["decision"].as_str().unwrap()));
        self.works("exact");
        assert!(!self.forbidden().exists(), "{line}: it ran\n{}", self.window.screen());
    }

    /// What the recording notes.
    #[track_caller]
    fn noted(&self) -> String {
        self.window.line("exit");
        until(LIMIT, "end", || self.window.ended().then_some(()));
        let _ = self.house.bastion.recordings();
        let id = self.rows("command.reading")[0]["session"].as_str().unwrap().to_owned();
        markers(&self.house.bastion, &id, 1)
    }

    fn gaps(&self) -> Vec<String> {
        self.rows("command.gap").iter().map(|row| row["gap"].as_str().unwrap().to_owned()).collect()
    }
}

/// What every shell says of its lines.
fn lines_are_judged_as_the_shell_says_them(shell: &str) {
    let Some(mut desk) = Desk::exact(shell, "") else { return };
    let touch = desk.touch();
    desk.refuses(&touch, |window| window.line(&touch));
    desk.refuses(&touch, |window| {
        window.type_text(touch.strip_prefix("to").unwrap());
        window.press("C-a");
        window.type_text("to");
        window.press("C-j");
    });
    // Recalled, then made another.
    let recalled = format!("{touch} echo st''ep-{}", desk.step);
    desk.refuses(&recalled, |window| {
        window.press("Up");
        window.press("C-a");
        window.type_text(&format!("{touch} "));
        window.press("Enter");
    });
    let long = format!("{touch} {}", "x".repeat(150));
    desk.refuses(&long, |window| {
        window.type_text(&long);
        window.press("C-a");
        window.press("Enter");
    });
    let several = format!("echo a\n{touch}");
    desk.refuses(&several, |window| {
        window.bytes(format!("\x1b[200~{several}\x1b[201~").as_bytes());
        window.press("Enter");
    });
    if shell != "fish" {
        let each = format!("for i in 1 2; do\n{touch}; done");
        desk.refuses(&each, |window| each.lines().for_each(|line| window.line(line)));
        // fish has no such command, and its search judges what stands in its field.
        let remember = if shell == "bash" { "history -s" } else { "print -s" };
        desk.window.line(&format!("{remember} '{touch}'"));
        desk.works("exact");
        desk.refuses(&touch, |window| {
            window.press("C-r");
            window.type_text("touch");
            window.press("Enter");
        });
    }
    // Typed ahead: read from the screen while the program runs, or said by the shell behind it.
    let before = desk.rows("command.refused").len();
    desk.window.line("sleep 1");
    desk.window.line(&touch);
    let row = until(LIMIT, "refusal", || desk.rows("command.refused").get(before).cloned());
    assert_eq!(row["line"], touch.as_str());
    desk.works("exact");
    assert!(!desk.forbidden().exists());
    let screen = desk.window.screen();
    assert!(!screen.contains("7379") && !screen.contains("guard:screen"), "{screen}");
    assert_eq!(desk.gaps(), Vec::<String>::new());
    assert_eq!(desk.rows("command.reading")[0]["reads"], "guard:exact");
    let noted = desk.noted();
    assert!(noted.contains("guard:exact: the shell was told to say its lines itself"), "{noted}");
    assert!(noted.contains(&format!("the shell says its line: {touch}\n")), "{noted}");
    assert!(!noted.contains("7379"), "{noted}");
}

#[test]
fn bash_says_its_lines() {
    require!("sshd", "ssh", "tmux");
    lines_are_judged_as_the_shell_says_them("bash");
}

#[test]
fn zsh_says_its_lines() {
    require!("sshd", "ssh", "tmux");
    lines_are_judged_as_the_shell_says_them("zsh");
}

#[test]
fn fish_says_its_lines() {
    require!("sshd", "ssh", "tmux");
    lines_are_judged_as_the_shell_says_them("fish");
}

#[test]
fn a_line_that_the_shell_has_said_waits_for_a_yes_and_runs_once_it_is_there() {
    require!("sshd", "ssh", "tmux");
    let Some(mut desk) = Desk::exact("bash", "") else { return };
    let folder = desk.house.bastion.scratch().join("made");
    let ask = |times: usize| {
        desk.window.line(&format!("mkdir {}", folder.display()));
        let rows = until(LIMIT, "line that waits", || {
            let rows = desk.rows("command.waits");
            (rows.len() == times).then_some(rows)
        });
        desk.window.shows("Ctrl-C withdraws");
        rows[times - 1]["decision"].as_str().unwrap().to_owned()
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
    desk.works("exact");
    assert!(desk.rows("command.allowed").iter().all(|row| !row["line"].as_str().unwrap().contains("lost")));
}

#[test]
fn another_shell_in_its_place_is_read_from_the_screen_and_both_are_told() {
    require!("sshd", "ssh", "tmux");
    let Some(mut desk) = Desk::exact("bash", ", nested = { bash = [\"work\"] }") else { return };
    let touch = desk.touch();
    let lines = [("env PS1='Q1> ' bash --norc", "\nQ1> ", true), ("exec env PS1='Q2> ' bash --norc", "\nQ2> ", false)];
    for (line, prompt, back) in lines {
        desk.window.line(line);
        desk.window.shows(prompt);
        desk.window.shows("guard:screen from here: lines at the prompt of bash");
        desk.works("screen");
        let before = desk.rows("command.refused").len();
        desk.window.line(&touch);
        let row = until(LIMIT, line, || desk.rows("command.refused").get(before).cloned());
        assert_eq!(row["confidence"], "screen");
        desk.works("screen");
        if back {
            desk.window.line("exit");
            desk.window.shows("guard:exact from here");
            desk.works("exact");
        }
    }
    assert!(!desk.forbidden().exists());
    let reads: Vec<Value> = desk.rows("command.reading").into_iter().map(|row| row["reads"].clone()).collect();
    assert_eq!(reads, ["guard:exact", "guard:screen", "guard:exact", "guard:screen"]);
    let noted = desk.noted();
    assert!(noted.contains("guard:screen from here") && noted.contains("guard:exact from here"), "{noted}");
}

#[test]
fn a_key_that_runs_a_line_unsaid_is_a_gap_and_ends_the_trust() {
    require!("sshd", "ssh", "tmux");
    let Some(mut desk) = Desk::exact("bash", "") else { return };
    desk.window.line("bind '\"\\C-g\": accept-line'");
    desk.works("exact");
    desk.window.type_text("echo un''said");
    desk.window.press("C-g");
    desk.window.shows("guard:screen from here");
    until(LIMIT, "gap", || (desk.gaps() == ["unreported"]).then_some(()));
    let (before, touch) = (desk.rows("command.refused").len(), desk.touch());
    desk.window.press("C-c");
    desk.window.line(&touch);
    let row = until(LIMIT, "refusal", || desk.rows("command.refused").get(before).cloned());
    // What is typed before a refused line is gone goes with it.
    desk.window.shows(&format!("name {}", row["decision"].as_str().unwrap()));
    until(LIMIT, "prompt", || desk.window.screen().trim_end().ends_with("P>").then_some(()));
    desk.window.line("exit");
    until(LIMIT, "end", || desk.window.ended().then_some(()));
    assert!(!desk.forbidden().exists());
}

#[test]
fn a_key_that_the_shell_would_not_say_is_refused_on_record_and_its_line_stays() {
    require!("sshd", "ssh", "tmux");
    for shell in ["bash", "zsh", "fish"] {
        let Some(mut desk) = Desk::exact(shell, "") else { continue };
        let touch = desk.touch();
        for keys in [&b"\x18\x05"[..], b"\x1b[13;5u", b"\x0f"] {
            until(LIMIT, "prompt", || desk.window.screen().trim_end().ends_with("P>").then_some(()));
            let before = desk.rows("command.refused").len();
            desk.window.type_text(&touch);
            until(LIMIT, "line", || desk.window.screen().trim_end().ends_with(&touch).then_some(()));
            desk.window.bytes(&[keys, b"lost"].concat());
            let row = until(LIMIT, "refusal", || desk.rows("command.refused").get(before).cloned());
            assert_eq!(
                (&row["line"], &row["confidence"]),
                (&touch.clone().into(), &"screen".into()),
                "{shell} {keys:?}"
            );
            desk.window.shows(&format!("name {}", row["decision"].as_str().unwrap()));
            // What was typed behind it is gone, and the line is judged as any other.
            desk.window.press("Enter");
            let row = until(LIMIT, "line", || desk.rows("command.refused").get(before + 1).cloned());
            assert_eq!(
                (&row["line"], &row["confidence"]),
                (&touch.clone().into(), &"exact".into()),
                "{shell} {keys:?}"
            );
            desk.works("exact");
        }
        assert!(!desk.forbidden().exists());
        assert_eq!(desk.gaps(), Vec::<String>::new());
    }
}

#[test]
fn output_that_speaks_for_the_shell_is_dropped() {
    require!("sshd", "ssh", "tmux");
    let Some(mut desk) = Desk::exact("bash", "") else { return };
    let touch = desk.touch();
    for forged in ["hello;zsh", "0123456789abcdef0123456789abcdef;ran;", "x;prompt;"] {
        desk.window.line(&format!("printf 'a\\033]7379;{forged}\\007b\\n'"));
        desk.window.shows("\nab");
        desk.window.line("clear");
        desk.refuses(&touch, |window| window.line(&touch));
        desk.window.line("clear");
    }
    assert_eq!(desk.gaps(), Vec::<String>::new());
    let noted = desk.noted();
    assert_eq!(noted.matches("speaks for the shell without its secret").count(), 3, "{noted}");
}

#[test]
fn a_shell_that_cannot_say_its_lines_starts_as_without_a_bastion_and_so_do_all_where_a_rule_wants_it() {
    require!("sshd", "ssh", "tmux");
    for (shell, beside) in [("dash", ""), ("bash", ", integration = \"off\"")] {
        let Some(mut desk) = Desk::at(shell, beside) else { continue };
        let screen = desk.window.shows("guard:screen");
        assert!(!screen.contains("guard:exact"), "{screen}");
        desk.works("screen");
        // A login shell's name begins with a dash; what the bastion starts has another.
        desk.window.line("echo \"<$0>\"");
        desk.window.shows("\n<-");
        assert_eq!(desk.rows("command.reading")[0]["reads"], "guard:screen");
        let noted = desk.noted();
        assert_eq!(noted.contains("none that says its lines"), shell == "dash", "{noted}");
    }
}
