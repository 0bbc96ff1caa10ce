use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::audit::{Audit, AuditEvent, Call};
use crate::auditor::Identity;
use crate::clock::Clock;
use crate::db::{Db, MasterKey, Rev};
use crate::home::{Home, HomeError};
use crate::ledger::{Hold, Ledger, User};
use crate::model::{Destination, SessionId, Timestamp, UserName};
use crate::policy::PolicySet;
use crate::seal::Recipients;
use crate::secret::Secret;
use crate::tlog::{Algorithm, Checkpoint, EMPTY_ROOT, Hash, KeyName, SigningKey, VerifyingKey};
use crate::vault::{SecretValue, Vault};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ alice@laptop";

#[test]
fn a_state_comes_back_as_it_was_under_another_master_key() {
    let store = Store::new();
    let export = store.export();
    let (host_key, rev) = (store.vault.host_key().unwrap(), store.rev());
    let data = store.lose_state();
    let imported = data.import(&export, |_| {}).unwrap();
    assert_eq!((imported.lost_changes, imported.destroyed), (0, 0));
    let again = data.open();
    assert_eq!(again.vault.host_key().unwrap(), host_key);
    let secrets = again.vault.list().unwrap();
    assert_eq!(secrets.len(), 1);
    assert_eq!((secrets[0].destination.to_string(), secrets[0].version), ("root@db1".into(), 2));
    let ledger = Ledger::open(&again.db, PolicySet::empty()).unwrap();
    assert_eq!(ledger.users().len(), 1);
    assert_eq!(ledger.users()[0].keys[0].comment, "alice@laptop");
    assert_eq!(ledger.held(&session()).unwrap().reason, "CASE-7");
    // A removed secret's number goes on, and so does the database's.
    let password = SecretValue::Password(Secret::new("new".to_owned()));
    assert_eq!(again.vault.set(&destination("root@db2"), password, now()).unwrap(), 2);
    assert!(again.rev() > rev);
    let story: Vec<String> = again.audit.records(0).map(|record| record.unwrap().kind).collect();
    assert_eq!(story.iter().rev().take(2).collect::<Vec<_>>(), ["state.import", "state.export"]);
    // What the log says of people can still be read.
    assert!(again.audit.records(0).all(|record| record.unwrap().text("body") != Some("<erased>")));
}

#[test]
fn an_export_is_for_its_recipients_and_shows_nothing_else() {
    let store = Store::new();
    let export = store.export();
    for canary in ["hunter2", "alice", "db1", "CASE-7"] {
        assert!(!export.windows(canary.len()).any(|window| window == canary.as_bytes()), "{canary}");
    }
    let data = store.lose_state();
    let refused = data.import(&export, |wanted| wanted.stranger = true).unwrap_err();
    assert!(matches!(refused, BackupError::NotForYou), "{refused}");
    assert!(!data.dir.join("state").exists() && !data.dir.join("state.import/db").is_file());
}

#[test]
fn a_file_that_was_cut_or_changed_makes_no_state() {
    let store = Store::new();
    let export = store.export();
    let data = store.lose_state();
    let step = export.len() / 23;
    for at in (0..export.len()).step_by(step) {
        let mut changed = export.clone();
        changed[at] ^= 1;
        for bad in [&changed[..], &export[..at]] {
            assert!(data.import(bad, |_| {}).is_err(), "byte {at}");
            // Nor would it, if the log named it.
            let identity = std::slice::from_ref(&data.identity);
            assert!(state::read(bad, identity, |_| Ok(()), |(), _| Ok(())).is_err(), "byte {at}");
            assert!(!data.dir.join("state").exists(), "byte {at}");
        }
    }
    let more = [&export[..], b"x"].concat();
    assert!(data.import(&more, |_| {}).is_err());
    data.import(&export, |_| {}).unwrap();
}

