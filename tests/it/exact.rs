//! Shells that report their lines: bash, zsh and fish themselves, on terminals of a real `sshd`.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use doorward::guard::Gap;
use doorward::guard::integration::{Phase, START, Secrets, Shell, Step, Talk, Verdict};

use crate::fixture::process::{Stdout, descendants};
use crate::fixture::{LIMIT, Running, Sshd, find, found, holds, scratch, until};
use crate::require;

/// Files of a user's own, which load first.
const BASH_PROFILE: &str = "PS1='P> '\nalias ll=true\nHISTFILE=$HOME/history\necho own-files\n";
const ZSHRC: &str = "PS1='P> '\nHISTFILE=$HOME/history SAVEHIST=100 HISTSIZE=100\necho own-files\n\
                     autoload -Uz edit-command-line; zle -N edit-command-line; bindkey '^X^E' edit-command-line\n";
const FISH: &str = "function fish_prompt; echo 'P> '; end\nset -g fish_greeting\nabbr -a gg touch abbreviated\n\
                    echo own-files\n";

/// A person at an integrated shell, with the bastion's part played by the test.
struct Desk {
    shell: Shell,
    _process: Running,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    talk: Talk,
    began: Instant,
    shown: Vec<u8>,
    asked: VecDeque<String>,
    prompts: usize,
    /// Where in what was shown the last was reported.
    prompt_at: usize,
    gaps: Vec<Gap>,
    phases: Vec<Phase>,
    /// Whether nothing more can come.
    over: bool,
    home: tempfile::TempDir,
    sshd: Sshd,
}

/// The bytes of which the secrets are made.
const RANDOM: [u8; 30] = [0xa7; 30];
const SECRET: &str = "a7a7a7a7a7a7a7a7";

impl Desk {
    fn at(shell: Shell) -> Option<Self> {
        let mut desk = Self::with(shell, "")?;
        desk.until("prompt", |desk| desk.prompts > 0);
        assert_eq!(desk.phases, [Phase::Starting(shell), Phase::Exact(shell)]);
        assert!(desk.text().contains("own-files"), "{}", desk.text());
        Some(desk)
    }

