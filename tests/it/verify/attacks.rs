//! Each attacker on a real store, and the exact verdict.

use std::fs;
use std::os::unix::fs::symlink;

use doorward::clock::Clock;
use doorward::model::{SessionId, Timestamp};
use doorward::seal::{HEADER_BYTES, Item, Kind, Scan, Scanner, scan};
use doorward::tlog::{Checkpoint, Note};
use doorward::verify::{Kept, Settings, Verdict};
use serde_json::json;

use super::store::{Bastion, Store, leaf, log_key, pinned, witness_key};

fn kept(note: Note) -> Settings {
    Settings {
        key: pinned(),
        kept: vec![Kept { from: String::from("my copy"), note, witness: None }],
        ..Settings::default()
    }
}

#[test]
fn an_untouched_store_is_ok_and_says_that_nobody_else_vouches_for_it() {
    let (store, id) = Store::with_session(&["one\r\n", "two\r\n"]);
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    let report = store.verify();
    assert_eq!((report.anchor.size, report.unexpected.iter().next()), (0, None));
    assert_eq!(report.log.warnings.iter().next(), None);
}

#[test]
fn a_session_before_a_kept_checkpoint_is_ok_and_one_after_it_is_unanchored() {
    let (store, first) = Store::with_session(&["one\r\n"]);
    let note = store.note();
    let bastion = store.bastion();
    let second = bastion.session(&["two\r\n"]);
    bastion.stop();
    let report = store.verify_with(&kept(note));
    let verdict = |id| report.sessions.iter().find(|session| session.session == id).unwrap().verdict;
    assert_eq!((verdict(first), verdict(second)), (Verdict::Ok, Verdict::OkUnanchored), "{report:#?}");
    assert_eq!(report.exit_code(), 0);
}

// "edits or reorders bytes of a sealed segment"
#[test]
fn an_edited_byte_is_found_with_its_file_and_place() {
    let (store, id) = Store::with_session(&["one\r\n", "two\r\n"]);
    let path = store.segment(&id, 1, 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[150] ^= 1;
    fs::write(&path, bytes).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
    let found = store.verdict(&id);
    assert!(found.findings.iter().next().unwrap().offset.is_some(), "{found:?}");
}

#[test]
fn records_in_another_order_are_found() {
    let (store, id) = Store::with_session(&["one\r\n", "two\r\n", "three\r\n"]);
    let path = store.segment(&id, 1, 0);
    let bytes = fs::read(&path).unwrap();
    let mut offsets = Vec::new();
    let (mut scanner, mut input) = (Scanner::new(), bytes.as_slice());
    while let Ok(Some(item)) = scanner.read(&mut input) {
        if let Item::Record(record) = item {
            offsets.push((record.offset() as usize, record.bytes().len()));
        }
    }
    let [_, (a, a_len), (b, b_len), ..] = offsets.as_slice() else { panic!("{offsets:?}") };
    let swapped = [&bytes[..*a], &bytes[*b..b + b_len], &bytes[*a..a + a_len], &bytes[b + b_len..]].concat();
    fs::write(&path, swapped).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "checksum");
}

#[test]
fn two_channels_that_changed_places_are_found() {
    let store = Store::new();
    let bastion = store.bastion();
    let mut live = bastion.open(&["one\r\n"]);
    let id = live.id.clone();
    bastion.channel(&mut live, &["two\r\n"], Some(0));
    bastion.close(live);
    bastion.stop();
    let [one, two] = [1, 2].map(|channel| store.session(&id).join(channel.to_string()));
    let aside = store.session(&id).join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "another session or channel");
}

// "cuts the tail of a closed recording"
#[test]
fn a_closed_recording_that_was_cut_anywhere_is_found() {
    let (store, id) = Store::with_session(&["one\r\n", "two\r\n"]);
    let path = store.segment(&id, 1, 0);
    let bytes = fs::read(&path).unwrap();
    for len in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
        fs::write(&path, &bytes[..len]).unwrap();
        store.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
    }
    fs::remove_file(&path).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "it is missing");
}