#[test]
fn a_header_that_does_not_end_is_refused_before_it_is_read() {
    let identity = Identity::generate();
    let good = seal(b"x", &identity);
    let line = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let stanzas = "-> x-grease\nAAAAAAAA\n".repeat(100_000);
    let long = [&good[..line], stanzas.as_bytes(), &good[line..]].concat();
    let clock = Clock::system();
    let begun = clock.instant();
    let read = state::read(&long[..], &[identity], |_| Ok(()), |(), _| Ok(()));
    assert!(read.map(drop).unwrap_err().to_string().contains("too long"));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn every_fault_of_the_lines_is_told_with_its_line() {
    let head = format!(
        r#"{{"doorward":"state","version":1,"store":"{}","rev":7,"exported":"2026-11-23T09:00:00Z"}}"#,
        "0".repeat(32)
    );
    let user = r#"{"table":"users","key":"bob","value":{}}"#;
    let long = format!(r#"{{"table":"users","key":"bob","value":"{}"}}"#, "x".repeat(70_000));
    let cases = [
        (String::new(), "line 1: it ends before"),
        ("{}\n".to_owned(), "line 1: it is no exported state"),
        (format!("{head}\n").replace("\"state\"", "\"users\""), "line 1: it is no exported state"),
        (format!("{head}\n").replace("\"version\":1", "\"version\":2"), "has the form 2"),
        (format!("{head}\n").replace("000\"", "00g\""), "line 1: its first line is not"),
        (format!("{head}\n").replace(":7", ":18446744073709551615"), "line 1: its first line is not"),
        (head.clone(), "line 1: it ends within a line"),
        (format!("{head}\n"), "line 2: it ends before"),
        (format!("{head}\n{user}"), "line 2: it ends within a line"),
        (format!("{head}\n{user}\n{user}\n"), "line 3: `users/bob` comes twice"),
        (format!("{head}\n{user}\n{}\n", user.replace("bob", "ann")), "line 3: `users/ann` comes twice, or not in"),
        (format!("{head}\n{}\n", user.replace("users", "userz")), "line 2: there is no table `userz`"),
        (format!("{head}\n{}\n", user.replace("{}}", "{hunter2}}")), "line 2: no entry of a state"),
        (format!("{head}\n{long}\n"), "line 2: the line is longer"),
        (format!("{head}\n{user}\n{{\"entries\":2}}\n"), "line 3: it says that it has 2 entries, and it has 1"),
        (format!("{head}\n{user}\n{{\"entries\":1}}\n{user}\n"), "line 4: something follows"),
    ];
    for (text, expected) in cases {
        let identity = Identity::generate();
        let file = seal(text.as_bytes(), &identity);
        let read = state::read(&file[..], &[identity], |_| Ok(()), |(), _| Ok(()));
        let told = read.map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(expected), "{told} | {expected}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn entries_that_no_bastion_has_are_refused_with_their_line() {
    let store = Store::new();
    let head = format!(
        r#"{{"doorward":"state","version":1,"store":"{}","rev":7,"exported":"2026-11-23T09:00:00Z"}}"#,
        store.home.id()
    );
    let files = [
        r#"{"table":"bastion-keys","key":"backdoor","value":"AAAA"}"#,
        r#"{"table":"bastion-keys","key":"log-key","value":"AAAA"}"#,
        r#"{"table":"secrets","key":"no destination","value":{"version":1,"at":"2026-11-23T09:00:00Z","secret":null}}"#,
        r#"{"table":"secrets","key":"root@db1","value":{"hunter2":1}}"#,
    ]
    .map(|line| seal(format!("{head}\n{line}\n{{\"entries\":1}}\n").as_bytes(), &store.identity));
    files.iter().for_each(|file| store.vouch(crate::store::sha256_hex(file)));
    let data = store.lose_state();
    for file in files {
        let refused = data.import(&file, |_| {}).unwrap_err();
        assert!(matches!(refused, BackupError::Entry { line: 2, .. }), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2") && !data.dir.join("state").exists(), "{refused:?}");
    }
}

#[test]
fn an_export_that_the_log_does_not_name_is_refused() {
    let store = Store::new();
    // As a thief of the recipient's public key would make it: the log has no leaf of it.
    let forged = export(&store.vault, &store.recipients(), now()).unwrap().bytes;
    let named = store.export();
    let data = store.lose_state();
    let refused = data.import(&forged, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NotVouched { .. }), "{refused}");
    assert!(!data.dir.join("state").exists() && !data.dir.join("state.import").exists(), "nothing was made of it");
    data.import(&named, |_| {}).unwrap();
}

#[test]
fn an_export_of_another_bastion_or_without_its_log_is_refused() {
    let (one, other) = (Store::new(), Store::new());
    let (export, key) = (one.export(), one.audit.key().clone());
    let foreign = Data { identity: one.identity.clone(), ..other.lose_state() };
    let refused = foreign.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::NotVouched { .. }), "{refused}");
    let checkpoint = foreign.dir.join("log/checkpoint");
    std::fs::rename(&checkpoint, foreign.dir.join("away")).unwrap();
    let refused = foreign.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Home(_)), "{refused}");
    // Without its identity, the log shows it.
    std::fs::remove_file(foreign.dir.join("store.json")).unwrap();
    let refused = foreign.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Audit(_)), "{refused}");
    let data = one.lose_state();
    let other_key = VerifyingKey::parse(std::fs::read_to_string(foreign.dir.join("log/key.pub")).unwrap().trim());
    let refused = data.import(&export, |wanted| wanted.key = Some(other_key.unwrap())).unwrap_err();
    assert!(matches!(refused, BackupError::OtherKey { .. }), "{refused}");
    let away = data.dir.join("away");
    std::fs::rename(data.dir.join("log"), &away).unwrap();
    let refused = data.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Audit(_)) && refused.hint().unwrap().contains("--new-log"), "{refused:?}");
    std::fs::remove_dir_all(data.dir.join("log")).unwrap();
    std::fs::rename(&away, data.dir.join("log")).unwrap();
    data.import(&export, |wanted| wanted.key = Some(key)).unwrap();
}

