use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;

use super::*;
use crate::cast::tests::header;
use crate::cast::{Entry, Timed};
use crate::model::{Output, TargetName, UserName};

const SESSION: &str = "01J9ZK4Y8Q0000000000000001";

#[test]
fn an_interrupted_recording_is_closed_as_such_and_its_segments_stay_as_they_are() {
    let store = Store::new();
    let mut writer = store.channel(1);
    write(&mut writer, 1500, "shown\r\n");
    let path = writer.path().to_owned();
    let valid_len = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"[0.5,\"o\",\"never sho").unwrap();
    let before = store.files();

    let report = store.recover();

    assert_eq!(report.interrupted, [session()]);
    let mut after = store.files();
    let recovered: serde_json::Value =
        serde_json::from_slice(&after.remove(&store.session.join("recovered.json")).unwrap()).unwrap();
    assert_eq!(after, before);
    assert_eq!((&recovered["end"], &recovered["duration_ms"]), (&"interrupted".into(), &1500.into()));
    assert_eq!(recovered["channels"][0]["valid_len"], valid_len);
    let stored = store.catalog().open(&session()).unwrap();
    assert_eq!(stored.summary.end, End::Interrupted);
    assert_eq!(stored.summary.duration, Some(std::time::Duration::from_millis(1500)));
    let mut events = stored.channels[0].events();
    assert_eq!(events.by_ref().map(Result::unwrap).collect::<Vec<_>>(), [timed(1500, "shown\r\n")]);
    assert_eq!(events.torn(), Some((path.as_path(), valid_len)));
}

#[test]
fn a_second_recovery_changes_nothing() {
    let store = Store::new();
    drop(store.channel(1));
    store.recover();
    let before = store.files();
    let report = store.recover();
    assert!(report.interrupted.is_empty() && report.failed.is_empty());
    assert_eq!(store.files(), before);
}

#[test]
fn recovery_takes_whatever_a_crash_leaves() {
    let store = Store::new();
    fs::create_dir(store.session.join("0")).unwrap(); // no segment yet
    fs::create_dir(store.session.join("1")).unwrap();
    write_file(&store.session.join("1/000000.cast"), b""); // no header yet
    fs::create_dir(store.session.join("2")).unwrap();
    write_file(&store.session.join("2/000000.cast"), b"{\"version\":3,\"te"); // half of it
    write_file(&store.session.join("closed.json.new"), b"{\"for"); // closing, and not closed
    let report = store.recover();
    assert_eq!(report.interrupted, [session()]);
    assert!(matches!(store.catalog().list(&Filter::default()).as_slice(), [Listed::Damaged { .. }]));
    assert!(store.recover().interrupted.is_empty());
}

#[test]
fn a_closed_recording_is_not_recovered() {
    let store = Store::new();
    let mut writer = store.channel(1);
    write(&mut writer, 7, "x");
    Closed::new(session(), String::from("the user left"), Timestamp::from_millis(9), 9, vec![writer.closed().clone()])
        .write(&store.disk, &store.session)
        .unwrap();
    assert!(store.recover().interrupted.is_empty());
    let summary = store.catalog().open(&session()).unwrap().summary;
    assert_eq!(summary.end, End::Closed { reason: String::from("the user left") });
    assert!(
        Closed::new(session(), String::new(), Timestamp::from_millis(9), 9, Vec::new())
            .write(&store.disk, &store.session)
            .is_err()
    );
}

#[test]
fn a_recording_whose_closing_was_damaged_is_said_to_be_and_can_be_read() {
    let store = Store::new();
    write(&mut store.channel(1), 7, "x");
    write_file(&store.session.join("closed.json"), b"{\"format\":1,");
    let report = store.recover();
    assert_eq!((report.interrupted.len(), report.failed.len()), (0, 1));
    let listed = store.catalog().list(&Filter::default());
    let [Listed::Damaged { why, .. }] = listed.as_slice() else { panic!("{listed:?}") };
    assert!(why.contains("closed.json"), "{why}");
    assert_eq!(store.catalog().open(&session()).unwrap().channels[0].events().count(), 1);
}

