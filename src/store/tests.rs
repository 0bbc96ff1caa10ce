use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;

use super::*;
use crate::auditor::Identity;
use crate::cast::tests::header;
use crate::cast::{Entry, Header, Timed};
use crate::model::{Output, TargetName, UserName};
use crate::seal::{ContextPool, Dek, EndReason, Recipients, SessionKeys, Source, Stream};

const SESSION: &str = "01J9ZK4Y8Q0000000000000001";

#[test]
fn i3_an_interrupted_recording_is_closed_as_such_and_its_segments_stay_as_they_are() {
    let store = Store::new();
    let mut writer = store.channel(1);
    write(&mut writer, 1500, "shown\r\n");
    let path = writer.path().to_owned();
    let valid_len = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[40, 0, 0, 1, 7, 7]).unwrap();
    let before = store.files();

    let report = store.recover();

    assert_eq!(report.interrupted, [session()]);
    let mut after = store.files();
    let recovered: serde_json::Value =
        serde_json::from_slice(&after.remove(&store.session.join("recovered.json")).unwrap()).unwrap();
    assert_eq!(after, before);
    assert_eq!(recovered["end"], "interrupted");
    let channel = &recovered["channels"][0];
    assert_eq!((&channel["valid_len"], &channel["len"]), (&valid_len.into(), &(valid_len + 6).into()));
    assert_eq!(channel["tail_sha256"], sha256_hex(&[40, 0, 0, 1, 7, 7]));
    assert_eq!(channel["head"], writer.closed().head);
    let plain = store.plain();
    assert_eq!(plain.summary.end, End::Interrupted);
    let mut events = plain.channels[0].events();
    assert_eq!(events.by_ref().map(Result::unwrap).collect::<Vec<_>>(), [timed(1500, "shown\r\n")]);
    assert_eq!(events.torn(), Some((path.as_path(), valid_len)));
}

#[test]
fn i10_a_second_recovery_changes_nothing() {
    let store = Store::new();
    drop(store.channel(1));
    store.recover();
    let before = store.files();
    let report = store.recover();
    assert!(report.interrupted.is_empty() && report.failed.is_empty());
    assert_eq!(store.files(), before);
}

#[test]
fn i9_recovery_takes_whatever_a_crash_leaves() {
    let store = Store::new();
    fs::create_dir(store.session.join("0")).unwrap(); // no segment yet
    fs::create_dir(store.session.join("1")).unwrap();
    write_file(&store.session.join("1/000000.seg"), b""); // no header yet
    fs::create_dir(store.session.join("2")).unwrap();
    write_file(&store.session.join("2/000000.seg"), b"DWRC\x01\x01"); // half of it
    write_file(&store.session.join("closed.json.new"), b"{\"for"); // closing, and not closed
    let report = store.recover();
    assert_eq!(report.interrupted, [session()]);
    let listed = store.catalog().list(&Filter::default());
    let [Listed::Recording(summary)] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!(summary.end, End::Interrupted);
    assert_eq!(store.plain().damage.len(), 3);
    assert!(store.recover().interrupted.is_empty());
}

#[test]
fn a_closed_recording_is_not_recovered() {
    let store = Store::new();
    let mut writer = store.channel(1);
    write(&mut writer, 7, "x");
    Closed::new(session(), String::from("the user left"), Timestamp::from_millis(9), 9, vec![writer.closed()])
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
    write_file(&store.session.join("closed.json"), b"{\"format\":2,");
    let report = store.recover();
    assert_eq!((report.interrupted.len(), report.failed.len()), (0, 1));
    let listed = store.catalog().list(&Filter::default());
    let [Listed::Damaged { why, .. }] = listed.as_slice() else { panic!("{listed:?}") };
    assert!(why.contains("closed.json"), "{why}");
    assert_eq!(store.plain().channels[0].events().count(), 1);
}

