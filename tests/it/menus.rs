//! Mode `menu`: nothing but the entries of a menu runs, from a terminal, from lines, and as a command.

use std::process::Command;

use serde_json::Value;

use crate::fixture::process::Finished;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, key, until};
use crate::require;

const MENU: &str = r#"
schema = 1
mode   = "menu"

[[menu]]
name  = "say"
title = "Print the words that a program gets"
run   = ["/usr/bin/printf", "[%s]", "{word}", "--mark={mark}", "{count:number}"]
word  = { pattern = "[^;]*", help = "the first word" }
mark  = { pattern = ".*", default = "none" }
count = { default = "1" }

[[menu]]
name  = "terminal"
title = "Say whether there is a terminal"
run   = ["/usr/bin/tty"]
pty   = true

[[menu]]
name  = "plain"
title = "Say that there is none"
run   = ["/usr/bin/tty"]

[[menu]]
name      = "both"
title     = "Print once somebody has said yes"
run       = ["/usr/bin/printf", "approved-%s", "{unit:one|two}"]
effect    = "approve"
approvers = { group = "leads", within = "10m" }
reason    = "two eyes more"

[[menu]]
name   = "others"
title  = "What others may"
run    = ["/usr/bin/printf", "others"]
groups = ["others"]

[[rule]]
id      = "print"
effect  = "allow"
program = "/usr/bin/printf"

[[rule]]
id      = "never-shell"
effect  = "deny"
effects = ["shell"]
alert   = "high"
reason  = "no shell from this account"
"#;

const RULES: &str = "schema = 1\n[[rule]]\nid = \"dba-menu\"\nwho = { groups = [\"dba\"] }\nwhere = { labels = { env = \"test\" } }\n\
     accounts = [\"@me\"]\nchannels = [\"shell\", \"exec\"]\ngrant = { required = false }\n\
     commands = { mode = \"menu\", sets = [\"work\"] }\n";

struct House {
    sshd: Sshd,
    bastion: Bastion,
}

impl House {
    fn new() -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        let bob = key(bastion.scratch(), "bob", "ed25519", "");
        bastion.add_user("bob", "leads", &bob);
        write(&bastion, MENU);
        bastion.serve();
        Self { sshd, bastion }
    }

    fn alice(&self) -> Route {
        self.bastion.to(&self.sshd)
    }

    fn run(&self, line: &str) -> Finished {
        self.alice().run(line)
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let mut rows = self.bastion.rows(&["audit", "list", "--type", kind]);
        rows.sort_by_key(|row| row["seq"].as_u64());
        rows
    }

    /// Alice at the menu, between two lines of a shell of her own.
    fn at_menu(&self, cols: u16, rows: u16) -> Terminal {
        let ssh = self.alice().ssh(&["-tt"], "");
        let mut shell = Command::new("sh");
        shell
            .args(["-c", r#"echo before; "$@"; echo left-$?; read -r end"#, "sh"])
            .arg(ssh.get_program())
            .args(ssh.get_args());
        Terminal::start(&shell, cols, rows)
    }

    /// Bob says yes to what waits.
    fn approve(&self) {
        let waits = until(LIMIT, "command that waits", || self.log("command.waits").pop());
        let decision = waits["decision"].as_str().unwrap().to_owned();
        let bob = self.bastion.login("bob").key(&self.bastion.scratch().join("bob"));
        bob.run(&format!("approve {decision}")).ok();
    }
}

fn write(bastion: &Bastion, menu: &str) {
    bastion.policy(RULES);
    let folder = bastion.home().join("policies/commands");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("work.toml"), menu).unwrap();
}

