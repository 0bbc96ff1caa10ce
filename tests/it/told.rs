//! What people are told of requests: those who asked, those who decide, those who look.

use serde_json::Value;

use crate::fixture::bastion::ALICE;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Sshd, free_port, key, until};
use crate::requests::{Hook, House, rules};
use crate::require;

#[test]
fn what_an_approver_says_reaches_the_one_who_asked() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(" }");
    let id = house.requested();
    house.told("bob", &format!("approve {id} --reason after the backup"));
    let terminal = Terminal::start(&house.alice().ssh(&["-tt"], ""), 200, 30);
    terminal.line("echo typed-$((40+2))");
    terminal.shows("typed-42");
    let other = house.requested();
    house.told("carol", &format!("deny {other} --reason not during the release"));
    terminal.shows("is denied (carol: not during the release)");
    let listed = house.told(ALICE, "requests");
    assert!(
        listed.contains("(carol: not during the release)") && listed.contains("(bob: after the backup)"),
        "{listed}"
    );
    let shown = house.told(ALICE, &format!("show {other}"));
    assert!(shown.contains("denied by carol") && shown.contains("not during the release"), "{shown}");
    let shown = house.bastion.doorward(&["request", "show", &other]).ok().out();
    assert!(shown.contains("not during the release"), "{shown}");
    house.refused("bob", &format!("deny {other} --note one --reason two"), "use it as");
}

#[test]
fn an_approver_who_works_reads_on_the_terminal_what_waits_for_them() {
    require!("ssh", "sshd", "tmux");
    let open = "[[rule]]\nid = \"open\"\nwho = { users = [\"bob\"] }\nwhere = { targets = [\"db1\"] }\n\
                accounts = [\"@me\"]\nchannels = [\"shell\"]\ngrant = { required = false }\n";
    let house = House::prepared(" }", |bastion| bastion.policy(&format!("{}{open}", rules(" }"))));
    let terminal = Terminal::start(&house.alice().key(&house.key("bob")).ssh(&["-tt"], ""), 200, 30);
    terminal.line("echo typed-$((40+2))");
    terminal.shows("typed-42");
    let id = house.requested();
    terminal
        .shows(&format!("alice asks for {} for 1h: CHG-7 vacuum is stuck. ssh USER@BASTION show {id}", house.place()));
}

#[test]
fn whether_people_were_told_is_shown_to_who_asked_who_decides_and_who_audits() {
    require!("ssh", "sshd");
    let (hook, nobody) = (Hook::start(|_| 204), free_port());
    let audit = "[[audit]]\nid = \"a\"\nwho = { users = [\"eve\"] }\nwhere = { targets = [\"db1\"] }\n\
                 rights = [\"get\"]\n";
    let house = House::prepared(" }", |bastion| {
        let key = key(bastion.scratch(), "eve", "ed25519", "");
        bastion.add_user("eve", "auditors", &key);
        bastion.policy(&format!("{}{audit}", rules(" }")));
        let hooks = format!("webhooks = [\"http://127.0.0.1:{}/\", \"http://127.0.0.1:{nobody}/\"]", hook.port);
        bastion.configure("notify", &hooks);
    });
    let id = house.requested();
    let shown = |name: &str| -> Vec<Value> {
        let told: Value = serde_json::from_str(&house.told(name, &format!("show {id} --json"))).unwrap();
        told["told"].as_array().cloned().unwrap_or_default()
    };
    let states =
        |name: &str| shown(name).iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    until(LIMIT, "delivery", || states("bob").contains(&String::from("delivered")).then_some(()));
    until(LIMIT, "try", || shown("bob").iter().any(|one| one["tries"].as_u64() > Some(0)).then_some(()));
    for name in [ALICE, "bob", "eve"] {
        let mut all = states(name);
        all.sort();
        assert_eq!(all, ["delivered", "queued"], "{name}");
        let text = house.told(name, &format!("show {id}"));
        assert!(text.contains("delivered") && text.contains("queued; not taken"), "{text}");
        // Where the house's servers are is not hers to know.
        assert_eq!(text.contains("127.0.0.1"), name != ALICE, "{text}");
    }
    house.refused("mallory", &format!("show {id}"), "no such request");
    house.refused("eve", &format!("deny {id}"), "no such request");
}

#[test]
fn an_operator_asks_in_a_users_name_and_the_approvers_decide() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let add = |own: &str| {
        let place = house.place();
        let arguments = ["request", "add", ALICE, &place, "--as", own, "--for", "30m", "--reason", "CHG-9 by phone"];
        house.bastion.doorward(&arguments)
    };
    let asked = add("bob").ok().out();
    assert!(asked.contains("(carol)") && asked.contains("alice to"), "{asked}");
    let id = asked.split_whitespace().nth(1).unwrap().to_owned();
    house.is_out();
    assert!(house.bastion.doorward(&["request", "show", &id]).ok().out().contains("bob, uid "));
    let refused = house.ask("bob", &format!("approve {id}"));
    assert_eq!(refused.code, Some(126), "{refused:?}");
    house.told("carol", &format!("approve {id}"));
    house.enters();
    assert!(house.told(ALICE, &format!("show {id}")).contains("by bob, an operator"));
    let rows = house.bastion.rows(&["audit", "list", "--type", "request.create"]);
    assert!(rows[0]["by"].as_str().unwrap().ends_with("who is bob, for alice"), "{rows:?}");
    assert_eq!(add("nobody").code, Some(1));
}

