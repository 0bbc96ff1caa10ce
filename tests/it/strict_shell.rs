//! The bastion's own shell, where commands are judged in strict mode: promise P7 at a prompt.

use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::bastion::{ALICE, BY_TWO_AND_NEVER};
use crate::fixture::process::{Finished, Running, Stdout, descendants};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, Syncs, holds, key, until};
use crate::require;

/// What the tests' command rules say. `@folder` is the target's own folder.
static WORK: LazyLock<String> = LazyLock::new(|| format!("{OWN}{BY_TWO_AND_NEVER}"));

const OWN: &str = r#"
schema  = 1
mode    = "strict"

[[rule]]
id      = "print"
effect  = "allow"
program = ["/usr/bin/printf", "/usr/bin/env", "/usr/bin/sleep"]
pipe    = true
reason  = "they print"

[[rule]]
id      = "read"
effect  = "allow"
program = ["/usr/bin/cat", "/usr/bin/ls"]
reads   = ["@folder/open/**"]
pipe    = true
reason  = "what is open"

[[rule]]
id      = "window"
effect  = "allow"
program = ["/usr/bin/stty", "/usr/bin/head"]
pty     = true
reason  = "on a terminal"

[[test]]
expect = "allow print"
lines  = ["printf x", "sleep 1", "env"]

[[test]]
expect = "allow read"
lines  = ["cat @folder/open/a"]

[[test]]
expect = "allow window"
lines  = ["stty size", "head -n 1"]
"#;

/// Alice may have a shell, in this mode.
pub(crate) fn access(mode: &str, grant: bool) -> String {
    format!(
        "schema = 1\n[[rule]]\nid = \"{mode}-dba\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ labels = {{ env = \"test\" }} }}\n\
         accounts = [\"@me\"]\nchannels = [\"shell\"]\ngrant = {{ required = {grant} }}\n\
         commands = {{ mode = \"{mode}\", sets = [\"work\"] }}\n"
    )
}

/// A bastion whose shell is its own.
pub(crate) struct House {
    pub(crate) sshd: Sshd,
    pub(crate) bastion: Bastion,
}

impl House {
    fn new() -> Self {
        Self::prepared(false, |_| {})
    }

    fn prepared(grant: bool, prepare: impl FnOnce(&mut Bastion)) -> Self {
        Self::at(Sshd::start(), &access("strict", grant), prepare)
    }

    /// At this target; `@folder` is its folder in what the access rules say, too.
    pub(crate) fn at(sshd: Sshd, access: &str, prepare: impl FnOnce(&mut Bastion)) -> Self {
        let mut bastion = Bastion::furnished(&sshd);
        let bobs = key(bastion.scratch(), "bob", "ed25519", "");
        bastion.add_user("bob", "leads", &bobs);
        let open = sshd.folder().join("open/below");
        std::fs::create_dir_all(&open).unwrap();
        std::fs::write(open.join("a"), "what is open\n").unwrap();
        std::fs::write(sshd.folder().join("closed"), "what is closed\n").unwrap();
        write(&bastion, &sshd, access, &WORK);
        prepare(&mut bastion);
        bastion.serve();
        Self { sshd, bastion }
    }

    fn reload(&self, mode: &str, work: &str) {
        write(&self.bastion, &self.sshd, &access(mode, false), work);
        self.bastion.doorward(&["policy", "reload"]).ok();
    }

    /// What a script that is piped into the shell gives.
    pub(crate) fn script(&self, text: &str) -> Finished {
        self.bastion.to(&self.sshd).run_with(&["-T"], "", text.as_bytes())
    }

    /// The shell on a terminal, at its first prompt.
    pub(crate) fn terminal(&self) -> Terminal {
        let terminal = Terminal::start(&self.bastion.to(&self.sshd).ssh(&["-tt"], ""), 110, 30);
        terminal.shows("@db1:~> ");
        terminal
    }

    pub(crate) fn log(&self, kind: &str) -> Vec<Value> {
        self.bastion.rows(&["audit", "list", "--type", kind])
    }

