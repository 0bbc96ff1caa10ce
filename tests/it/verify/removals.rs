//! What a removal leaves that was interrupted, and what only looks like one.

use std::fs;
use std::path::PathBuf;

use doorward::model::SessionId;
use doorward::verify::{Settings, Verdict, plan};
use serde_json::json;

use super::store::Store;

#[test]
fn what_is_left_of_an_interrupted_removal_is_no_attack() {
    // How far the crash let it come; each goes on from the stage before it.
    for stage in 0..5 {
        let (store, id) = Store::with_session(&["one\r\n"]);
        store.append("gc", json!({ "sessions": [id] }));
        let gone = store.root().gone();
        let steps: [&dyn Fn(); 4] = [
            &|| fs::remove_file(store.root().envelope(&id)).unwrap(),
            // Where it was not moved first, any part of it may be left.
            &|| fs::remove_file(store.session(&id).join("closed.json")).unwrap(),
            &|| {
                fs::create_dir_all(&gone).unwrap();
                fs::rename(store.session(&id), gone.join(id.as_str())).unwrap();
            },
            &|| fs::remove_file(gone.join(id.as_str()).join("1/000000.seg")).unwrap(),
        ];
        steps.iter().take(stage).for_each(|step| step());
        store.assert_verdict(&id, Verdict::Interrupted, "its removal is not complete");
        assert_eq!(store.verify().unexpected.iter().next(), None, "stage {stage}");
    }
    let (store, id) = Store::with_session(&["one\r\n"]);
    store.append("gc", json!({ "sessions": [id] }));
    fs::remove_file(store.root().envelope(&id)).unwrap();
    fs::remove_dir_all(store.session(&id)).unwrap();
    store.assert_verdict(&id, Verdict::Expired, "removed when its time was over");
    assert!(!format!("{:?}", store.verdict(&id)).contains("not complete"));
}

#[test]
fn what_is_altered_in_the_place_of_a_removed_recording_is_no_removal() {
    type Change = dyn Fn(&Store, &SessionId);
    let changes: [(&str, &Change); 5] = [
        ("opened.json", &|store, id| {
            edit(store.session(id).join("opened.json"), &|bytes| {
                *bytes = String::from_utf8_lossy(bytes).replace("alice", "bobby").into_bytes();
            });
        }),
        ("1/000000.seg", &|store, id| edit(store.segment(id, 1, 0), &|bytes| bytes.truncate(bytes.len() - 1))),
        // Nothing but the segment's own leaf speaks of it then.
        ("1/000000.seg", &|store, id| {
            edit(store.segment(id, 1, 0), &|bytes| bytes.truncate(bytes.len() - 1));
            fs::remove_file(store.session(id).join("closed.json")).unwrap();
        }),
        (".age", &|store, id| edit(store.root().envelope(id), &|bytes| bytes.push(b'x'))),
        ("1/000001.seg", &|store, id| {
            fs::copy(store.segment(id, 1, 0), store.segment(id, 1, 1)).unwrap();
        }),
    ];
    for (place, change) in changes {
        let (store, id) = Store::with_session(&["one\r\n"]);
        store.append("gc", json!({ "sessions": [id] }));
        change(&store, &id);
        store.assert_verdict(&id, Verdict::Tampered, place);
        assert!(format!("{:?}", store.verdict(&id).notes).contains("its removal is not complete"));
    }
    // What it was, put back whole, is still no removal.
    let (store, id) = Store::with_session(&["one\r\n"]);
    store.append("gc", json!({ "sessions": [id] }));
    store.assert_verdict(&id, Verdict::Interrupted, "its removal is not complete");
    let refused = plan(store.path(), &id, &Settings::default()).unwrap_err();
    assert!(refused.to_string().contains("it is EXPIRED"), "{refused}");
}

fn edit(path: PathBuf, change: &dyn Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
}

#[test]
fn what_was_put_among_the_removed_and_is_not_on_record_is_found() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let gone = store.root().gone();
    fs::create_dir_all(&gone).unwrap();
    fs::rename(store.session(&id), gone.join(id.as_str())).unwrap();
    fs::write(gone.join("x"), b"x").unwrap();
    let report = store.verify();
    assert_eq!(store.verdict(&id).verdict, Verdict::Missing, "{report:#?}");
    let places: Vec<String> = report.unexpected.iter().map(|finding| format!("{finding:?}")).collect();
    assert!(places.iter().any(|place| place.contains(id.as_str())), "{places:?}");
    assert!(places.iter().any(|place| place.contains(".gone/x")), "{places:?}");
    assert_eq!(report.exit_code(), 4);
}
