use std::sync::Arc;

use super::*;

#[test]
fn the_memory_store_keeps_the_contract() {
    assert_contract(&MemoryStore::default());
}

#[test]
fn the_sled_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    assert_contract(&SledStore::create(&dir.path().join("state")).unwrap());
}

#[test]
fn values_are_there_after_a_restart() {
    let (_guard, dir, master) = scratch();
    let db = Db::create(&dir, ID, master.clone()).unwrap();
    let rev = db.table("users").put("alice", None, &String::from("dba")).unwrap();
    drop(db);
    let db = Db::open(&dir, ID, master).unwrap();
    let users = db.table::<String>("users");
    assert_eq!(users.get("alice").unwrap(), Some((rev, "dba".into())));
    assert!(users.put("bob", None, &String::new()).unwrap() > rev);
}

#[test]
fn tables_and_prefixes_do_not_mix() {
    let db = Db::in_memory().unwrap();
    let (users, more) = (db.table::<u32>("user"), db.table::<u32>("users"));
    users.put("alice", None, &1).unwrap();
    users.put("albert", None, &2).unwrap();
    users.put("bob", None, &3).unwrap();
    more.put("alice", None, &4).unwrap();
    let names = |prefix| users.list(prefix).unwrap().into_iter().map(|(key, _, n)| (key, n)).collect::<Vec<_>>();
    assert_eq!(names("al"), [("albert".into(), 2), ("alice".into(), 1)]);
    assert_eq!(names("").len(), 3);
    assert_eq!(more.get("alice").unwrap().unwrap().1, 4);
}

#[test]
fn of_two_who_change_the_same_value_one_is_refused() {
    let db = Db::in_memory().unwrap();
    let table = db.table::<u32>("t");
    let first = table.put("k", None, &1).unwrap();
    assert!(matches!(table.put("k", None, &2), Err(DbError::Conflict { key }) if key == "t/k"));
    let second = table.put("k", Some(first), &2).unwrap();
    assert!(matches!(table.put("k", Some(first), &3), Err(DbError::Conflict { .. })));
    assert!(matches!(table.delete("k", first), Err(DbError::Conflict { .. })));
    table.delete("k", second).unwrap();
    assert_eq!(table.get("k").unwrap(), None);
}

#[test]
fn a_batch_over_two_tables_happens_whole_or_not_at_all() {
    let db = Db::in_memory().unwrap();
    let (users, keys) = (db.table::<u32>("users"), db.table::<String>("keys"));
    keys.put("SHA256:a", None, &"bob".into()).unwrap();
    let mut batch = db.batch();
    batch.put(&users, "alice", None, &1).unwrap();
    batch.put(&keys, "SHA256:a", None, &"alice".into()).unwrap();
    assert!(matches!(batch.commit(), Err(DbError::Conflict { key }) if key == "keys/SHA256:a"));
    assert_eq!(users.get("alice").unwrap(), None);
    let mut batch = db.batch();
    batch.put(&users, "alice", None, &1).unwrap();
    batch.put(&keys, "SHA256:b", None, &"alice".into()).unwrap();
    let rev = batch.commit().unwrap();
    assert_eq!(users.get("alice").unwrap(), Some((rev, 1)));
    assert_eq!(keys.get("SHA256:b").unwrap(), Some((rev, "alice".into())));
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let db = Db::in_memory().unwrap();
    let table = db.table::<String>("t");
    table.put("k", None, &"x".repeat(16_000)).unwrap();
    assert!(matches!(table.put("l", None, &"x".repeat(16_400)), Err(DbError::TooLarge { .. })));
    assert!(matches!(table.put(&"k".repeat(300), None, &String::new()), Err(DbError::TooLarge { .. })));
}

#[test]
fn a_wrong_master_key_is_named_as_such() {
    let (_guard, dir, master) = scratch();
    drop(Db::create(&dir, ID, master).unwrap());
    let refused = Db::open(&dir, ID, MasterKey::random().unwrap()).unwrap_err();
    assert!(matches!(refused, DbError::WrongMasterKey), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("master key")));
}

#[test]
fn the_database_of_another_store_is_refused() {
    let (_guard, dir, master) = scratch();
    drop(Db::create(&dir, ID, master.clone()).unwrap());
    let refused = Db::open(&dir, "another", master).unwrap_err();
    assert!(matches!(&refused, DbError::Foreign { found, .. } if found == ID), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("backup")));
}

#[test]
fn an_empty_or_missing_database_is_refused() {
    let (_guard, dir, master) = scratch();
    assert!(matches!(Db::open(&dir, ID, master.clone()), Err(DbError::Absent { .. })));
    assert!(!dir.exists());
    // What a power cut can leave of an unsynced sled: files that open cleanly, and nothing in them.
    drop(SledStore::create(&dir).unwrap());
    assert!(matches!(Db::open(&dir, ID, master), Err(DbError::Empty { .. })));
}