    fn bob(&self, verb: &str) -> Finished {
        self.bastion.login("bob").key(&self.bastion.scratch().join("bob")).run(verb)
    }

    /// The lines that ran, in their order.
    pub(crate) fn ran(&self) -> Vec<String> {
        let mut rows = self.log("command.allowed");
        rows.sort_by_key(|row| row["seq"].as_u64());
        rows.iter().map(|row| row["line"].as_str().unwrap().to_owned()).collect()
    }

    /// Whether a program with this in its command line runs at the target.
    fn runs(&self, program: &str) -> bool {
        descendants(self.sshd.pid()).iter().any(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                String::from_utf8_lossy(&line).split('\0').next().is_some_and(|first| first.ends_with(program))
            })
        })
    }

    fn starts(&self, program: &str) {
        until(LIMIT, program, || self.runs(program).then_some(()));
    }

    fn stops(&self, program: &str) {
        until(LIMIT, "end of the program", || (!self.runs(program)).then_some(()));
    }
}

fn write(bastion: &Bastion, sshd: &Sshd, access: &str, work: &str) {
    bastion.policy(&access.replace("@folder", sshd.folder().to_str().unwrap()));
    let folder = bastion.home().join("policies/commands");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("work.toml"), work.replace("@folder", sshd.folder().to_str().unwrap())).unwrap();
}

