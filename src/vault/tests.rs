use super::*;
use crate::clock::Clock;

const ED25519: &str = include_str!("fixtures/ed25519.key");
const ENCRYPTED: &str = include_str!("fixtures/ed25519-encrypted.key");

#[test]
fn a_password_comes_back_for_its_destination_only() {
    let vault = vault();
    vault.set(&at("root@db1"), password("hunter2"), now()).unwrap();
    assert_password(&vault, "root@db1", "hunter2");
    assert!(matches!(vault.credential_for(&at("root@db2")), Err(VaultError::NoSecret(_))));
}

#[test]
fn the_certificate_for_desktops_is_made_once_and_its_key_shows_nowhere() {
    let vault = vault();
    let (first, again) = (vault.desktop_identity().unwrap(), vault.desktop_identity().unwrap());
    assert_eq!(first.certificate, again.certificate);
    assert_eq!(first.key.expose(), again.key.expose());
    assert_eq!(first.fingerprint().len(), 64);
    assert!(format!("{first:?}").contains("<secret>"));
}

#[test]
fn each_kind_of_key_can_be_stored_and_still_signs() {
    let vault = vault();
    for text in [
        ED25519,
        include_str!("fixtures/rsa.key"),
        include_str!("fixtures/ecdsa256.key"),
        include_str!("fixtures/ecdsa521.key"),
    ] {
        vault.set(&at("root@db1"), key(text, None), now()).unwrap();
        let credential = vault.credential_for(&at("root@db1")).unwrap();
        let CredentialKind::Key(key) = credential.kind() else { panic!("not a key") };
        let signature = key.sign("test", HashAlg::Sha512, b"message").unwrap();
        let wanted = PrivateKey::from_openssh(text).unwrap();
        wanted.public_key().verify("test", b"message", &signature).unwrap();
        let fingerprint = vault.list().unwrap()[0].fingerprint.clone();
        assert_eq!(fingerprint.unwrap(), wanted.fingerprint(HashAlg::Sha256).to_string());
    }
}

#[test]
fn an_encrypted_key_is_opened_when_it_is_stored() {
    let vault = vault();
    vault.set(&at("root@db1"), key(ENCRYPTED, Some("correct horse")), now()).unwrap();
    let credential = vault.credential_for(&at("root@db1")).unwrap();
    assert!(matches!(credential.kind(), CredentialKind::Key(key) if !key.is_encrypted()));
    for (passphrase, wanted) in [(None, KeyFault::PassphraseNeeded), (Some("wrong"), KeyFault::WrongPassphrase)] {
        assert_eq!(refusal(&vault, key(ENCRYPTED, passphrase)), wanted);
    }
}

#[test]
fn what_is_no_usable_key_is_named() {
    let vault = vault();
    let cases = [
        ("", KeyFault::Format("empty")),
        ("hunter2", KeyFault::Format("something else")),
        (include_str!("fixtures/ed25519.pub"), KeyFault::Format("a public key")),
        (include_str!("fixtures/rsa.pem"), KeyFault::Format("a key in PEM format")),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", KeyFault::Format("a PuTTY key")),
    ];
    for (text, wanted) in cases {
        assert_eq!(refusal(&vault, key(text, None)), wanted);
        assert!(wanted.hint().is_some());
    }
    for text in [include_str!("fixtures/dsa.key"), include_str!("fixtures/dsa-encrypted.key")] {
        let refused = refusal(&vault, key(text, Some("pw")));
        assert!(matches!(&refused, KeyFault::Kind(kind) if kind == "ssh-dss"), "{refused:?}");
    }
    let broken = ED25519.replacen("AAAA", "AAAB", 1);
    assert!(matches!(refusal(&vault, key(&broken, None)), KeyFault::Broken(_)));
    let cut = ED25519.lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(matches!(refusal(&vault, key(&cut, None)), KeyFault::Broken(_)));
    assert_eq!(vault.list().unwrap(), []);
}

#[test]
fn versions_grow_over_changes_and_removals() {
    let vault = vault();
    let root = at("root@db1");
    assert_eq!(vault.set(&root, password("one"), now()).unwrap(), 1);
    assert_eq!(vault.set(&root, password("two"), now()).unwrap(), 2);
    vault.remove(&root).unwrap();
    assert!(matches!(vault.remove(&root), Err(VaultError::NoSecret(_))));
    assert!(matches!(vault.credential_for(&root), Err(VaultError::NoSecret(_))));
    assert_eq!(vault.list().unwrap(), []);
    assert_eq!(vault.set(&root, password("three"), now()).unwrap(), 3);
    let listed = vault.list().unwrap();
    assert_eq!((listed[0].version, listed[0].kind, listed[0].created), (3, SecretKind::Password, now()));
}

