//! `doorward policy check`, `test`, `explain` and `diff`: on a folder of files, with no server and no state.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const ACCESS: &str = r#"schema = 1
[[rule]]
id       = "operators"
who      = { groups = ["ops"] }
where    = { labels = { tier = "web" } }
accounts = ["ops"]
channels = ["exec"]
grant    = { required = false }
commands = { mode = "strict", sets = ["look"] }

[[test]]
given  = { user = "ana", groups = ["ops"], target = "web1", labels = { tier = "web" }, account = "ops", channel = "exec" }
expect = "allow operators"
"#;
const LOOK: &str = r#"schema = 1
mode   = "strict"

[[rule]]
id      = "logs"
effect  = "allow"
program = ["/usr/bin/cat", "/usr/bin/tail"]
reads   = ["/var/log/**"]
reason  = "logs may be read"

[[test]]
expect = "allow logs"
lines  = ["cat /var/log/syslog"]

[[test]]
expect = "deny default"
lines  = ["cat /etc/shadow", "bash"]
"#;

fn folder(access: &str, look: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (kind, name, text) in [("access", "a", access), ("commands", "look", look)] {
        std::fs::create_dir_all(root.path().join(kind)).unwrap();
        std::fs::write(root.path().join(kind).join(format!("{name}.toml")), text).unwrap();
    }
    root
}

fn policy(arguments: &[&str], folder: Option<&Path>) -> (i32, String, String) {
    let mut doorward = Command::new(env!("CARGO_BIN_EXE_doorward"));
    doorward.arg("policy").args(arguments);
    if let Some(folder) = folder {
        doorward.arg("--policies").arg(folder);
    }
    let Output { status, stdout, stderr } = doorward.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn ten_faults_in_a_file_are_all_shown_with_their_lines() {
    let broken = "schema = 1\nmode = \"wall\"\nshel = 1\n[[rule]]\nid = \"A\"\neffect = \"allow\"\nprogram = \"cat\"\nargs = [\"{\", \"*\"]\n\
                  reads = [\"var\"]\nexpires = \"soon\"\nticket = \"(\"\nalert = \"loud\"\n[[rule]]\nid = \"b\"\neffect = \"deny\"\n\
                  [[test]]\nexpect = \"perhaps\"\nlines = []\n";
    let root = folder(ACCESS, broken);
    let (status, out, _) = policy(&["check"], Some(root.path()));
    assert_eq!(status, 2, "{out}");
    let faults: Vec<&str> = out.lines().filter(|line| line.starts_with("error[fault]: ")).collect();
    assert!(faults.len() >= 10, "{out}");
    for line in [2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 17, 18] {
        assert!(faults.iter().any(|fault| fault.contains(&format!("look.toml:{line}: "))), "line {line}: {out}");
    }
    assert!(out.contains("  7 | program = \"cat\"\n    | ^^^^^^^"), "{out}");
    let (_, sarif, _) = policy(&["check", "--sarif"], Some(root.path()));
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), faults.len());
    let good = folder(ACCESS, LOOK);
    let (status, out, told) = policy(&["check", "--strict"], Some(good.path()));
    assert_eq!((status, out.as_str()), (0, ""), "{told}");
}

#[test]
fn the_policies_that_a_fresh_start_writes_have_faults_and_doubts_of_no_kind() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let root = tempfile::tempdir().unwrap();
    for kind in ["access", "commands"] {
        std::fs::create_dir(root.path().join(kind)).unwrap();
        for entry in std::fs::read_dir(shipped.join(kind)).unwrap().map(Result::unwrap) {
            std::fs::copy(entry.path(), root.path().join(kind).join(entry.file_name())).unwrap();
        }
    }
    let (status, out, told) = policy(&["check", "--strict"], Some(root.path()));
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("note[unused-set]: ") && told.contains("0 faults, 0 doubts, 1 note"), "{out}{told}");
}

#[test]
fn tests_are_run_and_told_to_build_servers() {
    let root = folder(ACCESS, LOOK);
    let report = root.path().join("junit.xml");
    let (status, out, told) = policy(&["test", "--coverage", "--junit", report.to_str().unwrap()], Some(root.path()));
    assert_eq!((status, out.as_str()), (0, ""), "{told}");
    assert!(told.contains("4 tests, 0 failed"), "{told}");
    assert!(std::fs::read_to_string(report).unwrap().contains("tests=\"4\" failures=\"0\""));
    let failing = folder(ACCESS, &LOOK.replace("\"bash\"", "\"tail /var/log/x\""));
    let (status, out, _) = policy(&["test", "--tap"], Some(failing.path()));
    assert_eq!(status, 1);
    assert!(out.starts_with("TAP version 13\n1..4\n") && out.matches("\nnot ok ").count() == 1, "{out}");
    let untested = folder(ACCESS, &LOOK.replace("allow logs", "deny default").replace("/var/log/syslog", "x"));
    let (status, _, told) = policy(&["test", "--coverage"], Some(untested.path()));
    assert!(status == 1 && told.contains("no test expects rule `logs`"), "{told}");
}

