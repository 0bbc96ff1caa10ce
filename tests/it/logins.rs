//! Ways to log in: security keys, certificates, from where, and what ends with them. Threats T1 and T2; failure
//! classes 1 and 2.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use russh::keys::load_secret_key;
use russh::keys::ssh_key::Certificate;

use crate::fixture::authenticator::Authenticator;
use crate::fixture::bastion::{ALICE, DB1, GRANTED, OPEN};
use crate::fixture::own::{Own, block_on};
use crate::fixture::process::run;
use crate::fixture::security_key::{PIN, SecurityKey, TOUCH};
use crate::fixture::{Bastion, LIMIT, Route, Seen, Sshd, key, until};
use crate::require;

/// Asserts that nobody was let in, and that the log says why.
#[track_caller]
fn kept_out(bastion: &Bastion, route: &Route, why: &str) {
    let seen = route.run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(255)), "{why}: {seen:?}");
    assert!(seen.err().contains("Permission denied"), "{why}: {seen:?}");
    until(LIMIT, &format!("{why:?} on record"), || {
        let log = bastion.audit();
        log.lines().any(|line| line.contains("\"auth.failed\"") && line.contains(why)).then_some(())
    });
    assert!(bastion.lives());
}

#[track_caller]
fn let_in(route: &Route) {
    let seen = route.run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("ran\n", Some(0)), "{seen:?}");
}

/// The way in with a security key.
fn with(bastion: &Bastion, sshd: &Sshd, key: &SecurityKey) -> Route {
    let agent = format!("IdentityAgent={}", key.socket.display());
    bastion.to(sshd).key(&key.public).with(&agent)
}

fn add_key(bastion: &Bastion, user: &str, line: &str) -> Seen {
    bastion.doorward_with(&["user", "key", "add", user, "-"], line.as_bytes())
}

#[test]
fn a_security_key_counts_only_if_it_signed_that_it_was_touched() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let folder = bastion.scratch();
    for key in [SecurityKey::ed25519(folder, "one"), SecurityKey::ecdsa(folder, "two")] {
        bastion.doorward(&["user", "key", "add", ALICE, key.public.to_str().unwrap()]).ok();
        let route = with(&bastion, &sshd, &key);
        for flags in [TOUCH, TOUCH | PIN] {
            key.user_does(flags);
            let_in(&route);
        }
        for flags in [0, PIN] {
            key.user_does(flags);
            kept_out(&bastion, &route, "was not touched");
        }
        // The flags are under the signature: whoever changes them has none.
        key.forges(0, TOUCH);
        let seen = route.run("echo ran");
        assert_eq!((seen.out().as_str(), seen.code), ("", Some(255)), "{seen:?}");
        key.forges(TOUCH, TOUCH | PIN);
        assert_eq!(route.run("echo ran").code, Some(255));
    }
}

#[test]
fn a_security_key_is_added_with_its_options_or_not_at_all() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let key = SecurityKey::ed25519(bastion.scratch(), "one");
    let line = std::fs::read_to_string(&key.public).unwrap();
    let fingerprint = |row: &serde_json::Value| row["keys"][1]["fingerprint"].as_str().unwrap().to_owned();
    add_key(&bastion, ALICE, &format!("no-touch-required {line}")).ok();
    let route = with(&bastion, &sshd, &key);
    key.user_does(0);
    let_in(&route);
    let added = fingerprint(&bastion.rows(&["user", "list"])[0]);
    bastion.doorward(&["user", "key", "remove", ALICE, &added]).ok();
    add_key(&bastion, ALICE, &format!("verify-required {line}")).ok();
    key.user_does(TOUCH);
    kept_out(&bastion, &route, "was not given its PIN");
    key.user_does(TOUCH | PIN);
    let_in(&route);
    // It stands on record which of them was added how.
    assert!(bastion.audit().contains("no-touch-required"), "{}", bastion.audit());
    let plain = std::fs::read_to_string(bastion.key.with_extension("pub")).unwrap();
    for (options, says) in
        [("from=\"10.0.0.0/8\"", "not an SSH public key"), ("no-touch-required", "are for security keys")]
    {
        let refused = add_key(&bastion, ALICE, &format!("{options} {plain}"));
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err().contains(says), "{refused:?}");
    }
}

