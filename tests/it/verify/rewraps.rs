//! Envelopes that were made anew, and those who put others in their place.

use std::fs;
use std::path::PathBuf;

use doorward::auditor::Identity;
use doorward::cli::evidence::{check_bundle, write_bundle};
use doorward::model::SessionId;
use doorward::seal::{Dek, Recipients, Statement};
use doorward::store::{Rewrap, RewrapError, Rewrapped, hex, sha256_hex};
use doorward::verify::{Settings, Verdict};
use serde_json::json;

use super::store::{Store, pinned};

fn recipients(identities: &[&Identity]) -> Recipients {
    Recipients::of(identities.iter().map(|identity| identity.recipient())).unwrap()
}

/// Puts a change on record, as the bastion does.
fn log(store: &Store, record: &Rewrapped) {
    let digest = Recipients::of(record.recipients.iter().cloned()).unwrap().digest();
    let fields = json!({
        "session": record.session, "envelope": record.envelope, "recipients": hex(&digest),
        "rewrap": sha256_hex(&record.to_json()),
    });
    store.append("envelope.create", fields);
}

/// Seals a session's secret for others, from one who can open it.
pub fn rewrap(store: &Store, id: &SessionId, by: &Identity, to: &[&Identity]) -> Rewrapped {
    let root = store.root();
    let made = Rewrap::make(&root, id, std::slice::from_ref(by), &recipients(to)).unwrap();
    let record = made.check(&root).unwrap();
    root.stage_rewrap(&made, &record).unwrap();
    log(store, &record);
    root.finish_rewrap(&record).unwrap();
    record
}

fn deep(store: &Store, identity: &Identity) -> (u8, u64) {
    let settings = Settings { identities: Some(vec![identity.clone()]), ..Settings::default() };
    let report = store.verify_with(&settings);
    (report.exit_code(), report.opened.unwrap().read)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

fn beside(store: &Store, id: &SessionId, name: &str) -> PathBuf {
    store.root().rewraps_of(id).join(name)
}

#[test]
fn a_key_that_was_erased_and_is_kept_is_told_wherever_it_lies() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let one = Identity::generate();
    rewrap(&store, &id, &store.auditor, &[&one]);
    store.append("erase", json!({ "session": id }));
    let kept = store.root().earlier_envelopes(&id);
    for _ in 0..2 {
        store.assert_verdict(&id, Verdict::Interrupted, "KEY NOT DESTROYED");
        assert!(format!("{:?}", store.verdict(&id).notes).contains("env/rewrapped/"));
        let refused = doorward::verify::plan(store.path(), &id, &Settings::default()).unwrap_err();
        assert!(refused.to_string().contains("it is SHREDDED"), "{refused}");
        drop(fs::remove_file(store.root().envelope(&id)));
    }
    assert_eq!(kept.len(), 1);
    kept.iter().for_each(|path| fs::remove_file(path).unwrap());
    store.assert_verdict(&id, Verdict::Shredded, "its key was destroyed");
    assert!(!format!("{:?}", store.verdict(&id)).contains("NOT DESTROYED"));
    // The one in its place is one too.
    let (store, id) = Store::with_session(&["one\r\n"]);
    store.append("erase", json!({ "session": id }));
    store.assert_verdict(&id, Verdict::Interrupted, &format!("`env/{id}.age` is there"));
}

#[test]
fn a_rewrapped_envelope_is_good_and_opens_for_the_new_auditors_alone() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let path = store.root().envelope(&id);
    let old = fs::read(&path).unwrap();
    let [one, two] = [Identity::generate(), Identity::generate()];
    rewrap(&store, &id, &store.auditor, &[&one, &two]);
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    assert_eq!((deep(&store, &one), deep(&store, &two)), ((0, 1), (0, 1)));
    // UNREAD: it opens nothing any more.
    assert_eq!(deep(&store, &store.auditor), (6, 0));
    // The one before is kept, and is not the one that belongs there.
    assert_eq!(fs::read(beside(&store, &id, &format!("{}.age", sha256_hex(&old)))).unwrap(), old);
    let new = fs::read(&path).unwrap();
    fs::write(&path, &old).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, ".age");
    fs::write(&path, &new).unwrap();
    // Again, by a new one; then what is kept may be destroyed by who opens the present one.
    rewrap(&store, &id, &two, &[&two]);
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    assert_eq!((deep(&store, &one), deep(&store, &two)), ((6, 0), (0, 1)));
    let root = store.root();
    assert_eq!(root.earlier_envelopes(&id).len(), 2);
    assert!(root.prove_opened(&id, std::slice::from_ref(&one)).is_err());
    let (envelope, proof) = root.prove_opened(&id, &[two]).unwrap();
    root.check_opened(&id, &envelope, &proof).unwrap();
    root.drop_earlier(&id).unwrap();
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
}