#[test]
fn a_state_that_lacks_later_changes_is_taken_only_if_that_is_said() {
    let store = Store::new();
    let export = store.export();
    let change = Call { verb: "user suspend".to_owned(), user: Some(alice()), ..Call::default() };
    store.audit.append(&AuditEvent::ConfigChange(change)).unwrap();
    let data = store.lose_state();
    let refused = data.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Older { changes: 1, .. }), "{refused}");
    assert!(!data.dir.join("state").exists());
    let imported = data.import(&export, |wanted| wanted.mode = Mode::ContinueFromOlder).unwrap();
    assert_eq!(imported.lost_changes, 1);
}

#[test]
fn names_whose_keys_an_import_does_not_bring_are_told_and_never_shown_as_erased() {
    let store = Store::new();
    let export = store.export();
    let [later, erased] = [8, 9].map(|n| SessionId::from_parts(now(), n));
    for session in [&later, &erased] {
        let gap = AuditEvent::SessionGap { session: session.clone(), reason: "who it was".into() };
        store.audit.append(&gap).unwrap();
    }
    let data = store.lose_state();
    let refused = data.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Older { changes: 0, unreadable: 2, .. }), "{refused}");
    let imported = data.import(&export, |wanted| wanted.mode = Mode::ContinueFromOlder).unwrap();
    assert_eq!((imported.unreadable, imported.destroyed), (2, 0));
    let again = data.open();
    let bodies = |store: &Store| -> Vec<Option<String>> {
        let records = store.audit.records(0).map(Result::unwrap).filter(|record| record.kind == "session.gap");
        records.map(|record| record.text("body").map(str::to_owned)).collect()
    };
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(bodies(&again), [told("<key lost>"), told("<key lost>")]);
    // Its next events can be read, and an erasure is one.
    let gap = AuditEvent::SessionGap { session: erased.clone(), reason: "again".into() };
    again.audit.append(&gap).unwrap();
    again.audit.publish().unwrap();
    assert_eq!(bodies(&again)[2], None);
    assert!(again.audit.forget(&crate::audit::Subject::Session(erased)).unwrap());
    assert_eq!(bodies(&again), [told("<key lost>"), told("<erased>"), told("<erased>")]);
    let exported = again.export();
    again.lose_state().import(&exported, |_| {}).unwrap();
}

