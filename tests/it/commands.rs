//! The command gate on `exec`: judged, sent in the form that was judged, refused before anything of it starts, or held until
//! somebody says yes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::bastion::{ALICE, BY_TWO_AND_NEVER};
use crate::fixture::process::{Finished, Running, Stdout};
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, Syncs, key, until};
use crate::jump::Desk;
use crate::requests::Hook;
use crate::require;

/// What the tests' command rules say: a few programs, one that takes a yes, and no shell.
static WORK: LazyLock<String> = LazyLock::new(|| format!("{OWN}{BY_TWO_AND_NEVER}"));

const OWN: &str = r#"
schema  = 1
mode    = "guard"
default = "deny"

[[rule]]
id      = "print"
effect  = "allow"
program = ["/usr/bin/printf", "/usr/bin/env"]
reason  = "they print"

[[test]]
expect = "allow print"
lines  = ["printf x", "env"]
"#;

/// Alice may run commands, in this mode, and with this beside it; Bob and Carol lead.
fn rules(mode: &str, beside: &str) -> String {
    format!(
        "schema = 1\n[[rule]]\nid = \"{mode}-dba\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ labels = {{ env = \"test\" }} }}\n\
         accounts = [\"@me\"]\nchannels = [\"shell\", \"exec\"]\ngrant = {{ required = false }}\n\
         commands = {{ mode = \"{mode}\", sets = [\"work\"]{beside} }}\n"
    )
}

/// A bastion that judges commands.
pub(crate) struct House {
    pub(crate) sshd: Sshd,
    pub(crate) bastion: Bastion,
    beside: &'static str,
}

impl House {
    pub(crate) fn new(mode: &str) -> Self {
        Self::prepared(mode, |_| {})
    }

    pub(crate) fn prepared(mode: &str, prepare: impl FnOnce(&mut Bastion)) -> Self {
        Self::before(Sshd::start(), mode, "", prepare)
    }

    /// In guard before this target, with this beside the sets, and with these rules.
    pub(crate) fn guarding(sshd: Sshd, beside: &'static str, work: &str) -> Self {
        let house = Self::before(sshd, "guard", beside, |_| {});
        house.reload("guard", work);
        house
    }

    fn before(sshd: Sshd, mode: &str, beside: &'static str, prepare: impl FnOnce(&mut Bastion)) -> Self {
        let mut bastion = Bastion::furnished(&sshd);
        for (name, group) in [("bob", "leads"), ("carol", "leads"), ("mallory", "nobody")] {
            let key = key(bastion.scratch(), name, "ed25519", "");
            bastion.add_user(name, group, &key);
        }
        write(&bastion, (mode, beside), &WORK);
        prepare(&mut bastion);
        bastion.serve();
        Self { sshd, bastion, beside }
    }

    /// Puts other rules in force.
    pub(crate) fn reload(&self, mode: &str, work: &str) {
        write(&self.bastion, (mode, self.beside), work);
        self.bastion.doorward(&["policy", "reload"]).ok();
    }

    pub(crate) fn alice(&self) -> Route {
        self.bastion.to(&self.sshd)
    }

    fn run(&self, line: &str) -> Finished {
        self.alice().run(line)
    }

    /// `ssh NAME@BASTION VERB`.
    pub(crate) fn ask(&self, name: &str, verb: &str) -> Finished {
        let key = if name == ALICE { self.bastion.key.clone() } else { self.bastion.scratch().join(name) };
        self.bastion.login(name).key(&key).run(verb)
    }

    pub(crate) fn log(&self, kind: &str) -> Vec<Value> {
        self.bastion.rows(&["audit", "list", "--type", kind])
    }

    /// A command that waits for a yes; with it the decision.
    fn waiting(&self, route: &Route, line: &str) -> (Running, String) {
        let before = self.log("command.waits").len();
        let ssh = Running::start(route.ssh(&[], line), Stdout::Gathered);
        let waits = until(LIMIT, "command that waits", || {
            let rows = self.log("command.waits");
            (rows.len() > before).then(|| rows.iter().max_by_key(|row| row["seq"].as_u64()).unwrap().clone())
        });
        (ssh, waits["decision"].as_str().unwrap().to_owned())
    }

