//! A segment that was given up after an I/O error, and who would like one to have been.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use doorward::cli::evidence::{check_bundle, write_bundle};
use doorward::model::SessionId;
use doorward::seal::scan;
use doorward::store::{Disk, LocalDisk, SegmentFile, Space};
use doorward::verify::{Settings, Verdict};
use serde_json::{Value, json};

use super::attacks::numbered;
use super::store::{Store, leaf, pinned};

/// A real disk on which the next syncs of these files fail, each once.
#[derive(Debug, Clone, Default)]
struct Failing(Arc<Mutex<Vec<&'static str>>>);

#[derive(Debug)]
struct File {
    file: Box<dyn SegmentFile>,
    path: PathBuf,
    failing: Failing,
}

impl SegmentFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        let mut failing = self.failing.0.lock().unwrap();
        match failing.iter().position(|path| self.path.ends_with(path)) {
            Some(at) => {
                failing.remove(at);
                Err(io::Error::from_raw_os_error(5))
            }
            None => Ok(()),
        }
    }
}

impl Disk for Failing {
    fn create_directories(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directories(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_directory(path)
    }

    fn create_segment(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let file = LocalDisk.create_segment(path)?;
        Ok(Box::new(File { file, path: path.to_owned(), failing: self.clone() }))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_directory(path)
    }

    fn create_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        LocalDisk.create_whole(path, bytes)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        LocalDisk.space(path)
    }

    fn probe(&self, directory: &Path) -> io::Result<()> {
        LocalDisk.probe(directory)
    }
}

/// A session whose first segment was given up, live and closed. All that was lost stands behind where it is good.
fn suspect() -> (Store, Store, SessionId) {
    let (store, disk) = (Store::new(), Failing::default());
    let bastion = store.bastion_on(Arc::new(disk.clone()));
    let live = bastion.open(&["eins\r\n"]);
    let id = live.id.clone();
    disk.0.lock().unwrap().push("1/000000.seg");
    bastion.show(&live, 1, &["zwei\r\n", "drei\r\n"]);
    bastion.log.publish().unwrap();
    let open = store.copy();
    bastion.close(live);
    bastion.stop();
    assert_eq!(*disk.0.lock().unwrap(), [""; 0]);
    (store, open, id)
}

/// How many bytes of the first segment are good, by the log.
fn good(store: &Store) -> usize {
    let leaves = store.entries().into_iter().map(|entry| serde_json::from_slice::<Value>(&entry).unwrap());
    let leaf = leaves.into_iter().find(|leaf| leaf["type"] == "segment.suspect").expect("no leaf");
    usize::try_from(leaf["bytes"].as_u64().unwrap()).unwrap()
}

fn without_leaf(store: &Store) {
    let entries = store.entries().into_iter();
    let rest = entries.filter(|entry| !String::from_utf8_lossy(entry).contains("segment.suspect"));
    store.forge_log(&numbered(rest));
}

#[test]
fn a_recording_with_a_segment_that_was_given_up_is_good_and_says_so() {
    let (store, open, id) = suspect();
    store.assert_verdict(&id, Verdict::OkUnanchored, "1/000000.seg` was given up at byte");
    open.assert_verdict(&id, Verdict::Interrupted, "1/000000.seg` was given up at byte");
    open.recover();
    open.assert_verdict(&id, Verdict::Interrupted, "1/000000.seg` was given up at byte");
    for store in [&store, &open] {
        let settings = Settings { identities: Some(vec![store.auditor.clone()]), ..Settings::default() };
        let report = store.verify_with(&settings);
        assert!(report.sessions[0].findings.is_empty(), "{report:#?}");
        assert_eq!(report.opened.unwrap().read, 1);
    }
}

