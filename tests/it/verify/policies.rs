//! The rules by which a session was let in are kept, and nobody changes them afterwards.

use std::fs;

use doorward::cli::evidence::{check_bundle, write_bundle};
use doorward::policy::PolicySet;
use doorward::store::sha256_hex;
use doorward::verify::{Settings, Verdict};
use serde_json::json;

use super::store::{Store, pinned, policy};

#[test]
fn a_policy_set_that_was_changed_or_taken_away_is_found_and_the_sessions_are_not_blamed() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let path = store.root().policy(policy().hash().as_str());
    let good = fs::read(&path).unwrap();
    assert_eq!((store.verify().exit_code(), store.verify().policies.kept), (0, 1));
    fs::remove_file(&path).unwrap();
    let report = store.verify();
    assert_eq!(report.exit_code(), 4, "{report:#?}");
    assert!(format!("{:?}", report.policies.missing).contains(policy().hash().as_str()), "{report:#?}");
    assert_eq!(store.verdict(&id).verdict, Verdict::OkUnanchored);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert_eq!(store.verify().exit_code(), 5, "byte {at}");
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(store.verify().exit_code(), 5);
    fs::write(&path, &good).unwrap();
    assert_eq!(store.verify().exit_code(), 0);
    std::os::unix::fs::symlink(&path, store.root().policies().join("other")).unwrap();
    assert!(format!("{:?}", store.verify().unexpected).contains("no leaf names"), "{:#?}", store.verify());
}

#[test]
fn a_set_that_was_in_force_must_be_there_though_no_session_came_by_it() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    // What it hashes to is right, and it is none.
    let junk = b"no policy set";
    let hash = sha256_hex(junk);
    store.append("policy.load", json!({ "hash": hash }));
    assert_eq!(store.verify().exit_code(), 4);
    fs::write(store.root().policy(&hash), junk).unwrap();
    let report = store.verify();
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    assert!(format!("{:?}", report.policies.findings).contains("not the files of a policy set"), "{report:#?}");
}

#[test]
fn a_session_that_names_other_rules_than_the_log_is_not_what_was_recorded() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    // Who holds the log's key says afterwards that the session came by other rules, and has them.
    let other = PolicySet::empty();
    store.root().keep_policy(&other).unwrap();
    let entries = store.entries().into_iter().map(|entry| {
        let text = String::from_utf8(entry).unwrap();
        text.replace(policy().hash().as_str(), other.hash().as_str()).into_bytes()
    });
    store.forge_log(&entries.collect::<Vec<_>>());
    store.assert_verdict(&id, Verdict::Tampered, "another policy set");
}

#[test]
fn a_bundle_has_the_rules_by_which_its_session_was_let_in_and_no_others() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &id, &bundle).unwrap();
    let check = || {
        let settings = Settings { key: pinned(), ..Settings::default() };
        check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()])).0
    };
    let path = bundle.join("policies").join(policy().hash().as_str());
    let carried = doorward::policy::decode_archive(&fs::read(&path).unwrap()).unwrap();
    assert!(carried[0].text.contains("accounts = ['root']"), "{carried:?}");
    assert_eq!(check().exit_code(), 0, "{:#?}", check());
    // Other rules, under their own true hash.
    let other = bundle.join("policies").join(sha256_hex(b""));
    fs::write(&other, b"").unwrap();
    assert_eq!(check().exit_code(), 5);
    fs::remove_file(&path).unwrap();
    assert_eq!(check().exit_code(), 5);
}
