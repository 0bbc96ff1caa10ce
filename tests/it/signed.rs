//! Signed policies: `ssh-keygen -Y sign` by the signers that the configuration names, or nothing takes effect.

use std::path::PathBuf;
use std::process::Command;

use crate::fixture::bastion::OPEN;
use crate::fixture::{Bastion, LIMIT, Sshd, key};
use crate::require;

/// A bastion that wants so many signatures of `people`, each of whom has a key.
struct Signed {
    bastion: Bastion,
    sshd: Sshd,
}

impl Signed {
    fn wanting(needed: usize, people: &[&str]) -> Self {
        let sshd = Sshd::start();
        let bastion = Bastion::furnished(&sshd);
        let signers: String = people.iter().map(|who| line(&bastion, who)).collect();
        std::fs::write(bastion.home().join("policy_signers"), signers).unwrap();
        let text = std::fs::read_to_string(bastion.config()).unwrap();
        let settings = format!("policy_signers = \"policy_signers\"\npolicy_signatures = {needed}\npolicies =");
        std::fs::write(bastion.config(), text.replacen("policies =", &settings, 1)).unwrap();
        Self { bastion, sshd }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bastion.home().join("policies").join(name)
    }

    #[track_caller]
    fn manifest(&self, more: &[&str]) -> String {
        let arguments: Vec<&str> = ["policy", "manifest"].iter().chain(more).copied().collect();
        self.bastion.doorward(&arguments).ok().err()
    }

    /// Has `who` sign the manifest by the stock program.
    #[track_caller]
    fn sign(&self, who: &str) {
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", "doorward-policy", "-f"]).arg(private(&self.bastion, who));
        sign.arg(self.file("manifest"));
        let _ = std::fs::remove_file(self.file("manifest.sig"));
        crate::fixture::process::run(sign, b"", LIMIT).ok();
        std::fs::rename(self.file("manifest.sig"), self.file(&format!("manifest.{who}.sig"))).unwrap();
    }

    fn change(&self) {
        let file = self.file("access/test.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text + "# another word\n").unwrap();
    }

    /// Whether the policies load, and what is said.
    fn reload(&self) -> (bool, String) {
        let told = self.bastion.doorward(&["policy", "reload"]);
        (told.code == Some(0), format!("{}{}", told.out(), told.err()))
    }

    #[track_caller]
    fn refuses(&self, why: &str) {
        let (loaded, told) = self.reload();
        assert!(!loaded && told.contains(why), "{why}: {told}");
    }
}

fn private(bastion: &Bastion, who: &str) -> PathBuf {
    let path = bastion.scratch().join(format!("signer-{who}"));
    if !path.exists() { key(bastion.scratch(), &format!("signer-{who}"), "ed25519", "") } else { path }
}

fn line(bastion: &Bastion, who: &str) -> String {
    let public = std::fs::read_to_string(private(bastion, who).with_extension("pub")).unwrap();
    format!("{who} {public}")
}

#[test]
fn t14_policies_that_too_few_have_signed_never_take_effect() {
    require!("ssh", "sshd", "ssh-keygen");
    let mut signed = Signed::wanting(2, &["bob", "carol"]);
    // Not even at a start.
    let told = signed.bastion.start_server().wait(LIMIT);
    assert!(told.code != Some(0) && told.text().contains("policy manifest"), "{told:?}");
    assert!(signed.manifest(&[]).contains("edition 1"));
    signed.sign("bob");
    let told = signed.bastion.start_server().wait(LIMIT);
    assert!(told.code != Some(0) && told.text().contains("2 signers must have signed it, and bob has"), "{told:?}");
    signed.sign("carol");
    signed.bastion.serve();
    assert_eq!(signed.bastion.to(&signed.sshd).run("echo in").ok().out(), "in\n");
    // A file that is changed behind the signers' backs: what was in force stays.
    signed.change();
    signed.refuses("has changed since the manifest was made");
    assert_eq!(signed.bastion.to(&signed.sshd).run("echo in").ok().out(), "in\n");
    let told = signed.bastion.doorward(&["check"]);
    assert!(told.code == Some(2) && told.err().contains("has changed since"), "{told:?}");
    // The next edition, once both have signed it.
    assert!(signed.manifest(&[]).contains("edition 2"));
    signed.refuses("2 signers must have signed it, and nobody has");
    ["bob", "carol"].iter().for_each(|who| signed.sign(who));
    let (loaded, told) = signed.reload();
    assert!(loaded && told.contains("edition 2, signed by bob, carol"), "{told}");
    let audit = signed.bastion.audit();
    assert!(audit.contains("loaded, edition 2, signed by bob, carol"), "{audit}");
    assert!(audit.contains("the earlier set stays"), "{audit}");
}

#[test]
fn t14_an_edition_that_was_signed_once_cannot_be_put_back() {
    require!("ssh", "sshd", "ssh-keygen");
    let mut signed = Signed::wanting(1, &["bob"]);
    drop(signed.manifest(&[]));
    signed.sign("bob");
    let names = ["access/test.toml", "manifest", "manifest.bob.sig"];
    let old: Vec<Vec<u8>> = names.iter().map(|name| std::fs::read(signed.file(name)).unwrap()).collect();
    signed.bastion.serve();
    signed.change();
    drop(signed.manifest(&[]));
    signed.sign("bob");
    assert!(signed.reload().0);
    names.iter().zip(&old).for_each(|(name, bytes)| std::fs::write(signed.file(name), bytes).unwrap());
    signed.refuses("has serial 1, and 2 was in force already");
    drop(signed.bastion.stop());
    let told = signed.bastion.start_server().wait(LIMIT);
    assert!(told.code != Some(0) && told.text().contains("2 was in force already"), "{told:?}");
    // Another set under a number that was used.
    signed.change();
    signed.change();
    drop(signed.manifest(&["--serial", "2"]));
    signed.sign("bob");
    let told = signed.bastion.start_server().wait(LIMIT);
    assert!(told.text().contains("other policies had it"), "{told:?}");
}

#[test]
fn nobody_signs_a_rule_alone_that_names_them() {
    require!("ssh", "sshd", "ssh-keygen");
    let mut signed = Signed::wanting(1, &["alice", "bob"]);

    signed.bastion.policy(OPEN);
    drop(signed.manifest(&[]));
    signed.sign("alice");
    let told = signed.bastion.start_server().wait(LIMIT);
    assert!(told.text().contains("is signed only by people whom it is for"), "{told:?}");
    signed.sign("bob");
    signed.bastion.serve();
    assert_eq!(signed.bastion.to(&signed.sshd).run("echo in").ok().out(), "in\n");
}

#[test]
fn a_pipe_among_the_policies_is_refused_at_once_and_nothing_hangs() {
    require!("ssh", "sshd", "ssh-keygen");
    let mut signed = Signed::wanting(1, &["bob"]);
    drop(signed.manifest(&[]));
    signed.sign("bob");
    signed.bastion.serve();
    for name in ["access/pipe.toml", "manifest.carol.sig"] {
        rustix::fs::mkfifoat(rustix::fs::CWD, signed.file(name), rustix::fs::Mode::RUSR).unwrap();
        signed.refuses("no regular file");
        std::fs::remove_file(signed.file(name)).unwrap();
        assert!(signed.reload().0);
    }
    drop(signed.bastion.stop());
}