    /// What became of it, step by step.
    pub(crate) fn steps(&self, decision: &str) -> Vec<String> {
        let rows = self.log("command.step").into_iter().filter(|row| row["decision"] == decision);
        let mut rows: Vec<Value> = rows.collect();
        rows.sort_by_key(|row| row["seq"].as_u64());
        rows.iter().map(|row| row["result"].as_str().unwrap().to_owned()).collect()
    }
}

fn write(bastion: &Bastion, (mode, beside): (&str, &str), work: &str) {
    bastion.policy(&rules(mode, beside));
    let folder = bastion.home().join("policies/commands");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("work.toml"), work).unwrap();
}

/// What a channel's recording notes besides what was shown; channel 0 is the session's own.
#[track_caller]
pub(crate) fn markers(bastion: &Bastion, session: &str, channel: u32) -> String {
    let bundle = bastion.scratch().join(format!("{session}-{channel}"));
    let export = ["recording", "export", session, "--proof", bundle.to_str().unwrap()];
    until(LIMIT, "checkpoint", || (bastion.doorward(&export).code == Some(0)).then_some(()));
    let cast = std::fs::read_to_string(bundle.join(format!("channel-{channel}.cast"))).unwrap();
    let lines = cast.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line[1] == "m").map(|line| format!("{}\n", line[2].as_str().unwrap())).collect()
}