#[track_caller]
fn is_refused(told: &Finished, by: &str, because: &str) {
    assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{told:?}");
    let text = told.err();
    assert!(text.starts_with("doorward: refused  ") && text.contains(&format!("({by})")), "{by}: {text}");
    assert!(text.contains(because), "{because}: {text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn an_entry_runs_as_a_command_with_values_that_are_one_word_each() {
    require!("sshd", "ssh", "printf");
    let house = House::new();
    for (line, told) in [
        ("say word=a", "[a][--mark=none][1]"),
        ("say count=7 word='two  words' mark=\"it's\"", "[two  words][--mark=it's][7]"),
        ("say word='$(id)`id`' mark='; sh'", "[$(id)`id`][--mark=; sh][1]"),
        ("say word='*' mark='-o x | sh > /tmp/x & ~ {a,b} !x'", "[*][--mark=-o x | sh > /tmp/x & ~ {a,b} !x][1]"),
        ("say word=\\\\ mark=", "[\\][--mark=][1]"),
        ("say word=ü", "[ü][--mark=none][1]"),
    ] {
        assert_eq!(house.run(line).ok().out(), told, "{line}");
    }
    let rows = house.log("command.allowed");
    assert_eq!(rows.len(), 6, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (&row["rule"], &row["mode"], &row["verdict"]),
        (&"say".into(), &"menu".into(), &"allow".into()),
        "{row}"
    );
    assert_eq!(row["sent"], "'/usr/bin/printf' '[%s]' 'a' '--mark=none' '1'");
    // Status and errors are the program's own.
    let told = house.run("plain");
    assert_eq!((told.code, told.out().as_str()), (Some(1), "not a tty\n"), "{told:?}");
}

#[test]
fn t8_nothing_is_smuggled_through_a_menu_and_nothing_starts_at_the_target() {
    require!("sshd", "ssh");
    let house = House::new();
    let long = format!("say word={}", "a".repeat(2000));
    let tries: [(&str, &str, &str); 18] = [
        ("say word=a; sh", "rule never-shell", "no shell"),
        ("say word=$(id)", "no rule allows it", "there are: both unit=..., plain, say word=... [mark=...] [count=...]"),
        ("say word=`id`", "no rule allows it", "only the target knows"),
        ("say word=a\nid", "no rule allows it", "only the entries of a menu run here"),
        ("say word='a\nid'", "rule say", "cannot be seen"),
        ("say word=-o", "rule say", "begins with a dash"),
        ("say word=--help", "rule say", "begins with a dash"),
        ("say word=a count=1x", "rule say", "digits"),
        ("say word='a;id'", "rule say", "matches"),
        ("say word=a > /tmp/x", "no rule allows it", "only the entries"),
        ("say word=a | cat", "no rule allows it", "only the entries"),
        ("say word=a &", "no rule allows it", "only the entries"),
        ("X=1 say word=a", "no rule allows it", "only the entries"),
        ("say word=$HOME", "no rule allows it", "only the target knows"),
        ("say word=/etc/*", "no rule allows it", "only the target knows"),
        ("printf x", "no rule allows it", "a word without `=`"),
        ("others", "no rule allows it", "there is no entry others"),
        (&long, "rule say", "longer than 1024 bytes"),
    ];
    for (line, by, because) in tries {
        is_refused(&house.run(line), by, because);
    }
    // What no client sends that a person types at.
    let nul = house.run("say word=a\u{1}");
    assert_eq!(nul.code, Some(126), "{nul:?}");
    let mut bytes = house.alice().ssh(&[], "");
    bytes.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"say word=a\xff\xfe"));
    let told = crate::fixture::process::run(bytes, b"", LIMIT);
    assert!(told.code == Some(126) && told.err().contains("no UTF-8"), "{told:?}");
    let rows = house.log("command.refused");
    assert_eq!(rows.len(), tries.len() + 2);
    assert!(rows.iter().any(|row| row["rule"] == "say") && rows[0]["rule"] == "never-shell", "{rows:?}");
    assert!(house.log("command.allowed").is_empty());
    let House { sshd, bastion } = house;
    drop(bastion);
    let told = sshd.stop();
    assert!(told.contains("Accepted") && !told.contains("Starting session"), "{told}");
}

