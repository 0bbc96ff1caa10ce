//! Access requests: asking, approving, connecting, lengthening, taking back; by stock `ssh`.

mod chain;
mod killed;

use std::path::PathBuf;

use serde_json::Value;

use crate::fixture::authenticator::Authenticator;
use crate::fixture::bastion::ALICE;
use crate::fixture::process::Finished;
use crate::fixture::terminal::Terminal;
use crate::fixture::{Bastion, LIMIT, Route, Sshd, key, until};
use crate::require;

/// `dba` may ask for up to an hour, two with extensions; `more` is added to `grant`.
pub(crate) fn rules(more: &str) -> String {
    format!(
        "schema = 1\n[[rule]]\nid = \"dba\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ labels = {{ env = \"test\" }} }}\n\
         accounts = [\"@me\"]\nchannels = [\"shell\", \"exec\"]\n\
         grant = {{ max = \"1h\", total = \"2h\", approvers = {{ group = \"leads\"{more} }}\n"
    )
}

/// Alice who asks, Bob and Carol who lead, Mallory whom no rule names.
pub(crate) struct House {
    pub(crate) bastion: Bastion,
    pub(crate) sshd: Sshd,
}

impl House {
    pub(crate) fn with(more: &str) -> Self {
        Self::prepared(more, |_| {})
    }

    pub(crate) fn prepared(more: &str, prepare: impl FnOnce(&mut Bastion)) -> Self {
        let sshd = Sshd::start();
        let mut bastion = Bastion::furnished(&sshd);
        for (name, group) in [("bob", "leads"), ("carol", "leads"), ("mallory", "nobody")] {
            let key = key(bastion.scratch(), name, "ed25519", "");
            bastion.add_user(name, group, &key);
        }
        bastion.policy(&rules(more));
        prepare(&mut bastion);
        bastion.serve();
        Self { bastion, sshd }
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        if name == ALICE { self.bastion.key.clone() } else { self.bastion.scratch().join(name) }
    }

    /// `ssh NAME@BASTION VERB`.
    pub(crate) fn ask(&self, name: &str, verb: &str) -> Finished {
        self.bastion.login(name).key(&self.key(name)).run(verb)
    }

    #[track_caller]
    pub(crate) fn told(&self, name: &str, verb: &str) -> String {
        self.ask(name, verb).ok().out()
    }

    #[track_caller]
    pub(crate) fn refused(&self, name: &str, verb: &str, why: &str) {
        let told = self.ask(name, verb);
        assert_eq!(told.code, Some(126), "{verb}: {told:?}");
        assert!(told.text().contains(why), "{verb}: {told:?}");
    }

    pub(crate) fn place(&self) -> String {
        format!("{}@db1", self.sshd.account)
    }

    /// Alice asks for an hour; the request's id.
    #[track_caller]
    pub(crate) fn requested(&self) -> String {
        let told =
            self.told(ALICE, &format!("request {} --for 1h --reason CHG-7 vacuum is stuck --json", self.place()));
        let row: Value = serde_json::from_str(&told).unwrap();
        row["request"].as_str().unwrap().to_owned()
    }

    /// Alice on her way to the target.
    pub(crate) fn alice(&self) -> Route {
        self.bastion.to(&self.sshd)
    }

    #[track_caller]
    pub(crate) fn enters(&self) {
        assert_eq!(self.alice().run("echo in").ok().out(), "in\n");
    }

    #[track_caller]
    pub(crate) fn is_out(&self) -> String {
        let told = self.alice().run("echo in");
        assert_eq!((told.code, told.out().as_str()), (Some(126), ""), "{told:?}");
        told.text()
    }

    pub(crate) fn state(&self, request: &str) -> String {
        let row = &self.bastion.rows(&["request", "list", "--all"]);
        let own = row.iter().find(|row| row["id"] == request);
        own.map_or_else(String::new, |row| row["state"].as_str().unwrap().to_owned())
    }
}