#[test]
fn a_database_is_not_made_over_another() {
    let (_guard, dir, master) = scratch();
    drop(Db::create(&dir, ID, master.clone()).unwrap());
    assert!(matches!(Db::create(&dir, ID, master.clone()), Err(DbError::Exists { .. })));
    Db::open(&dir, ID, master).unwrap();
}

#[test]
fn a_damaged_database_file_is_an_error_that_says_to_restore() {
    let (_guard, dir, master) = scratch();
    let db = Db::create(&dir, ID, master.clone()).unwrap();
    for n in 0..40 {
        db.table::<String>("t").put(&n.to_string(), None, &"value".repeat(100)).unwrap();
    }
    drop(db);
    let whole = std::fs::read(dir.join("db")).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    for bad in [vec![0; whole.len()], vec![0xff; whole.len()], Vec::new(), b"not a database".to_vec(), cut] {
        let size = bad.len();
        crate::durable::replace(&dir.join("db"), &bad, 0o600).unwrap();
        let copy = dir.with_extension(size.to_string());
        std::fs::create_dir(&copy).unwrap();
        for part in ["db", "conf", "acknowledged"] {
            std::fs::copy(dir.join(part), copy.join(part)).unwrap();
        }
        let refused = Db::open(&copy, ID, master.clone()).unwrap_err();
        assert!(refused.hint().is_some_and(|hint| hint.contains("restore")), "{size}: {refused}");
        std::fs::remove_dir_all(copy).unwrap();
    }
}

/// What every backend must do.
fn assert_contract(store: &dyn StateStore) {
    let record = |rev, body: &[u8]| {
        let mut bytes = Record::header(7, Rev(rev));
        bytes.extend_from_slice(body);
        Record(bytes)
    };
    let change = |key: &[u8], expected: Option<u64>, record: Option<Record>| Change {
        key: key.to_vec(),
        expected: expected.map(Rev),
        record,
    };
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.range(b"").unwrap(), []);

    store.put_if_rev(b"a", None, record(1, b"one")).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(record(1, b"one")));
    assert!(matches!(store.put_if_rev(b"a", None, record(2, b"two")), Err(DbError::Conflict { .. })));
    assert!(matches!(store.put_if_rev(b"b", Some(Rev(1)), record(2, b"two")), Err(DbError::Conflict { .. })));
    store.put_if_rev(b"a", Some(Rev(1)), record(2, b"two")).unwrap();
    assert!(matches!(store.delete_if_rev(b"a", Rev(1)), Err(DbError::Conflict { .. })));
    assert_eq!(store.get(b"a").unwrap(), Some(record(2, b"two")));

    // All or none, also when the conflict comes last.
    let refused = store.apply(vec![change(b"b", None, Some(record(3, b"b"))), change(b"a", Some(1), None)]);
    assert!(matches!(refused, Err(DbError::Conflict { .. })));
    assert_eq!(store.get(b"b").unwrap(), None);
    let twice = store.apply(vec![change(b"b", None, Some(record(3, b"b"))), change(b"b", None, Some(record(3, b"c")))]);
    assert!(matches!(twice, Err(DbError::Conflict { .. })));
    store.apply(vec![change(b"b", None, Some(record(3, b"b"))), change(b"a", Some(2), None)]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), None);

    for key in [b"t\0b".as_slice(), b"t\0a", b"t", b"u\0a", b"t\0\xff\xff"] {
        store.put_if_rev(key, None, record(4, key)).unwrap();
    }
    let keys: Vec<_> = store.range(b"t\0").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"t\0a".to_vec(), b"t\0b".to_vec(), b"t\0\xff\xff".to_vec()]);
    store.delete_if_rev(b"t\0a", Rev(4)).unwrap();
    assert_eq!(store.range(b"t\0").unwrap().len(), 2);
    store.flush().unwrap();
    assert_one_winner(store);
}

/// Of many who compare and set the same key at once, one wins each round.
fn assert_one_winner(store: &dyn StateStore) {
    let header = |rev| Record(Record::header(0, Rev(rev)));
    store.put_if_rev(b"race", None, header(100)).unwrap();
    for round in 100..105 {
        let won = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if store.put_if_rev(b"race", Some(Rev(round)), header(round + 1)).is_ok() {
                        won.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(won.into_inner(), 1);
    }
}

const ID: &str = "00112233445566778899aabbccddeeff";

fn scratch() -> (Arc<tempfile::TempDir>, PathBuf, MasterKey) {
    let guard = tempfile::tempdir().unwrap();
    let dir = guard.path().join("state");
    (Arc::new(guard), dir, MasterKey::random().unwrap())
}