#[test]
fn what_was_erased_after_the_export_is_erased_again() {
    let store = Store::new();
    let envelope = store.home.directory().join(format!("env/{}.age", session()));
    let end = AuditEvent::SessionEnd { session: session(), closed: "00".into(), cause: "secret cause".into() };
    store.audit.append(&end).unwrap();
    let export = store.export();
    store.hold(false);
    store.erase();
    crate::durable::create_new(&envelope, b"put back", 0o600).unwrap();
    let data = store.lose_state();
    let imported = data.import(&export, |wanted| wanted.mode = Mode::ContinueFromOlder).unwrap();
    assert_eq!(imported.destroyed, 1);
    assert!(!envelope.exists());
    let again = data.open();
    let end = again.audit.records(0).map(Result::unwrap).find(|record| record.kind == "session.end").unwrap();
    assert_eq!(end.text("body"), Some("<erased>"));
}

#[test]
fn no_earlier_envelope_of_what_was_erased_comes_back_with_an_import() {
    let store = Store::new();
    let root = crate::store::StoreRoot::at(store.home.directory());
    store.hold(false);
    store.erase();
    let export = store.export();
    let earlier = root.rewraps_of(&session()).join(format!("{}.age", "0".repeat(64)));
    crate::durable::create_directories(earlier.parent().unwrap()).unwrap();
    for path in [root.envelope(&session()), earlier.clone()] {
        crate::durable::create_new(&path, b"put back", 0o600).unwrap();
    }
    let data = store.lose_state();
    let imported = data.import(&export, |wanted| wanted.mode = Mode::ContinueFromOlder).unwrap();
    assert_eq!(imported.destroyed, 1, "one recording, whatever there was of it");
    assert!(!root.envelope(&session()).exists() && !earlier.exists());
}

#[test]
fn an_import_does_not_finish_a_removal_of_what_is_on_hold_by_the_state_or_by_the_log_after_it() {
    for (before, after) in [(None, None), (Some(false), Some(true)), (Some(true), Some(false))] {
        let store = Store::new();
        let envelope = store.home.directory().join(format!("env/{}.age", session()));
        crate::durable::create_new(&envelope, b"not destroyed yet", 0o600).unwrap();
        store.erase();
        before.into_iter().for_each(|on| store.hold(on));
        let export = store.export();
        after.into_iter().for_each(|on| store.hold(on));
        let data = store.lose_state();
        let imported = data.import(&export, |wanted| wanted.mode = Mode::ContinueFromOlder).unwrap();
        let held = after != Some(false);
        assert_eq!((imported.held, imported.destroyed), (u64::from(held), u64::from(!held)), "{before:?} {after:?}");
        assert_eq!(envelope.exists(), held);
    }
}

#[test]
fn a_witness_that_has_seen_more_or_other_leaves_or_does_not_answer_forbids_the_import() {
    let store = Store::new();
    let export = store.export();
    let newest = store.newest();
    let data = store.lose_state();
    let seen = |size, root: Hash| {
        let checkpoint = Checkpoint { size, root, ..newest.clone() };
        vec![Seen { witness: "w1".to_owned(), checkpoint }]
    };
    for bad in [seen(newest.size + 1, newest.root), seen(newest.size, EMPTY_ROOT), seen(1, EMPTY_ROOT)] {
        let refused = data.import(&export, |wanted| wanted.seen = Ok(bad.clone())).unwrap_err();
        assert!(matches!(refused, BackupError::Ahead { .. }) && refused.hint().is_some(), "{refused}");
    }
    let refused = data.import(&export, |wanted| wanted.seen = Err("away".to_owned())).unwrap_err();
    assert!(matches!(refused, BackupError::NotAsked { .. }), "{refused}");
    assert!(!data.dir.join("state").exists());
    data.import(&export, |wanted| wanted.seen = Ok(seen(newest.size, newest.root))).unwrap();
}

