//! Tickets for desktops, and targets that speak RDP: what is given to whom, what is refused, and what is on record.

use serde_json::Value;

use crate::auditing::{elsewhere, ssh_of};
use crate::fixture::bastion::ALICE;
use crate::fixture::{Bastion, Route, free_port, key};

const FINGERPRINT: &str = "abababababababababababababababababababababababababababababababab";

const DESKTOPS: &str = r#"
schema = 1
[[rule]]
id        = "desktops"
who       = { groups = ["dba"] }
where     = { labels = { env = "test" } }
accounts  = ["administrator"]
channels  = ["desktop"]
desktop   = { clipboard_in = "text" }
grant     = { required = true }
"#;

/// A bastion with a door for desktops, and a target that is only reached over RDP.
fn furnished() -> Bastion {
    furnished_by(DESKTOPS)
}

fn furnished_by(policy: &str) -> Bastion {
    let mut bastion = Bastion::init();
    bastion.policy(policy);
    let text = std::fs::read_to_string(bastion.config()).unwrap();
    let rdp = format!("{text}\n[rdp]\nlisten = \"127.0.0.1:{}\"\naddress = \"bastion.example\"\n", free_port());
    std::fs::write(bastion.config(), rdp).unwrap();
    bastion.add_user(ALICE, "dba", &bastion.key);
    let pin = format!("sha256:{FINGERPRINT}");
    let added = ["target", "add", "win1", "--rdp", "127.0.0.1:1", "--certificate", &pin, "--label", "env=test"];
    bastion.doorward(&added).ok();
    bastion.set_password("administrator@win1", "Target-Secret-1");
    bastion.serve();
    bastion
}

fn alice(bastion: &Bastion) -> Route {
    Route::new(ALICE, bastion.port, &bastion.key)
}

#[test]
fn a_ticket_is_given_to_who_holds_the_right_now_and_each_is_on_record() {
    let bastion = furnished();
    let alice = alice(&bastion);
    let refused = alice.run("rdp administrator@win1");
    assert_eq!(refused.code, Some(126), "{refused:?}");
    assert!(alice.run("why").ok().out().contains("a desktop at administrator@win1"));
    // What does not exist is refused in the same words.
    assert_eq!(alice.run("rdp administrator@win2").text(), refused.text());
    bastion.grant(ALICE, "administrator@win1", "1h", "CHG-1");
    let told = alice.run("rdp administrator@win1 --json").ok();
    let ticket: Value = serde_json::from_slice(&told.stdout).unwrap();
    let (name, secret) = (ticket["ticket"].as_str().unwrap(), ticket["password"].as_str().unwrap());
    assert!(name.starts_with("t-") && secret.len() == 24, "{ticket}");
    assert_eq!(ticket["address"], "bastion.example:3389");
    let certificate = bastion.doorward(&["rdp-certificate"]).ok().out();
    assert_eq!(ticket["certificate"].as_str().unwrap(), certificate.trim_end());
    let file = ticket["file"].as_str().unwrap();
    assert!(file.contains(&format!("username:s:{name}\r\n")) && file.contains("redirectclipboard:i:1"), "{file}");
    let text = alice.run("rdp administrator@win1").ok().out();
    assert!(text.contains("xfreerdp /v:bastion.example:3389") && text.contains("Password:"), "{text}");
    let audit = bastion.audit();
    let issued = audit.lines().filter(|line| line.contains("\"desktop.ticket\"") && line.contains("\"issued\""));
    assert_eq!(issued.count(), 2, "{audit}");
    assert!(!audit.contains(secret), "a ticket's secret is on record");
}

#[test]
fn without_a_password_of_the_account_there_is_no_ticket() {
    let bastion = furnished();
    bastion.grant(ALICE, "administrator@win1", "1h", "CHG-1");
    bastion.doorward(&["secret", "set", "administrator@win1", "--private-key", bastion.key.to_str().unwrap()]).ok();
    let refused = alice(&bastion).run("rdp administrator@win1");
    assert_eq!(refused.code, Some(255), "{refused:?}");
    assert!(refused.text().contains("is a key, and desktops need its password"), "{refused:?}");
    let operators = "is a private key, and desktops need a password; run `doorward secret set administrator@win1`";
    assert!(bastion.audit().contains(operators), "{}", bastion.audit());
    bastion.doorward(&["secret", "remove", "administrator@win1"]).ok();
    let refused = alice(&bastion).run("rdp administrator@win1");
    assert!(refused.text().contains("no usable credential"), "{refused:?}");
    assert!(!bastion.audit().contains("\"desktop.ticket\""));
}