#[test]
fn a_request_that_is_approved_opens_the_target_until_it_is_given_back() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let told = house.is_out();
    assert!(told.contains("ssh USER@BASTION request"), "{told}");
    let asked = house.told(ALICE, &format!("request {} --for 30m --reason CHG-7 vacuum is stuck", house.place()));
    assert!(asked.starts_with("requested  r-") && asked.contains("for 30m"), "{asked}");
    assert!(asked.contains("waiting for 1 of leads (bob, carol)"), "{asked}");
    let id = asked.split_whitespace().nth(1).unwrap().to_owned();
    house.is_out();
    let listed = house.told("bob", "requests");
    assert!(
        listed.contains(&id) && listed.contains("CHG-7 vacuum is stuck") && listed.contains("alice to"),
        "{listed}"
    );
    let approved = house.told("bob", &format!("approve {id} --note go ahead"));
    assert!(approved.starts_with("approved") && approved.contains("granted until"), "{approved}");
    house.enters();
    assert!(house.told(ALICE, "ls").contains("granted until"));
    let shown = house.told(ALICE, &format!("show {id}"));
    assert!(shown.contains("approved by bob") && shown.contains("go ahead"), "{shown}");
    // Its sessions end with it.
    let live = house.alice().start(&[], "cat");
    house.bastion.only_session();
    house.told(ALICE, &format!("give-back {id}"));
    let ended = live.wait_with_open_stdin(LIMIT);
    assert!(ended.text().contains("revoked"), "{ended:?}");
    house.is_out();
    // Every step is on record under the request's id, its grant and its sessions too.
    let rows = house.bastion.rows(&["audit", "list"]);
    let of = |kind: &str| rows.iter().filter(|row| row["type"] == kind && row["request"] == id.as_str()).count();
    assert_eq!((of("request.create"), of("request.step"), of("grant.add")), (1, 1, 1));
    let grant = rows.iter().find(|row| row["type"] == "grant.add").unwrap()["grant"].clone();
    assert!(rows.iter().any(|row| row["type"] == "session.start" && row["grant"] == grant));
    assert!(rows.iter().any(|row| row["type"] == "grant.revoke" && row["grant"] == grant));
}

#[test]
fn t18_nobody_approves_their_own_request_by_whatever_name() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    // Alice leads, and has a second name that leads, too.
    house.bastion.doorward(&["user", "set", ALICE, "--group", "dba", "--group", "leads"]).ok();
    let second = key(house.bastion.scratch(), "alice2", "ed25519", "");
    house.bastion.add_user("alice2", "leads", &second);
    house.bastion.doorward(&["user", "set", "alice2", "--person", ALICE]).ok();
    let id = house.requested();
    for name in [ALICE, "alice2"] {
        house.refused(name, &format!("approve {id}"), "nobody approves");
        house.refused(name, &format!("deny {id}"), "nobody approves");
    }
    house.refused("mallory", &format!("approve {id}"), "no such request");
    house.refused("mallory", &format!("show {id}"), "no such request");
    assert_eq!(house.state(&id), "pending");
    house.is_out();
}

#[test]
fn a_quorum_of_two_takes_two_people_and_one_no_ends_it() {
    require!("ssh", "sshd");
    let house = House::with(", count = 2 }");
    let id = house.requested();
    assert!(house.told("bob", &format!("approve {id} --for 10m")).contains("waiting for 1 of leads (carol)"));
    house.refused("bob", &format!("approve {id}"), "already");
    house.is_out();
    // What one has taken away the other does not give back.
    house.refused("carol", &format!("approve {id} --for 20m"), "only narrow");
    house.told("carol", &format!("approve {id}"));
    house.enters();
    let other = house.requested();
    house.told("bob", &format!("approve {other}"));
    assert!(house.told("carol", &format!("deny {other} --note not today")).starts_with("denied"));
    house.refused("bob", &format!("approve {other}"), "denied");
    assert!(house.told(ALICE, &format!("show {other}")).contains("not today"));
}

