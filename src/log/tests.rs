use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::hmac;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::append::journal_key;
use super::sim::{Crash, SimDisk, When};
use super::thin::{KEEPING, Keeping};
use super::wal::{Bad, Chain, Position};
use super::*;
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::secret::Secret;
use crate::tlog::{Algorithm, Checkpoint, KeyName, Note, Signature, SigningKey, leaf_hash, verify_consistency};

const DIRECTORY: &str = "/log";
/// Enough to fill a tile and to trim the journal.
const LEAVES: u64 = 290;

#[test]
fn i7_a_crash_at_any_step_loses_no_acknowledged_leaf_and_no_published_checkpoint() {
    let whole = SimDisk::default();
    let mut history = History::default();
    history.run(&whole, LEAVES).unwrap();
    let operations = whole.operations();
    assert!(operations > 100, "{operations}");
    for at in 0..operations {
        for when in [When::Before, When::Halfway, When::After] {
            for crash in [Crash::Killed, Crash::PowerCut] {
                let disk = SimDisk::default();
                let mut history = History::default();
                disk.die_at(at, when);
                let died = history.run(&disk, LEAVES);
                disk.restart(crash, u64::try_from(at).unwrap());
                let said = format!("operation {at}, {when:?}, {crash:?}: {died:?}");
                history.assert_sound(&disk, &said);
                // What follows rests on what was found; and a power cut now must lose none of both.
                history.run(&disk, 30).unwrap_or_else(|error| panic!("{said}: {error}"));
                disk.restart(Crash::PowerCut, u64::try_from(at).unwrap());
                history.assert_sound(&disk, &said);
            }
        }
    }
}

#[test]
fn after_failed_syncs_the_log_goes_on_without_what_it_refused() {
    let whole = SimDisk::default();
    History::default().run(&whole, LEAVES).unwrap();
    // The second failure meets the writing of the journal afresh.
    for (at, count) in (0..whole.syncs()).flat_map(|at| [(at, 1), (at, 2), (at, 5)]) {
        let disk = SimDisk::default();
        let mut history = History::default();
        disk.fail_syncs(at, count);
        let said = format!("{count} syncs from {at} on");
        // Opening makes the journal and publishes: it may meet the failures itself.
        while history.go_on(&disk, LEAVES).is_err() {}
        assert_eq!(disk.violation(), None, "{said}");
        disk.restart(Crash::PowerCut, u64::try_from(at).unwrap());
        history.assert_sound(&disk, &said);
        history.assert_without_refused(&disk, &said);
        history.run(&disk, 30).unwrap();
        disk.restart(Crash::PowerCut, u64::try_from(at).unwrap());
        history.assert_sound(&disk, &said);
    }
}

