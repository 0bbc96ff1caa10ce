//! What is not an attack is told from one.

use std::fs;
use std::io::Write;

use doorward::model::{ChannelNumber, SessionId, Timestamp};
use doorward::seal::{Head, scan};
use doorward::store::{Closed, ClosedChannel, Counted, sha256_hex};
use doorward::verify::{Settings, Verdict};
use serde_json::{Value, json};

use super::store::{Bastion, Store, leaf};

#[test]
fn a_recovered_recording_is_interrupted_and_its_torn_tail_is_held_by_the_log() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    let crashed = store.crashed(&bastion, live);
    let path = crashed.segment(&id, 1, 0);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[40, 0, 0, 1, 7, 7]).unwrap();
    crashed.recover();
    crashed.assert_verdict(&id, Verdict::Interrupted, "the bastion stopped while it ran");
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(&path, changed).unwrap();
        assert_eq!(crashed.verdict(&id).verdict, Verdict::Tampered, "byte {at}");
    }
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "recovered.json");
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(crashed.session(&id).join("recovered.json")).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "it is missing");
}

#[test]
fn a_crash_before_the_log_was_told_of_a_session_is_no_attack() {
    let store = Store::new();
    let bastion = store.bastion();
    bastion.session(&["one\r\n"]);
    let id = bastion.new_id();
    let live = bastion.open_quietly(&id);
    let crashed = store.copy();
    drop(live);
    crashed.assert_verdict(&id, Verdict::Interrupted, "it never began");
    crashed.recover();
    crashed.assert_verdict(&id, Verdict::Interrupted, "it never began");
    // With anything that a session has that began, it did begin.
    fs::create_dir(crashed.session(&id).join("1")).unwrap();
    fs::copy(crashed.segment(&id, 0, 0), crashed.segment(&id, 1, 0)).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "no leaf that says that it began");
}

#[test]
fn a_crash_between_the_leaf_of_an_end_and_its_file_is_no_attack_once_recovered() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "closed.json");
    store.recover();
    store.assert_verdict(&id, Verdict::Interrupted, "the bastion stopped while it ran");
}

#[test]
fn a_file_of_an_end_that_could_not_be_written_is_no_attack_where_the_log_says_so() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    store.append("session.unclosed", json!({ "session": id }));
    store.assert_verdict(&id, Verdict::OkUnanchored, "");
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    store.assert_verdict(&id, Verdict::Interrupted, "could not be written");
    // A bundle of it would look cut.
    let refused = doorward::verify::plan(store.path(), &id, &Settings::default()).unwrap_err();
    assert!(matches!(refused, doorward::verify::BundleError::NotEnded(_)), "{refused}");
    // The bastion stops as it should, and the next start closes it.
    store.append("node.stop", json!({}));
    store.recover();
    store.assert_verdict(&id, Verdict::Interrupted, "could not be written");
    // Without that leaf somebody took the file away.
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::remove_file(store.session(&id).join("closed.json")).unwrap();
    store.append("node.stop", json!({}));
    store.recover();
    store.assert_verdict(&id, Verdict::Missing, "it is missing, and was there");
}

#[test]
fn an_erasure_counts_once_a_checkpoint_covers_it() {
    let store = Store::new();
    let bastion = store.bastion();
    let id = bastion.session(&["one\r\n"]);
    fs::remove_file(store.root().envelope(&id)).unwrap();
    bastion.log.append(leaf("erase", json!({ "session": id }))).unwrap();
    let report = store.verify();
    assert_eq!((report.log.unsigned, report.sessions[0].verdict), (1, Verdict::Missing), "{report:#?}");
    assert!(format!("{report:?}").contains("no checkpoint covers it"));
    bastion.stop();
    store.assert_verdict(&id, Verdict::Shredded, "");
}

