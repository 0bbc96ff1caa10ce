use ssh_key::private::Ed25519Keypair;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::*;
use crate::policy::PolicySet;

#[test]
fn a_set_that_enough_people_have_signed_counts() {
    let set = Set::new();
    let (by, serial) = set.check(2, &[set.signature("bob"), set.signature("carol")]).unwrap();
    assert_eq!((names(&by).as_str(), serial), ("bob carol", 7));
}

#[test]
fn two_signatures_of_one_person_are_one() {
    let set = Set::new();
    let faults = set.check(2, &[set.signature("bob"), set.signature("bob")]).unwrap_err();
    assert!(told(&faults).contains("2 signers must have signed it, and bob has"), "{faults:?}");
}

#[test]
fn two_keys_of_one_person_are_one() {
    let mut set = Set::new();
    set.signers.push_str(&format!("bob {}\n", key("dave").public_key().to_openssh().unwrap()));
    let faults = set.check(2, &[set.signature("bob"), set.signature("dave")]).unwrap_err();
    assert!(told(&faults).contains("and bob has"), "{faults:?}");
}

#[test]
fn t14_a_file_that_differs_from_what_was_signed_is_told() {
    let mut set = Set::new();
    let signatures = [set.signature("bob")];
    set.files[0].text.push_str("# more\n");
    assert!(told(&set.check(1, &signatures).unwrap_err()).contains("a.toml: has changed since"));
    let mut set = Set::new();
    set.files.push(file("policies/access/z.toml", "schema = 1\n"));
    assert!(told(&set.check(1, &signatures).unwrap_err()).contains("z.toml: is not in the manifest"));
    let mut set = Set::new();
    drop(set.files.remove(0));
    assert!(
        told(&set.check(1, &signatures).unwrap_err()).contains("access/a.toml: is in the manifest, and missing here")
    );
}

#[test]
fn t14_what_is_no_signers_signature_of_this_manifest_does_not_count() {
    let set = Set::new();
    let other = Manifest::of(&set.files, 8).to_string();
    let sign = |text: &str, namespace: &str, who: &str| signature(text, namespace, who);
    for (signature, why) in [
        (sign(&set.manifest, NAMESPACE, "eve"), "is by a key that is not a signer's"),
        (sign(&other, NAMESPACE, "bob"), "is not of this manifest"),
        (sign(&set.manifest, "git", "bob"), "is not for `doorward-policy`"),
        (SignatureFile { path: "x.sig".into(), bytes: b"no".to_vec() }, "is not a signature"),
    ] {
        let faults = set.check(1, &[signature]).unwrap_err();
        assert!(told(&faults).contains(why), "{why}: {faults:?}");
        assert!(told(&faults).contains("one signer must have signed it, and nobody has"), "{faults:?}");
    }
    assert!(set.check(1, &[]).is_err());
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let set = Set::new();
    let read = Manifest::parse("m", &set.manifest).unwrap();
    assert_eq!(read, Manifest::of(&set.files, 7));
    assert_eq!(read.to_string(), set.manifest);
    let hash = "0".repeat(64);
    for bad in [
        "",
        "# doorward policy, serial x\n",
        "# doorward policy, serial -1\n",
        &format!("# doorward policy, serial 1\n{hash} one-blank\n"),
        &format!("# doorward policy, serial 1\n{hash}  \n"),
        &format!("# doorward policy, serial 1\n{}  a\n", &hash[1..]),
        &format!("# doorward policy, serial 1\n{hash}  a\n{hash}  a\n"),
    ] {
        assert!(Manifest::parse("m", bad).is_err(), "{bad:?} was read");
    }
}

#[test]
fn every_bad_line_of_the_signers_is_told() {
    let good = key("bob").public_key().to_openssh().unwrap();
    let text = format!("bob {good}\n\n# words\nBOB {good}\ncarol\ndave namespaces=\"x\" {good}\ncarol {good}\n");
    let lines: Vec<_> = Signers::parse("s", &text).unwrap_err().into_iter().filter_map(|fault| fault.line).collect();
    assert_eq!(lines, [4, 5, 6, 7]);
    assert!(Signers::parse("s", "# nobody\n").is_err());
}

#[test]
fn who_is_named_in_a_rule_cannot_sign_it_alone() {
    let rules = "schema = 1\n[[rule]]\nid = \"dba\"\nwho = { users = [\"bob2\"], groups = [\"dba\"] }\nwhere = { targets = \
                 [\"*\"] }\naccounts = [\"root\"]\nchannels = [\"shell\"]\n[[rule]]\nid = \"all\"\nwho = { users = [\"*\"] \
                 }\nwhere = { targets = [\"*\"] }\naccounts = [\"root\"]\nchannels = [\"shell\"]\n";
    let set = PolicySet::parse(&[file("policies/access/a.toml", rules)]).unwrap();
    let human = |user: &UserName| if user.as_str() == "bob2" { user_named("bob") } else { user.clone() };
    let groups = |user: &UserName| {
        let of = if user.as_str() == "carol" { vec![GroupName::parse("dba").unwrap()] } else { Vec::new() };
        of.into_iter().collect()
    };
    let own = |by: &[&str]| {
        let by = by.iter().map(|user| user_named(user)).collect();
        signed_by_own(set.rules(), &by, human, groups).len()
    };
    assert_eq!(own(&["bob"]), 1, "a user is named by another name of theirs");
    assert_eq!(own(&["carol"]), 1, "a user is named by a group");
    assert_eq!(own(&["bob", "carol"]), 1, "two who are both named are no more than one");
    assert_eq!(own(&["bob", "dave"]), 0);
}

struct Set {
    files: Vec<PolicyFile>,
    manifest: String,
    signers: String,
}

impl Set {
    fn new() -> Self {
        let files =
            vec![file("policies/access/a.toml", "schema = 1\n"), file("policies/commands/b.toml", "schema = 1\n")];
        let line = |who| format!("{who} {}\n", key(who).public_key().to_openssh().unwrap());
        Self { manifest: Manifest::of(&files, 7).to_string(), files, signers: ["bob", "carol"].map(line).concat() }
    }

    fn signature(&self, who: &str) -> SignatureFile {
        signature(&self.manifest, NAMESPACE, who)
    }

    fn check(&self, needed: usize, signatures: &[SignatureFile]) -> Result<(BTreeSet<UserName>, u64), Vec<Fault>> {
        let signers = Signers::parse("signers", &self.signers).unwrap();
        Signing { signers, needed }.check(&self.files, ("policies/manifest", &self.manifest), signatures)
    }
}

fn signature(text: &str, namespace: &str, who: &str) -> SignatureFile {
    let signature = key(who).sign(namespace, HashAlg::Sha512, text.as_bytes()).unwrap();
    let bytes = signature.to_pem(LineEnding::LF).unwrap().into_bytes();
    SignatureFile { path: format!("policies/manifest.{who}.sig"), bytes }
}

fn key(who: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(who.bytes()).for_each(|(to, from)| *to = from);
    Ed25519Keypair::from_seed(&seed).into()
}

fn file(path: &str, text: &str) -> PolicyFile {
    PolicyFile { path: path.to_owned(), text: text.to_owned() }
}

fn user_named(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn names(users: &BTreeSet<UserName>) -> String {
    users.iter().map(UserName::as_str).collect::<Vec<_>>().join(" ")
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}