#[test]
fn a_new_log_begins_with_the_import_and_keeps_what_is_not_the_logs() {
    let store = Store::new();
    let (export, old) = (store.export(), store.audit.key().clone());
    let data = store.lose_state();
    let refused = data.import(&export, |wanted| wanted.mode = Mode::NewLog).unwrap_err();
    assert!(matches!(refused, BackupError::Home(_)), "{refused}");
    std::fs::remove_file(data.dir.join("store.json")).unwrap();
    let refused = data.import(&export, |wanted| wanted.mode = Mode::NewLog).unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty { .. }), "{refused}");
    std::fs::remove_dir_all(data.dir.join("log")).unwrap();
    let imported = data.import(&export, |wanted| wanted.mode = Mode::NewLog).unwrap();
    let again = data.open();
    assert!(imported.log_key != old.to_string() && again.audit.key().name() != old.name());
    assert_eq!(again.vault.list().unwrap().len(), 1);
    let story: Vec<String> = again.audit.records(0).map(|record| record.unwrap().kind).collect();
    assert_eq!(story, ["state.import"]);
}

#[test]
fn a_state_is_never_imported_over_another_and_a_crash_before_the_end_can_be_repeated() {
    let store = Store::new();
    let export = store.export();
    let data = Data { dir: store.home.directory().to_owned(), identity: store.identity.clone(), _folder: None };
    let refused = data.import(&export, |_| {}).unwrap_err();
    assert!(matches!(refused, BackupError::Home(HomeError::Locked { .. })), "{refused}");
    let data = store.lose_state();
    // As a crash leaves it.
    std::fs::create_dir(data.dir.join("state.import")).unwrap();
    crate::durable::create_new(&data.dir.join("state.import/db"), b"half", 0o600).unwrap();
    data.import(&export, |_| {}).unwrap();
    assert!(!data.dir.join("state.import").exists());
    assert!(matches!(data.import(&export, |_| {}), Err(BackupError::Home(HomeError::Occupied { .. }))));
}

#[test]
fn a_table_that_is_not_known_is_not_left_out_in_silence() {
    let store = Store::new();
    store.db.table::<u32>("unheard-of").put("x", None, &1).unwrap();
    let refused = export(&store.vault, &store.recipients(), now()).unwrap_err();
    assert!(matches!(refused, BackupError::UnknownTable { table } if table == "unheard-of"));
}

#[test]
fn what_is_made_anew_from_the_log_is_in_no_export() {
    let store = Store::new();
    let before = export(&store.vault, &store.recipients(), now()).unwrap();
    store.db.table::<u32>("command-index").put("commands", None, &1).unwrap();
    let after = export(&store.vault, &store.recipients(), now()).unwrap();
    assert_eq!(after.entries, before.entries);
}

#[test]
fn the_states_of_as_many_backups_are_kept_as_is_asked_for() {
    let store = Store::new();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let kept = || -> Vec<Vec<u8>> {
        let mut paths: Vec<_> = std::fs::read_dir(to.join("states"))
            .map_or(Vec::new(), |all| all.map(|entry| entry.unwrap().path()).collect());
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    };
    let mut made = Vec::new();
    let mut back_up = |keep| {
        store.export();
        store.backup_keeping(&to, false, keep).unwrap();
        made.push(std::fs::read(to.join("state.age")).unwrap());
        made.clone()
    };
    assert!(matches!(super::completed(&to), Err(BackupError::NoBackup { .. })));
    back_up(None);
    assert_eq!((kept(), super::completed(&to).unwrap()), (Vec::new(), now()));
    back_up(Some(2));
    let made = back_up(Some(2));
    assert!(kept() == made[1..], "two, the older first");
    let made = back_up(Some(2));
    assert!(kept() == made[2..], "the oldest is gone");
    // One that is made by hand neither keeps its state nor removes any.
    back_up(None);
    assert!(kept() == made[2..]);
    let made = back_up(Some(1));
    assert!(kept() == made[5..]);
    let report = crate::verify::run(&to, &crate::verify::Settings::default(), &mut |_| {});
    assert_eq!(report.exit_code(), 0, "{report:?}");
}

