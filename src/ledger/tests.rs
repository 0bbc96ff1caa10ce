use super::*;
use crate::grant::Asker;
use crate::policy::PolicyFile;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice@laptop";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti foo@bar.com";

#[test]
fn a_key_that_another_user_has_is_refused() {
    let ledger = ledger(&Db::in_memory().unwrap());
    ledger.add_user(user("alice", &[KEY])).unwrap();
    let error = ledger.add_user(user("bob", &[KEY])).unwrap_err();
    assert!(matches!(error, LedgerError::KeyTaken { ref owner, .. } if owner.as_str() == "alice"), "{error:?}");
    ledger.add_user(user("bob", &[OTHER])).unwrap();
    let error = ledger.set_user(user("bob", &[OTHER, KEY])).unwrap_err();
    assert!(matches!(error, LedgerError::KeyTaken { .. }));
    // Once the first has given it up, the second may have it.
    ledger.set_user(user("alice", &[])).unwrap();
    ledger.set_user(user("bob", &[OTHER, KEY])).unwrap();
    assert_eq!(ledger.user_by_key(&public_key(KEY).unwrap()).unwrap().name.as_str(), "bob");
}

#[test]
fn a_key_proves_its_owner_whatever_its_comment() {
    let ledger = ledger(&Db::in_memory().unwrap());
    ledger.add_user(user("alice", &[KEY])).unwrap();
    let bare = KEY.rsplit_once(' ').unwrap().0;
    assert_eq!(ledger.user_by_key(&public_key(bare).unwrap()).unwrap().name.as_str(), "alice");
    assert_eq!(ledger.user_by_key(&public_key(OTHER).unwrap()), None);
}

#[test]
fn a_suspended_user_gets_no_permit() {
    let ledger = ledger(&Db::in_memory().unwrap());
    ledger.add_user(user("alice", &[KEY])).unwrap();
    ledger.add_target(target("db1")).unwrap();
    assert!(ask(&ledger).is_ok());
    ledger.set_user(User { suspended_at: Some(time(1)), ..user("alice", &[KEY]) }).unwrap();
    assert_eq!(ask(&ledger), Err(Denial::Suspended));
}

#[test]
fn unknown_users_and_targets_get_no_permit() {
    let ledger = ledger(&Db::in_memory().unwrap());
    assert_eq!(ask(&ledger), Err(Denial::UnknownUser));
    ledger.add_user(user("alice", &[])).unwrap();
    assert_eq!(ask(&ledger), Err(Denial::UnknownTarget));
}

#[test]
fn everything_is_there_after_a_new_start() {
    let db = Db::in_memory().unwrap();
    let before = ledger(&db);
    before.add_user(user("alice", &[KEY])).unwrap();
    before.add_target(target("db1")).unwrap();
    before.add_grant(grant("g-1")).unwrap();
    before.revoke_grant(&GrantId::parse("g-1").unwrap(), revoked()).unwrap();
    let after = ledger(&db);
    assert_eq!(after.users(), before.users());
    assert_eq!(after.targets(), before.targets());
    assert_eq!(after.grants(), before.grants());
    assert!(matches!(after.add_user(user("bob", &[KEY])), Err(LedgerError::KeyTaken { .. })));
}

#[test]
fn a_revoked_grant_stays_revoked() {
    let ledger = ledger(&Db::in_memory().unwrap());
    ledger.add_user(user("alice", &[])).unwrap();
    ledger.add_target(target("db1")).unwrap();
    ledger.add_grant(grant("g-1")).unwrap();
    let id = GrantId::parse("g-1").unwrap();
    ledger.revoke_grant(&id, revoked()).unwrap();
    assert!(matches!(ledger.revoke_grant(&id, revoked()), Err(LedgerError::Over { .. })));
    assert!(matches!(ledger.add_grant(grant("g-1")), Err(LedgerError::Exists { .. })));
}

#[test]
fn a_grant_names_a_user_and_a_target_that_exist() {
    let ledger = ledger(&Db::in_memory().unwrap());
    assert!(matches!(ledger.add_grant(grant("g-1")), Err(LedgerError::Unknown { kind: "user", .. })));
    ledger.add_user(user("alice", &[])).unwrap();
    assert!(matches!(ledger.add_grant(grant("g-1")), Err(LedgerError::Unknown { kind: "target", .. })));
}

#[test]
fn addresses_are_checked_and_get_a_port() {
    for (text, stored) in [
        ("db1", "db1:22"),
        ("db1.example.org:2222", "db1.example.org:2222"),
        ("10.0.0.5", "10.0.0.5:22"),
        ("::1", "[::1]:22"),
        ("[fd00::5]:22", "[fd00::5]:22"),
        ("[::1]", "[::1]:22"),
    ] {
        assert_eq!(address(text).unwrap(), stored);
    }
    for bad in
        ["", ":22", "db1:", "db1:0", "db1:70000", "db1:+22", "a b:22", "-x:22", "[db1]:22", "[::1]x", "db1:22:22"]
    {
        assert!(address(bad).is_err(), "{bad:?} was taken");
    }
}

fn ledger(db: &Db) -> Ledger {
    let text = "schema = 1\n[[rule]]\nid = \"all\"\nwho = { users = [\"alice\"] }\nwhere = { targets = [\"db1\"] }\n\
                accounts = [\"root\"]\nchannels = [\"shell\"]\ngrant = { required = false }\n";
    let file = PolicyFile { path: "a.toml".to_owned(), text: text.to_owned() };
    Ledger::open(db, PolicySet::parse(&[file]).unwrap()).unwrap()
}

fn ask(ledger: &Ledger) -> Result<(), Denial> {
    let destination = Destination::parse("root@db1").unwrap();
    let alice = UserName::parse("alice").unwrap();
    ledger.permit(Asker::plain(&alice, "k"), &destination, ChannelClass::Shell, time(5)).map(drop)
}

fn user(name: &str, keys: &[&str]) -> User {
    let keys = keys.iter().map(|key| UserKey::parse(key, time(0)).unwrap()).collect();
    User {
        name: UserName::parse(name).unwrap(),
        groups: BTreeSet::new(),
        keys,
        suspended_at: None,
        from: BTreeSet::new(),
        password_since: None,
        person: None,
        until: None,
    }
}

fn target(name: &str) -> Target {
    Target {
        name: TargetName::parse(name).unwrap(),
        address: "10.0.0.5:22".to_owned(),
        labels: BTreeMap::new(),
        host_keys: vec![KEY.to_owned()],
        accounts: BTreeSet::new(),
        insecure_algorithms: false,
        desktop: None,
    }
}

fn grant(id: &str) -> Grant {
    Grant {
        id: GrantId::parse(id).unwrap(),
        user: UserName::parse("alice").unwrap(),
        destination: Destination::parse("root@db1").unwrap(),
        from: time(0),
        until: time(1000),
        reason: "CHG-1".to_owned(),
        created_by: "uid 0".to_owned(),
        created: time(0),
        revoked: None,
        request: None,
        rule: None,
        channels: None,
        sessions: None,
        begun: 0,
        bound_key: None,
    }
}

fn revoked() -> Revoked {
    Revoked { by: "uid 0".to_owned(), at: time(5), reason: None }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(ms)
}