// "cuts the tail of a live or crashed one"
#[test]
fn a_crashed_recording_that_was_cut_before_its_last_heads_is_found() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    let seen = scan(&fs::read(store.segment(&id, 1, 0)).unwrap());
    let heads = json!([{ "session": id, "channel": 1, "segment": 0, "records": seen.records,
                         "head": seen.head.to_string() }]);
    bastion.log.append(leaf("session.heads", json!({ "heads": heads }))).unwrap();
    bastion.show(&live, 1, &["three\r\n"]);
    let crashed = store.crashed(&bastion, live);
    crashed.assert_verdict(&id, Verdict::Interrupted, "live, or the bastion stopped");
    let path = crashed.segment(&id, 1, 0);
    let bytes = fs::read(&path).unwrap();
    let anchored = seen.valid_len as usize;
    assert!(bytes.len() > anchored);
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        let verdict = if len < anchored { Verdict::Tampered } else { Verdict::Interrupted };
        assert_eq!(crashed.verdict(&id).verdict, verdict, "cut at {len} of {anchored}");
    }
    fs::remove_dir_all(crashed.session(&id).join("1")).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
}

// "deletes a whole session"
#[test]
fn a_session_that_was_deleted_is_missing_unless_the_log_says_why() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let deleted = store.copy();
    fs::remove_dir_all(deleted.session(&id)).unwrap();
    fs::remove_file(deleted.root().envelope(&id)).unwrap();
    deleted.assert_verdict(&id, Verdict::Missing, "it is missing");
    deleted.append("gc", json!({ "sessions": [id] }));
    deleted.assert_verdict(&id, Verdict::Expired, "leaf ");

    fs::remove_file(store.root().envelope(&id)).unwrap();
    store.assert_verdict(&id, Verdict::Missing, ".age");
    store.append("erase", json!({ "session": id }));
    store.assert_verdict(&id, Verdict::Shredded, "leaf ");
    // Erasing the key excuses nothing else.
    fs::remove_file(store.segment(&id, 1, 0)).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
}

#[test]
fn a_session_that_was_added_is_found() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let (other, foreign) = Store::with_session(&["forged\r\n"]);
    super::store::copy_tree(&other.session(&foreign), &store.session(&foreign));
    fs::copy(other.root().envelope(&foreign), store.root().envelope(&foreign)).unwrap();
    store.assert_verdict(&foreign, Verdict::Tampered, "no leaf that says that it began");
    assert_eq!(store.verdict(&id).verdict, Verdict::OkUnanchored);
}

// "deletes session and its leaves, re-signs (root, key stolen, after the fact)"
#[test]
fn a_rewritten_history_is_found_by_who_kept_a_checkpoint_and_by_nobody_else() {
    let store = Store::new();
    let bastion = store.bastion();
    let [gone, id] = [bastion.session(&["rm -rf /\r\n"]), bastion.session(&["all is well\r\n"])];
    bastion.stop();
    let note = store.note();
    // The session and its leaves are taken away, the others numbered and signed anew with the stolen key.
    fs::remove_dir_all(store.session(&gone)).unwrap();
    fs::remove_file(store.root().envelope(&gone)).unwrap();
    let others = store.entries().into_iter().filter(|entry| !String::from_utf8_lossy(entry).contains(gone.as_str()));
    store.forge_log(&numbered(others));
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    assert_eq!(store.verify().sessions.len(), 1);
    let bastion = store.bastion();
    for _ in 0..2 {
        bastion.session(&["more\r\n"]);
    }
    bastion.stop();
    let report = store.verify_with(&kept(note));
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    assert!(format!("{:?}", report.log.findings).contains("rewritten"), "{report:#?}");
}