#[test]
fn an_approval_of_fewer_channels_opens_no_more_than_those() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    house.told("bob", &format!("approve {id} --channels shell"));
    house.is_out();
    let shell = house.alice().start(&["-tt"], "");
    house.bastion.only_session();
    drop(shell);
    let all = house.requested();
    house.refused("bob", &format!("approve {all} --channels shell,sftp-read"), "only narrow");
}

#[test]
fn what_cannot_be_asked_for_is_refused_alike_whether_it_exists_or_not() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let no_such = "no such destination";
    for place in ["root@nowhere", "nobody@db1"] {
        house.refused(ALICE, &format!("request {place} --reason why"), no_such);
    }
    house.refused("mallory", &format!("request {} --reason why", house.place()), no_such);
    house.refused(ALICE, &format!("request {} --for 2h --reason why", house.place()), "--for 1h");
    house.refused(ALICE, &format!("request {}", house.place()), "needs a reason");
    house.refused(ALICE, &format!("request {} --channels sftp-read --reason why", house.place()), "shell, exec");
    house.refused(ALICE, &format!("request {} --for 1h --for 2h", house.place()), "use it as");
    house.refused(ALICE, "approve r-0", "no such request");
    assert!(house.bastion.rows(&["request", "list", "--all"]).is_empty());
}

#[test]
fn a_grant_lasts_longer_once_that_is_approved_and_never_beyond_the_total() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    house.told("bob", &format!("approve {id}"));
    let until_of = || {
        let rows = house.bastion.rows(&["grant", "list"]);
        assert_eq!(rows.len(), 1, "{rows:?}");
        doorward::model::Timestamp::parse(rows[0]["until"].as_str().unwrap()).unwrap()
    };
    let before = until_of();
    let live = house.alice().start(&[], "cat");
    house.bastion.only_session();
    house.refused(ALICE, &format!("extend {id} --for 90m"), "--for 1h");
    let asked = house.told(ALICE, &format!("extend {id} --for 40m"));
    assert!(asked.contains("40m more of g-"), "{asked}");
    let extension = asked.split_whitespace().nth(1).unwrap().to_owned();
    house.refused(ALICE, &format!("extend {id} --for 10m"), &extension);
    house.refused(ALICE, &format!("approve {extension}"), "nobody approves");
    house.told("carol", &format!("approve {extension}"));
    assert_eq!(before.until(until_of()).as_secs(), 40 * 60);
    // The session that was live lasts longer, too.
    let rows = house.bastion.rows(&["session", "list"]);
    assert_eq!(rows[0]["until"].as_str().unwrap(), until_of().to_string());
    house.refused(ALICE, &format!("extend {id} --for 30m"), "--for 20m");
    house.told(
        "bob",
        &format!("deny {}", {
            let asked = house.told(ALICE, &format!("extend {id} --for 20m"));
            asked.split_whitespace().nth(1).unwrap().to_owned()
        }),
    );
    assert_eq!(before.until(until_of()).as_secs(), 40 * 60);
    drop(live);
    house.bastion.empties(LIMIT);
    house.told(ALICE, &format!("give-back {id}"));
    house.refused(ALICE, &format!("extend {id}"), "over");
}

#[test]
fn what_was_approved_begins_with_the_first_session_and_not_too_late() {
    require!("ssh", "sshd");
    let house = House::with(" }, activation = \"30m\", sessions = 2");
    let id = house.requested();
    let approved = house.told("bob", &format!("approve {id}"));
    assert!(approved.contains("begins with the first session"), "{approved}");
    assert!(house.bastion.rows(&["grant", "list"]).is_empty());
    house.enters();
    assert_eq!(house.state(&id), "granted");
    house.enters();
    let told = house.is_out();
    assert!(told.contains("all sessions"), "{told}");
}