    /// The same while it starts, with these lines behind the user's own.
    fn with(shell: Shell, lines: &str) -> Option<Self> {
        let name = match shell {
            Shell::Bash => "bash",
            Shell::Zsh => "zsh",
            Shell::Fish => "fish",
        };
        let Some(program) = find(name) else {
            println!("skipped: the program `{name}` is missing");
            return None;
        };
        let home = scratch();
        let config = home.path().join(".config/fish");
        std::fs::create_dir_all(&config).unwrap();
        let own = [
            (home.path().join(".bash_profile"), BASH_PROFILE),
            (home.path().join(".zshrc"), ZSHRC),
            (config.join("config.fish"), FISH),
        ];
        for (file, text) in own {
            std::fs::write(file, format!("{text}{lines}")).unwrap();
        }
        std::fs::write(home.path().join("start"), START).unwrap();
        let environment = format!("SetEnv HOME={} SHELL={} LANG=C.UTF-8", home.path().display(), program.display());
        let sshd = Sshd::with(&[&environment]);
        // The account's own shell reads the line as the shell under test would.
        let command = format!("cd; exec {name} -c \"$(cat start)\"");
        let mut process = Running::start(sshd.direct().ssh(&["-tt"], &command), Stdout::Unread);
        let (input, mut from) = (process.stdin(), process.stdout());
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let _ = send.send(buffer.get(..length).unwrap().to_vec());
            }
        });
        Some(Self {
            shell,
            _process: process,
            input,
            output,
            talk: Talk::new(Secrets::new(&RANDOM), Duration::ZERO),
            began: Instant::now(),
            shown: Vec::new(),
            asked: VecDeque::new(),
            prompts: 0,
            prompt_at: 0,
            gaps: Vec::new(),
            phases: Vec::new(),
            over: false,
            home,
            sshd,
        })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
        self.input.flush().unwrap();
    }

    fn turn(&mut self) {
        let at = self.now();
        let mut steps = self.talk.on_time(at);
        match self.output.recv_timeout(Duration::from_millis(10)) {
            Ok(bytes) => steps.extend(self.talk.on_output(&bytes, at)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.over = true,
        }
        for step in steps {
            match step {
                Step::Show(bytes) => self.shown.extend(bytes),
                Step::Send(bytes) => self.send(&bytes),
                Step::Enters(phase) => self.phases.push(phase),
                Step::Judge(read) => self.asked.push_back(read.unwrap().line),
                Step::Prompt => (self.prompts, self.prompt_at) = (self.prompts + 1, self.shown.len()),
                Step::Gap(gap) => self.gaps.push(gap),
                Step::Forged => panic!("forged"),
            }
        }
        let passed = self.talk.on_keys(b"", at).pass;
        self.send(&passed);
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut there: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !there(self) {
            self.turn();
            assert!(start.elapsed() < LIMIT, "no {what}; asked {:?}, {}", self.asked, self.text());
        }
    }

    fn keys(&mut self, bytes: &[u8]) {
        let at = self.now();
        let passed = self.talk.on_keys(bytes, at).pass;
        self.send(&passed);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    /// Types; gives the line that the shell asks about.
    #[track_caller]
    fn asks(&mut self, bytes: &[u8]) -> String {
        self.keys(bytes);
        self.until("report", |desk| !desk.asked.is_empty());
        self.asked.pop_front().unwrap()
    }

    /// Says what becomes of it, and waits for what that brings.
    #[track_caller]
    fn answer(&mut self, verdict: Verdict) {
        let (bytes, prompts) = (self.talk.answer(verdict, self.now()), self.prompts);
        self.send(&bytes);
        if verdict == Verdict::Run {
            self.until("prompt", |desk| desk.prompts > prompts);
        }
    }

    /// A line that may run: what was asked.
    #[track_caller]
    fn runs(&mut self, bytes: &[u8]) -> String {
        let line = self.asks(bytes);
        self.answer(Verdict::Run);
        line
    }

    fn file(&self, name: &str) -> bool {
        self.home.path().join(name).exists()
    }

    /// Text, and time for the shell to show it.
    #[track_caller]
    fn types(&mut self, text: &str) {
        let before = self.shown.len();
        self.keys(text.as_bytes());
        self.until("echo", |desk| desk.shown.len() > before);
    }

    /// Keys that must bring nothing to run and nothing to ask, whether or not they come to the shell.
    #[track_caller]
    fn dead(&mut self, keys: &[u8]) {
        self.keys(keys);
        self.brings_nothing(keys);
        self.send(keys);
        self.brings_nothing(keys);
    }

    #[track_caller]
    fn brings_nothing(&mut self, keys: &[u8]) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            self.turn();
        }
        assert!(self.asked.is_empty(), "{keys:?} asked {:?}", self.asked);
        assert!(!self.file("ran"), "{keys:?} ran the line");
    }

    /// An empty line again.
    #[track_caller]
    fn gives_up(&mut self) {
        if self.shell == Shell::Fish {
            // It shows no new prompt by its event, and what is typed close behind a Ctrl-C may be lost to that.
            return self.keys(b"\x15");
        }
        let prompts = self.prompts;
        let mut pressed = None::<Instant>;
        // A Ctrl-C that meets zsh while it lists what it found ends the list alone: people press it again.
        while self.prompts == prompts {
            if pressed.is_none_or(|pressed| pressed.elapsed() > Duration::from_secs(2)) {
                self.keys(b"\x03");
                pressed = Some(Instant::now());
            }
            self.turn();
            assert!(self.began.elapsed() < 5 * LIMIT, "no prompt; asked {:?}, {}", self.asked, self.text());
        }
    }
}

#[track_caller]
fn each(test: impl Fn(&mut Desk)) {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        if let Some(mut desk) = Desk::at(shell) {
            test(&mut desk);
            assert_eq!(desk.gaps, [], "{shell:?}");
        }
    }
}