#[test]
fn a_leaf_that_says_what_no_leaf_may_say_is_a_fault_of_the_log() {
    for (kind, fields) in [
        ("session.end", json!({})),
        ("session.end", json!({ "session": "01J9ZK4Y8Q0000000000000001", "closed": "xyz" })),
        ("segment.seal", json!({ "session": "81J9ZK4Y8Q0000000000000001" })),
        ("session.heads", json!({ "heads": [{}] })),
        ("policy.load", json!({ "hash": "00" })),
        ("envelope.create", json!({ "session": "01J9ZK4Y8Q0000000000000001", "envelope": "00".repeat(32) })),
    ] {
        let (store, _) = Store::with_session(&["one\r\n"]);
        store.append(kind, fields);
        let report = store.verify();
        assert_eq!(report.exit_code(), 5, "{kind}: {report:#?}");
    }
    let (store, _) = Store::with_session(&["one\r\n"]);
    store.append("something.new", json!({ "field": [1] }));
    assert_eq!(store.verify().exit_code(), 0, "a type that it does not know is passed over");
}

#[test]
fn a_session_can_be_verified_alone_or_from_a_time_on() {
    let store = Store::new();
    let bastion = store.bastion();
    let [first, second] = [bastion.session(&["one\r\n"]), bastion.session(&["two\r\n"])];
    bastion.stop();
    fs::remove_file(store.segment(&second, 1, 0)).unwrap();
    let only = |session| Settings { session: Some(session), ..Settings::default() };
    assert_eq!(store.verify_with(&only(first.clone())).exit_code(), 0);
    assert_eq!(store.verify_with(&only(second)).exit_code(), 5);
    let later = doorward::clock::Clock::system().now().plus(std::time::Duration::from_secs(60));
    let none = store.verify_with(&Settings { since: Some(later), ..Settings::default() });
    assert_eq!((none.sessions.len(), none.exit_code()), (0, 0));
    fs::remove_dir_all(store.session(&first)).unwrap();
    assert_eq!(store.verify_with(&only(first)).exit_code(), 4);
}

#[test]
fn with_an_identity_every_line_is_read_and_others_recordings_are_counted() {
    let (store, _) = Store::with_session(&["one\r\n"]);
    let deep = |identity| Settings { identities: Some(vec![identity]), ..Settings::default() };
    let report = store.verify_with(&deep(store.auditor.clone()));
    assert_eq!((report.opened.unwrap().read, report.exit_code()), (1, 0), "{report:#?}");
    let report = store.verify_with(&deep(doorward::auditor::Identity::generate()));
    assert_eq!((report.opened.unwrap().sealed_for_others, report.exit_code()), (1, 6));
    assert_eq!(report.outcome(), "UNREAD", "an identity that opens nothing has read nothing");
}

/// A session of one channel that was open when the bastion stopped.
fn crashed() -> (Store, doorward::model::SessionId) {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open(&["one\r\n", "two\r\n"]);
    let id = live.id.clone();
    let crashed = store.crashed(&bastion, live);
    (crashed, id)
}

fn channel(store: &Store, id: &doorward::model::SessionId, number: u32, failure: Option<&str>) -> ClosedChannel {
    let bytes = fs::read(store.segment(id, number, 0)).unwrap();
    let found = scan(&bytes);
    ClosedChannel {
        number: ChannelNumber(number),
        class: None,
        pty: false,
        segments: 1,
        bytes: found.valid_len,
        records: found.records,
        head: found.head.to_string(),
        stdin: Counted::default(),
        stdout: Counted::default(),
        stderr: Counted::default(),
        scrubbed: 0,
        exit: None,
        failure: failure.map(str::to_owned),
        given_up: Vec::new(),
        gaps: Vec::new(),
    }
}

/// Closes a session by hand, as the log then says.
fn close(store: &Store, id: &doorward::model::SessionId, change: impl FnOnce(&mut Closed)) {
    let channels = [0, 1].map(|number| channel(store, id, number, Some("input/output error")));
    let mut closed = Closed::new(id.clone(), String::from("x"), Timestamp::from_millis(9), 9, channels.into());
    change(&mut closed);
    fs::write(store.session(id).join("closed.json"), closed.to_json()).unwrap();
    store.append("session.end", json!({ "session": id, "closed": sha256_hex(&closed.to_json()) }));
}