#[test]
fn a_request_asked_under_rules_that_changed_is_granted_no_more() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    house.bastion.policy(&rules(", count = 2 }"));
    house.bastion.doorward(&["policy", "reload"]).ok();
    house.refused("bob", &format!("approve {id}"), "superseded");
    assert_eq!(house.state(&id), "superseded");
    // Nor one whose requester is suspended between.
    house.bastion.policy(&rules(" }"));
    house.bastion.doorward(&["policy", "reload"]).ok();
    let other = house.requested();
    house.bastion.doorward(&["user", "suspend", ALICE]).ok();
    assert_eq!(house.state(&other), "cancelled");
    house.bastion.doorward(&["user", "resume", ALICE]).ok();
    house.refused("bob", &format!("approve {other}"), "cancelled");
    house.is_out();
}

#[test]
fn a_grant_of_a_rule_that_is_gone_opens_nothing() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    house.told("bob", &format!("approve {id}"));
    house.enters();
    // Another rule that needs a grant, too: the approval was not of this one.
    house.bastion.policy(&rules(" }").replace("id = \"dba\"", "id = \"other\""));
    house.bastion.doorward(&["policy", "reload"]).ok();
    house.is_out();
    house.bastion.policy(&rules(" }"));
    house.bastion.doorward(&["policy", "reload"]).ok();
    house.enters();
}

#[test]
fn an_operator_sees_requests_and_may_cancel_them() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    let id = house.requested();
    let listed = house.bastion.doorward(&["request", "list"]).ok().out();
    assert!(listed.contains(&id) && listed.contains(ALICE) && listed.contains("pending"), "{listed}");
    assert!(house.bastion.doorward(&["request", "show", &id]).ok().out().contains("bob, carol"));
    house.bastion.doorward(&["request", "cancel", &id]).ok();
    house.refused("bob", &format!("approve {id}"), "cancelled");
    assert_eq!(house.bastion.doorward(&["request", "cancel", &id]).code, Some(1));
    let mine = house.requested();
    assert!(house.told(ALICE, &format!("cancel {mine}")).starts_with("cancelled"));
    house.refused("bob", &format!("cancel {mine}"), "no such request");
}

#[test]
fn a_person_has_so_many_requests_waiting_and_no_more() {
    require!("ssh", "sshd");
    let house = House::with(" }");
    for _ in 0..10 {
        house.requested();
    }
    house.refused(ALICE, &format!("request {} --reason once more", house.place()), "too many");
}

/// A web server of the test's own, which keeps what it is sent and answers with this status.
pub(crate) struct Hook {
    pub(crate) port: u16,
    said: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Hook {
    pub(crate) fn start(status: impl Fn(&str) -> u16 + Send + 'static) -> Self {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = std::sync::Arc::clone(&said);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut text, mut piece) = (String::new(), [0_u8; 4096]);
                loop {
                    let read = stream.read(&mut piece).unwrap_or(0);
                    text.push_str(&String::from_utf8_lossy(&piece[..read]));
                    let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                        let length = head.to_lowercase();
                        let length = length.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
                        body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
                    });
                    if whole || read == 0 {
                        break;
                    }
                }
                let status = status(&text);
                heard.lock().unwrap().push(text);
                let _ = stream.write_all(
                    format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes(),
                );
            }
        });
        Self { port, said }
    }

    pub(crate) fn heard(&self, text: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|said| said.contains(text)).count()
    }
}