#[test]
fn a_rule_can_demand_touch_and_pin() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    let key = SecurityKey::ed25519(bastion.scratch(), "one");
    let line = std::fs::read_to_string(&key.public).unwrap();
    add_key(&bastion, ALICE, &format!("no-touch-required {line}")).ok();
    bastion.policy(&format!("{GRANTED}key = {{ touch = true, pin = true }}\n"));
    bastion.serve();
    let (plain, route) = (bastion.to(&sshd), with(&bastion, &sshd, &key));
    let told = |route: &Route| {
        let seen = route.run("echo ran");
        assert_eq!((seen.out().as_str(), seen.code), ("", Some(126)), "{seen:?}");
        seen.err()
    };
    // Who would not be let in anyway is not told what is missing at the login.
    assert!(told(&plain).contains("ssh USER@BASTION request"), "{}", told(&plain));
    bastion.grant(ALICE, &format!("{}@{DB1}", sshd.account), "1h", "CHG-1");
    assert!(told(&plain).contains("security key and its PIN"), "{}", told(&plain));
    for flags in [0, TOUCH, PIN] {
        key.user_does(flags);
        assert!(told(&route).contains("security key and its PIN"), "{flags}");
    }
    key.user_does(TOUCH | PIN);
    let_in(&route);
    let log = bastion.audit();
    assert!(log.contains("needs a login with a security key: touch and PIN"), "{log}");
    // A rule that comes to demand more ends what is open with less.
    bastion.policy(&format!("{OPEN}key = {{ touch = true }}\n"));
    bastion.doorward(&["policy", "reload"]).ok();
    assert!(told(&plain).contains("security key that you touch"), "{}", told(&plain));
    key.user_does(TOUCH);
    let (live, _stdout) = route.start_ready(&[], "sleep 600");
    bastion.policy(&format!("{OPEN}key = {{ pin = true }}\n"));
    bastion.doorward(&["policy", "reload"]).ok();
    assert_eq!(live.wait(LIMIT).code, Some(255));
}

#[test]
fn short_rsa_keys_and_sha1_are_refused() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let rsa = |name: &str, bits: &str| {
        let file = bastion.scratch().join(name);
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "rsa", "-b", bits, "-N", "", "-f"]).arg(&file);
        run(make, b"", LIMIT).ok();
        file
    };
    let refused = bastion.add_key(ALICE, &rsa("short", "1024"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.err().contains("1024 bits, and 2048 is the least"), "{refused:?}");
    let good = rsa("good", "2048");
    bastion.add_key(ALICE, &good).ok();
    let route = bastion.to(&sshd).key(&good);
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let_in(&route.with(&format!("PubkeyAcceptedAlgorithms={algorithm}")));
    }
    let seen = route.with("PubkeyAcceptedAlgorithms=ssh-rsa").run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(255)), "{seen:?}");
}

/// An authority, and what it signs: `ssh-keygen -s`.
struct Authority {
    key: PathBuf,
    folder: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        Self { key: key(folder, name, "ed25519", ""), folder: folder.to_owned() }
    }

    fn public(&self) -> String {
        std::fs::read_to_string(self.key.with_extension("pub")).unwrap()
    }

    /// A fresh key with a certificate; `arguments` go to `ssh-keygen`.
    fn certify(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let file = key(&self.folder, name, "ed25519", "");
        self.sign(&file, name, arguments);
        file
    }

    fn sign(&self, file: &Path, id: &str, arguments: &[&str]) {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-s"]).arg(&self.key).args(["-I", id]).args(arguments).arg(file.with_extension("pub"));
        run(sign, b"", LIMIT).ok();
    }
}

/// Alice's way in with a certificate beside this key.
fn certified(bastion: &Bastion, sshd: &Sshd, file: &Path) -> Route {
    let certificate = format!("CertificateFile={}-cert.pub", file.display());
    bastion.to(sshd).key(file).with(&certificate)
}

/// A bastion that trusts an authority, serving.
fn trusting(sshd: &Sshd) -> (Bastion, Authority) {
    let mut bastion = Bastion::furnished(sshd);
    let authority = Authority::new(bastion.scratch(), "ca");
    std::fs::write(bastion.home().join("cas"), authority.public()).unwrap();
    std::fs::write(bastion.home().join("revoked"), "").unwrap();
    bastion.configure("login", "user_cas = \"cas\"\nrevoked_keys = \"revoked\"");
    bastion.serve();
    (bastion, authority)
}