#[test]
fn every_byte_beside_a_rewrapped_envelope_counts() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let one = Identity::generate();
    rewrap(&store, &id, &store.auditor, &[&one]);
    let directory = store.root().rewraps_of(&id);
    for path in fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(store.verdict(&id).verdict, Verdict::Tampered, "byte {at} of {}", path.display());
        }
        fs::write(&path, &good).unwrap();
        store.assert_verdict(&id, Verdict::OkUnanchored, "");
    }
    let record = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let record = record.into_iter().find(|path| path.extension().unwrap() == "json").unwrap();
    let other = beside(&store, &id, &format!("{}.json", "0".repeat(64)));
    fs::copy(&record, &other).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "no trace");
    fs::remove_file(&other).unwrap();
    fs::write(beside(&store, &id, "x"), b"").unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "not a part");
    fs::remove_file(beside(&store, &id, "x")).unwrap();
    fs::remove_file(&record).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "missing");
}

#[test]
fn who_cannot_open_an_envelope_cannot_have_it_replaced_not_even_with_the_logs_key() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let (root, thief) = (store.root(), Identity::generate());
    let made = Rewrap::make(&root, &id, std::slice::from_ref(&store.auditor), &recipients(&[&thief])).unwrap();
    // Garbage that has the form of an envelope: another secret, for whom you like.
    let other = Dek::random().unwrap();
    let garbage = recipients(&[&thief]).wrap(&other).unwrap();
    let session = id.to_bytes().unwrap();
    let before = fs::read(root.envelope(&id)).unwrap();
    let digest =
        |bytes: &[u8]| <[u8; 32]>::try_from(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref()).unwrap();
    let statement = Statement::Rewrapped {
        before: digest(&before),
        after: digest(&garbage),
        recipients: recipients(&[&thief]).digest(),
    };
    for proof in [other.sign(&session, &statement).unwrap(), made.proof] {
        let forged = Rewrap { envelope: base64(&garbage), proof, ..made.clone() };
        assert!(matches!(forged.check(&root), Err(RewrapError::Unproven)));
        // Root, with the log's key, puts it there nevertheless.
        let record = Rewrapped { envelope: sha256_hex(&garbage), proof, ..made.check(&root).unwrap() };
        let crime = store.copy();
        let root = crime.root();
        root.stage_rewrap(&forged, &record).unwrap();
        log(&crime, &record);
        root.finish_rewrap(&record).unwrap();
        crime.assert_verdict(&id, Verdict::Tampered, "nobody who could open the envelope before has signed");
    }
    for bad in [&b""[..], b"garbage", &garbage[..garbage.len() - 1]] {
        let forged = Rewrap { envelope: base64(bad), ..made.clone() };
        assert!(matches!(forged.check(&root), Err(RewrapError::Form(_))));
    }
    let more = recipients(&[&thief, &store.auditor]).iter().cloned().collect();
    assert!(matches!(Rewrap { recipients: more, ..made.clone() }.check(&root), Err(RewrapError::Form(_))));
    assert!(matches!(Rewrap { recipients: Vec::new(), ..made.clone() }.check(&root), Err(RewrapError::NoRecipients)));
    // One that was made from an envelope that is not there any more.
    rewrap(&store, &id, &store.auditor, &[&store.auditor]);
    assert!(matches!(made.check(&root), Err(RewrapError::Moved)));
}

#[test]
fn an_auditor_who_seals_another_secret_is_found_by_who_opens_it_and_has_destroyed_nothing() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let root = store.root();
    let before = fs::read(root.envelope(&id)).unwrap();
    let dek = Dek::from_envelope(&before, std::slice::from_ref(&store.auditor)).unwrap();
    let to = recipients(&[&store.auditor]);
    let lie = to.wrap(&Dek::random().unwrap()).unwrap();
    let statement = Statement::Rewrapped { before: digest(&before), after: digest(&lie), recipients: to.digest() };
    let rewrap = Rewrap {
        session: id.clone(),
        before: sha256_hex(&before),
        envelope: base64(&lie),
        recipients: to.iter().cloned().collect(),
        proof: dek.sign(&id.to_bytes().unwrap(), &statement).unwrap(),
    };
    let record = rewrap.check(&root).unwrap();
    root.stage_rewrap(&rewrap, &record).unwrap();
    log(&store, &record);
    root.finish_rewrap(&record).unwrap();
    // Without a key that cannot be seen; with one it can.
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    assert_eq!(deep(&store, &store.auditor).0, 5);
    assert!(matches!(root.prove_opened(&id, std::slice::from_ref(&store.auditor)), Err(RewrapError::NotTheKey)));
    let kept = fs::read(&root.earlier_envelopes(&id)[0]).unwrap();
    assert_eq!(Dek::from_envelope(&kept, std::slice::from_ref(&store.auditor)).unwrap().expose(), dek.expose());
}