// "rollback of disk/VM snapshot"
#[test]
fn a_rewritten_history_is_found_by_a_checkpoint_of_a_size_at_which_it_published_nothing() {
    let (store, _) = Store::with_session(&["yesterday\r\n"]);
    let forged = store.copy();
    let bastion = store.bastion();
    bastion.session(&["rm -rf /\r\n"]);
    bastion.stop();
    let note = store.note();
    let bastion = forged.bastion();
    for _ in 0..3 {
        bastion.session(&["all is well\r\n"]);
    }
    bastion.stop();
    // The forger had no reason to publish at just the size that was kept.
    let size = Checkpoint::parse(note.unchecked_text()).unwrap().size;
    for partial in ["tile/0/000.p", "tile/entries/000.p"] {
        drop(fs::remove_file(forged.path().join("log").join(partial).join(size.to_string())));
    }
    drop(fs::remove_file(forged.path().join("log/checkpoints").join(size.to_string())));
    let report = forged.verify_with(&kept(note));
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    assert!(format!("{:?}", report.log.findings).contains("rewritten"), "{report:#?}");
}

#[test]
fn a_store_that_was_put_back_is_found_by_who_kept_a_newer_checkpoint() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let yesterday = store.copy();
    let bastion = store.bastion();
    bastion.session(&["two\r\n"]);
    bastion.stop();
    assert_eq!(yesterday.verify().exit_code(), 0);
    let report = yesterday.verify_with(&kept(store.note()));
    assert_eq!(report.exit_code(), 5);
    assert!(format!("{:?}", report.log.findings).contains("rolled back"), "{report:#?}");
}

#[test]
fn a_kept_checkpoint_that_the_log_did_not_sign_is_refused() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let mut text = store.note().to_string();
    text = text.replacen("example.org/bastion\n", "example.org/bastian\n", 1);
    let report = store.verify_with(&kept(Note::parse(text.as_bytes()).unwrap()));
    assert_eq!(report.exit_code(), 5, "{report:#?}");
}

// "split view to two auditors", "log key compromise"
#[test]
fn a_history_that_too_few_witnesses_cosigned_does_not_pass_where_they_are_required() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let witnesses = [witness_key("w1.example", 1), witness_key("w2.example", 2)];
    let text = store.note().unchecked_text().to_owned();
    let log = store.log();
    let size = Checkpoint::parse(&text).unwrap().size;
    let settings = |require_witnesses| Settings {
        key: pinned(),
        witnesses: witnesses.iter().map(|key| key.public().clone()).collect(),
        require_witnesses,
        ..Settings::default()
    };
    assert_eq!(store.verify_with(&settings(1)).exit_code(), 6);
    log.add_signatures(size, vec![witnesses[0].cosign(&text, 1_800_000_000).unwrap()]).unwrap();
    let report = store.verify_with(&settings(1));
    assert_eq!((report.exit_code(), report.sessions[0].verdict), (0, Verdict::Ok), "{report:#?}");
    let report = store.verify_with(&settings(2));
    assert_eq!((report.exit_code(), report.sessions[0].verdict), (6, Verdict::OkUnanchored), "{report:#?}");
    // A witness whose key was not given vouches for nothing, and is named.
    let report = store.verify();
    assert_eq!(report.sessions[0].verdict, Verdict::OkUnanchored);
    assert!(format!("{:?}", report.log.warnings).contains("w1.example"), "{report:#?}");
    // A cosignature that does not hold is no cosignature.
    let forged = Store::with_session(&["forged\r\n"]).0;
    let other = forged.note().unchecked_text().to_owned();
    let size = Checkpoint::parse(&other).unwrap().size;
    forged.log().add_signatures(size, vec![witnesses[0].cosign(&text, 1_800_000_000).unwrap()]).unwrap();
    assert_eq!(forged.verify_with(&settings(1)).exit_code(), 5);
    assert_eq!(store.verdict(&id).verdict, Verdict::OkUnanchored);
}