#[test]
fn a_pipe_in_the_place_of_a_file_makes_nobody_wait() {
    for name in ["opened.json", "closed.json", "recovered.json", "1/000000.seg"] {
        let store = Store::new();
        write(&mut store.channel(1), 7, "x");
        let path = store.session.join(name);
        let _ = fs::remove_file(&path);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        let report = store.recover();
        let listed = store.catalog().list(&Filter::default());
        let told = format!("{:?} {listed:?}", report.failed);
        assert!(name == "1/000000.seg" || told.contains("no plain file"), "{name}: {told}");
        if name == "1/000000.seg" {
            let text = fs::read_to_string(store.session.join("recovered.json")).unwrap();
            assert!(text.contains("no plain file"), "{text}");
            let plain = store.plain();
            assert!(plain.damage[0].contains("cannot read"), "{:?}", plain.damage);
        }
    }
    let store = Store::new();
    drop(store.channel(1));
    let envelope = store.root.envelope(&session());
    fs::remove_file(&envelope).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &envelope, rustix::fs::Mode::RUSR).unwrap();
    let stored = store.catalog().open(&session()).unwrap();
    assert!(PlainRecording::open(&store.root, stored, std::slice::from_ref(&store.auditor)).is_err());
}

#[test]
fn a_recording_that_is_removed_leaves_nothing_however_often_and_wherever_it_was_interrupted() {
    let store = Store::new();
    write(&mut store.channel(1), 7, "x");
    let gone = store.root.gone().join(SESSION);
    // What an earlier attempt left.
    fs::create_dir_all(gone.join("1")).unwrap();
    write_file(&gone.join("1/000000.seg"), b"x");
    for _ in 0..2 {
        store.root.remove_session(&session()).unwrap();
        store.root.destroy_envelopes(&session()).unwrap();
        assert!(!store.session.exists() && !gone.exists() && !store.root.envelope(&session()).exists());
    }
    assert!(store.catalog().list(&Filter::default()).is_empty());
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
    // One session's facts in the place of another's.
    fs::copy(store.session.join("opened.json"), other.join("opened.json")).unwrap();
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
fn the_newest_recordings_of_one_user_are_found_without_reading_all() {
    let store = Store::new();
    drop(store.channel(1));
    let first = opening();
    let later = |ms: i64, user: &str| {
        let made = started(&session()).unwrap().as_millis() + ms;
        let id = SessionId::from_parts(Timestamp::from_millis(made), 1);
        let path = store.root.create_session(&store.disk, &id).unwrap();
        let user = UserName::parse(user).unwrap();
        write_file(&path.join("opened.json"), &Opening { session: id.clone(), user, ..first.clone() }.to_json());
        id
    };
    let day = 86_400_000;
    let (second, bobs, third) = (later(1, "alice"), later(2, "bob"), later(40 * day, "alice"));
    // What nobody can read is nobody's.
    fs::create_dir(store.session.with_file_name("01J9ZZZZZZZZZZZZZZZZZZZZZZ")).unwrap();
    let newest = |user: &str, most, looked_at| {
        let (found, more) = store.catalog().newest(&UserName::parse(user).unwrap(), most, looked_at);
        (found.into_iter().map(|summary| summary.session).collect::<Vec<_>>(), more)
    };
    assert_eq!(newest("alice", 10, 100), (vec![third.clone(), second.clone(), session()], false));
    assert_eq!(newest("alice", 2, 100), (vec![third.clone(), second], true));
    assert_eq!(newest("bob", 10, 100), (vec![bobs], false));
    assert_eq!(newest("eve", 10, 100), (vec![], false));
    assert_eq!(newest("alice", 10, 1), (vec![third], true));
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
    // Hard to compress: a sequence whose next byte depends on all before it.
    let mut seed = 1_u32;
    let mut text = || {
        let letters = (0..65_536).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + u8::try_from(seed >> 24).unwrap() % 95)
        });
        letters.collect::<String>()
    };
    let mut all = Vec::new();
    for second in 0..160 {
        all.push(timed(second * 1000, &text()));
        keep(&mut writer, all.last().unwrap());
        if writer.is_full(all.last().unwrap().at) {
            roll(&mut writer);
        }
    }
    write(&mut writer, 300_000, "end");
    assert_eq!(writer.closed().segments, 3);
    end(&mut writer);
    let stored = store.catalog().open(&session()).unwrap();
    assert_eq!(stored.summary.bytes, writer.closed().bytes);
    let plain = store.plain();
    let entries: Vec<Timed> = plain.channels[0].events().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 161);
    assert!(entries[..160] == all[..]);
    assert_eq!(entries[160], timed(300_000, "end"));
    assert_eq!(plain.channels[0].length(), Some(std::time::Duration::from_secs(300)));
}