#[test]
fn an_entry_is_searched_for_filled_in_looked_at_and_run_on_a_terminal() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.at_menu(80, 24);
    terminal.shows("4 entries");
    terminal.resize(40, 10);
    terminal.shows("4 entries");
    assert!(!terminal.screen().contains("others"));
    terminal.type_text("words");
    terminal.shows("1 of 4 entries");
    terminal.press("Enter");
    terminal.shows("the first word");
    terminal.line("-x");
    terminal.shows("begins with a dash");
    terminal.press("C-u");
    terminal.line("a b$(id)");
    terminal.shows("> mark: none");
    terminal.press("Enter");
    terminal.shows("> count: 1");
    terminal.press("Enter");
    terminal.shows("Last look");
    terminal.shows("This runs as");
    terminal.press("Enter");
    terminal.shows("[a b$(id)][--mark=none][1]");
    terminal.shows("say ended with status 0");
    terminal.shows("any key goes back");
    terminal.type_text("x");
    terminal.shows("4 entries");
    // A terminal where the entry says so, and only there.
    terminal.resize(80, 24);
    terminal.line("whether");
    terminal.shows("Last look  terminal");
    terminal.press("Enter");
    terminal.shows("/dev/pts/");
    terminal.shows("terminal ended with status 0");
    terminal.type_text(" ");
    terminal.shows("4 entries");
    terminal.line("plain");
    terminal.shows("Last look  plain");
    terminal.press("Escape");
    terminal.shows("4 entries");
    terminal.press("Enter");
    terminal.shows("Last look  plain");
    terminal.press("Enter");
    terminal.shows("not a tty");
    terminal.shows("plain ended with status 1");
    terminal.type_text(" ");
    terminal.shows("4 entries");
    terminal.press("C-c");
    let screen = terminal.shows("left-1");
    assert!(screen.trim_start().starts_with("before"), "{screen}");
    assert_eq!(terminal.state("#{alternate_on} #{cursor_flag} #{wrap_flag}"), "0 1 1", "{screen}");
    let rows = house.log("command.allowed");
    let rules: Vec<&str> = rows.iter().map(|row| row["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["say", "terminal", "plain"]);
    assert_eq!(rows[0]["line"], "say count=1 mark=none 'word=a b$(id)'");
    // All that was on the screen is in one recording.
    house.bastion.empties(LIMIT);
    let session = house.bastion.only_recording();
    let text = String::from_utf8(house.bastion.export(&session, "txt", &[])).unwrap();
    assert!(text.contains("[a b$(id)][--mark=none][1]") && text.contains("/dev/pts/"), "{text}");
}

#[test]
fn an_entry_that_takes_a_yes_waits_for_it_on_the_terminal_and_as_a_command() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.at_menu(80, 24);
    terminal.shows("4 entries");
    terminal.line("both");
    terminal.shows("> unit:");
    terminal.press("Down");
    terminal.shows("> unit: one");
    terminal.press("Enter");
    terminal.shows("It waits for a yes of 1 of leads");
    terminal.press("Enter");
    terminal.shows("waits for 1 of leads");
    house.approve();
    terminal.shows("approved-one");
    terminal.shows("both ended with status 0");
    // Withdrawn by Ctrl-C, it goes back to the menu.
    terminal.type_text(" ");
    terminal.shows("4 entries");
    terminal.press("Enter");
    terminal.shows("> unit:");
    terminal.line("two");
    terminal.shows("Last look  both");
    terminal.press("Enter");
    until(LIMIT, "second command that waits", || (house.log("command.waits").len() == 2).then_some(()));
    terminal.press("C-c");
    terminal.shows("you withdrew it");
    terminal.shows("both ended with status 126");
    let allowed = house.log("command.allowed");
    assert_eq!(allowed.len(), 1, "{allowed:?}");
    assert_eq!((&allowed[0]["rule"], &allowed[0]["approved_by"]), (&"both".into(), &vec!["bob"].into()));
}