// "root forges earlier segments of that session"
#[test]
fn records_that_were_sealed_anew_do_not_meet_the_heads_that_are_on_record() {
    // The forger makes the whole session again, with its id, and logs what fits: but for the heads of before.
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["rm -rf /\r\n"]);
    let id = live.id.clone();
    log_heads(&store, &bastion, &id);
    bastion.close(live);
    bastion.stop();
    let is_heads = |entry: &Vec<u8>| String::from_utf8_lossy(entry).contains("session.heads");
    let heads = store.entries().into_iter().find(is_heads).unwrap();
    let anew = Store::new();
    let bastion = anew.bastion();
    let mut live = bastion.open_quietly(&id);
    bastion.log_start(&live, &Bastion::recipients(&live));
    bastion.channel(&mut live, &["all ok!!\r\n"], None);
    bastion.close(live);
    bastion.stop();
    let mut entries = anew.entries();
    anew.forge_log(&numbered(entries.clone().into_iter()));
    anew.assert_verdict(&id, Verdict::OkUnanchored, "");
    // What somebody has seen of the log cannot be left out of it.
    entries.insert(1, heads);
    anew.forge_log(&numbered(entries.into_iter()));
    anew.assert_verdict(&id, Verdict::Tampered, "not those that the log saw");
}

/// Puts on record how far channel 1 of a session has come, and gives what it was.
fn log_heads(store: &Store, bastion: &Bastion, id: &SessionId) -> Scan {
    let seen = scan(&fs::read(store.segment(id, 1, 0)).unwrap());
    let heads = json!([{ "session": id, "channel": 1, "segment": 0, "records": seen.records,
                         "head": seen.head.to_string() }]);
    bastion.log.append(leaf("session.heads", json!({ "heads": heads }))).unwrap();
    seen
}

// "root during a session forges the current segment before it is anchored": nothing can show it
#[test]
fn what_root_forges_before_a_head_of_it_is_on_record_shows_nowhere_and_after_that_it_does() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["rm -rf /\r\n"]);
    let id = live.id.clone();
    let anchored = {
        bastion.log.publish().unwrap();
        let before = store.copy();
        log_heads(&store, &bastion, &id);
        bastion.log.publish().unwrap();
        let after = store.copy();
        [(before, Verdict::Interrupted), (after, Verdict::Tampered)]
    };
    bastion.close(live);
    for (store, verdict) in anchored {
        let path = store.segment(&id, 1, 0);
        let bytes = fs::read(&path).unwrap();
        let forged = last_record_forged(&bytes);
        assert!(forged != bytes && forged.len() == bytes.len());
        fs::write(&path, forged).unwrap();
        store.assert_verdict(&id, verdict, "");
        store.recover();
        store.assert_verdict(&id, verdict, "the bastion stopped while it ran");
    }
}

/// The segment with another last record that fits the chain: who has the key of the segment can also make it open.
fn last_record_forged(bytes: &[u8]) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| ring::digest::digest(&ring::digest::SHA256, &parts.concat()).as_ref().to_vec();
    let (mut scanner, mut input, mut heads) = (Scanner::new(), bytes, vec![]);
    while let Ok(Some(item)) = scanner.read(&mut input) {
        match item {
            Item::Header(header) => heads.push((0, hash(&[&[0], &header.prev_head.0, &bytes[..HEADER_BYTES]]))),
            Item::Record(record) => heads.push((record.offset() as usize, record.head().0.to_vec())),
        }
    }
    let [.., (_, before), (at, _)] = heads.as_slice() else { panic!("{heads:?}") };
    let mut forged = bytes[..bytes.len() - 4].to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let sum = crc32c::crc32c_append(crc32c::crc32c(before), &forged[*at..]).to_le_bytes();
    forged.extend_from_slice(&sum);
    forged
}