#[test]
fn a_line_is_reported_as_it_would_run_however_it_came_about() {
    require!("sshd", "ssh");
    each(|desk| {
        assert_eq!(desk.runs(b"echo plain\r"), "echo plain");
        assert_eq!(desk.runs(b"echo X\x02Y\x01\x06\x06Z\n"), "ecZho YX", "edited, and Ctrl-J");
        assert_eq!(desk.runs(b"\x1b[A\x1b[A\r"), "echo plain", "recalled");
        let long = format!("echo {}", "long ".repeat(60));
        assert_eq!(desk.runs(format!("{long}\r").as_bytes()), long);
        assert_eq!(desk.runs("echo é%41 \\\\ '\\n' \"!x\"\r".as_bytes()), "echo é%41 \\\\ '\\n' \"!x\"");
        std::fs::write(desk.home.path().join("completed"), "").unwrap();
        assert_eq!(desk.runs(b"cat compl\t\r").trim_end(), "cat completed");
        assert_eq!(desk.runs(b"\x1b[200~echo a\necho b\x1b[201~\r"), "echo a\necho b", "a paste in brackets");
        assert_eq!(desk.runs(b"\r"), "");
        let shown = desk.text();
        assert!(!shown.contains("7379;") && !shown.contains(SECRET), "{shown}");
        assert!(shown.contains("plain\r\n") && shown.contains("%41"), "{shown}");
    });
}

#[test]
fn a_line_that_was_searched_for_is_reported_whole() {
    require!("sshd", "ssh");
    each(|desk| {
        desk.runs(b"echo needle\r");
        desk.runs(b"echo other\r");
        // The shell reports its prompt before its line editor has the terminal, and until that shows it a Ctrl-R is the
        // terminal's own (VREPRINT): nothing is searched for then, and what is typed is the line.
        desk.until("line editor", |desk| String::from_utf8_lossy(&desk.shown[desk.prompt_at..]).contains("P> "));
        desk.types("\x12");
        desk.shown.clear();
        desk.types("needl");
        if desk.shell == Shell::Fish {
            // It searches while one types, and shows what it finds when it has.
            desk.until("find", |desk| desk.text().contains("echo needle"));
        }
        if desk.shell == Shell::Fish {
            // Its pager only closes, whatever it reports of its field, and the line wants another Enter.
            desk.asks(b"\r");
            let bytes = desk.talk.answer(Verdict::Run, desk.now());
            desk.send(&bytes);
        }
        assert_eq!(desk.asks(b"\r"), "echo needle");
        desk.answer(Verdict::Run);
    });
}

#[test]
fn what_is_refused_does_not_run_and_the_prompt_is_usable() {
    require!("sshd", "ssh");
    each(|desk| {
        for _ in 0..3 {
            assert_eq!(desk.asks(b"touch ran\r"), "touch ran");
            desk.answer(Verdict::Refuse);
        }
        assert_eq!(desk.runs(b"echo after\r"), "echo after", "the line was emptied");
        assert!(!desk.file("ran"));
        assert_eq!(desk.asks(b"echo kep\r"), "echo kep");
        desk.answer(Verdict::Keep);
        assert_eq!(desk.runs(b"t\r"), "echo kept");
        assert!(desk.text().contains("kept\r\n"));
    });
}

#[test]
fn lines_that_are_not_complete_are_reported_as_one() {
    require!("sshd", "ssh");
    each(|desk| {
        let (first, second) = match desk.shell {
            Shell::Bash | Shell::Zsh => ("for i in 1 2; do", "touch made$i; done"),
            Shell::Fish => ("for i in 1 2", "touch made$i; end"),
        };
        assert_eq!(desk.asks(format!("{first}\r").as_bytes()), first);
        desk.answer(Verdict::More);
        assert_eq!(desk.runs(format!("{second}\r").as_bytes()), format!("{first}\n{second}"));
        assert!(desk.file("made1") && desk.file("made2"));
        if desk.shell == Shell::Fish {
            return; // It never takes half a line.
        }
        // Even where the shell was let take the first line alone.
        assert_eq!(desk.asks(format!("{first}\r").as_bytes()), first);
        let bytes = desk.talk.answer(Verdict::Run, desk.now());
        desk.send(&bytes);
        desk.until("second prompt", |desk| desk.text().ends_with("> ") || desk.text().contains("for> "));
        assert_eq!(desk.runs(format!("{second}\r").as_bytes()), format!("{first}\n{second}"));
    });
}

#[test]
fn a_paste_without_brackets_is_reported_line_by_line() {
    require!("sshd", "ssh");
    each(|desk| {
        assert_eq!(desk.asks(b"touch one\rtouch ran\rtouch two\r"), "touch one");
        desk.answer(Verdict::Run);
        assert_eq!(desk.asks(b""), "touch ran");
        desk.answer(Verdict::Refuse);
        assert_eq!(desk.asks(b""), "touch two");
        desk.answer(Verdict::Run);
        assert!(desk.file("one") && desk.file("two") && !desk.file("ran"));
    });
}