/// What Alice may do at `administrator@win1` only after a yes, beginning when she does; and her request for it, approved.
fn approved(more: &str) -> (Bastion, String) {
    let grant = "grant     = { approvers = { group = \"leads\" }, activation = \"30m\", reason = false }";
    let bastion = furnished_by(&DESKTOPS.replace("grant     = { required = true }", &format!("{grant}\n{more}")));
    let bobs = key(bastion.scratch(), "bob", "ed25519", "");
    bastion.add_user("bob", "leads", &bobs);
    let asked = alice(&bastion).run("request administrator@win1 --for 30m --json").ok();
    let asked: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let id = asked["request"].as_str().unwrap().to_owned();
    Route::new("bob", bastion.port, &bobs).run(&format!("approve {id}")).ok();
    (bastion, id)
}

fn state(bastion: &Bastion, request: &str) -> Value {
    let shown = alice(bastion).run(&format!("show {request} --json")).ok();
    serde_json::from_slice::<Value>(&shown.stdout).unwrap()["state"].clone()
}

#[test]
fn what_was_approved_begins_with_the_ticket() {
    let (bastion, request) = approved("");
    assert_eq!(state(&bastion, &request), "approved");
    let told = alice(&bastion).run("rdp administrator@win1").ok().out();
    assert!(told.contains("Password:"), "{told}");
    assert_eq!(state(&bastion, &request), "granted");
}

#[test]
fn who_must_show_a_second_factor_first_is_told_so_and_what_was_approved_waits_for_them() {
    let (bastion, request) = approved("mfa       = { within = \"10m\" }");
    let refused = alice(&bastion).run("rdp administrator@win1");
    assert_eq!(refused.code, Some(126), "{refused:?}");
    assert!(refused.text().contains("ssh -t USER@BASTION mfa"), "{refused:?}");
    assert_eq!(state(&bastion, &request), "approved");
}

#[test]
fn a_target_that_speaks_rdp_alone_is_listed_and_reached_by_no_shell() {
    let bastion = furnished();
    let rows = bastion.rows(&["target", "list"]);
    assert_eq!(rows[0]["address"], "");
    assert_eq!(rows[0]["desktop"]["address"], "127.0.0.1:1");
    assert_eq!(rows[0]["desktop"]["pin"]["fingerprints"][0], FINGERPRINT);
    bastion.grant(ALICE, "administrator@win1", "1h", "CHG-1");
    let shell = alice(&bastion).login("administrator@win1").run("id");
    assert_eq!(shell.code, Some(126), "{shell:?}");
    // Nobody answers there: what a scan finds is told, and nothing is pinned.
    assert_ne!(bastion.doorward(&["target", "scan", "--rdp", "win1"]).code, Some(0));
    let bare = bastion.doorward(&["target", "add", "x1", "--certificate", "sha256:00", "--address", "h"]);
    assert!(bare.text().contains("no address for RDP"), "{bare:?}");
    bastion.doorward(&["target", "set", "win1", "--domain", "EXAMPLE", "--allow-tls-only"]).ok();
    let row = &bastion.rows(&["target", "list"])[0];
    assert_eq!((&row["desktop"]["domain"], &row["desktop"]["allow_tls_only"]), (&"EXAMPLE".into(), &true.into()));
    assert_eq!(row["desktop"]["pin"]["fingerprints"][0], FINGERPRINT);
}

#[test]
fn an_inventory_names_how_a_target_is_reached_over_rdp() {
    let bastion = Bastion::init();
    let file = bastion.scratch().join("inventory.toml");
    let text = format!("[targets.win2.rdp]\naddress = \"10.0.0.9\"\ncertificate = [\"sha256:{FINGERPRINT}\"]\n");
    std::fs::write(&file, text).unwrap();
    bastion.doorward(&["apply", file.to_str().unwrap(), "--yes"]).ok();
    let row = &bastion.rows(&["target", "list"])[0];
    assert_eq!((&row["name"], &row["desktop"]["address"]), (&"win2".into(), &"10.0.0.9:3389".into()));
}

#[test]
fn the_program_asks_for_a_ticket_with_ones_own_ssh_and_writes_its_file() {
    let bastion = furnished();
    let ssh = ssh_of(&bastion, &alice(&bastion));
    let (from, folder) = (format!("ssh://{ALICE}@127.0.0.1:{}", bastion.port), bastion.scratch());
    let path = folder.join("win1.rdp");
    let ask = |place: &str| {
        let arguments = ["rdp", place, "--from", &from, "--file", path.to_str().unwrap()];
        elsewhere(&ssh, &arguments)
    };
    let told = ask("administrator@win1");
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err().contains("refused"), "{told:?}");
    assert!(!path.exists(), "nothing is left of what was refused");
    bastion.grant(ALICE, "administrator@win1", "1h", "CHG-1");
    let told = ask("administrator@win1").ok().out();
    let file = std::fs::read_to_string(&path).unwrap();
    let field = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(file.contains(&format!("username:s:{}\r\n", field("User:"))), "{told}\n{file}");
    assert!(!file.contains(&field("Password:")));
    let again = ask("administrator@win1");
    assert!(again.code == Some(1) && again.err().contains("cannot write"), "what is there stays: {again:?}");
}
