use std::collections::BTreeSet;

use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{KeyData, SkEd25519};
use ssh_key::{PrivateKey, public};

use super::*;
use crate::db::Db;
use crate::ledger::{User, UserKey};
use crate::policy::PolicySet;
use crate::trust::{List, Trust};

const HOME: [u8; 4] = [192, 0, 2, 7];

#[test]
fn a_key_proves_its_owner_and_nobody_else() {
    let logins = logins();
    let (key, other) = (public(1), public(2));
    let prove = |named: Option<&str>, key| by_key(&logins, named, HOME, key, &plain_signature());
    assert_eq!(prove(None, &key).unwrap().user(), &user_name("alice"));
    assert_eq!(prove(Some("alice"), &key).unwrap().user(), &user_name("alice"));
    assert!(matches!(prove(Some("bob"), &key), Err(AuthnError::NotTheOwner { .. })));
    assert!(matches!(prove(None, &other), Err(AuthnError::UnknownKey { .. })));
    assert!(logins.offered(&claim(None, HOME), Shown::Key(&key), &Algorithm::Ed25519).is_ok());
    assert!(logins.offered(&claim(Some(&user_name("bob")), HOME), Shown::Key(&key), &Algorithm::Ed25519).is_err());
}

#[test]
fn a_suspended_person_is_proven_as_such() {
    let logins = logins();
    change(&logins, |user| user.suspended_at = Some(now()));
    assert!(by_key(&logins, None, HOME, &public(1), &plain_signature()).unwrap().suspended());
}

#[test]
fn every_way_in_asks_where_the_user_comes_from() {
    let logins = logins();
    trust(&logins, &[ca()], b"");
    let login = by_key(&logins, None, HOME, &public(1), &plain_signature()).unwrap();
    change(&logins, |user| user.from = BTreeSet::from(["10.0.0.0/8".parse().unwrap()]));
    let refused = |result: Result<Authenticated, AuthnError>| matches!(result, Err(AuthnError::Source { .. }));
    let (key, certificate) = (public(1), certificate());
    assert!(refused(by_key(&logins, None, HOME, &key, &plain_signature())));
    assert!(refused(by_certificate(&logins, None, HOME, &certificate)));
    let offered = |source, shown| logins.offered(&claim(None, source), shown, &Algorithm::Ed25519);
    assert!(offered(HOME, Shown::Key(&key)).is_err() && offered(HOME, Shown::Certificate(&certificate)).is_err());
    // What is open from there must end (P3).
    assert!(login.stands(&logins.ledger).is_err());
    let inside = [10, 1, 2, 3];
    assert!(by_key(&logins, None, inside, &key, &plain_signature()).is_ok());
    assert!(by_certificate(&logins, None, inside, &certificate).is_ok());
    let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
    let claim = Claim { named: None, source: mapped };
    assert!(logins.prove(&claim, Shown::Key(&key), &plain_signature()).is_ok());
}

#[test]
fn a_security_key_must_have_been_touched_unless_it_was_added_without() {
    let logins = logins();
    let key = security_key(3);
    add_key(&logins, "", &key);
    let prove = |flags| by_key(&logins, None, HOME, &key, &sk_signature(flags));
    assert!(matches!(prove(0), Err(AuthnError::NotTouched { .. })));
    assert!(matches!(prove(0x04), Err(AuthnError::NotTouched { .. })));
    assert_eq!(prove(0x01).unwrap().asker().presence, Presence { touch: true, pin: false });
    assert_eq!(prove(0x05).unwrap().asker().presence, Presence::FULL);
    change(&logins, |user| user.keys.retain(|key| !key.key.starts_with("sk-")));
    add_key(&logins, "no-touch-required ", &key);
    assert_eq!(prove(0).unwrap().asker().presence, Presence::NONE);
    change(&logins, |user| user.keys.retain(|key| !key.key.starts_with("sk-")));
    add_key(&logins, "verify-required ", &key);
    assert!(matches!(prove(0x01), Err(AuthnError::NoPin { .. })));
    assert!(prove(0x05).is_ok());
}

#[test]
fn a_touched_key_is_a_second_factor_at_the_time_of_the_login_and_a_plain_one_is_none() {
    let logins = logins();
    let key = security_key(3);
    add_key(&logins, "no-touch-required ", &key);
    let mfa = |flags| by_key(&logins, None, HOME, &key, &sk_signature(flags)).unwrap().asker().mfa;
    let now = Some(logins.clock.now());
    assert_eq!((mfa(0), mfa(0x01), mfa(0x05)), (None, now, now));
    assert_eq!(by_key(&logins, None, HOME, &public(1), &plain_signature()).unwrap().asker().mfa, None);
}

#[test]
fn a_plain_key_says_nothing_of_touch() {
    let logins = logins();
    // Its last bytes are not flags, whatever they are.
    let signature = Signature::new(Algorithm::Ed25519, vec![0xff; 64]).unwrap();
    assert_eq!(by_key(&logins, None, HOME, &public(1), &signature).unwrap().asker().presence, Presence::NONE);
}