#[test]
fn approvers_are_told_by_webhook_and_mail_and_a_refused_message_is_sent_again() {
    require!("ssh", "sshd");
    let tries = std::sync::atomic::AtomicU32::new(0);
    // The first call fails, as does a server that is being started.
    let first = move |_: &str| if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 { 503 } else { 204 };
    let hook = Hook::start(first);
    let mut house = House::prepared(" }", |bastion| {
        let mails = bastion.scratch().join("mails");
        let token = bastion.scratch().join("token");
        std::fs::write(&token, "s3cret-token\n").unwrap();
        bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/hook/secret-path\"]", hook.port));
        bastion.configure("notify", &format!("webhook_token = {token:?}"));
        bastion.configure("notify", &format!("mail_command = [\"/usr/bin/tee\", \"-a\", {mails:?}]"));
        bastion.configure("notify", "mail_from = \"doorward@example.org\"\nmail_domain = \"example.org\"");
    });
    let id = house.requested();
    let mails = || std::fs::read_to_string(house.bastion.scratch().join("mails")).unwrap_or_default();
    crate::fixture::until(LIMIT, "mail", || mails().contains(&id).then_some(()));
    assert!(mails().contains("To: bob@example.org,\n carol@example.org"), "{}", mails());
    crate::fixture::until(LIMIT, "second call", || (hook.heard(&id) >= 2).then_some(()));
    assert!(hook.said.lock().unwrap().iter().all(|said| said.contains("Bearer s3cret-token")));
    house.told("bob", &format!("approve {id}"));
    crate::fixture::until(LIMIT, "word to alice", || mails().contains("To: alice@example.org").then_some(()));
    let log = house.bastion.stop().text();
    assert!(log.contains("was not taken") && !log.contains("s3cret") && !log.contains("secret-path"), "{log}");
}

#[test]
fn a_ticket_system_that_says_no_or_nothing_lets_nobody_ask() {
    require!("ssh", "sshd");
    let hook = Hook::start(|said| if said.starts_with("GET /api/CHG-7?user=alice ") { 200 } else { 404 });
    let port = hook.port;
    let house = House::prepared(" }, ticket = \"CHG-[0-9]+\"", |bastion| {
        let url = format!("ticket_check = \"http://127.0.0.1:{port}/api/{{ticket}}?user={{user}}\"");
        bastion.configure("requests", &url);
    });
    house.requested();
    house.refused(ALICE, &format!("request {} --reason CHG-8 other", house.place()), "the ticket does not count");
    let mut deaf = House::prepared(" }, ticket = \"CHG-[0-9]+\"", |bastion| {
        let nobody = crate::fixture::free_port();
        bastion.configure("requests", &format!("ticket_check = \"http://127.0.0.1:{nobody}/{{ticket}}\""));
    });
    deaf.refused(ALICE, &format!("request {} --reason CHG-7 vacuum", deaf.place()), "the ticket does not count");
    deaf.bastion.stop();
}