/// Shown a new prompt behind what `text` names; where the last status was this.
#[track_caller]
pub(crate) fn prompts(terminal: &Terminal, after: &str, status: &str) -> String {
    let end = if status == "0" { String::from("> ") } else { format!(" [{status}]> ") };
    let is_there = |screen: &str| {
        let rest = screen.rsplit_once(after).map_or("", |(_, rest)| rest);
        let last = rest.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim_end();
        last.contains("@db1:") && last.ends_with(end.trim_end())
    };
    let start = std::time::Instant::now();
    loop {
        let screen = terminal.screen();
        if is_there(&screen) {
            return screen;
        }
        assert!(start.elapsed() < LIMIT, "no prompt behind {after:?} after status {status}:\n{screen}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ten and more ways to write `sh`.
const DISGUISES: [&str; 14] = [
    "sh",
    "s''h",
    "s\\h -c id",
    "$'\\x73\\x68'",
    "a=s; b=h; $a$b",
    "/bin/s?",
    "echo c2g= | base64 -d | $0",
    "eval $'\\x73h'",
    "env sh",
    "python3 -c 'import os; os.system(\"sh\")'",
    "printf x; sh",
    "printf x > /tmp/x && sh /tmp/x",
    "exec sh",
    "find / -exec sh {} +",
];

#[test]
fn p7_lines_that_are_piped_in_are_judged_one_by_one_and_each_has_a_channel_of_its_own() {
    require!("sshd", "ssh", "printf");
    let house = House::new();
    let told = house.script("printf '%s\\n' 'one  $(id)'\n\nsh -c id\nprintf '%s' two | cat\nprintf x >&2; id\n");
    assert_eq!((told.code, told.out().as_str()), (Some(126), "one  $(id)\ntwo"), "{told:?}");
    assert!(told.err().starts_with("doorward: refused  sh -c id  (rule never-shell)"), "{told:?}");
    assert_eq!(house.script("printf x\nexit 7\nprintf never\n").code, Some(7));
    // The last line needs no end, and its status is the shell's.
    let told = house.script("sh\nprintf '%d' nothing");
    assert_eq!((told.code, told.out().as_str()), (Some(1), "0"), "{told:?}");
    let told = house.script("printf x | head -n 1\n");
    assert!(told.err().contains("no rule allows `head` in a pipe"), "{told:?}");
    // So are lines that cannot be read: on record, and refused.
    let told = house.bastion.to(&house.sshd).run_with(&["-T"], "", &[&[b'x'; 40_000][..], b"\n\xff\n"].concat());
    assert_eq!(told.code, Some(126), "{told:?}");
    assert!(told.err().contains("a line of more than 32 KiB") && told.err().contains("no UTF-8"), "{told:?}");
    house.bastion.empties(LIMIT);
    assert_eq!(
        house.ran(),
        ["printf '%s\\n' 'one  $(id)'", "printf '%s' two | cat", "printf x", "printf '%d' nothing"]
    );
    let refused = house.log("command.refused");
    assert!(refused.len() == 6 && refused.iter().all(|row| row["mode"] == "strict"), "{refused:?}");
    assert!(house.log("command.allowed").iter().all(|row| row["channel"] == 1));
    let House { sshd, bastion } = house;
    let session = bastion.recordings_at_all().into_iter().min().unwrap();
    let shown = String::from_utf8_lossy(&bastion.export(&session, "raw", &[])).into_owned();
    assert!(shown.contains("one  $(id)\ntwo"), "{shown}");
    drop(bastion);
    assert_eq!(sshd.stop().matches("Starting session: command").count(), 4);
}

#[test]
fn p7_no_disguise_of_a_shell_starts_at_a_prompt() {
    require!("sshd", "ssh", "tmux");
    let house = House::new();
    let told = house.script(&(DISGUISES.join("\n") + "\n"));
    assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{told:?}");
    assert_eq!(told.err().matches("doorward: refused  ").count(), DISGUISES.len(), "{told:?}");
    let terminal = house.terminal();
    for line in DISGUISES {
        terminal.line(line);
        prompts(&terminal, "to read this again", "126");
        terminal.line("cd");
        prompts(&terminal, "cd", "0");
    }
    terminal.line("why");
    let screen = terminal.shows("when ");
    assert!(!screen.contains("refused  refused"), "{screen}");
    terminal.press("C-d");
    until(LIMIT, "end", || terminal.ended().then_some(()));
    house.bastion.empties(LIMIT);
    assert_eq!(house.log("command.refused").len(), 2 * DISGUISES.len());
    assert!(house.ran().is_empty());
    let House { sshd, bastion } = house;
    drop(bastion);
    let told = sshd.stop();
    assert!(told.contains("Accepted") && !told.contains("Starting session"), "{told}");
}

#[test]
fn a_person_at_a_prompt_works_and_all_that_they_see_is_recorded() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.terminal();
    let screen = terminal.screen();
    assert!(screen.contains("recorded · session "), "{screen}");
    assert!(screen.contains("doorward: strict: no program starts on the target other than argv that a rule allowed"));
    terminal.line("printf 'two\\nrows'");
    let screen = prompts(&terminal, "rows\n", "0");
    assert!(screen.contains("\ntwo\nrows\n"), "{screen}");
    terminal.line("printf '%d' nothing");
    prompts(&terminal, "nothing", "1");
    terminal.press("Up");
    terminal.shows("[1]> printf '%d' nothing");
    terminal.press("C-c");
    prompts(&terminal, "nothing", "130");
    terminal.line("help");
    terminal.shows("Ctrl-Z");
    terminal.line("export LANG=C LC_ALL=x");
    terminal.shows("use it as: export");
    terminal.line("export LC_TIME=de_DE");
    prompts(&terminal, "de_DE", "0");
    terminal.line("env");
    terminal.shows("LC_TIME=de_DE");
    terminal.line("export LD_PRELOAD=x");
    terminal.shows("only LANG and LC_");
    terminal.line("history");
    terminal.shows("    1  printf 'two\\nrows'");
    terminal.line("exit 5");
    until(LIMIT, "end", || terminal.ended().then_some(()));
    let session = house.bastion.only_recording();
    let kept = String::from_utf8_lossy(&house.bastion.export(&session, "txt", &[])).into_owned();
    for text in ["no program starts", "@db1:~> printf 'two\\nrows'", "[130]> ", "LC_TIME=de_DE", "exit 5"] {
        assert!(kept.contains(text), "{text}: {kept}");
    }
    house.bastion.opens(&session);
    let mut bastion = house.bastion;
    bastion.stop();
    assert!(matches!(bastion.doorward(&["verify"]).code, Some(0 | 3)));
}

#[test]
fn relative_paths_are_judged_from_where_the_user_is() {
    require!("sshd", "ssh", "cat", "ls");
    let house = House::new();
    let folder = house.sshd.folder().to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(&folder, format!("{folder}/open/out")).unwrap();
    let told =
        house.script(&format!("cat {folder}/open/below/a\ncd {folder}/open\ncat below/a\ncd below\ncat a\nls\npwd\n"));
    let open = "what is open\n";
    assert_eq!(told.ok().out(), format!("{open}{open}{open}a\n{folder}/open/below\n"));
    for line in [
        format!("cd {folder}\ncat closed"),
        format!("cd {folder}\nls"),
        format!("cd {folder}/open/below\ncat ../../closed"),
        // The directory is what it is, not what a link calls it.
        format!("cd {folder}/open/out\ncat closed"),
        format!("cd {folder}/open/below; cat a"),
        format!("cd {folder}/open && cat below/a"),
        String::from("cat below/a"),
        String::from("cd ~\ncat closed"),
    ] {
        let told = house.script(&line);
        assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{line}: {told:?}");
        assert!(told.err().contains("doorward: refused  "), "{line}: {told:?}");
    }
    let told = house.script("cd /nowhere/at/all\ncd '/tmp;id'\ncd \"$HOME\"\ncd -\npwd\n").ok();
    assert_eq!(told.out(), "~\n");
    assert!(told.err().matches("doorward: cd: ").count() == 3 && told.err().contains("use it as: cd"), "{told:?}");
    // From a directory that is gone nothing runs, however the commands are joined.
    let gone = format!("{folder}/gone");
    std::fs::create_dir(&gone).unwrap();
    let mut ssh = Running::start(house.bastion.to(&house.sshd).ssh(&["-T"], ""), Stdout::Gathered);
    let mut stdin = ssh.stdin();
    std::io::Write::write_all(&mut stdin, format!("cd {gone}\nprintf here\nsleep 1\n").as_bytes()).unwrap();
    until(LIMIT, "first line", || (house.ran().last()?.as_str() == "sleep 1").then_some(()));
    std::fs::remove_dir(&gone).unwrap();
    std::io::Write::write_all(&mut stdin, b"printf never || printf never; printf never\n").unwrap();
    drop(stdin);
    let told = ssh.wait(LIMIT);
    assert_eq!((told.code, told.out().as_str()), (Some(1), "here"), "{told:?}");
}

#[test]
fn what_is_typed_while_a_program_runs_reaches_no_other() {
    require!("sshd", "ssh", "tmux", "sleep", "printf");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("sleep 3");
    house.starts("sleep");
    terminal.line("printf 'typed-%s' ahead");
    terminal.line("sh");
    terminal.type_text("printf half");
    house.stops("sleep");
    // What has no end yet is the next line's, and runs by nobody's hand but the user's.
    until(LIMIT, "rest of a line", || {
        let rows = terminal.rows();
        rows.iter().any(|row| row.contains("@db1:~> printf half")).then_some(())
    });
    assert_eq!(house.ran(), ["sleep 3"]);
    assert!(house.log("command.refused").is_empty());
    terminal.line("_done");
    // Not the line that was typed: what comes while it runs would be the program's.
    prompts(&terminal, "half_done\n", "0");
    // On a terminal every key is the program's.
    terminal.line("head -n 1");
    house.starts("head");
    terminal.line("sh -c 'touch x'");
    prompts(&terminal, "sh -c 'touch x'", "0");
    assert_eq!(house.ran(), ["sleep 3", "printf half_done", "head -n 1"]);
    // A program without a terminal of a shell without one reads nothing of the script.
    let told = house.script("cat\nprintf after\n").ok();
    assert_eq!(told.out(), "after");
}

#[test]
fn ctrl_c_ends_what_runs_and_nothing_else() {
    require!("sshd", "ssh", "tmux", "sleep");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("sleep 600");
    house.starts("sleep");
    terminal.press("C-z");
    terminal.shows("there are no jobs");
    assert!(house.runs("sleep"));
    terminal.press("C-c");
    // An sshd that runs as root passes no signal on: the channel is closed all the same.
    prompts(&terminal, "^C", "130");
    terminal.line("head");
    house.starts("head");
    terminal.press("C-c");
    prompts(&terminal, "head", "130");
    house.stops("head");
    terminal.line("printf still-here");
    terminal.shows("still-here");
    // Whoever leaves takes what runs with them.
    terminal.line("head");
    house.starts("head");
    drop(terminal);
    house.bastion.empties(LIMIT);
    house.stops("head");
}

#[test]
fn a_window_of_another_size_is_the_programs_and_the_prompts() {
    require!("sshd", "ssh", "tmux", "stty");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("stty size");
    terminal.shows("30 110");
    terminal.resize(70, 20);
    until(LIMIT, "size", || {
        terminal.line("stty size");
        terminal.screen().contains("20 70").then_some(())
    });
    terminal.resize(20, 5);
    terminal.resize(100, 20);
    terminal.line("printf after-it");
    terminal.shows("after-it");
}

#[test]
fn a_line_that_needs_a_yes_waits_at_the_prompt_and_then_runs() {
    require!("sshd", "ssh", "tmux", "touch");
    let house = House::new();
    let made = house.sshd.folder().join("made");
    let terminal = house.terminal();
    terminal.line(&format!("touch {}", made.display()));
    let screen = terminal.shows("Ctrl-C withdraws it");
    assert!(screen.contains("waits for 1 of leads (bob)"), "{screen}");
    until(LIMIT, "countdown", || {
        let screen = terminal.screen();
        (screen.contains(" 9:5") && screen.contains(" left")).then_some(())
    });
    terminal.line("sh");
    let decision = |at: usize| house.log("command.waits")[at]["decision"].as_str().unwrap().to_owned();
    let id = decision(0);
    let shown = house.bob(&format!("show {id}")).ok().out();
    assert!(shown.contains("/usr/bin/touch"), "{shown}");
    house.bob(&format!("approve {id}")).ok();
    prompts(&terminal, "withdraws it", "0");
    assert!(made.exists());
    assert_eq!(house.ran().len(), 1);
    assert_eq!(house.log("command.allowed")[0]["approved_by"][0], "bob");

    terminal.line(&format!("touch {}-more", made.display()));
    until(LIMIT, "second wait", || (house.log("command.waits").len() == 2).then_some(()));
    terminal.press("C-c");
    terminal.shows("you withdrew it");
    prompts(&terminal, "to read this again", "126");
    let rows = house.log("command.step");
    assert!(rows.iter().any(|row| row["result"] == "withdrawn"), "{rows:?}");
    // Nothing of what was typed meanwhile ran.
    assert_eq!(house.ran().len(), 1);
    // Whoever leaves withdraws.
    terminal.line(&format!("touch {}-last", made.display()));
    until(LIMIT, "third wait", || (house.log("command.waits").len() == 3).then_some(()));
    drop(terminal);
    until(LIMIT, "end of it", || (house.log("command.step").len() == 3).then_some(()));
    assert!(!house.sshd.folder().join("made-more").exists() && !house.sshd.folder().join("made-last").exists());
}

#[test]
fn a_right_that_ends_ends_a_shell_at_its_prompt_and_what_runs_in_it() {
    require!("sshd", "ssh", "tmux", "sleep");
    let house = House::prepared(true, |_| {});
    let destination = format!("{}@db1", house.sshd.account);
    for line in ["", "head"] {
        let grant = house.bastion.grant(ALICE, &destination, "1h", "CHG-2 a test");
        let terminal = house.terminal();
        if !line.is_empty() {
            terminal.line(line);
            house.starts("head");
        }
        house.bastion.doorward(&["grant", "revoke", &grant]).ok();
        until(Duration::from_secs(5), "end", || terminal.ended().then_some(()));
        let screen = terminal.screen();
        assert!(screen.contains("doorward: ") && screen.contains("Session closed"), "{screen}");
        house.stops("head");
    }
    house.bastion.empties(LIMIT);
}

#[test]
fn a_pause_holds_the_prompt_and_a_message_leaves_the_line_readable() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.terminal();
    let session = house.bastion.only_session();
    terminal.type_text("printf held");
    terminal.shows("> printf held");
    house.bastion.doorward(&["session", "freeze", &session]).ok();
    terminal.shows("this session is paused");
    terminal.press("Enter");
    holds(Duration::from_millis(600), "a pause", || house.ran().is_empty());
    house.bastion.doorward(&["session", "unfreeze", &session]).ok();
    prompts(&terminal, "held", "0");
    assert_eq!(house.ran(), ["printf held"]);
}

#[test]
fn rules_that_are_replaced_are_for_the_next_line() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("printf before");
    terminal.shows("before");
    let fewer = WORK.replace("\"/usr/bin/printf\", ", "").replace("\"printf x\", ", "");
    house.reload("strict", &fewer);
    terminal.line("printf again");
    terminal.shows("no rule allows it");
    house.reload("strict", &WORK);
    terminal.line("printf 'once %s' more");
    terminal.shows("once more");
    // Of another mode than it was promised its user gets nothing.
    house.reload("observe", &WORK);
    terminal.line("sh -c 'printf %s-%s ran it'");
    terminal.shows("of another kind by now");
    assert!(!terminal.screen().contains("ran-it"));
    assert_eq!(house.ran(), ["printf before", "printf 'once %s' more"]);
}