#[test]
fn an_operator_watches_a_terminal_and_that_is_on_record() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(" }");
    let id = house.requested();
    house.told("bob", &format!("approve {id}"));
    let terminal = Terminal::start(&house.alice().ssh(&["-tt"], ""), 100, 30);
    terminal.line("printf '\\033]0;evil\\007seen-%s\\n' $((40+2))");
    terminal.shows("seen-42");
    let session = house.bastion.only_session();
    let seen = house.bastion.doorward(&["session", "watch", &session]).ok().out();
    assert!(seen.contains("seen-42") && !seen.contains('\u{1b}'), "{seen:?}");
    let views = |count: usize| {
        let rows = house.bastion.rows(&["audit", "list", "--type", "replay.view"]);
        assert_eq!(rows.len(), count, "{rows:?}");
        assert!(rows.iter().all(|row| row["session"] == session.as_str() && row["purpose"] == "watch"), "{rows:?}");
    };
    views(1);
    // On a terminal it follows, and is on record once.
    let mut watch = std::process::Command::new(crate::fixture::bastion::program());
    watch.arg("--config").arg(house.bastion.config()).args(["session", "watch", &session]);
    let watching = Terminal::start(&watch, 100, 32);
    watching.shows("seen-42");
    terminal.line("echo more-$((50+3))");
    watching.shows("more-53");
    watching.shows("q leaves");
    views(2);
    terminal.line("exit");
    watching.shows("the channel is closed");
    house.bastion.empties(LIMIT);
    assert_eq!(house.bastion.doorward(&["session", "watch", &session]).code, Some(1));
}

#[test]
fn a_request_that_another_policy_overtakes_is_told_when_it_is_loaded() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    house.bastion.policy(&rules(", count = 2 }"));
    let told = house.bastion.doorward(&["policy", "reload"]).ok().text();
    assert!(told.contains("1 access request superseded"), "{told}");
    assert_eq!(house.state(&id), "superseded");
    let shown = house.told(ALICE, &format!("show {id}"));
    assert!(shown.contains("the rule that it was asked by has changed"), "{shown}");
    let again = house.bastion.doorward(&["policy", "reload"]).ok().text();
    assert!(!again.contains("superseded"), "{again}");
}

#[test]
fn what_is_signed_away_is_proposed_as_a_diff_that_patch_takes() {
    require!("git");
    let sshd = Sshd::start();
    let bastion = Bastion::furnished(&sshd);
    let carol = key(bastion.scratch(), "carol", "ed25519", "");
    bastion.add_user("carol", "ops", &carol);
    bastion.policy(
        "schema = 1\n# who works there\n[[rule]]\nid = \"ops\"\nwho = { users = [\"alice\", \"carol\"] } # two\n\
         where = { targets = [\"db1\"] }\naccounts = [\"@me\"]\nchannels = [\"exec\"]\ngrant = { required = false }\n",
    );
    bastion.doorward(&["policy", "reload"]).ok();
    let users = || -> Vec<String> {
        let rows = bastion.rows(&["review"]);
        rows.iter().map(|row| row["user"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(users(), [ALICE, "carol"]);
    let none = bastion.doorward(&["review", "--diff"]).ok();
    assert!(none.out().is_empty() && none.err().contains("no line is signed"), "{none:?}");
    let rows = bastion.rows(&["review"]);
    let line = rows.iter().find(|row| row["user"] == "carol").unwrap()["line"].as_str().unwrap();
    bastion.doorward(&["review", "sign", line, "remove", "--note", "left the team"]).ok();
    let diff = bastion.doorward(&["review", "--diff"]).ok().out();
    let patch = bastion.scratch().join("change.patch");
    std::fs::write(&patch, &diff).unwrap();
    let mut apply = std::process::Command::new("git");
    apply.arg("-C").arg(bastion.home()).arg("apply").arg(&patch);
    let applied = apply.output().unwrap();
    assert!(applied.status.success(), "{applied:?} {diff}");
    bastion.doorward(&["policy", "reload"]).ok();
    assert_eq!(users(), [ALICE]);
}

#[test]
fn an_offboarding_waits_for_sessions_to_close_and_its_receipt_is_proven() {
    require!("ssh", "sshd");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let (running, _out) = bastion.to(&sshd).start_ready(&[], "cat");
    let told = bastion.doorward(&["user", "offboard", ALICE, "--reason", "left", "--json"]).ok();
    assert!(told.err().contains("5 s at most"), "{told:?}");
    let receipt: Value = serde_json::from_str(&told.out()).unwrap();
    assert_eq!((&receipt["sessions"], &receipt["closed"]), (&1.into(), &1.into()), "{receipt}");
    assert!(bastion.sessions().is_empty());
    // The leaf is in the log that the checkpoint signs.
    let leaf = receipt["leaf"].as_u64().unwrap();
    let checkpoint = receipt["checkpoint"].as_str().unwrap();
    assert!(checkpoint.lines().nth(1).unwrap().parse::<u64>().unwrap() > leaf, "{receipt}");
    assert!(bastion.doorward(&["audit", "prove", &leaf.to_string()]).ok().out().contains("c2sp.org/tlog-proof"));
    drop(running);
}
