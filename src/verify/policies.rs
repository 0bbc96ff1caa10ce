//! Whether each policy set that the log names is kept, and is the one that it names.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{self, FileError};
use super::leaf::{Sha256, bytes};
use super::report::{Findings, PolicyReport};
use super::segment::sha256;
use super::session::place_of;
use crate::policy::{ARCHIVE_BYTES_MAX, decode_archive};
use crate::store::{StoreRoot, hex};

/// Judges the kept sets. `named` has the hashes that leaves name, each with the first leaf that does.
pub(super) fn judge(
    store: &Path,
    root: &StoreRoot,
    named: &BTreeMap<Sha256, u64>,
    unexpected: &mut Findings,
) -> PolicyReport {
    let mut report = PolicyReport::default();
    for (hash, leaf) in named {
        let path = root.policy(&hex(hash));
        let place = place_of(store, &path);
        match read(&path, hash) {
            Ok(()) => report.kept = report.kept.saturating_add(1),
            Err(Fault::Absent) => report.missing.add(place, format!("it is missing, and leaf {leaf} names it")),
            Err(Fault::Unreadable(why)) => report.missing.add(place, why),
            Err(Fault::Changed(why)) => report.findings.add(place, why),
        }
    }
    match files::list(root.policies()) {
        Ok(names) => {
            for (name, _) in names {
                let name = name.to_string_lossy().into_owned();
                if !bytes(&name).is_ok_and(|hash| named.contains_key(&hash)) {
                    // A bastion that stopped before its leaf leaves one, too.
                    unexpected.add(place_of(store, &root.policy(&name)), "no leaf names this policy set");
                }
            }
        }
        Err(error) => report.findings.add(place_of(store, root.policies()), error.to_string()),
    }
    report
}

/// What is wrong with a kept set.
pub(super) enum Fault {
    Absent,
    Unreadable(String),
    Changed(String),
}

impl Fault {
    pub(super) fn why(self) -> String {
        match self {
            Self::Absent => String::from("it is missing"),
            Self::Unreadable(why) | Self::Changed(why) => why,
        }
    }
}

/// Reads a kept set, and checks it against the hash.
pub(super) fn read(path: &Path, hash: &Sha256) -> Result<(), Fault> {
    let most = u64::try_from(ARCHIVE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = files::read(path, most).map_err(|error| {
        let why = error.to_string();
        match error {
            FileError::Absent => Fault::Absent,
            FileError::Io(_) => Fault::Unreadable(why),
            FileError::NotAFile | FileError::NotADirectory | FileError::TooLong { .. } => Fault::Changed(why),
        }
    })?;
    if sha256(&bytes) != *hash {
        return Err(Fault::Changed(String::from("it is not the policy set of that hash")));
    }
    decode_archive(&bytes).map(drop).map_err(|error| Fault::Changed(error.to_string()))
}
