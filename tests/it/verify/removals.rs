//! What a removal leaves that was interrupted, and what only looks like one.

use std::fs;

use doorward::verify::Verdict;
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
        store.assert_verdict(&id, Verdict::Expired, "its removal is not complete");
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