#[test]
fn a_broken_glass_opens_after_the_alarm_and_is_reviewed() {
    require!("ssh", "sshd");
    let (one, two) = (Hook::start(|_| 200), Hook::start(|_| 200));
    let rules = format!(
        "{}[[rule]]\nid = \"emergency\"\nwho = {{ groups = [\"dba\"] }}\nwhere = {{ targets = [\"db1\"] }}\n\
         accounts = [\"@me\"]\nchannels = [\"shell\", \"exec\"]\n\
         break_glass = {{ max = \"20m\", reviewers = {{ group = \"leads\" }}, insecure_without_key = true }}\n",
        rules(" }")
    );
    let mut house = House::prepared(" }", |bastion| {
        bastion.policy(&rules);
    });
    let glass = format!("break-glass {} --reason db1 is down and nobody answers", house.place());
    // Nobody would hear of it.
    assert!(house.bastion.doorward(&["check"]).ok().err().contains("nobody can break it"));
    house.refused(ALICE, &glass, "no two ways");
    house.is_out();
    house.bastion.stop();
    let hooks = [&one, &two].map(|hook| format!("\"http://127.0.0.1:{}/\"", hook.port)).join(", ");
    house.bastion.configure("notify", &format!("webhooks = [{hooks}]"));
    house.bastion.serve();
    // One machine is one way.
    house.refused(ALICE, &glass, "no two ways");
    house.bastion.stop();
    let mails = house.bastion.scratch().join("mails");
    house.bastion.configure(
        "notify",
        &format!(
            "mail_command = [\"/usr/bin/tee\", \"-a\", {mails:?}]\nmail_from = \"doorward@example.org\"\n\
             mail_domain = \"example.org\"\nmail_alerts = [\"security@example.org\"]"
        ),
    );
    house.bastion.serve();
    assert!(!house.bastion.doorward(&["check"]).ok().err().contains("nobody can break it"));
    house.refused("mallory", &glass, "no such destination");
    house.refused(ALICE, &format!("break-glass {} --for 1h --reason db1 is down, really", house.place()), "--for 20m");
    house.refused(ALICE, &format!("break-glass {}", house.place()), "needs a reason");
    let told = house.told(ALICE, &glass);
    assert!(told.starts_with("broken  r-") && told.contains("told: bob, carol"), "{told}");
    let id = told.split_whitespace().nth(1).unwrap().to_owned();
    house.enters();
    for hook in [&one, &two] {
        crate::fixture::until(LIMIT, "alarm", || (hook.heard("breaks the glass") > 0).then_some(()));
    }
    let mailed = crate::fixture::until(LIMIT, "mail", || std::fs::read_to_string(&mails).ok());
    assert!(mailed.contains(",\n security@example.org\n"), "{mailed}");
    // A lock-down may leave alone who looks after the house, and a lock on the grant ends it all the same.
    let (live, _output) = house.alice().start_ready(&[], "sleep 600");
    house.bastion.doorward(&["lockdown", "on", "--keep-break-glass", "--reason", "an attack"]).ok();
    house.enters();
    let grant = house.bastion.rows(&["grant", "list"])[0]["id"].as_str().unwrap().to_owned();
    let told = house.bastion.doorward(&["lock", "add", "--grant", &grant, "--reason", "a look"]).ok().text();
    let lock = told.split('`').nth(1).unwrap().to_owned();
    assert_eq!(live.wait(LIMIT).code, Some(255));
    assert!(house.is_out().contains("locked"));
    house.bastion.doorward(&["lock", "lift", &lock]).ok();
    house.enters();
    let told = house.bastion.doorward(&["lock", "add", "--user", ALICE, "--keep-break-glass", "--reason", "no"]);
    assert!(told.code == Some(1) && told.err().contains("spares nobody"), "{told:?}");
    house.refused(ALICE, &format!("review {id} ok"), "nobody");
    house.refused("bob", &format!("review {id} fine"), "use it as");
    house.refused("bob", &format!("review {id} ok --note too early"), "not over");
    house.told(ALICE, &format!("give-back {id}"));
    assert!(house.told("bob", &format!("review {id} ok --note looked at it")).contains("reviewed"));
    assert!(house.told(ALICE, &format!("show {id}")).contains("reviewed by bob: ok looked at it"));
    let rows = house.bastion.rows(&["audit", "list"]);
    let kinds: Vec<&str> = rows
        .iter()
        .filter(|row| row["request"] == id.as_str() || row["type"] == "session.start")
        .map(|row| row["type"].as_str().unwrap())
        .collect();
    let at = |kind: &str| kinds.iter().position(|other| *other == kind).unwrap_or_else(|| panic!("{kinds:?}"));
    assert!(at("breakglass.open") < at("session.start") && at("session.start") < at("breakglass.review"), "{kinds:?}");
    // Whoever took it at once is in the leaf, and the others have one of their own.
    let opened = rows.iter().find(|row| row["type"] == "breakglass.open").unwrap();
    let at_once = opened["delivered"].as_array().unwrap().len();
    assert_eq!(at_once + kinds.iter().filter(|kind| **kind == "notify").count(), 3, "{opened}");
    // Any other grant is locked.
    house.bastion.grant(ALICE, &house.place(), "1h", "because");
    assert!(house.is_out().contains("locked"));
}