#[test]
fn a_sealed_secret_opens_in_its_own_place_only() {
    let vault = vault();
    let (one, two) = (at("root@db1"), at("root@db2"));
    vault.set(&one, password("first"), now()).unwrap();
    let (old_rev, old) = vault.secrets.get("root@db1").unwrap().unwrap();
    // In another destination.
    vault.secrets.put("root@db2", None, &old).unwrap();
    assert!(matches!(vault.credential_for(&two), Err(VaultError::Altered(name)) if name == "root@db2"));
    // Under another version, as another kind, and the parts of two versions mixed.
    vault.secrets.put("root@db1", Some(old_rev), &Entry { version: 2, ..old }).unwrap();
    assert!(matches!(vault.credential_for(&one), Err(VaultError::Altered(_))));
    let (rev, mut entry) = vault.secrets.get("root@db1").unwrap().unwrap();
    entry.version = 1;
    entry.secret.as_mut().unwrap().kind = SecretKind::PrivateKey;
    let rev = vault.secrets.put("root@db1", Some(rev), &entry).unwrap();
    assert!(matches!(vault.credential_for(&one), Err(VaultError::Altered(_))));
    entry.secret.as_mut().unwrap().kind = SecretKind::Password;
    let rev = vault.secrets.put("root@db1", Some(rev), &entry).unwrap();
    assert_password(&vault, "root@db1", "first");
    let other = vault.seal(&Place::secret("root@db1", 1, SecretKind::Password), Zeroizing::new(b"x".to_vec())).unwrap();
    entry.secret.as_mut().unwrap().sealed.key = other.key;
    vault.secrets.put("root@db1", Some(rev), &entry).unwrap();
    assert!(matches!(vault.credential_for(&one), Err(VaultError::Altered(_))));
}

#[test]
fn the_lines_of_a_key_that_are_scrubbed_are_the_secret_ones_of_its_own_file() {
    let texts = [
        ED25519,
        include_str!("fixtures/rsa.key"),
        include_str!("fixtures/ecdsa256.key"),
        include_str!("fixtures/ecdsa521.key"),
    ];
    for text in texts {
        let vault = vault();
        vault.set(&at("root@db1"), key(text, None), now()).unwrap();
        let credential = vault.credential_for(&at("root@db1")).unwrap();
        let CredentialKind::Key(read) = credential.kind() else { panic!("not a key") };
        let secret: Vec<String> = credential.texts().iter().map(|line| line.expose().clone()).collect();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
        // Those of the file, from some line on to the last.
        assert!(!secret.is_empty() && lines.ends_with(&secret.iter().map(String::as_str).collect::<Vec<_>>()));
        // What comes before them is the public half.
        let before = lines[..lines.len() - secret.len()].concat();
        let whole = lines.concat();
        let bytes = base64::engine::general_purpose::STANDARD.decode(whole.as_bytes()).unwrap();
        let public = read.public_key().to_bytes().unwrap();
        let public_ends = bytes.windows(public.len()).position(|window| window == public).unwrap() + public.len();
        assert!(before.len() * 3 / 4 <= public_ends + 4, "{} of {public_ends}", before.len() * 3 / 4);
        assert!((before.len() + secret[0].len()) * 3 / 4 > public_ends + 4, "a line has nothing secret in it");
    }
    let vault = vault();
    vault.set(&at("root@db1"), password("a password"), now()).unwrap();
    let credential = vault.credential_for(&at("root@db1")).unwrap();
    assert_eq!(credential.texts().iter().map(|text| text.expose().as_str()).collect::<Vec<_>>(), ["a password"]);
}

#[test]
fn under_another_master_key_every_secret_is_there_and_the_old_key_opens_none() {
    use crate::db::MasterKey;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let (old, new) = (MasterKey::random().unwrap(), MasterKey::random().unwrap());
    let vault = Vault::open(&Db::create(&state, "id", old.clone()).unwrap()).unwrap();
    vault.create_bastion_keys().unwrap();
    vault.set(&at("root@db1"), password("first"), now()).unwrap();
    vault.set(&at("root@db1"), password("second"), now()).unwrap();
    vault.set(&at("root@db2"), key(ED25519, None), now()).unwrap();
    vault.set(&at("root@db3"), password("removed"), now()).unwrap();
    vault.remove(&at("root@db3")).unwrap();
    let (host, log) = (vault.host_key().unwrap(), vault.log_key("id").unwrap().public().clone());
    drop(vault);
    let reseal = Reseal::new(&old, &new).unwrap();
    let inner = |table: &str, key: &str, value| reseal.value(table, key, value);
    // Twice: the second time there is nothing left to do.
    for _ in 0..2 {
        Db::rotate(&state, "id", &old, &new, &inner, &mut |_, _| {}).unwrap();
    }
    assert!(matches!(Db::open(&state, "id", old), Err(DbError::WrongMasterKey)));
    let vault = Vault::open(&Db::open(&state, "id", new).unwrap()).unwrap();
    assert_password(&vault, "root@db1", "second");
    assert!(matches!(vault.credential_for(&at("root@db2")).unwrap().kind(), CredentialKind::Key(_)));
    assert!(matches!(vault.credential_for(&at("root@db3")), Err(VaultError::NoSecret(_))));
    assert_eq!(vault.host_key().unwrap().public_key(), host.public_key());
    assert_eq!(*vault.log_key("id").unwrap().public(), log);
    assert_eq!(vault.set(&at("root@db3"), password("again"), now()).unwrap(), 2);
}