#[test]
fn a_channel_whose_recording_failed_is_good_up_to_there_and_interrupted() {
    let (store, id) = crashed();
    close(&store, &id, |_| {});
    let path = store.segment(&id, 1, 0);
    store.assert_verdict(&id, Verdict::Interrupted, "input/output error");
    // What follows was never vouched for; what stands before must be there.
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, [&bytes[..], &[7, 0, 0, 1, 9]].concat()).unwrap();
    store.assert_verdict(&id, Verdict::Interrupted, "input/output error");
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "it was cut");
    let mut changed = bytes.clone();
    changed[150] ^= 1;
    fs::write(&path, &changed).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
}

#[test]
fn a_channel_that_failed_in_the_first_write_of_a_segment_ends_with_the_one_before() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = large(&bastion);
    let id = live.id.clone();
    let crashed = store.crashed(&bastion, live);
    // Of the second segment nothing was durable, and its file is there; a third could be made and not be named.
    let first = scan(&fs::read(crashed.segment(&id, 1, 0)).unwrap());
    close(&crashed, &id, |closed| {
        let channel = &mut closed.channels[1];
        (channel.segments, channel.records, channel.head) = (2, first.records - 1, first.head.to_string());
    });
    crashed.assert_verdict(&id, Verdict::Interrupted, "1/000002.seg");
    let entries = crashed.entries();
    let unsealed = entries.into_iter().filter(|entry| !String::from_utf8_lossy(entry).contains("segment.seal"));
    crashed.forge_log(&super::attacks::numbered(unsealed));
    fs::write(crashed.segment(&id, 1, 1), b"").unwrap();
    crashed.assert_verdict(&id, Verdict::Interrupted, "1/000002.seg");
    fs::remove_file(crashed.segment(&id, 1, 1)).unwrap();
    crashed.assert_verdict(&id, Verdict::Tampered, "1/000001.seg");
}

#[test]
fn a_closing_that_says_another_end_than_the_segments_have_is_found() {
    for change in [
        (|closed: &mut Closed| closed.channels[1].head = Head([5; 32]).to_string()) as fn(&mut Closed),
        |closed| closed.channels[1].records += 1,
        |closed| closed.channels[1].segments = 0,
        |closed| closed.channels[1].number = ChannelNumber(0),
        |closed| closed.session = doorward::model::SessionId::parse("01J9ZK4Y8Q0000000000000001").unwrap(),
        |closed| closed.format = 3,
        // Without a failure, no end record and no leaf of a segment's end is too little.
        |closed| closed.channels[1].failure = None,
    ] {
        let (store, id) = crashed();
        close(&store, &id, change);
        assert_eq!(store.verdict(&id).verdict, Verdict::Tampered, "{:#?}", store.verdict(&id));
    }
}

#[test]
fn a_closing_that_contradicts_sealed_segments_is_found_whoever_signed_it() {
    for field in ["head", "records"] {
        let (store, id) = Store::with_session(&["one\r\n"]);
        let path = store.session(&id).join("closed.json");
        let old = fs::read(&path).unwrap();
        let mut closed: Closed = serde_json::from_slice(&old).unwrap();
        match field {
            "head" => closed.channels[1].head = Head([5; 32]).to_string(),
            _ => closed.channels[1].records += 1,
        }
        fs::write(&path, closed.to_json()).unwrap();
        let (old, new) = (sha256_hex(&old), sha256_hex(&closed.to_json()));
        let entries = store.entries().into_iter().map(|entry| {
            let text = String::from_utf8(entry).unwrap();
            text.replace(&old, &new).into_bytes()
        });
        store.forge_log(&entries.collect::<Vec<_>>());
        store.assert_verdict(&id, Verdict::Tampered, "as `closed.json` says");
    }
}

#[test]
fn an_ending_of_which_the_log_has_no_trace_is_found() {
    let (store, id) = crashed();
    let channels = vec![channel(&store, &id, 0, Some("x")), channel(&store, &id, 1, Some("x"))];
    let closed = Closed::new(id.clone(), String::from("x"), Timestamp::from_millis(9), 9, channels);
    fs::write(store.session(&id).join("closed.json"), closed.to_json()).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "no trace");
    let (store, id) = Store::with_session(&["one\r\n"]);
    fs::write(store.session(&id).join("recovered.json"), b"{}").unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "no trace");
}

