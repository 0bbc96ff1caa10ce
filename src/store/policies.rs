//! Every policy set that was ever in force, by its hash: which rules let a session in can be read years later.
//!
//! `policies/<hash>` holds the bytes whose SHA-256 is its name (`policy::archive`). Files are added and never changed;
//! one that is there and differs is somebody else's work, and nothing is put over it.

use std::io;
use std::path::PathBuf;

use super::{StoreError, StoreRoot};
use crate::durable;
use crate::policy::{ARCHIVE_BYTES_MAX, PolicySet};

impl StoreRoot {
    /// The directory of the policy sets.
    pub fn policies(&self) -> &std::path::Path {
        &self.policies
    }

    /// Where the set with this hash is.
    pub fn policy(&self, hash: &str) -> PathBuf {
        self.policies.join(hash)
    }

    /// Keeps a policy set; durable on return. Before it is on record that the set is in force, and before it is.
    ///
    /// # Errors
    /// `Write`, `Read`; `Damaged` if something else is in its place, or the set is larger than what is read again.
    pub fn keep_policy(&self, set: &PolicySet) -> Result<(), StoreError> {
        let path = self.policy(set.hash().as_str());
        let damaged = |why: String| StoreError::Damaged { path: path.clone(), why };
        let most = u64::try_from(ARCHIVE_BYTES_MAX).unwrap_or(u64::MAX);
        if set.archive().len() > ARCHIVE_BYTES_MAX {
            return Err(damaged(format!("the policy set has more than {most} bytes")));
        }
        match durable::read_plain(&path, most) {
            Ok(kept) if kept == set.archive() => return Ok(()),
            Ok(_) => {
                return Err(damaged(String::from(
                    "it is not the policy set that was kept there; move it away as evidence",
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(StoreError::Read { path, source }),
        }
        durable::create_directories(&self.policies)
            .and_then(|()| durable::replace(&path, set.archive(), 0o600))
            .map_err(|source| StoreError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::policy::{PolicyFile, decode_archive};
    use crate::store::sha256_hex;

    fn set(text: &str) -> PolicySet {
        PolicySet::parse(&[PolicyFile { path: String::from("policies/access/a.toml"), text: text.to_owned() }]).unwrap()
    }

    #[test]
    fn a_set_is_kept_once_for_its_owner_only_under_the_hash_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let root = StoreRoot::at(dir.path());
        let sets = [set("schema = 1\n"), set("schema = 1\n# another\n"), set("schema = 1\n")];
        sets.iter().for_each(|set| root.keep_policy(set).unwrap());
        let names: Vec<_> = std::fs::read_dir(root.policies()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(names.len(), 2);
        for entry in names {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert_eq!(entry.file_name().to_str().unwrap(), sha256_hex(&bytes));
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(decode_archive(&bytes).unwrap()[0].path, "policies/access/a.toml");
        }
    }

    #[test]
    fn what_is_in_the_place_of_a_set_is_not_overwritten_and_keeps_the_set_from_being_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let root = StoreRoot::at(dir.path());
        let set = set("schema = 1\n");
        root.keep_policy(&set).unwrap();
        durable::replace(&root.policy(set.hash().as_str()), b"forged", 0o600).unwrap();
        assert!(matches!(root.keep_policy(&set), Err(StoreError::Damaged { .. })));
        assert_eq!(std::fs::read(root.policy(set.hash().as_str())).unwrap(), b"forged");
    }
}