// "cuts the tail of a live or crashed one"
#[test]
fn a_live_recording_that_was_cut_before_its_last_heads_is_found_while_it_runs() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    let seen = log_heads(&store, &bastion, &id);
    bastion.log.publish().unwrap();
    let at_work = Settings { now: Some(Clock::system().now()), ..Settings::default() };
    let verdict = || store.verify_with(&at_work).sessions[0].verdict;
    assert_eq!(verdict(), Verdict::Interrupted);
    let path = store.segment(&id, 1, 0);
    let anchored = usize::try_from(seen.valid_len).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(u64::try_from(anchored - 1).unwrap()).unwrap();
    assert_eq!(verdict(), Verdict::Tampered);
    // What is recorded after that does not hide it.
    bastion.show(&live, 1, &["three\r\n"]);
    assert_eq!(verdict(), Verdict::Tampered);
    bastion.close(live);
    bastion.stop();
    assert_eq!(verdict(), Verdict::Tampered);
}

#[test]
fn heads_that_come_after_the_end_are_met_too() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let (records, good) = last_head(&store, &id);
    let heads = |head: &str| json!({ "heads": [{ "session": id, "channel": 1, "segment": 0, "records": records, "head": head }] });
    store.append("session.heads", heads(&good));
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    store.append("session.heads", heads(&"9".repeat(64)));
    store.assert_verdict(&id, Verdict::Tampered, "not those that the log saw");
}

/// Leaves with the numbers of their places.
pub fn numbered(entries: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    (0..).zip(entries).map(|(seq, entry)| with_seq(&entry, seq)).collect()
}

fn with_seq(entry: &[u8], seq: u64) -> Vec<u8> {
    let mut leaf: serde_json::Value = serde_json::from_slice(entry).unwrap();
    leaf["seq"] = seq.into();
    leaf.to_string().into_bytes()
}

#[test]
fn leaves_in_other_places_than_they_say_are_found_whoever_signed_them() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let mut entries = store.entries();
    let last = entries.len() - 1;
    entries[last] = with_seq(&entries[last], 99);
    store.forge_log(&entries);
    let report = store.verify();
    assert_eq!(report.exit_code(), 5, "{report:#?}");
    entries[last] = with_seq(&entries[last], last as u64);
    store.forge_log(&entries);
    assert_eq!(store.verify().exit_code(), 0);
    // A leaf of a version that is not known may say anything.
    entries[last] = String::from_utf8(entries[last].clone()).unwrap().replace("\"v\":1", "\"v\":2").into_bytes();
    store.forge_log(&entries);
    assert_eq!(store.verify().exit_code(), 5);
}

/// After how many records, and the head then.
fn last_head(store: &Store, id: &SessionId) -> (u64, String) {
    let bytes = fs::read(store.segment(id, 1, 0)).unwrap();
    let (mut scanner, mut input, mut last) = (Scanner::new(), bytes.as_slice(), None);
    while let Ok(Some(item)) = scanner.read(&mut input) {
        if let Item::Record(record) = item
            && record.kind() == Kind::Data
        {
            last = Some((record.index(), record.head().to_string()));
        }
    }
    last.unwrap()
}

// "host clock set back"
#[test]
fn a_clock_that_went_back_without_a_leaf_is_told_and_proves_nothing() {
    let store = Store::new();
    let clock = Clock::fixed(Timestamp::from_millis(1_800_000_000_000));
    let log = store.log_at(clock.clone());
    log.append(leaf("node.start", json!({}))).unwrap();
    clock.set(Timestamp::from_millis(1_700_000_000_000));
    log.append(leaf("clock.step", json!({ "step_ms": -1 }))).unwrap();
    log.publish().unwrap();
    assert_eq!(store.verify().log.warnings.iter().next(), None);
    clock.set(Timestamp::from_millis(1_600_000_000_000));
    log.append(leaf("node.stop", json!({}))).unwrap();
    log.publish().unwrap();
    let report = store.verify();
    assert!(format!("{:?}", report.log.warnings).contains("leaf 2"), "{report:#?}");
    assert_eq!(report.exit_code(), 0);
}