#[test]
fn a_segment_of_five_minutes_is_followed_by_another_if_it_holds_anything() {
    let store = Store::new();
    let mut writer = store.channel(1);
    let at = std::time::Duration::from_secs;
    assert!(!writer.is_full(at(3600)));
    write(&mut writer, 1000, "x");
    assert_eq!(writer.care_at(), Some(at(6)));
    assert!(!writer.is_full(at(300)) && writer.is_full(at(301)));
    let mut buffers = Buffers::default();
    writer.idle(at(5), &mut buffers).unwrap();
    assert!(buffers.sealed.is_empty());
    writer.idle(at(6), &mut buffers).unwrap();
    assert!(!buffers.sealed.is_empty());
    put(&mut writer, &mut buffers);
    assert_eq!(writer.care_at(), Some(at(301)));
    write(&mut writer, 7000, "y");
    assert_eq!(store.plain().channels[0].events().count(), 2);
}

#[test]
fn i11_what_is_recorded_is_nowhere_in_the_store() {
    // Threat T15 of the store, invariant I11: no plaintext touches the disk.
    let store = Store::new();
    let mut writer = store.channel(1);
    write(&mut writer, 0, "the-canary-that-nobody-may-find");
    end(&mut writer);
    for (path, bytes) in store.files() {
        let found = bytes.windows(10).any(|window| window == b"the-canary");
        assert!(!found, "{}", path.display());
    }
    assert_eq!(store.plain().channels[0].events().count(), 1);
}

#[test]
fn a_recording_opens_for_its_auditors_only() {
    let store = Store::new();
    write(&mut store.channel(1), 0, "x");
    let open =
        |identity: Identity| PlainRecording::open(&store.root, store.catalog().open(&session()).unwrap(), &[identity]);
    assert!(matches!(open(Identity::generate()), Err(StoreError::Envelope { .. })));
    fs::remove_file(store.root.envelope(&session())).unwrap();
    assert!(matches!(open(store.auditor.clone()), Err(StoreError::Read { .. })));
}

#[test]
fn i4_segments_out_of_place_are_said_to_be() {
    let store = Store::new();
    let mut writer = store.channel(1);
    for ms in [1, 2, 3] {
        write(&mut writer, ms, "x");
        roll(&mut writer);
    }
    write(&mut writer, 4, "x");
    end(&mut writer);
    let good = store.files();
    let segment = |number: u32| store.session.join(format!("1/{number:06}.seg"));
    let errors = || store.plain().channels[0].events().filter(Result::is_err).count();
    assert_eq!(errors(), 0);
    overwrite(&segment(1), &good[&segment(2)]);
    assert!(errors() > 0, "one in the place of another");
    overwrite(&segment(1), &good[&segment(1)]);
    fs::remove_file(segment(2)).unwrap();
    assert!(errors() > 0, "one that is gone");
    overwrite(&segment(2), &good[&segment(2)][..good[&segment(2)].len() - 1]);
    assert!(errors() > 0, "one that is cut");
}

