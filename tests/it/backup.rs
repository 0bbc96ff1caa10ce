//! A bastion's whole life after its machine is gone: backup, loss, restore; and what forbids it.

use std::path::{Path, PathBuf};

use doorward::auditor::Identity;
use serde_json::Value;

use crate::fixture::bastion::{GRANTED, id};
use crate::fixture::process::Finished;
use crate::fixture::{Bastion, LIMIT, Sshd, found, until};
use crate::require;

#[test]
fn a_bastion_that_was_lost_is_restored_from_its_backup_and_goes_on() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::init();
    bastion.policy(GRANTED);
    bastion.furnish(&sshd);
    let canary = "canary-password-4711";
    bastion.set_password("other@db1", canary);
    bastion.serve();
    let grant = bastion.grant("alice", &format!("{}@db1", sshd.account), "2h", "CHG-9");
    assert_eq!(bastion.to(&sshd).run("echo before the loss").code, Some(0));
    let recorded = bastion.only_recording();
    let keys = Keys::new(&bastion);

    let first = keys.backup(&bastion, &["--json"]).ok();
    let first: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert!(first["files"].as_u64() > Some(5) && first["missing"] == Value::Array(Vec::new()), "{first}");
    let told = verify(&bastion, &keys.to, &[]).ok();
    assert!(told.out().contains("1 OK-UNANCHORED"), "{told:?}");
    // While a session runs, and again: only what is new is written.
    let live = bastion.to(&sshd).start(&["-n"], "echo live; sleep 600");
    let session = until(LIMIT, "a live session", || bastion.sessions().pop());
    until(LIMIT, "a record of what it shows", || {
        let told = bastion.doorward(&["recording", "export", &session, "--format", "txt"]);
        told.out().contains("live").then_some(())
    });
    keys.backup(&bastion, &[]).ok();
    let told = verify(&bastion, &keys.to, &["--json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told.code, verdict(&report, &session)), (Some(3), "INTERRUPTED".to_owned()), "{report}");
    assert_eq!(verdict(&report, &recorded), "OK-UNANCHORED");
    let checkpoint = bastion.scratch().join("checkpoint");
    std::fs::copy(keys.to.join("log/checkpoint"), &checkpoint).unwrap();
    let log_key = bastion.log_key();
    bastion.crash();
    drop(live);

    // The machine is gone, and the master key with it.
    std::fs::rename(bastion.home(), bastion.scratch().join("lost")).unwrap();
    keys.restore(&bastion);
    assert!(!bastion.home().join("master.key").exists());
    let import = |more: &[&str]| keys.import(&bastion, &keys.to.join("state.age"), more);
    assert!(import(&["--vkey", &log_key]).ok().err().contains("made a master key"));
    let restored = std::fs::read(bastion.home().join("master.key")).unwrap();
    assert_ne!(restored, std::fs::read(bastion.scratch().join("lost/master.key")).unwrap());
    bastion.serve();
    assert_eq!(bastion.to(&sshd).run("echo after the loss").out(), "after the loss\n");
    assert_eq!(id(&bastion.rows(&["grant", "list"])[0]), grant);
    assert!(String::from_utf8_lossy(&bastion.export(&recorded, "txt", &[])).contains("before the loss"));
    assert!(String::from_utf8_lossy(&bastion.export(&session, "txt", &[])).contains("live"));
    let told = bastion.audit();
    assert!(told.contains("\"state.import\"") && told.contains("session.recovered"), "{told}");
    // The restored bastion's own backup goes on from the one that it was made from.
    keys.backup(&bastion, &[]).ok();
    bastion.stop().ok();
    let told =
        verify(&bastion, &bastion.data(), &["--from", checkpoint.to_str().unwrap(), "--vkey", &log_key, "--json"]);
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((verdict(&report, &recorded), verdict(&report, &session)), ("OK".into(), "INTERRUPTED".into()));
    assert!(told.code == Some(3), "{report}");
    // No secret stands in clear in any file that all this has made.
    assert_eq!(found(bastion.scratch(), canary.as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn what_is_older_or_put_back_is_refused_until_it_is_asked_for_by_name() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::init();
    bastion.policy(GRANTED);
    bastion.furnish(&sshd);
    let grant = bastion.grant("alice", &format!("{}@db1", sshd.account), "2h", "CHG-9");
    let keys = Keys::new(&bastion);
    let export = bastion.scratch().join("state.age");
    let out = ["--out", export.to_str().unwrap()];
    let to_export =
        |more: &[&str]| bastion.doorward(&[&["state", "export", "--recipient", &keys.recipient], more].concat());
    assert!(to_export(&out).ok().err().contains("exported"));
    assert!(to_export(&out).err().contains("exists already"));
    assert_eq!(to_export(&["--out", "/nowhere/x"]).code, Some(1));
    let nowhere = bastion.scratch().join("x");
    let nowhere = nowhere.to_str().unwrap();
    let wrong = bastion.doorward(&["state", "export", "--recipient", "age1nonsense", "--out", nowhere]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    bastion.doorward(&["grant", "revoke", &grant]).ok();
    let told = keys.import(&bastion, &export, &[]);
    assert!(told.code == Some(1) && told.err().contains("state database already"), "{told:?}");

    std::fs::rename(bastion.data().join("state"), bastion.scratch().join("old-state")).unwrap();
    let told = keys.import(&bastion, &export, &[]);
    assert!(
        told.code == Some(1) && told.err().contains("older than the log"),
        "a revoked grant would be back: {told:?}"
    );
    assert!(!bastion.data().join("state").exists());
    let own = ["state", "import", export.to_str().unwrap(), "--identity", bastion.identity().to_str().unwrap()]
        .map(str::to_owned);
    let told = bastion.doorward(&own.each_ref().map(String::as_str));
    assert!(told.code == Some(1) && told.err().contains("sealed for others"), "{told:?}");
    let told = keys.import(&bastion, &export, &["--older", "--json"]).ok();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["lost_changes"], 2, "{told}");
    assert_eq!(bastion.rows(&["grant", "list"]).len(), 1);
    assert!(bastion.audit().contains("state.import"));
}

#[test]
fn a_backup_keeps_what_it_has_where_the_store_was_changed_and_prunes_only_when_told() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    for text in ["one", "two"] {
        assert_eq!(bastion.to(&sshd).run(&format!("echo {text}")).code, Some(0));
    }
    let ids = until(LIMIT, "two recordings", || {
        let ids: Vec<String> = bastion.recordings().iter().map(id).collect();
        (ids.len() == 2).then_some(ids)
    });
    let keys = Keys::new(&bastion);
    keys.backup(&bastion, &[]).ok();
    let segment = |store: &Path| {
        let all = found(&store.join("rec"), b"DWRC");
        all.into_iter().find(|path| path.to_str().unwrap().contains(&ids[0])).unwrap()
    };
    let good = std::fs::read(segment(&keys.to)).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(segment(&bastion.data()), &bad).unwrap();
    let told = keys.backup(&bastion, &[]);
    assert!(told.code == Some(1) && told.out().contains("DIFFERS") && told.out().contains(&ids[0]), "{told:?}");
    assert_eq!(std::fs::read(segment(&keys.to)).unwrap(), good, "the good copy was overwritten");
    verify(&bastion, &keys.to, &[]).ok();
    std::fs::write(segment(&bastion.data()), &good).unwrap();

    bastion.doorward(&["recording", "erase", &ids[1], "--reason", "asked", "--approver", "carol", "--yes"]).ok();
    let envelope = keys.to.join(format!("env/{}.age", ids[1]));
    assert!(keys.backup(&bastion, &["--quick"]).ok().err().contains("--prune"));
    assert!(envelope.exists());
    keys.backup(&bastion, &["--prune"]).ok();
    assert!(!envelope.exists());
    assert!(verify(&bastion, &keys.to, &[]).ok().out().contains("1 SHREDDED"));
    // Not into the store itself, nor over what is no backup.
    let exports = || bastion.rows(&["audit", "list", "--type", "state.export"]).len();
    let before = exports();
    let inside = keys.backup_to(&bastion, &bastion.data().join("backup"), &[]);
    assert!(inside.code == Some(1) && inside.err().contains("lie one in the other"), "{inside:?}");
    let other = keys.backup_to(&bastion, bastion.scratch(), &[]);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert_eq!(exports(), before, "an export is on record that nobody got");
    let other = Bastion::init();
    let told = keys.backup(&other, &[]);
    assert!(told.code == Some(1) && told.err().contains("is of the store"), "{told:?}");
}

#[test]
fn the_server_removes_by_itself_what_is_older_than_its_retention() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::serving(&sshd);
    assert_eq!(bastion.to(&sshd).run("echo young").code, Some(0));
    let young = bastion.only_recording();
    bastion.stop().ok();
    let old = plant(&bastion, &young);
    let told = bastion.doorward(&["recording", "gc", "--dry-run"]);
    assert!(told.code == Some(2) && told.err().contains("retention"), "{told:?}");
    bastion.configure("recording", "retention = \"400d\"");
    let told = bastion.doorward(&["recording", "gc", "--dry-run"]).ok();
    assert!(told.out() == format!("would remove {old}\n"), "{told:?}");
    bastion.doorward(&["recording", "hold", &old, "--reason", "CASE-7"]).ok();
    bastion.serve();
    // Its first look is over once another call has had its turn; a hold is heeded.
    assert_eq!(bastion.recordings().len(), 2);
    bastion.stop().ok();
    bastion.doorward(&["recording", "hold", &old, "--reason", "over", "--release"]).ok();
    bastion.serve();
    let left = until(LIMIT, "removal", || {
        let rows = bastion.recordings();
        (rows.len() == 1).then(|| id(&rows[0]))
    });
    assert_eq!(left, young);
    let events = bastion.rows(&["audit", "list", "--type", "gc"]);
    assert!(events.len() == 1 && events[0]["sessions"] == serde_json::json!([old]), "{events:?}");
}

/// Who can open the backups, and where they lie.
struct Keys {
    recipient: String,
    identity: PathBuf,
    to: PathBuf,
}

impl Keys {
    fn new(bastion: &Bastion) -> Self {
        let key = Identity::generate();
        let identity = bastion.scratch().join("backup.key");
        std::fs::write(&identity, key.to_file().expose()).unwrap();
        Self { recipient: key.recipient().to_string(), identity, to: bastion.scratch().join("backup") }
    }

    fn backup(&self, bastion: &Bastion, more: &[&str]) -> Finished {
        self.backup_to(bastion, &self.to, more)
    }

    fn backup_to(&self, bastion: &Bastion, to: &Path, more: &[&str]) -> Finished {
        let fixed = ["backup", "--to", to.to_str().unwrap(), "--recipient", &self.recipient];
        bastion.doorward(&[&fixed[..], more].concat())
    }

    /// The README's procedure, up to the import: the files in their places, with the tools that everybody has.
    fn restore(&self, bastion: &Bastion) {
        let copy = |from: &str, to: PathBuf| {
            std::fs::create_dir_all(&to).unwrap();
            let done = std::process::Command::new("cp").arg("-a").arg(self.to.join(from)).arg(&to).status().unwrap();
            assert!(done.success(), "{from}");
        };
        copy("config/doorward.toml", bastion.home());
        copy("config/policies", bastion.home());
        for part in ["rec", "env", "log", "policies"] {
            copy(part, bastion.data());
        }
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(bastion.data(), private).unwrap();
    }

    fn import(&self, bastion: &Bastion, export: &Path, more: &[&str]) -> Finished {
        let fixed = ["state", "import", export.to_str().unwrap(), "--identity", self.identity.to_str().unwrap()];
        bastion.doorward(&[&fixed[..], more].concat())
    }
}

fn verify(bastion: &Bastion, store: &Path, more: &[&str]) -> Finished {
    bastion.doorward(&[&["verify", "--store", store.to_str().unwrap()][..], more].concat())
}

fn verdict(report: &Value, session: &str) -> String {
    let rows = report["sessions"].as_array().unwrap();
    let row = rows.iter().find(|row| row["session"] == session).unwrap_or_else(|| panic!("no {session} in {report}"));
    row["verdict"].as_str().unwrap().to_owned()
}

/// A recording of long ago, made of a young one: its id, which tells when it began, is another.
fn plant(bastion: &Bastion, young: &str) -> String {
    let old = format!("01D0{}", &young[4..]);
    let made = doorward::model::SessionId::parse(&old).unwrap().made().unwrap();
    let (year, month, day) = made.date();
    let root = bastion.data().join("rec");
    let from = found(&root, b"\"format\"").into_iter().find(|path| path.ends_with("opened.json")).unwrap();
    let to = root.join(format!("{year:04}/{month:02}/{day:02}/{old}"));
    std::fs::create_dir_all(&to).unwrap();
    for name in ["opened.json", "closed.json"] {
        let text = std::fs::read_to_string(from.with_file_name(name)).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["session"] = old.clone().into();
        for field in ["started", "ended"] {
            if !value[field].is_null() {
                value[field] = made.to_string().into();
            }
        }
        std::fs::write(to.join(name), value.to_string()).unwrap();
    }
    let env = bastion.data().join("env");
    std::fs::copy(env.join(format!("{young}.age")), env.join(format!("{old}.age"))).unwrap();
    old
}