#[test]
fn a_channel_that_could_not_be_made_is_told_from_one_that_was_added() {
    let (store, id) = crashed();
    fs::create_dir(store.session(&id).join("2")).unwrap();
    close(&store, &id, |_| {});
    store.assert_verdict(&id, Verdict::Interrupted, "never opened");
    fs::copy(store.segment(&id, 1, 0), store.segment(&id, 2, 0)).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "not a part of the recording");
}

#[test]
fn a_session_that_is_sealed_for_others_than_the_log_says_is_found() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = bastion.open_quietly(&bastion.new_id());
    let id = live.id.clone();
    bastion.log_start(&live, "0011223344556677");
    assert_ne!(Bastion::recipients(&live), "0011223344556677");
    bastion.close(live);
    bastion.stop();
    store.assert_verdict(&id, Verdict::Tampered, "sealed for others");
}

#[test]
fn a_session_that_begins_or_ends_twice_is_found() {
    for (kind, why) in [
        ("session.start", "the session begins a second time"),
        ("session.end", "the session ends a second time"),
        // What comes after the end is held against the file.
        ("segment.seal", "it is not the segment that the log has"),
    ] {
        let (store, id) = Store::with_session(&["one\r\n"]);
        let find = |entry: &Vec<u8>| serde_json::from_slice::<Value>(entry).unwrap()["type"] == kind;
        let leaf = store.entries().into_iter().find(find).unwrap();
        let mut fields: Value = serde_json::from_slice(&leaf).unwrap();
        for own in ["v", "seq", "ts", "node", "type"] {
            fields.as_object_mut().unwrap().remove(own);
        }
        if kind == "segment.seal" {
            fields["records"] = 7.into();
        }
        store.append(kind, fields);
        store.assert_verdict(&id, Verdict::Tampered, why);
        let found = store.verdict(&id);
        let whys: Vec<&str> = found.findings.iter().map(|finding| finding.why.as_str()).collect();
        assert_eq!(whys[0], why, "{found:#?}");
    }
}

/// A recording of several segments.
fn large(bastion: &Bastion) -> super::store::Live {
    let blocks: Vec<String> = (1..=170).map(super::store::noise).collect();
    bastion.open(&blocks.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The segment with another head before it, and everything after that to fit: what anyone can do without a key.
fn chained_to(bytes: &[u8], before: Head) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &parts.concat());
        <[u8; 32]>::try_from(digest.as_ref()).unwrap()
    };
    let mut out = [&bytes[..44], &before.0, &bytes[76..112]].concat();
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    let mut head = hash(&[&[0], &before.0, &out]);
    let (mut scanner, mut input) = (doorward::seal::Scanner::new(), bytes);
    while let Ok(Some(item)) = scanner.read(&mut input) {
        if let doorward::seal::Item::Record(record) = item {
            let body = &record.bytes()[..record.bytes().len() - 4];
            let sum = crc32c::crc32c_append(crc32c::crc32c(&head), body).to_le_bytes();
            head = hash(&[&[2], &head, body, &sum]);
            out.extend_from_slice(body);
            out.extend_from_slice(&sum);
        }
    }
    out
}

#[test]
fn leaves_that_anyone_can_write_make_no_sessions() {
    let store = Store::new();
    let bastion = store.bastion();
    let id = bastion.session(&["one\r\n"]);
    let live = bastion.open(&["two\r\n"]);
    let strangers = |from: u64| {
        let stranger = |n: u64| SessionId::from_parts(Timestamp::from_millis(1_800_000_000_000), u128::from(n));
        let head =
            |n| json!({ "session": stranger(n), "channel": 1, "segment": 0, "records": 1, "head": "9".repeat(64) });
        json!({ "heads": (from..from + 100).map(head).collect::<Vec<_>>() })
    };
    // Of one that is there also what is not signed yet counts.
    assert_eq!(store.verify().sessions.len(), 2);
    for round in 0..3 {
        bastion.log.append(leaf("session.heads", strangers(round * 100))).unwrap();
    }
    bastion.log.append(leaf("erase", json!({ "session": "01J9ZK4Y8Q0000000000000001" }))).unwrap();
    let report = store.verify();
    let sessions: Vec<_> = report.sessions.iter().map(|session| session.session.clone()).collect();
    assert_eq!(sessions, [id, live.id.clone()], "{report:#?}");
    let found: Vec<String> = report.log.findings.iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("speaks 301 times of sessions"), "{found:?}");
    // Once a checkpoint covers them, the bastion has said it.
    bastion.log.publish().unwrap();
    assert_eq!(store.verify().sessions.len(), 303);
    bastion.close(live);
}