#[test]
fn a_full_disk_refuses_leaves_and_the_log_goes_on_once_there_is_space() {
    let mut refused = 0;
    for bytes in (0..60_000).step_by(977) {
        let disk = SimDisk::default();
        let mut history = History::default();
        let Opened { log, .. } = open(&disk).unwrap();
        history.append(&log, 40);
        let before = history.acknowledged.len();
        disk.leave_space(Some(bytes));
        for _ in 0..8 {
            history.append(&log, 40);
            // What is durable may or may not be published meanwhile.
            history.published.extend(log.publish().ok().flatten().as_ref().map(head));
        }
        refused += history.refused.len();
        disk.leave_space(None);
        let full = history.acknowledged.len();
        history.append(&log, 300);
        assert_eq!(history.acknowledged.len(), full + 300, "{bytes} bytes");
        assert!(full >= before);
        history.published.extend(log.publish().unwrap().as_ref().map(head));
        drop(log);
        disk.restart(Crash::PowerCut, u64::try_from(bytes).unwrap());
        let said = format!("{bytes} bytes");
        history.assert_sound(&disk, &said);
        history.assert_without_refused(&disk, &said);
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn the_leaf_after_a_failed_sync_has_the_number_of_the_refused_one() {
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    assert_eq!(log.append(leaf(0)).unwrap(), 0);
    disk.fail_syncs(0, 1);
    assert!(matches!(log.append(leaf(1)), Err(LogError::Failed { .. })));
    assert_eq!(log.append(leaf(2)).unwrap(), 1);
    log.publish().unwrap().unwrap();
    assert_eq!(entries(&disk).iter().map(|entry| entry["n"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn what_is_durable_is_published_while_the_journal_cannot_be_written() {
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    log.append(leaf(0)).unwrap();
    disk.fail_syncs(0, 2);
    assert!(log.append(leaf(1)).is_err());
    assert_eq!(head(&log.publish().unwrap().unwrap()).size, 1);
}

#[test]
fn a_closed_log_takes_nothing_more_and_publishes_what_it_took() {
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    let receipt = log.submit(leaf(0)).unwrap();
    log.close();
    assert_eq!(receipt.wait().unwrap(), 0);
    assert!(matches!(log.append(leaf(1)), Err(LogError::Stopped)));
    assert_eq!(head(&log.publish().unwrap().unwrap()).size, 1);
}

#[test]
fn leaves_that_wait_share_a_sync_and_keep_their_order() {
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    let before = disk.syncs();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let receipts: Vec<_> = (0..500).map(|n| log.submit(leaf(n)).unwrap()).collect();
                let numbers: Vec<_> = receipts.into_iter().map(|receipt| receipt.wait().unwrap()).collect();
                assert!(numbers.is_sorted());
            });
        }
    });
    assert!(disk.syncs() - before < 1000, "{} syncs", disk.syncs() - before);
    log.publish().unwrap().unwrap();
    let seqs = entries(&disk).iter().map(|entry| entry["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(seqs, (0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_async_task_waits_without_blocking_its_thread() {
    let Opened { log, .. } = open(&SimDisk::default()).unwrap();
    assert_eq!(log.submit(leaf(0)).unwrap().acknowledged().await.unwrap(), 0);
}

#[test]
fn a_leaf_is_one_line_with_its_keys_in_order() {
    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Event {
        #[serde(rename = "grant.add")]
        Added { until: u64, by: Value },
    }
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    log.append(Leaf::of(&Event::Added { until: 5, by: json!({"z": 1, "a": "line\nend"}) }).unwrap()).unwrap();
    log.publish().unwrap().unwrap();
    let entry = reader(&disk).entry(0, 1).unwrap();
    let wanted = r#"{"by":{"a":"line\nend","z":1},"node":"n1","seq":0,"ts":"1970-01-01T00:00:01.000Z","type":"grant.add","until":5,"v":1}"#;
    assert_eq!(String::from_utf8(entry).unwrap(), wanted);
    let with = |key: &str, value: &str| Map::from_iter([(key.to_owned(), Value::from(value))]);
    assert!(matches!(Leaf::new("x", with("seq", "9")), Err(LogError::Leaf { .. })));
    assert!(matches!(Leaf::new("", Map::new()), Err(LogError::Leaf { .. })));
    assert!(matches!(Leaf::of(&json!({"no": "type"})), Err(LogError::Leaf { .. })));
    let long = Leaf::new("x", with("text", &"x".repeat(65_535))).unwrap();
    assert!(matches!(log.append(long), Err(LogError::TooLong { .. })));
    assert_eq!(log.append(leaf(1)).unwrap(), 1);
}

#[test]
fn a_torn_end_is_tolerated_and_any_other_damage_is_not() {
    let mac = journal_key(&key());
    let mut bytes = Vec::new();
    let mut chain = Chain::begin(&mac, 256, 1, &mut bytes);
    let mut ends = vec![bytes.len()];
    for (leaf, position) in [("{1}", Position::Later), ("{2}", Position::First), ("{3}", Position::Later)] {
        chain.append(leaf.as_bytes(), position, &mut bytes);
        ends.push(bytes.len());
    }
    for key in [None, Some(&mac)] {
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            match wal::decode(&bytes[..cut], key) {
                Ok(journal) => {
                    // The first record was there when the file was made.
                    assert!(whole >= 2, "{cut}");
                    assert_eq!((journal.first, journal.leaves.len()), (256, whole - 1));
                    assert_eq!(journal.torn, cut - ends[whole - 1]);
                }
                Err(_) => assert!(whole < 2, "{cut}"),
            }
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            // Of the last group nobody was told; what was before it is known to have been durable.
            assert_eq!(wal::decode(&bad, key).is_ok(), at >= ends[1], "byte {at}");
        }
        let mut later = bytes.clone();
        chain.clone().append(b"{4}", Position::First, &mut later);
        later[ends[2] + 4] ^= 1;
        assert!(matches!(wal::decode(&later, key), Err(Bad::Damaged(_))));
        let zeros = [bytes.clone(), vec![0; 5000]].concat();
        assert_eq!(wal::decode(&zeros, key).unwrap().torn, 5000);
    }
}

#[test]
fn a_record_without_the_key_or_out_of_its_place_is_no_leaf() {
    let mac = journal_key(&key());
    let other = SigningKey::from_seed(key().public().name().clone(), Algorithm::Note, Secret::new([8; 32])).unwrap();
    let header = |key: &hmac::Key, first| {
        let mut bytes = Vec::new();
        let chain = Chain::begin(key, first, 0, &mut bytes);
        (bytes, chain)
    };
    let (mut bytes, mut chain) = header(&mac, 0);
    let mut records = Vec::new();
    for leaf in ["{1}", "{2}", "{3}"] {
        let mut record = Vec::new();
        chain.append(leaf.as_bytes(), Position::First, &mut record);
        bytes.extend_from_slice(&record);
        records.push(record);
    }
    let begin = header(&mac, 0).0;
    let forged = |parts: &[&[u8]], at: usize| {
        let bytes = parts.concat();
        let found = wal::decode(&bytes, Some(&mac));
        assert!(matches!(&found, Err(Bad::Forged { offset, .. }) if *offset == at), "{found:?}");
        // Who has no key sees the form.
        assert!(wal::decode(&bytes, None).is_ok());
    };
    assert_eq!(wal::decode(&bytes, Some(&mac)).unwrap().leaves.len(), 3);
    // Added, with all check sums.
    let mut added = Vec::new();
    Chain::begin(&journal_key(&other), 3, 0, &mut Vec::new()).append(b"{4}", Position::First, &mut added);
    forged(&[&bytes, &added], bytes.len());
    // Left out, swapped, repeated.
    let [one, two, three] = &records[..] else { panic!() };
    forged(&[&begin, one, three], begin.len() + one.len());
    forged(&[&begin, two, one, three], begin.len());
    forged(&[&bytes, three], bytes.len());
    // The leaves of another place, the header of another key.
    forged(&[&header(&mac, 256).0, one, two, three], begin.len());
    forged(&[&header(&journal_key(&other), 0).0, one], 0);
    // The journal of a log of another name with the same seed.
    let name = KeyName::parse("example.com/n2").unwrap();
    let namesake = SigningKey::from_seed(name, Algorithm::Note, Secret::new([7; 32])).unwrap();
    forged(&[&header(&journal_key(&namesake), 0).0], 0);
}

#[test]
fn an_earlier_version_of_the_journal_is_said_to_be_one() {
    let mut old = b"DWWL\x01\0\0\0".to_vec();
    old.extend_from_slice(&[0; 20]);
    let Err(Bad::Damaged(why)) = wal::decode(&old, None) else { panic!() };
    assert!(why.contains("another version"), "{why}");
}

#[test]
fn what_looks_like_the_begin_of_many_groups_is_refused_at_once() {
    let mut bytes = Vec::new();
    Chain::begin(&journal_key(&key()), 0, 0, &mut bytes);
    let header = bytes.len();
    // Each says that a record of 65535 bytes begins; there are a million of them.
    for _ in 0..1_000_000 {
        bytes.extend_from_slice(b"\xff\xff\0\x80{");
    }
    // Checking each to its end would read 65 GB.
    let clock = Clock::system();
    let begun = clock.instant();
    assert!(matches!(wal::decode(&bytes, None), Err(Bad::Damaged(why)) if why.contains(&header.to_string())));
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn leaves_that_were_added_to_the_journal_without_the_key_are_never_signed() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 3);
    let path = dir.path().join("leaves.wal");
    let good = std::fs::read(&path).unwrap();
    let checkpoint = std::fs::read(dir.path().join("checkpoint")).unwrap();
    // A leaf as this log would write it, with a good check sum, and a tag that its writer could not make.
    let mut added = Vec::new();
    let other = SigningKey::from_seed(key().public().name().clone(), Algorithm::Note, Secret::new([8; 32])).unwrap();
    let leaf = leaf(9).encode(3, Timestamp::from_millis(1000), "n1").unwrap();
    Chain::begin(&journal_key(&other), 3, 0, &mut Vec::new()).append(&leaf, Position::First, &mut added);
    let bad = [good.clone(), added].concat();
    put(&path, &bad);
    let error = Log::open(settings(dir.path())).map(|_| ()).unwrap_err();
    let LogError::Forged { offset, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("leaf 3") && error.hint().unwrap().contains("truncate"), "{error}");
    // Nothing was signed, and nothing was changed.
    assert_eq!(std::fs::read(&path).unwrap(), bad);
    assert_eq!(std::fs::read(dir.path().join("checkpoint")).unwrap(), checkpoint);
    // As the hint says.
    put(&path, &bad[..*offset]);
    let Opened { log, .. } = Log::open(settings(dir.path())).unwrap();
    assert_eq!(log.append(super::tests::leaf(3)).unwrap(), 3);
}

#[test]
fn what_has_not_the_form_of_a_leaf_is_never_signed_whoever_wrote_it() {
    let good = r#"{"n":3,"node":"n1","seq":1,"ts":"1970-01-01T00:00:01.000Z","type":"test.leaf","v":1}"#;
    let open = |leaf: &str| {
        let dir = tempfile::tempdir().unwrap();
        write_log(dir.path(), 1);
        let found = Reader::open(dir.path()).journal().unwrap().unwrap();
        let mut bytes = Vec::new();
        let mut chain = Chain::begin(&journal_key(&key()), 0, 1, &mut bytes);
        chain.append(&found.leaves[0], Position::Later, &mut bytes);
        chain.append(leaf.as_bytes(), Position::First, &mut bytes);
        put(&dir.path().join("leaves.wal"), &bytes);
        Log::open(settings(dir.path())).map(drop)
    };
    open(good).unwrap();
    for (was, is) in [
        (good, r#"{"v":2}"#),
        (good, "no json"),
        (r#""v":1"#, r#""v":2"#),
        (r#""seq":1"#, r#""seq":2"#),
        (r#""seq":1"#, r#""seq":1,"seq":1"#),
        (r#""node":"n1""#, r#""node":"n2""#),
        ("1970-01-01T", "yesterday"),
        ("test.leaf", ""),
        (r#"{"n""#, r#"{ "n""#),
    ] {
        let error = open(&good.replacen(was, is, 1)).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { why, .. } if why.contains("leaf 1")), "{is}: {error}");
    }
}

#[test]
fn the_journal_is_trimmed_behind_full_bundles_and_partial_tiles_go() {
    let dir = tempfile::tempdir().unwrap();
    let local: Arc<dyn Disk> = Arc::new(LocalDisk);
    let Opened { log, .. } = Log::open_on(local, settings(dir.path()), 256, KEEPING).unwrap();
    for round in 0..6 {
        let receipts: Vec<_> = (0..100).map(|n| log.submit(leaf(round * 100 + n)).unwrap()).collect();
        receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
        log.publish().unwrap();
    }
    let journal = wal::decode(&std::fs::read(dir.path().join("leaves.wal")).unwrap(), None).unwrap();
    assert_eq!((journal.first, journal.leaves.len()), (512, 88));
    let exists = |path: &str| dir.path().join(path).exists();
    assert!(
        exists("tile/0/000") && exists("tile/entries/001") && exists("tile/1/000.p/2") && exists("tile/0/002.p/88")
    );
    assert!(!exists("tile/0/000.p") && !exists("tile/entries/001.p"));
    assert!((1..=6).all(|round| exists(&format!("checkpoints/{}", round * 100))));
    drop(log);
    // A floor that lies before the journal, at a size whose partial tiles are gone.
    let key = key();
    let reader = Reader::open(dir.path());
    for floor in [100, 300, 600] {
        let (_, floor) = reader.checkpoint_at(floor, key.public()).unwrap().unwrap();
        let opened = Log::open(LogSettings { floor: Some(floor), ..settings(dir.path()) }).unwrap();
        assert!(opened.log.publish().unwrap().is_none());
    }
}

#[test]
fn a_log_that_was_put_back_or_rewritten_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&Path), floor: Option<Checkpoint>| {
        let copy = tempfile::tempdir().unwrap();
        write_log(copy.path(), 300);
        change(copy.path());
        let before = std::fs::read(copy.path().join("checkpoint")).ok();
        let error = Log::open(LogSettings { floor, ..settings(copy.path()) }).map(|_| ()).unwrap_err();
        assert_eq!(std::fs::read(copy.path().join("checkpoint")).ok(), before, "{error}");
        error
    };
    write_log(dir.path(), 400);
    let newer = |path: &str, to: &Path| assert!(std::fs::copy(dir.path().join(path), to.join(path)).is_ok());
    let (_, floor) = Reader::open(dir.path()).checkpoint(key().public()).unwrap().unwrap();
    let rolled_back = |error: &LogError| matches!(error, LogError::RolledBack { leaves: 300, published: 400, .. });
    // The same leaves, so the longer log is what this one was before it was put back.
    assert!(rolled_back(&refused(&|_| {}, Some(floor.clone()))));
    assert!(rolled_back(&refused(&|copy| newer("checkpoint", copy), None)));
    assert!(rolled_back(&refused(&|copy| newer("checkpoints/400", copy), None)));
    let other = Checkpoint { size: 200, root: leaf_hash(b"x"), ..floor.clone() };
    assert!(matches!(refused(&|_| {}, Some(other)), LogError::Rewritten { size: 200, .. }));
    let foreign =
        Checkpoint { origin: KeyName::parse("other.example").unwrap(), size: 0, root: crate::tlog::EMPTY_ROOT };
    assert!(matches!(refused(&|_| {}, Some(foreign)), LogError::OtherLog { .. }));
    // Leaves that were changed by who has the key.
    let rewrite = |copy: &Path| {
        let mut bytes = Vec::new();
        let mut chain = Chain::begin(&journal_key(&key()), 0, 300, &mut bytes);
        (0..300).for_each(|n| chain.append(format!("{{\"n\":{n}}}").as_bytes(), Position::Later, &mut bytes));
        put(&copy.join("leaves.wal"), &bytes);
    };
    assert!(matches!(refused(&rewrite, None), LogError::Rewritten { size: 300, .. }));
    let gone = |copy: &Path| std::fs::remove_file(copy.join("leaves.wal")).unwrap();
    assert!(matches!(refused(&gone, None), LogError::Damaged { .. }));
    let no_checkpoints = |copy: &Path| {
        gone(copy);
        std::fs::remove_file(copy.join("checkpoint")).unwrap();
        std::fs::remove_dir_all(copy.join("checkpoints")).unwrap();
    };
    assert!(matches!(refused(&no_checkpoints, Some(floor)), LogError::RolledBack { leaves: 0, .. }));
    let forge = |copy: &Path| {
        let text = std::fs::read_to_string(copy.join("checkpoint")).unwrap();
        put(&copy.join("checkpoint"), text.replacen("\n300\n", "\n299\n", 1).as_bytes());
    };
    assert!(matches!(refused(&forge, None), LogError::Signature { .. }));
    assert!(matches!(refused(&|copy| put(&copy.join("checkpoint"), b"x"), None), LogError::Note { .. }));
}

#[test]
fn old_checkpoints_are_thinned_and_the_log_goes_on_from_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let keeping = Keeping { newest: 3, span: 10 };
        Log::open_on(Arc::new(LocalDisk), settings(dir.path()), 256, keeping).unwrap().log
    };
    for round in 0..4 {
        let log = open();
        for n in 0..10 {
            log.append(leaf(round * 10 + n)).unwrap();
            log.publish().unwrap().unwrap();
        }
    }
    let reader = Reader::open(dir.path());
    let mut sizes = reader.sizes().unwrap();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 10, 20, 30, 38, 39, 40]);
    let (_, now) = reader.checkpoint(key().public()).unwrap().unwrap();
    // Whoever kept one that went can still check it.
    assert!(reader.consistency(17, now.size).is_ok());
    assert_eq!(open().append(leaf(40)).unwrap(), 40);
}

