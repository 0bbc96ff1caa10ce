//! A shell that is only observed, and a rule that has it stand still: whoever may freeze is who answers.

use std::fs;

use crate::commands::House;
use crate::fixture::terminal::Terminal;
use crate::require;

/// Those who lead may let a session go on.
const FREEZE: &str = "[[audit]]\nid = \"leads\"\nwho = { groups = [\"leads\"] }\nwhere = { targets = [\"*\"] }\n\
                      rights = [\"freeze\"]\n";

#[test]
fn in_observe_a_rule_that_matches_has_the_session_stand_still_until_somebody_lets_it_go_on() {
    require!("sshd", "ssh", "tmux", "printf");
    let house = House::prepared("observe", |bastion| {
        let change = |file: &str, change: &dyn Fn(&str) -> String| {
            let file = bastion.home().join("policies").join(file);
            fs::write(&file, change(&fs::read_to_string(&file).unwrap())).unwrap();
        };
        change("access/test.toml", &|text| [text, FREEZE].concat());
        change("commands/work.toml", &|text| {
            text.replace("alert   = \"high\"", "alert   = \"high\"\non_match = \"pause\"")
        });
    });
    let window = Terminal::start(&house.alice().ssh(&["-tt"], ""), 100, 30);
    window.shows("observe: every exec line");
    window.line("PS1='ready> '");
    window.shows("\nready>");
    window.line("sh -c true");
    window.shows("paused by those who watch over it");
    let session = house.bastion.only_session();
    window.line("printf wai''ted");
    // Nobody else lets it go on, and what is said on the terminal comes behind what was typed before.
    assert_ne!(house.ask("mallory", &format!("session unfreeze {session}")).code, Some(0));
    assert_ne!(house.ask("alice", &format!("session unfreeze {session}")).code, Some(0));
    house.bastion.doorward(&["session", "message", &session, "a moment"]).ok();
    let screen = window.shows("a moment");
    assert!(!screen.contains("waited"), "{screen}");
    let paused = house.bastion.rows(&["session", "list"])[0]["paused"].as_str().unwrap().to_owned();
    assert!(paused.contains("d-"), "{paused}");
    house.ask("bob", &format!("session unfreeze {session}")).ok();
    window.shows("waited");
}