#[test]
fn without_a_terminal_a_menu_is_a_list_and_lines() {
    require!("sshd", "ssh", "printf");
    let house = House::new();
    let typed = b"9\nsay\n-x\nword\n\n2\nyes\nplain\nno\n";
    let told = house.alice().run_with(&["-T"], "", typed);
    assert_eq!(told.code, Some(0), "{told:?}");
    let (out, err) = (told.out(), told.err());
    assert!(out.contains("say       Print the words that a program gets"), "{out}");
    assert!(out.contains("'/usr/bin/printf' '[%s]' 'word' '--mark=none' '2'"), "{out}");
    assert!(out.contains("[word][--mark=none][2]") && !out.contains("not a tty"), "{out}");
    assert!(err.contains("type a number from 1 to 4") && err.contains("begins with a dash"), "{err}");
    assert!(err.contains("say ended with status 0"), "{err}");
    assert!(house.run("others").code == Some(126) && !out.contains("others"), "{out}");
}

#[test]
fn rules_that_change_change_the_menu_that_is_shown() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.at_menu(80, 24);
    terminal.shows("4 entries");
    terminal.line("plain");
    terminal.shows("Last look  plain");
    write(&house.bastion, &MENU.replace("name  = \"plain\"", "name  = \"other\""));
    house.bastion.doorward(&["policy", "reload"]).ok();
    terminal.press("Enter");
    terminal.shows("there is no entry plain");
    terminal.type_text(" ");
    terminal.shows("Say that there is none");
    terminal.shows("other");
    assert!(house.log("command.allowed").is_empty());
    // Who loses the right leaves it at once.
    house.bastion.policy(&RULES.replace("\"dba\"", "\"nobody\""));
    house.bastion.doorward(&["policy", "reload"]).ok();
    terminal.shows("left-255");
}

#[test]
fn what_is_refused_at_the_last_look_is_on_record_as_a_refusal_and_security_people_are_told() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    // What the rules forbid of an entry's own program.
    let forbids = "[[rule]]\nid = \"no-evil\"\neffect = \"deny\"\nprogram = \"/usr/bin/printf\"\nargs = [\"[%s]\", \"evil\", \"...\"]\nalert = \"high\"\nreason = \"not that word\"\n";
    write(&house.bastion, &format!("{MENU}\n{forbids}"));
    house.bastion.doorward(&["policy", "reload"]).ok();
    let terminal = house.at_menu(100, 30);
    terminal.shows("4 entries");
    terminal.line("words");
    terminal.shows("the first word");
    terminal.line("evil");
    terminal.shows("> mark: none");
    terminal.press("Enter");
    terminal.shows("> count: 1");
    terminal.press("Enter");
    terminal.shows("This does not run");
    terminal.shows("not that word");
    let refused = until(LIMIT, "refusal", || house.log("command.refused").pop());
    assert_eq!((&refused["rule"], &refused["alert"]), (&"no-evil".into(), &"high".into()), "{refused}");
    terminal.shows(refused["decision"].as_str().unwrap());
    let lines = house.alice().run_with(&["-T"], "", b"say\nevil\n\n\n");
    assert!(lines.text().contains("not that word"), "{lines:?}");
    assert_eq!(house.log("command.refused").len(), 2);
}

#[test]
fn what_was_on_the_last_look_runs_or_nothing_does() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::new();
    let terminal = house.at_menu(100, 30);
    terminal.shows("4 entries");
    terminal.line("words");
    terminal.shows("the first word");
    // A value may have letters of any script that fills one column each.
    terminal.line("größe");
    terminal.shows("> mark: none");
    terminal.press("Enter");
    terminal.shows("> count: 1");
    terminal.press("Enter");
    terminal.shows("'größe'");
    write(&house.bastion, &MENU.replace("\"[%s]\"", "\"<%s>\""));
    house.bastion.doorward(&["policy", "reload"]).ok();
    terminal.press("Enter");
    terminal.shows("something else would have run");
    terminal.type_text(" ");
    terminal.shows("4 entries");
    assert!(house.log("command.allowed").is_empty());
}