#[test]
fn the_root_of_every_older_size_is_found_where_nothing_was_published() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 600);
    let reader = Reader::open(dir.path());
    let mut edge = crate::tlog::Edge::new();
    for entry in reader.entries(0..600, 600) {
        assert_eq!(reader.root_within(edge.size(), 600).unwrap(), edge.root(), "{}", edge.size());
        edge.append(leaf_hash(&entry.unwrap().1), |_, _| {});
    }
    assert_eq!(reader.root_within(600, 600).unwrap(), edge.root());
    assert!(matches!(reader.root_within(601, 600), Err(LogError::NoSuchEntry { index: 601 })));
}

#[test]
fn verifying_finds_a_change_of_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), 300);
    let reader = Reader::open(dir.path());
    let (note, checkpoint) = reader.checkpoint(key().public()).unwrap().unwrap();
    let mut seen = 0;
    reader.verify(&checkpoint, |checked| seen = checked).unwrap();
    assert_eq!(seen, 300);
    assert_eq!(reader.root(300).unwrap(), checkpoint.root);
    for index in [0, 255, 256, 299] {
        let entry = reader.entry(index, 300).unwrap();
        let proof = reader.proof(index, &note).unwrap();
        assert_eq!(proof.verify(&entry, key().public(), &[]).unwrap().0, checkpoint);
    }
    assert!(matches!(reader.entry(300, 300), Err(LogError::NoSuchEntry { index: 300 })));
    assert!(reader.proof(300, &note).is_err());
    assert_eq!(
        reader.entries(250..999, 300).map(|entry| entry.unwrap().0).collect::<Vec<_>>(),
        (250..300).collect::<Vec<_>>()
    );
    for file in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"] {
        let path = dir.path().join(file);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(good.len() / 40 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            put(&path, &bad);
            assert!(reader.verify(&checkpoint, |_| {}).is_err(), "byte {at} of {file}");
        }
        for bad in [&good[..good.len() - 1], b"", &[good.clone(), vec![0; 32 * 300]].concat()] {
            put(&path, bad);
            assert!(reader.verify(&checkpoint, |_| {}).is_err(), "{file}");
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(matches!(reader.verify(&checkpoint, |_| {}), Err(LogError::Read { .. })), "{file}");
        std::fs::remove_file(&path).unwrap();
        put(&path, &good);
    }
    reader.verify(&checkpoint, |_| {}).unwrap();
}