#[test]
fn a_log_that_was_put_back_is_not_backed_up_over_a_newer_one() {
    let store = Store::new();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("backup");
    let copy = |dir: &std::path::Path| {
        let checkpoint = crate::log::Reader::open(&dir.join("log")).checkpoint(store.audit.key()).unwrap().unwrap().1;
        let settings = CopySettings {
            data: dir,
            key: store.audit.key().clone(),
            size: checkpoint.size,
            journal: store.audit.journal_at(checkpoint.size).unwrap(),
            state: export(&store.vault, &store.recipients(), now()).unwrap(),
            config: std::collections::BTreeMap::new(),
            quick: false,
            prune: false,
            keep: None,
            now: now(),
        };
        copy_store(&settings, &to, &mut |_| {})
    };
    let old = folder.path().join("old");
    store.audit.publish().unwrap();
    crate::durable::tests::copy_tree(store.home.directory(), &old);
    store.export();
    let first = copy(store.home.directory()).unwrap();
    assert!(first.missing.is_empty() && first.differing.is_empty());
    let refused = copy(&old).unwrap_err();
    assert!(matches!(&refused, BackupError::Differs { why, .. } if why.contains("put back")), "{refused}");
    let again = copy(store.home.directory()).unwrap();
    assert_eq!(again.leaves, first.leaves);
    assert!(again.copied.files < first.copied.files && again.copied.same > 0, "{again:?}");
    let report = crate::verify::run(&to, &crate::verify::Settings::default(), &mut |_| {});
    assert_eq!(report.exit_code(), 0, "{report:?}");
    // A witness may answer after the copy was made.
    let name = KeyName::parse("witness.example").unwrap();
    let witness = SigningKey::from_seed(name, Algorithm::Cosignature, Secret::new([9; 32])).unwrap();
    let note = store.audit.checkpoint().unwrap().unwrap();
    assert!(store.audit.cosigned(first.leaves, witness.cosign(note.unchecked_text(), 5).unwrap()).unwrap());
    copy(store.home.directory()).unwrap();
    let kept = std::fs::read_to_string(to.join(format!("log/checkpoints/{}", first.leaves))).unwrap();
    assert!(kept.contains("witness.example"), "{kept}");
    // A file that never changes, and did.
    let tile = to.join("log/tile/entries/000.p").join(first.leaves.to_string());
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[9] ^= 1;
    crate::durable::replace(&tile, &bytes, 0o600).unwrap();
    assert!(matches!(copy(store.home.directory()), Err(BackupError::Differs { .. })));
    assert_eq!(std::fs::read(&tile).unwrap(), bytes, "it was overwritten");
}

#[test]
fn a_backup_is_written_to_its_own_directory_and_nowhere_else() {
    let store = Store::new();
    store.export();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    crate::durable::create_new(&at("victim"), b"victim", 0o600).unwrap();
    std::fs::create_dir(at("backup")).unwrap();
    std::os::unix::fs::symlink(at("victim"), at("backup/LOCK")).unwrap();
    let refused = store.backup(&at("backup"), false).unwrap_err();
    assert!(matches!(refused, BackupError::Home(_)), "{refused:?}");
    assert_eq!(std::fs::read(at("victim")).unwrap(), b"victim");
    std::fs::remove_file(at("backup/LOCK")).unwrap();
    store.backup(&at("backup"), false).unwrap();
    for name in ["log", "log/tile", "log/tile/entries", "log/checkpoints", "rec", "env"] {
        let place = at("backup").join(name);
        std::fs::rename(&place, at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), &place).unwrap();
        let before = names_below(&at("elsewhere"));
        store.export();
        let refused = store.backup(&at("backup"), true).unwrap_err();
        assert!(matches!(&refused, BackupError::NotOurs { why, .. } if why.contains(name)), "{name}: {refused:?}");
        assert_eq!(names_below(&at("elsewhere")), before, "{name}");
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(at("elsewhere"), &place).unwrap();
        store.backup(&at("backup"), false).unwrap();
    }
    let refused = |why: &str| {
        for refused in
            [store.backup(&at("backup"), false).map(drop), check_place(store.home.directory(), &at("backup"))]
        {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
    };
    let mode =
        |mode| std::fs::set_permissions(at("backup"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o777);
    refused("everybody may write");
    mode(0o755);
    store.backup(&at("backup"), false).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(at("backup"), Some(65_534), None).unwrap();
        refused("belongs to uid 65534");
    }
}