#[test]
fn weak_keys_and_sha1_prove_nobody() {
    let logins = logins();
    let sha1 = Algorithm::Rsa { hash: None };
    let offered =
        |key: &PublicKey, algorithm: &Algorithm| logins.offered(&claim(None, HOME), Shown::Key(key), algorithm);
    assert!(matches!(offered(&public(1), &sha1), Err(AuthnError::Weak { .. })));
    let short = public::RsaPublicKey::new(mpint(&[1, 0, 1]), mpint(&[0x7f; 255])).unwrap();
    let short = PublicKey::from(KeyData::Rsa(short));
    let sha2 = Algorithm::Rsa { hash: Some(HashAlg::Sha512) };
    assert!(matches!(offered(&short, &sha2), Err(AuthnError::Weak { why, .. }) if why.contains("2048")));
    let enough = public::RsaPublicKey::new(mpint(&[1, 0, 1]), mpint(&[0x7f; 257])).unwrap();
    let enough = PublicKey::from(KeyData::Rsa(enough));
    assert!(matches!(offered(&enough, &sha2), Err(AuthnError::UnknownKey { .. })));
    // A certificate in the place of a key is none: what its options say would be passed over.
    let hidden = PublicKey::from(KeyData::Certificate(Box::new(certificate())));
    assert!(matches!(offered(&hidden, &Algorithm::Ed25519), Err(AuthnError::Weak { .. })));
}

#[test]
fn a_certificate_proves_the_user_who_is_its_principal() {
    let logins = logins();
    trust(&logins, &[ca()], b"");
    let prove = |named: Option<&str>, certificate: &Certificate| by_certificate(&logins, named, HOME, certificate);
    let good = certificate();
    let login = prove(Some("alice"), &good).unwrap();
    assert_eq!(login.user(), &user_name("alice"));
    let shown = login.proof().to_string();
    for part in ["\"laptop of alice\"", "certificate serial 7 of CA", &ca().fingerprint(HashAlg::Sha256).to_string()] {
        assert!(shown.contains(part), "{shown}");
    }
    // Its only principal is who logs in.
    assert_eq!(prove(None, &good).unwrap().user(), &user_name("alice"));
    let why = |named, certificate: &Certificate| prove(named, certificate).unwrap_err().to_string();
    assert!(why(Some("bob"), &good).contains("not for user `bob`"));
    let two = principals(&["alice", "bob"]);
    assert!(why(None, &two).contains("several users"));
    assert!(prove(Some("alice"), &two).is_ok());
    let nobody = principals(&[]);
    assert!(why(Some("alice"), &nobody).contains("names no principal") && why(None, &nobody).contains("names no"));
    assert!(why(None, &principals(&["carol"])).contains("no user `carol`"));
    assert!(why(None, &principals(&["Alice Smith"])).contains("no user's name"));
}

#[test]
fn a_certificate_with_another_users_key_proves_nobody() {
    let logins = logins();
    trust(&logins, &[ca()], b"");
    let mut bob = logins.ledger.user(&user_name("bob")).unwrap();
    bob.keys.push(UserKey::parse(&public(9).to_openssh().unwrap(), now()).unwrap());
    logins.ledger.set_user(bob).unwrap();
    let why = by_certificate(&logins, Some("alice"), HOME, &certificate()).unwrap_err().to_string();
    assert!(why.contains("belongs to user `bob`"), "{why}");
}

#[test]
fn a_certificate_login_ends_with_what_it_rests_on() {
    let logins = logins();
    let certificate = certificate();
    trust(&logins, &[ca()], b"");
    let login = by_certificate(&logins, None, HOME, &certificate).unwrap();
    let expired = Timestamp::from_millis(3_000_000);
    assert!(login.stands(&logins.ledger).is_ok() && login.opens(&logins.ledger, now()).is_ok());
    // Time ends what is new, not what is open.
    assert!(login.opens(&logins.ledger, expired).is_err());
    let revoked = public(9).to_openssh().unwrap();
    trust(&logins, &[ca()], revoked.as_bytes());
    assert!(login.stands(&logins.ledger).is_err());
    trust(&logins, &[public(30)], b"");
    assert!(login.stands(&logins.ledger).is_err());
}

#[test]
fn lists_that_cannot_be_read_let_nobody_in_and_end_nothing() {
    let logins = logins();
    let certificate = certificate();
    trust(&logins, &[ca()], b"");
    let by_certificate_before = by_certificate(&logins, None, HOME, &certificate).unwrap();
    let by_key_before = by_key(&logins, None, HOME, &public(1), &plain_signature()).unwrap();
    trust(&logins, &[ca()], b"SSHKRL\n\0broken");
    assert!(matches!(
        by_certificate(&logins, None, HOME, &certificate),
        Err(AuthnError::Certificate { why: Distrust::Unreadable { .. }, .. })
    ));
    let refused = by_key(&logins, None, HOME, &public(1), &plain_signature());
    assert!(matches!(refused, Err(AuthnError::Revoked(Distrust::Unreadable { .. }))), "{refused:?}");
    for login in [&by_certificate_before, &by_key_before] {
        assert!(login.stands(&logins.ledger).is_ok());
        assert!(login.opens(&logins.ledger, now()).is_err());
    }
}