#[test]
fn signatures_of_witnesses_stand_in_the_newest_checkpoint_until_the_next() {
    let disk = SimDisk::default();
    let Opened { log, .. } = open(&disk).unwrap();
    log.append(leaf(0)).unwrap();
    let note = log.publish().unwrap().unwrap();
    let name = KeyName::parse("witness.example").unwrap();
    let witness = SigningKey::from_seed(name, Algorithm::Cosignature, Secret::new([9; 32])).unwrap();
    let cosign = |note: &Note| -> Vec<Signature> { vec![witness.cosign(note.unchecked_text(), 5).unwrap()] };
    assert!(log.add_signatures(1, cosign(&note)).unwrap());
    assert_eq!(reader(&disk).note().unwrap().unwrap().check(&[witness.public()]).unwrap().signers().len(), 1);
    assert!(log.publish().unwrap().is_none());
    drop(log);
    let Opened { log, .. } = open(&disk).unwrap();
    assert!(reader(&disk).note().unwrap().unwrap().check(&[witness.public()]).is_ok());
    log.append(leaf(1)).unwrap();
    log.publish().unwrap().unwrap();
    assert!(!log.add_signatures(1, cosign(&note)).unwrap());
    assert!(reader(&disk).note().unwrap().unwrap().check(&[witness.public()]).is_err());
    // Beside what was published at that size they stay, also those that come late.
    let cosigned = |size| {
        let (note, _) = reader(&disk).checkpoint_at(size, log.core.key.public()).unwrap().unwrap();
        note.check(&[witness.public()]).is_ok()
    };
    assert!(cosigned(1) && !cosigned(2));
    let late = log.publish().unwrap().is_none().then(|| reader(&disk).note().unwrap().unwrap()).unwrap();
    log.append(leaf(2)).unwrap();
    log.publish().unwrap().unwrap();
    assert!(!log.add_signatures(2, cosign(&late)).unwrap());
    assert!(cosigned(2) && !cosigned(3));
    // What is not kept is not made anew.
    assert!(!log.add_signatures(7, cosign(&late)).unwrap());
    assert!(reader(&disk).sizes().unwrap().iter().all(|size| *size <= 3));
}