#[test]
fn a_certificate_logs_in_the_user_whom_it_names() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, authority) = trusting(&sshd);
    let route = |file: &Path| certified(&bastion, &sshd, file);
    let account = &sshd.account;
    let file = key(bastion.scratch(), "laptop", "ed25519", "");
    authority.sign(&file, "laptop of alice", &["-n", ALICE, "-z", "42", "-V", "-1m:+1h"]);
    let_in(&route(&file));
    let_in(&route(&file).login(&format!("{ALICE}+{account}@{DB1}")));
    let local = authority.certify("local", &["-n", "alice,bob", "-O", "source-address=127.0.0.0/8,10.1.2.3"]);
    let_in(&route(&local).login(&format!("{ALICE}+{account}@{DB1}")));
    // Which certificate it was stands in the log and with the session.
    let (_live, _stdout) = route(&file).start_ready(&[], "sleep 600");
    let shown = bastion.rows(&["session", "list"])[0]["key_fingerprint"].as_str().unwrap().to_owned();
    assert!(shown.contains(", certificate serial 42 of CA SHA256:"), "{shown}");
    assert!(bastion.audit().lines().any(|line| line.contains("\"session.start\"") && line.contains("serial 42 of CA")));
    // Suspended is suspended, whatever one holds.
    bastion.doorward(&["user", "suspend", ALICE]).ok();
    let seen = route(&file).run("echo ran");
    assert_eq!((seen.out().as_str(), seen.code), ("", Some(126)), "{seen:?}");
    assert!(seen.err().contains("suspended"), "{seen:?}");
}

#[test]
fn certificates_that_must_not_count_are_refused_with_a_reason() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, authority) = trusting(&sshd);
    let (mut other, mut other_out) = bastion.to(&sshd).start_ready(&[], "cat");
    let stranger = Authority::new(bastion.scratch(), "stranger");
    let mut number = 0;
    let mut refuse = |authority: &Authority, arguments: &[&str], login: &str, why: &str| {
        number += 1;
        let file = authority.certify(&format!("c{number}"), arguments);
        let login = format!("{login}{}@{DB1}", sshd.account);
        let why = format!("\\\"c{number}\\\": {why}");
        kept_out(&bastion, &certified(&bastion, &sshd, &file).login(&login), &why);
    };
    let alice = ["-n", ALICE];
    refuse(&authority, &["-n", ALICE, "-V", "20200101:20200201"], "", "it expired at 2020-0");
    refuse(&authority, &["-n", ALICE, "-V", "+1h:+2h"], "", "it is valid from ");
    refuse(&authority, &["-n", "bob"], "alice+", "it is not for user `alice`");
    refuse(&authority, &["-n", "bob"], "", "there is no user `bob`");
    refuse(&authority, &["-n", "alice,bob"], "", "it is for several users");
    refuse(&authority, &[], "alice+", "it names no principal");
    refuse(&stranger, &alice, "", "its authority SHA256:");
    refuse(&authority, &["-n", ALICE, "-O", "force-command=id"], "", "its critical option `force-command`");
    refuse(&authority, &["-n", ALICE, "-O", "critical:x@example.com=1"], "", "its critical option `x@example.com`");
    refuse(&authority, &["-n", ALICE, "-O", "source-address=10.0.0.0/8"], "", "it counts from 10.0.0.0/8 only");
    // A host's certificate, which `ssh` does not even offer.
    let host = authority.certify("host", &["-h", "-n", ALICE]);
    block_on(async {
        let mut own = Own::connect_without_login(bastion.port).await.unwrap();
        let certificate = Certificate::read_file(&PathBuf::from(format!("{}-cert.pub", host.display()))).unwrap();
        let key = Arc::new(load_secret_key(&host, None).unwrap());
        let login = format!("{ALICE}+{}@{DB1}", sshd.account);
        let answer = own.handle.authenticate_openssh_cert(login, key, certificate).await;
        assert!(!answer.unwrap().success());
    });
    until(LIMIT, "the reason on record", || bastion.audit().contains("it is a host's certificate").then_some(()));
    // A key that is Bob's proves Bob, whomever the authority names.
    let bobs = key(bastion.scratch(), "bobs", "ed25519", "");
    bastion.add_user("bob", "dba", &bobs);
    authority.sign(&bobs, "bobs", &alice);
    let route = certified(&bastion, &sshd, &bobs).login(&format!("{ALICE}+{}@{DB1}", sshd.account));
    kept_out(&bastion, &route, "its key belongs to user `bob`");
    // Nobody else noticed anything.
    let mut input = other.stdin();
    std::io::Write::write_all(&mut input, b"still here\n").unwrap();
    assert_eq!(crate::fixture::route::line(&mut other_out), "still here\n");
}

