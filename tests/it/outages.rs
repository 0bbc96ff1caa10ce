//! Times in which no session can begin: operators are told, the log has them, `doctor` says what to do. Also when a
//! witness has seen more of the log than there is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::fixture::bastion::{OPEN, recorded};
use crate::fixture::process::{Running, Stdout, run};
use crate::fixture::{Bastion, LIMIT, Mounted, Sshd, Syncs, holds, until};
use crate::requests::Hook;
use crate::require;
use crate::witness::Witness;

/// A bastion whose operators are told by this webhook.
fn told_by(hook: &Hook, sshd: &Sshd) -> Bastion {
    let bastion = Bastion::furnished(sshd);
    bastion.configure("notify", &format!("webhooks = [\"http://127.0.0.1:{}/hook\"]", hook.port));
    bastion
}

/// The leaves that tell of outages.
fn outages(bastion: &Bastion) -> Vec<serde_json::Value> {
    bastion.rows(&["audit", "list", "--type", "recorder.failed"])
}

#[test]
fn t17_little_space_is_on_record_and_told_to_operators_by_mail_and_webhook() {
    require!("sshd", "ssh");
    let (sshd, tries) = (Sshd::start(), std::sync::atomic::AtomicU32::new(0));
    // The first call fails: an alert is tried again.
    let hook =
        Hook::start(move |_| if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 { 503 } else { 200 });
    let mut bastion = told_by(&hook, &sshd);
    let mails = bastion.scratch().join("mails");
    bastion.configure("notify", &format!("mail_command = [\"/usr/bin/tee\", \"-a\", {mails:?}]"));
    bastion.configure("notify", "mail_from = \"doorward@example.org\"\nmail_domain = \"example.org\"");
    bastion.configure("notify", "mail_alerts = [\"olga@example.org\"]");
    bastion.configure("recording", "free_min = \"1024TiB\"");
    bastion.serve();
    until(LIMIT, "second call", || (hook.heard("lets no session begin") >= 2).then_some(()));
    let mail = until(LIMIT, "mail", || std::fs::read_to_string(&mails).ok().filter(|mail| mail.contains("olga@")));
    assert!(mail.contains("Subject: [doorward] ALERT: bastion ") && mail.contains("free_min"), "{mail}");
    let told = bastion.to(&sshd).run("echo ran");
    assert_eq!((told.out().as_str(), told.code), ("", Some(255)), "{told:?}");
    let leaves = until(LIMIT, "leaf", || Some(outages(&bastion)).filter(|leaves| !leaves.is_empty()));
    let reason = leaves[0]["reason"].as_str().unwrap();
    assert!(leaves.len() == 1 && reason.contains("free_min") && leaves[0]["lasted_ms"].is_null(), "{leaves:?}");
    let doctor = bastion.doorward(&["doctor"]);
    let words = doctor.out();
    assert!(words.contains("new sessions are refused since ") && words.contains("which is on record"), "{words}");
    assert!(doctor.code == Some(1) && words.contains("alerts     told by 2 ways"), "{words}");
    // That it was delivered is on record, too.
    let notified = || bastion.rows(&["audit", "list", "--type", "notify"]);
    let notified = until(LIMIT, "notes", || Some(notified()).filter(|rows| rows.len() == 2));
    assert!(
        notified.iter().all(|row| row["about"] == "recorder.failed" && row["result"] == "delivered"),
        "{notified:?}"
    );
}

#[test]
fn t17_while_the_whole_disk_hangs_operators_are_told_and_afterwards_it_is_on_record() {
    require!("sshd", "ssh", "cc");
    let (sshd, hook) = (Sshd::start(), Hook::start(|_| 200));
    let mut bastion = told_by(&hook, &sshd);
    bastion.configure("recording", "stall_limit = \"2s\"");
    let syncs = Syncs::build(bastion.scratch());
    // Recordings, log and state: nothing can be kept anywhere.
    bastion.environment = syncs.environment("hang", "/home/data/");
    bastion.serve();
    let (running, _out) = bastion.to(&sshd).start_ready(&["-n"], "while echo line; do sleep 0.05; done");
    syncs.begin();
    until(LIMIT, "alert", || (hook.heard("lets no session begin") == 1).then_some(()));
    assert_eq!(running.wait_with_open_stdin(LIMIT).code, Some(255));
    syncs.end();
    let leaves = until(LIMIT, "leaf", || Some(outages(&bastion)).filter(|leaves| !leaves.is_empty()));
    assert!(leaves[0]["reason"].as_str().unwrap().contains("nothing reached the disk for"), "{leaves:?}");
    until(LIMIT, "session", || (bastion.to(&sshd).run("echo in").out() == "in\n").then_some(()));
    let again =
        until(LIMIT, "end of the outage", || outages(&bastion).into_iter().find(|leaf| leaf["lasted_ms"].is_u64()));
    assert_eq!(again["since"], leaves[0]["since"]);
    until(LIMIT, "all-clear", || (hook.heard("lets sessions begin again") == 1).then_some(()));
}