#[test]
fn other_keys_that_would_run_a_line_are_dead() {
    require!("sshd", "ssh");
    each(|desk| {
        let keys: &[&[u8]] = match desk.shell {
            Shell::Bash => &[b"\x0f", b"\x18\x05", b"\x1b#", b"\x1b1\x1b#"],
            Shell::Zsh => &[b"\x0f", b"\x1ba", b"\x1bA", b"\x18\x05", b"\x1bx", b"\x1bh", b"\x1b?"],
            Shell::Fish => &[b"\x0f", b"\x18\r", b"\x18\n", b"\x1be", b"\x1bv", b"\x1bp"],
        };
        for key in keys {
            desk.types("touch ran ");
            desk.dead(key);
            desk.gives_up();
        }
        if desk.shell == Shell::Bash {
            desk.types("echo $(touch ran)");
            desk.dead(b"\x1b\x05");
            desk.gives_up();
            desk.runs(b"set -o vi\r");
            desk.types("touch ran");
            desk.dead(b"\x1b");
            desk.dead(b"v");
            assert_eq!(desk.asks(b"\r"), "touch ran");
            desk.answer(Verdict::Refuse);
        }
    });
}

#[test]
fn completion_runs_nothing_and_completes_what_is_plain() {
    require!("sshd", "ssh");
    each(|desk| {
        let lines: &[&str] = match desk.shell {
            Shell::Bash => &["echo \"${a[`touch${IFS}ran`]}/", "echo $(touch ran)"],
            Shell::Zsh => &["echo $(touch ran)", "echo `touch ran`", "ls /*(e:'touch ran':)"],
            Shell::Fish => &["(touch ran)", "(touch ran)/x"],
        };
        let keys: &[&[u8]] = match desk.shell {
            Shell::Bash => &[b"\t", b"\t\t", b"\x1b?", b"\x1b*", b"\x1b{"],
            Shell::Zsh => &[b"\t", b"\t\t", b"\x18*"],
            Shell::Fish => &[b"\t", b"\t\t", b"\x1b[Z"],
        };
        for (line, keys) in lines.iter().flat_map(|line| keys.iter().map(move |keys| (line, keys))) {
            desk.types(line);
            desk.dead(keys);
            desk.gives_up();
        }
        for name in ["listed1", "listed2"] {
            std::fs::write(desk.home.path().join(name), "").unwrap();
        }
        desk.types("cat li");
        desk.keys(b"\t");
        desk.until("completion", |desk| desk.text().contains("sted"));
        desk.keys(b"\t\t");
        desk.until("list", |desk| desk.text().contains("listed1") || desk.text().contains("listed2"));
        desk.gives_up();
    });
}

#[test]
fn a_key_of_the_users_own_files_that_runs_a_line_is_taken_from_it() {
    require!("sshd", "ssh");
    for (shell, bind) in [
        (Shell::Bash, "bind '\"\\C-g\": accept-line'\n"),
        (Shell::Zsh, "bindkey '^G' .accept-line\n"),
        (Shell::Fish, "bind \\cg execute\n"),
    ] {
        let Some(mut desk) = Desk::with(shell, bind) else { continue };
        desk.until("prompt", |desk| desk.prompts > 0);
        assert_eq!(desk.phases, [Phase::Starting(shell), Phase::Exact(shell)]);
        desk.types("touch ran");
        desk.dead(b"\x07");
        assert_eq!(desk.gaps, [], "{shell:?}");
        assert_eq!(desk.asks(b"\r"), "touch ran");
        desk.answer(Verdict::Refuse);
    }
}

#[test]
fn a_bash_whose_keys_cannot_be_taken_from_it_is_read_from_the_screen() {
    require!("sshd", "ssh");
    let Some(mut desk) = Desk::with(Shell::Bash, "enable -n bind\n") else { return };
    desk.until("end of the start", |desk| desk.phases.len() > 1 && desk.text().contains("P> "));
    assert_eq!(desk.phases, [Phase::Starting(Shell::Bash), Phase::Screen]);
    assert!(!desk.talk.at_prompt());
    desk.keys(b"touch ran\r");
    desk.until("file", |desk| desk.file("ran"));
}

