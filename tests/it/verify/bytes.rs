//! No byte of a store is another one without a word.

use std::fs;
use std::path::Path;

use doorward::verify::{Report, Verdict};

use super::store::Store;

/// Whether a report complains: an exit status, or at least a line.
fn complains(report: &Report) -> bool {
    report.exit_code() != 0
        || !report.unexpected.is_empty()
        || !report.log.warnings.is_empty()
        || report.sessions.iter().any(|session| !session.notes.is_empty())
        || report.sessions.is_empty()
}

#[test]
fn any_byte_of_a_closed_session_or_of_the_log_that_changes_is_found() {
    let (store, _) = Store::with_session(&["one\r\n", "two\r\n"]);
    assert!(!complains(&store.verify()), "{:#?}", store.verify());
    let mut flipped = 0;
    for (path, bytes) in store.files() {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let report = store.verify();
            assert!(complains(&report), "byte {at} of {}: {report:#?}", path.display());
            let named = path.strip_prefix(store.path()).unwrap();
            let in_session = named.starts_with("rec") || named.starts_with("env");
            let bad = report.sessions.iter().all(|one| matches!(one.verdict, Verdict::Tampered | Verdict::Missing));
            assert!(!in_session || bad, "byte {at} of {}: {report:#?}", path.display());
            flipped += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(flipped > 4000, "{flipped}");
    assert!(!complains(&store.verify()));
}

#[test]
fn files_that_are_truncated_empty_duplicated_or_foreign_are_found() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    for (path, bytes) in store.files() {
        for changed in [&[][..], &bytes[..bytes.len() / 2], &bytes[..bytes.len() - 1], &[&bytes[..], b"\0"].concat()] {
            fs::write(&path, changed).unwrap();
            assert!(
                complains(&store.verify()),
                "{} with {} bytes: {:#?}",
                path.display(),
                changed.len(),
                store.verify()
            );
        }
        fs::remove_file(&path).unwrap();
        let report = store.verify();
        let key = path.ends_with("key.pub");
        assert!(complains(&report) || key, "{} removed: {report:#?}", path.display());
        fs::write(&path, &bytes).unwrap();
        let copy = path.with_file_name(format!("{}2", path.file_name().unwrap().to_string_lossy()));
        fs::write(&copy, &bytes).unwrap();
        assert!(complains(&store.verify()), "{}: {:#?}", copy.display(), store.verify());
        fs::remove_file(&copy).unwrap();
    }
    add_segment(&store.segment(&id, 1, 0));
    store.assert_verdict(&id, Verdict::Tampered, "1/000001.seg");
}

fn add_segment(first: &Path) {
    fs::copy(first, first.with_file_name("000001.seg")).unwrap();
}