/// All that lies below a directory.
fn names_below(folder: &std::path::Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            folders.extend(path.is_dir().then(|| path.clone()));
            found.insert(path);
        }
    }
    found
}

/// A store with one of each.
struct Store {
    folder: tempfile::TempDir,
    home: Home,
    db: Db,
    vault: Vault,
    audit: Audit,
    identity: Identity,
}

impl Store {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::create(&folder.path().join("data"), now()).unwrap();
        let db = Db::create(&home.state(), home.id(), MasterKey::random().unwrap()).unwrap();
        let vault = Vault::open(&db).unwrap();
        vault.create_bastion_keys().unwrap();
        let audit = Audit::create(&home.log(), vault.log_key(home.id()).unwrap(), &db, Clock::fixed(now())).unwrap();
        let ledger = Ledger::open(&db, PolicySet::empty()).unwrap();
        let keys = vec![crate::ledger::UserKey::parse(KEY, now()).unwrap()];
        let from = BTreeSet::new();
        ledger
            .add_user(User {
                name: alice(),
                groups: BTreeSet::new(),
                keys,
                suspended_at: None,
                from,
                password_since: None,
                person: None,
                until: None,
            })
            .unwrap();
        ledger.hold(&session(), Hold { by: "uid 0".into(), reason: "CASE-7".into(), since: now() }).unwrap();
        for text in ["first", "hunter2"] {
            let password = SecretValue::Password(Secret::new(text.to_owned()));
            vault.set(&destination("root@db1"), password, now()).unwrap();
        }
        let password = SecretValue::Password(Secret::new("gone".to_owned()));
        vault.set(&destination("root@db2"), password, now()).unwrap();
        vault.remove(&destination("root@db2")).unwrap();
        let failed = AuditEvent::AuthFailed { login: "x".into(), source: "y".into(), reason: "z".into() };
        audit.append(&failed).unwrap();
        Self { folder, home, db, vault, audit, identity: Identity::generate() }
    }

    fn recipients(&self) -> Recipients {
        Recipients::of([self.identity.recipient()]).unwrap()
    }

    /// As the administration does it.
    fn export(&self) -> Vec<u8> {
        self.audit.publish().unwrap();
        let SealedState { bytes, hash, .. } = export(&self.vault, &self.recipients(), now()).unwrap();
        self.vouch(hash);
        bytes
    }

    fn vouch(&self, hash: String) {
        self.audit.append(&AuditEvent::StateExport { hash, recipients: "00".into(), by: "uid 0".into() }).unwrap();
        self.audit.publish().unwrap();
    }

    fn hold(&self, on: bool) {
        let event = AuditEvent::Hold { session: session(), on, by: "x".into(), reason: "y".into() };
        self.audit.append(&event).unwrap();
        let ledger = Ledger::open(&self.db, PolicySet::empty()).unwrap();
        let hold = Hold { by: "uid 0".into(), reason: "CASE-8".into(), since: now() };
        if on { ledger.hold(&session(), hold).unwrap() } else { ledger.release(&session()).unwrap() }
    }

    fn erase(&self) {
        self.audit
            .append(&AuditEvent::Erase { session: session(), by: "x".into(), approver: "z".into(), reason: "y".into() })
            .unwrap();
    }

    fn backup(&self, to: &std::path::Path, prune: bool) -> Result<BackupFacts, BackupError> {
        self.backup_keeping(to, prune, None)
    }

    fn backup_keeping(
        &self,
        to: &std::path::Path,
        prune: bool,
        keep: Option<usize>,
    ) -> Result<BackupFacts, BackupError> {
        let size = self.newest().size;
        let settings = CopySettings {
            data: self.home.directory(),
            key: self.audit.key().clone(),
            size,
            journal: self.audit.journal_at(size).unwrap(),
            state: export(&self.vault, &self.recipients(), now()).unwrap(),
            config: std::collections::BTreeMap::new(),
            quick: false,
            prune,
            keep,
            now: now(),
        };
        copy_store(&settings, to, &mut |_| {})
    }

    fn newest(&self) -> Checkpoint {
        self.audit.reader().checkpoint(self.audit.key()).unwrap().unwrap().1
    }

    fn rev(&self) -> Rev {
        self.db.snapshot().unwrap().rev
    }

    /// The state directory without its state, and without its master key.
    fn lose_state(self) -> Data {
        let Self { folder, home, db, vault, audit, identity } = self;
        let dir = home.directory().to_owned();
        drop((audit, vault, db, home));
        std::fs::remove_dir_all(dir.join("state")).unwrap();
        Data { dir, identity, _folder: Some(folder) }
    }
}