#[test]
fn fish_expands_an_abbreviation_before_it_reports() {
    require!("sshd", "ssh");
    let Some(mut desk) = Desk::at(Shell::Fish) else { return };
    assert_eq!(desk.runs(b"gg\r").trim_end(), "touch abbreviated");
    assert!(desk.file("abbreviated"));
}

#[test]
fn a_verdict_that_the_shell_does_not_know_runs_nothing() {
    require!("sshd", "ssh");
    each(|desk| {
        assert_eq!(desk.asks(b"touch ran\r"), "touch ran");
        // What a user could send behind an Enter: the right length, the right letter, not the secret.
        desk.send(b"0000000000000000rrrrrrrrrrrrrrrrrrrr");
        holds(Duration::from_millis(300), "nothing runs", || !desk.file("ran"));
        desk.answer(Verdict::Refuse);
        assert_eq!(desk.runs(b"echo after\r"), "echo after");
        assert!(!desk.file("ran"));
    });
}

#[test]
fn a_key_that_the_user_binds_runs_one_line_and_is_a_gap() {
    require!("sshd", "ssh");
    for (shell, bind) in [
        (Shell::Bash, "bind '\"\\C-g\": accept-line'"),
        (Shell::Zsh, "bindkey '^G' .accept-line"),
        (Shell::Fish, "bind \\cg execute"),
    ] {
        let Some(mut desk) = Desk::at(shell) else { continue };
        assert_eq!(desk.runs(format!("{bind}\r").as_bytes()), bind);
        desk.types("touch ran");
        desk.keys(b"\x07");
        desk.until("gap", |desk| !desk.gaps.is_empty());
        assert_eq!(desk.gaps, [Gap::Unreported]);
        assert_eq!(desk.talk.phase(), Phase::Screen);
        desk.until("file", |desk| desk.file("ran"));
    }
}

#[test]
fn a_child_shell_is_not_at_our_prompt() {
    require!("sshd", "ssh");
    each(|desk| {
        let line = desk.asks(b"sh\r");
        assert_eq!(line, "sh");
        let bytes = desk.talk.answer(Verdict::Run, desk.now());
        desk.send(&bytes);
        desk.until("rest", |desk| !desk.talk.at_prompt() && desk.talk.held() == 0);
        desk.shown.clear();
        desk.until("its prompt", |desk| {
            let text = desk.text();
            text.contains("# ") || text.contains("$ ")
        });
        assert!(!desk.talk.at_prompt());
        let prompts = desk.prompts;
        desk.keys(b"exit\r");
        desk.until("our prompt", |desk| desk.prompts > prompts);
        assert!(desk.talk.at_prompt());
    });
}

#[test]
fn the_secret_stands_in_no_argument_no_environment_no_history_and_no_file() {
    require!("sshd", "ssh");
    each(|desk| {
        let line = match desk.shell {
            Shell::Bash | Shell::Zsh => "history; fc -l; set -o; env; ps auxeww",
            Shell::Fish => "history; env; ps auxeww",
        };
        desk.runs(b"echo one\r");
        desk.shown.clear();
        assert_eq!(desk.runs(format!("{line}\r").as_bytes()), line);
        assert!(desk.text().contains("sshd") && !desk.text().contains(SECRET), "{}", desk.text());
        for pid in descendants(desk.sshd.pid()) {
            for file in ["cmdline", "environ"] {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{file} of {pid}");
            }
        }
        let _ = desk.asks(b"exit\r");
        let bytes = desk.talk.answer(Verdict::Run, desk.now());
        desk.send(&bytes);
        desk.until("end of the output", |desk| desk.over);
        assert_eq!(found(desk.home.path(), SECRET.as_bytes()), Vec::<std::path::PathBuf>::new());
        // Those of other tests are gone in a moment, too.
        until(LIMIT, "folder of zsh to be removed", || {
            let mut left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
            left.all(|entry| !is_left(&entry.path())).then_some(())
        });
    });
}

/// Whether this is the folder of a moment in which zsh finds its first file.
fn is_left(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".zsh-")) && path.join(".zshenv").exists()
}