/// What a log has promised over all its crashes.
#[derive(Debug, Default)]
struct History {
    /// What each acknowledged leaf says, by its number.
    acknowledged: BTreeMap<u64, u64>,
    /// What refused leaves said.
    refused: Vec<u64>,
    published: Vec<Checkpoint>,
    /// What the next leaf says.
    next: u64,
}

impl History {
    /// Opens the log and appends `leaves`, publishing now and then, until something fails.
    fn run(&mut self, disk: &SimDisk, leaves: u64) -> Result<(), LogError> {
        let Opened { log, .. } = open(disk)?;
        self.published.extend(log.published());
        for round in 0..leaves.div_ceil(90) {
            match self.append(&log, 90.min(leaves - round * 90)) {
                Some(error) => return Err(error),
                None => self.published.extend(log.publish()?.as_ref().map(head)),
            }
        }
        Ok(())
    }

    /// The same, whatever fails; an error if the log could not even be opened.
    fn go_on(&mut self, disk: &SimDisk, leaves: u64) -> Result<(), LogError> {
        let Opened { log, .. } = open(disk)?;
        self.published.extend(log.published());
        for _ in 0..leaves.div_ceil(90) {
            self.append(&log, 90);
            self.published.extend(log.publish().ok().flatten().as_ref().map(head));
        }
        assert!((0..8).any(|_| self.append(&log, 1).is_none()), "it did not go on");
        Ok(())
    }