// "host clock set ahead"
#[test]
fn what_is_removed_by_a_clock_that_leapt_is_told_and_what_is_removed_after_a_quiet_week_is_not() {
    let removed_after = |gap_days: i64, between: &str, wait_hours: i64| {
        let (store, id) = Store::with_session(&["one\r\n"]);
        let newest = store.verify().log.newest.unwrap();
        let at = |hours: i64| Timestamp::from_millis(newest.as_millis() + (gap_days * 24 + hours) * 3_600_000);
        let clock = Clock::fixed(at(0));
        let log = store.log_at(clock.clone());
        log.append(leaf(between, json!({}))).unwrap();
        clock.set(at(wait_hours));
        log.append(leaf("gc", json!({ "sessions": [id] }))).unwrap();
        log.publish().unwrap();
        let told = format!("{:?}", store.verify().log.warnings);
        told.contains("removes recordings by it")
    };
    assert!(removed_after(500, "node.start", 0) && removed_after(8, "clock.doubt", 23));
    assert!(!removed_after(500, "node.start", 25), "a day is time enough to notice it");
    assert!(!removed_after(6, "node.start", 0));
    assert!(!removed_after(500, "admin.call", 0), "a bastion that runs may have had nothing to put on record");
}

#[test]
fn a_store_whose_key_was_replaced_with_its_history_is_found_by_who_has_the_key() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let other = Settings {
        key: Some(
            doorward::tlog::SigningKey::from_seed(
                log_key().public().name().clone(),
                doorward::tlog::Algorithm::Note,
                doorward::secret::Secret::new([8; 32]),
            )
            .unwrap()
            .public()
            .clone(),
        ),
        ..Settings::default()
    };
    assert_eq!(store.verify().exit_code(), 0);
    let report = store.verify_with(&other);
    assert_eq!(report.exit_code(), 5);
    assert!(report.sessions.is_empty(), "no leaf is believed: {report:#?}");
}

#[test]
fn links_pipes_and_directories_in_place_of_files_are_found_and_not_followed() {
    for name in
        ["opened.json", "closed.json", "1/000000.seg", "1", "env", "log/checkpoint", "log/tile", "log/leaves.wal"]
    {
        for kind in ["link", "pipe", "directory"] {
            let (store, id) = Store::with_session(&["one\r\n"]);
            let path = match name {
                "env" => store.root().envelope(&id),
                name if name.starts_with("log") => store.path().join(name),
                name => store.session(&id).join(name),
            };
            let aside = store.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            match kind {
                "link" => symlink(&aside, &path).unwrap(),
                "pipe" => {
                    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
                        .unwrap()
                }
                _ => fs::create_dir(&path).unwrap(),
            }
            let code = store.verify().exit_code();
            assert_eq!(code, 5, "{kind} in place of {name}: {:#?}", store.verify());
        }
    }
}

#[test]
fn i7_each_checkpoint_that_was_ever_published_is_a_beginning_of_the_log() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let log = store.log();
    for _ in 0..200 {
        log.append(leaf("node.start", json!({}))).unwrap();
    }
    log.publish().unwrap();
    drop(log);
    // As many as there would be, had each leaf been published by itself.
    let mut edge = doorward::tlog::Edge::new();
    let publish = |size: u64, root| {
        let checkpoint = Checkpoint { origin: log_key().public().name().clone(), size, root };
        let note = checkpoint.sign(&log_key()).unwrap().to_string();
        fs::write(store.path().join(format!("log/checkpoints/{size}")), note).unwrap();
    };
    let mut roots = Vec::new();
    for entry in store.entries() {
        edge.append(doorward::tlog::leaf_hash(&entry), |_, _| {});
        publish(edge.size(), edge.root());
        roots.push(edge.root());
    }
    let report = store.verify();
    assert_eq!((report.exit_code(), report.log.findings.is_empty()), (0, true), "{report:#?}");
    // One was signed over another history, and is hidden among them.
    publish(100, roots[100]);
    let report = store.verify();
    assert_eq!(report.exit_code(), 5);
    assert!(format!("{:?}", report.log.findings).contains("log/checkpoints/100"), "{report:#?}");
}
