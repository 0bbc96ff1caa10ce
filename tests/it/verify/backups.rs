//! Backups of what was sealed anew, and then erased.

use std::collections::BTreeMap;
use std::path::Path;

use doorward::auditor::Identity;
use doorward::backup::{BackupFacts, CopySettings, SealedState, copy_store};
use doorward::clock::Clock;
use doorward::verify::Verdict;
use serde_json::json;

use super::rewraps::rewrap;
use super::store::{Store, log_key};

fn back_up(store: &Store, to: &Path, prune: bool) -> BackupFacts {
    let log = store.log();
    let size = log.published().unwrap().size;
    let state = SealedState { store: "0".repeat(32), bytes: b"sealed".to_vec(), hash: "00".to_owned(), entries: 0 };
    let settings = CopySettings {
        data: store.path(),
        key: log_key().public().clone(),
        size,
        journal: log.journal_at(size).unwrap(),
        state,
        config: BTreeMap::new(),
        quick: false,
        prune,
        keep: None,
        now: Clock::system().now(),
    };
    let facts = copy_store(&settings, to, &mut |_| {}).unwrap();
    assert_eq!((&facts.missing, &facts.differing), (&Vec::new(), &Vec::new()));
    facts
}

#[test]
fn a_rewrapped_recording_that_was_erased_verifies_in_every_backup() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    let [one, two] = [Identity::generate(), Identity::generate()];
    rewrap(&store, &id, &store.auditor, &[&one]);
    rewrap(&store, &id, &one, &[&two]);
    let folder = tempfile::tempdir().unwrap();
    let [first, updated] = ["first", "updated"].map(|name| Store::at(&folder.path().join(name), two.clone()));
    back_up(&store, updated.path(), false);
    updated.assert_verdict(&id, Verdict::OkUnanchored, "");
    assert_eq!(updated.root().earlier_envelopes(&id).len(), 2);
    store.append("erase", json!({ "session": id, "body": "sealed" }));
    store.root().destroy_envelopes(&id).unwrap();
    store.assert_verdict(&id, Verdict::Shredded, "");

    assert_eq!(back_up(&store, first.path(), false).destroyed_kept, 0);
    first.assert_verdict(&id, Verdict::Shredded, "");
    let facts = back_up(&store, updated.path(), false);
    assert_eq!((facts.destroyed_kept, facts.destroyed_pruned), (1, 0), "one recording, whatever there is of it");
    // What is kept of it is told, and is no sign that anybody changed something.
    let found = updated.verdict(&id);
    assert!(!matches!(found.verdict, Verdict::Tampered | Verdict::Missing), "{found:#?}");
    let facts = back_up(&store, updated.path(), true);
    assert_eq!((facts.destroyed_kept, facts.destroyed_pruned), (0, 1));
    updated.assert_verdict(&id, Verdict::Shredded, "");
    assert!(updated.root().earlier_envelopes(&id).is_empty() && !updated.root().envelope(&id).exists());
    let facts = back_up(&store, updated.path(), true);
    assert_eq!((facts.destroyed_kept, facts.destroyed_pruned), (0, 0));
}
