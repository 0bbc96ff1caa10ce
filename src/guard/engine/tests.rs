//! Real shells on terminals of their own, typed at through a guard that lets everything run but `touch`.
#![expect(clippy::disallowed_methods, reason = "the shells of these tests run in real time")]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::*;

/// A shell, as it starts on a terminal of 80 columns without files of its user's.
const SHELLS: &[(&str, &str)] = &[
    ("bash", "bash --norc --noprofile -i"),
    ("zsh", "zsh -f -i"),
    ("dash", "dash -i"),
    ("mksh", "mksh -i"),
    ("ksh93", "ksh93 -i"),
    ("fish", "fish --no-config -i"),
    ("busybox", "busybox sh -i"),
    ("yash", "yash --norcfile -i"),
];
const LIMIT: Duration = Duration::from_secs(20);

struct Typist {
    shell: String,
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    began: Instant,
    guard: Guard,
    folder: tempfile::TempDir,
    questions: Vec<Question>,
    gaps: Vec<Gap>,
    wiped: Vec<bool>,
    all: Vec<u8>,
    started: Started,
    /// This line may run, whatever is in it.
    lets: Option<&'static str>,
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(program: &str) -> bool {
    std::env::var("PATH").unwrap_or_default().split(':').any(|folder| Path::new(folder).join(program).exists())
}

impl Typist {
    fn at(shell: &str) -> Option<Self> {
        let (program, line) = SHELLS.iter().find(|(name, _)| *name == shell)?;
        if !installed(program) || !installed("script") {
            return None;
        }
        Some(Self::start(line, 80))
    }

    fn start(line: &str, cols: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("script")
            .args(["-qfec", &format!("stty cols {cols} rows 24; exec {line}"), "/dev/null"])
            .current_dir(folder.path())
            .env_clear()
            .envs([("PATH", std::env::var("PATH").unwrap()), ("TERM", "xterm-256color".into())])
            .envs([("LC_ALL", "C.UTF-8"), ("PS1", "at$ "), ("ENV", "/nonexistent"), ("HISTFILE", "/dev/null")])
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut bytes) {
                if sender.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let size = Size::bounded(cols, 24);
        let mut typist = Self {
            shell: line.to_owned(),
            child,
            input,
            output,
            began: Instant::now(),
            guard: Guard::new(size),
            folder,
            questions: Vec::new(),
            gaps: Vec::new(),
            wiped: Vec::new(),
            all: Vec::new(),
            started: Started::default(),
            lets: None,
        };
        typist.until("a prompt", |typist| !typist.guard.line_shown().is_empty() || typist.all.len() > 200);
        typist.pause(Duration::from_millis(150));
        typist
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets everything happen until it is so.
    #[track_caller]
    fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !so(self) {
            assert!(
                start.elapsed() < LIMIT,
                "{}: no {what}: {:?} {:?}\n{}\n{:?}",
                self.shell,
                self.questions,
                self.gaps,
                self.guard.screen.text().join("\n"),
                String::from_utf8_lossy(&self.all)
            );
            self.go_on();
        }
    }