/// Writes aside and renames, as a list must be: a reader sees the old or the new.
fn replace(file: &Path, bytes: &[u8]) {
    let aside = file.with_extension("new");
    std::fs::write(&aside, bytes).unwrap();
    std::fs::rename(aside, file).unwrap();
}

/// A key revocation list of these lines (`ssh-keygen -k`).
fn krl(folder: &Path, authority: &Authority, lines: &str) -> Vec<u8> {
    let (spec, list) = (folder.join("spec"), folder.join("krl"));
    std::fs::write(&spec, lines).unwrap();
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-k", "-f"]).arg(&list).arg("-s").arg(authority.key.with_extension("pub")).arg(&spec);
    run(make, b"", LIMIT).ok();
    std::fs::read(list).unwrap()
}

#[test]
fn what_is_revoked_logs_nobody_in_and_ends_live_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, authority) = trusting(&sshd);
    let folder = bastion.scratch().to_owned();
    let list = bastion.home().join("revoked");
    let file = authority.certify("lost", &["-n", ALICE, "-z", "42"]);
    let other = authority.certify("kept", &["-n", ALICE, "-z", "1042"]);
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    let (route, others) = (certified(&bastion, &sshd, &file), certified(&bastion, &sshd, &other));
    let serials: String = (40..60).map(|serial| format!("serial: {serial}\n")).collect();
    let (_kept, mut kept_out_of) = others.start_ready(&[], "cat");
    for (lines, why) in [
        ("serial: 42\n", "revoked by its serial 42"),
        ("serial: 7-99\n", "revoked by its serial 42"),
        // `ssh-keygen` writes many in a row as a bitmap or a range.
        (&format!("{serials}serial: 70\nserial: 75\n"), "revoked by its serial 42"),
        ("id: lost\n", "revoked by its key id"),
        (&format!("key: {public}"), "is revoked"),
        (&format!("sha1: {public}"), "is revoked"),
        (&format!("sha256: {public}"), "is revoked"),
    ] {
        replace(&list, b"");
        until(LIMIT, "a login again", || (route.run("echo ran").code == Some(0)).then_some(()));
        let (live, _stdout) = route.start_ready(&[], "sleep 600");
        let revoked = std::time::Instant::now();
        replace(&list, &krl(&folder, &authority, lines));
        assert_eq!(live.wait(LIMIT).code, Some(255), "{lines}");
        assert!(revoked.elapsed() < std::time::Duration::from_secs(5), "{lines}: {:?}", revoked.elapsed());
        kept_out(&bastion, &route, why);
        let_in(&others);
    }
    // The authority itself, in a plain list.
    replace(&list, authority.public().as_bytes());
    assert_eq!(crate::fixture::route::line(&mut kept_out_of), "");
    kept_out(&bastion, &others, "is revoked");
    // A plain key of a user too.
    let_in(&bastion.to(&sshd));
    replace(&list, &std::fs::read(bastion.key.with_extension("pub")).unwrap());
    until(LIMIT, "the key refused", || (bastion.to(&sshd).run("true").code == Some(255)).then_some(()));
}