    /// Appends leaves that wait together; gives the last error.
    fn append(&mut self, log: &Log, leaves: u64) -> Option<LogError> {
        let mut failed = None;
        let receipts: Vec<_> = (self.next..self.next + leaves).map(|n| (n, log.submit(leaf(n)))).collect();
        self.next += leaves;
        for (n, receipt) in receipts {
            match receipt.and_then(Receipt::wait) {
                Ok(index) => assert_eq!(self.acknowledged.insert(index, n), None, "number {index} was given twice"),
                Err(error) => {
                    self.refused.push(n);
                    failed = Some(error);
                }
            }
        }
        failed
    }

    fn assert_without_refused(&self, disk: &SimDisk, said: &str) {
        let there: BTreeSet<u64> = entries(disk).iter().map(|entry| entry["n"].as_u64().unwrap()).collect();
        let risen: Vec<_> = self.refused.iter().filter(|n| there.contains(n)).collect();
        assert!(risen.is_empty(), "{said}: refused leaves are in the log: {risen:?}");
    }

    /// The one check that ends each test of a crash.
    fn assert_sound(&mut self, disk: &SimDisk, said: &str) {
        // What is there to be found has been published, whether anybody was told or not.
        let found = disk.read_all("/checkpoints/").into_iter().filter_map(|bytes| Note::parse(&bytes).ok());
        self.published.extend(found.map(|note| head(&note)));
        let Opened { log, .. } = open(disk).unwrap_or_else(|error| panic!("{said}: {error}"));
        let now = log.published().unwrap_or_else(|| Checkpoint {
            origin: key().public().name().clone(),
            size: 0,
            root: crate::tlog::EMPTY_ROOT,
        });
        drop(log);
        let last = self.acknowledged.keys().next_back().map_or(0, |last| last + 1);
        assert!(now.size >= last, "{said}: {} of {last}", now.size);
        let reader = reader(disk);
        reader.verify(&now, |_| {}).unwrap_or_else(|error| panic!("{said}: {error}"));
        for (index, entry) in reader.entries(0..now.size, now.size).map(Result::unwrap) {
            let entry: Value = serde_json::from_slice(&entry).unwrap();
            assert_eq!(entry["seq"], index, "{said}");
            assert!(self.acknowledged.get(&index).is_none_or(|n| entry["n"] == *n), "{said}: leaf {index} is another");
        }
        for old in &self.published {
            let proof = reader.consistency(old.size, now.size).unwrap_or_else(|error| panic!("{said}: {error}"));
            verify_consistency(old.size, &old.root, now.size, &now.root, &proof)
                .unwrap_or_else(|error| panic!("{said}: {error}"));
        }
        assert_eq!(disk.violation(), None, "{said}");
    }
}