#[test]
fn segments_that_changed_places_were_left_out_or_put_together_anew_are_found() {
    let store = Store::new();
    let bastion = store.bastion();
    let live = large(&bastion);
    let id = live.id.clone();
    bastion.log.publish().unwrap();
    let open = store.copy();
    bastion.close(live);
    bastion.stop();
    for (store, good) in [(&store, Verdict::OkUnanchored), (&open, Verdict::Interrupted)] {
        let paths = [0, 1, 2].map(|segment| store.segment(&id, 1, segment));
        assert!(paths.iter().all(|path| path.exists()), "{paths:?}");
        assert_eq!(store.verdict(&id).verdict, good);
        let aside = store.path().join("aside");
        for [a, b] in [[&paths[0], &paths[1]], [&paths[1], &paths[2]]] {
            for expected in [Verdict::Tampered, good] {
                fs::rename(a, &aside).unwrap();
                fs::rename(b, a).unwrap();
                fs::rename(&aside, b).unwrap();
                assert_eq!(store.verdict(&id).verdict, expected);
            }
            fs::rename(a, &aside).unwrap();
            fs::copy(b, a).unwrap();
            assert_eq!(store.verdict(&id).verdict, Verdict::Tampered);
            fs::rename(&aside, a).unwrap();
        }
        fs::rename(&paths[1], &aside).unwrap();
        assert_eq!(store.verdict(&id).verdict, Verdict::Tampered);
        fs::rename(&aside, &paths[1]).unwrap();
    }
    // The log was not told of any segment's end before the crash: then the chain alone holds them.
    let entries = open.entries();
    let unsealed = entries.into_iter().filter(|entry| !String::from_utf8_lossy(entry).contains("segment.seal"));
    open.forge_log(&super::attacks::numbered(unsealed));
    assert_eq!(open.verdict(&id).verdict, Verdict::Interrupted);
    let (first, second) = (open.segment(&id, 1, 0), open.segment(&id, 1, 1));
    let bytes = fs::read(&first).unwrap();
    let mut last = None;
    let (mut scanner, mut input) = (doorward::seal::Scanner::new(), bytes.as_slice());
    while let Ok(Some(item)) = scanner.read(&mut input) {
        if let doorward::seal::Item::Record(record) = item {
            last = last.max(Some(record.offset() as usize));
        }
    }
    fs::write(&first, &bytes[..last.unwrap()]).unwrap();
    open.assert_verdict(&id, Verdict::Tampered, "its end is missing");
    fs::write(&first, &bytes).unwrap();
    // Whole, of this session, channel and number, and not what followed the first.
    let bytes = fs::read(&second).unwrap();
    let forged = chained_to(&bytes, Head([6; 32]));
    assert!(scan(&forged).end.is_ok(), "{:?}", scan(&forged));
    fs::write(&second, forged).unwrap();
    open.assert_verdict(&id, Verdict::Tampered, "does not follow");
}

#[test]
fn a_bastion_at_work_never_looks_like_an_attack() {
    let store = Store::new();
    let bastion = store.bastion();
    bastion.session(&["one\r\n"]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            for _ in 0..60 {
                bastion.session(&["one\r\n", "two\r\n"]);
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut rounds = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let now = Some(doorward::clock::Clock::system().now());
            let report = store.verify_with(&Settings { now, ..Settings::default() });
            assert!([0, 3].contains(&report.exit_code()), "{report:#?}");
            rounds += 1;
        }
        worker.join().unwrap();
        assert!(rounds > 3, "{rounds}");
    });
}