/// A bastion with a witness, whose state of some time ago has been put back.
struct PutBack {
    sshd: Sshd,
    witness: Witness,
    bastion: Bastion,
}

impl PutBack {
    fn new() -> Self {
        let (sshd, mut witness) = (Sshd::start(), Witness::new("witness.example/w1"));
        let mut bastion = Bastion::furnished(&sshd);
        witness.serve_at("127.0.0.1:0");
        let config = std::fs::read_to_string(bastion.config()).unwrap();
        let lines = format!("\n[[witness]]\nurl = \"http://{}\"\nkey = \"{}\"\n", witness.socket(), witness.key);
        std::fs::write(bastion.config(), config + &lines).unwrap();
        let mut add = Command::new(crate::fixture::bastion::program());
        add.args(["witness", "add", &witness.dir(), &bastion.log_key()]);
        run(add, b"", LIMIT).ok();
        bastion.serve();
        assert_eq!(bastion.to(&sshd).run("echo in").out(), "in\n");
        bastion.stop();
        let (data, old, new) = (bastion.data(), bastion.scratch().join("old"), bastion.scratch().join("new"));
        copy(&data, &old);
        bastion.serve();
        // What is put back gives Alice back what was taken from her.
        bastion.doorward(&["user", "suspend", crate::fixture::bastion::ALICE]).ok();
        let size =
            bastion.doorward(&["audit", "checkpoint"]).ok().out().lines().nth(1).unwrap().parse::<u64>().unwrap();
        // Also what was published for somebody who asked for it.
        until(LIMIT, "cosignature", || (witness.listed()["size"].as_u64() >= Some(size)).then_some(()));
        bastion.stop();
        std::fs::rename(&data, new).unwrap();
        copy(&old, &data);
        Self { sshd, witness, bastion }
    }

    #[track_caller]
    fn takes_none(&self) {
        let told = self.bastion.to(&self.sshd).run("echo ran");
        assert_eq!((told.out().as_str(), told.code), ("", Some(255)), "{told:?}");
    }
}

#[test]
fn a_log_that_was_put_back_lets_no_session_begin_until_an_operator_answers_for_it() {
    require!("sshd", "ssh");
    let mut at = PutBack::new();
    at.bastion.serve();
    // From the first moment on: the witness was heard before anybody was.
    at.takes_none();
    let told = at.bastion.doorward(&["doctor"]);
    let words = told.out();
    assert!(told.code == Some(1) && words.contains("BAD   history"), "{words}");
    assert!(words.contains("witness.example/w1") && words.contains("accept-history"), "{words}");
    until(LIMIT, "leaf", || {
        outages(&at.bastion)[..].first().map(|leaf| leaf["reason"].to_string().contains("witness"))
    });
    // Without the witness nothing gets better: what it said is kept.
    let said = at.bastion.stop().err();
    assert!(said.contains("New sessions are refused") && said.contains("contested"), "{said}");
    let address = at.witness.socket().to_string();
    at.witness.stop();
    at.bastion.serve();
    at.takes_none();
    at.witness.serve_at(&address);
    let reason = "restored from the backup of yesterday, CHG-7";
    let accepted = at.bastion.doorward(&["audit", "accept-history", "--reason", reason]).ok();
    assert!(accepted.text().contains("witness.example/w1"), "{accepted:?}");
    until(LIMIT, "session", || (at.bastion.to(&at.sshd).run("echo in").out() == "in\n").then_some(()));
    assert!(at.bastion.audit().contains("CHG-7"));
    // The witness says the same at the next start; that is answered for.
    at.bastion.stop();
    at.bastion.serve();
    assert_eq!(at.bastion.to(&at.sshd).run("echo in").out(), "in\n");
    holds(Duration::from_secs(2), "acceptance", || at.bastion.doorward(&["doctor"]).out().contains("takes sessions"));
    let again = at.bastion.doorward(&["audit", "accept-history", "--reason", "x"]).ok();
    assert!(again.text().contains("no witness contests"), "{again:?}");
}

#[test]
fn a_witness_that_is_away_at_the_start_stops_sessions_when_it_is_back() {
    require!("sshd", "ssh");
    let mut at = PutBack::new();
    let address = at.witness.socket().to_string();
    at.witness.stop();
    at.bastion.serve();
    assert_eq!(at.bastion.to(&at.sshd).run("echo in").out(), "in\n", "a witness that is away keeps nobody out");
    at.witness.serve_at(&address);
    until(Duration::from_secs(40), "refusal", || {
        (at.bastion.to(&at.sshd).run("echo in").code == Some(255)).then_some(())
    });
    at.takes_none();
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(from).arg(to);
    run(copy, b"", LIMIT).ok();
}