fn head(note: &Note) -> Checkpoint {
    Checkpoint::parse(note.unchecked_text()).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed(KeyName::parse("example.com/n1").unwrap(), Algorithm::Note, Secret::new([7; 32])).unwrap()
}

fn settings(directory: &Path) -> LogSettings {
    let clock = Clock::fixed(Timestamp::from_millis(1000));
    LogSettings { directory: directory.to_owned(), node: String::from("n1"), key: key(), clock, floor: None }
}

fn open(disk: &SimDisk) -> Result<Opened, LogError> {
    // Few, so that crashes come between the removals too.
    let keeping = Keeping { newest: 2, span: 100 };
    Log::open_on(Arc::new(disk.clone()), settings(&PathBuf::from(DIRECTORY)), 256, keeping)
}

fn reader(disk: &SimDisk) -> Reader {
    Reader::on(Arc::new(disk.clone()), Path::new(DIRECTORY))
}

fn entries(disk: &SimDisk) -> Vec<Value> {
    let reader = reader(disk);
    let (_, checkpoint) = reader.checkpoint(key().public()).unwrap().unwrap();
    let entries = reader.entries(0..checkpoint.size, checkpoint.size);
    entries.map(|entry| serde_json::from_slice(&entry.unwrap().1).unwrap()).collect()
}

fn leaf(n: u64) -> Leaf {
    Leaf::new("test.leaf", Map::from_iter([(String::from("n"), n.into())])).unwrap()
}

fn write_log(directory: &Path, leaves: u64) {
    let Opened { log, .. } = Log::open(settings(directory)).unwrap();
    let receipts: Vec<_> = (0..leaves).map(|n| log.submit(leaf(n)).unwrap()).collect();
    receipts.into_iter().for_each(|receipt| assert!(receipt.wait().is_ok()));
    log.publish().unwrap();
}

fn put(path: &Path, bytes: &[u8]) {
    crate::durable::replace(path, bytes, 0o600).unwrap();
}
