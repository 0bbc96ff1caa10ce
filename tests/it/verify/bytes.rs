//! No byte of a store is another one without a word.

use std::fs;
use std::path::Path;

use doorward::verify::{Report, Verdict};

use super::store::Store;

/// What a change of a file comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Cut,
    Grown,
    Removed,
    Copied,
}

/// The exit status that a change of a file must have. `path` is its path in the store.
fn due(path: &str, change: Change) -> u8 {
    match (path, change) {
        // What a crash leaves at the end of the journal is no leaf, and was never acknowledged.
        ("log/leaves.wal", Change::Grown) => 0,
        // Gone, not altered.
        (path, Change::Removed) if path.starts_with("env/") || path.starts_with("policies/") => 4,
        // Nothing reads files of other names: they are warned of.
        (path, Change::Copied) if path.starts_with("env/") || path.starts_with("policies/") => 0,
        ("log/key.pub" | "log/checkpoint" | "log/leaves.wal", Change::Copied) => 0,
        (_, Change::Cut | Change::Grown | Change::Removed | Change::Copied) => 5,
    }
}

fn warned(report: &Report) -> bool {
    !report.unexpected.is_empty() || !report.log.warnings.is_empty()
}

#[test]
fn any_byte_of_a_closed_session_or_of_the_log_that_changes_is_found() {
    let (store, _) = Store::with_session(&["one\r\n", "two\r\n"]);
    assert!(store.verify().exit_code() == 0 && !warned(&store.verify()), "{:#?}", store.verify());
    let mut flipped = 0;
    for (path, bytes) in store.files() {
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let report = store.verify();
            assert_eq!(report.exit_code(), 5, "byte {at} of {}: {report:#?}", path.display());
            flipped += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(flipped > 4000, "{flipped}");
    assert!(store.verify().exit_code() == 0 && !warned(&store.verify()));
}

#[test]
fn files_that_are_truncated_empty_duplicated_or_foreign_are_found() {
    let (store, id) = Store::with_session(&["one\r\n"]);
    for (path, bytes) in store.files() {
        let name = path.strip_prefix(store.path()).unwrap().to_str().unwrap().to_owned();
        let check = |change: Change| {
            let report = store.verify();
            assert_eq!(report.exit_code(), due(&name, change), "{name} {change:?}: {report:#?}");
            assert!(report.exit_code() != 0 || warned(&report), "{name} {change:?}: {report:#?}");
        };
        for len in [0, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).unwrap();
            check(Change::Cut);
        }
        fs::write(&path, [&bytes[..], b"\0"].concat()).unwrap();
        check(Change::Grown);
        fs::remove_file(&path).unwrap();
        check(Change::Removed);
        fs::write(&path, &bytes).unwrap();
        let copy = path.with_file_name(format!("{}2", path.file_name().unwrap().to_string_lossy()));
        fs::write(&copy, &bytes).unwrap();
        check(Change::Copied);
        fs::remove_file(&copy).unwrap();
    }
    add_segment(&store.segment(&id, 1, 0));
    store.assert_verdict(&id, Verdict::Tampered, "1/000001.seg");
}

fn add_segment(first: &Path) {
    fs::copy(first, first.with_file_name("000001.seg")).unwrap();
}