#[test]
fn a_revoked_key_proves_nobody() {
    let logins = logins();
    let login = by_key(&logins, None, HOME, &public(1), &plain_signature()).unwrap();
    trust(&logins, &[ca()], public(1).to_openssh().unwrap().as_bytes());
    let refused = by_key(&logins, None, HOME, &public(1), &plain_signature());
    assert!(matches!(refused, Err(AuthnError::Revoked(Distrust::KeyRevoked { .. }))), "{refused:?}");
    assert!(login.stands(&logins.ledger).is_err());
}

fn logins() -> Logins {
    let ledger = Ledger::open(&Db::in_memory().unwrap(), PolicySet::empty()).unwrap();
    for (name, keys) in [("alice", vec![public(1)]), ("bob", Vec::new())] {
        let keys = keys.iter().map(|key| UserKey::parse(&key.to_openssh().unwrap(), now()).unwrap()).collect();
        let (groups, from) = (BTreeSet::new(), BTreeSet::new());
        ledger
            .add_user(User {
                name: user_name(name),
                groups,
                keys,
                suspended_at: None,
                from,
                password_since: None,
                person: None,
                until: None,
            })
            .unwrap();
    }
    Logins { ledger: Arc::new(ledger), clock: Clock::fixed(now()), passwords: None }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000)
}

fn change(logins: &Logins, change: impl FnOnce(&mut User)) {
    let mut alice = logins.ledger.user(&user_name("alice")).unwrap();
    change(&mut alice);
    logins.ledger.set_user(alice).unwrap();
}

fn add_key(logins: &Logins, options: &str, key: &PublicKey) {
    let line = format!("{options}{}", key.to_openssh().unwrap());
    change(logins, |user| user.keys.push(UserKey::parse(&line, now()).unwrap()));
}

fn trust(logins: &Logins, cas: &[PublicKey], revoked: &[u8]) {
    let cas: String = cas.iter().map(|ca| format!("{}\n", ca.to_openssh().unwrap())).collect();
    let list = |bytes: &[u8]| Some(List { name: "list".to_owned(), content: Ok(bytes.to_vec()) });
    logins.ledger.set_trust(Trust::read(list(cas.as_bytes()), list(revoked)));
}

fn claim(named: Option<&UserName>, source: [u8; 4]) -> Claim<'_> {
    Claim { named, source: IpAddr::from(source) }
}

fn by_key(
    logins: &Logins,
    named: Option<&str>,
    source: [u8; 4],
    key: &PublicKey,
    signature: &Signature,
) -> Result<Authenticated, AuthnError> {
    let named = named.map(user_name);
    logins.prove(&claim(named.as_ref(), source), Shown::Key(key), signature)
}

fn by_certificate(
    logins: &Logins,
    named: Option<&str>,
    source: [u8; 4],
    certificate: &Certificate,
) -> Result<Authenticated, AuthnError> {
    let named = named.map(user_name);
    logins.prove(&claim(named.as_ref(), source), Shown::Certificate(certificate), &plain_signature())
}

fn user_name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn public(seed: u8) -> PublicKey {
    private(seed).public_key().clone()
}

fn ca() -> PublicKey {
    public(20)
}

fn security_key(seed: u8) -> PublicKey {
    let inner = *public(seed).key_data().ed25519().unwrap();
    PublicKey::from(KeyData::SkEd25519(SkEd25519::new(inner, "ssh:")))
}

/// What the caller has verified; nothing here looks at more of it than its end.
fn plain_signature() -> Signature {
    Signature::new(Algorithm::Ed25519, vec![0; 64]).unwrap()
}

fn sk_signature(flags: u8) -> Signature {
    let bytes = [&[0; 64][..], &[flags, 0, 0, 0, 1]].concat();
    Signature::new(Algorithm::SkEd25519, bytes).unwrap()
}

fn mpint(bytes: &[u8]) -> ssh_key::Mpint {
    ssh_key::Mpint::from_positive_bytes(bytes)
}

/// For Alice, at this time, by the authority, of a key that nobody has.
fn certificate() -> Certificate {
    principals(&["alice"])
}

fn principals(names: &[&str]) -> Certificate {
    let key = public(9).key_data().clone();
    let mut builder = Builder::new(vec![1; 16], key, 500, 2000).unwrap();
    builder.cert_type(CertType::User).unwrap().key_id("laptop of alice").unwrap().serial(7).unwrap();
    if names.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    for name in names {
        builder.valid_principal(*name).unwrap();
    }
    builder.sign(&private(20)).unwrap()
}