#[test]
fn a_menu_asks_for_a_grant_and_another_approves_it() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(" }");
    let menu = |name: &str| {
        let ssh = house.bastion.login(name).key(&house.key(name)).ssh(&["-tt"], "");
        crate::fixture::terminal::Terminal::start(&ssh, 80, 24)
    };
    let alice = menu(ALICE);
    alice.shows("on request");
    alice.press("Enter");
    alice.shows("Ask for a grant to");
    alice.press("C-u");
    alice.line("20m");
    alice.line("CHG-9 looks odd");
    alice.shows("waiting for 1 of leads");
    let bob = menu("bob");
    for _ in 0..3 {
        bob.press("Tab");
    }
    bob.shows("waits for you");
    bob.press("Enter");
    assert!(bob.shows("a approves").contains("CHG-9 looks odd"));
    // A key that was meant for a list approves nothing.
    bob.type_text("a");
    bob.shows("Enter does it, Esc does not");
    bob.press("Escape");
    bob.shows("waits for you");
    bob.press("Enter");
    bob.shows("a approves");
    bob.type_text("a");
    bob.shows("A note:");
    bob.line("fine");
    bob.shows("granted until");
    // Her list shows it by itself, or when she looks again.
    alice.press("C-r");
    alice.shows("granted until");
    alice.press("Enter");
    alice.shows("connecting to");
    house.bastion.only_session();
    let shown = house.told(ALICE, "requests");
    assert!(shown.contains("granted") && shown.contains("CHG-9 looks odd"), "{shown}");
}

#[test]
fn a_grant_for_one_session_is_for_no_more_of_them_by_their_further_channels() {
    require!("ssh", "sshd");
    let standing = "schema = 1\n[[rule]]\nid = \"stand\"\nwho = { groups = [\"dba\"] }\nwhere = { targets = [\"db1\"] }\n\
                    accounts = [\"@me\"]\nchannels = [\"shell\"]\ngrant = { required = false }\n";
    let house = House::prepared(" }, sessions = 1", |bastion| {
        let more = rules(" }, sessions = 1").replace("schema = 1\n", "");
        bastion.policy(&format!("{standing}{more}"));
    });
    let told = house.told(ALICE, &format!("request {} --channels exec --reason CHG-7 --json", house.place()));
    let row: Value = serde_json::from_str(&told).unwrap();
    house.told("bob", &format!("approve {}", row["request"].as_str().unwrap()));
    let shared = [(); 2].map(|()| house.alice().master(house.bastion.scratch()));
    // Both begin by a right that needs no grant.
    let shells = [0, 1].map(|at| shared[at].route.start(&["-tt"], ""));
    crate::fixture::until(LIMIT, "two sessions", || (house.bastion.sessions().len() == 2).then_some(()));
    assert_eq!(shared[0].route.run("echo in").ok().out(), "in\n");
    assert_eq!(shared[0].route.run("echo again").ok().out(), "again\n");
    let told = shared[1].route.run("echo in");
    assert!(told.code == Some(126) && told.text().contains("all sessions"), "{told:?}");
    house.is_out();
    drop(shells);
}