/// What an import is tried with.
struct Wanted {
    mode: Mode,
    key: Option<VerifyingKey>,
    seen: Result<Vec<Seen>, String>,
    stranger: bool,
}

struct Data {
    dir: PathBuf,
    identity: Identity,
    _folder: Option<tempfile::TempDir>,
}

impl Data {
    /// Imports under a master key that is in a file beside the directory.
    fn import(&self, export: &[u8], change: impl FnOnce(&mut Wanted)) -> Result<Imported, BackupError> {
        let mut wanted = Wanted { mode: Mode::Continue, key: None, seen: Ok(Vec::new()), stranger: false };
        change(&mut wanted);
        let Wanted { mode, key, seen, stranger } = wanted;
        let witnesses =
            |_: &VerifyingKey| seen.clone().map_err(|why| BackupError::NotAsked { witness: "w1".to_owned(), why });
        let identities = [if stranger { Identity::generate() } else { self.identity.clone() }];
        let wanted = Import {
            data: &self.dir,
            master: self.master(),
            identities: &identities,
            mode,
            key,
            witnesses: &witnesses,
            progress: &mut |_| {},
            by: "uid 0".to_owned(),
            clock: Clock::fixed(now()),
        };
        import(std::io::Cursor::new(export), wanted)
    }

    fn master(&self) -> MasterKey {
        let path = self.dir.with_extension("key");
        MasterKey::load(&path).or_else(|_| MasterKey::create(&path)).unwrap()
    }

    fn open(&self) -> Store {
        let home = Home::open(&self.dir).unwrap();
        let db = Db::open(&home.state(), home.id(), self.master()).unwrap();
        let vault = Vault::open(&db).unwrap();
        let audit = Audit::open(&home.log(), vault.log_key(home.id()).unwrap(), &db, Clock::fixed(now()));
        let audit = audit.map_err(|error: crate::audit::AuditError| error.to_string()).unwrap();
        Store { folder: tempfile::tempdir().unwrap(), home, db, vault, audit, identity: self.identity.clone() }
    }
}

fn seal(plain: &[u8], identity: &Identity) -> Vec<u8> {
    let recipient = identity.recipient();
    let keys: [&dyn age::Recipient; 1] = [recipient.key()];
    let mut bytes = Vec::new();
    let mut sealing = age::Encryptor::with_recipients(keys.into_iter()).unwrap().wrap_output(&mut bytes).unwrap();
    sealing.write_all(plain).unwrap();
    sealing.finish().unwrap();
    bytes
}

fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T09:00:00Z").unwrap()
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn destination(text: &str) -> Destination {
    Destination::parse(text).unwrap()
}

fn session() -> SessionId {
    SessionId::from_parts(now(), 7)
}