#[test]
fn the_bastions_keys_are_made_once_and_stay() {
    let vault = vault();
    assert!(matches!(vault.host_key(), Err(VaultError::NoBastionKey("host-key"))));
    vault.create_bastion_keys().unwrap();
    let key = vault.host_key().unwrap();
    assert_eq!(key.algorithm(), ssh_key::Algorithm::Ed25519);
    assert_ne!(key.public_key(), vault.host_ca().unwrap().public_key());
    let log = vault.log_key("0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(log.public().name().as_str(), "doorward/0123456789abcdef");
    assert!(matches!(vault.create_bastion_keys(), Err(VaultError::Db(DbError::Conflict { .. }))));
    assert_eq!(vault.log_key("0123456789abcdef0123456789abcdef").unwrap().public(), log.public());
    assert_eq!(vault.host_key().unwrap().public_key(), key.public_key());
    assert_eq!(vault.list().unwrap(), []);
}

#[test]
fn secrets_survive_a_restart_and_never_lie_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let master = crate::db::MasterKey::random().unwrap();
    let vault = Vault::open(&Db::create(&state, "id", master.clone()).unwrap()).unwrap();
    vault.set(&at("root@db1"), password("canary-secret"), now()).unwrap();
    drop(vault);
    let vault = Vault::open(&Db::open(&state, "id", master).unwrap()).unwrap();
    assert_password(&vault, "root@db1", "canary-secret");
    let file = std::fs::read(state.join("db")).unwrap();
    assert!(!file.windows(6).any(|window| window == b"canary"));
}

#[test]
fn nothing_printed_shows_a_secret() {
    let vault = vault();
    let value = password("canary-secret");
    let mut printed = format!("{value:?}{:?}", key("canary-secret", Some("canary-secret")));
    vault.set(&at("root@db1"), value, now()).unwrap();
    let credential = vault.credential_for(&at("root@db1")).unwrap();
    printed += &format!("{vault:?}{credential:?}{:?}{:?}", credential.kind(), vault.list());
    let refused = vault.set(&at("root@db1"), key("canary-secret", Some("canary-secret")), now()).unwrap_err();
    printed += &format!("{refused:?}{refused}{:?}", refused.hint());
    let refused = vault.set(&at("root@db1"), key(ENCRYPTED, Some("canary-secret")), now()).unwrap_err();
    printed += &format!("{refused:?}{refused}{:?}", refused.hint());
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn an_empty_or_a_huge_secret_is_refused() {
    let vault = vault();
    assert!(matches!(vault.set(&at("root@db1"), password(""), now()), Err(VaultError::Empty)));
    let refused = vault.set(&at("root@db1"), password(&"x".repeat(20_000)), now()).unwrap_err();
    assert_eq!(refused.to_string(), "the secret is too large: about 8 KiB is the limit");
    vault.set(&at("root@db1"), password(&"x".repeat(8_192)), now()).unwrap();
}

fn vault() -> Vault {
    Vault::open(&Db::in_memory().unwrap()).unwrap()
}

fn at(text: &str) -> Destination {
    Destination::parse(text).unwrap()
}

fn now() -> Timestamp {
    Clock::fixed(Timestamp::from_millis(1_000)).now()
}

fn password(text: &str) -> SecretValue {
    SecretValue::Password(Secret::new(text.into()))
}

fn key(text: &str, passphrase: Option<&str>) -> SecretValue {
    let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
    SecretValue::PrivateKey { openssh: Secret::new(text.into()), passphrase }
}

fn refusal(vault: &Vault, value: SecretValue) -> KeyFault {
    match vault.set(&at("root@db1"), value, now()) {
        Err(VaultError::Key(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn assert_password(vault: &Vault, destination: &str, wanted: &str) {
    let credential = vault.credential_for(&at(destination)).unwrap();
    assert!(matches!(credential.kind(), CredentialKind::Password(found) if found.expose() == wanted));
}