#[test]
fn a_target_that_dies_while_a_command_runs_ends_the_session_in_order() {
    require!("sshd", "ssh", "tmux", "sleep");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("sleep 603");
    house.starts("sleep");
    for pid in descendants(house.sshd.pid()) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    until(LIMIT, "end", || terminal.ended().then_some(()));
    assert!(terminal.screen().contains("the target closed the connection"), "{}", terminal.screen());
    let session = house.bastion.only_recording();
    house.bastion.opens(&session);
    assert!(house.bastion.lives());
}

#[test]
fn a_target_that_does_not_answer_holds_up_no_key_and_no_other_channel() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.terminal();
    terminal.line("printf 'be%s' fore");
    terminal.shows("before");
    let own = descendants(house.sshd.pid());
    let tell = |signal: Signal| {
        for pid in &own {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
    };
    tell(Signal::STOP);
    terminal.line("printf 'la%s' te");
    until(LIMIT, "command on record", || (house.ran().len() == 2).then_some(()));
    terminal.press("C-c");
    prompts(&terminal, "^C", "130");
    terminal.line("why");
    terminal.shows("nothing was refused to you");
    tell(Signal::CONT);
    terminal.line("printf 'aft%s' er");
    terminal.shows("after");
    // What was given up is nobody's, though the target may have begun it.
    assert!(!terminal.screen().contains("late"), "{}", terminal.screen());
}