#[test]
fn every_byte_up_to_where_a_segment_was_given_up_counts_and_none_behind() {
    let (store, _, id) = suspect();
    let (path, good) = (store.segment(&id, 1, 0), good(&store));
    let bytes = fs::read(&path).unwrap();
    assert!(good < bytes.len() && scan(&bytes).valid_len > good as u64, "nothing stands behind it");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let expected = if at < good { Verdict::Tampered } else { Verdict::OkUnanchored };
        assert_eq!(store.verdict(&id).verdict, expected, "byte {at} of {good}");
    }
    for (len, expected) in [(good, Verdict::OkUnanchored), (good - 1, Verdict::Tampered), (0, Verdict::Tampered)] {
        fs::write(&path, &bytes[..len]).unwrap();
        assert_eq!(store.verdict(&id).verdict, expected, "{len} bytes");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(store.verdict(&id).verdict, Verdict::Tampered);
    // Of the segment that took its place every byte counts.
    fs::write(&path, &bytes).unwrap();
    let path = store.segment(&id, 1, 1);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        assert_eq!(store.verdict(&id).verdict, Verdict::Tampered, "byte {at}");
    }
}

#[test]
fn without_a_leaf_that_gives_it_up_a_segment_must_have_its_end() {
    let (store, open, id) = suspect();
    without_leaf(&store);
    assert_eq!(store.verdict(&id).verdict, Verdict::Tampered);
    without_leaf(&open);
    open.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
    open.recover();
    open.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
}

#[test]
fn a_leaf_that_gives_up_another_part_than_the_next_segment_follows_is_found() {
    for (field, value) in [
        ("head", json!("05".repeat(32))),
        ("prev_head", json!("05".repeat(32))),
        ("records", json!(1)),
        ("bytes", json!(0)),
        ("bytes", json!(130)),
        ("segment", json!(1)),
        ("channel", json!(0)),
    ] {
        let (store, _, id) = suspect();
        let entries = store.entries().into_iter().map(|entry| {
            let mut fields: Value = serde_json::from_slice(&entry).unwrap();
            if fields["type"] == "segment.suspect" {
                fields[field] = value.clone();
            }
            fields.to_string().into_bytes()
        });
        store.forge_log(&entries.collect::<Vec<_>>());
        assert_eq!(store.verdict(&id).verdict, Verdict::Tampered, "{field}: {:#?}", store.verdict(&id));
    }
}

#[test]
fn a_segment_that_has_ended_or_that_others_follow_cannot_be_given_up_any_more() {
    // With the key of the log, after the fact: the leaf comes too late, or another has said else.
    let (store, open, id) = suspect();
    let fields = |store: &Store, channel: u32, segment: u32, len: usize| {
        let bytes = fs::read(store.segment(&id, channel, segment)).unwrap();
        let found = scan(&bytes[..len.min(bytes.len())]);
        let prev_head = found.header.unwrap().prev_head.to_string();
        json!({
            "session": id, "channel": channel, "segment": segment, "bytes": found.valid_len,
            "records": found.records, "prev_head": prev_head, "head": found.head.to_string(),
        })
    };
    let [ended, sealed] = [store.copy(), store.copy()];
    ended.append("segment.suspect", fields(&store, 0, 0, usize::MAX));
    ended.assert_verdict(&id, Verdict::Tampered, "the session ended");
    let mut entries = sealed.entries();
    let end = entries.iter().position(|entry| String::from_utf8_lossy(entry).contains("session.end")).unwrap();
    let late = String::from_utf8(entries[end].clone()).unwrap();
    let mut late: Value = serde_json::from_str(&late).unwrap();
    for (name, value) in fields(&store, 1, 1, usize::MAX).as_object().unwrap() {
        late[name] = value.clone();
    }
    late["type"] = json!("segment.suspect");
    entries.insert(end, late.to_string().into_bytes());
    sealed.forge_log(&numbered(entries.into_iter()));
    sealed.assert_verdict(&id, Verdict::Tampered, "of which a leaf before it says else");
    // The live one: its heads say that the next segment was there.
    let bytes = fs::read(open.segment(&id, 1, 1)).unwrap();
    let head = scan(&bytes);
    let head = json!([{
        "session": id, "channel": 1, "segment": 1, "records": head.records, "head": head.head.to_string(),
    }]);
    let again = good(&open);
    without_leaf(&open);
    open.append("session.heads", json!({ "heads": head }));
    open.append("segment.suspect", fields(&open, 1, 0, again));
    open.assert_verdict(&id, Verdict::Tampered, "which others followed by then");
}