#[track_caller]
fn is_refused(told: &Finished, rule: &str) {
    assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{told:?}");
    let text = told.err();
    assert!(text.starts_with("doorward: refused  "), "{text}");
    assert!(text.contains(&format!("({rule})")), "no {rule} in {text}");
    assert!(text.contains("ask those who keep the rules, and name d-"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn t9_what_is_judged_is_what_runs_and_it_looks_as_it_does_directly() {
    require!("sshd", "ssh", "printf");
    let house = House::new("strict");
    for line in [
        "printf '%s\\n' one 'two  words' \"it's\"",
        "/usr/bin/printf '[%s]' '$(id)' '`id`' '*' '~' '\\' 'a\tb' '' '-n' '--' 'ü' '!x' '{a,b}'",
        "/usr/bin/printf '%d' nothing",
        "pri'n'tf quoted",
    ] {
        let (direct, through) = (house.sshd.direct().run(line), house.run(line));
        assert_eq!(through, direct, "{line}");
    }
    let input = vec![7_u8; 300_000];
    assert_eq!(house.alice().run_with(&[], "printf x", &input).ok().out(), "x");
    house.bastion.empties(LIMIT);
    let rows = house.log("command.allowed");
    assert_eq!(rows.len(), 5, "{rows:?}");
    let first = rows.iter().find(|row| row["line"].as_str().unwrap().contains("two  words")).unwrap();
    assert_eq!(
        (&first["rule"], &first["mode"], &first["verdict"]),
        (&"print".into(), &"strict".into(), &"allow".into())
    );
    assert!(first["sent"].as_str().unwrap().contains("/usr/bin/printf"), "{first}");
    assert_eq!(first["policy"].as_str().unwrap().len(), 64);
    let session = first["session"].as_str().unwrap();
    let told = markers(&house.bastion, session, 1);
    let marker = told.lines().find(|line| line.contains("command allowed: printf")).unwrap();
    assert!(
        marker.contains("rule print") && marker.contains("sent: ") && marker.contains("/usr/bin/printf"),
        "{marker}"
    );
    let mut bastion = house.bastion;
    bastion.stop();
    let verified = bastion.doorward(&["verify"]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
}

#[test]
fn t8_ten_disguises_of_sh_are_refused_and_nothing_starts_at_the_target() {
    require!("sshd", "ssh");
    let house = House::new("strict");
    let disguises = [
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
        "bash -c sh",
        "find / -exec sh ;",
    ];
    for line in disguises {
        let told = house.run(line);
        assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{line}: {told:?}");
        assert!(told.err().starts_with("doorward: refused  "), "{line}: {told:?}");
    }
    is_refused(&house.run("sh"), "rule never-shell");
    house.bastion.empties(LIMIT);
    assert_eq!(house.log("command.refused").len(), disguises.len() + 1);
    assert!(house.log("command.allowed").is_empty());
    let House { sshd, bastion, .. } = house;
    drop(bastion);
    let told = sshd.stop();
    assert!(told.contains("Accepted") && !told.contains("Starting session"), "{told}");
}

#[test]
fn a_refusal_shows_the_line_harmlessly_and_is_told_again_by_why() {
    require!("sshd", "ssh");
    let house = House::new("strict");
    let told = house.run("sh \u{1b}]0;x\u{7} \u{202e}evil\nmore");
    assert_eq!(told.code, Some(126));
    let text = told.err();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}'), "{text:?}");
    is_refused(&house.run("sh -c 'rm -rf /srv'"), "rule never-shell");
    let text = house.run("sh -c 'rm -rf /srv'").err();
    assert!(text.contains("sh -c 'rm -rf /srv'") && text.contains("no shell from this account"), "{text}");
    let why = house.ask(ALICE, "why").ok().out();
    assert!(why.contains("rm -rf /srv") && why.contains("rule never-shell") && why.contains("d-"), "{why}");
    let rows = house.log("command.refused");
    let id = rows.iter().max_by_key(|row| row["seq"].as_u64()).unwrap()["decision"].as_str().unwrap().to_owned();
    assert!(why.contains(&id), "{why}: {id}");
    // The recording has it at its time.
    house.bastion.empties(LIMIT);
    let session = rows[0]["session"].as_str().unwrap();
    let told = markers(&house.bastion, session, 0);
    assert!(told.contains("refused: command refused: sh"), "{told}");
}

// Failures 4 and 6: every way to an exec is the same way.
#[test]
fn f6_every_way_to_a_command_is_judged_and_a_new_set_is_for_the_next_command() {
    require!("sshd", "ssh", "printf");
    let house = House::new("strict");
    let desk = Desk::new(&house.bastion, &house.sshd);
    is_refused(&desk.run(&["-J", "bastion", &desk.at("db1"), "sh"]), "rule never-shell");
    assert_eq!(desk.run(&["-J", "bastion", &desk.at("db1"), "printf jumped"]).ok().out(), "jumped");
    let named = house.bastion.login(&format!("{ALICE}+{}@db1", house.sshd.account));
    is_refused(&named.run("sh"), "rule never-shell");
    let folder = house.bastion.scratch().to_owned();
    let master = house.alice().master(&folder);
    assert_eq!(master.route.run("printf first").ok().out(), "first");
    is_refused(&master.route.run("sh"), "rule never-shell");
    assert_eq!(master.route.run("printf second").ok().out(), "second");
    // Failure 4: a pipe, no terminal.
    is_refused(&master.route.run_with(&["-T"], "sh", b"id\n"), "rule never-shell");
    // P7: what would be a shell of the target's own.
    let shell = master.route.run_with(&["-T"], "", b"id\n");
    assert_eq!((shell.code, shell.out().as_str()), (Some(126), ""), "{shell:?}");
    let terminal = master.route.run_with(&["-tt"], "printf x", b"");
    assert_eq!(terminal.code, Some(126), "{terminal:?}");
    assert!(terminal.text().contains("not on a terminal"), "{terminal:?}");
    house.reload("strict", &WORK.replace("reason  = \"they print\"", "pty = true"));
    assert!(master.route.run_with(&["-tt"], "printf on-one", b"").ok().out().contains("on-one"));
    house.reload("strict", &WORK.replace("\"/usr/bin/printf\", ", "").replace("\"printf x\", ", ""));
    is_refused(&master.route.run("printf third"), "no rule allows it");
    house.reload("strict", &WORK);
    assert_eq!(master.route.run("printf fourth").ok().out(), "fourth");
}

// Failure 5: a transfer is known by its whole line.
#[test]
fn f5_what_only_begins_like_a_transfer_is_a_command_and_transfers_have_rules_of_their_own() {
    require!("sshd", "ssh");
    let house = House::new("strict");
    for line in ["scp -t /tmp; sh", "scp -t /tmp $(id)", "rsync --server -e.LsfxCIvu . /tmp | sh", "scp --help"] {
        let told = house.run(line);
        assert!(told.code == Some(126) && told.err().starts_with("doorward: refused  "), "{line}: {told:?}");
    }
    // No rule opens files here, and no command rule is asked.
    let told = house.run("scp -t /tmp/x");
    assert!(told.code == Some(126) && told.err().contains("access denied"), "{told:?}");
    assert_eq!(house.log("command.refused").len(), 4);
}

// Failure 15.
#[test]
fn f15_in_strict_a_program_has_no_variable_but_its_language() {
    require!("sshd", "ssh", "env");
    let house = House::prepared("strict", |bastion| {
        bastion.configure("ssh", "env = [\"LANG\", \"LC_*\", \"DW_*\"]");
    });
    let route = house.alice().with("SetEnv=LANG=de_DE.UTF-8 LC_TIME=C DW_X=hand LD_PRELOAD=x BASH_ENV=x");
    let told = route.run("env").ok().out();
    assert!(told.contains("LANG=de_DE.UTF-8\n") && told.contains("LC_TIME=C\n"), "{told}");
    assert!(!told.contains("DW_X") && !told.contains("LD_PRELOAD") && !told.contains("BASH_ENV"), "{told}");
    house.reload("guard", &WORK);
    let told = route.run("env").ok().out();
    assert!(told.contains("DW_X=hand\n") && !told.contains("LD_PRELOAD"), "{told}");
}

#[test]
fn guard_sends_the_line_as_it_was_typed_and_observe_prevents_nothing() {
    require!("sshd", "ssh", "printf");
    let house = House::new("guard");
    assert_eq!(house.run("printf   '%s'  as-typed").ok().out(), "as-typed");
    is_refused(&house.run("sh -c id"), "rule never-shell");
    house.reload("observe", &WORK);
    assert_eq!(house.run("sh -c 'printf ran'").ok().out(), "ran");
    let rows = house.log("command.allowed");
    let observed = rows.iter().find(|row| row["mode"] == "observe").unwrap();
    assert_eq!((&observed["verdict"], &observed["rule"]), (&"deny".into(), &"never-shell".into()), "{observed}");
    house.bastion.empties(LIMIT);
    let session = observed["session"].as_str().unwrap();
    let told = markers(&house.bastion, session, 1);
    assert!(told.contains("observed; the rules would refuse it"), "{told}");
}

#[test]
fn what_cannot_be_put_on_record_does_not_run() {
    require!("sshd", "ssh", "cc", "printf");
    let mut built = None;
    let house = House::prepared("strict", |bastion| {
        let syncs = Syncs::build(bastion.scratch());
        bastion.environment = syncs.environment("fail", "/log/leaves.wal");
        built = Some(syncs);
    });
    let (syncs, folder) = (built.unwrap(), house.bastion.scratch().to_owned());
    let master = house.alice().master(&folder);
    assert_eq!(master.route.run("printf before").ok().out(), "before");
    // The log is told other things, too: one of them may be what fails.
    let told = until(LIMIT, "command that could not be put on record", || {
        syncs.begin();
        let told = master.route.run("printf during");
        (told.code != Some(0)).then_some(told)
    });
    assert_eq!((told.code, told.out().as_str()), (Some(255), ""), "{told:?}");
    assert!(told.err().contains("could not be recorded"), "{told:?}");
    syncs.begin();
    assert_eq!(master.route.run("sh").code, Some(126), "a refusal wants no log");
}

#[test]
fn whoever_is_refused_without_end_fills_neither_log_nor_recording() {
    require!("sshd", "ssh");
    let house = House::new("strict");
    let folder = house.bastion.scratch().to_owned();
    let master = house.alice().master(&folder);
    for number in 0..75 {
        assert_eq!(master.route.run(&format!("sh -c {number}")).code, Some(126));
    }
    let session = house.bastion.only_session();
    drop(master);
    house.bastion.empties(LIMIT);
    assert!(house.log("command.refused").len() <= 60);
    let told = markers(&house.bastion, &session, 0);
    assert!(told.matches("refused: command refused").count() <= 60, "{told}");
    assert!(told.contains("times more, not listed") || told.contains("are not listed"), "{told}");
}

// T19: a secret that somebody types is in no log; who typed it reads their own words.
#[test]
fn t19_no_secret_of_the_vault_stands_in_what_is_on_record_of_a_command() {
    require!("sshd", "ssh");
    let house = House::new("strict");
    let file = std::fs::read_to_string(&house.sshd.key).unwrap();
    let secret = file.lines().nth(2).unwrap();
    let told = house.run(&format!("sh {secret}"));
    assert!(told.err().contains(secret), "what is taken out of a user's own words tells them that it is the secret");
    let told = house.log("command.refused");
    let line = told[0]["line"].as_str().unwrap();
    assert!(line.starts_with("sh [vault:") && !house.bastion.audit().contains(secret), "{line}");
}

#[test]
fn a_command_that_waits_runs_once_somebody_else_says_yes() {
    require!("sshd", "ssh", "touch");
    let house = House::new("strict");
    let made = house.sshd.folder().join("made");
    let (ssh, id) = house.waiting(&house.alice(), &format!("touch {}", made.display()));
    assert!(!made.exists());
    let listed = house.ask("bob", "requests").ok().out();
    assert!(listed.contains(&id) && listed.contains("touch ") && listed.contains("alice at"), "{listed}");
    let shown = house.ask("bob", &format!("show {id}")).ok().out();
    assert!(shown.contains("standard input: that is not part of what is approved"), "{shown}");
    assert!(shown.contains("/usr/bin/touch") && shown.contains("typed") && shown.contains("rule"), "{shown}");
    // Nobody by their own word, and nobody who is not asked.
    assert!(house.ask(ALICE, &format!("approve {id}")).err().contains("nobody approves"));
    assert!(house.ask("mallory", &format!("approve {id}")).err().contains("no such request"));
    assert!(house.ask("bob", &format!("approve {id} --for 1h")).err().contains("as it is"));
    let approved = house.ask("bob", &format!("approve {id} --note go ahead")).ok().out();
    assert!(approved.contains("it runs now, once"), "{approved}");
    let told = ssh.wait(LIMIT).ok();
    assert!(made.exists());
    let text = told.err();
    assert!(text.contains(&format!("doorward: {id} waits for 1 of leads (bob, carol), until ")), "{text}");
    assert!(text.contains("Ctrl-C withdraws it"), "{text}");
    assert_eq!(house.steps(&id), ["approved"]);
    let ran = house.log("command.allowed");
    assert_eq!((&ran[0]["decision"], &ran[0]["approved_by"][0]), (&id.as_str().into(), &"bob".into()), "{ran:?}");
    // It was for that one time.
    assert_eq!(house.ask("bob", &format!("approve {id}")).code, Some(126));
    let (mut again, _) = house.waiting(&house.alice(), &format!("touch {}", made.display()));
    assert!(!again.ended());
}

#[test]
fn a_command_that_waits_does_not_run_if_it_is_denied_or_late_or_withdrawn() {
    require!("sshd", "ssh", "touch");
    let house = House::new("strict");
    let made = house.sshd.folder().join("made");
    let line = format!("touch {}", made.display());
    let (ssh, id) = house.waiting(&house.alice(), &line);
    house.ask("carol", &format!("deny {id} --note not today")).ok();
    let told = ssh.wait(LIMIT);
    assert_eq!(told.code, Some(126), "{told:?}");
    assert!(told.err().contains("carol denied it: not today"), "{told:?}");
    assert_eq!(house.steps(&id), ["denied"]);
    assert_eq!(house.ask("bob", &format!("approve {id}")).code, Some(126));

    house.reload("strict", &WORK.replace("10m", "5s"));
    let soon = format!("{line}-soon");
    let (ssh, id) = house.waiting(&house.alice(), &soon);
    let told = ssh.wait(LIMIT);
    assert!(told.code == Some(126) && told.err().contains("in time"), "{told:?}");
    assert_eq!(house.steps(&id), ["expired"]);
    house.reload("strict", &WORK);

    let (ssh, id) = house.waiting(&house.alice(), &line);
    ssh.signal(Signal::INT);
    ssh.wait(LIMIT);
    until(LIMIT, "withdrawal", || (!house.steps(&id).is_empty()).then_some(()));
    assert_ne!(house.ask("bob", &format!("approve {id}")).code, Some(0));

    let (ssh, id) = house.waiting(&house.alice(), &line);
    house.ask(ALICE, &format!("cancel {id}")).ok();
    assert_eq!(ssh.wait(LIMIT).code, Some(126));
    assert_eq!(house.steps(&id), ["withdrawn"]);
    assert!(!made.exists());
}

#[test]
fn on_a_terminal_ctrl_c_withdraws_and_nothing_else_that_is_typed_goes_anywhere() {
    require!("sshd", "ssh", "tmux", "touch");
    let house = House::new("guard");
    let made = house.sshd.folder().join("made");
    let line = format!("touch {}", made.display());
    let terminal = Terminal::start(&house.alice().ssh(&["-tt"], &line), 120, 30);
    terminal.shows("Ctrl-C withdraws it");
    terminal.line("yes");
    let waits = house.log("command.waits");
    let id = waits[0]["decision"].as_str().unwrap();
    assert!(house.steps(id).is_empty());
    terminal.press("C-c");
    terminal.shows("you withdrew it");
    until(LIMIT, "withdrawal", || (house.steps(id) == ["withdrawn"]).then_some(()));
    assert!(!made.exists());
}

#[test]
fn a_yes_is_for_the_rules_and_the_session_that_it_was_asked_under() {
    require!("sshd", "ssh", "touch");
    let house = House::new("strict");
    let made = house.sshd.folder().join("made");
    let line = format!("touch {}", made.display());
    let (ssh, id) = house.waiting(&house.alice(), &line);
    house.reload("guard", &WORK);
    let told = ssh.wait(LIMIT);
    assert!(told.code == Some(126) && told.err().contains("the rules have changed"), "{told:?}");
    assert_eq!(house.steps(&id), ["refused"]);
    house.reload("strict", &WORK);

    let (ssh, id) = house.waiting(&house.alice(), &line);
    let session = house.bastion.only_session();
    house.bastion.doorward(&["session", "kill", &session]).ok();
    assert_eq!(ssh.wait(LIMIT).code, Some(255));
    until(LIMIT, "refusal", || (house.steps(&id) == ["refused"]).then_some(()));

    let (ssh, id) = house.waiting(&house.alice(), &line);
    let mut bastion = house.bastion;
    let log = bastion.stop();
    assert_eq!(ssh.wait(LIMIT).code, Some(255), "{log:?}");
    bastion.serve();
    let rows = bastion.rows(&["audit", "list", "--type", "command.step"]);
    assert!(rows.iter().any(|row| row["decision"] == id.as_str() && row["result"] == "refused"), "{rows:?}");
    assert!(!made.exists());
}

#[test]
fn an_alert_is_at_its_receiver_within_a_second() {
    require!("sshd", "ssh");
    let hook = Hook::start(|_| 204);
    let house = House::prepared("strict", |bastion| {
        bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/\"]", hook.port));
        let secret = bastion.scratch().join("secret");
        std::fs::write(&secret, "a-secret-of-the-hook\n").unwrap();
        bastion.configure("notify", &format!("webhook_secret = {secret:?}"));
    });
    let folder = house.bastion.scratch().to_owned();
    let master = house.alice().master(&folder);
    for number in 0..5 {
        is_refused(&master.route.run(&format!("sh -c {number}")), "rule never-shell");
        // The refusal is read after the decision: what is left of the second is less.
        let refused = Instant::now();
        until(Duration::from_secs(1), "alert", || (hook.heard(&format!("sh -c {number}")) > 0).then_some(()));
        assert!(refused.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(hook.heard("doorward-signature: sha256="), 5);
    assert_eq!(hook.heard("\"level\":\"high\""), 5);
    assert_eq!(hook.heard("\"event\":\"command.refused\""), 5);
}

#[test]
fn noise_that_no_rule_is_about_silences_no_alert_and_hides_no_record() {
    require!("sshd", "ssh");
    let hook = Hook::start(|_| 204);
    let house = House::prepared("strict", |bastion| {
        bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/\"]", hook.port));
    });
    let folder = house.bastion.scratch().to_owned();
    let master = house.alice().master(&folder);
    // More than the log has room for in a minute.
    for number in 0..62 {
        assert_eq!(master.route.run(&format!("nosuch {number}")).code, Some(126));
    }
    is_refused(&master.route.run("sh -c worse"), "rule never-shell");
    until(LIMIT, "alert", || (hook.heard("sh -c worse") > 0).then_some(()));
    let found = |line: &str| house.log("command.refused").into_iter().find(|row| row["line"] == line);
    drop(until(LIMIT, "record", || found("sh -c worse")));
    // Each program is on record with the rule that is about it, if one is.
    is_refused(&master.route.run("printf x | sh"), "rule never-shell");
    let row = until(LIMIT, "record", || found("printf x | sh"));
    let starts = row["starts"].as_array().unwrap();
    assert!(starts.len() == 2 && starts[1]["rule"] == "never-shell", "{row}");
}

#[test]
fn lines_of_an_observed_shell_are_on_record_and_found_with_those_of_exec() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new("observe");
    house.run("printf exec").ok();
    let terminal = Terminal::start(&house.alice().ssh(&["-t"], ""), 100, 30);
    terminal.shows("observe: every exec line");
    terminal.line("PS1='ready> '");
    terminal.shows("\nready>");
    terminal.line("printf from-the-shell; true");
    terminal.shows("\nfrom-the-shell");
    terminal.line("sh -c 'printf it-ran'");
    terminal.shows("\nit-ran");
    let found = |arguments: &[&str]| house.bastion.rows(&[&["commands"], arguments].concat());
    let row = until(LIMIT, "observed line", || {
        found(&["--program", "sh"]).into_iter().find(|row| row["line"] == "sh -c 'printf it-ran'")
    });
    assert_eq!(
        (&row["done"], &row["verdict"], &row["rule"]),
        (&"observed".into(), &"deny".into(), &"never-shell".into())
    );
    assert_eq!((&row["confidence"], &row["user"]), (&"screen".into(), &ALICE.into()), "{row}");
    assert!(row["second"].as_u64().is_some(), "{row}");
    let rows = found(&["--program", "printf"]);
    let lines: Vec<&str> = rows.iter().map(|row| row["line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["printf exec", "printf from-the-shell; true", "sh -c 'printf it-ran'"], "by others, too");
    let session = row["session"].as_str().unwrap();
    assert!(found(&["--session", session]).iter().all(|row| row["session"] == session));
    assert_eq!(found(&["--user", "bob"]), Vec::<Value>::new());
    terminal.line("exit");
    until(LIMIT, "end", || terminal.ended().then_some(()));
    house.bastion.empties(LIMIT);
    let told = markers(&house.bastion, session, row["channel"].as_u64().unwrap().try_into().unwrap());
    assert!(told.contains("command observed; the rules would refuse it: sh -c 'printf it-ran'"), "{told}");
}

#[test]
fn a_line_of_an_observed_shell_that_matches_ends_its_session() {
    require!("sshd", "ssh", "tmux");
    let house = House::new("observe");
    house.reload("observe", &WORK.replace("alert   = \"high\"", "alert   = \"high\"\non_match = \"end\""));
    let terminal = Terminal::start(&house.alice().ssh(&["-t"], ""), 100, 30);
    terminal.shows("observe: every exec line");
    terminal.line("PS1='ready> '");
    terminal.shows("\nready>");
    terminal.line("sh -c true");
    until(LIMIT, "end", || terminal.ended().then_some(()));
    let screen = terminal.screen();
    assert!(screen.contains("ended this session"), "{screen}");
}

#[test]
fn whoever_watches_is_told_of_a_command_that_was_refused_after_a_wait() {
    require!("sshd", "ssh", "touch");
    let hook = Hook::start(|_| 204);
    let house = House::prepared("strict", |bastion| {
        bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/\"]", hook.port));
    });
    house.reload("strict", &WORK.replace("approvers = {", "alert = \"medium\"\napprovers = {"));
    let made = house.sshd.folder().join("made");
    let (ssh, id) = house.waiting(&house.alice(), &format!("touch {}", made.display()));
    house.ask("carol", &format!("deny {id}")).ok();
    assert_eq!(ssh.wait(LIMIT).code, Some(126));
    until(LIMIT, "alert", || (hook.heard("\"event\":\"command.refused\"") > 0).then_some(()));
    assert_eq!((hook.heard("\"level\":\"medium\""), made.exists()), (1, false));
}
