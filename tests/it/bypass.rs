//! Every way past a held Enter that is known to us, tried on a real shell by a real `ssh`, in every mode: what comes of each
//! is stated, and is the table in `docs/bypass.md`.
//!
//! In `observe` each of them must run, or it would prove nothing of the other modes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, find, has, nonce, until};
use crate::require;

mod channels;

/// One thing that a user does.
#[derive(Clone, Copy)]
enum Do {
    /// Types a text, and waits until the screen shows it.
    Type(&'static str),
    /// Types a text, and does not look.
    Blind(&'static str),
    /// Types a line, and Enter, having looked.
    Line(&'static str),
    /// Sends bytes.
    Keys(&'static [u8]),
    /// Waits until the screen shows this.
    Look(&'static str),
    /// Types a text before anything is shown.
    Early(&'static str),
    /// Gives the window so many columns.
    Width(u16),
}
use Do::{Blind, Early, Keys, Line, Look, Type, Width};

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It does not run.
    Held,
    /// It does not run, and a gap is on record.
    Gap,
    /// It runs. Stated, not hidden.
    Runs,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Gap => "held, gap on record",
            Self::Runs => "**runs**",
        }
    }
}

struct Row {
    /// The login shell of the account.
    shell: &'static str,
    what: &'static str,
    does: &'static [Do],
    /// In guard, where lines are read from the screen. Where the shell says them itself nothing of it runs: see [`REPORTING`].
    guard: Fate,
}

const fn row(shell: &'static str, what: &'static str, does: &'static [Do], guard: Fate) -> Row {
    Row { shell, what, does, guard }
}

/// Shells that say their lines themselves.
const REPORTING: [&str; 3] = ["bash", "zsh", "fish"];

/// Columns of the window.
const COLS: u16 = 100;
/// So long a shell may take for a harmless line before it is asked again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(4);
/// The prompt of the bastion's own shell.
const STRICT_READY: &str = "> ";

const ENTER: Do = Keys(b"\r");
/// The line that must not run.
const MADE: Do = Type("touch @made");

/// `@made` is the file that must not be there; `@dir` a folder where anything may be.
const ROWS: &[Row] = &[
    row("bash", "Enter", &[MADE, ENTER], Fate::Held),
    row("bash", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("bash", "Ctrl-O", &[MADE, Keys(b"\x0f")], Fate::Held),
    row("bash", "Ctrl-X Ctrl-E: an editor, then it runs", &[MADE, Keys(b"\x18\x05")], Fate::Held),
    row("bash", "`v` in vi mode", &[Line("set -o vi"), Look("ready> "), MADE, Keys(b"\x1bv")], Fate::Held),
    row("zsh", "Enter", &[MADE, ENTER], Fate::Held),
    row("zsh", "Ctrl-O", &[MADE, Keys(b"\x0f")], Fate::Held),
    row("zsh", "ESC a", &[MADE, Keys(b"\x1ba")], Fate::Held),
    row("mksh", "Enter", &[MADE, ENTER], Fate::Held),
    row("mksh", "Ctrl-O", &[MADE, Keys(b"\x0f")], Fate::Held),
    row("mksh", "ESC Ctrl-E", &[MADE, Keys(b"\x1b\x05")], Fate::Held),
    row("mksh", "Ctrl-X e", &[MADE, Keys(b"\x18e")], Fate::Held),
    row("ksh93", "Enter", &[MADE, ENTER], Fate::Held),
    row("ksh93", "Ctrl-O", &[MADE, Keys(b"\x0f")], Fate::Held),
    row("fish", "Enter", &[MADE, ENTER], Fate::Held),
    row("fish", "Ctrl-X Enter", &[MADE, Keys(b"\x18\r")], Fate::Held),
    row("fish", "Ctrl-X Ctrl-J", &[MADE, Keys(b"\x18\n")], Fate::Held),
    row("fish", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("zsh", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("mksh", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("ksh93", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("dash", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("busybox", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("yash", "Ctrl-J", &[MADE, Keys(b"\n")], Fate::Held),
    row("dash", "Enter", &[MADE, ENTER], Fate::Held),
    row("dash", "Ctrl-D twice behind a line", &[MADE, Keys(b"\x04\x04")], Fate::Held),
    row("busybox", "Enter", &[MADE, ENTER], Fate::Held),
    row("yash", "Enter", &[MADE, ENTER], Fate::Held),
    row("bash", "a key that `.inputrc` binds to a whole command", &[Keys(b"\x14")], Fate::Runs),
    row("bash", "a line of the history (Up)", &[Keys(b"\x1b[A"), Look("touch"), ENTER], Fate::Held),
    row("zsh", "a line of the history (Up)", &[Keys(b"\x1b[A"), Look("touch"), ENTER], Fate::Held),
    row("bash", "reverse search", &[Keys(b"\x12"), Blind("tou"), Look("touch"), ENTER], Fate::Held),
    row(
        "ksh93",
        "a line of the history (Ctrl-P), its beginning taken away",
        &[Line("echo touch @made"), Keys(b"\x10"), Look("echo touch"), Keys(b"\x01\x04\x04\x04\x04\x04"), ENTER],
        Fate::Held,
    ),
    row(
        "busybox",
        "a line of the history (Ctrl-P), its beginning taken away",
        &[Line("echo touch @made"), Keys(b"\x10"), Look("echo touch"), Keys(b"\x01\x04\x04\x04\x04\x04"), ENTER],
        Fate::Held,
    ),
    row(
        "yash",
        "a line of the history (Ctrl-P), its beginning taken away",
        &[
            Line("set -o emacs"),
            Look("ready> "),
            Line("echo touch @made"),
            Keys(b"\x10"),
            Look("echo touch"),
            Keys(b"\x01\x04\x04\x04\x04\x04"),
            ENTER,
        ],
        Fate::Held,
    ),
    row("bash", "the screen wiped (Ctrl-L) behind a line", &[MADE, Keys(b"\x0c"), ENTER], Fate::Held),
    row(
        "bash",
        "a control character (Ctrl-V) in a comment",
        &[Type("touch @made #"), Keys(b"\x16\x01"), ENTER],
        Fate::Held,
    ),
    row(
        "bash",
        "a character of no width in a comment",
        &[Blind("touch @made #\u{200b}"), Look("touch"), ENTER],
        Fate::Held,
    ),
    row("bash", "a Ctrl-C, then a line", &[Type("echo a"), Keys(b"\x03"), Blind("touch @made\r")], Fate::Held),
    row(
        "bash",
        "a list of completions between the line and its Enter",
        &[Type("touch @made; echo /etc/pass"), Keys(b"\t\t"), Look("passwd"), ENTER],
        Fate::Held,
    ),
    row("bash", "`eval`", &[Line("eval 'tou''ch @made'")], Fate::Held),
    row("bash", "`!tou`", &[Line("!tou")], Fate::Held),
    row("bash", "`!!`", &[Line("!!")], Fate::Held),
    row("bash", "completed by Tab", &[Type("touc"), Keys(b"\t"), Look("touch "), Blind("@made"), ENTER], Fate::Held),
    row(
        "bash",
        "edited in the middle",
        &[Type("touh @made"), Keys(b"\x01\x1b[C\x1b[C\x1b[C"), Blind("c"), Look("touch"), ENTER],
        Fate::Held,
    ),
    row(
        "bash",
        "a wrapped line, from its beginning (Ctrl-A)",
        &[
            Type(
                "touch @made aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ),
            Keys(b"\x01"),
            ENTER,
        ],
        Fate::Held,
    ),
    row("bash", "typed while a program runs", &[Line("sleep 1"), Blind("touch @made\r")], Fate::Held),
    row("bash", "typed before the first prompt", &[Early("touch @made\r")], Fate::Held),
    row("bash", "`stty -echo`, then a line", &[Line("stty -echo"), Blind("touch @made\r")], Fate::Gap),
    row(
        "bash",
        "a prompt that says `password:`, without echo",
        &[Line("PS1='password:'; stty -echo"), Look("password:"), Blind("touch @made\r")],
        Fate::Held,
    ),
    row(
        "bash",
        "pasted with brackets, then Ctrl-O",
        &[Blind("\x1b[200~touch @made\x1b[201~"), Look("touch"), Keys(b"\x0f")],
        Fate::Held,
    ),
    row("bash", "two lines pasted without brackets", &[Blind("echo a\rtouch @made\r")], Fate::Held),
    row("bash", "the other screen (`ESC [ ? 1049 h`)", &[Line("printf '\\033[?1049h'"), MADE, ENTER], Fate::Gap),
    row("bash", "the cursor moved (`ESC [ 2 ; 1 H`)", &[Line("printf '\\033[2;1H'"), MADE, ENTER], Fate::Held),
    row("bash", "`cat | sh`, fed with lines", &[Line("cat | sh"), Blind("touch @made\r"), Keys(b"\x04")], Fate::Held),
    row(
        "bash",
        "`PROMPT_COMMAND` that reads",
        &[Line("PROMPT_COMMAND='read -r x; eval \"$x\"'"), Blind("touch @made\r")],
        Fate::Held,
    ),
    row("bash", "an alias", &[Line("alias ll='touch @made'"), Line("ll")], Fate::Held),
    row("bash", "a function", &[Line("f() { touch @made; }"), Line("f")], Fate::Held),
    row(
        "bash",
        "`command_not_found_handle`",
        &[Line("command_not_found_handle() { touch @made; }"), Line("nosuch")],
        Fate::Held,
    ),
    row("bash", "a program's name from a substitution", &[Line("$(printf '\\164ouch') @made")], Fate::Held),
    row("bash", "`$'...'`", &[Line("$'\\x74ouch' @made")], Fate::Held),
    row("bash", "a program by a pattern", &[Line("/usr/bin/to[u]ch @made")], Fate::Held),
    row("bash", "braces", &[Line("{touch,@made}")], Fate::Held),
    row("bash", "variables", &[Line("a=tou b=ch; $a$b @made")], Fate::Held),
    row("bash", "`hash -p`", &[Line("hash -p /usr/bin/touch ls; ls @made")], Fate::Held),
    row("bash", "`BASH_CMDS`", &[Line("BASH_CMDS[ls]=/usr/bin/touch; ls @made")], Fate::Held),
    row("bash", "`PATH`", &[Line("PATH=@dir/bin:$PATH"), Line("ls @made")], Fate::Held),
    row("bash", "`mapfile -C`", &[Line("mapfile -C 'touch @made;:' -c 1 <<< x")], Fate::Held),
    row("bash", "`compgen -C`", &[Line("compgen -C 'touch @made' x")], Fate::Held),
    row("bash", "`trap`", &[Line("trap 'touch @made' DEBUG"), Line("echo a")], Fate::Held),
    row("bash", "`PS4` and `set -x`", &[Line("PS4='$(touch @made)'; set -x; echo a")], Fate::Held),
    row("bash", "`${x@P}`", &[Line("x='$(touch @made)'; echo \"${x@P}\"")], Fate::Held),
    row("bash", "`test -v`, in single quotes", &[Line("test -v 'a[$(touch @made)]'")], Fate::Held),
    row("bash", "`printf -v`, in single quotes", &[Line("printf -v 'a[$(touch @made)]' x")], Fate::Held),
    row("bash", "`[[ -eq ]]`, in single quotes", &[Line("[[ 'a[$(touch @made)]' -eq 0 ]]")], Fate::Held),
    row("bash", "`((...))`", &[Line("((a[$(touch @made)]))")], Fate::Held),
    row("bash", "base64 into a shell", &[Line("echo dG91Y2ggIiRNQURFIg== | base64 -d | sh")], Fate::Held),
    row(
        "bash",
        "a child shell",
        &[Line("PS1=chi''ld sh"), Look("child"), Blind("touch @made\r"), Blind("exit\r")],
        Fate::Held,
    ),
    row("bash", "`bind` of a key", &[Line("bind -x '\"\\C-y\": touch @made'"), Keys(b"\x19")], Fate::Held),
    row(
        "bash",
        "Python, typed into",
        &[Line("python3"), Look(">>>"), Blind("open('@made', 'w').close()\r"), Keys(b"\x04")],
        Fate::Held,
    ),
    row(
        "bash",
        "a script that is written, made executable and run",
        &[Line("printf 'touch @made' > @dir/s; chmod +x @dir/s"), Line("@dir/s")],
        Fate::Held,
    ),
    row("bash", "an Enter within the report of a mouse", &[MADE, Keys(b"\x1b[M\r\r\r")], Fate::Held),
    row("zsh", "an Enter within the report of a mouse", &[MADE, Keys(b"\x1b[M\r\r\r")], Fate::Held),
    row("fish", "ESC O Enter", &[Type("touch @made #"), Keys(b"\x1bO\r")], Fate::Held),
    row("zsh", "Tab behind `$(...)`", &[Type("echo $(touch @made)"), Keys(b"\t")], Fate::Held),
    row("zsh", "Tab behind a pattern that runs code", &[Type("ls /*(e:'touch @made':)"), Keys(b"\t")], Fate::Held),
    row("fish", "Tab behind `(...)` in a command's place", &[Type("(touch @made)"), Keys(b"\t")], Fate::Held),
    row(
        "bash",
        "Tab behind the index of an array",
        &[Type("echo \"${a[`touch${IFS}@made`]}/"), Keys(b"\t")],
        Fate::Held,
    ),
    row("bash", "ESC Ctrl-E behind `$(...)`", &[Type("echo $(touch @made)"), Keys(b"\x1b\x05")], Fate::Held),
    row("bash", "a window of two columns", &[Width(2), Blind("touch @made\r"), Width(COLS)], Fate::Gap),
];

/// In which way guard reads the lines of a shell that can say them.
const EXACT: &str = "guard:exact";

/// How a shell is had as the login shell of the account that the tests have, and what it reads when it starts.
const SHELLS: &[(&str, &str, &str, &str)] = &[
    ("bash", "bash", ".bashrc", "PS1='ready> '; history -r $HOME/.past; HISTFILE=; export EDITOR=true MADE=@made"),
    ("zsh", "zsh", ".zshrc", "PROMPT='ready> '; print -s touch @made; export EDITOR=true"),
    ("mksh", "mksh", ".mkshrc", "PS1='ready> '; set -o emacs; export FCEDIT=true EDITOR=true"),
    ("ksh93", "ksh93", ".kshrc", "PS1='ready> '; set -o emacs"),
    ("fish", "fish", ".config/fish/config.fish", "function fish_prompt; echo -n 'ready> '; end; set -g fish_greeting"),
    ("dash", "env ENV=$HOME/.shrc dash", ".shrc", "PS1='ready> '"),
    ("busybox", "env ENV=$HOME/.shrc busybox sh", ".shrc", "PS1='ready> '"),
    ("yash", "yash", ".yashrc", "PS1='ready> '"),
];

const WORK: &str = r#"
schema  = 1
mode    = "@mode"
default = "@default"

[[rule]]
id      = "no-made"
effect  = "deny"
writes  = ["@made"]
reason  = "nobody makes this file"

[[rule]]
id      = "no-touch"
effect  = "deny"
program = ["touch"]
reason  = "nobody touches anything"

[[rule]]
id      = "never-shell"
effect  = "deny"
effects = ["shell", "run-program", "load-code", "interactive-escape"]
reason  = "no shell in a shell"

[[rule]]
id      = "talk"
effect  = "allow"
program = "/usr/bin/echo"
reason  = "whoever talks does nothing"

[[test]]
expect = "deny no-touch"
lines  = ["touch x"]
"#;

/// A target whose account has this login shell, and a bastion before it.
struct Place {
    sshd: Sshd,
    bastion: Bastion,
    /// Whether its shell says its lines.
    exact: bool,
}

impl Place {
    fn new(shell: &str, mode: &str) -> Self {
        let (_, start, file, text) = SHELLS.iter().find(|(name, ..)| *name == shell).unwrap();
        let given = format!("{start} -c \"$SSH_ORIGINAL_COMMAND\"");
        let path = find(shell).unwrap();
        let sshd = Sshd::with(&[&format!(
            "AcceptEnv BASH_ENV ENV LD_PRELOAD BASH_FUNC_*\nForceCommand export SHELL={}; if [ -n \"$SSH_ORIGINAL_COMMAND\" ]; then exec {given}; else exec {start} -i; fi",
            path.display()
        )]);
        let folder = sshd.folder().to_owned();
        let fill = |text: &str| filled(text, &folder);
        let start_file = folder.join(file);
        std::fs::create_dir_all(start_file.parent().unwrap()).unwrap();
        std::fs::write(&start_file, fill(text)).unwrap();
        // As a login shell it reads another.
        std::fs::write(folder.join(".bash_profile"), ". ~/.bashrc\n").unwrap();
        std::fs::write(folder.join(".inputrc"), fill("\"\\C-t\": \"touch @made\\n\"\n")).unwrap();
        std::fs::write(folder.join(".past"), fill("touch @made\n")).unwrap();
        std::fs::create_dir_all(folder.join("any/bin")).unwrap();
        std::fs::write(folder.join("any/bin/ls"), fill("#!/bin/sh\n: > @made\n")).unwrap();
        std::fs::set_permissions(folder.join("any/bin/ls"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let mut bastion = Bastion::furnished(&sshd);
        let exact = mode == EXACT;
        let beside = if mode == "guard" { ", integration = \"off\"" } else { "" };
        let mode = if mode == EXACT { "guard" } else { mode };
        bastion.policy(&format!(
            "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ labels = {{ env = \"test\" }} }}\n\
             accounts = [\"@me\"]\nchannels = [\"shell\", \"exec\"]\ngrant = {{ required = false }}\n\
             commands = {{ mode = \"{mode}\", sets = [\"work\"]{beside} }}\n"
        ));
        let sets = bastion.home().join("policies/commands");
        std::fs::create_dir_all(&sets).unwrap();
        let (mode, default) = if mode == "strict" { ("strict", "deny") } else { ("guard", "allow") };
        std::fs::write(sets.join("work.toml"), fill(&WORK.replace("@mode", mode).replace("@default", default)))
            .unwrap();
        bastion.serve();
        Self { sshd, bastion, exact }
    }

    fn made(&self) -> PathBuf {
        self.sshd.folder().join("made")
    }

    /// Whether the file was made, and what the screen showed at the end.
    fn try_row(&self, row: &Row, ready: &str) -> (bool, String) {
        let _ = std::fs::remove_file(self.made());
        let terminal = Terminal::start(&self.bastion.to(&self.sshd).ssh(&["-tt"], ""), COLS, 40);
        let fill = |text: &str| filled(text, self.sshd.folder());
        if !matches!(row.does.first(), Some(Early(_))) {
            terminal.shows(ready);
        }
        if self.exact {
            assert!(!terminal.shows(EXACT).contains("guard:screen"), "{}", terminal.screen());
        }
        for step in row.does {
            match *step {
                Type(text) => {
                    terminal.type_text(&fill(text));
                    sees(&terminal, &fill(text));
                }
                Early(text) | Blind(text) => terminal.bytes(fill(text).as_bytes()),
                Line(text) => {
                    terminal.type_text(&fill(text));
                    sees(&terminal, &fill(text));
                    terminal.bytes(b"\r");
                }
                Keys(bytes) => terminal.bytes(bytes),
                // The bastion's own shell knows nothing of the target's history, files and prompts.
                Look(text) if ready == STRICT_READY => {
                    let _ = seen(&terminal, |screen| bare(screen).contains(&bare(&fill(text))));
                }
                Look(text) => sees(&terminal, &fill(text)),
                Width(cols) => terminal.resize(cols, 40),
            }
        }
        // Whatever came of it, a harmless line works, and then all that was sent before it is done; or, where nothing is
        // shown of what is typed, whatever is typed is refused.
        let word = nonce();
        let asked = format!("\x15 echo \"{word}\"\r");
        let mut tries = 0;
        let screen =
            until(LIMIT, &format!("answer to a harmless line after {:?} on\n{}", row.what, terminal.screen()), || {
                if tries > 0 {
                    // Not at first: it would take back what was typed ahead.
                    terminal.bytes(b"\x03");
                    let _ = seen(&terminal, |screen| screen.trim_end().ends_with(ready.trim_end()));
                }
                tries += 1;
                terminal.bytes(asked.as_bytes());
                let answered = |screen: &str| screen.lines().any(|line| line.trim_end().ends_with(&word));
                let screen = seen(&terminal, answered);
                let dark = tries > 2 && screen.contains("cannot be read from the screen");
                if dark || terminal.ended() || answered(&screen) { Some(screen) } else { None }
            });
        (self.made().exists(), screen)
    }

    /// How many gaps are on record.
    fn gaps(&self) -> usize {
        self.bastion.rows(&["audit", "list"]).iter().filter(|row| row["type"] == "command.gap").count()
    }
}

/// The screen once it is as it is waited for, or the program has ended, or it has taken too long.
fn seen(terminal: &Terminal, wanted: impl Fn(&str) -> bool) -> String {
    let start = std::time::Instant::now();
    loop {
        let screen = terminal.screen();
        if wanted(&screen) || terminal.ended() || start.elapsed() > PATIENCE {
            return screen;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Without blanks and line ends.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Waits until the screen shows a text, however its lines were broken; or a refusal, behind which nothing more comes.
#[track_caller]
fn sees(terminal: &Terminal, text: &str) {
    let wanted = bare(text);
    until(LIMIT, &format!("{text:?} on the screen, which is\n{}", terminal.screen()), || {
        let screen = terminal.screen();
        (bare(&screen).contains(&wanted) || screen.contains("doorward: refused") || terminal.ended()).then_some(())
    });
}

fn filled(text: &str, folder: &Path) -> String {
    let folder = folder.to_str().unwrap();
    text.replace("@made", &format!("{folder}/made")).replace("@dir", &format!("{folder}/any"))
}

/// Whether a row is to be tried: all are, or those that `DOORWARD_ROW` is a part of.
fn wanted(mode: &str, row: &Row) -> bool {
    if mode == EXACT && !REPORTING.contains(&row.shell) {
        return false;
    }
    !std::env::var("DOORWARD_ROW").is_ok_and(|part| !row.what.contains(&part))
}

/// What came of each row in a mode: whether the file was made, and whether a gap is on record.
fn tried(mode: &str) -> Vec<(bool, bool)> {
    let rows = ROWS.iter().filter(|row| wanted(mode, row));
    if std::env::var_os("REQUIRE_OPENSSH").is_some() {
        for (shell, ..) in SHELLS {
            assert!(has(shell), "the program `{shell}` is missing");
        }
    }
    let shells: BTreeSet<&str> = rows.map(|row| row.shell).filter(|shell| has(shell)).collect();
    let found = Mutex::new(vec![(false, false); ROWS.len()]);
    std::thread::scope(|scope| {
        for shell in shells {
            let found = &found;
            scope.spawn(move || {
                let place = Place::new(shell, mode);
                for (at, row) in ROWS.iter().enumerate().filter(|(_, row)| row.shell == shell && wanted(mode, row)) {
                    let before = place.gaps();
                    let (made, screen) = place.try_row(row, if mode == "strict" { STRICT_READY } else { "ready>" });
                    let gap = place.gaps() > before;
                    if std::env::var_os("DOORWARD_SHOW_BYPASS").is_some() {
                        println!("{mode} {shell}: {}: made {made}, gap {gap}\n{}\n", row.what, screen.trim_end());
                    }
                    found.lock().unwrap()[at] = (made, gap);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// What is wrong with each row that is tried, by what came of it.
#[track_caller]
fn check(mode: &str, fault: impl Fn(&Row, bool, bool) -> Option<&'static str>) {
    let faults: Vec<String> = ROWS
        .iter()
        .zip(tried(mode))
        .filter(|(row, _)| has(row.shell) && wanted(mode, row))
        .filter_map(|(row, (made, gap))| Some(format!("{}: {}: {}", row.shell, row.what, fault(row, made, gap)?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn in_observe_each_way_past_a_held_enter_is_one() {
    require!("sshd", "ssh", "tmux");
    check("observe", |_, made, _| (!made).then_some("is no way"));
}

#[test]
fn in_guard_each_way_is_held_or_a_gap_or_stated() {
    require!("sshd", "ssh", "tmux");
    check("guard", |row, made, gap| match (row.guard, made, gap) {
        (Fate::Held, false, _) | (Fate::Gap, false, true) | (Fate::Runs, true, _) => None,
        (Fate::Held | Fate::Gap, true, _) => Some("runs"),
        (Fate::Gap, false, false) => Some("is held, and no gap is on record"),
        (Fate::Runs, false, _) => Some("does not run any more: state that"),
    });
}

#[test]
fn where_a_shell_says_its_lines_none_of_them_runs() {
    require!("sshd", "ssh", "tmux");
    check(EXACT, |_, made, _| made.then_some("runs"));
}

#[test]
fn in_strict_none_of_them_runs() {
    require!("sshd", "ssh", "tmux");
    check("strict", |_, made, _| made.then_some("runs"));
}

/// The table that is published.
fn table() -> String {
    let mut text = String::from(
        "# Ways past a held Enter\n\nWhat comes of each in each [mode](../policies/README.md#command-sets), tried by the tests \
         in `tests/it/bypass.rs` with a real `ssh`,\n`sshd` and shell; in `observe` each is shown to be a way. `strict` opens no \
         shell of the target's own: its lines are read by the\nbastion, whatever the account's login shell is. `guard` is against slips, \
         and no wall: this is a list of the ways that are known.\nWhere bash, zsh and fish say their lines themselves it is \
         `guard:exact`; all others, and they where a rule or a target wants it so, are\nread from the screen (`guard:screen`).\n\n\
         **held**: nothing of it runs. **gap on record**: the log says that something could not be read, and security people are told.\n\
         **runs**: it is not held, nothing in the log tells of it, and nobody is told; what the screen showed is in the recording. In\n\
         `observe` all of it runs, since that holds nothing: the lines that it can read are judged and in the log, and security people\n\
         are told of them as the rules say. **-**: the shell does not say its lines.\n\n\
         | login shell | way | strict | guard:exact | guard:screen | observe |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for row in ROWS {
        let what = row.what.replace('|', "\\|");
        let exact = if REPORTING.contains(&row.shell) { "held" } else { "-" };
        text.push_str(&format!("| {} | {what} | held | {exact} | {} | runs |\n", row.shell, row.guard.word()));
    }
    text + &channels::table()
}

#[test]
fn the_published_table_is_the_one_that_is_tested() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bypass.md");
    if std::env::var_os("DOORWARD_WRITE_DOCS").is_some() {
        std::fs::write(&file, table()).unwrap();
    }
    let published = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(published, table(), "run this test with DOORWARD_WRITE_DOCS=1 to write it anew");
}
