//! What overtakes a line that is on its way to run: a freeze, rules that change, a session that ends while it waits.

use serde_json::Value;

use crate::commands::House;
use crate::fixture::terminal::Terminal;
use crate::fixture::{LIMIT, Sshd, until};
use crate::guard::SLIPS;
use crate::require;

/// What is refused and asked about as elsewhere in guard, and a program after which the session stands still.
fn slips() -> String {
    let pauses = r#"
[[rule]]
id       = "id-pauses"
effect   = "allow"
program  = "/usr/bin/id"
on_match = "pause"
reason   = "somebody looks then"
"#;
    [SLIPS, pauses].concat()
}

fn shell(house: &House, greeting: &str) -> Terminal {
    let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 100, 30);
    window.shows(greeting);
    window.line("echo ready-$((40+2))");
    window.shows("ready-42");
    window
}

/// Guards that read the lines of bash each in its way, with what they promise.
fn guards() -> [(House, &'static str); 2] {
    [("", "guard:exact"), (", integration = \"off\"", "guard:screen")]
        .map(|(beside, greeting)| (House::guarding(Sshd::start(), beside, &slips()), greeting))
}

fn last(rows: Vec<Value>) -> Option<Value> {
    rows.into_iter().max_by_key(|row| row["seq"].as_u64())
}

// T7, T14: what was typed in a session that stood still is judged once it goes on, by the rules of then.
#[test]
fn t14_a_line_typed_while_the_session_stands_still_is_judged_by_the_rules_of_when_it_goes_on() {
    require!("sshd", "ssh", "tmux", "bash");
    for (house, greeting) in guards() {
        let window = shell(&house, greeting);
        let session = house.bastion.only_session();
        let (ran, allowed) = (house.bastion.scratch().join("ran"), house.log("command.allowed").len());
        house.bastion.doorward(&["session", "freeze", &session]).ok();
        window.shows("paused by those who watch over it");
        window.line(&format!("cp /dev/null {}", ran.display()));
        // Whatever is said on the terminal comes behind what was typed before.
        house.bastion.doorward(&["session", "message", &session, "a moment"]).ok();
        window.shows("a moment");
        let closed = slips().replace("\"/usr/bin/touch\"", "[\"/usr/bin/touch\", \"/usr/bin/cp\"]");
        house.reload("guard", &closed);
        assert_eq!(house.log("command.allowed").len(), allowed, "nothing is decided while it stands still");
        house.bastion.doorward(&["session", "unfreeze", &session]).ok();
        let refused = until(LIMIT, "refusal", || last(house.log("command.refused")));
        assert!(refused["rule"] == "no-touch" && refused["line"].as_str().unwrap().starts_with("cp "), "{refused}");
        window.shows("nothing is touched");
        window.line("echo again-$((40+2))");
        window.shows("again-42");
        assert!(!ran.exists());
    }
}

#[test]
fn in_guard_a_rule_that_matches_pauses_the_session_once_the_line_runs() {
    require!("sshd", "ssh", "tmux", "bash");
    for (house, greeting) in guards() {
        let window = shell(&house, greeting);
        window.line("id -u");
        window.shows("paused by those who watch over it");
        let paused = house.bastion.rows(&["session", "list"])[0]["paused"].as_str().unwrap().to_owned();
        let allowed = last(house.log("command.allowed")).unwrap();
        assert_eq!(allowed["rule"], "id-pauses");
        assert!(paused.contains(allowed["decision"].as_str().unwrap()), "{paused}");
    }
}

// Failure 16: nobody is asked for a yes to what cannot run any more.
#[test]
fn f16_a_line_waits_no_longer_than_its_session_is_there() {
    require!("sshd", "ssh", "tmux", "bash");
    for (house, greeting) in guards() {
        let window = shell(&house, greeting);
        let made = house.bastion.scratch().join("made");
        window.line(&format!("mkdir {}", made.display()));
        window.shows("Ctrl-C withdraws");
        let waits = until(LIMIT, "line that waits", || last(house.log("command.waits")));
        let decision = waits["decision"].as_str().unwrap().to_owned();
        house.bastion.doorward(&["session", "kill", &house.bastion.only_session()]).ok();
        until(LIMIT, "end of the wait", || (!house.steps(&decision).is_empty()).then_some(()));
        assert_eq!(house.steps(&decision), ["refused"], "{}", greeting);
        let told = house.ask("bob", &format!("approve {decision}"));
        assert!(told.code == Some(126) || told.code == Some(1), "{told:?}");
        assert!(!made.exists());
    }
}

// T14: a shell that was opened where nothing was held is none of those that the rules promise now.
#[test]
fn t14_a_shell_in_which_nothing_was_held_ends_once_the_rules_want_its_lines_held() {
    require!("sshd", "ssh", "tmux", "bash");
    for mode in ["strict", "guard"] {
        let house = House::new("observe");
        let window = shell(&house, "recorded");
        // What only changes what is observed changes nothing here.
        house.reload("observe", &format!("{SLIPS}# other\n"));
        window.line("echo still-$((40+2))");
        window.shows("still-42");
        let set = if mode == "strict" { STRICT } else { SLIPS };
        house.reload(mode, set);
        window.shows("the policy changed");
        house.bastion.empties(LIMIT);
    }
}

const STRICT: &str = r#"
schema  = 1
mode    = "strict"

[[rule]]
id      = "print"
effect  = "allow"
program = "/usr/bin/printf"
reason  = "it prints"
"#;