#[test]
fn an_authority_that_is_no_longer_trusted_ends_its_sessions() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, authority) = trusting(&sshd);
    let file = authority.certify("one", &["-n", ALICE]);
    let route = certified(&bastion, &sshd, &file);
    let (live, _stdout) = route.start_ready(&[], "sleep 600");
    let next = Authority::new(bastion.scratch(), "next");
    replace(&bastion.home().join("cas"), next.public().as_bytes());
    assert_eq!(live.wait(LIMIT).code, Some(255));
    kept_out(&bastion, &route, "is not trusted");
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in_whom_it_judges() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (mut bastion, authority) = trusting(&sshd);
    let file = authority.certify("one", &["-n", ALICE]);
    let (route, plain) = (certified(&bastion, &sshd, &file), bastion.to(&sshd));
    let list = bastion.home().join("revoked");
    let good = krl(bastion.scratch(), &authority, "serial: 7\n");
    let (mut live, _stdout) = plain.start_ready(&[], "sleep 600");
    for broken in [&good[..good.len() - 1], b"nonsense\n", b"SSHKRL\n\0"] {
        replace(&list, broken);
        until(LIMIT, "the refusal", || (plain.run("true").code == Some(255)).then_some(()));
        kept_out(&bastion, &plain, "[login] revoked_keys:");
        kept_out(&bastion, &route, "[login] revoked_keys:");
        replace(&list, &good);
        until(LIMIT, "a login again", || (plain.run("true").code == Some(0)).then_some(()));
        let_in(&route);
    }
    std::fs::remove_file(&list).unwrap();
    until(LIMIT, "the refusal", || (plain.run("true").code == Some(255)).then_some(()));
    // Operators see it before and after.
    let checked = bastion.doorward(&["check"]);
    assert!(checked.code == Some(2) && checked.err().contains("revoked_keys"), "{checked:?}");
    replace(&list, &good);
    replace(&bastion.home().join("cas"), b"# none\n");
    until(LIMIT, "the refusal", || (route.run("true").code == Some(255)).then_some(()));
    let_in(&plain);
    assert!(!live.ended(), "a list that could not be read ended a session");
    let said = bastion.stop();
    assert!(said.text().contains("Nobody whom this list must judge can log in"), "{said:?}");
}

#[test]
fn t1_a_user_logs_in_only_from_their_networks() {
    require!("sshd", "ssh");
    let sshd = Sshd::start();
    let (bastion, authority) = trusting(&sshd);
    let file = authority.certify("one", &["-n", ALICE]);
    let (plain, certificate) = (bastion.to(&sshd), certified(&bastion, &sshd, &file));
    let (live, _stdout) = plain.start_ready(&[], "sleep 600");
    let master = bastion.login(ALICE).master(bastion.scratch());
    bastion.doorward(&["user", "set", ALICE, "--from", "10.0.0.0/8", "--from", "192.0.2.7"]).ok();
    assert_eq!(live.wait(LIMIT).code, Some(255), "a session from elsewhere went on");
    for route in [&plain, &certificate] {
        kept_out(&bastion, route, "user `alice` may not log in from 127.0.0.1");
    }
    // Nor by a jump over a connection that is still there: what counts is where that comes from.
    let jumped = run(master.route.ssh(&["-W", &format!("{DB1}:22")], ""), b"", LIMIT);
    assert_eq!((jumped.code, jumped.out().as_str()), (Some(255), ""), "{jumped:?}");
    let listed = bastion.doorward(&["user", "list"]).ok().out();
    assert!(listed.contains("10.0.0.0/8, 192.0.2.7/32"), "{listed}");
    let log = bastion.audit();
    assert!(log.lines().any(|line| line.contains("\"user set\"") && line.contains("from: 10.0.0.0/8")), "{log}");
    bastion.doorward(&["user", "set", ALICE, "--from", "127.0.0.0/8"]).ok();
    let_in(&plain);
    let_in(&certificate);
    bastion.doorward(&["user", "set", ALICE, "--from", "10.0.0.0/8"]).ok();
    bastion.doorward(&["user", "set", ALICE, "--from-anywhere"]).ok();
    let_in(&plain);
    let wrong = bastion.doorward(&["user", "set", ALICE, "--from", "10.0.0.1/8"]);
    assert!(wrong.code == Some(2) && wrong.err().contains("did you mean 10.0.0.0/8?"), "{wrong:?}");
}

/// Somebody at a keyboard: what they answer to each prompt of `ssh`.
struct Typist {
    folder: PathBuf,
    phone: Authenticator,
}

const PASSWORD: &str = "correct horse battery";