#[test]
fn an_auditor_whose_envelope_holds_another_secret_makes_no_new_one() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let root = store.root();
    fs::write(root.envelope(&id), recipients(&[&store.auditor]).wrap(&Dek::random().unwrap()).unwrap()).unwrap();
    let identities = [store.auditor.clone()];
    assert!(matches!(
        Rewrap::make(&root, &id, &identities, &recipients(&[&store.auditor])),
        Err(RewrapError::NotTheKey)
    ));
    assert!(matches!(root.prove_opened(&id, &identities), Err(RewrapError::NotTheKey)));
}

#[test]
fn a_change_that_a_crash_interrupts_anywhere_loses_nothing_and_is_explained() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let one = Identity::generate();
    let root = store.root();
    let made = Rewrap::make(&root, &id, std::slice::from_ref(&store.auditor), &recipients(&[&one])).unwrap();
    let record = made.check(&root).unwrap();
    root.stage_rewrap(&made, &record).unwrap();
    store.assert_verdict(&id, Verdict::OkUnanchored, "is not on record");
    // It can be taken back as long as it is not.
    let back = store.copy();
    back.root().unstage_rewrap(&record).unwrap();
    assert!(back.root().staged_rewraps().is_empty());
    back.assert_verdict(&id, Verdict::OkUnanchored, "");
    log(&store, &record);
    store.assert_verdict(&id, Verdict::OkUnanchored, "is on record");
    // Neither of the two envelopes there.
    let worse = store.copy();
    fs::write(worse.root().envelope(&id), b"x").unwrap();
    worse.assert_verdict(&id, Verdict::Tampered, "hash");
    assert!(matches!(worse.root().finish_rewrap(&record), Err(RewrapError::Moved)));
    // The next start, twice: the second time all but the record's name is done.
    for place in 0..2 {
        let root = store.root();
        assert_eq!(root.staged_rewraps(), std::slice::from_ref(&id));
        let (staged, found) = root.staged_rewrap(&id).unwrap();
        assert_eq!((staged.is_some(), &found), (place == 0, &record));
        if let Some(staged) = staged {
            assert_eq!(staged.check(&root).unwrap(), record);
            log(&store, &record);
        }
        root.finish_rewrap(&record).unwrap();
        store.assert_verdict(&id, Verdict::OkUnanchored, "");
        if place == 0 {
            let (named, next) = (format!("{}.json", record.envelope), "next.json");
            fs::rename(beside(&store, &id, &named), beside(&store, &id, next)).unwrap();
            store.assert_verdict(&id, Verdict::OkUnanchored, "interrupted");
        }
    }
    assert!(store.root().staged_rewraps().is_empty());
    assert_eq!(deep(&store, &one), (0, 1));
}

#[test]
fn a_bundle_carries_how_its_envelope_came_to_be() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let [one, two] = [Identity::generate(), Identity::generate()];
    rewrap(&store, &id, &store.auditor, &[&one]);
    rewrap(&store, &id, &one, &[&two]);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![two.clone()], &id, &bundle).unwrap();
    let check = || {
        let settings = Settings { key: pinned(), ..Settings::default() };
        check_bundle(&bundle, &settings, Some(vec![two.clone()])).0
    };
    assert_eq!(check().exit_code(), 0, "{:#?}", check());
    let directory = bundle.join("env/rewrapped").join(id.as_str());
    let records: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(records.len(), 2, "the envelopes before are not handed out: {records:?}");
    for record in records {
        let good = fs::read(&record).unwrap();
        fs::remove_file(&record).unwrap();
        assert_eq!(check().exit_code(), 5);
        fs::write(&record, &good[1..]).unwrap();
        assert_eq!(check().exit_code(), 5);
        fs::write(&record, good).unwrap();
    }
    fs::write(directory.join("next.json"), b"x").unwrap();
    assert_eq!(check().exit_code(), 5);
}