    /// Lets everything happen for so long: somebody thinks.
    fn pause(&mut self, length: Duration) {
        let start = Instant::now();
        while start.elapsed() < length {
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        match self.output.recv_timeout(Duration::from_millis(5)) {
            Ok(bytes) => {
                self.all.extend_from_slice(&bytes);
                let now = self.now();
                self.guard.shown(&bytes, now);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(5)),
        }
        self.steps();
    }

    fn steps(&mut self) {
        while let Some(step) = self.guard.step(self.now()) {
            match step {
                Step::Send(bytes) | Step::Run(bytes) | Step::SendOwn(bytes) => {
                    let _ = self.input.write_all(&bytes).and_then(|()| self.input.flush());
                }
                Step::Drop(_) | Step::Read(_) => {}
                Step::Judge(question) => {
                    let lets = self.lets;
                    let bad = |read: &LineRead| read.line.contains("touch") && Some(read.line.as_str()) != lets;
                    let refused = question.problem.is_some() || question.reads.iter().any(bad);
                    let answer = if refused { Answer::Refuse } else { Answer::Run(self.started.clone()) };
                    self.questions.push(question);
                    let now = self.now();
                    self.guard.answer(answer, now);
                }
                Step::Wiped { gone, .. } => self.wiped.push(gone),
                Step::Gap(gap) => self.gaps.push(gap),
            }
        }
    }

    fn keys(&mut self, keys: &[u8]) {
        let now = self.now();
        self.guard.typed(keys, now);
        self.steps();
    }

    /// Types as a person does: each key once the last has been shown.
    fn slowly(&mut self, keys: &[u8]) {
        for (at, key) in keys.iter().enumerate() {
            self.keys(&[*key]);
            // What Enter brings is waited for by whoever looks at it: here it could be over before they do.
            if *key != b'\r' || at + 1 < keys.len() {
                self.pause(Duration::from_millis(20));
            }
        }
    }

    fn ran(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    #[track_caller]
    fn is_refused(&mut self, line: &str) {
        let before = self.wiped.len();
        self.until("wiped line", |typist| typist.wiped.len() > before);
        let last = self.questions.last().unwrap();
        assert!(last.problem.is_some() || last.reads.iter().any(|read| read.line.contains(line)), "{last:?}");
        assert_eq!(self.wiped.last(), Some(&true), "{}", self.guard.screen.text().join("\n"));
    }

    /// The prompt can be used, and nothing of what was refused is left in it.
    #[track_caller]
    fn is_usable(&mut self, name: &str) {
        self.slowly(format!("echo >{name}").as_bytes());
        self.keys(b"\r");
        self.until("file by a line that may run", |typist| typist.ran(name));
        let read = &self.questions.last().unwrap().reads;
        assert_eq!(read.len(), 1, "{read:?}");
        assert_eq!((read[0].line.as_str(), read[0].confidence), (format!("echo >{name}").as_str(), Confidence::Screen));
        self.pause(Duration::from_millis(100));
    }
}

fn everywhere(check: impl Fn(&str, &mut Typist)) {
    for (shell, _) in SHELLS {
        if let Some(mut typist) = Typist::at(shell) {
            check(shell, &mut typist);
            assert!(!typist.ran("ran"), "{shell}: it ran");
        }
    }
}

#[test]
fn a_line_that_may_run_runs_and_one_that_may_not_is_wiped_in_every_shell() {
    everywhere(|_, typist| {
        typist.is_usable("first");
        typist.slowly(b"touch ran");
        typist.keys(b"\r");
        typist.is_refused("touch ran");
        typist.is_usable("second");
        assert_eq!(typist.gaps, []);
    });
}

#[test]
fn every_key_that_runs_a_line_is_held_in_every_shell() {
    everywhere(|_, typist| {
        for keys in [
            &b"\n"[..],
            b"\x0f",
            b"\x1ba",
            b"\x1b#",
            b"\x1b\x05",
            b"\x18e",
            b"\x18\x05",
            b"\x18\r",
            b"\x18\n",
            b"\x04\x04",
            b"\x1bv",
            b"\x1b[13u",
            b"\x1bOM",
            b"\x1bO\r",
        ] {
            typist.slowly(b"touch ran");
            typist.keys(keys);
            typist.is_refused("touch ran");
        }
        typist.pause(Duration::from_millis(100));
        typist.is_usable("after");
    });
}

#[test]
fn an_enter_in_the_report_of_a_mouse_is_held() {
    everywhere(|shell, typist| {
        typist.slowly(b"touch ran");
        typist.keys(b"\x1b[M\r\r\r");
        // fish takes what would wipe the line for the rest of the report, and its user is told so.
        typist.until("refusal", |typist| typist.wiped.len() == 1);
        assert!(typist.wiped == [true] || shell == "fish", "{shell}");
    });
}

#[test]
fn completion_is_held_where_it_may_run_what_it_expands() {
    for (shell, line) in [
        ("zsh", "echo $(touch ran)"),
        ("zsh", "ls /*(e:'touch ran':)"),
        ("fish", "(touch ran)"),
        ("bash", "echo \"${a[`touch${IFS}ran`]}/"),
    ] {
        let Some(mut typist) = Typist::at(shell) else { continue };
        typist.slowly(line.as_bytes());
        typist.keys(b"\t");
        typist.is_refused("touch");
        // Pasted with what brings a line that nobody knows.
        typist.slowly(format!("{line}\x17\x19").as_bytes());
        typist.keys(b"\t");
        typist.is_refused("touch");
        assert!(!typist.ran("ran"), "{shell}: it ran");
        typist.is_usable("after");
        let asked = typist.questions.len();
        std::fs::write(typist.folder.path().join("completed"), "").unwrap();
        typist.slowly(b"echo >made; cat compl");
        typist.slowly(b"\t\t");
        typist.until("completion", |typist| typist.guard.line_shown().contains("completed"));
        assert_eq!(typist.questions.len(), asked, "{shell}: a plain line is not asked about");
        typist.keys(b"\r");
        typist.until("file", |typist| typist.ran("made"));
    }
}

#[test]
fn keys_that_come_in_pieces_are_held_as_well() {
    everywhere(|_, typist| {
        typist.slowly(b"touch ran");
        // mksh waits for the second byte for ever.
        typist.slowly(b"\x1b");
        typist.pause(ESCAPE_WAIT * 4);
        typist.keys(b"\x05");
        typist.is_refused("touch ran");
        typist.is_usable("after");
    });
}

/// Shells with a line editor and a history.
const EDITORS: &[&str] = &["bash", "zsh", "mksh", "fish"];

fn with_editor(check: impl Fn(&str, &mut Typist)) {
    everywhere(|shell, typist| {
        if EDITORS.contains(&shell) {
            check(shell, typist);
        }
    });
}

#[test]
fn a_line_is_read_whole_however_it_was_edited() {
    with_editor(|_, typist| {
        // In the middle.
        typist.slowly(b"ouch ran\x01t\r");
        typist.is_refused("touch ran");
        typist.slowly(b"xouch ran\x01\x1b[C\x7ft\r");
        typist.is_refused("touch ran");
        // Over the margin, with the cursor on its first row.
        typist.slowly(format!("touch ran {}\x01", "x".repeat(150)).as_bytes());
        typist.pause(Duration::from_millis(200));
        typist.keys(b"\r");
        typist.is_refused("touch ran");
        // The screen is cleared meanwhile.
        typist.slowly(b"touch ran\x0c\r");
        typist.is_refused("touch ran");
        typist.is_usable("after");
    });
}

#[test]
fn a_line_from_history_is_read_from_the_screen() {
    with_editor(|_, typist| {
        // What a shell keeps in its history ran once: here as a word of a harmless line.
        typist.slowly(b"echo touch >ran; rm ran");
        typist.lets = Some("echo touch >ran; rm ran");
        typist.keys(b"\r");
        typist.until("a run", |typist| typist.questions.len() == 1);
        typist.pause(Duration::from_millis(300));
        typist.lets = None;
        for keys in [&b"\x1b[A"[..], b"\x10", b"\x12ouch"] {
            typist.keys(keys);
            typist.keys(b"\r");
            typist.is_refused("touch");
            // Shells keep their place in the history of a line that was wiped.
            typist.keys(b"\x03");
            typist.pause(Duration::from_millis(200));
        }
        typist.is_usable("after");
    });
}

#[test]
fn a_line_that_comes_back_by_itself_is_read_before_it_runs() {
    if let Some(mut typist) = Typist::at("bash") {
        typist.slowly(b"echo >one\r");
        typist.pause(Duration::from_millis(300));
        typist.slowly(b"echo touch >ran; rm ran");
        typist.lets = Some("echo touch >ran; rm ran");
        typist.keys(b"\r");
        typist.pause(Duration::from_millis(600));
        typist.lets = None;
        typist.slowly(b"\x1b[A\x1b[A");
        typist.pause(Duration::from_millis(200));
        typist.keys(b"\x0f");
        typist.pause(Duration::from_millis(600));
        typist.keys(b"\r");
        typist.is_refused("touch");
        typist.is_usable("after");
    }
    if let Some(mut typist) = Typist::at("zsh") {
        typist.is_usable("one");
        for (aside, then) in [(b"\x1bq", &b"true\r"[..]), (b"\x1bQ", b"\x03")] {
            typist.slowly(b"touch ran");
            typist.keys(aside);
            typist.pause(Duration::from_millis(300));
            typist.slowly(then);
            typist.pause(Duration::from_millis(600));
            typist.keys(b"\r");
            typist.is_refused("touch ran");
        }
        typist.is_usable("after");
        assert!(!typist.ran("ran"));
    }
}

#[test]
fn pastes_go_line_by_line_with_brackets_and_without() {
    with_editor(|shell, typist| {
        for keys in [
            &b"echo >one\rtouch ran\rtouch ran\r"[..],
            b"\x1b[200~echo >two\rtouch ran\x1b[201~\r",
            b"echo >three\ntouch ran\x0f",
            b"\x1b[200~touch ran\x1b[201~\r",
        ] {
            typist.keys(keys);
            typist.is_refused("touch ran");
        }
        assert!(typist.ran("one") && typist.ran("two") && typist.ran("three"), "{shell}: {:?}", typist.questions);
        typist.is_usable("after");
    });
}

#[test]
fn what_is_typed_ahead_is_judged_before_it_runs() {
    everywhere(|_, typist| {
        typist.keys(b"sleep 0.5\r");
        typist.pause(Duration::from_millis(150));
        typist.slowly(b"touch ran");
        typist.keys(b"\r");
        typist.is_refused("touch ran");
        typist.pause(Duration::from_millis(600));
        typist.is_usable("after");
    });
}

#[test]
fn nothing_that_is_printed_switches_it_off() {
    with_editor(|shell, typist| {
        for line in [
            "printf '\\033[?1049h\\033[2;1H'",
            "printf '\\033]133;C\\007\\033]133;D\\007'",
            "PS1='password:'",
            "printf '\\033[8m'",
        ] {
            typist.slowly(line.as_bytes());
            typist.keys(b"\r");
            typist.pause(Duration::from_millis(300));
            typist.slowly(b"touch ran");
            typist.keys(b"\r");
            typist.is_refused("touch ran");
        }
        assert!(typist.gaps.contains(&Gap::AlternateScreen), "{shell}: {:?}", typist.gaps);
    });
}

#[test]
fn where_nothing_is_echoed_the_keys_are_judged_and_a_password_is_not() {
    let Some(mut typist) = Typist::at("dash") else { return };
    typist.slowly(b"stty -echo\r");
    typist.pause(Duration::from_millis(300));
    typist.slowly(b"touch ran");
    typist.keys(b"\r");
    typist.until("wiped line", |typist| typist.wiped.len() == 1);
    assert!(typist.gaps.contains(&Gap::EchoOff));
    assert!(!typist.questions.last().unwrap().echoed);
    typist.slowly(b"stty echo\r");
    typist.pause(Duration::from_millis(300));
    // A program that may ask for a password does.
    typist.started = Started { asks_password: true, ..Started::default() };
    typist.slowly(b"stty -echo; printf 'Password: '; read x; stty echo; echo \"$x\" >got\r");
    typist.until("prompt", |typist| typist.guard.line_shown().trim_end().ends_with("Password:"));
    let asked = typist.questions.len();
    typist.slowly(b"hunter2 touch");
    typist.keys(b"\r");
    typist.until("password", |typist| typist.ran("got"));
    assert_eq!(typist.questions.len(), asked);
    assert!(typist.gaps.contains(&Gap::Password));
    assert!(!typist.ran("ran"));
}

#[test]
fn windows_of_one_column_and_floods_of_hostile_output_are_borne() {
    let mut guard = Guard::new(Size::bounded(1, 1));
    let now = Duration::from_secs(1);
    guard.shown(b"$ ", now);
    guard.typed(b"touch ran\r", now * 2);
    while let Some(step) = guard.step(now * 2) {
        assert!(!matches!(&step, Step::Send(bytes) | Step::Run(bytes) if bytes.contains(&b'\r')), "{step:?}");
    }
    for size in [Size::bounded(1, 200), Size::bounded(500, 1), Size::bounded(500, 200)] {
        guard.resized(size);
        for _ in 0..50 {
            guard.shown(&b"\x1b[?1049h\x1b[2J\x1b[65535b\x1b[?2004".repeat(100), now * 3);
            let _ = guard.step(now * 3);
        }
    }
    // It is asked or given up in the end, and never sent.
    for second in 4..20 {
        while let Some(step) = guard.step(now * second) {
            assert!(!matches!(&step, Step::Send(bytes) | Step::Run(bytes) if bytes.contains(&b'\r')), "{step:?}");
        }
    }
}

#[test]
fn a_paste_of_a_mebibyte_is_held_in_bounds() {
    let mut guard = Guard::new(Size::bounded(80, 24));
    let mut taken = 0;
    guard.typed(b"\x1b[200~", Duration::from_secs(1));
    while guard.takes() && taken < 1024 {
        guard.typed(&[b'x'; 1024], Duration::from_secs(1));
        taken += 1;
    }
    assert!(taken <= 64, "{taken}");
    let mut sent = 0;
    while let Some(step) = guard.step(Duration::from_secs(2)) {
        if let Step::Send(bytes) | Step::Run(bytes) = step {
            sent += bytes.len();
        }
    }
    assert!(sent <= 64 * 1024 && guard.takes());
}

#[test]
fn what_is_only_read_along_passes_byte_by_byte_as_it_came() {
    let typed: &[u8] =
        b"ls\r\x1b[200~touch x\x1b[201~\x0f\x1b[200~a\rb\x1b[201~\x03\x18\x05\x1bv!!\r\x04\x1b[Ax\xc3\xa4\n";
    for size in 1..typed.len() {
        let mut guard = Guard::watching(Size::bounded(80, 24));
        let mut now = Duration::from_secs(1);
        guard.shown(b"ready> ", now);
        let mut sent = Vec::new();
        for piece in typed.chunks(size).chain([&[][..]]) {
            guard.typed(piece, now);
            // Whatever waits for more waits no longer.
            now += Duration::from_secs(1);
            while let Some(step) = guard.step(now) {
                match step {
                    Step::Send(bytes) | Step::Run(bytes) => sent.extend(bytes),
                    Step::Read(_) | Step::Gap(_) => {}
                    other @ (Step::SendOwn(_) | Step::Drop(_) | Step::Judge(_) | Step::Wiped { .. }) => {
                        panic!("{other:?}")
                    }
                }
            }
        }
        assert_eq!(String::from_utf8_lossy(&sent), String::from_utf8_lossy(typed), "pieces of {size}");
    }
}

/// What is told of lines that go by, of which the target shows this only behind their last key.
fn told_late(before: &str, typed: &[u8], shown: &[&str]) -> Vec<(String, Confidence)> {
    let mut guard = Guard::watching(Size::bounded(80, 24));
    let mut now = Duration::from_secs(1);
    let mut told = Vec::new();
    let mut look = |guard: &mut Guard, now| {
        while let Some(step) = guard.step(now) {
            if let Step::Read(read) = step {
                told.push((read.line, read.confidence));
            }
        }
    };
    guard.shown(before.as_bytes(), now);
    now += Duration::from_secs(1);
    guard.typed(typed, now);
    look(&mut guard, now);
    for output in shown {
        now += Duration::from_millis(5);
        guard.shown(output.as_bytes(), now);
        look(&mut guard, now);
    }
    told
}

#[test]
fn a_line_that_comes_at_once_is_told_when_it_is_shown_and_one_that_never_is_shown_is_not() {
    let told = told_late("ready> ", b"sh -c true\r", &["sh -c t", "rue\r\nout\r\nready> "]);
    assert_eq!(told, [(String::from("sh -c true"), Confidence::Screen)]);
    // Brought back by a key, and run at once.
    let told = told_late("ready> ", b"\x1b[A\r", &["sh -c true\r\n", "out\r\nready> "]);
    assert_eq!(told, [(String::from("sh -c true"), Confidence::Screen)]);
    assert_eq!(told_late("Secret: ", b"root\r", &["\r\n", "root@db1:~# "]), []);
    assert_eq!(told_late("Secret: ", b"ro\x15root\r", &["\r\nroot@db1:~# "]), []);
}

#[test]
fn a_line_that_did_not_run_though_it_was_let_is_given_up_with_all_that_was_typed_behind_it() {
    let mut guard = Guard::new(Size::bounded(80, 24));
    let now = Duration::from_secs(1);
    guard.shown(b"at$ ", now);
    let steps = |guard: &mut Guard, now| {
        let mut all = Vec::new();
        while let Some(step) = guard.step(now) {
            if matches!(step, Step::Judge(_)) {
                guard.answer(Answer::Run(Started { nested: Some("mysql".into()), ..Started::default() }), now);
            }
            all.push(step);
        }
        all
    };
    guard.typed(b"mysql", now * 2);
    steps(&mut guard, now * 2);
    guard.shown(b"mysql", now * 3);
    let depth = guard.depth();
    guard.typed(b"\r", now * 4);
    let ran = steps(&mut guard, now * 4);
    assert!(ran.contains(&Step::Run(b"\r".to_vec())), "{ran:?}");
    assert_eq!((depth, guard.depth()), (0, 1));
    guard.typed(b"\rdrop\r", now * 5);
    guard.not_run(depth, now * 5);
    let given_up = steps(&mut guard, now * 5);
    assert_eq!(given_up, [Step::Drop(6), Step::SendOwn(vec![0x03])], "{given_up:?}");
    guard.shown(b"^C\r\nat$ ", now * 6);
    let wiped = steps(&mut guard, now * 7);
    assert!(matches!(wiped.as_slice(), [Step::Wiped { gone: true, .. }]), "{wiped:?}");
    assert_eq!(guard.depth(), 0, "nothing of it has begun");
}