impl Typist {
    /// Gives Alice a password and one-time codes, and is her.
    fn enrol(bastion: &Bastion) -> Self {
        bastion.doorward_with(&["user", "password", ALICE, "--stdin"], PASSWORD.as_bytes()).ok();
        let phone = Authenticator::enrol(bastion, ALICE);
        let folder = bastion.scratch().join(format!("typist-{}", crate::fixture::nonce()));
        std::fs::create_dir(&folder).unwrap();
        // `ssh` asks this for each answer, with the prompt as its argument.
        let script = format!(
            "#!/bin/sh\necho \"$1\" >> {0}/asked\ncase $1 in *Password:*) cat {0}/password;; *code:*) cat {0}/code;; esac\n",
            folder.display()
        );
        let askpass = folder.join("askpass");
        std::fs::write(&askpass, script).unwrap();
        std::fs::set_permissions(&askpass, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { folder, phone }
    }

    /// The code of this time, or of some steps later.
    fn code(&self, steps: i64) -> String {
        self.phone.code(steps)
    }

    fn ssh(&self, bastion: &Bastion, login: &str, password: &str, code: &str) -> Command {
        std::fs::write(self.folder.join("password"), password).unwrap();
        std::fs::write(self.folder.join("code"), code).unwrap();
        let _ = std::fs::remove_file(self.folder.join("asked"));
        let route = bastion.login(login).with("BatchMode=no").with("NumberOfPasswordPrompts=1");
        let route = route.with("PreferredAuthentications=keyboard-interactive");
        let mut ssh = route.ssh(&[], "echo ran; cat");
        ssh.env("SSH_ASKPASS", self.folder.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", "x");
        ssh
    }

    fn types(&self, bastion: &Bastion, login: &str, password: &str, code: &str) -> Seen {
        run(self.ssh(bastion, login, password, code), b"", LIMIT)
    }

    /// The prompts of the last login.
    fn asked(&self) -> String {
        std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default()
    }
}

#[test]
fn t2_a_password_with_a_code_logs_in_once() {
    require!("sshd", "ssh", "python3");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("login", "passwords = true\npassword_failures = 3");
    bastion.serve();
    let typist = Typist::enrol(&bastion);
    let login = format!("{ALICE}+{}@{DB1}", sshd.account);
    let code = typist.code(0);
    let seen = typist.types(&bastion, &login, PASSWORD, &code);
    assert_eq!((seen.out().as_str(), seen.code), ("ran\n", Some(0)), "{seen:?}");
    let asked = typist.asked();
    assert!(asked.contains("Password: ") && asked.contains("One-time code: "), "{asked:?}");
    // Whatever is wrong, the answer is the same, and so is what was asked.
    let refused = |login: &str, password: &str, code: &str| {
        let seen = typist.types(&bastion, login, password, code);
        assert_eq!((seen.out().as_str(), seen.code), ("", Some(255)), "{login} {code}: {seen:?}");
        assert_eq!(typist.asked().replace(login, &format!("{ALICE}+{}@{DB1}", sshd.account)), asked);
        seen.err().replace(login, "")
    };
    let replayed = refused(&login, PASSWORD, &code);
    assert_eq!(refused(&login, "wrong horse battery", &typist.code(1)), replayed);
    assert_eq!(refused(&format!("nobody+{}@{DB1}", sshd.account), PASSWORD, &typist.code(1)), replayed);
    assert_eq!(refused(&format!("{}@{DB1}", sshd.account), PASSWORD, &typist.code(1)), replayed);
    until(LIMIT, "the reasons on record", || {
        let log = bastion.audit();
        let told = |why: &str| log.lines().any(|line| line.contains("\"auth.failed\"") && line.contains(why));
        (told("user `alice` by password: a one-time code that was used before")
            && told("user `alice` by password: wrong password")
            && told("nobody by password"))
        .then_some(())
    });
    // A third failure locks the password out; the key goes on.
    assert_eq!(refused(&login, PASSWORD, "000000"), replayed);
    assert_eq!(refused(&login, PASSWORD, &typist.code(1)), replayed);
    until(LIMIT, "the lock-out on record", || bastion.audit().contains("locked out until").then_some(()));
    let_in(&bastion.to(&sshd));
    assert!(!bastion.audit().contains(PASSWORD));
    let said = bastion.stop();
    assert!(!said.text().contains(PASSWORD) && !said.text().contains(&typist.phone.secret), "{said:?}");
}

#[test]
fn a_password_login_is_known_as_one_and_ends_with_the_password() {
    require!("sshd", "ssh", "python3");
    let sshd = Sshd::start();
    let mut bastion = Bastion::furnished(&sshd);
    bastion.configure("login", "passwords = true");
    bastion.serve();
    let login = format!("{ALICE}+{}@{DB1}", sshd.account);
    for change in [
        &["user", "password", ALICE, "--stdin"][..],
        &["user", "totp", ALICE],
        &["user", "password", ALICE, "--remove"],
        &["user", "set", ALICE, "--from", "10.0.0.0/8"],
    ] {
        bastion.doorward(&["user", "set", ALICE, "--from-anywhere"]).ok();
        let typist = Typist::enrol(&bastion);
        let ssh = typist.ssh(&bastion, &login, PASSWORD, &typist.code(0));
        let mut live = crate::fixture::Running::start(ssh, crate::fixture::process::Stdout::Unread);
        assert_eq!(crate::fixture::route::line(&mut live.stdout()), "ran\n");
        let shown = bastion.rows(&["session", "list"])[0]["key_fingerprint"].as_str().unwrap().to_owned();
        assert_eq!(shown, "password and one-time code");
        bastion.doorward_with(change, b"another horse battery").ok();
        assert_eq!(live.wait_with_open_stdin(LIMIT).code, Some(255), "{change:?}");
    }
    let typist = Typist::enrol(&bastion);
    let seen = typist.types(&bastion, &login, PASSWORD, &typist.code(0));
    assert_eq!(seen.code, Some(255), "a password was taken from elsewhere: {seen:?}");
    // From there nothing was used up.
    bastion.doorward(&["user", "set", ALICE, "--from-anywhere"]).ok();
    assert_eq!(typist.types(&bastion, &login, PASSWORD, &typist.code(0)).code, Some(0));
    // What a rule demands of a security key, a password is not.
    bastion.policy(&format!("{OPEN}key = {{ touch = true }}\n"));
    bastion.doorward(&["policy", "reload"]).ok();
    let seen = typist.types(&bastion, &login, PASSWORD, &typist.code(1));
    assert!(seen.code == Some(126) && seen.err().contains("security key"), "{seen:?}");
    // Whoever is added again under the name does not come into the password.
    bastion.doorward(&["user", "remove", ALICE]).ok();
    bastion.add_user(ALICE, "dba", &bastion.key);
    bastion.policy(OPEN);
    bastion.doorward(&["policy", "reload"]).ok();
    assert_eq!(typist.types(&bastion, &login, PASSWORD, &typist.code(1)).code, Some(255));
}

#[test]
fn passwords_are_off_unless_they_are_switched_on() {
    require!("sshd", "ssh", "python3");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let typist = Typist::enrol(&bastion);
    let seen = typist.types(&bastion, &format!("{ALICE}+{}@{DB1}", sshd.account), PASSWORD, &typist.code(0));
    assert_eq!((seen.code, typist.asked().as_str()), (Some(255), ""), "{seen:?}");
    assert!(seen.err().contains("Permission denied (publickey)."), "{seen:?}");
    let short = bastion.doorward_with(&["user", "password", ALICE, "--stdin"], b"short");
    assert!(short.code == Some(1) && short.err().contains("12 characters"), "{short:?}");
    assert_eq!(bastion.doorward(&["user", "totp", "nobody"]).code, Some(1));
}

#[test]
fn a_client_with_two_keys_logs_in_with_the_second() {
    // paramiko asks for the login service anew before each key (RFC 4253 section 10).
    require!("sshd", "python3-paramiko");
    let sshd = Sshd::start();
    let bastion = Bastion::serving(&sshd);
    let stranger = key(bastion.scratch(), "stranger", "ed25519", "");
    let program = "import paramiko, sys\nclient = paramiko.SSHClient()\n\
                   client.set_missing_host_key_policy(paramiko.AutoAddPolicy())\n\
                   client.connect('127.0.0.1', int(sys.argv[1]), sys.argv[2], key_filename=sys.argv[3:],\n\
                   allow_agent=False, look_for_keys=False)\n\
                   print(client.exec_command('echo in')[1].read().decode(), end='')";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", program, &bastion.port.to_string(), &bastion.to(&sshd).login]).args([&stranger, &bastion.key]);
    assert_eq!(run(python, b"", LIMIT).ok().out(), "in\n");
}