#[test]
fn a_decision_is_explained_with_the_rule_and_those_that_nearly_made_it() {
    let root = folder(ACCESS, LOOK);
    let who = ["--as", "ana", "--on", "web1", "--account", "ops", "--group", "ops", "--label", "tier=web"];
    let explain =
        |line: &str, more: &[&str]| policy(&[&["explain", line], &who[..], more].concat(), Some(root.path())).1;
    let allowed = explain("cat  /var/log/syslog", &[]);
    assert!(
        allowed.contains("access   allowed: ana to ops@web1, exec") && allowed.contains("/access/a.toml:2)"),
        "{allowed}"
    );
    assert!(
        allowed.contains("command  allowed by rule `logs` (") && allowed.contains("/commands/look.toml:4)"),
        "{allowed}"
    );
    assert!(allowed.contains("sent     '/usr/bin/cat' '/var/log/syslog'\n"), "{allowed}");
    let denied = explain("cat /etc/shadow | sh", &[]);
    assert!(denied.contains("command  denied by default") && denied.contains("sent     nothing"), "{denied}");
    assert!(denied.contains("not by rule `logs`") && denied.contains("no `pipe = true`"), "{denied}");
    assert!(denied.contains("does shell"), "{denied}");
    assert!(explain("cat '/var/log/a b'", &[]).contains("starts   1. cat '/var/log/a b'"));
    let moved = explain("scp -t /tmp", &[]);
    assert!(
        moved.starts_with("moves    files to the target, as scp: /tmp; ") && !moved.contains("\ncommand "),
        "{moved}"
    );
    assert!(moved.contains("access   denied: ana to ops@web1, sftp-write"), "{moved}");
    let file = policy(&[&["explain", "--file", "read=/srv/a"], &who[..]].concat(), Some(root.path())).1;
    assert!(file.contains("access   denied: ana to ops@web1, sftp-read"), "{file}");
    let forward = policy(&[&["explain", "--forward", "localhost:80"], &who[..]].concat(), Some(root.path())).1;
    assert!(forward.contains("access   denied: ana to ops@web1, local-forward"), "{forward}");
    let typed = [&["explain", "id", "--channel", "shell"], &who[..]].concat();
    assert_eq!(policy(&typed, Some(root.path())).0, 2);
    let (_, closed, told) =
        policy(&["explain", "id", "--as", "bob", "--on", "web1", "--account", "ops"], Some(root.path()));
    assert!(closed.contains("access   denied") && !closed.contains("\ncommand "), "{closed}");
    assert!(told.contains("groups and labels are taken for none"), "{told}");
    let failing = folder(
        ACCESS,
        &LOOK.replace("\"bash\"", "\"tail /var/log/x\"").replace("[\"cat /var/log/syslog\"]", "[\"cat /etc/a\"]"),
    );
    let (status, out, told) = policy(&[&["explain", "id"], &who[..]].concat(), Some(failing.path()));
    assert!(status == 0 && out.contains("command  denied by default"), "{out}{told}");
    assert!(told.contains("warning: in `") && told.contains("2 tests would keep the policies from loading"), "{told}");
    assert!(told.contains("not by rule `logs`: read `/etc/a`"), "{told}");
    assert_eq!(policy(&["diff", failing.path().to_str().unwrap(), root.path().to_str().unwrap()], None).0, 0);
    let row: Value = serde_json::from_str(&explain("cat /etc/shadow", &["--json"])).unwrap();
    assert_eq!((&row["access"]["decision"], &row["command"]["outcome"]), (&Value::from("allow"), &Value::from("deny")));
    assert!(row["command"]["near_misses"][0]["why"].as_str().unwrap().contains("/etc/shadow"), "{row}");
    let other = policy(
        &["explain", "--as", "ana", "--on", "web1", "--account", "root", "--group", "ops", "--label", "tier=web"],
        Some(root.path()),
    )
    .1;
    assert!(other.contains("access   denied") && other.contains("not by rule `operators`"), "{other}");
    assert!(other.contains("it does not open the account root"), "{other}");
}

#[test]
fn what_a_change_widens_is_said_and_fails_a_build_that_asks() {
    let (old, new) =
        (folder(ACCESS, LOOK), folder(&ACCESS.replace("[\"ops\"]\nchannels", "[\"ops\", \"root\"]\nchannels"), LOOK));
    let diff = |from: &Path, to: &Path, more: &[&str]| {
        policy(&[&["diff", from.to_str().unwrap(), to.to_str().unwrap()], more].concat(), None)
    };
    let (status, out, _) = diff(old.path(), new.path(), &["--fail-on-widening"]);
    assert_eq!(
        (status, out.as_str()),
        (1, "widens     group ops gains account root on targets with tier=web (rule `operators`)\n")
    );
    let (status, out, _) = diff(new.path(), old.path(), &["--fail-on-widening"]);
    assert!(status == 0 && out.starts_with("narrows    group ops loses account root"), "{out}");
    assert_eq!(diff(old.path(), old.path(), &["--fail-on-widening"]).0, 0);
}