#[test]
fn t17_a_best_effort_session_goes_on_over_a_full_disk_and_says_for_how_long_it_was_not_recorded() {
    require!("sshd", "ssh", "mount");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let recordings = bastion.data().join("rec");
    let Some(mounted) = Mounted::memory(&recordings, "512k") else { return };
    bastion.policy(&recorded(OPEN, "durability = \"best-effort\""));
    bastion.configure("recording", "free_min = \"16KiB\"\nreserve = \"1MiB\"");
    bastion.serve();
    let stop = sshd.folder().join("stop");
    let noise = "head -c 20000 /dev/urandom | base64 -w 100; sleep 0.01";
    let command = format!("echo first; until [ -e {} ]; do {noise}; done; echo last; exit 3", stop.display());
    let running = Running::start(bastion.to(&sshd).ssh(&["-n"], &command), Stdout::Gathered);
    let events = |kind: &str| bastion.rows(&["audit", "list", "--type", kind]);
    let gap = until(LIMIT, "gap", || events("session.gap").into_iter().next());
    assert!(gap["reason"].as_str().unwrap().contains("full"), "{gap}");
    assert_eq!(events("session.end").len(), 0, "a full disk ended a break-glass session");
    let mut grow = Command::new("mount");
    grow.args(["-o", "remount,size=256m"]).arg(&recordings);
    run(grow, b"", LIMIT).ok();
    let resumed = until(LIMIT, "end of the gap", || events("session.resumed").into_iter().next());
    assert!(resumed["gap_ms"].as_u64().is_some_and(|ms| ms > 0), "{resumed}");
    std::fs::write(&stop, "").unwrap();
    let told = running.wait(LIMIT);
    assert!(told.code == Some(3) && told.stdout.ends_with(b"last\n"), "{:?}", told.code);
    let session = bastion.only_recording();
    let kept = bastion.export(&session, "raw", &["--stream", "stdout"]);
    assert!(kept.starts_with(b"first\n") && kept.ends_with(b"last\n") && kept.len() < told.stdout.len());
    let text = String::from_utf8_lossy(&bastion.export(&session, "v3", &[])).into_owned();
    assert!(text.lines().any(|line| line.contains("\"m\"") && line.contains("\"gap ")), "no marker");
    let closed = std::fs::read_to_string(bastion.closed_json(&session)).unwrap();
    let closed: serde_json::Value = serde_json::from_str(&closed).unwrap();
    let channel = &closed["channels"][1];
    assert!(channel["gaps"][0]["lasted_ms"].is_u64() && channel["failure"].is_null(), "{channel}");
    assert_eq!(channel["stdout"]["bytes"].as_u64(), Some(told.stdout.len() as u64), "what was not kept is counted");
    let verified = bastion.doorward(&["verify"]);
    assert!(matches!(verified.code, Some(0 | 3)), "{verified:?}");
    drop((bastion, mounted));
}

#[test]
fn a_server_backs_itself_up_each_day_and_operators_hear_when_it_cannot() {
    require!("sshd", "ssh");
    let (sshd, hook) = (Sshd::start(), Hook::start(|_| 200));
    let mut bastion = told_by(&hook, &sshd);
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo ran").code, Some(0));
    bastion.only_recording();
    bastion.stop().ok();
    let to = bastion.scratch().join("backup");
    let recipient = doorward::auditor::Identity::generate().recipient();
    let section = format!("\n[backup]\nto = {to:?}\nrecipients = [\"{recipient}\"]\nkeep = 2\n");
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    std::fs::write(bastion.config(), text + &section).unwrap();
    // The first is made by hand, by what the configuration says.
    bastion.doorward(&["backup"]).ok();
    let facts = to.join("backup.json");
    let made = || -> String {
        let facts: serde_json::Value = serde_json::from_slice(&std::fs::read(&facts).unwrap()).unwrap();
        facts["complete"]["made"].as_str().unwrap().to_owned()
    };
    let by_hand = made();
    let long_ago = std::fs::read_to_string(&facts).unwrap().replace(&by_hand, "2026-01-01T00:00:00.000Z");
    std::fs::write(&facts, long_ago).unwrap();
    bastion.serve();
    until(LIMIT, "daily backup", || (made() > by_hand).then_some(()));
    let exports = bastion.rows(&["audit", "list", "--type", "state.export"]);
    assert_eq!(exports.last().unwrap()["by"], "the bastion", "{exports:?}");
    let kept: Vec<_> = std::fs::read_dir(to.join("states")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read(&kept[0]).unwrap(), std::fs::read(to.join("state.age")).unwrap());
    let told = bastion.doorward(&["verify", "--store", to.to_str().unwrap()]).ok();
    assert!(told.out().contains("1 OK-UNANCHORED"), "{told:?}");
    assert!(bastion.doorward(&["doctor"]).out().contains("backup     of "));
    bastion.stop().ok();

    // The disk of the backups is not there.
    std::fs::rename(&to, bastion.scratch().join("away")).unwrap();
    std::fs::create_dir(&to).unwrap();
    bastion.serve();
    until(LIMIT, "alert", || (hook.heard("has no new backup") == 1).then_some(()));
    let told = bastion.doorward(&["doctor"]).out();
    assert!(told.contains("there is no backup in") && told.contains("mounted"), "{told}");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
}