#[test]
fn a_leaf_in_the_journal_alone_gives_nothing_up() {
    let (store, _, id) = suspect();
    let leaf_of = store.entries().into_iter().find(|one| String::from_utf8_lossy(one).contains("segment.suspect"));
    let mut fields: Value = serde_json::from_slice(&leaf_of.unwrap()).unwrap();
    for own in ["v", "seq", "ts", "node", "type"] {
        fields.as_object_mut().unwrap().remove(own);
    }
    without_leaf(&store);
    store.log().append(leaf("segment.suspect", fields)).unwrap();
    store.assert_verdict(&id, Verdict::Tampered, "no checkpoint covers it");
}

#[test]
fn a_crash_before_the_next_segment_was_made_or_written_is_no_attack() {
    let (_, open, id) = suspect();
    let next = open.segment(&id, 1, 1);
    let bytes = fs::read(&next).unwrap();
    for len in [None, Some(0), Some(50), Some(150)] {
        let crashed = open.copy();
        let next = crashed.segment(&id, 1, 1);
        match len {
            None => fs::remove_file(&next).unwrap(),
            Some(len) => fs::write(&next, &bytes[..len]).unwrap(),
        }
        crashed.assert_verdict(&id, Verdict::Interrupted, "");
        crashed.recover();
        crashed.assert_verdict(&id, Verdict::Interrupted, "the bastion stopped while it ran");
        let settings = Settings { identities: Some(vec![crashed.auditor.clone()]), ..Settings::default() };
        let report = crashed.verify_with(&settings);
        assert_eq!(report.exit_code(), 3, "{len:?}: {report:#?}");
        if len.is_none() {
            // It is the last one then, and held by what the start has found, to its end.
            let path = crashed.segment(&id, 1, 0);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            crashed.assert_verdict(&id, Verdict::Tampered, "1/000000.seg");
        }
    }
}

#[test]
fn a_bundle_of_it_proves_itself_and_its_coverage_names_the_segment() {
    let (store, _, id) = suspect();
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("evidence");
    write_bundle(store.path(), vec![store.auditor.clone()], &id, &bundle).unwrap();
    let settings = Settings { key: pinned(), ..Settings::default() };
    let check = || check_bundle(&bundle, &settings, Some(vec![store.auditor.clone()])).0;
    let report = check();
    assert_eq!((report.exit_code(), report.casts_compared), (0, true), "{report:#?}");
    assert!(format!("{:?}", report.notes).contains("was given up at byte"), "{report:#?}");
    let cast = fs::read_to_string(bundle.join("channel-1.cast")).unwrap();
    for text in ["eins", "zwei", "drei"] {
        assert_eq!(cast.matches(text).count(), 1, "{cast}");
    }
    let coverage: Value = serde_json::from_slice(&fs::read(bundle.join("coverage.json")).unwrap()).unwrap();
    let shell = &coverage["channels"][1];
    assert_eq!((&shell["stdout"]["recorded"], &shell["stdout"]["in_full"]), (&json!(18), &json!(true)), "{coverage:#}");
    assert_eq!(shell["given_up"], json!([{ "segment": 0, "bytes": good(&store) }]), "{coverage:#}");
    // Without the leaf it proves nothing.
    let proofs = fs::read_dir(bundle.join("proofs")).unwrap().map(|entry| entry.unwrap().path());
    let of_it = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("segment.suspect");
    let leaf = proofs.filter(|path| path.extension().is_some_and(|name| name == "json")).find(of_it).unwrap();
    fs::remove_file(leaf.with_extension("tlog-proof")).unwrap();
    fs::remove_file(leaf).unwrap();
    assert_eq!(check().exit_code(), 5);
}