#[test]
fn i8_files_are_for_their_owner_only_and_never_reused() {
    let store = Store::new();
    let writer = store.channel(1);
    assert_eq!(fs::metadata(writer.path()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&store.session).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(LocalDisk.create_segment(writer.path()).is_err());
    assert!(store.root.create_session(&store.disk, &session()).is_err());
}

/// A store with one session in it, for tests of whoever reads one.
pub(crate) struct Store {
    _temp: tempfile::TempDir,
    pub(crate) root: StoreRoot,
    disk: Arc<dyn Disk>,
    session: PathBuf,
    pub(crate) auditor: Identity,
    dek: Dek,
}

impl Store {
    /// The session of `cast::tests::header`.
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = StoreRoot::at(temp.path());
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let session = root.create_session(&disk, &session()).unwrap();
        let (auditor, dek) = (Identity::generate(), Dek::random().unwrap());
        let store = Self { _temp: temp, root, disk, session, auditor, dek };
        fs::create_dir(store.root.envelopes()).unwrap();
        let recipients = Recipients::of([store.auditor.recipient()]).unwrap();
        write_file(&store.root.envelope(&self::session()), &recipients.wrap(&store.dek).unwrap());
        write_file(&store.session.join("opened.json"), &opening().to_json());
        store
    }

    fn channel(&self, number: u32) -> ChannelWriter {
        let mut header = header(true);
        header.doorward.channel = ChannelNumber(number);
        self.channel_of(header)
    }

    /// Starts a channel.
    pub(crate) fn channel_of(&self, header: Header) -> ChannelWriter {
        let ratchet = SessionKeys::new(&self.dek).unwrap().channel(header.doorward.channel).unwrap();
        let source =
            Source { stream: Stream::Cast3, session: session().to_bytes().unwrap(), recipients_digest: [0; 8] };
        let sealing = Sealing { source, ratchet, contexts: ContextPool::new(1) };
        let disk = Arc::clone(&self.disk);
        ChannelWriter::create(disk, &self.session, header, sealing, None, &mut Buffers::default()).unwrap()
    }

    pub(crate) fn catalog(&self) -> Catalog {
        Catalog::new(self.root.clone())
    }

    fn plain(&self) -> PlainRecording {
        let stored = self.catalog().open(&session()).unwrap();
        PlainRecording::open(&self.root, stored, std::slice::from_ref(&self.auditor)).unwrap()
    }

    fn recover(&self) -> RecoveryReport {
        recover(&self.root, &self.disk, Timestamp::from_millis(1_800_000_000_000), |_| Some(SeenByLog::new()), |_| true)
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

/// Writes an entry and makes it durable.
pub(crate) fn keep(writer: &mut ChannelWriter, timed: &Timed) {
    let mut buffers = Buffers::default();
    writer.count(timed.entry.bytes(), 0);
    writer.encode(timed.at, &timed.entry, &mut buffers.lines);
    writer.seal(&mut buffers).unwrap();
    put(writer, &mut buffers);
}

/// Goes on to the next segment.
pub(crate) fn roll(writer: &mut ChannelWriter) {
    let mut buffers = Buffers::default();
    writer.end(EndReason::Rolled, &mut buffers).unwrap();
    put(writer, &mut buffers);
    writer.roll(&mut buffers).unwrap();
    writer.sync().unwrap();
}

/// Ends the channel.
fn end(writer: &mut ChannelWriter) {
    let mut buffers = Buffers::default();
    writer.end(EndReason::Closed, &mut buffers).unwrap();
    put(writer, &mut buffers);
}

fn put(writer: &mut ChannelWriter, buffers: &mut Buffers) {
    writer.append(&mut buffers.sealed.as_slice()).unwrap();
    buffers.sealed.clear();
    writer.sync().unwrap();
}

fn opening() -> Opening {
    opening_of(session())
}

fn opening_of(session: SessionId) -> Opening {
    let facts = header(true).doorward;
    Opening {
        format: Opening::FORMAT,
        user: facts.user,
        destination: Destination { account: facts.account, target: facts.target },
        target_address: String::from("10.0.0.5:22"),
        rule: facts.rule,
        policy: facts.policy,
        grant: facts.grant,
        reason: facts.reason,
        source: facts.source,
        key_fingerprint: String::from("SHA256:abc"),
        started: started(&session).unwrap(),
        session,
        auditors: Vec::new(),
        opener_key: None,
    }
}

/// Makes the files of a recording that is over, without a channel: for those to whom it matters only that it is there.
pub(crate) fn shelve(root: &StoreRoot, session: &SessionId) {
    let (opening, directory) = (opening_of(session.clone()), root.session_directory(session).unwrap());
    let closed = Closed::new(session.clone(), String::from("the user left"), opening.started, 5, Vec::new());
    fs::create_dir_all(&directory).unwrap();
    fs::create_dir_all(root.envelopes()).unwrap();
    write_file(&directory.join("opened.json"), &opening.to_json());
    write_file(&directory.join("closed.json"), &closed.to_json());
    write_file(&root.envelope(session), b"age");
}

fn session() -> SessionId {
    SessionId::parse(SESSION).unwrap()
}

fn write(writer: &mut ChannelWriter, ms: u64, text: &str) {
    keep(writer, &timed(ms, text));
}

fn timed(ms: u64, text: &str) -> Timed {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Timed { at: std::time::Duration::from_millis(ms), entry: Entry::Output { output: Output::Stdout, bytes } }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    write_file(path, bytes);
}

fn write_file(path: &Path, bytes: &[u8]) {
    File::create_new(path).unwrap().write_all(bytes).unwrap();
}