#[test]
fn what_cannot_be_put_on_record_does_not_run_at_a_prompt() {
    require!("sshd", "ssh", "tmux", "cc", "printf");
    let mut built = None;
    let house = House::prepared(false, |bastion| {
        let syncs = Syncs::build(bastion.scratch());
        bastion.environment = syncs.environment("fail", "/log/leaves.wal");
        built = Some(syncs);
    });
    let syncs = built.unwrap();
    let terminal = house.terminal();
    terminal.line("printf 'be%s' fore");
    terminal.shows("before");
    // The log is told other things, too: one of them may be what fails.
    until(LIMIT, "command that could not be put on record", || {
        let ran = |screen: &str| screen.matches("during").count();
        let before = ran(&terminal.screen());
        syncs.begin();
        terminal.line("printf 'dur%s' ing");
        let failed = |screen: &str| screen.contains("could not be recorded");
        let screen =
            until(LIMIT, "answer", || Some(terminal.screen()).filter(|screen| failed(screen) || ran(screen) > before));
        failed(&screen).then_some(())
    });
    syncs.end();
    until(LIMIT, "command that is on record again", || {
        let answered = |screen: &str| screen.matches("after").count() + screen.matches("could not be recorded").count();
        let before = answered(&terminal.screen());
        terminal.line("printf 'aft%s' er");
        let screen = until(LIMIT, "answer", || Some(terminal.screen()).filter(|screen| answered(screen) > before));
        screen.contains("after").then_some(())
    });
}
