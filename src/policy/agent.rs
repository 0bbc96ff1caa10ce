//! Which keys of a user's agent a target may use: a rule's `agent`.

use std::collections::BTreeSet;

use crate::document::{Fault, Faults, Node};

/// A rule's `agent`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentRule {
    /// The fingerprints of the keys that it lends; none lends each that logs nobody in at the bastion.
    pub keys: Option<BTreeSet<String>>,
}

impl AgentRule {
    /// Whether it lends the key with this fingerprint.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(key))
    }

    /// Reads a rule's `agent`.
    pub(super) fn read(node: &Node<'_>, faults: &mut Faults) -> Option<Self> {
        let mut table = faults.keep(node.table())?;
        let keys = table.need("keys", faults).and_then(|node| {
            let items = faults.keep(node.filled_list())?;
            // Two steps, so that a first bad one does not hide the second.
            let read: Vec<Option<String>> = items.iter().map(|item| faults.keep(read_fingerprint(item))).collect();
            read.into_iter().collect::<Option<BTreeSet<String>>>()
        });
        table.finish(&[], faults);
        Some(Self { keys: Some(keys?) })
    }
}

/// A key's fingerprint, as `ssh-add -l` prints it.
pub(super) fn read_fingerprint(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.filled_string()?;
    let parsed: Result<ssh_key::Fingerprint, _> = text.parse();
    match parsed {
        Ok(fingerprint) if fingerprint.is_sha256() && fingerprint.to_string() == text => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(node
            .fault(format!("{text:?} is no fingerprint of a key"))
            .hint("`ssh-add -l` prints them: SHA256: and 43 characters")),
    }
}