#[test]
fn a_damaged_recording_is_listed_and_does_not_hide_the_others() {
    let store = Store::new();
    drop(store.channel(1));
    let day = store.session.parent().unwrap();
    fs::create_dir(day.join("01J9ZK4Y8Q0000000000000002")).unwrap();
    fs::create_dir(day.join("not-a-session")).unwrap();
    let other = day.join("01J9ZK4Y8Q0000000000000003");
    fs::create_dir_all(other.join("1")).unwrap();
    // One session's segment in the place of another's.
    fs::copy(store.session.join("1/000000.cast"), other.join("1/000000.cast")).unwrap();
    fs::create_dir_all(store.root.directory().join("2024/garbage")).unwrap();
    let listed = store.catalog().list(&Filter::default());
    let [Listed::Recording(first), Listed::Damaged { .. }, Listed::Damaged { why, .. }] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!(first.session, session());
    assert_eq!(first.end, End::Open);
    assert!(why.contains("another session"), "{why}");
}

#[test]
fn listings_are_filtered_by_user_target_and_time() {
    let store = Store::new();
    drop(store.channel(1));
    let count = |filter: Filter| store.catalog().list(&filter).len();
    let user = |name: &str| Filter { user: Some(UserName::parse(name).unwrap()), ..Filter::default() };
    let target = |name: &str| Filter { target: Some(TargetName::parse(name).unwrap()), ..Filter::default() };
    let at = started(&session()).unwrap();
    let since = |ms: i64| Filter { since: Some(Timestamp::from_millis(at.as_millis() + ms)), ..Filter::default() };
    assert_eq!([count(user("alice")), count(user("bob"))], [1, 0]);
    assert_eq!([count(target("db1")), count(target("db2"))], [1, 0]);
    assert_eq!([count(since(0)), count(since(1)), count(since(86_400_000))], [1, 0, 0]);
}

#[test]
fn ids_that_are_none_are_not_found() {
    let store = Store::new();
    for id in ["..", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "01J9ZK4Y8Q0000000000000009", "A"] {
        let Ok(id) = SessionId::parse(id) else { continue };
        assert!(matches!(store.catalog().open(&id), Err(StoreError::NotFound { .. })));
    }
}

#[test]
fn a_full_segment_is_followed_by_one_that_goes_on() {
    let store = Store::new();
    let mut writer = store.channel(1);
    let text = "0123456789abcdef".repeat(4096);
    for second in 0..300 {
        write(&mut writer, second * 1000, &text);
        if writer.is_full() {
            writer.roll().unwrap();
        }
    }
    write(&mut writer, 300_000, "end");
    assert_eq!(writer.closed().segments, 2);
    let stored = store.catalog().open(&session()).unwrap();
    let entries: Vec<Timed> = stored.channels[0].events().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 301);
    assert_eq!(entries[300], timed(300_000, "end"));
    assert_eq!(entries[299].at, std::time::Duration::from_secs(299));
    assert_eq!(stored.summary.bytes, writer.closed().bytes);
}

#[test]
fn files_are_for_their_owner_only_and_never_reused() {
    let store = Store::new();
    let writer = store.channel(1);
    assert_eq!(fs::metadata(writer.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&store.session).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(LocalDisk.create_segment(writer.path()).is_err());
    assert!(store.root.create_session(&store.disk, &session()).is_err());
}

struct Store {
    _temp: tempfile::TempDir,
    root: StoreRoot,
    disk: Arc<dyn Disk>,
    session: PathBuf,
}

impl Store {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = StoreRoot::at(&temp.path().join("rec"));
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let session = root.create_session(&disk, &session()).unwrap();
        Self { _temp: temp, root, disk, session }
    }

    fn channel(&self, number: u32) -> ChannelWriter {
        let mut header = header(true);
        header.doorward.channel = ChannelNumber(number);
        ChannelWriter::create(Arc::clone(&self.disk), &self.session, header, None, &mut Vec::new()).unwrap()
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(self.root.clone())
    }

    fn recover(&self) -> RecoveryReport {
        recover(&self.root, &self.disk, Timestamp::from_millis(1_800_000_000_000))
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut waiting = vec![self.root.directory().to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

fn session() -> SessionId {
    SessionId::parse(SESSION).unwrap()
}

fn write(writer: &mut ChannelWriter, ms: u64, text: &str) {
    let mut buffer = Vec::new();
    let timed = timed(ms, text);
    writer.encode(timed.at, &timed.entry, &mut buffer);
    writer.append(&mut buffer.as_slice()).unwrap();
    writer.sync().unwrap();
}

fn timed(ms: u64, text: &str) -> Timed {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Timed { at: std::time::Duration::from_millis(ms), entry: Entry::Output { output: Output::Stdout, bytes } }
}

fn write_file(path: &Path, bytes: &[u8]) {
    File::create_new(path).unwrap().write_all(bytes).unwrap();
}