/// `approve` on a terminal that stays when it is over.
fn approving(route: &Route, id: &str) -> Terminal {
    let ssh = route.ssh(&["-tt"], &format!("approve {id}"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", r#""$@"; echo left-$?; read -r end"#, "sh"]).arg(ssh.get_program()).args(ssh.get_args());
    Terminal::start(&shell, 100, 30)
}

#[test]
fn an_approver_whose_certificate_ends_while_they_are_asked_decides_nothing() {
    require!("ssh", "sshd", "tmux");
    let house = House::prepared(" }", |bastion| {
        let authority = key(bastion.scratch(), "ca", "ed25519", "");
        std::fs::copy(authority.with_extension("pub"), bastion.home().join("cas")).unwrap();
        bastion.configure("login", "user_cas = \"cas\"");
    });
    let (id, laptop) = (house.requested(), key(house.bastion.scratch(), "laptop", "ed25519", ""));
    let mut sign = std::process::Command::new("ssh-keygen");
    sign.args(["-q", "-s"]).arg(house.bastion.scratch().join("ca"));
    sign.args(["-I", "laptop", "-n", "bob", "-V", "-1m:+10s"]).arg(laptop.with_extension("pub"));
    assert!(sign.status().unwrap().success());
    let certificate = format!("CertificateFile={}-cert.pub", laptop.display());
    let bob = house.bastion.login("bob").key(&laptop).with(&certificate);
    let terminal = approving(&bob, &id);
    terminal.shows("Type yes to approve: ");
    until(LIMIT, "the end of the certificate", || (bob.run("whoami").code != Some(0)).then_some(()));
    terminal.line("yes");
    terminal.shows("left-126");
    assert_eq!(house.state(&id), "pending", "{}", terminal.screen());
}

#[test]
fn whoever_decides_on_a_terminal_sees_what_it_is_and_is_asked() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(" }");
    let id = house.requested();
    let bob = || approving(&house.bastion.login("bob").key(&house.key("bob")), &id);
    let terminal = bob();
    for what in [house.place().as_str(), "1h", "CHG-7 vacuum is stuck", "Type yes to approve: "] {
        terminal.shows(what);
    }
    terminal.line("no");
    terminal.shows("that needs your yes");
    terminal.shows("left-126");
    assert_eq!(house.state(&id), "pending");
    let terminal = bob();
    terminal.shows("Type yes to approve: ");
    terminal.line("yes");
    terminal.shows(&format!("approved  {id}"));
    assert_eq!(house.state(&id), "granted");
    house.enters();
}

#[test]
fn whoever_thinks_a_decision_over_keeps_nobody_waiting() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(" }");
    let id = house.requested();
    let prompt = || {
        let ssh = house.bastion.login("bob").key(&house.key("bob")).ssh(&["-tt"], &format!("approve {id}"));
        let terminal = Terminal::start(&ssh, 100, 30);
        terminal.shows("Type yes to approve: ");
        terminal
    };
    // As many as a user may have lists at once.
    let _open: Vec<Terminal> = (0..4).map(|_| prompt()).collect();
    assert!(house.told("bob", "requests").contains(&id));
}

#[test]
fn an_approver_who_must_prove_themselves_anew_does_so_by_a_code_which_is_on_record() {
    require!("ssh", "sshd", "tmux");
    let house = House::with(", mfa = { within = \"15m\" } }");
    let codes = Authenticator::enrol(&house.bastion, "bob");
    let id = house.requested();
    house.refused("bob", &format!("approve {id}"), "ssh -t USER@BASTION mfa");
    let ssh = house.bastion.login("bob").key(&house.key("bob")).ssh(&["-tt"], "mfa");
    let terminal = Terminal::start(&ssh, 100, 30);
    terminal.shows("One-time code: ");
    terminal.line(&codes.code(0));
    terminal.shows("the code was accepted");
    house.told("bob", &format!("approve {id}"));
    assert_eq!(house.state(&id), "granted");
    let rows = house.bastion.rows(&["audit", "list"]);
    let step = rows.iter().find(|row| row["type"] == "request.step" && row["verb"] == "approve").unwrap();
    assert!(step["mfa_seconds"].as_u64().is_some_and(|ago| ago < 900), "{step}");
    let shown: Value = serde_json::from_str(&house.told("bob", &format!("show {id} --json"))).unwrap();
    let review = &shown["reviews"][0];
    // From where is for operators.
    assert!(review["mfa_seconds"].is_u64() && review["source"].is_null() && review["key"].is_null(), "{review}");
}
